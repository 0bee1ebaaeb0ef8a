/*-------------------------------------------------------------------------
 *
 * waiters.c
 *	  Put sessions to sleep until there may be something to read, and wake them.
 *
 * Shared memory (base/shmem.c):
 *
 *	 +------+------+----------------+----------------------------------------+
 *	 | lock | free | 256 x slot     | 1,024 x entry                          |
 *	 |      |      |  waiting u32   |  woken u32, blocked u32, wanted u64,   |
 *	 |      |      |  first, last   |  filtered, process, database, topic,   |
 *	 |      |      |                |  group, head, next, prev               |
 *	 +------+------+----------------+----------------------------------------+
 *
 * A topic is hashed to a slot; a slot lists the entries of the sessions that
 * wait for its topics, in the order of their arrival.  A session has an entry
 * for each of its topics; the first of them is the head of the others.
 *
 * waiting   number of the slot's entries; if it is 0, a producer does no more.
 * woken     (head's)  the waiter was told since it last looked.
 * blocked   (head's)  another transaction blocks the waiter: it holds a partition
 *           that has messages, or has produced before them.
 * filtered  the waiter may read some partitions only: it is a member, or has
 *           named them.
 * wanted    these: bit for number % 64; for a member also those that are not used
 *           yet, which it may come to own.
 *
 * No wake-up is lost.  A waiter registers, then looks (snapshot, locks), then
 * sleeps.  A producer becomes visible to new snapshots, then reads waiting.
 * Both have a memory barrier in between, so either the producer finds the
 * entry, or the waiter's look finds the message.  A transaction that blocked
 * others releases its locks, or aborts, then looks for entries that are
 * blocked; a waiter sets blocked before it looks whether a transaction blocks
 * it.  In the same way it sets all bits of wanted before it looks which
 * partitions are its own, and clears woken.
 *
 * Only as many waiters are woken as can find something: one of each group for
 * each partition that was written to, and all filtered ones that want one of
 * these.  A waiter that was told and has not looked yet does not count.  A
 * consumer that leaves messages, or releases its partition, wakes the next
 * waiter; so does a waiter that leaves after it was told and before it looked.
 * A waiter that looks, and then does nothing, delays the others at most for
 * queue.recheck_interval.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "pgstat.h"
#include "storage/proc.h"

#include "base/base.h"
#include "base/client.h"
#include "wait/wait.h"

#define WAKEUP_TRANCHE	"QueueWaiters"
#define WAKEUP_EVENT	"QueueWait"

#define NONE			(-1)

/* What a waiter is told. */
#define TOLD_TO_LOOK	1
#define TOLD_MESSAGES	2		/* a transaction has produced */

#define SLOTS			256
#define ENTRIES			PGQUEUE_MAX_WAITERS

typedef struct WaitEntry
{
	pg_atomic_uint32 woken;
	pg_atomic_uint32 blocked;
	pg_atomic_uint64 wanted;
	bool		filtered;
	int32		process;		/* number of its PGPROC */
	Oid			database;
	int32		topic_id;
	int32		group;			/* 0: does not exist yet */
	int32		head;			/* the process's first entry */
	int32		next;			/* in the slot, or among the free ones */
	int32		prev;
} WaitEntry;

typedef struct WaitSlot
{
	pg_atomic_uint32 waiting;
	int32		first;
	int32		last;
} WaitSlot;

typedef struct SharedWaiters
{
	int			tranche;
	LWLock		lock;			/* of the lists; shared to read them */
	int32		free;
	WaitSlot	slots[SLOTS];
	WaitEntry	entries[ENTRIES];
} SharedWaiters;

static SharedWaiters *shared = NULL;

/* queue.recheck_interval: a waiter looks again after so many milliseconds. */
int			pgqueue_recheck_interval = 1000;

/* ---------------- shared memory ---------------- */

static void
init_waiters(void *memory)
{
	SharedWaiters *s = memory;

	s->tranche = PGQUEUE_NEW_TRANCHE(WAKEUP_TRANCHE);
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
		pg_atomic_init_u64(&s->entries[i].wanted, 0);
		s->entries[i].next = i + 1 < ENTRIES ? i + 1 : NONE;
	}
	s->free = 0;
}

static void
waiters_attached(void *memory)
{
	shared = memory;
	PGQUEUE_REGISTER_TRANCHE(shared->tranche, WAKEUP_TRANCHE);
}

/* Add the waiters to the shared memory; for _PG_init() alone. */
void
pgqueue_waiters_init(void)
{
	static const SharedPart part =
		{sizeof(SharedWaiters), init_waiters, waiters_attached};

	pgqueue_shared_add(&part);
}

static WaitSlot *
slot_of(int32 topic_id)
{
	uint32		key = hash_combine(murmurhash32(MyDatabaseId),
								   murmurhash32((uint32) topic_id));

	return &shared->slots[key % SLOTS];
}

/* ---------------- waking ---------------- */

/* Groups of which a note has woken waiters, and how many of each. */
typedef struct WokenGroups
{
	int			n;
	struct
	{
		int32		group;
		int			woken;
	}			groups[16];
} WokenGroups;

/* Return where a group's woken waiters are counted, or NULL: no room. */
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

/* Return true if the note concerns the entry. */
static bool
concerns(const Note *note, WaitEntry *entry, bool isCommit)
{
	WaitEntry  *head = &shared->entries[entry->head];
	bool		blocked = pg_atomic_read_u32(&head->blocked) != 0;
	uint64		partitions = note->partitions | (isCommit ? 0 : note->held);

	if (entry->topic_id != note->topic_id || entry->database != MyDatabaseId)
		return false;
	/* a surplus member wants no partition, until another member leaves */
	if (!note->everyone &&
		(pg_atomic_read_u64(&entry->wanted) & partitions) == 0)
		return false;
	if (note->group == 0)
		return isCommit || blocked;
	if (entry->group != note->group)
		return false;
	return blocked || (isCommit && note->more);
}

/* Tell a waiter.  Return false if it was told, and has not looked yet. */
static bool
tell(WaitEntry *entry, uint32 what)
{
	pg_atomic_uint32 *woken = &shared->entries[entry->head].woken;
	uint32		before = pg_atomic_exchange_u32(woken, what);

	if (before > what)
		pg_atomic_write_u32(woken, before);
	if (before != 0)
		return false;
	SetLatch(&GetPGProcByNumber(entry->process)->procLatch);
	return true;
}

/*
 * Wake the waiters that a note concerns.  isCommit: the (sub)transaction has
 * committed.  Must not fail.
 */
void
pgqueue_waiters_wake(const Note *note, bool isCommit)
{
	WaitSlot   *slot = slot_of(note->topic_id);
	uint32		what = note->group == 0 && isCommit && !note->undone &&
		note->n < ENTRIES ? TOLD_MESSAGES : TOLD_TO_LOOK;
	WokenGroups woken;

	if (pg_atomic_read_u32(&slot->waiting) == 0)
		return;
	woken.n = 0;
	LWLockAcquire(&shared->lock, LW_SHARED);
	for (int32 i = slot->first; i != NONE; i = shared->entries[i].next)
	{
		WaitEntry  *entry = &shared->entries[i];
		int		   *count;

		if (!concerns(note, entry, isCommit))
			continue;
		/* a waiter of a group that does not exist yet waits for each message */
		count = entry->group == 0 || entry->filtered ? NULL :
			woken_of(&woken, entry->group);
		if (count != NULL && *count >= Max(note->n, 1))
			continue;
		if (tell(entry, what) && count != NULL)
			(*count)++;
	}
	LWLockRelease(&shared->lock);
}

/*
 * Tell another waiter of the group of an entry, the waiter of which leaves
 * after it was told and before it looked.  Locks: that of the lists,
 * exclusively.
 */
static void
pass_on(const WaitEntry *left)
{
	if (left->group == 0 || left->filtered)
		return;					/* all others that it concerns were told, too */
	for (int32 i = slot_of(left->topic_id)->first; i != NONE;
		 i = shared->entries[i].next)
	{
		WaitEntry  *entry = &shared->entries[i];

		if (entry->topic_id == left->topic_id &&
			entry->database == left->database &&
			entry->group == left->group && !entry->filtered &&
			tell(entry, TOLD_TO_LOOK))
			return;
	}
}

/* ---------------- sleeping ---------------- */

/*
 * Entries of this session, in the order of its topics, the head first.  If
 * there is no room for all, the session has to look by itself.
 */
static WaitEntry *own[PGQUEUE_MAX_TOPICS];
static int	nown = 0;

/* Register this session for a topic, if there is room. */
static void
enter(int32 topic_id, int32 group, bool filtered)
{
	WaitSlot   *slot = slot_of(topic_id);
	int32		i;

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	i = shared->free;
	if (i != NONE)
	{
		WaitEntry  *entry = &shared->entries[i];

		own[nown++] = entry;
		shared->free = entry->next;
		pg_atomic_write_u32(&entry->woken, 0);
		pg_atomic_write_u32(&entry->blocked, 0);
		pg_atomic_write_u64(&entry->wanted, PGQUEUE_ALL_PARTITIONS);
		entry->filtered = filtered;
		entry->process = MyProcNumber;
		entry->database = MyDatabaseId;
		entry->topic_id = topic_id;
		entry->group = group;
		entry->head = own[0] - shared->entries;
		entry->next = NONE;
		entry->prev = slot->last;
		if (slot->last == NONE)
			slot->first = i;
		else
			shared->entries[slot->last].next = i;
		slot->last = i;
		pg_atomic_fetch_add_u32(&slot->waiting, 1);
	}
	LWLockRelease(&shared->lock);
}

/*
 * Begin to wait for topics on behalf of a group (0: it does not exist yet).
 * The caller ensures that pgqueue_wait_end() is called, also after an error.
 */
void
pgqueue_wait_begin(const int32 *topic_ids, int ntopics, int32 group,
				   bool filtered)
{
	pgqueue_shared_attach();
	pgqueue_wait_end(0, (Datum) 0);
	for (int i = 0; i < ntopics && nown == i; i++)
		enter(topic_ids[i], group, filtered);
}

/* Remove an entry from its slot. */
static void
unlink_entry(WaitEntry *entry)
{
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
}

/* End waiting.  Also a before_shmem_exit callback. */
void
pgqueue_wait_end(int code, Datum arg)
{
	bool		told;

	if (nown == 0)
		return;
	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	told = pg_atomic_read_u32(&own[0]->woken) != 0;
	for (int i = 0; i < nown; i++)
	{
		unlink_entry(own[i]);
		if (told)
			pass_on(own[i]);
		own[i]->next = shared->free;
		shared->free = own[i] - shared->entries;
	}
	nown = 0;
	LWLockRelease(&shared->lock);
}

/*
 * Prepare a look: a note that arrives from here on ends the sleep after it.  An
 * interrupt that had set the latch is processed here.
 */
void
pgqueue_wait_look(void)
{
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	for (int i = 0; i < nown; i++)
		pg_atomic_write_u64(&own[i]->wanted, PGQUEUE_ALL_PARTITIONS);
	if (nown > 0)
	{
		pg_atomic_write_u32(&own[0]->blocked, 1);
		pg_atomic_write_u32(&own[0]->woken, 0);
	}
	pg_memory_barrier();
}

/* Make the session look again: earlier commits have not told it. */
void
pgqueue_wait_again(void)
{
	if (nown > 0)
		tell(own[0], TOLD_TO_LOOK);
}

/*
 * Sleep, after a look that found nothing, until told, or until it is time to
 * look again, or for the timeout in milliseconds.  blocked: other transactions
 * block the session.  wanted: of each topic, the partitions that it may read,
 * by their bits.  Return true if a transaction has produced; the messages may
 * be gone by now, or not be readable yet.
 *
 * The entry tells, not the latch: the server's timers set the latch, too, even
 * stopped ones, and a wait for a lock during the look resets it.
 *
 * Errors: FATAL 08006 if the client is gone, also if the waiter was told: what it
 * would take, another waiter can use, which wait_end tells.
 */
bool
pgqueue_wait_sleep(int64 timeout, bool blocked, const uint64 *wanted)
{
	static uint32 event = 0;
	int64		ms = Min(timeout, pgqueue_recheck_interval);
	TimestampTz end = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), ms);
	uint32		told;

	if (event == 0)
		event = WaitEventExtensionNew(WAKEUP_EVENT);
	if (nown > 0 && !blocked)
		pg_atomic_write_u32(&own[0]->blocked, 0);
	for (int i = 0; i < nown; i++)
		pg_atomic_write_u64(&own[i]->wanted, wanted[i]);
	for (;;)
	{
		/* before told is read: it may reset the latch */
		pgqueue_check_client();
		told = nown == 0 ? 0 : pg_atomic_read_u32(&own[0]->woken);
		if (told != 0 || ms <= 0)
			break;
		pgqueue_sleep(ms, event);
		ms = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), end);
	}
	return told == TOLD_MESSAGES;
}

/* Clear what this session was told: it handles it without another look. */
void
pgqueue_wait_acknowledge(void)
{
	if (nown > 0)
		pg_atomic_write_u32(&own[0]->woken, 0);
}
