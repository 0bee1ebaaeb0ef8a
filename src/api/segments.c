/*-------------------------------------------------------------------------
 *
 * segments.c
 *	  queue.roll_segments() and queue.truncate_topic().
 *
 * Both close the segments in use (cleanup/close.c).  The latter then removes them
 * with all earlier ones, so that the log starts where it ends.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "funcapi.h"
#include "utils/guc.h"

#include "base/base.h"
#include "base/lock.h"
#include "wait/wait.h"
#include "topic/segment.h"
#include "topic/topic.h"
#include "cleanup/cleanup.h"
#include "api/api.h"

PG_FUNCTION_INFO_V1(pgqueue_roll_segments);
PG_FUNCTION_INFO_V1(pgqueue_truncate_topic);

/*
 * Close the segment in use of a partition.  Return false if it is empty or full.
 *
 * Locks: those of pgqueue_close_segment(), tried for PGQUEUE_LOCK_PATIENCE.
 * Errors: 55P03, 55006.
 */
static bool
roll_partition(Topic *topic, int32 partition)
{
	CloseOutcome outcome;

	pgqueue_check_segments(topic, partition);
	outcome = pgqueue_close_segment(topic, partition, CLOSE_TRY);
	if (outcome == CLOSE_BUSY)
	{
		const Partition *part = pgqueue_partition(topic, partition);
		int			active = pgqueue_segments_sealed(topic, part);

		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("could not obtain lock on the segment in use of partition %d of topic \"%s\"",
						partition, topic->name),
				 pgqueue_lock_is_held(pgqueue_tag_of_relation(topic->log),
									  AccessExclusiveLock) ?
				 pgqueue_errdetail_relation_holder(topic->log,
												   AccessExclusiveLock) :
				 pgqueue_errdetail_relation_holder(part->segments[active].relid,
												   ShareRowExclusiveLock),
				 errhint("Retry when that transaction has ended.")));
	}
	return outcome == CLOSE_DONE;
}

/* (topic, partition) -> how many were closed */
Datum
pgqueue_roll_segments(PG_FUNCTION_ARGS)
{
	Topic	   *topic = pgqueue_owned_topic_arg(fcinfo);
	int32		partition = -1;
	int32		n = 0;
	int			nest;

	if (!PG_ARGISNULL(1))
	{
		partition = PG_GETARG_INT32(1);
		pgqueue_check_partition(topic, partition);
	}
	pgqueue_lock_relation(topic->log, ShareUpdateExclusiveLock);
	topic = pgqueue_topic_refresh(topic);
	/* once a partition is closed, all sessions wait for us */
	nest = NewGUCNestLevel();
	pgqueue_wait_shortly(GUC_ACTION_SAVE);
	for (int32 p = -1; (p = pgqueue_next_used(topic, p)) >= 0;)
	{
		CHECK_FOR_INTERRUPTS();
		if (partition < 0 || p == partition)
			n += roll_partition(topic, p);
		topic = pgqueue_topic_refresh(topic);
	}
	AtEOXact_GUC(true, nest);
	PG_RETURN_INT32(n);
}

/*
 * Remove the segments before an offset, and those before the log start that are still
 * there.  Return their number, and add their bytes.
 */
static int
remove_before(Topic *topic, int32 partition, int64 before, int64 *bytes)
{
	int			removed = 0;
	int			n;

	do
	{
		int64		freed;
		int			dropped;
		int			emptied = 0;

		CommandCounterIncrement();
		topic = pgqueue_topic_refresh(topic);
		n = pgqueue_remove_segments(topic, partition, before, &freed, &dropped);
		if (n == 0)
			n = pgqueue_drop_removed(topic, partition, &emptied, &freed);
		removed += n + emptied;
		*bytes += freed;
	} while (n > 0);
	return removed;
}

/*
 * Empty a partition, and add a row (partition, log_start, segments, bytes).
 *
 * Locks: the caller holds ACCESS EXCLUSIVE on the topic's table and segments.
 */
static void
truncate_partition(Topic *topic, int32 partition, ReturnSetInfo *rsinfo)
{
	int64		bytes = 0;
	int			segments;
	Partition  *part;
	Segment		last;
	int64		end;
	Datum		values[4];
	bool		nulls[4] = {false};

	(void) roll_partition(topic, partition);
	topic = pgqueue_topic_refresh(topic);
	part = pgqueue_partition(topic, partition);
	end = Max(pgqueue_written_end(topic, partition),
			  part->segments[pgqueue_segments_sealed(topic, part)].first);
	segments = remove_before(topic, partition, end, &bytes);
	last = pgqueue_partition(topic, partition)->segments[0];
	if (last.first < end)
		elog(ERROR, "could not remove the segments of partition %d of topic \"%s\"",
			 partition, topic->name);
	/* what is left has aborted messages only */
	if (pgqueue_segment_has_blocks(topic, &last))
	{
		bytes += pgqueue_total_bytes(last.relid);
		pgqueue_empty_segment(last.relid);
	}
	values[0] = Int32GetDatum(partition);
	values[1] = Int64GetDatum(last.first);
	values[2] = Int32GetDatum(segments);
	values[3] = Int64GetDatum(bytes);
	pgqueue_put_row(rsinfo, values, nulls, lengthof(values));
}

/* (topic) -> setof (partition, log_start, segments, bytes) */
Datum
pgqueue_truncate_topic(PG_FUNCTION_ARGS)
{
	Topic	   *topic = pgqueue_owned_topic_arg(fcinfo);

	InitMaterializedSRF(fcinfo, 0);
	pgqueue_lock_for_drop(topic);
	topic = pgqueue_topic_refresh(topic);
	pgqueue_lock_segments(topic);
	pgqueue_check_unused(topic, topic->log);
	for (int32 p = -1; (p = pgqueue_next_used(topic, p)) >= 0;)
	{
		const Partition *part = pgqueue_partition(topic, p);

		for (int i = 0; i < part->nsegments; i++)
			pgqueue_check_unused(topic, part->segments[i].relid);
	}
	for (int32 p = -1; (p = pgqueue_next_used(topic, p)) >= 0;)
	{
		CHECK_FOR_INTERRUPTS();
		truncate_partition(topic, p, (ReturnSetInfo *) fcinfo->resultinfo);
		CommandCounterIncrement();
		topic = pgqueue_topic_refresh(topic);
	}
	pgqueue_note_topic_changed(topic->id);
	return (Datum) 0;
}
