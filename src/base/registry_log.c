/*-------------------------------------------------------------------------
 *
 * registry_log.c
 *	  What the registry tells of a topic's table: its topic, and where the
 *	  log of a partition starts.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/namespace.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"

#include "base/base.h"

/*
 * Return the id of the topic that has this table, or 0; name: its name, or NULL.
 * Reads the registry without checking its shape: the guard calls it for any DDL.
 */
int32
pgqueue_topic_of_log(Oid log, char name[NAMEDATALEN])
{
	Relation	rel = table_open(pgqueue_registry(REGISTRY_TOPIC),
								 AccessShareLock);
	Oid			index = get_relname_relid("topic_log_key",
										  RelationGetNamespace(rel));
	TupleDesc	desc = RelationGetDescr(rel);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	int32		id = 0;
	bool		isnull;

	ScanKeyInit(&key, TOPIC_ATTR_LOG, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(log));
	scan = systable_beginscan(rel, index, OidIsValid(index), NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		id = DatumGetInt32(heap_getattr(tuple, TOPIC_ATTR_ID, desc, &isnull));
		if (name != NULL)
			strlcpy(name,
					TextDatumGetCString(heap_getattr(tuple, TOPIC_ATTR_NAME,
													 desc, &isnull)),
					NAMEDATALEN);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return id;
}

/*
 * Return the log start that is stored for a partition of a topic's table, as of
 * now; 0 if none is, or the table is not a topic's.
 *
 * Errors: 42P01, 55000.
 */
int64
pgqueue_stored_log_start(Oid log, int32 partition)
{
	int32		topic = pgqueue_topic_of_log(log, NULL);
	RegistryScan scan = {0};
	HeapTuple	tuple;
	int64		start = 0;

	if (topic == 0)
		return 0;
	pgqueue_registry_key_int4(&scan, CHECKPOINT_ATTR_TOPIC, topic);
	pgqueue_registry_key_int4(&scan, CHECKPOINT_ATTR_PARTITION, partition);
	pgqueue_registry_scan(&scan, REGISTRY_CHECKPOINT, AccessShareLock, NULL);
	tuple = pgqueue_registry_next(&scan);
	if (HeapTupleIsValid(tuple))
		start = DatumGetInt64(pgqueue_registry_column(&scan, tuple,
													  CHECKPOINT_ATTR_LOG_START));
	pgqueue_registry_end(&scan);
	return start;
}
