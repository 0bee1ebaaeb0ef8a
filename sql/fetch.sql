--
-- queue.fetch: reading from an offset, without a group.
--
\getenv abs_srcdir PG_ABS_SRCDIR
\i :abs_srcdir/sql/include/helpers.sql
SELECT queue.create_topic('f', 2);
SELECT count FROM queue.produce_batch('f', ARRAY(SELECT to_jsonb(n) FROM generate_series(0, 499) n), partition => 1);

SELECT topic, partition, m.offset, "timestamp" <= clock_timestamp() AS "timestamp", key, value, headers
  FROM queue.fetch('f', 1, 0, 2) m;
SELECT m.offset, value FROM queue.fetch('f', 1, 250, max_messages => 3) m;
SELECT m.offset, value FROM queue.fetch('f', 1, 498) m;
SELECT count(*), min(m.offset), max(m.offset) FROM queue.fetch('f', 1, 100) m;
SELECT count(*), min(m.offset), max(m.offset) FROM queue.fetch('f', 1, 0, 2147483647) m;
-- Every offset is found.
SELECT count(*) FROM generate_series(0, 499) o, queue.fetch('f', 1, o, 1) m WHERE m.offset = o AND value = to_jsonb(o);
-- It changes nothing, and may be called again and where nothing may be written.
SELECT m.offset FROM queue.fetch('f', 1, 7, 1) m;
SELECT m.offset FROM queue.fetch('f', 1, 7, 1) m;
BEGIN READ ONLY;
SELECT m.offset FROM queue.fetch('f', 1, 7, 1) m;
COMMIT;
SELECT count(*) FROM queue.consumer_groups WHERE topic = 'f';
-- At the end there is nothing, in an empty partition too.
SELECT count(*) FROM queue.fetch('f', 1, 500);
SELECT count(*) FROM queue.fetch('f', 0, 0);

-- Outside the log: QU001, the detail tells where it is.
SELECT * FROM queue.fetch('f', 1, 501);
SELECT call, pg_temp.error_of('SELECT * FROM queue.fetch(' || call || ')', with_detail => true)
  FROM unnest(ARRAY[
    $$'f', 1, -1$$,
    $$'f', 1, 501$$,
    $$'f', 0, 1$$,
    $$'f', 1, 9223372036854775807$$,
    $$'f', 1, '-9223372036854775808'$$,
    $$'f', 2, 0$$,
    $$'f', -1, 0$$,
    $$'nope', 0, 0$$,
    $$NULL, 0, 0$$,
    $$'f', NULL, 0$$,
    $$'f', 1, NULL$$,
    $$'f', 1, 0, 0$$,
    $$'f', 1, 0, -5$$,
    $$'f', 1, 0, max_messages => NULL$$,
    $$'f', 1, 0, 10, 0$$]) WITH ORDINALITY u(call, n)
 ORDER BY n;

-- max_bytes, as in consume.
SELECT queue.create_topic('fb', 1, 'text');
SELECT count(queue.produce('fb', repeat('x', 100))) FROM generate_series(1, 5);
SELECT max_bytes, (SELECT count(*) FROM queue.fetch_typed('fb', 0, 1, NULL::text, 100, max_bytes))
  FROM unnest(ARRAY[1, 199, 200, 1000]) max_bytes ORDER BY max_bytes;
SELECT (SELECT count(*) FROM queue.fetch('f', 1, 0, 100, 50)) = (SELECT count(*) FROM queue.fetch('f', 1, 0, 100, max_bytes => 50)) AS same;

-- Own messages of an earlier statement are there, rolled back ones are not,
-- and an offset may lie in their gap.
BEGIN;
SELECT "offset" FROM queue.produce('fb', 'mine');
SELECT m.offset, value FROM queue.fetch_typed('fb', 0, 5, NULL::text) m;
ROLLBACK;
SELECT "offset" FROM queue.produce('fb', 'next');
SELECT m.offset, value FROM queue.fetch_typed('fb', 0, 5, NULL::text) m;

-- The ends of a partition.
SELECT queue.log_start('fb', 0), queue.stable_end('fb', 0), queue.log_end('fb', 0);
SELECT queue.log_start('f', 0), queue.stable_end('f', 0), queue.log_end('f', 0);
SELECT queue.log_end(NULL, 0), queue.stable_end('f', NULL);
SELECT call, pg_temp.error_of('SELECT queue.' || call, with_detail => true)
  FROM unnest(ARRAY[$$log_start('nope', 0)$$, $$stable_end('f', 2)$$, $$log_end('f', -1)$$]) WITH ORDINALITY u(call, n)
 ORDER BY n;
SELECT queue.drop_topic('f');
SELECT queue.drop_topic('fb');
