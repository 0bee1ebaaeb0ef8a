/*-------------------------------------------------------------------------
 *
 * maintain_launcher.c
 *	  The launcher: with the library preloaded, it starts the maintenance
 *	  worker in each database that has the extension.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heapam.h"
#include "catalog/pg_database.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "base/base.h"
#include "api/maintain.h"

PGDLLEXPORT void pgqueue_launcher_main(Datum arg);

/* The launcher looks for new databases so often, in milliseconds. */
#define LAUNCHER_INTERVAL	60000

/* Return the databases that allow connections, in the given context. */
static List *
databases(MemoryContext context)
{
	List	   *oids = NIL;
	Relation	rel;
	TableScanDesc scan;
	HeapTuple	tuple;

	pgqueue_begin_transaction();
	(void) GetTransactionSnapshot();
	MemoryContextSwitchTo(context);
	rel = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(rel, 0, NULL);
	while (HeapTupleIsValid(tuple = heap_getnext(scan, ForwardScanDirection)))
	{
		Form_pg_database form = (Form_pg_database) GETSTRUCT(tuple);

		/* -2: DROP DATABASE was interrupted */
		if (form->datallowconn && !form->datistemplate &&
			form->datconnlimit >= -1)
			oids = lappend_oid(oids, form->oid);
	}
	table_endscan(scan);
	table_close(rel, AccessShareLock);
	CommitTransactionCommand();
	return oids;
}

/* Start a worker in a database, unless it has one or another session starts it. */
static void
launch(Oid database, MemoryContext context)
{
	pgqueue_begin_transaction();
	PG_TRY();
	{
		if (pgqueue_lock_starter(database, false) &&
			pgqueue_worker_pid(database) == 0)
			(void) pgqueue_start_worker(database, BGW_NEVER_RESTART);
		CommitTransactionCommand();
	}
	PG_CATCH();
	{
		pgqueue_report_failure(context);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
}

/*
 * Start a worker in each database that has none; the worker ends if the database
 * does not have the extension.
 *
 * The launcher, not the postmaster, restarts workers: a worker that cannot connect,
 * since its database is gone or broken, would keep its slot for ever.
 */
void
pgqueue_launcher_main(Datum arg)
{
	MemoryContext context;

	pgqueue_set_up_signals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	context = AllocSetContextCreate(TopMemoryContext, "queue launcher",
									ALLOCSET_DEFAULT_SIZES);
	while (!ShutdownRequestPending)
	{
		ListCell   *lc;

		MemoryContextReset(context);
		foreach(lc, databases(context))
			if (!ShutdownRequestPending)
				launch(lfirst_oid(lc), context);
		pgqueue_nap(LAUNCHER_INTERVAL);
	}
	/* the postmaster starts it again, unless the server ends */
	proc_exit(1);
}

void
pgqueue_maintain_worker_init(void)
{
	BackgroundWorker launcher;

	if (!process_shared_preload_libraries_in_progress || IsBinaryUpgrade)
		return;
	pgqueue_worker_init(&launcher, "queue launcher", "pgqueue_launcher_main",
						NULL);
	launcher.bgw_restart_time = RESTART_SECONDS;
	RegisterBackgroundWorker(&launcher);
}
