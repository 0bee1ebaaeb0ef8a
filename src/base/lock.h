/*-------------------------------------------------------------------------
 *
 * lock.h
 *	  Locks that last as rows do, and user code while they are held.
 *
 *-------------------------------------------------------------------------
 */
#ifndef QUEUE_LOCK_H
#define QUEUE_LOCK_H

#include "utils/guc.h"
#include "utils/rel.h"

#include "base/lock_tag.h"

/* ---------------- pin.c ---------------- */

extern void pgqueue_pin_init(void);
extern void pgqueue_pin(void);
extern void pgqueue_unpin(void);
extern bool pgqueue_pinned(void);

/* ---------------- lock.c ---------------- */

/*
 * Milliseconds that maintenance waits for a lock that it does not only try, and
 * for which commands try again.
 */
#define PGQUEUE_LOCK_PATIENCE 500

extern bool pgqueue_lock(LOCKTAG tag, LOCKMODE mode, bool wait);
extern void pgqueue_unlock(LOCKTAG tag, LOCKMODE mode);
extern void pgqueue_lock_relation(Oid relid, LOCKMODE mode);
extern bool pgqueue_try_lock_relation(Oid relid, LOCKMODE mode);
extern void pgqueue_wait_shortly(GucAction action);
extern void pgqueue_lock_pause(void);
extern bool pgqueue_lock_relation_soon(Oid relid, LOCKMODE mode, int patience);
extern void pgqueue_unlock_relation(Oid relid, LOCKMODE mode);
extern bool pgqueue_try_lock_segment(Oid relid, LOCKMODE mode);
extern void pgqueue_unlock_segment(Oid relid, LOCKMODE mode);
extern bool pgqueue_lock_segment_soon(Oid relid, LOCKMODE mode, int patience);
extern bool pgqueue_lock_is_held(LOCKTAG tag, LOCKMODE mode);
extern void pgqueue_lock_to_look(Oid relid);
extern Relation pgqueue_open_to_look(Oid relid);
extern int64 pgqueue_total_bytes(Oid relid);
extern bool pgqueue_attempting;

/* ---------------- lock_holder.c ---------------- */

/* Types of the extension's background workers, as in pg_stat_activity. */
#define PGQUEUE_SEGMENT_WORKER		"queue segment worker"
#define PGQUEUE_MAINTENANCE_WORKER	"queue maintenance worker"
#define PGQUEUE_TOPIC_WORKER		"queue topic worker"
#define PGQUEUE_BUCKET_WORKER		"queue bucket worker"
#define PGQUEUE_SUBSCRIPTION_WORKER "queue worker"

/* A transaction that has a lock that ours conflicts with. */
typedef struct LockHolder
{
	int			pid;			/* 0: a prepared transaction */
	Oid			role;
	bool		ends_soon;		/* as maintenance and autovacuum do */
} LockHolder;

extern int	pgqueue_errdetail_lock_holder(LOCKTAG tag, LOCKMODE mode);
extern int	pgqueue_errdetail_relation_holder(Oid relid, LOCKMODE mode);
extern Oid	pgqueue_toast_of(Oid relid);
extern Oid	pgqueue_owner_of(Oid relid);
extern bool pgqueue_find_relation_holder(Oid relid, LOCKMODE mode,
										 LockHolder *holder);

/* ---------------- code.c ---------------- */

/* What becomes of code of a topic's owner in this process. */
typedef enum CodeRule
{
	CODE_HERE,					/* a session: it runs, as in an INSERT */
	CODE_ELSEWHERE,				/* a pass over topics of others: a step with code
								 * is rolled back, and left to a topic worker */
	CODE_LIMITED				/* a topic or segment worker: it runs, but the
								 * process ends after queue.code_timeout */
} CodeRule;

extern CodeRule pgqueue_set_code_rule(CodeRule new);
extern void pgqueue_check_code(Oid relid, bool constraints);
extern bool pgqueue_code_refused(void);
extern void pgqueue_code_begin(Oid relid, bool constraints);
extern void pgqueue_code_end(void);
extern int	pgqueue_code_timeout;
extern TimestampTz *pgqueue_code_begun;
extern volatile sig_atomic_t pgqueue_code_expired;
extern bool pgqueue_code_spent(void);

#endif							/* QUEUE_LOCK_H */
