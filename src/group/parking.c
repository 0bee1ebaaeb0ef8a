/*-------------------------------------------------------------------------
 *
 * parking.c
 *	  What a call of consume or poll does with parked messages: it returns those
 *	  that are due, before new ones, and parks new ones behind them.
 *
 * Order of a key: while a message of it is parked, later ones are parked behind it
 * on sight.  They come after it, or together with it in the order of their offsets.
 * A delayed message holds nothing.
 *
 * consume deletes the rows of what it returns; park, in the same transaction, finds
 * the attempts so far in the version that was deleted.  poll marks them with its
 * epoch, and commit_offset deletes them.  Proof: src/README, section 12a.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/snapmgr.h"

#include "base/base.h"
#include "log/log.h"
#include "topic/message.h"
#include "topic/segment.h"
#include "topic/topic.h"
#include "group/group.h"
#include "group/member.h"
#include "group/parking.h"
#include "group/progress.h"

/* Due messages that one call looks at. */
#define MAX_DUE 1000

/* ---------------- too many failures ---------------- */

/*
 * Return true if the partition is tripped: too many messages failed in a row, and
 * of the last call's none succeeded.
 */
bool
pgqueue_is_tripped(const Progress *progress)
{
	return progress->failures >= MAX_FAILURES && progress->delivered > 0 &&
		progress->failed >= progress->delivered;
}

/*
 * Return true if a message may be tried in a tripped partition.  No pause is longer than
 * the policy's longest one: if it seems so, the clock was set back.
 */
bool
pgqueue_probe_due(const Progress *progress, const FailurePolicy *policy,
				  TimestampTz now)
{
	return progress->probe_at <= now ||
		progress->probe_at > TimestampTzPlusMilliseconds(now, 1.2 * policy->backoff_max);
}

/*
 * Let the group's next call in a tripped partition try a message at once: an operator
 * has messages tried again, so the cause may be mended.
 *
 * Locks: the group's progress in the partition, which the caller writes.
 */
void
pgqueue_probe_now(Progress *progress)
{
	if (pgqueue_is_tripped(progress))
		progress->probe_at = GetCurrentTimestamp();
}

/*
 * Return false if the partition is tripped, and no probe is due.  Of one that is,
 * the call returns a single message.
 */
static bool
let_probe(Parking *parking)
{
	Progress   *progress = parking->progress;
	const FailurePolicy *policy = pgqueue_parking_policy(parking);
	bool		first = progress->probe_at == 0;

	if (!first && !pgqueue_probe_due(progress, policy, parking->now))
		return false;
	progress->probe_at =
		pgqueue_backoff_end(policy, progress->failures - MAX_FAILURES + 1);
	if (!first)
	{
		parking->limit = 1;
		return true;
	}
	ereport(WARNING,
			(errmsg("consumer group \"%s\" is tripped in partition %d of topic \"%s\"",
					parking->taker->target.group.name, progress->partition,
					parking->topic->name),
			 errdetail("%d messages failed in a row.", progress->failures),
			 errhint("A single message is tried from time to time, or at once after queue.retry_parked(). Messages are read again when one succeeds.")));
	parking->changed = true;
	return false;
}

/*
 * Begin a call.  Return false if it must not return anything of the partition; if
 * parking->changed, the progress must be written all the same.
 *
 * Locks: the group's progress in the partition, to the end.
 */
bool
pgqueue_parking_begin(Parking *parking, Taker *taker, Topic *topic,
					  Progress *progress)
{
	bool		new_in_hand = progress->member != NULL &&
		progress->handed_to > progress->offset;
	bool		due_in_hand = progress->member != NULL &&
		progress->in_hand > 0;

	*parking = (Parking) {
		.taker = taker,
		.topic = topic,
		.progress = progress,
		.limit = taker->sink.messages_left,
		.one_in_hand = progress->in_hand == 1 && !new_in_hand
	};
	/* what was in hand is taken back */
	progress->in_hand = 0;
	if (due_in_hand)			/* which is guilty, is not known */
		progress->repeats = Min(progress->repeats + 1, ONE_BY_ONE);
	else
		progress->repeats = new_in_hand ? progress->repeats + 1 : 0;
	if (progress->parked > 0 || progress->failures > 0)
		parking->now = GetCurrentTimestamp();
	if (pgqueue_is_tripped(progress))
		return let_probe(parking);
	if (progress->failed == 0 || progress->failed < progress->delivered)
		progress->failures = 0;
	progress->probe_at = 0;
	return true;
}

/* ---------------- due messages ---------------- */

/* A due message, and what becomes of it. */
typedef struct Due
{
	Parked		row;
	Parking    *parking;
	bool		used_up;		/* its attempts are */
	bool		found;
	bool		returned;
	bool		held;			/* its key is; it must wait behind it */
	bool		done;			/* the row is deleted */
	text	   *key;			/* of the message, if held */
	HeapTuple	message;		/* if its attempts are used up */
} Due;

typedef struct DueList
{
	int			n;
	int			room;
	Due		   *due;
} DueList;

static void
add_due(DueList *list, const Parked *row)
{
	if (list->n == list->room)
	{
		list->room = list->room == 0 ? 16 : 2 * list->room;
		list->due = list->due == NULL ? palloc(list->room * sizeof(Due)) :
			repalloc(list->due, list->room * sizeof(Due));
	}
	list->due[list->n++] = (Due) {.row = *row};
}

static int
compare_due(const void *a, const void *b)
{
	int64		x = ((const Due *) a)->row.offset;
	int64		y = ((const Due *) b)->row.offset;

	return x < y ? -1 : x > y;
}

/* Return true if another of the first rows of a list comes before one in its key. */
static bool
is_behind_another(const DueList *list, int n, const Parked *row)
{
	for (int i = 0; i < n; i++)
		if (list->due[i].row.offset < row->offset &&
			pgqueue_same_hold(&list->due[i].row, row->hash, row->key))
			return true;
	return false;
}

/*
 * List what is due now (of parking->epoch only, if it is set), at most max; and, of
 * keys that are, what waits behind.  Set progress->due to the next that is not listed.
 *
 * A member parks messages behind the group's offset, and may end before it commits.
 * Such ones must wait: the offset passes them first, or they would be read again.
 */
static void
list_due(Parking *parking, int64 max, DueList *list)
{
	Progress   *progress = parking->progress;
	RegistryScan scan = {0};
	Parked		row;
	int			heads;

	pgqueue_parked_scan_due(&scan, progress);
	progress->due = DUE_NEVER;
	while (pgqueue_parked_next(&scan, &row))
	{
		if (row.due > parking->now || list->n >= max)
		{
			progress->due = Min(progress->due, row.due);
			break;
		}
		if (row.offset >= progress->offset)
			progress->due = Min(progress->due, row.due);
		else if (parking->epoch == 0 || row.epoch == parking->epoch)
			add_due(list, &row);
	}
	pgqueue_registry_end(&scan);

	heads = list->n;
	for (int i = 0; i < heads && list->n < max; i++)
	{
		Parked		head = list->due[i].row;

		if (head.hash == HOLDS_NOTHING || is_behind_another(list, heads, &head))
			continue;
		scan = (RegistryScan) {0};
		pgqueue_parked_scan(&scan, progress, head.hash, -1, SnapshotSelf);
		while (list->n < max && pgqueue_parked_next(&scan, &row))
		{
			if (row.offset <= head.offset ||
				!pgqueue_same_hold(&row, head.hash, head.key))
				continue;
			/* the rest waits behind one that is not due */
			if (row.offset >= progress->offset ||
				(row.due != DUE_BEHIND && row.due > parking->now))
				break;
			if (row.due == DUE_BEHIND)
				add_due(list, &row);
		}
		pgqueue_registry_end(&scan);
	}
	qsort(list->due, list->n, sizeof(Due), compare_due);
}

/* Receive the message of a row, as a LogReceiver; only the first is asked for. */
static bool
receive_due(HeapTuple tuple, Relation leaf, void *arg)
{
	Due		   *due = arg;
	Parking    *parking = due->parking;
	MessageSink *sink = &parking->taker->sink;
	int64		before = sink->taken;

	if (log_fixed(tuple->t_data)->offset != due->row.offset)
		return false;			/* it is gone */
	due->found = true;
	if (due->used_up)
		due->message = heap_copytuple(tuple);
	else
	{
		text	   *key = due->row.delayed || due->row.hash == HOLDS_PARTITION ?
			pgqueue_message_key(parking->topic, tuple) : NULL;

		/* by those before it in the log, which so come before it */
		due->held = key != NULL &&
			pgqueue_parked_holds(parking->progress, pgqueue_key_hash(key),
								 key, due->row.offset);
		if (due->held)
			due->key = DatumGetTextPCopy(PointerGetDatum(key));
		if (!due->held)
		{
			sink->attempt = due->row.attempts + 1;
			(void) pgqueue_sink_receive(tuple, leaf, sink);
			due->returned = sink->taken > before;
		}
	}
	return false;
}

/*
 * Return the message of a row to the caller, if the log has it.  Return false if the
 * caller wants no more.
 */
static bool
return_due(Parking *parking, Due *due)
{
	Progress   *progress = parking->progress;
	MessageSink *sink = &parking->taker->sink;
	int64		stopped_at;

	due->parking = parking;
	/* not for what was handed out together with it */
	due->used_up = due->row.epoch != 0 && parking->one_in_hand &&
		due->row.epoch == progress->epoch &&
		pgqueue_parking_policy(parking)->set &&
		due->row.attempts >= parking->policy.max_attempts;
	parking->topic = pgqueue_topic_refresh(parking->topic);
	if (pgqueue_parked_in_log(parking->topic, progress, &due->row))
		(void) pgqueue_scan(parking->topic, progress->partition,
							due->row.offset, parking->snapshot, receive_due,
							due, &stopped_at);
	return sink->messages_left > 0 &&
		(!due->found || due->returned || due->used_up || due->held);
}

/* Write what has become of a row. */
static void
store_due(Parking *parking, Due *due)
{
	Progress   *progress = parking->progress;
	Parked	   *row = &due->row;

	if (due->used_up && due->found)
	{
		due->done = pgqueue_exhaust(&parking->taker->target.group,
									parking->topic, progress,
									pgqueue_parking_policy(parking),
									due->message, row);
	}
	else if (due->held)
	{
		row->hash = pgqueue_key_hash(due->key);
		row->key = due->key;
		row->due = DUE_BEHIND;
		progress->delayed -= row->delayed;
		row->delayed = false;
		pgqueue_parked_replace(progress, row);
	}
	else if (due->returned && parking->taker->target.member != NULL)
	{
		row->epoch = parking->taker->sink.epoch;
		row->attempts++;
		progress->in_hand++;
		pgqueue_parked_replace(progress, row);
	}
	else
	{
		/* compaction has removed it, or retention by force */
		if (!due->found &&
			row->offset < pgqueue_log_start(parking->topic,
											progress->partition))
			progress->missed++;
		pgqueue_parked_delete(progress, row);
		due->done = true;
	}
}

/* Return true if a later row of the list, that is done too, has the same key. */
static bool
is_done_later(const DueList *list, int i)
{
	for (int k = i + 1; k < list->n; k++)
		if (list->due[k].done &&
			pgqueue_same_hold(&list->due[k].row, list->due[i].row.hash,
							  list->due[i].row.key))
			return true;
	return false;
}

/*
 * Return the messages that are due.
 *
 * Errors: those of pgqueue_exhaust().
 */
void
pgqueue_take_due(Parking *parking)
{
	Progress   *progress = parking->progress;
	MessageSink *sink = &parking->taker->sink;
	int64		before = sink->taken;
	TimestampTz due = progress->due;
	DueList		list = {0};
	int			n = 0;

	if (progress->due > parking->now)
		return;
	if (progress->repeats >= ONE_BY_ONE &&
		parking->taker->target.member != NULL &&
		pgqueue_parking_policy(parking)->set)
		parking->limit = 1;
	list_due(parking, Min(Min(sink->messages_left, parking->limit), MAX_DUE),
			 &list);
	if (list.n == 0 && progress->due == due)
		return;
	parking->changed = true;
	/* a statement's snapshot may be older than what others have parked */
	parking->snapshot = RegisterSnapshot(GetLatestSnapshot());
	while (n < list.n && return_due(parking, &list.due[n++]))
		;
	UnregisterSnapshot(parking->snapshot);
	for (int i = 0; i < list.n; i++)
	{
		Due		   *due = &list.due[i];

		if (i < n && (due->returned || due->held || due->used_up || !due->found))
			store_due(parking, due);
		else if (due->row.due != DUE_BEHIND)
			progress->due = Min(progress->due, due->row.due);
	}
	for (int i = 0; i < n; i++)
		if (list.due[i].done && !is_done_later(&list, i))
			pgqueue_parked_promote(progress, list.due[i].row.hash,
								   list.due[i].row.key);
		else if (list.due[i].held)	/* it may have held the partition */
			pgqueue_parked_promote(progress, HOLDS_PARTITION, NULL);
	pgqueue_parked_settle(progress);
	parking->limit -= sink->taken - before;
}

/* ---------------- commit_offset ---------------- */

/*
 * Delete the rows of what the member has in hand below an offset.  Return false if
 * there are none.
 *
 * Locks: the group's progress in the partition; the caller writes it then.
 */
bool
pgqueue_commit_in_hand(Progress *progress, int64 next_offset)
{
	Parking		parking = {.progress = progress,.now = GetCurrentTimestamp(),
	.epoch = progress->epoch};
	DueList		list = {0};
	TimestampTz due = progress->due;
	bool		any = false;

	if (progress->in_hand == 0)
		return false;
	list_due(&parking, PG_INT64_MAX, &list);
	progress->due = due;
	for (int i = 0; i < list.n; i++)
	{
		Due		   *row = &list.due[i];

		row->done = row->row.epoch == progress->epoch &&
			row->row.offset < next_offset;
		if (row->done)
			pgqueue_parked_delete(progress, &row->row);
		any |= row->done;
	}
	for (int i = 0; i < list.n; i++)
		if (list.due[i].done && !is_done_later(&list, i))
			pgqueue_parked_promote(progress, list.due[i].row.hash,
								   list.due[i].row.key);
	pgqueue_parked_settle(progress);
	return any;
}
