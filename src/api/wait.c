/*-------------------------------------------------------------------------
 *
 * wait.c
 *	  CALL queue.wait() and queue.wait_topics(): sleep until there is something
 *	  to consume, without a snapshot.
 *
 * They are procedures, so that they can end the transaction: a session that
 * sleeps in a transaction that has a snapshot keeps VACUUM from its work.
 * Each look is a transaction of its own.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "executor/spi.h"
#include "storage/ipc.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/base.h"
#include "wait/wait.h"
#include "topic/message.h"
#include "group/group.h"
#include "group/member.h"
#include "api/api.h"
#include "api/maintain.h"

/*
 * A waiter that is woken for messages may return without a look of its own,
 * which is a third of the time from commit to return; but not if the session
 * took no messages after the last such return, or if another transaction was
 * in its way when it last looked: other consumers may have taken the messages,
 * or they may not become readable for a long time.
 */
static bool went_unlooked = false;
static uint64 taken_then;

/*
 * Look, commit and sleep until something is ready.  commit: ends the transaction,
 * and begins the next.  nested: the caller continues in a transaction, which must
 * begin after the sleep.
 */
static void
wait_for(WaitTarget *target, int64 timeout, bool nested, void (*commit) (void))
{
	int64		ms = Min(timeout, PG_INT64_MAX / 4000);
	TimestampTz end = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), ms);
	bool		trust = !went_unlooked || pgqueue_messages_taken != taken_then;

	pgqueue_register_waiter(target);
	for (;;)
	{
		bool		blocked;
		bool		ready;
		int64		left;

		pgqueue_wait_look();
		PushActiveSnapshot(GetTransactionSnapshot());
		ready = pgqueue_ready(target, GetActiveSnapshot(), &blocked);
		PopActiveSnapshot();
		commit();
		InvalidateCatalogSnapshot();
		left = pgqueue_wait_left(target, end);
		if (ready || left <= 0)
		{
			went_unlooked = false;
			break;
		}
		if (pgqueue_wait_sleep(left, blocked, target->wanted) &&
			trust && !blocked)
		{
			went_unlooked = true;
			taken_then = pgqueue_messages_taken;
			pgqueue_wait_acknowledge();
			if (nested)
				commit();
			break;
		}
	}
}

/*
 * Wait until something is ready, or for timeout milliseconds, between two
 * transactions of the caller.  The arguments are those of wait_for().
 */
void
pgqueue_wait_outside(WaitTarget *target, int64 timeout, void (*commit) (void))
{
	PG_ENSURE_ERROR_CLEANUP(pgqueue_wait_end, (Datum) 0);
	wait_for(target, timeout, true, commit);
	PG_END_ENSURE_ERROR_CLEANUP(pgqueue_wait_end, (Datum) 0);
	pgqueue_wait_end(0, (Datum) 0);
}

/* (consumer_group, topic | topics, timeout, member) */
static Datum
wait(FunctionCallInfo fcinfo, bool array)
{
	WaitTarget *target = palloc0(sizeof(WaitTarget));
	int64		timeout;
	bool		nested = SPI_inside_nonatomic_context();
	bool		pushed = !ActiveSnapshotSet();

	pgqueue_check_may_commit(fcinfo,
							 _("It commits before it sleeps. Inside a transaction use queue.consume(..., max_wait => ...)."));

	/* detoasting an argument may need a snapshot */
	if (pushed)
		PushActiveSnapshot(GetTransactionSnapshot());
	pgqueue_topic_list(fcinfo, 1, array, &target->topics);
	pgqueue_group_arg(fcinfo, false, &target->group);
	timeout = pgqueue_duration_arg(fcinfo, 2, "timeout", PG_INT64_MAX);
	if (!PG_ARGISNULL(3))
		target->member = pgqueue_member_arg(PG_GETARG_TEXT_PP(3));
	if (pushed)
		PopActiveSnapshot();

	if (SPI_connect_ext(SPI_OPT_NONATOMIC) != SPI_OK_CONNECT)
		elog(ERROR, "cannot connect to SPI");
	SPI_commit();
	PG_ENSURE_ERROR_CLEANUP(pgqueue_wait_end, (Datum) 0);
	wait_for(target, timeout, nested, SPI_commit);
	PG_END_ENSURE_ERROR_CLEANUP(pgqueue_wait_end, (Datum) 0);
	pgqueue_wait_end(0, (Datum) 0);
	SPI_finish();
	PG_RETURN_VOID();
}

PGQUEUE_VARIANT(pgqueue_wait, wait(fcinfo, false))
PGQUEUE_VARIANT(pgqueue_wait_topics, wait(fcinfo, true))
