/*-------------------------------------------------------------------------
 *
 * lease.c
 *	  Leases of members: renewing, joining, leaving.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "base/base.h"
#include "wait/wait.h"
#include "topic/topic.h"
#include "group/group.h"
#include "group/member.h"
#include "group/progress.h"

/*
 * Write a member's row.
 *
 * Locks: the member's.
 */
static void
write_lease(int32 group, int32 topic_id, Member *member)
{
	Datum		values[MEMBER_NATTS];
	bool		nulls[MEMBER_NATTS] = {false};

	values[MEMBER_ATTR_GROUP - 1] = Int32GetDatum(group);
	values[MEMBER_ATTR_TOPIC - 1] = Int32GetDatum(topic_id);
	values[MEMBER_ATTR_LEASE - 1] = Int64GetDatum(member->lease);
	values[MEMBER_ATTR_EXPIRES - 1] = TimestampTzGetDatum(member->expires_at);
	values[MEMBER_ATTR_JOINED - 1] = TimestampTzGetDatum(member->joined_at);
	values[MEMBER_ATTR_NAME - 1] = CStringGetTextDatum(member->name);
	nulls[MEMBER_ATTR_CLIENT - 1] = member->client == NULL;
	if (member->client != NULL)
		values[MEMBER_ATTR_CLIENT - 1] = CStringGetTextDatum(member->client);
	pgqueue_registry_write(REGISTRY_MEMBER, &member->lease_tid, MEMBER_NATTS,
						   values, nulls);
}

/* Return the milliseconds until a lease expires; negative if it has. */
int64
pgqueue_lease_left(const Member *member)
{
	return (member->expires_at - GetCurrentTimestamp()) / 1000;
}

/*
 * Return the client's application name and, if it is not local, its address, or
 * NULL if it has neither.
 */
static char *
client_name(void)
{
	char	   *name = application_name == NULL ? "" : application_name;
	LOCAL_FCINFO(fcinfo, 0);
	Datum		address;

	InitFunctionCallInfoData(*fcinfo, NULL, 0, InvalidOid, NULL, NULL);
	address = inet_client_addr(fcinfo);
	if (!fcinfo->isnull)
		return psprintf("%s@%s", name,
						DatumGetCString(DirectFunctionCall1(inet_out, address)));
	return name[0] == '\0' ? NULL : name;
}

/*
 * Renew a member's lease, or begin it.  A member whose lease had expired joins
 * anew.
 *
 * Locks: the member's, to the end of the transaction.  If another session has
 * it, that session is polling by the same name; wait for it only if the lease
 * has expired, else leave the renewal to it.
 */
void
pgqueue_renew_lease(ConsumerGroup *group, Topic *topic, const char *name,
					int64 lease, bool alive)
{
	Members		members;
	Member	   *me;

	(void) pgqueue_group_lock_shared(group->id, true);
	topic = pgqueue_topic_hold(topic);
	if (!pgqueue_member_lock(group->id, topic->id, name, !alive))
		return;
	pgqueue_group_check_same(group);

	/* what this very command has written can be updated after this */
	CommandCounterIncrement();
	me = pgqueue_member_look_up(group, topic, name, &members);
	if (!me->alive)
		me->joined_at = GetCurrentTimestamp();
	me->lease = lease;
	me->client = client_name();
	me->expires_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
												 lease + lease / 2);
	write_lease(group->id, topic->id, me);
	pgqueue_note_progress(group->id, topic->id, -1, false);
}

/* Renew the lease of a live member if that is possible without waiting. */
void
pgqueue_touch_lease(ConsumerGroup *group, Topic *topic, const char *name)
{
	Members		members;
	Member	   *me;

	me = pgqueue_member_look_up(group, topic, name, &members);
	if (me->alive && pgqueue_lease_left(me) < me->lease)
		pgqueue_renew_lease(group, topic, name, me->lease, true);
}

/*
 * Remove a member.  Messages that it has in hand are taken back: they can be
 * handed to other members at once, and the member cannot commit them any more.
 * Return false if it was not a member.
 *
 * Locks: the member's, and the group's progress in the partitions of which it
 * has messages in hand; waits for both.
 */
bool
pgqueue_member_leave(ConsumerGroup *group, Topic *topic, const char *name)
{
	Members		members;
	Member	   *me;

	(void) pgqueue_group_lock_shared(group->id, true);
	topic = pgqueue_topic_hold(topic);
	(void) pgqueue_member_lock(group->id, topic->id, name, true);
	pgqueue_group_check_same(group);
	CommandCounterIncrement();
	me = pgqueue_member_look_up(group, topic, name, &members);
	if (!ItemPointerIsValid(&me->lease_tid))
		return false;

	/* its assignment is removed when another member balances */
	pgqueue_member_delete(REGISTRY_MEMBER, &me->lease_tid);
	for (int32 p = 0; p < topic->npartitions; p++)
	{
		Progress	progress;

		/* another session may be polling by this name at this moment */
		pgqueue_progress_look(group->id, topic, p, &progress);
		if (!pgqueue_member_holds(&progress, me) &&
			!(pgqueue_member_owns(me, p) &&
			  pgqueue_progress_busy(group->id, topic->id, p)))
			continue;
		(void) pgqueue_progress_lock(group->id, topic->id, p, true);
		pgqueue_progress_read(group->id, topic, p, &progress);
		if (!pgqueue_member_holds(&progress, me))
			continue;
		pgqueue_new_epoch(&progress);
		pgqueue_progress_write(&progress, PROGRESS_UNMOVED);
	}
	pgqueue_note_progress(group->id, topic->id, -1, true);
	return true;
}
