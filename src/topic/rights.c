/*-------------------------------------------------------------------------
 *
 * rights.c
 *	  Rights on a topic: those of its view, and its owner's.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_authid.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"

#include "base/compat.h"
#include "base/base.h"
#include "topic/segment.h"
#include "topic/topic.h"

/*
 * Return true if the user may see the state of all topics, groups and producers,
 * but no payload: as a member of pg_monitor.
 */
bool
pgqueue_is_monitor(void)
{
	return has_privs_of_role(GetUserId(), ROLE_PG_MONITOR);
}

/* Return true if the user may know of the topic: what monitors see, at least. */
bool
pgqueue_may_see(const Topic *topic)
{
	return pgqueue_is_monitor() || pgqueue_may_use(topic);
}

/* Return true if the user may read or write the topic, and see its payload. */
bool
pgqueue_may_use(const Topic *topic)
{
	return OidIsValid(topic->view) &&
		pg_class_aclmask(topic->view, GetUserId(), ACL_SELECT | ACL_INSERT,
						 ACLMASK_ANY) != 0;
}

/* Return true if the user may know offsets and times of the topic's messages. */
bool
pgqueue_may_look(const Topic *topic)
{
	return pgqueue_is_monitor() ||
		pg_class_aclcheck(topic->view, GetUserId(), ACL_SELECT) == ACLCHECK_OK;
}

/* Check the same.  Errors: 42501. */
void
pgqueue_check_may_look(const Topic *topic)
{
	if (!pgqueue_may_look(topic))
		pgqueue_check_right(topic, ACL_SELECT);
}

/* Check a right on the topic: they are those of its view.  Errors: 42501. */
void
pgqueue_check_right(const Topic *topic, AclMode mode)
{
	AclResult	result = pg_class_aclcheck(topic->view, GetUserId(), mode);

	if (result != ACLCHECK_OK)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for topic \"%s\"", topic->name),
				 errhint("Grant %s ON %s.",
						 mode == ACL_INSERT ? "INSERT" : "SELECT",
						 quote_qualified_identifier(PGQUEUE_VIEW_SCHEMA,
													topic->name))));
}

/*
 * Return true if the user owns the topic, that is, its table.  What is left of a
 * topic without its table belongs to the extension's owner.
 */
bool
pgqueue_owns_topic(const Topic *topic)
{
	if (topic->desc == NULL)
		return has_privs_of_role(GetUserId(), pgqueue_extension_owner());
	return pgqueue_owns_relation(topic->log, GetUserId());
}

/* Errors: 42501. */
void
pgqueue_check_owner(const Topic *topic)
{
	if (!pgqueue_owns_topic(topic))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be owner of topic \"%s\"", topic->name)));
}
