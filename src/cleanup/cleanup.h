/*-------------------------------------------------------------------------
 *
 * cleanup.h
 *	  Retention and compaction: removing old messages.
 *
 *-------------------------------------------------------------------------
 */
#ifndef QUEUE_CLEANUP_H
#define QUEUE_CLEANUP_H

#include "base/data.h"
#include "log/write.h"
#include "topic/topic.h"

/* ---------------- retention.c ---------------- */

extern int64 pgqueue_retention_limit(Topic *topic, int32 partition);
extern int	pgqueue_kept_level(void);
extern int	pgqueue_remove_segments(Topic *topic, int32 partition, int64 before,
									int64 *bytes, int *dropped);
extern int	pgqueue_delete_before(Topic *topic, int32 partition, int64 before,
								  int64 *bytes);
extern int	pgqueue_drop_removed(Topic *topic, int32 partition, int *emptied,
								 int64 *bytes);
extern void pgqueue_store_log_start(const Topic *topic, int32 partition,
									int64 log_start);

extern void pgqueue_empty_segment(Oid relid);

/* ---------------- close.c ---------------- */

/* How a caller waits for the locks that closing a segment takes. */
typedef enum ClosePatience
{
	CLOSE_AT_ONCE,				/* not at all */
	CLOSE_QUEUE,				/* in the table's queue, for a moment */
	CLOSE_TRY					/* it tries for PGQUEUE_LOCK_PATIENCE */
} ClosePatience;

typedef enum CloseOutcome
{
	CLOSE_DONE,
	CLOSE_NOTHING,				/* the segment has no message, or no room */
	CLOSE_BUSY					/* another transaction is in the way */
} CloseOutcome;

extern int64 pgqueue_segment_age(const Topic *topic);
extern bool pgqueue_segment_is_aged(const Topic *topic, const Segment *segment);
extern int64 pgqueue_overdue_limit(Topic *topic, int32 partition);
extern bool pgqueue_close_due(const Topic *topic, int32 partition);
extern void pgqueue_check_unused(const Topic *topic, Oid relid);
extern CloseOutcome pgqueue_close_segment(Topic *topic, int32 partition,
										  ClosePatience patience);

/* ---------------- held.c ---------------- */

/* The group for which messages are kept. */
typedef struct HeldBy
{
	char	   *name;			/* or NULL: none */
	bool		parked;			/* it has parked the first of them */
} HeldBy;

extern int64 pgqueue_held_for_groups(Topic *topic, int32 partition,
									 HeldBy *by);
extern int64 pgqueue_held_now(Topic *topic, int32 partition, HeldBy *by);

/* ---------------- compact.c ---------------- */

/* The state of a partition's compaction; begins as zeros but the context. */
typedef struct Compaction
{
	MemoryContext context;		/* of the map; outlives transactions */
	int32		topic_id;
	int32		partition;
	LOCKTAG		lock;			/* the session's, as long as it compacts */
	Settled		settled;
	KeyMap	   *map;
	int64		map_end;		/* offsets below are in the map */
	int64		kept;			/* this message stays, for the log end's sake */
	bool		map_full;		/* later ones did not fit */
	int64		tombstones_to;	/* all groups have read the offsets below */
	Topic	   *topic;			/* in the step that rewrites a segment ... */
	int64		log_start;		/* ... offsets below are deleted, and ... */
	int64		expired_to;		/* ... after the last tombstone removed */
	TimestampTz tombstones_before;	/* older ones may be removed */

	int			nsegments;		/* to be compacted ... */
	Segment    *segments;
	int			next;			/* ... from this one on */
	int64		done_to;		/* offsets below are done */

	bool		has_tombstones; /* kept so far */
	TimestampTz oldest_tombstone;

	Rewritten	done;
} Compaction;

extern int	pgqueue_compaction_memory;
extern double pgqueue_compaction_min_dirty_ratio;
extern bool pgqueue_compaction_begin(Compaction *compaction, Topic *topic,
									 int32 partition);
extern bool pgqueue_compact_next(Compaction *compaction, Topic *topic);
extern bool pgqueue_compaction_keep(const Compaction *compaction,
									const Topic *topic);
extern void pgqueue_compaction_end(const Compaction *compaction);

#endif							/* QUEUE_CLEANUP_H */
