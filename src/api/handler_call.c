/*-------------------------------------------------------------------------
 *
 * handler_call.c
 *	  Call a handler with messages, in a subtransaction, within its timeout.
 *
 * What the handler does outside of its tables must not outlast the call: settings
 * that it has changed go back, and it cannot change the role.  Deferred
 * constraints are checked before the subtransaction ends; at the commit it would
 * be too late to tell which message broke them.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "utils/array.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/regproc.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "topic/topic.h"
#include "api/process.h"

/* ---------------- timeout ---------------- */

/* Milliseconds between cancels of a handler that goes on after the first. */
#define CANCEL_AGAIN	1000

static TimeoutId timeout = MAX_TIMEOUTS;

/* The handler has run too long, and is being canceled. */
static volatile sig_atomic_t expired = false;

/* A statement_timeout runs, too; it ends the caller's statement. */
static bool statement_timer;

/* Cancel the handler, as pg_cancel_backend() does.  A signal handler. */
static void
expire(void)
{
	expired = true;
	QueryCancelPending = true;
	InterruptPending = true;
	SetLatch(MyLatch);
}

static void
timer_begin(int64 ms)
{
	if (ms == 0)
		return;
	if (timeout == MAX_TIMEOUTS)
		timeout = RegisterTimeout(USER_TIMEOUT, expire);
	expired = false;
	statement_timer = get_timeout_active(STATEMENT_TIMEOUT);
	enable_timeout_every(timeout,
						 TimestampTzPlusMilliseconds(GetCurrentTimestamp(), ms),
						 CANCEL_AGAIN);
}

/*
 * Stop the timer, and take a cancel of its back.  Return true if the handler has
 * run too long, and nothing else is known to cancel the caller.  (A cancel of a
 * user that arrives in the moments after the timer's is taken for that.)
 */
static bool
timer_end(int64 ms)
{
	if (ms == 0)
		return false;
	disable_timeout(timeout, false);
	if (!expired)
		return false;
	expired = false;
	if (statement_timer && !get_timeout_active(STATEMENT_TIMEOUT))
		return false;
	QueryCancelPending = false;
	return true;
}

/* Errors: 57014, if the handler has run too long and has swallowed the cancel. */
static void
timer_check(int64 ms)
{
	if (ms > 0 && expired)
		ereport(ERROR,
				(errcode(ERRCODE_QUERY_CANCELED),
				 errmsg("canceling the handler due to its timeout")));
}

/* ---------------- errors ---------------- */

/*
 * Return true if an error cancels the caller.  The handler can raise the same
 * SQLSTATE, but not from ProcessInterrupts().
 */
bool
pgqueue_is_cancel(const ErrorData *error)
{
	return error->sqlerrcode == ERRCODE_QUERY_CANCELED &&
		error->funcname != NULL &&
		strcmp(error->funcname, "ProcessInterrupts") == 0;
}

/*
 * Return true if an error tells that a transaction may succeed later as it is: a
 * conflict with another transaction, a lock, a lack of resources, an end or a
 * restart of a server, a connection.
 */
bool
pgqueue_is_outage(const ErrorData *error)
{
	switch (ERRCODE_TO_CATEGORY(error->sqlerrcode))
	{
		case ERRCODE_INSUFFICIENT_RESOURCES:
		case ERRCODE_CONNECTION_EXCEPTION:
			return true;
		case ERRCODE_OPERATOR_INTERVENTION:
			return error->sqlerrcode != ERRCODE_QUERY_CANCELED;
		default:
			return error->sqlerrcode == ERRCODE_T_R_SERIALIZATION_FAILURE ||
				error->sqlerrcode == ERRCODE_T_R_DEADLOCK_DETECTED ||
				error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE;
	}
}

/* ---------------- calls ---------------- */

static void
call(FmgrInfo *function, Datum argument)
{
	LOCAL_FCINFO(fcinfo, 1);
	PgStat_FunctionCallUsage usage;

	InitFunctionCallInfoData(*fcinfo, function, 1, InvalidOid, NULL, NULL);
	fcinfo->args[0].value = argument;
	fcinfo->args[0].isnull = false;
	pgstat_init_function_usage(fcinfo, &usage);
	(void) FunctionCallInvoke(fcinfo);
	pgstat_end_function_usage(&usage, true);
}

/*
 * SET CONSTRAINTS ALL: IMMEDIATE checks those that are deferred, and fires their
 * triggers; it lasts to the end of the transaction.
 */
static void
set_constraints(bool deferred)
{
	ConstraintsSetStmt *set = makeNode(ConstraintsSetStmt);

	set->deferred = deferred;
	AfterTriggerSetState(set);
}

typedef struct Call
{
	Batch	   *batch;
	int			n;
} Call;

static void
call_with_array(FmgrInfo *function, Batch *batch, int n)
{
	Datum	   *messages = palloc(Min(n, batch->n) * sizeof(Datum));

	while (batch->handed < n && pgqueue_batch_peek(batch))
		messages[batch->handed++] = pgqueue_batch_take(batch);
	batch->is_last_guilty = batch->handed == 1;
	call(function,
		 PointerGetDatum(construct_array(messages, batch->handed,
										 batch->handler->row_type,
										 -1, false, TYPALIGN_DOUBLE)));
}

static void
call_with_each(FmgrInfo *function, Batch *batch, int n)
{
	int64		limit = batch->subscription->timeout;
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "queue message",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);

	while (batch->handed < n && pgqueue_batch_peek(batch))
	{
		CHECK_FOR_INTERRUPTS();
		if (batch->handed > 0 && limit > 0)
		{
			disable_timeout(timeout, false);
			timer_check(limit);
			timer_begin(limit);
		}
		batch->handed++;
		batch->is_last_guilty = true;
		call(function, pgqueue_batch_take(batch));
		/* a deferred constraint that fails later does not tell whose it is */
		batch->is_last_guilty = batch->handed == 1;
		MemoryContextReset(context);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

/*
 * Call the handler with the next messages.  Within a subtransaction, which an error
 * rolls back, together with the settings and the user.
 */
static void
call_handler(void *arg)
{
	Call	   *task = arg;
	Batch	   *batch = task->batch;
	Oid			user;
	int			security;
	int			nest;
	FmgrInfo	function;

	GetUserIdAndSecContext(&user, &security);
	SetUserIdAndSecContext(user, security | SECURITY_LOCAL_USERID_CHANGE);
	nest = NewGUCNestLevel();
	fmgr_info(batch->handler->function, &function);
	/*
	 * There is no way back to the constraints' own settings.  Those that are
	 * immediate by default wait for the end of this message now, too.
	 */
	if (batch->checked)
		set_constraints(true);
	timer_begin(batch->subscription->timeout);
	if (batch->handler->whole_batch)
		call_with_array(&function, batch, task->n);
	else
		call_with_each(&function, batch, task->n);
	set_constraints(false);
	timer_check(batch->subscription->timeout);
	AtEOXact_GUC(false, nest);
	SetUserIdAndSecContext(user, security);
}

/*
 * Hand the next messages, at most n, to the handler, in a subtransaction.  Return
 * NULL if that succeeded; else the error, after the subtransaction was rolled back.
 * The error of a handler that ran too long is 57014, with *handler_expired set.
 * Sets batch->handed and batch->is_last_guilty.
 */
ErrorData *
pgqueue_handle(Batch *batch, int n, bool *handler_expired)
{
	int64		limit = batch->subscription->timeout;
	ErrorData  *error;

	batch->handed = 0;
	error = pgqueue_any_error(call_handler, &(Call) {batch, n});
	batch->checked |= error == NULL;
	*handler_expired = timer_end(limit) && error != NULL &&
		error->sqlerrcode == ERRCODE_QUERY_CANCELED;
	if (*handler_expired)
		error->message = psprintf(_("handler %s ran longer than its timeout of " INT64_FORMAT " ms"),
								  batch->subscription->handler, limit);
	return error;
}
