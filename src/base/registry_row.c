/*-------------------------------------------------------------------------
 *
 * registry_row.c
 *	  Rows of the extension's own tables: scan, read, write and delete them,
 *	  whatever columns the tables have (registry.c).
 *
 *	 RegistryScan scan = {0};
 *
 *	 pgqueue_registry_key_int4(&scan, ..., topic->id);
 *	 pgqueue_registry_scan(&scan, REGISTRY_..., AccessShareLock, SnapshotSelf);
 *	 while (HeapTupleIsValid(tuple = pgqueue_registry_next(&scan)))
 *		 ...
 *	 pgqueue_registry_end(&scan);
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "commands/sequence.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"

#include "base/base.h"

/* ---------------- scanning ---------------- */

/* Add a key, before the scan is begun.  Texts are compared by their bytes. */
void
pgqueue_registry_key(RegistryScan *scan, AttrNumber attr,
					 StrategyNumber strategy, RegProcedure procedure,
					 Datum value)
{
	Assert(scan->scan == NULL && scan->nkeys < lengthof(scan->keys));
	ScanKeyInit(&scan->keys[scan->nkeys++], attr, strategy, procedure, value);
}

void
pgqueue_registry_key_int4(RegistryScan *scan, AttrNumber attr, int32 value)
{
	pgqueue_registry_key(scan, attr, BTEqualStrategyNumber, F_INT4EQ,
						 Int32GetDatum(value));
}

void
pgqueue_registry_key_text(RegistryScan *scan, AttrNumber attr,
						  const char *value)
{
	pgqueue_registry_key(scan, attr, BTEqualStrategyNumber, F_TEXTEQ,
						 CStringGetTextDatum(value));
}

/*
 * Begin to scan a table in the order of its index, by the keys that were added.
 * snapshot NULL: as the system catalogs are read.
 *
 * Locks: ACCESS SHARE to the end of the scan, or ROW EXCLUSIVE to the end of the
 * transaction, for deleting rows.
 * Errors: 42P01, 55000.
 */
void
pgqueue_registry_scan(RegistryScan *scan, RegistryTable table,
					  LOCKMODE lockmode, Snapshot snapshot)
{
	scan->rel = pgqueue_registry_open(table, lockmode);
	scan->lockmode = lockmode;
	scan->index = index_open(pgqueue_registry_index(table), AccessShareLock);
	scan->scan = systable_beginscan_ordered(scan->rel, scan->index, snapshot,
											scan->nkeys, scan->keys);
}

/* Begin to scan a whole table, for keys with which no index begins. */
void
pgqueue_registry_scan_table(RegistryScan *scan, RegistryTable table,
							LOCKMODE lockmode, Snapshot snapshot)
{
	scan->rel = pgqueue_registry_open(table, lockmode);
	scan->lockmode = lockmode;
	scan->scan = systable_beginscan(scan->rel, InvalidOid, false, snapshot,
									scan->nkeys, scan->keys);
}

/* Return the next row, valid until the next call, or NULL. */
HeapTuple
pgqueue_registry_next(RegistryScan *scan)
{
	return scan->index == NULL ? systable_getnext(scan->scan) :
		systable_getnext_ordered(scan->scan, ForwardScanDirection);
}

/* Return the row before, from the end of the index on, or NULL. */
HeapTuple
pgqueue_registry_previous(RegistryScan *scan)
{
	return systable_getnext_ordered(scan->scan, BackwardScanDirection);
}

/* Return a column of a row that is never NULL. */
Datum
pgqueue_registry_column(const RegistryScan *scan, HeapTuple tuple,
						AttrNumber attr)
{
	bool		isnull;
	Datum		value = heap_getattr(tuple, attr, RelationGetDescr(scan->rel),
									 &isnull);

	Assert(!isnull);
	return value;
}

void
pgqueue_registry_end(RegistryScan *scan)
{
	if (scan->index == NULL)
		systable_endscan(scan->scan);
	else
	{
		systable_endscan_ordered(scan->scan);
		index_close(scan->index, AccessShareLock);
	}
	table_close(scan->rel, scan->lockmode == AccessShareLock ? AccessShareLock :
				NoLock);
}

/* ---------------- reading and writing ---------------- */

/*
 * Check that the transaction's snapshot, if it keeps one, knows the transaction
 * xmin, which wrote the newest row; the caller holds the lock under which such
 * rows are written.  Otherwise the row lies in the transaction's future.
 *
 * Errors: 40001.
 */
void
pgqueue_check_known(TransactionId xmin, const char *doing)
{
	if (IsolationUsesXactSnapshot() &&
		!TransactionIdIsCurrentTransactionId(xmin) &&
		XidInMVCCSnapshot(xmin, GetActiveSnapshot()))
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("could not serialize access due to concurrent %s",
						doing),
				 errhint("Retry the transaction.")));
}

/*
 * Read the columns that the library knows, which are ncolumns, from a row.
 * Values by reference point into the row.
 */
void
pgqueue_registry_read(Relation rel, HeapTuple tuple, int ncolumns,
					  Datum *values, bool *nulls)
{
	TupleDesc	desc = RelationGetDescr(rel);

	if (likely(desc->natts == ncolumns))
	{
		heap_deform_tuple(tuple, desc, values, nulls);
		return;
	}
	for (int i = 0; i < ncolumns; i++)
	{
		nulls[i] = true;
		values[i] = i >= desc->natts ? (Datum) 0 :
			heap_getattr(tuple, i + 1, desc, &nulls[i]);
	}
}

/* Return a column of type int8, or 0 for NULL. */
int64
pgqueue_registry_int8(const Datum *values, const bool *nulls, AttrNumber attr)
{
	return nulls[attr - 1] ? 0 : DatumGetInt64(values[attr - 1]);
}

/*
 * Form a row from the one at tid: columns that the library does not know stay as
 * they are there.
 */
static HeapTuple
form_from_old(Relation rel, ItemPointer tid, int ncolumns, Datum *values,
			  bool *nulls)
{
	HeapTupleData old = {.t_self = *tid};
	HeapTuple	tuple;
	Buffer		buffer;
	int			columns[REGISTRY_MAX_COLUMNS];

	if (!heap_fetch(rel, SnapshotAny, &old, &buffer, false))
		elog(ERROR, "row of table \"%s.%s\" is missing",
			 PGQUEUE_SCHEMA, RelationGetRelationName(rel));
	for (int i = 0; i < ncolumns; i++)
		columns[i] = i + 1;
	tuple = heap_modify_tuple_by_cols(&old, RelationGetDescr(rel), ncolumns,
									  columns, values, nulls);
	ReleaseBuffer(buffer);
	return tuple;
}

/*
 * Store the columns that the library knows in a new row, or instead of the row
 * at *tid, if valid.  Sets *tid to the row's place.
 *
 * Locks: ROW EXCLUSIVE on the table, to the end of the transaction; the caller
 * holds those that keep others from changing the row.
 * Errors: 42P01, 55000.
 */
void
pgqueue_registry_write(RegistryTable which, ItemPointer tid, int ncolumns,
					   Datum *values, bool *nulls)
{
	Relation	rel = pgqueue_registry_open(which, RowExclusiveLock);
	TupleDesc	desc = RelationGetDescr(rel);
	HeapTuple	tuple;

	Assert(ncolumns == pgqueue_registry_ncolumns(which));
	tuple = desc->natts > ncolumns && ItemPointerIsValid(tid) ?
		form_from_old(rel, tid, ncolumns, values, nulls) :
		pgqueue_form_row(desc, values, nulls, ncolumns);
	if (ItemPointerIsValid(tid))
		CatalogTupleUpdate(rel, tid, tuple);
	else
		CatalogTupleInsert(rel, tuple);
	*tid = tuple->t_self;
	heap_freetuple(tuple);
	table_close(rel, NoLock);
}

/* Store a new row.  Locks, errors: those of pgqueue_registry_write(). */
void
pgqueue_registry_insert(RegistryTable which, int ncolumns, Datum *values,
						bool *nulls)
{
	ItemPointerData tid;

	ItemPointerSetInvalid(&tid);
	pgqueue_registry_write(which, &tid, ncolumns, values, nulls);
}

/* Delete a row.  Locks, errors: those of pgqueue_registry_write(). */
void
pgqueue_registry_delete_row(RegistryTable which, ItemPointer tid)
{
	Relation	rel = pgqueue_registry_open(which, RowExclusiveLock);

	CatalogTupleDelete(rel, tid);
	table_close(rel, NoLock);
}

/*
 * Delete the rows that a scan still has, and end it.  Return their number.
 *
 * Locks: the scan's ROW EXCLUSIVE, and those that keep others from changing the
 * rows.
 */
int64
pgqueue_registry_delete(RegistryScan *scan)
{
	int64		n = 0;
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = pgqueue_registry_next(scan)))
	{
		CHECK_FOR_INTERRUPTS();
		CatalogTupleDelete(scan->rel, &tuple->t_self);
		n++;
	}
	pgqueue_registry_end(scan);
	return n;
}

/* Return the next number of the sequence behind a table's id. */
int32
pgqueue_registry_new_id(const char *sequence)
{
	Oid			schema = get_namespace_oid(PGQUEUE_SCHEMA, false);

	return (int32) nextval_internal(get_relname_relid(sequence, schema), false);
}
