/*-------------------------------------------------------------------------
 *
 * replay.c
 *	  queue.replay(): let a group try again the messages of its dead letters.
 *
 * A dead letter says by its headers which message it was.  That message is parked
 * anew for the group, due at once; no other group sees anything of it.  Each dead
 * letter is replayed once: a row of queue.replayed is written in the same
 * transaction, under the lock of the group's progress in the message's partition.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"
#include "utils/snapmgr.h"

#include "base/base.h"
#include "log/log.h"
#include "topic/message.h"
#include "topic/topic.h"
#include "group/group.h"
#include "group/parking.h"
#include "group/progress.h"
#include "api/api.h"

PG_FUNCTION_INFO_V1(pgqueue_replay);

/* A dead letter, and the message that it was. */
typedef struct DeadLetter
{
	int32		partition;		/* of the dead letter */
	int64		offset;
	Topic	   *topic;			/* of the message */
	int32		of_partition;
	int64		of_offset;
	int64		of_incarnation; /* of the log that had it there; 0: unknown */
	text	   *key;
} DeadLetter;

/* A call. */
typedef struct Replay
{
	ConsumerGroup group;
	Topic	   *dead;
	text	   *key;			/* NULL: any */
	char	   *sqlstate;		/* NULL: any */
	TimestampTz since;
	TimestampTz until;
	int32		partition;		/* that is being read */
	List	   *letters;
	int64		gone;			/* messages that the log no longer has */
} Replay;

/* ---------------- reading dead letters ---------------- */

static bool
same_text(const text *a, const text *b)
{
	if (a == NULL || b == NULL)
		return a == b;
	return VARSIZE_ANY_EXHDR(a) == VARSIZE_ANY_EXHDR(b) &&
		memcmp(VARDATA_ANY(a), VARDATA_ANY(b), VARSIZE_ANY_EXHDR(a)) == 0;
}

/* Return a header that is a string, or NULL. */
static char *
string_header(Jsonb *headers, const char *name)
{
	JsonbValue	value;

	if (getKeyJsonValueFromContainer(&headers->root, name, strlen(name),
									 &value) == NULL ||
		value.type != jbvString)
		return NULL;
	return pnstrdup(value.val.string.val, value.val.string.len);
}

/* Return a whole number, or otherwise. */
static int64
number_of(const char *digits, int64 otherwise)
{
	char	   *end;
	int64		number;

	errno = 0;
	number = strtoi64(digits, &end, 10);
	return errno != 0 || end == digits || *end != '\0' ? otherwise : number;
}

/* Return a header that is a whole number, not negative; else -1. */
static int64
number_header(Jsonb *headers, const char *name)
{
	JsonbValue	value;

	if (getKeyJsonValueFromContainer(&headers->root, name, strlen(name),
									 &value) == NULL ||
		value.type != jbvNumeric)
		return -1;
	return number_of(DatumGetCString(DirectFunctionCall1(numeric_out,
														 NumericGetDatum(value.val.numeric))),
					 -1);
}

/* Return true if a dead letter is the group's, and one that is asked for. */
static bool
is_wanted(const Replay *replay, Jsonb *headers, text *key)
{
	char	   *group = string_header(headers, "dlq.group");
	char	   *sqlstate = string_header(headers, "dlq.sqlstate");

	if (group == NULL || strcmp(group, replay->group.name) != 0)
		return false;
	if (replay->sqlstate != NULL &&
		(sqlstate == NULL || strcmp(sqlstate, replay->sqlstate) != 0))
		return false;
	return replay->key == NULL || same_text(replay->key, key);
}

/* Note a dead letter, as a LogReceiver. */
static bool
receive_letter(HeapTuple tuple, Relation leaf, void *arg)
{
	Replay	   *replay = arg;
	TimestampTz time = log_fixed(tuple->t_data)->timestamp;
	text	   *key = pgqueue_message_key(replay->dead, tuple);
	DeadLetter *letter;
	Datum		headers;
	bool		isnull;
	Jsonb	   *jsonb;
	char	   *topic;
	char	   *incarnation;

	CHECK_FOR_INTERRUPTS();
	if (time < replay->since || time > replay->until)
		return true;
	headers = heap_getattr(tuple, LOG_ATTR_HEADERS, RelationGetDescr(leaf),
						   &isnull);
	if (isnull)
		return true;
	jsonb = DatumGetJsonbP(headers);
	topic = string_header(jsonb, "dlq.topic");
	if (topic == NULL || !is_wanted(replay, jsonb, key))
		return true;
	letter = palloc0(sizeof(DeadLetter));
	letter->partition = replay->partition;
	letter->offset = log_fixed(tuple->t_data)->offset;
	letter->topic = pgqueue_topic_find(topic);
	letter->of_partition = (int32) number_header(jsonb, "dlq.partition");
	letter->of_offset = number_header(jsonb, "dlq.offset");
	incarnation = string_header(jsonb, "dlq.incarnation");
	letter->of_incarnation = incarnation == NULL ? 0 : number_of(incarnation, 0);
	letter->key = key == NULL ? NULL : DatumGetTextPCopy(PointerGetDatum(key));
	replay->letters = lappend(replay->letters, letter);
	return true;
}

static void
read_letters(Replay *replay)
{
	int			n;
	int32	   *partitions = pgqueue_used_partitions(replay->dead, &n);

	for (int i = 0; i < n; i++)
	{
		int64		stopped_at;

		replay->partition = partitions[i];
		(void) pgqueue_scan(replay->dead, partitions[i],
							pgqueue_log_start(replay->dead, partitions[i]),
							GetActiveSnapshot(), receive_letter, replay,
							&stopped_at);
	}
}

/* The order in which locks are taken. */
static int
compare_letters(const ListCell *a, const ListCell *b)
{
	const DeadLetter *x = lfirst(a);
	const DeadLetter *y = lfirst(b);
	int32		xid = x->topic == NULL ? 0 : x->topic->id;
	int32		yid = y->topic == NULL ? 0 : y->topic->id;

	if (xid != yid)
		return xid < yid ? -1 : 1;
	if (x->of_partition != y->of_partition)
		return x->of_partition < y->of_partition ? -1 : 1;
	return x->of_offset < y->of_offset ? -1 : x->of_offset > y->of_offset;
}

/* ---------------- parking their messages ---------------- */

/*
 * Park the message of a dead letter, due at once.  Return false if it cannot be
 * done: the log no longer has it, or has another one at its offset, or the headers do
 * not fit.
 *
 * Locks: the group's progress in the partition.
 */
static bool
park_again(Replay *replay, Progress *progress, Topic *topic,
		   const DeadLetter *letter)
{
	Parked		row = {.offset = letter->of_offset,.due = GetCurrentTimestamp(),
	.incarnation = letter->of_incarnation};
	Parked		other;
	HeapTuple	message;

	if (letter->of_offset < 0 || letter->of_offset >= progress->offset ||
		letter->of_incarnation == 0 ||
		!pgqueue_parked_in_log(topic, progress, &row))
		return false;
	message = pgqueue_parked_message(topic, letter->of_partition,
									 letter->of_offset, GetActiveSnapshot());
	if (message == NULL)
		return false;
	row.key = pgqueue_message_key(topic, message);
	if (!same_text(row.key, letter->key) ||
		pgqueue_parked_find(progress, row.key, row.offset, &other))
		return false;
	if (pgqueue_mark_replayed(replay->dead->id, letter->partition,
							  letter->offset))
		pgqueue_parked_insert(progress, &row);
	return true;
}

/* Replay the letters of one partition, from *i on.  Return their number. */
static int64
replay_partition(Replay *replay, int *i, int64 max)
{
	const DeadLetter *first = list_nth(replay->letters, *i);
	Topic	   *topic = first->topic;
	Progress	progress;
	int64		before;

	pgqueue_check_right(topic, ACL_SELECT);
	topic = pgqueue_topic_hold(topic);
	/* what is parked lies before the group's offset, maybe before all others */
	pgqueue_progress_lock_and_read(replay->group.id, topic,
								   first->of_partition, &progress);
	pgqueue_group_check_same(&replay->group);
	topic = pgqueue_topic_refresh(topic);
	before = progress.parked;
	for (; *i < list_length(replay->letters); (*i)++)
	{
		const DeadLetter *letter = list_nth(replay->letters, *i);

		CHECK_FOR_INTERRUPTS();
		if (letter->topic != first->topic ||
			letter->of_partition != first->of_partition)
			break;
		if (progress.parked - before < max &&
			!park_again(replay, &progress, topic, letter))
			replay->gone++;
	}
	if (progress.parked == before)
	{
		pgqueue_progress_unlock(&progress);
		return 0;
	}
	pgqueue_probe_now(&progress);
	pgqueue_progress_write(&progress, PROGRESS_PARKED);
	pgqueue_note_progress(replay->group.id, topic->id, progress.partition, true);
	return progress.parked - before;
}

/*
 * (consumer_group, dead_letter, key, sqlstate, since, until, max_messages) -> number
 * of messages
 */
Datum
pgqueue_replay(PG_FUNCTION_ARGS)
{
	Replay		replay = {0};
	int64		max = PG_ARGISNULL(6) ? PG_INT64_MAX : PG_GETARG_INT64(6);
	int64		n = 0;

	pgqueue_check_writable(fcinfo);
	pgqueue_check_not_null(fcinfo, 1, "dead_letter");
	replay.dead = pgqueue_readable_topic(fcinfo, 1);
	pgqueue_known_group_arg(fcinfo, NULL, &replay.group);
	replay.key = PG_ARGISNULL(2) ? NULL : PG_GETARG_TEXT_PP(2);
	replay.sqlstate = PG_ARGISNULL(3) ? NULL :
		text_to_cstring(PG_GETARG_TEXT_PP(3));
	replay.since = PG_ARGISNULL(4) ? DT_NOBEGIN : PG_GETARG_TIMESTAMPTZ(4);
	replay.until = PG_ARGISNULL(5) ? DT_NOEND : PG_GETARG_TIMESTAMPTZ(5);
	if (max < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_messages must be positive, not " INT64_FORMAT, max)));

	(void) pgqueue_group_lock_shared(replay.group.id, true);
	replay.dead = pgqueue_topic_hold(replay.dead);
	read_letters(&replay);
	list_sort(replay.letters, compare_letters);
	for (int i = 0; i < list_length(replay.letters) && n < max;)
	{
		const DeadLetter *letter = list_nth(replay.letters, i);

		if (letter->topic == NULL || letter->of_partition < 0 ||
			letter->of_partition >= letter->topic->npartitions)
		{
			replay.gone++;
			i++;
		}
		else
			n += replay_partition(&replay, &i, max - n);
	}
	if (replay.gone > 0)
		ereport(NOTICE,
				(errmsg_plural(INT64_FORMAT " dead letter was left out",
							   INT64_FORMAT " dead letters were left out",
							   (unsigned long) replay.gone, replay.gone),
				 errdetail("Their messages were removed, or are parked, or the group has yet to read them.")));
	PG_RETURN_INT64(n);
}
