/*-------------------------------------------------------------------------
 *
 * batch.c
 *	  One transaction of queue.process(): take messages of one partition, hand
 *	  them to the subscription's handler, and leave it to the caller to commit.
 *
 * README, section 19, has the proof that no message is handled twice, or lost.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "executor/executor.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"
#include "utils/typcache.h"

#include "base/base.h"
#include "base/lock.h"
#include "topic/message.h"
#include "topic/topic.h"
#include "group/group.h"
#include "group/member.h"
#include "group/parking.h"
#include "group/subscription.h"
#include "api/api.h"
#include "api/process.h"
#include "api/worker.h"

/*
 * Subtransactions of a transaction that succeed, at most: as many ids as other
 * sessions can read without looking them up on disk, less some that the handler may
 * need.
 */
#define MAX_SUBTRANSACTIONS	50

/* ---------------- the subscription ---------------- */

/*
 * Check that the user may have the handler called: the role that subscribed has
 * chosen a function that runs with the user's rights.
 *
 * Errors: 42501.
 */
static void
check_owner(const Process *process, const Subscription *subscription)
{
	Oid			owner = pgqueue_role_oid(&subscription->owner);
	const char *name = OidIsValid(owner) ? GetUserNameFromId(owner, true) : NULL;

	if (name != NULL && has_privs_of_role(owner, GetUserId()))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied for subscription of consumer group \"%s\" to topic \"%s\"",
					process->target.group.name,
					process->target.topics.topics[0]->name),
			 name != NULL ?
			 errdetail("It belongs to role \"%s\", whose handler would run with the rights of role \"%s\".",
					   name,
					   GetUserNameFromId(GetUserId(), false)) :
			 errdetail("The role that it belonged to was dropped."),
			 errhint("Process as the role to which it belongs, or call queue.subscribe() as this one.")));
}

/*
 * Return true if a process works for a subscription: a session does, and a worker
 * that the subscription wants, which has connected as the role that subscribed, and
 * still could.
 */
bool
pgqueue_process_goes_on(const Process *process,
						const Subscription *subscription)
{
	return process->worker == 0 ||
		(process->worker <= subscription->workers &&
		 pgqueue_role_oid(&subscription->owner) == GetUserId() &&
		 pgqueue_worker_obstacle(GetUserId()) == NULL);
}

/*
 * Read the subscription as of now.  Return false if it is gone, with or without
 * its group or topic, or if this process does not work for it any more.
 *
 * Locks: the subscription's, share, to the end of the transaction.
 * Errors: 42501.
 */
static bool
read_subscription(Process *process, Subscription *subscription)
{
	WaitTarget *target = &process->target;
	Topic	   *topic;

	pgqueue_subscription_lock(process->group_id, process->topic_id, ShareLock);
	topic = pgqueue_topic_find(target->topics.topics[0]->name);
	if (topic == NULL || topic->id != process->topic_id)
		return false;
	topic = pgqueue_topic(topic->name);
	pgqueue_check_right(topic, ACL_SELECT);
	pgqueue_group_refresh(&target->group);
	if (target->group.id != process->group_id ||
		!pgqueue_subscription_read(process->group_id, process->topic_id,
								   subscription) ||
		!pgqueue_process_goes_on(process, subscription))
		return false;
	check_owner(process, subscription);
	pgqueue_handler_find(subscription, topic, &process->handler);
	return true;
}

/* ---------------- taking ---------------- */

/*
 * Take messages into batch->rows.  estate keeps segments open to which the rows
 * point.  Return false if there are none.
 *
 * Locks, errors: those of pgqueue_consume_any().
 */
static bool
take(Process *process, Batch *batch, EState *estate)
{
	Taker	   *taker = palloc0(sizeof(Taker));
	ReturnSetInfo *rsinfo = makeNode(ReturnSetInfo);

	batch->desc = lookup_rowtype_tupdesc_copy(batch->handler->row_type, -1);
	batch->rows = tuplestore_begin_heap(false, false, work_mem);
	batch->slot = MakeSingleTupleTableSlot(batch->desc, &TTSOpsMinimalTuple);
	rsinfo->setDesc = batch->desc;
	rsinfo->setResult = batch->rows;
	rsinfo->econtext = GetPerTupleExprContext(estate);
	pgqueue_sink_rows(&taker->sink, rsinfo,
					  process->small ?
					  Min(batch->subscription->batch, MAX_SUBTRANSACTIONS) :
					  batch->subscription->batch);
	taker->target = process->target;
	if (process->small)
	{
		taker->target.partitions = &process->partition;
		taker->target.npartitions = 1;
	}
	taker->snapshot = GetActiveSnapshot();
	pgqueue_sink_topic(&taker->sink, process->target.topics.topics[0], "%s %s");
	if (!pgqueue_consume_any(taker))
		return false;
	pgqueue_batch_begin(batch, taker->sink.taken);
	return true;
}

/* ---------------- handling ---------------- */

/* Errors: one that tells nothing of the message that was being handled. */
static void
check_failure(ErrorData *error, bool expired)
{
	if (!expired && (pgqueue_is_cancel(error) || pgqueue_is_outage(error)))
		ReThrowError(error);
}

/*
 * Park the next message, on which the handler has failed, and what waits behind it.
 *
 * Errors: those of pgqueue_park().
 */
static void
park(Process *process, Batch *batch, const ErrorData *error)
{
	Failure		failure = {
		.error = error->message,
		.sqlstate = unpack_sql_state(error->sqlerrcode),
		.delay = -1,
		.counts = true
	};
	int			n;				/* those are found parked */

	(void) pgqueue_batch_peek(batch);
	(void) pgqueue_park(&process->target.group,
						process->target.topics.topics[0],
						pgqueue_batch_partition(batch),
						pgqueue_batch_offset(batch), NULL, 0, &failure, &n);
	pgqueue_batch_pass(batch);
	process->parked_now++;
}

/* How to go on in a part of a batch. */
typedef struct Search
{
	int			size;			/* of the next group */
	int			suspects;		/* the first ones: one of them fails */
	bool		alone;			/* hand the suspects over one by one */
	int			good;			/* messages since the last that failed */
} Search;

/* The handler has succeeded on a group of messages. */
static void
note_success(Search *search, int handed)
{
	search->good += handed;
	search->suspects = Max(search->suspects - handed, 0);
	if (search->suspects == 0)
		search->size = Min(search->size, INT_MAX / 2) * 2;
	else
		search->size = search->alone ? 1 : (search->suspects + 1) / 2;
}

/*
 * The handler has failed on a group of several messages.  If it is called with each,
 * those before the one on which it failed succeed without it, and that one is the
 * first of the next group.  Of an array each half is tried; but one by one after a
 * timeout, which each group of which the guilty one is a part would wait for.
 */
static void
note_failure(Search *search, const Batch *batch, bool expired)
{
	search->suspects = batch->handed;
	search->alone = expired;
	if (batch->is_last_guilty)
		search->size = batch->handed - 1;
	else
		search->size = expired ? 1 : batch->handed / 2;
}

/*
 * The guilty message is known.  An array is as large next as the number of messages
 * among which one fails makes likely to succeed.
 */
static void
note_guilty(Search *search, const Batch *batch)
{
	search->size = batch->handler->whole_batch ?
		Max(Min(search->good, INT_MAX / 2) * 2, 1) : batch->n;
	search->suspects = search->good = 0;
}

/*
 * Hand the messages before an end to the handler in groups, each in a subtransaction,
 * the first of a given size; find those on which it fails, and park them.  Return
 * false, to roll back, if that took too many subtransactions.
 *
 * Errors: those that tell nothing of a message, and those of pgqueue_park().
 */
static bool
handle_part(Process *process, Batch *batch, int end, int size)
{
	Search		search = {.size = size};

	batch->end = end;
	for (;;)
	{
		ErrorData  *error;
		bool		expired;

		CHECK_FOR_INTERRUPTS();
		pgqueue_batch_mark(batch);
		if (!pgqueue_batch_peek(batch))
			return true;
		if (batch->successes == MAX_SUBTRANSACTIONS)
			return false;
		error = pgqueue_handle(batch, search.size, &expired);
		if (error == NULL)
		{
			batch->successes++;
			process->handled_now += batch->handed;
			note_success(&search, batch->handed);
			continue;
		}
		check_failure(error, expired);
		pgqueue_batch_return(batch);
		if (batch->handed > 1)
			note_failure(&search, batch, expired);
		else
		{
			park(process, batch, error);
			note_guilty(&search, batch);
		}
	}
}

/*
 * Hand the messages to the handler: those that have failed before first, one and then
 * more; the others together.
 */
static BatchOutcome
handle(Process *process, Batch *batch)
{
	process->small = false;
	if (handle_part(process, batch, batch->retried, 1) &&
		handle_part(process, batch, batch->n, batch->n))
		return BATCH_DONE;
	process->small = true;
	process->partition = pgqueue_batch_partition(batch);
	return BATCH_FAILED;
}

/*
 * Do one transaction, in the current one, of which an active snapshot is the
 * first.  The caller then commits it or rolls it back; after an error it rolls it
 * back.
 *
 * Locks: those of consume, and the subscription's, to the end of the transaction.
 * Errors: those of consume, and those of the handler that tell nothing of the
 * messages; 42501 without the right to process; 25006.
 */
BatchOutcome
pgqueue_process_batch(Process *process)
{
	Subscription subscription;
	Batch		batch = {process, &subscription, &process->handler,
	.parks = pgqueue_parks};
	BatchOutcome outcome = BATCH_ENDED;
	MemoryContext old;

	/* the handler would fail on each message */
	PreventCommandIfReadOnly("queue.process()");
	MemoryContextReset(process->per_batch);
	old = MemoryContextSwitchTo(process->per_batch);
	process->handled_now = process->parked_now = 0;
	if (read_subscription(process, &subscription))
	{
		EState	   *estate = CreateExecutorState();

		if (take(process, &batch, estate))
		{
			/* the handler sees that the offset has moved */
			CommandCounterIncrement();
			outcome = handle(process, &batch);
		}
		else
		{
			/* messages may have been parked on sight */
			outcome = TransactionIdIsValid(GetTopTransactionIdIfAny()) ?
				BATCH_MOVED : BATCH_EMPTY;
			process->small = false;
		}
		pgqueue_batch_end(&batch);
		FreeExecutorState(estate);
	}
	MemoryContextSwitchTo(old);
	return outcome;
}
