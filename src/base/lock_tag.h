/*-------------------------------------------------------------------------
 *
 * lock_tag.h
 *	  The numbers of the extension's heavyweight locks, and their tags.
 *
 * A new lock gets the next number.  api/held_locks.c shows locks to users by
 * these numbers, and api/group_offsets_read.c looks for those of groups.
 *
 *-------------------------------------------------------------------------
 */
#ifndef QUEUE_LOCK_TAG_H
#define QUEUE_LOCK_TAG_H

#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/lock.h"

/* ----------------------------------------------------------------
 * The extension's heavyweight locks have lock type "advisory", told apart from
 * applications' locks (field 4 is 1 or 2) by field 4:
 *
 *	 field 2         field 3      field 4
 *	 consumer group  topic        PGQUEUE_LOCK_GROUP | partition % 1,024
 *	 topic           partition    PGQUEUE_LOCK_SEGMENT
 *	 hash of a name  0            PGQUEUE_LOCK_GROUP_NAME
 *	 hash of a name  0            PGQUEUE_LOCK_TOPIC_NAME
 *	 hash of topic and id, 64 bits    PGQUEUE_LOCK_PRODUCER
 *	 consumer group  0            PGQUEUE_LOCK_GROUP_ROWS
 *	 consumer group  topic        PGQUEUE_LOCK_ASSIGNMENT
 *	 hash of group, topic, member     PGQUEUE_LOCK_MEMBER
 *	 0               0            PGQUEUE_LOCK_WORKER, a session's: its holder
 *									runs no code of users (base/code.c), which could
 *									release it by pg_advisory_unlock_all()
 *	 0               0            PGQUEUE_LOCK_STARTER
 *	 topic      partition % 1,024 PGQUEUE_LOCK_POSITIONS
 *	 topic           partition    PGQUEUE_LOCK_COMPACTION, a session's: checked
 *									after code of users has run
 *	 topic      hash of a key % 128 PGQUEUE_LOCK_KEY
 *	 topic           0            PGQUEUE_LOCK_BUCKET
 *	 consumer group  topic        PGQUEUE_LOCK_SUBSCRIPTION
 * ----------------------------------------------------------------
 */
#define PGQUEUE_LOCK_SEGMENT	0x4001
#define PGQUEUE_LOCK_GROUP_NAME 0x4002
#define PGQUEUE_LOCK_TOPIC_NAME 0x4003
#define PGQUEUE_LOCK_PRODUCER	0x4004
#define PGQUEUE_LOCK_GROUP_ROWS 0x4005
#define PGQUEUE_LOCK_ASSIGNMENT 0x4006
#define PGQUEUE_LOCK_MEMBER		0x4007
#define PGQUEUE_LOCK_WORKER		0x4008
#define PGQUEUE_LOCK_POSITIONS	0x4009
#define PGQUEUE_LOCK_COMPACTION 0x400A
#define PGQUEUE_LOCK_STARTER	0x400B
#define PGQUEUE_LOCK_KEY		0x400C
#define PGQUEUE_LOCK_BUCKET		0x400D
#define PGQUEUE_LOCK_SUBSCRIPTION 0x400E
#define PGQUEUE_LOCK_GROUP		0x8000

/* Return the tag of a lock of this database, of a kind, by two numbers. */
static inline LOCKTAG
pgqueue_tag(uint16 kind, uint32 field2, uint32 field3)
{
	LOCKTAG		tag;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, field2, field3, kind);
	return tag;
}

static inline LOCKTAG
pgqueue_tag_of_relation(Oid relid)
{
	LOCKTAG		tag;

	SET_LOCKTAG_RELATION(tag, MyDatabaseId, relid);
	return tag;
}

static inline LOCKTAG
pgqueue_tag_by_name(uint16 kind, const char *name)
{
	return pgqueue_tag(kind, hash_bytes((const unsigned char *) name,
										strlen(name)), 0);
}

/*
 * Return a tag by the hash, of 64 bits, of a number and a name; SQL's
 * hashtextextended() gives the same one.
 */
static inline LOCKTAG
pgqueue_tag_by_hash(uint16 kind, uint64 number, const char *name)
{
	uint64		hash = hash_bytes_extended((const unsigned char *) name,
										   strlen(name), number);

	return pgqueue_tag(kind, (uint32) (hash >> 32), (uint32) hash);
}

/* Return the tag of one of the two locks of a database's maintenance worker. */
static inline LOCKTAG
pgqueue_tag_of_database(uint16 kind, Oid database)
{
	LOCKTAG		tag;

	SET_LOCKTAG_ADVISORY(tag, database, 0, 0, kind);
	return tag;
}

#endif							/* QUEUE_LOCK_TAG_H */
