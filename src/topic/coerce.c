/*-------------------------------------------------------------------------
 *
 * coerce.c
 *	  A value of another type than the topic's, converted as INSERT does.
 *
 * The parser chooses the conversion, in the context of an assignment, and the
 * executor runs it as the caller.  A domain's CHECKs are left to message.c, which
 * learns of it when they are changed.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "executor/executor.h"
#include "nodes/makefuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parse_coerce.h"
#include "parser/parse_collate.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "topic/message.h"
#include "topic/topic.h"

/* Use within ereport(), for a value of another type than the topic's. */
int
pgqueue_errmsg_type(const Topic *topic, Oid type)
{
	return errmsg("topic \"%s\" has values of type %s, not %s", topic->name,
				  format_type_be(topic->value_type), format_type_be(type));
}

/* Return the expression that converts a value that is given, or NULL. */
static Expr *
conversion(Oid from, Oid to)
{
	CaseTestExpr *value = makeNode(CaseTestExpr);
	Node	   *result;

	value->typeId = from;
	value->typeMod = -1;
	value->collation = get_typcollation(from);
	/* a row without a type cannot be taken apart here */
	result = from == RECORDOID ? NULL :
		coerce_to_target_type(NULL, (Node *) value, from, to, -1,
							  COERCION_ASSIGNMENT, COERCE_IMPLICIT_CAST, -1);
	if (result != NULL)
		assign_expr_collations(NULL, result);
	return (Expr *) result;
}

/* Say how the caller can still produce a value that INSERT would refuse. */
static int
errhint_no_conversion(Oid from, Oid to)
{
	Oid			function;

	if (from == RECORDOID ||
		find_coercion_pathway(getBaseType(to), from, COERCION_EXPLICIT,
							  &function) != COERCION_PATH_NONE)
		return errhint("Cast the value to %s.", format_type_be(to));
	if (getBaseType(to) == JSONBOID)
		return errhint("Convert the value with to_jsonb(), or pass it as text.");
	return errhint("Pass the value as text, in the form that type %s reads.",
				   format_type_be(to));
}

/*
 * Prepare the conversion to a type, the topic's or the base type of that.
 *
 * Errors: 42804 if there is none that an assignment may use; 42501 if the caller
 * may not call its function.
 */
static void
prepare(ValueCast *cast, const Topic *topic, Oid to)
{
	MemoryContext context;
	MemoryContext old;
	Expr	   *expr;

	if (cast->context != NULL)
		MemoryContextDelete(cast->context);
	cast->context = NULL;
	cast->to = InvalidOid;
	context = AllocSetContextCreate(cast->parent, "queue value cast",
									ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(context);
	expr = conversion(cast->from, to);
	if (expr == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 pgqueue_errmsg_type(topic, cast->from),
				 errhint_no_conversion(cast->from, topic->value_type)));
	cast->state = ExecInitExpr(expression_planner(expr), NULL);
	cast->econtext = CreateStandaloneExprContext();
	MemoryContextSwitchTo(old);
	cast->context = context;
	cast->to = to;
}

/*
 * Convert a value, which may be NULL, and may become or cease to be.  Runs the
 * function of the cast, which may do anything.
 *
 * Errors: those of prepare(), and of the function.
 */
Datum
pgqueue_cast_value(ValueCast *cast, const Topic *topic, Oid to, Datum value,
				   bool *isnull)
{
	if (cast->to != to)
		prepare(cast, topic, to);
	cast->econtext->caseValue_datum = value;
	cast->econtext->caseValue_isNull = *isnull;
	return ExecEvalExpr(cast->state, cast->econtext, isnull);
}
