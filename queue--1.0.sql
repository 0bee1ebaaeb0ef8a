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

CREATE TABLE queue.topic (
    topic_id         serial      NOT NULL,
    name             text        COLLATE "C" NOT NULL,
    log              regclass    NOT NULL,
    partitions       int         NOT NULL,
    segment_messages bigint,
    created_at       timestamptz NOT NULL DEFAULT now(),
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

CREATE TABLE queue.consumer_group (
    group_id   serial      NOT NULL,
    name       text        COLLATE "C" NOT NULL,
    owner      name        NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT consumer_group_pkey PRIMARY KEY (group_id),
    CONSTRAINT consumer_group_name_key UNIQUE (name)
);
COMMENT ON TABLE queue.consumer_group IS 'Consumer groups and the roles they belong to. Rows are never updated.';
COMMENT ON COLUMN queue.consumer_group.group_id IS 'Number of the group.';
COMMENT ON COLUMN queue.consumer_group.name IS 'Name of the group.';
COMMENT ON COLUMN queue.consumer_group.owner IS 'Role that first used the group, by name: a restore works without the role.';
COMMENT ON COLUMN queue.consumer_group.created_at IS 'When the group was first used.';

CREATE TABLE queue.progress (
    group_id         int         NOT NULL,
    topic_id         int         NOT NULL,
    partition        int         NOT NULL,
    generation       bigint      NOT NULL,
    committed_offset bigint      NOT NULL,
    committed_at     timestamptz NOT NULL
);
CREATE INDEX progress_newest
    ON queue.progress (group_id, topic_id, partition, generation);
COMMENT ON TABLE queue.progress IS 'Committed offsets, append-only: the row with the highest generation counts, the others are history.';
COMMENT ON COLUMN queue.progress.group_id IS 'Consumer group.';
COMMENT ON COLUMN queue.progress.topic_id IS 'Topic.';
COMMENT ON COLUMN queue.progress.partition IS 'Partition.';
COMMENT ON COLUMN queue.progress.generation IS 'Counts the commits of this group in this partition.';
COMMENT ON COLUMN queue.progress.committed_offset IS 'Next offset to read.';
COMMENT ON COLUMN queue.progress.committed_at IS 'When the offset was moved.';
COMMENT ON INDEX queue.progress_newest IS 'Not unique: a unique check would walk old versions. Writers hold the lock of (group, topic, partition).';

CREATE TABLE queue.producer (
    producer_id serial      NOT NULL,
    topic_id    int         NOT NULL,
    name        text        COLLATE "C" NOT NULL,
    owner       name        NOT NULL,
    strict      boolean     NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT producer_pkey PRIMARY KEY (producer_id),
    CONSTRAINT producer_name_key UNIQUE (topic_id, name)
);
COMMENT ON TABLE queue.producer IS 'Producers that send sequences, and the roles they belong to. Rows are never updated.';
COMMENT ON COLUMN queue.producer.producer_id IS 'Number of the producer.';
COMMENT ON COLUMN queue.producer.topic_id IS 'Topic.';
COMMENT ON COLUMN queue.producer.name IS 'The producer_id that the application chose.';
COMMENT ON COLUMN queue.producer.owner IS 'Role that first used it, by name: a restore works without the role.';
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
    places         bytea
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
COMMENT ON COLUMN queue.producer_batch.places IS 'Partitions and offsets of the row''s sequences (src/sequence_map.c); NULL without messages.';
COMMENT ON INDEX queue.producer_batch_newest IS 'Not unique: a unique check would walk old versions. Writers hold the producer''s lock.';

CREATE TABLE queue.producer_history (
    producer_id    int    NOT NULL,
    series         int    NOT NULL,
    last_sequence  bigint NOT NULL,
    first_sequence bigint NOT NULL,
    places         bytea  NOT NULL
) WITH (toast_tuple_target = 8160);
ALTER TABLE queue.producer_history ALTER COLUMN places SET STORAGE EXTERNAL;
CREATE INDEX producer_history_places
    ON queue.producer_history (producer_id, series, last_sequence);
COMMENT ON TABLE queue.producer_history IS 'Where producers'' earlier messages are: what queue.prune_producers() has made of rows of queue.producer_batch.';
COMMENT ON COLUMN queue.producer_history.producer_id IS 'Producer, as in queue.producer.';
COMMENT ON COLUMN queue.producer_history.series IS 'Epoch in which the producer''s sequences last restarted.';
COMMENT ON COLUMN queue.producer_history.last_sequence IS 'Last sequence of the row.';
COMMENT ON COLUMN queue.producer_history.first_sequence IS 'First sequence of the row.';
COMMENT ON COLUMN queue.producer_history.places IS 'Partitions and offsets of the row''s sequences (src/sequence_map.c).';
COMMENT ON INDEX queue.producer_history_places IS 'Finds the row of a sequence. Writers hold the producer''s lock.';

SELECT pg_catalog.pg_extension_config_dump('queue.topic', '');
SELECT pg_catalog.pg_extension_config_dump('queue.topic_topic_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('queue.consumer_group', '');
SELECT pg_catalog.pg_extension_config_dump('queue.consumer_group_group_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('queue.progress', '');
SELECT pg_catalog.pg_extension_config_dump('queue.producer', '');
SELECT pg_catalog.pg_extension_config_dump('queue.producer_producer_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('queue.producer_batch', '');
SELECT pg_catalog.pg_extension_config_dump('queue.producer_history', '');

COMMENT ON SEQUENCE queue.topic_topic_id_seq IS 'Numbers of topics.';
COMMENT ON SEQUENCE queue.consumer_group_group_id_seq IS 'Numbers of consumer groups.';
COMMENT ON SEQUENCE queue.producer_producer_id_seq IS 'Numbers of producers.';

REVOKE ALL ON queue.topic, queue.consumer_group, queue.progress,
    queue.producer, queue.producer_batch, queue.producer_history FROM PUBLIC;
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
    segment_messages bigint  DEFAULT NULL
) RETURNS regclass
AS 'MODULE_PATHNAME', 'pgqueue_create_topic'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.create_topic(text, int, regtype, bigint) IS
'Creates a topic and returns its view.
topic: 1 to 63 characters of a-z, A-Z, 0-9, ".", "_", "-". partitions: 1 to 10000, default 1. value_type: type of the values, default jsonb; composites and domains too. segment_messages: offsets per segment; default NULL, adaptive.
Errors: 42602 bad name, 42710 exists already, 22023 bad argument, 22004 NULL, 42501 no right.
Right: CREATE on schema topic, USAGE on the type. Since 1.0.';

CREATE FUNCTION queue.alter_topic(
    topic            text,
    partitions       int    DEFAULT NULL,
    segment_messages bigint DEFAULT NULL
) RETURNS void
AS 'MODULE_PATHNAME', 'pgqueue_alter_topic'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.alter_topic(text, int, bigint) IS
'Changes a topic. partitions: the new number, not below the old one; keys move to other partitions from then on, as in Kafka. segment_messages: offsets per new segment, 0 for adaptive. NULL leaves as it is.
Errors: 42704 no such topic, 22023 bad argument, 42501 not the owner. Right: ownership of the topic. Since 1.0.';

CREATE FUNCTION queue.drop_topic(topic text, if_exists boolean DEFAULT false)
RETURNS void
AS 'MODULE_PATHNAME', 'pgqueue_drop_topic'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.drop_topic(text, boolean) IS
'Drops a topic with its messages and the groups'' offsets in it. Waits for transactions that use the topic.
Errors: 42704 no such topic (a notice with if_exists), 2BP01 if a view depends on it, 42501 not the owner. Right: ownership of the topic. Since 1.0.';

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
Errors: 42704 no such topic, 22P02 and the like if the value does not parse, 22004 NULL, 22023 bad argument, 42602 bad producer_id, 54000 too large, 42501 no right, 25006 read-only, QU002 sequence out of order, QU003 producer fenced, 40001 under REPEATABLE READ if the producer moved on. Right: INSERT on the topic''s view; membership in the role that first used the producer_id. Idea: Kafka''s idempotent producer. Since 1.0.';

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
'As queue.produce(topic, value text, …), for a value that has the topic''s type already. Errors: also 42804 if it has another type. Since 1.0.';

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
'As queue.produce_batch(topic, batch anyarray, …), for a text[] in its text form: what an untyped literal or driver parameter is. Errors: also 22P02 if it is not an array. Since 1.0.';

CREATE FUNCTION queue.create_producer(
    topic         text,
    producer_id   text,
    sequence_mode text DEFAULT 'strict'
) RETURNS void
AS 'MODULE_PATHNAME', 'pgqueue_create_producer'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.create_producer(text, text, text) IS
'Makes a producer known before its first message, to choose its mode. sequence_mode: strict (default, also for producers that were not created: each sequence is the last one + 1) or monotonic (each is greater than the last one: log positions, timestamps; a sequence in a gap is refused later, since it may be a lost message).
Errors: 42710 known already, 42704 no such topic, 22023 bad mode, 42602 bad producer_id, 22004 NULL, 42501 no right, 25006 read-only. Right: INSERT on the topic''s view; the producer becomes the current user''s. Since 1.0.';

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
'Where a producer goes on: its epoch, the last sequence that was stored, that message''s partition and offset, the watermark kept with the last batch, and when. As of now, without what others have not committed. One row; all NULL for a producer that is not known, last_sequence NULL for one that has stored nothing in its epoch.
Errors: 42704 no such topic, 42602 bad producer_id, 22004 NULL, 42501 no right. Right: INSERT on the topic''s view, and membership in the producer''s role or ownership of the topic. Since 1.0.';

CREATE FUNCTION queue.prune_producers(topic text) RETURNS bigint
AS 'MODULE_PATHNAME', 'pgqueue_prune_producers'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.prune_producers(text) IS
'Makes the state of a topic''s producers smaller and loses nothing that a duplicate needs: all but each producer''s newest row of queue.producer_batch move to queue.producer_history, many becoming one with the places of all their messages; rows of epochs whose sequences no one can send any more go. Producers that are in use are left out. Returns the number of rows saved.
Errors: 42704 no such topic, 22004 NULL, 42501 not the owner, 25006 read-only. Right: ownership of the topic. Since 1.0.';

CREATE FUNCTION queue.forget_producer(topic text, producer_id text) RETURNS boolean
AS 'MODULE_PATHNAME', 'pgqueue_forget_producer'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.forget_producer(text, text) IS
'Forgets a producer and all that it has stored; its messages stay. Whoever uses the id again is new, and sending an old message again stores it again. Returns false if the producer was not known. Nothing is ever forgotten otherwise. Waits for a transaction that has produced with the id.
Errors: 42704 no such topic, 42602 bad producer_id, 22004 NULL, 42501 no right, 25006 read-only. Right: INSERT on the topic''s view, and membership in the producer''s role or ownership of the topic. Since 1.0.';

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
    consumer_group text,
    topic          text,
    start          text DEFAULT 'earliest'
) RETURNS void
AS 'MODULE_PATHNAME', 'pgqueue_create_group'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.create_group(text, text, text) IS
'Sets where a group starts to read a topic, before its first consume. start: earliest (log start) or latest (behind the last committed message, and not behind one still in progress). Without it a group starts at the log start.
Errors: 42704 no such topic, 42710 the group reads the topic already, 42602 bad group name, 22023 bad start, 42501 no right. Right: SELECT on the topic''s view; the group becomes the current user''s. Since 1.0.';

CREATE FUNCTION queue.consume(
    consumer_group text,
    topic          text,
    max_messages   int    DEFAULT 100,
    max_bytes      int    DEFAULT NULL,
    partitions     int[]  DEFAULT NULL
) RETURNS SETOF queue.message
AS 'MODULE_PATHNAME', 'pgqueue_consume'
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 100;
COMMENT ON FUNCTION queue.consume(text, text, int, int, int[]) IS
'Returns the next messages of one partition and moves the group''s offset over all of them, in the caller''s transaction: COMMIT makes both durable, ROLLBACK or a crash gives the messages back. Takes the next partition that has something to read and that no other transaction of the group holds; returns nothing if there is none.
max_messages: default 100. max_bytes: of keys, values and headers, uncompressed; one message is returned whatever its size; default no limit. partitions: which to read; default all. For topics of type jsonb.
The first call of a new group makes the group; others that use the same new group wait for that transaction: call queue.create_group() beforehand.
Errors: 42704 no such topic, 42804 other value type, 22023 bad limit or partition, 22004 NULL, 42602 bad group name, 42501 no right, 40001 under REPEATABLE READ if the group moved on, QU001 committed offset outside the log, 25006 read-only. Right: SELECT on the topic''s view, membership in the group''s role. Since 1.0.';

CREATE FUNCTION queue.consume(
    consumer_group text,
    topic          text,
    value_type     anyelement,
    max_messages   int    DEFAULT 100,
    max_bytes      int    DEFAULT NULL,
    partitions     int[]  DEFAULT NULL,
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
COMMENT ON FUNCTION queue.consume(text, text, anyelement, int, int, int[]) IS
'As queue.consume(consumer_group, topic, …), for a topic of any type: pass value_type => NULL::type. Since 1.0.';

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

CREATE FUNCTION queue.fetch(
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
COMMENT ON FUNCTION queue.fetch(text, int, bigint, anyelement, int, int) IS
'As queue.fetch(topic, partition, from_offset, …), for a topic of any type: pass value_type => NULL::type. Since 1.0.';

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
    OUT log_end    bigint
) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'pgqueue_partition_list'
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 20;
COMMENT ON FUNCTION queue.partition_list() IS
'What view queue.partitions shows of the log. Topics that the user may read or write. Since 1.0.';

CREATE FUNCTION queue.segment_list(
    OUT topic        text,
    OUT partition    int,
    OUT segment      regclass,
    OUT first_offset bigint,
    OUT end_offset   bigint
) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'pgqueue_segment_list'
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 20;
COMMENT ON FUNCTION queue.segment_list() IS
'What view queue.segments shows of the log. Topics that the user may read or write. Since 1.0.';

CREATE VIEW queue.topics WITH (security_barrier) AS
SELECT t.name AS topic,
       t.partitions,
       a.atttypid::regtype AS value_type,
       t.segment_messages,
       pg_catalog.pg_get_userbyid(c.relowner) AS owner,
       t.created_at
  FROM queue.topic t
  JOIN pg_catalog.pg_class c ON c.oid = t.log
  JOIN pg_catalog.pg_attribute a ON a.attrelid = t.log AND a.attname = 'value'
  JOIN pg_catalog.pg_class v ON v.relname = t.name
   AND v.relnamespace = 'topic'::regnamespace
 WHERE pg_catalog.has_table_privilege(v.oid, 'SELECT, INSERT');
COMMENT ON VIEW queue.topics IS 'Which topics are there? Those that the user may read or write.';
COMMENT ON COLUMN queue.topics.topic IS 'Name.';
COMMENT ON COLUMN queue.topics.partitions IS 'Number of partitions.';
COMMENT ON COLUMN queue.topics.value_type IS 'Type of the values.';
COMMENT ON COLUMN queue.topics.segment_messages IS 'Offsets per segment; NULL: adaptive.';
COMMENT ON COLUMN queue.topics.owner IS 'Role that may alter and drop it.';
COMMENT ON COLUMN queue.topics.created_at IS 'When it was created.';

CREATE VIEW queue.segments WITH (security_barrier) AS
SELECT s.topic,
       s.partition,
       s.segment,
       s.first_offset,
       s.end_offset,
       pg_catalog.pg_total_relation_size(s.segment) AS bytes
  FROM queue.segment_list() s;
COMMENT ON VIEW queue.segments IS 'Which tables hold a topic''s messages?';
COMMENT ON COLUMN queue.segments.topic IS 'Topic.';
COMMENT ON COLUMN queue.segments.partition IS 'Partition.';
COMMENT ON COLUMN queue.segments.segment IS 'Table of the segment.';
COMMENT ON COLUMN queue.segments.first_offset IS 'First offset that the segment may hold.';
COMMENT ON COLUMN queue.segments.end_offset IS 'Offset behind the last that it may hold.';
COMMENT ON COLUMN queue.segments.bytes IS 'Size on disk with TOAST and indexes.';

CREATE VIEW queue.partitions WITH (security_barrier) AS
SELECT p.topic,
       p.partition,
       p.log_start,
       p.stable_end,
       p.log_end,
       s.segments,
       s.bytes
  FROM queue.partition_list() p
  LEFT JOIN (SELECT topic, partition, pg_catalog.count(*) AS segments,
                    pg_catalog.sum(bytes)::bigint AS bytes
               FROM queue.segments
              GROUP BY topic, partition) s USING (topic, partition);
COMMENT ON VIEW queue.partitions IS 'Where does each partition start and end? As of now, not as of the snapshot. Plain SQL over a topic shows every committed message, also those behind stable_end: right for queries, wrong for polling.';
COMMENT ON COLUMN queue.partitions.topic IS 'Topic.';
COMMENT ON COLUMN queue.partitions.partition IS 'Partition.';
COMMENT ON COLUMN queue.partitions.log_start IS 'First offset that is kept.';
COMMENT ON COLUMN queue.partitions.stable_end IS 'First offset that a reader may not pass yet.';
COMMENT ON COLUMN queue.partitions.log_end IS 'Next offset to be assigned.';
COMMENT ON COLUMN queue.partitions.segments IS 'Number of segments, empty ones kept ahead included.';
COMMENT ON COLUMN queue.partitions.bytes IS 'Size on disk.';

CREATE VIEW queue.blockers WITH (security_barrier) AS
WITH held AS (
    SELECT l.pid, l.virtualtransaction, s.topic, s.partition,
           NULL::text AS producer_id
      FROM pg_catalog.pg_locks l
      JOIN queue.segment_list() s ON s.segment = l.relation
     WHERE l.locktype = 'relation'
       AND l.mode = 'RowExclusiveLock'
       AND l.granted
       AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d
                          WHERE d.datname = pg_catalog.current_database())
    UNION
    -- see PGQUEUE_LOCK_PRODUCER and pgqueue_producer_tag()
    SELECT l.pid, l.virtualtransaction, t.topic, NULL, p.name
      FROM pg_catalog.pg_locks l
      JOIN queue.producer p
        ON pg_catalog.hashtextextended(p.name, p.topic_id)
         = (l.classid::bigint << 32) | l.objid::bigint
      JOIN queue.topic r ON r.topic_id = p.topic_id
      JOIN queue.topics t ON t.topic = r.name
     WHERE l.locktype = 'advisory'
       AND l.objsubid = 16388
       AND l.granted
       AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d
                          WHERE d.datname = pg_catalog.current_database())
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
       h.producer_id
  FROM held h
  LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = h.pid
  LEFT JOIN pg_catalog.pg_locks lx ON h.pid IS NULL
       AND lx.virtualtransaction = h.virtualtransaction
       AND lx.pid IS NULL
       AND lx.locktype = 'transactionid'
  LEFT JOIN pg_catalog.pg_prepared_xacts x ON x.transaction = lx.transactionid
 GROUP BY h.pid, x.gid, a.xact_start, x.prepared, h.topic, h.partition,
          h.producer_id, a.usename, x.owner, a.application_name, a.query;
COMMENT ON VIEW queue.blockers IS 'Who holds readers and producers back? Open transactions that have produced: readers of a partition wait before the first of their messages; whoever uses the same producer_id, or fences it, waits for their end.';
COMMENT ON COLUMN queue.blockers.pid IS 'Backend; NULL for a prepared transaction.';
COMMENT ON COLUMN queue.blockers.gid IS 'Name of a prepared transaction.';
COMMENT ON COLUMN queue.blockers.age IS 'Since when the transaction is open.';
COMMENT ON COLUMN queue.blockers.topic IS 'Topic.';
COMMENT ON COLUMN queue.blockers.partition IS 'Partition whose readers wait; NULL in a row about a producer.';
COMMENT ON COLUMN queue.blockers.usename IS 'User.';
COMMENT ON COLUMN queue.blockers.application_name IS 'Application.';
COMMENT ON COLUMN queue.blockers.query IS 'Last query of the backend, if the user may see it.';
COMMENT ON COLUMN queue.blockers.producer_id IS 'Producer that the transaction holds; NULL in a row about a partition. One that it has just made has no row.';

CREATE VIEW queue.consumer_groups WITH (security_barrier) AS
SELECT g.name AS consumer_group,
       e.topic,
       e.partition,
       p.committed_offset AS current_offset,
       e.log_end AS log_end_offset,
       e.log_end - p.committed_offset AS lag,
       p.committed_at
  FROM queue.partition_list() e
  JOIN queue.topic t ON t.name = e.topic
 CROSS JOIN queue.consumer_group g
 CROSS JOIN LATERAL (SELECT r.committed_offset, r.committed_at
                       FROM queue.progress r
                      WHERE r.group_id = g.group_id
                        AND r.topic_id = t.topic_id
                        AND r.partition = e.partition
                      ORDER BY r.group_id DESC, r.topic_id DESC,
                               r.partition DESC, r.generation DESC
                      LIMIT 1) p;
COMMENT ON VIEW queue.consumer_groups IS 'How far is each group? A row per group and partition that has a committed offset.';
COMMENT ON COLUMN queue.consumer_groups.consumer_group IS 'Consumer group.';
COMMENT ON COLUMN queue.consumer_groups.topic IS 'Topic.';
COMMENT ON COLUMN queue.consumer_groups.partition IS 'Partition.';
COMMENT ON COLUMN queue.consumer_groups.current_offset IS 'Committed offset: the next to read.';
COMMENT ON COLUMN queue.consumer_groups.log_end_offset IS 'Next offset to be assigned.';
COMMENT ON COLUMN queue.consumer_groups.lag IS 'Offsets between the two.';
COMMENT ON COLUMN queue.consumer_groups.committed_at IS 'When the offset was last moved.';

CREATE VIEW queue.producers WITH (security_barrier) AS
SELECT t.topic,
       p.name AS producer_id,
       p.owner,
       CASE WHEN p.strict THEN 'strict' ELSE 'monotonic' END AS sequence_mode,
       b.epoch,
       NULLIF(b.last_sequence, -1) AS last_sequence,
       b.partition,
       b."offset",
       coalesce(b.accepted, 0) AS accepted,
       coalesce(b.duplicates, 0) AS duplicates,
       coalesce(b.gaps, 0) AS gaps,
       b.produced_at,
       p.created_at
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
COMMENT ON COLUMN queue.producers.produced_at IS 'When the last message was stored.';
COMMENT ON COLUMN queue.producers.created_at IS 'When it was first used.';

GRANT SELECT ON queue.topics, queue.segments, queue.partitions,
    queue.blockers, queue.consumer_groups, queue.producers TO PUBLIC;

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

CREATE FUNCTION queue.guard_rewrite() RETURNS event_trigger
AS 'MODULE_PATHNAME', 'pgqueue_guard_rewrite'
LANGUAGE C;
COMMENT ON FUNCTION queue.guard_rewrite() IS
'Event trigger: refuses ALTER TABLE that rewrites a segment (0A000).';

CREATE FUNCTION queue.guard_alter() RETURNS event_trigger
AS 'MODULE_PATHNAME', 'pgqueue_guard_alter'
LANGUAGE C;
COMMENT ON FUNCTION queue.guard_alter() IS
'Event trigger: refuses to rename or move a topic''s view, table or segment, and to add, drop or rename their columns (0A000).';

REVOKE ALL ON FUNCTION queue.guard_drop(), queue.guard_rewrite(), queue.guard_alter() FROM PUBLIC;

CREATE EVENT TRIGGER queue_guard_drop ON sql_drop
    EXECUTE FUNCTION queue.guard_drop();
COMMENT ON EVENT TRIGGER queue_guard_drop IS 'A topic''s storage is dropped with queue.drop_topic() only.';

CREATE EVENT TRIGGER queue_guard_alter ON ddl_command_end
    WHEN TAG IN ('ALTER TABLE', 'ALTER VIEW')
    EXECUTE FUNCTION queue.guard_alter();
COMMENT ON EVENT TRIGGER queue_guard_alter IS 'A topic''s view and storage keep their names and columns.';

CREATE EVENT TRIGGER queue_guard_rewrite ON table_rewrite
    EXECUTE FUNCTION queue.guard_rewrite();
COMMENT ON EVENT TRIGGER queue_guard_rewrite IS 'A segment is not rewritten by ALTER TABLE.';

-- Also under session_replication_role = replica.
ALTER EVENT TRIGGER queue_guard_drop ENABLE ALWAYS;
ALTER EVENT TRIGGER queue_guard_alter ENABLE ALWAYS;
ALTER EVENT TRIGGER queue_guard_rewrite ENABLE ALWAYS;
