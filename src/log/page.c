/*-------------------------------------------------------------------------
 *
 * page.c
 *	  The records of one page: whether there is one, the first, the last.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "storage/bufmgr.h"

#include "log/log.h"
#include "log/write.h"

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

/* The fixed columns of the page's first record, dead or alive. */
static bool
page_first(Page page, LogFixed *first)
{
	OffsetNumber max = PageIsNew(page) ? 0 : PageGetMaxOffsetNumber(page);

	for (OffsetNumber lp = FirstOffsetNumber; lp <= max; lp++)
	{
		ItemId		item = PageGetItemId(page, lp);

		if (ItemIdIsNormal(item))
		{
			*first = *log_fixed((HeapTupleHeader) PageGetItem(page, item));
			return true;
		}
	}
	return false;
}

bool
pgqueue_block_first(Relation leaf, BlockNumber block, LogFixed *first)
{
	Buffer		buffer = ReadBuffer(leaf, block);
	bool		found;

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	found = page_first(BufferGetPage(buffer), first);
	UnlockReleaseBuffer(buffer);
	return found;
}
