--
-- What happens if an application does what docs/concepts.md says not to do.
--
SELECT queue.create_topic('t', 1, 'text');

-- Expanding the row of produce: a call for each of its columns.
SELECT (queue.produce('t', 'four times')).* \g /dev/null
SELECT "offset", value FROM topic.t ORDER BY "offset";
SELECT (queue.produce('t', 'once')).offset;
SELECT "offset" FROM queue.produce('t', 'once, too');
SELECT value, count(*) FROM topic.t GROUP BY value ORDER BY value;
-- With a producer the second call is a duplicate.
SELECT partition, "offset", duplicate
  FROM (SELECT (queue.produce('t', 'by p', producer_id => 'p', sequence => 0)).*) p;
SELECT count(*) FROM topic.t WHERE value = 'by p';

-- A cursor WITH HOLD consumes at COMMIT: there, not at FETCH, the offset moves.
CREATE VIEW offset_now AS SELECT current_offset FROM queue.consumer_groups WHERE consumer_group = 'held';
SELECT queue.create_group('held', 't');
BEGIN;
DECLARE held CURSOR WITH HOLD FOR SELECT "offset", value FROM queue.consume_typed('held', 't', NULL::text, 2);
TABLE offset_now;
COMMIT;
TABLE offset_now;
FETCH held;
-- A client that fails here never gets the rest.
CLOSE held;
SELECT "offset" FROM queue.consume_typed('held', 't', NULL::text, 1);
-- In autocommit DECLARE is also the COMMIT.
DECLARE held CURSOR WITH HOLD FOR SELECT "offset", value FROM queue.consume_typed('held', 't', NULL::text, 2);
TABLE offset_now;
CLOSE held;
-- An error of consume is then one of COMMIT, which rolls back.
BEGIN;
INSERT INTO topic.t (value) VALUES ('rolled back');
DECLARE held CURSOR WITH HOLD FOR SELECT "offset" FROM queue.consume_typed('held', 'nope', NULL::text);
COMMIT;
SELECT count(*) FROM topic.t WHERE value = 'rolled back';
-- Without hold, the offset moves at the first FETCH, in the transaction.
BEGIN;
DECLARE kept CURSOR FOR SELECT "offset", value FROM queue.consume_typed('held', 't', NULL::text, 2);
TABLE offset_now;
FETCH kept;
TABLE offset_now;
ROLLBACK;
TABLE offset_now;

-- EXPLAIN ANALYZE consumes, and so does a query that looks away.
EXPLAIN ANALYZE SELECT FROM queue.consume_typed('held', 't', NULL::text, 1) \g /dev/null
TABLE offset_now;
EXPLAIN SELECT FROM queue.consume_typed('held', 't', NULL::text, 1) \g /dev/null
TABLE offset_now;
SELECT "offset" FROM queue.consume_typed('held', 't', NULL::text) WHERE false;
TABLE offset_now;
SELECT "offset" FROM queue.consume_typed('held', 't', NULL::text) WHERE value <> value LIMIT 1;
TABLE offset_now;

DROP VIEW offset_now;
SELECT queue.drop_topic('t');
SELECT queue.drop_group('held');
