/*-------------------------------------------------------------------------
 *
 * rewrite.c
 *	  Copy some of a segment's settled records into a new file that takes the
 *	  place of the old one.
 *
 * What stays is copied, its offset unchanged and its xmin frozen, while readers
 * go on; then the files are swapped, as VACUUM FULL does it, under a lock that
 * is only tried.  README, section 14, has the proof that no reader is hurt.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/multixact.h"
#include "access/nbtxlog.h"
#include "access/rewriteheap.h"
#include "access/xloginsert.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "commands/progress.h"
#include "pgstat.h"
#include "storage/bufmgr.h"
#include "storage/predicate.h"
#include "utils/syscache.h"

#include "base/compat_table.h"
#include "base/lock.h"
#include "log/write.h"

/* How often the swap tries to have the segment for itself. */
#define SWAP_TRIES		100

typedef struct Copy
{
	RewriteState state;
	LogReceiver stays;
	void	   *arg;
	int64		kept;
	int64		removed;
} Copy;

static bool
copy_record(HeapTuple tuple, Relation segment, void *arg)
{
	Copy	   *copy = arg;
	HeapTuple	record;

	if (!copy->stays(tuple, segment, copy->arg))
	{
		copy->removed++;
		return true;
	}
	record = heap_copytuple(tuple);
	rewrite_heap_tuple(copy->state, tuple, record);
	heap_freetuple(record);
	copy->kept++;
	return true;
}

/* Store a new heap's size in pg_class. */
static void
store_size(Oid relid, BlockNumber pages, int64 tuples)
{
	Relation	rel = table_open(RelationRelationId, RowExclusiveLock);
	HeapTuple	tuple = SearchSysCacheCopy1(RELOID, ObjectIdGetDatum(relid));
	Form_pg_class form;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", relid);
	form = (Form_pg_class) GETSTRUCT(tuple);
	form->relpages = pages;
	form->reltuples = tuples;
	CatalogTupleUpdate(rel, &tuple->t_self, tuple);
	heap_freetuple(tuple);
	table_close(rel, RowExclusiveLock);
	CommandCounterIncrement();
}

/* Copy what stays into a new heap.  False: met a record that is not settled. */
static bool
copy_segment(Relation segment, Oid new_relid, Settled *settled,
			 MultiXactId multi, Copy *copy)
{
	Relation	new = table_open(new_relid, AccessExclusiveLock);
	Visit		visit;

	/* pointers to large values name the old TOAST table, which keeps them */
	if (OidIsValid(new->rd_rel->reltoastrelid))
		new->rd_toastoid = segment->rd_rel->reltoastrelid;
	copy->state = begin_heap_rewrite(segment, new, settled->horizon,
									 settled->horizon, multi);
	pgstat_progress_update_param(PROGRESS_REPACK_PHASE,
								 PROGRESS_REPACK_PHASE_WRITE_NEW_HEAP);
	visit = pgqueue_visit_settled(segment, settled, 0, copy_record, copy);
	end_heap_rewrite(copy->state);
	new->rd_toastoid = InvalidOid;
	store_size(new_relid, RelationGetNumberOfBlocks(new), copy->kept);
	table_close(new, NoLock);
	return visit == VISITED_ALL;
}

/* Return true if another transaction, be it prepared, has locked a table. */
static bool
is_locked(Oid relid)
{
	return pgqueue_lock_is_held(pgqueue_tag_of_relation(relid),
								AccessExclusiveLock);
}

/*
 * Wait for a moment until no other transaction uses the segment, and lock it.
 * Return false if that failed.  NoLock: do not lock it, since a standby keeps
 * what was locked, even briefly, to the end of the transaction.
 */
static bool
is_free_soon(Oid relid, LOCKMODE mode)
{
	for (int i = 0; i < SWAP_TRIES; i++)
	{
		Oid			toast = pgqueue_toast_of(relid);

		if (!is_locked(relid) && !(OidIsValid(toast) && is_locked(toast)) &&
			(mode == NoLock || pgqueue_try_lock_segment(relid, mode)))
			return true;
		pgqueue_lock_pause();
	}
	return false;
}

/* Return the offset behind the last record, dead or alive. */
static int64
end_of(Relation segment)
{
	LogTail		tail;

	pgqueue_segment_tail(segment, RelationGetNumberOfBlocks(segment), &tail);
	return tail.found ? tail.offset + 1 : 0;
}

/* Return a transaction, which is not in the future, with its epoch. */
static FullTransactionId
full_xid(TransactionId xid)
{
	FullTransactionId next = ReadNextFullTransactionId();
	uint32		age = XidFromFullTransactionId(next) - xid;

	return FullTransactionIdFromU64(U64FromFullTransactionId(next) - age);
}

/*
 * Make a standby cancel queries with snapshots that do not show the newest of
 * the records, which are frozen in the new file: all that this record does.
 */
static void
log_standby_conflict(Relation segment, TransactionId newest)
{
	xl_btree_reuse_page record = {0};

	if (!TransactionIdIsValid(newest) || !XLogStandbyInfoActive())
		return;
	record.locator = segment->rd_locator;
	record.snapshotConflictHorizon = full_xid(newest);
	XLogBeginInsert();
	XLogRegisterData((char *) &record, SizeOfBtreeReusePage);
	XLogInsert(RM_BTREE_ID, XLOG_BTREE_REUSE_PAGE);
}

/*
 * Keep of a segment what stays, in a new file; add to *done; close the segment.
 * Return false, with nothing changed, if it is in use, or has records that are
 * not settled, or may_go, called last and with the segment locked, says no.
 *
 * Locks: the caller holds SHARE UPDATE EXCLUSIVE on the segment and its TOAST
 * table.  Takes ACCESS EXCLUSIVE, conditionally, to the end of the transaction;
 * a segment to which COPY has appended meanwhile is not swapped.
 */
bool
pgqueue_rewrite_segment(Relation segment, Settled *settled, LogReceiver stays,
						bool (*may_go) (void *arg), void *arg,
						Rewritten *done)
{
	Oid			relid = RelationGetRelid(segment);
	int64		end = end_of(segment);
	int64		bytes = pgqueue_total_bytes(relid);
	TransactionId frozen = settled->horizon;
	MultiXactId multi = GetOldestMultiXactId();
	bool		by_content = OidIsValid(segment->rd_rel->reltoastrelid);
	Copy		copy = {.stays = stays,.arg = arg};
	bool		copied;
	Oid			new;
	ObjectAddress address;
	MemoryContext context = CurrentMemoryContext;

	/* before the work is done */
	if (!is_free_soon(relid, NoLock))
	{
		relation_close(segment, NoLock);
		return false;
	}
	if (TransactionIdPrecedes(frozen, segment->rd_rel->relfrozenxid))
		frozen = segment->rd_rel->relfrozenxid;
	if (MultiXactIdPrecedes(multi, segment->rd_rel->relminmxid))
		multi = segment->rd_rel->relminmxid;
	new = make_new_heap(relid, segment->rd_rel->reltablespace,
						segment->rd_rel->relam, RELPERSISTENCE_PERMANENT,
						ShareUpdateExclusiveLock);
	copied = copy_segment(segment, new, settled, multi, &copy) &&
		is_free_soon(relid, AccessExclusiveLock) &&
		end_of(segment) == end && may_go(arg);
	if (copied)
	{
		log_standby_conflict(segment, settled->newest);
		TransferPredicateLocksToHeapRelation(segment);
	}
	relation_close(segment, NoLock);
	if (!copied)
	{
		ObjectAddressSet(address, RelationRelationId, new);
		performDeletion(&address, DROP_RESTRICT, PERFORM_DELETION_INTERNAL);
		return false;
	}
	pgqueue_pin();
	pgqueue_code_begin(relid, false);
	PG_TRY();
	{
		pgqueue_finish_heap_swap(relid, new, by_content, frozen, multi);
	}
	PG_CATCH();
	{
		pgqueue_rethrow_conflict(context);
	}
	PG_END_TRY();
	pgqueue_code_end();
	pgqueue_unpin();
	CommandCounterIncrement();
	done->removed += copy.removed;
	done->bytes += bytes - pgqueue_total_bytes(relid);
	return true;
}
