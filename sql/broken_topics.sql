-- A fault of one topic does not stop the others: views leave it out, commands
-- over all topics warn once and go on, queue.topics says what is wrong, and
-- queue.drop_topic() drops whatever is left.
\getenv abs_srcdir PG_ABS_SRCDIR
\i :abs_srcdir/sql/include/helpers.sql
CREATE ROLE regress_broken;
GRANT CREATE ON SCHEMA topic TO regress_broken;
SET ROLE regress_broken;
SELECT name, queue.create_topic(name, 2, value_type => 'text', segment_messages => 10) IS NOT NULL AS made
  FROM unnest(ARRAY['column', 'fine', 'foreign', 'heap', 'hole', 'none', 'policy', 'row', 'second', 'table', 'view']) name;
RESET ROLE;
SELECT count(pg_temp.use_all(name)) FROM queue.topic;
SET ROLE regress_broken;
SELECT queue.create_group('broken', name), (queue.produce(name, 'a', partition => 0)).offset
  FROM unnest(ARRAY['column', 'fine', 'foreign', 'heap', 'hole', 'none', 'policy', 'row', 'second', 'table', 'view']) name;
RESET ROLE;
SELECT queue.produce_batch('fine', ARRAY['b', 'c'], partition => 0, producer_id => 'p', first_sequence => 0);

-- What a superuser can do after setting queue.allow_ddl.
SELECT log AS "column" FROM queue.topic WHERE name = 'column' \gset
SELECT log AS "foreign" FROM queue.topic WHERE name = 'foreign' \gset
SELECT log AS "policy" FROM queue.topic WHERE name = 'policy' \gset
SELECT log AS "row" FROM queue.topic WHERE name = 'row' \gset
SELECT log AS "table" FROM queue.topic WHERE name = 'table' \gset
SELECT segment AS heap FROM queue.segments WHERE topic = 'heap' AND partition = 1 AND first_offset = 0 \gset
SELECT sum(count) FROM queue.produce_batch('hole', ARRAY(SELECT i::text FROM generate_series(1, 24) i), partition => 0);
SELECT segment AS hole FROM queue.segments WHERE topic = 'hole' AND partition = 0 AND first_offset = 10 \gset
SELECT string_agg(format('DROP TABLE %s', segment), ';') AS none FROM queue.segments WHERE topic = 'none' AND partition = 0 \gset
CREATE FOREIGN DATA WRAPPER regress_broken;
CREATE SERVER regress_broken FOREIGN DATA WRAPPER regress_broken;
CREATE FOREIGN TABLE elsewhere ("offset" bigint NOT NULL, "timestamp" timestamptz NOT NULL, partition int NOT NULL,
    key text, value text, headers jsonb, deliver_at timestamptz) SERVER regress_broken;
SELECT sum(count) FROM queue.produce_batch('second', ARRAY(SELECT i::text FROM generate_series(1, 12) i), partition => 1);
SELECT segment AS early FROM queue.segments WHERE topic = 'second' AND partition = 1 AND first_offset = 0 \gset
SET queue.allow_ddl = on;
SET client_min_messages = warning;
ALTER TABLE :column ADD COLUMN more int;
ALTER TABLE :foreign ATTACH PARTITION elsewhere FOR VALUES FROM (1, 20) TO (1, 30);
ALTER TABLE :heap SET ACCESS METHOD heap;
DROP TABLE :hole;
:none;
ALTER TABLE :policy ENABLE ROW LEVEL SECURITY;
DROP TABLE :row CASCADE;
DELETE FROM queue.progress WHERE topic_id = (SELECT topic_id FROM queue.topic WHERE name = 'row');
DROP VIEW topic.table;
DROP TABLE :table;
ALTER VIEW topic.view RENAME TO away;
RESET client_min_messages;
RESET queue.allow_ddl;

-- A segment that was altered is found when it is opened: a WARNING for each
-- topic.
\set VERBOSITY sqlstate
SELECT topic, partition, log_end FROM queue.partitions WHERE topic = 'heap' ORDER BY 2;
\set VERBOSITY default

-- A segment that is read only by queries that look at its messages.
SET queue.allow_ddl = on;
ALTER TABLE :early SET ACCESS METHOD heap;
RESET queue.allow_ddl;
\set VERBOSITY sqlstate
SELECT topic, partition, lag, oldest_unread_age IS NOT NULL AS unread FROM queue.consumer_groups WHERE topic IN ('fine', 'second') ORDER BY 1, 2;
\set VERBOSITY default
SET queue.allow_ddl = on;
ALTER TABLE :early SET ACCESS METHOD queue_log;
RESET queue.allow_ddl;

-- Each role sees the topics that it has a right on.
SELECT topic, value_type, owner, regexp_replace(problem, 'log_\d+', 'log_n') AS problem FROM queue.topics ORDER BY 1;
SET ROLE regress_broken;
SELECT topic, owner, problem IS NULL AS usable FROM queue.topics ORDER BY 1;
SELECT queue.topic_problem('view'), queue.topic_problem('table'), queue.topic_problem('fine'), queue.topic_problem('nope'), queue.topic_problem(NULL);
RESET ROLE;
CREATE ROLE regress_broken_other;
GRANT SELECT ON topic.fine, topic.column TO regress_broken_other;
SET ROLE regress_broken_other;
SELECT topic, problem IS NULL AS usable FROM queue.topics ORDER BY 1;
SELECT queue.topic_problem('view'), queue.topic_problem('table'), queue.topic_problem('column') IS NOT NULL AS column;
-- nor what is wrong with a topic that it may not see
SELECT queue.log_end('view', 0);

-- Views, for each of them.
SET client_min_messages = error;
CREATE FUNCTION pg_temp.look(OUT what text, OUT topics text) RETURNS SETOF record LANGUAGE plpgsql AS $$
BEGIN
    FOREACH what IN ARRAY ARRAY['partitions', 'segments', 'consumer_groups', 'retention', 'members', 'offset_history',
        'producers', 'blockers', 'compaction_progress'] LOOP
        EXECUTE format('SELECT string_agg(DISTINCT topic, '' '' ORDER BY topic) FROM queue.%I', what) INTO topics;
        RETURN NEXT;
    END LOOP;
    what := 'group_summary';
    SELECT format('%s topics, lag %s', s.topics, lag) INTO topics FROM queue.group_summary s;
    RETURN NEXT;
END $$;
SELECT * FROM pg_temp.look();
RESET ROLE;
GRANT EXECUTE ON FUNCTION pg_temp.look() TO regress_broken;
SET ROLE regress_broken;
SELECT * FROM pg_temp.look();
RESET ROLE;
SELECT * FROM pg_temp.look();
SELECT topic, partition, log_start, log_end FROM queue.partitions ORDER BY 1, 2;
RESET client_min_messages;

-- The topic itself: every call says what is wrong.
\set VERBOSITY sqlstate
SELECT queue.produce('column', 'x');
SELECT queue.log_end('foreign', 1);
SELECT count(*) FROM queue.fetch_typed('heap', 1, 0, NULL::text);
SELECT queue.fetch_typed('policy', 0, 0, NULL::text);
SELECT queue.produce('row', 'x');
SELECT queue.log_end('table', 0);
SELECT queue.alter_topic('view', partitions => 3);
CALL queue.maintain('table');
\set VERBOSITY default
SELECT queue.produce('view', 'x');
SELECT topic, regexp_replace(v.problem, 'log_\d+', 'log_n') AS problem FROM queue.topics, queue.verify(topic) v ORDER BY 1, 2;

-- Commands over all topics.
\set VERBOSITY terse
SELECT queue.pause('broken');
SET client_min_messages = error;
SELECT topic, partition, paused FROM queue.consumer_groups ORDER BY 1, 2;
SELECT queue.resume('broken');
CALL queue.maintain();
RESET client_min_messages;
SELECT queue.create_topic('later', value_type => 'text');
SELECT (queue.produce('fine', 'd', partition => 0)).offset, (queue.produce('later', 'a')).offset;
SELECT value FROM queue.consume_typed('broken', 'fine', NULL::text) ORDER BY 1;
SELECT queue.drop_group('broken');
\set VERBOSITY default

-- Dropping: the view that was renamed away goes first.
DROP VIEW topic.away;
-- Of what is left of a topic without its table no other role is the owner.
SET ROLE regress_broken;
\set VERBOSITY sqlstate
SELECT queue.drop_topic('row');
\set VERBOSITY default
SELECT queue.drop_topic(name) FROM unnest(ARRAY['column', 'foreign', 'heap', 'hole', 'none', 'policy', 'view']) name;
RESET ROLE;
SELECT queue.drop_topic(name) FROM unnest(ARRAY['row', 'table', 'fine', 'second', 'later']) name;
SELECT count(*) FROM queue.topics WHERE owner = 'regress_broken' OR problem IS NOT NULL;
SELECT relname FROM pg_class WHERE relowner = 'regress_broken'::regrole;
SELECT to_regclass('elsewhere');
DROP SERVER regress_broken;
DROP FOREIGN DATA WRAPPER regress_broken;
DROP FUNCTION pg_temp.look();
REVOKE CREATE ON SCHEMA topic FROM regress_broken;
DROP ROLE regress_broken, regress_broken_other;
