/*-------------------------------------------------------------------------
 *
 * maintain_failure.c
 *	  Why passes of maintenance failed: rows of queue.maintenance_error, a row for
 *	  each topic and part of a pass that failed when it was last done.
 *
 * A row is written when the error is another one than before, and deleted when
 * the part succeeds, so a pass without news writes nothing.  Rows of topics that
 * were dropped are deleted by the next pass, since drop_topic cannot know of a
 * pass that is about to write one.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/timestamp.h"

#include "base/base.h"
#include "base/lock.h"
#include "topic/topic.h"
#include "api/maintain.h"

/* Columns of queue.maintenance_error. */
#define ERROR_ATTR_TOPIC	1
#define ERROR_ATTR_PART		2
#define ERROR_ATTR_SINCE	3
#define ERROR_ATTR_SQLSTATE 4
#define ERROR_ATTR_MESSAGE	5
#define ERROR_NATTS			5

static const char *const part_names[] = {
	[MAINTAIN_REMOVE] = "space",
	[MAINTAIN_AHEAD] = "segments",
	[MAINTAIN_REST] = "rest"
};

/* Topics with a row, as of the beginning of the pass. */
static List *known = NIL;

/* Of the current topic and part. */
static int32 topic_id;			/* 0: its failure is not stored */
static Failure failure;

/* Begin to scan the row of the current topic and a part. */
static void
scan_part(RegistryScan *scan, MaintainPart part)
{
	*scan = (RegistryScan) {0};
	pgqueue_registry_key_int4(scan, ERROR_ATTR_TOPIC, topic_id);
	pgqueue_registry_key_text(scan, ERROR_ATTR_PART, part_names[part]);
	pgqueue_registry_scan(scan, REGISTRY_MAINTENANCE_ERROR, RowExclusiveLock,
						  SnapshotSelf);
}

/*
 * Lock the table: two passes must not write the same row.  Return false if
 * another pass is writing.
 */
static bool
lock_table(void)
{
	return pgqueue_try_lock_relation(pgqueue_registry(REGISTRY_MAINTENANCE_ERROR),
									 ShareUpdateExclusiveLock);
}

/* Delete the rows of topics that do not exist any more. */
static void
delete_orphans(const List *ids)
{
	RegistryScan scan = {0};
	HeapTuple	tuple;

	if (!lock_table())
		return;
	pgqueue_registry_scan_table(&scan, REGISTRY_MAINTENANCE_ERROR,
								RowExclusiveLock, SnapshotSelf);
	while (HeapTupleIsValid(tuple = pgqueue_registry_next(&scan)))
	{
		int32		id = DatumGetInt32(pgqueue_registry_column(&scan, tuple,
															   ERROR_ATTR_TOPIC));

		if (!list_member_int(ids, id))
			pgqueue_registry_delete_row(REGISTRY_MAINTENANCE_ERROR,
										&tuple->t_self);
	}
	pgqueue_registry_end(&scan);
}

/*
 * Begin a pass: read which topics have rows.  Call it in a step; what it
 * allocates must last for the pass.
 */
void
pgqueue_failures_begin(void)
{
	RegistryScan scan = {0};
	HeapTuple	tuple;
	List	   *ids = NIL;
	ListCell   *lc;

	known = NIL;
	topic_id = 0;
	pgqueue_registry_scan_table(&scan, REGISTRY_MAINTENANCE_ERROR,
								AccessShareLock, SnapshotSelf);
	while (HeapTupleIsValid(tuple = pgqueue_registry_next(&scan)))
		known = list_append_unique_int(known,
									   DatumGetInt32(pgqueue_registry_column(&scan, tuple,
																			 ERROR_ATTR_TOPIC)));
	pgqueue_registry_end(&scan);
	if (known == NIL)
		return;
	foreach(lc, pgqueue_topic_names())
		ids = lappend_int(ids, pgqueue_topic_id(lfirst(lc)));
	if (list_difference_int(known, ids) != NIL)
		delete_orphans(ids);
}

/* Begin a part of a pass over a topic; 0: one that is not maintained. */
void
pgqueue_failure_begin(int32 id)
{
	topic_id = id;
	failure.failed = false;
}

/* Note an error of the current topic and part; the first one counts. */
void
pgqueue_failure_note(int sqlstate, const char *message)
{
	int			len = strlen(message);

	if (failure.failed)
		return;
	len = pg_mbcliplen(message, len, PGQUEUE_FAILURE_LENGTH - 1);
	failure.failed = true;
	failure.sqlstate = sqlstate;
	memcpy(failure.message, message, len);
	failure.message[len] = '\0';
}

/* Return what was noted, for another process. */
const Failure *
pgqueue_failure(void)
{
	return &failure;
}

/* Return true if the row tells the error that was noted. */
static bool
is_same(const RegistryScan *scan, HeapTuple tuple)
{
	return strcmp(TextDatumGetCString(pgqueue_registry_column(scan, tuple,
															  ERROR_ATTR_SQLSTATE)),
				  unpack_sql_state(failure.sqlstate)) == 0 &&
		strcmp(TextDatumGetCString(pgqueue_registry_column(scan, tuple,
														   ERROR_ATTR_MESSAGE)),
			   failure.message) == 0;
}

/* Write or delete the row of the current topic and a part, if that is news. */
static void
store(void *arg)
{
	MaintainPart part = *(MaintainPart *) arg;
	RegistryScan scan;
	HeapTuple	tuple;
	ItemPointerData tid;
	Datum		values[ERROR_NATTS] = {
		Int32GetDatum(topic_id),
		CStringGetTextDatum(part_names[part]),
		TimestampTzGetDatum(GetCurrentTimestamp()),
		CStringGetTextDatum(unpack_sql_state(failure.sqlstate)),
		CStringGetTextDatum(failure.message)
	};
	bool		nulls[ERROR_NATTS] = {false};
	bool		same;

	if (!lock_table())
		return;
	ItemPointerSetInvalid(&tid);
	scan_part(&scan, part);
	tuple = pgqueue_registry_next(&scan);
	if (HeapTupleIsValid(tuple))
		tid = tuple->t_self;
	same = failure.failed && HeapTupleIsValid(tuple) && is_same(&scan, tuple);
	pgqueue_registry_end(&scan);
	if (failure.failed && !same)
		pgqueue_registry_write(REGISTRY_MAINTENANCE_ERROR, &tid, ERROR_NATTS,
							   values, nulls);
	else if (!failure.failed && ItemPointerIsValid(&tid))
		pgqueue_registry_delete_row(REGISTRY_MAINTENANCE_ERROR, &tid);
}

/*
 * End a part of a pass over a topic: store whether it failed.  Call it outside of
 * steps.
 */
void
pgqueue_failure_store(MaintainPart part)
{
	if (topic_id == 0 ||
		(!failure.failed && !list_member_int(known, topic_id)))
		return;
	pgqueue_step_begin();
	pgqueue_write_if_room(store, &part);
	pgqueue_step_end();
}
