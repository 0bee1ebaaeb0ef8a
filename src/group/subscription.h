/*-------------------------------------------------------------------------
 *
 * subscription.h
 *	  Subscriptions: which function handles a group's messages of a topic.
 *
 *-------------------------------------------------------------------------
 */
#ifndef QUEUE_SUBSCRIPTION_H
#define QUEUE_SUBSCRIPTION_H

#include "base/base.h"

/* A row of queue.subscription. */
typedef struct Subscription
{
	int32		group_id;
	int32		topic_id;
	char	   *handler;		/* signature, qualified by schemas */
	RoleRef		handler_owner;	/* of the function, when it was chosen */
	int			batch;			/* messages of a transaction at most */
	int			workers;
	int64		timeout;		/* of a call of the handler, in ms; 0: none */
	RoleRef		owner;			/* that subscribed */
} Subscription;

extern void pgqueue_subscription_lock(int32 group, int32 topic_id,
									  LOCKMODE mode);
extern bool pgqueue_subscription_read(int32 group, int32 topic_id,
									  Subscription *subscription);
extern bool pgqueue_subscription_exists(int32 group, int32 topic_id);
extern void pgqueue_subscription_write(const Subscription *subscription);
extern bool pgqueue_subscription_delete(int32 group, int32 topic_id);

#endif							/* QUEUE_SUBSCRIPTION_H */
