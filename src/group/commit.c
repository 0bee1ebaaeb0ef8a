/*-------------------------------------------------------------------------
 *
 * commit.c
 *	  Check the offsets that queue.commit_offset() stores, for messages that
 *	  were polled (api/poll.c) or fetched.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/errors.h"
#include "topic/topic.h"
#include "group/member.h"
#include "group/progress.h"

/*
 * Check that a member has the messages of a partition in hand, by an epoch.
 *
 * Errors: QU004.
 */
void
pgqueue_check_in_hand(const Progress *progress, const char *member, int64 epoch)
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
 * Check an offset that a member commits: it must lie in the messages that the
 * member has in hand, or just behind them.
 *
 * Errors: QU001.
 */
void
pgqueue_commit_leased(const Progress *progress, int64 next_offset)
{
	if (next_offset < progress->offset || next_offset > progress->handed_to)
		ereport(ERROR,
				(errcode(ERRCODE_QUEUE_OFFSET_OUT_OF_RANGE),
				 errmsg("offset " INT64_FORMAT " is outside the messages in hand of partition %d of topic \"%s\"",
						next_offset, progress->partition, progress->topic->name),
				 errdetail("They are those from offset " INT64_FORMAT
						   " to before offset " INT64_FORMAT ".",
						   progress->offset, progress->handed_to),
				 errhint("next_offset is that of the last message that was dealt with, plus one.")));
}

/*
 * Check an offset that is committed without a member: it must lie in the log,
 * and no live member may have messages in hand.
 *
 * Errors: QU001, 55006.
 */
void
pgqueue_commit_unleased(Topic *topic, Progress *progress, int64 next_offset)
{
	int32		partition = progress->partition;
	LogEnds		ends;

	if (pgqueue_in_hand(progress) && pgqueue_holder_alive(progress))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("messages of partition %d of topic \"%s\" are in the hand of member \"%s\"",
						partition, topic->name, progress->member),
				 errhint("To take them back call queue.reset_offsets().")));
	pgqueue_log_ends(topic, partition, &ends);
	if (next_offset < ends.log_start || next_offset > ends.latest)
		pgqueue_offset_beyond(topic, partition, next_offset, &ends);
	if (progress->member != NULL)
		pgqueue_new_epoch(progress);
}
