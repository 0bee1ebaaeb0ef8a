/*-------------------------------------------------------------------------
 *
 * segment_make.c
 *	  Make segments: DDL that the extension runs for appenders and maintenance.
 *
 * segment_worker.c says in which transaction.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <inttypes.h>

#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_tablespace.h"
#include "commands/tablecmds.h"
#include "commands/tablespace.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "storage/bufmgr.h"
#include "storage/ipc.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"

#include "base/compat.h"
#include "base/base.h"
#include "base/lock.h"
#include "log/log.h"
#include "topic/message.h"
#include "topic/segment.h"
#include "topic/topic.h"

/* Offsets of a segment when nothing is known of the messages' size. */
#define FIRST_SEGMENT_MESSAGES	131072
/* What an adaptive segment aims at. */
#define SEGMENT_BYTES			(INT64CONST(1) << 30)
#define MIN_SEGMENT_MESSAGES	1024
/* How many empty segments a partition has behind its first one. */
#define FIRST_SEGMENTS_AHEAD	1
/* How many segments one call makes at most. */
#define SEGMENTS_PER_CALL		64

/*
 * Storage parameters of a segment or, with prefix "toast.", its TOAST table.
 * Autovacuum freezes each page as soon as every snapshot is younger than its
 * records, and leaves the segment alone once nothing is appended any more: any
 * insert is a reason for a run, and index entries of dead records are always
 * removed, since they keep a page from being frozen.  The empty pages behind an
 * aborted tail are kept for later appends.
 */
#define VACUUM_SETTINGS(prefix) \
	prefix "autovacuum_vacuum_insert_threshold = 0, " \
	prefix "autovacuum_vacuum_insert_scale_factor = 0, " \
	prefix "autovacuum_freeze_min_age = 0, " \
	prefix "vacuum_index_cleanup = on, " \
	prefix "vacuum_truncate = off"

/*
 * Return the number of offsets of the next segment: as configured, else what
 * makes about SEGMENT_BYTES of messages like those of the last used segment.
 */
static int64
segment_width(Topic *topic, Partition *part)
{
	int			i = part->nsegments;
	Relation	leaf;

	if (topic->segment_messages > 0)
		return topic->segment_messages;

	while ((leaf = pgqueue_open_previous(topic, part, &i)) != NULL)
	{
		BlockNumber nblocks = RelationGetNumberOfBlocks(leaf);
		int64		bytes = (int64) nblocks * BLCKSZ;
		int64		messages;
		LogTail		tail;

		if (part->segments[i].end <= part->compacted_to)
		{
			/* what compaction has left says nothing: as wide as the last */
			const Segment *last = &part->segments[part->nsegments - 1];

			table_close(leaf, AccessShareLock);
			return last->end - last->first;
		}
		pgqueue_segment_tail(leaf, nblocks, &tail);
		if (OidIsValid(leaf->rd_rel->reltoastrelid))
		{
			Relation	toast = table_open(leaf->rd_rel->reltoastrelid,
										   AccessShareLock);

			bytes += (int64) RelationGetNumberOfBlocks(toast) * BLCKSZ;
			table_close(toast, AccessShareLock);
		}
		table_close(leaf, AccessShareLock);
		messages = tail.found ? tail.offset - part->segments[i].first + 1 : 0;
		/* a few messages say nothing about the many */
		if (messages < MIN_SEGMENT_MESSAGES)
			continue;
		return Max(MIN_SEGMENT_MESSAGES,
				   SEGMENT_BYTES / Max(bytes / messages, 1));
	}
	return FIRST_SEGMENT_MESSAGES;
}

/* Return the DDL that adds each CHECK of the topic's table to a segment. */
static char *
copy_constraints(const Topic *topic, const char *name)
{
	Relation	log = table_open(topic->log, AccessShareLock);
	TupleConstr *constr = RelationGetDescr(log)->constr;
	StringInfoData sql;
	int			nest = pgqueue_pin_search_path();	/* names are read as written */

	initStringInfo(&sql);
	for (int i = 0; constr != NULL && i < constr->num_check; i++)
	{
		Oid			oid = get_relation_constraint_oid(topic->log,
													  constr->check[i].ccname,
													  false);
		Datum		def = DirectFunctionCall1(pg_get_constraintdef,
											  ObjectIdGetDatum(oid));

		appendStringInfo(&sql, "ALTER TABLE %s ADD CONSTRAINT %s %s;",
						 name, quote_identifier(constr->check[i].ccname),
						 TextDatumGetCString(def));
	}
	AtEOXact_GUC(true, nest);
	table_close(log, AccessShareLock);
	return sql.data;
}

static bool
may_create(Oid tablespace, Oid role)
{
	return tablespace == MyDatabaseTableSpace ||
		pgqueue_tablespace_aclcheck(tablespace, role,
									ACL_CREATE) == ACLCHECK_OK;
}

/*
 * Return the tablespace of that name, after checking that the role may create
 * tables there.
 * Errors: 42704 if there is none, 42501, 22023 for the one of shared tables.
 */
Oid
pgqueue_tablespace(const char *name, Oid role)
{
	Oid			tablespace = get_tablespace_oid(name, false);

	if (tablespace == GLOBALTABLESPACE_OID)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("segments cannot be placed in tablespace \"%s\"", name)));
	if (!may_create(tablespace, role))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for tablespace \"%s\"", name),
				 errhint("Grant CREATE ON TABLESPACE %s to \"%s\".",
						 quote_identifier(name), GetUserNameFromId(role, false))));
	return tablespace;
}

/*
 * Return " TABLESPACE name", or nothing: for the default, and, so that no
 * producer fails for it, if the tablespace is gone (a restore into another
 * server) or the owner of the topic may not create there any more.  TOAST lies
 * with its table.
 */
static const char *
tablespace_clause(const Topic *topic, Oid owner)
{
	Oid			tablespace;

	if (topic->tablespace[0] == '\0')
		return "";
	tablespace = get_tablespace_oid(topic->tablespace, true);
	if (OidIsValid(tablespace) && may_create(tablespace, owner))
		return psprintf(" TABLESPACE %s", quote_identifier(topic->tablespace));
	ereport(WARNING,
			(errmsg("tablespace \"%s\" cannot be used for topic \"%s\"",
					topic->tablespace, topic->name),
			 OidIsValid(tablespace) ?
			 errdetail("The topic's owner may not create tables there.") :
			 errdetail("It does not exist."),
			 errhint("New segments are made in the database's default tablespace; queue.alter_topic() changes it.")));
	return "";
}

/*
 * Return a segment's name: after its first offset, as Kafka's files are.  If
 * the name is taken, by a segment that was detached, a number is added.
 */
static char *
segment_name(const Topic *topic, int32 partition, int64 first)
{
	char	   *base = psprintf("log_%d_%05d_%020" PRId64, topic->id, partition,
								first);
	char	   *name = base;
	Oid			schema = get_namespace_oid(PGQUEUE_SCHEMA, false);

	for (int i = 2; OidIsValid(get_relname_relid(name, schema)); i++)
		name = psprintf("%s_%d", base, i);
	return name;
}

/*
 * Make one segment.
 *
 * Locks: SHARE UPDATE EXCLUSIVE on the topic's table, or the transaction made it.
 */
static void
make_segment(Topic *topic, int32 partition, int64 first, int64 end)
{
	char	   *relname = segment_name(topic, partition, first);
	const char *name = quote_qualified_identifier(PGQUEUE_SCHEMA, relname);
	Oid			owner = pgqueue_owner_of(topic->log);

	pgqueue_check_code(topic->log, true);
	/* nothing of the user's but the type's name */
	pgqueue_run_ddl(pgqueue_extension_owner(),
					psprintf("CREATE TABLE %s (" PGQUEUE_LOG_COLUMNS ")"
							 " USING queue_log"
							 " WITH (" VACUUM_SETTINGS("") ", "
							 VACUUM_SETTINGS("toast.") ")%s;"
							 "ALTER TABLE %s OWNER TO %s",
							 name, pgqueue_type_name(topic->value_type),
							 tablespace_clause(topic, owner), name,
							 quote_identifier(GetUserNameFromId(owner, false))));
	/* this looks at the topic's table, and may run its constraints' code */
	pgqueue_code_begin(topic->log, true);
	pgqueue_run_ddl_for(owner,
			psprintf("%sALTER TABLE %s.log_%d ATTACH PARTITION %s"
					 " FOR VALUES FROM (%d, " INT64_FORMAT ")"
					 " TO (%d, " INT64_FORMAT ")",
					 copy_constraints(topic, name),
					 PGQUEUE_SCHEMA, topic->id, name,
					 partition, first, partition, end),
			false,
			get_relname_relid(relname,
							  get_namespace_oid(PGQUEUE_SCHEMA, false)));
	pgqueue_code_end();
}

/*
 * Give the segments of a partition that REASSIGN OWNED has missed to the owner of
 * the topic (README, section 18).
 *
 * Locks: the caller holds SHARE UPDATE EXCLUSIVE on the topic's table.  Takes
 * ACCESS EXCLUSIVE on such segments, conditionally, to the end of the transaction.
 */
static void
own_segments(const Topic *topic, int32 partition)
{
	const Partition *part = pgqueue_partition(topic, partition);

	for (int i = 0; i < part->nsegments; i++)
	{
		Oid			relid = part->segments[i].relid;
		Oid			owner = pgqueue_owner_of(relid);

		if (OidIsValid(owner) && owner != topic->owner &&
			pgqueue_try_lock_segment(relid, AccessExclusiveLock))
			ATExecChangeOwner(relid, topic->owner, true, AccessExclusiveLock);
	}
}

/*
 * Return true if a partition has enough empty segments behind the one in use: most
 * partitions of a topic that has many never fill their first.
 */
static bool
has_ahead(const Topic *topic, const Partition *part)
{
	int			active = pgqueue_segments_sealed(topic, part);

	return part->nsegments > 0 && part->nsegments - 1 - active >=
		(part->segments[active].first == 0 ? FIRST_SEGMENTS_AHEAD :
		 SEGMENTS_AHEAD);
}

/*
 * Make the segments that a partition lacks: those up to offset upto, and some empty
 * ones; in an unused partition from offset 0 on, with its checkpoint.  The caller
 * holds SHARE UPDATE EXCLUSIVE on the topic's table, so two makers do not meet.
 */
void
pgqueue_make_segments(Topic *topic, int32 partition, int64 upto)
{
	topic = pgqueue_topic_refresh(topic);
	pgqueue_check_segments(topic, partition);
	if (!pgqueue_partition(topic, partition)->checkpointed)
		pgqueue_checkpoint_write(topic, partition, &(Checkpoint) {0});
	own_segments(topic, partition);
	for (int i = 0; i < SEGMENTS_PER_CALL; i++)
	{
		Partition  *part;
		int64		first = 0;

		CommandCounterIncrement();
		topic = pgqueue_topic_refresh(topic);
		part = pgqueue_partition(topic, partition);
		if (part->nsegments > 0)
			first = part->segments[part->nsegments - 1].end;
		if (first >= upto && has_ahead(topic, part))
			return;
		make_segment(topic, partition, first,
					 first + segment_width(topic, part));
	}
}
