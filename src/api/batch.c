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

/*
 * Messages of a transaction at most that are handled each in a subtransaction of
 * its own: as many ids of subtransactions as other sessions can read without
 * looking them up on disk, less some that the handler may need.
 */
#define MAX_EACH	50

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
 * Read the subscription as of now.  Return false if it is gone, with or without
 * its group or topic.
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
								   subscription))
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
					  process->each ?
					  Min(batch->subscription->batch, MAX_EACH) :
					  batch->subscription->batch);
	taker->target = process->target;
	if (process->each)
	{
		taker->target.partitions = &process->partition;
		taker->target.npartitions = 1;
	}
	taker->snapshot = GetActiveSnapshot();
	pgqueue_sink_topic(&taker->sink, process->target.topics.topics[0], "%s %s");
	if (!pgqueue_consume_any(taker))
		return false;
	batch->n = taker->sink.taken;
	return true;
}

/* ---------------- handling ---------------- */

/* Return a column of the message in the batch's slot. */
static Datum
column(Batch *batch, AttrNumber attr)
{
	bool		isnull;

	return slot_getattr(batch->slot, attr, &isnull);
}

/* Read the next message into the slot.  Return false if there is none. */
static bool
look_ahead(Batch *batch)
{
	batch->ahead = tuplestore_gettupleslot(batch->rows, true, false,
										   batch->slot);
	return batch->ahead;
}

/* Errors: one that tells nothing of the message that was being handled. */
static void
check_failure(ErrorData *error, bool expired)
{
	if (!expired && (pgqueue_is_cancel(error) || pgqueue_is_outage(error)))
		ReThrowError(error);
}

/* Park a message on which the handler has failed, and what waits behind it. */
static void
park(Process *process, int64 offset, const ErrorData *error)
{
	Failure		failure = {
		.error = error->message,
		.sqlstate = unpack_sql_state(error->sqlerrcode),
		.delay = -1,
		.counts = true
	};
	int			n;				/* those are found parked */

	(void) pgqueue_park(&process->target.group,
						process->target.topics.topics[0], process->partition,
						offset, NULL, 0, &failure, &n);
	process->parked_now++;
}

/*
 * Handle each message in a subtransaction of its own, and park those on which the
 * handler fails.
 *
 * Errors: those that tell nothing of a message, and those of pgqueue_park().
 */
static void
handle_each(Process *process, Batch *batch)
{
	tuplestore_rescan(batch->rows);
	while (look_ahead(batch))
	{
		int64		offset = DatumGetInt64(column(batch, 3));
		ErrorData  *error;
		bool		expired;

		CHECK_FOR_INTERRUPTS();
		if (pgqueue_is_left(batch))
			continue;
		error = pgqueue_handle(batch, 1, &expired);
		if (error == NULL)
		{
			process->handled_now++;
			continue;
		}
		check_failure(error, expired);
		park(process, offset, error);
	}
}

/*
 * Hand the messages to the handler: all in one subtransaction and, if that fails,
 * each in one of its own.
 */
static BatchOutcome
handle(Process *process, Batch *batch)
{
	bool		each = process->each;

	process->each = false;
	if (!each)
	{
		bool		expired;
		ErrorData  *error = pgqueue_handle(batch, batch->n, &expired);

		if (error == NULL)
		{
			process->handled_now = batch->n - batch->left;
			return BATCH_DONE;
		}
		check_failure(error, expired);
		tuplestore_rescan(batch->rows);
		(void) look_ahead(batch);
		process->partition = DatumGetInt32(column(batch, 2));
		process->each = batch->n > MAX_EACH;
		if (process->each)
			return BATCH_FAILED;
	}
	handle_each(process, batch);
	return BATCH_DONE;
}

/*
 * Do one transaction, in the current one, of which an active snapshot is the
 * first.  The caller then commits it or rolls it back; after an error it rolls it
 * back.
 *
 * Locks: those of consume, and the subscription's, to the end of the transaction.
 * Errors: those of consume, and those of the handler that tell nothing of the
 * messages; 42501 without the right to process.
 */
BatchOutcome
pgqueue_process_batch(Process *process)
{
	Subscription subscription;
	Batch		batch = {process, &subscription, &process->handler,
	.parks = pgqueue_parks};
	BatchOutcome outcome = BATCH_ENDED;
	MemoryContext old;

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
			process->each = false;
		}
		FreeExecutorState(estate);
	}
	MemoryContextSwitchTo(old);
	return outcome;
}
