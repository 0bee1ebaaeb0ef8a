/*-------------------------------------------------------------------------
 *
 * prune.c
 *	  Prune and forget producers, many at a time.
 *
 * Each producer that is pruned or forgotten keeps its lock to the end of the
 * transaction, and the lock table has room for some thousands only.  So one
 * transaction takes PGQUEUE_PRODUCERS_AT_ONCE of them: queue.maintain() and
 * queue.forget_producers() commit in between, queue.prune_producers() stops.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/snapmgr.h"

#include "topic/topic.h"
#include "producer/producer.h"

/* ---------------- prune ---------------- */

/*
 * Prune a producer, unless another transaction is using it.  Return true if
 * something was written, that is, if the producer's lock is kept; *saved: rows
 * by which the producer has become shorter, which may be none then.
 */
bool
pgqueue_prune_producer(Topic *topic, const char *name, int64 *saved)
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
		(void) pgqueue_prune_producer(topic, lfirst(lc), &saved);
		total += saved;
	}
	return total;
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
bool
pgqueue_forget_next(Topic *topic, char *after, TimestampTz since,
					int64 *forgotten)
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
