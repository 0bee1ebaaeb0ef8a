/*-------------------------------------------------------------------------
 *
 * producer.c
 *	  Producers: ids, epochs and sequences that the application chooses.
 *
 * A producer is a row of queue.producer, made when its id is first used; it
 * belongs to that role.  Its rows in queue.producer_batch (state.c)
 * say what it has stored.  A call that produces with sequences
 *
 *	 1. claims it (pgqueue_claim): locks the producer to the end of the
 *		transaction, and learns which of the call's messages are stored already;
 *	 2. appends the others;
 *	 3. says so (pgqueue_claim_complete).
 *
 * The lock is taken by id before the producer is looked up, so that it covers
 * making and forgetting the producer, too.  Proofs: src/README, section 10.
 *
 * A producer is due when it has so many rows in queue.producer_batch that
 * maintenance should merge them.  Each DUE_ROWS-th row that it writes comes
 * with a row of queue.producer_due, in the same transaction:
 *
 *	 topic_id | name |  the index
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"

#include "base/base.h"
#include "base/lock.h"
#include "topic/topic.h"
#include "producer/producer.h"

/* Columns of queue.producer. */
#define PRODUCER_ATTR_ID			1
#define PRODUCER_ATTR_TOPIC			2
#define PRODUCER_ATTR_NAME			3
#define PRODUCER_ATTR_OWNER			4
#define PRODUCER_ATTR_STRICT		5
#define PRODUCER_ATTR_CREATED		6
#define PRODUCER_NATTS				6

/* Columns of queue.producer_due. */
#define DUE_ATTR_TOPIC	1
#define DUE_ATTR_NAME	2
#define DUE_NATTS		2

/* Rows that a producer writes until it is due again. */
#define DUE_ROWS 16

/*
 * Return the lock tag of a producer, by which view queue.blockers finds its id:
 * two ids of one hash of 64 bits do not occur, and cannot be made.
 */
LOCKTAG
pgqueue_producer_tag(const Topic *topic, const char *name)
{
	return pgqueue_tag_by_hash(PGQUEUE_LOCK_PRODUCER, topic->id, name);
}

/*
 * Lock a producer to the end of the transaction, and its topic against being
 * dropped: rows of the producer would be left over.  Return false if another
 * transaction has the producer and wait is false.
 *
 * Errors: 42704, 55006 if the topic was dropped meanwhile.
 */
bool
pgqueue_producer_lock(Topic *topic, const char *name, bool wait)
{
	if (!pgqueue_lock(pgqueue_producer_tag(topic, name), ExclusiveLock, wait))
		return false;
	pgqueue_lock_relation(topic->log, AccessShareLock);
	(void) pgqueue_topic_refresh(topic);
	return true;
}

/* Release one pgqueue_producer_lock(), if nothing was written under it. */
void
pgqueue_producer_unlock(const Topic *topic, const char *name)
{
	pgqueue_unlock(pgqueue_producer_tag(topic, name), ExclusiveLock);
}

static void
begin_scan(RegistryScan *scan, int32 topic_id, const char *name,
		   LOCKMODE lockmode, Snapshot snapshot)
{
	pgqueue_registry_key_int4(scan, PRODUCER_ATTR_TOPIC, topic_id);
	pgqueue_registry_key_text(scan, PRODUCER_ATTR_NAME, name);
	pgqueue_registry_scan(scan, REGISTRY_PRODUCER, lockmode, snapshot);
}

/* Look a producer up.  Locks: the producer's for SnapshotSelf. */
bool
pgqueue_producer_find(int32 topic_id, const char *name, Snapshot snapshot,
					  Producer *producer)
{
	RegistryScan scan = {0};
	HeapTuple	tuple;
	Datum		values[PRODUCER_NATTS];
	bool		nulls[PRODUCER_NATTS];

	begin_scan(&scan, topic_id, name, AccessShareLock, snapshot);
	tuple = pgqueue_registry_next(&scan);
	if (HeapTupleIsValid(tuple))
	{
		TransactionId xmin = HeapTupleHeaderGetXmin(tuple->t_data);

		pgqueue_registry_read(scan.rel, tuple, PRODUCER_NATTS, values, nulls);
		producer->id = DatumGetInt32(values[PRODUCER_ATTR_ID - 1]);
		producer->strict = DatumGetBool(values[PRODUCER_ATTR_STRICT - 1]);
		producer->committed = !TransactionIdIsCurrentTransactionId(xmin);
		producer->created_at =
			DatumGetTimestampTz(values[PRODUCER_ATTR_CREATED - 1]);
		pgqueue_role_read(values[PRODUCER_ATTR_OWNER - 1], &producer->owner);
	}
	pgqueue_registry_end(&scan);
	return HeapTupleIsValid(tuple);
}

/*
 * Look up the producer of a call that produces.  The session keeps the row of
 * the last one, once it is committed, while no producer has gone
 * (pgqueue_registry_changes); proof in src/README, section 10.
 *
 * Locks: the producer's, and what comes with it.
 */
bool
pgqueue_find_last_used(Topic *topic, const char *name, Producer *producer)
{
	uint64		changes = pgqueue_registry_changes[REGISTRY_PRODUCER];

	if (topic->producer_changes == changes &&
		strcmp(topic->producer_name, name) == 0)
	{
		*producer = topic->producer;
		return true;
	}
	if (!pgqueue_producer_find(topic->id, name, SnapshotSelf, producer))
		return false;
	if (producer->committed)
	{
		strlcpy(topic->producer_name, name, sizeof(topic->producer_name));
		topic->producer_changes = changes;
		topic->producer = *producer;
	}
	return true;
}

/* Make a producer that does not exist.  Locks: the producer's. */
void
pgqueue_producer_make(const Topic *topic, const char *name, bool strict,
					  Producer *producer)
{
	Datum		values[PRODUCER_NATTS];
	bool		nulls[PRODUCER_NATTS] = {false};

	memset(producer, 0, sizeof(Producer));
	producer->id = pgqueue_registry_new_id("producer_producer_id_seq");
	producer->strict = strict;
	producer->created_at = GetCurrentTransactionStartTimestamp();
	producer->owner.oid = GetUserId();

	values[PRODUCER_ATTR_ID - 1] = Int32GetDatum(producer->id);
	values[PRODUCER_ATTR_TOPIC - 1] = Int32GetDatum(topic->id);
	values[PRODUCER_ATTR_NAME - 1] = CStringGetTextDatum(name);
	values[PRODUCER_ATTR_OWNER - 1] = pgqueue_role_datum(GetUserId());
	values[PRODUCER_ATTR_STRICT - 1] = BoolGetDatum(strict);
	values[PRODUCER_ATTR_CREATED - 1] =
		TimestampTzGetDatum(producer->created_at);
	pgqueue_registry_insert(REGISTRY_PRODUCER, PRODUCER_NATTS, values, nulls);
}

/*
 * Return ids of a topic's producers, or of those that are due, in ascending
 * order, as C strings: the first of those after an id (NULL: of all), at most
 * so many (0: all).  The caller locks each producer and looks it up again.
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
 * Delete the rows by which a producer (NULL: all of the topic) is due.  Return
 * true if there was one.  Locks: the producer's, or the strongest of the
 * topic's table.
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

/*
 * Delete a producer, and all that is known of its messages.  Locks: the
 * producer's, or the strongest of the topic's table.
 */
void
pgqueue_producer_forget(const Topic *topic, const char *name, int32 id)
{
	RegistryScan scan = {0};

	begin_scan(&scan, topic->id, name, RowExclusiveLock, SnapshotSelf);
	(void) pgqueue_registry_delete(&scan);
	pgqueue_producer_rows_delete(id);
	(void) pgqueue_producer_due_delete(topic->id, name);
	pgqueue_registry_invalidate(REGISTRY_PRODUCER);
}

/* Give a producer to another role.  Locks: the producer's. */
void
pgqueue_producer_give(const Topic *topic, const char *name, Oid owner)
{
	RegistryScan scan = {0};
	HeapTuple	tuple;

	/* this very command may have made it */
	CommandCounterIncrement();
	begin_scan(&scan, topic->id, name, RowExclusiveLock, SnapshotSelf);
	tuple = pgqueue_registry_next(&scan);
	if (HeapTupleIsValid(tuple))
	{
		Datum		values[PRODUCER_NATTS];
		bool		nulls[PRODUCER_NATTS];
		ItemPointerData tid = tuple->t_self;

		pgqueue_registry_read(scan.rel, tuple, PRODUCER_NATTS, values, nulls);
		values[PRODUCER_ATTR_OWNER - 1] = pgqueue_role_datum(owner);
		pgqueue_registry_write(REGISTRY_PRODUCER, &tid, PRODUCER_NATTS, values,
							   nulls);
	}
	pgqueue_registry_end(&scan);
	pgqueue_registry_invalidate(REGISTRY_PRODUCER);
}
