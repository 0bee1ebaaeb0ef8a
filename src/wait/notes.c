/*-------------------------------------------------------------------------
 *
 * notes.c
 *	  Note what a transaction does, and hand the notes to waiters.c at its end.
 *
 * Notes are kept until the transaction ends.  The rollback of a subtransaction
 * wakes blocked waiters, too.  A needless wake-up does no harm.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "commands/async.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "base/base.h"
#include "wait/wait.h"

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
	pgqueue_shared_attach();
	if (nnotes == room)
	{
		int			n = Max(8, 2 * room);

		notes = notes == NULL ?
			MemoryContextAlloc(TopTransactionContext, n * sizeof(Note)) :
			repalloc(notes, n * sizeof(Note));
		room = n;
	}
	notes[nnotes] = (Note) {.topic_id = topic_id, .group = group};
	return &notes[nnotes++];
}

static void
forget_notes(void)
{
	notes = NULL;
	nnotes = room = 0;
}

/* Add a partition to a note.  -1: all, and also waiters that own none. */
static void
note_partition(Note *note, int32 partition)
{
	uint64		bit = PGQUEUE_PARTITION_BIT(partition);

	if (partition < 0)
	{
		note->everyone = true;
		note->partitions = PGQUEUE_ALL_PARTITIONS;
		note->n = PGQUEUE_MAX_WAITERS;
		return;
	}
	note->partitions |= bit;
	if (note->n >= PGQUEUE_MAX_WAITERS)
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
 * Note that the transaction has produced to a partition: its end wakes the
 * topic's waiters, and notifies a channel, if not NULL.
 */
void
pgqueue_note_produced(int32 topic_id, int32 partition, const char *channel)
{
	note_partition(note_of(topic_id, 0), partition);
	if (unlikely(channel != NULL))
		Async_Notify(channel, "");
}

/* Note that it has changed or dropped the topic: all waiters must look. */
void
pgqueue_note_topic_changed(int32 topic_id)
{
	note_partition(note_of(topic_id, 0), -1);
}

/*
 * Note that it has written a group's rows about a partition (-1: about all):
 * its end wakes the group's blocked waiters or, if it has left more to do, all
 * of them.
 */
void
pgqueue_note_progress(int32 group, int32 topic_id, int32 partition, bool more)
{
	Note	   *note = note_of(topic_id, group);

	note_partition(note, partition);
	note->more |= more;
}

/* Note that it has locked a group's partition; it may fail before it writes. */
void
pgqueue_note_held(int32 group, int32 topic_id, int32 partition)
{
	note_of(topic_id, group)->held |= PGQUEUE_PARTITION_BIT(partition);
}

/* Wake blocked waiters: a partition was released during a transaction. */
void
pgqueue_wake_blocked(int32 group, int32 topic_id, int32 partition)
{
	Note		note = {.topic_id = topic_id, .group = group};

	pgqueue_shared_attach();
	note_partition(&note, partition);
	pg_memory_barrier();
	pgqueue_waiters_wake(&note, true);
}

/*
 * Wake waiters after a transaction has ended, or a subtransaction was rolled
 * back, and has released its locks.  Called for each of its resource owners, of
 * which the first does all.  Must not fail.
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
		pgqueue_waiters_wake(&notes[i], isCommit);
		notes[i].undone = true;
	}
	if (isTopLevel)
		forget_notes();
}

/* Forget the notes of a prepared transaction: another session will end it. */
static void
transaction_prepared(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_PREPARE)
		forget_notes();
}

void
pgqueue_wakeup_init(void)
{
	RegisterResourceReleaseCallback(transaction_over, NULL);
	RegisterXactCallback(transaction_prepared, NULL);
	pgqueue_waiters_init();
}
