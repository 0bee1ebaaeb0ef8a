/*-------------------------------------------------------------------------
 *
 * log.h
 *	  A segment: its shape, its records, reading.  Knows no topic.
 *
 *-------------------------------------------------------------------------
 */
#ifndef QUEUE_LOG_H
#define QUEUE_LOG_H

#include "access/tableam.h"
#include "utils/rel.h"
#include "utils/snapshot.h"

#include "base/base.h"
#include "log/page.h"

/* ---------------- shape.c ---------------- */

typedef struct AppendSlot AppendSlot;

/* Columns of the view topic.<name>. */
#define VIEW_ATTR_PARTITION 1
#define VIEW_ATTR_OFFSET	2
#define VIEW_ATTR_TIMESTAMP 3
#define VIEW_ATTR_KEY		4
#define VIEW_ATTR_VALUE		5
#define VIEW_ATTR_HEADERS	6
#define VIEW_ATTR_DELIVER_AT 7
#define VIEW_NATTS			7

extern const AttrNumber pgqueue_view_columns[VIEW_NATTS];
extern const char *pgqueue_table_flaw(Relation log);
extern const char *pgqueue_segment_flaw(Relation segment, Oid owner,
										Oid value_type, bool strict);
extern const char *pgqueue_view_flaw(Relation view, Oid value_type);
extern TableAmRoutine pgqueue_log_methods;
extern TableAmRoutine pgqueue_uncut_methods;
extern bool pgqueue_is_log(Relation rel);
extern bool pgqueue_segment_sound(Relation segment, Oid log, Oid owner,
								  Oid value_type, const char **flaw);
extern bool pgqueue_has_log_columns(Relation segment);
extern AppendSlot *pgqueue_append_place(Relation segment);

/* ---------------- frozen.c ---------------- */

extern bool pgqueue_is_frozen(Relation segment);
extern void pgqueue_remind_autovacuum(Relation segment);

/* ---------------- index.c ---------------- */

extern void pgqueue_index_methods(TableAmRoutine *am);

/* ---------------- segment_list.c ---------------- */

typedef struct SegmentBounds
{
	Oid			relid;
	int32		partition;
	int64		first;
	int64		end;
} SegmentBounds;

extern void pgqueue_segment_changed(Oid relid);
extern uint64 pgqueue_relcache_changes;
extern bool pgqueue_segment_bounds(Oid relid, SegmentBounds *bounds);
extern void pgqueue_set_segment_bounds(Oid log, Oid relid, int64 first,
									   int64 end);
extern int	pgqueue_list_segments(Oid log, SegmentBounds **segments);

/* ---------------- record.c ---------------- */

/* ----------------------------------------------------------------
 * The record: a message as it lies in a segment.
 *
 * A heap tuple.  The first three columns are NOT NULL and of fixed width,
 * so that they can be read from, and filled into, a formed tuple in place:
 *
 *	 t_hoff  +0       +8           +16         +20                       t_len - 8
 *	 +-------+--------+------------+-----------+-----+--------+---------+------------+
 *	 | header| offset | timestamp  | partition | key | value  | headers | deliver_at |
 *	 |       | int8   | timestamptz| int4      | text| topic's| jsonb   | timestamptz|
 *	 +-------+--------+------------+-----------+-----+--------+---------+------------+
 *
 * The columns behind partition may be NULL; up to eight keep the NULL bitmap
 * inside the header's padding, so t_hoff is the same with and without.  A record
 * without deliver_at is stored as one of six columns (log/append.c).
 * ----------------------------------------------------------------
 */
#define LOG_ATTR_OFFSET		1
#define LOG_ATTR_TIMESTAMP	2
#define LOG_ATTR_PARTITION	3
#define LOG_ATTR_KEY		4
#define LOG_ATTR_VALUE		5
#define LOG_ATTR_HEADERS	6
#define LOG_ATTR_DELIVER_AT 7
#define LOG_NATTS			7

/* Bytes of the fixed columns: where key begins. */
#define PGQUEUE_FIXED_BYTES (offsetof(LogFixed, partition) + sizeof(int32))

/* Return true if a record of a segment has a deliver_at, and set *at to it. */
static inline bool
log_deliver_at(HeapTuple record, TimestampTz *at)
{
	HeapTupleHeader header = record->t_data;

	if (likely(HeapTupleHeaderGetNatts(header) < LOG_ATTR_DELIVER_AT) ||
		((header->t_infomask & HEAP_HASNULL) != 0 &&
		 (header->t_bits[0] & (1 << (LOG_ATTR_DELIVER_AT - 1))) == 0))
		return false;
	memcpy(at, (char *) header + record->t_len - sizeof(*at), sizeof(*at));
	return true;
}

extern HeapTuple pgqueue_form_record(TupleDesc desc, int32 partition,
									 Datum *values, bool *nulls);

/* ---------------- seek.c ---------------- */

typedef struct LogSeek
{
	bool		by_time;
	int64		at;				/* offset or TimestampTz */
	int64		start;			/* and no record before this offset */
} LogSeek;

/* The last record of a segment, dead or alive. */
typedef struct LogTail
{
	bool		found;
	BlockNumber block;			/* InvalidBlockNumber: none */
	int64		offset;
	TimestampTz timestamp;
} LogTail;

extern bool pgqueue_block_first(Relation segment, BlockNumber block,
								LogFixed *first);
extern bool pgqueue_segment_first(Relation segment, int64 from,
								  LogFixed *first);
extern BlockNumber pgqueue_seek_block(Relation segment, BlockNumber low,
									  BlockNumber nblocks, const LogSeek *seek);
extern void pgqueue_segment_tail(Relation segment, BlockNumber upto,
								 LogTail *tail);
extern bool pgqueue_lies_before(const LogSeek *seek, const LogFixed *record);

/* ---------------- visibility.c ---------------- */

/* What becomes of a record that is read. */
typedef enum Verdict
{
	VERDICT_EMIT,
	VERDICT_SKIP,
	VERDICT_STOP				/* it may still appear, or is not settled */
} Verdict;

/* Committed, and shown by every snapshot. */
typedef struct Settled
{
	TransactionId horizon;		/* xmin is before it */
	TransactionId newest;		/* xmin met so far that was not frozen */
} Settled;

extern Verdict pgqueue_judge(HeapTuple tuple, Buffer buffer, Relation segment,
							 Snapshot snapshot);
extern bool pgqueue_has_aborted(HeapTuple tuple, Buffer buffer);
extern Verdict pgqueue_judge_settled(Settled *settled, HeapTuple tuple,
									 Buffer buffer);

/* ---------------- scan.c ---------------- */

/* Receives a message; returns false if it was refused, and ends the scan. */
typedef bool (*LogReceiver) (HeapTuple tuple, Relation segment, void *arg);

typedef enum Visit
{
	VISITED_ALL,
	VISIT_STOPPED,				/* the visitor wants no more */
	VISIT_UNSETTLED				/* met a record that is not settled */
} Visit;

typedef enum ScanEnd
{
	SCAN_EXHAUSTED,				/* ran off the end of the log */
	SCAN_UNSTABLE,				/* stopped at a message that may still appear */
	SCAN_ENOUGH,				/* the receiver wants no more, or gets no more */
	SCAN_GONE					/* the log start has passed the place */
} ScanEnd;

extern Visit pgqueue_visit_settled(Relation segment, Settled *settled,
								   int64 from, LogReceiver visitor, void *arg);
extern ScanEnd pgqueue_scan_segment(Relation segment, AppendSlot *slot,
									const LogSeek *from, Snapshot snapshot,
									LogReceiver receiver, void *arg,
									int64 *stopped_at, bool *emitted);
extern bool pgqueue_first_unstable(Relation segment, AppendSlot *slot,
								   Snapshot snapshot, int64 *offset);

#endif							/* QUEUE_LOG_H */
