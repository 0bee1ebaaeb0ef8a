/*-------------------------------------------------------------------------
 *
 * poll.c
 *	  Consuming for work outside the database: queue.poll() and its variants,
 *	  commit_offset() and leave().
 *
 * poll hands out messages that follow the committed offsets of the member's
 * partitions, and notes in each partition's progress that they are in the
 * member's hand, by a new epoch.  commit_offset moves the offset if they still
 * are, by that epoch; messages that are not committed are handed out again.
 *
 * The rows that poll writes need not survive a crash: if they are lost,
 * commit_offset meets another epoch (pgqueue_new_epoch) and refuses, and the
 * messages are handed out again.  So a transaction that wrote nothing else
 * does not wait for the disk.  A poll that makes the group does wait.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"

#include "base/base.h"
#include "base/errors.h"
#include "base/lock.h"
#include "wait/wait.h"
#include "topic/topic.h"
#include "group/group.h"
#include "group/member.h"
#include "group/parking.h"
#include "group/progress.h"
#include "api/api.h"

PG_FUNCTION_INFO_V1(pgqueue_commit_offset);
PG_FUNCTION_INFO_V1(pgqueue_leave);

#define TYPED_CALL \
	"queue.poll_typed(<consumer_group>, %s, <member>, NULL::%s)"
#define TOPICS_TYPED_CALL \
	"queue.poll_topics_typed(<consumer_group>, ARRAY[%s, ...], <member>, NULL::%s), " \
	"with topics of this type"

/* ---------------- commits that need not wait ---------------- */

/* End of the WAL that poll wrote, if nothing else was written before. */
static XLogRecPtr poll_wrote_until = InvalidXLogRecPtr;

static void
transaction_callback(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_PRE_COMMIT &&
		poll_wrote_until != InvalidXLogRecPtr &&
		XactLastRecEnd == poll_wrote_until &&
		synchronous_commit > SYNCHRONOUS_COMMIT_OFF)
		(void) set_config_option("synchronous_commit", "off", PGC_USERSET,
								 PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0,
								 false);
	if (event != XACT_EVENT_PRE_COMMIT)
		poll_wrote_until = InvalidXLogRecPtr;
}

void
pgqueue_poll_init(void)
{
	RegisterXactCallback(transaction_callback, NULL);
}

/* ---------------- poll ---------------- */

static int
compare_topics(const void *a, const void *b)
{
	return (*(Topic *const *) a)->id < (*(Topic *const *) b)->id ? -1 : 1;
}

/*
 * Renew the member's lease in all topics, in the order of their numbers, so
 * that all sessions take the locks in one order; then take messages of each
 * topic, beginning with another one each time.
 */
static void
poll_all(Taker *taker)
{
	static uint32 rotation = 0;
	TopicList  *topics = &taker->target.topics;
	uint32		start = topics->n > 1 ? MyProcPid + rotation++ : 0;
	Member	   *me[PGQUEUE_MAX_TOPICS];

	qsort(topics->topics, topics->n, sizeof(Topic *), compare_topics);
	for (int i = 0; i < topics->n; i++)
		me[i] = pgqueue_member_refresh(&taker->target.group, topics->topics[i],
									   taker->target.member, taker->lease);
	for (int i = 0; i < topics->n; i++)
	{
		int			k = (start + i) % topics->n;

		(void) pgqueue_take(taker, topics->topics[k], me[k]->partitions,
							me[k]->npartitions);
	}
}

/*
 * (consumer_group, topic | topics, member, [value_type,] max_messages, lease,
 * max_bytes, max_wait)
 */
static Datum
poll(FunctionCallInfo fcinfo, bool array, int arg)
{
	Taker		taker = {0};
	WaitTarget *target = &taker.target;
	bool		alone;
	int64		max_wait;

	pgqueue_taker_args(fcinfo, array, 2, arg, arg + 2,
					   array ? TOPICS_TYPED_CALL : TYPED_CALL, &taker);
	pgqueue_check_not_null(fcinfo, arg + 1, "lease");
	taker.lease = pgqueue_duration_arg(fcinfo, arg + 1, "lease", 0);
	if (taker.lease < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("lease must be positive")));
	max_wait = pgqueue_duration_arg(fcinfo, arg + 3, "max_wait", 0);

	/* wait before anything is locked or written: other sessions must not wait */
	if (max_wait > 0 && taker.sink.messages_left > 0)
		pgqueue_wait_held(target, max_wait);
	alone = target->group.id != 0 && XactLastRecEnd == poll_wrote_until;
	(void) pgqueue_group_ensure(&target->group, NULL);
	poll_all(&taker);
	if (alone)
		poll_wrote_until = XactLastRecEnd;
	return (Datum) 0;
}

PGQUEUE_VARIANT(pgqueue_poll, poll(fcinfo, false, 3))
PGQUEUE_VARIANT(pgqueue_poll_typed, poll(fcinfo, false, 4))
PGQUEUE_VARIANT(pgqueue_poll_topics, poll(fcinfo, true, 3))
PGQUEUE_VARIANT(pgqueue_poll_topics_typed, poll(fcinfo, true, 4))

/* ---------------- commit_offset and leave ---------------- */

/*
 * Check an offset that a member commits: it must lie in the messages that the
 * member has in hand, or just behind them.
 *
 * Errors: QU001.
 */
static void
check_leased(const Progress *progress, int64 next_offset)
{
	/* below the offset: of parked messages, those done with included */
	if ((next_offset < progress->offset && progress->in_hand == 0 &&
		 progress->delivered == 0) ||
		next_offset > Max(progress->handed_to, progress->offset))
		ereport(ERROR,
				(errcode(ERRCODE_QUEUE_OFFSET_OUT_OF_RANGE),
				 errmsg("offset " INT64_FORMAT " is outside the messages in hand of partition %d of topic \"%s\"",
						next_offset, progress->partition, progress->topic->name),
				 progress->offset == progress->handed_to ?
				 errdetail("The member has committed all of them, up to offset "
						   INT64_FORMAT ".", progress->offset) :
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
static void
check_unleased(Topic *topic, Progress *progress, int64 next_offset)
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

/* (consumer_group, topic, partition, next_offset, member, epoch, metadata) */
Datum
pgqueue_commit_offset(PG_FUNCTION_ARGS)
{
	Topic	   *topic;
	ConsumerGroup group;
	int32		partition;
	int64		next_offset;
	char	   *member = NULL;
	bool		settled;
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
		(void) pgqueue_lock(pgqueue_positions_tag(topic, partition), ShareLock,
							true);
	(void) pgqueue_progress_lock(group.id, topic->id, partition, true);
	pgqueue_group_check_same(&group);
	topic = pgqueue_topic_refresh(topic);
	pgqueue_progress_read(group.id, topic, partition, &progress);
	if (member != NULL)
	{
		pgqueue_check_in_hand(&progress, member, PG_GETARG_INT64(5));
		check_leased(&progress, next_offset);
		settled = pgqueue_commit_in_hand(&progress, next_offset);
		next_offset = Max(next_offset, progress.offset);
		if (next_offset == progress.offset && PG_ARGISNULL(6) && !settled)
		{
			/* committed before */
			pgqueue_progress_unlock(&progress);
			pgqueue_touch_lease(&group, topic, member);
			PG_RETURN_VOID();
		}
	}
	else
		check_unleased(topic, &progress, next_offset);

	if (progress.offset != next_offset)
		progress.repeats = 0;
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
