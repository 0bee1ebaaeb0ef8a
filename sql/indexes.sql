--
-- Indexes and constraints that are added to a topic's table: appends keep
-- them up, index scans find what sequential scans find.
--
SET jit = off;      -- switched off plans are dear
SELECT queue.create_topic('i', 2, 'text', segment_messages => 50);
SELECT log FROM queue.topic WHERE name = 'i' \gset
SELECT sum(count) FROM queue.produce_batch('i', ARRAY(SELECT 'v' || n FROM generate_series(1, 80) n), ARRAY(SELECT 'k' || n % 10 FROM generate_series(1, 80) n));
-- Aborted messages are in the log when the index is built.
BEGIN;
SELECT sum(count) FROM queue.produce_batch('i', ARRAY(SELECT 'aborted' FROM generate_series(1, 20) n), ARRAY(SELECT 'k' || n % 10 FROM generate_series(1, 20) n));
ROLLBACK;
CREATE INDEX i_key ON :log (key);
CREATE INDEX i_brin ON :log USING brin ("timestamp", "offset");
CREATE INDEX i_expr ON :log (upper(value)) WHERE key LIKE 'k%';
-- In one transaction with other messages, some of them given up.
BEGIN;
SELECT sum(count) FROM queue.produce_batch('i', ARRAY(SELECT 'v' || n FROM generate_series(81, 120) n), ARRAY(SELECT 'k' || n % 10 FROM generate_series(81, 120) n));
SAVEPOINT s;
SELECT count(queue.produce('i', 'aborted', key => 'k' || n % 10)) FROM generate_series(1, 20) n;
ROLLBACK TO s;
SELECT count(queue.produce('i', 'v' || n, key => 'k' || n % 10)) FROM generate_series(121, 160) n;
COMMIT;
INSERT INTO topic.i (key, value) SELECT 'k' || n % 10, 'v' || n FROM generate_series(161, 200) n;
COPY topic.i (key, value) FROM STDIN;
k1	v201
k2	v202
other	v203
\.

CREATE FUNCTION pg_temp.compare(condition text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	by_seq text;
	by_index text;
	by_bitmap text;
	query text := 'SELECT count(*) || '' '' || coalesce(md5(string_agg(partition || '','' || "offset" || '','' || value, '' '' ORDER BY partition, "offset")), '''') FROM topic.i WHERE ' || condition;
	plan text := '';
	line text;
BEGIN
	PERFORM set_config('enable_indexscan', 'off', true), set_config('enable_bitmapscan', 'off', true);
	EXECUTE query INTO by_seq;
	PERFORM set_config('enable_seqscan', 'off', true), set_config('enable_indexscan', 'on', true);
	EXECUTE query INTO by_index;
	PERFORM set_config('enable_indexscan', 'off', true), set_config('enable_bitmapscan', 'on', true);
	EXECUTE query INTO by_bitmap;
	FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
		plan := plan || line;
	END LOOP;
	RETURN split_part(by_seq, ' ', 1) || ' rows, the same: ' || (by_seq = by_index AND by_seq = by_bitmap)
		|| ', by index: ' || (plan LIKE '%Bitmap Index Scan%');
END $$;
SELECT condition, pg_temp.compare(condition)
  FROM unnest(ARRAY[$$key = 'k1'$$, $$key > 'k5'$$, $$key = 'other'$$, $$upper(value) = 'V150' AND key LIKE 'k%'$$,
                    $$"timestamp" <= now()$$, $$"timestamp" < '2000-01-01'$$]) WITH ORDINALITY u(condition, n)
 ORDER BY n;
-- Segments made since have them too.  A worker may make one meanwhile: the function has a
-- snapshot that is younger than the list.
CREATE FUNCTION pg_temp.valid_indexes(segment regclass) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
	RETURN (SELECT count(*) FROM pg_index WHERE indrelid = segment AND indisvalid);
END $$;
SELECT DISTINCT pg_temp.valid_indexes(segment) AS indexes FROM queue.segments WHERE topic = 'i';
-- VACUUM takes the aborted ones out of log and index.
VACUUM :log;
SELECT pg_temp.compare($$key = 'k1'$$);
SELECT count(*), count(DISTINCT value)
  FROM (SELECT value FROM queue.consume_typed('g', 'i', NULL::text, 1000)
        UNION ALL
        SELECT value FROM queue.consume_typed('g', 'i', NULL::text, 1000)) both_partitions;
VACUUM FULL :log;
REINDEX TABLE :log;
SELECT pg_temp.compare($$key = 'k1'$$), pg_temp.compare($$upper(value) = 'V150' AND key LIKE 'k%'$$);
-- CONCURRENTLY, on one segment.
SELECT segment FROM queue.segments WHERE topic = 'i' AND partition = 0 ORDER BY first_offset LIMIT 1 \gset
CREATE INDEX CONCURRENTLY i_concurrently ON :segment (md5(value));
SELECT indisvalid, indisready FROM pg_index WHERE indexrelid = 'queue.i_concurrently'::regclass;
SELECT count(*) AS rows, count(*) = (SELECT count(*) FROM :segment) AS "all" FROM :segment WHERE md5(value) IS NOT NULL;
SET enable_seqscan = off;
SELECT count(*) FROM :segment WHERE md5(value) = (SELECT md5(value) FROM :segment ORDER BY "offset" LIMIT 1);
RESET enable_seqscan;
REINDEX INDEX CONCURRENTLY queue.i_concurrently;
DROP INDEX queue.i_concurrently;
DROP INDEX queue.i_key, queue.i_brin, queue.i_expr;
SELECT * FROM queue.verify('i');
SELECT queue.drop_topic('i');

-- CHECK: before the message gets its offset; nothing is half done.
SELECT queue.create_topic('c', 1, 'int', segment_messages => 5);
SELECT log FROM queue.topic WHERE name = 'c' \gset
ALTER TABLE :log ADD CONSTRAINT positive CHECK (value > 0);
SELECT "offset" FROM queue.produce('c', 1);
\set VERBOSITY sqlstate
SELECT queue.produce('c', -1);
SELECT queue.produce_batch('c', ARRAY[1, 2, -1]);
INSERT INTO topic.c (value) VALUES (2), (-2);
\set VERBOSITY default
SELECT queue.log_end('c', 0) >= 1 AS "end", count(*) FROM topic.c;
-- It holds for the segments made since.
SELECT count FROM queue.produce_batch('c', ARRAY[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
\set VERBOSITY sqlstate
SELECT queue.produce('c', -1);
\set VERBOSITY default
ALTER TABLE :log DROP CONSTRAINT positive;
SELECT count(*) FROM queue.produce('c', -1);
SELECT * FROM queue.verify('c');
SELECT queue.drop_topic('c');

-- UNIQUE, on a segment (on the table the key would have to hold the partition
-- and the offset): the message is refused, others are not.
SELECT queue.create_topic('u', 1, 'text');
SELECT "offset" FROM queue.produce('u', '1', key => 'a');
SELECT segment FROM queue.segments WHERE topic = 'u' ORDER BY first_offset LIMIT 1 \gset
CREATE UNIQUE INDEX u_key ON :segment (key);
\set VERBOSITY sqlstate
SELECT queue.produce('u', '2', key => 'a');
SELECT queue.produce_batch('u', ARRAY['3', '4', '5'], ARRAY['b', 'c', 'b']);
INSERT INTO topic.u (key, value) VALUES ('d', '6'), ('a', '7');
\set VERBOSITY default
SELECT count(*) FROM queue.produce_batch('u', ARRAY['8', '9'], ARRAY['b', 'c']);
-- Rows with offsets of their own, too.
INSERT INTO :segment VALUES (100, now(), 0, 'given', '10', NULL), (101, now(), 0, 'too', '11', NULL);
\set VERBOSITY sqlstate
INSERT INTO :segment VALUES (102, now(), 0, 'given', '12', NULL);
INSERT INTO :segment VALUES (103, now(), 0, 'given', '12', NULL) ON CONFLICT DO NOTHING;
\set VERBOSITY default
SET enable_seqscan = off;
SELECT value FROM :segment WHERE key = 'too';
RESET enable_seqscan;
SELECT key, value FROM queue.consume_typed('g', 'u', NULL::text);
SELECT * FROM queue.verify('u');
SELECT queue.drop_topic('u');

-- Triggers are refused by produce, if a superuser insists on one.
SELECT queue.create_topic('t', 1, 'text');
SELECT log FROM queue.topic WHERE name = 't' \gset
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
SET queue.allow_ddl = on;
CREATE TRIGGER nothing AFTER INSERT ON :log FOR EACH ROW EXECUTE FUNCTION nothing();
RESET queue.allow_ddl;
\set VERBOSITY sqlstate
SELECT queue.produce('t', 'x');
INSERT INTO topic.t (value) VALUES ('x');
\set VERBOSITY default
DROP TRIGGER nothing ON :log;
SELECT count(*) FROM queue.produce('t', 'x');
-- So is one on the view, which is the user's own; it fires.
CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.value := upper(NEW.value); RETURN NEW; END $$;
CREATE TRIGGER a_first INSTEAD OF INSERT ON topic.t FOR EACH ROW EXECUTE FUNCTION shout();
INSERT INTO topic.t (value) VALUES ('loud') RETURNING value;
DROP TRIGGER a_first ON topic.t;
SELECT value FROM topic.t ORDER BY "offset";
SELECT queue.drop_topic('t');
DROP FUNCTION nothing(), shout();
