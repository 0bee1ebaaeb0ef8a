/*-------------------------------------------------------------------------
 *
 * maintain_compact.c
 *	  The steps of a pass that compact a partition (cleanup/compact.c).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "commands/vacuum.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "base/compat_table.h"
#include "base/lock.h"
#include "log/write.h"
#include "topic/topic.h"
#include "cleanup/cleanup.h"
#include "api/api.h"
#include "api/maintain.h"

/* How long to try for the lock under which progress is stored, in milliseconds. */
#define KEEP_PATIENCE 1000

/* ---------------- compaction, over several transactions ---------------- */

typedef struct CompactionRun
{
	MemoryContext context;		/* of the compaction; outlives transactions */
	Compaction *compaction;
	Rewritten	done;
	bool		more;			/* there is something left to do */
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
		pgqueue_maintenance_report(topic, partition, "messages compacted",
								   run->done.removed, run->done.bytes);
	/* without it the next pass reads the segments again */
	if (!pgqueue_lock_relation_soon(topic->log, ShareUpdateExclusiveLock,
									KEEP_PATIENCE))
		return;
	topic = pgqueue_topic_refresh(topic);
	run->more = pgqueue_compaction_keep(run->compaction, topic);
}

/*
 * Run a step of a compaction that compact_begin() has begun.  run->more becomes false
 * if the step fails, or does not run since the topic is gone.
 */
static void
compact_step(const char *name, int32 partition, Step step, CompactionRun *run,
			 const TransactionHooks *hooks)
{
	run->more = false;
	pgqueue_run_step(name, partition, step, run, hooks);
}

/* Compact once.  Return true if the map was full, so that another round is due. */
static bool
compact_round(const char *name, int32 partition, CompactionRun *run,
			  const TransactionHooks *hooks)
{
	pgqueue_run_step(name, partition, compact_begin, run, hooks);
	if (!run->more)
		return false;
	while (run->more)
	{
		CHECK_FOR_INTERRUPTS();
		compact_step(name, partition, compact_next, run, hooks);
	}
	compact_step(name, partition, compact_keep, run, hooks);
	return run->more;
}

/* Compact a partition, in as many rounds as it takes. */
void
pgqueue_compact_partition(const char *name, int32 partition,
						  const TransactionHooks *hooks)
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
			more = compact_round(name, partition, &run, hooks);
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
