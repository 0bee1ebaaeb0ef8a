/*-------------------------------------------------------------------------
 *
 * group_list.c
 *	  queue.group_offsets(): how far each group is in each partition; what view
 *	  queue.consumer_groups shows.
 *
 * One walk over the index of queue.progress from its end: the first row met of
 * a (group, topic, partition) is the newest; those behind it, up to a minute or
 * RATE_ROWS moves of the offset, tell how fast the group is.  The rest of its
 * history is jumped over.	The ends of a partition are asked for once, whatever
 * the number of groups.
 *
 * Partitions of a topic that the group has not begun to read have no row in
 * queue.progress.	They have one here, without an offset: the group will begin
 * them at the log start, so what they hold is lag.
 *
 *-------------------------------------------------------------------------
 */
#include "queue.h"

#include "access/genam.h"
#include "access/table.h"
#include "catalog/pg_type_d.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

PG_FUNCTION_INFO_V1(pgqueue_group_offsets);

/*
 * A rate is taken over a minute, or over so many moves of the offset.	Rows that
 * leave it are no moves; but no more rows than that are looked at.
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

typedef struct Place
{
	int32		group;
	int32		topic;
	int32		partition;
} Place;

/*
 * A topic, once it was met.  topic may be described anew in mid-walk, when its
 * segments are looked at, and may even be another one of the same name by then:
 * the arrays are as long as npartitions says, not as topic does.
 */
typedef struct ListedTopic
{
	int32		id;				/* hash key */
	Topic	   *topic;
	Datum		name;
	int			npartitions;
	bool	   *asked;			/* for the ends of a partition ... */
	bool	   *has_ends;		/* ... with this answer */
	LogEnds    *ends;
	bool		warned;			/* of what cannot be read */
} ListedTopic;

typedef struct ListedGroup
{
	int32		id;				/* hash key */
	Datum		name;
	ConsumerGroup group;
} ListedGroup;

/* A transaction that has a group's partition, or one that shares its lock. */
typedef struct Holder
{
	Place		place;			/* hash key; the lowest of these partitions */
	int			pid;
} Holder;

typedef struct Walk
{
	ReturnSetInfo *rsinfo;
	Relation	rel;
	Relation	index;
	Snapshot	snapshot;
	SysScanDesc scan;
	int			fixed;			/* leading columns that the scan fixes; -1: none */
	HTAB	   *topics;
	HTAB	   *groups;
	HTAB	   *holders;
	bool		anybody;		/* holders has entries */
	TimestampTz now;
	MemoryContext row_context;	/* the newest row; reset with each place */

	/* the place under way */
	bool		any;
	Place		place;
	HeapTuple	newest;
	bool		full;			/* enough for the rate */
	int			rows;			/* moves, the newest row's included */
	int			seen;			/* rows */
	int64		moved;			/* messages consumed since the row last read ... */
	int64		last_offset;	/* ... which says this */
	char		last_action;
	TimestampTz last_time;

	bool		released;		/* holds nothing until it is used again */
	int64		incarnation;	/* of the offset; 0: this one */
	int64		handed_to;

	int32		unseen;			/* partitions up to here are yet to come */

	/* what was last looked up; NULL: nothing, or not the user's business */
	Place		found;
	ListedTopic *topic;
	ListedGroup *group;

	/* of the group and topic last met: members, last use (expiry.c) */
	Place		members_of;
	Members		members;
	TimestampTz used;
} Walk;

/* ---------------- what there is ---------------- */

static HTAB *
make_hash(const char *name, Size key, Size entry)
{
	HASHCTL		ctl;

	ctl.keysize = key;
	ctl.entrysize = entry;
	ctl.hcxt = CurrentMemoryContext;
	return hash_create(name, 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

static void
list_topics(Walk *walk)
{
	ListCell   *lc;

	walk->topics = make_hash("queue topics by id", sizeof(int32),
							 sizeof(ListedTopic));
	foreach(lc, pgqueue_topic_names())
	{
		Topic	   *topic = pgqueue_attempt_topic(lfirst(lc));
		ListedTopic *listed;

		if (topic == NULL)
			continue;
		listed = hash_search(walk->topics, &topic->id, HASH_ENTER, NULL);
		listed->topic = topic;
		listed->name = CStringGetTextDatum(topic->name);
		listed->npartitions = topic->npartitions;
		listed->asked = palloc0(topic->npartitions * sizeof(bool));
		listed->has_ends = palloc0(topic->npartitions * sizeof(bool));
		listed->ends = palloc(topic->npartitions * sizeof(LogEnds));
		listed->warned = false;
	}
}

static void
list_groups(Walk *walk)
{
	Relation	rel = pgqueue_registry_open(REGISTRY_GROUP);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false,
										  walk->snapshot, 0, NULL);
	HeapTuple	tuple;

	walk->groups = make_hash("queue groups by id", sizeof(int32),
							 sizeof(ListedGroup));
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		ConsumerGroup group = {0};
		ListedGroup *listed;

		pgqueue_group_read(rel, tuple, &group);
		listed = hash_search(walk->groups, &group.id, HASH_ENTER, NULL);
		listed->name = CStringGetTextDatum(group.name);
		listed->group = group;
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
}

/* Who has locked which partition. */
static void
list_holders(Walk *walk)
{
	LockData   *locks = GetLockStatusData();

	walk->holders = make_hash("queue holders", sizeof(Place), sizeof(Holder));
	for (int i = 0; i < locks->nelements; i++)
	{
		const LockInstanceData *lock = &locks->locks[i];
		const LOCKTAG *tag = &lock->locktag;
		Place		place;
		Holder	   *holder;

		if (tag->locktag_type != LOCKTAG_ADVISORY ||
			tag->locktag_field1 != MyDatabaseId ||
			!(tag->locktag_field4 & PGQUEUE_LOCK_GROUP) ||
			!(lock->holdMask & LOCKBIT_ON(ExclusiveLock)))
			continue;
		place.group = (int32) tag->locktag_field2;
		place.topic = (int32) tag->locktag_field3;
		place.partition = tag->locktag_field4 & ~PGQUEUE_LOCK_GROUP;
		holder = hash_search(walk->holders, &place, HASH_ENTER, NULL);
		holder->pid = lock->pid;
		walk->anybody = true;
	}
	pfree(locks->locks);
	pfree(locks);
}

/* Topic and group of a place, mostly those of the one before.	False: unknown. */
static bool
look_up(Walk *walk, const Place *place)
{
	if (walk->found.topic != place->topic)
		walk->topic = hash_search(walk->topics, &place->topic, HASH_FIND, NULL);
	if (walk->found.group != place->group)
		walk->group = hash_search(walk->groups, &place->group, HASH_FIND, NULL);
	walk->found = *place;
	return walk->topic != NULL && walk->group != NULL;
}

/*
 * Return the ends of a partition, or NULL if they cannot be read, or if the
 * partition was added, or the topic dropped, since the walk began.
 */
static LogEnds *
ends_of(ListedTopic *listed, int32 partition)
{
	if (partition < 0 || partition >= listed->npartitions ||
		listed->topic->id != listed->id)
		return NULL;
	if (!listed->asked[partition])
	{
		CHECK_FOR_INTERRUPTS();
		listed->asked[partition] = true;
		listed->has_ends[partition] =
			pgqueue_attempt_log_ends(listed->topic, partition,
									 &listed->ends[partition],
									 &listed->warned);
	}
	return listed->has_ends[partition] ? &listed->ends[partition] : NULL;
}

/* The live member that owns the place, or NULL. */
static const Member *
owner_of(Walk *walk, const Place *place)
{
	if (walk->members_of.group != place->group ||
		walk->members_of.topic != place->topic)
	{
		pgqueue_members_read(place->group, place->topic, &walk->members);
		walk->members_of = *place;
		walk->used = 0;
	}
	for (int i = 0; i < walk->members.n; i++)
	{
		const Member *member = &walk->members.members[i];

		for (int k = 0; member->alive && k < member->npartitions; k++)
			if (member->partitions[k] == place->partition)
				return member;
	}
	return NULL;
}

/* ---------------- a place ---------------- */

static int64
fixed_int64(HeapTuple tuple, int attr, TupleDesc desc)
{
	bool		isnull;

	return DatumGetInt64(heap_getattr(tuple, attr, desc, &isnull));
}

/* Messages a second since the last move read; false if there is but one. */
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

/* A TopicTask. */
static void
ask_expired(Topic *topic, void *arg)
{
	ExpiredTask *task = arg;

	task->result = pgqueue_group_expired(task->group, topic, task->partition,
										 task->offset, task->released,
										 task->used);
}

/*
 * Return true if the group of a place, which is at an offset, has expired there.
 * The messages that tell it may be gone by now, or not be readable.
 */
static bool
has_expired(Walk *walk, const Place *place, int64 offset)
{
	ListedTopic *listed = walk->topic;
	ExpiredTask task = {&walk->group->group, place->partition, offset,
	walk->released, &walk->used, false};

	/* mostly it cannot; then nothing is to be read, and nothing can fail */
	if (listed->topic->id != listed->id ||
		!pgqueue_group_may_expire(task.group, listed->topic, task.released) ||
		pgqueue_partition_broken(listed->topic, place->partition))
		return false;
	(void) pgqueue_attempt(listed->topic, ask_expired, &task, &listed->warned);
	return task.result;
}

/*
 * What the ends of the log say of a group that is at an offset, or at the start.
 * One whose offset is lost (incarnation.c) has read nothing of this log, and
 * nothing of it is in a member's hand.
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
 * Put out a row; the caller has filled in what queue.progress says of the place.
 * Nothing is put out about what the user may not see.
 */
static void
put_row(Walk *walk, const Place *place, Datum *values, bool *nulls)
{
	Holder	   *holder = NULL;
	const Member *owner;
	LogEnds    *ends;

	if (!look_up(walk, place))
		return;
	values[OUT_GROUP] = walk->group->name;
	values[OUT_TOPIC] = walk->topic->name;
	values[OUT_PARTITION] = Int32GetDatum(place->partition);
	ends = ends_of(walk->topic, place->partition);
	nulls[OUT_LOG_START] = nulls[OUT_STABLE_END] = nulls[OUT_LOG_END] =
		ends == NULL;
	if (ends != NULL)
	{
		values[OUT_LOG_START] = Int64GetDatum(ends->log_start);
		values[OUT_STABLE_END] = Int64GetDatum(ends->stable_end);
		values[OUT_LOG_END] = Int64GetDatum(ends->log_end);
	}
	owner = owner_of(walk, place);
	set_text(values, nulls, OUT_MEMBER, owner == NULL ? NULL : owner->name);
	set_text(values, nulls, OUT_CLIENT, owner == NULL ? NULL : owner->client);
	values[OUT_EXPIRED] = values[OUT_LOST] = BoolGetDatum(false);
	if (ends != NULL)
		set_missed(walk, place, ends, values, nulls);
	if (walk->anybody)
	{
		Place		locked = *place;

		locked.partition %= PGQUEUE_LOCKED_PARTITIONS;
		holder = hash_search(walk->holders, &locked, HASH_FIND, NULL);
	}
	nulls[OUT_PID] = holder == NULL || holder->pid == 0;
	values[OUT_PID] = Int32GetDatum(nulls[OUT_PID] ? 0 : holder->pid);
	pgqueue_put_row(walk->rsinfo, values, nulls, OUT_COLUMNS);
}

/* The row of a place all of whose rows have been seen. */
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

/* Rows of the partitions yet to come, down to one that is there, or -1. */
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

/* The walk comes to another place, or, if NULL, to its end. */
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

/* The newest row of another place. */
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

/* The row before, of the same place. */
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
 * Scan, backward, what lies before the place under way: the partitions before
 * it (fixed: 2, group and topic), then the topics before it (1), then the
 * groups before it (0).  -1: everything.
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
	list_topics(&walk);
	list_groups(&walk);
	list_holders(&walk);
	walk.rel = pgqueue_registry_open(REGISTRY_PROGRESS);
	walk.index = index_open(pgqueue_registry(REGISTRY_PROGRESS_INDEX),
							AccessShareLock);
	walk_all(&walk);
	index_close(walk.index, AccessShareLock);
	table_close(walk.rel, AccessShareLock);
	return (Datum) 0;
}
