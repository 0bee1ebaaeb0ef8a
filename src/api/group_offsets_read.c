/*-------------------------------------------------------------------------
 *
 * group_offsets_read.c
 *	  Look-ups of queue.group_offsets(): topics, groups, members that have
 *	  messages in hand, lock holders, ends of logs.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "base/base.h"
#include "base/lock.h"
#include "topic/topic.h"
#include "group/group.h"
#include "group/member.h"
#include "api/api.h"
#include "api/group_offsets.h"

static HTAB *
make_hash(const char *name, Size key, Size entry)
{
	HASHCTL		ctl;

	ctl.keysize = key;
	ctl.entrysize = entry;
	ctl.hcxt = CurrentMemoryContext;
	return hash_create(name, 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

void
pgqueue_list_topics(Walk *walk)
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
		listed->asked = palloc0(topic->npartitions * sizeof(bool));
		listed->has_ends = palloc0(topic->npartitions * sizeof(bool));
		listed->ends = palloc(topic->npartitions * sizeof(LogEnds));
		listed->warned = false;
	}
}

void
pgqueue_list_groups(Walk *walk)
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
	}
	pgqueue_registry_end(&scan);
}

/* List the transactions that have locked a group's partition. */
void
pgqueue_list_holders(Walk *walk)
{
	LockData   *locks = GetLockStatusData();

	walk->holders = make_hash("queue holders", sizeof(Place), sizeof(Holder));
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
		place.group = (int32) tag->locktag_field2;
		place.topic = (int32) tag->locktag_field3;
		place.partition = tag->locktag_field4 & ~PGQUEUE_LOCK_GROUP;
		holder = hash_search(walk->holders, &place, HASH_ENTER, NULL);
		holder->pid = lock->pid;
		walk->any_holder = true;
	}
	pfree(locks->locks);
	pfree(locks);
}

/*
 * Look up topic and group of a place, mostly those of the place before.
 * Return false if either is unknown.
 */
bool
pgqueue_hash_look_up(Walk *walk, const Place *place)
{
	if (walk->found.topic != place->topic)
		walk->topic = hash_search(walk->topics, &place->topic, HASH_FIND, NULL);
	if (walk->found.group != place->group)
		walk->group = hash_search(walk->groups, &place->group, HASH_FIND, NULL);
	walk->found = *place;
	return walk->topic != NULL && walk->group != NULL;
}

/*
 * Return the ends of a partition, or NULL if they cannot be read, or if the
 * partition was added, or the topic dropped, since the walk began.
 */
LogEnds *
pgqueue_place_ends(ListedTopic *listed, int32 partition)
{
	if (partition < 0 || partition >= listed->npartitions ||
		listed->topic->id != listed->id)
		return NULL;
	if (!listed->asked[partition])
	{
		CHECK_FOR_INTERRUPTS();
		listed->asked[partition] = true;
		listed->has_ends[partition] =
			pgqueue_attempt_log_ends(listed->topic, partition,
									 &listed->ends[partition],
									 &listed->warned);
	}
	return listed->has_ends[partition] ? &listed->ends[partition] : NULL;
}

/* Return the live member that owns the place, or NULL. */
const Member *
pgqueue_place_owner(Walk *walk, const Place *place)
{
	if (walk->members_of.group != place->group ||
		walk->members_of.topic != place->topic)
	{
		pgqueue_members_read(place->group, place->topic, &walk->members);
		walk->members_of = *place;
		walk->used = 0;
	}
	for (int i = 0; i < walk->members.n; i++)
	{
		const Member *member = &walk->members.members[i];

		for (int k = 0; member->alive && k < member->npartitions; k++)
			if (member->partitions[k] == place->partition)
				return member;
	}
	return NULL;
}
