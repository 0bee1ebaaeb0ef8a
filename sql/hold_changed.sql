--
-- The order of a key, when what holds is changed while messages are parked.
--
\getenv abs_srcdir PG_ABS_SRCDIR
\i :abs_srcdir/sql/include/helpers.sql
SET queue.autocommit_warning = off;
-- Consume, fail on the values given, and say what was done.
CREATE FUNCTION pg_temp.work(fails text[], max_messages int DEFAULT 100, delay interval DEFAULT '0 s') RETURNS SETOF text
LANGUAGE plpgsql AS $$
DECLARE
    m record;
    skip bigint[] := '{}';
    behind bigint[];
BEGIN
    FOR m IN SELECT * FROM queue.consume_typed('g', 't', NULL::text, max_messages) LOOP
        IF m."offset" = ANY (skip) THEN
            RETURN NEXT format('%s left', m.value);
        ELSIF m.value = ANY (fails) THEN
            behind := queue.park('g', 't', m.partition, m."offset", delay => delay);
            RETURN NEXT format('%s failed, behind %s', m.value, behind);
            skip := skip || behind;
        ELSE
            RETURN NEXT format('%s done', m.value);
        END IF;
    END LOOP;
END $$;
SELECT queue.create_topic('t', 1, 'text');
SELECT queue.create_group('g', 't');
-- What waits, and on what.
CREATE VIEW pg_temp.parked AS
    SELECT m.value, CASE hash WHEN 0 THEN 'nothing' WHEN 1 THEN 'partition' ELSE 'key' END AS holds,
           due_at IS NULL AS behind
      FROM queue.parked_message JOIN topic.t m USING ("offset") ORDER BY "offset";

-- From the key to the partition: "a 2" is parked by the partition, behind "none",
-- before "a 1" fails again, which holds the key.
SELECT queue.set_failure_policy('g', 't', max_attempts => 10);
SELECT count(queue.produce('t', v, k)) FROM (VALUES ('none', NULL), ('a 1', 'a')) x (v, k);
SELECT * FROM pg_temp.work('{none,a 1}');
SELECT queue.set_failure_policy('g', 't', max_attempts => 10, hold => 'partition');
SELECT count(queue.produce('t', v, k)) FROM (VALUES ('a 2', 'a'), ('b', 'b'), ('a 3', 'a')) x (v, k);
SELECT * FROM pg_temp.work('{none,a 1}');
SELECT * FROM pg_temp.parked;
SELECT * FROM pg_temp.work('{a 1}');
SELECT * FROM pg_temp.parked;
SELECT * FROM pg_temp.work('{}');
SELECT * FROM pg_temp.work('{}');
-- The same, and "a 1" is not due when "none" is done.
SELECT queue.set_failure_policy('g', 't', max_attempts => 10);
SELECT count(queue.produce('t', v, k)) FROM (VALUES ('none', NULL), ('a 1', 'a')) x (v, k);
SELECT * FROM pg_temp.work('{none,a 1}');
SELECT queue.set_failure_policy('g', 't', max_attempts => 10, hold => 'partition');
SELECT count(queue.produce('t', v, k)) FROM (VALUES ('a 2', 'a'), ('b', 'b'), ('a 3', 'a')) x (v, k);
SELECT * FROM pg_temp.work('{none,a 1}', delay => '1 h');
SELECT queue.retry_parked('g', 't', 0, max("offset")) FROM topic.t WHERE value = 'none';
SELECT * FROM pg_temp.work('{}', 2);
SELECT * FROM pg_temp.parked;
SELECT * FROM pg_temp.work('{}');
SELECT queue.retry_parked('g', 't', 0, max("offset")) FROM topic.t WHERE value = 'a 1';
SELECT * FROM pg_temp.work('{}');

-- From nothing to the key: "a 2" is returned, since it held nothing, and fails; it waits
-- behind "a 1" from now on.
SELECT queue.set_failure_policy('g', 't', max_attempts => 10, hold => 'none');
SELECT count(queue.produce('t', 'a ' || i, 'a')) FROM generate_series(1, 2) i;
SELECT * FROM pg_temp.work('{a 1,a 2}');
SELECT queue.set_failure_policy('g', 't', max_attempts => 10);
SELECT * FROM pg_temp.work('{a 1}', 1, delay => '1 h');
SELECT queue.produce('t', 'a 3', 'a') \g /dev/null
SELECT * FROM pg_temp.work('{a 2}');
SELECT * FROM pg_temp.parked;
SELECT * FROM pg_temp.work('{}');
SELECT queue.retry_parked('g', 't', 0, max("offset")) FROM topic.t WHERE value = 'a 1';
SELECT * FROM pg_temp.work('{}');
SELECT count(*) FROM queue.parked_message;
DROP VIEW pg_temp.parked;
SELECT queue.drop_group('g'), queue.drop_topic('t');
