/*-------------------------------------------------------------------------
 *
 * cut.h
 *	  What is remembered of a table USING queue_log: its shape and its cut.
 *
 *-------------------------------------------------------------------------
 */
#ifndef QUEUE_CUT_H
#define QUEUE_CUT_H

#include "access/tableam.h"
#include "utils/rel.h"

/* ---------------- shape.c ---------------- */

/* What the relation cache keeps of a table USING queue_log (rd_amcache). */
typedef struct KnownSegment
{
	Oid			log;			/* the topic of a sound segment; or invalid */
	Oid			owner;
	Oid			value_type;
	int64		cut;			/* see cut.c; 0: not looked up yet */
} KnownSegment;

extern KnownSegment *pgqueue_known_segment(Relation segment);

/* ---------------- cut.c ---------------- */

/* The cut of a table that has none: all offsets are behind it. */
#define PGQUEUE_NO_CUT PG_INT64_MIN

extern int64 pgqueue_cut_look(Relation segment);
extern void pgqueue_cut_init(void);
extern void pgqueue_cut_methods(TableAmRoutine *am);

/*
 * Return the offset before which a table's records are deleted, or
 * PGQUEUE_NO_CUT.
 *
 * Locks: any on it.
 */
static inline int64
pgqueue_cut(Relation segment)
{
	const KnownSegment *known = segment->rd_amcache;

	if (likely(known != NULL && known->cut != 0))
		return known->cut;
	return pgqueue_cut_look(segment);
}

#endif							/* QUEUE_CUT_H */
