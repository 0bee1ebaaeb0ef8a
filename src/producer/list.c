/*-------------------------------------------------------------------------
 *
 * list.c
 *	  Walk over the producers of a topic: all of them, or those that are due.
 *
 * A producer is due when it has so many rows in queue.producer_batch that
 * maintenance should merge them.  Each DUE_ROWS-th row that it writes comes with
 * a row of queue.producer_due, in the same transaction:
 *
 *	 topic_id | name |	the index
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

#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/pg_collation_d.h"
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

/* A table with an index on (topic, producer's id). */
typedef struct IdTable
{
	RegistryTable table;
	RegistryTable index;
	AttrNumber	topic;
	AttrNumber	name;
} IdTable;

static const IdTable id_tables[] = {
	[PRODUCERS_ALL] = {
		REGISTRY_PRODUCER, REGISTRY_PRODUCER_NAME_INDEX,
		PRODUCER_ATTR_TOPIC, PRODUCER_ATTR_NAME
	},
	[PRODUCERS_DUE] = {
		REGISTRY_PRODUCER_DUE, REGISTRY_PRODUCER_DUE_INDEX,
		DUE_ATTR_TOPIC, DUE_ATTR_NAME
	},
};

static char *
id_of(const IdTable *table, HeapTuple tuple, TupleDesc desc)
{
	bool		isnull;

	return TextDatumGetCString(heap_getattr(tuple, table->name, desc, &isnull));
}

/*
 * Return ids of a topic's producers in ascending order, as C strings: the first
 * of those after an id (NULL: of all), at most so many (0: all).
 */
List *
pgqueue_producer_ids(const Topic *topic, ProducerSet set, const char *after,
					 int limit)
{
	const IdTable *table = &id_tables[set];
	Relation	rel = pgqueue_registry_open(table->table);
	Relation	index = index_open(pgqueue_registry(table->index),
								   AccessShareLock);
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;
	List	   *ids = NIL;

	ScanKeyInit(&keys[0], table->topic, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum(topic->id));
	if (after != NULL)
	{
		ScanKeyInit(&keys[1], table->name, BTGreaterStrategyNumber, F_TEXT_GT,
					CStringGetTextDatum(after));
		keys[1].sk_collation = C_COLLATION_OID;
	}
	scan = systable_beginscan_ordered(rel, index, SnapshotSelf,
									  after == NULL ? 1 : 2, keys);
	while ((limit == 0 || list_length(ids) < limit) &&
		   HeapTupleIsValid(tuple =
							systable_getnext_ordered(scan,
													 ForwardScanDirection)))
	{
		char	   *id = id_of(table, tuple, RelationGetDescr(rel));

		CHECK_FOR_INTERRUPTS();
		/* a producer may be due several times */
		if (ids == NIL || strcmp(llast(ids), id) != 0)
			ids = lappend(ids, id);
		else
			pfree(id);
	}
	systable_endscan_ordered(scan);
	index_close(index, AccessShareLock);
	table_close(rel, AccessShareLock);
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
	Relation	rel;
	Datum		values[DUE_NATTS];
	bool		nulls[DUE_NATTS] = {false};

	if (likely(before / DUE_ROWS == after / DUE_ROWS))
		return;
	rel = pgqueue_open_for_writing(REGISTRY_PRODUCER_DUE);
	values[DUE_ATTR_TOPIC - 1] = Int32GetDatum(topic_id);
	values[DUE_ATTR_NAME - 1] = CStringGetTextDatum(name);
	pgqueue_registry_insert(rel, DUE_NATTS, values, nulls);
	table_close(rel, NoLock);
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
	Relation	rel = pgqueue_open_for_writing(REGISTRY_PRODUCER_DUE);
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		found = false;

	ScanKeyInit(&keys[0], DUE_ATTR_TOPIC, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum(topic_id));
	if (name != NULL)
	{
		ScanKeyInit(&keys[1], DUE_ATTR_NAME, BTEqualStrategyNumber, F_TEXTEQ,
					CStringGetTextDatum(name));
		keys[1].sk_collation = C_COLLATION_OID;
	}
	scan = systable_beginscan(rel, pgqueue_registry(REGISTRY_PRODUCER_DUE_INDEX),
							  true, SnapshotSelf, name == NULL ? 1 : 2, keys);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		CHECK_FOR_INTERRUPTS();
		CatalogTupleDelete(rel, &tuple->t_self);
		found = true;
	}
	systable_endscan(scan);
	table_close(rel, NoLock);
	return found;
}
