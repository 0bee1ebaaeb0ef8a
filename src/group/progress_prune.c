/*-------------------------------------------------------------------------
 *
 * progress_prune.c
 *	  Delete the history of committed offsets.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/indexing.h"
#include "miscadmin.h"
#include "utils/snapmgr.h"

#include "base/base.h"
#include "topic/topic.h"
#include "group/progress.h"

static bool
is_committed_before(const RegistryScan *scan, HeapTuple tuple, TimestampTz time)
{
	Datum		committed_at =
		pgqueue_registry_column(scan, tuple, PROGRESS_ATTR_COMMITTED_AT);

	return DatumGetTimestampTz(committed_at) < time;
}

/* Prune one partition, from its oldest row on, up to the first that stays. */
static int64
prune_partition(int32 group, const Topic *topic, int32 partition,
				TimestampTz before, Snapshot snapshot)
{
	RegistryScan scan = {0};
	HeapTuple	tuple;
	int64		n = 0;

	pgqueue_registry_key_int4(&scan, PROGRESS_ATTR_GROUP, group);
	pgqueue_registry_key_int4(&scan, PROGRESS_ATTR_TOPIC, topic->id);
	pgqueue_registry_key_int4(&scan, PROGRESS_ATTR_PARTITION, partition);
	pgqueue_registry_scan(&scan, REGISTRY_PROGRESS, RowExclusiveLock, snapshot);
	tuple = pgqueue_registry_next(&scan);
	while (HeapTupleIsValid(tuple) && is_committed_before(&scan, tuple, before))
	{
		ItemPointerData tid = tuple->t_self;

		CHECK_FOR_INTERRUPTS();
		tuple = pgqueue_registry_next(&scan);
		if (!HeapTupleIsValid(tuple))
			break;				/* that was the newest */
		CatalogTupleDelete(scan.rel, &tid);
		n++;
	}
	pgqueue_registry_end(&scan);
	return n;
}

/*
 * Delete the history of a group in a topic: rows that were written before a
 * time; never the newest of a partition, so no caller misses them.  Count them
 * in deleted, by partition; return their number.
 */
int64
pgqueue_progress_prune(int32 group, const Topic *topic, TimestampTz before,
					   int64 *deleted)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	int64		total = 0;

	for (int32 p = 0; p < topic->npartitions; p++)
	{
		int64		n = prune_partition(group, topic, p, before, snapshot);

		deleted[p] += n;
		total += n;
	}
	UnregisterSnapshot(snapshot);
	return total;
}
