--
-- C code reads messages by position: a topic whose table, segment or view has
-- lost its shape is refused by every call, and usable again when it has it back.
--
\set VERBOSITY terse
CREATE FUNCTION pg_temp.detail_of(command text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	detail text;
BEGIN
	EXECUTE command;
	RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
	RETURN SQLSTATE || ': ' || coalesce(nullif(detail, ''), SQLERRM);
END $$;
SELECT queue.create_topic('s', 1, 'bigint', segment_messages => 1000);
SELECT count(queue.produce('s', n::bigint)) FROM generate_series(1, 3) n;
SELECT log, segment FROM queue.topic, queue.segments WHERE name = 's' AND topic = 's' AND first_offset = 0 \gset
-- verify() tells what it finds in rows.
CREATE FUNCTION pg_temp.verify() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	found text;
BEGIN
	FOR found IN SELECT problem FROM queue.verify('s') LOOP
		RAISE EXCEPTION USING ERRCODE = '55000', DETAIL = found;
	END LOOP;
END $$;
-- What calls answer after a command, and after the one that undoes it.
CREATE FUNCTION pg_temp.spoil(ddl text, undo text, OUT command text, OUT answer text) RETURNS SETOF record LANGUAGE plpgsql AS $$
DECLARE
	calls text[] := ARRAY[
		'SELECT queue.produce(''s'', 4::bigint)',
		'SELECT queue.produce(''s'', ''4'')',
		'SELECT queue.produce_batch(''s'', ARRAY[4, 5]::bigint[])',
		'INSERT INTO topic.s (value) VALUES (6)',
		'SELECT count(value) FROM queue.fetch_typed(''s'', 0, 0, NULL::bigint)',
		'SELECT count(value) FROM queue.consume_typed(''g'', ''s'', NULL::bigint)',
		'SELECT pg_temp.verify()'];
	names text[] := ARRAY['produce', 'produce text', 'produce_batch', 'INSERT', 'fetch', 'consume', 'verify'];
BEGIN
	PERFORM set_config('queue.allow_ddl', 'on', false);
	EXECUTE replace(replace(ddl, '$log', (SELECT log::text FROM queue.topic WHERE name = 's')),
		'$segment', (SELECT segment::text FROM queue.segments WHERE topic = 's' ORDER BY first_offset LIMIT 1));
	PERFORM set_config('queue.allow_ddl', 'off', false);
	FOR answer, command IN
		SELECT regexp_replace(pg_temp.detail_of(call), 'log_\d+', 'log_N', 'g'), string_agg(name, ', ' ORDER BY ordinality)
		  FROM unnest(calls, names) WITH ORDINALITY AS c(call, name, ordinality) GROUP BY 1 ORDER BY min(ordinality)
	LOOP
		command := format('%s -> %s', ddl, command);
		RETURN NEXT;
	END LOOP;
	PERFORM set_config('queue.allow_ddl', 'on', false);
	EXECUTE replace(replace(undo, '$log', 'queue.' || (SELECT relname FROM pg_class c, queue.topic t WHERE name = 's' AND c.oid = t.log)),
		'$segment', (SELECT inhrelid::regclass::text FROM pg_inherits, queue.topic WHERE name = 's' AND inhparent = log ORDER BY 1 LIMIT 1));
	PERFORM set_config('queue.allow_ddl', 'off', false);
	command := undo;
	SELECT string_agg(DISTINCT pg_temp.detail_of(call), ', ') INTO answer FROM unnest(calls) call;
	RETURN NEXT;
END $$;

\pset format unaligned
\pset tuples_only on
CREATE FUNCTION shape_trigger() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE ROLE regress_shape;
-- The topic's table.
SELECT * FROM pg_temp.spoil('ALTER TABLE $log ALTER value SET NOT NULL', 'ALTER TABLE $log ALTER value DROP NOT NULL');
SELECT * FROM pg_temp.spoil('ALTER TABLE $log RENAME COLUMN headers TO h', 'ALTER TABLE $log RENAME COLUMN h TO headers');
SELECT * FROM pg_temp.spoil('ALTER TABLE $log ENABLE ROW LEVEL SECURITY', 'ALTER TABLE $log DISABLE ROW LEVEL SECURITY');
SELECT * FROM pg_temp.spoil('CREATE RULE r AS ON INSERT TO $log DO ALSO NOTHING', 'DROP RULE r ON $log');
SELECT * FROM pg_temp.spoil('CREATE TRIGGER t AFTER INSERT ON $log FOR EACH STATEMENT EXECUTE FUNCTION shape_trigger()', 'DROP TRIGGER t ON $log');
SELECT * FROM pg_temp.spoil('ALTER TABLE $log ADD CONSTRAINT f UNIQUE (partition, "offset") DEFERRABLE', 'ALTER TABLE $log DROP CONSTRAINT f');
SELECT * FROM pg_temp.spoil('ALTER TABLE $log OWNER TO regress_shape', 'ALTER TABLE $log OWNER TO CURRENT_USER');
SELECT * FROM pg_temp.spoil('ALTER TABLE $log SET SCHEMA public', 'DO $do$ BEGIN EXECUTE format(''ALTER TABLE public.%s SET SCHEMA queue'', (SELECT relname FROM pg_class c, queue.topic t WHERE name = ''s'' AND c.oid = t.log)); END $do$');
-- A segment.
SELECT * FROM pg_temp.spoil('ALTER TABLE $segment ALTER value SET NOT NULL', 'ALTER TABLE $segment ALTER value DROP NOT NULL');
SELECT * FROM pg_temp.spoil('ALTER TABLE $segment ENABLE ROW LEVEL SECURITY', 'ALTER TABLE $segment DISABLE ROW LEVEL SECURITY');
SELECT * FROM pg_temp.spoil('CREATE RULE r AS ON INSERT TO $segment DO INSTEAD NOTHING', 'DROP RULE r ON $segment');
SELECT * FROM pg_temp.spoil('CREATE TRIGGER t BEFORE INSERT ON $segment FOR EACH ROW EXECUTE FUNCTION shape_trigger()', 'DROP TRIGGER t ON $segment');
SELECT * FROM pg_temp.spoil('ALTER TABLE $segment OWNER TO regress_shape', 'ALTER TABLE $segment OWNER TO CURRENT_USER');
SELECT * FROM pg_temp.spoil('ALTER TABLE $segment SET SCHEMA public', 'ALTER TABLE $segment SET SCHEMA queue');
-- The view.
SELECT * FROM pg_temp.spoil('ALTER VIEW topic.s RENAME COLUMN value TO v', 'ALTER VIEW topic.s RENAME COLUMN v TO value');
SELECT * FROM pg_temp.spoil('ALTER VIEW topic.s RENAME TO away', 'ALTER VIEW topic.away RENAME TO s');
SELECT * FROM pg_temp.spoil('ALTER VIEW topic.s OWNER TO regress_shape', 'ALTER VIEW topic.s OWNER TO CURRENT_USER');
-- What is not part of the shape changes nothing.
SELECT * FROM pg_temp.spoil('ALTER TABLE $log REPLICA IDENTITY FULL', 'ALTER TABLE $log REPLICA IDENTITY DEFAULT');
SELECT * FROM pg_temp.spoil('CREATE UNIQUE INDEX i ON $log (partition, "offset")', 'DROP INDEX queue.i');
SELECT * FROM pg_temp.spoil('ALTER TABLE $log ALTER headers SET STORAGE EXTERNAL', 'ALTER TABLE $log ALTER headers SET STORAGE EXTENDED');

-- A table in another order, attached in place of a segment that was never used.
\set VERBOSITY default
SET queue.allow_ddl = on;
SELECT segment AS last_name, first_offset, end_offset FROM queue.segments WHERE topic = 's' ORDER BY first_offset DESC LIMIT 1 \gset
BEGIN;
ALTER TABLE :log DETACH PARTITION :last_name;
CREATE TABLE queue.other_order ("offset" bigint NOT NULL, "timestamp" timestamptz NOT NULL, partition int NOT NULL, value bigint, key text, headers jsonb, deliver_at timestamptz) USING queue_log;
INSERT INTO queue.other_order VALUES (:first_offset, now(), 0, NULL, 'text', NULL);
ALTER TABLE :log ATTACH PARTITION queue.other_order FOR VALUES FROM (0, :first_offset) TO (0, :end_offset);
SELECT regexp_replace(pg_temp.detail_of(format('SELECT value FROM queue.fetch_typed(''s'', 0, %s, NULL::bigint)', :first_offset)), 'log_\d+', 'log_N');
SELECT regexp_replace(pg_temp.detail_of('SELECT queue.produce(''s'', 4::bigint)'), 'log_\d+', 'log_N');
ROLLBACK;
-- A heap; a foreign table; a partitioned table.
BEGIN;
ALTER TABLE :log DETACH PARTITION :last_name;
CREATE TABLE queue.heap PARTITION OF :log FOR VALUES FROM (0, :first_offset) TO (0, :end_offset) USING heap;
SELECT regexp_replace(pg_temp.detail_of('SELECT queue.produce(''s'', 4::bigint)'), 'log_\d+', 'log_N');
ROLLBACK;
BEGIN;
ALTER TABLE :log DETACH PARTITION :last_name;
CREATE TABLE queue.deeper PARTITION OF :log FOR VALUES FROM (0, :first_offset) TO (0, :end_offset) PARTITION BY RANGE ("offset");
SELECT regexp_replace(pg_temp.detail_of('SELECT queue.produce(''s'', 4::bigint)'), 'log_\d+', 'log_N');
ROLLBACK;
BEGIN;
ALTER TABLE :log DETACH PARTITION :last_name;
CREATE FOREIGN DATA WRAPPER shape_wrapper;
CREATE SERVER shape_server FOREIGN DATA WRAPPER shape_wrapper;
CREATE FOREIGN TABLE queue.foreign_one PARTITION OF :log FOR VALUES FROM (0, :first_offset) TO (0, :end_offset) SERVER shape_server;
SELECT regexp_replace(pg_temp.detail_of('SELECT queue.produce(''s'', 4::bigint)'), 'log_\d+', 'log_N');
ROLLBACK;
RESET queue.allow_ddl;

-- A view with the trigger and other types than the topic's: the row is not read.
BEGIN;
SET LOCAL queue.allow_ddl = on;
DROP VIEW topic.s;
CREATE VIEW topic.s AS SELECT partition, "offset", "timestamp", 5 AS key, value::text AS value, headers, deliver_at FROM :log;
CREATE TRIGGER produce INSTEAD OF INSERT ON topic.s FOR EACH ROW EXECUTE FUNCTION queue.topic_insert('s');
SELECT pg_temp.detail_of('INSERT INTO topic.s (key, value) VALUES (1, ''x'')');
ROLLBACK;
-- The trigger functions on other relations, and called by hand.
CREATE VIEW shape_view AS SELECT 1 AS partition, 2::bigint AS "offset", now() AS "timestamp", 5 AS key, 6 AS value, 7 AS headers, 8 AS deliver_at;
CREATE TRIGGER produce INSTEAD OF INSERT ON shape_view FOR EACH ROW EXECUTE FUNCTION queue.topic_insert('s');
CREATE TRIGGER refuse INSTEAD OF DELETE ON shape_view FOR EACH ROW EXECUTE FUNCTION queue.refuse_change();
SELECT pg_temp.detail_of('INSERT INTO shape_view (key) VALUES (1)');
SELECT pg_temp.detail_of('DELETE FROM shape_view');
CREATE TABLE shape_table (a int);
CREATE TRIGGER before_one BEFORE INSERT ON shape_table FOR EACH ROW EXECUTE FUNCTION queue.topic_insert('s');
SELECT pg_temp.detail_of('INSERT INTO shape_table VALUES (1)');
DROP TRIGGER before_one ON shape_table;
CREATE TRIGGER flush AFTER INSERT ON shape_table FOR EACH STATEMENT EXECUTE FUNCTION queue.topic_flush();
SELECT pg_temp.detail_of('INSERT INTO shape_table VALUES (1)');
SELECT pg_temp.detail_of(format('SELECT queue.%s()', f)) FROM unnest(ARRAY['topic_insert', 'topic_flush', 'refuse_change']) f;

-- Tables of any shape USING queue_log.
CREATE TABLE shape_log (a int) USING queue_log;
SELECT pg_temp.detail_of('INSERT INTO shape_log VALUES (1)');
DROP TABLE shape_log;
CREATE TABLE shape_log (partition int NOT NULL, "offset" bigint NOT NULL, "timestamp" timestamptz NOT NULL, key text, value text, headers jsonb, deliver_at timestamptz) USING queue_log;
SELECT pg_temp.detail_of('INSERT INTO shape_log VALUES (0, 1, now())');
DROP TABLE shape_log;
CREATE TABLE shape_log ("offset" bigint NOT NULL, "timestamp" timestamptz NOT NULL, partition int, key text, value text, headers jsonb, deliver_at timestamptz) USING queue_log;
SELECT pg_temp.detail_of('INSERT INTO shape_log VALUES (1, now(), 0)');
ALTER TABLE shape_log ALTER partition SET NOT NULL;
SELECT pg_temp.detail_of('INSERT INTO shape_log VALUES (1, now(), 0)');
ALTER TABLE shape_log DROP COLUMN "timestamp";
SELECT pg_temp.detail_of('INSERT INTO shape_log VALUES (2, 0)');
SELECT * FROM shape_log;
DROP TABLE shape_log;

-- Offsets ascend in a table that belongs to no topic, whatever partition its rows name.
CREATE TABLE shape_log ("offset" bigint NOT NULL, "timestamp" timestamptz NOT NULL, partition int NOT NULL, key text, value text, headers jsonb, deliver_at timestamptz) USING queue_log;
INSERT INTO shape_log VALUES (1, now(), 1);
INSERT INTO shape_log SELECT n, now(), 2 FROM generate_series(2, 3000) n;
SELECT pg_temp.detail_of(format('INSERT INTO shape_log VALUES (%s, now(), %s)', n, p)) FROM (VALUES (2, 1), (1500, 1), (3000, 0), (3001, 1), (3001, 5)) v(n, p);
SELECT count(*), count(DISTINCT "offset"), bool_and(ascends) FROM (SELECT "offset", "offset" > lag("offset", 1, 0) OVER (ORDER BY ctid) AS ascends FROM shape_log) o;

SELECT queue.drop_topic('s');
SELECT queue.drop_group('g');
DROP TABLE shape_log, shape_table;
DROP VIEW shape_view;
DROP FUNCTION shape_trigger();
DROP ROLE regress_shape;
