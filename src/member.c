/*-------------------------------------------------------------------------
 *
 * member.c
 *	  Members of a consumer group: their leases, and the partitions they own.
 *
 * Who works outside the database polls under a member's name (poll.c).	 Two
 * tables, a row of each for a member and a topic:
 *
 *	 queue.member		group_id int4 | topic_id int4 | lease int8, ms |
 *						expires_at timestamptz | joined_at timestamptz |
 *						name text | client text
 *	 queue.assignment	group_id int4 | topic_id int4 | name text |
 *						partitions int4[]
 *
 * Rows are updated in place, and seldom: a poll renews the lease once less than
 * a whole one is left, for half of one more, so it writes once in half a lease.
 *
 * A lease is written by its member only, under a lock of its own, so nobody
 * keeps anybody from living on.  Assignments are written under the lock of
 * (group, topic), which is only tried: who does not get it polls what it owns,
 * and balances another time.
 *
 * Partitions are balanced by whoever polls and finds that it has too few or too
 * many (balance.c).  It takes what nobody alive owns, then from those who have
 * too many what they have no messages in hand of; it gives up what it has too
 * many of.	 So a partition moves only when its owner is done with its batch, or
 * is dead.	 Dead is whose lease is over and who is not about to renew it: its
 * lock can be had.
 *
 * Who owns what is a matter of scheduling only.  What keeps two members apart
 * is the partition's progress: whose the messages in hand are, and by which
 * epoch (progress.c).	A member that polls while one of its partitions is moved
 * may still be handed messages of it; the new owner then waits until they are
 * committed or the lease is over.  With the poll that next renews its lease, the
 * member is handed them again, in case it has forgotten them.
 *
 *-------------------------------------------------------------------------
 */
#include "queue.h"

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

#define MAX_MEMBER_NAME			255

/* Errors: 42602 for an empty or overlong name. */
char *
pgqueue_member_arg(text *name)
{
	int			len = VARSIZE_ANY_EXHDR(name);

	if (len == 0 || len > MAX_MEMBER_NAME)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg(len == 0 ? "member name must not be empty" :
						"member name is too long"),
				 errdetail("A name has 1 to %d bytes.", MAX_MEMBER_NAME)));
	return text_to_cstring(name);
}

/* ---------------- locks ---------------- */

/*
 * A member's own, by a 64-bit hash: two names of one hash would only wait for
 * each other.
 */
static void
member_tag(LOCKTAG *tag, int32 group, int32 topic_id, const char *name)
{
	uint64		seed = (uint64) group << 32 | (uint32) topic_id;
	uint64		hash = hash_bytes_extended((const unsigned char *) name,
										   strlen(name), seed);

	SET_LOCKTAG_ADVISORY(*tag, MyDatabaseId, (uint32) (hash >> 32),
						 (uint32) hash, PGQUEUE_LOCK_MEMBER);
}

static bool
lock_member(int32 group, int32 topic_id, const char *name, bool wait)
{
	LOCKTAG		tag;

	member_tag(&tag, group, topic_id, name);
	return pgqueue_lock(&tag, ExclusiveLock, wait);
}

static bool
member_busy(int32 group, int32 topic_id, const char *name)
{
	LOCKTAG		tag;

	member_tag(&tag, group, topic_id, name);
	return pgqueue_lock_is_held(&tag, ExclusiveLock);
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

/* ---------------- rows ---------------- */

/*
 * Rows of a group, those in a topic (-1: any), those of a name (NULL: any).
 * Both tables have their keys in the same order.
 */
static SysScanDesc
begin_scan(Relation rel, RegistryTable index, AttrNumber name_attr, int32 group,
		   int32 topic_id, const char *name)
{
	ScanKeyData keys[3];
	int			n = 1;

	ScanKeyInit(&keys[0], MEMBER_ATTR_GROUP, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum(group));
	if (topic_id >= 0)
		ScanKeyInit(&keys[n++], MEMBER_ATTR_TOPIC, BTEqualStrategyNumber,
					F_INT4EQ, Int32GetDatum(topic_id));
	if (name != NULL)
	{
		ScanKeyInit(&keys[n], name_attr, BTEqualStrategyNumber, F_TEXTEQ,
					CStringGetTextDatum(name));
		keys[n++].sk_collation = C_COLLATION_OID;
	}
	return systable_beginscan(rel, pgqueue_registry(index), true, SnapshotSelf,
							  n, keys);
}

static SysScanDesc
scan_members(Relation rel, int32 group, int32 topic_id, const char *name)
{
	return begin_scan(rel, REGISTRY_MEMBER_NAME_INDEX, MEMBER_ATTR_NAME, group,
					  topic_id, name);
}

static SysScanDesc
scan_assignments(Relation rel, int32 group, int32 topic_id)
{
	return begin_scan(rel, REGISTRY_ASSIGNMENT_NAME_INDEX, ASSIGN_ATTR_NAME,
					  group, topic_id, NULL);
}

static void
read_member(Relation rel, HeapTuple tuple, TimestampTz now, Member *member)
{
	Datum		values[MEMBER_NATTS];
	bool		nulls[MEMBER_NATTS];

	memset(member, 0, sizeof(Member));
	pgqueue_registry_read(rel, tuple, MEMBER_NATTS, values, nulls);
	member->name = TextDatumGetCString(values[MEMBER_ATTR_NAME - 1]);
	member->client = nulls[MEMBER_ATTR_CLIENT - 1] ? NULL :
		TextDatumGetCString(values[MEMBER_ATTR_CLIENT - 1]);
	member->lease = DatumGetInt64(values[MEMBER_ATTR_LEASE - 1]);
	member->expires_at = DatumGetTimestampTz(values[MEMBER_ATTR_EXPIRES - 1]);
	member->joined_at = DatumGetTimestampTz(values[MEMBER_ATTR_JOINED - 1]);
	member->alive = member->expires_at > now;
	member->lease_tid = tuple->t_self;
	ItemPointerSetInvalid(&member->assignment_tid);
}

/* A member that is not there yet.	The array grows by one. */
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
	ItemPointerSetInvalid(&member->lease_tid);
	ItemPointerSetInvalid(&member->assignment_tid);
	return member;
}

/*
 * Read which partitions are assigned to which member.  Members that have left may
 * still have some.  The numbers may be those of partitions that were added to the
 * topic since this session looked it up: the caller compares them with the
 * topic's.
 */
static void
read_assignments(int32 group, int32 topic_id, Members *members)
{
	Relation	rel = pgqueue_registry_open(REGISTRY_ASSIGNMENT);
	SysScanDesc scan = scan_assignments(rel, group, topic_id);
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Datum		values[ASSIGN_NATTS];
		bool		nulls[ASSIGN_NATTS];
		char	   *name;
		ArrayType  *partitions;
		const int32 *numbers;
		Member	   *member;

		pgqueue_registry_read(rel, tuple, ASSIGN_NATTS, values, nulls);
		name = TextDatumGetCString(values[ASSIGN_ATTR_NAME - 1]);
		member = pgqueue_member_of(members, name);
		if (member == NULL)
			member = new_member(members, name);
		partitions = DatumGetArrayTypePCopy(values[ASSIGN_ATTR_PARTITIONS - 1]);
		numbers = (const int32 *) ARR_DATA_PTR(partitions);
		member->partitions = (int32 *) numbers;
		member->npartitions = 0;
		/* a superuser may have written to the row */
		for (int i = 0; !ARR_HASNULL(partitions) &&
			 i < ArrayGetNItems(ARR_NDIM(partitions), ARR_DIMS(partitions)); i++)
			if (numbers[i] >= 0 && numbers[i] < PGQUEUE_MAX_PARTITIONS)
				member->partitions[member->npartitions++] = numbers[i];
		member->assignment_tid = tuple->t_self;
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
}

/*
 * The members of a group in a topic, as of now; dead ones, too, and those who
 * have left and not been cleared away yet.
 */
void
pgqueue_members_read(int32 group, int32 topic_id, Members *members)
{
	Relation	rel = pgqueue_registry_open(REGISTRY_MEMBER);
	SysScanDesc scan = scan_members(rel, group, topic_id, NULL);
	TimestampTz now = GetCurrentTimestamp();
	HeapTuple	tuple;

	members->n = 0;
	members->room = 8;
	members->members = palloc(members->room * sizeof(Member));
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		read_member(rel, tuple, now, new_member(members, ""));
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	read_assignments(group, topic_id, members);
}

/* An epoch is a time (pgqueue_new_epoch). */
static bool
handed_in_this_life(const Member *member, const Progress *progress)
{
	return progress->epoch >= member->joined_at;
}

Member *
pgqueue_member_of(const Members *members, const char *name)
{
	for (int i = 0; i < members->n; i++)
		if (strcmp(members->members[i].name, name) == 0)
			return &members->members[i];
	return NULL;
}

/*
 * Has the member that messages were handed to lived on since?  One that lost its
 * lease and came back, by the same name, does not know of them any more: nobody
 * could have them as long as it lives.
 */
bool
pgqueue_holder_alive(int32 group, int32 topic_id, const Progress *progress)
{
	Relation	rel = pgqueue_registry_open(REGISTRY_MEMBER);
	SysScanDesc scan = scan_members(rel, group, topic_id, progress->member);
	HeapTuple	tuple = systable_getnext(scan);
	bool		alive = false;

	if (HeapTupleIsValid(tuple))
	{
		Member		member;

		read_member(rel, tuple, GetCurrentTimestamp(), &member);
		alive = member.alive && handed_in_this_life(&member, progress);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return alive;
}

static Datum
array_of(const int32 *partitions, int n)
{
	Datum	   *elems = palloc(n * sizeof(Datum));

	for (int i = 0; i < n; i++)
		elems[i] = Int32GetDatum(partitions[i]);
	return PointerGetDatum(construct_array(elems, n, INT4OID, sizeof(int32),
										   true, TYPALIGN_INT));
}

/* Locks: the member's. */
static void
write_lease(int32 group, int32 topic_id, Member *member)
{
	Relation	rel = pgqueue_open_for_writing(REGISTRY_MEMBER);
	Datum		values[MEMBER_NATTS];
	bool		nulls[MEMBER_NATTS] = {false};

	values[MEMBER_ATTR_GROUP - 1] = Int32GetDatum(group);
	values[MEMBER_ATTR_TOPIC - 1] = Int32GetDatum(topic_id);
	values[MEMBER_ATTR_LEASE - 1] = Int64GetDatum(member->lease);
	values[MEMBER_ATTR_EXPIRES - 1] = TimestampTzGetDatum(member->expires_at);
	values[MEMBER_ATTR_JOINED - 1] = TimestampTzGetDatum(member->joined_at);
	values[MEMBER_ATTR_NAME - 1] = CStringGetTextDatum(member->name);
	nulls[MEMBER_ATTR_CLIENT - 1] = member->client == NULL;
	values[MEMBER_ATTR_CLIENT - 1] = member->client == NULL ? (Datum) 0 :
		CStringGetTextDatum(member->client);
	pgqueue_registry_write(rel, &member->lease_tid, MEMBER_NATTS, values, nulls);
	table_close(rel, NoLock);
}

/* Locks: the assignments. */
static void
write_assignment(int32 group, int32 topic_id, Member *member)
{
	Relation	rel = pgqueue_open_for_writing(REGISTRY_ASSIGNMENT);
	Datum		values[ASSIGN_NATTS];
	bool		nulls[ASSIGN_NATTS] = {false};

	values[ASSIGN_ATTR_GROUP - 1] = Int32GetDatum(group);
	values[ASSIGN_ATTR_TOPIC - 1] = Int32GetDatum(topic_id);
	values[ASSIGN_ATTR_NAME - 1] = CStringGetTextDatum(member->name);
	values[ASSIGN_ATTR_PARTITIONS - 1] = array_of(member->partitions,
												  member->npartitions);
	pgqueue_registry_write(rel, &member->assignment_tid, ASSIGN_NATTS, values,
						   nulls);
	table_close(rel, NoLock);
}

static void
delete_tuple(RegistryTable table, ItemPointer tid)
{
	Relation	rel;

	if (!ItemPointerIsValid(tid))
		return;
	rel = pgqueue_open_for_writing(table);
	CatalogTupleDelete(rel, tid);
	table_close(rel, NoLock);
}

static void
delete_all(RegistryTable table, SysScanDesc (*begin) (Relation, int32, int32),
		   int32 group, int32 topic_id)
{
	Relation	rel = pgqueue_open_for_writing(table);
	SysScanDesc scan = begin(rel, group, topic_id);
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		CatalogTupleDelete(rel, &tuple->t_self);
	systable_endscan(scan);
	table_close(rel, NoLock);
}

static SysScanDesc
scan_all_members(Relation rel, int32 group, int32 topic_id)
{
	return scan_members(rel, group, topic_id, NULL);
}

/*
 * Delete a group's members; -1: in any topic.
 *
 * Locks: nobody can poll for the group.
 */
void
pgqueue_members_forget(int32 group, int32 topic_id)
{
	delete_all(REGISTRY_MEMBER, scan_all_members, group, topic_id);
	delete_all(REGISTRY_ASSIGNMENT, scan_assignments, group, topic_id);
}

/* No index begins with the topic. */
static SysScanDesc
scan_topic(Relation rel, int32 group, int32 topic_id)
{
	ScanKeyData key;

	ScanKeyInit(&key, MEMBER_ATTR_TOPIC, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum(topic_id));
	return systable_beginscan(rel, InvalidOid, false, SnapshotSelf, 1, &key);
}

/* The same for a topic that is dropped.  Locks: the strongest of its table. */
void
pgqueue_members_delete(const Topic *topic)
{
	delete_all(REGISTRY_MEMBER, scan_topic, 0, topic->id);
	delete_all(REGISTRY_ASSIGNMENT, scan_topic, 0, topic->id);
}

/* ---------------- balancing ---------------- */

/* Who owns what, among the living. */
typedef struct Survey
{
	int			npartitions;
	Member	  **owners;			/* of each partition, or NULL */
	int			nalive;
	Member	  **alive;
	int		   *quotas;
} Survey;

static void
survey(const Topic *topic, const Members *members, Survey *s)
{
	int		   *owned = palloc0(members->n * sizeof(int));

	s->npartitions = topic->npartitions;
	s->owners = palloc0(s->npartitions * sizeof(Member *));
	s->alive = palloc(members->n * sizeof(Member *));
	s->quotas = palloc(members->n * sizeof(int));
	s->nalive = 0;
	for (int i = 0; i < members->n; i++)
	{
		Member	   *member = &members->members[i];

		if (!member->alive)
			continue;
		for (int k = 0; k < member->npartitions; k++)
			if (member->partitions[k] < s->npartitions)
				s->owners[member->partitions[k]] = member;
		owned[s->nalive] = member->npartitions;
		s->alive[s->nalive++] = member;
	}
	for (int i = 0; i < s->nalive; i++)
		s->quotas[i] = pgqueue_quota(owned, s->nalive, i, s->npartitions);
}

static int
quota_of(const Survey *s, const Member *member)
{
	for (int i = 0; i < s->nalive; i++)
		if (s->alive[i] == member)
			return s->quotas[i];
	return 0;
}

static bool
holds(const Progress *progress, const Member *member)
{
	return pgqueue_in_hand(progress) &&
		strcmp(progress->member, member->name) == 0;
}

static bool
owns(const Member *member, int32 partition)
{
	for (int i = 0; i < member->npartitions; i++)
		if (member->partitions[i] == partition)
			return true;
	return false;
}

/* Are messages of the partition in its owner's hand? */
static bool
in_owners_hand(int32 group, const Topic *topic, const Member *owner,
			   int32 partition)
{
	Progress	progress;

	pgqueue_progress_look(group, topic, partition, &progress);
	return holds(&progress, owner) && handed_in_this_life(owner, &progress);
}

/*
 * A partition that a member with too few may have, or -1.  First those of
 * nobody.
 */
static int32
one_to_take(int32 group, const Topic *topic, const Survey *s, const Member *me)
{
	if (me->npartitions >= quota_of(s, me))
		return -1;
	for (int32 p = 0; p < s->npartitions; p++)
		if (s->owners[p] == NULL)
			return p;
	for (int i = 0; i < s->nalive; i++)
	{
		const Member *owner = s->alive[i];

		if (owner == me || owner->npartitions <= s->quotas[i])
			continue;
		for (int k = owner->npartitions - 1; k >= 0; k--)
			if (owner->partitions[k] < s->npartitions &&
				!in_owners_hand(group, topic, owner, owner->partitions[k]))
				return owner->partitions[k];
	}
	return -1;
}

/* A partition that a member with too many can give up, or -1. */
static int32
one_to_give(int32 group, const Topic *topic, const Survey *s, const Member *me)
{
	if (me->npartitions <= quota_of(s, me))
		return -1;
	for (int k = me->npartitions - 1; k >= 0; k--)
		if (me->partitions[k] < s->npartitions &&
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
	Survey		s;
	bool		gave = false;
	int32		p;

	survey(topic, members, &s);
	while ((p = one_to_take(group, topic, &s, me)) >= 0)
	{
		if (s.owners[p] != NULL)
		{
			remove_partition(s.owners[p], p);
			*donors = list_append_unique_ptr(*donors, s.owners[p]);
		}
		s.owners[p] = me;
		add_partition(me, p);
	}
	while ((p = one_to_give(group, topic, &s, me)) >= 0)
	{
		remove_partition(me, p);
		s.owners[p] = NULL;
		gave = true;
	}
	return gave;
}

/* Would balance() do anything? */
static bool
unbalanced(int32 group, const Topic *topic, const Member *me,
		   const Members *members)
{
	Survey		s;

	survey(topic, members, &s);
	return one_to_take(group, topic, &s, me) >= 0 ||
		one_to_give(group, topic, &s, me) >= 0;
}

/* ---------------- leases ---------------- */

static int64
ms_left(const Member *member)
{
	return (member->expires_at - GetCurrentTimestamp()) / 1000;
}

/* Is a member to get more partitions, once their owners are done with them? */
bool
pgqueue_member_wants_more(const Topic *topic, const Member *me,
						  const Members *members)
{
	Survey		s;

	survey(topic, members, &s);
	return me->npartitions < quota_of(&s, me);
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
	if (!me->alive || ms_left(me) < me->lease / 2)
	{
		if (!member_busy(group->id, topic->id, me->name))
			return true;
		*blocked = true;
	}

	/* as find_dead() will see them */
	for (int i = 0; i < members->n; i++)
	{
		Member	   *member = &members->members[i];

		if (!member->alive && ItemPointerIsValid(&member->lease_tid))
			member->alive = member_busy(group->id, topic->id, member->name);
	}
	if (!me->alive || !unbalanced(group->id, topic, me, members))
		return false;
	if (!assignments_busy(group->id, topic->id))
		return true;
	*blocked = true;
	return false;
}

/* The address of the client, or NULL if it is local. */
static char *
client_address(void)
{
	LOCAL_FCINFO(fcinfo, 0);
	Datum		address;

	InitFunctionCallInfoData(*fcinfo, NULL, 0, InvalidOid, NULL, NULL);
	address = inet_client_addr(fcinfo);
	return fcinfo->isnull ? NULL :
		DatumGetCString(DirectFunctionCall1(inet_out, address));
}

/* Who calls, as far as the server knows. */
static char *
client_name(void)
{
	const char *name = application_name == NULL ? "" : application_name;
	char	   *address = client_address();

	if (address != NULL)
		return psprintf("%s@%s", name, address);
	return name[0] == '\0' ? NULL : pstrdup(name);
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

		if (owns(me, p))
			continue;
		pgqueue_progress_look(group, topic, p, &progress);
		if (holds(&progress, me) && handed_in_this_life(me, &progress))
			add_partition(me, p);
	}
}

/*
 * Renew a member's lease, or begin it.	 One that had run out begins anew.
 *
 * Locks: the member's, to the end of the transaction.	If another session has
 * it, it is polling by the same name; it is waited for only if the lease is
 * over.
 */
static void
live_on(ConsumerGroup *group, Topic *topic, const char *name, int64 lease,
		bool alive)
{
	Members		members;
	Member	   *me;

	(void) pgqueue_group_hold(group->id, true);
	topic = pgqueue_topic_hold(topic);
	if (!lock_member(group->id, topic->id, name, !alive))
		return;
	pgqueue_group_check_same(group);

	/* what this very command has written can be updated after this */
	CommandCounterIncrement();
	pgqueue_members_read(group->id, topic->id, &members);
	me = pgqueue_member_of(&members, name);
	if (me == NULL)
		me = new_member(&members, name);
	if (!me->alive)
		me->joined_at = GetCurrentTimestamp();
	me->lease = lease;
	me->client = client_name();
	me->expires_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
												 lease + lease / 2);
	write_lease(group->id, topic->id, me);
	pgqueue_note_progress(group->id, topic->id, -1, false);
}

/*
 * Read the members, and tell the dead: whose lease is over, unless it is about
 * to renew it.	 The dead are locked, so they cannot come back until we are done;
 * hence they are read after that.
 */
static void
find_dead(const ConsumerGroup *group, const Topic *topic, Members *members)
{
	List	   *locked = NIL;

	pgqueue_members_read(group->id, topic->id, members);
	for (int i = 0; i < members->n; i++)
	{
		const Member *member = &members->members[i];

		if (!member->alive && ItemPointerIsValid(&member->lease_tid) &&
			lock_member(group->id, topic->id, member->name, false))
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
	find_dead(group, topic, &members);
	me = pgqueue_member_of(&members, name);
	if (me == NULL || !me->alive)
		return;					/* it has been made to leave */
	/* who waits for something to be given up, or for us, is to look */
	pgqueue_note_progress(group->id, topic->id, -1,
						  balance(group->id, topic, &members, me, &donors));

	for (int i = 0; i < members.n; i++)
		if (!members.members[i].alive)
		{
			delete_tuple(REGISTRY_MEMBER, &members.members[i].lease_tid);
			delete_tuple(REGISTRY_ASSIGNMENT,
						 &members.members[i].assignment_tid);
		}
	foreach(lc, donors)
		write_assignment(group->id, topic->id, lfirst(lc));
	write_assignment(group->id, topic->id, me);
}

/* A member as of now; one that is not there owns nothing. */
static Member *
look_up(const ConsumerGroup *group, const Topic *topic, const char *name,
		Members *members)
{
	Member	   *me;

	pgqueue_members_read(group->id, topic->id, members);
	me = pgqueue_member_of(members, name);
	return me != NULL ? me : new_member(members, name);
}

/*
 * Keep a member alive for a poll, and give it its share of the partitions.
 * Returns what it is to be handed messages of.
 */
Member *
pgqueue_member_renew(ConsumerGroup *group, Topic *topic, const char *name,
					 int64 lease)
{
	Members		members;
	Member	   *me = look_up(group, topic, name, &members);
	bool		renew = !me->alive || me->lease != lease || ms_left(me) < lease;

	if (renew)
	{
		live_on(group, topic, name, lease, me->alive);
		topic = pgqueue_topic_refresh(topic);
		me = look_up(group, topic, name, &members);
	}
	if (me->alive && unbalanced(group->id, topic, me, &members))
	{
		(void) pgqueue_group_hold(group->id, true);
		topic = pgqueue_topic_hold(topic);
		pgqueue_group_check_same(group);
		rebalance(group, topic, name);
		me = look_up(group, topic, name, &members);
	}
	if (renew)
		add_held(group->id, topic, me);
	return me;
}

/*
 * A sign of life: the lease is renewed if it can be done without waiting.
 */
void
pgqueue_member_touch(ConsumerGroup *group, Topic *topic, const char *name)
{
	Members		members;
	Member	   *me;

	pgqueue_members_read(group->id, topic->id, &members);
	me = pgqueue_member_of(&members, name);
	if (me != NULL && me->alive && ms_left(me) < me->lease)
		live_on(group, topic, name, me->lease, true);
}

/*
 * A member goes.  What it has in hand is taken back: it can be handed to others
 * at once, and the member cannot commit it any more.  False if it was not there.
 *
 * Locks: the member's, and the progress of what it has in hand, waiting.
 */
bool
pgqueue_member_leave(ConsumerGroup *group, Topic *topic, const char *name)
{
	Members		members;
	Member	   *me;

	(void) pgqueue_group_hold(group->id, true);
	topic = pgqueue_topic_hold(topic);
	(void) lock_member(group->id, topic->id, name, true);
	pgqueue_group_check_same(group);
	CommandCounterIncrement();
	pgqueue_members_read(group->id, topic->id, &members);
	me = pgqueue_member_of(&members, name);
	if (me == NULL || !ItemPointerIsValid(&me->lease_tid))
		return false;

	/* its assignment goes when another member balances */
	delete_tuple(REGISTRY_MEMBER, &me->lease_tid);
	for (int32 p = 0; p < topic->npartitions; p++)
	{
		Progress	progress;

		/* it may be polling, at this moment */
		pgqueue_progress_look(group->id, topic, p, &progress);
		if (!holds(&progress, me) &&
			!(owns(me, p) && pgqueue_progress_busy(group->id, topic->id, p)))
			continue;
		(void) pgqueue_progress_lock(group->id, topic->id, p, true);
		pgqueue_progress_read(group->id, topic, p, &progress);
		if (!holds(&progress, me))
			continue;
		pgqueue_new_epoch(&progress);
		pgqueue_progress_write(group->id, topic, p, &progress,
							   PROGRESS_UNMOVED);
	}
	pgqueue_note_progress(group->id, topic->id, -1, true);
	return true;
}
