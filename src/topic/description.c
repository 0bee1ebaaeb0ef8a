/*-------------------------------------------------------------------------
 *
 * description.c
 *	  Build a topic's description from the catalogs and the registry, and
 *	  free it.
 *
 * topic.c keeps descriptions and says when one is built again.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "catalog/namespace.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "base/base.h"
#include "base/lock.h"
#include "log/log.h"
#include "topic/segment.h"
#include "topic/topic.h"
#include "topic/topic_row.h"

static void
old_is_gone(void *topic)
{
	((Topic *) topic)->old = NULL;
}

/* Keep what a description points to up to the end of the transaction. */
static void
release_description(Topic *topic)
{
	if (topic->context == NULL)
		return;
	if (topic->old == NULL)
	{
		MemoryContextCallback *callback;

		topic->old = AllocSetContextCreate(TopTransactionContext,
										   "queue topic, replaced",
										   ALLOCSET_SMALL_SIZES);
		callback = MemoryContextAllocZero(topic->old, sizeof(*callback));
		callback->func = old_is_gone;
		callback->arg = topic;
		MemoryContextRegisterResetCallback(topic->old, callback);
	}
	MemoryContextSetParent(topic->context, topic->old);
	topic->context = NULL;
}

/*
 * Forget the descriptions of a topic that were replaced: a transaction that rolls
 * often would gather them.  Not if user code is under way, within which the caller
 * may have been called.  README, section 17, has the rules for callers.
 */
void
pgqueue_topic_forget_old(Topic *topic)
{
	if (!pgqueue_pinned())
		MemoryContextDelete(topic->old);
}

/* ---------------- partitions ---------------- */

/* Return the place of a partition, or of the next one, in topic->used. */
static int
place_of(const Topic *topic, int32 number)
{
	int			low = 0;
	int			high = topic->nused;

	while (low < high)
	{
		int			mid = (low + high) / 2;

		if (topic->used[mid].number < number)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/* Return a partition; all that are unused are one, which is not changed. */
Partition *
pgqueue_partition(const Topic *topic, int32 number)
{
	static Partition unused = {.active = -1};
	int			i = number;

	/* mostly all before it are used */
	if (i < 0 || i >= topic->nused || topic->used[i].number != number)
		i = place_of(topic, number);
	return i < topic->nused && topic->used[i].number == number ?
		&topic->used[i] : &unused;
}

/* Return true if no message has ever been stored in a partition. */
bool
pgqueue_partition_unused(const Topic *topic, int32 number)
{
	const Partition *part = pgqueue_partition(topic, number);

	return part->nsegments == 0 && !part->checkpointed;
}

/*
 * Return the first used partition behind a number (-1: the first), or -1 if there
 * is none.  So loops go on if the description is replaced meanwhile.
 */
int32
pgqueue_next_used(const Topic *topic, int32 after)
{
	int			i = place_of(topic, after + 1);

	return i < topic->nused ? topic->used[i].number : -1;
}

/* Return the numbers of the used partitions, ascending; *n: how many. */
int32 *
pgqueue_used_partitions(const Topic *topic, int *n)
{
	int32	   *numbers = palloc(topic->nused * sizeof(int32) + 1);

	*n = topic->nused;
	for (int i = 0; i < topic->nused; i++)
		numbers[i] = topic->used[i].number;
	return numbers;
}

/* Add a segment, the last one of a partition or not. */
static void
add_segment(Partition *part, Segment *segment, bool last)
{
	/* removed, but for the last one; see cleanup/retention.c */
	if (segment->end <= part->log_start && !last)
	{
		if (part->nremoved++ == 0)
			part->removed = segment;
	}
	else if (part->nsegments++ == 0)
		part->segments = segment;
	else if (segment->first != segment[-1].end)
		part->hole = segment[-1].end;
}

/*
 * Fill topic->used from the checkpoints and from the bounds of the table's
 * partitions, in the current memory context.  Both ascend.  The checkpoints are
 * read first: a maker of a partition's first segments commits them together, and so
 * there is no checkpoint for which the segments are not seen.
 */
static void
load_partitions(Topic *topic)
{
	int			nknown;
	Partition  *known = pgqueue_load_checkpoints(topic, &nknown);
	Segment    *segment;
	int			n = pgqueue_list_segments(topic->log, &segment);
	Segment    *end = segment + n;
	int			room = nknown;

	for (int i = 0; i < n; i++)
		if (i == 0 || segment[i].partition != segment[i - 1].partition)
			room++;
	topic->nused = 0;
	topic->used = palloc(room * sizeof(Partition) + 1);
	for (Partition *next = known; next < known + nknown || segment < end;)
	{
		Partition	part = {.active = -1};

		if (segment == end ||
			(next < known + nknown && next->number <= segment->partition))
			part = *next++;
		else
			part.number = segment->partition;
		for (; segment < end && segment->partition == part.number; segment++)
			add_segment(&part, segment, segment + 1 == end ||
						segment[1].partition != part.number);
		if (part.number >= 0 && part.number < topic->npartitions)
			topic->used[topic->nused++] = part;
	}
	pfree(known);
}

/* ---------------- the description ---------------- */

/*
 * Find the topic's view, and check it.  A relation of that name which is no view,
 * or belongs to another role than the topic's table, grants no rights on the
 * topic.  Return what is wrong with the view, or NULL.
 */
const char *
pgqueue_load_view(Topic *topic)
{
	Oid			relid = get_relname_relid(topic->name,
										  get_namespace_oid(PGQUEUE_VIEW_SCHEMA,
															false));
	Relation	view = OidIsValid(relid) ? RelationIdGetRelation(relid) : NULL;
	const char *flaw;

	topic->view = InvalidOid;
	if (view == NULL)
		return psprintf("View \"%s.%s\" is missing.", PGQUEUE_VIEW_SCHEMA,
						topic->name);
	if (view->rd_rel->relkind != RELKIND_VIEW ||
		view->rd_rel->relowner != topic->owner)
		flaw = psprintf("\"%s.%s\" is not a view of the role that owns the topic's table.",
						PGQUEUE_VIEW_SCHEMA, topic->name);
	else
	{
		topic->view = relid;
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
	topic->view = topic->owner = topic->value_type = InvalidOid;
	topic->desc = NULL;
	topic->used = NULL;
	topic->nused = 0;

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
		view_flaw = pgqueue_load_view(topic);
		target->view = topic->view;
		if (topic->broken == NULL)
		{
			load_partitions(topic);
			topic->broken = view_flaw;
		}
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
 * on the way leaves the old one, not valid.
 */
bool
pgqueue_load_topic(Topic *topic)
{
	bool		complete = false;
	bool		missing = false;

	topic->valid = false;
	while (!complete)
	{
		Topic		built = *topic;

		topic->changed = false;
		if (!pgqueue_load_row(topic->name, &built))
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
		built.nbuckets = -1;
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
		MemoryContextSetParent(built.context, CacheMemoryContext);
		/* what makes a topic unusable may be mended without our being told */
		built.valid = built.broken == NULL;
		*topic = built;
	}
	return true;
}
