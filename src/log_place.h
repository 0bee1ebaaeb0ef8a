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

extern void pgqueue_stamp(HeapTuple tuple, TransactionId xid, CommandId cid,
						  Oid leaf);
extern void pgqueue_place(Relation leaf, AppendSlot *slot, HeapTuple *tuples,
						  int ntuples, BlockNumber block, BlockNumber nblocks,
						  bool last);

#endif							/* PGQUEUE_LOG_PLACE_H */
