/*-------------------------------------------------------------------------
 *
 * subscription.c
 *	  Rows of queue.subscription, and their lock.
 *
 * A handler is stored by its signature, not by its OID: pg_dump and pg_upgrade
 * carry the signature to a server where the function has another OID, and a
 * function that was dropped and made again is found.  The owner that the function
 * had is stored with it: another role's function that takes the name is not
 * called (api/handler.c).
 *
 * A transaction that calls the handler holds the subscription's lock in share
 * mode to its end.  Calls that write or delete the row take it exclusively, so
 * after their commit no transaction is at work with the old row.  drop_group and
 * drop_topic delete the row under locks that exclude the writers of such rows
 * (group/progress.c); a transaction that has read the row before then finds the
 * group, or the topic, gone.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/base.h"
#include "base/lock.h"
#include "group/subscription.h"

/* Columns of queue.subscription. */
#define SUBSCRIPTION_ATTR_GROUP			1
#define SUBSCRIPTION_ATTR_TOPIC			2
#define SUBSCRIPTION_ATTR_HANDLER		3
#define SUBSCRIPTION_ATTR_HANDLER_OWNER 4
#define SUBSCRIPTION_ATTR_BATCH			5
#define SUBSCRIPTION_ATTR_WORKERS		6
#define SUBSCRIPTION_ATTR_TIMEOUT		7
#define SUBSCRIPTION_ATTR_OWNER			8
#define SUBSCRIPTION_ATTR_CREATED		9
#define SUBSCRIPTION_NATTS				9

/* Lock a subscription, or its place, to the end of the transaction. */
void
pgqueue_subscription_lock(int32 group, int32 topic_id, LOCKMODE mode)
{
	(void) pgqueue_lock(pgqueue_tag(PGQUEUE_LOCK_SUBSCRIPTION, group, topic_id),
						mode, true);
}

static void
scan_for(RegistryScan *scan, int32 group, int32 topic_id, LOCKMODE lockmode)
{
	pgqueue_registry_key_int4(scan, SUBSCRIPTION_ATTR_GROUP, group);
	pgqueue_registry_key_int4(scan, SUBSCRIPTION_ATTR_TOPIC, topic_id);
	pgqueue_registry_scan(scan, REGISTRY_SUBSCRIPTION, lockmode, SnapshotSelf);
}

/*
 * Read a subscription, as of now.  Return false if there is none.
 *
 * Locks: the subscription's.
 */
bool
pgqueue_subscription_read(int32 group, int32 topic_id,
						  Subscription *subscription)
{
	RegistryScan scan = {0};
	HeapTuple	tuple;
	Datum		values[SUBSCRIPTION_NATTS];
	bool		nulls[SUBSCRIPTION_NATTS];

	scan_for(&scan, group, topic_id, AccessShareLock);
	tuple = pgqueue_registry_next(&scan);
	if (HeapTupleIsValid(tuple))
	{
		pgqueue_registry_read(scan.rel, tuple, SUBSCRIPTION_NATTS, values,
							  nulls);
		*subscription = (Subscription) {
			.group_id = group,
			.topic_id = topic_id,
			.handler =
				TextDatumGetCString(values[SUBSCRIPTION_ATTR_HANDLER - 1]),
			.batch = DatumGetInt32(values[SUBSCRIPTION_ATTR_BATCH - 1]),
			.workers = DatumGetInt32(values[SUBSCRIPTION_ATTR_WORKERS - 1]),
			.timeout = nulls[SUBSCRIPTION_ATTR_TIMEOUT - 1] ? 0 :
				pgqueue_duration("timeout", DatumGetIntervalP(values[SUBSCRIPTION_ATTR_TIMEOUT - 1]))
		};
		pgqueue_role_read(values[SUBSCRIPTION_ATTR_HANDLER_OWNER - 1],
						  &subscription->handler_owner);
		pgqueue_role_read(values[SUBSCRIPTION_ATTR_OWNER - 1],
						  &subscription->owner);
	}
	pgqueue_registry_end(&scan);
	return HeapTupleIsValid(tuple);
}

/* Return true if there is a subscription, as of now. */
bool
pgqueue_subscription_exists(int32 group, int32 topic_id)
{
	RegistryScan scan = {0};
	bool		found;

	scan_for(&scan, group, topic_id, AccessShareLock);
	found = HeapTupleIsValid(pgqueue_registry_next(&scan));
	pgqueue_registry_end(&scan);
	return found;
}

static Datum
interval_of(int64 ms)
{
	Interval   *interval = palloc0(sizeof(Interval));

	interval->time = ms * 1000;
	return IntervalPGetDatum(interval);
}

/*
 * Write a subscription: a new one, or in place of the one that is there.
 *
 * Locks: the subscription's, exclusive, and those that keep the group and the
 * topic from being dropped.
 * Errors: 40001.
 */
void
pgqueue_subscription_write(const Subscription *subscription)
{
	Datum		values[SUBSCRIPTION_NATTS];
	bool		nulls[SUBSCRIPTION_NATTS] = {false};

	/* make visible what the current command has written, and replace that, too */
	CommandCounterIncrement();
	(void) pgqueue_subscription_delete(subscription->group_id,
									   subscription->topic_id);
	values[SUBSCRIPTION_ATTR_GROUP - 1] =
		Int32GetDatum(subscription->group_id);
	values[SUBSCRIPTION_ATTR_TOPIC - 1] =
		Int32GetDatum(subscription->topic_id);
	values[SUBSCRIPTION_ATTR_HANDLER - 1] =
		CStringGetTextDatum(subscription->handler);
	values[SUBSCRIPTION_ATTR_HANDLER_OWNER - 1] =
		pgqueue_role_datum(subscription->handler_owner.oid);
	values[SUBSCRIPTION_ATTR_BATCH - 1] = Int32GetDatum(subscription->batch);
	values[SUBSCRIPTION_ATTR_WORKERS - 1] =
		Int32GetDatum(subscription->workers);
	values[SUBSCRIPTION_ATTR_TIMEOUT - 1] = interval_of(subscription->timeout);
	nulls[SUBSCRIPTION_ATTR_TIMEOUT - 1] = subscription->timeout == 0;
	values[SUBSCRIPTION_ATTR_OWNER - 1] =
		pgqueue_role_datum(subscription->owner.oid);
	values[SUBSCRIPTION_ATTR_CREATED - 1] =
		TimestampTzGetDatum(GetCurrentTransactionStartTimestamp());
	pgqueue_registry_insert(REGISTRY_SUBSCRIPTION, SUBSCRIPTION_NATTS, values,
							nulls);
}

/* Delete a subscription.  Return false if there is none.  Locks: as to write. */
bool
pgqueue_subscription_delete(int32 group, int32 topic_id)
{
	RegistryScan scan = {0};

	scan_for(&scan, group, topic_id, RowExclusiveLock);
	return pgqueue_registry_delete(&scan) > 0;
}
