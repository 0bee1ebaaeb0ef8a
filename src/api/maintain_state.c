/*-------------------------------------------------------------------------
 *
 * maintain_state.c
 *	  What is known of the maintenance of each database since the server was
 *	  started: its worker and its last pass; for view queue.maintenance.
 *
 * Shared memory (base/shmem.c):
 *
 *	 +------+----------------------------------------------------+
 *	 | lock | 64 x Maintenance: database, worker, last pass, ... |
 *	 +------+----------------------------------------------------+
 *
 * An entry outlives the worker, not the server.  If all are in use, a database
 * gets that of the one whose entry has not been written for longest and that has
 * no worker; if there is none, nothing is known of the database.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/base.h"
#include "base/lock.h"
#include "topic/topic.h"
#include "api/maintain.h"

PG_FUNCTION_INFO_V1(pgqueue_maintenance_state);

#define STATE_TRANCHE "QueueMaintenance"
#define DATABASES 64

/* Users are told of limits without maintenance if no pass has ended for so long. */
#define PASS_SECONDS (60 * 60)

typedef struct Maintenance
{
	Oid			database;		/* invalid: the entry is free */
	TimestampTz written_at;
	int			pid;			/* of the worker; 0: none runs */
	Oid			started_by;		/* invalid: by the launcher */
	TimestampTz started_at;
	TimestampTz pass_begun;		/* the worker's current pass; 0: it does none */
	TimestampTz pass_ended;		/* the last pass, of any process; 0: none */
	TimestampTz pass_length;	/* of that, in microseconds */
	TimestampTz next_pass;		/* the worker's; 0: not known */
	bool		looked;			/* see maintain_persist.c */
} Maintenance;

typedef struct SharedMaintenance
{
	int			tranche;
	LWLock		lock;			/* of all entries */
	Maintenance entries[DATABASES];
} SharedMaintenance;

static SharedMaintenance *shared = NULL;

/* ---------------- shared memory ---------------- */

static void
init_state(void *memory)
{
	SharedMaintenance *s = memory;

	memset(s, 0, sizeof(SharedMaintenance));
	s->tranche = PGQUEUE_NEW_TRANCHE(STATE_TRANCHE);
	LWLockInitialize(&s->lock, s->tranche);
}

static void
state_attached(void *memory)
{
	shared = memory;
	PGQUEUE_REGISTER_TRANCHE(shared->tranche, STATE_TRANCHE);
}

/* Add the state to the shared memory; for _PG_init() alone. */
void
pgqueue_maintain_state_init(void)
{
	static const SharedPart part =
		{sizeof(SharedMaintenance), init_state, state_attached};

	pgqueue_shared_add(&part);
}

/*
 * Return the entry of this database, or NULL.  Locks: that of the entries,
 * exclusive.
 */
static Maintenance *
entry_to_write(void)
{
	Maintenance *best = NULL;

	for (int i = 0; i < DATABASES; i++)
	{
		Maintenance *entry = &shared->entries[i];

		if (entry->database == MyDatabaseId)
		{
			best = entry;
			break;
		}
		if (entry->pid == 0 &&
			(best == NULL || entry->written_at < best->written_at))
			best = entry;
	}
	if (best != NULL && best->database != MyDatabaseId)
		*best = (Maintenance) {.database = MyDatabaseId};
	if (best != NULL)
		best->written_at = GetCurrentTimestamp();
	return best;
}

/* Copy the entry of this database; all is 0 if there is none. */
static void
read_entry(Maintenance *copy)
{
	*copy = (Maintenance) {0};
	pgqueue_shared_attach();
	LWLockAcquire(&shared->lock, LW_SHARED);
	for (int i = 0; i < DATABASES; i++)
		if (shared->entries[i].database == MyDatabaseId)
			*copy = shared->entries[i];
	LWLockRelease(&shared->lock);
}

/* ---------------- what processes tell ---------------- */

/* Note that the worker has ended, so that a persistent one is looked for. */
static void
worker_ended(int code, Datum arg)
{
	Maintenance *entry;

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	entry = entry_to_write();
	if (entry != NULL && entry->pid == MyProcPid)
	{
		entry->pid = 0;
		entry->pass_begun = entry->next_pass = 0;
		entry->looked = false;
	}
	LWLockRelease(&shared->lock);
}

/*
 * Make this process the worker of the database, to its end.  Return false if there
 * is another one.  A session that finds the worker's lock held finds its entry.
 *
 * Locks: that of the worker, which is tried; a session's.
 */
bool
pgqueue_worker_begin(Oid started_by)
{
	LOCKTAG		tag = pgqueue_tag_of_database(PGQUEUE_LOCK_WORKER, MyDatabaseId);
	Maintenance *entry;

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	if (LockAcquire(&tag, ExclusiveLock, true, true) == LOCKACQUIRE_NOT_AVAIL)
	{
		LWLockRelease(&shared->lock);
		return false;
	}
	entry = entry_to_write();
	if (entry != NULL)
	{
		entry->pid = MyProcPid;
		entry->started_by = started_by;
		entry->started_at = entry->written_at;
		entry->looked = true;
	}
	LWLockRelease(&shared->lock);
	before_shmem_exit(worker_ended, (Datum) 0);
	return true;
}

/* Note that the worker begins a pass. */
void
pgqueue_pass_began(void)
{
	Maintenance *entry;

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	entry = entry_to_write();
	if (entry != NULL)
	{
		entry->pass_begun = entry->written_at;
		entry->next_pass = 0;
	}
	LWLockRelease(&shared->lock);
}

/*
 * Note that a pass over all topics has ended.  next: seconds to the worker's next
 * one; -1: this process is not the worker.
 */
void
pgqueue_pass_ended(TimestampTz begun, int next)
{
	Maintenance *entry;

	pgqueue_shared_attach();
	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	entry = entry_to_write();
	if (entry != NULL)
	{
		entry->pass_ended = entry->written_at;
		entry->pass_length = Max(entry->written_at - begun, 0);
		if (next >= 0)
		{
			entry->pass_begun = 0;
			entry->next_pass = entry->written_at + next * USECS_PER_SEC;
		}
	}
	LWLockRelease(&shared->lock);
}

/*
 * Note that the calling session looks for a persistent worker.  Return false if
 * another process has done so since the server was started, or the last worker
 * has ended; or if it cannot be noted.
 */
bool
pgqueue_persistent_begin(void)
{
	Maintenance *entry;
	bool		first;

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	entry = entry_to_write();
	first = entry != NULL && !entry->looked;
	if (first)
		entry->looked = true;
	LWLockRelease(&shared->lock);
	return first;
}

/* Have the next session look again: this one could not. */
void
pgqueue_persistent_undo(void)
{
	Maintenance *entry;

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	entry = entry_to_write();
	if (entry != NULL)
		entry->looked = false;
	LWLockRelease(&shared->lock);
}

/* ---------------- what users are told ---------------- */

/*
 * Raise a NOTICE if the topic has limits that only maintenance applies, and
 * there is none: no worker runs, or is about to, and no pass was made in an hour.
 */
void
pgqueue_remind_of_maintenance(const Topic *topic)
{
	Maintenance state;

	if (topic->retention == 0 && topic->retention_bytes == 0 &&
		!(topic->cleanup_policy & CLEANUP_COMPACT))
		return;
	read_entry(&state);
	if (state.pid != 0 ||
		(state.pass_ended != 0 &&
		 GetCurrentTimestamp() - state.pass_ended < PASS_SECONDS * USECS_PER_SEC) ||
		pgqueue_maintenance_expected())
		return;
	ereport(NOTICE,
			(errmsg("the limits of topic \"%s\" have no effect yet: maintenance is not running in this database",
					topic->name),
			 errhint("Start it with queue.start_maintenance(), or CALL queue.maintain() regularly.")));
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
	read_entry(&state);
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
