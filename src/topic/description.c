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

#include "access/genam.h"
#include "access/relation.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "base/base.h"
#include "base/lock.h"
#include "log/log.h"
#include "topic/segment.h"
#include "topic/topic.h"
#include "topic/topic_row.h"

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

void
pgqueue_transaction_ends(XactEvent event, void *arg)
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
		/* removed, and emptied; see cleanup/retention.c */
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
		view_flaw = pgqueue_load_view(topic);
		target->view = topic->view;
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
 * on the way leaves the old one, not valid; its arrays are as long as it says.
 * A caller up the stack may still use the old one (a domain's CHECK may produce),
 * so it is kept to the end of the transaction, or to the next append.
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
		if (!pgqueue_load_row(&built))
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
