/*-------------------------------------------------------------------------
 *
 * incarnation.c
 *	  Incarnations of a log: which one a stored offset belongs to, and where
 *	  each begins.
 *
 * An incarnation of a log is its table in one database of one server.  Dump and
 * restore makes another one of the same log, and so does pg_upgrade; a physical
 * copy and a failover do not.  Each has a number, and the rows that store offsets
 * (queue.progress, queue.producer_batch and queue.producer_history) have that of
 * the incarnation in which they were written.
 *
 * After a restore new messages may take the offsets of messages that were not
 * restored.  So queue.incarnation says, for each partition, where each incarnation
 * began: behind the last message that was restored.
 *
 *	 topic_id int4 | partition int4 | ordinal int4 | incarnation int8 |
 *	 first_offset int8
 *
 * An offset is good if it is not behind where any later incarnation began; else it
 * is lost.  README, section 9, has the proof.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/snapmgr.h"

#include "base/base.h"
#include "topic/segment.h"
#include "topic/topic.h"

/* Columns of queue.incarnation; the index has the first three. */
#define INCARNATION_ATTR_TOPIC		1
#define INCARNATION_ATTR_PARTITION	2
#define INCARNATION_ATTR_ORDINAL	3
#define INCARNATION_ATTR_NUMBER		4
#define INCARNATION_ATTR_FIRST		5
#define INCARNATION_NATTS			5

/* What the rows of a partition say. */
typedef struct Incarnations
{
	int32		earlier;		/* the last ordinal before the one at hand */
	bool		begun;			/* the one at hand has a row ... */
	TransactionId xmin;			/* ... written by this one */
	int64		first;			/* the least offset at which one behind a given
								 * one began; PG_INT64_MAX: none has */
} Incarnations;

/* Return the number of a log's incarnation at hand; never 0. */
int64
pgqueue_incarnation(const Topic *topic)
{
	struct
	{
		uint64		system;
		Oid			database;
		Oid			log;
	}			of = {GetSystemIdentifier(), MyDatabaseId, topic->log};
	int64		number = (int64) hash_bytes_extended((unsigned char *) &of,
													 sizeof(of), 0);

	return number != 0 ? number : 1;
}

/*
 * Read the rows of a partition, committed or of this transaction, in order;
 * number: the incarnation behind which those lie that are asked for.  One that has
 * no row is taken for the first.
 */
static void
read_rows(const Topic *topic, int32 partition, int64 number, Incarnations *result)
{
	int64		current = pgqueue_incarnation(topic);
	RegistryScan scan = {0};
	HeapTuple	tuple;

	*result = (Incarnations) {.first = PG_INT64_MAX};
	pgqueue_registry_key_int4(&scan, INCARNATION_ATTR_TOPIC, topic->id);
	pgqueue_registry_key_int4(&scan, INCARNATION_ATTR_PARTITION, partition);
	pgqueue_registry_scan(&scan, REGISTRY_INCARNATION, AccessShareLock,
						  SnapshotSelf);
	while (HeapTupleIsValid(tuple = pgqueue_registry_next(&scan)))
	{
		Datum		values[INCARNATION_NATTS];
		bool		nulls[INCARNATION_NATTS];
		int64		of;

		pgqueue_registry_read(scan.rel, tuple, INCARNATION_NATTS, values, nulls);
		of = DatumGetInt64(values[INCARNATION_ATTR_NUMBER - 1]);
		if (of == current)
		{
			result->begun = true;
			result->xmin = HeapTupleHeaderGetXmin(tuple->t_data);
		}
		else
			result->earlier = DatumGetInt32(values[INCARNATION_ATTR_ORDINAL - 1]);
		result->first = of == number ? PG_INT64_MAX :
			Min(result->first, DatumGetInt64(values[INCARNATION_ATTR_FIRST - 1]));
	}
	pgqueue_registry_end(&scan);
}

static void
write_row(const Topic *topic, int32 partition, int32 ordinal, int64 first)
{
	Datum		values[INCARNATION_NATTS] = {
		[INCARNATION_ATTR_TOPIC - 1] = Int32GetDatum(topic->id),
		[INCARNATION_ATTR_PARTITION - 1] = Int32GetDatum(partition),
		[INCARNATION_ATTR_ORDINAL - 1] = Int32GetDatum(ordinal),
		[INCARNATION_ATTR_NUMBER - 1] =
			Int64GetDatum(pgqueue_incarnation(topic)),
		[INCARNATION_ATTR_FIRST - 1] = Int64GetDatum(first)
	};
	bool		nulls[INCARNATION_NATTS] = {false};

	pgqueue_registry_insert(REGISTRY_INCARNATION, INCARNATION_NATTS, values,
							nulls);
}

/*
 * Make sure that a row says where the incarnation at hand began, before this
 * transaction appends to the partition or stores an offset in it: a committed
 * row, or one of its own.  Offset 0, the only one of an unused partition, needs
 * none.  Of transactions that come first at the same time each
 * writes one, and none waits for another.
 */
void
pgqueue_incarnation_begin(const Topic *topic, int32 partition)
{
	Partition  *part = pgqueue_partition(topic, partition);
	Incarnations rows;

	if (likely(part->begun == FrozenTransactionId) ||
		TransactionIdIsCurrentTransactionId(part->begun))
		return;
	if (pgqueue_partition_unused(topic, partition))
		return;
	read_rows(topic, partition, 0, &rows);
	if (!rows.begun)
	{
		int64		first = pgqueue_committed_end(topic, partition);

		/* what was appended and committed until then came with a row */
		read_rows(topic, partition, 0, &rows);
		if (!rows.begun)
		{
			write_row(topic, partition, rows.earlier + 1, first);
			rows.xmin = GetCurrentTransactionId();
		}
	}
	part->begun = TransactionIdIsCurrentTransactionId(rows.xmin) ? rows.xmin :
		FrozenTransactionId;
}

/*
 * Return how far an offset that was stored in another incarnation, of that number,
 * is good in the one at hand.
 *
 * committed_end: pgqueue_committed_end() of a moment ago, or -1: ask if needed.
 */
int64
pgqueue_incarnation_reach(const Topic *topic, int32 partition, int64 number,
						  int64 committed_end)
{
	Incarnations rows;

	read_rows(topic, partition, number, &rows);
	if (!rows.begun && committed_end < 0)
	{
		/* in this order, as above */
		committed_end = pgqueue_committed_end(topic, partition);
		read_rows(topic, partition, number, &rows);
	}
	return rows.begun ? rows.first : Min(rows.first, committed_end);
}

/* Forget a dropped topic's incarnations.  Locks: the strongest of its table. */
void
pgqueue_incarnations_delete(const Topic *topic)
{
	RegistryScan scan = {0};

	pgqueue_registry_key_int4(&scan, INCARNATION_ATTR_TOPIC, topic->id);
	pgqueue_registry_scan(&scan, REGISTRY_INCARNATION, RowExclusiveLock,
						  SnapshotSelf);
	(void) pgqueue_registry_delete(&scan);
}

void
pgqueue_offset_lost(const Topic *topic, int32 partition, int64 offset,
					int64 reach, const char *subject, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_QUEUE_OFFSET_OUT_OF_RANGE),
			 errmsg("%s " INT64_FORMAT " is outside partition %d of topic \"%s\"",
					subject, offset, partition, topic->name),
			 errdetail("It was restored without its messages; other messages are stored from offset "
					   INT64_FORMAT " on.", reach),
			 errhint("%s", hint)));
}
