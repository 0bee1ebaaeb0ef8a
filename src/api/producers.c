/*-------------------------------------------------------------------------
 *
 * producers.c
 *	  SQL functions about producers: create, alter, fence, look at, forget,
 *	  prune.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#if PG_VERSION_NUM < 170000
#include "storage/sinvaladt.h"
#endif

#include "base/compat.h"
#include "base/base.h"
#include "base/data.h"
#include "topic/topic.h"
#include "producer/producer.h"
#include "api/api.h"
#include "api/maintain.h"

PG_FUNCTION_INFO_V1(pgqueue_create_producer);
PG_FUNCTION_INFO_V1(pgqueue_alter_producer);
PG_FUNCTION_INFO_V1(pgqueue_fence_producer);
PG_FUNCTION_INFO_V1(pgqueue_producer_state);
PG_FUNCTION_INFO_V1(pgqueue_forget_producer);
PG_FUNCTION_INFO_V1(pgqueue_prune_producers);
PG_FUNCTION_INFO_V1(pgqueue_forget_producers);

/* Milliseconds between looks at a producer while its holders are ended. */
#define TERMINATE_WAIT 20

/*
 * Return the topic and the producer's id, arguments 0 and 1.
 *
 * Errors: 22004, 42704, 42602; 42501 without the right to produce.
 */
static Topic *
producer_args(FunctionCallInfo fcinfo, bool writes, char **name)
{
	Topic	   *topic;

	if (writes)
		pgqueue_check_writable(fcinfo);
	pgqueue_check_not_null(fcinfo, 0, "topic");
	pgqueue_check_not_null(fcinfo, 1, "producer_id");
	topic = pgqueue_topic_arg(PG_GETARG_TEXT_PP(0));
	pgqueue_check_right(topic, ACL_INSERT);
	*name = pgqueue_name_arg(PG_GETARG_TEXT_PP(1), "producer_id");
	return topic;
}

/* Check that the user may manage a producer: the topic's owner may, too. */
static void
check_manages(const Topic *topic, const char *name, const Producer *producer)
{
	if (!pgqueue_owns_relation(topic->log, GetUserId()))
		pgqueue_check_belongs("producer", name, &producer->owner);
}

/* ---------------- locks ---------------- */

/*
 * End the backends with transactions that hold the producer.  Prepared
 * transactions cannot be ended so.
 *
 * Errors: 42501 if the user may not.
 */
static void
terminate_holders(const LOCKTAG *tag)
{
	int			count;
	VirtualTransactionId *holders = GetLockConflicts(tag, ExclusiveLock,
													 &count);

	for (int i = 0; i < count; i++)
	{
		PGPROC	   *proc;

		if (VirtualTransactionIdIsRecoveredPreparedXact(holders[i]))
			continue;
		proc = pgqueue_proc_of(holders[i]);
		/* a prepared transaction keeps the number of the backend that was */
		if (proc == NULL || proc->pid == 0 ||
			pgqueue_proc_lxid(proc) != holders[i].localTransactionId)
			continue;
		(void) DirectFunctionCall2(pg_terminate_backend,
								   Int32GetDatum(proc->pid),
								   Int64GetDatum(0));
	}
	pfree(holders);
}

/*
 * Lock a producer that the user may manage, if it exists.  Wait for the
 * transactions that have produced with it, or end them, and those that come
 * next, until the lock is acquired.  Return false if it does not exist.
 *
 * Errors: 42501; 55P03 after lock_timeout, as the lock manager says it.
 */
static bool
lock_managed(Topic *topic, const char *name, bool terminate,
			 Producer *producer)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	TimestampTz begun = GetCurrentTimestamp();
	LOCKTAG		tag = pgqueue_producer_tag(topic, name);

	/* check before waiting for other transactions, or ending them */
	if (pgqueue_producer_find(topic->id, name, snapshot, producer))
		check_manages(topic, name, producer);
	UnregisterSnapshot(snapshot);

	while (!pgqueue_producer_lock(topic, name, !terminate))
	{
		CHECK_FOR_INTERRUPTS();
		terminate_holders(&tag);
		if (LockTimeout > 0 &&
			TimestampDifferenceExceeds(begun, GetCurrentTimestamp(),
									   LockTimeout))
			ereport(ERROR,
					(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
					 errmsg("canceling statement due to lock timeout")));
		(void) WaitLatch(MyLatch,
						 WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 TERMINATE_WAIT, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
	}
	if (!pgqueue_producer_find(topic->id, name, SnapshotSelf, producer))
		return false;
	check_manages(topic, name, producer);
	return true;
}

/* ---------------- one producer ---------------- */

/* (topic, producer_id, sequence_mode) */
Datum
pgqueue_create_producer(PG_FUNCTION_ARGS)
{
	char	   *name;
	Topic	   *topic = producer_args(fcinfo, true, &name);
	char	   *mode;
	bool		strict;
	Producer	producer;

	pgqueue_check_not_null(fcinfo, 2, "sequence_mode");
	mode = text_to_cstring(PG_GETARG_TEXT_PP(2));
	strict = strcmp(mode, "strict") == 0;
	if (!strict && strcmp(mode, "monotonic") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("sequence_mode must be \"strict\" or \"monotonic\", not \"%s\"",
						mode)));

	(void) pgqueue_producer_lock(topic, name, true);
	if (pgqueue_producer_find(topic->id, name, SnapshotSelf, &producer))
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("producer \"%s\" of topic \"%s\" already exists",
						name, topic->name)));
	pgqueue_producer_make(topic, name, strict, &producer);
	PG_RETURN_VOID();
}

/* (topic, producer_id, owner) */
Datum
pgqueue_alter_producer(PG_FUNCTION_ARGS)
{
	char	   *name;
	Topic	   *topic = producer_args(fcinfo, true, &name);
	Producer	producer;
	Oid			owner = InvalidOid;

	if (!PG_ARGISNULL(2))
		owner = pgqueue_new_owner(text_to_cstring(PG_GETARG_TEXT_PP(2)));
	if (!lock_managed(topic, name, false, &producer))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("producer \"%s\" of topic \"%s\" does not exist",
						name, topic->name)));
	if (OidIsValid(owner))
		pgqueue_producer_give(topic, name, owner);
	PG_RETURN_VOID();
}

/*
 * (topic, producer_id, terminate) -> the new epoch
 *
 * The lock is held to the end of the transaction: calls of the old epoch wait
 * for it, and are refused if it commits.
 */
Datum
pgqueue_fence_producer(PG_FUNCTION_ARGS)
{
	char	   *name;
	Topic	   *topic = producer_args(fcinfo, true, &name);
	Producer	producer;
	ProducerState state;

	if (!lock_managed(topic, name, !PG_ARGISNULL(2) && PG_GETARG_BOOL(2),
					  &producer))
		pgqueue_producer_make(topic, name, true, &producer);

	pgqueue_producer_state_read(producer.id, SnapshotSelf, &state);
	if (!state.found)
	{
		/* calls without an epoch are of epoch 0 */
		state.series = 1;
		state.produced_at = GetCurrentTimestamp();
	}
	if (state.epoch == PG_INT32_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("producer \"%s\" has used up its epochs", name)));
	state.epoch++;
	state.generation++;
	pgqueue_producer_state_write(producer.id, &state, state.last_sequence + 1,
								 NULL);
	pgqueue_producer_wrote(topic->id, name, state.generation - 1,
						   state.generation);
	PG_RETURN_INT32(state.epoch);
}

/*
 * (topic, producer_id) -> epoch, last_sequence, partition, offset, watermark,
 * produced_at; all NULL for a producer that is not known
 */
Datum
pgqueue_producer_state(PG_FUNCTION_ARGS)
{
	char	   *name;
	Topic	   *topic = producer_args(fcinfo, false, &name);
	Producer	producer;
	ProducerState state = {0};
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	Datum		values[6];
	bool		nulls[6];

	/* without the lock: one snapshot for both tables */
	if (pgqueue_producer_find(topic->id, name, snapshot, &producer))
	{
		check_manages(topic, name, &producer);
		pgqueue_producer_state_read(producer.id, snapshot, &state);
	}
	UnregisterSnapshot(snapshot);
	memset(nulls, !state.found, sizeof(nulls));
	values[0] = Int32GetDatum(state.epoch);
	values[1] = Int64GetDatum(state.last_sequence);
	nulls[1] |= state.last_sequence == NO_SEQUENCE;
	values[2] = Int32GetDatum(state.place.partition);
	values[3] = Int64GetDatum(state.place.offset);
	nulls[2] = nulls[3] = !state.found || !state.has_place;
	values[4] = state.watermark;
	nulls[4] |= !state.has_watermark;
	values[5] = TimestampTzGetDatum(state.produced_at);
	nulls[5] |= state.accepted == 0;
	return pgqueue_return_row(fcinfo, values, nulls, lengthof(values));
}

/* (topic, producer_id) -> was it known? */
Datum
pgqueue_forget_producer(PG_FUNCTION_ARGS)
{
	char	   *name;
	Topic	   *topic = producer_args(fcinfo, true, &name);
	Producer	producer;

	if (!lock_managed(topic, name, false, &producer))
		PG_RETURN_BOOL(false);
	/* what this very command has written must go, too */
	CommandCounterIncrement();
	pgqueue_producer_forget(topic, name, producer.id);
	PG_RETURN_BOOL(true);
}

/* ---------------- many producers ---------------- */

/* Prune all producers of a topic, due or not, as many as one call may. */
static int64
prune_all(Topic *topic)
{
	char	   *after = NULL;
	int			nwritten = 0;
	int64		total = 0;
	List	   *ids;

	do
	{
		ListCell   *lc;

		ids = pgqueue_producer_ids(topic, false, after,
								   PGQUEUE_PRODUCERS_AT_ONCE);
		foreach(lc, ids)
		{
			int64		saved;

			CHECK_FOR_INTERRUPTS();
			after = lfirst(lc);
			nwritten += pgqueue_prune_producer(topic, after, &saved);
			total += saved;
			if (nwritten < PGQUEUE_PRODUCERS_AT_ONCE)
				continue;
			ereport(NOTICE,
					(errmsg("pruned %d producers of topic \"%s\", as many as one call may prune",
							nwritten, topic->name),
					 errhint("Call it again in another transaction for the others.")));
			return total;
		}
	} while (ids != NIL);
	return total;
}

/* (topic) -> number of rows saved */
Datum
pgqueue_prune_producers(PG_FUNCTION_ARGS)
{
	Topic	   *topic = pgqueue_owned_topic_arg(fcinfo);

	/* what this very command has written can be merged, too */
	CommandCounterIncrement();
	PG_RETURN_INT64(prune_all(topic));
}

/* (topic, unused_since, forgotten) -> (forgotten) */
Datum
pgqueue_forget_producers(PG_FUNCTION_ARGS)
{
	char	   *name;
	int32		id;
	char		after[PGQUEUE_MAX_PRODUCER_NAME + 1] = "";
	TimestampTz since;
	Topic	   *topic;
	int64		forgotten = 0;
	Datum		value;
	bool		isnull = false;
	bool		more = true;

	pgqueue_call_begin(fcinfo);
	pgqueue_step_begin();
	topic = pgqueue_owned_topic_arg(fcinfo);
	pgqueue_check_not_null(fcinfo, 1, "unused_since");
	since = PG_GETARG_TIMESTAMPTZ(1);
	name = pstrdup(topic->name);
	id = topic->id;
	pgqueue_step_end();

	while (more)
	{
		pgqueue_step_begin();
		topic = pgqueue_topic(name);
		pgqueue_check_same(topic, id);
		pgqueue_check_owner(topic);
		more = pgqueue_forget_next(topic, after, since, &forgotten);
		pgqueue_step_end();
	}
	SPI_finish();

	value = Int64GetDatum(forgotten);
	return pgqueue_return_row(fcinfo, &value, &isnull, 1);
}
