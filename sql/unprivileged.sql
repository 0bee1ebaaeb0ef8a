-- What a role without any right gets of each function, procedure, view and table
-- of the extension: an SQLSTATE, or what every role may know.  The expected output
-- is the contract: whatever is added shows up here, and needs a decision.
CREATE ROLE regress_contract;
GRANT CREATE ON SCHEMA topic TO regress_contract;
SET ROLE regress_contract;
SELECT queue.create_topic('owned', 2, segment_messages => 10);
SELECT queue.create_group('contract', 'owned');
SELECT queue.create_producer('owned', 'source');
SELECT sum(count) FROM queue.produce_batch('owned', ARRAY['{"n": 1}', '{"n": 2}']::jsonb[], partition => 0,
    producer_id => 'source', first_sequence => 0, epoch => 3, watermark => '"secret"');
SELECT count(*) FROM queue.poll('contract', 'owned', 'member');
SELECT count(*) FROM queue.consume('contract too', 'owned');
RESET ROLE;

-- Calls with what is there, as by a role that knows all names.
SELECT segment FROM queue.segments WHERE topic = 'owned' AND partition = 0 AND first_offset = 0 \gset
CREATE TEMP TABLE words (name text, type text, word text);
INSERT INTO words VALUES
    ('topic', NULL, $$'owned'$$), ('topics', NULL, $$ARRAY['owned']$$),
    ('consumer_group', NULL, $$'contract'$$), ('member', NULL, $$'member'$$), ('producer_id', NULL, $$'source'$$),
    ('partition', NULL, '0'), ('partitions', 'integer', '2'), ('partitions', 'integer[]', '{0}'), ('segment', NULL, quote_literal(:'segment')),
    ('value', NULL, $$'{}'::jsonb$$), ('value', 'text', $$'{}'$$), ('batch', NULL, $$ARRAY['{}'::jsonb]$$), ('batch', 'text', $$'{"{}"}'$$),
    ('value_type', NULL, 'NULL::jsonb'), ('key', NULL, $$'k'$$), ('data', NULL, $$'k'$$),
    ('before_offset', NULL, '10'), ('from_offset', NULL, '0'), ('next_offset', NULL, '1'),
    ('time', NULL, $$'2000-01-01'$$), ('unused_since', NULL, $$'2000-01-01'$$), ('to_earliest', NULL, 'true'), ('tablespace', NULL, $$'pg_default'$$),
    ('sequence', NULL, '2'), ('first_sequence', NULL, '2'), ('epoch', NULL, '3'), ('timeout', NULL, $$'1 second'$$);
-- Arguments that have no default, and some of the others.
CREATE TEMP VIEW calls AS
SELECT p.oid::regprocedure::text AS function,
       format('%s %s(%s)', CASE prokind WHEN 'p' THEN 'CALL' ELSE 'SELECT' END, p.oid::regproc,
              string_agg(CASE WHEN a.name <> '' THEN format('%I => ', a.name) ELSE '' END || coalesce(w.word, 'NULL'), ', ' ORDER BY n)
                  FILTER (WHERE n <= pronargs - pronargdefaults OR a.name IN ('to_earliest', 'producer_id', 'sequence', 'first_sequence', 'epoch'))) AS call
  FROM pg_proc p
  LEFT JOIN LATERAL (SELECT name, format_type(type, NULL) AS type, row_number() OVER (ORDER BY n) AS n
                       FROM ROWS FROM (unnest(proargnames), unnest(coalesce(proargmodes, array_fill('i'::"char", ARRAY[pronargs]))))
                            WITH ORDINALITY u(name, mode, n)
                       JOIN unnest(proargtypes) WITH ORDINALITY t(type, n) USING (n)
                      WHERE mode IN ('i', 'b')) a ON true
  LEFT JOIN LATERAL (SELECT word FROM words w WHERE w.name = a.name AND (w.type IS NULL OR w.type = a.type)
                      ORDER BY w.type NULLS LAST LIMIT 1) w ON true
 WHERE pronamespace = 'queue'::regnamespace
   AND p.oid NOT IN (SELECT objid FROM pg_depend WHERE classid = 'pg_proc'::regclass AND refclassid = 'pg_type'::regclass AND deptype = 'i')
 GROUP BY p.oid;
CREATE TEMP TABLE statements AS
SELECT 'function' AS kind, function AS name, call AS statement FROM calls
UNION ALL
SELECT CASE relkind WHEN 'v' THEN 'view' WHEN 'S' THEN 'sequence' ELSE 'table' END, oid::regclass::text,
       format('SELECT * FROM %s', oid::regclass)
  FROM pg_class c WHERE relnamespace = 'queue'::regnamespace AND relkind IN ('r', 'v', 'S') AND NOT relispartition;
CREATE ROLE regress_nobody;
GRANT SELECT ON statements TO regress_nobody;
CREATE FUNCTION pg_temp.outcome(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    result text;
    n int := 0;
BEGIN
    IF statement LIKE 'CALL%' THEN
        EXECUTE statement;
        RETURN 'called';
    END IF;
    FOR result IN EXECUTE format('SELECT t::text FROM (%s) t', statement) LOOP
        n := n + 1;
    END LOOP;
    RETURN CASE WHEN n = 0 THEN 'no rows' WHEN n = 1 THEN coalesce(result, 'NULL') ELSE format('%s rows, %s', n, result) END;
EXCEPTION WHEN OTHERS THEN RETURN SQLSTATE;
END $$;
GRANT EXECUTE ON FUNCTION pg_temp.outcome(text) TO regress_nobody;

-- A line for each, so that one more is one line more.
\pset format unaligned
\pset tuples_only on
SELECT replace(statement, :'segment', 'queue.log_...') AS statement FROM statements WHERE kind = 'function' ORDER BY name COLLATE "C";
SET ROLE regress_nobody;
SELECT kind, name, pg_temp.outcome(statement) FROM statements ORDER BY kind, name COLLATE "C";
\pset format aligned
\pset tuples_only off
-- Procedures where they may commit.
\set VERBOSITY sqlstate
SELECT statement FROM statements WHERE statement LIKE 'CALL%' ORDER BY name COLLATE "C" \gexec
-- No message without a right, nor with an empty batch; neither tells an epoch.
SELECT queue.produce_batch('owned', '{}'::jsonb[], producer_id => 'source', first_sequence => 0);
SELECT * FROM topic.owned;
INSERT INTO topic.owned (value) VALUES ('{}');
DELETE FROM topic.owned;
RESET ROLE;
-- The right to produce does not tell about another role's producers ...
GRANT INSERT ON topic.owned TO regress_nobody;
SET ROLE regress_nobody;
SELECT queue.produce_batch('owned', '{}'::jsonb[], producer_id => 'source', epoch => 0);
SELECT queue.produce_batch('owned', '{}'::jsonb[], producer_id => 'source', epoch => 3);
SELECT queue.produce_batch('owned', '{}'::jsonb[], producer_id => 'source', epoch => 4);
SELECT queue.produce_batch('owned', '{}'::jsonb[], producer_id => 'source', first_sequence => 0, watermark => '1', epoch => 3);
SELECT queue.producer_state('owned', 'source');
SELECT queue.fence_producer('owned', 'source');
SELECT queue.forget_producer('owned', 'source');
-- ... but about the role's own.
SELECT queue.produce_batch('owned', '{}'::jsonb[], producer_id => 'mine', epoch => 0);
SELECT (queue.produce('owned', '{}', partition => 1, producer_id => 'mine', sequence => 0, epoch => 2)).offset;
SELECT queue.produce_batch('owned', '{}'::jsonb[], producer_id => 'mine', epoch => 1);
SELECT queue.produce_batch('owned', '{}'::jsonb[], producer_id => 'mine', epoch => 2);
RESET ROLE;
\set VERBOSITY default
REVOKE INSERT ON topic.owned FROM regress_nobody;

-- segment_info(): of segments of topics that the role may read or write, and of tables
-- that it may read.
SELECT messages, first_time IS NOT NULL AS first, last_time IS NOT NULL AS last FROM queue.segment_info(:'segment');
SET ROLE regress_nobody;
SELECT * FROM queue.segment_info(:'segment');
SELECT * FROM queue.segment_info(0);
SELECT * FROM queue.segment_info('pg_catalog.pg_authid');
RESET ROLE;
GRANT SELECT ON topic.owned TO regress_nobody;
SET ROLE regress_nobody;
SELECT messages FROM queue.segment_info(:'segment');
RESET ROLE;
REVOKE SELECT ON topic.owned FROM regress_nobody;
CREATE TABLE alone ("offset" bigint NOT NULL, "timestamp" timestamptz NOT NULL, partition int NOT NULL,
    key text, value text, headers jsonb, deliver_at timestamptz) USING queue_log;
INSERT INTO alone VALUES (3, now(), 0), (4, now(), 0);
SET ROLE regress_nobody;
SELECT messages FROM queue.segment_info('alone');
RESET ROLE;
GRANT SELECT ON alone TO regress_nobody;
SET ROLE regress_nobody;
SELECT messages FROM queue.segment_info('alone');
RESET ROLE;
-- Not of a table that is no log any more: its bytes mean nothing, and the last of them
-- are not those of a page.
ALTER TABLE alone DROP COLUMN "offset", DROP COLUMN "timestamp", DROP COLUMN partition, DROP COLUMN value;
VACUUM FULL alone;
SELECT * FROM queue.segment_info('alone');
DROP TABLE alone;

SELECT queue.drop_topic('owned');
SELECT queue.drop_group('contract'), queue.drop_group('contract too');
DROP TABLE statements;
DROP VIEW calls;
DROP TABLE words;
DROP FUNCTION pg_temp.outcome(text);
REVOKE CREATE ON SCHEMA topic FROM regress_contract;
DROP ROLE regress_contract, regress_nobody;
