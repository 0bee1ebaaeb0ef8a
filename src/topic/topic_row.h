/*-------------------------------------------------------------------------
 *
 * topic_row.h
 *	  Rows of queue.topic.
 *
 *-------------------------------------------------------------------------
 */
#ifndef QUEUE_TOPIC_ROW_H
#define QUEUE_TOPIC_ROW_H

#include "topic/topic.h"

/* Those of the id, the name and the table: base/base.h. */
#define TOPIC_ATTR_PARTITIONS		4
#define TOPIC_ATTR_SEGMENT_MESSAGES 5
#define TOPIC_ATTR_CREATED			6
#define TOPIC_ATTR_NOTIFY			7
#define TOPIC_ATTR_RETENTION		8
#define TOPIC_ATTR_RETENTION_BYTES	9
#define TOPIC_ATTR_RETENTION_FORCE	10
#define TOPIC_ATTR_CLEANUP_POLICY	11
#define TOPIC_ATTR_TOMBSTONE_RETENTION 12
#define TOPIC_ATTR_TABLESPACE		13
#define TOPIC_ATTR_GROUP_EXPIRY		14
#define TOPIC_ATTR_DEDUPE_WINDOW	15
#define TOPIC_ATTR_SEGMENT_AGE		16
#define TOPIC_NATTS					16

typedef struct TopicRow
{
	ItemPointerData tid;		/* invalid: a new row */
	TransactionId xmin;			/* wrote it, if it is not new */
	Datum		values[TOPIC_NATTS];
	bool		nulls[TOPIC_NATTS];
} TopicRow;

extern int	pgqueue_cleanup_policy(const text *policy);
extern bool pgqueue_load_row(const char *name, Topic *topic);
extern void pgqueue_topic_row_new(TopicRow *row);
extern void pgqueue_topic_row_read(TopicRow *row, const char *name);
extern void pgqueue_topic_row_set(TopicRow *row, AttrNumber attr, Datum value);
extern void pgqueue_topic_row_set_limit(TopicRow *row, AttrNumber attr,
										bool has_limit, Datum value);
extern void pgqueue_topic_row_write(TopicRow *row);
extern void pgqueue_topic_row_delete(const char *name);

#endif							/* QUEUE_TOPIC_ROW_H */
