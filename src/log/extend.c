/*-------------------------------------------------------------------------
 *
 * extend.c
 *	  Making a segment's file longer.
 *
 * By many pages (README, section 4), in one call to the kernel: a write of zeros
 * for each page would cost a bulk append a third of its time.
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
 * Open the file of a segment that has the block, and keep it open for the next
 * call.  It is still that file if this backend has written to the segment since:
 * what gives a relation another file resets its target block.
 */
static File
open_file(Relation segment, BlockNumber part)
{
	static File file = -1;
	static RelFileNode node;
	static BlockNumber opened;
	char	   *base;
	char	   *path;

	/* the descriptor is closed if the session has many files */
	if (file >= 0 && FileGetRawDesc(file) >= 0 && opened == part &&
		RelFileNodeEquals(node, segment->rd_node) &&
		RelationGetTargetBlock(segment) != InvalidBlockNumber)
		return file;
	if (file >= 0)
		FileClose(file);
	base = relpath(RelationGetSmgr(segment)->smgr_rnode, MAIN_FORKNUM);
	path = part == 0 ? pstrdup(base) : psprintf("%s.%u", base, part);
	file = PathNameOpenFile(path, O_RDWR | PG_BINARY);
	node = segment->rd_node;
	opened = part;
	pfree(path);
	pfree(base);
	return file;
}

/*
 * Allocate pages behind the last one, as many as its file may have.  Return their
 * number; or 0, perhaps with some of them, if that fails: the disk is full, the
 * file system cannot do it, or the next file must be begun.
 */
static BlockNumber
allocate(Relation segment, BlockNumber nblocks, BlockNumber pages)
{
#ifdef HAVE_POSIX_FALLOCATE
	BlockNumber block = nblocks % RELSEG_SIZE;
	File		file = open_file(segment, nblocks / RELSEG_SIZE);

	pages = Min(pages, RELSEG_SIZE - block);
	if (file >= 0 &&
		posix_fallocate(FileGetRawDesc(file), (off_t) block * BLCKSZ,
						(off_t) pages * BLCKSZ) == 0)
		return pages;
#endif
	return 0;
}
#endif

/*
 * Make a segment of nblocks blocks longer, by one to so many pages of zeros.
 * Return the number of blocks.
 *
 * Locks: the slot; ROW EXCLUSIVE on the segment.
 * Errors: I/O and disk full.
 */
BlockNumber
pgqueue_extend(Relation segment, BlockNumber nblocks, BlockNumber pages)
{
	bool		need_lock = !RELATION_IS_LOCAL(segment);
#if PG_VERSION_NUM >= 160000
	Buffer		buffers[EXTEND_PAGES];
	uint32		n;
#else
	BlockNumber n;
#endif

	pages = Min(pages, EXTEND_PAGES);
	if (need_lock)
		LockRelationForExtension(segment, ExclusiveLock);
#if PG_VERSION_NUM >= 160000
	nblocks = ExtendBufferedRelBy(BMR_REL(segment), MAIN_FORKNUM, NULL,
								  EB_SKIP_EXTENSION_LOCK, pages, buffers, &n);
	nblocks += n;
	while (n > 0)
		ReleaseBuffer(buffers[--n]);
#else
	n = pages > 1 ? allocate(segment, nblocks, pages) : 0;
	if (n > 0)
		nblocks += n;
	else
	{
		/* the storage manager raises the error */
		Buffer		buffer = ReadBuffer(segment, P_NEW);

		nblocks = BufferGetBlockNumber(buffer) + 1;
		ReleaseBuffer(buffer);
	}
#endif
	if (need_lock)
		UnlockRelationForExtension(segment, ExclusiveLock);
	return nblocks;
}
