/*-------------------------------------------------------------------------
 *
 * scan.c
 *	  Read one segment from an offset or a time on, up to the first record
 *	  that may still appear; or, for compaction, that is not settled
 *	  (visibility.c).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "commands/progress.h"
#include "pgstat.h"
#include "storage/bufmgr.h"
#include "storage/predicate.h"
#include "storage/smgr.h"

#include "base/compat_table.h"
#include "log/write.h"

/*
 * Judge a page's records at or behind a place, in order, under its share lock.
 * lines: those to emit; *stopped_at: the offset of the record behind them that
 * may still appear, if there is one.
 */
static int
judge_page(Relation segment, Buffer buffer, const LogSeek *from,
		   Snapshot snapshot, OffsetNumber *lines, bool *has_record,
		   int64 *stopped_at)
{
	bool		check = !PageIsAllVisible(BufferGetPage(buffer)) ||
		snapshot->takenDuringRecovery ||
		CheckForSerializableConflictOutNeeded(segment, snapshot);
	PageWalk	walk;
	int			n = 0;

	*has_record = false;
	pgqueue_page_begin(&walk, segment, buffer);
	while (pgqueue_page_next(&walk))
	{
		LogFixed   *fixed = log_fixed(walk.tuple.t_data);
		Verdict		verdict = VERDICT_EMIT;

		*has_record = true;
		if ((from->by_time ? fixed->timestamp : fixed->offset) < from->at ||
			fixed->offset < from->start)
			continue;

		if (check)
			verdict = pgqueue_judge(&walk.tuple, buffer, segment, snapshot);
		if (verdict == VERDICT_EMIT)
			lines[n++] = walk.tuple.t_self.ip_posid;
		else if (verdict == VERDICT_STOP)
		{
			*stopped_at = fixed->offset;
			break;
		}
	}
	return n;
}

/* Hand a page's lines to the receiver.  The pin keeps VACUUM away. */
static bool
emit_page(Relation segment, Buffer buffer, const OffsetNumber *lines, int n,
		  LogReceiver receiver, void *arg)
{
	PageWalk	walk;

	pgqueue_page_begin(&walk, segment, buffer);
	for (int i = 0; i < n; i++)
	{
		(void) pgqueue_page_go(&walk, lines[i]);
		if (!receiver(&walk.tuple, segment, arg))
			return false;
	}
	return true;
}

/* Where a scan ends. */
typedef struct ScanBound
{
	BlockNumber nblocks;
	bool		final;			/* no record behind that the snapshot shows */
} ScanBound;

/*
 * Begin with the number of blocks that the session knew last, without asking the
 * system: the file may have grown since, and has not been truncated, which resets
 * that number.
 *
 * Locks: any on the segment.
 */
static void
bound_begin(ScanBound *bound, Relation segment)
{
	bound->nblocks = RelationGetSmgr(segment)->smgr_cached_nblocks[MAIN_FORKNUM];
	bound->final = false;
	if (bound->nblocks == InvalidBlockNumber)
		bound->nblocks = 0;
}

/*
 * Return true if a block lies before the bound.  The number of blocks is read
 * after the snapshot was taken, so it covers every record that is shown.
 */
static bool
bound_covers(ScanBound *bound, Relation segment, BlockNumber block)
{
	if (block >= bound->nblocks && !bound->final)
	{
		bound->nblocks = RelationGetNumberOfBlocks(segment);
		bound->final = true;
	}
	return block < bound->nblocks;
}

/*
 * Find the block where reading begins.  If it is the last one known, what is sought
 * may lie behind it.
 */
static BlockNumber
seek_within(ScanBound *bound, Relation segment, const LogSeek *seek)
{
	BlockNumber block = pgqueue_seek_block(segment, 0, bound->nblocks, seek);

	if (!bound->final && bound_covers(bound, segment, block + 1) &&
		bound->final)
		block = pgqueue_seek_block(segment, block, bound->nblocks, seek);
	return block;
}

/*
 * Read the messages at or behind a place in a segment's blocks.  receiver: NULL
 * to judge them only; *stopped_at: -1, or where the scan is SCAN_UNSTABLE;
 * *emitted: set to the last block with messages.  A page without a record may
 * begin a long hole: the slot is asked, once, where the records end.
 */
static ScanEnd
scan_blocks(Relation segment, AppendSlot *slot, BlockNumber block,
			ScanBound *bound, const LogSeek *from, Snapshot snapshot,
			LogReceiver receiver, void *arg, int64 *stopped_at,
			BlockNumber *emitted)
{
	OffsetNumber lines[MaxHeapTuplesPerPage];
	bool		bounded = false;

	*stopped_at = -1;
	for (; bound_covers(bound, segment, block); block++)
	{
		Buffer		buffer;
		bool		has_record;
		bool		more;
		int			n;

		CHECK_FOR_INTERRUPTS();
		buffer = ReadBuffer(segment, block);
		LockBuffer(buffer, BUFFER_LOCK_SHARE);
		n = judge_page(segment, buffer, from, snapshot, lines, &has_record,
					   stopped_at);
		LockBuffer(buffer, BUFFER_LOCK_UNLOCK);
		if (n > 0)
			*emitted = block;
		more = receiver == NULL ||
			emit_page(segment, buffer, lines, n, receiver, arg);
		ReleaseBuffer(buffer);

		if (!more)
			return SCAN_ENOUGH;
		if (*stopped_at >= 0)
			return SCAN_UNSTABLE;
		if (!has_record && !bounded)
		{
			if (pgqueue_slot_ends_at(slot, segment, block))
				return SCAN_EXHAUSTED;
			bounded = true;
			bound->nblocks = pgqueue_slot_find_tail(slot, segment);
			bound->final = true;
		}
	}
	return SCAN_EXHAUSTED;
}

/* Read a segment's messages at or behind a place. */
ScanEnd
pgqueue_scan_segment(Relation segment, AppendSlot *slot, const LogSeek *from,
					 Snapshot snapshot, LogReceiver receiver, void *arg,
					 int64 *stopped_at, bool *emitted)
{
	BlockNumber last = InvalidBlockNumber;
	ScanBound	bound;
	BlockNumber block;
	ScanEnd		end;

	PredicateLockRelation(segment, snapshot);
	bound_begin(&bound, segment);
	block = seek_within(&bound, segment, from);
	if (from->by_time && from->start > 0)
	{
		LogSeek		start = {.by_time = false,.at = from->start};

		block = Max(block, seek_within(&bound, segment, &start));
	}
	end = scan_blocks(segment, slot, block, &bound, from, snapshot, receiver,
					  arg, stopped_at, &last);
	*emitted |= last != InvalidBlockNumber;
	return end;
}

/*
 * Find the first record of a segment that may still appear, from where the last
 * scan found that all before is settled.  Return false if there is none.
 */
bool
pgqueue_first_unstable(Relation segment, AppendSlot *slot, Snapshot snapshot,
					   int64 *offset)
{
	LogSeek		all = {.by_time = false,.at = 0};
	BlockNumber settled = pgqueue_slot_stable(slot, segment);
	ScanBound	bound;
	ScanEnd		end;

	PredicateLockRelation(segment, snapshot);
	bound_begin(&bound, segment);
	end = scan_blocks(segment, slot, settled, &bound, &all, snapshot, NULL, NULL,
					  offset, &settled);
	/* what we wrote ourselves is shown, and may go again */
	if (!TransactionIdIsValid(GetTopTransactionIdIfAny()))
		pgqueue_slot_set_stable(slot, segment, settled);
	return end == SCAN_UNSTABLE;
}

/*
 * Visit a page's settled records, up to the first that is not settled.  They do
 * not change, so they are listed under the page's lock and visited under a pin.
 */
static Visit
visit_page(Relation segment, Buffer buffer, Settled *settled,
		   LogReceiver visitor, void *arg)
{
	OffsetNumber lines[MaxHeapTuplesPerPage];
	PageWalk	walk;
	Verdict		verdict = VERDICT_EMIT;
	int			n = 0;

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	pgqueue_page_begin(&walk, segment, buffer);
	while (verdict != VERDICT_STOP && pgqueue_page_next(&walk))
	{
		verdict = pgqueue_judge_settled(settled, &walk.tuple, buffer);
		if (verdict == VERDICT_EMIT)
			lines[n++] = walk.tuple.t_self.ip_posid;
	}
	LockBuffer(buffer, BUFFER_LOCK_UNLOCK);
	if (!emit_page(segment, buffer, lines, n, visitor, arg))
		return VISIT_STOPPED;
	return verdict == VERDICT_STOP ? VISIT_UNSETTLED : VISITED_ALL;
}

/*
 * Visit a segment's settled records in order, from an offset on or some before
 * it, up to the first that is not settled.
 */
Visit
pgqueue_visit_settled(Relation segment, Settled *settled, int64 from,
					  LogReceiver visitor, void *arg)
{
	LogSeek		seek = {.by_time = false,.at = from};
	BlockNumber nblocks = RelationGetNumberOfBlocks(segment);
	BufferAccessStrategy strategy = GetAccessStrategy(BAS_BULKREAD);
	Visit		result = VISITED_ALL;

	pgstat_progress_update_param(PROGRESS_REPACK_TOTAL_HEAP_BLKS, nblocks);
	for (BlockNumber block = pgqueue_seek_block(segment, 0, nblocks, &seek);
		 block < nblocks && result == VISITED_ALL; block++)
	{
		Buffer		buffer;

		vacuum_delay_point(false);
		buffer = ReadBufferExtended(segment, MAIN_FORKNUM, block, RBM_NORMAL,
									strategy);
		result = visit_page(segment, buffer, settled, visitor, arg);
		ReleaseBuffer(buffer);
		pgstat_progress_update_param(PROGRESS_REPACK_HEAP_BLKS_SCANNED,
									 block + 1);
	}
	FreeAccessStrategy(strategy);
	return result;
}
