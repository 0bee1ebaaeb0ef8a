/*-------------------------------------------------------------------------
 *
 * maintain_persist.c
 *	  Persistent maintenance: a worker that comes back after a restart of the
 *	  server, without preloading.
 *
 * queue.start_maintenance(persistent => true) stores a row with the role that
 * asked; queue.stop_maintenance() deletes it.  After a restart no process of the
 * server knows of the row.  So the first session that uses the library registers
 * a worker, without looking into the table: it may have no right to, and may be
 * in the middle of anything.  The worker looks: it ends at once if there is no
 * row, or if the role that is stored may not start maintenance any more
 * (README, section 16).
 *
 * The row says for which database it is, so that a copy made by CREATE DATABASE
 * has no worker of its own, and it is not dumped.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "commands/dbcommands.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "base/base.h"
#include "base/lock.h"
#include "api/maintain.h"

/* Columns of queue.persistent_maintenance. */
#define PERSISTENT_ATTR_DATABASE	1
#define PERSISTENT_ATTR_ROLE		2
#define PERSISTENT_ATTR_AT			3
#define PERSISTENT_NATTS			3

/* How often the worker tries to get the lock, in milliseconds. */
#define TRY_INTERVAL 100

/* Begin to scan for this database's row. */
static void
scan_row(RegistryScan *scan, LOCKMODE mode, Snapshot snapshot)
{
	*scan = (RegistryScan) {0};
	pgqueue_registry_key(scan, PERSISTENT_ATTR_DATABASE, BTEqualStrategyNumber,
						 F_OIDEQ, ObjectIdGetDatum(MyDatabaseId));
	pgqueue_registry_scan(scan, REGISTRY_PERSISTENT_MAINTENANCE, mode, snapshot);
}

/* Read the role of the row.  Return false if there is no row. */
static bool
read_role(RoleRef *role)
{
	RegistryScan scan;
	HeapTuple	tuple;

	scan_row(&scan, AccessShareLock, SnapshotSelf);
	tuple = pgqueue_registry_next(&scan);
	if (HeapTupleIsValid(tuple))
		pgqueue_role_read(pgqueue_registry_column(&scan, tuple,
												  PERSISTENT_ATTR_ROLE), role);
	pgqueue_registry_end(&scan);
	return HeapTupleIsValid(tuple);
}

/*
 * Make maintenance persistent, on behalf of the user.
 *
 * Locks: that of the starter, to the end of the transaction.
 */
void
pgqueue_persistent_store(void)
{
	Datum		values[PERSISTENT_NATTS] = {
		ObjectIdGetDatum(MyDatabaseId),
		pgqueue_role_datum(GetUserId()),
		TimestampTzGetDatum(GetCurrentTimestamp())
	};
	bool		nulls[PERSISTENT_NATTS] = {false};

	(void) pgqueue_persistent_delete();
	CommandCounterIncrement();
	pgqueue_registry_insert(REGISTRY_PERSISTENT_MAINTENANCE, PERSISTENT_NATTS,
							values, nulls);
}

/*
 * Make maintenance not persistent.  Return false if it was not.
 *
 * Locks: that of the starter, to the end of the transaction.
 */
bool
pgqueue_persistent_delete(void)
{
	RegistryScan scan;

	scan_row(&scan, RowExclusiveLock, SnapshotSelf);
	return pgqueue_registry_delete(&scan) > 0;
}

/*
 * Return true if a session will start a worker, or the launcher, if none runs.
 */
bool
pgqueue_maintenance_expected(void)
{
	RoleRef		role;

	return pgqueue_has_launcher ||
		(read_role(&role) &&
		 pgqueue_may_start_maintenance(pgqueue_role_oid(&role)));
}

/* ---------------- in a session ---------------- */

/*
 * Register a worker that looks whether maintenance is persistent, if no process
 * has done so.  A session does it once, with the database's first such session
 * since the server was started, or since the worker ended.
 */
static void
look_for_persistent(void)
{
	if (MyBgworkerEntry != NULL || !OidIsValid(MyDatabaseId) ||
		!pgqueue_persistent_begin())
		return;
	if (!pgqueue_register_maintenance(MyDatabaseId, PGQUEUE_RESTART_SECONDS,
									  (WorkerStart) {.persistent = true}, NULL))
		pgqueue_persistent_undo();
}

void
pgqueue_maintain_persist_init(void)
{
	if (!pgqueue_has_launcher && !IsBinaryUpgrade)
		pgqueue_first_use = look_for_persistent;
}

/* ---------------- in the worker ---------------- */

/*
 * Return true if maintenance is persistent, and its role may still start it;
 * *role: that one.
 */
static bool
is_persistent(Oid *role)
{
	RoleRef		stored;

	if (!OidIsValid(get_extension_oid("queue", true)) || !read_role(&stored))
		return false;
	*role = pgqueue_role_oid(&stored);
	if (pgqueue_may_start_maintenance(*role))
		return true;
	ereport(LOG,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("persistent maintenance of database \"%s\" is not started",
					get_database_name(MyDatabaseId)),
			 errdetail("The role that asked for it may not start maintenance any more."),
			 errhint("Call queue.start_maintenance(persistent => true) again.")));
	return false;
}

/*
 * Begin a transaction in which the worker of persistent maintenance begins, and
 * in which no session starts or stops one.  Return false if the worker must not
 * begin; the process then ends.
 *
 * Waits for the lock outside of transactions, so that the process can be ended.
 */
bool
pgqueue_persistent_worker_begin(Oid *role)
{
	MemoryContext context = CurrentMemoryContext;
	volatile bool begun = false;

	while (!ShutdownRequestPending)
	{
		pgqueue_begin_transaction();
		if (pgqueue_lock(pgqueue_tag_of_database(PGQUEUE_LOCK_STARTER,
												 MyDatabaseId),
						 ExclusiveLock, false))
			break;
		CommitTransactionCommand();
		pgqueue_nap(TRY_INTERVAL);
	}
	if (ShutdownRequestPending)
		return false;
	PG_TRY();
	{
		begun = is_persistent(role);
		if (!begun)
			CommitTransactionCommand();
	}
	PG_CATCH();
	{
		/* the postmaster must not start it again and again */
		pgqueue_report_failure(context);
	}
	PG_END_TRY();
	return begun;
}
