/*-------------------------------------------------------------------------
 *
 * maintain_process.c
 *	  Processes that do maintenance: their settings, transactions, errors, signals
 *	  and sleep.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "executor/spi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/latch.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/base.h"
#include "base/compat.h"
#include "base/lock.h"
#include "topic/topic.h"
#include "api/maintain.h"

/* ---------------- transactions ---------------- */

/* This process was started for maintenance; else a CALL does it. */
static bool in_worker = false;

/* What is current between transactions. */
static MemoryContext outside;

/* Begin a transaction that pg_stat_activity shows with its own time. */
void
pgqueue_begin_transaction(void)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
}

/* Begin a transaction with a snapshot; in a CALL it has begun already. */
void
pgqueue_step_begin(void)
{
	outside = CurrentMemoryContext;
	if (in_worker)
		pgqueue_begin_transaction();
	PushActiveSnapshot(GetTransactionSnapshot());
}

void
pgqueue_step_end(void)
{
	PopActiveSnapshot();
	if (in_worker)
		CommitTransactionCommand();
	else
		SPI_commit();
	MemoryContextSwitchTo(outside);
}

/*
 * Write a row that a pass can do without, in the current transaction.  If the
 * disk is full, a WARNING tells, and the transaction goes on.
 */
void
pgqueue_write_if_room(void (*write) (void *arg), void *arg)
{
	ErrorData  *error;

	CommandCounterIncrement();
	error = pgqueue_any_error(write, arg);
	if (error == NULL)
		return;
	if (error->sqlerrcode != ERRCODE_DISK_FULL)
		ReThrowError(error);
	ereport(WARNING,
			(errcode(error->sqlerrcode),
			 errmsg("maintenance is not recorded: %s", error->message)));
	FreeErrorData(error);
}

/* Make this a process for maintenance, with the settings that it needs. */
void
pgqueue_maintenance_process(void)
{
	in_worker = true;
	SetConfigOption("application_name", "queue maintenance", PGC_USERSET,
					PGC_S_OVERRIDE);
	SetConfigOption("default_transaction_read_only", "off", PGC_USERSET,
					PGC_S_OVERRIDE);
	SetConfigOption("default_transaction_isolation", "read committed",
					PGC_USERSET, PGC_S_OVERRIDE);
	SetConfigOption("lock_timeout", psprintf("%d", PGQUEUE_LOCK_PATIENCE),
					PGC_SUSET, PGC_S_OVERRIDE);
	pgqueue_no_transaction_timeout();
}

/* ---------------- errors and signals ---------------- */

/*
 * After an error: log it, unless the process is to end, and abort the
 * transaction.  What failed is left to the next pass.
 */
void
pgqueue_report_failure(MemoryContext context)
{
	MemoryContextSwitchTo(context);
	HOLD_INTERRUPTS();
	if (!ShutdownRequestPending)
		EmitErrorReport();
	AbortCurrentTransaction();
	FlushErrorState();
	RESUME_INTERRUPTS();
	MemoryContextSwitchTo(context);
}

/*
 * Handle SIGTERM: cancel the current step, and end with success, so that the
 * postmaster does not start the worker again.
 */
static void
end_soon(SIGNAL_ARGS)
{
	int			save_errno = errno;

	ShutdownRequestPending = true;
	InterruptPending = true;
	QueryCancelPending = true;
	SetLatch(MyLatch);
	errno = save_errno;
}

void
pgqueue_set_up_signals(void)
{
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, end_soon);
	BackgroundWorkerUnblockSignals();
}

/*
 * Sleep so many ms, or until SIGTERM or SIGHUP; others set the latch, too.  Return
 * false if a signal has ended it.
 */
bool
pgqueue_nap(long ms)
{
	TimestampTz until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), ms);

	while (!ShutdownRequestPending && !ConfigReloadPending &&
		   (ms = TimestampDifferenceMilliseconds(GetCurrentTimestamp(),
												 until)) > 0)
	{
		(void) WaitLatch(MyLatch,
						 WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 ms, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		if (!ShutdownRequestPending)
			CHECK_FOR_INTERRUPTS();
	}
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
		return false;
	}
	return !ShutdownRequestPending;
}
