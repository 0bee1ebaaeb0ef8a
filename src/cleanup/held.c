/*-------------------------------------------------------------------------
 *
 * held.c
 *	  Find what groups have yet to read, which retention and compaction keep.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/lock.h"
#include "topic/topic.h"
#include "group/group.h"
#include "group/progress.h"
#include "cleanup/cleanup.h"

/*
 * Return the least offset that a group has yet to read in the partition, as of
 * now, and set *name to that group; return PG_INT64_MAX if no group reads the
 * topic.  A group that has not begun the partition, or the offset of which is
 * lost, is at the log start; an expired group holds nothing.
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

		pgqueue_progress_look(group->id, topic, partition, &progress);
		offset = progress.found && !progress.lost ? progress.offset :
			pgqueue_log_start(topic, partition);
		if (offset < least &&
			!pgqueue_group_expired(group, topic, partition, offset,
								   progress.released, &used))
		{
			least = offset;
			*name = group->name;
		}
	}
	return least;
}

/*
 * Return the same, after locking the groups' offsets in the partition, so that
 * no other transaction moves one back before this one ends.  If one is being
 * moved, return 0, with *name NULL: nothing may be removed.
 */
int64
pgqueue_held_now(Topic *topic, int32 partition, char **name)
{
	*name = NULL;
	if (!pgqueue_lock(pgqueue_positions_tag(topic, partition), ExclusiveLock,
					  false))
		return 0;
	return pgqueue_held_for_groups(topic, partition, name);
}
