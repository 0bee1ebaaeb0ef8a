/*-------------------------------------------------------------------------
 *
 * ends.c
 *	  The ends of a partition's log: log start, stable end, log end.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heapam.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"

#include "base/compat.h"
#include "base/errors.h"
#include "base/lock.h"
#include "log/log.h"
#include "log/write.h"
#include "topic/segment.h"
#include "topic/topic.h"

/*
 * Return the first offset that is kept: the stored log start, which may lie
 * inside the first segment, or that segment's first offset; 0 in an unused
 * partition.
 */
int64
pgqueue_log_start(const Topic *topic, int32 partition)
{
	const Partition *part = pgqueue_partition(topic, partition);

	pgqueue_check_segments(topic, partition);
	return part->nsegments == 0 ? 0 :
		Max(part->log_start, part->segments[0].first);
}

/* Find the last record of a segment; the slot remembers where a hole begins. */
static void
whole_segment_tail(const Topic *topic, int32 partition, Relation leaf,
				   LogTail *tail)
{
	BlockNumber nblocks = RelationGetNumberOfBlocks(leaf);
	LogFixed	first;

	if (nblocks > 0 && !pgqueue_block_first(leaf, nblocks - 1, &first))
		nblocks = pgqueue_slot_find_tail(pgqueue_slot(topic->log, partition),
										 leaf);
	pgqueue_segment_tail(leaf, nblocks, tail);
}

/* Return the same as pgqueue_log_end(), by a description that may be old. */
static int64
known_log_end(const Topic *topic, int32 partition)
{
	const Partition *part = pgqueue_partition(topic, partition);
	int			i = part->nsegments;
	int64		start = pgqueue_log_start(topic, partition);
	Relation	leaf;

	while ((leaf = pgqueue_open_previous(topic, part, &i)) != NULL)
	{
		bool		used = RelationGetNumberOfBlocks(leaf) > 0;
		LogTail		tail;

		whole_segment_tail(topic, partition, leaf, &tail);
		table_close(leaf, AccessShareLock);
		if (tail.found)
			return Max(start, Min(tail.offset + 1, part->segments[i].end));
		if (used)
			return Max(start, part->segments[i].first);
	}
	return start;
}

/*
 * Return the next offset: the one behind the last record, dead or alive; at
 * least the log start, before which no record is appended (topic/roll.c).
 *
 * A segment without records is where its bounds say, which may change until it is
 * locked.  If it has, the topic is looked up again.
 */
int64
pgqueue_log_end(Topic *topic, int32 partition)
{
	int64		end = known_log_end(topic, partition);

	while (unlikely(!topic->valid))
	{
		topic = pgqueue_topic_refresh(topic);
		end = known_log_end(topic, partition);
	}
	return end;
}

/*
 * Return true if a segment has no place for another message.  A segment that ends
 * in aborted messages has one again when VACUUM has removed these, unless
 * cleanup/close.c has set its end before them.
 */
bool
pgqueue_segment_is_full(const Topic *topic, const Segment *segment)
{
	Relation	leaf = pgqueue_open_segment(topic, segment, AccessShareLock);
	LogTail		tail;

	if (leaf == NULL)
		return false;
	whole_segment_tail(topic, segment->partition, leaf, &tail);
	table_close(leaf, AccessShareLock);
	return tail.found && tail.offset + 1 >= segment->end;
}

/*
 * Return how many segments of a partition take no appends: the sealed ones, and
 * the one behind them if it is full.  The partition's last segment is not counted,
 * so that the partition always keeps one.
 *
 * A caller that changes the last of them looks at pgqueue_segment_is_full() again
 * when it has it locked exclusively.
 */
int
pgqueue_segments_closed(const Topic *topic, const Partition *part)
{
	int			n = pgqueue_segments_sealed(topic, part);

	return n < part->nsegments - 1 &&
		pgqueue_segment_is_full(topic, &part->segments[n]) ? n + 1 : n;
}

/*
 * Return true if the log ends before the offset.  A list of segments that may
 * be old does not decide it.
 */
bool
pgqueue_behind_log_end(Topic *topic, int32 partition, int64 offset)
{
	if (offset <= pgqueue_log_end(topic, partition))
		return false;
	topic = pgqueue_topic_reload(topic);
	return offset > pgqueue_log_end(topic, partition);
}

/*
 * Return the first segment in which a transaction that has not ended, or this
 * very command, may have appended, or the number of segments if there is none.  An
 * appender holds ROW EXCLUSIVE on the segment to the end of its transaction.  On a
 * standby the primary's locks are not known.
 */
static int
first_disputed_segment(const Partition *part)
{
	if (RecoveryInProgress())
		return 0;
	for (int i = 0; i < part->nsegments; i++)
	{
		LOCKTAG		tag = pgqueue_tag_of_relation(part->segments[i].relid);

		if (pgqueue_lock_is_held(tag, ShareLock) ||
			PGQUEUE_LOCK_HELD_BY_ME(&tag, RowExclusiveLock))
			return i;
	}
	return part->nsegments;
}

/* Return the last message before offset end that the snapshot shows, or -1. */
static int64
last_visible(const Topic *topic, int32 partition, int64 end, Snapshot snapshot)
{
	Partition  *part = pgqueue_partition(topic, partition);
	int			i = part->nsegments;
	int64		last = -1;
	Relation	leaf;

	while (last < 0 && (leaf = pgqueue_open_previous(topic, part, &i)) != NULL)
	{
		BlockNumber block = RelationGetNumberOfBlocks(leaf);

		while (block > 0 && last < 0)
		{
			Buffer		buffer = ReadBuffer(leaf, --block);
			PageWalk	walk;

			CHECK_FOR_INTERRUPTS();
			LockBuffer(buffer, BUFFER_LOCK_SHARE);
			pgqueue_page_begin(&walk, leaf, buffer);
			while (last < 0 && pgqueue_page_previous(&walk))
				if (log_fixed(walk.tuple.t_data)->offset < end &&
					HeapTupleSatisfiesVisibility(&walk.tuple, snapshot, buffer))
					last = log_fixed(walk.tuple.t_data)->offset;
			UnlockReleaseBuffer(buffer);
		}
		table_close(leaf, AccessShareLock);
	}
	return last;
}

/* Return the offset behind the last committed message, or the log start. */
int64
pgqueue_committed_end(const Topic *topic, int32 partition)
{
	int64		log_start = pgqueue_log_start(topic, partition);
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	int64		last = last_visible(topic, partition, PG_INT64_MAX, snapshot);

	UnregisterSnapshot(snapshot);
	return Max(log_start, last + 1);
}

/*
 * Return the offset behind the last message that is committed or written by this
 * transaction, or the log start: messages behind it have aborted, if no other
 * transaction that has appended is open.
 */
int64
pgqueue_written_end(const Topic *topic, int32 partition)
{
	return Max(pgqueue_log_start(topic, partition),
			   last_visible(topic, partition, PG_INT64_MAX, SnapshotSelf) + 1);
}

/* Find the first record, from a segment on, that may still appear. */
static bool
first_unstable_from(Topic *topic, int32 partition, int segment,
					Snapshot snapshot, int64 *offset)
{
	Partition  *part = pgqueue_partition(topic, partition);
	bool		found = false;

	for (int i = segment; i < part->nsegments && !found; i++)
	{
		Relation	leaf = pgqueue_open_segment(topic, &part->segments[i],
												AccessShareLock);

		if (leaf == NULL)
			continue;
		found = pgqueue_first_unstable(leaf,
									   pgqueue_slot(topic->log, partition),
									   snapshot, offset);
		table_close(leaf, AccessShareLock);
	}
	return found;
}

/*
 * Determine all ends of a partition, as of now.
 *
 * The log end is read first.  If then no transaction holds a segment's lock,
 * all appenders before that end have ended, and a snapshot taken afterwards
 * knows the outcome: the log end is stable.  Otherwise the records are judged,
 * from the first segment in question on: not for the hot path.
 */
void
pgqueue_log_ends(Topic *topic, int32 partition, LogEnds *ends)
{
	int			disputed;
	Snapshot	snapshot;
	int64		stopped_at;

	*ends = (LogEnds) {0};
	if (pgqueue_partition_unused(topic, partition))
		return;
	ends->log_end = pgqueue_log_end(topic, partition);
	ends->log_start = pgqueue_log_start(topic, partition);
	ends->stable_end = ends->log_end;

	disputed = first_disputed_segment(pgqueue_partition(topic, partition));
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	if (first_unstable_from(topic, partition, disputed, snapshot, &stopped_at))
		ends->stable_end = Min(stopped_at, ends->log_end);
	ends->latest = Max(ends->log_start,
					   last_visible(topic, partition, ends->stable_end,
									snapshot) + 1);
	UnregisterSnapshot(snapshot);
}

void
pgqueue_offset_out_of_range(Topic *topic, int32 partition, int64 offset,
							const char *subject)
{
	int64		start;
	int64		end;

	topic = pgqueue_topic_refresh(topic);
	start = pgqueue_log_start(topic, partition);
	end = pgqueue_log_end(topic, partition);
	ereport(ERROR,
			(errcode(ERRCODE_QUEUE_OFFSET_OUT_OF_RANGE),
			 errmsg("%s " INT64_FORMAT " is outside partition %d of topic \"%s\"",
					subject, offset, partition, topic->name),
			 errdetail("The log starts at offset " INT64_FORMAT
					   " and ends before offset " INT64_FORMAT ".",
					   start, end)));
}

void
pgqueue_offset_beyond(const Topic *topic, int32 partition, int64 offset,
					  const LogEnds *ends)
{
	ereport(ERROR,
			(errcode(ERRCODE_QUEUE_OFFSET_OUT_OF_RANGE),
			 errmsg("offset " INT64_FORMAT " is outside partition %d of topic \"%s\"",
					offset, partition, topic->name),
			 errdetail("The log starts at offset " INT64_FORMAT
					   "; a group may be put at offset " INT64_FORMAT
					   " at most, behind the last committed message.",
					   ends->log_start, ends->latest)));
}
