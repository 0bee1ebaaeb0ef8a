/*-------------------------------------------------------------------------
 *
 * produce_args.c
 *	  Arguments of queue.produce() and produce_batch(): producers and arrays.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"

#include "base/base.h"
#include "api/api.h"

/*
 * Return producer_id and epoch, arguments 5 and 7 of either function, and check
 * whether a sequence may come with them, or a dedupe key of that name.
 *
 * Errors: 22004, 22023, 42602.
 */
ProducerArgs
pgqueue_producer_args(FunctionCallInfo fcinfo, bool has_sequence,
					  const char *sequence_name, bool has_key,
					  const char *key_name)
{
	ProducerArgs args = {0};

	if (PG_ARGISNULL(5))
	{
		if (has_sequence)
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("%s needs a producer_id", sequence_name)));
		if (!PG_ARGISNULL(7) && PG_GETARG_INT32(7) != 0)
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("epoch needs a producer_id")));
		return args;
	}
	if (has_key)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s and producer_id exclude each other", key_name)));
	args.name = pgqueue_name_arg(PG_GETARG_TEXT_PP(5), "producer_id");
	pgqueue_check_not_null(fcinfo, 7, "epoch");
	args.epoch = PG_GETARG_INT32(7);
	if (args.epoch < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("epoch must not be negative: %d", args.epoch)));
	return args;
}

/*
 * Return the type of an argument that may be of several.  A function call
 * message of the protocol (fast path) says none.
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
static ArrayType *
array_arg(FunctionCallInfo fcinfo, int arg, const char *name)
{
	char	   *str;

	if (pgqueue_argument_type(fcinfo, arg, name) != TEXTOID)
		return PG_GETARG_ARRAYTYPE_P(arg);
	str = text_to_cstring(PG_GETARG_TEXT_PP(arg));
	return DatumGetArrayTypeP(OidInputFunctionCall(F_ARRAY_IN, str, TEXTOID,
												   -1));
}

/*
 * Errors: 22023 for more than one dimension, or another number of elements
 * than expected (-1: any).
 */
void
pgqueue_take_apart(FunctionCallInfo fcinfo, int arg, const char *name,
				   int expected, Elements *elements)
{
	ArrayType  *array = array_arg(fcinfo, arg, name);
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
