--
-- queue.process(): messages on which the handler fails are parked, and all others go
-- on.
--
\getenv abs_srcdir PG_ABS_SRCDIR
\i :abs_srcdir/sql/include/helpers.sql
SET statement_timeout = '10 min';
SELECT queue.create_topic('orders');
SELECT queue.create_topic('dead');
CREATE TABLE done (number int GENERATED ALWAYS AS IDENTITY, v int CONSTRAINT once UNIQUE DEFERRABLE INITIALLY DEFERRED, attempt int, calls int, xid xid8 DEFAULT pg_current_xact_id());
CREATE VIEW handled AS SELECT v, attempt FROM done ORDER BY number;
-- A value is what to do with it: a number is stored, once; else SQL is run at the
-- first attempt.
CREATE FUNCTION handle(m queue.message) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	IF jsonb_typeof(m.value) = 'number' THEN
		INSERT INTO done (v, attempt) VALUES (m.value::int, m.attempt);
	ELSIF m.attempt = 1 THEN
		EXECUTE m.value #>> '{}';
	ELSE
		INSERT INTO done (v, attempt) VALUES (-m."offset", m.attempt);
	END IF;
END $$;
CREATE FUNCTION handle_all(m queue.message[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO done (v, attempt, calls) SELECT value::int, attempt, cardinality(m) FROM unnest(m);
END $$;
CREATE PROCEDURE pg_temp.send(VARIADIC messages text[]) LANGUAGE sql AS
	$$SELECT queue.produce_batch('orders', ARRAY(SELECT CASE WHEN t ~ '^\d+$' THEN t::jsonb ELSE to_jsonb(t) END FROM unnest(messages) WITH ORDINALITY u(t, n) ORDER BY n), ARRAY(SELECT 'k' || n % 3 FROM generate_series(1, cardinality(messages)) n))$$;
CREATE VIEW waiting AS
SELECT consumer_group, "offset", key, attempts, sqlstate, error, due_at = 'infinity' AS given_up FROM queue.parked_message JOIN
	(SELECT group_id, name AS consumer_group FROM queue.consumer_group) g USING (group_id) ORDER BY consumer_group, "offset";

-- One of seven fails: its key waits, the others are handled, in one transaction.
SELECT queue.subscribe('g', 'orders', 'handle(queue.message)');
SELECT queue.set_failure_policy('g', 'orders', backoff => '1 h', backoff_max => '1 h');
CALL pg_temp.send('1', 'SELECT 1 / 0', '3', '4', '5', '6', '7');
CALL queue.process('g', 'orders');
SELECT * FROM handled;
SELECT count(DISTINCT xid) FROM done;
SELECT * FROM waiting;
CALL queue.process('g', 'orders');
-- Its second attempt succeeds, and those behind it come.
SELECT queue.reset_offsets('g', 'orders', to_earliest => true);
SELECT queue.set_failure_policy('g', 'orders', backoff => '10 ms');
TRUNCATE done;
CALL queue.process('g', 'orders', 2, max_wait => '1 h');
SELECT * FROM handled;
SELECT * FROM waiting;
TRUNCATE done;

-- Errors: the handler's own; a constraint that is deferred; a cancel that is not the
-- user's; the timeout, also if the handler swallows the cancel.
SELECT queue.subscribe('g', 'orders', 'handle(queue.message)', timeout => '200 ms');
SELECT queue.set_failure_policy('g', 'orders', backoff => '1 h', backoff_max => '1 h', hold => 'none');
CALL pg_temp.send('1', 'INSERT INTO done (v) VALUES (1), (2)', '2', 'DO $$BEGIN RAISE ''own'' USING ERRCODE = ''57014''; END$$', '5', 'SELECT pg_sleep(600)', '7', '8',
	'DO $$BEGIN PERFORM pg_sleep(600); EXCEPTION WHEN query_canceled THEN NULL; END$$');
CALL queue.process('g', 'orders');
SELECT * FROM handled;
SELECT * FROM waiting;
TRUNCATE done;
SELECT FROM queue.drop_group('g');

-- The message of an array that fails is found by halves; those around it are handled
-- in a few groups.
SELECT queue.create_group('all', 'orders', start => 'latest');
SELECT queue.subscribe('all', 'orders', 'handle_all(queue.message[])', batch => 100);
SELECT queue.set_failure_policy('all', 'orders', backoff => '1 h', backoff_max => '1 h', hold => 'none');
SELECT count FROM queue.produce_batch('orders', ARRAY(SELECT CASE i WHEN 30 THEN '"thirty"' ELSE to_jsonb(i) END FROM generate_series(1, 200) i));
CALL queue.process('all', 'orders', 1);
SELECT count(*), calls, count(DISTINCT xid) AS transactions FROM done GROUP BY calls ORDER BY calls;
CALL queue.process('all', 'orders');
SELECT count(*), calls, count(DISTINCT xid) AS transactions FROM done GROUP BY calls ORDER BY calls;
SELECT * FROM waiting;
TRUNCATE done;

-- Where each second fails, groups become as small.  A transaction that would need more
-- than 50 subtransactions begins again with 50 messages.
SELECT count FROM queue.produce_batch('orders', ARRAY(SELECT CASE WHEN i % 2 = 0 THEN '"even"' ELSE to_jsonb(i) END FROM generate_series(201, 310) i));
SELECT queue.set_failure_policy('all', 'orders', max_attempts => 1, dead_letter => 'dead', hold => 'none');
SELECT queue.subscribe('all', 'orders', 'handle_all(queue.message[])', batch => 110);
CALL queue.process('all', 'orders', 1);
SELECT count(*), calls, count(DISTINCT xid) AS transactions FROM done GROUP BY calls ORDER BY calls;
CALL queue.process('all', 'orders');
SELECT count(*), count(DISTINCT v), count(DISTINCT xid) AS transactions FROM done;
SELECT count(*) FROM topic.dead;
SELECT FROM queue.truncate_topic('dead');
TRUNCATE done;

-- After a timeout messages are tried one by one, so that only the guilty one is waited
-- for again.  One that failed before is tried apart from those that did not.
CREATE SEQUENCE calls;
CREATE SEQUENCE naps;
CREATE FUNCTION handle_slowly(m queue.message[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM nextval('calls');
	IF EXISTS (SELECT FROM unnest(m) WHERE value = '"nap"') THEN
		PERFORM nextval('naps'), pg_sleep(600);
	END IF;
	INSERT INTO done (v, attempt, calls) SELECT value::int, attempt, cardinality(m) FROM unnest(m);
END $$;
SELECT queue.set_failure_policy('all', 'orders', backoff => '1 ms', max_attempts => 2, dead_letter => 'dead', hold => 'none');
SELECT queue.subscribe('all', 'orders', 'handle_slowly(queue.message[])', timeout => '200 ms');
SELECT count FROM queue.produce_batch('orders', ARRAY(SELECT CASE i WHEN 306 THEN '"nap"' ELSE to_jsonb(i) END FROM generate_series(301, 310) i));
CALL queue.process('all', 'orders', 1);
SELECT (SELECT last_value FROM calls) AS calls, (SELECT last_value FROM naps) AS naps;
SELECT count FROM queue.produce_batch('orders', ARRAY(SELECT to_jsonb(i) FROM generate_series(311, 320) i));
SELECT FROM pg_sleep(0.05);
CALL queue.process('all', 'orders', 1);
SELECT (SELECT last_value FROM calls) AS calls, (SELECT last_value FROM naps) AS naps;
SELECT count(*), calls, count(DISTINCT xid) AS transactions FROM done GROUP BY calls ORDER BY calls;
SELECT headers->>'dlq.error' FROM topic.dead;
SELECT FROM queue.truncate_topic('dead');
DROP SEQUENCE calls, naps;
DROP FUNCTION handle_slowly(queue.message[]);
TRUNCATE done;

-- A handler of one message, too, is called with others before and behind those that
-- fail: the first, the last, two in a row.
SELECT queue.subscribe('all', 'orders', 'handle(queue.message)');
SELECT queue.set_failure_policy('all', 'orders', backoff => '1 h', backoff_max => '1 h', hold => 'none');
CALL pg_temp.send('SELECT 1 / 0', '1', '2', 'SELECT 1 / 0', 'SELECT 1 / 0', '3', 'INSERT INTO done (v) VALUES (1)', '4', 'SELECT 1 / 0');
CALL queue.process('all', 'orders');
SELECT v, attempt, dense_rank() OVER (ORDER BY xid) AS transaction FROM done ORDER BY number;
SELECT "offset" - min("offset") OVER () AS behind, sqlstate FROM waiting ORDER BY 1;
TRUNCATE done;
SELECT FROM queue.drop_group('all');

-- What the handler has produced before it failed is taken back, with its sequence.
SELECT queue.create_topic('results');
CREATE FUNCTION forward(m queue.message) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM queue.produce('results', m.value, producer_id => 'f', sequence => m.value::bigint);
	IF m.attempt < 2 AND m.value = '2' THEN
		RAISE 'not yet';
	END IF;
END $$;
SELECT queue.create_group('f', 'orders', start => 'latest');
SELECT queue.subscribe('f', 'orders', 'forward(queue.message)');
SELECT queue.set_failure_policy('f', 'orders', backoff => '10 ms', hold => 'partition');
SELECT count FROM queue.produce_batch('orders', ARRAY['1', '2', '3']);
CALL queue.process('f', 'orders', 1);
SELECT value FROM topic.results ORDER BY "offset";
SELECT last_sequence FROM queue.producer_state('results', 'f');
CALL queue.process('f', 'orders', 1, max_wait => '1 h');
SELECT value FROM topic.results ORDER BY "offset";
SELECT * FROM waiting;
SELECT FROM queue.drop_group('f');

-- Attempts are used up: a dead letter, in the same transaction; its key goes on.
SELECT queue.create_group('d', 'orders', start => 'latest');
SELECT queue.subscribe('d', 'orders', 'handle(queue.message)');
SELECT queue.set_failure_policy('d', 'orders', max_attempts => 1, dead_letter => 'dead');
CALL pg_temp.send('1', 'SELECT 1 / 0', '3', '4', '5');
CALL queue.process('d', 'orders');
SELECT * FROM handled;
SELECT key, value, headers->>'dlq.group' AS "group", headers->>'dlq.sqlstate' AS sqlstate, headers->>'dlq.error' AS error FROM topic.dead;
SELECT * FROM waiting;
TRUNCATE done;
SELECT FROM queue.drop_group('d');

-- No attempt: the transaction is repeated.  Each message fails when it is first called.
CREATE SEQUENCE calls;
CREATE FUNCTION fail_first(m queue.message) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO done (v, attempt) VALUES (m."offset", m.attempt);
	IF nextval('calls') % 2 = 1 THEN
		RAISE 'an outage' USING ERRCODE = m.value #>> '{}';
	END IF;
END $$;
SELECT queue.create_group('o', 'orders', start => 'latest');
SELECT queue.subscribe('o', 'orders', 'fail_first(queue.message)', batch => 1);
SELECT count FROM queue.produce_batch('orders', ARRAY(SELECT to_jsonb(code) FROM unnest(ARRAY['40001', '40P01', '55P03', '53100', '53400', '57P01', '57P03', '08006']) code));
CALL queue.process('o', 'orders');
SELECT count(*), min(attempt), max(attempt) FROM done;
SELECT last_value FROM calls;
SELECT count(*) FROM waiting;
TRUNCATE done;
-- Others are attempts.
SELECT count FROM queue.produce_batch('orders', ARRAY(SELECT to_jsonb(code) FROM unnest(ARRAY['40002', '55000', '57014', '42704', '55006', 'XX000', 'QU001']) code));
SELECT queue.set_failure_policy('o', 'orders', backoff => '1 h', backoff_max => '1 h');
SELECT setval('calls', 1, false);
CREATE OR REPLACE FUNCTION fail_first(m queue.message) RETURNS void LANGUAGE plpgsql AS $$BEGIN RAISE 'a failure' USING ERRCODE = m.value #>> '{}'; END$$;
CALL queue.process('o', 'orders');
SELECT count(*) FROM done;
SELECT sqlstate, attempts FROM waiting ORDER BY 1;
SELECT FROM queue.drop_group('o');

-- The caller's statement_timeout ends the call, and is no attempt, with or without a
-- timeout of the handler.
CREATE FUNCTION sleep(m queue.message) RETURNS void LANGUAGE sql AS 'SELECT pg_sleep(600)';
SELECT queue.create_group('s', 'orders', start => 'latest');
SELECT (queue.produce('orders', '1')).partition;
SELECT queue.subscribe('s', 'orders', 'sleep(queue.message)');
SET statement_timeout = '200 ms';
CALL queue.process('s', 'orders');
RESET statement_timeout;
SELECT queue.subscribe('s', 'orders', 'sleep(queue.message)', timeout => '1 h');
SET statement_timeout = '200 ms';
CALL queue.process('s', 'orders');
SET statement_timeout = '10 min';
SELECT count(*) FROM waiting;
SELECT lag FROM queue.consumer_groups WHERE consumer_group = 's';
SELECT FROM queue.drop_group('s');

-- A constraint that is deferred is deferred again for the next message.
CREATE TABLE parent (id int PRIMARY KEY);
CREATE TABLE child (id int REFERENCES parent DEFERRABLE INITIALLY DEFERRED);
CREATE FUNCTION child_first(m queue.message) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO child VALUES (m.value::int);
	INSERT INTO parent SELECT m.value::int WHERE m.value <> '3';
END $$;
SELECT queue.create_group('c', 'orders', start => 'latest');
SELECT queue.subscribe('c', 'orders', 'child_first(queue.message)');
SELECT queue.set_failure_policy('c', 'orders', backoff => '1 h', backoff_max => '1 h');
SELECT count FROM queue.produce_batch('orders', ARRAY['1', '2', '3', '4', '5']);
CALL queue.process('c', 'orders');
SELECT id FROM child ORDER BY 1;
SELECT error FROM waiting;

-- A handler that parks messages itself: what waits behind one is not handed to it, also
-- if the batch fails later, and each message is handled alone.
TRUNCATE done;
CREATE FUNCTION parks(m queue.message, consumer_group text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	IF m.value = '1' AND m.attempt = 1 THEN
		PERFORM queue.park(consumer_group, 'orders', m.partition, m."offset", 'not yet', delay => '0 s');
		RETURN;
	ELSIF m.value = '9' AND m.attempt = 1 THEN
		RAISE 'nine';
	END IF;
	INSERT INTO done (v, attempt) VALUES (m.value::int, m.attempt);
END $$;
CREATE FUNCTION parks_one(m queue.message) RETURNS void LANGUAGE sql AS $$SELECT parks(m, 'one')$$;
CREATE FUNCTION parks_many(m queue.message[]) RETURNS void LANGUAGE sql AS $$SELECT parks(x, 'many') FROM unnest(m) x WHERE x.value <> '3' OR cardinality(m) = 1$$;
SELECT queue.create_group(g, 'orders', start => 'latest') FROM unnest(ARRAY['one', 'many']) g;
SELECT queue.subscribe('one', 'orders', 'parks_one(queue.message)'), queue.subscribe('many', 'orders', 'parks_many(queue.message[])');
SELECT count(queue.produce('orders', to_jsonb(v), k)) FROM (VALUES (1, 'a'), (2, 'b'), (3, 'a'), (4, NULL)) x (v, k);
CALL queue.process('one', 'orders', 1);
SELECT * FROM handled;
CALL queue.process('one', 'orders');
SELECT * FROM handled;
TRUNCATE done;
SELECT count(queue.produce('orders', '9', 'c'));
CALL queue.process('many', 'orders', 1);
SELECT * FROM handled;
SELECT error, attempts, "offset" - min("offset") OVER () AS "offset" FROM queue.parked WHERE consumer_group = 'many' ORDER BY 3;

DROP FUNCTION parks_one(queue.message), parks_many(queue.message[]), parks(queue.message, text);
SELECT queue.drop_group(g) FROM unnest(ARRAY['one', 'many']) g;
DROP FUNCTION handle(queue.message), handle_all(queue.message[]), forward(queue.message), fail_first(queue.message), sleep(queue.message), child_first(queue.message);
DROP TABLE child, parent, done CASCADE;
DROP SEQUENCE calls;
DROP VIEW waiting;
SELECT queue.drop_topic(t) FROM unnest(ARRAY['orders', 'dead', 'results']) t;
SELECT queue.drop_group('c');
