/*-------------------------------------------------------------------------
 *
 * lock.h
 *	  Locks that last as rows do, their tags, and user code while they are
 *	  held.
 *
 *-------------------------------------------------------------------------
 */
#ifndef QUEUE_LOCK_H
#define QUEUE_LOCK_H

#include "storage/lock.h"
#include "utils/guc.h"

/* ---------------- pin.c ---------------- */

extern void pgqueue_pin_init(void);
extern void pgqueue_pin(void);
extern void pgqueue_unpin(void);
extern bool pgqueue_pinned(void);

/* ---------------- lock.c ---------------- */

/* ----------------------------------------------------------------
 * Heavyweight locks of our own.  Lock type "advisory", told apart from
 * applications' locks (field 4 is 1 or 2) by field 4:
 *
 *	 field 2         field 3      field 4
 *	 consumer group  topic        PGQUEUE_LOCK_GROUP | partition % 1,024
 *	 topic           partition    PGQUEUE_LOCK_SEGMENT
 *	 hash of a name  0            PGQUEUE_LOCK_GROUP_NAME
 *	 hash of a name  0            PGQUEUE_LOCK_TOPIC_NAME
 *	 hash of topic and id, 64 bits    PGQUEUE_LOCK_PRODUCER
 *	 consumer group  0            PGQUEUE_LOCK_GROUP_ROWS
 *	 consumer group  topic        PGQUEUE_LOCK_ASSIGNMENT
 *	 hash of group, topic, member     PGQUEUE_LOCK_MEMBER
 *	 0               0            PGQUEUE_LOCK_WORKER, a session's: its holder
 *									runs no code of users (base/code.c), which could
 *									release it by pg_advisory_unlock_all()
 *	 0               0            PGQUEUE_LOCK_STARTER
 *	 topic      partition % 1,024 PGQUEUE_LOCK_POSITIONS
 *	 topic           partition    PGQUEUE_LOCK_COMPACTION, a session's: checked
 *									after code of users has run
 * ----------------------------------------------------------------
 */
#define PGQUEUE_LOCK_SEGMENT	0x4001
#define PGQUEUE_LOCK_GROUP_NAME 0x4002
#define PGQUEUE_LOCK_TOPIC_NAME 0x4003
#define PGQUEUE_LOCK_PRODUCER	0x4004
#define PGQUEUE_LOCK_GROUP_ROWS 0x4005
#define PGQUEUE_LOCK_ASSIGNMENT 0x4006
#define PGQUEUE_LOCK_MEMBER		0x4007
#define PGQUEUE_LOCK_WORKER		0x4008
#define PGQUEUE_LOCK_POSITIONS	0x4009
#define PGQUEUE_LOCK_COMPACTION 0x400A
#define PGQUEUE_LOCK_STARTER	0x400B
#define PGQUEUE_LOCK_GROUP		0x8000

/* Milliseconds between two tries. */
#define PGQUEUE_LOCK_PAUSE 10

/*
 * Milliseconds that maintenance waits for a lock that it does not only try, and
 * for which commands try again.
 */
#define PGQUEUE_LOCK_PATIENCE 500

extern bool pgqueue_lock(const LOCKTAG *tag, LOCKMODE mode, bool wait);
extern void pgqueue_unlock(const LOCKTAG *tag, LOCKMODE mode);
extern void pgqueue_lock_relation(Oid relid, LOCKMODE mode);
extern bool pgqueue_try_lock_relation(Oid relid, LOCKMODE mode);
extern void pgqueue_wait_shortly(GucAction action);
extern void pgqueue_lock_pause(void);
extern bool pgqueue_lock_relation_soon(Oid relid, LOCKMODE mode, int patience);
extern void pgqueue_unlock_relation(Oid relid, LOCKMODE mode);
extern bool pgqueue_try_lock_segment(Oid relid, LOCKMODE mode);
extern void pgqueue_unlock_segment(Oid relid, LOCKMODE mode);
extern bool pgqueue_lock_segment_soon(Oid relid, LOCKMODE mode, int patience);
extern bool pgqueue_lock_is_held(const LOCKTAG *tag, LOCKMODE mode);
extern bool pgqueue_segment_in_use(Oid relid);
extern void pgqueue_lock_to_look(Oid relid);
extern Relation pgqueue_open_to_look(Oid relid);
extern int64 pgqueue_total_bytes(Oid relid);
extern bool pgqueue_attempting;

/* ---------------- lock_holder.c ---------------- */

/* Types of the extension's background workers, as in pg_stat_activity. */
#define PGQUEUE_SEGMENT_WORKER		"queue segment worker"
#define PGQUEUE_MAINTENANCE_WORKER	"queue maintenance worker"
#define PGQUEUE_TOPIC_WORKER		"queue topic worker"

/* A transaction that has a lock that ours conflicts with. */
typedef struct LockHolder
{
	int			pid;			/* 0: a prepared transaction */
	Oid			role;
	bool		ends_soon;		/* as maintenance and autovacuum do */
} LockHolder;

extern int	pgqueue_errdetail_lock_holder(const LOCKTAG *tag, LOCKMODE mode);
extern int	pgqueue_errdetail_relation_holder(Oid relid, LOCKMODE mode);
extern bool pgqueue_toast_of(Oid relid, Oid *toast);
extern bool pgqueue_find_relation_holder(Oid relid, bool with_toast,
										 LOCKMODE mode, LockHolder *holder);

/* ---------------- code.c ---------------- */

/* What becomes of it in this process. */
typedef enum CodeRule
{
	CODE_HERE,					/* it runs */
	CODE_ELSEWHERE,				/* it does not */
	CODE_LIMITED				/* it runs; the process ends if it runs too long */
} CodeRule;

extern void pgqueue_code_init(void);
extern CodeRule pgqueue_set_code_rule(CodeRule new);
extern void pgqueue_check_code(Oid relid, bool constraints);
extern bool pgqueue_code_refused(void);
extern void pgqueue_code_begin(Oid relid, bool constraints);
extern void pgqueue_code_end(void);
extern void pgqueue_code_show(TimestampTz *where);
extern int	pgqueue_code_timeout(void);
extern bool pgqueue_code_expired(void);
extern bool pgqueue_code_spent(void);

#endif							/* QUEUE_LOCK_H */
