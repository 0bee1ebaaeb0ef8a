/*-------------------------------------------------------------------------
 *
 * consume.c
 *	  queue.consume(): the next messages of a group, and the group's offset
 *	  moved over them, in the caller's transaction.
 *
 * One call takes one partition that is free and has something to read.  Its
 * lock is held to the end of the transaction, so no other consumer of the
 * group reads it meanwhile; the others take other partitions.	There is no
 * membership, hence no rebalance: an abort or a crash gives everything back.
 *
 * A partition of which a live member has messages in hand (poll.c) is not free
 * either.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

#include "base/base.h"
#include "log/log.h"
#include "wait/wait.h"
#include "topic/message.h"
#include "topic/topic.h"
#include "group/group.h"
#include "group/member.h"
#include "group/progress.h"
#include "api/api.h"

PG_FUNCTION_INFO_V1(pgqueue_consume);
PG_FUNCTION_INFO_V1(pgqueue_consume_typed);
PG_FUNCTION_INFO_V1(pgqueue_consume_topics);
PG_FUNCTION_INFO_V1(pgqueue_consume_topics_typed);

#define TYPED_CALL \
	"queue.consume_typed(<consumer_group>, %s, NULL::%s)"

/* Milliseconds that a transaction may take to give back its locks. */
#define PATIENCE	50

/* A call: who reads what, and what becomes of it. */
typedef struct Consumer
{
	Readiness	what;
	int			patience;		/* for partitions whose holder is ending, ms */
	char	   *metadata;
	Snapshot	snapshot;		/* of the calling statement */
	MessageSink sink;
} Consumer;

/* The partitions that the caller allows, as an array of numbers. */
static void
chosen_partitions(FunctionCallInfo fcinfo, int arg, const Topic *topic,
				  Readiness *what)
{
	ArrayType  *array;

	what->partitions = NULL;
	if (PG_ARGISNULL(arg))
		return;
	array = PG_GETARG_ARRAYTYPE_P(arg);
	if (ARR_NDIM(array) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("partitions must be a one-dimensional array")));
	if (array_contains_nulls(array))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("partitions must not contain NULL")));
	what->npartitions = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	what->partitions = (int32 *) ARR_DATA_PTR(array);
	for (int i = 0; i < what->npartitions; i++)
		pgqueue_check_partition(topic, what->partitions[i]);
}

/*
 * Would a group that does not exist yet find anything?	 An empty call must
 * not make it, since that would write.
 */
static bool
anything_to_read(Consumer *consumer, Topic *topic)
{
	const Readiness *what = &consumer->what;
	int			n = what->partitions ? what->npartitions : topic->npartitions;

	for (int i = 0; i < n; i++)
	{
		int32		p = what->partitions ? what->partitions[i] : i;
		Found		place;

		/* let go meanwhile: from the new start */
		while (pgqueue_find_offset(topic, p, pgqueue_log_start(topic, p),
								   consumer->snapshot, &place) == SCAN_GONE)
			topic = pgqueue_topic_reload(topic);
		if (place.found)
			return true;
	}
	return false;
}

/* May a consumer read there, as far as members and operators go? */
static bool
is_free(const ConsumerGroup *group, const Topic *topic, const Progress *progress)
{
	if (progress->paused)
		return false;
	return !pgqueue_in_hand(progress) ||
		!pgqueue_holder_alive(group->id, topic->id, progress);
}

/*
 * Lock a partition if that can be had at once.	 Who has made the group that we
 * have waited for may still be giving back its locks, one after the other.
 */
static bool
lock_partition(Consumer *consumer, const Topic *topic, int32 partition)
{
	while (!pgqueue_progress_lock(consumer->what.group.id, topic->id, partition,
								  false))
	{
		if (consumer->patience <= 0)
			return false;
		consumer->patience--;
		CHECK_FOR_INTERRUPTS();
		pg_usleep(1000);
	}
	return true;
}

/*
 * Take what follows the group's offset in one partition.  False, with nothing
 * changed, if another transaction has the partition or nothing can be read.
 *
 * The lock comes first, then the offset; the messages are those of the calling
 * statement's snapshot, so none arrives before the rows that were committed
 * with it.
 */
static bool
consume_partition(Consumer *consumer, Topic *topic, int32 partition)
{
	ConsumerGroup *group = &consumer->what.group;
	MessageSink *sink = &consumer->sink;
	Progress	progress;
	int64		from;
	ScanEnd		end;

	if (!lock_partition(consumer, topic, partition))
		return false;
	pgqueue_group_check_same(group);

	pgqueue_progress_read(group->id, topic, partition, &progress);
	if (!is_free(group, topic, &progress))
	{
		pgqueue_progress_unlock(group->id, topic->id, partition);
		return false;
	}
	/* whoever drops the group waits, or has it */
	if (!progress.found && !pgqueue_group_hold(group->id, false))
	{
		pgqueue_progress_unlock(group->id, topic->id, partition);
		return false;
	}
	end = pgqueue_read_on(group, topic, partition, &progress, consumer->snapshot,
						  sink, &from);
	if (sink->taken > 0)
	{
		if (progress.member != NULL)
			pgqueue_new_epoch(&progress);
		if (progress.offset < from)
			pgqueue_jump(group, topic, partition, &progress, from);
		progress.offset = sink->next;
		progress.metadata = consumer->metadata;
		pgqueue_progress_write(group->id, topic, partition, &progress,
							   PROGRESS_CONSUMED);
		pgqueue_note_progress(group->id, topic->id, partition,
							  end == SCAN_ENOUGH);
		return true;
	}

	if (!progress.found)
		pgqueue_group_release(group->id);
	pgqueue_progress_unlock(group->id, topic->id, partition);
	return false;
}

/* The partitions of a topic in turn, beginning elsewhere each time. */
static bool
consume_topic(Consumer *consumer, Topic *topic)
{
	const Readiness *what = &consumer->what;
	int			n = what->partitions ? what->npartitions : topic->npartitions;
	uint32		start = topic->rotation++;

	if (what->group.id == 0)
	{
		if (!anything_to_read(consumer, topic))
			return false;
		if (!pgqueue_group_ensure(&consumer->what.group, NULL))
			consumer->patience = PATIENCE;
	}
	if (what->topics.n > 1)
		pgqueue_sink_topic(&consumer->sink, topic, TYPED_CALL);
	for (int i = 0; i < n; i++)
	{
		uint32		k = (start + i) % n;

		if (consume_partition(consumer, topic,
							  what->partitions ? what->partitions[k] : k))
			return true;
	}
	return false;
}

/* The topics in turn. */
static bool
consume_any(Consumer *consumer)
{
	static uint32 rotation = 0;
	TopicList  *topics = &consumer->what.topics;
	uint32		start = topics->n > 1 ? MyProcPid + rotation++ : 0;

	for (int i = 0; i < topics->n; i++)
		if (consume_topic(consumer, topics->topics[(start + i) % topics->n]))
			return true;
	return false;
}

/*
 * (consumer_group, topic, [value_type,] max_messages, max_bytes, partitions,
 * max_wait, metadata) or (consumer_group, topics, [value_type,] max_messages,
 * max_bytes, max_wait, metadata)
 */
static Datum
consume(FunctionCallInfo fcinfo, bool array, int limits_arg)
{
	Consumer	consumer = {0};
	Readiness  *what = &consumer.what;
	int			arg = limits_arg + 2;
	int64		max_wait;

	pgqueue_check_writable("queue.consume()");
	pgqueue_check_not_null(fcinfo, 0, "consumer_group");
	pgqueue_topic_list(fcinfo, 1, array, &what->topics);
	pgqueue_group_arg(fcinfo, 0, &what->group);
	pgqueue_sink_init(&consumer.sink, fcinfo, limits_arg, limits_arg + 1, false);
	for (int i = 0; i < what->topics.n; i++)
		pgqueue_sink_topic(&consumer.sink, what->topics.topics[i], TYPED_CALL);
	if (!array)
		chosen_partitions(fcinfo, arg++, what->topics.topics[0], what);
	max_wait = pgqueue_duration_arg(fcinfo, arg++, "max_wait", 0);
	if (!PG_ARGISNULL(arg))
		consumer.metadata = text_to_cstring(PG_GETARG_TEXT_PP(arg));
	consumer.snapshot = GetActiveSnapshot();

	if (consume_any(&consumer) || max_wait == 0)
		return (Datum) 0;

	/*
	 * What arrives is for the next statement; what another transaction gives
	 * back may be for this one.
	 */
	pgqueue_wait_held(what, max_wait);
	(void) consume_any(&consumer);
	return (Datum) 0;
}

Datum
pgqueue_consume(PG_FUNCTION_ARGS)
{
	return consume(fcinfo, false, 2);
}

Datum
pgqueue_consume_typed(PG_FUNCTION_ARGS)
{
	return consume(fcinfo, false, 3);
}

Datum
pgqueue_consume_topics(PG_FUNCTION_ARGS)
{
	return consume(fcinfo, true, 2);
}

Datum
pgqueue_consume_topics_typed(PG_FUNCTION_ARGS)
{
	return consume(fcinfo, true, 3);
}
