/*-------------------------------------------------------------------------
 *
 * snapshot.c
 *	  Checks of a row of a registry table against the transaction's
 *	  snapshot.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/snapmgr.h"

#include "base/base.h"

/*
 * A transaction that keeps one snapshot must not act on state that the
 * snapshot does not know: what it says happened is in the future.  xmin: who
 * wrote the newest row, under whose lock we are.
 *
 * Errors: 40001.
 */
void
pgqueue_check_known(TransactionId xmin, const char *doing)
{
	if (IsolationUsesXactSnapshot() &&
		!TransactionIdIsCurrentTransactionId(xmin) &&
		XidInMVCCSnapshot(xmin, GetActiveSnapshot()))
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("could not serialize access due to concurrent %s",
						doing),
				 errhint("Retry the transaction.")));
}
