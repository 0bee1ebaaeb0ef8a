--
-- Dead letters: with which rights they are appended, and what a topic that does not
-- take them may do to the group.
--
\getenv abs_srcdir PG_ABS_SRCDIR
\i :abs_srcdir/sql/include/helpers.sql
SET queue.autocommit_warning = off;
CREATE ROLE regress_undertaker;
CREATE SCHEMA app AUTHORIZATION regress_undertaker;
GRANT CREATE ON SCHEMA topic TO regress_undertaker;
-- Consume what there is, fail on all of it, and say what is parked then.
CREATE FUNCTION pg_temp.fail() RETURNS TABLE (value text, due text, attempts int) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM queue.park('g', 't', partition, "offset", 'bad', 'P0001') FROM queue.consume_typed('g', 't', NULL::text);
	RETURN QUERY SELECT t.value, CASE WHEN due_at = 'infinity' THEN 'never' ELSE 'later' END, p.attempts FROM queue.parked p JOIN topic.t USING (partition, "offset") WHERE consumer_group = 'g' ORDER BY "offset";
END $$;
SELECT queue.create_topic('t', 1, 'text');
SET ROLE regress_undertaker;
SELECT queue.create_topic('dead', 1, 'text');
RESET ROLE;
SELECT log AS dead FROM queue.topic WHERE name = 'dead' \gset
SELECT queue.create_group('g', 't');
SELECT queue.set_failure_policy('g', 't', max_attempts => 1, dead_letter => 'dead');

-- The functions of its CHECKs and indexes run as its owner, without the consumer's
-- search_path, and cannot become another role.
SET ROLE regress_undertaker;
CREATE FUNCTION app.look(value text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	RAISE NOTICE '% in %: %', current_user, current_setting('search_path'), value;
	BEGIN
		RESET ROLE;
	EXCEPTION WHEN insufficient_privilege THEN
		RAISE NOTICE '%', SQLERRM;
	END;
	RETURN true;
END $$;
ALTER TABLE :dead ADD CONSTRAINT looks CHECK (app.look(value));
CREATE FUNCTION app.indexed(value text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$
BEGIN
	RAISE NOTICE '% indexes: %', current_user, value;
	RETURN value;
END $$;
SELECT count(queue.produce('dead', 'first'));
CREATE INDEX ON :dead (app.indexed(value));
RESET ROLE;
SELECT count(queue.produce('t', 'a'));
SELECT * FROM pg_temp.fail();
SELECT current_user = session_user AS same, current_setting('search_path');
SELECT value, headers ->> 'dlq.group' AS consumer_group FROM topic.dead ORDER BY "offset";
SET ROLE regress_undertaker;
ALTER TABLE :dead DROP CONSTRAINT looks;
SET client_min_messages = warning;
DROP FUNCTION app.indexed CASCADE;
RESET client_min_messages;

-- A message that it does not take stays parked, and others go on.
CREATE FUNCTION app.is_good(value text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	IF value = 'bad' THEN
		RAISE EXCEPTION USING ERRCODE = 'check_violation', MESSAGE = 'this one is bad';
	END IF;
	RETURN true;
END $$;
ALTER TABLE :dead ADD CONSTRAINT good CHECK (app.is_good(value));
RESET ROLE;
SELECT count(queue.produce('t', v)) FROM unnest(ARRAY['bad', 'b']) v;
SELECT * FROM pg_temp.fail();
ALTER TABLE :dead DROP CONSTRAINT good;
SELECT queue.retry_parked('g', 't', 0, "offset") FROM queue.parked;
SELECT * FROM pg_temp.fail();
SELECT value FROM topic.dead ORDER BY "offset";

-- Functions that move the group meanwhile, or drop what is in use, fail; others do not.
GRANT regress_undertaker TO CURRENT_USER;
ALTER ROLE regress_undertaker SUPERUSER;
CREATE FUNCTION app.disturb(value text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	IF value LIKE 'SELECT%' THEN
		EXECUTE value;
	END IF;
	RETURN true;
EXCEPTION WHEN object_in_use THEN
	RAISE 'it is in use';
END $$;
ALTER TABLE :dead ADD CONSTRAINT disturbs CHECK (app.disturb(value));
SELECT count(queue.produce('t', v)) FROM unnest(ARRAY[
	$$SELECT queue.reset_offsets('g', 't', to_earliest => true)$$,
	$$SELECT queue.park('g', 't', 0, 0)$$,
	$$SELECT queue.consume_typed('g', 't', NULL::text)$$,
	$$SELECT queue.drop_group('g')$$,
	$$SELECT queue.drop_topic('t')$$,
	$$SELECT queue.drop_topic('dead')$$,
	$$SELECT queue.produce('dead', 'more')$$,
	$$SELECT queue.produce('t', 'last')$$]) v;
SELECT * FROM pg_temp.fail();
SELECT value, attempt FROM queue.consume_typed('g', 't', NULL::text);
SELECT value FROM topic.dead WHERE value = 'more';
ALTER TABLE :dead DROP CONSTRAINT disturbs;
-- An outage is the caller's to repeat: nothing is done.
CREATE FUNCTION app.outage() RETURNS boolean LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION USING ERRCODE = '53200'; END$$;
ALTER TABLE :dead ADD CONSTRAINT outage CHECK (app.outage()) NOT VALID;
SELECT queue.retry_parked('g', 't', 0, min("offset")) FROM queue.parked;
SELECT pg_temp.error_of('SELECT * FROM pg_temp.fail()');
ALTER TABLE :dead DROP CONSTRAINT outage;
SELECT count(*) FROM pg_temp.fail();

-- Another topic of the name takes nothing, until the policy is set anew.
SELECT forgotten > 0 AS forgotten FROM queue.reset_offsets('g', 't', to_latest => true);
SELECT queue.drop_topic('dead');
SELECT queue.create_topic('dead', 1, 'text');
SELECT count(queue.produce('t', 'c'));
SELECT * FROM pg_temp.fail();
SELECT count(*) FROM topic.dead;
SELECT queue.set_failure_policy('g', 't', max_attempts => 1, dead_letter => 'dead');
SELECT queue.retry_parked('g', 't', 0, "offset") FROM queue.parked;
SELECT * FROM pg_temp.fail();
SELECT value FROM topic.dead;

SET client_min_messages = warning;
SELECT queue.drop_topic('t'), queue.drop_topic('dead'), queue.drop_group('g');
DROP SCHEMA app CASCADE;
REVOKE CREATE ON SCHEMA topic FROM regress_undertaker;
DROP ROLE regress_undertaker;
