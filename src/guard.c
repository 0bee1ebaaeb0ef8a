/*-------------------------------------------------------------------------
 *
 * guard.c
 *	  Errors for what would lose messages behind the extension's back.
 *
 * Two event triggers (sql_drop, table_rewrite), the statement trigger that
 * answers UPDATE and DELETE on a topic's view, and the default of a view
 * column that answers an INSERT whose trigger would not fire.
 *
 *-------------------------------------------------------------------------
 */
#include "queue.h"

#include "access/table.h"
#include "commands/event_trigger.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(pgqueue_guard_drop);
PG_FUNCTION_INFO_V1(pgqueue_guard_rewrite);
PG_FUNCTION_INFO_V1(pgqueue_refuse_change);
PG_FUNCTION_INFO_V1(pgqueue_insert_guard);

/*
 * Dropped tables of a topic's storage, and views of topics that exist.	 The
 * catalog has forgotten them; their names tell.
 */
static const char drop_query[] =
	"SELECT d.object_identity, d.object_type"
	" FROM pg_catalog.pg_event_trigger_dropped_objects() d"
	" WHERE (d.object_type OPERATOR(pg_catalog.=) 'table'"
	"        AND d.schema_name OPERATOR(pg_catalog.=) 'queue'"
	"        AND d.object_name OPERATOR(pg_catalog.~) '^log_[0-9]+(_|$)')"
	"    OR (d.object_type OPERATOR(pg_catalog.=) 'view'"
	"        AND d.schema_name OPERATOR(pg_catalog.=) 'topic')"
	" LIMIT 1";

static void
check_event_trigger(FunctionCallInfo fcinfo)
{
	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_EVENT_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("not fired by event trigger manager")));
}

/* Errors: 55000. */
Datum
pgqueue_guard_drop(PG_FUNCTION_ARGS)
{
	check_event_trigger(fcinfo);
	if (pgqueue_in_ddl() || pgqueue_allow_ddl)
		PG_RETURN_NULL();

	SPI_connect();
	if (SPI_execute(drop_query, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not list dropped objects");
	if (SPI_processed > 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot drop %s %s: it belongs to a topic",
						SPI_getvalue(SPI_tuptable->vals[0],
									 SPI_tuptable->tupdesc, 2),
						SPI_getvalue(SPI_tuptable->vals[0],
									 SPI_tuptable->tupdesc, 1)),
				 errhint("Use queue.drop_topic(); or set queue.allow_ddl, for pg_restore --clean.")));
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
