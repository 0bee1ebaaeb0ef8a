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
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"

#include "base/base.h"
#include "topic/topic.h"
#include "group/group.h"
#include "group/progress.h"

static int32
partition_of(const RegistryScan *scan, HeapTuple tuple)
{
	return DatumGetInt32(pgqueue_registry_column(scan, tuple,
												 PROGRESS_ATTR_PARTITION));
}

static bool
is_committed_before(const RegistryScan *scan, HeapTuple tuple, TimestampTz time)
{
	Datum		committed_at = pgqueue_registry_column(scan, tuple,
													   PROGRESS_ATTR_COMMITTED_AT);

	return DatumGetTimestampTz(committed_at) < time;
}

/*
 * Delete the history of the partition that a scan's first row is of: rows that
 * were written before a time, but the newest.  The scan goes on from the
 * oldest row and ends at the first that stays, so it reads one row if none is
 * to go.  Return the number of rows deleted.
 */
static int64
prune_partition(RegistryScan *scan, HeapTuple tuple, int32 partition,
				TimestampTz before)
{
	int64		n = 0;

	while (is_committed_before(scan, tuple, before))
	{
		ItemPointerData tid = tuple->t_self;

		CHECK_FOR_INTERRUPTS();
		tuple = pgqueue_registry_next(scan);
		if (!HeapTupleIsValid(tuple) || partition_of(scan, tuple) != partition)
			break;				/* that was the newest */
		CatalogTupleDelete(scan->rel, &tid);
		n++;
	}
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
	int32		partition = 0;

	while (partition < topic->npartitions)
	{
		RegistryScan scan = {0};
		HeapTuple	tuple;

		pgqueue_registry_key_int4(&scan, PROGRESS_ATTR_GROUP, group);
		pgqueue_registry_key_int4(&scan, PROGRESS_ATTR_TOPIC, topic->id);
		pgqueue_registry_key(&scan, PROGRESS_ATTR_PARTITION,
							 BTGreaterEqualStrategyNumber, F_INT4GE,
							 Int32GetDatum(partition));
		pgqueue_registry_scan(&scan, REGISTRY_PROGRESS, RowExclusiveLock,
							  snapshot);
		tuple = pgqueue_registry_next(&scan);
		partition = HeapTupleIsValid(tuple) ? partition_of(&scan, tuple) :
			topic->npartitions;
		if (partition < topic->npartitions)
		{
			int64		n = prune_partition(&scan, tuple, partition, before);

			deleted[partition] += n;
			total += n;
		}
		pgqueue_registry_end(&scan);
		partition++;
	}
	UnregisterSnapshot(snapshot);
	return total;
}
