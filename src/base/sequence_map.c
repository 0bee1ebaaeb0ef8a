/*-------------------------------------------------------------------------
 *
 * sequence_map.c
 *	  Where each sequence number of a producer went: partition and offset.
 *
 * A map is a list of runs, ascending by sequence.  Within a run sequences and
 * offsets both ascend by one, in one partition:
 *
 *	 sequence  7   8   9  10  11     runs  (7, 2 messages, partition 0, offset 40)
 *	 partition 0   0   3   3   0           (9, 2 messages, partition 3, offset 12)
 *	 offset   40  41  12  13  42           (11, 1 message, partition 0, offset 42)
 *
 * Stored, a run is two to four variable-length integers (seven bits a byte,
 * the eighth says that more follow):
 *
 *	 count << 2 | has_gap << 1 | has_jump
 *	 partition
 *	 sequences left out before the run          if has_gap
 *	 zigzag(offset - expected offset)           if has_jump
 *
 * Expected is the offset behind the partition's last run in this map, 0 if it
 * has none.  The sequence of the first run is stored beside the map.
 *
 * Memory comes from the current context.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/int.h"

#include "base/data.h"

#define RUN_HAS_JUMP	1
#define RUN_HAS_GAP		2
#define RUN_COUNT_SHIFT 2

/* Four of the longest variable-length integers. */
#define MAX_RUN_BYTES	(4 * 10)

/* ---------------- runs ---------------- */

static void
make_room(SequenceMap *map, int room)
{
	map->room = room;
	map->runs = map->runs == NULL ?
		palloc_extended(room * sizeof(SequenceRun), MCXT_ALLOC_HUGE) :
		repalloc_huge(map->runs, room * sizeof(SequenceRun));
}

/* Append messages behind all that the map holds. */
void
pgqueue_map_add(SequenceMap *map, int64 sequence, int64 count, int32 partition,
				int64 offset)
{
	if (map->n > 0)
	{
		SequenceRun *last = &map->runs[map->n - 1];

		if (last->partition == partition &&
			last->sequence + last->count == sequence &&
			last->offset + last->count == offset)
		{
			last->count += count;
			return;
		}
	}
	if (map->n == map->room)
		make_room(map, Max(8, 2 * map->room));
	map->runs[map->n++] = (SequenceRun) {sequence, count, partition, offset};
}

/* Find the address of a sequence.  Return false if the map does not hold it. */
bool
pgqueue_map_find(const SequenceMap *map, int64 sequence, MessageAddress *place)
{
	int			low = 0;
	int			high = map->n;
	const SequenceRun *run;

	/* the last run that begins at or before the sequence */
	while (low < high)
	{
		int			mid = low + (high - low) / 2;

		if (map->runs[mid].sequence <= sequence)
			low = mid + 1;
		else
			high = mid;
	}
	if (low == 0)
		return false;
	run = &map->runs[low - 1];
	if (sequence - run->sequence >= run->count)
		return false;
	place->partition = run->partition;
	place->offset = run->offset + (sequence - run->sequence);
	return true;
}

void
pgqueue_map_free(SequenceMap *map)
{
	if (map->runs != NULL)
		pfree(map->runs);
	memset(map, 0, sizeof(*map));
}

/* The next offset of each partition, as far as the map tells; grows. */
typedef struct Expected
{
	int64	   *offset;
	int			n;
} Expected;

static int64 *
expected_offset(Expected *expected, int32 partition)
{
	if (partition >= expected->n)
	{
		int			n = Max(partition + 1, 2 * expected->n);

		expected->offset = expected->offset == NULL ?
			palloc(n * sizeof(int64)) :
			repalloc(expected->offset, n * sizeof(int64));
		memset(expected->offset + expected->n, 0,
			   (n - expected->n) * sizeof(int64));
		expected->n = n;
	}
	return &expected->offset[partition];
}

static uint8 *
put_varint(uint8 *p, uint64 value)
{
	while (value >= 0x80)
	{
		*p++ = (uint8) (value | 0x80);
		value >>= 7;
	}
	*p++ = (uint8) value;
	return p;
}

/* Errors: XX001. */
void
pgqueue_map_damaged(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("the state of a producer is damaged")));
}

/* Errors: XX001 if the bytes end within the integer, or it is too long. */
static uint64
get_varint(const uint8 **p, const uint8 *end)
{
	uint64		value = 0;

	for (int shift = 0; *p < end && shift < 64; shift += 7)
	{
		uint8		byte = *(*p)++;

		value |= (uint64) (byte & 0x7f) << shift;
		if (!(byte & 0x80))
			return value;
	}
	pgqueue_map_damaged();
}

static uint64
zigzag(int64 value)
{
	return ((uint64) value << 1) ^ (uint64) (value >> 63);
}

static int64
unzigzag(uint64 value)
{
	return (int64) (value >> 1) ^ -(int64) (value & 1);
}

bytea *
pgqueue_map_encode(const SequenceMap *map)
{
	bytea	   *stored = palloc_extended(VARHDRSZ + (Size) map->n * MAX_RUN_BYTES,
										 MCXT_ALLOC_HUGE);
	uint8	   *p = (uint8 *) VARDATA(stored);
	Expected	expected = {0};
	int64		next = map->n > 0 ? map->runs[0].sequence : 0;

	for (int i = 0; i < map->n; i++)
	{
		const SequenceRun *run = &map->runs[i];
		int64	   *offset = expected_offset(&expected, run->partition);
		bool		has_gap = run->sequence != next;
		bool		has_jump = run->offset != *offset;

		p = put_varint(p, (uint64) run->count << RUN_COUNT_SHIFT |
					   (has_gap ? RUN_HAS_GAP : 0) |
					   (has_jump ? RUN_HAS_JUMP : 0));
		p = put_varint(p, run->partition);
		if (has_gap)
			p = put_varint(p, run->sequence - next);
		if (has_jump)
			p = put_varint(p, zigzag(run->offset - *offset));
		*offset = run->offset + run->count;
		next = run->sequence + run->count;
	}
	if (expected.offset != NULL)
		pfree(expected.offset);
	SET_VARSIZE(stored, (char *) p - (char *) stored);
	return stored;
}

/*
 * Add a stored map's runs, the first of which begins at the sequence given.
 *
 * Errors: XX001 for bytes that are no map.
 */
void
pgqueue_map_decode(SequenceMap *map, const bytea *stored, int64 sequence)
{
	const uint8 *p = (const uint8 *) VARDATA_ANY(stored);
	const uint8 *end = p + VARSIZE_ANY_EXHDR(stored);
	Expected	expected = {0};

	/* a run has at least two bytes */
	if (map->n + (end - p) / 2 > map->room)
		make_room(map, map->n + (end - p) / 2);
	while (p < end)
	{
		uint64		head = get_varint(&p, end);
		int64		count = head >> RUN_COUNT_SHIFT;
		uint64		partition = get_varint(&p, end);
		uint64		gap = head & RUN_HAS_GAP ? get_varint(&p, end) : 0;
		int64		jump = head & RUN_HAS_JUMP ?
			unzigzag(get_varint(&p, end)) : 0;
		int64	   *offset;

		if (partition >= PGQUEUE_MAX_PARTITIONS)
			pgqueue_map_damaged();
		offset = expected_offset(&expected, partition);
		if (gap > PG_INT64_MAX ||
			pg_add_s64_overflow(sequence, gap, &sequence) ||
			pg_add_s64_overflow(*offset, jump, offset) ||
			count <= 0 || count > PGQUEUE_MAX_SEQUENCE - sequence + 1 ||
			*offset < 0 || count > PG_INT64_MAX - *offset)
			pgqueue_map_damaged();
		pgqueue_map_add(map, sequence, count, partition, *offset);
		*offset += count;
		sequence += count;
	}
	if (expected.offset != NULL)
		pfree(expected.offset);
}
