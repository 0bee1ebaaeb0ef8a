/*-------------------------------------------------------------------------
 *
 * produce_batch.c
 *	  queue.produce_batch().
 *
 * As produce.c, for arrays.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "funcapi.h"
#include "parser/parse_coerce.h"

#include "base/base.h"
#include "base/data.h"
#include "log/log.h"
#include "log/write.h"
#include "topic/message.h"
#include "topic/topic.h"
#include "producer/dedupe.h"
#include "producer/producer.h"
#include "api/api.h"

PG_FUNCTION_INFO_V1(pgqueue_produce_batch);

/* The messages of a call, and what identifies them. */
typedef struct BatchArgs
{
	Elements	batch;
	Elements	keys;
	Elements	headers;
	Elements	deliver_at;
	Elements	dedupe_keys;
	int32		partition;		/* -1: by the keys */
	ProducerArgs producer;
	int64	   *sequences;
	const Datum *watermark;		/* or NULL */
} BatchArgs;

/* Name an element of a batch, counted from 0, in the context of a message. */
static void
tell_element(void *element)
{
	errcontext("element %d of batch", *(int *) element + 1);
}

/* Convert a batch to the topic's values, in place. */
static void
convert_batch(Topic *topic, Elements *batch)
{
	ValueCast	cast = {.from = batch->type, .parent = CurrentMemoryContext};
	bool		as_text = IsBinaryCoercible(batch->type, TEXTOID);
	int			i = 0;
	ErrorContextCallback place = {error_context_stack, tell_element, &i};

	if (batch->type == topic->value_type)
		return;
	error_context_stack = &place;
	for (; i < batch->n; i++)
		batch->values[i] = as_text ?
			pgqueue_value_from_text(topic, batch->values[i], batch->nulls[i]) :
			pgqueue_value_from_typed(topic, &cast, batch->values[i],
									 &batch->nulls[i]);
	error_context_stack = place.previous;
	if (cast.context != NULL)
		MemoryContextDelete(cast.context);
}

/* Set a column of a message from an array, which may be empty: no values. */
static void
set_column(const Elements *elements, int i, int attr, Datum *values,
		   bool *nulls)
{
	nulls[attr - 1] = elements->n == 0 || elements->nulls[i];
	values[attr - 1] = nulls[attr - 1] ? (Datum) 0 : elements->values[i];
}

/*
 * Form the records of a batch from message first on, but those that are stored
 * (NULL: none), in the caller's order.  They go to the partition that the caller
 * names, that of the key, or one for all messages without a key.
 */
static HeapTuple *
form_batch(Topic *topic, int first, const bool *stored, const BatchArgs *args)
{
	const Elements *batch = &args->batch;
	HeapTuple  *records = palloc((batch->n - first) * sizeof(HeapTuple));
	int32		sticky = -1;
	int			n = 0;
	int			i = first;
	ErrorContextCallback place = {error_context_stack, tell_element, &i};

	error_context_stack = &place;
	for (; i < batch->n; i++)
	{
		Datum		values[LOG_NATTS];
		bool		nulls[LOG_NATTS];
		int32		partition = args->partition;

		if (stored != NULL && stored[i])
			continue;
		set_column(batch, i, LOG_ATTR_VALUE, values, nulls);
		set_column(&args->keys, i, LOG_ATTR_KEY, values, nulls);
		set_column(&args->headers, i, LOG_ATTR_HEADERS, values, nulls);
		set_column(&args->deliver_at, i, LOG_ATTR_DELIVER_AT, values, nulls);
		pgqueue_check_message(topic, values, nulls);
		if (partition < 0 && !nulls[LOG_ATTR_KEY - 1])
			partition =
				pgqueue_partition_for_text(DatumGetTextPP(values[LOG_ATTR_KEY - 1]),
										   topic->npartitions);
		else if (partition < 0)
		{
			if (sticky < 0)
				sticky = pgqueue_next_sticky(topic);
			partition = sticky;
		}
		records[n++] = pgqueue_form_record(topic->desc, partition, values, nulls);
	}
	error_context_stack = place.previous;
	return records;
}

/*
 * Return the sequences of a batch of n messages: given by the first, argument
 * 6, or one by one, argument 9; NULL if there are none.
 *
 * Errors: 22023, 22004.
 */
static int64 *
sequences_arg(FunctionCallInfo fcinfo, int n)
{
	bool		one_by_one = !PG_ARGISNULL(9);
	int64	   *sequences;
	int64		first;

	if (PG_ARGISNULL(6) && !one_by_one)
		return NULL;
	if (!PG_ARGISNULL(6) && one_by_one)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("first_sequence and sequences exclude each other")));

	sequences = palloc(Max(n, 1) * sizeof(int64));
	if (one_by_one)
	{
		Elements	elements;

		pgqueue_take_apart(fcinfo, 9, "sequences", n, &elements);
		for (int i = 0; i < n; i++)
		{
			if (elements.nulls[i])
				ereport(ERROR,
						(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						 errmsg("sequences must not contain NULL"),
						 errdetail("Element %d is NULL.", i + 1)));
			sequences[i] = DatumGetInt64(elements.values[i]);
		}
		return sequences;
	}
	first = PG_GETARG_INT64(6);
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

/* The partitions of a batch: of a topic that has many it concerns a few. */
typedef struct BatchResult
{
	int32		low;
	int32		high;
	BatchPart  *parts;			/* from low to high; NULL: these are sought */
} BatchResult;

static void
count_message(BatchResult *result, int32 partition, int64 offset, bool duplicate)
{
	BatchPart  *part;

	if (result->parts == NULL)
	{
		result->low = Min(result->low, partition);
		result->high = Max(result->high, partition);
		return;
	}
	part = &result->parts[partition - result->low];
	if (part->count + part->duplicates == 0)
		part->first = part->last = offset;
	part->first = Min(part->first, offset);
	part->last = Max(part->last, offset);
	if (duplicate)
		part->duplicates++;
	else
		part->count++;
}

/* Count the messages of a batch: duplicates and new ones. */
static void
count_batch(BatchResult *result, const ProducerClaim *claim,
			const KeyClaim *dedupe, HeapTuple *records, int n)
{
	for (int i = 0; i < dedupe->n; i++)
		if (dedupe->stored[i])
			count_message(result, dedupe->places[i].partition,
						  dedupe->places[i].offset, true);
	for (int i = 0; i < claim->nduplicates; i++)
		count_message(result, claim->places[i].partition,
					  claim->places[i].offset, true);
	for (int i = 0; i < n; i++)
	{
		LogFixed   *fixed = log_fixed(records[i]->t_data);

		count_message(result, fixed->partition, fixed->offset, false);
	}
}

/* Return a row per partition that holds messages of the batch. */
static void
return_parts(ReturnSetInfo *rsinfo, const BatchResult *result)
{
	for (int32 p = result->low; p <= result->high; p++)
	{
		const BatchPart *part = &result->parts[p - result->low];
		const Datum values[] = {Int32GetDatum(p), Int64GetDatum(part->first),
			Int64GetDatum(part->last), Int64GetDatum(part->count),
		Int64GetDatum(part->duplicates)};
		bool		nulls[lengthof(values)] = {false};

		if (part->count + part->duplicates > 0)
			pgqueue_put_row(rsinfo, values, nulls, lengthof(values));
	}
}

/*
 * Append those messages of a batch that are new, and return the rows.
 *
 * id: of the topic whose values they are.  Errors: 55006 if it is another one now.
 */
static void
append_batch(Topic *topic, int32 id, const BatchArgs *args,
			 ReturnSetInfo *rsinfo)
{
	int			n = args->batch.n;
	ProducerClaim claim = {0};
	KeyClaim	dedupe = {0};
	HeapTuple  *records;
	BatchResult result = {.low = PGQUEUE_MAX_PARTITIONS,.high = -1};

	if (args->producer.name != NULL)
		pgqueue_claim(topic, args->producer.name, args->producer.epoch,
					  args->sequences, n, &claim);
	if (args->dedupe_keys.n > 0)
		pgqueue_keys_claim(topic, args->dedupe_keys.values,
						   args->dedupe_keys.nulls, n, &dedupe);
	topic = pgqueue_topic_refresh(topic);
	pgqueue_check_same(topic, id);
	records = form_batch(topic, claim.nduplicates, dedupe.stored, args);
	n = dedupe.n > 0 ? dedupe.nnew : n - claim.nduplicates;
	pgqueue_append_all(topic, records, n);
	if (args->producer.name != NULL)
		pgqueue_claim_complete(&claim, records, args->watermark);
	if (dedupe.n > 0)
		pgqueue_keys_complete(topic, &dedupe, records);
	count_batch(&result, &claim, &dedupe, records, n);
	if (result.high < 0)
		return;
	result.parts = palloc0((result.high - result.low + 1) * sizeof(BatchPart));
	count_batch(&result, &claim, &dedupe, records, n);
	return_parts(rsinfo, &result);
}

/* Read the arguments that are arrays.  Errors: 22023, 22004. */
static void
array_args(FunctionCallInfo fcinfo, BatchArgs *args)
{
	int			n;

	pgqueue_take_apart(fcinfo, 1, "batch", -1, &args->batch);
	n = args->batch.n;
	if (!PG_ARGISNULL(2))
		pgqueue_take_apart(fcinfo, 2, "keys", n, &args->keys);
	if (!PG_ARGISNULL(3))
		pgqueue_take_apart(fcinfo, 3, "headers", n, &args->headers);
	if (!PG_ARGISNULL(10))
		pgqueue_take_apart(fcinfo, 10, "dedupe_keys", n, &args->dedupe_keys);
	if (!PG_ARGISNULL(11))
		pgqueue_take_apart(fcinfo, 11, "deliver_at", n, &args->deliver_at);
	args->sequences = sequences_arg(fcinfo, n);
	if (args->producer.name != NULL && args->sequences == NULL && n > 0)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("first_sequence or sequences must be given with a producer_id")));
}

/*
 * (topic, batch, keys, headers, partition, producer_id, first_sequence, epoch,
 * watermark, sequences, dedupe_keys, deliver_at)
 */
Datum
pgqueue_produce_batch(PG_FUNCTION_ARGS)
{
	static const Oid types[] = {INT4OID, INT8OID, INT8OID, INT8OID, INT8OID};
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Topic	   *topic;
	bool		has_watermark = !PG_ARGISNULL(8);
	Datum		watermark = has_watermark ? PG_GETARG_DATUM(8) : (Datum) 0;
	BatchArgs	args = {.partition = -1};
	int32		id;

	pgqueue_check_writable(fcinfo);
	pgqueue_check_not_null(fcinfo, 0, "topic");
	pgqueue_check_not_null(fcinfo, 1, "batch");
	args.producer =
		pgqueue_producer_args(fcinfo,
							  !PG_ARGISNULL(6) || !PG_ARGISNULL(9) ||
							  has_watermark,
							  has_watermark ? "watermark" : "a sequence",
							  !PG_ARGISNULL(10), "dedupe_keys");
	topic = pgqueue_wanted_topic_arg(PG_GETARG_TEXT_PP(0));
	pgqueue_check_right(topic, ACL_INSERT);
	if (!PG_ARGISNULL(4))
	{
		args.partition = PG_GETARG_INT32(4);
		pgqueue_check_partition(topic, args.partition);
	}
	if (has_watermark)
		args.watermark = &watermark;
	array_args(fcinfo, &args);
	InitMaterializedSRF(fcinfo, 0);
	pgqueue_check_result(rsinfo->setDesc, types, lengthof(types));
	/* a watermark alone is worth a row of the producer's state */
	if (args.batch.n == 0 && !has_watermark)
	{
		if (args.producer.name != NULL)
			pgqueue_check_fenced(topic, args.producer.name,
								 args.producer.epoch);
		return (Datum) 0;
	}

	id = topic->id;
	convert_batch(topic, &args.batch);
	/* the conversion may have run anything */
	pgqueue_view_flush();
	pgqueue_check_same(topic, id);
	append_batch(topic, id, &args, rsinfo);
	return (Datum) 0;
}
