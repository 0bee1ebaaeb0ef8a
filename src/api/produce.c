/*-------------------------------------------------------------------------
 *
 * produce.c
 *	  queue.produce(), partition_for_key() and murmur2().
 *
 * produce() checks its arguments and rights, turns them into a record, chooses
 * the partition and ends in pgqueue_append(); INSERT and COPY (view_insert.c)
 * do the same for rows of a topic's view.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "funcapi.h"

#include "base/base.h"
#include "base/data.h"
#include "log/log.h"
#include "log/write.h"
#include "topic/message.h"
#include "topic/topic.h"
#include "producer/dedupe.h"
#include "producer/producer.h"
#include "api/api.h"

PG_FUNCTION_INFO_V1(pgqueue_murmur2_sql);
PG_FUNCTION_INFO_V1(pgqueue_partition_for_key_sql);

/* What a place of the query where produce() is called keeps, in fn_extra. */
typedef struct ProduceCall
{
	TupleDesc	desc;			/* of the result, or NULL */
	ValueCast	cast;
} ProduceCall;

static ProduceCall *
produce_call(FmgrInfo *flinfo)
{
	ProduceCall *call = flinfo->fn_extra;

	if (call == NULL)
	{
		call = MemoryContextAllocZero(flinfo->fn_mcxt, sizeof(ProduceCall));
		call->cast.parent = flinfo->fn_mcxt;
		flinfo->fn_extra = call;
	}
	return call;
}

/* Form the row that produce returns.  timestamp: NULL for a duplicate. */
static Datum
produce_result(FunctionCallInfo fcinfo, int32 partition, int64 offset,
			   const TimestampTz *timestamp)
{
	bool		duplicate = timestamp == NULL;
	const Datum values[] = {Int32GetDatum(partition), Int64GetDatum(offset),
		duplicate ? (Datum) 0 : TimestampTzGetDatum(*timestamp),
	BoolGetDatum(duplicate)};
	const bool	nulls[] = {false, false, duplicate, false};
	ProduceCall *call = produce_call(fcinfo->flinfo);

	if (call->desc == NULL)
	{
		static const Oid types[] = {INT4OID, INT8OID, TIMESTAMPTZOID, BOOLOID};
		MemoryContext old = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);
		TupleDesc	desc;

		if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
			elog(ERROR, "return type must be a row type");
		pgqueue_check_result(desc, types, lengthof(types));
		call->desc = BlessTupleDesc(CreateTupleDescCopy(desc));
		MemoryContextSwitchTo(old);
	}
	return HeapTupleGetDatum(pgqueue_form_row(call->desc, values, nulls,
											  lengthof(values)));
}

/* Convert the value, argument 1, which is of a type. */
static Datum
typed_value(FunctionCallInfo fcinfo, Topic *topic, Oid type, bool *isnull)
{
	ValueCast  *cast = &produce_call(fcinfo->flinfo)->cast;

	cast->from = type;
	return pgqueue_value_from_typed(topic, cast, PG_GETARG_DATUM(1), isnull);
}

/*
 * Claim what identifies the message: a sequence of a producer, or a dedupe_key.
 * Return true if the message is stored already, and set *place.
 */
static bool
is_stored(FunctionCallInfo fcinfo, Topic *topic, const ProducerArgs *producer,
		  ProducerClaim *sequence, KeyClaim *key, MessageAddress *place)
{
	if (producer->name != NULL)
	{
		pgqueue_claim(topic, producer->name, producer->epoch,
					  &producer->sequence, 1, sequence);
		if (sequence->nduplicates == 0)
			return false;
		pgqueue_claim_complete(sequence, NULL, NULL);
		*place = sequence->places[0];
		return true;
	}
	if (PG_ARGISNULL(8))
		return false;
	pgqueue_keys_claim(topic, &fcinfo->args[8].value, &fcinfo->args[8].isnull, 1,
					   key);
	*place = key->places[0];
	return key->stored[0];
}

/*
 * (topic, value, key, headers, partition, producer_id, sequence, epoch,
 * dedupe_key, deliver_at)
 *
 * type: of the value; InvalidOid for text
 */
static Datum
produce(FunctionCallInfo fcinfo, Oid type)
{
	Topic	   *topic;
	text	   *key = PG_ARGISNULL(2) ? NULL : PG_GETARG_TEXT_PP(2);
	Datum		values[LOG_NATTS];
	bool		nulls[LOG_NATTS];
	int32		partition;
	int32		id;
	HeapTuple	record;
	ProducerArgs producer;
	ProducerClaim claim;
	KeyClaim	dedupe;
	MessageAddress place;
	LogFixed   *fixed;

	pgqueue_check_writable(fcinfo);
	pgqueue_check_not_null(fcinfo, 0, "topic");
	producer = pgqueue_producer_args(fcinfo, !PG_ARGISNULL(6), "sequence",
									 !PG_ARGISNULL(8), "dedupe_key");
	if (producer.name != NULL)
	{
		if (PG_ARGISNULL(6))
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("sequence must be given with a producer_id")));
		producer.sequence = PG_GETARG_INT64(6);
	}
	topic = pgqueue_wanted_topic_arg(PG_GETARG_TEXT_PP(0));
	pgqueue_check_right(topic, ACL_INSERT);
	values[LOG_ATTR_KEY - 1] = PointerGetDatum(key);
	values[LOG_ATTR_HEADERS - 1] = PG_GETARG_DATUM(3);
	values[LOG_ATTR_DELIVER_AT - 1] = PG_GETARG_DATUM(9);
	nulls[LOG_ATTR_KEY - 1] = key == NULL;
	nulls[LOG_ATTR_VALUE - 1] = PG_ARGISNULL(1);
	nulls[LOG_ATTR_HEADERS - 1] = PG_ARGISNULL(3);
	nulls[LOG_ATTR_DELIVER_AT - 1] = PG_ARGISNULL(9);

	id = topic->id;
	values[LOG_ATTR_VALUE - 1] = OidIsValid(type) ?
		typed_value(fcinfo, topic, type, &nulls[LOG_ATTR_VALUE - 1]) :
		pgqueue_value_from_text(topic, PG_GETARG_DATUM(1), PG_ARGISNULL(1));
	pgqueue_check_message(topic, values, nulls);
	/* the conversion may have run anything */
	pgqueue_view_flush();
	pgqueue_check_same(topic, id);
	if (is_stored(fcinfo, topic, &producer, &claim, &dedupe, &place))
		return produce_result(fcinfo, place.partition, place.offset, NULL);
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

	record = pgqueue_form_record(topic->desc, partition, values, nulls);
	pgqueue_append(topic, partition, &record, 1);
	if (producer.name != NULL)
		pgqueue_claim_complete(&claim, &record, NULL);
	else if (!PG_ARGISNULL(8))
		pgqueue_keys_complete(topic, &dedupe, &record);
	fixed = log_fixed(record->t_data);
	return produce_result(fcinfo, fixed->partition, fixed->offset,
						  &fixed->timestamp);
}

PGQUEUE_VARIANT(pgqueue_produce_text, produce(fcinfo, InvalidOid))
PGQUEUE_VARIANT(pgqueue_produce_typed, produce(fcinfo, pgqueue_argument_type(fcinfo, 1, "value")))

/* ---------------- the partitioner ---------------- */

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
	PG_RETURN_INT32(pgqueue_partition_for_text(PG_GETARG_TEXT_PP(0),
											   npartitions));
}
