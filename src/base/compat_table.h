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

#include "access/genam.h"
#include "catalog/index.h"
#include "commands/vacuum.h"
#include "utils/relcache.h"
#include "utils/tuplesort.h"

#include "base/compat.h"

/*
 * 16 renamed what names a relation's file, and the columns of a B-tree's record
 */
#if PG_VERSION_NUM < 160000
#define RelFileLocator RelFileNode
#define rd_locator rd_node
#define relNumber relNode
#define relation_set_new_filelocator relation_set_new_filenode
#define RelationSetNewRelfilenumber RelationSetNewRelfilenode
#define locator node
#define snapshotConflictHorizon latestRemovedFullXid
/* updates told less about indexes */
#define TU_UpdateIndexes bool
/* the caller could not choose whether it gets a copy */
#define tuplesort_getdatum(state, forward, copy, value, isnull, abbreviated) \
	tuplesort_getdatum((state), (forward), (value), (isnull), (abbreviated))
/* the cost settings in force had no variables of their own */
#define pgqueue_vacuum_costs_on() \
	((void) (VacuumCostActive = VacuumCostDelay > 0))
#else
#define pgqueue_vacuum_costs_on() \
	(VacuumFailsafeActive = false, VacuumUpdateCosts())
#endif

/* 17 gave reindex a statement */
#if PG_VERSION_NUM < 170000
#define reindex_relation(statement, relid, flags, params) \
	reindex_relation((relid), (flags), (params))
#endif

/* 18 tells ANALYZE from VACUUM */
#if PG_VERSION_NUM < 180000
#define vacuum_delay_point(is_analyze) vacuum_delay_point()
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

/*
 * 19 made CLUSTER a form of REPACK: its progress, and the swap of files; and
 * the options of the table access method's callbacks are unsigned.
 */
#if PG_VERSION_NUM < 190000
#include "commands/cluster.h"
#define PROGRESS_COMMAND_REPACK PROGRESS_COMMAND_CLUSTER
#define PROGRESS_REPACK_PHASE PROGRESS_CLUSTER_PHASE
#define PROGRESS_REPACK_PHASE_SEQ_SCAN_HEAP PROGRESS_CLUSTER_PHASE_SEQ_SCAN_HEAP
#define PROGRESS_REPACK_PHASE_WRITE_NEW_HEAP \
	PROGRESS_CLUSTER_PHASE_WRITE_NEW_HEAP
#define PROGRESS_REPACK_TOTAL_HEAP_BLKS PROGRESS_CLUSTER_TOTAL_HEAP_BLKS
#define PROGRESS_REPACK_HEAP_BLKS_SCANNED PROGRESS_CLUSTER_HEAP_BLKS_SCANNED
#define pgqueue_finish_heap_swap(old, new, by_content, frozen, multi) \
	finish_heap_swap((old), (new), false, (by_content), false, true, \
					 (frozen), (multi), RELPERSISTENCE_PERMANENT)
typedef int TableAmOptions;
#else
#include "commands/repack.h"
#define pgqueue_finish_heap_swap(old, new, by_content, frozen, multi) \
	finish_heap_swap((old), (new), false, (by_content), false, true, true, \
					 (frozen), (multi), RELPERSISTENCE_PERMANENT)
typedef uint32 TableAmOptions;
#endif

/* 18 can count an index scan's searches */
#if PG_VERSION_NUM >= 180000
#define index_beginscan_bitmap(index, snapshot, nkeys) \
	index_beginscan_bitmap((index), (snapshot), NULL, (nkeys))
#endif

#endif							/* QUEUE_COMPAT_TABLE_H */
