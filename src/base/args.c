/*-------------------------------------------------------------------------
 *
 * args.c
 *	  Arguments of SQL functions, and the rows that these return.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/parallel.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/tuplestore.h"

#include "base/base.h"

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
	{
		pgqueue_note_use();
		return;
	}
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

/* Return a name that an argument gives.  Errors: 42602 if empty or overlong. */
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

/* ---------------- rows ---------------- */

/*
 * A row type may have more columns than this library knows, if a later version
 * or a user appended some, or fewer, if the extension was not updated yet.  Rows
 * are formed as the type has them: columns that are not known are NULL, and those
 * that are not there are left out.
 */

/*
 * Check that a row type begins with the columns that C fills, by their types.
 *
 * types: InvalidOid for a column that the caller checks.
 * Errors: 55000.
 */
void
pgqueue_check_result(TupleDesc desc, const Oid *types, int n)
{
	bool		altered = desc->natts < n;

	for (int i = 0; i < n && !altered; i++)
		altered = TupleDescAttr(desc, i)->attisdropped ||
			(OidIsValid(types[i]) &&
			 TupleDescAttr(desc, i)->atttypid != types[i]);
	if (altered)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the row type that the function returns was altered"),
				 errdetail("Its first columns are not those that the extension has made.")));
}

/* Form the row of n known columns.  The type must be blessed to be returned. */
HeapTuple
pgqueue_form_row(TupleDesc desc, const Datum *values, const bool *nulls, int n)
{
	Datum	   *all_values;
	bool	   *all_nulls;

	if (likely(desc->natts <= n))
		return heap_form_tuple(desc, unconstify(Datum *, values),
							   unconstify(bool *, nulls));
	all_values = palloc0(desc->natts * sizeof(Datum));
	all_nulls = palloc(desc->natts * sizeof(bool));
	memset(all_nulls, true, desc->natts * sizeof(bool));
	memcpy(all_values, values, n * sizeof(Datum));
	memcpy(all_nulls, nulls, n * sizeof(bool));
	return heap_form_tuple(desc, all_values, all_nulls);
}

/* Return the row of n known columns from a function. */
Datum
pgqueue_return_row(FunctionCallInfo fcinfo, const Datum *values,
				   const bool *nulls, int n)
{
	TupleDesc	desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	return HeapTupleGetDatum(pgqueue_form_row(BlessTupleDesc(desc), values,
											  nulls, n));
}

/* Add the row of n known columns to the set that a function returns. */
void
pgqueue_put_row(ReturnSetInfo *rsinfo, const Datum *values, const bool *nulls,
				int n)
{
	TupleDesc	desc = rsinfo->setDesc;

	if (likely(desc->natts <= n))
		tuplestore_putvalues(rsinfo->setResult, desc,
							 unconstify(Datum *, values),
							 unconstify(bool *, nulls));
	else
	{
		HeapTuple	row = pgqueue_form_row(desc, values, nulls, n);

		tuplestore_puttuple(rsinfo->setResult, row);
		heap_freetuple(row);
	}
}
