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
#include "group/subscription.h"
#include "api/api.h"
#include "api/process.h"

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
	pgqueue_sink_rows(&taker->sink, rsinfo, batch->subscription->batch);
	taker->target = process->target;
	taker->snapshot = GetActiveSnapshot();
	pgqueue_sink_topic(&taker->sink, process->target.topics.topics[0], "%s %s");
	if (!pgqueue_consume_any(taker))
		return false;
	batch->n = taker->sink.taken;
	return true;
}

/*
 * Do one transaction, in the current one, of which an active snapshot is the
 * first.  After an error the caller rolls the transaction back.
 *
 * Locks: those of consume, and the subscription's, to the end of the transaction.
 * Errors: those of consume and of the handler; 42501 without the right to process.
 */
BatchOutcome
pgqueue_process_batch(Process *process)
{
	Subscription subscription;
	Batch		batch = {&subscription, &process->handler};
	BatchOutcome outcome = BATCH_ENDED;
	MemoryContext old;

	MemoryContextReset(process->per_batch);
	old = MemoryContextSwitchTo(process->per_batch);
	if (read_subscription(process, &subscription))
	{
		EState	   *estate = CreateExecutorState();

		outcome = BATCH_EMPTY;
		if (take(process, &batch, estate))
		{
			bool		expired;
			ErrorData  *error;

			/* the handler sees that the offset has moved */
			CommandCounterIncrement();
			error = pgqueue_handle(&batch, batch.n, &expired);
			if (error != NULL)
				ReThrowError(error);
			outcome = BATCH_DONE;
			process->batches++;
			process->messages += batch.n;
		}
		FreeExecutorState(estate);
	}
	MemoryContextSwitchTo(old);
	return outcome;
}
