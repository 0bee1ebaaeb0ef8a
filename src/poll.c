/*-------------------------------------------------------------------------
 *
 * poll.c
 *	  queue.poll(), commit_offset(), leave(): batches for work outside the
 *	  database.
 *
 * poll is short: it hands out what follows the committed offset of the member's
 * partitions, and notes in the partition's progress that the messages are in
 * the member's hand, by a new epoch.  commit_offset, later and in another
 * transaction, moves the offset if the messages still are in that hand, by that
 * epoch.  Delivery is at least once: what is not committed is handed out again.
 *
 * What poll writes need not survive a crash.  If it is lost, only who has which
 * messages in hand is lost: commit_offset then meets another epoch and refuses,
 * and the messages are handed out again.  (Epochs are not given twice: see
 * pgqueue_new_epoch.)	So a transaction that wrote nothing but that does not
 * wait for the disk.  Nor is anything else lost with it: a poll that makes the
 * group does wait.
 *
 *-------------------------------------------------------------------------
 */
#include "queue.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(pgqueue_poll);
PG_FUNCTION_INFO_V1(pgqueue_poll_typed);
PG_FUNCTION_INFO_V1(pgqueue_poll_topics);
PG_FUNCTION_INFO_V1(pgqueue_poll_topics_typed);
PG_FUNCTION_INFO_V1(pgqueue_commit_offset);
PG_FUNCTION_INFO_V1(pgqueue_leave);

#define TYPED_CALL \
	"queue.poll(<consumer_group>, %s, <member>, value_type => NULL::%s, max_messages => <max_messages>)"

/* ---------------- commits that need not wait ---------------- */

/* End of the WAL that poll wrote, if nothing else was written before. */
static XLogRecPtr poll_wrote_until = InvalidXLogRecPtr;

/* A poll begins; has the transaction written anything else? */
static bool
wrote_nothing_else(void)
{
	return XactLastRecEnd == poll_wrote_until;
}

static void
transaction_callback(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_PRE_COMMIT &&
		poll_wrote_until != InvalidXLogRecPtr &&
		wrote_nothing_else() &&
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

typedef struct Poller
{
	Readiness	what;			/* with the member's name */
	int64		lease;			/* ms */
	Snapshot	snapshot;		/* of the calling statement */
	MessageSink sink;
} Poller;

/* May the member be handed messages of the partition? */
static bool
is_free(const Poller *poller, const Topic *topic, const Progress *progress)
{
	if (progress->paused)
		return false;
	return !pgqueue_in_hand(progress) ||
		strcmp(progress->member, poller->what.member) == 0 ||
		!pgqueue_holder_alive(poller->what.group.id, topic->id, progress);
}

/*
 * Hand out what follows the group's offset in one of the member's partitions.
 * What it has in hand already is handed out again, by a new epoch: it has
 * restarted, or given up.
 */
static void
poll_partition(Poller *poller, Topic *topic, int32 partition)
{
	ConsumerGroup *group = &poller->what.group;
	MessageSink *sink = &poller->sink;
	int64		before = sink->taken;
	Progress	progress;
	int64		from;

	if (!pgqueue_progress_lock(group->id, topic->id, partition, false))
		return;
	pgqueue_group_check_same(group);
	pgqueue_progress_read(group->id, topic, partition, &progress);
	if (!is_free(poller, topic, &progress))
	{
		pgqueue_progress_unlock(group->id, topic->id, partition);
		return;
	}
	/* whoever drops the group waits, or has it */
	if (!progress.found && !pgqueue_group_hold(group->id, false))
	{
		pgqueue_progress_unlock(group->id, topic->id, partition);
		return;
	}

	sink->epoch = Max(progress.epoch + 1, GetCurrentTimestamp());
	(void) pgqueue_read_on(group, topic, partition, &progress, poller->snapshot,
						   sink, &from);
	if (sink->taken == before)
	{
		if (!progress.found)
			pgqueue_group_release(group->id);
		pgqueue_progress_unlock(group->id, topic->id, partition);
		return;
	}

	if (!progress.found)
		pgqueue_progress_write(group->id, topic, partition, &progress,
							   PROGRESS_STARTED);
	progress.epoch = sink->epoch;
	progress.member = poller->what.member;
	progress.handed_to = sink->next;
	if (progress.offset < from)
		pgqueue_jump(group, topic, partition, &progress, from);
	else
		pgqueue_progress_write(group->id, topic, partition, &progress,
							   PROGRESS_HANDED);
}

static bool
has_room(const MessageSink *sink)
{
	return sink->messages_left > 0 && sink->bytes_left > 0;
}

/* The member's partitions of a topic in turn, beginning elsewhere each time. */
static void
poll_topic(Poller *poller, Topic *topic, const Member *me)
{
	uint32		start = topic->rotation++;

	if (poller->what.topics.n > 1)
		pgqueue_sink_topic(&poller->sink, topic, TYPED_CALL);
	for (int i = 0; i < me->npartitions && has_room(&poller->sink); i++)
	{
		int32		p = me->partitions[(start + i) % me->npartitions];

		/* given to us by a session that knows of it already; we do not yet */
		if (p < topic->npartitions)
			poll_partition(poller, topic, p);
	}
}

static int
compare_topics(const void *a, const void *b)
{
	return (*(Topic *const *) a)->id < (*(Topic *const *) b)->id ? -1 : 1;
}

/*
 * First the member lives on in all topics, whose locks are taken in the order
 * of their numbers; then the topics in turn.
 */
static void
poll_all(Poller *poller)
{
	static uint32 rotation = 0;
	TopicList  *topics = &poller->what.topics;
	uint32		start = topics->n > 1 ? MyProcPid + rotation++ : 0;
	Member	   *me[PGQUEUE_MAX_TOPICS];

	for (int i = 0; i < topics->n; i++)
		me[i] = pgqueue_member_renew(&poller->what.group, topics->topics[i],
									 poller->what.member, poller->lease);
	for (int i = 0; i < topics->n; i++)
	{
		int			k = (start + i) % topics->n;

		poll_topic(poller, topics->topics[k], me[k]);
	}
}

/*
 * (consumer_group, topic | topics, member, [value_type,] max_messages, lease,
 * max_bytes, max_wait)
 */
static Datum
poll(FunctionCallInfo fcinfo, bool array, int arg)
{
	Poller		poller = {0};
	Readiness  *what = &poller.what;
	bool		alone;
	int64		max_wait;

	pgqueue_check_writable("queue.poll()");
	pgqueue_check_not_null(fcinfo, 0, "consumer_group");
	pgqueue_topic_list(fcinfo, 1, array, &what->topics);
	qsort(what->topics.topics, what->topics.n, sizeof(Topic *), compare_topics);
	pgqueue_group_arg(fcinfo, 0, &what->group);
	pgqueue_check_not_null(fcinfo, 2, "member");
	what->member = pgqueue_member_arg(PG_GETARG_TEXT_PP(2));
	pgqueue_sink_init(&poller.sink, fcinfo, arg, arg + 2, true);
	for (int i = 0; i < what->topics.n; i++)
		pgqueue_sink_topic(&poller.sink, what->topics.topics[i], TYPED_CALL);
	pgqueue_check_not_null(fcinfo, arg + 1, "lease");
	poller.lease = pgqueue_duration_arg(fcinfo, arg + 1, "lease", 0);
	if (poller.lease < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("lease must be positive")));
	max_wait = pgqueue_duration_arg(fcinfo, arg + 3, "max_wait", 0);
	poller.snapshot = GetActiveSnapshot();

	/* before anything is written and locked: others must not wait, too */
	if (max_wait > 0 && has_room(&poller.sink))
		pgqueue_wait_held(what, max_wait);
	alone = what->group.id != 0 && wrote_nothing_else();
	(void) pgqueue_group_ensure(&what->group, NULL);
	poll_all(&poller);
	if (alone)
		poll_wrote_until = XactLastRecEnd;
	return (Datum) 0;
}

Datum
pgqueue_poll(PG_FUNCTION_ARGS)
{
	return poll(fcinfo, false, 3);
}

Datum
pgqueue_poll_typed(PG_FUNCTION_ARGS)
{
	return poll(fcinfo, false, 4);
}

Datum
pgqueue_poll_topics(PG_FUNCTION_ARGS)
{
	return poll(fcinfo, true, 3);
}

Datum
pgqueue_poll_topics_typed(PG_FUNCTION_ARGS)
{
	return poll(fcinfo, true, 4);
}

/* ---------------- commit_offset ---------------- */

/* Errors: QU004. */
static void
check_in_hand(const Topic *topic, int32 partition, const Progress *progress,
			  const char *member, int64 epoch)
{
	if (progress->member != NULL && strcmp(progress->member, member) == 0 &&
		progress->epoch == epoch)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_QUEUE_MEMBER_FENCED),
			 errmsg("member \"%s\" was fenced from partition %d of topic \"%s\"",
					member, partition, topic->name),
			 progress->member == NULL ?
			 errdetail("Its messages were taken back: epoch " INT64_FORMAT " is over.",
					   epoch) :
			 errdetail("The messages are in the hand of member \"%s\": epoch "
					   INT64_FORMAT " is over.", progress->member, epoch),
			 errhint("What it did with the messages may be done again by others. Go on with queue.poll().")));
}

/* What a member has in hand, or a part of it from the front. */
static void
commit_leased(Topic *topic, int32 partition, const Progress *progress,
			  int64 next_offset)
{
	if (next_offset < progress->offset || next_offset > progress->handed_to)
		ereport(ERROR,
				(errcode(ERRCODE_QUEUE_OFFSET_OUT_OF_RANGE),
				 errmsg("offset " INT64_FORMAT " is outside the messages in hand of partition %d of topic \"%s\"",
						next_offset, partition, topic->name),
				 errdetail("They are those from offset " INT64_FORMAT
						   " to before offset " INT64_FORMAT ".",
						   progress->offset, progress->handed_to),
				 errhint("next_offset is that of the last message that was dealt with, plus one.")));
}

/* Without a member: wherever the log has messages. */
static void
commit_unleased(ConsumerGroup *group, Topic *topic, int32 partition,
				Progress *progress, int64 next_offset)
{
	LogEnds		ends;

	if (pgqueue_in_hand(progress) &&
		pgqueue_holder_alive(group->id, topic->id, progress))
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

/*
 * (consumer_group, topic, partition, next_offset, member, epoch, metadata)
 */
Datum
pgqueue_commit_offset(PG_FUNCTION_ARGS)
{
	Topic	   *topic;
	ConsumerGroup group;
	int32		partition;
	int64		next_offset;
	char	   *member = NULL;
	Progress	progress;

	pgqueue_check_writable("queue.commit_offset()");
	pgqueue_check_not_null(fcinfo, 0, "consumer_group");
	pgqueue_check_not_null(fcinfo, 1, "topic");
	pgqueue_check_not_null(fcinfo, 2, "partition");
	pgqueue_check_not_null(fcinfo, 3, "next_offset");
	topic = pgqueue_topic_arg(PG_GETARG_TEXT_PP(1));
	pgqueue_check_right(topic, ACL_SELECT);
	pgqueue_group_arg(fcinfo, 0, &group);
	pgqueue_group_must_exist(&group);
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

	(void) pgqueue_group_hold(group.id, true);
	topic = pgqueue_topic_hold(topic);
	if (member == NULL)
		pgqueue_positions_hold(topic, partition);
	(void) pgqueue_progress_lock(group.id, topic->id, partition, true);
	pgqueue_group_check_same(&group);
	topic = pgqueue_topic_refresh(topic);
	pgqueue_progress_read(group.id, topic, partition, &progress);
	if (member != NULL)
	{
		check_in_hand(topic, partition, &progress, member, PG_GETARG_INT64(5));
		commit_leased(topic, partition, &progress, next_offset);
		if (next_offset == progress.offset && PG_ARGISNULL(6))
		{
			/* said before */
			pgqueue_progress_unlock(group.id, topic->id, partition);
			pgqueue_member_touch(&group, topic, member);
			PG_RETURN_VOID();
		}
	}
	else
		commit_unleased(&group, topic, partition, &progress, next_offset);

	progress.offset = next_offset;
	progress.metadata = PG_ARGISNULL(6) ? NULL :
		text_to_cstring(PG_GETARG_TEXT_PP(6));
	pgqueue_progress_write(group.id, topic, partition, &progress,
						   PROGRESS_COMMITTED);
	pgqueue_note_progress(group.id, topic->id, partition,
						  !pgqueue_in_hand(&progress));
	if (member != NULL)
		pgqueue_member_touch(&group, topic, member);
	PG_RETURN_VOID();
}

/* ---------------- leave ---------------- */

/* (consumer_group, topic, member) -> was it there? */
Datum
pgqueue_leave(PG_FUNCTION_ARGS)
{
	Topic	   *topic;
	ConsumerGroup group;

	pgqueue_check_writable("queue.leave()");
	pgqueue_check_not_null(fcinfo, 0, "consumer_group");
	pgqueue_check_not_null(fcinfo, 1, "topic");
	pgqueue_check_not_null(fcinfo, 2, "member");
	topic = pgqueue_topic_arg(PG_GETARG_TEXT_PP(1));
	pgqueue_check_right(topic, ACL_SELECT);
	pgqueue_group_arg(fcinfo, 0, &group);
	pgqueue_group_must_exist(&group);
	PG_RETURN_BOOL(pgqueue_member_leave(&group, topic,
										pgqueue_member_arg(PG_GETARG_TEXT_PP(2))));
}
