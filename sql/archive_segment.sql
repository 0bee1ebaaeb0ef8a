--
-- queue.archive_segment: the oldest segment becomes a table of its own.
--
\getenv abs_srcdir PG_ABS_SRCDIR
\i :abs_srcdir/sql/include/helpers.sql
SET client_min_messages = warning;
CREATE SCHEMA regress_archive;

SELECT queue.create_topic('t', 2, 'text', segment_messages => 10);
CALL pg_temp.fill('t', 6);
SELECT log AS storage FROM queue.topic WHERE name = 't' \gset
SELECT archive, first_offset, next_offset, bytes > 0 AS bytes FROM queue.archive_segment('t', 0);
SELECT count(*), min("offset"), max("offset") FROM t_00000_00000000000000000000;
SELECT queue.log_start('t', 0), queue.log_end('t', 0), min("offset"), count(*) FROM topic.t;
SELECT relispartition, amname, relkind, pg_get_userbyid(relowner) = current_user AS mine,
       nspname, t.typname
  FROM pg_class c JOIN pg_am a ON a.oid = relam JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_type t ON t.oid = reltype
 WHERE c.oid = 't_00000_00000000000000000000'::regclass;
SELECT pg_temp.error_of('SELECT * FROM queue.fetch_typed(''t'', 0, 9, NULL::text)');
SELECT count(*) FROM queue.fetch_typed('t', 0, 10, NULL::text, 100);
SELECT * FROM queue.verify('t');
-- It is still a log, and its owner may do with it as with any table.
SELECT pg_temp.error_of('UPDATE t_00000_00000000000000000000 SET key = NULL');
SELECT pg_temp.error_of('DELETE FROM t_00000_00000000000000000000');
SELECT pg_temp.error_of('TRUNCATE t_00000_00000000000000000000');
CREATE INDEX ON t_00000_00000000000000000000 ("offset");
ALTER TABLE t_00000_00000000000000000000 RENAME TO regress_oldest;
-- A name is given, with a schema; quoted.
SELECT archive, first_offset, next_offset FROM queue.archive_segment('t', 0, 'regress_archive."Second, of t"');
SELECT archive FROM queue.archive_segment('t', 0, 'regress_archive.topic');
SELECT count(*), min("offset") FROM regress_archive."Second, of t";
-- Taken back.
BEGIN;
SELECT archive, next_offset FROM queue.archive_segment('t', 0);
SELECT queue.log_start('t', 0), count(*) FROM topic.t;
ROLLBACK;
SELECT queue.log_start('t', 0), count(*) FROM topic.t;
BEGIN;
SAVEPOINT s;
SELECT archive, next_offset FROM queue.archive_segment('t', 0);
ROLLBACK TO s;
SELECT queue.log_start('t', 0), count(*) FROM topic.t;
SELECT archive, next_offset FROM queue.archive_segment('t', 0);
-- two in a transaction
SELECT archive, next_offset FROM queue.archive_segment('t', 0);
SELECT queue.log_start('t', 0), count(*) FROM topic.t;
SELECT count(*) FROM queue.consume_typed('g', 't', NULL::text, 100, partitions => ARRAY[0]);
COMMIT;
SELECT queue.drop_group('g');
-- Not the one in use, unless it is full.
SELECT "offset" FROM queue.produce('t', 'next', partition => 0);
BEGIN;
SELECT archive, next_offset FROM queue.archive_segment('t', 0);
SELECT pg_temp.error_of('SELECT * FROM queue.archive_segment(''t'', 0)');
ROLLBACK;
SELECT pg_temp.error_of('SELECT * FROM queue.archive_segment(''t'', 1)');
-- All of it together.
SELECT count(*), count(DISTINCT "offset") FROM (
	TABLE regress_oldest UNION ALL TABLE regress_archive."Second, of t" UNION ALL TABLE regress_archive.topic
	UNION ALL TABLE t_00000_00000000000000000030 UNION ALL TABLE t_00000_00000000000000000040
	UNION ALL SELECT "offset", "timestamp", partition, key, value, headers, deliver_at FROM topic.t) a;

-- What a group has yet to read is kept, unless forced.
CALL pg_temp.fill('t', 3);
SELECT queue.create_group('slow', 't');
SELECT pg_temp.error_of('SELECT * FROM queue.archive_segment(''t'', 0)');
SELECT count(*) FROM queue.consume_typed('slow', 't', NULL::text, 11, partitions => ARRAY[0]);
SELECT archive, next_offset FROM queue.archive_segment('t', 0, 'regress_archive.a50');
SELECT pg_temp.error_of('SELECT * FROM queue.archive_segment(''t'', 0)');
SELECT archive, next_offset FROM queue.archive_segment('t', 0, 'regress_archive.a60', force => true);
SELECT pg_temp.error_of('SELECT * FROM queue.consume_typed(''slow'', ''t'', NULL::text, partitions => ARRAY[0])');
SELECT queue.drop_group('slow');

-- A duplicate is answered with its place, wherever that is now.
SELECT queue.create_topic('p', 1, 'text', segment_messages => 10);
SELECT "offset" FROM queue.produce('p', 'once', producer_id => 'sender', sequence => 0);
CALL pg_temp.fill('p', 3);
SELECT next_offset FROM queue.archive_segment('p', 0, 'regress_archive.p0');
SELECT "offset", duplicate FROM queue.produce('p', 'once', producer_id => 'sender', sequence => 0);
-- Together with retention: a prefix goes.
SELECT log_start, segments FROM queue.delete_messages('p', 0, 20);
CALL pg_temp.fill('p', 3);
SELECT first_offset, next_offset FROM queue.archive_segment('p', 0, 'regress_archive.p20');
CALL queue.maintain('p');
SELECT queue.log_start('p', 0), count(*) FROM topic.p;
SELECT count(*) FROM regress_archive.p20;
-- An archive that is attached again lies before the log start; no reader reads it, and
-- retention does not drop it.
SELECT log AS storage FROM queue.topic WHERE name = 'p' \gset
SET queue.allow_ddl = on;
ALTER TABLE :storage ATTACH PARTITION regress_archive.p20 FOR VALUES FROM (0, 20) TO (0, 30);
RESET queue.allow_ddl;
CALL queue.maintain('p');
SELECT count(*) FROM regress_archive.p20;
SELECT count(*) FROM queue.fetch_typed('p', 0, 30, NULL::text, 100);
SET queue.allow_ddl = on;
ALTER TABLE :storage DETACH PARTITION regress_archive.p20;
RESET queue.allow_ddl;
-- The topic goes, the archive stays, and goes by itself.
SELECT queue.drop_topic('p');
SELECT count(*) FROM regress_archive.p0;
DROP TABLE regress_archive.p0, regress_archive.p20;

-- Indexes, triggers and constraints of the topic's table.
SELECT queue.create_topic('x', 1, 'text', segment_messages => 10);
SELECT log AS storage FROM queue.topic WHERE name = 'x' \gset
CREATE INDEX ON :storage (key);
ALTER TABLE :storage ADD CONSTRAINT positive CHECK ("offset" >= 0);
CALL pg_temp.fill('x', 3);
SELECT next_offset FROM queue.archive_segment('x', 0, 'regress_archive.x0');
SELECT count(*) AS indexes, bool_and(indisvalid AND NOT relispartition) AS own FROM pg_index JOIN pg_class c ON c.oid = indexrelid WHERE indrelid = 'regress_archive.x0'::regclass;
SELECT conname, conislocal, coninhcount FROM pg_constraint WHERE conrelid = 'regress_archive.x0'::regclass AND contype = 'c';
SELECT queue.drop_topic('x');
SELECT count(*) FROM regress_archive.x0 WHERE key IS NULL;

-- Errors and rights.
CREATE TABLE regress_archive.taken ();
SELECT call, regexp_replace(pg_temp.error_of('SELECT * FROM queue.archive_segment(' || call || ')'), 'pg_temp_\d+', 'pg_temp') AS error_of
  FROM unnest(ARRAY[
    $$'nope', 0$$,
    $$'t', 2$$,
    $$NULL, 0$$,
    $$'t', NULL$$,
    $$'t', 0, 'regress_archive.taken'$$,
    $$'t', 0, 'nowhere.a'$$,
    $$'t', 0, 'queue.a'$$,
    $$'t', 0, 'topic.a'$$,
    $$'t', 0, 'pg_temp.a'$$,
    $$'t', 0, 'a.b.c.d'$$,
    $$'t', 0, ''$$]) WITH ORDINALITY u(call, n)
 ORDER BY n;
CREATE ROLE regress_archivist;
GRANT CREATE ON SCHEMA topic TO regress_archivist;
GRANT USAGE ON SCHEMA regress_archive TO regress_archivist;
SET ROLE regress_archivist;
SELECT pg_temp.error_of('SELECT * FROM queue.archive_segment(''t'', 0, ''regress_archive.a'')');
SELECT queue.create_topic('mine', 1, 'text', segment_messages => 10);
RESET ROLE;
CALL pg_temp.fill('mine', 4);
SET ROLE regress_archivist;
SELECT pg_temp.error_of('SELECT * FROM queue.archive_segment(''mine'', 0, ''regress_archive.a'')');
RESET ROLE;
GRANT CREATE ON SCHEMA regress_archive TO regress_archivist;
SET ROLE regress_archivist;
SELECT archive, next_offset FROM queue.archive_segment('mine', 0, 'regress_archive.a');
SELECT count(*) FROM regress_archive.a;
RESET ROLE;
-- by another role that may: the archive is the owner's
SELECT archive, next_offset FROM queue.archive_segment('mine', 0, 'regress_archive.b');
SELECT relname, relowner::regrole FROM pg_class WHERE relnamespace = 'regress_archive'::regnamespace AND relname IN ('a', 'b') ORDER BY 1;
SET ROLE regress_archivist;
SELECT queue.drop_topic('mine');
DROP TABLE regress_archive.a, regress_archive.b;
RESET ROLE;

SELECT queue.drop_topic('t');
DROP SCHEMA regress_archive CASCADE;
DROP TABLE regress_oldest, t_00000_00000000000000000030, t_00000_00000000000000000040;
DROP OWNED BY regress_archivist;
DROP ROLE regress_archivist;
