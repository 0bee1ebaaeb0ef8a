--
-- Commands that would lose or change messages without the extension are refused.
--
SELECT queue.create_topic('g', 1, 'text', segment_messages => 10);
SELECT count FROM queue.produce_batch('g', ARRAY(SELECT 'm' || n FROM generate_series(0, 24) n));
-- Three segments hold messages; a worker makes the next two.
DO $$
BEGIN
    WHILE (SELECT count(*) FROM queue.segments WHERE topic = 'g') < 5 LOOP
        COMMIT;
        PERFORM pg_sleep(0.05);
    END LOOP;
END $$;
SELECT log FROM queue.topic WHERE name = 'g' \gset
SELECT segment FROM queue.segments WHERE topic = 'g' ORDER BY first_offset LIMIT 1 \gset
SELECT segment AS last FROM queue.segments WHERE topic = 'g' ORDER BY first_offset DESC LIMIT 1 \gset
CREATE FUNCTION pg_temp.intact() RETURNS text LANGUAGE sql AS
$$ SELECT count(*) || ' messages, log end ' || queue.log_end('g', 0) || ', ' || (SELECT count(*) FROM queue.verify('g')) || ' problems' FROM topic.g $$;
SELECT pg_temp.intact();

\set VERBOSITY sqlstate
-- Messages: 0A000, in a segment and through the table.
UPDATE :segment SET value = 'x';
UPDATE :log SET value = 'x';
UPDATE :log SET "offset" = "offset" + 1000;
DELETE FROM :segment;
DELETE FROM :log WHERE "offset" = 24;
DELETE FROM ONLY :segment WHERE ctid = '(0,1)';
SELECT * FROM :segment FOR UPDATE;
SELECT * FROM :log FOR SHARE NOWAIT;
MERGE INTO :segment s USING (VALUES ('m1')) v(v) ON s.value = v.v WHEN MATCHED THEN UPDATE SET value = 'x';
SELECT pg_temp.intact();

-- TRUNCATE: not while there is something in it.
TRUNCATE :segment;
TRUNCATE :log;
TRUNCATE :segment RESTART IDENTITY CASCADE;
BEGIN;
TRUNCATE :last;
COMMIT;
SELECT pg_temp.intact();
SELECT "offset" FROM queue.produce('g', 'm25');

-- Rewrites: another access method, persistence, type of a column; an order.
ALTER TABLE :segment SET UNLOGGED;
ALTER TABLE :segment SET ACCESS METHOD heap;
ALTER TABLE :last SET ACCESS METHOD heap;
ALTER TABLE :log ALTER COLUMN value TYPE varchar(10);
ALTER TABLE :log ALTER COLUMN value TYPE int USING 1;
CREATE INDEX g_key ON :segment ("offset" DESC);
CLUSTER :segment USING g_key;
ALTER TABLE :segment CLUSTER ON g_key;
CLUSTER :segment;
ALTER TABLE :segment SET WITHOUT CLUSTER;
SELECT pg_temp.intact();
DROP INDEX queue.g_key;
-- VACUUM FULL keeps everything and its order.
BEGIN;
SELECT count FROM queue.produce_batch('g', ARRAY(SELECT 'x' FROM generate_series(1, 3)));
ROLLBACK;
VACUUM FULL :segment;
VACUUM (FULL, FREEZE) :log;
SELECT pg_temp.intact();
SELECT m.offset, value FROM queue.fetch_typed('g', 0, 24, NULL::text) m;
SELECT "offset" >= 26 AS stored FROM queue.produce('g', 'm26');

-- DROP: of the view, the table, a segment, what they stand on. 55000, 2BP01.
DROP VIEW topic.g;
DROP VIEW topic.g CASCADE;
DROP TABLE :log;
DROP TABLE :log CASCADE;
DROP TABLE :segment;
DROP TABLE :last;
DROP SCHEMA topic;
DROP SCHEMA topic CASCADE;
DROP FUNCTION queue.topic_insert() CASCADE;
DROP ACCESS METHOD queue_log;
DROP EXTENSION queue;
SET session_replication_role = replica;
DROP TABLE :segment;
DROP VIEW topic.g;
ALTER TABLE :segment SET ACCESS METHOD heap;
RESET session_replication_role;
SELECT pg_temp.intact();
CREATE TYPE of_topic AS (a int);
SELECT queue.create_topic('typed', 1, 'of_topic');
DROP TYPE of_topic;
DROP TYPE of_topic CASCADE;
SELECT queue.drop_topic('typed');
DROP TYPE of_topic;
\set VERBOSITY default
DROP VIEW topic.g;
-- Other objects are not guarded.
CREATE TABLE log_1 (a int);
DROP TABLE log_1;
CREATE VIEW topic.not_a_topic AS SELECT 1 AS one;
DROP VIEW topic.not_a_topic;
CREATE TABLE topic.neither (a int);
ALTER TABLE topic.neither ALTER COLUMN a TYPE text;
DROP TABLE topic.neither;

-- No log that a crash or the end of a session would empty; none by accident.
\set VERBOSITY sqlstate
CREATE UNLOGGED TABLE u ("offset" bigint NOT NULL, "timestamp" timestamptz NOT NULL, partition int NOT NULL, key text, value text, headers jsonb, deliver_at timestamptz) USING queue_log;
CREATE TEMP TABLE u ("offset" bigint NOT NULL, "timestamp" timestamptz NOT NULL, partition int NOT NULL, key text, value text, headers jsonb, deliver_at timestamptz) USING queue_log;
CREATE TEMP TABLE u USING queue_log AS SELECT 1 AS a;
CREATE TABLE u USING queue_log AS SELECT 1 AS a;
SET default_table_access_method = queue_log;
CREATE TEMP TABLE u (a int);
CREATE MATERIALIZED VIEW u AS SELECT 1 AS a;
RESET default_table_access_method;
\set VERBOSITY default
CREATE UNLOGGED TABLE u (a int) USING queue_log;

-- Names and columns stay: by them views and segments are found, and read. 0A000.
\set VERBOSITY sqlstate
ALTER VIEW topic.g RENAME TO h;
ALTER VIEW topic.g SET SCHEMA public;
ALTER TABLE topic.g RENAME TO h;
ALTER TABLE :log RENAME TO h;
ALTER TABLE :log SET SCHEMA public;
ALTER TABLE :segment RENAME TO h;
ALTER TABLE :segment SET SCHEMA public;
ALTER TABLE :log RENAME COLUMN key TO k;
ALTER TABLE :log ADD COLUMN extra int;
ALTER TABLE :log DROP COLUMN headers;
ALTER TABLE :log DROP COLUMN headers CASCADE;
\set VERBOSITY default
-- What does no harm is not refused.
ALTER TABLE :segment SET (autovacuum_enabled = off);
ALTER TABLE :log ALTER COLUMN value SET STORAGE EXTERNAL;
ALTER VIEW topic.g OWNER TO CURRENT_USER;
CREATE VIEW topic.not_a_topic AS SELECT * FROM topic.g;
ALTER VIEW topic.not_a_topic RENAME TO neither;
ALTER VIEW topic.neither SET SCHEMA public;
DROP VIEW public.neither;
SELECT "offset" > 26 AS stored FROM queue.produce('g', 'm27');
-- Moved away with queue.allow_ddl: an error that names it, until it is back.
SET queue.allow_ddl = on;
ALTER VIEW topic.g RENAME TO h;
RESET queue.allow_ddl;
\set VERBOSITY terse
SELECT queue.produce('g', 'x');
\set VERBOSITY default
SELECT log IS NOT NULL AS registered FROM queue.topic WHERE name = 'g';
SET queue.allow_ddl = on;
ALTER VIEW topic.h RENAME TO g;
RESET queue.allow_ddl;
SELECT "offset" > 26 AS stored FROM queue.produce('g', 'm28');
SELECT pg_temp.intact() LIKE '29 messages%, 0 problems' AS intact;

-- queue.allow_ddl, for pg_restore --clean, lets all of it go.
BEGIN;
SET LOCAL queue.allow_ddl = on;
DROP VIEW topic.g;
DROP TABLE :log;
ROLLBACK;
BEGIN;
SET LOCAL queue.allow_ddl = on;
TRUNCATE :segment;
SELECT count(*) < 29 AS fewer FROM topic.g;
ROLLBACK;
SHOW queue.allow_ddl;
SELECT pg_temp.intact() LIKE '29 messages%, 0 problems' AS intact;
SELECT queue.drop_topic('g');
