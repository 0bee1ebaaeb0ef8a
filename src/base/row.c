/*-------------------------------------------------------------------------
 *
 * row.c
 *	  Rows that functions return.
 *
 * A row type may have more columns than this library knows, if a later version
 * or a user appended some, or fewer, if the extension was not updated yet.  Rows
 * are formed as the type has them: columns that are not known are NULL, and those
 * that are not there are left out.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "funcapi.h"
#include "utils/tuplestore.h"

#include "base/base.h"

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
