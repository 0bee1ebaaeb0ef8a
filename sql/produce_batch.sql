--
-- queue.produce_batch: many messages in one call.
--
\getenv abs_srcdir PG_ABS_SRCDIR
\i :abs_srcdir/sql/include/helpers.sql
SELECT queue.create_topic('b', partitions => 4, value_type => 'text');

-- Without keys: all of it in one partition, in order; the next batch elsewhere.
SELECT partition FROM queue.produce_batch('b', ARRAY['x']) \gset
SELECT (partition - :partition + 4) % 4 AS step, first_offset, last_offset, count
  FROM queue.produce_batch('b', ARRAY['a', 'b', 'c']);
SELECT string_agg(value, ' ' ORDER BY "offset") FROM topic.b WHERE partition = (:partition + 1) % 4;

-- With keys: each to its partition, a row of the result for each.
CREATE TEMP TABLE result AS
SELECT * FROM queue.produce_batch('b',
	ARRAY(SELECT n::text FROM generate_series(1, 1000) n),
	ARRAY(SELECT 'key-' || n % 50 FROM generate_series(1, 1000) n));
SELECT count(*) AS rows, sum(count), count(DISTINCT partition) AS partitions,
       bool_and(last_offset - first_offset + 1 = count) AS contiguous FROM result;
SELECT count(*) FROM result r
 WHERE count <> (SELECT count(*) FROM generate_series(1, 1000) n
                  WHERE queue.partition_for_key('key-' || n % 50, 4) = r.partition);
SELECT count(*) FROM topic.b WHERE key IS NOT NULL AND partition <> queue.partition_for_key(key, 4);
-- Order of the array kept within each key, even within each partition.
SELECT count(*), count(*) FILTER (WHERE value::int < before) AS disordered
  FROM (SELECT value, lag(value::int) OVER (PARTITION BY partition ORDER BY "offset") AS before
          FROM topic.b WHERE key IS NOT NULL) o;

-- Some keys NULL: those go to one partition together.
SELECT sum(count) FROM queue.produce_batch('b', ARRAY['n1', 'k1', 'n2', 'k2', 'n3'],
	ARRAY[NULL, 'one', NULL, 'two', NULL]);
SELECT count(DISTINCT partition) AS partitions, string_agg(value, ' ' ORDER BY "offset")
  FROM topic.b WHERE value LIKE 'n%';
SELECT key, value, partition = queue.partition_for_key(key, 4) AS right FROM topic.b WHERE value LIKE 'k%' ORDER BY key;

-- Explicit partition, over keys too; headers, some absent; tombstones.
SELECT log_end FROM queue.partitions WHERE topic = 'b' AND partition = 3 \gset
SELECT partition, first_offset - :log_end AS first, last_offset - :log_end AS last, count
  FROM queue.produce_batch(topic => 'b', batch => ARRAY['h1', 'h2', NULL, ''],
	keys => ARRAY['one', NULL, 'two', ''], headers => ARRAY['{"a": 1}', NULL, '{}', NULL]::jsonb[], partition => 3);
SELECT key, value, headers FROM topic.b WHERE partition = 3 AND "offset" >= :log_end ORDER BY "offset";

-- Untyped literals and parameters are text[].
SELECT count FROM queue.produce_batch('b', '{l1,l2}');
SELECT sum(count) FROM queue.produce_batch('b', '{l3,NULL,"l 5"}', '{k,k,NULL}');
PREPARE batch AS SELECT sum(count) FROM queue.produce_batch('b', $1, $2);
EXECUTE batch('{p1,p2}', '{k,l}');
EXECUTE batch(ARRAY['p3'], NULL);
DEALLOCATE batch;
SELECT count(*), count(*) FILTER (WHERE value IS NULL) AS tombstones FROM topic.b WHERE value ~ '^[lp] ?[0-9]' OR (key = 'k' AND value IS NULL);

-- Nothing to do.
BEGIN;
SELECT * FROM queue.produce_batch('b', ARRAY[]::text[]);
SELECT * FROM queue.produce_batch('b', '{}', '{}', '{}', 1);
SELECT pg_current_xact_id_if_assigned() IS NULL AS no_xid;
COMMIT;

-- An array may be numbered from anywhere.
SELECT count FROM queue.produce_batch('b', '[5:6]={s,t}', '[0:1]={k,k}');

CREATE TEMP TABLE before AS SELECT partition, log_end FROM queue.partitions WHERE topic = 'b';
SELECT call, pg_temp.error_of('SELECT queue.produce_batch(' || call || ')')
  FROM unnest(ARRAY[
    $$'nope', ARRAY['a']$$,
    $$NULL, ARRAY['a']$$,
    $$'b', NULL$$,
    $$'b', NULL::text[]$$,
    $$'b', NULL::int[]$$,
    $$'b', '{a'$$,
    $$'b', 'a'$$,
    $$'b', ARRAY['a', NULL]$$,
    $$'b', ARRAY['a', NULL], ARRAY['k', NULL]$$,
    $$'b', ARRAY['a', 'b'], ARRAY['k']$$,
    $$'b', ARRAY['a'], ARRAY['k', 'l']$$,
    $$'b', ARRAY['a'], ARRAY[]::text[]$$,
    $$'b', ARRAY[]::text[], ARRAY['k']$$,
    $$'b', ARRAY['a', 'b'], NULL, ARRAY['{}']::jsonb[]$$,
    $$'b', ARRAY['a', 'b'], NULL, ARRAY['{}', '[]']::jsonb[]$$,
    $$'b', ARRAY[['a', 'b'], ['c', 'd']]$$,
    $$'b', ARRAY['a', 'b'], ARRAY[['k', 'l']]$$,
    $$'b', ARRAY['a', 'b'], NULL, ARRAY[['{}', '{}']]::jsonb[]$$,
    $$'b', ARRAY['a'], partition => 4$$,
    $$'b', ARRAY['a'], partition => -1$$,
    $$'b', ARRAY[]::text[], partition => 4$$]) WITH ORDINALITY u(call, n)
 ORDER BY n;
SELECT queue.produce_batch('b', ARRAY['a', 'b'], ARRAY['k']);
BEGIN READ ONLY;
SELECT queue.produce_batch('b', ARRAY['a']);
ROLLBACK;
-- All or nothing.
SELECT partition, p.log_end - b.log_end AS added
  FROM queue.partitions p JOIN before b USING (partition) WHERE topic = 'b' ORDER BY partition;
SELECT queue.drop_topic('b');

-- Large batches go in as one: no gap, no other order.
SELECT queue.create_topic('large', 1, 'int');
SELECT * FROM queue.produce_batch('large', ARRAY(SELECT generate_series(0, 24999)));
SELECT * FROM queue.produce_batch('large', ARRAY(SELECT generate_series(25000, 25999)::text));
SELECT count(*), count(*) FILTER (WHERE value <> "offset") AS misplaced FROM topic.large;
SELECT count(*) FROM (SELECT "timestamp" < lag("timestamp") OVER (ORDER BY "offset") AS back FROM topic.large) t WHERE back;
-- One bad value among many, at the end: none of them is stored.
SELECT queue.produce_batch('large', ARRAY(SELECT n::text FROM generate_series(1, 5000) n) || 'x'::text);
SELECT count(*), queue.log_end('large', 0) FROM topic.large;
-- Many partitions at once.
SELECT queue.alter_topic('large', 50);
SELECT count(*), sum(count), min(partition), max(partition), max(first_offset) FILTER (WHERE partition > 0)
  FROM queue.produce_batch('large', ARRAY(SELECT generate_series(1, 2000)), ARRAY(SELECT generate_series(1, 2000)::text));
SELECT queue.drop_topic('large');
