--
-- Batches with sequences: partial duplicates, many partitions, watermarks.
--
\getenv abs_srcdir PG_ABS_SRCDIR
\i :abs_srcdir/sql/include/helpers.sql
\set SHOW_CONTEXT never
SELECT queue.create_topic('b', 1, 'int');
-- Values are sequences, so that each message tells what it is.
CREATE FUNCTION pg_temp.send(id text, first bigint, last bigint, epoch int DEFAULT 0) RETURNS SETOF queue.produce_batch_result
LANGUAGE sql AS $$
SELECT * FROM queue.produce_batch('b', ARRAY(SELECT n::int FROM generate_series(first, last) n),
                                  producer_id => id, first_sequence => first, epoch => epoch)
$$;

-- A retried batch that is cut differently: exactly the known ones are skipped.
SELECT * FROM pg_temp.send('a', 1, 100);
SELECT * FROM pg_temp.send('a', 51, 150);
SELECT * FROM pg_temp.send('a', 1, 150);
SELECT * FROM pg_temp.send('a', 150, 150);
SELECT * FROM pg_temp.send('a', 100, 151);
SELECT count(*), min(value), max(value), count(*) FILTER (WHERE value <> "offset" + 1) AS misplaced FROM topic.b;
-- produce and produce_batch are one counter.
SELECT "offset", duplicate FROM queue.produce('b', 151, producer_id => 'a', sequence => 151);
SELECT "offset", duplicate FROM queue.produce('b', 152, producer_id => 'a', sequence => 152);
SELECT * FROM pg_temp.send('a', 150, 154);
-- A gap, behind the last and before the first; nothing of the batch is stored.
SELECT * FROM pg_temp.send('a', 156, 160);
SELECT * FROM pg_temp.send('a', 0, 160);
SELECT max(value), count(*) FROM topic.b;

-- The messages of others lie between; the result's range spans them.
SELECT * FROM pg_temp.send('x', 1, 3);
SELECT * FROM pg_temp.send('y', 1, 2);
SELECT * FROM pg_temp.send('x', 2, 5);
SELECT * FROM pg_temp.send('x', 4, 4);
SELECT * FROM pg_temp.send('y', 1, 3);
-- What the duplicates bring along is not looked at, the others' values are.
SELECT count, duplicates FROM queue.produce_batch('b', '{3,x}'::text, producer_id => 'y', first_sequence => 3);
SELECT count, duplicates FROM queue.produce_batch('b', ARRAY[NULL, 4], producer_id => 'y', first_sequence => 3);
SELECT count, duplicates FROM queue.produce_batch('b', ARRAY[4, NULL], producer_id => 'y', first_sequence => 4);

-- A higher epoch restarts the sequence.
SELECT * FROM pg_temp.send('x', 5, 7, 2);
SELECT * FROM pg_temp.send('x', 5, 8, 2);
SELECT * FROM pg_temp.send('x', 8, 9, 1);

-- Given one by one: strict wants them without gaps, monotonic allows gaps.
SELECT count, duplicates FROM queue.produce_batch('b', ARRAY[1, 2], producer_id => 'one by one', sequences => ARRAY[5, 6]);
SELECT * FROM queue.produce_batch('b', ARRAY[1, 2], producer_id => 'one by one', sequences => ARRAY[7, 9]);
SELECT * FROM queue.produce_batch('b', ARRAY[1, 2], producer_id => 'new one', sequences => ARRAY[7, 9]);
SELECT count, duplicates FROM queue.produce_batch('b', ARRAY[1, 2, 3], producer_id => 'one by one', sequences => ARRAY[5, 6, 7]);
SELECT queue.create_producer('b', 'scn', sequence_mode => 'monotonic');
SELECT * FROM queue.produce_batch('b', ARRAY[10, 20, 25], producer_id => 'scn', sequences => ARRAY[10, 20, 25]);
SELECT * FROM queue.produce_batch('b', ARRAY[20, 25, 40, 41], producer_id => 'scn', sequences => '{20,25,40,41}');
SELECT * FROM queue.produce_batch('b', ARRAY[10, 41], producer_id => 'scn', sequences => '{10,41}');
SELECT * FROM queue.produce_batch('b', ARRAY[10, 11, 20], producer_id => 'scn', sequences => '{10,11,20}');
SELECT * FROM queue.produce_batch('b', ARRAY[40, 41, 42], producer_id => 'scn', first_sequence => 40);
SELECT last_sequence, accepted, duplicates, gaps FROM queue.producers WHERE topic = 'b' AND producer_id = 'scn';

-- As far apart as can be, within a batch and within a pruned row.
SELECT queue.create_producer('b', 'far', sequence_mode => 'monotonic');
SELECT count FROM queue.produce_batch('b', ARRAY[1, 2, 3], producer_id => 'far', sequences => '{0,4611686018427387904,9223372036854775804}');
SELECT queue.prune_producers('b') > 0 AS pruned;
SELECT count FROM queue.produce_batch('b', ARRAY[4], producer_id => 'far', sequences => '{9223372036854775805}');
SELECT count FROM queue.produce_batch('b', ARRAY[5], producer_id => 'far', sequences => '{9223372036854775806}');
SELECT queue.prune_producers('b');
SELECT first_offset = (SELECT "offset" FROM topic.b WHERE value = 1 ORDER BY "offset" DESC LIMIT 1) AS first, last_offset - first_offset AS span, count, duplicates
  FROM queue.produce_batch('b', ARRAY[1, 2, 3, 4, 5], producer_id => 'far', sequences => '{0,4611686018427387904,9223372036854775804,9223372036854775805,9223372036854775806}');
SELECT n, pg_temp.error_of(format('SELECT * FROM queue.produce_batch(%L, ARRAY[1], producer_id => %L, first_sequence => %s)', 'b', 'far', n))
  FROM unnest(ARRAY[1, 4611686018427387903, 4611686018427387905, 9223372036854775803]) n;

-- A batch spread over many partitions, twice cut: each sequence keeps its place.
SELECT queue.create_topic('wide', 16, 'int');
SELECT sum(count) FROM queue.produce_batch('wide', ARRAY(SELECT generate_series(1, 1000)),
  ARRAY(SELECT 'key ' || n % 97 FROM generate_series(1, 1000) n), producer_id => 'w', first_sequence => 1);
SELECT sum(count) FROM queue.produce_batch('wide', ARRAY(SELECT generate_series(-500, -1)),
  ARRAY(SELECT 'key ' || n % 97 FROM generate_series(1, 500) n));
SELECT queue.alter_topic('wide', 23);
SELECT sum(count) AS count, sum(duplicates) AS duplicates FROM queue.produce_batch('wide', ARRAY(SELECT generate_series(701, 1700)),
  ARRAY(SELECT 'key ' || n % 97 FROM generate_series(701, 1700) n), producer_id => 'w', first_sequence => 701);
-- Keys and headers stay with their values.
SELECT count(*) FILTER (WHERE key <> 'key ' || abs(value) % 97) AS wrong FROM topic.wide WHERE value > 0;
SELECT sum(count) AS count, sum(duplicates) AS duplicates FROM queue.produce_batch('wide', ARRAY[1699, 1700, 1701, 1702],
  ARRAY['x', 'x', 'k1701', NULL], ARRAY['{"n": 1699}', NULL, NULL, '{"n": 1702}']::jsonb[], producer_id => 'w', first_sequence => 1699);
SELECT value, key, headers FROM topic.wide WHERE value > 1700 ORDER BY value;
SELECT count(*), count(DISTINCT t.partition) AS partitions,
       count(*) FILTER (WHERE r.duplicate IS NOT TRUE OR t.value IS DISTINCT FROM n) AS wrong
  FROM generate_series(1, 1702) n
 CROSS JOIN LATERAL queue.produce('wide', 0, 'another key', producer_id => 'w', sequence => n) r
  LEFT JOIN topic.wide t ON t.partition = r.partition AND t."offset" = r."offset";
-- The rows per partition tell the same of the whole batch.
CREATE TEMP TABLE again AS
SELECT * FROM queue.produce_batch('wide', ARRAY(SELECT generate_series(1, 1702)), producer_id => 'w', first_sequence => 1);
SELECT count(*), count(*) FILTER (WHERE (a.first_offset, a.last_offset, a.count, a.duplicates)
                              IS DISTINCT FROM (t.first_offset, t.last_offset, 0, t.messages)) AS wrong
  FROM (SELECT partition, min("offset") AS first_offset, max("offset") AS last_offset, count(*) AS messages
          FROM topic.wide WHERE value > 0 GROUP BY partition) t
  FULL JOIN again a USING (partition);
SELECT count(*) FROM topic.wide;

-- Watermarks: stored with the batch, with an empty one too, kept by calls
-- without one, left alone by a call of duplicates only.
CREATE FUNCTION pg_temp.state(id text) RETURNS text LANGUAGE sql AS
$$ SELECT concat_ws(' ', 'epoch', epoch, 'last', last_sequence, 'at', "offset", 'watermark', watermark) FROM queue.producer_state('b', id) $$;
SELECT count FROM queue.produce_batch('b', ARRAY[1, 2], producer_id => 'm', first_sequence => 1, watermark => '{"file": "a", "line": 2}');
SELECT pg_temp.state('m') AS stored;
SELECT count FROM pg_temp.send('m', 3, 4);
SELECT pg_temp.state('m') AS "kept";
SELECT count, duplicates FROM queue.produce_batch('b', ARRAY[3, 4], producer_id => 'm', first_sequence => 3, watermark => '"behind"');
SELECT duplicate FROM queue.produce('b', 3, producer_id => 'm', sequence => 3);
SELECT pg_temp.state('m') AS left_alone;
SELECT count, duplicates FROM queue.produce_batch('b', ARRAY[4, 5], producer_id => 'm', first_sequence => 4, watermark => '{"file": "b", "line": 1}');
SELECT pg_temp.state('m') AS moved;
SELECT * FROM queue.produce_batch('b', ARRAY[]::int[], producer_id => 'm', watermark => '"nothing to send"');
SELECT pg_temp.state('m') AS alone;
SELECT * FROM queue.produce_batch('b', '{}'::text, producer_id => 'm', first_sequence => 999, watermark => '"alone again"');
SELECT pg_temp.state('m') AS alone;
SELECT count FROM queue.produce_batch('b', ARRAY[6], producer_id => 'm', first_sequence => 6, watermark => 'null');
SELECT pg_temp.state('m') AS json_null;
BEGIN;
SELECT count FROM queue.produce_batch('b', ARRAY[7], producer_id => 'm', first_sequence => 7, watermark => '"undone"');
ROLLBACK;
SELECT pg_temp.state('m') AS rolled_back;
SELECT queue.fence_producer('b', 'm'), pg_temp.state('m') AS fenced;
SELECT * FROM queue.produce_batch('b', '{}'::text, producer_id => 'm', watermark => '"zombie"');
SELECT * FROM queue.produce_batch('b', '{}'::text, producer_id => 'm', epoch => 3, watermark => '"restart"');
SELECT pg_temp.state('m') AS restarted;
SELECT count FROM pg_temp.send('m', 1, 1, 3);
SELECT pg_temp.state('m') AS restarted;
-- A producer that has stored nothing else.
SELECT * FROM queue.produce_batch('b', '{}'::text, producer_id => 'only', watermark => '{"begin": 0}');
SELECT pg_temp.state('only'), produced_at IS NULL AS nothing_yet FROM queue.producer_state('b', 'only');
SELECT count FROM pg_temp.send('only', 12, 13);
SELECT pg_temp.state('only');
-- An empty batch without a watermark is nothing at all.
SELECT * FROM queue.produce_batch('b', '{}'::text, producer_id => 'nobody', first_sequence => 1);
SELECT * FROM queue.produce_batch('b', '{}'::text, producer_id => 'nobody');
SELECT count(*) FROM queue.producers WHERE producer_id = 'nobody';
-- A large one.
SELECT count FROM queue.produce_batch('b', ARRAY[14], producer_id => 'only', first_sequence => 14,
  watermark => (SELECT jsonb_agg(md5(n::text)) FROM generate_series(1, 1000) n));
SELECT count FROM pg_temp.send('only', 15, 15);
SELECT jsonb_array_length(watermark), watermark->>999 = md5('1000') AS whole FROM queue.producer_state('b', 'only');

-- Bad input.
SELECT call, pg_temp.error_of('SELECT * FROM queue.produce_batch(' || call || ')')
  FROM unnest(ARRAY[
    $$'nope', ARRAY[1], producer_id => 'e', first_sequence => 1$$,
    $$'b', ARRAY[1], producer_id => 'e'$$,
    $$'b', ARRAY[1], first_sequence => 1$$,
    $$'b', ARRAY[1], sequences => ARRAY[1]$$,
    $$'b', ARRAY[1], watermark => '1'$$,
    $$'b', ARRAY[]::int[], watermark => '1'$$,
    $$'b', ARRAY[1], producer_id => 'e', watermark => '1'$$,
    $$'b', ARRAY[1], producer_id => 'e', first_sequence => 1, sequences => ARRAY[1]$$,
    $$'b', ARRAY[1], producer_id => '', first_sequence => 1$$,
    $$'b', ARRAY[1], producer_id => repeat('e', 256), first_sequence => 1$$,
    $$'b', ARRAY[1], producer_id => 'e', first_sequence => 1, epoch => NULL$$,
    $$'b', ARRAY[1], producer_id => 'e', first_sequence => 1, epoch => -1$$,
    $$'b', ARRAY[1], producer_id => 'e', first_sequence => -1$$,
    $$'b', ARRAY[1], producer_id => 'e', first_sequence => 9223372036854775807$$,
    $$'b', ARRAY[1, 2], producer_id => 'e', first_sequence => 9223372036854775806$$,
    $$'b', ARRAY[1], producer_id => 'e', sequences => ARRAY[-1]$$,
    $$'b', ARRAY[1], producer_id => 'e', sequences => ARRAY[9223372036854775807]$$,
    $$'b', ARRAY[1, 2], producer_id => 'e', sequences => ARRAY[2, 1]$$,
    $$'b', ARRAY[1, 2], producer_id => 'e', sequences => ARRAY[2, 2]$$,
    $$'b', ARRAY[1, 2], producer_id => 'e', sequences => ARRAY[1, NULL]$$,
    $$'b', ARRAY[1, 2], producer_id => 'e', sequences => ARRAY[1]$$,
    $$'b', ARRAY[1, 2], producer_id => 'e', sequences => ARRAY[1, 2, 3]$$,
    $$'b', ARRAY[1, 2], producer_id => 'e', sequences => '{}'$$,
    $$'b', ARRAY[1, 2], producer_id => 'e', sequences => ARRAY[ARRAY[1], ARRAY[2]]$$]) WITH ORDINALITY u(call, n)
 ORDER BY n;
SELECT count(*) FROM queue.producers WHERE length(producer_id) NOT BETWEEN 1 AND 255 OR producer_id LIKE 'e%';
-- The largest sequences.
SELECT count FROM queue.produce_batch('b', ARRAY[1, 2], producer_id => 'e', first_sequence => 9223372036854775805);
SELECT count, duplicates FROM queue.produce_batch('b', ARRAY[1, 2], producer_id => 'e', first_sequence => 9223372036854775805);
SELECT count FROM queue.produce_batch('b', ARRAY[1, 2], producer_id => repeat('e', 255), sequences => '{0,1}');

SELECT queue.drop_topic('b');
SELECT queue.drop_topic('wide');
