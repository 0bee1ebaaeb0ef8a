/*-------------------------------------------------------------------------
 *
 * park.c
 *	  Messages that fail: queue.set_failure_policy(), drop_failure_policy(),
 *	  park(), skip_parked() and retry_parked().
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type_d.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "base/base.h"
#include "topic/topic.h"
#include "group/group.h"
#include "group/member.h"
#include "group/parking.h"
#include "group/progress.h"
#include "api/api.h"

PG_FUNCTION_INFO_V1(pgqueue_set_failure_policy);
PG_FUNCTION_INFO_V1(pgqueue_drop_failure_policy);
PG_FUNCTION_INFO_V1(pgqueue_park_sql);
PG_FUNCTION_INFO_V1(pgqueue_skip_parked);
PG_FUNCTION_INFO_V1(pgqueue_retry_parked);

/* ---------------- policy ---------------- */

/* Read the argument hold.  Errors: 22023. */
static char
hold_arg(FunctionCallInfo fcinfo, int arg)
{
	char	   *hold;

	pgqueue_check_not_null(fcinfo, arg, "hold");
	hold = text_to_cstring(PG_GETARG_TEXT_PP(arg));
	if (strcmp(hold, "key") == 0)
		return HOLD_KEY;
	if (strcmp(hold, "none") == 0)
		return HOLD_NOTHING;
	if (strcmp(hold, "partition") == 0)
		return HOLD_PARTITION;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("hold must be \"key\", \"none\" or \"partition\", not \"%s\"",
					hold)));
}

/* Read the argument dead_letter: a topic that can take the topic's messages. */
static void
dead_letter_arg(FunctionCallInfo fcinfo, int arg, const Topic *topic,
				FailurePolicy *policy)
{
	Topic	   *dead;

	if (PG_ARGISNULL(arg))
		return;
	dead = pgqueue_topic_arg(PG_GETARG_TEXT_PP(arg));
	pgqueue_check_right(dead, ACL_INSERT);
	if (dead->id == topic->id)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("topic \"%s\" cannot take its own dead letters",
						topic->name)));
	if (dead->value_type != topic->value_type)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("values of topic \"%s\" have type %s, those of topic \"%s\" type %s",
						dead->name, format_type_be(dead->value_type),
						topic->name, format_type_be(topic->value_type)),
				 errhint("A topic of dead letters has the type of the messages.")));
	policy->dead_letter = pstrdup(dead->name);
	policy->dead_letter_id = dead->id;
}

/* Read a number that must be at least 1.  Errors: 22004, 22023. */
static int64
positive(FunctionCallInfo fcinfo, int arg, const char *name, int64 number)
{
	if (number < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be positive, not " INT64_FORMAT, name, number)));
	return number;
}

/*
 * (consumer_group, topic, max_attempts, backoff, backoff_max, hold, dead_letter,
 * max_parked)
 */
Datum
pgqueue_set_failure_policy(PG_FUNCTION_ARGS)
{
	Topic	   *topic;
	ConsumerGroup group;
	FailurePolicy policy = {.set = true};

	pgqueue_check_writable(fcinfo);
	pgqueue_check_not_null(fcinfo, 2, "max_attempts");
	pgqueue_check_not_null(fcinfo, 3, "backoff");
	pgqueue_check_not_null(fcinfo, 4, "backoff_max");
	pgqueue_check_not_null(fcinfo, 7, "max_parked");
	topic = pgqueue_readable_topic(fcinfo, 1);
	pgqueue_group_arg(fcinfo, false, &group);
	policy.max_attempts = positive(fcinfo, 2, "max_attempts",
								   PG_GETARG_INT32(2));
	policy.backoff = pgqueue_duration_arg(fcinfo, 3, "backoff", 0);
	policy.backoff_max = pgqueue_duration_arg(fcinfo, 4, "backoff_max", 0);
	policy.hold = hold_arg(fcinfo, 5);
	dead_letter_arg(fcinfo, 6, topic, &policy);
	policy.max_parked = positive(fcinfo, 7, "max_parked", PG_GETARG_INT64(7));
	if (policy.backoff > policy.backoff_max)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("backoff must not be longer than backoff_max"),
				 errhint("Pass backoff_max, too. Its default is five minutes.")));

	(void) pgqueue_group_ensure(&group, NULL);
	pgqueue_group_lock_settings(&group);
	(void) pgqueue_group_lock_shared(group.id, true);
	topic = pgqueue_topic_hold(topic);
	pgqueue_group_check_same(&group);
	pgqueue_policy_write(group.id, topic->id, &policy);
	PG_RETURN_VOID();
}

/* (consumer_group, topic) -> true if there was one */
Datum
pgqueue_drop_failure_policy(PG_FUNCTION_ARGS)
{
	Topic	   *topic;
	ConsumerGroup group;

	pgqueue_check_writable(fcinfo);
	topic = pgqueue_readable_topic(fcinfo, 1);
	pgqueue_known_group_arg(fcinfo, NULL, &group);
	pgqueue_group_lock_settings(&group);
	(void) pgqueue_group_lock_shared(group.id, true);
	topic = pgqueue_topic_hold(topic);
	pgqueue_group_check_same(&group);
	PG_RETURN_BOOL(pgqueue_policy_delete(group.id, topic->id));
}

/* ---------------- park ---------------- */

static char *
text_arg(FunctionCallInfo fcinfo, int arg)
{
	return PG_ARGISNULL(arg) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(arg));
}

/* Read the argument sqlstate.  Errors: 22023. */
static char *
sqlstate_arg(FunctionCallInfo fcinfo, int arg)
{
	char	   *sqlstate = text_arg(fcinfo, arg);

	if (sqlstate != NULL &&
		(strlen(sqlstate) != 5 ||
		 strspn(sqlstate, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") != 5))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("sqlstate must have five digits or upper-case letters"),
				 errhint("Pass other codes in error.")));
	return sqlstate;
}

static Datum
array_of(const int64 *offsets, int n)
{
	Datum	   *elements = palloc(Max(n, 1) * sizeof(Datum));

	for (int i = 0; i < n; i++)
		elements[i] = Int64GetDatum(offsets[i]);
	return PointerGetDatum(construct_array(elements, n, INT8OID,
										   sizeof(int64), FLOAT8PASSBYVAL,
										   TYPALIGN_DOUBLE));
}

/*
 * (consumer_group, topic, partition, offset, error, sqlstate, delay, counts,
 * give_up, member, epoch) -> offsets that wait behind it
 */
Datum
pgqueue_park_sql(PG_FUNCTION_ARGS)
{
	Topic	   *topic;
	ConsumerGroup group;
	Failure		failure;
	char	   *member = NULL;
	int64	   *skip;
	int			n;

	pgqueue_check_writable(fcinfo);
	pgqueue_check_not_null(fcinfo, 2, "partition");
	pgqueue_check_not_null(fcinfo, 3, "offset");
	pgqueue_check_not_null(fcinfo, 7, "counts");
	pgqueue_check_not_null(fcinfo, 8, "give_up");
	topic = pgqueue_readable_topic(fcinfo, 1);
	pgqueue_known_group_arg(fcinfo, NULL, &group);
	pgqueue_check_partition(topic, PG_GETARG_INT32(2));
	failure.error = text_arg(fcinfo, 4);
	failure.sqlstate = sqlstate_arg(fcinfo, 5);
	failure.delay = PG_ARGISNULL(6) ? -1 :
		pgqueue_duration_arg(fcinfo, 6, "delay", 0);
	failure.counts = PG_GETARG_BOOL(7);
	failure.give_up = PG_GETARG_BOOL(8);
	if (PG_ARGISNULL(9) != PG_ARGISNULL(10))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("member and epoch belong together"),
				 errhint("Both come from queue.poll().")));
	if (!PG_ARGISNULL(9))
		member = pgqueue_member_arg(PG_GETARG_TEXT_PP(9));

	(void) pgqueue_group_lock_shared(group.id, true);
	topic = pgqueue_topic_hold(topic);
	pgqueue_group_check_same(&group);
	skip = pgqueue_park(&group, topic, PG_GETARG_INT32(2), PG_GETARG_INT64(3),
						member, PG_ARGISNULL(10) ? 0 : PG_GETARG_INT64(10),
						&failure, &n);
	PG_RETURN_DATUM(array_of(skip, n));
}

/* ---------------- by an operator ---------------- */

/* Find the row of a message among all of a partition. */
static bool
find_parked(const Progress *progress, int64 offset, Parked *row)
{
	RegistryScan scan = {0};
	bool		found = false;

	pgqueue_parked_scan_all(&scan, progress);
	while (!found && pgqueue_parked_next(&scan, row))
		found = row->offset == offset;
	pgqueue_registry_end(&scan);
	return found;
}

/*
 * (consumer_group, topic, partition, offset): forget a parked message, or make it
 * due now, with all its attempts before it.  Return false if it is not parked.
 */
static bool
act_on_parked(FunctionCallInfo fcinfo, bool skip)
{
	Topic	   *topic;
	ConsumerGroup group;
	Progress	progress;
	Parked		row;

	pgqueue_check_writable(fcinfo);
	pgqueue_check_not_null(fcinfo, 2, "partition");
	pgqueue_check_not_null(fcinfo, 3, "offset");
	topic = pgqueue_readable_topic(fcinfo, 1);
	pgqueue_known_group_arg(fcinfo, topic, &group);
	pgqueue_check_partition(topic, PG_GETARG_INT32(2));
	(void) pgqueue_group_lock_shared(group.id, true);
	topic = pgqueue_topic_hold(topic);
	(void) pgqueue_progress_lock(group.id, topic->id, PG_GETARG_INT32(2), true);
	pgqueue_group_check_same(&group);
	topic = pgqueue_topic_refresh(topic);
	pgqueue_progress_read(group.id, topic, PG_GETARG_INT32(2), &progress);
	if (progress.parked == 0 || !find_parked(&progress, PG_GETARG_INT64(3), &row))
	{
		pgqueue_progress_unlock(&progress);
		return false;
	}
	if (row.epoch != 0 && row.epoch == progress.epoch &&
		pgqueue_in_hand(&progress) && pgqueue_holder_alive(&progress))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("the message at offset " INT64_FORMAT " of partition %d of topic \"%s\" is in the hand of member \"%s\"",
						row.offset, progress.partition, topic->name,
						progress.member)));
	if (skip)
	{
		pgqueue_parked_delete(&progress, &row);
		pgqueue_parked_promote(&progress, row.hash, row.key);
		pgqueue_parked_settle(&progress);
	}
	else if (row.due != DUE_BEHIND)
	{
		row.due = pgqueue_parked_holds(&progress, row.hash, row.key,
									   row.offset) ?
			DUE_BEHIND : GetCurrentTimestamp();
		row.attempts = 0;
		row.epoch = 0;
		progress.delayed -= row.delayed;
		row.delayed = false;
		pgqueue_parked_replace(&progress, &row);
		pgqueue_probe_now(&progress);
	}
	pgqueue_progress_write(&progress, PROGRESS_PARKED);
	pgqueue_note_progress(group.id, topic->id, progress.partition, true);
	return true;
}

Datum
pgqueue_skip_parked(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(act_on_parked(fcinfo, true));
}

Datum
pgqueue_retry_parked(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(act_on_parked(fcinfo, false));
}
