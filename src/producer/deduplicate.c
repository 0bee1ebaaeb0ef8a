/*-------------------------------------------------------------------------
 *
 * deduplicate.c
 *	  Claim sequences for messages: accepted, duplicate, gap or fenced.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/snapmgr.h"

#include "base/errors.h"
#include "base/base.h"
#include "base/data.h"
#include "log/log.h"
#include "log/write.h"
#include "topic/segment.h"
#include "topic/topic.h"
#include "producer/producer.h"

/* Runs of messages in a row, at the most. */
#define ROW_RUNS 2048

static void
check_epoch(const char *name, int32 epoch, const ProducerState *state)
{
	if (state->found && epoch < state->epoch)
		ereport(ERROR,
				(errcode(ERRCODE_QUEUE_PRODUCER_FENCED),
				 errmsg("producer \"%s\" was fenced: epoch %d is over",
						name, epoch),
				 errdetail("The current epoch is %d.", state->epoch),
				 errhint("Another instance has taken over. To take over in turn, call queue.fence_producer() and go on behind queue.producer_state().")));
}

/*
 * Check a producer's epoch for a call that changes nothing.
 *
 * Errors: QU003; 42501 for another role's producer.
 */
void
pgqueue_check_fenced(const Topic *topic, const char *name, int32 epoch)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	Producer	producer;
	ProducerState state;

	if (pgqueue_producer_find(topic->id, name, snapshot, &producer))
	{
		pgqueue_check_belongs("producer", name, &producer.owner);
		pgqueue_producer_state_read(producer.id, snapshot, &state);
		check_epoch(name, epoch, &state);
	}
	UnregisterSnapshot(snapshot);
}

/* Check that the call's own sequences ascend.  Errors: 22023. */
static void
check_ascending(const int64 *sequences, int n)
{
	for (int i = 0; i < n; i++)
	{
		if (sequences[i] < 0 || sequences[i] > PGQUEUE_MAX_SEQUENCE)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("sequence must be between 0 and " INT64_FORMAT
							", not " INT64_FORMAT,
							PGQUEUE_MAX_SEQUENCE, sequences[i])));
		if (i > 0 && sequences[i] <= sequences[i - 1])
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("sequences must ascend: " INT64_FORMAT
							" follows " INT64_FORMAT,
							sequences[i], sequences[i - 1])));
	}
}

/*
 * Find where the duplicates of a call were stored, one row after the other.
 *
 * Errors: QU002 if one never was: calling it a duplicate would lose it.
 */
static void
find_places(ProducerClaim *claim, Topic *topic, const char *name)
{
	SequenceMap map = {0};

	claim->places = palloc(claim->nduplicates * sizeof(MessageAddress));
	claim->incarnations = palloc(claim->nduplicates * sizeof(int64));
	for (int i = 0; i < claim->nduplicates; i++)
	{
		int64		sequence = claim->sequences[i];

		if (!pgqueue_map_find(&map, sequence, &claim->places[i]))
		{
			CHECK_FOR_INTERRUPTS();
			pgqueue_map_free(&map);
			if (!pgqueue_producer_places_find(claim->producer, &claim->state,
											 sequence, &map) ||
				!pgqueue_map_find(&map, sequence, &claim->places[i]))
				ereport(ERROR,
						(errcode(ERRCODE_QUEUE_SEQUENCE_OUT_OF_ORDER),
						 errmsg("sequence " INT64_FORMAT " of producer \"%s\" is behind its last one and was never stored",
								sequence, name),
						 errdetail("The last sequence is " INT64_FORMAT ".",
								   claim->state.last_sequence),
						 errhint("The message was left out or rolled back; queue.producer_state() tells where to go on.")));
		}
		claim->incarnations[i] = map.incarnation;
	}
	pgqueue_map_free(&map);
	for (int i = 0; i < claim->nduplicates; i++)
	{
		/* in a partition that is new: see pgqueue_topic_reload() */
		if (claim->places[i].partition >= topic->npartitions)
			topic = pgqueue_topic_reload(topic);
		if (claim->places[i].partition < 0 ||
			claim->places[i].partition >= topic->npartitions)
			pgqueue_map_damaged();
	}
}

/*
 * Check that the log reaches the duplicates, with the same messages: a partial
 * restore may have brought the producer's state only (topic/incarnation.c).
 *
 * Errors: QU001.
 */
static void
check_reached(const ProducerClaim *claim, Topic *topic)
{
	int			npartitions = topic->npartitions;
	int64	   *next = palloc0(npartitions * sizeof(int64));

	for (int i = 0; i < claim->nduplicates; i++)
	{
		int64	   *end = &next[claim->places[i].partition];

		*end = Max(*end, claim->places[i].offset + 1);
	}
	for (int32 p = 0; p < npartitions; p++)
		if (next[p] > 0 && pgqueue_behind_log_end(topic, p, next[p]))
			pgqueue_offset_out_of_range(topic, p, next[p] - 1,
										"offset of a duplicate");
	pfree(next);
	for (int i = 0; i < claim->nduplicates; i++)
	{
		MessageAddress place = claim->places[i];
		int64		number = claim->incarnations[i];
		int64		reach;

		if (likely(number == 0 || number == claim->incarnation))
			continue;
		CHECK_FOR_INTERRUPTS();
		reach = pgqueue_incarnation_reach(topic, place.partition, number, -1);
		if (place.offset >= reach)
			pgqueue_offset_lost(topic, place.partition, place.offset, reach,
								"offset of a duplicate",
								_("Call queue.forget_producer(), and send the messages again."));
	}
}

/*
 * Check that a REPEATABLE READ or SERIALIZABLE transaction's snapshot does not
 * know the producer, which is forgotten if it was there.
 *
 * Errors: 40001.
 */
static void
check_not_forgotten(const Topic *topic, const char *name)
{
	Producer	producer;

	if (IsolationUsesXactSnapshot() &&
		pgqueue_producer_find(topic->id, name, GetActiveSnapshot(), &producer))
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("could not serialize access: producer \"%s\" was forgotten",
						name),
				 errhint("Retry the transaction.")));
}

/*
 * Count the gaps before and between the new messages.
 *
 * Errors: QU002 if there is one and the producer is strict.
 */
static void
check_order(ProducerClaim *claim, const char *name, bool strict)
{
	bool		known = claim->state.last_sequence != NO_SEQUENCE;
	int64		last = claim->state.last_sequence;

	for (int i = claim->nduplicates; i < claim->n; i++)
	{
		int64		sequence = claim->sequences[i];

		if (known && sequence - last != 1)
		{
			if (strict)
				ereport(ERROR,
						(errcode(ERRCODE_QUEUE_SEQUENCE_OUT_OF_ORDER),
						 errmsg("sequence " INT64_FORMAT " of producer \"%s\" is out of order",
								sequence, name),
						 errdetail("Expected sequence " INT64_FORMAT ".", last + 1),
						 errhint("A message before it was rolled back, never sent, or lost in a failover or restore. Go on behind last_sequence of queue.producer_state().")));
			claim->state.gaps++;
		}
		known = true;
		last = sequence;
	}
}

/*
 * Claim sequences of a producer for this transaction; n may be 0.
 *
 * Locks: takes the producer's to the end of the transaction; waits for it.
 * Errors: QU002, QU003; 40001 if the producer has moved on since the snapshot
 * of a REPEATABLE READ or SERIALIZABLE transaction; 22023; 42501 if the
 * producer is not the user's; 42704 or 55006 if the topic was dropped.
 */
void
pgqueue_claim(Topic *topic, const char *name, int32 epoch,
			  const int64 *sequences, int n, ProducerClaim *claim)
{
	Producer	producer;
	ProducerState *state = &claim->state;

	check_ascending(sequences, n);
	(void) pgqueue_producer_lock(topic, name, true);
	if (pgqueue_find_last_used(topic, name, &producer))
		pgqueue_check_belongs("producer", name, &producer.owner);
	else
	{
		check_not_forgotten(topic, name);
		pgqueue_producer_make(topic, name, true, &producer);
	}

	pgqueue_producer_state_read(producer.id, SnapshotSelf, state);
	check_epoch(name, epoch, state);
	if (state->found)
		pgqueue_check_known(state->xmin, "producing");
	if (!state->found || epoch > state->epoch)
	{
		state->epoch = state->series = epoch;
		state->last_sequence = NO_SEQUENCE;
		state->has_place = false;
		state->has_watermark = false;
	}

	claim->topic = topic->id;
	claim->name = name;
	claim->producer = producer.id;
	claim->incarnation = pgqueue_incarnation(topic);
	claim->sequences = sequences;
	claim->n = n;
	claim->nduplicates = 0;
	while (claim->nduplicates < n &&
		   sequences[claim->nduplicates] <= state->last_sequence)
		claim->nduplicates++;
	claim->places = NULL;
	if (claim->nduplicates > 0)
	{
		find_places(claim, topic, name);
		check_reached(claim, topic);
	}
	check_order(claim, name, producer.strict);
	claim->changes = pgqueue_producer_changes;
}

/*
 * Check that the producer was not used while the call appended: code that runs
 * then (a constraint of the topic, an index expression) may have used it.
 *
 * Errors: 55006.
 */
static void
check_undisturbed(const ProducerClaim *claim)
{
	Producer	producer;
	ProducerState now;

	if (claim->changes == pgqueue_producer_changes)
		return;
	pgqueue_producer_state_read(claim->producer, SnapshotSelf, &now);
	/* forgotten before it had a state: only the registry tells */
	if (now.generation != claim->state.generation ||
		!pgqueue_producer_find(claim->topic, claim->name, SnapshotSelf,
							   &producer) ||
		producer.id != claim->producer)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("a producer was used while a call of it was producing"),
				 errhint("Do not use the producer_id in a constraint or index of the topic.")));
}

/*
 * Say that a claim's new messages are appended: records, in the order of their
 * sequences.  watermark: jsonb to keep with them, or NULL.  A call of
 * duplicates only leaves the watermark as it is: its own is no newer.
 *
 * Errors: 55006.
 */
void
pgqueue_claim_complete(ProducerClaim *claim, HeapTuple *records,
					   const Datum *watermark)
{
	ProducerState *state = &claim->state;
	const int64 *sequences = claim->sequences + claim->nduplicates;
	int64		generation = state->generation;
	int			nnew = claim->n - claim->nduplicates;
	SequenceMap map = {.incarnation = claim->incarnation};

	check_undisturbed(claim);
	state->duplicates += claim->nduplicates;
	if (nnew > 0 || !state->found)
		state->produced_at = GetCurrentTimestamp();
	if (watermark != NULL && (nnew > 0 || claim->n == 0))
	{
		state->has_watermark = true;
		state->watermark = *watermark;
	}
	for (int i = 0; i < nnew; i++)
	{
		LogFixed   *fixed = log_fixed(records[i]->t_data);

		pgqueue_map_add(&map, sequences[i], 1, fixed->partition, fixed->offset);
		state->accepted++;
		if (map.n < ROW_RUNS && i < nnew - 1)
			continue;
		state->last_sequence = sequences[i];
		state->has_place = true;
		state->place.partition = fixed->partition;
		state->place.offset = fixed->offset;
		state->generation++;
		pgqueue_producer_state_write(claim->producer, state,
									 map.runs[0].sequence, &map);
		map.n = 0;
	}
	if (nnew == 0)
	{
		state->generation++;
		pgqueue_producer_state_write(claim->producer, state,
									 state->last_sequence + 1, NULL);
	}
	pgqueue_producer_wrote(claim->topic, claim->name, generation,
						   state->generation);
	pgqueue_map_free(&map);
}
