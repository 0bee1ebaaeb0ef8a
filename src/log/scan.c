/*-------------------------------------------------------------------------
 *
 * scan.c
 *	  Read one segment from an offset or a time on, up to the first record
 *	  that may still appear.
 *
 * The stop rule, and the proof that it loses nothing, is in README.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "commands/progress.h"
#include "commands/vacuum.h"
#include "pgstat.h"
#include "storage/bufmgr.h"
#include "storage/predicate.h"

#include "base/compat_table.h"
#include "log/log.h"
#include "log/write.h"

/*
 * Judge a page's records at or behind a place, in order, under its share lock.
 * lines gets those to emit; stop is set if the page ends at a record that may
 * still appear, at offset *stopped_at.
 */
static int
judge_page(Relation segment, Buffer buffer, const LogSeek *from,
		   Snapshot snapshot, OffsetNumber *lines, bool *has_record, bool *stop,
		   int64 *stopped_at)
{
	bool		all_visible = PageIsAllVisible(BufferGetPage(buffer)) &&
		!snapshot->takenDuringRecovery;
	bool		serializable = CheckForSerializableConflictOutNeeded(segment,
																	 snapshot);
	PageWalk	walk;
	int			n = 0;

	*stop = false;
	*has_record = false;
	pgqueue_page_begin(&walk, segment, buffer);
	while (pgqueue_page_next(&walk))
	{
		LogFixed   *fixed = log_fixed(walk.tuple.t_data);
		Verdict		verdict = VERDICT_EMIT;

		*has_record = true;
		if ((from->by_time ? fixed->timestamp : fixed->offset) < from->at)
			continue;

		if (!all_visible || serializable)
			verdict = pgqueue_judge(&walk.tuple, buffer, segment, snapshot);
		if (verdict == VERDICT_EMIT)
			lines[n++] = walk.tuple.t_self.ip_posid;
		else if (verdict == VERDICT_STOP)
		{
			*stop = true;
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

/*
 * Read a segment's messages at or behind a place.
 *
 * The number of blocks is asked after the snapshot was taken, so it covers
 * every record the snapshot shows.  A page without a record may begin a long
 * hole; then the slot is asked, once, where the records end.
 */
ScanEnd
pgqueue_scan_segment(Relation segment, AppendSlot *slot, const LogSeek *from,
			 Snapshot snapshot, LogReceiver receiver, void *arg,
			 int64 *stopped_at, bool *emitted)
{
	BlockNumber nblocks = RelationGetNumberOfBlocks(segment);
	bool		bounded = false;
	OffsetNumber lines[MaxHeapTuplesPerPage];

	PredicateLockRelation(segment, snapshot);
	for (BlockNumber block = pgqueue_seek_block(segment, nblocks, from);
		 block < nblocks; block++)
	{
		Buffer		buffer;
		bool		has_record;
		bool		stop;
		bool		more;
		int			n;

		CHECK_FOR_INTERRUPTS();
		buffer = ReadBuffer(segment, block);
		LockBuffer(buffer, BUFFER_LOCK_SHARE);
		n = judge_page(segment, buffer, from, snapshot, lines, &has_record,
					   &stop, stopped_at);
		LockBuffer(buffer, BUFFER_LOCK_UNLOCK);
		*emitted |= n > 0;
		more = emit_page(segment, buffer, lines, n, receiver, arg);
		ReleaseBuffer(buffer);

		if (!more)
			return SCAN_ENOUGH;
		if (stop)
			return SCAN_UNSTABLE;
		if (!has_record && !bounded)
		{
			BlockNumber tail = pgqueue_slot_find_tail(slot, segment);

			bounded = true;
			nblocks = tail == InvalidBlockNumber ? 0 : Min(nblocks, tail + 1);
		}
	}
	return SCAN_EXHAUSTED;
}

/*
 * Find the first record of a segment that may still appear.  Return false if
 * there is none.
 *
 * The scan begins where the last one found that all before is settled.
 */
bool
pgqueue_first_unstable(Relation segment, AppendSlot *slot, Snapshot snapshot,
					   int64 *offset)
{
	LogSeek		all = {.by_time = false,.at = 0};
	BlockNumber nblocks = RelationGetNumberOfBlocks(segment);
	BlockNumber settled = pgqueue_slot_stable(slot, segment);
	OffsetNumber lines[MaxHeapTuplesPerPage];
	bool		bounded = false;
	bool		stop = false;

	PredicateLockRelation(segment, snapshot);
	for (BlockNumber block = settled; block < nblocks && !stop; block++)
	{
		Buffer		buffer;
		bool		has_record;

		CHECK_FOR_INTERRUPTS();
		buffer = ReadBuffer(segment, block);
		LockBuffer(buffer, BUFFER_LOCK_SHARE);
		if (judge_page(segment, buffer, &all, snapshot, lines, &has_record,
					   &stop, offset) > 0)
			settled = block;
		UnlockReleaseBuffer(buffer);
		if (!has_record && !bounded)
		{
			BlockNumber tail = pgqueue_slot_find_tail(slot, segment);

			bounded = true;
			nblocks = tail == InvalidBlockNumber ? 0 : Min(nblocks, tail + 1);
		}
	}
	/* what we wrote ourselves is shown, and may go again */
	if (!TransactionIdIsValid(GetTopTransactionIdIfAny()))
		pgqueue_slot_set_stable(slot, segment, settled);
	return stop;
}

/*
 * List the settled records of a page, up to the first that is not settled,
 * under its share lock.
 */
static int
settled_lines(Settled *settled, Relation segment, Buffer buffer,
			  OffsetNumber *lines, bool *unsettled)
{
	PageWalk	walk;
	int			n = 0;

	*unsettled = false;
	pgqueue_page_begin(&walk, segment, buffer);
	while (!*unsettled && pgqueue_page_next(&walk))
		if (pgqueue_is_settled(settled, &walk.tuple, buffer, unsettled))
			lines[n++] = walk.tuple.t_self.ip_posid;
	return n;
}

/*
 * Visit a page: it is looked through under its lock, and its settled records are
 * visited under a pin: they do not change, and the pin keeps VACUUM away.
 */
static Visit
visit_page(Relation segment, Buffer buffer, Settled *settled,
		   LogReceiver visitor, void *arg)
{
	OffsetNumber lines[MaxHeapTuplesPerPage];
	bool		unsettled;
	int			n;

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	n = settled_lines(settled, segment, buffer, lines, &unsettled);
	LockBuffer(buffer, BUFFER_LOCK_UNLOCK);
	if (!emit_page(segment, buffer, lines, n, visitor, arg))
		return VISIT_STOPPED;
	return unsettled ? VISIT_UNSETTLED : VISITED_ALL;
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

	pgstat_progress_update_param(PGQUEUE_PROGRESS_TOTAL_HEAP_BLKS, nblocks);
	for (BlockNumber block = pgqueue_seek_block(segment, nblocks, &seek);
		 block < nblocks && result == VISITED_ALL; block++)
	{
		Buffer		buffer;

		PGQUEUE_VACUUM_DELAY_POINT();
		buffer = ReadBufferExtended(segment, MAIN_FORKNUM, block, RBM_NORMAL,
									strategy);
		result = visit_page(segment, buffer, settled, visitor, arg);
		ReleaseBuffer(buffer);
		pgstat_progress_update_param(PGQUEUE_PROGRESS_HEAP_BLKS_SCANNED,
									 block + 1);
	}
	FreeAccessStrategy(strategy);
	return result;
}
