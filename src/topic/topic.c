/*-------------------------------------------------------------------------
 *
 * topic.c
 *	  Topics, their partitions and segments, through a backend cache.
 *
 * A topic is a row of queue.topic, a partitioned table queue.log_<id> and a
 * view topic.<name>.  Its segments are the table's partitions (segment_list.c).
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
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/memutils.h"

#include "base/base.h"
#include "base/lock.h"
#include "log/log.h"
#include "topic/topic.h"
#include "topic/topic_row.h"

static HTAB *topics = NULL;

static void
relcache_callback(Datum arg, Oid relid)
{
	HASH_SEQ_STATUS seq;
	Topic	   *topic;

	pgqueue_segment_changed(relid);
	pgqueue_registry_changed(relid);
	if (topics == NULL)
		return;
	hash_seq_init(&seq, topics);
	while ((topic = hash_seq_search(&seq)) != NULL)
		if (!OidIsValid(relid) || topic->log == relid || topic->view == relid)
		{
			topic->valid = false;
			topic->changed = true;
		}
}

void
pgqueue_catalog_init(void)
{
	CacheRegisterRelcacheCallback(relcache_callback, (Datum) 0);
}

/* ---------------- topics ---------------- */

static void
make_topics(void)
{
	HASHCTL		ctl;

	ctl.keysize = NAMEDATALEN;
	ctl.entrysize = sizeof(Topic);
	ctl.hcxt = CacheMemoryContext;
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
		topic->nbuckets = -1;
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
 * Say which topic the caller may have meant by a name that does not exist.
 *
 * wanted: a topic that is made now would do.
 */
static int
errhint_missing(const char *name, bool wanted)
{
	if (strncmp(name, PGQUEUE_VIEW_SCHEMA ".", strlen(PGQUEUE_VIEW_SCHEMA) + 1) == 0)
		return errhint("A topic is named without its schema.");
	if (name[0] == '{')
		return errhint("Name one topic. Several topics, as text[], are read by queue.consume_topics(), queue.poll_topics() and queue.wait_topics().");
	return wanted ? errhint("Create it with queue.create_topic().") :
		errhint("View queue.topics lists the topics.");
}

static Topic *
find_or_fail(const char *name, bool wanted)
{
	Topic	   *topic = pgqueue_topic_find(name);

	if (topic == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("topic \"%s\" does not exist", name),
				 errhint_missing(name, wanted)));
	if (unlikely(topic->broken != NULL))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("topic \"%s\" cannot be used", topic->name),
				 pgqueue_may_see(topic) || pgqueue_owns_topic(topic) ?
				 errdetail_internal("%s", topic->broken) : 0,
				 errhint("Undo the change as a superuser with queue.allow_ddl set, or drop the topic with queue.drop_topic().")));
	return topic;
}

/* Errors: 42704 if there is no such topic; 55000 if it cannot be used. */
Topic *
pgqueue_topic(const char *name)
{
	return find_or_fail(name, false);
}

static Topic *
topic_arg(text *name, bool wanted)
{
	char		buffer[NAMEDATALEN];
	int			len = VARSIZE_ANY_EXHDR(name);

	if (unlikely(len >= NAMEDATALEN))
		return find_or_fail(text_to_cstring(name), wanted);
	memcpy(buffer, VARDATA_ANY(name), len);
	buffer[len] = '\0';
	return find_or_fail(buffer, wanted);
}

/* Return the topic that an argument names.  Errors: those of pgqueue_topic(). */
Topic *
pgqueue_topic_arg(text *name)
{
	return topic_arg(name, false);
}

/* Do the same for a call that would do with a topic that is made now. */
Topic *
pgqueue_wanted_topic_arg(text *name)
{
	return topic_arg(name, true);
}

/* Return the table of a registered topic, or InvalidOid. */
Oid
pgqueue_log_of_topic(const char *name)
{
	Topic		topic;

	return pgqueue_load_row(name, &topic) ? topic.log : InvalidOid;
}

/* Return the id of a registered topic, or 0. */
int32
pgqueue_topic_id(const char *name)
{
	Topic		topic;

	return pgqueue_load_row(name, &topic) ? topic.id : 0;
}

/*
 * Check that a topic is still the one with that id.  Its name may stand for
 * another topic by now, with other rights and another type.  Errors: 55006.
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
 * Errors: 42704 if it was dropped, 55006 if there is another one instead.
 */
Topic *
pgqueue_topic_refresh(Topic *topic)
{
	int32		id = topic->id;

	AcceptInvalidationMessages();
	if (topic->valid)
		return topic;
	topic = pgqueue_topic(topic->name);
	pgqueue_check_same(topic, id);
	return topic;
}

/*
 * Keep the topic from being dropped to the end of the transaction: before rows
 * about it are written.  Errors: those of pgqueue_topic_refresh().
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
	Datum		name;

	pgqueue_registry_scan(&scan, REGISTRY_TOPIC, AccessShareLock, NULL);
	while (HeapTupleIsValid(tuple = pgqueue_registry_next(&scan)))
	{
		name = pgqueue_registry_column(&scan, tuple, TOPIC_ATTR_NAME);
		names = lappend(names, TextDatumGetCString(name));
	}
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
