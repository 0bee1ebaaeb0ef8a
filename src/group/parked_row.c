/*-------------------------------------------------------------------------
 *
 * parked_row.c
 *	  The rows of queue.parked_message, and what a partition's progress says of
 *	  them.
 *
 *	 group_id int4 | topic_id int4 | partition int4 | due_at timestamptz |
 *	 hash int8 | offset int8 | attempts int4 | parked_at timestamptz |
 *	 epoch int8 | key text | first_failed_at timestamptz | sqlstate text |
 *	 error text | incarnation int8 | delayed bool
 *
 * Rows are read and written under the lock of the group's progress in the
 * partition, and read as of now, with SnapshotSelf.  What writes one writes a row of
 * queue.progress in the same transaction, so the check of that row's xmin under
 * REPEATABLE READ covers these, too.
 *
 * Rows that were deleted stay as long as an old snapshot does, and look-ups should
 * not walk over them.  So the scan for what is due begins at progress->due, behind
 * most of them; and a key is looked up only if a filter of 64 bits says that it may
 * be held.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "port/pg_bitutils.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"

#include "base/base.h"
#include "base/data.h"
#include "topic/segment.h"
#include "topic/topic.h"
#include "group/parking.h"

#define PARKED_ATTR_GROUP			1
#define PARKED_ATTR_TOPIC			2
#define PARKED_ATTR_PARTITION		3
#define PARKED_ATTR_DUE				4
#define PARKED_ATTR_HASH			5
#define PARKED_ATTR_OFFSET			6
#define PARKED_ATTR_ATTEMPTS		7
#define PARKED_ATTR_PARKED_AT		8
#define PARKED_ATTR_EPOCH			9
#define PARKED_ATTR_KEY				10
#define PARKED_ATTR_FIRST_FAILED_AT 11
#define PARKED_ATTR_SQLSTATE		12
#define PARKED_ATTR_ERROR			13
#define PARKED_ATTR_INCARNATION		14
#define PARKED_ATTR_DELAYED			15
#define PARKED_NATTS				15

/* With so many bits of the filter set, and so few rows, it is made anew. */
#define FULL_FILTER		32
#define FEW_ROWS		16

/* ---------------- keys ---------------- */

/* Return the hash of a key; never HOLDS_NOTHING or HOLDS_PARTITION. */
int64
pgqueue_key_hash(text *key)
{
	return (int64) pgqueue_murmur2((const unsigned char *) VARDATA_ANY(key),
								   VARSIZE_ANY_EXHDR(key)) + 2;
}

/* The keys of a partition share the low bits of their hashes. */
static uint64
filter_bits(int64 hash)
{
	if (hash == HOLDS_NOTHING)
		return 0;
	if (hash == HOLDS_PARTITION)
		return PG_UINT64_MAX;
	return UINT64CONST(1) << ((uint32) hash * 0x9e3779b1U >> 26);
}

/* Return false if no message with this hash is parked. */
bool
pgqueue_key_may_be_held(const Progress *progress, int64 hash)
{
	uint64		bits = filter_bits(hash);

	return bits != 0 && (progress->keys & bits) == bits;
}

/* ---------------- scanning ---------------- */

static void
add_partition_keys(RegistryScan *scan, const Progress *progress)
{
	pgqueue_registry_key_int4(scan, PARKED_ATTR_GROUP, progress->group_id);
	pgqueue_registry_key_int4(scan, PARKED_ATTR_TOPIC, progress->topic->id);
	pgqueue_registry_key_int4(scan, PARKED_ATTR_PARTITION,
							  progress->partition);
}

/* Scan the rows of a hash, in the order of their offsets; of one (-1: all). */
void
pgqueue_parked_scan(RegistryScan *scan, const Progress *progress, int64 hash,
					int64 offset, Snapshot snapshot)
{
	add_partition_keys(scan, progress);
	pgqueue_registry_key(scan, PARKED_ATTR_HASH, BTEqualStrategyNumber,
						 F_INT8EQ, Int64GetDatum(hash));
	if (offset >= 0)
		pgqueue_registry_key(scan, PARKED_ATTR_OFFSET, BTEqualStrategyNumber,
							 F_INT8EQ, Int64GetDatum(offset));
	pgqueue_registry_scan(scan, REGISTRY_PARKED, AccessShareLock, snapshot);
}

/*
 * Scan the rows from an offset on the hash of which has a sign: 0 for those that
 * hold nothing, in the order of their offsets; -1 and 1 for the others.
 */
void
pgqueue_parked_scan_part(RegistryScan *scan, const Progress *progress,
						 int sign, int64 offset, Snapshot snapshot)
{
	add_partition_keys(scan, progress);
	pgqueue_registry_key(scan, PARKED_ATTR_HASH,
						 sign == 0 ? BTEqualStrategyNumber :
						 sign < 0 ? BTLessStrategyNumber :
						 BTGreaterStrategyNumber,
						 sign == 0 ? F_INT8EQ : sign < 0 ? F_INT8LT : F_INT8GT,
						 Int64GetDatum(HOLDS_NOTHING));
	pgqueue_registry_key(scan, PARKED_ATTR_OFFSET,
						 BTGreaterEqualStrategyNumber, F_INT8GE,
						 Int64GetDatum(offset));
	pgqueue_registry_scan(scan, REGISTRY_PARKED, AccessShareLock, snapshot);
}

/* Scan the rows that are due at some time, in this order. */
void
pgqueue_parked_scan_due(RegistryScan *scan, const Progress *progress)
{
	add_partition_keys(scan, progress);
	pgqueue_registry_key(scan, PARKED_ATTR_DUE, BTGreaterEqualStrategyNumber,
						 F_TIMESTAMPTZ_GE, TimestampTzGetDatum(progress->due));
	pgqueue_registry_scan(scan, REGISTRY_PARKED_DUE, AccessShareLock,
						  SnapshotSelf);
}

/* Scan all rows of a partition. */
void
pgqueue_parked_scan_all(RegistryScan *scan, const Progress *progress)
{
	add_partition_keys(scan, progress);
	pgqueue_registry_scan(scan, REGISTRY_PARKED, AccessShareLock,
						  SnapshotSelf);
}

static TimestampTz
time_of(const Datum *values, const bool *nulls, AttrNumber attr)
{
	return nulls[attr - 1] ? 0 : DatumGetTimestampTz(values[attr - 1]);
}

static char *
string_of(const Datum *values, const bool *nulls, AttrNumber attr)
{
	return nulls[attr - 1] ? NULL : TextDatumGetCString(values[attr - 1]);
}

int64
pgqueue_parked_row_offset(const RegistryScan *scan, HeapTuple tuple)
{
	return DatumGetInt64(pgqueue_registry_column(scan, tuple,
												 PARKED_ATTR_OFFSET));
}

/* Read a row; texts are copied. */
void
pgqueue_parked_row_read(const RegistryScan *scan, HeapTuple tuple, Parked *row)
{
	HeapTupleHeader header = tuple->t_data;
	Datum		values[PARKED_NATTS];
	bool		nulls[PARKED_NATTS];

	pgqueue_registry_read(scan->rel, tuple, PARKED_NATTS, values, nulls);
	row->tid = tuple->t_self;
	row->ours = TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetXmin(header)) &&
		HeapTupleHeaderGetCmin(header) >= GetCurrentCommandId(false);
	row->due = time_of(values, nulls, PARKED_ATTR_DUE);
	row->hash = DatumGetInt64(values[PARKED_ATTR_HASH - 1]);
	row->offset = DatumGetInt64(values[PARKED_ATTR_OFFSET - 1]);
	row->attempts = DatumGetInt32(values[PARKED_ATTR_ATTEMPTS - 1]);
	row->parked_at = time_of(values, nulls, PARKED_ATTR_PARKED_AT);
	row->epoch = pgqueue_registry_int8(values, nulls, PARKED_ATTR_EPOCH);
	row->key = nulls[PARKED_ATTR_KEY - 1] ? NULL :
		DatumGetTextPCopy(values[PARKED_ATTR_KEY - 1]);
	row->first_failed_at = time_of(values, nulls, PARKED_ATTR_FIRST_FAILED_AT);
	row->sqlstate = string_of(values, nulls, PARKED_ATTR_SQLSTATE);
	row->error = string_of(values, nulls, PARKED_ATTR_ERROR);
	row->incarnation = pgqueue_registry_int8(values, nulls,
											 PARKED_ATTR_INCARNATION);
	row->delayed = !nulls[PARKED_ATTR_DELAYED - 1];
}

bool
pgqueue_parked_next(RegistryScan *scan, Parked *row)
{
	HeapTuple	tuple = pgqueue_registry_next(scan);

	if (!HeapTupleIsValid(tuple))
		return false;
	pgqueue_parked_row_read(scan, tuple, row);
	return true;
}

bool
pgqueue_parked_previous(RegistryScan *scan, Parked *row)
{
	HeapTuple	tuple = pgqueue_registry_previous(scan);

	if (!HeapTupleIsValid(tuple))
		return false;
	pgqueue_parked_row_read(scan, tuple, row);
	return true;
}

/* Return true if a row holds what another, or a message, holds. */
bool
pgqueue_same_hold(const Parked *row, int64 hash, const text *key)
{
	if (row->hash != hash || hash == HOLDS_NOTHING || hash == HOLDS_PARTITION)
		return row->hash == hash && hash == HOLDS_PARTITION;
	return VARSIZE_ANY_EXHDR(row->key) == VARSIZE_ANY_EXHDR(key) &&
		memcmp(VARDATA_ANY(row->key), VARDATA_ANY(key),
			   VARSIZE_ANY_EXHDR(key)) == 0;
}

/* Find the row of a message, by its offset and its key, or NULL. */
bool
pgqueue_parked_find(const Progress *progress, text *key, int64 offset,
					Parked *row)
{
	int64		hashes[3] = {HOLDS_NOTHING, HOLDS_PARTITION};
	int			n = 2;
	bool		found = false;

	if (key != NULL)
		hashes[n++] = pgqueue_key_hash(key);
	for (int i = 0; i < n && !found; i++)
	{
		RegistryScan scan = {0};

		pgqueue_parked_scan(&scan, progress, hashes[i], offset, SnapshotSelf);
		found = pgqueue_parked_next(&scan, row);
		pgqueue_registry_end(&scan);
	}
	return found;
}

/*
 * Return true if an earlier message of a key (NULL: of the partition, by its hash)
 * is parked, and holds it.
 */
bool
pgqueue_parked_holds(const Progress *progress, int64 hash, text *key,
					 int64 before)
{
	RegistryScan scan = {0};
	Parked		row;
	bool		found = false;

	if (!pgqueue_key_may_be_held(progress, hash))
		return false;
	pgqueue_parked_scan(&scan, progress, hash, -1, SnapshotSelf);
	while (!found && pgqueue_parked_previous(&scan, &row))
		found = row.offset < before && pgqueue_same_hold(&row, hash, key);
	pgqueue_registry_end(&scan);
	return found;
}

/* ---------------- writing ---------------- */

static void
put_time(Datum *values, bool *nulls, AttrNumber attr, TimestampTz time)
{
	values[attr - 1] = TimestampTzGetDatum(time);
	nulls[attr - 1] = time == 0;
}

static void
put_string(Datum *values, bool *nulls, AttrNumber attr, const char *string)
{
	values[attr - 1] = string == NULL ? (Datum) 0 : CStringGetTextDatum(string);
	nulls[attr - 1] = string == NULL;
}

/* Write a row, in the place of the one at row->tid if that is valid. */
static void
write_row(const Progress *progress, Parked *row)
{
	Datum		values[PARKED_NATTS];
	bool		nulls[PARKED_NATTS] = {false};

	values[PARKED_ATTR_GROUP - 1] = Int32GetDatum(progress->group_id);
	values[PARKED_ATTR_TOPIC - 1] = Int32GetDatum(progress->topic->id);
	values[PARKED_ATTR_PARTITION - 1] = Int32GetDatum(progress->partition);
	put_time(values, nulls, PARKED_ATTR_DUE, row->due);
	values[PARKED_ATTR_HASH - 1] = Int64GetDatum(row->hash);
	values[PARKED_ATTR_OFFSET - 1] = Int64GetDatum(row->offset);
	values[PARKED_ATTR_ATTEMPTS - 1] = Int32GetDatum(row->attempts);
	values[PARKED_ATTR_PARKED_AT - 1] = TimestampTzGetDatum(row->parked_at);
	values[PARKED_ATTR_EPOCH - 1] = Int64GetDatum(row->epoch);
	nulls[PARKED_ATTR_EPOCH - 1] = row->epoch == 0;
	values[PARKED_ATTR_KEY - 1] = PointerGetDatum(row->key);
	nulls[PARKED_ATTR_KEY - 1] = row->key == NULL;
	put_time(values, nulls, PARKED_ATTR_FIRST_FAILED_AT, row->first_failed_at);
	put_string(values, nulls, PARKED_ATTR_SQLSTATE, row->sqlstate);
	put_string(values, nulls, PARKED_ATTR_ERROR, row->error);
	values[PARKED_ATTR_INCARNATION - 1] = Int64GetDatum(row->incarnation);
	nulls[PARKED_ATTR_INCARNATION - 1] = row->incarnation == 0;
	values[PARKED_ATTR_DELAYED - 1] = BoolGetDatum(true);
	nulls[PARKED_ATTR_DELAYED - 1] = !row->delayed;
	pgqueue_registry_write(REGISTRY_PARKED, &row->tid, PARKED_NATTS, values,
						   nulls);
	row->ours = true;
}

/* A command cannot change a row that it has written. */
static void
end_command(const Parked *row)
{
	if (row->ours)
		CommandCounterIncrement();
}

/* Note in the progress what a row that is written says. */
static void
note_row(Progress *progress, const Parked *row)
{
	progress->keys |= filter_bits(row->hash);
	progress->parked_end = Max(progress->parked_end, row->offset + 1);
	if (row->due != DUE_BEHIND &&
		(progress->due == 0 || row->due < progress->due))
		progress->due = row->due;
}

/*
 * Park a message: hash, key, offset, due, attempts and so on are the caller's.
 *
 * Locks: the group's progress in the partition; the caller writes it then.
 */
void
pgqueue_parked_insert(Progress *progress, Parked *row)
{
	ItemPointerSetInvalid(&row->tid);
	row->parked_at = GetCurrentTimestamp();
	row->incarnation = pgqueue_incarnation(progress->topic);
	write_row(progress, row);
	progress->parked++;
	progress->delayed += row->delayed;
	note_row(progress, row);
}

/*
 * Write a row that was read, and changed, anew.  If the caller changes delayed,
 * it must count progress->delayed.
 *
 * Locks: as pgqueue_parked_insert().
 */
void
pgqueue_parked_replace(Progress *progress, Parked *row)
{
	end_command(row);
	write_row(progress, row);
	note_row(progress, row);
}

/* Delete a row.  Locks: as pgqueue_parked_insert(). */
void
pgqueue_parked_delete(Progress *progress, const Parked *row)
{
	ItemPointerData tid = row->tid;

	end_command(row);
	pgqueue_registry_delete_row(REGISTRY_PARKED, &tid);
	progress->parked--;
	progress->delayed -= row->delayed;
	if (row->epoch != 0 && row->epoch == progress->epoch &&
		progress->in_hand > 0)
		progress->in_hand--;
}

/*
 * Make the first of those that wait behind a key due, after one that was before it
 * is done.
 *
 * Locks: as pgqueue_parked_insert().
 */
void
pgqueue_parked_promote(Progress *progress, int64 hash, text *key)
{
	RegistryScan scan = {0};
	Parked		row;
	bool		found = false;

	if (hash == HOLDS_NOTHING)
		return;
	pgqueue_parked_scan(&scan, progress, hash, -1, SnapshotSelf);
	while (!found && pgqueue_parked_next(&scan, &row))
		found = pgqueue_same_hold(&row, hash, key);
	pgqueue_registry_end(&scan);
	if (!found || row.due != DUE_BEHIND)
		return;
	row.due = GetCurrentTimestamp();
	pgqueue_parked_replace(progress, &row);
}

/* Set the filter to what is parked. */
static void
make_filter(Progress *progress)
{
	RegistryScan scan = {0};
	Parked		row;

	progress->keys = 0;
	pgqueue_parked_scan_all(&scan, progress);
	while (pgqueue_parked_next(&scan, &row))
		progress->keys |= filter_bits(row.hash);
	pgqueue_registry_end(&scan);
}

/* Bring the progress up to date after rows were deleted. */
void
pgqueue_parked_settle(Progress *progress)
{
	if (progress->parked <= 0)
	{
		progress->parked = progress->delayed = progress->due = 0;
		progress->parked_end = 0;
		progress->in_hand = 0;
		progress->keys = 0;
	}
	else if (progress->parked == progress->delayed)
		progress->keys = 0;
	else if (progress->parked <= FEW_ROWS &&
			 pg_popcount64(progress->keys) >= FULL_FILTER)
		make_filter(progress);
}

/* Count the parked messages before an offset. */
int64
pgqueue_parked_before(const Progress *progress, int64 offset)
{
	RegistryScan scan = {0};
	Parked		row;
	int64		n = 0;

	if (progress->parked == 0)
		return 0;
	pgqueue_parked_scan_all(&scan, progress);
	while (pgqueue_parked_next(&scan, &row))
		n += row.offset < offset;
	pgqueue_registry_end(&scan);
	return n;
}

/*
 * Forget all messages that are parked in the partition.  Return the number of those
 * before an offset.
 *
 * Locks: as pgqueue_parked_insert().
 */
int64
pgqueue_parked_forget(Progress *progress, int64 before)
{
	RegistryScan scan = {0};
	int64		n = pgqueue_parked_before(progress, before);

	if (progress->parked == 0)
		return 0;
	add_partition_keys(&scan, progress);
	pgqueue_registry_scan(&scan, REGISTRY_PARKED, RowExclusiveLock,
						  SnapshotSelf);
	(void) pgqueue_registry_delete(&scan);
	progress->parked = 0;
	pgqueue_parked_settle(progress);
	return n;
}
