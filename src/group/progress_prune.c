/*-------------------------------------------------------------------------
 *
 * progress_prune.c
 *	  Delete the history of committed offsets.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "miscadmin.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"

#include "base/base.h"
#include "topic/topic.h"
#include "group/group.h"
#include "group/progress.h"

static int32
int32_attr(HeapTuple tuple, AttrNumber attr, TupleDesc desc)
{
	bool		isnull;

	return DatumGetInt32(heap_getattr(tuple, attr, desc, &isnull));
}

static bool
is_committed_before(HeapTuple tuple, TupleDesc desc, TimestampTz time)
{
	bool		isnull;

	return DatumGetTimestampTz(heap_getattr(tuple, PROGRESS_ATTR_COMMITTED_AT,
											desc, &isnull)) < time;
}

/*
 * Delete the history of the partition that a scan's first row is of: rows that
 * were written before a time, but the newest.  The scan goes on from the
 * oldest row and ends at the first that stays, so it reads one row if none is
 * to go. Return the number of rows deleted.
 */
static int64
prune_partition(Relation rel, SysScanDesc scan, HeapTuple tuple,
				int32 partition, TimestampTz before)
{
	TupleDesc	desc = RelationGetDescr(rel);
	int64		n = 0;

	while (is_committed_before(tuple, desc, before))
	{
		ItemPointerData tid = tuple->t_self;

		CHECK_FOR_INTERRUPTS();
		tuple = systable_getnext_ordered(scan, ForwardScanDirection);
		if (!HeapTupleIsValid(tuple) ||
			int32_attr(tuple, PROGRESS_ATTR_PARTITION, desc) != partition)
			break;				/* that was the newest */
		CatalogTupleDelete(rel, &tid);
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
	Relation	rel = pgqueue_open_for_writing(REGISTRY_PROGRESS);
	Relation	index = index_open(pgqueue_registry(REGISTRY_PROGRESS_INDEX),
								   AccessShareLock);
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	int64		total = 0;
	int32		partition = 0;

	while (partition < topic->npartitions)
	{
		ScanKeyData keys[3];
		SysScanDesc scan;
		HeapTuple	tuple;

		ScanKeyInit(&keys[0], PROGRESS_ATTR_GROUP, BTEqualStrategyNumber,
					F_INT4EQ, Int32GetDatum(group));
		ScanKeyInit(&keys[1], PROGRESS_ATTR_TOPIC, BTEqualStrategyNumber,
					F_INT4EQ, Int32GetDatum(topic->id));
		ScanKeyInit(&keys[2], PROGRESS_ATTR_PARTITION,
					BTGreaterEqualStrategyNumber, F_INT4GE,
					Int32GetDatum(partition));
		scan = systable_beginscan_ordered(rel, index, snapshot, lengthof(keys),
										  keys);
		tuple = systable_getnext_ordered(scan, ForwardScanDirection);
		partition = !HeapTupleIsValid(tuple) ? topic->npartitions :
			int32_attr(tuple, PROGRESS_ATTR_PARTITION, RelationGetDescr(rel));
		if (partition < topic->npartitions)
		{
			int64		n = prune_partition(rel, scan, tuple, partition,
											before);

			deleted[partition] += n;
			total += n;
		}
		systable_endscan_ordered(scan);
		partition++;
	}
	UnregisterSnapshot(snapshot);
	index_close(index, AccessShareLock);
	table_close(rel, NoLock);
	return total;
}
