/*-------------------------------------------------------------------------
 *
 * group.h
 *	  Consumer groups: settings, committed offsets, members and their leases.
 *
 *-------------------------------------------------------------------------
 */
#ifndef QUEUE_GROUP_H
#define QUEUE_GROUP_H

#include "topic/message.h"
#include "topic/topic.h"
#include "wait/wait.h"

/* ---------------- group.c ---------------- */

typedef struct ConsumerGroup
{
	char	   *name;
	int32		id;				/* 0: does not exist */
	uint64		changes;		/* pgqueue_registry_changes when it was found */
	bool		any_role;		/* the user need not be a member of its role */

	/* read by pgqueue_group_read() only */
	RoleRef		owner;
	TimestampTz created_at;
	int64		expiry;			/* ms; 0: never */
	bool		implicit;		/* made by a first consume or poll */
} ConsumerGroup;

/* What to change of a group's settings. */
typedef struct GroupSettings
{
	char	   *reset;			/* auto_offset_reset; NULL: as it is */
	bool		set_expiry;
	Interval   *expiry;			/* NULL: never */
	bool		implicit;		/* of a new group: see ConsumerGroup */
	Oid			owner;			/* invalid: as it is */
} GroupSettings;

extern void pgqueue_group_arg(FunctionCallInfo fcinfo, bool any_role,
							  ConsumerGroup *group);
extern void pgqueue_known_group_arg(FunctionCallInfo fcinfo,
									const Topic *topic, ConsumerGroup *group);
extern void pgqueue_group_refresh(ConsumerGroup *group);
extern bool pgqueue_group_ensure(ConsumerGroup *group,
								 const GroupSettings *settings);
extern void pgqueue_group_check_same(ConsumerGroup *group);
extern bool pgqueue_group_lock_shared(int32 id, bool wait);
extern void pgqueue_group_unlock_shared(int32 id);
extern void pgqueue_group_read(Relation rel, HeapTuple tuple,
							   ConsumerGroup *group);
extern List *pgqueue_groups_of(int32 topic_id);
extern List *pgqueue_group_ids(int32 after);
extern char *pgqueue_group_name(int32 id);
extern void pgqueue_group_lock_rows(int32 id);
extern void pgqueue_group_delete(const char *name);
extern bool pgqueue_group_jumps(const ConsumerGroup *group);
extern bool pgqueue_group_settings_arg(FunctionCallInfo fcinfo, int arg,
									   GroupSettings *settings);
extern void pgqueue_group_lock_settings(const ConsumerGroup *group);
extern void pgqueue_group_set(const ConsumerGroup *group,
							  const GroupSettings *settings);

#endif							/* QUEUE_GROUP_H */
