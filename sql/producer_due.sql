--
-- Which producers maintenance merges, and which queue.forget_producers() forgets.
--
SELECT queue.create_topic('due', value_type => 'int');
CREATE FUNCTION pg_temp.send(id text, first int, last int) RETURNS bigint LANGUAGE sql
RETURN (SELECT count(r) FROM generate_series(first, last) n, queue.produce('due', n, producer_id => id, sequence => n) r);
CREATE VIEW due AS SELECT name, count(*) FROM queue.producer_due GROUP BY name ORDER BY name;
CREATE VIEW rows AS
SELECT p.name, (SELECT count(*) FROM queue.producer_batch b WHERE b.producer_id = p.producer_id) AS recent,
       (SELECT count(*) FROM queue.producer_history h WHERE h.producer_id = p.producer_id) AS history
  FROM queue.producer p ORDER BY p.name;

-- A producer is due with its 16th row, and with each 16th after that.
SELECT pg_temp.send('few', 1, 15), pg_temp.send('one', 1, 16), pg_temp.send('many', 1, 50);
SELECT * FROM due;
-- Rows without messages count: duplicates, watermarks, fences.
SELECT pg_temp.send('again', 1, 1);
SELECT count(r) FROM generate_series(1, 5) n, queue.produce('due', 1, producer_id => 'again', sequence => 1 + 0 * n) r;
SELECT count(r) FROM generate_series(1, 9) n, queue.produce_batch('due', ARRAY[]::int[], producer_id => 'again', watermark => to_jsonb(n)) r;
SELECT * FROM due WHERE name = 'again';
SELECT queue.fence_producer('due', 'again');
SELECT * FROM due WHERE name = 'again';
-- A batch that makes several rows.
SELECT pg_temp.send('batch', 1, 15);
SELECT * FROM due WHERE name = 'batch';
SELECT queue.create_topic('wide', 2, 'int');
SELECT pg_temp.send('batch', 16, 16);
SELECT count(*) > 0 AS stored
  FROM queue.produce_batch('wide', ARRAY(SELECT generate_series(1, 80000)), ARRAY(SELECT md5(n::text) FROM generate_series(1, 80000) n), producer_id => 'wide', first_sequence => 1);
SELECT * FROM due WHERE name IN ('batch', 'wide');
-- Rolled back: with the rows, in whole or to a savepoint.
BEGIN;
SELECT pg_temp.send('few', 16, 40);
ROLLBACK;
BEGIN;
SAVEPOINT s;
SELECT pg_temp.send('few', 16, 40);
ROLLBACK TO s;
COMMIT;
SELECT * FROM due WHERE name = 'few';

-- Maintenance merges those that are due, and only those; then they are not.
\set VERBOSITY terse
CALL queue.maintain('due');
CALL queue.maintain('wide');
\set VERBOSITY default
SELECT * FROM due;
SELECT * FROM rows;
CALL queue.maintain('due');
-- queue.prune_producers() merges all.
SELECT queue.prune_producers('due');
SELECT pg_temp.send('few', 16, 16), pg_temp.send('many', 51, 64);
SELECT * FROM due;
SELECT queue.prune_producers('due');
SELECT * FROM due;
SELECT * FROM rows;
SELECT count(*) FILTER (WHERE NOT duplicate OR "offset" IS NULL) AS wrong
  FROM generate_series(1, 64) n, queue.produce('due', 0, producer_id => 'many', sequence => n);
-- If the rows that say that they are due are missing (a partial restore), the next 16th row adds one again.
DELETE FROM queue.producer_due;
SELECT pg_temp.send('many', 65, 96);
\set VERBOSITY terse
CALL queue.maintain('due');
\set VERBOSITY default
SELECT * FROM rows WHERE name = 'many';
-- Such a row for an unknown producer does nothing.
INSERT INTO queue.producer_due SELECT topic_id, 'unknown' FROM queue.topic WHERE name = 'due';
CALL queue.maintain('due');
SELECT * FROM due;
-- A producer with rows that cannot be merged does not keep the others from it.
SELECT pg_temp.send(id, 1, 16) FROM unnest(ARRAY['p-1', 'p-2', 'p-3']) id;
BEGIN;
SELECT * FROM due;
UPDATE queue.producer_batch SET places = '\x00' WHERE last_sequence = 3 AND producer_id = (SELECT producer_id FROM queue.producer WHERE name = 'p-2');
COMMIT;
\set VERBOSITY terse
CALL queue.maintain('due');
\set VERBOSITY default
SELECT * FROM due;
SELECT * FROM rows WHERE name LIKE 'p-_';
-- While another transaction has locked the topic's table, the step fails as a whole
-- (a DEBUG tells of all but the first failure): not once for each producer.
SELECT log AS storage FROM queue.topic WHERE name = 'due' \gset
SELECT pg_temp.send(id, 17, 32) FROM unnest(ARRAY['p-1', 'p-3']) id;
BEGIN;
LOCK TABLE :storage IN ACCESS EXCLUSIVE MODE;
PREPARE TRANSACTION 'locked';
\set VERBOSITY sqlstate
SET client_min_messages = debug1;
CALL queue.maintain('due');
RESET client_min_messages;
COMMIT PREPARED 'locked';
SELECT * FROM due;
\set VERBOSITY terse
CALL queue.maintain('due');
\set VERBOSITY default
SELECT * FROM due;
-- Forgotten, or dropped with its topic: not due any more.
SELECT queue.forget_producer('due', 'p-2');
SELECT * FROM due;
SELECT pg_temp.send('last', 1, 16);
SELECT queue.drop_topic('wide');
SELECT count(*) FROM queue.producer_due;

-- Unused producers. A producer is used by a message, a duplicate, a watermark, a fence, or by being made.
SELECT queue.drop_topic('due');
SELECT count(*) FROM queue.producer_due;
SELECT queue.create_topic('due', value_type => 'int');
SELECT pg_temp.send(id, 1, 20) FROM unnest(ARRAY['message', 'duplicate', 'watermark', 'fence', 'idle']) id;
SELECT queue.create_producer('due', id) FROM unnest(ARRAY['made', 'made before']) id;
UPDATE queue.producer_batch SET produced_at = produced_at - interval '1 year';
UPDATE queue.producer SET created_at = created_at - interval '1 year' WHERE name <> 'made';
SELECT pg_temp.send('message', 21, 21);
SELECT duplicate FROM queue.produce('due', 0, producer_id => 'duplicate', sequence => 3);
SELECT count(*) FROM queue.produce_batch('due', ARRAY[]::int[], producer_id => 'watermark', watermark => '1');
SELECT queue.fence_producer('due', 'fence');
SELECT producer_id, produced_at > now() - interval '1 day' AS produced, used_at > now() - interval '1 day' AS used FROM queue.producers ORDER BY producer_id;
CALL queue.forget_producers('due', now() - interval '2 years');
CALL queue.forget_producers('due', now() - interval '1 day');
SELECT * FROM rows;
SELECT * FROM due;
SELECT count(*) FROM queue.producer_batch;
SELECT watermark FROM queue.producer_state('due', 'watermark');
CALL queue.forget_producers('due', 'infinity', 0);
SELECT count(*) FROM queue.producer_batch;
SELECT duplicate FROM queue.produce('due', 0, producer_id => 'message', sequence => 1);

-- Errors.
CALL queue.forget_producers(NULL, now());
CALL queue.forget_producers('due', NULL);
CALL queue.forget_producers('nope', now());
BEGIN;
CALL queue.forget_producers('due', now());
ROLLBACK;
CREATE FUNCTION pg_temp.forget() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE n bigint; BEGIN CALL queue.forget_producers('due', 'infinity', n); RETURN n; END $$;
\set VERBOSITY sqlstate
SELECT pg_temp.forget();
\set VERBOSITY default
SET default_transaction_read_only = on;
CALL queue.forget_producers('due', now());
RESET default_transaction_read_only;
CREATE ROLE regress_queue_due;
GRANT SELECT, INSERT ON topic.due TO regress_queue_due;
SET ROLE regress_queue_due;
CALL queue.forget_producers('due', 'infinity');
SELECT * FROM queue.producer_due;
RESET ROLE;
-- In a loop that may commit.
DO $$ DECLARE n bigint; BEGIN CALL queue.forget_producers('due', 'infinity', n); RAISE NOTICE 'forgotten: %', n; END $$;

DROP VIEW due, rows;
SELECT queue.drop_topic('due');
DROP ROLE regress_queue_due;
