/*-------------------------------------------------------------------------
 *
 * held.c
 *	  What groups have yet to read: retention keeps it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "topic/topic.h"
#include "group/group.h"
#include "group/progress.h"
#include "cleanup/cleanup.h"

/*
 * The least offset that a group has yet to read in the partition, and which
 * group, as it looks now; PG_INT64_MAX if no group reads the topic.	A group that
 * has not begun the partition is at the log start, and so is one whose offset is
 * lost; one that has expired holds nothing.
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
 * What groups have yet to read, to decide by: nobody puts a group back until the
 * transaction ends.  If somebody is at it, nothing may go.
 */
int64
pgqueue_held_now(Topic *topic, int32 partition, char **name)
{
	*name = NULL;
	if (!pgqueue_positions_lock(topic, partition))
		return 0;
	return pgqueue_held_for_groups(topic, partition, name);
}
