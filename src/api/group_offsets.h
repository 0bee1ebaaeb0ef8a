/*-------------------------------------------------------------------------
 *
 * group_offsets.h
 *	  The state of queue.group_offsets() during its walk.
 *
 *-------------------------------------------------------------------------
 */
#ifndef QUEUE_GROUP_OFFSETS_H
#define QUEUE_GROUP_OFFSETS_H

#include "base/base.h"
#include "group/group.h"
#include "group/member.h"

typedef struct Place
{
	int32		group;
	int32		topic;
	int32		partition;
} Place;

/* A group and a topic. */
typedef struct Pair
{
	int32		group;
	int32		topic;
} Pair;

typedef struct KnownEnds
{
	bool		asked;
	bool		known;
	LogEnds		ends;
} KnownEnds;

/*
 * A topic.  Its description may be replaced in mid-walk, when the segments are
 * looked at, and may even be that of another topic of the same name by then:
 * the length of the array is npartitions here, not that of topic.
 */
typedef struct ListedTopic
{
	int32		id;				/* hash key */
	Topic	   *topic;
	Datum		name;
	int			npartitions;
	KnownEnds  *partitions;
	bool		has_metadata;	/* the user may see what applications stored */
	int			nused;
	int32	   *used;			/* partitions, as pgqueue_used_partitions() */
	bool		warned;			/* a WARNING was raised for it */
} ListedTopic;

typedef struct ListedGroup
{
	int32		id;				/* hash key */
	Datum		name;
	ConsumerGroup group;
	bool		has_topic;		/* has offsets or members in a topic */
} ListedGroup;

typedef struct Walk
{
	ReturnSetInfo *rsinfo;
	Snapshot	snapshot;
	TimestampTz now;
	MemoryContext row_context;	/* the newest row; reset with each place */
	HTAB	   *topics;
	HTAB	   *groups;
	HTAB	   *holders;		/* or NULL: none */
	HTAB	   *members_only;	/* Pairs with members, and without offsets so far */

	RegistryScan scan;
	int			fixed;			/* leading columns that it fixes; -1: none */
	HeapTuple	tuple;			/* the row at hand, or NULL ... */
	Place		place;			/* ... of this place */

	/* of the group and topic at hand */
	ListedTopic *topic;
	ListedGroup *group;
	Members		members;
	TimestampTz used;			/* last use, or 0: see group/expiry.c */
} Walk;

extern void pgqueue_list_all(Walk *walk);
extern bool pgqueue_begin_pair(Walk *walk);
extern LogEnds * pgqueue_place_ends(ListedTopic *listed, int32 partition);
extern const Member * pgqueue_place_owner(const Walk *walk, int32 partition);
extern int pgqueue_place_holder(const Walk *walk, int32 partition);

#endif							/* QUEUE_GROUP_OFFSETS_H */
