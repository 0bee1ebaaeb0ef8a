/*-------------------------------------------------------------------------
 *
 * slot.c
 *	  The append lock of a partition, and what is known about its tail.
 *
 * A fixed table of slots in shared memory; (database, topic, partition) is
 * hashed to one of them.  Two partitions that share a slot only contend.
 *
 *	 +--------+-------+---------------+--------------------------------------+
 *	 | lock   | rolls | claims,serial | 4 x (database, segment, file, block, |
 *	 | LWLock | u64   | u32, u32      |      stable, serial, nblocks,        |
 *	 |        |       |               |      unused): tails                  |
 *	 +--------+-------+---------------+--------------------------------------+
 *
 * rolls    raised under the lock before the first block of any segment is
 *			written; an appender that chose a segment by an older count must
 *			choose again
 * tails    of the segments last appended to through this slot: no page of the
 *			segment behind the block holds a record (README, section 4)
 * stable   no record before it is in progress, or will ever be: that block
 *			holds a committed record; a search for the stable end begins there
 * nblocks  the file has at least so many blocks, unless VACUUM has truncated it; 0:
 *			not known
 * unused   no page from there on was ever written to: it is all zero, if it is there
 * claims   how often an unknown segment has begun and ended to replace a tail; odd
 *			meanwhile
 * serial   counts appends and newcomers; a tail keeps that of its last one, so
 *			that a walker knows whether the tail is still what it was
 *
 * Any change of the layout, or of what a field means, raises
 * PGQUEUE_SHARED_VERSION (base/shmem.c).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/lwlock.h"

#include "base/compat_table.h"
#include "base/base.h"
#include "log/write.h"

#define SLOT_TRANCHE	"QueueAppend"
#define SLOTS			256
#define WAYS			4

typedef struct Tail
{
	Oid			database;		/* InvalidOid: unused */
	Oid			segment;
	Oid			file;
	BlockNumber block;			/* InvalidBlockNumber, that is -1: no record */
	BlockNumber stable;
	uint32		serial;			/* the slot's, at the last append or claim */
	BlockNumber nblocks;
	BlockNumber unused;			/* InvalidBlockNumber: none known */
} Tail;

struct AppendSlot
{
	LWLock		lock;
	pg_atomic_uint64 rolls;
	uint32		claims;
	uint32		serial;			/* of the last append or claim */
	Tail		tails[WAYS];
};

/* Whole cache lines, so that partitions do not disturb each other. */
typedef union PaddedSlot
{
	AppendSlot	slot;
	char		pad[2 * PG_CACHE_LINE_SIZE];
} PaddedSlot;

StaticAssertDecl(sizeof(PaddedSlot) == 2 * PG_CACHE_LINE_SIZE,
				 "a slot must not be larger than the padding");

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

	memset(s, 0, sizeof(SharedSlots));
	s->tranche = PGQUEUE_NEW_TRANCHE(SLOT_TRANCHE);
	for (int i = 0; i < SLOTS; i++)
	{
		LWLockInitialize(&s->slots[i].slot.lock, s->tranche);
		pg_atomic_init_u64(&s->slots[i].slot.rolls, 0);
	}
}

static void
slots_attached(void *memory)
{
	shared = memory;
	PGQUEUE_REGISTER_TRANCHE(shared->tranche, SLOT_TRANCHE);
}

void
pgqueue_slot_init(void)
{
	static const SharedPart part = {sizeof(SharedSlots), init_slots, slots_attached};

	pgqueue_shared_add(&part);
}

/* Return the slot of a partition of the topic that has table log. */
AppendSlot *
pgqueue_slot(Oid log, int32 partition)
{
	uint32		key;

	if (unlikely(shared == NULL))
		pgqueue_shared_attach();
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
 * Return the roll counter: before the segment list is read, and under the lock.
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

/* Return what the slot knows of a segment, or NULL.  Locks: slot, shared. */
static Tail *
tail_of(AppendSlot *slot, Relation segment)
{
	for (int i = 0; i < WAYS; i++)
	{
		Tail	   *tail = &slot->tails[i];

		if (tail->segment == RelationGetRelid(segment) &&
			tail->file == segment->rd_locator.relNumber &&
			tail->database == MyDatabaseId)
			return tail;
	}
	return NULL;
}

/*
 * Return the same; an unknown segment replaces another, and has that block as its
 * tail.  Locks: the slot.
 */
static Tail *
claim_tail(AppendSlot *slot, Relation segment, BlockNumber block)
{
	Tail	   *tail = tail_of(slot, segment);

	if (tail != NULL)
		return tail;
	tail = &slot->tails[slot->claims / 2 % WAYS];
	slot->claims++;
	pg_write_barrier();
	*tail = (Tail) {
		.database = MyDatabaseId,
		.segment = RelationGetRelid(segment),
		.file = segment->rd_locator.relNumber,
		.block = block,
		.serial = ++slot->serial,
		.unused = InvalidBlockNumber
	};
	pg_write_barrier();
	slot->claims++;
	return tail;
}

/*
 * Set *extent to what the slot knows of a segment, without stable.  Return false
 * if it does not know the segment.  Locks: the slot.
 */
bool
pgqueue_slot_extent_locked(AppendSlot *slot, Relation segment, Extent *extent)
{
	Tail	   *tail = tail_of(slot, segment);

	if (tail == NULL)
		return false;
	*extent = (Extent) {tail->block, tail->nblocks, tail->unused};
	return true;
}

/* Call it before a record is written to extent->tail.  Locks: the slot. */
void
pgqueue_slot_set_extent_locked(AppendSlot *slot, Relation segment,
							   const Extent *extent)
{
	Tail	   *tail = claim_tail(slot, segment, extent->tail);

	tail->block = extent->tail;
	tail->nblocks = extent->nblocks;
	tail->unused = extent->unused;
	tail->serial = ++slot->serial;
}

/*
 * Return true if the slot knows that a segment has no record behind a block that a
 * snapshot taken before would show.  Asks without the lock, which an appender may
 * hold for long: what is read while a tail is replaced does not count.
 */
bool
pgqueue_slot_ends_at(AppendSlot *slot, Relation segment, BlockNumber block)
{
	const volatile AppendSlot *now = slot;
	uint32		claims = now->claims;
	const volatile Tail *tail;
	bool		ends;

	pg_read_barrier();
	tail = tail_of(slot, segment);
	ends = tail != NULL && tail->block <= block;
	pg_read_barrier();
	return ends && claims % 2 == 0 && now->claims == claims;
}

/* Return a block before which no record of the segment is in progress. */
BlockNumber
pgqueue_slot_stable(AppendSlot *slot, Relation segment)
{
	Tail	   *tail;
	BlockNumber block;

	LWLockAcquire(&slot->lock, LW_SHARED);
	tail = tail_of(slot, segment);
	block = tail == NULL ? 0 : tail->stable;
	LWLockRelease(&slot->lock);
	return block;
}

/* Remember a block before which none is, and which holds a committed record. */
void
pgqueue_slot_set_stable(AppendSlot *slot, Relation segment, BlockNumber block)
{
	Tail	   *tail;

	LWLockAcquire(&slot->lock, LW_EXCLUSIVE);
	tail = tail_of(slot, segment);
	if (tail != NULL)
		tail->stable = Max(tail->stable, block);
	LWLockRelease(&slot->lock);
}

/*
 * Return how many blocks, from the segment's start, reach to its last record: a
 * snapshot taken before shows no record behind them.  The pages are walked
 * without the lock.  The slot remembers the result unless a record was appended
 * to the segment meanwhile.
 *
 * On a standby, where records are not appended through slots, every call walks.
 */
BlockNumber
pgqueue_slot_find_tail(AppendSlot *slot, Relation segment)
{
	Tail	   *tail;
	uint32		serial;
	BlockNumber end;
	LogTail		last;

	if (RecoveryInProgress())
	{
		end = RelationGetNumberOfBlocks(segment);
		pgqueue_segment_tail(segment, end, &last);
		return last.block + 1;
	}

	LWLockAcquire(&slot->lock, LW_EXCLUSIVE);
	end = RelationGetNumberOfBlocks(segment);
	tail = tail_of(slot, segment);
	if (tail != NULL)
		end = Min(end, tail->block + 1);
	else
	{
		/* the file's end is an upper bound */
		tail = claim_tail(slot, segment, end - 1);
	}
	serial = tail->serial;
	LWLockRelease(&slot->lock);

	pgqueue_segment_tail(segment, end, &last);

	LWLockAcquire(&slot->lock, LW_EXCLUSIVE);
	tail = tail_of(slot, segment);
	if (tail != NULL && tail->serial == serial)
		tail->block = last.block;
	LWLockRelease(&slot->lock);
	return last.block + 1;
}
