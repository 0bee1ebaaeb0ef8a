--
-- The roles, types and functions of the fuzzing sessions, and the control group.
--
\set ON_ERROR_STOP on
SET client_min_messages = warning;
CREATE EXTENSION queue;

CREATE ROLE fuzz_super LOGIN SUPERUSER;
CREATE ROLE fuzz_team;
CREATE ROLE fuzz_owner1 LOGIN IN ROLE fuzz_team;
CREATE ROLE fuzz_owner2 LOGIN IN ROLE fuzz_team;
CREATE ROLE fuzz_member LOGIN IN ROLE fuzz_owner1;
CREATE ROLE fuzz_writer LOGIN;
CREATE ROLE fuzz_reader LOGIN;
CREATE ROLE fuzz_nobody LOGIN;
CREATE ROLE control_owner LOGIN;
SELECT format('ALTER ROLE %I SET statement_timeout = %L', rolname, '5s'), format('ALTER ROLE %I SET lock_timeout = %L', rolname, '1s')
FROM pg_roles WHERE rolname LIKE 'fuzz%' AND rolcanlogin \gexec

-- Types and functions that all roles may use.  They are called in checks,
-- indexes, triggers and defaults of the owners' topics; "immutable" is a lie.
CREATE SCHEMA fuzz;
GRANT USAGE ON SCHEMA fuzz TO PUBLIC;
CREATE TYPE fuzz.pair AS (a int, b text);
CREATE DOMAIN fuzz.small AS bigint CHECK (VALUE < 100);
CREATE TYPE fuzz.mood AS ENUM ('sad', 'happy', '1', '2', '3');
CREATE TABLE fuzz.parent (id bigint PRIMARY KEY);
GRANT ALL ON fuzz.parent TO PUBLIC;

CREATE FUNCTION fuzz.harmless(bigint) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS
$$ BEGIN RETURN true; END $$;
CREATE FUNCTION fuzz.sleeps(bigint) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS
$$ BEGIN PERFORM pg_sleep(0.05); RETURN true; END $$;
CREATE FUNCTION fuzz.fails(bigint) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS
$$ BEGIN RAISE EXCEPTION 'failed as asked'; END $$;
CREATE FUNCTION fuzz.cancels(bigint) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS
$$ BEGIN RAISE EXCEPTION USING ERRCODE = '57014'; END $$;
CREATE FUNCTION fuzz.unlocks(bigint) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS
$$ BEGIN PERFORM pg_advisory_unlock_all(); RETURN true; END $$;
CREATE FUNCTION fuzz.produces(bigint) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS
$$ BEGIN
    IF random() < 0.5 THEN
        PERFORM queue.produce('t' || (random() * 5)::int, '1');
    END IF;
    RETURN true;
END $$;
CREATE FUNCTION fuzz.consumes(bigint) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS
$$ BEGIN PERFORM queue.consume_typed('g0', 't' || (random() * 5)::int, NULL::bigint); RETURN true; END $$;
CREATE DOMAIN fuzz.checked AS text CHECK (fuzz.harmless(1) AND length(VALUE) < 5000);

CREATE FUNCTION fuzz.trigger_nothing() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RETURN NEW; END $$;
CREATE FUNCTION fuzz.trigger_null() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RETURN NULL; END $$;
CREATE FUNCTION fuzz.trigger_produces() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN PERFORM fuzz.produces(1); RETURN NEW; END $$;

-- A schema that shadows what careless SQL text finds by name alone.
CREATE SCHEMA fuzz_hostile;
GRANT USAGE, CREATE ON SCHEMA fuzz_hostile TO PUBLIC;
CREATE FUNCTION fuzz_hostile.equal(bigint, bigint) RETURNS boolean LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'hostile operator'; END $$;
CREATE OPERATOR fuzz_hostile.= (FUNCTION = fuzz_hostile.equal, LEFTARG = bigint, RIGHTARG = bigint);
CREATE FUNCTION fuzz_hostile.equal(text, text) RETURNS boolean LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'hostile operator'; END $$;
CREATE OPERATOR fuzz_hostile.= (FUNCTION = fuzz_hostile.equal, LEFTARG = text, RIGHTARG = text);
CREATE FUNCTION fuzz_hostile.equal(oid, oid) RETURNS boolean LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'hostile operator'; END $$;
CREATE OPERATOR fuzz_hostile.= (FUNCTION = fuzz_hostile.equal, LEFTARG = oid, RIGHTARG = oid);
CREATE FUNCTION fuzz_hostile.format(text, VARIADIC text[]) RETURNS text LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'hostile function'; END $$;
CREATE FUNCTION fuzz_hostile.now() RETURNS timestamptz LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'hostile function'; END $$;
CREATE DOMAIN fuzz_hostile.text AS pg_catalog.text CHECK (false);
CREATE DOMAIN fuzz_hostile.bigint AS pg_catalog.int8 CHECK (false);

-- What DROP OWNED takes from the roles, and a superuser gives back.
CREATE FUNCTION fuzz.restore_rights() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    role text;
BEGIN
    FOR role IN SELECT rolname FROM pg_catalog.pg_roles
        WHERE rolname::text OPERATOR(pg_catalog.~) '^fuzz_(owner|renamed|member|team)'
    LOOP
        EXECUTE format('GRANT CREATE ON DATABASE postgres TO %I', role);
        EXECUTE format('GRANT CREATE ON SCHEMA topic, public TO %I', role);
    END LOOP;
    GRANT CREATE ON SCHEMA public TO fuzz_writer, fuzz_reader;
    CREATE SCHEMA IF NOT EXISTS fuzz_shared AUTHORIZATION fuzz_team;
    CREATE SCHEMA IF NOT EXISTS fuzz_owner1 AUTHORIZATION fuzz_owner1;
    CREATE SCHEMA IF NOT EXISTS fuzz_owner2 AUTHORIZATION fuzz_team;
    CREATE SCHEMA IF NOT EXISTS fuzz_member AUTHORIZATION fuzz_member;
    ALTER SCHEMA fuzz_shared OWNER TO fuzz_team;
    GRANT SELECT ON topic.control TO fuzz_reader;
END $$;

-- Topics that have been dropped: each has an owner that comes back to it.
CREATE FUNCTION fuzz.restore_topics() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    types text[] := '{text,bigint,jsonb,bigint,bytea,fuzz.pair}';
    owners text[] := '{fuzz_owner1,fuzz_owner1,fuzz_owner2,fuzz_owner2,fuzz_member,fuzz_owner2}';
    name text;
BEGIN
    FOR n IN 0 .. 5 LOOP
        name := 't' || n;
        CONTINUE WHEN EXISTS (SELECT FROM queue.topic t WHERE t.name = 't' || n)
            OR to_regclass('topic.' || name) IS NOT NULL
            OR to_regrole(owners[n + 1]) IS NULL;
        EXECUTE format('SET LOCAL ROLE %I', owners[n + 1]);
        PERFORM queue.create_topic(name, 1 + n % 2, types[n + 1]::regtype, segment_messages => 5);
        EXECUTE format('GRANT SELECT, INSERT ON topic.%I TO fuzz_writer', name);
        EXECUTE format('GRANT SELECT ON topic.%I TO fuzz_reader', name);
        RESET ROLE;
    END LOOP;
END $$;

-- The control group.
CREATE SCHEMA control AUTHORIZATION control_owner;
GRANT CREATE ON SCHEMA topic TO control_owner;
SET ROLE control_owner;
SELECT queue.create_topic('control', 3, 'text', segment_messages => 100, retention => '1 second');
SELECT queue.create_topic('control_single', 2, 'bigint', segment_messages => 60, retention_bytes => 8192);
SELECT queue.create_producer('control', 'control', 'strict');
SELECT queue.create_producer('control_single', 'control', 'strict');
SELECT queue.create_group('control', 'control', 'earliest');
SELECT queue.create_group('control', 'control_single', 'earliest');
CREATE TABLE control.sent (n bigint PRIMARY KEY);
CREATE TABLE control.consumed (partition int, "offset" bigint, n bigint);
CREATE TABLE control.polled (partition int, "offset" bigint, n bigint);
CREATE TABLE control.got (partition int, "offset" bigint, n bigint, epoch bigint);
ALTER TABLE control.got REPLICA IDENTITY FULL;
RESET ROLE;

SELECT fuzz.restore_rights();
SELECT queue.start_maintenance() > 0 AS started;
