/*-------------------------------------------------------------------------
 *
 * data.h
 *	  Data structures and functions that know nothing of PostgreSQL's
 *	  tables.
 *
 *-------------------------------------------------------------------------
 */
#ifndef QUEUE_DATA_H
#define QUEUE_DATA_H

#include "base/compat.h"

/* ---------------- key_map.c ---------------- */

typedef struct KeyMap KeyMap;

extern KeyMap *pgqueue_key_map(Size memory);
extern bool pgqueue_key_map_set(KeyMap *map, const char *key, uint32 len,
								int64 offset);
extern int64 pgqueue_key_map_get(const KeyMap *map, const char *key,
								 uint32 len);

/* ---------------- partitioner.c ---------------- */

extern uint32 pgqueue_murmur2(const unsigned char *data, int length);
extern int32 pgqueue_partition_for_key(const char *key, int length,
									   int npartitions);

/* ---------------- sequence_map.c ---------------- */

/* Messages with sequences and offsets that both ascend by one. */
typedef struct SequenceRun
{
	int64		sequence;		/* of the first */
	int64		count;
	int32		partition;
	int64		offset;			/* of the first */
} SequenceRun;

typedef struct SequenceMap
{
	SequenceRun *runs;			/* ascending by sequence */
	int			n;
	int			room;
	int64		incarnation;	/* of the log, as stored with them; 0: this */
} SequenceMap;

typedef struct MessageAddress
{
	int32		partition;
	int64		offset;
} MessageAddress;

#define PGQUEUE_MAX_PARTITIONS 10000

/* The sequence before the first of a series; and the greatest there is. */
#define NO_SEQUENCE (-1)
#define PGQUEUE_MAX_SEQUENCE (PG_INT64_MAX - 1)

extern void pgqueue_map_add(SequenceMap *map, int64 sequence, int64 count,
							int32 partition, int64 offset);
extern bool pgqueue_map_find(const SequenceMap *map, int64 sequence,
							 MessageAddress *place);
extern void pgqueue_map_free(SequenceMap *map);
extern bytea *pgqueue_map_encode(const SequenceMap *map);
extern void pgqueue_map_decode(SequenceMap *map, const bytea *stored,
							   int64 sequence);
pg_noreturn extern void pgqueue_map_damaged(void);

#endif							/* QUEUE_DATA_H */
