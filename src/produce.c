/*-------------------------------------------------------------------------
 *
 * produce.c
 *	  queue.produce() and queue.produce_batch().
 *
 * Each checks its arguments and rights, turns them into records, chooses
 * partitions and ends in pgqueue_append(); INSERT and COPY (face.c) do the
 * same for rows of a topic's view.
 *
 *-------------------------------------------------------------------------
 */
#include "queue.h"

#include "access/xact.h"
#include "catalog/pg_type_d.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "parser/parse_coerce.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/tuplestore.h"

PG_FUNCTION_INFO_V1(pgqueue_produce_text);
PG_FUNCTION_INFO_V1(pgqueue_produce_typed);
PG_FUNCTION_INFO_V1(pgqueue_produce_batch);
PG_FUNCTION_INFO_V1(pgqueue_murmur2_sql);
PG_FUNCTION_INFO_V1(pgqueue_partition_for_key_sql);

/* ---------------- checks ---------------- */

/*
 * What every message must keep: a NULL value deletes a key, without a key it
 * means nothing.
 *
 * Errors: 22004, 22023.
 */
void
pgqueue_check_message(bool value_null, bool key_null, bool headers_null, Datum headers)
{
	if (value_null && key_null)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("value must not be NULL"),
				 errhint("Only a message with a key may have a NULL value: a tombstone.")));
	if (!headers_null && !JB_ROOT_IS_OBJECT(DatumGetJsonbP(headers)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("headers must be a JSON object")));
}

/* ---------------- choosing a partition ---------------- */

/* As Kafka's StringSerializer and default partitioner do: over UTF-8. */
int32
pgqueue_partition_for_text(text *key, int npartitions)
{
	char	   *data = VARDATA_ANY(key);
	int			len = VARSIZE_ANY_EXHDR(key);
	char	   *utf8;

	if (npartitions == 1)
		return 0;
	utf8 = pg_server_to_any(data, len, PG_UTF8);
	return pgqueue_partition_for_key(utf8, utf8 == data ? len : strlen(utf8),
									 npartitions);
}

/* Round robin, for messages that name neither partition nor key. */
int32
pgqueue_next_sticky(Topic *topic)
{
	topic->sticky = (topic->sticky + 1) % topic->npartitions;
	return topic->sticky;
}

/* ---------------- one message ---------------- */

/* The record of one message. */
HeapTuple
pgqueue_form_message(Topic *topic, int32 partition, Datum value,
					 bool value_null, Datum key, bool key_null,
					 Datum headers, bool headers_null)
{
	Datum		values[LOG_NATTS];
	bool		nulls[LOG_NATTS];

	values[LOG_ATTR_KEY - 1] = key;
	nulls[LOG_ATTR_KEY - 1] = key_null;
	values[LOG_ATTR_VALUE - 1] = value;
	nulls[LOG_ATTR_VALUE - 1] = value_null;
	values[LOG_ATTR_HEADERS - 1] = headers;
	nulls[LOG_ATTR_HEADERS - 1] = headers_null;
	return pgqueue_form_record(topic->desc, partition, values, nulls);
}

/* The row that produce returns; its type is kept in fn_extra. */
static Datum
produce_result(FunctionCallInfo fcinfo, HeapTuple record)
{
	TupleDesc	desc = fcinfo->flinfo->fn_extra;
	LogFixed   *fixed = log_fixed(record->t_data);
	Datum		values[3];
	bool		nulls[3] = {false};

	if (desc == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);

		if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
			elog(ERROR, "return type must be a row type");
		desc = BlessTupleDesc(CreateTupleDescCopy(desc));
		fcinfo->flinfo->fn_extra = desc;
		MemoryContextSwitchTo(old);
	}
	values[0] = Int32GetDatum(fixed->partition);
	values[1] = Int64GetDatum(fixed->offset);
	values[2] = TimestampTzGetDatum(fixed->timestamp);
	return HeapTupleGetDatum(heap_form_tuple(desc, values, nulls));
}

/* (topic, value, key, headers, partition); type: InvalidOid for text */
static Datum
produce(FunctionCallInfo fcinfo, Oid type)
{
	Topic	   *topic;
	bool		value_null = PG_ARGISNULL(1);
	bool		key_null = PG_ARGISNULL(2);
	bool		headers_null = PG_ARGISNULL(3);
	Datum		value = value_null ? (Datum) 0 : PG_GETARG_DATUM(1);
	text	   *key = key_null ? NULL : PG_GETARG_TEXT_PP(2);
	Datum		headers = headers_null ? (Datum) 0 : PG_GETARG_DATUM(3);
	int32		partition;
	int32		id;
	HeapTuple	record;

	pgqueue_check_writable("queue.produce()");
	pgqueue_check_not_null(fcinfo, 0, "topic");
	topic = pgqueue_topic_arg(PG_GETARG_TEXT_PP(0));
	pgqueue_check_right(topic, ACL_INSERT);
	pgqueue_check_message(value_null, key_null, headers_null, headers);

	id = topic->id;
	value = OidIsValid(type) ?
		pgqueue_value_from_typed(topic, type, value, value_null) :
		pgqueue_value_from_text(topic, value, value_null);
	/* the conversion may have run anything */
	pgqueue_face_flush();
	topic = pgqueue_topic_refresh(topic);
	pgqueue_check_same(topic, id);

	if (!PG_ARGISNULL(4))
	{
		partition = PG_GETARG_INT32(4);
		pgqueue_check_partition(topic, partition);
	}
	else if (key != NULL)
		partition = pgqueue_partition_for_text(key, topic->npartitions);
	else
		partition = pgqueue_next_sticky(topic);

	record = pgqueue_form_message(topic, partition, value, value_null,
								  PointerGetDatum(key), key_null,
								  headers, headers_null);
	pgqueue_append(topic, partition, &record, 1);
	return produce_result(fcinfo, record);
}

Datum
pgqueue_produce_text(PG_FUNCTION_ARGS)
{
	return produce(fcinfo, InvalidOid);
}

Datum
pgqueue_produce_typed(PG_FUNCTION_ARGS)
{
	Oid			type = get_fn_expr_argtype(fcinfo->flinfo, 1);

	if (!OidIsValid(type))
		elog(ERROR, "could not determine the type of value");
	return produce(fcinfo, type);
}

/* ---------------- a batch ---------------- */

/* An array argument, taken apart. */
typedef struct Elements
{
	Oid			type;
	Datum	   *values;
	bool	   *nulls;
	int			n;
} Elements;

/*
 * An array argument.  Given as text, the form of an untyped literal or driver
 * parameter, it is read as text[].
 */
static ArrayType *
array_arg(FunctionCallInfo fcinfo, int arg)
{
	char	   *str;

	if (get_fn_expr_argtype(fcinfo->flinfo, arg) != TEXTOID)
		return PG_GETARG_ARRAYTYPE_P(arg);
	str = text_to_cstring(PG_GETARG_TEXT_PP(arg));
	return DatumGetArrayTypeP(OidInputFunctionCall(F_ARRAY_IN, str, TEXTOID, -1));
}

/*
 * Errors: 22023 for more than one dimension, or another number of elements
 * than expected (-1: any).
 */
static void
take_apart(FunctionCallInfo fcinfo, int arg, const char *name, int expected,
		   Elements *elements)
{
	ArrayType  *array = array_arg(fcinfo, arg);
	int16		typlen;
	bool		typbyval;
	char		typalign;

	if (ARR_NDIM(array) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be a one-dimensional array", name)));
	elements->type = ARR_ELEMTYPE(array);
	get_typlenbyvalalign(elements->type, &typlen, &typbyval, &typalign);
	deconstruct_array(array, elements->type, typlen, typbyval, typalign,
					  &elements->values, &elements->nulls, &elements->n);
	if (expected >= 0 && elements->n != expected)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s has %d elements, but batch has %d",
						name, elements->n, expected)));
}

/* The topic's values of a batch, in place. */
static void
convert_batch(Topic *topic, Elements *batch)
{
	bool		as_text;

	if (batch->type == topic->value_type)
		return;
	as_text = IsBinaryCoercible(batch->type, TEXTOID);
	for (int i = 0; i < batch->n; i++)
		batch->values[i] = as_text ?
			pgqueue_value_from_text(topic, batch->values[i], batch->nulls[i]) :
			pgqueue_value_from_typed(topic, batch->type, batch->values[i],
									 batch->nulls[i]);
}

/*
 * The partition of each message: the explicit one, the key's, or one for all
 * messages without a key.
 */
static int32 *
choose_partitions(Topic *topic, int n, bool has_explicit, int32 explicit,
				  const Elements *keys)
{
	int32	   *chosen = palloc(n * sizeof(int32));
	int32		sticky = -1;

	for (int i = 0; i < n; i++)
	{
		if (has_explicit)
			chosen[i] = explicit;
		else if (keys->n > 0 && !keys->nulls[i])
			chosen[i] = pgqueue_partition_for_text(DatumGetTextPP(keys->values[i]),
										  topic->npartitions);
		else
		{
			if (sticky < 0)
				sticky = pgqueue_next_sticky(topic);
			chosen[i] = sticky;
		}
	}
	return chosen;
}

/* The records of a batch, in the caller's order. */
static HeapTuple *
form_batch(Topic *topic, const int32 *chosen, const Elements *batch,
		   const Elements *keys, const Elements *headers)
{
	HeapTuple  *records = palloc(batch->n * sizeof(HeapTuple));

	for (int i = 0; i < batch->n; i++)
	{
		bool		key_null = keys->n == 0 || keys->nulls[i];
		bool		headers_null = headers->n == 0 || headers->nulls[i];
		Datum		key = key_null ? (Datum) 0 : keys->values[i];
		Datum		header = headers_null ? (Datum) 0 : headers->values[i];

		pgqueue_check_message(batch->nulls[i], key_null, headers_null, header);
		records[i] = pgqueue_form_message(topic, chosen[i], batch->values[i],
										  batch->nulls[i], key, key_null,
										  header, headers_null);
	}
	return records;
}

/*
 * Group records by partition, their order kept within each.  Returns a new
 * array; *bounds: those of partition p are bounds[p] up to bounds[p + 1].
 */
HeapTuple *
pgqueue_group_records(HeapTuple *records, int n, int npartitions, int **bounds)
{
	HeapTuple  *grouped = palloc(n * sizeof(HeapTuple));
	int		   *end = palloc0((npartitions + 1) * sizeof(int));
	int		   *next = palloc(npartitions * sizeof(int));

	for (int i = 0; i < n; i++)
		end[log_fixed(records[i]->t_data)->partition + 1]++;
	for (int p = 0; p < npartitions; p++)
		end[p + 1] += end[p];
	memcpy(next, end, npartitions * sizeof(int));
	for (int i = 0; i < n; i++)
		grouped[next[log_fixed(records[i]->t_data)->partition]++] = records[i];
	pfree(next);
	*bounds = end;
	return grouped;
}

/*
 * (topic, batch, keys, headers, partition)
 *
 * Append locks are taken one partition at a time, in ascending order.
 */
Datum
pgqueue_produce_batch(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Topic	   *topic;
	Elements	batch;
	Elements	keys = {0};
	Elements	headers = {0};
	bool		has_explicit = !PG_ARGISNULL(4);
	int32		explicit = has_explicit ? PG_GETARG_INT32(4) : 0;
	int32	   *chosen;
	HeapTuple  *records;
	int		   *bounds;
	int			npartitions;
	int32		id;

	pgqueue_check_writable("queue.produce_batch()");
	pgqueue_check_not_null(fcinfo, 0, "topic");
	pgqueue_check_not_null(fcinfo, 1, "batch");
	topic = pgqueue_topic_arg(PG_GETARG_TEXT_PP(0));
	pgqueue_check_right(topic, ACL_INSERT);
	if (has_explicit)
		pgqueue_check_partition(topic, explicit);

	take_apart(fcinfo, 1, "batch", -1, &batch);
	if (!PG_ARGISNULL(2))
		take_apart(fcinfo, 2, "keys", batch.n, &keys);
	if (!PG_ARGISNULL(3))
		take_apart(fcinfo, 3, "headers", batch.n, &headers);
	InitMaterializedSRF(fcinfo, 0);
	if (batch.n == 0)
		return (Datum) 0;

	id = topic->id;
	convert_batch(topic, &batch);
	/* the conversion may have run anything */
	pgqueue_face_flush();
	topic = pgqueue_topic_refresh(topic);
	pgqueue_check_same(topic, id);
	chosen = choose_partitions(topic, batch.n, has_explicit, explicit, &keys);
	npartitions = topic->npartitions;
	records = form_batch(topic, chosen, &batch, &keys, &headers);
	records = pgqueue_group_records(records, batch.n, npartitions, &bounds);

	for (int32 p = 0; p < npartitions; p++)
	{
		HeapTuple  *part = records + bounds[p];
		int			n = bounds[p + 1] - bounds[p];
		Datum		values[4];
		bool		nulls[4] = {false};

		if (n == 0)
			continue;
		topic = pgqueue_topic_refresh(topic);
		pgqueue_append(topic, p, part, n);

		values[0] = Int32GetDatum(p);
		values[1] = Int64GetDatum(log_fixed(part[0]->t_data)->offset);
		values[2] = Int64GetDatum(log_fixed(part[n - 1]->t_data)->offset);
		values[3] = Int64GetDatum(n);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/* ---------------- the partitioner, for SQL ---------------- */

Datum
pgqueue_murmur2_sql(PG_FUNCTION_ARGS)
{
	bytea	   *data = PG_GETARG_BYTEA_PP(0);

	PG_RETURN_INT32((int32) pgqueue_murmur2((unsigned char *) VARDATA_ANY(data),
											VARSIZE_ANY_EXHDR(data)));
}

Datum
pgqueue_partition_for_key_sql(PG_FUNCTION_ARGS)
{
	int32		npartitions = PG_GETARG_INT32(1);

	if (npartitions <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("partitions must be positive, not %d", npartitions)));
	PG_RETURN_INT32(pgqueue_partition_for_text(PG_GETARG_TEXT_PP(0), npartitions));
}
