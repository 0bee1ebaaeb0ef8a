/*-------------------------------------------------------------------------
 *
 * guard.c
 *	  Errors for what would lose messages behind the extension's back.
 *
 * Event triggers (sql_drop, ddl_command_end, table_rewrite), the trigger that
 * answers UPDATE and DELETE on a topic's view, and the default of a view
 * column that answers an INSERT whose trigger would not fire.
 *
 *-------------------------------------------------------------------------
 */
#include "queue.h"

#include "access/relation.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_trigger.h"
#include "commands/event_trigger.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(pgqueue_guard_drop);
PG_FUNCTION_INFO_V1(pgqueue_guard_alter);
PG_FUNCTION_INFO_V1(pgqueue_guard_rewrite);
PG_FUNCTION_INFO_V1(pgqueue_refuse_change);
PG_FUNCTION_INFO_V1(pgqueue_insert_guard);

/* Dropped tables and views; the catalog has forgotten them. */
static const char drop_query[] =
	"SELECT d.object_type, d.schema_name, d.object_name, d.object_identity"
	" FROM pg_catalog.pg_event_trigger_dropped_objects() d"
	" WHERE d.object_type IN ('table', 'view')";

/* Relations that an ALTER was about. */
static const char alter_query[] =
	"SELECT DISTINCT c.objid FROM pg_catalog.pg_event_trigger_ddl_commands() c"
	" WHERE c.classid OPERATOR(pg_catalog.=) 1259";

static void
check_event_trigger(FunctionCallInfo fcinfo)
{
	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_EVENT_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("not fired by event trigger manager")));
}

/* Is it log_<number>, or log_<number>_...? */
static bool
is_storage_name(const char *name)
{
	size_t		digits;

	if (strncmp(name, "log_", 4) != 0)
		return false;
	digits = strspn(name + 4, "0123456789");
	return digits > 0 && (name[4 + digits] == '\0' || name[4 + digits] == '_');
}

/* Did what was dropped belong to a topic?	The names tell. */
static bool
belongs_to_topic(const char *type, const char *schema, const char *name)
{
	if (schema == NULL || name == NULL)
		return false;
	if (strcmp(type, "table") == 0)
		return strcmp(schema, PGQUEUE_SCHEMA) == 0 && is_storage_name(name);
	return strcmp(schema, PGQUEUE_FACE_SCHEMA) == 0 &&
		pgqueue_topic_id(name) != 0;
}

/* sql_drop.  Errors: 55000. */
Datum
pgqueue_guard_drop(PG_FUNCTION_ARGS)
{
	check_event_trigger(fcinfo);
	if (pgqueue_in_ddl() || pgqueue_allow_ddl)
		PG_RETURN_NULL();

	SPI_connect();
	if (SPI_execute(drop_query, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not list dropped objects");
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	row = SPI_tuptable->vals[i];
		TupleDesc	desc = SPI_tuptable->tupdesc;
		char	   *type = SPI_getvalue(row, desc, 1);

		if (belongs_to_topic(type, SPI_getvalue(row, desc, 2),
							 SPI_getvalue(row, desc, 3)))
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("cannot drop %s %s: it belongs to a topic",
							type, SPI_getvalue(row, desc, 4)),
					 errhint("Use queue.drop_topic(); or set queue.allow_ddl, for pg_restore --clean.")));
	}
	SPI_finish();
	PG_RETURN_NULL();
}

pg_noreturn static void refuse_alter(Relation rel, const char *what);

static void
refuse_alter(Relation rel, const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("cannot %s \"%s\": it belongs to a topic",
					what, RelationGetRelationName(rel))));
}

/* A topic's table or segment keeps its name and its six columns. */
static void
check_storage(Relation rel)
{
	static const char *const columns[LOG_NATTS] =
	{"offset", "timestamp", "partition", "key", "value", "headers"};
	TupleDesc	desc = RelationGetDescr(rel);
	int32		id = 0;
	char		name[NAMEDATALEN];

	if (rel->rd_rel->relkind == RELKIND_PARTITIONED_TABLE)
		id = pgqueue_topic_of_log(RelationGetRelid(rel), name);
	if (id == 0 && !(rel->rd_rel->relispartition && pgqueue_is_log(rel)))
		return;

	if (!is_storage_name(RelationGetRelationName(rel)) ||
		RelationGetNamespace(rel) != get_namespace_oid(PGQUEUE_SCHEMA, false) ||
		(id != 0 && strcmp(RelationGetRelationName(rel),
						   psprintf("log_%d", id)) != 0))
		refuse_alter(rel, "rename or move");
	if (desc->natts != LOG_NATTS)
		refuse_alter(rel, "add columns to or drop columns of");
	for (int i = 0; i < LOG_NATTS; i++)
		if (strcmp(NameStr(TupleDescAttr(desc, i)->attname), columns[i]) != 0)
			refuse_alter(rel, "rename columns of");
}

/* A topic's view keeps its name; the argument of its trigger tells which. */
static void
check_face(Relation rel)
{
	TriggerDesc *triggers = rel->trigdesc;

	for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
	{
		Trigger    *trigger = &triggers->triggers[i];

		if (trigger->tgnargs == 1 && (trigger->tgtype & TRIGGER_TYPE_INSTEAD) != 0 &&
			strcmp(trigger->tgname, "produce") == 0 &&
			pgqueue_topic_id(trigger->tgargs[0]) != 0 &&
			(strcmp(trigger->tgargs[0], RelationGetRelationName(rel)) != 0 ||
			 RelationGetNamespace(rel) !=
			 get_namespace_oid(PGQUEUE_FACE_SCHEMA, false)))
			refuse_alter(rel, "rename or move");
	}
}

/*
 * ddl_command_end of ALTER TABLE and ALTER VIEW.  Names are how segments and
 * views are found again, and a column stays in the rows' layout even when it
 * is dropped again.
 *
 * Errors: 0A000.
 */
Datum
pgqueue_guard_alter(PG_FUNCTION_ARGS)
{
	check_event_trigger(fcinfo);
	if (pgqueue_in_ddl() || pgqueue_allow_ddl)
		PG_RETURN_NULL();

	SPI_connect();
	if (SPI_execute(alter_query, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not list altered tables");
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool		isnull;
		Oid			relid =
			DatumGetObjectId(SPI_getbinval(SPI_tuptable->vals[i],
										   SPI_tuptable->tupdesc, 1, &isnull));
		Relation	rel = try_relation_open(relid, AccessShareLock);

		if (rel == NULL)
			continue;
		if (rel->rd_rel->relkind == RELKIND_VIEW)
			check_face(rel);
		else
			check_storage(rel);
		relation_close(rel, AccessShareLock);
	}
	SPI_finish();
	PG_RETURN_NULL();
}

/* The table that a table_rewrite event is about. */
static Oid
rewritten_table(void)
{
	bool		isnull;
	Oid			relid;

	SPI_connect();
	if (SPI_execute("SELECT pg_catalog.pg_event_trigger_table_rewrite_oid()",
					true, 1) != SPI_OK_SELECT || SPI_processed != 1)
		elog(ERROR, "could not find the rewritten table");
	relid = DatumGetObjectId(SPI_getbinval(SPI_tuptable->vals[0],
										   SPI_tuptable->tupdesc, 1, &isnull));
	SPI_finish();
	return relid;
}

/* SET UNLOGGED, SET ACCESS METHOD, a change of a column's type.  0A000. */
Datum
pgqueue_guard_rewrite(PG_FUNCTION_ARGS)
{
	Relation	rel;

	check_event_trigger(fcinfo);
	if (pgqueue_in_ddl() || pgqueue_allow_ddl)
		PG_RETURN_NULL();

	rel = table_open(rewritten_table(), NoLock);
	if (pgqueue_is_log(rel))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot rewrite segment \"%s\"",
						RelationGetRelationName(rel)),
				 errdetail("A segment keeps its access method, its persistence and its columns' types.")));
	table_close(rel, NoLock);
	PG_RETURN_NULL();
}

/* BEFORE and INSTEAD OF UPDATE OR DELETE on topic.<name>.	 Errors: 0A000. */
Datum
pgqueue_refuse_change(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("queue.refuse_change() must be called as a trigger")));
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("cannot %s messages of topic \"%s\"",
					TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ?
					"update" : "delete",
					RelationGetRelationName(trigger->tg_relation)),
			 errdetail("A topic is a log: messages are appended and never changed.")));
}

/*
 * Default of column "offset" of a topic's view: NULL, or 55000 where the
 * view's INSTEAD OF trigger is disabled and rows would vanish silently.
 */
Datum
pgqueue_insert_guard(PG_FUNCTION_ARGS)
{
	if (SessionReplicationRole == SESSION_REPLICATION_ROLE_REPLICA)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot insert into a topic while session_replication_role is \"replica\""),
				 errdetail("The trigger that stores the messages would not fire."),
				 errhint("Use queue.produce() or queue.produce_batch().")));
	PG_RETURN_NULL();
}
