--
-- The extension's tables with more or fewer columns than the library knows: an
-- older library after ALTER EXTENSION UPDATE, a newer one before it.
--
SELECT current_database() AS own \gset
CREATE DATABASE regress_columns;
\c regress_columns
SET client_min_messages = warning;
CREATE EXTENSION queue;
SET queue.allow_ddl = on;
SET queue.history_retention = 0;

\getenv abs_srcdir PG_ABS_SRCDIR
\i :abs_srcdir/sql/include/helpers.sql
CREATE FUNCTION handle(queue.message) RETURNS void LANGUAGE sql AS 'SELECT';
-- What writes and reads every table, before and after maintenance.
CREATE FUNCTION morning(n int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    t text := 'day' || n;
    duplicates text; consumed text; polled text; batch record;
BEGIN
    PERFORM queue.create_topic(t, 2, segment_messages => 4, retention => '1 hour', cleanup_policy => 'compact,delete');
    PERFORM queue.create_group('made' || n, t, expiry => '1 day');
    PERFORM queue.alter_group('made' || n, auto_offset_reset => 'earliest');
    FOR i IN 1..9 LOOP
        PERFORM queue.produce(t, i::text, key => 'k' || i % 3, partition => 0, producer_id => 'p', sequence => i);
    END LOOP;
    PERFORM queue.produce_batch(t, ARRAY[to_jsonb(10)], ARRAY['k1'], partition => 0, producer_id => 'p', first_sequence => 10, watermark => '{"at": 10}');
    SELECT count(*) FILTER (WHERE duplicate) INTO duplicates
      FROM generate_series(4, 9) i, queue.produce(t, i::text, key => 'k', partition => 0, producer_id => 'p', sequence => i);
    PERFORM queue.produce_batch(t, ARRAY[to_jsonb(1), to_jsonb(2)], ARRAY['a', 'b'], partition => 1);
    SELECT count(*) INTO consumed FROM queue.consume('made' || n, t, 5, partitions => ARRAY[0]);
    SELECT consumed || ' and ' || count(*) INTO consumed FROM queue.consume('made' || n, t, 100, partitions => ARRAY[0]);
    FOR batch IN SELECT l.partition, max(l."offset") AS last, max(l.epoch) AS epoch
                   FROM generate_series(1, 2), queue.poll('polls' || n, t, 'm', 100) l GROUP BY 1 ORDER BY 1 LOOP
        PERFORM queue.commit_offset('polls' || n, t, batch.partition, batch.last + 1, 'm', batch.epoch);
        polled := concat_ws(', ', polled, batch.partition || ' to ' || batch.last);
    END LOOP;
    PERFORM queue.pause('polls' || n, t, 1);
    PERFORM queue.subscribe('handled', t, 'handle(queue.message)', workers => 2);
    PERFORM queue.subscribe('handled', t, 'handle(queue.message)', workers => 1);
    PERFORM queue.drop_group('handled');
    PERFORM queue.fence_producer(t, 'p');
    RETURN format('duplicates %s, consumed %s, polled %s', duplicates, consumed, polled);
END $$;
CREATE FUNCTION evening(n int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    t text := 'day' || n;
    result text;
BEGIN
    SELECT concat_ws('; ', (SELECT string_agg(format('%s %s %s %s', g.consumer_group, g.partition, g.current_offset, g.paused), ', '
                                              ORDER BY g.consumer_group COLLATE "C", g.partition)
                              FROM queue.consumer_groups g WHERE g.topic = t),
                     (SELECT string_agg(m.member || m.partitions::text, ', ') FROM queue.members m WHERE m.topic = t),
                     (SELECT format('epoch %s, last %s, watermark %s', s.epoch, s.last_sequence, s.watermark) FROM queue.producer_state(t, 'p') s),
                     (SELECT 'merged' FROM queue.maintenance_log l WHERE l.topic = t AND l.action = 'producer rows merged'),
                     (SELECT count(*) || ' faults' FROM queue.verify(t)))
      INTO result;
    PERFORM queue.leave('polls' || n, t, 'm');
    PERFORM queue.drop_group('polls' || n);
    PERFORM queue.forget_producer(t, 'p');
    RETURN result;
END $$;

-- All is cached, from the first day on.
SELECT morning(1);
CALL pg_temp.settle('day1');
CALL queue.maintain('day1');
SELECT evening(1);

-- A column more in each.
CREATE VIEW tables AS
SELECT c.oid::regclass AS name
  FROM pg_depend d
  JOIN pg_class c ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND c.relkind = 'r'
  JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
 WHERE e.extname = 'queue'
 ORDER BY c.relname;
SELECT format('ALTER TABLE %s ADD COLUMN extra text', name) FROM tables \gexec
SELECT count(*) FROM tables;
SELECT morning(2);
CALL pg_temp.settle('day2');
CALL queue.maintain('day2');
SELECT evening(2);
-- A row that is changed keeps what the library does not know; a new one has NULL.
SELECT morning(3);
CALL pg_temp.settle('day3');
SELECT FROM queue.delete_messages('day3', 0, 4, force => true);
SELECT count(*) > 0 AS rows, count(extra) AS extras FROM queue.progress;
UPDATE queue.consumer_group SET extra = 'group';
UPDATE queue.checkpoint SET extra = 'checkpoint';
UPDATE queue.member SET extra = 'member';
UPDATE queue.assignment SET extra = 'assignment';
SELECT queue.alter_group('made3', expiry => '0');
SELECT FROM queue.delete_messages('day3', 0, 8, force => true);
SELECT FROM queue.poll('polls3', 'day3', 'm2', 100);
SELECT FROM queue.poll('polls3', 'day3', 'm', 100);
SELECT name, expiry, extra FROM queue.consumer_group WHERE name = 'made3';
SELECT c.partition, c.log_start, c.extra FROM queue.checkpoint c JOIN queue.topic t USING (topic_id) WHERE t.name = 'day3' ORDER BY 1;
SELECT m.name, m.extra AS member, a.partitions, a.extra AS assignment
  FROM queue.member m JOIN queue.topic t USING (topic_id) LEFT JOIN queue.assignment a ON (a.topic_id, a.group_id, a.name) = (m.topic_id, m.group_id, m.name)
 WHERE t.name = 'day3' ORDER BY 1;

-- A column that this library would have to fill shuts it out, with a hint.
ALTER TABLE queue.progress ADD COLUMN needed int NOT NULL DEFAULT 1;
SELECT count(*) FROM queue.consumer_groups WHERE topic = 'day3';
SELECT queue.consume('new', 'day3');
BEGIN;
SAVEPOINT a;
ALTER TABLE queue.progress ALTER COLUMN needed DROP NOT NULL;
SELECT count(*) FROM queue.consume('new', 'day3', partitions => ARRAY[1]);
ROLLBACK TO a;
SELECT count(*) FROM queue.consume('new', 'day3', partitions => ARRAY[1]);
ROLLBACK;
ALTER TABLE queue.progress DROP COLUMN needed;
SELECT count(*) FROM queue.consume('new', 'day3', partitions => ARRAY[1]);

-- Dropped again.
SELECT format('ALTER TABLE %s DROP COLUMN extra', name) FROM tables \gexec
SELECT morning(4);
CALL pg_temp.settle('day4');
CALL queue.maintain('day4');
SELECT evening(4);

-- A table with columns of an unknown shape is refused when it is opened.
ALTER TABLE queue.checkpoint ALTER COLUMN compacted_to TYPE text;
SELECT * FROM queue.delete_messages('day4', 0, 4, force => true);
ALTER TABLE queue.checkpoint ALTER COLUMN compacted_to TYPE bigint USING compacted_to::bigint, ALTER COLUMN log_start DROP NOT NULL;
SELECT * FROM queue.delete_messages('day4', 0, 4, force => true);
ALTER TABLE queue.checkpoint ALTER COLUMN log_start SET NOT NULL;
BEGIN;
ALTER TABLE queue.checkpoint DROP COLUMN oldest_tombstone;
SELECT * FROM queue.delete_messages('day4', 0, 4, force => true);
ROLLBACK;
SELECT FROM queue.delete_messages('day4', 0, 4, force => true);

-- The table of an earlier version, with a column less; or with too few.
ALTER TABLE queue.progress RENAME TO now;
ALTER INDEX queue.progress_newest RENAME TO now_newest;
CREATE TABLE queue.progress AS
SELECT group_id, topic_id, partition, paused, action, generation, committed_offset, committed_at, epoch, handed_to, committed_by, member, metadata
  FROM queue.now WITH NO DATA;
SELECT 'ALTER TABLE queue.progress ' || string_agg(format('ALTER %I SET NOT NULL', attname), ', ' ORDER BY attnum)
  FROM pg_attribute WHERE attrelid = 'queue.now'::regclass AND attnum > 0 AND attnotnull \gexec
CREATE INDEX progress_newest ON queue.progress (group_id, topic_id, partition, generation);
SELECT count(*) FROM queue.consume('new', 'day4', 1, partitions => ARRAY[1]);
SELECT count(*) FROM queue.consume('new', 'day4', partitions => ARRAY[1]);
SELECT partition, generation, committed_offset FROM queue.progress ORDER BY 1, 2;
DROP TABLE queue.progress;
CREATE TABLE queue.progress AS SELECT group_id, topic_id FROM queue.now WITH NO DATA;
ALTER TABLE queue.progress ALTER group_id SET NOT NULL, ALTER topic_id SET NOT NULL;
SELECT queue.consume('new', 'day4');
DROP TABLE queue.progress;
SELECT queue.consume('new', 'day4');

\c :own
DROP DATABASE regress_columns WITH (FORCE);
