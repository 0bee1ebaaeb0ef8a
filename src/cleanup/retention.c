/*-------------------------------------------------------------------------
 *
 * retention.c
 *	  Retention: choose segments that a topic no longer needs, and remove them.
 *
 * README, section 13, has the rules and the proofs.  A segment may be removed
 * if it is sealed and the topic's limits are reached: its last message is older
 * than retention, or the partition's newer segments alone have retention_bytes.
 * Unless the topic forces it, groups must have read it: the callers pass the
 * limit that held.c finds.
 *
 * Maintenance drops a segment's table if it can lock the topic's table at once.
 * Otherwise, and in queue.delete_messages(), the segment is emptied: that
 * releases its disk space and needs no exclusive lock on the topic's table.
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

#include "base/compat_table.h"
#include "base/base.h"
#include "base/lock.h"
#include "log/log.h"
#include "topic/segment.h"
#include "topic/topic.h"
#include "cleanup/cleanup.h"

/* Segments that one transaction drops at most. */
#define SEGMENTS_AT_ONCE 64

/* Segments that one call by a user empties at most: each takes some locks. */
#define SEGMENTS_PER_CALL 256

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

/* Return true if the segment has no message that is as new as that time. */
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

/* Return the offset before which the topic's limits let messages go. */
int64
pgqueue_retention_limit(Topic *topic, int32 partition)
{
	Partition  *part = &topic->partitions[partition];
	int			sealed = pgqueue_segments_sealed(topic, part);
	int64		limit = pgqueue_log_start(topic, partition);
	int64		bytes = 0;
	TimestampTz time;

	if (!(topic->cleanup_policy & CLEANUP_DELETE))
		return limit;
	time = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
									   -topic->retention);
	if (topic->retention > 0)
		for (int i = 0; i < sealed &&
			 is_older(topic, &part->segments[i], time); i++)
			limit = Max(limit, part->segments[i].end);
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

/*
 * Empty a locked segment: give it, its TOAST table and its indexes new files.
 * TRUNCATE would fire the owner's triggers with the current user's rights.
 *
 * Locks: the caller holds ACCESS EXCLUSIVE on the segment and its TOAST table.
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
		RelationSetNewRelfilenumber(leaf, leaf->rd_rel->relpersistence);
		if (OidIsValid(toast))
		{
			Relation	rel = table_open(toast, NoLock);

			RelationSetNewRelfilenumber(rel, rel->rd_rel->relpersistence);
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
	(void) reindex_relation(NULL, relid, REINDEX_REL_PROCESS_TOAST,
								&(ReindexParams) {0});
	pgqueue_code_end();
	pgqueue_unpin();
}

/* Return true if an object depends on this one, other than as a part of it. */
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

/* Return true if no object of a user depends on the segment. */
static bool
is_droppable(Oid relid)
{
	Oid			type = get_rel_type_id(relid);

	return !is_depended_on(RelationRelationId, relid) &&
		!is_depended_on(TypeRelationId, type) &&
		!is_depended_on(TypeRelationId, get_array_type(type));
}

/* Locks: the caller holds ACCESS EXCLUSIVE on topic's table and segment. */
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
 * Return how many references to a table the current statement may have: one for
 * each time it has opened the table, and one for the scan.
 */
static int
held_by_statement(Oid relid)
{
	EState	   *estate = ActivePortal == NULL || ActivePortal->queryDesc == NULL ?
		NULL : ActivePortal->queryDesc->estate;
	int			n = 0;

	for (Index i = 0; estate != NULL && i < estate->es_range_table_size; i++)
		if (estate->es_relations[i] != NULL &&
			RelationGetRelid(estate->es_relations[i]) == relid)
			n += 2;
	return n;
}

/*
 * Return true if this session uses the locked segment other than by the current
 * statement: by an open cursor, an outer statement, or a trigger yet to fire.
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
 * Return the level of the message that segments are kept since they are in use:
 * NOTICE for a user; DEBUG1 in the worker, which would log it in each pass.
 */
int
pgqueue_kept_level(void)
{
	return MyBgworkerEntry != NULL ? DEBUG1 : NOTICE;
}

/* Lock a segment exclusively.  Return false, with a message, if it is used. */
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
 * Remove the segments that end at or before an offset, oldest first, up to the
 * first that another transaction uses.  Return their number, and set *bytes to
 * their size on disk.
 *
 * If dropped is NULL they are emptied, at most SEGMENTS_PER_CALL.  Otherwise at
 * most SEGMENTS_AT_ONCE are dropped if the topic's table can be locked at once
 * and nothing depends on them, else emptied; *dropped becomes the number of
 * those dropped, and the caller must end the transaction soon, since no session
 * can use the table until then.
 *
 * Locks: the caller holds SHARE UPDATE EXCLUSIVE on the topic's table, and
 * pgqueue_positions_tag() if it matters what groups have yet to read.
 */
int
pgqueue_remove_segments(Topic *topic, int32 partition, int64 before,
						int64 *bytes, int *dropped)
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

/* Return true if the table has no block: a user may have attached one. */
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
 * locked at once and nothing depends on them.  Return their number.  The caller
 * must end the transaction soon.
 *
 * Locks: the caller holds SHARE UPDATE EXCLUSIVE on the topic's table.
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
		Oid			relid = part->emptied[i].relid;

		if (!pgqueue_try_lock_segment(relid, AccessExclusiveLock) ||
			!is_empty(relid) || !is_droppable(relid))
			continue;
		drop_segment(relid);
		n++;
	}
	return n;
}
