/*-------------------------------------------------------------------------
 *
 * visibility.c
 *	  What becomes of a record that is read: it is emitted or skipped, or the
 *	  reader stops before it.
 *
 * A reader applies the stop rule; README, section 5, has it, and the proof that
 * it loses nothing.  Compaction has a rule of its own (section 14).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heapam.h"
#include "storage/procarray.h"

#include "log/log.h"

/* Apply the stop rule to a record. */
Verdict
pgqueue_judge(HeapTuple tuple, Buffer buffer, Relation segment,
			  Snapshot snapshot)
{
	bool		visible = HeapTupleSatisfiesVisibility(tuple, snapshot, buffer);
	TransactionId xmin = HeapTupleHeaderGetRawXmin(tuple->t_data);

	HeapCheckForSerializableConflictOut(visible, segment, tuple, buffer,
										snapshot);
	if (visible)
		return VERDICT_EMIT;
	if (HeapTupleHeaderXminInvalid(tuple->t_data))
		return VERDICT_SKIP;	/* known to have aborted */
	if (TransactionIdIsCurrentTransactionId(xmin))
		return VERDICT_STOP;	/* our own, later in this command */
	/* in this order: a transaction ends after its outcome is recorded */
	if (XidInMVCCSnapshot(xmin, snapshot) &&
		(TransactionIdIsInProgress(xmin) || TransactionIdDidCommit(xmin)))
		return VERDICT_STOP;
	return VERDICT_SKIP;		/* aborted or crashed, for good */
}

/* Return true if a record has aborted.  The buffer is locked. */
bool
pgqueue_has_aborted(HeapTuple tuple, Buffer buffer)
{
	/* the horizon matters only for records that were deleted */
	return HeapTupleSatisfiesVacuum(tuple, FirstNormalTransactionId,
									buffer) == HEAPTUPLE_DEAD;
}

/* Decide whether a record is settled (EMIT), aborted (SKIP) or neither (STOP). */
Verdict
pgqueue_judge_settled(Settled *settled, HeapTuple tuple, Buffer buffer)
{
	TransactionId xmin = HeapTupleHeaderGetRawXmin(tuple->t_data);
	HTSV_Result state;

	if (HeapTupleHeaderXminFrozen(tuple->t_data))
		return VERDICT_EMIT;
	state = HeapTupleSatisfiesVacuum(tuple, settled->horizon, buffer);
	if (state == HEAPTUPLE_DEAD)
		return VERDICT_SKIP;
	if (state != HEAPTUPLE_LIVE ||
		!TransactionIdPrecedes(xmin, settled->horizon))
		return VERDICT_STOP;
	if (TransactionIdFollows(xmin, settled->newest))
		settled->newest = xmin;
	return VERDICT_EMIT;
}
