/*-------------------------------------------------------------------------
 *
 * worker_start.c
 *	  Start the background workers of subscriptions: when subscribe commits, and by
 *	  the maintenance worker, which finds those that are missing.
 *
 * A worker that is started decides for itself whether it is wanted (worker.c).  So
 * one too many does no harm, and one that is not started here, as after a prepared
 * transaction, is found by maintenance.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_database.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "base/compat.h"
#include "base/base.h"
#include "base/lock.h"
#include "api/worker.h"

/* What the transaction under way has asked for, in TopTransactionContext. */
static List *asked = NIL;

/* ---------------- obstacles ---------------- */

/* Return why a role cannot connect to this database, or NULL if it can. */
static const char *
role_obstacle(Oid role)
{
	HeapTuple	tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(role));
	bool		can_login;

	if (!HeapTupleIsValid(tuple))
		return _("The role that subscribed was dropped.");
	can_login = ((Form_pg_authid) GETSTRUCT(tuple))->rolcanlogin;
	ReleaseSysCache(tuple);
	if (!can_login)
		return _("The role that subscribed does not have the attribute LOGIN.");
	if (pgqueue_database_aclcheck(MyDatabaseId, role, ACL_CONNECT) !=
		ACLCHECK_OK)
		return _("The role that subscribed may not connect to the database.");
	return NULL;
}

static bool
database_is_closed(void)
{
	HeapTuple	tuple = SearchSysCache1(DATABASEOID,
										ObjectIdGetDatum(MyDatabaseId));
	bool		closed;

	if (!HeapTupleIsValid(tuple))
		return true;
	closed = !((Form_pg_database) GETSTRUCT(tuple))->datallowconn;
	ReleaseSysCache(tuple);
	return closed;
}

/* Return why no worker can work as a role, as a sentence, or NULL if one can. */
const char *
pgqueue_worker_obstacle(Oid role)
{
	if (database_is_closed())
		return _("The database allows no connections.");
	return role_obstacle(role);
}

/* Check that workers can work as a role.  Errors: 42501. */
void
pgqueue_check_worker_role(Oid role)
{
	const char *obstacle = role_obstacle(role);

	if (obstacle != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("role \"%s\" cannot have background workers",
						GetUserNameFromId(role, false)),
				 errdetail("%s", obstacle),
				 errhint("A worker connects as the role that subscribes. Subscribe as a role that may log in and connect, or use workers => 0 and call queue.process() in a session.")));
}

/* ---------------- starting ---------------- */

static bool
runs(const WorkerTask *task)
{
	WorkerProcess ignored;

	return pgqueue_worker_process(task, &ignored);
}

/*
 * Start a worker, without waiting for it.  Return false if the server has no room
 * for it.  Raises no errors, and allocates nothing.
 */
static bool
start(const WorkerTask *task)
{
	BackgroundWorker worker;

	StaticAssertStmt(sizeof(WorkerTask) <= BGW_EXTRALEN, "no room for the task");
	pgqueue_worker_init(&worker, PGQUEUE_SUBSCRIPTION_WORKER,
						"pgqueue_worker_main", NULL);
	worker.bgw_main_arg = ObjectIdGetDatum(MyDatabaseId);
	memcpy(worker.bgw_extra, task, sizeof(*task));
	return RegisterDynamicBackgroundWorker(&worker, NULL);
}

/*
 * Start workers of a subscription as the user when the transaction commits: those
 * with the numbers from that of id to n.
 */
void
pgqueue_workers_start_at_commit(const WorkerId *id, int n)
{
	MemoryContext old = MemoryContextSwitchTo(TopTransactionContext);

	for (int number = id->number; number <= n; number++)
	{
		WorkerTask *task = palloc0(sizeof(WorkerTask));

		task->role = GetUserId();
		task->id = *id;
		task->id.number = number;
		asked = lappend(asked, task);
	}
	MemoryContextSwitchTo(old);
	/* not to be done after the commit */
	pgqueue_shared_attach();
}

/*
 * Start what was asked for, after the transaction has become visible.  What a
 * rollback to a savepoint has undone finds no row, and ends.
 */
static void
transaction_over(XactEvent event, void *arg)
{
	ListCell   *lc;
	int			room;

	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT &&
		event != XACT_EVENT_PREPARE)
		return;
	if (event == XACT_EVENT_COMMIT && asked != NIL)
	{
		room = pgqueue_workers_room();
		foreach(lc, asked)
			if (!runs(lfirst(lc)) &&
				(room-- <= 0 || !start(lfirst(lc))))
				break;
	}
	asked = NIL;
}

void
pgqueue_worker_start_init(void)
{
	RegisterXactCallback(transaction_over, NULL);
}

/* ---------------- in the maintenance worker ---------------- */

/* Return a worker's task, or false if it cannot be started, or is not wanted. */
static bool
task_of(const WorkerRow *row, WorkerTask *task)
{
	Subscription subscription;

	if (!pgqueue_subscription_read(row->id.group_id, row->id.topic_id,
								   &subscription))
		return false;
	memset(task, 0, sizeof(*task));
	task->id = row->id;
	task->role = pgqueue_role_oid(&subscription.owner);
	return pgqueue_worker_obstacle(task->role) == NULL;
}

static void
warn_of_limit(void)
{
	ereport(WARNING,
			(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			 errmsg("not all workers of subscriptions are started: no background worker is available"),
			 errhint("Raise max_worker_processes, half of which may be workers of subscriptions.")));
}

/*
 * Start the workers of this database that are missing.  Return false if none is
 * wanted at all.  In a transaction with a snapshot.
 */
bool
pgqueue_workers_start_missing(void)
{
	static bool warned = false;
	List	   *rows = pgqueue_worker_rows();
	int			room = pgqueue_workers_room();
	bool		limited = false;
	ListCell   *lc;

	foreach(lc, rows)
	{
		WorkerTask	task;

		if (!task_of(lfirst(lc), &task) || runs(&task))
			continue;
		limited = room-- <= 0 || !start(&task);
		if (limited)
			break;
	}
	if (limited && !warned)
		warn_of_limit();
	warned = limited;
	return rows != NIL;
}
