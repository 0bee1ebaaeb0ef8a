/*-------------------------------------------------------------------------
 *
 * log_place.h
 *	  The seam between the log and its pages; for log_append.c alone.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PGQUEUE_LOG_PLACE_H
#define PGQUEUE_LOG_PLACE_H

#include "queue.h"

/* A place behind the tail of a segment, held while records are written. */
typedef struct Placement
{
	Relation	leaf;
	AppendSlot *slot;
	BlockNumber block;			/* page to write to */
	BlockNumber nblocks;		/* of the file; 0: not asked yet */
	BlockNumber fresh;			/* pages from here on are ours and all zero */
	Buffer		buffer;			/* that page, exclusively locked; or invalid */
	Buffer		vmbuffer;
	bool		first_block;	/* the segment has no block yet */
	bool		has_tail;		/* there is a last record */
	LogFixed	tail;			/* its fixed columns */
} Placement;

extern void pgqueue_stamp(HeapTuple tuple, TransactionId xid, CommandId cid,
						  Oid leaf);
extern bool pgqueue_place_begin(Placement *place, Relation leaf,
								AppendSlot *slot);
extern void pgqueue_place(Placement *place, HeapTuple *tuples, int ntuples,
						  bool last);
extern void pgqueue_place_end(Placement *place);
extern void pgqueue_extend(Relation leaf, BlockNumber nblocks,
						   BlockNumber pages);

#endif							/* PGQUEUE_LOG_PLACE_H */
