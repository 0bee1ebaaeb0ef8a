/*-------------------------------------------------------------------------
 *
 * compat.h
 *	  What differs between the server versions that queue is written for
 *	  (15 to 18), in one place.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PGQUEUE_COMPAT_H
#define PGQUEUE_COMPAT_H

#include "postgres.h"

#include "utils/acl.h"
#include "utils/rel.h"
#include "utils/wait_event.h"

#if PG_VERSION_NUM < 150000
#error "queue needs PostgreSQL 15 or newer"
#endif

/* 18 has its own, and no pg_attribute_noreturn() any more */
#if PG_VERSION_NUM < 180000
#define pg_noreturn pg_attribute_noreturn()
#endif

/* 16 renamed the relfilenode */
#if PG_VERSION_NUM >= 160000
#define PGQUEUE_FILE_NUMBER(rel) ((rel)->rd_locator.relNumber)
#else
#define PGQUEUE_FILE_NUMBER(rel) ((rel)->rd_node.relNode)
#endif

/* 16 folded the pg_xxx_aclcheck() functions into one */
#if PG_VERSION_NUM >= 160000
#define pgqueue_owns_relation(relid, role) \
	object_ownercheck(RelationRelationId, (relid), (role))
#define pgqueue_schema_aclcheck(nsp, role, mode) \
	object_aclcheck(NamespaceRelationId, (nsp), (role), (mode))
#define pgqueue_type_aclcheck(type, role, mode) \
	object_aclcheck(TypeRelationId, (type), (role), (mode))
#define pgqueue_tablespace_aclcheck(tablespace, role, mode) \
	object_aclcheck(TableSpaceRelationId, (tablespace), (role), (mode))
#else
#define pgqueue_owns_relation(relid, role) \
	pg_class_ownercheck((relid), (role))
#define pgqueue_schema_aclcheck(nsp, role, mode) \
	pg_namespace_aclcheck((nsp), (role), (mode))
#define pgqueue_type_aclcheck(type, role, mode) \
	pg_type_aclcheck((type), (role), (mode))
#define pgqueue_tablespace_aclcheck(tablespace, role, mode) \
	pg_tablespace_aclcheck((tablespace), (role), (mode))
#endif

/* 16 gave settings an allocator of their own */
#if PG_VERSION_NUM >= 160000
#define pgqueue_guc_malloc(size) guc_malloc(LOG, (size))
#else
#define pgqueue_guc_malloc(size) malloc(size)
#endif

/* 17 calls a backend's number a proc number */
#if PG_VERSION_NUM >= 170000
#define pgqueue_proc_of(virtual_xid) ProcNumberGetProc((virtual_xid).procNumber)
#define pgqueue_proc_lxid(proc) ((proc)->vxid.lxid)
#else
#define pgqueue_proc_of(virtual_xid) BackendIdGetProc((virtual_xid).backendId)
#define pgqueue_proc_lxid(proc) ((proc)->lxid)
#endif

/* 16 renamed how the rows of pg_stat_activity are read, from 1 on */
#if PG_VERSION_NUM >= 160000
#define pgqueue_activity(i) \
	(&pgstat_get_local_beentry_by_index(i)->backendStatus)
#else
#define pgqueue_activity(i) \
	(&pgstat_fetch_stat_local_beentry(i)->backendStatus)
#endif

#if PG_VERSION_NUM >= 170000
#define PGQUEUE_MY_PROC_NUMBER MyProcNumber
#define PGQUEUE_PROC_BY_NUMBER(number) GetPGProcByNumber(number)
#else
#define PGQUEUE_MY_PROC_NUMBER (MyProc->pgprocno)
#define PGQUEUE_PROC_BY_NUMBER(number) (&ProcGlobal->allProcs[number])
#endif

/* 16 renamed the relfilenode, 17 gave reindex a statement */
#if PG_VERSION_NUM >= 160000
#define pgqueue_set_new_file(rel, persistence) \
	RelationSetNewRelfilenumber((rel), (persistence))
#else
#define pgqueue_set_new_file(rel, persistence) \
	RelationSetNewRelfilenode((rel), (persistence))
#endif
#if PG_VERSION_NUM >= 170000
#define pgqueue_reindex_empty(relid) \
	((void) reindex_relation(NULL, (relid), REINDEX_REL_PROCESS_TOAST, \
							 &((ReindexParams) {0})))
#else
#define pgqueue_reindex_empty(relid) \
	((void) reindex_relation((relid), REINDEX_REL_PROCESS_TOAST, \
							 &((ReindexParams) {0})))
#endif

/* 18 tells ANALYZE from VACUUM */
#if PG_VERSION_NUM >= 180000
#define PGQUEUE_VACUUM_DELAY_POINT() vacuum_delay_point(false)
#else
#define PGQUEUE_VACUUM_DELAY_POINT() vacuum_delay_point()
#endif

/* 16 renamed the columns of a B-tree's record, and logical decoding asks more */
#if PG_VERSION_NUM >= 160000
#define PGQUEUE_SET_REUSE_PAGE(record, rel, xid) \
	((record).locator = (rel)->rd_locator, \
	 (record).snapshotConflictHorizon = (xid))
#else
#define PGQUEUE_SET_REUSE_PAGE(record, rel, xid) \
	((record).node = (rel)->rd_node, (record).latestRemovedFullXid = (xid))
#endif

/* 16 keeps the cost settings in force in variables of their own */
#if PG_VERSION_NUM >= 160000
#define pgqueue_vacuum_costs_on() \
	(VacuumFailsafeActive = false, VacuumUpdateCosts())
#else
#define pgqueue_vacuum_costs_on() \
	((void) (VacuumCostActive = VacuumCostDelay > 0))
#endif

/* later versions renamed the class of waits */
#ifdef PG_WAIT_BUFFER_PIN
#define PGQUEUE_WAIT_BUFFER_PIN PG_WAIT_BUFFER_PIN
#else
#define PGQUEUE_WAIT_BUFFER_PIN PG_WAIT_BUFFERPIN
#endif

/* 17 can ask for a stronger lock, too */
#if PG_VERSION_NUM >= 170000
#define PGQUEUE_LOCK_HELD_BY_ME(tag, mode) LockHeldByMe((tag), (mode), false)
#else
#define PGQUEUE_LOCK_HELD_BY_ME(tag, mode) LockHeldByMe((tag), (mode))
#endif

/* 17 lets extensions name what they wait for */
#if PG_VERSION_NUM >= 170000
#define PGQUEUE_WAIT_EVENT(name) WaitEventExtensionNew(name)
#else
#define PGQUEUE_WAIT_EVENT(name) PG_WAIT_EXTENSION
#endif

/* 16 lets the caller of tuplesort_getdatum() ask for a copy */
#if PG_VERSION_NUM >= 160000
#define pgqueue_tuplesort_getdatum(state, value, isnull) \
	tuplesort_getdatum((state), true, false, (value), (isnull), NULL)
#else
#define pgqueue_tuplesort_getdatum(state, value, isnull) \
	tuplesort_getdatum((state), true, (value), (isnull), NULL)
#endif

/* 16 knows summarizing indexes */
#if PG_VERSION_NUM >= 160000
#define pgqueue_insert_index_tuples(rri, slot, estate) \
	ExecInsertIndexTuples((rri), (slot), (estate), false, false, NULL, NIL, \
						  false)
#else
#define pgqueue_insert_index_tuples(rri, slot, estate) \
	ExecInsertIndexTuples((rri), (slot), (estate), false, false, NULL, NIL)
#endif

/* 16 shows the function that finds a setting by its name */
#include "utils/guc_tables.h"

static inline struct config_generic *
pgqueue_find_setting(const char *name)
{
#if PG_VERSION_NUM >= 160000
	return find_option(name, false, true, 0);
#else
	struct config_generic **variables = get_guc_variables();
	int			n = GetNumConfigOptions();

	for (int i = 0; i < n; i++)
		if (strcmp(variables[i]->name, name) == 0)
			return variables[i];
	return NULL;
#endif
}

#endif							/* PGQUEUE_COMPAT_H */
