/*-------------------------------------------------------------------------
 *
 * park.c
 *	  Park a message on which a consumer has failed, and what it was given of the
 *	  same key behind it.
 *
 * A consumer parks in the transaction of its consume: the message must be one that
 * the last call in the partition returned.  A new one lies between the offset
 * before that call and the group's offset.  One that was parked before has a row
 * that this transaction has deleted; its last version has the attempts so far.
 *
 * A member of poll parks what it has in hand, by its epoch.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "mb/pg_wchar.h"
#include "utils/snapmgr.h"

#include "base/base.h"
#include "base/errors.h"
#include "log/log.h"
#include "topic/message.h"
#include "topic/topic.h"
#include "group/group.h"
#include "group/parking.h"
#include "group/progress.h"

/* Bytes of an error's message that are kept. */
#define MAX_ERROR_BYTES 2000

/* Calls of pgqueue_park() in this session. */
uint64		pgqueue_parks = 0;

/* A call of pgqueue_park(). */
typedef struct Park
{
	const ConsumerGroup *group;
	Topic	   *topic;
	Progress	progress;
	FailurePolicy policy;
	bool		by_member;		/* else by a consumer */
	int64		new_from;		/* new messages that the call returned ... */
	int64		new_to;			/* ... to before this offset */
	CommandId	after;			/* the call's deletions come after this one */
	bool		after_any;		/* or there was none before */
	Snapshot	snapshot;
	HeapTuple	message;
	text	   *key;
	Parked		row;			/* of the message */
	int64	   *skip;			/* offsets behind it, to be left alone */
	int			nskip;
	int			room;
} Park;

pg_noreturn static void
not_returned(const Park *park, int64 offset)
{
	ereport(ERROR,
			(errcode(ERRCODE_QUEUE_OFFSET_OUT_OF_RANGE),
			 park->by_member ?
			 errmsg("offset " INT64_FORMAT " is not in the messages in hand of partition %d of topic \"%s\"",
					offset, park->progress.partition, park->topic->name) :
			 errmsg("offset " INT64_FORMAT " of partition %d of topic \"%s\" was not returned by this transaction's last consume",
					offset, park->progress.partition, park->topic->name),
			 errhint("Park a message in the transaction that has consumed it, before it consumes again. Of one that queue.poll() returned, pass member and epoch.")));
}

/* ---------------- what the last consume returned ---------------- */

/*
 * Find what the last call of consume has returned, by the newest rows of progress.
 * Return false if it was none of this transaction.
 */
static bool
find_last_call(Park *park)
{
	const Progress *progress = &park->progress;
	RegistryScan scan = {0};
	HeapTuple	tuple;
	bool		found = false;

	park->after_any = true;
	pgqueue_group_scan(&scan, REGISTRY_PROGRESS, progress->group_id,
					   progress->topic->id, progress->partition);
	while (HeapTupleIsValid(tuple = pgqueue_registry_previous(&scan)))
	{
		HeapTupleHeader header = tuple->t_data;
		bool		ours = TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetXmin(header));
		Progress	row;

		pgqueue_progress_row_read(scan.rel, tuple, &row);
		if (!found && !ours)
			break;
		if (!found && row.action == PROGRESS_CONSUMED)
		{
			found = true;
			park->new_to = row.offset;
		}
		else if (found)
		{
			park->new_from = row.offset;
			if (row.action == PROGRESS_JUMPED && ours)
				continue;
			park->after_any = !ours;
			park->after = ours ? HeapTupleHeaderGetCmin(header) : 0;
			break;
		}
		else if (row.action != PROGRESS_PARKED)
			break;
	}
	pgqueue_registry_end(&scan);
	return found;
}

/* Return true if a version of a row was deleted by that call. */
static bool
deleted_by_call(const Park *park, HeapTupleHeader header)
{
	if ((header->t_infomask & HEAP_XMAX_INVALID) != 0 ||
		HEAP_XMAX_IS_LOCKED_ONLY(header->t_infomask) ||
		!TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetUpdateXid(header)))
		return false;
	return park->after_any || HeapTupleHeaderGetCmax(header) > park->after;
}

static void
add_skip(Park *park, int64 offset)
{
	if (park->nskip == park->room)
	{
		park->room = park->room == 0 ? 16 : 2 * park->room;
		park->skip = park->skip == NULL ?
			palloc(park->room * sizeof(int64)) :
			repalloc(park->skip, park->room * sizeof(int64));
	}
	park->skip[park->nskip++] = offset;
}

/* Return true if a message is parked, by its offset and its key, or NULL. */
static bool
is_parked(const Park *park, text *key, int64 offset)
{
	Parked		row;

	return pgqueue_parked_find(&park->progress, key, offset, &row);
}

/*
 * Find the row that a message had before the call deleted it; the last one, with
 * the most attempts.  Of a hash and an offset (-1: behind park->row's, each of which
 * is parked again, unless the call has only changed its row).
 */
static bool
find_deleted(Park *park, int64 hash, int64 offset, Parked *found)
{
	RegistryScan scan = {0};
	Parked	   *rows = NULL;
	int			n = 0;
	HeapTuple	tuple;

	pgqueue_parked_scan(&scan, &park->progress, hash, offset, SnapshotAny);
	while (HeapTupleIsValid(tuple = pgqueue_registry_next(&scan)))
	{
		Parked		row;

		if (!deleted_by_call(park, tuple->t_data))
			continue;
		pgqueue_parked_row_read(&scan, tuple, &row);
		/* another message had the offset, and was not restored */
		if (!pgqueue_parked_in_log(park->topic, &park->progress, &row))
			continue;
		if (offset < 0 && (row.offset <= park->row.offset ||
						   !pgqueue_same_hold(&row, hash, park->key)))
			continue;
		rows = rows == NULL ? palloc(sizeof(Parked)) :
			repalloc(rows, (n + 1) * sizeof(Parked));
		rows[n++] = row;
	}
	pgqueue_registry_end(&scan);

	for (int i = 0; i < n; i++)
	{
		if (offset >= 0)
		{
			if (i == 0 || rows[i].attempts > found->attempts)
				*found = rows[i];
			continue;
		}
		if (is_parked(park, rows[i].key, rows[i].offset))
			continue;
		rows[i].due = DUE_BEHIND;
		rows[i].epoch = 0;
		pgqueue_parked_insert(&park->progress, &rows[i]);
		add_skip(park, rows[i].offset);
	}
	return n > 0;
}

/* ---------------- the message ---------------- */

/* Determine the row of a message that a consumer parks.  Errors: QU001. */
static void
row_of_consumer(Park *park, int64 offset)
{
	int64		hashes[3] = {HOLDS_NOTHING, HOLDS_PARTITION};
	int			n = 2;

	if (!find_last_call(park))
		not_returned(park, offset);
	if (park->key != NULL)
		hashes[n++] = pgqueue_key_hash(park->key);
	for (int i = 0; i < n; i++)
		if (find_deleted(park, hashes[i], offset, &park->row))
			return;
	if (offset < park->new_from || offset >= park->new_to)
		not_returned(park, offset);
}

/* Determine the row of a message that a member has in hand.  Errors: QU001. */
static void
row_of_member(Park *park, int64 offset)
{
	Progress   *progress = &park->progress;
	Parked		row;

	park->new_from = progress->offset;
	park->new_to = progress->handed_to;
	if (pgqueue_parked_find(progress, park->key, offset, &row))
	{
		if (row.epoch != progress->epoch)
			not_returned(park, offset);
		park->row = row;
		/* it was counted when the message was handed out */
		park->row.attempts--;
		pgqueue_parked_delete(progress, &row);
	}
	else if (offset < park->new_from || offset >= park->new_to)
		not_returned(park, offset);
	else if (offset == progress->offset)
		park->row.attempts = progress->repeats;
}

/*
 * Return true if an earlier message holds what this one holds from now on.  It held
 * nothing so far, so it was returned all the same.  What the member has in hand with
 * it will be parked, too, or is done.
 */
static bool
is_held(const Park *park)
{
	const Progress *progress = &park->progress;
	RegistryScan scan = {0};
	Parked		row;
	bool		held = false;

	if (!pgqueue_key_may_be_held(progress, park->row.hash))
		return false;
	pgqueue_parked_scan(&scan, progress, park->row.hash, -1, SnapshotSelf);
	while (!held && pgqueue_parked_next(&scan, &row) &&
		   row.offset < park->row.offset)
		held = pgqueue_same_hold(&row, park->row.hash, park->key) &&
			!(park->by_member && row.epoch == progress->epoch);
	pgqueue_registry_end(&scan);
	return held;
}

/* Return true if the message is given up: its attempts are used up, or told to be. */
static bool
count_attempt(Park *park, const Failure *failure)
{
	Parked	   *row = &park->row;
	Progress   *progress = &park->progress;
	bool		counts = failure->counts && progress->probe_at == 0;

	if (row->delayed)
		row->hash = HOLDS_NOTHING;
	row->delayed = false;
	if (row->hash == HOLDS_NOTHING)
		row->hash = pgqueue_hash_by_policy(&park->policy, park->key);
	row->key = park->key;
	row->epoch = 0;
	row->sqlstate = failure->sqlstate == NULL ? NULL :
		pstrdup(failure->sqlstate);
	row->error = failure->error == NULL ? NULL :
		pnstrdup(failure->error,
				 pg_mbcliplen(failure->error, strlen(failure->error),
							  MAX_ERROR_BYTES));
	if (row->first_failed_at == 0)
		row->first_failed_at = GetCurrentTimestamp();
	if (failure->counts && (row->attempts == 0 || progress->probe_at != 0))
		progress->failures++;
	row->attempts += counts;
	row->due = failure->delay >= 0 ?
		TimestampTzPlusMilliseconds(GetCurrentTimestamp(), failure->delay) :
		pgqueue_backoff_end(&park->policy, Max(row->attempts, 1));
	if (is_held(park))
		row->due = DUE_BEHIND;
	return failure->give_up ||
		(counts && row->attempts >= park->policy.max_attempts);
}

/* ---------------- what waits behind it ---------------- */

/* Collect new messages of the same key, as a LogReceiver. */
static bool
collect_new(HeapTuple tuple, Relation leaf, void *arg)
{
	Park	   *park = arg;
	int64		offset = log_fixed(tuple->t_data)->offset;
	Parked		row = {.hash = park->row.hash};

	if (offset >= park->new_to)
		return false;
	row.key = pgqueue_message_key(park->topic, tuple);
	if (park->row.hash == HOLDS_PARTITION ||
		(row.key != NULL &&
		 pgqueue_same_hold(&row, pgqueue_key_hash(park->key), park->key)))
		add_skip(park, offset);
	return true;
}

/* Park the new messages of the key behind the message. */
static void
park_new_behind(Park *park)
{
	int			first = park->nskip;
	int			n = first;
	int64		from = Max(park->row.offset + 1, park->new_from);
	int64		stopped_at;

	if (from < park->new_to)
		(void) pgqueue_scan(park->topic, park->progress.partition, from,
							park->snapshot, collect_new, park, &stopped_at);
	for (int i = first; i < park->nskip; i++)
	{
		Parked		row = {.hash = park->row.hash,.key = park->key,
		.offset = park->skip[i]};

		if (row.hash == HOLDS_PARTITION)
		{
			HeapTuple	message =
				pgqueue_parked_message(park->topic, park->progress.partition,
									   row.offset, park->snapshot);

			row.key = pgqueue_message_key(park->topic, message);
		}
		/* on sight, or by this transaction */
		if (is_parked(park, row.key, row.offset))
			continue;
		pgqueue_parked_insert(&park->progress, &row);
		park->skip[n++] = row.offset;
	}
	park->nskip = n;
}

/*
 * Let all that is parked of the key behind the message wait for it: what the member
 * has in hand is taken back; and what has become due, since those before it were
 * returned, is not any more.  Those that are given up stay so.
 */
static void
hold_back_behind(Park *park)
{
	Progress   *progress = &park->progress;
	RegistryScan scan = {0};
	Parked	   *rows = NULL;
	Parked		row;
	int			n = 0;

	pgqueue_parked_scan(&scan, progress, park->row.hash, -1, SnapshotSelf);
	while (pgqueue_parked_next(&scan, &row))
	{
		bool		in_hand = park->by_member && row.epoch != 0 &&
			row.epoch == progress->epoch;

		if (row.offset <= park->row.offset ||
			!pgqueue_same_hold(&row, park->row.hash, park->key) ||
			row.due == DUE_NEVER || (row.due == DUE_BEHIND && !in_hand))
			continue;
		rows = rows == NULL ? palloc(sizeof(Parked)) :
			repalloc(rows, (n + 1) * sizeof(Parked));
		rows[n++] = row;
		if (!in_hand)
			continue;
		add_skip(park, row.offset);
		rows[n - 1].attempts--;
		progress->in_hand--;
	}
	pgqueue_registry_end(&scan);
	for (int i = 0; i < n; i++)
	{
		rows[i].epoch = 0;
		rows[i].due = DUE_BEHIND;
		pgqueue_parked_replace(progress, &rows[i]);
	}
}

static bool
count_one(HeapTuple tuple, Relation leaf, void *arg)
{
	Park	   *park = arg;

	if (log_fixed(tuple->t_data)->offset >= park->new_to)
		return false;
	park->progress.delivered++;
	return true;
}

/* Count what the call has returned, if these were new messages only. */
static void
count_new(Park *park)
{
	int64		stopped_at;

	(void) pgqueue_scan(park->topic, park->progress.partition, park->new_from,
						park->snapshot, count_one, park, &stopped_at);
}

static void
park_behind(Park *park)
{
	if (park->row.hash == HOLDS_NOTHING)
		return;
	hold_back_behind(park);
	if (!park->by_member)
		(void) find_deleted(park, park->row.hash, -1, NULL);
	park_new_behind(park);
}

/*
 * Park a message.  Return the offsets of those that the caller was given together
 * with it, and that wait behind it now, *n of them; none if the message is given up
 * as a dead letter.
 *
 * member: NULL for a consumer, which calls in the transaction of its consume.
 *
 * Locks: the group's progress in the partition, to the end of the transaction.
 * Errors: 40001; QU001, QU004 if the message is not the caller's; those of an
 * INSERT into the topic of dead letters.
 */
int64 *
pgqueue_park(const ConsumerGroup *group, Topic *topic, int32 partition,
			 int64 offset, const char *member, int64 epoch,
			 const Failure *failure, int *n)
{
	Park		park = {.group = group,.by_member = member != NULL};

	pgqueue_parks++;
	(void) pgqueue_progress_lock(group->id, topic->id, partition, true);
	park.topic = topic = pgqueue_topic_refresh(topic);
	pgqueue_progress_read(group->id, topic, partition, &park.progress);
	if (member != NULL)
		pgqueue_check_in_hand(&park.progress, member, epoch);
	pgqueue_policy_read(group->id, topic->id, &park.policy);
	park.row.offset = offset;
	/* as consume reads what is due; a statement's may be older */
	park.snapshot = RegisterSnapshot(GetLatestSnapshot());
	park.message = pgqueue_parked_message(topic, partition, offset,
										  park.snapshot);
	if (park.message == NULL)
		not_returned(&park, offset);
	park.key = pgqueue_message_key(topic, park.message);
	if (!park.by_member && is_parked(&park, park.key, offset))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the message at offset " INT64_FORMAT " of partition %d of topic \"%s\" is parked already",
						offset, partition, topic->name)));
	if (park.by_member)
		row_of_member(&park, offset);
	else
		row_of_consumer(&park, offset);
	ItemPointerSetInvalid(&park.row.tid);

	if (!count_attempt(&park, failure))
		pgqueue_parked_insert(&park.progress, &park.row);
	else if (pgqueue_exhaust(group, topic, &park.progress, &park.policy,
							 park.message, &park.row))
		pgqueue_parked_promote(&park.progress, park.row.hash, park.key);
	if (ItemPointerIsValid(&park.row.tid))
		park_behind(&park);
	if (park.progress.failed == 0 && park.progress.delivered == 0)
		count_new(&park);
	park.progress.failed += 1 + park.nskip;
	UnregisterSnapshot(park.snapshot);
	pgqueue_parked_settle(&park.progress);
	pgqueue_progress_write(&park.progress, PROGRESS_PARKED);
	*n = park.nskip;
	return park.skip;
}
