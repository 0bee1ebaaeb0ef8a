/*-------------------------------------------------------------------------
 *
 * poll.c
 *	  queue.poll(): batches for work outside the database.  What was polled is
 *	  committed by queue.commit_offset() (commit_offset.c).
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
#include "postgres.h"

#include "miscadmin.h"
#include "utils/snapmgr.h"

#include "base/base.h"
#include "wait/wait.h"
#include "topic/message.h"
#include "topic/topic.h"
#include "group/group.h"
#include "group/member.h"
#include "group/progress.h"
#include "api/api.h"

PG_FUNCTION_INFO_V1(pgqueue_poll);
PG_FUNCTION_INFO_V1(pgqueue_poll_typed);
PG_FUNCTION_INFO_V1(pgqueue_poll_topics);
PG_FUNCTION_INFO_V1(pgqueue_poll_topics_typed);

#define TYPED_CALL \
	"queue.poll_typed(<consumer_group>, %s, <member>, NULL::%s)"

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
