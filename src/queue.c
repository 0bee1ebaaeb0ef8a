/*-------------------------------------------------------------------------
 *
 * queue.c
 *	  The module: magic, settings, what lives as long as the backend.
 *
 * Memory contexts that outlive a call, all below CacheMemoryContext:
 *	 "queue topics"		the hash table of topic descriptions (catalog.c)
 *	 "queue topic"		one per topic: segments and converters (catalog.c)
 *	 "queue segments"	the hash table of segments' bounds (segment_list.c)
 * and below TopTransactionContext:
 *	 "queue rows"		rows of a running INSERT or COPY (face_buffer.c)
 *	 (none of its own)	notes of what waiters are to be told (wakeup.c)
 * and below TopMemoryContext of a background worker:
 *	 "queue maintenance", "queue launcher"	a pass (maintain_worker.c)
 *
 * Shared memory: two small structs, made on first use, no preload needed
 * (log_slot.c, wakeup.c).
 *
 *-------------------------------------------------------------------------
 */
#include "queue.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "tcop/utility.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

PG_MODULE_MAGIC;

/* queue.allow_ddl: lets DDL that drops or spoils a topic pass the guard. */
bool		pgqueue_allow_ddl = false;

void		_PG_init(void);

void
_PG_init(void)
{
	DefineCustomBoolVariable("queue.allow_ddl",
							 "Allows DDL that drops, rewrites or alters a topic's storage and view.",
							 "Meant for pg_restore --clean; "
							 "messages dropped this way are gone.",
							 &pgqueue_allow_ddl,
							 false,
							 PGC_SUSET,
							 0,
							 NULL, NULL, NULL);
	pgqueue_face_settings_init();
	pgqueue_slot_init();
	pgqueue_wakeup_init();
	pgqueue_shared_init();
	pgqueue_maintain_init();
	pgqueue_compact_init();
	pgqueue_code_init();
	pgqueue_maintain_worker_init();
	MarkGUCPrefixReserved("queue");

	pgqueue_pin_init();
	pgqueue_catalog_init();
	/*
	 * Who is registered first is called last: poll looks at what the
	 * transaction has written when the gathered rows have gone out.
	 */
	pgqueue_poll_init();
	pgqueue_face_buffer_init();
}

/* ---------------- checks that every entry point shares ---------------- */

/* Errors: 25006, for a function that writes. */
void
pgqueue_check_writable(const char *function)
{
	PreventCommandIfReadOnly(function);
	PreventCommandDuringRecovery(function);
	PreventCommandIfParallelMode(function);
}

/* Errors: 22004. */
void
pgqueue_check_not_null(FunctionCallInfo fcinfo, int arg, const char *name)
{
	if (PG_ARGISNULL(arg))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not be NULL", name)));
}

/*
 * An interval in milliseconds; a month has 30 days.
 *
 * Errors: 22023 if it is negative or beyond 10,000 days.
 */
int64
pgqueue_duration(const char *name, const Interval *interval)
{
	float8		days = (float8) interval->time / USECS_PER_DAY +
		interval->day + 30.0 * interval->month;

	if (days < 0 || days > 10000)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be between 0 and 10000 days", name)));
	return (int64) (days * SECS_PER_DAY * 1000.0);
}

/* The same of an argument; if_null: what NULL means. */
int64
pgqueue_duration_arg(FunctionCallInfo fcinfo, int arg, const char *name,
					 int64 if_null)
{
	return PG_ARGISNULL(arg) ? if_null :
		pgqueue_duration(name, PG_GETARG_INTERVAL_P(arg));
}
