/*-------------------------------------------------------------------------
 *
 * am.c
 *	  The queue_log table access method: a heap that only grows, in order.
 *
 * The heap's TableAmRoutine is copied and a few callbacks are replaced, so
 * pages, MVCC, WAL, TOAST, VACUUM, checksums and replication are the heap's.
 * What differs:
 *
 *	 insert      goes behind the last record, under the append lock, offsets
 *				 ascending (append.c)
 *	 update, delete, lock, speculative insert
 *				 refused: nothing in a log is changed in place
 *	 scan        always starts at block 0; a synchronized scan would start in
 *				 the middle and reorder what COPY TO and rewrites emit
 *	 new file    refused while the old one holds blocks (TRUNCATE), and for
 *				 UNLOGGED and TEMPORARY
 *	 index build on the slot interface (index.c)
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/heaptoast.h"
#include "catalog/pg_am_d.h"
#include "miscadmin.h"
#include "replication/logicalworker.h"
#include "storage/bufmgr.h"
#include "storage/smgr.h"
#include "utils/builtins.h"

#include "base/compat_table.h"
#include "base/base.h"
#include "log/log.h"
#include "log/write.h"

PG_FUNCTION_INFO_V1(pgqueue_log_am_handler);

static TableAmRoutine log_methods;

/* ---------------- what is refused ---------------- */

pg_noreturn static void refuse(Relation rel, const char *what);

static void
refuse(Relation rel, const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("cannot %s messages in segment \"%s\"",
					what,
					RelationGetRelationName(rel)),
			 errdetail("A topic is a log: messages are appended and never changed.")));
}

#if PG_VERSION_NUM >= 190000
static TM_Result
log_tuple_delete(Relation rel, ItemPointer tid, CommandId cid, uint32 options,
				 Snapshot snapshot, Snapshot crosscheck, bool wait,
				 TM_FailureData *tmfd)
#else
static TM_Result
log_tuple_delete(Relation rel, ItemPointer tid, CommandId cid,
				 Snapshot snapshot, Snapshot crosscheck, bool wait,
				 TM_FailureData *tmfd, bool changing_part)
#endif
{
	refuse(rel, "delete");
	return TM_Ok;
}

#if PG_VERSION_NUM >= 190000
static TM_Result
log_tuple_update(Relation rel, ItemPointer otid, TupleTableSlot *slot,
				 CommandId cid, uint32 options, Snapshot snapshot,
				 Snapshot crosscheck, bool wait, TM_FailureData *tmfd,
				 LockTupleMode *lockmode, TU_UpdateIndexes *update_indexes)
#elif PG_VERSION_NUM >= 160000
static TM_Result
log_tuple_update(Relation rel, ItemPointer otid, TupleTableSlot *slot,
				 CommandId cid, Snapshot snapshot, Snapshot crosscheck,
				 bool wait, TM_FailureData *tmfd, LockTupleMode *lockmode,
				 TU_UpdateIndexes *update_indexes)
#else
static TM_Result
log_tuple_update(Relation rel, ItemPointer otid, TupleTableSlot *slot,
				 CommandId cid, Snapshot snapshot, Snapshot crosscheck,
				 bool wait, TM_FailureData *tmfd, LockTupleMode *lockmode,
				 bool *update_indexes)
#endif
{
	refuse(rel, "update");
	return TM_Ok;
}

static TM_Result
log_tuple_lock(Relation rel, ItemPointer tid, Snapshot snapshot,
			   TupleTableSlot *slot, CommandId cid, LockTupleMode mode,
			   LockWaitPolicy wait_policy, uint8 flags, TM_FailureData *tmfd)
{
	refuse(rel, "lock");
	return TM_Ok;
}

static void
log_tuple_insert_speculative(Relation rel, TupleTableSlot *slot,
							 CommandId cid, TableAmOptions options,
							 BulkInsertState bistate, uint32 token)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("ON CONFLICT is not supported by segment \"%s\"",
					RelationGetRelationName(rel))));
}

static void
log_tuple_complete_speculative(Relation rel, TupleTableSlot *slot,
							   uint32 token, bool succeeded)
{
	elog(ERROR, "speculative insertion into a queue_log table");
}

/* ---------------- given offsets: COPY and INSERT into a segment ------------- */

/* Refuse rows from logical apply: it brings them in commit order. */
static void
refuse_logical_apply(Relation rel)
{
	if (IsLogicalWorker())
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("a subscription cannot feed segment \"%s\"",
						RelationGetRelationName(rel)),
				 errdetail("Logical replication applies messages in commit order, not in offset order."),
				 errhint("Replicate the topic into a plain table.")));
}

/* Append rows from COPY, or from a rewrite, with the offsets that they have. */
static void
log_multi_insert(Relation rel, TupleTableSlot **slots, int nslots,
				 CommandId cid, TableAmOptions options,
				 BulkInsertState bistate)
{
	HeapTuple  *tuples = palloc(nslots * sizeof(HeapTuple));

	refuse_logical_apply(rel);
	for (int i = 0; i < nslots; i++)
	{
		tuples[i] = ExecCopySlotHeapTuple(slots[i]);
		slots[i]->tts_tableOid = RelationGetRelid(rel);
	}
	pgqueue_append_given(rel, tuples, nslots);
	for (int i = 0; i < nslots; i++)
		slots[i]->tts_tid = tuples[i]->t_self;
	pfree(tuples);
}

static void
log_tuple_insert(Relation rel, TupleTableSlot *slot, CommandId cid,
				 TableAmOptions options, BulkInsertState bistate)
{
	log_multi_insert(rel, &slot, 1, cid, options, bistate);
}

/* ---------------- scans ---------------- */

static TableScanDesc
log_scan_begin(Relation rel, Snapshot snapshot, int nkeys,
			   struct ScanKeyData *key, ParallelTableScanDesc pscan,
			   uint32 flags)
{
	return GetHeapamTableAmRoutine()->scan_begin(rel, snapshot, nkeys, key,
												 pscan,
												 flags & ~SO_ALLOW_SYNC);
}

static Size
log_parallelscan_initialize(Relation rel, ParallelTableScanDesc pscan)
{
	Size		size = table_block_parallelscan_initialize(rel, pscan);

	pscan->phs_syncscan = false;
	return size;
}

/* ---------------- files ---------------- */

/*
 * Errors: 0A000 for anything but a permanent table, and for a new file while
 * the old one has blocks: TRUNCATE would lose messages.  TRUNCATE of an empty
 * segment must work, pg_restore does it.
 */
static void
check_new_file(Relation rel, char persistence)
{
	if (persistence != RELPERSISTENCE_PERMANENT)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("access method \"queue_log\" supports only permanent tables"),
				 errdetail("A log that a crash empties would lose messages.")));

	if (!pgqueue_allow_ddl &&
		smgrexists(RelationGetSmgr(rel), MAIN_FORKNUM) &&
		RelationGetNumberOfBlocks(rel) > 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot truncate segment \"%s\"",
						RelationGetRelationName(rel)),
				 errdetail("It holds messages."),
				 errhint("Use queue.drop_topic() to drop the topic with its messages.")));
}

#if PG_VERSION_NUM >= 160000
static void
log_set_new_file(Relation rel, const RelFileLocator *newfile, char persistence,
				 TransactionId *freezeXid, MultiXactId *minmulti)
{
	check_new_file(rel, persistence);
	GetHeapamTableAmRoutine()->relation_set_new_filelocator(rel, newfile,
															persistence,
															freezeXid,
															minmulti);
}

#else
static void
log_set_new_file(Relation rel, const RelFileNode *newfile, char persistence,
				 TransactionId *freezeXid, MultiXactId *minmulti)
{
	check_new_file(rel, persistence);
	GetHeapamTableAmRoutine()->relation_set_new_filenode(rel, newfile,
														 persistence,
														 freezeXid,
														 minmulti);
}

#endif

/* Truncate a table that was made in the same transaction. */
static void
log_nontransactional_truncate(Relation rel)
{
	check_new_file(rel, rel->rd_rel->relpersistence);
	GetHeapamTableAmRoutine()->relation_nontransactional_truncate(rel);
}

/*
 * VACUUM FULL keeps the order of the file; an index order is another order.
 * PostgreSQL itself refuses REPACK (CONCURRENTLY), which would bring what is
 * appended meanwhile in commit order, for every access method but heap.
 *
 * Errors: 0A000.
 */
static void
refuse_index_order(Relation rel, Relation index, bool use_sort)
{
	if (index != NULL || use_sort)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot cluster segment \"%s\"",
						RelationGetRelationName(rel)),
				 errdetail("A segment keeps its messages in offset order.")));
}

#if PG_VERSION_NUM >= 190000
static void
log_copy_for_cluster(Relation old, Relation new, Relation index, bool use_sort,
					 TransactionId OldestXmin, Snapshot snapshot,
					 TransactionId *xid_cutoff, MultiXactId *multi_cutoff,
					 double *num_tuples, double *tups_vacuumed,
					 double *tups_recently_dead)
{
	refuse_index_order(old, index, use_sort);
	GetHeapamTableAmRoutine()->relation_copy_for_cluster(old, new, index,
														 use_sort, OldestXmin,
														 snapshot,
														 xid_cutoff,
														 multi_cutoff,
														 num_tuples,
														 tups_vacuumed,
														 tups_recently_dead);
}

#else
static void
log_copy_for_cluster(Relation old, Relation new, Relation index, bool use_sort,
					 TransactionId OldestXmin, TransactionId *xid_cutoff,
					 MultiXactId *multi_cutoff, double *num_tuples,
					 double *tups_vacuumed, double *tups_recently_dead)
{
	refuse_index_order(old, index, use_sort);
	GetHeapamTableAmRoutine()->relation_copy_for_cluster(old, new, index,
														 use_sort, OldestXmin,
														 xid_cutoff,
														 multi_cutoff,
														 num_tuples,
														 tups_vacuumed,
														 tups_recently_dead);
}

#endif

/* Return the access method of the TOAST table: an ordinary heap. */
static Oid
log_toast_am(Relation rel)
{
	return HEAP_TABLE_AM_OID;
}

/* ---------------- the routine ---------------- */

static const TableAmRoutine *
pgqueue_log_am(void)
{
	if (log_methods.type == T_TableAmRoutine)
		return &log_methods;

	log_methods = *GetHeapamTableAmRoutine();
	log_methods.scan_begin = log_scan_begin;
	log_methods.parallelscan_initialize = log_parallelscan_initialize;
	log_methods.tuple_insert = log_tuple_insert;
	log_methods.multi_insert = log_multi_insert;
	log_methods.tuple_insert_speculative = log_tuple_insert_speculative;
	log_methods.tuple_complete_speculative = log_tuple_complete_speculative;
	log_methods.tuple_delete = log_tuple_delete;
	log_methods.tuple_update = log_tuple_update;
	log_methods.tuple_lock = log_tuple_lock;
#if PG_VERSION_NUM >= 160000
	log_methods.relation_set_new_filelocator = log_set_new_file;
#else
	log_methods.relation_set_new_filenode = log_set_new_file;
#endif
	log_methods.relation_nontransactional_truncate =
		log_nontransactional_truncate;
	log_methods.relation_copy_for_cluster = log_copy_for_cluster;
	log_methods.relation_toast_am = log_toast_am;
	log_methods.index_build_range_scan = pgqueue_index_build_range_scan;
	log_methods.index_validate_scan = pgqueue_index_validate_scan;
	pgqueue_log_methods = &log_methods;
	return &log_methods;
}

Datum
pgqueue_log_am_handler(PG_FUNCTION_ARGS)
{
	PG_RETURN_POINTER(pgqueue_log_am());
}
