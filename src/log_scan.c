/*-------------------------------------------------------------------------
 *
 * log_scan.c
 *	  Reading from a place on, up to the stable end; the ends of a log.
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
 * Judge a page's records at or behind a place, in order, under its share lock.
 * lines gets those to emit; stop is set if the page ends at a record that may
 * still appear, whose offset is *stopped_at.
 */
static int
judge_page(Relation leaf, Buffer buffer, const LogSeek *from, Snapshot snapshot,
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
		LogFixed   *fixed;
		Verdict		verdict = VERDICT_EMIT;

		if (!ItemIdIsNormal(item))
			continue;
		*has_record = true;
		tuple.t_data = (HeapTupleHeader) PageGetItem(page, item);
		fixed = log_fixed(tuple.t_data);
		if ((from->by_time ? fixed->timestamp : fixed->offset) < from->at)
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
			*stopped_at = fixed->offset;
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
 * Read a segment's messages at or behind a place.
 *
 * The number of blocks is asked after the snapshot was taken, so it covers
 * every record the snapshot shows.	 A page without a record may begin a long
 * hole; then the slot is asked, once, where the records end.
 */
static ScanEnd
scan_segment(Relation leaf, AppendSlot *slot, const LogSeek *from,
			 Snapshot snapshot, LogReceiver receiver, void *arg,
			 int64 *stopped_at, bool *emitted)
{
	BlockNumber nblocks = RelationGetNumberOfBlocks(leaf);
	bool		bounded = false;
	OffsetNumber lines[MaxHeapTuplesPerPage];

	PredicateLockRelation(leaf, snapshot);
	for (BlockNumber block = pgqueue_seek_block(leaf, nblocks, from);
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
			BlockNumber tail = pgqueue_slot_find_tail(slot, leaf);

			bounded = true;
			nblocks = tail == InvalidBlockNumber ? 0 : Min(nblocks, tail + 1);
		}
	}
	return SCAN_EXHAUSTED;
}

/*
 * Were the segment's messages let go since the topic was looked up?  Asked with
 * the segment locked.
 */
static bool
was_let_go(Topic *topic, int32 partition, const Segment *segment)
{
	return segment->end <=
		pgqueue_log_start(pgqueue_topic_refresh(topic), partition);
}

/*
 * Read a partition's messages at or behind a place, in offset order, as the
 * snapshot shows them, up to the first that may still appear (*stopped_at).
 *
 * SCAN_GONE: a segment that should be read was let go since the topic was looked
 * up.  Those before it gave nothing then, since one that did is held, and what is
 * let go is a prefix (retention.c).
 *
 * Locks: ACCESS SHARE on each leaf read, kept if it gave messages.
 */
static ScanEnd
scan_from(Topic *topic, int32 partition, const LogSeek *from, Snapshot snapshot,
		  LogReceiver receiver, void *arg, int64 *stopped_at)
{
	Partition  *part = &topic->partitions[partition];
	AppendSlot *slot = pgqueue_slot(topic->log, partition);
	ScanEnd		end = SCAN_EXHAUSTED;

	pgqueue_check_segments(topic, partition);
	for (int i = pgqueue_seek_segment(topic, partition, from);
		 i < part->nsegments && end == SCAN_EXHAUSTED; i++)
	{
		Relation	leaf = pgqueue_open_segment(topic, &part->segments[i],
												AccessShareLock);
		bool		emitted = false;

		/* gone; or emptied, which we have been told with the lock */
		if (leaf == NULL)
			return SCAN_GONE;
		if (!topic->valid && was_let_go(topic, partition, &part->segments[i]))
		{
			table_close(leaf, AccessShareLock);
			return SCAN_GONE;
		}
		end = scan_segment(leaf, slot, from, snapshot, receiver, arg,
						   stopped_at, &emitted);
		/* messages may point to the leaf's TOAST table: keep the lock */
		table_close(leaf, emitted ? NoLock : AccessShareLock);
	}
	return end;
}

/* The same from an offset on. */
ScanEnd
pgqueue_scan(Topic *topic, int32 partition, int64 from, Snapshot snapshot,
			 LogReceiver receiver, void *arg, int64 *stopped_at)
{
	LogSeek		seek = {.by_time = false,.at = from};

	return scan_from(topic, partition, &seek, snapshot, receiver, arg,
					 stopped_at);
}

static bool
take_place(HeapTuple tuple, Relation leaf, void *arg)
{
	LogPlace   *place = arg;

	place->found = true;
	place->offset = log_fixed(tuple->t_data)->offset;
	place->timestamp = log_fixed(tuple->t_data)->timestamp;
	return false;
}

/*
 * The first message at or behind an offset; none that may still appear, which
 * the result tells.
 */
ScanEnd
pgqueue_find_offset(Topic *topic, int32 partition, int64 from,
					Snapshot snapshot, LogPlace *place)
{
	int64		stopped_at;

	place->found = false;
	return pgqueue_scan(topic, partition, from, snapshot, take_place, place,
						&stopped_at);
}

/*
 * The first message of that time or later; none behind one in progress.
 *
 * Errors: QU001 if retention was faster.
 */
void
pgqueue_find_time(Topic *topic, int32 partition, TimestampTz time,
				  Snapshot snapshot, LogPlace *place)
{
	LogSeek		seek = {.by_time = true,.at = time};
	int64		start = pgqueue_log_start(topic, partition);
	int64		stopped_at;

	place->found = false;
	if (scan_from(topic, partition, &seek, snapshot, take_place, place,
				  &stopped_at) == SCAN_GONE)
		pgqueue_offset_out_of_range(topic, partition, start, "offset");
}

/* ---------------- the ends of the log ---------------- */

/* First offset that is kept. */
int64
pgqueue_log_start(const Topic *topic, int32 partition)
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
		pgqueue_whole_segment_tail(topic, partition, leaf, &tail);
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
 * The first segment in which somebody may have appended and not ended yet, or
 * we ourselves, in this very command: who appends holds ROW EXCLUSIVE on the leaf
 * to the end of the transaction.  -1: none.  On a standby the primary's locks are
 * not known.
 */
static int
first_disputed_segment(Partition *part)
{
	if (RecoveryInProgress())
		return part->nsegments > 0 ? 0 : -1;
	for (int i = 0; i < part->nsegments; i++)
	{
		LOCKTAG		tag;
		SET_LOCKTAG_RELATION(tag, MyDatabaseId, part->segments[i].relid);
		if (pgqueue_lock_is_held(&tag, ShareLock) ||
			PGQUEUE_LOCK_HELD_BY_ME(&tag, RowExclusiveLock))
			return i;
	}
	return -1;
}

/* The last message before offset end that the snapshot shows, or -1. */
static int64
last_visible(const Topic *topic, int32 partition, int64 end, Snapshot snapshot)
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

/*
 * Return the offset behind the last message that is committed, as of now; the log
 * start if there is none.
 */
int64
pgqueue_committed_end(const Topic *topic, int32 partition)
{
	int64		log_start = pgqueue_log_start(topic, partition);
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	int64		last = last_visible(topic, partition, PG_INT64_MAX, snapshot);

	UnregisterSnapshot(snapshot);
	return Max(log_start, last + 1);
}

/*
 * The first record of a segment that may still appear.	 False if there is none.
 *
 * Begins where the last one who asked found that all before is settled.
 */
static bool
first_unstable(Relation leaf, AppendSlot *slot, Snapshot snapshot,
			   int64 *offset)
{
	LogSeek		all = {.by_time = false,.at = 0};
	BlockNumber nblocks = RelationGetNumberOfBlocks(leaf);
	BlockNumber settled = pgqueue_slot_stable(slot, leaf);
	OffsetNumber lines[MaxHeapTuplesPerPage];
	bool		bounded = false;
	bool		stop = false;

	PredicateLockRelation(leaf, snapshot);
	for (BlockNumber block = settled; block < nblocks && !stop; block++)
	{
		Buffer		buffer;
		bool		has_record;

		CHECK_FOR_INTERRUPTS();
		buffer = ReadBuffer(leaf, block);
		LockBuffer(buffer, BUFFER_LOCK_SHARE);
		if (judge_page(leaf, buffer, &all, snapshot, lines, &has_record, &stop,
					   offset) > 0)
			settled = block;
		UnlockReleaseBuffer(buffer);
		if (!has_record && !bounded)
		{
			BlockNumber tail = pgqueue_slot_find_tail(slot, leaf);

			bounded = true;
			nblocks = tail == InvalidBlockNumber ? 0 : Min(nblocks, tail + 1);
		}
	}
	/* what we wrote ourselves is shown, and may go again */
	if (!TransactionIdIsValid(GetTopTransactionIdIfAny()))
		pgqueue_slot_set_stable(slot, leaf, settled);
	return stop;
}

/* The same of a partition, from a segment on. */
static bool
first_unstable_from(Topic *topic, int32 partition, int segment,
					Snapshot snapshot, int64 *offset)
{
	Partition  *part = &topic->partitions[partition];
	bool		found = false;

	for (int i = segment; i < part->nsegments && !found; i++)
	{
		Relation	leaf = pgqueue_open_segment(topic, &part->segments[i],
												AccessShareLock);

		if (leaf == NULL)
			continue;
		found = first_unstable(leaf, pgqueue_slot(topic->log, partition),
							   snapshot, offset);
		table_close(leaf, AccessShareLock);
	}
	return found;
}

/*
 * All ends of a partition, as of now.
 *
 * The log end is read first.  If then nobody holds a leaf's lock, whoever
 * wrote before that end has ended, and a snapshot taken afterwards knows the
 * outcome: the log end is stable.	Otherwise the records are judged, from the
 * first segment in question on: that may read up to a segment, if nobody has
 * asked before, and is not for the hot path.
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
		first_unstable_from(topic, partition, disputed, snapshot, &stopped_at))
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

/* The same for a position that was to be stored: it may not pass latest. */
void
pgqueue_offset_beyond(const Topic *topic, int32 partition, int64 offset,
					  const LogEnds *ends)
{
	ereport(ERROR,
			(errcode(ERRCODE_QUEUE_OFFSET_OUT_OF_RANGE),
			 errmsg("offset " INT64_FORMAT " is outside partition %d of topic \"%s\"",
					offset, partition, topic->name),
			 errdetail("The log starts at offset " INT64_FORMAT
					   "; a group may be put at offset " INT64_FORMAT
					   " at most, behind the last committed message.",
					   ends->log_start, ends->latest)));
}
