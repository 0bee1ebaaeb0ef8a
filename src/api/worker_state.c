/*-------------------------------------------------------------------------
 *
 * worker_state.c
 *	  Which processes work for subscriptions at this moment.
 *
 * Shared memory (base/shmem.c):
 *
 *	 +------+----------------------------------------------------------------+
 *	 | lock | 128 x WorkerProcess: database, role, group, topic, number, pid |
 *	 +------+----------------------------------------------------------------+
 *
 * A lock of the session would not do: handlers can release all of these.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "postmaster/bgworker_internals.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "utils/timestamp.h"

#include "base/base.h"
#include "api/worker.h"

#define WORKERS_TRANCHE "QueueWorkers"
#define WORKERS 128

typedef struct SharedWorkers
{
	int			tranche;
	LWLock		lock;			/* of all entries */
	WorkerProcess entries[WORKERS];
} SharedWorkers;

static SharedWorkers *shared = NULL;

/* This process's. */
static WorkerProcess *own = NULL;

static void
init_state(void *memory)
{
	SharedWorkers *s = memory;

	memset(s, 0, sizeof(SharedWorkers));
	s->tranche = PGQUEUE_NEW_TRANCHE(WORKERS_TRANCHE);
	LWLockInitialize(&s->lock, s->tranche);
}

static void
state_attached(void *memory)
{
	shared = memory;
	PGQUEUE_REGISTER_TRANCHE(shared->tranche, WORKERS_TRANCHE);
}

/* Add the state to the shared memory; for _PG_init() alone. */
void
pgqueue_worker_state_init(void)
{
	static const SharedPart part =
		{sizeof(SharedWorkers), init_state, state_attached};

	pgqueue_shared_add(&part);
}

/*
 * Return how many workers there may be in the server: half of all background workers,
 * so that the others are left to segments, maintenance and parallel queries.
 */
static int
limit(void)
{
	return Min(WORKERS, Max(max_worker_processes / 2, 1));
}

/*
 * Find the entry of a task in this database; NULL: none.  Set *n to the number of
 * entries in use, and *unused to a free one.  Locks: that of the entries.
 */
static WorkerProcess *
find(const WorkerTask *task, int *n, WorkerProcess **unused)
{
	WorkerProcess *found = NULL;

	*n = 0;
	*unused = NULL;
	for (int i = 0; i < WORKERS; i++)
	{
		WorkerProcess *entry = &shared->entries[i];

		if (!OidIsValid(entry->database))
		{
			*unused = entry;
			continue;
		}
		(*n)++;
		if (task != NULL && entry->database == MyDatabaseId &&
			memcmp(&entry->task, task, sizeof(WorkerTask)) == 0)
			found = entry;
	}
	return found;
}

/* Note that this process does not work for the task any more. */
void
pgqueue_worker_release(void)
{
	if (own == NULL)
		return;
	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	own->database = InvalidOid;
	own = NULL;
	LWLockRelease(&shared->lock);
}

static void
release_at_exit(int code, Datum arg)
{
	pgqueue_worker_release();
}

/*
 * Make this process the one that works for a task, to its end.  Return false if
 * another process does, or if there are too many.
 */
bool
pgqueue_worker_claim(const WorkerTask *task)
{
	static bool registered = false;
	WorkerProcess *unused;
	int			n;

	Assert(own == NULL);
	if (!registered)
		before_shmem_exit(release_at_exit, (Datum) 0);
	registered = true;
	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	if (find(task, &n, &unused) == NULL && n < limit())
	{
		own = unused;
		*own = (WorkerProcess) {
			.database = MyDatabaseId,
			.task = *task,
			.pid = MyProcPid,
			.started_at = GetCurrentTimestamp()
		};
	}
	LWLockRelease(&shared->lock);
	return own != NULL;
}

/* Find the process that works for a task.  Return false if there is none. */
bool
pgqueue_worker_process(const WorkerTask *task, WorkerProcess *copy)
{
	WorkerProcess *unused;
	WorkerProcess *found;
	int			n;

	pgqueue_shared_attach();
	LWLockAcquire(&shared->lock, LW_SHARED);
	found = find(task, &n, &unused);
	if (found != NULL)
		*copy = *found;
	LWLockRelease(&shared->lock);
	return found != NULL;
}

/* Return how many other workers can begin. */
int
pgqueue_workers_room(void)
{
	WorkerProcess *unused;
	int			n;

	pgqueue_shared_attach();
	LWLockAcquire(&shared->lock, LW_SHARED);
	(void) find(NULL, &n, &unused);
	LWLockRelease(&shared->lock);
	return limit() - n;
}
