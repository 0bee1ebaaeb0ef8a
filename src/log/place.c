/*-------------------------------------------------------------------------
 *
 * place.c
 *	  Records onto pages, always behind the last one.
 *
 * heap_insert() and heap_multi_insert() cannot be used: they toast again, under
 * the append lock, what was toasted before it; they extend the file although
 * empty pages follow the tail; and they reuse line pointers (README, I1).
 *
 * The WAL records are the heap's own (XLOG_HEAP2_MULTI_INSERT).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heapam_xlog.h"
#include "access/visibilitymap.h"
#include "access/xloginsert.h"
#include "catalog/catalog.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"

#include "log/write.h"

/* A file grows by this part of it, if the records do not need more. */
#define PAGES_AHEAD		8

/* Return true if a page has room for a record behind all line pointers. */
static bool
page_has_room(Page page, Size len)
{
	return PageGetMaxOffsetNumber(page) < MaxHeapTuplesPerPage &&
		PageGetFreeSpace(page) >= MAXALIGN(len);
}

/* Lock an existing page, and pin its page of the visibility map if needed. */
static Buffer
lock_page(Relation segment, BlockNumber block, Buffer *vmbuffer)
{
	Buffer		buffer = ReadBuffer(segment, block);
	Page		page = BufferGetPage(buffer);

	for (;;)
	{
		if (PageIsAllVisible(page))
			visibilitymap_pin(segment, block, vmbuffer);
		LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
		if (!PageIsAllVisible(page) || visibilitymap_pin_ok(block, *vmbuffer))
			return buffer;
		/* became all-visible before we had the lock */
		LockBuffer(buffer, BUFFER_LOCK_UNLOCK);
	}
}

/* Return how many pages the records fill if the first begins a page. */
static BlockNumber
pages_of(HeapTuple *tuples, int ntuples)
{
	BlockNumber pages = 0;
	Size		room = 0;
	int			lines = 0;

	for (int i = 0; i < ntuples; i++)
	{
		Size		len = MAXALIGN(tuples[i]->t_len) + sizeof(ItemIdData);

		if (len > room || lines == MaxHeapTuplesPerPage)
		{
			pages++;
			room = BLCKSZ - SizeOfPageHeaderData;
			lines = 0;
		}
		room -= len;
		lines++;
	}
	return pages;
}

/*
 * Return the page place->block, locked.  Beyond the file's end, extend the file.
 * A page that was never used is not read from disk.
 */
static Buffer
open_page(Insertion *place, HeapTuple *tuples, int ntuples)
{
	Relation	segment = place->segment;

	if (place->nblocks == 0)
		place->nblocks = RelationGetNumberOfBlocks(segment);
	if (place->block >= place->nblocks)
	{
		place->unused = Min(place->unused, place->nblocks);
		place->nblocks = pgqueue_extend(segment, place->nblocks,
										Max(pages_of(tuples, ntuples),
											place->nblocks / PAGES_AHEAD));
		if (place->block >= place->nblocks)
			elog(ERROR, "segment \"%s\" was extended to %u blocks, need block %u",
				 RelationGetRelationName(segment), place->nblocks, place->block);
	}
	if (place->block < place->unused)
		return lock_page(segment, place->block, &place->vmbuffer);
	return ReadBufferExtended(segment, MAIN_FORKNUM, place->block,
							  RBM_ZERO_AND_LOCK, NULL);
}

/*
 * Tell the slot where the next records go.  Before they are there: the tail is an
 * upper bound.
 */
static void
note_extent(Insertion *place)
{
	Extent		extent;

	if (place->unused != InvalidBlockNumber)
		place->unused = Max(place->unused, place->block + 1);
	extent = (Extent) {place->block, place->nblocks, place->unused};
	pgqueue_slot_set_extent_locked(place->slot, place->segment, &extent);
}

/* Hold the first page from place->block on with room for the first record. */
static void
page_for(Insertion *place, HeapTuple *tuples, int ntuples)
{
	for (;;)
	{
		Page		page;

		if (!BufferIsValid(place->buffer))
			place->buffer = open_page(place, tuples, ntuples);
		page = BufferGetPage(place->buffer);
		if (PageIsNew(page))
		{
			PageInit(page, BufferGetPageSize(place->buffer), 0);
			MarkBufferDirty(place->buffer);
		}
		if (page_has_room(page, tuples[0]->t_len))
			return;
		UnlockReleaseBuffer(place->buffer);
		place->buffer = InvalidBuffer;
		place->block++;
	}
}

static void
log_page(Relation segment, Buffer buffer, HeapTuple *tuples, int ntuples,
		 bool init, bool visibility_cleared, bool last)
{
	Page		page = BufferGetPage(buffer);
	PGAlignedBlock scratch;
	xl_heap_multi_insert *xlrec = (xl_heap_multi_insert *) scratch.data;
	char	   *data = scratch.data + SizeOfHeapMultiInsert;
	char	   *tail;
	uint8		info = XLOG_HEAP2_MULTI_INSERT;
	int			flags = REGBUF_STANDARD;
	XLogRecPtr	lsn;

	xlrec->flags = (visibility_cleared ? XLH_INSERT_ALL_VISIBLE_CLEARED : 0) |
		(last ? XLH_INSERT_LAST_IN_MULTI : 0);
	xlrec->ntuples = ntuples;
	if (RelationIsLogicallyLogged(segment))
	{
		xlrec->flags |= XLH_INSERT_CONTAINS_NEW_TUPLE;
		flags |= REGBUF_KEEP_DATA;
	}
	if (init)
	{
		info |= XLOG_HEAP_INIT_PAGE;
		flags |= REGBUF_WILL_INIT;
	}
	else
	{
		for (int i = 0; i < ntuples; i++)
			xlrec->offsets[i] = ItemPointerGetOffsetNumber(&tuples[i]->t_self);
		data += ntuples * sizeof(OffsetNumber);
	}

	tail = data;
	for (int i = 0; i < ntuples; i++)
	{
		HeapTupleHeader header = tuples[i]->t_data;
		xl_multi_insert_tuple *item = (xl_multi_insert_tuple *) SHORTALIGN(tail);
		int			len = tuples[i]->t_len - SizeofHeapTupleHeader;

		item->datalen = len;
		item->t_infomask2 = header->t_infomask2;
		item->t_infomask = header->t_infomask;
		item->t_hoff = header->t_hoff;
		tail = (char *) item + SizeOfMultiInsertTuple;
		memcpy(tail, (char *) header + SizeofHeapTupleHeader, len);
		tail += len;
	}
	Assert(tail - scratch.data < BLCKSZ);

	XLogBeginInsert();
	XLogRegisterData((char *) xlrec, data - scratch.data);
	XLogRegisterBuffer(0, buffer, flags);
	XLogRegisterBufData(0, data, tail - data);
	XLogSetRecordFlags(XLOG_INCLUDE_ORIGIN);
	lsn = XLogInsert(RM_HEAP2_ID, info);
	PageSetLSN(page, lsn);		/* a macro: evaluates its argument twice */
}

/*
 * Write as many of the records as place's page takes, at least one.  last:
 * these are the last of the call if all fit.  Return how many were written.
 */
static int
put_on_page(Insertion *place, HeapTuple *tuples, int ntuples, bool last)
{
	Relation	segment = place->segment;
	Buffer		buffer = place->buffer;
	Page		page = BufferGetPage(buffer);
	OffsetNumber lp = PageGetMaxOffsetNumber(page);
	bool		init = (lp == 0);
	bool		visible = PageIsAllVisible(page);
	int			n;

	/* no ERROR from here until the change is logged */
	START_CRIT_SECTION();
	for (n = 0; n < ntuples; n++)
	{
		HeapTuple	tuple = tuples[n];

		if (!page_has_room(page, tuple->t_len))
			break;
		lp++;
		ItemPointerSet(&tuple->t_self, place->block, lp);
		tuple->t_data->t_ctid = tuple->t_self;
		if (PageAddItem(page, (void *) tuple->t_data, tuple->t_len, lp, false,
						true) != lp)
			elog(PANIC, "failed to add a record to a segment's page");
	}

	if (visible)
	{
		PageClearAllVisible(page);
		visibilitymap_clear(segment, place->block, place->vmbuffer,
							VISIBILITYMAP_VALID_BITS);
	}
	MarkBufferDirty(buffer);
	if (RelationNeedsWAL(segment))
		log_page(segment, buffer, tuples, n, init, visible,
				 last && n == ntuples);
	END_CRIT_SECTION();
	return n;
}

/*
 * Find the tail of a segment and hold its page.  Return false, with nothing
 * held, if that page has no record: then pgqueue_slot_find_tail() must walk.
 *
 * The slot's tail is an existing block, and the file has the slot's number of
 * blocks, unless VACUUM truncated it since this backend last wrote to it; that
 * resets the relation's target block.
 *
 * Locks: the slot; ROW EXCLUSIVE on the segment.
 */
bool
pgqueue_place_begin(Insertion *place, Relation segment, AppendSlot *slot)
{
	Extent		extent = {0, 0, InvalidBlockNumber};
	bool		known = pgqueue_slot_extent_locked(slot, segment, &extent);
	PageWalk	walk;

	*place = (Insertion) {
		.segment = segment,
		.slot = slot,
		.block = extent.tail,
		.nblocks = extent.nblocks,
		.unused = extent.unused
	};
	if (!known || place->block == InvalidBlockNumber ||
		RelationGetTargetBlock(segment) == InvalidBlockNumber)
	{
		BlockNumber nblocks = RelationGetNumberOfBlocks(segment);

		place->nblocks = nblocks;
		place->first_block = (nblocks == 0);
		if (nblocks == 0 || (known && place->block == InvalidBlockNumber))
		{
			place->block = 0;
			return true;
		}
		if (!known)
			place->block = nblocks - 1;
		else if (place->block >= nblocks)
			return false;
	}

	place->buffer = lock_page(segment, place->block, &place->vmbuffer);
	pgqueue_page_begin(&walk, segment, place->buffer);
	if (pgqueue_page_previous(&walk))
	{
		place->has_tail = true;
		place->tail = *log_fixed(walk.tuple.t_data);
		return true;
	}
	pgqueue_place_end(place);
	return false;
}

/*
 * Write records, complete but for their place.  Each fits a page.
 *
 * Locks: as pgqueue_place_begin().
 * Errors: I/O and disk full.  What was written until then is dead with the
 * transaction, and the slot's tail covers it.
 */
void
pgqueue_place(Insertion *place, HeapTuple *tuples, int ntuples, bool last)
{
	int			done = 0;

	while (done < ntuples)
	{
		page_for(place, tuples + done, ntuples - done);
		note_extent(place);
		done += put_on_page(place, tuples + done, ntuples - done, last);
	}
	RelationSetTargetBlock(place->segment, place->block);
}

/* Release the page.  The slot stays locked. */
void
pgqueue_place_end(Insertion *place)
{
	if (BufferIsValid(place->buffer))
		UnlockReleaseBuffer(place->buffer);
	if (BufferIsValid(place->vmbuffer))
		ReleaseBuffer(place->vmbuffer);
	place->buffer = place->vmbuffer = InvalidBuffer;
}
