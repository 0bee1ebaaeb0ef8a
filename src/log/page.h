/*-------------------------------------------------------------------------
 *
 * page.h
 *	  The records of one page.
 *
 *-------------------------------------------------------------------------
 */
#ifndef QUEUE_PAGE_H
#define QUEUE_PAGE_H

#include "access/htup_details.h"
#include "storage/bufmgr.h"
#include "storage/bufpage.h"
#include "utils/rel.h"

/* The columns of fixed width, with which a record begins. */
typedef struct LogFixed
{
	int64		offset;
	TimestampTz timestamp;
	int32		partition;
} LogFixed;

/* Return the fixed columns of a formed tuple, in place. */
static inline LogFixed *
log_fixed(HeapTupleHeader header)
{
	return (LogFixed *) ((char *) header + header->t_hoff);
}

/*
 * A walk over the records of a page, dead or alive, in order.  The page must be
 * locked, or pinned as long as only records are read that do not change.
 */
typedef struct PageWalk
{
	Page		page;
	HeapTupleData tuple;		/* the record at hand */
} PageWalk;

/* Begin a walk, before the first record. */
static inline void
pgqueue_page_begin(PageWalk *walk, Relation segment, Buffer buffer)
{
	walk->page = BufferGetPage(buffer);
	walk->tuple.t_tableOid = RelationGetRelid(segment);
	ItemPointerSet(&walk->tuple.t_self, BufferGetBlockNumber(buffer),
				   InvalidOffsetNumber);
}

/* Go to the record at a line pointer.  Return false if there is none. */
static inline bool
pgqueue_page_go(PageWalk *walk, OffsetNumber lp)
{
	ItemId		item = PageGetItemId(walk->page, lp);

	walk->tuple.t_self.ip_posid = lp;
	if (!ItemIdIsNormal(item))
		return false;
	walk->tuple.t_data = (HeapTupleHeader) PageGetItem(walk->page, item);
	walk->tuple.t_len = ItemIdGetLength(item);
	return true;
}

/* Go to the next record.  Return false if there is none. */
static inline bool
pgqueue_page_next(PageWalk *walk)
{
	OffsetNumber max = PageGetMaxOffsetNumber(walk->page);

	for (OffsetNumber lp = walk->tuple.t_self.ip_posid + 1; lp <= max; lp++)
		if (pgqueue_page_go(walk, lp))
			return true;
	return false;
}

/*
 * Go to the record before, or to the last one if the walk has just begun.
 * Return false if there is none.
 */
static inline bool
pgqueue_page_previous(PageWalk *walk)
{
	OffsetNumber lp = walk->tuple.t_self.ip_posid;

	if (lp == InvalidOffsetNumber)
		lp = PageGetMaxOffsetNumber(walk->page) + 1;
	while (--lp > 0)
		if (pgqueue_page_go(walk, lp))
			return true;
	return false;
}

#endif							/* QUEUE_PAGE_H */
