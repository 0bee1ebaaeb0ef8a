/*-------------------------------------------------------------------------
 *
 * list.c
 *	  Walk over the producers of a topic: all of them, or those that are due.
 *
 * A producer is due when it has so many rows in queue.producer_batch that
 * maintenance should merge them.  Each DUE_ROWS-th row that it writes comes with
 * a row of queue.producer_due, in the same transaction:
 *
 *	 topic_id | name |  the index
 *
 * Maintenance deletes these rows in the transaction that merges, so a pass over
 * producers that have written little reads no row of theirs.  Nothing depends on
 * them but when a producer is merged: queue.prune_producers() merges all
 * producers, due or not.
 *
 * Rows are written and deleted under the producer's lock (producer.c).  A walk
 * takes no lock: its caller locks each producer and looks it up again.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"

#include "base/base.h"
#include "topic/topic.h"
#include "producer/producer.h"

/* Columns of queue.producer_due. */
#define DUE_ATTR_TOPIC	1
#define DUE_ATTR_NAME	2
#define DUE_NATTS		2

/*
 * Rows that a producer writes until it is due again: as many it keeps unmerged
 * at the most, and the cost of a row of queue.producer_due is shared by as many
 * calls.
 */
#define DUE_ROWS 16

/*
 * Return ids of a topic's producers in ascending order, as C strings: the first
 * of those after an id (NULL: of all), at most so many (0: all).
 */
List *
pgqueue_producer_ids(const Topic *topic, ProducerSet set, const char *after,
					 int limit)
{
	bool		due = set == PRODUCERS_DUE;
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

/*
 * Note that a producer has written rows, its generation going from one number
 * to another.
 *
 * Locks: the producer's.
 */
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
 * Delete the rows that say that a producer is due; name NULL: all producers of
 * the topic.  Return true if there was one.
 *
 * Locks: the producer's, or the strongest of the topic's table.
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
