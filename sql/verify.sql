--
-- queue.verify: no row for a log that keeps its rules, whatever was done to it.
--
\getenv abs_srcdir PG_ABS_SRCDIR
\i :abs_srcdir/sql/include/helpers.sql
SELECT queue.create_topic('v', 2, 'text', segment_messages => 100);
SELECT log FROM queue.topic WHERE name = 'v' \gset
SELECT * FROM queue.verify('v');
-- Bursts, rollbacks, savepoints, large values, an index, VACUUM of every kind.
SELECT sum(count) FROM queue.produce_batch('v', ARRAY(SELECT repeat('v', n) FROM generate_series(1, 250) n), ARRAY(SELECT n::text FROM generate_series(1, 250) n));
BEGIN;
SELECT sum(count) FROM queue.produce_batch('v', ARRAY(SELECT repeat('x', n) FROM generate_series(1, 250) n), ARRAY(SELECT n::text FROM generate_series(1, 250) n));
ROLLBACK;
BEGIN;
SELECT count(queue.produce('v', repeat('y', n * 50), key => n::text)) FROM generate_series(1, 50) n;
SAVEPOINT s;
SELECT count(queue.produce('v', 'x', key => n::text)) FROM generate_series(1, 50) n;
ROLLBACK TO s;
SELECT * FROM queue.verify('v');
COMMIT;
SELECT * FROM queue.verify('v');
VACUUM :log;
SELECT * FROM queue.verify('v');
SELECT count(queue.produce('v', (SELECT string_agg(md5(i::text), '') FROM generate_series(1, 300) i), key => n::text)) FROM generate_series(1, 50) n;
VACUUM (FREEZE) :log;
SELECT * FROM queue.verify('v');
CREATE INDEX ON :log (key);
VACUUM FULL :log;
ANALYZE :log;
INSERT INTO topic.v (value) SELECT 'after' FROM generate_series(1, 20);
SELECT * FROM queue.verify('v');
SELECT queue.drop_topic('v');

-- What can be done wrong with given times is found: they must not go back.
SELECT queue.create_topic('w', 1, 'text');
SELECT FROM pg_temp.use_all('w');
SELECT segment FROM queue.segments WHERE topic = 'w' ORDER BY first_offset LIMIT 1 \gset
INSERT INTO :segment VALUES
  (0, '2001-01-01 00:00:02', 0, NULL, 'a', NULL),
  (1, '2001-01-01 00:00:01', 0, NULL, 'b', NULL),
  (2, '2001-01-01 00:00:03', 0, NULL, 'c', NULL);
SELECT segment = :'segment'::regclass AS segment, problem FROM queue.verify('w');
SELECT queue.drop_topic('w');

-- A table in another order does not become a log.
SELECT queue.create_topic('x', 1, 'text', segment_messages => 10);
SELECT FROM pg_temp.use_all('x');
SELECT log FROM queue.topic WHERE name = 'x' \gset
SELECT count FROM queue.produce_batch('x', ARRAY['a', 'b', 'c']);
SELECT segment FROM queue.segments WHERE topic = 'x' ORDER BY first_offset LIMIT 1 \gset
SET queue.allow_ddl = on;
ALTER TABLE :log DETACH PARTITION :segment;
ALTER TABLE :segment SET ACCESS METHOD heap;
-- As a heap it is no segment.
ALTER TABLE :log ATTACH PARTITION :segment FOR VALUES FROM (0, 0) TO (0, 10);
RESET queue.allow_ddl;
\set VERBOSITY sqlstate
SELECT queue.produce('x', 'd');
SELECT * FROM queue.fetch_typed('x', 0, 0, NULL::text);
SELECT regexp_replace(problem, 'log_\d+', 'log_n') AS problem FROM queue.verify('x');
\set VERBOSITY default
UPDATE :segment SET value = 'A' WHERE "offset" = 0;
\set VERBOSITY sqlstate
ALTER TABLE :segment SET ACCESS METHOD queue_log;
\set VERBOSITY default
CREATE TEMP TABLE saved AS SELECT * FROM :segment;
TRUNCATE :segment;
INSERT INTO :segment SELECT * FROM saved ORDER BY "offset";
ALTER TABLE :segment SET ACCESS METHOD queue_log;
SELECT m.offset, value FROM queue.fetch_typed('x', 0, 0, NULL::text) m;
SELECT "offset" FROM queue.produce('x', 'd');
SELECT * FROM queue.verify('x');
SELECT queue.drop_topic('x');

\set VERBOSITY sqlstate
SELECT * FROM queue.verify('nope');
\set VERBOSITY default
SELECT * FROM queue.verify(NULL);
