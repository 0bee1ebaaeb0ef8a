/*-------------------------------------------------------------------------
 *
 * lock_holder.c
 *	  Find the transaction that holds a conflicting lock, and describe it in an
 *	  error's detail.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_authid.h"
#include "postmaster/bgworker.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "storage/sinvaladt.h"
#include "utils/backend_status.h"
#include "utils/syscache.h"

#include "base/compat.h"
#include "base/base.h"
#include "base/lock.h"

/* Return a relation's owner, as of now; InvalidOid if it is gone. */
Oid
pgqueue_owner_of(Oid relid)
{
	return GetSysCacheOid1(RELOID, Anum_pg_class_relowner,
						   ObjectIdGetDatum(relid));
}

/* Return a segment's TOAST table; InvalidOid if it has none, or is gone. */
Oid
pgqueue_toast_of(Oid relid)
{
	return GetSysCacheOid1(RELOID, Anum_pg_class_reltoastrelid,
						   ObjectIdGetDatum(relid));
}

/* Return true if the process is one of the extension's workers. */
static bool
is_own_worker(int pid)
{
	const char *type = GetBackgroundWorkerTypeByPid(pid);

	return type != NULL &&
		(strcmp(type, PGQUEUE_SEGMENT_WORKER) == 0 ||
		 strcmp(type, PGQUEUE_MAINTENANCE_WORKER) == 0 ||
		 strcmp(type, PGQUEUE_TOPIC_WORKER) == 0 ||
		 strcmp(type, PGQUEUE_BUCKET_WORKER) == 0);
}

/* Fill in what is known of a holder.  Return false if it has just ended. */
static bool
describe_holder(VirtualTransactionId vxid, LockHolder *holder)
{
	PGPROC	   *proc = pgqueue_proc_of(vxid);

	memset(holder, 0, sizeof(LockHolder));
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
 * Find a transaction that holds a conflicting lock, preferably not one that ends
 * soon by itself.  Return false if there is none any more.
 */
static bool
find_holder(LOCKTAG tag, LOCKMODE mode, LockHolder *holder)
{
	int			n;
	VirtualTransactionId *vxids = GetLockConflicts(&tag, mode, &n);
	bool		found = false;

	for (int i = 0; i < n && !(found && !holder->ends_soon); i++)
	{
		LockHolder	other;

		if (!describe_holder(vxids[i], &other))
			continue;
		*holder = other;
		found = true;
	}
	pfree(vxids);
	return found;
}

/* Find the holder of a lock on a table or its TOAST table. */
bool
pgqueue_find_relation_holder(Oid relid, LOCKMODE mode, LockHolder *holder)
{
	Oid			toast;

	if (find_holder(pgqueue_tag_of_relation(relid), mode, holder))
		return true;
	toast = pgqueue_toast_of(relid);
	return OidIsValid(toast) &&
		find_holder(pgqueue_tag_of_relation(toast), mode, holder);
}

/* Return a backend's application_name; NULL if the user may not see it. */
static const char *
application_of(const LockHolder *holder)
{
	int			n;

	if (!has_privs_of_role(GetUserId(), holder->role) &&
		!has_privs_of_role(GetUserId(), ROLE_PG_READ_ALL_STATS))
		return NULL;
	pgstat_clear_backend_activity_snapshot();
	n = pgstat_fetch_stat_numbackends();
	for (int i = 1; i <= n; i++)
	{
		PgBackendStatus *status =
			&pgstat_get_local_beentry_by_index(i)->backendStatus;

		if (status->st_procpid == holder->pid)
			return status->st_appname != NULL && status->st_appname[0] != '\0' ?
				status->st_appname : NULL;
	}
	return NULL;
}

/* Use within ereport(): tell which transaction holds the lock. */
static int
errdetail_holder(bool found, const LockHolder *holder)
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
	if (role == NULL)
		role = "";
	application = application_of(holder);
	if (application != NULL)
		return errdetail("Process %d of role \"%s\", application \"%s\", holds it.",
						 holder->pid, role, application);
	return errdetail("Process %d of role \"%s\" holds it.", holder->pid, role);
}

int
pgqueue_errdetail_lock_holder(LOCKTAG tag, LOCKMODE mode)
{
	LockHolder	holder;

	return errdetail_holder(find_holder(tag, mode, &holder), &holder);
}

/* The same for a lock on a table or its TOAST table. */
int
pgqueue_errdetail_relation_holder(Oid relid, LOCKMODE mode)
{
	LockHolder	holder;

	return errdetail_holder(pgqueue_find_relation_holder(relid, mode, &holder),
							&holder);
}
