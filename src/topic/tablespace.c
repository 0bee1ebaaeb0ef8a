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

static bool
may_create(Oid tablespace, Oid role)
{
	return tablespace == MyDatabaseTableSpace ||
		pgqueue_tablespace_aclcheck(tablespace, role,
									ACL_CREATE) == ACLCHECK_OK;
}

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
	if (!may_create(tablespace, role))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for tablespace \"%s\"", name),
				 errhint("Grant CREATE ON TABLESPACE %s to \"%s\".",
						 quote_identifier(name), GetUserNameFromId(role, false))));
	return tablespace;
}

/*
 * Return " TABLESPACE name", or nothing: for the default, and, so that no
 * producer fails for it, if the tablespace is gone (a restore into another
 * server) or the owner of the topic may not create there any more.  TOAST lies
 * with its table.
 */
const char *
pgqueue_tablespace_clause(const Topic *topic, Oid owner)
{
	Oid			tablespace;

	if (topic->tablespace[0] == '\0')
		return "";
	tablespace = get_tablespace_oid(topic->tablespace, true);
	if (OidIsValid(tablespace) && may_create(tablespace, owner))
		return psprintf(" TABLESPACE %s", quote_identifier(topic->tablespace));
	ereport(WARNING,
			(errmsg("tablespace \"%s\" cannot be used for topic \"%s\"",
					topic->tablespace, topic->name),
			 OidIsValid(tablespace) ?
			 errdetail("The topic's owner may not create tables there.") :
			 errdetail("It does not exist."),
			 errhint("New segments are made in the database's default tablespace; queue.alter_topic() changes it.")));
	return "";
}
