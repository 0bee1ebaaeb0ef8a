/*-------------------------------------------------------------------------
 *
 * registry_row.c
 *	  Read and write rows of the extension's own tables, whatever columns
 *	  these have.
 *
 * registry.c says which differences between a table and the library are
 * allowed.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "commands/sequence.h"
#include "storage/bufmgr.h"
#include "utils/lsyscache.h"

#include "base/base.h"

/*
 * Read the columns that the library knows, which are ncolumns, from a row.
 * Values by reference point into the row.
 */
void
pgqueue_registry_read(Relation rel, HeapTuple tuple, int ncolumns,
					  Datum *values, bool *nulls)
{
	TupleDesc	desc = RelationGetDescr(rel);

	Assert(pgqueue_is_shape_of(rel, ncolumns));
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
 * Locks: pgqueue_open_for_writing(), and those that keep others from
 * changing the row.
 */
void
pgqueue_registry_write(Relation rel, ItemPointer tid, int ncolumns,
					   Datum *values, bool *nulls)
{
	TupleDesc	desc = RelationGetDescr(rel);
	HeapTuple	tuple;

	Assert(pgqueue_is_shape_of(rel, ncolumns));
	tuple = desc->natts > ncolumns && ItemPointerIsValid(tid) ?
		form_from_old(rel, tid, ncolumns, values, nulls) :
		pgqueue_form_row(desc, values, nulls, ncolumns);
	if (ItemPointerIsValid(tid))
		CatalogTupleUpdate(rel, tid, tuple);
	else
		CatalogTupleInsert(rel, tuple);
	*tid = tuple->t_self;
	heap_freetuple(tuple);
}

/*
 * Store a new row.
 *
 * Locks: ROW EXCLUSIVE on the table, to the end of the transaction.
 * Errors: 42P01, 55000.
 */
void
pgqueue_registry_insert(RegistryTable which, int ncolumns, Datum *values,
						bool *nulls)
{
	Relation	rel = pgqueue_open_for_writing(which);
	ItemPointerData tid;

	ItemPointerSetInvalid(&tid);
	pgqueue_registry_write(rel, &tid, ncolumns, values, nulls);
	table_close(rel, NoLock);
}

/* Return the next number of the sequence behind a table's id. */
int32
pgqueue_registry_new_id(const char *sequence)
{
	Oid			schema = get_namespace_oid(PGQUEUE_SCHEMA, false);

	return (int32) nextval_internal(get_relname_relid(sequence, schema), false);
}
