/*-------------------------------------------------------------------------
 *
 * maintain_worker.c
 *	  The maintenance worker: a background worker for each database, started by
 *	  queue.start_maintenance() or, if the library is preloaded, by a launcher.
 *
 * The worker does a pass (maintain.c) each queue.maintenance_interval.  It is
 * dynamic: it needs no preload, but does not come back when the server is
 * restarted.  After a crash of the server's processes it is started again.  It ends
 * on SIGTERM, and when the extension is dropped.
 *
 * A database has one worker: it holds a lock as long as it lives, and a second
 * worker that finds the lock held ends (README, section 16).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "commands/extension.h"
#include "pgstat.h"
#include "postmaster/autovacuum.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/memutils.h"

#include "base/base.h"
#include "base/lock.h"
#include "topic/topic.h"
#include "api/maintain.h"

PGDLLEXPORT void pgqueue_maintenance_main(Datum arg);

/* queue.maintenance_interval, in seconds */
int	pgqueue_maintenance_interval = 60;

/*
 * After an error: log it, unless the process is to end, and abort the transaction.
 * What failed is left to the next pass.
 */
void
pgqueue_report_failure(MemoryContext context)
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
		pgqueue_maintain_topic(name, part);
	}
	PG_CATCH();
	{
		pgqueue_report_failure(context);
	}
	PG_END_TRY();
}

/*
 * Return the names of the topics, in the given context.  *there: the database has the
 * extension, as far as it is known.
 */
static List *
topics_safely(MemoryContext context, bool *there)
{
	List	   *volatile names = NIL;

	*there = true;
	PG_TRY();
	{
		pgqueue_step_begin();
		MemoryContextSwitchTo(context);
		*there = OidIsValid(get_extension_oid("queue", true));
		if (*there)
			names = pgqueue_topic_names();
		pgqueue_step_end();
	}
	PG_CATCH();
	{
		pgqueue_report_failure(context);
	}
	PG_END_TRY();
	return names;
}

/*
 * Set VACUUM's cost limits, which compaction observes, to autovacuum's, as far as
 * those are set.
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

/* Do a pass over all topics.  Return false if the extension is gone. */
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
			maintain_safely(lfirst(lc), part);
		}
	pgstat_report_stat(true);
	pgstat_report_activity(STATE_IDLE, NULL);
	return there;
}

/*
 * Handle SIGTERM: cancel the current step, and end with success, so that the
 * postmaster does not start the worker again.
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

void
pgqueue_set_up_signals(void)
{
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, end_soon);
	BackgroundWorkerUnblockSignals();
}

/*
 * Sleep so long, or until SIGTERM or SIGHUP.  The latch is set for other reasons,
 * too.
 */
void
pgqueue_nap(long ms)
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

void
pgqueue_maintenance_main(Datum arg)
{
	MemoryContext context;
	LOCKTAG		tag;

	pgqueue_set_up_signals();
	BackgroundWorkerInitializeConnectionByOid(DatumGetObjectId(arg), InvalidOid,
											  BGWORKER_BYPASS_ALLOWCONN);
	pgqueue_shared_attach();
	/*
	 * Take the database's worker lock until the process ends.  A SIGTERM here must
	 * not raise an error: then the postmaster would start the worker again.
	 */
	HOLD_INTERRUPTS();
	pgqueue_begin_transaction();
	tag = pgqueue_tag_of_database(PGQUEUE_LOCK_WORKER, MyDatabaseId);
	if (LockAcquire(&tag, ExclusiveLock, true, true) == LOCKACQUIRE_NOT_AVAIL)
		proc_exit(0);
	CommitTransactionCommand();
	RESUME_INTERRUPTS();
	pgqueue_maintenance_process();
	pgqueue_set_code_rule(CODE_ELSEWHERE);
	context = AllocSetContextCreate(TopMemoryContext, "queue maintenance",
									ALLOCSET_DEFAULT_SIZES);
	while (!ShutdownRequestPending && pass(context))
		pgqueue_nap(pgqueue_maintenance_interval * 1000L);
	proc_exit(0);
}
