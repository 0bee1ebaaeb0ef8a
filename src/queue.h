/*-------------------------------------------------------------------------
 *
 * queue.h
 *	  The table of contents: what each file offers to the others.
 *
 *	  A file calls only downward:
 *
 *		entry	 produce.c face.c face_buffer.c consume.c poll.c wait.c fetch.c
 *				 offsets.c group_admin.c group_list.c topic.c maintain.c
 *				 maintain_worker.c retention_admin.c archive.c tablespace.c
 *				 producer_admin.c producer_prune.c inspect.c guard.c
 *		domain	 producer.c producer_list.c producer_history.c producer_state.c
 *				 sequence_map.c ready.c member.c balance.c progress.c group.c
 *				 message_sink.c position.c expiry.c value.c wakeup.c freeze.c
 *				 attempt.c result.c
 *				 compact.c rewrite.c key_map.c retention.c checkpoint.c
 *				 incarnation.c
 *				 catalog.c segment_list.c shape.c lock.c partitioner.c role.c
 *		storage	 log_append.c log_extras.c log_scan.c log_seek.c log_segment.c
 *				 log_worker.c log_am.c log_index.c log_record.c log_place.c
 *				 log_extend.c log_slot.c
 *
 *	  (log_segment.c asks catalog.c for the topic's description: a segment
 *	  exists only as a partition of a topic's table.  log_append.c asks
 *	  incarnation.c for a row before a log's first message.)
 *
 *-------------------------------------------------------------------------
 */
#ifndef PGQUEUE_H
#define PGQUEUE_H

#include "postgres.h"

#include "access/htup_details.h"
#include "access/tableam.h"
#include "datatype/timestamp.h"
#include "fmgr.h"
#include "nodes/execnodes.h"
#include "storage/block.h"
#include "storage/lock.h"
#include "storage/lwlock.h"
#include "utils/array.h"
#include "utils/guc.h"
#include "utils/rel.h"
#include "utils/snapshot.h"

#include "compat.h"
#include "errors.h"

#define PGQUEUE_SCHEMA		"queue"
#define PGQUEUE_FACE_SCHEMA "topic"

#define PGQUEUE_MAX_PARTITIONS 10000

/* ----------------------------------------------------------------
 * The record: a message as it lies in a segment.
 *
 * A heap tuple.  The first three columns are NOT NULL and of fixed width,
 * so that they can be read from, and filled into, a formed tuple in place:
 *
 *	 t_hoff  +0		  +8		   +16		   +20
 *	 +-------+--------+------------+-----------+-----+-------+---------+
 *	 | header| offset | timestamp  | partition | key | value | headers |
 *	 |		 | int8   | timestamptz| int4	   | text| topic's| jsonb  |
 *	 +-------+--------+------------+-----------+-----+-------+---------+
 *
 * Only key, value and headers may be NULL; six columns keep the NULL bitmap
 * inside the header's padding, so t_hoff is the same with and without.
 * ----------------------------------------------------------------
 */
#define LOG_ATTR_OFFSET		1
#define LOG_ATTR_TIMESTAMP	2
#define LOG_ATTR_PARTITION	3
#define LOG_ATTR_KEY		4
#define LOG_ATTR_VALUE		5
#define LOG_ATTR_HEADERS	6
#define LOG_NATTS			6

typedef struct LogFixed
{
	int64		offset;
	TimestampTz timestamp;
	int32		partition;
} LogFixed;

/* Bytes of the fixed columns: where key begins. */
#define PGQUEUE_FIXED_BYTES (offsetof(LogFixed, partition) + sizeof(int32))

/* The fixed columns of a formed tuple, in place. */
static inline LogFixed *
log_fixed(HeapTupleHeader header)
{
	return (LogFixed *) ((char *) header + header->t_hoff);
}

/* ----------------------------------------------------------------
 * Heavyweight locks of our own.  Lock type "advisory", told apart from
 * applications' locks (field 4 is 1 or 2) by field 4:
 *
 *	 field 2		 field 3	  field 4
 *	 consumer group	 topic		  PGQUEUE_LOCK_GROUP | partition % 1,024
 *	 topic			 partition	  PGQUEUE_LOCK_SEGMENT
 *	 hash of a name	 0			  PGQUEUE_LOCK_GROUP_NAME
 *	 hash of a name	 0			  PGQUEUE_LOCK_TOPIC_NAME
 *	 hash of topic and id, 64 bits	  PGQUEUE_LOCK_PRODUCER
 *	 consumer group	 0			  PGQUEUE_LOCK_GROUP_ROWS
 *	 consumer group	 topic		  PGQUEUE_LOCK_ASSIGNMENT
 *	 hash of group, topic, member	  PGQUEUE_LOCK_MEMBER
 *	 0				 0			  PGQUEUE_LOCK_WORKER, a session's: its holder
 *									runs no code of users (code.c), which could
 *									release it by pg_advisory_unlock_all()
 *	 0				 0			  PGQUEUE_LOCK_STARTER
 *	 topic		partition % 1,024 PGQUEUE_LOCK_POSITIONS
 *	 topic			 partition	  PGQUEUE_LOCK_COMPACTION, a session's: checked
 *									after code of users has run
 * ----------------------------------------------------------------
 */
#define PGQUEUE_LOCK_SEGMENT	0x4001
#define PGQUEUE_LOCK_GROUP_NAME 0x4002
#define PGQUEUE_LOCK_TOPIC_NAME 0x4003
#define PGQUEUE_LOCK_PRODUCER	0x4004	/* queue.blockers knows it as 16388 */
#define PGQUEUE_LOCK_GROUP_ROWS 0x4005	/* ... as 16389 */
#define PGQUEUE_LOCK_ASSIGNMENT 0x4006
#define PGQUEUE_LOCK_MEMBER		0x4007
#define PGQUEUE_LOCK_WORKER		0x4008
#define PGQUEUE_LOCK_POSITIONS	0x4009
#define PGQUEUE_LOCK_COMPACTION 0x400A
#define PGQUEUE_LOCK_STARTER	0x400B
#define PGQUEUE_LOCK_GROUP		0x8000	/* and as 32768 and above */

/*
 * Commands on a group take a lock of each partition of a topic.  For a topic of
 * any width to leave room in the server's lock table, partitions share such locks:
 * those whose numbers have the same rest.  A multiple of 64, so that partitions
 * that share a lock share a bit (PGQUEUE_PARTITION_BIT), and whoever waits for one
 * of them is woken when the lock is free.
 */
#define PGQUEUE_LOCKED_PARTITIONS 1024

/* ---------------- queue.c: the module ---------------- */

extern bool pgqueue_allow_ddl;

extern void pgqueue_check_writable(const char *function);
extern void pgqueue_check_not_null(FunctionCallInfo fcinfo, int arg,
								   const char *name);
extern int64 pgqueue_duration(const char *name, const Interval *interval);
extern int64 pgqueue_duration_arg(FunctionCallInfo fcinfo, int arg,
								  const char *name, int64 if_null);

/* ---------------- shmem.c: shared memory ---------------- */

/*
 * Stands for what sessions with different libraries must agree upon: see
 * shmem.c.  A test sets another one.
 */
#ifndef PGQUEUE_SHARED_VERSION
#define PGQUEUE_SHARED_VERSION 1
#endif

typedef struct SharedPart
{
	Size		size;
	void		(*init) (void *memory);	/* when it is made */
	void		(*attached) (void *memory); /* in each backend */
} SharedPart;

extern bool pgqueue_shared_attached;

extern void pgqueue_shared_init(void);
extern void pgqueue_shared_add(const SharedPart *part);
extern void pgqueue_shared_attach(void);

/* ---------------- pin.c: user code while a description is in use --------- */

extern void pgqueue_pin_init(void);
extern void pgqueue_pin(void);
extern void pgqueue_unpin(void);
extern bool pgqueue_pinned(void);

/* ---------------- log_slot.c: the append lock ---------------- */

typedef struct AppendSlot AppendSlot;

extern void pgqueue_slot_init(void);
extern AppendSlot *pgqueue_slot(Oid log, int32 partition);
extern void pgqueue_slot_lock(AppendSlot *slot);
extern void pgqueue_slot_unlock(AppendSlot *slot);
extern uint64 pgqueue_slot_rolls(AppendSlot *slot);
extern void pgqueue_slot_count_roll(AppendSlot *slot);
extern bool pgqueue_slot_tail_locked(AppendSlot *slot, Relation leaf,
									 BlockNumber *block);
extern BlockNumber pgqueue_slot_stable(AppendSlot *slot, Relation leaf);
extern void pgqueue_slot_set_stable(AppendSlot *slot, Relation leaf,
									BlockNumber block);
extern void pgqueue_slot_set_tail_locked(AppendSlot *slot, Relation leaf,
										 BlockNumber block);
extern BlockNumber pgqueue_slot_find_tail(AppendSlot *slot, Relation leaf);

/* ---------------- shape.c: what C code relies on ---------------- */

/* Columns of the view topic.<name>. */
#define FACE_ATTR_PARTITION 1
#define FACE_ATTR_OFFSET	2
#define FACE_ATTR_TIMESTAMP 3
#define FACE_ATTR_KEY		4
#define FACE_ATTR_VALUE		5
#define FACE_ATTR_HEADERS	6
#define FACE_NATTS			6

extern const char *pgqueue_table_flaw(Relation log);
extern const char *pgqueue_segment_flaw(Relation leaf, Oid owner,
										Oid value_type, bool strict);
extern const char *pgqueue_view_flaw(Relation view, Oid value_type);
extern const TableAmRoutine *pgqueue_log_methods;
extern bool pgqueue_is_log(Relation rel);
extern bool pgqueue_segment_sound(Relation leaf, Oid log, Oid owner,
								  Oid value_type, const char **flaw);
extern bool pgqueue_has_log_columns(Relation leaf);
extern AppendSlot *pgqueue_append_place(Relation leaf);

/* ---------------- log_am.c: the access method ---------------- */

extern const TableAmRoutine *pgqueue_log_am(void);

/* ---------------- log_index.c: CREATE INDEX on a segment ---------------- */

extern double pgqueue_index_build_range_scan(Relation heap, Relation index,
											 struct IndexInfo *info,
											 bool allow_sync, bool anyvisible,
											 bool progress, BlockNumber start,
											 BlockNumber numblocks,
											 IndexBuildCallback callback,
											 void *callback_state,
											 TableScanDesc scan);
extern void pgqueue_index_validate_scan(Relation heap, Relation index,
										struct IndexInfo *info,
										Snapshot snapshot,
										struct ValidateIndexState *state);

/* ---------------- catalog.c: topics and their segments ---------------- */

/* One leaf of the topic's table: the offsets [first, end) of a partition. */
typedef struct Segment
{
	Oid			relid;
	int64		first;
	int64		end;
} Segment;

typedef struct Partition
{
	int			nsegments;
	Segment    *segments;		/* ascending */
	bool		has_hole;		/* they do not touch each other ... */
	int64		hole;			/* ... at this offset */
	int64		log_start;		/* as stored; 0: none; see retention.c */
	int64		compacted_to;	/* offsets below are compacted; see compact.c */
	int			nemptied;		/* segments before it, not dropped yet */
	Oid		   *emptied;

	/* the segment that takes appends, as seen at roll counter active_rolls */
	int			active;			/* -1: not known */
	uint64		active_rolls;

	TransactionId begun;		/* see pgqueue_incarnation_begin() */
} Partition;

/* ---------------- role.c: whose a group or a producer is ---------------- */

typedef struct RoleRef
{
	Oid			oid;			/* invalid: known by its name only */
	NameData	name;
} RoleRef;

extern Datum pgqueue_role_datum(Oid oid);
extern void pgqueue_role_read(Datum value, RoleRef *role);
extern void pgqueue_check_belongs(const char *kind, const char *name,
								  const RoleRef *owner);
extern Oid	pgqueue_new_owner(const char *name);

/* Whoever sends sequences; see producer.c. */
#define PGQUEUE_MAX_PRODUCER_NAME 255

typedef struct Producer
{
	int32		id;
	bool		strict;			/* sequences without gaps */
	bool		committed;		/* not made by the transaction under way */
	TimestampTz created_at;
	RoleRef		owner;
} Producer;

/* What becomes of old messages. */
#define CLEANUP_DELETE	1		/* whole segments go, by the topic's limits */
#define CLEANUP_COMPACT 2		/* the latest message of each key stays */

typedef struct OldDescription OldDescription;

typedef struct Topic
{
	char		name[NAMEDATALEN];	/* hash key */
	bool		valid;			/* description is current */
	bool		changed;		/* invalidated while being built */
	int32		id;
	Oid			log;			/* the partitioned parent, queue.log_<id> */
	Oid			face;			/* the view topic.<name>; may be invalid */
	Oid			owner;			/* of the table */
	const char *broken;			/* why it cannot be used, or NULL */
	Oid			value_type;
	int64		segment_messages;	/* 0: adaptive */
	bool		notify;			/* NOTIFY with each produce */
	int64		retention;		/* ms; 0: without limit */
	int64		retention_bytes;	/* of a partition; 0: without limit */
	int64		group_expiry;	/* ms, of implicit groups; 0: never */
	bool		retention_force;	/* also what groups have yet to read */
	int			cleanup_policy; /* of CLEANUP_DELETE and CLEANUP_COMPACT */
	int64		tombstone_retention;	/* ms */
	char		tablespace[NAMEDATALEN];	/* of new segments; "": default */
	int			npartitions;
	Partition  *partitions;
	TupleDesc	desc;			/* the log's columns */
	MemoryContext context;		/* owns the description's pointers */
	OldDescription *old;		/* descriptions that were replaced ... */
	uint64		old_in;			/* ... in this transaction (catalog.c) */

	/* text to value: the type's input function (value.c) */
	bool		input_ready;
	FmgrInfo	input;
	Oid			input_ioparam;
	Oid			domain_base;	/* base type when the type is a domain */
	void	   *domain_extra;

	int			sticky;			/* next partition for messages without key */
	uint32		rotation;		/* partition where the next consume starts */

	/* the producer last used, if the name is not empty (producer.c) */
	char		producer_name[PGQUEUE_MAX_PRODUCER_NAME + 1];
	uint64		producers_gone; /* pgqueue_producers_gone before its look-up */
	Producer	producer;
} Topic;

/* ---------------- segment_list.c: partitions of a topic's table ---------- */

typedef struct SegmentBounds
{
	Oid			relid;
	int32		partition;
	int64		first;
	int64		end;
} SegmentBounds;

extern void pgqueue_segment_changed(Oid relid);
extern uint64 pgqueue_relcache_changes(void);
extern bool pgqueue_segment_bounds(Oid relid, SegmentBounds *bounds);
extern int	pgqueue_list_segments(Oid log, SegmentBounds **segments);

/* ---------------- registry.c: the extension's own tables ---------------- */

typedef enum RegistryTable
{
	REGISTRY_TOPIC,
	REGISTRY_TOPIC_NAME_INDEX,
	REGISTRY_CHECKPOINT,
	REGISTRY_CHECKPOINT_INDEX,
	REGISTRY_INCARNATION,
	REGISTRY_INCARNATION_INDEX,
	REGISTRY_MAINTENANCE_LOG,
	REGISTRY_MAINTENANCE_LOG_INDEX,
	REGISTRY_GROUP,
	REGISTRY_GROUP_NAME_INDEX,
	REGISTRY_PROGRESS,
	REGISTRY_PROGRESS_INDEX,
	REGISTRY_MEMBER,
	REGISTRY_MEMBER_NAME_INDEX,
	REGISTRY_ASSIGNMENT,
	REGISTRY_ASSIGNMENT_NAME_INDEX,
	REGISTRY_PRODUCER,
	REGISTRY_PRODUCER_NAME_INDEX,
	REGISTRY_PRODUCER_DUE,
	REGISTRY_PRODUCER_DUE_INDEX,
	REGISTRY_PRODUCER_BATCH,
	REGISTRY_PRODUCER_BATCH_INDEX,
	REGISTRY_PRODUCER_HISTORY,
	REGISTRY_PRODUCER_HISTORY_INDEX,
	REGISTRY_TABLES
} RegistryTable;

extern void pgqueue_registry_changed(Oid relid);
extern bool pgqueue_registry_is(RegistryTable which, Oid relid);
extern Oid	pgqueue_registry(RegistryTable which);
extern Relation pgqueue_registry_open(RegistryTable which);
extern Relation pgqueue_open_for_writing(RegistryTable which);
extern void pgqueue_registry_read(Relation rel, HeapTuple tuple, int ncolumns,
								  Datum *values, bool *nulls);
extern void pgqueue_registry_write(Relation rel, ItemPointer tid, int ncolumns,
								   Datum *values, bool *nulls);
extern void pgqueue_registry_insert(Relation rel, int ncolumns, Datum *values,
									bool *nulls);

/* ---------------- catalog.c: topics ---------------- */

extern void pgqueue_catalog_init(void);
extern void pgqueue_topic_forget_old(Topic *topic);
extern int	pgqueue_cleanup_policy(const text *policy);
extern bool pgqueue_topic_is_known(const char *name);
extern Topic *pgqueue_topic_find(const char *name);
extern Topic *pgqueue_topic(const char *name);
extern Topic *pgqueue_topic_arg(text *name);
extern int32 pgqueue_topic_id(const char *name);
extern int32 pgqueue_topic_of_log(Oid log, char name[NAMEDATALEN]);
extern Oid	pgqueue_log_of_topic(const char *name);
extern Topic *pgqueue_topic_refresh(Topic *topic);
extern Topic *pgqueue_topic_reload(Topic *topic);
extern Topic *pgqueue_topic_hold(Topic *topic);
extern void pgqueue_check_same(const Topic *topic, int32 id);
extern List *pgqueue_topic_names(void);
extern void pgqueue_producers_changed(void);
extern uint64 pgqueue_group_changes;
extern uint64 pgqueue_producers_gone;
extern void pgqueue_groups_changed(void);
extern void pgqueue_check_partition(const Topic *topic, int32 partition);
extern void pgqueue_check_segments(const Topic *topic, int32 partition);
extern Relation pgqueue_open_segment(const Topic *topic, const Segment *segment,
									 LOCKMODE lockmode);
extern bool pgqueue_partition_broken(const Topic *topic, int32 partition);
extern const char *pgqueue_partition_flaw(const Topic *topic, int32 partition);
extern const char *pgqueue_topic_flaw(const Topic *topic);
extern bool pgqueue_may_see(const Topic *topic);
extern bool pgqueue_may_see_locked(const char *name);
extern bool pgqueue_owns_topic(const Topic *topic);
extern void pgqueue_check_right(const Topic *topic, AclMode mode);
extern void pgqueue_check_owner(const Topic *topic);

/* ---------------- lock.c: locks that last as rows do ---------------- */

/* Types of the extension's background workers, as in pg_stat_activity. */
#define PGQUEUE_SEGMENT_WORKER		"queue segment worker"
#define PGQUEUE_MAINTENANCE_WORKER	"queue maintenance worker"
#define PGQUEUE_TOPIC_WORKER		"queue topic worker"

extern bool pgqueue_lock(const LOCKTAG *tag, LOCKMODE mode, bool wait);
extern void pgqueue_unlock(const LOCKTAG *tag, LOCKMODE mode);
extern void pgqueue_lock_relation(Oid relid, LOCKMODE mode);
extern bool pgqueue_try_lock_relation(Oid relid, LOCKMODE mode);

/* Milliseconds between two tries. */
#define PGQUEUE_LOCK_PAUSE 10

/*
 * Milliseconds that maintenance waits for a lock that it does not only try, and
 * for which commands try again.
 */
#define PGQUEUE_LOCK_PATIENCE 500

extern void pgqueue_wait_shortly(GucAction action);
extern void pgqueue_lock_pause(void);
extern bool pgqueue_lock_relation_soon(Oid relid, LOCKMODE mode, int patience);
extern void pgqueue_unlock_relation(Oid relid, LOCKMODE mode);
extern bool pgqueue_try_lock_segment(Oid relid, LOCKMODE mode);
extern void pgqueue_unlock_segment(Oid relid, LOCKMODE mode);
extern bool pgqueue_lock_segment_soon(Oid relid, LOCKMODE mode, int patience);
extern int	pgqueue_errdetail_lock_holder(const LOCKTAG *tag, LOCKMODE mode);
extern int	pgqueue_errdetail_relation_holder(Oid relid, LOCKMODE mode);
extern bool pgqueue_lock_is_held(const LOCKTAG *tag, LOCKMODE mode);
extern bool pgqueue_segment_in_use(Oid relid);

/* ---------------- code.c: code that belongs to a topic's owner ------------- */

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

/* ---------------- log_record.c: values to a record ---------------- */

extern HeapTuple pgqueue_form_record(TupleDesc desc, int32 partition,
									 Datum *values, bool *nulls);

/* ---------------- log_append.c: appending ---------------- */

extern void pgqueue_append(Topic *topic, int32 partition, HeapTuple *records,
						   int nrecords);
extern void pgqueue_append_given(Relation leaf, HeapTuple *tuples, int ntuples);

/* ---------------- log_seek.c: finding a place ---------------- */

/* Where to begin: at an offset, or at a time. */
typedef struct LogSeek
{
	bool		by_time;
	int64		at;				/* offset or TimestampTz */
} LogSeek;

/* The last record of a segment, dead or alive. */
typedef struct LogTail
{
	bool		found;
	BlockNumber block;
	int64		offset;
	TimestampTz timestamp;
} LogTail;

extern bool pgqueue_page_has_record(Page page);
extern bool pgqueue_page_last(Page page, OffsetNumber *lp, LogFixed **fixed);
extern bool pgqueue_leaf_first(Relation leaf, LogFixed *first);
extern BlockNumber pgqueue_seek_block(Relation leaf, BlockNumber nblocks,
									  const LogSeek *seek);
extern int	pgqueue_seek_segment(Topic *topic, int32 partition,
								 const LogSeek *seek);
extern void pgqueue_segment_tail(Relation leaf, BlockNumber upto, LogTail *tail);
extern void pgqueue_whole_segment_tail(Topic *topic, int32 partition,
									   Relation leaf, LogTail *tail);

/* ---------------- log_scan.c: reading ---------------- */

typedef enum ScanEnd
{
	SCAN_EXHAUSTED,				/* ran off the end of the log */
	SCAN_UNSTABLE,				/* stopped at a message that may still appear */
	SCAN_ENOUGH,				/* the receiver wants no more */
	SCAN_GONE					/* what it came to was let go meanwhile */
} ScanEnd;

/* Receives a message; false: this one was not taken, and no more wanted. */
typedef bool (*LogReceiver) (HeapTuple tuple, Relation leaf, void *arg);

/* A message found. */
typedef struct LogPlace
{
	bool		found;
	int64		offset;
	TimestampTz timestamp;
} LogPlace;

/* What a partition looks like from outside. */
typedef struct LogEnds
{
	int64		log_start;
	int64		stable_end;
	int64		log_end;
	int64		latest;			/* min(stable end, last committed + 1) */
} LogEnds;

extern ScanEnd pgqueue_scan(Topic *topic, int32 partition, int64 from,
							Snapshot snapshot, LogReceiver receiver, void *arg,
							int64 *stopped_at);
extern ScanEnd pgqueue_find_offset(Topic *topic, int32 partition, int64 from,
								   Snapshot snapshot, LogPlace *place);
extern void pgqueue_find_time(Topic *topic, int32 partition, TimestampTz time,
							  Snapshot snapshot, LogPlace *place);
extern int64 pgqueue_log_start(const Topic *topic, int32 partition);
extern int64 pgqueue_committed_end(const Topic *topic, int32 partition);
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
													const char *whose);

/* ---------------- incarnation.c: offsets and dump and restore ------------ */

extern int64 pgqueue_incarnation(const Topic *topic);
extern void pgqueue_incarnation_begin(const Topic *topic, int32 partition);
extern int64 pgqueue_incarnation_reach(const Topic *topic, int32 partition,
									   int64 number, int64 committed_end);
extern void pgqueue_incarnations_delete(const Topic *topic);
pg_noreturn extern void pgqueue_offset_lost(const Topic *topic,
											int32 partition, int64 offset,
											int64 reach, const char *whose,
											const char *hint);

/* ---------------- attempt.c: loops over topics ---------------- */

typedef void (*TopicTask) (Topic *topic, void *arg);

extern void pgqueue_lock_to_look(Oid relid);
extern Relation pgqueue_open_to_look(Oid relid);
extern bool pgqueue_look_at_once(bool at_once);
extern Topic *pgqueue_attempt_find(const char *name, bool *locked);
extern Topic *pgqueue_attempt_topic(const char *name);
extern ErrorData *pgqueue_error_of(Topic *topic, TopicTask run, void *arg);
extern bool pgqueue_attempt(Topic *topic, TopicTask run, void *arg,
							bool *warned);
extern bool pgqueue_attempt_log_ends(Topic *topic, int32 partition,
									 LogEnds *ends, bool *warned);

/* ---------------- log_segment.c: making segments ---------------- */

/* Segments kept ready behind the one that takes appends. */
#define SEGMENTS_AHEAD 2

extern Oid	pgqueue_owner_of(Oid relid);
extern void pgqueue_create_first_segments(Topic *topic, int32 from_partition);
extern void pgqueue_make_segments(Topic *topic, int32 partition, int64 upto);
extern void pgqueue_need_segment(Topic *topic, int32 partition, int64 upto);
/* Columns of a topic's table and its segments; %s is the value's type. */
#define PGQUEUE_LOG_COLUMNS \
	"\"offset\" bigint NOT NULL," \
	" \"timestamp\" timestamptz NOT NULL," \
	" partition int NOT NULL," \
	" key text," \
	" value %s," \
	" headers jsonb"

extern Oid	pgqueue_extension_owner(void);
extern Oid	pgqueue_log_owner(const Topic *topic);
extern char *pgqueue_type_name(Oid type);
extern void pgqueue_run_ddl(Oid role, const char *sql);
extern void pgqueue_run_removal(Oid role, const char *sql);
extern bool pgqueue_removing(void);
extern Oid	pgqueue_attaching(void);
extern int	pgqueue_pin_search_path(void);

/* ---------------- checkpoint.c: log start, and how far compacted -------- */

typedef struct Checkpoint
{
	int64		log_start;		/* 0: the first segment's */
	int64		compacted_to;	/* below, a key has at most one message */
	bool		has_tombstones; /* below compacted_to, ... */
	TimestampTz oldest_tombstone;	/* none older than this */
} Checkpoint;

extern void pgqueue_load_checkpoints(Topic *topic);
extern void pgqueue_checkpoint_read(const Topic *topic, int32 partition,
									Checkpoint *checkpoint);
extern void pgqueue_checkpoint_write(const Topic *topic, int32 partition,
									 const Checkpoint *checkpoint);
extern void pgqueue_checkpoints_delete(const Topic *topic);

/* ---------------- retention.c: letting segments go ---------------- */

extern int64 pgqueue_total_bytes(Oid relid);
extern int	pgqueue_segments_sealed(Topic *topic, Partition *part);
extern int64 pgqueue_retention_limit(Topic *topic, int32 partition);
extern int64 pgqueue_held_for_groups(Topic *topic, int32 partition,
									 char **name);
extern int64 pgqueue_bytes_between(Topic *topic, int32 partition, int64 after,
								   int64 upto);
extern int	pgqueue_kept_level(void);
extern int	pgqueue_let_go(Topic *topic, int32 partition, int64 before,
						   int64 *bytes, int *dropped);
extern int	pgqueue_drop_emptied(Topic *topic, int32 partition);
extern void pgqueue_store_log_start(const Topic *topic, int32 partition,
									int64 log_start);
extern int64 pgqueue_held_now(Topic *topic, int32 partition, char **name);

/* ---------------- tablespace.c: where segments lie ---------------- */

extern Oid	pgqueue_tablespace(const char *name, Oid role);

/* ---------------- freeze.c: freezing sealed segments ---------------- */

extern bool pgqueue_is_frozen(Relation leaf);
extern bool pgqueue_freeze_next(Topic *topic, int32 partition, int64 *from);

/* ---------------- key_map.c: the latest offset of each key ---------------- */

typedef struct KeyMap KeyMap;

extern KeyMap *pgqueue_key_map(Size memory);
extern bool pgqueue_key_map_set(KeyMap *map, const char *key, uint32 len,
								int64 offset);
extern int64 pgqueue_key_map_get(const KeyMap *map, const char *key,
								 uint32 len);

/* ---------------- rewrite.c: a segment's settled records ---------------- */

/* Committed, and shown by every snapshot. */
typedef struct Settled
{
	TransactionId horizon;		/* whose xmin is before it */
	TransactionId newest;		/* xmin met so far that was not frozen */
} Settled;

typedef enum Visit
{
	VISITED_ALL,
	VISIT_STOPPED,				/* the visitor wants no more */
	VISIT_UNSETTLED				/* met a record that is not settled */
} Visit;

typedef struct Rewritten
{
	int64		removed;		/* messages */
	int64		bytes;			/* given back */
} Rewritten;

extern Visit pgqueue_visit_settled(Relation leaf, Settled *settled, int64 from,
								   LogReceiver visitor, void *arg);
extern bool pgqueue_rewrite_segment(Relation leaf, Settled *settled,
									LogReceiver stays,
									bool (*may_go) (void *arg), void *arg,
									Rewritten *done);

/* ---------------- compact.c: the latest message of each key ------------- */

typedef struct Compaction Compaction;

extern void pgqueue_compact_init(void);
extern Compaction *pgqueue_compaction(const Topic *topic, int32 partition);
extern bool pgqueue_compaction_plan(Compaction *compaction, Topic *topic);
extern bool pgqueue_compact_next(Compaction *compaction, Topic *topic,
								 Rewritten *done);
extern bool pgqueue_compaction_keep(const Compaction *compaction,
									const Topic *topic);
extern void pgqueue_compaction_free(Compaction *compaction);

/* ---------------- log_worker.c: making segments in the background -------- */

extern bool pgqueue_segment_worker(Topic *topic, int32 partition, int64 upto,
								   bool wait);

/* ---------------- partitioner.c: key to partition ---------------- */

extern uint32 pgqueue_murmur2(const unsigned char *data, int length);
extern int32 pgqueue_partition_for_key(const char *key, int length,
									   int npartitions);

/* ---------------- value.c: from the caller's value to the topic's ------- */

extern Datum pgqueue_value_from_text(Topic *topic, Datum value, bool isnull);
extern Datum pgqueue_value_from_typed(Topic *topic, Oid type, Datum value,
									  bool isnull);

/* ---------------- sequence_map.c: where sequences went ---------------- */

typedef struct MessagePlace
{
	int32		partition;
	int64		offset;
} MessagePlace;

/* Messages whose sequences and offsets both ascend by one. */
typedef struct SequenceRun
{
	int64		sequence;		/* of the first */
	int64		count;
	int32		partition;
	int64		offset;			/* of the first */
} SequenceRun;

typedef struct SequenceMap
{
	SequenceRun *runs;			/* ascending by sequence */
	int			n;
	int			room;
	int64		incarnation;	/* of the log, as stored with them; 0: this */
} SequenceMap;

extern void pgqueue_map_add(SequenceMap *map, int64 sequence, int64 count,
							int32 partition, int64 offset);
extern bool pgqueue_map_find(const SequenceMap *map, int64 sequence,
							 MessagePlace *place);
extern void pgqueue_map_free(SequenceMap *map);
extern bytea *pgqueue_map_encode(const SequenceMap *map);
extern void pgqueue_map_decode(SequenceMap *map, const bytea *stored,
							   int64 sequence);
pg_noreturn extern void pgqueue_map_damaged(void);

/* ---------------- produce.c: messages and their partitions ---------------- */

extern void pgqueue_check_message(const Topic *topic, bool value_null,
								  bool key_null, bool headers_null,
								  Datum headers);
extern int32 pgqueue_partition_for_text(text *key, int npartitions);
extern int32 pgqueue_next_sticky(Topic *topic);
extern HeapTuple pgqueue_form_message(Topic *topic, int32 partition,
									  Datum value, bool value_null,
									  Datum key, bool key_null,
									  Datum headers, bool headers_null);
extern HeapTuple *pgqueue_group_records(HeapTuple *records, int n,
										int npartitions, int **bounds);
extern void pgqueue_append_grouped(Topic *topic, HeapTuple *grouped,
								   const int *bounds, int npartitions);

/* ---------------- face_buffer.c: rows of a statement ---------------- */

/* Who produces the rows of a statement; see queue.producer_id. */
typedef struct FaceProducer
{
	const char *name;			/* NULL: nobody in particular */
	int32		epoch;
	int64		sequence;		/* of the next row */
} FaceProducer;

/* A statement that inserts into a topic's view. */
typedef struct FaceStatement
{
	uint64		number;			/* no two have the same in a backend */
	bool		may_gather;
	FaceProducer producer;
} FaceStatement;

extern void pgqueue_face_buffer_init(void);
extern bool pgqueue_face_may_gather(MemoryContext statement);
extern bool pgqueue_face_gather(const FaceStatement *statement, Topic *topic,
								HeapTuple record);
extern void pgqueue_face_append(Topic *topic, HeapTuple *rows, int nrows,
								const FaceProducer *producer,
								MessagePlace *place);
extern void pgqueue_face_flush(void);

/* ---------------- face_settings.c: queue.producer_id and so on ------------ */

extern void pgqueue_face_settings_init(void);
extern void pgqueue_face_settings_take(FaceProducer *producer,
									   MemoryContext context);
extern void pgqueue_face_settings_used(void);

/* ---------------- group.c: consumer groups ---------------- */

/* Columns of queue.consumer_group. */
#define GROUP_ATTR_ID		1
#define GROUP_ATTR_NAME		2
#define GROUP_ATTR_OWNER	3
#define GROUP_ATTR_CREATED	4
#define GROUP_ATTR_RESET	5
#define GROUP_ATTR_EXPIRY	6
#define GROUP_ATTR_IMPLICIT 7
#define GROUP_NATTS			7

typedef struct ConsumerGroup
{
	char	   *name;
	int32		id;				/* 0: does not exist */
	uint64		changes;		/* pgqueue_group_changes when it was found */
	bool		any_role;		/* the user need not be a member of its role */

	/* read by pgqueue_group_read() only */
	TimestampTz created_at;
	int64		expiry;			/* ms; 0: never */
	bool		implicit;		/* made by a first consume or poll */
} ConsumerGroup;

/* What to change of a group's settings. */
typedef struct GroupSettings
{
	bool		set_reset;
	char	   *reset;			/* a word of auto_offset_reset */
	bool		set_expiry;
	Interval   *expiry;			/* NULL: never */
	bool		implicit;		/* of a new group: see ConsumerGroup */
	Oid			owner;			/* invalid: as it is */
} GroupSettings;

extern void pgqueue_group_arg(FunctionCallInfo fcinfo, int arg,
							  ConsumerGroup *group);
extern void pgqueue_group_arg_in_topic(FunctionCallInfo fcinfo, int arg,
									   const Topic *topic,
									   ConsumerGroup *group);
extern void pgqueue_group_refresh(ConsumerGroup *group);
extern bool pgqueue_group_ensure(ConsumerGroup *group,
								 const GroupSettings *settings);
extern void pgqueue_group_must_exist(const ConsumerGroup *group);
extern void pgqueue_group_check_same(ConsumerGroup *group);
extern bool pgqueue_group_hold(int32 id, bool wait);
extern void pgqueue_group_release(int32 id);
extern void pgqueue_group_read(Relation rel, HeapTuple tuple,
							   ConsumerGroup *group);
extern List *pgqueue_groups_of(int32 topic_id);
extern List *pgqueue_group_ids(int32 after);
extern bool pgqueue_group_jumps(const ConsumerGroup *group);
extern bool pgqueue_group_settings_arg(FunctionCallInfo fcinfo, int arg,
									   GroupSettings *settings);
extern void pgqueue_group_lock_settings(const ConsumerGroup *group);
extern void pgqueue_group_set(const ConsumerGroup *group,
							  const GroupSettings *settings);
extern void pgqueue_group_lock_rows(int32 id);
extern void pgqueue_group_delete(const char *name);

/* ---------------- progress.c: committed offsets ---------------- */

/* Columns of queue.progress; (group, topic, partition, generation) is the index. */
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
#define PROGRESS_NATTS				16

/* Why a row was written; view queue.offset_history has the words. */
typedef enum ProgressAction
{
	PROGRESS_STARTED = 's',		/* create_group */
	PROGRESS_CONSUMED = 'c',	/* consume */
	PROGRESS_COMMITTED = 'm',	/* commit_offset */
	PROGRESS_RESET = 'r',		/* reset_offsets */
	PROGRESS_JUMPED = 'j',		/* consume, poll: to the log start */
	PROGRESS_HANDED = 'h',		/* poll: given to a member, offset unmoved */
	PROGRESS_UNMOVED = 'u'		/* pause, resume, leave, expire: offset unmoved */
} ProgressAction;

typedef struct Progress
{
	bool		found;
	TransactionId xmin;			/* who wrote the row */
	bool		paused;
	int64		generation;
	int64		offset;			/* next offset to read */
	TimestampTz committed_at;	/* when it was moved ... */
	char	   *committed_by;	/* ... and by which role */
	char	   *metadata;		/* and what was said then, or NULL */
	char	   *member;			/* who has messages in hand, or NULL ... */
	int64		handed_to;		/* ... up to here */
	int64		epoch;			/* and by which epoch; 0: none ever */
	int64		missed;			/* offsets that retention took unread */
	bool		released;		/* holds no messages until it is used again */
	int64		incarnation;	/* of the log that offset is of; 0: this one */
	bool		lost;			/* offset is of an earlier one, and behind ... */
	int64		reach;			/* ... how far these are good */
} Progress;

typedef struct ProgressPlace
{
	int32		topic_id;
	int32		partition;
} ProgressPlace;

extern bool pgqueue_progress_lock(int32 group, int32 topic_id,
								  int32 partition, bool wait);
extern void pgqueue_progress_unlock(int32 group, int32 topic_id,
									int32 partition);
extern void pgqueue_positions_hold(const Topic *topic, int32 partition);
extern bool pgqueue_positions_lock(const Topic *topic, int32 partition);
extern int	pgqueue_errdetail_positions_holder(const Topic *topic,
											   int32 partition);
extern bool pgqueue_progress_busy(int32 group, int32 topic_id,
								  int32 partition);
extern void pgqueue_progress_look(int32 group, const Topic *topic,
								  int32 partition, Progress *progress);
extern void pgqueue_progress_read(int32 group, const Topic *topic,
								  int32 partition, Progress *progress);
extern void pgqueue_progress_write(int32 group, const Topic *topic,
								   int32 partition, Progress *progress,
								   ProgressAction action);
extern bool pgqueue_in_hand(const Progress *progress);
extern void pgqueue_new_epoch(Progress *progress);
extern int64 pgqueue_progress_prune(int32 group, const Topic *topic,
									TimestampTz before, int64 *deleted);
extern bool pgqueue_progress_any(int32 group, int32 topic_id);
extern List *pgqueue_progress_places(int32 group, int32 topic_id);
extern void pgqueue_progress_forget(int32 group, int32 topic_id);
extern void pgqueue_progress_delete(const Topic *topic);

extern void pgqueue_check_known(TransactionId xmin, const char *doing);

/* ---------------- expiry.c: groups that hold nothing any more ------------ */

extern bool pgqueue_group_may_expire(const ConsumerGroup *group,
									 const Topic *topic, bool released);
extern bool pgqueue_group_expired(const ConsumerGroup *group, Topic *topic,
								  int32 partition, int64 offset,
								  bool released, TimestampTz *used);

/* ---------------- balance.c: who should own how much ---------------- */

extern int	pgqueue_quota(const int *owned, int nmembers, int me,
						  int npartitions);

/* ---------------- member.c: members of a group and their leases --------- */

typedef struct Member
{
	char	   *name;
	char	   *client;			/* or NULL */
	int64		lease;			/* ms */
	TimestampTz expires_at;
	TimestampTz joined_at;
	bool		alive;			/* its lease is not over */
	int			npartitions;
	int			room;			/* for more; 0: as many */
	int32	   *partitions;		/* it owns */
	ItemPointerData lease_tid;	/* rows; invalid: none */
	ItemPointerData assignment_tid;
} Member;

typedef struct Members
{
	int			n;
	int			room;
	Member	   *members;
} Members;

extern void pgqueue_members_read(int32 group, int32 topic_id,
								 Members *members);
extern Member *pgqueue_member_of(const Members *members, const char *name);
extern bool pgqueue_holder_alive(int32 group, int32 topic_id,
								 const Progress *progress);
extern char *pgqueue_member_arg(text *name);
extern Member *pgqueue_member_renew(ConsumerGroup *group, Topic *topic,
									const char *name, int64 lease);
extern void pgqueue_member_touch(ConsumerGroup *group, Topic *topic,
								 const char *name);
extern bool pgqueue_member_should_poll(const ConsumerGroup *group,
									   const Topic *topic, const Member *me,
									   Members *members, bool *blocked);
extern bool pgqueue_member_wants_more(const Topic *topic, const Member *me,
									  const Members *members);
extern bool pgqueue_member_leave(ConsumerGroup *group, Topic *topic,
								 const char *name);
extern void pgqueue_members_forget(int32 group, int32 topic_id);
extern void pgqueue_members_delete(const Topic *topic);

/* ---------------- poll.c: batches for work outside ---------------- */

extern void pgqueue_poll_init(void);

/* ---------------- wakeup.c: sleeping and waking ---------------- */

/* Topics in one call, at the most. */
#define PGQUEUE_MAX_TOPICS 64

/* Sets of partitions, by the numbers' remainders. */
#define PGQUEUE_PARTITION_BIT(p) (UINT64CONST(1) << ((uint32) (p) % 64))
#define PGQUEUE_ALL_PARTITIONS PG_UINT64_MAX

extern void pgqueue_wakeup_init(void);
extern void pgqueue_note_produced(int32 topic_id, int32 partition,
								  const char *channel);
extern void pgqueue_note_topic_changed(int32 topic_id);
extern void pgqueue_note_progress(int32 group, int32 topic_id,
								  int32 partition, bool more);
extern void pgqueue_note_held(int32 group, int32 topic_id, int32 partition);
extern void pgqueue_wait_begin(const int32 *topic_ids, int ntopics,
							   int32 group, bool picky);
extern void pgqueue_wait_end(int code, Datum arg);
extern void pgqueue_wait_look(void);
extern void pgqueue_wait_again(void);
extern bool pgqueue_wait_sleep(int64 timeout, bool blocked,
							   const uint64 *wanted);
extern void pgqueue_wait_heed(void);
extern void pgqueue_wake_blocked(int32 group, int32 topic_id,
								 int32 partition);

/* ---------------- ready.c: is there anything to do? ---------------- */

typedef struct TopicList
{
	int			n;
	Topic	   *topics[PGQUEUE_MAX_TOPICS];
} TopicList;

/* Who waits for what. */
typedef struct Readiness
{
	ConsumerGroup group;
	char	   *member;			/* NULL: who consumes */
	TopicList	topics;
	const int32 *partitions;	/* NULL: all */
	int			npartitions;
	uint64		wanted[PGQUEUE_MAX_TOPICS]; /* of each topic, those it may read */
} Readiness;

extern void pgqueue_topic_list(FunctionCallInfo fcinfo, int arg, bool array,
							   TopicList *list);
extern void pgqueue_enter(const Readiness *what);
extern bool pgqueue_ready(Readiness *what, Snapshot snapshot, bool *blocked);
extern void pgqueue_wait_held(Readiness *what, int64 timeout);

/* ---------------- producer_state.c: what a producer has stored ---------- */

/* The sequence before the first of a series; and the greatest there is. */
#define NO_SEQUENCE (-1)
#define PGQUEUE_MAX_SEQUENCE (PG_INT64_MAX - 1)

typedef struct ProducerState
{
	bool		found;
	TransactionId xmin;			/* who wrote it */
	int32		series;			/* epoch in which sequences last restarted */
	int32		epoch;
	int64		generation;		/* counts the producer's rows */
	int64		last_sequence;	/* of the series, or NO_SEQUENCE */
	bool		has_place;		/* its place is known ... */
	MessagePlace place;			/* ... here */
	int64		accepted;
	int64		duplicates;
	int64		gaps;
	TimestampTz produced_at;
	TimestampTz used_at;		/* as read: when the row was written */
	bool		has_watermark;
	Datum		watermark;		/* jsonb */
} ProducerState;

extern uint64 pgqueue_producer_changes;

extern void pgqueue_producer_state_read(int32 producer, Snapshot snapshot,
										ProducerState *state);
extern void pgqueue_producer_state_write(int32 producer,
										 const ProducerState *state,
										 int64 first_sequence,
										 const SequenceMap *map);

/* ---------------- producer_history.c: and what it had before ------------ */

extern bool pgqueue_producer_places_find(int32 producer,
										 const ProducerState *state,
										 int64 sequence, SequenceMap *map);
extern bool pgqueue_producer_rows_prune(int32 producer, int64 *saved);
extern void pgqueue_producer_rows_delete(int32 producer);

/* ---------------- producer_list.c: the producers of a topic ------------ */

typedef enum ProducerSet
{
	PRODUCERS_ALL,
	PRODUCERS_DUE				/* to be merged by maintenance */
} ProducerSet;

extern List *pgqueue_producer_ids(const Topic *topic, ProducerSet set,
								  const char *after, int limit);
extern void pgqueue_producer_wrote(int32 topic_id, const char *name,
								   int64 before, int64 after);
extern bool pgqueue_producer_due_delete(int32 topic_id, const char *name);

/* ---------------- producer.c: accept, duplicate, gap, fenced ------------ */

/* What became of the sequences of a call; see pgqueue_claim(). */
typedef struct ProducerClaim
{
	int32		topic;
	const char *name;			/* the caller's */
	int32		producer;
	int64		incarnation;	/* of the topic's log */
	const int64 *sequences;
	int			n;
	int			nduplicates;	/* the first so many are stored already ... */
	MessagePlace *places;		/* ... here */
	int64	   *incarnations;	/* of the log; 0: the one at hand */
	ProducerState state;		/* as found, but for gaps, epoch and series */
	uint64		changes;		/* pgqueue_producer_changes then */
} ProducerClaim;

extern char *pgqueue_producer_arg(text *name);
extern bool pgqueue_producer_lock(Topic *topic, const char *name,
								  bool wait);
extern void pgqueue_producer_unlock(const Topic *topic, const char *name);
extern void pgqueue_producer_tag(LOCKTAG *tag, const Topic *topic,
								 const char *name);
extern bool pgqueue_producer_find(const Topic *topic, const char *name,
								  Snapshot snapshot, Producer *producer);
extern void pgqueue_producer_make(const Topic *topic, const char *name,
								  bool strict, Producer *producer);
extern void pgqueue_producer_forget(const Topic *topic, const char *name,
									int32 id);
extern void pgqueue_producer_give(const Topic *topic, const char *name,
								  Oid owner);
extern void pgqueue_check_fenced(const Topic *topic, const char *name,
								 int32 epoch);
extern void pgqueue_claim(Topic *topic, const char *name, int32 epoch,
						  const int64 *sequences, int n, ProducerClaim *claim);
extern void pgqueue_claim_fulfil(ProducerClaim *claim, HeapTuple *records,
								 const Datum *watermark);

/* ---------------- producer_prune.c: many producers at a time ------------ */

/* Producers that one transaction prunes or forgets, at the most. */
#define PGQUEUE_PRODUCERS_AT_ONCE 500

extern int64 pgqueue_producers_prune_due(Topic *topic, char *after, int limit,
										 int *n);

/* ---------------- maintain.c ---------------- */

extern void pgqueue_maintain_init(void);
/* How a transaction with a snapshot begins and ends. */
typedef struct StepEnds
{
	void		(*begin) (void);
	void		(*end) (void);
} StepEnds;

typedef enum MaintainPart
{
	MAINTAIN_SPACE,				/* quick: retention, segments ahead */
	MAINTAIN_REST				/* may take long: compaction, freezing ... */
} MaintainPart;

extern void pgqueue_maintain_topic(const char *name, MaintainPart part,
								   const StepEnds *ends);
extern const StepEnds pgqueue_in_call;	/* for a procedure */
extern void pgqueue_call_begin(FunctionCallInfo fcinfo, const char *procedure);
extern void pgqueue_maintain_handed_over(const char *name, Oid log,
										 MaintainPart part, bool told);

/* ---------------- topic_worker.c: ... of a topic, in its own process ------ */

extern bool pgqueue_maintain_elsewhere(const char *topic, Oid log,
									   MaintainPart part);

/* ---------------- maintain_worker.c: maintenance by itself ---------------- */

extern const StepEnds pgqueue_worker_steps;

extern void pgqueue_maintenance_settings(void);
extern void pgqueue_maintain_worker_init(void);

/* ---------------- result.c: rows that functions return ---------------- */

extern void pgqueue_check_result(TupleDesc desc, const Oid *types, int n);
extern HeapTuple pgqueue_form_row(TupleDesc desc, const Datum *values,
								  const bool *nulls, int n);
extern Datum pgqueue_return_row(FunctionCallInfo fcinfo, const Datum *values,
								const bool *nulls, int n);
extern void pgqueue_put_row(ReturnSetInfo *rsinfo, const Datum *values,
							const bool *nulls, int n);

/* ---------------- message_sink.c: rows of messages ---------------- */

typedef struct MessageSink
{
	struct Tuplestorestate *store;
	TupleDesc	desc;
	Datum		topic_name;
	char	   *row;			/* row being made: the topic's name, then ... */
	Size		row_prefix;		/* bytes before the message's own columns */
	bool		plain;			/* those can be copied as they lie */
	int64		messages_left;
	int64		bytes_left;
	int64		taken;
	int64		next;			/* offset behind the last message taken */
	int			natts;			/* columns that are filled */
	bool		has_epoch;		/* the last of them is an epoch ... */
	int64		epoch;			/* ... this one */
	ReturnSetInfo *rsinfo;
	Oid			kept_open;		/* the last segment that rows point to */
} MessageSink;

extern void pgqueue_sink_init(MessageSink *sink, FunctionCallInfo fcinfo,
							  int max_messages_arg, int max_bytes_arg,
							  bool has_epoch);
extern void pgqueue_sink_topic(MessageSink *sink, const Topic *topic,
							   const char *call);
/* Counts the messages that the session got. */
extern uint64 pgqueue_messages_taken;

extern bool pgqueue_sink_receive(HeapTuple tuple, Relation leaf, void *arg);

/* ---------------- position.c: where a group reads on ---------------- */

extern ScanEnd pgqueue_read_on(const ConsumerGroup *group, Topic *topic,
							   int32 partition, Progress *progress,
							   Snapshot snapshot, MessageSink *sink,
							   int64 *from);
extern void pgqueue_jump(const ConsumerGroup *group, const Topic *topic,
						 int32 partition, Progress *progress, int64 to);
extern int64 pgqueue_missed(const Progress *progress, int64 log_start,
							int64 upto);

#endif							/* PGQUEUE_H */
