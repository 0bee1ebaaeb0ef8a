/*-------------------------------------------------------------------------
 *
 * policy.c
 *	  Failure policies: what becomes of messages that a group fails on.
 *
 *	 group_id int4 | topic_id int4 | max_attempts int4 | backoff int8 |
 *	 backoff_max int8 | hold char | dead_letter text | max_parked int8 |
 *	 dead_letter_id int4
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/pg_prng.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

#include "base/base.h"
#include "group/parking.h"

#define POLICY_ATTR_GROUP			1
#define POLICY_ATTR_TOPIC			2
#define POLICY_ATTR_MAX_ATTEMPTS	3
#define POLICY_ATTR_BACKOFF			4
#define POLICY_ATTR_BACKOFF_MAX		5
#define POLICY_ATTR_HOLD			6
#define POLICY_ATTR_DEAD_LETTER		7
#define POLICY_ATTR_MAX_PARKED		8
#define POLICY_ATTR_DEAD_LETTER_ID	9
#define POLICY_NATTS				9

static const FailurePolicy defaults = {
	.max_attempts = 5,
	.backoff = 1000,
	.backoff_max = 300000,
	.hold = HOLD_KEY,
	.max_parked = 10000
};

static HeapTuple
begin_scan(RegistryScan *scan, LOCKMODE lockmode, int32 group, int32 topic_id)
{
	pgqueue_registry_key_int4(scan, POLICY_ATTR_GROUP, group);
	pgqueue_registry_key_int4(scan, POLICY_ATTR_TOPIC, topic_id);
	pgqueue_registry_scan(scan, REGISTRY_FAILURE_POLICY, lockmode,
						  SnapshotSelf);
	return pgqueue_registry_next(scan);
}

/* Read the policy of a group in a topic, as of now, or the defaults. */
void
pgqueue_policy_read(int32 group, int32 topic_id, FailurePolicy *policy)
{
	RegistryScan scan = {0};
	HeapTuple	tuple = begin_scan(&scan, AccessShareLock, group, topic_id);
	Datum		values[POLICY_NATTS];
	bool		nulls[POLICY_NATTS];

	*policy = defaults;
	if (HeapTupleIsValid(tuple))
	{
		pgqueue_registry_read(scan.rel, tuple, POLICY_NATTS, values, nulls);
		policy->set = true;
		policy->max_attempts =
			DatumGetInt32(values[POLICY_ATTR_MAX_ATTEMPTS - 1]);
		policy->backoff = DatumGetInt64(values[POLICY_ATTR_BACKOFF - 1]);
		policy->backoff_max =
			DatumGetInt64(values[POLICY_ATTR_BACKOFF_MAX - 1]);
		policy->hold = DatumGetChar(values[POLICY_ATTR_HOLD - 1]);
		policy->dead_letter = nulls[POLICY_ATTR_DEAD_LETTER - 1] ? NULL :
			TextDatumGetCString(values[POLICY_ATTR_DEAD_LETTER - 1]);
		policy->max_parked = DatumGetInt64(values[POLICY_ATTR_MAX_PARKED - 1]);
		policy->dead_letter_id = policy->dead_letter == NULL ? 0 :
			DatumGetInt32(values[POLICY_ATTR_DEAD_LETTER_ID - 1]);
	}
	pgqueue_registry_end(&scan);
}

/* Return the policy that applies to a call, which looks it up once. */
const FailurePolicy *
pgqueue_parking_policy(Parking *parking)
{
	if (!parking->policy_known)
		pgqueue_policy_read(parking->progress->group_id, parking->topic->id,
							&parking->policy);
	parking->policy_known = true;
	return &parking->policy;
}

/*
 * Store the policy of a group in a topic.
 *
 * Locks: the group's settings (pgqueue_group_lock_settings()).
 */
void
pgqueue_policy_write(int32 group, int32 topic_id, const FailurePolicy *policy)
{
	RegistryScan scan = {0};
	HeapTuple	tuple = begin_scan(&scan, RowExclusiveLock, group, topic_id);
	ItemPointerData tid;
	Datum		values[POLICY_NATTS];
	bool		nulls[POLICY_NATTS] = {false};

	ItemPointerSetInvalid(&tid);
	if (HeapTupleIsValid(tuple))
		tid = tuple->t_self;
	pgqueue_registry_end(&scan);
	values[POLICY_ATTR_GROUP - 1] = Int32GetDatum(group);
	values[POLICY_ATTR_TOPIC - 1] = Int32GetDatum(topic_id);
	values[POLICY_ATTR_MAX_ATTEMPTS - 1] = Int32GetDatum(policy->max_attempts);
	values[POLICY_ATTR_BACKOFF - 1] = Int64GetDatum(policy->backoff);
	values[POLICY_ATTR_BACKOFF_MAX - 1] = Int64GetDatum(policy->backoff_max);
	values[POLICY_ATTR_HOLD - 1] = CharGetDatum(policy->hold);
	if (policy->dead_letter == NULL)
		nulls[POLICY_ATTR_DEAD_LETTER - 1] = true;
	else
		values[POLICY_ATTR_DEAD_LETTER - 1] =
			CStringGetTextDatum(policy->dead_letter);
	values[POLICY_ATTR_MAX_PARKED - 1] = Int64GetDatum(policy->max_parked);
	values[POLICY_ATTR_DEAD_LETTER_ID - 1] =
		Int32GetDatum(policy->dead_letter_id);
	nulls[POLICY_ATTR_DEAD_LETTER_ID - 1] = policy->dead_letter == NULL;
	pgqueue_registry_write(REGISTRY_FAILURE_POLICY, &tid, POLICY_NATTS, values,
						   nulls);
}

/* Delete it.  Return false if there is none.  Locks: the group's settings. */
bool
pgqueue_policy_delete(int32 group, int32 topic_id)
{
	RegistryScan scan = {0};
	HeapTuple	tuple = begin_scan(&scan, RowExclusiveLock, group, topic_id);
	bool		found = HeapTupleIsValid(tuple);
	ItemPointerData tid;

	if (found)
		tid = tuple->t_self;
	pgqueue_registry_end(&scan);
	if (found)
		pgqueue_registry_delete_row(REGISTRY_FAILURE_POLICY, &tid);
	return found;
}

/* Return what a message with a key (or NULL) holds while it is parked. */
int64
pgqueue_hash_by_policy(const FailurePolicy *policy, text *key)
{
	if (policy->hold == HOLD_PARTITION)
		return HOLDS_PARTITION;
	if (policy->hold == HOLD_KEY && key != NULL)
		return pgqueue_key_hash(key);
	return HOLDS_NOTHING;
}

/*
 * Return when a message that failed for the nth time is due: after backoff *
 * 2^(n - 1), at most backoff_max, plus or minus 20 percent.
 */
TimestampTz
pgqueue_backoff_end(const FailurePolicy *policy, int32 attempts)
{
	int64		pause = policy->backoff;
	double		part;

	for (int32 i = 1; i < attempts && pause < policy->backoff_max; i++)
		pause *= 2;
	pause = Min(pause, policy->backoff_max);
	part = 0.8 + 0.4 * pg_prng_double(&pg_global_prng_state);
	return TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
									   (int64) (pause * part));
}
