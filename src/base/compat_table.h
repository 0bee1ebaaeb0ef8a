/*-------------------------------------------------------------------------
 *
 * compat_table.h
 *	  What differs between the server versions in the files, the vacuuming
 *	  and the access methods of tables.
 *
 *-------------------------------------------------------------------------
 */
#ifndef QUEUE_COMPAT_TABLE_H
#define QUEUE_COMPAT_TABLE_H

#include "base/compat.h"

/* 16 renamed the relfilenode */
#if PG_VERSION_NUM >= 160000
#define PGQUEUE_FILE_NUMBER(rel) ((rel)->rd_locator.relNumber)
#else
#define PGQUEUE_FILE_NUMBER(rel) ((rel)->rd_node.relNode)
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

/* 16 knows summarizing indexes, 19 has flags in place of booleans */
#if PG_VERSION_NUM >= 190000
#define pgqueue_insert_index_tuples(rri, slot, estate) \
	ExecInsertIndexTuples((rri), (estate), 0, (slot), NIL, NULL)
#elif PG_VERSION_NUM >= 160000
#define pgqueue_insert_index_tuples(rri, slot, estate) \
	ExecInsertIndexTuples((rri), (slot), (estate), false, false, NULL, NIL, \
						  false)
#else
#define pgqueue_insert_index_tuples(rri, slot, estate) \
	ExecInsertIndexTuples((rri), (slot), (estate), false, false, NULL, NIL)
#endif

/* 19 made CLUSTER a form of REPACK: its progress, and the swap of files */
#if PG_VERSION_NUM >= 190000
#include "commands/repack.h"
#define PGQUEUE_PROGRESS_COMMAND PROGRESS_COMMAND_REPACK
#define PGQUEUE_PROGRESS_PHASE PROGRESS_REPACK_PHASE
#define PGQUEUE_PROGRESS_PHASE_SEQ_SCAN_HEAP \
	PROGRESS_REPACK_PHASE_SEQ_SCAN_HEAP
#define PGQUEUE_PROGRESS_PHASE_WRITE_NEW_HEAP \
	PROGRESS_REPACK_PHASE_WRITE_NEW_HEAP
#define PGQUEUE_PROGRESS_TOTAL_HEAP_BLKS PROGRESS_REPACK_TOTAL_HEAP_BLKS
#define PGQUEUE_PROGRESS_HEAP_BLKS_SCANNED PROGRESS_REPACK_HEAP_BLKS_SCANNED
#define pgqueue_finish_heap_swap(old, new, by_content, frozen, multi) \
	finish_heap_swap((old), (new), false, (by_content), false, true, true, \
					 (frozen), (multi), RELPERSISTENCE_PERMANENT)
#else
#include "commands/cluster.h"
#define PGQUEUE_PROGRESS_COMMAND PROGRESS_COMMAND_CLUSTER
#define PGQUEUE_PROGRESS_PHASE PROGRESS_CLUSTER_PHASE
#define PGQUEUE_PROGRESS_PHASE_SEQ_SCAN_HEAP \
	PROGRESS_CLUSTER_PHASE_SEQ_SCAN_HEAP
#define PGQUEUE_PROGRESS_PHASE_WRITE_NEW_HEAP \
	PROGRESS_CLUSTER_PHASE_WRITE_NEW_HEAP
#define PGQUEUE_PROGRESS_TOTAL_HEAP_BLKS PROGRESS_CLUSTER_TOTAL_HEAP_BLKS
#define PGQUEUE_PROGRESS_HEAP_BLKS_SCANNED PROGRESS_CLUSTER_HEAP_BLKS_SCANNED
#define pgqueue_finish_heap_swap(old, new, by_content, frozen, multi) \
	finish_heap_swap((old), (new), false, (by_content), false, true, \
					 (frozen), (multi), RELPERSISTENCE_PERMANENT)
#endif

/* 19 made the options of the table access method's callbacks unsigned */
#if PG_VERSION_NUM >= 190000
typedef uint32 TableAmOptions;
#else
typedef int TableAmOptions;
#endif

#endif							/* QUEUE_COMPAT_TABLE_H */
