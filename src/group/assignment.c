/*-------------------------------------------------------------------------
 *
 * assignment.c
 *	  Balance the partitions of a topic over the live members of a group.
 *
 * Of n used partitions each of m members gets n / m, and n % m of them one more:
 * those that own the most already, so that as few as possible move.
 * (Kafka's cooperative sticky assignor aims at the same.)  The quotas add up
 * to n, so what some members own above their quotas is what others lack, less
 * the partitions that no member owns.
 *
 * A member that polls, and owns too few or too many partitions, balances.  A
 * partition moves only when its owner has none of its messages in hand, or is
 * dead.
 *
 * Partitions that are not used have no owner: so the members share those that have
 * messages.  When one becomes used the number only grows, and no quota falls; a
 * member that waits is woken by the first message there (ready.c).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "nodes/value.h"

#include "base/base.h"
#include "base/lock.h"
#include "wait/wait.h"
#include "topic/topic.h"
#include "group/group.h"
#include "group/member.h"
#include "group/progress.h"

/* Return the tag of the lock under which assignments are changed. */
static LOCKTAG
assignments_tag(const ConsumerGroup *group, const Topic *topic)
{
	return pgqueue_tag(PGQUEUE_LOCK_ASSIGNMENT, group->id, topic->id);
}

/* Which partitions the members should own; their quotas are in the members. */
typedef struct AssignmentPlan
{
	const ConsumerGroup *group;
	const Topic *topic;
	const Members *members;
	int			n;
	int32	   *numbers;		/* of the used partitions, ascending */
	Member	  **owners;			/* of each of these, or NULL */
} AssignmentPlan;

static int
compare_numbers(const void *a, const void *b)
{
	int32		x = *(const int32 *) a;
	int32		y = *(const int32 *) b;

	return x < y ? -1 : x > y;
}

/* Return where the plan has a partition's owner, or NULL if it is not used. */
static Member **
owner_in(const AssignmentPlan *plan, int32 partition)
{
	int32	   *number = bsearch(&partition, plan->numbers, plan->n,
								 sizeof(int32), compare_numbers);

	return number == NULL ? NULL : &plan->owners[number - plan->numbers];
}

/*
 * Return the quota of a live member.  Members agree on the order of the array,
 * which decides between members that own equally many partitions.
 */
static int
quota_of(const Members *members, const Member *me, int nalive, int npartitions)
{
	int			rank = 0;

	for (int i = 0; i < members->n; i++)
	{
		const Member *other = &members->members[i];

		if (other->alive &&
			(other->npartitions > me->npartitions ||
			 (other->npartitions == me->npartitions && other < me)))
			rank++;
	}
	return npartitions / nalive + (rank < npartitions % nalive ? 1 : 0);
}

/* Compute the plan from the members' rows, and the members' quotas. */
static void
make_plan(const ConsumerGroup *group, const Topic *topic, Members *members,
		  AssignmentPlan *plan)
{
	int			nalive = 0;

	plan->group = group;
	plan->topic = topic;
	plan->members = members;
	plan->numbers = pgqueue_used_partitions(topic, &plan->n);
	plan->owners = palloc0(plan->n * sizeof(Member *) + 1);
	for (int i = 0; i < members->n; i++)
	{
		Member	   *member = &members->members[i];

		if (!member->alive)
			continue;
		nalive++;
		for (int k = 0; k < member->npartitions; k++)
		{
			Member	  **owner = owner_in(plan, member->partitions[k]);

			if (owner != NULL)
				*owner = member;
		}
	}
	for (int i = 0; i < members->n; i++)
	{
		Member	   *member = &members->members[i];

		member->quota = !member->alive ? 0 :
			quota_of(members, member, nalive, plan->n);
	}
}

/* Return true if a member has messages of the partition in hand, as of now. */
static bool
has_in_hand(const ConsumerGroup *group, const Topic *topic,
			const Member *member, int32 partition)
{
	Progress	progress;

	pgqueue_progress_look(group->id, topic, partition, &progress);
	return pgqueue_member_holds(&progress, member) &&
		pgqueue_member_handed(member, &progress);
}

/*
 * Return a partition that a member owns and has no messages of in hand, or -1.
 * If two own it, since a superuser has written to queue.assignment, a third one
 * takes it from the owner in the plan.
 */
static int32
one_to_lose(const AssignmentPlan *plan, const Member *owner, const Member *me)
{
	for (int k = owner->npartitions - 1; k >= 0; k--)
	{
		int32		p = owner->partitions[k];
		Member	  **planned = owner_in(plan, p);

		if (planned != NULL && (owner == me || *planned == owner) &&
			!has_in_hand(plan->group, plan->topic, owner, p))
			return p;
	}
	return -1;
}

/* Return a partition that a member with too few can take, or -1. */
static int32
one_to_take(const AssignmentPlan *plan, const Member *me)
{
	int32		taken = -1;

	if (me->npartitions >= me->quota)
		return -1;
	for (int i = 0; i < plan->n; i++)
		if (plan->owners[i] == NULL)
			return plan->numbers[i];
	for (int i = 0; i < plan->members->n && taken < 0; i++)
	{
		const Member *owner = &plan->members->members[i];

		if (owner->alive && owner != me && owner->npartitions > owner->quota)
			taken = one_to_lose(plan, owner, me);
	}
	return taken;
}

/* Return a partition that a member with too many can give up. */
static int32
one_to_give(const AssignmentPlan *plan, const Member *me)
{
	return me->npartitions <= me->quota ? -1 : one_to_lose(plan, me, me);
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
	Size		bytes = (member->npartitions + 1) * sizeof(int32);

	member->partitions = member->partitions == NULL ? palloc(bytes) :
		repalloc(member->partitions, bytes);
	member->partitions[member->npartitions++] = partition;
}

/*
 * Move partitions to and from a member.  Add the members that lost a partition
 * to *donors.  Return true if the member gave up a partition.
 */
static bool
balance(const ConsumerGroup *group, const Topic *topic, Members *members,
		Member *me, List **donors)
{
	AssignmentPlan plan;
	bool		gave = false;
	int32		p;

	make_plan(group, topic, members, &plan);
	while ((p = one_to_take(&plan, me)) >= 0)
	{
		Member	  **owner = owner_in(&plan, p);

		if (*owner != NULL)
		{
			remove_partition(*owner, p);
			*donors = list_append_unique_ptr(*donors, *owner);
		}
		*owner = me;
		add_partition(me, p);
	}
	while ((p = one_to_give(&plan, me)) >= 0)
	{
		remove_partition(me, p);
		*owner_in(&plan, p) = NULL;
		gave = true;
	}
	return gave;
}

/* Return true if balance() would move a partition. */
static bool
unbalanced(const ConsumerGroup *group, const Topic *topic, const Member *me,
		   Members *members)
{
	AssignmentPlan plan;

	make_plan(group, topic, members, &plan);
	return one_to_take(&plan, me) >= 0 || one_to_give(&plan, me) >= 0;
}

static bool
has_expired(const Member *member)
{
	return !member->alive && ItemPointerIsValid(&member->lease_tid);
}

/* Return true if another transaction has the member's lock at this moment. */
static bool
is_busy(const ConsumerGroup *group, const Topic *topic, const Member *member)
{
	LOCKTAG		tag = pgqueue_member_tag(group->id, topic->id, member->name);

	return pgqueue_lock_is_held(tag, ExclusiveLock);
}

/*
 * Return true if a waiting member should poll, to join, to renew its lease or
 * to balance, and that poll can do it.  Set *blocked if another transaction
 * prevents it.  If the member need not poll, its quota is set.
 */
bool
pgqueue_member_should_poll(const ConsumerGroup *group, const Topic *topic,
						   const Member *me, Members *members, bool *blocked)
{
	if (me == NULL)
		return true;
	if (!me->alive || pgqueue_lease_left(me) < me->lease / 2)
	{
		if (!is_busy(group, topic, me))
			return true;
		*blocked = true;
	}

	/* as lock_expired_members() will judge them */
	for (int i = 0; i < members->n; i++)
	{
		Member	   *member = &members->members[i];

		if (has_expired(member))
			member->alive = is_busy(group, topic, member);
	}
	if (!me->alive || !unbalanced(group, topic, me, members))
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
add_held(const ConsumerGroup *group, const Topic *topic, Member *me)
{
	for (int32 p = -1; (p = pgqueue_next_used(topic, p)) >= 0;)
		if (!pgqueue_member_owns(me, p) && has_in_hand(group, topic, me, p))
			add_partition(me, p);
}

/*
 * Read the members, and mark as dead those whose lease has expired and that are
 * not renewing it: they are locked, so that they cannot, and then read again.
 */
static void
lock_expired_members(const ConsumerGroup *group, const Topic *topic,
					 Members *members)
{
	List	   *locked = NIL;

	pgqueue_members_read(group->id, topic->id, members);
	for (int i = 0; i < members->n; i++)
	{
		char	   *name = members->members[i].name;

		if (has_expired(&members->members[i]) &&
			pgqueue_lock(pgqueue_member_tag(group->id, topic->id, name),
						 ExclusiveLock, false))
			locked = lappend(locked, makeString(name));
	}
	pgqueue_members_read(group->id, topic->id, members);
	for (int i = 0; i < members->n; i++)
	{
		Member	   *member = &members->members[i];

		if (has_expired(member))
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
	/* wake members that wait for a partition, or for this lock */
	pgqueue_note_progress(group->id, topic->id, -1,
						  balance(group, topic, &members, me, &donors));

	for (int i = 0; i < members.n; i++)
	{
		Member	   *member = &members.members[i];

		if (member->alive)
			continue;
		pgqueue_member_delete(REGISTRY_MEMBER, &member->lease_tid);
		pgqueue_member_delete(REGISTRY_ASSIGNMENT, &member->assignment_tid);
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
	if (me->alive && unbalanced(group, topic, me, &members))
	{
		(void) pgqueue_group_lock_shared(group->id, true);
		topic = pgqueue_topic_hold(topic);
		pgqueue_group_check_same(group);
		rebalance(group, topic, name);
		me = pgqueue_member_look_up(group, topic, name, &members);
	}
	if (renew)
		add_held(group, topic, me);
	return me;
}
