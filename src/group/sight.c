/*-------------------------------------------------------------------------
 *
 * sight.c
 *	  New messages while others are parked: which ones are parked on sight, and
 *	  when none may be read.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/snapmgr.h"

#include "base/base.h"
#include "log/log.h"
#include "topic/message.h"
#include "topic/topic.h"
#include "group/group.h"
#include "group/member.h"
#include "group/parking.h"
#include "group/progress.h"

/* Messages that a call parks on sight, if it has others to return. */
#define MAX_PASSED 10000

/*
 * Return true if a message is parked already, by its key, or NULL, and its offset.
 * A row of another message, which had the offset and was not restored, is deleted.
 */
static bool
is_parked(Parking *parking, text *key, int64 offset)
{
	Progress   *progress = parking->progress;
	Parked		row;

	while (pgqueue_parked_find(progress, key, offset, &row))
	{
		if (pgqueue_parked_in_log(parking->topic, progress, &row))
			return true;
		pgqueue_parked_delete(progress, &row);
		pgqueue_parked_promote(progress, row.hash, row.key);
		pgqueue_parked_settle(progress);
		parking->changed = true;
	}
	return false;
}

/*
 * Give up the message at the group's offset, which a member was handed again and
 * again, and move the offset over it; only that, if the member has parked it.
 */
static void
exhaust_repeated(Parking *parking)
{
	Progress   *progress = parking->progress;
	Found		place;
	HeapTuple	message;
	Parked		row = {.attempts = progress->repeats,
		.first_failed_at = GetCurrentTimestamp(),
		.error = _("The messages were handed out, and neither committed nor parked.")};

	if (pgqueue_find_offset(parking->topic, progress->partition,
							progress->offset, parking->taker->snapshot,
							&place) == SCAN_GONE || !place.found)
		return;
	row.offset = place.offset;
	message = pgqueue_parked_message(parking->topic, progress->partition,
									 place.offset, parking->taker->snapshot);
	row.key = pgqueue_message_key(parking->topic, message);
	row.hash = pgqueue_hash_by_policy(pgqueue_parking_policy(parking), row.key);
	ItemPointerSetInvalid(&row.tid);
	if (!is_parked(parking, row.key, row.offset))
		(void) pgqueue_exhaust(&parking->taker->target.group, parking->topic,
							   progress, pgqueue_parking_policy(parking),
							   message, &row);
	progress->offset = place.offset + 1;
	progress->repeats = 0;
	parking->changed = true;
}

/*
 * Return false if the call must not read new messages: enough was returned, or too
 * many messages are parked.
 */
bool
pgqueue_parking_may_read(Parking *parking)
{
	Progress   *progress = parking->progress;
	MessageSink *sink = &parking->taker->sink;

	if (parking->limit <= 0 || sink->messages_left <= 0 ||
		sink->bytes_left <= 0)
		return false;
	/* but the offset must pass what is parked, or that does not come */
	if (progress->parked > progress->delayed &&
		progress->parked_end <= progress->offset &&
		progress->parked - progress->delayed >=
		pgqueue_parking_policy(parking)->max_parked)
		return false;
	if (progress->repeats > 0 && parking->taker->target.member != NULL &&
		pgqueue_parking_policy(parking)->set)
	{
		/* only one that was handed out alone is known to be the guilty one */
		if (progress->repeats >= Max(parking->policy.max_attempts,
									 ONE_BY_ONE + 1))
			exhaust_repeated(parking);
		else if (progress->repeats >= ONE_BY_ONE)
			parking->limit = 1;
	}
	sink->attempt = 1 + progress->repeats;
	return true;
}

/*
 * Park a new message at once if an earlier one of its key is parked, or if its time
 * has not come.  Set *stop if no more may be read.  A MessageSight.
 */
bool
pgqueue_parked_on_sight(HeapTuple tuple, Relation leaf, void *arg, bool *stop)
{
	Parking    *parking = arg;
	Progress   *progress = parking->progress;
	Parked		row = {.offset = log_fixed(tuple->t_data)->offset};
	text	   *key = pgqueue_message_key(parking->topic, tuple);

	if (parking->taker->sink.passed >= MAX_PASSED &&
		parking->taker->sink.taken > 0)
	{
		*stop = true;
		return false;
	}
	/* handed to a member before, or read before the offset was moved back */
	if (row.offset < progress->parked_end &&
		is_parked(parking, key, row.offset))
		return true;
	if (log_deliver_at(tuple, &row.due))
	{
		if (parking->now == 0)
			parking->now = GetCurrentTimestamp();
		if (row.due > parking->now)
		{
			row.delayed = true;
			row.key = key;
			pgqueue_parked_insert(progress, &row);
			parking->changed = true;
			return true;
		}
		row.due = DUE_BEHIND;
	}
	if (progress->keys == 0)
		return false;
	if (pgqueue_parked_holds(progress, HOLDS_PARTITION, NULL, PG_INT64_MAX))
	{
		*stop = true;
		return false;
	}
	if (key == NULL)
		return false;
	row.hash = pgqueue_key_hash(key);
	row.key = key;
	if (!pgqueue_parked_holds(progress, row.hash, key, row.offset))
		return false;
	if (progress->parked - progress->delayed >=
		pgqueue_parking_policy(parking)->max_parked)
	{
		*stop = true;
		return false;
	}
	pgqueue_parked_insert(progress, &row);
	parking->changed = true;
	return true;
}

/* ---------------- waiting ---------------- */

/* Return true if as many failed messages are parked as may be. */
static bool
is_full(const Progress *progress)
{
	FailurePolicy policy;

	if (progress->parked <= progress->delayed)
		return false;
	pgqueue_policy_read(progress->group_id, progress->topic->id, &policy);
	return progress->parked - progress->delayed >= policy.max_parked;
}

/* Return true if no new messages are read since too many have failed. */
bool
pgqueue_is_stopped(const Progress *progress)
{
	return pgqueue_is_tripped(progress) || is_full(progress);
}

/* Move *next down to a time. */
static void
no_later(TimestampTz *next, TimestampTz time)
{
	if (*next == 0 || time < *next)
		*next = time;
}

/*
 * Return true if a call would return a parked message, or has something to write.
 * Set *may_read to whether it would read new ones; *next, if the answer will change
 * by itself before, to that time.
 */
bool
pgqueue_parking_ready(const Progress *progress, bool *may_read,
					  TimestampTz *next)
{
	TimestampTz now;

	*may_read = true;
	if (likely(progress->parked == 0 && progress->failures == 0))
		return false;
	now = GetCurrentTimestamp();
	if (pgqueue_is_tripped(progress))
	{
		FailurePolicy policy;

		if (progress->probe_at == 0)
			return true;
		pgqueue_policy_read(progress->group_id, progress->topic->id, &policy);
		*may_read = pgqueue_probe_due(progress, &policy, now);
		if (!*may_read)
		{
			no_later(next, progress->probe_at);
			return false;
		}
	}
	if (progress->parked == 0)
		return false;
	if (progress->due <= now)
		return true;
	if (progress->due != DUE_NEVER)
		no_later(next, progress->due);
	*may_read &= !is_full(progress) &&
		!pgqueue_parked_holds(progress, HOLDS_PARTITION, NULL, PG_INT64_MAX);
	return false;
}
