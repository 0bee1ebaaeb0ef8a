/*-------------------------------------------------------------------------
 *
 * topic_drop.c
 *	  queue.drop_topic().
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"

#include "base/base.h"
#include "base/lock.h"
#include "wait/wait.h"
#include "topic/segment.h"
#include "topic/topic.h"
#include "topic/topic_row.h"
#include "producer/dedupe.h"
#include "producer/producer.h"
#include "group/parking.h"
#include "group/progress.h"
#include "api/api.h"

PG_FUNCTION_INFO_V1(pgqueue_drop_topic);

/* Return NULL, with a NOTICE, for none and if_exists.  Errors: 42704. */
static Topic *
find_to_drop(const char *name, bool if_exists)
{
	Topic	   *topic = pgqueue_topic_find(name);

	if (topic == NULL && !if_exists)
		topic = pgqueue_topic(name);	/* raises the error */
	if (topic == NULL)
		ereport(NOTICE, (errmsg("topic \"%s\" does not exist, skipping", name)));
	return topic;
}

static List *
add_tag(List *tags, Oid relid)
{
	LOCKTAG    *tag = palloc(sizeof(LOCKTAG));

	SET_LOCKTAG_RELATION(*tag, MyDatabaseId, relid);
	return lappend(tags, tag);
}

/*
 * Take the locks on a topic's view and table that DROP needs.  First wait, without
 * any, for transactions that use view and segments: to end, they may need what is to
 * be locked.
 */
void
pgqueue_lock_for_drop(Topic *topic)
{
	Oid			log = topic->log;
	Oid			view = topic->view;
	List	   *tags = NIL;

	if (OidIsValid(view))
		tags = add_tag(tags, view);
	for (int32 p = -1; (p = pgqueue_next_used(topic, p)) >= 0;)
		for (int i = 0; i < pgqueue_partition(topic, p)->nsegments; i++)
			tags = add_tag(tags, pgqueue_partition(topic, p)->segments[i].relid);
	WaitForLockersMultiple(tags, AccessExclusiveLock, false);

	if (OidIsValid(view))
		pgqueue_lock_relation(view, AccessExclusiveLock);
	pgqueue_lock_relation(log, AccessExclusiveLock);
}

/*
 * Lock the segments of now, too, with their TOAST tables: a transaction that
 * consumes or polls holds one to the end.  None of them can go while the topic's
 * table is locked.
 */
void
pgqueue_lock_segments(const Topic *topic)
{
	for (int32 p = -1; (p = pgqueue_next_used(topic, p)) >= 0;)
		for (int i = 0; i < pgqueue_partition(topic, p)->nsegments; i++)
		{
			Oid			relid = pgqueue_partition(topic, p)->segments[i].relid;
			Oid			toast;

			pgqueue_lock_relation(relid, AccessExclusiveLock);
			toast = pgqueue_toast_of(relid);
			if (OidIsValid(toast))
				pgqueue_lock_relation(toast, AccessExclusiveLock);
		}
}

/*
 * Delete the rows of the topic's producers and groups, as of now.  No
 * transaction is at work with them: that takes a lock on the topic's table, or
 * on a segment that messages came from; here the strongest is held.
 */
static void
forget_users(Topic *topic)
{
	ListCell   *lc;

	/* what this very command has written, too */
	CommandCounterIncrement();
	(void) pgqueue_producer_due_delete(topic->id, NULL);
	foreach(lc, pgqueue_producer_ids(topic, false, NULL, 0))
	{
		Producer	producer;

		CHECK_FOR_INTERRUPTS();
		if (pgqueue_producer_find(topic->id, lfirst(lc), SnapshotSelf, &producer))
			pgqueue_producer_forget(topic, lfirst(lc), producer.id);
	}
	pgqueue_buckets_drop_all(topic);
	pgqueue_checkpoints_delete(topic);
	pgqueue_incarnations_delete(topic);
	pgqueue_group_rows_delete(-1, topic->id);
	pgqueue_replayed_delete(topic->id);
}

/*
 * Drop a view or a table of the topic.
 *
 * Errors: 2BP01, with a hint that helps: users cannot use DROP ... CASCADE.
 */
static void
drop_relation(const char *topic, const char *command, const char *relation,
			  bool cascade)
{
	MemoryContext context = CurrentMemoryContext;

	PG_TRY();
	{
		pgqueue_run_removal(pgqueue_extension_owner(),
							psprintf("%s %s %s", command, relation,
									 cascade ? "CASCADE" : "RESTRICT"));
	}
	PG_CATCH();
	{
		ErrorData  *error;

		if (geterrcode() != ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST)
			PG_RE_THROW();
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		error->hint = psprintf("Call queue.drop_topic(%s, cascade => true) to drop the dependent objects too.",
							   quote_literal_cstr(topic));
		error->context = NULL;
		ReThrowError(error);
	}
	PG_END_TRY();
}

/* Drop the topic's view and table, as far as they are there, under any name. */
static void
drop_relations(const Topic *topic, bool cascade)
{
	if (OidIsValid(topic->view))
		drop_relation(topic->name, "DROP VIEW", pgqueue_view_name(topic->name),
					  cascade);
	if (get_rel_name(topic->log) != NULL)
		drop_relation(topic->name, "DROP TABLE",
					  pgqueue_qualified_name(topic->log), cascade);
}

/* (topic, if_exists, cascade) */
Datum
pgqueue_drop_topic(PG_FUNCTION_ARGS)
{
	Topic	   *topic;
	bool		if_exists = !PG_ARGISNULL(1) && PG_GETARG_BOOL(1);
	bool		cascade = !PG_ARGISNULL(2) && PG_GETARG_BOOL(2);
	char	   *name;
	int32		id;

	pgqueue_check_writable(fcinfo);
	pgqueue_check_not_null(fcinfo, 0, "topic");
	name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	topic = find_to_drop(name, if_exists);
	if (topic == NULL)
		PG_RETURN_VOID();
	pgqueue_check_owner(topic);
	id = topic->id;

	pgqueue_lock_for_drop(topic);
	topic = find_to_drop(name, if_exists);
	if (topic == NULL)
		PG_RETURN_VOID();
	pgqueue_check_same(topic, id);
	pgqueue_lock_segments(topic);
	forget_users(topic);
	pgqueue_note_topic_changed(topic->id);
	drop_relations(topic, cascade);
	pgqueue_topic_row_delete(name);
	CommandCounterIncrement();
	PG_RETURN_VOID();
}
