-- queue 1.0: a Kafka-style log inside the database.
--
-- Storage, registry and row types; then, in the order of a user's day: topics,
-- producing, consuming, reading, seeing, maintenance, checking.  Rights are at the end of each part: REVOKE first, then
-- GRANT.  docs/reference.md says the same at greater length.

\echo Use "CREATE EXTENSION queue" to load this file. \quit

CREATE SCHEMA queue;
COMMENT ON SCHEMA queue IS
'Extension queue: functions, registry tables, and the storage of topics (log_<id> and its segments).';

CREATE SCHEMA topic;
COMMENT ON SCHEMA topic IS
'One view for each topic. Roles with CREATE on this schema may create topics.';

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
'Access method of segments: an append-only heap in offset order. It has no UPDATE, DELETE or row locks, and permanent tables only.';

------------------------------------------------------------------------------
-- Registry
------------------------------------------------------------------------------

CREATE TYPE queue.role;
CREATE FUNCTION queue.role_in(cstring) RETURNS queue.role
AS 'MODULE_PATHNAME', 'pgqueue_role_in'
LANGUAGE C STABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION queue.role_in(cstring) IS 'Input function of type queue.role.';
CREATE FUNCTION queue.role_out(queue.role) RETURNS cstring
AS 'MODULE_PATHNAME', 'pgqueue_role_out'
LANGUAGE C STABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION queue.role_out(queue.role) IS 'Output function of type queue.role.';
CREATE TYPE queue.role (
    INPUT = queue.role_in,
    OUTPUT = queue.role_out,
    INTERNALLENGTH = VARIABLE,
    ALIGNMENT = int4,
    STORAGE = plain
);
COMMENT ON TYPE queue.role IS
'The role to which a group or a producer belongs, stored by OID and dumped by name. A name without a role stays a name; a dropped role is shown as unknown (OID=...).';

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
    dedupe_window    interval    NOT NULL DEFAULT '1 day',
    segment_age      interval,
    CONSTRAINT topic_pkey PRIMARY KEY (topic_id),
    CONSTRAINT topic_name_key UNIQUE (name),
    CONSTRAINT topic_log_key UNIQUE (log)
);
COMMENT ON TABLE queue.topic IS 'Registry of topics. Change it only with queue.create_topic(), queue.alter_topic() and queue.drop_topic().';
COMMENT ON COLUMN queue.topic.topic_id IS 'Number of the topic, which is part of the names of its table and segments.';
COMMENT ON COLUMN queue.topic.name IS 'Name of the topic and of its view in schema topic.';
COMMENT ON COLUMN queue.topic.log IS 'Partitioned table with the messages.';
COMMENT ON COLUMN queue.topic.partitions IS 'Number of partitions; they are numbered from 0.';
COMMENT ON COLUMN queue.topic.segment_messages IS 'Offsets per segment; NULL: adaptive, about 1 GB.';
COMMENT ON COLUMN queue.topic.created_at IS 'When the topic was created.';
COMMENT ON COLUMN queue.topic.notify IS 'Whether each transaction that produces sends NOTIFY on the channel of the topic''s name.';
COMMENT ON COLUMN queue.topic.retention IS 'How long messages are kept; NULL: no limit.';
COMMENT ON COLUMN queue.topic.retention_bytes IS 'Bytes of each partition that are kept at least; NULL: no limit.';
COMMENT ON COLUMN queue.topic.retention_force IS 'Whether the limits apply also to messages that groups have yet to read.';
COMMENT ON COLUMN queue.topic.cleanup_policy IS 'delete: old segments are removed by the limits; compact: only the latest message of each key is kept; compact,delete: both.';
COMMENT ON COLUMN queue.topic.tombstone_retention IS 'How long compaction keeps tombstones.';
COMMENT ON COLUMN queue.topic.tablespace IS 'Name of the tablespace of new segments, which need not exist after a restore; NULL: the database''s default.';
COMMENT ON COLUMN queue.topic.group_expiry IS 'Expiry, in this topic, of groups that were made by their first consume or poll; NULL: never.';
COMMENT ON COLUMN queue.topic.dedupe_window IS 'How long a message with the dedupe_key of an earlier one is a duplicate, at least.';
COMMENT ON COLUMN queue.topic.segment_age IS 'Age of its first message at which a segment is closed though it is not full; NULL: by the limits.';

CREATE TABLE queue.checkpoint (
    topic_id         int    NOT NULL,
    partition        int    NOT NULL,
    log_start        bigint NOT NULL,
    compacted_to     bigint NOT NULL,
    oldest_tombstone timestamptz,
    system           bigint,
    log              oid,
    CONSTRAINT checkpoint_pkey PRIMARY KEY (topic_id, partition)
) WITH (fillfactor = 50);       -- removing messages updates a row, and needs no disk space
COMMENT ON TABLE queue.checkpoint IS 'Log start of partitions that have lost messages, and how far partitions are compacted.';
COMMENT ON COLUMN queue.checkpoint.topic_id IS 'Topic.';
COMMENT ON COLUMN queue.checkpoint.partition IS 'Partition.';
COMMENT ON COLUMN queue.checkpoint.log_start IS 'First offset that is retained; 0: all are.';
COMMENT ON COLUMN queue.checkpoint.compacted_to IS 'Below this offset a key has at most one message.';
COMMENT ON COLUMN queue.checkpoint.oldest_tombstone IS 'Time of the oldest tombstone below compacted_to; -infinity: only the last message of the partition, which is due. NULL: there is none.';
COMMENT ON COLUMN queue.checkpoint.system IS 'System identifier of the server that compacted; in another server compacted_to and oldest_tombstone are not valid.';
COMMENT ON COLUMN queue.checkpoint.log IS 'Table that was compacted; for another table compacted_to and oldest_tombstone are not valid.';

CREATE TABLE queue.incarnation (
    topic_id     int    NOT NULL,
    partition    int    NOT NULL,
    ordinal      int    NOT NULL,
    incarnation  bigint NOT NULL,
    first_offset bigint NOT NULL
);
CREATE INDEX incarnation_partition
    ON queue.incarnation (topic_id, partition, ordinal);
COMMENT ON TABLE queue.incarnation IS 'First new offset of each partition after a restore or pg_upgrade.';
COMMENT ON COLUMN queue.incarnation.topic_id IS 'Topic.';
COMMENT ON COLUMN queue.incarnation.partition IS 'Partition.';
COMMENT ON COLUMN queue.incarnation.ordinal IS 'Counts the incarnations of the partition''s log.';
COMMENT ON COLUMN queue.incarnation.incarnation IS 'Number of the log''s incarnation: a hash of server, database and table.';
COMMENT ON COLUMN queue.incarnation.first_offset IS 'Offset behind the last restored message. Offsets of an earlier incarnation are valid up to here.';
COMMENT ON INDEX queue.incarnation_partition IS 'Not unique: transactions that first use a log at the same time write a row each, and do not wait for each other.';

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
COMMENT ON INDEX queue.maintenance_log_oldest IS 'Finds rows that are old enough to be deleted.';
COMMENT ON TABLE queue.maintenance_log IS 'Actions of queue.maintain() in the last queue.history_retention, at least a day. Rows may be deleted.';
COMMENT ON COLUMN queue.maintenance_log.done_at IS 'Time of the action.';
COMMENT ON COLUMN queue.maintenance_log.topic IS 'Topic.';
COMMENT ON COLUMN queue.maintenance_log.partition IS 'Partition; NULL: the action concerns the topic as a whole.';
COMMENT ON COLUMN queue.maintenance_log.action IS 'segments removed (their disk space is freed), segments dropped (their empty tables), segments made, messages compacted, offsets forgotten, producer rows merged, maintenance stopped (queue.code_timeout).';
COMMENT ON COLUMN queue.maintenance_log.items IS 'Number of segments, messages or rows.';
COMMENT ON COLUMN queue.maintenance_log.bytes IS 'Disk space that was freed.';

CREATE TABLE queue.maintenance_error (
    topic_id int         NOT NULL,
    part     text        COLLATE "C" NOT NULL,
    since    timestamptz NOT NULL,
    sqlstate text        NOT NULL,
    message  text        NOT NULL,
    CONSTRAINT maintenance_error_pkey PRIMARY KEY (topic_id, part)
);
COMMENT ON TABLE queue.maintenance_error IS 'Topics for which the last pass of maintenance failed, a row for each part of the pass (view queue.maintenance_errors). Not dumped.';
COMMENT ON COLUMN queue.maintenance_error.topic_id IS 'Topic; one that was dropped has its row until the next pass.';
COMMENT ON COLUMN queue.maintenance_error.part IS 'space, segments or rest.';
COMMENT ON COLUMN queue.maintenance_error.since IS 'Time of the first pass with this error.';
COMMENT ON COLUMN queue.maintenance_error.sqlstate IS 'SQLSTATE of the error.';
COMMENT ON COLUMN queue.maintenance_error.message IS 'Message of the error.';

CREATE TABLE queue.persistent_maintenance (
    database   oid         NOT NULL,
    started_by queue.role  NOT NULL,
    started_at timestamptz NOT NULL,
    CONSTRAINT persistent_maintenance_pkey PRIMARY KEY (database)
);
COMMENT ON TABLE queue.persistent_maintenance IS 'Whether the maintenance worker is started again after a restart of the server. Not dumped.';
COMMENT ON COLUMN queue.persistent_maintenance.database IS 'Database; the row of another one, of which this is a copy, has no effect.';
COMMENT ON COLUMN queue.persistent_maintenance.started_by IS 'Role that called queue.start_maintenance(), and must still have the right to.';
COMMENT ON COLUMN queue.persistent_maintenance.started_at IS 'When it called it.';

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
COMMENT ON TABLE queue.consumer_group IS 'Consumer groups, their roles and settings. Change them only with queue.create_group() and queue.alter_group().';
COMMENT ON COLUMN queue.consumer_group.group_id IS 'Number of the group.';
COMMENT ON COLUMN queue.consumer_group.name IS 'Name of the group.';
COMMENT ON COLUMN queue.consumer_group.owner IS 'Role that first used the group, or that queue.alter_group() has set.';
COMMENT ON COLUMN queue.consumer_group.created_at IS 'When the group was first used.';
COMMENT ON COLUMN queue.consumer_group.auto_offset_reset IS 'What the next call does if messages were removed that the group had yet to read: none raises QU001, earliest jumps to the log start.';
COMMENT ON COLUMN queue.consumer_group.expiry IS 'Time without use after which messages of a topic are no longer kept for the group; NULL: never.';
COMMENT ON COLUMN queue.consumer_group.implicit IS 'Whether the group was made by its first consume or poll, and no expiry was set since: then the topic''s group_expiry applies.';

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
    incarnation      bigint,
    parked           bigint,
    delayed          bigint,
    parked_due       timestamptz,
    parked_keys      bigint,
    parked_end       bigint,
    parked_in_hand   int,
    delivered        int,
    failed           int,
    repeats          int,
    failures         int,
    probe_at         timestamptz
);
CREATE INDEX progress_newest
    ON queue.progress (group_id, topic_id, partition, generation);
COMMENT ON TABLE queue.progress IS 'Committed offsets, append-only: the row with the highest generation is valid, the others are history (view queue.offset_history).';
COMMENT ON COLUMN queue.progress.group_id IS 'Consumer group.';
COMMENT ON COLUMN queue.progress.topic_id IS 'Topic.';
COMMENT ON COLUMN queue.progress.partition IS 'Partition.';
COMMENT ON COLUMN queue.progress.paused IS 'Whether the partition is paused for the group.';
COMMENT ON COLUMN queue.progress.action IS 's started, c consumed, m committed, r reset, j jumped to the log start, h handed to a member, p parked or no longer parked, u other change without a move.';
COMMENT ON COLUMN queue.progress.generation IS 'Number of the row within group and partition.';
COMMENT ON COLUMN queue.progress.committed_offset IS 'Next offset to read.';
COMMENT ON COLUMN queue.progress.committed_at IS 'When the offset was moved.';
COMMENT ON COLUMN queue.progress.epoch IS 'Epoch with which messages were last handed to a member, or taken back; NULL: never.';
COMMENT ON COLUMN queue.progress.handed_to IS 'Offset behind the last message that was handed to the member.';
COMMENT ON COLUMN queue.progress.committed_by IS 'Role that moved the offset.';
COMMENT ON COLUMN queue.progress.member IS 'Member that last got messages; NULL: none, or they were taken back.';
COMMENT ON COLUMN queue.progress.metadata IS 'Application metadata stored with the commit.';
COMMENT ON COLUMN queue.progress.missed IS 'Number of offsets so far that were removed before the group had read them; NULL: 0.';
COMMENT ON COLUMN queue.progress.released IS 'Whether messages of the partition are not kept for the group until it is used again (queue.expire_group); NULL: no.';
COMMENT ON COLUMN queue.progress.incarnation IS 'Incarnation of the log to which the offset belongs (queue.incarnation).';
COMMENT ON COLUMN queue.progress.parked IS 'Number of messages that are parked (queue.parked_message); NULL: 0.';
COMMENT ON COLUMN queue.progress.delayed IS 'Number of those that only wait for their deliver_at; NULL: 0.';
COMMENT ON COLUMN queue.progress.parked_due IS 'No parked message is due before; NULL: none is parked.';
COMMENT ON COLUMN queue.progress.parked_keys IS 'Bloom filter of the keys that are held; NULL: none.';
COMMENT ON COLUMN queue.progress.parked_end IS 'Offset behind the last one that was parked, while any is; else NULL.';
COMMENT ON COLUMN queue.progress.parked_in_hand IS 'Number of parked messages that the member has in hand; NULL: 0.';
COMMENT ON COLUMN queue.progress.delivered IS 'Number of messages that the last call has returned; NULL: not known, and only new ones.';
COMMENT ON COLUMN queue.progress.failed IS 'Number of these that were parked since then; NULL: 0.';
COMMENT ON COLUMN queue.progress.repeats IS 'How often the messages in hand were handed out before; NULL: 0.';
COMMENT ON COLUMN queue.progress.failures IS 'First failures of messages since one succeeded; NULL: 0.';
COMMENT ON COLUMN queue.progress.probe_at IS 'When the next single message is tried, after too many failures in a row; NULL: not tripped.';
COMMENT ON INDEX queue.progress_newest IS 'Not unique, since a unique check would pass old versions of rows. Writers hold the lock of (group, topic, partition).';

CREATE TABLE queue.parked_message (
    group_id        int         NOT NULL,
    topic_id        int         NOT NULL,
    partition       int         NOT NULL,
    due_at          timestamptz,
    hash            bigint      NOT NULL,
    "offset"        bigint      NOT NULL,
    attempts        int         NOT NULL,
    parked_at       timestamptz NOT NULL,
    epoch           bigint,
    key             text,
    first_failed_at timestamptz,
    sqlstate        text,
    error           text,
    incarnation     bigint,
    delayed         boolean
);
CREATE INDEX parked_message_key
    ON queue.parked_message (group_id, topic_id, partition, hash, "offset");
CREATE INDEX parked_message_due
    ON queue.parked_message (group_id, topic_id, partition, due_at);
COMMENT ON TABLE queue.parked_message IS 'Messages that groups have passed and will get again, or later: failed ones, those that wait behind them, and delayed ones (view queue.parked).';
COMMENT ON COLUMN queue.parked_message.group_id IS 'Consumer group.';
COMMENT ON COLUMN queue.parked_message.topic_id IS 'Topic.';
COMMENT ON COLUMN queue.parked_message.partition IS 'Partition.';
COMMENT ON COLUMN queue.parked_message.due_at IS 'When the group gets it; NULL: when those before it in its key are done; infinity: its attempts are used up.';
COMMENT ON COLUMN queue.parked_message.hash IS 'What it holds: 0 nothing, 1 the partition, else the hash of its key.';
COMMENT ON COLUMN queue.parked_message."offset" IS 'Offset.';
COMMENT ON COLUMN queue.parked_message.attempts IS 'Attempts so far.';
COMMENT ON COLUMN queue.parked_message.parked_at IS 'When it was last parked.';
COMMENT ON COLUMN queue.parked_message.epoch IS 'Epoch with which it was handed to a member; NULL: it was not.';
COMMENT ON COLUMN queue.parked_message.key IS 'Key of the message.';
COMMENT ON COLUMN queue.parked_message.first_failed_at IS 'When it first failed; NULL: it has not.';
COMMENT ON COLUMN queue.parked_message.sqlstate IS 'SQLSTATE of the last failure.';
COMMENT ON COLUMN queue.parked_message.error IS 'Message of the last failure.';
COMMENT ON COLUMN queue.parked_message.incarnation IS 'Incarnation of the log to which the offset belongs (queue.incarnation).';
COMMENT ON COLUMN queue.parked_message.delayed IS 'Whether it only waits for its deliver_at; NULL: no.';
COMMENT ON INDEX queue.parked_message_key IS 'Finds what is parked of a key, in its order. Not unique, as the index of queue.progress.';
COMMENT ON INDEX queue.parked_message_due IS 'Finds what is due.';

CREATE TABLE queue.failure_policy (
    group_id     int    NOT NULL,
    topic_id     int    NOT NULL,
    max_attempts int    NOT NULL,
    backoff      bigint NOT NULL,
    backoff_max  bigint NOT NULL,
    hold         "char" NOT NULL,
    dead_letter  text   COLLATE "C",
    max_parked   bigint NOT NULL,
    dead_letter_id int,
    CONSTRAINT failure_policy_pkey PRIMARY KEY (group_id, topic_id)
);
COMMENT ON TABLE queue.failure_policy IS 'What becomes of messages that fail. Change it only with queue.set_failure_policy().';
COMMENT ON COLUMN queue.failure_policy.group_id IS 'Consumer group.';
COMMENT ON COLUMN queue.failure_policy.topic_id IS 'Topic.';
COMMENT ON COLUMN queue.failure_policy.max_attempts IS 'Attempts after which a message is a dead letter, or waits for an operator.';
COMMENT ON COLUMN queue.failure_policy.backoff IS 'Milliseconds after the first failure until the next attempt; doubled after each.';
COMMENT ON COLUMN queue.failure_policy.backoff_max IS 'Milliseconds between two attempts at the most.';
COMMENT ON COLUMN queue.failure_policy.hold IS 'What waits while a message is parked: k its key, n nothing, p the partition.';
COMMENT ON COLUMN queue.failure_policy.dead_letter IS 'Name of the topic of dead letters; NULL: none.';
COMMENT ON COLUMN queue.failure_policy.max_parked IS 'With so many failed messages in a partition the group reads no new ones there.';
COMMENT ON COLUMN queue.failure_policy.dead_letter_id IS 'The same topic; NULL: none. Another one that gets the name takes no dead letters.';

CREATE TABLE queue.replayed (
    topic_id    int         NOT NULL,
    partition   int         NOT NULL,
    "offset"    bigint      NOT NULL,
    replayed_at timestamptz NOT NULL,
    CONSTRAINT replayed_pkey PRIMARY KEY (topic_id, partition, "offset")
);
COMMENT ON TABLE queue.replayed IS 'Dead letters whose messages queue.replay() has given back to their group.';
COMMENT ON COLUMN queue.replayed.topic_id IS 'Topic of the dead letter.';
COMMENT ON COLUMN queue.replayed.partition IS 'Partition of the dead letter.';
COMMENT ON COLUMN queue.replayed."offset" IS 'Offset of the dead letter.';
COMMENT ON COLUMN queue.replayed.replayed_at IS 'When.';

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
COMMENT ON TABLE queue.member IS 'Members of consumer groups, a row for each topic. Not dumped: a lease has no meaning after a restore.';
COMMENT ON COLUMN queue.member.group_id IS 'Consumer group.';
COMMENT ON COLUMN queue.member.topic_id IS 'Topic.';
COMMENT ON COLUMN queue.member.lease IS 'Lease in milliseconds.';
COMMENT ON COLUMN queue.member.expires_at IS 'When the lease expires.';
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
COMMENT ON TABLE queue.assignment IS 'Partitions that each member owns, valid only with a lease in queue.member. Not dumped.';
COMMENT ON COLUMN queue.assignment.group_id IS 'Consumer group.';
COMMENT ON COLUMN queue.assignment.topic_id IS 'Topic.';
COMMENT ON COLUMN queue.assignment.name IS 'Member.';
COMMENT ON COLUMN queue.assignment.partitions IS 'Partitions that the member owns.';

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
COMMENT ON TABLE queue.producer IS 'Producer ids, and the roles to which they belong.';
COMMENT ON COLUMN queue.producer.producer_id IS 'Number of the producer.';
COMMENT ON COLUMN queue.producer.topic_id IS 'Topic.';
COMMENT ON COLUMN queue.producer.name IS 'The producer_id that the application chose.';
COMMENT ON COLUMN queue.producer.owner IS 'Role that first used the id, or that queue.alter_producer() has set.';
COMMENT ON COLUMN queue.producer.strict IS 'Whether each sequence must be the last one + 1; else it must be greater (monotonic).';
COMMENT ON COLUMN queue.producer.created_at IS 'When the id was first used.';

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
COMMENT ON TABLE queue.producer_batch IS 'State of producers, append-only, a row for each call: the last row by the index is valid, the others find the places of duplicates.';
COMMENT ON COLUMN queue.producer_batch.producer_id IS 'Producer, as in queue.producer.';
COMMENT ON COLUMN queue.producer_batch.series IS 'Epoch in which the producer''s sequences last restarted.';
COMMENT ON COLUMN queue.producer_batch.last_sequence IS 'Last sequence stored; -1: none in this series.';
COMMENT ON COLUMN queue.producer_batch.generation IS 'Number of the row within the producer.';
COMMENT ON COLUMN queue.producer_batch.epoch IS 'Current epoch.';
COMMENT ON COLUMN queue.producer_batch.first_sequence IS 'First sequence of the row; last_sequence + 1 for a row without messages.';
COMMENT ON COLUMN queue.producer_batch.partition IS 'Partition of the message with last_sequence.';
COMMENT ON COLUMN queue.producer_batch."offset" IS 'Offset of the message with last_sequence.';
COMMENT ON COLUMN queue.producer_batch.accepted IS 'Messages stored so far.';
COMMENT ON COLUMN queue.producer_batch.duplicates IS 'Messages left out as duplicates so far.';
COMMENT ON COLUMN queue.producer_batch.gaps IS 'Gaps in the sequences so far.';
COMMENT ON COLUMN queue.producer_batch.produced_at IS 'When the last message was stored.';
COMMENT ON COLUMN queue.producer_batch.watermark IS 'Watermark that was last stored.';
COMMENT ON COLUMN queue.producer_batch.places IS 'Partitions and offsets of the row''s sequences (src/base/sequence_map.c); NULL without messages.';
COMMENT ON COLUMN queue.producer_batch.used_at IS 'When the row was written, if it has no messages (duplicates only, a fence, a watermark alone); NULL: at produced_at.';
COMMENT ON COLUMN queue.producer_batch.incarnation IS 'Incarnation of the log to which the places belong (queue.incarnation); NULL without messages.';
COMMENT ON INDEX queue.producer_batch_newest IS 'Not unique, since a unique check would pass old versions of rows. Writers hold the producer''s lock.';

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
COMMENT ON TABLE queue.producer_history IS 'Places of earlier messages, merged from rows of queue.producer_batch by queue.prune_producers() and maintenance.';
COMMENT ON COLUMN queue.producer_history.producer_id IS 'Producer, as in queue.producer.';
COMMENT ON COLUMN queue.producer_history.series IS 'Epoch in which the producer''s sequences last restarted.';
COMMENT ON COLUMN queue.producer_history.last_sequence IS 'Last sequence of the row.';
COMMENT ON COLUMN queue.producer_history.first_sequence IS 'First sequence of the row.';
COMMENT ON COLUMN queue.producer_history.places IS 'Partitions and offsets of the row''s sequences (src/base/sequence_map.c).';
COMMENT ON COLUMN queue.producer_history.incarnation IS 'Incarnation of the log to which the places belong (queue.incarnation).';
COMMENT ON INDEX queue.producer_history_places IS 'Finds the row of a sequence. Writers hold the producer''s lock.';

CREATE TABLE queue.producer_due (
    topic_id int  NOT NULL,
    name     text COLLATE "C" NOT NULL
);
CREATE INDEX producer_due_name
    ON queue.producer_due (topic_id, name);
COMMENT ON TABLE queue.producer_due IS 'Producers that maintenance will prune. A producer gets a row here with each 16th row in queue.producer_batch.';
COMMENT ON COLUMN queue.producer_due.topic_id IS 'Topic.';
COMMENT ON COLUMN queue.producer_due.name IS 'The producer_id that the application chose.';
COMMENT ON INDEX queue.producer_due_name IS 'Not unique: a producer may have several rows. Writers hold the producer''s lock.';

CREATE TABLE queue.dedupe_bucket (
    topic_id    int         NOT NULL,
    number      int         NOT NULL,
    keys        regclass    NOT NULL,
    started_at  timestamptz NOT NULL,
    ends_at     timestamptz NOT NULL,
    incarnation bigint      NOT NULL,
    CONSTRAINT dedupe_bucket_pkey PRIMARY KEY (topic_id, number)
);
COMMENT ON TABLE queue.dedupe_bucket IS 'Tables with the dedupe_keys of a topic''s messages, each for a span of time. A table is dropped as a whole when the topic''s dedupe_window has passed since its end.';
COMMENT ON COLUMN queue.dedupe_bucket.topic_id IS 'Topic.';
COMMENT ON COLUMN queue.dedupe_bucket.number IS 'Counts the topic''s buckets; the last one takes new keys.';
COMMENT ON COLUMN queue.dedupe_bucket.keys IS 'Table with the hash of each key, and the partition and offset of its message.';
COMMENT ON COLUMN queue.dedupe_bucket.started_at IS 'When the bucket was made.';
COMMENT ON COLUMN queue.dedupe_bucket.ends_at IS 'From when on the bucket takes no new keys.';
COMMENT ON COLUMN queue.dedupe_bucket.incarnation IS 'Incarnation of the log to which the offsets belong (queue.incarnation).';

CREATE TABLE queue.subscription (
    group_id      int         NOT NULL,
    topic_id      int         NOT NULL,
    handler       text        NOT NULL,
    handler_owner queue.role  NOT NULL,
    batch         int         NOT NULL,
    workers       int         NOT NULL,
    timeout       interval,
    owner         queue.role  NOT NULL,
    created_at    timestamptz NOT NULL,
    CONSTRAINT subscription_pkey PRIMARY KEY (group_id, topic_id)
);
COMMENT ON TABLE queue.subscription IS 'Handlers of groups'' messages of topics. Change them only with queue.subscribe() and queue.unsubscribe().';
COMMENT ON COLUMN queue.subscription.group_id IS 'Consumer group.';
COMMENT ON COLUMN queue.subscription.topic_id IS 'Topic.';
COMMENT ON COLUMN queue.subscription.handler IS 'Function that is called with messages: schema, name and type of its argument.';
COMMENT ON COLUMN queue.subscription.handler_owner IS 'Owner of the function when it was subscribed; that of another role is not called.';
COMMENT ON COLUMN queue.subscription.batch IS 'Messages of one transaction at most.';
COMMENT ON COLUMN queue.subscription.workers IS 'Background workers that are wanted.';
COMMENT ON COLUMN queue.subscription.timeout IS 'How long a call of the handler may take; NULL: without limit.';
COMMENT ON COLUMN queue.subscription.owner IS 'Role that subscribed.';
COMMENT ON COLUMN queue.subscription.created_at IS 'When queue.subscribe() was last called.';

CREATE TABLE queue.worker (
    group_id  int         NOT NULL,
    topic_id  int         NOT NULL,
    number    int         NOT NULL,
    database  oid         NOT NULL,
    begins_at timestamptz,
    failures  int         NOT NULL,
    failed_at timestamptz,
    sqlstate  text,
    error     text,
    CONSTRAINT worker_pkey PRIMARY KEY (group_id, topic_id, number)
);
COMMENT ON TABLE queue.worker IS 'Background workers of subscriptions (view queue.workers). Not dumped, so that a restored database has none until queue.subscribe() is called.';
COMMENT ON COLUMN queue.worker.group_id IS 'Consumer group.';
COMMENT ON COLUMN queue.worker.topic_id IS 'Topic.';
COMMENT ON COLUMN queue.worker.number IS 'Number of the worker, from 1 on.';
COMMENT ON COLUMN queue.worker.database IS 'Database; the row of another one, of which this is a copy, has no effect.';
COMMENT ON COLUMN queue.worker.begins_at IS 'When the worker begins, or began, to work; NULL: it has not started since queue.subscribe().';
COMMENT ON COLUMN queue.worker.failures IS 'How often it has failed or ended in short succession.';
COMMENT ON COLUMN queue.worker.failed_at IS 'When its last error was raised; NULL: none is known.';
COMMENT ON COLUMN queue.worker.sqlstate IS 'SQLSTATE of that error.';
COMMENT ON COLUMN queue.worker.error IS 'Message of that error.';

-- Tables without a primary key: DELETE also works if all tables are published.
ALTER TABLE queue.incarnation REPLICA IDENTITY FULL;
ALTER TABLE queue.maintenance_log REPLICA IDENTITY FULL;
ALTER TABLE queue.progress REPLICA IDENTITY FULL;
ALTER TABLE queue.parked_message REPLICA IDENTITY FULL;
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
SELECT pg_catalog.pg_extension_config_dump('queue.parked_message', '');
SELECT pg_catalog.pg_extension_config_dump('queue.failure_policy', '');
SELECT pg_catalog.pg_extension_config_dump('queue.replayed', '');
SELECT pg_catalog.pg_extension_config_dump('queue.producer', '');
SELECT pg_catalog.pg_extension_config_dump('queue.producer_producer_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('queue.producer_due', '');
SELECT pg_catalog.pg_extension_config_dump('queue.producer_batch', '');
SELECT pg_catalog.pg_extension_config_dump('queue.producer_history', '');
SELECT pg_catalog.pg_extension_config_dump('queue.dedupe_bucket', '');
SELECT pg_catalog.pg_extension_config_dump('queue.subscription', '');

COMMENT ON SEQUENCE queue.topic_topic_id_seq IS 'Numbers of topics.';
COMMENT ON SEQUENCE queue.consumer_group_group_id_seq IS 'Numbers of consumer groups.';
COMMENT ON SEQUENCE queue.producer_producer_id_seq IS 'Numbers of producers.';

REVOKE ALL ON queue.topic, queue.checkpoint, queue.incarnation, queue.maintenance_log,
    queue.maintenance_error, queue.persistent_maintenance,
    queue.consumer_group, queue.progress, queue.parked_message,
    queue.failure_policy, queue.replayed, queue.member, queue.assignment,
    queue.producer, queue.producer_due, queue.producer_batch,
    queue.producer_history, queue.dedupe_bucket, queue.subscription, queue.worker FROM PUBLIC;
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
    headers     jsonb,
    attempt     int
);
COMMENT ON TYPE queue.message IS 'A message as returned by consume and fetch; attempt says which delivery to the group this is, and is NULL from fetch. Later versions only append columns.';

CREATE TYPE queue.leased_message AS (
    topic       text,
    partition   int,
    "offset"    bigint,
    "timestamp" timestamptz,
    key         text,
    value       jsonb,
    headers     jsonb,
    epoch       bigint,
    attempt     int
);
COMMENT ON TYPE queue.leased_message IS 'A message as returned by poll. Pass its epoch to queue.commit_offset(); all messages of a partition have the same.';

CREATE TYPE queue.produce_result AS (
    partition   int,
    "offset"    bigint,
    "timestamp" timestamptz,
    duplicate   boolean
);
COMMENT ON TYPE queue.produce_result IS 'Partition and offset of a message, provisional until COMMIT. If it is a duplicate, they are those of the original, and "timestamp" is NULL.';

CREATE TYPE queue.produce_batch_result AS (
    partition    int,
    first_offset bigint,
    last_offset  bigint,
    count        bigint,
    duplicates   bigint
);
COMMENT ON TYPE queue.produce_batch_result IS 'A partition with messages of a batch: count were stored now, duplicates before. First and last offset include both; messages of other producers may lie between them.';

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
'AFTER INSERT statement trigger of a topic''s view: appends the rows that the statement has buffered.';

CREATE FUNCTION queue.refuse_change() RETURNS trigger
AS 'MODULE_PATHNAME', 'pgqueue_refuse_change'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.refuse_change() IS
'Trigger of a topic''s view: refuses UPDATE and DELETE (0A000).';

CREATE FUNCTION queue.insert_guard() RETURNS bigint
AS 'MODULE_PATHNAME', 'pgqueue_insert_guard'
LANGUAGE C STABLE PARALLEL SAFE;
COMMENT ON FUNCTION queue.insert_guard() IS
'Default of a topic''s columns partition, "offset" and "timestamp": NULL, or an error (55000) under session_replication_role = replica, where rows would be lost.';

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
    group_expiry     interval DEFAULT NULL,
    dedupe_window    interval DEFAULT '1 day',
    segment_age      interval DEFAULT NULL
) RETURNS regclass
AS 'MODULE_PATHNAME', 'pgqueue_create_topic'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.create_topic(text, int, regtype, bigint, boolean, interval, bigint, boolean, text, interval, text, interval, interval, interval) IS
'Creates a topic and its view topic.<name>, and returns the view. Messages are kept until the topic is dropped, unless retention, retention_bytes or cleanup_policy is given.';

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
    group_expiry     interval DEFAULT NULL,
    dedupe_window    interval DEFAULT NULL,
    segment_age      interval DEFAULT NULL
) RETURNS void
AS 'MODULE_PATHNAME', 'pgqueue_alter_topic'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.alter_topic(text, int, bigint, boolean, interval, bigint, boolean, text, interval, text, interval, interval, interval) IS
'Changes properties of a topic; NULL leaves a property as it is. 0 removes a limit, '''' stands for the database''s default tablespace, and partitions can only be added.';

CREATE FUNCTION queue.drop_topic(
    topic     text,
    if_exists boolean DEFAULT false,
    cascade   boolean DEFAULT false
) RETURNS void
AS 'MODULE_PATHNAME', 'pgqueue_drop_topic'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.drop_topic(text, boolean, boolean) IS
'Drops a topic with its messages and the groups'' offsets in it. With cascade it also drops objects that depend on the topic''s view, table or segments.';

------------------------------------------------------------------------------
-- Producing
------------------------------------------------------------------------------

CREATE FUNCTION queue.produce(
    topic       text,
    value       text,
    key         text        DEFAULT NULL,
    headers     jsonb       DEFAULT NULL,
    partition   int         DEFAULT NULL,
    producer_id text        DEFAULT NULL,
    sequence    bigint      DEFAULT NULL,
    epoch       int         DEFAULT 0,
    dedupe_key  text        DEFAULT NULL,
    deliver_at  timestamptz DEFAULT NULL
) RETURNS queue.produce_result
AS 'MODULE_PATHNAME', 'pgqueue_produce_text'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.produce(text, text, text, jsonb, int, text, bigint, int, text, timestamptz) IS
'Appends one message; value is text, parsed as the topic''s type. With producer_id and sequence (the last one + 1), or with dedupe_key, a message that is sent again is stored once.';

CREATE FUNCTION queue.produce(
    topic       text,
    value       anyelement,
    key         text        DEFAULT NULL,
    headers     jsonb       DEFAULT NULL,
    partition   int         DEFAULT NULL,
    producer_id text        DEFAULT NULL,
    sequence    bigint      DEFAULT NULL,
    epoch       int         DEFAULT 0,
    dedupe_key  text        DEFAULT NULL,
    deliver_at  timestamptz DEFAULT NULL
) RETURNS queue.produce_result
AS 'MODULE_PATHNAME', 'pgqueue_produce_typed'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.produce(text, anyelement, text, jsonb, int, text, bigint, int, text, timestamptz) IS
'Appends one message; value has the topic''s type, or is converted to it as INSERT does. The other arguments are those of the form with a text value.';

CREATE FUNCTION queue.produce_batch(
    topic          text,
    batch          anyarray,
    keys           text[]        DEFAULT NULL,
    headers        jsonb[]       DEFAULT NULL,
    partition      int           DEFAULT NULL,
    producer_id    text          DEFAULT NULL,
    first_sequence bigint        DEFAULT NULL,
    epoch          int           DEFAULT 0,
    watermark      jsonb         DEFAULT NULL,
    sequences      bigint[]      DEFAULT NULL,
    dedupe_keys    text[]        DEFAULT NULL,
    deliver_at     timestamptz[] DEFAULT NULL
) RETURNS SETOF queue.produce_batch_result
AS 'MODULE_PATHNAME', 'pgqueue_produce_batch'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.produce_batch(text, anyarray, text[], jsonb[], int, text, bigint, int, jsonb, bigint[], text[], timestamptz[]) IS
'Appends the elements of an array as messages, in their order, and returns a row for each partition. The messages have the sequences first_sequence, first_sequence + 1 and so on, or those of the array sequences.';

CREATE FUNCTION queue.produce_batch(
    topic          text,
    batch          text,
    keys           text[]        DEFAULT NULL,
    headers        jsonb[]       DEFAULT NULL,
    partition      int           DEFAULT NULL,
    producer_id    text          DEFAULT NULL,
    first_sequence bigint        DEFAULT NULL,
    epoch          int           DEFAULT 0,
    watermark      jsonb         DEFAULT NULL,
    sequences      bigint[]      DEFAULT NULL,
    dedupe_keys    text[]        DEFAULT NULL,
    deliver_at     timestamptz[] DEFAULT NULL
) RETURNS SETOF queue.produce_batch_result
AS 'MODULE_PATHNAME', 'pgqueue_produce_batch'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.produce_batch(text, text, text[], jsonb[], int, text, bigint, int, jsonb, bigint[], text[], timestamptz[]) IS
'Appends the elements of a text[] as messages; batch is the array in its text form, as an untyped parameter is. The other arguments are those of the form with an array.';

CREATE FUNCTION queue.create_producer(
    topic         text,
    producer_id   text,
    sequence_mode text DEFAULT 'strict'
) RETURNS void
AS 'MODULE_PATHNAME', 'pgqueue_create_producer'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.create_producer(text, text, text) IS
'Makes a producer known before its first message, to choose its mode. sequence_mode is strict (each sequence is the last one + 1) or monotonic (each is greater than the last one).';

CREATE FUNCTION queue.alter_producer(
    topic       text,
    producer_id text,
    owner       text DEFAULT NULL
) RETURNS void
AS 'MODULE_PATHNAME', 'pgqueue_alter_producer'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.alter_producer(text, text, text) IS
'Gives a producer, with its epoch and sequences, to another role. NULL leaves the owner as it is.';

CREATE FUNCTION queue.fence_producer(
    topic       text,
    producer_id text,
    terminate   boolean DEFAULT false
) RETURNS int
AS 'MODULE_PATHNAME', 'pgqueue_fence_producer'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.fence_producer(text, text, boolean) IS
'Raises the epoch of a producer and returns the new one; calls with an older epoch then get QU003. Waits for an open transaction of the producer, or with terminate ends its backend.';

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
'Returns the epoch, last sequence, watermark and last message of a producer, from which it goes on. All columns are NULL for a producer that is not known.';

CREATE FUNCTION queue.prune_producers(topic text) RETURNS bigint
AS 'MODULE_PATHNAME', 'pgqueue_prune_producers'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.prune_producers(text) IS
'Merges rows of the state of a topic''s producers, and returns by how many rows it shrank; duplicates are still recognised. Merges at most 500 producers, and leaves out those that are in use.';

CREATE FUNCTION queue.forget_producer(topic text, producer_id text) RETURNS boolean
AS 'MODULE_PATHNAME', 'pgqueue_forget_producer'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.forget_producer(text, text) IS
'Deletes a producer with its sequences, and returns false if it was not known. A message sent again with the id is then stored again.';

CREATE PROCEDURE queue.forget_producers(
    topic        text,
    unused_since timestamptz,
    INOUT forgotten bigint DEFAULT NULL)
AS 'MODULE_PATHNAME', 'pgqueue_forget_producers'
LANGUAGE C;
COMMENT ON PROCEDURE queue.forget_producers(text, timestamptz, bigint) IS
'Deletes the producers of a topic that were not used since unused_since, and returns their number in forgotten. Commits after some hundreds, so it cannot run in a transaction block.';

CREATE FUNCTION queue.murmur2(data bytea) RETURNS int
AS 'MODULE_PATHNAME', 'pgqueue_murmur2_sql'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION queue.murmur2(bytea) IS
'MurmurHash2 (Austin Appleby) with the seed of Kafka''s default partitioner.';

CREATE FUNCTION queue.partition_for_key(key text, partitions int) RETURNS int
AS 'MODULE_PATHNAME', 'pgqueue_partition_for_key_sql'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION queue.partition_for_key(text, int) IS
'Returns the partition of a key in a topic with so many partitions, as Kafka''s default partitioner does over the key in UTF-8.';

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
'Sets where a group starts to read a topic, before its first consume. start is earliest, latest or a time.';

CREATE FUNCTION queue.alter_group(
    consumer_group    text,
    auto_offset_reset text     DEFAULT NULL,
    expiry            interval DEFAULT NULL,
    owner             text     DEFAULT NULL
) RETURNS void
AS 'MODULE_PATHNAME', 'pgqueue_alter_group'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.alter_group(text, text, interval, text) IS
'Changes settings of a group; NULL leaves one as it is. auto_offset_reset is none or earliest; an expiry of 0 means never.';

CREATE FUNCTION queue.drop_group(consumer_group text, topic text DEFAULT NULL)
RETURNS void
AS 'MODULE_PATHNAME', 'pgqueue_drop_group'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.drop_group(text, text) IS
'Deletes a group with its offsets, history and members, or only those in a topic. Stop the consumers first: one that goes on makes the group again, at the log start.';

CREATE FUNCTION queue.expire_group(consumer_group text, topic text) RETURNS int
AS 'MODULE_PATHNAME', 'pgqueue_expire_group'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.expire_group(text, text) IS
'Makes a group expire in a topic at once: messages are no longer kept for it until it is used again; its offsets stay. Returns the number of partitions in which messages were kept for it.';

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
    OUT new_offset bigint,
    OUT forgotten  bigint
) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'pgqueue_reset_offsets'
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 20;
COMMENT ON FUNCTION queue.reset_offsets(text, text, bigint, timestamptz, boolean, boolean, bigint, int, boolean) IS
'Moves the offsets of a group in the caller''s transaction, and returns the old and new offset of each partition, with the number of parked messages before it that are forgotten. Waits for transactions that are consuming, and fences members that have messages in hand.';

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
'Returns, for each partition or for one, the first message of the given time or later. Offset and timestamp are NULL if there is none before the stable end.';

CREATE FUNCTION queue.offset_time(topic text, partition int, from_offset bigint)
RETURNS timestamptz
AS 'MODULE_PATHNAME', 'pgqueue_offset_time'
LANGUAGE C STABLE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.offset_time(text, int, bigint) IS
'Returns the timestamp of the first message at or behind an offset. NULL if there is none, or the offset lies before the log start.';

CREATE FUNCTION queue.unread_time(topic text, partition int, from_offset bigint)
RETURNS timestamptz
AS 'MODULE_PATHNAME', 'pgqueue_unread_time'
LANGUAGE C STABLE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.unread_time(text, int, bigint) IS
'As queue.offset_time(), for view queue.consumer_groups: NULL or a WARNING instead of an error.';

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
'Returns the next messages of one partition of a topic, and moves the group''s offset over all of them in the caller''s transaction. max_wait holds the statement''s snapshot; outside a transaction use queue.wait().';

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
    OUT headers     jsonb,
    OUT attempt     int
) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'pgqueue_consume_typed'
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 100;
COMMENT ON FUNCTION queue.consume_typed(text, text, anyelement, int, int, int[], interval, text) IS
'As queue.consume(), for a topic with values of any type. Pass NULL::type as value_type.';

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
'As queue.consume(), for the next of several topics that has messages. topics has 1 to 64 names of topics with values of one type.';

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
    OUT headers     jsonb,
    OUT attempt     int
) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'pgqueue_consume_topics_typed'
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 100;
COMMENT ON FUNCTION queue.consume_topics_typed(text, text[], anyelement, int, int, interval, text) IS
'As queue.consume_topics(), for topics with values of any type. Pass NULL::type as value_type.';

CREATE PROCEDURE queue.wait(
    consumer_group text,
    topic          text,
    timeout        interval DEFAULT '30 seconds',
    member         text     DEFAULT NULL
)
AS 'MODULE_PATHNAME', 'pgqueue_wait'
LANGUAGE C;
COMMENT ON PROCEDURE queue.wait(text, text, interval, text) IS
'Commits, then waits without a snapshot until the group, or with member that member, has messages to read in the topic, or until timeout, 30 seconds by default, NULL for none. A following consume or poll may still return no rows.';

CREATE PROCEDURE queue.wait_topics(
    consumer_group text,
    topics         text[],
    timeout        interval DEFAULT '30 seconds',
    member         text     DEFAULT NULL
)
AS 'MODULE_PATHNAME', 'pgqueue_wait_topics'
LANGUAGE C;
COMMENT ON PROCEDURE queue.wait_topics(text, text[], interval, text) IS
'As queue.wait(), for messages in any of 1 to 64 topics.';

CREATE FUNCTION queue.pause(
    consumer_group text,
    topic          text DEFAULT NULL,
    partition      int  DEFAULT NULL
) RETURNS int
AS 'MODULE_PATHNAME', 'pgqueue_pause'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.pause(text, text, int) IS
'Stops handing messages of a partition, of a topic, or of all its topics to a group until queue.resume(), and returns the number of changed partitions. Waits for transactions that are consuming.';

CREATE FUNCTION queue.resume(
    consumer_group text,
    topic          text DEFAULT NULL,
    partition      int  DEFAULT NULL
) RETURNS int
AS 'MODULE_PATHNAME', 'pgqueue_resume'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.resume(text, text, int) IS
'Ends queue.pause(), and returns the number of changed partitions.';

------------------------------------------------------------------------------
-- Handlers: functions that the server calls with messages
------------------------------------------------------------------------------

CREATE FUNCTION queue.subscribe(
    consumer_group text,
    topic          text,
    handler        regprocedure,
    batch          int      DEFAULT 100,
    workers        int      DEFAULT 0,
    timeout        interval DEFAULT NULL
) RETURNS void
AS 'MODULE_PATHNAME', 'pgqueue_subscribe'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.subscribe(text, text, regprocedure, int, int, interval) IS
'Names the function that queue.process() calls with a group''s messages of a topic, in place of an earlier one. The function takes queue.message, or queue.message[] for up to batch messages at once.';

CREATE FUNCTION queue.unsubscribe(consumer_group text, topic text) RETURNS boolean
AS 'MODULE_PATHNAME', 'pgqueue_unsubscribe'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.unsubscribe(text, text) IS
'Ends a subscription, and returns false if there is none; the group''s offsets stay. Waits for transactions that are calling the handler.';

CREATE PROCEDURE queue.process(
    consumer_group text,
    topic          text,
    max_batches    int      DEFAULT NULL,
    max_wait       interval DEFAULT NULL,
    INOUT batches  bigint   DEFAULT NULL,
    INOUT messages bigint   DEFAULT NULL,
    INOUT parked   bigint   DEFAULT NULL
)
AS 'MODULE_PATHNAME', 'pgqueue_process'
LANGUAGE C;
COMMENT ON PROCEDURE queue.process(text, text, int, interval, bigint, bigint, bigint) IS
'Consumes messages and calls the subscription''s handler with them, a transaction for each batch, until none is left, or none has come for max_wait. Commits, so it cannot run in a transaction block.';

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
'Hands messages of a topic to a member of the group, in its lease; queue.commit_offset() moves the offsets when the work is done. max_messages 0 only renews the lease.';

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
    OUT epoch       bigint,
    OUT attempt     int
) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'pgqueue_poll_typed'
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 100;
COMMENT ON FUNCTION queue.poll_typed(text, text, text, anyelement, int, interval, int, interval) IS
'As queue.poll(), for a topic with values of any type. Pass NULL::type as value_type.';

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
'As queue.poll(), from several topics. topics has 1 to 64 names of topics with values of one type.';

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
    OUT epoch       bigint,
    OUT attempt     int
) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'pgqueue_poll_topics_typed'
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 100;
COMMENT ON FUNCTION queue.poll_topics_typed(text, text[], text, anyelement, int, interval, int, interval) IS
'As queue.poll_topics(), for topics with values of any type. Pass NULL::type as value_type.';

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
'Moves the offset of a group in a partition to next_offset, the last processed offset + 1. Pass member and epoch as poll returned them, or neither for a reader by queue.fetch().';

CREATE FUNCTION queue.set_failure_policy(
    consumer_group text,
    topic          text,
    max_attempts   int      DEFAULT 5,
    backoff        interval DEFAULT '1 s',
    backoff_max    interval DEFAULT '5 min',
    hold           text     DEFAULT 'key',
    dead_letter    text     DEFAULT NULL,
    max_parked     bigint   DEFAULT 10000
) RETURNS void
AS 'MODULE_PATHNAME', 'pgqueue_set_failure_policy'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.set_failure_policy(text, text, int, interval, interval, text, text, bigint) IS
'Sets what becomes of messages of a topic that a group parks. hold says what waits meanwhile: key, none or partition.';

CREATE FUNCTION queue.drop_failure_policy(consumer_group text, topic text) RETURNS boolean
AS 'MODULE_PATHNAME', 'pgqueue_drop_failure_policy'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.drop_failure_policy(text, text) IS
'Deletes a failure policy, and returns false if there was none. Messages that are parked stay so, under the defaults of queue.set_failure_policy().';

CREATE FUNCTION queue.park(
    consumer_group text,
    topic          text,
    partition      int,
    "offset"       bigint,
    error          text     DEFAULT NULL,
    sqlstate       text     DEFAULT NULL,
    delay          interval DEFAULT NULL,
    counts         boolean  DEFAULT true,
    give_up        boolean  DEFAULT false,
    member         text     DEFAULT NULL,
    epoch          bigint   DEFAULT NULL
) RETURNS bigint[]
AS 'MODULE_PATHNAME', 'pgqueue_park_sql'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.park(text, text, int, bigint, text, text, interval, boolean, boolean, text, bigint) IS
'Puts a message aside on which the consumer has failed; the group gets it again after a pause. Returns the offsets of later messages that the consumer has been given too and must leave alone, since they wait behind it.';

CREATE FUNCTION queue.skip_parked(
    consumer_group text,
    topic          text,
    partition      int,
    "offset"       bigint
) RETURNS boolean
AS 'MODULE_PATHNAME', 'pgqueue_skip_parked'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.skip_parked(text, text, int, bigint) IS
'Gives a parked message up for a group, and lets those behind it go on. Returns false if it is not parked.';

CREATE FUNCTION queue.retry_parked(
    consumer_group text,
    topic          text,
    partition      int,
    "offset"       bigint
) RETURNS boolean
AS 'MODULE_PATHNAME', 'pgqueue_retry_parked'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.retry_parked(text, text, int, bigint) IS
'Makes a parked message due at once, with all its attempts before it. Returns false if it is not parked.';

CREATE FUNCTION queue.replay(
    consumer_group text,
    dead_letter    text,
    key            text        DEFAULT NULL,
    sqlstate       text        DEFAULT NULL,
    since          timestamptz DEFAULT NULL,
    until          timestamptz DEFAULT NULL,
    max_messages   bigint      DEFAULT NULL
) RETURNS bigint
AS 'MODULE_PATHNAME', 'pgqueue_replay'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.replay(text, text, text, text, timestamptz, timestamptz, bigint) IS
'Gives a group the messages of its dead letters once more, and returns their number; other groups see nothing of it. Each dead letter is replayed once.';

CREATE FUNCTION queue.leave(consumer_group text, topic text, member text)
RETURNS boolean
AS 'MODULE_PATHNAME', 'pgqueue_leave'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.leave(text, text, text) IS
'Removes a member from its group in a topic, so that others get its partitions and the messages that it has in hand. Returns false if there was no such member.';

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
'Returns messages of a partition from an offset on, up to the stable end, without a group. Works on a standby.';

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
    OUT headers     jsonb,
    OUT attempt     int
) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'pgqueue_fetch_typed'
LANGUAGE C STABLE PARALLEL UNSAFE ROWS 100;
COMMENT ON FUNCTION queue.fetch_typed(text, int, bigint, anyelement, int, int) IS
'As queue.fetch(), for a topic with values of any type. Pass NULL::type as value_type.';

CREATE FUNCTION queue.log_start(topic text, partition int) RETURNS bigint
AS 'MODULE_PATHNAME', 'pgqueue_log_start_sql'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.log_start(text, int) IS
'Returns the first offset of a partition that is retained.';

CREATE FUNCTION queue.stable_end(topic text, partition int) RETURNS bigint
AS 'MODULE_PATHNAME', 'pgqueue_stable_end_sql'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.stable_end(text, int) IS
'Returns the first offset of a partition that a reader may not pass yet: that of the first message in progress, else the log end. As of now, not as of the snapshot.';

CREATE FUNCTION queue.log_end(topic text, partition int) RETURNS bigint
AS 'MODULE_PATHNAME', 'pgqueue_log_end_sql'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.log_end(text, int) IS
'Returns the next offset to be assigned in a partition. As of now, not as of the snapshot.';

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
'Rows of view queue.partitions.';

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
'Segments for view queue.segments.';

CREATE FUNCTION queue.topic_problem(topic text) RETURNS text
AS 'MODULE_PATHNAME', 'pgqueue_topic_problem_sql'
LANGUAGE C STABLE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.topic_problem(text) IS
'Returns why a topic, or a partition of it, cannot be used, for view queue.topics; NULL: no problem, or the view does not show the topic.';

CREATE VIEW queue.topics WITH (security_barrier) AS
SELECT t.name AS topic,
       t.partitions,
       a.atttypid::regtype AS value_type,
       t.segment_messages,
       pg_catalog.pg_get_userbyid(c.relowner) AS owner,
       t.created_at,
       t.notify,
       t.retention,
       t.retention_bytes,
       t.retention_force,
       t.cleanup_policy,
       t.tombstone_retention,
       t.segment_age,
       t.tablespace,
       t.group_expiry,
       t.dedupe_window,
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
    OR pg_catalog.pg_has_role('pg_monitor', 'USAGE')
    OR pg_catalog.pg_has_role(
           coalesce(c.relowner, (SELECT nspowner FROM pg_catalog.pg_namespace
                                  WHERE nspname = 'queue')), 'USAGE');
COMMENT ON VIEW queue.topics IS 'Topics that the current role may read or write, or owns; all for members of pg_monitor.';
COMMENT ON COLUMN queue.topics.topic IS 'Name of the topic.';
COMMENT ON COLUMN queue.topics.partitions IS 'Number of partitions.';
COMMENT ON COLUMN queue.topics.value_type IS 'Type of the values.';
COMMENT ON COLUMN queue.topics.segment_messages IS 'Offsets per segment; NULL: adaptive.';
COMMENT ON COLUMN queue.topics.owner IS 'Role that may alter and drop the topic.';
COMMENT ON COLUMN queue.topics.created_at IS 'When the topic was created.';
COMMENT ON COLUMN queue.topics.notify IS 'Whether each transaction that produces sends NOTIFY on the channel of the topic''s name.';
COMMENT ON COLUMN queue.topics.retention IS 'How long messages are kept; NULL: no limit.';
COMMENT ON COLUMN queue.topics.retention_bytes IS 'Bytes of each partition that are kept at least; NULL: no limit.';
COMMENT ON COLUMN queue.topics.retention_force IS 'Whether the limits apply also to messages that groups have yet to read.';
COMMENT ON COLUMN queue.topics.cleanup_policy IS 'delete, compact or compact,delete.';
COMMENT ON COLUMN queue.topics.tombstone_retention IS 'How long compaction keeps tombstones.';
COMMENT ON COLUMN queue.topics.segment_age IS 'Age of its first message at which a segment is closed though it is not full; NULL: by the limits.';
COMMENT ON COLUMN queue.topics.tablespace IS 'Where new segments are made; NULL: the database''s default.';
COMMENT ON COLUMN queue.topics.group_expiry IS 'Expiry, in this topic, of groups that were made by their first consume or poll; NULL: never.';
COMMENT ON COLUMN queue.topics.dedupe_window IS 'How long a message with the dedupe_key of an earlier one is a duplicate, at least.';
COMMENT ON COLUMN queue.topics.problem IS 'Why the topic, or a partition of it, cannot be used; NULL: no problem. Other views leave such a topic out; queue.drop_topic() drops it.';

CREATE FUNCTION queue.segment_info(
    segment        regclass,
    compacted      boolean DEFAULT false,
    OUT messages   bigint,
    OUT first_time timestamptz,
    OUT last_time  timestamptz,
    OUT frozen     boolean,
    OUT bytes      bigint,
    OUT used       boolean,
    OUT filled     boolean
) RETURNS record
AS 'MODULE_PATHNAME', 'pgqueue_segment_info'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.segment_info(regclass, boolean) IS
'Returns the messages, times and size of a segment, for view queue.segments. With compacted the messages are those that compaction has counted.';

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
       CASE WHEN i.filled OR coalesce(pg_catalog.bool_or(i.used) OVER later, false) THEN true
            WHEN pg_catalog.count(i.used) OVER later
               = pg_catalog.count(*) OVER later THEN false END AS sealed,
       i.frozen
  FROM queue.segment_list() s
 CROSS JOIN LATERAL queue.segment_info(s.segment, s.compacted) i
WINDOW later AS (PARTITION BY s.topic, s.partition ORDER BY s.first_offset
                 ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING);
COMMENT ON VIEW queue.segments IS 'Tables with the messages of topics, in the order of offsets.';
COMMENT ON COLUMN queue.segments.topic IS 'Topic.';
COMMENT ON COLUMN queue.segments.partition IS 'Partition.';
COMMENT ON COLUMN queue.segments.segment IS 'Table of the segment.';
COMMENT ON COLUMN queue.segments.first_offset IS 'First offset that the segment may hold.';
COMMENT ON COLUMN queue.segments.end_offset IS 'Offset behind the last that it may hold.';
COMMENT ON COLUMN queue.segments.bytes IS 'Size on disk with TOAST and indexes.';
COMMENT ON COLUMN queue.segments.messages IS 'Offsets in use, including those of messages that were rolled back; of a compacted segment, messages.';
COMMENT ON COLUMN queue.segments.first_time IS 'Timestamp of the first message.';
COMMENT ON COLUMN queue.segments.last_time IS 'Timestamp of the last message.';
COMMENT ON COLUMN queue.segments.sealed IS 'Whether no message is appended to this one any more: it is full or closed, or a later one is in use. NULL: not known, since a later segment is locked.';
COMMENT ON COLUMN queue.segments.frozen IS 'Whether all pages are frozen, also those of the TOAST table, so that VACUUM has no work to do.';

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
COMMENT ON VIEW queue.compaction_progress IS 'Processes that are compacting a partition. Those of other roles are shown to members of pg_read_all_stats only.';
COMMENT ON COLUMN queue.compaction_progress.pid IS 'Process.';
COMMENT ON COLUMN queue.compaction_progress.topic IS 'Topic.';
COMMENT ON COLUMN queue.compaction_progress.partition IS 'Partition.';
COMMENT ON COLUMN queue.compaction_progress.segment IS 'Current segment.';
COMMENT ON COLUMN queue.compaction_progress.phase IS 'reading keys, or looking for messages to remove; copying the remaining messages; swapping the files.';
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
COMMENT ON VIEW queue.partitions IS 'Log start, stable end, log end and size of each partition. As of now, not as of the snapshot.';
COMMENT ON COLUMN queue.partitions.topic IS 'Topic.';
COMMENT ON COLUMN queue.partitions.partition IS 'Partition.';
COMMENT ON COLUMN queue.partitions.log_start IS 'First offset that is retained.';
COMMENT ON COLUMN queue.partitions.stable_end IS 'First offset that a reader may not pass yet.';
COMMENT ON COLUMN queue.partitions.log_end IS 'Next offset to be assigned.';
COMMENT ON COLUMN queue.partitions.segments IS 'Number of segments, including empty ones ahead of the one in use.';
COMMENT ON COLUMN queue.partitions.bytes IS 'Size on disk, with TOAST and indexes.';

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
'Locks in this database for view queue.blockers: on segments, producers, partitions of groups, and whole groups (topic_id NULL). If pid is NULL, transaction is a prepared one.';

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
                    WHERE r.rolname IN (g.owner::text, 'pg_monitor')
                      AND pg_catalog.pg_has_role(r.oid, 'USAGE'))
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
COMMENT ON VIEW queue.blockers IS 'Open transactions that have produced, and hold back readers or callers with the same producer id; and transactions that have consumed, and hold back the reset, pause or drop of their group.';
COMMENT ON COLUMN queue.blockers.pid IS 'Backend; NULL for a prepared transaction.';
COMMENT ON COLUMN queue.blockers.gid IS 'Name of the prepared transaction.';
COMMENT ON COLUMN queue.blockers.age IS 'For how long the transaction has been open.';
COMMENT ON COLUMN queue.blockers.topic IS 'Topic; NULL in a row about a group as a whole.';
COMMENT ON COLUMN queue.blockers.partition IS 'Partition; for a group, the lowest of those, 1,024 apart, that share its lock. NULL in a row about a producer.';
COMMENT ON COLUMN queue.blockers.usename IS 'Role of the backend, or owner of the prepared transaction.';
COMMENT ON COLUMN queue.blockers.application_name IS 'Application name of the backend.';
COMMENT ON COLUMN queue.blockers.query IS 'Last query of the backend, if the current role may see it.';
COMMENT ON COLUMN queue.blockers.producer_id IS 'Producer that the transaction uses, else NULL. A producer that the transaction itself has made has no row.';
COMMENT ON COLUMN queue.blockers.consumer_group IS 'Group whose partition the transaction uses, else NULL. A group that the transaction itself has made has no row.';
COMMENT ON COLUMN queue.blockers.waiting IS 'Backends that wait for the producer, or for the group''s partition; NULL: none. Readers and consumers never wait for a lock.';

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
    OUT lost           boolean,
    OUT parked         bigint,
    OUT delayed        bigint,
    OUT tripped        boolean
) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'pgqueue_group_offsets'
LANGUAGE C STABLE PARALLEL UNSAFE ROWS 100;
COMMENT ON FUNCTION queue.group_offsets() IS
'Rows of view queue.consumer_groups.';

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
       g.lost,
       n.next_offset,
       g.parked,
       g.delayed,
       CASE WHEN g.parked > g.delayed
            THEN (SELECT pg_catalog.interval_larger(
                             pg_catalog.statement_timestamp()
                             - pg_catalog.min(p.first_failed_at), '0')
                    FROM queue.parked_message p
                    JOIN queue.consumer_group c USING (group_id)
                    JOIN queue.topic t USING (topic_id)
                   WHERE c.name = g.consumer_group
                     AND t.name = g.topic
                     AND p.partition = g.partition) END AS oldest_parked_age,
       CASE WHEN g.paused THEN 'paused'
            WHEN g.tripped THEN 'tripped'
            WHEN g.partition IS NOT NULL THEN 'running' END AS state
  FROM queue.group_offsets() g
 CROSS JOIN LATERAL (
       -- greatest() leaves out NULL; not so int8larger()
       SELECT CASE WHEN g.lost THEN g.log_start
                   ELSE greatest(g.current_offset, g.log_start) END AS next_offset) o
 CROSS JOIN LATERAL (
       SELECT o.next_offset,
              pg_catalog.int8larger(g.log_end - o.next_offset, 0) AS lag) n;
COMMENT ON VIEW queue.consumer_groups IS 'Progress of each group, a row for each partition of the topics in which it has offsets or members, or one row if it has none. As of now, not as of the snapshot.';
COMMENT ON COLUMN queue.consumer_groups.consumer_group IS 'Consumer group.';
COMMENT ON COLUMN queue.consumer_groups.topic IS 'Topic; NULL: the group has neither offsets nor members in any topic. Such a row is shown to members of the group''s role, and of pg_monitor.';
COMMENT ON COLUMN queue.consumer_groups.partition IS 'Partition.';
COMMENT ON COLUMN queue.consumer_groups.current_offset IS 'Committed offset, the next to read; NULL: not begun, the group will begin at the log start.';
COMMENT ON COLUMN queue.consumer_groups.log_end_offset IS 'Next offset to be assigned.';
COMMENT ON COLUMN queue.consumer_groups.lag IS 'Offsets that the group has yet to read, including those of messages that were rolled back. Removed messages count as missed instead.';
COMMENT ON COLUMN queue.consumer_groups.member IS 'Live member that owns the partition; NULL: none.';
COMMENT ON COLUMN queue.consumer_groups.client IS 'Application name of the session that is consuming the partition, else of the member''s session. Roles with the rights of pg_read_all_stats also see the host of a session that is not local.';
COMMENT ON COLUMN queue.consumer_groups.stable_end IS 'First offset that the group may not pass yet.';
COMMENT ON COLUMN queue.consumer_groups.oldest_unread_age IS 'Age of the next message to read; NULL: there is none that may be read yet, or the current role may not read the topic.';
COMMENT ON COLUMN queue.consumer_groups.rate IS 'Offsets consumed per second, over the last minute, the last 20 commits, or since the last commit if that is longer ago; NULL: not known yet.';
COMMENT ON COLUMN queue.consumer_groups.time_to_drain IS 'Time until the lag is 0 at that rate, if no message is produced; NULL: not known, the rate is 0, or more than a thousand years.';
COMMENT ON COLUMN queue.consumer_groups.in_hand IS 'Offsets handed to a member, live or dead, and not committed.';
COMMENT ON COLUMN queue.consumer_groups.paused IS 'Whether the partition is paused for the group.';
COMMENT ON COLUMN queue.consumer_groups.committed_at IS 'When the offset was last moved.';
COMMENT ON COLUMN queue.consumer_groups.committed_by IS 'Role that last moved the offset.';
COMMENT ON COLUMN queue.consumer_groups.metadata IS 'Application metadata stored with the offset. NULL, too, if the current role may neither read nor write the topic.';
COMMENT ON COLUMN queue.consumer_groups.pid IS 'Backend that is consuming the partition, or a partition, 1,024 apart, that shares its lock.';
COMMENT ON COLUMN queue.consumer_groups.missed IS 'Offsets, ever, that were removed before the group had read them, including those between current_offset and the log start.';
COMMENT ON COLUMN queue.consumer_groups.expired IS 'Whether the group has messages to read that are no longer kept for it, since it was not used for its expiry.';
COMMENT ON COLUMN queue.consumer_groups.lost IS 'Whether current_offset was restored without its messages. Reading raises QU001 until queue.reset_offsets().';
COMMENT ON COLUMN queue.consumer_groups.next_offset IS 'Offset from which the lag counts: current_offset, or the log start if that is greater or there is no offset that is valid.';
COMMENT ON COLUMN queue.consumer_groups.parked IS 'Messages that the group has passed and will get again, or later (queue.parked). The lag does not count them.';
COMMENT ON COLUMN queue.consumer_groups.delayed IS 'Those of them that only wait for their deliver_at.';
COMMENT ON COLUMN queue.consumer_groups.oldest_parked_age IS 'Time since the first failure of the parked message that failed first; NULL: none has failed.';
COMMENT ON COLUMN queue.consumer_groups.state IS 'running; paused (queue.pause); or tripped: too many messages failed in a row, or max_parked are parked, so no new ones are read.';

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
COMMENT ON VIEW queue.members IS 'Members of groups, a row for each topic.';
COMMENT ON COLUMN queue.members.consumer_group IS 'Consumer group.';
COMMENT ON COLUMN queue.members.topic IS 'Topic.';
COMMENT ON COLUMN queue.members.member IS 'Name of the member.';
COMMENT ON COLUMN queue.members.client IS 'Application name of the session that last renewed the lease. Roles with the rights of pg_read_all_stats also see the host of a session that is not local.';
COMMENT ON COLUMN queue.members.partitions IS 'Partitions that the member owns.';
COMMENT ON COLUMN queue.members.lease IS 'How long the member may be silent.';
COMMENT ON COLUMN queue.members.expires_at IS 'When the lease expires.';
COMMENT ON COLUMN queue.members.alive IS 'Whether the lease has not expired. The row of a dead member is deleted when another member balances.';
COMMENT ON COLUMN queue.members.joined_at IS 'When the member joined.';
COMMENT ON COLUMN queue.members.in_hand IS 'Offsets handed to the member and not committed.';

CREATE VIEW queue.group_summary WITH (security_barrier) AS
SELECT o.consumer_group,
       g.owner::text::name AS owner,
       pg_catalog.count(DISTINCT o.topic) AS topics,
       pg_catalog.count(o.partition) AS partitions,
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
       -- not known if that of a partition is not
       CASE WHEN pg_catalog.bool_and(o.time_to_drain IS NOT NULL)
            THEN pg_catalog.max(o.time_to_drain) END AS time_to_drain,
       pg_catalog.sum(o.in_hand)::bigint AS in_hand,
       pg_catalog.max(o.committed_at) AS committed_at,
       pg_catalog.sum(o.missed)::bigint AS missed,
       pg_catalog.count(*) FILTER (WHERE o.expired) AS expired,
       g.auto_offset_reset,
       g.expiry,
       g.implicit,
       pg_catalog.sum(o.parked)::bigint AS parked,
       pg_catalog.sum(o.delayed)::bigint AS delayed,
       pg_catalog.max(o.oldest_parked_age) AS oldest_parked_age,
       CASE WHEN pg_catalog.bool_or(o.state = 'tripped') THEN 'tripped'
            WHEN pg_catalog.bool_and(o.state = 'paused') THEN 'paused'
            ELSE 'running' END AS state
  FROM queue.consumer_groups o
  JOIN queue.consumer_group g ON g.name = o.consumer_group
 GROUP BY o.consumer_group, g.group_id;
COMMENT ON VIEW queue.group_summary IS 'Progress of each group, summed up over the topics that the current role may read or write.';
COMMENT ON COLUMN queue.group_summary.consumer_group IS 'Consumer group.';
COMMENT ON COLUMN queue.group_summary.owner IS 'Role to which the group belongs.';
COMMENT ON COLUMN queue.group_summary.topics IS 'Number of topics in which the group has offsets or members.';
COMMENT ON COLUMN queue.group_summary.partitions IS 'Number of partitions of these topics.';
COMMENT ON COLUMN queue.group_summary.members IS 'Number of live members, in any topic.';
COMMENT ON COLUMN queue.group_summary.consuming IS 'Number of partitions that transactions are consuming.';
COMMENT ON COLUMN queue.group_summary.paused IS 'Number of partitions that are paused.';
COMMENT ON COLUMN queue.group_summary.lag IS 'Sum of the lags.';
COMMENT ON COLUMN queue.group_summary.oldest_unread_age IS 'Greatest age of a partition''s next message.';
COMMENT ON COLUMN queue.group_summary.rate IS 'Sum of the rates.';
COMMENT ON COLUMN queue.group_summary.time_to_drain IS 'Greatest time of a partition; NULL: not known of all.';
COMMENT ON COLUMN queue.group_summary.in_hand IS 'Offsets that members have in hand.';
COMMENT ON COLUMN queue.group_summary.committed_at IS 'When an offset was last moved.';
COMMENT ON COLUMN queue.group_summary.missed IS 'Offsets that were removed before the group had read them.';
COMMENT ON COLUMN queue.group_summary.expired IS 'Number of partitions in which messages are no longer kept for the group, since it was not used for its expiry.';
COMMENT ON COLUMN queue.group_summary.auto_offset_reset IS 'What the next call does if messages were removed that the group had yet to read: none raises QU001, earliest jumps to the log start.';
COMMENT ON COLUMN queue.group_summary.expiry IS 'Time without use after which messages are no longer kept for the group; NULL: never, but see implicit.';
COMMENT ON COLUMN queue.group_summary.implicit IS 'Whether the group was made by its first consume or poll, and no expiry was set since: then each topic''s group_expiry applies.';
COMMENT ON COLUMN queue.group_summary.parked IS 'Messages that the group has passed and will get again, or later. The lag does not count them.';
COMMENT ON COLUMN queue.group_summary.delayed IS 'Those of them that only wait for their deliver_at.';
COMMENT ON COLUMN queue.group_summary.oldest_parked_age IS 'Time since the first failure of the parked message that failed first; NULL: none has failed.';
COMMENT ON COLUMN queue.group_summary.state IS 'tripped: a partition is, see queue.consumer_groups; paused: all partitions are; else running.';

CREATE VIEW queue.parked WITH (security_barrier) AS
SELECT g.name AS consumer_group,
       t.topic,
       p.partition,
       p."offset",
       CASE WHEN m.may_read THEN p.key END AS key,
       p.attempts,
       p.due_at,
       CASE WHEN p.due_at IS NULL
            THEN (SELECT h."offset" FROM queue.parked_message h
                   WHERE h.group_id = p.group_id
                     AND h.topic_id = p.topic_id
                     AND h.partition = p.partition
                     AND h.hash = p.hash
                     AND (h.key = p.key OR p.hash = 1)
                   ORDER BY h."offset" LIMIT 1) END AS waiting_behind,
       p.sqlstate,
       CASE WHEN m.may_read THEN p.error END AS error,
       p.first_failed_at,
       p.parked_at,
       p.delayed IS NOT NULL AS delayed,
       p.epoch IS NOT NULL AS in_hand
  FROM queue.parked_message p
  JOIN queue.consumer_group g USING (group_id)
  JOIN queue.topic r USING (topic_id)
  JOIN queue.topics t ON t.topic = r.name
 CROSS JOIN LATERAL (
       -- not for monitors, who may not read the topic
       SELECT EXISTS (SELECT FROM pg_catalog.pg_class v
                       WHERE v.relname = t.topic AND v.relkind = 'v'
                         AND v.relnamespace = 'topic'::regnamespace
                         AND pg_catalog.pg_get_userbyid(v.relowner) = t.owner
                         AND pg_catalog.has_table_privilege(v.oid, 'SELECT')) AS may_read) m;
COMMENT ON VIEW queue.parked IS 'Messages that groups have passed and will get again, or later: failed ones, those that wait behind one of their key, and delayed ones.';
COMMENT ON COLUMN queue.parked.consumer_group IS 'Consumer group.';
COMMENT ON COLUMN queue.parked.topic IS 'Topic.';
COMMENT ON COLUMN queue.parked.partition IS 'Partition.';
COMMENT ON COLUMN queue.parked."offset" IS 'Offset.';
COMMENT ON COLUMN queue.parked.key IS 'Key of the message. NULL, too, if the current role may not read the topic.';
COMMENT ON COLUMN queue.parked.attempts IS 'Attempts so far, with that of a member that has it in hand.';
COMMENT ON COLUMN queue.parked.due_at IS 'When the group gets it; infinity: its attempts are used up, and it waits for an operator. NULL: see waiting_behind.';
COMMENT ON COLUMN queue.parked.waiting_behind IS 'Offset of the first message that is parked of its key, or of the partition, behind which it waits; NULL: it does not wait.';
COMMENT ON COLUMN queue.parked.sqlstate IS 'SQLSTATE of the last failure.';
COMMENT ON COLUMN queue.parked.error IS 'Message of the last failure. NULL, too, if the current role may not read the topic.';
COMMENT ON COLUMN queue.parked.first_failed_at IS 'When it first failed; NULL: it has not.';
COMMENT ON COLUMN queue.parked.parked_at IS 'When it was last parked.';
COMMENT ON COLUMN queue.parked.delayed IS 'Whether it only waits for its deliver_at.';
COMMENT ON COLUMN queue.parked.in_hand IS 'Whether it was handed to a member that has not committed it.';

CREATE FUNCTION queue.worker_state(
    role     queue.role,
    group_id int,
    topic_id int,
    workers  int,
    OUT number     int,
    OUT pid        int,
    OUT started_at timestamptz,
    OUT obstacle   text
) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'pgqueue_worker_state'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE ROWS 2;
COMMENT ON FUNCTION queue.worker_state(queue.role, int, int, int) IS
'Processes of a subscription''s workers, or why there are none, for view queue.workers.';

CREATE VIEW queue.failure_policies WITH (security_barrier) AS
SELECT g.name AS consumer_group,
       t.topic,
       p.max_attempts,
       p.backoff * interval '1 ms' AS backoff,
       p.backoff_max * interval '1 ms' AS backoff_max,
       CASE p.hold WHEN 'k' THEN 'key' WHEN 'n' THEN 'none'
                   ELSE 'partition' END AS hold,
       p.dead_letter,
       p.max_parked,
       p.dead_letter IS NOT NULL AND NOT EXISTS (
           SELECT FROM queue.topic d
            WHERE d.topic_id = p.dead_letter_id) AS dropped
  FROM queue.failure_policy p
  JOIN queue.consumer_group g USING (group_id)
  JOIN queue.topic r USING (topic_id)
  JOIN queue.topics t ON t.topic = r.name;
COMMENT ON VIEW queue.failure_policies IS 'What becomes of the messages of a topic on which a group fails, where queue.set_failure_policy() was called.';
COMMENT ON COLUMN queue.failure_policies.consumer_group IS 'Consumer group.';
COMMENT ON COLUMN queue.failure_policies.topic IS 'Topic.';
COMMENT ON COLUMN queue.failure_policies.max_attempts IS 'Attempts after which a message is a dead letter, or waits for an operator.';
COMMENT ON COLUMN queue.failure_policies.backoff IS 'Pause after the first failure; doubled after each further one.';
COMMENT ON COLUMN queue.failure_policies.backoff_max IS 'Longest pause between two attempts.';
COMMENT ON COLUMN queue.failure_policies.hold IS 'What waits while a message is parked: key, none or partition.';
COMMENT ON COLUMN queue.failure_policies.dead_letter IS 'Topic of dead letters; NULL: none.';
COMMENT ON COLUMN queue.failure_policies.max_parked IS 'With so many failed messages in a partition the group reads no new ones there.';
COMMENT ON COLUMN queue.failure_policies.dropped IS 'Whether the topic of dead letters was dropped: then no message becomes a dead letter.';

CREATE VIEW queue.subscriptions WITH (security_barrier) AS
SELECT g.name AS consumer_group,
       t.topic,
       s.handler,
       s.batch,
       s.workers,
       (SELECT pg_catalog.count(p.pid)::int
          FROM queue.worker_state(s.owner, s.group_id, s.topic_id,
                                  s.workers) p) AS running,
       s.timeout,
       s.owner::text::name AS owner,
       s.created_at
  FROM queue.subscription s
  JOIN queue.consumer_group g USING (group_id)
  JOIN queue.topic r USING (topic_id)
  JOIN queue.topics t ON t.topic = r.name;
COMMENT ON VIEW queue.subscriptions IS 'Functions that handle groups'' messages of topics.';
COMMENT ON COLUMN queue.subscriptions.consumer_group IS 'Consumer group.';
COMMENT ON COLUMN queue.subscriptions.topic IS 'Topic.';
COMMENT ON COLUMN queue.subscriptions.handler IS 'Function that is called: schema, name and type of its argument.';
COMMENT ON COLUMN queue.subscriptions.batch IS 'Messages of one transaction at most.';
COMMENT ON COLUMN queue.subscriptions.workers IS 'Background workers that are wanted.';
COMMENT ON COLUMN queue.subscriptions.running IS 'Background workers that run, or wait after a failure (view queue.workers).';
COMMENT ON COLUMN queue.subscriptions.timeout IS 'How long a call of the handler may take; NULL: without limit.';
COMMENT ON COLUMN queue.subscriptions.owner IS 'Role that subscribed; a role with other rights cannot process.';
COMMENT ON COLUMN queue.subscriptions.created_at IS 'When queue.subscribe() was last called.';

CREATE VIEW queue.workers WITH (security_barrier) AS
SELECT g.name AS consumer_group,
       t.topic,
       p.number AS worker,
       p.pid,
       CASE WHEN p.pid IS NULL THEN 'stopped'
            WHEN w.begins_at > pg_catalog.clock_timestamp() THEN 'waiting'
            ELSE 'running' END AS state,
       p.started_at,
       CASE WHEN w.begins_at > pg_catalog.clock_timestamp()
            THEN w.begins_at END AS retry_at,
       w.failures,
       w.failed_at,
       w.sqlstate,
       CASE WHEN m.may_read THEN w.error END AS error,
       CASE WHEN p.pid IS NULL AND w.number IS NULL
            THEN 'The subscription was restored or copied. queue.subscribe() starts its workers.'
            ELSE p.obstacle END AS obstacle
  FROM queue.subscription s
  JOIN queue.consumer_group g USING (group_id)
  JOIN queue.topic r USING (topic_id)
  JOIN queue.topics t ON t.topic = r.name
 CROSS JOIN LATERAL queue.worker_state(s.owner, s.group_id, s.topic_id, s.workers) p
 CROSS JOIN LATERAL (
       -- not for monitors, who may not read the topic
       SELECT EXISTS (SELECT FROM pg_catalog.pg_class v
                       WHERE v.relname = t.topic AND v.relkind = 'v'
                         AND v.relnamespace = 'topic'::regnamespace
                         AND pg_catalog.pg_get_userbyid(v.relowner) = t.owner
                         AND pg_catalog.has_table_privilege(v.oid, 'SELECT')) AS may_read) m
  LEFT JOIN queue.worker w
         ON w.group_id = s.group_id AND w.topic_id = s.topic_id AND w.number = p.number
        AND w.database = (SELECT oid FROM pg_catalog.pg_database
                           WHERE datname = pg_catalog.current_database());
COMMENT ON VIEW queue.workers IS 'Background workers of subscriptions, a row for each that is wanted.';
COMMENT ON COLUMN queue.workers.consumer_group IS 'Consumer group.';
COMMENT ON COLUMN queue.workers.topic IS 'Topic.';
COMMENT ON COLUMN queue.workers.worker IS 'Number of the worker, from 1 on.';
COMMENT ON COLUMN queue.workers.pid IS 'Its process; NULL: it has none.';
COMMENT ON COLUMN queue.workers.state IS 'running; waiting: it has failed, and works again at retry_at; or stopped: it has no process.';
COMMENT ON COLUMN queue.workers.started_at IS 'When the process was started.';
COMMENT ON COLUMN queue.workers.retry_at IS 'When it works again after its failures; NULL: it is not to wait.';
COMMENT ON COLUMN queue.workers.failures IS 'How often it has failed, or its process has ended, in short succession; each doubles the wait.';
COMMENT ON COLUMN queue.workers.failed_at IS 'When it last failed with an error; NULL: it has not since queue.subscribe().';
COMMENT ON COLUMN queue.workers.sqlstate IS 'SQLSTATE of that error.';
COMMENT ON COLUMN queue.workers.error IS 'Message of that error. NULL, too, if the current role may not read the topic.';
COMMENT ON COLUMN queue.workers.obstacle IS 'Why it has no process; NULL: it has one, or maintenance will start one.';

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
       -- not for monitors, who may not use the topic
       CASE WHEN EXISTS (SELECT FROM pg_catalog.pg_class v
                          WHERE v.relname = t.topic AND v.relkind = 'v'
                            AND v.relnamespace = 'topic'::regnamespace
                            AND pg_catalog.pg_get_userbyid(v.relowner) = t.owner
                            AND pg_catalog.has_table_privilege(v.oid, 'SELECT, INSERT'))
            THEN p.metadata END AS metadata
  FROM queue.progress p
  JOIN queue.consumer_group g USING (group_id)
  JOIN queue.topic r USING (topic_id)
  JOIN queue.topics t ON t.topic = r.name
 WHERE p.action IN ('s', 'c', 'm', 'r', 'j');
COMMENT ON VIEW queue.offset_history IS 'Moves of groups'' offsets, as long as maintenance keeps their history.';
COMMENT ON COLUMN queue.offset_history.consumer_group IS 'Consumer group.';
COMMENT ON COLUMN queue.offset_history.topic IS 'Topic.';
COMMENT ON COLUMN queue.offset_history.partition IS 'Partition.';
COMMENT ON COLUMN queue.offset_history.generation IS 'Order of the moves in the partition; numbers may be left out.';
COMMENT ON COLUMN queue.offset_history.action IS 'started (create_group, or the first poll or pause), consumed, committed (commit_offset), reset (reset_offsets), or jumped (consume or poll, over removed messages to the log start).';
COMMENT ON COLUMN queue.offset_history.from_offset IS 'Offset before the move; NULL: the group began here.';
COMMENT ON COLUMN queue.offset_history.to_offset IS 'Offset after the move: the next to read.';
COMMENT ON COLUMN queue.offset_history.committed_at IS 'When the offset was moved.';
COMMENT ON COLUMN queue.offset_history.committed_by IS 'Role that moved the offset.';
COMMENT ON COLUMN queue.offset_history.member IS 'Member that committed; NULL: none.';
COMMENT ON COLUMN queue.offset_history.metadata IS 'Application metadata stored with the offset. NULL, too, if the current role may neither read nor write the topic.';

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
COMMENT ON VIEW queue.producers IS 'Producers of the topics that the current role may read or write, and their last sequences.';
COMMENT ON COLUMN queue.producers.topic IS 'Topic.';
COMMENT ON COLUMN queue.producers.producer_id IS 'The id that the application chose.';
COMMENT ON COLUMN queue.producers.owner IS 'Role to which the producer belongs.';
COMMENT ON COLUMN queue.producers.sequence_mode IS 'strict: each sequence is the last one + 1; monotonic: each is greater than the last one.';
COMMENT ON COLUMN queue.producers.epoch IS 'Current epoch; NULL before the first message or fence.';
COMMENT ON COLUMN queue.producers.last_sequence IS 'Last sequence stored.';
COMMENT ON COLUMN queue.producers.partition IS 'Partition of that message.';
COMMENT ON COLUMN queue.producers."offset" IS 'Offset of that message.';
COMMENT ON COLUMN queue.producers.accepted IS 'Messages stored.';
COMMENT ON COLUMN queue.producers.duplicates IS 'Messages that were sent again and left out.';
COMMENT ON COLUMN queue.producers.gaps IS 'How often a sequence left some out (monotonic).';
COMMENT ON COLUMN queue.producers.produced_at IS 'When the last message was stored; NULL: none was.';
COMMENT ON COLUMN queue.producers.created_at IS 'When the producer was first used.';
COMMENT ON COLUMN queue.producers.used_at IS 'When the producer was last used, also by a duplicate, a watermark alone or a fence.';

GRANT SELECT ON queue.maintenance_log TO pg_monitor;
GRANT SELECT ON queue.topics, queue.segments, queue.compaction_progress, queue.partitions,
    queue.blockers, queue.consumer_groups, queue.group_summary, queue.members,
    queue.parked, queue.failure_policies, queue.offset_history, queue.producers,
    queue.subscriptions, queue.workers TO PUBLIC;

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
'Deletes the messages of a partition before an offset, and returns the new log start. Without force it keeps messages that a group has yet to read.';

CREATE FUNCTION queue.roll_segments(
    topic     text,
    partition int DEFAULT NULL
) RETURNS int
AS 'MODULE_PATHNAME', 'pgqueue_roll_segments'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.roll_segments(text, int) IS
'Closes the segment in use of a partition, or of each, though it is not full, so that retention, compaction and archive_segment reach its messages. Returns how many segments were closed.';

CREATE FUNCTION queue.truncate_topic(
    topic         text,
    OUT partition int,
    OUT log_start bigint,
    OUT segments  int,
    OUT bytes     bigint
) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'pgqueue_truncate_topic'
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 10;
COMMENT ON FUNCTION queue.truncate_topic(text) IS
'Removes all messages of a topic, also those that groups have yet to read, and returns what was removed from each partition. Offsets go on.';

CREATE TYPE queue.moved_segment AS (
    partition    int,
    segment      regclass,
    first_offset bigint,
    bytes        bigint,
    moved        boolean
);
COMMENT ON TYPE queue.moved_segment IS 'A segment as returned by queue.move_segments(). If moved is false, another transaction uses it.';

CREATE FUNCTION queue.move_segments(
    topic         text,
    tablespace    text,
    partition     int    DEFAULT NULL,
    before_offset bigint DEFAULT NULL
) RETURNS SETOF queue.moved_segment
AS 'MODULE_PATHNAME', 'pgqueue_move_segments'
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 10;
COMMENT ON FUNCTION queue.move_segments(text, text, int, bigint) IS
'Moves sealed segments to another tablespace, oldest first, and locks them for their readers until COMMIT. Segments that another transaction uses are left out, with moved false.';

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
'Detaches the oldest segment of a partition, which must be sealed, and keeps it as a table of the topic''s owner. Without force it is an error if a group has yet to read the segment.';

CREATE FUNCTION queue.retention_list(
    OUT topic        text,
    OUT partition    int,
    OUT log_start    bigint,
    OUT limit_offset bigint,
    OUT held_by      text,
    OUT held_offset  bigint,
    OUT held_bytes   bigint,
    OUT reason       text
) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'pgqueue_retention_list'
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 20;
COMMENT ON FUNCTION queue.retention_list() IS
'Rows for view queue.retention.';

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
       CASE WHEN t.retention_force THEN 0 ELSE l.held_bytes END AS held_bytes,
       l.reason
  FROM queue.retention_list() l
  JOIN queue.topic t ON t.name = l.topic;
COMMENT ON VIEW queue.retention IS 'Messages of each partition that the topic''s limits allow to remove, and the group that keeps them.';
COMMENT ON COLUMN queue.retention.topic IS 'Topic.';
COMMENT ON COLUMN queue.retention.partition IS 'Partition.';
COMMENT ON COLUMN queue.retention.retention IS 'How long messages are kept; NULL: no limit.';
COMMENT ON COLUMN queue.retention.retention_bytes IS 'Bytes of the partition that are kept at least; NULL: no limit.';
COMMENT ON COLUMN queue.retention.retention_force IS 'Whether the limits apply also to messages that groups have yet to read.';
COMMENT ON COLUMN queue.retention.log_start IS 'First offset that is retained.';
COMMENT ON COLUMN queue.retention.limit_offset IS 'Offset before which segments may be removed by the limits.';
COMMENT ON COLUMN queue.retention.consumer_group IS 'Group that is farthest behind, by its offset or what it has parked, of those that have not expired; NULL: no group reads the topic.';
COMMENT ON COLUMN queue.retention.held_offset IS 'Next offset that this group reads, or the lowest that it has parked if that is less.';
COMMENT ON COLUMN queue.retention.behind IS 'Number of retained offsets from held_offset to limit_offset.';
COMMENT ON COLUMN queue.retention.held_bytes IS 'Bytes of segments that are kept for groups only.';
COMMENT ON COLUMN queue.retention.reason IS 'Why the oldest segment is kept, or that the next pass of maintenance removes it.';
GRANT SELECT ON queue.retention TO PUBLIC;

CREATE PROCEDURE queue.maintain(topic text DEFAULT NULL)
AS 'MODULE_PATHNAME', 'pgqueue_maintain'
LANGUAGE C;
COMMENT ON PROCEDURE queue.maintain(text) IS
'Does one pass of maintenance (retention, compaction, new segments, history) over a topic, or over all topics that the current role owns. Commits after each step, so it cannot run in a transaction block.';

CREATE FUNCTION queue.start_maintenance(persistent boolean DEFAULT false) RETURNS int
AS 'MODULE_PATHNAME', 'pgqueue_start_maintenance'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.start_maintenance(boolean) IS
'Starts the background worker that does the work of queue.maintain() for all topics of the database every queue.maintenance_interval, and returns its process id, also if it was running already. With persistent it comes back after a restart of the server.';
REVOKE ALL ON FUNCTION queue.start_maintenance(boolean) FROM PUBLIC;

CREATE FUNCTION queue.stop_maintenance() RETURNS boolean
AS 'MODULE_PATHNAME', 'pgqueue_stop_maintenance'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.stop_maintenance() IS
'Cancels the current step of the database''s maintenance worker and ends the worker, for good if it was persistent; returns false if there was none. If queue is in shared_preload_libraries, another worker starts within a minute.';
REVOKE ALL ON FUNCTION queue.stop_maintenance() FROM PUBLIC;

CREATE FUNCTION queue.maintenance_state(
    OUT pid           int,
    OUT started_by    name,
    OUT started_at    timestamptz,
    OUT pass_begun    timestamptz,
    OUT last_pass     timestamptz,
    OUT last_duration interval,
    OUT next_pass     timestamptz
) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'pgqueue_maintenance_state'
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 1;
COMMENT ON FUNCTION queue.maintenance_state() IS
'Row of view queue.maintenance; none if the current role may neither monitor nor start maintenance.';

CREATE VIEW queue.maintenance WITH (security_barrier) AS
SELECT s.pid,
       s.started_by,
       s.started_at,
       EXISTS (SELECT FROM queue.persistent_maintenance p
                WHERE p.database = (SELECT oid FROM pg_catalog.pg_database
                                     WHERE datname = pg_catalog.current_database()))
           AS persistent,
       s.pass_begun,
       s.last_pass,
       s.last_duration,
       s.next_pass,
       (SELECT pg_catalog.count(DISTINCT e.topic_id)
          FROM queue.maintenance_error e
          JOIN queue.topic t USING (topic_id)) AS failed_topics
  FROM queue.maintenance_state() s;
COMMENT ON VIEW queue.maintenance IS 'State of maintenance in this database, in one row, for members of pg_monitor and roles that may start it. As of now, since the server was started.';
COMMENT ON COLUMN queue.maintenance.pid IS 'Process of the worker; NULL: none runs.';
COMMENT ON COLUMN queue.maintenance.started_by IS 'Role that started the worker; NULL: it was started since the library is preloaded, or none runs.';
COMMENT ON COLUMN queue.maintenance.started_at IS 'When the worker was started.';
COMMENT ON COLUMN queue.maintenance.persistent IS 'Whether the worker comes back after a restart of the server, without preloading.';
COMMENT ON COLUMN queue.maintenance.pass_begun IS 'When the worker began its current pass; NULL: it does none at this moment.';
COMMENT ON COLUMN queue.maintenance.last_pass IS 'When the last pass over all topics ended, of the worker or a call of queue.maintain(); NULL: there was none.';
COMMENT ON COLUMN queue.maintenance.last_duration IS 'How long that pass took.';
COMMENT ON COLUMN queue.maintenance.next_pass IS 'When the worker begins its next pass; NULL: no worker waits for that.';
COMMENT ON COLUMN queue.maintenance.failed_topics IS 'Number of topics for which the last pass failed (view queue.maintenance_errors).';

CREATE VIEW queue.maintenance_errors WITH (security_barrier) AS
SELECT t.topic,
       e.part,
       e.since,
       e.sqlstate,
       e.message
  FROM queue.maintenance_error e
  JOIN queue.topic r USING (topic_id)
  JOIN queue.topics t ON t.topic = r.name
  LEFT JOIN pg_catalog.pg_roles o ON o.rolname = t.owner
 -- a message may tell more than a reader of the topic may know
 WHERE pg_catalog.pg_has_role(o.oid, 'USAGE')
    OR pg_catalog.pg_has_role('pg_monitor', 'USAGE');
COMMENT ON VIEW queue.maintenance_errors IS 'Topics for which the last pass of maintenance failed, for their owners and members of pg_monitor.';
COMMENT ON COLUMN queue.maintenance_errors.topic IS 'Topic.';
COMMENT ON COLUMN queue.maintenance_errors.part IS 'space: retention, dedupe keys; segments: new segments; rest: compaction, history of offsets, producers, freezing.';
COMMENT ON COLUMN queue.maintenance_errors.since IS 'Time of the first pass with this error.';
COMMENT ON COLUMN queue.maintenance_errors.sqlstate IS 'SQLSTATE of the error.';
COMMENT ON COLUMN queue.maintenance_errors.message IS 'Message of the error, the first of the pass.';
GRANT SELECT ON queue.maintenance, queue.maintenance_errors TO PUBLIC;

------------------------------------------------------------------------------
-- Checking and guarding
------------------------------------------------------------------------------

CREATE FUNCTION queue.verify(topic text, OUT segment regclass, OUT problem text)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'pgqueue_verify'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.verify(text) IS
'Reads the segments of a topic and returns their faults, such as offsets out of order or records that were changed in place. No row means no fault.';

CREATE FUNCTION queue.guard_drop() RETURNS event_trigger
AS 'MODULE_PATHNAME', 'pgqueue_guard_drop'
LANGUAGE C;
COMMENT ON FUNCTION queue.guard_drop() IS
'Event trigger: refuses to drop a topic''s view, table or segment except with queue.drop_topic() (55000).';

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
'Event trigger: refuses DDL that would change the shape, name or owner of a topic''s table, segment or view (0A000).';

REVOKE ALL ON FUNCTION queue.guard_drop(), queue.guard_detach(), queue.guard_rewrite(), queue.guard_alter() FROM PUBLIC;

CREATE EVENT TRIGGER queue_guard_drop ON sql_drop
    EXECUTE FUNCTION queue.guard_drop();
COMMENT ON EVENT TRIGGER queue_guard_drop IS 'Only queue.drop_topic() drops a topic''s storage.';

CREATE EVENT TRIGGER queue_guard_detach ON ddl_command_start
    WHEN TAG IN ('ALTER TABLE')
    EXECUTE FUNCTION queue.guard_detach();
COMMENT ON EVENT TRIGGER queue_guard_detach IS 'Only queue.archive_segment() detaches a segment.';

-- Of all commands: more than ALTER TABLE changes a table.
CREATE EVENT TRIGGER queue_guard_alter ON ddl_command_end
    EXECUTE FUNCTION queue.guard_alter();
COMMENT ON EVENT TRIGGER queue_guard_alter IS 'Refuses DDL that would change a topic''s view or storage.';

CREATE EVENT TRIGGER queue_guard_rewrite ON table_rewrite
    EXECUTE FUNCTION queue.guard_rewrite();
COMMENT ON EVENT TRIGGER queue_guard_rewrite IS 'Refuses ALTER TABLE that would rewrite a segment.';

-- Also under session_replication_role = replica.
ALTER EVENT TRIGGER queue_guard_drop ENABLE ALWAYS;
ALTER EVENT TRIGGER queue_guard_detach ENABLE ALWAYS;
ALTER EVENT TRIGGER queue_guard_alter ENABLE ALWAYS;
ALTER EVENT TRIGGER queue_guard_rewrite ENABLE ALWAYS;
