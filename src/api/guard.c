/*-------------------------------------------------------------------------
 *
 * guard.c
 *	  Errors for DDL that would lose messages or spoil a topic.
 *
 * Event triggers (README, section 18), the trigger that answers UPDATE and
 * DELETE on a topic's view, and the default of a view column that answers an
 * INSERT if the trigger would not fire.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/table.h"
#include "catalog/objectaddress.h"
#include "catalog/pg_rewrite.h"
#include "catalog/pg_trigger.h"
#include "commands/event_trigger.h"
#include "executor/spi.h"
#include "parser/parse_func.h"
#include "utils/fmgroids.h"

#include "base/base.h"
#include "log/log.h"
#include "topic/topic.h"
#include "api/api.h"

PG_FUNCTION_INFO_V1(pgqueue_guard_drop);
PG_FUNCTION_INFO_V1(pgqueue_guard_detach);
PG_FUNCTION_INFO_V1(pgqueue_guard_alter);
PG_FUNCTION_INFO_V1(pgqueue_guard_rewrite);
PG_FUNCTION_INFO_V1(pgqueue_refuse_change);
PG_FUNCTION_INFO_V1(pgqueue_insert_guard);

/*
 * What was dropped and may belong to a topic; the catalog has forgotten it.
 * The session's search_path must not choose any operator of these queries.
 */
static const char drop_query[] =
	"SELECT d.object_type, d.object_identity,"
	" d.address_names[1], d.address_names[2], d.address_names[3]"
	" FROM pg_catalog.pg_event_trigger_dropped_objects() d"
	" WHERE d.object_type OPERATOR(pg_catalog.=) ANY"
	" (ARRAY['table', 'foreign table', 'view', 'trigger', 'default value'])";

/* Relations, triggers and rules that a command was about. */
static const char alter_query[] =
	"SELECT DISTINCT c.classid, c.objid"
	" FROM pg_catalog.pg_event_trigger_ddl_commands() c"
	" WHERE c.classid OPERATOR(pg_catalog.=) ANY"
	" (ARRAY['pg_catalog.pg_class', 'pg_catalog.pg_trigger',"
	" 'pg_catalog.pg_rewrite']::pg_catalog.regclass[])";

static EventTriggerData *
check_event_trigger(FunctionCallInfo fcinfo)
{
	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_EVENT_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("not fired by event trigger manager")));
	return (EventTriggerData *) fcinfo->context;
}

/* sql_drop.  Errors: 55000. */
Datum
pgqueue_guard_drop(PG_FUNCTION_ARGS)
{
	(void) check_event_trigger(fcinfo);
	if (pgqueue_removing || pgqueue_allow_ddl)
		PG_RETURN_NULL();

	SPI_connect();
	if (SPI_execute(drop_query, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not list dropped objects");
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	row = SPI_tuptable->vals[i];
		TupleDesc	desc = SPI_tuptable->tupdesc;
		char	   *type = SPI_getvalue(row, desc, 1);
		const char *names[3];

		for (int n = 0; n < 3; n++)
			names[n] = SPI_getvalue(row, desc, 3 + n);
		if (pgqueue_belongs_to_topic(type, names))
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("cannot drop %s %s: it belongs to a topic",
							type, SPI_getvalue(row, desc, 2)),
					 errhint("Use queue.drop_topic(). A superuser may set queue.allow_ddl, for pg_restore --clean.")));
	}
	SPI_finish();
	PG_RETURN_NULL();
}

/* ddl_command_start: refuse to detach a segment.  Errors: 0A000. */
Datum
pgqueue_guard_detach(PG_FUNCTION_ARGS)
{
	EventTriggerData *event = check_event_trigger(fcinfo);
	AlterTableStmt *stmt = (AlterTableStmt *) event->parsetree;
	ListCell   *lc;

	if (pgqueue_removing || pgqueue_allow_ddl ||
		!IsA(stmt, AlterTableStmt))
		PG_RETURN_NULL();
	foreach(lc, stmt->cmds)
	{
		AlterTableCmd *cmd = lfirst_node(AlterTableCmd, lc);
		Oid			relid;

		if (cmd->subtype != AT_DetachPartition &&
			cmd->subtype != AT_DetachPartitionFinalize)
			continue;
		relid = RangeVarGetRelid(stmt->relation, NoLock, true);
		if (OidIsValid(relid) && pgqueue_topic_of_log(relid, NULL) != 0)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("cannot detach a segment from \"%s\": it belongs to a topic",
							stmt->relation->relname),
					 errhint("Use queue.archive_segment() or queue.delete_messages().")));
	}
	PG_RETURN_NULL();
}

/* Return the relation that an object is, or is a part of, or InvalidOid. */
static Oid
relation_of(Oid classid, Oid objid)
{
	Relation	catalog;
	HeapTuple	tuple;
	Oid			result = InvalidOid;

	if (classid != TriggerRelationId && classid != RewriteRelationId)
		return objid;
	catalog = table_open(classid, AccessShareLock);
	tuple = get_catalog_object_by_oid(catalog, get_object_attnum_oid(classid),
									  objid);
	if (HeapTupleIsValid(tuple))
		result = classid == TriggerRelationId ?
			((Form_pg_trigger) GETSTRUCT(tuple))->tgrelid :
			((Form_pg_rewrite) GETSTRUCT(tuple))->ev_class;
	table_close(catalog, AccessShareLock);
	return result;
}

static void
check_touched(Oid relid, bool renamed)
{
	Relation	rel = try_relation_open(relid, AccessShareLock);
	char		kind;

	if (rel == NULL)
		return;
	kind = rel->rd_rel->relkind;
	if (kind == RELKIND_VIEW)
		pgqueue_check_view(rel, renamed);
	else if (kind == RELKIND_RELATION || kind == RELKIND_PARTITIONED_TABLE ||
			 kind == RELKIND_FOREIGN_TABLE)
		pgqueue_check_relation(rel);
	relation_close(rel, AccessShareLock);
}

/*
 * ddl_command_end: refuse a command after which a topic's table, segment or
 * view would not have the shape and the name that C code relies on.
 *
 * Errors: 0A000.
 */
Datum
pgqueue_guard_alter(PG_FUNCTION_ARGS)
{
	EventTriggerData *event = check_event_trigger(fcinfo);
	bool		renamed = event->tag == CMDTAG_ALTER_TRIGGER;

	/* these change none of it, and come in the middle of a restore */
	if (pgqueue_allow_ddl || event->tag == CMDTAG_COMMENT ||
		event->tag == CMDTAG_GRANT || event->tag == CMDTAG_REVOKE)
		PG_RETURN_NULL();

	SPI_connect();
	if (SPI_execute(alter_query, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not list altered relations");
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool		isnull;
		Oid			object[2];

		for (int n = 0; n < 2; n++)
			object[n] = DatumGetObjectId(SPI_getbinval(SPI_tuptable->vals[i],
													   SPI_tuptable->tupdesc,
													   n + 1, &isnull));
		check_touched(relation_of(object[0], object[1]), renamed);
	}
	SPI_finish();
	PG_RETURN_NULL();
}

/* SET UNLOGGED, SET ACCESS METHOD, a change of a column's type.  0A000. */
Datum
pgqueue_guard_rewrite(PG_FUNCTION_ARGS)
{
	Datum		relid;
	Relation	rel;

	(void) check_event_trigger(fcinfo);
	if (pgqueue_allow_ddl)
		PG_RETURN_NULL();

	relid = OidFunctionCall0(F_PG_EVENT_TRIGGER_TABLE_REWRITE_OID);
	rel = table_open(DatumGetObjectId(relid), NoLock);
	if (pgqueue_is_log(rel))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot rewrite segment \"%s\"",
						RelationGetRelationName(rel)),
				 errdetail("A segment keeps its access method, its persistence and its columns' types.")));
	table_close(rel, NoLock);
	PG_RETURN_NULL();
}

/* ---------------- the view's triggers and default ---------------- */

/* BEFORE and INSTEAD OF UPDATE OR DELETE on topic.<name>.   Errors: 0A000. */
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
			 errdetail("A topic is a log: messages are appended and never changed."),
			 TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ? 0 :
			 errhint("queue.delete_messages() removes the oldest messages of a partition, queue.truncate_topic() all messages.")));
}

/*
 * Default of column "offset" of a topic's view: NULL, or 55000 where the view's
 * INSTEAD OF trigger is disabled and rows would vanish silently.
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
