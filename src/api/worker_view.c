/*-------------------------------------------------------------------------
 *
 * worker_view.c
 *	  What view queue.workers tells of a worker's process.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

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

/* (role, group_id, topic_id, number) -> (pid, started_at, obstacle) */
Datum
pgqueue_worker_state(PG_FUNCTION_ARGS)
{
	RoleRef		owner;
	WorkerTask	task = {
		.id = {PG_GETARG_INT32(1), PG_GETARG_INT32(2), PG_GETARG_INT32(3)}
	};
	const char *obstacle = NULL;
	WorkerProcess process;
	Datum		values[3];
	bool		nulls[3] = {false};

	pgqueue_role_read(PG_GETARG_DATUM(0), &owner);
	task.role = pgqueue_role_oid(&owner);
	nulls[0] = nulls[1] = !pgqueue_worker_process(&task, &process);
	if (nulls[0])
		obstacle = obstacle_of(task.role);
	else
	{
		values[0] = Int32GetDatum(process.pid);
		values[1] = TimestampTzGetDatum(process.started_at);
	}
	nulls[2] = obstacle == NULL;
	if (obstacle != NULL)
		values[2] = CStringGetTextDatum(obstacle);
	return pgqueue_return_row(fcinfo, values, nulls, 3);
}
