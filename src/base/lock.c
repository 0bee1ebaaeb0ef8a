/*-------------------------------------------------------------------------
 *
 * lock.c
 *	  Take and give back heavyweight locks: the extension's own, and those on tables
 *	  of topics.
 *
 * A lock that guards rows is taken for the subtransaction, whatever portal is
 * running: it lasts as long as what is written under it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "storage/lmgr.h"
#include "storage/proc.h"
#include "utils/lsyscache.h"
#include "utils/resowner.h"
#include "utils/syscache.h"

#include "base/base.h"
#include "base/lock.h"

/* Milliseconds between two tries. */
#define LOCK_PAUSE 10

/* Set while a loop over topics looks at one; restored also after an error. */
bool pgqueue_attempting = false;

/*
 * Lock a table of a topic to look at it: wait for the lock, but not if attempting.
 * Errors: 55P03.
 */
void
pgqueue_lock_to_look(Oid relid)
{
	if (likely(!pgqueue_attempting))
		LockRelationOid(relid, AccessShareLock);
	else if (!ConditionalLockRelationOid(relid, AccessShareLock))
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("could not obtain lock on relation \"%s\"",
						get_rel_name(relid)),
				 pgqueue_errdetail_lock_holder(pgqueue_tag_of_relation(relid),
											   AccessShareLock)));
}

/*
 * Open a relation to look at it, or return NULL if it is gone.
 * Locks, errors: those of pgqueue_lock_to_look().
 */
Relation
pgqueue_open_to_look(Oid relid)
{
	pgqueue_lock_to_look(relid);
	if (SearchSysCacheExists1(RELOID, ObjectIdGetDatum(relid)))
		return relation_open(relid, NoLock);
	UnlockRelationOid(relid, AccessShareLock);
	return NULL;
}

/* Lock to the end of the transaction.  False: not to be had without waiting. */
bool
pgqueue_lock(LOCKTAG tag, LOCKMODE mode, bool wait)
{
	ResourceOwner save = CurrentResourceOwner;
	LockAcquireResult result;

	/* other sessions must mean the same by the tag */
	if (unlikely(!pgqueue_shared_attached))
		pgqueue_shared_attach();
	CurrentResourceOwner = CurTransactionResourceOwner;
	result = LockAcquire(&tag, mode, false, !wait);
	CurrentResourceOwner = save;
	return result != LOCKACQUIRE_NOT_AVAIL;
}

/* Give back one pgqueue_lock() of this subtransaction. */
void
pgqueue_unlock(LOCKTAG tag, LOCKMODE mode)
{
	ResourceOwner save = CurrentResourceOwner;

	CurrentResourceOwner = CurTransactionResourceOwner;
	LockRelease(&tag, mode, false);
	CurrentResourceOwner = save;
}

static bool
lock_relation(Oid relid, LOCKMODE mode, bool wait)
{
	ResourceOwner save = CurrentResourceOwner;
	bool		locked = true;

	CurrentResourceOwner = CurTransactionResourceOwner;
	if (wait)
		LockRelationOid(relid, mode);
	else
		locked = ConditionalLockRelationOid(relid, mode);
	CurrentResourceOwner = save;
	return locked;
}

void
pgqueue_lock_relation(Oid relid, LOCKMODE mode)
{
	(void) lock_relation(relid, mode, true);
}

bool
pgqueue_try_lock_relation(Oid relid, LOCKMODE mode)
{
	return lock_relation(relid, mode, false);
}

/* Give back one of these, nothing having been done under it. */
void
pgqueue_unlock_relation(Oid relid, LOCKMODE mode)
{
	pgqueue_unlock(pgqueue_tag_of_relation(relid), mode);
}

/*
 * Wait for no lock longer than a moment, to the end of the transaction or, in
 * a nest of settings, of that: for a caller that holds locks that others need.  A
 * limit of the user's stays.  Errors, then, of a wait: 55P03.
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

/* Sleep between two attempts to acquire a lock. */
void
pgqueue_lock_pause(void)
{
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					 LOCK_PAUSE, PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
}

/* Lock a segment with its TOAST table, if that can be had at once. */
bool
pgqueue_try_lock_segment(Oid relid, LOCKMODE mode)
{
	Oid			toast;

	if (!pgqueue_try_lock_relation(relid, mode))
		return false;
	toast = pgqueue_toast_of(relid);
	if (OidIsValid(toast) ? pgqueue_try_lock_relation(toast, mode) :
		SearchSysCacheExists1(RELOID, ObjectIdGetDatum(relid)))
		return true;
	pgqueue_unlock_relation(relid, mode);
	return false;
}

/* Give both back, nothing having been done. */
void
pgqueue_unlock_segment(Oid relid, LOCKMODE mode)
{
	Oid			toast = pgqueue_toast_of(relid);

	if (OidIsValid(toast))
		pgqueue_unlock_relation(toast, mode);
	pgqueue_unlock_relation(relid, mode);
}

/* Return true if another transaction holds a conflicting lock now. */
bool
pgqueue_lock_is_held(LOCKTAG tag, LOCKMODE mode)
{
	int			holders;

	pfree(GetLockConflicts(&tag, mode, &holders));
	return holders > 0;
}

/* Milliseconds to wait for the extension's own workers. */
#define WORKER_PATIENCE 5000

/*
 * Return how many milliseconds it is worth trying to lock a table.  A lock_timeout
 * of the user's limits it; ours (pgqueue_wait_shortly) does not.
 */
static int
patience_with(Oid relid, LOCKMODE mode, int patience)
{
	LockHolder	holder;

	if (patience < 0)
		return 0;
	if (!pgqueue_find_relation_holder(relid, mode, &holder))
		patience = Max(patience, PGQUEUE_LOCK_PATIENCE);
	else if (holder.ends_soon)
		patience = Max(patience, WORKER_PATIENCE);
	if (LockTimeout > 0 && LockTimeout != PGQUEUE_LOCK_PATIENCE)
		patience = Min(patience, LockTimeout);
	return patience;
}

static bool
try_for_a_while(bool (*try) (Oid relid, LOCKMODE mode), Oid relid,
				LOCKMODE mode, int patience)
{
	TimestampTz begin = GetCurrentTimestamp();

	while (!try(relid, mode))
	{
		if (TimestampDifferenceExceeds(begin, GetCurrentTimestamp(),
									   patience_with(relid, mode, patience)))
			return false;
		pgqueue_lock_pause();
	}
	return true;
}

/*
 * Lock a table to the end of the transaction if that can be had within so many
 * milliseconds, 0: at once; later, if only the extension's own workers or
 * autovacuum are in the way; -1: at once in any case.  The lock is tried again and
 * again: no other session waits behind this one, and no deadlock can come of it.
 */
bool
pgqueue_lock_relation_soon(Oid relid, LOCKMODE mode, int patience)
{
	return try_for_a_while(pgqueue_try_lock_relation, relid, mode, patience);
}

/* Lock a segment with its TOAST table in the same way. */
bool
pgqueue_lock_segment_soon(Oid relid, LOCKMODE mode, int patience)
{
	return try_for_a_while(pgqueue_try_lock_segment, relid, mode, patience);
}

/*
 * Return the bytes on disk of a segment with TOAST and indexes, or 0 if it is gone:
 * what pg_total_relation_size() tells, which may wait for locks.
 * Errors: those of pgqueue_lock_to_look().
 */
int64
pgqueue_total_bytes(Oid relid)
{
	Relation	rel = pgqueue_open_to_look(relid);
	int64		bytes = 0;
	ListCell   *lc;

	if (rel == NULL)
		return 0;
	for (ForkNumber fork = MAIN_FORKNUM;
		 fork <= MAX_FORKNUM && RELKIND_HAS_STORAGE(rel->rd_rel->relkind); fork++)
		if (smgrexists(RelationGetSmgr(rel), fork))
			bytes += (int64) smgrnblocks(RelationGetSmgr(rel), fork) * BLCKSZ;
	if (rel->rd_rel->relhasindex)
		foreach(lc, RelationGetIndexList(rel))
			bytes += pgqueue_total_bytes(lfirst_oid(lc));
	if (OidIsValid(rel->rd_rel->reltoastrelid))
		bytes += pgqueue_total_bytes(rel->rd_rel->reltoastrelid);
	relation_close(rel, AccessShareLock);
	return bytes;
}
