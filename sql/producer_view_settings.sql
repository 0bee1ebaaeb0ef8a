--
-- queue.first_sequence is used up by one statement, whatever aborts; values that
-- the settings refuse.
--
\getenv abs_srcdir PG_ABS_SRCDIR
\i :abs_srcdir/sql/include/helpers.sql
CREATE FUNCTION pg_temp.state(id text) RETURNS text LANGUAGE sql AS
$$ SELECT concat_ws(' ', 'epoch', epoch, 'last', last_sequence) FROM queue.producer_state('f', id) $$;
SELECT queue.create_topic('f', 1, 'int');

-- first_sequence is used up by one statement.
SET queue.producer_id = 'once';
SET queue.first_sequence = 1;
INSERT INTO topic.f (value) VALUES (1001);
INSERT INTO topic.f (value) VALUES (1002);
\set VERBOSITY sqlstate
INSERT INTO topic.f (value) VALUES (1002) RETURNING value;
COPY topic.f (value) FROM STDIN;
1002
\.
RESET queue.first_sequence;
INSERT INTO topic.f (value) VALUES (1002);
SET queue.first_sequence = '';
INSERT INTO topic.f (value) VALUES (1002);
\set VERBOSITY default
SELECT pg_temp.state('once');
-- A statement without rows uses it up, too, and so does one that fails.
SET queue.first_sequence = 2;
INSERT INTO topic.f (value) SELECT 1 WHERE false;
SELECT pg_temp.error_of('INSERT INTO topic.f (value) VALUES (1002)');
SET queue.first_sequence = 2;
COPY topic.f (value) FROM STDIN;
\.
SELECT pg_temp.error_of('INSERT INTO topic.f (value) VALUES (1002)');
SET queue.first_sequence = 2;
INSERT INTO topic.f (value) VALUES (1002);
SET queue.first_sequence = 3;
INSERT INTO topic.f (value) SELECT n / (2 - n) FROM generate_series(1, 2) n;
SELECT pg_temp.error_of('INSERT INTO topic.f (value) VALUES (1003)');
-- Set to the same value it is fresh.
SET queue.first_sequence = 3;
INSERT INTO topic.f (value) VALUES (1003);
SELECT pg_temp.state('once');
-- Two parts of one statement are two statements.
SET queue.first_sequence = 4;
WITH first AS (INSERT INTO topic.f (value) VALUES (1004) RETURNING value)
INSERT INTO topic.f (value) VALUES (1005);
SELECT pg_temp.state('once');
RESET queue.first_sequence;

-- A value that an abort restores is not fresh: its rows would be taken for
-- duplicates and left out.  u tries to insert a row, and says what becomes of it.
CREATE FUNCTION pg_temp.u(value int) RETURNS text LANGUAGE sql AS
$$ SELECT current_setting('queue.first_sequence') || ' ' || left(pg_temp.error_of('INSERT INTO topic.f (value) VALUES (' || $1 || ')'), 8) $$;
SET queue.producer_id = 'abort';
-- Used inside of the savepoint.
BEGIN;
SET LOCAL queue.first_sequence = 1;
SAVEPOINT s;
INSERT INTO topic.f (value) VALUES (2001);
ROLLBACK TO s;
SELECT pg_temp.u(2001);
SET LOCAL queue.first_sequence = 1;
SELECT pg_temp.u(2001);
COMMIT;
-- Used outside, another one set inside.
BEGIN;
SET LOCAL queue.first_sequence = 2;
INSERT INTO topic.f (value) VALUES (2002);
SAVEPOINT s;
SET LOCAL queue.first_sequence = 3;
ROLLBACK TO s;
SELECT pg_temp.u(-1);
SAVEPOINT s;
SET LOCAL queue.first_sequence = 3;
INSERT INTO topic.f (value) VALUES (2003);
ROLLBACK TO s;
SELECT pg_temp.u(-1);
SAVEPOINT s;
SET LOCAL queue.first_sequence = 3;
RELEASE s;
SELECT pg_temp.u(2003);
COMMIT;
-- Not used outside, another one used inside: the safe side.
BEGIN;
SET LOCAL queue.first_sequence = 4;
SAVEPOINT s;
SET LOCAL queue.first_sequence = 4;
INSERT INTO topic.f (value) VALUES (2004);
ROLLBACK TO s;
SELECT pg_temp.u(-1);
SET LOCAL queue.first_sequence = 4;
SAVEPOINT s;
SAVEPOINT t;
INSERT INTO topic.f (value) VALUES (2004);
RELEASE t;
SELECT pg_temp.u(-1);
ROLLBACK TO s;
SELECT pg_temp.u(-1);
COMMIT;
SELECT pg_temp.state('abort');
-- Set inside of two, not used: what was set before the first is still fresh.
BEGIN;
SET LOCAL queue.first_sequence = 4;
SAVEPOINT s;
SAVEPOINT t;
SET LOCAL queue.first_sequence = 99;
ROLLBACK TO t;
ROLLBACK TO s;
SELECT pg_temp.u(2004);
COMMIT;
-- The whole transaction; the session's value comes back, used as it was.
SET queue.first_sequence = 5;
BEGIN;
INSERT INTO topic.f (value) VALUES (-1);
ROLLBACK;
SELECT pg_temp.u(-1);
BEGIN;
SET queue.first_sequence = 5;
ROLLBACK;
SELECT pg_temp.u(-1);
SET queue.first_sequence = 5;
BEGIN;
SET LOCAL queue.first_sequence = 5;
INSERT INTO topic.f (value) VALUES (2005);
COMMIT;
SELECT pg_temp.u(-1);
-- A function's own setting.
CREATE FUNCTION pg_temp.own() RETURNS text LANGUAGE sql SET queue.first_sequence = 6 AS $$ SELECT pg_temp.u(2006) $$;
SET queue.first_sequence = 7;
SELECT pg_temp.own();
SELECT pg_temp.u(-1);
SELECT value FROM topic.f WHERE value > 2000 OR value = -1 ORDER BY "offset";
SELECT pg_temp.state('abort');
DROP FUNCTION pg_temp.own();

-- An INSERT by a function inside of the statement: the first of the two uses the
-- value up, and the other one says so.
CREATE FUNCTION pg_temp.inner_insert(n int) RETURNS int LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO topic.f (value) VALUES (3000 + n);
	RETURN n;
END $$;
SET queue.producer_id = 'nested';
SET queue.first_sequence = 1;
INSERT INTO topic.f (value) SELECT pg_temp.inner_insert(n) FROM generate_series(1, 2) n;
SET queue.first_sequence = 1;
\set VERBOSITY terse
INSERT INTO topic.f (value) SELECT CASE WHEN n = 3 THEN pg_temp.inner_insert(n) ELSE n END FROM generate_series(1, 3) n;
\set VERBOSITY default
SELECT pg_temp.state('nested');
-- It may set its own; the rows that wait go out first.
CREATE OR REPLACE FUNCTION pg_temp.inner_insert(n int) RETURNS int LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('queue.producer_id', 'inner', true), set_config('queue.first_sequence', n::text, true);
	INSERT INTO topic.f (value) VALUES (3000 + n);
	RETURN 4000 + n;
END $$;
BEGIN;
SET LOCAL queue.first_sequence = 10;
INSERT INTO topic.f (value) SELECT CASE WHEN n > 11 THEN pg_temp.inner_insert(n) ELSE 4000 + n END FROM generate_series(10, 13) n;
COMMIT;
SELECT pg_temp.state('nested'), pg_temp.state('inner');
SELECT string_agg(value::text, ' ' ORDER BY "offset") FROM topic.f WHERE value > 3000;
-- A function that produces with the statement's own producer gets in its way.
CREATE OR REPLACE FUNCTION pg_temp.inner_insert(n int) RETURNS int LANGUAGE plpgsql AS $$
BEGIN
	PERFORM queue.produce('f', 5000 + n, producer_id => 'nested', sequence => n);
	RETURN n;
END $$;
SET queue.first_sequence = 14;
\set SHOW_CONTEXT never
INSERT INTO topic.f (value) SELECT CASE WHEN n = 15 THEN pg_temp.inner_insert(99) ELSE n END FROM generate_series(14, 16) n;
\set SHOW_CONTEXT errors
SELECT pg_temp.state('nested');

-- Bad values.
SELECT setting, pg_temp.error_of('SET LOCAL ' || setting)
  FROM unnest(ARRAY[
    $$queue.first_sequence = -1$$,
    $$queue.first_sequence = 'x'$$,
    $$queue.first_sequence = '1x'$$,
    $$queue.first_sequence = 1.5$$,
    $$queue.first_sequence = '9223372036854775807'$$,
    $$queue.first_sequence = '99999999999999999999'$$,
    $$queue.first_sequence = '9223372036854775806'$$,
    $$queue.first_sequence = DEFAULT$$,
    $$queue.producer_epoch = -1$$,
    $$queue.producer_epoch = 2147483648$$,
    $$queue.producer_epoch = 'x'$$,
    $$queue.producer_id = ''$$,
    $$queue.unknown = 1$$]) WITH ORDINALITY u(setting, n) ORDER BY n;
SET queue.first_sequence = '9223372036854775807';
SELECT set_config('queue.producer_id', repeat('x', 256), false);
-- Sequences that run out.
SET queue.producer_id = 'end';
SET queue.first_sequence = '9223372036854775806';
INSERT INTO topic.f (value) VALUES (6000), (6001);
INSERT INTO topic.f (value) VALUES (6000);
SET queue.first_sequence = '9223372036854775806';
INSERT INTO topic.f (value) VALUES (6000);
SELECT pg_temp.state('end');
-- A sequence without a producer is a mistake; without both, rows have no producer.
RESET queue.producer_id;
SET queue.first_sequence = 1;
INSERT INTO topic.f (value) VALUES (7000);
RESET queue.first_sequence;
INSERT INTO topic.f (value) VALUES (7000), (7001);
INSERT INTO topic.f (value) VALUES (7002);
SELECT count(*) FROM topic.f WHERE value >= 7000;
RESET queue.first_sequence;

-- Rows that wait without the trigger that ends the statement.
SET queue.allow_ddl = on;
DROP TRIGGER produce_flush ON topic.f;
RESET queue.allow_ddl;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SET LOCAL queue.producer_id = 'late';
SET LOCAL queue.first_sequence = 1;
SAVEPOINT s;
INSERT INTO topic.f (value) VALUES (8001), (8002);
RELEASE s;
SELECT pg_temp.state('late');
SET LOCAL queue.first_sequence = 3;
INSERT INTO topic.f (value) VALUES (8003);
SET LOCAL queue.producer_id = 'somebody else';
COMMIT;
SELECT pg_temp.state('late'), pg_temp.state('somebody else');
SELECT queue.drop_topic('f');
