/*-------------------------------------------------------------------------
 *
 * compat.h
 *	  What differs between the server versions that queue is written for
 *	  (15 to 19).  Code uses the names of the newest where they can be defined
 *	  for the others.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PGQUEUE_COMPAT_H
#define PGQUEUE_COMPAT_H

#include "postgres.h"

#include "utils/acl.h"
#include "utils/rel.h"
#include "utils/wait_event.h"
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

#if PG_VERSION_NUM < 150000
#error "queue needs PostgreSQL 15 or newer"
#endif
#if PG_VERSION_NUM >= 200000
#error "queue was not tried with PostgreSQL 20 or newer"
#endif

#if PG_VERSION_NUM < 160000
/* 16 folded these into one function */
#define pgqueue_owns_relation pg_class_ownercheck
#define pgqueue_schema_aclcheck pg_namespace_aclcheck
#define pgqueue_type_aclcheck pg_type_aclcheck
#define pgqueue_function_aclcheck pg_proc_aclcheck
#define pgqueue_tablespace_aclcheck pg_tablespace_aclcheck
#define pgqueue_database_aclcheck pg_database_aclcheck
/* settings had no allocator of their own */
#define guc_malloc(elevel, size) malloc(size)
#define pgstat_get_local_beentry_by_index pgstat_fetch_stat_local_beentry
#else
#define pgqueue_owns_relation(relid, role) \
	object_ownercheck(RelationRelationId, (relid), (role))
#define pgqueue_schema_aclcheck(nsp, role, mode) \
	object_aclcheck(NamespaceRelationId, (nsp), (role), (mode))
#define pgqueue_type_aclcheck(type, role, mode) \
	object_aclcheck(TypeRelationId, (type), (role), (mode))
#define pgqueue_function_aclcheck(function, role, mode) \
	object_aclcheck(ProcedureRelationId, (function), (role), (mode))
#define pgqueue_tablespace_aclcheck(tablespace, role, mode) \
	object_aclcheck(TableSpaceRelationId, (tablespace), (role), (mode))
#define pgqueue_database_aclcheck(database, role, mode) \
	object_aclcheck(DatabaseRelationId, (database), (role), (mode))
#endif

/* 17 calls a backend's number a proc number */
#if PG_VERSION_NUM < 170000
#define MyProcNumber (MyProc->pgprocno)
#define pgqueue_proc_of(virtual_xid) BackendIdGetProc((virtual_xid).backendId)
#define pgqueue_proc_lxid(proc) ((proc)->lxid)
#define pgqueue_lock_vxid(lock) \
	((VirtualTransactionId) {(lock)->backend, (lock)->lxid})
/* extensions could not name what they wait for */
#define WaitEventExtensionNew(name) PG_WAIT_EXTENSION
/* a stronger lock could not be asked for, too */
#define PGQUEUE_LOCK_HELD_BY_ME(tag, mode) LockHeldByMe((tag), (mode))
#else
#define pgqueue_proc_of(virtual_xid) ProcNumberGetProc((virtual_xid).procNumber)
#define pgqueue_proc_lxid(proc) ((proc)->vxid.lxid)
#define pgqueue_lock_vxid(lock) ((lock)->vxid)
#define PGQUEUE_LOCK_HELD_BY_ME(tag, mode) LockHeldByMe((tag), (mode), false)
#endif

/* 17 can limit a transaction's time, which is meant for those of users */
#if PG_VERSION_NUM < 170000
#define pgqueue_no_transaction_timeout() ((void) 0)
#else
#define pgqueue_no_transaction_timeout() \
	SetConfigOption("transaction_timeout", "0", PGC_USERSET, PGC_S_OVERRIDE)
#endif

#if PG_VERSION_NUM < 180000
#define pg_noreturn pg_attribute_noreturn()
#endif

/* 19 names a tranche of locks in shared memory, for all sessions at once */
#if PG_VERSION_NUM < 190000
#define PGQUEUE_NEW_TRANCHE(name) LWLockNewTrancheId()
#define PGQUEUE_REGISTER_TRANCHE(tranche, name) \
	LWLockRegisterTranche((tranche), (name))
#else
#define PGQUEUE_NEW_TRANCHE(name) LWLockNewTrancheId(name)
#define PGQUEUE_REGISTER_TRANCHE(tranche, name) ((void) (tranche))
#endif

/*
 * 17 has a registry of shared memory made at run time, and 19 hands the
 * function that fills it an argument.
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

/*
 * Return shared memory of that name; make it, and let init fill it, if there is
 * none.  Locks: the caller holds AddinShmemInitLock.
 */
static inline void *
pgqueue_named_memory(const char *name, Size size, NamedMemoryInit init)
{
	bool		found;

#if PG_VERSION_NUM >= 190000
	return GetNamedDSMSegment(name, size, pgqueue_call_init, &found, &init);
#elif PG_VERSION_NUM >= 170000
	return GetNamedDSMSegment(name, size, init, &found);
#else
	void	   *memory = ShmemInitStruct(name, size, &found);

	if (!found)
		init(memory);
	return memory;
#endif
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

	for (int i = 0; i < GetNumConfigOptions(); i++)
		if (strcmp(variables[i]->name, name) == 0)
			return variables[i];
	return NULL;
#endif
}

#endif							/* PGQUEUE_COMPAT_H */
