/*-------------------------------------------------------------------------
 *
 * verify.c
 *	  queue.verify(): check the invariants of a topic's log.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/builtins.h"

#include "base/base.h"
#include "log/log.h"
#include "topic/segment.h"
#include "topic/topic.h"

PG_FUNCTION_INFO_V1(pgqueue_verify);

/* Where the checker is, and where its findings go. */
typedef struct Checker
{
	ReturnSetInfo *rsinfo;
	const Segment *segment;		/* NULL: of the partition as a whole */
	int32		partition;
	bool		has_last;
	LogFixed	last;
} Checker;

static void pg_attribute_printf(2, 3)
found_problem(Checker *checker, const char *fmt,...)
{
	const Segment *segment = checker->segment;
	Datum		values[2];
	bool		nulls[2] = {segment == NULL, false};
	char		text[256];
	va_list		args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	values[0] = ObjectIdGetDatum(segment == NULL ? InvalidOid : segment->relid);
	values[1] = CStringGetTextDatum(text);
	pgqueue_put_row(checker->rsinfo, values, nulls, lengthof(values));
}

static void
check_record(Checker *checker, HeapTuple tuple, Buffer buffer)
{
	HeapTupleHeader header = tuple->t_data;
	BlockNumber block = ItemPointerGetBlockNumber(&tuple->t_self);
	OffsetNumber lp = ItemPointerGetOffsetNumber(&tuple->t_self);
	LogFixed   *fixed = log_fixed(header);

	/* where a segment was closed, aborted messages may lie behind its end */
	if (fixed->offset >= checker->segment->end &&
		pgqueue_has_aborted(tuple, buffer))
		return;
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
	if (checker->has_last && fixed->offset <= checker->last.offset)
		found_problem(checker,
					  "offset " INT64_FORMAT " at (%u,%u) follows offset " INT64_FORMAT,
					  fixed->offset, block, lp, checker->last.offset);
	if (checker->has_last && fixed->timestamp < checker->last.timestamp)
		found_problem(checker, "timestamp at (%u,%u) goes backwards", block, lp);
	checker->has_last = true;
	checker->last = *fixed;
}

/*
 * Check every record, dead or alive, of the checker's segment, unless that is
 * gone: order holds for all of them.  A TopicTask.
 */
static void
check_segment(Topic *topic, void *arg)
{
	Checker    *checker = arg;
	Relation	leaf = pgqueue_open_segment(topic, checker->segment,
											AccessShareLock);
	BlockNumber nblocks = leaf == NULL ? 0 : RelationGetNumberOfBlocks(leaf);

	for (BlockNumber block = 0; block < nblocks; block++)
	{
		Buffer		buffer;
		PageWalk	walk;

		CHECK_FOR_INTERRUPTS();
		buffer = ReadBuffer(leaf, block);
		LockBuffer(buffer, BUFFER_LOCK_SHARE);
		pgqueue_page_begin(&walk, leaf, buffer);
		for (OffsetNumber lp = FirstOffsetNumber;
			 lp <= PageGetMaxOffsetNumber(walk.page); lp++)
		{
			if (ItemIdIsRedirected(PageGetItemId(walk.page, lp)))
				found_problem(checker, "line pointer (%u,%u) is redirected",
							  block, lp);
			else if (pgqueue_page_go(&walk, lp))
				check_record(checker, &walk.tuple, buffer);
		}
		UnlockReleaseBuffer(buffer);
	}
	if (leaf != NULL)
		relation_close(leaf, AccessShareLock);
}

static void
check_partition(Checker *checker, Topic *topic)
{
	/* as it is now: the topic may be described anew while segments are read */
	Partition	part = *pgqueue_partition(topic, checker->partition);

	checker->has_last = false;
	checker->segment = NULL;
	if (part.nsegments == 0)
		found_problem(checker, "partition %d has no segment", checker->partition);
	if (part.hole != 0)
		found_problem(checker, "the segments of partition %d have a hole at offset "
					  INT64_FORMAT, checker->partition, part.hole);
	for (int i = 0; i < part.nsegments; i++)
	{
		ErrorData  *error;

		checker->segment = &part.segments[i];
		error = pgqueue_error_of(topic, check_segment, checker);
		if (error != NULL)
			found_problem(checker, "%s",
						  error->detail != NULL ? error->detail : error->message);
	}
}

/*
 * (topic) -> (segment, problem), no row when the log keeps its rules.  A topic
 * or a segment that cannot be used is a finding, not an error.
 */
Datum
pgqueue_verify(PG_FUNCTION_ARGS)
{
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	Topic	   *topic = pgqueue_topic_find(name);
	Checker		checker = {0};
	int32		id;

	if (topic == NULL)
		topic = pgqueue_topic(name);	/* raises the error */
	pgqueue_check_owner(topic);
	InitMaterializedSRF(fcinfo, 0);
	checker.rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	if (topic->broken != NULL)
	{
		found_problem(&checker, "%s", topic->broken);
		return (Datum) 0;
	}

	id = topic->id;
	checker.partition = -1;
	while ((checker.partition =
			pgqueue_next_used(topic, checker.partition)) >= 0)
	{
		check_partition(&checker, topic);
		topic = pgqueue_topic_refresh(topic);
		pgqueue_check_same(topic, id);
	}
	return (Datum) 0;
}
