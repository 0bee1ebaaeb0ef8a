/*-------------------------------------------------------------------------
 *
 * offsets.c
 *	  Set the offset at which a group continues: queue.create_group() and
 *	  reset_offsets(); and find the offset of a time or the time of an offset:
 *	  offsets_for_time(), offset_time().
 *
 * Every offset that is stored here is at most min(stable end, last committed
 * message + 1), determined after the group's lock was taken (src/README,
 * section 5).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/int.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/hsearch.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/base.h"
#include "wait/wait.h"
#include "topic/message.h"
#include "topic/segment.h"
#include "topic/topic.h"
#include "group/group.h"
#include "group/member.h"
#include "group/parking.h"
#include "group/progress.h"

PG_FUNCTION_INFO_V1(pgqueue_create_group);
PG_FUNCTION_INFO_V1(pgqueue_reset_offsets);
PG_FUNCTION_INFO_V1(pgqueue_offsets_for_time);
PG_FUNCTION_INFO_V1(pgqueue_offset_time);
PG_FUNCTION_INFO_V1(pgqueue_unread_time);

/* In the order of the arguments of reset_offsets(), from this one on. */
#define TARGET_ARG 2
typedef enum TargetKind
{
	TO_OFFSET,
	TO_TIME,
	TO_EARLIEST,
	TO_LATEST,
	SHIFT_BY
} TargetKind;

/* Where a group is to continue. */
typedef struct Target
{
	TargetKind	kind;
	Datum		value;			/* offset, time or shift */
} Target;

/*
 * Return the offset that a target means in a partition; before: the group's
 * offset.
 *
 * Errors: QU001 for an offset that is not in the log.
 */
static int64
target_offset(Topic *topic, int32 partition, const Target *target, int64 before)
{
	int64		number;
	LogEnds		ends;
	Found		place;
	Snapshot	snapshot;
	int64		offset;

	pgqueue_log_ends(topic, partition, &ends);
	switch (target->kind)
	{
		case TO_EARLIEST:
			return ends.log_start;
		case TO_LATEST:
			return ends.latest;
		case TO_OFFSET:
			number = DatumGetInt64(target->value);
			if (number < ends.log_start || number > ends.latest)
				pgqueue_offset_beyond(topic, partition, number, &ends);
			return number;
		case SHIFT_BY:
			number = DatumGetInt64(target->value);
			if (pg_add_s64_overflow(before, number, &offset))
				offset = number > 0 ? ends.latest : ends.log_start;
			return Min(Max(offset, ends.log_start), ends.latest);
		case TO_TIME:
			snapshot = RegisterSnapshot(GetLatestSnapshot());
			pgqueue_find_time(topic, partition,
							  DatumGetTimestampTz(target->value), snapshot,
							  &place);
			UnregisterSnapshot(snapshot);
			return place.found ? Min(place.offset, ends.latest) : ends.latest;
	}
	return ends.latest;			/* not reached */
}

/* ---------------- create_group ---------------- */

/* Say what start may be, in an error of the input of a time. */
static void
tell_start(void *arg)
{
	errhint("start is \"earliest\", \"latest\" or a time.");
}

/*
 * Read the argument start: earliest, latest, or a time.
 *
 * Errors: 22007, 22008.
 */
static void
start_target(char *start, Target *target)
{
	ErrorContextCallback place = {error_context_stack, tell_start};

	if (strcmp(start, "earliest") == 0)
		target->kind = TO_EARLIEST;
	else if (strcmp(start, "latest") == 0)
		target->kind = TO_LATEST;
	else
	{
		target->kind = TO_TIME;
		error_context_stack = &place;
		target->value = DirectFunctionCall3(timestamptz_in,
											CStringGetDatum(start),
											ObjectIdGetDatum(InvalidOid),
											Int32GetDatum(-1));
		error_context_stack = place.previous;
	}
}

/*
 * Write a group's first row in a partition.
 *
 * Locks: pgqueue_group_lock_shared(), pgqueue_topic_hold().
 * Errors: 42710, 40001.
 */
static void
start_partition(const ConsumerGroup *group, Topic *topic, int32 partition,
				const Target *target)
{
	Progress	progress;

	pgqueue_progress_lock_and_read(group->id, topic, partition, &progress);
	if (progress.found)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("consumer group \"%s\" already reads topic \"%s\"",
						group->name, topic->name),
				 errhint("To move its offsets call queue.reset_offsets().")));
	progress.offset = target_offset(topic, partition, target, 0);
	pgqueue_progress_write(&progress, PROGRESS_STARTED);
}

/* (consumer_group, topic, start, auto_offset_reset, expiry) */
Datum
pgqueue_create_group(PG_FUNCTION_ARGS)
{
	Topic	   *topic;
	ConsumerGroup group;
	GroupSettings settings;
	Target		target = {0};
	bool		set;

	pgqueue_check_writable(fcinfo);
	pgqueue_check_not_null(fcinfo, 2, "start");
	topic = pgqueue_readable_topic(fcinfo, 1);
	pgqueue_group_arg(fcinfo, false, &group);
	start_target(text_to_cstring(PG_GETARG_TEXT_PP(2)), &target);
	set = pgqueue_group_settings_arg(fcinfo, 3, &settings);

	if (group.id == 0 && pgqueue_group_ensure(&group, &settings))
		set = false;			/* made with these settings */
	if (set)
		pgqueue_group_lock_settings(&group);
	(void) pgqueue_group_lock_shared(group.id, true);
	topic = pgqueue_topic_hold(topic);
	pgqueue_group_check_same(&group);
	for (int32 p = 0; p < topic->npartitions; p++)
		start_partition(&group, topic, p, &target);
	/* after the offsets, since it may begin another command */
	if (set)
		pgqueue_group_set(&group, &settings);
	PG_RETURN_VOID();
}

/* ---------------- reset_offsets ---------------- */

/* Read the arguments of which exactly one must be given.  Errors: 22023. */
static void
reset_target(FunctionCallInfo fcinfo, Target *target)
{
	int			n = 0;

	for (TargetKind kind = TO_OFFSET; kind <= SHIFT_BY; kind++)
	{
		int			arg = TARGET_ARG + kind;
		bool		flag = kind == TO_EARLIEST || kind == TO_LATEST;

		if (PG_ARGISNULL(arg) || (flag && !PG_GETARG_BOOL(arg)))
			continue;
		n++;
		target->kind = kind;
		target->value = PG_GETARG_DATUM(arg);
	}
	if (n != 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("exactly one of to_offset, to_time, to_earliest, to_latest and shift_by must be given, not %d",
						n)));
}

/*
 * Move a group's offset in a partition.  A member that has messages in hand is
 * fenced: it cannot commit them any more.  Messages that retention removed
 * unread are counted as missed, as if the group had jumped by itself.  Parked
 * messages are forgotten: those from the new offset on are read again.
 *
 * Locks: takes the group's progress in the partition, unless dry_run.
 */
static void
reset_partition(ConsumerGroup *group, Topic *topic, int32 partition,
				const Target *target, bool dry_run, ReturnSetInfo *rsinfo)
{
	Progress	progress;
	Datum		values[4];
	bool		nulls[4] = {false};
	int64		before;
	int64		after;

	if (dry_run)
		pgqueue_progress_look(group->id, pgqueue_topic_refresh(topic),
							  partition, &progress);
	else
		pgqueue_progress_lock_and_read(group->id, topic, partition, &progress);
	before = progress.found ? progress.offset :
		pgqueue_log_start(topic, partition);
	if (progress.lost && target->kind == SHIFT_BY)
		pgqueue_offset_lost(topic, partition, before, progress.reach,
							"committed offset",
							_("Name an offset, a time or an end of the log."));
	after = target_offset(topic, partition, target, before);

	values[0] = Int32GetDatum(partition);
	values[1] = Int64GetDatum(before);
	nulls[1] = !progress.found;
	values[2] = Int64GetDatum(after);
	values[3] = Int64GetDatum(dry_run ?
							  pgqueue_parked_before(&progress, after) :
							  pgqueue_parked_forget(&progress, after));
	pgqueue_put_row(rsinfo, values, nulls, lengthof(values));
	if (dry_run)
		return;

	progress.missed +=
		pgqueue_missed(&progress, pgqueue_log_start(topic, partition), after);
	progress.offset = after;
	progress.metadata = NULL;
	/* what has failed so far says nothing of what comes now */
	progress.failures = 0;
	progress.probe_at = 0;
	pgqueue_new_epoch(&progress);
	pgqueue_progress_write(&progress, PROGRESS_RESET);
	pgqueue_note_progress(group->id, topic->id, partition, true);
}

/*
 * (consumer_group, topic, to_offset, to_time, to_earliest, to_latest,
 * shift_by, partition, dry_run) -> (partition, old_offset, new_offset, forgotten)
 */
Datum
pgqueue_reset_offsets(PG_FUNCTION_ARGS)
{
	Topic	   *topic;
	ConsumerGroup group;
	Target		target = {0};
	bool		dry_run;
	int32		first = 0;
	int32		last;

	pgqueue_check_not_null(fcinfo, 8, "dry_run");
	dry_run = PG_GETARG_BOOL(8);
	if (!dry_run)
		pgqueue_check_writable(fcinfo);
	topic = pgqueue_readable_topic(fcinfo, 1);
	pgqueue_known_group_arg(fcinfo, topic, &group);
	reset_target(fcinfo, &target);
	if (!PG_ARGISNULL(7))
		pgqueue_check_partition(topic, PG_GETARG_INT32(7));
	InitMaterializedSRF(fcinfo, 0);

	if (!dry_run)
	{
		(void) pgqueue_group_lock_shared(group.id, true);
		topic = pgqueue_topic_hold(topic);
		pgqueue_group_check_same(&group);
	}
	last = topic->npartitions - 1;
	if (!PG_ARGISNULL(7))
		first = last = PG_GETARG_INT32(7);
	for (int32 p = first; p <= last; p++)
	{
		CHECK_FOR_INTERRUPTS();
		reset_partition(&group, topic, p, &target, dry_run,
						(ReturnSetInfo *) fcinfo->resultinfo);
	}
	return (Datum) 0;
}

/* ---------------- times ---------------- */

/* (topic, time, partition) -> (partition, offset, timestamp) */
Datum
pgqueue_offsets_for_time(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Topic	   *topic;
	int32		first = 0;
	int32		last;

	pgqueue_check_not_null(fcinfo, 1, "time");
	pgqueue_check_not_null(fcinfo, 0, "topic");
	topic = pgqueue_topic_arg(PG_GETARG_TEXT_PP(0));
	pgqueue_check_may_look(topic);
	last = topic->npartitions - 1;
	if (!PG_ARGISNULL(2))
	{
		first = last = PG_GETARG_INT32(2);
		pgqueue_check_partition(topic, first);
	}
	InitMaterializedSRF(fcinfo, 0);
	for (int32 p = first; p <= last; p++)
	{
		Datum		values[3];
		bool		nulls[3] = {false};
		Found		place;

		CHECK_FOR_INTERRUPTS();
		pgqueue_find_time(topic, p, PG_GETARG_TIMESTAMPTZ(1),
						  GetActiveSnapshot(), &place);
		values[0] = Int32GetDatum(p);
		values[1] = Int64GetDatum(place.offset);
		values[2] = TimestampTzGetDatum(place.timestamp);
		nulls[1] = nulls[2] = !place.found;
		pgqueue_put_row(rsinfo, values, nulls, lengthof(values));
	}
	return (Datum) 0;
}

/*
 * The message that offset_time() last found in a partition.  The answer stays
 * valid: no message appears between an offset and the first message behind it,
 * and messages keep their times.  It is not remembered that there is no
 * message.
 */
typedef struct FoundTime
{
	struct
	{
		int32		topic_id;
		int32		partition;
	}			key;
	int64		from;			/* the offset asked for */
	Found		place;			/* found: valid */
	bool		failed;			/* the partition cannot be read */
} FoundTime;

/* Return what was last found for arguments 1 and 2, to find it if it is not. */
static FoundTime *
last_found(FunctionCallInfo fcinfo, const Topic *topic)
{
	FmgrInfo   *flinfo = fcinfo->flinfo;
	FoundTime	asked = {{topic->id, PG_GETARG_INT32(1)}, PG_GETARG_INT64(2)};
	FoundTime  *last;
	bool		found;

	if (flinfo->fn_extra == NULL)
	{
		HASHCTL		ctl = {.keysize = sizeof(asked.key),
			.entrysize = sizeof(FoundTime), .hcxt = flinfo->fn_mcxt};

		flinfo->fn_extra = hash_create("queue times", 64, &ctl,
									   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	last = hash_search(flinfo->fn_extra, &asked.key, HASH_ENTER, &found);
	if (!found)
		*last = asked;
	if (last->from != asked.from)
		last->place.found = false;
	last->from = asked.from;
	return last;
}

/* Find the time of the first message from an offset on; a TopicTask. */
static void
find_offset_time(Topic *topic, void *arg)
{
	FoundTime  *last = arg;
	int32		partition = last->key.partition;

	pgqueue_check_may_look(topic);
	pgqueue_check_partition(topic, partition);
	if (last->from < pgqueue_log_start(topic, partition))
		last->place.found = false;
	else if (!last->place.found)
		pgqueue_find_offset(topic, partition, last->from, GetActiveSnapshot(),
							&last->place);
}

/*
 * (topic, partition, offset) -> timestamp of the first message from there on,
 * NULL if there is none.
 */
Datum
pgqueue_offset_time(PG_FUNCTION_ARGS)
{
	Topic	   *topic = pgqueue_topic_arg(PG_GETARG_TEXT_PP(0));
	FoundTime  *last = last_found(fcinfo, topic);

	find_offset_time(topic, last);
	if (!last->place.found)
		PG_RETURN_NULL();
	PG_RETURN_TIMESTAMPTZ(last->place.timestamp);
}

/*
 * As offset_time(), for view queue.consumer_groups, which must not fail for
 * one topic: return NULL, too, if the topic is dropped, locked or cannot be
 * read, or the user may not read it.  Groups at the same offset cost one
 * look-up.
 */
Datum
pgqueue_unread_time(PG_FUNCTION_ARGS)
{
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	bool		locked;
	Topic	   *topic = pgqueue_attempt_find(name, &locked);
	FoundTime  *last;

	if (topic == NULL || topic->broken != NULL ||
		pgqueue_partition_broken(topic, PG_GETARG_INT32(1)) ||
		!pgqueue_may_look(topic))
		PG_RETURN_NULL();
	last = last_found(fcinfo, topic);
	if (!last->failed)
		last->failed = !pgqueue_attempt(topic, find_offset_time, last, NULL);
	if (last->failed || !last->place.found)
		PG_RETURN_NULL();
	PG_RETURN_TIMESTAMPTZ(last->place.timestamp);
}
