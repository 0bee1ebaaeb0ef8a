/*-------------------------------------------------------------------------
 *
 * index_and_check.c
 *	  Indexes and CHECK constraints on a segment.
 *
 * Records are written without the executor.  If an owner has added an index or
 * a CHECK constraint to the topic's table, each append does for them what the
 * executor would do.  Constraints are checked before offsets are assigned (a
 * constraint on "offset" or "timestamp" sees zero and 2000-01-01), indexes are
 * filled after the append lock.  Triggers and generated columns are refused: a
 * trigger would have to run between the two.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "executor/executor.h"

#include "base/compat_table.h"
#include "base/lock.h"
#include "log/write.h"

struct IndexAndCheck
{
	EState	   *estate;
	ResultRelInfo *rri;
	TupleTableSlot *slot;
};

/*
 * Return NULL, at little cost, for a segment without indexes and constraints.
 */
IndexAndCheck *
pgqueue_index_and_check_begin(Relation segment)
{
	TupleDesc	desc = RelationGetDescr(segment);
	IndexAndCheck *work;

	if (likely(!segment->rd_rel->relhasindex &&
			   segment->trigdesc == NULL &&
			   desc->constr->num_check == 0 &&
			   !desc->constr->has_generated_stored))
		return NULL;

	if (segment->trigdesc != NULL || desc->constr->has_generated_stored)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("segment \"%s\" has %s, which producing does not support",
						RelationGetRelationName(segment),
						segment->trigdesc != NULL ? "triggers" :
						"generated columns"),
				 errhint("Only indexes and CHECK constraints may be added to a topic's table.")));

	work = palloc(sizeof(IndexAndCheck));
	work->estate = CreateExecutorState();
	work->rri = makeNode(ResultRelInfo);
	InitResultRelInfo(work->rri, segment, 0, NULL, 0);
	ExecOpenIndices(work->rri, false);
	work->slot = MakeSingleTupleTableSlot(desc, &TTSOpsHeapTuple);
	return work;
}

static void
load(IndexAndCheck *work, HeapTuple tuple)
{
	ResetPerTupleExprContext(work->estate);
	ExecForceStoreHeapTuple(tuple, work->slot, false);
	work->slot->tts_tid = tuple->t_self;
	work->slot->tts_tableOid = tuple->t_tableOid;
}

/* Errors: 23514, as the executor's. */
void
pgqueue_check_records(IndexAndCheck *work, HeapTuple *tuples, int n)
{
	pgqueue_pin();
	for (int i = 0; i < n; i++)
	{
		load(work, tuples[i]);
		ExecConstraints(work->rri, work->slot, work->estate);
	}
	pgqueue_unpin();
}

/* Errors: 23505 and 23P01, as the executor's. */
void
pgqueue_index_records(IndexAndCheck *work, HeapTuple *tuples, int n)
{
	if (work->rri->ri_NumIndices == 0)
		return;
	pgqueue_pin();
	for (int i = 0; i < n; i++)
	{
		load(work, tuples[i]);
		pgqueue_insert_index_tuples(work->rri, work->slot, work->estate);
	}
	pgqueue_unpin();
}

void
pgqueue_index_and_check_end(IndexAndCheck *work)
{
	if (work == NULL)
		return;
	ExecDropSingleTupleTableSlot(work->slot);
	ExecCloseIndices(work->rri);
	FreeExecutorState(work->estate);
	pfree(work);
}
