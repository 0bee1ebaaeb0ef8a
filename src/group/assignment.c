/*-------------------------------------------------------------------------
 *
 * assignment.c
 *	  Balance the partitions of a topic over the live members of a
 *	  consumer group.
 *
 * Of n partitions each of m members gets n / m, and n % m of them one more:
 * those that own the most already, so that as few as possible move.
 * (Kafka's cooperative sticky assignor aims at the same.)  The quotas add up
 * to n, so what some own above theirs is what others lack, less what nobody
 * owns.
 *
 * member.c says who balances, and when.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/pg_collation_d.h"
#include "catalog/pg_type_d.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "nodes/value.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/base.h"
#include "base/lock.h"
#include "wait/wait.h"
#include "topic/topic.h"
#include "group/group.h"
#include "group/member.h"
#include "group/progress.h"

/*
 * The quota of one member.	 owned: how many each owns, in an order that all
 * members agree on; it decides between those who own as many.
 */
static int
pgqueue_quota(const int *owned, int nmembers, int me, int npartitions)
{
	int			rank = 0;

	for (int i = 0; i < nmembers; i++)
		if (owned[i] > owned[me] || (owned[i] == owned[me] && i < me))
			rank++;
	return npartitions / nmembers + (rank < npartitions % nmembers ? 1 : 0);
}

static void
assignments_tag(LOCKTAG *tag, int32 group, int32 topic_id)
{
	SET_LOCKTAG_ADVISORY(*tag, MyDatabaseId, group, topic_id,
						 PGQUEUE_LOCK_ASSIGNMENT);
}

/* Whoever has it may change assignments. */
static bool
try_lock_assignments(int32 group, int32 topic_id)
{
	LOCKTAG		tag;

	assignments_tag(&tag, group, topic_id);
	return pgqueue_lock(&tag, ExclusiveLock, false);
}

/* Is another transaction changing them? */
static bool
assignments_busy(int32 group, int32 topic_id)
{
	LOCKTAG		tag;

	assignments_tag(&tag, group, topic_id);
	return pgqueue_lock_is_held(&tag, ExclusiveLock);
}

/* ---------------- balancing ---------------- */

/* Who owns what, among the living. */
typedef struct AssignmentPlan
{
	int			npartitions;
	Member	  **owners;			/* of each partition, or NULL */
	int			nalive;
	Member	  **alive;
	int		   *quotas;
} AssignmentPlan;

static void
make_plan(const Topic *topic, const Members *members, AssignmentPlan *plan)
{
	int		   *owned = palloc0(members->n * sizeof(int));

	plan->npartitions = topic->npartitions;
	plan->owners = palloc0(plan->npartitions * sizeof(Member *));
	plan->alive = palloc(members->n * sizeof(Member *));
	plan->quotas = palloc(members->n * sizeof(int));
	plan->nalive = 0;
	for (int i = 0; i < members->n; i++)
	{
		Member	   *member = &members->members[i];

		if (!member->alive)
			continue;
		for (int k = 0; k < member->npartitions; k++)
			if (member->partitions[k] < plan->npartitions)
				plan->owners[member->partitions[k]] = member;
		owned[plan->nalive] = member->npartitions;
		plan->alive[plan->nalive++] = member;
	}
	for (int i = 0; i < plan->nalive; i++)
		plan->quotas[i] = pgqueue_quota(owned, plan->nalive, i,
										plan->npartitions);
}

static int
quota_of(const AssignmentPlan *plan, const Member *member)
{
	for (int i = 0; i < plan->nalive; i++)
		if (plan->alive[i] == member)
			return plan->quotas[i];
	return 0;
}

/* Are messages of the partition in its owner's hand? */
static bool
in_owners_hand(int32 group, const Topic *topic, const Member *owner,
			   int32 partition)
{
	Progress	progress;

	pgqueue_progress_look(group, topic, partition, &progress);
	return pgqueue_member_holds(&progress, owner) &&
		   pgqueue_member_handed(owner, &progress);
}

/*
 * A partition that a member with too few may have, or -1.  First those of
 * nobody.
 */
static int32
one_to_take(int32 group, const Topic *topic, const AssignmentPlan *plan,
			const Member *me)
{
	if (me->npartitions >= quota_of(plan, me))
		return -1;
	for (int32 p = 0; p < plan->npartitions; p++)
		if (plan->owners[p] == NULL)
			return p;
	for (int i = 0; i < plan->nalive; i++)
	{
		const Member *owner = plan->alive[i];

		if (owner == me || owner->npartitions <= plan->quotas[i])
			continue;
		/* two own the same if a superuser has written to queue.assignment */
		for (int k = owner->npartitions - 1; k >= 0; k--)
			if (owner->partitions[k] < plan->npartitions &&
				plan->owners[owner->partitions[k]] == owner &&
				!in_owners_hand(group, topic, owner, owner->partitions[k]))
				return owner->partitions[k];
	}
	return -1;
}

/* A partition that a member with too many can give up, or -1. */
static int32
one_to_give(int32 group, const Topic *topic, const AssignmentPlan *plan,
			const Member *me)
{
	if (me->npartitions <= quota_of(plan, me))
		return -1;
	for (int k = me->npartitions - 1; k >= 0; k--)
		if (me->partitions[k] < plan->npartitions &&
			!in_owners_hand(group, topic, me, me->partitions[k]))
			return me->partitions[k];
	return -1;
}

static void
remove_partition(Member *member, int32 partition)
{
	int			n = 0;

	for (int i = 0; i < member->npartitions; i++)
		if (member->partitions[i] != partition)
			member->partitions[n++] = member->partitions[i];
	member->npartitions = n;
}

static void
add_partition(Member *member, int32 partition)
{
	if (member->npartitions >= member->room)
	{
		int32	   *grown;

		member->room = 2 * member->npartitions + 8;
		grown = palloc(member->room * sizeof(int32));
		if (member->npartitions > 0)
			memcpy(grown, member->partitions,
				   member->npartitions * sizeof(int32));
		member->partitions = grown;
	}
	member->partitions[member->npartitions++] = partition;
}

/*
 * Move partitions to and from a member.  donors: rows that changed, too.
 * Returns whether others may find something that is free now.
 */
static bool
balance(int32 group, const Topic *topic, const Members *members, Member *me,
		List **donors)
{
	AssignmentPlan plan;
	bool		gave = false;
	int32		p;

	make_plan(topic, members, &plan);
	while ((p = one_to_take(group, topic, &plan, me)) >= 0)
	{
		if (plan.owners[p] != NULL)
		{
			remove_partition(plan.owners[p], p);
			*donors = list_append_unique_ptr(*donors, plan.owners[p]);
		}
		plan.owners[p] = me;
		add_partition(me, p);
	}
	while ((p = one_to_give(group, topic, &plan, me)) >= 0)
	{
		remove_partition(me, p);
		plan.owners[p] = NULL;
		gave = true;
	}
	return gave;
}

/* Would balance() do anything? */
static bool
unbalanced(int32 group, const Topic *topic, const Member *me,
		   const Members *members)
{
	AssignmentPlan plan;

	make_plan(topic, members, &plan);
	return one_to_take(group, topic, &plan, me) >= 0 ||
		one_to_give(group, topic, &plan, me) >= 0;
}

/* Is a member to get more partitions, once their owners are done with them? */
bool
pgqueue_member_wants_more(const Topic *topic, const Member *me,
						  const Members *members)
{
	AssignmentPlan plan;

	make_plan(topic, members, &plan);
	return me->npartitions < quota_of(&plan, me);
}

/*
 * Should a member that waits go and poll: to join, to live on, to balance?	 Only
 * if that poll can do it.	*blocked: set if another transaction keeps it from
 * that; its end is told (pgqueue_note_progress).
 */
bool
pgqueue_member_should_poll(const ConsumerGroup *group, const Topic *topic,
						   const Member *me, Members *members, bool *blocked)
{
	if (me == NULL)
		return true;
	if (!me->alive || pgqueue_lease_left(me) < me->lease / 2)
	{
		if (!pgqueue_member_busy(group->id, topic->id, me->name))
			return true;
		*blocked = true;
	}

	/* as lock_expired_members() will see them */
	for (int i = 0; i < members->n; i++)
	{
		Member	   *member = &members->members[i];

		if (!member->alive && ItemPointerIsValid(&member->lease_tid))
			member->alive = pgqueue_member_busy(group->id, topic->id,
												member->name);
	}
	if (!me->alive || !unbalanced(group->id, topic, me, members))
		return false;
	if (!assignments_busy(group->id, topic->id))
		return true;
	*blocked = true;
	return false;
}

/*
 * What a member is to be handed: the partitions that it owns, and those of which
 * it has messages in hand although they are another's now.
 */
static void
add_held(int32 group, const Topic *topic, Member *me)
{
	for (int32 p = 0; p < topic->npartitions; p++)
	{
		Progress	progress;

		if (pgqueue_member_owns(me, p))
			continue;
		pgqueue_progress_look(group, topic, p, &progress);
		if (pgqueue_member_holds(&progress, me) &&
			pgqueue_member_handed(me, &progress))
			add_partition(me, p);
	}
}

/*
 * Read the members, and tell the dead: whose lease is over, unless it is about
 * to renew it.	 The dead are locked, so they cannot come back until we are done;
 * hence they are read after that.
 */
static void
lock_expired_members(const ConsumerGroup *group, const Topic *topic,
					 Members *members)
{
	List	   *locked = NIL;

	pgqueue_members_read(group->id, topic->id, members);
	for (int i = 0; i < members->n; i++)
	{
		const Member *member = &members->members[i];

		if (!member->alive && ItemPointerIsValid(&member->lease_tid) &&
			pgqueue_member_lock(group->id, topic->id, member->name, false))
			locked = lappend(locked, makeString(member->name));
	}
	pgqueue_members_read(group->id, topic->id, members);
	for (int i = 0; i < members->n; i++)
	{
		Member	   *member = &members->members[i];

		if (!member->alive && ItemPointerIsValid(&member->lease_tid))
			member->alive = !list_member(locked, makeString(member->name));
	}
}

/* Change who owns what, if nobody else does at this moment. */
static void
rebalance(ConsumerGroup *group, Topic *topic, const char *name)
{
	Members		members;
	Member	   *me;
	List	   *donors = NIL;
	ListCell   *lc;

	if (!try_lock_assignments(group->id, topic->id))
		return;
	topic = pgqueue_topic_refresh(topic);
	/* what this very command has written can be updated after this */
	CommandCounterIncrement();
	lock_expired_members(group, topic, &members);
	me = pgqueue_member_of(&members, name);
	if (me == NULL || !me->alive)
		return;					/* it has been made to leave */
	/* who waits for something to be given up, or for us, is to look */
	pgqueue_note_progress(group->id, topic->id, -1,
						  balance(group->id, topic, &members, me, &donors));

	for (int i = 0; i < members.n; i++)
		if (!members.members[i].alive)
		{
			pgqueue_member_delete(REGISTRY_MEMBER,
								  &members.members[i].lease_tid);
			pgqueue_member_delete(REGISTRY_ASSIGNMENT,
								  &members.members[i].assignment_tid);
		}
	foreach(lc, donors)
		pgqueue_assignment_write(group->id, topic->id, lfirst(lc));
	pgqueue_assignment_write(group->id, topic->id, me);
}

/*
 * Keep a member alive for a poll, and give it its share of the partitions.
 * Returns what it is to be handed messages of.
 */
Member *
pgqueue_member_refresh(ConsumerGroup *group, Topic *topic, const char *name,
					 int64 lease)
{
	Members		members;
	Member	   *me = pgqueue_member_look_up(group, topic, name, &members);
	bool		renew = !me->alive || me->lease != lease ||
	pgqueue_lease_left(me) < lease;

	if (renew)
	{
		pgqueue_renew_lease(group, topic, name, lease, me->alive);
		topic = pgqueue_topic_refresh(topic);
		me = pgqueue_member_look_up(group, topic, name, &members);
	}
	if (me->alive && unbalanced(group->id, topic, me, &members))
	{
		(void) pgqueue_group_lock_shared(group->id, true);
		topic = pgqueue_topic_hold(topic);
		pgqueue_group_check_same(group);
		rebalance(group, topic, name);
		me = pgqueue_member_look_up(group, topic, name, &members);
	}
	if (renew)
		add_held(group->id, topic, me);
	return me;
}
