/*-------------------------------------------------------------------------
 *
 * maintain.c
 *	  Passes of maintenance over all topics, by queue.maintain() and by the
 *	  maintenance worker.
 *
 * Two passes at once are harmless: a pass skips a step for which the topic's
 * table is locked, and the other pass does it.
 *
 * The worker does a pass each queue.maintenance_interval.  It is dynamic: it
 * needs no preload, but does not come back when the server is restarted.  After
 * a crash of the server's processes it is started again.  It ends on SIGTERM,
 * and when the extension is dropped.
 *
 * A database has one worker: it holds a lock as long as it lives, and a second
 * worker that finds the lock held ends (README, section 16).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "commands/extension.h"
#include "executor/spi.h"
#include "pgstat.h"
#include "postmaster/autovacuum.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "utils/memutils.h"

#include "base/base.h"
#include "base/lock.h"
#include "topic/topic.h"
#include "api/maintain.h"
#include "api/worker.h"

PG_FUNCTION_INFO_V1(pgqueue_maintain);

PGDLLEXPORT void pgqueue_maintenance_main(Datum arg);

/* queue.maintenance_interval, in seconds */
int			pgqueue_maintenance_interval = 60;

static bool
tell_stopped(Topic *topic, int32 partition, void *arg)
{
	pgqueue_maintenance_report(topic, -1, "maintenance stopped", 1, 0);
	return false;
}

/*
 * Do one of the parts of a pass over a topic.  A caller that maintains several
 * topics does the first part for all of them, then the second, and so on: what
 * frees disk space comes before all that needs some.
 */
static void
maintain_topic(const char *name, MaintainPart part)
{
	Oid			log;
	List	   *partitions;

	if (pgqueue_maintenance_begin(name, part == MAINTAIN_REMOVE, &log,
								  &partitions) &&
		pgqueue_maintain_partitions(name, part, partitions) &&
		!pgqueue_maintain_elsewhere(name, log, part))
		pgqueue_run_step(name, -1, tell_stopped, NULL);
	pgqueue_failure_store(part);
}

/* Check that a procedure may commit.  Errors: 2D000. */
void
pgqueue_check_may_commit(FunctionCallInfo fcinfo, const char *hint)
{
	if (fcinfo->context == NULL || !IsA(fcinfo->context, CallContext) ||
		castNode(CallContext, fcinfo->context)->atomic)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TRANSACTION_TERMINATION),
				 errmsg("%s cannot run inside a transaction block or a function",
						pgqueue_called(fcinfo)),
				 errhint("%s", hint)));
}

/*
 * Begin a procedure that commits between its steps; it ends with SPI_finish().
 *
 * Errors: 2D000, 25006.
 */
void
pgqueue_call_begin(FunctionCallInfo fcinfo)
{
	pgqueue_check_may_commit(fcinfo, _("It commits after each step."));
	pgqueue_check_writable(fcinfo);
	if (SPI_connect_ext(SPI_OPT_NONATOMIC) != SPI_OK_CONNECT)
		elog(ERROR, "cannot connect to SPI");
}

/* (topic) */
Datum
pgqueue_maintain(PG_FUNCTION_ARGS)
{
	List	   *names;
	ListCell   *lc;
	CodeRule	rule;
	TimestampTz begun = GetCurrentTimestamp();

	pgqueue_call_begin(fcinfo);
	pgqueue_left_out = false;
	pgqueue_step_begin();
	pgqueue_failures_begin();
	if (PG_ARGISNULL(0))
		names = pgqueue_topic_names();
	else
	{
		Topic	   *topic = pgqueue_topic_arg(PG_GETARG_TEXT_PP(0));

		pgqueue_check_owner(topic);
		names = list_make1(pstrdup(topic->name));
	}
	pgqueue_step_end();
	rule = pgqueue_set_code_rule(CODE_ELSEWHERE);
	PG_TRY();
	{
		for (MaintainPart part = MAINTAIN_REMOVE; part <= MAINTAIN_REST; part++)
			foreach(lc, names)
				maintain_topic(lfirst(lc), part);
	}
	PG_FINALLY();
	{
		pgqueue_set_code_rule(rule);
	}
	PG_END_TRY();
	SPI_finish();
	/* only a pass over all topics counts for all */
	if (PG_ARGISNULL(0) && !pgqueue_left_out)
		pgqueue_pass_ended(begun, -1);
	PG_RETURN_VOID();
}

/* ---------------- the worker ---------------- */

/* Note the error that is being handled, for queue.maintenance_errors. */
static void
note_error(MemoryContext context)
{
	ErrorData  *error;

	MemoryContextSwitchTo(context);
	error = CopyErrorData();
	pgqueue_failure_note(error->sqlerrcode, error->message);
	FreeErrorData(error);
}

/* Store why a part of a pass ended early, which may fail as well. */
static void
store_safely(MaintainPart part)
{
	MemoryContext context = CurrentMemoryContext;

	PG_TRY();
	{
		pgqueue_failure_store(part);
	}
	PG_CATCH();
	{
		pgqueue_report_failure(context);
	}
	PG_END_TRY();
}

/* Maintain a topic; an error is reported and stored, unless the worker is stopped. */
static void
maintain_safely(const char *name, MaintainPart part)
{
	MemoryContext context = CurrentMemoryContext;

	PG_TRY();
	{
		maintain_topic(name, part);
	}
	PG_CATCH();
	{
		bool		failed = !ShutdownRequestPending;

		if (failed)
			note_error(context);
		pgqueue_report_failure(context);
		if (failed)
			store_safely(part);
	}
	PG_END_TRY();
}

/*
 * Return the names of the topics, in the given context.  *there: the database
 * has the extension, as far as it is known.
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
		{
			names = pgqueue_topic_names();
			pgqueue_failures_begin();
		}
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
 * Set VACUUM's cost limits, which compaction observes, to autovacuum's, as far
 * as those are set.
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
	TimestampTz begun = GetCurrentTimestamp();

	pgqueue_pass_began();
	MemoryContextReset(context);
	MemoryContextSwitchTo(context);
	take_costs();
	pgstat_report_activity(STATE_RUNNING, "queue maintenance");
	names = topics_safely(context, &there);
	for (MaintainPart part = MAINTAIN_REMOVE; part <= MAINTAIN_REST; part++)
		foreach(lc, names)
		{
			if (ShutdownRequestPending)
				break;
			maintain_safely(lfirst(lc), part);
		}
	pgstat_report_stat(true);
	pgstat_report_activity(STATE_IDLE, NULL);
	if (there && !ShutdownRequestPending)
		pgqueue_pass_ended(begun, pgqueue_maintenance_interval);
	return there;
}

/*
 * Start the workers of subscriptions that are missing.  Return false if none is
 * wanted, or if that is not known.
 */
static bool
start_workers(MemoryContext context)
{
	volatile bool wanted = false;

	MemoryContextReset(context);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		pgqueue_step_begin();
		wanted = OidIsValid(get_extension_oid("queue", true)) &&
			pgqueue_workers_start_missing();
		pgqueue_step_end();
	}
	PG_CATCH();
	{
		pgqueue_report_failure(context);
	}
	PG_END_TRY();
	return wanted;
}

/* Sleep until the next pass, and start workers that end meanwhile. */
static void
rest(MemoryContext context)
{
	TimestampTz until =
		TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
									pgqueue_maintenance_interval * 1000L);
	long		left = pgqueue_maintenance_interval * 1000L;

	while (left > 0 && !ShutdownRequestPending)
	{
		bool		wanted = start_workers(context);

		if (!pgqueue_nap(wanted ? Min(left, PGQUEUE_RESTART_SECONDS * 1000L) :
						 left))
			break;
		left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), until);
	}
}

void
pgqueue_maintenance_main(Datum arg)
{
	MemoryContext context;
	WorkerStart start;

	memcpy(&start, MyBgworkerEntry->bgw_extra, sizeof(start));
	pgqueue_set_up_signals();
	BackgroundWorkerInitializeConnectionByOid(DatumGetObjectId(arg), InvalidOid,
											  BGWORKER_BYPASS_ALLOWCONN);
	pgqueue_shared_attach();
	/*
	 * Take the worker's lock until the process ends.  A SIGTERM here must not
	 * raise an error: then the postmaster would start the worker again.
	 */
	HOLD_INTERRUPTS();
	if (!start.persistent)
		pgqueue_begin_transaction();
	else if (!pgqueue_persistent_worker_begin(&start.started_by))
		proc_exit(0);
	if (!pgqueue_worker_begin(start.started_by))
		proc_exit(0);
	CommitTransactionCommand();
	RESUME_INTERRUPTS();
	pgqueue_maintenance_process();
	pgqueue_set_code_rule(CODE_ELSEWHERE);
	context = AllocSetContextCreate(TopMemoryContext, "queue maintenance",
									ALLOCSET_DEFAULT_SIZES);
	(void) start_workers(context);
	while (!ShutdownRequestPending && pass(context))
		rest(context);
	proc_exit(0);
}
