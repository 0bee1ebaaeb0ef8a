/*-------------------------------------------------------------------------
 *
 * dead_letter.c
 *	  What becomes of a message whose attempts are used up: a dead letter, or it
 *	  stays parked until an operator acts.
 *
 * A dead letter is appended in the transaction that gives the message up.  It has
 * the message's key and value, the same partition number and, beside its headers,
 * what failed.  If it cannot be appended for a reason that the consumer cannot
 * mend (the topic is gone, or cannot take it), the message stays parked: it must
 * not be lost, nor keep its group from going on.
 *
 * The functions of that topic's CHECKs and indexes run as its owner, not as the
 * consumer, which has named neither the topic nor the owner: src/README, section
 * 12a.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/base.h"
#include "base/run_as.h"
#include "log/log.h"
#include "topic/message.h"
#include "topic/segment.h"
#include "topic/topic.h"
#include "group/parking.h"

/* Columns of queue.replayed; its index has the first three. */
#define REPLAYED_ATTR_TOPIC		1
#define REPLAYED_ATTR_PARTITION	2
#define REPLAYED_ATTR_OFFSET	3
#define REPLAYED_ATTR_AT		4
#define REPLAYED_NATTS			4

static void
add_string(StringInfo json, const char *name, const char *value)
{
	if (value == NULL)
		return;
	appendStringInfo(json, "%c\"dlq.%s\": ", json->len == 0 ? '{' : ',', name);
	escape_json(json, value);
}

static void
add_number(StringInfo json, const char *name, int64 value)
{
	appendStringInfo(json, "%c\"dlq.%s\": " INT64_FORMAT,
					 json->len == 0 ? '{' : ',', name, value);
}

/* Return the headers of a dead letter: those of its message, and what failed. */
static Datum
dead_headers(const ConsumerGroup *group, const Progress *progress,
			 const Parked *row, Datum headers, bool isnull)
{
	StringInfoData json;
	Datum		more;
	const char *since = row->first_failed_at == 0 ? NULL :
		DatumGetCString(DirectFunctionCall1(timestamptz_out,
											TimestampTzGetDatum(row->first_failed_at)));
	const char *incarnation =
		psprintf(INT64_FORMAT, pgqueue_incarnation(progress->topic));

	initStringInfo(&json);
	add_string(&json, "topic", progress->topic->name);
	add_number(&json, "partition", progress->partition);
	add_number(&json, "offset", row->offset);
	add_string(&json, "incarnation", incarnation);
	add_string(&json, "group", group->name);
	add_number(&json, "attempts", row->attempts);
	add_string(&json, "sqlstate", row->sqlstate);
	add_string(&json, "error", row->error);
	add_string(&json, "first_failed_at", since);
	appendStringInfoChar(&json, '}');
	more = DirectFunctionCall1(jsonb_in, CStringGetDatum(json.data));
	return isnull ? more : DirectFunctionCall2(jsonb_concat, headers, more);
}

/* Return why a topic cannot take a message of another as a dead letter, or NULL. */
static const char *
why_not(const Topic *dead, const FailurePolicy *policy, const Topic *topic,
		HeapTuple message)
{
	if (dead == NULL)
		return _("It does not exist.");
	if (dead->id != policy->dead_letter_id)
		return _("It was dropped, and made anew.");
	if (dead->broken != NULL)
		return dead->broken;
	if (dead->value_type != topic->value_type)
		return _("Its values have another type.");
	if ((dead->cleanup_policy & CLEANUP_COMPACT) &&
		pgqueue_message_key(topic, message) == NULL)
		return _("It is compacted, and the message has no key.");
	if (pg_class_aclcheck(dead->view, GetUserId(), ACL_INSERT) != ACLCHECK_OK)
		return _("The consumer's role has no INSERT right on it.");
	return NULL;
}

/* A dead letter that is being appended. */
typedef struct DeadLetter
{
	const ConsumerGroup *group;
	const Progress *progress;
	HeapTuple	message;
	const Parked *row;
} DeadLetter;

/*
 * Append a dead letter, as a TopicTask.
 *
 * Errors: those of an INSERT by the topic's owner; 55006 if a function of the owner
 * has changed what the caller holds.
 */
static void
append_dead_letter(Topic *dead, void *arg)
{
	const DeadLetter *letter = arg;
	const Progress *progress = letter->progress;
	int32		partition = progress->partition % dead->npartitions;
	Datum		values[LOG_NATTS];
	bool		nulls[LOG_NATTS];
	HeapTuple	record;
	RunAs		before;
	Progress	now;

	heap_deform_tuple(letter->message, progress->topic->desc, values, nulls);
	for (int i = LOG_ATTR_KEY - 1; i < LOG_ATTR_HEADERS; i++)
		if (!nulls[i] && TupleDescAttr(progress->topic->desc, i)->attlen == -1)
			values[i] = PointerGetDatum(PG_DETOAST_DATUM(values[i]));
	values[LOG_ATTR_HEADERS - 1] =
		dead_headers(letter->group, progress, letter->row,
					 values[LOG_ATTR_HEADERS - 1], nulls[LOG_ATTR_HEADERS - 1]);
	nulls[LOG_ATTR_HEADERS - 1] = false;
	nulls[LOG_ATTR_DELIVER_AT - 1] = true;
	pgqueue_check_message(dead, values, nulls);
	record = pgqueue_form_record(dead->desc, partition, values, nulls);
	pgqueue_run_as(dead->owner, &before);
	pgqueue_append(dead, partition, &record, 1);
	pgqueue_run_as_end(&before);

	(void) pgqueue_topic_refresh(unconstify(Topic *, progress->topic));
	pgqueue_progress_look(progress->group_id, progress->topic,
						  progress->partition, &now);
	if (now.generation != progress->generation)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("functions of topic \"%s\" must not use consumer group \"%s\" while it gives a message up",
						dead->name, letter->group->name)));
}

/* Return why a topic has not taken a dead letter, or NULL if it has. */
static const char *
try_to_append(Topic *dead, DeadLetter *letter)
{
	ErrorData  *error = pgqueue_error_of(dead, append_dead_letter, letter);

	if (error == NULL)
		return NULL;
	/* lock_timeout: it may be able to take it later */
	if (error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE)
		ReThrowError(error);
	return error->message;
}

/*
 * Give a message up: append it to the policy's topic of dead letters, and delete
 * its row, if it is stored.  Return false if it stays parked instead, with a row
 * that is due never.
 *
 * Locks: the group's progress in the partition; the caller writes it then.
 * Errors: those of an INSERT into that topic that tell of an outage, as those of
 * pgqueue_error_of() do, and 55P03.
 */
bool
pgqueue_exhaust(const ConsumerGroup *group, Topic *topic, Progress *progress,
				const FailurePolicy *policy, HeapTuple message, Parked *row)
{
	bool		stored = ItemPointerIsValid(&row->tid);
	Topic	   *dead;
	const char *reason;

	if (policy->dead_letter != NULL)
	{
		dead = pgqueue_topic_find(policy->dead_letter);
		reason = why_not(dead, policy, topic, message);
		if (reason == NULL)
			reason = try_to_append(dead, &(DeadLetter) {group, progress, message, row});
		if (reason == NULL)
		{
			if (stored)
				pgqueue_parked_delete(progress, row);
			return true;
		}
		ereport(WARNING,
				(errmsg("topic \"%s\" cannot take the dead letters of topic \"%s\"",
						policy->dead_letter, topic->name),
				 errdetail_internal("%s", reason),
				 errhint("The messages stay parked. Mend the topic or queue.set_failure_policy(), and call queue.retry_parked().")));
	}
	row->due = DUE_NEVER;
	row->epoch = 0;
	if (stored)
		pgqueue_parked_replace(progress, row);
	else
		pgqueue_parked_insert(progress, row);
	return false;
}

/* ---------------- replayed ---------------- */

/*
 * Return true if a dead letter was not replayed before, and note that it is now.
 *
 * Locks: the progress, in the partition of its message, of the group whose it is.
 */
bool
pgqueue_mark_replayed(int32 topic_id, int32 partition, int64 offset)
{
	RegistryScan scan = {0};
	bool		found;
	bool		nulls[REPLAYED_NATTS] = {false};
	Datum		values[REPLAYED_NATTS] = {
		Int32GetDatum(topic_id), Int32GetDatum(partition),
		Int64GetDatum(offset), TimestampTzGetDatum(GetCurrentTimestamp())
	};

	pgqueue_registry_key_int4(&scan, REPLAYED_ATTR_TOPIC, topic_id);
	pgqueue_registry_key_int4(&scan, REPLAYED_ATTR_PARTITION, partition);
	pgqueue_registry_key(&scan, REPLAYED_ATTR_OFFSET, BTEqualStrategyNumber,
						 F_INT8EQ, Int64GetDatum(offset));
	pgqueue_registry_scan(&scan, REGISTRY_REPLAYED, AccessShareLock,
						  SnapshotSelf);
	found = HeapTupleIsValid(pgqueue_registry_next(&scan));
	pgqueue_registry_end(&scan);
	if (!found)
		pgqueue_registry_insert(REGISTRY_REPLAYED, REPLAYED_NATTS, values, nulls);
	return !found;
}

/* Forget what was replayed of a topic.  Locks: its table, ACCESS EXCLUSIVE. */
void
pgqueue_replayed_delete(int32 topic_id)
{
	RegistryScan scan = {0};

	pgqueue_registry_key_int4(&scan, REPLAYED_ATTR_TOPIC, topic_id);
	pgqueue_registry_scan(&scan, REGISTRY_REPLAYED, RowExclusiveLock,
						  SnapshotSelf);
	(void) pgqueue_registry_delete(&scan);
}
