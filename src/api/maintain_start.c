/*-------------------------------------------------------------------------
 *
 * maintain_start.c
 *	  Start and stop the maintenance worker of a database, one at a time: by
 *	  queue.start_maintenance() and queue.stop_maintenance(), or by the launcher.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heapam.h"
#include "catalog/pg_database.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "base/base.h"
#include "base/lock.h"
#include "api/maintain.h"

PG_FUNCTION_INFO_V1(pgqueue_start_maintenance);
PG_FUNCTION_INFO_V1(pgqueue_stop_maintenance);

PGDLLEXPORT void pgqueue_launcher_main(Datum arg);

/* The launcher looks for new databases so often, in milliseconds. */
#define LAUNCHER_INTERVAL	60000

/*
 * Return the process of a database's worker, or 0.  Between its passes the
 * worker is in no transaction, so GetLockConflicts() would not find it.
 */
static int
worker_pid(Oid database)
{
	LockData   *locks = GetLockStatusData();
	LOCKTAG		tag = pgqueue_tag_of_database(PGQUEUE_LOCK_WORKER, database);
	int			pid = 0;

	for (int i = 0; i < locks->nelements && pid == 0; i++)
		if (memcmp(&locks->locks[i].locktag, &tag, sizeof(LOCKTAG)) == 0 &&
			(locks->locks[i].holdMask & LOCKBIT_ON(ExclusiveLock)))
			pid = locks->locks[i].pid;
	pfree(locks->locks);
	pfree(locks);
	return pid;
}

/* Return the tag of the lock for starting or stopping a database's worker. */
static LOCKTAG
starter_tag(Oid database)
{
	return pgqueue_tag_of_database(PGQUEUE_LOCK_STARTER, database);
}

/*
 * Start a worker and wait until it is ready.  Return its process, or 0 if it
 * does not get ready; it is then ended, since it might start later.  restart:
 * seconds after its death, or BGW_NEVER_RESTART.
 *
 * Locks: the caller holds that of starter_tag().
 * Errors: 53400 if the server has no room for it.
 */
static int
start_worker(Oid database, int restart, Oid started_by)
{
	BackgroundWorkerHandle *handle;
	BgwHandleStatus status;
	pid_t		ignored;
	volatile int pid = 0;

	if (!pgqueue_register_maintenance(database, restart,
									  (WorkerStart) {.started_by = started_by}, &handle))
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("no background worker is available"),
				 errhint("Raise max_worker_processes.")));
	PG_TRY();
	{
		/* another worker may have been faster */
		do
		{
			pgqueue_lock_pause();
			status = GetBackgroundWorkerPid(handle, &ignored);
			pid = worker_pid(database);
		} while (pid == 0 && status != BGWH_STOPPED);
	}
	PG_FINALLY();
	{
		if (pid == 0)
			TerminateBackgroundWorker(handle);
	}
	PG_END_TRY();
	pfree(handle);
	return pid;
}

/*
 * Check that the user may run the worker; lock its start.  This session need not
 * look for a persistent one.  Errors: 42501, 25006.
 */
static void
begin_command(FunctionCallInfo fcinfo)
{
	pgqueue_first_use = NULL;
	pgqueue_check_writable(fcinfo);
	if (!pgqueue_may_start_maintenance(GetUserId()))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be superuser or owner of schema \"%s\" to start or stop maintenance",
						PGQUEUE_SCHEMA)));
	(void) pgqueue_lock(starter_tag(MyDatabaseId), ExclusiveLock, true);
}

/* (persistent) -> process of the worker */
Datum
pgqueue_start_maintenance(PG_FUNCTION_ARGS)
{
	bool		persistent = !PG_ARGISNULL(0) && PG_GETARG_BOOL(0);
	int			pid;

	begin_command(fcinfo);
	pid = worker_pid(MyDatabaseId);
	if (pid == 0)
		pid = start_worker(MyDatabaseId, PGQUEUE_RESTART_SECONDS, GetUserId());
	if (pid == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
				 errmsg("the maintenance worker did not start"),
				 errhint("The server's log may tell why.")));
	/* the lock stays with the row */
	if (persistent)
		pgqueue_persistent_store();
	else
		pgqueue_unlock(starter_tag(MyDatabaseId), ExclusiveLock);
	PG_RETURN_INT32(pid);
}

/* () -> was there one? */
Datum
pgqueue_stop_maintenance(PG_FUNCTION_ARGS)
{
	int			pid;

	begin_command(fcinfo);
	pid = worker_pid(MyDatabaseId);
	if (pid != 0 && kill(pid, SIGTERM) != 0)
		ereport(WARNING,
				(errmsg("could not send signal to process %d: %m", pid)));
	while (pid != 0 && worker_pid(MyDatabaseId) == pid)
		pgqueue_lock_pause();
	/* the lock stays with what is deleted */
	if (!pgqueue_persistent_delete())
	{
		/* no session needs to look for a row */
		(void) pgqueue_persistent_begin();
		pgqueue_unlock(starter_tag(MyDatabaseId), ExclusiveLock);
	}
	PG_RETURN_BOOL(pid != 0);
}

/* ---------------- the launcher ---------------- */

/* Return the databases that allow connections, in the given context. */
static List *
databases(MemoryContext context)
{
	List	   *oids = NIL;
	Relation	rel;
	TableScanDesc scan;
	HeapTuple	tuple;

	pgqueue_begin_transaction();
	(void) GetTransactionSnapshot();
	MemoryContextSwitchTo(context);
	rel = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(rel, 0, NULL);
	while (HeapTupleIsValid(tuple = heap_getnext(scan, ForwardScanDirection)))
	{
		Form_pg_database form = (Form_pg_database) GETSTRUCT(tuple);

		/* -2: DROP DATABASE was interrupted */
		if (form->datallowconn && !form->datistemplate &&
			form->datconnlimit >= -1)
			oids = lappend_oid(oids, form->oid);
	}
	table_endscan(scan);
	table_close(rel, AccessShareLock);
	CommitTransactionCommand();
	return oids;
}

/* Start a database's worker, unless it runs or another session starts it. */
static void
launch(Oid database, MemoryContext context)
{
	pgqueue_begin_transaction();
	PG_TRY();
	{
		if (pgqueue_lock(starter_tag(database), ExclusiveLock, false) &&
			worker_pid(database) == 0)
			(void) start_worker(database, BGW_NEVER_RESTART, InvalidOid);
		CommitTransactionCommand();
	}
	PG_CATCH();
	{
		pgqueue_report_failure(context);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
}

/*
 * Start a worker in each database that has none; the worker ends if the
 * database does not have the extension.
 *
 * The launcher, not the postmaster, restarts workers: a worker that cannot
 * connect, since its database is gone or broken, would keep its slot for ever.
 */
void
pgqueue_launcher_main(Datum arg)
{
	MemoryContext context;

	pgqueue_set_up_signals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	context = AllocSetContextCreate(TopMemoryContext, "queue launcher",
									ALLOCSET_DEFAULT_SIZES);
	while (!ShutdownRequestPending)
	{
		ListCell   *lc;

		MemoryContextReset(context);
		foreach(lc, databases(context))
			if (!ShutdownRequestPending)
				launch(lfirst_oid(lc), context);
		pgqueue_nap(LAUNCHER_INTERVAL);
	}
	/* the postmaster starts it again, unless the server ends */
	proc_exit(1);
}

void
pgqueue_maintain_worker_init(void)
{
	BackgroundWorker launcher;

	if (!process_shared_preload_libraries_in_progress || IsBinaryUpgrade)
		return;
	pgqueue_has_launcher = true;
	pgqueue_worker_init(&launcher, "queue launcher", "pgqueue_launcher_main",
						NULL);
	launcher.bgw_restart_time = PGQUEUE_RESTART_SECONDS;
	RegisterBackgroundWorker(&launcher);
}
