/*-------------------------------------------------------------------------
 *
 * log_append.c
 *	  Appending messages to a partition: the one way in.
 *
 * produce, produce_batch, INSERT and COPY into topic.<name> come through
 * pgqueue_append(), which assigns offsets; COPY and INSERT into a leaf (what
 * pg_restore does) through pgqueue_append_given(), which checks them.
 *
 * Offsets are assigned and records written under the partition's append lock,
 * an LWLock that is released right after.	Under it nothing may toast, open a
 * relation, look into a system cache, run user code or allocate without
 * bound.  At most CHUNK_RECORDS records or CHUNK_BYTES are written per hold,
 * since an LWLock cannot be interrupted.
 *
 * The argument why readers never pass a message that may still appear, and
 * why a closed segment does not reopen, is in README.
 *
 *-------------------------------------------------------------------------
 */
#include "queue.h"

#include "access/heapam.h"
#include "access/heaptoast.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/partition.h"
#include "catalog/pg_type_d.h"
#include "log_extras.h"
#include "log_place.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "storage/predicate.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#define CHUNK_RECORDS	1000
#define CHUNK_BYTES		(1024 * 1024)

/* What an append may assign: the segment's offsets, and no earlier time. */
typedef struct AppendBounds
{
	int64		first;			/* the segment's bounds: [first, end) */
	int64		end;
	bool		has_floor;		/* needed only if the segment has no record */
	TimestampTz floor;			/* the time of the last record before it */
} AppendBounds;

/* How an attempt to write under the lock ended. */
typedef enum Outcome
{
	WRITTEN,
	STALE,						/* others rolled: choose the segment again */
	FULL,						/* the segment's offsets are used up */
	TAIL_UNKNOWN,				/* the tail's page holds no record */
	FLOOR_UNKNOWN				/* no record in the segment: need the time
								 * of the one before */
} Outcome;

/* ---------------- records ---------------- */

static bool
needs_toast(HeapTuple tuple)
{
	return HeapTupleHasExternal(tuple) ||
		tuple->t_len > TOAST_TUPLE_THRESHOLD;
}

/*
 * What is stored for a record: itself, or a copy whose large values were
 * moved to the segment's TOAST table.
 */
static HeapTuple
toast_record(Relation leaf, HeapTuple tuple, TransactionId xid, CommandId cid)
{
	HeapTuple	stored = tuple;

	pgqueue_stamp(tuple, xid, cid, RelationGetRelid(leaf));
	if (needs_toast(tuple))
		stored = heap_toast_insert_or_update(leaf, tuple, NULL, 0);
	if (MAXALIGN(stored->t_len) > MaxHeapTupleSize)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("message is too large: size %zu, maximum size %zu",
						(Size) MAXALIGN(stored->t_len),
						(Size) MaxHeapTupleSize)));
	return stored;
}

/*
 * How many records to prepare for a segment.  What is toasted and then does
 * not fit the segment's offsets is toasted again for the next, and the first
 * copy stays; so with large values look at the tail, without the lock.
 */
static int
records_for(Relation leaf, const Segment *segment, HeapTuple *tuples,
			int ntuples)
{
	int			n = Min(ntuples, CHUNK_RECORDS);
	LogTail		tail;
	int64		room;

	for (int i = 0; i < n; i++)
		if (needs_toast(tuples[i]))
		{
			pgqueue_segment_tail(leaf, RelationGetNumberOfBlocks(leaf), &tail);
			room = segment->end -
				(tail.found ? tail.offset + 1 : segment->first);
			/* one, even so: the lock will tell that the segment is full */
			return (int) Max(1, Min(n, room));
		}
	return ntuples;
}

/*
 * The records of the next hold of the lock, ready to be written.  Returns
 * their number.
 */
static int
next_chunk(Relation leaf, HeapTuple *tuples, int ntuples, HeapTuple *stored,
		   TransactionId xid, CommandId cid)
{
	Size		bytes = 0;
	int			n = 0;

	while (n < ntuples && n < CHUNK_RECORDS && bytes < CHUNK_BYTES)
	{
		bytes += tuples[n]->t_len;
		stored[n] = toast_record(leaf, tuples[n], xid, cid);
		n++;
	}
	return n;
}

/* ---------------- under the lock ---------------- */

/*
 * Everything that happens under the append lock: look at the tail, give the
 * records their offsets and times, write them.
 *
 * *ntuples: in, how many are offered; out, how many were written.
 * *rolls: the roll counter by which the caller chose the segment; out, as it is
 * after the append.
 */
static Outcome
append_locked(Relation leaf, AppendSlot *slot, const AppendBounds *bounds,
			  HeapTuple *stored, int *ntuples, bool last, uint64 *rolls)
{
	Placement	place;
	Outcome		outcome = WRITTEN;
	int64		offset;
	TimestampTz now;

	if (pgqueue_slot_rolls(slot) != *rolls)
		return STALE;
	if (!pgqueue_place_begin(&place, leaf, slot))
		return TAIL_UNKNOWN;

	offset = place.has_tail ? place.tail.offset + 1 : bounds->first;
	if (!place.has_tail && !bounds->has_floor)
		outcome = FLOOR_UNKNOWN;
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
		/* before the block is there: whoever sees it sees the count */
		pgqueue_slot_count_roll(slot);
		*rolls = pgqueue_slot_rolls(slot);
	}

	now = GetCurrentTimestamp();
	now = Max(now, place.has_tail ? place.tail.timestamp :
			  bounds->floor);
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

/* ---------------- choosing the segment ---------------- */

/* The time of the last record before a segment; 0 if there is none. */
static TimestampTz
timestamp_before(Topic *topic, Partition *part, int segment)
{
	while (--segment >= 0)
	{
		Relation	leaf = pgqueue_open_segment(topic, &part->segments[segment],
												AccessShareLock);
		LogTail		tail;

		if (leaf == NULL)
			break;
		pgqueue_segment_tail(leaf, RelationGetNumberOfBlocks(leaf), &tail);
		table_close(leaf, AccessShareLock);
		if (tail.found)
			return tail.timestamp;
	}
	return 0;
}

/* The last segment with a block, or the first. */
static int
last_used_segment(Topic *topic, Partition *part)
{
	for (int i = part->nsegments - 1; i > 0; i--)
	{
		Relation	leaf = pgqueue_open_segment(topic, &part->segments[i],
												AccessShareLock);
		BlockNumber nblocks;

		if (leaf == NULL)
			return -1;
		nblocks = RelationGetNumberOfBlocks(leaf);
		table_close(leaf, AccessShareLock);
		if (nblocks > 0)
			return i;
	}
	return 0;
}

/*
 * Make sure that part->active is the segment that takes appends, as of roll
 * counter part->active_rolls.	Returns the topic, which may be a new
 * description.
 *
 * The counter is read before the list.	 If the segment in use is the last one
 * that we see, a later one may exist that is not committed yet (made inside a
 * producer's transaction); its maker holds the table's lock, so wait for that.
 */
static Topic *
choose_segment(Topic *topic, int32 partition, AppendSlot *slot)
{
	bool		waited = false;

	for (;;)
	{
		Partition  *part = &topic->partitions[partition];
		uint64		rolls = pgqueue_slot_rolls(slot);
		int			active;

		if (topic->valid && part->active >= 0 && part->active_rolls == rolls)
			return topic;

		topic = pgqueue_topic_refresh(topic);
		pgqueue_check_segments(topic, partition);
		part = &topic->partitions[partition];
		active = last_used_segment(topic, part);
		if (active < 0)
			continue;			/* a segment went away: list again */
		if (active == part->nsegments - 1 && !waited)
		{
			LockRelationOid(topic->log, ShareUpdateExclusiveLock);
			UnlockRelationOid(topic->log, ShareUpdateExclusiveLock);
			waited = true;
			continue;
		}
		if (!topic->valid)
			continue;
		part->active = active;
		part->active_rolls = rolls;
		return topic;
	}
}

/* ---------------- after the lock ---------------- */

/* Tell the caller's tuples what was written for them. */
static void
report(HeapTuple *tuples, HeapTuple *stored, int n)
{
	for (int i = 0; i < n; i++)
	{
		if (tuples[i] == stored[i])
			continue;
		log_fixed(tuples[i]->t_data)->offset =
			log_fixed(stored[i]->t_data)->offset;
		log_fixed(tuples[i]->t_data)->timestamp =
			log_fixed(stored[i]->t_data)->timestamp;
		tuples[i]->t_self = stored[i]->t_self;
	}
}

static void
free_toasted(HeapTuple *tuples, HeapTuple *stored, int n)
{
	for (int i = 0; i < n; i++)
		if (tuples[i] != stored[i])
			heap_freetuple(stored[i]);
}

/*
 * Append messages to a partition; each gets the next offset.
 *
 * The first ones say where the log's incarnation begins (incarnation.c).
 *
 * Locks: takes ROW EXCLUSIVE on the segment's table, kept to the end of the
 * transaction (queue.blockers finds it there), and the append lock for moments.
 * Errors: those of a right or a state were checked before; here I/O, disk full
 * and 55000 for a segment that has lost its shape.
 */
void
pgqueue_append(Topic *topic, int32 partition, HeapTuple *records, int nrecords)
{
	TransactionId xid = GetCurrentTransactionId();
	CommandId	cid = GetCurrentCommandId(true);
	AppendSlot *slot = pgqueue_slot(topic->log, partition);
	int			done = 0;
	HeapTuple	single;
	HeapTuple  *stored = nrecords == 1 ? &single :
		palloc(Min(nrecords, CHUNK_RECORDS) * sizeof(HeapTuple));

	pgqueue_note_produced(topic->id, partition,
						  topic->notify ? topic->name : NULL);
	while (done < nrecords)
	{
		HeapTuple  *tuples = records + done;
		Partition  *part;
		Segment		segment;
		AppendBounds bounds = {0};
		Relation	leaf;
		LogExtras  *extras;
		int			offered;
		Outcome		outcome;

		topic = choose_segment(topic, partition, slot);
		if (unlikely(topic->old != NULL))
			pgqueue_topic_forget_old(topic);
		part = &topic->partitions[partition];
		pgqueue_incarnation_begin(topic, partition);
		segment = part->segments[part->active];
		leaf = pgqueue_open_segment(topic, &segment, RowExclusiveLock);
		if (leaf == NULL)
		{
			part->active = -1;
			continue;
		}
		extras = pgqueue_extras_begin(leaf);

		offered = records_for(leaf, &segment, tuples, nrecords - done);
		/* before toasting: a constraint's function may produce, too */
		if (extras != NULL)
			pgqueue_extras_check(extras, tuples, offered);
		offered = next_chunk(leaf, tuples, offered, stored, xid, cid);
		bounds.first = segment.first;
		bounds.end = segment.end;
		bounds.has_floor = (part->active == 0);

		for (;;)
		{
			int			written = offered;

			pgqueue_slot_lock(slot);
			outcome = append_locked(leaf, slot, &bounds, stored, &written,
									done + offered == nrecords,
									&part->active_rolls);
			pgqueue_slot_unlock(slot);

			if (outcome == TAIL_UNKNOWN)
				pgqueue_slot_find_tail(slot, leaf);
			else if (outcome == FLOOR_UNKNOWN)
			{
				bounds.floor = timestamp_before(topic, part, part->active);
				bounds.has_floor = true;
			}
			else
			{
				if (outcome == WRITTEN)
				{
					report(tuples, stored, written);
					if (extras != NULL)
						pgqueue_extras_index(extras, stored, written);
					done += written;
				}
				break;
			}
		}

		free_toasted(tuples, stored, offered);
		pgqueue_extras_end(extras);
		if (outcome == WRITTEN)
		{
			pgstat_count_heap_insert(leaf, done - (tuples - records));
			CheckForSerializableConflictIn(leaf, NULL, InvalidBlockNumber);
		}
		table_close(leaf, NoLock);

		if (outcome == FULL)
		{
			if (part->active + 1 < part->nsegments)
			{
				part->active++;
				/* the first roll of many: have the next ones made meanwhile */
				if (part->nsegments - 1 - part->active < SEGMENTS_AHEAD)
					pgqueue_segment_worker(topic, partition, 0, false);
			}
			else
				pgqueue_need_segment(topic, partition,
									 segment.end + nrecords - done);
		}
		CHECK_FOR_INTERRUPTS();
	}

	if (stored != &single)
		pfree(stored);
}

/* ---------------- given offsets ---------------- */

pg_noreturn static void offsets_must_ascend(Relation leaf, int64 offset,
											int64 last);

static void
offsets_must_ascend(Relation leaf, int64 offset, int64 last)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("offset " INT64_FORMAT " does not follow offset " INT64_FORMAT
					" in segment \"%s\"",
					offset, last, RelationGetRelationName(leaf)),
			 errdetail("Messages are stored in ascending order of their offsets."),
			 errhint("Use queue.produce() or the view of the topic, which assign offsets.")));
}

/*
 * Append records that bring their offsets: COPY or INSERT into a leaf.
 * Decides from the relation alone, since pg_restore loads leaves in any order.
 *
 * Locks: the caller holds ROW EXCLUSIVE on the leaf; takes the append lock.
 * Errors: 55000 if offsets do not ascend.
 */
void
pgqueue_append_given(Relation leaf, HeapTuple *tuples, int ntuples)
{
	TransactionId xid = GetCurrentTransactionId();
	CommandId	cid = GetCurrentCommandId(true);
	AppendSlot *slot = pgqueue_append_place(leaf);
	HeapTuple  *stored = palloc(Min(ntuples, CHUNK_RECORDS) * sizeof(HeapTuple));
	int			done = 0;

	for (int i = 1; i < ntuples; i++)
	{
		int64		before = log_fixed(tuples[i - 1]->t_data)->offset;
		int64		offset = log_fixed(tuples[i]->t_data)->offset;

		if (offset <= before)
			offsets_must_ascend(leaf, offset, before);
	}

	while (done < ntuples)
	{
		int			n = next_chunk(leaf, tuples + done, ntuples - done, stored,
								   xid, cid);
		int64		first = log_fixed(tuples[done]->t_data)->offset;
		Placement	place;

		for (;;)
		{
			bool		found;

			pgqueue_slot_lock(slot);
			found = pgqueue_place_begin(&place, leaf, slot);
			if (found)
				break;
			pgqueue_slot_unlock(slot);
			pgqueue_slot_find_tail(slot, leaf);
		}
		if (place.has_tail && first <= place.tail.offset)
		{
			pgqueue_place_end(&place);
			pgqueue_slot_unlock(slot);
			offsets_must_ascend(leaf, first, place.tail.offset);
		}
		if (place.first_block)
			pgqueue_slot_count_roll(slot);
		pgqueue_place(&place, stored, n, done + n == ntuples);
		pgqueue_place_end(&place);
		pgqueue_slot_unlock(slot);

		report(tuples + done, stored, n);
		free_toasted(tuples + done, stored, n);
		done += n;
		CHECK_FOR_INTERRUPTS();
	}

	pgstat_count_heap_insert(leaf, ntuples);
	CheckForSerializableConflictIn(leaf, NULL, InvalidBlockNumber);
	pfree(stored);
}
