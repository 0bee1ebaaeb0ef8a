/*-------------------------------------------------------------------------
 *
 * compact.c
 *	  Log compaction: remove the messages that have a later one of their key.
 *
 * For topics that have cleanup_policy compact.  A partition is clean up to its
 * checkpoint (compacted_to): there a key has at most one message.  Closed
 * segments after it (topic/ends.c) are dirty.
 *
 *	 log start        compacted_to         map end            segment in use
 *	 |------ clean -----|------ mapped ----|------------------|-----------
 *
 *	 1  Read the keys of dirty messages into a map, key to latest offset
 *		(key_map.c), as far as queue.compaction_memory allows.
 *	 2  Segment by segment, oldest first, each in a transaction of its own,
 *		remove the messages of which the map has a later one, and tombstones
 *		that were kept long enough (rewrite.c).
 *	 3  Move the checkpoint to the end of the map, or to the first segment that
 *		could not be rewritten.
 *
 * README, section 14, proves that nothing is lost.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heapam.h"
#include "commands/progress.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/procarray.h"

#include "base/compat_table.h"
#include "base/data.h"
#include "base/lock.h"
#include "log/log.h"
#include "log/write.h"
#include "topic/segment.h"
#include "topic/topic.h"
#include "cleanup/cleanup.h"

/*
 * As the time of the oldest tombstone: there is one alone, which is due.  It is kept
 * since it is the partition's last message.
 */
#define TOMBSTONE_IS_LAST DT_NOBEGIN

/* queue.compaction_memory, in kB; -1: maintenance_work_mem */
int			pgqueue_compaction_memory = -1;

/* queue.compaction_min_dirty_ratio */
double		pgqueue_compaction_min_dirty_ratio = 0.5;

/* Return a message's key, or NULL.  *copy: what the caller must free. */
static text *
key_of(HeapTuple tuple, Relation leaf, void **copy)
{
	bool		isnull;
	Datum		key = heap_getattr(tuple, LOG_ATTR_KEY, RelationGetDescr(leaf),
								   &isnull);
	text	   *plain;

	*copy = NULL;
	if (isnull)
		return NULL;
	plain = DatumGetTextPP(key);
	if ((Pointer) plain != DatumGetPointer(key))
		*copy = plain;
	return plain;
}

/* Put a message into the map.  Return false if it does not fit. */
static bool
map_message(HeapTuple tuple, Relation leaf, void *arg)
{
	Compaction *compaction = arg;
	int64		offset = log_fixed(tuple->t_data)->offset;
	void	   *copy;
	text	   *key;

	/* the first block may begin before the first dirty message */
	if (offset < compaction->map_end)
		return true;
	key = key_of(tuple, leaf, &copy);
	compaction->map_full = key != NULL &&
		!pgqueue_key_map_set(compaction->map, VARDATA_ANY(key),
							 VARSIZE_ANY_EXHDR(key), offset);
	if (copy != NULL)
		pfree(copy);
	if (!compaction->map_full)
		compaction->map_end = offset + 1;
	return !compaction->map_full;
}

/*
 * Return true if enough of the first upto segments is dirty, or if any dirty one is
 * as old as a segment that is closed by its age: else the messages that a tombstone
 * deletes would stay for any time in a topic of little traffic.
 */
static bool
is_dirty(const Topic *topic, const Partition *part, int upto, int64 compacted_to)
{
	int64		bytes[2] = {0, 0};	/* clean, dirty */

	for (int i = 0; i < upto; i++)
	{
		const Segment *segment = &part->segments[i];
		bool		dirty = segment->end > compacted_to;

		bytes[dirty] += pgqueue_total_bytes(segment->relid);
		if (dirty && pgqueue_segment_is_aged(topic, segment))
			return true;
	}
	return bytes[1] > 0 &&
		bytes[1] >= pgqueue_compaction_min_dirty_ratio * (bytes[0] + bytes[1]);
}

/* Return false, to stop, if a message is at an offset or behind it. */
static bool
lies_before(HeapTuple tuple, Relation leaf, void *arg)
{
	return log_fixed(tuple->t_data)->offset < *(const int64 *) arg;
}

/* Return true if a segment has a settled message at an offset or behind it. */
static bool
has_message_from(Compaction *compaction, Topic *topic, const Segment *segment,
				 int64 from)
{
	Relation	leaf = pgqueue_open_segment(topic, segment, AccessShareLock);
	Visit		visit;

	if (leaf == NULL)
		return false;
	visit = pgqueue_visit_settled(leaf, &compaction->settled, from, lies_before,
								  &from);
	table_close(leaf, AccessShareLock);
	return visit == VISIT_STOPPED;
}

/*
 * Return how many of the first segments may be compacted, at most upto: a message
 * that stays must follow (README, section 14).  It is in the segment after them; or
 * it is the one with their last offset, which is kept then.
 */
static int
with_successor(Compaction *compaction, Topic *topic, int upto)
{
	Partition  *part = pgqueue_partition(topic, compaction->partition);

	for (; upto > 0; upto--)
	{
		const Segment *last = &part->segments[upto - 1];

		compaction->kept = -1;
		if (has_message_from(compaction, topic, last + 1, last->end))
			return upto;
		compaction->kept = last->end - 1;
		if (has_message_from(compaction, topic, last, compaction->kept))
			return upto;
	}
	return 0;
}

/*
 * Read the keys of dirty messages.  Return how many segments may be compacted:
 * those before the first that holds a record that is not settled.
 */
static int
read_keys(Compaction *compaction, Topic *topic, int upto)
{
	Partition  *part = pgqueue_partition(topic, compaction->partition);

	for (int i = 0; i < upto && !compaction->map_full; i++)
	{
		Segment    *segment = &part->segments[i];
		Relation	leaf;
		Visit		visit;

		if (segment->end <= compaction->map_end)
			continue;
		leaf = pgqueue_open_segment(topic, segment, AccessShareLock);
		if (leaf == NULL)
			return i;
		pgstat_progress_start_command(PROGRESS_COMMAND_REPACK, segment->relid);
		pgstat_progress_update_param(PROGRESS_REPACK_PHASE,
									 PROGRESS_REPACK_PHASE_SEQ_SCAN_HEAP);
		visit = pgqueue_visit_settled(leaf, &compaction->settled,
									  compaction->map_end, map_message,
									  compaction);
		pgstat_progress_end_command();
		table_close(leaf, AccessShareLock);
		if (visit == VISIT_UNSETTLED)
			return i;
		if (visit == VISIT_STOPPED)
			return i + 1;
		compaction->map_end = segment->end;
	}
	return upto;
}

/* Return true if tombstones of the clean part are to be removed. */
static bool
has_due_tombstones(Compaction *compaction, const Topic *topic,
				   const Checkpoint *checkpoint)
{
	return checkpoint->has_tombstones &&
		checkpoint->oldest_tombstone < compaction->tombstones_before &&
		checkpoint->compacted_to <= compaction->tombstones_to &&
		(checkpoint->oldest_tombstone != TOMBSTONE_IS_LAST ||
		 pgqueue_committed_end(topic, compaction->partition) >
		 checkpoint->compacted_to);
}

/*
 * Choose the segments to compact, and read the keys.  Return false if there are
 * none.  The map is made in the current memory context.
 */
static bool
plan(Compaction *compaction, Topic *topic)
{
	Partition  *part = pgqueue_partition(topic, compaction->partition);
	int			closed = pgqueue_segments_closed(topic, part);
	int			memory = pgqueue_compaction_memory >= 0 ?
		pgqueue_compaction_memory : maintenance_work_mem;
	Checkpoint	checkpoint;
	HeldBy		by;
	Relation	leaf;
	int			n;

	pgqueue_checkpoint_read(topic, compaction->partition, &checkpoint);
	compaction->tombstones_to = topic->retention_force ? PG_INT64_MAX :
		pgqueue_held_for_groups(topic, compaction->partition, &by);
	compaction->tombstones_before =
		TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
									-topic->tombstone_retention);
	if (!is_dirty(topic, part, closed, checkpoint.compacted_to) &&
		!has_due_tombstones(compaction, topic, &checkpoint))
		return false;

	/* before the keys are read */
	for (int i = 0; i < closed; i++)
		pgqueue_check_code(part->segments[i].relid, false);
	/* of a leaf: a partitioned table has no records, and no horizon */
	leaf = pgqueue_open_segment(topic, &part->segments[0], AccessShareLock);
	if (leaf == NULL)
		return false;
	compaction->settled.horizon = GetOldestNonRemovableTransactionId(leaf);
	table_close(leaf, AccessShareLock);
	compaction->map = pgqueue_key_map((Size) memory * 1024);
	compaction->map_end = checkpoint.compacted_to;
	n = read_keys(compaction, topic, with_successor(compaction, topic, closed));
	n = with_successor(compaction, topic, n);
	compaction->nsegments = n;
	compaction->segments = palloc(n * sizeof(Segment) + 1);
	memcpy(compaction->segments, part->segments, n * sizeof(Segment));
	return n > 0;
}

/*
 * Return true if a tombstone may be removed (README, section 14); else remember that
 * it is there.
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

/* Remember a tombstone that may be removed as soon as a message follows it. */
static bool
keep_last(Compaction *compaction)
{
	if (!compaction->has_tombstones)
		compaction->oldest_tombstone = TOMBSTONE_IS_LAST;
	compaction->has_tombstones = true;
	return true;
}

/*
 * Return true if a message is not deleted (log/cut.c), and there is no later one
 * of the key.  A LogReceiver.
 */
static bool
stays(HeapTuple tuple, Relation leaf, void *arg)
{
	Compaction *compaction = arg;
	LogFixed   *fixed = log_fixed(tuple->t_data);
	void	   *copy;
	text	   *key;
	bool		result;

	if (fixed->offset < compaction->log_start)
		return false;
	if (fixed->offset >= compaction->map_end)
		return true;
	key = key_of(tuple, leaf, &copy);
	if (key == NULL)
		return true;
	result = pgqueue_key_map_get(compaction->map, VARDATA_ANY(key),
								 VARSIZE_ANY_EXHDR(key)) <= fixed->offset;
	if (copy != NULL)
		pfree(copy);
	if (!result ||
		!heap_attisnull(tuple, LOG_ATTR_VALUE, RelationGetDescr(leaf)) ||
		!is_expired(compaction, fixed))
		return result;
	return fixed->offset == compaction->kept && keep_last(compaction);
}

/*
 * Begin a compaction of a partition: plan it, and read the keys, in the current
 * memory context.  Return false if there is nothing to compact, or if another
 * process compacts the partition.
 *
 * Locks: takes the partition's compaction lock for the session, conditionally,
 * until pgqueue_compaction_end().
 */
bool
pgqueue_compaction_begin(Compaction *compaction, Topic *topic, int32 partition)
{
	if (!(topic->cleanup_policy & CLEANUP_COMPACT))
		return false;
	compaction->topic_id = topic->id;
	compaction->partition = partition;
	compaction->lock = pgqueue_tag(PGQUEUE_LOCK_COMPACTION, topic->id,
								   partition);
	return LockAcquire(&compaction->lock, ExclusiveLock, true,
					   true) != LOCKACQUIRE_NOT_AVAIL &&
		plan(compaction, topic);
}

void
pgqueue_compaction_end(const Compaction *compaction)
{
	if (PGQUEUE_LOCK_HELD_BY_ME(&compaction->lock, ExclusiveLock))
		LockRelease(&compaction->lock, ExclusiveLock, true);
}

/*
 * Return true if all groups are still past the tombstones to be removed.
 * Called with the segment locked exclusively (README, section 14).
 */
static bool
groups_are_past(void *arg)
{
	const Compaction *compaction = arg;
	HeldBy		by;

	return compaction->topic->retention_force ||
		compaction->expired_to <=
		pgqueue_held_for_groups(compaction->topic, compaction->partition,
								&by);
}

/*
 * Compact a segment.  Return false if it is in use or not settled, or if a
 * group has yet to read a tombstone that would be removed.
 *
 * Errors: 55000 if the session has lost the compaction lock.
 */
static bool
compact_segment(Compaction *compaction, Topic *topic, const Segment *segment)
{
	Rewritten	done = {0};
	Relation	leaf;
	Visit		visit;

	if (!pgqueue_try_lock_segment(segment->relid, ShareUpdateExclusiveLock))
		return false;
	leaf = pgqueue_open_segment(topic, segment, AccessShareLock);
	if (leaf == NULL)
		return false;
	pgqueue_check_code(segment->relid, false);
	pgstat_progress_start_command(PROGRESS_COMMAND_REPACK, segment->relid);
	pgstat_progress_update_param(PROGRESS_REPACK_PHASE,
								 PROGRESS_REPACK_PHASE_SEQ_SCAN_HEAP);
	compaction->topic = topic;
	compaction->log_start = pgqueue_log_start(topic, compaction->partition);
	compaction->expired_to = 0;
	visit = pgqueue_visit_settled(leaf, &compaction->settled, 0, stays,
								  compaction);
	if (visit != VISIT_STOPPED)
		relation_close(leaf, NoLock);
	else if (pgqueue_rewrite_segment(leaf, &compaction->settled, stays,
									 groups_are_past, compaction, &done))
	{
		/* functions in the indexes may have released it (README, section 16) */
		if (!PGQUEUE_LOCK_HELD_BY_ME(&compaction->lock, ExclusiveLock))
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("the lock of the compaction was released"),
					 errdetail("A function in an index called pg_advisory_unlock_all().")));
		compaction->done.removed += done.removed;
		compaction->done.bytes += done.bytes;
		visit = VISITED_ALL;
	}
	pgstat_progress_end_command();
	return visit == VISITED_ALL;
}

/* Return the segment as the topic has it now, or NULL if it was removed. */
static const Segment *
find_segment(const Topic *topic, int32 partition, Oid relid)
{
	const Partition *part = pgqueue_partition(topic, partition);

	for (int i = 0; i < part->nsegments; i++)
		if (part->segments[i].relid == relid)
			return &part->segments[i];
	return NULL;
}

/*
 * Compact the next segment, in a transaction of its own.  Return false if there
 * is none, or if it could not be compacted.
 */
bool
pgqueue_compact_next(Compaction *compaction, Topic *topic)
{
	const Segment *planned = &compaction->segments[compaction->next];
	const Segment *segment;

	if (topic->id != compaction->topic_id ||
		!(topic->cleanup_policy & CLEANUP_COMPACT) ||
		compaction->next == compaction->nsegments)
		return false;
	segment = find_segment(topic, compaction->partition, planned->relid);
	if (segment != NULL && !compact_segment(compaction, topic, segment))
		return false;
	compaction->done_to = Min(planned->end, compaction->map_end);
	compaction->next++;
	return true;
}

/*
 * Store how far the compaction came.  Return true if the map was full, so that
 * the caller should begin another one at once.
 *
 * Locks: the caller holds SHARE UPDATE EXCLUSIVE on the topic's table.
 */
bool
pgqueue_compaction_keep(const Compaction *compaction, const Topic *topic)
{
	Checkpoint	old;
	Checkpoint	checkpoint;

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
