/*-------------------------------------------------------------------------
 *
 * producer_rows.h
 *	  The tables of producers and of what they have stored; for the files
 *	  producer*.c alone.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PGQUEUE_PRODUCER_ROWS_H
#define PGQUEUE_PRODUCER_ROWS_H

#include "queue.h"

#include "access/genam.h"

/* Columns of queue.producer. */
#define PRODUCER_ATTR_ID			1
#define PRODUCER_ATTR_TOPIC			2
#define PRODUCER_ATTR_NAME			3
#define PRODUCER_ATTR_OWNER			4
#define PRODUCER_ATTR_STRICT		5
#define PRODUCER_ATTR_CREATED		6
#define PRODUCER_NATTS				6

/* Columns that both tables of what they have stored begin with, and their indexes. */
#define ROW_ATTR_PRODUCER			1
#define ROW_ATTR_SERIES				2
#define ROW_ATTR_LAST_SEQUENCE		3

/* The other columns of queue.producer_batch; generation ends its index. */
#define BATCH_ATTR_GENERATION		4
#define BATCH_ATTR_EPOCH			5
#define BATCH_ATTR_FIRST_SEQUENCE	6
#define BATCH_ATTR_PARTITION		7
#define BATCH_ATTR_OFFSET			8
#define BATCH_ATTR_ACCEPTED			9
#define BATCH_ATTR_DUPLICATES		10
#define BATCH_ATTR_GAPS				11
#define BATCH_ATTR_PRODUCED_AT		12
#define BATCH_ATTR_WATERMARK		13
#define BATCH_ATTR_PLACES			14
#define BATCH_ATTR_USED_AT			15
#define BATCH_ATTR_INCARNATION		16
#define BATCH_NATTS					16

/* And of queue.producer_history. */
#define HISTORY_ATTR_FIRST_SEQUENCE 4
#define HISTORY_ATTR_PLACES			5
#define HISTORY_ATTR_INCARNATION	6
#define HISTORY_NATTS				6

typedef struct RowTable
{
	RegistryTable table;
	RegistryTable index;
	AttrNumber	first_sequence;
	AttrNumber	places;
	AttrNumber	incarnation;
} RowTable;

extern const RowTable pgqueue_batch_table;
extern const RowTable pgqueue_history_table;

typedef struct RowScan
{
	Relation	rel;
	Relation	index;
	SysScanDesc scan;
	LOCKMODE	lockmode;		/* of rel, to give back */
} RowScan;

extern void pgqueue_rows_begin(RowScan *scan, const RowTable *table,
							   bool writing, Snapshot snapshot, int32 producer,
							   ScanKeyData *keys, int nkeys);
extern void pgqueue_rows_end(RowScan *scan);
extern int64 pgqueue_rows_incarnation(const RowTable *table, HeapTuple tuple,
									  TupleDesc desc);
extern int64 pgqueue_rows_add_places(const RowTable *table, HeapTuple tuple,
									 TupleDesc desc, SequenceMap *map);
extern bool pgqueue_rows_find(const RowTable *table, int32 producer,
							  int32 series, int64 least, int64 greatest,
							  SequenceMap *map);
extern void pgqueue_rows_delete(const RowTable *table, int32 producer);

#endif							/* PGQUEUE_PRODUCER_ROWS_H */
