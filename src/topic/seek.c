/*-------------------------------------------------------------------------
 *
 * seek.c
 *	  Find the segment of an offset or of a time by binary search.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heapam.h"
#include "storage/bufmgr.h"

#include "log/log.h"
#include "log/write.h"
#include "topic/segment.h"
#include "topic/topic.h"

/* Find the last record of a segment; the slot remembers where a hole begins. */
void
pgqueue_whole_segment_tail(Topic *topic, int32 partition, Relation leaf,
						   LogTail *tail)
{
	BlockNumber nblocks = RelationGetNumberOfBlocks(leaf);
	LogFixed	first;

	if (nblocks > 0 && !pgqueue_block_first(leaf, nblocks - 1, &first))
		nblocks = pgqueue_slot_find_tail(pgqueue_slot(topic->log, partition),
										 leaf);
	pgqueue_segment_tail(leaf, nblocks, tail);
}

/* Find the first record of a segment, which may be gone. */
static bool
segment_first(Topic *topic, const Segment *segment, LogFixed *first)
{
	Relation	leaf = pgqueue_open_segment(topic, segment, AccessShareLock);
	bool		found;

	if (leaf == NULL)
		return false;
	found = pgqueue_segment_first(leaf, first);
	table_close(leaf, AccessShareLock);
	return found;
}

/*
 * Return a segment from which on a place is to be sought: no earlier one holds
 * a record at or behind it.
 */
int
pgqueue_seek_segment(Topic *topic, int32 partition, const LogSeek *seek)
{
	Partition  *part = &topic->partitions[partition];
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
