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

/* ---------------- subscription.c ---------------- */

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

/* ---------------- worker.c ---------------- */

/* One of the workers of a subscription, which are numbered from 1 on. */
typedef struct WorkerId
{
	int32		group_id;
	int32		topic_id;
	int32		number;
} WorkerId;

/* A row of queue.worker. */
typedef struct WorkerRow
{
	ItemPointerData tid;		/* invalid: of a new row */
	WorkerId	id;
	TimestampTz begins_at;		/* when it begins, or began, to work; 0: it
								 * has not been started since subscribe */
	int			failures;		/* in short succession */
	TimestampTz failed_at;		/* the last of them; 0: none is known */
	char	   *sqlstate;		/* or NULL */
	char	   *error;			/* or NULL */
} WorkerRow;

extern bool pgqueue_worker_read(const WorkerId *id, WorkerRow *row);
extern List *pgqueue_worker_rows(void);
extern void pgqueue_worker_write(WorkerRow *row);
extern void pgqueue_workers_set(int32 group, int32 topic_id, int n);

#endif							/* QUEUE_SUBSCRIPTION_H */
