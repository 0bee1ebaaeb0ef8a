/*-------------------------------------------------------------------------
 *
 * progress.c
 *	  Committed offsets: where each group goes on reading each partition.
 *
 * Progress is a log too: a committed offset is a new row of queue.progress,
 * read from the end of an index on (group, topic, partition, generation).	An
 * UPDATE would be as good until somebody holds an old snapshot; then every
 * version stays, and each read walks them all.
 *
 *	 group_id int4 | topic_id int4 | partition int4 | generation int8 |
 *	 committed_offset int8 | committed_at timestamptz
 *
 * Rows are read and written under the lock of (group, topic, partition), which
 * is held to the end of the transaction.  They are read as of now, not as of
 * the snapshot: with SnapshotSelf, so that two calls in one statement see each
 * other, and no predicate lock is taken.
 *
 *-------------------------------------------------------------------------
 */
#include "queue.h"

#include "access/genam.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "miscadmin.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

/* Columns of queue.progress; the first four are the index. */
#define PROGRESS_ATTR_GROUP			1
#define PROGRESS_ATTR_TOPIC			2
#define PROGRESS_ATTR_PARTITION		3
#define PROGRESS_ATTR_GENERATION	4
#define PROGRESS_ATTR_OFFSET		5
#define PROGRESS_ATTR_COMMITTED_AT	6
#define PROGRESS_NATTS				6

static void
progress_tag(LOCKTAG *tag, int32 group, const Topic *topic, int32 partition)
{
	SET_LOCKTAG_ADVISORY(*tag, MyDatabaseId, group, topic->id,
						 PGQUEUE_LOCK_GROUP | partition);
}

/*
 * Lock a group's progress in a partition to the end of the transaction.
 * False if another transaction has it and wait is false.
 */
bool
pgqueue_progress_lock(int32 group, const Topic *topic, int32 partition,
					  bool wait)
{
	LOCKTAG		tag;

	progress_tag(&tag, group, topic, partition);
	return pgqueue_lock(&tag, ExclusiveLock, wait);
}

/* Give back one pgqueue_progress_lock(), nothing having been written. */
void
pgqueue_progress_unlock(int32 group, const Topic *topic, int32 partition)
{
	LOCKTAG		tag;

	progress_tag(&tag, group, topic, partition);
	pgqueue_unlock(&tag, ExclusiveLock);
}

/*
 * A transaction that keeps one snapshot must not act on state that the
 * snapshot does not know: what it says happened is in the future.	xmin: who
 * wrote the newest row, under whose lock we are.
 *
 * Errors: 40001.
 */
void
pgqueue_check_known(TransactionId xmin, const char *doing)
{
	if (IsolationUsesXactSnapshot() &&
		!TransactionIdIsCurrentTransactionId(xmin) &&
		XidInMVCCSnapshot(xmin, GetActiveSnapshot()))
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("could not serialize access due to concurrent %s",
						doing),
				 errhint("Retry the transaction.")));
}

/* Locks: the group's progress in the partition. */
void
pgqueue_progress_read(int32 group, const Topic *topic, int32 partition,
					  Progress *progress)
{
	Relation	rel = table_open(pgqueue_registry(REGISTRY_PROGRESS),
								 AccessShareLock);
	Relation	index = index_open(pgqueue_registry(REGISTRY_PROGRESS_INDEX),
								   AccessShareLock);
	ScanKeyData keys[3];
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&keys[0], PROGRESS_ATTR_GROUP, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum(group));
	ScanKeyInit(&keys[1], PROGRESS_ATTR_TOPIC, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum(topic->id));
	ScanKeyInit(&keys[2], PROGRESS_ATTR_PARTITION, BTEqualStrategyNumber,
				F_INT4EQ, Int32GetDatum(partition));
	scan = systable_beginscan_ordered(rel, index, SnapshotSelf, 3, keys);
	tuple = systable_getnext_ordered(scan, BackwardScanDirection);

	progress->found = HeapTupleIsValid(tuple);
	progress->generation = 0;
	progress->offset = 0;
	if (progress->found)
	{
		Datum		values[PROGRESS_NATTS];
		bool		nulls[PROGRESS_NATTS];

		pgqueue_check_known(HeapTupleHeaderGetXmin(tuple->t_data), "consuming");
		heap_deform_tuple(tuple, RelationGetDescr(rel), values, nulls);
		progress->generation =
			DatumGetInt64(values[PROGRESS_ATTR_GENERATION - 1]);
		progress->offset = DatumGetInt64(values[PROGRESS_ATTR_OFFSET - 1]);
	}
	systable_endscan_ordered(scan);
	index_close(index, AccessShareLock);
	table_close(rel, AccessShareLock);
}

/*
 * Move a group's committed offset, in this transaction.
 *
 * Locks: the group's progress in the partition.
 */
void
pgqueue_progress_write(int32 group, const Topic *topic, int32 partition,
					   const Progress *old, int64 offset)
{
	Relation	rel = pgqueue_open_for_writing(REGISTRY_PROGRESS);
	Datum		values[PROGRESS_NATTS];
	bool		nulls[PROGRESS_NATTS] = {false};
	HeapTuple	tuple;

	values[PROGRESS_ATTR_GROUP - 1] = Int32GetDatum(group);
	values[PROGRESS_ATTR_TOPIC - 1] = Int32GetDatum(topic->id);
	values[PROGRESS_ATTR_PARTITION - 1] = Int32GetDatum(partition);
	values[PROGRESS_ATTR_GENERATION - 1] = Int64GetDatum(old->generation + 1);
	values[PROGRESS_ATTR_OFFSET - 1] = Int64GetDatum(offset);
	values[PROGRESS_ATTR_COMMITTED_AT - 1] =
		TimestampTzGetDatum(GetCurrentTimestamp());
	tuple = heap_form_tuple(RelationGetDescr(rel), values, nulls);
	CatalogTupleInsert(rel, tuple);
	heap_freetuple(tuple);
	table_close(rel, NoLock);
}

/*
 * Delete a topic's rows, as of now.
 *
 * Locks: the strongest of the topic's table, so that no group is at work.
 */
void
pgqueue_progress_delete(const Topic *topic)
{
	Relation	rel = pgqueue_open_for_writing(REGISTRY_PROGRESS);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, PROGRESS_ATTR_TOPIC, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum(topic->id));
	/* no index begins with the topic */
	scan = systable_beginscan(rel, InvalidOid, false, SnapshotSelf, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		CHECK_FOR_INTERRUPTS();
		CatalogTupleDelete(rel, &tuple->t_self);
	}
	systable_endscan(scan);
	table_close(rel, NoLock);
}
