/*-------------------------------------------------------------------------
 *
 * maintain.c
 *	  One pass of maintenance: queue.maintain().
 *
 * A pass does for each topic that the user owns, partition by partition, each
 * step in a transaction of its own:
 *
 *	 retention	lets segments go that the topic's limits allow, and drops those
 *				that are empty by now (retention.c)
 *	 segments	makes those that are to be kept ahead (log_segment.c)
 *
 * and, when that is done for all topics,
 *
 *	 compaction	leaves the latest message of each key (compact.c)
 *	 history	deletes rows of queue.progress older than
 *				queue.history_retention, never the newest; and of
 *				queue.maintenance_log
 *	 freeze		freezes sealed segments, one in a transaction (freeze.c)
 *	 producers	merges producers' state (producer_history.c)
 *
 * What it did it tells as it goes, a NOTICE each, and keeps in
 * queue.maintenance_log.  Two passes at once are harmless: a step that finds
 * the topic's table locked is left to the other.  Steps that would run functions
 * of a topic's constraints or indexes are repeated in another process (code.c).
 *
 *-------------------------------------------------------------------------
 */
#include "queue.h"

#include "access/heapam.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "commands/vacuum.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "postmaster/bgworker.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(pgqueue_maintain);

/* Columns of queue.maintenance_log. */
#define DONE_ATTR_AT		1
#define DONE_ATTR_TOPIC		2
#define DONE_ATTR_PARTITION 3
#define DONE_ATTR_ACTION	4
#define DONE_ATTR_ITEMS		5
#define DONE_ATTR_BYTES		6
#define DONE_NATTS			6

/*
 * Segments of a partition that a pass freezes at most: with autovacuum's brakes
 * it takes its time, and other partitions wait for their retention.
 */
#define FREEZE_AT_ONCE 16

/* How long it is tried to keep how far a compaction came, in milliseconds. */
#define KEEP_PATIENCE 1000

/* What was done stays in queue.maintenance_log at least so long. */
#define LOG_MINUTES (24 * 60)

/* queue.history_retention, in minutes */
static int	history_retention = 7 * 24 * 60;

void
pgqueue_maintain_init(void)
{
	DefineCustomIntVariable("queue.history_retention",
							"Sets how long queue.maintain() keeps the history of offsets.",
							"Rows of queue.progress behind the newest; 0 keeps only that.",
							&history_retention,
							7 * 24 * 60, 0, INT_MAX,
							PGC_SUSET,
							GUC_UNIT_MIN,
							NULL, NULL, NULL);
}

/* ---------------- what was done ---------------- */

/* A worker that does the work of a session: tell that session's user. */
static bool for_user = false;

static void
report_to_user(bool told)
{
	for_user = told;
}

static int
report_level(void)
{
	return MyBgworkerEntry != NULL && !for_user ? LOG : NOTICE;
}

/* Tell and keep that something was done; partition -1: of the topic as such. */
static void
report(const Topic *topic, int32 partition, const char *action, int64 items,
	   int64 bytes)
{
	Relation	rel = pgqueue_open_for_writing(REGISTRY_MAINTENANCE_LOG);
	Datum		values[DONE_NATTS];
	bool		nulls[DONE_NATTS] = {false};

	values[DONE_ATTR_AT - 1] = TimestampTzGetDatum(GetCurrentTimestamp());
	values[DONE_ATTR_TOPIC - 1] = CStringGetTextDatum(topic->name);
	nulls[DONE_ATTR_PARTITION - 1] = partition < 0;
	values[DONE_ATTR_PARTITION - 1] = Int32GetDatum(partition);
	values[DONE_ATTR_ACTION - 1] = CStringGetTextDatum(action);
	values[DONE_ATTR_ITEMS - 1] = Int64GetDatum(items);
	values[DONE_ATTR_BYTES - 1] = Int64GetDatum(bytes);
	pgqueue_registry_insert(rel, DONE_NATTS, values, nulls);
	table_close(rel, NoLock);

	if (partition < 0)
		ereport(report_level(),
				(errmsg("topic \"%s\": %s " INT64_FORMAT, topic->name, action,
						items)));
	else
		ereport(report_level(),
				(errmsg("topic \"%s\", partition %d: %s " INT64_FORMAT
						", " INT64_FORMAT " bytes",
						topic->name, partition, action, items, bytes)));
}

/* ---------------- the steps ---------------- */

/*
 * Of the topic at hand: a step waited for a lock for long, and did not get it.  From
 * then on no step waits: there may be thousands, and other topics.
 */
static bool waited_in_vain;

/* Of the topic at hand: a step needs a process in which the topic's code may run. */
static bool needs_process;

/* Begin with another topic. */
static void
begin_topic(void)
{
	waited_in_vain = false;
	needs_process = false;
}

/* Return true if a step of the topic at hand was left to another process. */
static bool
needs_other_process(void)
{
	return needs_process;
}

/*
 * Lock the topic's table, for makers of segments, retention and so on.  Wait for
 * the extension's workers, but not in each step.
 */
static bool
lock_log(const Topic *topic)
{
	if (pgqueue_lock_relation_soon(topic->log, ShareUpdateExclusiveLock,
								   waited_in_vain ? -1 : 0))
		return true;
	waited_in_vain = true;
	return false;
}

/*
 * Each is called in a transaction of its own, the topic just looked up.  arg: of
 * steps that belong together.
 */
typedef void (*Step) (Topic *topic, int32 partition, void *arg);

static void
retain(Topic *topic, int32 partition, void *arg)
{
	bool	   *more = arg;
	int64		limit;
	int64		bytes;
	char	   *name;
	int			n;
	int			dropped = 0;

	*more = false;
	/* to lock, and to ask the groups, may take long; mostly there is no need */
	if (pgqueue_retention_limit(topic, partition) <=
		pgqueue_log_start(topic, partition))
		return;
	if (!lock_log(topic))
	{
		ereport(pgqueue_kept_level(),
				(errmsg("topic \"%s\", partition %d: segments are kept: the topic is locked",
						topic->name, partition),
				 pgqueue_errdetail_relation_holder(topic->log,
												   ShareUpdateExclusiveLock)));
		return;
	}
	topic = pgqueue_topic_refresh(topic);
	limit = pgqueue_retention_limit(topic, partition);
	if (limit <= pgqueue_log_start(topic, partition))
		return;
	if (!topic->retention_force)
		limit = Min(limit, pgqueue_held_now(topic, partition, &name));
	n = pgqueue_let_go(topic, partition, limit, &bytes, &dropped);
	if (n > 0)
		report(topic, partition, "segments let go", n, bytes);
	if (dropped > 0)
		report(topic, partition, "segments dropped", dropped, 0);
	*more = n > 0;
}

static void
drop_emptied(Topic *topic, int32 partition, void *arg)
{
	int			n;

	if (!lock_log(topic))
		return;
	topic = pgqueue_topic_refresh(topic);
	n = pgqueue_drop_emptied(topic, partition);
	if (n > 0)
		report(topic, partition, "segments dropped", n, 0);
}

static void
make_ahead(Topic *topic, int32 partition, void *arg)
{
	int			before;

	if (!lock_log(topic))
		return;
	topic = pgqueue_topic_refresh(topic);
	before = topic->partitions[partition].nsegments;
	pgqueue_make_segments(topic, partition, 0);
	topic = pgqueue_topic_refresh(topic);
	if (topic->partitions[partition].nsegments > before)
		report(topic, partition, "segments made",
			   topic->partitions[partition].nsegments - before, 0);
}

static TimestampTz
minutes_ago(int minutes)
{
	return TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
									   -(int64) minutes * 60 * 1000);
}

/*
 * Where deleting the history of a topic's groups is.  A step ends when it has
 * deleted so many rows, or has so many groups locked, whatever comes first.
 */
#define HISTORY_ROWS_AT_ONCE	100000
#define HISTORY_GROUPS_AT_ONCE	500

typedef struct HistoryRun
{
	int32		group;			/* the last group that was looked at */
	bool		more;
} HistoryRun;

static void
prune_history(Topic *topic, int32 partition, void *arg)
{
	HistoryRun *run = arg;
	TimestampTz before = minutes_ago(history_retention);
	int64	   *deleted;
	int64		rows = 0;
	int			groups = 0;
	ListCell   *lc;

	run->more = false;
	/* two passes must not delete the same */
	if (!lock_log(topic))
		return;
	topic = pgqueue_topic_refresh(topic);
	deleted = palloc0(topic->npartitions * sizeof(int64));
	foreach(lc, pgqueue_group_ids(run->group))
	{
		int64		n;

		CHECK_FOR_INTERRUPTS();
		run->more = rows >= HISTORY_ROWS_AT_ONCE ||
			groups >= HISTORY_GROUPS_AT_ONCE;
		if (run->more)
			break;
		run->group = lfirst_int(lc);
		/* one that is being dropped has no history */
		if (!pgqueue_group_hold(run->group, false))
			continue;
		n = pgqueue_progress_prune(run->group, topic, before, deleted);
		if (n == 0)
			pgqueue_group_release(run->group);
		else
			groups++;
		rows += n;
	}
	for (int32 p = 0; p < topic->npartitions; p++)
		if (deleted[p] > 0)
			report(topic, p, "offsets forgotten", deleted[p], 0);
}

/* Where freezing is in the partition. */
typedef struct FreezeRun
{
	int64		from;			/* the offset to go on from */
	int			frozen;			/* segments so far */
} FreezeRun;

static void
freeze_next(Topic *topic, int32 partition, void *arg)
{
	FreezeRun  *run = arg;

	if (pgqueue_freeze_next(topic, partition, &run->from))
		run->frozen++;
}

static void
tell_frozen(Topic *topic, int32 partition, void *arg)
{
	report(topic, partition, "segments frozen", ((FreezeRun *) arg)->frozen, 0);
}

/* Where merging the rows of a topic's producers is. */
typedef struct ProducerRun
{
	char		after[PGQUEUE_MAX_PRODUCER_NAME + 1];	/* go on behind this id */
	int			limit;			/* producers in a step */
	int			n;				/* that the last step found ... */
	bool		done;			/* ... and dealt with all */
	int64		saved;
} ProducerRun;

static void
prune_producers(Topic *topic, int32 partition, void *arg)
{
	ProducerRun *run = arg;

	run->saved += pgqueue_producers_prune_due(topic, run->after, run->limit,
											  &run->n);
	run->done = true;
}

static void
tell_merged(Topic *topic, int32 partition, void *arg)
{
	report(topic, partition, "producer rows merged",
		   ((ProducerRun *) arg)->saved, 0);
}

/*
 * Forget what was done long ago, also to other topics: those that were dropped have
 * no pass of their own.
 */
static void
prune_log(Topic *topic, int32 partition, void *arg)
{
	TimestampTz before = minutes_ago(Max(history_retention, LOG_MINUTES));
	Relation	rel;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	/* one at a time: two would meet at the same rows */
	if (!pgqueue_try_lock_relation(pgqueue_registry(REGISTRY_MAINTENANCE_LOG),
								   ShareUpdateExclusiveLock))
		return;
	rel = pgqueue_open_for_writing(REGISTRY_MAINTENANCE_LOG);
	ScanKeyInit(&key, DONE_ATTR_AT, BTLessStrategyNumber, F_TIMESTAMPTZ_LT,
				TimestampTzGetDatum(before));
	/* the snapshot may be older than what another pass has deleted */
	scan = systable_beginscan(rel,
							  pgqueue_registry(REGISTRY_MAINTENANCE_LOG_INDEX),
							  true, SnapshotSelf, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		CHECK_FOR_INTERRUPTS();
		CatalogTupleDelete(rel, &tuple->t_self);
	}
	systable_endscan(scan);
	table_close(rel, NoLock);
}

/*
 * Has the session been told to give up?  Functions of users can raise the same
 * SQLSTATE, but not from there.
 */
static bool
is_cancellation(const ErrorData *error)
{
	return error->sqlerrcode == ERRCODE_QUERY_CANCELED &&
		error->funcname != NULL && strcmp(error->funcname, "ProcessInterrupts") == 0;
}

/*
 * Is the error that of a lock, not the first of the topic at hand?  One WARNING
 * tells that the topic's tables are locked.
 */
static bool
is_lock_again(const ErrorData *error)
{
	bool		again = waited_in_vain;

	if (error->sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE)
		return false;
	waited_in_vain = true;
	return again;
}

/*
 * Do a step.  What fails is told, and left to the next pass; what may not run in
 * this process is left to another one.
 */
static void
try_step(Topic *topic, int32 partition, Step step, void *arg)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	bool		before = pgqueue_look_at_once(waited_in_vain);

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		step(topic, partition, arg);
		ReleaseCurrentSubTransaction();
		(void) pgqueue_look_at_once(before);
	}
	PG_CATCH();
	{
		ErrorData  *error;

		(void) pgqueue_look_at_once(before);
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
		if (is_cancellation(error))
			ReThrowError(error);
		if (pgqueue_code_refused())
			needs_process = true;
		else
			ereport(is_lock_again(error) ? DEBUG1 : WARNING,
					(errcode(error->sqlerrcode),
					 errmsg("maintenance of topic \"%s\" failed: %s",
							topic->name, error->message),
					 error->detail ? errdetail_internal("%s", error->detail) : 0));
	}
	PG_END_TRY();
	pgqueue_code_end();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
}

/*
 * Do one step in one transaction.	Whoever needs the topic's table does not wait
 * long behind a step that waits for somebody else.
 */
static void
run_step(const char *name, int32 partition, Step step, void *arg,
		 const StepEnds *ends)
{
	Topic	   *topic;
	bool		locked;

	if (pgqueue_code_spent())
		return;
	ends->begin();
	pgqueue_wait_shortly(GUC_ACTION_LOCAL);
	topic = pgqueue_attempt_find(name, &locked);
	if (topic != NULL && topic->broken == NULL &&
		pgqueue_owns_topic(topic) &&
		partition < topic->npartitions)
		try_step(topic, partition, step, arg);
	ends->end();
}

/* As many as may go, some in a transaction. */
static void
retain_all(const char *name, int32 partition, const StepEnds *ends)
{
	bool		more = true;

	while (more)
	{
		CHECK_FOR_INTERRUPTS();
		more = false;
		run_step(name, partition, retain, &more, ends);
	}
}

/*
 * Freeze what can be frozen in a partition.  Told in a transaction of its own:
 * one that freezes writes nothing else.
 */
static void
freeze_all(const char *name, int32 partition, const StepEnds *ends)
{
	FreezeRun	run = {0};
	int64		before;

	do
	{
		before = run.from;
		run_step(name, partition, freeze_next, &run, ends);
		/* unchanged: the topic is gone */
	} while (run.from != before && run.from < PG_INT64_MAX &&
			 run.frozen < FREEZE_AT_ONCE && !needs_other_process());
	if (run.frozen > 0)
		run_step(name, partition, tell_frozen, &run, ends);
}

/* Delete the history of a topic's groups, some groups in a transaction. */
static void
prune_all_history(const char *name, const StepEnds *ends)
{
	HistoryRun	run = {.more = true};

	while (run.more)
	{
		CHECK_FOR_INTERRUPTS();
		run.more = false;
		run_step(name, -1, prune_history, &run, ends);
	}
}

/*
 * Merge the rows of all producers that are due, some producers in a transaction:
 * each keeps a lock until it ends.  If a step fails its producers are taken one
 * by one, and the one that it failed for is left out.
 */
static void
prune_all_producers(const char *name, const StepEnds *ends)
{
	ProducerRun run = {.limit = PGQUEUE_PRODUCERS_AT_ONCE};

	do
	{
		char		from[PGQUEUE_MAX_PRODUCER_NAME + 1];

		CHECK_FOR_INTERRUPTS();
		strlcpy(from, run.after, sizeof(from));
		run.n = 0;
		run.done = false;
		run_step(name, -1, prune_producers, &run, ends);
		if (!run.done && run.n > 1)
		{
			strlcpy(run.after, from, sizeof(run.after));
			run.limit = 1;
		}
	} while (run.n > 0);
	if (run.saved > 0)
		run_step(name, -1, tell_merged, &run, ends);
}

/*
 * Return the number of partitions of a topic that the user owns, and its table; 0
 * if there is nothing to do.	tell: whether a WARNING tells that the topic cannot
 * be used, or is locked.
 */
static int32
partitions_of(const char *name, bool tell, Oid *log)
{
	bool		locked;
	Topic	   *topic = pgqueue_attempt_find(name, &locked);

	if (locked && tell &&
		has_privs_of_role(GetUserId(),
						  pgqueue_owner_of(pgqueue_log_of_topic(name))))
		ereport(WARNING,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("topic \"%s\" is not maintained: another transaction has locked its table",
						name)));
	if (topic == NULL || !pgqueue_owns_topic(topic))
		return 0;
	*log = topic->log;
	if (topic->broken == NULL)
		return topic->npartitions;
	if (tell)
		ereport(WARNING,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("topic \"%s\" cannot be used and is not maintained",
						topic->name),
				 errdetail_internal("%s", topic->broken)));
	return 0;
}

/* ---------------- compaction, over several transactions ---------------- */

typedef struct CompactionRun
{
	MemoryContext context;		/* of the compaction, over transactions */
	Compaction *compaction;
	Rewritten	done;
	bool		more;			/* the last step left something to do */
} CompactionRun;

static void
compact_begin(Topic *topic, int32 partition, void *arg)
{
	CompactionRun *run = arg;
	MemoryContext old;

	if (!(topic->cleanup_policy & CLEANUP_COMPACT))
		return;
	old = MemoryContextSwitchTo(run->context);
	run->compaction = pgqueue_compaction(topic, partition);
	if (run->compaction != NULL)
		run->more = pgqueue_compaction_plan(run->compaction, topic);
	MemoryContextSwitchTo(old);
}

static void
compact_next(Topic *topic, int32 partition, void *arg)
{
	CompactionRun *run = arg;

	run->more = pgqueue_compact_next(run->compaction, topic, &run->done);
}

static void
compact_keep(Topic *topic, int32 partition, void *arg)
{
	CompactionRun *run = arg;

	if (run->done.removed > 0)
		report(topic, partition, "messages compacted", run->done.removed,
			   run->done.bytes);
	/* else the next pass looks through the segments again */
	if (!pgqueue_lock_relation_soon(topic->log, ShareUpdateExclusiveLock,
									KEEP_PATIENCE))
		return;
	topic = pgqueue_topic_refresh(topic);
	run->more = pgqueue_compaction_keep(run->compaction, topic);
}

/*
 * A step with what compact_begin made.  It leaves nothing to do if it fails, or if
 * it is not taken: the topic may be gone by now.
 */
static void
compact_step(const char *name, int32 partition, Step step, CompactionRun *run,
			 const StepEnds *ends)
{
	run->more = false;
	run_step(name, partition, step, run, ends);
}

/* One round over a partition.	True: the map was full, begin again. */
static bool
compact_round(const char *name, int32 partition, CompactionRun *run,
			  const StepEnds *ends)
{
	run_step(name, partition, compact_begin, run, ends);
	if (!run->more)
		return false;
	while (run->more)
	{
		CHECK_FOR_INTERRUPTS();
		compact_step(name, partition, compact_next, run, ends);
	}
	compact_step(name, partition, compact_keep, run, ends);
	return run->more;
}

/* Rounds over a partition, until the map was not full. */
static void
compact(const char *name, int32 partition, const StepEnds *ends)
{
	MemoryContext parent = CurrentMemoryContext;
	volatile bool more = true;

	while (more)
	{
		CompactionRun run = {0};

		run.context = AllocSetContextCreate(parent, "queue compaction",
											ALLOCSET_DEFAULT_SIZES);
		VacuumCostBalance = 0;
		pgqueue_vacuum_costs_on();
		PG_TRY();
		{
			more = compact_round(name, partition, &run, ends);
		}
		PG_FINALLY();
		{
			VacuumCostActive = false;
			if (run.compaction != NULL)
				pgqueue_compaction_free(run.compaction);
			MemoryContextDelete(run.context);
		}
		PG_END_TRY();
	}
}

/* ---------------- a pass ---------------- */

/* What is quick and must not be late: disk is given back, segments are made. */
static void
maintain_space(const char *name, int32 partition, const StepEnds *ends)
{
	retain_all(name, partition, ends);
	run_step(name, partition, drop_emptied, NULL, ends);
	run_step(name, partition, make_ahead, NULL, ends);
}

/* What may take long. */
static void
maintain_rest(const char *name, int32 partition, const StepEnds *ends)
{
	compact(name, partition, ends);
	freeze_all(name, partition, ends);
}

/*
 * A part of a pass over n partitions of a topic.  Return true if a step was left
 * to another process.
 */
static bool
maintain_partitions(const char *name, MaintainPart part, int32 n,
					const StepEnds *ends)
{
	begin_topic();
	if (n > 0 && part == MAINTAIN_REST)
	{
		prune_all_history(name, ends);
		prune_all_producers(name, ends);
		run_step(name, -1, prune_log, NULL, ends);
	}
	for (int32 p = 0; p < n; p++)
	{
		CHECK_FOR_INTERRUPTS();
		if (part == MAINTAIN_SPACE)
			maintain_space(name, p, ends);
		else
			maintain_rest(name, p, ends);
	}
	return needs_other_process();
}

static void
tell_stopped(Topic *topic, int32 partition, void *arg)
{
	report(topic, -1, "maintenance stopped", 1, 0);
}

/*
 * One of the two parts of a pass over a topic.	 Who maintains several does the
 * first for all of them, then the second.
 */
void
pgqueue_maintain_topic(const char *name, MaintainPart part,
					   const StepEnds *ends)
{
	Oid			log;
	int32		n;

	ends->begin();
	n = partitions_of(name, part == MAINTAIN_SPACE, &log);
	ends->end();
	if (maintain_partitions(name, part, n, ends) &&
		!pgqueue_maintain_elsewhere(name, log, part))
		run_step(name, -1, tell_stopped, NULL, ends);
}

/*
 * The same in a process that has been started for it.	log: the topic's table; if
 * for_a_user, what is done is told to the one who has called.
 */
void
pgqueue_maintain_handed_over(const char *name, Oid log, MaintainPart part,
							 bool for_a_user)
{
	Oid			now;
	int32		n;

	report_to_user(for_a_user);
	pgqueue_worker_steps.begin();
	n = partitions_of(name, false, &now);
	pgqueue_worker_steps.end();
	if (n > 0 && now == log)
		(void) maintain_partitions(name, part, n, &pgqueue_worker_steps);
}

static void
begin_in_call(void)
{
	PushActiveSnapshot(GetTransactionSnapshot());
}

static void
end_in_call(void)
{
	PopActiveSnapshot();
	SPI_commit();
}

const StepEnds pgqueue_in_call = {begin_in_call, end_in_call};

/*
 * Begin a procedure that commits between its steps; it ends with SPI_finish().
 *
 * Errors: 2D000, 25006.
 */
void
pgqueue_call_begin(FunctionCallInfo fcinfo, const char *procedure)
{
	if (fcinfo->context == NULL || !IsA(fcinfo->context, CallContext) ||
		castNode(CallContext, fcinfo->context)->atomic)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TRANSACTION_TERMINATION),
				 errmsg("%s cannot run inside a transaction block or a function",
						procedure),
				 errhint("It commits after each step.")));
	pgqueue_check_writable(procedure);
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

	pgqueue_call_begin(fcinfo, "queue.maintain()");
	pgqueue_in_call.begin();
	if (PG_ARGISNULL(0))
		names = pgqueue_topic_names();
	else
	{
		Topic	   *topic = pgqueue_topic_arg(PG_GETARG_TEXT_PP(0));

		pgqueue_check_owner(topic);
		names = list_make1(pstrdup(topic->name));
	}
	pgqueue_in_call.end();
	rule = pgqueue_set_code_rule(CODE_ELSEWHERE);
	PG_TRY();
	{
		foreach(lc, names)
			pgqueue_maintain_topic(lfirst(lc), MAINTAIN_SPACE, &pgqueue_in_call);
		foreach(lc, names)
			pgqueue_maintain_topic(lfirst(lc), MAINTAIN_REST, &pgqueue_in_call);
	}
	PG_FINALLY();
	{
		pgqueue_set_code_rule(rule);
	}
	PG_END_TRY();
	SPI_finish();
	PG_RETURN_VOID();
}
