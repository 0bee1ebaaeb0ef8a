--
-- View queue.parked, and what queue.consumer_groups and queue.group_summary say of
-- messages that are parked.
--
\getenv abs_srcdir PG_ABS_SRCDIR
\i :abs_srcdir/sql/include/helpers.sql
SET queue.autocommit_warning = off;
CREATE FUNCTION pg_temp.fail(fails text[], delay interval DEFAULT '1 h', max_messages int DEFAULT 1000) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    m record;
    skip bigint[] := '{}';
    n int := 0;
BEGIN
    FOR m IN SELECT * FROM queue.consume_typed('g', 't', NULL::text, max_messages) LOOP
        n := n + 1;
        IF m.value = ANY (fails) AND m."offset" <> ALL (skip) THEN
            skip := skip || queue.park('g', 't', m.partition, m."offset", m.value || ' is bad', 'P0001', delay);
        END IF;
    END LOOP;
    RETURN n;
END $$;
CREATE VIEW pg_temp.seen AS
    SELECT "offset", key, attempts, CASE WHEN isfinite(due_at) THEN to_char(due_at - statement_timestamp(), 'HH24') ELSE due_at::text END AS hours,
           waiting_behind, sqlstate, error, first_failed_at <= parked_at AS failed, parked_at <= now() AS parked, delayed, in_hand
      FROM queue.parked ORDER BY consumer_group, topic, partition, "offset";
CREATE VIEW pg_temp.groups AS
    SELECT partition, lag, parked, delayed, oldest_parked_age >= '0' AS age, state FROM queue.consumer_groups ORDER BY 1;
CREATE VIEW pg_temp.summary AS
    SELECT lag, parked, delayed, oldest_parked_age >= '0' AS age, paused, state FROM queue.group_summary;

SELECT queue.create_topic('t', 1, 'text');
SELECT queue.create_group('g', 't');
SELECT queue.set_failure_policy('g', 't', max_attempts => 2);
SELECT * FROM pg_temp.summary;
SELECT count(queue.produce('t', coalesce(k, 'n') || i, k)) FROM generate_series(1, 3) i, unnest(ARRAY['a', 'b', NULL]) k;
SELECT (queue.produce('t', 'late', 'a', deliver_at => now() + interval '2 hours 30 minutes')).offset;
SELECT pg_temp.fail('{a1,b2,n3}', '90 minutes');
SELECT * FROM pg_temp.seen;
SELECT * FROM pg_temp.groups;
SELECT * FROM pg_temp.summary;
-- A place is named, in each row.
SELECT DISTINCT consumer_group, topic, partition FROM queue.parked;
-- One behind the other; attempts that are used up.
SELECT queue.retry_parked('g', 't', 0, 0);
SELECT pg_temp.fail('{a1}', '0 s');
SELECT pg_temp.fail('{a1}');
SELECT * FROM pg_temp.seen;
SELECT queue.skip_parked('g', 't', 0, 0);
SELECT "offset", due_at <= statement_timestamp() AS due, waiting_behind FROM queue.parked WHERE key = 'a' ORDER BY 1;
-- In the hand of a member.
SELECT queue.retry_parked('g', 't', 0, 4);
SELECT count(*) FROM queue.poll_typed('g', 't', 'm', NULL::text, 2, lease => '1 h');
SELECT "offset", attempts, in_hand, waiting_behind FROM queue.parked ORDER BY 1;
SELECT queue.leave('g', 't', 'm');
-- The delayed one only: nothing has failed.
SELECT count(queue.skip_parked('g', 't', 0, "offset")) FROM (SELECT "offset" FROM queue.parked WHERE NOT delayed) p;
SELECT * FROM pg_temp.groups;
SELECT queue.skip_parked('g', 't', 0, 9);
SELECT * FROM pg_temp.groups;

-- Hold the partition: what waits, waits for the first.
SELECT queue.set_failure_policy('g', 't', hold => 'partition');
SELECT count(queue.produce('t', 'p' || i, 'k' || i)) FROM generate_series(0, 2) i;
SELECT pg_temp.fail('{p0}');
SELECT "offset", key, waiting_behind FROM queue.parked ORDER BY 1;
SELECT forgotten FROM queue.reset_offsets('g', 't', to_latest => true);

-- Paused; tripped, by failures in a row, or by max_parked.
SELECT queue.pause('g', 't');
SELECT * FROM pg_temp.summary;
SELECT state FROM pg_temp.groups;
SELECT queue.resume('g', 't');
SELECT queue.set_failure_policy('g', 't', hold => 'none', max_parked => 30);
SELECT count(queue.produce('t', 'f' || i)) FROM generate_series(1, 35) i;
SELECT pg_temp.fail(ARRAY(SELECT 'f' || i FROM generate_series(1, 35) i), max_messages => 19), (SELECT state FROM pg_temp.summary);
SELECT state FROM pg_temp.summary;
SELECT pg_temp.fail(ARRAY(SELECT 'f' || i FROM generate_series(1, 35) i), max_messages => 1);
SELECT state FROM pg_temp.groups;
SELECT pg_temp.fail('{}');
SELECT * FROM pg_temp.summary;
SELECT queue.pause('g', 't');
SELECT state FROM pg_temp.groups;
SELECT queue.resume('g', 't');
SELECT forgotten FROM queue.reset_offsets('g', 't', shift_by => 0);
SELECT * FROM pg_temp.summary;
SELECT queue.set_failure_policy('g', 't', max_parked => 2);
SELECT pg_temp.fail('{f21,f22}', max_messages => 5);
SELECT * FROM pg_temp.groups;
SELECT queue.skip_parked('g', 't', 0, (SELECT min("offset") FROM queue.parked));
SELECT state FROM pg_temp.groups;

-- A role that may write to the topic sees that something is parked, not what.
CREATE ROLE regress_queue_writer;
GRANT INSERT ON topic.t TO regress_queue_writer;
SET ROLE regress_queue_writer;
SELECT consumer_group, topic, partition, key, sqlstate, error, attempts, first_failed_at IS NOT NULL AS failed FROM queue.parked;
RESET ROLE;
DROP OWNED BY regress_queue_writer;
SET ROLE regress_queue_writer;
SELECT count(*) FROM queue.parked;
RESET ROLE;
DROP ROLE regress_queue_writer;

SELECT queue.drop_topic('t');
SELECT count(*) FROM queue.parked_message;
SELECT count(*) FROM queue.parked;
SELECT queue.drop_group('g');
