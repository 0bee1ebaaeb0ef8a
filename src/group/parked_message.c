/*-------------------------------------------------------------------------
 *
 * parked_message.c
 *	  A parked message in the log, and how it is kept there.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/snapmgr.h"

#include "base/base.h"
#include "log/log.h"
#include "topic/message.h"
#include "topic/segment.h"
#include "topic/topic.h"
#include "group/parking.h"

/* Return the key of a message, or NULL. */
text *
pgqueue_message_key(const Topic *topic, HeapTuple message)
{
	bool		isnull;
	Datum		key = heap_getattr(message, LOG_ATTR_KEY, topic->desc, &isnull);

	return isnull ? NULL : DatumGetTextPP(key);
}

typedef struct Picked
{
	int64		offset;
	HeapTuple	message;
} Picked;

static bool
pick(HeapTuple tuple, Relation leaf, void *arg)
{
	Picked	   *picked = arg;

	if (log_fixed(tuple->t_data)->offset == picked->offset)
		picked->message = heap_copytuple(tuple);
	return false;
}

/* Return a copy of the message at an offset, or NULL if there is none. */
HeapTuple
pgqueue_parked_message(Topic *topic, int32 partition, int64 offset,
					   Snapshot snapshot)
{
	Picked		picked = {offset, NULL};
	int64		stopped_at;

	(void) pgqueue_scan(topic, partition, offset, snapshot, pick, &picked,
						&stopped_at);
	return picked.message;
}

/* ---------------- what they hold ---------------- */

/* Return true if the log may have the message of a row. */
bool
pgqueue_parked_in_log(Topic *topic, const Progress *progress,
					  const Parked *row)
{
	if (row->offset < pgqueue_log_start(topic, progress->partition))
		return false;
	return row->incarnation == pgqueue_incarnation(topic) ||
		row->offset < pgqueue_incarnation_reach(topic, progress->partition,
												row->incarnation, -1);
}

/* Return the least offset of a part's rows that the log may have, at most least. */
static int64
least_of_part(Topic *topic, const Progress *progress, int sign, int64 least,
			  Snapshot snapshot)
{
	RegistryScan scan = {0};
	HeapTuple	tuple;

	pgqueue_parked_scan_part(&scan, progress, sign,
							 pgqueue_log_start(topic, progress->partition),
							 snapshot);
	while (HeapTupleIsValid(tuple = pgqueue_registry_next(&scan)))
	{
		Parked		row;

		CHECK_FOR_INTERRUPTS();
		if (pgqueue_parked_row_offset(&scan, tuple) >= least)
			continue;
		pgqueue_parked_row_read(&scan, tuple, &row);
		if (!pgqueue_parked_in_log(topic, progress, &row))
			continue;
		least = row.offset;
		/* the others come behind it */
		if (sign == 0)
			break;
	}
	pgqueue_registry_end(&scan);
	return least;
}

/*
 * Return the least offset of a group's parked messages in a partition that the log
 * may have, or PG_INT64_MAX.  progress was read before, without its lock.
 *
 * Under one MVCC snapshot: a row that is replaced meanwhile, as consume and park do
 * it, might have both versions missed with SnapshotSelf.  The command's own changes
 * count, too.
 */
int64
pgqueue_parked_least(Topic *topic, const Progress *progress)
{
	Snapshot	snapshot;
	int64		least = PG_INT64_MAX;

	if (progress->parked == 0)
		return least;
	CommandCounterIncrement();
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	least = least_of_part(topic, progress, 0, least, snapshot);
	least = least_of_part(topic, progress, -1, least, snapshot);
	least = least_of_part(topic, progress, 1, least, snapshot);
	UnregisterSnapshot(snapshot);
	return least;
}
