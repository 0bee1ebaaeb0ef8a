/*-------------------------------------------------------------------------
 *
 * held.c
 *	  Find what groups have yet to read, or have parked, which retention and compaction keep.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/lock.h"
#include "topic/topic.h"
#include "group/group.h"
#include "group/parking.h"
#include "group/progress.h"
#include "cleanup/cleanup.h"

/*
 * Return the least offset that a group has yet to read in the partition, or has
 * parked, as of now, and set *by to that group; return PG_INT64_MAX if no group
 * reads the topic.  A group that has not begun the partition, or the offset of
 * which is lost, is at the log start; an expired group holds nothing.
 */
int64
pgqueue_held_for_groups(Topic *topic, int32 partition, HeldBy *by)
{
	int64		least = PG_INT64_MAX;
	ListCell   *lc;

	*by = (HeldBy) {0};
	foreach(lc, pgqueue_groups_of(topic->id))
	{
		ConsumerGroup *group = lfirst(lc);
		TimestampTz used = 0;
		Progress	progress;
		int64		offset;
		int64		parked;

		pgqueue_progress_look(group->id, topic, partition, &progress);
		offset = progress.found && !progress.lost ? progress.offset :
			pgqueue_log_start(topic, partition);
		/* after the offset: README, section 13 */
		parked = pgqueue_parked_least(topic, &progress);
		if (Min(offset, parked) < least &&
			!pgqueue_group_expired(group, topic, partition,
								   Min(offset, parked), progress.released,
								   &used))
		{
			least = Min(offset, parked);
			by->name = group->name;
			by->parked = parked < offset;
		}
	}
	return least;
}

/*
 * Return the same, after locking the groups' offsets in the partition, so that
 * no other transaction moves one back before this one ends.  If one is being
 * moved, return 0, with by->name NULL: nothing may be removed.
 */
int64
pgqueue_held_now(Topic *topic, int32 partition, HeldBy *by)
{
	*by = (HeldBy) {0};
	if (!pgqueue_lock(pgqueue_positions_tag(topic, partition), ExclusiveLock,
					  false))
		return 0;
	return pgqueue_held_for_groups(topic, partition, by);
}
