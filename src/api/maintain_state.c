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

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "utils/timestamp.h"

#include "base/base.h"
#include "base/lock.h"
#include "api/maintain.h"

#define STATE_TRANCHE "QueueMaintenance"
#define DATABASES 64

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
void
pgqueue_maintenance_read(Maintenance *copy)
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
