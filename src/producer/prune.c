/*-------------------------------------------------------------------------
 *
 * prune.c
 *	  Producers of a topic, many at a time: list, prune and forget them.
 *
 * A producer is due when it has so many rows in queue.producer_batch that
 * maintenance should merge them.  Each DUE_ROWS-th row that it writes comes with
 * a row of queue.producer_due, in the same transaction:
 *
 *	 topic_id | name |  the index
 *
 * Rows are written and deleted under the producer's lock (src/README, section
 * 10).  A list takes no lock: its caller locks each producer and looks it up
 * again.
 *
 * Each producer that is pruned or forgotten keeps its lock to the end of the
 * transaction, and the lock table has room for some thousands only.  So one
 * transaction takes PGQUEUE_PRODUCERS_AT_ONCE of them.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"

#include "base/base.h"
#include "producer/producer.h"

/* Columns of queue.producer_due. */
#define DUE_ATTR_TOPIC	1
#define DUE_ATTR_NAME	2
#define DUE_NATTS		2

/* Rows that a producer writes until it is due again. */
#define DUE_ROWS 16

/*
 * Return ids of a topic's producers, or of those that are due, in ascending
 * order, as C strings: the first of those after an id (NULL: of all), at most so
 * many (0: all).
 */
List *
pgqueue_producer_ids(const Topic *topic, bool due, const char *after, int limit)
{
	AttrNumber	name = due ? DUE_ATTR_NAME : PRODUCER_ATTR_NAME;
	RegistryScan scan = {0};
	HeapTuple	tuple;
	List	   *ids = NIL;

	pgqueue_registry_key_int4(&scan,
							  due ? DUE_ATTR_TOPIC : PRODUCER_ATTR_TOPIC,
							  topic->id);
	if (after != NULL)
		pgqueue_registry_key(&scan, name, BTGreaterStrategyNumber, F_TEXT_GT,
							 CStringGetTextDatum(after));
	pgqueue_registry_scan(&scan, due ? REGISTRY_PRODUCER_DUE : REGISTRY_PRODUCER,
						  AccessShareLock, SnapshotSelf);
	while ((limit == 0 || list_length(ids) < limit) &&
		   HeapTupleIsValid(tuple = pgqueue_registry_next(&scan)))
	{
		char	   *id = TextDatumGetCString(pgqueue_registry_column(&scan, tuple,
																	 name));

		CHECK_FOR_INTERRUPTS();
		/* a producer may be due several times */
		if (ids == NIL || strcmp(llast(ids), id) != 0)
			ids = lappend(ids, id);
		else
			pfree(id);
	}
	pgqueue_registry_end(&scan);
	return ids;
}

/* Note that a producer's generation has grown.  Locks: the producer's. */
void
pgqueue_producer_wrote(int32 topic_id, const char *name, int64 before,
					   int64 after)
{
	Datum		values[DUE_NATTS];
	bool		nulls[DUE_NATTS] = {false};

	if (likely(before / DUE_ROWS == after / DUE_ROWS))
		return;
	values[DUE_ATTR_TOPIC - 1] = Int32GetDatum(topic_id);
	values[DUE_ATTR_NAME - 1] = CStringGetTextDatum(name);
	pgqueue_registry_insert(REGISTRY_PRODUCER_DUE, DUE_NATTS, values, nulls);
}

/*
 * Delete the rows by which a producer (NULL: all of the topic) is due.  Return true
 * if there was one.  Locks: the producer's, or the strongest of the topic's table.
 */
bool
pgqueue_producer_due_delete(int32 topic_id, const char *name)
{
	RegistryScan scan = {0};

	pgqueue_registry_key_int4(&scan, DUE_ATTR_TOPIC, topic_id);
	if (name != NULL)
		pgqueue_registry_key_text(&scan, DUE_ATTR_NAME, name);
	pgqueue_registry_scan(&scan, REGISTRY_PRODUCER_DUE, RowExclusiveLock,
						  SnapshotSelf);
	return pgqueue_registry_delete(&scan) > 0;
}

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
 * many.  Set *n to their number and *after to the last of them, before anything can
 * fail.  Return the number of rows saved.
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

/* Forget a producer that has not been used since a time, unless it is in use. */
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
 * Look at as many producers after an id as one transaction may forget, and forget
 * the unused ones.  Set *after to the last one.  Return false if there was none.
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
