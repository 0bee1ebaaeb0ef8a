--
-- After the fuzzing: everything that is left can be read, checked, maintained
-- and removed.  Errors, and lines that begin with PROBLEM, are faults.
--
\set ON_ERROR_STOP off
\pset format unaligned
\pset tuples_only on
SET client_min_messages = error;
SET statement_timeout = '10min';

-- Prepared transactions that no session has ended.
SELECT format('ROLLBACK PREPARED %L', gid) FROM pg_prepared_xacts \gexec

-- Every view, read by a superuser and by a role without rights.
SELECT format('DO $do$ BEGIN PERFORM * FROM queue.%I; SET ROLE fuzz_nobody; PERFORM * FROM queue.%1$I; RESET ROLE; END $do$', relname)
FROM pg_class WHERE relnamespace = 'queue'::regnamespace AND relkind = 'v'
AND has_table_privilege('fuzz_nobody', oid, 'SELECT') ORDER BY relname \gexec

-- Every topic.
SELECT format('SELECT %L, v.* FROM queue.verify(%L) v', 'PROBLEM of ' || name, name)
FROM queue.topic ORDER BY topic_id \gexec
-- The view's owner may have lost the table, or the table the view.
SELECT format('DO $do$ BEGIN PERFORM * FROM topic.%I; EXCEPTION WHEN insufficient_privilege THEN NULL; END $do$', name)
FROM queue.topic ORDER BY topic_id \gexec

CALL queue.maintain();
SELECT queue.stop_maintenance() \g /dev/null

-- Tables and views of users that depend on topics.
SELECT format('DROP %s IF EXISTS %s CASCADE', CASE relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE 'TABLE' END, c.oid::regclass)
FROM pg_class c WHERE relkind IN ('v', 'm', 'r', 'p') AND relnamespace::regnamespace::text ~ '^(fuzz.*|public|topic)$'
AND NOT (relnamespace = 'topic'::regnamespace AND relname IN (SELECT name FROM queue.topic)) ORDER BY c.oid \gexec

-- Dropped by its owner, unless that role has lost the right to log in as such.
SELECT format('SET SESSION AUTHORIZATION %I', r.rolname), format('SELECT queue.drop_topic(%L, cascade => true)', t.name), 'RESET SESSION AUTHORIZATION'
FROM queue.topic t JOIN pg_class c ON c.oid = t.log JOIN pg_roles r ON r.oid = c.relowner ORDER BY topic_id \gexec
SELECT format('SELECT queue.drop_topic(%L, cascade => true)', name) FROM queue.topic ORDER BY topic_id \gexec

-- Nothing of them stays behind.
SELECT 'PROBLEM: left behind', c.oid::regclass FROM pg_class c
WHERE c.relnamespace = 'queue'::regnamespace AND c.relname ~ '^log_[0-9]+_' AND c.relkind IN ('r', 'p') AND NOT c.relispartition
AND c.relam = (SELECT oid FROM pg_am WHERE amname = 'queue_log');
SELECT 'PROBLEM: left behind', 'progress', count(*) FROM queue.progress HAVING count(*) > 0;
SELECT 'PROBLEM: left behind', 'checkpoint', count(*) FROM queue.checkpoint HAVING count(*) > 0;
SELECT 'PROBLEM: left behind', 'producer', count(*) FROM queue.producer HAVING count(*) > 0;
SELECT 'PROBLEM: left behind', 'member', count(*) FROM queue.member HAVING count(*) > 0;
SELECT 'PROBLEM: left behind', 'assignment', count(*) FROM queue.assignment HAVING count(*) > 0;

DROP EXTENSION queue CASCADE;
SELECT 'PROBLEM: left behind', proname FROM pg_proc WHERE probin LIKE '%queue%';
