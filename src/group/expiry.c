/*-------------------------------------------------------------------------
 *
 * expiry.c
 *	  Groups that hold nothing any more, since nobody uses them.
 *
 * A group with an expiry holds the messages that it has yet to read in a
 * partition only so long after the latest of
 *
 *	 - the moment that it was made,
 *	 - its last move in any partition of the topic,
 *	 - the end of the last lease of its members in the topic,
 *	 - the time of the first message that it has yet to read in the partition.
 *
 * The expiry is the group's own; or, if a first consume or poll made the group and
 * its role has not set one, the topic's group_expiry.
 *
 * By the last one a group that had read everything has all that time from when
 * something arrives.  A group that a transaction is consuming in the topic, or
 * of which a member lives, is in use, and never expires.
 *
 * queue.expire_group() lets a group expire at once: it writes a row that says so,
 * and whatever next moves the group, or hands it messages, writes one that does
 * not.
 *
 * Otherwise nothing is written when a group expires, and nothing when it comes
 * back: its offsets stay, and are as good as ever if retention had nothing to
 * take.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "topic/message.h"
#include "topic/topic.h"
#include "group/group.h"
#include "group/member.h"
#include "group/progress.h"

/* When the group was last used in the topic; DT_NOEND: it is being used. */
static TimestampTz
last_used(const ConsumerGroup *group, const Topic *topic)
{
	TimestampTz used = group->created_at;
	Members		members;

	pgqueue_members_read(group->id, topic->id, &members);
	for (int i = 0; i < members.n; i++)
		used = Max(used, members.members[i].expires_at);
	for (int32 p = 0; p < topic->npartitions; p++)
	{
		Progress	progress;

		CHECK_FOR_INTERRUPTS();
		if (pgqueue_progress_busy(group->id, topic->id, p))
			return DT_NOEND;
		pgqueue_progress_look(group->id, topic, p, &progress);
		if (progress.found)
			used = Max(used, progress.committed_at);
	}
	return used;
}

/* Is the first message at or behind an offset older than that? */
static bool
unread_since(Topic *topic, int32 partition, int64 offset, TimestampTz time)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	Found		place;

	(void) pgqueue_find_offset(topic, partition,
							   Max(offset, pgqueue_log_start(topic, partition)),
							   snapshot, &place);
	UnregisterSnapshot(snapshot);
	return place.found && place.timestamp < time;
}

/* Return the expiry that holds for a group in a topic, in ms; 0: never. */
static int64
expiry_in(const ConsumerGroup *group, const Topic *topic)
{
	return group->implicit ? topic->group_expiry : group->expiry;
}

/* Return false if the group cannot have expired, whatever it has to read. */
bool
pgqueue_group_may_expire(const ConsumerGroup *group, const Topic *topic,
						 bool released)
{
	return released || expiry_in(group, topic) != 0;
}

/*
 * Return true if the group, which is at an offset in a partition, holds nothing
 * there although it has something to read.  As it looks now.  released: its row
 * says that it holds nothing until it is used again.  *used: when it was
 * last used in the topic, if the caller knows from an earlier call; else 0.
 */
bool
pgqueue_group_expired(const ConsumerGroup *group, Topic *topic,
					  int32 partition, int64 offset, bool released,
					  TimestampTz *used)
{
	int64		expiry = expiry_in(group, topic);
	TimestampTz time;

	if (released)
		return unread_since(topic, partition, offset, DT_NOEND);
	if (expiry == 0)
		return false;
	time = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), -expiry);
	if (!unread_since(topic, partition, offset, time))
		return false;
	if (*used == 0)
		*used = last_used(group, topic);
	return *used < time;
}
