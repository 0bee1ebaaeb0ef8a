--
-- Maintenance that is seen: views queue.maintenance and queue.maintenance_errors, and
-- the NOTICE that limits have no effect without maintenance.
--
SELECT current_database() AS own \gset
CREATE DATABASE regress_maintenance;
\c regress_maintenance
SET client_min_messages = warning;
CREATE EXTENSION queue;
RESET client_min_messages;
CREATE ROLE regress_owner;
CREATE ROLE regress_reader;
CREATE ROLE regress_watch IN ROLE pg_monitor;
GRANT CREATE ON SCHEMA topic, public TO regress_owner;
CREATE VIEW state AS
SELECT pid IS NOT NULL AS runs, started_by = session_user AS mine, persistent, last_pass IS NOT NULL AS passed,
       last_duration >= '0' AS duration, pass_begun IS NOT NULL AS busy, next_pass - last_pass AS next, failed_topics AS failed
  FROM queue.maintenance;
GRANT SELECT ON state TO regress_watch;
SELECT * FROM state;

-- Limits without maintenance.
SELECT queue.create_topic('unlimited');
SELECT queue.create_topic('aged', retention => '1 day');
SELECT queue.create_topic('sized', retention_bytes => 1000000);
SELECT queue.create_topic('compacted', cleanup_policy => 'compact');
SELECT queue.alter_topic('unlimited', notify => true);
SELECT queue.alter_topic('unlimited', retention => '1 day');
SELECT queue.alter_topic('unlimited', retention => '0');
-- Not all topics are maintained by a pass over one, or over those of one role.
SET client_min_messages = warning;
CALL queue.maintain('aged');
SET ROLE regress_owner;
SELECT queue.create_topic('owned', value_type => 'text', segment_messages => 2);
CALL queue.maintain();
RESET client_min_messages;
SELECT queue.alter_topic('owned', retention => '1 day');
RESET ROLE;
SELECT * FROM state;
-- A pass over all counts, for an hour.
SET client_min_messages = warning;
CALL queue.maintain();
RESET client_min_messages;
SELECT * FROM state;
SELECT queue.alter_topic('sized', retention => '1 day');

-- A running worker.
SELECT queue.start_maintenance() > 0 AS started;
SELECT pid IN (SELECT a.pid FROM pg_stat_activity a WHERE backend_type = 'queue maintenance worker' AND datname = current_database()) AS worker,
       started_by = current_user AS mine, started_at <= clock_timestamp() AS at, persistent FROM queue.maintenance;
DO $$ BEGIN
	WHILE NOT EXISTS (SELECT FROM queue.maintenance WHERE last_pass > started_at AND pass_begun IS NULL) LOOP
		PERFORM pg_sleep(0.01);
	END LOOP;
END $$;
SELECT * FROM state;
SELECT queue.alter_topic('sized', retention => '2 days');
-- Persistent from now on; stopped, it is neither.
SELECT queue.start_maintenance(persistent => true) = pid AS same FROM queue.maintenance;
SELECT runs, persistent FROM state;
SELECT queue.start_maintenance() > 0 AS as_it_was;
SELECT runs, persistent FROM state;
SELECT queue.stop_maintenance();
SELECT * FROM state;
SELECT queue.stop_maintenance();
-- With the transaction.
BEGIN;
SELECT queue.start_maintenance(true) > 0 AS started;
SELECT runs, persistent FROM state;
ROLLBACK;
SELECT runs, persistent FROM state;
SELECT queue.stop_maintenance();


-- Errors: of the part of a pass that failed, until it succeeds.  A function of the
-- topic's owner may put payload into its message.
SET ROLE regress_owner;
SELECT queue.alter_topic('owned', retention => '0', cleanup_policy => 'compact');
CREATE TABLE public.refuses ();
CREATE FUNCTION public.refuse(value text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN
	IF to_regclass('public.refuses') IS NOT NULL AND value <> '' THEN RAISE 'no %', value; END IF;
	RETURN value;
END $$;
GRANT SELECT ON topic.owned TO regress_reader;
RESET ROLE;
SELECT log AS owned FROM queue.topic WHERE name = 'owned' \gset
ALTER TABLE public.refuses RENAME TO accepts;
CREATE INDEX ON :owned (public.refuse(value));
DO $$ BEGIN FOR i IN 1 .. 9 LOOP PERFORM queue.produce('owned', 'secret', key => CASE i % 2 WHEN 0 THEN 'k' ELSE 'k-' || i END); COMMIT; END LOOP; END $$;
ALTER TABLE public.accepts RENAME TO refuses;
SET client_min_messages = error;
CALL queue.maintain();
SELECT topic, part, since <= now() AS since, sqlstate, message FROM queue.maintenance_errors;
SELECT failed FROM state;
SELECT xmin AS written FROM queue.maintenance_error \gset
SET ROLE regress_owner;
SELECT topic, message FROM queue.maintenance_errors;
SELECT count(*) FROM queue.maintenance;
SET ROLE regress_watch;
SELECT topic, message FROM queue.maintenance_errors;
SELECT failed FROM state;
SET ROLE regress_reader;
SELECT count(*) FROM queue.maintenance_errors;
RESET ROLE;
-- The same error again is no news; a pass over another topic is none, either.
CALL queue.maintain();
CALL queue.maintain('aged');
SELECT xmin = :written AS unchanged FROM queue.maintenance_error;
-- A broken topic.
SET queue.allow_ddl = on;
ALTER VIEW topic.sized RENAME TO away;
CALL queue.maintain();
SELECT topic, part, sqlstate, message FROM queue.maintenance_errors ORDER BY 1, 2;
ALTER VIEW topic.away RENAME TO sized;
-- It succeeds.
ALTER TABLE public.refuses RENAME TO accepts;
CALL queue.maintain();
SELECT topic FROM queue.maintenance_errors;
SELECT failed FROM state;
SELECT count(*) FROM queue.maintenance_error;
-- A topic is dropped: its row goes with the next pass, and is not shown.
ALTER VIEW topic.sized RENAME TO away;
CALL queue.maintain();
ALTER VIEW topic.away RENAME TO sized;
SELECT failed FROM state;
SELECT queue.drop_topic('sized');
SELECT failed FROM state;
SELECT count(*) FROM queue.maintenance_error;
CALL queue.maintain();
SELECT count(*) FROM queue.maintenance_error;
RESET queue.allow_ddl;
RESET client_min_messages;

-- Why nothing goes.
\getenv abs_srcdir PG_ABS_SRCDIR
\i :abs_srcdir/sql/include/helpers.sql
SELECT queue.create_topic('kept', value_type => 'text', segment_messages => 2);
DO $$ BEGIN FOR i IN 1 .. 5 LOOP PERFORM queue.produce('kept', i::text); COMMIT; END LOOP; END $$;
CREATE FUNCTION reason() RETURNS text LANGUAGE sql AS
$$ SELECT regexp_replace(reason, '[0-9]+', 'N') FROM queue.retention WHERE topic = 'kept' $$;
SELECT reason();
SELECT queue.alter_topic('kept', cleanup_policy => 'compact', retention => '1 hour');
SELECT reason();
SELECT queue.alter_topic('kept', cleanup_policy => 'delete');
SELECT reason();
SELECT queue.alter_topic('kept', retention => '1 millisecond');
SELECT pg_sleep(0.01);
SELECT queue.create_group('slow', 'kept');
SELECT reason();
SET client_min_messages = warning;
CALL pg_temp.settle('kept');
CALL queue.maintain('kept');
RESET client_min_messages;
CALL queue.maintain('kept');
SELECT queue.alter_topic('kept', retention_force => true);
SELECT reason();
SELECT queue.alter_topic('kept', retention_force => false);
SELECT count(*) FROM queue.consume_typed('slow', 'kept', NULL::text);
SELECT reason();
BEGIN;
SELECT count(*) FROM topic.kept;
PREPARE TRANSACTION 'reads';
SELECT reason();
ROLLBACK PREPARED 'reads';
SET client_min_messages = warning;
CALL queue.maintain('kept');
RESET client_min_messages;
SELECT reason(), (SELECT log_start FROM queue.retention WHERE topic = 'kept');
-- In a database in which no pass was made.
CREATE DATABASE regress_maintenance_2;
\c regress_maintenance_2
SET client_min_messages = error;
CREATE EXTENSION queue;
SELECT queue.create_topic('kept', value_type => 'text', segment_messages => 2, retention => '1 millisecond');
DO $$ BEGIN FOR i IN 1 .. 5 LOOP PERFORM queue.produce('kept', i::text); COMMIT; END LOOP; END $$;
SELECT pg_sleep(0.01);
SELECT queue.create_topic('open', retention => '1 hour');
SELECT (queue.produce('open', '1')).offset;
SELECT topic, reason FROM queue.retention ORDER BY 1;
-- A closed segment is kept since its messages are young.
SELECT queue.roll_segments('open');
SELECT reason FROM queue.retention WHERE topic = 'open';
\c regress_maintenance
DROP DATABASE regress_maintenance_2;
SELECT queue.drop_topic('kept'), queue.drop_group('slow');

-- The owner of the extension may start a worker, and see it.
ALTER SCHEMA queue OWNER TO regress_reader;
GRANT EXECUTE ON FUNCTION queue.start_maintenance, queue.stop_maintenance TO regress_reader, regress_owner;
SET ROLE regress_reader;
SELECT queue.start_maintenance(persistent => true) > 0 AS started;
SELECT started_by, persistent FROM queue.maintenance;
SET ROLE regress_owner;
SELECT queue.start_maintenance(true);
SELECT queue.stop_maintenance();
RESET ROLE;
SELECT started_by FROM queue.persistent_maintenance;
SELECT queue.stop_maintenance();
ALTER SCHEMA queue OWNER TO CURRENT_USER;
BEGIN READ ONLY;
SELECT queue.start_maintenance();
ROLLBACK;
BEGIN READ ONLY;
SELECT queue.stop_maintenance();
ROLLBACK;

\c :own
DROP DATABASE regress_maintenance;
DROP ROLE regress_owner, regress_reader, regress_watch;
