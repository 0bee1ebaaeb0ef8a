--
-- queue.produce: one message.
--
\getenv abs_srcdir PG_ABS_SRCDIR
\i :abs_srcdir/sql/include/helpers.sql
SELECT queue.create_topic('p', partitions => 4);

-- Result: where it lies. Every argument, by position and by name.
SELECT partition, "offset", "timestamp" BETWEEN now() AND clock_timestamp() AS "timestamp"
  FROM queue.produce('p', '{"n": 1}', 'k', '{"h": 1}', 2);
SELECT partition, "offset"
  FROM queue.produce(topic => 'p', value => '{"n": 2}', key => 'k', headers => '{"h": 2}', partition => 2);
SELECT partition, "offset" FROM queue.produce(partition => 2, value => '{"n": 3}', topic => 'p');
SELECT partition, "offset", key, value, headers FROM topic.p;

-- Offsets of a partition are its own.
SELECT partition, "offset" FROM queue.produce('p', '0', partition => 0);
SELECT partition, "offset" FROM queue.produce('p', '0', partition => 2);

-- The key chooses the partition, always the same; the argument overrides it.
SELECT queue.partition_for_key('customer-7', 4);
SELECT partition FROM queue.produce('p', '1', key => 'customer-7');
SELECT partition FROM queue.produce('p', '2'::jsonb, key => 'customer-7');
SELECT partition FROM queue.produce('p', '3', key => 'customer-7', partition => 1);
SELECT queue.partition_for_key('', 4), partition FROM queue.produce('p', '4', key => '');

-- Without key and partition: round robin.
CREATE TEMP TABLE robin AS
SELECT n, (queue.produce('p', 'null')).partition FROM generate_series(1, 12) n;
SELECT partition, count(*) FROM robin GROUP BY partition ORDER BY partition;
SELECT count(*) FROM (SELECT partition - lag(partition) OVER (ORDER BY n) AS step FROM robin) s
 WHERE step NOT IN (1, -3);

-- NULL: a tombstone needs a key. JSON null is a value.
SELECT "offset" IS NOT NULL AS stored FROM queue.produce('p', NULL, key => 'dead');
SELECT "offset" IS NOT NULL AS stored FROM queue.produce('p', NULL::jsonb, key => 'dead');
SELECT key, value IS NULL AS tombstone, headers FROM topic.p WHERE key = 'dead';
SELECT queue.produce('p', NULL);
-- Headers are an object, or absent.
SELECT "offset" IS NOT NULL AS stored FROM queue.produce('p', '{}', key => 'h', headers => '{}');
SELECT key, value, headers FROM topic.p WHERE key = 'h';

-- Bad arguments.
CREATE TEMP TABLE before AS SELECT partition, log_end FROM queue.partitions WHERE topic = 'p';
SELECT call, left(pg_temp.error_of('SELECT queue.produce(' || call || ')'), 107) AS error_of
  FROM unnest(ARRAY[
    $$'nope', '1'$$,
    $$'', '1'$$,
    $$'P', '1'$$,
    $$repeat('p', 64), '1'$$,
    $$repeat('p', 5000), '1'$$,
    $$'p"; DROP TABLE queue.topic; --', '1'$$,
    $$NULL, '1'$$,
    $$'p', NULL::jsonb$$,
    $$'p', NULL, NULL, '{}', 0$$,
    $$'p', '1', 'k', '[]'$$,
    $$'p', '1', 'k', '"h"'$$,
    $$'p', '1', 'k', 'null'$$,
    $$'p', '1', 'k', '{'$$,
    $$'p', '1', partition => -1$$,
    $$'p', '1', partition => 4$$,
    $$'p', '1', key => 'k', partition => 2147483647$$]) WITH ORDINALITY u(call, n)
 ORDER BY n;
SELECT queue.produce('p', '1', partition => 4);
BEGIN READ ONLY;
SELECT queue.produce('p', '1');
ROLLBACK;
-- Nothing was stored.
SELECT partition, p.log_end - b.log_end AS added
  FROM queue.partitions p JOIN before b USING (partition) WHERE topic = 'p' ORDER BY partition;
SELECT queue.drop_topic('p');

-- Many calls in one statement and in one transaction: the order of the calls.
SELECT queue.create_topic('q', 1, 'text');
SELECT count(queue.produce('q', n::text, key => (n % 7)::text)) FROM generate_series(1, 2000) n;
BEGIN;
SELECT count(p.*) FROM generate_series(2001, 2500) n, queue.produce('q', n::text) p;
SELECT count(p.*) FROM generate_series(2501, 3000) n, LATERAL queue.produce('q', n::text) p;
COMMIT;
SELECT count(*), min("offset"), max("offset"), count(*) FILTER (WHERE value::int <> "offset" + 1) AS misplaced FROM topic.q;
-- Time does not go backwards.
SELECT count(*) FROM (SELECT "timestamp" < lag("timestamp") OVER (ORDER BY "offset") AS back FROM topic.q) t WHERE back;

-- What was rolled back leaves a gap, never a message.
BEGIN;
SELECT "offset" FROM queue.produce('q', 'undone');
ROLLBACK;
SELECT "offset" > 3000 AS behind_the_gap FROM queue.produce('q', 'done');
SELECT value FROM topic.q WHERE "offset" >= 3000;

-- From PL/pgSQL, a prepared statement, a function.
DO $$
DECLARE
	r queue.produce_result;
	o bigint;
BEGIN
	r := queue.produce('q', 'a');
	o := r.offset;
	SELECT * INTO r FROM queue.produce('q', 'b');
	IF r.offset <> o + 1 THEN
		RAISE 'offset % follows %', r.offset, o;
	END IF;
END $$;
PREPARE put(text) AS SELECT partition FROM queue.produce('q', $1);
EXECUTE put('c');
EXECUTE put('d');
CREATE FUNCTION pg_temp.put(text) RETURNS int LANGUAGE sql AS $$ SELECT (queue.produce('q', $1)).partition $$;
SELECT pg_temp.put('e');
SELECT value FROM topic.q WHERE "offset" > 3000 ORDER BY "offset" OFFSET 1;
DEALLOCATE put;
SELECT queue.drop_topic('q');
