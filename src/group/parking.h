/*-------------------------------------------------------------------------
 *
 * parking.h
 *	  Parked messages: the group's offset has passed them, and it gets them
 *	  again, or later.
 *
 *-------------------------------------------------------------------------
 */
#ifndef QUEUE_PARKING_H
#define QUEUE_PARKING_H

#include "group/group.h"
#include "group/member.h"
#include "group/progress.h"

/* ---------------- policy.c ---------------- */

/* What becomes of the messages that a group fails on in a topic. */
typedef struct FailurePolicy
{
	bool		set;			/* there is a row; else these are the defaults */
	int32		max_attempts;
	int64		backoff;		/* ms */
	int64		backoff_max;	/* ms */
	char		hold;			/* HOLD_... */
	char	   *dead_letter;	/* name of a topic, or NULL ... */
	int32		dead_letter_id; /* ... and its id, which another of it has not */
	int64		max_parked;
} FailurePolicy;

#define HOLD_KEY		'k'
#define HOLD_NOTHING	'n'
#define HOLD_PARTITION	'p'

extern void pgqueue_policy_read(int32 group, int32 topic_id,
								FailurePolicy *policy);
extern void pgqueue_policy_write(int32 group, int32 topic_id,
								 const FailurePolicy *policy);
extern bool pgqueue_policy_delete(int32 group, int32 topic_id);
extern int64 pgqueue_hash_by_policy(const FailurePolicy *policy, text *key);
extern TimestampTz pgqueue_backoff_end(const FailurePolicy *policy,
									   int32 attempts);

/* ---------------- parked_row.c ---------------- */

/* A row of queue.parked_message. */
typedef struct Parked
{
	ItemPointerData tid;
	bool		ours;			/* written by this command */
	TimestampTz due;			/* or ... */
	int64		hash;			/* or HOLDS_... */
	int64		offset;
	int32		attempts;
	TimestampTz parked_at;
	int64		epoch;			/* handed to a member by this one; 0: not */
	text	   *key;			/* of the message, or NULL */
	TimestampTz first_failed_at;	/* 0: it has not failed */
	char	   *sqlstate;		/* or NULL */
	char	   *error;			/* or NULL */
	int64		incarnation;
	bool		delayed;		/* only waits for its time */
} Parked;

#define DUE_BEHIND		0		/* when those before it in its key are done */
#define DUE_NEVER		DT_NOEND	/* its attempts are used up */

#define HOLDS_NOTHING	0		/* holds nothing */
#define HOLDS_PARTITION	1

/* After so many failures in a row, and no success, a partition is tripped. */
#define MAX_FAILURES	20

/* After so many repetitions of poll, messages come one by one. */
#define ONE_BY_ONE		2

extern bool pgqueue_same_hold(const Parked *row, int64 hash,
							  const text *key);
extern int64 pgqueue_key_hash(text *key);
extern bool pgqueue_key_may_be_held(const Progress *progress, int64 hash);
extern void pgqueue_parked_scan(RegistryScan *scan, const Progress *progress,
								int64 hash, int64 offset, Snapshot snapshot);
extern void pgqueue_parked_scan_part(RegistryScan *scan,
									 const Progress *progress, int sign,
									 int64 offset, Snapshot snapshot);
extern void pgqueue_parked_scan_due(RegistryScan *scan,
									const Progress *progress);
extern void pgqueue_parked_scan_all(RegistryScan *scan,
									const Progress *progress);
extern int64 pgqueue_parked_row_offset(const RegistryScan *scan,
									   HeapTuple tuple);
extern void pgqueue_parked_row_read(const RegistryScan *scan,
									HeapTuple tuple, Parked *row);
extern bool pgqueue_parked_next(RegistryScan *scan, Parked *row);
extern bool pgqueue_parked_previous(RegistryScan *scan, Parked *row);
extern void pgqueue_parked_insert(Progress *progress, Parked *row);
extern void pgqueue_parked_replace(Progress *progress, Parked *row);
extern void pgqueue_parked_delete(Progress *progress, const Parked *row);
extern bool pgqueue_parked_find(const Progress *progress, text *key,
								int64 offset, Parked *row);
extern bool pgqueue_parked_holds(const Progress *progress, int64 hash,
								 text *key, int64 before);
extern void pgqueue_parked_promote(Progress *progress, int64 hash,
								   text *key);
extern void pgqueue_parked_settle(Progress *progress);
extern int64 pgqueue_parked_before(const Progress *progress, int64 offset);
extern int64 pgqueue_parked_forget(Progress *progress, int64 before);

/* ---------------- parked_message.c ---------------- */

extern HeapTuple pgqueue_parked_message(Topic *topic, int32 partition,
										int64 offset, Snapshot snapshot);
extern bool pgqueue_parked_in_log(Topic *topic, const Progress *progress,
								  const Parked *row);
extern int64 pgqueue_parked_least(Topic *topic, const Progress *progress);
extern text *pgqueue_message_key(const Topic *topic, HeapTuple message);

/* ---------------- parking.c ---------------- */

/* What a call of consume or poll knows of a partition's parked messages. */
typedef struct Parking
{
	Taker	   *taker;
	Topic	   *topic;
	Progress   *progress;
	FailurePolicy policy;
	bool		policy_known;
	TimestampTz now;
	int64		epoch;			/* list only what was handed out by it; 0: all */
	Snapshot	snapshot;		/* to read due messages with */
	bool		changed;		/* rows were written */
	int64		limit;			/* messages that it may return yet */
	bool		one_in_hand;	/* a member had one, which was parked */
} Parking;

/* policy.c */
extern const FailurePolicy *pgqueue_parking_policy(Parking *parking);

extern bool pgqueue_parking_begin(Parking *parking, Taker *taker,
								  Topic *topic, Progress *progress);
extern void pgqueue_take_due(Parking *parking);
extern bool pgqueue_is_tripped(const Progress *progress);
extern bool pgqueue_probe_due(const Progress *progress,
							  const FailurePolicy *policy, TimestampTz now);
extern void pgqueue_probe_now(Progress *progress);
extern bool pgqueue_commit_in_hand(Progress *progress, int64 next_offset);

/* ---------------- sight.c ---------------- */

extern bool pgqueue_parking_may_read(Parking *parking);
extern bool pgqueue_parked_on_sight(HeapTuple tuple, Relation leaf,
									void *arg, bool *stop);
extern bool pgqueue_is_stopped(const Progress *progress);
extern bool pgqueue_parking_ready(const Progress *progress, bool *may_read,
								  TimestampTz *next);

/* ---------------- park.c ---------------- */

/* Why a message is parked. */
typedef struct Failure
{
	const char *error;			/* or NULL */
	const char *sqlstate;		/* or NULL */
	int64		delay;			/* ms; -1: by the policy */
	bool		counts;			/* is an attempt */
	bool		give_up;		/* it is the last one */
} Failure;

extern uint64 pgqueue_parks;
extern int64 *pgqueue_park(const ConsumerGroup *group, Topic *topic,
						   int32 partition, int64 offset, const char *member,
						   int64 epoch, const Failure *failure, int *n);

/* ---------------- dead_letter.c ---------------- */

extern bool pgqueue_exhaust(const ConsumerGroup *group, Topic *topic,
							Progress *progress, const FailurePolicy *policy,
							HeapTuple message, Parked *row);
extern bool pgqueue_mark_replayed(int32 topic_id, int32 partition,
								  int64 offset);
extern void pgqueue_replayed_delete(int32 topic_id);

#endif							/* QUEUE_PARKING_H */
