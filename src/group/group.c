/*-------------------------------------------------------------------------
 *
 * group.c
 *	  Consumer groups: their rows in queue.consumer_group and their owners.
 *
 * A group belongs to the role that first used it (base/role.c), or to which
 * queue.alter_group() gave it; other roles need membership in that role.  The
 * owner of a topic may reset, expire and drop what any group has in that
 * topic.
 *
 * Only queue.alter_group() and queue.create_group() update a row, one at a
 * time (they lock the group's name).  A scan with SnapshotSelf, which shows
 * what the current command has written, may meet neither version of such a row
 * if the update commits during the scan.  So a look-up that finds no row
 * repeats the scan with an MVCC snapshot, and a scan over all groups uses one
 * from the start.
 *
 * Dropping a group against using it: a transaction that uses a group looks its
 * id up first and locks a partition afterwards.  drop_group takes all those
 * locks, deletes, and sends all sessions an invalidation at commit, before its
 * locks are released (pgqueue_groups_changed).  A transaction that gets a lock
 * later finds the change counter raised and looks the group up again
 * (pgqueue_group_check_same).  For a partition in which the group has no row
 * yet, a lock of the whole group keeps the first row away
 * (pgqueue_group_lock_shared).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_collation_d.h"
#include "commands/sequence.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"

#include "base/compat.h"
#include "base/base.h"
#include "base/lock.h"
#include "topic/topic.h"
#include "group/group.h"
#include "group/progress.h"

/* ---------------- rows ---------------- */

/*
 * Register an MVCC snapshot of now that also shows what the current command
 * has written.  Unlike SnapshotSelf it shows exactly one version of a row that
 * another transaction updates.  (CommandCounterIncrement() would not do: a
 * position that a later call of the statement stores must not pass a message
 * of this call.)
 */
static Snapshot
register_now(void)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());

	snapshot->curcid++;
	return snapshot;
}

/* Return a copy of a group's row, or NULL. */
static HeapTuple
look_for(Relation rel, const char *name, Snapshot snapshot)
{
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, GROUP_ATTR_NAME, BTEqualStrategyNumber, F_TEXTEQ,
				CStringGetTextDatum(name));
	key.sk_collation = C_COLLATION_OID;
	scan = systable_beginscan(rel, pgqueue_registry(REGISTRY_GROUP_NAME_INDEX),
							  true, snapshot, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		tuple = heap_copytuple(tuple);
	systable_endscan(scan);
	return tuple;
}

/* Return a copy of a group's row in its latest state, or NULL. */
HeapTuple
pgqueue_find_row(Relation rel, const char *name)
{
	HeapTuple	tuple = look_for(rel, name, SnapshotSelf);
	Snapshot	snapshot;

	if (likely(HeapTupleIsValid(tuple)))
		return tuple;
	/* the scan may have met neither version of a row that is being updated */
	snapshot = register_now();
	tuple = look_for(rel, name, snapshot);
	UnregisterSnapshot(snapshot);
	return tuple;
}

/*
 * Return the group's id, 0 if it does not exist, by the latest state.
 *
 * Errors: 42501 if it belongs to a role that the user is not a member of,
 * unless any_role.
 */
static int32
find_group(const char *name, bool any_role)
{
	Relation	rel = pgqueue_registry_open(REGISTRY_GROUP);
	HeapTuple	tuple = pgqueue_find_row(rel, name);
	int32		id = 0;

	if (HeapTupleIsValid(tuple))
	{
		Datum		values[GROUP_NATTS];
		bool		nulls[GROUP_NATTS];

		pgqueue_registry_read(rel, tuple, GROUP_NATTS, values, nulls);
		id = DatumGetInt32(values[GROUP_ATTR_ID - 1]);
		if (!any_role)
		{
			RoleRef		owner;

			pgqueue_role_read(values[GROUP_ATTR_OWNER - 1], &owner);
			pgqueue_check_belongs("consumer group", name, &owner);
		}
		heap_freetuple(tuple);
	}
	table_close(rel, AccessShareLock);
	return id;
}

static int32
insert_group(const char *name, const GroupSettings *settings)
{
	Oid			sequence =
		get_relname_relid("consumer_group_group_id_seq",
						  get_namespace_oid(PGQUEUE_SCHEMA, false));
	Datum		values[GROUP_NATTS];
	bool		nulls[GROUP_NATTS] = {false};
	int32		id = (int32) nextval_internal(sequence, false);

	values[GROUP_ATTR_ID - 1] = Int32GetDatum(id);
	values[GROUP_ATTR_NAME - 1] = CStringGetTextDatum(name);
	values[GROUP_ATTR_OWNER - 1] = pgqueue_role_datum(GetUserId());
	values[GROUP_ATTR_CREATED - 1] =
		TimestampTzGetDatum(GetCurrentTransactionStartTimestamp());
	values[GROUP_ATTR_RESET - 1] =
		CStringGetTextDatum(settings->set_reset ? settings->reset : RESET_NONE);
	nulls[GROUP_ATTR_EXPIRY - 1] = settings->expiry == NULL;
	values[GROUP_ATTR_EXPIRY - 1] = IntervalPGetDatum(settings->expiry);
	values[GROUP_ATTR_IMPLICIT - 1] = BoolGetDatum(settings->implicit);
	pgqueue_registry_insert(REGISTRY_GROUP, GROUP_NATTS, values, nulls);
	return id;
}

/*
 * Look up the group that an argument names.  Its id is 0 if it does not exist.
 *
 * Errors: 22004, 42602, 42501.
 */
void
pgqueue_group_arg(FunctionCallInfo fcinfo, int arg, ConsumerGroup *group)
{
	pgqueue_group_arg_in_topic(fcinfo, arg, NULL, group);
}

/*
 * Look up the group for a function that changes only what the group has in one
 * topic: the topic's owner may do that to any group.
 *
 * Errors: 22004, 42602, 42501.
 */
void
pgqueue_group_arg_in_topic(FunctionCallInfo fcinfo, int arg, const Topic *topic,
						   ConsumerGroup *group)
{
	pgqueue_check_not_null(fcinfo, arg, "consumer_group");
	group->name = pgqueue_name_arg(PG_GETARG_TEXT_PP(arg), "consumer group name");
	group->any_role = topic != NULL &&
		pgqueue_owns_relation(topic->log, GetUserId());
	pgqueue_group_refresh(group);
}

/* Look the group up again: it may have been made or dropped since. */
void
pgqueue_group_refresh(ConsumerGroup *group)
{
	group->changes = pgqueue_group_changes;
	group->id = find_group(group->name, group->any_role);
}

/*
 * Make the group in this transaction if it does not exist, with these settings
 * (NULL: the defaults).  Return false if another transaction made it while
 * this one waited for the lock.
 *
 * Locks: the group's name to the end of the transaction, if the group is made;
 * a second transaction that makes the same group waits for it, and then finds
 * the group or makes it.
 */
bool
pgqueue_group_ensure(ConsumerGroup *group, const GroupSettings *settings)
{
	static const GroupSettings usual = {.implicit = true};
	LOCKTAG		tag;

	if (group->id != 0)
		return true;
	tag = pgqueue_tag_by_name(PGQUEUE_LOCK_GROUP_NAME, group->name);
	(void) pgqueue_lock(tag, ExclusiveLock, true);
	pgqueue_group_refresh(group);
	if (group->id != 0)
	{
		pgqueue_unlock(tag, ExclusiveLock);
		return false;
	}
	group->id = insert_group(group->name, settings == NULL ? &usual : settings);
	return true;
}

/* Errors: 42704. */
void
pgqueue_group_must_exist(const ConsumerGroup *group)
{
	if (group->id == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("consumer group \"%s\" does not exist", group->name),
				 errhint("A group begins with queue.create_group(), or with its first queue.consume() or queue.poll().")));
}

/* Read a row into *group; strings are copied. */
void
pgqueue_group_read(Relation rel, HeapTuple tuple, ConsumerGroup *group)
{
	Datum		values[GROUP_NATTS];
	bool		nulls[GROUP_NATTS];

	pgqueue_registry_read(rel, tuple, GROUP_NATTS, values, nulls);
	group->id = DatumGetInt32(values[GROUP_ATTR_ID - 1]);
	group->name = TextDatumGetCString(values[GROUP_ATTR_NAME - 1]);
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
		int32		id = ((ConsumerGroup *) lfirst(lc))->id;

		if (id > after)
			ids = lappend_int(ids, id);
	}
	list_sort(ids, list_int_cmp);
	return ids;
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
	if (likely(group->changes == pgqueue_group_changes))
		return;
	pgqueue_group_refresh(group);
	if (group->id != id)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("consumer group \"%s\" was dropped meanwhile",
						group->name)));
}

/*
 * Keep a group from being dropped to the end of the transaction.  Needed
 * before the group's first row in a partition is written.  Return false if
 * another transaction is dropping the group and wait is false.
 */
bool
pgqueue_group_lock_shared(int32 id, bool wait)
{
	return pgqueue_lock(pgqueue_tag(PGQUEUE_LOCK_GROUP_ROWS, id, 0), ShareLock,
						wait);
}

/*
 * Release one pgqueue_group_lock_shared() before the end of the transaction.
 * Allowed only if no row was written under it.
 */
void
pgqueue_group_unlock_shared(int32 id)
{
	pgqueue_unlock(pgqueue_tag(PGQUEUE_LOCK_GROUP_ROWS, id, 0), ShareLock);
}

/*
 * Delete a group's row.
 *
 * Locks: pgqueue_group_lock_rows() and the group's progress everywhere.
 */
void
pgqueue_group_delete(const char *name)
{
	Relation	rel = pgqueue_open_for_writing(REGISTRY_GROUP);
	HeapTuple	tuple = pgqueue_find_row(rel, name);

	if (HeapTupleIsValid(tuple))
		CatalogTupleDelete(rel, &tuple->t_self);
	table_close(rel, NoLock);
	pgqueue_groups_changed();
}

/*
 * Lock the group exclusively to the end of the transaction: until then no
 * other transaction writes the group's first row in a partition.
 */
void
pgqueue_group_lock_rows(int32 id)
{
	(void) pgqueue_lock(pgqueue_tag(PGQUEUE_LOCK_GROUP_ROWS, id, 0),
						ExclusiveLock, true);
}
