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
 *-------------------------------------------------------------------------
 */
#include "queue.h"

#include "access/xact.h"
#include "catalog/pg_type_d.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

PG_FUNCTION_INFO_V1(pgqueue_consume);
PG_FUNCTION_INFO_V1(pgqueue_consume_typed);
PG_FUNCTION_INFO_V1(pgqueue_create_group);

/* The partitions that the caller allows, as an array of numbers. */
static int
chosen_partitions(FunctionCallInfo fcinfo, int arg, const Topic *topic,
				  int32 **partitions)
{
	ArrayType  *array;
	int			n;

	if (PG_ARGISNULL(arg))
	{
		*partitions = NULL;
		return topic->npartitions;
	}
	array = PG_GETARG_ARRAYTYPE_P(arg);
	if (ARR_NDIM(array) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("partitions must be a one-dimensional array")));
	if (array_contains_nulls(array))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("partitions must not contain NULL")));
	n = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	*partitions = (int32 *) ARR_DATA_PTR(array);
	for (int i = 0; i < n; i++)
		pgqueue_check_partition(topic, (*partitions)[i]);
	return n;
}

static bool
take_none(HeapTuple tuple, Relation leaf, void *arg)
{
	*(bool *) arg = true;
	return false;
}

/*
 * Would a group that does not exist yet find anything?	 An empty call must
 * not make it, since that would write.
 */
static bool
anything_to_read(Topic *topic, const int32 *partitions, int n,
				 Snapshot snapshot)
{
	bool		found = false;
	int64		stopped_at;

	for (int i = 0; i < n && !found; i++)
	{
		int32		p = partitions ? partitions[i] : i;

		(void) pgqueue_scan(topic, p, pgqueue_log_start(topic, p), snapshot,
							take_none, &found, &stopped_at);
	}
	return found;
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
consume_partition(Topic *topic, int32 group, int32 partition,
				  Snapshot snapshot, MessageSink *sink)
{
	Progress	progress;
	int64		start;
	int64		from;
	int64		stopped_at;

	if (!pgqueue_progress_lock(group, topic, partition, false))
		return false;

	/* the offset may lie in a segment made since we looked */
	topic = pgqueue_topic_refresh(topic);
	start = pgqueue_log_start(topic, partition);
	pgqueue_progress_read(group, topic, partition, &progress);
	from = progress.found ? progress.offset : start;
	if (from < start)
		pgqueue_offset_out_of_range(topic, partition, from,
									"committed offset");
	(void) pgqueue_scan(topic, partition, from, snapshot,
						pgqueue_sink_receive, sink, &stopped_at);
	if (sink->taken > 0)
	{
		pgqueue_progress_write(group, topic, partition, &progress, sink->next);
		return true;
	}

	/* nothing new; or does the log end before the offset? */
	if (from > start && pgqueue_behind_log_end(topic, partition, from))
		pgqueue_offset_out_of_range(topic, partition, from,
									"committed offset");
	pgqueue_progress_unlock(group, topic, partition);
	return false;
}

/* (consumer_group, topic, [value_type,] max_messages, max_bytes, partitions) */
static Datum
consume(FunctionCallInfo fcinfo, int limits_arg)
{
	Topic	   *topic;
	char	   *name;
	int32		group;
	MessageSink sink;
	int32	   *partitions;
	int			n;
	uint32		start;
	Snapshot	snapshot = GetActiveSnapshot();

	pgqueue_check_writable("queue.consume()");
	pgqueue_check_not_null(fcinfo, 0, "consumer_group");
	pgqueue_check_not_null(fcinfo, 1, "topic");
	topic = pgqueue_topic_arg(PG_GETARG_TEXT_PP(1));
	pgqueue_check_right(topic, ACL_SELECT);
	name = pgqueue_group_arg(PG_GETARG_TEXT_PP(0));
	pgqueue_sink_init(&sink, fcinfo, topic, limits_arg, limits_arg + 1,
					  "queue.consume(<consumer_group>, %s, value_type => NULL::%s, max_messages => <max_messages>)");
	n = chosen_partitions(fcinfo, limits_arg + 2, topic, &partitions);

	group = pgqueue_group_find(name);
	if (group == 0)
	{
		if (!anything_to_read(topic, partitions, n, snapshot))
			return (Datum) 0;
		group = pgqueue_group_ensure(name);
	}

	start = topic->rotation++;
	for (int i = 0; i < n; i++)
	{
		uint32		k = (start + i) % n;

		if (consume_partition(topic, group, partitions ? partitions[k] : k,
							  snapshot, &sink))
			break;
	}
	return (Datum) 0;
}

Datum
pgqueue_consume(PG_FUNCTION_ARGS)
{
	return consume(fcinfo, 2);
}

Datum
pgqueue_consume_typed(PG_FUNCTION_ARGS)
{
	return consume(fcinfo, 3);
}

/* (consumer_group, topic, start) */
Datum
pgqueue_create_group(PG_FUNCTION_ARGS)
{
	Topic	   *topic;
	char	   *name;
	char	   *where;
	bool		latest;
	int32		group;

	pgqueue_check_writable("queue.create_group()");
	pgqueue_check_not_null(fcinfo, 0, "consumer_group");
	pgqueue_check_not_null(fcinfo, 1, "topic");
	pgqueue_check_not_null(fcinfo, 2, "start");
	topic = pgqueue_topic_arg(PG_GETARG_TEXT_PP(1));
	pgqueue_check_right(topic, ACL_SELECT);
	name = pgqueue_group_arg(PG_GETARG_TEXT_PP(0));
	where = text_to_cstring(PG_GETARG_TEXT_PP(2));
	latest = strcmp(where, "latest") == 0;
	if (!latest && strcmp(where, "earliest") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("start must be \"earliest\" or \"latest\", not \"%s\"",
						where)));

	group = pgqueue_group_ensure(name);
	for (int32 p = 0; p < topic->npartitions; p++)
	{
		Progress	progress;
		LogEnds		ends;

		(void) pgqueue_progress_lock(group, topic, p, true);
		topic = pgqueue_topic_refresh(topic);
		pgqueue_progress_read(group, topic, p, &progress);
		if (progress.found)
			ereport(ERROR,
					(errcode(ERRCODE_DUPLICATE_OBJECT),
					 errmsg("consumer group \"%s\" already reads topic \"%s\"",
							name, topic->name)));
		pgqueue_log_ends(topic, p, &ends);
		pgqueue_progress_write(group, topic, p, &progress,
							   latest ? ends.latest : ends.log_start);
	}
	PG_RETURN_VOID();
}
