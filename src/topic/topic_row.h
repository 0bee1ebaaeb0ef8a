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

#define TOPIC_ATTR_ID				1
#define TOPIC_ATTR_NAME				2
#define TOPIC_ATTR_LOG				3
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
#define TOPIC_NATTS					14

/* Columns of a row: those that are set. */
typedef struct TopicRow
{
	bool		set[TOPIC_NATTS];
	Datum		values[TOPIC_NATTS];
	bool		nulls[TOPIC_NATTS];
} TopicRow;

extern int	pgqueue_cleanup_policy(const text *policy);
extern bool pgqueue_load_row(Topic *topic);
extern void pgqueue_topic_set(TopicRow *row, AttrNumber attr, bool isnull,
							  Datum value);
extern void pgqueue_topic_row_insert(TopicRow *row);
extern void pgqueue_topic_row_update(const char *name, const TopicRow *row);
extern void pgqueue_topic_row_delete(const char *name);

#endif							/* QUEUE_TOPIC_ROW_H */
