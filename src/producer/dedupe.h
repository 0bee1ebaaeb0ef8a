/*-------------------------------------------------------------------------
 *
 * dedupe.h
 *	  Dedupe keys, and the buckets that keep them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef QUEUE_DEDUPE_H
#define QUEUE_DEDUPE_H

#include "base/base.h"
#include "base/data.h"
#include "topic/topic.h"

/* ---------------- dedupe_bucket.c ---------------- */

/* 80 bits of a dedupe key's SHA-256. */
typedef struct KeyHash
{
	int64		first;			/* is indexed */
	int16		more;
} KeyHash;

/* A bucket that is open, to look keys up or to store them. */
typedef struct OpenBucket
{
	const Topic *topic;
	Oid			keys;
	Relation	rel;			/* NULL: not needed yet */
	Relation	index;
	IndexScanDesc scan;
	SnapshotData dirty;
} OpenBucket;

typedef enum KeyState
{
	KEY_NEW,
	KEY_STORED,
	KEY_IN_FLIGHT				/* by a transaction that has not ended */
} KeyState;

extern const char *pgqueue_bucket_flaw(Relation rel);
extern void pgqueue_buckets_load(Topic *topic);
extern bool pgqueue_bucket_is_live(const Topic *topic,
								   const DedupeBucket *bucket);
extern const DedupeBucket *pgqueue_bucket_current(const Topic *topic);
extern void pgqueue_bucket_check_late(const DedupeBucket *bucket);
extern void pgqueue_bucket_look(OpenBucket *open, const Topic *topic,
								DedupeBucket *bucket);
extern KeyState pgqueue_bucket_find(OpenBucket *open, const KeyHash *hash,
									MessageAddress *place,
									TransactionId *xmin);
extern void pgqueue_bucket_close(OpenBucket *open);
extern void pgqueue_bucket_store(const Topic *topic, Oid keys, int n,
								 const KeyHash *hashes,
								 const MessageAddress *places);

/* ---------------- dedupe_make.c ---------------- */

/* Locks by which the keys of a topic are divided. */
#define KEY_LOCKS 128

extern LOCKTAG pgqueue_key_tag(const Topic *topic, int n);
extern void pgqueue_bucket_need(Topic *topic);
extern bool pgqueue_buckets_expired(Topic *topic);
extern int	pgqueue_buckets_drop_expired(Topic *topic);
extern void pgqueue_buckets_drop_all(Topic *topic);

/* ---------------- dedupe_key.c ---------------- */

struct KeyEntry;

/* What became of the dedupe keys of a call; see pgqueue_keys_claim(). */
typedef struct KeyClaim
{
	int			n;				/* messages of the call */
	int			nnew;			/* of them, to be appended */
	bool	   *stored;			/* of each: has been appended before ... */
	MessageAddress *places;		/* ... here; all, when the call is complete */
	int			nentries;		/* messages with a key */
	struct KeyEntry *entries;
	uint64		locks[KEY_LOCKS / 64];	/* that are held */
	DedupeBucket bucket;		/* for the new ones */
	uint64		keys_stored;	/* by the session in the topic, before */
} KeyClaim;

extern void pgqueue_keys_claim(Topic *topic, const Datum *keys,
							   const bool *nulls, int n, KeyClaim *claim);
extern void pgqueue_keys_complete(Topic *topic, KeyClaim *claim,
								  HeapTuple *records);

#endif							/* QUEUE_DEDUPE_H */
