/*-------------------------------------------------------------------------
 *
 * dedupe_make.c
 *	  Make and drop buckets of dedupe keys, and the locks that guard their list.
 *
 * The keys of a topic are divided among KEY_LOCKS locks by their hash.  A call
 * holds those of its keys while it looks them up and stores them, which is short;
 * the list of buckets is read under any of them and changed under all of them
 * (README, section 10a).
 *
 * A call that finds no bucket for its keys has a background worker make it: made
 * in the caller's transaction, it would keep all other callers waiting until that
 * ends.  It is made there all the same if the topic was made in the same
 * transaction, or if no worker can be had.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/base.h"
#include "base/compat.h"
#include "base/lock.h"
#include "topic/segment.h"
#include "topic/topic.h"
#include "producer/dedupe.h"

/*
 * Milliseconds that a bucket takes keys for, at least; else it is the window: then a
 * key is looked up in two buckets, and kept for two windows at the most.
 */
#define MIN_SPAN 60000

/* Columns of queue.dedupe_bucket. */
#define BUCKET_NATTS 6

LOCKTAG
pgqueue_key_tag(const Topic *topic, int n)
{
	return pgqueue_tag(PGQUEUE_LOCK_KEY, topic->id, n);
}

/* Take all key locks of a topic, in order, to the end of the transaction. */
static void
lock_all_keys(const Topic *topic)
{
	for (int i = 0; i < KEY_LOCKS; i++)
		(void) pgqueue_lock(pgqueue_key_tag(topic, i), ExclusiveLock, true);
}

/* ---------------- dropping ---------------- */

/* Drop a bucket.  Locks: ACCESS EXCLUSIVE on its table. */
static void
drop_bucket(const Topic *topic, const DedupeBucket *bucket)
{
	RegistryScan scan = {0};
	char	   *name = get_rel_name(bucket->keys);

	if (name != NULL)
	{
		char	   *schema = get_namespace_name(get_rel_namespace(bucket->keys));

		pgqueue_run_removal(pgqueue_extension_owner(),
							psprintf("DROP TABLE %s CASCADE",
									 quote_qualified_identifier(schema, name)));
	}
	pgqueue_registry_key_int4(&scan, 1, topic->id);
	pgqueue_registry_key_int4(&scan, 2, bucket->number);
	pgqueue_registry_scan(&scan, REGISTRY_DEDUPE_BUCKET, RowExclusiveLock,
						  SnapshotSelf);
	(void) pgqueue_registry_delete(&scan);
}

/*
 * Lock a bucket to drop it, with its indexes: a session may have locked one of them
 * alone.  Return false if it is in use, or a user's view depends on it, whose lock
 * would have to be waited for.  Locks that were acquired stay: no session needs a
 * bucket that has expired.
 */
static bool
lock_to_drop(Oid keys)
{
	Relation	rel;
	List	   *indexes;
	ListCell   *lc;
	bool		locked;

	if (!pgqueue_try_lock_relation(keys, AccessExclusiveLock))
		return false;
	rel = try_relation_open(keys, NoLock);
	if (rel == NULL)
		return true;
	indexes = RelationGetIndexList(rel);
	relation_close(rel, NoLock);
	locked = pgqueue_is_droppable(keys);
	foreach(lc, indexes)
		locked = locked &&
			pgqueue_try_lock_relation(lfirst_oid(lc), AccessExclusiveLock);
	list_free(indexes);
	return locked;
}

/*
 * Drop the buckets whose keys are all behind the window, but those that are in use.
 * Return their number.
 *
 * Locks: all key locks of the topic.
 */
static int
drop_expired(Topic *topic)
{
	int			n = topic->nbuckets;
	DedupeBucket *buckets = palloc(n * sizeof(DedupeBucket));
	int			dropped = 0;

	/* DDL may let the list be read again */
	memcpy(buckets, topic->buckets, n * sizeof(DedupeBucket));
	for (int i = 0; i < n; i++)
	{
		if (pgqueue_bucket_is_live(topic, &buckets[i]) ||
			!lock_to_drop(buckets[i].keys))
			continue;
		drop_bucket(topic, &buckets[i]);
		dropped++;
	}
	if (dropped > 0)
		pgqueue_registry_invalidate(REGISTRY_DEDUPE_BUCKET);
	pfree(buckets);
	return dropped;
}

/* Return true if a topic has buckets to drop, by a list that may be outdated. */
bool
pgqueue_buckets_expired(Topic *topic)
{
	pgqueue_buckets_load(topic);
	for (int i = 0; i < topic->nbuckets; i++)
		if (!pgqueue_bucket_is_live(topic, &topic->buckets[i]))
			return true;
	return false;
}

/*
 * Drop expired buckets, for maintenance.  Return their number.
 *
 * Locks: the caller holds the topic's table, so that it is not dropped.  Waits for
 * all key locks, and keeps them to the end of the transaction.
 */
int
pgqueue_buckets_drop_expired(Topic *topic)
{
	lock_all_keys(topic);
	pgqueue_buckets_load(topic);
	return drop_expired(topic);
}

/* Drop a topic's buckets.  Locks: the strongest of the topic's table. */
void
pgqueue_buckets_drop_all(Topic *topic)
{
	int			n;
	DedupeBucket *buckets;

	pgqueue_buckets_load(topic);
	n = topic->nbuckets;
	if (n == 0)
		return;
	buckets = palloc(n * sizeof(DedupeBucket));
	memcpy(buckets, topic->buckets, n * sizeof(DedupeBucket));
	for (int i = 0; i < n; i++)
		drop_bucket(topic, &buckets[i]);
	pgqueue_registry_invalidate(REGISTRY_DEDUPE_BUCKET);
}

/* ---------------- making ---------------- */

/* Return the number of the next bucket: its table must have a name of its own. */
static int32
next_number(const Topic *topic)
{
	Oid			schema = get_namespace_oid(PGQUEUE_SCHEMA, false);
	int32		number = topic->nbuckets == 0 ? 1 :
		topic->buckets[topic->nbuckets - 1].number + 1;

	while (OidIsValid(get_relname_relid(psprintf("dedupe_%d_%d", topic->id, number),
										schema)))
		number++;
	return number;
}

/* Make a table for keys, and return it.  autovacuum has nothing to do there. */
static Oid
make_table(const char *name)
{
	pgqueue_run_ddl(pgqueue_extension_owner(),
					psprintf("CREATE TABLE " PGQUEUE_SCHEMA ".%s ("
							 "hash bigint NOT NULL, hash_more smallint NOT NULL, "
							 "partition smallint NOT NULL, "
							 "offset_low int NOT NULL, offset_high int)"
							 " USING heap"
							 " WITH (autovacuum_vacuum_insert_threshold = -1);"
							 "CREATE INDEX %s_hash ON " PGQUEUE_SCHEMA ".%s"
							 " USING btree (hash)"
							 " WITH (deduplicate_items = off)",
							 name, name, name));
	return get_relname_relid(name, get_namespace_oid(PGQUEUE_SCHEMA, false));
}

/*
 * Make a bucket for new keys, if there is none by now, and drop those that have
 * expired.
 *
 * Locks: all key locks, to the end of the transaction; the caller holds the
 * topic's table.
 */
static void
make_bucket(Topic *topic)
{
	int64		span = Max(topic->dedupe_window, MIN_SPAN);
	TimestampTz now;
	int32		number;
	Datum		values[BUCKET_NATTS];
	bool		nulls[BUCKET_NATTS] = {false};

	lock_all_keys(topic);
	pgqueue_buckets_load(topic);
	if (pgqueue_bucket_current(topic) != NULL)
		return;
	number = next_number(topic);
	now = GetCurrentTimestamp();
	values[0] = Int32GetDatum(topic->id);
	values[1] = Int32GetDatum(number);
	values[2] = ObjectIdGetDatum(make_table(psprintf("dedupe_%d_%d", topic->id,
													 number)));
	values[3] = TimestampTzGetDatum(now);
	values[4] = TimestampTzGetDatum(TimestampTzPlusMilliseconds(now, span));
	values[5] = Int64GetDatum(pgqueue_incarnation(topic));
	(void) drop_expired(topic);
	pgqueue_registry_insert(REGISTRY_DEDUPE_BUCKET, BUCKET_NATTS, values, nulls);
	pgqueue_registry_invalidate(REGISTRY_DEDUPE_BUCKET);
	CommandCounterIncrement();
}

/* What the worker is told, in bgw_extra. */
typedef struct WorkerTask
{
	Oid			database;
	Oid			log;
	char		topic[NAMEDATALEN];
} WorkerTask;

StaticAssertDecl(sizeof(WorkerTask) <= BGW_EXTRALEN,
				 "worker task must fit bgw_extra");

PGDLLEXPORT void pgqueue_bucket_worker_main(Datum arg);

/* Have a worker make a bucket, if one can be had, and wait until it has ended. */
static void
run_worker(const Topic *topic)
{
	BackgroundWorker worker;
	BackgroundWorkerHandle *handle;
	WorkerTask	task = {.database = MyDatabaseId,.log = topic->log};

	strlcpy(task.topic, topic->name, NAMEDATALEN);
	pgqueue_worker_init(&worker, PGQUEUE_BUCKET_WORKER,
						"pgqueue_bucket_worker_main", topic->name);
	memcpy(worker.bgw_extra, &task, sizeof(task));
	worker.bgw_notify_pid = MyProcPid;
	if (!RegisterDynamicBackgroundWorker(&worker, &handle))
		return;
	if (WaitForBackgroundWorkerShutdown(handle) == BGWH_POSTMASTER_DIED)
		ereport(FATAL,
				(errcode(ERRCODE_ADMIN_SHUTDOWN),
				 errmsg("postmaster exited while a table for dedupe keys was made")));
	pfree(handle);
}

void
pgqueue_bucket_worker_main(Datum arg)
{
	WorkerTask	task;
	Topic	   *topic;

	memcpy(&task, MyBgworkerEntry->bgw_extra, sizeof(task));
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(task.database, InvalidOid,
											  BGWORKER_BYPASS_ALLOWCONN);
	/* the task is from a session that may have another library */
	pgqueue_shared_attach();

	SetConfigOption("lock_timeout", CppAsString2(PGQUEUE_LOCK_PATIENCE),
					PGC_SUSET, PGC_S_OVERRIDE);
	pgqueue_no_transaction_timeout();
	SetConfigOption("default_transaction_read_only", "off", PGC_USERSET,
					PGC_S_OVERRIDE);
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	pgstat_report_activity(STATE_RUNNING, "making a table for dedupe keys");
	if (pgqueue_lock_relation_soon(task.log, AccessShareLock,
								   PGQUEUE_LOCK_PATIENCE))
	{
		topic = pgqueue_topic_find(task.topic);
		/* the topic may have been dropped meanwhile, or another one made */
		if (topic != NULL && topic->log == task.log && topic->broken == NULL)
			make_bucket(topic);
	}
	if (ActiveSnapshotSet())
		PopActiveSnapshot();
	CommitTransactionCommand();
	proc_exit(0);
}

/* Return true if there is a bucket for new keys. */
static bool
has_bucket(Topic *topic)
{
	LOCKTAG		tag = pgqueue_key_tag(topic, 0);
	bool		result;

	(void) pgqueue_lock(tag, ExclusiveLock, true);
	pgqueue_buckets_load(topic);
	result = pgqueue_bucket_current(topic) != NULL;
	pgqueue_unlock(tag, ExclusiveLock);
	return result;
}

/*
 * Wait until there is a bucket for new keys.  One session per topic asks a worker,
 * the others wait for it.
 *
 * Locks: the caller holds the topic's table, and no key lock.  If no worker can
 * make the bucket, all key locks are kept to the end of the transaction.
 */
void
pgqueue_bucket_need(Topic *topic)
{
	LOCKTAG		tag = pgqueue_tag(PGQUEUE_LOCK_BUCKET, topic->id, 0);

	if (!pgqueue_made_in_this_transaction(topic->log))
	{
		(void) pgqueue_lock(tag, ExclusiveLock, true);
		if (!has_bucket(topic))
			run_worker(topic);
		pgqueue_unlock(tag, ExclusiveLock);
		if (has_bucket(topic))
			return;
	}
	make_bucket(topic);
}
