/*-------------------------------------------------------------------------
 *
 * dedupe_key.c
 *	  Dedupe keys: which messages of a call have been appended before.
 *
 * A call with dedupe keys
 *
 *	 1. claims them (pgqueue_keys_claim): locks them, and learns which of its
 *		messages have been appended in the topic's dedupe_window;
 *	 2. appends the others;
 *	 3. stores their keys, and releases the locks (pgqueue_keys_complete).
 *
 * The locks last as long as the call, not as the transaction: the next call with a
 * key finds the row of a transaction that is still open, and waits for its end.
 * Proofs: src/README, section 10a.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "common/cryptohash.h"
#include "common/sha2.h"
#include "miscadmin.h"
#include "port/pg_bitutils.h"
#include "storage/lmgr.h"

#include "base/base.h"
#include "base/data.h"
#include "base/lock.h"
#include "log/log.h"
#include "log/write.h"
#include "topic/segment.h"
#include "topic/topic.h"
#include "producer/dedupe.h"

/* A message with a key; in the order of the hashes. */
typedef struct KeyEntry
{
	KeyHash		hash;
	int			message;		/* its number in the call */
	int			first;			/* the first message of the call with this key */
} KeyEntry;

static int
compare_entries(const void *a, const void *b)
{
	const KeyEntry *x = a;
	const KeyEntry *y = b;

	if (x->hash.first != y->hash.first)
		return x->hash.first < y->hash.first ? -1 : 1;
	if (x->hash.more != y->hash.more)
		return x->hash.more - y->hash.more;
	return x->message - y->message;
}

/* Errors: 22023. */
static void
hash_key(pg_cryptohash_ctx *context, text *key, KeyHash *hash)
{
	uint8		digest[PG_SHA256_DIGEST_LENGTH];

	/* what an application sends if it has lost the key */
	if (VARSIZE_ANY_EXHDR(key) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("dedupe_key must not be empty"),
				 errhint("NULL stands for a message without a key.")));
	if (pg_cryptohash_init(context) < 0 ||
		pg_cryptohash_update(context, (uint8 *) VARDATA_ANY(key),
							 VARSIZE_ANY_EXHDR(key)) < 0 ||
		pg_cryptohash_final(context, digest, sizeof(digest)) < 0)
		elog(ERROR, "could not hash a dedupe_key");
	memcpy(&hash->first, digest, sizeof(hash->first));
	memcpy(&hash->more, digest + sizeof(hash->first), sizeof(hash->more));
}

/*
 * Hash the keys of a call; a NULL is none.  A message with the key of an earlier
 * one of the same call is stored already.
 */
static void
hash_keys(KeyClaim *claim, const Datum *keys, const bool *nulls)
{
	pg_cryptohash_ctx *context = pg_cryptohash_create(PG_SHA256);
	KeyEntry   *entries = palloc(claim->n * sizeof(KeyEntry));

	if (context == NULL)
		elog(ERROR, "could not hash a dedupe_key");
	for (int i = 0; i < claim->n; i++)
		if (!nulls[i])
		{
			KeyEntry   *entry = &entries[claim->nentries++];

			hash_key(context, DatumGetTextPP(keys[i]), &entry->hash);
			entry->message = i;
		}
	pg_cryptohash_free(context);
	if (claim->nentries > 1)
		qsort(entries, claim->nentries, sizeof(KeyEntry), compare_entries);
	for (int i = 0; i < claim->nentries; i++)
	{
		KeyEntry   *entry = &entries[i];
		uint16		lock = (uint16) entry->hash.more % KEY_LOCKS;

		entry->first = i > 0 && entry->hash.first == entry[-1].hash.first &&
			entry->hash.more == entry[-1].hash.more ?
			entry[-1].first : entry->message;
		claim->locks[lock / 64] |= UINT64CONST(1) << lock % 64;
	}
	claim->entries = entries;
}

/* Acquire or release the locks of the call's keys, in ascending order. */
static void
lock_keys(const Topic *topic, const KeyClaim *claim, bool acquire)
{
	for (int word = 0; word < lengthof(claim->locks); word++)
		for (uint64 rest = claim->locks[word]; rest != 0; rest &= rest - 1)
		{
			LOCKTAG		tag = pgqueue_key_tag(topic, word * 64 +
											  pg_rightmost_one_pos64(rest));

			if (acquire)
				(void) pgqueue_lock(tag, ExclusiveLock, true);
			else
				pgqueue_unlock(tag, ExclusiveLock);
		}
}

/*
 * Check that the log reaches a duplicate, with the same message: a partial restore
 * may have brought the keys only (topic/incarnation.c).
 *
 * Errors: QU001.
 */
static void
check_reached(Topic *topic, const DedupeBucket *bucket, MessageAddress place)
{
	int64		reach;

	/* in a partition that is new: see pgqueue_topic_reload() */
	if (place.partition >= topic->npartitions)
		topic = pgqueue_topic_reload(topic);
	if (place.partition < 0 || place.partition >= topic->npartitions)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("a stored dedupe_key of topic \"%s\" is damaged",
						topic->name)));
	if (pgqueue_behind_log_end(topic, place.partition, place.offset + 1))
		pgqueue_offset_out_of_range(topic, place.partition, place.offset,
									"offset of a duplicate");
	if (bucket->incarnation == pgqueue_incarnation(topic))
		return;
	reach = pgqueue_incarnation_reach(topic, place.partition,
									  bucket->incarnation, -1);
	if (place.offset >= reach)
		pgqueue_offset_lost(topic, place.partition, place.offset, reach,
							"offset of a duplicate",
							_("Send the message with another dedupe_key."));
}

/*
 * Look the call's keys up in a bucket.  Return a transaction that has stored one
 * and has not ended, or InvalidTransactionId.
 *
 * Errors: 40001, QU001.
 */
static TransactionId
look_in_bucket(Topic *topic, DedupeBucket *bucket, KeyClaim *claim)
{
	OpenBucket	open;
	TransactionId xid = InvalidTransactionId;

	pgqueue_bucket_look(&open, topic, bucket);
	for (int i = 0; i < claim->nentries && !TransactionIdIsValid(xid); i++)
	{
		const KeyEntry *entry = &claim->entries[i];
		int			message = entry->message;
		TransactionId xmin;

		if (claim->stored[message] || entry->first != message)
			continue;
		CHECK_FOR_INTERRUPTS();
		switch (pgqueue_bucket_find(&open, &entry->hash,
									&claim->places[message], &xmin))
		{
			case KEY_NEW:
				break;
			case KEY_STORED:
				pgqueue_check_known(xmin, "producing");
				check_reached(topic, bucket, claim->places[message]);
				claim->stored[message] = true;
				break;
			case KEY_IN_FLIGHT:
				xid = xmin;
				break;
		}
	}
	pgqueue_bucket_close(&open);
	return xid;
}

/*
 * Look the call's keys up in all buckets, the newest first.  Return a transaction
 * to wait for, or InvalidTransactionId.
 *
 * Locks: those of the keys.
 */
static TransactionId
look_up(Topic *topic, KeyClaim *claim)
{
	/* stays if the description is built again */
	DedupeBucket *buckets = topic->buckets;

	memset(claim->stored, false, claim->n * sizeof(bool));
	for (int i = topic->nbuckets - 1; i >= 0; i--)
	{
		TransactionId xid = InvalidTransactionId;

		if (pgqueue_bucket_is_live(topic, &buckets[i]))
			xid = look_in_bucket(topic, &buckets[i], claim);
		if (TransactionIdIsValid(xid))
			return xid;
	}
	return InvalidTransactionId;
}

/* Count what is to be appended: not what the call itself repeats. */
static void
count_new(KeyClaim *claim)
{
	claim->nnew = 0;
	for (int i = 0; i < claim->nentries; i++)
	{
		const KeyEntry *entry = &claim->entries[i];

		if (entry->first == entry->message)
			continue;
		claim->stored[entry->message] = true;
		claim->places[entry->message] = claim->places[entry->first];
	}
	for (int i = 0; i < claim->n; i++)
		claim->nnew += !claim->stored[i];
}

/*
 * Find out which messages of a call have been appended before.  A transaction that
 * has used one of the keys and has not ended is waited for.
 *
 * Locks: the topic's table, against being dropped, to the end of the transaction;
 * the keys', until pgqueue_keys_complete() or, if no message is new, to the end of
 * this call.
 * Errors: 40001 if a key was stored since the snapshot of a REPEATABLE READ or
 * SERIALIZABLE transaction; QU001; 42704 or 55006 if the topic was dropped; 55000.
 */
void
pgqueue_keys_claim(Topic *topic, const Datum *keys, const bool *nulls, int n,
				   KeyClaim *claim)
{
	*claim = (KeyClaim) {.n = n,.nnew = n};
	claim->stored = palloc0(n * sizeof(bool));
	claim->places = palloc(n * sizeof(MessageAddress));
	hash_keys(claim, keys, nulls);
	if (claim->nentries == 0)
		return;
	topic = pgqueue_topic_hold(topic);
	for (;;)
	{
		const DedupeBucket *current;
		TransactionId xid;

		CHECK_FOR_INTERRUPTS();
		lock_keys(topic, claim, true);
		pgqueue_buckets_load(topic);
		current = pgqueue_bucket_current(topic);
		if (unlikely(current == NULL))
		{
			lock_keys(topic, claim, false);
			pgqueue_bucket_need(topic);
			continue;
		}
		claim->bucket = *current;
		xid = look_up(topic, claim);
		if (!TransactionIdIsValid(xid))
			break;
		lock_keys(topic, claim, false);
		XactLockTableWait(xid, NULL, NULL, XLTW_None);
	}
	count_new(claim);
	claim->keys_stored = topic->keys_stored;
	if (claim->nnew == 0)
		lock_keys(topic, claim, false);
}

/* Store the keys of the new messages, in the order of the index. */
static void
store_keys(const Topic *topic, const KeyClaim *claim)
{
	KeyHash    *hashes = palloc(claim->nentries * sizeof(KeyHash));
	MessageAddress *places = palloc(claim->nentries * sizeof(MessageAddress));
	int			n = 0;

	for (int i = 0; i < claim->nentries; i++)
	{
		const KeyEntry *entry = &claim->entries[i];

		if (claim->stored[entry->message])
			continue;
		hashes[n] = entry->hash;
		places[n++] = claim->places[entry->message];
	}
	pgqueue_bucket_store(topic, claim->bucket.keys, n, hashes, places);
	pfree(hashes);
	pfree(places);
}

/*
 * Say that a claim's new messages are appended: records, in their order.  Set the
 * places of all messages of the call.
 *
 * Errors: 55006 if code that ran meanwhile (a constraint of the topic, an index
 * expression) has produced to the topic with a dedupe_key; 40001 if it took long.
 */
void
pgqueue_keys_complete(Topic *topic, KeyClaim *claim, HeapTuple *records)
{
	int			next = 0;

	if (claim->nnew == 0)
		return;
	for (int i = 0; i < claim->n; i++)
		if (!claim->stored[i])
		{
			const LogFixed *fixed = log_fixed(records[next++]->t_data);

			claim->places[i] = (MessageAddress) {fixed->partition, fixed->offset};
		}
	if (claim->nentries == 0)
		return;
	if (claim->keys_stored != topic->keys_stored)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("a dedupe_key was used while a call with one was producing to topic \"%s\"",
						topic->name),
				 errhint("Do not produce with a dedupe_key in a constraint or index of the topic.")));
	topic->keys_stored++;
	pgqueue_bucket_check_late(&claim->bucket);
	store_keys(topic, claim);
	lock_keys(topic, claim, false);
	for (int i = 0; i < claim->nentries; i++)
		claim->places[claim->entries[i].message] =
			claim->places[claim->entries[i].first];
}
