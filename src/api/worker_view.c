/*-------------------------------------------------------------------------
 *
 * worker_view.c
 *	  What view queue.workers tells of a worker's process.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "funcapi.h"
#include "utils/builtins.h"

#include "base/base.h"
#include "api/worker.h"

PG_FUNCTION_INFO_V1(pgqueue_worker_state);

/* Return why a worker without a process does not run, or NULL: not known. */
static const char *
obstacle_of(Oid role)
{
	const char *obstacle = pgqueue_worker_obstacle(role);

	if (obstacle == NULL && pgqueue_workers_room() <= 0)
		return _("All background workers that subscriptions may have are in use.");
	return obstacle;
}

/* (role, group_id, topic_id, workers) -> (number, pid, started_at, obstacle) */
Datum
pgqueue_worker_state(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	int			workers = Min(PG_GETARG_INT32(3), PGQUEUE_MAX_WORKERS);
	RoleRef		owner;
	WorkerTask	task = {.id = {PG_GETARG_INT32(1), PG_GETARG_INT32(2)}};

	InitMaterializedSRF(fcinfo, 0);
	pgqueue_role_read(PG_GETARG_DATUM(0), &owner);
	task.role = pgqueue_role_oid(&owner);
	for (task.id.number = 1; task.id.number <= workers; task.id.number++)
	{
		WorkerProcess process;
		bool		runs = pgqueue_worker_process(&task, &process);
		const char *obstacle = runs ? NULL : obstacle_of(task.role);
		Datum		values[4] = {Int32GetDatum(task.id.number)};
		bool		nulls[4] = {false, !runs, !runs, obstacle == NULL};

		if (runs)
		{
			values[1] = Int32GetDatum(process.pid);
			values[2] = TimestampTzGetDatum(process.started_at);
		}
		if (obstacle != NULL)
			values[3] = CStringGetTextDatum(obstacle);
		pgqueue_put_row(rsinfo, values, nulls, lengthof(values));
	}
	return (Datum) 0;
}
