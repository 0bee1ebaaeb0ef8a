/*-------------------------------------------------------------------------
 *
 * ddl.c
 *	  DDL that the extension runs, under a role and a search_path that it
 *	  chooses.
 *
 * The event trigger functions (api/guard.c) let such DDL pass.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "catalog/dependency.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_namespace.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "base/base.h"
#include "base/lock.h"
#include "base/run_as.h"

/* Return the owner of schema queue: that role may create tables there. */
Oid
pgqueue_extension_owner(void)
{
	Oid			owner = GetSysCacheOid1(NAMESPACENAME,
										Anum_pg_namespace_nspowner,
										CStringGetDatum(PGQUEUE_SCHEMA));

	if (!OidIsValid(owner))
		elog(ERROR, "schema \"%s\" does not exist", PGQUEUE_SCHEMA);
	return owner;
}

/* The extension's own DDL drops or detaches storage. */
bool		pgqueue_removing = false;

/* The segment that is being attached: its siblings need no check. */
Oid			pgqueue_attaching = InvalidOid;

/* queue.allow_ddl: lets DDL that drops or spoils a topic pass the guard. */
bool		pgqueue_allow_ddl = false;

static void
set_locally(const char *setting, const char *value)
{
	(void) set_config_option(setting, value, PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
}

/* Set a search_path that users cannot change; AtEOXact_GUC(true, result). */
int
pgqueue_pin_search_path(void)
{
	int			nest = NewGUCNestLevel();

	set_locally("search_path", "pg_catalog, pg_temp");
	return nest;
}

/*
 * Become a role, which restricts what its functions can do to the session, with a
 * search_path that users cannot change.  An error goes back to the user before, as
 * the end of its subtransaction.
 */
void
pgqueue_run_as(Oid role, RunAs *before)
{
	GetUserIdAndSecContext(&before->user, &before->security);
	SetUserIdAndSecContext(role, before->security |
						   SECURITY_LOCAL_USERID_CHANGE |
						   SECURITY_RESTRICTED_OPERATION);
	before->nest = pgqueue_pin_search_path();
}

void
pgqueue_run_as_end(const RunAs *before)
{
	AtEOXact_GUC(false, before->nest);
	SetUserIdAndSecContext(before->user, before->security);
}

/*
 * Raise the error at hand again, in a PG_CATCH() of what changes rows of the
 * catalog.  context: that of the caller, before the error.
 *
 * GRANT, COMMENT and others lock no relation: if another session's has changed the
 * catalog's row of a relation meanwhile, DDL on it fails with an internal error.
 *
 * Errors: the one at hand, or 40001 in place of it.
 */
void
pgqueue_rethrow_conflict(MemoryContext context)
{
	static const char *const conflicts[] = {
		"tuple concurrently ", "cache lookup failed for ",
		"could not find tuple for "
	};
	ErrorData  *error;

	if (geterrcode() != ERRCODE_INTERNAL_ERROR)
		PG_RE_THROW();
	MemoryContextSwitchTo(context);
	error = CopyErrorData();
	for (int i = 0; i < lengthof(conflicts); i++)
		if (strncmp(error->message, conflicts[i], strlen(conflicts[i])) == 0)
		{
			FlushErrorState();
			ereport(ERROR,
					(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
					 errmsg("another session has changed the same relation, or its rights, meanwhile"),
					 errdetail_internal("%s", error->message),
					 errhint("Try again.")));
		}
	PG_RE_THROW();
}

/*
 * Run DDL as a role, with a search_path that users cannot change.  The caller
 * has checked the user's rights.  removes: it drops or detaches storage, and runs
 * no user's code; attaches: the segment that it attaches, if any.
 *
 * As the extension's owner run only DDL that looks at nothing that users can
 * shape: functions of a topic's CHECKs and indexes would run with the owner's
 * rights.
 */
void
pgqueue_run_ddl_for(Oid role, const char *sql, bool removes, Oid attaches)
{
	Oid			save_attaching = pgqueue_attaching;
	bool		save_removing = pgqueue_removing;
	RunAs		before;
	MemoryContext context = CurrentMemoryContext;

	pgqueue_run_as(role, &before);
	/* the user's choice would be granted by the role's rights */
	set_locally("default_tablespace", "");
	set_locally("client_min_messages", "warning");
	pgqueue_removing = removes;
	pgqueue_attaching = attaches;
	pgqueue_pin();
	PG_TRY();
	{
		int			result;

		SPI_connect();
		result = SPI_execute(sql, false, 0);
		if (result < 0)
			elog(ERROR, "SPI_execute failed: %s", SPI_result_code_string(result));
		SPI_finish();
	}
	PG_CATCH();
	{
		pgqueue_removing = save_removing;
		pgqueue_attaching = save_attaching;
		pgqueue_rethrow_conflict(context);
	}
	PG_END_TRY();
	pgqueue_removing = save_removing;
	pgqueue_attaching = save_attaching;
	pgqueue_unpin();
	pgqueue_run_as_end(&before);
}

void
pgqueue_run_ddl(Oid role, const char *sql)
{
	pgqueue_run_ddl_for(role, sql, false, InvalidOid);
}

void
pgqueue_run_removal(Oid role, const char *sql)
{
	pgqueue_run_ddl_for(role, sql, true, InvalidOid);
}

/* Return a type's name for DDL, without a length: bpchar, not character(1). */
char *
pgqueue_type_name(Oid type)
{
	return format_type_extended(type, -1, FORMAT_TYPE_TYPEMOD_GIVEN |
								FORMAT_TYPE_FORCE_QUALIFY);
}

/* Return true if an object depends on this one, other than as a part of it. */
static bool
is_depended_on(Oid class, Oid object)
{
	Relation	rel = table_open(DependRelationId, AccessShareLock);
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		result = false;

	ScanKeyInit(&keys[0], Anum_pg_depend_refclassid, BTEqualStrategyNumber,
				F_OIDEQ, ObjectIdGetDatum(class));
	ScanKeyInit(&keys[1], Anum_pg_depend_refobjid, BTEqualStrategyNumber,
				F_OIDEQ, ObjectIdGetDatum(object));
	scan = systable_beginscan(rel, DependReferenceIndexId, true, NULL, 2, keys);
	while (!result && HeapTupleIsValid(tuple = systable_getnext(scan)))
		result = ((Form_pg_depend) GETSTRUCT(tuple))->deptype ==
			DEPENDENCY_NORMAL;
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return result;
}

/* Return true if no object of a user depends on a table. */
bool
pgqueue_is_droppable(Oid relid)
{
	Oid			type = get_rel_type_id(relid);

	return !is_depended_on(RelationRelationId, relid) &&
		!is_depended_on(TypeRelationId, type) &&
		!is_depended_on(TypeRelationId, get_array_type(type));
}
