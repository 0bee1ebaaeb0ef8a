-- Compaction against a model: whatever is produced, rolled back, deleted and
-- compacted in between, what is read is what the rules say.
\getenv abs_srcdir PG_ABS_SRCDIR
\i :abs_srcdir/sql/include/helpers.sql
\set VERBOSITY terse
SET queue.compaction_min_dirty_ratio = 0;
SET client_min_messages = warning;
SELECT queue.create_topic('model', partitions => 3, value_type => 'int', segment_messages => 50, cleanup_policy => 'compact', tombstone_retention => '0');
CREATE TABLE sent (partition int, "offset" bigint, key text, value int);

-- What breaks the rules: a message that was not sent so; one that is gone though
-- no later one of its key is there, unless it is a tombstone; one that is left
-- though there is a later one in what is compacted; a tombstone that is left there.
CREATE VIEW wrong AS
WITH sent_to AS (
    SELECT s.*, coalesce(c.compacted_to, 0) AS compacted_to,
           m."offset" IS NOT NULL AS there
      FROM sent s LEFT JOIN queue.checkpoint c ON c.partition = s.partition
      LEFT JOIN topic.model m ON m.partition = s.partition AND m."offset" = s."offset"
)
SELECT m.partition, m."offset", 'not sent' AS what
  FROM topic.model m LEFT JOIN sent s USING (partition, "offset")
 WHERE s."offset" IS NULL OR m.key <> s.key OR m.value IS DISTINCT FROM s.value
UNION ALL
SELECT partition, "offset", 'lost' FROM sent_to s
 WHERE NOT there AND value IS NOT NULL
   AND NOT EXISTS (SELECT FROM sent_to l WHERE l.partition = s.partition
                      AND l.key = s.key AND l."offset" > s."offset" AND (l.there OR l.value IS NULL))
UNION ALL
SELECT partition, "offset", 'left' FROM sent_to s
 WHERE there AND "offset" < compacted_to
   AND (value IS NULL OR EXISTS (SELECT FROM sent_to l WHERE l.partition = s.partition
                                    AND l.key = s.key AND l."offset" > s."offset" AND l."offset" < s.compacted_to))
UNION ALL
SELECT partition, "offset", 'tombstone lost' FROM sent_to s
 WHERE NOT there AND value IS NULL AND "offset" >= compacted_to
   AND NOT EXISTS (SELECT FROM sent_to l WHERE l.partition = s.partition
                      AND l.key = s.key AND l."offset" > s."offset");

CREATE PROCEDURE round(n int) LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1..10 LOOP
        BEGIN
            WITH p AS MATERIALIZED (
                SELECT k, v, queue.produce('model', v, key => k) AS r
                  FROM (SELECT 'key ' || (random() * random() * 100)::int AS k,
                               CASE WHEN random() < 0.8 THEN (random() * 1000)::int END AS v
                          FROM generate_series(1, (random() * n)::int)) s)
            INSERT INTO sent SELECT (r).partition, (r)."offset", k, v FROM p;
            IF random() < 0.3 THEN
                RAISE division_by_zero;
            END IF;
        EXCEPTION WHEN division_by_zero THEN NULL;
        END;
        COMMIT;
    END LOOP;
END $$;


SELECT setseed(0.5);
CALL round(20);
CALL pg_temp.settle('model');
CALL queue.maintain('model');
SELECT * FROM wrong;
CALL round(60);
VACUUM;
CALL pg_temp.settle('model');
CALL queue.maintain('model');
SELECT * FROM wrong;
SET queue.compaction_memory = '100kB';
CALL round(100);
CALL pg_temp.settle('model');
CALL queue.maintain('model');
SELECT * FROM wrong;
CALL round(10);
CALL pg_temp.settle('model');
CALL queue.maintain('model');
CALL round(200);
CALL pg_temp.settle('model');
CALL queue.maintain('model');
SELECT * FROM wrong;
SELECT count(*) > 50 AS rolled_back FROM generate_series(0, (SELECT max("offset") FROM sent)) o
 WHERE NOT EXISTS (SELECT FROM sent WHERE partition = 0 AND "offset" = o);
SELECT bool_and(compacted_to > 100) AS compacted FROM queue.checkpoint;
SELECT * FROM queue.verify('model');
-- A group that comes now sees the same.
SELECT count(*) AS n FROM queue.consume_typed('g', 'model', NULL::int, max_messages => 100000) \gset a
SELECT count(*) AS n FROM queue.consume_typed('g', 'model', NULL::int, max_messages => 100000) \gset b
SELECT count(*) AS n FROM queue.consume_typed('g', 'model', NULL::int, max_messages => 100000) \gset c
SELECT :an + :bn + :cn = count(*) AS all_read FROM topic.model;
DROP VIEW wrong;
DROP TABLE sent;
DROP PROCEDURE round;
SELECT queue.drop_topic('model');
