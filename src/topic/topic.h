/*-------------------------------------------------------------------------
 *
 * topic.h
 *	  Topics: their descriptions, the rights on them, the ends of their logs, and
 *	  loops over them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef QUEUE_TOPIC_H
#define QUEUE_TOPIC_H

#include "utils/rel.h"
#include "utils/snapshot.h"

#include "log/log.h"

/* ---------------- topic.c ---------------- */

/* What becomes of old messages. */
#define CLEANUP_DELETE	1		/* whole segments go, by the topic's limits */
#define CLEANUP_COMPACT 2		/* the latest message of each key stays */

/* One segment of the topic's table: the offsets [first, end) of a partition. */
typedef SegmentBounds Segment;

/*
 * A partition that is used: messages have been stored in it, or were about to be.
 * An unused one has neither segments nor a row of queue.checkpoint; its log starts
 * and ends at 0 (README, section 8).
 */
typedef struct Partition
{
	int32		number;
	bool		checkpointed;	/* has a row of queue.checkpoint */
	int			nsegments;
	Segment    *segments;		/* ascending */
	int64		hole;			/* where they do not touch; 0: they do */
	int64		log_start;		/* as stored; 0: none; see topic/ends.c */
	int64		compacted_to;	/* offsets below are compacted; see cleanup/compact.c */
	int			nremoved;		/* before log_start, not dropped yet */
	Segment    *removed;

	/* the segment that takes appends, as seen at roll counter active_rolls */
	int			active;			/* -1: not known */
	uint64		active_rolls;

	/* wrote where the incarnation begins; frozen: committed (incarnation.c) */
	TransactionId begun;
} Partition;

/* See producer/producer.c. */
#define PGQUEUE_MAX_PRODUCER_NAME PGQUEUE_MAX_NAME

typedef struct Producer
{
	int32		id;
	bool		strict;			/* sequences without gaps */
	bool		committed;		/* not made by the transaction under way */
	TimestampTz created_at;
	RoleRef		owner;
} Producer;

/*
 * A table of dedupe keys, for a span of time (producer/dedupe_bucket.c).
 */
typedef struct DedupeBucket
{
	int32		number;
	Oid			keys;			/* the table ... */
	Oid			index;			/* ... and its index, if it was found */
	TimestampTz ends_at;		/* takes no new keys from then on */
	int64		incarnation;	/* of the log, for the places in it */
} DedupeBucket;

typedef struct Topic
{
	char		name[NAMEDATALEN];	/* hash key */
	bool		valid;			/* description is current */
	bool		changed;		/* invalidated while being built */
	int32		id;
	Oid			log;			/* the partitioned parent, queue.log_<id> */
	Oid			view;			/* the view topic.<name>; may be invalid */
	Oid			owner;			/* of the table */
	const char *broken;			/* why it cannot be used, or NULL */
	Oid			value_type;
	int64		segment_messages;	/* 0: adaptive */
	bool		notify;			/* NOTIFY with each produce */
	int64		retention;		/* ms; 0: without limit */
	int64		retention_bytes;	/* of a partition; 0: without limit */
	int64		group_expiry;	/* ms, of implicit groups; 0: never */
	int64		dedupe_window;	/* ms */
	int64		segment_age;	/* ms, as given; 0: see pgqueue_segment_age() */
	bool		retention_force;	/* also what groups have yet to read */
	int			cleanup_policy; /* of CLEANUP_DELETE and CLEANUP_COMPACT */
	int64		tombstone_retention;	/* ms */
	char		tablespace[NAMEDATALEN];	/* of new segments; "": default */
	int			npartitions;
	int			nused;
	Partition  *used;			/* ascending; pgqueue_partition() finds one */
	TupleDesc	desc;			/* the log's columns */
	MemoryContext context;		/* owns the description's pointers */
	MemoryContext old;			/* owns those that this transaction replaced */

	/* text to value: the type's input function (topic/message.c) */
	bool		input_ready;
	FmgrInfo	input;
	Oid			input_ioparam;
	Oid			domain_base;	/* base type when the type is a domain */
	void	   *domain_extra;

	int			sticky;			/* next partition for messages without key */
	uint32		rotation;		/* partition where the next consume starts */

	/* the producer last used, if the name is not empty (producer/producer.c) */
	char		producer_name[PGQUEUE_MAX_PRODUCER_NAME + 1];
	uint64		producer_changes;	/* pgqueue_registry_changes before */
	Producer	producer;

	/* buckets of dedupe keys, ascending (producer/dedupe_bucket.c) */
	int			nbuckets;		/* -1: not known */
	DedupeBucket *buckets;
	uint64		bucket_changes; /* pgqueue_registry_changes before */
	uint64		keys_stored;	/* dedupe keys that this session has stored */
} Topic;

extern void pgqueue_catalog_init(void);
extern bool pgqueue_topic_is_known(const char *name);
extern Topic *pgqueue_topic_find(const char *name);
extern Topic *pgqueue_topic(const char *name);
extern Topic *pgqueue_topic_arg(text *name);
extern Topic *pgqueue_wanted_topic_arg(text *name);
extern int32 pgqueue_topic_id(const char *name);
extern Oid	pgqueue_log_of_topic(const char *name);
extern Topic *pgqueue_topic_refresh(Topic *topic);
extern Topic *pgqueue_topic_reload(Topic *topic);
extern Topic *pgqueue_topic_hold(Topic *topic);
extern void pgqueue_check_same(const Topic *topic, int32 id);
extern List *pgqueue_topic_names(void);
extern void pgqueue_check_partition(const Topic *topic, int32 partition);

/* ---------------- description.c ---------------- */

extern Partition *pgqueue_partition(const Topic *topic, int32 number);
extern bool pgqueue_partition_unused(const Topic *topic, int32 number);
extern int32 pgqueue_next_used(const Topic *topic, int32 after);
extern int32 *pgqueue_used_partitions(const Topic *topic, int *n);
extern void pgqueue_topic_forget_old(Topic *topic);
extern bool pgqueue_load_topic(Topic *topic);
extern const char *pgqueue_load_view(Topic *topic);

/* ---------------- rights.c ---------------- */

extern bool pgqueue_is_monitor(void);
extern bool pgqueue_may_see(const Topic *topic);
extern bool pgqueue_may_use(const Topic *topic);
extern bool pgqueue_may_look(const Topic *topic);
extern void pgqueue_check_may_look(const Topic *topic);
extern bool pgqueue_owns_topic(const Topic *topic);
extern void pgqueue_check_right(const Topic *topic, AclMode mode);
extern void pgqueue_check_owner(const Topic *topic);

/* ---------------- ends.c ---------------- */

/* What a partition looks like from outside. */
typedef struct LogEnds
{
	int64		log_start;
	int64		stable_end;
	int64		log_end;
	int64		latest;			/* min(stable end, last committed + 1) */
} LogEnds;

extern int64 pgqueue_log_start(const Topic *topic, int32 partition);
extern int64 pgqueue_committed_end(const Topic *topic, int32 partition);
extern int64 pgqueue_written_end(const Topic *topic, int32 partition);
extern int64 pgqueue_log_end(Topic *topic, int32 partition);
extern bool pgqueue_behind_log_end(Topic *topic, int32 partition,
								   int64 offset);
extern void pgqueue_log_ends(Topic *topic, int32 partition, LogEnds *ends);
pg_noreturn extern void pgqueue_offset_beyond(const Topic *topic,
											  int32 partition, int64 offset,
											  const LogEnds *ends);
pg_noreturn extern void pgqueue_offset_out_of_range(Topic *topic,
													int32 partition,
													int64 offset,
													const char *subject);

/* ---------------- attempt.c ---------------- */

typedef void (*TopicTask) (Topic *topic, void *arg);

extern Topic *pgqueue_attempt_find(const char *name, bool *locked);
extern Topic *pgqueue_attempt_topic(const char *name);
extern bool pgqueue_may_see_locked(const char *name);
extern ErrorData *pgqueue_any_error(void (*run) (void *arg), void *arg);
extern ErrorData *pgqueue_any_error_of(Topic *topic, TopicTask run, void *arg);
extern ErrorData *pgqueue_error_of(Topic *topic, TopicTask run, void *arg);
extern bool pgqueue_attempt(Topic *topic, TopicTask run, void *arg,
							bool *warned);
extern bool pgqueue_attempt_log_ends(Topic *topic, int32 partition,
									 LogEnds *ends, bool *warned);

#endif							/* QUEUE_TOPIC_H */
