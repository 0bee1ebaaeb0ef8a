/*-------------------------------------------------------------------------
 *
 * wakeup.c
 *	  Sleeping until there may be something to read, and waking who sleeps.
 *
 * Shared memory, made on first use like the append slots (log_slot.c):
 *
 *	 +------+------+-----------------+---------------------------------------+
 *	 | lock | free | 256 x slot		 | 1,024 x entry						 |
 *	 |		|	   |  waiting u32	 |	woken u32, blocked u32, process,	 |
 *	 |		|	   |  first, last	 |	database, topic, group, partitions,	 |
 *	 |		|	   |				 |	next, prev							 |
 *	 +------+------+-----------------+---------------------------------------+
 *
 * A topic is hashed to a slot; a slot lists the entries of those who wait for
 * its topics, first come first.  Who waits for several topics has an entry in
 * each.
 *
 * waiting	entries of the slot.  Whoever produces reads it once at the end of
 *			the transaction, and does no more if it is 0.
 * woken	the waiter has been told since it last looked: to look, or that
 *			there are messages.
 * blocked	it found messages, but another transaction holds the partition.
 * partitions	those that it waits for, by number % 64: of a member those that
 *			it owns, else all.
 *
 * No wake-up is lost.	A waiter enters itself, then looks (snapshot, locks),
 * then sleeps.	 A producer becomes visible to new snapshots, then reads
 * waiting.	 Both have a memory barrier in between, so either the producer finds
 * the entry, or the waiter's look finds the message.  A consumer's locks: it
 * gives them back, then looks for entries that are blocked; a waiter sets
 * blocked before it looks whether a partition is held.  woken is cleared before
 * the waiter looks, so what is told during the look lets the sleep end at once.
 *
 * Only as many are woken as can find something: one of each group per partition
 * that was written to, or given back; members if it is one of theirs.	Whoever
 * consumes and leaves messages, or gives them back, wakes the next; so does who
 * gives back a partition that others found held.  A producer that aborts may have
 * held others' messages back.	Whoever is woken and does nothing costs the others
 * at most the time after which every waiter looks again.
 *
 * Notes of what a transaction did are kept until it ends, whatever its
 * subtransactions do: to wake once too often does no harm.
 *
 *-------------------------------------------------------------------------
 */
#include "queue.h"

#include "access/xact.h"
#include "commands/async.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "port/atomics.h"
#include "port/pg_bitutils.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "utils/guc.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"
#if PG_VERSION_NUM >= 170000
#include "storage/dsm_registry.h"
#endif

#define WAKEUP_LAYOUT	"queue waiters 1"
#define ANY_PARTITION	(~UINT64CONST(0))
#define WAKEUP_TRANCHE	"QueueWaiters"
#define WAKEUP_EVENT	"QueueWait"
#define SLOTS			256
#define ENTRIES			1024
#define NONE			(-1)

typedef struct WaitEntry
{
	pg_atomic_uint32 woken;
	pg_atomic_uint32 blocked;
	int32		process;		/* number of its PGPROC */
	Oid			database;
	int32		topic_id;
	int32		group;			/* 0: none yet */
	pg_atomic_uint64 partitions;	/* bits; ANY_PARTITION: who consumes */
	int32		next;			/* in the slot, or among the free ones */
	int32		prev;
} WaitEntry;

/* What a waiter is told. */
#define TOLD_TO_LOOK	1
#define TOLD_MESSAGES	2

typedef struct WaitSlot
{
	pg_atomic_uint32 waiting;
	int32		first;
	int32		last;
} WaitSlot;

typedef struct SharedWaiters
{
	int			tranche;
	LWLock		lock;			/* lists; shared to read them */
	int32		free;
	WaitSlot	slots[SLOTS];
	WaitEntry	entries[ENTRIES];
} SharedWaiters;

static SharedWaiters *shared = NULL;

/* queue.recheck_interval: a waiter looks again after so many milliseconds. */
static int	recheck_interval = 1000;

/* ---------------- shared memory ---------------- */

static void
init_waiters(void *ptr)
{
	SharedWaiters *s = ptr;

	s->tranche = LWLockNewTrancheId();
	LWLockInitialize(&s->lock, s->tranche);
	for (int i = 0; i < SLOTS; i++)
	{
		pg_atomic_init_u32(&s->slots[i].waiting, 0);
		s->slots[i].first = s->slots[i].last = NONE;
	}
	for (int i = 0; i < ENTRIES; i++)
	{
		pg_atomic_init_u32(&s->entries[i].woken, 0);
		pg_atomic_init_u32(&s->entries[i].blocked, 0);
		pg_atomic_init_u64(&s->entries[i].partitions, 0);
		s->entries[i].next = i + 1 < ENTRIES ? i + 1 : NONE;
	}
	s->free = 0;
}

static void
attach_waiters(void)
{
	bool		found;
	SharedWaiters *s;

#if PG_VERSION_NUM >= 170000
	s = GetNamedDSMSegment(WAKEUP_LAYOUT, sizeof(SharedWaiters), init_waiters,
						   &found);
#else
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	s = ShmemInitStruct(WAKEUP_LAYOUT, sizeof(SharedWaiters), &found);
	if (!found)
		init_waiters(s);
	LWLockRelease(AddinShmemInitLock);
#endif
	LWLockRegisterTranche(s->tranche, WAKEUP_TRANCHE);
	shared = s;
}

#if PG_VERSION_NUM < 170000
static shmem_request_hook_type previous_shmem_request = NULL;

static void
request_waiters(void)
{
	if (previous_shmem_request != NULL)
		previous_shmem_request();
	RequestAddinShmemSpace(MAXALIGN(sizeof(SharedWaiters)));
}
#endif

static WaitSlot *
slot_of(int32 topic_id)
{
	uint32		key = hash_combine(murmurhash32(MyDatabaseId),
								   murmurhash32((uint32) topic_id));

	return &shared->slots[key % SLOTS];
}

/* ---------------- what a transaction did ---------------- */

typedef struct Note
{
	int32		topic_id;
	int32		group;			/* 0: it produced */
	bool		more;			/* it left messages behind */
	uint64		partitions;		/* it wrote about: bit for number % 64 */
} Note;

#define NOTES 32

static Note notes[NOTES];
static int	nnotes = 0;

static Note *
note_of(int32 topic_id, int32 group)
{
	Note	   *note;

	for (int i = 0; i < nnotes; i++)
		if (notes[i].topic_id == topic_id && notes[i].group == group)
			return &notes[i];
	if (nnotes == NOTES)
		return NULL;			/* left to those who look again */
	if (shared == NULL)
		attach_waiters();
	note = &notes[nnotes++];
	note->topic_id = topic_id;
	note->group = group;
	note->more = false;
	note->partitions = 0;
	return note;
}

/* The transaction has produced.  Waiters learn of it when it is over. */
void
pgqueue_note_produced(const Topic *topic, int32 partition)
{
	Note	   *note = note_of(topic->id, 0);

	if (note != NULL)
		note->partitions |= UINT64CONST(1) << (partition % 64);
	if (unlikely(topic->notify))
		Async_Notify(topic->name, "");
}

/*
 * It has moved a group's offset in a partition, or may let others do so; more:
 * there is something left for them.
 */
void
pgqueue_note_progress(int32 group, int32 topic_id, int32 partition, bool more)
{
	Note	   *note = note_of(topic_id, group);

	if (note == NULL)
		return;
	note->partitions |= UINT64CONST(1) << (partition % 64);
	note->more |= more;
}

/* ---------------- waking ---------------- */

/* Groups that a note has woken somebody of, and how many. */
typedef struct WokenGroups
{
	int			n;
	struct
	{
		int32		group;
		int			woken;
	}			groups[16];
} WokenGroups;

/* How many of the group were woken so far; NULL: no room to count. */
static int *
woken_of(WokenGroups *woken, int32 group)
{
	for (int i = 0; i < woken->n; i++)
		if (woken->groups[i].group == group)
			return &woken->groups[i].woken;
	if (woken->n == lengthof(woken->groups))
		return NULL;
	woken->groups[woken->n].group = group;
	woken->groups[woken->n].woken = 0;
	return &woken->groups[woken->n++].woken;
}

/* Is the entry one of those that the note is about? */
static bool
concerns(const Note *note, WaitEntry *entry, bool isCommit)
{
	if (entry->topic_id != note->topic_id || entry->database != MyDatabaseId ||
		(pg_atomic_read_u64(&entry->partitions) & note->partitions) == 0)
		return false;
	if (note->group == 0)
		return true;
	if (entry->group != note->group)
		return false;
	return !isCommit || note->more || pg_atomic_read_u32(&entry->blocked) != 0;
}

/* Tell a waiter.  False if it has been told already. */
static bool
tell(WaitEntry *entry, uint32 what)
{
	uint32		before = pg_atomic_exchange_u32(&entry->woken, what);

	if (before > what)
		pg_atomic_write_u32(&entry->woken, before);
	if (before != 0)
		return false;
	SetLatch(&PGQUEUE_PROC_BY_NUMBER(entry->process)->procLatch);
	return true;
}

static void
wake(const Note *note, bool isCommit)
{
	WaitSlot   *slot = slot_of(note->topic_id);
	int			enough = pg_popcount64(note->partitions);
	uint32		what = note->group == 0 && isCommit ?
		TOLD_MESSAGES : TOLD_TO_LOOK;
	WokenGroups woken;

	if (pg_atomic_read_u32(&slot->waiting) == 0)
		return;
	woken.n = 0;
	LWLockAcquire(&shared->lock, LW_SHARED);
	for (int32 i = slot->first; i != NONE; i = shared->entries[i].next)
	{
		WaitEntry  *entry = &shared->entries[i];
		int		   *count = NULL;

		if (!concerns(note, entry, isCommit))
			continue;
		/*
		 * Who waits for a group yet to be made waits for each message; members
		 * cannot have each other's.
		 */
		if (entry->group != 0 &&
			pg_atomic_read_u64(&entry->partitions) == ANY_PARTITION)
			count = woken_of(&woken, entry->group);
		if (count != NULL && *count >= enough)
			continue;
		if (tell(entry, what) && count != NULL)
			(*count)++;
	}
	LWLockRelease(&shared->lock);
}

/* A group's partition was given back, in the middle of a transaction. */
void
pgqueue_wake_blocked(int32 group, int32 topic_id, int32 partition)
{
	Note		note = {0};

	if (shared == NULL)
		attach_waiters();
	note.topic_id = topic_id;
	note.group = group;
	note.partitions = UINT64CONST(1) << (partition % 64);
	pg_memory_barrier();
	wake(&note, true);
}

/*
 * A transaction has ended, and given back its locks; or a subtransaction was
 * rolled back, and what it has consumed is free again.	 Called for each of its
 * resource owners; for a transaction the first call does it all.  Must not fail.
 */
static void
transaction_over(ResourceReleasePhase phase, bool isCommit, bool isTopLevel,
				 void *arg)
{
	if (phase != RESOURCE_RELEASE_AFTER_LOCKS || nnotes == 0 ||
		(isCommit && !isTopLevel))
		return;
	pg_memory_barrier();
	for (int i = 0; i < nnotes; i++)
		wake(&notes[i], isCommit);
	if (isTopLevel)
		nnotes = 0;
}

/* ---------------- sleeping ---------------- */

static int32 own_entries[PGQUEUE_MAX_TOPICS];
static int	nown = 0;

/* Enter ourselves for a topic.	 If there is no room, we look every second. */
static void
enter(int32 topic_id, int32 group)
{
	WaitSlot   *slot = slot_of(topic_id);
	WaitEntry  *entry;
	int32		i;

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	i = shared->free;
	if (i != NONE)
	{
		entry = &shared->entries[i];
		shared->free = entry->next;
		pg_atomic_write_u32(&entry->woken, 0);
		pg_atomic_write_u32(&entry->blocked, 0);
		pg_atomic_write_u64(&entry->partitions, ANY_PARTITION);
		entry->process = PGQUEUE_MY_PROC_NUMBER;
		entry->database = MyDatabaseId;
		entry->topic_id = topic_id;
		entry->group = group;
		entry->next = NONE;
		entry->prev = slot->last;
		if (slot->last == NONE)
			slot->first = i;
		else
			shared->entries[slot->last].next = i;
		slot->last = i;
		pg_atomic_fetch_add_u32(&slot->waiting, 1);
		own_entries[nown++] = i;
	}
	LWLockRelease(&shared->lock);
}

/*
 * Begin to wait for topics on behalf of a group (0: it does not exist yet).
 * The caller must see to it that pgqueue_wait_end() is called, whatever
 * happens (PG_ENSURE_ERROR_CLEANUP).
 */
void
pgqueue_wait_begin(const int32 *topic_ids, int ntopics, int32 group)
{
	if (shared == NULL)
		attach_waiters();
	pgqueue_wait_end(0, (Datum) 0);
	for (int i = 0; i < ntopics; i++)
		enter(topic_ids[i], group);
}

/* A before_shmem_exit callback, too. */
void
pgqueue_wait_end(int code, Datum arg)
{
	if (nown == 0)
		return;
	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < nown; i++)
	{
		WaitEntry  *entry = &shared->entries[own_entries[i]];
		WaitSlot   *slot = slot_of(entry->topic_id);

		if (entry->prev == NONE)
			slot->first = entry->next;
		else
			shared->entries[entry->prev].next = entry->next;
		if (entry->next == NONE)
			slot->last = entry->prev;
		else
			shared->entries[entry->next].prev = entry->prev;
		pg_atomic_fetch_sub_u32(&slot->waiting, 1);
		entry->next = shared->free;
		shared->free = own_entries[i];
	}
	nown = 0;
	LWLockRelease(&shared->lock);
}

/* Before each look: what happens from here on ends the sleep after it. */
void
pgqueue_wait_look(void)
{
	ResetLatch(MyLatch);
	for (int i = 0; i < nown; i++)
	{
		pg_atomic_write_u32(&shared->entries[own_entries[i]].blocked, 1);
		pg_atomic_write_u32(&shared->entries[own_entries[i]].woken, 0);
	}
	pg_memory_barrier();
}

/*
 * After a look that found nothing: sleep until told, or until it is time to look
 * again, or for the timeout in milliseconds.  blocked: something was held by
 * others; partitions: those that matter.  Returns whether it was told that there
 * are messages; they may be gone, or not to be read yet.
 */
bool
pgqueue_wait_sleep(int64 timeout, bool blocked, uint64 partitions)
{
	static uint32 event = 0;
	bool		told = false;

	if (event == 0)
		event = PGQUEUE_WAIT_EVENT(WAKEUP_EVENT);
	for (int i = 0; i < nown; i++)
	{
		WaitEntry  *entry = &shared->entries[own_entries[i]];

		pg_atomic_write_u64(&entry->partitions, partitions);
		if (!blocked)
			pg_atomic_write_u32(&entry->blocked, 0);
	}
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					 Min(timeout, recheck_interval), event);
	CHECK_FOR_INTERRUPTS();
	for (int i = 0; i < nown; i++)
		told |= pg_atomic_read_u32(&shared->entries[own_entries[i]].woken) ==
			TOLD_MESSAGES;
	return told;
}

void
pgqueue_wakeup_init(void)
{
	DefineCustomIntVariable("queue.recheck_interval",
							"Sets how often a session that waits for messages looks itself.",
							"Commits wake it; this is for what cannot: prepared "
							"transactions, leases that run out, and a standby.",
							&recheck_interval,
							1000, 10, INT_MAX,
							PGC_USERSET,
							GUC_UNIT_MS,
							NULL, NULL, NULL);
	RegisterResourceReleaseCallback(transaction_over, NULL);
#if PG_VERSION_NUM < 170000
	if (!process_shared_preload_libraries_in_progress)
		return;
	previous_shmem_request = shmem_request_hook;
	shmem_request_hook = request_waiters;
#endif
}
