/*-------------------------------------------------------------------------
 *
 * registry.c
 *	  The extension's own tables: their columns and types; find, open and check
 *	  the tables.
 *
 * The rest of the library knows the columns of these tables by number, and the
 * types of their values.  A table may have been made, or altered, by another
 * version of the extension: during ALTER EXTENSION UPDATE sessions with the
 * older library go on, and a newer library may be loaded before the update.
 * So a column's number, name and type never change between versions; columns
 * are only ever appended (CONTRIBUTING.md).  Here is what follows from that:
 *
 *  the table has more columns than the library knows: the library ignores
 *  them, stores NULL in a new row, and leaves them alone in a row it changes;
 *  unless such a column is NOT NULL, which refuses older libraries;
 *
 *  the table has fewer columns: the library reads NULL, and does not store its
 *  own value.
 *
 * registry_row.c reads and writes rows so.  Any other difference is an error,
 * raised when the table is opened.  The check is remembered until the relation
 * changes.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_am_d.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "base/compat.h"
#include "base/base.h"
#include "base/lock.h"

/* More columns than any of the tables has. */
#define REGISTRY_MAX_COLUMNS 20

typedef struct RegistryColumn
{
	Oid			type;
	bool		nullable;
} RegistryColumn;

/* A table, or an index, which has no columns here. */
typedef struct RegistryShape
{
	const char *name;
	int			ncolumns;
	RegistryColumn columns[REGISTRY_MAX_COLUMNS];
} RegistryShape;

#define REQUIRED(type) {(type), false}
#define NULLABLE(type) {(type), true}
#define QUEUE_ROLE	InvalidOid	/* type queue.role; its OID varies */

/* Columns in the order of queue--1.0.sql.  Those of later versions: NULLABLE. */
static const RegistryShape shapes[REGISTRY_TABLES] = {
	[REGISTRY_TOPIC] = {"topic", 14, {
			REQUIRED(INT4OID),	/* topic_id */
			REQUIRED(TEXTOID),	/* name */
			REQUIRED(REGCLASSOID),	/* log */
			REQUIRED(INT4OID),	/* partitions */
			NULLABLE(INT8OID),	/* segment_messages */
			REQUIRED(TIMESTAMPTZOID),	/* created_at */
			REQUIRED(BOOLOID),	/* notify */
			NULLABLE(INTERVALOID),	/* retention */
			NULLABLE(INT8OID),	/* retention_bytes */
			REQUIRED(BOOLOID),	/* retention_force */
			REQUIRED(TEXTOID),	/* cleanup_policy */
			REQUIRED(INTERVALOID),	/* tombstone_retention */
			NULLABLE(NAMEOID),	/* tablespace */
			NULLABLE(INTERVALOID)	/* group_expiry */
	}},
	[REGISTRY_CHECKPOINT] = {"checkpoint", 7, {
			REQUIRED(INT4OID),	/* topic_id */
			REQUIRED(INT4OID),	/* partition */
			REQUIRED(INT8OID),	/* log_start */
			REQUIRED(INT8OID),	/* compacted_to */
			NULLABLE(TIMESTAMPTZOID),	/* oldest_tombstone */
			NULLABLE(INT8OID),	/* system */
			NULLABLE(OIDOID)	/* log */
	}},
	[REGISTRY_INCARNATION] = {"incarnation", 5, {
			REQUIRED(INT4OID),	/* topic_id */
			REQUIRED(INT4OID),	/* partition */
			REQUIRED(INT4OID),	/* ordinal */
			REQUIRED(INT8OID),	/* incarnation */
			REQUIRED(INT8OID)	/* first_offset */
	}},
	[REGISTRY_MAINTENANCE_LOG] = {"maintenance_log", 6, {
			REQUIRED(TIMESTAMPTZOID),	/* done_at */
			REQUIRED(TEXTOID),	/* topic */
			NULLABLE(INT4OID),	/* partition */
			REQUIRED(TEXTOID),	/* action */
			REQUIRED(INT8OID),	/* items */
			REQUIRED(INT8OID)	/* bytes */
	}},
	[REGISTRY_GROUP] = {"consumer_group", 7, {
			REQUIRED(INT4OID),	/* group_id */
			REQUIRED(TEXTOID),	/* name */
			REQUIRED(QUEUE_ROLE),	/* owner */
			REQUIRED(TIMESTAMPTZOID),	/* created_at */
			REQUIRED(TEXTOID),	/* auto_offset_reset */
			NULLABLE(INTERVALOID),	/* expiry */
			REQUIRED(BOOLOID)	/* implicit */
	}},
	[REGISTRY_PROGRESS] = {"progress", 16, {
			REQUIRED(INT4OID),	/* group_id */
			REQUIRED(INT4OID),	/* topic_id */
			REQUIRED(INT4OID),	/* partition */
			REQUIRED(BOOLOID),	/* paused */
			REQUIRED(CHAROID),	/* action */
			REQUIRED(INT8OID),	/* generation */
			REQUIRED(INT8OID),	/* committed_offset */
			REQUIRED(TIMESTAMPTZOID),	/* committed_at */
			NULLABLE(INT8OID),	/* epoch */
			NULLABLE(INT8OID),	/* handed_to */
			NULLABLE(TEXTOID),	/* committed_by */
			NULLABLE(TEXTOID),	/* member */
			NULLABLE(TEXTOID),	/* metadata */
			NULLABLE(INT8OID),	/* missed */
			NULLABLE(BOOLOID),	/* released */
			NULLABLE(INT8OID)	/* incarnation */
	}},
	[REGISTRY_MEMBER] = {"member", 7, {
			REQUIRED(INT4OID),	/* group_id */
			REQUIRED(INT4OID),	/* topic_id */
			REQUIRED(INT8OID),	/* lease */
			REQUIRED(TIMESTAMPTZOID),	/* expires_at */
			REQUIRED(TIMESTAMPTZOID),	/* joined_at */
			REQUIRED(TEXTOID),	/* name */
			NULLABLE(TEXTOID)	/* client */
	}},
	[REGISTRY_ASSIGNMENT] = {"assignment", 4, {
			REQUIRED(INT4OID),	/* group_id */
			REQUIRED(INT4OID),	/* topic_id */
			REQUIRED(TEXTOID),	/* name */
			REQUIRED(INT4ARRAYOID)	/* partitions */
	}},
	[REGISTRY_PRODUCER] = {"producer", 6, {
			REQUIRED(INT4OID),	/* producer_id */
			REQUIRED(INT4OID),	/* topic_id */
			REQUIRED(TEXTOID),	/* name */
			REQUIRED(QUEUE_ROLE),	/* owner */
			REQUIRED(BOOLOID),	/* strict */
			REQUIRED(TIMESTAMPTZOID)	/* created_at */
	}},
	[REGISTRY_PRODUCER_DUE] = {"producer_due", 2, {
			REQUIRED(INT4OID),	/* topic_id */
			REQUIRED(TEXTOID)	/* name */
	}},
	[REGISTRY_PRODUCER_BATCH] = {"producer_batch", 16, {
			REQUIRED(INT4OID),	/* producer_id */
			REQUIRED(INT4OID),	/* series */
			REQUIRED(INT8OID),	/* last_sequence */
			REQUIRED(INT8OID),	/* generation */
			REQUIRED(INT4OID),	/* epoch */
			REQUIRED(INT8OID),	/* first_sequence */
			NULLABLE(INT4OID),	/* partition */
			NULLABLE(INT8OID),	/* offset */
			REQUIRED(INT8OID),	/* accepted */
			REQUIRED(INT8OID),	/* duplicates */
			REQUIRED(INT8OID),	/* gaps */
			REQUIRED(TIMESTAMPTZOID),	/* produced_at */
			NULLABLE(JSONBOID),	/* watermark */
			NULLABLE(BYTEAOID),	/* places */
			NULLABLE(TIMESTAMPTZOID),	/* used_at */
			NULLABLE(INT8OID)	/* incarnation */
	}},
	[REGISTRY_PRODUCER_HISTORY] = {"producer_history", 6, {
			REQUIRED(INT4OID),	/* producer_id */
			REQUIRED(INT4OID),	/* series */
			REQUIRED(INT8OID),	/* last_sequence */
			REQUIRED(INT8OID),	/* first_sequence */
			REQUIRED(BYTEAOID),	/* places */
			NULLABLE(INT8OID)	/* incarnation */
	}},
	[REGISTRY_TOPIC_NAME_INDEX] = {"topic_name_key"},
	[REGISTRY_CHECKPOINT_INDEX] = {"checkpoint_pkey"},
	[REGISTRY_INCARNATION_INDEX] = {"incarnation_partition"},
	[REGISTRY_MAINTENANCE_LOG_INDEX] = {"maintenance_log_oldest"},
	[REGISTRY_GROUP_NAME_INDEX] = {"consumer_group_name_key"},
	[REGISTRY_PROGRESS_INDEX] = {"progress_newest"},
	[REGISTRY_MEMBER_NAME_INDEX] = {"member_pkey"},
	[REGISTRY_ASSIGNMENT_NAME_INDEX] = {"assignment_pkey"},
	[REGISTRY_PRODUCER_NAME_INDEX] = {"producer_name_key"},
	[REGISTRY_PRODUCER_DUE_INDEX] = {"producer_due_name"},
	[REGISTRY_PRODUCER_BATCH_INDEX] = {"producer_batch_newest"},
	[REGISTRY_PRODUCER_HISTORY_INDEX] = {"producer_history_places"},
};

/* What this backend knows of a table or an index, until the relation changes. */
typedef struct RegistryEntry
{
	Oid			relid;			/* or InvalidOid */
	bool		readable;		/* has the shape */
	bool		writable;		/* and all other columns are nullable */
} RegistryEntry;

static RegistryEntry entries[REGISTRY_TABLES];

/* ---------------- finding ---------------- */

/*
 * Forget what was known of a relation, or of all (InvalidOid).  Called by the
 * relation cache's callback (topic/topic.c).
 */
void
pgqueue_registry_changed(Oid relid)
{
	for (int i = 0; i < REGISTRY_TABLES; i++)
		if (!OidIsValid(relid) || entries[i].relid == relid)
			memset(&entries[i], 0, sizeof(RegistryEntry));
}

/* Return true if a relation that changed is, or may be, this table. */
bool
pgqueue_registry_is(RegistryTable which, Oid relid)
{
	return !OidIsValid(relid) || entries[which].relid == relid;
}

/*
 * Return the OID of one of the extension's own tables or indexes.
 *
 * Errors: 42P01.
 */
Oid
pgqueue_registry(RegistryTable which)
{
	RegistryEntry *entry = &entries[which];

	if (!OidIsValid(entry->relid))
	{
		Oid			nsp = get_namespace_oid(PGQUEUE_SCHEMA, false);
		Oid			relid = get_relname_relid(shapes[which].name, nsp);

		if (!OidIsValid(relid))
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_TABLE),
					 errmsg("relation \"%s.%s\" does not exist",
							PGQUEUE_SCHEMA, shapes[which].name),
					 errhint("Was the extension dropped, or does it need ALTER EXTENSION queue UPDATE?")));
		memset(entry, 0, sizeof(RegistryEntry));
		entry->relid = relid;
	}
	return entry->relid;
}

/* ---------------- checking ---------------- */

pg_noreturn static void report_altered(Relation rel, const char *detail);

static void
report_altered(Relation rel, const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("table \"%s.%s\" does not have the shape that the library expects",
					PGQUEUE_SCHEMA, RelationGetRelationName(rel)),
			 errdetail_internal("%s", detail),
			 errhint("Was the table altered, or does the extension need ALTER EXTENSION queue UPDATE?")));
}

/* Return the OID of a column's type. */
static Oid
type_of(const RegistryColumn *column)
{
	return column->type != QUEUE_ROLE ? column->type :
		GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid,
						CStringGetDatum("role"),
						ObjectIdGetDatum(get_namespace_oid(PGQUEUE_SCHEMA,
														   false)));
}

/* Compare the columns that the library knows with those of the table. */
static void
check_columns(Relation rel, const RegistryShape *shape)
{
	TupleDesc	desc = RelationGetDescr(rel);

	for (int i = 0; i < shape->ncolumns; i++)
	{
		const RegistryColumn *column = &shape->columns[i];
		Form_pg_attribute att;

		if (i >= desc->natts)
		{
			if (column->nullable)
				continue;
			report_altered(rel, psprintf(_("Column %d is missing."), i + 1));
		}
		att = TupleDescAttr(desc, i);
		if (att->attisdropped)
			report_altered(rel, psprintf(_("Column %d was dropped."), i + 1));
		if (att->atttypid != type_of(column))
			report_altered(rel,
						   psprintf(_("Column \"%s\" has type %s instead of %s."),
									NameStr(att->attname),
									format_type_be(att->atttypid),
									format_type_be(type_of(column))));
		if (!att->attnotnull && !column->nullable)
			report_altered(rel,
						   psprintf(_("Column \"%s\" is not marked NOT NULL."),
									NameStr(att->attname)));
	}
}

/*
 * Check an open table, for writing if so.  It cannot change while it is open.
 *
 * Errors: 55000.
 */
static void
check_shape(Relation rel, RegistryTable which, bool writing)
{
	const RegistryShape *shape = &shapes[which];
	TupleDesc	desc = RelationGetDescr(rel);
	RegistryEntry *entry = &entries[which];
	const char *unknown = NULL;

	if (rel->rd_rel->relkind != RELKIND_RELATION ||
		rel->rd_rel->relam != HEAP_TABLE_AM_OID)
		report_altered(rel, _("It is not an ordinary table."));
	check_columns(rel, shape);
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
 * Open one of the extension's own tables for reading.
 *
 * Locks: ACCESS SHARE on the table, for the caller to release.
 * Errors: 42P01, 55000.
 */
Relation
pgqueue_registry_open(RegistryTable which)
{
	Relation	rel = table_open(pgqueue_registry(which), AccessShareLock);

	if (unlikely(!entries[which].readable))
		check_shape(rel, which, false);
	return rel;
}

/*
 * Open one of the extension's own tables for writing.  Close it with NoLock.
 *
 * Locks: ROW EXCLUSIVE on the table, to the end of the transaction.
 * Errors: 42P01, 55000.
 */
Relation
pgqueue_open_for_writing(RegistryTable which)
{
	Oid			relid = pgqueue_registry(which);
	Relation	rel;

	pgqueue_lock_relation(relid, RowExclusiveLock);
	rel = table_open(relid, NoLock);
	if (unlikely(!entries[which].writable))
		check_shape(rel, which, true);
	return rel;
}

/* Return true if the caller's number of columns is that of the shape. */
bool
pgqueue_is_shape_of(Relation rel, int ncolumns)
{
	for (int i = 0; i < REGISTRY_TABLES; i++)
		if (strcmp(shapes[i].name, RelationGetRelationName(rel)) == 0)
			return shapes[i].ncolumns == ncolumns;
	return false;
}
