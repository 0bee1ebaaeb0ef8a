/*-------------------------------------------------------------------------
 *
 * tablespaces.c
 *	  queue.move_segments(): move sealed segments to a tablespace.
 *
 * New segments are made in the topic's tablespace (topic/segment_make.c), which
 * queue.topic has by name, so that a dump can be restored elsewhere.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "commands/tablespace.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "base/base.h"
#include "base/lock.h"
#include "topic/segment.h"
#include "topic/topic.h"
#include "api/api.h"

PG_FUNCTION_INFO_V1(pgqueue_move_segments);

/* What a call moves, and its result. */
typedef struct Move
{
	ReturnSetInfo *rsinfo;
	const char *name;
	Oid			tablespace;		/* as in pg_class: 0 for the default */
	int64		before;
} Move;

/*
 * Return true if the segment need not be moved: it is in the tablespace, or
 * does not belong to the topic any more.  Takes no lock.
 */
static bool
lies_there(Oid relid, Oid tablespace)
{
	return get_rel_tablespace(relid) == tablespace ||
		!get_rel_relispartition(relid);
}

/* (partition, segment, first_offset, bytes, moved) */
static void
tell_move(const Move *move, int32 partition, const Segment *segment,
		  int64 bytes, bool moved)
{
	Datum		values[] = {
		Int32GetDatum(partition),
		ObjectIdGetDatum(segment->relid),
		Int64GetDatum(segment->first),
		Int64GetDatum(bytes),
		BoolGetDatum(moved)
	};
	bool		nulls[lengthof(values)] = {[3] = bytes < 0};

	pgqueue_put_row(move->rsinfo, values, nulls, lengthof(values));
}

/*
 * Move a segment with its TOAST table, if it can be locked at once.  The
 * command runs as the user, and checks the user's rights on both.
 */
static void
move_segment(const Move *move, int32 partition, const Segment *segment)
{
	Oid			relid = segment->relid;
	int64		bytes = -1;

	if (!pgqueue_lock_segment_soon(relid, AccessExclusiveLock, 0))
	{
		/* its size is told if it can be looked at */
		if (pgqueue_try_lock_segment(relid, AccessShareLock))
		{
			bytes = pgqueue_total_bytes(relid);
			pgqueue_unlock_segment(relid, AccessShareLock);
		}
		tell_move(move, partition, segment, bytes, false);
		return;
	}
	/* another session has moved it meanwhile */
	if (lies_there(relid, move->tablespace))
	{
		pgqueue_unlock_segment(relid, AccessExclusiveLock);
		return;
	}
	bytes = pgqueue_total_bytes(relid);
	pgqueue_run_ddl(GetUserId(),
					psprintf("ALTER TABLE %s SET TABLESPACE %s",
							 pgqueue_qualified_name(relid),
							 quote_identifier(move->name)));
	tell_move(move, partition, segment, bytes, true);
}

static void
move_partition(Topic *topic, int32 partition, const Move *move)
{
	Partition  *part = pgqueue_partition(topic, partition);
	int			closed;

	pgqueue_check_segments(topic, partition);
	closed = pgqueue_segments_closed(topic, part);
	for (int i = 0; i < closed && part->segments[i].end <= move->before; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (!lies_there(part->segments[i].relid, move->tablespace))
			move_segment(move, partition, &part->segments[i]);
	}
}

/*
 * (topic, tablespace, partition, before_offset) -> setof moved_segment
 *
 * Locks: ACCESS EXCLUSIVE on the segments moved, conditionally.
 */
Datum
pgqueue_move_segments(PG_FUNCTION_ARGS)
{
	static const Oid types[] = {INT4OID, REGCLASSOID, INT8OID, INT8OID, BOOLOID};
	Topic	   *topic = pgqueue_owned_topic_arg(fcinfo);
	Move		move;
	int32		partition = -1;

	pgqueue_check_not_null(fcinfo, 1, "tablespace");
	move.name = text_to_cstring(PG_GETARG_TEXT_PP(1));
	if (move.name[0] == '\0')
		move.name = get_tablespace_name(MyDatabaseTableSpace);
	move.tablespace = pgqueue_tablespace(move.name, GetUserId());
	if (move.tablespace == MyDatabaseTableSpace)
		move.tablespace = InvalidOid;
	move.before = PG_ARGISNULL(3) ? PG_INT64_MAX : PG_GETARG_INT64(3);
	if (!PG_ARGISNULL(2))
	{
		partition = PG_GETARG_INT32(2);
		pgqueue_check_partition(topic, partition);
	}

	InitMaterializedSRF(fcinfo, 0);
	move.rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	pgqueue_check_result(move.rsinfo->setDesc, types, lengthof(types));
	if (partition >= 0)
		move_partition(topic, partition, &move);
	else
		for (int32 p = -1; (p = pgqueue_next_used(topic, p)) >= 0;)
		{
			move_partition(topic, p, &move);
			topic = pgqueue_topic_refresh(topic);
		}
	return (Datum) 0;
}
