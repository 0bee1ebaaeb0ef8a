--
-- What a session remembers of the producer that it last used never outlives
-- the producer.
--
SELECT queue.create_topic('c', 1, 'int');
CREATE VIEW known AS
SELECT (SELECT count(*) FROM queue.producers) AS producers,
       (SELECT count(*) FROM queue.producer_batch WHERE producer_id NOT IN (SELECT producer_id FROM queue.producer)) AS rows_of_nobody;

-- Forgotten, it is new.
SELECT "offset", duplicate FROM queue.produce('c', 1, producer_id => 'p', sequence => 1);
SELECT "offset", duplicate FROM queue.produce('c', 2, producer_id => 'p', sequence => 2);
SELECT queue.forget_producer('c', 'p');
SELECT * FROM known;
SELECT "offset", duplicate FROM queue.produce('c', 3, producer_id => 'p', sequence => 1);
SELECT "offset", duplicate FROM queue.produce('c', 4, producer_id => 'p', sequence => 1);
SELECT * FROM known;

-- In one command.
SELECT (a)."offset", (a).duplicate, f AS forgotten, (b)."offset" AS again, (b).duplicate AS again_duplicate
  FROM (SELECT queue.produce('c', 5, producer_id => 'p', sequence => 1) AS a,
               queue.forget_producer('c', 'p') AS f,
               queue.produce('c', 6, producer_id => 'p', sequence => 1) AS b OFFSET 0) s;
SELECT * FROM known;

-- Forgetting that is rolled back.
BEGIN;
SELECT queue.forget_producer('c', 'p');
ROLLBACK;
SELECT "offset", duplicate FROM queue.produce('c', 7, producer_id => 'p', sequence => 1);

-- A producer that was made in a rolled back transaction.
BEGIN;
SAVEPOINT s;
SELECT duplicate FROM queue.produce('c', 8, producer_id => 'q', sequence => 1);
SELECT duplicate FROM queue.produce('c', 9, producer_id => 'q', sequence => 2);
ROLLBACK TO s;
SELECT duplicate FROM queue.produce('c', 10, producer_id => 'q', sequence => 1);
COMMIT;
SELECT duplicate FROM queue.produce('c', 11, producer_id => 'q', sequence => 1);
SELECT * FROM known;

-- The topic made again under the same name.
SELECT queue.drop_topic('c');
SELECT queue.create_topic('c', 1, 'int');
SELECT "offset", duplicate FROM queue.produce('c', 12, producer_id => 'q', sequence => 1);
SELECT * FROM known;
DROP VIEW known;
SELECT queue.drop_topic('c');
