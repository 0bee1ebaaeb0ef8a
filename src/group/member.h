/*-------------------------------------------------------------------------
 *
 * member.h
 *	  Members of a group: what they own, wait for and commit.
 *
 *-------------------------------------------------------------------------
 */
#ifndef QUEUE_MEMBER_H
#define QUEUE_MEMBER_H

#include "group/group.h"
#include "group/progress.h"

/* ---------------- member.c ---------------- */

typedef struct Member
{
	char	   *name;
	char	   *client;			/* or NULL */
	int64		lease;			/* ms */
	TimestampTz expires_at;
	TimestampTz joined_at;
	bool		alive;			/* its lease has not expired */
	int			npartitions;
	int32	   *partitions;		/* that it owns */
	int			quota;			/* how many it should own (assignment.c) */
	ItemPointerData lease_tid;	/* rows; invalid: none */
	ItemPointerData assignment_tid;
} Member;

typedef struct Members
{
	int			n;
	int			room;
	Member	   *members;
} Members;

extern void pgqueue_member_pair(const RegistryScan *scan, HeapTuple tuple,
								int32 *group, int32 *topic_id);
extern void pgqueue_members_read(int32 group, int32 topic_id,
								 Members *members);
extern Member *pgqueue_member_of(const Members *members, const char *name);
extern bool pgqueue_holder_alive(const Progress *progress);
extern char *pgqueue_member_arg(text *name);
extern bool pgqueue_member_holds(const Progress *progress,
								 const Member *member);
extern bool pgqueue_member_handed(const Member *member,
								  const Progress *progress);
extern int64 pgqueue_lease_left(const Member *member);
extern void pgqueue_renew_lease(ConsumerGroup *group, Topic *topic,
								const char *name, int64 lease, bool alive);
extern void pgqueue_touch_lease(ConsumerGroup *group, Topic *topic,
								const char *name);
extern bool pgqueue_member_leave(ConsumerGroup *group, Topic *topic,
								 const char *name);
extern bool pgqueue_member_owns(const Member *member, int32 partition);
extern Member *pgqueue_member_look_up(const ConsumerGroup *group,
									  const Topic *topic, const char *name,
									  Members *members);
extern LOCKTAG pgqueue_member_tag(int32 group, int32 topic_id,
								  const char *name);
extern void pgqueue_assignment_write(int32 group, int32 topic_id,
									 Member *member);
extern void pgqueue_member_delete(RegistryTable table, ItemPointer tid);

/* ---------------- assignment.c ---------------- */

extern Member *pgqueue_member_refresh(ConsumerGroup *group, Topic *topic,
									  const char *name, int64 lease);
extern bool pgqueue_member_should_poll(const ConsumerGroup *group,
									   const Topic *topic, const Member *me,
									   Members *members, bool *blocked);

/* ---------------- ready.c ---------------- */

typedef struct TopicList
{
	int			n;
	Topic	   *topics[PGQUEUE_MAX_TOPICS];
} TopicList;

/* What a consumer or a member waits for. */
typedef struct WaitTarget
{
	ConsumerGroup group;
	char	   *member;			/* NULL: a consumer */
	TopicList	topics;
	const int32 *partitions;	/* NULL: all */
	int			npartitions;
	uint64		wanted[PGQUEUE_MAX_TOPICS]; /* partitions, as bits */
	TimestampTz next;			/* when a parked message is due; 0: none is */

	/* asked by each look, too, whether there is no reason to wait; or NULL */
	bool		(*ended) (void *arg);
	void	   *ended_arg;
} WaitTarget;

extern void pgqueue_register_waiter(const WaitTarget *target);
extern bool pgqueue_ready(WaitTarget *target, Snapshot snapshot, bool *blocked);
extern int64 pgqueue_wait_left(const WaitTarget *target, TimestampTz end);
extern void pgqueue_wait_held(WaitTarget *target, int64 timeout);

/* ---------------- take.c ---------------- */

/* A call of consume or poll. */
typedef struct Taker
{
	WaitTarget	target;			/* without a member for consume */
	int64		lease;			/* of the member, in ms */
	char	   *metadata;		/* of the offset that consume moves, or NULL */
	int			patience;		/* for locks being released, in ms */
	Snapshot	snapshot;		/* of the calling statement */
	MessageSink sink;
	bool		wrote;			/* and keeps locks, with no message returned */
	const char *typed_call;
} Taker;

extern Topic *pgqueue_readable_topic(FunctionCallInfo fcinfo, int arg);
extern void pgqueue_topic_list(FunctionCallInfo fcinfo, int arg, bool array,
							   TopicList *list);
extern void pgqueue_taker_args(FunctionCallInfo fcinfo, bool array,
							   int member_arg, int max_messages_arg,
							   int max_bytes_arg,
							   const char *typed_call, Taker *taker);
extern bool pgqueue_may_take(const WaitTarget *target,
							 const Progress *progress);
extern bool pgqueue_take(Taker *taker, Topic *topic, const int32 *partitions,
						 int n);

#endif							/* QUEUE_MEMBER_H */
