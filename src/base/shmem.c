/*-------------------------------------------------------------------------
 *
 * shmem.c
 *    Shared memory: make it or find it, once in a backend.
 *
 * Sessions with libraries of several versions meet in it (README, section 2).
 * So there is one structure, under one name for ever, and its first four bytes,
 * for ever, say which layout is in use:
 *
 *    "queue"                "queue state"
 *    +---------+--------+   +--------------+-----------+------------------+----------------+
 *    | version | unused |   | append slots | waiters   | maintenance      | workers        |
 *    | u32     | 60 B   |   | log/slot.c   | waiters.c | maintain_state.c | worker_state.c |
 *    +---------+--------+   +--------------+-----------+------------------+----------------+
 *
 * version 0: the state is not made yet.  A library that needs another version
 * than it finds refuses to work until the server is restarted.  "queue" has one
 * size for ever, since the server compares sizes; "queue state" is looked up
 * only after the version was found to be right.
 *
 * The version stands for all that sessions agree upon, besides tables and
 * files: the layout of the state, the meaning of its fields, the lock tags
 * (lock_tag.h), the arguments of background workers; and columns of tables that
 * no library may leave out (CONTRIBUTING.md).  Raise PGQUEUE_SHARED_VERSION when any
 * of these changes.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/memutils.h"

#include "base/base.h"

/* Never change these two. */
#define HEADER_NAME		"queue"
#define HEADER_SIZE		64

#define STATE_NAME		"queue state"

/* The parts of the state, in the order in which _PG_init() adds them. */
#define MAX_PARTS	4

static const SharedPart *parts[MAX_PARTS];
static int	nparts = 0;

bool		pgqueue_shared_attached = false;

/*
 * Half of the memory that a session keeps for its next call.  A call's memory is
 * freed at its end, and what is free behind all that is in use goes back to the
 * system if it is more than 128 kB; the next call then gets it again, with a page
 * fault for every 4 kB.  The GNU C library raises that bound to twice the size of
 * the largest block of its own mapping that was freed (mallopt(3)), unless an
 * administrator has set it; other libraries have no such bound.
 */
#define KEPT_BYTES	(1024 * 1024)

static Size
state_size(void)
{
	Size		size = 0;

	for (int i = 0; i < nparts; i++)
		size = add_size(size, CACHELINEALIGN(parts[i]->size));
	return size;
}

static void
init_header(void *memory)
{
	memset(memory, 0, HEADER_SIZE);
}

static void
init_state(void *memory)
{
	char	   *place = memory;

	for (int i = 0; i < nparts; i++)
	{
		parts[i]->init(place);
		place += CACHELINEALIGN(parts[i]->size);
	}
}

/* Have the session keep some memory.  Errors: 53200. */
static void
keep_memory(void)
{
	pfree(MemoryContextAlloc(TopMemoryContext, KEPT_BYTES));
}

/*
 * Attach to the shared memory, if that has not been done.
 *
 * Errors: 55000 if it has another version; 53200 if there is no room for it.
 */
void
pgqueue_shared_attach(void)
{
	uint32	   *version;
	uint32		found;
	char	   *place;

	if (pgqueue_shared_attached)
		return;
	keep_memory();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	version = pgqueue_named_memory(HEADER_NAME, HEADER_SIZE, init_header);
	found = *version;
	if (found != 0 && found != PGQUEUE_SHARED_VERSION)
	{
		LWLockRelease(AddinShmemInitLock);
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("this server's shared memory was made by another version of the \"queue\" library"),
				 errdetail("It has layout %u; the library of this session needs layout %u.",
						   found, (uint32) PGQUEUE_SHARED_VERSION),
				 errhint("Restart the server, so that all sessions load the same library.")));
	}
	place = pgqueue_named_memory(STATE_NAME, state_size(), init_state);
	*version = PGQUEUE_SHARED_VERSION;
	LWLockRelease(AddinShmemInitLock);

	for (int i = 0; i < nparts; i++)
	{
		parts[i]->attached(place);
		place += CACHELINEALIGN(parts[i]->size);
	}
	pgqueue_shared_attached = true;
	pgqueue_note_use();
}

/*
 * Called once in a session that may write and is attached; NULL: it was, or is
 * not to be.  May not raise errors, nor take heavyweight locks: the session may be
 * in the middle of anything.
 */
void		(*pgqueue_first_use) (void) = NULL;

/* Note that the session uses the library. */
void
pgqueue_note_use(void)
{
	void		(*first_use) (void) = pgqueue_first_use;

	if (likely(first_use == NULL) || !pgqueue_shared_attached ||
		RecoveryInProgress())
		return;
	pgqueue_first_use = NULL;
	first_use();
}

/* ---------------- when the library is loaded ---------------- */

/* Add a part; for _PG_init() alone. */
void
pgqueue_shared_add(const SharedPart *part)
{
	Assert(nparts < MAX_PARTS);
	parts[nparts++] = part;
}

#if PG_VERSION_NUM < 170000
static shmem_request_hook_type previous_shmem_request = NULL;

static void
request_memory(void)
{
	if (previous_shmem_request != NULL)
		previous_shmem_request();
	RequestAddinShmemSpace(HEADER_SIZE);
	RequestAddinShmemSpace(MAXALIGN(state_size()));
}

#endif

/*
 * Have the memory set aside, if the library is preloaded.  It need not be: the
 * state fits what the server keeps spare, unless a full lock table has used
 * that up.
 */
void
pgqueue_shared_init(void)
{
#if PG_VERSION_NUM < 170000
	if (!process_shared_preload_libraries_in_progress)
		return;
	previous_shmem_request = shmem_request_hook;
	shmem_request_hook = request_memory;
#endif
}
