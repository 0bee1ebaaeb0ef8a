/*-------------------------------------------------------------------------
 *
 * groups.c
 *	  queue.alter_group(), drop_group(), expire_group(), pause() and resume().
 *
 * All but alter_group() lock the group's progress in every partition
 * concerned, and wait for it: once they have the lock, no other transaction of
 * the group is at work there.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "base/base.h"
#include "base/lock.h"
#include "wait/wait.h"
#include "topic/segment.h"
#include "topic/topic.h"
#include "group/group.h"
#include "group/member.h"
#include "group/progress.h"
#include "group/subscription.h"
#include "api/api.h"

PG_FUNCTION_INFO_V1(pgqueue_alter_group);
PG_FUNCTION_INFO_V1(pgqueue_drop_group);
PG_FUNCTION_INFO_V1(pgqueue_expire_group);

/* Return true if one of the partitions is of the topic. */
static bool
reads(const List *places, int32 topic_id)
{
	ListCell   *lc;

	foreach(lc, places)
		if (((GroupPartition *) lfirst(lc))->topic_id == topic_id)
			return true;
	return false;
}

/* (consumer_group, auto_offset_reset, expiry, owner) */
Datum
pgqueue_alter_group(PG_FUNCTION_ARGS)
{
	ConsumerGroup group;
	GroupSettings settings;
	bool		set;

	pgqueue_check_writable(fcinfo);
	pgqueue_known_group_arg(fcinfo, NULL, &group);
	set = pgqueue_group_settings_arg(fcinfo, 1, &settings);
	if (!PG_ARGISNULL(3))
	{
		settings.owner =
			pgqueue_new_owner(text_to_cstring(PG_GETARG_TEXT_PP(3)));
		set = true;
	}

	pgqueue_group_lock_settings(&group);
	(void) pgqueue_group_lock_shared(group.id, true);
	pgqueue_group_check_same(&group);
	if (set)
		pgqueue_group_set(&group, &settings);
	PG_RETURN_VOID();
}

/* ---------------- drop ---------------- */

/*
 * Keep the topics in which a group has rows from being dropped, since
 * drop_topic deletes these rows, too.  Leave other topics alone: another
 * transaction may have locked their tables.
 */
static void
hold_topics(int32 group, const List *places)
{
	ListCell   *lc;

	foreach(lc, pgqueue_topic_names())
	{
		int32		id = pgqueue_topic_id(lfirst(lc));
		Members		members;

		pgqueue_members_read(group, id, &members);
		if (members.n > 0 || reads(places, id) ||
			pgqueue_subscription_exists(group, id))
			pgqueue_lock_relation(pgqueue_log_of_topic(lfirst(lc)),
								  AccessShareLock);
	}
}

/*
 * Wake the group's members that wait, in all topics: they must join again, also
 * those that own no partition; and processes that wait for messages to a handler.
 */
static void
note_members(int32 group)
{
	ListCell   *lc;

	foreach(lc, pgqueue_topic_names())
	{
		int32		id = pgqueue_topic_id(lfirst(lc));
		Members		members;

		pgqueue_members_read(group, id, &members);
		if (members.n > 0 || pgqueue_subscription_exists(group, id))
			pgqueue_note_progress(group, id, -1, true);
	}
}

/* (consumer_group, topic) */
Datum
pgqueue_drop_group(PG_FUNCTION_ARGS)
{
	Topic	   *topic;
	ConsumerGroup group;
	int32		topic_id;
	ListCell   *lc;

	pgqueue_check_writable(fcinfo);
	topic = PG_ARGISNULL(1) ? NULL : pgqueue_readable_topic(fcinfo, 1);
	pgqueue_known_group_arg(fcinfo, topic, &group);
	topic_id = topic == NULL ? -1 : topic->id;

	pgqueue_group_lock_rows(group.id);
	pgqueue_group_check_same(&group);
	if (topic == NULL)
		hold_topics(group.id, pgqueue_group_partitions(group.id, -1));
	else
	{
		(void) pgqueue_topic_hold(topic);
		pgqueue_note_progress(group.id, topic_id, -1, true);
	}
	foreach(lc, pgqueue_group_partitions(group.id, topic_id))
	{
		GroupPartition *place = lfirst(lc);

		(void) pgqueue_progress_lock(group.id, place->topic_id,
									 place->partition, true);
		pgqueue_note_progress(group.id, place->topic_id, place->partition,
							  true);
	}

	/* make visible what the current command has written */
	CommandCounterIncrement();
	if (topic == NULL)
		note_members(group.id);
	pgqueue_group_rows_delete(group.id, topic_id);
	if (topic == NULL)
		pgqueue_group_delete(group.name);
	PG_RETURN_VOID();
}

/* ---------------- expire, pause and resume ---------------- */

typedef enum Change
{
	EXPIRE,
	PAUSE,
	RESUME
} Change;

/*
 * Expire, pause or resume a group in a partition, at its offset; if it has not
 * begun to read the partition, begin it at the log start, so that it has a row.
 * Return false, with nothing written, if it is in that state already.
 *
 * Locks: pgqueue_topic_hold().
 */
static bool
change_partition(ConsumerGroup *group, Topic *topic, int32 partition,
				 Change change)
{
	Progress	progress;

	CHECK_FOR_INTERRUPTS();
	pgqueue_progress_lock_and_read(group->id, topic, partition, &progress);
	if (change == EXPIRE ? progress.released :
		progress.paused == (change == PAUSE))
	{
		pgqueue_progress_unlock(&progress);
		return false;
	}
	if (!progress.found)
	{
		progress.offset = pgqueue_log_start(topic, partition);
		pgqueue_progress_write(&progress, PROGRESS_STARTED);
	}
	if (change == EXPIRE)
		progress.released = true;
	else
		progress.paused = change == PAUSE;
	pgqueue_progress_write(&progress, PROGRESS_UNMOVED);
	if (change == RESUME)
		pgqueue_note_progress(group->id, topic->id, partition, true);
	return true;
}

/*
 * Change a group in a partition of a topic, or (-1) in all.  Return the number
 * of partitions changed.
 */
static int
change_topic(ConsumerGroup *group, Topic *topic, int32 partition, Change change)
{
	int32		last = partition < 0 ? topic->npartitions - 1 : partition;
	int			changed = 0;

	for (int32 p = Max(partition, 0); p <= last; p++)
		changed += change_partition(group, topic, p, change);
	return changed;
}

/*
 * Do the same in all partitions but those that cannot be read, for which a
 * WARNING is raised.
 *
 * Locks: the topic's table, ACCESS SHARE.
 */
static int
change_sound(ConsumerGroup *group, Topic *topic, Change change)
{
	const char *problem = topic->broken;
	int			npartitions = problem == NULL ? topic->npartitions : 0;
	int			changed = 0;

	for (int32 p = 0; p < npartitions; p++)
	{
		if (!pgqueue_partition_broken(topic, p))
			changed += change_partition(group, topic, p, change);
		else if (problem == NULL)
			problem = pgqueue_partition_flaw(topic, p);
	}
	if (problem != NULL)
		ereport(WARNING,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("topic \"%s\" cannot be used and is left out, at least in part",
						topic->name),
				 errdetail_internal("%s", problem)));
	return changed;
}

/* Do the same in all topics that the group reads. */
static int
change_group(ConsumerGroup *group, Change change)
{
	List	   *places = pgqueue_group_partitions(group->id, -1);
	int			changed = 0;
	ListCell   *lc;

	foreach(lc, pgqueue_topic_names())
	{
		Topic	   *topic;

		/* the table of a topic that it does not read may be locked for long */
		if (!reads(places, pgqueue_topic_id(lfirst(lc))))
			continue;
		pgqueue_lock_relation(pgqueue_log_of_topic(lfirst(lc)),
							  AccessShareLock);
		/* a topic that was dropped meanwhile has nothing to pause */
		topic = pgqueue_topic_find(lfirst(lc));
		if (topic != NULL && reads(places, topic->id))
			changed += change_sound(group, topic, change);
	}
	return changed;
}

/* (consumer_group, topic) -> number of partitions changed */
Datum
pgqueue_expire_group(PG_FUNCTION_ARGS)
{
	Topic	   *topic;
	ConsumerGroup group;

	pgqueue_check_writable(fcinfo);
	topic = pgqueue_readable_topic(fcinfo, 1);
	pgqueue_known_group_arg(fcinfo, topic, &group);

	(void) pgqueue_group_lock_shared(group.id, true);
	pgqueue_group_check_same(&group);
	topic = pgqueue_topic_hold(topic);
	if (!pgqueue_progress_any(group.id, topic->id))
		PG_RETURN_INT32(0);
	PG_RETURN_INT32(change_topic(&group, topic, -1, EXPIRE));
}

/* (consumer_group, topic, partition) -> number of partitions changed */
static Datum
pause_or_resume(FunctionCallInfo fcinfo, Change change)
{
	Topic	   *topic;
	ConsumerGroup group;
	int32		partition = PG_ARGISNULL(2) ? -1 : PG_GETARG_INT32(2);

	pgqueue_check_writable(fcinfo);
	topic = PG_ARGISNULL(1) ? NULL : pgqueue_readable_topic(fcinfo, 1);
	pgqueue_known_group_arg(fcinfo, NULL, &group);
	if (!PG_ARGISNULL(2))
	{
		if (topic == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("partition must not be given without topic")));
		pgqueue_check_partition(topic, partition);
	}

	if (topic == NULL)
	{
		/* keep the group from beginning to read another topic meanwhile */
		pgqueue_group_lock_rows(group.id);
		pgqueue_group_check_same(&group);
		PG_RETURN_INT32(change_group(&group, change));
	}
	(void) pgqueue_group_lock_shared(group.id, true);
	pgqueue_group_check_same(&group);
	topic = pgqueue_topic_hold(topic);
	PG_RETURN_INT32(change_topic(&group, topic, partition, change));
}

PGQUEUE_VARIANT(pgqueue_pause, pause_or_resume(fcinfo, PAUSE))
PGQUEUE_VARIANT(pgqueue_resume, pause_or_resume(fcinfo, RESUME))
