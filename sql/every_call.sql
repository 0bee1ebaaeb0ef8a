-- Every function of the extension survives every call: with NULLs, with the
-- least and the greatest values of each type, as a procedure, in places where it
-- does not belong, and trigger functions called by hand, or by the trigger of
-- another table.  Whatever is wrong has an SQLSTATE of its own: none is XX000.
CREATE ROLE regress_caller;
SELECT (SELECT count(*) FROM queue.topic) AS topics, (SELECT count(*) FROM queue.consumer_group) AS groups \gset
GRANT CREATE ON SCHEMA topic TO regress_caller;
CREATE FUNCTION pg_temp.literal(type regtype, kind text) RETURNS text LANGUAGE sql AS $$
    SELECT CASE WHEN kind = 'null' THEN 'NULL' ELSE coalesce(quote_literal(
        CASE type::text
            WHEN 'cstring' THEN CASE kind WHEN 'least' THEN '' ELSE repeat('x', 300) END
            WHEN 'queue.role' THEN CASE kind WHEN 'least' THEN '' ELSE '4294967295' END
            WHEN 'text' THEN CASE kind WHEN 'least' THEN '' ELSE repeat('x', 300) END
            WHEN 'integer' THEN CASE kind WHEN 'least' THEN '-2147483648' ELSE '2147483647' END
            WHEN 'bigint' THEN CASE kind WHEN 'least' THEN '-9223372036854775808' ELSE '9223372036854775807' END
            WHEN 'boolean' THEN CASE kind WHEN 'least' THEN 'false' ELSE 'true' END
            WHEN 'interval' THEN CASE kind WHEN 'least' THEN '-178000000 years' ELSE '178000000 years' END
            WHEN 'timestamp with time zone' THEN CASE kind WHEN 'least' THEN '-infinity' ELSE 'infinity' END
            WHEN 'jsonb' THEN CASE kind WHEN 'least' THEN 'null' ELSE '{"a": [{}]}' END
            WHEN 'bytea' THEN CASE kind WHEN 'least' THEN '' ELSE '\xff' END
            WHEN 'text[]' THEN CASE kind WHEN 'least' THEN '{}' ELSE '{{a,NULL},{b,c}}' END
            WHEN 'anyarray' THEN CASE kind WHEN 'least' THEN '{}' ELSE '{{a,NULL},{b,c}}' END
            WHEN 'integer[]' THEN CASE kind WHEN 'least' THEN '{}' ELSE '{{1,NULL},{2,3}}' END
            WHEN 'bigint[]' THEN CASE kind WHEN 'least' THEN '{}' ELSE '{{1,NULL},{2,3}}' END
            WHEN 'jsonb[]' THEN CASE kind WHEN 'least' THEN '{}' ELSE '{{"1",NULL},{"{}","2"}}' END
            WHEN 'timestamp with time zone[]' THEN CASE kind WHEN 'least' THEN '{}' ELSE '{{-infinity,NULL},{infinity,now}}' END
            WHEN 'regtype' THEN CASE kind WHEN 'least' THEN '0' ELSE '4294967295' END
            WHEN 'regprocedure' THEN CASE kind WHEN 'least' THEN '0' ELSE '4294967295' END
            WHEN 'regclass' THEN CASE kind WHEN 'least' THEN '0' ELSE '4294967295' END
            WHEN 'anyelement' THEN 'x'
        END), 'NULL') END
        -- for "internal" no other value can be written
        || CASE WHEN type::text IN ('internal') THEN ''
                ELSE '::' || CASE type::text WHEN 'anyelement' THEN 'text' WHEN 'anyarray' THEN 'text[]' ELSE type::text END END
$$;
CREATE TEMP TABLE calls AS
SELECT p.oid::regprocedure::text AS function, prokind, prorettype::regtype::text AS result, proretset, kind,
       format('%s(%s)', p.oid::regproc, string_agg(pg_temp.literal(t.type, kind), ', ' ORDER BY n)) AS call
  FROM pg_proc p
 CROSS JOIN unnest(ARRAY['null', 'least', 'greatest']) kind
  LEFT JOIN LATERAL unnest(p.proargtypes) WITH ORDINALITY t(type, n) ON true
 WHERE pronamespace = 'queue'::regnamespace
   AND p.oid NOT IN (SELECT objid FROM pg_depend WHERE classid = 'pg_proc'::regclass AND refclassid = 'pg_type'::regclass AND deptype = 'i')
 GROUP BY p.oid, kind;
GRANT SELECT ON calls TO regress_caller;
-- What a call ends with: an SQLSTATE, or how many rows.
CREATE FUNCTION pg_temp.outcome(call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    n int;
BEGIN
    EXECUTE call;
    GET DIAGNOSTICS n = ROW_COUNT;
    RETURN format('%s rows', n);
EXCEPTION WHEN OTHERS THEN RETURN SQLSTATE;
END $$;
GRANT EXECUTE ON FUNCTION pg_temp.outcome(text) TO regress_caller;
SELECT count(*) > 50 AS many FROM calls WHERE kind = 'null';

-- Maintenance's worker is no matter here; it would be started and stopped.
DELETE FROM calls WHERE function ~ 'st(art|op)_maintenance';

-- With NULLs, by a superuser and by a plain role.
SET client_min_messages = error;
CREATE TEMP TABLE outcomes AS
SELECT kind, function, result, pg_temp.outcome(format('%s %s', CASE prokind WHEN 'p' THEN 'CALL' ELSE 'SELECT' END, call)) AS superuser
  FROM calls ORDER BY kind, function;
GRANT SELECT ON outcomes TO regress_caller;
SET ROLE regress_caller;
CREATE TEMP TABLE plain_outcomes AS
SELECT kind, function, pg_temp.outcome(format('%s %s', CASE prokind WHEN 'p' THEN 'CALL' ELSE 'SELECT' END, call)) AS plain
  FROM calls ORDER BY kind, function;
RESET ROLE;
\pset format unaligned
\pset tuples_only on
SELECT function, superuser, plain FROM outcomes JOIN plain_outcomes USING (kind, function) WHERE kind = 'null' ORDER BY function COLLATE "C";
\pset format aligned
\pset tuples_only off
SELECT kind, function, superuser, plain FROM outcomes JOIN plain_outcomes USING (kind, function)
 WHERE superuser LIKE 'XX%' OR plain LIKE 'XX%' ORDER BY kind, function COLLATE "C";

-- In FROM, in an expression, where no set may be, as a row's default, in COPY,
-- twice in a row, as what it is not.
CREATE TEMP TABLE places (place text, statement text);
INSERT INTO places VALUES
    ('from', 'SELECT * FROM %s f'),
    ('lateral', 'SELECT * FROM generate_series(1, 2) LEFT JOIN LATERAL (SELECT %s) f ON true'),
    ('expression', 'SELECT (%s) IS NULL, (%1$s)::text'),
    ('where', 'SELECT WHERE (%s) IS NULL'),
    ('case', 'SELECT CASE WHEN true THEN %s END'),
    ('aggregate', 'SELECT count(%s)'),
    ('order', 'SELECT ORDER BY %s'),
    ('limit', 'SELECT LIMIT %s'),
    ('values', 'VALUES (%s), (%1$s)'),
    ('with ordinality', 'SELECT * FROM ROWS FROM (%s, %1$s) WITH ORDINALITY f'),
    ('default', 'CREATE TEMP TABLE d (a text DEFAULT (%s)::text); INSERT INTO d DEFAULT VALUES; DROP TABLE d'),
    ('check', 'CREATE TEMP TABLE d (a text CHECK ((%s) IS NULL)); INSERT INTO d VALUES (NULL); DROP TABLE d'),
    ('index', 'CREATE TEMP TABLE d (a text); INSERT INTO d VALUES (NULL); CREATE INDEX ON d ((%s)); DROP TABLE d'),
    ('procedure', 'CALL %s'),
    ('function', 'SELECT %s'),
    ('view', 'CREATE TEMP VIEW d AS SELECT %s AS x; SELECT * FROM d; DROP VIEW d');
SELECT place, function, outcome
  FROM (SELECT place, function, pg_temp.outcome(format(statement, call)) AS outcome FROM calls, places) o
 WHERE outcome LIKE 'XX%' ORDER BY 1, 2;
RESET client_min_messages;

-- Procedures where they may commit.
\set VERBOSITY sqlstate
SELECT format('CALL %s', call) FROM calls WHERE prokind = 'p' AND kind = 'null' ORDER BY function COLLATE "C" \gexec
\set VERBOSITY default

-- By an index that calls a function marked immutable, and by an aggregate.
\set VERBOSITY sqlstate
SELECT queue.create_topic('called', value_type => 'text');
SELECT (queue.produce('called', 'a')).offset;
CREATE TABLE indexed (a text);
INSERT INTO indexed VALUES ('called');
CREATE FUNCTION pg_temp.reads(a text) RETURNS bigint IMMUTABLE LANGUAGE sql AS $$SELECT count(*) FROM queue.fetch_typed(a, 0, 0, NULL::text)$$;
CREATE FUNCTION pg_temp.writes(a text) RETURNS bigint IMMUTABLE LANGUAGE sql AS $$SELECT "offset" FROM queue.produce(a, 'b')$$;
CREATE FUNCTION pg_temp.lists(a text) RETURNS bigint IMMUTABLE LANGUAGE sql AS $$SELECT count(*) FROM queue.partition_list() WHERE topic = a$$;
CREATE INDEX ON indexed (pg_temp.reads(a));
CREATE INDEX ON indexed (pg_temp.writes(a));
CREATE INDEX ON indexed (pg_temp.lists(a));
CREATE FUNCTION pg_temp.step(state bigint, a text) RETURNS bigint LANGUAGE sql AS $$SELECT ("offset") FROM queue.produce('called', a)$$;
CREATE AGGREGATE pg_temp.produced(text) (sfunc = pg_temp.step, stype = bigint);
SELECT pg_temp.produced(a) FROM unnest(ARRAY['c', 'd']) a;
CREATE OPERATOR pg_temp.@@@ (FUNCTION = queue.log_end, LEFTARG = text, RIGHTARG = int);
SELECT 'called' OPERATOR(pg_temp.@@@) 0;
SELECT 'called' OPERATOR(pg_temp.@@@) 1;
SELECT NULL::text OPERATOR(pg_temp.@@@) 1;
CREATE OPERATOR pg_temp.@@> (FUNCTION = queue.verify, RIGHTARG = text);
SELECT OPERATOR(pg_temp.@@>) 'called';
-- To oid: since 18 there is a cast to int.
CREATE CAST (bytea AS oid) WITH FUNCTION queue.murmur2(bytea);
SELECT 'x'::bytea::oid;
DROP CAST (bytea AS oid);
DROP TABLE indexed;

-- Trigger functions by the triggers of tables that are none of a topic.
CREATE TABLE plain (a int, b text);
CREATE VIEW seen AS SELECT * FROM plain;
-- as many columns as a topic's view, of other types
CREATE VIEW seven AS SELECT a, a AS b, a AS c, a AS d, a AS e, a AS f, a AS g FROM plain;
CREATE FUNCTION pg_temp.fire(function text, relation text, moment text, event text, level text, argument text)
RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE TRIGGER hand %s %s ON %s FOR EACH %s EXECUTE FUNCTION queue.%s(%s)',
                   moment, event, relation, level, function, argument);
    EXECUTE format(CASE event WHEN 'INSERT' THEN 'INSERT INTO %s VALUES (1)' WHEN 'UPDATE' THEN 'UPDATE %s SET a = 2'
                              WHEN 'DELETE' THEN 'DELETE FROM %s' ELSE 'TRUNCATE %s' END, relation);
    RAISE EXCEPTION SQLSTATE 'ZZ000';
EXCEPTION
    WHEN SQLSTATE 'ZZ000' THEN RETURN 'fires';
    WHEN OTHERS THEN RETURN SQLSTATE;
END $$;
INSERT INTO plain VALUES (1, 'b');
SELECT function, pg_temp.fire(function, relation, moment, event, level, argument) AS outcome, count(*)
  FROM unnest(ARRAY['topic_insert', 'topic_flush', 'refuse_change', 'guard_drop', 'insert_guard']) function,
       unnest(ARRAY['plain', 'seen', 'seven']) relation, unnest(ARRAY['BEFORE', 'AFTER', 'INSTEAD OF']) moment,
       unnest(ARRAY['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE']) event, unnest(ARRAY['ROW', 'STATEMENT']) level,
       unnest(ARRAY['', '''called''', '''a'', ''b''', '''nope''']) argument
 GROUP BY 1, 2 ORDER BY 1, 2;
DROP VIEW seen, seven;
DROP TABLE plain;

-- Event trigger functions by other events.
CREATE FUNCTION pg_temp.fire_event(function text, event text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE EVENT TRIGGER regress_hand ON %s EXECUTE FUNCTION queue.%s()', event, function);
    CREATE TABLE rewritten (a int);
    INSERT INTO rewritten VALUES (1);
    ALTER TABLE rewritten ALTER COLUMN a TYPE text;
    DROP TABLE rewritten;
    RAISE EXCEPTION SQLSTATE 'ZZ000';
EXCEPTION
    WHEN SQLSTATE 'ZZ000' THEN RETURN 'fires';
    WHEN OTHERS THEN RETURN SQLSTATE;
END $$;
SELECT function, event, pg_temp.fire_event(function, event)
  FROM unnest(ARRAY['guard_drop', 'guard_alter', 'guard_rewrite', 'topic_insert']) function,
       unnest(ARRAY['ddl_command_start', 'ddl_command_end', 'sql_drop', 'table_rewrite']) event
 ORDER BY 1, 2;

-- All of it is as it was.
SELECT count(*) FROM queue.verify('called');
SELECT queue.drop_topic('called');
SELECT (SELECT count(*) FROM queue.topic) - :topics AS topics, (SELECT count(*) FROM queue.consumer_group) - :groups AS groups;
REVOKE CREATE ON SCHEMA topic FROM regress_caller;
DROP TABLE calls, outcomes, places;
DROP TABLE plain_outcomes;
DROP FUNCTION pg_temp.outcome(text);
DROP ROLE regress_caller;
