/*-------------------------------------------------------------------------
 *
 * seek.c
 *	  Find a place in a segment: by offset or by time, without an index.
 *
 * Offsets ascend on disk, and timestamps do not go backwards (README, I1 and
 * I5), so both are found by binary search over the segment's blocks.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/bufmgr.h"

#include "log/log.h"

/* Read a block's first or last record.  Return false if it has none. */
static inline bool
read_record(Relation segment, BlockNumber block, bool last, LogFixed *record)
{
	Buffer		buffer = ReadBuffer(segment, block);
	PageWalk	walk;
	bool		found;

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	pgqueue_page_begin(&walk, segment, buffer);
	found = last ? pgqueue_page_previous(&walk) : pgqueue_page_next(&walk);
	if (found)
		*record = *log_fixed(walk.tuple.t_data);
	UnlockReleaseBuffer(buffer);
	return found;
}

bool
pgqueue_block_first(Relation segment, BlockNumber block, LogFixed *first)
{
	return read_record(segment, block, false, first);
}

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
		*block = mid - step;
		if (step < mid - low && pgqueue_block_first(segment, *block, first))
			return true;
		*block = mid + step;
		if (step < high - mid && pgqueue_block_first(segment, *block, first))
			return true;
	}
	return false;
}

/* Return true if the place sought, or a record of its time, may lie before. */
bool
pgqueue_lies_before(const LogSeek *seek, const LogFixed *record)
{
	return seek->by_time ? record->timestamp >= seek->at :
		record->offset > seek->at;
}

/*
 * Return a block from low on, before which no record at or behind the place is:
 * from there a forward scan meets every such record; usually that of the record
 * itself.
 *
 * low: as the result, which is nearer.
 */
BlockNumber
pgqueue_seek_block(Relation segment, BlockNumber low, BlockNumber nblocks,
				   const LogSeek *seek)
{
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
	LogFixed	last = {0};

	*tail = (LogTail) {.block = InvalidBlockNumber};
	while (upto > 0 && !tail->found)
	{
		CHECK_FOR_INTERRUPTS();
		tail->found = read_record(segment, --upto, true, &last);
	}
	if (tail->found)
		*tail = (LogTail) {true, upto, last.offset, last.timestamp};
}

/*
 * Find the first record of a segment from an offset on, dead or alive.  Return
 * false if there is none.
 */
bool
pgqueue_segment_first(Relation segment, int64 from, LogFixed *first)
{
	LogSeek		seek = {.by_time = false,.at = from};
	BlockNumber nblocks = RelationGetNumberOfBlocks(segment);
	bool		found = false;

	for (BlockNumber block = pgqueue_seek_block(segment, 0, nblocks, &seek);
		 block < nblocks && !found; block++)
	{
		Buffer		buffer = ReadBuffer(segment, block);
		PageWalk	walk;

		CHECK_FOR_INTERRUPTS();
		LockBuffer(buffer, BUFFER_LOCK_SHARE);
		pgqueue_page_begin(&walk, segment, buffer);
		while (!found && pgqueue_page_next(&walk))
		{
			*first = *log_fixed(walk.tuple.t_data);
			found = first->offset >= from;
		}
		UnlockReleaseBuffer(buffer);
	}
	return found;
}
