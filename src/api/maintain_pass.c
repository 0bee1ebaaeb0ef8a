/*-------------------------------------------------------------------------
 *
 * maintain_pass.c
 *	  The two parts of a pass of maintenance over one topic.
 *
 * Partition by partition, each step in a transaction of its own:
 *
 *	 retention   removes the segments that the topic's limits allow, and drops
 *				 those that are empty (cleanup/retention.c)
 *	 segments    makes those that are kept ahead (topic/segment_make.c)
 *
 * and, when that is done for all topics,
 *
 *	 history     deletes rows of queue.progress older than
 *				 queue.history_retention, never the newest; and of
 *				 queue.maintenance_log
 *	 producers   merges producers' state (producer/history.c)
 *	 compaction  keeps the latest message of each key (cleanup/compact.c)
 *	 freezing    makes autovacuum visit sealed segments that are not frozen
 *				 (log/frozen.c)
 *
 * Each action is reported by a NOTICE and stored in queue.maintenance_log.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/indexing.h"
#include "miscadmin.h"
#include "postmaster/autovacuum.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"

#include "base/base.h"
#include "base/lock.h"
#include "topic/segment.h"
#include "topic/topic.h"
#include "producer/producer.h"
#include "group/group.h"
#include "group/progress.h"
#include "cleanup/cleanup.h"
#include "api/api.h"
#include "api/maintain.h"

/* Rows of queue.maintenance_log are kept for so long at least. */
#define LOG_MINUTES (24 * 60)

/* queue.history_retention, in minutes */
int			pgqueue_history_retention = 7 * 24 * 60;

static void
apply_retention(Topic *topic, int32 partition, void *arg)
{
	bool	   *more = arg;
	int64		limit;
	int64		bytes;
	char	   *name;
	int			n;
	int			dropped = 0;

	*more = false;
	/* mostly there is nothing to remove, and no need to lock and ask the groups */
	if (pgqueue_retention_limit(topic, partition) <=
		pgqueue_log_start(topic, partition))
		return;
	if (!pgqueue_lock_log(topic))
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
	n = pgqueue_remove_segments(topic, partition, limit, &bytes, &dropped);
	if (n > 0)
		pgqueue_maintenance_report(topic, partition, "segments removed", n,
								   bytes);
	if (dropped > 0)
		pgqueue_maintenance_report(topic, partition, "segments dropped",
								   dropped, 0);
	*more = n > 0;
}

static void
drop_emptied(Topic *topic, int32 partition, void *arg)
{
	int			n;

	if (!pgqueue_lock_log(topic))
		return;
	topic = pgqueue_topic_refresh(topic);
	n = pgqueue_drop_emptied(topic, partition);
	if (n > 0)
		pgqueue_maintenance_report(topic, partition, "segments dropped", n, 0);
}

static void
make_ahead(Topic *topic, int32 partition, void *arg)
{
	int			before;

	if (!pgqueue_lock_log(topic))
		return;
	topic = pgqueue_topic_refresh(topic);
	before = topic->partitions[partition].nsegments;
	pgqueue_make_segments(topic, partition, 0);
	topic = pgqueue_topic_refresh(topic);
	if (topic->partitions[partition].nsegments > before)
		pgqueue_maintenance_report(topic, partition, "segments made",
			   topic->partitions[partition].nsegments - before, 0);
}

static TimestampTz
minutes_ago(int minutes)
{
	return TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
									   -(int64) minutes * 60 * 1000);
}

/*
 * The state of deleting the history of a topic's groups.  A step ends when it has
 * deleted so many rows or locked so many groups.
 */
#define HISTORY_ROWS_AT_ONCE	100000
#define HISTORY_GROUPS_AT_ONCE	500

typedef struct HistoryRun
{
	int32		group;			/* the last group done */
	bool		more;
} HistoryRun;

static void
prune_history(Topic *topic, int32 partition, void *arg)
{
	HistoryRun *run = arg;
	TimestampTz before = minutes_ago(pgqueue_history_retention);
	int64	   *deleted;
	int64		rows = 0;
	int			groups = 0;
	ListCell   *lc;

	run->more = false;
	/* two passes must not delete the same rows */
	if (!pgqueue_lock_log(topic))
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
		if (!pgqueue_group_lock_shared(run->group, false))
			continue;
		n = pgqueue_progress_prune(run->group, topic, before, deleted);
		if (n == 0)
			pgqueue_group_unlock_shared(run->group);
		else
			groups++;
		rows += n;
	}
	for (int32 p = 0; p < topic->npartitions; p++)
		if (deleted[p] > 0)
			pgqueue_maintenance_report(topic, p, "offsets forgotten",
									   deleted[p], 0);
}

/* Have autovacuum freeze what it has passed over in sealed segments. */
static void
remind_autovacuum(Topic *topic, int32 partition, void *arg)
{
	Partition  *part = &topic->partitions[partition];
	int			sealed;

	if (!AutoVacuumingActive())
		return;
	sealed = pgqueue_segments_sealed(topic, part);
	for (int i = 0; i < sealed; i++)
	{
		Oid			relid = part->segments[i].relid;
		Relation	segment;

		CHECK_FOR_INTERRUPTS();
		if (!pgqueue_try_lock_relation(relid, AccessShareLock))
			continue;
		segment = pgqueue_open_segment(topic, &part->segments[i], AccessShareLock);
		if (segment != NULL)
		{
			pgqueue_remind_autovacuum(segment);
			table_close(segment, AccessShareLock);
		}
		pgqueue_unlock_relation(relid, AccessShareLock);
	}
}

/* The state of merging the rows of a topic's producers. */
typedef struct ProducerRun
{
	char		after[PGQUEUE_MAX_PRODUCER_NAME + 1];	/* continue after this id */
	int			limit;			/* producers in a step */
	int			n;				/* producers that the last step found */
	bool		done;			/* the last step has not failed */
	int64		saved;
} ProducerRun;

static void
prune_producers(Topic *topic, int32 partition, void *arg)
{
	ProducerRun *run = arg;

	/* a lock on the table must fail the step, not each producer's part of it */
	pgqueue_lock_to_look(topic->log);
	run->saved += pgqueue_producers_prune_due(topic, run->after, run->limit,
											  &run->n);
	run->done = true;
}

static void
tell_merged(Topic *topic, int32 partition, void *arg)
{
	pgqueue_maintenance_report(topic, partition, "producer rows merged",
							   ((ProducerRun *) arg)->saved, 0);
}

/*
 * Delete old rows of queue.maintenance_log, of all topics: those that were dropped
 * have no pass of their own.
 */
static void
prune_log(Topic *topic, int32 partition, void *arg)
{
	TimestampTz before = minutes_ago(Max(pgqueue_history_retention, LOG_MINUTES));
	Relation	rel;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	/* one pass at a time: two would delete the same rows */
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

/* Remove all segments that the limits allow, some in a transaction. */
static void
apply_retention_steps(const char *name, int32 partition,
					  const TransactionHooks *hooks)
{
	bool		more = true;

	while (more)
	{
		CHECK_FOR_INTERRUPTS();
		more = false;
		pgqueue_run_step(name, partition, apply_retention, &more, hooks);
	}
}

/* Delete the history of a topic's groups, some groups in a transaction. */
static void
prune_all_history(const char *name, const TransactionHooks *hooks)
{
	HistoryRun	run = {.more = true};

	while (run.more)
	{
		CHECK_FOR_INTERRUPTS();
		run.more = false;
		pgqueue_run_step(name, -1, prune_history, &run, hooks);
	}
}

/*
 * Merge the rows of all producers that are due, some producers in a transaction,
 * since each is locked until it ends.  If a step fails, its producers are merged
 * one by one, and the one that fails is left out.
 */
static void
prune_all_producers(const char *name, const TransactionHooks *hooks)
{
	ProducerRun run = {.limit = PGQUEUE_PRODUCERS_AT_ONCE};

	do
	{
		char		from[PGQUEUE_MAX_PRODUCER_NAME + 1];

		CHECK_FOR_INTERRUPTS();
		strlcpy(from, run.after, sizeof(from));
		run.n = 0;
		run.done = false;
		pgqueue_run_step(name, -1, prune_producers, &run, hooks);
		if (!run.done && run.n > 1)
		{
			strlcpy(run.after, from, sizeof(run.after));
			run.limit = 1;
		}
	} while (run.n > 0);
	if (run.saved > 0)
		pgqueue_run_step(name, -1, tell_merged, &run, hooks);
}

/* ---------------- a pass ---------------- */

/* Do what takes little time and must not be late: release disk, make segments. */
static void
maintain_space(const char *name, int32 partition,
			   const TransactionHooks *hooks)
{
	apply_retention_steps(name, partition, hooks);
	pgqueue_run_step(name, partition, drop_emptied, NULL, hooks);
	pgqueue_run_step(name, partition, make_ahead, NULL, hooks);
}

/*
 * Do a part of a pass over n partitions of a topic.  Return true if a step was left
 * to another process.
 */
bool
pgqueue_maintain_partitions(const char *name, MaintainPart part, int32 n,
							const TransactionHooks *hooks)
{
	pgqueue_maintenance_begin();
	if (n > 0 && part == MAINTAIN_REST)
	{
		prune_all_history(name, hooks);
		prune_all_producers(name, hooks);
		pgqueue_run_step(name, -1, prune_log, NULL, hooks);
	}
	for (int32 p = 0; p < n; p++)
	{
		CHECK_FOR_INTERRUPTS();
		if (part == MAINTAIN_SPACE)
			maintain_space(name, p, hooks);
		else
		{
			pgqueue_compact_partition(name, p, hooks);
			pgqueue_run_step(name, p, remind_autovacuum, NULL, hooks);
		}
	}
	return pgqueue_needs_other_process();
}

/*
 * Do the same in a process that was started for it.  log: the topic's table.
 * for_a_user: report to the session that has started the process, not to the log.
 */
void
pgqueue_maintain_handed_over(const char *name, Oid log, MaintainPart part,
							 bool for_a_user)
{
	Oid			now;
	int32		n;

	pgqueue_report_to_user(for_a_user);
	pgqueue_worker_steps.begin();
	n = pgqueue_partitions_of(name, false, &now);
	pgqueue_worker_steps.end();
	if (n > 0 && now == log)
		(void) pgqueue_maintain_partitions(name, part, n,
										   &pgqueue_worker_steps);
}
