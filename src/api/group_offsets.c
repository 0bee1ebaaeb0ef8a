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

/* A row of the result, and what it follows from. */
typedef struct Row
{
	int32		partition;
	bool		released;		/* holds nothing until it is used again */
	int64		incarnation;	/* of the offset; 0: the current one */
	int64		handed_to;
	Datum		values[OUT_COLUMNS];
	bool		nulls[OUT_COLUMNS];
} Row;

/* ---------------- a row of the result ---------------- */

static void
set_text(Row *row, int column, const char *string)
{
	row->nulls[column] = string == NULL;
	if (string != NULL)
		row->values[column] = CStringGetTextDatum(string);
}

typedef struct ExpiredTask
{
	Walk	   *walk;
	const Row  *row;
	int64		offset;
	bool		result;
} ExpiredTask;

/* Find out whether a group has expired; a TopicTask. */
static void
ask_expired(Topic *topic, void *arg)
{
	ExpiredTask *task = arg;

	task->result = pgqueue_group_expired(&task->walk->group->group, topic,
										 task->row->partition, task->offset,
										 task->row->released,
										 &task->walk->used);
}

/*
 * Return true if the group, which is at an offset, has expired in the
 * partition.  The messages by which that is decided may be removed by now, or
 * unreadable.
 */
static bool
has_expired(Walk *walk, const Row *row, int64 offset)
{
	ListedTopic *listed = walk->topic;
	ExpiredTask task = {walk, row, offset, false};

	/* most groups cannot have expired; then no message is read */
	if (listed->topic->id != listed->id ||
		!pgqueue_group_may_expire(&walk->group->group, listed->topic,
								  row->released) ||
		pgqueue_partition_broken(listed->topic, row->partition))
		return false;
	(void) pgqueue_attempt(listed->topic, ask_expired, &task, &listed->warned);
	return task.result;
}

/*
 * Set the columns that follow from the ends of the log and the group's offset
 * (NULL: it is at the log start).  A group whose offset is lost
 * (topic/incarnation.c) has read nothing of this log, and no member has
 * messages of it in hand.
 */
static void
set_missed(Walk *walk, Row *row, const LogEnds *ends)
{
	Datum	   *values = row->values;
	Topic	   *topic = walk->topic->topic;
	int64		offset = row->nulls[OUT_CURRENT] ? ends->log_start :
		DatumGetInt64(values[OUT_CURRENT]);
	bool		lost = false;

	if (row->incarnation != 0 && row->incarnation != pgqueue_incarnation(topic))
	{
		int64		reach = pgqueue_incarnation_reach(topic, row->partition,
													  row->incarnation,
													  ends->latest);

		lost = offset > reach;
		if (lost || row->handed_to > reach)
			values[OUT_IN_HAND] = Int64GetDatum(0);
		offset = Min(offset, reach);
	}
	values[OUT_MISSED] =
		Int64GetDatum(DatumGetInt64(values[OUT_MISSED]) +
					  Max(ends->log_start - offset, 0));
	values[OUT_LOST] = BoolGetDatum(lost);
	values[OUT_EXPIRED] =
		BoolGetDatum(has_expired(walk, row, lost ? ends->log_start : offset));
}

/* Put out a row; the caller has set the columns from queue.progress. */
static void
put_row(Walk *walk, Row *row)
{
	Datum	   *values = row->values;
	bool	   *nulls = row->nulls;
	const Member *owner = pgqueue_place_owner(walk, row->partition);
	LogEnds    *ends = pgqueue_place_ends(walk->topic, row->partition);
	int			pid = pgqueue_place_holder(walk, row->partition);

	values[OUT_GROUP] = walk->group->name;
	values[OUT_TOPIC] = walk->topic->name;
	values[OUT_PARTITION] = Int32GetDatum(row->partition);
	values[OUT_EXPIRED] = values[OUT_LOST] = BoolGetDatum(false);
	nulls[OUT_LOG_START] = nulls[OUT_STABLE_END] = nulls[OUT_LOG_END] =
		ends == NULL;
	if (ends != NULL)
	{
		values[OUT_LOG_START] = Int64GetDatum(ends->log_start);
		values[OUT_STABLE_END] = Int64GetDatum(ends->stable_end);
		values[OUT_LOG_END] = Int64GetDatum(ends->log_end);
		set_missed(walk, row, ends);
	}
	set_text(row, OUT_MEMBER, owner == NULL ? NULL : owner->name);
	set_text(row, OUT_CLIENT, owner == NULL ? NULL : owner->client);
	nulls[OUT_PID] = pid == 0;
	values[OUT_PID] = Int32GetDatum(pid);
	pgqueue_put_row(walk->rsinfo, values, nulls, OUT_COLUMNS);
}

/* Put out rows of partitions without progress, from one down to behind another. */
static void
put_unseen(Walk *walk, int32 from, int32 until)
{
	for (int32 p = from; p > until; p--)
	{
		Row			row = {.partition = p};

		row.nulls[OUT_CURRENT] = row.nulls[OUT_COMMITTED_AT] =
			row.nulls[OUT_COMMITTED_BY] = row.nulls[OUT_METADATA] =
			row.nulls[OUT_RATE] = true;
		row.values[OUT_PAUSED] = BoolGetDatum(false);
		row.values[OUT_IN_HAND] = row.values[OUT_MISSED] = Int64GetDatum(0);
		put_row(walk, &row);
	}
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

	walk->scan = (RegistryScan) {0};
	for (int i = 0; i < fixed; i++)
		pgqueue_registry_key_int4(&walk->scan, i + 1, place[i]);
	if (fixed >= 0)
		pgqueue_registry_key(&walk->scan, fixed + 1, BTLessStrategyNumber,
							 F_INT4LT, Int32GetDatum(place[fixed]));
	walk->fixed = fixed;
	pgqueue_registry_scan(&walk->scan, REGISTRY_PROGRESS, AccessShareLock,
						  walk->snapshot);
}

static Datum
column(const Walk *walk, AttrNumber attr)
{
	return pgqueue_registry_column(&walk->scan, walk->tuple, attr);
}

/* Go on to the next row. */
static void
next_row(Walk *walk)
{
	CHECK_FOR_INTERRUPTS();
	while ((walk->tuple = pgqueue_registry_previous(&walk->scan)) == NULL)
	{
		if (walk->fixed <= 0)
			return;
		pgqueue_registry_end(&walk->scan);
		begin_scan(walk, walk->fixed - 1);
	}
	walk->place.group = DatumGetInt32(column(walk, PROGRESS_ATTR_GROUP));
	walk->place.topic = DatumGetInt32(column(walk, PROGRESS_ATTR_TOPIC));
	walk->place.partition = DatumGetInt32(column(walk, PROGRESS_ATTR_PARTITION));
}

/* Go on to the first row that begin_scan() finds. */
static void
skip(Walk *walk, int fixed)
{
	pgqueue_registry_end(&walk->scan);
	begin_scan(walk, fixed);
	next_row(walk);
}

/* Return true if the row at hand is of this place, or of its group and topic. */
static bool
is_at(const Walk *walk, const Place *place, bool partition)
{
	return HeapTupleIsValid(walk->tuple) &&
		walk->place.group == place->group &&
		walk->place.topic == place->topic &&
		(!partition || walk->place.partition == place->partition);
}

/*
 * Go on to the first row of another place, and compute from those passed the
 * messages consumed a second.  Return false if there was only one move.
 */
static bool
read_rate(Walk *walk, float8 *rate)
{
	const Place place = walk->place;
	int			rows = 0;
	int			moves = 0;
	int64		consumed = 0;	/* since the row last read, ... */
	int64		offset = 0;		/* ... which says this */
	char		action = PROGRESS_UNMOVED;
	TimestampTz time = 0;

	while (is_at(walk, &place, true))
	{
		int64		newer = offset;

		offset = DatumGetInt64(column(walk, PROGRESS_ATTR_OFFSET));
		if (action == PROGRESS_CONSUMED || action == PROGRESS_COMMITTED)
			consumed += Max(newer - offset, 0);
		action = DatumGetChar(column(walk, PROGRESS_ATTR_ACTION));
		time = DatumGetTimestampTz(column(walk, PROGRESS_ATTR_COMMITTED_AT));
		rows++;
		if (action != PROGRESS_HANDED && action != PROGRESS_UNMOVED)
			moves++;
		if (moves > RATE_ROWS || rows > RATE_ROWS_SEEN ||
			(moves > 1 && walk->now - time > RATE_SECONDS * USECS_PER_SEC))
			skip(walk, 2);
		else
			next_row(walk);
	}
	if (moves < 2 || walk->now <= time)
		return false;
	*rate = consumed / ((float8) (walk->now - time) / USECS_PER_SEC);
	return true;
}

/* Put out the row of the current place, and go on to the next place. */
static void
put_place(Walk *walk)
{
	Row			row = {.partition = walk->place.partition};
	Datum		newest[PROGRESS_NATTS];
	bool		nulls[PROGRESS_NATTS];
	MemoryContext old;
	HeapTuple	tuple;
	int64		offset;
	float8		rate = 0;

	MemoryContextReset(walk->row_context);
	old = MemoryContextSwitchTo(walk->row_context);
	tuple = heap_copytuple(walk->tuple);
	MemoryContextSwitchTo(old);
	pgqueue_registry_read(walk->scan.rel, tuple, PROGRESS_NATTS, newest, nulls);
	offset = DatumGetInt64(newest[PROGRESS_ATTR_OFFSET - 1]);
	row.values[OUT_CURRENT] = Int64GetDatum(offset);
	row.values[OUT_COMMITTED_AT] = newest[PROGRESS_ATTR_COMMITTED_AT - 1];
	row.values[OUT_COMMITTED_BY] = newest[PROGRESS_ATTR_COMMITTED_BY - 1];
	row.nulls[OUT_COMMITTED_BY] = nulls[PROGRESS_ATTR_COMMITTED_BY - 1];
	row.values[OUT_METADATA] = newest[PROGRESS_ATTR_METADATA - 1];
	row.nulls[OUT_METADATA] = nulls[PROGRESS_ATTR_METADATA - 1];
	row.values[OUT_PAUSED] = newest[PROGRESS_ATTR_PAUSED - 1];
	row.handed_to = nulls[PROGRESS_ATTR_HANDED_TO - 1] ? 0 :
		DatumGetInt64(newest[PROGRESS_ATTR_HANDED_TO - 1]);
	row.values[OUT_IN_HAND] = Int64GetDatum(Max(row.handed_to - offset, 0));
	row.values[OUT_MISSED] = nulls[PROGRESS_ATTR_MISSED - 1] ?
		Int64GetDatum(0) : newest[PROGRESS_ATTR_MISSED - 1];
	row.released = !nulls[PROGRESS_ATTR_RELEASED - 1];
	row.incarnation = nulls[PROGRESS_ATTR_INCARNATION - 1] ? 0 :
		DatumGetInt64(newest[PROGRESS_ATTR_INCARNATION - 1]);
	row.nulls[OUT_RATE] = !read_rate(walk, &rate);
	row.values[OUT_RATE] = Float8GetDatum(rate);
	put_row(walk, &row);
}

/* Put out the rows of a group in a topic, and go on to the next such pair. */
static void
put_pair(Walk *walk)
{
	const Place pair = walk->place;
	int32		unseen;

	if (!pgqueue_begin_pair(walk))
	{
		skip(walk, 1);
		return;
	}
	unseen = walk->topic->npartitions - 1;
	while (is_at(walk, &pair, false))
	{
		int32		partition = walk->place.partition;

		put_unseen(walk, unseen, partition);
		unseen = partition - 1;
		put_place(walk);
	}
	put_unseen(walk, unseen, -1);
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
	walk.row_context = AllocSetContextCreate(CurrentMemoryContext,
											 "queue progress row",
											 ALLOCSET_SMALL_SIZES);
	pgqueue_list_all(&walk);
	begin_scan(&walk, -1);
	next_row(&walk);
	while (HeapTupleIsValid(walk.tuple))
		put_pair(&walk);
	pgqueue_registry_end(&walk.scan);
	return (Datum) 0;
}
