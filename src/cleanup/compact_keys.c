/*-------------------------------------------------------------------------
 *
 * compact_keys.c
 *	  Map the keys of dirty segments to their latest offsets, for compact.c.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "commands/progress.h"
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

/* queue.compaction_memory, in kB; -1: maintenance_work_mem */
int			pgqueue_compaction_memory = -1;

/* queue.compaction_min_dirty_ratio */
double		pgqueue_compaction_min_dirty_ratio = 0.5;

/* ---------------- the map ---------------- */

/* Return a message's key, or NULL.  *copy: what the caller must free, or NULL. */
text *
pgqueue_key_of(HeapTuple tuple, Relation leaf, void **copy)
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
	key = pgqueue_key_of(tuple, leaf, &copy);
	compaction->map_full = key != NULL &&
		!pgqueue_key_map_set(compaction->map, VARDATA_ANY(key),
							 VARSIZE_ANY_EXHDR(key), offset);
	if (copy != NULL)
		pfree(copy);
	if (!compaction->map_full)
		compaction->map_end = offset + 1;
	return !compaction->map_full;
}

/* ---------------- planning ---------------- */

/* Return true if enough of the first upto segments is dirty. */
static bool
is_dirty(const Partition *part, int upto, int64 compacted_to)
{
	int64		bytes[2] = {0, 0};	/* clean, dirty */

	for (int i = 0; i < upto; i++)
		bytes[part->segments[i].end > compacted_to] +=
			pgqueue_total_bytes(part->segments[i].relid);
	return bytes[1] > 0 &&
		bytes[1] >= pgqueue_compaction_min_dirty_ratio * (bytes[0] + bytes[1]);
}

/*
 * Return true if tombstones of the clean part may be removed: they are old enough,
 * and groups have read them or the topic forces retention.
 */
static bool
tombstones_due(const Compaction *compaction, const Checkpoint *checkpoint)
{
	return checkpoint->has_tombstones &&
		checkpoint->oldest_tombstone < compaction->tombstones_before &&
		checkpoint->compacted_to <= compaction->tombstones_to;
}

static bool
stop_at_once(HeapTuple tuple, Relation leaf, void *arg)
{
	return false;
}

/*
 * Return how many of the first segments may be compacted, at most upto: the segment
 * after them must hold a message that stays.  Then an append never needs the time
 * of a message before (README, I5).
 */
static int
with_successor(Compaction *compaction, Topic *topic, int upto)
{
	Partition  *part = &topic->partitions[compaction->partition];

	for (; upto > 0; upto--)
	{
		Relation	leaf = pgqueue_open_segment(topic, &part->segments[upto],
												AccessShareLock);
		Visit		visit;

		if (leaf == NULL)
			return 0;
		visit = pgqueue_visit_settled(leaf, &compaction->settled, 0,
									  stop_at_once, NULL);
		table_close(leaf, AccessShareLock);
		if (visit == VISIT_STOPPED)
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
	Partition  *part = &topic->partitions[compaction->partition];

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

static Size
map_memory(void)
{
	return (Size) (pgqueue_compaction_memory >= 0 ? pgqueue_compaction_memory :
				   maintenance_work_mem) * 1024;
}

/*
 * Choose the segments to compact, and read the keys.  Return false if there are
 * none.  The map is made in the current memory context.
 */
bool
pgqueue_compaction_plan(Compaction *compaction, Topic *topic)
{
	Partition  *part = &topic->partitions[compaction->partition];
	int			sealed = pgqueue_segments_sealed(topic, part);
	Checkpoint	checkpoint;
	char	   *name;
	Relation	leaf;

	pgqueue_checkpoint_read(topic, compaction->partition, &checkpoint);
	compaction->tombstones_to = topic->retention_force ? PG_INT64_MAX :
		pgqueue_held_for_groups(topic, compaction->partition, &name);
	compaction->tombstones_before =
		TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
									-topic->tombstone_retention);
	if (!is_dirty(part, sealed, checkpoint.compacted_to) &&
		!tombstones_due(compaction, &checkpoint))
		return false;

	/* before the keys are read */
	for (int i = 0; i < sealed; i++)
		pgqueue_check_code(part->segments[i].relid, false);
	/* of a leaf: a partitioned table has no records, and no horizon */
	leaf = pgqueue_open_segment(topic, &part->segments[0], AccessShareLock);
	if (leaf == NULL)
		return false;
	compaction->settled.horizon = GetOldestNonRemovableTransactionId(leaf);
	table_close(leaf, AccessShareLock);
	compaction->map = pgqueue_key_map(map_memory());
	compaction->map_end = checkpoint.compacted_to;
	compaction->nsegments =
		read_keys(compaction, topic, with_successor(compaction, topic, sealed));
	compaction->nsegments = with_successor(compaction, topic,
										   compaction->nsegments);
	compaction->segments = palloc(compaction->nsegments * sizeof(Segment) + 1);
	memcpy(compaction->segments, part->segments,
		   compaction->nsegments * sizeof(Segment));
	return compaction->nsegments > 0;
}
