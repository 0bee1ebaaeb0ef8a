/*-------------------------------------------------------------------------
 *
 * registry_scan.c
 *	  Scan the extension's own tables, and delete rows of them.
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

#include "access/table.h"
#include "catalog/indexing.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"

#include "base/base.h"

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

static void
open_table(RegistryScan *scan, RegistryTable table, LOCKMODE lockmode)
{
	bool		writing = lockmode == RowExclusiveLock;

	Assert(writing || lockmode == AccessShareLock);
	scan->rel = writing ? pgqueue_open_for_writing(table) :
		pgqueue_registry_open(table);
	scan->lockmode = writing ? NoLock : AccessShareLock;
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
	open_table(scan, table, lockmode);
	scan->index = index_open(pgqueue_registry_index(table), AccessShareLock);
	scan->scan = systable_beginscan_ordered(scan->rel, scan->index, snapshot,
											scan->nkeys, scan->keys);
}

/* Begin to scan a whole table, for keys with which no index begins. */
void
pgqueue_registry_scan_table(RegistryScan *scan, RegistryTable table,
							LOCKMODE lockmode, Snapshot snapshot)
{
	open_table(scan, table, lockmode);
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
	table_close(scan->rel, scan->lockmode);
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
