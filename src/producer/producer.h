/*-------------------------------------------------------------------------
 *
 * producer.h
 *	  Producers, and the sequences that they have stored.
 *
 *-------------------------------------------------------------------------
 */
#ifndef QUEUE_PRODUCER_H
#define QUEUE_PRODUCER_H

#include "base/base.h"
#include "base/data.h"
#include "topic/topic.h"

/* ---------------- state.c ---------------- */

typedef struct ProducerState
{
	bool		found;
	TransactionId xmin;			/* that wrote it */
	int32		series;			/* epoch in which sequences last restarted */
	int32		epoch;
	int64		generation;		/* counts the producer's rows */
	int64		last_sequence;	/* of the series, or NO_SEQUENCE */
	bool		has_place;		/* its place is known ... */
	MessageAddress place;		/* ... here */
	int64		accepted;
	int64		duplicates;
	int64		gaps;
	TimestampTz produced_at;
	TimestampTz used_at;		/* as read: when the row was written */
	bool		has_watermark;
	Datum		watermark;		/* jsonb */
} ProducerState;

/* First columns of queue.producer_batch and _history, and of their indexes. */
#define ROW_ATTR_PRODUCER			1
#define ROW_ATTR_SERIES				2
#define ROW_ATTR_LAST_SEQUENCE		3

/* The other columns of queue.producer_batch; generation ends its index. */
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
#define BATCH_ATTR_USED_AT			15
#define BATCH_ATTR_INCARNATION		16
#define BATCH_NATTS					16

extern uint64 pgqueue_producer_changes;
extern void pgqueue_producer_state_read(int32 producer, Snapshot snapshot,
										ProducerState *state);
extern void pgqueue_producer_state_write(int32 producer,
										 const ProducerState *state,
										 int64 first_sequence,
										 const SequenceMap *map);

/* ---------------- history.c ---------------- */

extern bool pgqueue_producer_places_find(int32 producer,
										 const ProducerState *state,
										 int64 sequence, SequenceMap *map);
extern bool pgqueue_producer_rows_prune(int32 producer, int64 *saved);
extern void pgqueue_producer_rows_delete(int32 producer);

/* ---------------- producer.c ---------------- */

extern bool pgqueue_producer_lock(Topic *topic, const char *name,
								  bool wait);
extern void pgqueue_producer_unlock(const Topic *topic, const char *name);
extern LOCKTAG pgqueue_producer_tag(const Topic *topic, const char *name);
extern bool pgqueue_producer_find(int32 topic_id, const char *name,
								  Snapshot snapshot, Producer *producer);
extern void pgqueue_producer_make(const Topic *topic, const char *name,
								  bool strict, Producer *producer);
extern void pgqueue_producer_forget(const Topic *topic, const char *name,
									int32 id);
extern void pgqueue_producer_give(const Topic *topic, const char *name,
								  Oid owner);
extern List *pgqueue_producer_ids(const Topic *topic, bool due,
								  const char *after, int limit);
extern void pgqueue_producer_wrote(int32 topic_id, const char *name,
								   int64 before, int64 after);
extern bool pgqueue_producer_due_delete(int32 topic_id, const char *name);
extern bool pgqueue_find_last_used(Topic *topic, const char *name,
								   Producer *producer);

/* ---------------- deduplicate.c ---------------- */

/* What became of the sequences of a call; see pgqueue_claim(). */
typedef struct ProducerClaim
{
	int32		topic;
	const char *name;			/* the caller's */
	int32		producer;
	int64		incarnation;	/* of the topic's log */
	const int64 *sequences;
	int			n;
	int			nduplicates;	/* the first so many are stored already ... */
	MessageAddress *places;		/* ... here */
	int64	   *incarnations;	/* of the log; 0: the one at hand */
	ProducerState state;		/* as found, but for gaps, epoch and series */
	uint64		changes;		/* pgqueue_producer_changes then */
} ProducerClaim;

extern void pgqueue_check_fenced(const Topic *topic, const char *name,
								 int32 epoch);
extern void pgqueue_claim(Topic *topic, const char *name, int32 epoch,
						  const int64 *sequences, int n, ProducerClaim *claim);
extern void pgqueue_claim_complete(ProducerClaim *claim, HeapTuple *records,
								   const Datum *watermark);

/* ---------------- prune.c ---------------- */

/* Producers that one transaction prunes or forgets, at the most. */
#define PGQUEUE_PRODUCERS_AT_ONCE 500

extern int64 pgqueue_producers_prune_due(Topic *topic, char *after, int limit,
										 int *n);
extern bool pgqueue_prune_producer(Topic *topic, const char *name,
								   int64 *saved);
extern bool pgqueue_forget_next(Topic *topic, char *after, TimestampTz since,
								int64 *forgotten);

#endif							/* QUEUE_PRODUCER_H */
