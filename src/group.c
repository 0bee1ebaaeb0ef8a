/*-------------------------------------------------------------------------
 *
 * group.c
 *	  Consumer groups: names, and whose they are.
 *
 * A group belongs to the role that first used it; other roles need membership
 * in that role.  The role is stored by name, so that a dump can be restored
 * where the role does not exist (then only a superuser may use the group).
 * Rows are never updated.
 *
 * Dropping a group against using it: whoever uses a group finds its id first
 * and locks a partition after.	 Drop takes all those locks, deletes, and tells
 * every session at commit, before it gives them back (pgqueue_groups_changed);
 * so whoever gets a lock later asks again (pgqueue_group_check_same).	Rows for
 * a partition that has none yet are kept away by a lock of their own
 * (pgqueue_group_hold).
 *
 *-------------------------------------------------------------------------
 */
#include "queue.h"

#include "access/genam.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_collation_d.h"
#include "commands/sequence.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#define MAX_GROUP_NAME		255

/* Errors: 42602 for an empty or overlong name. */
static char *
group_name(text *name)
{
	int			len = VARSIZE_ANY_EXHDR(name);

	if (len == 0 || len > MAX_GROUP_NAME)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg(len == 0 ? "consumer group name must not be empty" :
						"consumer group name is too long"),
				 errdetail("A name has 1 to %d bytes.", MAX_GROUP_NAME)));
	return text_to_cstring(name);
}

/*
 * The group's id, 0 if it does not exist.	Reads the latest state.
 *
 * Errors: 42501 if it belongs to a role that the user is not a member of.
 */
static int32
find_group(const char *name)
{
	Relation	rel = table_open(pgqueue_registry(REGISTRY_GROUP),
								 AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	int32		id = 0;

	ScanKeyInit(&key, GROUP_ATTR_NAME, BTEqualStrategyNumber, F_TEXTEQ,
				CStringGetTextDatum(name));
	key.sk_collation = C_COLLATION_OID;
	scan = systable_beginscan(rel, pgqueue_registry(REGISTRY_GROUP_NAME_INDEX),
							  true, SnapshotSelf, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		Datum		values[GROUP_NATTS];
		bool		nulls[GROUP_NATTS];

		heap_deform_tuple(tuple, RelationGetDescr(rel), values, nulls);
		id = DatumGetInt32(values[GROUP_ATTR_ID - 1]);
		pgqueue_check_belongs("consumer group", name,
							  NameStr(*DatumGetName(values[GROUP_ATTR_OWNER - 1])));
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return id;
}

static int32
insert_group(const char *name)
{
	Relation	rel = pgqueue_open_for_writing(REGISTRY_GROUP);
	Oid			sequence =
		get_relname_relid("consumer_group_group_id_seq",
						  get_namespace_oid(PGQUEUE_SCHEMA, false));
	Datum		values[GROUP_NATTS];
	bool		nulls[GROUP_NATTS] = {false};
	NameData	owner;
	int32		id = (int32) nextval_internal(sequence, false);

	namestrcpy(&owner, GetUserNameFromId(GetUserId(), false));
	values[GROUP_ATTR_ID - 1] = Int32GetDatum(id);
	values[GROUP_ATTR_NAME - 1] = CStringGetTextDatum(name);
	values[GROUP_ATTR_OWNER - 1] = NameGetDatum(&owner);
	values[GROUP_ATTR_CREATED - 1] =
		TimestampTzGetDatum(GetCurrentTransactionStartTimestamp());
	CatalogTupleInsert(rel, heap_form_tuple(RelationGetDescr(rel), values, nulls));
	table_close(rel, NoLock);
	return id;
}

/*
 * The group that an argument names.  Its id is 0 if it does not exist.
 *
 * Errors: 22004, 42602, 42501.
 */
void
pgqueue_group_arg(FunctionCallInfo fcinfo, int arg, ConsumerGroup *group)
{
	pgqueue_check_not_null(fcinfo, arg, "consumer_group");
	group->name = group_name(PG_GETARG_TEXT_PP(arg));
	group->changes = pgqueue_group_changes;
	group->id = find_group(group->name);
}

/* Look again: made or dropped since? */
void
pgqueue_group_refresh(ConsumerGroup *group)
{
	group->changes = pgqueue_group_changes;
	group->id = find_group(group->name);
}

/*
 * Make the group if need be, in this transaction.	False if another transaction
 * was waited for that has made it.
 *
 * Locks: the group's name until the end of the transaction, if it is made; who
 * makes the same group waits, and finds it or makes it.
 */
bool
pgqueue_group_ensure(ConsumerGroup *group)
{
	LOCKTAG		tag;

	if (group->id != 0)
		return true;
	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId,
						 hash_bytes((const unsigned char *) group->name,
									strlen(group->name)),
						 0, PGQUEUE_LOCK_GROUP_NAME);
	(void) pgqueue_lock(&tag, ExclusiveLock, true);
	pgqueue_group_refresh(group);
	if (group->id != 0)
	{
		pgqueue_unlock(&tag, ExclusiveLock);
		return false;
	}
	group->id = insert_group(group->name);
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
				 errhint("Create it with queue.create_group().")));
}

/* The groups that read a topic, as of now: those with an offset in it. */
List *
pgqueue_groups_of(int32 topic_id)
{
	Relation	rel = table_open(pgqueue_registry(REGISTRY_GROUP),
								 AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, SnapshotSelf,
										  0, NULL);
	List	   *groups = NIL;
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		ConsumerGroup *group;
		bool		isnull;
		int32		id = DatumGetInt32(heap_getattr(tuple, GROUP_ATTR_ID,
													RelationGetDescr(rel),
													&isnull));

		if (!pgqueue_progress_any(id, topic_id))
			continue;
		group = palloc0(sizeof(ConsumerGroup));
		group->id = id;
		group->name = TextDatumGetCString(heap_getattr(tuple, GROUP_ATTR_NAME,
													   RelationGetDescr(rel),
													   &isnull));
		groups = lappend(groups, group);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return groups;
}

/*
 * Having locked one of the group's partitions: is it still the same group?
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

static void
rows_tag(LOCKTAG *tag, int32 id)
{
	SET_LOCKTAG_ADVISORY(*tag, MyDatabaseId, id, 0, PGQUEUE_LOCK_GROUP_ROWS);
}

/*
 * Keep a group from being dropped to the end of the transaction: before its
 * first row in a partition is written.	 False if it is being dropped and wait
 * is false.
 */
bool
pgqueue_group_hold(int32 id, bool wait)
{
	LOCKTAG		tag;

	rows_tag(&tag, id);
	return pgqueue_lock(&tag, ShareLock, wait);
}

/* Give back one pgqueue_group_hold(), nothing having been written. */
void
pgqueue_group_release(int32 id)
{
	LOCKTAG		tag;

	rows_tag(&tag, id);
	pgqueue_unlock(&tag, ShareLock);
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
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, GROUP_ATTR_NAME, BTEqualStrategyNumber, F_TEXTEQ,
				CStringGetTextDatum(name));
	key.sk_collation = C_COLLATION_OID;
	scan = systable_beginscan(rel, pgqueue_registry(REGISTRY_GROUP_NAME_INDEX),
							  true, SnapshotSelf, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		CatalogTupleDelete(rel, &tuple->t_self);
	systable_endscan(scan);
	table_close(rel, NoLock);
	pgqueue_groups_changed();
}

/* Nobody writes a first row for the group until the transaction ends. */
void
pgqueue_group_lock_rows(int32 id)
{
	LOCKTAG		tag;

	rows_tag(&tag, id);
	(void) pgqueue_lock(&tag, ExclusiveLock, true);
}
