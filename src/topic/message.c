/*-------------------------------------------------------------------------
 *
 * message.c
 *	  Before a message becomes a record: its value in the topic's type, checks,
 *	  and the choice of the partition.
 *
 * What converts values may run user code (a domain's CHECK, the function of a
 * cast), so it is called before the append begins, and the topic is looked up again
 * after it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "parser/parse_coerce.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"

#include "base/data.h"
#include "base/lock.h"
#include "log/log.h"
#include "topic/message.h"
#include "topic/topic.h"

static void
prepare_input(Topic *topic)
{
	Oid			function;
	Oid			base;

	if (topic->input_ready)
		return;
	base = getBaseType(topic->value_type);
	getTypeInputInfo(topic->value_type, &function, &topic->input_ioparam);
	fmgr_info_cxt(function, &topic->input, topic->context);
	topic->domain_base = base == topic->value_type ? InvalidOid : base;
	topic->input_ready = true;
}

/* Errors: those of the type's input function, 22P02 for most. */
Datum
pgqueue_value_from_text(Topic *topic, Datum value, bool isnull)
{
	char	   *str = NULL;

	if (topic->value_type == TEXTOID)
		return value;
	prepare_input(topic);
	if (isnull && !OidIsValid(topic->domain_base))
		return (Datum) 0;
	if (!isnull)
		str = TextDatumGetCString(value);
	/* a domain must see NULL too */
	pgqueue_pin();
	value = InputFunctionCall(&topic->input, str, topic->input_ioparam, -1);
	pgqueue_unpin();
	return value;
}

/*
 * Convert a value as INSERT does.
 *
 * Errors: 42804 and others of pgqueue_cast_value(); 23514 by a domain's CHECK;
 * 55006 if a function that was called has dropped the topic.
 */
Datum
pgqueue_value_from_typed(Topic *topic, ValueCast *cast, Datum value,
						 bool *isnull)
{
	int32		id = topic->id;
	Oid			to;

	if (cast->from == topic->value_type)
		return value;
	prepare_input(topic);
	to = OidIsValid(topic->domain_base) ? topic->domain_base :
		topic->value_type;
	pgqueue_pin();
	if (!IsBinaryCoercible(cast->from, to))
	{
		value = pgqueue_cast_value(cast, topic, to, value, isnull);
		topic = pgqueue_topic_refresh(topic);
		pgqueue_check_same(topic, id);
	}
	if (OidIsValid(topic->domain_base))
		domain_check(value, *isnull, topic->value_type, &topic->domain_extra,
					 topic->context);
	pgqueue_unpin();
	return value;
}

/* Errors: 22023. */
static void
check_deliver_at(TimestampTz at)
{
	if (TIMESTAMP_IS_NOEND(at))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("deliver_at must not be infinity"),
				 errdetail("The message would never be delivered.")));
	if (TIMESTAMP_IS_NOBEGIN(at))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("deliver_at must not be -infinity"),
				 errhint("With NULL the message is delivered at once.")));
}

/*
 * Check what every message must keep: a NULL value deletes a key, so without a
 * key it means nothing, and compaction could never remove it.  values and nulls
 * are in the order of the log's columns.
 *
 * Errors: 22004, 22023.
 */
void
pgqueue_check_message(const Topic *topic, const Datum *values,
					  const bool *nulls)
{
	bool		key_null = nulls[LOG_ATTR_KEY - 1];

	if (key_null && (topic->cleanup_policy & CLEANUP_COMPACT))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("key must not be NULL"),
				 errdetail("Topic \"%s\" is compacted: the latest message of each key is kept.",
						   topic->name)));
	if (nulls[LOG_ATTR_VALUE - 1] && key_null)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("value must not be NULL"),
				 errhint("Only a message with a key may have a NULL value: a tombstone.")));
	if (!nulls[LOG_ATTR_HEADERS - 1] &&
		!JB_ROOT_IS_OBJECT(DatumGetJsonbP(values[LOG_ATTR_HEADERS - 1])))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("headers must be a JSON object")));
	if (!nulls[LOG_ATTR_DELIVER_AT - 1])
		check_deliver_at(DatumGetTimestampTz(values[LOG_ATTR_DELIVER_AT - 1]));
}

/*
 * Return a key's bytes in UTF-8.  The bytes stay as they are if they cannot be
 * converted: in a database without encoding (SQL_ASCII), or for characters that
 * Unicode does not have.  A key must not fail for the number of partitions.
 */
static char *
key_in_utf8(char *data, int *len)
{
	int			encoding = GetDatabaseEncoding();
	Oid			conversion = encoding == PG_SQL_ASCII ? InvalidOid :
		FindDefaultConversionProc(encoding, PG_UTF8);
	Size		size = (Size) *len * MAX_CONVERSION_GROWTH + 1;
	char	   *utf8;

	if (!OidIsValid(conversion) || size > PG_INT32_MAX)
		return data;
	utf8 = MemoryContextAllocHuge(CurrentMemoryContext, size);
	if (pg_do_encoding_conversion_buf(conversion, encoding, PG_UTF8,
									  (unsigned char *) data, *len,
									  (unsigned char *) utf8, (int) size,
									  true) != *len)
		return data;
	*len = strlen(utf8);
	return utf8;
}

/*
 * Return the partition of a key, over UTF-8, as Kafka's StringSerializer and
 * default partitioner do.
 */
int32
pgqueue_partition_for_text(text *key, int npartitions)
{
	char	   *data = VARDATA_ANY(key);
	int			len = VARSIZE_ANY_EXHDR(key);

	if (npartitions == 1)
		return 0;
	if (GetDatabaseEncoding() != PG_UTF8)
		data = key_in_utf8(data, &len);
	return pgqueue_partition_for_key(data, len, npartitions);
}

/* Return the next partition for a message without partition and key. */
int32
pgqueue_next_sticky(Topic *topic)
{
	topic->sticky = (topic->sticky + 1) % topic->npartitions;
	return topic->sticky;
}
