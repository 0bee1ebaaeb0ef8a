/*-------------------------------------------------------------------------
 *
 * args.c
 *	  Checks and conversions of the arguments of SQL functions.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/parallel.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "base/base.h"

/* ---------------- checks that every entry point shares ---------------- */

/* Return the name of the SQL function that was called, for messages. */
const char *
pgqueue_called(FunctionCallInfo fcinfo)
{
	return psprintf("%s.%s()", PGQUEUE_SCHEMA,
					get_func_name(fcinfo->flinfo->fn_oid));
}

/* Check that the function that was called may write.  Errors: 25006, 25000. */
void
pgqueue_check_writable(FunctionCallInfo fcinfo)
{
	const char *function;

	if (likely(!XactReadOnly && !RecoveryInProgress() && !IsInParallelMode()))
		return;
	function = pgqueue_called(fcinfo);
	PreventCommandIfReadOnly(function);
	PreventCommandDuringRecovery(function);
	PreventCommandIfParallelMode(function);
}

/* Check that an argument is not NULL.  Errors: 22004. */
void
pgqueue_check_not_null(FunctionCallInfo fcinfo, int arg, const char *name)
{
	if (PG_ARGISNULL(arg))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not be NULL", name)));
}

/*
 * Return a name that an argument gives.
 *
 * Errors: 42602 for an empty or overlong name.
 */
char *
pgqueue_name_arg(const text *name, const char *kind)
{
	int			len = VARSIZE_ANY_EXHDR(name);

	if (len == 0 || len > PGQUEUE_MAX_NAME)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 len == 0 ? errmsg("%s must not be empty", kind) :
				 errmsg("%s is too long", kind),
				 errdetail("A name has 1 to %d bytes.", PGQUEUE_MAX_NAME)));
	return text_to_cstring(name);
}

/*
 * Return an interval in milliseconds; a month has 30 days.
 *
 * Errors: 22023 if it is negative or longer than 10,000 days.
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

/* Return an interval argument in milliseconds; if_null for NULL. */
int64
pgqueue_duration_arg(FunctionCallInfo fcinfo, int arg, const char *name,
					 int64 if_null)
{
	return PG_ARGISNULL(arg) ? if_null :
		pgqueue_duration(name, PG_GETARG_INTERVAL_P(arg));
}
