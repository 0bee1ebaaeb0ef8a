--
-- Tablespaces: where new segments are made, and moving sealed ones.
--
\getenv abs_srcdir PG_ABS_SRCDIR
\i :abs_srcdir/sql/include/helpers.sql
-- A value that goes to TOAST.
SELECT string_agg(md5(n::text), '') AS large FROM generate_series(1, 500) n \gset
-- Where a topic's segments, TOAST tables and files are.
CREATE VIEW pg_temp.places AS
SELECT topic, partition, first_offset, coalesce(s.spcname, 'default') AS tablespace,
       t.reltablespace = c.reltablespace AS toast_too,
       pg_relation_filepath(c.oid) LIKE 'pg_tblspc/%' AS elsewhere
  FROM queue.segments
  JOIN pg_class c ON c.oid = segment
  JOIN pg_class t ON t.oid = c.reltoastrelid
  LEFT JOIN pg_tablespace s ON s.oid = c.reltablespace
 WHERE messages > 0 ORDER BY 1, 2, 3;
SET client_min_messages = warning;
SET allow_in_place_tablespaces = true;
CREATE TABLESPACE regress_hot LOCATION '';
CREATE TABLESPACE "regress Cold" LOCATION '';

SELECT queue.create_topic('t', 2, 'text', segment_messages => 10, tablespace => 'regress_hot');
SELECT topic, tablespace FROM queue.topics;
CALL pg_temp.fill('t', 3, first => :'large');
SELECT * FROM pg_temp.places;
-- The caller's default_tablespace says nothing.
SET default_tablespace = 'regress Cold';
SELECT queue.create_topic('plain', 1, 'text', segment_messages => 10);
RESET default_tablespace;
CALL pg_temp.fill('plain', 1, first => :'large');
SELECT * FROM pg_temp.places WHERE topic = 'plain';
-- From now on: those kept ahead are there already.
SELECT queue.alter_topic('plain', tablespace => 'regress Cold');
SELECT queue.alter_topic('plain', notify => false);
CALL pg_temp.fill('plain', 4, first => :'large');
SELECT * FROM pg_temp.places WHERE topic = 'plain';
SELECT queue.alter_topic('plain', tablespace => '');
SELECT topic, tablespace FROM queue.topics ORDER BY 1;

-- Sealed ones are moved, the one in use is not.
CALL pg_temp.fill('t', 2, 1, first => :'large');
SELECT partition, "offset" FROM (SELECT (queue.produce('t', 'in use', partition => p)).* FROM generate_series(0, 1) p) m;
SELECT md5(string_agg(m::text, ' ' ORDER BY partition, "offset")) AS before FROM topic.t m \gset
SELECT partition, segment IS NOT NULL AS segment, first_offset, bytes > 0 AS bytes, moved
  FROM queue.move_segments('t', 'regress Cold', before_offset => 19);
SELECT partition, first_offset, moved FROM queue.move_segments('t', 'regress Cold', 0);
SELECT * FROM pg_temp.places WHERE topic = 't';
SELECT partition, first_offset, moved FROM queue.move_segments('t', 'regress Cold');
SELECT md5(string_agg(m::text, ' ' ORDER BY partition, "offset")) = :'before' AS same FROM topic.t m;
SELECT * FROM queue.verify('t');
SELECT min(m."offset"), count(*) FROM queue.fetch_typed('t', 0, 5, NULL::text, 100) m;
-- There already.
SELECT * FROM queue.move_segments('t', 'regress Cold');
-- Taken back.
BEGIN;
SELECT partition, first_offset, moved FROM queue.move_segments('t', '');
SELECT * FROM pg_temp.places WHERE topic = 't';
ROLLBACK;
SELECT * FROM pg_temp.places WHERE topic = 't';
SELECT partition, first_offset, moved FROM queue.move_segments('t', 'pg_default', 1);
SELECT * FROM pg_temp.places WHERE topic = 't';
-- Retention, producing and dropping are as before.
SELECT log_start, segments FROM queue.delete_messages('t', 0, 20);
CALL pg_temp.fill('t', 1, first => :'large');
SELECT count(*) FROM topic.t;

-- Rights and errors.
CREATE ROLE regress_tier;
GRANT CREATE ON SCHEMA topic TO regress_tier;
GRANT CREATE ON TABLESPACE regress_hot TO regress_tier;
SET ROLE regress_tier;
SELECT queue.create_topic('mine', 1, 'text', segment_messages => 10, tablespace => 'regress_hot');
RESET ROLE;
CALL pg_temp.fill('mine', 4, first => :'large');
SET ROLE regress_tier;
SELECT call, pg_temp.error_of('SELECT * FROM queue.' || call)
  FROM unnest(ARRAY[
    $$create_topic('other', tablespace => 'regress Cold')$$,
    $$create_topic('other', tablespace => 'nope')$$,
    $$create_topic('other', tablespace => 'pg_global')$$,
    $$alter_topic('mine', tablespace => 'regress Cold')$$,
    $$alter_topic('mine', tablespace => 'nope')$$,
    $$move_segments('mine', 'regress Cold')$$,
    $$move_segments('mine', 'nope')$$,
    $$move_segments('mine', 'pg_global')$$,
    $$move_segments('mine', NULL)$$,
    $$move_segments('mine', 'regress_hot', 1)$$,
    $$move_segments('t', 'regress_hot')$$,
    $$move_segments('nope', 'regress_hot')$$]) WITH ORDINALITY u(call, n)
 ORDER BY n;
SELECT partition, first_offset, moved FROM queue.move_segments('mine', '');
SELECT partition, first_offset, moved FROM queue.move_segments('mine', 'regress_hot', 0, 10);
RESET ROLE;
SELECT * FROM pg_temp.places WHERE topic = 'mine';
-- A role that alters another's topic cannot give it what the owner may not have.
SELECT pg_temp.error_of($$SELECT queue.alter_topic('mine', tablespace => 'regress Cold')$$);
-- A right that is taken away, and a tablespace that is gone, fail no producer.
REVOKE CREATE ON TABLESPACE regress_hot FROM regress_tier;
-- The transaction has the lock that a worker would need, so it makes the segments.
BEGIN;
SELECT queue.alter_topic('mine', partitions => 2);
SELECT "offset" FROM queue.produce('mine', 'x', partition => 1);
COMMIT;
SELECT count(*), bool_and(reltablespace = 0) AS all_default
  FROM queue.segments JOIN pg_class c ON c.oid = segment WHERE topic = 'mine' AND partition = 1;
CREATE TABLESPACE regress_gone LOCATION '';
SELECT queue.create_topic('gone', 1, 'text', segment_messages => 10);
SELECT queue.alter_topic('gone', tablespace => 'regress_gone');
DROP TABLESPACE regress_gone;
BEGIN;
SELECT queue.alter_topic('gone', partitions => 2);
SELECT "offset" FROM queue.produce('gone', 'x', partition => 1);
COMMIT;
SELECT tablespace FROM queue.topics WHERE topic = 'gone';

SELECT queue.drop_topic(name) FROM unnest(ARRAY['t', 'plain', 'mine', 'gone']) name;
DROP TABLESPACE regress_hot;
DROP TABLESPACE "regress Cold";
DROP OWNED BY regress_tier;
DROP ROLE regress_tier;
