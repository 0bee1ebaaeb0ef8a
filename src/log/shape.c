/*-------------------------------------------------------------------------
 *
 * shape.c
 *	  The one check of what C code relies on: the shape of a topic's table, of
 *	  its segments and of its view.
 *
 * C code reads records and rows by position, and the topic's owner may run DDL
 * on the tables.  Each table and view is checked where it is opened:
 *
 *	 the topic's table and its view     topic/description.c, when the topic is
 *										looked up; remembered in its description
 *	 a segment                          pgqueue_segment_sound(); remembered in
 *										the relation cache (rd_amcache), up to
 *										the next invalidation
 *	 any other table USING queue_log    pgqueue_append_place(); or, to read it,
 *										pgqueue_has_log_columns()
 *
 * api/guard_check.c asks the same functions after each DDL command.  README,
 * section 18, has the reasons.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/partition.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type_d.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/partcache.h"

#include "base/base.h"
#include "log/cut.h"
#include "log/write.h"

/* The access method queue_log; zeros: not called for in this process (am.c). */
TableAmRoutine pgqueue_log_methods;

/* The same without the callbacks of cut.c, for a table that has no cut. */
TableAmRoutine pgqueue_uncut_methods;

/* Return true if the access method of a relation is queue_log. */
bool
pgqueue_is_log(Relation rel)
{
	return rel->rd_tableam == &pgqueue_log_methods ||
		rel->rd_tableam == &pgqueue_uncut_methods;
}

/* ---------------- flaws ---------------- */

/* The columns of a log, and of a topic's view; InvalidOid: the value's type. */
static const struct
{
	const char *name;
	Oid			type;
}			columns[LOG_NATTS + 1] =
{
	[LOG_ATTR_OFFSET] = {"offset", INT8OID},
	[LOG_ATTR_TIMESTAMP] = {"timestamp", TIMESTAMPTZOID},
	[LOG_ATTR_PARTITION] = {"partition", INT4OID},
	[LOG_ATTR_KEY] = {"key", TEXTOID},
	[LOG_ATTR_VALUE] = {"value", InvalidOid},
	[LOG_ATTR_HEADERS] = {"headers", JSONBOID},
	[LOG_ATTR_DELIVER_AT] = {"deliver_at", TIMESTAMPTZOID},
};

/* Which of the log's columns the view's are, in the view's order. */
const AttrNumber pgqueue_view_columns[VIEW_NATTS] = {
	LOG_ATTR_PARTITION, LOG_ATTR_OFFSET, LOG_ATTR_TIMESTAMP,
	LOG_ATTR_KEY, LOG_ATTR_VALUE, LOG_ATTR_HEADERS, LOG_ATTR_DELIVER_AT
};

static char *
type_name(Oid type, int32 typmod)
{
	return format_type_extended(type, typmod, FORMAT_TYPE_ALLOW_INVALID |
								FORMAT_TYPE_TYPEMOD_GIVEN);
}

/* Return what is wrong with a log's column, or NULL; InvalidOid: any type. */
static const char *
column_flaw(Relation rel, int attnum, Oid value_type)
{
	Form_pg_attribute att = TupleDescAttr(RelationGetDescr(rel), attnum - 1);
	const char *table = RelationGetRelationName(rel);
	const char *name = columns[attnum].name;
	Oid			type = columns[attnum].type;

	if (type == InvalidOid)
		type = OidIsValid(value_type) ? value_type : att->atttypid;
	if (att->attisdropped || strcmp(NameStr(att->attname), name) != 0)
		return psprintf("Column %d of \"%s\" is not \"%s\".",
						attnum, table, name);
	if (att->atttypid != type || att->atttypmod != -1)
		return psprintf("Column \"%s\" of \"%s\" has type %s instead of %s.",
						name, table, type_name(att->atttypid, att->atttypmod),
						type_name(type, -1));
	if (att->attcollation != get_typcollation(type))
		return psprintf("Column \"%s\" of \"%s\" has another collation than its type.",
						name, table);
	if (attnum <= LOG_ATTR_PARTITION && !att->attnotnull)
		return psprintf("Column \"%s\" of \"%s\" is not marked NOT NULL.",
						name, table);
	if (attnum > LOG_ATTR_PARTITION && att->attnotnull)
		return psprintf("Column \"%s\" of \"%s\" is marked NOT NULL.",
						name, table);
	if (att->attgenerated != '\0' || att->attidentity != '\0')
		return psprintf("Column \"%s\" of \"%s\" is generated.", name, table);
	return NULL;
}

/* Return what is wrong with a topic's table or a segment alike, or NULL. */
static const char *
storage_flaw(Relation rel, Oid value_type)
{
	const char *name = RelationGetRelationName(rel);

	if (RelationGetNumberOfAttributes(rel) != LOG_NATTS)
		return psprintf("\"%s\" has %d columns instead of %d.", name,
						RelationGetNumberOfAttributes(rel), LOG_NATTS);
	for (int attnum = 1; attnum <= LOG_NATTS; attnum++)
	{
		const char *flaw = column_flaw(rel, attnum, value_type);

		if (flaw != NULL)
			return flaw;
	}
	if (RelationGetNamespace(rel) != get_namespace_oid(PGQUEUE_SCHEMA, true))
		return psprintf("\"%s\" is not in schema \"%s\".", name,
						PGQUEUE_SCHEMA);
	if (rel->rd_rel->relpersistence != RELPERSISTENCE_PERMANENT)
		return psprintf("\"%s\" is not a permanent table.", name);
	if (OidIsValid(rel->rd_rel->reloftype))
		return psprintf("\"%s\" is a typed table.", name);
	if (rel->rd_rel->relrowsecurity)
		return psprintf("\"%s\" has row-level security.", name);
	if (rel->rd_rules != NULL)
		return psprintf("\"%s\" has rules.", name);
	if (rel->trigdesc != NULL)
		return psprintf("\"%s\" has triggers or takes part in a foreign key.",
						name);
	return NULL;
}

/* Return true if the table is PARTITION BY RANGE (partition, "offset"). */
static bool
is_partitioned_as_log(Relation log)
{
	PartitionKey key = RelationGetPartitionKey(log);

	return key != NULL && key->strategy == PARTITION_STRATEGY_RANGE &&
		key->partnatts == 2 &&
		key->partattrs[0] == LOG_ATTR_PARTITION &&
		key->partattrs[1] == LOG_ATTR_OFFSET;
}

/*
 * Return why a relation cannot be a topic's table, as a sentence, or NULL.
 * Locks: any on it.
 */
const char *
pgqueue_table_flaw(Relation log)
{
	const char *name = RelationGetRelationName(log);

	if (log->rd_rel->relkind != RELKIND_PARTITIONED_TABLE ||
		!is_partitioned_as_log(log))
		return psprintf("\"%s\" is not partitioned by (partition, \"offset\").",
						name);
	if (log->rd_rel->relispartition)
		return psprintf("\"%s\" is a partition of another table.", name);
	return storage_flaw(log, InvalidOid);
}

/*
 * Return why a relation cannot be a segment of a topic with that owner and
 * value type, or NULL.  With another owner (README, section 18, rule 2 and the
 * end) it can if it has no index; strict: it cannot.
 *
 * Locks: any on it.
 */
const char *
pgqueue_segment_flaw(Relation segment, Oid owner, Oid value_type, bool strict)
{
	const char *name = RelationGetRelationName(segment);

	if (segment->rd_rel->relkind != RELKIND_RELATION || !pgqueue_is_log(segment))
		return psprintf("\"%s\" does not use access method \"queue_log\".",
						name);
	if (segment->rd_rel->relowner != owner &&
		(strict || segment->rd_rel->relhasindex))
		return psprintf("\"%s\" and the topic's table have different owners.",
						name);
	return storage_flaw(segment, value_type);
}

/*
 * Return why a view cannot be that of a topic with that value type, or NULL.
 * Locks: none needed; what changes it sends an invalidation.
 */
const char *
pgqueue_view_flaw(Relation view, Oid value_type)
{
	TupleDesc	desc = RelationGetDescr(view);

	if (desc->natts != VIEW_NATTS)
		return psprintf("View \"%s\" has %d columns instead of %d.",
						RelationGetRelationName(view), desc->natts, VIEW_NATTS);
	for (int i = 0; i < VIEW_NATTS; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		const char *name = columns[pgqueue_view_columns[i]].name;
		Oid			type = columns[pgqueue_view_columns[i]].type;

		if (type == InvalidOid)
			type = value_type;
		if (att->attisdropped || att->atttypid != type ||
			strcmp(NameStr(att->attname), name) != 0)
			return psprintf("Column %d of view \"%s\" is not \"%s\" of type %s.",
							i + 1, RelationGetRelationName(view), name,
							type_name(type, -1));
	}
	return NULL;
}

/* ---------------- what is remembered ---------------- */

/*
 * Return what the relation cache keeps of a table USING queue_log, up to the next
 * invalidation.
 */
KnownSegment *
pgqueue_known_segment(Relation segment)
{
	if (segment->rd_amcache == NULL)
		segment->rd_amcache = MemoryContextAllocZero(CacheMemoryContext,
													 sizeof(KnownSegment));
	return segment->rd_amcache;
}

/*
 * Check a table that is opened as a segment of a topic's table.  Return false
 * if it cannot be read as one; then *flaw says why, or is NULL if it is no
 * partition any more.  Costs a few comparisons once the shape is known.
 *
 * Locks: any on the segment.
 */
bool
pgqueue_segment_sound(Relation segment, Oid log, Oid owner, Oid value_type,
					  const char **flaw)
{
	KnownSegment *known = segment->rd_amcache;
	uint64		changes;

	if (likely(pgqueue_is_log(segment) && known != NULL &&
			   known->log == log && known->owner == owner &&
			   known->value_type == value_type))
		return true;

	changes = pgqueue_relcache_changes;
	*flaw = NULL;
	if (!segment->rd_rel->relispartition ||
		get_partition_parent(RelationGetRelid(segment), true) != log)
		return false;
	*flaw = pgqueue_segment_flaw(segment, owner, value_type, false);
	if (*flaw != NULL)
		return false;
	/* an invalidation that has arrived meanwhile may concern the segment */
	if (pgqueue_relcache_changes != changes)
		return true;
	known = pgqueue_known_segment(segment);
	known->log = log;
	known->owner = owner;
	known->value_type = value_type;
	return true;
}

/*
 * Return true if the records of a table USING queue_log, of any origin, begin
 * as those of a log do.  VACUUM FULL leaves records without columns that were
 * dropped.
 *
 * Locks: any on it.
 */
bool
pgqueue_has_log_columns(Relation segment)
{
	TupleDesc	desc = RelationGetDescr(segment);

	if (desc->natts < LOG_NATTS)
		return false;
	for (int attnum = 1; attnum <= LOG_ATTR_PARTITION; attnum++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, attnum - 1);

		if (att->atttypid != columns[attnum].type || !att->attnotnull ||
			att->attisdropped)
			return false;
	}
	return true;
}

/*
 * Check that the records of a table USING queue_log, of any origin, begin as
 * those of a log do.  Return its append lock: for a segment, that of its
 * topic's partition; for any other table its own, whatever partition its rows
 * name.  A segment is told by schema queue, where users cannot put tables, and
 * its bounds: while a dump is restored the registry may not know the topic yet.
 *
 * Locks: ROW EXCLUSIVE on the table.
 * Errors: 55000.
 */
AppendSlot *
pgqueue_append_place(Relation segment)
{
	Oid			relid = RelationGetRelid(segment);
	Oid			schema = get_namespace_oid(PGQUEUE_SCHEMA, true);
	Oid			parent = segment->rd_rel->relispartition ?
		get_partition_parent(relid, true) : InvalidOid;
	SegmentBounds bounds;

	if (!pgqueue_has_log_columns(segment))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s\" does not have the columns of a topic's segment",
						RelationGetRelationName(segment)),
				 errhint("Create topics with queue.create_topic().")));
	if (OidIsValid(parent) && RelationGetNamespace(segment) == schema &&
		get_rel_namespace(parent) == schema &&
		pgqueue_segment_bounds(relid, &bounds))
		return pgqueue_slot(parent, bounds.partition);
	return pgqueue_slot(relid, 0);
}
