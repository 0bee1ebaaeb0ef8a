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
#include "catalog/pg_authid.h"
#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "storage/sinvaladt.h"
#include "utils/backend_status.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/resowner.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

/* Lock to the end of the transaction.	False: not to be had without waiting. */
bool
pgqueue_lock(const LOCKTAG *tag, LOCKMODE mode, bool wait)
{
	ResourceOwner save = CurrentResourceOwner;
	LockAcquireResult result;

	/* other sessions must mean the same by the tag */
	if (unlikely(!pgqueue_shared_attached))
		pgqueue_shared_attach();
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

/* Does another transaction hold a conflicting lock, at this moment? */
bool
pgqueue_lock_is_held(const LOCKTAG *tag, LOCKMODE mode)
{
	int			holders;

	pfree(GetLockConflicts(tag, mode, &holders));
	return holders > 0;
}

static bool
is_locked(Oid relid)
{
	LOCKTAG		tag;

	SET_LOCKTAG_RELATION(tag, MyDatabaseId, relid);
	return pgqueue_lock_is_held(&tag, AccessExclusiveLock);
}

/* Has another transaction the segment or its TOAST table locked, at all? */
bool
pgqueue_segment_in_use(Oid relid)
{
	Oid			toast;

	return is_locked(relid) ||
		(toast_of(relid, &toast) && OidIsValid(toast) && is_locked(toast));
}

/* ---------------- holders of a lock ---------------- */

/* A transaction that has a lock that ours conflicts with. */
typedef struct Holder
{
	int			pid;			/* 0: a prepared transaction */
	Oid			role;
	bool		ends_soon;		/* as maintenance and autovacuum do */
} Holder;

/* Is the process one of the extension's own workers? */
static bool
is_own_worker(int pid)
{
	const char *type = GetBackgroundWorkerTypeByPid(pid);

	return type != NULL &&
		(strcmp(type, PGQUEUE_SEGMENT_WORKER) == 0 ||
		 strcmp(type, PGQUEUE_MAINTENANCE_WORKER) == 0 ||
		 strcmp(type, PGQUEUE_TOPIC_WORKER) == 0);
}

/* Fill in what is known of a holder.  Return false if it has just ended. */
static bool
describe_holder(VirtualTransactionId vxid, Holder *holder)
{
	PGPROC	   *proc = pgqueue_proc_of(vxid);

	memset(holder, 0, sizeof(Holder));
	if (proc == NULL)
		return VirtualTransactionIdIsRecoveredPreparedXact(vxid);
	/* the backend goes on after PREPARE TRANSACTION; the lock stays */
	if (pgqueue_proc_lxid(proc) != vxid.localTransactionId)
		return true;
	holder->pid = proc->pid;
	holder->role = proc->roleId;
	holder->ends_soon = (proc->statusFlags & PROC_IS_AUTOVACUUM) != 0 ||
		is_own_worker(proc->pid);
	return true;
}

/*
 * Find a transaction that holds a conflicting lock, preferably one that does not
 * end by itself soon.	Return false if there is none any more.
 */
static bool
find_holder(const LOCKTAG *tag, LOCKMODE mode, Holder *holder)
{
	int			n;
	VirtualTransactionId *vxids = GetLockConflicts(tag, mode, &n);
	bool		found = false;

	for (int i = 0; i < n && !(found && !holder->ends_soon); i++)
	{
		Holder		other;

		if (describe_holder(vxids[i], &other))
		{
			*holder = other;
			found = true;
		}
	}
	pfree(vxids);
	return found;
}

/* The same for a table and, if with_toast, its TOAST table. */
static bool
find_relation_holder(Oid relid, bool with_toast, LOCKMODE mode, Holder *holder)
{
	LOCKTAG		tag;
	Oid			toast;

	SET_LOCKTAG_RELATION(tag, MyDatabaseId, relid);
	if (find_holder(&tag, mode, holder))
		return true;
	if (!with_toast || !toast_of(relid, &toast) || !OidIsValid(toast))
		return false;
	SET_LOCKTAG_RELATION(tag, MyDatabaseId, toast);
	return find_holder(&tag, mode, holder);
}

/*
 * The name of the application that a backend runs, if the user may know it;
 * else NULL.
 */
static const char *
application_of(const Holder *holder)
{
	int			n;

	if (!has_privs_of_role(GetUserId(), holder->role) &&
		!has_privs_of_role(GetUserId(), ROLE_PG_READ_ALL_STATS))
		return NULL;
	pgstat_clear_backend_activity_snapshot();
	n = pgstat_fetch_stat_numbackends();
	for (int i = 1; i <= n; i++)
	{
		PgBackendStatus *status = pgqueue_activity(i);

		if (status->st_procpid == holder->pid)
			return status->st_appname != NULL && status->st_appname[0] != '\0' ?
				status->st_appname : NULL;
	}
	return NULL;
}

/* Use within ereport(): tell which transaction holds the lock. */
static int
errdetail_holder(bool found, const Holder *holder)
{
	const char *type;
	const char *application;
	const char *role;

	if (!found)
		return errdetail("The transaction that held it has just ended.");
	if (holder->pid == 0)
		return errdetail("A prepared transaction holds it.");
	type = GetBackgroundWorkerTypeByPid(holder->pid);
	if (type != NULL)
		return errdetail("Process %d, a \"%s\", holds it.", holder->pid, type);
	if (holder->ends_soon)
		return errdetail("Process %d, an autovacuum worker, holds it.",
						 holder->pid);
	role = GetUserNameFromId(holder->role, true);
	application = application_of(holder);
	if (application != NULL)
		return errdetail("Process %d of role \"%s\", application \"%s\", holds it.",
						 holder->pid, role != NULL ? role : "", application);
	return errdetail("Process %d of role \"%s\" holds it.", holder->pid,
					 role != NULL ? role : "");
}

/* Use within ereport(), for a lock that could not be obtained. */
int
pgqueue_errdetail_lock_holder(const LOCKTAG *tag, LOCKMODE mode)
{
	Holder		holder;
	bool		found = find_holder(tag, mode, &holder);

	return errdetail_holder(found, &holder);
}

/* The same, of a table with its TOAST table. */
int
pgqueue_errdetail_relation_holder(Oid relid, LOCKMODE mode)
{
	Holder		holder;
	bool		found = find_relation_holder(relid, true, mode, &holder);

	return errdetail_holder(found, &holder);
}

/* ---------------- trying for a while ---------------- */

/* Milliseconds to wait for the extension's own workers. */
#define WORKER_PATIENCE 5000

/*
 * Return how many milliseconds it is worth trying to lock a table: the caller's
 * patience or, if only workers that end soon are in the way, more.  A lock_timeout
 * of the user's limits it; ours (pgqueue_wait_shortly) does not.
 */
static int
patience_with(Oid relid, bool with_toast, LOCKMODE mode, int patience)
{
	Holder		holder;

	if (patience < 0)
		return 0;
	if (!find_relation_holder(relid, with_toast, mode, &holder))
		patience = Max(patience, PGQUEUE_LOCK_PATIENCE);
	else if (holder.ends_soon)
		patience = Max(patience, WORKER_PATIENCE);
	if (LockTimeout > 0 && LockTimeout != PGQUEUE_LOCK_PATIENCE)
		patience = Min(patience, LockTimeout);
	return patience;
}

static bool
try_for_a_while(bool (*try) (Oid relid, LOCKMODE mode), Oid relid,
				bool with_toast, LOCKMODE mode, int patience)
{
	TimestampTz begin = GetCurrentTimestamp();

	while (!try(relid, mode))
	{
		if (TimestampDifferenceExceeds(begin, GetCurrentTimestamp(),
									   patience_with(relid, with_toast, mode,
													 patience)))
			return false;
		pgqueue_lock_pause();
	}
	return true;
}

/*
 * Lock a table to the end of the transaction if that can be had within so many
 * milliseconds, 0: at once; later, if only the extension's own workers or
 * autovacuum are in the way: they end soon; -1: at once in any case.  The lock is tried again and again:
 * no other session waits behind this one, and no deadlock can come of it.
 */
bool
pgqueue_lock_relation_soon(Oid relid, LOCKMODE mode, int patience)
{
	return try_for_a_while(pgqueue_try_lock_relation, relid, false, mode,
						   patience);
}

/* The same of a segment with its TOAST table. */
bool
pgqueue_lock_segment_soon(Oid relid, LOCKMODE mode, int patience)
{
	return try_for_a_while(pgqueue_try_lock_segment, relid, true, mode,
						   patience);
}
