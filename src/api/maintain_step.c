/*-------------------------------------------------------------------------
 *
 * maintain_step.c
 *	  Run one step of maintenance in one transaction, and report what it did or
 *	  why it failed.
 *
 * A step for which the topic's table is locked is left to the next pass.  A
 * step that would run functions of a topic's constraints or indexes is left to
 * another process (base/code.c).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "utils/builtins.h"

#include "base/base.h"
#include "base/lock.h"
#include "topic/segment.h"
#include "topic/topic.h"
#include "api/maintain.h"

/* The worker works for a session, and reports to its user. */
bool		pgqueue_report_to_user = false;

/* What a step did. */
typedef struct Report
{
	const char *topic;
	int32		partition;
	const char *action;
	int64		items;
	int64		bytes;
} Report;

/* Store a row of queue.maintenance_log. */
static void
store_report(void *arg)
{
	Report	   *report = arg;
	/* the columns of queue.maintenance_log */
	Datum		values[] = {
		TimestampTzGetDatum(GetCurrentTimestamp()),
		CStringGetTextDatum(report->topic),
		Int32GetDatum(report->partition),
		CStringGetTextDatum(report->action),
		Int64GetDatum(report->items),
		Int64GetDatum(report->bytes)
	};
	bool		nulls[lengthof(values)] = {[2] = report->partition < 0};

	pgqueue_registry_insert(REGISTRY_MAINTENANCE_LOG, lengthof(values), values,
							nulls);
}

/*
 * Report and store an action, if it was done to any items.  partition -1: it
 * concerns the whole topic.
 */
void
pgqueue_maintenance_report(const Topic *topic, int32 partition,
						   const char *action, int64 items, int64 bytes)
{
	Report		report = {topic->name, partition, action, items, bytes};
	int			level = MyBgworkerEntry != NULL && !pgqueue_report_to_user ?
		LOG : NOTICE;

	if (items <= 0)
		return;
	pgqueue_write_if_room(store_report, &report);
	if (partition < 0)
		ereport(level,
				(errmsg("topic \"%s\": %s " INT64_FORMAT, topic->name, action,
						items)));
	else
		ereport(level,
				(errmsg("topic \"%s\", partition %d: %s " INT64_FORMAT
						", " INT64_FORMAT " bytes",
						topic->name, partition, action, items, bytes)));
}

/* ---------------- the steps ---------------- */

/*
 * A step of the current topic waited for a lock and did not get it.  Then no
 * later step of the topic waits: there may be thousands, and other topics.
 */
bool		pgqueue_waited_in_vain;

/* A WARNING told that a step of the current topic failed for a lock. */
static bool told_locked;

/* A topic was left out, since another role owns it. */
bool		pgqueue_left_out = false;

/*
 * A step of the current topic found the disk full.  Then steps that need disk
 * space are left to the next pass: there may be thousands.
 */
bool		pgqueue_disk_was_full;

/* A step of the current topic is left to another process (topic_worker.c). */
bool		pgqueue_needs_process;

/*
 * Lock the topic's table for a step that changes the topic, and look the topic
 * up again.  Wait only for the extension's workers and autovacuum, and only
 * until a step has waited in vain.
 */
bool
pgqueue_lock_log(Topic **topic)
{
	if (!pgqueue_lock_relation_soon((*topic)->log, ShareUpdateExclusiveLock,
									pgqueue_waited_in_vain ? -1 : 0))
	{
		pgqueue_waited_in_vain = true;
		return false;
	}
	*topic = pgqueue_topic_refresh(*topic);
	return true;
}

/*
 * Return true if the error is a cancellation of the session.  Functions of
 * users can raise the same SQLSTATE, but not from ProcessInterrupts().
 */
static bool
is_cancellation(const ErrorData *error)
{
	return error->sqlerrcode == ERRCODE_QUERY_CANCELED &&
		error->funcname != NULL && strcmp(error->funcname, "ProcessInterrupts") == 0;
}

typedef struct StepTask
{
	Step		step;
	int32		partition;
	void	   *arg;
	bool		more;
} StepTask;

/* A TopicTask. */
static void
do_step(Topic *topic, void *arg)
{
	StepTask   *task = arg;

	task->more = task->step(topic, task->partition, task->arg);
}

/* Do a step in a subtransaction.  A failure is a WARNING. */
static bool
try_step(Topic *topic, StepTask *task)
{
	bool		before = pgqueue_attempting;
	ErrorData  *error;
	bool		is_lock;

	pgqueue_attempting = pgqueue_waited_in_vain;
	PG_TRY();
	{
		error = pgqueue_any_error_of(topic, do_step, task);
	}
	PG_FINALLY();
	{
		pgqueue_attempting = before;
	}
	PG_END_TRY();
	pgqueue_code_end();
	if (error == NULL)
		return task->more;
	if (is_cancellation(error))
		ReThrowError(error);
	is_lock = error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE;
	if (error->sqlerrcode == ERRCODE_DISK_FULL)
		pgqueue_disk_was_full = true;
	if (pgqueue_code_refused())
		pgqueue_needs_process = true;
	else
	{
		pgqueue_failure_note(error->sqlerrcode, error->message);
		/* one WARNING that the topic's tables are locked is enough */
		ereport(is_lock && told_locked ? DEBUG1 : WARNING,
				(errcode(error->sqlerrcode),
				 errmsg("maintenance of topic \"%s\" failed: %s",
						topic->name, error->message),
				 error->detail ? errdetail_internal("%s", error->detail) : 0));
		told_locked = told_locked || is_lock;
	}
	pgqueue_waited_in_vain = pgqueue_waited_in_vain || is_lock;
	return false;
}

/*
 * Do one step in one transaction.  Its waits for locks are short, so that
 * sessions that need the topic's table do not wait long behind it.  Return true
 * if there is more to do; false, too, if the step failed or the topic is gone.
 */
bool
pgqueue_run_step(const char *name, int32 partition, Step step, void *arg)
{
	StepTask	task = {.step = step,.partition = partition,.arg = arg};
	Topic	   *topic;
	bool		locked;
	bool		more = false;

	CHECK_FOR_INTERRUPTS();
	if (pgqueue_code_spent())
		return false;
	pgqueue_step_begin();
	pgqueue_wait_shortly(GUC_ACTION_LOCAL);
	topic = pgqueue_attempt_find(name, &locked);
	if (topic != NULL && topic->broken == NULL &&
		pgqueue_owns_topic(topic) &&
		partition < topic->npartitions)
		more = try_step(topic, &task);
	pgqueue_step_end();
	return more;
}

static void
tell_locked(const char *name)
{
	pgqueue_failure_note(ERRCODE_LOCK_NOT_AVAILABLE,
						 "another transaction has locked its table");
	ereport(WARNING,
			(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
			 errmsg("topic \"%s\" is not maintained: another transaction has locked its table",
					name)));
}

static void
tell_broken(const Topic *topic)
{
	pgqueue_failure_note(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
						 topic->broken);
	ereport(WARNING,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("topic \"%s\" cannot be used and is not maintained",
					topic->name),
			 errdetail_internal("%s", topic->broken)));
}

/*
 * Begin with a topic.  Return true if the user owns it and it can be used; *log:
 * its table; *partitions: its used partitions, in the memory of the pass.  tell:
 * raise a WARNING if the topic is broken or locked.
 */
bool
pgqueue_maintenance_begin(const char *name, bool tell, Oid *log,
						  List **partitions)
{
	Topic	   *topic;
	bool		locked;
	bool		owned;
	bool		usable = false;
	MemoryContext context = CurrentMemoryContext;

	pgqueue_waited_in_vain = told_locked = pgqueue_needs_process = false;
	pgqueue_disk_was_full = false;
	pgqueue_step_begin();
	topic = pgqueue_attempt_find(name, &locked);
	owned = locked ? has_privs_of_role(GetUserId(),
									   pgqueue_owner_of(pgqueue_log_of_topic(name))) :
		topic != NULL && pgqueue_owns_topic(topic);
	pgqueue_failure_begin(!owned ? 0 :
						  topic != NULL ? topic->id : pgqueue_topic_id(name));
	if (owned && locked && tell)
		tell_locked(name);
	if (owned && !locked)
	{
		*log = topic->log;
		if (topic->broken == NULL)
		{
			MemoryContext old = MemoryContextSwitchTo(context);

			*partitions = NIL;
			for (int32 p = -1; (p = pgqueue_next_used(topic, p)) >= 0;)
				*partitions = lappend_int(*partitions, p);
			MemoryContextSwitchTo(old);
			usable = true;
		}
		else if (tell)
			tell_broken(topic);
	}
	if (!owned && (locked || topic != NULL))
		pgqueue_left_out = true;
	pgqueue_step_end();
	return usable;
}
