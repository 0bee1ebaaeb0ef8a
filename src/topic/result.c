/*-------------------------------------------------------------------------
 *
 * result.c
 *	  Records to the rows that consume and fetch return.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/table.h"
#include "catalog/pg_type_d.h"
#include "executor/executor.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/relcache.h"
#include "utils/tuplestore.h"

#include "base/base.h"
#include "log/log.h"
#include "log/write.h"
#include "topic/message.h"
#include "topic/topic.h"

/* Columns of queue.message. */
#define MESSAGE_ATTR_TOPIC		1
#define MESSAGE_ATTR_PARTITION	2
#define MESSAGE_ATTR_OFFSET		3
#define MESSAGE_ATTR_TIMESTAMP	4
#define MESSAGE_ATTR_KEY		5
#define MESSAGE_ATTR_VALUE		6
#define MESSAGE_ATTR_HEADERS	7
/* Behind them the attempt; in queue.leased_message the epoch, then it. */
#define MESSAGE_NATTS			8
#define LEASED_ATTR_EPOCH		8
#define LEASED_NATTS			9

uint64		pgqueue_messages_taken = 0;

/* Return the bytes of a message as they count for max_bytes: not compressed. */
static int64
message_bytes(const Datum *values, const bool *nulls, TupleDesc desc)
{
	int64		bytes = 0;

	for (int i = LOG_ATTR_KEY - 1; i < LOG_ATTR_HEADERS; i++)
	{
		int			len = TupleDescAttr(desc, i)->attlen;

		if (!nulls[i])
			bytes += len == -1 ? toast_raw_datum_size(values[i]) - VARHDRSZ :
				Max(len, 0);
	}
	return bytes;
}

#define ROW_MAX_HEADER	MAXALIGN(SizeofHeapTupleHeader + BITMAPLEN(LEASED_NATTS))
#define ROW_MAX_PREFIX	(ROW_MAX_HEADER + 128 + 4 + 8 + 8 + 16)
#define ROW_MAX_SUFFIX	(MAXIMUM_ALIGNOF + sizeof(int64) + sizeof(int32))

/*
 * Prepare the part of every row that comes before the message's own columns, if
 * these can be copied from record to row as they lie.
 *
 *	 record | offset 8 | timestamp 8 | partition 4 | key value headers
 *	 row    | topic, partition, offset, timestamp  | key value headers ...
 *
 * Both begin them at a multiple of four, so a value type of int alignment
 * keeps its padding.  The record must have no deliver_at behind them.
 */
static void
prepare_row(MessageSink *sink, const Topic *topic)
{
	Form_pg_attribute value = TupleDescAttr(sink->rsinfo->setDesc,
											MESSAGE_ATTR_VALUE - 1);
	char	   *data;
	Size		len = strlen(topic->name);

	sink->plain = value->attlen == -1 && value->attalign == TYPALIGN_INT;
	if (!sink->plain)
		return;
	if (sink->row == NULL)
		sink->row = palloc0(HEAPTUPLESIZE + ROW_MAX_PREFIX + BLCKSZ +
							ROW_MAX_SUFFIX);
	data = sink->row + HEAPTUPLESIZE + ROW_MAX_HEADER;
	SET_VARSIZE_SHORT(data, len + VARHDRSZ_SHORT);
	memcpy(data + VARHDRSZ_SHORT, topic->name, len);
	sink->row_prefix = MAXALIGN(INTALIGN(VARHDRSZ_SHORT + len) + sizeof(int32)) +
		2 * sizeof(int64);
}

/*
 * Make the header of a row, before its data, as heap_form_tuple() does: PostgreSQL
 * 19 computes where the data begins, and does not look into t_hoff.
 */
static HeapTupleHeader
put_header(char *base, const HeapTupleHeader record, int natts)
{
	bool		has_nulls = (record->t_infomask & HEAP_HASNULL) != 0;
	Size		len = MAXALIGN(SizeofHeapTupleHeader +
							   (has_nulls ? BITMAPLEN(natts) : 0));
	HeapTupleHeader header = (HeapTupleHeader) (base - len);

	memset(header, 0, len);
	header->t_infomask = HEAP_HASVARWIDTH |
		(record->t_infomask & (HEAP_HASNULL | HEAP_HASEXTERNAL));
	HeapTupleHeaderSetNatts(header, natts);
	header->t_hoff = len;
	if (has_nulls)
	{
		header->t_bits[0] = 0x0f | (record->t_bits[0] & 0x38) << 1 |
			(natts >= MESSAGE_NATTS ? 0x80 : 0);
		if (natts > MESSAGE_NATTS)
			header->t_bits[1] = 0x01;
	}
	return header;
}

/*
 * Form the row of a record by copying its columns.  Columns of the type behind
 * the last one in the row are NULL: an attempt that is, and those that a later
 * version has.
 */
static void
copy_row(MessageSink *sink, HeapTuple record)
{
	HeapTuple	row = (HeapTuple) sink->row;
	char	   *base = sink->row + HEAPTUPLESIZE + ROW_MAX_HEADER;
	bool		has_attempt = sink->attempt >= 0;
	HeapTupleHeader header = put_header(base, record->t_data,
										sink->natts - (has_attempt ? 0 : 1));
	LogFixed   *fixed = log_fixed(record->t_data);
	Size		tail = record->t_len - record->t_data->t_hoff -
		PGQUEUE_FIXED_BYTES;
	char	   *place = base + sink->row_prefix;
	Size		len = header->t_hoff + sink->row_prefix + tail;

	memcpy(place - 16, &fixed->offset, sizeof(int64));
	memcpy(place - 8, &fixed->timestamp, sizeof(int64));
	memcpy(base + INTALIGN(VARSIZE_SHORT(base)), &fixed->partition,
		   sizeof(int32));
	memcpy(place, (char *) fixed + PGQUEUE_FIXED_BYTES, tail);
	/* the padding, as heap_form_tuple() leaves it */
	memset(place + tail, 0, MAXIMUM_ALIGNOF);
	if (sink->has_epoch)
	{
		len = MAXALIGN(len);
		memcpy((char *) header + len, &sink->epoch, sizeof(int64));
		len += sizeof(int64);
	}
	if (has_attempt)
	{
		len = INTALIGN(len);
		memcpy((char *) header + len, &sink->attempt, sizeof(int32));
		len += sizeof(int32);
	}

	row->t_len = len;
	row->t_data = header;
	row->t_tableOid = InvalidOid;
	ItemPointerSetInvalid(&row->t_self);
	tuplestore_puttuple(sink->rsinfo->setResult, row);
}

/* Form the row of any record. */
static void
form_row(MessageSink *sink, const Datum *record, const bool *record_nulls)
{
	Datum		values[LEASED_NATTS] = {
		[MESSAGE_ATTR_TOPIC - 1] = sink->topic_name,
		[MESSAGE_ATTR_PARTITION - 1] = record[LOG_ATTR_PARTITION - 1],
		[MESSAGE_ATTR_OFFSET - 1] = record[LOG_ATTR_OFFSET - 1],
		[MESSAGE_ATTR_TIMESTAMP - 1] = record[LOG_ATTR_TIMESTAMP - 1],
		[MESSAGE_ATTR_KEY - 1] = record[LOG_ATTR_KEY - 1],
		[MESSAGE_ATTR_VALUE - 1] = record[LOG_ATTR_VALUE - 1],
		[MESSAGE_ATTR_HEADERS - 1] = record[LOG_ATTR_HEADERS - 1],
		[LEASED_ATTR_EPOCH - 1] = Int64GetDatum(sink->epoch)
	};
	bool		nulls[LEASED_NATTS] = {
		[MESSAGE_ATTR_KEY - 1] = record_nulls[LOG_ATTR_KEY - 1],
		[MESSAGE_ATTR_VALUE - 1] = record_nulls[LOG_ATTR_VALUE - 1],
		[MESSAGE_ATTR_HEADERS - 1] = record_nulls[LOG_ATTR_HEADERS - 1]
	};

	values[sink->natts - 1] = Int32GetDatum(sink->attempt);
	nulls[sink->natts - 1] = sink->attempt < 0;
	pgqueue_put_row(sink->rsinfo, values, nulls, sink->natts);
}

static void
close_leaf(Datum leaf)
{
	table_close((Relation) DatumGetPointer(leaf), NoLock);
}

/*
 * Keep a segment open until the statement, or its cursor, ends: rows of its
 * messages point to its TOAST table.  Our lock keeps other sessions from dropping
 * or emptying it, this our own, which is told that it is in use.
 *
 * The context is one of the whole statement.  That of the call ends with a rescan
 * of the plan node, which reads the rows again but does not call again.
 */
static void
keep_open(MessageSink *sink, Relation leaf)
{
	ExprContext *context = sink->rsinfo->econtext;

	if (sink->kept_open == RelationGetRelid(leaf))
		return;
	sink->kept_open = RelationGetRelid(leaf);
	if (context->ecxt_estate != NULL)
		context = GetPerTupleExprContext(context->ecxt_estate);
	/* a call of the same statement may have done it already */
	for (const ExprContext_CB *callback = context->ecxt_callbacks;
		 callback != NULL; callback = callback->next)
		if (callback->function == close_leaf &&
			callback->arg == PointerGetDatum(leaf))
			return;
	RelationIncrementReferenceCount(leaf);
	RegisterExprContextCallback(context, close_leaf, PointerGetDatum(leaf));
}

/* Take a message, as a LogReceiver; the first one whatever its size. */
bool
pgqueue_sink_receive(HeapTuple tuple, Relation leaf, void *arg)
{
	MessageSink *sink = arg;
	bool		limited = sink->bytes_left != PG_INT64_MAX;
	TimestampTz deliver_at;
	bool		delayed = log_deliver_at(tuple, &deliver_at);

	if (sink->sight != NULL && unlikely(sink->watch || delayed))
	{
		bool		stop = false;

		if (sink->sight(tuple, leaf, sink->sight_arg, &stop))
		{
			sink->passed++;
			sink->next = log_fixed(tuple->t_data)->offset + 1;
			return true;
		}
		if (stop)
			return false;
	}
	if (sink->plain && !limited && !delayed)
		copy_row(sink, tuple);
	else
	{
		Datum		record[LOG_NATTS];
		bool		nulls[LOG_NATTS];

		heap_deform_tuple(tuple, RelationGetDescr(leaf), record, nulls);
		if (limited)
		{
			int64		bytes = message_bytes(record, nulls,
											  RelationGetDescr(leaf));

			if (sink->taken > 0 && bytes > sink->bytes_left)
				return false;
			sink->bytes_left = Max(sink->bytes_left - bytes, 0);
		}
		form_row(sink, record, nulls);
	}
	if (HeapTupleHasExternal(tuple))
		keep_open(sink, leaf);

	sink->taken++;
	pgqueue_messages_taken++;
	sink->next = log_fixed(tuple->t_data)->offset + 1;
	return --sink->messages_left > 0;
}

/*
 * Prepare the result of a function that returns messages.
 *
 * has_epoch: they are leased; then max_messages may be 0.
 * Errors: 22004, 22023 for the limits; 55000 for an altered row type.
 */
void
pgqueue_sink_init(MessageSink *sink, FunctionCallInfo fcinfo,
				  int max_messages_arg, int max_bytes_arg, bool has_epoch)
{
	static const Oid types[MESSAGE_NATTS] =
	{TEXTOID, INT4OID, INT8OID, TIMESTAMPTZOID, TEXTOID, InvalidOid, JSONBOID,
	INT4OID};
	static const Oid leased_types[LEASED_NATTS] =
	{TEXTOID, INT4OID, INT8OID, TIMESTAMPTZOID, TEXTOID, InvalidOid, JSONBOID,
	INT8OID, INT4OID};
	int			least = has_epoch ? 0 : 1;

	*sink = (MessageSink) {
		.rsinfo = (ReturnSetInfo *) fcinfo->resultinfo,
		.bytes_left = PG_INT64_MAX,
		.has_epoch = has_epoch,
		.natts = has_epoch ? LEASED_NATTS : MESSAGE_NATTS
	};
	pgqueue_check_not_null(fcinfo, max_messages_arg, "max_messages");
	sink->messages_left = PG_GETARG_INT32(max_messages_arg);
	if (sink->messages_left < least)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg(least > 0 ?
						"max_messages must be positive, not " INT64_FORMAT :
						"max_messages must not be negative, but is " INT64_FORMAT,
						sink->messages_left)));
	if (!PG_ARGISNULL(max_bytes_arg))
	{
		sink->bytes_left = PG_GETARG_INT32(max_bytes_arg);
		if (sink->bytes_left <= 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("max_bytes must be positive, not " INT64_FORMAT,
							sink->bytes_left)));
	}
	InitMaterializedSRF(fcinfo, 0);
	pgqueue_check_result(sink->rsinfo->setDesc,
						 has_epoch ? leased_types : types, sink->natts);
}

/*
 * Return true if rows of a type can hold messages with values of a type: its
 * first columns have the types of those of queue.message.
 */
bool
pgqueue_is_message_row(TupleDesc desc, Oid value_type)
{
	static const Oid types[MESSAGE_NATTS] =
	{TEXTOID, INT4OID, INT8OID, TIMESTAMPTZOID, TEXTOID, InvalidOid, JSONBOID,
	INT4OID};

	for (int i = 0; i < MESSAGE_NATTS; i++)
		if (i >= desc->natts || TupleDescAttr(desc, i)->attisdropped ||
			TupleDescAttr(desc, i)->atttypid !=
			(i == MESSAGE_ATTR_VALUE - 1 ? value_type : types[i]))
			return false;
	return true;
}

/* Prepare the result for C code: the rows go to a set that it has made. */
void
pgqueue_sink_rows(MessageSink *sink, ReturnSetInfo *rsinfo, int64 max_messages)
{
	*sink = (MessageSink) {
		.rsinfo = rsinfo,
		.messages_left = max_messages,
		.bytes_left = PG_INT64_MAX,
		.natts = MESSAGE_NATTS
	};
}

/*
 * Set the topic of the messages that follow.
 *
 * call: the call that would be right for another type of value, with %s for
 * topic and type; for the hint.
 *
 * Errors: 42804 if the function's value column has another type than the topic.
 */
void
pgqueue_sink_topic(MessageSink *sink, const Topic *topic, const char *call)
{
	Oid			type = TupleDescAttr(sink->rsinfo->setDesc,
									 MESSAGE_ATTR_VALUE - 1)->atttypid;

	if (type != topic->value_type)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 pgqueue_errmsg_type(topic, type),
				 errhint("Call %s.",
						 psprintf(call, quote_literal_cstr(topic->name),
								  format_type_be(topic->value_type)))));
	sink->topic_name = CStringGetTextDatum(topic->name);
	prepare_row(sink, topic);
}
