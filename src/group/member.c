/*-------------------------------------------------------------------------
 *
 * member.c
 *	  Members of a consumer group: their leases, and the partitions they own.
 *
 * A client that works outside the database polls under a member's name
 * (api/poll.c).  Two tables, a row of each for a member and a topic:
 *
 *   queue.member       group_id int4 | topic_id int4 | lease int8, ms |
 *                      expires_at timestamptz | joined_at timestamptz |
 *                      name text | client text
 *   queue.assignment   group_id int4 | topic_id int4 | name text |
 *                      partitions int4[]
 *
 * Rows are updated in place, and seldom: when less than a whole lease is left,
 * a poll renews it for one and a half, so it writes once in half a lease.
 *
 * A member is dead if its lease has expired and its lock can be acquired, that
 * is, it is not renewing the lease.  Proofs: src/README, section 12.
 *
 * A member that polls while one of its partitions is moved may still be handed
 * messages of it; the new owner then waits until they are committed or the
 * lease expires.  The poll that next renews the member's lease hands them to it
 * again, in case it has lost them.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/snapmgr.h"

#include "base/base.h"
#include "base/data.h"
#include "base/lock.h"
#include "wait/wait.h"
#include "topic/topic.h"
#include "group/group.h"
#include "group/member.h"
#include "group/progress.h"

/* Columns of queue.member. */
#define MEMBER_ATTR_GROUP		1
#define MEMBER_ATTR_TOPIC		2
#define MEMBER_ATTR_LEASE		3
#define MEMBER_ATTR_EXPIRES		4
#define MEMBER_ATTR_JOINED		5
#define MEMBER_ATTR_NAME		6
#define MEMBER_ATTR_CLIENT		7
#define MEMBER_NATTS			7

/* Columns of queue.assignment. */
#define ASSIGN_ATTR_GROUP		1
#define ASSIGN_ATTR_TOPIC		2
#define ASSIGN_ATTR_NAME		3
#define ASSIGN_ATTR_PARTITIONS	4
#define ASSIGN_NATTS			4

/* Errors: 42602 for an empty or overlong name. */
char *
pgqueue_member_arg(text *name)
{
	return pgqueue_name_arg(name, "member name");
}

/*
 * Return the tag of a member's own lock.  Members with the same hash would only
 * wait for each other.
 */
LOCKTAG
pgqueue_member_tag(int32 group, int32 topic_id, const char *name)
{
	uint64		seed = (uint64) group << 32 | (uint32) topic_id;

	return pgqueue_tag_by_hash(PGQUEUE_LOCK_MEMBER, seed, name);
}

/* ---------------- reading ---------------- */

static void
read_member(Relation rel, HeapTuple tuple, Member *member)
{
	Datum		values[MEMBER_NATTS];
	bool		nulls[MEMBER_NATTS];

	pgqueue_registry_read(rel, tuple, MEMBER_NATTS, values, nulls);
	member->name = TextDatumGetCString(values[MEMBER_ATTR_NAME - 1]);
	member->client = nulls[MEMBER_ATTR_CLIENT - 1] ? NULL :
		TextDatumGetCString(values[MEMBER_ATTR_CLIENT - 1]);
	member->lease = DatumGetInt64(values[MEMBER_ATTR_LEASE - 1]);
	member->expires_at = DatumGetTimestampTz(values[MEMBER_ATTR_EXPIRES - 1]);
	member->joined_at = DatumGetTimestampTz(values[MEMBER_ATTR_JOINED - 1]);
	member->alive = member->expires_at > GetCurrentTimestamp();
	member->lease_tid = tuple->t_self;
}

/* Add a member that has no rows yet to the array, and return it. */
static Member *
new_member(Members *members, const char *name)
{
	Member	   *member;

	if (members->n == members->room)
	{
		members->room *= 2;
		members->members = repalloc(members->members,
									members->room * sizeof(Member));
	}
	member = &members->members[members->n++];
	memset(member, 0, sizeof(Member));
	member->name = pstrdup(name);
	return member;
}

/* Return the member of that name, or NULL. */
Member *
pgqueue_member_of(const Members *members, const char *name)
{
	for (int i = 0; i < members->n; i++)
		if (strcmp(members->members[i].name, name) == 0)
			return &members->members[i];
	return NULL;
}

static Member *
member_or_new(Members *members, const char *name)
{
	Member	   *member = pgqueue_member_of(members, name);

	return member != NULL ? member : new_member(members, name);
}

/*
 * Read which partitions a member owns.  Some may have been added to the topic
 * since this session looked it up: the caller compares.
 */
static void
read_assignment(Relation rel, HeapTuple tuple, Members *members)
{
	Datum		values[ASSIGN_NATTS];
	bool		nulls[ASSIGN_NATTS];
	ArrayType  *array;
	const int32 *numbers;
	int			n;
	Member	   *member;

	pgqueue_registry_read(rel, tuple, ASSIGN_NATTS, values, nulls);
	member = member_or_new(members,
						   TextDatumGetCString(values[ASSIGN_ATTR_NAME - 1]));
	array = DatumGetArrayTypeP(values[ASSIGN_ATTR_PARTITIONS - 1]);
	numbers = (const int32 *) ARR_DATA_PTR(array);
	n = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	member->partitions = palloc(n * sizeof(int32));
	member->npartitions = 0;
	/* a superuser may have written to the row */
	for (int i = 0; i < n && !ARR_HASNULL(array); i++)
		if (numbers[i] >= 0 && numbers[i] < PGQUEUE_MAX_PARTITIONS)
			member->partitions[member->npartitions++] = numbers[i];
	member->assignment_tid = tuple->t_self;
}

/*
 * Read the members of a group in a topic, as of now; also dead ones, and those
 * that have left and still have an assignment.
 */
void
pgqueue_members_read(int32 group, int32 topic_id, Members *members)
{
	RegistryScan scan = {0};
	RegistryScan assignments = {0};
	HeapTuple	tuple;

	members->n = 0;
	members->room = 8;
	members->members = palloc(members->room * sizeof(Member));
	pgqueue_group_scan(&scan, REGISTRY_MEMBER, group, topic_id, -1);
	while (HeapTupleIsValid(tuple = pgqueue_registry_next(&scan)))
		read_member(scan.rel, tuple, new_member(members, ""));
	pgqueue_registry_end(&scan);
	pgqueue_group_scan(&assignments, REGISTRY_ASSIGNMENT, group, topic_id, -1);
	while (HeapTupleIsValid(tuple = pgqueue_registry_next(&assignments)))
		read_assignment(assignments.rel, tuple, members);
	pgqueue_registry_end(&assignments);
}

/* Return the group and the topic of a row of queue.member. */
void
pgqueue_member_pair(const RegistryScan *scan, HeapTuple tuple, int32 *group,
					int32 *topic_id)
{
	*group = DatumGetInt32(pgqueue_registry_column(scan, tuple,
												   MEMBER_ATTR_GROUP));
	*topic_id = DatumGetInt32(pgqueue_registry_column(scan, tuple,
													  MEMBER_ATTR_TOPIC));
}

/* Read the members, and return one of them; without rows it owns nothing. */
Member *
pgqueue_member_look_up(const ConsumerGroup *group, const Topic *topic,
					   const char *name, Members *members)
{
	pgqueue_members_read(group->id, topic->id, members);
	return member_or_new(members, name);
}

/* ---------------- messages in hand ---------------- */

/* Return true if the member has messages of the partition in hand. */
bool
pgqueue_member_holds(const Progress *progress, const Member *member)
{
	return pgqueue_in_hand(progress) &&
		strcmp(progress->member, member->name) == 0;
}

/* Return true if the messages were handed out since the member joined. */
bool
pgqueue_member_handed(const Member *member, const Progress *progress)
{
	/* an epoch is a time: see pgqueue_new_epoch() */
	return progress->epoch >= member->joined_at;
}

/*
 * Return true if the member that has messages in hand has been alive since they
 * were handed out.  A member that has joined again, by the same name, does not
 * know of them any more; no member could be handed them as long as it lives.
 */
bool
pgqueue_holder_alive(const Progress *progress)
{
	RegistryScan scan = {0};
	HeapTuple	tuple;
	Member		member = {0};

	pgqueue_registry_key_int4(&scan, MEMBER_ATTR_GROUP, progress->group_id);
	pgqueue_registry_key_int4(&scan, MEMBER_ATTR_TOPIC, progress->topic->id);
	pgqueue_registry_key_text(&scan, MEMBER_ATTR_NAME, progress->member);
	pgqueue_registry_scan(&scan, REGISTRY_MEMBER, AccessShareLock,
						  SnapshotSelf);
	tuple = pgqueue_registry_next(&scan);
	if (HeapTupleIsValid(tuple))
		read_member(scan.rel, tuple, &member);
	pgqueue_registry_end(&scan);
	return member.alive && pgqueue_member_handed(&member, progress);
}

bool
pgqueue_member_owns(const Member *member, int32 partition)
{
	for (int i = 0; i < member->npartitions; i++)
		if (member->partitions[i] == partition)
			return true;
	return false;
}

/* ---------------- writing ---------------- */

/* Write the partitions that a member owns.  Locks: the assignments. */
void
pgqueue_assignment_write(int32 group, int32 topic_id, Member *member)
{
	int			n = member->npartitions;
	Datum	   *numbers = palloc(n * sizeof(Datum));
	Datum		values[ASSIGN_NATTS];
	bool		nulls[ASSIGN_NATTS] = {false};

	for (int i = 0; i < n; i++)
		numbers[i] = Int32GetDatum(member->partitions[i]);
	values[ASSIGN_ATTR_GROUP - 1] = Int32GetDatum(group);
	values[ASSIGN_ATTR_TOPIC - 1] = Int32GetDatum(topic_id);
	values[ASSIGN_ATTR_NAME - 1] = CStringGetTextDatum(member->name);
	values[ASSIGN_ATTR_PARTITIONS - 1] =
		PointerGetDatum(construct_array(numbers, n, INT4OID, sizeof(int32), true,
										TYPALIGN_INT));
	pgqueue_registry_write(REGISTRY_ASSIGNMENT, &member->assignment_tid,
						   ASSIGN_NATTS, values, nulls);
}

/* Delete a row of a member, if there is one. */
void
pgqueue_member_delete(RegistryTable table, ItemPointer tid)
{
	if (ItemPointerIsValid(tid))
		pgqueue_registry_delete_row(table, tid);
}

/* ---------------- leases ---------------- */

/* Write a member's lease.  Locks: the member's. */
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

/* Return the client's application name and, unless it is local, its address. */
static char *
client_name(void)
{
	char	   *name = application_name == NULL ? "" : application_name;
	LOCAL_FCINFO(fcinfo, 0);
	Datum		address;

	InitFunctionCallInfoData(*fcinfo, NULL, 0, InvalidOid, NULL, NULL);
	address = inet_client_addr(fcinfo);
	if (fcinfo->isnull)
		return name[0] == '\0' ? NULL : name;
	address = DirectFunctionCall1(inet_out, address);
	return psprintf("%s@%s", name, DatumGetCString(address));
}

/*
 * Renew a member's lease, or begin it.  A member that is not alive joins anew.
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
	if (!pgqueue_lock(pgqueue_member_tag(group->id, topic->id, name),
					  ExclusiveLock, !alive))
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
	Member	   *me = pgqueue_member_look_up(group, topic, name, &members);

	if (me->alive && pgqueue_lease_left(me) < me->lease)
		pgqueue_renew_lease(group, topic, name, me->lease, true);
}

/*
 * Remove a member, and take back the messages that it has in hand.  Return
 * false if it was not a member.
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
	(void) pgqueue_lock(pgqueue_member_tag(group->id, topic->id, name),
						ExclusiveLock, true);
	pgqueue_group_check_same(group);
	CommandCounterIncrement();
	me = pgqueue_member_look_up(group, topic, name, &members);
	if (!ItemPointerIsValid(&me->lease_tid))
		return false;

	/* its assignment is removed when another member balances */
	pgqueue_member_delete(REGISTRY_MEMBER, &me->lease_tid);
	for (int32 p = -1; (p = pgqueue_next_used(topic, p)) >= 0;)
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
