--
-- create_topic, alter_topic, drop_topic: names, arguments, what is left behind.
--
\getenv abs_srcdir PG_ABS_SRCDIR
\i :abs_srcdir/sql/include/helpers.sql

-- Result: the view.
SELECT queue.create_topic('orders');
SELECT queue.create_topic('Orders.v-2_x', partitions => 3, value_type => 'text', segment_messages => 50);
SELECT queue.create_topic(topic => 'select', partitions => 2, value_type => 'bytea');
SELECT topic, partitions, value_type, segment_messages, owner = current_user AS mine,
       created_at <= clock_timestamp() AS created
  FROM queue.topics ORDER BY topic;
SELECT attname, format_type(atttypid, atttypmod) AS type
  FROM pg_attribute WHERE attrelid = 'topic.orders'::regclass AND attnum > 0 ORDER BY attnum;
-- A partition has no segment before its first message, but an offset to begin with.
SELECT topic, partition, log_start, stable_end, log_end, segments, bytes
  FROM queue.partitions ORDER BY topic, partition;

-- Names: 1 to 63 of letters, digits, dot, underscore, hyphen. 42602.
SELECT name, pg_temp.error_of(format('SELECT queue.create_topic(%L)', name))
  FROM unnest(ARRAY['', ' ', 'a b', 'a/b', 'a"b', 'a''b', '"; DROP TABLE queue.topic; --',
                    'queue.topic''; --', 'größe', E'new\nline', '.', '..', '$a', 'a,b']) WITH ORDINALITY u(name, n)
 ORDER BY n;
SELECT pg_temp.error_of(format('SELECT queue.create_topic(%L)', repeat('n', 64)));
SELECT queue.create_topic(repeat('n', 63)) IS NOT NULL AS longest;
SELECT queue.drop_topic(repeat('n', 63));
SELECT queue.create_topic('bad name');      -- detail tells the rule

-- Arguments.
SELECT call, pg_temp.error_of('SELECT queue.create_topic(' || call || ')')
  FROM unnest(ARRAY[
    $$'orders'$$,
    $$NULL$$, $$'x', NULL$$, $$'x', 1, NULL$$,
    $$'x', 0$$, $$'x', -1$$, $$'x', 10001$$,
    $$'x', 1, 'no_such_type'$$, $$'x', 1, 'anyelement'$$, $$'x', 1, 'record'$$, $$'x', 1, 'void'$$,
    $$'x', 1, 'text', -1$$, $$'x', 1, 'text', 2147483648$$]) WITH ORDINALITY u(call, n)
 ORDER BY n;
-- A type that the session drops at its end would take the messages with it.
CREATE TYPE pg_temp.passing AS (a int);
CREATE TEMP TABLE passing_too (a int);
\set VERBOSITY sqlstate
SELECT queue.create_topic('passing', 1, 'pg_temp.passing');
SELECT queue.create_topic('passing', 1, 'pg_temp.passing_too[]');
\set VERBOSITY default
-- A relation of that name that is no topic.
CREATE TABLE topic.taken (a int);
SELECT pg_temp.error_of($$SELECT queue.create_topic('taken')$$);
DROP TABLE topic.taken;
BEGIN READ ONLY;
SELECT queue.create_topic('x');
ROLLBACK;

-- None of these left anything.
SELECT topic FROM queue.topics ORDER BY topic;
SELECT count(*) FROM pg_class WHERE relnamespace = 'queue'::regnamespace AND relkind = 'p';

-- Rolled back with its transaction, or its savepoint.
BEGIN;
SELECT queue.create_topic('gone');
SELECT "offset" FROM queue.produce('gone', '1', partition => 0);
ROLLBACK;
SELECT queue.produce('gone', '1');
BEGIN;
SAVEPOINT s;
SELECT queue.create_topic('gone', 1, 'text');
ROLLBACK TO s;
SELECT queue.create_topic('gone', 2, 'int');
SELECT "offset" FROM queue.produce('gone', 7, partition => 1);
COMMIT;
SELECT partition, value FROM topic.gone;
SELECT queue.drop_topic('gone');

-- More partitions: what is there stays; the new ones can be used at once.
SELECT "offset" FROM queue.produce('orders', '"old"', partition => 0);
SELECT queue.alter_topic('orders', partitions => 3);
SELECT partitions FROM queue.topics WHERE topic = 'orders';
SELECT partition, "offset" FROM queue.produce('orders', '"new"', partition => 2);
SELECT partition, value FROM topic.orders ORDER BY partition;
SELECT queue.alter_topic('orders', 3);                          -- as it is
BEGIN;
SELECT queue.alter_topic('orders', 4);
SELECT partition, "offset" FROM queue.produce('orders', '"undone"', partition => 3);
ROLLBACK;
SELECT queue.produce('orders', '"none"', partition => 3);
-- Width of new segments; NULL leaves it, 0 makes it adaptive again.
SELECT queue.alter_topic('orders', segment_messages => 1000);
SELECT queue.alter_topic('orders');
SELECT partitions, segment_messages FROM queue.topics WHERE topic = 'orders';
SELECT queue.alter_topic('orders', segment_messages => 0);
SELECT partitions, segment_messages FROM queue.topics WHERE topic = 'orders';
SELECT call, pg_temp.error_of('SELECT queue.alter_topic(' || call || ')')
  FROM unnest(ARRAY[$$'nope'$$, $$NULL$$, $$''$$, $$'orders', 2$$, $$'orders', 0$$, $$'orders', -1$$,
                    $$'orders', 10001$$, $$'orders', NULL, -1$$, $$'orders', NULL, 2147483648$$])
       WITH ORDINALITY u(call, n)
 ORDER BY n;
SELECT partitions, segment_messages FROM queue.topics WHERE topic = 'orders';

-- Drop: all of it goes, others stay.
SELECT count(*) FROM queue.consume('g', 'orders');
SELECT queue.drop_topic('orders');
SELECT queue.drop_topic('orders');
SELECT queue.drop_topic('orders', if_exists => true);
SELECT queue.drop_topic(NULL);
SELECT queue.drop_topic('x"; DROP TABLE queue.topic; --', true);
SELECT count(*) FROM queue.progress;
SELECT topic FROM queue.topics ORDER BY topic;
-- What depends on it is named, not taken along.
CREATE VIEW public.mine AS SELECT key FROM topic."Orders.v-2_x";
\set VERBOSITY sqlstate
SELECT queue.drop_topic('Orders.v-2_x');
DROP VIEW public.mine;
SELECT partition, "offset" FROM queue.produce('Orders.v-2_x', 'still there', partition => 1);
-- Not under a cursor of our own; with messages of the same transaction, though.
BEGIN;
DECLARE c CURSOR FOR SELECT * FROM topic."Orders.v-2_x";
SELECT queue.drop_topic('Orders.v-2_x');
ROLLBACK;
\set VERBOSITY default
BEGIN;
SELECT "offset" FROM queue.produce('Orders.v-2_x', 'a', partition => 0);
SELECT queue.drop_topic('Orders.v-2_x');
ROLLBACK;
SELECT partition, value FROM topic."Orders.v-2_x";
BEGIN;
SELECT "offset" FROM queue.produce('Orders.v-2_x', 'a', partition => 0);
SELECT queue.drop_topic('Orders.v-2_x');
COMMIT;
-- Any role can make an object that depends on a topic, even without the right to read
-- it.  The topic's owner drops it by cascade.  Another topic cannot depend on it.
CREATE ROLE regress_topic_owner;
CREATE ROLE regress_topic_stranger;
GRANT CREATE ON SCHEMA topic TO regress_topic_owner, regress_topic_stranger;
CREATE SCHEMA stranger AUTHORIZATION regress_topic_stranger;
SET ROLE regress_topic_owner;
SELECT queue.create_topic('kept', value_type => 'text');
SELECT (queue.produce('kept', 'first')).offset;
RESET ROLE;
SELECT segment FROM queue.segments WHERE topic = 'kept' AND first_offset = 0 \gset
SET ROLE regress_topic_stranger;
CREATE VIEW stranger.of_view AS SELECT 1 AS one FROM topic.kept;
CREATE VIEW stranger.of_segment AS SELECT 1 AS one FROM :segment;
CREATE FUNCTION stranger.of_row(topic.kept) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE TYPE stranger.of_rows AS (rows topic.kept[]);
\set VERBOSITY sqlstate
SELECT queue.create_topic('of_kept', value_type => 'topic.kept');
SELECT queue.create_topic('of_kept', value_type => :'segment');
SELECT queue.create_topic('of_kept', value_type => 'stranger.of_rows');
SELECT queue.drop_topic('kept', cascade => true);
SET ROLE regress_topic_owner;
SELECT queue.drop_topic('kept');
SELECT queue.drop_topic('kept', cascade => NULL);
\set VERBOSITY default
-- the hint names what the owner can call, not DROP ... CASCADE
DO $$
DECLARE
	hint text;
BEGIN
	PERFORM queue.drop_topic('kept');
EXCEPTION WHEN dependent_objects_still_exist THEN
	GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
	RAISE NOTICE '%', hint;
END $$;
SELECT queue.drop_topic('topic.kept');
SELECT queue.consume('g', '{kept,select}');
SELECT queue.drop_topic('kept', cascade => true);
RESET ROLE;
SELECT relname FROM pg_class WHERE relnamespace = 'stranger'::regnamespace
UNION ALL SELECT proname FROM pg_proc WHERE pronamespace = 'stranger'::regnamespace;
DROP TYPE stranger.of_rows;
DROP SCHEMA stranger;
REVOKE CREATE ON SCHEMA topic FROM regress_topic_owner, regress_topic_stranger;
DROP ROLE regress_topic_owner, regress_topic_stranger;
SELECT queue.drop_topic('select');
SELECT count(*) FROM pg_class WHERE relnamespace = 'topic'::regnamespace OR relname ~ '^log_[0-9]';
