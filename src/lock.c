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
#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "storage/proc.h"
#include "utils/guc.h"
#include "utils/resowner.h"
#include "utils/syscache.h"

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

/*
 * Wait for no lock longer than a moment, to the end of the transaction or, in
 * a nest of settings, of that: for who has locks that others need while it only
 * looks at what somebody may have locked.	A limit of the user's stays.
 *
 * Errors, then, of who waits: 55P03.
 */
void
pgqueue_wait_shortly(GucAction action)
{
	if (LockTimeout == 0)
		(void) set_config_option("lock_timeout",
								 psprintf("%d", PGQUEUE_LOCK_PATIENCE),
								 PGC_USERSET, PGC_S_SESSION, action, true, 0,
								 false);
}

/* Between two tries to have a lock. */
void
pgqueue_lock_pause(void)
{
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					 PGQUEUE_LOCK_PAUSE, PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
}

/*
 * The same if it can be had soon, in so many tries.  Who tries does not queue,
 * so nobody waits behind us.
 */
bool
pgqueue_lock_relation_soon(Oid relid, LOCKMODE mode, int tries)
{
	for (int i = 0; i < tries; i++)
	{
		if (pgqueue_try_lock_relation(relid, mode))
			return true;
		pgqueue_lock_pause();
	}
	return false;
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

/* A segment's TOAST table; false if the segment is gone. */
static bool
toast_of(Oid relid, Oid *toast)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));

	if (!HeapTupleIsValid(tuple))
		return false;
	*toast = ((Form_pg_class) GETSTRUCT(tuple))->reltoastrelid;
	ReleaseSysCache(tuple);
	return true;
}

/* Lock a segment with its TOAST table, if that can be had at once. */
bool
pgqueue_try_lock_segment(Oid relid, LOCKMODE mode)
{
	Oid			toast;

	if (!pgqueue_try_lock_relation(relid, mode))
		return false;
	if (toast_of(relid, &toast) &&
		(!OidIsValid(toast) || pgqueue_try_lock_relation(toast, mode)))
		return true;
	pgqueue_unlock_relation(relid, mode);
	return false;
}

/* Give both back, nothing having been done. */
void
pgqueue_unlock_segment(Oid relid, LOCKMODE mode)
{
	Oid			toast;

	if (toast_of(relid, &toast) && OidIsValid(toast))
		pgqueue_unlock_relation(toast, mode);
	pgqueue_unlock_relation(relid, mode);
}

static bool
is_locked(Oid relid)
{
	LOCKTAG		tag;
	int			holders;

	SET_LOCKTAG_RELATION(tag, MyDatabaseId, relid);
	pfree(GetLockConflicts(&tag, AccessExclusiveLock, &holders));
	return holders > 0;
}

/* Has another transaction the segment or its TOAST table locked, at all? */
bool
pgqueue_segment_in_use(Oid relid)
{
	Oid			toast;

	return is_locked(relid) ||
		(toast_of(relid, &toast) && OidIsValid(toast) && is_locked(toast));
}

/* Open one of our tables for writing.	Close it with NoLock. */
Relation
pgqueue_open_for_writing(RegistryTable table)
{
	Oid			relid = pgqueue_registry(table);

	pgqueue_lock_relation(relid, RowExclusiveLock);
	return table_open(relid, NoLock);
}
