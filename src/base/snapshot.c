/*-------------------------------------------------------------------------
 *
 * snapshot.c
 *	  Check a row of a registry table against the transaction's snapshot.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/snapmgr.h"

#include "base/base.h"

/*
 * Check that the transaction's snapshot, if it keeps one, knows the transaction
 * xmin, which wrote the newest row; the caller holds the lock under which such
 * rows are written.  Otherwise the row lies in the transaction's future.
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
