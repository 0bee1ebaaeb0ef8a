/*-------------------------------------------------------------------------
 *
 * progress.h
 *	  Committed offsets of a group, and where it reads on.
 *
 *-------------------------------------------------------------------------
 */
#ifndef QUEUE_PROGRESS_H
#define QUEUE_PROGRESS_H

#include "group/group.h"

/* ---------------- progress_row.c ---------------- */

/* The state of a group in a partition. */
typedef struct Progress
{
	int32		group_id;
	const Topic *topic;
	int32		partition;
	bool		found;			/* there is a row */
	TransactionId xmin;			/* of the transaction that wrote the row */
	bool		paused;
	char		action;			/* why it was written: ProgressAction */
	int64		generation;
	int64		offset;			/* next offset to read */
	TimestampTz committed_at;	/* when it was moved ... */
	char	   *committed_by;	/* ... and by which role */
	char	   *metadata;		/* stored with it, or NULL */
	char	   *member;			/* that has messages in hand, or NULL ... */
	int64		handed_to;		/* ... to before this offset */
	int64		epoch;			/* and by which epoch; 0: none yet */
	int64		missed;			/* offsets that retention took unread */
	bool		released;		/* holds no messages until it is used again */
	int64		incarnation;	/* of the offset's log; 0: the current one */

	/* messages that are parked (parking.h) */
	int64		parked;			/* their number ... */
	int64		delayed;		/* ... and of those that only wait for their time */
	TimestampTz due;			/* none is due before; 0: none is parked */
	uint64		keys;			/* Bloom filter of the keys that are held */
	int64		parked_end;		/* all lie before this offset */
	int32		in_hand;		/* number of those that the member has in hand */

	/* the last call that returned messages */
	int32		delivered;		/* their number ... */
	int32		failed;			/* ... and of those that were parked after it */
	int32		repeats;		/* poll: times that they were returned before */
	int32		failures;		/* in a row, while no message succeeded */
	TimestampTz probe_at;		/* tripped, to try one message then; 0: not */
	bool		lost;			/* offset is of an earlier one, and beyond ... */
	int64		reach;			/* ... the last valid offset of that */
} Progress;

/* Why a row was written; view queue.offset_history has the words. */
typedef enum ProgressAction
{
	PROGRESS_STARTED = 's',		/* create_group */
	PROGRESS_CONSUMED = 'c',	/* consume */
	PROGRESS_COMMITTED = 'm',	/* commit_offset */
	PROGRESS_RESET = 'r',		/* reset_offsets */
	PROGRESS_JUMPED = 'j',		/* consume, poll: to the log start */
	PROGRESS_HANDED = 'h',		/* poll: handed to a member, offset unmoved */
	PROGRESS_PARKED = 'p',		/* park, skip_parked, retry_parked: unmoved */
	PROGRESS_UNMOVED = 'u'		/* pause, resume, leave, expire_group */
} ProgressAction;

/*
 * Partitions with the same rest share a lock, so that a command on all
 * partitions of a wide topic leaves room in the server's lock table.  A
 * multiple of 64, so that they share a bit (PGQUEUE_PARTITION_BIT), too, and
 * the release of the lock wakes a waiter for any of them.
 */
#define PGQUEUE_LOCKED_PARTITIONS 1024

/* Columns of queue.progress; its index has the first three and generation. */
#define PROGRESS_ATTR_GROUP			1
#define PROGRESS_ATTR_TOPIC			2
#define PROGRESS_ATTR_PARTITION		3
#define PROGRESS_ATTR_PAUSED		4
#define PROGRESS_ATTR_ACTION		5
#define PROGRESS_ATTR_GENERATION	6
#define PROGRESS_ATTR_OFFSET		7
#define PROGRESS_ATTR_COMMITTED_AT	8
#define PROGRESS_ATTR_EPOCH			9
#define PROGRESS_ATTR_HANDED_TO		10
#define PROGRESS_ATTR_COMMITTED_BY	11
#define PROGRESS_ATTR_MEMBER		12
#define PROGRESS_ATTR_METADATA		13
#define PROGRESS_ATTR_MISSED		14
#define PROGRESS_ATTR_RELEASED		15
#define PROGRESS_ATTR_INCARNATION	16
#define PROGRESS_ATTR_PARKED		17
#define PROGRESS_ATTR_DELAYED		18
#define PROGRESS_ATTR_DUE			19
#define PROGRESS_ATTR_KEYS			20
#define PROGRESS_ATTR_PARKED_END	21
#define PROGRESS_ATTR_IN_HAND		22
#define PROGRESS_ATTR_DELIVERED		23
#define PROGRESS_ATTR_FAILED		24
#define PROGRESS_ATTR_REPEATS		25
#define PROGRESS_ATTR_FAILURES		26
#define PROGRESS_ATTR_PROBE_AT		27
#define PROGRESS_NATTS				27

extern void pgqueue_progress_row_read(Relation rel, HeapTuple tuple,
									  Progress *progress);
extern void pgqueue_progress_row_insert(const Progress *progress,
										ProgressAction action);

/* ---------------- progress.c ---------------- */

typedef struct GroupPartition
{
	int32		topic_id;
	int32		partition;
} GroupPartition;

extern bool pgqueue_progress_lock(int32 group, int32 topic_id,
								  int32 partition, bool wait);
extern void pgqueue_progress_unlock(const Progress *progress);
extern LOCKTAG pgqueue_positions_tag(const Topic *topic, int32 partition);
extern bool pgqueue_progress_busy(int32 group, int32 topic_id,
								  int32 partition);
extern void pgqueue_progress_look(int32 group, const Topic *topic,
								  int32 partition, Progress *progress);
extern void pgqueue_progress_read(int32 group, const Topic *topic,
								  int32 partition, Progress *progress);
extern void pgqueue_progress_lock_and_read(int32 group, Topic *topic,
										   int32 partition,
										   Progress *progress);
extern void pgqueue_progress_write(Progress *progress, ProgressAction action);
extern void pgqueue_check_in_hand(const Progress *progress,
								  const char *member, int64 epoch);
extern bool pgqueue_in_hand(const Progress *progress);
extern void pgqueue_new_epoch(Progress *progress);
extern bool pgqueue_progress_any(int32 group, int32 topic_id);
extern List *pgqueue_group_partitions(int32 group, int32 topic_id);
extern void pgqueue_group_scan(RegistryScan *scan, RegistryTable table,
							   int32 group, int32 topic_id, int32 partition);
extern void pgqueue_group_rows_delete(int32 group, int32 topic_id);
extern int64 pgqueue_progress_prune(int32 group, const Topic *topic,
									TimestampTz before, int64 *deleted);

/* ---------------- expiry.c ---------------- */

extern bool pgqueue_group_may_expire(const ConsumerGroup *group,
									 const Topic *topic, bool released);
extern bool pgqueue_group_expired(const ConsumerGroup *group, Topic *topic,
								  int32 partition, int64 offset,
								  bool released, TimestampTz *used);

/* ---------------- position.c ---------------- */

extern ScanEnd pgqueue_read_on(const ConsumerGroup *group, Topic *topic,
							   Progress *progress, Snapshot snapshot,
							   MessageSink *sink, int64 *from);
extern void pgqueue_jump(const ConsumerGroup *group, Progress *progress,
						 int64 to);
extern int64 pgqueue_missed(const Progress *progress, int64 log_start,
							int64 upto);

#endif							/* QUEUE_PROGRESS_H */
