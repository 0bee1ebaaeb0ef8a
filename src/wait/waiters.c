/*-------------------------------------------------------------------------
 *
 * waiters.c
 *	  Put sessions to sleep until there may be something to read, and wake them.
 *
 * Shared memory, made on first use (base/shmem.c, where its version is):
 *
 *	 +------+------+----------------+----------------------------------------+
 *	 | lock | free | 256 x slot     | 1,024 x entry                          |
 *	 |      |      |  waiting u32   |  woken u32, blocked u32, wanted u64,   |
 *	 |      |      |  first, last   |  filtered, process, database, topic,   |
 *	 |      |      |                |  group, head, next, prev               |
 *	 +------+------+----------------+----------------------------------------+
 *
 * A topic is hashed to a slot; a slot lists the entries of the sessions that wait
 * for its topics, in the order of their arrival.  A session that waits for several
 * topics has an entry for each; the first of them is the head of the others.
 *
 * waiting   number of the slot's entries.  A producer reads it once at the end of
 *           the transaction, and does no more if it is 0.
 * woken     (head's)  the waiter was told since it last looked.
 * blocked   (head's)  another transaction blocks the waiter: it holds a partition
 *           that has messages, or has produced before them.
 * filtered  the waiter may read some partitions only: it is a member, or has
 *           named them.
 * wanted    these: bit for number % 64; none for a member beyond the number of
 *           partitions, which only a note about all of them concerns.
 *
 * No wake-up is lost.  A waiter registers, then looks (snapshot, locks), then
 * sleeps.  A producer becomes visible to new snapshots, then reads waiting.  Both
 * have a memory barrier in between, so either the producer finds the entry, or the
 * waiter's look finds the message.  A transaction that blocked others releases its
 * locks, or aborts, then looks for entries that are blocked; a waiter sets blocked
 * before it looks whether a transaction blocks it.  In the same way it sets all
 * bits of wanted before it looks which partitions are its own.  woken is cleared
 * before the waiter looks, so a note that arrives during the look ends the sleep at
 * once.
 *
 * Only as many waiters are woken as can find something: one of each group for each
 * partition that was written to, and all filtered ones that want one of these.  A
 * waiter that was told and has not looked yet does not count.  A consumer that
 * leaves messages, or releases its partition, wakes the next waiter; so does a
 * waiter that leaves, ready or canceled, after it was told and before it looked.  A
 * waiter that looks, and then does nothing, delays the others at most until they
 * look by themselves (queue.recheck_interval).
 *
 * Notes of what a transaction did are kept until it ends (notes.c).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "pgstat.h"
#include "storage/proc.h"

#include "base/compat.h"
#include "base/base.h"
#include "wait/wait.h"

#define WAKEUP_TRANCHE	"QueueWaiters"
#define WAKEUP_EVENT	"QueueWait"

#define NONE			(-1)

/* What a waiter is told. */
#define TOLD_TO_LOOK	1
#define TOLD_MESSAGES	2		/* a transaction has produced */

SharedWaiters *pgqueue_waiters = NULL;

/* queue.recheck_interval: a waiter looks again after so many milliseconds. */
int	pgqueue_recheck_interval = 1000;

/* ---------------- shared memory ---------------- */

void
pgqueue_waiters_init(void *ptr)
{
	SharedWaiters *s = ptr;

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

void
pgqueue_waiters_attached(void *memory)
{
	SharedWaiters *s = memory;

	PGQUEUE_REGISTER_TRANCHE(s->tranche, WAKEUP_TRANCHE);
	pgqueue_waiters = s;
}

static WaitSlot *
slot_of(int32 topic_id)
{
	uint32		key = hash_combine(murmurhash32(MyDatabaseId),
								   murmurhash32((uint32) topic_id));

	return &pgqueue_waiters->slots[key % SLOTS];
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

/* Return the number of the group's waiters woken so far, or NULL if it has no room. */
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
	WaitEntry  *head = &pgqueue_waiters->entries[entry->head];
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

/* Tell a waiter.  Return false if it was told already, and has not looked yet. */
static bool
tell(WaitEntry *entry, uint32 what)
{
	pg_atomic_uint32 *woken = &pgqueue_waiters->entries[entry->head].woken;
	uint32		before = pg_atomic_exchange_u32(woken, what);

	if (before > what)
		pg_atomic_write_u32(woken, before);
	if (before != 0)
		return false;
	SetLatch(&GetPGProcByNumber(entry->process)->procLatch);
	return true;
}

/*
 * Wake the waiters that a note concerns.  isCommit: the transaction, or subtransaction,
 * has committed.  Must not fail.
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
	LWLockAcquire(&pgqueue_waiters->lock, LW_SHARED);
	for (int32 i = slot->first; i != NONE; i = pgqueue_waiters->entries[i].next)
	{
		WaitEntry  *entry = &pgqueue_waiters->entries[i];
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
	LWLockRelease(&pgqueue_waiters->lock);
}

/*
 * Tell another waiter of the group of an entry, the waiter of which leaves after it
 * was told and before it looked.
 *
 * Locks: the caller holds that of the lists, exclusively.
 */
static void
pass_on(const WaitEntry *left)
{
	if (left->group == 0 || left->filtered)
		return;					/* all others that it concerns were told, too */
	for (int32 i = slot_of(left->topic_id)->first; i != NONE;
		 i = pgqueue_waiters->entries[i].next)
	{
		WaitEntry  *entry = &pgqueue_waiters->entries[i];

		if (entry->topic_id == left->topic_id &&
			entry->database == left->database &&
			entry->group == left->group && !entry->filtered &&
			tell(entry, TOLD_TO_LOOK))
			return;
	}
}

/* ---------------- sleeping ---------------- */

/* Entries of this session, in the order of its topics; fewer if there is no room. */
static int32 own_entries[PGQUEUE_MAX_TOPICS];
static int	nown = 0;

/* Register this session for a topic.  If there is no room, it has to look itself. */
static void
enter(int32 topic_id, int32 group, bool filtered)
{
	WaitSlot   *slot = slot_of(topic_id);
	WaitEntry  *entry;
	int32		i;

	LWLockAcquire(&pgqueue_waiters->lock, LW_EXCLUSIVE);
	i = pgqueue_waiters->free;
	if (i != NONE)
	{
		own_entries[nown++] = i;
		entry = &pgqueue_waiters->entries[i];
		pgqueue_waiters->free = entry->next;
		pg_atomic_write_u32(&entry->woken, 0);
		pg_atomic_write_u32(&entry->blocked, 0);
		pg_atomic_write_u64(&entry->wanted, PGQUEUE_ALL_PARTITIONS);
		entry->filtered = filtered;
		entry->process = MyProcNumber;
		entry->database = MyDatabaseId;
		entry->topic_id = topic_id;
		entry->group = group;
		entry->head = own_entries[0];
		entry->next = NONE;
		entry->prev = slot->last;
		if (slot->last == NONE)
			slot->first = i;
		else
			pgqueue_waiters->entries[slot->last].next = i;
		slot->last = i;
		pg_atomic_fetch_add_u32(&slot->waiting, 1);
	}
	LWLockRelease(&pgqueue_waiters->lock);
}

/*
 * Begin to wait for topics on behalf of a group (0: it does not exist yet).
 * The caller must ensure that pgqueue_wait_end() is called, also after an error
 * (PG_ENSURE_ERROR_CLEANUP).
 */
void
pgqueue_wait_begin(const int32 *topic_ids, int ntopics, int32 group, bool filtered)
{
	if (pgqueue_waiters == NULL)
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
		pgqueue_waiters->entries[entry->prev].next = entry->next;
	if (entry->next == NONE)
		slot->last = entry->prev;
	else
		pgqueue_waiters->entries[entry->next].prev = entry->prev;
	pg_atomic_fetch_sub_u32(&slot->waiting, 1);
}

/* End waiting.  Also a before_shmem_exit callback. */
void
pgqueue_wait_end(int code, Datum arg)
{
	bool		told;

	if (nown == 0)
		return;
	LWLockAcquire(&pgqueue_waiters->lock, LW_EXCLUSIVE);
	told = pg_atomic_read_u32(&pgqueue_waiters->entries[own_entries[0]].woken) != 0;
	for (int i = 0; i < nown; i++)
	{
		WaitEntry  *entry = &pgqueue_waiters->entries[own_entries[i]];

		unlink_entry(entry);
		if (told)
			pass_on(entry);
		entry->next = pgqueue_waiters->free;
		pgqueue_waiters->free = own_entries[i];
	}
	nown = 0;
	LWLockRelease(&pgqueue_waiters->lock);
}

/*
 * Prepare a look: a note that arrives from here on ends the sleep after the look.
 * An interrupt that had set the latch is processed here.
 */
void
pgqueue_wait_look(void)
{
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	for (int i = 0; i < nown; i++)
		pg_atomic_write_u64(&pgqueue_waiters->entries[own_entries[i]].wanted,
							PGQUEUE_ALL_PARTITIONS);
	if (nown > 0)
	{
		pg_atomic_write_u32(&pgqueue_waiters->entries[own_entries[0]].blocked,
							1);
		pg_atomic_write_u32(&pgqueue_waiters->entries[own_entries[0]].woken,
							0);
	}
	pg_memory_barrier();
}

/*
 * Make the session look again after its current look: its entries are new, and
 * commits before they were made have not told it.
 */
void
pgqueue_wait_again(void)
{
	if (nown > 0)
		tell(&pgqueue_waiters->entries[own_entries[0]], TOLD_TO_LOOK);
}

/*
 * Sleep, after a look that found nothing, until told, or until it is time to look
 * again, or for the timeout in milliseconds.  blocked: other transactions block the
 * session.  wanted: of each topic, the partitions that it may read, by their bits.
 *
 * The entry tells, not the latch: the server's timers set the latch, too, even
 * stopped ones, and a wait for a lock during the look resets it.
 *
 * Return true if a transaction has produced.  Its messages may be gone by now, or
 * not be readable yet.
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
		pg_atomic_write_u32(&pgqueue_waiters->entries[own_entries[0]].blocked,
							0);
	for (int i = 0; i < nown; i++)
		pg_atomic_write_u64(&pgqueue_waiters->entries[own_entries[i]].wanted,
							wanted[i]);
	for (;;)
	{
		told = nown == 0 ? 0 :
			pg_atomic_read_u32(&pgqueue_waiters->entries[own_entries[0]].woken);
		if (told != 0 || ms <= 0)
			break;
		(void) WaitLatch(MyLatch,
						 WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 ms, event);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		ms = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), end);
	}
	return told == TOLD_MESSAGES;
}

/* Clear what this session was told: it handles it without another look. */
void
pgqueue_wait_acknowledge(void)
{
	if (nown > 0)
		pg_atomic_write_u32(&pgqueue_waiters->entries[own_entries[0]].woken,
							0);
}
