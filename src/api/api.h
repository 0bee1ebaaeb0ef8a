/*-------------------------------------------------------------------------
 *
 * api.h
 *	  What the files of the SQL functions offer each other.
 *
 *-------------------------------------------------------------------------
 */
#ifndef QUEUE_API_H
#define QUEUE_API_H

#include "base/data.h"
#include "group/group.h"
#include "producer/producer.h"

/* Define an SQL function by what it returns, as one of several variants. */
#define PGQUEUE_VARIANT(name, result) \
PG_FUNCTION_INFO_V1(name); \
Datum \
name(PG_FUNCTION_ARGS) \
{ \
	return (result); \
}

/* ---------------- produce_args.c ---------------- */

/* The producer that a call or the settings name. */
typedef struct ProducerArgs
{
	const char *name;			/* NULL: none */
	int32		epoch;
	int64		sequence;		/* of the first or next message */
} ProducerArgs;

/* An array argument, taken apart. */
typedef struct Elements
{
	Oid			type;
	Datum	   *values;
	bool	   *nulls;
	int			n;
} Elements;

extern ProducerArgs pgqueue_producer_args(FunctionCallInfo fcinfo,
										  bool has_sequence,
										  const char *sequence_name,
										  bool has_key, const char *key_name);
extern Oid pgqueue_argument_type(FunctionCallInfo fcinfo, int arg,
								 const char *name);
extern void pgqueue_take_apart(FunctionCallInfo fcinfo, int arg,
							   const char *name, int expected,
							   Elements *elements);

/* ---------------- autocommit.c ---------------- */

extern bool pgqueue_autocommit_warning;
extern void pgqueue_warn_autocommit(FunctionCallInfo fcinfo);

/* ---------------- consume.c ---------------- */

struct Taker;
extern bool pgqueue_consume_any(struct Taker *taker);

/* ---------------- wait.c ---------------- */

struct WaitTarget;
extern void pgqueue_wait_outside(struct WaitTarget *target, int64 timeout,
								 void (*commit) (void));

/* ---------------- view_buffer.c ---------------- */

/* A statement that inserts into a topic's view. */
typedef struct ViewStatement
{
	uint64		number;			/* no two have the same in a backend */
	bool		may_gather;
	ProducerArgs producer;
} ViewStatement;

extern void pgqueue_view_buffer_init(void);
extern bool pgqueue_view_may_gather(MemoryContext statement);
extern bool pgqueue_view_gather(const ViewStatement *statement, Topic *topic,
								HeapTuple record);
extern const MessageAddress *pgqueue_view_append(Topic *topic,
												 HeapTuple *rows, int nrows,
												 const ProducerArgs *producer);
extern void pgqueue_view_flush(void);

/* ---------------- view_settings.c ---------------- */

extern void pgqueue_view_settings_init(void);
extern void pgqueue_view_settings_take(ProducerArgs *producer,
									   MemoryContext context);
extern void pgqueue_view_settings_used(void);

/* ---------------- poll.c ---------------- */

extern void pgqueue_poll_init(void);

/* ---------------- guard_check.c ---------------- */

extern bool pgqueue_belongs_to_topic(const char *type,
									 const char *const *names);
extern void pgqueue_check_relation(Relation rel);
extern void pgqueue_check_view(Relation view, bool renamed);

/* ---------------- inspect.c ---------------- */

typedef void (*TopicVisitor) (Topic *topic, ReturnSetInfo *rsinfo);

extern Datum pgqueue_visit_topics(FunctionCallInfo fcinfo, TopicVisitor visit);

/* ---------------- topic_drop.c ---------------- */

extern void pgqueue_lock_for_drop(Topic *topic);
extern void pgqueue_lock_segments(const Topic *topic);

/* ---------------- topics.c ---------------- */

extern Topic *pgqueue_owned_topic_arg(FunctionCallInfo fcinfo);
extern Topic *pgqueue_owned_partition_arg(FunctionCallInfo fcinfo,
										  int32 *partition);
extern const char * pgqueue_view_name(const char *name);
extern char *pgqueue_qualified_name(Oid relid);

#endif							/* QUEUE_API_H */
