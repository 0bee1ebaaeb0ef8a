/*-------------------------------------------------------------------------
 *
 * compact.c
 *	  Log compaction: the latest message of each key stays.
 *
 * For topics whose cleanup_policy says compact.  As Kafka's log cleaner does it:
 * a partition is clean up to its checkpoint (compacted_to): there a key has at
 * most one message.  What lies behind, in sealed segments, is dirty.
 *
 *	 log start		  compacted_to		   map end			  active segment
 *	 |------ clean -----|------ mapped ----|------------------|-----------
 *
 *	 1	The keys of dirty messages are read into a map, key to latest offset
 *		(key_map.c), as many as there is memory for.
 *	 2	Segment by segment, oldest first, what the map knows a later message of is
 *		left out, and tombstones that have been kept long enough (rewrite.c).  A
 *		segment of which nothing goes is left alone.  One segment, one transaction.
 *	 3	The checkpoint is moved to where the map ends, or to the first segment
 *		that could not be rewritten.
 *
 * Why nothing is lost stands in README, section 14.
 *
 * Memory: the map, queue.compaction_memory, and a message.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heapam.h"
#include "commands/progress.h"
#include "pgstat.h"

#include "base/compat.h"
#include "base/data.h"
#include "base/lock.h"
#include "log/log.h"
#include "log/write.h"
#include "topic/segment.h"
#include "topic/topic.h"
#include "cleanup/cleanup.h"

/* Is there a later message of the same key? */
static bool
is_superseded(const Compaction *compaction, const text *key, int64 offset)
{
	return pgqueue_key_map_get(compaction->map, VARDATA_ANY(key),
							   VARSIZE_ANY_EXHDR(key)) > offset;
}

/*
 * May a tombstone go?	Only if no older message of its key is left: those in the
 * segments before have gone in this pass, or in one before.
 */
static bool
is_expired(Compaction *compaction, const LogFixed *tombstone)
{
	if (tombstone->timestamp < compaction->tombstones_before &&
		tombstone->offset < compaction->tombstones_to)
	{
		compaction->expired_to = tombstone->offset + 1;
		return true;
	}
	if (!compaction->has_tombstones ||
		tombstone->timestamp < compaction->oldest_tombstone)
		compaction->oldest_tombstone = tombstone->timestamp;
	compaction->has_tombstones = true;
	return false;
}

static bool
stays(HeapTuple tuple, Relation leaf, void *arg)
{
	Compaction *compaction = arg;
	LogFixed   *fixed = log_fixed(tuple->t_data);
	void	   *copy;
	text	   *key;
	bool		result;

	if (fixed->offset >= compaction->map_end)
		return true;
	key = pgqueue_key_of(tuple, leaf, &copy);
	if (key == NULL)
		return true;
	result = !is_superseded(compaction, key, fixed->offset) &&
		!(heap_attisnull(tuple, LOG_ATTR_VALUE, RelationGetDescr(leaf)) &&
		  is_expired(compaction, fixed));
	if (copy != NULL)
		pfree(copy);
	return result;
}

/* The lock of whoever compacts a partition; a session's. */
static void
compaction_tag(LOCKTAG *tag, const Compaction *compaction)
{
	SET_LOCKTAG_ADVISORY(*tag, MyDatabaseId, compaction->topic_id,
						 compaction->partition, PGQUEUE_LOCK_COMPACTION);
}

/*
 * A compaction of a partition, if nobody else is at it (NULL).	 Lives in the
 * current memory context and over transactions, until pgqueue_compaction_free().
 */
Compaction *
pgqueue_compaction(const Topic *topic, int32 partition)
{
	Compaction *compaction = palloc0(sizeof(Compaction));
	LOCKTAG		tag;

	compaction->topic_id = topic->id;
	compaction->partition = partition;
	compaction_tag(&tag, compaction);
	if (LockAcquire(&tag, ExclusiveLock, true, true) != LOCKACQUIRE_NOT_AVAIL)
		return compaction;
	pfree(compaction);
	return NULL;
}

void
pgqueue_compaction_free(Compaction *compaction)
{
	LOCKTAG		tag;

	compaction_tag(&tag, compaction);
	if (PGQUEUE_LOCK_HELD_BY_ME(&tag, ExclusiveLock))
		LockRelease(&tag, ExclusiveLock, true);
}

/* ---------------- compacting ---------------- */

/*
 * Functions in the topic's indexes have run, and may have called
 * pg_advisory_unlock_all(): then another compaction may be under way.
 *
 * Errors: 55000; the transaction has to end without a change.
 */
static void
check_lock_kept(const Compaction *compaction, Rewritten *done,
				const Rewritten *before)
{
	LOCKTAG		tag;

	compaction_tag(&tag, compaction);
	if (PGQUEUE_LOCK_HELD_BY_ME(&tag, ExclusiveLock))
		return;
	*done = *before;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("the lock of the compaction was released"),
			 errdetail("A function in an index called pg_advisory_unlock_all().")));
}

/*
 * Have all groups still read the tombstones that go?  Asked with the segment for
 * ourselves: one may have come, or been put back, since the pass was planned, and
 * have read what they delete.
 */
static bool
groups_are_past(void *arg)
{
	const Compaction *compaction = arg;
	char	   *name;

	return compaction->topic->retention_force ||
		compaction->expired_to <=
		pgqueue_held_for_groups(compaction->topic, compaction->partition, &name);
}

/*
 * Compact a segment.  False: it is in use, or not settled, or a group has yet to
 * read what would go.
 */
static bool
compact_segment(Compaction *compaction, Topic *topic, const Segment *segment,
				Rewritten *done)
{
	Rewritten	before = *done;
	Relation	leaf;
	Visit		visit;

	if (!pgqueue_try_lock_segment(segment->relid, ShareUpdateExclusiveLock))
		return false;
	leaf = pgqueue_open_segment(topic, segment, AccessShareLock);
	if (leaf == NULL)
		return false;
	pgqueue_check_code(segment->relid, false);
	pgstat_progress_start_command(PGQUEUE_PROGRESS_COMMAND, segment->relid);
	pgstat_progress_update_param(PGQUEUE_PROGRESS_PHASE,
								 PGQUEUE_PROGRESS_PHASE_SEQ_SCAN_HEAP);
	compaction->topic = topic;
	compaction->expired_to = 0;
	visit = pgqueue_visit_settled(leaf, &compaction->settled, 0, stays,
								  compaction);
	if (visit != VISIT_STOPPED)
		relation_close(leaf, NoLock);
	else if (pgqueue_rewrite_segment(leaf, &compaction->settled, stays,
									 groups_are_past, compaction, done))
	{
		check_lock_kept(compaction, done, &before);
		visit = VISITED_ALL;
	}
	pgstat_progress_end_command();
	return visit == VISITED_ALL;
}

/* The segment as the topic has it now; NULL: it was let go. */
static const Segment *
find_segment(const Topic *topic, int32 partition, Oid relid)
{
	const Partition *part = &topic->partitions[partition];

	for (int i = 0; i < part->nsegments; i++)
		if (part->segments[i].relid == relid)
			return &part->segments[i];
	return NULL;
}

/*
 * Compact the next segment, in a transaction of its own.  False: there is none,
 * or it could not be had.
 */
bool
pgqueue_compact_next(Compaction *compaction, Topic *topic, Rewritten *done)
{
	const Segment *planned = &compaction->segments[compaction->next];
	const Segment *segment;

	if (topic->id != compaction->topic_id ||
		!(topic->cleanup_policy & CLEANUP_COMPACT) ||
		compaction->next == compaction->nsegments)
		return false;
	segment = find_segment(topic, compaction->partition, planned->relid);
	if (segment != NULL && !compact_segment(compaction, topic, segment, done))
		return false;
	compaction->done_to = Min(planned->end, compaction->map_end);
	compaction->next++;
	return true;
}

/*
 * Keep how far it came.  True: it is worth beginning again at once, since the map
 * was full.
 *
 * Locks: SHARE UPDATE EXCLUSIVE on the topic's table.
 */
bool
pgqueue_compaction_keep(const Compaction *compaction, const Topic *topic)
{
	Checkpoint	checkpoint;
	Checkpoint	old;

	if (topic->id != compaction->topic_id)
		return false;
	pgqueue_checkpoint_read(topic, compaction->partition, &old);
	checkpoint = old;
	checkpoint.has_tombstones = compaction->has_tombstones;
	checkpoint.oldest_tombstone = compaction->oldest_tombstone;
	/* not all of the clean part was looked through */
	if (compaction->done_to < old.compacted_to && old.has_tombstones)
	{
		checkpoint.has_tombstones = true;
		checkpoint.oldest_tombstone = old.oldest_tombstone;
	}
	checkpoint.compacted_to = Max(old.compacted_to, compaction->done_to);
	if (checkpoint.compacted_to != old.compacted_to ||
		checkpoint.has_tombstones != old.has_tombstones ||
		checkpoint.oldest_tombstone != old.oldest_tombstone)
		pgqueue_checkpoint_write(topic, compaction->partition, &checkpoint);
	return compaction->map_full && checkpoint.compacted_to > old.compacted_to;
}
