/*-------------------------------------------------------------------------
 *
 * group_settings.c
 *	  Settings of a consumer group: auto_offset_reset, expiry, owner.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "utils/builtins.h"

#include "base/base.h"
#include "base/lock.h"
#include "group/group.h"

#define RESET_EARLIEST		"earliest"

/* ---------------- settings ---------------- */

/*
 * Return true if the group continues at the log start when its offset lies
 * before it (auto_offset_reset earliest), as of now.
 */
bool
pgqueue_group_jumps(const ConsumerGroup *group)
{
	Relation	rel = pgqueue_registry_open(REGISTRY_GROUP);
	HeapTuple	tuple = pgqueue_find_row(rel, group->name);
	bool		jumps = false;
	bool		isnull;

	if (HeapTupleIsValid(tuple))
	{
		Datum		word = heap_getattr(tuple, GROUP_ATTR_RESET,
										RelationGetDescr(rel), &isnull);

		jumps = strcmp(TextDatumGetCString(word), RESET_EARLIEST) == 0;
	}
	table_close(rel, AccessShareLock);
	return jumps;
}

/*
 * Read the arguments auto_offset_reset and expiry; NULL leaves a setting as it
 * is, an expiry of 0 means none.  Return false if both are NULL.
 *
 * Errors: 22023.
 */
bool
pgqueue_group_settings_arg(FunctionCallInfo fcinfo, int arg,
						   GroupSettings *settings)
{
	memset(settings, 0, sizeof(GroupSettings));
	settings->set_reset = !PG_ARGISNULL(arg);
	settings->set_expiry = !PG_ARGISNULL(arg + 1);
	if (settings->set_reset)
	{
		char	   *word = text_to_cstring(PG_GETARG_TEXT_PP(arg));

		if (strcmp(word, RESET_NONE) != 0 && strcmp(word, RESET_EARLIEST) != 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("auto_offset_reset must be \"" RESET_NONE "\" or \""
							RESET_EARLIEST "\", not \"%s\"", word)));
		settings->reset = word;
	}
	if (settings->set_expiry &&
		pgqueue_duration_arg(fcinfo, arg + 1, "expiry", 0) > 0)
		settings->expiry = PG_GETARG_INTERVAL_P(arg + 1);
	return settings->set_reset || settings->set_expiry;
}

/*
 * Keep other transactions from changing the group's settings to the end of
 * this one.  Must be taken before any other lock of the group.
 */
void
pgqueue_group_lock_settings(const ConsumerGroup *group)
{
	(void) pgqueue_lock(pgqueue_tag_by_name(PGQUEUE_LOCK_GROUP_NAME,
											group->name),
						ExclusiveLock, true);
}

/*
 * Change the group's settings, in this transaction.
 *
 * Locks: pgqueue_group_lock_settings(), pgqueue_group_lock_shared().
 */
void
pgqueue_group_set(const ConsumerGroup *group, const GroupSettings *settings)
{
	Relation	rel = pgqueue_open_for_writing(REGISTRY_GROUP);
	HeapTuple	old = pgqueue_find_row(rel, group->name);
	Datum		values[GROUP_NATTS];
	bool		nulls[GROUP_NATTS];

	if (!HeapTupleIsValid(old))
		elog(ERROR, "consumer group \"%s\" is not there", group->name);
	pgqueue_registry_read(rel, old, GROUP_NATTS, values, nulls);
	if (settings->set_reset)
		values[GROUP_ATTR_RESET - 1] = CStringGetTextDatum(settings->reset);
	if (settings->set_expiry)
	{
		nulls[GROUP_ATTR_EXPIRY - 1] = settings->expiry == NULL;
		values[GROUP_ATTR_EXPIRY - 1] = IntervalPGetDatum(settings->expiry);
		/* an expiry of the group's own takes precedence over the topic's */
		values[GROUP_ATTR_IMPLICIT - 1] = BoolGetDatum(false);
	}
	if (OidIsValid(settings->owner))
		values[GROUP_ATTR_OWNER - 1] = pgqueue_role_datum(settings->owner);
	/* a row that the current command has written must become visible first */
	if (TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetXmin(old->t_data)))
		CommandCounterIncrement();
	pgqueue_registry_write(rel, &old->t_self, GROUP_NATTS, values, nulls);
	table_close(rel, NoLock);
}
