/*-------------------------------------------------------------------------
 *
 * inspect.c
 *	  Seeing: lists of partitions and segments, the ends of a log, what is
 *	  wrong with a topic.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "catalog/partition.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "base/base.h"
#include "base/lock.h"
#include "log/cut.h"
#include "log/log.h"
#include "topic/segment.h"
#include "topic/topic.h"
#include "api/api.h"

PG_FUNCTION_INFO_V1(pgqueue_partition_list);
PG_FUNCTION_INFO_V1(pgqueue_segment_list);
PG_FUNCTION_INFO_V1(pgqueue_segment_info);
PG_FUNCTION_INFO_V1(pgqueue_log_start_sql);
PG_FUNCTION_INFO_V1(pgqueue_stable_end_sql);
PG_FUNCTION_INFO_V1(pgqueue_log_end_sql);
PG_FUNCTION_INFO_V1(pgqueue_topic_problem_sql);

/* (topic, partition): checked for existence and the right to read. */
static Topic *
partition_args(FunctionCallInfo fcinfo, int32 *partition)
{
	Topic	   *topic = pgqueue_topic_arg(PG_GETARG_TEXT_PP(0));

	pgqueue_check_may_look(topic);
	*partition = PG_GETARG_INT32(1);
	pgqueue_check_partition(topic, *partition);
	return topic;
}

Datum
pgqueue_log_start_sql(PG_FUNCTION_ARGS)
{
	int32		partition;
	Topic	   *topic = partition_args(fcinfo, &partition);

	PG_RETURN_INT64(pgqueue_log_start(topic, partition));
}

Datum
pgqueue_log_end_sql(PG_FUNCTION_ARGS)
{
	int32		partition;
	Topic	   *topic = partition_args(fcinfo, &partition);

	PG_RETURN_INT64(pgqueue_log_end(topic, partition));
}

Datum
pgqueue_stable_end_sql(PG_FUNCTION_ARGS)
{
	int32		partition;
	Topic	   *topic = partition_args(fcinfo, &partition);
	LogEnds		ends;

	pgqueue_log_ends(topic, partition, &ends);
	PG_RETURN_INT64(ends.stable_end);
}

/* (topic) -> why it, or a partition of it, cannot be used, or NULL */
Datum
pgqueue_topic_problem_sql(PG_FUNCTION_ARGS)
{
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	bool		locked;
	Topic	   *topic = pgqueue_attempt_find(name, &locked);
	const char *problem;

	if (locked && pgqueue_may_see_locked(name))
		PG_RETURN_TEXT_P(cstring_to_text("Another transaction has locked the table of the topic."));
	if (topic == NULL ||
		(!pgqueue_may_see(topic) && !pgqueue_owns_topic(topic)))
		PG_RETURN_NULL();
	problem = pgqueue_topic_flaw(topic);
	if (problem == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(problem));
}

/* ---------------- lists ---------------- */

/*
 * Call a function that adds rows to the result, for each topic that the user
 * may see and that can be used.
 */
Datum
pgqueue_visit_topics(FunctionCallInfo fcinfo, TopicVisitor visit)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	ListCell   *lc;

	InitMaterializedSRF(fcinfo, 0);
	foreach(lc, pgqueue_topic_names())
	{
		Topic	   *topic = pgqueue_attempt_topic(lfirst(lc));

		if (topic != NULL)
			visit(topic, rsinfo);
	}
	return (Datum) 0;
}

/* What is told of a partition after looking at its segments. */
typedef struct PartitionTask
{
	int32		partition;
	int64		segments;
	LogEnds		ends;
	bool		has_ends;
	int64		bytes;
} PartitionTask;

/* A TopicTask. */
static void
look_at_partition(Topic *topic, void *arg)
{
	PartitionTask *task = arg;
	Partition  *part = pgqueue_partition(topic, task->partition);

	task->segments = part->nsegments;
	task->has_ends = false;
	if (!pgqueue_partition_broken(topic, task->partition))
	{
		pgqueue_log_ends(topic, task->partition, &task->ends);
		task->has_ends = true;
	}
	/* the description may be another one by now */
	part = pgqueue_partition(topic, task->partition);
	for (int i = 0; i < part->nsegments; i++)
		task->bytes += pgqueue_total_bytes(part->segments[i].relid);
}

/* topic, partition, log_start, stable_end, log_end, segments, bytes */
static void
list_partitions(Topic *topic, ReturnSetInfo *rsinfo)
{
	Datum		name = CStringGetTextDatum(topic->name);
	int			npartitions = topic->npartitions;
	int32		id = topic->id;
	bool		warned = false;

	/* the name may stand for another topic by then */
	for (int32 p = 0; p < npartitions && topic->id == id; p++)
	{
		PartitionTask task = {.partition = p,.has_ends = true};
		bool		read = pgqueue_partition_unused(topic, p) ||
			pgqueue_attempt(topic, look_at_partition, &task, &warned);
		Datum		values[] = {
			name,
			Int32GetDatum(p),
			Int64GetDatum(task.ends.log_start),
			Int64GetDatum(task.ends.stable_end),
			Int64GetDatum(task.ends.log_end),
			Int64GetDatum(task.segments),
			Int64GetDatum(task.bytes)
		};
		bool		nulls[] = {false, false, !task.has_ends, !task.has_ends,
		!task.has_ends, false, !read};

		CHECK_FOR_INTERRUPTS();
		pgqueue_put_row(rsinfo, values, nulls, lengthof(values));
	}
}

Datum
pgqueue_partition_list(PG_FUNCTION_ARGS)
{
	return pgqueue_visit_topics(fcinfo, list_partitions);
}

/* topic, partition, segment, first_offset, end_offset, compacted */
static void
list_segments(Topic *topic, ReturnSetInfo *rsinfo)
{
	Datum		name = CStringGetTextDatum(topic->name);

	for (int32 p = -1; (p = pgqueue_next_used(topic, p)) >= 0;)
	{
		Partition  *part = pgqueue_partition(topic, p);

		for (int i = 0; i < part->nsegments; i++)
		{
			const Segment *segment = &part->segments[i];
			Datum		values[] = {
				name,
				Int32GetDatum(p),
				ObjectIdGetDatum(segment->relid),
				Int64GetDatum(segment->first),
				Int64GetDatum(segment->end),
				BoolGetDatum(segment->end <= part->compacted_to)
			};
			bool		nulls[lengthof(values)] = {false};

			pgqueue_put_row(rsinfo, values, nulls, lengthof(values));
		}
	}
}

Datum
pgqueue_segment_list(PG_FUNCTION_ARGS)
{
	return pgqueue_visit_topics(fcinfo, list_segments);
}

/* ---------------- a segment ---------------- */

/*
 * The topic of the segment that segment_info() was last asked for in a query,
 * kept in fn_extra: the segments of a topic come one after another.
 */
typedef struct SegmentOwner
{
	Oid			log;
	bool		may_see;
	bool		warned;			/* of what cannot be read */
	char		topic[NAMEDATALEN];
} SegmentOwner;

static SegmentOwner *
segment_owner(FmgrInfo *flinfo, Oid log)
{
	SegmentOwner *owner = flinfo->fn_extra;
	Topic	   *topic;

	if (owner == NULL)
		owner = flinfo->fn_extra = MemoryContextAllocZero(flinfo->fn_mcxt,
														  sizeof(SegmentOwner));
	if (owner->log == log)
		return owner;
	*owner = (SegmentOwner) {.log = log};
	if (pgqueue_topic_of_log(log, owner->topic) == 0)
		return owner;
	topic = pgqueue_attempt_topic(owner->topic);
	owner->may_see = topic != NULL && topic->log == log;
	return owner;
}

/* What segment_info() tells. */
typedef struct SegmentInfo
{
	Oid			relid;
	bool		compacted;
	Datum		values[7];
	bool		nulls[7];
} SegmentInfo;

/* A TopicTask; the topic does not matter. */
static void
look_at_segment(Topic *topic, void *arg)
{
	SegmentInfo *info = arg;
	Relation	leaf = pgqueue_open_to_look(info->relid);
	LogFixed	first = {0};
	LogTail		tail;
	BlockNumber nblocks;
	int64		offsets;
	int64		counted;
	SegmentBounds bounds;

	if (leaf == NULL)
		return;					/* removed meanwhile */
	nblocks = RELKIND_HAS_STORAGE(leaf->rd_rel->relkind) ?
		RelationGetNumberOfBlocks(leaf) : 0;
	info->values[5] = BoolGetDatum(nblocks > 0);
	info->nulls[5] = false;
	if (!pgqueue_is_log(leaf) || !pgqueue_has_log_columns(leaf))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is not a segment of a topic",
						RelationGetRelationName(leaf))));
	pgqueue_segment_tail(leaf, nblocks, &tail);
	tail.found = tail.found &&
		pgqueue_segment_first(leaf, pgqueue_cut(leaf), &first);
	offsets = tail.found ? tail.offset - first.offset + 1 : 0;
	counted = (int64) leaf->rd_rel->reltuples;
	info->values[3] = BoolGetDatum(pgqueue_is_frozen(leaf));
	info->values[6] = BoolGetDatum(tail.found &&
								   pgqueue_segment_bounds(info->relid, &bounds) &&
								   tail.offset + 1 >= bounds.end);
	info->nulls[6] = false;
	relation_close(leaf, AccessShareLock);

	if (!info->compacted || counted < 0 || counted > offsets)
		counted = offsets;
	info->values[0] = Int64GetDatum(counted);
	info->values[1] = TimestampTzGetDatum(first.timestamp);
	info->values[2] = TimestampTzGetDatum(tail.timestamp);
	info->nulls[0] = info->nulls[3] = false;
	info->nulls[1] = info->nulls[2] = !tail.found;
	/* last: an index may be locked alone */
	info->values[4] = Int64GetDatum(pgqueue_total_bytes(info->relid));
	info->nulls[4] = false;
}

/*
 * (segment, compacted) -> (messages, first_time, last_time, frozen, bytes, used)
 *
 * NULL for a table that is gone, that the user may not see, or that another
 * transaction has locked: view queue.segments must not fail for it.
 */
Datum
pgqueue_segment_info(PG_FUNCTION_ARGS)
{
	SegmentInfo info = {.relid = PG_GETARG_OID(0),.compacted = PG_GETARG_BOOL(1)};
	/* not get_partition_parent(), which fails if the segment was just dropped */
	List	   *ancestors = get_rel_relispartition(info.relid) ?
		get_partition_ancestors(info.relid) : NIL;
	Oid			log = ancestors != NIL ? linitial_oid(ancestors) : InvalidOid;
	SegmentOwner *owner = segment_owner(fcinfo->flinfo, log);

	memset(info.nulls, true, sizeof(info.nulls));
	if (owner->topic[0] != '\0')
	{
		bool		locked;
		Topic	   *topic = owner->may_see ?
			pgqueue_attempt_find(owner->topic, &locked) : NULL;

		if (topic != NULL && topic->log == log)
			(void) pgqueue_attempt(topic, look_at_segment, &info,
								   &owner->warned);
	}
	/* archived, say */
	else if (SearchSysCacheExists1(RELOID, ObjectIdGetDatum(info.relid)) &&
			 pg_class_aclcheck(info.relid, GetUserId(), ACL_SELECT) ==
			 ACLCHECK_OK)
		look_at_segment(NULL, &info);
	return pgqueue_return_row(fcinfo, info.values, info.nulls,
							  lengthof(info.values));
}
