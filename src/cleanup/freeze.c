/*-------------------------------------------------------------------------
 *
 * freeze.c
 *	  Choose the next segment of a partition to freeze (log/freeze.c).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"

#include "base/lock.h"
#include "log/write.h"
#include "topic/segment.h"
#include "topic/topic.h"
#include "cleanup/cleanup.h"

/* ---------------- a segment ---------------- */

/* Is there something to freeze, and can it be? */
static bool
needs_freezing(Topic *topic, const Segment *segment)
{
	Relation	leaf;
	bool		result = false;

	if (!pgqueue_try_lock_relation(segment->relid, AccessShareLock))
		return false;			/* it is being let go, or swapped */
	leaf = pgqueue_open_segment(topic, segment, AccessShareLock);
	if (leaf != NULL)
	{
		result = RelationGetNumberOfBlocks(leaf) > 0 &&
			!pgqueue_is_frozen(leaf) && pgqueue_is_old(leaf);
		table_close(leaf, AccessShareLock);
	}
	pgqueue_unlock_relation(segment->relid, AccessShareLock);
	return result;
}

/*
 * Freeze the first sealed segment of a partition, from an offset on, that needs it
 * and whose messages are older than every snapshot.  *from becomes where to go
 * on, the end of that segment, also if this fails; PG_INT64_MAX if there is none.
 * True if it is frozen now.
 *
 * To be called in a transaction that has done nothing and will do nothing but
 * end: see ignore_our_snapshot().
 *
 * Locks: SHARE UPDATE EXCLUSIVE on the segment and its TOAST table, tried.
 * Errors: 55006 if somebody keeps a page pinned, rarely.
 */
bool
pgqueue_freeze_next(Topic *topic, int32 partition, int64 *from)
{
	Partition  *part = &topic->partitions[partition];
	int64		begin = *from;
	int			sealed;

	*from = PG_INT64_MAX;
	sealed = pgqueue_segments_sealed(topic, part);
	for (int i = 0; i < sealed; i++)
	{
		if (part->segments[i].first < begin)
			continue;
		CHECK_FOR_INTERRUPTS();
		*from = part->segments[i].end;
		if (needs_freezing(topic, &part->segments[i]))
			return pgqueue_freeze_segment(part->segments[i].relid);
	}
	*from = PG_INT64_MAX;
	return false;
}
