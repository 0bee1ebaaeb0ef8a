/*-------------------------------------------------------------------------
 *
 * archive.c
 *	  queue.archive_segment(): a segment leaves its topic and becomes a table.
 *
 * A partition's oldest segment is archived under the rules of retention
 * (README, section 13).  It is detached, with its files as they are, and the
 * log start is moved after it, in one transaction.
 *
 * The table keeps the access method: it can be read, indexed, dumped and
 * dropped, not updated.  It gets a name outside schema queue, where names tell
 * what belongs to a topic (guard.c).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <inttypes.h>

#include "access/table.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "commands/tablecmds.h"
#include "nodes/makefuncs.h"
#include "storage/predicate.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/varlena.h"

#include "base/base.h"
#include "base/lock.h"
#include "topic/segment.h"
#include "topic/topic.h"
#include "group/progress.h"
#include "cleanup/cleanup.h"
#include "api/api.h"

PG_FUNCTION_INFO_V1(pgqueue_archive_segment);

/* Letters, at most, of the default's suffix, "_<partition>_<first offset>". */
#define SUFFIX_LENGTH (1 + 5 + 1 + 20)

/*
 * Return the archive's schema, and set *name to its name, as CREATE TABLE
 * would.  Lock the schema.  names: an argument, or NULL for the default.
 *
 * Errors: 42501 without CREATE on the schema, 3F000 if there is none, 42602 for
 * a bad name, 22023 for the extension's own schemas and temporary ones, 42P07
 * if the name is taken.
 */
static Oid
find_place(const Topic *topic, int32 partition, int64 first, text *names,
		   char **name)
{
	RangeVar   *place = names != NULL ?
		makeRangeVarFromNameList(textToQualifiedNameList(names)) :
		makeRangeVar(NULL, psprintf("%.*s_%05d_%020" PRId64,
									NAMEDATALEN - 1 - SUFFIX_LENGTH,
									topic->name, partition, first), -1);
	Oid			existing;
	Oid			schema = RangeVarGetAndCheckCreationNamespace(place, NoLock,
															  &existing);

	if (schema == get_namespace_oid(PGQUEUE_SCHEMA, false) ||
		schema == get_namespace_oid(PGQUEUE_VIEW_SCHEMA, false) ||
		isAnyTempNamespace(schema))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("an archive cannot be in schema \"%s\"",
						get_namespace_name(schema)),
				 errhint("Name another schema, as in 'archive.orders_2024'.")));
	if (OidIsValid(existing))
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_TABLE),
				 errmsg("relation \"%s\" already exists", place->relname)));
	*name = place->relname;
	return schema;
}

/*
 * Check that all groups have read the segment, and keep other transactions from
 * moving a group back until this one ends.
 *
 * Errors: 55000 if a group has yet to read it, 55P03 if one is being moved.
 */
static void
check_held(Topic *topic, int32 partition, const Segment *segment)
{
	HeldBy		by;
	int64		held = pgqueue_held_now(topic, partition, &by);

	if (held >= segment->end)
		return;
	if (by.name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("could not obtain lock on the offsets of groups in partition %d of topic \"%s\"",
						partition, topic->name),
				 pgqueue_errdetail_lock_holder(pgqueue_positions_tag(topic,
																	 partition),
											   ExclusiveLock),
				 errhint("Retry when that transaction has ended.")));
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("messages from offset " INT64_FORMAT
					" on are kept for consumer group \"%s\"", held, by.name),
			 errdetail("The oldest segment of partition %d ends at offset "
					   INT64_FORMAT ".", partition, segment->end),
			 errhint("With force => true the group's next call raises an error.")));
}

/*
 * Return the oldest segment.
 *
 * Errors: 55000 if none is closed, or if messages of the oldest one were deleted:
 * an archive is no partition, so it would show them again (log/cut.c).
 */
static Segment *
oldest_closed(Topic *topic, int32 partition)
{
	Partition  *part = pgqueue_partition(topic, partition);
	int64		log_start = pgqueue_log_start(topic, partition);

	if (pgqueue_segments_closed(topic, part) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("partition %d of topic \"%s\" has no sealed segment",
						partition, topic->name),
				 errdetail("The one in use cannot be archived."),
				 errhint("queue.roll_segments() closes it.")));
	if (log_start > part->segments[0].first)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot archive a segment in which messages were deleted"),
				 errdetail("Messages before offset " INT64_FORMAT
						   " were deleted; the oldest segment of partition %d begins at offset "
						   INT64_FORMAT ".",
						   log_start, partition, part->segments[0].first),
				 errhint("Copy the segment's messages, and delete the rest of them, up to offset "
						 INT64_FORMAT ", with queue.delete_messages().",
						 part->segments[0].end)));
	return &part->segments[0];
}

/*
 * Detach by the command, as the topic's owner.  Then give the locked table
 * another schema and name, and the topic's owner, by internal functions: the
 * commands would need rights on schema queue that no user has.
 */
static void
detach(const Topic *topic, Oid relid, Oid schema, const char *name)
{
	Oid			owner = pgqueue_owner_of(topic->log);
	Relation	leaf;
	ObjectAddresses *moved = new_object_addresses();

	pgqueue_run_removal(owner, psprintf("ALTER TABLE %s DETACH PARTITION %s",
										pgqueue_qualified_name(topic->log),
										pgqueue_qualified_name(relid)));
	CommandCounterIncrement();
	leaf = table_open(relid, NoLock);
	CheckTableForSerializableConflictIn(leaf);
	AlterTableNamespaceInternal(leaf, RelationGetNamespace(leaf), schema,
								moved);
	free_object_addresses(moved);
	table_close(leaf, NoLock);
	CommandCounterIncrement();
	RenameRelationInternal(relid, name, false, false);
	CommandCounterIncrement();
	/* without a check of rights: those on the topic were checked */
	ATExecChangeOwner(relid, owner, true, AccessExclusiveLock);
	CommandCounterIncrement();
}

/* (archive, first_offset, next_offset, bytes) */
static Datum
result_row(FunctionCallInfo fcinfo, const Segment *segment)
{
	Datum		values[] = {
		ObjectIdGetDatum(segment->relid),
		Int64GetDatum(segment->first),
		Int64GetDatum(segment->end),
		Int64GetDatum(pgqueue_total_bytes(segment->relid))
	};
	bool		nulls[lengthof(values)] = {false};

	return pgqueue_return_row(fcinfo, values, nulls, lengthof(values));
}

/*
 * (topic, partition, archive, force) -> see result_row()
 *
 * Locks: ACCESS EXCLUSIVE on the topic's table and the segment, tried for
 * PGQUEUE_LOCK_PATIENCE, to the end of the transaction.  While they are held no
 * other lock, as of a schema that is being dropped, is waited for longer.
 */
Datum
pgqueue_archive_segment(PG_FUNCTION_ARGS)
{
	int32		partition;
	Topic	   *topic = pgqueue_owned_partition_arg(fcinfo, &partition);
	Segment		segment;
	Oid			schema;
	char	   *name;
	int			nest;

	if (!pgqueue_lock_relation_soon(topic->log, AccessExclusiveLock,
									PGQUEUE_LOCK_PATIENCE))
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("could not obtain lock on topic \"%s\"", topic->name),
				 pgqueue_errdetail_relation_holder(topic->log,
												   AccessExclusiveLock),
				 errhint("Retry when that transaction has ended.")));
	nest = NewGUCNestLevel();
	pgqueue_wait_shortly(GUC_ACTION_SAVE);
	topic = pgqueue_topic_refresh(topic);
	segment = *oldest_closed(topic, partition);
	if (!pgqueue_lock_segment_soon(segment.relid, AccessExclusiveLock,
								   PGQUEUE_LOCK_PATIENCE))
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("could not obtain lock on the oldest segment of partition %d of topic \"%s\"",
						partition, topic->name),
				 pgqueue_errdetail_relation_holder(segment.relid,
												   AccessExclusiveLock),
				 errhint("Retry when that transaction has ended.")));
	/* VACUUM may have made room in it before it was locked */
	(void) oldest_closed(topic, partition);
	schema = find_place(topic, partition, segment.first,
						PG_ARGISNULL(2) ? NULL : PG_GETARG_TEXT_PP(2), &name);
	if (PG_ARGISNULL(3) || !PG_GETARG_BOOL(3))
		check_held(topic, partition, &segment);

	pgqueue_store_log_start(topic, partition, segment.end);
	detach(topic, segment.relid, schema, name);
	AtEOXact_GUC(true, nest);
	return result_row(fcinfo, &segment);
}
