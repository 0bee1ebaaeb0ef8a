/*-------------------------------------------------------------------------
 *
 * topic_worker.c
 *	  Maintenance of one topic in a process of its own, which may end.
 *
 * A pass of maintenance hands a topic over when the topic's own code has to run
 * (README, section 16).  The process that does the pass starts a background
 * worker, waits for it and repeats what it reports; if that ends before it is
 * done, since the code ran too long, only the rest of this topic's part of the
 * pass is lost.
 *
 * A segment of shared memory connects the two:
 *
 *	 +-----------------------------------------+---------------------------+
 *	 | Shared: task, state of the worker       | shm_mq: its messages      |
 *	 +-----------------------------------------+---------------------------+
 *
 * The worker runs as the bootstrap superuser.  The caller has checked that its
 * user owns the topic; the worker does nothing if the topic's table is not the
 * same any more.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "libpq/pqformat.h"
#include "libpq/pqmq.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "storage/dsm.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "storage/shm_mq.h"
#include "tcop/tcopprot.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/base.h"
#include "base/lock.h"
#include "api/maintain.h"

PGDLLEXPORT void pgqueue_topic_worker_main(Datum arg);

#define QUEUE_BYTES 16384

/*
 * In milliseconds: when a worker is left behind that its code does not let end;
 * how often to look for that; how long a topic's code is left alone, at most.
 */
#define GRACE 10000
#define LOOK_INTERVAL 1000
#define MAX_SUSPENSION (60 * 60 * 1000)

/* Settings of the pass that hold in the worker, too. */
static const char *const inherited[] = {
	"lock_timeout",
	"maintenance_work_mem",
	"queue.code_timeout",
	"queue.compaction_memory",
	"queue.compaction_min_dirty_ratio",
	"vacuum_cost_delay",
	"vacuum_cost_limit",
};

#define SETTING_LENGTH 32

typedef struct Shared
{
	/* what the worker is told */
	Oid			database;
	Oid			log;
	MaintainPart part;
	bool		for_user;		/* report to a user, not to the log */
	char		topic[NAMEDATALEN];
	char		settings[lengthof(inherited)][SETTING_LENGTH];

	/* what it tells */
	TimestampTz code_begun;		/* see pgqueue_code_begun */
	bool		done;			/* all that it was told to do */
	bool		expired;		/* the topic's code ran too long */
	Failure		failure;		/* of a step */
} Shared;

static shm_mq *
queue_of(Shared *shared)
{
	return (shm_mq *) ((char *) shared + MAXALIGN(sizeof(Shared)));
}

/* ---------------- topics with code that is left alone ---------------- */

typedef struct Suspended
{
	Oid			log;
	int			times;
	TimestampTz until;
} Suspended;

/* In the maintenance worker; lost with it. */
static List *suspended = NIL;

/* Return what is known of a topic, by its table. */
static Suspended *
suspended_of(Oid log)
{
	Suspended  *entry;
	MemoryContext old;
	ListCell   *lc;

	foreach(lc, suspended)
		if (((Suspended *) lfirst(lc))->log == log)
			return lfirst(lc);
	old = MemoryContextSwitchTo(TopMemoryContext);
	entry = palloc0(sizeof(Suspended));
	entry->log = log;
	suspended = lappend(suspended, entry);
	MemoryContextSwitchTo(old);
	return entry;
}

/*
 * Note how a topic's worker ended.  Its code is left alone for ten times as
 * long as it may run, twice as long each time, so that it gets a tenth of the
 * worker's time at most.
 */
static void
note_end(Oid log, bool done)
{
	Suspended  *entry = suspended_of(log);
	int64		wait = ((int64) pgqueue_code_timeout * 10) <<
		Min(entry->times, 16);

	if (done)
	{
		suspended = list_delete_ptr(suspended, entry);
		pfree(entry);
		return;
	}
	entry->times++;
	entry->until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
											   Min(wait, MAX_SUSPENSION));
}

/* ---------------- in the process that does the pass ---------------- */

/* Repeat a message of the worker to the user; remember why it fails. */
static void
repeat_message(StringInfo message, bool for_user, char **failure)
{
	char		type = pq_getmsgbyte(message);
	ErrorData	error;

	if (type != 'E' && type != 'N')
		return;
	pq_parse_errornotice(message, &error);
	if (error.elevel >= ERROR)
		*failure = pstrdup(error.message);
	else if (for_user)
		ThrowErrorData(&error);
}

/* Return true if the topic's code should have been ended long ago. */
static bool
is_stuck(const Shared *shared)
{
	TimestampTz begun = *(volatile const TimestampTz *) &shared->code_begun;

	return begun != 0 &&
		TimestampDifferenceExceeds(begun, GetCurrentTimestamp(),
								   pgqueue_code_timeout + GRACE);
}

/* Repeat what the worker reports.  Return false if it does not end. */
static bool
repeat_messages(shm_mq_handle *queue, const Shared *shared, char **failure)
{
	for (;;)
	{
		StringInfoData message;
		Size		length;
		void	   *data;

		switch (shm_mq_receive(queue, &length, &data, true))
		{
			case SHM_MQ_DETACHED:
				return true;
			case SHM_MQ_SUCCESS:
				initStringInfo(&message);
				appendBinaryStringInfo(&message, data, length);
				repeat_message(&message, shared->for_user, failure);
				pfree(message.data);
				continue;
			case SHM_MQ_WOULD_BLOCK:
				break;
		}
		if (is_stuck(shared))
			return false;
		(void) WaitLatch(MyLatch,
						 WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 LOOK_INTERVAL, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

static void
warn_of_end(const char *topic, const char *failure, bool expired)
{
	if (expired)
	{
		pgqueue_failure_note(ERRCODE_QUERY_CANCELED,
							 "functions in constraints or indexes ran too long");
		ereport(WARNING,
				(errcode(ERRCODE_QUERY_CANCELED),
				 errmsg("maintenance of topic \"%s\" was stopped", topic),
				 errdetail("Functions in its constraints or indexes ran longer than %d ms.",
						   pgqueue_code_timeout),
				 errhint("See setting \"queue.code_timeout\".")));
		return;
	}
	if (failure == NULL)
		failure = "its process ended early";
	pgqueue_failure_note(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, failure);
	ereport(WARNING,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("maintenance of topic \"%s\" failed: %s", topic, failure)));
}

/*
 * Run the worker; it is ended if this process is told to do something else.
 * Return false if it ended before it was done.
 */
static bool
run_worker(dsm_segment *segment)
{
	Shared	   *shared = dsm_segment_address(segment);
	shm_mq	   *queue = shm_mq_create(queue_of(shared), QUEUE_BYTES);
	shm_mq_handle *messages;
	BackgroundWorker worker;
	BackgroundWorkerHandle *handle;
	char	   *failure = NULL;
	bool		ended = true;

	shm_mq_set_receiver(queue, MyProc);
	messages = shm_mq_attach(queue, segment, NULL);
	pgqueue_worker_init(&worker, PGQUEUE_TOPIC_WORKER,
						"pgqueue_topic_worker_main", shared->topic);
	worker.bgw_main_arg = UInt32GetDatum(dsm_segment_handle(segment));
	worker.bgw_notify_pid = MyProcPid;
	if (!RegisterDynamicBackgroundWorker(&worker, &handle))
	{
		pgqueue_failure_note(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
							 "no background worker is available");
		ereport(WARNING,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("topic \"%s\" is not maintained: no background worker is available",
						shared->topic),
				 errhint("Raise max_worker_processes.")));
		return true;
	}
	shm_mq_set_handle(messages, handle);
	PG_TRY();
	{
		ended = repeat_messages(messages, shared, &failure);
		if (ended)
			(void) WaitForBackgroundWorkerShutdown(handle);
	}
	PG_FINALLY();
	{
		/* no harm if it has ended */
		TerminateBackgroundWorker(handle);
	}
	PG_END_TRY();
	if (shared->failure.failed)
		pgqueue_failure_note(shared->failure.sqlstate,
							 shared->failure.message);
	if (shared->done)
		return true;
	warn_of_end(shared->topic, failure, shared->expired || !ended);
	return false;
}

/*
 * Do a part of a pass over a topic in a process of its own.  Call it outside of
 * steps.  Return false if that process had to end before it was done.
 */
bool
pgqueue_maintain_elsewhere(const char *topic, Oid log, MaintainPart part)
{
	dsm_segment *segment;
	Shared	   *shared;
	bool		done;

	if (MyBgworkerEntry != NULL &&
		suspended_of(log)->until > GetCurrentTimestamp())
		return true;
	segment = dsm_create(MAXALIGN(sizeof(Shared)) + QUEUE_BYTES, 0);
	shared = dsm_segment_address(segment);
	*shared = (Shared) {.database = MyDatabaseId,.log = log,.part = part,
	.for_user = MyBgworkerEntry == NULL};
	strlcpy(shared->topic, topic, NAMEDATALEN);
	for (int i = 0; i < lengthof(inherited); i++)
		strlcpy(shared->settings[i], GetConfigOption(inherited[i], false, false),
				SETTING_LENGTH);
	PG_TRY();
	{
		done = run_worker(segment);
	}
	PG_FINALLY();
	{
		dsm_detach(segment);
	}
	PG_END_TRY();
	if (MyBgworkerEntry != NULL)
		note_end(log, done);
	return done;
}

/* ---------------- in the worker ---------------- */

static Shared *shared;

static void
show_expired(int code, Datum arg)
{
	shared->expired = pgqueue_code_expired;
}

/* Send to the caller what would be sent to a client from now on. */
static void
connect_to_caller(dsm_handle handle)
{
	dsm_segment *segment = dsm_attach(handle);
	shm_mq	   *queue;

	if (segment == NULL)
		proc_exit(0);			/* the caller has ended */
	shared = dsm_segment_address(segment);
	queue = queue_of(shared);
	shm_mq_set_sender(queue, MyProc);
	pq_redirect_to_shm_mq(segment, shm_mq_attach(queue, segment, NULL));
	before_shmem_exit(show_expired, (Datum) 0);
	pgqueue_code_begun = &shared->code_begun;
}

void
pgqueue_topic_worker_main(Datum arg)
{
	Oid			log;
	List	   *partitions;

	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	/* before anything that the caller's library may have laid out otherwise */
	pgqueue_shared_attach();
	connect_to_caller(DatumGetUInt32(arg));
	BackgroundWorkerInitializeConnectionByOid(shared->database, InvalidOid,
											  BGWORKER_BYPASS_ALLOWCONN);
	pgqueue_maintenance_process();
	pgqueue_report_to_user = shared->for_user;
	for (int i = 0; i < lengthof(inherited); i++)
		SetConfigOption(inherited[i], shared->settings[i], PGC_SUSET,
						PGC_S_OVERRIDE);
	pgqueue_set_code_rule(CODE_LIMITED);
	pgstat_report_activity(STATE_RUNNING, "queue maintenance of a topic");
	if (pgqueue_maintenance_begin(shared->topic, false, &log, &partitions) &&
		log == shared->log)
		(void) pgqueue_maintain_partitions(shared->topic, shared->part,
										   partitions);
	shared->failure = *pgqueue_failure();
	shared->done = true;
	proc_exit(0);
}
