/*-------------------------------------------------------------------------
 *
 * topic_row.c
 *	  Read and write the rows of queue.topic.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/indexing.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

#include "base/base.h"
#include "topic/topic_row.h"

/*
 * Read a cleanup policy, as Kafka writes them.
 *
 * Errors: 22023.
 */
int
pgqueue_cleanup_policy(const text *policy)
{
	char	   *name = text_to_cstring(policy);

	if (strcmp(name, "delete") == 0)
		return CLEANUP_DELETE;
	if (strcmp(name, "compact") == 0)
		return CLEANUP_COMPACT;
	if (strcmp(name, "compact,delete") == 0 ||
		strcmp(name, "delete,compact") == 0)
		return CLEANUP_COMPACT | CLEANUP_DELETE;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid cleanup_policy \"%s\"", name),
			 errhint("It is \"delete\", \"compact\" or \"compact,delete\".")));
	return 0;
}

/* ---------------- reading ---------------- */

static void
begin_scan(RegistryScan *scan, const char *name, LOCKMODE lockmode,
		   Snapshot snapshot)
{
	memset(scan, 0, sizeof(RegistryScan));
	pgqueue_registry_key_text(scan, TOPIC_ATTR_NAME, name);
	pgqueue_registry_scan(scan, REGISTRY_TOPIC, lockmode, snapshot);
}

/* Read the topic's row.  Return false if there is none. */
bool
pgqueue_load_row(Topic *topic)
{
	RegistryScan scan;
	HeapTuple	tuple;

	begin_scan(&scan, topic->name, AccessShareLock, NULL);
	tuple = pgqueue_registry_next(&scan);
	if (HeapTupleIsValid(tuple))
	{
		Datum		values[TOPIC_NATTS];
		bool		nulls[TOPIC_NATTS];

		pgqueue_registry_read(scan.rel, tuple, TOPIC_NATTS, values, nulls);
		topic->id = DatumGetInt32(values[TOPIC_ATTR_ID - 1]);
		topic->log = DatumGetObjectId(values[TOPIC_ATTR_LOG - 1]);
		topic->npartitions = DatumGetInt32(values[TOPIC_ATTR_PARTITIONS - 1]);
		topic->segment_messages = nulls[TOPIC_ATTR_SEGMENT_MESSAGES - 1] ? 0 :
			DatumGetInt64(values[TOPIC_ATTR_SEGMENT_MESSAGES - 1]);
		topic->notify = DatumGetBool(values[TOPIC_ATTR_NOTIFY - 1]);
		topic->retention = nulls[TOPIC_ATTR_RETENTION - 1] ? 0 :
			pgqueue_duration("retention",
							 DatumGetIntervalP(values[TOPIC_ATTR_RETENTION - 1]));
		topic->retention_bytes = nulls[TOPIC_ATTR_RETENTION_BYTES - 1] ? 0 :
			DatumGetInt64(values[TOPIC_ATTR_RETENTION_BYTES - 1]);
		topic->retention_force =
			DatumGetBool(values[TOPIC_ATTR_RETENTION_FORCE - 1]);
		topic->cleanup_policy =
			pgqueue_cleanup_policy(DatumGetTextPP(values[TOPIC_ATTR_CLEANUP_POLICY - 1]));
		topic->tombstone_retention =
			pgqueue_duration("tombstone_retention",
							 DatumGetIntervalP(values[TOPIC_ATTR_TOMBSTONE_RETENTION - 1]));
		topic->group_expiry = nulls[TOPIC_ATTR_GROUP_EXPIRY - 1] ? 0 :
			pgqueue_duration("group_expiry",
							 DatumGetIntervalP(values[TOPIC_ATTR_GROUP_EXPIRY - 1]));
		strlcpy(topic->tablespace, nulls[TOPIC_ATTR_TABLESPACE - 1] ? "" :
				NameStr(*DatumGetName(values[TOPIC_ATTR_TABLESPACE - 1])),
				NAMEDATALEN);
	}
	pgqueue_registry_end(&scan);
	return HeapTupleIsValid(tuple);
}

/* ---------------- writing ---------------- */

/* Set a column of a row, before the row is written. */
void
pgqueue_topic_set(TopicRow *row, AttrNumber attr, bool isnull, Datum value)
{
	row->set[attr - 1] = true;
	row->nulls[attr - 1] = isnull;
	row->values[attr - 1] = value;
}

/* Store the row of a new topic; columns that are not set are NULL. */
void
pgqueue_topic_row_insert(TopicRow *row)
{
	for (int i = 0; i < TOPIC_NATTS; i++)
		row->nulls[i] |= !row->set[i];
	pgqueue_registry_insert(REGISTRY_TOPIC, TOPIC_NATTS, row->values,
							row->nulls);
}

/*
 * Begin to change a topic's row as it is now.
 *
 * Locks: SHARE UPDATE EXCLUSIVE on the topic's table.
 * Errors: 40001.
 */
static HeapTuple
begin_change(RegistryScan *scan, const char *name)
{
	HeapTuple	tuple;

	begin_scan(scan, name, RowExclusiveLock, SnapshotSelf);
	tuple = pgqueue_registry_next(scan);
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "topic \"%s\" has no row", name);
	pgqueue_check_known(HeapTupleHeaderGetXmin(tuple->t_data), "update");
	return tuple;
}

/*
 * Store the columns that are set in a topic's row.
 *
 * Locks: SHARE UPDATE EXCLUSIVE on the topic's table.
 * Errors: 40001.
 */
void
pgqueue_topic_row_update(const char *name, const TopicRow *row)
{
	RegistryScan scan;
	HeapTuple	tuple = begin_change(&scan, name);
	ItemPointerData tid = tuple->t_self;
	Datum		values[TOPIC_NATTS];
	bool		nulls[TOPIC_NATTS];

	pgqueue_registry_read(scan.rel, tuple, TOPIC_NATTS, values, nulls);
	for (int i = 0; i < TOPIC_NATTS; i++)
		if (row->set[i])
		{
			values[i] = row->values[i];
			nulls[i] = row->nulls[i];
		}
	pgqueue_registry_write(scan.rel, &tid, TOPIC_NATTS, values, nulls);
	pgqueue_registry_end(&scan);
}

/* Delete a topic's row.  Locks: the strongest of its table.  Errors: 40001. */
void
pgqueue_topic_row_delete(const char *name)
{
	RegistryScan scan;
	HeapTuple	tuple = begin_change(&scan, name);

	CatalogTupleDelete(scan.rel, &tuple->t_self);
	pgqueue_registry_end(&scan);
}
