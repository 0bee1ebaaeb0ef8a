/*-------------------------------------------------------------------------
 *
 * maintain.c
 *	  queue.maintain(): one pass of maintenance over each topic that the
 *	  user owns.
 *
 * Two passes at once are harmless: a pass skips a step for which the topic's
 * table is locked, and the other pass does it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "executor/spi.h"

#include "base/base.h"
#include "base/lock.h"
#include "topic/topic.h"
#include "api/maintain.h"

PG_FUNCTION_INFO_V1(pgqueue_maintain);

static bool
tell_stopped(Topic *topic, int32 partition, void *arg)
{
	pgqueue_maintenance_report(topic, -1, "maintenance stopped", 1, 0);
	return false;
}

/*
 * Do one of the two parts of a pass over a topic.  A caller that maintains several
 * topics does the first part for all of them, then the second.
 */
void
pgqueue_maintain_topic(const char *name, MaintainPart part)
{
	Oid			log;
	int32		n = pgqueue_partitions_of(name, part == MAINTAIN_SPACE, &log);

	if (pgqueue_maintain_partitions(name, part, n) &&
		!pgqueue_maintain_elsewhere(name, log, part))
		pgqueue_run_step(name, -1, tell_stopped, NULL);
}

/*
 * Check that a procedure may commit, that is, that it was not called inside a
 * transaction block or a function.
 *
 * Errors: 2D000.
 */
void
pgqueue_check_may_commit(FunctionCallInfo fcinfo, const char *hint)
{
	if (fcinfo->context == NULL || !IsA(fcinfo->context, CallContext) ||
		castNode(CallContext, fcinfo->context)->atomic)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TRANSACTION_TERMINATION),
				 errmsg("%s cannot run inside a transaction block or a function",
						pgqueue_called(fcinfo)),
				 errhint("%s", hint)));
}

/*
 * Begin a procedure that commits between its steps; it ends with SPI_finish().
 *
 * Errors: 2D000, 25006.
 */
void
pgqueue_call_begin(FunctionCallInfo fcinfo)
{
	pgqueue_check_may_commit(fcinfo, _("It commits after each step."));
	pgqueue_check_writable(fcinfo);
	if (SPI_connect_ext(SPI_OPT_NONATOMIC) != SPI_OK_CONNECT)
		elog(ERROR, "cannot connect to SPI");
}

/* (topic) */
Datum
pgqueue_maintain(PG_FUNCTION_ARGS)
{
	List	   *names;
	ListCell   *lc;
	CodeRule	rule;

	pgqueue_call_begin(fcinfo);
	pgqueue_step_begin();
	if (PG_ARGISNULL(0))
		names = pgqueue_topic_names();
	else
	{
		Topic	   *topic = pgqueue_topic_arg(PG_GETARG_TEXT_PP(0));

		pgqueue_check_owner(topic);
		names = list_make1(pstrdup(topic->name));
	}
	pgqueue_step_end();
	rule = pgqueue_set_code_rule(CODE_ELSEWHERE);
	PG_TRY();
	{
		for (MaintainPart part = MAINTAIN_SPACE; part <= MAINTAIN_REST; part++)
			foreach(lc, names)
				pgqueue_maintain_topic(lfirst(lc), part);
	}
	PG_FINALLY();
	{
		pgqueue_set_code_rule(rule);
	}
	PG_END_TRY();
	SPI_finish();
	PG_RETURN_VOID();
}
