/*-------------------------------------------------------------------------
 *
 * view_insert.c
 *	  INSERT and COPY into topic.<name>.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "commands/trigger.h"
#include "executor/tuptable.h"
#include "utils/memutils.h"

#include "base/data.h"
#include "log/log.h"
#include "log/write.h"
#include "topic/message.h"
#include "topic/topic.h"
#include "api/api.h"

PG_FUNCTION_INFO_V1(pgqueue_topic_insert);
PG_FUNCTION_INFO_V1(pgqueue_topic_flush);

/* Messages without a key that an INSERT or COPY sends to one partition. */
#define STICKY_ROWS			1000

/* What the trigger remembers for the length of a statement. */
typedef struct InsertState
{
	ViewStatement statement;
	int32		sticky;
	int			sticky_left;
} InsertState;

static uint64 statements = 0;

static InsertState *
insert_state(FunctionCallInfo fcinfo)
{
	InsertState *state = fcinfo->flinfo->fn_extra;

	if (state == NULL)
	{
		state = MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt,
									   sizeof(InsertState));
		state->statement.number = ++statements;
		/* a row trigger is called in the per-tuple context of its statement */
		state->statement.may_gather =
			pgqueue_view_may_gather(MemoryContextGetParent(CurrentMemoryContext));
		pgqueue_view_settings_take(&state->statement.producer,
								   fcinfo->flinfo->fn_mcxt);
		fcinfo->flinfo->fn_extra = state;
	}
	return state;
}

/* Errors: 428C9 if the row brings what the log assigns. */
static void
check_not_given(const bool *nulls, int attnum, const char *column)
{
	if (!nulls[attnum - 1])
		ereport(ERROR,
				(errcode(ERRCODE_GENERATED_ALWAYS),
				 errmsg("cannot insert a value into column \"%s\" of a topic",
						column),
				 errdetail("The log assigns it.")));
}

/*
 * Return the partition of a row without key: round robin by runs, so that a
 * COPY's messages do not jump about.
 */
static int32
sticky_for_row(InsertState *state, Topic *topic)
{
	if (state->sticky_left == 0 || state->sticky >= topic->npartitions)
	{
		state->sticky = pgqueue_next_sticky(topic);
		state->sticky_left = STICKY_ROWS;
	}
	state->sticky_left--;
	return state->sticky;
}

/*
 * Form the record of a row, for the partition that it names, or that its key or
 * the statement has.
 */
static HeapTuple
form_record(InsertState *state, Topic *topic, const Datum *row,
			const bool *row_nulls)
{
	Datum		values[LOG_NATTS];
	bool		nulls[LOG_NATTS];
	int32		partition;

	StaticAssertStmt(VIEW_NATTS == LOG_NATTS &&
					 VIEW_ATTR_KEY == LOG_ATTR_KEY &&
					 VIEW_ATTR_VALUE == LOG_ATTR_VALUE &&
					 VIEW_ATTR_HEADERS == LOG_ATTR_HEADERS &&
					 VIEW_ATTR_DELIVER_AT == LOG_ATTR_DELIVER_AT,
					 "a view has a message's columns where its log has them");
	memcpy(values, row, sizeof(values));
	memcpy(nulls, row_nulls, sizeof(nulls));
	pgqueue_check_message(topic, values, nulls);

	if (!nulls[VIEW_ATTR_PARTITION - 1])
	{
		partition = DatumGetInt32(row[VIEW_ATTR_PARTITION - 1]);
		pgqueue_check_partition(topic, partition);
	}
	else if (!nulls[LOG_ATTR_KEY - 1])
		partition =
			pgqueue_partition_for_text(DatumGetTextPP(row[LOG_ATTR_KEY - 1]),
									   topic->npartitions);
	else
		partition = sticky_for_row(state, topic);
	return pgqueue_form_record(topic->desc, partition, values, nulls);
}

/*
 * Check that a topic's own view calls, and return the topic.  The trigger's
 * argument is the word of the view's owner; the view's shape was checked with
 * the topic.
 */
static Topic *
topic_of_trigger(const TriggerData *trigger)
{
	Topic	   *topic = pgqueue_topic(trigger->tg_trigger->tgargs[0]);

	if (topic->view != RelationGetRelid(trigger->tg_relation))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("\"%s\" is not the view of topic \"%s\"",
						RelationGetRelationName(trigger->tg_relation),
						topic->name)));
	return topic;
}

/*
 * INSTEAD OF INSERT FOR EACH ROW on topic.<name>, argument: the topic's name.
 * The executor has checked the right to insert into the view.
 */
Datum
pgqueue_topic_insert(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	Topic	   *topic;
	TupleTableSlot *slot;
	Datum	   *row;
	bool	   *nulls;
	InsertState *state;
	HeapTuple	record;
	ViewStatement statement;
	const MessageAddress *stored;
	LogFixed   *fixed;

	if (!CALLED_AS_TRIGGER(fcinfo) ||
		!TRIGGER_FIRED_INSTEAD(trigger->tg_event) ||
		!TRIGGER_FIRED_BY_INSERT(trigger->tg_event) ||
		trigger->tg_trigger->tgnargs != 1)
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("queue.topic_insert() must be called by the trigger of a topic's view")));
	state = insert_state(fcinfo);
	topic = topic_of_trigger(trigger);

	slot = trigger->tg_trigslot;
	slot_getallattrs(slot);
	row = slot->tts_values;
	nulls = slot->tts_isnull;
	check_not_given(nulls, VIEW_ATTR_OFFSET, "offset");
	check_not_given(nulls, VIEW_ATTR_TIMESTAMP, "timestamp");
	record = form_record(state, topic, row, nulls);
	statement = state->statement;
	state->statement.producer.sequence++;
	if (statement.may_gather &&
		pgqueue_view_gather(&statement, topic, record))
		return PointerGetDatum(trigger->tg_trigtuple);
	pgqueue_view_flush();
	stored = pgqueue_view_append(topic, &record, 1, &statement.producer);

	/*
	 * What RETURNING shows.  The three columns were NULL and are passed by
	 * value, so they are set in the executor's slot; handing it a new tuple
	 * costs a quarter of the row's time.  A duplicate has no timestamp.
	 */
	fixed = log_fixed(record->t_data);
	row[VIEW_ATTR_PARTITION - 1] =
		Int32GetDatum(stored != NULL ? stored->partition : fixed->partition);
	row[VIEW_ATTR_OFFSET - 1] =
		Int64GetDatum(stored != NULL ? stored->offset : fixed->offset);
	row[VIEW_ATTR_TIMESTAMP - 1] = TimestampTzGetDatum(fixed->timestamp);
	nulls[VIEW_ATTR_PARTITION - 1] = nulls[VIEW_ATTR_OFFSET - 1] = false;
	nulls[VIEW_ATTR_TIMESTAMP - 1] = stored != NULL;
	return PointerGetDatum(trigger->tg_trigtuple);
}

/*
 * AFTER INSERT FOR EACH STATEMENT on topic.<name>: rows that wait go out.  A
 * statement without rows has used queue.first_sequence up, too: the next one is
 * not the one it was meant for.
 */
Datum
pgqueue_topic_flush(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("queue.topic_flush() must be called by the trigger of a topic's view")));
	pgqueue_view_flush();
	pgqueue_view_settings_used();
	return PointerGetDatum(NULL);
}
