/*-------------------------------------------------------------------------
 *
 * state.c
 *	  What each producer has stored of late: the rows of queue.producer_batch.
 *
 * A log: each call that produces with a sequence adds a row, and the newest one
 * counts.
 *
 *	 producer_id | series | last_sequence | generation |    the index
 *	 epoch | first_sequence | partition, offset of last_sequence |
 *	 accepted, duplicates, gaps: totals | produced_at | watermark |
 *	 places of first_sequence to last_sequence (base/sequence_map.c) | used_at |
 *	 incarnation of the log that the places are of (topic/incarnation.c)
 *
 * Later rows have the greater (series, last_sequence, generation), so the
 * newest is read from the index's end, and the row of an earlier sequence is
 * the first with a last_sequence not below it; unless pruning has moved it to
 * queue.producer_history (history.c).  A row without messages (a fence, a call
 * of duplicates only, a watermark alone) repeats last_sequence, has no places,
 * and comes behind the row that has.
 *
 * Rows are read and written under the producer's lock (producer.c), as of now,
 * with SnapshotSelf, as those of queue.progress.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "base/base.h"
#include "base/data.h"
#include "producer/producer.h"

/* Counts rows that this backend wrote, and deletions. */
uint64		pgqueue_producer_changes = 0;

static void
fill_state(ProducerState *state, Relation rel, HeapTuple tuple)
{
	Datum		values[BATCH_NATTS];
	bool		nulls[BATCH_NATTS];

	pgqueue_registry_read(rel, tuple, BATCH_NATTS, values, nulls);
	state->found = true;
	state->xmin = HeapTupleHeaderGetXmin(tuple->t_data);
	state->series = DatumGetInt32(values[ROW_ATTR_SERIES - 1]);
	state->epoch = DatumGetInt32(values[BATCH_ATTR_EPOCH - 1]);
	state->generation = DatumGetInt64(values[BATCH_ATTR_GENERATION - 1]);
	state->last_sequence = DatumGetInt64(values[ROW_ATTR_LAST_SEQUENCE - 1]);
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
	state->used_at = nulls[BATCH_ATTR_USED_AT - 1] ? state->produced_at :
		DatumGetTimestampTz(values[BATCH_ATTR_USED_AT - 1]);
	state->has_watermark = !nulls[BATCH_ATTR_WATERMARK - 1];
	if (state->has_watermark)
		state->watermark =
			PointerGetDatum(PG_DETOAST_DATUM_COPY(values[BATCH_ATTR_WATERMARK - 1]));
}

/*
 * Read the producer's newest row.
 *
 * Locks: the producer's for SnapshotSelf: a commit between two looks at rows
 * could hide both the old and the new one.
 */
void
pgqueue_producer_state_read(int32 producer, Snapshot snapshot,
							ProducerState *state)
{
	RegistryScan scan = {0};
	HeapTuple	tuple;

	memset(state, 0, sizeof(*state));
	state->last_sequence = NO_SEQUENCE;
	pgqueue_registry_key_int4(&scan, ROW_ATTR_PRODUCER, producer);
	pgqueue_registry_scan(&scan, REGISTRY_PRODUCER_BATCH, AccessShareLock,
						  snapshot);
	tuple = pgqueue_registry_previous(&scan);
	if (HeapTupleIsValid(tuple))
		fill_state(state, scan.rel, tuple);
	pgqueue_registry_end(&scan);
}

/*
 * Add a row.  map: the places of first_sequence to state->last_sequence, or
 * NULL.
 * Locks: the producer's.
 */
void
pgqueue_producer_state_write(int32 producer, const ProducerState *state,
							 int64 first_sequence, const SequenceMap *map)
{
	Datum		values[BATCH_NATTS];
	bool		nulls[BATCH_NATTS] = {false};

	values[ROW_ATTR_PRODUCER - 1] = Int32GetDatum(producer);
	values[ROW_ATTR_SERIES - 1] = Int32GetDatum(state->series);
	values[ROW_ATTR_LAST_SEQUENCE - 1] = Int64GetDatum(state->last_sequence);
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
	/* a row with messages was written at produced_at */
	nulls[BATCH_ATTR_USED_AT - 1] = map != NULL;
	nulls[BATCH_ATTR_PLACES - 1] = map == NULL;
	nulls[BATCH_ATTR_INCARNATION - 1] = map == NULL;
	if (map == NULL)
		values[BATCH_ATTR_USED_AT - 1] =
			TimestampTzGetDatum(GetCurrentTimestamp());
	else
	{
		values[BATCH_ATTR_PLACES - 1] = PointerGetDatum(pgqueue_map_encode(map));
		values[BATCH_ATTR_INCARNATION - 1] = Int64GetDatum(map->incarnation);
	}

	pgqueue_registry_insert(REGISTRY_PRODUCER_BATCH, BATCH_NATTS, values, nulls);
	pgqueue_producer_changes++;
	if (map != NULL)
		pfree(DatumGetPointer(values[BATCH_ATTR_PLACES - 1]));
}
