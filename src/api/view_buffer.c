/*-------------------------------------------------------------------------
 *
 * view_buffer.c
 *	  Rows of an INSERT or COPY into a topic's view, gathered.
 *
 * The view's trigger is called row by row; appending each row by itself costs
 * four times what appending a thousand together does.  So the rows of a
 * statement that cannot ask for their offsets wait here (src/README, section
 * 15).  What could tell the difference is the order relative to messages that
 * functions called by the statement produce.  Those let the waiting rows go
 * first, unless they are produced in a subtransaction of their own.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "nodes/plannodes.h"
#include "tcop/pquery.h"
#include "utils/memutils.h"
#include "utils/portal.h"
#include "utils/snapmgr.h"

#include "base/data.h"
#include "topic/message.h"
#include "topic/topic.h"
#include "producer/producer.h"
#include "api/api.h"

#define BUFFER_ROWS		1000
#define BUFFER_BYTES	(256 * 1024)

typedef struct ViewBuffer
{
	MemoryContext context;		/* of the rows; may be NULL without any */
	uint64		statement;		/* that gave the rows: its number */
	SubTransactionId subid;
	char		topic[NAMEDATALEN];
	int32		topic_id;
	ProducerArgs producer;		/* name in context; sequence of the first row */
	Oid			user;			/* of the statement */
	int			sec_context;
	HeapTuple	rows[BUFFER_ROWS];
	int			nrows;
	Size		bytes;
} ViewBuffer;

static ViewBuffer buffer;

static void
forget(void)
{
	if (buffer.context != NULL)
		MemoryContextDelete(buffer.context);
	buffer.context = NULL;
	buffer.nrows = 0;
	buffer.bytes = 0;
}

/*
 * Append rows of a statement, as its producer if it has one: the rows'
 * sequences are producer->sequence and those behind.  Return where the messages
 * are that were stored before, or NULL if none was.
 */
const MessageAddress *
pgqueue_view_append(Topic *topic, HeapTuple *rows, int nrows,
					const ProducerArgs *producer)
{
	ProducerClaim claim = {0};
	int64	   *sequences;

	if (producer->name != NULL)
	{
		sequences = palloc(nrows * sizeof(int64));
		for (int i = 0; i < nrows; i++)
			sequences[i] = producer->sequence + i;
		pgqueue_claim(topic, producer->name, producer->epoch, sequences, nrows,
					  &claim);
		rows += claim.nduplicates;
		nrows -= claim.nduplicates;
	}

	pgqueue_append_all(pgqueue_topic_refresh(topic), rows, nrows);
	if (producer->name != NULL)
		pgqueue_claim_complete(&claim, rows, NULL);
	return claim.places;
}

/*
 * Return true if rows of the statement with this state may be gathered: if it
 * is the one that the active portal itself runs, so that its state hangs
 * directly below the portal, and can do without the offsets of its rows.
 */
bool
pgqueue_view_may_gather(MemoryContext statement)
{
	Portal		portal = ActivePortal;
	PlannedStmt *stmt;

	if (portal == NULL || list_length(portal->stmts) != 1 ||
		portal->strategy != PORTAL_MULTI_QUERY ||
		MemoryContextGetParent(statement) != PortalContext)
		return false;
	stmt = linitial_node(PlannedStmt, portal->stmts);
	if (stmt->commandType == CMD_UTILITY)
		return IsA(stmt->utilityStmt, CopyStmt);
	return stmt->commandType == CMD_INSERT &&
		!stmt->hasReturning && !stmt->hasModifyingCTE;
}

/*
 * Append what was gathered, as the user that gave the rows: a SECURITY DEFINER
 * function may be running by now, and the topic's constraints run code.  That
 * code may produce, and insert, too: the buffer is free for it before.
 */
static void
append_rows(void)
{
	ViewBuffer	taken = buffer;
	Oid			save_user;
	int			save_sec_context;
	MemoryContext old = MemoryContextSwitchTo(taken.context);
	Topic	   *topic = pgqueue_topic(taken.topic);

	pgqueue_check_same(topic, taken.topic_id);
	GetUserIdAndSecContext(&save_user, &save_sec_context);
	SetUserIdAndSecContext(taken.user, taken.sec_context);
	buffer.context = NULL;
	forget();
	(void) pgqueue_view_append(topic, taken.rows, taken.nrows, &taken.producer);
	SetUserIdAndSecContext(save_user, save_sec_context);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(taken.context);
}

/*
 * Let a statement's row wait; the record is copied.  Return false if the row
 * must be appended by itself: another statement's rows are waiting; or it
 * points to large values in a table, which a function that the statement calls
 * may truncate or drop before the statement ends.
 */
bool
pgqueue_view_gather(const ViewStatement *statement, Topic *topic,
					HeapTuple record)
{
	MemoryContext old;

	if (HeapTupleHasExternal(record))
		return false;
	if (buffer.nrows > 0 &&
		(buffer.statement != statement->number ||
		 buffer.subid != GetCurrentSubTransactionId() ||
		 buffer.topic_id != topic->id))
		return false;
	if (buffer.nrows == 0)
	{
		forget();
		buffer.context = AllocSetContextCreate(TopTransactionContext,
											   "queue rows",
											   ALLOCSET_DEFAULT_SIZES);
		buffer.statement = statement->number;
		buffer.subid = GetCurrentSubTransactionId();
		strlcpy(buffer.topic, topic->name, NAMEDATALEN);
		buffer.topic_id = topic->id;
		GetUserIdAndSecContext(&buffer.user, &buffer.sec_context);
		buffer.producer = statement->producer;
		if (buffer.producer.name != NULL)
			buffer.producer.name = MemoryContextStrdup(buffer.context,
													   buffer.producer.name);
	}

	old = MemoryContextSwitchTo(buffer.context);
	buffer.rows[buffer.nrows++] = heap_copytuple(record);
	buffer.bytes += record->t_len;
	MemoryContextSwitchTo(old);
	if (buffer.nrows == BUFFER_ROWS || buffer.bytes >= BUFFER_BYTES)
		append_rows();
	return true;
}

/*
 * Append what waits: its statement has ended, or something else is about to be
 * produced.  Not in another subtransaction than the rows': its rollback would
 * take them along.  Then they go on waiting for their own statement's end.
 */
void
pgqueue_view_flush(void)
{
	if (buffer.nrows > 0 && buffer.subid == GetCurrentSubTransactionId())
		append_rows();
}

/* ---------------- ends of transactions ---------------- */

/*
 * Append what waits at the end of a transaction or subtransaction.  A
 * producer's state is compared with the snapshot, and a constraint's function
 * may want to run queries; COMMIT and RELEASE come without a snapshot.
 */
static void
flush_at_end(void)
{
	PushActiveSnapshot(GetTransactionSnapshot());
	pgqueue_view_flush();
	PopActiveSnapshot();
}

static void
xact_callback(XactEvent event, void *arg)
{
	bool		ends = event == XACT_EVENT_PRE_COMMIT ||
		event == XACT_EVENT_PRE_PREPARE;

	if (ends && buffer.nrows > 0)
		flush_at_end();
	else if (ends || event == XACT_EVENT_ABORT)
		forget();
}

static void
subxact_callback(SubXactEvent event, SubTransactionId subid,
				 SubTransactionId parent, void *arg)
{
	if (buffer.nrows == 0 || buffer.subid != subid)
		return;
	if (event == SUBXACT_EVENT_PRE_COMMIT_SUB)
		flush_at_end();
	else if (event == SUBXACT_EVENT_ABORT_SUB)
		forget();
}

void
pgqueue_view_buffer_init(void)
{
	RegisterXactCallback(xact_callback, NULL);
	RegisterSubXactCallback(subxact_callback, NULL);
}
