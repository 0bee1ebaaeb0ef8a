/*-------------------------------------------------------------------------
 *
 * log_seek.c
 *	  Finding a place in a log: by offset or by time, without an index.
 *
 * Offsets ascend on disk, and timestamps do not go backwards (README, I1 and
 * I5), so both are found by binary search: over a partition's segments, then
 * over a segment's blocks.	 Pages without a record (new, empty, emptied by
 * VACUUM) may lie anywhere.
 *
 *-------------------------------------------------------------------------
 */
#include "queue.h"

#include "access/heapam.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"

/* ---------------- a page ---------------- */

bool
pgqueue_page_has_record(Page page)
{
	OffsetNumber lp;
	LogFixed   *fixed;

	return pgqueue_page_last(page, &lp, &fixed);
}

/* The fixed columns of the page's last record, dead or alive. */
bool
pgqueue_page_last(Page page, OffsetNumber *lp, LogFixed **fixed)
{
	if (PageIsNew(page))
		return false;
	for (*lp = PageGetMaxOffsetNumber(page); *lp > 0; (*lp)--)
	{
		ItemId		item = PageGetItemId(page, *lp);

		if (ItemIdIsNormal(item))
		{
			*fixed = log_fixed((HeapTupleHeader) PageGetItem(page, item));
			return true;
		}
	}
	return false;
}

/* The fixed columns of the page's first record, dead or alive. */
static bool
page_first(Page page, LogFixed *first)
{
	OffsetNumber max = PageIsNew(page) ? 0 : PageGetMaxOffsetNumber(page);

	for (OffsetNumber lp = FirstOffsetNumber; lp <= max; lp++)
	{
		ItemId		item = PageGetItemId(page, lp);

		if (ItemIdIsNormal(item))
		{
			*first = *log_fixed((HeapTupleHeader) PageGetItem(page, item));
			return true;
		}
	}
	return false;
}

static bool
block_first(Relation leaf, BlockNumber block, LogFixed *first)
{
	Buffer		buffer = ReadBuffer(leaf, block);
	bool		found;

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	found = page_first(BufferGetPage(buffer), first);
	UnlockReleaseBuffer(buffer);
	return found;
}

/* ---------------- in a segment ---------------- */

/*
 * A page near *block, within (low, high), that holds a record: probes both
 * ways by doubling.  False if no probe met one.
 */
static bool
probe(Relation leaf, BlockNumber low, BlockNumber high, BlockNumber *block,
	  LogFixed *first)
{
	BlockNumber mid = *block;

	if (block_first(leaf, mid, first))
		return true;
	for (BlockNumber step = 1; step < high - low; step *= 2)
	{
		if (step < mid - low && block_first(leaf, mid - step, first))
		{
			*block = mid - step;
			return true;
		}
		if (step < high - mid && block_first(leaf, mid + step, first))
		{
			*block = mid + step;
			return true;
		}
	}
	return false;
}

/*
 * May what is sought lie before a record?	Several records may have the time
 * sought; offsets are unique.
 */
static bool
lies_before(const LogSeek *seek, const LogFixed *record)
{
	return seek->by_time ? record->timestamp >= seek->at :
		record->offset > seek->at;
}

/*
 * A block from which a forward scan meets every record at or behind the place:
 * no earlier block holds one.	Usually the block of the record itself.
 */
BlockNumber
pgqueue_seek_block(Relation leaf, BlockNumber nblocks, const LogSeek *seek)
{
	BlockNumber low = 0;		/* the record is not before this block */
	BlockNumber high = nblocks;

	while (high - low > 1)
	{
		BlockNumber mid = low + (high - low) / 2;
		LogFixed	first;

		if (!probe(leaf, low, high, &mid, &first))
			break;				/* a hole: what follows low is scanned */
		if (lies_before(seek, &first))
			high = mid;
		else
			low = mid;
	}
	return low;
}

/*
 * The last record before block upto.  Walks back over pages without one.
 */
void
pgqueue_segment_tail(Relation leaf, BlockNumber upto, LogTail *tail)
{
	tail->found = false;
	while (upto > 0 && !tail->found)
	{
		Buffer		buffer = ReadBuffer(leaf, --upto);
		OffsetNumber lp;
		LogFixed   *fixed;

		CHECK_FOR_INTERRUPTS();
		LockBuffer(buffer, BUFFER_LOCK_SHARE);
		if (pgqueue_page_last(BufferGetPage(buffer), &lp, &fixed))
		{
			tail->found = true;
			tail->block = upto;
			tail->offset = fixed->offset;
			tail->timestamp = fixed->timestamp;
		}
		UnlockReleaseBuffer(buffer);
	}
}

/* The same for the whole segment; the slot remembers where a hole begins. */
void
pgqueue_whole_segment_tail(Topic *topic, int32 partition, Relation leaf,
						   LogTail *tail)
{
	BlockNumber nblocks = RelationGetNumberOfBlocks(leaf);
	LogFixed	first;

	if (nblocks > 0 && !block_first(leaf, nblocks - 1, &first))
	{
		BlockNumber block =
			pgqueue_slot_find_tail(pgqueue_slot(topic->log, partition), leaf);

		nblocks = block == InvalidBlockNumber ? 0 : block + 1;
	}
	pgqueue_segment_tail(leaf, nblocks, tail);
}

/* ---------------- among segments ---------------- */

/* The first record of a leaf.	False if it has none. */
bool
pgqueue_leaf_first(Relation leaf, LogFixed *first)
{
	BlockNumber nblocks = RelationGetNumberOfBlocks(leaf);

	for (BlockNumber block = 0; block < nblocks; block++)
	{
		CHECK_FOR_INTERRUPTS();
		if (block_first(leaf, block, first))
			return true;
	}
	return false;
}

/* The same of a segment, which may be gone. */
static bool
segment_first(Topic *topic, const Segment *segment, LogFixed *first)
{
	Relation	leaf = pgqueue_open_segment(topic, segment, AccessShareLock);
	bool		found;

	if (leaf == NULL)
		return false;
	found = pgqueue_leaf_first(leaf, first);
	table_close(leaf, AccessShareLock);
	return found;
}

/*
 * A segment from which on a place is to be sought: no earlier one holds a
 * record at or behind it.
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
		if (used == low || lies_before(seek, &first))
			high = used == low ? mid : used;
		else
			low = used;
	}
	return low;
}
