/*-------------------------------------------------------------------------
 *
 * roll.c
 *	  Append messages to a partition: choose the segment, and the next one
 *	  when it is full.
 *
 * log/append.c assigns the offsets.  COPY and INSERT into a segment (what
 * pg_restore does) do not come here, but through pgqueue_append_given()
 * (log/append.c), which checks the offsets given.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/xact.h"
#include "pgstat.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "storage/predicate.h"

#include "base/data.h"
#include "log/log.h"
#include "log/write.h"
#include "wait/wait.h"
#include "topic/message.h"
#include "topic/segment.h"
#include "topic/topic.h"

/*
 * Return how many records to prepare for a segment.  What is toasted and then
 * does not fit the segment's offsets is toasted again for the next, and the
 * first copy stays; so with large values look at the tail, without the lock.
 */
static int
records_for(Relation leaf, const Segment *segment, HeapTuple *tuples,
			int ntuples)
{
	int			n = Min(ntuples, CHUNK_RECORDS);
	LogTail		tail;
	int64		room;

	for (int i = 0; i < n; i++)
		if (pgqueue_needs_toast(tuples[i]))
		{
			pgqueue_segment_tail(leaf, RelationGetNumberOfBlocks(leaf), &tail);
			room = segment->end -
				(tail.found ? tail.offset + 1 : segment->first);
			/* one, even so: the lock will tell that the segment is full */
			return (int) Max(1, Min(n, room));
		}
	return ntuples;
}

/* Return the time of the last record before a segment; 0 if there is none. */
static TimestampTz
timestamp_before(const Topic *topic, const Partition *part, int segment)
{
	Relation	leaf;

	while ((leaf = pgqueue_open_previous(topic, part, &segment)) != NULL)
	{
		LogTail		tail;

		pgqueue_segment_tail(leaf, RelationGetNumberOfBlocks(leaf), &tail);
		table_close(leaf, AccessShareLock);
		if (tail.found)
			return tail.timestamp;
	}
	return 0;
}

/*
 * Make sure that part->active is the segment that takes appends, as of roll
 * counter part->active_rolls.  Returns the topic, which may be a new
 * description.  An unused partition gets its first segments, for n messages.
 *
 * The counter is read before the list.  If the segment in use is the last one
 * that we see, a later one may exist that is not committed yet (made inside a
 * producer's transaction); its maker holds the table's lock, so wait for that.
 */
static Topic *
choose_segment(Topic *topic, int32 partition, AppendSlot *slot, int n)
{
	bool		waited = false;

	for (;;)
	{
		Partition  *part = pgqueue_partition(topic, partition);
		uint64		rolls = pgqueue_slot_rolls(slot);
		int			active;

		if (topic->valid && part->active >= 0 && part->active_rolls == rolls)
			return topic;

		topic = pgqueue_topic_refresh(topic);
		pgqueue_check_segments(topic, partition);
		part = pgqueue_partition(topic, partition);
		if (part->nsegments == 0)
		{
			pgqueue_need_segment(topic, partition, n);
			continue;
		}
		active = pgqueue_segments_sealed(topic, part);
		if (!topic->valid)
			continue;			/* a segment went away: list again */
		if (active == part->nsegments - 1 && !waited)
		{
			LockRelationOid(topic->log, ShareUpdateExclusiveLock);
			UnlockRelationOid(topic->log, ShareUpdateExclusiveLock);
			waited = true;
			continue;
		}
		part->active = active;
		part->active_rolls = rolls;
		return topic;
	}
}

/*
 * Write a chunk to a segment under the append lock.  *n: records offered, and set
 * to those written; last: no more follow.  Return how it ended: WRITTEN, STALE or
 * FULL.
 */
static Outcome
write_chunk(Topic *topic, Partition *part, Relation leaf, AppendSlot *slot,
			AppendBounds *bounds, HeapTuple *stored, int *n, bool last)
{
	int			offered = *n;

	for (;;)
	{
		Outcome		outcome;

		*n = offered;
		pgqueue_slot_lock(slot);
		outcome = pgqueue_append_locked(leaf, slot, bounds, stored, n, last,
										&part->active_rolls);
		pgqueue_slot_unlock(slot);

		if (outcome == TAIL_UNKNOWN)
			pgqueue_slot_find_tail(slot, leaf);
		else if (outcome == MIN_TIMESTAMP_UNKNOWN)
		{
			bounds->min_timestamp = timestamp_before(topic, part, part->active);
			bounds->has_min_timestamp = true;
		}
		else
			return outcome;
	}
}

/*
 * Go to the next segment of a partition; make it if there is none.  upto: how far
 * the messages to be written reach.
 */
static void
roll(Topic *topic, int32 partition, Partition *part, int64 upto)
{
	if (part->active + 1 >= part->nsegments)
	{
		pgqueue_need_segment(topic, partition, upto);
		return;
	}
	part->active++;
	/* the first roll of many: have the next ones made meanwhile */
	if (part->nsegments - 1 - part->active < SEGMENTS_AHEAD)
		pgqueue_make_segments_soon(topic, partition);
}

/*
 * Note that SERIALIZABLE transactions which read the partition before it had
 * segments have missed a message; see pgqueue_predicate_lock_unused().
 */
static void
check_readers_of_unused(const Topic *topic, int32 partition)
{
	Relation	log = IsolationIsSerializable() ?
		RelationIdGetRelation(topic->log) : NULL;

	if (log == NULL)
		return;
	CheckForSerializableConflictIn(log, NULL, (BlockNumber) partition);
	RelationClose(log);
}

/*
 * Append messages to a partition; each gets the next offset.
 *
 * Locks: takes ROW EXCLUSIVE on the segment's table, kept to the end of the
 * transaction (queue.blockers finds it there), and the append lock for moments.
 * Errors: those of a right or a state were checked before; here I/O, disk full
 * and 55000 for a segment that has lost its shape.
 */
void
pgqueue_append(Topic *topic, int32 partition, HeapTuple *records, int nrecords)
{
	TransactionId xid = GetCurrentTransactionId();
	CommandId	cid = GetCurrentCommandId(true);
	AppendSlot *slot = pgqueue_slot(topic->log, partition);
	int			done = 0;
	Oid			checked_in = InvalidOid;	/* a segment, and ... */
	int			checked = 0;	/* ... records that fulfil its constraints */
	HeapTuple	single;
	HeapTuple  *stored = nrecords == 1 ? &single :
		palloc(Min(nrecords, CHUNK_RECORDS) * sizeof(HeapTuple));

	pgqueue_note_produced(topic->id, partition,
						  topic->notify ? topic->name : NULL);
	while (done < nrecords)
	{
		HeapTuple  *tuples = records + done;
		Partition  *part;
		Segment		segment;
		AppendBounds bounds = {0};
		Relation	leaf;
		IndexAndCheck *work;
		int			offered;
		int			written;
		Outcome		outcome;

		topic = choose_segment(topic, partition, slot, nrecords - done);
		if (unlikely(topic->old != NULL))
			pgqueue_topic_forget_old(topic);
		part = pgqueue_partition(topic, partition);
		pgqueue_incarnation_begin(topic, partition);
		segment = part->segments[part->active];
		leaf = pgqueue_open_segment(topic, &segment, RowExclusiveLock);
		/* gone, emptied or closed: we have been told with the lock */
		if (leaf == NULL || unlikely(!topic->valid))
		{
			if (leaf != NULL)
				table_close(leaf, NoLock);
			part->active = -1;
			continue;
		}
		work = pgqueue_index_and_check_begin(leaf);

		offered = records_for(leaf, &segment, tuples, nrecords - done);
		/*
		 * Before toasting: a constraint's function may produce, too.  It runs
		 * once for a record in a segment, however often the append begins anew.
		 */
		if (segment.relid != checked_in)
			checked = done;
		if (work != NULL && checked < done + offered)
			pgqueue_check_records(work, records + checked,
								  done + offered - checked);
		checked_in = segment.relid;
		checked = Max(checked, done + offered);
		offered = pgqueue_next_chunk(leaf, tuples, offered, stored, xid, cid);
		/* restored without its messages, a segment may begin in the middle */
		bounds.first = Max(segment.first, part->log_start);
		bounds.end = segment.end;
		bounds.has_min_timestamp = (part->active == 0);

		written = offered;
		outcome = write_chunk(topic, part, leaf, slot, &bounds, stored, &written,
							  done + offered == nrecords);
		if (outcome == WRITTEN)
		{
			if (work != NULL)
				pgqueue_index_records(work, stored, written);
			done += written;
			pgstat_count_heap_insert(leaf, written);
		}
		pgqueue_free_stored(tuples, stored, offered);
		pgqueue_index_and_check_end(work);
		if (outcome == WRITTEN)
		{
			CheckForSerializableConflictIn(leaf, NULL, InvalidBlockNumber);
			check_readers_of_unused(topic, partition);
		}
		table_close(leaf, NoLock);

		if (outcome == FULL)
			roll(topic, partition, part, segment.end + nrecords - done);
		CHECK_FOR_INTERRUPTS();
	}

	if (stored != &single)
		pfree(stored);
}

/*
 * Have the first segments made of those partitions, from low on, that get messages,
 * and are not used yet, if there are several.  end: as in pgqueue_append_all().
 */
static void
begin_use(const Topic *topic, int32 low, const int *end, int npartitions)
{
	int32	   *unused = palloc(npartitions * sizeof(int32));
	int			begin = 0;
	int			n = 0;

	for (int i = 0; i < npartitions; begin = end[i++])
		if (begin != end[i] && pgqueue_partition_unused(topic, low + i))
			unused[n++] = low + i;
	if (n > 1)
		pgqueue_need_first_segments(topic, unused, n);
	pfree(unused);
}

/*
 * Append records of several partitions, their order kept within each: append locks
 * are taken one partition at a time, in ascending order.
 */
void
pgqueue_append_all(Topic *topic, HeapTuple *records, int n)
{
	HeapTuple  *grouped = palloc(n * sizeof(HeapTuple));
	int32		low = PGQUEUE_MAX_PARTITIONS;
	int32		high = -1;
	int			npartitions;
	int		   *end;
	int			begin = 0;

	for (int i = 0; i < n; i++)
	{
		low = Min(low, log_fixed(records[i]->t_data)->partition);
		high = Max(high, log_fixed(records[i]->t_data)->partition);
	}
	npartitions = Max(high - low + 1, 0);
	end = palloc0((npartitions + 1) * sizeof(int));
	for (int i = 0; i < n; i++)
		end[log_fixed(records[i]->t_data)->partition - low + 1]++;
	for (int i = 0; i < npartitions; i++)
		end[i + 1] += end[i];
	/* end[i] is where partition low + i begins until its records are there */
	for (int i = 0; i < n; i++)
		grouped[end[log_fixed(records[i]->t_data)->partition - low]++] = records[i];
	if (topic->nused < topic->npartitions)
		begin_use(topic, low, end, npartitions);
	for (int i = 0; i < npartitions; i++)
	{
		if (begin == end[i])
			continue;
		topic = pgqueue_topic_refresh(topic);
		pgqueue_append(topic, low + i, grouped + begin, end[i] - begin);
		begin = end[i];
	}
}
