/*-------------------------------------------------------------------------
 *
 * progress_row.c
 *	  The rows of queue.progress.
 *
 *   group_id int4 | topic_id int4 | partition int4 | paused bool | action char |
 *   generation int8 | committed_offset int8 | committed_at timestamptz |
 *   epoch int8 | handed_to int8 | committed_by text | member text |
 *   metadata text | missed int8 | released bool | incarnation int8 |
 *   parked int8 | delayed int8 | parked_due timestamptz | parked_keys int8 |
 *   parked_end int8 | parked_in_hand int4 | delivered int4 | failed int4 |
 *   repeats int4 | failures int4 | probe_at timestamptz
 *
 * A row holds the whole state of the group in the partition; columns that a
 * change leaves alone are carried over from the row before.  0, false and no
 * text are NULL, and take no room, in columns that may be NULL.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "base/base.h"
#include "topic/topic.h"
#include "group/progress.h"

static char *
get_text(const Datum *values, const bool *nulls, AttrNumber attr)
{
	return nulls[attr - 1] ? NULL : TextDatumGetCString(values[attr - 1]);
}

static int32
get_int4(const Datum *values, const bool *nulls, AttrNumber attr)
{
	return nulls[attr - 1] ? 0 : DatumGetInt32(values[attr - 1]);
}

/* Read a row into *progress; strings are copied. */
void
pgqueue_progress_row_read(Relation rel, HeapTuple tuple, Progress *progress)
{
	Datum		values[PROGRESS_NATTS];
	bool		nulls[PROGRESS_NATTS];

	pgqueue_registry_read(rel, tuple, PROGRESS_NATTS, values, nulls);
	progress->found = true;
	progress->xmin = HeapTupleHeaderGetXmin(tuple->t_data);
	progress->paused = DatumGetBool(values[PROGRESS_ATTR_PAUSED - 1]);
	progress->action = DatumGetChar(values[PROGRESS_ATTR_ACTION - 1]);
	progress->generation = DatumGetInt64(values[PROGRESS_ATTR_GENERATION - 1]);
	progress->offset = DatumGetInt64(values[PROGRESS_ATTR_OFFSET - 1]);
	progress->committed_at =
		DatumGetTimestampTz(values[PROGRESS_ATTR_COMMITTED_AT - 1]);
	progress->epoch = pgqueue_registry_int8(values, nulls, PROGRESS_ATTR_EPOCH);
	progress->handed_to = pgqueue_registry_int8(values, nulls,
												PROGRESS_ATTR_HANDED_TO);
	progress->committed_by =
		get_text(values, nulls, PROGRESS_ATTR_COMMITTED_BY);
	progress->member = get_text(values, nulls, PROGRESS_ATTR_MEMBER);
	progress->metadata = get_text(values, nulls, PROGRESS_ATTR_METADATA);
	progress->missed = pgqueue_registry_int8(values, nulls,
											 PROGRESS_ATTR_MISSED);
	progress->released = !nulls[PROGRESS_ATTR_RELEASED - 1];
	progress->incarnation =
		pgqueue_registry_int8(values, nulls, PROGRESS_ATTR_INCARNATION);
	progress->parked = pgqueue_registry_int8(values, nulls,
											 PROGRESS_ATTR_PARKED);
	progress->delayed = pgqueue_registry_int8(values, nulls,
											  PROGRESS_ATTR_DELAYED);
	progress->due = pgqueue_registry_int8(values, nulls, PROGRESS_ATTR_DUE);
	progress->keys = (uint64) pgqueue_registry_int8(values, nulls,
													PROGRESS_ATTR_KEYS);
	progress->parked_end = pgqueue_registry_int8(values, nulls,
												 PROGRESS_ATTR_PARKED_END);
	progress->in_hand = get_int4(values, nulls, PROGRESS_ATTR_IN_HAND);
	progress->delivered = get_int4(values, nulls, PROGRESS_ATTR_DELIVERED);
	progress->failed = get_int4(values, nulls, PROGRESS_ATTR_FAILED);
	progress->repeats = get_int4(values, nulls, PROGRESS_ATTR_REPEATS);
	progress->failures = get_int4(values, nulls, PROGRESS_ATTR_FAILURES);
	progress->probe_at = pgqueue_registry_int8(values, nulls,
											   PROGRESS_ATTR_PROBE_AT);
}

static void
put_number(Datum *values, bool *nulls, AttrNumber attr, int64 number)
{
	values[attr - 1] = Int64GetDatum(number);
	nulls[attr - 1] = number == 0;
}

static void
put_int4(Datum *values, bool *nulls, AttrNumber attr, int32 number)
{
	values[attr - 1] = Int32GetDatum(number);
	nulls[attr - 1] = number == 0;
}

static void
put_text(Datum *values, bool *nulls, AttrNumber attr, const char *text)
{
	values[attr - 1] = text == NULL ? (Datum) 0 : CStringGetTextDatum(text);
	nulls[attr - 1] = text == NULL;
}

void
pgqueue_progress_row_insert(const Progress *progress,
							ProgressAction action)
{
	Datum		values[PROGRESS_NATTS];
	bool		nulls[PROGRESS_NATTS] = {false};

	values[PROGRESS_ATTR_GROUP - 1] = Int32GetDatum(progress->group_id);
	values[PROGRESS_ATTR_TOPIC - 1] = Int32GetDatum(progress->topic->id);
	values[PROGRESS_ATTR_PARTITION - 1] = Int32GetDatum(progress->partition);
	values[PROGRESS_ATTR_PAUSED - 1] = BoolGetDatum(progress->paused);
	values[PROGRESS_ATTR_ACTION - 1] = CharGetDatum(action);
	values[PROGRESS_ATTR_GENERATION - 1] = Int64GetDatum(progress->generation);
	values[PROGRESS_ATTR_OFFSET - 1] = Int64GetDatum(progress->offset);
	values[PROGRESS_ATTR_COMMITTED_AT - 1] =
		TimestampTzGetDatum(progress->committed_at);
	put_number(values, nulls, PROGRESS_ATTR_EPOCH, progress->epoch);
	put_number(values, nulls, PROGRESS_ATTR_HANDED_TO, progress->handed_to);
	put_text(values, nulls, PROGRESS_ATTR_COMMITTED_BY, progress->committed_by);
	put_text(values, nulls, PROGRESS_ATTR_MEMBER, progress->member);
	put_text(values, nulls, PROGRESS_ATTR_METADATA, progress->metadata);
	put_number(values, nulls, PROGRESS_ATTR_MISSED, progress->missed);
	values[PROGRESS_ATTR_RELEASED - 1] = BoolGetDatum(progress->released);
	nulls[PROGRESS_ATTR_RELEASED - 1] = !progress->released;
	put_number(values, nulls, PROGRESS_ATTR_INCARNATION, progress->incarnation);
	put_number(values, nulls, PROGRESS_ATTR_PARKED, progress->parked);
	put_number(values, nulls, PROGRESS_ATTR_DELAYED, progress->delayed);
	put_number(values, nulls, PROGRESS_ATTR_DUE, progress->due);
	put_number(values, nulls, PROGRESS_ATTR_KEYS, (int64) progress->keys);
	put_number(values, nulls, PROGRESS_ATTR_PARKED_END, progress->parked_end);
	put_int4(values, nulls, PROGRESS_ATTR_IN_HAND, progress->in_hand);
	put_int4(values, nulls, PROGRESS_ATTR_DELIVERED, progress->delivered);
	put_int4(values, nulls, PROGRESS_ATTR_FAILED, progress->failed);
	put_int4(values, nulls, PROGRESS_ATTR_REPEATS, progress->repeats);
	put_int4(values, nulls, PROGRESS_ATTR_FAILURES, progress->failures);
	put_number(values, nulls, PROGRESS_ATTR_PROBE_AT, progress->probe_at);
	pgqueue_registry_insert(REGISTRY_PROGRESS, PROGRESS_NATTS, values, nulls);
}
