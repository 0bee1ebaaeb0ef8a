/*-------------------------------------------------------------------------
 *
 * compat.h
 *	  What differs between the server versions that queue is written for
 *	  (15 to 19), in one place.
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
#if PG_VERSION_NUM >= 200000
#error "queue was not tried with PostgreSQL 20 or newer"
#endif

/* 18 has its own, and no pg_attribute_noreturn() any more */
#if PG_VERSION_NUM < 180000
#define pg_noreturn pg_attribute_noreturn()
#endif

/* 19 has its own, and its compiler options take no comment for it */
#if PG_VERSION_NUM < 190000
#if __has_attribute(fallthrough)
#define pg_fallthrough __attribute__((fallthrough))
#else
#define pg_fallthrough
#endif
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
#define pgqueue_lock_vxid(lock) ((lock)->vxid)
#else
#define pgqueue_proc_of(virtual_xid) BackendIdGetProc((virtual_xid).backendId)
#define pgqueue_proc_lxid(proc) ((proc)->lxid)
#define pgqueue_lock_vxid(lock) \
	((VirtualTransactionId) {(lock)->backend, (lock)->lxid})
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

/* 19 names a tranche of locks in shared memory, for all sessions at once */
#if PG_VERSION_NUM >= 190000
#define PGQUEUE_NEW_TRANCHE(name) LWLockNewTrancheId(name)
#define PGQUEUE_REGISTER_TRANCHE(tranche, name) ((void) (tranche))
#else
#define PGQUEUE_NEW_TRANCHE(name) LWLockNewTrancheId()
#define PGQUEUE_REGISTER_TRANCHE(tranche, name) \
	LWLockRegisterTranche((tranche), (name))
#endif

/*
 * 17 has a registry of shared memory made at run time, and 19 hands the function
 * that fills it an argument.
 *
 * Return shared memory of that name; make it, and let init fill it, if there is
 * none.  Locks: the caller holds AddinShmemInitLock.
 */
#include "storage/shmem.h"
#if PG_VERSION_NUM >= 170000
#include "storage/dsm_registry.h"
#endif

typedef void (*NamedMemoryInit) (void *memory);

#if PG_VERSION_NUM >= 190000
static inline void
pgqueue_call_init(void *memory, void *init)
{
	(*(NamedMemoryInit *) init) (memory);
}
#endif

static inline void *
pgqueue_named_memory(const char *name, Size size, NamedMemoryInit init)
{
	bool		found;
	void	   *memory;

#if PG_VERSION_NUM >= 190000
	memory = GetNamedDSMSegment(name, size, pgqueue_call_init, &found, &init);
#elif PG_VERSION_NUM >= 170000
	memory = GetNamedDSMSegment(name, size, init, &found);
#else
	memory = ShmemInitStruct(name, size, &found);
	if (!found)
		init(memory);
#endif
	return memory;
}

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
