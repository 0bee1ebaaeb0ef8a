--
-- DDL of a topic's owner that would spoil the topic is refused when it is tried,
-- whatever its syntax; what does no harm is not. Nothing of it changes the topic.
--
CREATE ROLE regress_wall;
CREATE ROLE regress_wall_other;
GRANT regress_wall_other TO regress_wall;
CREATE SCHEMA wall AUTHORIZATION regress_wall;
GRANT CREATE ON SCHEMA topic TO regress_wall, regress_wall_other;
GRANT CREATE ON DATABASE :DBNAME TO regress_wall;
SET ROLE regress_wall;
SELECT queue.create_topic('w', 1, 'bigint', segment_messages => 5);
SELECT count(queue.produce('w', n::bigint)) FROM generate_series(0, 2) n;
RESET ROLE;
SELECT log, (SELECT segment FROM queue.segments WHERE topic = 'w' ORDER BY first_offset LIMIT 1) AS segment FROM queue.topic WHERE name = 'w' \gset
-- What a topic is made of, to see that nothing has changed.
CREATE VIEW wall_shape AS
SELECT c.oid::regclass AS relation, relowner::regrole, relkind, relam, relnamespace::regnamespace, relrowsecurity, relpersistence, relispartition,
       (SELECT string_agg(attname || ' ' || atttypid::regtype || ' ' || attnotnull::text || attidentity::text || attgenerated::text, ', ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0) AS columns,
       (SELECT string_agg(tgname || ' ' || tgenabled::text, ', ' ORDER BY tgname) FROM pg_trigger WHERE tgrelid = c.oid) AS triggers,
       (SELECT string_agg(rulename, ', ' ORDER BY rulename) FROM pg_rewrite WHERE ev_class = c.oid) AS rules,
       CASE relkind WHEN 'v' THEN pg_get_viewdef(c.oid) END AS query
  FROM pg_class c
 WHERE c.oid IN (SELECT log FROM queue.topic WHERE name = 'w' UNION SELECT inhrelid FROM pg_inherits, queue.topic WHERE name = 'w' AND inhparent = log UNION SELECT to_regclass('topic.w'));
CREATE TABLE wall_before AS SELECT * FROM wall_shape;

\pset format unaligned
\pset tuples_only on
SET ROLE regress_wall;
-- Only a superuser may let DDL pass.
SET queue.allow_ddl = on;
SELECT set_config('queue.allow_ddl', 'on', true);
\c -
SET ROLE regress_wall;
SET queue.allow_ddl = on;
SELECT queue.log_end('w', 0);
SHOW queue.allow_ddl;
RESET ROLE;
\c -
CREATE FUNCTION pg_temp.ddl_error_of(command text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	detail text;
BEGIN
	EXECUTE replace(replace(command, '$log', current_setting('wall.log')), '$segment', current_setting('wall.segment'));
	RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
	-- the server's own words differ between versions
	IF SQLERRM !~ 'topic|segment' THEN
		RETURN CASE WHEN SQLSTATE IN ('55000', '42P16') THEN '55000 or 42P16' ELSE SQLSTATE END;
	END IF;
	RETURN regexp_replace(SQLSTATE || ': ' || SQLERRM || coalesce('. ' || nullif(detail, ''), ''), 'log_\d+', 'log_N', 'g');
END $$;
SELECT set_config('wall.log', :'log', false), set_config('wall.segment', :'segment', false) \gset
SET ROLE regress_wall;
SET client_min_messages = warning;
CREATE FUNCTION wall.t() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TYPE wall.row AS ("offset" bigint, "timestamp" timestamptz, partition int, key text, value bigint, headers jsonb, deliver_at timestamptz);
CREATE TABLE wall.keys (p int, o bigint, PRIMARY KEY (p, o));
CREATE TABLE wall.right_shape ("offset" bigint NOT NULL, "timestamp" timestamptz NOT NULL, partition int NOT NULL, key text, value bigint, headers jsonb, deliver_at timestamptz) USING queue_log;
CREATE TABLE wall.other_order ("offset" bigint NOT NULL, "timestamp" timestamptz NOT NULL, partition int NOT NULL, value bigint, key text, headers jsonb, deliver_at timestamptz) USING queue_log;
CREATE TABLE wall.heap ("offset" bigint NOT NULL, "timestamp" timestamptz NOT NULL, partition int NOT NULL, key text, value bigint, headers jsonb, deliver_at timestamptz) USING heap;
CREATE TABLE wall.parent (LIKE wall.heap) PARTITION BY LIST (partition);
SELECT command, pg_temp.ddl_error_of(command) FROM unnest(ARRAY[
	-- partitions
	'ALTER TABLE $log ATTACH PARTITION wall.right_shape FOR VALUES FROM (0, 1000) TO (0, 2000)',
	'ALTER TABLE $log ATTACH PARTITION wall.right_shape FOR VALUES FROM (7, 1000) TO (9, 2000)',
	'ALTER TABLE $log ATTACH PARTITION wall.right_shape DEFAULT',
	'ALTER TABLE $log ATTACH PARTITION wall.other_order FOR VALUES FROM (0, 1000) TO (0, 2000)',
	'ALTER TABLE $log ATTACH PARTITION wall.heap FOR VALUES FROM (0, 1000) TO (0, 2000)',
	'DO $do$ BEGIN ALTER TABLE $log ATTACH PARTITION wall.heap FOR VALUES FROM (0, 1000) TO (0, 2000); END $do$',
	'CREATE TABLE wall.made PARTITION OF $log FOR VALUES FROM (0, 1000) TO (0, 2000)',
	'CREATE TABLE wall.made PARTITION OF $log FOR VALUES FROM (0, 1000) TO (0, 2000) USING queue_log',
	'CREATE TABLE wall.made PARTITION OF $log FOR VALUES FROM (0, 1000) TO (0, 2000) PARTITION BY RANGE ("offset")',
	'CREATE SCHEMA wall_made CREATE TABLE made PARTITION OF $log DEFAULT USING queue_log',
	'CREATE TABLE queue.made PARTITION OF $log DEFAULT USING queue_log',
	'ALTER TABLE wall.right_shape SET SCHEMA queue',
	'ALTER TABLE wall.parent ATTACH PARTITION $log DEFAULT',
	'ALTER TABLE wall.parent ATTACH PARTITION $segment DEFAULT',
	'ALTER TABLE $log DETACH PARTITION $segment',
	'CREATE TABLE wall.child () INHERITS ($log)',
	'CREATE TABLE wall.child () INHERITS ($segment)',
	'ALTER TABLE wall.heap INHERIT $log',
	'ALTER TABLE wall.heap INHERIT $segment',
	'ALTER TABLE $segment NO INHERIT $log',
	-- columns
	'ALTER TABLE $log ADD COLUMN more int',
	'ALTER TABLE $log ADD COLUMN more int GENERATED ALWAYS AS (partition) STORED',
	'ALTER TABLE $log DROP COLUMN headers CASCADE',
	'ALTER TABLE $log RENAME COLUMN key TO k',
	'ALTER TABLE $log ALTER value TYPE int',
	'ALTER TABLE $log ALTER value TYPE numeric',
	'ALTER TABLE $log ALTER value SET NOT NULL',
	'ALTER TABLE $log ALTER partition DROP NOT NULL',
	'ALTER TABLE $log ALTER value ADD GENERATED ALWAYS AS IDENTITY',
	'ALTER TABLE $segment ADD COLUMN more int',
	'ALTER TABLE $segment ALTER value SET NOT NULL',
	'ALTER TABLE $segment ALTER key TYPE varchar',
	'ALTER TABLE $segment ALTER partition DROP NOT NULL',
	'ALTER TABLE $segment ALTER value ADD GENERATED ALWAYS AS IDENTITY',
	'ALTER TABLE $segment OF wall.row',
	-- row security, triggers, rules, foreign keys
	'ALTER TABLE $log ENABLE ROW LEVEL SECURITY',
	'ALTER TABLE $segment ENABLE ROW LEVEL SECURITY',
	'CREATE TRIGGER t BEFORE INSERT ON $log FOR EACH ROW EXECUTE FUNCTION wall.t()',
	'CREATE TRIGGER t AFTER INSERT ON $log EXECUTE FUNCTION wall.t()',
	'CREATE CONSTRAINT TRIGGER t AFTER INSERT ON $segment FOR EACH ROW EXECUTE FUNCTION wall.t()',
	'CREATE RULE r AS ON INSERT TO $log DO INSTEAD NOTHING',
	'CREATE RULE r AS ON UPDATE TO $segment DO ALSO NOTHING',
	'ALTER TABLE $log ADD FOREIGN KEY (partition, "offset") REFERENCES wall.keys',
	'ALTER TABLE $segment ADD FOREIGN KEY (partition, "offset") REFERENCES wall.keys NOT VALID',
	'ALTER TABLE $log ADD UNIQUE (partition, "offset") DEFERRABLE',
	'ALTER TABLE $segment ADD UNIQUE (key) DEFERRABLE',
	-- files, names, owners
	'ALTER TABLE $segment SET ACCESS METHOD heap',
	'ALTER TABLE $segment SET UNLOGGED',
	'ALTER TABLE $log RENAME TO mine',
	'ALTER TABLE $segment RENAME TO mine',
	'ALTER TABLE $segment SET SCHEMA wall',
	'ALTER TABLE $log SET SCHEMA wall',
	'ALTER TABLE $segment OWNER TO regress_wall_other',
	'ALTER TABLE $log OWNER TO regress_wall_other',
	'ALTER VIEW topic.w OWNER TO regress_wall_other',
	-- the view
	'ALTER VIEW topic.w RENAME TO mine',
	'ALTER TABLE topic.w RENAME TO mine',
	'ALTER VIEW topic.w SET SCHEMA wall',
	'ALTER VIEW topic.w RENAME COLUMN value TO v',
	'ALTER VIEW topic.w ALTER COLUMN "offset" DROP DEFAULT',
	'ALTER VIEW topic.w ALTER COLUMN "offset" SET DEFAULT 1',
	'DROP VIEW topic.w',
	'CREATE OR REPLACE VIEW topic.w AS SELECT * FROM topic.w',
	'CREATE OR REPLACE VIEW topic.w AS SELECT partition, "offset", "timestamp", key, value, headers, deliver_at FROM $log WHERE value > 0',
	'CREATE OR REPLACE VIEW topic.w AS SELECT partition, "offset", "timestamp", key, value, headers, deliver_at FROM $segment',
	'CREATE OR REPLACE VIEW topic.w AS SELECT partition, "offset", "timestamp", key, value + 1 AS value, headers, deliver_at FROM $log',
	'CREATE OR REPLACE VIEW topic.w AS SELECT partition, "offset", "timestamp", key, value, headers, deliver_at FROM $log LIMIT 1',
	'CREATE OR REPLACE VIEW topic.w AS SELECT partition, "offset", "timestamp", key, value, headers, deliver_at, 1 AS more FROM $log',
	'CREATE RULE r AS ON INSERT TO topic.w DO ALSO NOTHING',
	'DROP TRIGGER produce ON topic.w',
	'DROP TRIGGER produce_flush ON topic.w',
	'DROP TRIGGER refuse_change ON topic.w',
	'DROP TRIGGER refuse_row ON topic.w',
	'ALTER TRIGGER produce ON topic.w RENAME TO another',
	'ALTER TRIGGER refuse_row ON topic.w RENAME TO another',
	'ALTER TABLE topic.w DISABLE TRIGGER produce',
	'ALTER TABLE topic.w DISABLE TRIGGER ALL',
	'ALTER TABLE topic.w ENABLE ALWAYS TRIGGER produce',
	'CREATE OR REPLACE TRIGGER produce INSTEAD OF INSERT ON topic.w FOR EACH ROW EXECUTE FUNCTION wall.t()',
	'CREATE OR REPLACE TRIGGER produce INSTEAD OF INSERT ON topic.w FOR EACH ROW EXECUTE FUNCTION queue.topic_insert(''another'')',
	'CREATE OR REPLACE TRIGGER produce_flush AFTER INSERT ON topic.w FOR EACH STATEMENT WHEN (false) EXECUTE FUNCTION queue.topic_flush()',
	-- the guard
	'ALTER EVENT TRIGGER queue_guard_alter DISABLE',
	'DROP EVENT TRIGGER queue_guard_alter',
	'SET session_replication_role = replica',
	'ALTER EXTENSION queue DROP FUNCTION queue.guard_alter()',
	'ALTER EXTENSION queue ADD VIEW topic.w']) WITH ORDINALITY u(command, n) ORDER BY n;
-- A superuser may do more than the owner, and has to say that it is meant.
RESET ROLE;
SELECT command, pg_temp.ddl_error_of(command) FROM unnest(ARRAY[
	'CREATE TABLE queue.log_0_made PARTITION OF $log FOR VALUES FROM (0, 1000) TO (0, 2000) USING heap',
	'CREATE TABLE queue.made PARTITION OF $log FOR VALUES FROM (0, 1000) TO (0, 2000) USING queue_log',
	'ALTER TABLE $log ALTER value ADD GENERATED ALWAYS AS IDENTITY',
	'ALTER TABLE $segment ALTER value ADD GENERATED ALWAYS AS IDENTITY',
	'ALTER TABLE $log ADD UNIQUE (partition, "offset") DEFERRABLE',
	'ALTER TABLE $segment ADD UNIQUE (key) DEFERRABLE',
	'ALTER TABLE $log ADD PRIMARY KEY (partition, "offset", key)',
	'ALTER TABLE $log RENAME TO mine',
	'ALTER TABLE $segment RENAME TO mine',
	'ALTER TABLE $segment SET SCHEMA public',
	'ALTER TABLE $segment OWNER TO regress_wall_other',
	'ALTER TABLE $log OWNER TO regress_wall_other',
	'ALTER TABLE $log DETACH PARTITION $segment',
	'CREATE OR REPLACE TRIGGER produce INSTEAD OF INSERT ON topic.w FOR EACH ROW EXECUTE FUNCTION queue.topic_insert(''another'')',
	'CREATE OR REPLACE TRIGGER produce_flush AFTER INSERT ON topic.w FOR EACH STATEMENT WHEN (false) EXECUTE FUNCTION queue.topic_flush()',
	'DROP VIEW topic.w']) WITH ORDINALITY u(command, n) ORDER BY n;
SET ROLE regress_wall;
-- Not in a block, and committed in the middle.
\set VERBOSITY sqlstate
ALTER TABLE :log DETACH PARTITION :segment CONCURRENTLY;
\set VERBOSITY default
-- A foreign key from another table.
RESET ROLE;
CREATE UNIQUE INDEX wall_unique ON :log (partition, "offset");
SET ROLE regress_wall;
SELECT pg_temp.ddl_error_of('CREATE TABLE wall.referencing (p int, o bigint, FOREIGN KEY (p, o) REFERENCES $log (partition, "offset"))');
SELECT pg_temp.ddl_error_of('ALTER TABLE wall.keys ADD FOREIGN KEY (p, o) REFERENCES $log (partition, "offset")');
DROP INDEX queue.wall_unique;

-- What does no harm.
RESET ROLE;
SELECT command, pg_temp.ddl_error_of(command) FROM unnest(ARRAY[
	'CREATE INDEX wall_key ON $log (key)',
	'DROP INDEX queue.wall_key',
	'ALTER TABLE $log ADD CONSTRAINT c CHECK (value IS NOT NULL)',
	'ALTER TABLE $log DROP CONSTRAINT c',
	'ALTER TABLE $log ADD CONSTRAINT u UNIQUE (partition, "offset")',
	'ALTER TABLE $log DROP CONSTRAINT u',
	'CREATE UNIQUE INDEX wall_key ON $log (partition, "offset")',
	'DROP INDEX queue.wall_key']) WITH ORDINALITY u(command, n) ORDER BY n;
SET ROLE regress_wall;
SELECT command, pg_temp.ddl_error_of(command) FROM unnest(ARRAY[
	'ALTER TABLE $log ALTER value SET STATISTICS 10',
	'ALTER TABLE $log ALTER headers SET STORAGE MAIN',
	'ALTER TABLE $log ALTER headers SET STORAGE EXTENDED',
	'ALTER TABLE $segment REPLICA IDENTITY FULL',
	'ALTER TABLE $segment REPLICA IDENTITY DEFAULT',
	'ALTER TABLE $segment SET (autovacuum_enabled = off)',
	'ALTER TABLE $segment RESET (autovacuum_enabled)',
	'CREATE POLICY p ON $log USING (false)',
	'DROP POLICY p ON $log',
	'CREATE STATISTICS wall.s ON key, value FROM $segment',
	'DROP STATISTICS wall.s',
	'COMMENT ON TRIGGER produce ON topic.w IS ''x''',
	'COMMENT ON TRIGGER produce ON topic.w IS NULL',
	'GRANT SELECT ON topic.w TO regress_wall_other',
	'REVOKE SELECT ON topic.w FROM regress_wall_other',
	'ALTER VIEW topic.w ALTER COLUMN key SET DEFAULT ''k''',
	'ALTER VIEW topic.w ALTER COLUMN key DROP DEFAULT',
	'ALTER VIEW topic.w SET (security_barrier)',
	'ALTER VIEW topic.w RESET (security_barrier)',
	'CREATE TRIGGER a_first INSTEAD OF INSERT ON topic.w FOR EACH ROW EXECUTE FUNCTION wall.t()',
	'DROP TRIGGER a_first ON topic.w',
	'CREATE VIEW wall.v AS SELECT * FROM topic.w',
	'ALTER VIEW wall.v RENAME TO u',
	'DROP VIEW wall.u',
	'CREATE VIEW wall.w AS SELECT 1 AS partition',
	'CREATE TRIGGER produce INSTEAD OF INSERT ON wall.w FOR EACH ROW EXECUTE FUNCTION queue.topic_insert(''w'')',
	'DROP VIEW wall.w',
	'CREATE TABLE wall.part PARTITION OF wall.parent DEFAULT',
	'ALTER TABLE wall.parent DETACH PARTITION wall.part',
	'ALTER TABLE wall.right_shape ENABLE ROW LEVEL SECURITY']) WITH ORDINALITY u(command, n) ORDER BY n;
RESET ROLE;
-- All is as it was.
(TABLE wall_shape EXCEPT TABLE wall_before) UNION ALL (TABLE wall_before EXCEPT TABLE wall_shape);
SELECT count(*) FROM pg_class WHERE relname IN ('made', 'child', 'referencing') OR relnamespace = to_regnamespace('wall_made');
SET ROLE regress_wall;
SELECT "offset" FROM queue.produce('w', 3::bigint);
SELECT array_agg(value ORDER BY value) FROM queue.fetch_typed('w', 0, 0, NULL::bigint);
SELECT * FROM queue.verify('w');

-- A search_path of the owner's does not bend the guard.
CREATE FUNCTION wall.never(regclass, regclass) RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT false';
CREATE FUNCTION wall.never(oid, oid) RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT false';
CREATE FUNCTION wall.never(text, text) RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT false';
CREATE OPERATOR wall.= (LEFTARG = regclass, RIGHTARG = regclass, FUNCTION = wall.never);
CREATE OPERATOR wall.= (LEFTARG = oid, RIGHTARG = oid, FUNCTION = wall.never);
CREATE OPERATOR wall.= (LEFTARG = text, RIGHTARG = text, FUNCTION = wall.never);
SET search_path = wall, pg_catalog;
\set VERBOSITY sqlstate
DROP VIEW topic.w;
ALTER TABLE :log ENABLE ROW LEVEL SECURITY;
\set VERBOSITY default
RESET search_path;
DROP OPERATOR wall.= (regclass, regclass), wall.= (oid, oid), wall.= (text, text);

-- Nor does a constraint's code, which runs while a segment is made: it runs as the owner, and the guard is up.
CREATE TABLE wall.seen (role text, error text);
CREATE FUNCTION wall.code() RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	BEGIN
		DROP VIEW topic.other;
		INSERT INTO wall.seen VALUES (current_user, 'dropped');
	EXCEPTION WHEN OTHERS THEN
		INSERT INTO wall.seen VALUES (current_user, SQLSTATE);
	END;
	RETURN true;
END $$;
CREATE FUNCTION wall.check_code(bigint) RETURNS boolean IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN wall.code(); END';
SELECT queue.create_topic('other', 1, 'bigint');
ALTER TABLE :log ADD CONSTRAINT code CHECK (wall.check_code(1));
TRUNCATE wall.seen;
RESET ROLE;
SELECT count(queue.produce('w', n::bigint)) FROM generate_series(4, 40) n;
SELECT count(*) > 0 AS ran, bool_or(error = 'dropped') AS dropped FROM wall.seen WHERE role = 'regress_wall';
SELECT count(*) FROM queue.topics WHERE topic = 'other';
SET ROLE regress_wall;
ALTER TABLE :log DROP CONSTRAINT code;
SELECT queue.drop_topic('other');

-- REASSIGN OWNED gives a topic away whole.
RESET ROLE;
REASSIGN OWNED BY regress_wall TO regress_wall_other;
SET ROLE regress_wall_other;
SELECT count(queue.produce('w', n::bigint)) FROM generate_series(41, 60) n;
SELECT * FROM queue.verify('w');

-- A type that goes with the session, however it is wrapped; no type at all.
CREATE TYPE pg_temp.passing AS (a int);
CREATE DOMAIN pg_temp.passing_domain AS int;
CREATE DOMAIN topic.lasting_domain AS pg_temp.passing_domain;
CREATE TYPE topic.lasting AS (a pg_temp.passing[]);
CREATE DOMAIN topic.lasting_twice AS topic.lasting[];
CREATE TYPE topic.lasting_range AS RANGE (subtype = topic.lasting_domain);
SELECT call, pg_temp.ddl_error_of(format('SELECT queue.create_topic(''x'', 1, %s)', call))
  FROM unnest(ARRAY['''topic.lasting_domain''', '''topic.lasting_domain[]''', '''topic.lasting''', '''topic.lasting_twice''',
	'''topic.lasting_range''', '''topic.lasting_multirange''', '0', '''-''', '999999999::regtype']) WITH ORDINALITY u(call, n) ORDER BY n;
SELECT queue.drop_topic('w');
DROP TYPE topic.lasting_range, topic.lasting_twice, topic.lasting, topic.lasting_domain;

-- A segment that was detached by force keeps its name, and the next one gets another.
RESET ROLE;
SELECT queue.create_topic('d', 1, 'bigint', segment_messages => 5);
SELECT "offset" FROM queue.produce('d', 0::bigint);
SELECT log, (SELECT segment FROM queue.segments WHERE topic = 'd' ORDER BY first_offset DESC LIMIT 1) AS segment FROM queue.topic WHERE name = 'd' \gset
SET queue.allow_ddl = on;
TRUNCATE :log;
ALTER TABLE :log DETACH PARTITION :segment;
RESET queue.allow_ddl;
SELECT count(queue.produce('d', n::bigint)) FROM generate_series(0, 29) n;
SELECT count(*), sum(value) FROM topic.d;
SELECT * FROM queue.verify('d');
SELECT right(segment::text, 4) FROM queue.segments WHERE topic = 'd' AND first_offset = 5;
SELECT queue.drop_topic('d');
SET queue.allow_ddl = on;
DROP TABLE :segment;
RESET queue.allow_ddl;

DROP TABLE wall_before;
DROP VIEW wall_shape;
DROP SCHEMA wall CASCADE;
DROP OWNED BY regress_wall, regress_wall_other;
DROP ROLE regress_wall, regress_wall_other;
