/*-------------------------------------------------------------------------
 *
 * code.c
 *	  A topic's own code: the processes in which it may run, and for how long.
 *
 * Constraints and indexes of a topic's table may call functions.  These run, as
 * the topic's owner, where the extension makes a segment, and where it empties or
 * compacts one (README, section 16).  They may sleep, and swallow the error by
 * which they are canceled; only the end of their process is sure to end them.
 *
 * So each process has a rule:
 *
 *	 CODE_HERE      a session that works on a topic by its name: the code runs
 *					there, as it does in an INSERT
 *	 CODE_ELSEWHERE a pass of maintenance over other owners' topics: the code
 *					does not run there; a step that needs it is rolled back, and
 *					the topic is handed to a process of its own
 *					(api/topic_worker.c)
 *	 CODE_LIMITED   such a process, and the one that makes segments
 *					(topic/segment_make.c): it ends when queue.code_timeout is over
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "catalog/pg_am.h"
#include "catalog/pg_index.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/guc.h"
#include "utils/syscache.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

#include "base/base.h"
#include "base/lock.h"

static CodeRule rule = CODE_HERE;

/* CODE_ELSEWHERE: a step was rolled back, since the topic's code has to run. */
static bool refused = false;

/* queue.code_timeout, in milliseconds */
int			pgqueue_code_timeout = 60000;

/* CODE_LIMITED */
static TimeoutId timeout;
static TimestampTz own_begun;
static TimestampTz *begun = &own_begun; /* when it began to run; 0: it does not */
static int64 spent = 0;			/* by code that has ended, in microseconds */
static volatile sig_atomic_t expired = false;

/* ---------------- is there any? ---------------- */

/*
 * Return true if an index may call functions of its owner: through an
 * expression or a predicate, or through the type of a column (a range type's
 * subtype_diff, which GiST calls, may be any function).  What B-tree, hash,
 * BRIN and GIN call belongs to an operator class, which only superusers can
 * make.
 */
static bool
index_has_code(Oid relid)
{
	HeapTuple	tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(relid));
	FormData_pg_class class;
	bool		result;

	if (!HeapTupleIsValid(tuple) || !pgqueue_read_class(relid, &class))
		elog(ERROR, "cache lookup failed for index %u", relid);
	result = (class.relam != BTREE_AM_OID && class.relam != HASH_AM_OID &&
			  class.relam != BRIN_AM_OID && class.relam != GIN_AM_OID) ||
		!heap_attisnull(tuple, Anum_pg_index_indexprs, NULL) ||
		!heap_attisnull(tuple, Anum_pg_index_indpred, NULL);
	ReleaseSysCache(tuple);
	return result;
}

static bool
table_has_code(Oid relid, bool constraints)
{
	Relation	rel = try_table_open(relid, AccessShareLock);
	TupleConstr *constr;
	List	   *indexes;
	ListCell   *lc;
	bool		result;

	if (rel == NULL)
		return false;
	constr = RelationGetDescr(rel)->constr;
	indexes = RelationGetIndexList(rel);
	result = constraints && constr != NULL && constr->num_check > 0;
	foreach(lc, indexes)
		result = result || index_has_code(lfirst_oid(lc));
	list_free(indexes);
	table_close(rel, AccessShareLock);
	return result;
}

/* ---------------- limits ---------------- */

/* End the process at the next chance, as SIGTERM does.  A signal handler. */
static void
expire(void)
{
	expired = true;
	ProcDiePending = true;
	InterruptPending = true;
	SetLatch(MyLatch);
}

/* Tell the log why the process ends. */
static void
tell_expired(int code, Datum arg)
{
	if (expired)
		ereport(LOG,
				(errmsg("functions in a topic's constraints or indexes ran longer than %d ms",
						pgqueue_code_timeout),
				 errhint("See setting \"queue.code_timeout\".")));
}

/* Set the rule of this process.  Return the one before. */
CodeRule
pgqueue_set_code_rule(CodeRule new)
{
	CodeRule	old = rule;

	if (new == CODE_LIMITED && old != CODE_LIMITED)
	{
		timeout = RegisterTimeout(USER_TIMEOUT, expire);
		before_shmem_exit(tell_expired, (Datum) 0);
	}
	rule = new;
	return old;
}

/*
 * Start the timer of a table's code, if it has any, as pgqueue_check_code() has
 * it.  It runs until pgqueue_code_end().
 */
void
pgqueue_code_begin(Oid relid, bool constraints)
{
	if (rule != CODE_LIMITED || !table_has_code(relid, constraints))
		return;
	*begun = GetCurrentTimestamp();
	enable_timeout_after(timeout, pgqueue_code_timeout);
}

/* Stop the timer of code, if it is running. */
void
pgqueue_code_end(void)
{
	if (*begun == 0)
		return;
	disable_timeout(timeout, false);
	spent += GetCurrentTimestamp() - *begun;
	*begun = 0;
}

/* Keep the time when code begins to run where another process can see it. */
void
pgqueue_code_show(TimestampTz *where)
{
	begun = where;
}

/* Return true if the process ends because code ran too long. */
bool
pgqueue_code_expired(void)
{
	return expired;
}

/* ---------------- where it may run ---------------- */

/*
 * Check that the code of a table may run in this process: that of its indexes,
 * and, if constraints, of its CHECKs.  Call it before work is done that would be
 * in vain.
 *
 * Locks: to be sure that none is added before the code runs, one on the table that
 * keeps others from adding indexes and CHECKs.
 * Errors: one that pgqueue_code_refused() tells from others.
 */
void
pgqueue_check_code(Oid relid, bool constraints)
{
	if (rule != CODE_ELSEWHERE || !table_has_code(relid, constraints) ||
		(MyBgworkerEntry == NULL && pgqueue_owner_of(relid) == GetUserId()))
		return;
	refused = true;
	elog(ERROR, "functions in constraints or indexes of relation %u cannot run in this process",
		 relid);
}

/* Return true if a step was refused since the last call. */
bool
pgqueue_code_refused(void)
{
	bool		result = refused;

	refused = false;
	return result;
}

/*
 * Return true if code has run so long in this process that the process must not
 * begin another step.
 */
bool
pgqueue_code_spent(void)
{
	return rule == CODE_LIMITED && spent / 1000 >= pgqueue_code_timeout;
}
