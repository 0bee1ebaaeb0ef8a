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
#include "catalog/namespace.h"
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
 * means nothing.  And without one compaction could never take it away.
 *
 * Errors: 22004, 22023.
 */
void
pgqueue_check_message(const Topic *topic, bool value_null, bool key_null,
					  bool headers_null, Datum headers)
{
	if (key_null && (topic->cleanup_policy & CLEANUP_COMPACT))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("key must not be NULL"),
				 errdetail("Topic \"%s\" is compacted: the latest message of each key is kept.",
						   topic->name)));
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

/*
 * Return a key's bytes in UTF-8.  The bytes stay as they are if they cannot be
 * converted: in a database without encoding (SQL_ASCII), or for characters that
 * Unicode does not have.  A key must not fail for the number of partitions.
 */
static char *
key_in_utf8(char *data, int *len)
{
	int			encoding = GetDatabaseEncoding();
	Oid			conversion = encoding == PG_SQL_ASCII ? InvalidOid :
		FindDefaultConversionProc(encoding, PG_UTF8);
	Size		size = (Size) *len * MAX_CONVERSION_GROWTH + 1;
	char	   *utf8;

	if (!OidIsValid(conversion) || size > PG_INT32_MAX)
		return data;
	utf8 = MemoryContextAllocHuge(CurrentMemoryContext, size);
	if (pg_do_encoding_conversion_buf(conversion, encoding, PG_UTF8,
									  (unsigned char *) data, *len,
									  (unsigned char *) utf8, (int) size,
									  true) != *len)
		return data;
	*len = strlen(utf8);
	return utf8;
}

/* As Kafka's StringSerializer and default partitioner do: over UTF-8. */
int32
pgqueue_partition_for_text(text *key, int npartitions)
{
	char	   *data = VARDATA_ANY(key);
	int			len = VARSIZE_ANY_EXHDR(key);

	if (npartitions == 1)
		return 0;
	if (GetDatabaseEncoding() != PG_UTF8)
		data = key_in_utf8(data, &len);
	return pgqueue_partition_for_key(data, len, npartitions);
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

/*
 * The row that produce returns; its type is kept in fn_extra.	timestamp: NULL
 * for a duplicate.
 */
static Datum
produce_result(FunctionCallInfo fcinfo, int32 partition, int64 offset,
			   const TimestampTz *timestamp)
{
	TupleDesc	desc = fcinfo->flinfo->fn_extra;
	Datum		values[4];
	bool		nulls[4] = {false};

	if (desc == NULL)
	{
		static const Oid types[] = {INT4OID, INT8OID, TIMESTAMPTZOID, BOOLOID};
		MemoryContext old = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);

		if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
			elog(ERROR, "return type must be a row type");
		pgqueue_check_result(desc, types, lengthof(types));
		desc = BlessTupleDesc(CreateTupleDescCopy(desc));
		fcinfo->flinfo->fn_extra = desc;
		MemoryContextSwitchTo(old);
	}
	values[0] = Int32GetDatum(partition);
	values[1] = Int64GetDatum(offset);
	values[2] = timestamp == NULL ? (Datum) 0 : TimestampTzGetDatum(*timestamp);
	nulls[2] = timestamp == NULL;
	values[3] = BoolGetDatum(timestamp == NULL);
	return HeapTupleGetDatum(pgqueue_form_row(desc, values, nulls,
											  lengthof(values)));
}

/* ---------------- the producer ---------------- */

/* Who produces with which sequence, as a call says it. */
typedef struct ProducerArgs
{
	char	   *name;			/* NULL: nobody in particular */
	int32		epoch;
} ProducerArgs;

/*
 * producer_id and epoch, and whether a sequence may come with them.
 *
 * Errors: 22004, 22023, 42602.
 */
static ProducerArgs
producer_args(FunctionCallInfo fcinfo, int name_arg, int epoch_arg,
			  bool has_sequence, const char *sequence_name)
{
	ProducerArgs args = {0};

	if (PG_ARGISNULL(name_arg))
	{
		if (has_sequence)
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("%s needs a producer_id", sequence_name)));
		if (!PG_ARGISNULL(epoch_arg) && PG_GETARG_INT32(epoch_arg) != 0)
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("epoch needs a producer_id")));
		return args;
	}
	args.name = pgqueue_producer_arg(PG_GETARG_TEXT_PP(name_arg));
	pgqueue_check_not_null(fcinfo, epoch_arg, "epoch");
	args.epoch = PG_GETARG_INT32(epoch_arg);
	if (args.epoch < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("epoch must not be negative: %d", args.epoch)));
	return args;
}

/* ---------------- one message ---------------- */

/*
 * (topic, value, key, headers, partition, producer_id, sequence, epoch)
 *
 * type: InvalidOid for text
 */
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
	ProducerArgs producer;
	int64		sequence = 0;
	ProducerClaim claim;
	LogFixed   *fixed;

	pgqueue_check_writable("queue.produce()");
	pgqueue_check_not_null(fcinfo, 0, "topic");
	producer = producer_args(fcinfo, 5, 7, !PG_ARGISNULL(6), "sequence");
	if (producer.name != NULL)
	{
		pgqueue_check_not_null(fcinfo, 6, "sequence");
		sequence = PG_GETARG_INT64(6);
	}
	topic = pgqueue_topic_arg(PG_GETARG_TEXT_PP(0));
	pgqueue_check_right(topic, ACL_INSERT);
	pgqueue_check_message(topic, value_null, key_null, headers_null, headers);

	id = topic->id;
	value = OidIsValid(type) ?
		pgqueue_value_from_typed(topic, type, value, value_null) :
		pgqueue_value_from_text(topic, value, value_null);
	/* the conversion may have run anything */
	pgqueue_face_flush();
	if (producer.name != NULL)
	{
		pgqueue_claim(topic, producer.name, producer.epoch, &sequence, 1, &claim);
		if (claim.nduplicates > 0)
		{
			pgqueue_claim_fulfil(&claim, NULL, NULL);
			return produce_result(fcinfo, claim.places[0].partition,
								  claim.places[0].offset, NULL);
		}
	}
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
	if (producer.name != NULL)
		pgqueue_claim_fulfil(&claim, &record, NULL);
	fixed = log_fixed(record->t_data);
	return produce_result(fcinfo, fixed->partition, fixed->offset,
						  &fixed->timestamp);
}

Datum
pgqueue_produce_text(PG_FUNCTION_ARGS)
{
	return produce(fcinfo, InvalidOid);
}

/*
 * Return the type of an argument that may be of several.  A function call message
 * of the protocol (fast path) says none.
 *
 * Errors: 42P18.
 */
static Oid
argument_type(FunctionCallInfo fcinfo, int arg, const char *name)
{
	Oid			type = get_fn_expr_argtype(fcinfo->flinfo, arg);

	if (!OidIsValid(type))
		ereport(ERROR,
				(errcode(ERRCODE_INDETERMINATE_DATATYPE),
				 errmsg("could not determine the type of %s", name),
				 errhint("Call the function in an SQL statement.")));
	return type;
}

Datum
pgqueue_produce_typed(PG_FUNCTION_ARGS)
{
	return produce(fcinfo, argument_type(fcinfo, 1, "value"));
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
array_arg(FunctionCallInfo fcinfo, int arg, const char *name)
{
	char	   *str;

	if (argument_type(fcinfo, arg, name) != TEXTOID)
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
	ArrayType  *array = array_arg(fcinfo, arg, name);
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

		pgqueue_check_message(topic, batch->nulls[i], key_null, headers_null,
							  header);
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
 * Append records that are grouped by partition.
 *
 * Append locks are taken one partition at a time, in ascending order.
 */
void
pgqueue_append_grouped(Topic *topic, HeapTuple *grouped, const int *bounds,
					   int npartitions)
{
	for (int32 p = 0; p < npartitions; p++)
	{
		if (bounds[p] == bounds[p + 1])
			continue;
		topic = pgqueue_topic_refresh(topic);
		pgqueue_append(topic, p, grouped + bounds[p], bounds[p + 1] - bounds[p]);
	}
}

/*
 * The sequences of a batch of n messages: given one by one, or by the first.
 * NULL if there are none.
 *
 * Errors: 22023, 22004.
 */
static int64 *
sequences_arg(FunctionCallInfo fcinfo, int first_arg, int array_arg, int n)
{
	int64	   *sequences;
	int64		first;

	if (!PG_ARGISNULL(first_arg) && !PG_ARGISNULL(array_arg))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("first_sequence and sequences exclude each other")));
	if (PG_ARGISNULL(first_arg) && PG_ARGISNULL(array_arg))
		return NULL;

	sequences = palloc(Max(n, 1) * sizeof(int64));
	if (!PG_ARGISNULL(array_arg))
	{
		Elements	elements;

		take_apart(fcinfo, array_arg, "sequences", n, &elements);
		for (int i = 0; i < n; i++)
		{
			if (elements.nulls[i])
				ereport(ERROR,
						(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						 errmsg("sequences must not contain NULL")));
			sequences[i] = DatumGetInt64(elements.values[i]);
		}
		return sequences;
	}
	first = PG_GETARG_INT64(first_arg);
	if (first < 0 || first > PGQUEUE_MAX_SEQUENCE - n + 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("first_sequence must be between 0 and " INT64_FORMAT
						", not " INT64_FORMAT,
						PGQUEUE_MAX_SEQUENCE - n + 1, first)));
	for (int i = 0; i < n; i++)
		sequences[i] = first + i;
	return sequences;
}

/* What a batch did to a partition. */
typedef struct BatchPart
{
	int64		first;			/* least and greatest offset, ... */
	int64		last;			/* ... if anything below is not 0 */
	int64		count;			/* appended */
	int64		duplicates;
} BatchPart;

static void
count_message(BatchPart *parts, int32 partition, int64 offset, bool duplicate)
{
	BatchPart  *part = &parts[partition];

	if (part->count + part->duplicates == 0)
		part->first = part->last = offset;
	part->first = Min(part->first, offset);
	part->last = Max(part->last, offset);
	if (duplicate)
		part->duplicates++;
	else
		part->count++;
}

/* A row per partition that holds messages of the batch. */
static void
return_parts(ReturnSetInfo *rsinfo, const BatchPart *parts, int npartitions)
{
	for (int32 p = 0; p < npartitions; p++)
	{
		Datum		values[5];
		bool		nulls[5] = {false};

		if (parts[p].count + parts[p].duplicates == 0)
			continue;
		values[0] = Int32GetDatum(p);
		values[1] = Int64GetDatum(parts[p].first);
		values[2] = Int64GetDatum(parts[p].last);
		values[3] = Int64GetDatum(parts[p].count);
		values[4] = Int64GetDatum(parts[p].duplicates);
		pgqueue_put_row(rsinfo, values, nulls, lengthof(values));
	}
}

/* Leave out the first n elements. */
static void
skip_elements(Elements *elements, int n)
{
	if (elements->n == 0)
		return;
	elements->values += n;
	elements->nulls += n;
	elements->n -= n;
}

/*
 * (topic, batch, keys, headers, partition, producer_id, first_sequence, epoch,
 * watermark, sequences)
 */
Datum
pgqueue_produce_batch(PG_FUNCTION_ARGS)
{
	static const Oid types[] = {INT4OID, INT8OID, INT8OID, INT8OID, INT8OID};
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Topic	   *topic;
	Elements	batch;
	Elements	keys = {0};
	Elements	headers = {0};
	bool		has_explicit = !PG_ARGISNULL(4);
	int32		explicit = has_explicit ? PG_GETARG_INT32(4) : 0;
	bool		has_watermark = !PG_ARGISNULL(8);
	Datum		watermark = has_watermark ? PG_GETARG_DATUM(8) : (Datum) 0;
	ProducerArgs producer;
	ProducerClaim claim;
	int64	   *sequences;
	int32	   *chosen;
	HeapTuple  *records;
	HeapTuple  *grouped;
	int		   *bounds;
	BatchPart  *parts;
	int			npartitions;
	int32		id;

	pgqueue_check_writable("queue.produce_batch()");
	pgqueue_check_not_null(fcinfo, 0, "topic");
	pgqueue_check_not_null(fcinfo, 1, "batch");
	producer = producer_args(fcinfo, 5, 7,
							 !PG_ARGISNULL(6) || !PG_ARGISNULL(9) ||
							 has_watermark,
							 has_watermark ? "watermark" : "a sequence");
	topic = pgqueue_topic_arg(PG_GETARG_TEXT_PP(0));
	pgqueue_check_right(topic, ACL_INSERT);
	if (has_explicit)
		pgqueue_check_partition(topic, explicit);

	take_apart(fcinfo, 1, "batch", -1, &batch);
	if (!PG_ARGISNULL(2))
		take_apart(fcinfo, 2, "keys", batch.n, &keys);
	if (!PG_ARGISNULL(3))
		take_apart(fcinfo, 3, "headers", batch.n, &headers);
	sequences = sequences_arg(fcinfo, 6, 9, batch.n);
	if (producer.name != NULL && sequences == NULL && batch.n > 0)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("first_sequence or sequences must be given with a producer_id")));
	InitMaterializedSRF(fcinfo, 0);
	pgqueue_check_result(rsinfo->setDesc, types, lengthof(types));
	/* a watermark alone is worth a row of the producer's state */
	if (batch.n == 0 && !has_watermark)
	{
		if (producer.name != NULL)
			pgqueue_check_fenced(topic, producer.name, producer.epoch);
		return (Datum) 0;
	}

	id = topic->id;
	convert_batch(topic, &batch);
	/* the conversion may have run anything */
	pgqueue_face_flush();
	if (producer.name != NULL)
	{
		pgqueue_claim(topic, producer.name, producer.epoch, sequences, batch.n,
					  &claim);
		skip_elements(&batch, claim.nduplicates);
		skip_elements(&keys, claim.nduplicates);
		skip_elements(&headers, claim.nduplicates);
	}
	topic = pgqueue_topic_refresh(topic);
	pgqueue_check_same(topic, id);
	npartitions = topic->npartitions;
	parts = palloc0(npartitions * sizeof(BatchPart));
	chosen = choose_partitions(topic, batch.n, has_explicit, explicit, &keys);
	records = form_batch(topic, chosen, &batch, &keys, &headers);
	grouped = pgqueue_group_records(records, batch.n, npartitions, &bounds);
	pgqueue_append_grouped(topic, grouped, bounds, npartitions);

	if (producer.name != NULL)
	{
		pgqueue_claim_fulfil(&claim, records,
							 has_watermark ? &watermark : NULL);
		for (int i = 0; i < claim.nduplicates; i++)
			count_message(parts, claim.places[i].partition,
						  claim.places[i].offset, true);
	}
	for (int i = 0; i < batch.n; i++)
	{
		LogFixed   *fixed = log_fixed(records[i]->t_data);

		count_message(parts, fixed->partition, fixed->offset, false);
	}
	return_parts(rsinfo, parts, npartitions);
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
