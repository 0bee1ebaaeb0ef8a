--
-- queue.process(): transactions in which a function of the application handles the
-- messages.  Failures are in process_failures.sql, rights in subscribe.sql.
--
\getenv abs_srcdir PG_ABS_SRCDIR
\i :abs_srcdir/sql/include/helpers.sql
SELECT queue.create_topic('orders');
SELECT queue.create_topic('wide', 2);
CREATE TABLE done (number int GENERATED ALWAYS AS IDENTITY, partition int, "offset" bigint, value jsonb, xid xid8 DEFAULT pg_current_xact_id());
CREATE FUNCTION handle(m queue.message) RETURNS void LANGUAGE sql AS
	'INSERT INTO done (partition, "offset", value) VALUES (m.partition, m."offset", m.value)';
CREATE FUNCTION handle_all(m queue.message[]) RETURNS int LANGUAGE sql AS
	'WITH i AS (INSERT INTO done (partition, "offset", value) SELECT partition, "offset", value FROM unnest(m) RETURNING 1) SELECT count(*)::int FROM i';
CREATE VIEW handled AS
SELECT partition, count(*) AS messages, count(DISTINCT "offset") AS offsets, count(DISTINCT xid) AS transactions FROM done GROUP BY partition;

-- There is nothing; the group has no subscription; there is no group, no topic.
SELECT queue.subscribe('g', 'orders', 'handle(queue.message)', batch => 4);
CALL queue.process('g', 'orders');
SELECT queue.create_group('h', 'orders');
CALL queue.process('h', 'orders');
CALL queue.process('nope', 'orders');
CALL queue.process('g', 'nope');
CALL queue.process(NULL, 'orders');
CALL queue.process('g', NULL);
CALL queue.process('g', 'orders', 0);
CALL queue.process('g', 'orders', max_wait => '-1 s');

-- One message in a call, and all of a batch.
SELECT count FROM queue.produce_batch('orders', ARRAY(SELECT to_jsonb(i) FROM generate_series(1, 10) i), partition => 0);
CALL queue.process('g', 'orders', 1);
CALL queue.process('g', 'orders');
SELECT * FROM handled ORDER BY 1;
SELECT partition, current_offset, lag FROM queue.consumer_groups WHERE consumer_group = 'g' ORDER BY 1;
CALL queue.process('g', 'orders', max_wait => '10 ms');
TRUNCATE done;
-- A transaction has messages of one partition.
SELECT count FROM generate_series(0, 1) p, LATERAL queue.produce_batch('wide', ARRAY(SELECT to_jsonb(i) FROM generate_series(1, 10) i), partition => p);
SELECT queue.subscribe('g', 'wide', 'handle_all(queue.message[])', batch => 100);
CALL queue.process('g', 'wide');
SELECT * FROM handled ORDER BY 1;
TRUNCATE done;

-- What the handler gets is what consume would return.
CREATE TABLE seen (m queue.message);
CREATE FUNCTION look(m queue.message) RETURNS void LANGUAGE sql AS 'INSERT INTO seen VALUES (m)';
SELECT (queue.produce('orders', NULL, 'k', headers => '{"h": 1}', partition => 0)).offset;
SELECT (queue.produce('orders', to_jsonb(repeat('long', 1000000)), partition => 0)).offset;
SELECT queue.subscribe('looks', 'orders', 'look(queue.message)');
CALL queue.process('looks', 'orders');
BEGIN;
SELECT count(*), count(DISTINCT m) FROM (SELECT m FROM seen UNION ALL SELECT m FROM queue.consume('again', 'orders') m) m;
ROLLBACK;

-- A batch that is larger than work_mem is kept in a file, from which messages are
-- read again after one of them has failed.
SELECT queue.create_topic('long');
CREATE FUNCTION handle_long(m queue.message) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	IF m.attempt = 1 AND m."offset" = 150 THEN
		RAISE EXCEPTION 'failed';
	END IF;
	INSERT INTO done (partition, "offset", value) VALUES (m.partition, m."offset", m.value->0);
END $$;
CREATE FUNCTION handle_all_long(m queue.message[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	one queue.message;
BEGIN
	FOREACH one IN ARRAY m LOOP
		PERFORM handle_long(one);
	END LOOP;
END $$;
SELECT count FROM queue.produce_batch('long', ARRAY(SELECT to_jsonb(ARRAY[i::text, repeat(md5(i::text), 100)]) FROM generate_series(1, 200) i), partition => 0);
SET work_mem = '64kB';
SELECT queue.subscribe('long', 'long', 'handle_long(queue.message)', batch => 200);
CALL queue.process('long', 'long');
SELECT * FROM handled;
SELECT count(*) FROM done WHERE value #>> '{}' <> ("offset" + 1)::text;
TRUNCATE done;
SELECT forgotten FROM queue.reset_offsets('long', 'long', to_offset => 0);
SELECT queue.subscribe('long', 'long', 'handle_all_long(queue.message[])', batch => 200);
CALL queue.process('long', 'long');
SELECT * FROM handled;
SELECT count(*) FROM done WHERE value #>> '{}' <> ("offset" + 1)::text;
TRUNCATE done;
SELECT forgotten FROM queue.reset_offsets('long', 'long', to_offset => 200);
RESET work_mem;

-- Values of another type, passed by value and by reference.
SELECT queue.create_topic('numbers', value_type => 'bigint');
CREATE TYPE number AS (topic text, partition int, "offset" bigint, "timestamp" timestamptz, key text, value bigint, headers jsonb, attempt int, more text);
CREATE FUNCTION handle_numbers(m number[]) RETURNS void LANGUAGE sql AS
	'INSERT INTO done (partition, "offset", value) SELECT partition, "offset", to_jsonb(value) FROM unnest(m) WHERE more IS NULL AND attempt = 1';
SELECT count FROM queue.produce_batch('numbers', ARRAY(SELECT i::bigint FROM generate_series(1, 3) i));
SELECT queue.subscribe('g', 'numbers', 'handle_numbers(number[])');
CALL queue.process('g', 'numbers');
SELECT value FROM done ORDER BY number;
TRUNCATE done;
-- The type is altered.
SELECT (queue.produce('numbers', 4)).offset;
ALTER TYPE number DROP ATTRIBUTE more, ADD ATTRIBUTE more int CASCADE;
CREATE OR REPLACE FUNCTION handle_numbers(m number[]) RETURNS void LANGUAGE sql AS
	'INSERT INTO done (value) SELECT to_jsonb(value) FROM unnest(m)';
CALL queue.process('g', 'numbers');
SELECT value FROM done ORDER BY number;
ALTER TYPE number DROP ATTRIBUTE headers;
CALL queue.process('g', 'numbers');

-- Not where it cannot commit.
BEGIN;
CALL queue.process('g', 'orders');
ROLLBACK;
CREATE FUNCTION in_function() RETURNS void LANGUAGE plpgsql AS $$DECLARE b bigint; m bigint; p bigint; BEGIN CALL queue.process('g', 'orders', 1, NULL, b, m, p); END$$;
SELECT in_function();
SET default_transaction_read_only = on;
CALL queue.process('g', 'orders');
RESET default_transaction_read_only;
-- But in a procedure that may, and in a loop over a query.
SELECT queue.reset_offsets('g', 'orders', to_offset => 10);
DO $$
DECLARE i record; b bigint; m bigint; p bigint;
BEGIN
	FOR i IN SELECT * FROM generate_series(1, 3) LOOP
		CALL queue.process('g', 'orders', 1, NULL, b, m, p);
		RAISE NOTICE '% batches, % messages', b, m;
	END LOOP;
END $$;
TRUNCATE done;

-- What a handler leaves behind: settings end with the call, a temporary table and a
-- held cursor stay, as after any function.
SET application_name = 'before';
CREATE FUNCTION leave(m queue.message) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	c refcursor;
BEGIN
	RAISE NOTICE '% in %', m."offset", current_setting('application_name');
	SET application_name = 'changed';
	PERFORM set_config('work_mem', '128kB', true), set_config('search_path', 'nowhere', false);
	CREATE TEMP TABLE IF NOT EXISTS left_behind (a int);
	INSERT INTO left_behind VALUES (1);
	OPEN c FOR SELECT 1;
	EXECUTE format('LISTEN %I', 'left');
END $$;
SELECT queue.subscribe('leaves', 'orders', 'leave(queue.message)', batch => 1);
CALL queue.process('leaves', 'orders', 2);
SHOW application_name;
SHOW work_mem;
SHOW search_path;
SELECT count(*) FROM left_behind;
SELECT count(*) FROM pg_cursors WHERE name <> '';
SELECT pg_listening_channels();
UNLISTEN *;
-- It cannot become another role, as in a function with SECURITY DEFINER.
CREATE ROLE regress_other;
CREATE FUNCTION become(m queue.message) RETURNS void LANGUAGE plpgsql AS $$BEGIN SET ROLE regress_other; END$$;
SELECT queue.subscribe('leaves', 'orders', 'become(queue.message)');
CALL queue.process('leaves', 'orders', 1);
SELECT DISTINCT sqlstate, error FROM queue.parked_message;
SELECT current_user = session_user AS same;
DROP ROLE regress_other;
-- It cannot commit.
CREATE OR REPLACE FUNCTION become(m queue.message) RETURNS void LANGUAGE plpgsql AS $$BEGIN COMMIT; END$$;
SELECT FROM queue.reset_offsets('leaves', 'orders', to_earliest => true);
CALL queue.process('leaves', 'orders', 1);
SELECT DISTINCT sqlstate, error FROM queue.parked_message;

-- A handler that uses the queue: it produces, with a sequence; consumes for its own
-- group; ends its own subscription; drops its group, or its topic.
CREATE FUNCTION forward(m queue.message) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM queue.produce('forwarded', m.value, m.key, producer_id => 'forwarder', sequence => m."offset");
END $$;
SELECT queue.create_topic('forwarded');
SELECT queue.create_group('forwards', 'orders', start => 'latest');
SELECT queue.reset_offsets('forwards', 'orders', to_offset => 7);
SELECT queue.subscribe('forwards', 'orders', 'forward(queue.message)');
CALL queue.process('forwards', 'orders');
SELECT queue.reset_offsets('forwards', 'orders', to_offset => 8);
CALL queue.process('forwards', 'orders');
SELECT "offset", left(value::text, 10) AS value FROM topic.forwarded ORDER BY 1;

CREATE FUNCTION use(m queue.message) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	next record;
BEGIN
	RAISE NOTICE 'offset %', m."offset";
	FOR next IN SELECT * FROM queue.consume('uses', 'orders', 1, partitions => ARRAY[m.partition]) LOOP
		RAISE NOTICE 'and offset %', next."offset";
	END LOOP;
	IF m."offset" = 7 THEN
		PERFORM queue.unsubscribe('uses', 'orders');
	END IF;
END $$;
SELECT queue.subscribe('uses', 'orders', 'use(queue.message)', batch => 3);
CALL queue.process('uses', 'orders');
CALL queue.process('uses', 'orders');
SELECT current_offset FROM queue.consumer_groups WHERE consumer_group = 'uses';

CREATE FUNCTION drop_group(m queue.message) RETURNS void LANGUAGE sql AS $$SELECT queue.drop_group('drops') WHERE m."offset" = 5$$;
SELECT queue.subscribe('drops', 'orders', 'drop_group(queue.message)', batch => 3);
CALL queue.process('drops', 'orders', max_wait => '1 min');
SELECT count(*) FROM queue.consumer_group WHERE name = 'drops';
CREATE FUNCTION drop_topic(m queue.message) RETURNS void LANGUAGE sql AS $$SELECT queue.drop_topic('forwarded')$$;
SELECT queue.subscribe('drops', 'forwarded', 'drop_topic(queue.message)', batch => 1);
CALL queue.process('drops', 'forwarded', max_wait => '1 min');
SELECT count(*) FROM queue.topics WHERE topic = 'forwarded';

DROP FUNCTION handle(queue.message), handle_all(queue.message[]), look(queue.message), leave(queue.message), become(queue.message),
	forward(queue.message), handle_long(queue.message), handle_all_long(queue.message[]), use(queue.message), drop_group(queue.message), drop_topic(queue.message), handle_numbers(number[]), in_function();
DROP TYPE number;
DROP VIEW handled;
DROP TABLE done, seen;
SELECT queue.drop_topic(t) FROM unnest(ARRAY['orders', 'wide', 'long', 'numbers']) t;
SELECT queue.drop_group(g) FROM unnest(ARRAY['g', 'h', 'looks', 'long', 'leaves', 'forwards', 'uses', 'drops']) g;
