/*-------------------------------------------------------------------------
 *
 * take.c
 *	  Take a partition: read what follows the group's offset, and either move
 *	  the offset over it (queue.consume) or hand it to a member (queue.poll).
 *
 * Both follow one protocol, in src/README, section 11: the lock of the group's
 * partition comes first, conditionally, then the offset, then the messages.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/snapmgr.h"

#include "base/base.h"
#include "wait/wait.h"
#include "topic/message.h"
#include "topic/topic.h"
#include "group/group.h"
#include "group/member.h"
#include "group/parking.h"
#include "group/progress.h"

/* ---------------- arguments ---------------- */

static Topic *
readable(Topic *topic)
{
	pgqueue_check_right(topic, ACL_SELECT);
	return topic;
}

/*
 * Return the topic that an argument names, which the user must be able to read.
 *
 * Errors: 22004, 42704, 42501.
 */
Topic *
pgqueue_readable_topic(FunctionCallInfo fcinfo, int arg)
{
	pgqueue_check_not_null(fcinfo, arg, "topic");
	return readable(pgqueue_topic_arg(PG_GETARG_TEXT_PP(arg)));
}

/*
 * List the topics that an argument names, a text or an array of texts.
 *
 * Errors: 22004, 22023, 42704, 42501.
 */
void
pgqueue_topic_list(FunctionCallInfo fcinfo, int arg, bool array,
				   TopicList *list)
{
	ArrayType  *names;
	Datum	   *elems;
	bool	   *nulls;

	if (!array)
	{
		list->n = 1;
		pgqueue_check_not_null(fcinfo, arg, "topic");
		list->topics[0] =
			readable(pgqueue_wanted_topic_arg(PG_GETARG_TEXT_PP(arg)));
		return;
	}

	pgqueue_check_not_null(fcinfo, arg, "topics");
	names = PG_GETARG_ARRAYTYPE_P(arg);
	deconstruct_array(names, TEXTOID, -1, false, TYPALIGN_INT, &elems, &nulls,
					  &list->n);
	if (list->n == 0 || list->n > PGQUEUE_MAX_TOPICS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("number of topics must be between 1 and %d, not %d",
						PGQUEUE_MAX_TOPICS, list->n)));
	for (int i = 0; i < list->n; i++)
	{
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("topics must not contain NULL")));
		list->topics[i] =
			readable(pgqueue_wanted_topic_arg(DatumGetTextPP(elems[i])));
		for (int k = 0; k < i; k++)
			if (list->topics[k] == list->topics[i])
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("topics must not contain \"%s\" twice",
								list->topics[i]->name)));
	}
}

/*
 * Read the arguments that consume and poll share.  member_arg: -1 for consume.
 * typed_call: the call with value_type, for a hint; %s: topic and type.
 *
 * Errors: 22004, 22023, 25006, 42501, 42602, 42704, 42804.
 */
void
pgqueue_taker_args(FunctionCallInfo fcinfo, bool array, int member_arg,
				   int max_messages_arg, int max_bytes_arg,
				   const char *typed_call, Taker *taker)
{
	WaitTarget *target = &taker->target;

	pgqueue_check_writable(fcinfo);
	pgqueue_check_not_null(fcinfo, 0, "consumer_group");
	pgqueue_topic_list(fcinfo, 1, array, &target->topics);
	pgqueue_group_arg(fcinfo, false, &target->group);
	if (member_arg >= 0)
	{
		pgqueue_check_not_null(fcinfo, member_arg, "member");
		target->member = pgqueue_member_arg(PG_GETARG_TEXT_PP(member_arg));
	}
	pgqueue_sink_init(&taker->sink, fcinfo, max_messages_arg, max_bytes_arg,
					  target->member != NULL);
	taker->typed_call = typed_call;
	for (int i = 0; i < target->topics.n; i++)
		pgqueue_sink_topic(&taker->sink, target->topics.topics[i], typed_call);
	taker->snapshot = GetActiveSnapshot();
}

/* ---------------- taking ---------------- */

/* Return false if it is paused, or in the hand of another live member. */
bool
pgqueue_may_take(const WaitTarget *target, const Progress *progress)
{
	if (progress->paused)
		return false;
	return !pgqueue_in_hand(progress) ||
		(target->member != NULL &&
		 strcmp(target->member, progress->member) == 0) ||
		!pgqueue_holder_alive(progress);
}

/*
 * Lock a partition at once or within the taker's patience: a transaction that
 * made the group, and that the taker has waited for, may still be releasing its
 * locks, one after the other.
 */
static bool
lock_partition(Taker *taker, const Topic *topic, int32 partition)
{
	while (!pgqueue_progress_lock(taker->target.group.id, topic->id, partition,
								  false))
	{
		if (taker->patience <= 0)
			return false;
		taker->patience--;
		CHECK_FOR_INTERRUPTS();
		pg_usleep(1000);
	}
	return true;
}

/*
 * Store what a call of consume has done: move the group's offset over the new
 * messages that were read, if any.
 */
static void
move_offset(Taker *taker, Progress *progress, bool read, int64 from,
			ScanEnd end)
{
	if (progress->member != NULL)
		pgqueue_new_epoch(progress);
	if (read && progress->offset < from)
		pgqueue_jump(&taker->target.group, progress, from);
	if (read)
		progress->offset = taker->sink.next;
	progress->metadata = taker->metadata;
	pgqueue_progress_write(progress, PROGRESS_CONSUMED);
	pgqueue_note_progress(progress->group_id, progress->topic->id,
						  progress->partition, end == SCAN_ENOUGH);
}

/*
 * Put what a call of poll has read from an offset on into the member's hand, beside
 * the parked messages that are marked with its epoch.
 */
static void
hand_out(Taker *taker, Progress *progress, bool read, int64 from)
{
	if (!progress->found)
		pgqueue_progress_write(progress, PROGRESS_STARTED);
	progress->epoch = taker->sink.epoch;
	progress->member = taker->target.member;
	progress->handed_to = read ? taker->sink.next : progress->offset;
	if (read && progress->offset < from)
		pgqueue_jump(&taker->target.group, progress, from);
	else
		pgqueue_progress_write(progress, PROGRESS_HANDED);
}

/*
 * Read new messages after the parked ones.  Return true if any was read, be it to
 * be parked at once.
 */
static bool
read_new(Taker *taker, Topic *topic, Parking *parking, int64 *from,
		 ScanEnd *end)
{
	MessageSink *sink = &taker->sink;
	int64		before = sink->taken;
	int64		left = sink->messages_left;
	bool		read;

	*end = SCAN_EXHAUSTED;
	if (!pgqueue_parking_may_read(parking))
		return false;
	sink->messages_left = Min(left, parking->limit);
	sink->sight = pgqueue_parked_on_sight;
	sink->sight_arg = parking;
	sink->watch = parking->progress->keys != 0 ||
		parking->progress->parked_end > parking->progress->offset;
	sink->passed = 0;
	*end = pgqueue_read_on(&taker->target.group, topic, parking->progress,
						   taker->snapshot, sink, from);
	sink->sight = NULL;
	sink->messages_left = left - (sink->taken - before);
	read = sink->taken > before || sink->passed > 0;
	/* nothing of it is in hand */
	if (sink->taken == before && read && taker->target.member != NULL)
	{
		if (parking->progress->offset < *from)
			pgqueue_jump(&taker->target.group, parking->progress, *from);
		parking->progress->offset = sink->next;
		parking->changed = true;
		return false;
	}
	return read;
}

/* Take messages of a partition that is locked.  Return true if any was returned. */
static bool
take_messages(Taker *taker, Topic *topic, Progress *progress)
{
	MessageSink *sink = &taker->sink;
	int64		before = sink->taken;
	bool		parked = progress->parked > 0;
	bool		read = false;
	int64		offset = progress->offset;
	int64		from = offset;
	ScanEnd		end = SCAN_EXHAUSTED;
	Parking		parking;

	sink->epoch = Max(progress->epoch + 1, GetCurrentTimestamp());
	if (pgqueue_parking_begin(&parking, taker, topic, progress))
	{
		if (progress->parked > 0)
			pgqueue_take_due(&parking);
		topic = parking.topic;
		read = read_new(taker, topic, &parking, &from, &end);
	}
	if (sink->taken > before)
	{
		/* else park counts them, by their offsets, so that the row is shorter */
		progress->delivered = parked || parking.changed ?
			sink->taken - before : 0;
		progress->failed = 0;
	}
	else if (!read && !parking.changed)
		return false;
	if (taker->target.member == NULL)
		move_offset(taker, progress, read, from, end);
	else if (sink->taken > before)
		hand_out(taker, progress, read, from);
	else
		pgqueue_progress_write(progress, progress->offset == offset ?
							   PROGRESS_PARKED : PROGRESS_CONSUMED);
	return sink->taken > before;
}

/*
 * Take messages of one partition.  Return false if another transaction or member
 * has the partition or nothing can be returned.  A member is handed again, by a new
 * epoch, what it has in hand already.
 *
 * Locks: the group's progress in the partition, to the end of the transaction,
 * if messages were taken or parked; and, before the group's first row there, the
 * group against being dropped.
 * Errors: 40001, 55006, QU001; those of pgqueue_exhaust().
 */
static bool
take_partition(Taker *taker, Topic *topic, int32 partition)
{
	ConsumerGroup *group = &taker->target.group;
	Progress	progress;
	int64		generation;

	if (!lock_partition(taker, topic, partition))
		return false;
	pgqueue_group_check_same(group);
	pgqueue_progress_read(group->id, topic, partition, &progress);
	generation = progress.generation;
	if (pgqueue_may_take(&taker->target, &progress) &&
		(progress.found || pgqueue_group_lock_shared(group->id, false)))
	{
		bool		found = progress.found;

		if (take_messages(taker, topic, &progress))
			return true;
		/* something was written: keep the lock */
		if (progress.generation != generation)
		{
			taker->wrote = true;
			return false;
		}
		if (!found)
			pgqueue_group_unlock_shared(group->id);
	}
	pgqueue_progress_unlock(&progress);
	return false;
}

/*
 * Take messages of n partitions of a topic, beginning with another one each
 * time: for consume (NULL: of all) of the first that has any, for a member (NULL:
 * it owns none) of as many as it has room for.  Return true if a consumer is done.
 */
bool
pgqueue_take(Taker *taker, Topic *topic, const int32 *partitions, int n)
{
	MessageSink *sink = &taker->sink;
	uint32		start = topic->rotation++;

	topic = pgqueue_topic_refresh(topic);
	if (partitions == NULL && taker->target.member == NULL)
	{
		partitions = pgqueue_used_partitions(topic, &n);
		if (n < topic->npartitions)
			pgqueue_predicate_lock_unused(topic, -1, GetActiveSnapshot());
	}
	if (taker->target.topics.n > 1)
		pgqueue_sink_topic(sink, topic, taker->typed_call);
	for (int i = 0;
		 i < n && sink->messages_left > 0 && sink->bytes_left > 0; i++)
	{
		int32		p = partitions[(start + i) % n];

		/* or assigned by a session that knows of more than this one */
		if (pgqueue_partition_unused(topic, p))
		{
			pgqueue_predicate_lock_unused(topic, p, GetActiveSnapshot());
			continue;
		}
		if (take_partition(taker, topic, p) && taker->target.member == NULL)
			return true;
	}
	return false;
}
