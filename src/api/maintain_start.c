/*-------------------------------------------------------------------------
 *
 * maintain_start.c
 *	  queue.start_maintenance() and queue.stop_maintenance(): the
 *	  maintenance worker of a database, one at a time.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "postmaster/bgworker.h"

#include "base/base.h"
#include "base/lock.h"
#include "api/maintain.h"

PG_FUNCTION_INFO_V1(pgqueue_start_maintenance);
PG_FUNCTION_INFO_V1(pgqueue_stop_maintenance);

/* ---------------- the lock of a database's worker ---------------- */

/*
 * Return the process of a database's worker, or 0.  Between its passes the worker is
 * in no transaction, so GetLockConflicts() would not find it.
 */
int
pgqueue_worker_pid(Oid database)
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

/* Take the lock under which a database's worker is started or stopped. */
bool
pgqueue_lock_starter(Oid database, bool wait)
{
	return pgqueue_lock(pgqueue_tag_of_database(PGQUEUE_LOCK_STARTER, database),
						ExclusiveLock, wait);
}

static void
unlock_starter(Oid database)
{
	pgqueue_unlock(pgqueue_tag_of_database(PGQUEUE_LOCK_STARTER, database),
				   ExclusiveLock);
}

/* ---------------- starting and stopping ---------------- */

/*
 * Wait until a registered worker is ready.  Return its process, or that of another
 * worker that was faster, or 0 if it has ended.
 */
static int
wait_for_start(Oid database, BackgroundWorkerHandle *handle)
{
	for (;;)
	{
		pid_t		pid;
		BgwHandleStatus status = GetBackgroundWorkerPid(handle, &pid);
		int			running = pgqueue_worker_pid(database);

		if (running != 0 || status == BGWH_STOPPED)
			return running;
		pgqueue_lock_pause();
	}
}

/*
 * Start a worker and wait until it is ready.  Return its process, or 0 if it does not
 * get ready; it is then ended, since it might start later.  restart: seconds after
 * its death, or BGW_NEVER_RESTART.
 *
 * Locks: the caller holds pgqueue_lock_starter().
 * Errors: 53400 if the server has no room for it.
 */
int
pgqueue_start_worker(Oid database, int restart)
{
	BackgroundWorker worker;
	BackgroundWorkerHandle *handle;
	volatile int pid = 0;

	pgqueue_worker_init(&worker, PGQUEUE_MAINTENANCE_WORKER,
						"pgqueue_maintenance_main", NULL);
	worker.bgw_restart_time = restart;
	worker.bgw_main_arg = ObjectIdGetDatum(database);
	worker.bgw_notify_pid = MyProcPid;
	if (!RegisterDynamicBackgroundWorker(&worker, &handle))
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("no background worker is available"),
				 errhint("Raise max_worker_processes.")));
	PG_TRY();
	{
		pid = wait_for_start(database, handle);
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

/* Errors: 42501. */
static void
check_may_run_worker(void)
{
	if (!superuser() && GetUserId() != pgqueue_extension_owner())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be superuser or owner of schema \"%s\" to start or stop maintenance",
						PGQUEUE_SCHEMA)));
}

/* () -> process of the worker */
Datum
pgqueue_start_maintenance(PG_FUNCTION_ARGS)
{
	int			pid;

	pgqueue_check_writable(fcinfo);
	check_may_run_worker();
	(void) pgqueue_lock_starter(MyDatabaseId, true);
	pid = pgqueue_worker_pid(MyDatabaseId);
	if (pid == 0)
		pid = pgqueue_start_worker(MyDatabaseId, RESTART_SECONDS);
	if (pid == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
				 errmsg("the maintenance worker did not start"),
				 errhint("The server's log may tell why.")));
	unlock_starter(MyDatabaseId);
	PG_RETURN_INT32(pid);
}

/* () -> was there one? */
Datum
pgqueue_stop_maintenance(PG_FUNCTION_ARGS)
{
	int			pid;

	check_may_run_worker();
	(void) pgqueue_lock_starter(MyDatabaseId, true);
	pid = pgqueue_worker_pid(MyDatabaseId);
	if (pid != 0 && kill(pid, SIGTERM) != 0)
		ereport(WARNING,
				(errmsg("could not send signal to process %d: %m", pid)));
	while (pid != 0 && pgqueue_worker_pid(MyDatabaseId) == pid)
		pgqueue_lock_pause();
	unlock_starter(MyDatabaseId);
	PG_RETURN_BOOL(pid != 0);
}
