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
#include "topic/topic.h"
#include "cleanup/cleanup.h"
#include "api/maintain.h"

/* How long to try for the lock under which progress is stored, in milliseconds. */
#define KEEP_PATIENCE 1000

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
	/* without it the next pass reads the segments again */
	return pgqueue_lock_relation_soon(topic->log, ShareUpdateExclusiveLock,
									  KEEP_PATIENCE) &&
		pgqueue_compaction_keep(compaction, pgqueue_topic_refresh(topic));
}

/* Compact a partition, in as many rounds as it takes. */
void
pgqueue_compact_partition(const char *name, int32 partition)
{
	MemoryContext parent = CurrentMemoryContext;
	volatile bool more = true;

	while (more)
	{
		Compaction	compaction = {0};

		compaction.context = AllocSetContextCreate(parent, "queue compaction",
												   ALLOCSET_DEFAULT_SIZES);
		VacuumCostBalance = 0;
		pgqueue_vacuum_costs_on();
		PG_TRY();
		{
			more = pgqueue_run_step(name, partition, compact_begin, &compaction);
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
