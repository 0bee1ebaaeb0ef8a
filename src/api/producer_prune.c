/*-------------------------------------------------------------------------
 *
 * producer_prune.c
 *	  queue.prune_producers() and queue.forget_producers().
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"

#include "base/base.h"
#include "topic/topic.h"
#include "producer/producer.h"
#include "api/api.h"
#include "api/maintain.h"

PG_FUNCTION_INFO_V1(pgqueue_prune_producers);
PG_FUNCTION_INFO_V1(pgqueue_forget_producers);

/* Prune all producers of a topic, due or not, as many as one call may. */
static int64
prune_all(Topic *topic)
{
	char	   *after = NULL;
	int			nwritten = 0;
	int64		total = 0;
	List	   *ids;

	do
	{
		ListCell   *lc;

		ids = pgqueue_producer_ids(topic, PRODUCERS_ALL, after,
								   PGQUEUE_PRODUCERS_AT_ONCE);
		foreach(lc, ids)
		{
			int64		saved;

			CHECK_FOR_INTERRUPTS();
			after = lfirst(lc);
			nwritten += pgqueue_prune_producer(topic, after, &saved);
			total += saved;
			if (nwritten < PGQUEUE_PRODUCERS_AT_ONCE)
				continue;
			ereport(NOTICE,
					(errmsg("pruned %d producers of topic \"%s\", as many as one call may prune",
							nwritten, topic->name),
					 errhint("Call it again in another transaction for the others.")));
			return total;
		}
	} while (ids != NIL);
	return total;
}

/* (topic) -> number of rows saved */
Datum
pgqueue_prune_producers(PG_FUNCTION_ARGS)
{
	Topic	   *topic;

	pgqueue_check_writable(fcinfo);
	pgqueue_check_not_null(fcinfo, 0, "topic");
	topic = pgqueue_topic_arg(PG_GETARG_TEXT_PP(0));
	pgqueue_check_owner(topic);
	/* what this very command has written can be merged, too */
	CommandCounterIncrement();
	PG_RETURN_INT64(prune_all(topic));
}

/* (topic, unused_since, forgotten) -> (forgotten) */
Datum
pgqueue_forget_producers(PG_FUNCTION_ARGS)
{
	char	   *name;
	int32		id;
	char		after[PGQUEUE_MAX_PRODUCER_NAME + 1] = "";
	TimestampTz since;
	Topic	   *topic;
	TupleDesc	desc;
	int64		forgotten = 0;
	Datum		value;
	bool		isnull = false;
	bool		more = true;

	pgqueue_call_begin(fcinfo);
	pgqueue_step_begin();
	pgqueue_check_not_null(fcinfo, 0, "topic");
	pgqueue_check_not_null(fcinfo, 1, "unused_since");
	since = PG_GETARG_TIMESTAMPTZ(1);
	topic = pgqueue_topic_arg(PG_GETARG_TEXT_PP(0));
	pgqueue_check_owner(topic);
	name = pstrdup(topic->name);
	id = topic->id;
	pgqueue_step_end();

	while (more)
	{
		pgqueue_step_begin();
		topic = pgqueue_topic(name);
		pgqueue_check_same(topic, id);
		pgqueue_check_owner(topic);
		more = pgqueue_forget_next(topic, after, since, &forgotten);
		pgqueue_step_end();
	}
	SPI_finish();

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	value = Int64GetDatum(forgotten);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc),
													  &value, &isnull)));
}
