/*-------------------------------------------------------------------------
 *
 * frozen.c
 *	  Tell whether a segment is frozen; remind autovacuum of one that is not.
 *
 * Autovacuum freezes segments, by their storage parameters
 * (topic/segment_make.c), after inserts.  It passes over records younger than a
 * snapshot and pages in use, and nothing makes it come again when no more is
 * appended.  So maintenance counts an insert that was none.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "access/visibilitymap.h"
#include "pgstat.h"
#include "storage/bufmgr.h"
#include "storage/procarray.h"

#include "log/log.h"

static bool
page_is_new(Relation rel, BlockNumber block)
{
	Buffer		buffer = ReadBuffer(rel, block);
	bool		result;

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	result = PageIsNew(BufferGetPage(buffer));
	UnlockReleaseBuffer(buffer);
	return result;
}

/*
 * Return true if every page has a bit in the visibility map.  New pages have no
 * place there; pages that lack the bit are read, up to one that is not new.
 */
static bool
all_pages_have(Relation rel, uint8 bit)
{
	BlockNumber nblocks = RelationGetNumberOfBlocks(rel);
	BlockNumber visible;
	BlockNumber frozen;
	Buffer		map = InvalidBuffer;
	bool		result = true;

	visibilitymap_count(rel, &visible, &frozen);
	if ((bit == VISIBILITYMAP_ALL_FROZEN ? frozen : visible) >= nblocks)
		return true;
	for (BlockNumber block = 0; result && block < nblocks; block++)
		result = (visibilitymap_get_status(rel, block, &map) & bit) != 0 ||
			page_is_new(rel, block);
	if (BufferIsValid(map))
		ReleaseBuffer(map);
	return result;
}

/* Return true if the segment and its TOAST table are frozen.  Locks: any. */
bool
pgqueue_is_frozen(Relation segment)
{
	Oid			toast = segment->rd_rel->reltoastrelid;
	Relation	rel;
	bool		result = all_pages_have(segment, VISIBILITYMAP_ALL_FROZEN);

	if (!result || !OidIsValid(toast))
		return result;
	rel = table_open(toast, AccessShareLock);
	result = all_pages_have(rel, VISIBILITYMAP_ALL_FROZEN);
	table_close(rel, AccessShareLock);
	return result;
}

/*
 * Return true if the segment's last page is older than every snapshot.  Earlier
 * ones may hold a younger record, of a transaction that wrote before.
 */
static bool
is_old(Relation segment)
{
	TransactionId newest = InvalidTransactionId;
	LogTail		tail;
	Buffer		buffer;
	PageWalk	walk;

	pgqueue_segment_tail(segment, RelationGetNumberOfBlocks(segment), &tail);
	if (!tail.found)
		return true;
	buffer = ReadBuffer(segment, tail.block);
	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	pgqueue_page_begin(&walk, segment, buffer);
	while (pgqueue_page_next(&walk))
	{
		TransactionId xmin = HeapTupleHeaderGetRawXmin(walk.tuple.t_data);

		if (!HeapTupleHeaderXminFrozen(walk.tuple.t_data) &&
			TransactionIdFollows(xmin, newest))
			newest = xmin;
	}
	UnlockReleaseBuffer(buffer);
	return !TransactionIdIsNormal(newest) ||
		TransactionIdPrecedes(newest,
							  GetOldestNonRemovableTransactionId(segment));
}

/*
 * Make autovacuum visit a sealed segment, or its TOAST table, if it can freeze
 * pages there: those marked as visible to all are read only by a VACUUM that
 * prevents wraparound, or VACUUM (FREEZE).
 *
 * Locks: any on the segment.
 */
void
pgqueue_remind_autovacuum(Relation segment)
{
	Oid			relid = segment->rd_rel->reltoastrelid;
	Relation	toast = OidIsValid(relid) ?
		table_open(relid, AccessShareLock) : NULL;
	bool		due = !all_pages_have(segment, VISIBILITYMAP_ALL_VISIBLE);
	bool		toast_due = toast != NULL &&
		!all_pages_have(toast, VISIBILITYMAP_ALL_VISIBLE);

	if ((due || toast_due) && is_old(segment))
	{
		if (due)
			pgstat_count_heap_insert(segment, 1);
		if (toast_due)
			pgstat_count_heap_insert(toast, 1);
	}
	if (toast != NULL)
		table_close(toast, AccessShareLock);
}
