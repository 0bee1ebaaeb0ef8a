/*-------------------------------------------------------------------------
 *
 * consume.c
 *	  queue.consume() and its variants: return the next messages of a group and
 *	  move the group's offset over them, in the caller's transaction.
 *
 * One call takes one partition that is free and has something to read
 * (group/take.c).  The partition's lock is held to the end of the transaction,
 * so no other consumer of the group reads the partition meanwhile; other
 * consumers take other partitions.  There is no membership, hence no
 * rebalance: an abort or a crash gives everything back.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"

#include "base/base.h"
#include "log/log.h"
#include "topic/message.h"
#include "topic/topic.h"
#include "group/group.h"
#include "group/member.h"
#include "api/api.h"

#define TYPED_CALL \
	"queue.consume_typed(<consumer_group>, %s, NULL::%s)"
#define TOPICS_TYPED_CALL \
	"queue.consume_topics_typed(<consumer_group>, ARRAY[%s, ...], NULL::%s), " \
	"with topics of this type"

/* Milliseconds that a transaction may take to release its locks. */
#define PATIENCE	50

/* Read the argument partitions. */
static void
chosen_partitions(FunctionCallInfo fcinfo, int arg, const Topic *topic,
				  WaitTarget *target)
{
	ArrayType  *array;

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
	target->npartitions = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	target->partitions = (int32 *) ARR_DATA_PTR(array);
	for (int i = 0; i < target->npartitions; i++)
		pgqueue_check_partition(topic, target->partitions[i]);
}

/*
 * Return true if a group that does not exist yet would find a message.  An
 * empty call must not make the group, since that would write.
 */
static bool
anything_to_read(const Taker *taker, Topic *topic)
{
	const WaitTarget *target = &taker->target;
	const int32 *partitions = target->partitions;
	int			n = target->npartitions;

	topic = pgqueue_topic_refresh(topic);
	if (partitions == NULL)
		partitions = pgqueue_used_partitions(topic, &n);
	for (int i = 0; i < n; i++)
	{
		int32		p = partitions[i];
		Found		place;

		/* removed meanwhile: look again from the new log start */
		while (pgqueue_find_offset(topic, p, pgqueue_log_start(topic, p),
								   taker->snapshot, &place) == SCAN_GONE)
			topic = pgqueue_topic_reload(topic);
		if (place.found)
			return true;
	}
	return false;
}

/* Take messages of a topic; make the group first if there are any. */
static bool
consume_topic(Taker *taker, Topic *topic)
{
	WaitTarget *target = &taker->target;

	if (target->group.id == 0)
	{
		if (!anything_to_read(taker, topic))
			return false;
		if (!pgqueue_group_ensure(&target->group, NULL))
			taker->patience = PATIENCE;
	}
	return pgqueue_take(taker, topic, target->partitions, target->npartitions);
}

/*
 * Take messages of the first topic that has any, beginning with another one
 * each time.  Return false if there are none.
 *
 * Locks, errors: those of pgqueue_take().
 */
bool
pgqueue_consume_any(Taker *taker)
{
	static uint32 rotation = 0;
	TopicList  *topics = &taker->target.topics;
	uint32		start = topics->n > 1 ? MyProcPid + rotation++ : 0;

	for (int i = 0; i < topics->n; i++)
		if (consume_topic(taker, topics->topics[(start + i) % topics->n]))
			return true;
	return false;
}

/*
 * (consumer_group, topic, [value_type,] max_messages, max_bytes, partitions,
 * max_wait, metadata) or (consumer_group, topics, [value_type,] max_messages,
 * max_bytes, max_wait, metadata)
 */
static Datum
consume(FunctionCallInfo fcinfo, bool array, int arg)
{
	Taker		taker = {0};
	WaitTarget *target = &taker.target;
	int64		max_wait;

	pgqueue_taker_args(fcinfo, array, -1, arg, arg + 1,
					   array ? TOPICS_TYPED_CALL : TYPED_CALL, &taker);
	arg += 2;
	if (!array)
		chosen_partitions(fcinfo, arg++, target->topics.topics[0], target);
	max_wait = pgqueue_duration_arg(fcinfo, arg++, "max_wait", 0);
	if (!PG_ARGISNULL(arg))
		taker.metadata = text_to_cstring(PG_GETARG_TEXT_PP(arg));

	/* no session waits while it keeps others from what it has locked */
	if (!pgqueue_consume_any(&taker) && !taker.wrote && max_wait > 0)
	{
		/*
		 * This statement's snapshot does not show messages that arrive now,
		 * but it may show those that another transaction gives back.
		 */
		pgqueue_wait_held(target, max_wait);
		(void) pgqueue_consume_any(&taker);
	}
	if (taker.sink.taken > 0)
		pgqueue_warn_autocommit(fcinfo);
	return (Datum) 0;
}

PGQUEUE_VARIANT(pgqueue_consume, consume(fcinfo, false, 2))
PGQUEUE_VARIANT(pgqueue_consume_typed, consume(fcinfo, false, 3))
PGQUEUE_VARIANT(pgqueue_consume_topics, consume(fcinfo, true, 2))
PGQUEUE_VARIANT(pgqueue_consume_topics_typed, consume(fcinfo, true, 3))
