/*-------------------------------------------------------------------------
 *
 * extend.c
 *	  Making a segment's file longer.
 *
 * By as many pages as the caller is about to fill (README, section 4), in one
 * call to the kernel: a write of zeros for each page would cost a bulk append a
 * third of its time.
 *
 * PostgreSQL 16 has ExtendBufferedRelBy() for it.  On 15 the space is allocated
 * here, not left as a hole in the file: a full disk must fail the append, not
 * the checkpoint.  The storage manager takes the number of blocks from the
 * length of the file.  It need not sync pages that are never written: no record
 * that survives a crash is on them.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <fcntl.h>

#include "storage/bufmgr.h"
#include "storage/fd.h"
#include "storage/lmgr.h"
#include "storage/smgr.h"

#include "log/write.h"

/* At most so many pages in one go: on 16 they are pinned for a moment. */
#define EXTEND_PAGES	64

#if PG_VERSION_NUM < 160000
/*
 * Allocate pages behind the last one, as many as its file may have.  Return
 * false, perhaps with some of them, if that fails: the disk is full, the file
 * system cannot do it, or the next file must be begun.
 */
static bool
allocate(Relation segment, BlockNumber nblocks, BlockNumber pages)
{
	bool		done = false;
#ifdef HAVE_POSIX_FALLOCATE
	BlockNumber part = nblocks / RELSEG_SIZE;
	BlockNumber block = nblocks % RELSEG_SIZE;
	char	   *base = relpath(RelationGetSmgr(segment)->smgr_rnode,
							   MAIN_FORKNUM);
	char	   *path = part == 0 ? pstrdup(base) :
		psprintf("%s.%u", base, part);
	int			fd = OpenTransientFile(path, O_RDWR | PG_BINARY);

	if (fd >= 0)
	{
		pages = Min(pages, RELSEG_SIZE - block);
		done = posix_fallocate(fd, (off_t) block * BLCKSZ,
							   (off_t) pages * BLCKSZ) == 0;
		CloseTransientFile(fd);
	}
	pfree(path);
	pfree(base);
#endif
	return done;
}
#endif

/*
 * Make a segment of nblocks blocks longer, by one to so many pages of zeros.
 *
 * Locks: the slot; ROW EXCLUSIVE on the segment.
 * Errors: I/O and disk full.
 */
void
pgqueue_extend(Relation segment, BlockNumber nblocks, BlockNumber pages)
{
	bool		need_lock = !RELATION_IS_LOCAL(segment);
#if PG_VERSION_NUM >= 160000
	Buffer		buffers[EXTEND_PAGES];
	uint32		n;
#endif

	pages = Min(pages, EXTEND_PAGES);
	if (need_lock)
		LockRelationForExtension(segment, ExclusiveLock);
#if PG_VERSION_NUM >= 160000
	(void) ExtendBufferedRelBy(BMR_REL(segment), MAIN_FORKNUM, NULL,
							   EB_SKIP_EXTENSION_LOCK, pages, buffers, &n);
	while (n > 0)
		ReleaseBuffer(buffers[--n]);
#else
	/* where allocate() cannot, the storage manager raises the error */
	if (pages == 1 || !allocate(segment, nblocks, pages))
		ReleaseBuffer(ReadBuffer(segment, P_NEW));
#endif
	if (need_lock)
		UnlockRelationForExtension(segment, ExclusiveLock);
}
