/*-------------------------------------------------------------------------
 *
 * segment.c
 *	  Segments of a topic's description: open one, count those that are
 *	  sealed, in use or ahead; say what is wrong with one.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/table.h"
#include "pgstat.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"

#include "base/lock.h"
#include "log/log.h"
#include "topic/segment.h"
#include "topic/topic.h"

/*
 * Check that a used partition has segments, without a hole.  An unused one has
 * none, and is sound.  Errors: XX001.
 */
void
pgqueue_check_segments(const Topic *topic, int32 partition)
{
	const Partition *part = pgqueue_partition(topic, partition);

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
	Relation	leaf;
	const char *flaw;

	/* relation_open() without its doubts: NULL tells that it is gone */
	if (lockmode == AccessShareLock)
		pgqueue_lock_to_look(segment->relid);
	else
		pgqueue_lock_relation(segment->relid, lockmode);
	leaf = RelationIdGetRelation(segment->relid);
	if (unlikely(leaf == NULL))
		return NULL;
	pgstat_init_relation(leaf);
	if (likely(pgqueue_segment_sound(leaf, topic->log, topic->owner,
									 topic->value_type, &flaw)))
		return leaf;
	if (flaw != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("segment \"%s\" of topic \"%s\" cannot be used",
						RelationGetRelationName(leaf), topic->name),
				 errdetail_internal("%s", flaw)));
	relation_close(leaf, NoLock);	/* detached since */
	return NULL;
}

/*
 * Open the last segment before number *i that is not gone, for reading, and set
 * *i to its number.  Return NULL if there is none.
 */
Relation
pgqueue_open_previous(const Topic *topic, const Partition *part, int *i)
{
	Relation	leaf = NULL;

	while (leaf == NULL && --*i >= 0)
		leaf = pgqueue_open_segment(topic, &part->segments[*i],
									AccessShareLock);
	return leaf;
}

/* Return true if a partition cannot be read; see pgqueue_check_segments(). */
bool
pgqueue_partition_broken(const Topic *topic, int32 partition)
{
	const Partition *part = pgqueue_partition(topic, partition);

	return partition < 0 || partition >= topic->npartitions ||
		(part->nsegments == 0 && part->checkpointed) || part->hole != 0;
}

/* Return why a partition cannot be read, as a sentence, or NULL if it can. */
const char *
pgqueue_partition_flaw(const Topic *topic, int32 partition)
{
	if (!pgqueue_partition_broken(topic, partition))
		return NULL;
	if (partition >= topic->npartitions ||
		pgqueue_partition(topic, partition)->nsegments == 0)
		return psprintf("Partition %d has no segment.", partition);
	return psprintf("The segments of partition %d have a hole at offset "
					INT64_FORMAT ".",
					partition, pgqueue_partition(topic, partition)->hole);
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
 * or what is wrong with its segments.
 * Locks: ACCESS SHARE on each segment, for a moment, only tried.
 */
const char *
pgqueue_topic_flaw(const Topic *topic)
{
	const char *flaw = topic->broken;

	for (int32 p = -1;
		 flaw == NULL && (p = pgqueue_next_used(topic, p)) >= 0;)
	{
		const Partition *part = pgqueue_partition(topic, p);

		flaw = pgqueue_partition_flaw(topic, p);
		for (int i = 0; flaw == NULL && i < part->nsegments; i++)
			flaw = segment_flaw(topic, part->segments[i].relid);
	}
	return flaw;
}

/* Return true if a segment, which may be gone, has a block. */
bool
pgqueue_segment_has_blocks(const Topic *topic, const Segment *segment)
{
	Relation	leaf = pgqueue_open_segment(topic, segment, AccessShareLock);
	bool		result = leaf != NULL && RelationGetNumberOfBlocks(leaf) > 0;

	if (leaf != NULL)
		table_close(leaf, AccessShareLock);
	return result;
}

/*
 * Return how many segments of a partition are sealed: those before the last that
 * has a block, or before the first if none has.
 */
int
pgqueue_segments_sealed(const Topic *topic, const Partition *part)
{
	int			i = part->nsegments - 1;

	while (i > 0 && !pgqueue_segment_has_blocks(topic, &part->segments[i]))
		i--;
	return Max(i, 0);
}
