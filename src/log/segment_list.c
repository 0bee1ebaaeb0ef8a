/*-------------------------------------------------------------------------
 *
 * segment_list.c
 *	  The segments of a topic's table: its partitions and their bounds, as of
 *	  now.
 *
 * The server builds the partition descriptor of a table anew, bound by bound,
 * whenever a partition is attached; with hundreds of segments the call that
 * meets a roll would be slow.  So bounds are remembered here, by the segment's
 * OID, until the relation cache is told that the segment has changed: attaching
 * and detaching change its row of pg_class.
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
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "log/log.h"

static HTAB *known_bounds = NULL;	/* of SegmentBounds, by relid */

/* The invalidations that the relation cache was sent. */
uint64		pgqueue_relcache_changes = 0;

/* Forget the bounds of a relation that has changed; InvalidOid: of all. */
void
pgqueue_segment_changed(Oid relid)
{
	pgqueue_relcache_changes++;
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

static HTAB *
bounds_table(void)
{
	HASHCTL		ctl = {
		.keysize = sizeof(Oid),
		.entrysize = sizeof(SegmentBounds),
		.hcxt = CacheMemoryContext
	};

	if (known_bounds == NULL)
		known_bounds = hash_create("queue segments", 256, &ctl,
								   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	return known_bounds;
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

/*
 * Read a segment's bounds from its row of pg_class; not from the system cache,
 * which may not know yet that it is attached.  Return false if they are not
 * offsets of one partition.
 */
static bool
read_bounds(Oid relid, SegmentBounds *bounds)
{
	PartitionBoundSpec *spec = NULL;
	int64		lower;
	int64		upper;
	Relation	rel = table_open(RelationRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		isnull = true;
	Datum		bound = 0;

	ScanKeyInit(&key, Anum_pg_class_oid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(relid));
	scan = systable_beginscan(rel, ClassOidIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		bound = heap_getattr(tuple, Anum_pg_class_relpartbound,
							RelationGetDescr(rel), &isnull);
	if (!isnull)
		spec = stringToNode(TextDatumGetCString(bound));
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	/* NULL: dropped, or detached, since it was listed; an invalidation comes */
	if (spec == NULL || spec->is_default ||
		spec->strategy != PARTITION_STRATEGY_RANGE ||
		!bound_value(spec->lowerdatums, 0, &lower) ||
		!bound_value(spec->upperdatums, 0, &upper) || lower != upper ||
		!bound_value(spec->lowerdatums, 1, &bounds->first) ||
		!bound_value(spec->upperdatums, 1, &bounds->end))
		return false;
	bounds->relid = relid;
	bounds->partition = (int32) lower;
	return true;
}

/* Get the bounds of a topic's segment.  Return false if it is none. */
bool
pgqueue_segment_bounds(Oid relid, SegmentBounds *bounds)
{
	SegmentBounds *known = hash_search(bounds_table(), &relid, HASH_FIND, NULL);
	uint64		changes = pgqueue_relcache_changes;

	if (known != NULL)
	{
		*bounds = *known;
		return true;
	}
	if (!read_bounds(relid, bounds))
		return false;
	/* an invalidation that has arrived meanwhile may concern it */
	if (pgqueue_relcache_changes == changes)
	{
		known = hash_search(bounds_table(), &relid, HASH_ENTER, NULL);
		*known = *bounds;
	}
	return true;
}

/* Set the offset in one of the bounds that read_bounds() reads. */
static void
set_bound(List *bound, int64 value)
{
	PartitionRangeDatum *datum = lsecond(bound);

	castNode(Const, datum->value)->constvalue = Int64GetDatum(value);
}

/*
 * Give a segment other bounds, in this transaction: the offsets [first, end) of
 * the partition that it has.  Those of the partition's other segments must be
 * changed with it, before the next command, so that all touch each other.
 *
 * Nothing is checked, and no file is read: what is outside must be no message.
 *
 * Locks: ACCESS EXCLUSIVE on the topic's table, since the server reads bounds of
 * several segments one by one; SHARE ROW EXCLUSIVE or more on the segment.
 */
void
pgqueue_set_segment_bounds(Oid log, Oid relid, int64 first, int64 end)
{
	Relation	rel = table_open(RelationRelationId, RowExclusiveLock);
	HeapTuple	tuple = SearchSysCacheCopy1(RELOID, ObjectIdGetDatum(relid));
	Datum		values[Natts_pg_class];
	bool		nulls[Natts_pg_class];
	bool		replace[Natts_pg_class] = {false};
	const AttrNumber attr = Anum_pg_class_relpartbound;
	PartitionBoundSpec *spec;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", relid);
	heap_deform_tuple(tuple, RelationGetDescr(rel), values, nulls);
	if (nulls[attr - 1])
		elog(ERROR, "relation %u is not a partition", relid);
	spec = stringToNode(TextDatumGetCString(values[attr - 1]));
	set_bound(spec->lowerdatums, first);
	set_bound(spec->upperdatums, end);
	values[attr - 1] = CStringGetTextDatum(nodeToString(spec));
	replace[attr - 1] = true;
	tuple = heap_modify_tuple(tuple, RelationGetDescr(rel), values, nulls,
							  replace);
	CatalogTupleUpdate(rel, &tuple->t_self, tuple);
	CacheInvalidateRelcacheByRelid(log);
	table_close(rel, RowExclusiveLock);
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
 * current memory context.  Return their number.
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
