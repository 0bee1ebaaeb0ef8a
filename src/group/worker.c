/*-------------------------------------------------------------------------
 *
 * worker.c
 *	  Rows of queue.worker: the background workers that subscriptions have in this
 *	  database, and their failures.
 *
 * queue.subscribe() makes a row for each worker that it asks for.  The rows are
 * not dumped, and name the database, so a database that was restored or copied has
 * none: handlers may act on the world outside, and such a database may be incomplete,
 * or a copy for tests.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

#include "base/base.h"
#include "group/subscription.h"

/* Columns of queue.worker. */
#define WORKER_ATTR_GROUP		1
#define WORKER_ATTR_TOPIC		2
#define WORKER_ATTR_NUMBER		3
#define WORKER_ATTR_DATABASE	4
#define WORKER_ATTR_BEGINS		5
#define WORKER_ATTR_FAILURES	6
#define WORKER_ATTR_FAILED		7
#define WORKER_ATTR_SQLSTATE	8
#define WORKER_ATTR_ERROR		9
#define WORKER_NATTS			9

static TimestampTz
time_of(const Datum *values, const bool *nulls, AttrNumber attr)
{
	return nulls[attr - 1] ? 0 : DatumGetTimestampTz(values[attr - 1]);
}

static char *
text_of(const Datum *values, const bool *nulls, AttrNumber attr)
{
	return nulls[attr - 1] ? NULL : TextDatumGetCString(values[attr - 1]);
}

/* Read a row; strings are copied.  Return false if it is of another database. */
static bool
read_row(Relation rel, HeapTuple tuple, WorkerRow *row)
{
	Datum		values[WORKER_NATTS];
	bool		nulls[WORKER_NATTS];

	pgqueue_registry_read(rel, tuple, WORKER_NATTS, values, nulls);
	*row = (WorkerRow) {
		.tid = tuple->t_self,
		.id = {
			DatumGetInt32(values[WORKER_ATTR_GROUP - 1]),
			DatumGetInt32(values[WORKER_ATTR_TOPIC - 1]),
			DatumGetInt32(values[WORKER_ATTR_NUMBER - 1])
		},
		.begins_at = time_of(values, nulls, WORKER_ATTR_BEGINS),
		.failures = DatumGetInt32(values[WORKER_ATTR_FAILURES - 1]),
		.failed_at = time_of(values, nulls, WORKER_ATTR_FAILED),
		.sqlstate = text_of(values, nulls, WORKER_ATTR_SQLSTATE),
		.error = text_of(values, nulls, WORKER_ATTR_ERROR)
	};
	return DatumGetObjectId(values[WORKER_ATTR_DATABASE - 1]) == MyDatabaseId;
}

/* Read a worker's row, as of now.  Return false if there is none. */
bool
pgqueue_worker_read(const WorkerId *id, WorkerRow *row)
{
	RegistryScan scan = {0};
	HeapTuple	tuple;
	bool		found;

	pgqueue_registry_key_int4(&scan, WORKER_ATTR_GROUP, id->group_id);
	pgqueue_registry_key_int4(&scan, WORKER_ATTR_TOPIC, id->topic_id);
	pgqueue_registry_key_int4(&scan, WORKER_ATTR_NUMBER, id->number);
	pgqueue_registry_scan(&scan, REGISTRY_WORKER, AccessShareLock,
						  SnapshotSelf);
	tuple = pgqueue_registry_next(&scan);
	found = HeapTupleIsValid(tuple) && read_row(scan.rel, tuple, row);
	pgqueue_registry_end(&scan);
	return found;
}

/* Return the rows of this database. */
List *
pgqueue_worker_rows(void)
{
	RegistryScan scan = {0};
	List	   *rows = NIL;
	HeapTuple	tuple;

	pgqueue_registry_scan(&scan, REGISTRY_WORKER, AccessShareLock, NULL);
	while (HeapTupleIsValid(tuple = pgqueue_registry_next(&scan)))
	{
		WorkerRow  *row = palloc(sizeof(WorkerRow));

		if (read_row(scan.rel, tuple, row))
			rows = lappend(rows, row);
	}
	pgqueue_registry_end(&scan);
	return rows;
}

static void
set_time(TimestampTz time, AttrNumber attr, Datum *values, bool *nulls)
{
	values[attr - 1] = TimestampTzGetDatum(time);
	nulls[attr - 1] = time == 0;
}

static void
set_text(const char *text, AttrNumber attr, Datum *values, bool *nulls)
{
	nulls[attr - 1] = text == NULL;
	values[attr - 1] = text == NULL ? (Datum) 0 : CStringGetTextDatum(text);
}

/*
 * Write a worker's row: a new one, or in place of the one that was read.
 *
 * Locks: the subscription's, of which only the worker itself needs share mode, and
 * those that keep the group and the topic from being dropped.
 */
void
pgqueue_worker_write(WorkerRow *row)
{
	Datum		values[WORKER_NATTS];
	bool		nulls[WORKER_NATTS] = {false};

	values[WORKER_ATTR_GROUP - 1] = Int32GetDatum(row->id.group_id);
	values[WORKER_ATTR_TOPIC - 1] = Int32GetDatum(row->id.topic_id);
	values[WORKER_ATTR_NUMBER - 1] = Int32GetDatum(row->id.number);
	values[WORKER_ATTR_DATABASE - 1] = ObjectIdGetDatum(MyDatabaseId);
	set_time(row->begins_at, WORKER_ATTR_BEGINS, values, nulls);
	values[WORKER_ATTR_FAILURES - 1] = Int32GetDatum(row->failures);
	set_time(row->failed_at, WORKER_ATTR_FAILED, values, nulls);
	set_text(row->sqlstate, WORKER_ATTR_SQLSTATE, values, nulls);
	set_text(row->error, WORKER_ATTR_ERROR, values, nulls);
	pgqueue_registry_write(REGISTRY_WORKER, &row->tid, WORKER_NATTS, values,
						   nulls);
}

/*
 * Give a subscription so many workers, which have not failed, in place of those that
 * it had.  Locks: the subscription's, exclusive, and those that keep the group and
 * the topic from being dropped.
 */
void
pgqueue_workers_set(int32 group, int32 topic_id, int n)
{
	RegistryScan scan = {0};

	pgqueue_registry_key_int4(&scan, WORKER_ATTR_GROUP, group);
	pgqueue_registry_key_int4(&scan, WORKER_ATTR_TOPIC, topic_id);
	pgqueue_registry_scan(&scan, REGISTRY_WORKER, RowExclusiveLock,
						  SnapshotSelf);
	(void) pgqueue_registry_delete(&scan);
	for (int i = 1; i <= n; i++)
	{
		WorkerRow	row = {.id = {group, topic_id, i}};

		ItemPointerSetInvalid(&row.tid);
		pgqueue_worker_write(&row);
	}
}
