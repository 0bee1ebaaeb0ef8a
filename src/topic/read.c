/*-------------------------------------------------------------------------
 *
 * read.c
 *	  Read a partition from an offset on, segment by segment; find an
 *	  offset or a time.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/xact.h"
#include "storage/predicate.h"
#include "utils/relcache.h"

#include "log/log.h"
#include "log/write.h"
#include "topic/message.h"
#include "topic/segment.h"
#include "topic/topic.h"

/* Find the first record of a segment, which may be gone. */
static bool
segment_first(Topic *topic, const Segment *segment, LogFixed *first)
{
	Relation	leaf = pgqueue_open_segment(topic, segment, AccessShareLock);
	bool		found;

	if (leaf == NULL)
		return false;
	found = pgqueue_segment_first(leaf, 0, first);
	table_close(leaf, AccessShareLock);
	return found;
}

/*
 * Return a segment from which on a place is to be sought: no earlier one holds
 * a record at or behind it.
 */
static int
seek_segment(Topic *topic, int32 partition, const LogSeek *seek)
{
	Partition  *part = pgqueue_partition(topic, partition);
	int			low = 0;
	int			high = part->nsegments;

	while (high - low > 1)
	{
		int			mid = (low + high) / 2;
		int			used = mid;
		LogFixed	first;

		if (!seek->by_time)
		{
			if (part->segments[mid].first <= seek->at)
				low = mid;
			else
				high = mid;
			continue;
		}

		/* an empty segment says nothing: ask those before it */
		while (used > low && !segment_first(topic, &part->segments[used], &first))
			used--;
		if (used == low || pgqueue_lies_before(seek, &first))
			high = used == low ? mid : used;
		else
			low = used;
	}
	return low;
}

/*
 * Return true if the log start has passed the place from which a segment is to
 * be read, or the segment is gone.  A time is found behind the log start.
 *
 * segment: in a list that may be old; its bounds may have been moved down since
 * then (cleanup/close.c).
 */
static bool
is_outrun(Topic *topic, int32 partition, const Segment *segment, LogSeek *from)
{
	const Partition *part;

	topic = pgqueue_topic_refresh(topic);
	from->start = pgqueue_log_start(topic, partition);
	part = pgqueue_partition(topic, partition);
	for (int i = 0; i < part->nsegments; i++)
		if (part->segments[i].relid == segment->relid)
			return !from->by_time &&
				from->start > Max(from->at, part->segments[i].first);
	return true;
}

/*
 * Let reading a partition without segments count as reading a table, for
 * SERIALIZABLE: its place is a page of the topic's table, which has none.  -1: all
 * that have no segments.  pgqueue_append() looks for that.
 */
void
pgqueue_predicate_lock_unused(const Topic *topic, int32 partition,
							  Snapshot snapshot)
{
	Relation	log = IsolationIsSerializable() ?
		RelationIdGetRelation(topic->log) : NULL;

	if (log == NULL)
		return;
	if (partition < 0)
		PredicateLockRelation(log, snapshot);
	else
		PredicateLockPage(log, (BlockNumber) partition, snapshot);
	RelationClose(log);
}

/*
 * Do what scan_from() does, with the segments as the topic was last looked up.
 * SCAN_GONE, too: one of them is gone, of which the place is at the end.
 */
static ScanEnd
scan_listed(Topic *topic, int32 partition, LogSeek *from, Snapshot snapshot,
			LogReceiver receiver, void *arg, int64 *stopped_at)
{
	Partition  *part = pgqueue_partition(topic, partition);
	AppendSlot *slot = pgqueue_slot(topic->log, partition);
	ScanEnd		end = SCAN_EXHAUSTED;
	bool		any = false;

	from->start = pgqueue_log_start(topic, partition);
	if (!from->by_time && from->at < from->start)
		return SCAN_GONE;
	if (part->nsegments == 0)
		pgqueue_predicate_lock_unused(topic, partition, snapshot);
	for (int i = seek_segment(topic, partition, from);
		 i < part->nsegments && end == SCAN_EXHAUSTED; i++)
	{
		Relation	leaf = pgqueue_open_segment(topic, &part->segments[i],
												AccessShareLock);
		bool		emitted = false;

		/*
		 * Gone; or emptied or cut, which we have been told with the lock.  The
		 * receiver may have looked the topic up again.
		 */
		if (leaf == NULL)
			return any ? SCAN_ENOUGH : SCAN_GONE;
		if ((!topic->valid || any) &&
			is_outrun(topic, partition, &part->segments[i], from))
		{
			table_close(leaf, AccessShareLock);
			return any ? SCAN_ENOUGH : SCAN_GONE;
		}
		end = pgqueue_scan_segment(leaf, slot, from, snapshot, receiver, arg,
								   stopped_at, &emitted);
		any |= emitted;
		/* messages may point to the segment's TOAST table: keep the lock */
		table_close(leaf, emitted ? NoLock : AccessShareLock);
	}
	return end;
}

/*
 * Read a partition's messages at or behind a place, in offset order, as the
 * snapshot shows them, up to the first that may still appear (*stopped_at).
 *
 * SCAN_GONE: the log start has passed the place since the topic was looked up.
 * If it passes the next segment once messages were read, the scan ends there, as
 * if the receiver wanted no more.
 *
 * Locks: ACCESS SHARE on each segment read, kept if it gave messages.
 */
static ScanEnd
scan_from(Topic *topic, int32 partition, LogSeek *from, Snapshot snapshot,
		  LogReceiver receiver, void *arg, int64 *stopped_at)
{
	ScanEnd		end;

	while ((end = scan_listed(topic, partition, from, snapshot, receiver, arg,
							  stopped_at)) == SCAN_GONE && !from->by_time)
	{
		topic = pgqueue_topic_reload(topic);
		if (pgqueue_log_start(topic, partition) > from->at)
			break;
	}
	return end;
}

ScanEnd
pgqueue_scan(Topic *topic, int32 partition, int64 from, Snapshot snapshot,
			 LogReceiver receiver, void *arg, int64 *stopped_at)
{
	LogSeek		seek = {.by_time = false,.at = from};

	return scan_from(topic, partition, &seek, snapshot, receiver, arg,
					 stopped_at);
}

static bool
take_place(HeapTuple tuple, Relation leaf, void *arg)
{
	Found	   *place = arg;

	place->found = true;
	place->offset = log_fixed(tuple->t_data)->offset;
	place->timestamp = log_fixed(tuple->t_data)->timestamp;
	return false;
}

/* Find the first message from an offset on, up to one that may still appear. */
ScanEnd
pgqueue_find_offset(Topic *topic, int32 partition, int64 from,
					Snapshot snapshot, Found *place)
{
	int64		stopped_at;

	place->found = false;
	return pgqueue_scan(topic, partition, from, snapshot, take_place, place,
						&stopped_at);
}

/*
 * Find the first message of a time or later, up to one that may still appear.
 * Errors: QU001 if retention was faster.
 */
void
pgqueue_find_time(Topic *topic, int32 partition, TimestampTz time,
				  Snapshot snapshot, Found *place)
{
	LogSeek		seek = {.by_time = true,.at = time};
	int64		start = pgqueue_log_start(topic, partition);
	int64		stopped_at;

	place->found = false;
	if (scan_from(topic, partition, &seek, snapshot, take_place, place,
				  &stopped_at) == SCAN_GONE)
		pgqueue_offset_out_of_range(topic, partition, start, "offset");
}
