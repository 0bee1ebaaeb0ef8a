/*-------------------------------------------------------------------------
 *
 * expiry.c
 *	  Expiry: groups that were not used for long do not hold messages.
 *
 * A group with an expiry holds the messages that it has yet to read in a
 * partition, or has parked, only so long after the latest of
 *
 *	 - the moment at which it was made,
 *	 - its last move in any partition of the topic,
 *	 - the end of the last lease of its members in the topic,
 *	 - the time at which one of its parked messages in the topic is due,
 *	 - the time of the first message that it has yet to read in the partition.
 *
 * A group for which a transaction is consuming in the topic, or that has a live
 * member there, is in use and does not expire.
 *
 * queue.expire_group() lets a group expire at once: it writes a row with
 * released set, which the next row that moves the offset or hands out messages
 * clears.  Otherwise expiry writes nothing: the offsets stay, and are valid if
 * retention removed nothing in the meantime.
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
#include "group/parking.h"
#include "group/progress.h"

/* Return when the group was last used in the topic; DT_NOEND: it is in use. */
static TimestampTz
last_used(const ConsumerGroup *group, const Topic *topic)
{
	TimestampTz used = group->created_at;
	Members		members;

	pgqueue_members_read(group->id, topic->id, &members);
	for (int i = 0; i < members.n; i++)
		used = Max(used, members.members[i].expires_at);
	for (int32 p = -1; (p = pgqueue_next_used(topic, p)) >= 0;)
	{
		Progress	progress;

		CHECK_FOR_INTERRUPTS();
		if (pgqueue_progress_busy(group->id, topic->id, p))
			return DT_NOEND;
		pgqueue_progress_look(group->id, topic, p, &progress);
		if (progress.found)
			used = Max(used, progress.committed_at);
		/* it waits for them, unless they wait for an operator */
		if (progress.parked > 0 && progress.due != DUE_NEVER)
			used = Max(used, progress.due);
	}
	return used;
}

/* Return true if the first message from an offset on is older than time. */
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

/*
 * Return the expiry of a group in a topic, in ms; 0: never.  A group made by a
 * first consume or poll has the topic's, until an expiry is set for the group.
 */
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
 * Return true if the group, which is at an offset in a partition, holds no
 * messages there although it has some to read, as of now.  released: see
 * Progress.  *used: when the group was last used in the topic, as an earlier
 * call found it, or 0.
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
