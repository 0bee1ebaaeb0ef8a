/*-------------------------------------------------------------------------
 *
 * lock.c
 *	  Heavyweight locks that last as long as the rows they stand for.
 *
 * The lock manager notes a lock under the current resource owner, and in a
 * cursor that is the portal's: a FETCH that fails inside a savepoint takes the
 * portal's locks along, also those of earlier FETCHes, whose rows may still
 * commit.	So a lock that stands for rows is noted under the owner of the
 * (sub)transaction that writes them: it goes when they go, and passes to the
 * parent when they do.
 *
 * The same holds for the table that the rows are in: its lock is kept to the
 * end of the transaction.	REINDEX CONCURRENTLY waits for those who hold one;
 * an index made past a row that is not committed yet would lack it for good.
 *
 *-------------------------------------------------------------------------
 */
#include "queue.h"

#include "access/table.h"
#include "storage/lmgr.h"
#include "utils/resowner.h"

/* Lock to the end of the transaction.	False: not to be had without waiting. */
bool
pgqueue_lock(const LOCKTAG *tag, LOCKMODE mode, bool wait)
{
	ResourceOwner save = CurrentResourceOwner;
	LockAcquireResult result;

	CurrentResourceOwner = CurTransactionResourceOwner;
	result = LockAcquire(tag, mode, false, !wait);
	CurrentResourceOwner = save;
	return result != LOCKACQUIRE_NOT_AVAIL;
}

/* Give back one pgqueue_lock() of this subtransaction. */
void
pgqueue_unlock(const LOCKTAG *tag, LOCKMODE mode)
{
	ResourceOwner save = CurrentResourceOwner;

	CurrentResourceOwner = CurTransactionResourceOwner;
	LockRelease(tag, mode, false);
	CurrentResourceOwner = save;
}

void
pgqueue_lock_relation(Oid relid, LOCKMODE mode)
{
	ResourceOwner save = CurrentResourceOwner;

	CurrentResourceOwner = CurTransactionResourceOwner;
	LockRelationOid(relid, mode);
	CurrentResourceOwner = save;
}

/* The same if it can be had at once. */
bool
pgqueue_try_lock_relation(Oid relid, LOCKMODE mode)
{
	ResourceOwner save = CurrentResourceOwner;
	bool		locked;

	CurrentResourceOwner = CurTransactionResourceOwner;
	locked = ConditionalLockRelationOid(relid, mode);
	CurrentResourceOwner = save;
	return locked;
}

/* Give it back, nothing having been done. */
void
pgqueue_unlock_relation(Oid relid, LOCKMODE mode)
{
	ResourceOwner save = CurrentResourceOwner;

	CurrentResourceOwner = CurTransactionResourceOwner;
	UnlockRelationOid(relid, mode);
	CurrentResourceOwner = save;
}

/* Open one of our tables for writing.	Close it with NoLock. */
Relation
pgqueue_open_for_writing(RegistryTable table)
{
	Oid			relid = pgqueue_registry(table);

	pgqueue_lock_relation(relid, RowExclusiveLock);
	return table_open(relid, NoLock);
}
