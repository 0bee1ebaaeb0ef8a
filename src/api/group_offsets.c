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
 * Used partitions that the group has not begun to read have no row in
 * queue.progress.  They have one in the result, without an offset: the group
 * will begin them at the log start, so all their messages count as lag.  So do
 * the partitions of a topic in which the group has members, and no row at all.
 * A group that has neither has one row, without a topic.
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
#include "group/parking.h"
#include "group/progress.h"
#include "api/group_offsets.h"

PG_FUNCTION_INFO_V1(pgqueue_group_offsets);

/* Rows that leave the offset alone are no moves, but count as seen. */
#define RATE_SECONDS	60
#define RATE_ROWS		20
#define RATE_ROWS_SEEN	100

/* Columns of the result. */
enum
{
	OUT_GROUP, OUT_TOPIC, OUT_PARTITION, OUT_CURRENT, OUT_LOG_START,
	OUT_STABLE_END, OUT_LOG_END, OUT_COMMITTED_AT, OUT_COMMITTED_BY,
	OUT_METADATA, OUT_MEMBER, OUT_CLIENT, OUT_PID, OUT_PAUSED, OUT_IN_HAND,
	OUT_RATE, OUT_MISSED, OUT_EXPIRED, OUT_LOST, OUT_PARKED, OUT_DELAYED,
	OUT_TRIPPED, OUT_COLUMNS
};

/* The newest row of a group in a partition; all NULL if there is none. */
typedef struct Newest
{
	int32		partition;
	Datum		values[PROGRESS_NATTS];
	bool		nulls[PROGRESS_NATTS];
	Progress	progress;		/* the same; all 0 */
} Newest;

/* ---------------- a row of the result ---------------- */

/* Return a column, or 0 for NULL. */
static int64
number(const Newest *newest, int attr)
{
	return pgqueue_registry_int8(newest->values, newest->nulls, attr);
}

typedef struct ExpiredTask
{
	Walk	   *walk;
	int32		partition;
	int64		offset;
	const Progress *progress;
	bool		result;
} ExpiredTask;

/* Find out whether a group has expired; a TopicTask. */
static void
ask_expired(Topic *topic, void *arg)
{
	ExpiredTask *task = arg;
	int64		parked = pgqueue_parked_least(topic, task->progress);

	task->result = pgqueue_group_expired(&task->walk->group->group, topic,
										 task->partition,
										 Min(task->offset, parked),
										 task->progress->released,
										 &task->walk->used);
}

/*
 * Return true if the group, which is at an offset, has expired in the
 * partition.  The messages by which that is decided may be removed by now, or
 * unreadable.
 */
static bool
has_expired(Walk *walk, const Newest *newest, int64 offset)
{
	ListedTopic *listed = walk->topic;
	ExpiredTask task = {walk, newest->partition, offset,
	&newest->progress, false};

	/* most groups cannot have expired; then no message is read */
	if (listed->topic->id != listed->id ||
		!pgqueue_group_may_expire(&walk->group->group, listed->topic,
								  newest->progress.released) ||
		pgqueue_partition_broken(listed->topic, task.partition))
		return false;
	(void) pgqueue_attempt(listed->topic, ask_expired, &task, &listed->warned);
	return task.result;
}

/*
 * Set the columns that follow from the ends of the log and the group's offset,
 * or the log start if it has none.  A group whose offset is lost
 * (topic/incarnation.c) has read nothing of this log, and no member has
 * messages of it in hand.
 */
static void
set_by_ends(Walk *walk, const Newest *newest, const LogEnds *ends,
			Datum *values)
{
	Topic	   *topic = walk->topic->topic;
	int64		incarnation = number(newest, PROGRESS_ATTR_INCARNATION);
	int64		missed = number(newest, PROGRESS_ATTR_MISSED);
	int64		offset = ends->log_start;
	bool		lost = false;

	values[OUT_LOG_START] = Int64GetDatum(ends->log_start);
	values[OUT_STABLE_END] = Int64GetDatum(ends->stable_end);
	values[OUT_LOG_END] = Int64GetDatum(ends->log_end);
	if (!newest->nulls[PROGRESS_ATTR_OFFSET - 1])
		offset = number(newest, PROGRESS_ATTR_OFFSET);
	if (incarnation != 0 && incarnation != pgqueue_incarnation(topic))
	{
		int64		reach =
			pgqueue_incarnation_reach(topic, newest->partition, incarnation,
									  ends->latest);

		lost = offset > reach;
		if (lost || number(newest, PROGRESS_ATTR_HANDED_TO) > reach)
			values[OUT_IN_HAND] = Int64GetDatum(0);
		offset = Min(offset, reach);
	}
	missed += Max(ends->log_start - offset, 0);
	if (lost)
		offset = ends->log_start;
	values[OUT_MISSED] = Int64GetDatum(missed);
	values[OUT_LOST] = BoolGetDatum(lost);
	values[OUT_EXPIRED] = BoolGetDatum(has_expired(walk, newest, offset));
}

/* Put out the row of a partition.  rate: messages a second, or NULL. */
static void
put_row(Walk *walk, const Newest *newest, const float8 *rate)
{
	static const int as_is[][2] = {
		{PROGRESS_ATTR_OFFSET, OUT_CURRENT},
		{PROGRESS_ATTR_COMMITTED_AT, OUT_COMMITTED_AT},
		{PROGRESS_ATTR_COMMITTED_BY, OUT_COMMITTED_BY},
		{PROGRESS_ATTR_METADATA, OUT_METADATA}
	};
	int32		partition = newest->partition;
	const Member *owner = pgqueue_place_owner(walk, partition);
	LogEnds    *ends = pgqueue_place_ends(walk->topic, partition);
	int			pid = pgqueue_place_holder(walk, partition);
	int64		in_hand = number(newest, PROGRESS_ATTR_HANDED_TO) -
		number(newest, PROGRESS_ATTR_OFFSET);
	Datum		values[OUT_COLUMNS] = {0};
	bool		nulls[OUT_COLUMNS] = {false};

	for (int i = 0; i < lengthof(as_is); i++)
	{
		values[as_is[i][1]] = newest->values[as_is[i][0] - 1];
		nulls[as_is[i][1]] = newest->nulls[as_is[i][0] - 1];
	}
	if (!walk->topic->has_metadata)
		nulls[OUT_METADATA] = true;
	values[OUT_GROUP] = walk->group->name;
	values[OUT_TOPIC] = walk->topic->name;
	values[OUT_PARTITION] = Int32GetDatum(partition);
	nulls[OUT_MEMBER] = owner == NULL;
	nulls[OUT_CLIENT] = owner == NULL || owner->client == NULL;
	if (!nulls[OUT_MEMBER])
		values[OUT_MEMBER] = CStringGetTextDatum(owner->name);
	if (!nulls[OUT_CLIENT])
		values[OUT_CLIENT] = CStringGetTextDatum(owner->client);
	values[OUT_PID] = Int32GetDatum(pid);
	nulls[OUT_PID] = pid == 0;
	if (!newest->nulls[PROGRESS_ATTR_PAUSED - 1])
		values[OUT_PAUSED] = newest->values[PROGRESS_ATTR_PAUSED - 1];
	values[OUT_IN_HAND] = Int64GetDatum(Max(in_hand, 0));
	values[OUT_RATE] = Float8GetDatum(rate == NULL ? 0 : *rate);
	nulls[OUT_RATE] = rate == NULL;
	values[OUT_MISSED] = Int64GetDatum(number(newest, PROGRESS_ATTR_MISSED));
	values[OUT_PARKED] = Int64GetDatum(number(newest, PROGRESS_ATTR_PARKED));
	values[OUT_DELAYED] = Int64GetDatum(number(newest, PROGRESS_ATTR_DELAYED));
	values[OUT_TRIPPED] = BoolGetDatum(pgqueue_is_stopped(&newest->progress));
	nulls[OUT_LOG_START] = nulls[OUT_STABLE_END] = nulls[OUT_LOG_END] =
		ends == NULL;
	if (ends != NULL)
		set_by_ends(walk, newest, ends, values);
	pgqueue_put_row(walk->rsinfo, values, nulls, OUT_COLUMNS);
}

/*
 * Put out rows of used partitions without progress: those behind a partition of
 * the first *n, the last one first.  Leave in *n those before it.
 */
static void
put_unseen(Walk *walk, int *n, int32 partition)
{
	const int32 *used = walk->topic->used;
	Newest		none;

	memset(none.nulls, true, sizeof(none.nulls));
	memset(&none.progress, 0, sizeof(Progress));
	for (; *n > 0 && used[*n - 1] > partition; --*n)
	{
		none.partition = used[*n - 1];
		put_row(walk, &none, NULL);
	}
	if (*n > 0 && used[*n - 1] == partition)
		--*n;
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
	Place	   *place = &walk->place;

	CHECK_FOR_INTERRUPTS();
	while ((walk->tuple = pgqueue_registry_previous(&walk->scan)) == NULL)
	{
		if (walk->fixed <= 0)
			return;
		pgqueue_registry_end(&walk->scan);
		begin_scan(walk, walk->fixed - 1);
	}
	place->group = DatumGetInt32(column(walk, PROGRESS_ATTR_GROUP));
	place->topic = DatumGetInt32(column(walk, PROGRESS_ATTR_TOPIC));
	place->partition = DatumGetInt32(column(walk, PROGRESS_ATTR_PARTITION));
}

/* Go on to the first row that begin_scan() finds. */
static void
skip(Walk *walk, int fixed)
{
	pgqueue_registry_end(&walk->scan);
	begin_scan(walk, fixed);
	next_row(walk);
}

/* Return true if the row at hand is of a place, or of its group and topic. */
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
		if (action != PROGRESS_HANDED && action != PROGRESS_PARKED &&
			action != PROGRESS_UNMOVED)
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
	Newest		newest;
	MemoryContext old;
	HeapTuple	tuple;
	float8		rate;

	MemoryContextReset(walk->row_context);
	old = MemoryContextSwitchTo(walk->row_context);
	tuple = heap_copytuple(walk->tuple);
	newest.progress = (Progress) {
		.group_id = walk->place.group,
		.topic = walk->topic->topic,
		.partition = walk->place.partition
	};
	pgqueue_progress_row_read(walk->scan.rel, tuple, &newest.progress);
	MemoryContextSwitchTo(old);
	pgqueue_registry_read(walk->scan.rel, tuple, PROGRESS_NATTS, newest.values,
						  newest.nulls);
	newest.partition = walk->place.partition;
	put_row(walk, &newest, read_rate(walk, &rate) ? &rate : NULL);
}

/* Put out the rows of a group in a topic, and go on to the next such pair. */
static void
put_pair(Walk *walk)
{
	const Place pair = walk->place;
	int			unseen;

	if (!pgqueue_begin_pair(walk))
	{
		skip(walk, 1);
		return;
	}
	unseen = walk->topic->nused;
	while (is_at(walk, &pair, false))
	{
		put_unseen(walk, &unseen, walk->place.partition);
		put_place(walk);
	}
	put_unseen(walk, &unseen, -1);
}

/* Put out the row of a group without partitions.  topic: its name, or 0: none. */
static void
put_bare(Walk *walk, Datum group, Datum topic)
{
	Datum		values[OUT_COLUMNS] = {[OUT_GROUP] = group,[OUT_TOPIC] = topic};
	bool		nulls[OUT_COLUMNS];

	memset(nulls, true, sizeof(nulls));
	nulls[OUT_GROUP] = false;
	nulls[OUT_TOPIC] = topic == 0;
	pgqueue_put_row(walk->rsinfo, values, nulls, OUT_COLUMNS);
}

/*
 * Put out the rows of groups and topics that have members, and no offset: one
 * without a partition if no partition is used.
 */
static void
put_members_only(Walk *walk)
{
	HASH_SEQ_STATUS scan;
	Pair	   *pair;

	/* pgqueue_begin_pair() removes the entry, which is allowed */
	hash_seq_init(&scan, walk->members_only);
	while ((pair = hash_seq_search(&scan)) != NULL)
	{
		walk->place = (Place) {pair->group, pair->topic};
		if (pgqueue_begin_pair(walk))
		{
			int			unseen = walk->topic->nused;

			if (unseen == 0)
				put_bare(walk, walk->group->name, walk->topic->name);
			put_unseen(walk, &unseen, -1);
		}
	}
}

/* Put out a row for each group that has no topic, and that the user may see. */
static void
put_lone_groups(Walk *walk)
{
	HASH_SEQ_STATUS scan;
	ListedGroup *listed;

	hash_seq_init(&scan, walk->groups);
	while ((listed = hash_seq_search(&scan)) != NULL)
	{
		if (!listed->has_topic &&
			(pgqueue_is_monitor() || pgqueue_belongs(&listed->group.owner)))
			put_bare(walk, listed->name, 0);
	}
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
	put_members_only(&walk);
	put_lone_groups(&walk);
	return (Datum) 0;
}
