/*-------------------------------------------------------------------------
 *
 * message.h
 *	  Messages: from SQL values to the log, and back.
 *
 *-------------------------------------------------------------------------
 */
#ifndef QUEUE_MESSAGE_H
#define QUEUE_MESSAGE_H

#include "topic/topic.h"

/* ---------------- roll.c ---------------- */

/* Segments kept ready behind the one that takes appends. */
#define SEGMENTS_AHEAD 2

extern void pgqueue_append(Topic *topic, int32 partition, HeapTuple *records,
						   int nrecords);
extern void pgqueue_append_all(Topic *topic, HeapTuple *records, int n);

/* ---------------- read.c ---------------- */

/* A message found. */
typedef struct Found
{
	bool		found;
	int64		offset;
	TimestampTz timestamp;
} Found;

extern void pgqueue_predicate_lock_unused(const Topic *topic,
										  int32 partition, Snapshot snapshot);
extern ScanEnd pgqueue_scan(Topic *topic, int32 partition, int64 from,
							Snapshot snapshot, LogReceiver receiver, void *arg,
							int64 *stopped_at);
extern ScanEnd pgqueue_find_offset(Topic *topic, int32 partition, int64 from,
								   Snapshot snapshot, Found *place);
extern void pgqueue_find_time(Topic *topic, int32 partition, TimestampTz time,
							  Snapshot snapshot, Found *place);

/* ---------------- coerce.c ---------------- */

/* How values of a type are converted.  Begins as zeros but for from and parent. */
typedef struct ValueCast
{
	Oid			from;
	Oid			to;				/* invalid: not prepared */
	MemoryContext parent;		/* in which it lives */
	MemoryContext context;		/* owns what follows */
	struct ExprState *state;
	struct ExprContext *econtext;
} ValueCast;

extern int	pgqueue_errmsg_type(const Topic *topic, Oid type);
extern Datum pgqueue_cast_value(ValueCast *cast, const Topic *topic, Oid to,
								Datum value, bool *isnull);

/* ---------------- message.c ---------------- */

extern Datum pgqueue_value_from_text(Topic *topic, Datum value, bool isnull);
extern Datum pgqueue_value_from_typed(Topic *topic, ValueCast *cast,
									  Datum value, bool *isnull);
extern void pgqueue_check_message(const Topic *topic, const Datum *values,
								  const bool *nulls);
extern int32 pgqueue_partition_for_text(text *key, int npartitions);
extern int32 pgqueue_next_sticky(Topic *topic);

/* ---------------- result.c ---------------- */

/* Return true to pass over a message; set *stop to read no more. */
typedef bool (*MessageSight) (HeapTuple tuple, Relation leaf, void *arg,
							  bool *stop);

typedef struct MessageSink
{
	Datum		topic_name;
	char	   *row;			/* row being made: the topic's name, then ... */
	Size		row_prefix;		/* bytes before the message's own columns */
	bool		plain;			/* those can be copied as they lie */
	int64		messages_left;
	int64		bytes_left;
	int64		taken;
	int64		next;			/* offset behind the last message taken */
	int			natts;			/* columns that are filled */
	bool		has_epoch;		/* the last but one is an epoch ... */
	int64		epoch;			/* ... this one */
	int32		attempt;		/* of the messages that follow; -1: NULL */
	ReturnSetInfo *rsinfo;
	Oid			kept_open;		/* the last segment that rows point to */
	MessageSight sight;			/* asked before a message is taken ... */
	bool		watch;			/* ... even if it is not delayed */
	void	   *sight_arg;
	int64		passed;			/* messages that it has passed over */
} MessageSink;

extern void pgqueue_sink_init(MessageSink *sink, FunctionCallInfo fcinfo,
							  int max_messages_arg, int max_bytes_arg,
							  bool has_epoch);
extern bool pgqueue_is_message_row(TupleDesc desc, Oid value_type);
extern void pgqueue_sink_rows(MessageSink *sink, ReturnSetInfo *rsinfo,
							  int64 max_messages);
extern void pgqueue_sink_topic(MessageSink *sink, const Topic *topic,
							   const char *call);

/* Counts the messages that the session got. */
extern uint64 pgqueue_messages_taken;
extern bool pgqueue_sink_receive(HeapTuple tuple, Relation leaf, void *arg);

#endif							/* QUEUE_MESSAGE_H */
