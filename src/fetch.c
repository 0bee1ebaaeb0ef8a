/*-------------------------------------------------------------------------
 *
 * fetch.c
 *	  queue.fetch(): read from a given offset, without a group; and the rows
 *	  of messages that consume returns too.
 *
 *-------------------------------------------------------------------------
 */
#include "queue.h"

#include "access/detoast.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"

PG_FUNCTION_INFO_V1(pgqueue_fetch);
PG_FUNCTION_INFO_V1(pgqueue_fetch_typed);

/* Columns of queue.message. */
#define MESSAGE_ATTR_TOPIC		1
#define MESSAGE_ATTR_PARTITION	2
#define MESSAGE_ATTR_OFFSET		3
#define MESSAGE_ATTR_TIMESTAMP	4
#define MESSAGE_ATTR_KEY		5
#define MESSAGE_ATTR_VALUE		6
#define MESSAGE_ATTR_HEADERS	7
#define MESSAGE_NATTS			7

/*
 * Prepare the result of a function that returns messages.
 *
 * call: the call that would be right for another type of value, with %s for
 * the type; for the hint.
 *
 * Errors: 22004, 22023 for the limits; 42804 if the function's value column
 * has another type than the topic.
 */
void
pgqueue_sink_init(MessageSink *sink, FunctionCallInfo fcinfo,
				  const Topic *topic, int max_messages_arg, int max_bytes_arg,
				  const char *call)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Oid			type;

	pgqueue_check_not_null(fcinfo, max_messages_arg, "max_messages");
	sink->messages_left = PG_GETARG_INT32(max_messages_arg);
	if (sink->messages_left <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_messages must be positive, not " INT64_FORMAT,
						sink->messages_left)));
	sink->bytes_left = PG_INT64_MAX;
	if (!PG_ARGISNULL(max_bytes_arg))
	{
		sink->bytes_left = PG_GETARG_INT64(max_bytes_arg);
		if (sink->bytes_left <= 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("max_bytes must be positive, not " INT64_FORMAT,
							sink->bytes_left)));
	}

	InitMaterializedSRF(fcinfo, 0);
	sink->store = rsinfo->setResult;
	sink->desc = rsinfo->setDesc;
	if (sink->desc->natts != MESSAGE_NATTS)
		elog(ERROR, "unexpected result row of %d columns", sink->desc->natts);
	type = TupleDescAttr(sink->desc, MESSAGE_ATTR_VALUE - 1)->atttypid;
	if (type != topic->value_type)
	{
		char	   *right = psprintf(call, quote_literal_cstr(topic->name),
									 format_type_be(topic->value_type));

		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("topic \"%s\" has values of type %s, not %s",
						topic->name,
						format_type_be(topic->value_type),
						format_type_be(type)),
				 errhint("Call %s.", right)));
	}
	sink->topic_name = CStringGetTextDatum(topic->name);
	sink->taken = 0;
	sink->next = 0;
}

/* Bytes of a message, as they count for max_bytes: not compressed. */
static int64
message_bytes(const Datum *values, const bool *nulls, TupleDesc desc)
{
	int64		bytes = 0;

	for (int i = LOG_ATTR_KEY - 1; i < LOG_NATTS; i++)
	{
		if (nulls[i])
			continue;
		bytes += TupleDescAttr(desc, i)->attlen == -1 ?
			toast_raw_datum_size(values[i]) - VARHDRSZ :
			TupleDescAttr(desc, i)->attlen > 0 ?
			TupleDescAttr(desc, i)->attlen : 0;
	}
	return bytes;
}

/* A LogReceiver.  The first message is taken whatever its size. */
bool
pgqueue_sink_receive(HeapTuple tuple, Relation leaf, void *arg)
{
	MessageSink *sink = arg;
	Datum		record[LOG_NATTS];
	bool		record_nulls[LOG_NATTS];
	Datum		values[MESSAGE_NATTS];
	bool		nulls[MESSAGE_NATTS] = {false};

	heap_deform_tuple(tuple, RelationGetDescr(leaf), record, record_nulls);
	if (sink->bytes_left != PG_INT64_MAX)
	{
		int64		bytes = message_bytes(record, record_nulls,
										  RelationGetDescr(leaf));

		if (sink->taken > 0 && bytes > sink->bytes_left)
			return false;
		sink->bytes_left = Max(sink->bytes_left - bytes, 0);
	}

	values[MESSAGE_ATTR_TOPIC - 1] = sink->topic_name;
	values[MESSAGE_ATTR_PARTITION - 1] = record[LOG_ATTR_PARTITION - 1];
	values[MESSAGE_ATTR_OFFSET - 1] = record[LOG_ATTR_OFFSET - 1];
	values[MESSAGE_ATTR_TIMESTAMP - 1] = record[LOG_ATTR_TIMESTAMP - 1];
	values[MESSAGE_ATTR_KEY - 1] = record[LOG_ATTR_KEY - 1];
	nulls[MESSAGE_ATTR_KEY - 1] = record_nulls[LOG_ATTR_KEY - 1];
	values[MESSAGE_ATTR_VALUE - 1] = record[LOG_ATTR_VALUE - 1];
	nulls[MESSAGE_ATTR_VALUE - 1] = record_nulls[LOG_ATTR_VALUE - 1];
	values[MESSAGE_ATTR_HEADERS - 1] = record[LOG_ATTR_HEADERS - 1];
	nulls[MESSAGE_ATTR_HEADERS - 1] = record_nulls[LOG_ATTR_HEADERS - 1];
	tuplestore_putvalues(sink->store, sink->desc, values, nulls);

	sink->taken++;
	sink->next = DatumGetInt64(record[LOG_ATTR_OFFSET - 1]) + 1;
	return --sink->messages_left > 0;
}

/* (topic, partition, from_offset, [value_type,] max_messages, max_bytes) */
static Datum
fetch(FunctionCallInfo fcinfo, int limits_arg)
{
	Topic	   *topic;
	int32		partition;
	int64		from;
	MessageSink sink;
	int64		stopped_at;

	pgqueue_check_not_null(fcinfo, 0, "topic");
	pgqueue_check_not_null(fcinfo, 1, "partition");
	pgqueue_check_not_null(fcinfo, 2, "from_offset");
	topic = pgqueue_topic_arg(PG_GETARG_TEXT_PP(0));
	pgqueue_check_right(topic, ACL_SELECT);
	partition = PG_GETARG_INT32(1);
	pgqueue_check_partition(topic, partition);
	from = PG_GETARG_INT64(2);
	pgqueue_sink_init(&sink, fcinfo, topic, limits_arg, limits_arg + 1,
					  "queue.fetch(%s, <partition>, <from_offset>, NULL::%s, <max_messages>)");

	if (from < pgqueue_log_start(topic, partition))
		pgqueue_offset_out_of_range(topic, partition, from, "offset");
	(void) pgqueue_scan(topic, partition, from, GetActiveSnapshot(),
						pgqueue_sink_receive, &sink, &stopped_at);
	if (sink.taken == 0 && from > pgqueue_log_end(topic, partition))
		pgqueue_offset_out_of_range(topic, partition, from, "offset");
	return (Datum) 0;
}

Datum
pgqueue_fetch(PG_FUNCTION_ARGS)
{
	return fetch(fcinfo, 3);
}

Datum
pgqueue_fetch_typed(PG_FUNCTION_ARGS)
{
	return fetch(fcinfo, 4);
}
