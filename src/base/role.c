/*-------------------------------------------------------------------------
 *
 * role.c
 *	  Type queue.role: the role that a group or a producer belongs to.
 *
 * A group must follow its role when that is renamed, must not fall to another
 * role that takes the name, and must survive a restore into a server where the
 * role has another OID, or does not exist.  A name does not follow, an OID means
 * another role elsewhere, and a regrole cannot be restored without the role.  So a
 * value is
 *
 *	 vl_len_ | oid | name, terminated by 0
 *
 * with either an OID or a name: the name if no role had it when the value was
 * read from text.  A dump writes the name that the role has at that moment, and a
 * restore looks it up; pg_upgrade keeps OIDs.  A role that was dropped keeps its
 * OID here, which no later role of that name has; it is written as
 * pg_get_userbyid() writes it, so it finds no role after a restore.  A name that
 * found no role belongs to the role that has it when it is asked.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"

#include "base/base.h"

PG_FUNCTION_INFO_V1(pgqueue_role_in);
PG_FUNCTION_INFO_V1(pgqueue_role_out);

/* Stored aligned and never packed: the type's storage is plain. */
typedef struct StoredRole
{
	int32		vl_len_;
	Oid			oid;			/* invalid: by name */
	char		name[FLEXIBLE_ARRAY_MEMBER];
} StoredRole;

static Datum
form_role(Oid oid, const char *name)
{
	Size		bytes = offsetof(StoredRole, name) + strlen(name) + 1;
	StoredRole *role = palloc0(bytes);

	SET_VARSIZE(role, bytes);
	role->oid = oid;
	strcpy(role->name, name);
	return PointerGetDatum(role);
}

Datum
pgqueue_role_datum(Oid oid)
{
	return form_role(oid, "");
}

void
pgqueue_role_read(Datum value, RoleRef *role)
{
	StoredRole *stored = (StoredRole *) PG_DETOAST_DATUM(value);

	role->oid = stored->oid;
	namestrcpy(&role->name, stored->name);
}

/* Return a role's name as of now, or NULL if it was dropped. */
static char *
role_name(const RoleRef *role)
{
	return OidIsValid(role->oid) ? GetUserNameFromId(role->oid, true) :
		pstrdup(NameStr(role->name));
}

/* Return a role, or InvalidOid if it does not exist; one that was dropped stays. */
Oid
pgqueue_role_oid(const RoleRef *role)
{
	return OidIsValid(role->oid) ? role->oid :
		get_role_oid(NameStr(role->name), true);
}

/* Return true if the user may use what belongs to a role. */
bool
pgqueue_belongs(const RoleRef *owner)
{
	Oid			oid = pgqueue_role_oid(owner);

	return superuser() ||
		(OidIsValid(oid) && has_privs_of_role(GetUserId(), oid));
}

/* Check the same.  Errors: 42501. */
void
pgqueue_check_belongs(const char *kind, const char *name, const RoleRef *owner)
{
	char	   *owner_name;

	if (pgqueue_belongs(owner))
		return;
	owner_name = role_name(owner);
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied for %s \"%s\"", kind, name),
			 owner_name == NULL ?
			 errdetail("The role that it belonged to was dropped.") :
			 errdetail("It belongs to role \"%s\".", owner_name),
			 owner_name == NULL ? 0 :
			 errhint("Grant membership in that role, or use another name.")));
}

/*
 * Return the role to which the user gives a group or a producer.
 * Errors: 42704 no such role, 42501 if the user is not a member of it.
 */
Oid
pgqueue_new_owner(const char *name)
{
	Oid			oid = get_role_oid(name, false);

	if (!superuser() && !has_privs_of_role(GetUserId(), oid))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be member of role \"%s\"", name)));
	return oid;
}

/* (cstring) -> queue.role.  Errors: 42622 for an overlong name. */
Datum
pgqueue_role_in(PG_FUNCTION_ARGS)
{
	char	   *name = PG_GETARG_CSTRING(0);
	Oid			oid;

	if (strlen(name) >= NAMEDATALEN)
		ereport(ERROR,
				(errcode(ERRCODE_NAME_TOO_LONG),
				 errmsg("role name \"%s\" is too long", name)));
	oid = get_role_oid(name, true);
	PG_RETURN_DATUM(form_role(oid, OidIsValid(oid) ? "" : name));
}

/* (queue.role) -> cstring */
Datum
pgqueue_role_out(PG_FUNCTION_ARGS)
{
	RoleRef		role;
	char	   *name;

	pgqueue_role_read(PG_GETARG_DATUM(0), &role);
	name = role_name(&role);
	if (name == NULL)
		name = psprintf("unknown (OID=%u)", role.oid);
	PG_RETURN_CSTRING(name);
}
