/*-------------------------------------------------------------------------
 *
 * segment.c
 *	  Segments of a topic's description: open one, count those that are
 *	  sealed, in use or ahead; say what is wrong with one.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <inttypes.h>

#include "access/relation.h"
#include "access/table.h"
#include "pgstat.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"

#include "base/lock.h"
#include "log/log.h"
#include "topic/segment.h"
#include "topic/topic.h"

/* ---------------- segments ---------------- */

/*
 * Check that a partition has segments, and that they touch each other.  This is
 * not checked while a topic is looked up: a broken topic must be seen and
 * dropped.
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
				 errdetail("It was dropped or detached by other means than the extension's functions.")));
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("segments of partition %d of topic \"%s\" have a hole at offset " INT64_FORMAT,
					partition, topic->name, part->hole),
			 errdetail("A segment was dropped or detached by other means than the extension's functions.")));
}

/* Open a segment; NULL if it was dropped.  Locks: as pgqueue_open_segment(). */
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
 * Locks: lockmode on the segment, for the caller to keep, also if it is gone; a
 * writer's to the end of the transaction.
 * Errors: 55000 if the table does not have the shape of a segment (log/shape.c);
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

/*
 * Return the number of the last segment that has a block, or 0.  *gone: set if one
 * behind it is no partition of the table any more.
 */
static int
last_used(const Topic *topic, const Partition *part, bool *gone)
{
	*gone = false;
	for (int i = part->nsegments - 1; i > 0; i--)
	{
		Relation	leaf = pgqueue_open_segment(topic, &part->segments[i],
												AccessShareLock);
		bool		used;

		if (leaf == NULL)
		{
			*gone = true;
			continue;
		}
		used = RelationGetNumberOfBlocks(leaf) > 0;
		table_close(leaf, AccessShareLock);
		if (used)
			return i;
	}
	return 0;
}

/*
 * Return the number of the segment that takes appends: the last that has a block,
 * or the first; -1 if the description is out of date.
 */
int
pgqueue_last_used_segment(Topic *topic, Partition *part)
{
	bool		gone;
	int			last = last_used(topic, part, &gone);

	return gone ? -1 : last;
}

/*
 * Return how many segments of a partition are sealed: those before the last that
 * has a block.
 */
int
pgqueue_segments_sealed(Topic *topic, Partition *part)
{
	bool		gone;

	return last_used(topic, part, &gone);
}

/* Return how many segments lie behind the last that has a block, all empty. */
int
pgqueue_segments_ahead(Topic *topic, Partition *part)
{
	return Max(part->nsegments - 1 - pgqueue_segments_sealed(topic, part), 0);
}
