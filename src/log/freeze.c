/*-------------------------------------------------------------------------
 *
 * freeze.c
 *	  Freezing sealed segments: each once, so that nothing need touch it again.
 *
 * Nothing is appended to a sealed segment and nothing in it changes, so once
 * all its pages are frozen no VACUUM has a page of it to read but the last, and
 * none to write; an anti-wraparound VACUUM only moves pg_class.relfrozenxid.
 * Autovacuum gets there, too, but when it likes, and after reading the segment
 * more than once.
 *
 * The SQL command cannot be run from within maintenance, so the access method
 * is called as VACUUM calls it, in a transaction that does nothing else: what it
 * writes to pg_class is written in place and true whether the transaction
 * commits or not, and it takes no transaction id.  Index functions (BRIN calls
 * them) run as the table's owner, as in VACUUM.
 *
 * Nobody is waited for.  The table's lock is only tried.  Pages that somebody
 * has pinned are left out and frozen by the next pass.  Only where an earlier
 * VACUUM has marked pages as visible to all without freezing them, these have to
 * be read by the other kind of VACUUM, which waits for pins; that wait is given
 * up after a moment.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "access/visibilitymap.h"
#include "commands/vacuum.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "utils/timeout.h"

#include "base/compat.h"
#include "base/base.h"
#include "base/lock.h"
#include "log/log.h"
#include "log/write.h"

/* ---------------- what is frozen ---------------- */

static bool
page_is_new(Relation rel, BlockNumber block)
{
	Buffer		buffer = ReadBuffer(rel, block);
	bool		result;

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	result = PageIsNew(BufferGetPage(buffer));
	UnlockReleaseBuffer(buffer);
	return result;
}

/*
 * Is every page frozen?  New pages hold nothing, and have no place in the
 * visibility map.  Looks at that map, and at one page if anything is left to do.
 */
static bool
is_frozen(Relation rel)
{
	BlockNumber nblocks = RelationGetNumberOfBlocks(rel);
	BlockNumber visible;
	BlockNumber frozen;
	Buffer		map = InvalidBuffer;
	bool		result = true;

	visibilitymap_count(rel, &visible, &frozen);
	if (frozen >= nblocks)
		return true;
	for (BlockNumber block = 0; result && block < nblocks; block++)
		result = (visibilitymap_get_status(rel, block, &map) &
				  VISIBILITYMAP_ALL_FROZEN) != 0 || page_is_new(rel, block);
	if (BufferIsValid(map))
		ReleaseBuffer(map);
	return result;
}

/* The segment, and its TOAST table.  Locks: any on the segment. */
bool
pgqueue_is_frozen(Relation leaf)
{
	Oid			toast = leaf->rd_rel->reltoastrelid;
	Relation	rel;
	bool		result = is_frozen(leaf);

	if (!result || !OidIsValid(toast))
		return result;
	rel = table_open(toast, AccessShareLock);
	result = is_frozen(rel);
	table_close(rel, AccessShareLock);
	return result;
}

/*
 * Is the segment's last page older than every snapshot?  If not there is no use
 * in reading the segment.  (Earlier pages may hold a younger record, of a
 * transaction that began later and wrote before; then a pass freezes the rest.)
 */
bool
pgqueue_is_old(Relation leaf)
{
	TransactionId newest = InvalidTransactionId;
	LogTail		tail;
	Buffer		buffer;
	Page		page;

	pgqueue_segment_tail(leaf, RelationGetNumberOfBlocks(leaf), &tail);
	if (!tail.found)
		return true;
	buffer = ReadBuffer(leaf, tail.block);
	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	page = BufferGetPage(buffer);
	for (OffsetNumber lp = FirstOffsetNumber;
		 lp <= PageGetMaxOffsetNumber(page); lp++)
	{
		ItemId		item = PageGetItemId(page, lp);
		HeapTupleHeader header;

		if (!ItemIdIsNormal(item))
			continue;
		header = (HeapTupleHeader) PageGetItem(page, item);
		if (!HeapTupleHeaderXminFrozen(header) &&
			TransactionIdFollows(HeapTupleHeaderGetRawXmin(header), newest))
			newest = HeapTupleHeaderGetRawXmin(header);
	}
	UnlockReleaseBuffer(buffer);
	return !TransactionIdIsNormal(newest) ||
		TransactionIdPrecedes(newest, GetOldestNonRemovableTransactionId(leaf));
}

/* ---------------- not waiting for pins ---------------- */

/* How often to look whether we wait, in milliseconds; the second time it ends. */
#define PIN_LOOK_INTERVAL	100

static volatile sig_atomic_t pin_looks;
static volatile sig_atomic_t pin_given_up;

static void
look_for_pin(void)
{
	if (*(volatile uint32 *) my_wait_event_info != PGQUEUE_WAIT_BUFFER_PIN)
		pin_looks = 0;
	else if (++pin_looks >= 2)
	{
		pin_given_up = true;
		QueryCancelPending = true;
		InterruptPending = true;
		SetLatch(MyLatch);
	}
}

static TimeoutId
start_looking(void)
{
	static bool registered = false;
	static TimeoutId id;

	if (!registered)
		id = RegisterTimeout(USER_TIMEOUT, look_for_pin);
	registered = true;
	pin_looks = 0;
	pin_given_up = false;
	enable_timeout_every(id,
						 TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
													 PIN_LOOK_INTERVAL),
						 PIN_LOOK_INTERVAL);
	return id;
}

/* ---------------- the vacuum ---------------- */

/*
 * VACUUM's brakes, as set for the session; the maintenance worker sets those of
 * autovacuum.
 */
static void
apply_costs(void)
{
	VacuumCostBalance = 0;
	VacuumSharedCostBalance = NULL;
	VacuumActiveNWorkers = NULL;
	pgqueue_vacuum_costs_on();
}

/*
 * Others need not keep dead rows for our snapshot: nothing is read with it until
 * the transaction ends, which clears the flag.  So does VACUUM.
 */
static void
ignore_our_snapshot(void)
{
	LWLockAcquire(ProcArrayLock, LW_EXCLUSIVE);
	MyProc->statusFlags |= PROC_IN_VACUUM;
	ProcGlobal->statusFlags[MyProc->pgxactoff] = MyProc->statusFlags;
	LWLockRelease(ProcArrayLock);
}

/*
 * As VACUUM (FREEZE, TRUNCATE off, INDEX_CLEANUP on) does it.  Indexes are always
 * cleaned up: an entry of a dead record that is left would keep a page from
 * being frozen.
 */
static void
vacuum_relation(Relation rel)
{
	VacuumParams params = {0};
	BufferAccessStrategy strategy = GetAccessStrategy(BAS_VACUUM);
	BlockNumber visible;
	BlockNumber frozen;

	visibilitymap_count(rel, &visible, &frozen);
	params.options = VACOPT_VACUUM;
	/* ages 0: read what is visible to all but not frozen, and wait for pins */
	params.freeze_table_age = visible > frozen ? 0 : INT_MAX;
	params.multixact_freeze_table_age = params.freeze_table_age;
	PGQUEUE_VACUUM_LOG_NOTHING(params);
	params.index_cleanup = VACOPTVALUE_ENABLED;
	params.truncate = VACOPTVALUE_DISABLED;
	params.nworkers = -1;
	pgqueue_pin();
	table_relation_vacuum(rel, &params, strategy);
	pgqueue_unpin();
	FreeAccessStrategy(strategy);
}

/* As the table's owner, and nobody can bend the search_path. */
static void
vacuum_as_owner(Relation rel)
{
	Oid			save_userid;
	int			save_sec;
	int			nest = pgqueue_pin_search_path();

	GetUserIdAndSecContext(&save_userid, &save_sec);
	SetUserIdAndSecContext(rel->rd_rel->relowner,
						   save_sec | SECURITY_RESTRICTED_OPERATION);
	apply_costs();
	vacuum_relation(rel);
	AtEOXact_GUC(false, nest);
	SetUserIdAndSecContext(save_userid, save_sec);
}

/*
 * The same, but a wait for a pin is given up.
 *
 * Errors: 55006 then.
 */
static void
vacuum_patiently(Relation rel)
{
	TimeoutId	id = start_looking();

	PG_TRY();
	{
		vacuum_as_owner(rel);
		if (pin_given_up)
			QueryCancelPending = false;
	}
	PG_CATCH();
	{
		disable_timeout(id, false);
		VacuumCostActive = false;
		if (!pin_given_up || geterrcode() != ERRCODE_QUERY_CANCELED)
			PG_RE_THROW();
		FlushErrorState();
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("segment \"%s\" cannot be frozen while somebody reads a page of it",
						RelationGetRelationName(rel)),
				 errdetail("An earlier VACUUM has left pages that it found visible to all.")));
	}
	PG_END_TRY();
	disable_timeout(id, false);
	VacuumCostActive = false;
}

/* False: somebody else has the lock. */
static bool
freeze_relation(Oid relid)
{
	Relation	rel;

	if (!pgqueue_try_lock_relation(relid, ShareUpdateExclusiveLock))
		return false;
	rel = try_table_open(relid, NoLock);
	if (rel == NULL)
		return false;
	if (!is_frozen(rel))
	{
		pgqueue_check_code(relid, false);
		pgqueue_code_begin(relid, false);
		vacuum_patiently(rel);
		pgqueue_code_end();
	}
	table_close(rel, NoLock);
	return true;
}

/* Freeze a segment and its TOAST table.  True if all of it is frozen then. */
bool
pgqueue_freeze_segment(Oid relid)
{
	Relation	leaf;
	Oid			toast;
	bool		result;

	ignore_our_snapshot();
	if (!freeze_relation(relid))
		return false;
	leaf = table_open(relid, NoLock);
	toast = leaf->rd_rel->reltoastrelid;
	result = (!OidIsValid(toast) || freeze_relation(toast)) &&
		pgqueue_is_frozen(leaf);
	table_close(leaf, NoLock);
	return result;
}
