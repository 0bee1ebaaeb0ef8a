/*-------------------------------------------------------------------------
 *
 * process.h
 *	  Handlers, and transactions in which they are called.
 *
 *-------------------------------------------------------------------------
 */
#ifndef QUEUE_PROCESS_H
#define QUEUE_PROCESS_H

#include "executor/tuptable.h"

#include "group/member.h"
#include "group/subscription.h"

/* ---------------- handler.c ---------------- */

/* The function of a subscription. */
typedef struct Handler
{
	Oid			function;
	Oid			owner;			/* of the function */
	Oid			row_type;		/* of a message */
	bool		whole_batch;	/* takes an array of messages */
} Handler;

extern void pgqueue_handler_check(Oid function, const Topic *topic,
								  Handler *handler);
extern void pgqueue_handler_find(const Subscription *subscription,
								 const Topic *topic, Handler *handler);
extern char *pgqueue_handler_signature(Oid function);

/* ---------------- batch_read.c ---------------- */

typedef struct Process Process;

/* Messages that were taken from a partition, and their handler. */
typedef struct Batch
{
	const Process *process;
	const Subscription *subscription;
	const Handler *handler;
	TupleDesc	desc;
	Tuplestorestate *rows;
	TupleTableSlot *slot;
	int			n;				/* messages */
	int			retried;		/* of them, the first, which failed before */
	int			end;			/* read those before it */
	int			position;		/* behind the message in the slot */
	bool		ahead;			/* the next message is in the slot */
	int			mark;			/* read pointer ... */
	int			marked_position;	/* ... and its position */
	uint64		parks;			/* calls of park before the first message */

	int			successes;		/* subtransactions that were not rolled back */
	bool		checked;		/* constraints were, and are immediate since */
	int			handed;			/* messages of the last call of the handler, to
								 * the one on which it failed ... */
	bool		is_last_guilty; /* ... if that is known */
} Batch;

extern void pgqueue_batch_begin(Batch *batch, int n);
extern bool pgqueue_batch_peek(Batch *batch);
extern int32 pgqueue_batch_partition(Batch *batch);
extern int64 pgqueue_batch_offset(Batch *batch);
extern void pgqueue_batch_pass(Batch *batch);
extern Datum pgqueue_batch_take(Batch *batch);
extern void pgqueue_batch_mark(Batch *batch);
extern void pgqueue_batch_return(Batch *batch);
extern void pgqueue_batch_end(Batch *batch);

/* ---------------- handler_call.c ---------------- */

extern ErrorData *pgqueue_handle(Batch *batch, int n, bool *handler_expired);
extern bool pgqueue_is_cancel(const ErrorData *error);
extern bool pgqueue_is_outage(const ErrorData *error);

/* ---------------- batch.c ---------------- */

typedef enum BatchOutcome
{
	BATCH_DONE,					/* to be committed: messages were handled */
	BATCH_MOVED,				/* to be committed: none was, but rows written */
	BATCH_EMPTY,				/* to be committed: there was nothing to take */
	BATCH_ENDED,				/* to be committed: the subscription is gone */
	BATCH_FAILED				/* to be rolled back: it takes too many
								 * subtransactions; the next will be small
								 * enough */
} BatchOutcome;

/* What a session, or a worker, processes. */
struct Process
{
	WaitTarget	target;			/* one group, one topic */
	int32		group_id;
	int32		topic_id;
	int			worker;			/* its number; 0: a session */
	Handler		handler;		/* as of the last transaction */
	bool		small;			/* the next batch is, and of ... */
	int32		partition;		/* ... this partition */
	MemoryContext context;		/* of all transactions ... */
	MemoryContext per_batch;	/* ... and of one */

	/* end a transaction, and begin the next */
	void		(*commit) (void);
	void		(*rollback) (void);

	/* counters, of what was committed */
	int64		batches;
	int64		messages;
	int64		parked;

	/* of the transaction under way */
	int			handled_now;
	int			parked_now;
};

extern BatchOutcome pgqueue_process_batch(Process *process);

/* ---------------- process.c ---------------- */

extern void pgqueue_process_init(Process *process, const char *group,
								 int32 group_id, Topic *topic);
extern bool pgqueue_process_goes_on(const Process *process,
									const Subscription *subscription);
extern bool pgqueue_process_all(Process *process, int64 max_batches,
								int64 max_wait);

#endif							/* QUEUE_PROCESS_H */
