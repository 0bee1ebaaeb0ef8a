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
 * left on it: rows merged where they were would leave one entry on each.  Here
 * they lie side by side; and the index of the recent rows is as short as they
 * are few.
 *
 * History ends where the recent rows begin: of one producer and series every
 * sequence here is below those there.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/detoast.h"
#include "catalog/indexing.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "base/base.h"
#include "base/data.h"
#include "producer/producer.h"

/*
 * Rows are merged until their map has this many bytes: many times what is
 * beside it in the row, and quickly read for one sequence.
 */
#define MERGED_MAP_BYTES	512

/* Runs of a merged row, at the most: a run takes two bytes or more. */
#define MERGED_RUNS			(MERGED_MAP_BYTES / 2)

/* ---------------- finding ---------------- */

/*
 * Find the addresses in the row that should hold a sequence, be it recent or
 * pruned.  Return false if no row reaches as far.  A sequence that was never
 * stored is not in the map.
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
	int64		reach = MERGED_RUNS * (state->accepted / state->generation + 1);
	int64		near = sequence > PGQUEUE_MAX_SEQUENCE - reach ?
		PGQUEUE_MAX_SEQUENCE : sequence + reach;

	return pgqueue_rows_find(&pgqueue_history_table, producer, state->series,
							 sequence, near, map) ||
		pgqueue_rows_find(&pgqueue_history_table, producer, state->series,
						  sequence, PGQUEUE_MAX_SEQUENCE, map) ||
		pgqueue_rows_find(&pgqueue_batch_table, producer, state->series,
						  sequence, near, map) ||
		pgqueue_rows_find(&pgqueue_batch_table, producer, state->series,
						  sequence, PGQUEUE_MAX_SEQUENCE, map);
}

/* Delete all that is known of a producer's messages.  Locks: the producer's. */
void
pgqueue_producer_rows_delete(int32 producer)
{
	pgqueue_producer_changes++;
	pgqueue_rows_delete(&pgqueue_batch_table, producer);
	pgqueue_rows_delete(&pgqueue_history_table, producer);
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
	int64		written;
} Merge;

/* Write the merged row. */
static void
finish_merge(Merge *merge)
{
	Datum		values[HISTORY_NATTS];
	bool		nulls[HISTORY_NATTS] = {false};

	if (merge->nrows == 0)
		return;
	values[ROW_ATTR_PRODUCER - 1] = Int32GetDatum(merge->producer);
	values[ROW_ATTR_SERIES - 1] = Int32GetDatum(merge->series);
	values[ROW_ATTR_LAST_SEQUENCE - 1] = Int64GetDatum(merge->last_sequence);
	values[HISTORY_ATTR_FIRST_SEQUENCE - 1] = Int64GetDatum(merge->first_sequence);
	values[HISTORY_ATTR_PLACES - 1] =
		PointerGetDatum(pgqueue_map_encode(&merge->map));
	values[HISTORY_ATTR_INCARNATION - 1] = Int64GetDatum(merge->map.incarnation);
	nulls[HISTORY_ATTR_INCARNATION - 1] = merge->map.incarnation == 0;
	pgqueue_registry_insert(REGISTRY_PRODUCER_HISTORY, HISTORY_NATTS, values,
							nulls);
	pfree(DatumGetPointer(values[HISTORY_ATTR_PLACES - 1]));
	merge->written++;
	merge->nrows = 0;
	merge->bytes = 0;
	memset(&merge->map, 0, sizeof(merge->map));
	MemoryContextReset(merge->context);
}

static Size
places_size(const RowTable *table, HeapTuple tuple, TupleDesc desc)
{
	bool		isnull;
	Datum		places = heap_getattr(tuple, table->places, desc, &isnull);

	return isnull ? 0 : toast_raw_datum_size(places);
}

/* Take a row with messages into the merge, and delete it. */
static void
merge_row(Merge *merge, const RowTable *table, Relation rel, HeapTuple tuple)
{
	TupleDesc	desc = RelationGetDescr(rel);
	Size		bytes = places_size(table, tuple, desc);
	bool		isnull;
	int64		first;
	MemoryContext old;

	if (merge->nrows > 0 && merge->map.incarnation !=
		pgqueue_rows_incarnation(table, tuple, desc))
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
	first = pgqueue_rows_add_places(table, tuple, desc, &merge->map);
	MemoryContextSwitchTo(old);
	if (merge->nrows++ == 0)
		merge->first_sequence = first;
	merge->last_sequence =
		DatumGetInt64(heap_getattr(tuple, ROW_ATTR_LAST_SEQUENCE, desc, &isnull));
	merge->bytes += bytes;
	CatalogTupleDelete(rel, &tuple->t_self);
}

/*
 * Go on with the last row of history, if there is room in it; rows of earlier
 * series go.  Returns how many rows were removed.
 */
static int64
open_history(Merge *merge)
{
	RegistryScan scan = {0};
	HeapTuple	tuple;
	int64		removed = 0;

	pgqueue_registry_key_int4(&scan, ROW_ATTR_PRODUCER, merge->producer);
	pgqueue_registry_scan(&scan, REGISTRY_PRODUCER_HISTORY, RowExclusiveLock,
						  SnapshotSelf);
	while (HeapTupleIsValid(tuple = pgqueue_registry_previous(&scan)))
	{
		int32		series =
			DatumGetInt32(pgqueue_registry_column(&scan, tuple,
												  ROW_ATTR_SERIES));

		CHECK_FOR_INTERRUPTS();
		if (series == merge->series)
		{
			/* the last of its series; earlier ones lie before all of them */
			if (places_size(&pgqueue_history_table, tuple,
							RelationGetDescr(scan.rel)) >= MERGED_MAP_BYTES / 2)
				break;
			merge_row(merge, &pgqueue_history_table, scan.rel, tuple);
			removed++;
			break;
		}
		CatalogTupleDelete(scan.rel, &tuple->t_self);
		removed++;
	}
	pgqueue_registry_end(&scan);
	return removed;
}

/*
 * Make few rows of many, and lose nothing that a duplicate needs: rows of
 * earlier series and rows without messages go, the others move to history,
 * merged with their neighbours.  The newest row is left alone: readers compare
 * its xmin with their snapshot.
 *
 * Return true if anything was written, be it that one row has only moved; *saved:
 * rows by which the producer has become shorter.
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
	int64		removed = 0;

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
		int32		series =
			DatumGetInt32(pgqueue_registry_column(&scan, tuple,
												  ROW_ATTR_SERIES));
		int64		generation =
			DatumGetInt64(pgqueue_registry_column(&scan, tuple,
												  BATCH_ATTR_GENERATION));

		CHECK_FOR_INTERRUPTS();
		if (series == newest.series && generation == newest.generation)
			break;
		if (removed++ == 0)
			removed += open_history(&merge);
		if (series != newest.series ||
			heap_attisnull(tuple, BATCH_ATTR_PLACES, RelationGetDescr(scan.rel)))
			CatalogTupleDelete(scan.rel, &tuple->t_self);
		else
			merge_row(&merge, &pgqueue_batch_table, scan.rel, tuple);
	}
	finish_merge(&merge);
	pgqueue_registry_end(&scan);
	MemoryContextDelete(merge.context);
	*saved = removed - merge.written;
	return removed > 0;
}
