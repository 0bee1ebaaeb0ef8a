/*-------------------------------------------------------------------------
 *
 * subscribe.c
 *	  queue.subscribe() and unsubscribe(): which function handles a group's
 *	  messages of a topic.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"

#include "base/base.h"
#include "base/lock.h"
#include "topic/topic.h"
#include "group/group.h"
#include "group/member.h"
#include "group/subscription.h"
#include "api/api.h"
#include "api/maintain.h"
#include "api/process.h"
#include "api/worker.h"

PG_FUNCTION_INFO_V1(pgqueue_subscribe);
PG_FUNCTION_INFO_V1(pgqueue_unsubscribe);

/* Messages of one transaction at most. */
#define MAX_BATCH	10000

/* Read a number.  Errors: 22004, 22023. */
static int
number_arg(FunctionCallInfo fcinfo, int arg, const char *name, int least,
		   int greatest)
{
	int			number;

	pgqueue_check_not_null(fcinfo, arg, name);
	number = PG_GETARG_INT32(arg);
	if (number < least || number > greatest)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be between %d and %d, not %d", name, least,
						greatest, number)));
	return number;
}

/* Read the timeout in milliseconds; 0: none.  Errors: 22023. */
static int64
timeout_arg(FunctionCallInfo fcinfo, int arg)
{
	int64		timeout = pgqueue_duration_arg(fcinfo, arg, "timeout", 0);

	if (!PG_ARGISNULL(arg) && (timeout < 1 || timeout > INT_MAX))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("timeout must be between 1 ms and %d ms", INT_MAX)));
	return timeout;
}

/*
 * Give a subscription the workers that it wants, at the commit; those that it has
 * look at it again, and go on or end.
 *
 * Locks: the subscription's, exclusive, and those that keep the group and the topic
 * from being dropped.
 */
static void
set_workers(const Subscription *subscription)
{
	WorkerId	first = {subscription->group_id, subscription->topic_id, 1};

	pgqueue_workers_set(subscription->group_id, subscription->topic_id,
						subscription->workers);
	pgqueue_note_progress(subscription->group_id, subscription->topic_id, -1,
						  true);
	if (subscription->workers == 0)
		return;
	pgqueue_workers_start_at_commit(&first, subscription->workers);
	pgqueue_remind_of_workers();
}

/* (consumer_group, topic, handler, batch, workers, timeout) */
Datum
pgqueue_subscribe(PG_FUNCTION_ARGS)
{
	static const GroupSettings chosen = {.implicit = false};
	Topic	   *topic;
	ConsumerGroup group;
	Handler		handler;
	Subscription subscription = {0};

	pgqueue_check_writable(fcinfo);
	pgqueue_check_not_null(fcinfo, 0, "consumer_group");
	topic = pgqueue_readable_topic(fcinfo, 1);
	pgqueue_group_arg(fcinfo, false, &group);
	pgqueue_check_not_null(fcinfo, 2, "handler");
	pgqueue_handler_check(PG_GETARG_OID(2), topic, &handler);
	subscription.handler = pgqueue_handler_signature(handler.function);
	subscription.handler_owner.oid = handler.owner;
	subscription.batch = number_arg(fcinfo, 3, "batch", 1, MAX_BATCH);
	subscription.workers = number_arg(fcinfo, 4, "workers", 0,
									  PGQUEUE_MAX_WORKERS);
	subscription.timeout = timeout_arg(fcinfo, 5);
	subscription.owner.oid = GetUserId();
	if (subscription.workers > 0)
		pgqueue_check_worker_role(GetUserId());

	(void) pgqueue_group_ensure(&group, &chosen);
	pgqueue_subscription_lock(group.id, topic->id, ExclusiveLock);
	(void) pgqueue_group_lock_shared(group.id, true);
	topic = pgqueue_topic_hold(topic);
	pgqueue_group_check_same(&group);
	subscription.group_id = group.id;
	subscription.topic_id = topic->id;
	pgqueue_subscription_write(&subscription);
	set_workers(&subscription);
	PG_RETURN_VOID();
}

/* (consumer_group, topic) */
Datum
pgqueue_unsubscribe(PG_FUNCTION_ARGS)
{
	Topic	   *topic;
	ConsumerGroup group;
	Subscription none = {0};

	pgqueue_check_writable(fcinfo);
	topic = pgqueue_readable_topic(fcinfo, 1);
	pgqueue_known_group_arg(fcinfo, topic, &group);
	pgqueue_subscription_lock(group.id, topic->id, ExclusiveLock);
	(void) pgqueue_group_lock_shared(group.id, true);
	topic = pgqueue_topic_hold(topic);
	pgqueue_group_check_same(&group);
	CommandCounterIncrement();
	none.group_id = group.id;
	none.topic_id = topic->id;
	set_workers(&none);
	PG_RETURN_BOOL(pgqueue_subscription_delete(group.id, topic->id));
}
