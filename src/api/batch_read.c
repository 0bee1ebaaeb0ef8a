/*-------------------------------------------------------------------------
 *
 * batch_read.c
 *	  Read the messages of a batch in order, and again from a mark, but for those
 *	  that were parked since.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "executor/executor.h"
#include "utils/tuplestore.h"

#include "topic/topic.h"
#include "group/parking.h"
#include "api/process.h"

/* Columns of a message (queue.message). */
#define COLUMN_PARTITION	2
#define COLUMN_OFFSET		3
#define COLUMN_KEY			5
#define COLUMN_ATTEMPT		8

/* Return a column of the next message, which was peeked at; it is not NULL. */
static Datum
column(Batch *batch, AttrNumber attr)
{
	bool		isnull;
	Datum		value = slot_getattr(batch->slot, attr, &isnull);

	Assert(batch->ahead && !isnull);
	return value;
}

int32
pgqueue_batch_partition(Batch *batch)
{
	return DatumGetInt32(column(batch, COLUMN_PARTITION));
}

int64
pgqueue_batch_offset(Batch *batch)
{
	return DatumGetInt64(column(batch, COLUMN_OFFSET));
}

/*
 * Return true if the message in the slot must be left alone: it was parked in this
 * transaction, behind another one or by the handler itself.
 */
static bool
is_parked(Batch *batch)
{
	const WaitTarget *target = &batch->process->target;
	Progress	progress = {.group_id = target->group.id,
		.topic = target->topics.topics[0]};
	Datum		key;
	bool		isnull;
	Parked		row;

	if (likely(batch->parks == pgqueue_parks))
		return false;
	progress.partition = pgqueue_batch_partition(batch);
	key = slot_getattr(batch->slot, COLUMN_KEY, &isnull);
	return pgqueue_parked_find(&progress, isnull ? NULL : DatumGetTextPP(key),
							   pgqueue_batch_offset(batch), &row);
}

/*
 * Read the next message into the slot.  One that is read from a file is allocated
 * in the current memory context, and must live as long as the slot.
 */
static void
read_next(Batch *batch)
{
	MemoryContext old = MemoryContextSwitchTo(batch->slot->tts_mcxt);

	if (!tuplestore_gettupleslot(batch->rows, true, false, batch->slot))
		elog(ERROR, "message is missing");
	MemoryContextSwitchTo(old);
	batch->position++;
}

/* Look at the next message.  Return false if there is none before batch->end. */
bool
pgqueue_batch_peek(Batch *batch)
{
	while (!batch->ahead && batch->position < batch->end)
	{
		read_next(batch);
		batch->ahead = true;
		batch->ahead = !is_parked(batch);
	}
	return batch->ahead;
}

/* Go behind the message that was peeked at. */
void
pgqueue_batch_pass(Batch *batch)
{
	batch->ahead = false;
}

/* Return the message that was peeked at, in the current memory context. */
Datum
pgqueue_batch_take(Batch *batch)
{
	batch->ahead = false;
	return ExecFetchSlotHeapTupleDatum(batch->slot);
}

/* Mark the next message, which was not peeked at. */
void
pgqueue_batch_mark(Batch *batch)
{
	Assert(!batch->ahead);
	tuplestore_copy_read_pointer(batch->rows, 0, batch->mark);
	batch->marked_position = batch->position;
}

/* Go back to the mark. */
void
pgqueue_batch_return(Batch *batch)
{
	tuplestore_copy_read_pointer(batch->rows, batch->mark, 0);
	batch->position = batch->marked_position;
	batch->ahead = false;
}

/*
 * Begin to read the n messages of batch->rows.  Sets batch->retried: so many of them,
 * the first ones, have failed before.
 */
void
pgqueue_batch_begin(Batch *batch, int n)
{
	batch->n = batch->end = n;
	batch->mark = tuplestore_alloc_read_pointer(batch->rows, EXEC_FLAG_REWIND);
	pgqueue_batch_mark(batch);
	while (pgqueue_batch_peek(batch) &&
		   DatumGetInt32(column(batch, COLUMN_ATTEMPT)) > 1)
	{
		batch->retried++;
		pgqueue_batch_pass(batch);
	}
	pgqueue_batch_return(batch);
}

/* Free the messages, and the file in which they may be. */
void
pgqueue_batch_end(Batch *batch)
{
	ExecDropSingleTupleTableSlot(batch->slot);
	tuplestore_end(batch->rows);
}
