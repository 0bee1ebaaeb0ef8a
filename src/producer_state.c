/*-------------------------------------------------------------------------
 *
 * producer_state.c
 *	  What each producer has stored: the rows of queue.producer_batch.
 *
 * A log, like queue.progress: each call that produces with a sequence adds a
 * row, and the newest one counts.
 *
 *	 producer_id | series | last_sequence | generation |	the index
 *	 epoch | first_sequence | partition, offset of last_sequence |
 *	 accepted, duplicates, gaps: totals | produced_at | watermark |
 *	 places of first_sequence to last_sequence (sequence_map.c)
 *
 * Later rows have the greater (series, last_sequence, generation), so the
 * newest is read from the index's end, and the row of an old sequence is the
 * first whose last_sequence is not below it.  A row without messages (a fence,
 * a call of duplicates only, a watermark alone) repeats last_sequence, has no
 * places, and comes behind the row that has.
 *
 * A series is the epoch in which the producer's sequences last restarted.
 *
 * Rows are read and written under the producer's lock (producer.c), as of now:
 * with SnapshotSelf, so that calls of one statement see each other, and no
 * predicate lock is taken.
 *
 *-------------------------------------------------------------------------
 */
#include "queue.h"

#include "access/detoast.h"
#include "access/genam.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "miscadmin.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

/* Columns of queue.producer_batch; the first four are the index. */
#define BATCH_ATTR_PRODUCER			1
#define BATCH_ATTR_SERIES			2
#define BATCH_ATTR_LAST_SEQUENCE	3
#define BATCH_ATTR_GENERATION		4
#define BATCH_ATTR_EPOCH			5
#define BATCH_ATTR_FIRST_SEQUENCE	6
#define BATCH_ATTR_PARTITION		7
#define BATCH_ATTR_OFFSET			8
#define BATCH_ATTR_ACCEPTED			9
#define BATCH_ATTR_DUPLICATES		10
#define BATCH_ATTR_GAPS				11
#define BATCH_ATTR_PRODUCED_AT		12
#define BATCH_ATTR_WATERMARK		13
#define BATCH_ATTR_PLACES			14
#define BATCH_NATTS					14

/*
 * Pruning merges rows until their map has this many bytes: four times what is
 * beside it in the row, and quickly read for one sequence.
 */
#define MERGED_MAP_BYTES			512

/* Runs of a merged row, at the most: a run takes two bytes or more. */
#define MERGED_RUNS					(MERGED_MAP_BYTES / 2)

/*
 * And so many rows become one: it lies behind their remains, which stay while
 * somebody holds an old snapshot, and a look-up walks over them.
 */
#define MERGED_ROWS					256

/*
 * Rows written and deleted by this backend: who finds the same number again
 * knows that it was not disturbed.
 */
uint64		pgqueue_producer_changes = 0;

/* ---------------- scans ---------------- */

typedef struct BatchScan
{
	Relation	rel;
	Relation	index;
	SysScanDesc scan;
	LOCKMODE	lockmode;		/* of rel, to give back */
} BatchScan;

/* Rows of a producer in index order; further keys may narrow them. */
static void
begin_scan(BatchScan *scan, bool writing, Snapshot snapshot, int32 producer,
		   ScanKeyData *keys, int nkeys)
{
	ScanKeyInit(&keys[0], BATCH_ATTR_PRODUCER, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum(producer));
	scan->lockmode = writing ? NoLock : AccessShareLock;
	scan->rel = writing ? pgqueue_open_for_writing(REGISTRY_PRODUCER_BATCH) :
		table_open(pgqueue_registry(REGISTRY_PRODUCER_BATCH), AccessShareLock);
	scan->index = index_open(pgqueue_registry(REGISTRY_PRODUCER_BATCH_INDEX),
							 AccessShareLock);
	scan->scan = systable_beginscan_ordered(scan->rel, scan->index, snapshot,
											nkeys, keys);
}

static void
end_scan(BatchScan *scan)
{
	systable_endscan_ordered(scan->scan);
	index_close(scan->index, AccessShareLock);
	table_close(scan->rel, scan->lockmode);
}

/* ---------------- reading ---------------- */

static void
fill_state(ProducerState *state, HeapTuple tuple, TupleDesc desc)
{
	Datum		values[BATCH_NATTS];
	bool		nulls[BATCH_NATTS];

	heap_deform_tuple(tuple, desc, values, nulls);
	state->found = true;
	state->xmin = HeapTupleHeaderGetXmin(tuple->t_data);
	state->series = DatumGetInt32(values[BATCH_ATTR_SERIES - 1]);
	state->epoch = DatumGetInt32(values[BATCH_ATTR_EPOCH - 1]);
	state->generation = DatumGetInt64(values[BATCH_ATTR_GENERATION - 1]);
	state->last_sequence = DatumGetInt64(values[BATCH_ATTR_LAST_SEQUENCE - 1]);
	state->has_place = !nulls[BATCH_ATTR_PARTITION - 1];
	if (state->has_place)
	{
		state->place.partition = DatumGetInt32(values[BATCH_ATTR_PARTITION - 1]);
		state->place.offset = DatumGetInt64(values[BATCH_ATTR_OFFSET - 1]);
	}
	state->accepted = DatumGetInt64(values[BATCH_ATTR_ACCEPTED - 1]);
	state->duplicates = DatumGetInt64(values[BATCH_ATTR_DUPLICATES - 1]);
	state->gaps = DatumGetInt64(values[BATCH_ATTR_GAPS - 1]);
	state->produced_at =
		DatumGetTimestampTz(values[BATCH_ATTR_PRODUCED_AT - 1]);
	state->has_watermark = !nulls[BATCH_ATTR_WATERMARK - 1];
	if (state->has_watermark)
		state->watermark =
			PointerGetDatum(PG_DETOAST_DATUM_COPY(values[BATCH_ATTR_WATERMARK - 1]));
}

/*
 * The producer's newest row.
 *
 * Locks: the producer's for SnapshotSelf: a commit between two looks at rows
 * could hide both the old and the new one.
 */
void
pgqueue_producer_state_read(int32 producer, Snapshot snapshot,
							ProducerState *state)
{
	ScanKeyData keys[1];
	BatchScan	scan;
	HeapTuple	tuple;

	memset(state, 0, sizeof(*state));
	state->last_sequence = NO_SEQUENCE;
	begin_scan(&scan, false, snapshot, producer, keys, lengthof(keys));
	tuple = systable_getnext_ordered(scan.scan, BackwardScanDirection);
	if (HeapTupleIsValid(tuple))
		fill_state(state, tuple, RelationGetDescr(scan.rel));
	end_scan(&scan);
}

/* Add the places of a row's messages to a map. */
static void
add_places(SequenceMap *map, const Datum *values, const bool *nulls)
{
	bytea	   *places;

	if (nulls[BATCH_ATTR_PLACES - 1])
		return;
	places = (bytea *) PG_DETOAST_DATUM_PACKED(values[BATCH_ATTR_PLACES - 1]);
	pgqueue_map_decode(map, places,
					   DatumGetInt64(values[BATCH_ATTR_FIRST_SEQUENCE - 1]));
	if (PointerGetDatum(places) != values[BATCH_ATTR_PLACES - 1])
		pfree(places);
}

/*
 * The places of the first row, by last_sequence, between two sequences.  False
 * if there is none.
 */
static bool
find_row(int32 producer, int32 series, int64 least, int64 greatest,
		 SequenceMap *map)
{
	ScanKeyData keys[4];
	BatchScan	scan;
	HeapTuple	tuple;

	ScanKeyInit(&keys[1], BATCH_ATTR_SERIES, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum(series));
	ScanKeyInit(&keys[2], BATCH_ATTR_LAST_SEQUENCE,
				BTGreaterEqualStrategyNumber, F_INT8GE,
				Int64GetDatum(least));
	ScanKeyInit(&keys[3], BATCH_ATTR_LAST_SEQUENCE,
				BTLessEqualStrategyNumber, F_INT8LE,
				Int64GetDatum(greatest));
	begin_scan(&scan, false, SnapshotSelf, producer, keys, lengthof(keys));
	tuple = systable_getnext_ordered(scan.scan, ForwardScanDirection);
	if (HeapTupleIsValid(tuple))
	{
		Datum		values[BATCH_NATTS];
		bool		nulls[BATCH_NATTS];

		heap_deform_tuple(tuple, RelationGetDescr(scan.rel), values, nulls);
		add_places(map, values, nulls);
	}
	end_scan(&scan);
	return HeapTupleIsValid(tuple);
}

/*
 * The places of the row that should hold a sequence.  False if no row reaches
 * as far.	A sequence that was never stored is not in the map.
 *
 * An index scan reads a page's entries up to the bound before it returns the
 * first; so look first as far as a merged row is likely to reach.
 *
 * Locks: the producer's.
 */
bool
pgqueue_producer_state_find(int32 producer, const ProducerState *state,
							int64 sequence, SequenceMap *map)
{
	int64		reach = MERGED_RUNS * (state->accepted / state->generation + 1);

	if (sequence > PGQUEUE_MAX_SEQUENCE - reach)
		reach = PGQUEUE_MAX_SEQUENCE - sequence;
	return find_row(producer, state->series, sequence, sequence + reach, map) ||
		find_row(producer, state->series, sequence, PGQUEUE_MAX_SEQUENCE, map);
}

/* ---------------- writing ---------------- */

/*
 * Add a row.  map: the places of first_sequence to state->last_sequence; or
 * NULL for a row without messages.
 *
 * Locks: the producer's.
 */
void
pgqueue_producer_state_write(int32 producer, const ProducerState *state,
							 int64 first_sequence, const SequenceMap *map)
{
	Relation	rel = pgqueue_open_for_writing(REGISTRY_PRODUCER_BATCH);
	Datum		values[BATCH_NATTS];
	bool		nulls[BATCH_NATTS] = {false};
	bytea	   *places = map == NULL ? NULL : pgqueue_map_encode(map);
	HeapTuple	tuple;

	values[BATCH_ATTR_PRODUCER - 1] = Int32GetDatum(producer);
	values[BATCH_ATTR_SERIES - 1] = Int32GetDatum(state->series);
	values[BATCH_ATTR_LAST_SEQUENCE - 1] = Int64GetDatum(state->last_sequence);
	values[BATCH_ATTR_GENERATION - 1] = Int64GetDatum(state->generation);
	values[BATCH_ATTR_EPOCH - 1] = Int32GetDatum(state->epoch);
	values[BATCH_ATTR_FIRST_SEQUENCE - 1] = Int64GetDatum(first_sequence);
	values[BATCH_ATTR_PARTITION - 1] = Int32GetDatum(state->place.partition);
	values[BATCH_ATTR_OFFSET - 1] = Int64GetDatum(state->place.offset);
	nulls[BATCH_ATTR_PARTITION - 1] = !state->has_place;
	nulls[BATCH_ATTR_OFFSET - 1] = !state->has_place;
	values[BATCH_ATTR_ACCEPTED - 1] = Int64GetDatum(state->accepted);
	values[BATCH_ATTR_DUPLICATES - 1] = Int64GetDatum(state->duplicates);
	values[BATCH_ATTR_GAPS - 1] = Int64GetDatum(state->gaps);
	values[BATCH_ATTR_PRODUCED_AT - 1] =
		TimestampTzGetDatum(state->produced_at);
	values[BATCH_ATTR_WATERMARK - 1] = state->watermark;
	nulls[BATCH_ATTR_WATERMARK - 1] = !state->has_watermark;
	values[BATCH_ATTR_PLACES - 1] = PointerGetDatum(places);
	nulls[BATCH_ATTR_PLACES - 1] = places == NULL;

	tuple = heap_form_tuple(RelationGetDescr(rel), values, nulls);
	CatalogTupleInsert(rel, tuple);
	pgqueue_producer_changes++;
	heap_freetuple(tuple);
	if (places != NULL)
		pfree(places);
	table_close(rel, NoLock);
}

/* Delete all rows of a producer.  Locks: the producer's. */
void
pgqueue_producer_state_delete(int32 producer)
{
	ScanKeyData keys[1];
	BatchScan	scan;
	HeapTuple	tuple;

	pgqueue_producer_changes++;
	begin_scan(&scan, true, SnapshotSelf, producer, keys, lengthof(keys));
	while (HeapTupleIsValid(tuple = systable_getnext_ordered(scan.scan,
															 ForwardScanDirection)))
	{
		CHECK_FOR_INTERRUPTS();
		CatalogTupleDelete(scan.rel, &tuple->t_self);
	}
	end_scan(&scan);
}

/* ---------------- pruning ---------------- */

/* Rows next to each other, to become one. */
typedef struct Merge
{
	int32		producer;
	MemoryContext context;		/* of map and last, reset between merges */
	int			nrows;
	ItemPointerData only;		/* the row, while it is one */
	int64		first_sequence;
	ProducerState last;
	SequenceMap map;
	Size		bytes;			/* of the rows' maps as stored */
} Merge;

/* Write the merged row, unless it is one row that still stands. */
static void
finish_merge(Merge *merge)
{
	if (merge->nrows > 1)
		pgqueue_producer_state_write(merge->producer, &merge->last,
									 merge->first_sequence, &merge->map);
	merge->nrows = 0;
	merge->bytes = 0;
	memset(&merge->map, 0, sizeof(merge->map));
	MemoryContextReset(merge->context);
}

/* Take a row with messages into the merge.	 Returns the rows removed. */
static int
merge_row(Merge *merge, Relation rel, HeapTuple tuple)
{
	Datum		values[BATCH_NATTS];
	bool		nulls[BATCH_NATTS];
	Size		bytes;
	MemoryContext old;

	heap_deform_tuple(tuple, RelationGetDescr(rel), values, nulls);
	bytes = toast_raw_datum_size(values[BATCH_ATTR_PLACES - 1]);
	if (merge->nrows == MERGED_ROWS)
		finish_merge(merge);
	if (merge->nrows > 0 && merge->bytes + bytes > MERGED_MAP_BYTES)
	{
		/* runs that touch have become one: how long is the map really? */
		bytea	   *places = pgqueue_map_encode(&merge->map);

		merge->bytes = VARSIZE(places);
		pfree(places);
		if (merge->bytes + bytes > MERGED_MAP_BYTES)
			finish_merge(merge);
	}

	old = MemoryContextSwitchTo(merge->context);
	if (merge->nrows == 0)
		merge->first_sequence =
			DatumGetInt64(values[BATCH_ATTR_FIRST_SEQUENCE - 1]);
	add_places(&merge->map, values, nulls);
	fill_state(&merge->last, tuple, RelationGetDescr(rel));
	/* only the newest row's is asked for */
	if (merge->last.has_watermark)
		pfree(DatumGetPointer(merge->last.watermark));
	merge->last.has_watermark = false;
	MemoryContextSwitchTo(old);
	merge->bytes += bytes;

	if (merge->nrows == 1)
		CatalogTupleDelete(rel, &merge->only);
	if (merge->nrows > 0)
		CatalogTupleDelete(rel, &tuple->t_self);
	else
		merge->only = tuple->t_self;
	merge->nrows++;
	return merge->nrows > 1 ? 1 : 0;
}

/*
 * Make few rows of many, and lose nothing that a duplicate needs: rows of
 * earlier series and rows without messages go, neighbours are merged with
 * their maps.	The newest row is left alone: readers compare its xmin with
 * their snapshot.
 *
 * Locks: the producer's.
 * Returns the number of rows by which the producer has become shorter.
 */
int64
pgqueue_producer_state_prune(int32 producer)
{
	ScanKeyData keys[1];
	BatchScan	scan;
	HeapTuple	tuple;
	ProducerState newest;
	Merge		merge = {0};
	int64		removed = 0;

	pgqueue_producer_state_read(producer, SnapshotSelf, &newest);
	if (!newest.found)
		return 0;
	merge.producer = producer;
	merge.context = AllocSetContextCreate(CurrentMemoryContext,
										  "queue merged state",
										  ALLOCSET_DEFAULT_SIZES);
	begin_scan(&scan, true, SnapshotSelf, producer, keys, lengthof(keys));
	while (HeapTupleIsValid(tuple = systable_getnext_ordered(scan.scan,
															 ForwardScanDirection)))
	{
		TupleDesc	desc = RelationGetDescr(scan.rel);
		bool		isnull;
		int32		series = DatumGetInt32(heap_getattr(tuple, BATCH_ATTR_SERIES,
														desc, &isnull));
		int64		generation =
			DatumGetInt64(heap_getattr(tuple, BATCH_ATTR_GENERATION, desc,
									   &isnull));

		CHECK_FOR_INTERRUPTS();
		if (series == newest.series && generation == newest.generation)
			break;
		(void) heap_getattr(tuple, BATCH_ATTR_PLACES, desc, &isnull);
		if (series != newest.series || isnull)
		{
			CatalogTupleDelete(scan.rel, &tuple->t_self);
			removed++;
		}
		else
			removed += merge_row(&merge, scan.rel, tuple);
	}
	finish_merge(&merge);
	end_scan(&scan);
	MemoryContextDelete(merge.context);
	return removed;
}
