/*-------------------------------------------------------------------------
 *
 * group_offsets.h
 *	  The state of queue.group_offsets() during its walk.
 *
 *-------------------------------------------------------------------------
 */
#ifndef QUEUE_GROUP_OFFSETS_H
#define QUEUE_GROUP_OFFSETS_H

#include "group/group.h"

/* ---------------- group_offsets_read.c ---------------- */

typedef struct Place
{
	int32		group;
	int32		topic;
	int32		partition;
} Place;

/*
 * A topic that the walk has met.  The description topic may be replaced in
 * mid-walk, when the segments are looked at, and may even be that of another
 * topic of the same name by then: the length of the arrays is npartitions
 * here, not that of topic.
 */
typedef struct ListedTopic
{
	int32		id;				/* hash key */
	Topic	   *topic;
	Datum		name;
	int			npartitions;
	bool	   *asked;			/* for the ends of a partition ... */
	bool	   *has_ends;		/* ... with this answer */
	LogEnds    *ends;
	bool		warned;			/* a WARNING was raised for it */
} ListedTopic;

typedef struct ListedGroup
{
	int32		id;				/* hash key */
	Datum		name;
	ConsumerGroup group;
} ListedGroup;

typedef struct Walk
{
	ReturnSetInfo *rsinfo;
	Relation	rel;
	Relation	index;
	Snapshot	snapshot;
	SysScanDesc scan;
	int			fixed;			/* leading columns that the scan fixes; -1: none */
	HTAB	   *topics;
	HTAB	   *groups;
	HTAB	   *holders;
	bool		any_holder;		/* holders has entries */
	TimestampTz now;
	MemoryContext row_context;	/* the newest row; reset with each place */

	/* the place under way */
	bool		any;
	Place		place;
	HeapTuple	newest;
	bool		full;			/* enough for the rate */
	int			rows;			/* moves, the newest row's included */
	int			seen;			/* rows */
	int64		moved;			/* messages consumed since the row last read ... */
	int64		last_offset;	/* ... which says this */
	char		last_action;
	TimestampTz last_time;

	bool		released;		/* holds nothing until it is used again */
	int64		incarnation;	/* of the offset; 0: this one */
	int64		handed_to;

	int32		unseen;			/* partitions up to here are yet to come */

	/* last looked up; NULL: unknown, or the user may not see it */
	Place		found;
	ListedTopic *topic;
	ListedGroup *group;

	/* of the group and topic last met: members, last use (group/expiry.c) */
	Place		members_of;
	Members		members;
	TimestampTz used;
} Walk;

/* A transaction that has a group's partition, or one that shares its lock. */
typedef struct Holder
{
	Place		place;			/* hash key; the lowest of these partitions */
	int			pid;
} Holder;

extern bool pgqueue_hash_look_up(Walk *walk, const Place *place);
extern const Member * pgqueue_place_owner(Walk *walk, const Place *place);
extern LogEnds * pgqueue_place_ends(ListedTopic *listed, int32 partition);
extern void pgqueue_list_topics(Walk *walk);
extern void pgqueue_list_holders(Walk *walk);
extern void pgqueue_list_groups(Walk *walk);

#endif							/* QUEUE_GROUP_OFFSETS_H */
