/*-------------------------------------------------------------------------
 *
 * dedupe_bucket.c
 *	  Buckets of dedupe keys: list them, look keys up in one, store keys.
 *
 * A bucket is a table of the keys that a topic got in a span of time.  Rows are
 * only ever inserted, and the table is dropped as a whole when the topic's
 * dedupe_window has passed since the end of the span (dedupe_make.c):
 *
 *	 hash int8 | hash_more int2 | partition int2 | offset_low int4 |
 *	 offset_high int4, NULL: 0
 *
 *	 B-tree (hash)
 *
 * 44 bytes a row with its line pointer, and some 31 in the index, whose pages are
 * two thirds full since hashes come in no order.  8 bytes more in a row (a
 * fifth column that is not NULL, from offset 2^32 on) would make 83.
 *
 * The hash is the first 80 bits of the key's SHA-256.  A new key is taken for one
 * of n others with a probability of n / 2^80: with a billion new keys a day, and
 * as many in the window, once in three thousand years.
 *
 * The tables belong to the owner of schema queue; no other role has rights on
 * them, and no code of users runs when they are written.  They are read and
 * written here without the executor.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "catalog/pg_am_d.h"
#include "catalog/pg_type_d.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/base.h"
#include "base/compat_table.h"
#include "base/lock.h"
#include "topic/segment.h"
#include "topic/topic.h"
#include "producer/dedupe.h"

/*
 * Milliseconds between the end of a bucket's span and the last moment at which a
 * call that chose the bucket before that may store its keys.
 */
#define CALL_TIME 60000

/* Columns of queue.dedupe_bucket. */
#define BUCKET_ATTR_NUMBER		2
#define BUCKET_ATTR_KEYS		3
#define BUCKET_ATTR_ENDS_AT		5
#define BUCKET_ATTR_INCARNATION 6

/* Columns of a bucket; and the first four, which are never NULL, as they lie. */
#define KEY_ATTR_HASH	1
#define KEY_NATTS		5

typedef struct KeyRow
{
	int64		hash;
	int16		more;
	int16		partition;
	int32		offset_low;
	int32		offset_high;	/* if the row has no NULL */
} KeyRow;

/* ---------------- shape ---------------- */

/* Return what is wrong with a bucket's columns, or NULL. */
const char *
pgqueue_bucket_flaw(Relation rel)
{
	static const Oid types[KEY_NATTS] = {INT8OID, INT2OID, INT2OID, INT4OID,
	INT4OID};
	TupleDesc	desc = RelationGetDescr(rel);

	if (rel->rd_rel->relkind != RELKIND_RELATION ||
		rel->rd_rel->relam != HEAP_TABLE_AM_OID ||
		rel->rd_rel->relpersistence != RELPERSISTENCE_PERMANENT)
		return _("It is not an ordinary table.");
	if (desc->natts != KEY_NATTS)
		return _("It does not have five columns.");
	for (int i = 0; i < KEY_NATTS; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (att->attisdropped || att->atttypid != types[i] ||
			(i < KEY_NATTS - 1 && !att->attnotnull))
			return _("Its columns are not those that the extension has made.");
	}
	return NULL;
}

/* Raise an error for a bucket that cannot be used. */
static void
refuse_bucket(const Topic *topic, const char *flaw)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("a table with dedupe keys of topic \"%s\" cannot be used",
					topic->name),
			 errdetail_internal("%s", flaw)));
}

/*
 * Open a bucket's table that is locked, and check it.  It is not looked up by
 * name: a restore keeps the reference (regclass).  Errors: 55000.
 */
static Relation
open_keys(const Topic *topic, Oid keys)
{
	Relation	rel = try_relation_open(keys, NoLock);
	const char *flaw;

	if (rel == NULL)
		refuse_bucket(topic, _("It is missing."));
	flaw = pgqueue_bucket_flaw(rel);
	if (flaw != NULL)
		refuse_bucket(topic, flaw);
	return rel;
}

/*
 * Open an index of a bucket, and check that it is on the hash and nothing else:
 * no index that runs code.  Errors: 55000.
 */
static Relation
open_index(const Topic *topic, Oid indexid, LOCKMODE lockmode)
{
	Relation	index = index_open(indexid, lockmode);
	Form_pg_index form = index->rd_index;

	if (index->rd_rel->relam != BTREE_AM_OID || form->indnatts != 1 ||
		form->indkey.values[0] != KEY_ATTR_HASH || form->indisunique ||
		!heap_attisnull(index->rd_indextuple, Anum_pg_index_indpred, NULL))
		refuse_bucket(topic, _("It has another index than the extension has made."));
	return index;
}

/* ---------------- the list ---------------- */

/*
 * Read the topic's buckets, if they have changed since.
 *
 * Locks: one of the topic's key locks, after which the list stays as it is while
 * the lock is held; without it, the list may be outdated.
 */
void
pgqueue_buckets_load(Topic *topic)
{
	RegistryScan scan = {0};
	HeapTuple	tuple;
	uint64		changes;
	DedupeBucket *buckets = NULL;
	int			n = 0;

	AcceptInvalidationMessages();
	changes = pgqueue_registry_changes[REGISTRY_DEDUPE_BUCKET];
	if (likely(topic->nbuckets >= 0 && topic->bucket_changes == changes))
		return;
	pgqueue_registry_key_int4(&scan, 1, topic->id);
	pgqueue_registry_scan(&scan, REGISTRY_DEDUPE_BUCKET, AccessShareLock,
						  SnapshotSelf);
	while (HeapTupleIsValid(tuple = pgqueue_registry_next(&scan)))
	{
		DedupeBucket *bucket;

		buckets = buckets == NULL ?
			MemoryContextAlloc(topic->context, sizeof(DedupeBucket)) :
			repalloc(buckets, (n + 1) * sizeof(DedupeBucket));
		bucket = &buckets[n++];
		bucket->index = InvalidOid;
		bucket->number =
			DatumGetInt32(pgqueue_registry_column(&scan, tuple,
												  BUCKET_ATTR_NUMBER));
		bucket->keys =
			DatumGetObjectId(pgqueue_registry_column(&scan, tuple,
													 BUCKET_ATTR_KEYS));
		bucket->ends_at =
			DatumGetTimestampTz(pgqueue_registry_column(&scan, tuple,
														BUCKET_ATTR_ENDS_AT));
		bucket->incarnation =
			DatumGetInt64(pgqueue_registry_column(&scan, tuple,
												  BUCKET_ATTR_INCARNATION));
	}
	pgqueue_registry_end(&scan);
	if (topic->nbuckets > 0)
		pfree(topic->buckets);
	topic->buckets = buckets;
	topic->nbuckets = n;
	topic->bucket_changes = changes;
}

/* Return true if a bucket may have keys that are in the topic's window. */
bool
pgqueue_bucket_is_live(const Topic *topic, const DedupeBucket *bucket)
{
	return GetCurrentTimestamp() <
		TimestampTzPlusMilliseconds(bucket->ends_at,
									CALL_TIME + topic->dedupe_window);
}

/* Return the bucket that takes new keys, or NULL.  Locks: as for the list. */
const DedupeBucket *
pgqueue_bucket_current(const Topic *topic)
{
	const DedupeBucket *last;

	if (topic->nbuckets <= 0)
		return NULL;
	last = &topic->buckets[topic->nbuckets - 1];
	return GetCurrentTimestamp() < last->ends_at &&
		last->incarnation == pgqueue_incarnation(topic) ? last : NULL;
}

/*
 * Check that keys may still be stored in a bucket that was chosen for them: if the
 * call has taken too long, they would be forgotten before the window has passed.
 *
 * Errors: 40001.
 */
void
pgqueue_bucket_check_late(const DedupeBucket *bucket)
{
	if (GetCurrentTimestamp() >=
		TimestampTzPlusMilliseconds(bucket->ends_at, CALL_TIME))
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("producing with a dedupe_key took longer than %d s",
						CALL_TIME / 1000),
				 errhint("Retry the transaction.")));
}

/* ---------------- looking keys up ---------------- */

/* Find the index of a bucket.  Errors: 55000. */
static Oid
find_index(const Topic *topic, Oid keys)
{
	Relation	rel;
	List	   *indexes;
	ListCell   *lc;
	Oid			result = InvalidOid;

	pgqueue_lock_relation(keys, AccessShareLock);
	rel = open_keys(topic, keys);
	indexes = RelationGetIndexList(rel);
	foreach(lc, indexes)
	{
		Relation	index = open_index(topic, lfirst_oid(lc), AccessShareLock);

		if (index->rd_index->indisvalid)
			result = lfirst_oid(lc);
		index_close(index, NoLock);
	}
	list_free(indexes);
	table_close(rel, NoLock);
	if (!OidIsValid(result))
		refuse_bucket(topic, _("Its index is missing, or not valid."));
	return result;
}

/*
 * Open a bucket to look keys up: its index alone, which mostly says that there is
 * no such key.
 *
 * Locks: ACCESS SHARE on the index, to the end of the transaction.  The caller holds
 * the keys' locks, so that no session stores one of them in an index that has taken
 * the place of this one (REINDEX CONCURRENTLY) since it was opened.
 */
void
pgqueue_bucket_look(OpenBucket *open, const Topic *topic, DedupeBucket *bucket)
{
	open->topic = topic;
	open->keys = bucket->keys;
	open->rel = NULL;
	for (;;)
	{
		if (!OidIsValid(bucket->index))
			bucket->index = find_index(topic, bucket->keys);
		pgqueue_lock_relation(bucket->index, AccessShareLock);
		open->index = try_relation_open(bucket->index, NoLock);
		if (open->index != NULL && open->index->rd_index != NULL &&
			open->index->rd_index->indrelid == bucket->keys &&
			open->index->rd_index->indisvalid)
			break;
		if (open->index != NULL)
			relation_close(open->index, NoLock);
		bucket->index = InvalidOid;
	}
	InitDirtySnapshot(open->dirty);
	/* one that needs no table */
	open->scan = index_beginscan_bitmap(open->index, &open->dirty, 1);
}

/*
 * Look a key up.  A row counts if it is committed as of now, or written by this
 * transaction: *place then is what it says, and *xmin wrote it.  If another
 * transaction has written it and has not ended, that is *xmin.
 *
 * Locks: ACCESS SHARE on the table if the index knows the hash, to the end of the
 * transaction.
 */
KeyState
pgqueue_bucket_find(OpenBucket *open, const KeyHash *hash, MessageAddress *place,
					TransactionId *xmin)
{
	ScanKeyData key;
	ItemPointer tid;
	KeyState	state = KEY_NEW;

	ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum(hash->first));
	index_rescan(open->scan, &key, 1, NULL, 0);
	while (state == KEY_NEW &&
		   (tid = index_getnext_tid(open->scan, ForwardScanDirection)) != NULL)
	{
		HeapTupleData tuple = {.t_self = *tid};
		Buffer		buffer;
		KeyRow	   *row;

		if (open->rel == NULL)
		{
			pgqueue_lock_relation(open->keys, AccessShareLock);
			open->rel = open_keys(open->topic, open->keys);
		}
		if (!heap_fetch(open->rel, &open->dirty, &tuple, &buffer, false))
			continue;
		row = (KeyRow *) GETSTRUCT(&tuple);
		if (row->more == hash->more)
		{
			uint32		high = HeapTupleHasNulls(&tuple) ? 0 : row->offset_high;

			place->partition = row->partition;
			place->offset = (int64) ((uint64) high << 32 |
									 (uint32) row->offset_low);
			state = TransactionIdIsValid(open->dirty.xmin) ?
				KEY_IN_FLIGHT : KEY_STORED;
			*xmin = HeapTupleHeaderGetXmin(tuple.t_data);
		}
		ReleaseBuffer(buffer);
	}
	return state;
}

void
pgqueue_bucket_close(OpenBucket *open)
{
	index_endscan(open->scan);
	index_close(open->index, NoLock);
	if (open->rel != NULL)
		table_close(open->rel, NoLock);
}

/* ---------------- storing keys ---------------- */

/*
 * Store keys with the places of their messages.
 *
 * Locks: ROW EXCLUSIVE on the bucket, to the end of the transaction, so that it is
 * not dropped before.  The caller holds the keys' locks.
 */
void
pgqueue_bucket_store(const Topic *topic, Oid keys, int n, const KeyHash *hashes,
					 const MessageAddress *places)
{
	Relation	rel;
	List	   *indexes;
	int			nindexes;
	Relation   *index;
	IndexInfo **info;

	pgqueue_lock_relation(keys, RowExclusiveLock);
	rel = open_keys(topic, keys);
	/* more than one while it is built anew, concurrently */
	indexes = RelationGetIndexList(rel);
	nindexes = list_length(indexes);
	index = palloc(nindexes * sizeof(Relation));
	info = palloc(nindexes * sizeof(IndexInfo *));
	for (int i = 0; i < nindexes; i++)
	{
		index[i] = open_index(topic, list_nth_oid(indexes, i), RowExclusiveLock);
		info[i] = BuildIndexInfo(index[i]);
	}
	for (int i = 0; i < n; i++)
	{
		uint32		high = (uint64) places[i].offset >> 32;
		Datum		values[KEY_NATTS] = {
			Int64GetDatum(hashes[i].first), Int16GetDatum(hashes[i].more),
			Int16GetDatum(places[i].partition),
			Int32GetDatum((int32) places[i].offset), Int32GetDatum((int32) high)
		};
		bool		nulls[KEY_NATTS] = {[KEY_NATTS - 1] = high == 0};
		HeapTuple	row = heap_form_tuple(RelationGetDescr(rel), values, nulls);

		CHECK_FOR_INTERRUPTS();
		simple_heap_insert(rel, row);
		for (int k = 0; k < nindexes; k++)
			if (info[k]->ii_ReadyForInserts)
				index_insert(index[k], values, nulls, &row->t_self, rel,
							 UNIQUE_CHECK_NO, false, info[k]);
		heap_freetuple(row);
	}
	for (int i = 0; i < nindexes; i++)
		index_close(index[i], NoLock);
	table_close(rel, NoLock);
}
