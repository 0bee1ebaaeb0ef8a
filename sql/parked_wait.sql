--
-- Waiting for parked messages: queue.wait and max_wait end when one is due, and do not
-- end while none may be returned.
--
SET client_min_messages = error;
SET queue.autocommit_warning = off;
SET statement_timeout = '10min';
-- nothing below returns because it looked again
SET queue.recheck_interval = '1h';
CREATE FUNCTION pg_temp.fail(delay interval, max_messages int DEFAULT 100) RETURNS bigint[] LANGUAGE sql AS $$
    SELECT array_agg("offset" ORDER BY "offset") FROM (
        SELECT "offset", queue.park('g', 't', partition, "offset", 'bad', 'P0001', delay)
          FROM queue.consume_typed('g', 't', NULL::text, max_messages)) p
$$;
-- A wait that ends before its time has found something.
CREATE FUNCTION pg_temp.waited(begun timestamptz) RETURNS boolean LANGUAGE sql AS $$
    SELECT clock_timestamp() >= begun + '200 ms'
$$;
SELECT queue.create_topic('t', 1, 'text'), queue.create_topic('u', 1, 'text');
SELECT queue.create_group('g', 't'), queue.create_group('g', 'u');
SELECT queue.set_failure_policy('g', 't', hold => 'none');

-- A call that parks a message returns at once: it does not wait with what it has locked.
SELECT (queue.produce('t', 'far', deliver_at => now() + interval '1 day')).offset;
SELECT count(*) FROM queue.consume_typed('g', 't', NULL::text, max_wait => '1 h');
SELECT clock_timestamp() AS begun \gset
SELECT count(*) FROM queue.consume_typed('g', 't', NULL::text, max_wait => '200 ms');
SELECT pg_temp.waited(:'begun');
CALL queue.wait('g', 't', '200 ms');
-- A delayed message: at first it is parked, unless it is due by then.
SELECT (queue.produce('t', 'delayed', deliver_at => clock_timestamp() + interval '1 s')).offset;
SET client_min_messages = notice;
DO $$
DECLARE
    delivered boolean := false;
BEGIN
    FOR i IN 1 .. 2 LOOP
        PERFORM FROM queue.consume_typed('g', 't', NULL::text, max_wait => '1 h');
        delivered := FOUND;
        EXIT WHEN delivered;
    END LOOP;
    RAISE NOTICE 'delivered: %', delivered;
END $$;
SET client_min_messages = error;
SELECT queue.skip_parked('g', 't', 0, 0);
-- One that failed.
SELECT (queue.produce('t', 'failed')).offset;
SELECT pg_temp.fail('1 s');
CALL queue.wait('g', 't', timeout => NULL);
SELECT pg_temp.fail('1 s');
CALL queue.wait_topics('g', ARRAY['u', 't'], timeout => NULL);
SELECT pg_temp.fail('1 s');
SELECT count(*) FROM queue.poll_typed('g', 't', 'm', NULL::text, 0, lease => '1 h');
SELECT value, attempt FROM queue.poll_typed('g', 't', 'm', NULL::text, lease => '1 h', max_wait => '1 h');
SELECT clock_timestamp() AS begun \gset
CALL queue.wait('g', 't', '200 ms');
SELECT pg_temp.waited(:'begun');
SELECT queue.leave('g', 't', 'm');
CALL queue.wait('g', 't', timeout => NULL);
SELECT value, attempt FROM queue.consume_typed('g', 't', NULL::text, max_wait => '1 h');

-- Nothing is due: the wait takes its time.
SELECT queue.set_failure_policy('g', 't', max_attempts => 1);
SELECT (queue.produce('t', 'given up', 'k')).offset;
SELECT pg_temp.fail('0 s');
SELECT due_at FROM queue.parked;
SELECT clock_timestamp() AS begun \gset
CALL queue.wait('g', 't', '200 ms');
SELECT pg_temp.waited(:'begun');
-- Nor does what waits behind it count, once it was parked; a new one of another key does.
SELECT (queue.produce('t', 'behind', 'k')).offset;
SELECT count(*) FROM queue.consume_typed('g', 't', NULL::text);
SELECT clock_timestamp() AS begun \gset
CALL queue.wait('g', 't', '200 ms');
SELECT pg_temp.waited(:'begun');
SELECT (queue.produce('t', 'other', 'l')).offset;
CALL queue.wait('g', 't', timeout => NULL);
SELECT value FROM queue.consume_typed('g', 't', NULL::text);
-- An operator ends the wait.
SELECT queue.retry_parked('g', 't', 0, "offset") FROM queue.parked WHERE due_at = 'infinity';
CALL queue.wait('g', 't', timeout => NULL);
SELECT value FROM queue.consume_typed('g', 't', NULL::text);

-- There are new messages, and none may be read: the partition is held,
SELECT queue.set_failure_policy('g', 't', hold => 'partition');
SELECT count(queue.produce('t', v)) FROM unnest('{bad,new}'::text[]) v;
SELECT pg_temp.fail('1 h', 1);
SELECT lag > 0 AS unread, state FROM queue.consumer_groups WHERE topic = 't';
SELECT clock_timestamp() AS begun \gset
CALL queue.wait('g', 't', '200 ms');
SELECT pg_temp.waited(:'begun');
SELECT queue.skip_parked('g', 't', 0, "offset") FROM queue.parked;
CALL queue.wait('g', 't', timeout => NULL);
SELECT value FROM queue.consume_typed('g', 't', NULL::text);
-- too many are parked,
SELECT queue.set_failure_policy('g', 't', hold => 'none', max_parked => 1);
SELECT count(queue.produce('t', v)) FROM unnest('{bad,new}'::text[]) v;
SELECT pg_temp.fail('1 h', 1);
SELECT lag > 0 AS unread, state FROM queue.consumer_groups WHERE topic = 't';
SELECT clock_timestamp() AS begun \gset
CALL queue.wait('g', 't', '200 ms');
SELECT pg_temp.waited(:'begun');
SELECT queue.skip_parked('g', 't', 0, "offset") FROM queue.parked;
CALL queue.wait('g', 't', timeout => NULL);
SELECT value FROM queue.consume_typed('g', 't', NULL::text);
-- or it is tripped, until the next probe.
SELECT queue.set_failure_policy('g', 't', hold => 'none', backoff => '1 h', backoff_max => '1 h');
SELECT count(queue.produce('t', 'f' || i)) FROM generate_series(1, 21) i;
SELECT array_length(pg_temp.fail('1 h', 20), 1);
CALL queue.wait('g', 't', timeout => NULL);
SELECT count(*) FROM queue.consume_typed('g', 't', NULL::text);
SELECT lag > 0 AS unread, state FROM queue.consumer_groups WHERE topic = 't';
SELECT clock_timestamp() AS begun \gset
CALL queue.wait('g', 't', '200 ms');
SELECT pg_temp.waited(:'begun');
UPDATE queue.progress SET probe_at = clock_timestamp() + interval '1 s' WHERE probe_at IS NOT NULL;
CALL queue.wait('g', 't', timeout => NULL);
SELECT value FROM queue.consume_typed('g', 't', NULL::text);

SELECT queue.drop_topic('t'), queue.drop_topic('u'), queue.drop_group('g');
