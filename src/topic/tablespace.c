/*-------------------------------------------------------------------------
 *
 * tablespace.c
 *	  Check a tablespace in which segments are to lie.
 *
 * api/tablespaces.c moves segments there, segment_make.c makes them there.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_tablespace.h"
#include "commands/tablespace.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "base/compat.h"
#include "topic/segment.h"
#include "topic/topic.h"

/*
 * Return the tablespace of that name, after checking that the role may create
 * tables there.
 *
 * Errors: 42704 if there is none, 42501, 22023 for the one of shared tables.
 */
Oid
pgqueue_tablespace(const char *name, Oid role)
{
	Oid			tablespace = get_tablespace_oid(name, false);

	if (tablespace == GLOBALTABLESPACE_OID)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("segments cannot be placed in tablespace \"%s\"", name)));
	if (tablespace == MyDatabaseTableSpace ||
		pgqueue_tablespace_aclcheck(tablespace, role,
									ACL_CREATE) == ACLCHECK_OK)
		return tablespace;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied for tablespace \"%s\"", name),
			 errhint("Grant CREATE ON TABLESPACE %s to \"%s\".",
					 quote_identifier(name), GetUserNameFromId(role, false))));
}
