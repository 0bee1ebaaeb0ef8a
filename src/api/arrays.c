/*-------------------------------------------------------------------------
 *
 * arrays.c
 *	  Arrays as arguments of queue.produce_batch(), taken apart.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"

#include "api/api.h"

/*
 * Return the type of an argument that may be of several.  A function call message
 * of the protocol (fast path) says none.
 *
 * Errors: 42P18.
 */
Oid
pgqueue_argument_type(FunctionCallInfo fcinfo, int arg, const char *name)
{
	Oid			type = get_fn_expr_argtype(fcinfo->flinfo, arg);

	if (!OidIsValid(type))
		ereport(ERROR,
				(errcode(ERRCODE_INDETERMINATE_DATATYPE),
				 errmsg("could not determine the type of %s", name),
				 errhint("Call the function in an SQL statement.")));
	return type;
}

/*
 * Return an array argument.  Given as text, the form of an untyped literal or
 * driver parameter, it is read as text[].
 */
ArrayType *
pgqueue_array_arg(FunctionCallInfo fcinfo, int arg, const char *name)
{
	char	   *str;

	if (pgqueue_argument_type(fcinfo, arg, name) != TEXTOID)
		return PG_GETARG_ARRAYTYPE_P(arg);
	str = text_to_cstring(PG_GETARG_TEXT_PP(arg));
	return DatumGetArrayTypeP(OidInputFunctionCall(F_ARRAY_IN, str, TEXTOID, -1));
}

/*
 * Errors: 22023 for more than one dimension, or another number of elements
 * than expected (-1: any).
 */
void
pgqueue_take_apart(FunctionCallInfo fcinfo, int arg, const char *name,
				   int expected, Elements *elements)
{
	ArrayType  *array = pgqueue_array_arg(fcinfo, arg, name);
	int16		typlen;
	bool		typbyval;
	char		typalign;

	if (ARR_NDIM(array) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be a one-dimensional array", name)));
	elements->type = ARR_ELEMTYPE(array);
	get_typlenbyvalalign(elements->type, &typlen, &typbyval, &typalign);
	deconstruct_array(array, elements->type, typlen, typbyval, typalign,
					  &elements->values, &elements->nulls, &elements->n);
	if (expected >= 0 && elements->n != expected)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s has %d elements, but batch has %d",
						name, elements->n, expected)));
}

/* Leave out the first n elements. */
void
pgqueue_skip_elements(Elements *elements, int n)
{
	if (elements->n == 0)
		return;
	elements->values += n;
	elements->nulls += n;
	elements->n -= n;
}
