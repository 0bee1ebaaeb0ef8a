/*-------------------------------------------------------------------------
 *
 * seek.c
 *	  Finding a place in a log: by offset or by time, without an index.
 *
 * Offsets ascend on disk, and timestamps do not go backwards (README, I1 and
 * I5), so both are found by binary search: over a partition's segments, then
 * over a segment's blocks.  Pages without a record (new, empty, emptied by
 * VACUUM) may lie anywhere.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/bufmgr.h"

#include "log/log.h"

/* Read the fixed columns of a block's first record.  Return false if it has none. */
bool
pgqueue_block_first(Relation segment, BlockNumber block, LogFixed *first)
{
	Buffer		buffer = ReadBuffer(segment, block);
	PageWalk	walk;
	bool		found;

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	pgqueue_page_begin(&walk, segment, buffer);
	found = pgqueue_page_next(&walk);
	if (found)
		*first = *log_fixed(walk.tuple.t_data);
	UnlockReleaseBuffer(buffer);
	return found;
}

/* ---------------- in a segment ---------------- */

/*
 * Find a page near *block, within (low, high), that holds a record: probe both
 * ways by doubling.  Return false if no probe met one.
 */
static bool
probe(Relation segment, BlockNumber low, BlockNumber high, BlockNumber *block,
	  LogFixed *first)
{
	BlockNumber mid = *block;

	if (pgqueue_block_first(segment, mid, first))
		return true;
	for (BlockNumber step = 1; step < high - low; step *= 2)
	{
		if (step < mid - low && pgqueue_block_first(segment, mid - step, first))
		{
			*block = mid - step;
			return true;
		}
		if (step < high - mid && pgqueue_block_first(segment, mid + step,
													 first))
		{
			*block = mid + step;
			return true;
		}
	}
	return false;
}

/*
 * Return true if the place sought may lie before a record.  Several records may
 * have the time sought; offsets are unique.
 */
bool
pgqueue_lies_before(const LogSeek *seek, const LogFixed *record)
{
	return seek->by_time ? record->timestamp >= seek->at :
		record->offset > seek->at;
}

/*
 * Return a block from which a forward scan meets every record at or behind the
 * place: no earlier block holds one.  Usually it is the block of the record
 * itself.
 */
BlockNumber
pgqueue_seek_block(Relation segment, BlockNumber nblocks, const LogSeek *seek)
{
	BlockNumber low = 0;		/* the record is not before this block */
	BlockNumber high = nblocks;

	while (high - low > 1)
	{
		BlockNumber mid = low + (high - low) / 2;
		LogFixed	first;

		if (!probe(segment, low, high, &mid, &first))
			break;				/* a hole: what follows low is scanned */
		if (pgqueue_lies_before(seek, &first))
			high = mid;
		else
			low = mid;
	}
	return low;
}

/* Find the last record before block upto.  Walk back over pages without one. */
void
pgqueue_segment_tail(Relation segment, BlockNumber upto, LogTail *tail)
{
	tail->found = false;
	while (upto > 0 && !tail->found)
	{
		Buffer		buffer = ReadBuffer(segment, --upto);
		PageWalk	walk;

		CHECK_FOR_INTERRUPTS();
		LockBuffer(buffer, BUFFER_LOCK_SHARE);
		pgqueue_page_begin(&walk, segment, buffer);
		if (pgqueue_page_previous(&walk))
		{
			LogFixed   *fixed = log_fixed(walk.tuple.t_data);

			tail->found = true;
			tail->block = upto;
			tail->offset = fixed->offset;
			tail->timestamp = fixed->timestamp;
		}
		UnlockReleaseBuffer(buffer);
	}
}

/* ---------------- among segments ---------------- */

/* Find the first record of a segment.  Return false if it has none. */
bool
pgqueue_segment_first(Relation segment, LogFixed *first)
{
	BlockNumber nblocks = RelationGetNumberOfBlocks(segment);

	for (BlockNumber block = 0; block < nblocks; block++)
	{
		CHECK_FOR_INTERRUPTS();
		if (pgqueue_block_first(segment, block, first))
			return true;
	}
	return false;
}
