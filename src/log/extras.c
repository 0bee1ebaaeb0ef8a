/*-------------------------------------------------------------------------
 *
 * extras.c
 *	  Indexes and CHECK constraints on a segment.
 *
 * The hot path writes records without the executor.  An owner may add an index
 * to the topic's table, to find messages by key, or a CHECK constraint: then
 * each append does for them what the executor would do.  Constraints are
 * checked before offsets are assigned (a constraint on "offset" or "timestamp"
 * sees zero and 2000-01-01), indexes are filled after the append lock.
 * Triggers and generated columns are refused: a trigger would have to run
 * between the two.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "executor/executor.h"
#include "nodes/makefuncs.h"

#include "base/compat.h"
#include "base/lock.h"
#include "log/log.h"
#include "log/write.h"

struct LogExtras
{
	EState	   *estate;
	ResultRelInfo *rri;
	TupleTableSlot *slot;
};

pg_noreturn static void refuse(Relation leaf, const char *what);

static void
refuse(Relation leaf, const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("segment \"%s\" has %s, which producing does not support",
					RelationGetRelationName(leaf), what),
			 errhint("Only indexes and CHECK constraints may be added to a topic's table.")));
}

/*
 * Return NULL, at the cost of a few comparisons, for a segment without indexes
 * and constraints.
 */
LogExtras *
pgqueue_extras_begin(Relation leaf)
{
	TupleDesc	desc = RelationGetDescr(leaf);
	LogExtras  *extras;

	if (likely(!leaf->rd_rel->relhasindex &&
			   leaf->trigdesc == NULL &&
			   desc->constr->num_check == 0 &&
			   !desc->constr->has_generated_stored))
		return NULL;

	if (leaf->trigdesc != NULL)
		refuse(leaf, "triggers");
	if (desc->constr->has_generated_stored)
		refuse(leaf, "generated columns");

	extras = palloc(sizeof(LogExtras));
	extras->estate = CreateExecutorState();
	extras->rri = makeNode(ResultRelInfo);
	InitResultRelInfo(extras->rri, leaf, 0, NULL, 0);
	ExecOpenIndices(extras->rri, false);
	extras->slot = MakeSingleTupleTableSlot(desc, &TTSOpsHeapTuple);
	return extras;
}

static void
load(LogExtras *extras, HeapTuple tuple)
{
	ResetPerTupleExprContext(extras->estate);
	ExecForceStoreHeapTuple(tuple, extras->slot, false);
	extras->slot->tts_tid = tuple->t_self;
	extras->slot->tts_tableOid = tuple->t_tableOid;
}

/* Errors: 23514, as the executor's. */
void
pgqueue_extras_check(LogExtras *extras, HeapTuple *tuples, int n)
{
	pgqueue_pin();
	for (int i = 0; i < n; i++)
	{
		load(extras, tuples[i]);
		ExecConstraints(extras->rri, extras->slot, extras->estate);
	}
	pgqueue_unpin();
}

/* Errors: 23505 and 23P01, as the executor's. */
void
pgqueue_extras_index(LogExtras *extras, HeapTuple *tuples, int n)
{
	if (extras->rri->ri_NumIndices == 0)
		return;
	pgqueue_pin();
	for (int i = 0; i < n; i++)
	{
		load(extras, tuples[i]);
		pgqueue_insert_index_tuples(extras->rri, extras->slot, extras->estate);
	}
	pgqueue_unpin();
}

void
pgqueue_extras_end(LogExtras *extras)
{
	if (extras == NULL)
		return;
	ExecDropSingleTupleTableSlot(extras->slot);
	ExecCloseIndices(extras->rri);
	FreeExecutorState(extras->estate);
	pfree(extras);
}
