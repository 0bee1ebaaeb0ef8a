/*-------------------------------------------------------------------------
 *
 * worker.c
 *	  A background worker of a subscription: connect as the role that subscribed, and
 *	  process the subscription for ever.
 *
 * The worker ends if it is not wanted any more.  After an error it goes on after a
 * while, which is doubled each time; so does one that is started after another one
 * has ended early, in whatever way: by a handler that ends its process, or crashes
 * the server (README, section 19).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/base.h"
#include "base/compat.h"
#include "base/lock.h"
#include "wait/wait.h"
#include "topic/topic.h"
#include "group/group.h"
#include "api/process.h"
#include "api/worker.h"

PGDLLEXPORT void pgqueue_worker_main(Datum arg);

/* Milliseconds to wait after a failure: doubled each time, up to ... */
#define BACKOFF		1000
#define BACKOFF_MAX (5 * 60 * 1000)
/* A failure counts with the one before if the worker has worked less than this. */
#define RECENT		(5 * 60 * 1000)
/* Memory is freed each time no message has come for so long. */
#define ROUND		60000

static WorkerTask task;

/* The worker, as shown in pg_stat_activity and in the log. */
static char *label = NULL;

/* ---------------- transactions ---------------- */

static void
begin(void)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
}

/* Take over settings that have changed. */
static void
reload(void)
{
	if (!ConfigReloadPending)
		return;
	ConfigReloadPending = false;
	ProcessConfigFile(PGC_SIGHUP);
}

/* End the transaction, as process does: begin the next. */
static void
commit(void)
{
	MemoryContext context = CurrentMemoryContext;

	CommitTransactionCommand();
	pgstat_report_stat(false);
	reload();
	begin();
	MemoryContextSwitchTo(context);
}

static void
rollback(void)
{
	MemoryContext context = CurrentMemoryContext;

	AbortCurrentTransaction();
	begin();
	MemoryContextSwitchTo(context);
}

/* ---------------- is the worker wanted? ---------------- */

/*
 * Return true if the subscription still has this worker, and read its row.
 *
 * Locks: the subscription's, share, to the end of the transaction.
 */
static bool
is_wanted(WorkerRow *row)
{
	Process		process = {.worker = task.id.number};
	Subscription subscription;

	if (!OidIsValid(get_extension_oid("queue", true)))
		return false;
	pgqueue_subscription_lock(task.id.group_id, task.id.topic_id, ShareLock);
	return pgqueue_subscription_read(task.id.group_id, task.id.topic_id,
									 &subscription) &&
		pgqueue_process_goes_on(&process, &subscription) &&
		pgqueue_worker_read(&task.id, row);
}

/* Return the topic, or NULL if it was dropped. */
static Topic *
find_topic(void)
{
	ListCell   *lc;

	foreach(lc, pgqueue_topic_names())
		if (pgqueue_topic_id(lfirst(lc)) == task.id.topic_id)
			return pgqueue_topic(lfirst(lc));
	return NULL;
}

/* ---------------- failures ---------------- */

static int64
delay_after(int failures)
{
	return failures == 0 ? 0 :
		Min((int64) BACKOFF << Min(failures - 1, 20), BACKOFF_MAX);
}

/*
 * Write when the worker begins to work: now, or after its failures.  The row is on
 * disk before it works, so that it outlives whatever the handler does.
 *
 * Locks: the subscription's, share.
 */
static void
write_begin(WorkerRow *row)
{
	Topic	   *topic = find_topic();

	if (topic == NULL)
		return;
	(void) pgqueue_group_lock_shared(task.id.group_id, true);
	(void) pgqueue_topic_hold(topic);
	row->begins_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
												 delay_after(row->failures));
	pgqueue_worker_write(row);
	ForceSyncCommit();
}

/* Return true if a worker has not worked for long when it fails. */
static bool
is_recent(const WorkerRow *row)
{
	return row->begins_at != 0 &&
		!TimestampDifferenceExceeds(row->begins_at, GetCurrentTimestamp(),
									RECENT);
}

/* Store that the worker has failed, in a transaction of its own. */
static void
store_failure(const ErrorData *error)
{
	WorkerRow	row;

	begin();
	PushActiveSnapshot(GetTransactionSnapshot());
	if (is_wanted(&row))
	{
		row.failures = is_recent(&row) ? row.failures + 1 : 1;
		row.failed_at = GetCurrentTimestamp();
		row.sqlstate = pstrdup(unpack_sql_state(error->sqlerrcode));
		row.error = error->message;
		write_begin(&row);
	}
	PopActiveSnapshot();
	CommitTransactionCommand();
}

/* ---------------- working ---------------- */

/* Log the error that is being handled, and end the transaction. */
static ErrorData *
catch_error(MemoryContext context)
{
	ErrorData  *error;

	MemoryContextSwitchTo(context);
	error = CopyErrorData();
	HOLD_INTERRUPTS();
	EmitErrorReport();
	AbortCurrentTransaction();
	FlushErrorState();
	RESUME_INTERRUPTS();
	MemoryContextSwitchTo(context);
	return error;
}

static void
nap(int64 ms)
{
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					 ms, PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
}

/*
 * Wait until it is time to work.  Return false if the worker is not wanted; this
 * process is then no more the one that works for the task.
 * *started: the process has begun before.  If it has not, another one may have,
 * and have ended.
 */
static bool
wait_to_work(bool *started)
{
	for (;;)
	{
		WorkerRow	row;
		bool		wanted;
		int64		left = 0;

		begin();
		PushActiveSnapshot(GetTransactionSnapshot());
		wanted = is_wanted(&row);
		if (wanted)
		{
			TimestampTz now = GetCurrentTimestamp();
			bool		waits = row.begins_at > now &&
				row.begins_at - now <= (int64) BACKOFF_MAX * 1000;

			if (!waits && (!*started || row.begins_at == 0))
			{
				row.failures = !*started && is_recent(&row) ?
					row.failures + 1 : 0;
				write_begin(&row);
				waits = row.failures > 0;
			}
			if (waits)
				left = TimestampDifferenceMilliseconds(now, row.begins_at);
			*started = true;
		}
		else
		{
			/* before the lock: the next subscribe finds that there is none */
			pgqueue_worker_release();
		}
		PopActiveSnapshot();
		CommitTransactionCommand();
		if (!wanted || left <= 0)
			return wanted;
		nap(Min(left, pgqueue_recheck_interval));
	}
}

static void
add_context(void *arg)
{
	if (label != NULL)
		errcontext("%s", label);
}

static void
set_label(const char *group, const char *topic)
{
	if (label == NULL)
		label = MemoryContextStrdup(TopMemoryContext,
									psprintf("queue worker %d of consumer group \"%s\" on topic \"%s\"",
											 task.id.number, group, topic));
	pgstat_report_activity(STATE_RUNNING, label);
}

/* Process the subscription until nothing comes for a while. */
static void
work(void)
{
	Process    *process = palloc0(sizeof(Process));
	MemoryContext context = CurrentMemoryContext;
	char	   *group;
	Topic	   *topic;

	begin();
	PushActiveSnapshot(GetTransactionSnapshot());
	MemoryContextSwitchTo(context);
	group = pgqueue_group_name(task.id.group_id);
	topic = find_topic();
	if (group != NULL && topic != NULL)
	{
		set_label(group, topic->name);
		pgqueue_process_init(process, group, task.id.group_id, topic);
		process->worker = task.id.number;
		process->commit = commit;
		process->rollback = rollback;
		PopActiveSnapshot();
		(void) pgqueue_process_all(process, 0, ROUND);
	}
	else
		PopActiveSnapshot();
	CommitTransactionCommand();
}

/*
 * Work for a while, after it is time to.  Return false if the worker is not wanted.
 *
 * Errors: those of storing that it has failed end the process; maintenance starts
 * another one.
 */
static bool
work_safely(MemoryContext context, bool *started)
{
	volatile bool wanted = true;
	ErrorData  *volatile error = NULL;
	ErrorContextCallback callback = {error_context_stack, add_context};

	error_context_stack = &callback;
	MemoryContextReset(context);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		wanted = wait_to_work(started);
		MemoryContextSwitchTo(context);
		if (wanted)
			work();
	}
	PG_CATCH();
	{
		error = catch_error(context);
	}
	PG_END_TRY();
	error_context_stack = callback.previous;
	if (error != NULL)
		store_failure(error);
	return wanted;
}

void
pgqueue_worker_main(Datum arg)
{
	MemoryContext context;
	bool		started = false;

	memcpy(&task, MyBgworkerEntry->bgw_extra, sizeof(task));
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	/* the task is from a session that may have another library */
	pgqueue_shared_attach();
	BackgroundWorkerInitializeConnectionByOid(DatumGetObjectId(arg), task.role,
											  0);
	/* ALTER ROLE ... SET role would have it work as another role */
	SetConfigOption("role", "none", PGC_USERSET, PGC_S_OVERRIDE);
	SetConfigOption("application_name", PGQUEUE_SUBSCRIPTION_WORKER,
					PGC_USERSET, PGC_S_OVERRIDE);
	/* it would end the process: subscriptions have a timeout of their own */
	pgqueue_no_transaction_timeout();
	context = AllocSetContextCreate(TopMemoryContext, "queue worker",
									ALLOCSET_DEFAULT_SIZES);
	if (pgqueue_worker_claim(&task))
		while (work_safely(context, &started))
			 ;
	proc_exit(0);
}
