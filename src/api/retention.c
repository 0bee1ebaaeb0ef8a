/*-------------------------------------------------------------------------
 *
 * retention.c
 *	  queue.delete_messages(), and the function that view queue.retention reads.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"

#include "base/base.h"
#include "base/lock.h"
#include "topic/segment.h"
#include "topic/topic.h"
#include "cleanup/cleanup.h"
#include "api/api.h"

PG_FUNCTION_INFO_V1(pgqueue_delete_messages);
PG_FUNCTION_INFO_V1(pgqueue_retention_list);

/* ---------------- delete_messages ---------------- */

/* (topic, partition, before_offset, force) -> (log_start, segments, bytes) */
Datum
pgqueue_delete_messages(PG_FUNCTION_ARGS)
{
	Topic	   *topic;
	int32		partition;
	int64		before;
	int64		bytes = 0;
	int			n;
	Datum		values[3];
	bool		nulls[3] = {false};

	pgqueue_check_writable(fcinfo);
	pgqueue_check_not_null(fcinfo, 0, "topic");
	pgqueue_check_not_null(fcinfo, 1, "partition");
	pgqueue_check_not_null(fcinfo, 2, "before_offset");
	topic = pgqueue_topic_arg(PG_GETARG_TEXT_PP(0));
	pgqueue_check_owner(topic);
	partition = PG_GETARG_INT32(1);
	pgqueue_check_partition(topic, partition);
	before = PG_GETARG_INT64(2);

	pgqueue_lock_relation(topic->log, ShareUpdateExclusiveLock);
	topic = pgqueue_topic_refresh(topic);
	if (before < 0 || before > pgqueue_log_end(topic, partition))
		pgqueue_offset_out_of_range(topic, partition, before, "offset");
	if (PG_ARGISNULL(3) || !PG_GETARG_BOOL(3))
	{
		char	   *name;
		int64		held = pgqueue_held_now(topic, partition, &name);

		if (held < before)
			ereport(NOTICE,
					(name == NULL ?
					 errmsg("messages are kept: a consumer group is being moved") :
					 errmsg("messages from offset " INT64_FORMAT
							" on are kept for consumer group \"%s\"",
							held, name)));
		before = Min(before, held);
	}
	n = pgqueue_remove_segments(topic, partition, before, &bytes, NULL);

	CommandCounterIncrement();
	topic = pgqueue_topic_refresh(topic);
	values[0] = Int64GetDatum(pgqueue_log_start(topic, partition));
	values[1] = Int32GetDatum(n);
	values[2] = Int64GetDatum(bytes);
	return pgqueue_return_row(fcinfo, values, nulls, lengthof(values));
}

/* ---------------- the view ---------------- */

/* (topic, partition, log_start, limit_offset, held_by, held_offset, held_bytes) */
#define RETENTION_COLUMNS 7

typedef struct RetentionTask
{
	int32		partition;
	ReturnSetInfo *rsinfo;
} RetentionTask;

/* A TopicTask. */
static void
list_partition(Topic *topic, void *arg)
{
	RetentionTask *task = arg;
	int32		partition = task->partition;
	ReturnSetInfo *rsinfo = task->rsinfo;
	Datum		values[RETENTION_COLUMNS];
	bool		nulls[RETENTION_COLUMNS] = {false};
	int64		limit = pgqueue_retention_limit(topic, partition);
	char	   *name;
	int64		held = pgqueue_held_for_groups(topic, partition, &name);

	values[0] = CStringGetTextDatum(topic->name);
	values[1] = Int32GetDatum(partition);
	values[2] = Int64GetDatum(pgqueue_log_start(topic, partition));
	values[3] = Int64GetDatum(limit);
	nulls[4] = nulls[5] = name == NULL;
	values[4] = name == NULL ? (Datum) 0 : CStringGetTextDatum(name);
	values[5] = Int64GetDatum(held);
	values[6] = Int64GetDatum(pgqueue_bytes_between(topic, partition, held,
													limit));
	pgqueue_put_row(rsinfo, values, nulls, lengthof(values));
}

/* For view queue.retention: topics that the user may read or write. */
Datum
pgqueue_retention_list(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	ListCell   *lc;

	InitMaterializedSRF(fcinfo, 0);
	foreach(lc, pgqueue_topic_names())
	{
		Topic	   *topic = pgqueue_attempt_topic(lfirst(lc));
		RetentionTask task = {.rsinfo = rsinfo};
		bool		warned = false;
		int			npartitions;
		int32		id;

		if (topic == NULL)
			continue;
		npartitions = topic->npartitions;
		id = topic->id;
		/* the name may stand for another topic by then */
		for (task.partition = 0;
			 task.partition < npartitions && topic->id == id;
			 task.partition++)
		{
			CHECK_FOR_INTERRUPTS();
			if (!pgqueue_partition_broken(topic, task.partition))
				(void) pgqueue_attempt(topic, list_partition, &task, &warned);
		}
	}
	return (Datum) 0;
}
