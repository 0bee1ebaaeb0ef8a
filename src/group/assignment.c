/*-------------------------------------------------------------------------
 *
 * assignment.c
 *	  Balance the partitions of a topic over the live members of a
 *	  consumer group.
 *
 * Of n partitions each of m members gets n / m, and n % m of them one more:
 * those that own the most already, so that as few as possible move.
 * (Kafka's cooperative sticky assignor aims at the same.)  The quotas add up
 * to n, so what some members own above their quotas is what others lack, less
 * the partitions that no member owns.
 *
 * member.c says which member balances, and when.
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
 * Return the quota of one member.  owned: how many partitions each member
 * owns, in an order that all members agree on; it decides between members that
 * own equally many.
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

/* Return the tag of the lock under which assignments are changed. */
static LOCKTAG
assignments_tag(const ConsumerGroup *group, const Topic *topic)
{
	return pgqueue_tag(PGQUEUE_LOCK_ASSIGNMENT, group->id, topic->id);
}

/* ---------------- balancing ---------------- */

/* The live members, the partitions that they own, and how many they should. */
typedef struct AssignmentPlan
{
	int			npartitions;
	Member	  **owners;			/* of each partition, or NULL */
	int			nalive;
	Member	  **alive;
	int		   *quotas;
} AssignmentPlan;

/* Compute the plan from the members' rows. */
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

/* Return true if the partition's owner has messages of it in hand. */
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
 * Return a partition that a member with too few can take, or -1.  Prefer one
 * that has no owner.
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

/* Return a partition that a member with too many can give up, or -1. */
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
 * Move partitions to and from a member.  Add the members that lost a partition
 * to *donors.  Return true if the member gave up a partition, so that others
 * may take it now.
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

/* Return true if balance() would move a partition. */
static bool
unbalanced(int32 group, const Topic *topic, const Member *me,
		   const Members *members)
{
	AssignmentPlan plan;

	make_plan(topic, members, &plan);
	return one_to_take(group, topic, &plan, me) >= 0 ||
		one_to_give(group, topic, &plan, me) >= 0;
}

/*
 * Return true if a member should get more partitions, once their owners are
 * done with them.
 */
bool
pgqueue_member_wants_more(const Topic *topic, const Member *me,
						  const Members *members)
{
	AssignmentPlan plan;

	make_plan(topic, members, &plan);
	return me->npartitions < quota_of(&plan, me);
}

/*
 * Return true if a waiting member should poll, to join, to renew its lease or
 * to balance, and that poll can do it.  Set *blocked if another transaction
 * prevents it; the end of that transaction wakes the member
 * (pgqueue_note_progress).
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

	/* as lock_expired_members() will judge them */
	for (int i = 0; i < members->n; i++)
	{
		Member	   *member = &members->members[i];

		if (!member->alive && ItemPointerIsValid(&member->lease_tid))
			member->alive = pgqueue_member_busy(group->id, topic->id,
												member->name);
	}
	if (!me->alive || !unbalanced(group->id, topic, me, members))
		return false;
	if (!pgqueue_lock_is_held(assignments_tag(group, topic), ExclusiveLock))
		return true;
	*blocked = true;
	return false;
}

/*
 * Add to the partitions that a member owns those of which it has messages in
 * hand although another member owns them now: it is to be handed them, too.
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
 * Read the members, and mark as dead those whose lease has expired and that
 * are not renewing it.  Those are locked, so they cannot renew it before the
 * end of this transaction; hence read them again after they are locked.
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

/* Change the assignments, unless another transaction is changing them. */
static void
rebalance(ConsumerGroup *group, Topic *topic, const char *name)
{
	Members		members;
	Member	   *me;
	List	   *donors = NIL;
	ListCell   *lc;

	if (!pgqueue_lock(assignments_tag(group, topic), ExclusiveLock, false))
		return;
	topic = pgqueue_topic_refresh(topic);
	/* what this very command has written can be updated after this */
	CommandCounterIncrement();
	lock_expired_members(group, topic, &members);
	me = pgqueue_member_of(&members, name);
	if (me == NULL || !me->alive)
		return;					/* it has been made to leave */
	/* wake members that wait for a partition to be given up, or for this lock */
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
 * Renew a member's lease for a poll, and balance.  Return the member with the
 * partitions of which it is to be handed messages.
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
