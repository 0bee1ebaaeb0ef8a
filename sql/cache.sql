--
-- What a session remembers of a topic never outlives the topic.
--

-- Dropped and made again under the same name, of another shape, by one session.
SELECT queue.create_topic('t', 1, 'int');
SELECT "offset" FROM queue.produce('t', 1);
SELECT "offset" FROM queue.produce('t', 2);
SELECT value FROM queue.consume_typed('g', 't', value_type => NULL::int);
SELECT queue.drop_topic('t');
SELECT queue.produce('t', 3);
SELECT queue.create_topic('t', 3, 'text', segment_messages => 5);
SELECT partition, "offset" FROM queue.produce('t', 'first', partition => 2);
SELECT value FROM queue.consume_typed('g', 't', NULL::text);
SELECT count FROM queue.produce_batch('t', ARRAY(SELECT n::text FROM generate_series(1, 20) n), partition => 2);
SELECT queue.drop_topic('t');

-- In a subtransaction that is rolled back.
SELECT queue.create_topic('t', 1, 'int');
SELECT "offset" FROM queue.produce('t', 1);
BEGIN;
SELECT "offset" FROM queue.produce('t', 2);
SAVEPOINT s;
SELECT queue.drop_topic('t');
SELECT queue.create_topic('t', 4, 'text', 2);
SELECT partition, "offset" FROM queue.produce('t', 'x', partition => 3);
SELECT first_offset, last_offset FROM queue.produce_batch('t', ARRAY['x', 'x', 'x'], partition => 3);
SELECT count(*) FROM queue.consume_typed('h', 't', NULL::text);
ROLLBACK TO s;
SELECT "offset" FROM queue.produce('t', 3);
SELECT value FROM queue.consume_typed('h', 't', value_type => NULL::int);
COMMIT;
SELECT "offset", value FROM topic.t ORDER BY "offset";
-- The change itself is rolled back.
BEGIN;
SELECT queue.alter_topic('t', 2, 10);
SELECT partition FROM queue.produce('t', 4, partition => 1);
ROLLBACK;
SELECT queue.produce('t', 4, partition => 1);
DO $$
BEGIN
	PERFORM queue.alter_topic('t', 5);
	PERFORM queue.produce('t', 4, partition => 4);
	RAISE division_by_zero;
EXCEPTION WHEN division_by_zero THEN
	NULL;
END $$;
SELECT partitions FROM queue.topics WHERE topic = 't';
SELECT queue.produce('t', 4, partition => 4);
-- A topic made and dropped in one transaction, both ways it can end.
BEGIN;
SELECT queue.create_topic('once');
SELECT "offset" FROM queue.produce('once', '1');
SELECT queue.drop_topic('once');
SELECT queue.create_topic('once', 2);
SELECT "offset" FROM queue.produce('once', '1', partition => 1);
COMMIT;
SELECT partition, value FROM topic.once;
BEGIN;
SELECT queue.drop_topic('once');
ROLLBACK;
SELECT "offset" FROM queue.produce('once', '2', partition => 1);
BEGIN;
SELECT queue.drop_topic('once');
COMMIT;
SELECT queue.produce('once', '3');

-- Prepared statements live through it.
PREPARE put AS SELECT partition, "offset" FROM queue.produce('t', '7', partition => 0);
PREPARE get AS SELECT value::text FROM topic.t ORDER BY "offset" DESC LIMIT 1;
EXECUTE put;
EXECUTE get;
BEGIN;
SELECT queue.drop_topic('t');
SELECT queue.create_topic('t', 1, 'text');
COMMIT;
EXECUTE put;
EXECUTE get;

-- DISCARD, and settings of the session.
DISCARD PLANS;
SELECT "offset" FROM queue.produce('t', '8');
DISCARD ALL;
SELECT "offset" FROM queue.produce('t', '9');
SELECT count(*) FROM queue.consume_typed('d', 't', NULL::text);
SET SESSION AUTHORIZATION DEFAULT;
RESET ALL;
SELECT count(*) FROM queue.consume_typed('d', 't', NULL::text);

-- A domain's CHECK that changes meanwhile counts at once; one that produces
-- does not disturb the produce that it is part of.
CREATE DOMAIN small AS int CHECK (VALUE < 100);
SELECT queue.create_topic('dom', 1, 'small');
SELECT "offset" FROM queue.produce('dom', 99);
ALTER DOMAIN small DROP CONSTRAINT small_check;
ALTER DOMAIN small ADD CONSTRAINT smaller CHECK (VALUE < 10) NOT VALID;
\set VERBOSITY sqlstate
SELECT queue.produce('dom', '50');
SELECT queue.produce('dom', 50);
SELECT queue.produce_batch('dom', ARRAY['5', '50']);
\set VERBOSITY default
ALTER DOMAIN small DROP CONSTRAINT smaller;
SELECT value FROM topic.dom;
SELECT "offset" FROM queue.produce('dom', '500');
SELECT "offset" FROM queue.produce('dom', 501);
CREATE FUNCTION note(int) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	PERFORM queue.produce('t', 'noted ' || $1);
	PERFORM queue.alter_topic('dom', (SELECT partitions + 1 FROM queue.topics WHERE topic = 'dom'));
	RETURN true;
END $$;
ALTER DOMAIN small ADD CONSTRAINT noted CHECK (note(VALUE)) NOT VALID;
SELECT count FROM queue.produce_batch('dom', ARRAY['1', '2', '3'], partition => 0);
SELECT partition FROM queue.produce('dom', '4', partition => 0);
SELECT value FROM topic.t WHERE value LIKE 'noted%' ORDER BY "offset";
SELECT value FROM topic.dom ORDER BY "offset";
SELECT partitions FROM queue.topics WHERE topic = 'dom';
SELECT queue.drop_topic('dom');
DROP DOMAIN small;
DROP FUNCTION note(int);

-- The extension dropped and made again, in one session.
SELECT queue.drop_topic('t');
DROP EXTENSION queue;
SELECT queue.produce('t', '1');
CREATE EXTENSION queue;
SELECT queue.produce('t', '1');
SELECT queue.create_topic('t', 2);
SELECT partition, "offset" FROM queue.produce('t', '1', partition => 1);
SELECT value FROM queue.consume('g', 't');
BEGIN;
\set VERBOSITY sqlstate
SET LOCAL client_min_messages = warning;
DROP EXTENSION queue CASCADE;
SAVEPOINT s;
SELECT queue.produce('t', '2');
ROLLBACK TO s;
CREATE EXTENSION queue;
SELECT count(*) FROM queue.topics;
SELECT queue.create_topic('t', 1, 'text');
SELECT "offset" FROM queue.produce('t', 'other');
ROLLBACK;
\set VERBOSITY default
SELECT partition, "offset" FROM queue.produce('t', '2', partition => 1);
SELECT value FROM queue.consume('g', 't');
SELECT queue.drop_topic('t');

-- A transaction that rolls often does not gather descriptions of the topic.
\c -
SELECT queue.create_topic('rolls', 1, 'int', segment_messages => 2);
BEGIN;
SELECT count(queue.produce('rolls', n)) FROM generate_series(1, 60) n;
SELECT count FROM queue.produce_batch('rolls', ARRAY(SELECT generate_series(1, 60)));
SELECT count(*) BETWEEN 1 AND 2 AS few FROM pg_backend_memory_contexts WHERE name = 'queue topic';
COMMIT;
SELECT count(*) FROM topic.rolls;
SELECT queue.drop_topic('rolls');
