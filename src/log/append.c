/*-------------------------------------------------------------------------
 *
 * append.c
 *	  Append records to one segment: assign their offsets, and write them, under
 *	  its append lock.
 *
 * Under the lock nothing may toast, open a relation, look into a system cache,
 * run user code or allocate without bound (README, section 4).
 *
 * topic/roll.c chooses the segment.  COPY and INSERT into a segment, as
 * pg_restore does them, come through pgqueue_append_given(), which checks
 * the offsets given.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heaptoast.h"
#include "pgstat.h"
#include "storage/predicate.h"

#include "log/write.h"

#define CHUNK_BYTES		(1024 * 1024)

bool
pgqueue_needs_toast(HeapTuple tuple)
{
	return HeapTupleHasExternal(tuple) ||
		tuple->t_len > TOAST_TUPLE_THRESHOLD;
}

/*
 * Leave out a deliver_at that is NULL, as the column behind all others.  So a
 * record without one is the same, byte for byte, whichever way it was formed:
 * record.c, heap_form_tuple() or the toaster.
 */
static inline void
leave_out_null(Relation segment, HeapTupleHeader header)
{
	int			all = (1 << LOG_ATTR_HEADERS) - 1;

	if (likely(HeapTupleHeaderGetNatts(header) != LOG_ATTR_DELIVER_AT) ||
		!(header->t_infomask & HEAP_HASNULL) || header->t_bits[0] > all ||
		TupleDescAttr(RelationGetDescr(segment),
					  LOG_ATTR_DELIVER_AT - 1)->atthasmissing)
		return;
	HeapTupleHeaderSetNatts(header, LOG_ATTR_HEADERS);
	if (header->t_bits[0] == all)
	{
		header->t_infomask &= ~HEAP_HASNULL;
		header->t_bits[0] = 0;
	}
}

/*
 * Return what is stored for a record that this command inserts: the record
 * itself, or a copy with its large values moved to the segment's TOAST table.
 */
static HeapTuple
prepare_record(Relation segment, HeapTuple tuple, TransactionId xid,
			   CommandId cid)
{
	HeapTuple	stored = tuple;
	HeapTupleHeader header = tuple->t_data;

	tuple->t_tableOid = RelationGetRelid(segment);
	header->t_infomask &= ~HEAP_XACT_MASK;
	header->t_infomask2 &= ~HEAP2_XACT_MASK;
	header->t_infomask |= HEAP_XMAX_INVALID;
	HeapTupleHeaderSetXmin(header, xid);
	HeapTupleHeaderSetCmin(header, cid);
	HeapTupleHeaderSetXmax(header, 0);
	if (pgqueue_needs_toast(tuple))
		stored = heap_toast_insert_or_update(segment, tuple, NULL, 0);
	leave_out_null(segment, stored->t_data);
	if (MAXALIGN(stored->t_len) > MaxHeapTupleSize)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("message is too large: size %zu, maximum size %zu",
						(Size) MAXALIGN(stored->t_len),
						(Size) MaxHeapTupleSize)));
	return stored;
}

/* Prepare the records of the next hold of the lock.  Return their number. */
int
pgqueue_next_chunk(Relation segment, HeapTuple *tuples, int ntuples,
				   HeapTuple *stored, TransactionId xid, CommandId cid)
{
	Size		bytes = 0;
	int			n = 0;

	while (n < ntuples && n < CHUNK_RECORDS && bytes < CHUNK_BYTES)
	{
		bytes += tuples[n]->t_len;
		stored[n] = prepare_record(segment, tuples[n], xid, cid);
		n++;
	}
	return n;
}

/*
 * Give the records the offsets behind the tail, and times, and write them.
 * *ntuples: those offered; set to those written.  *rolls: the roll counter by
 * which the caller chose the segment; set to its value after the append.
 *
 * Locks: the slot.
 */
Outcome
pgqueue_append_locked(Relation segment, AppendSlot *slot,
					  const AppendBounds *bounds, HeapTuple *stored,
					  int *ntuples, bool last, uint64 *rolls)
{
	Insertion	place;
	Outcome		outcome = WRITTEN;
	int64		offset;
	TimestampTz now;

	if (pgqueue_slot_rolls(slot) != *rolls)
		return STALE;
	if (!pgqueue_place_begin(&place, segment, slot))
		return TAIL_UNKNOWN;

	offset = place.has_tail ?
		Max(place.tail.offset + 1, bounds->first) : bounds->first;
	if (!place.has_tail && !bounds->has_min_timestamp)
		outcome = MIN_TIMESTAMP_UNKNOWN;
	else if (offset >= bounds->end)
		outcome = FULL;
	if (outcome != WRITTEN)
	{
		pgqueue_place_end(&place);
		return outcome;
	}

	if (*ntuples > bounds->end - offset)
	{
		*ntuples = bounds->end - offset;
		last = false;
	}
	if (place.first_block)
	{
		/* before the block is there: a reader that sees it sees the count */
		pgqueue_slot_count_roll(slot);
		*rolls = pgqueue_slot_rolls(slot);
	}

	now = GetCurrentTimestamp();
	now = Max(now,
			  place.has_tail ? place.tail.timestamp : bounds->min_timestamp);
	for (int i = 0; i < *ntuples; i++)
	{
		LogFixed   *fixed = log_fixed(stored[i]->t_data);

		fixed->offset = offset + i;
		fixed->timestamp = now;
	}
	pgqueue_place(&place, stored, *ntuples, last);
	pgqueue_place_end(&place);
	return WRITTEN;
}

/* Tell the caller's tuples what was written for them, and free the copies. */
void
pgqueue_free_stored(HeapTuple *tuples, HeapTuple *stored, int n)
{
	for (int i = 0; i < n; i++)
		if (tuples[i] != stored[i])
		{
			LogFixed   *to = log_fixed(tuples[i]->t_data);
			LogFixed   *from = log_fixed(stored[i]->t_data);

			to->offset = from->offset;
			to->timestamp = from->timestamp;
			tuples[i]->t_self = stored[i]->t_self;
			heap_freetuple(stored[i]);
		}
}

pg_noreturn static void
offsets_must_ascend(Relation segment, int64 offset, int64 last)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("offset " INT64_FORMAT " does not follow offset " INT64_FORMAT
					" in segment \"%s\"",
					offset, last, RelationGetRelationName(segment)),
			 errdetail("Messages are stored in ascending order of their offsets."),
			 errhint("Use queue.produce() or the view of the topic, which assign offsets.")));
}

/*
 * Append records that bring their offsets: COPY or INSERT into a segment.
 *
 * Locks: ROW EXCLUSIVE on the segment; takes the append lock.
 * Errors: 55000 if offsets do not ascend.
 */
void
pgqueue_append_given(Relation segment, HeapTuple *tuples, int ntuples)
{
	TransactionId xid = GetCurrentTransactionId();
	CommandId	cid = GetCurrentCommandId(true);
	AppendSlot *slot = pgqueue_append_place(segment);
	HeapTuple  *stored = palloc(Min(ntuples, CHUNK_RECORDS) * sizeof(HeapTuple));
	int			done = 0;

	for (int i = 1; i < ntuples; i++)
	{
		int64		before = log_fixed(tuples[i - 1]->t_data)->offset;
		int64		offset = log_fixed(tuples[i]->t_data)->offset;

		if (offset <= before)
			offsets_must_ascend(segment, offset, before);
	}

	while (done < ntuples)
	{
		int			n = pgqueue_next_chunk(segment, tuples + done,
										   ntuples - done, stored, xid, cid);
		int64		first = log_fixed(tuples[done]->t_data)->offset;
		Insertion	place;

		pgqueue_slot_lock(slot);
		while (!pgqueue_place_begin(&place, segment, slot))
		{
			pgqueue_slot_unlock(slot);
			pgqueue_slot_find_tail(slot, segment);
			pgqueue_slot_lock(slot);
		}
		if (place.has_tail && first <= place.tail.offset)
		{
			/* before the error, which may have to wait for the client */
			pgqueue_place_end(&place);
			pgqueue_slot_unlock(slot);
			offsets_must_ascend(segment, first, place.tail.offset);
		}
		if (place.first_block)
			pgqueue_slot_count_roll(slot);
		pgqueue_place(&place, stored, n, done + n == ntuples);
		pgqueue_place_end(&place);
		pgqueue_slot_unlock(slot);

		pgqueue_free_stored(tuples + done, stored, n);
		done += n;
		CHECK_FOR_INTERRUPTS();
	}

	pgstat_count_heap_insert(segment, ntuples);
	CheckForSerializableConflictIn(segment, NULL, InvalidBlockNumber);
	pfree(stored);
}
