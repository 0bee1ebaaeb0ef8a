/*-------------------------------------------------------------------------
 *
 * visibility.c
 *	  Visibility of a record: to a reader's snapshot (README, section 5), and to
 *	  all snapshots, for compaction (section 14).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heapam.h"
#include "storage/procarray.h"

#include "log/log.h"

/* Decide what a reader does with a record that its snapshot does not show. */
static Verdict
judge_invisible(HeapTupleHeader header, Snapshot snapshot)
{
	TransactionId xmin = HeapTupleHeaderGetRawXmin(header);

	if (HeapTupleHeaderXminInvalid(header))
		return VERDICT_SKIP;	/* known to have aborted */
	if (TransactionIdIsCurrentTransactionId(xmin))
		return VERDICT_STOP;	/* our own, later in this command */
	/* in this order: a transaction ends after its outcome is recorded */
	if (XidInMVCCSnapshot(xmin, snapshot) &&
		(TransactionIdIsInProgress(xmin) || TransactionIdDidCommit(xmin)))
		return VERDICT_STOP;
	return VERDICT_SKIP;		/* aborted or crashed, for good */
}

Verdict
pgqueue_judge(HeapTuple tuple, Buffer buffer, Relation segment,
			  Snapshot snapshot)
{
	bool		visible = HeapTupleSatisfiesVisibility(tuple, snapshot, buffer);

	HeapCheckForSerializableConflictOut(visible, segment, tuple, buffer,
										snapshot);
	return visible ? VERDICT_EMIT : judge_invisible(tuple->t_data, snapshot);
}

/*
 * Return true if the record is settled.  *unsettled: it may still appear, or
 * some snapshot does not show it.
 */
bool
pgqueue_is_settled(Settled *settled, HeapTuple tuple, Buffer buffer,
				   bool *unsettled)
{
	TransactionId xmin = HeapTupleHeaderGetRawXmin(tuple->t_data);
	HTSV_Result verdict;

	if (HeapTupleHeaderXminFrozen(tuple->t_data))
		return true;
	verdict = HeapTupleSatisfiesVacuum(tuple, settled->horizon, buffer);
	if (verdict == HEAPTUPLE_DEAD)
		return false;			/* aborted */
	if (verdict != HEAPTUPLE_LIVE ||
		!TransactionIdPrecedes(xmin, settled->horizon))
	{
		*unsettled = true;
		return false;
	}
	if (!TransactionIdIsValid(settled->newest) ||
		TransactionIdFollows(xmin, settled->newest))
		settled->newest = xmin;
	return true;
}
