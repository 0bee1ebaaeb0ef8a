/*-------------------------------------------------------------------------
 *
 * wakeup.c
 *	  Sleeping until there may be something to read, and waking who sleeps.
 *
 * Shared memory, made on first use (shmem.c, where its version is):
 *
 *	 +------+------+-----------------+---------------------------------------+
 *	 | lock | free | 256 x slot		 | 1,024 x entry						 |
 *	 |		|	   |  waiting u32	 |	woken u32, blocked u32, wanted u64,	 |
 *	 |		|	   |  first, last	 |	picky, process, database, topic,	 |
 *	 |		|	   |				 |	group, head, next, prev				 |
 *	 +------+------+-----------------+---------------------------------------+
 *
 * A topic is hashed to a slot; a slot lists the entries of those who wait for
 * its topics, first come first.  Who waits for several topics has an entry in
 * each; the first of them is the head of the others.
 *
 * waiting	entries of the slot.  Whoever produces reads it once at the end of
 *			the transaction, and does no more if it is 0.
 * woken	(head's)  the waiter has been told since it last looked.
 * blocked	(head's)  another transaction is in its way: it holds a partition
 *			that has messages, or has produced before them.
 * picky	it may read some partitions only: a member, or who asked for it.
 * wanted	these: bit for number % 64; none for a member beyond the number of
 *			partitions, which only a note about all of them concerns.
 *
 * No wake-up is lost.	A waiter enters itself, then looks (snapshot, locks),
 * then sleeps.	 A producer becomes visible to new snapshots, then reads
 * waiting.	 Both have a memory barrier in between, so either the producer finds
 * the entry, or the waiter's look finds the message.  A transaction that was in
 * the way gives back its locks, or dies, then looks for entries that are
 * blocked; a waiter sets blocked before it looks whether anybody is.  So it does
 * with all bits of wanted before it looks which partitions are its own.  woken
 * is cleared before the waiter looks, so what is told during the look lets the
 * sleep end at once.
 *
 * Only as many are woken as can find something: one of each group per partition
 * that was written to, and of the picky those who want one.  Who has been told
 * and not looked yet does not count.  Whoever consumes and leaves messages, or
 * gives them back, wakes the next; so does who leaves, ready or cancelled, with
 * a wake-up that it has not looked after.	Whoever looks, and then does nothing,
 * costs the others at most the time after which every waiter looks again.
 *
 * Notes of what a transaction did are kept until it ends; the end of a
 * subtransaction that is rolled back wakes those who are blocked, too.	 To wake
 * once too often does no harm.
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
#include "storage/latch.h"
#include "storage/proc.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#define WAKEUP_TRANCHE	"QueueWaiters"
#define WAKEUP_EVENT	"QueueWait"
#define SLOTS			256
#define ENTRIES			1024
#define NONE			(-1)

typedef struct WaitEntry
{
	pg_atomic_uint32 woken;
	pg_atomic_uint32 blocked;
	pg_atomic_uint64 wanted;
	bool		picky;
	int32		process;		/* number of its PGPROC */
	Oid			database;
	int32		topic_id;
	int32		group;			/* 0: none yet */
	int32		head;			/* the process's first entry */
	int32		next;			/* in the slot, or among the free ones */
	int32		prev;
} WaitEntry;

/* What a waiter is told. */
#define TOLD_TO_LOOK	1
#define TOLD_MESSAGES	2		/* somebody has produced */

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
		pg_atomic_init_u64(&s->entries[i].wanted, 0);
		s->entries[i].next = i + 1 < ENTRIES ? i + 1 : NONE;
	}
	s->free = 0;
}

static void
waiters_attached(void *memory)
{
	SharedWaiters *s = memory;

	LWLockRegisterTranche(s->tranche, WAKEUP_TRANCHE);
	shared = s;
}

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
	bool		undone;			/* some of it was rolled back to a savepoint */
	bool		everyone;		/* it concerns waiters of any partition, or of none */
	uint64		partitions;		/* bit for number % 64 */
	uint64		counted;		/* those below 64 */
	int32		last;			/* of the others */
	int			n;				/* how many there are, or a few more */
	uint64		held;			/* those it has held; matters if it fails */
} Note;

/* In TopTransactionContext. */
static Note *notes = NULL;
static int	nnotes = 0;
static int	room = 0;

static Note *
note_of(int32 topic_id, int32 group)
{
	for (int i = 0; i < nnotes; i++)
		if (notes[i].topic_id == topic_id && notes[i].group == group)
			return &notes[i];
	if (shared == NULL)
		pgqueue_shared_attach();
	if (nnotes == room)
	{
		int			n = Max(8, 2 * room);

		notes = notes == NULL ?
			MemoryContextAlloc(TopTransactionContext, n * sizeof(Note)) :
			repalloc(notes, n * sizeof(Note));
		room = n;
	}
	memset(&notes[nnotes], 0, sizeof(Note));
	notes[nnotes].topic_id = topic_id;
	notes[nnotes].group = group;
	return &notes[nnotes++];
}

static void
forget_notes(void)
{
	notes = NULL;
	nnotes = room = 0;
}

/*
 * Add a partition to a note.  -1 stands for all of them, and for what concerns
 * a waiter that owns none: the topic or its members have changed.
 */
static void
note_partition(Note *note, int32 partition)
{
	uint64		bit = PGQUEUE_PARTITION_BIT(partition);

	if (partition < 0)
	{
		note->everyone = true;
		note->partitions = PGQUEUE_ALL_PARTITIONS;
		note->n = ENTRIES;
		return;
	}
	note->partitions |= bit;
	if (note->n >= ENTRIES)
		return;
	if (partition < 64 && (note->counted & bit) == 0)
	{
		note->counted |= bit;
		note->n++;
	}
	else if (partition >= 64 && partition != note->last)
	{
		note->last = partition;
		note->n++;
	}
}

/*
 * Note that the transaction has produced to a partition: the topic's waiters are
 * told when it is over.  channel: where NOTIFY announces it, or NULL.
 */
void
pgqueue_note_produced(int32 topic_id, int32 partition, const char *channel)
{
	note_partition(note_of(topic_id, 0), partition);
	if (unlikely(channel != NULL))
		Async_Notify(channel, "");
}

/* It has changed or dropped the topic: all its waiters are to look. */
void
pgqueue_note_topic_changed(int32 topic_id)
{
	note_partition(note_of(topic_id, 0), -1);
}

/*
 * It has moved a group's offset in a partition (-1: in all), or may let others
 * do so; more: for sure.
 */
void
pgqueue_note_progress(int32 group, int32 topic_id, int32 partition, bool more)
{
	Note	   *note = note_of(topic_id, group);

	note_partition(note, partition);
	note->more |= more;
}

/*
 * It has locked a group's partition.  If it writes, or gives it back, it says so
 * itself; but it may fail before.
 */
void
pgqueue_note_held(int32 group, int32 topic_id, int32 partition)
{
	note_of(topic_id, group)->held |= PGQUEUE_PARTITION_BIT(partition);
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

/* Tell a waiter.  False: it has been told already, and has not looked yet. */
static bool
tell(WaitEntry *entry, uint32 what)
{
	pg_atomic_uint32 *woken = &shared->entries[entry->head].woken;
	uint32		before = pg_atomic_exchange_u32(woken, what);

	if (before > what)
		pg_atomic_write_u32(woken, before);
	if (before != 0)
		return false;
	SetLatch(&PGQUEUE_PROC_BY_NUMBER(entry->process)->procLatch);
	return true;
}

static void
wake(const Note *note, bool isCommit)
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
		/* who waits for a group yet to be made waits for each message */
		count = entry->group == 0 || entry->picky ? NULL :
			woken_of(&woken, entry->group);
		if (count != NULL && *count >= Max(note->n, 1))
			continue;
		if (tell(entry, what) && count != NULL)
			(*count)++;
	}
	LWLockRelease(&shared->lock);
}

/*
 * Somebody leaves who has been told, and has not looked: another of the group
 * is to look instead.	Locks: the lists', exclusively.
 */
static void
pass_on(const WaitEntry *left)
{
	if (left->group == 0 || left->picky)
		return;					/* the others were told, too */
	for (int32 i = slot_of(left->topic_id)->first; i != NONE;
		 i = shared->entries[i].next)
	{
		WaitEntry  *entry = &shared->entries[i];

		if (entry->topic_id == left->topic_id &&
			entry->database == left->database &&
			entry->group == left->group && !entry->picky &&
			tell(entry, TOLD_TO_LOOK))
			return;
	}
}

/* A group's partition was given back, in the middle of a transaction. */
void
pgqueue_wake_blocked(int32 group, int32 topic_id, int32 partition)
{
	Note		note = {0};

	if (shared == NULL)
		pgqueue_shared_attach();
	note.topic_id = topic_id;
	note.group = group;
	note_partition(&note, partition);
	pg_memory_barrier();
	wake(&note, true);
}

/*
 * A transaction has ended, or a subtransaction is rolled back, and has given
 * back its locks.	Called for each of its resource owners; of a transaction's
 * the first call does it all.	Must not fail.
 */
static void
transaction_over(ResourceReleasePhase phase, bool isCommit, bool isTopLevel,
				 void *arg)
{
	if (phase != RESOURCE_RELEASE_AFTER_LOCKS || nnotes == 0)
		return;
	if (!isTopLevel &&
		(isCommit || CurrentResourceOwner != CurTransactionResourceOwner))
		return;
	pg_memory_barrier();
	for (int i = 0; i < nnotes; i++)
	{
		wake(&notes[i], isCommit);
		notes[i].undone = true;
	}
	if (isTopLevel)
		forget_notes();
}

/* What is prepared is not over, and its end will be another session's. */
static void
transaction_prepared(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_PREPARE)
		forget_notes();
}

/* ---------------- sleeping ---------------- */

/* Of the topics waited for, in their order; there may be no room for all. */
static int32 own_entries[PGQUEUE_MAX_TOPICS];
static int	nown = 0;

/* Enter ourselves for a topic.	 If there is no room, we look every second. */
static void
enter(int32 topic_id, int32 group, bool picky)
{
	WaitSlot   *slot = slot_of(topic_id);
	WaitEntry  *entry;
	int32		i;

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	i = shared->free;
	if (i != NONE)
	{
		own_entries[nown++] = i;
		entry = &shared->entries[i];
		shared->free = entry->next;
		pg_atomic_write_u32(&entry->woken, 0);
		pg_atomic_write_u32(&entry->blocked, 0);
		pg_atomic_write_u64(&entry->wanted, PGQUEUE_ALL_PARTITIONS);
		entry->picky = picky;
		entry->process = PGQUEUE_MY_PROC_NUMBER;
		entry->database = MyDatabaseId;
		entry->topic_id = topic_id;
		entry->group = group;
		entry->head = own_entries[0];
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
 * The caller must see to it that pgqueue_wait_end() is called, whatever
 * happens (PG_ENSURE_ERROR_CLEANUP).
 */
void
pgqueue_wait_begin(const int32 *topic_ids, int ntopics, int32 group, bool picky)
{
	if (shared == NULL)
		pgqueue_shared_attach();
	pgqueue_wait_end(0, (Datum) 0);
	for (int i = 0; i < ntopics && nown == i; i++)
		enter(topic_ids[i], group, picky);
}

/* Take an entry out of its slot. */
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

/* A before_shmem_exit callback, too. */
void
pgqueue_wait_end(int code, Datum arg)
{
	bool		told;

	if (nown == 0)
		return;
	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	told = pg_atomic_read_u32(&shared->entries[own_entries[0]].woken) != 0;
	for (int i = 0; i < nown; i++)
	{
		WaitEntry  *entry = &shared->entries[own_entries[i]];

		unlink_entry(entry);
		if (told)
			pass_on(entry);
		entry->next = shared->free;
		shared->free = own_entries[i];
	}
	nown = 0;
	LWLockRelease(&shared->lock);
}

/*
 * Before each look: what happens from here on ends the sleep after it.	 An
 * interrupt whose latch was reset here is dealt with here.
 */
void
pgqueue_wait_look(void)
{
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	for (int i = 0; i < nown; i++)
		pg_atomic_write_u64(&shared->entries[own_entries[i]].wanted,
							PGQUEUE_ALL_PARTITIONS);
	if (nown > 0)
	{
		pg_atomic_write_u32(&shared->entries[own_entries[0]].blocked, 1);
		pg_atomic_write_u32(&shared->entries[own_entries[0]].woken, 0);
	}
	pg_memory_barrier();
}

/*
 * Tell the waiter itself, in the middle of its look, to look again: its entries
 * are new, and commits before they were made have not told it.
 */
void
pgqueue_wait_again(void)
{
	if (nown > 0)
		tell(&shared->entries[own_entries[0]], TOLD_TO_LOOK);
}

/*
 * After a look that found nothing: sleep until told, or until it is time to look
 * again, or for the timeout in milliseconds.  blocked: others are in the way.
 * wanted: of each topic, the partitions that we may read, by their bits.
 *
 * The entry tells, not the latch: the server's timers set that, too, even those
 * that have been stopped, and a wait for a lock in the middle of the look resets
 * it.
 *
 * Returns whether we were told that somebody has produced.	 The messages may be
 * gone by now, or not be readable yet.
 */
bool
pgqueue_wait_sleep(int64 timeout, bool blocked, const uint64 *wanted)
{
	static uint32 event = 0;
	int64		ms = Min(timeout, recheck_interval);
	TimestampTz end = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), ms);
	uint32		told;

	if (event == 0)
		event = PGQUEUE_WAIT_EVENT(WAKEUP_EVENT);
	if (nown > 0 && !blocked)
		pg_atomic_write_u32(&shared->entries[own_entries[0]].blocked, 0);
	for (int i = 0; i < nown; i++)
		pg_atomic_write_u64(&shared->entries[own_entries[i]].wanted, wanted[i]);
	for (;;)
	{
		told = nown == 0 ? 0 :
			pg_atomic_read_u32(&shared->entries[own_entries[0]].woken);
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

/* We go and see to what we were told, without a look: nobody else need. */
void
pgqueue_wait_heed(void)
{
	if (nown > 0)
		pg_atomic_write_u32(&shared->entries[own_entries[0]].woken, 0);
}

void
pgqueue_wakeup_init(void)
{
	static const SharedPart part = {sizeof(SharedWaiters), init_waiters,
									waiters_attached};

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
	RegisterXactCallback(transaction_prepared, NULL);
	pgqueue_shared_add(&part);
}
