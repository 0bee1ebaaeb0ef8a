/*-------------------------------------------------------------------------
 *
 * maintain_pass.c
 *	  The parts of a pass of maintenance over one topic.
 *
 * Partition by partition, each step in a transaction of its own:
 *
 *	 closing     ends the segment in use if it is old enough (cleanup/close.c)
 *	 retention   removes the segments that the topic's limits allow, and drops
 *				 those before the log start (cleanup/retention.c)
 *	 dedupe keys drops the buckets that are behind the topic's window
 *				 (producer/dedupe_make.c)
 *
 * and, when that is done for all topics,
 *
 *	 segments    makes those that are kept ahead (topic/segment_make.c)
 *
 * and then
 *
 *	 history     deletes rows of queue.progress older than
 *				 queue.history_retention, never the newest; and of
 *				 queue.maintenance_log
 *	 producers   merges producers' state (producer/history.c)
 *	 compaction  keeps the latest message of each key (cleanup/compact.c)
 *	 freezing    makes autovacuum visit sealed segments that are not frozen
 *				 (log/frozen.c)
 *
 * The first part needs no disk space, except some pages for a segment that it
 * cannot drop.  The others may need some; so they come later, and steps that write
 * much are left to the next pass if one of the topic's steps found the disk full.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "commands/vacuum.h"
#include "miscadmin.h"
#include "postmaster/autovacuum.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "base/compat_table.h"
#include "base/base.h"
#include "base/lock.h"
#include "topic/segment.h"
#include "topic/topic.h"
#include "producer/dedupe.h"
#include "producer/producer.h"
#include "group/group.h"
#include "group/progress.h"
#include "cleanup/cleanup.h"
#include "api/maintain.h"

/* Rows of queue.maintenance_log are kept for so long at least. */
#define LOG_MINUTES (24 * 60)
#define LOG_ATTR_AT 1

/* queue.history_retention, in minutes */
int			pgqueue_history_retention = 7 * 24 * 60;

/*
 * Return the offset before which groups let segments go, at most limit; tell the
 * user if they keep all of them.  Locks: those of pgqueue_held_now().
 */
static int64
limit_by_groups(Topic *topic, int32 partition, int64 limit)
{
	HeldBy		by;
	int64		held = pgqueue_held_now(topic, partition, &by);

	if (held < Min(limit, pgqueue_partition(topic, partition)->segments[0].end))
		ereport(pgqueue_kept_level(),
				by.name == NULL ?
				(errmsg("topic \"%s\", partition %d: segments are kept: a consumer group is being moved",
						topic->name, partition)) :
				(errmsg("topic \"%s\", partition %d: segments are kept for consumer group \"%s\"",
						topic->name, partition, by.name),
				 by.parked ?
				 errdetail("It has parked the message at offset " INT64_FORMAT ".",
						   held) :
				 errdetail("It has yet to read messages from offset " INT64_FORMAT " on.",
						   held)));
	return Min(limit, held);
}

static bool
close_old_segment(Topic *topic, int32 partition, void *arg)
{
	CloseOutcome outcome = CLOSE_BUSY;

	if (!pgqueue_close_due(topic, partition))
		return false;
	if (pgqueue_lock_log(&topic))
	{
		outcome = pgqueue_close_segment(topic, partition,
										pgqueue_waited_in_vain ?
										CLOSE_AT_ONCE : CLOSE_QUEUE);
		pgqueue_waited_in_vain |= outcome == CLOSE_BUSY;
	}
	if (outcome == CLOSE_BUSY)
		ereport(pgqueue_kept_level(),
				(errmsg("topic \"%s\", partition %d: the segment in use is not closed: other transactions use it",
						topic->name, partition)));
	pgqueue_maintenance_report(topic, partition, "segments closed",
							   outcome == CLOSE_DONE, 0);
	return false;
}

static bool
apply_retention(Topic *topic, int32 partition, void *arg)
{
	int64		limit;
	int64		bytes;
	int			n;
	int			dropped = 0;

	/* mostly there is nothing to remove: no need to lock and ask the groups */
	if (pgqueue_retention_limit(topic, partition) <=
		pgqueue_log_start(topic, partition))
		return false;
	if (!pgqueue_lock_log(&topic))
	{
		ereport(pgqueue_kept_level(),
				(errmsg("topic \"%s\", partition %d: segments are kept: the topic is locked",
						topic->name, partition),
				 pgqueue_errdetail_relation_holder(topic->log,
												   ShareUpdateExclusiveLock)));
		return false;
	}
	limit = pgqueue_retention_limit(topic, partition);
	if (limit <= pgqueue_log_start(topic, partition))
		return false;
	if (!topic->retention_force)
		limit = limit_by_groups(topic, partition, limit);
	n = pgqueue_remove_segments(topic, partition, limit, &bytes, &dropped);
	pgqueue_maintenance_report(topic, partition, "segments removed", n, bytes);
	pgqueue_maintenance_report(topic, partition, "segments dropped", dropped, 0);
	return n > 0;
}

/* Delete what retention should have removed, but could not for locks of others. */
static bool
delete_overdue(Topic *topic, int32 partition, void *arg)
{
	int64		start = pgqueue_log_start(topic, partition);
	int64		limit;
	int64		bytes;
	HeldBy		by;

	if (pgqueue_overdue_limit(topic, partition) <= start ||
		!pgqueue_lock_log(&topic))
		return false;
	start = pgqueue_log_start(topic, partition);
	limit = pgqueue_overdue_limit(topic, partition);
	if (!topic->retention_force)
		limit = Min(limit, pgqueue_held_now(topic, partition, &by));
	if (limit <= start)
		return false;
	(void) pgqueue_delete_before(topic, partition, limit, &bytes);
	pgqueue_maintenance_report(topic, partition, "messages deleted",
							   limit - start, bytes);
	return false;
}

static bool
drop_removed(Topic *topic, int32 partition, void *arg)
{
	int			dropped;
	int			emptied;
	int64		bytes;

	if (pgqueue_partition(topic, partition)->nremoved == 0 ||
		!pgqueue_lock_log(&topic))
		return false;
	dropped = pgqueue_drop_removed(topic, partition, &emptied, &bytes);
	pgqueue_maintenance_report(topic, partition, "segments removed", emptied,
							   bytes);
	pgqueue_maintenance_report(topic, partition, "segments dropped", dropped,
							   emptied > 0 ? 0 : bytes);
	return dropped > 0 || emptied > 0;
}

static bool
make_ahead(Topic *topic, int32 partition, void *arg)
{
	int			before;

	if (!pgqueue_lock_log(&topic))
		return false;
	before = pgqueue_partition(topic, partition)->nsegments;
	pgqueue_make_segments(topic, partition, 0);
	topic = pgqueue_topic_refresh(topic);
	pgqueue_maintenance_report(topic, partition, "segments made",
							   pgqueue_partition(topic, partition)->nsegments - before,
							   0);
	return false;
}

static bool
drop_buckets(Topic *topic, int32 partition, void *arg)
{
	if (!pgqueue_buckets_expired(topic) || !pgqueue_lock_log(&topic))
		return false;
	pgqueue_maintenance_report(topic, -1, "buckets of dedupe keys dropped",
							   pgqueue_buckets_drop_expired(topic), 0);
	return false;
}

static TimestampTz
minutes_ago(int minutes)
{
	return TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
									   -(int64) minutes * 60 * 1000);
}

/* A step ends when it has deleted so many rows or locked so many groups. */
#define HISTORY_ROWS_AT_ONCE	100000
#define HISTORY_GROUPS_AT_ONCE	500

/* Delete the history of a topic's groups.  arg: the last group done. */
static bool
prune_history(Topic *topic, int32 partition, void *arg)
{
	int32	   *group = arg;
	TimestampTz before = minutes_ago(pgqueue_history_retention);
	int64	   *deleted;
	int64		rows = 0;
	int			groups = 0;
	bool		more = false;
	ListCell   *lc;

	/* two passes must not delete the same rows */
	if (!pgqueue_lock_log(&topic))
		return false;
	deleted = palloc0(topic->npartitions * sizeof(int64));
	foreach(lc, pgqueue_group_ids(*group))
	{
		int64		n;

		CHECK_FOR_INTERRUPTS();
		more = rows >= HISTORY_ROWS_AT_ONCE || groups >= HISTORY_GROUPS_AT_ONCE;
		if (more)
			break;
		*group = lfirst_int(lc);
		/* one that is being dropped has no history */
		if (!pgqueue_group_lock_shared(*group, false))
			continue;
		n = pgqueue_progress_prune(*group, topic, before, deleted);
		if (n == 0)
			pgqueue_group_unlock_shared(*group);
		else
			groups++;
		rows += n;
	}
	for (int32 p = 0; p < topic->npartitions; p++)
		if (deleted[p] > 0)
			pgqueue_maintenance_report(topic, p, "offsets forgotten",
									   deleted[p], 0);
	return more;
}

static bool
remind_autovacuum(Topic *topic, int32 partition, void *arg)
{
	Partition  *part = pgqueue_partition(topic, partition);
	int			closed = AutoVacuumingActive() ?
		pgqueue_segments_closed(topic, part) : 0;

	for (int i = 0; i < closed; i++)
	{
		Oid			relid = part->segments[i].relid;
		Relation	segment;

		CHECK_FOR_INTERRUPTS();
		if (!pgqueue_try_lock_relation(relid, AccessShareLock))
			continue;
		segment = pgqueue_open_segment(topic, &part->segments[i],
									   AccessShareLock);
		if (segment != NULL)
		{
			pgqueue_remind_autovacuum(segment);
			table_close(segment, AccessShareLock);
		}
		pgqueue_unlock_relation(relid, AccessShareLock);
	}
	return false;
}

/* The state of merging the rows of a topic's producers. */
typedef struct ProducerRun
{
	char		after[PGQUEUE_MAX_PRODUCER_NAME + 1];	/* continue after this id */
	int			limit;			/* producers in a step */
	int			n;				/* producers that the last step found */
	int64		saved;
} ProducerRun;

static bool
merge_producers(Topic *topic, int32 partition, void *arg)
{
	ProducerRun *run = arg;

	/* a lock on the table must fail the step, not each producer's part of it */
	pgqueue_lock_to_look(topic->log);
	run->saved += pgqueue_producers_prune_due(topic, run->after, run->limit,
											  &run->n);
	return true;
}

static bool
tell_merged(Topic *topic, int32 partition, void *arg)
{
	pgqueue_maintenance_report(topic, partition, "producer rows merged",
							   ((ProducerRun *) arg)->saved, 0);
	return false;
}

/*
 * Merge the rows of all producers that are due, some producers in a
 * transaction, since each is locked until it ends.  If a step fails, its
 * producers are merged one by one, and the one that fails is left out.
 */
static void
merge_all_producers(const char *name)
{
	ProducerRun run = {.limit = PGQUEUE_PRODUCERS_AT_ONCE};

	do
	{
		char		from[PGQUEUE_MAX_PRODUCER_NAME + 1];

		strlcpy(from, run.after, sizeof(from));
		run.n = 0;
		if (!pgqueue_run_step(name, -1, merge_producers, &run) && run.n > 1)
		{
			strlcpy(run.after, from, sizeof(run.after));
			run.limit = 1;
		}
	} while (run.n > 0 && !pgqueue_disk_was_full);
	if (run.saved > 0)
		pgqueue_run_step(name, -1, tell_merged, &run);
}

/* Delete old rows of queue.maintenance_log, also of dropped topics. */
static bool
prune_log(Topic *topic, int32 partition, void *arg)
{
	TimestampTz before = minutes_ago(Max(pgqueue_history_retention,
										 LOG_MINUTES));
	RegistryScan scan = {0};

	/* one pass at a time: two would delete the same rows */
	if (!pgqueue_try_lock_relation(pgqueue_registry(REGISTRY_MAINTENANCE_LOG),
								   ShareUpdateExclusiveLock))
		return false;
	pgqueue_registry_key(&scan, LOG_ATTR_AT, BTLessStrategyNumber,
						 F_TIMESTAMPTZ_LT, TimestampTzGetDatum(before));
	/* the snapshot may be older than what another pass has deleted */
	pgqueue_registry_scan(&scan, REGISTRY_MAINTENANCE_LOG, RowExclusiveLock,
						  SnapshotSelf);
	(void) pgqueue_registry_delete(&scan);
	return false;
}

static bool
compact_begin(Topic *topic, int32 partition, void *arg)
{
	Compaction *compaction = arg;
	MemoryContext old = MemoryContextSwitchTo(compaction->context);
	bool		more = pgqueue_compaction_begin(compaction, topic, partition);

	MemoryContextSwitchTo(old);
	return more;
}

static bool
compact_next(Topic *topic, int32 partition, void *arg)
{
	return pgqueue_compact_next(arg, topic);
}

/* Return true if another round is due. */
static bool
compact_keep(Topic *topic, int32 partition, void *arg)
{
	Compaction *compaction = arg;

	pgqueue_maintenance_report(topic, partition, "messages compacted",
							   compaction->done.removed,
							   compaction->done.bytes);
	/* for 1 s: without the lock the next pass reads the segments again */
	return pgqueue_lock_relation_soon(topic->log, ShareUpdateExclusiveLock,
									  1000) &&
		pgqueue_compaction_keep(compaction, pgqueue_topic_refresh(topic));
}

/* Compact a partition, in as many rounds as it takes. */
static void
compact_partition(const char *name, int32 partition)
{
	volatile bool more = true;

	while (more)
	{
		Compaction	compaction = {0};

		compaction.context = AllocSetContextCreate(CurrentMemoryContext,
												   "queue compaction",
												   ALLOCSET_DEFAULT_SIZES);
		VacuumCostBalance = 0;
		pgqueue_vacuum_costs_on();
		PG_TRY();
		{
			more = pgqueue_run_step(name, partition, compact_begin,
									&compaction);
			if (more)
			{
				while (pgqueue_run_step(name, partition, compact_next,
										&compaction))
					;
				more = pgqueue_run_step(name, partition, compact_keep,
										&compaction);
			}
		}
		PG_FINALLY();
		{
			VacuumCostActive = false;
			pgqueue_compaction_end(&compaction);
			MemoryContextDelete(compaction.context);
		}
		PG_END_TRY();
	}
}

/*
 * Do a part of a pass over a topic, and over partitions of it.  Return true if a
 * step was left to another process.
 */
bool
pgqueue_maintain_partitions(const char *name, MaintainPart part,
							const List *partitions)
{
	int32		group = 0;
	ListCell   *lc;

	if (part == MAINTAIN_REST)
	{
		while (pgqueue_run_step(name, -1, prune_history, &group))
			;
		merge_all_producers(name);
		pgqueue_run_step(name, -1, prune_log, NULL);
	}
	if (part == MAINTAIN_REMOVE)
		pgqueue_run_step(name, -1, drop_buckets, NULL);
	foreach(lc, partitions)
	{
		int32		p = lfirst_int(lc);

		switch (part)
		{
			case MAINTAIN_REMOVE:
				pgqueue_run_step(name, p, close_old_segment, NULL);
				while (pgqueue_run_step(name, p, apply_retention, NULL))
					;
				pgqueue_run_step(name, p, delete_overdue, NULL);
				while (pgqueue_run_step(name, p, drop_removed, NULL))
					;
				break;
			case MAINTAIN_AHEAD:
				if (!pgqueue_disk_was_full)
					pgqueue_run_step(name, p, make_ahead, NULL);
				break;
			case MAINTAIN_REST:
				if (!pgqueue_disk_was_full)
					compact_partition(name, p);
				pgqueue_run_step(name, p, remind_autovacuum, NULL);
				break;
		}
	}
	return pgqueue_needs_process;
}
