/*-------------------------------------------------------------------------
 *
 * member.c
 *	  Members of a consumer group: their leases, and the partitions they own.
 *
 * Who works outside the database polls under a member's name (poll.c).	 A
 * member is a row of queue.member, one for each topic it polls:
 *
 *	 group_id int4 | topic_id int4 | lease int8, ms | expires_at timestamptz |
 *	 joined_at timestamptz | name text | client text | partitions int4[]
 *
 * Rows are updated in place, under the lock of (group, topic), and seldom: a
 * poll renews the lease once less than a whole one is left, for half of one
 * more, so it writes once in half a lease.
 *
 * Partitions are balanced by whoever polls and finds that it has too few or too
 * many (balance.c).  It takes what nobody alive owns, then from those who have
 * too many what they have no messages in hand of; it gives up what it has too
 * many of.	 So a partition moves only when its owner is done with its batch, or
 * is dead.
 *
 * Who owns what is a matter of scheduling only.  What keeps two members apart
 * is the partition's progress: whose the messages in hand are, and by which
 * epoch (progress.c).	A member that polls while one of its partitions is moved
 * may still be handed messages of it; the new owner then waits until they are
 * committed or the lease is over.
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
#include "miscadmin.h"
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
#define MEMBER_ATTR_PARTITIONS	8
#define MEMBER_NATTS			8

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

/* ---------------- rows ---------------- */

static SysScanDesc
begin_scan(Relation rel, int32 group, int32 topic_id, const char *name)
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
		ScanKeyInit(&keys[n], MEMBER_ATTR_NAME, BTEqualStrategyNumber, F_TEXTEQ,
					CStringGetTextDatum(name));
		keys[n++].sk_collation = C_COLLATION_OID;
	}
	return systable_beginscan(rel, pgqueue_registry(REGISTRY_MEMBER_NAME_INDEX),
							  true, SnapshotSelf, n, keys);
}

static void
read_row(Relation rel, HeapTuple tuple, TimestampTz now, Member *member)
{
	Datum		values[MEMBER_NATTS];
	bool		nulls[MEMBER_NATTS];
	ArrayType  *partitions;

	heap_deform_tuple(tuple, RelationGetDescr(rel), values, nulls);
	member->name = TextDatumGetCString(values[MEMBER_ATTR_NAME - 1]);
	member->client = nulls[MEMBER_ATTR_CLIENT - 1] ? NULL :
		TextDatumGetCString(values[MEMBER_ATTR_CLIENT - 1]);
	member->lease = DatumGetInt64(values[MEMBER_ATTR_LEASE - 1]);
	member->expires_at = DatumGetTimestampTz(values[MEMBER_ATTR_EXPIRES - 1]);
	member->joined_at = DatumGetTimestampTz(values[MEMBER_ATTR_JOINED - 1]);
	member->alive = member->expires_at > now;
	partitions = DatumGetArrayTypePCopy(values[MEMBER_ATTR_PARTITIONS - 1]);
	member->npartitions = ArrayGetNItems(ARR_NDIM(partitions),
										 ARR_DIMS(partitions));
	member->partitions = (int32 *) ARR_DATA_PTR(partitions);
	member->tid = tuple->t_self;
}

/* The members of a group in a topic, dead ones too, as of now. */
void
pgqueue_members_read(int32 group, int32 topic_id, Members *members)
{
	Relation	rel = table_open(pgqueue_registry(REGISTRY_MEMBER),
								 AccessShareLock);
	SysScanDesc scan = begin_scan(rel, group, topic_id, NULL);
	TimestampTz now = GetCurrentTimestamp();
	int			room = 8;
	HeapTuple	tuple;

	members->n = 0;
	members->members = palloc(room * sizeof(Member));
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		if (members->n == room)
		{
			room *= 2;
			members->members = repalloc(members->members,
										room * sizeof(Member));
		}
		read_row(rel, tuple, now, &members->members[members->n++]);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
}

Member *
pgqueue_member_of(const Members *members, const char *name)
{
	for (int i = 0; i < members->n; i++)
		if (strcmp(members->members[i].name, name) == 0)
			return &members->members[i];
	return NULL;
}

/* Has a member a lease that is not over? */
bool
pgqueue_member_alive(int32 group, int32 topic_id, const char *name)
{
	Relation	rel = table_open(pgqueue_registry(REGISTRY_MEMBER),
								 AccessShareLock);
	SysScanDesc scan = begin_scan(rel, group, topic_id, name);
	HeapTuple	tuple = systable_getnext(scan);
	bool		alive = false;

	if (HeapTupleIsValid(tuple))
	{
		bool		isnull;

		alive = DatumGetTimestampTz(heap_getattr(tuple, MEMBER_ATTR_EXPIRES,
												 RelationGetDescr(rel),
												 &isnull)) >
			GetCurrentTimestamp();
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

/* Insert a member, or update its row.	Locks: the members'. */
static void
write_row(Relation rel, int32 group, int32 topic_id, Member *member)
{
	Datum		values[MEMBER_NATTS];
	bool		nulls[MEMBER_NATTS] = {false};
	HeapTuple	tuple;

	values[MEMBER_ATTR_GROUP - 1] = Int32GetDatum(group);
	values[MEMBER_ATTR_TOPIC - 1] = Int32GetDatum(topic_id);
	values[MEMBER_ATTR_LEASE - 1] = Int64GetDatum(member->lease);
	values[MEMBER_ATTR_EXPIRES - 1] = TimestampTzGetDatum(member->expires_at);
	values[MEMBER_ATTR_JOINED - 1] = TimestampTzGetDatum(member->joined_at);
	values[MEMBER_ATTR_NAME - 1] = CStringGetTextDatum(member->name);
	nulls[MEMBER_ATTR_CLIENT - 1] = member->client == NULL;
	values[MEMBER_ATTR_CLIENT - 1] = member->client == NULL ? (Datum) 0 :
		CStringGetTextDatum(member->client);
	values[MEMBER_ATTR_PARTITIONS - 1] = array_of(member->partitions,
												  member->npartitions);
	tuple = heap_form_tuple(RelationGetDescr(rel), values, nulls);
	if (ItemPointerIsValid(&member->tid))
		CatalogTupleUpdate(rel, &member->tid, tuple);
	else
		CatalogTupleInsert(rel, tuple);
	member->tid = tuple->t_self;
}

/*
 * Delete a group's members; -1: in any topic.
 *
 * Locks: nobody can poll for the group.
 */
void
pgqueue_members_forget(int32 group, int32 topic_id)
{
	Relation	rel = pgqueue_open_for_writing(REGISTRY_MEMBER);
	SysScanDesc scan = begin_scan(rel, group, topic_id, NULL);
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		CatalogTupleDelete(rel, &tuple->t_self);
	systable_endscan(scan);
	table_close(rel, NoLock);
}

/* The same for a topic that is dropped.  Locks: the strongest of its table. */
void
pgqueue_members_delete(const Topic *topic)
{
	Relation	rel = pgqueue_open_for_writing(REGISTRY_MEMBER);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, MEMBER_ATTR_TOPIC, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum(topic->id));
	scan = systable_beginscan(rel, InvalidOid, false, SnapshotSelf, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		CatalogTupleDelete(rel, &tuple->t_self);
	systable_endscan(scan);
	table_close(rel, NoLock);
}

static bool
lock_members(int32 group, int32 topic_id, bool wait)
{
	LOCKTAG		tag;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, group, topic_id,
						 PGQUEUE_LOCK_MEMBERS);
	return pgqueue_lock(&tag, ExclusiveLock, wait);
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

/* Are messages of the partition in its owner's hand? */
static bool
in_owners_hand(int32 group, const Topic *topic, const Member *owner,
			   int32 partition)
{
	Progress	progress;

	pgqueue_progress_look(group, topic->id, partition, &progress);
	return pgqueue_in_hand(&progress) &&
		strcmp(progress.member, owner->name) == 0;
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
			if (!in_owners_hand(group, topic, owner, owner->partitions[k]))
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
		if (!in_owners_hand(group, topic, me, me->partitions[k]))
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
	int32	   *grown = palloc((member->npartitions + 1) * sizeof(int32));

	if (member->npartitions > 0)
		memcpy(grown, member->partitions,
			   member->npartitions * sizeof(int32));
	grown[member->npartitions++] = partition;
	member->partitions = grown;
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

/* Should a member that waits go and poll: to join, to live on, to balance? */
bool
pgqueue_member_should_poll(const ConsumerGroup *group, const Topic *topic,
						   const Member *me, const Members *members)
{
	return me == NULL || !me->alive || ms_left(me) < me->lease / 2 ||
		unbalanced(group->id, topic, me, members);
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

/* A member that is not there yet.	The array of members grows by one. */
static Member *
new_member(Members *members, const char *name)
{
	Member	   *me;

	members->members = repalloc(members->members,
								(members->n + 1) * sizeof(Member));
	me = &members->members[members->n++];
	memset(me, 0, sizeof(Member));
	me->name = pstrdup(name);
	me->joined_at = GetCurrentTimestamp();
	ItemPointerSetInvalid(&me->tid);
	return me;
}

/* Who is dead for good: its row goes.	Its name may join again. */
static void
bury(Relation rel, const Members *members, const Member *me)
{
	for (int i = 0; i < members->n; i++)
		if (!members->members[i].alive && &members->members[i] != me)
			CatalogTupleDelete(rel, &members->members[i].tid);
}

/*
 * Renew a member's lease, or make the member; and balance.
 *
 * Locks: the members', if there is something to write, to the end of the
 * transaction.	 If others have it, it is waited for only if the lease is about
 * to end.
 */
Member *
pgqueue_member_renew(ConsumerGroup *group, Topic *topic, const char *name, int64 lease)
{
	Members		members;
	Member	   *me;
	Relation	rel;
	List	   *donors = NIL;
	ListCell   *lc;
	bool		urgent;

	pgqueue_members_read(group->id, topic->id, &members);
	me = pgqueue_member_of(&members, name);
	if (me != NULL && me->alive && me->lease == lease && ms_left(me) >= lease &&
		!unbalanced(group->id, topic, me, &members))
		return me;

	urgent = me == NULL || !me->alive || me->lease != lease ||
		ms_left(me) < lease / 2;
	(void) pgqueue_group_hold(group->id, true);
	topic = pgqueue_topic_hold(topic);
	if (!lock_members(group->id, topic->id, urgent))
		return me;
	pgqueue_group_check_same(group);

	/* what this very command has written can be updated after this */
	CommandCounterIncrement();
	pgqueue_members_read(group->id, topic->id, &members);
	me = pgqueue_member_of(&members, name);
	if (me == NULL)
		me = new_member(&members, name);
	else if (!me->alive)
		me->npartitions = 0;	/* it has lost them */
	me->alive = true;
	me->lease = lease;
	me->client = client_name();
	me->expires_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
												 lease + lease / 2);
	if (balance(group->id, topic, &members, me, &donors))
		pgqueue_note_progress(group->id, topic->id, -1, true);

	rel = pgqueue_open_for_writing(REGISTRY_MEMBER);
	bury(rel, &members, me);
	foreach(lc, donors)
		write_row(rel, group->id, topic->id, lfirst(lc));
	write_row(rel, group->id, topic->id, me);
	table_close(rel, NoLock);
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
	Relation	rel;

	pgqueue_members_read(group->id, topic->id, &members);
	me = pgqueue_member_of(&members, name);
	if (me == NULL || !me->alive || ms_left(me) >= me->lease ||
		!lock_members(group->id, topic->id, false))
		return;
	CommandCounterIncrement();
	pgqueue_members_read(group->id, topic->id, &members);
	me = pgqueue_member_of(&members, name);
	if (me == NULL || !me->alive)
		return;
	me->expires_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
												 me->lease + me->lease / 2);
	rel = pgqueue_open_for_writing(REGISTRY_MEMBER);
	write_row(rel, group->id, topic->id, me);
	table_close(rel, NoLock);
}

/*
 * A member goes.  What it has in hand is taken back: it can be handed to others
 * at once, and the member cannot commit it any more.  False if it was not there.
 *
 * Locks: the members', and the progress of what it has in hand, waiting.
 */
bool
pgqueue_member_leave(ConsumerGroup *group, Topic *topic, const char *name)
{
	Members		members;
	Member	   *me;
	Relation	rel;

	(void) pgqueue_group_hold(group->id, true);
	topic = pgqueue_topic_hold(topic);
	(void) lock_members(group->id, topic->id, true);
	pgqueue_group_check_same(group);
	CommandCounterIncrement();
	pgqueue_members_read(group->id, topic->id, &members);
	me = pgqueue_member_of(&members, name);
	if (me == NULL)
		return false;

	rel = pgqueue_open_for_writing(REGISTRY_MEMBER);
	CatalogTupleDelete(rel, &me->tid);
	table_close(rel, NoLock);
	for (int32 p = 0; p < topic->npartitions; p++)
	{
		Progress	progress;

		if (!in_owners_hand(group->id, topic, me, p))
			continue;
		(void) pgqueue_progress_lock(group->id, topic->id, p, true);
		pgqueue_progress_read(group->id, topic->id, p, &progress);
		if (!pgqueue_in_hand(&progress) || strcmp(progress.member, name) != 0)
			continue;
		pgqueue_new_epoch(&progress);
		pgqueue_progress_write(group->id, topic->id, p, &progress,
							   PROGRESS_UNMOVED);
	}
	pgqueue_note_progress(group->id, topic->id, -1, true);
	return true;
}
