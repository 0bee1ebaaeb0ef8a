/*-------------------------------------------------------------------------
 *
 * held_locks.c
 *	  queue.held_locks(): the locks that view queue.blockers shows, their tags
 *	  (base/lock_tag.h) decoded.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/twophase.h"
#include "catalog/pg_type_d.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"

#include "base/compat.h"
#include "base/base.h"
#include "base/lock.h"

PG_FUNCTION_INFO_V1(pgqueue_held_locks);

enum
{
	HELD_PID, HELD_TRANSACTION, HELD_RELATION, HELD_PRODUCER, HELD_GROUP,
	HELD_TOPIC, HELD_PARTITION, HELD_WAITING, HELD_NATTS
};

static void
set(Datum *values, bool *nulls, int att, Datum value)
{
	values[att] = value;
	nulls[att] = false;
}

/*
 * Fill in the columns that tell what is locked.  Return false for a lock that the
 * view does not show.
 */
static bool
decode(const LockInstanceData *lock, Datum *values, bool *nulls)
{
	const LOCKTAG *tag = &lock->locktag;
	int32		kind = tag->locktag_field4;

	if (tag->locktag_type == LOCKTAG_RELATION)
	{
		set(values, nulls, HELD_RELATION, ObjectIdGetDatum(tag->locktag_field2));
		return (lock->holdMask & LOCKBIT_ON(RowExclusiveLock)) != 0;
	}
	if (tag->locktag_type != LOCKTAG_ADVISORY || lock->holdMask == 0)
		return false;
	if (kind == PGQUEUE_LOCK_PRODUCER)
	{
		set(values, nulls, HELD_PRODUCER,
			Int64GetDatum((int64) ((uint64) tag->locktag_field2 << 32 |
								   tag->locktag_field3)));
		return true;
	}
	set(values, nulls, HELD_GROUP, Int32GetDatum(tag->locktag_field2));
	if (kind & PGQUEUE_LOCK_GROUP)
	{
		set(values, nulls, HELD_TOPIC, Int32GetDatum(tag->locktag_field3));
		set(values, nulls, HELD_PARTITION,
			Int32GetDatum(kind & ~PGQUEUE_LOCK_GROUP));
		return true;
	}
	return kind == PGQUEUE_LOCK_GROUP_ROWS;
}

static int
compare_pids(const void *a, const void *b)
{
	return ((const LockInstanceData *) a)->pid -
		((const LockInstanceData *) b)->pid;
}

/* Move the locks that backends wait for to the front, by pid.  Return how many. */
static int
waiters_first(LockData *locks)
{
	int			n = 0;

	for (int i = 0; i < locks->nelements; i++)
		if (locks->locks[i].waitLockMode != NoLock)
		{
			LockInstanceData lock = locks->locks[i];

			locks->locks[i] = locks->locks[n];
			locks->locks[n++] = lock;
		}
	qsort(locks->locks, n, sizeof(LockInstanceData), compare_pids);
	return n;
}

/* Fill in the backends that wait for an advisory lock, of the first n locks. */
static void
set_waiting(const LockData *locks, int n, const LOCKTAG *tag, Datum *values,
			bool *nulls)
{
	Datum	   *pids = palloc(Max(n, 1) * sizeof(Datum));
	int			npids = 0;

	for (int i = 0; i < n; i++)
		if (memcmp(&locks->locks[i].locktag, tag, sizeof(LOCKTAG)) == 0)
			pids[npids++] = Int32GetDatum(locks->locks[i].pid);
	if (npids > 0 && tag->locktag_type == LOCKTAG_ADVISORY)
		set(values, nulls, HELD_WAITING,
			PointerGetDatum(construct_array(pids, npids, INT4OID, sizeof(int32),
											true, TYPALIGN_INT)));
	pfree(pids);
}

/* () -> setof (pid, transaction, relation, producer, group_id, topic_id, ...) */
Datum
pgqueue_held_locks(PG_FUNCTION_ARGS)
{
	static const Oid types[] = {INT4OID, XIDOID, OIDOID, INT8OID, INT4OID,
	INT4OID, INT4OID, INT4ARRAYOID};
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	LockData   *locks = GetLockStatusData();
	int			nwaiters = waiters_first(locks);

	InitMaterializedSRF(fcinfo, 0);
	pgqueue_check_result(rsinfo->setDesc, types, lengthof(types));
	for (int i = 0; i < locks->nelements; i++)
	{
		const LockInstanceData *lock = &locks->locks[i];
		Datum		values[HELD_NATTS];
		bool		nulls[HELD_NATTS];
		bool		more;

		memset(nulls, true, sizeof(nulls));
		if (lock->locktag.locktag_field1 != MyDatabaseId ||
			!decode(lock, values, nulls))
			continue;
		if (lock->pid != 0)
			set(values, nulls, HELD_PID, Int32GetDatum(lock->pid));
		else
			set(values, nulls, HELD_TRANSACTION,
				TransactionIdGetDatum(TwoPhaseGetXidByVirtualXID(pgqueue_lock_vxid(lock),
																 &more)));
		set_waiting(locks, nwaiters, &lock->locktag, values, nulls);
		pgqueue_put_row(rsinfo, values, nulls, HELD_NATTS);
	}
	return (Datum) 0;
}
