/*-------------------------------------------------------------------------
 *
 * checkpoint.c
 *	  What is known of a partition besides its segments: where its log starts,
 *	  and how far it is compacted.
 *
 * A row of queue.checkpoint, made when there is something to say:
 *
 *	 topic_id int4 | partition int4 | log_start int8 | compacted_to int8 |
 *	 oldest_tombstone timestamptz or NULL | system int8 | log oid
 *
 * Rows are dumped for the log start's sake, but what was compacted are the files:
 * a restore may bring other messages, or none.	 So system and log say in whose
 * files, and in others nothing counts as compacted.
 *
 * Kafka keeps the same in its log-start and cleaner offset checkpoints.  Each
 * change commits together with what it tells of (retention.c, compact.c).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "access/xlog.h"
#include "catalog/indexing.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/snapmgr.h"

#include "base/base.h"
#include "topic/segment.h"
#include "topic/topic.h"

/* Columns of queue.checkpoint. */
#define CHECKPOINT_ATTR_TOPIC			1
#define CHECKPOINT_ATTR_PARTITION		2
#define CHECKPOINT_ATTR_LOG_START		3
#define CHECKPOINT_ATTR_COMPACTED_TO	4
#define CHECKPOINT_ATTR_OLDEST_TOMBSTONE 5
#define CHECKPOINT_ATTR_SYSTEM			6
#define CHECKPOINT_ATTR_LOG				7
#define CHECKPOINT_NATTS				7

/*
 * Begin to read the rows of a topic, or of one of its partitions (-1: all).
 */
static SysScanDesc
begin_scan(Relation rel, const Topic *topic, int32 partition, Snapshot snapshot)
{
	ScanKeyData keys[2];

	ScanKeyInit(&keys[0], CHECKPOINT_ATTR_TOPIC, BTEqualStrategyNumber,
				F_INT4EQ, Int32GetDatum(topic->id));
	ScanKeyInit(&keys[1], CHECKPOINT_ATTR_PARTITION, BTEqualStrategyNumber,
				F_INT4EQ, Int32GetDatum(partition));
	return systable_beginscan(rel, pgqueue_registry(REGISTRY_CHECKPOINT_INDEX),
							  true, snapshot, partition < 0 ? 1 : 2, keys);
}

static void
decode(Relation rel, HeapTuple tuple, const Topic *topic, int32 *partition,
	   Checkpoint *checkpoint)
{
	Datum		values[CHECKPOINT_NATTS];
	bool		nulls[CHECKPOINT_NATTS];

	pgqueue_registry_read(rel, tuple, CHECKPOINT_NATTS, values, nulls);
	*partition = DatumGetInt32(values[CHECKPOINT_ATTR_PARTITION - 1]);
	memset(checkpoint, 0, sizeof(Checkpoint));
	checkpoint->log_start = DatumGetInt64(values[CHECKPOINT_ATTR_LOG_START - 1]);
	if (nulls[CHECKPOINT_ATTR_SYSTEM - 1] || nulls[CHECKPOINT_ATTR_LOG - 1] ||
		DatumGetInt64(values[CHECKPOINT_ATTR_SYSTEM - 1]) !=
		(int64) GetSystemIdentifier() ||
		DatumGetObjectId(values[CHECKPOINT_ATTR_LOG - 1]) != topic->log)
		return;					/* restored */
	checkpoint->compacted_to =
		DatumGetInt64(values[CHECKPOINT_ATTR_COMPACTED_TO - 1]);
	checkpoint->has_tombstones =
		!nulls[CHECKPOINT_ATTR_OLDEST_TOMBSTONE - 1];
	checkpoint->oldest_tombstone =
		DatumGetTimestampTz(values[CHECKPOINT_ATTR_OLDEST_TOMBSTONE - 1]);
}

/* Fill in the checkpoints of a topic that is being loaded. */
void
pgqueue_load_checkpoints(Topic *topic)
{
	Relation	rel = pgqueue_registry_open(REGISTRY_CHECKPOINT);
	SysScanDesc scan = begin_scan(rel, topic, -1, NULL);
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Checkpoint	checkpoint;
		int32		partition;

		decode(rel, tuple, topic, &partition, &checkpoint);
		if (partition >= topic->npartitions)
			continue;
		topic->partitions[partition].log_start = checkpoint.log_start;
		topic->partitions[partition].compacted_to = checkpoint.compacted_to;
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
}

/* A partition's, as of now; zeros if there is none. */
void
pgqueue_checkpoint_read(const Topic *topic, int32 partition,
						Checkpoint *checkpoint)
{
	Relation	rel = pgqueue_registry_open(REGISTRY_CHECKPOINT);
	SysScanDesc scan = begin_scan(rel, topic, partition, SnapshotSelf);
	HeapTuple	tuple = systable_getnext(scan);

	memset(checkpoint, 0, sizeof(Checkpoint));
	if (HeapTupleIsValid(tuple))
		decode(rel, tuple, topic, &partition, checkpoint);
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
}

/*
 * Write a partition's, in this transaction.
 *
 * Locks: SHARE UPDATE EXCLUSIVE on the topic's table, since before it was read.
 */
void
pgqueue_checkpoint_write(const Topic *topic, int32 partition,
						 const Checkpoint *checkpoint)
{
	Relation	rel = pgqueue_open_for_writing(REGISTRY_CHECKPOINT);
	SysScanDesc scan = begin_scan(rel, topic, partition, SnapshotSelf);
	HeapTuple	old = systable_getnext(scan);
	ItemPointerData tid;
	Datum		values[CHECKPOINT_NATTS];
	bool		nulls[CHECKPOINT_NATTS] = {false};

	values[CHECKPOINT_ATTR_TOPIC - 1] = Int32GetDatum(topic->id);
	values[CHECKPOINT_ATTR_PARTITION - 1] = Int32GetDatum(partition);
	values[CHECKPOINT_ATTR_LOG_START - 1] = Int64GetDatum(checkpoint->log_start);
	values[CHECKPOINT_ATTR_COMPACTED_TO - 1] =
		Int64GetDatum(checkpoint->compacted_to);
	values[CHECKPOINT_ATTR_OLDEST_TOMBSTONE - 1] =
		TimestampTzGetDatum(checkpoint->oldest_tombstone);
	nulls[CHECKPOINT_ATTR_OLDEST_TOMBSTONE - 1] = !checkpoint->has_tombstones;
	values[CHECKPOINT_ATTR_SYSTEM - 1] = Int64GetDatum((int64) GetSystemIdentifier());
	values[CHECKPOINT_ATTR_LOG - 1] = ObjectIdGetDatum(topic->log);

	ItemPointerSetInvalid(&tid);
	if (HeapTupleIsValid(old))
		tid = old->t_self;
	pgqueue_registry_write(rel, &tid, CHECKPOINT_NATTS, values, nulls);
	systable_endscan(scan);
	table_close(rel, NoLock);
	CacheInvalidateRelcacheByRelid(topic->log);
}

/* Forget a dropped topic's.  Locks: the strongest of its table. */
void
pgqueue_checkpoints_delete(const Topic *topic)
{
	Relation	rel = pgqueue_open_for_writing(REGISTRY_CHECKPOINT);
	SysScanDesc scan = begin_scan(rel, topic, -1, SnapshotSelf);
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		CatalogTupleDelete(rel, &tuple->t_self);
	systable_endscan(scan);
	table_close(rel, NoLock);
}
