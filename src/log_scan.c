/*-------------------------------------------------------------------------
 *
 * log_scan.c
 *	  Finding an offset, and reading from there up to the stable end.
 *
 * Order on disk is offset order (log_place.c), so an offset is found by
 * binary search over a segment's blocks, without an index.	 Pages without a
 * record (new, empty, emptied by VACUUM) may lie anywhere.
 *
 * The stop rule, and the proof that it loses nothing, is in README.
 *
 *-------------------------------------------------------------------------
 */
#include "queue.h"

#include "access/heapam.h"
#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/bufmgr.h"
#include "storage/predicate.h"
#include "storage/procarray.h"
#include "utils/inval.h"
#include "utils/snapmgr.h"

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

/* The offset of the page's first record. */
bool
pgqueue_page_first(Page page, int64 *offset)
{
	OffsetNumber max = PageIsNew(page) ? 0 : PageGetMaxOffsetNumber(page);

	for (OffsetNumber lp = FirstOffsetNumber; lp <= max; lp++)
	{
		ItemId		item = PageGetItemId(page, lp);

		if (ItemIdIsNormal(item))
		{
			*offset = log_fixed((HeapTupleHeader) PageGetItem(page, item))->offset;
			return true;
		}
	}
	return false;
}

static bool
block_first(Relation leaf, BlockNumber block, int64 *offset)
{
	Buffer		buffer = ReadBuffer(leaf, block);
	bool		found;

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	found = pgqueue_page_first(BufferGetPage(buffer), offset);
	UnlockReleaseBuffer(buffer);
	return found;
}

/* ---------------- finding ---------------- */

/*
 * A page near *block, within (low, high), that holds a record: probes both
 * ways by doubling.  False if no probe met one.
 */
static bool
probe(Relation leaf, BlockNumber low, BlockNumber high, BlockNumber *block,
	  int64 *offset)
{
	BlockNumber mid = *block;

	if (block_first(leaf, mid, offset))
		return true;
	for (BlockNumber step = 1; step < high - low; step *= 2)
	{
		if (step < mid - low && block_first(leaf, mid - step, offset))
		{
			*block = mid - step;
			return true;
		}
		if (step < high - mid && block_first(leaf, mid + step, offset))
		{
			*block = mid + step;
			return true;
		}
	}
	return false;
}

/*
 * A block from which a forward scan meets every record at or behind the
 * offset: no earlier block holds one.	Usually the block of the record itself.
 */
static BlockNumber
find_block(Relation leaf, BlockNumber nblocks, int64 offset)
{
	BlockNumber low = 0;		/* the record is not before this block */
	BlockNumber high = nblocks;

	while (high - low > 1)
	{
		BlockNumber mid = low + (high - low) / 2;
		int64		first;

		if (!probe(leaf, low, high, &mid, &first))
			break;				/* a hole: what follows low is scanned */
		if (first <= offset)
			low = mid;
		else
			high = mid;
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
static void
whole_segment_tail(Topic *topic, int32 partition, Relation leaf, LogTail *tail)
{
	BlockNumber nblocks = RelationGetNumberOfBlocks(leaf);
	int64		first;

	if (nblocks > 0 && !block_first(leaf, nblocks - 1, &first))
	{
		BlockNumber block =
			pgqueue_slot_find_tail(pgqueue_slot(topic->log, partition), leaf);

		nblocks = block == InvalidBlockNumber ? 0 : block + 1;
	}
	pgqueue_segment_tail(leaf, nblocks, tail);
}

/* ---------------- the stop rule ---------------- */

typedef enum Verdict
{
	VERDICT_EMIT,
	VERDICT_SKIP,
	VERDICT_STOP
} Verdict;

/*
 * What a reader does with a record that its snapshot does not show.
 */
static Verdict
judge_invisible(HeapTupleHeader header, Snapshot snapshot)
{
	TransactionId xmin = HeapTupleHeaderGetRawXmin(header);

	if (HeapTupleHeaderXminInvalid(header))
		return VERDICT_SKIP;	/* known to have aborted */
	if (TransactionIdIsCurrentTransactionId(xmin))
		return VERDICT_STOP;	/* our own, later in this command */
	if (XidInMVCCSnapshot(xmin, snapshot))
	{
		/*
		 * In progress as far as the snapshot goes.	 Running must be asked
		 * before committed: a transaction leaves the set of running ones only
		 * after its outcome is recorded.
		 */
		if (TransactionIdIsInProgress(xmin) || TransactionIdDidCommit(xmin))
			return VERDICT_STOP;
	}
	return VERDICT_SKIP;		/* aborted or crashed, for good */
}

static Verdict
judge(HeapTuple tuple, Buffer buffer, Relation leaf, Snapshot snapshot)
{
	bool		visible = HeapTupleSatisfiesVisibility(tuple, snapshot, buffer);

	HeapCheckForSerializableConflictOut(visible, leaf, tuple, buffer, snapshot);
	return visible ? VERDICT_EMIT : judge_invisible(tuple->t_data, snapshot);
}

/*
 * Judge a page's records at or behind from, in order, under its share lock.
 * lines gets those to emit; stop is set if the page ends at a record that may
 * still appear, whose offset is *stopped_at.
 */
static int
judge_page(Relation leaf, Buffer buffer, int64 from, Snapshot snapshot,
		   OffsetNumber *lines, bool *has_record, bool *stop,
		   int64 *stopped_at)
{
	Page		page = BufferGetPage(buffer);
	OffsetNumber max = PageIsNew(page) ? 0 : PageGetMaxOffsetNumber(page);
	bool		all_visible = max > 0 && PageIsAllVisible(page) &&
		!snapshot->takenDuringRecovery;
	bool		serializable = CheckForSerializableConflictOutNeeded(leaf,
																	 snapshot);
	int			n = 0;

	*stop = false;
	*has_record = false;
	for (OffsetNumber lp = FirstOffsetNumber; lp <= max; lp++)
	{
		ItemId		item = PageGetItemId(page, lp);
		HeapTupleData tuple;
		Verdict		verdict = VERDICT_EMIT;

		if (!ItemIdIsNormal(item))
			continue;
		*has_record = true;
		tuple.t_data = (HeapTupleHeader) PageGetItem(page, item);
		if (log_fixed(tuple.t_data)->offset < from)
			continue;

		if (!all_visible || serializable)
		{
			tuple.t_len = ItemIdGetLength(item);
			tuple.t_tableOid = RelationGetRelid(leaf);
			ItemPointerSet(&tuple.t_self, BufferGetBlockNumber(buffer), lp);
			verdict = judge(&tuple, buffer, leaf, snapshot);
		}
		if (verdict == VERDICT_EMIT)
			lines[n++] = lp;
		else if (verdict == VERDICT_STOP)
		{
			*stop = true;
			*stopped_at = log_fixed(tuple.t_data)->offset;
			break;
		}
	}
	return n;
}

/* Hand a page's lines to the receiver.	 The pin keeps VACUUM away. */
static bool
emit_page(Relation leaf, Buffer buffer, const OffsetNumber *lines, int n,
		  LogReceiver receiver, void *arg)
{
	Page		page = BufferGetPage(buffer);

	for (int i = 0; i < n; i++)
	{
		ItemId		item = PageGetItemId(page, lines[i]);
		HeapTupleData tuple;

		tuple.t_data = (HeapTupleHeader) PageGetItem(page, item);
		tuple.t_len = ItemIdGetLength(item);
		tuple.t_tableOid = RelationGetRelid(leaf);
		ItemPointerSet(&tuple.t_self, BufferGetBlockNumber(buffer), lines[i]);
		if (!receiver(&tuple, leaf, arg))
			return false;
	}
	return true;
}

/*
 * Read a segment's messages at or behind from.
 *
 * The number of blocks is asked after the snapshot was taken, so it covers
 * every record the snapshot shows.	 A page without a record may begin a long
 * hole; then the slot is asked, once, where the records end.
 */
static ScanEnd
scan_segment(Topic *topic, int32 partition, Relation leaf, int64 from,
			 Snapshot snapshot, LogReceiver receiver, void *arg,
			 int64 *stopped_at, bool *emitted)
{
	BlockNumber nblocks = RelationGetNumberOfBlocks(leaf);
	bool		bounded = false;
	OffsetNumber lines[MaxHeapTuplesPerPage];

	PredicateLockRelation(leaf, snapshot);
	for (BlockNumber block = find_block(leaf, nblocks, from);
		 block < nblocks; block++)
	{
		Buffer		buffer;
		bool		has_record;
		bool		stop;
		bool		more;
		int			n;

		CHECK_FOR_INTERRUPTS();
		buffer = ReadBuffer(leaf, block);
		LockBuffer(buffer, BUFFER_LOCK_SHARE);
		n = judge_page(leaf, buffer, from, snapshot, lines, &has_record,
					   &stop, stopped_at);
		LockBuffer(buffer, BUFFER_LOCK_UNLOCK);
		*emitted |= n > 0;
		more = emit_page(leaf, buffer, lines, n, receiver, arg);
		ReleaseBuffer(buffer);

		if (!more)
			return SCAN_ENOUGH;
		if (stop)
			return SCAN_UNSTABLE;
		if (!has_record && !bounded)
		{
			BlockNumber tail =
				pgqueue_slot_find_tail(pgqueue_slot(topic->log, partition),
									   leaf);

			bounded = true;
			nblocks = tail == InvalidBlockNumber ? 0 : Min(nblocks, tail + 1);
		}
	}
	return SCAN_EXHAUSTED;
}

/*
 * Read a partition's messages at or behind from, in offset order, as the
 * snapshot shows them, up to the first that may still appear (*stopped_at).
 *
 * Locks: ACCESS SHARE on each leaf read, kept if it gave messages.
 * Errors: QU001 if a segment that should be read is gone.
 */
ScanEnd
pgqueue_scan(Topic *topic, int32 partition, int64 from, Snapshot snapshot,
			 LogReceiver receiver, void *arg, int64 *stopped_at)
{
	Partition  *part = &topic->partitions[partition];
	ScanEnd		end = SCAN_EXHAUSTED;
	int			low = 0;
	int			high = part->nsegments;

	pgqueue_check_segments(topic, partition);

	/* the segment that holds from */
	while (high - low > 1)
	{
		int			mid = (low + high) / 2;

		if (part->segments[mid].first <= from)
			low = mid;
		else
			high = mid;
	}

	for (int i = low; i < part->nsegments && end == SCAN_EXHAUSTED; i++)
	{
		Relation	leaf = pgqueue_open_segment(topic, &part->segments[i],
												AccessShareLock);
		bool		emitted = false;

		if (leaf == NULL)
			pgqueue_offset_out_of_range(topic, partition, from, "offset");
		end = scan_segment(topic, partition, leaf, from, snapshot, receiver,
						   arg, stopped_at, &emitted);
		/* messages may point to the leaf's TOAST table: keep the lock */
		table_close(leaf, emitted ? NoLock : AccessShareLock);
	}
	return end;
}

/* ---------------- the ends of the log ---------------- */

/* First offset that is kept. */
int64
pgqueue_log_start(Topic *topic, int32 partition)
{
	pgqueue_check_segments(topic, partition);
	return topic->partitions[partition].segments[0].first;
}

/*
 * Next offset to be assigned, as of now: behind the last record, dead or
 * alive.
 */
int64
pgqueue_log_end(Topic *topic, int32 partition)
{
	Partition  *part = &topic->partitions[partition];

	pgqueue_check_segments(topic, partition);
	for (int i = part->nsegments - 1; i >= 0; i--)
	{
		Relation	leaf = pgqueue_open_segment(topic, &part->segments[i],
												AccessShareLock);
		LogTail		tail;
		bool		used;

		if (leaf == NULL)
			continue;
		used = RelationGetNumberOfBlocks(leaf) > 0;
		whole_segment_tail(topic, partition, leaf, &tail);
		table_close(leaf, AccessShareLock);
		if (tail.found)
			return Min(tail.offset + 1, part->segments[i].end);
		if (used)
			return part->segments[i].first;
	}
	return pgqueue_log_start(topic, partition);
}

/*
 * Does the log end before the offset?	Not decided by a list of segments that
 * may be old.
 */
bool
pgqueue_behind_log_end(Topic *topic, int32 partition, int64 offset)
{
	if (offset <= pgqueue_log_end(topic, partition))
		return false;
	topic = pgqueue_topic_reload(topic);
	return offset > pgqueue_log_end(topic, partition);
}

/*
 * The first segment in which somebody else may have appended and not ended
 * yet: who appends holds ROW EXCLUSIVE on the leaf to the end of the
 * transaction.	 -1: none.	On a standby the primary's locks are not known.
 */
static int
first_disputed_segment(Partition *part)
{
	if (RecoveryInProgress())
		return part->nsegments > 0 ? 0 : -1;
	for (int i = 0; i < part->nsegments; i++)
	{
		LOCKTAG		tag;
		int			holders;

		SET_LOCKTAG_RELATION(tag, MyDatabaseId, part->segments[i].relid);
		GetLockConflicts(&tag, ShareLock, &holders);
		if (holders > 0)
			return i;
	}
	return -1;
}

/* The last message before offset end that the snapshot shows, or -1. */
static int64
last_visible(Topic *topic, int32 partition, int64 end, Snapshot snapshot)
{
	Partition  *part = &topic->partitions[partition];

	for (int i = part->nsegments - 1; i >= 0; i--)
	{
		Relation	leaf = pgqueue_open_segment(topic, &part->segments[i],
												AccessShareLock);
		BlockNumber block;
		int64		last = -1;

		if (leaf == NULL)
			continue;
		block = RelationGetNumberOfBlocks(leaf);
		while (block > 0 && last < 0)
		{
			Buffer		buffer = ReadBuffer(leaf, --block);
			Page		page = BufferGetPage(buffer);

			CHECK_FOR_INTERRUPTS();
			LockBuffer(buffer, BUFFER_LOCK_SHARE);
			for (OffsetNumber lp = PageIsNew(page) ? 0 :
				 PageGetMaxOffsetNumber(page); lp > 0 && last < 0; lp--)
			{
				ItemId		item = PageGetItemId(page, lp);
				HeapTupleData tuple;

				if (!ItemIdIsNormal(item))
					continue;
				tuple.t_data = (HeapTupleHeader) PageGetItem(page, item);
				tuple.t_len = ItemIdGetLength(item);
				tuple.t_tableOid = RelationGetRelid(leaf);
				ItemPointerSet(&tuple.t_self, block, lp);
				if (log_fixed(tuple.t_data)->offset < end &&
					HeapTupleSatisfiesVisibility(&tuple, snapshot, buffer))
					last = log_fixed(tuple.t_data)->offset;
			}
			UnlockReleaseBuffer(buffer);
		}
		table_close(leaf, AccessShareLock);
		if (last >= 0)
			return last;
	}
	return -1;
}

static bool
ignore_message(HeapTuple tuple, Relation leaf, void *arg)
{
	return true;
}

/*
 * All ends of a partition, as of now.
 *
 * The log end is read first.  If then nobody holds a leaf's lock, whoever
 * wrote before that end has ended, and a snapshot taken afterwards knows the
 * outcome: the log end is stable.	Otherwise the records are judged, from the
 * first segment in question on: that reads up to a segment, and is not for
 * the hot path.
 */
void
pgqueue_log_ends(Topic *topic, int32 partition, LogEnds *ends)
{
	Partition  *part = &topic->partitions[partition];
	int			disputed;
	Snapshot	snapshot;
	int64		stopped_at;

	ends->log_start = pgqueue_log_start(topic, partition);
	ends->log_end = pgqueue_log_end(topic, partition);
	ends->stable_end = ends->log_end;

	disputed = first_disputed_segment(part);
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	if (disputed >= 0 &&
		pgqueue_scan(topic, partition, part->segments[disputed].first,
					 snapshot, ignore_message, NULL,
					 &stopped_at) == SCAN_UNSTABLE)
		ends->stable_end = Min(stopped_at, ends->log_end);
	ends->latest = Max(ends->log_start,
					   last_visible(topic, partition, ends->stable_end,
									snapshot) + 1);
	UnregisterSnapshot(snapshot);
}

void
pgqueue_offset_out_of_range(Topic *topic, int32 partition, int64 offset,
							const char *whose)
{
	int64		start;
	int64		end;

	topic = pgqueue_topic_refresh(topic);
	start = pgqueue_log_start(topic, partition);
	end = pgqueue_log_end(topic, partition);
	ereport(ERROR,
			(errcode(ERRCODE_QUEUE_OFFSET_OUT_OF_RANGE),
			 errmsg("%s " INT64_FORMAT " is outside partition %d of topic \"%s\"",
					whose, offset, partition, topic->name),
			 errdetail("The log starts at offset " INT64_FORMAT
					   " and ends before offset " INT64_FORMAT ".",
					   start, end)));
}
