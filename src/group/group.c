/*-------------------------------------------------------------------------
 *
 * group.c
 *	  Consumer groups: rows of queue.consumer_group, settings and owners.
 *
 * A group belongs to the role that first used it (base/role.c), or to which
 * queue.alter_group() gave it; other roles need membership in that role.
 *
 * Only queue.alter_group() and queue.create_group() update a row, one at a time
 * (they lock the group's name).  A scan with SnapshotSelf may meet neither
 * version of such a row if the update commits during the scan.  So a look-up
 * that finds no row repeats the scan with an MVCC snapshot, and a scan over all
 * groups uses one from the start.
 *
 * Dropping a group against using it: a transaction that uses a group looks its
 * id up first and locks a partition afterwards.  drop_group takes all those
 * locks, deletes, and sends all sessions an invalidation at commit, before its
 * locks are released (pgqueue_registry_invalidate).  A transaction that gets a
 * lock later finds the change counter raised and looks the group up again
 * (pgqueue_group_check_same).  For a partition in which the group has no row
 * yet, a lock of the whole group keeps the first row away
 * (pgqueue_group_lock_shared).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/snapmgr.h"

#include "base/compat.h"
#include "base/base.h"
#include "base/lock.h"
#include "topic/topic.h"
#include "group/group.h"
#include "group/progress.h"

/* Columns of queue.consumer_group. */
#define GROUP_ATTR_ID		1
#define GROUP_ATTR_NAME		2
#define GROUP_ATTR_OWNER	3
#define GROUP_ATTR_CREATED	4
#define GROUP_ATTR_RESET	5
#define GROUP_ATTR_EXPIRY	6
#define GROUP_ATTR_IMPLICIT 7
#define GROUP_NATTS			7

/* Words of auto_offset_reset. */
#define RESET_NONE			"none"
#define RESET_EARLIEST		"earliest"

/* ---------------- rows ---------------- */

/* A copy of a group's row; the values point into the tuple. */
typedef struct GroupRow
{
	HeapTuple	tuple;
	Datum		values[GROUP_NATTS];
	bool		nulls[GROUP_NATTS];
} GroupRow;

/*
 * Register an MVCC snapshot of now that also shows what the current command has
 * written.  (CommandCounterIncrement() would not do: a position that a later
 * call of the statement stores must not pass a message of this call.)
 */
static Snapshot
register_now(void)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());

	snapshot->curcid++;
	return snapshot;
}

static bool
look_for(const char *name, Snapshot snapshot, GroupRow *row)
{
	RegistryScan scan = {0};
	HeapTuple	tuple;

	pgqueue_registry_key_text(&scan, GROUP_ATTR_NAME, name);
	pgqueue_registry_scan(&scan, REGISTRY_GROUP, AccessShareLock, snapshot);
	tuple = pgqueue_registry_next(&scan);
	if (HeapTupleIsValid(tuple))
	{
		row->tuple = heap_copytuple(tuple);
		pgqueue_registry_read(scan.rel, row->tuple, GROUP_NATTS, row->values,
							  row->nulls);
	}
	pgqueue_registry_end(&scan);
	return HeapTupleIsValid(tuple);
}

/* Read a group's row in its latest state.  Return false if there is none. */
static bool
find_row(const char *name, GroupRow *row)
{
	Snapshot	snapshot;
	bool		found;

	if (likely(look_for(name, SnapshotSelf, row)))
		return true;
	/* the scan may have met neither version of a row that is being updated */
	snapshot = register_now();
	found = look_for(name, snapshot, row);
	UnregisterSnapshot(snapshot);
	return found;
}

static int32
insert_group(const char *name, const GroupSettings *settings)
{
	Datum		values[GROUP_NATTS];
	bool		nulls[GROUP_NATTS] = {false};
	int32		id = pgqueue_registry_new_id("consumer_group_group_id_seq");

	values[GROUP_ATTR_ID - 1] = Int32GetDatum(id);
	values[GROUP_ATTR_NAME - 1] = CStringGetTextDatum(name);
	values[GROUP_ATTR_OWNER - 1] = pgqueue_role_datum(GetUserId());
	values[GROUP_ATTR_CREATED - 1] =
		TimestampTzGetDatum(GetCurrentTransactionStartTimestamp());
	values[GROUP_ATTR_RESET - 1] =
		CStringGetTextDatum(settings->reset ? settings->reset : RESET_NONE);
	nulls[GROUP_ATTR_EXPIRY - 1] = settings->expiry == NULL;
	values[GROUP_ATTR_EXPIRY - 1] = IntervalPGetDatum(settings->expiry);
	values[GROUP_ATTR_IMPLICIT - 1] = BoolGetDatum(settings->implicit);
	pgqueue_registry_insert(REGISTRY_GROUP, GROUP_NATTS, values, nulls);
	return id;
}

/* ---------------- one group ---------------- */

/*
 * Look up the group that argument 0 names; its id is 0 if it does not exist.
 *
 * Errors: 22004, 42602; 42501 unless any_role.
 */
void
pgqueue_group_arg(FunctionCallInfo fcinfo, bool any_role, ConsumerGroup *group)
{
	pgqueue_check_not_null(fcinfo, 0, "consumer_group");
	group->name = pgqueue_name_arg(PG_GETARG_TEXT_PP(0), "consumer group name");
	group->any_role = any_role;
	pgqueue_group_refresh(group);
}

/*
 * Look up the group that argument 0 names, which must exist.  The owner of a
 * topic may reset, expire and drop what any group has in it; topic is NULL for
 * functions that do other things.
 *
 * Errors: 22004, 42602, 42501, 42704.
 */
void
pgqueue_known_group_arg(FunctionCallInfo fcinfo, const Topic *topic,
						ConsumerGroup *group)
{
	pgqueue_group_arg(fcinfo,
					  topic != NULL &&
					  pgqueue_owns_relation(topic->log, GetUserId()), group);
	if (group->id == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("consumer group \"%s\" does not exist", group->name),
				 errhint("A group begins with queue.create_group(), or with its first queue.consume() or queue.poll().")));
}

/*
 * Look the group up again: it may have been made or dropped since.
 *
 * Errors: 42501 if the user may not use it.
 */
void
pgqueue_group_refresh(ConsumerGroup *group)
{
	GroupRow	row;
	RoleRef		owner;

	group->changes = pgqueue_registry_changes[REGISTRY_GROUP];
	group->id = 0;
	if (!find_row(group->name, &row))
		return;
	if (!group->any_role)
	{
		pgqueue_role_read(row.values[GROUP_ATTR_OWNER - 1], &owner);
		pgqueue_check_belongs("consumer group", group->name, &owner);
	}
	group->id = DatumGetInt32(row.values[GROUP_ATTR_ID - 1]);
	heap_freetuple(row.tuple);
}

static LOCKTAG
name_tag(const ConsumerGroup *group)
{
	return pgqueue_tag_by_name(PGQUEUE_LOCK_GROUP_NAME, group->name);
}

/*
 * Keep other transactions from making the group or changing its settings.  Must
 * be taken before any other lock of the group.
 */
void
pgqueue_group_lock_settings(const ConsumerGroup *group)
{
	(void) pgqueue_lock(name_tag(group), ExclusiveLock, true);
}

/*
 * Make the group in this transaction if it does not exist, with these settings
 * (NULL: the defaults).  Return false if another transaction made it while
 * this one waited for the lock.
 *
 * Locks: the group's name to the end of the transaction, if the group is made.
 */
bool
pgqueue_group_ensure(ConsumerGroup *group, const GroupSettings *settings)
{
	static const GroupSettings usual = {.implicit = true};

	if (group->id != 0)
		return true;
	pgqueue_group_lock_settings(group);
	pgqueue_group_refresh(group);
	if (group->id != 0)
	{
		pgqueue_unlock(name_tag(group), ExclusiveLock);
		return false;
	}
	group->id = insert_group(group->name, settings == NULL ? &usual : settings);
	return true;
}

/*
 * Delete a group's row.  Locks: pgqueue_group_lock_rows(), and the group's
 * progress everywhere.
 */
void
pgqueue_group_delete(const char *name)
{
	RegistryScan scan = {0};

	pgqueue_registry_key_text(&scan, GROUP_ATTR_NAME, name);
	pgqueue_registry_scan(&scan, REGISTRY_GROUP, RowExclusiveLock,
						  SnapshotSelf);
	(void) pgqueue_registry_delete(&scan);
	pgqueue_registry_invalidate(REGISTRY_GROUP);
}

/* ---------------- all groups ---------------- */

/* Read a row into *group; strings are copied. */
void
pgqueue_group_read(Relation rel, HeapTuple tuple, ConsumerGroup *group)
{
	Datum		values[GROUP_NATTS];
	bool		nulls[GROUP_NATTS];

	pgqueue_registry_read(rel, tuple, GROUP_NATTS, values, nulls);
	group->id = DatumGetInt32(values[GROUP_ATTR_ID - 1]);
	group->name = TextDatumGetCString(values[GROUP_ATTR_NAME - 1]);
	pgqueue_role_read(values[GROUP_ATTR_OWNER - 1], &group->owner);
	group->created_at = DatumGetTimestampTz(values[GROUP_ATTR_CREATED - 1]);
	group->expiry = nulls[GROUP_ATTR_EXPIRY - 1] ? 0 :
		pgqueue_duration("expiry",
						 DatumGetIntervalP(values[GROUP_ATTR_EXPIRY - 1]));
	group->implicit = DatumGetBool(values[GROUP_ATTR_IMPLICIT - 1]);
}

/* Return all groups, as of now. */
static List *
all_groups(void)
{
	RegistryScan scan = {0};
	Snapshot	snapshot = register_now();
	List	   *groups = NIL;
	HeapTuple	tuple;

	pgqueue_registry_scan_table(&scan, REGISTRY_GROUP, AccessShareLock,
								snapshot);
	while (HeapTupleIsValid(tuple = pgqueue_registry_next(&scan)))
	{
		ConsumerGroup *group = palloc0(sizeof(ConsumerGroup));

		pgqueue_group_read(scan.rel, tuple, group);
		groups = lappend(groups, group);
	}
	pgqueue_registry_end(&scan);
	UnregisterSnapshot(snapshot);
	return groups;
}

/* Return the groups that have an offset in a topic, as of now. */
List *
pgqueue_groups_of(int32 topic_id)
{
	List	   *groups = all_groups();
	ListCell   *lc;

	foreach(lc, groups)
		if (!pgqueue_progress_any(((ConsumerGroup *) lfirst(lc))->id, topic_id))
			groups = foreach_delete_current(groups, lc);
	return groups;
}

/* Return the numbers of all groups after one, ascending, as of now. */
List *
pgqueue_group_ids(int32 after)
{
	List	   *ids = NIL;
	ListCell   *lc;

	foreach(lc, all_groups())
	{
		ConsumerGroup *group = lfirst(lc);

		if (group->id > after)
			ids = lappend_int(ids, group->id);
	}
	list_sort(ids, list_int_cmp);
	return ids;
}

/* Return the name of a group, as of now, or NULL if it was dropped. */
char *
pgqueue_group_name(int32 id)
{
	ListCell   *lc;

	foreach(lc, all_groups())
	{
		ConsumerGroup *group = lfirst(lc);

		if (group->id == id)
			return group->name;
	}
	return NULL;
}

/* ---------------- dropping against using ---------------- */

/*
 * Check that the group was not dropped between its look-up and the lock of one
 * of its partitions, which the caller holds.
 *
 * Errors: 55006.
 */
void
pgqueue_group_check_same(ConsumerGroup *group)
{
	int32		id = group->id;

	AcceptInvalidationMessages();
	if (likely(group->changes == pgqueue_registry_changes[REGISTRY_GROUP]))
		return;
	pgqueue_group_refresh(group);
	if (group->id != id)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("consumer group \"%s\" was dropped meanwhile",
						group->name)));
}

static LOCKTAG
rows_tag(int32 id)
{
	return pgqueue_tag(PGQUEUE_LOCK_GROUP_ROWS, id, 0);
}

/*
 * Keep a group from being dropped; needed before its first row in a partition
 * is written.  Return false if another transaction drops it and wait is false.
 */
bool
pgqueue_group_lock_shared(int32 id, bool wait)
{
	return pgqueue_lock(rows_tag(id), ShareLock, wait);
}

/* Release one pgqueue_group_lock_shared(), if no row was written under it. */
void
pgqueue_group_unlock_shared(int32 id)
{
	pgqueue_unlock(rows_tag(id), ShareLock);
}

/* Exclude pgqueue_group_lock_shared(), to the end of the transaction. */
void
pgqueue_group_lock_rows(int32 id)
{
	(void) pgqueue_lock(rows_tag(id), ExclusiveLock, true);
}

/* ---------------- settings ---------------- */

/* Return true if the group's auto_offset_reset is earliest, as of now. */
bool
pgqueue_group_jumps(const ConsumerGroup *group)
{
	GroupRow	row;

	return find_row(group->name, &row) &&
		strcmp(TextDatumGetCString(row.values[GROUP_ATTR_RESET - 1]),
			   RESET_EARLIEST) == 0;
}

/*
 * Read the arguments auto_offset_reset and expiry; NULL leaves a setting as it
 * is, an expiry of 0 means none.  Return false if both are NULL.
 *
 * Errors: 22023.
 */
bool
pgqueue_group_settings_arg(FunctionCallInfo fcinfo, int arg,
						   GroupSettings *settings)
{
	memset(settings, 0, sizeof(GroupSettings));
	settings->set_expiry = !PG_ARGISNULL(arg + 1);
	if (!PG_ARGISNULL(arg))
	{
		char	   *word = text_to_cstring(PG_GETARG_TEXT_PP(arg));

		if (strcmp(word, RESET_NONE) != 0 && strcmp(word, RESET_EARLIEST) != 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("auto_offset_reset must be \"" RESET_NONE "\" or \""
							RESET_EARLIEST "\", not \"%s\"", word)));
		settings->reset = word;
	}
	if (settings->set_expiry &&
		pgqueue_duration_arg(fcinfo, arg + 1, "expiry", 0) > 0)
		settings->expiry = PG_GETARG_INTERVAL_P(arg + 1);
	return settings->reset != NULL || settings->set_expiry;
}

/*
 * Change the group's settings.  Locks: pgqueue_group_lock_settings(),
 * pgqueue_group_lock_shared().
 */
void
pgqueue_group_set(const ConsumerGroup *group, const GroupSettings *settings)
{
	GroupRow	row;
	TransactionId xmin;

	if (!find_row(group->name, &row))
		elog(ERROR, "consumer group \"%s\" is not there", group->name);
	if (settings->reset != NULL)
		row.values[GROUP_ATTR_RESET - 1] = CStringGetTextDatum(settings->reset);
	if (settings->set_expiry)
	{
		row.nulls[GROUP_ATTR_EXPIRY - 1] = settings->expiry == NULL;
		row.values[GROUP_ATTR_EXPIRY - 1] = IntervalPGetDatum(settings->expiry);
		/* an expiry of the group's own takes precedence over the topic's */
		row.values[GROUP_ATTR_IMPLICIT - 1] = BoolGetDatum(false);
	}
	if (OidIsValid(settings->owner))
		row.values[GROUP_ATTR_OWNER - 1] = pgqueue_role_datum(settings->owner);
	/* a row that the current command has written must become visible first */
	xmin = HeapTupleHeaderGetXmin(row.tuple->t_data);
	if (TransactionIdIsCurrentTransactionId(xmin))
		CommandCounterIncrement();
	pgqueue_registry_write(REGISTRY_GROUP, &row.tuple->t_self, GROUP_NATTS,
						   row.values, row.nulls);
}
