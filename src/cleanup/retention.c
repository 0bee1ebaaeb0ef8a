/*-------------------------------------------------------------------------
 *
 * retention.c
 *	  Retention: choose segments that a topic no longer needs, and remove them.
 *
 * README, section 13, has the rules and the proofs.  A segment may be removed
 * if it is closed (topic/ends.c) and the topic's limits are reached: its last
 * message is older than retention, or the partition's newer segments alone have retention_bytes.
 * Unless the topic forces it, groups must have read it: the callers pass the
 * limit that held.c finds.
 *
 * Maintenance drops a segment's table if it can lock the topic's table at once.
 * Otherwise, and in queue.delete_messages(), the segment is emptied: that
 * releases its disk space and needs no exclusive lock on the topic's table.
 *
 * queue.delete_messages() moves the log start to any offset.  The segment in
 * which that lies is cut (log/cut.c), and a segment before it that is in use
 * stays on disk until maintenance can remove it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/dependency.h"
#include "catalog/index.h"
#include "commands/trigger.h"
#include "postmaster/bgworker.h"
#include "storage/bufmgr.h"
#include "storage/predicate.h"
#include "tcop/pquery.h"
#include "utils/inval.h"
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
 * Move a partition's log start, in this transaction, once at most in a command:
 * to the end of a segment or, up to pgqueue_log_ends()'s latest, into one.  All
 * sessions look up again where the segments before it are cut (log/cut.c).
 *
 * Locks: SHARE UPDATE EXCLUSIVE on the topic's table, since the topic was last
 * looked up.
 */
void
pgqueue_store_log_start(const Topic *topic, int32 partition, int64 log_start)
{
	const Partition *part = pgqueue_partition(topic, partition);
	Checkpoint	checkpoint;

	pgqueue_checkpoint_read(topic, partition, &checkpoint);
	checkpoint.log_start = log_start;
	pgqueue_checkpoint_write(topic, partition, &checkpoint);
	for (int i = 0; i < part->nsegments &&
		 part->segments[i].first < log_start; i++)
		CacheInvalidateRelcacheByRelid(part->segments[i].relid);
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
	Partition  *part = pgqueue_partition(topic, partition);
	int			closed;
	int64		limit = pgqueue_log_start(topic, partition);
	int64		bytes = 0;
	TimestampTz time;

	if (!(topic->cleanup_policy & CLEANUP_DELETE) ||
		(topic->retention <= 0 && topic->retention_bytes <= 0))
		return limit;
	closed = pgqueue_segments_closed(topic, part);
	time = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
									   -topic->retention);
	if (topic->retention > 0)
		for (int i = 0; i < closed &&
			 is_older(topic, &part->segments[i], time); i++)
			limit = Max(limit, part->segments[i].end);
	if (topic->retention_bytes > 0)
		for (int i = pgqueue_segments_sealed(topic, part); i >= 0; i--)
		{
			if (bytes >= topic->retention_bytes && i < closed)
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
void
pgqueue_empty_segment(Oid relid)
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
 * Drop a segment, if that is allowed and nothing depends on it, or empty it; add
 * its size on disk to *bytes.  Return true if it was dropped.
 *
 * Locks: the caller holds ACCESS EXCLUSIVE on the segment and, if it may be
 * dropped, on the topic's table.
 */
static bool
remove_segment(Oid relid, bool may_drop, int64 *bytes)
{
	*bytes += pgqueue_total_bytes(relid);
	if (may_drop && pgqueue_is_droppable(relid))
	{
		drop_segment(relid);
		return true;
	}
	pgqueue_empty_segment(relid);
	return false;
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

/*
 * Lock a segment exclusively.  Return false, with a message, if it is used.
 * deleted: its messages are deleted even so.
 */
static bool
take_segment(Oid relid, bool deleted)
{
	const char *name = get_rel_name(relid);

	if (!pgqueue_lock_segment_soon(relid, AccessExclusiveLock, 0))
	{
		ereport(pgqueue_kept_level(),
				(deleted ?
				 errmsg("the disk space of segment \"%s\" is not released: the segment is in use",
						name) :
				 errmsg("messages are kept: segment \"%s\" is in use", name),
				 pgqueue_errdetail_relation_holder(relid, AccessExclusiveLock),
				 deleted ? errhint("Maintenance releases it later.") : 0));
		return false;
	}
	if (!used_by_ourselves(relid))
		return true;
	ereport(NOTICE,
			(deleted ?
			 errmsg("the disk space of segment \"%s\" is not released: the segment is in use by this session",
					name) :
			 errmsg("messages are kept: segment \"%s\" is in use by this session",
					name)));
	pgqueue_unlock_segment(relid, AccessExclusiveLock);
	return false;
}

/*
 * Lock the closed segments that end at or before an offset, oldest first, up to
 * the first that another transaction uses.  Return their number, at most limit.
 */
static int
take_segments(Topic *topic, int32 partition, int64 before, int limit,
			  bool deleted)
{
	Partition  *part = pgqueue_partition(topic, partition);
	int			n = 0;

	limit = Min(limit, pgqueue_segments_closed(topic, part));
	while (n < limit && part->segments[n].end <= before &&
		   take_segment(part->segments[n].relid, deleted))
		n++;
	/* VACUUM may have made room in the last one before it was locked */
	return Min(n, pgqueue_segments_closed(topic, part));
}

/*
 * Return how many of the first n segments maintenance drops in one transaction:
 * none if the topic's table cannot be locked at once, and none behind the first
 * on which an object of a user depends.
 *
 * Locks: takes ACCESS EXCLUSIVE on the topic's table.
 */
static int
droppable_at_once(const Topic *topic, const Segment *segments, int n)
{
	int			droppable = 0;

	if (n == 0 || !pgqueue_is_droppable(segments[0].relid) ||
		!pgqueue_try_lock_relation(topic->log, AccessExclusiveLock))
		return 0;
	while (droppable < n && pgqueue_is_droppable(segments[droppable].relid))
		droppable++;
	return droppable;
}

/*
 * Remove the segments that end at or before an offset, oldest first, up to the
 * first that another transaction uses.  Return their number, at most
 * SEGMENTS_AT_ONCE; set *bytes to their size on disk, and *dropped to the number
 * of those that were dropped since the topic's table could be locked at once and
 * nothing depends on them.  If none can be dropped, one is emptied: that needs
 * some disk space before it releases its own.  The caller must end the
 * transaction soon, since no session can use the table until then.
 *
 * Locks: the caller holds SHARE UPDATE EXCLUSIVE on the topic's table, and
 * pgqueue_positions_tag() if it matters what groups have yet to read.
 */
int
pgqueue_remove_segments(Topic *topic, int32 partition, int64 before,
						int64 *bytes, int *dropped)
{
	Partition  *part = pgqueue_partition(topic, partition);
	int			n = take_segments(topic, partition, before, SEGMENTS_AT_ONCE,
								  false);

	*bytes = 0;
	*dropped = droppable_at_once(topic, part->segments, n);
	n = Min(n, Max(*dropped, 1));
	if (n > 0)
		pgqueue_store_log_start(topic, partition, part->segments[n - 1].end);
	for (int i = 0; i < n; i++)
		(void) remove_segment(part->segments[i].relid, *dropped > 0, bytes);
	return n;
}

typedef struct EmptyTask
{
	Oid		   *relids;
	int			n;
	int64		bytes;
} EmptyTask;

/* Empty segments.  A TopicTask. */
static void
empty_segments(Topic *topic, void *arg)
{
	EmptyTask  *task = arg;

	for (int i = 0; i < task->n; i++)
		(void) remove_segment(task->relids[i], false, &task->bytes);
}

/*
 * Delete a partition's messages before an offset: move the log start there, and
 * empty the segments before it, oldest first, up to the first that is in use, at
 * most SEGMENTS_PER_CALL; maintenance removes the others later, and all of them
 * if the disk is too full to empty one.  Return the number of those emptied, and
 * set *bytes to their size on disk.
 *
 * before: greater than the log start, at most pgqueue_log_ends()'s latest.
 *
 * Locks: those of pgqueue_remove_segments().
 */
int
pgqueue_delete_before(Topic *topic, int32 partition, int64 before,
					  int64 *bytes)
{
	Partition  *part = pgqueue_partition(topic, partition);
	EmptyTask	task = {.n = take_segments(topic, partition, before,
										   SEGMENTS_PER_CALL, true)};
	ErrorData  *error;

	*bytes = 0;
	task.relids = palloc(task.n * sizeof(Oid));
	for (int i = 0; i < task.n; i++)
		task.relids[i] = part->segments[i].relid;
	pgqueue_store_log_start(topic, partition, before);
	if (task.n == 0)
		return 0;
	CommandCounterIncrement();
	error = pgqueue_any_error_of(topic, empty_segments, &task);
	if (error == NULL)
	{
		*bytes = task.bytes;
		return task.n;
	}
	if (error->sqlerrcode != ERRCODE_DISK_FULL)
		ReThrowError(error);
	ereport(NOTICE,
			(errmsg("the disk space of the deleted messages is not released: %s",
					error->message),
			 errhint("Maintenance releases it later.")));
	return 0;
}

/*
 * Return true if a locked table before the log start may be removed: it has no
 * block, or is a segment.  (*has_blocks: the latter.)  A user may have attached
 * another table there.
 */
static bool
is_removable(const Topic *topic, Oid relid, bool *has_blocks)
{
	Relation	leaf = table_open(relid, NoLock);
	const char *flaw;
	bool		result;

	*has_blocks = RelationGetNumberOfBlocks(leaf) > 0;
	result = !*has_blocks ||
		pgqueue_segment_sound(leaf, topic->log, topic->owner,
							  topic->value_type, &flaw);
	table_close(leaf, NoLock);
	return result && (!*has_blocks || !used_by_ourselves(relid));
}

/* Return true if nothing depends on one of n segments, as far as is known now. */
static bool
any_droppable(const Segment *segments, int n)
{
	for (int i = 0; i < n; i++)
		if (pgqueue_is_droppable(segments[i].relid))
			return true;
	return false;
}

/*
 * Drop the segments before the log start that can be locked at once, and on
 * which nothing depends, if the topic's table can be locked at once, too; else
 * empty one that is not empty yet.  Return the number of those dropped, set
 * *emptied to that of the others, and *bytes to what was released.  The caller
 * must end the transaction soon.
 *
 * The table is not locked for segments that cannot be dropped, since each such
 * lock cancels queries on a standby.
 *
 * Locks: the caller holds SHARE UPDATE EXCLUSIVE on the topic's table.
 */
int
pgqueue_drop_removed(Topic *topic, int32 partition, int *emptied, int64 *bytes)
{
	/* as it is now: the topic may be described anew meanwhile */
	Partition	part = *pgqueue_partition(topic, partition);
	bool		may_drop = any_droppable(part.removed, part.nremoved) &&
		pgqueue_try_lock_relation(topic->log, AccessExclusiveLock);
	int			dropped = 0;

	*emptied = 0;
	*bytes = 0;
	for (int i = 0; i < part.nremoved && *emptied == 0 &&
		 dropped < SEGMENTS_AT_ONCE; i++)
	{
		Oid			relid = part.removed[i].relid;
		int64		none = 0;	/* told when the segment was emptied */
		bool		has_blocks;

		if (!pgqueue_try_lock_segment(relid, AccessExclusiveLock))
			continue;
		if (!is_removable(topic, relid, &has_blocks) ||
			(!has_blocks && !(may_drop && pgqueue_is_droppable(relid))))
			pgqueue_unlock_segment(relid, AccessExclusiveLock);
		else if (remove_segment(relid, may_drop, has_blocks ? bytes : &none))
			dropped++;
		else
			(*emptied)++;
	}
	return dropped;
}
