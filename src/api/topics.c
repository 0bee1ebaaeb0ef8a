/*-------------------------------------------------------------------------
 *
 * topics.c
 *	  queue.create_topic() and queue.alter_topic().
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "base/base.h"
#include "base/data.h"
#include "base/lock.h"
#include "wait/wait.h"
#include "topic/segment.h"
#include "topic/topic.h"
#include "topic/topic_row.h"
#include "api/api.h"
#include "api/maintain.h"

PG_FUNCTION_INFO_V1(pgqueue_create_topic);
PG_FUNCTION_INFO_V1(pgqueue_alter_topic);

/* ---------------- arguments ---------------- */

/*
 * Return the topic that the first argument names, for a call that changes it.
 *
 * Errors: 25006, 22004, 42501, those of pgqueue_topic().
 */
Topic *
pgqueue_owned_topic_arg(FunctionCallInfo fcinfo)
{
	Topic	   *topic;

	pgqueue_check_writable(fcinfo);
	pgqueue_check_not_null(fcinfo, 0, "topic");
	topic = pgqueue_topic_arg(PG_GETARG_TEXT_PP(0));
	pgqueue_check_owner(topic);
	return topic;
}

/* Return the same, and the partition that the second argument names. */
Topic *
pgqueue_owned_partition_arg(FunctionCallInfo fcinfo, int32 *partition)
{
	Topic	   *topic;

	pgqueue_check_writable(fcinfo);
	pgqueue_check_not_null(fcinfo, 0, "topic");
	pgqueue_check_not_null(fcinfo, 1, "partition");
	topic = pgqueue_owned_topic_arg(fcinfo);
	*partition = PG_GETARG_INT32(1);
	pgqueue_check_partition(topic, *partition);
	return topic;
}

/* Check a name by Kafka's rule, at PostgreSQL's length.  Errors: 42602. */
static char *
topic_name(text *arg)
{
	char	   *name = text_to_cstring(arg);
	size_t		len = strlen(name);

	if (len == 0 || len >= NAMEDATALEN ||
		strspn(name, "abcdefghijklmnopqrstuvwxyz"
			   "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") != len ||
		strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("invalid topic name \"%s\"", name),
				 errdetail("A name has 1 to %d characters of a-z, A-Z, 0-9, \".\", \"_\" and \"-\".",
						   NAMEDATALEN - 1)));
	return name;
}

static void
check_partitions(int32 partitions)
{
	if (partitions < 1 || partitions > PGQUEUE_MAX_PARTITIONS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("partitions must be between 1 and %d, not %d",
						PGQUEUE_MAX_PARTITIONS, partitions)));
}

static void
check_segment_messages(int64 messages)
{
	if (messages < 0 || messages > PG_INT32_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("segment_messages must be between 1 and %d, or 0 for adaptive, not "
						INT64_FORMAT, PG_INT32_MAX, messages)));
}

/*
 * Return true for the row type of a topic's view, table or segment: any role
 * may use it, and the topic's owner could not drop the topic any more.
 */
static bool
is_row_of_topic(const FormData_pg_type *form)
{
	return form->typtype == TYPTYPE_COMPOSITE &&
		get_rel_relkind(form->typrelid) != RELKIND_COMPOSITE_TYPE &&
		(form->typnamespace == get_namespace_oid(PGQUEUE_VIEW_SCHEMA, false) ||
		 form->typnamespace == get_namespace_oid(PGQUEUE_SCHEMA, false));
}

/*
 * Return true if a type goes away with the session or with a topic, or is made
 * of one that does: it would take the messages along.
 */
static bool
is_short_lived(Oid type)
{
	HeapTuple	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(type));
	Form_pg_type form;
	Oid			inner;
	bool		result;

	if (!HeapTupleIsValid(tuple))
		return false;
	check_stack_depth();
	form = (Form_pg_type) GETSTRUCT(tuple);
	inner = form->typtype == TYPTYPE_DOMAIN ? form->typbasetype :
		OidIsValid(form->typelem) ? form->typelem :
		form->typtype == TYPTYPE_RANGE ? get_range_subtype(type) :
		form->typtype == TYPTYPE_MULTIRANGE ? get_multirange_range(type) :
		InvalidOid;
	result = isAnyTempNamespace(form->typnamespace) ||
		is_row_of_topic(form) || is_short_lived(inner);
	if (!result && form->typtype == TYPTYPE_COMPOSITE)
	{
		TupleDesc	desc = lookup_rowtype_tupdesc(type, -1);

		for (int i = 0; !result && i < desc->natts; i++)
			result = !TupleDescAttr(desc, i)->attisdropped &&
				is_short_lived(TupleDescAttr(desc, i)->atttypid);
		ReleaseTupleDesc(desc);
	}
	ReleaseSysCache(tuple);
	return result;
}

/*
 * Check that a topic may have values of a type.
 *
 * Errors: 42704 if there is no such type, 22023 for a pseudo-type, a temporary
 * one or the row type of a topic, 42501 without USAGE.
 */
static void
check_value_type(Oid type)
{
	if (!SearchSysCacheExists1(TYPEOID, ObjectIdGetDatum(type)))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("type with OID %u does not exist", type)));
	if (get_typtype(type) == TYPTYPE_PSEUDO || !get_typisdefined(type) ||
		is_short_lived(type))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("values of a topic cannot have type %s",
						format_type_be(type))));
	if (pgqueue_type_aclcheck(type, GetUserId(), ACL_USAGE) != ACLCHECK_OK)
		aclcheck_error_type(ACLCHECK_NO_PRIV, type);
}

/* Errors: 42501. */
static void
check_may_create(void)
{
	Oid			nsp = get_namespace_oid(PGQUEUE_VIEW_SCHEMA, false);
	AclResult	result = pgqueue_schema_aclcheck(nsp, GetUserId(), ACL_CREATE);

	if (result != ACLCHECK_OK)
		aclcheck_error(result, OBJECT_SCHEMA, PGQUEUE_VIEW_SCHEMA);
}

/* ---------------- the relations ---------------- */

/* Return a relation of one of the extension's schemas. */
static Oid
relation_of(const char *schema, const char *name)
{
	return get_relname_relid(name, get_namespace_oid(schema, false));
}

/* Return a relation's name for DDL. */
char *
pgqueue_qualified_name(Oid relid)
{
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)),
									  get_rel_name(relid));
}

const char *
pgqueue_view_name(const char *name)
{
	return quote_qualified_identifier(PGQUEUE_VIEW_SCHEMA, name);
}

/*
 * Create the topic's table, and the view with its triggers.
 *
 * The INSTEAD OF UPDATE OR DELETE trigger keeps the view from being updated
 * automatically, so that the statement trigger answers, rows or no rows.
 */
static void
create_relations(int32 id, const char *name, Oid value_type)
{
	const char *owner = quote_identifier(GetUserNameFromId(GetUserId(), false));
	const char *view = pgqueue_view_name(name);

	pgqueue_run_ddl(pgqueue_extension_owner(), psprintf(
						"CREATE TABLE " PGQUEUE_SCHEMA ".log_%d (" PGQUEUE_LOG_COLUMNS ")"
						" PARTITION BY RANGE (partition, \"offset\");"
						"ALTER TABLE " PGQUEUE_SCHEMA ".log_%d OWNER TO %s;"
						"CREATE VIEW %s AS SELECT partition, \"offset\","
						" \"timestamp\", key, value, headers, deliver_at"
						" FROM " PGQUEUE_SCHEMA ".log_%d;"
						"ALTER TABLE %s ALTER COLUMN partition SET DEFAULT " PGQUEUE_SCHEMA ".insert_guard()::int,"
						" ALTER COLUMN \"offset\" SET DEFAULT " PGQUEUE_SCHEMA ".insert_guard(),"
						" ALTER COLUMN \"timestamp\" SET DEFAULT to_timestamp(" PGQUEUE_SCHEMA ".insert_guard());"
						"COMMENT ON VIEW %s IS 'Messages of a topic. Shows every committed message, also those behind the"
						" stable end: right for queries, wrong for polling (use queue.consume or queue.fetch).';"
						"CREATE TRIGGER produce INSTEAD OF INSERT ON %s FOR EACH ROW"
						" EXECUTE FUNCTION " PGQUEUE_SCHEMA ".topic_insert(%s);"
						"CREATE TRIGGER produce_flush AFTER INSERT ON %s FOR EACH STATEMENT"
						" EXECUTE FUNCTION " PGQUEUE_SCHEMA ".topic_flush();"
						"CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON %s FOR EACH STATEMENT"
						" EXECUTE FUNCTION " PGQUEUE_SCHEMA ".refuse_change();"
						"CREATE TRIGGER refuse_row INSTEAD OF UPDATE OR DELETE ON %s FOR EACH ROW"
						" EXECUTE FUNCTION " PGQUEUE_SCHEMA ".refuse_change();"
						"ALTER VIEW %s OWNER TO %s",
						id, pgqueue_type_name(value_type), id, owner,
						view, id, view, view, view, quote_literal_cstr(name),
						view, view, view, view, owner));
}

/* ---------------- options ---------------- */

/* Return false if a limit of bytes is 0, for none.  Errors: 22023. */
static bool
has_bytes(int64 bytes)
{
	if (bytes < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("retention_bytes must not be negative, but is " INT64_FORMAT,
						bytes)));
	return bytes != 0;
}

/* Errors: 22023. */
static void
check_window(int64 window)
{
	if (window == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("dedupe_window must be positive")));
}

static Datum
policy_datum(int policy)
{
	static const char *const names[] = {
		[CLEANUP_DELETE] = "delete",
		[CLEANUP_COMPACT] = "compact",
		[CLEANUP_COMPACT | CLEANUP_DELETE] = "compact,delete"
	};

	return CStringGetTextDatum(names[policy]);
}

/*
 * Check that user and owner may use a tablespace: the owner's segments are made
 * there later.  Return false if it is the database's default, ''.
 *
 * Errors: those of pgqueue_tablespace().
 */
static bool
has_tablespace(const char *name, Oid owner)
{
	if (name[0] == '\0')
		return false;
	(void) pgqueue_tablespace(name, GetUserId());
	(void) pgqueue_tablespace(name, owner);
	return true;
}

/*
 * Set the columns of the options that have an argument, from argument first on.
 * A limit of 0 is none.
 */
static void
set_options(TopicRow *row, FunctionCallInfo fcinfo, int first, Oid owner)
{
	static const AttrNumber attrs[] = {TOPIC_ATTR_NOTIFY, TOPIC_ATTR_RETENTION,
		TOPIC_ATTR_RETENTION_BYTES, TOPIC_ATTR_RETENTION_FORCE,
		TOPIC_ATTR_CLEANUP_POLICY, TOPIC_ATTR_TOMBSTONE_RETENTION,
	TOPIC_ATTR_TABLESPACE, TOPIC_ATTR_GROUP_EXPIRY,
	TOPIC_ATTR_DEDUPE_WINDOW, TOPIC_ATTR_SEGMENT_AGE};

	for (int arg = first; arg < first + lengthof(attrs); arg++)
	{
		AttrNumber	attr = attrs[arg - first];
		Datum		value = PG_GETARG_DATUM(arg);
		bool		has_limit = true;
		char	   *name;
		int			policy;

		if (PG_ARGISNULL(arg))
			continue;
		switch (attr)
		{
			case TOPIC_ATTR_RETENTION:
				has_limit = pgqueue_duration_arg(fcinfo, arg, "retention", 0) != 0;
				break;
			case TOPIC_ATTR_RETENTION_BYTES:
				has_limit = has_bytes(DatumGetInt64(value));
				break;
			case TOPIC_ATTR_CLEANUP_POLICY:
				policy = pgqueue_cleanup_policy(DatumGetTextPP(value));
				value = policy_datum(policy);
				break;
			case TOPIC_ATTR_TOMBSTONE_RETENTION:
				(void) pgqueue_duration_arg(fcinfo, arg, "tombstone_retention", 0);
				break;
			case TOPIC_ATTR_TABLESPACE:
				name = text_to_cstring(DatumGetTextPP(value));
				has_limit = has_tablespace(name, owner);
				value = DirectFunctionCall1(namein, CStringGetDatum(name));
				break;
			case TOPIC_ATTR_GROUP_EXPIRY:
				has_limit = pgqueue_duration_arg(fcinfo, arg, "group_expiry", 0) != 0;
				break;
			case TOPIC_ATTR_DEDUPE_WINDOW:
				check_window(pgqueue_duration_arg(fcinfo, arg, "dedupe_window", 0));
				break;
			case TOPIC_ATTR_SEGMENT_AGE:
				has_limit = pgqueue_duration_arg(fcinfo, arg, "segment_age", 0) != 0;
				break;
		}
		pgqueue_topic_row_set_limit(row, attr, has_limit, value);
	}
}

static void
set_segment_messages(TopicRow *row, int64 messages)
{
	pgqueue_topic_row_set_limit(row, TOPIC_ATTR_SEGMENT_MESSAGES,
								messages != 0, Int64GetDatum(messages));
}

/* Begin a new topic's row with all that it has besides options. */
static void
begin_row(TopicRow *row, int32 id, const char *name, int32 partitions)
{
	static const Interval day = {.day = 1};
	Oid			log = relation_of(PGQUEUE_SCHEMA, psprintf("log_%d", id));

	pgqueue_topic_row_new(row);
	pgqueue_topic_row_set(row, TOPIC_ATTR_ID, Int32GetDatum(id));
	pgqueue_topic_row_set(row, TOPIC_ATTR_NAME, CStringGetTextDatum(name));
	pgqueue_topic_row_set(row, TOPIC_ATTR_LOG, ObjectIdGetDatum(log));
	pgqueue_topic_row_set(row, TOPIC_ATTR_PARTITIONS,
						  Int32GetDatum(partitions));
	pgqueue_topic_row_set(row, TOPIC_ATTR_CREATED,
						  TimestampTzGetDatum(GetCurrentTransactionStartTimestamp()));
	pgqueue_topic_row_set(row, TOPIC_ATTR_NOTIFY, BoolGetDatum(false));
	pgqueue_topic_row_set(row, TOPIC_ATTR_RETENTION_FORCE, BoolGetDatum(false));
	pgqueue_topic_row_set(row, TOPIC_ATTR_CLEANUP_POLICY,
						  policy_datum(CLEANUP_DELETE));
	pgqueue_topic_row_set(row, TOPIC_ATTR_TOMBSTONE_RETENTION,
						  IntervalPGetDatum(&day));
	pgqueue_topic_row_set(row, TOPIC_ATTR_DEDUPE_WINDOW,
						  IntervalPGetDatum(&day));
}

/* (topic, partitions, value_type, segment_messages, options) -> view */
Datum
pgqueue_create_topic(PG_FUNCTION_ARGS)
{
	char	   *name;
	int32		partitions;
	Oid			value_type;
	int64		segment_messages = PG_ARGISNULL(3) ? 0 : PG_GETARG_INT64(3);
	int32		id;
	TopicRow	row;

	pgqueue_check_writable(fcinfo);
	pgqueue_check_not_null(fcinfo, 0, "topic");
	pgqueue_check_not_null(fcinfo, 1, "partitions");
	pgqueue_check_not_null(fcinfo, 2, "value_type");
	name = topic_name(PG_GETARG_TEXT_PP(0));
	partitions = PG_GETARG_INT32(1);
	value_type = PG_GETARG_OID(2);
	check_partitions(partitions);
	check_segment_messages(segment_messages);
	check_value_type(value_type);
	check_may_create();

	/* two sessions that create the same topic: the second finds it */
	(void) pgqueue_lock(pgqueue_tag_by_name(PGQUEUE_LOCK_TOPIC_NAME, name),
						ExclusiveLock, true);
	if (pgqueue_topic_find(name) != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("topic \"%s\" already exists", name)));

	id = pgqueue_registry_new_id("topic_topic_id_seq");
	create_relations(id, name, value_type);
	begin_row(&row, id, name, partitions);
	set_segment_messages(&row, segment_messages);
	set_options(&row, fcinfo, 4, GetUserId());
	pgqueue_topic_row_write(&row);
	CommandCounterIncrement();
	pgqueue_remind_of_maintenance(pgqueue_topic(name));
	PG_RETURN_OID(relation_of(PGQUEUE_VIEW_SCHEMA, name));
}

/* (topic, partitions, segment_messages, options) */
Datum
pgqueue_alter_topic(PG_FUNCTION_ARGS)
{
	Topic	   *topic;
	Oid			log;
	TopicRow	row;

	topic = pgqueue_owned_topic_arg(fcinfo);
	log = topic->log;

	/* alters and segment makers one at a time; producers go on */
	pgqueue_lock_relation(log, ShareUpdateExclusiveLock);
	topic = pgqueue_topic_refresh(topic);
	pgqueue_topic_row_read(&row, topic->name);

	if (!PG_ARGISNULL(2))
	{
		check_segment_messages(PG_GETARG_INT64(2));
		set_segment_messages(&row, PG_GETARG_INT64(2));
	}
	if (!PG_ARGISNULL(1))
	{
		int32		partitions = PG_GETARG_INT32(1);

		check_partitions(partitions);
		if (partitions < topic->npartitions)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("topic \"%s\" has %d partitions already",
							topic->name, topic->npartitions),
					 errdetail("Partitions can be added, not removed.")));
		pgqueue_topic_row_set(&row, TOPIC_ATTR_PARTITIONS,
							  Int32GetDatum(partitions));
	}
	set_options(&row, fcinfo, 3, pgqueue_owner_of(topic->log));
	pgqueue_topic_row_write(&row);

	CacheInvalidateRelcacheByRelid(log);
	pgqueue_note_topic_changed(topic->id);
	CommandCounterIncrement();
	pgqueue_remind_of_maintenance(pgqueue_topic_refresh(topic));
	PG_RETURN_VOID();
}
