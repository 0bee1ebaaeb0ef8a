/*-------------------------------------------------------------------------
 *
 * depend.c
 *	  Objects of users that depend on a table of the extension.
 *
 * Any role may make a view on a table, also without rights on it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "catalog/dependency.h"
#include "catalog/pg_depend.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"

#include "base/base.h"

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
