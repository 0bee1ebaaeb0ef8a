/*-------------------------------------------------------------------------
 *
 * segment.h
 *	  Segments of a topic: opening, making, what is known of them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef QUEUE_SEGMENT_H
#define QUEUE_SEGMENT_H

#include "topic/topic.h"

/* ---------------- segment.c ---------------- */

extern void pgqueue_check_segments(const Topic *topic, int32 partition);
extern Relation pgqueue_open_segment(const Topic *topic, const Segment *segment,
									 LOCKMODE lockmode);
extern bool pgqueue_partition_broken(const Topic *topic, int32 partition);
extern const char *pgqueue_partition_flaw(const Topic *topic, int32 partition);
extern const char *pgqueue_topic_flaw(const Topic *topic);
extern Relation pgqueue_open_previous(const Topic *topic,
									  const Partition *part, int *i);
extern bool pgqueue_segment_has_blocks(const Topic *topic,
									   const Segment *segment);
extern int	pgqueue_segments_sealed(const Topic *topic, const Partition *part);

/* ---------------- ends.c ---------------- */

extern bool pgqueue_segment_is_full(const Topic *topic, const Segment *segment);
extern int	pgqueue_segments_closed(const Topic *topic, const Partition *part);

/* ---------------- incarnation.c ---------------- */

extern int64 pgqueue_incarnation(const Topic *topic);
extern void pgqueue_incarnation_begin(const Topic *topic, int32 partition);
extern int64 pgqueue_incarnation_reach(const Topic *topic, int32 partition,
									   int64 number, int64 committed_end);
extern void pgqueue_incarnations_delete(const Topic *topic);
pg_noreturn extern void pgqueue_offset_lost(const Topic *topic,
											int32 partition, int64 offset,
											int64 reach, const char *subject,
											const char *hint);

/* ---------------- segment_make.c ---------------- */

/* Columns of a topic's table and its segments; %s is the value's type. */
#define PGQUEUE_LOG_COLUMNS \
	"\"offset\" bigint NOT NULL," \
	" \"timestamp\" timestamptz NOT NULL," \
	" partition int NOT NULL," \
	" key text," \
	" value %s," \
	" headers jsonb," \
	" deliver_at timestamptz"

extern Oid	pgqueue_tablespace(const char *name, Oid role);
extern void pgqueue_make_segments(Topic *topic, int32 partition, int64 upto);

/* ---------------- segment_worker.c ---------------- */

extern bool pgqueue_made_in_this_transaction(Oid log);
extern void pgqueue_need_segment(Topic *topic, int32 partition, int64 upto);
extern void pgqueue_need_first_segments(const Topic *topic,
										const int32 *partitions, int n);
extern void pgqueue_make_segments_soon(const Topic *topic, int32 partition);

/* ---------------- checkpoint.c ---------------- */

typedef struct Checkpoint
{
	int64		log_start;		/* 0: the first segment's */
	int64		compacted_to;	/* below, a key has at most one message */
	bool		has_tombstones; /* below compacted_to, ... */
	TimestampTz oldest_tombstone;	/* none older than this */
} Checkpoint;

extern Partition *pgqueue_load_checkpoints(const Topic *topic, int *n);
extern void pgqueue_checkpoint_read(const Topic *topic, int32 partition,
									Checkpoint *checkpoint);
extern void pgqueue_checkpoint_write(const Topic *topic, int32 partition,
									 const Checkpoint *checkpoint);
extern void pgqueue_checkpoints_delete(const Topic *topic);

#endif							/* QUEUE_SEGMENT_H */
