/*-------------------------------------------------------------------------
 *
 * catalog.c
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
#include "queue.h"

#include "access/genam.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_collation_d.h"
#include "catalog/pg_inherits.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "pgstat.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/relcache.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

/* Columns of queue.topic. */
#define TOPIC_ATTR_ID				1
#define TOPIC_ATTR_NAME				2
#define TOPIC_ATTR_LOG				3
#define TOPIC_ATTR_PARTITIONS		4
#define TOPIC_ATTR_SEGMENT_MESSAGES 5
#define TOPIC_ATTR_NOTIFY			7
#define TOPIC_ATTR_RETENTION		8
#define TOPIC_ATTR_RETENTION_BYTES	9
#define TOPIC_ATTR_RETENTION_FORCE	10
#define TOPIC_ATTR_CLEANUP_POLICY	11
#define TOPIC_ATTR_TOMBSTONE_RETENTION 12
#define TOPIC_ATTR_TABLESPACE		13
#define TOPIC_ATTR_GROUP_EXPIRY		14
#define TOPIC_NATTS					14

static HTAB *topics = NULL;

/*
 * Count the times that a group, or a producer, may have gone.
 *
 * A caller that remembers what it finds in a registry table reads the table's
 * counter before the look-up, and trusts the result while the counter is the
 * same.  A message that arrives during the look-up, while the table is being
 * opened, makes registry.c forget the table's OID after the look-up has read it,
 * so the next message of that table is not recognised; but the first one was
 * counted, after the caller had read the counter.
 */
uint64		pgqueue_group_changes = 0;
uint64		pgqueue_producers_gone = 0;

/* ---------------- descriptions that are replaced ---------------- */

/*
 * A description that was replaced in this transaction, and lives in the memory
 * context that it names.
 */
struct OldDescription
{
	MemoryContext context;
	Partition  *partitions;
	int			npartitions;
	OldDescription *before;
};

/* Counts transactions. */
static uint64 transactions = 0;

static void
transaction_ends(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_PARALLEL_COMMIT:
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PARALLEL_ABORT:
		case XACT_EVENT_PREPARE:
			transactions++;
			break;
		default:
			break;
	}
}

/* Keep what a description points to up to the end of the transaction. */
static void
release_description(Topic *topic)
{
	OldDescription *old;

	if (topic->context == NULL)
		return;
	old = MemoryContextAlloc(topic->context, sizeof(OldDescription));
	old->context = topic->context;
	old->partitions = topic->partitions;
	old->npartitions = topic->npartitions;
	old->before = topic->old_in == transactions ? topic->old : NULL;
	topic->old = old;
	topic->old_in = transactions;
	MemoryContextSetParent(topic->context, TopTransactionContext);
	topic->context = NULL;
}

/*
 * Forget the descriptions of a topic that were replaced: a transaction that rolls
 * often would gather them.  Not if user code is under way, within which the caller
 * may have been called.
 *
 * The caller, and what called it up to the statement, must hold no pointer into a
 * description that it has got before.  That is so in pgqueue_append().
 */
void
pgqueue_topic_forget_old(Topic *topic)
{
	if (pgqueue_pinned())
		return;
	while (topic->old != NULL && topic->old_in == transactions)
	{
		OldDescription *old = topic->old;

		topic->old = old->before;
#ifdef USE_ASSERT_CHECKING
		memset(old->partitions, 0x7f, old->npartitions * sizeof(Partition));
#endif
		MemoryContextDelete(old->context);
	}
	topic->old = NULL;
}

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
		if (!OidIsValid(relid) || topic->log == relid || topic->face == relid)
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
	RegisterXactCallback(transaction_ends, NULL);
}

/*
 * A producer goes: all sessions are to look producers up again, at once in
 * ours, and in others before they can have its lock.
 */
void
pgqueue_producers_changed(void)
{
	Oid			relid = pgqueue_registry(REGISTRY_PRODUCER);

	CacheInvalidateRelcacheByRelid(relid);
	relcache_callback((Datum) 0, relid);
}

/* The same for consumer groups. */
void
pgqueue_groups_changed(void)
{
	Oid			relid = pgqueue_registry(REGISTRY_GROUP);

	CacheInvalidateRelcacheByRelid(relid);
	relcache_callback((Datum) 0, relid);
}

/* ---------------- segments ---------------- */

/*
 * A partition must have segments, and they must touch each other.	Not checked
 * while a topic is looked up: a broken topic must be seen and dropped.
 *
 * Errors: XX001.
 */
void
pgqueue_check_segments(const Topic *topic, int32 partition)
{
	const Partition *part = &topic->partitions[partition];

	if (likely(!pgqueue_partition_broken(topic, partition)))
		return;
	if (part->nsegments == 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("partition %d of topic \"%s\" has no segment",
						partition, topic->name),
				 errdetail("It was dropped or detached behind the extension's back.")));
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("segments of partition %d of topic \"%s\" have a hole at offset " INT64_FORMAT,
					partition, topic->name, part->hole),
			 errdetail("A segment was dropped or detached behind the extension's back.")));
}

/* Put a segment into its partition; they come in ascending order. */
static void
add_segment(Partition *part, Segment *place, const SegmentBounds *bounds)
{
	if (part->nsegments == 0)
		part->segments = place;
	place->relid = bounds->relid;
	place->first = bounds->first;
	place->end = bounds->end;
	if (part->nsegments > 0 && place->first != place[-1].end)
	{
		part->has_hole = true;
		part->hole = place[-1].end;
	}
	part->nsegments++;
}

/*
 * Fill topic->partitions from the bounds of the table's partitions, in the
 * current memory context.
 */
static void
load_segments(Topic *topic)
{
	SegmentBounds *bounds;
	Segment    *segments;
	Oid		   *emptied;
	int			nbounds;
	int			n = 0;
	int			nemptied = 0;

	pgqueue_load_checkpoints(topic);
	nbounds = pgqueue_list_segments(topic->log, &bounds);
	segments = palloc(nbounds * sizeof(Segment) + 1);
	emptied = palloc(nbounds * sizeof(Oid) + 1);

	for (int i = 0; i < nbounds; i++)
	{
		Partition  *part;

		if (bounds[i].partition < 0 ||
			bounds[i].partition >= topic->npartitions)
			continue;
		part = &topic->partitions[bounds[i].partition];
		/* let go, and emptied; see retention.c */
		if (bounds[i].end <= part->log_start)
		{
			if (part->nemptied == 0)
				part->emptied = &emptied[nemptied];
			part->nemptied++;
			emptied[nemptied++] = bounds[i].relid;
		}
		else
			add_segment(part, &segments[n++], &bounds[i]);
	}
	pfree(bounds);
}

/* Open a segment; NULL if it was dropped.	Locks: as pgqueue_open_segment(). */
static Relation
open_leaf(Oid relid, LOCKMODE lockmode)
{
	Relation	leaf;

	/* relation_open() without its doubts: NULL tells that it is gone */
	if (lockmode == AccessShareLock)
		pgqueue_lock_to_look(relid);
	else
		pgqueue_lock_relation(relid, lockmode);
	leaf = RelationIdGetRelation(relid);
	if (likely(leaf != NULL))
		pgstat_init_relation(leaf);
	return leaf;
}

/*
 * Open a segment found in a description.  NULL if it is gone; then look the
 * topic up again.
 *
 * Locks: lockmode on the leaf, for the caller to keep, also if it is gone; a
 * writer's to the end of the transaction.
 * Errors: 55000 if the table does not have the shape of a segment (shape.c);
 * those of pgqueue_lock_to_look().
 */
Relation
pgqueue_open_segment(const Topic *topic, const Segment *segment,
					 LOCKMODE lockmode)
{
	Relation	leaf = open_leaf(segment->relid, lockmode);
	const char *flaw;

	if (unlikely(leaf == NULL))
		return NULL;
	if (unlikely(!pgqueue_segment_sound(leaf, topic->log, topic->owner,
											topic->value_type, &flaw)))
	{
		if (flaw != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("segment \"%s\" of topic \"%s\" cannot be used",
							RelationGetRelationName(leaf), topic->name),
					 errdetail_internal("%s", flaw)));
		relation_close(leaf, NoLock);	/* detached since */
		return NULL;
	}
	return leaf;
}

/* Return true if a partition cannot be read; see pgqueue_check_segments(). */
bool
pgqueue_partition_broken(const Topic *topic, int32 partition)
{
	const Partition *part = &topic->partitions[partition];

	return partition < 0 || partition >= topic->npartitions ||
		part->nsegments == 0 || part->has_hole;
}

/* Return why a partition cannot be read, as a sentence, or NULL if it can. */
const char *
pgqueue_partition_flaw(const Topic *topic, int32 partition)
{
	if (!pgqueue_partition_broken(topic, partition))
		return NULL;
	if (partition >= topic->npartitions ||
		topic->partitions[partition].nsegments == 0)
		return psprintf("Partition %d has no segment.", partition);
	return psprintf("The segments of partition %d have a hole at offset "
					INT64_FORMAT ".",
					partition, topic->partitions[partition].hole);
}

/*
 * Return what is wrong with a segment, as a sentence, or NULL if nothing is.  One
 * that another session has locked is taken for sound, so that no session waits.
 */
static const char *
segment_flaw(const Topic *topic, Oid relid)
{
	Relation	leaf;
	const char *flaw = NULL;

	if (!ConditionalLockRelationOid(relid, AccessShareLock))
		return NULL;
	leaf = RelationIdGetRelation(relid);
	if (leaf != NULL)
	{
		if (pgqueue_segment_sound(leaf, topic->log, topic->owner,
											topic->value_type, &flaw))
			flaw = NULL;
		RelationClose(leaf);
	}
	UnlockRelationOid(relid, AccessShareLock);
	return flaw;
}

/*
 * Return why a topic cannot be used, as a sentence, or NULL if it can: topic->broken,
 * or what is wrong with its segments.  Opens each segment, for what lists topics
 * and must not fail for one of them.
 *
 * Locks: ACCESS SHARE on each segment, for a moment, only tried.
 */
const char *
pgqueue_topic_flaw(const Topic *topic)
{
	const char *flaw = topic->broken;

	for (int p = 0; flaw == NULL && p < topic->npartitions; p++)
	{
		const Partition *part = &topic->partitions[p];

		flaw = pgqueue_partition_flaw(topic, p);
		for (int i = 0; flaw == NULL && i < part->nsegments; i++)
			flaw = segment_flaw(topic, part->segments[i].relid);
	}
	return flaw;
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

/*
 * A cleanup policy, as Kafka writes them.
 *
 * Errors: 22023.
 */
int
pgqueue_cleanup_policy(const text *policy)
{
	char	   *name = text_to_cstring(policy);

	if (strcmp(name, "delete") == 0)
		return CLEANUP_DELETE;
	if (strcmp(name, "compact") == 0)
		return CLEANUP_COMPACT;
	if (strcmp(name, "compact,delete") == 0 ||
		strcmp(name, "delete,compact") == 0)
		return CLEANUP_COMPACT | CLEANUP_DELETE;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid cleanup_policy \"%s\"", name),
			 errhint("It is \"delete\", \"compact\" or \"compact,delete\".")));
	return 0;
}

/* Read the topic's row.  False if there is none. */
static bool
load_row(Topic *topic)
{
	Relation	rel = pgqueue_registry_open(REGISTRY_TOPIC);
	Oid			index = pgqueue_registry(REGISTRY_TOPIC_NAME_INDEX);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, TOPIC_ATTR_NAME, BTEqualStrategyNumber, F_TEXTEQ,
				CStringGetTextDatum(topic->name));
	key.sk_collation = C_COLLATION_OID;
	scan = systable_beginscan(rel, index, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		Datum		values[TOPIC_NATTS];
		bool		nulls[TOPIC_NATTS];

		pgqueue_registry_read(rel, tuple, TOPIC_NATTS, values, nulls);
		topic->id = DatumGetInt32(values[TOPIC_ATTR_ID - 1]);
		topic->log = DatumGetObjectId(values[TOPIC_ATTR_LOG - 1]);
		topic->npartitions = DatumGetInt32(values[TOPIC_ATTR_PARTITIONS - 1]);
		topic->segment_messages = nulls[TOPIC_ATTR_SEGMENT_MESSAGES - 1] ? 0 :
			DatumGetInt64(values[TOPIC_ATTR_SEGMENT_MESSAGES - 1]);
		topic->notify = DatumGetBool(values[TOPIC_ATTR_NOTIFY - 1]);
		topic->retention = nulls[TOPIC_ATTR_RETENTION - 1] ? 0 :
			pgqueue_duration("retention",
							 DatumGetIntervalP(values[TOPIC_ATTR_RETENTION - 1]));
		topic->retention_bytes = nulls[TOPIC_ATTR_RETENTION_BYTES - 1] ? 0 :
			DatumGetInt64(values[TOPIC_ATTR_RETENTION_BYTES - 1]);
		topic->retention_force =
			DatumGetBool(values[TOPIC_ATTR_RETENTION_FORCE - 1]);
		topic->cleanup_policy =
			pgqueue_cleanup_policy(DatumGetTextPP(values[TOPIC_ATTR_CLEANUP_POLICY - 1]));
		topic->tombstone_retention =
			pgqueue_duration("tombstone_retention",
							 DatumGetIntervalP(values[TOPIC_ATTR_TOMBSTONE_RETENTION - 1]));
		topic->group_expiry = nulls[TOPIC_ATTR_GROUP_EXPIRY - 1] ? 0 :
			pgqueue_duration("group_expiry",
							 DatumGetIntervalP(values[TOPIC_ATTR_GROUP_EXPIRY - 1]));
		strlcpy(topic->tablespace, nulls[TOPIC_ATTR_TABLESPACE - 1] ? "" :
				NameStr(*DatumGetName(values[TOPIC_ATTR_TABLESPACE - 1])),
				NAMEDATALEN);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return HeapTupleIsValid(tuple);
}

/*
 * Find the topic's view, and check it.  A relation of that name which is no view,
 * or belongs to another role than the topic's table, grants no rights on the
 * topic.  Return what is wrong with the view, or NULL.
 */
static const char *
load_view(Topic *topic)
{
	Oid			relid = get_relname_relid(topic->name,
										  get_namespace_oid(PGQUEUE_FACE_SCHEMA,
															false));
	Relation	view = OidIsValid(relid) ? RelationIdGetRelation(relid) : NULL;
	const char *flaw;

	topic->face = InvalidOid;
	if (view == NULL)
		return psprintf("View \"%s.%s\" is missing.", PGQUEUE_FACE_SCHEMA,
						topic->name);
	if (view->rd_rel->relkind != RELKIND_VIEW ||
		view->rd_rel->relowner != topic->owner)
		flaw = psprintf("\"%s.%s\" is not a view of the role that owns the topic's table.",
						PGQUEUE_FACE_SCHEMA, topic->name);
	else
	{
		topic->face = relid;
		flaw = topic->broken != NULL ? NULL :
			pgqueue_view_flaw(view, topic->value_type);
	}
	RelationClose(view);
	return flaw;
}

/*
 * Read the topic's table and view into a description that is being built, in its
 * memory context.  Return false if the table is gone: the topic may have been
 * dropped since its row was read.
 *
 * target: the entry of the cache, which invalidations look for.
 */
static bool
load_relations(Topic *topic, Topic *target)
{
	Relation	log;
	const char *view_flaw;
	MemoryContext old = MemoryContextSwitchTo(topic->context);

	topic->broken = "The table of the topic is missing.";
	topic->face = topic->owner = topic->value_type = InvalidOid;
	topic->desc = NULL;
	topic->partitions = palloc0(topic->npartitions * sizeof(Partition));
	for (int p = 0; p < topic->npartitions; p++)
		topic->partitions[p].active = -1;

	/* an invalidation that arrives from here on sets target->changed */
	log = pgqueue_open_to_look(topic->log);
	if (log != NULL)
	{
		topic->owner = log->rd_rel->relowner;
		topic->broken = pgqueue_table_flaw(log);
		topic->desc = CreateTupleDescCopy(RelationGetDescr(log));
		if (topic->broken == NULL)
			topic->value_type =
				TupleDescAttr(topic->desc, LOG_ATTR_VALUE - 1)->atttypid;
		view_flaw = load_view(topic);
		target->face = topic->face;
		if (topic->broken == NULL)
			load_segments(topic);
		if (topic->broken == NULL)
			topic->broken = view_flaw;
		relation_close(log, AccessShareLock);
	}
	MemoryContextSwitchTo(old);
	return log != NULL;
}

/*
 * Rebuild a topic's description.  Return false if the topic does not exist.  An
 * invalidation that arrives meanwhile lets the description be built again.
 *
 * The description is replaced as a whole, when the new one is complete: an error
 * on the way leaves the old one, not valid, whose arrays are as long as it says.
 * A caller up the stack may still use the old one (a domain's CHECK may produce),
 * so it is kept to the end of the transaction, or to the next append.
 */
static bool
load_topic(Topic *topic)
{
	bool		complete = false;
	bool		missing = false;

	topic->valid = false;
	while (!complete)
	{
		Topic		built = *topic;

		topic->changed = false;
		if (!load_row(&built))
		{
			release_description(topic);
			return false;
		}
		topic->log = built.log;
		built.context = AllocSetContextCreate(TopTransactionContext,
											  "queue topic",
											  ALLOCSET_SMALL_SIZES);
		built.input_ready = false;
		built.producer_name[0] = '\0';
		built.domain_extra = NULL;
		complete = load_relations(&built, topic);
		/* a table that is missing twice was not dropped with the topic */
		complete = (complete || missing) && !topic->changed;
		missing = built.desc == NULL;
		if (!complete)
		{
			MemoryContextDelete(built.context);
			continue;
		}
		release_description(topic);
		built.old = topic->old;
		built.old_in = topic->old_in;
		MemoryContextSetParent(built.context, CacheMemoryContext);
		/* what makes a topic unusable may be mended without our being told */
		built.valid = built.broken == NULL;
		*topic = built;
	}
	return true;
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

/* The topic of that name, or NULL. */
Topic *
pgqueue_topic_find(const char *name)
{
	Topic	   *topic;
	bool		found;

	if (strlen(name) >= NAMEDATALEN)
		return NULL;
	if (topics == NULL)
		make_topics();

	/* nobody else need do this in a transaction that has all its locks */
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
	if (load_topic(topic))
		return topic;

	/* an entry that was there before may be in use up the stack */
	if (!found)
		hash_search(topics, name, HASH_REMOVE, NULL);
	return NULL;
}

/*
 * A topic whose table or view has lost its shape can be seen and dropped, not
 * used.
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
			 errdetail_internal("%s", topic->broken),
			 errhint("Undo the change as a superuser with queue.allow_ddl set, or drop the topic with queue.drop_topic().")));
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
				 errhint("Create it with queue.create_topic().")));
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

/* Return the id of the topic whose table this is, and its name; or 0. */
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
		strlcpy(name,
				TextDatumGetCString(heap_getattr(tuple, TOPIC_ATTR_NAME, desc,
												 &isnull)), NAMEDATALEN);
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
	return load_row(&topic) ? topic.log : InvalidOid;
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
	return load_row(&topic) ? topic.id : 0;
}

/*
 * A name may stand for another topic by now, with other rights and another
 * type.
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
 * The same topic's description, as of now.
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
 * A description built anew even if nobody told that it changed.
 *
 * A transaction that made a segment is visible a moment before it sends its
 * invalidations.  Somebody who listed the segments in that moment may have
 * read and committed an offset of which we cannot know yet.
 */
Topic *
pgqueue_topic_reload(Topic *topic)
{
	topic->valid = false;
	return pgqueue_topic_refresh(topic);
}

/* Names of all topics, as C strings. */
List *
pgqueue_topic_names(void)
{
	Relation	rel = pgqueue_registry_open(REGISTRY_TOPIC);
	SysScanDesc scan = systable_beginscan(rel,
										  pgqueue_registry(REGISTRY_TOPIC_NAME_INDEX),
										  true, NULL, 0, NULL);
	List	   *names = NIL;
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool		isnull;
		Datum		name = heap_getattr(tuple, TOPIC_ATTR_NAME,
										RelationGetDescr(rel), &isnull);

		names = lappend(names, TextDatumGetCString(name));
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
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

/* ---------------- rights ---------------- */

/* May the user know of the topic? */
bool
pgqueue_may_see(const Topic *topic)
{
	return OidIsValid(topic->face) &&
		(pg_class_aclcheck(topic->face, GetUserId(),
						   ACL_SELECT) == ACLCHECK_OK ||
		 pg_class_aclcheck(topic->face, GetUserId(),
						   ACL_INSERT) == ACLCHECK_OK);
}

/*
 * The same of a topic whose table is locked, so that it cannot be looked at, also
 * for the table's owner.
 */
bool
pgqueue_may_see_locked(const char *name)
{
	Topic		topic = {.broken = ""};

	strlcpy(topic.name, name, NAMEDATALEN);
	if (!load_row(&topic))
		return false;
	topic.owner = pgqueue_owner_of(topic.log);
	(void) load_view(&topic);
	return pgqueue_may_see(&topic) ||
		has_privs_of_role(GetUserId(), topic.owner);
}

/*
 * The rights of the topic are those of its view.  The C path bypasses the
 * executor, so it asks itself.
 *
 * Errors: 42501.
 */
void
pgqueue_check_right(const Topic *topic, AclMode mode)
{
	AclResult	result = pg_class_aclcheck(topic->face, GetUserId(), mode);

	if (result != ACLCHECK_OK)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for topic \"%s\"", topic->name),
				 errhint("Grant %s ON %s.",
						 mode == ACL_INSERT ? "INSERT" : "SELECT",
						 quote_qualified_identifier(PGQUEUE_FACE_SCHEMA,
													topic->name))));
}

/*
 * Return true if the user owns the topic, that is, its table.  What is left of a
 * topic whose table is missing belongs to the extension's owner.
 */
bool
pgqueue_owns_topic(const Topic *topic)
{
	if (topic->desc == NULL)
		return has_privs_of_role(GetUserId(), pgqueue_extension_owner());
	return pgqueue_owns_relation(topic->log, GetUserId());
}

/* Errors: 42501. */
void
pgqueue_check_owner(const Topic *topic)
{
	if (!pgqueue_owns_topic(topic))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be owner of topic \"%s\"", topic->name)));
}
