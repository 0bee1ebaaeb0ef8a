--
-- queue.consume: limits, choice and rotation of partitions, several groups.
--
\getenv abs_srcdir PG_ABS_SRCDIR
\i :abs_srcdir/sql/include/helpers.sql
SELECT queue.create_topic('c');
SELECT count(queue.produce('c', to_jsonb(n), key => 'k' || n, headers => jsonb_build_object('h', n))) FROM generate_series(0, 9) n;

-- All columns; each call goes on where the last one ended.
SELECT topic, partition, m.offset, "timestamp" <= clock_timestamp() AS "timestamp", key, value, headers
  FROM queue.consume('g', 'c', max_messages => 2) m;
SELECT m.offset, value FROM queue.consume('g', 'c', 3) m;
SELECT consumer_group, topic, partition, current_offset, log_end_offset, lag FROM queue.consumer_groups;
SELECT m.offset, value FROM queue.consume(consumer_group => 'g', topic => 'c') m;
SELECT * FROM queue.consume('g', 'c');
SELECT count(queue.produce('c', to_jsonb(n))) FROM generate_series(10, 12) n;
SELECT m.offset, value FROM queue.consume('g', 'c') m;
-- 100 a call unless told otherwise.
SELECT sum(count) FROM queue.produce_batch('c', ARRAY(SELECT to_jsonb(n) FROM generate_series(13, 262) n));
SELECT count(*), min(m.offset), max(m.offset) FROM queue.consume('g', 'c') m;
SELECT count(*), min(m.offset), max(m.offset) FROM queue.consume('g', 'c') m;
SELECT count(*), min(m.offset), max(m.offset) FROM queue.consume('g', 'c') m;
-- Large calls, over many pages.
SELECT count(*), min(m.offset), max(m.offset), count(*) FILTER (WHERE value <> to_jsonb(m.offset)) AS wrong
  FROM queue.consume('other', 'c', 2147483647) m;

-- Rolled back: given back at once, also to a savepoint.
BEGIN;
SELECT count(*) FROM queue.consume('again', 'c', 5);
ROLLBACK;
SELECT count(*) FROM queue.consumer_groups WHERE consumer_group = 'again';
BEGIN;
SELECT m.offset FROM queue.consume('again', 'c', 2) m;
SAVEPOINT s;
SELECT m.offset FROM queue.consume('again', 'c', 2) m;
ROLLBACK TO s;
SELECT m.offset FROM queue.consume('again', 'c', 3) m;
COMMIT;
SELECT current_offset FROM queue.consumer_groups WHERE consumer_group = 'again';

-- max_bytes: of keys, values and headers, uncompressed; at least one message.
SELECT queue.create_topic('bytes', 1, 'text');
SELECT count(queue.produce('bytes', repeat('x', 90), key => '1234567890')) FROM generate_series(1, 5) n;
SELECT max_bytes, (SELECT count(*) FROM queue.consume_typed('b' || max_bytes, 'bytes', NULL::text, 100, max_bytes))
  FROM unnest(ARRAY[1, 99, 100, 199, 200, 250, 300, 499, 500, 2147483647]) max_bytes ORDER BY max_bytes;
SELECT count(*) FROM queue.consume_typed('both', 'bytes', NULL::text, max_messages => 2, max_bytes => 300);
SELECT count(*) FROM queue.consume_typed('both', 'bytes', NULL::text, max_messages => 5, max_bytes => 200);
SELECT count(*) FROM queue.consume('limited', 'c', 10, 3);
-- Values that compress well count as what they are.
SELECT count(queue.produce('bytes', repeat('y', 100000))) FROM generate_series(1, 4) n;
SELECT count(*) FROM queue.consume_typed('both', 'bytes', NULL::text, 100, 250000);
SELECT count(*) FROM queue.consume_typed('both', 'bytes', NULL::text, 100, 250000);

-- Partitions: one a call, in turn; none starves, none is read twice.
SELECT queue.create_topic('four', 4);
SELECT sum(count) FROM generate_series(0, 3) p,
	queue.produce_batch('four', ARRAY(SELECT to_jsonb(n) FROM generate_series(0, 9) n), partition => p);
SELECT count(DISTINCT partition) AS partitions, count(*) FROM queue.consume('turn', 'four', 100);
CREATE TEMP TABLE got (turn int, partition int, "offset" bigint);
DO $$
BEGIN
	FOR turn IN 1..12 LOOP
		INSERT INTO got SELECT turn, m.partition, m.offset FROM queue.consume('fair', 'four', 2) m;
		COMMIT;
	END LOOP;
END $$;
SELECT partition, count(DISTINCT turn) AS calls, count(*), max("offset") FROM got GROUP BY partition ORDER BY partition;
-- A busy partition does not keep the others waiting.
SELECT count FROM queue.produce_batch('four', ARRAY(SELECT to_jsonb(n) FROM generate_series(10, 2000) n), partition => 2);
TRUNCATE got;
DO $$
BEGIN
	FOR turn IN 1..8 LOOP
		INSERT INTO got SELECT turn, m.partition, m.offset FROM queue.consume('fair', 'four', 4) m;
		COMMIT;
	END LOOP;
END $$;
SELECT partition, count(*) AS messages FROM got GROUP BY partition ORDER BY partition;

-- Only the partitions asked for.
SELECT partition, count(*), max(m.offset) FROM queue.consume('some', 'four', 3, partitions => ARRAY[1]) m GROUP BY partition;
SELECT partition, count(*), max(m.offset) FROM queue.consume('some', 'four', 100, NULL, ARRAY[1, 1]) m GROUP BY partition;
SELECT partition, count(*) FROM queue.consume('some', 'four', partitions => ARRAY[1]) GROUP BY partition;
SELECT partition, count(*) FROM queue.consume('some', 'four', partitions => ARRAY[1, 3]) GROUP BY partition;
SELECT count(*) FROM queue.consume('some', 'four', partitions => '{}');
SELECT partition, current_offset, lag FROM queue.consumer_groups WHERE consumer_group = 'some' ORDER BY partition;

-- Groups do not know each other.
SELECT consumer_group, sum(current_offset) FROM queue.consumer_groups WHERE topic = 'c' GROUP BY 1 ORDER BY 1;
SELECT count(*) FROM queue.consume('fair', 'c', 7);
SELECT topic, count(*) FROM queue.consumer_groups WHERE consumer_group = 'fair' GROUP BY topic ORDER BY topic;

-- An empty call makes no group.
SELECT queue.create_topic('empty', 3);
SELECT count(*) FROM queue.consume('nobody', 'empty');
SELECT count(*) FROM queue.consume('nobody', 'c', partitions => '{}');
SELECT count(*) FROM queue.consumer_group WHERE name = 'nobody';
SELECT queue.drop_topic('empty');

SELECT call, pg_temp.error_of('SELECT * FROM queue.consume(' || call || ')')
  FROM unnest(ARRAY[
    $$'g', 'nope'$$,
    $$NULL, 'c'$$,
    $$'g', NULL$$,
    $$'', 'c'$$,
    $$repeat('g', 256), 'c'$$,
    $$'g', 'c', 0$$,
    $$'g', 'c', -1$$,
    $$'g', 'c', max_messages => NULL$$,
    $$'g', 'c', 10, 0$$,
    $$'g', 'c', 10, -1$$,
    $$'g', 'c', partitions => ARRAY[1]$$,
    $$'g', 'c', partitions => ARRAY[0, -1]$$,
    $$'g', 'c', partitions => ARRAY[0, NULL]$$,
    $$'g', 'c', partitions => ARRAY[[0], [0]]$$]) WITH ORDINALITY u(call, n)
 ORDER BY n;
BEGIN READ ONLY;
SELECT * FROM queue.consume('g', 'c');
ROLLBACK;

SELECT queue.drop_topic(t) FROM unnest(ARRAY['c', 'bytes', 'four']) t;
