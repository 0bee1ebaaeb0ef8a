/*-------------------------------------------------------------------------
 *
 * write.h
 *	  Writing to a segment: the append lock, appending, rewriting.
 *
 *-------------------------------------------------------------------------
 */
#ifndef QUEUE_WRITE_H
#define QUEUE_WRITE_H

#include "log/log.h"

/* ---------------- index_and_check.c ---------------- */

typedef struct IndexAndCheck IndexAndCheck;

extern IndexAndCheck *pgqueue_index_and_check_begin(Relation segment);
extern void pgqueue_check_records(IndexAndCheck *work, HeapTuple *tuples,
								  int n);
extern void pgqueue_index_records(IndexAndCheck *work, HeapTuple *tuples,
								  int n);
extern void pgqueue_index_and_check_end(IndexAndCheck *work);

/* ---------------- place.c ---------------- */

/* A place behind the tail of a segment, held while records are written. */
typedef struct Insertion
{
	Relation	segment;
	AppendSlot *slot;
	BlockNumber block;			/* page to write to */
	BlockNumber nblocks;		/* of the file, at least; 0: not known */
	BlockNumber unused;			/* pages from here on are all zero */
	Buffer		buffer;			/* that page, exclusively locked; or invalid */
	Buffer		vmbuffer;
	bool		first_block;	/* the segment has no block yet */
	bool		has_tail;		/* there is a last record */
	LogFixed	tail;			/* its fixed columns */
} Insertion;

extern bool pgqueue_place_begin(Insertion *place, Relation segment,
								AppendSlot *slot);
extern void pgqueue_place(Insertion *place, HeapTuple *tuples, int ntuples,
						  bool last);
extern void pgqueue_place_end(Insertion *place);

/* ---------------- extend.c ---------------- */

extern BlockNumber pgqueue_extend(Relation segment, BlockNumber nblocks,
								  BlockNumber pages);

/* ---------------- slot.c ---------------- */

/* How far a segment is used, and its file reaches; see there. */
typedef struct Extent
{
	BlockNumber tail;			/* InvalidBlockNumber, that is -1: no record */
	BlockNumber nblocks;
	BlockNumber unused;
} Extent;

extern void pgqueue_slot_init(void);
extern AppendSlot *pgqueue_slot(Oid log, int32 partition);
extern void pgqueue_slot_lock(AppendSlot *slot);
extern void pgqueue_slot_unlock(AppendSlot *slot);
extern uint64 pgqueue_slot_rolls(AppendSlot *slot);
extern void pgqueue_slot_count_roll(AppendSlot *slot);
extern bool pgqueue_slot_extent_locked(AppendSlot *slot, Relation segment,
									   Extent *extent);
extern BlockNumber pgqueue_slot_stable(AppendSlot *slot, Relation segment);
extern void pgqueue_slot_set_stable(AppendSlot *slot, Relation segment,
									BlockNumber block);
extern void pgqueue_slot_set_extent_locked(AppendSlot *slot, Relation segment,
										   const Extent *extent);
extern bool pgqueue_slot_ends_at(AppendSlot *slot, Relation segment,
								 BlockNumber block);
extern BlockNumber pgqueue_slot_find_tail(AppendSlot *slot, Relation segment);

/* ---------------- append.c ---------------- */

/* What an append may assign: the segment's offsets, and no earlier time. */
typedef struct AppendBounds
{
	int64		first;			/* [first, end): the segment's bounds, but for
								 * offsets before the log start */
	int64		end;
	bool		has_min_timestamp;	/* needed if the segment has no record */
	TimestampTz min_timestamp;	/* the time of the last record before it */
} AppendBounds;

/* How an attempt to write under the lock ended. */
typedef enum Outcome
{
	WRITTEN,
	STALE,						/* others rolled: choose the segment again */
	FULL,						/* the segment's offsets are used up */
	TAIL_UNKNOWN,				/* the tail's page holds no record */
	MIN_TIMESTAMP_UNKNOWN		/* no record in the segment: need the time of
								 * the one before */
} Outcome;

#define CHUNK_RECORDS	1000

extern void pgqueue_append_given(Relation segment, HeapTuple *tuples,
								 int ntuples);
extern bool pgqueue_needs_toast(HeapTuple tuple);
extern int pgqueue_next_chunk(Relation segment, HeapTuple *tuples, int ntuples,
							  HeapTuple *stored, TransactionId xid,
							  CommandId cid);
extern void pgqueue_free_stored(HeapTuple *tuples, HeapTuple *stored, int n);
extern Outcome pgqueue_append_locked(Relation segment, AppendSlot *slot,
									 const AppendBounds *bounds,
									 HeapTuple *stored, int *ntuples,
									 bool last, uint64 *rolls);

/* ---------------- rewrite.c ---------------- */

typedef struct Rewritten
{
	int64		removed;		/* messages */
	int64		bytes;			/* given back */
} Rewritten;

extern bool pgqueue_rewrite_segment(Relation segment, Settled *settled,
									LogReceiver stays,
									bool (*may_go) (void *arg), void *arg,
									Rewritten *done);

#endif							/* QUEUE_WRITE_H */
