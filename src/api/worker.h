/*-------------------------------------------------------------------------
 *
 * worker.h
 *	  Background workers of subscriptions.
 *
 *-------------------------------------------------------------------------
 */
#ifndef QUEUE_WORKER_H
#define QUEUE_WORKER_H

#include "group/subscription.h"

/* Workers of a subscription at most. */
#define PGQUEUE_MAX_WORKERS 100

/* What a worker is told, in bgw_extra. */
typedef struct WorkerTask
{
	Oid			role;			/* that subscribed */
	WorkerId	id;
} WorkerTask;

/* ---------------- worker_state.c ---------------- */

/* A process that works for a subscription, or has been told to. */
typedef struct WorkerProcess
{
	Oid			database;		/* invalid: the entry is free */
	WorkerTask	task;
	int			pid;
	TimestampTz started_at;
} WorkerProcess;

extern void pgqueue_worker_state_init(void);
extern bool pgqueue_worker_claim(const WorkerTask *task);
extern void pgqueue_worker_release(void);
extern bool pgqueue_worker_process(const WorkerTask *task,
								   WorkerProcess *copy);
extern int	pgqueue_workers_room(void);

/* ---------------- worker_start.c ---------------- */

extern const char *pgqueue_worker_obstacle(Oid role);
extern void pgqueue_check_worker_role(Oid role);
extern void pgqueue_workers_start_at_commit(const WorkerId *id, int n);
extern bool pgqueue_workers_start_missing(void);
extern void pgqueue_worker_start_init(void);

#endif							/* QUEUE_WORKER_H */
