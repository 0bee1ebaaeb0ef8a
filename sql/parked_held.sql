--
-- Messages that a group has parked stay: retention, delete_messages, compaction; and
-- what becomes of them if they are removed by force.
--
\getenv abs_srcdir PG_ABS_SRCDIR
\i :abs_srcdir/sql/include/helpers.sql
SET queue.autocommit_warning = off;
CREATE FUNCTION pg_temp.work(fails text[], topic text DEFAULT 't', delay interval DEFAULT '1 h') RETURNS SETOF text
LANGUAGE plpgsql AS $$
DECLARE
    m record;
    skip bigint[] := '{}';
BEGIN
    FOR m IN SELECT * FROM queue.consume_typed('g', topic, NULL::text, 1000) LOOP
        IF m.value = ANY (fails) AND m."offset" <> ALL (skip) THEN
            skip := skip || queue.park('g', topic, m.partition, m."offset", delay => delay);
        ELSIF m."offset" <> ALL (skip) THEN
            RETURN NEXT m.value;
        END IF;
    END LOOP;
END $$;
CREATE VIEW pg_temp.held AS
    SELECT topic, log_start, consumer_group, held_offset, behind, reason FROM queue.retention;
CREATE VIEW pg_temp.state AS
    SELECT committed_offset, parked, delayed, missed FROM queue.progress ORDER BY generation DESC LIMIT 1;

SELECT queue.create_topic('t', 1, 'text');
SELECT queue.create_group('g', 't');
SELECT queue.set_failure_policy('g', 't');
SELECT count(queue.produce('t', 'm' || i, 'k' || i % 10)) FROM generate_series(0, 49) i;
-- By one of a key: those that wait behind it are held with it.
SELECT count(*) FROM pg_temp.work('{m7,m13}');
SELECT * FROM pg_temp.state;
SELECT * FROM pg_temp.held;
SELECT log_start FROM queue.delete_messages('t', 0, 50);
SELECT queue.retry_parked('g', 't', 0, 7);
SELECT * FROM pg_temp.work('{}');
SELECT log_start FROM queue.delete_messages('t', 0, 50);
-- By one without a key, or a delayed one: the lowest counts.
SELECT count(queue.produce('t', v, deliver_at => d)) FROM (VALUES ('x', NULL::timestamptz), ('late', now() + '1 h'), ('y', NULL)) x (v, d);
SELECT count(*) FROM pg_temp.work('{y}');
SELECT log_start FROM queue.delete_messages('t', 0, 53);
SELECT queue.skip_parked('g', 't', 0, 13);
SELECT * FROM pg_temp.held;
SELECT log_start FROM queue.delete_messages('t', 0, 53);
-- Of a deletion in the same transaction, and the same statement.
SELECT queue.skip_parked('g', 't', 0, o) FROM generate_series(23, 43, 10) o;
SELECT log_start FROM queue.delete_messages('t', 0, 53);
BEGIN;
SELECT queue.skip_parked('g', 't', 0, 51);
SELECT log_start FROM queue.delete_messages('t', 0, 53);
ROLLBACK;
SELECT queue.skip_parked('g', 't', 0, 51), (SELECT log_start FROM queue.delete_messages('t', 0, 53));
-- An attempt that is under way has its row deleted, and parks it again.
SELECT queue.retry_parked('g', 't', 0, 52);
BEGIN;
SELECT * FROM pg_temp.work('{y}');
SELECT log_start FROM queue.delete_messages('t', 0, 53);
COMMIT;
-- Hold the whole partition.
SELECT queue.skip_parked('g', 't', 0, 52);
SELECT queue.set_failure_policy('g', 't', hold => 'partition');
SELECT count(queue.produce('t', 'p' || i)) FROM generate_series(53, 59) i;
SELECT count(*) FROM pg_temp.work('{p55}');
SELECT log_start FROM queue.delete_messages('t', 0, 60);
SELECT forgotten FROM queue.reset_offsets('g', 't', to_latest => true);
SELECT * FROM pg_temp.held;

-- By force: the next call forgets it, and counts it as missed.
SELECT queue.set_failure_policy('g', 't');
SELECT count(queue.produce('t', v, 'k')) FROM unnest('{bad,behind,good}'::text[]) v;
SELECT count(*) FROM pg_temp.work('{bad}', delay => '0 s');
SELECT log_start FROM queue.delete_messages('t', 0, 61, force => true);
SELECT * FROM pg_temp.held;
SELECT * FROM pg_temp.work('{}');
SELECT * FROM pg_temp.state;
-- Nor does it hold anything while it waits, or can be had by retry_parked.
SELECT count(queue.produce('t', v)) FROM unnest('{bad,good}'::text[]) v;
SELECT count(*) FROM pg_temp.work('{bad}');
SELECT log_start FROM queue.delete_messages('t', 0, 65, force => true);
SELECT count(queue.produce('t', 'next'));
SELECT * FROM pg_temp.held;
SELECT queue.retry_parked('g', 't', 0, 63);
SELECT * FROM pg_temp.work('{}');
SELECT * FROM pg_temp.state;
SELECT count(*) FROM queue.parked_message;
-- All of them.
SELECT count(queue.produce('t', v)) FROM unnest('{bad,good}'::text[]) v;
SELECT count(*) FROM pg_temp.work('{bad}', delay => '0 s');
SELECT partition, log_start FROM queue.truncate_topic('t');
SELECT count(queue.produce('t', 'after'));
SELECT * FROM pg_temp.work('{}');
SELECT * FROM pg_temp.state;

-- A group that is let go holds nothing; used again, it does.
SELECT count(queue.produce('t', v)) FROM unnest('{bad,good}'::text[]) v;
SELECT count(*) FROM pg_temp.work('{bad}');
SELECT consumer_group, held_offset IS NOT NULL AS held FROM pg_temp.held;
SELECT queue.expire_group('g', 't');
SELECT consumer_group, held_offset IS NOT NULL AS held FROM pg_temp.held;
SELECT expired FROM queue.consumer_groups;
SELECT count(queue.produce('t', 'used'));
SELECT * FROM pg_temp.work('{}');
SELECT consumer_group, held_offset = queue.log_end('t', 0) - 3 AS held FROM pg_temp.held;
-- One that waits for a message that is due later has not expired.
SELECT queue.alter_group('g', expiry => '1 millisecond');
SELECT pg_sleep(0.01);
SELECT consumer_group, held_offset IS NOT NULL AS held FROM pg_temp.held;
SELECT expired FROM queue.consumer_groups;
-- One has that did not come for what was due, or that has given it up.
SELECT queue.retry_parked('g', 't', 0, "offset") FROM queue.parked;
SELECT pg_sleep(0.01);
SELECT consumer_group, held_offset IS NOT NULL AS held FROM pg_temp.held;
SELECT expired FROM queue.consumer_groups;
SELECT queue.set_failure_policy('g', 't', max_attempts => 1);
SELECT count(*) FROM pg_temp.work('{bad}');
SELECT due_at FROM queue.parked;
SELECT pg_sleep(0.01);
SELECT consumer_group, held_offset IS NOT NULL AS held FROM pg_temp.held;
SELECT queue.drop_group('g');
SELECT queue.drop_topic('t');

-- By the limits.
SET client_min_messages = warning;
SELECT queue.create_topic('t', 1, 'text', segment_messages => 10, retention => '1 millisecond');
SELECT queue.create_group('g', 't');
SELECT count(queue.produce('t', 'm' || i, 'k' || i)) FROM generate_series(0, 49) i;
SELECT count(*) FROM pg_temp.work('{m15}');
SELECT pg_sleep(0.01);
CALL queue.maintain('t');
SELECT log_start BETWEEN 1 AND 15 AS kept, consumer_group, held_offset, behind > 0 AS behind, reason FROM pg_temp.held;
SELECT queue.alter_topic('t', retention_force => true);
CALL queue.maintain('t');
SELECT queue.log_start('t', 0) > 15 AS gone, queue.retry_parked('g', 't', 0, 15);
SELECT * FROM pg_temp.work('{}');
SELECT parked, missed FROM pg_temp.state;
SELECT queue.drop_group('g');
SELECT queue.drop_topic('t');

-- Compaction removes what has a later one of its key: that is done, not missed.
SET queue.compaction_min_dirty_ratio = 0;
SELECT queue.create_topic('t', 1, 'text', segment_messages => 10, cleanup_policy => 'compact', tombstone_retention => '0');
SELECT queue.create_group('g', 't');
SELECT count(queue.produce('t', 'm' || i, 'k' || i % 7)) FROM generate_series(0, 34) i;
SELECT count(*) FROM pg_temp.work('{m3}');
CALL pg_temp.settle('t');
CALL queue.maintain('t');
SELECT count(*) FILTER (WHERE "offset" = 3) AS kept FROM topic.t WHERE key = 'k3';
SELECT queue.retry_parked('g', 't', 0, 3);
SELECT * FROM pg_temp.work('{}');
SELECT * FROM pg_temp.state;
-- A tombstone stays while a group has an earlier message parked.
SELECT count(queue.produce('t', v, 'k3')) FROM unnest('{bad,NULL}'::text[]) v;
SELECT count(*) FROM pg_temp.work('{bad}');
SELECT count(queue.produce('t', 'm' || i, 'k' || i % 2)) FROM generate_series(0, 34) i;
SELECT count(*) FROM pg_temp.work('{}');
CALL pg_temp.settle('t');
CALL queue.maintain('t');
SELECT key, value FROM topic.t WHERE key = 'k3';
SELECT queue.retry_parked('g', 't', 0, 35);
SELECT * FROM pg_temp.work('{}');
CALL queue.maintain('t');
SELECT key, value FROM topic.t WHERE key = 'k3';
SELECT queue.drop_group('g');
SELECT queue.drop_topic('t');
