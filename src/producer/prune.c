/*-------------------------------------------------------------------------
 *
 * prune.c
 *	  Prune and forget producers, many at a time.
 *
 * Each producer that is pruned or forgotten keeps its lock to the end of the
 * transaction, and the lock table has room for some thousands only.  So one
 * transaction takes PGQUEUE_PRODUCERS_AT_ONCE of them.
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
 * something was written, so that its lock is kept; *saved: rows by which it has
 * become shorter, which may be none then.
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
	if (pgqueue_producer_find(topic->id, name, SnapshotSelf, &producer) &&
		pgqueue_producer_rows_prune(producer.id, saved))
		wrote = true;
	if (!wrote)
		pgqueue_producer_unlock(topic, name);
	return wrote;
}

/*
 * Prune the next of a topic's producers that are due, after an id, at most so
 * many.  Set *n to their number and *after to the last of them, before anything
 * can fail.  Return the number of rows saved.
 */
int64
pgqueue_producers_prune_due(Topic *topic, char *after, int limit, int *n)
{
	List	   *ids = pgqueue_producer_ids(topic, true, after, limit);
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

/* Look a producer up.  Return true if it has not been used since a time. */
static bool
find_unused(const Topic *topic, const char *name, TimestampTz since,
			Snapshot snapshot, Producer *producer)
{
	ProducerState state;

	if (!pgqueue_producer_find(topic->id, name, snapshot, producer))
		return false;
	pgqueue_producer_state_read(producer->id, snapshot, &state);
	return (state.found ? state.used_at : producer->created_at) < since;
}

/* Forget a producer that has not been used since a time. */
static bool
forget_unused(Topic *topic, const char *name, TimestampTz since)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	Producer	producer;
	bool		unused = find_unused(topic, name, since, snapshot, &producer);

	UnregisterSnapshot(snapshot);
	if (!unused || !pgqueue_producer_lock(topic, name, false))
		return false;
	if (find_unused(topic, name, since, SnapshotSelf, &producer))
	{
		pgqueue_producer_forget(topic, name, producer.id);
		return true;
	}
	pgqueue_producer_unlock(topic, name);
	return false;
}

/*
 * Look at as many producers after an id as one transaction may forget, and
 * forget the unused ones.  Set *after to the last one.  Return false if there
 * was none.
 */
bool
pgqueue_forget_next(Topic *topic, char *after, TimestampTz since,
					int64 *forgotten)
{
	List	   *ids = pgqueue_producer_ids(topic, false, after,
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
