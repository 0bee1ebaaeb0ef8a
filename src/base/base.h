/*-------------------------------------------------------------------------
 *
 * base.h
 *	  The extension's own tables, shared memory, roles, DDL, and the arguments
 *	  and results of SQL functions.
 *
 *-------------------------------------------------------------------------
 */
#ifndef QUEUE_BASE_H
#define QUEUE_BASE_H

#include "access/genam.h"
#include "access/skey.h"
#include "access/tableam.h"
#include "datatype/timestamp.h"
#include "fmgr.h"
#include "nodes/execnodes.h"
#include "storage/lock.h"
#include "utils/rel.h"
#include "utils/snapshot.h"
#include "base/compat.h"
#include "base/errors.h"

/* ---------------- ddl.c ---------------- */

extern bool pgqueue_allow_ddl;
extern Oid	pgqueue_extension_owner(void);
extern bool pgqueue_is_droppable(Oid relid);
extern char *pgqueue_type_name(Oid type);
pg_noreturn extern void pgqueue_rethrow_conflict(MemoryContext context);
extern void pgqueue_run_ddl(Oid role, const char *sql);
extern void pgqueue_run_removal(Oid role, const char *sql);
extern bool pgqueue_removing;
extern Oid	pgqueue_attaching;
extern int	pgqueue_pin_search_path(void);
extern void pgqueue_run_ddl_for(Oid role, const char *sql, bool removes,
								Oid attaches);

/* ---------------- args.c ---------------- */

/* Bytes of the name of a group or a member, or of a producer's id. */
#define PGQUEUE_MAX_NAME 255

extern const char *pgqueue_called(FunctionCallInfo fcinfo);
extern void pgqueue_check_writable(FunctionCallInfo fcinfo);
extern void pgqueue_check_not_null(FunctionCallInfo fcinfo, int arg,
								   const char *name);
extern char *pgqueue_name_arg(const text *name, const char *kind);
extern int64 pgqueue_duration(const char *name, const Interval *interval);
extern int64 pgqueue_duration_arg(FunctionCallInfo fcinfo, int arg,
								  const char *name, int64 if_null);
extern void pgqueue_check_result(TupleDesc desc, const Oid *types, int n);
extern HeapTuple pgqueue_form_row(TupleDesc desc, const Datum *values,
								  const bool *nulls, int n);
extern Datum pgqueue_return_row(FunctionCallInfo fcinfo, const Datum *values,
								const bool *nulls, int n);
extern void pgqueue_put_row(ReturnSetInfo *rsinfo, const Datum *values,
							const bool *nulls, int n);

/* ---------------- shmem.c ---------------- */

typedef struct SharedPart
{
	Size		size;
	void		(*init) (void *memory);	/* when it is made */
	void		(*attached) (void *memory); /* in each backend */
} SharedPart;

/*
 * Stands for what sessions with different libraries must agree upon: see
 * base/shmem.c.  A test sets another one.
 */
#ifndef PGQUEUE_SHARED_VERSION
#define PGQUEUE_SHARED_VERSION 5
#endif

extern bool pgqueue_shared_attached;
extern void pgqueue_shared_init(void);
extern void pgqueue_shared_add(const SharedPart *part);
extern void pgqueue_shared_attach(void);
extern void (*pgqueue_first_use) (void);
extern void pgqueue_note_use(void);

/* ---------------- worker.c ---------------- */

struct BackgroundWorker;
extern void pgqueue_worker_init(struct BackgroundWorker *worker,
								const char *type, const char *function,
								const char *topic);

/* ---------------- role.c ---------------- */

typedef struct RoleRef
{
	Oid			oid;			/* invalid: known by its name only */
	NameData	name;
} RoleRef;

extern Datum pgqueue_role_datum(Oid oid);
extern void pgqueue_role_read(Datum value, RoleRef *role);
extern Oid	pgqueue_role_oid(const RoleRef *role);
extern bool pgqueue_belongs(const RoleRef *owner);
extern void pgqueue_check_belongs(const char *kind, const char *name,
								  const RoleRef *owner);
extern Oid	pgqueue_new_owner(const char *name);

/* ---------------- registry.c ---------------- */

typedef enum RegistryTable
{
	REGISTRY_TOPIC,
	REGISTRY_CHECKPOINT,
	REGISTRY_INCARNATION,
	REGISTRY_MAINTENANCE_LOG,
	REGISTRY_MAINTENANCE_ERROR,
	REGISTRY_PERSISTENT_MAINTENANCE,
	REGISTRY_GROUP,
	REGISTRY_PROGRESS,
	REGISTRY_PARKED,
	REGISTRY_PARKED_DUE,
	REGISTRY_FAILURE_POLICY,
	REGISTRY_REPLAYED,
	REGISTRY_MEMBER,
	REGISTRY_ASSIGNMENT,
	REGISTRY_PRODUCER,
	REGISTRY_PRODUCER_DUE,
	REGISTRY_PRODUCER_BATCH,
	REGISTRY_PRODUCER_HISTORY,
	REGISTRY_DEDUPE_BUCKET,
	REGISTRY_SUBSCRIPTION,
	REGISTRY_WORKER,
	REGISTRY_TABLES
} RegistryTable;

/* More columns than any of the tables has. */
#define REGISTRY_MAX_COLUMNS 28

#define PGQUEUE_SCHEMA		"queue"
#define PGQUEUE_VIEW_SCHEMA "topic"

/* Columns that are read in several folders. */
#define TOPIC_ATTR_ID				1
#define TOPIC_ATTR_NAME				2
#define TOPIC_ATTR_LOG				3
#define CHECKPOINT_ATTR_TOPIC		1
#define CHECKPOINT_ATTR_PARTITION	2
#define CHECKPOINT_ATTR_LOG_START	3

extern void pgqueue_registry_changed(Oid relid);
extern void pgqueue_registry_invalidate(RegistryTable which);
extern uint64 pgqueue_registry_changes[REGISTRY_TABLES];
extern Oid	pgqueue_registry(RegistryTable which);
extern Oid	pgqueue_registry_index(RegistryTable which);
extern Relation pgqueue_registry_open(RegistryTable which, LOCKMODE lockmode);
extern int	pgqueue_registry_ncolumns(RegistryTable which);

/* ---------------- registry_log.c ---------------- */

extern int32 pgqueue_topic_of_log(Oid log, char name[NAMEDATALEN]);
extern int64 pgqueue_stored_log_start(Oid log, int32 partition);

/* ---------------- registry_row.c ---------------- */

/* Begins as zeros; keys are added before it is begun. */
typedef struct RegistryScan
{
	int			nkeys;
	ScanKeyData keys[5];
	Relation	rel;
	Relation	index;			/* or NULL: the whole table is read */
	SysScanDesc scan;
	LOCKMODE	lockmode;		/* of rel */
} RegistryScan;

extern void pgqueue_registry_key(RegistryScan *scan, AttrNumber attr,
								 StrategyNumber strategy,
								 RegProcedure procedure, Datum value);
extern void pgqueue_registry_key_int4(RegistryScan *scan, AttrNumber attr,
									  int32 value);
extern void pgqueue_registry_key_text(RegistryScan *scan, AttrNumber attr,
									  const char *value);
extern void pgqueue_registry_scan(RegistryScan *scan, RegistryTable table,
								  LOCKMODE lockmode, Snapshot snapshot);
extern void pgqueue_registry_scan_table(RegistryScan *scan,
										RegistryTable table, LOCKMODE lockmode,
										Snapshot snapshot);
extern HeapTuple pgqueue_registry_next(RegistryScan *scan);
extern HeapTuple pgqueue_registry_previous(RegistryScan *scan);
extern Datum pgqueue_registry_column(const RegistryScan *scan,
									 HeapTuple tuple, AttrNumber attr);
extern void pgqueue_registry_end(RegistryScan *scan);
extern int64 pgqueue_registry_delete(RegistryScan *scan);
extern void pgqueue_registry_read(Relation rel, HeapTuple tuple, int ncolumns,
								  Datum *values, bool *nulls);
extern int64 pgqueue_registry_int8(const Datum *values, const bool *nulls,
								   AttrNumber attr);
extern void pgqueue_registry_write(RegistryTable which, ItemPointer tid,
								   int ncolumns, Datum *values, bool *nulls);
extern void pgqueue_registry_insert(RegistryTable which, int ncolumns,
									Datum *values, bool *nulls);
extern int32 pgqueue_registry_new_id(const char *sequence);
extern void pgqueue_registry_delete_row(RegistryTable which, ItemPointer tid);
extern void pgqueue_check_known(TransactionId xmin, const char *doing);

#endif							/* QUEUE_BASE_H */
