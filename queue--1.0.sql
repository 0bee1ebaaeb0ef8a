-- queue 1.0: a Kafka-style log inside the database.
--
-- In the order of a user's day: topics, producing, consuming, reading,
-- seeing, checking.  Rights are at the end of each part: REVOKE first, then
-- GRANT.  docs/reference.md says the same at greater length.

\echo Use "CREATE EXTENSION queue" to load this file. \quit

CREATE SCHEMA queue;
COMMENT ON SCHEMA queue IS
'Extension queue: functions, registry tables, and the storage of topics (log_<id> and its segments).';

CREATE SCHEMA topic;
COMMENT ON SCHEMA topic IS
'One view per topic. Whoever may CREATE here may create topics.';

GRANT USAGE ON SCHEMA queue, topic TO PUBLIC;

------------------------------------------------------------------------------
-- Storage
------------------------------------------------------------------------------

CREATE FUNCTION queue.log_am_handler(internal) RETURNS table_am_handler
AS 'MODULE_PATHNAME', 'pgqueue_log_am_handler'
LANGUAGE C STRICT;
COMMENT ON FUNCTION queue.log_am_handler(internal) IS
'Handler of access method queue_log.';
REVOKE ALL ON FUNCTION queue.log_am_handler(internal) FROM PUBLIC;

CREATE ACCESS METHOD queue_log TYPE TABLE HANDLER queue.log_am_handler;
COMMENT ON ACCESS METHOD queue_log IS
'Append-only heap in offset order: what the segments of a topic use. No UPDATE, DELETE or row lock; permanent tables only.';

------------------------------------------------------------------------------
-- Registry
------------------------------------------------------------------------------

CREATE TYPE queue.role;
CREATE FUNCTION queue.role_in(cstring) RETURNS queue.role
AS 'MODULE_PATHNAME', 'pgqueue_role_in'
LANGUAGE C STABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION queue.role_in(cstring) IS 'Input function of type queue.role. Errors: 42622 overlong name. Since 1.0.';
CREATE FUNCTION queue.role_out(queue.role) RETURNS cstring
AS 'MODULE_PATHNAME', 'pgqueue_role_out'
LANGUAGE C STABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION queue.role_out(queue.role) IS 'Output function of type queue.role. Since 1.0.';
CREATE TYPE queue.role (
    INPUT = queue.role_in,
    OUTPUT = queue.role_out,
    INTERNALLENGTH = VARIABLE,
    ALIGNMENT = int4,
    STORAGE = plain
);
COMMENT ON TYPE queue.role IS
'The role that a group or a producer belongs to. Follows the role when it is renamed; no other role that takes its name has it. In a dump it is the role''s name, and a restore looks that up; without such a role it stays a name. A role that was dropped reads unknown (OID=...).';

CREATE TABLE queue.topic (
    topic_id         serial      NOT NULL,
    name             text        COLLATE "C" NOT NULL,
    log              regclass    NOT NULL,
    partitions       int         NOT NULL,
    segment_messages bigint,
    created_at       timestamptz NOT NULL DEFAULT now(),
    notify           boolean     NOT NULL DEFAULT false,
    retention        interval,
    retention_bytes  bigint,
    retention_force  boolean     NOT NULL DEFAULT false,
    cleanup_policy   text        NOT NULL DEFAULT 'delete',
    tombstone_retention interval NOT NULL DEFAULT '1 day',
    tablespace       name,
    group_expiry     interval,
    CONSTRAINT topic_pkey PRIMARY KEY (topic_id),
    CONSTRAINT topic_name_key UNIQUE (name)
);
COMMENT ON TABLE queue.topic IS 'Registry of topics. Change it with queue.create_topic(), queue.alter_topic() and queue.drop_topic() only.';
COMMENT ON COLUMN queue.topic.topic_id IS 'Number of the topic; its storage is named after it.';
COMMENT ON COLUMN queue.topic.name IS 'Name of the topic and of its view in schema topic.';
COMMENT ON COLUMN queue.topic.log IS 'Partitioned table that holds the messages.';
COMMENT ON COLUMN queue.topic.partitions IS 'Number of partitions; they are numbered from 0.';
COMMENT ON COLUMN queue.topic.segment_messages IS 'Offsets per segment; NULL: adaptive, about 1 GB.';
COMMENT ON COLUMN queue.topic.created_at IS 'When the topic was created.';
COMMENT ON COLUMN queue.topic.notify IS 'Whether each transaction that produces sends NOTIFY on the channel of the topic''s name.';
COMMENT ON COLUMN queue.topic.retention IS 'How long messages are kept; NULL: without limit.';
COMMENT ON COLUMN queue.topic.retention_bytes IS 'How much of a partition is kept; NULL: without limit.';
COMMENT ON COLUMN queue.topic.retention_force IS 'Whether the limits win over groups that have not read yet.';
COMMENT ON COLUMN queue.topic.cleanup_policy IS 'delete: old segments go, by the limits; compact: the latest message of each key stays; or both.';
COMMENT ON COLUMN queue.topic.tombstone_retention IS 'How long compaction keeps tombstones.';
COMMENT ON COLUMN queue.topic.tablespace IS 'Where new segments are made, by name: a restore works without it; NULL: the database''s default.';
COMMENT ON COLUMN queue.topic.group_expiry IS 'After so long without use a group that a first consume or poll made holds no messages any more; NULL: never.';

CREATE TABLE queue.checkpoint (
    topic_id         int    NOT NULL,
    partition        int    NOT NULL,
    log_start        bigint NOT NULL,
    compacted_to     bigint NOT NULL,
    oldest_tombstone timestamptz,
    system           bigint,
    log              oid,
    CONSTRAINT checkpoint_pkey PRIMARY KEY (topic_id, partition)
);
COMMENT ON TABLE queue.checkpoint IS 'Where partitions start and how far they are compacted, if they have let messages go or were compacted. Idea: Kafka''s checkpoints of log starts and of the log cleaner.';
COMMENT ON COLUMN queue.checkpoint.topic_id IS 'Topic.';
COMMENT ON COLUMN queue.checkpoint.partition IS 'Partition.';
COMMENT ON COLUMN queue.checkpoint.log_start IS 'First offset that is kept; 0: all are.';
COMMENT ON COLUMN queue.checkpoint.compacted_to IS 'Below this offset a key has at most one message.';
COMMENT ON COLUMN queue.checkpoint.oldest_tombstone IS 'Below compacted_to there is no tombstone older than this; NULL: none at all.';
COMMENT ON COLUMN queue.checkpoint.system IS 'System identifier of the server that compacted: in another one, where the messages were restored, compacted_to and oldest_tombstone say nothing.';
COMMENT ON COLUMN queue.checkpoint.log IS 'Topic''s table that was compacted; the same holds for another one.';

CREATE TABLE queue.incarnation (
    topic_id     int    NOT NULL,
    partition    int    NOT NULL,
    ordinal      int    NOT NULL,
    incarnation  bigint NOT NULL,
    first_offset bigint NOT NULL
);
CREATE INDEX incarnation_partition
    ON queue.incarnation (topic_id, partition, ordinal);
COMMENT ON TABLE queue.incarnation IS 'Where logs began anew after a restore: behind the messages that were there when a partition was first used in its database.';
COMMENT ON COLUMN queue.incarnation.topic_id IS 'Topic.';
COMMENT ON COLUMN queue.incarnation.partition IS 'Partition.';
COMMENT ON COLUMN queue.incarnation.ordinal IS 'Counts the incarnations of the partition''s log.';
COMMENT ON COLUMN queue.incarnation.incarnation IS 'Number of the log''s incarnation: made from server, database and table.';
COMMENT ON COLUMN queue.incarnation.first_offset IS 'Behind the last message that was restored. Offsets that groups and producers have from an earlier incarnation are good up to here.';
COMMENT ON INDEX queue.incarnation_partition IS 'Not unique: transactions that come first at the same time write a row each, and none waits for another.';

CREATE TABLE queue.maintenance_log (
    done_at   timestamptz NOT NULL,
    topic     text        NOT NULL,
    partition int,
    action    text        NOT NULL,
    items     bigint      NOT NULL,
    bytes     bigint      NOT NULL
);
CREATE INDEX maintenance_log_oldest
    ON queue.maintenance_log (done_at);
COMMENT ON INDEX queue.maintenance_log_oldest IS 'Finds what need not be kept any more.';
COMMENT ON TABLE queue.maintenance_log IS 'What queue.maintain() has done, in the last queue.history_retention, at least a day.';
COMMENT ON COLUMN queue.maintenance_log.done_at IS 'When.';
COMMENT ON COLUMN queue.maintenance_log.topic IS 'Topic.';
COMMENT ON COLUMN queue.maintenance_log.partition IS 'Partition; NULL: of the topic as such.';
COMMENT ON COLUMN queue.maintenance_log.action IS 'segments let go (their disk is given back), segments dropped (their tables), segments made, messages compacted, offsets forgotten, segments frozen, producer rows merged, maintenance stopped (queue.code_timeout).';
COMMENT ON COLUMN queue.maintenance_log.items IS 'How many.';
COMMENT ON COLUMN queue.maintenance_log.bytes IS 'Disk that was given back.';

CREATE TABLE queue.consumer_group (
    group_id   serial      NOT NULL,
    name       text        COLLATE "C" NOT NULL,
    owner      queue.role  NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    auto_offset_reset text NOT NULL DEFAULT 'none',
    expiry     interval,
    implicit   boolean     NOT NULL DEFAULT false,
    CONSTRAINT consumer_group_pkey PRIMARY KEY (group_id),
    CONSTRAINT consumer_group_name_key UNIQUE (name)
);
COMMENT ON TABLE queue.consumer_group IS 'Consumer groups, the roles they belong to, and their settings. Change these with queue.create_group() and queue.alter_group() only.';
COMMENT ON COLUMN queue.consumer_group.group_id IS 'Number of the group.';
COMMENT ON COLUMN queue.consumer_group.name IS 'Name of the group.';
COMMENT ON COLUMN queue.consumer_group.owner IS 'Role that first used the group, or that it was given to.';
COMMENT ON COLUMN queue.consumer_group.created_at IS 'When the group was first used.';
COMMENT ON COLUMN queue.consumer_group.auto_offset_reset IS 'What it does when retention has taken what it had yet to read: none (QU001), or earliest (jumps to the log start and counts what it missed).';
COMMENT ON COLUMN queue.consumer_group.expiry IS 'After so long without use it holds no messages of a topic any more; NULL: never.';
COMMENT ON COLUMN queue.consumer_group.implicit IS 'Whether a first consume or poll made the group, and no expiry was set since: then the topic''s group_expiry holds.';

CREATE TABLE queue.progress (
    group_id         int         NOT NULL,
    topic_id         int         NOT NULL,
    partition        int         NOT NULL,
    paused           boolean     NOT NULL,
    action           "char"      NOT NULL,
    generation       bigint      NOT NULL,
    committed_offset bigint      NOT NULL,
    committed_at     timestamptz NOT NULL,
    epoch            bigint,
    handed_to        bigint,
    committed_by     text,
    member           text,
    metadata         text,
    missed           bigint,
    released         boolean,
    incarnation      bigint
);
CREATE INDEX progress_newest
    ON queue.progress (group_id, topic_id, partition, generation);
COMMENT ON TABLE queue.progress IS 'Committed offsets, append-only: the row with the highest generation counts, the others are history (view queue.offset_history).';
COMMENT ON COLUMN queue.progress.group_id IS 'Consumer group.';
COMMENT ON COLUMN queue.progress.topic_id IS 'Topic.';
COMMENT ON COLUMN queue.progress.partition IS 'Partition.';
COMMENT ON COLUMN queue.progress.paused IS 'Whether the partition is paused for the group.';
COMMENT ON COLUMN queue.progress.action IS 'Why the row was written: s started, c consumed, m committed, r reset, j jumped to the log start; h handed to a member, u other change that left the offset.';
COMMENT ON COLUMN queue.progress.generation IS 'Counts the rows of this group in this partition.';
COMMENT ON COLUMN queue.progress.committed_offset IS 'Next offset to read.';
COMMENT ON COLUMN queue.progress.committed_at IS 'When the offset was moved.';
COMMENT ON COLUMN queue.progress.epoch IS 'By which messages were last handed to a member, or taken back; NULL: never.';
COMMENT ON COLUMN queue.progress.handed_to IS 'Offset behind the last message that was handed to the member.';
COMMENT ON COLUMN queue.progress.committed_by IS 'Role that moved the offset.';
COMMENT ON COLUMN queue.progress.member IS 'Member that messages were last handed to; NULL: none, or taken back.';
COMMENT ON COLUMN queue.progress.metadata IS 'Application metadata stored with the commit.';
COMMENT ON COLUMN queue.progress.missed IS 'Offsets that retention took before the group had read them, until then; NULL: none.';
COMMENT ON COLUMN queue.progress.released IS 'Whether the group holds no messages of the partition until it is used again (queue.expire_group); NULL: no.';
COMMENT ON COLUMN queue.progress.incarnation IS 'Incarnation of the log that the offset belongs to (queue.incarnation): in another one it is good as far as the messages were restored.';
COMMENT ON INDEX queue.progress_newest IS 'Not unique: a unique check would walk old versions. Writers hold the lock of (group, topic, partition).';

CREATE TABLE queue.member (
    group_id   int         NOT NULL,
    topic_id   int         NOT NULL,
    lease      bigint      NOT NULL,
    expires_at timestamptz NOT NULL,
    joined_at  timestamptz NOT NULL,
    name       text        COLLATE "C" NOT NULL,
    client     text,
    CONSTRAINT member_pkey PRIMARY KEY (group_id, topic_id, name)
) WITH (fillfactor = 50);
COMMENT ON TABLE queue.member IS 'Members of consumer groups that poll, a row for each topic. Not dumped: a lease means nothing after a restore.';
COMMENT ON COLUMN queue.member.group_id IS 'Consumer group.';
COMMENT ON COLUMN queue.member.topic_id IS 'Topic.';
COMMENT ON COLUMN queue.member.lease IS 'Lease in milliseconds.';
COMMENT ON COLUMN queue.member.expires_at IS 'When the lease is over.';
COMMENT ON COLUMN queue.member.joined_at IS 'When the member joined.';
COMMENT ON COLUMN queue.member.name IS 'Name that the application chose.';
COMMENT ON COLUMN queue.member.client IS 'Application name, and host unless local, of the session that last renewed the lease.';

CREATE TABLE queue.assignment (
    group_id   int   NOT NULL,
    topic_id   int   NOT NULL,
    name       text  COLLATE "C" NOT NULL,
    partitions int[] NOT NULL,
    CONSTRAINT assignment_pkey PRIMARY KEY (group_id, topic_id, name)
) WITH (fillfactor = 50);
COMMENT ON TABLE queue.assignment IS 'Which members own which partitions; void without a lease in queue.member. Not dumped.';
COMMENT ON COLUMN queue.assignment.group_id IS 'Consumer group.';
COMMENT ON COLUMN queue.assignment.topic_id IS 'Topic.';
COMMENT ON COLUMN queue.assignment.name IS 'Member.';
COMMENT ON COLUMN queue.assignment.partitions IS 'Partitions that it owns.';

CREATE TABLE queue.producer (
    producer_id serial      NOT NULL,
    topic_id    int         NOT NULL,
    name        text        COLLATE "C" NOT NULL,
    owner       queue.role  NOT NULL,
    strict      boolean     NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT producer_pkey PRIMARY KEY (producer_id),
    CONSTRAINT producer_name_key UNIQUE (topic_id, name)
);
COMMENT ON TABLE queue.producer IS 'Producers that send sequences, and the roles they belong to.';
COMMENT ON COLUMN queue.producer.producer_id IS 'Number of the producer.';
COMMENT ON COLUMN queue.producer.topic_id IS 'Topic.';
COMMENT ON COLUMN queue.producer.name IS 'The producer_id that the application chose.';
COMMENT ON COLUMN queue.producer.owner IS 'Role that first used it, or that it was given to.';
COMMENT ON COLUMN queue.producer.strict IS 'Whether each sequence must follow the one before; else gaps are allowed (monotonic).';
COMMENT ON COLUMN queue.producer.created_at IS 'When it was first used.';

CREATE TABLE queue.producer_batch (
    producer_id    int         NOT NULL,
    series         int         NOT NULL,
    last_sequence  bigint      NOT NULL,
    generation     bigint      NOT NULL,
    epoch          int         NOT NULL,
    first_sequence bigint      NOT NULL,
    partition      int,
    "offset"       bigint,
    accepted       bigint      NOT NULL,
    duplicates     bigint      NOT NULL,
    gaps           bigint      NOT NULL,
    produced_at    timestamptz NOT NULL,
    watermark      jsonb,
    places         bytea,
    used_at        timestamptz,
    incarnation    bigint
) WITH (toast_tuple_target = 8160);
-- A map of places is compact already, and wanted whole.
ALTER TABLE queue.producer_batch ALTER COLUMN places SET STORAGE EXTERNAL;
CREATE INDEX producer_batch_newest
    ON queue.producer_batch (producer_id, series, last_sequence, generation);
COMMENT ON TABLE queue.producer_batch IS 'What producers have stored, append-only: a row per call; the last in the order of the index counts, the others find the places of duplicates.';
COMMENT ON COLUMN queue.producer_batch.producer_id IS 'Producer, as in queue.producer.';
COMMENT ON COLUMN queue.producer_batch.series IS 'Epoch in which the producer''s sequences last restarted.';
COMMENT ON COLUMN queue.producer_batch.last_sequence IS 'Last sequence stored; -1: none in this series.';
COMMENT ON COLUMN queue.producer_batch.generation IS 'Counts the producer''s rows.';
COMMENT ON COLUMN queue.producer_batch.epoch IS 'Epoch in force.';
COMMENT ON COLUMN queue.producer_batch.first_sequence IS 'First sequence of the row; last_sequence + 1 for a row without messages.';
COMMENT ON COLUMN queue.producer_batch.partition IS 'Partition of the message with last_sequence.';
COMMENT ON COLUMN queue.producer_batch."offset" IS 'Offset of the message with last_sequence.';
COMMENT ON COLUMN queue.producer_batch.accepted IS 'Messages stored until then.';
COMMENT ON COLUMN queue.producer_batch.duplicates IS 'Messages left out as duplicates until then.';
COMMENT ON COLUMN queue.producer_batch.gaps IS 'Gaps in the sequences until then.';
COMMENT ON COLUMN queue.producer_batch.produced_at IS 'When the last message was stored.';
COMMENT ON COLUMN queue.producer_batch.watermark IS 'What the producer last kept with its messages.';
COMMENT ON COLUMN queue.producer_batch.places IS 'Partitions and offsets of the row''s sequences (src/base/sequence_map.c); NULL without messages.';
COMMENT ON COLUMN queue.producer_batch.used_at IS 'When the row was written, if it has no messages: duplicates only, a fence, a watermark alone; NULL: at produced_at.';
COMMENT ON COLUMN queue.producer_batch.incarnation IS 'Incarnation of the log that the places are of (queue.incarnation); NULL without messages.';
COMMENT ON INDEX queue.producer_batch_newest IS 'Not unique: a unique check would walk old versions. Writers hold the producer''s lock.';

CREATE TABLE queue.producer_history (
    producer_id    int    NOT NULL,
    series         int    NOT NULL,
    last_sequence  bigint NOT NULL,
    first_sequence bigint NOT NULL,
    places         bytea  NOT NULL,
    incarnation    bigint
) WITH (toast_tuple_target = 8160);
ALTER TABLE queue.producer_history ALTER COLUMN places SET STORAGE EXTERNAL;
CREATE INDEX producer_history_places
    ON queue.producer_history (producer_id, series, last_sequence);
COMMENT ON TABLE queue.producer_history IS 'Where producers'' earlier messages are: what queue.prune_producers() has made of rows of queue.producer_batch.';
COMMENT ON COLUMN queue.producer_history.producer_id IS 'Producer, as in queue.producer.';
COMMENT ON COLUMN queue.producer_history.series IS 'Epoch in which the producer''s sequences last restarted.';
COMMENT ON COLUMN queue.producer_history.last_sequence IS 'Last sequence of the row.';
COMMENT ON COLUMN queue.producer_history.first_sequence IS 'First sequence of the row.';
COMMENT ON COLUMN queue.producer_history.places IS 'Partitions and offsets of the row''s sequences (src/base/sequence_map.c).';
COMMENT ON COLUMN queue.producer_history.incarnation IS 'Incarnation of the log that the places are of (queue.incarnation).';
COMMENT ON INDEX queue.producer_history_places IS 'Finds the row of a sequence. Writers hold the producer''s lock.';

CREATE TABLE queue.producer_due (
    topic_id int  NOT NULL,
    name     text COLLATE "C" NOT NULL
);
CREATE INDEX producer_due_name
    ON queue.producer_due (topic_id, name);
COMMENT ON TABLE queue.producer_due IS 'Producers whose rows of queue.producer_batch maintenance is to merge: each 16th row that a producer writes there comes with one here.';
COMMENT ON COLUMN queue.producer_due.topic_id IS 'Topic.';
COMMENT ON COLUMN queue.producer_due.name IS 'The producer_id that the application chose.';
COMMENT ON INDEX queue.producer_due_name IS 'Not unique: a producer may be due several times. Writers hold the producer''s lock.';

-- Tables without a primary key: DELETE also works if all tables are published.
ALTER TABLE queue.incarnation REPLICA IDENTITY FULL;
ALTER TABLE queue.maintenance_log REPLICA IDENTITY FULL;
ALTER TABLE queue.progress REPLICA IDENTITY FULL;
ALTER TABLE queue.producer_batch REPLICA IDENTITY FULL;
ALTER TABLE queue.producer_history REPLICA IDENTITY FULL;
ALTER TABLE queue.producer_due REPLICA IDENTITY FULL;

SELECT pg_catalog.pg_extension_config_dump('queue.topic', '');
SELECT pg_catalog.pg_extension_config_dump('queue.topic_topic_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('queue.checkpoint', '');
SELECT pg_catalog.pg_extension_config_dump('queue.incarnation', '');
SELECT pg_catalog.pg_extension_config_dump('queue.consumer_group', '');
SELECT pg_catalog.pg_extension_config_dump('queue.consumer_group_group_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('queue.progress', '');
SELECT pg_catalog.pg_extension_config_dump('queue.producer', '');
SELECT pg_catalog.pg_extension_config_dump('queue.producer_producer_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('queue.producer_due', '');
SELECT pg_catalog.pg_extension_config_dump('queue.producer_batch', '');
SELECT pg_catalog.pg_extension_config_dump('queue.producer_history', '');

COMMENT ON SEQUENCE queue.topic_topic_id_seq IS 'Numbers of topics.';
COMMENT ON SEQUENCE queue.consumer_group_group_id_seq IS 'Numbers of consumer groups.';
COMMENT ON SEQUENCE queue.producer_producer_id_seq IS 'Numbers of producers.';

REVOKE ALL ON queue.topic, queue.checkpoint, queue.incarnation, queue.maintenance_log,
    queue.consumer_group, queue.progress, queue.member, queue.assignment,
    queue.producer, queue.producer_due, queue.producer_batch,
    queue.producer_history FROM PUBLIC;
REVOKE ALL ON SEQUENCE queue.topic_topic_id_seq,
    queue.consumer_group_group_id_seq, queue.producer_producer_id_seq FROM PUBLIC;

------------------------------------------------------------------------------
-- Row types
------------------------------------------------------------------------------

CREATE TYPE queue.message AS (
    topic       text,
    partition   int,
    "offset"    bigint,
    "timestamp" timestamptz,
    key         text,
    value       jsonb,
    headers     jsonb
);
COMMENT ON TYPE queue.message IS 'A message as consume and fetch return it. Columns are only ever appended.';

CREATE TYPE queue.leased_message AS (
    topic       text,
    partition   int,
    "offset"    bigint,
    "timestamp" timestamptz,
    key         text,
    value       jsonb,
    headers     jsonb,
    epoch       bigint
);
COMMENT ON TYPE queue.leased_message IS 'A message as poll returns it. epoch: goes to commit_offset; all messages of a partition have the same. Columns are only ever appended.';

CREATE TYPE queue.produce_result AS (
    partition   int,
    "offset"    bigint,
    "timestamp" timestamptz,
    duplicate   boolean
);
COMMENT ON TYPE queue.produce_result IS 'Where a message was stored. Provisional until COMMIT. duplicate: it was stored before, and there; then "timestamp" is NULL.';

CREATE TYPE queue.produce_batch_result AS (
    partition    int,
    first_offset bigint,
    last_offset  bigint,
    count        bigint,
    duplicates   bigint
);
COMMENT ON TYPE queue.produce_batch_result IS 'Where the messages of a batch are, a row per partition: count were stored, duplicates were there before; first and last offset are those of both together. Other producers'' messages may lie between them.';

------------------------------------------------------------------------------
-- What a topic's view calls
------------------------------------------------------------------------------

CREATE FUNCTION queue.topic_insert() RETURNS trigger
AS 'MODULE_PATHNAME', 'pgqueue_topic_insert'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.topic_insert() IS
'INSTEAD OF INSERT trigger of a topic''s view: appends the row as a message. Argument: the topic''s name.';

CREATE FUNCTION queue.topic_flush() RETURNS trigger
AS 'MODULE_PATHNAME', 'pgqueue_topic_flush'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.topic_flush() IS
'AFTER INSERT statement trigger of a topic''s view: appends the rows that the statement has gathered.';

CREATE FUNCTION queue.refuse_change() RETURNS trigger
AS 'MODULE_PATHNAME', 'pgqueue_refuse_change'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.refuse_change() IS
'Trigger of a topic''s view: answers UPDATE and DELETE with an error (0A000).';

CREATE FUNCTION queue.insert_guard() RETURNS bigint
AS 'MODULE_PATHNAME', 'pgqueue_insert_guard'
LANGUAGE C STABLE PARALLEL SAFE;
COMMENT ON FUNCTION queue.insert_guard() IS
'Default of a topic''s columns partition, "offset" and "timestamp": NULL, or an error (55000) under session_replication_role = replica, where rows would vanish.';

-- A trigger function needs no EXECUTE right to be fired.
REVOKE ALL ON FUNCTION queue.topic_insert(), queue.topic_flush(), queue.refuse_change() FROM PUBLIC;

------------------------------------------------------------------------------
-- Topics
------------------------------------------------------------------------------

CREATE FUNCTION queue.create_topic(
    topic            text,
    partitions       int     DEFAULT 1,
    value_type       regtype DEFAULT 'jsonb',
    segment_messages bigint   DEFAULT NULL,
    notify           boolean  DEFAULT false,
    retention        interval DEFAULT NULL,
    retention_bytes  bigint   DEFAULT NULL,
    retention_force  boolean  DEFAULT false,
    cleanup_policy   text     DEFAULT 'delete',
    tombstone_retention interval DEFAULT '1 day',
    tablespace       text     DEFAULT NULL,
    group_expiry     interval DEFAULT NULL
) RETURNS regclass
AS 'MODULE_PATHNAME', 'pgqueue_create_topic'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.create_topic(text, int, regtype, bigint, boolean, interval, bigint, boolean, text, interval, text, interval) IS
'Creates a topic and returns its view.
topic: 1 to 63 characters of a-z, A-Z, 0-9, ".", "_", "-". partitions: 1 to 10000, default 1. value_type: type of the values, default jsonb; composites and domains too. segment_messages: offsets per segment; default NULL, adaptive. notify: whether each transaction that produces sends NOTIFY on the channel of the topic''s name, for clients that LISTEN; default false, since NOTIFY lets commits wait for each other and cannot be prepared (see queue.wait).
retention: how long messages are kept, retention_bytes: how much of each partition; default NULL, for ever. Limits are kept by queue.maintain(), whole segments at a time. retention_force: whether they win over groups that have not read the messages; default false.
cleanup_policy: delete, the default: the limits hold; compact: they do not, but queue.maintain() takes messages away that have a later one of the same key; compact,delete: both. Messages of a compacted topic need a key. tombstone_retention: how long compaction keeps a tombstone, a message whose value is NULL; default one day, and in any case until all groups have read it, unless retention_force. Idea: Kafka''s log compaction.
tablespace: where segments are made; default NULL, as '''': the database''s default.
group_expiry: after so long without use a group that a first consume or poll made, and that has no expiry of its own, holds no messages of the topic any more; default NULL, as 0: it holds them for ever.
Errors: 42602 bad name, 42710 exists already, 22023 bad argument, 22004 NULL, 42501 no right, 42704 no such tablespace or type.
Right: CREATE on schema topic, USAGE on the type, CREATE on the tablespace. Since 1.0.';

CREATE FUNCTION queue.alter_topic(
    topic            text,
    partitions       int     DEFAULT NULL,
    segment_messages bigint   DEFAULT NULL,
    notify           boolean  DEFAULT NULL,
    retention        interval DEFAULT NULL,
    retention_bytes  bigint   DEFAULT NULL,
    retention_force  boolean  DEFAULT NULL,
    cleanup_policy   text     DEFAULT NULL,
    tombstone_retention interval DEFAULT NULL,
    tablespace       text     DEFAULT NULL,
    group_expiry     interval DEFAULT NULL
) RETURNS void
AS 'MODULE_PATHNAME', 'pgqueue_alter_topic'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.alter_topic(text, int, bigint, boolean, interval, bigint, boolean, text, interval, text, interval) IS
'Changes a topic. partitions: the new number, not below the old one; keys move to other partitions from then on, as in Kafka. segment_messages: offsets per new segment, 0 for adaptive. notify, retention, retention_bytes, retention_force: as in queue.create_topic(); 0 for no limit. cleanup_policy, tombstone_retention: as there. tablespace: of segments made from then on, '''' for the database''s default; those that are there stay (see queue.move_segments). group_expiry: as in queue.create_topic(), 0 for never. NULL leaves as it is.
Errors: 42704 no such topic or tablespace, 22023 bad argument, 22004 NULL, 42501 not the owner, 25006 read-only. Right: ownership of the topic. Since 1.0.';

CREATE FUNCTION queue.drop_topic(
    topic     text,
    if_exists boolean DEFAULT false,
    cascade   boolean DEFAULT false
) RETURNS void
AS 'MODULE_PATHNAME', 'pgqueue_drop_topic'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.drop_topic(text, boolean, boolean) IS
'Drops a topic with its messages and the groups'' offsets in it. Waits for transactions that use the topic. cascade: also what depends on the topic''s view, table and segments, as DROP ... CASCADE does, whichever role made it.
Errors: 42704 no such topic (a notice with if_exists), 2BP01 if a view or function depends on it, without cascade, 42501 not the owner. Right: ownership of the topic. Since 1.0.';

------------------------------------------------------------------------------
-- Producing
------------------------------------------------------------------------------

CREATE FUNCTION queue.produce(
    topic       text,
    value       text,
    key         text   DEFAULT NULL,
    headers     jsonb  DEFAULT NULL,
    partition   int    DEFAULT NULL,
    producer_id text   DEFAULT NULL,
    sequence    bigint DEFAULT NULL,
    epoch       int    DEFAULT 0
) RETURNS queue.produce_result
AS 'MODULE_PATHNAME', 'pgqueue_produce_text'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.produce(text, text, text, jsonb, int, text, bigint, int) IS
'Appends one message; it becomes visible with COMMIT. value: parsed as the topic''s type; NULL, with a key, is a tombstone. key: chooses the partition as Kafka does (murmur2). headers: a JSON object. partition: overrides the key. Without key and partition: round robin.
producer_id: 1 to 255 bytes, chosen by the application, known to the topic from its first use on; it needs sequence: the message''s number, 0 to 2^63 - 2, by default the last one + 1 exactly (see queue.create_producer). A sequence that was stored before stores nothing. epoch: default 0; a lower one than the current is refused, a higher one becomes the current and the sequences restart (see queue.fence_producer). Waits for another transaction that has produced with the same id.
Returns partition, offset and timestamp, provisional until COMMIT; for a duplicate those of the original message, without timestamp.
Errors: 42704 no such topic, 22P02 and the like if the value does not parse, 22004 NULL, 22023 bad argument, 42602 bad producer_id, 54000 too large, 42501 no right, 25006 read-only, QU002 sequence out of order, QU003 producer fenced, 40001 under REPEATABLE READ if the producer moved on, QU001 a duplicate whose original was not restored. Right: INSERT on the topic''s view; membership in the producer''s role. Idea: Kafka''s idempotent producer. Since 1.0.';

CREATE FUNCTION queue.produce(
    topic       text,
    value       anyelement,
    key         text   DEFAULT NULL,
    headers     jsonb  DEFAULT NULL,
    partition   int    DEFAULT NULL,
    producer_id text   DEFAULT NULL,
    sequence    bigint DEFAULT NULL,
    epoch       int    DEFAULT 0
) RETURNS queue.produce_result
AS 'MODULE_PATHNAME', 'pgqueue_produce_typed'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.produce(text, anyelement, text, jsonb, int, text, bigint, int) IS
'As queue.produce(topic, value text, ...), for a value that has the topic''s type already. Errors: also 42804 if it has another type. Since 1.0.';

CREATE FUNCTION queue.produce_batch(
    topic          text,
    batch          anyarray,
    keys           text[]   DEFAULT NULL,
    headers        jsonb[]  DEFAULT NULL,
    partition      int      DEFAULT NULL,
    producer_id    text     DEFAULT NULL,
    first_sequence bigint   DEFAULT NULL,
    epoch          int      DEFAULT 0,
    watermark      jsonb    DEFAULT NULL,
    sequences      bigint[] DEFAULT NULL
) RETURNS SETOF queue.produce_batch_result
AS 'MODULE_PATHNAME', 'pgqueue_produce_batch'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.produce_batch(text, anyarray, text[], jsonb[], int, text, bigint, int, jsonb, bigint[]) IS
'Appends many messages in the order of the array, the fastest way to produce. batch: values; elements of type text are parsed as the topic''s type, others must have it. keys, headers: as many elements, or NULL. partition: for all of them. Messages without key and partition go to one partition together.
producer_id, epoch: as in queue.produce(). first_sequence: number of the first message, the others count on from it; or sequences: the number of each, ascending. Exactly those that were stored before are left out. watermark: what queue.producer_state() gives back, stored with the batch unless all of it is duplicate; also with an empty batch.
Returns a row per partition that holds messages of the batch.
Errors: as queue.produce(); 22023 for arrays of different length or of two dimensions. Right: as queue.produce(). Since 1.0.';

CREATE FUNCTION queue.produce_batch(
    topic          text,
    batch          text,
    keys           text[]   DEFAULT NULL,
    headers        jsonb[]  DEFAULT NULL,
    partition      int      DEFAULT NULL,
    producer_id    text     DEFAULT NULL,
    first_sequence bigint   DEFAULT NULL,
    epoch          int      DEFAULT 0,
    watermark      jsonb    DEFAULT NULL,
    sequences      bigint[] DEFAULT NULL
) RETURNS SETOF queue.produce_batch_result
AS 'MODULE_PATHNAME', 'pgqueue_produce_batch'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.produce_batch(text, text, text[], jsonb[], int, text, bigint, int, jsonb, bigint[]) IS
'As queue.produce_batch(topic, batch anyarray, ...), for a text[] in its text form: what an untyped literal or driver parameter is. Errors: also 22P02 if it is not an array. Since 1.0.';

CREATE FUNCTION queue.create_producer(
    topic         text,
    producer_id   text,
    sequence_mode text DEFAULT 'strict'
) RETURNS void
AS 'MODULE_PATHNAME', 'pgqueue_create_producer'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.create_producer(text, text, text) IS
'Makes a producer known before its first message, to choose its mode. sequence_mode: strict (default, also for producers that were not created: each sequence is the last one + 1) or monotonic (each is greater than the last one: positions in a file; not an LSN or SCN, which goes back from one message to the next, and is shared by several; a sequence in a gap is refused later, since it may be a lost message).
Errors: 42710 known already, 42704 no such topic, 22023 bad mode, 42602 bad producer_id, 22004 NULL, 42501 no right, 25006 read-only. Right: INSERT on the topic''s view; the producer becomes the current user''s. Since 1.0.';

CREATE FUNCTION queue.alter_producer(
    topic       text,
    producer_id text,
    owner       text DEFAULT NULL
) RETURNS void
AS 'MODULE_PATHNAME', 'pgqueue_alter_producer'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.alter_producer(text, text, text) IS
'Gives a producer with its epoch and sequences to another role, say since its own was dropped. owner: that role; NULL leaves it as it is. Waits for a transaction that has produced with the id.
Errors: 42704 no such topic, producer or role, 42602 bad producer_id, 22004 NULL, 42501 no right, 25006 read-only. Right: INSERT on the topic''s view, and membership in the producer''s role or ownership of the topic; membership in the new role. Since 1.0.';

CREATE FUNCTION queue.fence_producer(
    topic       text,
    producer_id text,
    terminate   boolean DEFAULT false
) RETURNS int
AS 'MODULE_PATHNAME', 'pgqueue_fence_producer'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.fence_producer(text, text, boolean) IS
'Takes a producer over: raises its epoch and returns the new one. From COMMIT on, whoever produces with an older epoch gets QU003; what they produced before is committed and counted, or never will be. Sequences go on behind the last one: read queue.producer_state() next.
Waits for a transaction that has produced with the id and is still open (queue.blockers shows it; lock_timeout applies). terminate: ends that backend instead; a prepared transaction is waited for all the same. An unknown producer is made, with epoch 1.
Errors: 42704 no such topic, 42602 bad producer_id, 22004 NULL, 42501 no right, 55P03 lock_timeout, 25006 read-only, 54000 no epoch left. Right: INSERT on the topic''s view, and membership in the producer''s role or ownership of the topic; with terminate also that of pg_terminate_backend(). Idea: Kafka''s initTransactions(). Since 1.0.';

CREATE FUNCTION queue.producer_state(
    topic       text,
    producer_id text,
    OUT epoch         int,
    OUT last_sequence bigint,
    OUT partition     int,
    OUT "offset"      bigint,
    OUT watermark     jsonb,
    OUT produced_at   timestamptz
) RETURNS record
AS 'MODULE_PATHNAME', 'pgqueue_producer_state'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.producer_state(text, text) IS
'Where a producer goes on: its epoch, the last sequence that was stored, that message''s partition and offset, the watermark kept with the last batch, and when that message was stored (of a producer without messages: when it was first fenced or stored a watermark). As of now, without what others have not committed. One row; all NULL for a producer that is not known, last_sequence NULL for one that has stored nothing in its epoch.
Errors: 42704 no such topic, 42602 bad producer_id, 22004 NULL, 42501 no right. Right: INSERT on the topic''s view, and membership in the producer''s role or ownership of the topic. Since 1.0.';

CREATE FUNCTION queue.prune_producers(topic text) RETURNS bigint
AS 'MODULE_PATHNAME', 'pgqueue_prune_producers'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.prune_producers(text) IS
'Makes the state of a topic''s producers smaller and loses nothing that a duplicate needs: all but each producer''s newest row of queue.producer_batch move to queue.producer_history, many becoming one with the places of all their messages; rows of epochs whose sequences no one can send any more go. Producers that are in use are left out. Prunes at most 500 producers in a call, since each keeps a lock to the end of the transaction; a NOTICE says if others may be left. Returns the number of rows saved.
Errors: 42704 no such topic, 22004 NULL, 42501 not the owner, 25006 read-only. Right: ownership of the topic. Since 1.0.';

CREATE FUNCTION queue.forget_producer(topic text, producer_id text) RETURNS boolean
AS 'MODULE_PATHNAME', 'pgqueue_forget_producer'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.forget_producer(text, text) IS
'Forgets a producer and all that it has stored; its messages stay. Whoever uses the id again is new, and sending an old message again stores it again. Returns false if the producer was not known. Nothing is ever forgotten otherwise. Waits for a transaction that has produced with the id.
Errors: 42704 no such topic, 42602 bad producer_id, 22004 NULL, 42501 no right, 25006 read-only. Right: INSERT on the topic''s view, and membership in the producer''s role or ownership of the topic. Since 1.0.';

CREATE PROCEDURE queue.forget_producers(
    topic        text,
    unused_since timestamptz,
    INOUT forgotten bigint DEFAULT NULL)
AS 'MODULE_PATHNAME', 'pgqueue_forget_producers'
LANGUAGE C;
COMMENT ON PROCEDURE queue.forget_producers(text, timestamptz, bigint) IS
'Forgets the producers of a topic that were not used since a time, as queue.forget_producer() does, some hundreds in a transaction; used: sent a message, be it a duplicate, or a watermark, were fenced, or were made. One that a transaction is using is left out. forgotten: returns how many were forgotten; need not be given. If it is interrupted, those that were forgotten before stay so.
Errors: 2D000 inside a transaction block or a function, 42704 no such topic, 55006 the topic was dropped meanwhile, 22004 NULL, 42501 not the owner, 25006 read-only. Right: ownership of the topic. Since 1.0.';

CREATE FUNCTION queue.murmur2(data bytea) RETURNS int
AS 'MODULE_PATHNAME', 'pgqueue_murmur2_sql'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION queue.murmur2(bytea) IS
'MurmurHash2 (Austin Appleby) with the seed of Kafka''s default partitioner. Since 1.0.';

CREATE FUNCTION queue.partition_for_key(key text, partitions int) RETURNS int
AS 'MODULE_PATHNAME', 'pgqueue_partition_for_key_sql'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION queue.partition_for_key(text, int) IS
'Partition of a key among so many partitions: Kafka''s default partitioner over the key in UTF-8. Errors: 22023 if partitions is not positive. Since 1.0.';

------------------------------------------------------------------------------
-- Consuming
------------------------------------------------------------------------------

CREATE FUNCTION queue.create_group(
    consumer_group    text,
    topic             text,
    start             text     DEFAULT 'earliest',
    auto_offset_reset text     DEFAULT NULL,
    expiry            interval DEFAULT NULL
) RETURNS void
AS 'MODULE_PATHNAME', 'pgqueue_create_group'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.create_group(text, text, text, text, interval) IS
'Sets where a group starts to read a topic, before its first consume. start: earliest (log start, the default), latest (behind the last committed message, and not behind one still in progress), or a timestamp that begins with a digit (the first message of that time or later). Without it a group starts at the log start. auto_offset_reset and expiry: settings of the group, as in queue.alter_group(); default: as they are, in a new group none and never. Idea of start: Kafka''s auto.offset.reset.
Errors: 42704 no such topic, 42710 the group reads the topic already, 42602 bad group name, 22023 bad start or setting, 22007 or 22008 bad timestamp, 22004 NULL, 42501 no right, 40001 under REPEATABLE READ if the group moved on, 55006 group or topic dropped meanwhile, 25006 read-only. Right: SELECT on the topic''s view; the group becomes the current user''s. Since 1.0.';

CREATE FUNCTION queue.alter_group(
    consumer_group    text,
    auto_offset_reset text     DEFAULT NULL,
    expiry            interval DEFAULT NULL,
    owner             text     DEFAULT NULL
) RETURNS void
AS 'MODULE_PATHNAME', 'pgqueue_alter_group'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.alter_group(text, text, interval, text) IS
'Changes a group''s settings; NULL leaves one as it is.
auto_offset_reset: what the group''s next call does when messages are gone that it had yet to read (topic option retention_force, queue.delete_messages(force), or the group had expired): none (the default) raises QU001; earliest goes on at the log start, raises a WARNING (QU001), and counts the offsets between as missed (view queue.consumer_groups). The count commits or aborts with the call. A call that finds nothing to read leaves the jump to a later one.
expiry: how long the group holds messages that it has yet to read in a topic while it is not used, up to 10,000 days; 0: for ever (the default; but a group that a first consume or poll made holds them as long as the topic''s group_expiry says until its own is set). It counts from the latest of the group''s creation, its last move in any partition of the topic, the end of its members'' last lease, and the time of the partition''s first message that it has yet to read. A group that a transaction is consuming in the topic, or that has a live member there, is in use. Offsets stay in any case. What is rolled back is no use.
owner: role that the group belongs to from then on.
Waits for another transaction that changes the group''s settings. Takes effect with COMMIT.
Errors: 42704 no such group or role, 42602 bad group name, 22023 other word, negative or overlong expiry, 22004 NULL, 42501 no right, 55006 group dropped meanwhile, 25006 read-only. Right: membership in the group''s role, and in the new one. Idea: Kafka''s auto.offset.reset and offsets.retention.minutes. Since 1.0.';

CREATE FUNCTION queue.drop_group(consumer_group text, topic text DEFAULT NULL)
RETURNS void
AS 'MODULE_PATHNAME', 'pgqueue_drop_group'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.drop_group(text, text) IS
'Forgets a group with its offsets, their history and its members; with topic: what it has in that topic only. Whoever uses the name again starts anew, at the log start: stop consumers and members first. Waits for transactions of the group.
Errors: 42704 no such group or topic, 42602 bad group name, 22004 NULL, 42501 no right, 55006 group dropped meanwhile, 25006 read-only. Right: membership in the group''s role, or ownership of the topic if one is given, on whose view SELECT is needed. Since 1.0.';

CREATE FUNCTION queue.expire_group(consumer_group text, topic text) RETURNS int
AS 'MODULE_PATHNAME', 'pgqueue_expire_group'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.expire_group(text, text) IS
'Lets a group expire in a topic, as if it had not been used for its expiry: in each partition it holds no messages any more until its offset is moved or messages are handed to a member there. Its offsets stay; partitions that it has not begun, it begins at the log start. Returns the number of partitions in which it held messages until then. Waits for transactions of the group.
Errors: 42704 no such group or topic, 42602 bad group name, 22004 NULL, 42501 no right, 40001 under REPEATABLE READ if the group moved on, 55006 group or topic dropped meanwhile, 25006 read-only. Right: SELECT on the topic''s view; membership in the group''s role or ownership of the topic. Since 1.0.';

CREATE FUNCTION queue.reset_offsets(
    consumer_group text,
    topic          text,
    to_offset      bigint      DEFAULT NULL,
    to_time        timestamptz DEFAULT NULL,
    to_earliest    boolean     DEFAULT false,
    to_latest      boolean     DEFAULT false,
    shift_by       bigint      DEFAULT NULL,
    partition      int         DEFAULT NULL,
    dry_run        boolean     DEFAULT false,
    OUT partition  int,
    OUT old_offset bigint,
    OUT new_offset bigint
) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'pgqueue_reset_offsets'
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 20;
COMMENT ON FUNCTION queue.reset_offsets(text, text, bigint, timestamptz, boolean, boolean, bigint, int, boolean) IS
'Moves a group''s offsets, forward or back, in the caller''s transaction, together with whatever else it does. Exactly one of: to_offset; to_time (first message of that time or later, else latest); to_earliest (log start); to_latest (behind the last committed message, and not behind one in progress); shift_by (so many offsets forward, or, negative, back; stops at the ends of the log). partition: default all. dry_run: only tells.
Returns a row per partition: where the group was (NULL: it had not begun, and counts as being at the log start) and where it is now. Waits for transactions that are consuming; members that have messages in hand are fenced. What the awaited transaction commits is seen by the next statement, not by this one: delete what was derived in a statement of its own, after. If the log started behind the group''s offset, what lies between counts as missed (queue.alter_group).
Errors: 42704 no such topic or group, QU001 to_offset outside the log, 22023 none or several targets, bad partition, 42602 bad group name, 22004 NULL, 42501 no right, 40001 under REPEATABLE READ if the group moved on, 55006 group or topic dropped meanwhile, 25006 read-only. Right: SELECT on the topic''s view; membership in the group''s role or ownership of the topic. Idea: kafka-consumer-groups --reset-offsets. Since 1.0.';

CREATE FUNCTION queue.offsets_for_time(
    topic      text,
    "time"     timestamptz,
    partition  int DEFAULT NULL,
    OUT partition   int,
    OUT "offset"    bigint,
    OUT "timestamp" timestamptz
) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'pgqueue_offsets_for_time'
LANGUAGE C STABLE PARALLEL UNSAFE ROWS 20;
COMMENT ON FUNCTION queue.offsets_for_time(text, timestamptz, int) IS
'The first message of each partition, or of one, whose timestamp is that time or later; NULL if there is none, or none before a message still in progress. Binary search over the log. Works on a standby.
Errors: 42704 no such topic, 22023 bad partition, 22004 NULL, 42501 no right. Right: SELECT on the topic''s view. Idea: Kafka''s offsetsForTimes(). Since 1.0.';

CREATE FUNCTION queue.offset_time(topic text, partition int, from_offset bigint)
RETURNS timestamptz
AS 'MODULE_PATHNAME', 'pgqueue_offset_time'
LANGUAGE C STABLE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.offset_time(text, int, bigint) IS
'Timestamp of the first message at or behind an offset; NULL if there is none, or the offset lies before the log start.
Errors: 42704 no such topic, 22023 bad partition, 42501 no right. Right: SELECT on the topic''s view. Since 1.0.';

CREATE FUNCTION queue.unread_time(topic text, partition int, from_offset bigint)
RETURNS timestamptz
AS 'MODULE_PATHNAME', 'pgqueue_unread_time'
LANGUAGE C STABLE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.unread_time(text, int, bigint) IS
'What view queue.consumer_groups tells the age of unread messages by: as queue.offset_time(), but NULL where that raises an error. What cannot be read is a WARNING. Since 1.0.';

CREATE FUNCTION queue.consume(
    consumer_group text,
    topic          text,
    max_messages   int      DEFAULT 100,
    max_bytes      int      DEFAULT NULL,
    partitions     int[]    DEFAULT NULL,
    max_wait       interval DEFAULT NULL,
    metadata       text     DEFAULT NULL
) RETURNS SETOF queue.message
AS 'MODULE_PATHNAME', 'pgqueue_consume'
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 100;
COMMENT ON FUNCTION queue.consume(text, text, int, int, int[], interval, text) IS
'Returns the next messages of one partition and moves the group''s offset over all of them, in the caller''s transaction: COMMIT makes both durable, ROLLBACK or a crash gives the messages back. Takes the next partition that has something to read, is not paused, and that no other transaction of the group holds and no live member has messages in hand of; returns nothing if there is none.
max_messages: default 100. max_bytes: of keys, values and headers, uncompressed; one message is returned whatever its size; default no limit. partitions: which to read; default all. max_wait: if there is nothing, waits so long for it; holds the statement''s snapshot meanwhile, which does not show what arrives: it returns nothing and the next statement reads (under REPEATABLE READ the next transaction). Default: does not wait (see queue.wait). metadata: kept with the offset. For topics of type jsonb.
The first call of a new group makes the group; others that use the same new group wait for that transaction: call queue.create_group() beforehand.
Errors: 42704 no such topic, 42804 other value type, 22023 bad limit, wait or partition, 22004 NULL, 42602 bad group name, 42501 no right, 40001 under REPEATABLE READ if the group moved on, 55006 group or topic dropped meanwhile, QU001 committed offset outside the log (see queue.alter_group), 25006 read-only. Right: SELECT on the topic''s view, membership in the group''s role. Since 1.0.';

CREATE FUNCTION queue.consume_typed(
    consumer_group text,
    topic          text,
    value_type     anyelement,
    max_messages   int      DEFAULT 100,
    max_bytes      int      DEFAULT NULL,
    partitions     int[]    DEFAULT NULL,
    max_wait       interval DEFAULT NULL,
    metadata       text     DEFAULT NULL,
    OUT topic       text,
    OUT partition   int,
    OUT "offset"    bigint,
    OUT "timestamp" timestamptz,
    OUT key         text,
    OUT value       anyelement,
    OUT headers     jsonb
) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'pgqueue_consume_typed'
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 100;
COMMENT ON FUNCTION queue.consume_typed(text, text, anyelement, int, int, int[], interval, text) IS
'As queue.consume(), for a topic of any type: pass NULL::type as value_type. Since 1.0.';

CREATE FUNCTION queue.consume_topics(
    consumer_group text,
    topics         text[],
    max_messages   int      DEFAULT 100,
    max_bytes      int      DEFAULT NULL,
    max_wait       interval DEFAULT NULL,
    metadata       text     DEFAULT NULL
) RETURNS SETOF queue.message
AS 'MODULE_PATHNAME', 'pgqueue_consume_topics'
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 100;
COMMENT ON FUNCTION queue.consume_topics(text, text[], int, int, interval, text) IS
'As queue.consume(), from the next of several topics that has something, in turn. topics: 1 to 64, with values of one type. Since 1.0.';

CREATE FUNCTION queue.consume_topics_typed(
    consumer_group text,
    topics         text[],
    value_type     anyelement,
    max_messages   int      DEFAULT 100,
    max_bytes      int      DEFAULT NULL,
    max_wait       interval DEFAULT NULL,
    metadata       text     DEFAULT NULL,
    OUT topic       text,
    OUT partition   int,
    OUT "offset"    bigint,
    OUT "timestamp" timestamptz,
    OUT key         text,
    OUT value       anyelement,
    OUT headers     jsonb
) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'pgqueue_consume_topics_typed'
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 100;
COMMENT ON FUNCTION queue.consume_topics_typed(text, text[], anyelement, int, int, interval, text) IS
'As queue.consume_topics(), for topics of any type: pass NULL::type as value_type. Since 1.0.';

CREATE PROCEDURE queue.wait(
    consumer_group text,
    topic          text,
    timeout        interval DEFAULT NULL,
    member         text     DEFAULT NULL
)
AS 'MODULE_PATHNAME', 'pgqueue_wait'
LANGUAGE C;
COMMENT ON PROCEDURE queue.wait(text, text, interval, text) IS
'Commits, then sleeps until the group has something to consume in the topic, without a snapshot: VACUUM is not held back. Returns when there is something, or after timeout (default: no limit); consume then tells: it may find nothing, if others were faster, or if the message whose commit woke it lies behind one still in progress. Woken by the commit of a producer or consumer; looks itself each queue.recheck_interval (default 1 s), for what cannot wake it (prepared transactions, leases that run out, a standby). With member: until that member has something to poll, or should poll to keep its lease or its share of partitions. Works on a standby, for queue.fetch().
Errors: 2D000 inside a transaction block or a function, 42704 no such topic, 55006 topic dropped meanwhile, 22023 bad timeout, 22004 NULL, 42602 bad name, 42501 no right. Right: SELECT on the topic''s view, membership in the group''s role. Since 1.0.';

CREATE PROCEDURE queue.wait_topics(
    consumer_group text,
    topics         text[],
    timeout        interval DEFAULT NULL,
    member         text     DEFAULT NULL
)
AS 'MODULE_PATHNAME', 'pgqueue_wait_topics'
LANGUAGE C;
COMMENT ON PROCEDURE queue.wait_topics(text, text[], interval, text) IS
'As queue.wait(), for any of 1 to 64 topics. Since 1.0.';

CREATE FUNCTION queue.pause(
    consumer_group text,
    topic          text DEFAULT NULL,
    partition      int  DEFAULT NULL
) RETURNS int
AS 'MODULE_PATHNAME', 'pgqueue_pause'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.pause(text, text, int) IS
'Lets a group get no more messages: from one partition, from a topic, or, without topic, from all topics that it reads. Waits for transactions of the group that are consuming; when it returns, none is, and none begins until queue.resume(). What members have in hand they may still commit. Partitions that are added later are not paused. Returns how many partitions it changed.
Errors: 42704 no such group or topic, 22023 bad partition, 42602 bad group name, 22004 NULL, 42501 no right, 40001 under REPEATABLE READ if the group moved on, 55006 group or topic dropped meanwhile, 25006 read-only. Right: membership in the group''s role; SELECT on the topic''s view if one is given. Since 1.0.';

CREATE FUNCTION queue.resume(
    consumer_group text,
    topic          text DEFAULT NULL,
    partition      int  DEFAULT NULL
) RETURNS int
AS 'MODULE_PATHNAME', 'pgqueue_resume'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.resume(text, text, int) IS
'Takes back queue.pause(). Arguments, result, errors and rights are the same. Since 1.0.';

------------------------------------------------------------------------------
-- Consuming for work outside the database
------------------------------------------------------------------------------

CREATE FUNCTION queue.poll(
    consumer_group text,
    topic          text,
    member         text,
    max_messages   int      DEFAULT 100,
    lease          interval DEFAULT '1 minute',
    max_bytes      int      DEFAULT NULL,
    max_wait       interval DEFAULT NULL
) RETURNS SETOF queue.leased_message
AS 'MODULE_PATHNAME', 'pgqueue_poll'
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 100;
COMMENT ON FUNCTION queue.poll(text, text, text, int, interval, int, interval) IS
'Hands messages to a member of the group, for work outside the database: what follows the committed offsets of the partitions that the member owns. Offsets stay; queue.commit_offset() moves them when the work is done. At least once: what is not committed is handed out again, to the member itself with its next poll, to others once its lease is over. Call it in a transaction of its own.
member: name of 1 to 255 bytes; a process that restarts under its old name keeps its partitions. max_messages: default 100; 0 only keeps the lease. lease: how long the member may be silent, at least; default 1 minute; poll and commit_offset renew it. max_bytes: as in queue.consume(). max_wait: if there is nothing to do, waits so long, as in queue.consume(); a poll that joins, renews the lease or moves partitions returns at once.
The partitions are shared evenly among members whose lease is not over. One moves only when its owner has no messages of it in hand, or is silent for longer than its lease. Partitions that a transaction is consuming, or that are paused, are left out.
Returns the messages with an epoch for commit_offset, a new one each time that messages of a partition are handed out. The commit of a transaction that only polls waits for no disk, unless it makes the group: what a crash could lose is handed out again.
Errors: 42704 no such topic, 42804 other value type, 22023 bad limit, lease or wait, 22004 NULL, 42602 bad name, 42501 no right, 40001 under REPEATABLE READ if the group moved on, 55006 group or topic dropped meanwhile, QU001 committed offset outside the log (see queue.alter_group), 25006 read-only. Right: SELECT on the topic''s view, membership in the group''s role. Idea: Kafka''s poll() with the cooperative sticky assignor and static membership. Since 1.0.';

CREATE FUNCTION queue.poll_typed(
    consumer_group text,
    topic          text,
    member         text,
    value_type     anyelement,
    max_messages   int      DEFAULT 100,
    lease          interval DEFAULT '1 minute',
    max_bytes      int      DEFAULT NULL,
    max_wait       interval DEFAULT NULL,
    OUT topic       text,
    OUT partition   int,
    OUT "offset"    bigint,
    OUT "timestamp" timestamptz,
    OUT key         text,
    OUT value       anyelement,
    OUT headers     jsonb,
    OUT epoch       bigint
) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'pgqueue_poll_typed'
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 100;
COMMENT ON FUNCTION queue.poll_typed(text, text, text, anyelement, int, interval, int, interval) IS
'As queue.poll(), for a topic of any type: pass NULL::type as value_type. Since 1.0.';

CREATE FUNCTION queue.poll_topics(
    consumer_group text,
    topics         text[],
    member         text,
    max_messages   int      DEFAULT 100,
    lease          interval DEFAULT '1 minute',
    max_bytes      int      DEFAULT NULL,
    max_wait       interval DEFAULT NULL
) RETURNS SETOF queue.leased_message
AS 'MODULE_PATHNAME', 'pgqueue_poll_topics'
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 100;
COMMENT ON FUNCTION queue.poll_topics(text, text[], text, int, interval, int, interval) IS
'As queue.poll(), from several topics in turn. topics: 1 to 64, with values of one type. Since 1.0.';

CREATE FUNCTION queue.poll_topics_typed(
    consumer_group text,
    topics         text[],
    member         text,
    value_type     anyelement,
    max_messages   int      DEFAULT 100,
    lease          interval DEFAULT '1 minute',
    max_bytes      int      DEFAULT NULL,
    max_wait       interval DEFAULT NULL,
    OUT topic       text,
    OUT partition   int,
    OUT "offset"    bigint,
    OUT "timestamp" timestamptz,
    OUT key         text,
    OUT value       anyelement,
    OUT headers     jsonb,
    OUT epoch       bigint
) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'pgqueue_poll_topics_typed'
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 100;
COMMENT ON FUNCTION queue.poll_topics_typed(text, text[], text, anyelement, int, interval, int, interval) IS
'As queue.poll_topics(), for topics of any type: pass NULL::type as value_type. Since 1.0.';

CREATE FUNCTION queue.commit_offset(
    consumer_group text,
    topic          text,
    partition      int,
    next_offset    bigint,
    member         text   DEFAULT NULL,
    epoch          bigint DEFAULT NULL,
    metadata       text   DEFAULT NULL
) RETURNS void
AS 'MODULE_PATHNAME', 'pgqueue_commit_offset'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.commit_offset(text, text, int, bigint, text, bigint, text) IS
'Moves a group''s offset in a partition. next_offset: the next to read, that is the last one dealt with plus one. metadata: any text, kept with the offset.
With member and epoch, as poll returned them: commits messages that the member has in hand, all of them or the first ones. Can be repeated.
Without: for who reads by queue.fetch(); in the caller''s transaction, as queue.consume() does.
Errors: QU004 the messages are not in the member''s hand any more, or by another epoch; QU001 offset outside what it has in hand, or outside the log; 55006 without member while a live member has messages in hand; 42704 no such topic or group, 22023 member without epoch, bad partition, 22004 NULL, 42602 bad name, 42501 no right, 40001 under REPEATABLE READ if the group moved on, 25006 read-only. Right: SELECT on the topic''s view, membership in the group''s role. Since 1.0.';

CREATE FUNCTION queue.leave(consumer_group text, topic text, member text)
RETURNS boolean
AS 'MODULE_PATHNAME', 'pgqueue_leave'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.leave(text, text, text) IS
'Takes a member out of the group: its partitions are free at once, and what it has in hand is handed to others; its commits are refused (QU004). Returns false if it was not a member.
Errors: 42704 no such topic or group, 42602 bad name, 22004 NULL, 42501 no right, 25006 read-only. Right: SELECT on the topic''s view, membership in the group''s role. Since 1.0.';

------------------------------------------------------------------------------
-- Reading without a group
------------------------------------------------------------------------------

CREATE FUNCTION queue.fetch(
    topic        text,
    partition    int,
    from_offset  bigint,
    max_messages int    DEFAULT 100,
    max_bytes    int    DEFAULT NULL
) RETURNS SETOF queue.message
AS 'MODULE_PATHNAME', 'pgqueue_fetch'
LANGUAGE C STABLE PARALLEL UNSAFE ROWS 100;
COMMENT ON FUNCTION queue.fetch(text, int, bigint, int, int) IS
'Returns messages of a partition from an offset on, up to the first that may still appear. Changes nothing, works on a standby. Limits as in queue.consume(). For topics of type jsonb.
Errors: 42704 no such topic, 42804 other value type, 22023 bad limit or partition, 22004 NULL, QU001 offset outside the log, 42501 no right. Right: SELECT on the topic''s view. Since 1.0.';

CREATE FUNCTION queue.fetch_typed(
    topic        text,
    partition    int,
    from_offset  bigint,
    value_type   anyelement,
    max_messages int    DEFAULT 100,
    max_bytes    int    DEFAULT NULL,
    OUT topic       text,
    OUT partition   int,
    OUT "offset"    bigint,
    OUT "timestamp" timestamptz,
    OUT key         text,
    OUT value       anyelement,
    OUT headers     jsonb
) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'pgqueue_fetch_typed'
LANGUAGE C STABLE PARALLEL UNSAFE ROWS 100;
COMMENT ON FUNCTION queue.fetch_typed(text, int, bigint, anyelement, int, int) IS
'As queue.fetch(), for a topic of any type: pass NULL::type as value_type. Since 1.0.';

CREATE FUNCTION queue.log_start(topic text, partition int) RETURNS bigint
AS 'MODULE_PATHNAME', 'pgqueue_log_start_sql'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.log_start(text, int) IS
'First offset of a partition that is kept. Errors: 42704, 22023, 42501. Right: SELECT on the topic''s view. Since 1.0.';

CREATE FUNCTION queue.stable_end(topic text, partition int) RETURNS bigint
AS 'MODULE_PATHNAME', 'pgqueue_stable_end_sql'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.stable_end(text, int) IS
'First offset of a partition that a reader may not pass yet: that of the first message still in progress, else the log end. Kafka''s last stable offset. As of now. While somebody is producing it may read a segment. Errors: 42704, 22023, 42501. Right: SELECT on the topic''s view. Since 1.0.';

CREATE FUNCTION queue.log_end(topic text, partition int) RETURNS bigint
AS 'MODULE_PATHNAME', 'pgqueue_log_end_sql'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.log_end(text, int) IS
'Next offset to be assigned in a partition. As of now. Offsets of an aborted tail are assigned again once VACUUM removed it. Errors: 42704, 22023, 42501. Right: SELECT on the topic''s view. Since 1.0.';

------------------------------------------------------------------------------
-- Seeing
------------------------------------------------------------------------------

CREATE FUNCTION queue.partition_list(
    OUT topic      text,
    OUT partition  int,
    OUT log_start  bigint,
    OUT stable_end bigint,
    OUT log_end    bigint,
    OUT segments   bigint,
    OUT bytes      bigint
) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'pgqueue_partition_list'
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 20;
COMMENT ON FUNCTION queue.partition_list() IS
'What view queue.partitions shows. Topics that the user may read or write. Since 1.0.';

CREATE FUNCTION queue.segment_list(
    OUT topic        text,
    OUT partition    int,
    OUT segment      regclass,
    OUT first_offset bigint,
    OUT end_offset   bigint,
    OUT compacted    boolean
) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'pgqueue_segment_list'
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 20;
COMMENT ON FUNCTION queue.segment_list() IS
'What view queue.segments shows of the log. Topics that the user may read or write. Since 1.0.';

CREATE FUNCTION queue.topic_problem(topic text) RETURNS text
AS 'MODULE_PATHNAME', 'pgqueue_topic_problem_sql'
LANGUAGE C STABLE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.topic_problem(text) IS
'What column problem of view queue.topics shows: why a topic, or a partition of it, cannot be used, in a sentence; NULL if all of it can be, does not exist, or is not among the topics that the view shows the user. Since 1.0.';

CREATE VIEW queue.topics WITH (security_barrier) AS
SELECT t.name AS topic,
       t.partitions,
       a.atttypid::regtype AS value_type,
       t.segment_messages,
       pg_catalog.pg_get_userbyid(c.relowner) AS owner,
       t.created_at,
       t.notify,
       t.cleanup_policy,
       t.tombstone_retention,
       t.tablespace,
       t.group_expiry,
       queue.topic_problem(t.name) AS problem
  FROM queue.topic t
  LEFT JOIN pg_catalog.pg_class c ON c.oid = t.log
  LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = t.log
   AND a.attname = 'value' AND NOT a.attisdropped
  LEFT JOIN pg_catalog.pg_class v ON v.relname = t.name
   AND v.relnamespace = 'topic'::regnamespace AND v.relkind = 'v'
   AND v.relowner = c.relowner
 -- what is broken is seen by its owner; see pgqueue_owns_topic()
 WHERE pg_catalog.has_table_privilege(v.oid, 'SELECT, INSERT')
    OR pg_catalog.pg_has_role(
           coalesce(c.relowner, (SELECT nspowner FROM pg_catalog.pg_namespace
                                  WHERE nspname = 'queue')), 'USAGE');
COMMENT ON VIEW queue.topics IS 'Which topics are there? Those that the user may read or write, or owns.';
COMMENT ON COLUMN queue.topics.topic IS 'Name.';
COMMENT ON COLUMN queue.topics.partitions IS 'Number of partitions.';
COMMENT ON COLUMN queue.topics.value_type IS 'Type of the values.';
COMMENT ON COLUMN queue.topics.segment_messages IS 'Offsets per segment; NULL: adaptive.';
COMMENT ON COLUMN queue.topics.owner IS 'Role that may alter and drop it.';
COMMENT ON COLUMN queue.topics.created_at IS 'When it was created.';
COMMENT ON COLUMN queue.topics.notify IS 'Whether each transaction that produces sends NOTIFY on the channel of the topic''s name.';
COMMENT ON COLUMN queue.topics.cleanup_policy IS 'What becomes of old messages: delete, compact, or both.';
COMMENT ON COLUMN queue.topics.tombstone_retention IS 'How long compaction keeps tombstones.';
COMMENT ON COLUMN queue.topics.tablespace IS 'Where new segments are made; NULL: the database''s default.';
COMMENT ON COLUMN queue.topics.group_expiry IS 'After so long without use a group that a first consume or poll made holds no messages any more; NULL: never.';
COMMENT ON COLUMN queue.topics.problem IS 'Why the topic, or a partition of it, cannot be used; NULL: all of it can be. Other views leave it out; queue.drop_topic() drops it.';

CREATE FUNCTION queue.segment_info(
    segment        regclass,
    compacted      boolean DEFAULT false,
    OUT messages   bigint,
    OUT first_time timestamptz,
    OUT last_time  timestamptz,
    OUT frozen     boolean,
    OUT bytes      bigint,
    OUT used       boolean
) RETURNS record
AS 'MODULE_PATHNAME', 'pgqueue_segment_info'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.segment_info(regclass, boolean) IS
'What view queue.segments shows of a segment: its messages, its size, and whether its file has a page. compacted: the number of messages is what compaction has counted, not what the offsets say; default false. NULL if the table does not exist, or another transaction has locked a topic''s one (a WARNING). Errors: 42809 not a segment. Right: SELECT or INSERT on the topic''s view; of a table that is not a segment of a topic, such as an archived one, SELECT on it; without, all is NULL. Since 1.0.';

CREATE VIEW queue.segments WITH (security_barrier) AS
SELECT s.topic,
       s.partition,
       s.segment,
       s.first_offset,
       s.end_offset,
       i.bytes,
       i.messages,
       i.first_time,
       i.last_time,
       -- unknown if none of those behind is known to be used, and one is locked
       CASE WHEN coalesce(pg_catalog.bool_or(i.used) OVER later, false) THEN true
            WHEN pg_catalog.count(i.used) OVER later
               = pg_catalog.count(*) OVER later THEN false END AS sealed,
       i.frozen
  FROM queue.segment_list() s
 CROSS JOIN LATERAL queue.segment_info(s.segment, s.compacted) i
WINDOW later AS (PARTITION BY s.topic, s.partition ORDER BY s.first_offset
                 ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING);
COMMENT ON VIEW queue.segments IS 'Which tables hold a topic''s messages?';
COMMENT ON COLUMN queue.segments.topic IS 'Topic.';
COMMENT ON COLUMN queue.segments.partition IS 'Partition.';
COMMENT ON COLUMN queue.segments.segment IS 'Table of the segment.';
COMMENT ON COLUMN queue.segments.first_offset IS 'First offset that the segment may hold.';
COMMENT ON COLUMN queue.segments.end_offset IS 'Offset behind the last that it may hold.';
COMMENT ON COLUMN queue.segments.bytes IS 'Size on disk with TOAST and indexes.';
COMMENT ON COLUMN queue.segments.messages IS 'Offsets in use, those of messages that were rolled back included; of a compacted segment, messages.';
COMMENT ON COLUMN queue.segments.first_time IS 'Time of the first message.';
COMMENT ON COLUMN queue.segments.last_time IS 'Time of the last message.';
COMMENT ON COLUMN queue.segments.sealed IS 'Whether a later segment is in use: nothing is appended any more; NULL: not known, a later one is locked.';
COMMENT ON COLUMN queue.segments.frozen IS 'Whether all of it is frozen, TOAST too: VACUUM has nothing left to do.';

CREATE VIEW queue.compaction_progress WITH (security_barrier) AS
SELECT p.pid,
       s.topic,
       s.partition,
       s.segment,
       CASE p.phase WHEN 'seq scanning heap' THEN 'reading'
                    WHEN 'writing new heap' THEN 'copying'
                    ELSE 'swapping' END AS phase,
       p.heap_blks_total AS blocks_total,
       p.heap_blks_scanned AS blocks_done
  FROM pg_catalog.pg_stat_progress_cluster p
  JOIN queue.segment_list() s ON p.relid = s.segment
 WHERE p.datid = (SELECT oid FROM pg_catalog.pg_database
                   WHERE datname = pg_catalog.current_database())
   AND p.command IS NULL;
COMMENT ON VIEW queue.compaction_progress IS 'What is being compacted just now? One row for each process at it. Others'' processes are shown to members of pg_read_all_stats. The server keeps these figures with those of CLUSTER; VACUUM FULL of a segment is not shown here.';
COMMENT ON COLUMN queue.compaction_progress.pid IS 'Process.';
COMMENT ON COLUMN queue.compaction_progress.topic IS 'Topic.';
COMMENT ON COLUMN queue.compaction_progress.partition IS 'Partition.';
COMMENT ON COLUMN queue.compaction_progress.segment IS 'Segment at hand.';
COMMENT ON COLUMN queue.compaction_progress.phase IS 'reading keys, or looking for messages that go; copying what stays; swapping the files.';
COMMENT ON COLUMN queue.compaction_progress.blocks_total IS 'Blocks of the segment.';
COMMENT ON COLUMN queue.compaction_progress.blocks_done IS 'Blocks that were read in this phase.';

CREATE VIEW queue.partitions WITH (security_barrier) AS
SELECT p.topic,
       p.partition,
       p.log_start,
       p.stable_end,
       p.log_end,
       p.segments,
       p.bytes
  FROM queue.partition_list() p;
COMMENT ON VIEW queue.partitions IS 'Where does each partition start and end? As of now, not as of the snapshot. Plain SQL over a topic shows every committed message, also those behind stable_end: right for queries, wrong for polling.';
COMMENT ON COLUMN queue.partitions.topic IS 'Topic.';
COMMENT ON COLUMN queue.partitions.partition IS 'Partition.';
COMMENT ON COLUMN queue.partitions.log_start IS 'First offset that is kept.';
COMMENT ON COLUMN queue.partitions.stable_end IS 'First offset that a reader may not pass yet.';
COMMENT ON COLUMN queue.partitions.log_end IS 'Next offset to be assigned.';
COMMENT ON COLUMN queue.partitions.segments IS 'Number of segments, empty ones kept ahead included.';
COMMENT ON COLUMN queue.partitions.bytes IS 'Size on disk.';

CREATE FUNCTION queue.held_locks(
    OUT pid         int,
    OUT transaction xid,
    OUT relation    oid,
    OUT producer    bigint,
    OUT group_id    int,
    OUT topic_id    int,
    OUT partition   int,
    OUT waiting     int[]
) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'pgqueue_held_locks'
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 20;
COMMENT ON FUNCTION queue.held_locks() IS
'What view queue.blockers shows of the locks in this database: ROW EXCLUSIVE on a table; a producer, by a hash of its topic and id; a partition of a group; a group as a whole (topic_id NULL). pid NULL: transaction is a prepared one. Since 1.0.';

CREATE VIEW queue.blockers WITH (security_barrier) AS
WITH lock AS (
    SELECT * FROM queue.held_locks()
), held AS (
    SELECT l.pid, l.transaction, s.topic, s.partition, NULL::text AS producer_id,
           NULL::text AS consumer_group, NULL::int[] AS waiting
      FROM lock l
      JOIN queue.segment_list() s ON s.segment = l.relation
    UNION
    SELECT l.pid, l.transaction, t.topic, NULL, p.name, NULL, l.waiting
      FROM lock l
      JOIN queue.producer p
        ON pg_catalog.hashtextextended(p.name, p.topic_id) = l.producer
      JOIN queue.topic r ON r.topic_id = p.topic_id
      JOIN queue.topics t ON t.topic = r.name
    UNION
    SELECT l.pid, l.transaction, t.topic, l.partition, NULL, g.name, l.waiting
      FROM lock l
      JOIN queue.consumer_group g ON g.group_id = l.group_id
      JOIN queue.topic r ON r.topic_id = l.topic_id
      JOIN queue.topics t ON t.topic = r.name
    UNION
    -- a group as a whole: of no interest unless a backend waits
    SELECT l.pid, l.transaction, NULL, NULL, NULL, g.name, l.waiting
      FROM lock l
      JOIN queue.consumer_group g ON g.group_id = l.group_id
     WHERE l.topic_id IS NULL
       AND l.waiting IS NOT NULL
       AND EXISTS (SELECT FROM pg_catalog.pg_roles r
                    WHERE r.rolname = g.owner::text
                      AND pg_catalog.pg_has_role(r.oid, 'USAGE')
                       OR r.rolname = current_user AND r.rolsuper)
)
SELECT h.pid,
       x.gid,
       pg_catalog.age(pg_catalog.clock_timestamp(),
                      coalesce(a.xact_start, x.prepared)) AS age,
       h.topic,
       h.partition,
       coalesce(a.usename, x.owner) AS usename,
       a.application_name,
       a.query,
       h.producer_id,
       h.consumer_group,
       h.waiting
  FROM held h
  LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = h.pid
  LEFT JOIN pg_catalog.pg_prepared_xacts x ON x.transaction = h.transaction;
COMMENT ON VIEW queue.blockers IS 'Who holds readers, producers and groups back? Open transactions that have produced: readers of a partition wait before the first of their messages; whoever uses the same producer_id, or fences it, waits for their end. And transactions that have consumed: the group''s others leave the partition out; who resets, pauses or drops the group waits. Whoever makes, drops or pauses a group as a whole may also wait for one that begins to read a topic, or polls: then topic and partition are NULL.';
COMMENT ON COLUMN queue.blockers.pid IS 'Backend; NULL for a prepared transaction.';
COMMENT ON COLUMN queue.blockers.gid IS 'Name of a prepared transaction.';
COMMENT ON COLUMN queue.blockers.age IS 'Since when the transaction is open.';
COMMENT ON COLUMN queue.blockers.topic IS 'Topic; NULL in a row about a group as a whole.';
COMMENT ON COLUMN queue.blockers.partition IS 'Partition whose readers wait, or that the group has (the lowest of those, 1,024 apart, that share its lock); NULL in a row about a producer.';
COMMENT ON COLUMN queue.blockers.usename IS 'User.';
COMMENT ON COLUMN queue.blockers.application_name IS 'Application.';
COMMENT ON COLUMN queue.blockers.query IS 'Last query of the backend, if the user may see it.';
COMMENT ON COLUMN queue.blockers.producer_id IS 'Producer that the transaction holds; NULL in a row about a partition. One that it has just made has no row.';
COMMENT ON COLUMN queue.blockers.consumer_group IS 'Consumer group whose partition the transaction holds. A group that it has just made has no row.';
COMMENT ON COLUMN queue.blockers.waiting IS 'Backends that wait for the producer or the group''s partition; NULL: none. Readers and consumers never wait for a lock.';

CREATE FUNCTION queue.group_offsets(
    OUT consumer_group text,
    OUT topic          text,
    OUT partition      int,
    OUT current_offset bigint,
    OUT log_start      bigint,
    OUT stable_end     bigint,
    OUT log_end        bigint,
    OUT committed_at   timestamptz,
    OUT committed_by   text,
    OUT metadata       text,
    OUT member         text,
    OUT client         text,
    OUT pid            int,
    OUT paused         boolean,
    OUT in_hand        bigint,
    OUT rate           float8,
    OUT missed         bigint,
    OUT expired        boolean,
    OUT lost           boolean
) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'pgqueue_group_offsets'
LANGUAGE C STABLE PARALLEL UNSAFE ROWS 100;
COMMENT ON FUNCTION queue.group_offsets() IS
'What view queue.consumer_groups shows. Topics that the user may read or write. Since 1.0.';

CREATE VIEW queue.consumer_groups WITH (security_barrier) AS
SELECT g.consumer_group,
       g.topic,
       g.partition,
       g.current_offset,
       g.log_end AS log_end_offset,
       n.lag,
       g.member,
       CASE WHEN g.pid IS NULL
            THEN CASE WHEN g.client IS NULL THEN NULL
                      WHEN pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE')
                      THEN g.client
                      ELSE pg_catalog.regexp_replace(g.client, '@[^@]*$', '') END
            ELSE (SELECT a.application_name FROM pg_catalog.pg_stat_activity a
                   WHERE a.pid = g.pid) END AS client,
       g.stable_end,
       CASE WHEN g.stable_end > n.next_offset
            -- not greatest(), which would make 0 of NULL; and no age of a time
            -- that the owner has stored as infinite, which is an error
            THEN pg_catalog.interval_larger(pg_catalog.statement_timestamp()
                 - NULLIF(NULLIF(queue.unread_time(g.topic, g.partition,
                                                   n.next_offset),
                                 'infinity'), '-infinity'),
                 '0') END AS oldest_unread_age,
       g.rate,
       CASE WHEN n.lag = 0
            THEN interval '0'
            -- a thousand years, beyond which an interval would overflow
            WHEN n.lag < g.rate * 31557600000
            THEN pg_catalog.make_interval(secs => n.lag / g.rate)
            END AS time_to_drain,
       g.in_hand,
       g.paused,
       g.committed_at,
       g.committed_by,
       g.metadata,
       g.pid,
       g.missed,
       g.expired,
       g.lost
  FROM queue.group_offsets() g
 CROSS JOIN LATERAL (
       -- greatest() leaves out NULL; not so int8larger()
       SELECT CASE WHEN g.lost THEN g.log_start
                   ELSE greatest(g.current_offset, g.log_start) END AS next_offset) o
 CROSS JOIN LATERAL (
       SELECT o.next_offset,
              pg_catalog.int8larger(g.log_end - o.next_offset, 0) AS lag) n;
COMMENT ON VIEW queue.consumer_groups IS 'How far is each group? A row per partition of each topic that the group has offsets in. Offsets as of now. The columns up to client are those of kafka-consumer-groups --describe.';
COMMENT ON COLUMN queue.consumer_groups.consumer_group IS 'Consumer group.';
COMMENT ON COLUMN queue.consumer_groups.topic IS 'Topic.';
COMMENT ON COLUMN queue.consumer_groups.partition IS 'Partition.';
COMMENT ON COLUMN queue.consumer_groups.current_offset IS 'Committed offset: the next to read. NULL: not begun yet; the group will begin at the log start.';
COMMENT ON COLUMN queue.consumer_groups.log_end_offset IS 'Next offset to be assigned.';
COMMENT ON COLUMN queue.consumer_groups.lag IS 'Offsets that the group has yet to read: from current_offset, or from the log start if that is behind it or current_offset is lost, to log_end_offset; never negative. Those of messages that were rolled back count, too.';
COMMENT ON COLUMN queue.consumer_groups.member IS 'Live member that owns the partition; NULL: none.';
COMMENT ON COLUMN queue.consumer_groups.client IS 'Application name: of the session whose transaction is consuming the partition, else of the member''s, with its host unless local, for those who have the rights of pg_read_all_stats.';
COMMENT ON COLUMN queue.consumer_groups.stable_end IS 'First offset that the group may not pass yet.';
COMMENT ON COLUMN queue.consumer_groups.oldest_unread_age IS 'Age of the next message to read; NULL: there is none that may be read yet, or the user may not read the topic.';
COMMENT ON COLUMN queue.consumer_groups.rate IS 'Messages consumed a second, over the last minute, or the last 20 commits, or since the last commit if that is longer ago; NULL: not known yet.';
COMMENT ON COLUMN queue.consumer_groups.time_to_drain IS 'In which the lag will be gone at that rate if nothing is produced; NULL: not known, or not in a thousand years.';
COMMENT ON COLUMN queue.consumer_groups.in_hand IS 'Messages handed to a member and not committed.';
COMMENT ON COLUMN queue.consumer_groups.paused IS 'Whether the partition is paused for the group.';
COMMENT ON COLUMN queue.consumer_groups.committed_at IS 'When the offset was last moved.';
COMMENT ON COLUMN queue.consumer_groups.committed_by IS 'By which role.';
COMMENT ON COLUMN queue.consumer_groups.metadata IS 'Application metadata stored with the commit.';
COMMENT ON COLUMN queue.consumer_groups.pid IS 'Backend whose transaction is consuming the partition, or one that shares its lock, being 1,024 apart.';
COMMENT ON COLUMN queue.consumer_groups.missed IS 'Offsets that retention took before the group had read them, ever; those between current_offset and the log start included, which its next call will be told of.';
COMMENT ON COLUMN queue.consumer_groups.expired IS 'Whether the group has messages to read and does not hold them any more, since it was not used for its expiry.';
COMMENT ON COLUMN queue.consumer_groups.lost IS 'Whether current_offset was restored and the messages before it were not: it means nothing in this log, and reading raises QU001 until queue.reset_offsets().';

CREATE VIEW queue.members WITH (security_barrier) AS
SELECT g.name AS consumer_group,
       t.topic,
       m.name AS member,
       CASE WHEN pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE')
            THEN m.client
            ELSE pg_catalog.regexp_replace(m.client, '@[^@]*$', '') END AS client,
       coalesce(p.partitions, '{}') AS partitions,
       pg_catalog.make_interval(secs => m.lease / 1000.0) AS lease,
       m.expires_at,
       m.expires_at > pg_catalog.clock_timestamp() AS alive,
       m.joined_at,
       coalesce((SELECT pg_catalog.sum(o.handed_to - o.committed_offset)
                   FROM pg_catalog.generate_series(0, t.partitions - 1) s
                  CROSS JOIN LATERAL (
                        SELECT r.member, r.handed_to, r.committed_offset
                          FROM queue.progress r
                         WHERE r.group_id = m.group_id
                           AND r.topic_id = m.topic_id
                           AND r.partition = s
                         ORDER BY r.group_id DESC, r.topic_id DESC,
                                  r.partition DESC, r.generation DESC
                         LIMIT 1) o
                  WHERE o.member = m.name
                    AND o.handed_to > o.committed_offset), 0)::bigint AS in_hand
  FROM queue.member m
  LEFT JOIN queue.assignment p USING (group_id, topic_id, name)
  JOIN queue.consumer_group g USING (group_id)
  JOIN queue.topic r USING (topic_id)
  JOIN queue.topics t ON t.topic = r.name;
COMMENT ON VIEW queue.members IS 'Who polls for a group, and what does each own? A row per member and topic that the user may read or write.';
COMMENT ON COLUMN queue.members.consumer_group IS 'Consumer group.';
COMMENT ON COLUMN queue.members.topic IS 'Topic.';
COMMENT ON COLUMN queue.members.member IS 'Name of the member.';
COMMENT ON COLUMN queue.members.client IS 'Application name of the session that last renewed the lease, and its host unless local, for those who have the rights of pg_read_all_stats.';
COMMENT ON COLUMN queue.members.partitions IS 'Partitions that it owns.';
COMMENT ON COLUMN queue.members.lease IS 'How long it may be silent.';
COMMENT ON COLUMN queue.members.expires_at IS 'When its lease is over.';
COMMENT ON COLUMN queue.members.alive IS 'Whether it is not over yet. The row of a dead member goes when another one balances.';
COMMENT ON COLUMN queue.members.joined_at IS 'When it joined.';
COMMENT ON COLUMN queue.members.in_hand IS 'Messages handed to it and not committed.';

CREATE VIEW queue.group_summary WITH (security_barrier) AS
SELECT o.consumer_group,
       g.owner::text::name AS owner,
       pg_catalog.count(DISTINCT o.topic) AS topics,
       pg_catalog.count(*) AS partitions,
       (SELECT pg_catalog.count(DISTINCT m.name) FROM queue.member m
         WHERE m.group_id = g.group_id
           AND m.topic_id IN (SELECT r.topic_id FROM queue.topic r
                                JOIN queue.topics t ON t.topic = r.name)
           AND m.expires_at > pg_catalog.clock_timestamp()) AS members,
       pg_catalog.count(o.pid) AS consuming,
       pg_catalog.count(*) FILTER (WHERE o.paused) AS paused,
       pg_catalog.sum(o.lag)::bigint AS lag,
       pg_catalog.max(o.oldest_unread_age) AS oldest_unread_age,
       pg_catalog.sum(o.rate) AS rate,
       pg_catalog.max(o.time_to_drain) AS time_to_drain,
       pg_catalog.sum(o.in_hand)::bigint AS in_hand,
       pg_catalog.max(o.committed_at) AS committed_at,
       pg_catalog.sum(o.missed)::bigint AS missed,
       pg_catalog.count(*) FILTER (WHERE o.expired) AS expired,
       g.auto_offset_reset,
       g.expiry,
       g.implicit
  FROM queue.consumer_groups o
  JOIN queue.consumer_group g ON g.name = o.consumer_group
 GROUP BY o.consumer_group, g.group_id;
COMMENT ON VIEW queue.group_summary IS 'How is each group doing as a whole? Topics that the user may read or write.';
COMMENT ON COLUMN queue.group_summary.consumer_group IS 'Consumer group.';
COMMENT ON COLUMN queue.group_summary.owner IS 'Role that it belongs to.';
COMMENT ON COLUMN queue.group_summary.topics IS 'Topics that it reads.';
COMMENT ON COLUMN queue.group_summary.partitions IS 'Their partitions.';
COMMENT ON COLUMN queue.group_summary.members IS 'Live members, in any topic.';
COMMENT ON COLUMN queue.group_summary.consuming IS 'Partitions that transactions are consuming.';
COMMENT ON COLUMN queue.group_summary.paused IS 'Partitions that are paused.';
COMMENT ON COLUMN queue.group_summary.lag IS 'Sum of lags.';
COMMENT ON COLUMN queue.group_summary.oldest_unread_age IS 'Of the oldest message to be read.';
COMMENT ON COLUMN queue.group_summary.rate IS 'Sum of rates.';
COMMENT ON COLUMN queue.group_summary.time_to_drain IS 'That of the partition that takes longest, as far as known.';
COMMENT ON COLUMN queue.group_summary.in_hand IS 'Messages that members have in hand.';
COMMENT ON COLUMN queue.group_summary.committed_at IS 'When an offset was last moved.';
COMMENT ON COLUMN queue.group_summary.missed IS 'Offsets that retention took before the group had read them.';
COMMENT ON COLUMN queue.group_summary.expired IS 'Partitions of which it does not hold messages any more, since it was not used for its expiry.';
COMMENT ON COLUMN queue.group_summary.auto_offset_reset IS 'What it does when messages are gone: none (QU001), or earliest (jumps to the log start).';
COMMENT ON COLUMN queue.group_summary.expiry IS 'After so long without use it holds no messages; NULL: never, but see implicit.';
COMMENT ON COLUMN queue.group_summary.implicit IS 'Whether a first consume or poll made the group, and no expiry was set since: then each topic''s group_expiry holds.';

CREATE VIEW queue.offset_history WITH (security_barrier) AS
SELECT g.name AS consumer_group,
       t.topic,
       p.partition,
       p.generation,
       CASE p.action WHEN 's' THEN 'started' WHEN 'c' THEN 'consumed'
                     WHEN 'm' THEN 'committed' WHEN 'j' THEN 'jumped'
                     ELSE 'reset' END AS action,
       pg_catalog.lag(p.committed_offset) OVER (
           PARTITION BY g.name, t.topic, p.partition
           ORDER BY p.generation) AS from_offset,
       p.committed_offset AS to_offset,
       p.committed_at,
       p.committed_by,
       p.member,
       p.metadata
  FROM queue.progress p
  JOIN queue.consumer_group g USING (group_id)
  JOIN queue.topic r USING (topic_id)
  JOIN queue.topics t ON t.topic = r.name
 WHERE p.action IN ('s', 'c', 'm', 'r', 'j');
COMMENT ON VIEW queue.offset_history IS 'Who consumed what, and when? A row per move of an offset. Topics that the user may read or write.';
COMMENT ON COLUMN queue.offset_history.consumer_group IS 'Consumer group.';
COMMENT ON COLUMN queue.offset_history.topic IS 'Topic.';
COMMENT ON COLUMN queue.offset_history.partition IS 'Partition.';
COMMENT ON COLUMN queue.offset_history.generation IS 'Order of the moves in the partition; numbers may be left out.';
COMMENT ON COLUMN queue.offset_history.action IS 'started (create_group, or the first poll or pause), consumed (consume), committed (commit_offset), reset (reset_offsets), jumped (consume or poll, from offsets that were gone to the log start).';
COMMENT ON COLUMN queue.offset_history.from_offset IS 'Where the group was; NULL: it began here.';
COMMENT ON COLUMN queue.offset_history.to_offset IS 'Where it was then: the next offset to read.';
COMMENT ON COLUMN queue.offset_history.committed_at IS 'When.';
COMMENT ON COLUMN queue.offset_history.committed_by IS 'By which role.';
COMMENT ON COLUMN queue.offset_history.member IS 'By which member, if by one.';
COMMENT ON COLUMN queue.offset_history.metadata IS 'Application metadata stored with it.';

CREATE VIEW queue.producers WITH (security_barrier) AS
SELECT t.topic,
       p.name AS producer_id,
       p.owner::text::name AS owner,
       CASE WHEN p.strict THEN 'strict' ELSE 'monotonic' END AS sequence_mode,
       b.epoch,
       NULLIF(b.last_sequence, -1) AS last_sequence,
       b.partition,
       b."offset",
       coalesce(b.accepted, 0) AS accepted,
       coalesce(b.duplicates, 0) AS duplicates,
       coalesce(b.gaps, 0) AS gaps,
       CASE WHEN b.accepted > 0 THEN b.produced_at END AS produced_at,
       p.created_at,
       coalesce(b.used_at, b.produced_at, p.created_at) AS used_at
  FROM queue.producer p
  JOIN queue.topic r ON r.topic_id = p.topic_id
  JOIN queue.topics t ON t.topic = r.name
  LEFT JOIN LATERAL (SELECT *
                       FROM queue.producer_batch n
                      WHERE n.producer_id = p.producer_id
                      ORDER BY n.producer_id DESC, n.series DESC,
                               n.last_sequence DESC, n.generation DESC
                      LIMIT 1) b ON true;
COMMENT ON VIEW queue.producers IS 'Who sends sequences, and how far are they? Topics that the user may read or write.';
COMMENT ON COLUMN queue.producers.topic IS 'Topic.';
COMMENT ON COLUMN queue.producers.producer_id IS 'The id that the application chose.';
COMMENT ON COLUMN queue.producers.owner IS 'Role that it belongs to.';
COMMENT ON COLUMN queue.producers.sequence_mode IS 'strict: no gaps; monotonic: gaps are allowed.';
COMMENT ON COLUMN queue.producers.epoch IS 'Epoch in force; NULL before the first message or fence.';
COMMENT ON COLUMN queue.producers.last_sequence IS 'Last sequence stored.';
COMMENT ON COLUMN queue.producers.partition IS 'Partition of that message.';
COMMENT ON COLUMN queue.producers."offset" IS 'Offset of that message.';
COMMENT ON COLUMN queue.producers.accepted IS 'Messages stored.';
COMMENT ON COLUMN queue.producers.duplicates IS 'Messages that were sent again and left out.';
COMMENT ON COLUMN queue.producers.gaps IS 'Times that a sequence left some out.';
COMMENT ON COLUMN queue.producers.produced_at IS 'When the last message was stored; NULL: none was.';
COMMENT ON COLUMN queue.producers.created_at IS 'When it was first used.';
COMMENT ON COLUMN queue.producers.used_at IS 'When it was last used: also by a duplicate, a watermark alone or a fence. See queue.forget_producers().';

GRANT SELECT ON queue.topics, queue.segments, queue.compaction_progress, queue.partitions,
    queue.blockers, queue.consumer_groups, queue.group_summary, queue.members,
    queue.offset_history, queue.producers TO PUBLIC;

------------------------------------------------------------------------------
-- Maintenance
------------------------------------------------------------------------------

CREATE FUNCTION queue.delete_messages(
    topic         text,
    partition     int,
    before_offset bigint,
    force         boolean DEFAULT false,
    OUT log_start bigint,
    OUT segments  int,
    OUT bytes     bigint
) RETURNS record
AS 'MODULE_PATHNAME', 'pgqueue_delete_messages'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.delete_messages(text, int, bigint, boolean) IS
'Lets messages of a partition go: whole segments that end at or before before_offset, all but the one in use. What a group has yet to read is kept (a NOTICE names the group) unless force is set; then its next call gets QU001, or jumps (queue.alter_group). A segment that somebody reads is kept, with those behind it, and so are those beyond the first 256: call again. Disk is given back with COMMIT. Returns the new log start, and how many segments went.
Errors: 42704 no such topic, 22023 bad partition, QU001 offset outside the log, 22004 NULL, 42501 not the owner, 25006 read-only. Right: ownership of the topic. Idea: kafka-delete-records. Since 1.0.';

CREATE TYPE queue.moved_segment AS (
    partition    int,
    segment      regclass,
    first_offset bigint,
    bytes        bigint,
    moved        boolean
);
COMMENT ON TYPE queue.moved_segment IS 'A segment that queue.move_segments() has moved, or, if moved is false, left where it is since somebody uses it.';

CREATE FUNCTION queue.move_segments(
    topic         text,
    tablespace    text,
    partition     int    DEFAULT NULL,
    before_offset bigint DEFAULT NULL
) RETURNS SETOF queue.moved_segment
AS 'MODULE_PATHNAME', 'pgqueue_move_segments'
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 10;
COMMENT ON FUNCTION queue.move_segments(text, text, int, bigint) IS
'Moves sealed segments with their TOAST tables to another tablespace, oldest first; '''' is the database''s default. partition: default NULL, all. before_offset: only those that end at or before it; default NULL, all. A row for each that was not there already; moved is false if somebody uses it: call again; bytes is NULL if it is locked. What is moved is locked until COMMIT, so that readers of it wait, producers do not; indexes stay where they are.
Errors: 42704 no such topic or tablespace, 22023 bad partition or tablespace, 22004 NULL, 42501 not the owner or no right on the tablespace, 25006 read-only. Right: ownership of the topic, CREATE on the tablespace. Since 1.0.';

CREATE FUNCTION queue.archive_segment(
    topic             text,
    partition         int,
    archive           text    DEFAULT NULL,
    force             boolean DEFAULT false,
    OUT archive       regclass,
    OUT first_offset  bigint,
    OUT next_offset   bigint,
    OUT bytes         bigint
) RETURNS record
AS 'MODULE_PATHNAME', 'pgqueue_archive_segment'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.archive_segment(text, int, text, boolean) IS
'Takes the oldest segment of a partition out of its topic and keeps it as a table of the topic''s owner: readable by SQL, append-only, dumped and dropped as any table. It must be sealed. The partition''s log start moves behind it. archive: name of the table, with a schema or not, as in CREATE TABLE; default NULL: <topic>_<partition>_<first offset>. force: also what groups have yet to read; then their next call gets QU001; default false. No lock is waited for. Returns the table, the first offset that it may hold and the one behind the last, and its size.
Errors: 42704 no such topic, 22023 bad partition or schema, 55000 no sealed segment, or kept for a group, 55P03 in use: try again, 42P07 the name is taken, 42602 bad name, 22004 NULL, 42501 no right, 25006 read-only. Right: ownership of the topic, CREATE on the schema. Since 1.0.';

CREATE FUNCTION queue.retention_list(
    OUT topic        text,
    OUT partition    int,
    OUT log_start    bigint,
    OUT limit_offset bigint,
    OUT held_by      text,
    OUT held_offset  bigint,
    OUT held_bytes   bigint
) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'pgqueue_retention_list'
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 20;
COMMENT ON FUNCTION queue.retention_list() IS
'What view queue.retention shows of the log. Topics that the user may read or write. Since 1.0.';

CREATE VIEW queue.retention WITH (security_barrier) AS
SELECT l.topic,
       l.partition,
       t.retention,
       t.retention_bytes,
       t.retention_force,
       l.log_start,
       l.limit_offset,
       l.held_by AS consumer_group,
       l.held_offset,
       greatest(l.limit_offset - CASE WHEN l.held_offset IS NOT NULL
                THEN greatest(l.held_offset, l.log_start) END, 0) AS behind,
       CASE WHEN t.retention_force THEN 0 ELSE l.held_bytes END AS held_bytes
  FROM queue.retention_list() l
  JOIN queue.topic t ON t.name = l.topic;
COMMENT ON VIEW queue.retention IS 'What may go, and which group keeps it? A row per partition of topics that the user may read or write.';
COMMENT ON COLUMN queue.retention.topic IS 'Topic.';
COMMENT ON COLUMN queue.retention.partition IS 'Partition.';
COMMENT ON COLUMN queue.retention.retention IS 'How long messages are kept; NULL: without limit.';
COMMENT ON COLUMN queue.retention.retention_bytes IS 'How much of the partition is kept; NULL: without limit.';
COMMENT ON COLUMN queue.retention.retention_force IS 'Whether the limits win over groups.';
COMMENT ON COLUMN queue.retention.log_start IS 'First offset that is kept.';
COMMENT ON COLUMN queue.retention.limit_offset IS 'Before which the limits allow segments to go.';
COMMENT ON COLUMN queue.retention.consumer_group IS 'Group that is the least far, of those that have not expired; NULL: none reads the topic.';
COMMENT ON COLUMN queue.retention.held_offset IS 'The next offset that it reads.';
COMMENT ON COLUMN queue.retention.behind IS 'How many offsets that are kept it is behind limit_offset.';
COMMENT ON COLUMN queue.retention.held_bytes IS 'Bytes of segments that are kept for groups only.';
GRANT SELECT ON queue.retention TO PUBLIC;

CREATE PROCEDURE queue.maintain(topic text DEFAULT NULL)
AS 'MODULE_PATHNAME', 'pgqueue_maintain'
LANGUAGE C;
COMMENT ON PROCEDURE queue.maintain(text) IS
'One pass of maintenance over a topic, or over all that the user owns: lets segments go that the topics'' limits allow, compacts topics whose cleanup_policy says so (settings queue.compaction_memory, default maintenance_work_mem, and queue.compaction_min_dirty_ratio, default 0.5), makes the segments that are kept ahead, forgets the history of offsets, and of maintenance, beyond queue.history_retention (default 7 days), freezes sealed segments, merges the state of producers (queue.prune_producers). Each step is a transaction of its own. Other transactions are not waited for: what they use (a NOTICE), and what fails (a WARNING), is left to the next pass. Functions that constraints and indexes of another owner''s topic call run in a background worker, for at most queue.code_timeout (default 1 min). Each thing done is a NOTICE and a row of queue.maintenance_log. For pg_cron, a timer or an application; two passes at once are harmless.
Errors: 2D000 inside a transaction block or a function, 42704 no such topic, 42501 not the owner, 25006 read-only. Right: ownership of the topics. Since 1.0.';

CREATE FUNCTION queue.start_maintenance() RETURNS int
AS 'MODULE_PATHNAME', 'pgqueue_start_maintenance'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.start_maintenance() IS
'Starts a background worker that does what CALL queue.maintain() does, for all topics of the database, each queue.maintenance_interval (default 60 s); returns its process, or that of the one that is there already. One per database. It is started again after a crash, and ends with queue.stop_maintenance(), DROP EXTENSION, or the server; with queue in shared_preload_libraries every database that has the extension gets one by itself. DROP DATABASE needs it stopped, or FORCE. It writes what it did to the server''s log (LOG) and to queue.maintenance_log.
Errors: 53400 no background worker to be had, 53000 it did not start, 42501 no right, 25006 read-only. Right: superuser or ownership of schema queue. Since 1.0.';
REVOKE ALL ON FUNCTION queue.start_maintenance() FROM PUBLIC;

CREATE FUNCTION queue.stop_maintenance() RETURNS boolean
AS 'MODULE_PATHNAME', 'pgqueue_stop_maintenance'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.stop_maintenance() IS
'Ends the database''s maintenance worker, after the step that it is at; returns false if there is none. If queue is preloaded, another one is started within a minute. Errors: 42501 no right. Right: superuser or ownership of schema queue. Since 1.0.';
REVOKE ALL ON FUNCTION queue.stop_maintenance() FROM PUBLIC;

------------------------------------------------------------------------------
-- Checking and guarding
------------------------------------------------------------------------------

CREATE FUNCTION queue.verify(topic text, OUT segment regclass, OUT problem text)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'pgqueue_verify'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.verify(text) IS
'Reads a topic''s segments and reports what breaks the rules of a log: order of offsets and timestamps, bounds, records changed in place. No row: nothing found. pg_amcheck does not look at these tables.
Errors: 42704 no such topic, 42501 not the owner. Right: ownership of the topic. Since 1.0.';

CREATE FUNCTION queue.guard_drop() RETURNS event_trigger
AS 'MODULE_PATHNAME', 'pgqueue_guard_drop'
LANGUAGE C;
COMMENT ON FUNCTION queue.guard_drop() IS
'Event trigger: refuses to drop a topic''s view, table or segment other than with queue.drop_topic() (55000).';

CREATE FUNCTION queue.guard_detach() RETURNS event_trigger
AS 'MODULE_PATHNAME', 'pgqueue_guard_detach'
LANGUAGE C;
COMMENT ON FUNCTION queue.guard_detach() IS
'Event trigger: refuses to detach a segment from its topic (0A000).';

CREATE FUNCTION queue.guard_rewrite() RETURNS event_trigger
AS 'MODULE_PATHNAME', 'pgqueue_guard_rewrite'
LANGUAGE C;
COMMENT ON FUNCTION queue.guard_rewrite() IS
'Event trigger: refuses ALTER TABLE that rewrites a segment (0A000).';

CREATE FUNCTION queue.guard_alter() RETURNS event_trigger
AS 'MODULE_PATHNAME', 'pgqueue_guard_alter'
LANGUAGE C;
COMMENT ON FUNCTION queue.guard_alter() IS
'Event trigger: refuses DDL after which a topic''s table, segment or view would not have the shape and the name that the extension relies on (0A000).';

REVOKE ALL ON FUNCTION queue.guard_drop(), queue.guard_detach(), queue.guard_rewrite(), queue.guard_alter() FROM PUBLIC;

CREATE EVENT TRIGGER queue_guard_drop ON sql_drop
    EXECUTE FUNCTION queue.guard_drop();
COMMENT ON EVENT TRIGGER queue_guard_drop IS 'A topic''s storage is dropped with queue.drop_topic() only.';

CREATE EVENT TRIGGER queue_guard_detach ON ddl_command_start
    WHEN TAG IN ('ALTER TABLE')
    EXECUTE FUNCTION queue.guard_detach();
COMMENT ON EVENT TRIGGER queue_guard_detach IS 'A segment leaves its topic with queue.archive_segment() only.';

-- Of all commands: more than ALTER TABLE changes a table.
CREATE EVENT TRIGGER queue_guard_alter ON ddl_command_end
    EXECUTE FUNCTION queue.guard_alter();
COMMENT ON EVENT TRIGGER queue_guard_alter IS 'A topic''s view and storage keep their shape and their names.';

CREATE EVENT TRIGGER queue_guard_rewrite ON table_rewrite
    EXECUTE FUNCTION queue.guard_rewrite();
COMMENT ON EVENT TRIGGER queue_guard_rewrite IS 'A segment is not rewritten by ALTER TABLE.';

-- Also under session_replication_role = replica.
ALTER EVENT TRIGGER queue_guard_drop ENABLE ALWAYS;
ALTER EVENT TRIGGER queue_guard_detach ENABLE ALWAYS;
ALTER EVENT TRIGGER queue_guard_alter ENABLE ALWAYS;
ALTER EVENT TRIGGER queue_guard_rewrite ENABLE ALWAYS;
