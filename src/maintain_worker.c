/*-------------------------------------------------------------------------
 *
 * maintain_worker.c
 *	  Maintenance by itself: a background worker for each database, started by
 *	  queue.start_maintenance(), or, if the library is preloaded, by a launcher.
 *
 * The worker does a pass (maintain.c) each queue.maintenance_interval.  It is
 * dynamic: no preload is needed, but then it is gone with the server.	After a
 * crash of the server's processes it is started again.	 It ends when it is told
 * to, and when the extension is gone.
 *
 * One per database: a worker holds a lock of its own as long as it lives; a
 * second one finds it held and ends.  Starting and stopping exclude each other
 * by a second lock, which is held until the worker has its own, or has ended: so a
 * worker that is on its way is not missed.
 *
 *-------------------------------------------------------------------------
 */
#include "queue.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/autovacuum.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(pgqueue_start_maintenance);
PG_FUNCTION_INFO_V1(pgqueue_stop_maintenance);

PGDLLEXPORT void pgqueue_maintenance_main(Datum arg);
PGDLLEXPORT void pgqueue_launcher_main(Datum arg);

/* Seconds after which a worker that died is started again. */
#define RESTART_SECONDS		10
/* The launcher looks for new databases so often, in milliseconds. */
#define LAUNCHER_INTERVAL	60000

/* queue.maintenance_interval, in seconds */
static int	maintenance_interval = 60;

/* ---------------- the lock of a database's worker ---------------- */

static void
worker_tag(LOCKTAG *tag, Oid database)
{
	SET_LOCKTAG_ADVISORY(*tag, database, 0, 0, PGQUEUE_LOCK_WORKER);
}

/*
 * The process of a database's worker, or 0.  Between its passes it is in no
 * transaction, so GetLockConflicts() would not tell.
 */
static int
worker_pid(Oid database)
{
	LockData   *locks = GetLockStatusData();
	LOCKTAG		tag;
	int			pid = 0;

	worker_tag(&tag, database);
	for (int i = 0; i < locks->nelements && pid == 0; i++)
		if (memcmp(&locks->locks[i].locktag, &tag, sizeof(LOCKTAG)) == 0 &&
			(locks->locks[i].holdMask & LOCKBIT_ON(ExclusiveLock)))
			pid = locks->locks[i].pid;
	pfree(locks->locks);
	pfree(locks);
	return pid;
}

/* Held by a transaction that starts or stops a database's worker. */
static bool
lock_starter(Oid database, bool wait)
{
	LOCKTAG		tag;

	SET_LOCKTAG_ADVISORY(tag, database, 0, 0, PGQUEUE_LOCK_STARTER);
	return pgqueue_lock(&tag, ExclusiveLock, wait);
}

static void
unlock_starter(Oid database)
{
	LOCKTAG		tag;

	SET_LOCKTAG_ADVISORY(tag, database, 0, 0, PGQUEUE_LOCK_STARTER);
	pgqueue_unlock(&tag, ExclusiveLock);
}

/* ---------------- starting and stopping ---------------- */

/* restart: in seconds, after it has died. */
static bool
register_worker(Oid database, int restart, BackgroundWorkerHandle **handle)
{
	BackgroundWorker worker = {0};

	worker.bgw_flags = BGWORKER_SHMEM_ACCESS |
		BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = restart;
	strlcpy(worker.bgw_library_name, "queue", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "pgqueue_maintenance_main",
			sizeof(worker.bgw_function_name));
	strlcpy(worker.bgw_name, PGQUEUE_MAINTENANCE_WORKER, BGW_MAXLEN);
	strlcpy(worker.bgw_type, PGQUEUE_MAINTENANCE_WORKER, BGW_MAXLEN);
	worker.bgw_main_arg = ObjectIdGetDatum(database);
	worker.bgw_notify_pid = MyProcPid;
	return RegisterDynamicBackgroundWorker(&worker, handle);
}

/*
 * Wait until a worker that was registered is ready.	Return its process, or that
 * of another worker that was faster; 0 if it has ended.
 */
static int
wait_for_start(Oid database, BackgroundWorkerHandle *handle)
{
	for (;;)
	{
		pid_t		pid;
		BgwHandleStatus status = GetBackgroundWorkerPid(handle, &pid);
		int			running = worker_pid(database);

		if (running != 0 || status == BGWH_STOPPED)
			return running;
		pgqueue_lock_pause();
	}
}

/*
 * Start a worker and wait until it is ready.	Return its process, or 0.  One that
 * does not get ready is given up, else it might come later.
 *
 * Locks: lock_starter().
 * Errors: 53400 if the server has no room for it.
 */
static int
start_worker(Oid database, int restart)
{
	BackgroundWorkerHandle *handle;
	volatile int pid = 0;

	if (!register_worker(database, restart, &handle))
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

	pgqueue_check_writable("queue.start_maintenance()");
	check_may_run_worker();
	(void) lock_starter(MyDatabaseId, true);
	pid = worker_pid(MyDatabaseId);
	if (pid == 0)
		pid = start_worker(MyDatabaseId, RESTART_SECONDS);
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
	(void) lock_starter(MyDatabaseId, true);
	pid = worker_pid(MyDatabaseId);
	if (pid != 0 && kill(pid, SIGTERM) != 0)
		ereport(WARNING,
				(errmsg("could not send signal to process %d: %m", pid)));
	while (pid != 0 && worker_pid(MyDatabaseId) == pid)
		pgqueue_lock_pause();
	unlock_starter(MyDatabaseId);
	PG_RETURN_BOOL(pid != 0);
}

/* ---------------- the worker ---------------- */

/* Begin a transaction that pg_stat_activity shows with its own time. */
static void
begin_transaction(void)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
}

static void
begin_in_worker(void)
{
	begin_transaction();
	PushActiveSnapshot(GetTransactionSnapshot());
}

static void
end_in_worker(void)
{
	if (ActiveSnapshotSet())
		PopActiveSnapshot();
	CommitTransactionCommand();
}

const StepEnds pgqueue_worker_steps = {begin_in_worker, end_in_worker};

/* Names of the topics, in the given context; *there: is the extension? */
static List *
topics_now(MemoryContext context, bool *there)
{
	List	   *names = NIL;

	begin_in_worker();
	*there = OidIsValid(get_extension_oid("queue", true));
	if (*there)
	{
		ListCell   *lc;

		foreach(lc, pgqueue_topic_names())
		{
			MemoryContext old = MemoryContextSwitchTo(context);

			names = lappend(names, pstrdup(lfirst(lc)));
			MemoryContextSwitchTo(old);
		}
	}
	end_in_worker();
	return names;
}

/* Do something that may fail: that is logged, and left to the next pass. */
static void
report_failure(MemoryContext context)
{
	MemoryContextSwitchTo(context);
	HOLD_INTERRUPTS();
	if (!ShutdownRequestPending)
		EmitErrorReport();
	AbortCurrentTransaction();
	FlushErrorState();
	RESUME_INTERRUPTS();
	MemoryContextSwitchTo(context);
}

static void
maintain_safely(const char *name, MaintainPart part)
{
	MemoryContext context = CurrentMemoryContext;

	PG_TRY();
	{
		pgqueue_maintain_topic(name, part, &pgqueue_worker_steps);
	}
	PG_CATCH();
	{
		report_failure(context);
	}
	PG_END_TRY();
}

static List *
topics_safely(MemoryContext context, bool *there)
{
	List	   *names = NIL;

	*there = true;
	PG_TRY();
	{
		names = topics_now(context, there);
	}
	PG_CATCH();
	{
		report_failure(context);
	}
	PG_END_TRY();
	return names;
}

/*
 * VACUUM's brakes are autovacuum's, as far as those are set: what freezes or
 * compacts uses them.
 */
static void
take_costs(void)
{
	if (autovacuum_vac_cost_delay >= 0)
		SetConfigOption("vacuum_cost_delay",
						psprintf("%g", autovacuum_vac_cost_delay),
						PGC_USERSET, PGC_S_OVERRIDE);
	if (autovacuum_vac_cost_limit > 0)
		SetConfigOption("vacuum_cost_limit",
						psprintf("%d", autovacuum_vac_cost_limit),
						PGC_USERSET, PGC_S_OVERRIDE);
}

/* False if the extension is gone. */
static bool
pass(MemoryContext context)
{
	bool		there;
	List	   *names;
	ListCell   *lc;

	MemoryContextReset(context);
	MemoryContextSwitchTo(context);
	take_costs();
	pgstat_report_activity(STATE_RUNNING, "queue maintenance");
	names = topics_safely(context, &there);
	for (MaintainPart part = MAINTAIN_SPACE; part <= MAINTAIN_REST; part++)
		foreach(lc, names)
		{
			if (ShutdownRequestPending)
				break;
			MemoryContextSwitchTo(context);
			maintain_safely(lfirst(lc), part);
		}
	pgstat_report_stat(true);
	pgstat_report_activity(STATE_IDLE, NULL);
	return there;
}

/*
 * Told to end: whatever is under way is canceled, and the process ends well, so
 * that it is not started again.
 */
static void
end_soon(SIGNAL_ARGS)
{
	int			save_errno = errno;

	ShutdownRequestPending = true;
	InterruptPending = true;
	QueryCancelPending = true;
	SetLatch(MyLatch);
	errno = save_errno;
}

static void
set_up_signals(void)
{
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, end_soon);
	BackgroundWorkerUnblockSignals();
}

/*
 * Sleep so long, or until told to end, or that the configuration has changed.  The
 * latch is set for other reasons, too.
 */
static void
nap(long ms)
{
	TimestampTz until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), ms);

	while (!ShutdownRequestPending && !ConfigReloadPending &&
		   (ms = TimestampDifferenceMilliseconds(GetCurrentTimestamp(),
												 until)) > 0)
	{
		(void) WaitLatch(MyLatch,
						 WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 ms, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		if (!ShutdownRequestPending)
			CHECK_FOR_INTERRUPTS();
	}
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
	}
}

/* Settings of a process that does maintenance. */
void
pgqueue_maintenance_settings(void)
{
	SetConfigOption("application_name", "queue maintenance", PGC_USERSET,
					PGC_S_OVERRIDE);
	SetConfigOption("default_transaction_read_only", "off", PGC_USERSET,
					PGC_S_OVERRIDE);
	SetConfigOption("default_transaction_isolation", "read committed",
					PGC_USERSET, PGC_S_OVERRIDE);
	SetConfigOption("lock_timeout", psprintf("%d", PGQUEUE_LOCK_PATIENCE),
					PGC_SUSET, PGC_S_OVERRIDE);
}

void
pgqueue_maintenance_main(Datum arg)
{
	MemoryContext context;
	LOCKTAG		tag;

	set_up_signals();
	BackgroundWorkerInitializeConnectionByOid(DatumGetObjectId(arg), InvalidOid,
											  BGWORKER_BYPASS_ALLOWCONN);
	pgqueue_shared_attach();
	/*
	 * One per database; held until the process ends.  Told to end here, it must do
	 * so well, not by an error: else it would be started again.
	 */
	HOLD_INTERRUPTS();
	begin_transaction();
	worker_tag(&tag, MyDatabaseId);
	if (LockAcquire(&tag, ExclusiveLock, true, true) == LOCKACQUIRE_NOT_AVAIL)
		proc_exit(0);
	CommitTransactionCommand();
	RESUME_INTERRUPTS();
	pgqueue_maintenance_settings();
	pgqueue_set_code_rule(CODE_ELSEWHERE);
	context = AllocSetContextCreate(TopMemoryContext, "queue maintenance",
									ALLOCSET_DEFAULT_SIZES);
	while (!ShutdownRequestPending && pass(context))
		nap(maintenance_interval * 1000L);
	proc_exit(0);
}

/* ---------------- the launcher ---------------- */

/* The databases that one can connect to. */
static List *
databases(MemoryContext context)
{
	List	   *oids = NIL;
	Relation	rel;
	TableScanDesc scan;
	HeapTuple	tuple;

	begin_transaction();
	(void) GetTransactionSnapshot();
	rel = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(rel, 0, NULL);
	while (HeapTupleIsValid(tuple = heap_getnext(scan, ForwardScanDirection)))
	{
		Form_pg_database form = (Form_pg_database) GETSTRUCT(tuple);
		MemoryContext old = MemoryContextSwitchTo(context);

		/* -2: DROP DATABASE was interrupted */
		if (form->datallowconn && !form->datistemplate &&
			form->datconnlimit >= -1)
			oids = lappend_oid(oids, form->oid);
		MemoryContextSwitchTo(old);
	}
	table_endscan(scan);
	table_close(rel, AccessShareLock);
	CommitTransactionCommand();
	return oids;
}

/* Start a worker in a database that has none, unless a session is doing that. */
static void
launch(Oid database, MemoryContext context)
{
	begin_transaction();
	PG_TRY();
	{
		if (lock_starter(database, false) && worker_pid(database) == 0)
			(void) start_worker(database, BGW_NEVER_RESTART);
		CommitTransactionCommand();
	}
	PG_CATCH();
	{
		report_failure(context);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
}

/*
 * Start a worker in each database that has none; it looks for the extension.
 *
 * One that dies is started again by us, not by the postmaster: one that cannot
 * even connect, since the database is gone or broken, would keep its slot for
 * ever, and get a second one each time.
 */
void
pgqueue_launcher_main(Datum arg)
{
	MemoryContext context;

	set_up_signals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	context = AllocSetContextCreate(TopMemoryContext, "queue launcher",
									ALLOCSET_DEFAULT_SIZES);
	while (!ShutdownRequestPending)
	{
		ListCell   *lc;

		MemoryContextReset(context);
		foreach(lc, databases(context))
		{
			if (!ShutdownRequestPending)
				launch(lfirst_oid(lc), context);
		}
		nap(LAUNCHER_INTERVAL);
	}
	/* unless the server ends, it is started again */
	proc_exit(1);
}

void
pgqueue_maintain_worker_init(void)
{
	BackgroundWorker launcher = {0};

	DefineCustomIntVariable("queue.maintenance_interval",
							"Sets how often the maintenance worker does a pass.",
							NULL,
							&maintenance_interval,
							60, 1, 86400,
							PGC_SIGHUP,
							GUC_UNIT_S,
							NULL, NULL, NULL);
	if (!process_shared_preload_libraries_in_progress || IsBinaryUpgrade)
		return;
	launcher.bgw_flags = BGWORKER_SHMEM_ACCESS |
		BGWORKER_BACKEND_DATABASE_CONNECTION;
	launcher.bgw_start_time = BgWorkerStart_RecoveryFinished;
	launcher.bgw_restart_time = RESTART_SECONDS;
	strlcpy(launcher.bgw_library_name, "queue",
			sizeof(launcher.bgw_library_name));
	strlcpy(launcher.bgw_function_name, "pgqueue_launcher_main",
			sizeof(launcher.bgw_function_name));
	snprintf(launcher.bgw_name, BGW_MAXLEN, "queue launcher");
	snprintf(launcher.bgw_type, BGW_MAXLEN, "queue launcher");
	RegisterBackgroundWorker(&launcher);
}
