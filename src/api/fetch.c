/*-------------------------------------------------------------------------
 *
 * fetch.c
 *	  queue.fetch(), fetch_typed(): read from a given offset, without a group.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/snapmgr.h"

#include "base/base.h"
#include "log/log.h"
#include "topic/message.h"
#include "topic/topic.h"
#include "group/member.h"
#include "api/api.h"

/* (topic, partition, from_offset, [value_type,] max_messages, max_bytes) */
static Datum
fetch(FunctionCallInfo fcinfo, int limits_arg)
{
	Topic	   *topic;
	int32		partition;
	int64		from;
	MessageSink sink;
	int64		stopped_at;

	pgqueue_check_not_null(fcinfo, 1, "partition");
	pgqueue_check_not_null(fcinfo, 2, "from_offset");
	topic = pgqueue_readable_topic(fcinfo, 0);
	partition = PG_GETARG_INT32(1);
	pgqueue_check_partition(topic, partition);
	from = PG_GETARG_INT64(2);
	pgqueue_sink_init(&sink, fcinfo, limits_arg, limits_arg + 1, false);
	sink.attempt = -1;
	pgqueue_sink_topic(&sink, topic,
					   "queue.fetch_typed(%s, <partition>, <from_offset>, NULL::%s)");

	if (from < pgqueue_log_start(topic, partition) ||
		pgqueue_scan(topic, partition, from, GetActiveSnapshot(),
					 pgqueue_sink_receive, &sink, &stopped_at) == SCAN_GONE ||
		(sink.taken == 0 && pgqueue_behind_log_end(topic, partition, from)))
		pgqueue_offset_out_of_range(topic, partition, from, "offset");
	return (Datum) 0;
}

PGQUEUE_VARIANT(pgqueue_fetch, fetch(fcinfo, 3))
PGQUEUE_VARIANT(pgqueue_fetch_typed, fetch(fcinfo, 4))
