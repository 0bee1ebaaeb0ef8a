/*-------------------------------------------------------------------------
 *
 * history.c
 *	  Where producers' earlier messages are: queue.producer_history.
 *
 * Pruning empties queue.producer_batch but for each producer's newest row.  The
 * places of the others' messages move here, many rows' in one:
 *
 *	 producer_id | series | last_sequence | the index
 *	 first_sequence | places of first_sequence to last_sequence | incarnation
 *
 * A table of its own, because a B-tree gives back a page only when nothing is
 * left on it: rows merged where they were would leave one entry on each.
 *
 * Of one producer and series every sequence in history is below those of the
 * recent rows.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/detoast.h"
#include "catalog/indexing.h"
#include "miscadmin.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "base/base.h"
#include "base/data.h"
#include "producer/producer.h"

/* Bytes of a merged row's map: quickly read for one sequence. */
#define MERGED_MAP_BYTES	512

/* Runs of a merged row, at the most: a run takes two bytes or more. */
#define MERGED_RUNS			(MERGED_MAP_BYTES / 2)

/* The other columns of queue.producer_history. */
#define HISTORY_ATTR_FIRST_SEQUENCE 4
#define HISTORY_ATTR_PLACES			5
#define HISTORY_ATTR_INCARNATION	6
#define HISTORY_NATTS				6

/* ---------------- rows of either table ---------------- */

/* A table with rows that say where the messages of some sequences are. */
typedef struct RowTable
{
	RegistryTable table;
	int			ncolumns;
	AttrNumber	first_sequence;
	AttrNumber	places;
	AttrNumber	incarnation;
} RowTable;

static const RowTable history_table = {
	REGISTRY_PRODUCER_HISTORY, HISTORY_NATTS, HISTORY_ATTR_FIRST_SEQUENCE,
	HISTORY_ATTR_PLACES, HISTORY_ATTR_INCARNATION
};

static const RowTable batch_table = {
	REGISTRY_PRODUCER_BATCH, BATCH_NATTS, BATCH_ATTR_FIRST_SEQUENCE,
	BATCH_ATTR_PLACES, BATCH_ATTR_INCARNATION
};

typedef struct PlacesRow
{
	int32		series;
	int64		first_sequence;
	int64		last_sequence;
	Datum		places;			/* in the tuple; 0: it has no messages */
	int64		incarnation;	/* of the log that they are of, or 0 */
} PlacesRow;

static void
read_row(const RowTable *table, Relation rel, HeapTuple tuple, PlacesRow *row)
{
	Datum		values[BATCH_NATTS];
	bool		nulls[BATCH_NATTS];

	pgqueue_registry_read(rel, tuple, table->ncolumns, values, nulls);
	row->series = DatumGetInt32(values[ROW_ATTR_SERIES - 1]);
	row->first_sequence = DatumGetInt64(values[table->first_sequence - 1]);
	row->last_sequence = DatumGetInt64(values[ROW_ATTR_LAST_SEQUENCE - 1]);
	row->places = nulls[table->places - 1] ? (Datum) 0 :
		values[table->places - 1];
	row->incarnation = pgqueue_registry_int8(values, nulls, table->incarnation);
}

/* Add the places of a row's messages to a map. */
static void
add_places(const PlacesRow *row, SequenceMap *map)
{
	bytea	   *places;

	if (row->places == (Datum) 0)
		return;
	places = (bytea *) PG_DETOAST_DATUM_PACKED(row->places);
	pgqueue_map_decode(map, places, row->first_sequence);
	map->incarnation = row->incarnation;
	if (PointerGetDatum(places) != row->places)
		pfree(places);
}

/*
 * Add the map of the first row with a last_sequence between two sequences.
 * Return false if there is none.
 */
static bool
find_between(const RowTable *table, int32 producer, int32 series, int64 least,
			 int64 greatest, SequenceMap *map)
{
	RegistryScan scan = {0};
	HeapTuple	tuple;

	pgqueue_registry_key_int4(&scan, ROW_ATTR_PRODUCER, producer);
	pgqueue_registry_key_int4(&scan, ROW_ATTR_SERIES, series);
	pgqueue_registry_key(&scan, ROW_ATTR_LAST_SEQUENCE,
						 BTGreaterEqualStrategyNumber, F_INT8GE,
						 Int64GetDatum(least));
	pgqueue_registry_key(&scan, ROW_ATTR_LAST_SEQUENCE,
						 BTLessEqualStrategyNumber, F_INT8LE,
						 Int64GetDatum(greatest));
	pgqueue_registry_scan(&scan, table->table, AccessShareLock, SnapshotSelf);
	tuple = pgqueue_registry_next(&scan);
	if (HeapTupleIsValid(tuple))
	{
		PlacesRow	row;

		read_row(table, scan.rel, tuple, &row);
		add_places(&row, map);
	}
	pgqueue_registry_end(&scan);
	return HeapTupleIsValid(tuple);
}

/*
 * Read the map that should hold a sequence, be it recent or pruned; a sequence
 * that was never stored is not in it.  Return false if none reaches as far.
 *
 * An index scan reads a page's entries up to the bound before it returns the
 * first; so look first as far as a merged row is likely to reach.
 *
 * Locks: the producer's.
 */
bool
pgqueue_producer_places_find(int32 producer, const ProducerState *state,
							 int64 sequence, SequenceMap *map)
{
	int32		series = state->series;
	int64		reach = MERGED_RUNS * (state->accepted / state->generation + 1);
	int64		far = PGQUEUE_MAX_SEQUENCE;
	int64		near = sequence > far - reach ? far : sequence + reach;

	return find_between(&history_table, producer, series, sequence, near,
						map) ||
		find_between(&history_table, producer, series, sequence, far, map) ||
		find_between(&batch_table, producer, series, sequence, near, map) ||
		find_between(&batch_table, producer, series, sequence, far, map);
}

/* Delete all that is known of a producer's messages.  Locks: the producer's. */
void
pgqueue_producer_rows_delete(int32 producer)
{
	static const RegistryTable tables[] =
		{REGISTRY_PRODUCER_BATCH, REGISTRY_PRODUCER_HISTORY};

	pgqueue_producer_changes++;
	for (int i = 0; i < lengthof(tables); i++)
	{
		RegistryScan scan = {0};

		pgqueue_registry_key_int4(&scan, ROW_ATTR_PRODUCER, producer);
		pgqueue_registry_scan(&scan, tables[i], RowExclusiveLock, SnapshotSelf);
		(void) pgqueue_registry_delete(&scan);
	}
}

/* ---------------- pruning ---------------- */

/* Rows next to each other, to become one. */
typedef struct Merge
{
	int32		producer;
	int32		series;
	MemoryContext context;		/* of map, reset between merges */
	int			nrows;
	int64		first_sequence;
	int64		last_sequence;
	SequenceMap map;
	Size		bytes;			/* of the rows' maps as stored */
	int64		removed;		/* rows ... */
	int64		written;		/* ... in either table */
} Merge;

/* Write the merged row. */
static void
finish_merge(Merge *merge)
{
	Datum		values[HISTORY_NATTS];
	bool		nulls[HISTORY_NATTS] = {false};
	bytea	   *places;

	if (merge->nrows == 0)
		return;
	places = pgqueue_map_encode(&merge->map);
	values[ROW_ATTR_PRODUCER - 1] = Int32GetDatum(merge->producer);
	values[ROW_ATTR_SERIES - 1] = Int32GetDatum(merge->series);
	values[ROW_ATTR_LAST_SEQUENCE - 1] = Int64GetDatum(merge->last_sequence);
	values[HISTORY_ATTR_FIRST_SEQUENCE - 1] = Int64GetDatum(merge->first_sequence);
	values[HISTORY_ATTR_PLACES - 1] = PointerGetDatum(places);
	values[HISTORY_ATTR_INCARNATION - 1] = Int64GetDatum(merge->map.incarnation);
	nulls[HISTORY_ATTR_INCARNATION - 1] = merge->map.incarnation == 0;
	pgqueue_registry_insert(REGISTRY_PRODUCER_HISTORY, HISTORY_NATTS, values,
							nulls);
	pfree(places);
	merge->written++;
	merge->nrows = 0;
	merge->bytes = 0;
	memset(&merge->map, 0, sizeof(merge->map));
	MemoryContextReset(merge->context);
}

static void
remove_row(Merge *merge, Relation rel, HeapTuple tuple)
{
	CatalogTupleDelete(rel, &tuple->t_self);
	merge->removed++;
}

/* Take a row with messages into the merge, and remove it. */
static void
merge_row(Merge *merge, Relation rel, HeapTuple tuple, const PlacesRow *row)
{
	Size		bytes = toast_raw_datum_size(row->places);
	MemoryContext old;

	if (merge->nrows > 0 && merge->map.incarnation != row->incarnation)
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
	add_places(row, &merge->map);
	MemoryContextSwitchTo(old);
	if (merge->nrows++ == 0)
		merge->first_sequence = row->first_sequence;
	merge->last_sequence = row->last_sequence;
	merge->bytes += bytes;
	remove_row(merge, rel, tuple);
}

/* Go on with history's last row, if it has room; remove earlier series. */
static void
open_history(Merge *merge)
{
	RegistryScan scan = {0};
	HeapTuple	tuple;
	PlacesRow	row;

	pgqueue_registry_key_int4(&scan, ROW_ATTR_PRODUCER, merge->producer);
	pgqueue_registry_scan(&scan, REGISTRY_PRODUCER_HISTORY, RowExclusiveLock,
						  SnapshotSelf);
	/* rows of earlier series lie before all rows of this one */
	while (HeapTupleIsValid(tuple = pgqueue_registry_previous(&scan)))
	{
		CHECK_FOR_INTERRUPTS();
		read_row(&history_table, scan.rel, tuple, &row);
		if (row.series == merge->series)
		{
			if (toast_raw_datum_size(row.places) < MERGED_MAP_BYTES / 2)
				merge_row(merge, scan.rel, tuple, &row);
			break;
		}
		remove_row(merge, scan.rel, tuple);
	}
	pgqueue_registry_end(&scan);
}

/*
 * Remove rows of earlier series and rows without messages, and move the others
 * to history, merged with their neighbours.  Leave the newest row alone:
 * readers compare its xmin with their snapshot.  Return true if anything was
 * written; set *saved to the number of rows that the producer has no more.
 *
 * Locks: the producer's.
 */
bool
pgqueue_producer_rows_prune(int32 producer, int64 *saved)
{
	RegistryScan scan = {0};
	HeapTuple	tuple;
	ProducerState newest;
	Merge		merge = {0};

	*saved = 0;
	pgqueue_producer_state_read(producer, SnapshotSelf, &newest);
	if (!newest.found)
		return false;
	merge.producer = producer;
	merge.series = newest.series;
	merge.context = AllocSetContextCreate(CurrentMemoryContext,
										  "queue merged state",
										  ALLOCSET_DEFAULT_SIZES);
	pgqueue_registry_key_int4(&scan, ROW_ATTR_PRODUCER, producer);
	pgqueue_registry_scan(&scan, REGISTRY_PRODUCER_BATCH, RowExclusiveLock,
						  SnapshotSelf);
	while (HeapTupleIsValid(tuple = pgqueue_registry_next(&scan)))
	{
		PlacesRow	row;
		int64		generation =
			DatumGetInt64(pgqueue_registry_column(&scan, tuple,
												  BATCH_ATTR_GENERATION));

		CHECK_FOR_INTERRUPTS();
		read_row(&batch_table, scan.rel, tuple, &row);
		if (row.series == newest.series && generation == newest.generation)
			break;
		if (merge.removed == 0)
			open_history(&merge);
		if (row.series != newest.series || row.places == (Datum) 0)
			remove_row(&merge, scan.rel, tuple);
		else
			merge_row(&merge, scan.rel, tuple, &row);
	}
	finish_merge(&merge);
	pgqueue_registry_end(&scan);
	MemoryContextDelete(merge.context);
	*saved = merge.removed - merge.written;
	return merge.removed > 0;
}
