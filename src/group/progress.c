/*-------------------------------------------------------------------------
 *
 * progress.c
 *	  Progress: the committed offset of each group in each partition.
 *
 * Progress is a log, too: a committed offset is a new row of queue.progress,
 * read from the end of an index on (group, topic, partition, generation).  An
 * UPDATE would do as well until a transaction holds an old snapshot; then
 * every version stays, and each read walks over all of them.
 *
 * Rows are read and written under the lock of (group, topic, partition), and
 * read as of now, with SnapshotSelf: src/README, sections 11 and 12.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/indexing.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"

#include "base/base.h"
#include "base/errors.h"
#include "base/lock.h"
#include "wait/wait.h"
#include "topic/segment.h"
#include "topic/topic.h"
#include "group/progress.h"

/* ---------------- locks ---------------- */

static LOCKTAG
progress_tag(int32 group, int32 topic_id, int32 partition)
{
	return pgqueue_tag(PGQUEUE_LOCK_GROUP |
					   (partition % PGQUEUE_LOCKED_PARTITIONS),
					   group, topic_id);
}

/*
 * Lock a group's progress in a partition, and in those that share its lock
 * (PGQUEUE_LOCKED_PARTITIONS).  Return false if wait is false and another
 * transaction has the lock.
 */
bool
pgqueue_progress_lock(int32 group, int32 topic_id, int32 partition, bool wait)
{
	if (!pgqueue_lock(progress_tag(group, topic_id, partition), ExclusiveLock,
					  wait))
		return false;
	pgqueue_note_held(group, topic_id, partition);
	return true;
}

/* Release one pgqueue_progress_lock(), if nothing was written under it. */
void
pgqueue_progress_unlock(const Progress *progress)
{
	int32		group = progress->group_id;
	int32		topic_id = progress->topic->id;

	pgqueue_unlock(progress_tag(group, topic_id, progress->partition),
				   ExclusiveLock);
	pgqueue_wake_blocked(group, topic_id, progress->partition);
}

/* Return true if another transaction has the lock at this moment. */
bool
pgqueue_progress_busy(int32 group, int32 topic_id, int32 partition)
{
	return pgqueue_lock_is_held(progress_tag(group, topic_id, partition),
								ExclusiveLock);
}

/*
 * Return the tag of the lock of the groups' offsets in a partition.  A
 * transaction that may put a group before the offsets of all others has it
 * shared, to its end, and looks the topic up again when it has the lock.
 * Retention tries it exclusively.
 */
LOCKTAG
pgqueue_positions_tag(const Topic *topic, int32 partition)
{
	return pgqueue_tag(PGQUEUE_LOCK_POSITIONS, topic->id,
					   partition % PGQUEUE_LOCKED_PARTITIONS);
}

/* ---------------- reading ---------------- */

/*
 * Begin a scan over the rows of a group, of a topic (-1: any), of a partition
 * (-1: any), in a table that begins with these columns.  The newest row of
 * queue.progress is a partition's last.
 */
void
pgqueue_group_scan(RegistryScan *scan, RegistryTable table, int32 group,
				   int32 topic_id, int32 partition)
{
	pgqueue_registry_key_int4(scan, PROGRESS_ATTR_GROUP, group);
	if (topic_id >= 0)
		pgqueue_registry_key_int4(scan, PROGRESS_ATTR_TOPIC, topic_id);
	if (partition >= 0)
		pgqueue_registry_key_int4(scan, PROGRESS_ATTR_PARTITION, partition);
	pgqueue_registry_scan(scan, table, AccessShareLock, SnapshotSelf);
}

/* Judge an offset from an earlier incarnation: src/README, section 9. */
static void
judge_restored(Progress *progress)
{
	progress->reach = pgqueue_incarnation_reach(progress->topic,
												progress->partition,
												progress->incarnation, -1);
	progress->lost = progress->offset > progress->reach;
	if (progress->lost || progress->handed_to > progress->reach)
		pgqueue_new_epoch(progress);
}

/* Read the newest row, as of now; without the lock it is soon outdated. */
void
pgqueue_progress_look(int32 group, const Topic *topic, int32 partition,
					  Progress *progress)
{
	RegistryScan scan = {0};
	HeapTuple	tuple;

	memset(progress, 0, sizeof(Progress));
	progress->group_id = group;
	progress->topic = topic;
	progress->partition = partition;
	pgqueue_group_scan(&scan, REGISTRY_PROGRESS, group, topic->id, partition);
	tuple = pgqueue_registry_previous(&scan);
	if (HeapTupleIsValid(tuple))
		pgqueue_progress_row_read(scan.rel, tuple, progress);
	pgqueue_registry_end(&scan);
	if (unlikely(progress->incarnation != 0 &&
				 progress->incarnation != pgqueue_incarnation(topic)))
		judge_restored(progress);
}

/*
 * Read the newest row.
 *
 * Locks: the group's progress in the partition.
 * Errors: 40001 if the transaction's snapshot does not know the row.
 */
void
pgqueue_progress_read(int32 group, const Topic *topic, int32 partition,
					  Progress *progress)
{
	pgqueue_progress_look(group, topic, partition, progress);
	if (progress->found)
		pgqueue_check_known(progress->xmin, "consuming");
}

/*
 * Lock and read the progress for a call that may put the group back.
 *
 * Locks: takes pgqueue_positions_tag() and the group's progress.
 * Errors: 40001.
 */
void
pgqueue_progress_lock_and_read(int32 group, Topic *topic, int32 partition,
							   Progress *progress)
{
	(void) pgqueue_lock(pgqueue_positions_tag(topic, partition), ShareLock,
						true);
	(void) pgqueue_progress_lock(group, topic->id, partition, true);
	topic = pgqueue_topic_refresh(topic);
	pgqueue_progress_read(group, topic, partition, progress);
}

/* ---------------- writing ---------------- */

/*
 * Write the group's new state in the partition: what the caller has read and
 * changed, the next generation and, if the offset is moved, role and time.
 *
 * Locks: the group's progress in the partition.
 */
void
pgqueue_progress_write(Progress *progress, ProgressAction action)
{
	const Topic *topic = progress->topic;

	/* wake waiters that find the lock held when it is released */
	pgqueue_note_progress(progress->group_id, topic->id, progress->partition,
						  false);
	progress->found = true;
	progress->generation++;
	if (action != PROGRESS_HANDED && action != PROGRESS_PARKED &&
		action != PROGRESS_UNMOVED)
	{
		progress->committed_at = GetCurrentTimestamp();
		progress->committed_by = GetUserNameFromId(GetUserId(), false);
	}
	if (action != PROGRESS_UNMOVED)
		progress->released = progress->lost = false;
	if (!progress->lost)
	{
		pgqueue_incarnation_begin(topic, progress->partition);
		progress->incarnation = pgqueue_incarnation(topic);
	}
	pgqueue_progress_row_insert(progress, action);
}

/* Return true if a member, alive or not, has uncommitted messages. */
bool
pgqueue_in_hand(const Progress *progress)
{
	return progress->member != NULL &&
		(progress->handed_to > progress->offset || progress->in_hand > 0);
}

/*
 * Check that a member has the messages of a partition in hand, by an epoch.
 *
 * Errors: QU004.
 */
void
pgqueue_check_in_hand(const Progress *progress, const char *member,
					  int64 epoch)
{
	if (progress->member != NULL && strcmp(progress->member, member) == 0 &&
		progress->epoch == epoch)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_QUEUE_MEMBER_FENCED),
			 errmsg("member \"%s\" was fenced from partition %d of topic \"%s\"",
					member, progress->partition, progress->topic->name),
			 progress->member == NULL ?
			 errdetail("Its messages were taken back: epoch " INT64_FORMAT " is over.",
					   epoch) :
			 errdetail("The messages are in the hand of member \"%s\": epoch "
					   INT64_FORMAT " is over.", progress->member, epoch),
			 errhint("Other members may process the messages again. Continue with queue.poll().")));
}

/*
 * Take back the messages in hand, and fence the member that has them.
 *
 * An epoch is the moment in microseconds, or the last epoch + 1 if that is
 * greater.  A row of poll may be lost in a crash (api/poll.c); counting on from
 * the last row would then give an epoch a second time.
 */
void
pgqueue_new_epoch(Progress *progress)
{
	progress->epoch = Max(progress->epoch + 1, GetCurrentTimestamp());
	progress->member = NULL;
	progress->handed_to = 0;
	progress->in_hand = 0;
}

/* ---------------- all of a group's rows ---------------- */

/*
 * Return true if the group has an offset in the topic.  Look from the end:
 * before it lie deleted rows that an old snapshot keeps.
 */
bool
pgqueue_progress_any(int32 group, int32 topic_id)
{
	RegistryScan scan = {0};
	bool		found;

	pgqueue_group_scan(&scan, REGISTRY_PROGRESS, group, topic_id, -1);
	found = HeapTupleIsValid(pgqueue_registry_previous(&scan));
	pgqueue_registry_end(&scan);
	return found;
}

static int32
int32_of(const RegistryScan *scan, HeapTuple tuple, AttrNumber attr)
{
	return DatumGetInt32(pgqueue_registry_column(scan, tuple, attr));
}

/* Return the partitions in which a group has rows; -1: of any topic. */
List *
pgqueue_group_partitions(int32 group, int32 topic_id)
{
	RegistryScan scan = {0};
	GroupPartition *last = NULL;
	List	   *partitions = NIL;
	HeapTuple	tuple;

	pgqueue_group_scan(&scan, REGISTRY_PROGRESS, group, topic_id, -1);
	while (HeapTupleIsValid(tuple = pgqueue_registry_next(&scan)))
	{
		int32		topic = int32_of(&scan, tuple, PROGRESS_ATTR_TOPIC);
		int32		partition = int32_of(&scan, tuple, PROGRESS_ATTR_PARTITION);

		CHECK_FOR_INTERRUPTS();
		if (last != NULL && last->topic_id == topic &&
			last->partition == partition)
			continue;
		last = palloc(sizeof(GroupPartition));
		last->topic_id = topic;
		last->partition = partition;
		partitions = lappend(partitions, last);
	}
	pgqueue_registry_end(&scan);
	return partitions;
}

/*
 * Delete the members, assignments, parked messages, failure policies, progress,
 * subscriptions and workers of a group (-1: of any) in a topic (-1: in any), as of now.
 *
 * Locks: those that keep every member from polling for the group, and its
 * progress in all those partitions; or the topic's table, ACCESS EXCLUSIVE.
 */
void
pgqueue_group_rows_delete(int32 group, int32 topic_id)
{
	static const RegistryTable tables[] =
		{REGISTRY_MEMBER, REGISTRY_ASSIGNMENT, REGISTRY_PARKED,
		REGISTRY_FAILURE_POLICY, REGISTRY_PROGRESS, REGISTRY_SUBSCRIPTION,
		REGISTRY_WORKER};

	for (int i = 0; i < lengthof(tables); i++)
	{
		RegistryScan scan = {0};

		if (group >= 0)
			pgqueue_registry_key_int4(&scan, PROGRESS_ATTR_GROUP, group);
		if (topic_id >= 0)
			pgqueue_registry_key_int4(&scan, PROGRESS_ATTR_TOPIC, topic_id);
		if (group >= 0)
			pgqueue_registry_scan(&scan, tables[i], RowExclusiveLock,
								  SnapshotSelf);
		else					/* no index begins with the topic */
			pgqueue_registry_scan_table(&scan, tables[i], RowExclusiveLock,
										SnapshotSelf);
		(void) pgqueue_registry_delete(&scan);
	}
}

/* ---------------- history ---------------- */

static bool
is_committed_before(const RegistryScan *scan, HeapTuple tuple, TimestampTz time)
{
	Datum		committed_at =
		pgqueue_registry_column(scan, tuple, PROGRESS_ATTR_COMMITTED_AT);

	return DatumGetTimestampTz(committed_at) < time;
}

/*
 * Prune the first partition from *partition on in which the group has rows, from
 * the oldest row on, up to the first that stays.  Set *partition to it.
 */
static int64
prune_partition(int32 group, const Topic *topic, int32 *partition,
				TimestampTz before, Snapshot snapshot)
{
	RegistryScan scan = {0};
	HeapTuple	tuple;
	int64		n = 0;

	pgqueue_registry_key_int4(&scan, PROGRESS_ATTR_GROUP, group);
	pgqueue_registry_key_int4(&scan, PROGRESS_ATTR_TOPIC, topic->id);
	pgqueue_registry_key(&scan, PROGRESS_ATTR_PARTITION,
						 BTGreaterEqualStrategyNumber, F_INT4GE,
						 Int32GetDatum(*partition));
	pgqueue_registry_scan(&scan, REGISTRY_PROGRESS, RowExclusiveLock, snapshot);
	tuple = pgqueue_registry_next(&scan);
	*partition = HeapTupleIsValid(tuple) ?
		int32_of(&scan, tuple, PROGRESS_ATTR_PARTITION) : topic->npartitions;
	while (*partition < topic->npartitions &&
		   is_committed_before(&scan, tuple, before))
	{
		ItemPointerData tid = tuple->t_self;

		CHECK_FOR_INTERRUPTS();
		tuple = pgqueue_registry_next(&scan);
		if (!HeapTupleIsValid(tuple) ||
			int32_of(&scan, tuple, PROGRESS_ATTR_PARTITION) != *partition)
			break;				/* that was the newest */
		CatalogTupleDelete(scan.rel, &tid);
		n++;
	}
	pgqueue_registry_end(&scan);
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
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	int64		total = 0;
	int32		partition = 0;

	while (partition < topic->npartitions)
	{
		int64		n = prune_partition(group, topic, &partition, before,
										snapshot);

		if (n > 0)
			deleted[partition] += n;
		total += n;
		partition++;
	}
	UnregisterSnapshot(snapshot);
	return total;
}
