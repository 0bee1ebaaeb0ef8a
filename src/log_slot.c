/*-------------------------------------------------------------------------
 *
 * log_slot.c
 *	  The append lock of a partition, and what is known about its tail.
 *
 * A fixed table of slots in shared memory; (database, topic, partition) is
 * hashed to one of them.  Two partitions that share a slot only contend.
 * Nobody ever holds two slots.
 *
 *	 +--------+-------+---------+-------------------------+------+
 *	 | lock   | rolls | appends | database, leaf, file	  | tail |
 *	 | LWLock | u64	  | u64		| whose tail it is		  | blk	 |
 *	 +--------+-------+---------+-------------------------+------+
 *
 * rolls	raised under the lock before the first block of any segment is
 *			written; who decided on a segment by an older count must decide
 *			again.
 * appends	raised under the lock by every append through this slot.
 * tail		no page of this leaf behind this block holds a record.  Exact,
 *			because every append to the leaf goes through the slot, and
 *			VACUUM only takes records away.	 It is a hint that saves a walk
 *			over empty pages; the log's own bytes remain the truth, and the
 *			page is always read.
 *
 * The struct's name carries a layout version: it must not change within a
 * major version of queue, since backends with an older library share it.
 *
 *-------------------------------------------------------------------------
 */
#include "queue.h"

#include "access/xlog.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/bufmgr.h"
#include "storage/ipc.h"
#include "storage/shmem.h"
#if PG_VERSION_NUM >= 170000
#include "storage/dsm_registry.h"
#endif

#define SLOT_LAYOUT		"queue append slots 1"
#define SLOT_TRANCHE	"QueueAppend"
#define SLOTS			512

struct AppendSlot
{
	LWLock		lock;
	pg_atomic_uint64 rolls;
	pg_atomic_uint64 appends;
	Oid			database;
	Oid			leaf;
	Oid			file;
	BlockNumber tail;			/* InvalidBlockNumber: no record at all */
};

/* One cache line each, so that partitions do not disturb each other. */
typedef union PaddedSlot
{
	AppendSlot	slot;
	char		pad[PG_CACHE_LINE_SIZE];
} PaddedSlot;

typedef struct SharedSlots
{
	int			tranche;
	PaddedSlot	slots[SLOTS];
} SharedSlots;

static SharedSlots *shared = NULL;

static void
init_slots(void *ptr)
{
	SharedSlots *s = ptr;

	s->tranche = LWLockNewTrancheId();
	for (int i = 0; i < SLOTS; i++)
	{
		AppendSlot *slot = &s->slots[i].slot;

		LWLockInitialize(&slot->lock, s->tranche);
		pg_atomic_init_u64(&slot->rolls, 0);
		pg_atomic_init_u64(&slot->appends, 0);
		slot->database = slot->leaf = slot->file = InvalidOid;
		slot->tail = InvalidBlockNumber;
	}
}

static void
attach_slots(void)
{
	bool		found;
	SharedSlots *s;

#if PG_VERSION_NUM >= 170000
	s = GetNamedDSMSegment(SLOT_LAYOUT, sizeof(SharedSlots), init_slots,
						   &found);
#else
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	s = ShmemInitStruct(SLOT_LAYOUT, sizeof(SharedSlots), &found);
	if (!found)
		init_slots(s);
	LWLockRelease(AddinShmemInitLock);
#endif
	LWLockRegisterTranche(s->tranche, SLOT_TRANCHE);
	shared = s;
}

/* The slot of a partition of the topic whose table is log. */
AppendSlot *
pgqueue_slot(Oid log, int32 partition)
{
	uint32		key;

	if (shared == NULL)
		attach_slots();
	key = hash_combine(murmurhash32(MyDatabaseId),
					   hash_combine(murmurhash32(log),
									murmurhash32((uint32) partition)));
	return &shared->slots[key % SLOTS].slot;
}

void
pgqueue_slot_lock(AppendSlot *slot)
{
	LWLockAcquire(&slot->lock, LW_EXCLUSIVE);
}

void
pgqueue_slot_unlock(AppendSlot *slot)
{
	LWLockRelease(&slot->lock);
}

/*
 * The roll counter.  Read it before the segment list that a decision is made
 * from, and again under the lock.
 */
uint64
pgqueue_slot_rolls(AppendSlot *slot)
{
	uint64		rolls = pg_atomic_read_u64(&slot->rolls);

	pg_read_barrier();
	return rolls;
}

/* Locks: the slot. */
void
pgqueue_slot_count_roll(AppendSlot *slot)
{
	pg_atomic_fetch_add_u64(&slot->rolls, 1);
}

static bool
slot_knows(const AppendSlot *slot, Relation leaf)
{
	return slot->leaf == RelationGetRelid(leaf) &&
		slot->file == PGQUEUE_FILE_NUMBER(leaf) &&
		slot->database == MyDatabaseId;
}

/* Locks: the slot.	 False if the slot knows another leaf. */
bool
pgqueue_slot_tail_locked(AppendSlot *slot, Relation leaf, BlockNumber *block)
{
	if (!slot_knows(slot, leaf))
		return false;
	*block = slot->tail;
	return true;
}

static void
remember_tail(AppendSlot *slot, Relation leaf, BlockNumber block)
{
	slot->database = MyDatabaseId;
	slot->leaf = RelationGetRelid(leaf);
	slot->file = PGQUEUE_FILE_NUMBER(leaf);
	slot->tail = block;
}

/* Locks: the slot.	 After an append whose last record lies in block. */
void
pgqueue_slot_set_tail_locked(AppendSlot *slot, Relation leaf, BlockNumber block)
{
	/* we are the only writer, so no atomic addition is needed */
	pg_atomic_write_u64(&slot->appends,
						pg_atomic_read_u64(&slot->appends) + 1);
	remember_tail(slot, leaf, block);
}

/* The last block before end that holds a record, else invalid. */
static BlockNumber
walk_back(Relation leaf, BlockNumber end)
{
	while (end > 0)
	{
		Buffer		buffer;
		bool		found;

		CHECK_FOR_INTERRUPTS();
		buffer = ReadBuffer(leaf, --end);
		LockBuffer(buffer, BUFFER_LOCK_SHARE);
		found = pgqueue_page_has_record(BufferGetPage(buffer));
		UnlockReleaseBuffer(buffer);
		if (found)
			return end;
	}
	return InvalidBlockNumber;
}

/*
 * A block behind which the leaf holds no record (InvalidBlockNumber: there is
 * none at all), as of the call.  The pages are walked without the lock.  The
 * slot remembers the result if nothing was appended meanwhile; if something
 * was, the appender made the slot know better.
 *
 * A reader may rely on it: what is appended after the call began is not shown
 * by a snapshot taken before.	An appender looks again under the lock.
 *
 * On a standby, where nothing is appended through slots, every call walks.
 */
BlockNumber
pgqueue_slot_find_tail(AppendSlot *slot, Relation leaf)
{
	uint64		appends;
	BlockNumber end;
	BlockNumber tail;

	if (RecoveryInProgress())
		return walk_back(leaf, RelationGetNumberOfBlocks(leaf));

	LWLockAcquire(&slot->lock, LW_SHARED);
	appends = pg_atomic_read_u64(&slot->appends);
	end = RelationGetNumberOfBlocks(leaf);
	if (slot_knows(slot, leaf))
		end = slot->tail == InvalidBlockNumber ? 0 : Min(end, slot->tail + 1);
	LWLockRelease(&slot->lock);

	tail = walk_back(leaf, end);

	LWLockAcquire(&slot->lock, LW_EXCLUSIVE);
	if (pg_atomic_read_u64(&slot->appends) == appends)
		remember_tail(slot, leaf, tail);
	LWLockRelease(&slot->lock);
	return tail;
}
