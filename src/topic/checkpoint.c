/*-------------------------------------------------------------------------
 *
 * checkpoint.c
 *	  What is known of a partition besides its segments: where its log starts,
 *	  and how far it is compacted.
 *
 * A row of queue.checkpoint:
 *
 *	 topic_id int4 | partition int4 | log_start int8 | compacted_to int8 |
 *	 oldest_tombstone timestamptz or NULL | system int8 | log oid
 *
 * Rows are dumped for the log start's sake, but what was compacted are the files:
 * a restore may bring other messages, or none.  So system and log say which
 * files they are; in others nothing counts as compacted.
 *
 * Each change commits together with what it tells of (retention.c, compact.c).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "utils/inval.h"
#include "utils/snapmgr.h"

#include "base/base.h"
#include "topic/segment.h"
#include "topic/topic.h"

/* Columns of queue.checkpoint; the first ones: base/base.h. */
#define CHECKPOINT_ATTR_COMPACTED_TO	4
#define CHECKPOINT_ATTR_OLDEST_TOMBSTONE 5
#define CHECKPOINT_ATTR_SYSTEM			6
#define CHECKPOINT_ATTR_LOG				7
#define CHECKPOINT_NATTS				7

/* Begin to read the rows of a topic, or of one of its partitions (-1: all). */
static void
begin_scan(RegistryScan *scan, const Topic *topic, int32 partition,
		   LOCKMODE lockmode, Snapshot snapshot)
{
	memset(scan, 0, sizeof(RegistryScan));
	pgqueue_registry_key_int4(scan, CHECKPOINT_ATTR_TOPIC, topic->id);
	if (partition >= 0)
		pgqueue_registry_key_int4(scan, CHECKPOINT_ATTR_PARTITION, partition);
	pgqueue_registry_scan(scan, REGISTRY_CHECKPOINT, lockmode, snapshot);
}

/* Read the next row of a scan.  Return false, and zeros, if there is none. */
static bool
next_row(RegistryScan *scan, const Topic *topic, int32 *partition,
		 Checkpoint *checkpoint)
{
	HeapTuple	tuple = pgqueue_registry_next(scan);
	Datum		values[CHECKPOINT_NATTS];
	bool		nulls[CHECKPOINT_NATTS];

	memset(checkpoint, 0, sizeof(Checkpoint));
	if (!HeapTupleIsValid(tuple))
		return false;
	pgqueue_registry_read(scan->rel, tuple, CHECKPOINT_NATTS, values, nulls);
	*partition = DatumGetInt32(values[CHECKPOINT_ATTR_PARTITION - 1]);
	checkpoint->log_start = DatumGetInt64(values[CHECKPOINT_ATTR_LOG_START - 1]);
	if (pgqueue_registry_int8(values, nulls, CHECKPOINT_ATTR_SYSTEM) !=
		(int64) GetSystemIdentifier() ||
		DatumGetObjectId(values[CHECKPOINT_ATTR_LOG - 1]) != topic->log)
		return true;			/* restored */
	checkpoint->compacted_to =
		DatumGetInt64(values[CHECKPOINT_ATTR_COMPACTED_TO - 1]);
	checkpoint->has_tombstones =
		!nulls[CHECKPOINT_ATTR_OLDEST_TOMBSTONE - 1];
	checkpoint->oldest_tombstone =
		pgqueue_registry_int8(values, nulls, CHECKPOINT_ATTR_OLDEST_TOMBSTONE);
	return true;
}

/*
 * Return the partitions of a topic that have a checkpoint, ascending, with nothing
 * but their checkpoints; *n: their number.
 */
Partition *
pgqueue_load_checkpoints(const Topic *topic, int *n)
{
	RegistryScan scan;
	Checkpoint	checkpoint;
	int32		partition;
	int			room = 16;
	Partition  *result = palloc(room * sizeof(Partition));

	*n = 0;
	begin_scan(&scan, topic, -1, AccessShareLock, NULL);
	while (next_row(&scan, topic, &partition, &checkpoint))
	{
		if (*n == room)
		{
			room *= 2;
			result = repalloc(result, room * sizeof(Partition));
		}
		result[(*n)++] = (Partition) {
			.number = partition,
			.checkpointed = true,
			.log_start = checkpoint.log_start,
			.compacted_to = checkpoint.compacted_to,
			.active = -1
		};
	}
	pgqueue_registry_end(&scan);
	return result;
}

/* Read a partition's checkpoint, as of now; zeros if there is none. */
void
pgqueue_checkpoint_read(const Topic *topic, int32 partition,
						Checkpoint *checkpoint)
{
	RegistryScan scan;

	begin_scan(&scan, topic, partition, AccessShareLock, SnapshotSelf);
	(void) next_row(&scan, topic, &partition, checkpoint);
	pgqueue_registry_end(&scan);
}

/*
 * Write a partition's checkpoint, in this transaction.
 *
 * Locks: SHARE UPDATE EXCLUSIVE on the topic's table, since before it was read.
 */
void
pgqueue_checkpoint_write(const Topic *topic, int32 partition,
						 const Checkpoint *checkpoint)
{
	RegistryScan scan;
	HeapTuple	old;
	ItemPointerData tid;
	Datum		values[CHECKPOINT_NATTS] = {
		[CHECKPOINT_ATTR_TOPIC - 1] = Int32GetDatum(topic->id),
		[CHECKPOINT_ATTR_PARTITION - 1] = Int32GetDatum(partition),
		[CHECKPOINT_ATTR_LOG_START - 1] = Int64GetDatum(checkpoint->log_start),
		[CHECKPOINT_ATTR_COMPACTED_TO - 1] =
			Int64GetDatum(checkpoint->compacted_to),
		[CHECKPOINT_ATTR_OLDEST_TOMBSTONE - 1] =
			TimestampTzGetDatum(checkpoint->oldest_tombstone),
		[CHECKPOINT_ATTR_SYSTEM - 1] =
			Int64GetDatum((int64) GetSystemIdentifier()),
		[CHECKPOINT_ATTR_LOG - 1] = ObjectIdGetDatum(topic->log)
	};
	bool		nulls[CHECKPOINT_NATTS] = {
		[CHECKPOINT_ATTR_OLDEST_TOMBSTONE - 1] = !checkpoint->has_tombstones
	};

	begin_scan(&scan, topic, partition, RowExclusiveLock, SnapshotSelf);
	ItemPointerSetInvalid(&tid);
	old = pgqueue_registry_next(&scan);
	if (HeapTupleIsValid(old))
		tid = old->t_self;
	pgqueue_registry_end(&scan);
	pgqueue_registry_write(REGISTRY_CHECKPOINT, &tid, CHECKPOINT_NATTS, values,
						   nulls);
	CacheInvalidateRelcacheByRelid(topic->log);
}

/* Forget a dropped topic's checkpoints.  Locks: the strongest of its table. */
void
pgqueue_checkpoints_delete(const Topic *topic)
{
	RegistryScan scan;

	begin_scan(&scan, topic, -1, RowExclusiveLock, SnapshotSelf);
	(void) pgqueue_registry_delete(&scan);
}
