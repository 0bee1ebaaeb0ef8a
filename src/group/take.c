/*-------------------------------------------------------------------------
 *
 * take.c
 *	  Take a partition: read what follows the group's offset, and either move
 *	  the offset over it (queue.consume) or hand it to a member (queue.poll).
 *
 * Both follow one protocol.  The lock of the group's partition comes first,
 * conditionally, then the offset; the messages are those of the calling
 * statement's snapshot, so none arrives before the rows that were committed
 * with it.  If messages were taken, a row of queue.progress is written and the
 * lock is held to the end of the transaction; else the lock is released and
 * nothing has changed.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/base.h"
#include "wait/wait.h"
#include "topic/message.h"
#include "topic/topic.h"
#include "group/group.h"
#include "group/member.h"
#include "group/progress.h"

/*
 * Read the arguments that consume and poll share: the group, the topics and
 * the limits.  member_arg: -1 for consume.  typed_call: the call with
 * value_type, for a hint; %s stands for topic and type.
 *
 * Errors: 22004, 22023, 25006, 42501, 42602, 42704, 42804.
 */
void
pgqueue_taker_args(FunctionCallInfo fcinfo, bool array, int member_arg,
				   int max_messages_arg, int max_bytes_arg,
				   const char *typed_call, Taker *taker)
{
	WaitTarget *target = &taker->target;

	pgqueue_check_writable(fcinfo);
	pgqueue_check_not_null(fcinfo, 0, "consumer_group");
	pgqueue_topic_list(fcinfo, 1, array, &target->topics);
	pgqueue_group_arg(fcinfo, false, &target->group);
	if (member_arg >= 0)
	{
		pgqueue_check_not_null(fcinfo, member_arg, "member");
		target->member = pgqueue_member_arg(PG_GETARG_TEXT_PP(member_arg));
	}
	pgqueue_sink_init(&taker->sink, fcinfo, max_messages_arg, max_bytes_arg,
					  target->member != NULL);
	taker->typed_call = typed_call;
	for (int i = 0; i < target->topics.n; i++)
		pgqueue_sink_topic(&taker->sink, target->topics.topics[i], typed_call);
	taker->snapshot = GetActiveSnapshot();
}

/*
 * Return true if the partition is neither paused nor has another, live member
 * messages of it in hand.
 */
bool
pgqueue_may_take(const WaitTarget *target, const Progress *progress)
{
	if (progress->paused)
		return false;
	return !pgqueue_in_hand(progress) ||
		(target->member != NULL && strcmp(target->member, progress->member) == 0) ||
		!pgqueue_holder_alive(progress);
}

/*
 * Lock a partition if the lock can be had at once, or within the taker's
 * patience: a transaction that made the group, and that the taker has waited
 * for, may still be releasing its locks, one after the other.
 */
static bool
lock_partition(Taker *taker, const Topic *topic, int32 partition)
{
	while (!pgqueue_progress_lock(taker->target.group.id, topic->id, partition,
								  false))
	{
		if (taker->patience <= 0)
			return false;
		taker->patience--;
		CHECK_FOR_INTERRUPTS();
		pg_usleep(1000);
	}
	return true;
}

/* Move the group's offset over the messages that were read from an offset on. */
static void
move_offset(Taker *taker, Progress *progress, int64 from, ScanEnd end)
{
	if (progress->member != NULL)
		pgqueue_new_epoch(progress);
	if (progress->offset < from)
		pgqueue_jump(&taker->target.group, progress, from);
	progress->offset = taker->sink.next;
	progress->metadata = taker->metadata;
	pgqueue_progress_write(progress, PROGRESS_CONSUMED);
	pgqueue_note_progress(progress->group_id, progress->topic->id,
						  progress->partition, end == SCAN_ENOUGH);
}

/* Put the messages that were read from an offset on into the member's hand. */
static void
hand_out(Taker *taker, Progress *progress, int64 from)
{
	if (!progress->found)
		pgqueue_progress_write(progress, PROGRESS_STARTED);
	progress->epoch = taker->sink.epoch;
	progress->member = taker->target.member;
	progress->handed_to = taker->sink.next;
	if (progress->offset < from)
		pgqueue_jump(&taker->target.group, progress, from);
	else
		pgqueue_progress_write(progress, PROGRESS_HANDED);
}

/*
 * Take messages of one partition.  Return false, with nothing changed, if
 * another transaction or member has the partition or nothing can be read.
 *
 * A member is handed again, by a new epoch, what it has in hand already: it
 * has restarted, or given up.
 *
 * Locks: the group's progress in the partition, to the end of the transaction,
 * if messages were taken; and, before the group's first row there, the group
 * against being dropped.
 * Errors: 40001, 55006, QU001.
 */
static bool
take_partition(Taker *taker, Topic *topic, int32 partition)
{
	ConsumerGroup *group = &taker->target.group;
	MessageSink *sink = &taker->sink;
	int64		before = sink->taken;
	Progress	progress;

	if (!lock_partition(taker, topic, partition))
		return false;
	pgqueue_group_check_same(group);
	pgqueue_progress_read(group->id, topic, partition, &progress);
	if (pgqueue_may_take(&taker->target, &progress) &&
		(progress.found || pgqueue_group_lock_shared(group->id, false)))
	{
		bool		found = progress.found;
		int64		from;
		ScanEnd		end;

		sink->epoch = Max(progress.epoch + 1, GetCurrentTimestamp());
		end = pgqueue_read_on(group, topic, &progress, taker->snapshot, sink,
							  &from);
		if (sink->taken > before)
		{
			if (taker->target.member == NULL)
				move_offset(taker, &progress, from, end);
			else
				hand_out(taker, &progress, from);
			return true;
		}
		if (!found)
			pgqueue_group_unlock_shared(group->id);
	}
	pgqueue_progress_unlock(&progress);
	return false;
}

/*
 * Take messages of partitions of a topic, beginning with another one each
 * time: for consume of the first that has any, for a member of as many as it
 * has room for.  partitions: their numbers, or NULL: all.  Return true if a
 * consumer is done.
 */
bool
pgqueue_take(Taker *taker, Topic *topic, const int32 *partitions, int n)
{
	MessageSink *sink = &taker->sink;
	uint32		start = topic->rotation++;

	if (taker->target.topics.n > 1)
		pgqueue_sink_topic(sink, topic, taker->typed_call);
	for (int i = 0; i < n && sink->messages_left > 0 && sink->bytes_left > 0; i++)
	{
		uint32		k = (start + i) % n;
		int32		p = partitions != NULL ? partitions[k] : k;

		/* assigned by a session that knows of more partitions than this one */
		if (p >= topic->npartitions)
			continue;
		if (take_partition(taker, topic, p) && taker->target.member == NULL)
			return true;
	}
	return false;
}
