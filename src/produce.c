/*-------------------------------------------------------------------------
 *
 * produce.c
 *	  queue.produce(), queue.produce_batch(), and INSERT and COPY through the
 *	  view of a topic.
 *
 * Each checks its arguments and rights, turns them into records, chooses
 * partitions and ends in pgqueue_append().
 *
 *-------------------------------------------------------------------------
 */
#include "queue.h"

#include "access/xact.h"
#include "catalog/pg_type_d.h"
#include "commands/trigger.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/tuplestore.h"

PG_FUNCTION_INFO_V1(pgqueue_produce_text);
PG_FUNCTION_INFO_V1(pgqueue_produce_typed);
PG_FUNCTION_INFO_V1(pgqueue_produce_batch);
PG_FUNCTION_INFO_V1(pgqueue_topic_insert);
PG_FUNCTION_INFO_V1(pgqueue_murmur2_sql);
PG_FUNCTION_INFO_V1(pgqueue_partition_for_key_sql);

/* Columns of the view topic.<name>. */
#define FACE_ATTR_PARTITION 1
#define FACE_ATTR_OFFSET	2
#define FACE_ATTR_TIMESTAMP 3
#define FACE_ATTR_KEY		4
#define FACE_ATTR_VALUE		5
#define FACE_ATTR_HEADERS	6
#define FACE_NATTS			6

/* Messages without a key that an INSERT or COPY sends to one partition. */
#define STICKY_ROWS			1000

/* ---------------- checks ---------------- */

/* A NULL value deletes a key; without a key it means nothing. */
static void
check_message(bool value_null, bool key_null, bool headers_null, Datum headers)
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
static int32
partition_for_key(text *key, int npartitions)
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
static int32
next_sticky(Topic *topic)
{
	topic->sticky = (topic->sticky + 1) % topic->npartitions;
	return topic->sticky;
}

/* ---------------- one message ---------------- */

/*
 * Append one message.	Returns its record, offset and timestamp filled in.
 */
static HeapTuple
produce_one(Topic *topic, int32 partition, Datum value, bool value_null,
			Datum key, bool key_null, Datum headers, bool headers_null)
{
	Datum		values[LOG_NATTS];
	bool		nulls[LOG_NATTS];
	HeapTuple	tuple;
	AppendBatch batch;

	values[LOG_ATTR_KEY - 1] = key;
	nulls[LOG_ATTR_KEY - 1] = key_null;
	values[LOG_ATTR_VALUE - 1] = value;
	nulls[LOG_ATTR_VALUE - 1] = value_null;
	values[LOG_ATTR_HEADERS - 1] = headers;
	nulls[LOG_ATTR_HEADERS - 1] = headers_null;
	tuple = pgqueue_form_record(topic->desc, partition, values, nulls);

	batch.tuples = &tuple;
	batch.ntuples = 1;
	pgqueue_append(topic, partition, &batch);
	return tuple;
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

	pgqueue_check_writable("queue.produce()");
	pgqueue_check_not_null(fcinfo, 0, "topic");
	topic = pgqueue_topic_arg(PG_GETARG_TEXT_PP(0));
	pgqueue_check_right(topic, ACL_INSERT);
	check_message(value_null, key_null, headers_null, headers);

	value = OidIsValid(type) ?
		pgqueue_value_from_typed(topic, type, value, value_null) :
		pgqueue_value_from_text(topic, value, value_null);
	/* the conversion may have run anything */
	topic = pgqueue_topic_refresh(topic);

	if (!PG_ARGISNULL(4))
	{
		partition = PG_GETARG_INT32(4);
		pgqueue_check_partition(topic, partition);
	}
	else if (key != NULL)
		partition = partition_for_key(key, topic->npartitions);
	else
		partition = next_sticky(topic);

	return produce_result(fcinfo,
						  produce_one(topic, partition, value, value_null,
									  PointerGetDatum(key), key_null,
									  headers, headers_null));
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
 * Errors: 22023 for more than one dimension, or another number of elements
 * than expected (-1: any).
 */
static void
take_apart(FunctionCallInfo fcinfo, int arg, const char *name, int expected,
		   Elements *elements)
{
	ArrayType  *array = PG_GETARG_ARRAYTYPE_P(arg);
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
	if (batch->type == topic->value_type)
		return;
	for (int i = 0; i < batch->n; i++)
		batch->values[i] = batch->type == TEXTOID ?
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
			chosen[i] = partition_for_key(DatumGetTextPP(keys->values[i]),
										  topic->npartitions);
		else
		{
			if (sticky < 0)
				sticky = next_sticky(topic);
			chosen[i] = sticky;
		}
	}
	return chosen;
}

/*
 * Records grouped by partition, the caller's order kept within each.
 * bounds[p] .. bounds[p + 1] are those of partition p.
 */
static HeapTuple *
form_batch(Topic *topic, const int32 *chosen, const Elements *batch,
		   const Elements *keys, const Elements *headers, int **bounds)
{
	HeapTuple  *tuples = palloc(batch->n * sizeof(HeapTuple));
	int		   *end = palloc0((topic->npartitions + 1) * sizeof(int));
	int		   *next;

	for (int i = 0; i < batch->n; i++)
		end[chosen[i] + 1]++;
	for (int p = 0; p < topic->npartitions; p++)
		end[p + 1] += end[p];
	next = palloc(topic->npartitions * sizeof(int));
	memcpy(next, end, topic->npartitions * sizeof(int));

	for (int i = 0; i < batch->n; i++)
	{
		Datum		values[LOG_NATTS];
		bool		nulls[LOG_NATTS];

		values[LOG_ATTR_KEY - 1] = keys->n > 0 ? keys->values[i] : (Datum) 0;
		nulls[LOG_ATTR_KEY - 1] = keys->n == 0 || keys->nulls[i];
		values[LOG_ATTR_VALUE - 1] = batch->values[i];
		nulls[LOG_ATTR_VALUE - 1] = batch->nulls[i];
		values[LOG_ATTR_HEADERS - 1] = headers->n > 0 ? headers->values[i] : (Datum) 0;
		nulls[LOG_ATTR_HEADERS - 1] = headers->n == 0 || headers->nulls[i];
		check_message(batch->nulls[i], nulls[LOG_ATTR_KEY - 1],
					  nulls[LOG_ATTR_HEADERS - 1],
					  values[LOG_ATTR_HEADERS - 1]);
		tuples[next[chosen[i]]++] =
			pgqueue_form_record(topic->desc, chosen[i], values, nulls);
	}
	*bounds = end;
	return tuples;
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
	HeapTuple  *tuples;
	int		   *bounds;
	int			npartitions;

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

	convert_batch(topic, &batch);
	/* the conversion may have run anything */
	topic = pgqueue_topic_refresh(topic);
	chosen = choose_partitions(topic, batch.n, has_explicit, explicit, &keys);
	tuples = form_batch(topic, chosen, &batch, &keys, &headers, &bounds);

	npartitions = topic->npartitions;
	for (int32 p = 0; p < npartitions; p++)
	{
		AppendBatch part;
		Datum		values[4];
		bool		nulls[4] = {false};

		part.tuples = tuples + bounds[p];
		part.ntuples = bounds[p + 1] - bounds[p];
		if (part.ntuples == 0)
			continue;
		topic = pgqueue_topic_refresh(topic);
		pgqueue_append(topic, p, &part);

		values[0] = Int32GetDatum(p);
		values[1] = Int64GetDatum(log_fixed(part.tuples[0]->t_data)->offset);
		values[2] = Int64GetDatum(log_fixed(part.tuples[part.ntuples - 1]->t_data)->offset);
		values[3] = Int64GetDatum(part.ntuples);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/* ---------------- INSERT and COPY ---------------- */

/* What the trigger remembers for the length of a statement. */
typedef struct InsertState
{
	int32		sticky;
	int			sticky_left;
} InsertState;

/* Errors: 428C9 if the row brings what the log assigns. */
static void
check_not_given(const bool *nulls, int attnum, const char *column)
{
	if (!nulls[attnum - 1])
		ereport(ERROR,
				(errcode(ERRCODE_GENERATED_ALWAYS),
				 errmsg("cannot insert a value into column \"%s\" of a topic",
						column),
				 errdetail("The log assigns it.")));
}

/* Round robin by runs, so that a COPY's messages do not jump about. */
static int32
sticky_for_row(FunctionCallInfo fcinfo, Topic *topic)
{
	InsertState *state = fcinfo->flinfo->fn_extra;

	if (state == NULL)
	{
		state = MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt,
									   sizeof(InsertState));
		fcinfo->flinfo->fn_extra = state;
	}
	if (state->sticky_left == 0 || state->sticky >= topic->npartitions)
	{
		state->sticky = next_sticky(topic);
		state->sticky_left = STICKY_ROWS;
	}
	state->sticky_left--;
	return state->sticky;
}

/*
 * INSTEAD OF INSERT FOR EACH ROW on topic.<name>, argument: the topic's name.
 * The executor has checked the right to insert into the view.
 */
Datum
pgqueue_topic_insert(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	TupleDesc	desc;
	Topic	   *topic;
	Datum		row[FACE_NATTS];
	bool		nulls[FACE_NATTS];
	int32		partition;
	LogFixed   *fixed;

	if (!CALLED_AS_TRIGGER(fcinfo) ||
		!TRIGGER_FIRED_INSTEAD(trigger->tg_event) ||
		!TRIGGER_FIRED_BY_INSERT(trigger->tg_event) ||
		trigger->tg_trigger->tgnargs != 1)
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("queue.topic_insert() must be called by the trigger of a topic's view")));
	desc = RelationGetDescr(trigger->tg_relation);
	if (desc->natts != FACE_NATTS)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("view \"%s\" of the topic was altered",
						RelationGetRelationName(trigger->tg_relation))));
	topic = pgqueue_topic(trigger->tg_trigger->tgargs[0]);

	heap_deform_tuple(trigger->tg_trigtuple, desc, row, nulls);
	check_not_given(nulls, FACE_ATTR_OFFSET, "offset");
	check_not_given(nulls, FACE_ATTR_TIMESTAMP, "timestamp");
	check_message(nulls[FACE_ATTR_VALUE - 1], nulls[FACE_ATTR_KEY - 1],
				  nulls[FACE_ATTR_HEADERS - 1], row[FACE_ATTR_HEADERS - 1]);

	if (!nulls[FACE_ATTR_PARTITION - 1])
	{
		partition = DatumGetInt32(row[FACE_ATTR_PARTITION - 1]);
		pgqueue_check_partition(topic, partition);
	}
	else if (!nulls[FACE_ATTR_KEY - 1])
		partition = partition_for_key(DatumGetTextPP(row[FACE_ATTR_KEY - 1]),
									  topic->npartitions);
	else
		partition = sticky_for_row(fcinfo, topic);

	fixed = log_fixed(produce_one(topic, partition,
								  row[FACE_ATTR_VALUE - 1],
								  nulls[FACE_ATTR_VALUE - 1],
								  row[FACE_ATTR_KEY - 1],
								  nulls[FACE_ATTR_KEY - 1],
								  row[FACE_ATTR_HEADERS - 1],
								  nulls[FACE_ATTR_HEADERS - 1])->t_data);

	/* what RETURNING shows */
	row[FACE_ATTR_PARTITION - 1] = Int32GetDatum(fixed->partition);
	row[FACE_ATTR_OFFSET - 1] = Int64GetDatum(fixed->offset);
	row[FACE_ATTR_TIMESTAMP - 1] = TimestampTzGetDatum(fixed->timestamp);
	nulls[FACE_ATTR_PARTITION - 1] = false;
	nulls[FACE_ATTR_OFFSET - 1] = false;
	nulls[FACE_ATTR_TIMESTAMP - 1] = false;
	return PointerGetDatum(heap_form_tuple(desc, row, nulls));
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
	PG_RETURN_INT32(partition_for_key(PG_GETARG_TEXT_PP(0), npartitions));
}
