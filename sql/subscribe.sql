--
-- queue.subscribe() and unsubscribe(): which functions can handle messages, which role
-- may have them called, and what becomes of a subscription.
--
\getenv abs_srcdir PG_ABS_SRCDIR
\i :abs_srcdir/sql/include/helpers.sql
CREATE ROLE regress_boss;
CREATE ROLE regress_clerk;
CREATE ROLE regress_stranger;
CREATE SCHEMA app;
GRANT USAGE, CREATE ON SCHEMA app TO regress_boss, regress_clerk, regress_stranger;
GRANT CREATE ON SCHEMA topic TO regress_boss;
SET ROLE regress_boss;
SELECT queue.create_topic('orders');
SELECT queue.create_topic('words', value_type => 'text');
GRANT SELECT, INSERT ON topic.orders TO regress_clerk;
RESET ROLE;

-- What can handle messages: a function of one message, or of an array of them.
CREATE FUNCTION app.one(queue.message) RETURNS void LANGUAGE sql AS 'SELECT';
CREATE FUNCTION app.many(m queue.message[]) RETURNS int LANGUAGE sql AS 'SELECT cardinality(m)';
CREATE FUNCTION app.rest(VARIADIC m queue.message[]) RETURNS void LANGUAGE sql AS 'SELECT';
SELECT queue.subscribe('g', 'orders', 'app.one(queue.message)');
SELECT queue.subscribe('g', 'orders', 'app.rest(queue.message[])');
SET search_path = app, public;
SELECT queue.subscribe('g', 'orders', 'many(queue.message[])', batch => 10, workers => 2, timeout => '1 minute');
RESET search_path;
SELECT consumer_group, topic, handler, batch, workers, timeout, owner = current_user AS mine, created_at <= now() AS created
  FROM queue.subscriptions;
-- The workers begin, and end: as often as is asked for, by the end of the transaction.
CREATE PROCEDURE pg_temp.wait_for_workers(n int) LANGUAGE plpgsql AS $$
BEGIN
    WHILE (SELECT coalesce(sum(running), 0) FROM queue.subscriptions) <> n LOOP
        COMMIT;
        PERFORM pg_sleep(0.01);
    END LOOP;
END $$;
CALL pg_temp.wait_for_workers(2);
SELECT consumer_group, topic, worker, pid IS NOT NULL AS has_process, state, started_at <= clock_timestamp() AS started,
       retry_at, failures, failed_at, sqlstate, error, obstacle
  FROM queue.workers ORDER BY 3;
SET client_min_messages = warning;
BEGIN;
SELECT queue.subscribe('g', 'orders', 'app.many(queue.message[])', workers => 1);
SELECT queue.subscribe('g', 'orders', 'app.many(queue.message[])', workers => 0);
SELECT worker, state FROM queue.workers ORDER BY 1;
ROLLBACK;
SELECT worker, state FROM queue.workers ORDER BY 1;
SELECT queue.subscribe('g', 'orders', 'app.many(queue.message[])', workers => 1);
CALL pg_temp.wait_for_workers(1);
SELECT worker, state FROM queue.workers ORDER BY 1;
SELECT queue.unsubscribe('g', 'orders');
SELECT worker, state FROM queue.workers ORDER BY 1;
SELECT queue.subscribe('g', 'orders', 'app.many(queue.message[])', batch => 10);
RESET client_min_messages;
-- It makes the group, as one that no topic's group_expiry applies to.
SELECT consumer_group, topic FROM queue.consumer_groups;
SELECT name, implicit FROM queue.consumer_group;

-- What cannot.
CREATE FUNCTION app.nothing() RETURNS void LANGUAGE sql AS 'SELECT';
CREATE FUNCTION app.two(queue.message, int) RETURNS void LANGUAGE sql AS 'SELECT';
CREATE FUNCTION app.two_with_default(queue.message, int DEFAULT 1) RETURNS void LANGUAGE sql AS 'SELECT';
CREATE FUNCTION app.any(anyelement) RETURNS void LANGUAGE sql AS 'SELECT';
CREATE FUNCTION app.takes_jsonb(jsonb) RETURNS void LANGUAGE sql AS 'SELECT';
CREATE FUNCTION app.leased(queue.leased_message) RETURNS void LANGUAGE sql AS 'SELECT';
CREATE FUNCTION app.set(queue.message) RETURNS SETOF int LANGUAGE sql AS 'SELECT 1';
CREATE PROCEDURE app.procedure(queue.message) LANGUAGE sql AS 'SELECT';
CREATE AGGREGATE app.aggregate(queue.message) (sfunc = array_append, stype = queue.message[]);
CREATE FUNCTION pg_temp.temporary(queue.message) RETURNS void LANGUAGE sql AS 'SELECT';
SELECT f, regexp_replace(pg_temp.error_of(format('SELECT queue.subscribe(''g'', ''orders'', %L)', f)), 'pg_temp_\d+', 'pg_temp_N') AS error_of
  FROM unnest(ARRAY['app.nothing()', 'app.two(queue.message, int)', 'app.two_with_default(queue.message, int)', 'app.any(anyelement)', 'app.takes_jsonb(jsonb)',
					'app.leased(queue.leased_message)', 'app.set(queue.message)', 'app.procedure(queue.message)', 'app.aggregate(queue.message)',
					'pg_temp.temporary(queue.message)', 'app.missing(queue.message)', '0', '4294967295']) f;

-- Values of another type than jsonb: a type with these columns, or an array of it.
CREATE TYPE app.word AS (topic text, partition int, "offset" bigint, "timestamp" timestamptz, key text, value text, headers jsonb, attempt int);
CREATE TYPE app.long_word AS (t text, p int, o bigint, at timestamptz, k text, v text, h jsonb, attempt int, more text, evermore text);
CREATE TYPE app.short_word AS (topic text, partition int, "offset" bigint, "timestamp" timestamptz, key text, value text, headers jsonb);
CREATE TYPE app.wrong_word AS (topic text, partition int, "offset" int, "timestamp" timestamptz, key text, value text, headers jsonb, attempt int);
CREATE FUNCTION app.word(app.word) RETURNS void LANGUAGE sql AS 'SELECT';
CREATE FUNCTION app.words(app.word[]) RETURNS void LANGUAGE sql AS 'SELECT';
CREATE FUNCTION app.long_word(app.long_word) RETURNS void LANGUAGE sql AS 'SELECT';
CREATE FUNCTION app.short_word(app.short_word) RETURNS void LANGUAGE sql AS 'SELECT';
CREATE FUNCTION app.wrong_word(app.wrong_word) RETURNS void LANGUAGE sql AS 'SELECT';
SELECT queue.subscribe('g', 'words', 'app.one(queue.message)');
SELECT f, pg_temp.error_of(format('SELECT queue.subscribe(''g'', ''words'', %L)', f))
  FROM unnest(ARRAY['app.word(app.word)', 'app.words(app.word[])', 'app.long_word(app.long_word)', 'app.short_word(app.short_word)',
					'app.wrong_word(app.wrong_word)']) f;
SELECT queue.subscribe('g', 'orders', 'app.word(app.word)');
SELECT topic, handler FROM queue.subscriptions ORDER BY 1;

-- Arguments.
SELECT call, pg_temp.error_of('SELECT queue.subscribe(' || call || ')')
  FROM unnest(ARRAY[$$NULL, 'orders', 'app.one(queue.message)'$$, $$'g', NULL, 'app.one(queue.message)'$$, $$'g', 'orders', NULL$$,
					$$'g', 'orders', 'app.one(queue.message)', batch => NULL$$, $$'g', 'orders', 'app.one(queue.message)', batch => 0$$,
					$$'g', 'orders', 'app.one(queue.message)', batch => 10001$$, $$'g', 'orders', 'app.one(queue.message)', workers => -1$$,
					$$'g', 'orders', 'app.one(queue.message)', workers => 101$$, $$'g', 'orders', 'app.one(queue.message)', timeout => '0'$$,
					$$'g', 'orders', 'app.one(queue.message)', timeout => '-1 s'$$, $$'g', 'orders', 'app.one(queue.message)', timeout => '30 days'$$,
					$$'', 'orders', 'app.one(queue.message)'$$, $$'g', 'nope', 'app.one(queue.message)'$$]) call;

-- Workers, by a role that cannot connect.
SET ROLE regress_clerk;
CREATE FUNCTION app.by_clerk(m queue.message) RETURNS void LANGUAGE sql AS 'SELECT';
SELECT queue.subscribe('clerks', 'orders', 'app.by_clerk(queue.message)', workers => 1);
RESET ROLE;
SELECT count(*) FROM queue.consumer_groups WHERE consumer_group = 'clerks';

-- Unsubscribing.  The offsets stay.
SELECT queue.unsubscribe('g', 'words'), queue.unsubscribe('g', 'words');
SELECT queue.unsubscribe('nope', 'words');
SELECT queue.unsubscribe('g', 'nope');
SELECT topic, handler FROM queue.subscriptions ORDER BY 1;
-- Several times in a statement, a transaction, a savepoint.
SELECT queue.subscribe('g', 'words', 'app.word(app.word)'), queue.subscribe('g', 'words', 'app.words(app.word[])'), queue.unsubscribe('g', 'words');
BEGIN;
SELECT queue.subscribe('g', 'words', 'app.word(app.word)');
SAVEPOINT a;
SELECT queue.subscribe('g', 'words', 'app.words(app.word[])');
ROLLBACK TO a;
COMMIT;
SELECT topic, handler FROM queue.subscriptions ORDER BY 1;
-- Rows go with the group, or the topic.
SELECT queue.drop_group('g', 'words');
SELECT topic, handler FROM queue.subscriptions ORDER BY 1;
SELECT queue.subscribe('g', 'words', 'app.word(app.word)'), queue.subscribe('h', 'words', 'app.word(app.word)');
SELECT queue.drop_group('g');
SELECT consumer_group, topic FROM queue.subscriptions;
BEGIN;
SELECT queue.drop_topic('words');
SELECT count(*) FROM queue.subscription;
ROLLBACK;
SELECT queue.drop_group('h');
SELECT count(*) FROM queue.subscription;

-- Rights: those of a consumer, and EXECUTE on the function.
REVOKE EXECUTE ON FUNCTION app.one(queue.message) FROM PUBLIC;
SET ROLE regress_clerk;
CREATE FUNCTION app.of_clerk(m queue.message) RETURNS void LANGUAGE plpgsql AS $$BEGIN RAISE NOTICE '% handles %', current_user, m.value; END$$;
SELECT queue.subscribe('clerks', 'words', 'app.word(app.word)');
SELECT queue.subscribe('clerks', 'orders', 'app.one(queue.message)');
SELECT queue.subscribe('clerks', 'orders', 'app.of_clerk(queue.message)');
SELECT (queue.produce('orders', '1')).offset;
CALL queue.process('clerks', 'orders');
-- Another role: not in the group; or without the rights of the role that subscribed.
SET ROLE regress_stranger;
SELECT queue.subscribe('clerks', 'orders', 'app.of_clerk(queue.message)');
SELECT queue.unsubscribe('clerks', 'orders');
CALL queue.process('clerks', 'orders');
SELECT count(*) FROM queue.subscriptions;
-- The topic's owner may end a subscription, as it may drop what a group has there.
SET ROLE regress_boss;
SELECT queue.subscribe('clerks', 'orders', 'app.of_clerk(queue.message)');
CALL queue.process('clerks', 'orders');
BEGIN;
SELECT queue.unsubscribe('clerks', 'orders');
ROLLBACK;
-- A superuser would give its rights to the clerk: not by the clerk's subscription,
-- and not by its own to the clerk's function.
RESET ROLE;
SELECT (queue.produce('orders', '2')).offset;
CALL queue.process('clerks', 'orders');
SELECT queue.subscribe('clerks', 'orders', 'app.of_clerk(queue.message)');
SELECT queue.subscribe('clerks', 'orders', 'app.many(queue.message[])');
-- A role that the owner has the rights of, too, may call a function that the owner chose.
GRANT EXECUTE ON FUNCTION app.many(queue.message[]) TO regress_clerk;
SET ROLE regress_clerk;
CALL queue.process('clerks', 'orders');
SELECT (queue.produce('orders', '3')).offset;
SELECT queue.subscribe('clerks', 'orders', 'app.of_clerk(queue.message)');
CALL queue.process('clerks', 'orders');

-- A function that is gone, made again, replaced, renamed; or that another role has made.
DROP FUNCTION app.of_clerk(queue.message);
SELECT (queue.produce('orders', '4')).offset;
CALL queue.process('clerks', 'orders');
RESET ROLE;
SET ROLE regress_stranger;
CREATE FUNCTION app.of_clerk(queue.message) RETURNS void LANGUAGE plpgsql AS $$BEGIN RAISE 'the rights of %', current_user; END$$;
SET ROLE regress_clerk;
CALL queue.process('clerks', 'orders');
SET ROLE regress_stranger;
DROP FUNCTION app.of_clerk(queue.message);
SET ROLE regress_clerk;
CREATE FUNCTION app.of_clerk(m queue.message) RETURNS void LANGUAGE plpgsql AS $$BEGIN RAISE NOTICE '% is handled anew', m.value; END$$;
CALL queue.process('clerks', 'orders');
ALTER FUNCTION app.of_clerk(queue.message) RENAME TO renamed;
CALL queue.process('clerks', 'orders');
ALTER FUNCTION app.renamed(queue.message) RENAME TO of_clerk;
CALL queue.process('clerks', 'orders');
-- Rights that are taken away.
RESET ROLE;
REVOKE SELECT ON topic.orders FROM regress_clerk;
SET ROLE regress_clerk;
CALL queue.process('clerks', 'orders');
RESET ROLE;
GRANT SELECT ON topic.orders TO regress_clerk;
REVOKE EXECUTE ON FUNCTION app.of_clerk(queue.message) FROM PUBLIC, regress_clerk;
SET ROLE regress_clerk;
CALL queue.process('clerks', 'orders');
RESET ROLE;
-- The view: to roles that may use the topic, and to monitors.
SET ROLE regress_stranger;
SELECT count(*) FROM queue.subscriptions;
SET ROLE pg_monitor;
SELECT consumer_group, topic, handler, owner FROM queue.subscriptions;
RESET ROLE;
-- So of a worker; monitors do not see messages of errors, which may tell of values.
BEGIN;
UPDATE queue.subscription SET workers = 2;
INSERT INTO queue.worker (group_id, topic_id, number, database, begins_at, failures, failed_at, sqlstate, error)
SELECT group_id, topic_id, 1, d.oid, now() + interval '1 hour', 7, now(), 'XX000', 'secret' FROM queue.subscription, pg_database d WHERE datname = current_database();
SELECT worker, state, failures, retry_at > now() AS later, failed_at = now() AS now, sqlstate, error, obstacle FROM queue.workers ORDER BY 1;
SET ROLE pg_monitor;
SELECT worker, state, failures, retry_at > now() AS later, failed_at = now() AS now, sqlstate, error, obstacle FROM queue.workers ORDER BY 1;
SET ROLE regress_stranger;
SELECT count(*) FROM queue.workers;
ROLLBACK;
-- The role that subscribed is dropped.
DROP FUNCTION app.of_clerk(queue.message);
CREATE FUNCTION app.of_clerk(m queue.message) RETURNS void LANGUAGE plpgsql AS $$BEGIN END$$;
UPDATE queue.subscription SET handler_owner = current_user::text::queue.role;
REVOKE ALL ON topic.orders FROM regress_clerk;
DROP OWNED BY regress_clerk;
DROP ROLE regress_clerk;
CALL queue.process('clerks', 'orders');
SELECT handler, owner ~ '^unknown' AS unknown FROM queue.subscriptions;

SET client_min_messages = warning;
SELECT queue.drop_topic('orders'), queue.drop_topic('words'), queue.drop_group('clerks');
DROP SCHEMA app CASCADE;
REVOKE CREATE ON SCHEMA topic FROM regress_boss;
DROP ROLE regress_boss;
DROP ROLE regress_stranger;
