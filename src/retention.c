/*-------------------------------------------------------------------------
 *
 * retention.c
 *	  What a topic need not keep: which segments may go, and letting them go.
 *
 * Whole segments go, oldest first, never single messages.	A segment may go if
 * it is sealed (a later one has a block) and the topic's limits are reached:
 * its last message is older than retention, or the partition's newer segments
 * alone have retention_bytes; and, unless the topic forces it, if every group
 * that reads the topic is behind it.
 *
 * The log start of a partition is a row of queue.log_start.  It is moved in the
 * transaction that takes the messages away:
 *
 *	 topic_id int4 | partition int4 | log_start int8
 *
 * Nobody is made to wait, and nobody waits (README, section 9): all
 * locks are taken only if they can be had at once.	 A segment that somebody
 * reads stays, with those behind it, until the next pass.	Maintenance, whose
 * transaction ends at once, drops segments if the topic's table can be locked
 * for that moment; else they are emptied, which gives back the disk, and are
 * dropped by a later pass.
 *
 *-------------------------------------------------------------------------
 */
#include "queue.h"

#include "access/genam.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

/* Columns of queue.log_start. */
#define START_ATTR_TOPIC		1
#define START_ATTR_PARTITION	2
#define START_ATTR_OFFSET		3
#define START_NATTS				3

/* ---------------- the log start ---------------- */

/* Fill in the log starts of a topic that is being loaded. */
void
pgqueue_load_log_starts(Topic *topic)
{
	Relation	rel = table_open(pgqueue_registry(REGISTRY_LOG_START),
								 AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, START_ATTR_TOPIC, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum(topic->id));
	scan = systable_beginscan(rel, pgqueue_registry(REGISTRY_LOG_START_INDEX),
							  true, NULL, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool		isnull;
		int32		partition =
			DatumGetInt32(heap_getattr(tuple, START_ATTR_PARTITION,
									   RelationGetDescr(rel), &isnull));

		if (partition < topic->npartitions)
			topic->partitions[partition].log_start =
				DatumGetInt64(heap_getattr(tuple, START_ATTR_OFFSET,
										   RelationGetDescr(rel), &isnull));
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
}

/*
 * Move a partition's log start, in this transaction.
 *
 * Locks: SHARE UPDATE EXCLUSIVE on the topic's table.
 */
static void
store_log_start(const Topic *topic, int32 partition, int64 log_start)
{
	Relation	rel = pgqueue_open_for_writing(REGISTRY_LOG_START);
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	old;
	HeapTuple	tuple;
	Datum		values[START_NATTS];
	bool		nulls[START_NATTS] = {false};

	values[START_ATTR_TOPIC - 1] = Int32GetDatum(topic->id);
	values[START_ATTR_PARTITION - 1] = Int32GetDatum(partition);
	values[START_ATTR_OFFSET - 1] = Int64GetDatum(log_start);
	tuple = heap_form_tuple(RelationGetDescr(rel), values, nulls);

	ScanKeyInit(&keys[0], START_ATTR_TOPIC, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum(topic->id));
	ScanKeyInit(&keys[1], START_ATTR_PARTITION, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum(partition));
	scan = systable_beginscan(rel, pgqueue_registry(REGISTRY_LOG_START_INDEX),
							  true, SnapshotSelf, 2, keys);
	old = systable_getnext(scan);
	if (HeapTupleIsValid(old))
		CatalogTupleUpdate(rel, &old->t_self, tuple);
	else
		CatalogTupleInsert(rel, tuple);
	systable_endscan(scan);
	table_close(rel, NoLock);
	pgqueue_topic_changed(topic->log);
}

/* Forget a dropped topic's.  Locks: the strongest of its table. */
void
pgqueue_log_starts_delete(const Topic *topic)
{
	Relation	rel = pgqueue_open_for_writing(REGISTRY_LOG_START);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, START_ATTR_TOPIC, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum(topic->id));
	scan = systable_beginscan(rel, pgqueue_registry(REGISTRY_LOG_START_INDEX),
							  true, SnapshotSelf, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		CatalogTupleDelete(rel, &tuple->t_self);
	systable_endscan(scan);
	table_close(rel, NoLock);
}

/* ---------------- what may go ---------------- */

/* Bytes on disk with TOAST and indexes. */
static int64
total_bytes(Oid relid)
{
	return DatumGetInt64(DirectFunctionCall1(pg_total_relation_size,
											 ObjectIdGetDatum(relid)));
}

/* The last segment that has a block: those before it are sealed. */
static int
segments_sealed(Topic *topic, Partition *part)
{
	for (int i = part->nsegments - 1; i > 0; i--)
	{
		Relation	leaf = pgqueue_open_segment(topic, &part->segments[i],
												AccessShareLock);
		bool		used;

		if (leaf == NULL)
			continue;
		used = RelationGetNumberOfBlocks(leaf) > 0;
		table_close(leaf, AccessShareLock);
		if (used)
			return i;
	}
	return 0;
}

/* Is the segment's last message older than that?  One without any is. */
static bool
is_older(Topic *topic, const Segment *segment, TimestampTz time)
{
	Relation	leaf = pgqueue_open_segment(topic, segment, AccessShareLock);
	LogTail		tail;

	if (leaf == NULL)
		return true;
	pgqueue_segment_tail(leaf, RelationGetNumberOfBlocks(leaf), &tail);
	table_close(leaf, AccessShareLock);
	return !tail.found || tail.timestamp < time;
}

/*
 * The offset before which the topic's limits allow messages to go.	 Segments are
 * looked at, not locked.
 */
int64
pgqueue_retention_limit(Topic *topic, int32 partition)
{
	Partition  *part = &topic->partitions[partition];
	int			sealed = segments_sealed(topic, part);
	int64		limit = pgqueue_log_start(topic, partition);
	int64		bytes = 0;

	if (topic->retention > 0)
	{
		TimestampTz time = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
													   -topic->retention);

		for (int i = 0; i < sealed &&
			 is_older(topic, &part->segments[i], time); i++)
			limit = Max(limit, part->segments[i].end);
	}
	if (topic->retention_bytes > 0)
		for (int i = part->nsegments - 1; i >= 0; i--)
		{
			bytes += total_bytes(part->segments[i].relid);
			if (bytes > topic->retention_bytes && i < sealed)
			{
				limit = Max(limit, part->segments[i].end);
				break;
			}
		}
	return limit;
}

/*
 * The least offset that a group has yet to read in the partition, and which
 * group; PG_INT64_MAX if no group reads the topic.	 A group that has not begun
 * the partition is at the log start.
 */
int64
pgqueue_held_for_groups(Topic *topic, int32 partition, char **name)
{
	int64		least = PG_INT64_MAX;
	ListCell   *lc;

	*name = NULL;
	foreach(lc, pgqueue_groups_of(topic->id))
	{
		ConsumerGroup *group = lfirst(lc);
		Progress	progress;
		int64		offset;

		pgqueue_progress_look(group->id, topic->id, partition, &progress);
		offset = progress.found ? progress.offset :
			pgqueue_log_start(topic, partition);
		if (offset < least)
		{
			least = offset;
			*name = group->name;
		}
	}
	return least;
}

/* Bytes of the segments that end behind one offset and not behind another. */
int64
pgqueue_bytes_between(Topic *topic, int32 partition, int64 after, int64 upto)
{
	Partition  *part = &topic->partitions[partition];
	int64		bytes = 0;

	for (int i = 0; i < part->nsegments; i++)
		if (part->segments[i].end > after && part->segments[i].end <= upto)
			bytes += total_bytes(part->segments[i].relid);
	return bytes;
}

/* ---------------- letting go ---------------- */

/*
 * Lock a segment as strongly as can be, with its TOAST table, if that can be
 * had at once.  What was locked is kept to the end of the transaction.
 */
static bool
lock_segment(const Segment *segment)
{
	HeapTuple	tuple;
	Oid			toast;

	if (!pgqueue_try_lock_relation(segment->relid, AccessExclusiveLock))
		return false;
	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(segment->relid));
	if (!HeapTupleIsValid(tuple))
		return false;			/* gone meanwhile */
	toast = ((Form_pg_class) GETSTRUCT(tuple))->reltoastrelid;
	ReleaseSysCache(tuple);
	return !OidIsValid(toast) ||
		pgqueue_try_lock_relation(toast, AccessExclusiveLock);
}

static Oid
log_owner(const Topic *topic)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(topic->log));
	Oid			owner;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", topic->log);
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	return owner;
}

static char *
segment_name(Oid relid)
{
	return quote_qualified_identifier(PGQUEUE_SCHEMA, get_rel_name(relid));
}

/* Let a locked segment go; as a table, or only what is in it. */
static void
let_segment_go(const Topic *topic, const Segment *segment, bool drop)
{
	if (drop)
		pgqueue_run_ddl(pgqueue_extension_owner(),
						psprintf("DROP TABLE %s",
								 segment_name(segment->relid)));
	else
		pgqueue_run_ddl(log_owner(topic),
						psprintf("TRUNCATE %s", segment_name(segment->relid)));
}

/*
 * Let the segments go that end at or before an offset, oldest first, up to the
 * first that somebody uses.  Returns how many went; *bytes of disk.
 *
 * may_drop: the transaction is about to end, so the topic's table may be locked
 * against everybody.  Then those go, too, that were only emptied before.
 *
 * Locks: SHARE UPDATE EXCLUSIVE on the topic's table.
 */
int
pgqueue_let_go(Topic *topic, int32 partition, int64 before, bool may_drop,
			   int64 *bytes)
{
	Partition  *part = &topic->partitions[partition];
	int64		start = pgqueue_log_start(topic, partition);
	int			sealed = segments_sealed(topic, part);
	int			emptied = 0;
	int			n;
	bool		drop;

	*bytes = 0;
	while (emptied < sealed && part->segments[emptied].end <= start)
		emptied++;
	n = emptied;
	while (n < sealed && part->segments[n].end <= before &&
		   lock_segment(&part->segments[n]))
		n++;
	if (n == 0 || (n == emptied && !may_drop))
		return 0;
	drop = may_drop && pgqueue_try_lock_relation(topic->log,
												 AccessExclusiveLock);
	if (n > emptied)
		store_log_start(topic, partition, part->segments[n - 1].end);
	for (int i = 0; i < emptied && drop; i++)
		if (lock_segment(&part->segments[i]))
			let_segment_go(topic, &part->segments[i], true);
	for (int i = emptied; i < n; i++)
	{
		*bytes += total_bytes(part->segments[i].relid);
		let_segment_go(topic, &part->segments[i], drop);
	}
	return n - emptied;
}
