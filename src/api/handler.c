/*-------------------------------------------------------------------------
 *
 * handler.c
 *	  Find the function that handles a subscription's messages, and check that it
 *	  can, and that it may be called.
 *
 * A handler runs with the rights of the role that calls queue.process(), or that
 * a worker works for.  Another role must not gain these rights, so a function is
 * called only if
 *
 *	- the role that subscribed has all rights of the role that calls: it could do
 *	  what the function does in another way (batch.c);
 *	- the function has the owner that it had then: if it was dropped, another role
 *	  may have made one of the same name;
 *	- it belongs to a superuser, if the calling role is one.
 *
 * As with any function that a statement calls, the role that subscribes trusts the
 * function's owner, who may replace it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_proc.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "base/compat.h"
#include "topic/message.h"
#include "api/process.h"

/* Return a function's signature, all names qualified; NULL if it is gone. */
char *
pgqueue_handler_signature(Oid function)
{
	return format_procedure_extended(function, FORMAT_PROC_FORCE_QUALIFY |
									 FORMAT_PROC_INVALID_AS_NULL);
}

/*
 * Return true if a type is that of messages of a topic, or an array of it; set the
 * handler's columns that tell which.
 */
static bool
takes_messages(Oid type, const Topic *topic, Handler *handler)
{
	Oid			element = get_element_type(type);
	TupleDesc	desc;
	bool		result;

	handler->whole_batch = OidIsValid(element);
	handler->row_type = handler->whole_batch ? element : type;
	if (get_typtype(handler->row_type) != TYPTYPE_COMPOSITE)
		return false;
	desc = lookup_rowtype_tupdesc(handler->row_type, -1);
	result = pgqueue_is_message_row(desc, topic->value_type);
	ReleaseTupleDesc(desc);
	return result;
}

/* Use within ereport(), for a function that takes something else. */
static int
errhint_argument(const Topic *topic)
{
	if (topic->value_type == JSONBOID)
		return errhint("A handler has one argument, of type queue.message or queue.message[].");
	return errhint("A handler has one argument, of a composite type with the columns of queue.message but for column value, which has type %s; or of an array of that type.",
				   format_type_be(topic->value_type));
}

/* Errors: 42501. */
static void
check_rights(Oid function, Oid owner)
{
	if (pgqueue_function_aclcheck(function, GetUserId(), ACL_EXECUTE) !=
		ACLCHECK_OK)
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_FUNCTION,
					   get_func_name(function));
	if (superuser() && !superuser_arg(owner))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("function %s cannot handle messages for a superuser",
						format_procedure(function)),
				 errdetail("It belongs to role \"%s\", which would gain the rights of a superuser.",
						   GetUserNameFromId(owner, false)),
				 errhint("Subscribe and process as role \"%s\", or as another role that is no superuser.",
						 GetUserNameFromId(owner, false))));
}

/* Errors: 42809, 42804, 0A000. */
static void
check_shape(Oid function, Form_pg_proc proc, const Topic *topic,
			Handler *handler)
{
	if (proc->prokind != PROKIND_FUNCTION || proc->proretset)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 proc->proretset ?
				 errmsg("handler %s returns a set", format_procedure(function)) :
				 errmsg("handler %s is not a function",
						format_procedure(function)),
				 errhint("A handler is a function that returns void, or a value that is ignored.")));
	if (proc->pronargs != 1 ||
		!takes_messages(proc->proargtypes.values[0], topic, handler))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("function %s does not take messages of topic \"%s\"",
						format_procedure(function), topic->name),
				 errhint_argument(topic)));
	if (isAnyTempNamespace(proc->pronamespace))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("function %s is temporary", format_procedure(function)),
				 errhint("A subscription lasts longer than a session.")));
}

/*
 * Check that a function can handle messages of a topic, and that the user may have
 * it called.
 *
 * Errors: 42883, 42809, 42804, 0A000, 42501.
 */
void
pgqueue_handler_check(Oid function, const Topic *topic, Handler *handler)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Form_pg_proc proc;

	if (!HeapTupleIsValid(tuple))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("function with OID %u does not exist", function)));
	proc = (Form_pg_proc) GETSTRUCT(tuple);
	handler->function = function;
	handler->owner = proc->proowner;
	check_shape(function, proc, topic, handler);
	check_rights(function, proc->proowner);
	ReleaseSysCache(tuple);
}

/* Return the function that has a signature now, or InvalidOid. */
static Oid
look_up(const char *signature)
{
	LOCAL_FCINFO(fcinfo, 1);
	int			nest = pgqueue_pin_search_path();
	Datum		function;

	InitFunctionCallInfoData(*fcinfo, NULL, 1, InvalidOid, NULL, NULL);
	fcinfo->args[0].value = CStringGetTextDatum(signature);
	fcinfo->args[0].isnull = false;
	function = to_regprocedure(fcinfo);
	AtEOXact_GUC(false, nest);
	return fcinfo->isnull ? InvalidOid : DatumGetObjectId(function);
}

/*
 * Find a subscription's handler.  *handler: as it was found before, or zeros.
 *
 * Errors: those of pgqueue_handler_check(), of which 42883 and 42501 also if it was
 * dropped, or has another owner.
 */
void
pgqueue_handler_find(const Subscription *subscription, const Topic *topic,
					 Handler *handler)
{
	const char *wanted = subscription->handler;
	const char *known = OidIsValid(handler->function) ?
		pgqueue_handler_signature(handler->function) : NULL;
	Oid			function = handler->function;

	if (known == NULL || strcmp(known, wanted) != 0)
		function = look_up(wanted);
	if (!OidIsValid(function))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("handler %s does not exist", wanted),
				 errhint("Make the function, or call queue.subscribe() with another one.")));
	pgqueue_handler_check(function, topic, handler);
	if (handler->owner != pgqueue_role_oid(&subscription->handler_owner))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("handler %s belongs to another role than when it was subscribed",
						wanted),
				 errdetail("It belongs to role \"%s\" now.",
						   GetUserNameFromId(handler->owner, false)),
				 errhint("If the function is to be called, call queue.subscribe() again.")));
}
