/*-------------------------------------------------------------------------
 *
 * group_offsets.c
 *	  queue.group_offsets(): the offset of each group in each partition, for
 *	  view queue.consumer_groups.
 *
 * Walk over the index of queue.progress from its end: the first row of a
 * (group, topic, partition) is the newest; the rows after it, up to a minute
 * or RATE_ROWS moves of the offset, give the rate.  The rest of the history is
 * skipped.  The ends of a partition are looked up once for all groups.
 *
 * Partitions that the group has not begun to read have no row in
 * queue.progress.  They have one in the result, without an offset: the group
 * will begin them at the log start, so all their messages count as lag.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"

#include "base/base.h"
#include "topic/segment.h"
#include "topic/topic.h"
#include "group/group.h"
#include "group/progress.h"
#include "api/api.h"
#include "api/group_offsets.h"

PG_FUNCTION_INFO_V1(pgqueue_group_offsets);

/*
 * The rate is taken over a minute or RATE_ROWS moves of the offset.  Rows that
 * leave the offset alone are no moves; no more than RATE_ROWS_SEEN rows are
 * read.
 */
#define RATE_SECONDS	60
#define RATE_ROWS		20
#define RATE_ROWS_SEEN	100

/* Columns of the result. */
enum
{
	OUT_GROUP,
	OUT_TOPIC,
	OUT_PARTITION,
	OUT_CURRENT,
	OUT_LOG_START,
	OUT_STABLE_END,
	OUT_LOG_END,
	OUT_COMMITTED_AT,
	OUT_COMMITTED_BY,
	OUT_METADATA,
	OUT_MEMBER,
	OUT_CLIENT,
	OUT_PID,
	OUT_PAUSED,
	OUT_IN_HAND,
	OUT_RATE,
	OUT_MISSED,
	OUT_EXPIRED,
	OUT_LOST,
	OUT_COLUMNS
};

/* ---------------- a place ---------------- */

static int64
fixed_int64(HeapTuple tuple, int attr, TupleDesc desc)
{
	bool		isnull;

	return DatumGetInt64(heap_getattr(tuple, attr, desc, &isnull));
}

/*
 * Compute the messages a second since the last move that was read.  Return
 * false if there is only one move.
 */
static bool
rate_of(const Walk *walk, float8 *rate)
{
	float8		seconds = (float8) (walk->now - walk->last_time) / USECS_PER_SEC;

	if (walk->rows < 2 || seconds <= 0)
		return false;
	*rate = walk->moved / seconds;
	return true;
}

static void
set_text(Datum *values, bool *nulls, int column, const char *string)
{
	nulls[column] = string == NULL;
	if (string != NULL)
		values[column] = CStringGetTextDatum(string);
}

typedef struct ExpiredTask
{
	const ConsumerGroup *group;
	int32		partition;
	int64		offset;
	bool		released;
	TimestampTz *used;
	bool		result;
} ExpiredTask;

/* Find out whether a group has expired; a TopicTask. */
static void
ask_expired(Topic *topic, void *arg)
{
	ExpiredTask *task = arg;

	task->result = pgqueue_group_expired(task->group, topic, task->partition,
										 task->offset, task->released,
										 task->used);
}

/*
 * Return true if the group of a place, which is at an offset, has expired
 * there.  The messages by which that is decided may be removed by now, or
 * unreadable.
 */
static bool
has_expired(Walk *walk, const Place *place, int64 offset)
{
	ListedTopic *listed = walk->topic;
	ExpiredTask task = {&walk->group->group, place->partition, offset,
	walk->released, &walk->used, false};

	/* most groups cannot have expired; then no message is read */
	if (listed->topic->id != listed->id ||
		!pgqueue_group_may_expire(task.group, listed->topic, task.released) ||
		pgqueue_partition_broken(listed->topic, place->partition))
		return false;
	(void) pgqueue_attempt(listed->topic, ask_expired, &task, &listed->warned);
	return task.result;
}

/*
 * Set the columns of a row that follow from the ends of the log and the
 * group's offset (NULL: it is at the log start).  A group whose offset is lost
 * (topic/incarnation.c) has read nothing of this log, and no member has
 * messages of it in hand.
 */
static void
set_missed(Walk *walk, const Place *place, const LogEnds *ends, Datum *values,
		   const bool *nulls)
{
	int64		offset = nulls[OUT_CURRENT] ? ends->log_start :
		DatumGetInt64(values[OUT_CURRENT]);

	if (walk->incarnation != 0 &&
		walk->incarnation != pgqueue_incarnation(walk->topic->topic))
	{
		int64		reach = pgqueue_incarnation_reach(walk->topic->topic,
													  place->partition,
													  walk->incarnation,
													  ends->latest);

		values[OUT_LOST] = BoolGetDatum(offset > reach);
		if (offset > reach || walk->handed_to > reach)
			values[OUT_IN_HAND] = Int64GetDatum(0);
		offset = Min(offset, reach);
	}

	values[OUT_MISSED] =
		Int64GetDatum(DatumGetInt64(values[OUT_MISSED]) +
					  Max(ends->log_start - offset, 0));
	if (DatumGetBool(values[OUT_LOST]))
		offset = ends->log_start;
	values[OUT_EXPIRED] = BoolGetDatum(has_expired(walk, place, offset));
}

/*
 * Put out the row of a place; the caller has filled in the columns that come
 * from queue.progress.  Put out nothing if the user may not see the group or
 * the topic.
 */
static void
put_row(Walk *walk, const Place *place, Datum *values, bool *nulls)
{
	Holder	   *holder = NULL;
	const Member *owner;
	LogEnds    *ends;

	if (!pgqueue_hash_look_up(walk, place))
		return;
	values[OUT_GROUP] = walk->group->name;
	values[OUT_TOPIC] = walk->topic->name;
	values[OUT_PARTITION] = Int32GetDatum(place->partition);
	ends = pgqueue_place_ends(walk->topic, place->partition);
	nulls[OUT_LOG_START] = nulls[OUT_STABLE_END] = nulls[OUT_LOG_END] =
		ends == NULL;
	if (ends != NULL)
	{
		values[OUT_LOG_START] = Int64GetDatum(ends->log_start);
		values[OUT_STABLE_END] = Int64GetDatum(ends->stable_end);
		values[OUT_LOG_END] = Int64GetDatum(ends->log_end);
	}
	owner = pgqueue_place_owner(walk, place);
	set_text(values, nulls, OUT_MEMBER, owner == NULL ? NULL : owner->name);
	set_text(values, nulls, OUT_CLIENT, owner == NULL ? NULL : owner->client);
	values[OUT_EXPIRED] = values[OUT_LOST] = BoolGetDatum(false);
	if (ends != NULL)
		set_missed(walk, place, ends, values, nulls);
	if (walk->any_holder)
	{
		Place		locked = *place;

		locked.partition %= PGQUEUE_LOCKED_PARTITIONS;
		holder = hash_search(walk->holders, &locked, HASH_FIND, NULL);
	}
	nulls[OUT_PID] = holder == NULL || holder->pid == 0;
	values[OUT_PID] = Int32GetDatum(nulls[OUT_PID] ? 0 : holder->pid);
	pgqueue_put_row(walk->rsinfo, values, nulls, OUT_COLUMNS);
}

/* Put out the row of the current place. */
static void
finish_place(Walk *walk)
{
	Datum		row[PROGRESS_NATTS];
	bool		row_nulls[PROGRESS_NATTS];
	Datum		values[OUT_COLUMNS];
	bool		nulls[OUT_COLUMNS] = {false};
	int64		offset;
	float8		rate;

	pgqueue_registry_read(walk->rel, walk->newest, PROGRESS_NATTS, row,
						  row_nulls);
	offset = DatumGetInt64(row[PROGRESS_ATTR_OFFSET - 1]);
	values[OUT_CURRENT] = Int64GetDatum(offset);
	values[OUT_COMMITTED_AT] = row[PROGRESS_ATTR_COMMITTED_AT - 1];
	values[OUT_COMMITTED_BY] = row[PROGRESS_ATTR_COMMITTED_BY - 1];
	nulls[OUT_COMMITTED_BY] = row_nulls[PROGRESS_ATTR_COMMITTED_BY - 1];
	values[OUT_METADATA] = row[PROGRESS_ATTR_METADATA - 1];
	nulls[OUT_METADATA] = row_nulls[PROGRESS_ATTR_METADATA - 1];
	values[OUT_PAUSED] = row[PROGRESS_ATTR_PAUSED - 1];
	walk->handed_to = row_nulls[PROGRESS_ATTR_HANDED_TO - 1] ? 0 :
		DatumGetInt64(row[PROGRESS_ATTR_HANDED_TO - 1]);
	values[OUT_IN_HAND] = Int64GetDatum(Max(walk->handed_to - offset, 0));
	values[OUT_MISSED] = row_nulls[PROGRESS_ATTR_MISSED - 1] ?
		Int64GetDatum(0) : row[PROGRESS_ATTR_MISSED - 1];
	walk->released = !row_nulls[PROGRESS_ATTR_RELEASED - 1];
	walk->incarnation = row_nulls[PROGRESS_ATTR_INCARNATION - 1] ? 0 :
		DatumGetInt64(row[PROGRESS_ATTR_INCARNATION - 1]);
	nulls[OUT_RATE] = !rate_of(walk, &rate);
	values[OUT_RATE] = Float8GetDatum(nulls[OUT_RATE] ? 0 : rate);
	put_row(walk, &walk->place, values, nulls);
}

/*
 * Put out rows of partitions without progress, down to one that has some, or
 * -1.
 */
static void
put_unseen(Walk *walk, int32 until)
{
	for (; walk->unseen > until; walk->unseen--)
	{
		Place		place = walk->place;
		Datum		values[OUT_COLUMNS] = {0};
		bool		nulls[OUT_COLUMNS] = {false};

		place.partition = walk->unseen;
		nulls[OUT_CURRENT] = nulls[OUT_COMMITTED_AT] =
			nulls[OUT_COMMITTED_BY] = nulls[OUT_METADATA] =
			nulls[OUT_RATE] = true;
		values[OUT_PAUSED] = BoolGetDatum(false);
		values[OUT_IN_HAND] = values[OUT_MISSED] = Int64GetDatum(0);
		walk->released = false;
		walk->incarnation = walk->handed_to = 0;
		put_row(walk, &place, values, nulls);
	}
}

/* Leave the current place for another one or, if NULL, at the end of the walk. */
static void
leave_place(Walk *walk, const Place *next)
{
	if (walk->any)
		finish_place(walk);
	if (walk->any && (next == NULL || next->group != walk->place.group ||
					  next->topic != walk->place.topic))
		put_unseen(walk, -1);
}

static bool
is_move(char action)
{
	return action != PROGRESS_HANDED && action != PROGRESS_UNMOVED;
}

/* Begin another place with its newest row. */
static void
begin_place(Walk *walk, const Place *place, HeapTuple tuple)
{
	TupleDesc	desc = RelationGetDescr(walk->rel);
	MemoryContext old;
	bool		isnull;

	if (!walk->any || place->group != walk->place.group ||
		place->topic != walk->place.topic)
	{
		ListedTopic *topic = hash_search(walk->topics, &place->topic, HASH_FIND,
										 NULL);

		walk->unseen = topic == NULL ? -1 : topic->npartitions - 1;
	}
	walk->place = *place;
	put_unseen(walk, place->partition);
	walk->unseen = place->partition - 1;

	MemoryContextReset(walk->row_context);
	old = MemoryContextSwitchTo(walk->row_context);
	walk->newest = heap_copytuple(tuple);
	MemoryContextSwitchTo(old);
	walk->any = true;
	walk->moved = 0;
	walk->last_offset = fixed_int64(tuple, PROGRESS_ATTR_OFFSET, desc);
	walk->last_time = fixed_int64(tuple, PROGRESS_ATTR_COMMITTED_AT, desc);
	walk->last_action = DatumGetChar(heap_getattr(tuple, PROGRESS_ATTR_ACTION,
												  desc, &isnull));
	walk->rows = is_move(walk->last_action) ? 1 : 0;
	walk->seen = 1;
	walk->full = false;
}

/* Add an older row of the current place. */
static void
add_row(Walk *walk, HeapTuple tuple)
{
	TupleDesc	desc = RelationGetDescr(walk->rel);
	int64		offset = fixed_int64(tuple, PROGRESS_ATTR_OFFSET, desc);
	bool		isnull;

	if (walk->last_action == PROGRESS_CONSUMED ||
		walk->last_action == PROGRESS_COMMITTED)
		walk->moved += Max(walk->last_offset - offset, 0);
	walk->last_offset = offset;
	walk->last_time = fixed_int64(tuple, PROGRESS_ATTR_COMMITTED_AT, desc);
	walk->last_action = DatumGetChar(heap_getattr(tuple, PROGRESS_ATTR_ACTION,
												  desc, &isnull));
	walk->seen++;
	if (is_move(walk->last_action))
		walk->rows++;
	walk->full = walk->rows > RATE_ROWS || walk->seen > RATE_ROWS_SEEN ||
		(walk->rows > 1 &&
		 walk->now - walk->last_time > RATE_SECONDS * USECS_PER_SEC);
}

/* ---------------- the walk ---------------- */

/*
 * Begin a backward scan of the rows before the current place: of the
 * partitions before it (fixed: 2, group and topic), then of the topics before
 * it (1), then of the groups before it (0).  -1: of all rows.
 */
static void
begin_scan(Walk *walk, int fixed)
{
	const int32 place[] = {walk->place.group, walk->place.topic,
	walk->place.partition};
	ScanKeyData keys[3];

	for (int i = 0; i < fixed; i++)
		ScanKeyInit(&keys[i], i + 1, BTEqualStrategyNumber, F_INT4EQ,
					Int32GetDatum(place[i]));
	if (fixed >= 0)
		ScanKeyInit(&keys[fixed], fixed + 1, BTLessStrategyNumber, F_INT4LT,
					Int32GetDatum(place[fixed]));
	walk->fixed = fixed;
	walk->scan = systable_beginscan_ordered(walk->rel, walk->index,
											walk->snapshot, fixed + 1, keys);
}

static HeapTuple
next_row(Walk *walk)
{
	for (;;)
	{
		HeapTuple	tuple = systable_getnext_ordered(walk->scan,
													 BackwardScanDirection);

		if (HeapTupleIsValid(tuple) || walk->fixed <= 0)
			return tuple;
		systable_endscan_ordered(walk->scan);
		begin_scan(walk, walk->fixed - 1);
	}
}

static void
walk_all(Walk *walk)
{
	TupleDesc	desc = RelationGetDescr(walk->rel);
	HeapTuple	tuple;

	begin_scan(walk, -1);
	while (HeapTupleIsValid(tuple = next_row(walk)))
	{
		bool		isnull;
		Place		place;

		CHECK_FOR_INTERRUPTS();
		place.group = DatumGetInt32(heap_getattr(tuple, PROGRESS_ATTR_GROUP,
												 desc, &isnull));
		place.topic = DatumGetInt32(heap_getattr(tuple, PROGRESS_ATTR_TOPIC,
												 desc, &isnull));
		place.partition = DatumGetInt32(heap_getattr(tuple,
													 PROGRESS_ATTR_PARTITION,
													 desc, &isnull));
		if (walk->any && memcmp(&place, &walk->place, sizeof(Place)) == 0)
		{
			add_row(walk, tuple);
			if (!walk->full)
				continue;
			systable_endscan_ordered(walk->scan);
			begin_scan(walk, 2);
		}
		else
		{
			leave_place(walk, &place);
			begin_place(walk, &place, tuple);
		}
	}
	leave_place(walk, NULL);
	systable_endscan_ordered(walk->scan);
}

/* () -> a row for each group and partition of the topics that it reads */
Datum
pgqueue_group_offsets(PG_FUNCTION_ARGS)
{
	Walk		walk = {0};

	InitMaterializedSRF(fcinfo, 0);
	walk.rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	walk.snapshot = GetActiveSnapshot();
	walk.now = GetCurrentTimestamp();
	walk.members_of.group = -1;
	walk.found.group = walk.found.topic = -1;
	walk.row_context = AllocSetContextCreate(CurrentMemoryContext,
											 "queue progress row",
											 ALLOCSET_SMALL_SIZES);
	pgqueue_list_topics(&walk);
	pgqueue_list_groups(&walk);
	pgqueue_list_holders(&walk);
	walk.rel = pgqueue_registry_open(REGISTRY_PROGRESS);
	walk.index = index_open(pgqueue_registry(REGISTRY_PROGRESS_INDEX),
							AccessShareLock);
	walk_all(&walk);
	index_close(walk.index, AccessShareLock);
	table_close(walk.rel, AccessShareLock);
	return (Datum) 0;
}
