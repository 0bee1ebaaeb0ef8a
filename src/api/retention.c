/*-------------------------------------------------------------------------
 *
 * retention.c
 *	  queue.delete_messages(), and the function that view queue.retention reads.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "base/base.h"
#include "base/lock.h"
#include "topic/segment.h"
#include "topic/topic.h"
#include "cleanup/cleanup.h"
#include "api/api.h"
#include "api/maintain.h"

PG_FUNCTION_INFO_V1(pgqueue_delete_messages);
PG_FUNCTION_INFO_V1(pgqueue_retention_list);

/*
 * Return the offset before which messages can be deleted, at most before, and
 * raise a NOTICE if that is less.
 *
 * Locks: those of pgqueue_held_now(), unless force.
 */
static int64
deletable_before(Topic *topic, int32 partition, int64 before, bool force,
				 const LogEnds *ends)
{
	HeldBy		by;
	int64		held = force ? PG_INT64_MAX :
		pgqueue_held_now(topic, partition, &by);

	if (Min(held, ends->stable_end) >= before)
		return before;
	if (held > ends->stable_end)
		ereport(NOTICE,
				(errmsg("messages from offset " INT64_FORMAT
						" on are kept: they are not committed yet",
						ends->latest)));
	else if (by.name == NULL)
		ereport(NOTICE,
				(errmsg("messages are kept: a consumer group is being moved")));
	else
		ereport(NOTICE,
				(errmsg("messages from offset " INT64_FORMAT
						" on are kept for consumer group \"%s\"", held, by.name),
				 by.parked ?
				 errdetail("The group has parked the first of them.") :
				 errdetail("The group has yet to read them."),
				 by.parked ?
				 errhint("With force => true the group does not get it again.") :
				 errhint("With force => true the group's next call raises an error.")));
	return Min(held, ends->latest);
}

/* (topic, partition, before_offset, force) -> (log_start, segments, bytes) */
Datum
pgqueue_delete_messages(PG_FUNCTION_ARGS)
{
	int32		partition;
	Topic	   *topic = pgqueue_owned_partition_arg(fcinfo, &partition);
	bool		force = !PG_ARGISNULL(3) && PG_GETARG_BOOL(3);
	int64		before;
	int64		deleted_to;
	int64		bytes = 0;
	int			n = 0;
	LogEnds		ends;
	Datum		values[3];
	bool		nulls[3] = {false};

	pgqueue_check_not_null(fcinfo, 2, "before_offset");
	before = PG_GETARG_INT64(2);
	pgqueue_lock_relation(topic->log, ShareUpdateExclusiveLock);
	topic = pgqueue_topic_refresh(topic);
	pgqueue_log_ends(topic, partition, &ends);
	if (before < 0 || before > ends.log_end)
		pgqueue_offset_out_of_range(topic, partition, before, "offset");
	/* behind the last committed message there are at most aborted ones */
	deleted_to = before > ends.stable_end ? before : Min(before, ends.latest);
	if (deleted_to <= ends.log_start)
		ereport(NOTICE,
				(errmsg("nothing is deleted: partition %d of topic \"%s\" has no messages before offset "
						INT64_FORMAT, partition, topic->name, before),
				 errdetail("The log starts at offset " INT64_FORMAT ".",
						   ends.log_start)));
	else
	{
		deleted_to = deletable_before(topic, partition, deleted_to, force,
									  &ends);
		if (deleted_to > ends.log_start)
			n = pgqueue_delete_before(topic, partition, deleted_to, &bytes);
	}

	CommandCounterIncrement();
	topic = pgqueue_topic_refresh(topic);
	values[0] = Int64GetDatum(pgqueue_log_start(topic, partition));
	values[1] = Int32GetDatum(n);
	values[2] = Int64GetDatum(bytes);
	return pgqueue_return_row(fcinfo, values, nulls, lengthof(values));
}

/* Return the bytes of the segments that end after one offset, up to another. */
static int64
bytes_between(Topic *topic, int32 partition, int64 after, int64 upto)
{
	Partition  *part = pgqueue_partition(topic, partition);
	int64		bytes = 0;

	for (int i = 0; i < part->nsegments; i++)
		if (part->segments[i].end > after && part->segments[i].end <= upto)
			bytes += pgqueue_total_bytes(part->segments[i].relid);
	return bytes;
}

/*
 * Return why no segment of a partition is removed, or when the oldest is.
 * limit: where the topic's limits allow it; held: where groups do, by being the
 * last of them.
 */
static const char *
reason(Topic *topic, int32 partition, int64 limit, int64 held,
	   const HeldBy *by)
{
	const Partition *part;
	LockHolder	holder;

	if (!(topic->cleanup_policy & CLEANUP_DELETE))
		return "the topic is compacted, and its limits do not apply";
	if (topic->retention == 0 && topic->retention_bytes == 0)
		return "the topic has no limit";
	if (pgqueue_log_end(topic, partition) <= pgqueue_log_start(topic, partition))
		return "the partition has no messages";
	part = pgqueue_partition(topic, partition);
	if (limit <= pgqueue_log_start(topic, partition))
		return pgqueue_segments_closed(topic, part) == 0 ?
			"the segment in use is not closed yet" :
			"the limits are not reached";
	if (!topic->retention_force && held < part->segments[0].end)
		return psprintf(by->parked ?
						"consumer group \"%s\" has parked messages" :
						"consumer group \"%s\" has yet to read", by->name);
	if (!pgqueue_is_maintained())
		return "maintenance is not running";
	if (pgqueue_find_relation_holder(part->segments[0].relid,
									 AccessExclusiveLock, &holder) &&
		!holder.ends_soon)
		return holder.pid == 0 ? "a prepared transaction uses the segment" :
			psprintf("process %d uses the segment", holder.pid);
	return "the next pass removes segments";
}

typedef struct RetentionTask
{
	int32		partition;
	ReturnSetInfo *rsinfo;
} RetentionTask;

/*
 * Return (topic, partition, log_start, limit_offset, held_by, held_offset,
 * held_bytes, reason).  A TopicTask.
 */
static void
list_partition(Topic *topic, void *arg)
{
	RetentionTask *task = arg;
	int32		partition = task->partition;
	int64		limit = pgqueue_retention_limit(topic, partition);
	HeldBy		by;
	int64		held = pgqueue_held_for_groups(topic, partition, &by);
	Datum		values[] = {
		CStringGetTextDatum(topic->name),
		Int32GetDatum(partition),
		Int64GetDatum(pgqueue_log_start(topic, partition)),
		Int64GetDatum(limit),
		by.name == NULL ? (Datum) 0 : CStringGetTextDatum(by.name),
		Int64GetDatum(held),
		Int64GetDatum(bytes_between(topic, partition, held, limit)),
		CStringGetTextDatum(reason(topic, partition, limit, held, &by))
	};
	bool		nulls[lengthof(values)] = {[4] = by.name == NULL,
	[5] = by.name == NULL};

	pgqueue_put_row(task->rsinfo, values, nulls, lengthof(values));
}

static void
list_topic(Topic *topic, ReturnSetInfo *rsinfo)
{
	RetentionTask task = {.partition = -1,.rsinfo = rsinfo};
	bool		warned = false;
	int32		id = topic->id;

	/* the name may stand for another topic by then */
	while (topic->id == id &&
		   (task.partition = pgqueue_next_used(topic, task.partition)) >= 0)
	{
		CHECK_FOR_INTERRUPTS();
		if (!pgqueue_partition_broken(topic, task.partition))
			(void) pgqueue_attempt(topic, list_partition, &task, &warned);
	}
}

/* For view queue.retention: topics that the user may read or write. */
Datum
pgqueue_retention_list(PG_FUNCTION_ARGS)
{
	return pgqueue_visit_topics(fcinfo, list_topic);
}
