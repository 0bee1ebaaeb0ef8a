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
 * Fill in the columns that tell what is locked.  Return false for a lock that
 * the view does not show.
 */
static bool
decode(const LockInstanceData *lock, Datum *values, bool *nulls)
{
	const LOCKTAG *tag = &lock->locktag;
	int32		kind = tag->locktag_field4;

	if (tag->locktag_type == LOCKTAG_RELATION)
	{
		set(values, nulls, HELD_RELATION,
			ObjectIdGetDatum(tag->locktag_field2));
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

/* Fill in the backends that wait for a lock, of those that wait for any. */
static void
set_waiting(const List *waits, const LOCKTAG *tag, Datum *values, bool *nulls)
{
	ArrayBuildState *pids = NULL;
	ListCell   *lc;

	foreach(lc, waits)
	{
		LockInstanceData *wait = lfirst(lc);

		if (memcmp(&wait->locktag, tag, sizeof(LOCKTAG)) == 0)
			pids = accumArrayResult(pids, Int32GetDatum(wait->pid), false,
									INT4OID, CurrentMemoryContext);
	}
	if (pids != NULL)
		set(values, nulls, HELD_WAITING,
			makeArrayResult(pids, CurrentMemoryContext));
}

/* () -> setof (pid, transaction, relation, producer, group_id, ...) */
Datum
pgqueue_held_locks(PG_FUNCTION_ARGS)
{
	static const Oid types[] = {INT4OID, XIDOID, OIDOID, INT8OID, INT4OID,
	INT4OID, INT4OID, INT4ARRAYOID};
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	LockData   *locks = GetLockStatusData();
	List	   *waits = NIL;

	InitMaterializedSRF(fcinfo, 0);
	pgqueue_check_result(rsinfo->setDesc, types, lengthof(types));
	qsort(locks->locks, locks->nelements, sizeof(LockInstanceData),
		  compare_pids);
	for (int i = 0; i < locks->nelements; i++)
		if (locks->locks[i].waitLockMode != NoLock)
			waits = lappend(waits, &locks->locks[i]);
	for (int i = 0; i < locks->nelements; i++)
	{
		const LockInstanceData *lock = &locks->locks[i];
		Datum		values[HELD_NATTS];
		bool		nulls[HELD_NATTS];
		TransactionId xid;
		bool		more;

		memset(nulls, true, sizeof(nulls));
		if (lock->locktag.locktag_field1 != MyDatabaseId ||
			!decode(lock, values, nulls))
			continue;
		if (lock->pid != 0)
			set(values, nulls, HELD_PID, Int32GetDatum(lock->pid));
		else
		{
			xid = TwoPhaseGetXidByVirtualXID(pgqueue_lock_vxid(lock), &more);
			set(values, nulls, HELD_TRANSACTION, TransactionIdGetDatum(xid));
		}
		if (lock->locktag.locktag_type == LOCKTAG_ADVISORY)
			set_waiting(waits, &lock->locktag, values, nulls);
		pgqueue_put_row(rsinfo, values, nulls, HELD_NATTS);
	}
	return (Datum) 0;
}
