/*-------------------------------------------------------------------------
 *
 * ready.c
 *	  Find out whether a consumer, or a member, has anything to do now, and
 *	  wait until it has (max_wait).
 *
 * A waiter looks before it sleeps and when it is woken.  A partition is ready
 * if the next call returns a message of it or raises an error, such as that for
 * an offset outside the log; and if it is neither paused, nor locked by another
 * transaction, nor in the hand of another live member.
 *
 * A look locks nothing and writes nothing, so it works on a standby.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "log/log.h"
#include "wait/wait.h"
#include "topic/message.h"
#include "topic/topic.h"
#include "group/group.h"
#include "group/member.h"
#include "group/parking.h"
#include "group/progress.h"

/*
 * Return true if the group has a message to read from its offset on, or an
 * error to be told.  Set *blocked if another transaction may still commit the
 * only message there.
 */
static bool
anything_there(const WaitTarget *target, Topic *topic, int32 partition,
			   const Progress *progress, Snapshot snapshot, bool *blocked)
{
	int64		start = pgqueue_log_start(topic, partition);
	int64		from = progress->found ? progress->offset : start;
	Found		place;
	ScanEnd		end;

	if (progress->lost)
		return true;			/* an error to be told */
	if (from < start)
	{
		if (!pgqueue_group_jumps(&target->group))
			return true;		/* an error to be told */
		from = start;
	}
	end = pgqueue_find_offset(topic, partition, from, snapshot, &place);
	if (end == SCAN_GONE || place.found)
		return true;			/* removed: the next call begins elsewhere */
	if (end == SCAN_UNSTABLE)
		*blocked = true;
	return from > start && pgqueue_behind_log_end(topic, partition, from);
}

/*
 * Return true if a partition is ready.  Set *blocked if another transaction
 * prevents it, by its lock or by a message that it may still commit; *next, if it
 * becomes ready by itself before, to that time.
 */
static bool
partition_ready(const WaitTarget *target, Topic *topic, int32 partition,
				Snapshot snapshot, bool *blocked, TimestampTz *next)
{
	Progress	progress = {0};
	bool		may_read;

	if (target->group.id != 0)
		pgqueue_progress_look(target->group.id, topic, partition, &progress);
	if (!pgqueue_may_take(target, &progress) ||
		(!pgqueue_parking_ready(&progress, &may_read, next) &&
		 (!may_read || !anything_there(target, topic, partition, &progress,
									   snapshot, blocked))))
		return false;
	/* an error, too, is told to the transaction that has the partition */
	if (target->group.id != 0 &&
		pgqueue_progress_busy(target->group.id, topic->id, partition))
	{
		*blocked = true;
		return false;
	}
	return true;
}

static uint64
bits_of(const int32 *partitions, int n)
{
	uint64		bits = 0;

	for (int i = 0; i < n; i++)
		bits |= PGQUEUE_PARTITION_BIT(partitions[i]);
	return bits;
}

/*
 * Return the bits of the partitions that are not used: no member owns them, and
 * the first message there concerns all.
 */
static uint64
unused_bits(const Topic *topic)
{
	uint64		bits = 0;

	for (int32 p = 0; p < topic->npartitions &&
		 bits != PGQUEUE_ALL_PARTITIONS; p++)
		if (pgqueue_partition_unused(topic, p))
			bits |= PGQUEUE_PARTITION_BIT(p);
	return bits;
}

/*
 * Return true if a partition of a topic is ready, or if a member should poll.
 * Set *wanted to the partitions that the waiter may read, or come to own.
 */
static bool
topic_ready(WaitTarget *target, Topic *topic, Snapshot snapshot,
			bool *blocked, uint64 *wanted)
{
	const int32 *partitions = target->partitions;
	bool		wants_all = partitions == NULL;
	uint64		unused = 0;
	int			n = target->npartitions;

	if (target->member != NULL)
	{
		Members		members;
		Member	   *member;

		pgqueue_members_read(target->group.id, topic->id, &members);
		member = pgqueue_member_of(&members, target->member);
		if (pgqueue_member_should_poll(&target->group, topic, member, &members,
									   blocked))
			return true;
		partitions = member->partitions;
		n = member->npartitions;
		wants_all = member->npartitions < member->quota;
		unused = unused_bits(topic);
	}
	else if (wants_all)
		partitions = pgqueue_used_partitions(topic, &n);
	*wanted = wants_all ? PGQUEUE_ALL_PARTITIONS :
		bits_of(partitions, n) | unused;
	for (int i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		/* one may have been assigned that this session does not know yet */
		if (!pgqueue_partition_unused(topic, partitions[i]) &&
			partition_ready(target, topic, partitions[i], snapshot, blocked,
							&target->next))
			return true;
	}
	return false;
}

/* Register this backend as a waiter of the target's topics. */
void
pgqueue_register_waiter(const WaitTarget *target)
{
	int32		ids[PGQUEUE_MAX_TOPICS];

	for (int i = 0; i < target->topics.n; i++)
		ids[i] = target->topics.topics[i]->id;
	pgqueue_wait_begin(ids, target->topics.n, target->group.id,
					   target->member != NULL || target->partitions != NULL);
}

/*
 * Return true if anything is ready, as of the snapshot for messages and as of
 * now for everything else, or if the target has ended.  Set *blocked if something would be ready but for
 * another transaction.  Leaves nothing in memory, since a waiter may look for
 * days.
 *
 * Errors: 42704, 55006 if a topic was dropped.
 */
bool
pgqueue_ready(WaitTarget *target, Snapshot snapshot, bool *blocked)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "queue look",
												  ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	int32		group = target->group.id;
	bool		ready = target->ended != NULL && target->ended(target->ended_arg);

	pgqueue_group_refresh(&target->group);
	/* made or dropped since: a waiter is woken by its group's id */
	if (target->group.id != group)
	{
		pgqueue_register_waiter(target);
		pgqueue_wait_again();
	}
	*blocked = false;
	target->next = 0;
	for (int i = 0; i < target->topics.n && !ready; i++)
		ready = topic_ready(target,
							pgqueue_topic_refresh(target->topics.topics[i]),
							snapshot, blocked, &target->wanted[i]);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return ready;
}

/* Return the milliseconds to sleep until a time, or until something is due. */
int64
pgqueue_wait_left(const WaitTarget *target, TimestampTz end)
{
	TimestampTz now = GetCurrentTimestamp();
	int64		left = TimestampDifferenceMilliseconds(now, end);

	if (left > 0 && target->next != 0)
		left = Min(left, TimestampDifferenceMilliseconds(now, target->next) + 1);
	return left;
}

/*
 * Wait in the middle of a statement until something is ready, or for timeout
 * milliseconds.  The statement's snapshot does not show messages that arrive.
 */
void
pgqueue_wait_held(WaitTarget *target, int64 timeout)
{
	TimestampTz end = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), timeout);

	PG_ENSURE_ERROR_CLEANUP(pgqueue_wait_end, (Datum) 0);
	{
		pgqueue_register_waiter(target);
		for (;;)
		{
			Snapshot	snapshot;
			bool		blocked;
			bool		ready;
			int64		left;

			pgqueue_wait_look();
			snapshot = RegisterSnapshot(GetLatestSnapshot());
			ready = pgqueue_ready(target, snapshot, &blocked);
			UnregisterSnapshot(snapshot);
			left = pgqueue_wait_left(target, end);
			if (ready || left <= 0)
				break;
			pgqueue_wait_sleep(left, blocked, target->wanted);
		}
	}
	PG_END_ENSURE_ERROR_CLEANUP(pgqueue_wait_end, (Datum) 0);
	pgqueue_wait_end(0, (Datum) 0);
}
