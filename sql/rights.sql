--
-- Rights: those of the view topic.<name>, of its owner, and of a group's role.
--
CREATE ROLE regress_queue_owner;
CREATE ROLE regress_queue_insert;
CREATE ROLE regress_queue_select;
CREATE ROLE regress_queue_member IN ROLE regress_queue_select;
CREATE ROLE regress_queue_other;
CREATE ROLE regress_queue_none;
\getenv abs_srcdir PG_ABS_SRCDIR
\i :abs_srcdir/sql/include/helpers.sql

-- Creating needs CREATE on schema topic, and USAGE on the type.
SET ROLE regress_queue_owner;
SELECT queue.create_topic('r');
RESET ROLE;
GRANT CREATE ON SCHEMA topic TO regress_queue_owner;
CREATE TYPE secret AS (a int);
REVOKE USAGE ON TYPE secret FROM PUBLIC;
SET ROLE regress_queue_owner;
SELECT queue.create_topic('r', 1, 'secret');
SELECT queue.create_topic('r', 2, 'text', segment_messages => 20);
SELECT topic, owner FROM queue.topics;
RESET ROLE;
DROP TYPE secret;
SELECT FROM pg_temp.use_all('r');
SELECT log FROM queue.topic WHERE name = 'r' \gset
SELECT relkind, pg_get_userbyid(relowner) AS owner, count(*) > 0 AS "any"
  FROM pg_class WHERE oid IN ('topic.r'::regclass, :'log'::regclass) OR oid IN (SELECT segment FROM queue.segments)
 GROUP BY 1, 2 ORDER BY 1;

-- The rights are those of the view.
SET ROLE regress_queue_owner;
GRANT INSERT ON topic.r TO regress_queue_insert;
GRANT SELECT ON topic.r TO regress_queue_select, regress_queue_other;
SELECT partition, "offset" FROM queue.produce('r', 'from the owner', partition => 0);
RESET ROLE;
CREATE TEMP TABLE calls (n serial, call text);
GRANT SELECT ON calls TO PUBLIC;
INSERT INTO calls (call) VALUES
  ($$SELECT queue.produce('r', 'x', partition => 0)$$),
  ($$SELECT queue.produce_batch('r', ARRAY['x'], partition => 0)$$),
  ($$INSERT INTO topic.r (value, partition) VALUES ('x', 0)$$),
  ($$INSERT INTO topic.r (value, partition) VALUES ('x', 0) RETURNING "offset"$$),
  ($$SELECT * FROM topic.r$$),
  ($$SELECT * FROM queue.fetch_typed('r', 0, 0, NULL::text)$$),
  ($$SELECT * FROM queue.consume_typed('group of ' || current_user, 'r', NULL::text)$$),
  ($$SELECT queue.create_group('second group of ' || current_user, 'r')$$),
  ($$SELECT queue.log_start('r', 0), queue.stable_end('r', 0), queue.log_end('r', 0)$$),
  ($$SELECT * FROM queue.verify('r')$$),
  ($$SELECT queue.alter_topic('r', 2)$$),
  ($$SELECT queue.create_topic('another')$$),
  ($$UPDATE topic.r SET value = 'x'$$),
  ($$DELETE FROM topic.r$$);
SET ROLE regress_queue_owner;
SELECT call, pg_temp.error_of(call) FROM calls WHERE call !~ 'another' ORDER BY n;
SET ROLE regress_queue_insert;
SELECT call, pg_temp.error_of(call) FROM calls ORDER BY n;
SELECT topic FROM queue.topics;
SET ROLE regress_queue_select;
SELECT call, pg_temp.error_of(call) FROM calls ORDER BY n;
SELECT topic FROM queue.topics;
SET ROLE regress_queue_none;
SELECT call, pg_temp.error_of(call) FROM calls ORDER BY n;
SELECT queue.produce('r', 'x');
SELECT queue.drop_topic('r');
-- A role does not see what it has no right on.
SELECT (SELECT count(*) FROM queue.topics) AS topics, (SELECT count(*) FROM queue.partitions) AS partitions,
       (SELECT count(*) FROM queue.segments) AS segments, (SELECT count(*) FROM queue.blockers) AS blockers,
       (SELECT count(*) FROM queue.consumer_groups) AS consumer_groups;
-- No other role may read or write the storage.
RESET ROLE;
SELECT format('SELECT count(*) FROM %s', segment) AS read, format('INSERT INTO %s VALUES (0, now(), 0)', segment) AS load,
       format('TRUNCATE %s', segment) AS empty
  FROM queue.segments WHERE topic = 'r' AND partition = 0 ORDER BY first_offset LIMIT 1 \gset
SET ROLE regress_queue_insert;
\set VERBOSITY sqlstate
:read;
:load;
:empty;
SELECT * FROM queue.topic;
SELECT * FROM queue.progress;
INSERT INTO queue.progress (group_id) VALUES (1);
DELETE FROM queue.consumer_group;
SELECT nextval('queue.topic_topic_id_seq');
SELECT queue.topic_insert();
SELECT queue.guard_drop();
CREATE TABLE queue.mine (a int);
\set VERBOSITY default
RESET ROLE;

-- Rights on columns are not enough for the functions.
GRANT INSERT (key, value), SELECT (key) ON topic.r TO regress_queue_none;
SET ROLE regress_queue_none;
INSERT INTO topic.r (key, value) VALUES ('k', 'by column');
SELECT DISTINCT key FROM topic.r WHERE key IS NOT NULL;
SELECT pg_temp.error_of($$SELECT queue.produce('r', 'x')$$), pg_temp.error_of($$SELECT * FROM queue.fetch_typed('r', 0, 0, NULL::text)$$);
RESET ROLE;
REVOKE INSERT (key, value), SELECT (key) ON topic.r FROM regress_queue_none;

-- A right that is taken back is gone at once.
SET ROLE regress_queue_insert;
SELECT count(*) FROM queue.produce('r', 'still');
RESET ROLE;
REVOKE INSERT ON topic.r FROM regress_queue_insert;
SET ROLE regress_queue_insert;
SELECT pg_temp.error_of($$SELECT queue.produce('r', 'x')$$);
RESET ROLE;
GRANT INSERT ON topic.r TO regress_queue_insert;

-- The caller is the current user, in a SECURITY DEFINER function its owner.
CREATE FUNCTION produce_for_all(text) RETURNS bigint LANGUAGE sql SECURITY DEFINER SET search_path = ''
AS $$ SELECT count(*) FROM queue.produce('r', $1) $$;
ALTER FUNCTION produce_for_all(text) OWNER TO regress_queue_insert;
SET ROLE regress_queue_none;
SELECT produce_for_all('through a function');
RESET ROLE;
DROP FUNCTION produce_for_all(text);

-- A segment made for a producer that owns nothing belongs to the topic's owner.
SET ROLE regress_queue_insert;
SELECT count FROM queue.produce_batch('r', ARRAY(SELECT n::text FROM generate_series(1, 100) n), partition => 1);
BEGIN;
SELECT count FROM queue.produce_batch('r', ARRAY(SELECT n::text FROM generate_series(1, 100) n), partition => 1);
COMMIT;
RESET ROLE;
SELECT DISTINCT pg_get_userbyid(relowner) AS owner FROM queue.segments JOIN pg_class c ON c.oid = segment WHERE topic = 'r';
SELECT current_user = session_user AS restored;

-- A group belongs to the role that first used it, and to the members of that role.
SET ROLE regress_queue_select;
SELECT count(*) >= 0 AS mine FROM queue.consume_typed('theirs', 'r', NULL::text, 1);
SELECT queue.create_group('theirs too', 'r', 'latest');
SET ROLE regress_queue_other;
SELECT * FROM queue.consume_typed('theirs', 'r', NULL::text, 1);
SELECT pg_temp.error_of($$SELECT * FROM queue.consume_typed('theirs too', 'r', NULL::text, 1)$$),
       pg_temp.error_of($$SELECT queue.create_group('theirs', 'r')$$);
SELECT count(*) FROM queue.consume_typed('ours', 'r', NULL::text, 1);
SET ROLE regress_queue_member;
SELECT count(*) FROM queue.consume_typed('theirs', 'r', NULL::text, 1);
SELECT pg_temp.error_of($$SELECT * FROM queue.consume_typed('ours', 'r', NULL::text, 1)$$);
RESET ROLE;
SELECT count(*) FROM queue.consume_typed('theirs', 'r', NULL::text, 1);
SELECT name, owner FROM queue.consumer_group WHERE name IN ('theirs', 'theirs too', 'ours') ORDER BY name;
-- What moves a group's offsets needs SELECT, and the group's role; without
-- topic the role is enough.  Times need SELECT.
CREATE TEMP TABLE group_calls (n serial, call text);
GRANT SELECT ON group_calls TO PUBLIC;
INSERT INTO group_calls (call) VALUES
  ($$SELECT queue.reset_offsets('theirs', 'r', to_earliest => true)$$),
  ($$SELECT queue.reset_offsets('theirs', 'r', to_earliest => true, dry_run => true)$$),
  ($$SELECT queue.commit_offset('theirs', 'r', 0, 0)$$),
  ($$SELECT queue.pause('theirs', 'r')$$),
  ($$SELECT queue.resume('theirs', 'r')$$),
  ($$SELECT queue.pause('theirs')$$),
  ($$SELECT queue.resume('theirs')$$),
  ($$SELECT queue.drop_group('theirs', 'r')$$),
  ($$SELECT queue.drop_group('theirs too')$$),
  ($$SELECT queue.create_group('theirs too', 'r')$$),
  ($$SELECT queue.offsets_for_time('r', '2001-01-01', 0)$$),
  ($$SELECT queue.offset_time('r', 0, 0)$$);
SET ROLE regress_queue_select;
SELECT call, pg_temp.error_of(call) FROM group_calls ORDER BY n;
SET ROLE regress_queue_member;
SELECT call, pg_temp.error_of(call) FROM group_calls ORDER BY n;
SET ROLE regress_queue_other;
SELECT call, pg_temp.error_of(call) FROM group_calls ORDER BY n;
SET ROLE regress_queue_insert;
SELECT call, pg_temp.error_of(call) FROM group_calls ORDER BY n;
-- The owner of the topic may reset and drop a group's offsets in it, and no more.
SET ROLE regress_queue_owner;
SELECT call, pg_temp.error_of(call) FROM group_calls ORDER BY n;
-- A role that has lost SELECT may still stop and drop the group as a whole.
RESET ROLE;
SELECT queue.create_group('once', 'r');
UPDATE queue.consumer_group SET owner = 'regress_queue_none' WHERE name = 'once';
SET ROLE regress_queue_none;
SELECT call, pg_temp.error_of(call) FROM unnest(ARRAY[
    $$SELECT queue.reset_offsets('once', 'r', to_earliest => true)$$, $$SELECT queue.pause('once', 'r')$$, $$SELECT queue.drop_group('once', 'r')$$,
    $$SELECT queue.pause('once')$$, $$SELECT queue.drop_group('once')$$]) WITH ORDINALITY u(call, n) ORDER BY n;
SELECT (SELECT count(*) FROM queue.consumer_groups) AS consumer_groups, (SELECT count(*) FROM queue.group_summary) AS group_summary,
       (SELECT count(*) FROM queue.offset_history) AS offset_history, (SELECT count(*) FROM queue.members) AS members,
       (SELECT count(*) FROM queue.group_offsets()) AS group_offsets;
-- A role that may write sees the groups of a topic, but not the age of messages; any
-- group that it may see.
SET ROLE regress_queue_insert;
SELECT count(*) > 0 AS some, count(oldest_unread_age) AS ages, count(*) FILTER (WHERE lag > 0) > 0 AS unread FROM queue.consumer_groups WHERE topic = 'r';
SELECT consumer_group, lag > 0 AS unread, oldest_unread_age FROM queue.group_summary WHERE consumer_group = 'theirs too';
SET ROLE regress_queue_other;
SELECT count(oldest_unread_age) > 0 AS ages FROM queue.consumer_groups WHERE topic = 'r';
RESET ROLE;

-- The role of a group may be gone, as after a restore: then no other role gets the
-- group by accident.
CREATE ROLE regress_queue_gone;
GRANT SELECT ON topic.r TO regress_queue_gone;
SET ROLE regress_queue_gone;
SELECT count(*) FROM queue.consume_typed('orphan', 'r', NULL::text, 1);
RESET ROLE;
REVOKE SELECT ON topic.r FROM regress_queue_gone;
DROP ROLE regress_queue_gone;
SET ROLE regress_queue_other;
SELECT pg_temp.error_of($$SELECT * FROM queue.consume_typed('orphan', 'r', NULL::text, 1)$$);
RESET ROLE;
SELECT count(*) FROM queue.consume_typed('orphan', 'r', NULL::text, 1);

-- Row-level security is refused, never ignored.
SET queue.allow_ddl = on;
ALTER TABLE :log ENABLE ROW LEVEL SECURITY;
RESET queue.allow_ddl;
\set VERBOSITY sqlstate
SELECT queue.produce('r', 'x');
SELECT * FROM queue.fetch_typed('r', 0, 0, NULL::text);
SELECT * FROM queue.consume_typed('ours', 'r', NULL::text);
INSERT INTO topic.r (value) VALUES ('x');
SELECT queue.log_end('r', 0);
\set VERBOSITY default
SET queue.allow_ddl = on;
ALTER TABLE :log DISABLE ROW LEVEL SECURITY;
RESET queue.allow_ddl;
SELECT count(*) FROM queue.produce('r', 'again');
SELECT format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', segment) AS enable, format('ALTER TABLE %s DISABLE ROW LEVEL SECURITY', segment) AS disable
  FROM queue.segments WHERE topic = 'r' AND partition = 0 ORDER BY first_offset LIMIT 1 \gset
SET queue.allow_ddl = on;
:enable;
RESET queue.allow_ddl;
\set VERBOSITY sqlstate
SELECT * FROM queue.fetch_typed('r', 0, 0, NULL::text);
\set VERBOSITY default
SET queue.allow_ddl = on;
:disable;
RESET queue.allow_ddl;
SELECT count(*) > 0 AS again FROM queue.fetch_typed('r', 0, 0, NULL::text);

-- Whatever search_path says, the extension's own objects are used.
CREATE SCHEMA trap;
CREATE FUNCTION trap.now() RETURNS timestamptz LANGUAGE plpgsql AS $$ BEGIN RAISE 'trapped'; END $$;
CREATE DOMAIN trap.int8 AS text;
CREATE DOMAIN trap.jsonb AS text;
SET search_path = trap, pg_catalog;
SELECT queue.create_topic('path', 1, segment_messages => 2);
SELECT count FROM queue.produce_batch('path', ARRAY['1', '2', '3', '4', '5']);
SELECT count(*) FROM queue.consume('path', 'path');
SET search_path = '';
SELECT count(*) FROM queue.produce('path', '6');
RESET search_path;
SELECT value_type FROM queue.topics WHERE topic = 'path';
SELECT queue.drop_topic('path');
DROP SCHEMA trap CASCADE;

-- What a topic's owner attaches to it never runs as a role other than the owner or the
-- producing role; not while the extension makes segments for the owner, either.
CREATE TABLE seen (role name);
GRANT INSERT ON seen TO PUBLIC;
GRANT CREATE ON SCHEMA public TO regress_queue_owner;
SET ROLE regress_queue_owner;
CREATE FUNCTION public.note_role() RETURNS boolean LANGUAGE plpgsql AS
$$ BEGIN INSERT INTO public.seen VALUES (current_user); RETURN true; END $$;
CREATE FUNCTION public.innocent(int) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS
$$ BEGIN RETURN public.note_role(); END $$;
ALTER TABLE :log ADD CHECK (public.innocent(1) OR partition < 0);
SET ROLE regress_queue_insert;
SELECT count FROM queue.produce_batch('r', ARRAY(SELECT n::text FROM generate_series(1, 100) n), partition => 1);
SET ROLE regress_queue_owner;
SELECT queue.alter_topic('r', 3);
SELECT queue.create_topic('r2', 1, 'text', 3);
SELECT "offset" FROM queue.produce('r2', '0');
SELECT log AS log2 FROM (SELECT 'queue.' || relname AS log FROM pg_class WHERE oid = (SELECT max(inhparent) FROM pg_inherits JOIN queue.segments ON segment = inhrelid WHERE topic = 'r2')) l \gset
ALTER TABLE :log2 ADD CHECK (public.innocent(1) OR partition < 0);
SELECT count FROM queue.produce_batch('r2', ARRAY(SELECT n::text FROM generate_series(1, 50) n));
SELECT queue.drop_topic('r2');
RESET ROLE;
SELECT DISTINCT role FROM seen ORDER BY role;
DO $$
DECLARE
	c record;
BEGIN
	FOR c IN SELECT conrelid::regclass, conname FROM pg_constraint WHERE contype = 'c' AND conislocal AND coninhcount = 0 AND conrelid IN (SELECT log FROM queue.topic) LOOP
		EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', c.conrelid, c.conname);
	END LOOP;
END $$;
DROP FUNCTION innocent(int), note_role();
DROP TABLE seen;
REVOKE CREATE ON SCHEMA public FROM regress_queue_owner;

-- Rows that wait for the end of their statement go out as the user, and with the
-- rights, that gave them, also when a SECURITY DEFINER function, or the next role
-- of the transaction, lets them go: the topic's constraints run code then.
CREATE TABLE seen (n serial, value text, role name, may_set_role boolean);
GRANT INSERT ON seen TO PUBLIC;
GRANT USAGE ON SEQUENCE seen_n_seq TO PUBLIC;
GRANT CREATE ON SCHEMA public TO regress_queue_owner;
SET ROLE regress_queue_owner;
SELECT queue.create_topic('waiting', 1, 'text');
GRANT INSERT ON topic.waiting TO regress_queue_insert, regress_queue_other;
CREATE FUNCTION public.note_row(value text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
	may boolean;
BEGIN
	IF value LIKE 'row%' THEN
		BEGIN
			PERFORM set_config('role', 'none', true);
			RAISE division_by_zero;
		EXCEPTION
			WHEN division_by_zero THEN may := true;
			WHEN insufficient_privilege THEN may := false;
		END;
	END IF;
	INSERT INTO public.seen (value, role, may_set_role) VALUES (note_row.value, current_user, may);
	RETURN true;
END $$;
RESET ROLE;
SELECT log AS waiting FROM queue.topic WHERE name = 'waiting' \gset
ALTER TABLE :waiting ADD CHECK (note_row(value));
CREATE FUNCTION produce_for_all(text) RETURNS text LANGUAGE sql SECURITY DEFINER SET search_path = ''
AS $$ SELECT 'row that called' FROM queue.produce('waiting', $1) $$;
ALTER FUNCTION produce_for_all(text) OWNER TO regress_queue_other;
SET ROLE regress_queue_insert;
INSERT INTO topic.waiting (value)
SELECT CASE n WHEN 3 THEN produce_for_all('produced by the function') ELSE 'row ' || n END FROM generate_series(1, 4) n;
RESET ROLE;
SELECT value, role, may_set_role FROM seen ORDER BY n;
TRUNCATE seen;
-- COPY of rows with a default that calls a function.
ALTER VIEW topic.waiting ALTER COLUMN key SET DEFAULT produce_for_all('produced by the default');
SET ROLE regress_queue_insert;
COPY topic.waiting (value) FROM STDIN;
row 5
row 6
\.
RESET ROLE;
SELECT value, role, may_set_role FROM seen ORDER BY n;
TRUNCATE seen;
ALTER VIEW topic.waiting ALTER COLUMN key DROP DEFAULT;
-- Without the trigger that ends the statement they wait for the transaction.
SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', conrelid::regclass, conname) AS drop FROM pg_constraint WHERE conrelid = :'waiting'::regclass AND contype = 'c' \gset
:drop;
ALTER TABLE :waiting ADD CHECK (value NOT LIKE 'waits%' OR current_user = 'regress_queue_insert');
SET queue.allow_ddl = on;
DROP TRIGGER produce_flush ON topic.waiting;
RESET queue.allow_ddl;
BEGIN;
SET LOCAL ROLE regress_queue_insert;
INSERT INTO topic.waiting (value) VALUES ('waits for COMMIT');
SET LOCAL ROLE regress_queue_other;
COMMIT;
SELECT current_user = session_user AS restored;
SELECT "offset", value FROM topic.waiting ORDER BY "offset";
SELECT queue.drop_topic('waiting');
DROP FUNCTION produce_for_all(text), note_row(text);
DROP TABLE seen;
REVOKE CREATE ON SCHEMA public FROM regress_queue_owner;

-- Another view does not lend its rights: neither one with the topic's trigger
-- nor one that takes the name while the topic's own is away.
GRANT CREATE ON SCHEMA topic, public TO regress_queue_none;
SET ROLE regress_queue_none;
\set VERBOSITY sqlstate
CREATE VIEW public.mine AS SELECT NULL::int AS partition, NULL::bigint AS "offset", NULL::timestamptz AS "timestamp",
	NULL::text AS key, NULL::text AS value, NULL::jsonb AS headers, NULL::timestamptz AS deliver_at;
CREATE TRIGGER produce INSTEAD OF INSERT ON public.mine FOR EACH ROW EXECUTE FUNCTION queue.topic_insert('r');
RESET ROLE;
GRANT EXECUTE ON FUNCTION queue.topic_insert() TO regress_queue_none;
SET ROLE regress_queue_none;
CREATE TRIGGER produce INSTEAD OF INSERT ON public.mine FOR EACH ROW EXECUTE FUNCTION queue.topic_insert('r');
INSERT INTO public.mine (value) VALUES ('smuggled');
DROP VIEW public.mine;
RESET ROLE;
REVOKE EXECUTE ON FUNCTION queue.topic_insert() FROM regress_queue_none;
SET queue.allow_ddl = on;
ALTER VIEW topic.r RENAME TO away;
SET ROLE regress_queue_none;
CREATE VIEW topic.r AS SELECT 1 AS one;
SELECT queue.produce('r', 'smuggled');
SELECT * FROM queue.fetch_typed('r', 0, 0, NULL::text);
DROP VIEW topic.r;
RESET ROLE;
ALTER VIEW topic.away RENAME TO r;
RESET queue.allow_ddl;
\set VERBOSITY default
REVOKE CREATE ON SCHEMA topic, public FROM regress_queue_none;
SELECT count(*) FROM topic.r WHERE value = 'smuggled';
SELECT count(*) FROM queue.produce('r', 'as before');

-- Names that need quoting, of a role, a schema and a type.
CREATE ROLE "regress_queue ""Odd"" 'role'";
GRANT CREATE ON SCHEMA topic TO "regress_queue ""Odd"" 'role'";
CREATE SCHEMA "odd ""schema"" 'x'";
CREATE TYPE "odd ""schema"" 'x'"."ty ""pe"" '" AS (a int, "b ""c" text);
GRANT USAGE ON SCHEMA "odd ""schema"" 'x'" TO PUBLIC;
SET ROLE "regress_queue ""Odd"" 'role'";
SELECT queue.create_topic('odd.-_TOPIC', 2, '"odd ""schema"" ''x''"."ty ""pe"" ''"', 3);
SELECT count FROM queue.produce_batch('odd.-_TOPIC', ARRAY(SELECT format('(%s,x)', n) FROM generate_series(1, 20) n), partition => 1);
SELECT queue.alter_topic('odd.-_TOPIC', 3);
SELECT value_type, owner FROM queue.topics WHERE topic = 'odd.-_TOPIC';
SELECT count(*), sum((value).a) FROM queue.consume_typed('odd', 'odd.-_TOPIC', value_type => NULL::"odd ""schema"" 'x'"."ty ""pe"" '");
SELECT queue.drop_topic('odd.-_TOPIC');
RESET ROLE;
REVOKE CREATE ON SCHEMA topic FROM "regress_queue ""Odd"" 'role'";
DROP ROLE "regress_queue ""Odd"" 'role'";
DROP TYPE "odd ""schema"" 'x'"."ty ""pe"" '";
DROP SCHEMA "odd ""schema"" 'x'";

-- Ownership moves with REASSIGN OWNED; DROP OWNED does not drop messages.
\set VERBOSITY sqlstate
DROP OWNED BY regress_queue_owner;
\set VERBOSITY default
REASSIGN OWNED BY regress_queue_owner TO regress_queue_other;
SET ROLE regress_queue_other;
SELECT queue.alter_topic('r', 4);
SELECT queue.drop_topic('r');
RESET ROLE;
SELECT count(queue.drop_group(name)) > 0 AS dropped FROM queue.consumer_group;
REVOKE CREATE ON SCHEMA topic FROM regress_queue_owner;
DROP OWNED BY regress_queue_owner, regress_queue_insert, regress_queue_select, regress_queue_other, regress_queue_none;
DROP ROLE regress_queue_owner, regress_queue_insert, regress_queue_select, regress_queue_member,
	regress_queue_other, regress_queue_none;
