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
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

/* Columns of queue.consumer_group. */
#define GROUP_ATTR_ID		1
#define GROUP_ATTR_NAME		2
#define GROUP_ATTR_OWNER	3
#define GROUP_ATTR_CREATED	4
#define GROUP_NATTS			4

#define MAX_GROUP_NAME		255

/* Errors: 22004, 42602 for an empty or overlong name. */
char *
pgqueue_group_arg(text *name)
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
int32
pgqueue_group_find(const char *name)
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
 * The group's id; the group is made if need be, in this transaction.
 *
 * Locks: the group's name until the end of the transaction, if it is made; who
 * makes the same group waits, and finds it or makes it.
 */
int32
pgqueue_group_ensure(const char *name)
{
	int32		id = pgqueue_group_find(name);
	LOCKTAG		tag;

	if (id != 0)
		return id;
	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId,
						 hash_bytes((const unsigned char *) name, strlen(name)),
						 0, PGQUEUE_LOCK_GROUP_NAME);
	(void) pgqueue_lock(&tag, ExclusiveLock, true);
	id = pgqueue_group_find(name);
	return id != 0 ? id : insert_group(name);
}
