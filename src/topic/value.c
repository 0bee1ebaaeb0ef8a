/*-------------------------------------------------------------------------
 *
 * value.c
 *	  From what the caller gives as a message's value to the topic's type.
 *
 * Both ways may run user code (a domain's CHECK), so they are gone before the
 * append begins, and the topic is looked up again after them.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "parser/parse_coerce.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "base/lock.h"
#include "topic/message.h"
#include "topic/topic.h"

/* Use within ereport(), for a value of another type than the topic's. */
int
pgqueue_errmsg_type(const Topic *topic, Oid type)
{
	return errmsg("topic \"%s\" has values of type %s, not %s", topic->name,
				  format_type_be(topic->value_type), format_type_be(type));
}

static void
prepare_input(Topic *topic)
{
	Oid			function;
	Oid			base;

	if (topic->input_ready)
		return;
	base = getBaseType(topic->value_type);
	getTypeInputInfo(topic->value_type, &function, &topic->input_ioparam);
	fmgr_info_cxt(function, &topic->input, topic->context);
	topic->domain_base = base == topic->value_type ? InvalidOid : base;
	topic->input_ready = true;
}

/* Errors: those of the type's input function, 22P02 for most. */
Datum
pgqueue_value_from_text(Topic *topic, Datum value, bool isnull)
{
	char	   *str = NULL;

	if (topic->value_type == TEXTOID)
		return value;
	prepare_input(topic);
	if (isnull && !OidIsValid(topic->domain_base))
		return (Datum) 0;
	if (!isnull)
		str = TextDatumGetCString(value);
	/* a domain must see NULL too */
	pgqueue_pin();
	value = InputFunctionCall(&topic->input, str, topic->input_ioparam, -1);
	pgqueue_unpin();
	return value;
}

/* Errors: 42804 if the value has another type; 23514 by a domain's CHECK. */
Datum
pgqueue_value_from_typed(Topic *topic, Oid type, Datum value, bool isnull)
{
	if (type == topic->value_type)
		return value;

	prepare_input(topic);
	if (OidIsValid(topic->domain_base) &&
		IsBinaryCoercible(type, topic->domain_base))
	{
		pgqueue_pin();
		domain_check(value, isnull, topic->value_type, &topic->domain_extra,
					 topic->context);
		pgqueue_unpin();
		return value;
	}
	if (IsBinaryCoercible(type, topic->value_type))
		return value;

	ereport(ERROR,
			(errcode(ERRCODE_DATATYPE_MISMATCH),
			 pgqueue_errmsg_type(topic, type),
			 errhint("Cast the value to %s.",
					 format_type_be(topic->value_type))));
}
