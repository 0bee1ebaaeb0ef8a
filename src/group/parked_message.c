/*-------------------------------------------------------------------------
 *
 * parked_message.c
 *	  A parked message in the log.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "log/log.h"
#include "topic/message.h"
#include "topic/topic.h"
#include "group/parking.h"

/* Return the key of a message, or NULL. */
text *
pgqueue_message_key(const Topic *topic, HeapTuple message)
{
	bool		isnull;
	Datum		key = heap_getattr(message, LOG_ATTR_KEY, topic->desc, &isnull);

	return isnull ? NULL : DatumGetTextPP(key);
}

typedef struct Picked
{
	int64		offset;
	HeapTuple	message;
} Picked;

static bool
pick(HeapTuple tuple, Relation leaf, void *arg)
{
	Picked	   *picked = arg;

	if (log_fixed(tuple->t_data)->offset == picked->offset)
		picked->message = heap_copytuple(tuple);
	return false;
}

/* Return a copy of the message at an offset, or NULL if there is none. */
HeapTuple
pgqueue_parked_message(Topic *topic, int32 partition, int64 offset,
					   Snapshot snapshot)
{
	Picked		picked = {offset, NULL};
	int64		stopped_at;

	(void) pgqueue_scan(topic, partition, offset, snapshot, pick, &picked,
						&stopped_at);
	return picked.message;
}
