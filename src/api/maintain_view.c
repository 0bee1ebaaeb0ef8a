/*-------------------------------------------------------------------------
 *
 * maintain_view.c
 *	  What users are told of maintenance: view queue.maintenance, and the NOTICE
 *	  that there is none.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/base.h"
#include "topic/topic.h"
#include "api/maintain.h"

PG_FUNCTION_INFO_V1(pgqueue_maintenance_state);

/* Users are told of limits without maintenance if no pass has ended for so long. */
#define PASS_SECONDS (60 * 60)

/*
 * Return true if topics are maintained: a worker runs, or is about to, or a pass
 * was made in the last hour.
 */
bool
pgqueue_is_maintained(void)
{
	Maintenance state;

	pgqueue_maintenance_read(&state);
	return state.pid != 0 ||
		(state.pass_ended != 0 &&
		 GetCurrentTimestamp() - state.pass_ended < PASS_SECONDS * USECS_PER_SEC) ||
		pgqueue_maintenance_expected();
}

/*
 * Raise a NOTICE if the topic has limits that only maintenance applies, and
 * there is none.
 */
void
pgqueue_remind_of_maintenance(const Topic *topic)
{
	if ((topic->retention == 0 && topic->retention_bytes == 0 &&
		 !(topic->cleanup_policy & CLEANUP_COMPACT)) ||
		pgqueue_is_maintained())
		return;
	ereport(NOTICE,
			(errmsg("the limits of topic \"%s\" have no effect yet: maintenance is not running in this database",
					topic->name),
			 errhint("A superuser can start it with queue.start_maintenance(persistent => true). Or CALL queue.maintain() regularly.")));
}

/*
 * Raise a NOTICE if workers of subscriptions do not come back, since no maintenance
 * worker runs, or is about to.
 */
void
pgqueue_remind_of_workers(void)
{
	Maintenance state;

	pgqueue_maintenance_read(&state);
	if (state.pid != 0 || pgqueue_maintenance_expected())
		return;
	ereport(NOTICE,
			(errmsg("workers that end, with the server or by themselves, are not started again: maintenance is not running in this database"),
			 errhint("A superuser can start it with queue.start_maintenance(persistent => true).")));
}

static void
set_time(TimestampTz time, Datum *value, bool *null)
{
	*value = TimestampTzGetDatum(time);
	*null = time == 0;
}

/*
 * () -> (pid, started_by, started_at, pass_begun, last_pass, last_duration,
 * next_pass); no row if the user is neither a monitor nor may start the worker.
 */
Datum
pgqueue_maintenance_state(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Maintenance state;
	Datum		values[7];
	bool		nulls[7];
	Interval   *length = palloc0(sizeof(Interval));
	char	   *role;

	InitMaterializedSRF(fcinfo, 0);
	if (!pgqueue_is_monitor() && !pgqueue_may_start_maintenance(GetUserId()))
		return (Datum) 0;
	pgqueue_maintenance_read(&state);
	role = OidIsValid(state.started_by) ?
		GetUserNameFromId(state.started_by, true) : NULL;
	length->time = state.pass_length;
	values[0] = Int32GetDatum(state.pid);
	nulls[0] = state.pid == 0;
	values[1] = role == NULL ? (Datum) 0 :
		DirectFunctionCall1(namein, CStringGetDatum(role));
	nulls[1] = role == NULL || state.pid == 0;
	set_time(state.pid == 0 ? 0 : state.started_at, &values[2], &nulls[2]);
	set_time(state.pass_begun, &values[3], &nulls[3]);
	set_time(state.pass_ended, &values[4], &nulls[4]);
	values[5] = IntervalPGetDatum(length);
	nulls[5] = state.pass_ended == 0;
	set_time(state.next_pass, &values[6], &nulls[6]);
	pgqueue_put_row(rsinfo, values, nulls, lengthof(values));
	return (Datum) 0;
}
