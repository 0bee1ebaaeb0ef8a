/*-------------------------------------------------------------------------
 *
 * inspect.c
 *	  Seeing: lists of partitions and segments, the ends of a log, and the
 *	  checker queue.verify().
 *
 *-------------------------------------------------------------------------
 */
#include "queue.h"

#include "access/relation.h"
#include "catalog/pg_type_d.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"

PG_FUNCTION_INFO_V1(pgqueue_partition_list);
PG_FUNCTION_INFO_V1(pgqueue_segment_list);
PG_FUNCTION_INFO_V1(pgqueue_segment_info);
PG_FUNCTION_INFO_V1(pgqueue_log_start_sql);
PG_FUNCTION_INFO_V1(pgqueue_stable_end_sql);
PG_FUNCTION_INFO_V1(pgqueue_log_end_sql);
PG_FUNCTION_INFO_V1(pgqueue_verify);

/* ---------------- the ends of a partition ---------------- */

/* (topic, partition): checked for existence and the right to read. */
static Topic *
partition_args(FunctionCallInfo fcinfo, int32 *partition)
{
	Topic	   *topic = pgqueue_topic_arg(PG_GETARG_TEXT_PP(0));

	pgqueue_check_right(topic, ACL_SELECT);
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

/* ---------------- lists ---------------- */

typedef void (*TopicVisitor) (Topic *topic, ReturnSetInfo *rsinfo);

static Datum
for_each_topic(FunctionCallInfo fcinfo, TopicVisitor visit)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	ListCell   *lc;

	InitMaterializedSRF(fcinfo, 0);
	foreach(lc, pgqueue_topic_names())
	{
		Topic	   *topic = pgqueue_topic_find(lfirst(lc));

		/* dropped meanwhile, or not the user's business */
		if (topic != NULL && pgqueue_may_see(topic))
			visit(topic, rsinfo);
	}
	return (Datum) 0;
}

/* topic, partition, log_start, stable_end, log_end */
static void
list_partitions(Topic *topic, ReturnSetInfo *rsinfo)
{
	Datum		name = CStringGetTextDatum(topic->name);
	int			npartitions = topic->npartitions;

	for (int32 p = 0; p < npartitions; p++)
	{
		Datum		values[5];
		bool		nulls[5] = {false};
		LogEnds		ends;

		if (p > 0)
			topic = pgqueue_topic_refresh(topic);
		values[0] = name;
		values[1] = Int32GetDatum(p);
		if (topic->broken != NULL || topic->partitions[p].nsegments == 0 ||
			topic->partitions[p].has_hole)
			nulls[2] = nulls[3] = nulls[4] = true;	/* broken; verify() tells */
		else
		{
			pgqueue_log_ends(topic, p, &ends);
			values[2] = Int64GetDatum(ends.log_start);
			values[3] = Int64GetDatum(ends.stable_end);
			values[4] = Int64GetDatum(ends.log_end);
		}
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
}

Datum
pgqueue_partition_list(PG_FUNCTION_ARGS)
{
	return for_each_topic(fcinfo, list_partitions);
}

/* topic, partition, segment, first_offset, end_offset, compacted */
static void
list_segments(Topic *topic, ReturnSetInfo *rsinfo)
{
	Datum		name = CStringGetTextDatum(topic->name);

	for (int32 p = 0; p < topic->npartitions; p++)
	{
		Partition  *part = &topic->partitions[p];

		for (int i = 0; i < part->nsegments; i++)
		{
			Datum		values[6];
			bool		nulls[6] = {false};

			values[0] = name;
			values[1] = Int32GetDatum(p);
			values[2] = ObjectIdGetDatum(part->segments[i].relid);
			values[3] = Int64GetDatum(part->segments[i].first);
			values[4] = Int64GetDatum(part->segments[i].end);
			values[5] = BoolGetDatum(part->segments[i].end <=
									 part->compacted_to);
			tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
		}
	}
}

Datum
pgqueue_segment_list(PG_FUNCTION_ARGS)
{
	return for_each_topic(fcinfo, list_segments);
}

/* ---------------- a segment ---------------- */

/* (segment, compacted) -> (messages, first_time, last_time, frozen) */
Datum
pgqueue_segment_info(PG_FUNCTION_ARGS)
{
	Relation	leaf = try_relation_open(PG_GETARG_OID(0), AccessShareLock);
	TupleDesc	desc;
	Datum		values[4];
	bool		nulls[4] = {false};
	LogFixed	first = {0};
	LogTail		tail;
	BlockNumber nblocks;
	int64		counted;
	bool		frozen;

	if (leaf == NULL)
		PG_RETURN_NULL();		/* let go meanwhile */
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	if (!pgqueue_is_log(leaf))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is not a segment of a topic",
						RelationGetRelationName(leaf))));
	nblocks = RelationGetNumberOfBlocks(leaf);
	pgqueue_segment_tail(leaf, nblocks, &tail);
	tail.found = tail.found && pgqueue_leaf_first(leaf, &first);
	counted = (int64) leaf->rd_rel->reltuples;
	frozen = nblocks > 0 && pgqueue_is_frozen(leaf);
	relation_close(leaf, AccessShareLock);

	if (!PG_GETARG_BOOL(1) || counted < 0)
		counted = tail.found ? tail.offset - first.offset + 1 : 0;
	values[0] = Int64GetDatum(counted);
	nulls[1] = nulls[2] = !tail.found;
	values[1] = TimestampTzGetDatum(first.timestamp);
	values[2] = TimestampTzGetDatum(tail.timestamp);
	values[3] = BoolGetDatum(frozen);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc),
													  values, nulls)));
}

/* ---------------- the checker ---------------- */

/* Where the checker is, and where its findings go. */
typedef struct Checker
{
	ReturnSetInfo *rsinfo;
	const Segment *segment;		/* NULL: of the partition as a whole */
	int32		partition;
	bool		has_last;
	int64		last_offset;
	TimestampTz last_timestamp;
} Checker;

static void
found_problem(Checker *checker, const char *fmt,...) pg_attribute_printf(2, 3);

static void
found_problem(Checker *checker, const char *fmt,...)
{
	Datum		values[2];
	bool		nulls[2] = {false};
	char		text[256];
	va_list		args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	nulls[0] = checker->segment == NULL;
	values[0] = nulls[0] ? (Datum) 0 :
		ObjectIdGetDatum(checker->segment->relid);
	values[1] = CStringGetTextDatum(text);
	tuplestore_putvalues(checker->rsinfo->setResult, checker->rsinfo->setDesc,
						 values, nulls);
}

static void
check_record(Checker *checker, HeapTupleHeader header, BlockNumber block,
			 OffsetNumber lp)
{
	LogFixed   *fixed = log_fixed(header);

	if (fixed->offset < checker->segment->first ||
		fixed->offset >= checker->segment->end)
		found_problem(checker,
					  "offset " INT64_FORMAT " at (%u,%u) is outside the segment's bounds",
					  fixed->offset, block, lp);
	if (fixed->partition != checker->partition)
		found_problem(checker, "record at (%u,%u) belongs to partition %d",
					  block, lp, fixed->partition);
	if (!(header->t_infomask & HEAP_XMAX_INVALID))
		found_problem(checker, "record at (%u,%u) was deleted or locked",
					  block, lp);
	if (checker->has_last && fixed->offset <= checker->last_offset)
		found_problem(checker,
					  "offset " INT64_FORMAT " at (%u,%u) follows offset " INT64_FORMAT,
					  fixed->offset, block, lp, checker->last_offset);
	if (checker->has_last && fixed->timestamp < checker->last_timestamp)
		found_problem(checker, "timestamp at (%u,%u) goes backwards", block, lp);
	checker->has_last = true;
	checker->last_offset = fixed->offset;
	checker->last_timestamp = fixed->timestamp;
}

/* Every record, dead or alive: order holds for all of them. */
static void
check_segment(Checker *checker, Relation leaf)
{
	BlockNumber nblocks = RelationGetNumberOfBlocks(leaf);

	for (BlockNumber block = 0; block < nblocks; block++)
	{
		Buffer		buffer;
		Page		page;

		CHECK_FOR_INTERRUPTS();
		buffer = ReadBuffer(leaf, block);
		LockBuffer(buffer, BUFFER_LOCK_SHARE);
		page = BufferGetPage(buffer);
		if (!PageIsNew(page))
			for (OffsetNumber lp = FirstOffsetNumber;
				 lp <= PageGetMaxOffsetNumber(page); lp++)
			{
				ItemId		item = PageGetItemId(page, lp);

				if (ItemIdIsRedirected(item))
					found_problem(checker, "line pointer (%u,%u) is redirected",
								  block, lp);
				else if (ItemIdIsNormal(item))
					check_record(checker,
								 (HeapTupleHeader) PageGetItem(page, item),
								 block, lp);
			}
		UnlockReleaseBuffer(buffer);
	}
}

/* (topic) → (segment, problem), no row when the log keeps its rules */
Datum
pgqueue_verify(PG_FUNCTION_ARGS)
{
	Topic	   *topic = pgqueue_topic_arg(PG_GETARG_TEXT_PP(0));
	Checker		checker = {0};

	pgqueue_check_owner(topic);
	InitMaterializedSRF(fcinfo, 0);
	checker.rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;

	for (int32 p = 0; p < topic->npartitions; p++)
	{
		Partition  *part = &topic->partitions[p];

		checker.partition = p;
		checker.has_last = false;
		checker.segment = NULL;
		if (part->nsegments == 0)
			found_problem(&checker, "partition %d has no segment", p);
		if (part->has_hole)
			found_problem(&checker, "the segments of partition %d have a hole at offset "
						  INT64_FORMAT, p, part->hole);
		for (int i = 0; i < part->nsegments; i++)
		{
			Relation	leaf = pgqueue_open_segment(topic, &part->segments[i],
													AccessShareLock);

			if (leaf == NULL)
				continue;
			checker.segment = &part->segments[i];
			check_segment(&checker, leaf);
			relation_close(leaf, AccessShareLock);
		}
	}
	return (Datum) 0;
}
