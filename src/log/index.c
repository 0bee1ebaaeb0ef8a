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

#include "base/compat.h"
#include "log/log.h"

/* What evaluating index expressions and predicates needs. */
typedef struct IndexEval
{
	EState	   *estate;
	ExprContext *econtext;
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
	eval->econtext = GetPerTupleExprContext(eval->estate);
	eval->slot = table_slot_create(heap, NULL);
	eval->econtext->ecxt_scantuple = eval->slot;
	eval->predicate = ExecPrepareQual(info->ii_Predicate, eval->estate);
}

/* Compute the index columns of the tuple.  Return false if not indexed. */
static bool
eval_tuple(IndexEval *eval)
{
	MemoryContextReset(eval->econtext->ecxt_per_tuple_memory);
	if (eval->predicate != NULL && !ExecQual(eval->predicate, eval->econtext))
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
 * uniqueness.  CREATE INDEX excludes writers, so a record in progress is of
 * this transaction.
 */
static bool
index_record(IndexEval *eval, Relation heap, TransactionId oldest_xmin,
			 bool anyvisible, bool unique, bool *alive)
{
	BufferHeapTupleTableSlot *bslot = (BufferHeapTupleTableSlot *) eval->slot;
	HeapTuple	tuple = bslot->base.tuple;

	for (;;)
	{
		TransactionId xmin = InvalidTransactionId;
		HTSV_Result verdict;

		LockBuffer(bslot->buffer, BUFFER_LOCK_SHARE);
		verdict = HeapTupleSatisfiesVacuum(tuple, oldest_xmin, bslot->buffer);
		if (verdict == HEAPTUPLE_INSERT_IN_PROGRESS)
			xmin = HeapTupleHeaderGetXmin(tuple->t_data);
		LockBuffer(bslot->buffer, BUFFER_LOCK_UNLOCK);

		switch (verdict)
		{
			case HEAPTUPLE_DEAD:
				return false;
			case HEAPTUPLE_RECENTLY_DEAD:
				*alive = false;
				return true;
			case HEAPTUPLE_INSERT_IN_PROGRESS:
				if (unique && !anyvisible &&
					!TransactionIdIsCurrentTransactionId(xmin))
				{
					XactLockTableWait(xmin, heap, &tuple->t_self,
									  XLTW_InsertIndexUnique);
					CHECK_FOR_INTERRUPTS();
					continue;
				}
				pg_fallthrough;
			default:
				*alive = true;
				return true;
		}
	}
}

double
pgqueue_index_build_range_scan(Relation heap, Relation index, IndexInfo *info,
							   bool allow_sync, bool anyvisible, bool progress,
							   BlockNumber start, BlockNumber numblocks,
							   IndexBuildCallback callback,
							   void *callback_state, TableScanDesc scan)
{
	IndexEval	eval;
	Snapshot	snapshot;
	bool		registered = false;
	TransactionId oldest_xmin = InvalidTransactionId;
	bool		unique = info->ii_Unique || info->ii_ExclusionOps != NULL;
	double		reltuples = 0;
	BlockNumber reported = InvalidBlockNumber;

	eval_begin(&eval, heap, info);

	if (!info->ii_Concurrent)
		oldest_xmin = GetOldestNonRemovableTransactionId(heap);

	if (scan != NULL)
		snapshot = scan->rs_snapshot;	/* a worker's share of the scan */
	else
	{
		/* a concurrent build indexes what one snapshot sees, others all */
		if (info->ii_Concurrent)
		{
			snapshot = RegisterSnapshot(GetTransactionSnapshot());
			registered = true;
		}
		else
			snapshot = SnapshotAny;
		scan = table_beginscan_strat(heap, snapshot, 0, NULL, true, false);
		if (!allow_sync)
			heap_setscanlimits(scan, start, numblocks);
	}

	if (progress)
		pgstat_progress_update_param(PROGRESS_SCAN_BLOCKS_TOTAL,
									 RelationGetNumberOfBlocks(heap));

	while (table_scan_getnextslot(scan, ForwardScanDirection, eval.slot))
	{
		bool		alive = true;
		BlockNumber block = ItemPointerGetBlockNumber(&eval.slot->tts_tid);

		CHECK_FOR_INTERRUPTS();
		if (progress && block != reported)
		{
			pgstat_progress_update_param(PROGRESS_SCAN_BLOCKS_DONE, block);
			reported = block;
		}
		if (snapshot == SnapshotAny &&
			!index_record(&eval, heap, oldest_xmin, anyvisible, unique, &alive))
			continue;
		if (alive)
			reltuples += 1;
		if (eval_tuple(&eval))
			callback(index, &eval.slot->tts_tid, eval.values, eval.isnull,
					 alive, callback_state);
	}

	table_endscan(scan);
	if (registered)
		UnregisterSnapshot(snapshot);
	eval_end(&eval);
	return reltuples;
}

/* Get the next TID that the index holds, in order.  Return false at the end. */
static bool
next_indexed(ValidateIndexState *state, ItemPointer tid)
{
	Datum		encoded;
	bool		isnull;

	if (!pgqueue_tuplesort_getdatum(state->tuplesort, &encoded, &isnull))
		return false;
	itemptr_decode(tid, DatumGetInt64(encoded));
	return true;
}

/*
 * Do the second pass of CREATE INDEX CONCURRENTLY: merge the index's sorted
 * TIDs with the table's, and insert those that the index lacks.
 */
void
pgqueue_index_validate_scan(Relation heap, Relation index, IndexInfo *info,
							Snapshot snapshot, ValidateIndexState *state)
{
	IndexEval	eval;
	TableScanDesc scan;
	ItemPointerData indexed;
	bool		more;

	eval_begin(&eval, heap, info);
	scan = table_beginscan_strat(heap, snapshot, 0, NULL, true, false);
	more = next_indexed(state, &indexed);

	while (table_scan_getnextslot(scan, ForwardScanDirection, eval.slot))
	{
		ItemPointer tid = &eval.slot->tts_tid;

		CHECK_FOR_INTERRUPTS();
		state->htups += 1;
		while (more && ItemPointerCompare(&indexed, tid) < 0)
			more = next_indexed(state, &indexed);
		if (more && ItemPointerEquals(&indexed, tid))
			continue;
		if (!eval_tuple(&eval))
			continue;
		index_insert(index, eval.values, eval.isnull, tid, heap,
					 info->ii_Unique ? UNIQUE_CHECK_YES : UNIQUE_CHECK_NO,
					 false, info);
		state->tups_inserted += 1;
	}

	table_endscan(scan);
	eval_end(&eval);
}
