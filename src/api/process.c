/*-------------------------------------------------------------------------
 *
 * process.c
 *	  CALL queue.process(): transaction after transaction of a subscription, until
 *	  nothing is left, and wait for more.
 *
 * An outage must not count as a failure of a message: a lock that another session
 * holds, a deadlock, a lack of resources, a connection that is gone.  After such an
 * error the transaction is rolled back, and repeated after a while.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/pg_prng.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/base.h"
#include "base/client.h"
#include "topic/topic.h"
#include "group/group.h"
#include "group/member.h"
#include "api/api.h"
#include "api/maintain.h"
#include "api/process.h"

PG_FUNCTION_INFO_V1(pgqueue_process);

/* Milliseconds before a transaction is repeated: doubled each time, up to ... */
#define BACKOFF		100
#define BACKOFF_MAX 10000
/* Repetitions in a row from which on a WARNING tells of them. */
#define REPETITIONS_TO_TELL 5

/* Sleep before the next repetition, without a snapshot. */
static void
back_off(int repetitions)
{
	double		ms = Min(BACKOFF << Min(repetitions - 1, 10), BACKOFF_MAX);
	TimestampTz until;
	long		left;

	ms *= 0.8 + 0.4 * pg_prng_double(&pg_global_prng_state);
	until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), (int64) ms);
	InvalidateCatalogSnapshot();
	while ((left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(),
												   until)) > 0)
	{
		pgqueue_check_client();
		pgqueue_sleep(left, PG_WAIT_EXTENSION);
	}
}

/*
 * Return true if an error tells that the group or the topic may have been dropped
 * since the subscription was read: then there is none any more.
 */
static bool
may_be_dropped(const ErrorData *error)
{
	return error->sqlerrcode == ERRCODE_UNDEFINED_OBJECT ||
		error->sqlerrcode == ERRCODE_OBJECT_IN_USE;
}

/*
 * Do one transaction.  Return the error of an outage, or one that may_be_dropped(),
 * after the transaction was rolled back.
 */
static ErrorData *
try_batch(Process *process, BatchOutcome *outcome)
{
	ErrorData  *volatile error = NULL;

	PG_TRY();
	{
		PushActiveSnapshot(GetTransactionSnapshot());
		*outcome = pgqueue_process_batch(process);
		PopActiveSnapshot();
		/* the end of a transaction leaves something in memory */
		MemoryContextSwitchTo(process->per_batch);
		if (*outcome == BATCH_FAILED)
			process->rollback();
		else
			process->commit();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(process->context);
		error = CopyErrorData();
		if (!pgqueue_is_outage(error) && !may_be_dropped(error))
			PG_RE_THROW();
		FlushErrorState();
		while (ActiveSnapshotSet())
			PopActiveSnapshot();
		process->rollback();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(process->context);
	return error;
}

/* Do one transaction, and repeat it while there is an outage. */
static BatchOutcome
do_batch(Process *process)
{
	BatchOutcome outcome = BATCH_ENDED;
	ErrorData  *error;
	bool		looked_again = false;
	int			repetitions = 0;

	while ((error = try_batch(process, &outcome)) != NULL)
	{
		process->small = false;
		if (may_be_dropped(error))
		{
			if (looked_again)
				ReThrowError(error);
			looked_again = true;
			continue;
		}
		ereport(++repetitions < REPETITIONS_TO_TELL ? DEBUG1 : WARNING,
				(errcode(error->sqlerrcode),
				 errmsg("messages of topic \"%s\" are processed again: %s",
						process->target.topics.topics[0]->name,
						error->message)));
		FreeErrorData(error);
		back_off(repetitions);
	}
	if (outcome == BATCH_DONE)
	{
		process->batches++;
		process->messages += process->handled_now;
		process->parked += process->parked_now;
	}
	return outcome;
}

/* Wait for messages, between two transactions. */
static void
wait_for_more(Process *process, int64 ms)
{
	PG_TRY();
	{
		pgqueue_wait_outside(&process->target, ms, process->commit);
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(process->context);
		error = CopyErrorData();
		/* the next transaction will find no subscription */
		if (!may_be_dropped(error))
			PG_RE_THROW();
		FlushErrorState();
		while (ActiveSnapshotSet())
			PopActiveSnapshot();
		process->rollback();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(process->context);
}

/* Return true if the subscription was ended, as far as a look without locks tells. */
static bool
has_ended(void *arg)
{
	Process    *process = arg;
	Subscription subscription;

	return !pgqueue_subscription_read(process->group_id, process->topic_id,
									  &subscription) ||
		!pgqueue_process_goes_on(process, &subscription);
}

/*
 * Prepare to process, or to wait for, a group's messages of a topic.  The caller sets
 * what else is not zero.
 */
void
pgqueue_process_init(Process *process, const char *group, int32 group_id,
					 Topic *topic)
{
	process->target.group.name = pstrdup(group);
	pgqueue_group_refresh(&process->target.group);
	process->target.topics.n = 1;
	process->target.topics.topics[0] = topic;
	process->target.ended = has_ended;
	process->target.ended_arg = process;
	process->group_id = group_id;
	process->topic_id = topic->id;
	process->context = CurrentMemoryContext;
	process->per_batch = AllocSetContextCreate(CurrentMemoryContext,
											   "queue batch",
											   ALLOCSET_DEFAULT_SIZES);
}

/*
 * Process a subscription: at most max_batches transactions (0: without limit),
 * until no message has come for max_wait milliseconds.  Return false if it was
 * ended, or wants this process no more.
 */
bool
pgqueue_process_all(Process *process, int64 max_batches, int64 max_wait)
{
	TimestampTz idle_since = 0;

	while (max_batches == 0 || process->batches < max_batches)
	{
		BatchOutcome outcome = do_batch(process);
		int64		left;

		if (outcome == BATCH_ENDED)
			return false;
		if (outcome != BATCH_EMPTY)
		{
			idle_since = 0;
			continue;
		}
		if (max_wait == 0)
			break;
		if (idle_since == 0)
			idle_since = GetCurrentTimestamp();
		left = max_wait - (GetCurrentTimestamp() - idle_since) / 1000;
		if (left <= 0)
			break;
		wait_for_more(process, left);
	}
	return true;
}

/* ---------------- the procedure ---------------- */

/*
 * Read the arguments consumer_group and topic.
 *
 * Errors: 22004, 42602, 42704, 42501.
 */
static void
process_args(FunctionCallInfo fcinfo, Process *process)
{
	ConsumerGroup group;
	Subscription subscription;
	TopicList	topics;
	Topic	   *topic;

	pgqueue_check_not_null(fcinfo, 0, "consumer_group");
	pgqueue_topic_list(fcinfo, 1, false, &topics);
	topic = topics.topics[0];
	pgqueue_known_group_arg(fcinfo, NULL, &group);
	pgqueue_subscription_lock(group.id, topic->id, ShareLock);
	if (!pgqueue_subscription_read(group.id, topic->id, &subscription))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("consumer group \"%s\" has no subscription to topic \"%s\"",
						group.name, topic->name),
				 errhint("Name a handler with queue.subscribe().")));
	pgqueue_process_init(process, group.name, group.id, topic);
}

/* (consumer_group, topic, max_batches, max_wait, ...) -> counters */
Datum
pgqueue_process(PG_FUNCTION_ARGS)
{
	Process    *process;
	int64		max_batches = 0;
	int64		max_wait;
	Datum		values[3];
	bool		nulls[3] = {false};

	pgqueue_call_begin(fcinfo);
	process = palloc0(sizeof(Process));
	process->commit = SPI_commit;
	process->rollback = SPI_rollback;
	pgqueue_step_begin();
	process_args(fcinfo, process);
	if (!PG_ARGISNULL(2))
	{
		max_batches = PG_GETARG_INT32(2);
		if (max_batches <= 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("max_batches must be positive, not " INT64_FORMAT,
							max_batches)));
	}
	max_wait = pgqueue_duration_arg(fcinfo, 3, "max_wait", 0);
	pgqueue_step_end();

	pgqueue_process_all(process, max_batches, max_wait);
	values[0] = Int64GetDatum(process->batches);
	values[1] = Int64GetDatum(process->messages);
	values[2] = Int64GetDatum(process->parked);
	SPI_finish();
	return pgqueue_return_row(fcinfo, values, nulls, 3);
}
