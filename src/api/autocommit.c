/*-------------------------------------------------------------------------
 *
 * autocommit.c
 *	  Tell a client that consumes outside a transaction block that it may lose
 *	  messages.
 *
 * Outside a transaction block the statement commits the group's offset before the
 * client has dealt with any message.  That is right only if the statement does the
 * work itself.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "nodes/execnodes.h"
#include "nodes/plannodes.h"
#include "tcop/dest.h"
#include "tcop/pquery.h"
#include "tcop/tcopprot.h"
#include "utils/portal.h"

#include "api/api.h"

/* queue.autocommit_warning */
bool		pgqueue_autocommit_warning = true;

/*
 * Return true if a portal runs COPY (SELECT ...) TO STDOUT, and estate is the state
 * of this query.  COPY keeps its executor to itself, but passes on the text of the
 * command as it is; a query within a function has another one.
 */
static bool
is_copied_out(Portal portal, const EState *estate)
{
	PlannedStmt *command = linitial_node(PlannedStmt, portal->stmts);
	CopyStmt   *copy = (CopyStmt *) command->utilityStmt;

	return copy != NULL && IsA(copy, CopyStmt) && !copy->is_from &&
		copy->filename == NULL && estate->es_sourceText == portal->sourceText;
}

/*
 * Return true if the rows of the query that this is the state of go to the client,
 * and the query does nothing else.  A query within a function has another state
 * than that of the portal, or another destination, and a portal of a command that
 * changes tables has no state.
 */
static bool
goes_to_client(const EState *estate)
{
	Portal		portal = ActivePortal;
	QueryDesc  *query;

	if (whereToSendOutput != DestRemote || portal == NULL || estate == NULL)
		return false;
	query = portal->queryDesc;
	if (query == NULL)
		return is_copied_out(portal, estate);
	if (query->estate != estate)
		return false;
	switch (query->dest->mydest)
	{
		case DestRemote:
		case DestRemoteExecute:
			return true;
		case DestTuplestore:
			/* of EXECUTE or a held cursor; a loop of PL/pgSQL pins its own */
			return !portal->portalPinned;
		default:
			return false;
	}
}

/*
 * Raise the WARNING, once in a session, if a call that has taken messages commits
 * before the client has them.  That further commands of a pipeline follow is not
 * known at its first one.
 */
void
pgqueue_warn_autocommit(FunctionCallInfo fcinfo)
{
	static bool warned = false;
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;

	if (warned || !pgqueue_autocommit_warning || IsInTransactionBlock(true) ||
		!goes_to_client(rsinfo->econtext->ecxt_estate))
		return;
	warned = true;
	ereport(WARNING,
			(errcode(ERRCODE_NO_ACTIVE_SQL_TRANSACTION),
			 errmsg("messages are consumed outside a transaction block"),
			 errdetail("They count as consumed before the client has them: if it fails, it does not get them again."),
			 errhint("Consume and do the work between BEGIN and COMMIT. If this is meant, turn setting \"queue.autocommit_warning\" off.")));
}
