/*-------------------------------------------------------------------------
 *
 * segment_list.c
 *	  The segments of a topic's table: its partitions and their bounds, as of
 *	  now.
 *
 * The server builds the partition descriptor of a table anew, bound by bound,
 * whenever a partition is attached; with hundreds of segments the call that meets a
 * roll would be slow.  So bounds are remembered here, by the segment's OID, until
 * the relation cache is told that the segment has changed: attaching and detaching
 * change its row of pg_class.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "nodes/parsenodes.h"
#include "nodes/primnodes.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "log/log.h"

static HTAB *known_bounds = NULL;	/* of SegmentBounds, by relid */

static uint64 changes = 0;

/* Forget the bounds of a relation that has changed; InvalidOid: of all. */
void
pgqueue_segment_changed(Oid relid)
{
	changes++;
	if (known_bounds == NULL)
		return;
	if (OidIsValid(relid))
		(void) hash_search(known_bounds, &relid, HASH_REMOVE, NULL);
	else
	{
		hash_destroy(known_bounds);
		known_bounds = NULL;
	}
}

static void
remember(const SegmentBounds *bounds)
{
	HASHCTL		ctl = {
		.keysize = sizeof(Oid),
		.entrysize = sizeof(SegmentBounds),
		.hcxt = CacheMemoryContext
	};

	if (known_bounds == NULL)
		known_bounds = hash_create("queue segments", 256, &ctl,
								   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	*(SegmentBounds *) hash_search(known_bounds, &bounds->relid, HASH_ENTER,
								   NULL) = *bounds;
}

/* Read a datum of a bound.  Return false if it is no value. */
static bool
bound_value(const List *bound, int n, int64 *value)
{
	PartitionRangeDatum *datum = list_nth(bound, n);
	Const	   *constant;

	if (datum->kind != PARTITION_RANGE_DATUM_VALUE)
		return false;
	constant = castNode(Const, datum->value);
	*value = n == 0 ? DatumGetInt32(constant->constvalue) :
		DatumGetInt64(constant->constvalue);
	return true;
}

/* Read the bounds.  Return false if they are not offsets of one partition. */
static bool
take_bounds(const PartitionBoundSpec *spec, SegmentBounds *bounds)
{
	int64		lower;
	int64		upper;

	if (spec->is_default || spec->strategy != PARTITION_STRATEGY_RANGE ||
		!bound_value(spec->lowerdatums, 0, &lower) ||
		!bound_value(spec->upperdatums, 0, &upper) || lower != upper ||
		!bound_value(spec->lowerdatums, 1, &bounds->first) ||
		!bound_value(spec->upperdatums, 1, &bounds->end))
		return false;
	bounds->partition = (int32) lower;
	return true;
}

/*
 * Read a segment's bounds from its row of pg_class; not from the system cache,
 * which may not have been told yet that it is attached.
 */
static bool
read_bounds(Oid relid, SegmentBounds *bounds)
{
	Relation	rel = table_open(RelationRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		isnull = true;
	Datum		bound = 0;
	bool		result = false;

	ScanKeyInit(&key, Anum_pg_class_oid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(relid));
	scan = systable_beginscan(rel, ClassOidIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		bound = heap_getattr(tuple, Anum_pg_class_relpartbound,
							RelationGetDescr(rel), &isnull);
	/* else dropped, or detached, since it was listed: we shall be told */
	if (!isnull)
		result = take_bounds(castNode(PartitionBoundSpec,
									  stringToNode(TextDatumGetCString(bound))),
							 bounds);
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return result;
}

/*
 * Return the number of invalidations that the relation cache was sent: if it has
 * changed, what was read meanwhile may be outdated.
 */
uint64
pgqueue_relcache_changes(void)
{
	return changes;
}

/*
 * Read the bounds of a segment, unless they are known already.  Return false if
 * it has none, or others than a segment of a topic.
 */
bool
pgqueue_segment_bounds(Oid relid, SegmentBounds *bounds)
{
	SegmentBounds *known = known_bounds == NULL ? NULL :
		hash_search(known_bounds, &relid, HASH_FIND, NULL);
	uint64		before = changes;

	if (known != NULL)
	{
		*bounds = *known;
		return true;
	}
	bounds->relid = relid;
	if (!read_bounds(relid, bounds))
		return false;
	/* an invalidation that has arrived meanwhile may concern it */
	if (changes == before)
		remember(bounds);
	return true;
}

static int
by_place(const void *a, const void *b)
{
	const SegmentBounds *x = a;
	const SegmentBounds *y = b;

	if (x->partition != y->partition)
		return x->partition < y->partition ? -1 : 1;
	return x->first < y->first ? -1 : x->first > y->first;
}

/*
 * List the segments of a topic's table, ordered by partition and offset, in the
 * current memory context.  Return their number.  A change that arrives meanwhile
 * is not in the list.
 */
int
pgqueue_list_segments(Oid log, SegmentBounds **segments)
{
	List	   *children = find_inheritance_children_extended(log, true, NoLock,
															  NULL, NULL);
	ListCell   *lc;
	int			n = 0;

	*segments = palloc(list_length(children) * sizeof(SegmentBounds) + 1);
	foreach(lc, children)
		if (pgqueue_segment_bounds(lfirst_oid(lc), &(*segments)[n]))
			n++;
	list_free(children);
	qsort(*segments, n, sizeof(SegmentBounds), by_place);
	return n;
}
