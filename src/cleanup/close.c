/*-------------------------------------------------------------------------
 *
 * close.c
 *	  Close the segment of a partition that takes appends before it is full: by
 *	  its age, or by hand.
 *
 * Retention and compaction take closed segments only.  In a topic of little
 * traffic a segment would not be full for years.  So it is given the end that it
 * has reached, and the empty segments behind it are moved down to there:
 *
 *	 before   |- 0 .. 57, room to 131072 -|- empty -|- empty -|
 *	 after    |- 0 .. 57 -|- empty -|- empty -|
 *	                      58
 *
 * Only the bounds in the catalog change, and the empty segments get new files, so
 * that messages which this transaction may append to them go with it if it aborts.
 * README, section 13, has the proof.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "commands/trigger.h"
#include "storage/proc.h"
#include "utils/guc.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/base.h"
#include "base/lock.h"
#include "log/log.h"
#include "topic/message.h"
#include "topic/segment.h"
#include "topic/topic.h"
#include "cleanup/cleanup.h"

/* The greatest age that is not given, in milliseconds: 7 days. */
#define DEFAULT_AGE (INT64CONST(7) * SECS_PER_DAY * 1000)

/* Milliseconds that maintenance queues for the topic's table. */
#define QUEUE_PATIENCE 100

/*
 * Return the age in milliseconds at which a topic's segments are closed: as given,
 * else such that limits reach messages not much later than they should; 0: never.
 */
int64
pgqueue_segment_age(const Topic *topic)
{
	bool		deletes = (topic->cleanup_policy & CLEANUP_DELETE) != 0;

	if (topic->segment_age > 0)
		return topic->segment_age;
	if (deletes && topic->retention > 0)
		return Max(Min(topic->retention / 10, DEFAULT_AGE), 1);
	if ((deletes && topic->retention_bytes > 0) ||
		(topic->cleanup_policy & CLEANUP_COMPACT))
		return DEFAULT_AGE;
	return 0;
}

/* Return true if a segment's first message has the age at which it is closed. */
bool
pgqueue_segment_is_aged(const Topic *topic, const Segment *segment)
{
	int64		age = pgqueue_segment_age(topic);
	Relation	leaf = age == 0 ? NULL :
		pgqueue_open_segment(topic, segment, AccessShareLock);
	LogFixed	first;
	bool		result;

	if (leaf == NULL)
		return false;
	result = pgqueue_segment_first(leaf,
								   pgqueue_log_start(topic, segment->partition),
								   &first) &&
		first.timestamp <=
		TimestampTzPlusMilliseconds(GetCurrentTimestamp(), -age);
	table_close(leaf, AccessShareLock);
	return result;
}

/* Return true if the first message that is kept is older than a time. */
static bool
starts_before(Topic *topic, int32 partition, TimestampTz time)
{
	Partition  *part = pgqueue_partition(topic, partition);
	int64		log_start = pgqueue_log_start(topic, partition);

	for (int i = 0; i < part->nsegments; i++)
	{
		Relation	leaf = pgqueue_open_segment(topic, &part->segments[i],
												AccessShareLock);
		LogFixed	first;
		bool		found;

		if (leaf == NULL)
			continue;
		found = pgqueue_segment_first(leaf, log_start, &first);
		table_close(leaf, AccessShareLock);
		if (found)
			return first.timestamp < time;
	}
	return false;
}

/*
 * Return the offset before which messages are older than retention, if some are so
 * much older that their segment should have been closed and removed long ago; else
 * the log start.  Other transactions keep that from being done, but not the log
 * start from being moved.
 */
int64
pgqueue_overdue_limit(Topic *topic, int32 partition)
{
	int64		log_start = pgqueue_log_start(topic, partition);
	TimestampTz time = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
												   -topic->retention);
	LogEnds		ends;
	Snapshot	snapshot;
	Found		place;

	if (!(topic->cleanup_policy & CLEANUP_DELETE) || topic->retention <= 0 ||
		!starts_before(topic, partition,
					   TimestampTzPlusMilliseconds(time,
												   -2 * pgqueue_segment_age(topic))))
		return log_start;
	pgqueue_log_ends(topic, partition, &ends);
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	pgqueue_find_time(topic, partition, time, snapshot, &place);
	UnregisterSnapshot(snapshot);
	return place.found ? Min(place.offset, ends.latest) : ends.latest;
}

/* Return true if a partition has a segment to be closed by its age. */
bool
pgqueue_close_due(const Topic *topic, int32 partition)
{
	const Partition *part = pgqueue_partition(topic, partition);
	const Segment *active;

	if (pgqueue_segment_age(topic) == 0 || part->nsegments == 0 ||
		pgqueue_partition_broken(topic, partition))
		return false;
	active = &part->segments[pgqueue_segments_sealed(topic, part)];
	return !pgqueue_segment_is_full(topic, active) &&
		pgqueue_segment_is_aged(topic, active) &&
		pgqueue_written_end(topic, partition) > active->first;
}

/*
 * Lock a segment against appends and VACUUM, those behind it and the topic's table
 * exclusively, if all can be had at once; else none.
 */
static bool
try_locks(const Topic *topic, const Partition *part, int active)
{
	Oid			relid = part->segments[active].relid;
	int			n = active + 1;

	if (!pgqueue_try_lock_relation(relid, ShareRowExclusiveLock))
		return false;
	if (pgqueue_try_lock_relation(topic->log, AccessExclusiveLock))
	{
		while (n < part->nsegments &&
			   pgqueue_try_lock_segment(part->segments[n].relid,
										AccessExclusiveLock))
			n++;
		if (n == part->nsegments)
			return true;
		while (--n > active)
			pgqueue_unlock_segment(part->segments[n].relid,
								   AccessExclusiveLock);
		pgqueue_unlock_relation(topic->log, AccessExclusiveLock);
	}
	pgqueue_unlock_relation(relid, ShareRowExclusiveLock);
	return false;
}

/* Queue for the topic's table for a moment.  A TopicTask.  Errors: 55P03. */
static void
queue_for_table(Topic *topic, void *arg)
{
	int			nest = NewGUCNestLevel();

	if (LockTimeout == 0 || LockTimeout > QUEUE_PATIENCE)
		(void) set_config_option("lock_timeout",
								 CppAsString2(QUEUE_PATIENCE), PGC_USERSET,
								 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0,
								 false);
	pgqueue_lock_relation(topic->log, AccessExclusiveLock);
	AtEOXact_GUC(false, nest);
}

/*
 * Take the locks as the caller waits for them.  While it tries, it holds none of
 * them between two tries; while it queues, it has no segment locked.
 */
static bool
take_locks(Topic *topic, const Partition *part, int active,
		   ClosePatience patience)
{
	LOCKTAG		segment = pgqueue_tag_of_relation(part->segments[active].relid);
	TimestampTz begin = GetCurrentTimestamp();

	while (!try_locks(topic, part, active))
	{
		if (patience == CLOSE_QUEUE)
			return !pgqueue_lock_is_held(segment, ShareRowExclusiveLock) &&
				pgqueue_error_of(topic, queue_for_table, NULL) == NULL &&
				try_locks(topic, part, active);
		if (patience == CLOSE_AT_ONCE ||
			TimestampDifferenceExceeds(begin, GetCurrentTimestamp(),
									   PGQUEUE_LOCK_PATIENCE))
			return false;
		pgqueue_lock_pause();
	}
	return true;
}

/*
 * Check that this session does not use a locked table of a topic.
 * Errors: 55006 if a cursor, an outer statement or a pending trigger does.
 */
void
pgqueue_check_unused(const Topic *topic, Oid relid)
{
	Relation	rel = table_open(relid, NoLock);

	if (rel->rd_refcnt > 1 || AfterTriggerPendingOnRel(relid))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("topic \"%s\" is in use by this session", topic->name),
				 errdetail("A cursor that is open, or the statement itself, reads table \"%s\".",
						   RelationGetRelationName(rel))));
	table_close(rel, NoLock);
}

/* Set the end of a segment, and move those behind it, which are empty, to there. */
static void
set_end(const Topic *topic, const Partition *part, int active, int64 end)
{
	const Segment *segment = &part->segments[active];
	int64		distance = segment->end - end;

	pgqueue_set_segment_bounds(topic->log, segment->relid, segment->first, end);
	for (int i = active + 1; i < part->nsegments; i++)
	{
		segment = &part->segments[i];
		pgqueue_empty_segment(segment->relid);
		pgqueue_set_segment_bounds(topic->log, segment->relid,
								   segment->first - distance,
								   segment->end - distance);
	}
	CommandCounterIncrement();
}

/*
 * Close the segment of a partition that takes appends behind its last message, if it
 * has one, and make segments ahead first.
 *
 * Locks: the caller holds SHARE UPDATE EXCLUSIVE on the topic's table.  Takes
 * ACCESS EXCLUSIVE on it and on the empty segments, and SHARE ROW EXCLUSIVE on the
 * segment, to the end of the transaction; so the caller must end that soon, or hold
 * them before.
 * Errors: 55006.
 */
CloseOutcome
pgqueue_close_segment(Topic *topic, int32 partition, ClosePatience patience)
{
	Partition  *part;
	int			active;
	int64		end;

	pgqueue_make_segments(topic, partition, 0);
	topic = pgqueue_topic_refresh(topic);
	part = pgqueue_partition(topic, partition);
	active = pgqueue_segments_sealed(topic, part);
	if (!take_locks(topic, part, active, patience))
		return CLOSE_BUSY;
	/* before we had the locks another one may have come into use */
	if (pgqueue_segments_sealed(topic, part) != active)
		return CLOSE_BUSY;
	end = pgqueue_written_end(topic, partition);
	if (end <= part->segments[active].first || end >= part->segments[active].end)
		return CLOSE_NOTHING;
	pgqueue_check_unused(topic, topic->log);
	for (int i = active; i < part->nsegments; i++)
		pgqueue_check_unused(topic, part->segments[i].relid);
	set_end(topic, part, active, end);
	return CLOSE_DONE;
}
