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
 * So each process has a rule.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
#include "storage/latch.h"
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
static int64 spent = 0;			/* by code that has ended, in microseconds */

/* When code began to run; 0: it does not.  May lie in shared memory. */
TimestampTz *pgqueue_code_begun = &own_begun;

/* The process ends because code ran too long. */
volatile sig_atomic_t pgqueue_code_expired = false;

/*
 * Return true if an index may call functions of its owner: through an
 * expression or a predicate, or through the type of a column (a range type's
 * subtype_diff, which GiST calls, may be any function).  What B-tree, hash,
 * BRIN and GIN call belongs to an operator class, which only superusers make.
 */
static bool
index_has_code(Oid relid)
{
	HeapTuple	tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(relid));
	Oid			am = GetSysCacheOid1(RELOID, Anum_pg_class_relam,
									 ObjectIdGetDatum(relid));
	bool		result;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for index %u", relid);
	result = (am != BTREE_AM_OID && am != HASH_AM_OID &&
			  am != BRIN_AM_OID && am != GIN_AM_OID) ||
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

/* End the process at the next chance, as SIGTERM does.  A signal handler. */
static void
expire(void)
{
	pgqueue_code_expired = true;
	ProcDiePending = true;
	InterruptPending = true;
	SetLatch(MyLatch);
}

/* Tell the log why the process ends. */
static void
tell_expired(int code, Datum arg)
{
	if (pgqueue_code_expired)
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

/* Start the timer of a table's code, if any; pgqueue_code_end() stops it. */
void
pgqueue_code_begin(Oid relid, bool constraints)
{
	if (rule != CODE_LIMITED || !table_has_code(relid, constraints))
		return;
	*pgqueue_code_begun = GetCurrentTimestamp();
	enable_timeout_after(timeout, pgqueue_code_timeout);
}

void
pgqueue_code_end(void)
{
	if (*pgqueue_code_begun == 0)
		return;
	disable_timeout(timeout, false);
	spent += GetCurrentTimestamp() - *pgqueue_code_begun;
	*pgqueue_code_begun = 0;
}

/*
 * Check that the code of a table may run in this process: that of its indexes,
 * and, if constraints, of its CHECKs.
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

/* Return true if code has run so long that the process must not go on. */
bool
pgqueue_code_spent(void)
{
	return rule == CODE_LIMITED && spent / 1000 >= pgqueue_code_timeout;
}
