/*-------------------------------------------------------------------------
 *
 * index.c
 *	  CREATE INDEX on a segment.
 *
 * The heap's own callbacks insist on a relation of the heap access method.
 * A log has no updates, hence no HOT chains: a tuple's TID is what the index
 * stores, and the scan is short.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "catalog/index.h"
#include "commands/progress.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "storage/procarray.h"
#include "utils/snapmgr.h"
#include "utils/tuplesort.h"

#include "base/compat_table.h"
#include "log/log.h"

/* What evaluating index expressions and predicates needs. */
typedef struct IndexEval
{
	EState	   *estate;
	ExprState  *predicate;
	TupleTableSlot *slot;
	IndexInfo  *info;
	Datum		values[INDEX_MAX_KEYS];
	bool		isnull[INDEX_MAX_KEYS];
} IndexEval;

static void
eval_begin(IndexEval *eval, Relation heap, IndexInfo *info)
{
	eval->info = info;
	eval->estate = CreateExecutorState();
	eval->slot = table_slot_create(heap, NULL);
	GetPerTupleExprContext(eval->estate)->ecxt_scantuple = eval->slot;
	eval->predicate = ExecPrepareQual(info->ii_Predicate, eval->estate);
}

/* Compute the index columns of the tuple.  Return false if not indexed. */
static bool
eval_tuple(IndexEval *eval)
{
	ResetPerTupleExprContext(eval->estate);
	if (!ExecQual(eval->predicate, GetPerTupleExprContext(eval->estate)))
		return false;
	FormIndexDatum(eval->info, eval->slot, eval->estate,
				   eval->values, eval->isnull);
	return true;
}

static void
eval_end(IndexEval *eval)
{
	ExecDropSingleTupleTableSlot(eval->slot);
	FreeExecutorState(eval->estate);
	/* these pointed into the executor state that is gone */
	eval->info->ii_ExpressionsState = NIL;
	eval->info->ii_PredicateState = NULL;
}

/*
 * Return true if the record in the slot must be indexed; *alive: it counts for
 * uniqueness.  wait: for the end of another transaction that inserts it.
 */
static bool
index_record(IndexEval *eval, Relation heap, TransactionId oldest_xmin,
			 bool wait, bool *alive)
{
	BufferHeapTupleTableSlot *bslot = (BufferHeapTupleTableSlot *) eval->slot;
	HeapTuple	tuple = bslot->base.tuple;

	for (;;)
	{
		TransactionId xmin;
		HTSV_Result verdict;

		LockBuffer(bslot->buffer, BUFFER_LOCK_SHARE);
		verdict = HeapTupleSatisfiesVacuum(tuple, oldest_xmin, bslot->buffer);
		xmin = HeapTupleHeaderGetXmin(tuple->t_data);
		LockBuffer(bslot->buffer, BUFFER_LOCK_UNLOCK);

		*alive = verdict != HEAPTUPLE_RECENTLY_DEAD;
		if (verdict != HEAPTUPLE_INSERT_IN_PROGRESS || !wait ||
			TransactionIdIsCurrentTransactionId(xmin))
			return verdict != HEAPTUPLE_DEAD;
		XactLockTableWait(xmin, heap, &tuple->t_self, XLTW_InsertIndexUnique);
		CHECK_FOR_INTERRUPTS();
	}
}

static double
index_build_range_scan(Relation heap, Relation index, IndexInfo *info,
					   bool allow_sync, bool anyvisible, bool progress,
					   BlockNumber start, BlockNumber numblocks,
					   IndexBuildCallback callback, void *callback_state,
					   TableScanDesc scan)
{
	IndexEval	eval;
	Snapshot	registered = NULL;
	TransactionId oldest_xmin = InvalidTransactionId;
	bool		wait = !anyvisible &&
		(info->ii_Unique || info->ii_ExclusionOps != NULL);
	double		reltuples = 0;
	BlockNumber reported = InvalidBlockNumber;

	eval_begin(&eval, heap, info);

	if (!info->ii_Concurrent)
		oldest_xmin = GetOldestNonRemovableTransactionId(heap);

	/* unless it is a worker's share of a parallel scan */
	if (scan == NULL)
	{
		/* a concurrent build indexes what one snapshot sees, others all */
		if (info->ii_Concurrent)
			registered = RegisterSnapshot(GetTransactionSnapshot());
		scan = table_beginscan_strat(heap,
									 registered ? registered : SnapshotAny,
									 0, NULL, true, false);
		if (!allow_sync)
			heap_setscanlimits(scan, start, numblocks);
	}

	if (progress)
		pgstat_progress_update_param(PROGRESS_SCAN_BLOCKS_TOTAL,
									 RelationGetNumberOfBlocks(heap));

	/* all records, also deleted ones (cut.c) */
	while (heap_getnextslot(scan, ForwardScanDirection, eval.slot))
	{
		bool		alive = true;
		BlockNumber block = ItemPointerGetBlockNumber(&eval.slot->tts_tid);

		CHECK_FOR_INTERRUPTS();
		if (progress && block != reported)
		{
			pgstat_progress_update_param(PROGRESS_SCAN_BLOCKS_DONE, block);
			reported = block;
		}
		if (scan->rs_snapshot == SnapshotAny &&
			!index_record(&eval, heap, oldest_xmin, wait, &alive))
			continue;
		if (alive)
			reltuples += 1;
		if (eval_tuple(&eval))
			callback(index, &eval.slot->tts_tid, eval.values, eval.isnull,
					 alive, callback_state);
	}

	table_endscan(scan);
	UnregisterSnapshot(registered);
	eval_end(&eval);
	return reltuples;
}

/* Get the next TID that the index holds; an invalid one at the end. */
static void
next_indexed(ValidateIndexState *state, ItemPointer tid)
{
	Datum		encoded;
	bool		isnull;

	if (!tuplesort_getdatum(state->tuplesort, true, false, &encoded, &isnull,
							NULL))
		ItemPointerSetInvalid(tid);
	else
		itemptr_decode(tid, DatumGetInt64(encoded));
}

/*
 * Do the second pass of CREATE INDEX CONCURRENTLY: merge the index's sorted
 * TIDs with the table's, and insert those that the index lacks.
 */
static void
index_validate_scan(Relation heap, Relation index, IndexInfo *info,
					Snapshot snapshot, ValidateIndexState *state)
{
	IndexEval	eval;
	TableScanDesc scan;
	ItemPointerData indexed;

	eval_begin(&eval, heap, info);
	scan = table_beginscan_strat(heap, snapshot, 0, NULL, true, false);
	next_indexed(state, &indexed);

	while (heap_getnextslot(scan, ForwardScanDirection, eval.slot))
	{
		ItemPointer tid = &eval.slot->tts_tid;

		CHECK_FOR_INTERRUPTS();
		state->htups += 1;
		while (ItemPointerCompare(&indexed, tid) < 0)
			next_indexed(state, &indexed);
		if (ItemPointerCompare(&indexed, tid) == 0 || !eval_tuple(&eval))
			continue;
		index_insert(index, eval.values, eval.isnull, tid, heap,
					 info->ii_Unique ? UNIQUE_CHECK_YES : UNIQUE_CHECK_NO,
					 false, info);
		state->tups_inserted += 1;
	}

	table_endscan(scan);
	eval_end(&eval);
}

/* Set the callbacks of an access method that are defined here. */
void
pgqueue_index_methods(TableAmRoutine *am)
{
	am->index_build_range_scan = index_build_range_scan;
	am->index_validate_scan = index_validate_scan;
}
