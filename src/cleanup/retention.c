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
 * The log start of a partition is part of its checkpoint (checkpoint.c).  It is
 * moved in the transaction that takes the messages away.
 *
 * Nobody is made to wait, and nobody waits (README, section 13): all locks are
 * taken only if they can be had at once.  A segment that somebody reads stays,
 * with those behind it, until the next pass.  Maintenance drops what goes if it
 * can have the topic's table for itself for a moment.  Else, and when a user lets
 * messages go, it is emptied, which gives back the disk and needs no lock on that
 * table; a topic's description leaves it out from then on
 * (topic/description.c), and maintenance drops the empty table later.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "catalog/dependency.h"
#include "catalog/index.h"
#include "catalog/pg_depend.h"
#include "commands/trigger.h"
#include "postmaster/bgworker.h"
#include "storage/bufmgr.h"
#include "storage/predicate.h"
#include "tcop/pquery.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"

#include "base/compat.h"
#include "base/base.h"
#include "base/lock.h"
#include "log/log.h"
#include "topic/segment.h"
#include "topic/topic.h"
#include "cleanup/cleanup.h"

/* Segments that are dropped in one transaction. */
#define SEGMENTS_AT_ONCE 64

/* Segments that a user's call empties: each takes some locks. */
#define SEGMENTS_PER_CALL 256

/* ---------------- the log start ---------------- */

/*
 * Move a partition's log start, in this transaction.
 *
 * Locks: SHARE UPDATE EXCLUSIVE on the topic's table.
 */
void
pgqueue_store_log_start(const Topic *topic, int32 partition, int64 log_start)
{
	Checkpoint	checkpoint;

	pgqueue_checkpoint_read(topic, partition, &checkpoint);
	checkpoint.log_start = log_start;
	pgqueue_checkpoint_write(topic, partition, &checkpoint);
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
	int			sealed = pgqueue_segments_sealed(topic, part);
	int64		limit = pgqueue_log_start(topic, partition);
	int64		bytes = 0;

	if (!(topic->cleanup_policy & CLEANUP_DELETE))
		return limit;
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
			if (bytes >= topic->retention_bytes && i < sealed)
			{
				limit = Max(limit, part->segments[i].end);
				break;
			}
			bytes += pgqueue_total_bytes(part->segments[i].relid);
		}
	return limit;
}

/* Bytes of the segments that end behind one offset and not behind another. */
int64
pgqueue_bytes_between(Topic *topic, int32 partition, int64 after, int64 upto)
{
	Partition  *part = &topic->partitions[partition];
	int64		bytes = 0;

	for (int i = 0; i < part->nsegments; i++)
		if (part->segments[i].end > after && part->segments[i].end <= upto)
			bytes += pgqueue_total_bytes(part->segments[i].relid);
	return bytes;
}

/* ---------------- letting go ---------------- */

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
	MemoryContext context = CurrentMemoryContext;

	pgqueue_check_code(relid, false);
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
	PG_CATCH();
	{
		pgqueue_allow_ddl = save;
		pgqueue_rethrow_conflict(context);
	}
	PG_END_TRY();
	pgqueue_allow_ddl = save;
	table_close(leaf, NoLock);
	pgqueue_pin();
	pgqueue_code_begin(relid, false);
	pgqueue_reindex_empty(relid);
	pgqueue_code_end();
	pgqueue_unpin();
}

/* Does an object depend on another, other than as a part of it? */
static bool
is_depended_on(Oid class, Oid object)
{
	Relation	rel = table_open(DependRelationId, AccessShareLock);
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		result = false;

	ScanKeyInit(&keys[0], Anum_pg_depend_refclassid, BTEqualStrategyNumber,
				F_OIDEQ, ObjectIdGetDatum(class));
	ScanKeyInit(&keys[1], Anum_pg_depend_refobjid, BTEqualStrategyNumber,
				F_OIDEQ, ObjectIdGetDatum(object));
	scan = systable_beginscan(rel, DependReferenceIndexId, true, NULL, 2, keys);
	while (!result && HeapTupleIsValid(tuple = systable_getnext(scan)))
		result = ((Form_pg_depend) GETSTRUCT(tuple))->deptype ==
			DEPENDENCY_NORMAL;
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return result;
}

/* Could a segment be dropped, or does something of the user's need it? */
static bool
is_droppable(Oid relid)
{
	Oid			type = get_rel_type_id(relid);

	return !is_depended_on(RelationRelationId, relid) &&
		!is_depended_on(TypeRelationId, type) &&
		!is_depended_on(TypeRelationId, get_array_type(type));
}

/* Locks: the strongest on the topic's table and on the segment. */
static void
drop_segment(Oid relid)
{
	ObjectAddress leaf;
	MemoryContext context = CurrentMemoryContext;

	ObjectAddressSet(leaf, RelationRelationId, relid);
	PG_TRY();
	{
		performDeletion(&leaf, DROP_RESTRICT, PERFORM_DELETION_INTERNAL);
	}
	PG_CATCH();
	{
		pgqueue_rethrow_conflict(context);
	}
	PG_END_TRY();
}

/*
 * How many references to a table the statement at hand may have, say to tell an
 * offset: one for each time that it has opened it, and one for the scan.
 */
static int
held_by_statement(Oid relid)
{
	EState	   *estate = ActivePortal == NULL || ActivePortal->queryDesc == NULL ?
		NULL : ActivePortal->queryDesc->estate;
	int			n = 0;

	if (estate == NULL)
		return 0;
	for (Index i = 0; i < estate->es_range_table_size; i++)
		if (estate->es_relations[i] != NULL &&
			RelationGetRelid(estate->es_relations[i]) == relid)
			n += 2;
	return n;
}

/*
 * Is the locked segment in use by our own session, which its own lock does not
 * keep out: an open cursor, a statement around this one, a trigger that is yet
 * to fire?	 The statement at hand does not count.
 */
static bool
used_by_ourselves(Oid relid)
{
	Relation	leaf = table_open(relid, NoLock);
	bool		result = leaf->rd_refcnt > 1 + held_by_statement(relid) ||
		AfterTriggerPendingOnRel(relid);

	if (result)
		ereport(NOTICE,
				(errmsg("messages are kept: segment \"%s\" is in use by this session",
						RelationGetRelationName(leaf))));
	table_close(leaf, NoLock);
	return result;
}

/*
 * At which level it is told that something is kept since it is in use: to a user,
 * and hardly to the log, which would have it with each pass.
 */
int
pgqueue_kept_level(void)
{
	return MyBgworkerEntry != NULL ? DEBUG1 : NOTICE;
}

/* Have a segment for ourselves, if that is soon possible. */
static bool
take_segment(Oid relid)
{
	if (!pgqueue_lock_segment_soon(relid, AccessExclusiveLock, 0))
	{
		ereport(pgqueue_kept_level(),
				(errmsg("messages are kept: segment \"%s\" is in use",
						get_rel_name(relid)),
				 pgqueue_errdetail_relation_holder(relid, AccessExclusiveLock)));
		return false;
	}
	if (!used_by_ourselves(relid))
		return true;
	pgqueue_unlock_segment(relid, AccessExclusiveLock);
	return false;
}

/*
 * Let the segments go that end at or before an offset, oldest first, up to the
 * first that another transaction uses, at most SEGMENTS_PER_CALL: they are emptied.
 * Returns how many; *bytes of disk.
 *
 * dropped: NULL, or the transaction is to end soon; then they are dropped, as far
 * as the topic's table can be locked at once, and nothing depends on them; it
 * becomes how many.  At most SEGMENTS_AT_ONCE go then: nobody can use the topic's
 * table meanwhile.
 *
 * Locks: SHARE UPDATE EXCLUSIVE on the topic's table; pgqueue_positions_lock() if
 * it matters what groups have yet to read.
 */
int
pgqueue_let_go(Topic *topic, int32 partition, int64 before, int64 *bytes,
			   int *dropped)
{
	Partition  *part = &topic->partitions[partition];
	int			sealed = pgqueue_segments_sealed(topic, part);
	int			limit;
	int			n = 0;
	bool		may_drop;

	*bytes = 0;
	limit = Min(sealed, dropped != NULL ? SEGMENTS_AT_ONCE : SEGMENTS_PER_CALL);
	while (n < limit && part->segments[n].end <= before &&
		   take_segment(part->segments[n].relid))
		n++;
	if (n == 0)
		return 0;
	if (dropped == NULL && n == limit && n < sealed &&
		part->segments[n].end <= before)
		ereport(NOTICE,
				(errmsg("messages are kept: a call lets at most %d segments go",
						limit),
				 errhint("Call it again in another transaction.")));
	may_drop = dropped != NULL &&
		pgqueue_try_lock_relation(topic->log, AccessExclusiveLock);
	pgqueue_store_log_start(topic, partition, part->segments[n - 1].end);
	for (int i = 0; i < n; i++)
	{
		Oid			relid = part->segments[i].relid;

		*bytes += pgqueue_total_bytes(relid);
		if (may_drop && is_droppable(relid))
		{
			drop_segment(relid);
			(*dropped)++;
		}
		else
			empty_segment(relid);
	}
	return n;
}

/* Has the locked table no block?  Somebody may have attached one that has. */
static bool
is_empty(Oid relid)
{
	Relation	leaf = table_open(relid, NoLock);
	bool		result = RelationGetNumberOfBlocks(leaf) == 0;

	table_close(leaf, NoLock);
	return result;
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
		if (!pgqueue_try_lock_segment(part->emptied[i], AccessExclusiveLock) ||
			!is_empty(part->emptied[i]) || !is_droppable(part->emptied[i]))
			continue;
		drop_segment(part->emptied[i]);
		n++;
	}
	return n;
}
