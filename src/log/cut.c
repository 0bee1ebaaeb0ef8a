/*-------------------------------------------------------------------------
 *
 * cut.c
 *	  The cut of a segment: the log start lies in it, and the records before
 *	  the log start are deleted though they are still there.
 *
 * SQL does not show them: the callbacks with which queries read a table leave
 * them out.  This holds for MVCC snapshots, which are those of queries.  What
 * reads with another snapshot gets all records, as it must: a unique check, the
 * build of an index, VACUUM FULL.  Code of the extension does not come here; it
 * reads from the log start on (topic/read.c).
 *
 * The cut is looked up when a table is first read, and remembered with the
 * relation cache entry (rd_amcache) up to the next invalidation; moving the log
 * start sends one (cleanup/retention.c).  A table that is not cut is given the
 * methods of the heap to read with, which cost nothing; the invalidation resets
 * them, too.  README, section 13.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/relscan.h"
#include "catalog/namespace.h"
#include "catalog/partition.h"
#include "executor/tuptable.h"
#include "optimizer/pathnode.h"
#include "optimizer/paths.h"
#include "utils/snapmgr.h"

#include "base/compat_table.h"
#include "base/base.h"
#include "log/cut.h"
#include "log/log.h"

static const TableAmRoutine *heap;

/* ---------------- the cut ---------------- */

/* Read a table's cut, as of now. */
static int64
read_cut(Relation segment)
{
	Oid			relid = RelationGetRelid(segment);
	SegmentBounds bounds;
	Oid			log;
	int64		start;

	if (!segment->rd_rel->relispartition ||
		RelationGetNamespace(segment) != get_namespace_oid(PGQUEUE_SCHEMA,
														   true) ||
		!pgqueue_has_log_columns(segment) ||
		!pgqueue_segment_bounds(relid, &bounds))
		return PGQUEUE_NO_CUT;
	log = get_partition_parent(relid, true);
	start = OidIsValid(log) ?
		pgqueue_stored_log_start(log, bounds.partition) : 0;
	return start > bounds.first ? start : PGQUEUE_NO_CUT;
}

/* Look up a table's cut, and remember it; see pgqueue_cut(). */
int64
pgqueue_cut_look(Relation segment)
{
	uint64		changes = pgqueue_relcache_changes;
	int64		cut = read_cut(segment);

	/* an invalidation that has arrived meanwhile may concern the segment */
	if (pgqueue_relcache_changes == changes)
	{
		KnownSegment *known = pgqueue_known_segment(segment);

		known->cut = cut;
		if (cut == PGQUEUE_NO_CUT &&
			segment->rd_tableam == &pgqueue_log_methods)
			segment->rd_tableam = &pgqueue_uncut_methods;
	}
	return cut;
}

/* ---------------- reading ---------------- */

/* Return true if a record is not deleted. */
static inline bool
is_kept(Relation segment, TupleTableSlot *slot)
{
	HeapTuple	tuple = ((HeapTupleTableSlot *) slot)->tuple;

	return log_fixed(tuple->t_data)->offset >= pgqueue_cut(segment);
}

/* Return true if a query that reads with the snapshot is shown a record. */
static inline bool
is_shown(Relation segment, Snapshot snapshot, TupleTableSlot *slot)
{
	return likely(is_kept(segment, slot)) || !IsMVCCSnapshot(snapshot);
}

static bool
cut_getnextslot(TableScanDesc scan, ScanDirection direction,
				TupleTableSlot *slot)
{
	while (heap_getnextslot(scan, direction, slot))
		if (is_shown(scan->rs_rd, scan->rs_snapshot, slot))
			return true;
	return false;
}

static bool
cut_getnextslot_tidrange(TableScanDesc scan, ScanDirection direction,
						 TupleTableSlot *slot)
{
	while (heap->scan_getnextslot_tidrange(scan, direction, slot))
		if (is_shown(scan->rs_rd, scan->rs_snapshot, slot))
			return true;
	return false;
}

static bool
cut_index_fetch_tuple(IndexFetchTableData *scan, ItemPointer tid,
					  Snapshot snapshot, TupleTableSlot *slot,
					  bool *call_again, bool *all_dead)
{
	return heap->index_fetch_tuple(scan, tid, snapshot, slot, call_again,
								   all_dead) &&
		is_shown(scan->rel, snapshot, slot);
}

static bool
cut_fetch_row_version(Relation segment, ItemPointer tid, Snapshot snapshot,
					  TupleTableSlot *slot)
{
	if (!heap->tuple_fetch_row_version(segment, tid, snapshot, slot))
		return false;
	if (is_shown(segment, snapshot, slot))
		return true;
	ExecClearTuple(slot);
	return false;
}

#if PG_VERSION_NUM >= 180000
static bool
cut_bitmap_next_tuple(TableScanDesc scan, TupleTableSlot *slot, bool *recheck,
					  uint64 *lossy_pages, uint64 *exact_pages)
{
	while (heap->scan_bitmap_next_tuple(scan, slot, recheck, lossy_pages,
										exact_pages))
#else
static bool
cut_bitmap_next_tuple(TableScanDesc scan, struct TBMIterateResult *tbmres,
					  TupleTableSlot *slot)
{
	while (heap->scan_bitmap_next_tuple(scan, tbmres, slot))
#endif
		if (is_shown(scan->rs_rd, scan->rs_snapshot, slot))
			return true;
	return false;
}

static bool
cut_sample_next_tuple(TableScanDesc scan, struct SampleScanState *state,
					  TupleTableSlot *slot)
{
	while (heap->scan_sample_next_tuple(scan, state, slot))
		if (is_shown(scan->rs_rd, scan->rs_snapshot, slot))
			return true;
	return false;
}

/* ANALYZE has no snapshot; what is deleted counts as dead. */
#if PG_VERSION_NUM >= 190000
static bool
cut_analyze_next_tuple(TableScanDesc scan, double *live, double *dead,
					   TupleTableSlot *slot)
{
	while (heap->scan_analyze_next_tuple(scan, live, dead, slot))
#else
static bool
cut_analyze_next_tuple(TableScanDesc scan, TransactionId horizon,
					   double *live, double *dead, TupleTableSlot *slot)
{
	while (heap->scan_analyze_next_tuple(scan, horizon, live, dead, slot))
#endif
	{
		if (is_kept(scan->rs_rd, slot))
			return true;
		*live -= 1;
		*dead += 1;
	}
	return false;
}

/*
 * Set the callbacks of an access method that are defined here: last, since a table
 * without a cut has the others only.
 */
void
pgqueue_cut_methods(TableAmRoutine *am)
{
	pgqueue_uncut_methods = *am;
	heap = GetHeapamTableAmRoutine();
	am->scan_getnextslot = cut_getnextslot;
	am->scan_getnextslot_tidrange = cut_getnextslot_tidrange;
	am->index_fetch_tuple = cut_index_fetch_tuple;
	am->tuple_fetch_row_version = cut_fetch_row_version;
	am->scan_bitmap_next_tuple = cut_bitmap_next_tuple;
	am->scan_sample_next_tuple = cut_sample_next_tuple;
	am->scan_analyze_next_tuple = cut_analyze_next_tuple;
}

/* ---------------- plans that read no record ---------------- */

static set_rel_pathlist_hook_type next_hook;

/*
 * Return a table's paths without those by which a record counts that is not
 * read, since its page is all-visible: index-only scans become index scans.
 * Up to 17 a bitmap scan of no columns skips pages, too; *skips: there was one.
 */
static List *
reading_paths(List *paths, bool *skips)
{
	List	   *result = NIL;
	ListCell   *lc;

	foreach(lc, paths)
	{
		Path	   *path = lfirst(lc);

		if (PG_VERSION_NUM < 180000 && IsA(path, BitmapHeapPath) &&
			path->pathtarget->exprs == NIL)
		{
			*skips = true;
			continue;
		}
		if (path->pathtype == T_IndexOnlyScan)
			path->pathtype = T_IndexScan;
		result = lappend(result, path);
	}
	return result;
}

/*
 * A set_rel_pathlist_hook.  A plan that was made before a table was cut is made
 * again: the invalidation concerns it.
 */
static void
cut_paths(PlannerInfo *root, RelOptInfo *rel, Index rti, RangeTblEntry *rte)
{
	if (next_hook != NULL)
		next_hook(root, rel, rti, rte);
	if (rte->rtekind == RTE_RELATION && rel->indexlist != NIL)
	{
		Relation	table = RelationIdGetRelation(rte->relid);
		bool		skips = false;

		if (table != NULL && pgqueue_is_log(table) && pgqueue_cut(table) != PGQUEUE_NO_CUT)
		{
			rel->pathlist = reading_paths(rel->pathlist, &skips);
			rel->partial_pathlist = reading_paths(rel->partial_pathlist,
												  &skips);
		}
		if (table != NULL)
			RelationClose(table);
		if (skips)
			add_path(rel, create_seqscan_path(root, rel, rel->lateral_relids,
											  0));
	}
}

void
pgqueue_cut_init(void)
{
	next_hook = set_rel_pathlist_hook;
	set_rel_pathlist_hook = cut_paths;
}
