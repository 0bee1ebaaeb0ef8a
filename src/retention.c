/*-------------------------------------------------------------------------
 *
 * retention.c
 *	  What a topic need not keep: which segments may go, and letting them go.
 *
 * Whole segments go, oldest first, never single messages.	A segment may go if
 * it is sealed (a later one has a block) and the topic's limits are reached:
 * its last message is older than retention, or the partition's newer segments
 * alone have retention_bytes; and, unless the topic forces it, if every group
 * that reads the topic is behind it, but those that have expired (expiry.c).
 *
 * The log start of a partition is a row of queue.log_start.  It is moved in the
 * transaction that takes the messages away:
 *
 *	 topic_id int4 | partition int4 | log_start int8
 *
 * Nobody is made to wait, and nobody waits (README, section 9): all locks are
 * taken only if they can be had at once.  A segment that somebody reads stays,
 * with those behind it, until the next pass.  What goes is emptied, which gives
 * back the disk and needs no lock on the topic's table; a topic's description
 * leaves it out from then on (catalog.c).	Maintenance drops the empty tables when
 * it can have that lock for a moment.
 *
 *-------------------------------------------------------------------------
 */
#include "queue.h"

#include "access/genam.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/index.h"
#include "catalog/indexing.h"
#include "catalog/objectaddress.h"
#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "storage/predicate.h"
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
	LOCAL_FCINFO(fcinfo, 1);
	Datum		bytes;

	InitFunctionCallInfoData(*fcinfo, NULL, 1, InvalidOid, NULL, NULL);
	fcinfo->args[0].value = ObjectIdGetDatum(relid);
	fcinfo->args[0].isnull = false;
	bytes = pg_total_relation_size(fcinfo);
	return fcinfo->isnull ? 0 : DatumGetInt64(bytes);	/* gone meanwhile */
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
 * group, as it looks now; PG_INT64_MAX if no group reads the topic.	A group that
 * has not begun the partition is at the log start; one that has expired holds
 * nothing.
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
		TimestampTz used = 0;
		Progress	progress;
		int64		offset;

		pgqueue_progress_look(group->id, topic->id, partition, &progress);
		offset = progress.found ? progress.offset :
			pgqueue_log_start(topic, partition);
		if (offset < least &&
			!pgqueue_group_expired(group, topic, partition, offset, &used))
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

/* Its TOAST table; false if the segment is gone. */
static bool
toast_of(Oid relid, Oid *toast)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));

	if (!HeapTupleIsValid(tuple))
		return false;
	*toast = ((Form_pg_class) GETSTRUCT(tuple))->reltoastrelid;
	ReleaseSysCache(tuple);
	return true;
}

/*
 * Lock a segment as strongly as can be, with its TOAST table, if that can be
 * had at once.  What was locked is kept to the end of the transaction.
 */
static bool
lock_segment(Oid relid)
{
	Oid			toast;

	if (!pgqueue_try_lock_relation(relid, AccessExclusiveLock))
		return false;
	if (toast_of(relid, &toast) &&
		(!OidIsValid(toast) ||
		 pgqueue_try_lock_relation(toast, AccessExclusiveLock)))
		return true;
	pgqueue_unlock_relation(relid, AccessExclusiveLock);
	return false;
}

/*
 * Empty a locked segment: new files for it, its TOAST table and its indexes, as
 * TRUNCATE gives them; the old ones go with the commit.  In C, since a TRUNCATE
 * would fire the owner's triggers with whose rights we have.
 */
static void
empty_segment(Oid relid)
{
	Relation	leaf = table_open(relid, NoLock);
	Oid			toast = leaf->rd_rel->reltoastrelid;
	bool		save = pgqueue_allow_ddl;

	CheckTableForSerializableConflictIn(leaf);
	pgqueue_allow_ddl = true;
	PG_TRY();
	{
		pgqueue_set_new_file(leaf, leaf->rd_rel->relpersistence);
		if (OidIsValid(toast))
		{
			Relation	rel = table_open(toast, NoLock);

			pgqueue_set_new_file(rel, rel->rd_rel->relpersistence);
			table_close(rel, NoLock);
		}
	}
	PG_FINALLY();
	{
		pgqueue_allow_ddl = save;
	}
	PG_END_TRY();
	table_close(leaf, NoLock);
	pgqueue_reindex_empty(relid);
}

/*
 * Let the segments go that end at or before an offset, oldest first, up to the
 * first that somebody uses: they are emptied.	Returns how many; *bytes of disk.
 *
 * Locks: SHARE UPDATE EXCLUSIVE on the topic's table; pgqueue_positions_lock() if
 * it matters what groups have yet to read.
 */
int
pgqueue_let_go(Topic *topic, int32 partition, int64 before, int64 *bytes)
{
	Partition  *part = &topic->partitions[partition];
	int			sealed = segments_sealed(topic, part);
	int			n = 0;

	*bytes = 0;
	while (n < sealed && part->segments[n].end <= before &&
		   lock_segment(part->segments[n].relid))
		n++;
	if (n == 0)
		return 0;
	store_log_start(topic, partition, part->segments[n - 1].end);
	for (int i = 0; i < n; i++)
	{
		*bytes += total_bytes(part->segments[i].relid);
		empty_segment(part->segments[i].relid);
	}
	return n;
}

/*
 * Drop the segments that were emptied, if the topic's table and they can be
 * locked at once.  The transaction is to end soon: nobody can use the topic
 * meanwhile.  What depends on one keeps it.
 *
 * Locks: SHARE UPDATE EXCLUSIVE on the topic's table.
 */
int
pgqueue_drop_emptied(Topic *topic, int32 partition)
{
	Partition  *part = &topic->partitions[partition];
	int			n = 0;

	if (part->nemptied == 0 ||
		!pgqueue_try_lock_relation(topic->log, AccessExclusiveLock))
		return 0;
	for (int i = 0; i < part->nemptied; i++)
	{
		ObjectAddress leaf;

		if (!lock_segment(part->emptied[i]))
			continue;
		ObjectAddressSet(leaf, RelationRelationId, part->emptied[i]);
		performDeletion(&leaf, DROP_RESTRICT, PERFORM_DELETION_INTERNAL);
		n++;
	}
	return n;
}
