/*-------------------------------------------------------------------------
 *
 * attempt.c
 *	  Loops over topics: a fault of one topic does not stop the others.
 *
 * README, section 17, has the rules.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/resowner.h"

#include "base/lock.h"
#include "topic/segment.h"
#include "topic/topic.h"
#include "topic/topic_row.h"

/*
 * Return true if an error concerns the session or its transaction, not the
 * topic: a cancel, a shutdown, a lack of memory or disk, a serialization failure
 * or a deadlock.
 */
static bool
is_ours(const ErrorData *error)
{
	int			category = ERRCODE_TO_CATEGORY(error->sqlerrcode);

	return category == ERRCODE_OPERATOR_INTERVENTION ||
		category == ERRCODE_INSUFFICIENT_RESOURCES ||
		category == ERRCODE_TRANSACTION_ROLLBACK;
}

/*
 * Return true if the user may know of a topic, or owns it; its table is locked
 * so that it cannot be looked at.
 */
bool
pgqueue_may_see_locked(const char *name)
{
	Topic		topic = {.broken = ""};

	if (!pgqueue_load_row(name, &topic))
		return false;
	topic.owner = pgqueue_owner_of(topic.log);
	(void) pgqueue_load_view(&topic);
	return pgqueue_may_see(&topic) ||
		has_privs_of_role(GetUserId(), topic.owner);
}

/*
 * Find a topic for a loop, as pgqueue_topic_find(), but wait for no lock.  *locked:
 * set, and the result NULL, if the topic's description has to be built anew and
 * another transaction has locked the topic's table.
 */
Topic *
pgqueue_attempt_find(const char *name, bool *locked)
{
	Topic	   *topic;
	Oid			log;

	*locked = false;
	if (pgqueue_topic_is_known(name))
		return pgqueue_topic_find(name);
	log = pgqueue_log_of_topic(name);
	if (!OidIsValid(log))
		return NULL;
	if (!ConditionalLockRelationOid(log, AccessShareLock))
	{
		*locked = true;
		return NULL;
	}
	topic = pgqueue_topic_find(name);
	UnlockRelationOid(log, AccessShareLock);
	return topic;
}

/*
 * Find a topic for a view over all topics.  Return NULL if it is not to be shown:
 * it was dropped, or the user may neither read nor write it, or it is broken; or,
 * which a WARNING tells, another transaction has locked its table.
 */
Topic *
pgqueue_attempt_topic(const char *name)
{
	bool		locked;
	Topic	   *topic = pgqueue_attempt_find(name, &locked);

	if (locked && pgqueue_may_see_locked(name))
		ereport(WARNING,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("topic \"%s\" is left out: another transaction has locked its table",
						name)));
	return topic == NULL || topic->broken != NULL || !pgqueue_may_see(topic) ?
		NULL : topic;
}

/*
 * Do something in a subtransaction.  Return NULL if that succeeded; else the
 * error, after the subtransaction was rolled back.
 */
ErrorData *
pgqueue_any_error(void (*run) (void *arg), void *arg)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData  *volatile error = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		run(arg);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return error;
}

typedef struct Attempt
{
	Topic	   *topic;
	TopicTask	run;
	void	   *arg;
} Attempt;

static void
run_task(void *arg)
{
	Attempt    *attempt = arg;

	attempt->run(pgqueue_topic_refresh(attempt->topic), attempt->arg);
}

/*
 * Do something with a topic in a subtransaction.  The topic is looked up again
 * before, so it can be used, and is the same.  The result is that of
 * pgqueue_any_error().
 */
ErrorData *
pgqueue_any_error_of(Topic *topic, TopicTask run, void *arg)
{
	return pgqueue_any_error(run_task, &(Attempt) {topic, run, arg});
}

/* Do the same.  Errors: those that concern the session or its transaction. */
ErrorData *
pgqueue_error_of(Topic *topic, TopicTask run, void *arg)
{
	ErrorData  *error = pgqueue_any_error_of(topic, run, arg);

	if (error != NULL && is_ours(error))
		ReThrowError(error);
	return error;
}

/*
 * Run a task on a topic without waiting for locks on its tables.  Return true
 * if it succeeded; else a WARNING tells the error.
 *
 * warned: NULL; or no WARNING if it is set; it becomes set.
 */
bool
pgqueue_attempt(Topic *topic, TopicTask run, void *arg, bool *warned)
{
	int32		id = topic->id;
	char		name[NAMEDATALEN];
	ErrorData  *error;
	bool		before = pgqueue_attempting;

	strlcpy(name, topic->name, NAMEDATALEN);
	pgqueue_attempting = true;
	PG_TRY();
	{
		error = pgqueue_error_of(topic, run, arg);
	}
	PG_FINALLY();
	{
		pgqueue_attempting = before;
	}
	PG_END_TRY();
	if (error == NULL)
		return true;
	/* not if the topic was dropped in the meantime */
	if ((warned == NULL || !*warned) && pgqueue_topic_id(name) == id)
		ereport(WARNING,
				(errcode(error->sqlerrcode),
				 errmsg("topic \"%s\" is left out, at least in part: %s",
						name, error->message),
				 error->detail ?
				 errdetail_internal("%s", error->detail) : 0));
	if (warned != NULL)
		*warned = true;
	FreeErrorData(error);
	return false;
}

typedef struct EndsTask
{
	int32		partition;
	LogEnds    *ends;
} EndsTask;

static void
find_ends(Topic *topic, void *arg)
{
	EndsTask   *task = arg;

	pgqueue_log_ends(topic, task->partition, task->ends);
}

/*
 * Find the ends of a partition, as pgqueue_attempt() does.  Return false if that
 * fails, or if the partition is broken, which queue.verify() tells.
 */
bool
pgqueue_attempt_log_ends(Topic *topic, int32 partition, LogEnds *ends,
						 bool *warned)
{
	EndsTask	task = {partition, ends};

	return !pgqueue_partition_broken(topic, partition) &&
		pgqueue_attempt(topic, find_ends, &task, warned);
}
