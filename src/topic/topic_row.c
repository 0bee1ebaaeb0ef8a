/*-------------------------------------------------------------------------
 *
 * topic_row.c
 *	  Read and write the rows of queue.topic.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/snapmgr.h"

#include "base/base.h"
#include "topic/topic_row.h"

/* Read a cleanup policy, as Kafka writes them.  Errors: 22023. */
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
			 errmsg("cleanup_policy must be \"delete\", \"compact\" or \"compact,delete\", not \"%s\"",
					name)));
}

static bool
read_row(TopicRow *row, const char *name, LOCKMODE lockmode, Snapshot snapshot)
{
	RegistryScan scan = {0};
	HeapTuple	tuple;

	pgqueue_registry_key_text(&scan, TOPIC_ATTR_NAME, name);
	pgqueue_registry_scan(&scan, REGISTRY_TOPIC, lockmode, snapshot);
	tuple = pgqueue_registry_next(&scan);
	if (HeapTupleIsValid(tuple))
	{
		row->tid = tuple->t_self;
		row->xmin = HeapTupleHeaderGetXmin(tuple->t_data);
		pgqueue_registry_read(scan.rel, heap_copytuple(tuple), TOPIC_NATTS,
							  row->values, row->nulls);
	}
	pgqueue_registry_end(&scan);
	return HeapTupleIsValid(tuple);
}

/* Return a limit in milliseconds; 0: without limit, which is NULL. */
static int64
duration_of(const TopicRow *row, AttrNumber attr, const char *name)
{
	return row->nulls[attr - 1] ? 0 :
		pgqueue_duration(name, DatumGetIntervalP(row->values[attr - 1]));
}

/*
 * Read a topic's row into a description, but for what other tables tell.  Return
 * false if there is none.
 */
bool
pgqueue_load_row(const char *name, Topic *topic)
{
	TopicRow	row;
	const Datum *values = row.values;

	if (!read_row(&row, name, AccessShareLock, NULL))
		return false;
	strlcpy(topic->name, name, NAMEDATALEN);
	topic->id = DatumGetInt32(values[TOPIC_ATTR_ID - 1]);
	topic->log = DatumGetObjectId(values[TOPIC_ATTR_LOG - 1]);
	topic->npartitions = DatumGetInt32(values[TOPIC_ATTR_PARTITIONS - 1]);
	topic->segment_messages =
		pgqueue_registry_int8(values, row.nulls, TOPIC_ATTR_SEGMENT_MESSAGES);
	topic->notify = DatumGetBool(values[TOPIC_ATTR_NOTIFY - 1]);
	topic->retention = duration_of(&row, TOPIC_ATTR_RETENTION, "retention");
	topic->retention_bytes =
		pgqueue_registry_int8(values, row.nulls, TOPIC_ATTR_RETENTION_BYTES);
	topic->retention_force =
		DatumGetBool(values[TOPIC_ATTR_RETENTION_FORCE - 1]);
	topic->cleanup_policy =
		pgqueue_cleanup_policy(DatumGetTextPP(values[TOPIC_ATTR_CLEANUP_POLICY - 1]));
	topic->tombstone_retention =
		duration_of(&row, TOPIC_ATTR_TOMBSTONE_RETENTION, "tombstone_retention");
	topic->group_expiry = duration_of(&row, TOPIC_ATTR_GROUP_EXPIRY,
									  "group_expiry");
	topic->dedupe_window = duration_of(&row, TOPIC_ATTR_DEDUPE_WINDOW,
									   "dedupe_window");
	topic->segment_age = duration_of(&row, TOPIC_ATTR_SEGMENT_AGE,
									 "segment_age");
	strlcpy(topic->tablespace, row.nulls[TOPIC_ATTR_TABLESPACE - 1] ? "" :
			NameStr(*DatumGetName(values[TOPIC_ATTR_TABLESPACE - 1])),
			NAMEDATALEN);
	return true;
}

/* Begin a new row, all NULL. */
void
pgqueue_topic_row_new(TopicRow *row)
{
	ItemPointerSetInvalid(&row->tid);
	memset(row->nulls, true, sizeof(row->nulls));
}

/*
 * Read a topic's row as it is now, to change it.
 * Locks: SHARE UPDATE EXCLUSIVE on the topic's table.  Errors: 40001.
 */
void
pgqueue_topic_row_read(TopicRow *row, const char *name)
{
	if (!read_row(row, name, RowExclusiveLock, SnapshotSelf))
		elog(ERROR, "topic \"%s\" has no row", name);
	pgqueue_check_known(row->xmin, "update");
}

void
pgqueue_topic_row_set(TopicRow *row, AttrNumber attr, Datum value)
{
	pgqueue_topic_row_set_limit(row, attr, true, value);
}

/* Set a column that is NULL without a limit. */
void
pgqueue_topic_row_set_limit(TopicRow *row, AttrNumber attr, bool has_limit,
							Datum value)
{
	row->values[attr - 1] = value;
	row->nulls[attr - 1] = !has_limit;
}

/* Store a row that is new, or was read and changed. */
void
pgqueue_topic_row_write(TopicRow *row)
{
	pgqueue_registry_write(REGISTRY_TOPIC, &row->tid, TOPIC_NATTS, row->values,
						   row->nulls);
}

/* Delete a topic's row.  Locks: the strongest of its table.  Errors: 40001. */
void
pgqueue_topic_row_delete(const char *name)
{
	TopicRow	row;

	pgqueue_topic_row_read(&row, name);
	pgqueue_registry_delete_row(REGISTRY_TOPIC, &row.tid);
}
