/*-------------------------------------------------------------------------
 *
 * topic.c
 *	  Topics, their partitions and segments, through a backend cache.
 *
 * A topic is a row of queue.topic, a partitioned table queue.log_<id> and a
 * view topic.<name>.  Its segments are the table's partitions; they are
 * derived from the partition bounds (segment_list.c) and stored nowhere else.
 *
 * Descriptions are always as of now, never as of the transaction's snapshot:
 * a segment made after a REPEATABLE READ transaction began must be known to
 * it.  They live in a hash table by name, are marked invalid by relation cache
 * invalidation of the topic's table (attaching a segment sends one), and are
 * rebuilt by the next look-up, never in between: a caller's pointers into a
 * description stay good until it looks the topic up again.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/memutils.h"

#include "base/compat.h"
#include "base/base.h"
#include "base/lock.h"
#include "log/log.h"
#include "topic/topic.h"
#include "topic/topic_row.h"

static HTAB *topics = NULL;

/*
 * Count the times that a group, or a producer, may have gone.
 *
 * A caller that remembers what it finds in a registry table reads the table's
 * counter before the look-up, and trusts the result while the counter is the
 * same.  A message that arrives during the look-up, while the table is being
 * opened, makes base/registry.c forget the table's OID after the look-up has read it,
 * so the next message of that table is not recognised; but the first one was
 * counted, after the caller had read the counter.
 */
uint64		pgqueue_group_changes = 0;
uint64		pgqueue_producers_gone = 0;

/* ---------------- invalidation ---------------- */

static void
relcache_callback(Datum arg, Oid relid)
{
	HASH_SEQ_STATUS seq;
	Topic	   *topic;

	pgqueue_segment_changed(relid);
	if (pgqueue_registry_is(REGISTRY_GROUP, relid))
		pgqueue_group_changes++;
	if (pgqueue_registry_is(REGISTRY_PRODUCER, relid))
		pgqueue_producers_gone++;
	pgqueue_registry_changed(relid);

	if (topics == NULL)
		return;
	hash_seq_init(&seq, topics);
	while ((topic = hash_seq_search(&seq)) != NULL)
	{
		if (!OidIsValid(relid) || topic->log == relid || topic->view == relid)
		{
			topic->valid = false;
			topic->changed = true;
		}
	}
}

void
pgqueue_catalog_init(void)
{
	CacheRegisterRelcacheCallback(relcache_callback, (Datum) 0);
	RegisterXactCallback(pgqueue_transaction_ends, NULL);
}

/*
 * Have all sessions look producers up again, since one is removed: this session
 * at once, others before they can acquire its lock.
 */
void
pgqueue_producers_changed(void)
{
	Oid			relid = pgqueue_registry(REGISTRY_PRODUCER);

	CacheInvalidateRelcacheByRelid(relid);
	relcache_callback((Datum) 0, relid);
}

/* Have all sessions look consumer groups up again. */
void
pgqueue_groups_changed(void)
{
	Oid			relid = pgqueue_registry(REGISTRY_GROUP);

	CacheInvalidateRelcacheByRelid(relid);
	relcache_callback((Datum) 0, relid);
}

/* ---------------- topics ---------------- */

static void
make_topics(void)
{
	HASHCTL		ctl;

	ctl.keysize = NAMEDATALEN;
	ctl.entrysize = sizeof(Topic);
	ctl.hcxt = AllocSetContextCreate(CacheMemoryContext, "queue topics",
									 ALLOCSET_SMALL_SIZES);
	topics = hash_create("queue topics", 32, &ctl,
						 HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
}

/* Return true if pgqueue_topic_find() would find a description that is valid. */
bool
pgqueue_topic_is_known(const char *name)
{
	Topic	   *topic;

	AcceptInvalidationMessages();
	topic = topics == NULL || strlen(name) >= NAMEDATALEN ? NULL :
		hash_search(topics, name, HASH_FIND, NULL);
	return topic != NULL && topic->valid;
}

/* Return the topic of that name, or NULL. */
Topic *
pgqueue_topic_find(const char *name)
{
	Topic	   *topic;
	bool		found;

	if (strlen(name) >= NAMEDATALEN)
		return NULL;
	if (topics == NULL)
		make_topics();

	/* once is enough in a transaction that has all its locks */
	AcceptInvalidationMessages();

	topic = hash_search(topics, name, HASH_ENTER, &found);
	if (!found)
	{
		memset((char *) topic + NAMEDATALEN, 0, sizeof(Topic) - NAMEDATALEN);
		topic->rotation = (uint32) MyProcPid;
		topic->sticky = MyProcPid;
	}
	if (topic->valid)
		return topic;
	if (pgqueue_load_topic(topic))
		return topic;

	/* an entry that was there before may be in use up the stack */
	if (!found)
		hash_search(topics, name, HASH_REMOVE, NULL);
	return NULL;
}

/*
 * A topic with a table or view that has lost its shape can be seen and dropped,
 * not used.
 *
 * Errors: 55000.
 */
pg_noreturn static void report_broken(const Topic *topic);

static void
report_broken(const Topic *topic)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("topic \"%s\" cannot be used", topic->name),
			 pgqueue_may_see(topic) || pgqueue_owns_topic(topic) ?
			 errdetail_internal("%s", topic->broken) : 0,
			 errhint("Undo the change as a superuser with queue.allow_ddl set, or drop the topic with queue.drop_topic().")));
}

/* Say which topic the caller may have meant by a name that does not exist. */
static int
errhint_missing(const char *name)
{
	if (strncmp(name, PGQUEUE_VIEW_SCHEMA ".", strlen(PGQUEUE_VIEW_SCHEMA) + 1) == 0)
		return errhint("A topic is named without its schema.");
	if (name[0] == '{')
		return errhint("Several topics are read by queue.consume_topics(), queue.poll_topics() and queue.wait_topics().");
	return errhint("Create it with queue.create_topic().");
}

/* Errors: 42704 if there is no such topic; 55000 if it cannot be used. */
Topic *
pgqueue_topic(const char *name)
{
	Topic	   *topic = pgqueue_topic_find(name);

	if (topic == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("topic \"%s\" does not exist", name),
				 errhint_missing(name)));
	if (unlikely(topic->broken != NULL))
		report_broken(topic);
	return topic;
}

Topic *
pgqueue_topic_arg(text *name)
{
	char		buffer[NAMEDATALEN];
	int			len = VARSIZE_ANY_EXHDR(name);

	if (unlikely(len >= NAMEDATALEN))
		return pgqueue_topic(text_to_cstring(name));
	memcpy(buffer, VARDATA_ANY(name), len);
	buffer[len] = '\0';
	return pgqueue_topic(buffer);
}

/* Return the id of the topic that has this table, or 0; name: its name, or NULL. */
int32
pgqueue_topic_of_log(Oid log, char name[NAMEDATALEN])
{
	Relation	rel = table_open(pgqueue_registry(REGISTRY_TOPIC),
								 AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel,
										  pgqueue_registry(REGISTRY_TOPIC_NAME_INDEX),
										  true, NULL, 0, NULL);
	TupleDesc	desc = RelationGetDescr(rel);
	int32		id = 0;
	HeapTuple	tuple;

	while (id == 0 && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool		isnull;

		if (DatumGetObjectId(heap_getattr(tuple, TOPIC_ATTR_LOG, desc,
										  &isnull)) != log)
			continue;
		id = DatumGetInt32(heap_getattr(tuple, TOPIC_ATTR_ID, desc, &isnull));
		if (name != NULL)
			strlcpy(name,
					TextDatumGetCString(heap_getattr(tuple, TOPIC_ATTR_NAME,
													 desc, &isnull)),
					NAMEDATALEN);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return id;
}

/* Return the table of a registered topic, or InvalidOid. */
Oid
pgqueue_log_of_topic(const char *name)
{
	Topic		topic;

	if (strlen(name) >= NAMEDATALEN)
		return InvalidOid;
	strlcpy(topic.name, name, NAMEDATALEN);
	return pgqueue_load_row(&topic) ? topic.log : InvalidOid;
}

/*
 * Return the id of the topic of that name, or 0 if there is none.  Looks at the
 * registry alone.
 */
int32
pgqueue_topic_id(const char *name)
{
	Topic		topic;

	if (strlen(name) >= NAMEDATALEN)
		return 0;
	strlcpy(topic.name, name, NAMEDATALEN);
	return pgqueue_load_row(&topic) ? topic.id : 0;
}

/*
 * Check that a topic is still the one with that id.  Its name may stand for
 * another topic by now, with other rights and another type.
 *
 * Errors: 55006.
 */
void
pgqueue_check_same(const Topic *topic, int32 id)
{
	if (topic->id != id)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("topic \"%s\" was dropped meanwhile", topic->name)));
}

/*
 * Return the same topic's description, as of now.
 *
 * Errors: 42704 if it was dropped, 55006 if there is another one instead.
 */
Topic *
pgqueue_topic_refresh(Topic *topic)
{
	char		name[NAMEDATALEN];
	int32		id = topic->id;

	AcceptInvalidationMessages();
	if (topic->valid)
		return topic;
	strlcpy(name, topic->name, NAMEDATALEN);
	topic = pgqueue_topic(name);
	pgqueue_check_same(topic, id);
	return topic;
}

/*
 * Keep the topic from being dropped to the end of the transaction: before rows
 * about it are written.
 *
 * Errors: those of pgqueue_topic_refresh().
 */
Topic *
pgqueue_topic_hold(Topic *topic)
{
	pgqueue_lock_relation(topic->log, AccessShareLock);
	return pgqueue_topic_refresh(topic);
}

/*
 * Rebuild a description even if no invalidation has arrived.
 *
 * A transaction that made a segment is visible a moment before it sends its
 * invalidations.  A session that listed the segments in that moment may have
 * read and committed an offset that is not known here yet.
 */
Topic *
pgqueue_topic_reload(Topic *topic)
{
	topic->valid = false;
	return pgqueue_topic_refresh(topic);
}

/* Return the names of all topics, as C strings. */
List *
pgqueue_topic_names(void)
{
	RegistryScan scan = {0};
	List	   *names = NIL;
	HeapTuple	tuple;

	pgqueue_registry_scan(&scan, REGISTRY_TOPIC, AccessShareLock, NULL);
	while (HeapTupleIsValid(tuple = pgqueue_registry_next(&scan)))
		names = lappend(names,
						TextDatumGetCString(pgqueue_registry_column(&scan, tuple,
																	TOPIC_ATTR_NAME)));
	pgqueue_registry_end(&scan);
	return names;
}

/* Errors: 22023. */
void
pgqueue_check_partition(const Topic *topic, int32 partition)
{
	if (partition < 0 || partition >= topic->npartitions)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("partition %d of topic \"%s\" does not exist",
						partition, topic->name),
				 errdetail("The topic has partitions 0 to %d.",
						   topic->npartitions - 1)));
}
