/*-------------------------------------------------------------------------
 *
 * partitioner.c
 *	  queue.partition_for_key() and queue.murmur2().
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/data.h"
#include "topic/message.h"

PG_FUNCTION_INFO_V1(pgqueue_murmur2_sql);
PG_FUNCTION_INFO_V1(pgqueue_partition_for_key_sql);

Datum
pgqueue_murmur2_sql(PG_FUNCTION_ARGS)
{
	bytea	   *data = PG_GETARG_BYTEA_PP(0);

	PG_RETURN_INT32((int32) pgqueue_murmur2((unsigned char *) VARDATA_ANY(data),
											VARSIZE_ANY_EXHDR(data)));
}

Datum
pgqueue_partition_for_key_sql(PG_FUNCTION_ARGS)
{
	int32		npartitions = PG_GETARG_INT32(1);

	if (npartitions <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("partitions must be positive, not %d", npartitions)));
	PG_RETURN_INT32(pgqueue_partition_for_text(PG_GETARG_TEXT_PP(0), npartitions));
}
