/*-------------------------------------------------------------------------
 *
 * group_offsets.h
 *	  What queue.group_offsets() has looked up.
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
 * A topic, once it was met.  topic may be described anew in mid-walk, when its
 * segments are looked at, and may even be another one of the same name by then:
 * the arrays are as long as npartitions says, not as topic does.
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
	bool		warned;			/* of what cannot be read */
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
	bool		anybody;		/* holders has entries */
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

	/* what was last looked up; NULL: nothing, or not the user's business */
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
