--
-- Segments: bursts over many bounds, width, names, holes.
--
\getenv abs_srcdir PG_ABS_SRCDIR
\i :abs_srcdir/sql/include/helpers.sql

-- A burst over many segments within one call, one message at a time, INSERT and
-- COPY: nothing fails, nothing is missing, nothing lies in the wrong segment.
SELECT queue.create_topic('tiny', 2, 'int', segment_messages => 10);
SELECT log AS tiny, topic_id FROM queue.topic WHERE name = 'tiny' \gset
SELECT partition, first_offset, last_offset, count FROM queue.produce_batch('tiny', ARRAY(SELECT generate_series(0, 94)), partition => 0);
SELECT count(queue.produce('tiny', n, partition => 0)) FROM generate_series(95, 129) n;
INSERT INTO topic.tiny (partition, value) SELECT 0, generate_series(130, 164);
COPY topic.tiny (partition, value) FROM STDIN;
0	165
0	166
0	167
0	168
0	169
0	170
0	171
\.
BEGIN;
SELECT count(queue.produce('tiny', n, partition => 0)) FROM generate_series(172, 199) n;
SELECT first_offset, last_offset FROM queue.produce_batch('tiny', ARRAY(SELECT generate_series(200, 333)), partition => 0);
COMMIT;
SELECT count(*), min("offset"), max("offset"), count(*) FILTER (WHERE value <> "offset") AS misplaced FROM topic.tiny;
SELECT count(*) FROM (SELECT "timestamp" < lag("timestamp") OVER (ORDER BY "offset") AS back FROM topic.tiny) t WHERE back;
-- The other partition has its own.
SELECT first_offset, last_offset FROM queue.produce_batch('tiny', ARRAY(SELECT generate_series(0, 24)), partition => 1);
SELECT * FROM queue.verify('tiny');

-- Segments are next to each other, each of the width, some ahead.
SELECT partition, min(first_offset), bool_and(end_offset - first_offset = 10) AS width,
       max(end_offset) > CASE partition WHEN 0 THEN 334 ELSE 25 END AS ahead, bool_and(bytes IS NOT NULL) AS bytes
  FROM queue.segments WHERE topic = 'tiny' GROUP BY partition ORDER BY partition;
SELECT count(*) AS holes
  FROM (SELECT first_offset - lag(end_offset) OVER (PARTITION BY partition ORDER BY first_offset) AS hole
          FROM queue.segments WHERE topic = 'tiny') s WHERE hole <> 0;
-- Names: topic, partition, segment, padded with zeros, so that their order is the log's.
SELECT count(*) FILTER (WHERE segment::text !~ ('^queue\.log_' || :'topic_id' || '_[0-9]{5}_[0-9]{10,}$')) AS badly_named,
       count(DISTINCT length(segment::text)) AS lengths
  FROM queue.segments WHERE topic = 'tiny';
SELECT count(*) FROM (SELECT segment::text COLLATE "C" < lag(segment::text COLLATE "C") OVER (ORDER BY partition, first_offset) AS disordered
                        FROM queue.segments WHERE topic = 'tiny') s WHERE disordered;
-- They belong to the topic's table and owner.
SELECT count(*) FILTER (WHERE i.inhparent <> :'tiny'::regclass OR c.relowner <> p.relowner OR am.amname <> 'queue_log') AS strange
  FROM queue.segments s
  JOIN pg_class c ON c.oid = s.segment
  JOIN pg_am am ON am.oid = c.relam
  JOIN pg_inherits i ON i.inhrelid = s.segment
  JOIN pg_class p ON p.oid = :'tiny'::regclass
 WHERE s.topic = 'tiny';

-- Reading over the bounds.
SELECT count(*), min(m.offset), max(m.offset), count(*) FILTER (WHERE value <> m.offset) AS wrong
  FROM queue.consume_typed('g', 'tiny', max_messages => 1000, value_type => NULL::int, partitions => ARRAY[0]) m;
SELECT m.offset FROM queue.fetch_typed('tiny', 0, 28, max_messages => 4, value_type => NULL::int) m;
SELECT count(*) FROM generate_series(0, 333) o, queue.fetch_typed('tiny', 0, o, max_messages => 1, value_type => NULL::int) m WHERE m.offset = o;
SELECT value FROM topic.tiny WHERE partition = 0 AND "offset" = 200;

-- Another width counts for the segments made from then on.
SELECT queue.alter_topic('tiny', segment_messages => 1000);
SELECT count FROM queue.produce_batch('tiny', ARRAY(SELECT generate_series(25, 524)), partition => 1);
SELECT max(end_offset - first_offset) FROM queue.segments WHERE topic = 'tiny' AND partition = 1;
SELECT * FROM queue.verify('tiny');
SELECT queue.drop_topic('tiny');

-- One message a segment.
SELECT queue.create_topic('single', 1, 'int', segment_messages => 1);
SELECT count(queue.produce('single', n)) FROM generate_series(1, 5) n;
SELECT first_offset, last_offset FROM queue.produce_batch('single', ARRAY[6, 7, 8, 9, 10]);
SELECT string_agg(value::text, ' ' ORDER BY m.offset) FROM queue.consume_typed('g', 'single', value_type => NULL::int) m;
SELECT queue.drop_topic('single');

-- A topic made in the same transaction.
BEGIN;
SELECT queue.create_topic('fresh', 1, 'int', segment_messages => 4);
SELECT first_offset, last_offset FROM queue.produce_batch('fresh', ARRAY(SELECT generate_series(0, 20)));
SELECT count(queue.produce('fresh', n)) FROM generate_series(21, 30) n;
INSERT INTO topic.fresh (value) SELECT generate_series(31, 40);
SELECT count(*), max(m.offset) FROM queue.consume_typed('g', 'fresh', value_type => NULL::int) m;
COMMIT;
SELECT count(queue.produce('fresh', n)) FROM generate_series(41, 60) n;
SELECT count(*), count(*) FILTER (WHERE value <> "offset") AS misplaced FROM topic.fresh;
SELECT * FROM queue.verify('fresh');
SELECT queue.drop_topic('fresh');
-- Partitions added in the same transaction.
SELECT queue.create_topic('grow', 1, 'int', segment_messages => 4);
BEGIN;
SELECT queue.alter_topic('grow', 2);
SELECT first_offset, last_offset FROM queue.produce_batch('grow', ARRAY(SELECT generate_series(0, 20)), partition => 1);
COMMIT;
SELECT first_offset, last_offset FROM queue.produce_batch('grow', ARRAY(SELECT generate_series(21, 30)), partition => 1);
SELECT count(*), count(*) FILTER (WHERE value <> "offset") AS misplaced FROM topic.grow;
-- A burst that is rolled back, and the next one.
BEGIN;
SELECT count FROM queue.produce_batch('grow', ARRAY(SELECT generate_series(1, 50)), partition => 0);
ROLLBACK;
SELECT count FROM queue.produce_batch('grow', ARRAY(SELECT generate_series(1, 50)), partition => 0);
SELECT count(*), count(DISTINCT value) FROM topic.grow WHERE partition = 0;
SELECT * FROM queue.verify('grow');
SELECT queue.drop_topic('grow');
-- A burst while the session holds locks that a background worker needs.
SELECT queue.create_topic('locked', 1, 'int', segment_messages => 4);
SELECT log FROM queue.topic WHERE name = 'locked' \gset
BEGIN;
LOCK TABLE :log IN SHARE ROW EXCLUSIVE MODE;
SELECT first_offset, last_offset FROM queue.produce_batch('locked', ARRAY(SELECT generate_series(0, 20)));
COMMIT;
SELECT count(*) FROM topic.locked;
SELECT queue.drop_topic('locked');

-- Adaptive by default: wide from the start.
SELECT queue.create_topic('wide', 1, 'int');
SELECT "offset" FROM queue.produce('wide', 0);
SELECT count(*) >= 2 AS ahead, min(end_offset - first_offset) >= 100000 AS wide FROM queue.segments WHERE topic = 'wide';
SELECT queue.drop_topic('wide');

-- A segment removed without the extension is an error, XX001, not a log that goes on
-- without it.
SELECT queue.create_topic('hole', 2, 'int', segment_messages => 10);
SELECT FROM pg_temp.use_all('hole');
SELECT log FROM queue.topic WHERE name = 'hole' \gset
SELECT count FROM queue.produce_batch('hole', ARRAY(SELECT generate_series(0, 34)), partition => 0);
SELECT segment FROM queue.segments WHERE topic = 'hole' AND partition = 0 AND first_offset = 10 \gset
SET queue.allow_ddl = on;
ALTER TABLE :log DETACH PARTITION :segment;
RESET queue.allow_ddl;
\set VERBOSITY sqlstate
SELECT queue.produce('hole', 1, partition => 0);
INSERT INTO topic.hole (value, partition) VALUES (1, 0);
SELECT * FROM queue.consume_typed('g', 'hole', value_type => NULL::int);
SELECT * FROM queue.fetch_typed('hole', 0, 0, value_type => NULL::int);
SELECT queue.log_end('hole', 0);
\set VERBOSITY default
-- Put back, it goes on.
SET queue.allow_ddl = on;
ALTER TABLE :log ATTACH PARTITION :segment FOR VALUES FROM (0, 10) TO (0, 20);
RESET queue.allow_ddl;
SELECT "offset" FROM queue.produce('hole', 35, partition => 0);
SELECT count(*), count(*) FILTER (WHERE value <> m.offset) AS wrong
  FROM queue.consume_typed('g', 'hole', value_type => NULL::int) m;
SELECT * FROM queue.verify('hole');
-- All segments of a partition.
CREATE FUNCTION pg_temp.detach(log regclass) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	s regclass;
BEGIN
	FOR s IN SELECT segment FROM queue.segments WHERE topic = 'hole' AND partition = 1 LOOP
		EXECUTE format('ALTER TABLE %s DETACH PARTITION %s', log, s);
		EXECUTE format('ALTER TABLE %s SET SCHEMA public', s);
	END LOOP;
END $$;
SET queue.allow_ddl = on;
SELECT pg_temp.detach(:'log');
RESET queue.allow_ddl;
\set VERBOSITY sqlstate
SELECT queue.produce('hole', 1, partition => 1);
SELECT queue.produce_batch('hole', ARRAY[1], partition => 1);
SELECT * FROM queue.fetch_typed('hole', 1, 0, value_type => NULL::int);
\set VERBOSITY default
SELECT "offset" FROM queue.produce('hole', 36, partition => 0);
-- Such a topic can be dropped.
SET queue.allow_ddl = on;
ALTER TABLE :log DETACH PARTITION :segment;
RESET queue.allow_ddl;
SELECT queue.drop_topic('hole');
SET queue.allow_ddl = on;
DROP TABLE :segment;
DO $$
DECLARE
	s regclass;
BEGIN
	FOR s IN SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relname LIKE 'log\_%' AND relkind = 'r' LOOP
		EXECUTE format('DROP TABLE %s', s);
	END LOOP;
END $$;
RESET queue.allow_ddl;

-- Segments lie where the database's default is, whatever the caller's setting
-- says: the extension's rights would grant the caller any tablespace.
SET allow_in_place_tablespaces = on;
CREATE TABLESPACE regress_queue_space LOCATION '';
RESET allow_in_place_tablespaces;
CREATE ROLE regress_queue_spaceless;
GRANT CREATE ON SCHEMA topic, public TO regress_queue_spaceless;
SET ROLE regress_queue_spaceless;
SET default_tablespace = regress_queue_space;
CREATE TABLE public.not_allowed (a int);
SELECT queue.create_topic('space', 2, 'text', segment_messages => 4);
-- By a worker, in a transaction of the caller's own, and for a new partition.
SELECT count FROM queue.produce_batch('space', array_fill('worker'::text, ARRAY[20]), partition => 0);
BEGIN;
SELECT queue.create_topic('space2', 1, 'text', segment_messages => 4);
SELECT count FROM queue.produce_batch('space2', array_fill('inline'::text, ARRAY[20]));
COMMIT;
SELECT queue.alter_topic('space', 3);
SELECT "offset" FROM queue.produce('space', 'first', partition => 2);
SHOW default_tablespace;
RESET default_tablespace;
RESET ROLE;
SELECT s.topic, s.partition, count(*) > 2 AS several,
       count(*) FILTER (WHERE l.reltablespace <> 0 OR c.reltablespace <> 0 OR t.reltablespace <> 0) AS elsewhere
  FROM queue.segments s JOIN queue.topic ON name = topic JOIN pg_class l ON l.oid = log
  JOIN pg_class c ON c.oid = segment JOIN pg_class t ON t.oid = c.reltoastrelid
 WHERE topic LIKE 'space%' GROUP BY 1, 2 ORDER BY 1, 2;
SELECT queue.drop_topic('space');
SELECT queue.drop_topic('space2');
REVOKE CREATE ON SCHEMA topic, public FROM regress_queue_spaceless;
DROP ROLE regress_queue_spaceless;
DROP TABLESPACE regress_queue_space;
