/*-------------------------------------------------------------------------
 *
 * position.c
 *	  Determine the offset at which a group continues: its committed offset or,
 *	  if that was removed and auto_offset_reset is earliest, the log start.
 *
 * If retention has removed messages that a group has yet to read, its next call
 * raises QU001; with auto_offset_reset "earliest" the group jumps: the call
 * reads from the log start, and the row that moves the offset counts those in
 * between as missed.  A call that finds nothing to read writes nothing: the
 * jump is pending.  Proof: src/README, section 13.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/errors.h"
#include "log/log.h"
#include "topic/message.h"
#include "topic/segment.h"
#include "topic/topic.h"
#include "group/group.h"
#include "group/progress.h"

/*
 * Raise the error that the group's offset is not in the log: its messages were
 * removed, or the log ends before it.
 */
pg_noreturn static void
offset_not_in_log(const ConsumerGroup *group, Topic *topic, int32 partition,
				  int64 offset)
{
	int64		start;
	int64		end;

	topic = pgqueue_topic_refresh(topic);
	start = pgqueue_log_start(topic, partition);
	end = pgqueue_log_end(topic, partition);
	ereport(ERROR,
			(errcode(ERRCODE_QUEUE_OFFSET_OUT_OF_RANGE),
			 errmsg("committed offset " INT64_FORMAT
					" of consumer group \"%s\" is outside partition %d of topic \"%s\"",
					offset, group->name, partition, topic->name),
			 errdetail("The log starts at offset " INT64_FORMAT
					   " and ends before offset " INT64_FORMAT ".",
					   start, end),
			 offset < start ?
			 errhint("Move the group with queue.reset_offsets(), or set its auto_offset_reset to earliest with queue.alter_group().") :
			 errhint("Move the group with queue.reset_offsets().")));
}

/*
 * Return the offset to read from.
 *
 * Errors: QU001 if it was removed and the group does not jump, or is lost.
 */
static int64
place_to_read(const ConsumerGroup *group, Topic *topic,
			  const Progress *progress, int64 start)
{
	if (!progress->found)
		return start;
	if (unlikely(progress->lost))
		pgqueue_offset_lost(topic, progress->partition, progress->offset,
							progress->reach, "committed offset",
							_("To begin anew call queue.reset_offsets()."));
	if (likely(progress->offset >= start))
		return progress->offset;
	if (!pgqueue_group_jumps(group))
		offset_not_in_log(group, topic, progress->partition, progress->offset);
	return start;
}

/*
 * Read what follows the group's offset in a partition, from *from on.  If
 * *from is greater than the offset, the caller must call pgqueue_jump() before
 * it writes anything else.  For a group that has not begun the partition, set
 * the offset to *from.
 *
 * Locks: the group's progress in the partition.
 * Errors: QU001.
 */
ScanEnd
pgqueue_read_on(const ConsumerGroup *group, Topic *topic, Progress *progress,
				Snapshot snapshot, MessageSink *sink, int64 *from)
{
	int32		partition = progress->partition;
	int64		before = sink->taken + sink->passed;
	int64		start;
	int64		stopped_at;
	ScanEnd		end;

	/* the offset may lie in a segment that was made since the last look-up */
	topic = pgqueue_topic_refresh(topic);
	for (;;)
	{
		start = pgqueue_log_start(topic, partition);
		*from = place_to_read(group, topic, progress, start);
		end = pgqueue_scan(topic, partition, *from, snapshot,
						   pgqueue_sink_receive, sink, &stopped_at);
		if (likely(end != SCAN_GONE))
			break;
		/* removed since the look at the log start, which is beyond it by now */
		topic = pgqueue_topic_reload(topic);
		if (sink->taken + sink->passed > before ||
			pgqueue_log_start(topic, partition) <= *from)
			offset_not_in_log(group, topic, partition, *from);
	}
	if (!progress->found)
		progress->offset = *from;

	/* no message was read: there is none, or the log ends before the offset */
	if (sink->taken + sink->passed == before && *from > start &&
		pgqueue_behind_log_end(topic, partition, *from))
		offset_not_in_log(group, topic, partition, *from);
	return end;
}

/* Count the offsets before the log start that a group misses at upto. */
int64
pgqueue_missed(const Progress *progress, int64 log_start, int64 upto)
{
	/* if its offset is lost, it has read nothing since the log began anew */
	int64		from = progress->lost ? progress->reach : progress->offset;

	return progress->found ? Max(Min(log_start, upto) - from, 0) : 0;
}

/*
 * Move the group's offset to the log start from which it has read, and raise a
 * WARNING.  Locks: the group's progress in the partition.
 */
void
pgqueue_jump(const ConsumerGroup *group, Progress *progress, int64 to)
{
	int64		from = progress->offset;

	progress->missed += to - from;
	progress->offset = to;
	progress->metadata = NULL;
	pgqueue_progress_write(progress, PROGRESS_JUMPED);
	ereport(WARNING,
			(errcode(ERRCODE_QUEUE_OFFSET_OUT_OF_RANGE),
			 errmsg_plural("consumer group \"%s\" missed " INT64_FORMAT
						   " offset of partition %d of topic \"%s\"",
						   "consumer group \"%s\" missed " INT64_FORMAT
						   " offsets of partition %d of topic \"%s\"",
						   (unsigned long) (to - from),
						   group->name, to - from, progress->partition,
						   progress->topic->name),
			 errdetail("It was at offset " INT64_FORMAT
					   " and continues at the log start, offset " INT64_FORMAT
					   ": the messages in between were removed.", from, to)));
}
