/*-------------------------------------------------------------------------
 *
 * registry.c
 *	  The extension's own tables: their columns and types; find, open and check
 *	  the tables.
 *
 * The library knows the columns of these tables by number and type.  During ALTER
 * EXTENSION UPDATE sessions with the older library go on, and a newer library may
 * be loaded before the update.  So a column's number, name and type never change
 * between versions; columns are only ever appended (CONTRIBUTING.md):
 *
 *  the table has more columns than the library knows: the library ignores
 *  them, stores NULL in a new row, and leaves them alone in a row it changes;
 *  unless such a column is NOT NULL, which refuses older libraries;
 *
 *  the table has fewer columns: the library reads NULL, and does not store its
 *  own value.
 *
 * Any other difference is an error, raised when the table is opened.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_am_d.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "base/compat.h"
#include "base/base.h"
#include "base/lock.h"

typedef struct RegistryColumn
{
	Oid			type;
	bool		nullable;
} RegistryColumn;

typedef struct RegistryShape
{
	const char *name;
	const char *index;			/* by which the table is scanned */
	int			ncolumns;
	RegistryColumn columns[REGISTRY_MAX_COLUMNS];
} RegistryShape;

#define REQUIRED(name, type) {(type), false}
#define NULLABLE(name, type) {(type), true}
#define QUEUE_ROLE	InvalidOid	/* type queue.role; its OID varies */

/* Of a table that is scanned by two indexes, and so has two entries. */
#define PARKED_COLUMNS \
	REQUIRED(group_id, INT4OID), REQUIRED(topic_id, INT4OID), \
	REQUIRED(partition, INT4OID), NULLABLE(due_at, TIMESTAMPTZOID), \
	REQUIRED(hash, INT8OID), REQUIRED(offset, INT8OID), \
	REQUIRED(attempts, INT4OID), REQUIRED(parked_at, TIMESTAMPTZOID), \
	NULLABLE(epoch, INT8OID), NULLABLE(key, TEXTOID), \
	NULLABLE(first_failed_at, TIMESTAMPTZOID), NULLABLE(sqlstate, TEXTOID), \
	NULLABLE(error, TEXTOID), NULLABLE(incarnation, INT8OID), \
	NULLABLE(delayed, BOOLOID)

/* Columns in the order of queue--1.0.sql.  Those of later versions: NULLABLE. */
static const RegistryShape shapes[REGISTRY_TABLES] = {
	[REGISTRY_TOPIC] = {"topic", "topic_name_key", 16, {
			REQUIRED(topic_id, INT4OID), REQUIRED(name, TEXTOID),
			REQUIRED(log, REGCLASSOID), REQUIRED(partitions, INT4OID),
			NULLABLE(segment_messages, INT8OID),
			REQUIRED(created_at, TIMESTAMPTZOID), REQUIRED(notify, BOOLOID),
			NULLABLE(retention, INTERVALOID),
			NULLABLE(retention_bytes, INT8OID),
			REQUIRED(retention_force, BOOLOID),
			REQUIRED(cleanup_policy, TEXTOID),
			REQUIRED(tombstone_retention, INTERVALOID),
			NULLABLE(tablespace, NAMEOID), NULLABLE(group_expiry, INTERVALOID),
			REQUIRED(dedupe_window, INTERVALOID),
			NULLABLE(segment_age, INTERVALOID)
	}},
	[REGISTRY_CHECKPOINT] = {"checkpoint", "checkpoint_pkey", 7, {
			REQUIRED(topic_id, INT4OID), REQUIRED(partition, INT4OID),
			REQUIRED(log_start, INT8OID), REQUIRED(compacted_to, INT8OID),
			NULLABLE(oldest_tombstone, TIMESTAMPTZOID),
			NULLABLE(system, INT8OID), NULLABLE(log, OIDOID)
	}},
	[REGISTRY_INCARNATION] = {"incarnation", "incarnation_partition", 5, {
			REQUIRED(topic_id, INT4OID), REQUIRED(partition, INT4OID),
			REQUIRED(ordinal, INT4OID), REQUIRED(incarnation, INT8OID),
			REQUIRED(first_offset, INT8OID)
	}},
	[REGISTRY_MAINTENANCE_LOG] = {"maintenance_log",
		"maintenance_log_oldest", 6, {
			REQUIRED(done_at, TIMESTAMPTZOID), REQUIRED(topic, TEXTOID),
			NULLABLE(partition, INT4OID), REQUIRED(action, TEXTOID),
			REQUIRED(items, INT8OID), REQUIRED(bytes, INT8OID)
	}},
	[REGISTRY_MAINTENANCE_ERROR] = {"maintenance_error",
		"maintenance_error_pkey", 5, {
			REQUIRED(topic_id, INT4OID), REQUIRED(part, TEXTOID),
			REQUIRED(since, TIMESTAMPTZOID), REQUIRED(sqlstate, TEXTOID),
			REQUIRED(message, TEXTOID)
	}},
	[REGISTRY_PERSISTENT_MAINTENANCE] = {"persistent_maintenance",
		"persistent_maintenance_pkey", 3, {
			REQUIRED(database, OIDOID), REQUIRED(started_by, QUEUE_ROLE),
			REQUIRED(started_at, TIMESTAMPTZOID)
	}},
	[REGISTRY_GROUP] = {"consumer_group", "consumer_group_name_key", 7, {
			REQUIRED(group_id, INT4OID), REQUIRED(name, TEXTOID),
			REQUIRED(owner, QUEUE_ROLE), REQUIRED(created_at, TIMESTAMPTZOID),
			REQUIRED(auto_offset_reset, TEXTOID),
			NULLABLE(expiry, INTERVALOID), REQUIRED(implicit, BOOLOID)
	}},
	[REGISTRY_PROGRESS] = {"progress", "progress_newest", 27, {
			REQUIRED(group_id, INT4OID), REQUIRED(topic_id, INT4OID),
			REQUIRED(partition, INT4OID), REQUIRED(paused, BOOLOID),
			REQUIRED(action, CHAROID), REQUIRED(generation, INT8OID),
			REQUIRED(committed_offset, INT8OID),
			REQUIRED(committed_at, TIMESTAMPTZOID), NULLABLE(epoch, INT8OID),
			NULLABLE(handed_to, INT8OID), NULLABLE(committed_by, TEXTOID),
			NULLABLE(member, TEXTOID), NULLABLE(metadata, TEXTOID),
			NULLABLE(missed, INT8OID), NULLABLE(released, BOOLOID),
			NULLABLE(incarnation, INT8OID), NULLABLE(parked, INT8OID),
			NULLABLE(delayed, INT8OID), NULLABLE(parked_due, TIMESTAMPTZOID),
			NULLABLE(parked_keys, INT8OID), NULLABLE(parked_end, INT8OID),
			NULLABLE(parked_in_hand, INT4OID), NULLABLE(delivered, INT4OID),
			NULLABLE(failed, INT4OID), NULLABLE(repeats, INT4OID),
			NULLABLE(failures, INT4OID), NULLABLE(probe_at, TIMESTAMPTZOID)
	}},
	[REGISTRY_PARKED] = {"parked_message", "parked_message_key", 15, {
			PARKED_COLUMNS
	}},
	[REGISTRY_PARKED_DUE] = {"parked_message", "parked_message_due", 15, {
			PARKED_COLUMNS
	}},
	[REGISTRY_REPLAYED] = {"replayed", "replayed_pkey", 4, {
			REQUIRED(topic_id, INT4OID), REQUIRED(partition, INT4OID),
			REQUIRED(offset, INT8OID), REQUIRED(replayed_at, TIMESTAMPTZOID)
	}},
	[REGISTRY_FAILURE_POLICY] = {"failure_policy", "failure_policy_pkey", 9, {
			REQUIRED(group_id, INT4OID), REQUIRED(topic_id, INT4OID),
			REQUIRED(max_attempts, INT4OID), REQUIRED(backoff, INT8OID),
			REQUIRED(backoff_max, INT8OID), REQUIRED(hold, CHAROID),
			NULLABLE(dead_letter, TEXTOID), REQUIRED(max_parked, INT8OID),
			NULLABLE(dead_letter_id, INT4OID)
	}},
	[REGISTRY_MEMBER] = {"member", "member_pkey", 7, {
			REQUIRED(group_id, INT4OID), REQUIRED(topic_id, INT4OID),
			REQUIRED(lease, INT8OID), REQUIRED(expires_at, TIMESTAMPTZOID),
			REQUIRED(joined_at, TIMESTAMPTZOID), REQUIRED(name, TEXTOID),
			NULLABLE(client, TEXTOID)
	}},
	[REGISTRY_ASSIGNMENT] = {"assignment", "assignment_pkey", 4, {
			REQUIRED(group_id, INT4OID), REQUIRED(topic_id, INT4OID),
			REQUIRED(name, TEXTOID), REQUIRED(partitions, INT4ARRAYOID)
	}},
	[REGISTRY_PRODUCER] = {"producer", "producer_name_key", 6, {
			REQUIRED(producer_id, INT4OID), REQUIRED(topic_id, INT4OID),
			REQUIRED(name, TEXTOID), REQUIRED(owner, QUEUE_ROLE),
			REQUIRED(strict, BOOLOID), REQUIRED(created_at, TIMESTAMPTZOID)
	}},
	[REGISTRY_PRODUCER_DUE] = {"producer_due", "producer_due_name", 2, {
			REQUIRED(topic_id, INT4OID), REQUIRED(name, TEXTOID)
	}},
	[REGISTRY_PRODUCER_BATCH] = {"producer_batch",
		"producer_batch_newest", 16, {
			REQUIRED(producer_id, INT4OID), REQUIRED(series, INT4OID),
			REQUIRED(last_sequence, INT8OID), REQUIRED(generation, INT8OID),
			REQUIRED(epoch, INT4OID), REQUIRED(first_sequence, INT8OID),
			NULLABLE(partition, INT4OID), NULLABLE(offset, INT8OID),
			REQUIRED(accepted, INT8OID), REQUIRED(duplicates, INT8OID),
			REQUIRED(gaps, INT8OID), REQUIRED(produced_at, TIMESTAMPTZOID),
			NULLABLE(watermark, JSONBOID), NULLABLE(places, BYTEAOID),
			NULLABLE(used_at, TIMESTAMPTZOID), NULLABLE(incarnation, INT8OID)
	}},
	[REGISTRY_PRODUCER_HISTORY] = {"producer_history",
		"producer_history_places", 6, {
			REQUIRED(producer_id, INT4OID), REQUIRED(series, INT4OID),
			REQUIRED(last_sequence, INT8OID),
			REQUIRED(first_sequence, INT8OID), REQUIRED(places, BYTEAOID),
			NULLABLE(incarnation, INT8OID)
	}},
	[REGISTRY_DEDUPE_BUCKET] = {"dedupe_bucket", "dedupe_bucket_pkey", 6, {
			REQUIRED(topic_id, INT4OID), REQUIRED(number, INT4OID),
			REQUIRED(keys, REGCLASSOID), REQUIRED(started_at, TIMESTAMPTZOID),
			REQUIRED(ends_at, TIMESTAMPTZOID), REQUIRED(incarnation, INT8OID)
	}},
	[REGISTRY_SUBSCRIPTION] = {"subscription", "subscription_pkey", 9, {
			REQUIRED(group_id, INT4OID), REQUIRED(topic_id, INT4OID),
			REQUIRED(handler, TEXTOID), REQUIRED(handler_owner, QUEUE_ROLE),
			REQUIRED(batch, INT4OID), REQUIRED(workers, INT4OID),
			NULLABLE(timeout, INTERVALOID), REQUIRED(owner, QUEUE_ROLE),
			REQUIRED(created_at, TIMESTAMPTZOID)
	}},
	[REGISTRY_WORKER] = {"worker", "worker_pkey", 9, {
			REQUIRED(group_id, INT4OID), REQUIRED(topic_id, INT4OID),
			REQUIRED(number, INT4OID), REQUIRED(database, OIDOID),
			NULLABLE(begins_at, TIMESTAMPTZOID), REQUIRED(failures, INT4OID),
			NULLABLE(failed_at, TIMESTAMPTZOID), NULLABLE(sqlstate, TEXTOID),
			NULLABLE(error, TEXTOID)
	}},
};

/* What this backend knows of a table, until the table or its index changes. */
typedef struct RegistryEntry
{
	Oid			relid;			/* or InvalidOid */
	Oid			index;			/* or InvalidOid */
	bool		readable;		/* has the shape */
	bool		writable;		/* and all other columns are nullable */
} RegistryEntry;

static RegistryEntry entries[REGISTRY_TABLES];

/*
 * Count the invalidations of each table.  A session that remembers what it finds
 * in a table reads the counter before the look-up, and trusts the result while the
 * counter is the same (README, section 10).
 */
uint64		pgqueue_registry_changes[REGISTRY_TABLES];

/*
 * Forget what was known of a relation, or of all (InvalidOid).  Called by the
 * relation cache's callback (topic/topic.c).
 */
void
pgqueue_registry_changed(Oid relid)
{
	for (int i = 0; i < REGISTRY_TABLES; i++)
		if (!OidIsValid(relid) || entries[i].relid == relid ||
			entries[i].index == relid)
		{
			pgqueue_registry_changes[i]++;
			memset(&entries[i], 0, sizeof(RegistryEntry));
		}
}

/*
 * Have all sessions look up again what they remember of a table: this session
 * at once, others before they can acquire a lock that this transaction holds.
 */
void
pgqueue_registry_invalidate(RegistryTable which)
{
	Oid			relid = pgqueue_registry(which);

	CacheInvalidateRelcacheByRelid(relid);
	pgqueue_registry_changed(relid);
}

static Oid
find_relation(const char *name)
{
	Oid			nsp = get_namespace_oid(PGQUEUE_SCHEMA, false);
	Oid			relid = get_relname_relid(name, nsp);

	if (!OidIsValid(relid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation \"%s.%s\" does not exist",
						PGQUEUE_SCHEMA, name),
				 errhint("Was the extension dropped, or does it need ALTER EXTENSION queue UPDATE?")));
	return relid;
}

/* Return the OID of one of the extension's own tables.  Errors: 42P01. */
Oid
pgqueue_registry(RegistryTable which)
{
	if (!OidIsValid(entries[which].relid))
		entries[which].relid = find_relation(shapes[which].name);
	return entries[which].relid;
}

/* Return the OID of the index by which a table is scanned.  Errors: 42P01. */
Oid
pgqueue_registry_index(RegistryTable which)
{
	if (!OidIsValid(entries[which].index))
		entries[which].index = find_relation(shapes[which].index);
	return entries[which].index;
}

/* Return what is wrong with column number i of a table, or NULL. */
static const char *
column_flaw(TupleDesc desc, int i, const RegistryColumn *column)
{
	Form_pg_attribute att;
	Oid			type = column->type;

	if (i >= desc->natts)
		return column->nullable ? NULL :
			psprintf(_("Column %d is missing."), i + 1);
	att = TupleDescAttr(desc, i);
	if (att->attisdropped)
		return psprintf(_("Column %d was dropped."), i + 1);
	if (type == QUEUE_ROLE)
		type = GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid,
							   CStringGetDatum("role"),
							   ObjectIdGetDatum(get_namespace_oid(PGQUEUE_SCHEMA,
																  false)));
	if (att->atttypid != type)
		return psprintf(_("Column \"%s\" has type %s instead of %s."),
						NameStr(att->attname), format_type_be(att->atttypid),
						format_type_be(type));
	if (!att->attnotnull && !column->nullable)
		return psprintf(_("Column \"%s\" is not marked NOT NULL."),
						NameStr(att->attname));
	return NULL;
}

/* Check an open table, for writing if so.  Errors: 55000. */
static void
check_shape(Relation rel, RegistryTable which, bool writing)
{
	const RegistryShape *shape = &shapes[which];
	TupleDesc	desc = RelationGetDescr(rel);
	RegistryEntry *entry = &entries[which];
	const char *flaw = NULL;
	const char *unknown = NULL;

	if (rel->rd_rel->relkind != RELKIND_RELATION ||
		rel->rd_rel->relam != HEAP_TABLE_AM_OID)
		flaw = _("It is not an ordinary table.");
	for (int i = 0; i < shape->ncolumns && flaw == NULL; i++)
		flaw = column_flaw(desc, i, &shape->columns[i]);
	if (flaw != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s.%s\" does not have the shape that the library expects",
						PGQUEUE_SCHEMA, RelationGetRelationName(rel)),
				 errdetail_internal("%s", flaw),
				 errhint("Was the table altered, or does the extension need ALTER EXTENSION queue UPDATE?")));
	for (int i = shape->ncolumns; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (att->attnotnull && !att->attisdropped)
			unknown = NameStr(att->attname);
	}
	if (writing && unknown != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot write to table \"%s.%s\": the library of this session does not know column \"%s\"",
						PGQUEUE_SCHEMA, shape->name, unknown),
				 errhint("Reconnect, if the extension was updated.")));
	/* the entry is void if the relation changed before it was locked */
	if (entry->relid == RelationGetRelid(rel))
	{
		entry->readable = true;
		entry->writable = unknown == NULL;
	}
}

/*
 * Open one of the extension's own tables, for reading or writing.
 *
 * Locks: ACCESS SHARE on the table, for the caller to release; or ROW EXCLUSIVE, to
 * the end of the transaction: close the table with NoLock.
 * Errors: 42P01, 55000.
 */
Relation
pgqueue_registry_open(RegistryTable which, LOCKMODE lockmode)
{
	Oid			relid = pgqueue_registry(which);
	bool		writing = lockmode == RowExclusiveLock;
	Relation	rel;

	Assert(writing || lockmode == AccessShareLock);
	if (writing)
		pgqueue_lock_relation(relid, lockmode);
	rel = table_open(relid, writing ? NoLock : lockmode);
	if (unlikely(writing ? !entries[which].writable : !entries[which].readable))
		check_shape(rel, which, writing);
	return rel;
}

/* Return the number of columns that the library knows. */
int
pgqueue_registry_ncolumns(RegistryTable which)
{
	return shapes[which].ncolumns;
}
