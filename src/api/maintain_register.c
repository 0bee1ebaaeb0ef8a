/*-------------------------------------------------------------------------
 *
 * maintain_register.c
 *	  Register the maintenance worker of a database: which roles may, and what the
 *	  worker is told.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"

#include "base/base.h"
#include "base/lock.h"
#include "api/maintain.h"

/* The library was preloaded, so the launcher starts workers. */
bool		pgqueue_has_launcher = false;

/* Return true if a role may start and stop the worker. */
bool
pgqueue_may_start_maintenance(Oid role)
{
	return superuser_arg(role) || role == pgqueue_extension_owner();
}

/*
 * Register a worker.  Return false if the server has no room for it.  restart:
 * seconds after its death, or BGW_NEVER_RESTART.  handle: NULL if the caller does
 * not wait.
 */
bool
pgqueue_register_maintenance(Oid database, int restart, WorkerStart start,
							 BackgroundWorkerHandle **handle)
{
	BackgroundWorker worker;

	StaticAssertStmt(sizeof(WorkerStart) <= BGW_EXTRALEN,
					 "no room for the start");
	pgqueue_worker_init(&worker, PGQUEUE_MAINTENANCE_WORKER,
						"pgqueue_maintenance_main", NULL);
	worker.bgw_restart_time = restart;
	worker.bgw_main_arg = ObjectIdGetDatum(database);
	worker.bgw_notify_pid = handle == NULL ? 0 : MyProcPid;
	memcpy(worker.bgw_extra, &start, sizeof(start));
	return RegisterDynamicBackgroundWorker(&worker, handle);
}
