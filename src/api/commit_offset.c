/*-------------------------------------------------------------------------
 *
 * commit_offset.c
 *	  queue.commit_offset() and queue.leave().
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "base/base.h"
#include "wait/wait.h"
#include "topic/topic.h"
#include "group/group.h"
#include "group/member.h"
#include "group/progress.h"

PG_FUNCTION_INFO_V1(pgqueue_commit_offset);
PG_FUNCTION_INFO_V1(pgqueue_leave);

/* (consumer_group, topic, partition, next_offset, member, epoch, metadata) */
Datum
pgqueue_commit_offset(PG_FUNCTION_ARGS)
{
	Topic	   *topic;
	ConsumerGroup group;
	int32		partition;
	int64		next_offset;
	char	   *member = NULL;
	Progress	progress;

	pgqueue_check_writable(fcinfo);
	pgqueue_check_not_null(fcinfo, 2, "partition");
	pgqueue_check_not_null(fcinfo, 3, "next_offset");
	topic = pgqueue_readable_topic(fcinfo, 1);
	pgqueue_known_group_arg(fcinfo, NULL, &group);
	partition = PG_GETARG_INT32(2);
	pgqueue_check_partition(topic, partition);
	next_offset = PG_GETARG_INT64(3);
	if (PG_ARGISNULL(4) != PG_ARGISNULL(5))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("member and epoch belong together"),
				 errhint("Both come from queue.poll().")));
	if (!PG_ARGISNULL(4))
		member = pgqueue_member_arg(PG_GETARG_TEXT_PP(4));

	(void) pgqueue_group_lock_shared(group.id, true);
	topic = pgqueue_topic_hold(topic);
	if (member == NULL)
		pgqueue_positions_lock_shared(topic, partition);
	(void) pgqueue_progress_lock(group.id, topic->id, partition, true);
	pgqueue_group_check_same(&group);
	topic = pgqueue_topic_refresh(topic);
	pgqueue_progress_read(group.id, topic, partition, &progress);
	if (member != NULL)
	{
		pgqueue_check_in_hand(&progress, member, PG_GETARG_INT64(5));
		pgqueue_commit_leased(&progress, next_offset);
		if (next_offset == progress.offset && PG_ARGISNULL(6))
		{
			/* committed before */
			pgqueue_progress_unlock(&progress);
			pgqueue_touch_lease(&group, topic, member);
			PG_RETURN_VOID();
		}
	}
	else
		pgqueue_commit_unleased(topic, &progress, next_offset);

	progress.offset = next_offset;
	progress.metadata = PG_ARGISNULL(6) ? NULL :
		text_to_cstring(PG_GETARG_TEXT_PP(6));
	pgqueue_progress_write(&progress, PROGRESS_COMMITTED);
	pgqueue_note_progress(group.id, topic->id, partition,
						  !pgqueue_in_hand(&progress));
	if (member != NULL)
		pgqueue_touch_lease(&group, topic, member);
	PG_RETURN_VOID();
}

/* (consumer_group, topic, member) -> true if it was a member */
Datum
pgqueue_leave(PG_FUNCTION_ARGS)
{
	Topic	   *topic;
	ConsumerGroup group;

	pgqueue_check_writable(fcinfo);
	pgqueue_check_not_null(fcinfo, 2, "member");
	topic = pgqueue_readable_topic(fcinfo, 1);
	pgqueue_known_group_arg(fcinfo, NULL, &group);
	PG_RETURN_BOOL(pgqueue_member_leave(&group, topic,
										pgqueue_member_arg(PG_GETARG_TEXT_PP(2))));
}
