/*-------------------------------------------------------------------------
 *
 * group_offsets_read.c
 *	  Look-ups of queue.group_offsets(): topics, groups, members that have
 *	  messages in hand, lock holders, ends of logs.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"

#include "base/base.h"
#include "base/lock.h"
#include "topic/topic.h"
#include "group/group.h"
#include "group/member.h"
#include "api/group_offsets.h"

/* A transaction that has a group's partition, or one that shares its lock. */
typedef struct Holder
{
	Place		place;			/* hash key; the lowest of these partitions */
	int			pid;			/* 0: a prepared transaction */
} Holder;

static HTAB *
make_hash(const char *name, Size key, Size entry)
{
	HASHCTL		ctl = {.keysize = key, .entrysize = entry,
	.hcxt = CurrentMemoryContext};

	return hash_create(name, 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

static void
list_topics(Walk *walk)
{
	ListCell   *lc;

	walk->topics = make_hash("queue topics by id", sizeof(int32),
							 sizeof(ListedTopic));
	foreach(lc, pgqueue_topic_names())
	{
		Topic	   *topic = pgqueue_attempt_topic(lfirst(lc));
		ListedTopic *listed;

		if (topic == NULL)
			continue;
		listed = hash_search(walk->topics, &topic->id, HASH_ENTER, NULL);
		listed->topic = topic;
		listed->name = CStringGetTextDatum(topic->name);
		listed->npartitions = topic->npartitions;
		listed->used = pgqueue_used_partitions(topic, &listed->nused);
		listed->partitions = palloc0(topic->npartitions * sizeof(KnownEnds));
		listed->has_metadata = pgqueue_may_use(topic);
		listed->warned = false;
	}
}

static void
list_groups(Walk *walk)
{
	RegistryScan scan = {0};
	HeapTuple	tuple;

	walk->groups = make_hash("queue groups by id", sizeof(int32),
							 sizeof(ListedGroup));
	pgqueue_registry_scan_table(&scan, REGISTRY_GROUP, AccessShareLock,
								walk->snapshot);
	while (HeapTupleIsValid(tuple = pgqueue_registry_next(&scan)))
	{
		ConsumerGroup group = {0};
		ListedGroup *listed;

		pgqueue_group_read(scan.rel, tuple, &group);
		listed = hash_search(walk->groups, &group.id, HASH_ENTER, NULL);
		listed->name = CStringGetTextDatum(group.name);
		listed->group = group;
		listed->has_topic = false;
	}
	pgqueue_registry_end(&scan);
}

/* List the groups and topics that have members: these may have no offset yet. */
static void
list_members(Walk *walk)
{
	RegistryScan scan = {0};
	HeapTuple	tuple;

	walk->members_only = make_hash("queue pairs with members", sizeof(Pair),
								   sizeof(Pair));
	pgqueue_registry_scan_table(&scan, REGISTRY_MEMBER, AccessShareLock,
								walk->snapshot);
	while (HeapTupleIsValid(tuple = pgqueue_registry_next(&scan)))
	{
		Pair		pair;

		pgqueue_member_pair(&scan, tuple, &pair.group, &pair.topic);
		(void) hash_search(walk->members_only, &pair, HASH_ENTER, NULL);
	}
	pgqueue_registry_end(&scan);
}

/* List the transactions that have locked a group's partition. */
static void
list_holders(Walk *walk)
{
	LockData   *locks = GetLockStatusData();

	for (int i = 0; i < locks->nelements; i++)
	{
		const LockInstanceData *lock = &locks->locks[i];
		const LOCKTAG *tag = &lock->locktag;
		Place		place;
		Holder	   *holder;

		if (tag->locktag_type != LOCKTAG_ADVISORY ||
			tag->locktag_field1 != MyDatabaseId ||
			!(tag->locktag_field4 & PGQUEUE_LOCK_GROUP) ||
			!(lock->holdMask & LOCKBIT_ON(ExclusiveLock)))
			continue;
		place = (Place) {tag->locktag_field2, tag->locktag_field3,
		tag->locktag_field4 & ~PGQUEUE_LOCK_GROUP};
		if (walk->holders == NULL)
			walk->holders = make_hash("queue holders", sizeof(Place),
									  sizeof(Holder));
		holder = hash_search(walk->holders, &place, HASH_ENTER, NULL);
		holder->pid = lock->pid;
	}
}

void
pgqueue_list_all(Walk *walk)
{
	list_topics(walk);
	list_groups(walk);
	list_members(walk);
	list_holders(walk);
}

/*
 * Look up the group and topic of the row at hand, and the group's members
 * there.  Return false if the user may not see the group or the topic.
 */
bool
pgqueue_begin_pair(Walk *walk)
{
	const Place *place = &walk->place;
	Pair		pair = {place->group, place->topic};

	(void) hash_search(walk->members_only, &pair, HASH_REMOVE, NULL);
	walk->topic = hash_search(walk->topics, &place->topic, HASH_FIND, NULL);
	walk->group = hash_search(walk->groups, &place->group, HASH_FIND, NULL);
	if (walk->group != NULL)
		walk->group->has_topic = true;
	if (walk->topic == NULL || walk->group == NULL)
		return false;
	pgqueue_members_read(place->group, place->topic, &walk->members);
	walk->used = 0;
	return true;
}

/*
 * Return the ends of a partition, or NULL if they cannot be read, or if the
 * partition was added, or the topic dropped, since the walk began.
 */
LogEnds *
pgqueue_place_ends(ListedTopic *listed, int32 partition)
{
	KnownEnds  *known;

	if (partition < 0 || partition >= listed->npartitions ||
		listed->topic->id != listed->id)
		return NULL;
	known = &listed->partitions[partition];
	if (!known->asked)
	{
		CHECK_FOR_INTERRUPTS();
		known->asked = true;
		known->known = pgqueue_attempt_log_ends(listed->topic, partition,
												&known->ends, &listed->warned);
	}
	return known->known ? &known->ends : NULL;
}

/* Return the live member of the group that owns a partition, or NULL. */
const Member *
pgqueue_place_owner(const Walk *walk, int32 partition)
{
	for (int i = 0; i < walk->members.n; i++)
	{
		const Member *member = &walk->members.members[i];

		if (member->alive && pgqueue_member_owns(member, partition))
			return member;
	}
	return NULL;
}

/* Return the backend that has the group's partition; 0: none, or unknown. */
int
pgqueue_place_holder(const Walk *walk, int32 partition)
{
	Place		locked = {walk->group->id, walk->topic->id,
	partition % PGQUEUE_LOCKED_PARTITIONS};
	Holder	   *holder = walk->holders == NULL ? NULL :
		hash_search(walk->holders, &locked, HASH_FIND, NULL);

	return holder == NULL ? 0 : holder->pid;
}
