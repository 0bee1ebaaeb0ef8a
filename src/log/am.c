/*-------------------------------------------------------------------------
 *
 * am.c
 *	  The queue_log table access method: a heap that only grows, in order.
 *
 * The heap's TableAmRoutine is copied, and these callbacks are replaced:
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
 *	 reading     leaves out deleted records (cut.c)
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heapam.h"
#include "catalog/pg_am_d.h"
#include "replication/logicalworker.h"
#include "storage/bufmgr.h"
#include "storage/smgr.h"

#include "base/compat_table.h"
#include "base/base.h"
#include "log/cut.h"
#include "log/write.h"

PG_FUNCTION_INFO_V1(pgqueue_log_am_handler);

/* ---------------- what is refused ---------------- */

pg_noreturn static void
refuse(Relation rel, const char *what)
{
	if (!rel->rd_rel->relispartition)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot %s messages in archive \"%s\"",
						what, RelationGetRelationName(rel)),
				 errdetail("The messages of an archive are never changed."),
				 errhint("Drop the table, or copy what it should keep into a plain table.")));
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("cannot %s messages in segment \"%s\"",
					what, RelationGetRelationName(rel)),
			 errdetail("A topic is a log: messages are appended and never changed.")));
}

static TM_Result
log_tuple_delete(Relation rel, ItemPointer tid, CommandId cid,
#if PG_VERSION_NUM >= 190000
				 uint32 options, Snapshot snapshot, Snapshot crosscheck,
				 bool wait, TM_FailureData *tmfd)
#else
				 Snapshot snapshot, Snapshot crosscheck, bool wait,
				 TM_FailureData *tmfd, bool changing_part)
#endif
{
	refuse(rel, "delete");
}

static TM_Result
log_tuple_update(Relation rel, ItemPointer otid, TupleTableSlot *slot,
				 CommandId cid,
#if PG_VERSION_NUM >= 190000
				 uint32 options,
#endif
				 Snapshot snapshot, Snapshot crosscheck, bool wait,
				 TM_FailureData *tmfd, LockTupleMode *lockmode,
				 TU_UpdateIndexes *update_indexes)
{
	refuse(rel, "update");
}

static TM_Result
log_tuple_lock(Relation rel, ItemPointer tid, Snapshot snapshot,
			   TupleTableSlot *slot, CommandId cid, LockTupleMode mode,
			   LockWaitPolicy wait_policy, uint8 flags, TM_FailureData *tmfd)
{
	refuse(rel, "lock");
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

/* ---------------- given offsets: COPY and INSERT into a segment ------------- */

/* Append rows from COPY, or from a rewrite, with the offsets that they have. */
static void
log_multi_insert(Relation rel, TupleTableSlot **slots, int nslots,
				 CommandId cid, TableAmOptions options,
				 BulkInsertState bistate)
{
	HeapTuple  *tuples = palloc(nslots * sizeof(HeapTuple));

	if (IsLogicalWorker())
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("a subscription cannot feed segment \"%s\"",
						RelationGetRelationName(rel)),
				 errdetail("Logical replication applies messages in commit order, not in offset order."),
				 errhint("Replicate the topic into a plain table.")));
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
	flags &= ~SO_ALLOW_SYNC;
	return GetHeapamTableAmRoutine()->scan_begin(rel, snapshot, nkeys, key,
												 pscan, flags);
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
 * the old one has blocks; pg_restore runs TRUNCATE on an empty segment.
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
				 rel->rd_rel->relispartition ?
				 errmsg("cannot truncate segment \"%s\"",
						RelationGetRelationName(rel)) :
				 errmsg("cannot truncate archive \"%s\"",
						RelationGetRelationName(rel)),
				 errdetail("It holds messages."),
				 rel->rd_rel->relispartition ?
				 errhint("Use queue.drop_topic() to drop the topic with its messages.") :
				 errhint("Drop the table.")));
}

static void
log_set_new_file(Relation rel, const RelFileLocator *newfile, char persistence,
				 TransactionId *frozen, MultiXactId *multi)
{
	const TableAmRoutine *heap = GetHeapamTableAmRoutine();

	check_new_file(rel, persistence);
	heap->relation_set_new_filelocator(rel, newfile, persistence, frozen,
									   multi);
}

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
log_copy_for_cluster(Relation old, Relation new, Relation index, bool use_sort,
					 TransactionId horizon,
#if PG_VERSION_NUM >= 190000
					 Snapshot snapshot,
#endif
					 TransactionId *frozen, MultiXactId *multi, double *kept,
					 double *removed, double *recently_dead)
{
	const TableAmRoutine *heap = GetHeapamTableAmRoutine();

	if (index != NULL || use_sort)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot cluster segment \"%s\"",
						RelationGetRelationName(old)),
				 errdetail("A segment keeps its messages in offset order.")));
	heap->relation_copy_for_cluster(old, new, index, use_sort, horizon,
#if PG_VERSION_NUM >= 190000
									snapshot,
#endif
									frozen, multi, kept, removed,
									recently_dead);
}

/* Return the access method of the TOAST table: an ordinary heap. */
static Oid
log_toast_am(Relation rel)
{
	return HEAP_TABLE_AM_OID;
}

/* ---------------- the routine ---------------- */

Datum
pgqueue_log_am_handler(PG_FUNCTION_ARGS)
{
	TableAmRoutine *am = &pgqueue_log_methods;

	*am = *GetHeapamTableAmRoutine();
	am->scan_begin = log_scan_begin;
	am->parallelscan_initialize = log_parallelscan_initialize;
	am->tuple_insert = log_tuple_insert;
	am->multi_insert = log_multi_insert;
	am->tuple_insert_speculative = log_tuple_insert_speculative;
	am->tuple_delete = log_tuple_delete;
	am->tuple_update = log_tuple_update;
	am->tuple_lock = log_tuple_lock;
	am->relation_set_new_filelocator = log_set_new_file;
	am->relation_nontransactional_truncate = log_nontransactional_truncate;
	am->relation_copy_for_cluster = log_copy_for_cluster;
	am->relation_toast_am = log_toast_am;
	pgqueue_index_methods(am);
	pgqueue_cut_methods(am);
	PG_RETURN_POINTER(am);
}
