/*-------------------------------------------------------------------------
 *
 * wait.h
 *	  Sleep until a topic has something new, and wake.  Knows topics and groups by
 *	  their ids only.
 *
 *-------------------------------------------------------------------------
 */
#ifndef QUEUE_WAIT_H
#define QUEUE_WAIT_H

#include "base/base.h"

/* ---------------- notes.c ---------------- */

/* Sets of partitions, by number % 64. */
#define PGQUEUE_PARTITION_BIT(p) (UINT64CONST(1) << ((uint32) (p) % 64))
#define PGQUEUE_ALL_PARTITIONS PG_UINT64_MAX

extern void pgqueue_wakeup_init(void);
extern void pgqueue_note_produced(int32 topic_id, int32 partition,
								  const char *channel);
extern void pgqueue_note_topic_changed(int32 topic_id);
extern void pgqueue_note_progress(int32 group, int32 topic_id,
								  int32 partition, bool more);
extern void pgqueue_note_held(int32 group, int32 topic_id, int32 partition);
extern void pgqueue_wake_blocked(int32 group, int32 topic_id,
								 int32 partition);

/* ---------------- waiters.c ---------------- */

typedef struct Note
{
	int32		topic_id;
	int32		group;			/* 0: the transaction produced */
	bool		more;			/* it left messages to the group */
	bool		undone;			/* a part of it was rolled back to a savepoint */
	bool		everyone;		/* it concerns waiters of any partition, or of none */
	uint64		partitions;		/* bit for number % 64 */
	uint64		counted;		/* partitions below 64 in n */
	int32		last;			/* last of the others in n */
	int			n;				/* number of partitions, or a few more */
	uint64		held;			/* partitions it has held; matters if it fails */
} Note;

#define PGQUEUE_MAX_WAITERS 1024

/* Topics in one call at most. */
#define PGQUEUE_MAX_TOPICS 64

extern void pgqueue_wait_begin(const int32 *topic_ids, int ntopics,
							   int32 group, bool filtered);
extern void pgqueue_wait_end(int code, Datum arg);
extern void pgqueue_wait_look(void);
extern void pgqueue_wait_again(void);
extern bool pgqueue_wait_sleep(int64 timeout, bool blocked,
							   const uint64 *wanted);
extern void pgqueue_wait_acknowledge(void);
extern void pgqueue_waiters_wake(const Note *note, bool isCommit);
extern void pgqueue_waiters_init(void);
extern int	pgqueue_recheck_interval;

#endif							/* QUEUE_WAIT_H */
