/*-------------------------------------------------------------------------
 *
 * producer_prune.c
 *	  Prune and forget producers, many at a time.
 *
 * Each producer that is pruned or forgotten keeps its lock to the end of the
 * transaction, and the lock table has room for some thousands only.  So one
 * transaction takes PGQUEUE_PRODUCERS_AT_ONCE of them: queue.maintain() and
 * queue.forget_producers() commit in between, queue.prune_producers() stops.
 *
 *-------------------------------------------------------------------------
 */
#include "queue.h"

#include "access/xact.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(pgqueue_prune_producers);
PG_FUNCTION_INFO_V1(pgqueue_forget_producers);

/* ---------------- prune ---------------- */

/*
 * Prune a producer, unless another transaction is using it.  Return true if
 * something was written, that is, if the producer's lock is kept; *saved: rows
 * by which the producer has become shorter, which may be none then.
 */
static bool
prune_producer(Topic *topic, const char *name, int64 *saved)
{
	Producer	producer;
	bool		wrote;

	*saved = 0;
	if (!pgqueue_producer_lock(topic, name, false))
		return false;
	wrote = pgqueue_producer_due_delete(topic->id, name);
	if (pgqueue_producer_find(topic, name, SnapshotSelf, &producer) &&
		pgqueue_producer_rows_prune(producer.id, saved))
		wrote = true;
	if (!wrote)
		pgqueue_producer_unlock(topic, name);
	return wrote;
}

/*
 * Prune the next of a topic's producers that are due, after an id, at most so
 * many.  Set *n to how many there were and *after to the last of them, before
 * anything can fail: the caller goes on behind them.  Return the number of rows
 * saved.
 */
int64
pgqueue_producers_prune_due(Topic *topic, char *after, int limit, int *n)
{
	List	   *ids = pgqueue_producer_ids(topic, PRODUCERS_DUE, after, limit);
	int64		total = 0;
	ListCell   *lc;

	*n = list_length(ids);
	if (ids != NIL)
		strlcpy(after, llast(ids), PGQUEUE_MAX_PRODUCER_NAME + 1);
	foreach(lc, ids)
	{
		int64		saved;

		CHECK_FOR_INTERRUPTS();
		(void) prune_producer(topic, lfirst(lc), &saved);
		total += saved;
	}
	return total;
}

/* Prune all producers of a topic, due or not, as many as one call may. */
static int64
prune_all(Topic *topic)
{
	char	   *after = NULL;
	int			nwritten = 0;
	int64		total = 0;
	List	   *ids;

	do
	{
		ListCell   *lc;

		ids = pgqueue_producer_ids(topic, PRODUCERS_ALL, after,
								   PGQUEUE_PRODUCERS_AT_ONCE);
		foreach(lc, ids)
		{
			int64		saved;

			CHECK_FOR_INTERRUPTS();
			after = lfirst(lc);
			nwritten += prune_producer(topic, after, &saved);
			total += saved;
			if (nwritten < PGQUEUE_PRODUCERS_AT_ONCE)
				continue;
			ereport(NOTICE,
					(errmsg("pruned %d producers of topic \"%s\", as many as one call may prune",
							nwritten, topic->name),
					 errhint("Call it again in another transaction for the others.")));
			return total;
		}
	} while (ids != NIL);
	return total;
}

/* (topic) -> number of rows saved */
Datum
pgqueue_prune_producers(PG_FUNCTION_ARGS)
{
	Topic	   *topic;

	pgqueue_check_writable("queue.prune_producers()");
	pgqueue_check_not_null(fcinfo, 0, "topic");
	topic = pgqueue_topic_arg(PG_GETARG_TEXT_PP(0));
	pgqueue_check_owner(topic);
	/* what this very command has written can be merged, too */
	CommandCounterIncrement();
	PG_RETURN_INT64(prune_all(topic));
}

/* ---------------- forget ---------------- */

/* Return true if a producer has not been used since a time. */
static bool
is_unused(const Producer *producer, TimestampTz since, Snapshot snapshot)
{
	ProducerState state;

	pgqueue_producer_state_read(producer->id, snapshot, &state);
	return (state.found ? state.used_at : producer->created_at) < since;
}

/* Return true if the producer looks unused, without its lock. */
static bool
looks_unused(const Topic *topic, const char *name, TimestampTz since)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	Producer	producer;
	bool		result;

	result = pgqueue_producer_find(topic, name, snapshot, &producer) &&
		is_unused(&producer, since, snapshot);
	UnregisterSnapshot(snapshot);
	return result;
}

/*
 * Forget a producer if it has not been used since a time and no transaction is
 * using it.  Return true if it was forgotten.
 */
static bool
forget_unused(Topic *topic, const char *name, TimestampTz since)
{
	Producer	producer;

	if (!looks_unused(topic, name, since) ||
		!pgqueue_producer_lock(topic, name, false))
		return false;
	if (pgqueue_producer_find(topic, name, SnapshotSelf, &producer) &&
		is_unused(&producer, since, SnapshotSelf))
	{
		pgqueue_producer_forget(topic, name, producer.id);
		return true;
	}
	pgqueue_producer_unlock(topic, name);
	return false;
}

/*
 * Forget the unused ones of the producers after an id, as many as one
 * transaction may look at.  Set *after to the last that was looked at.  Return
 * false if there are no more.
 */
static bool
forget_next(Topic *topic, char *after, TimestampTz since, int64 *forgotten)
{
	List	   *ids = pgqueue_producer_ids(topic, PRODUCERS_ALL, after,
										   PGQUEUE_PRODUCERS_AT_ONCE);
	ListCell   *lc;

	foreach(lc, ids)
	{
		CHECK_FOR_INTERRUPTS();
		if (forget_unused(topic, lfirst(lc), since))
			(*forgotten)++;
	}
	if (ids == NIL)
		return false;
	strlcpy(after, llast(ids), PGQUEUE_MAX_PRODUCER_NAME + 1);
	return true;
}

/* (topic, unused_since, forgotten) -> (forgotten) */
Datum
pgqueue_forget_producers(PG_FUNCTION_ARGS)
{
	char	   *name;
	int32		id;
	char		after[PGQUEUE_MAX_PRODUCER_NAME + 1] = "";
	TimestampTz since;
	Topic	   *topic;
	TupleDesc	desc;
	int64		forgotten = 0;
	Datum		value;
	bool		isnull = false;
	bool		more = true;

	pgqueue_call_begin(fcinfo, "queue.forget_producers()");
	pgqueue_in_call.begin();
	pgqueue_check_not_null(fcinfo, 0, "topic");
	pgqueue_check_not_null(fcinfo, 1, "unused_since");
	since = PG_GETARG_TIMESTAMPTZ(1);
	topic = pgqueue_topic_arg(PG_GETARG_TEXT_PP(0));
	pgqueue_check_owner(topic);
	name = pstrdup(topic->name);
	id = topic->id;
	pgqueue_in_call.end();

	while (more)
	{
		pgqueue_in_call.begin();
		topic = pgqueue_topic(name);
		pgqueue_check_same(topic, id);
		pgqueue_check_owner(topic);
		more = forget_next(topic, after, since, &forgotten);
		pgqueue_in_call.end();
	}
	SPI_finish();

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	value = Int64GetDatum(forgotten);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc),
													  &value, &isnull)));
}
