--
-- Prepared transactions: messages that may still appear stop every reader,
-- until COMMIT PREPARED or ROLLBACK PREPARED.
--
SELECT queue.create_topic('p', 2, 'text');
CREATE FUNCTION pg_temp.read(g text, p int) RETURNS text LANGUAGE sql AS
$$ SELECT string_agg(m.offset || ':' || value, ' ' ORDER BY m.offset) FROM queue.consume_typed(g, 'p', NULL::text, 100, NULL, ARRAY[p]) m $$;
CREATE VIEW ends AS SELECT partition, log_start, stable_end, log_end FROM queue.partitions WHERE topic = 'p' ORDER BY partition;

SELECT count FROM queue.produce_batch('p', ARRAY['a', 'b'], partition => 0);
BEGIN;
SELECT count FROM queue.produce_batch('p', ARRAY['open1', 'open2'], partition => 0);
PREPARE TRANSACTION 'queue_open';
-- Later messages commit first.
SELECT "offset" FROM queue.produce('p', 'c', partition => 0);
SELECT "offset" FROM queue.produce('p', 'd', partition => 1);
SELECT * FROM ends;
-- Readers stop before it; plain SQL shows what is committed; the other
-- partition is not held back.
SELECT pg_temp.read('g', 0), pg_temp.read('g', 1);
SELECT pg_temp.read('g', 0) IS NULL AS nothing_more;
SELECT m.offset, value FROM queue.fetch_typed('p', 0, 0, NULL::text) m;
SELECT m.offset, value FROM queue.fetch_typed('p', 0, 3, NULL::text) m;
SELECT "offset", value FROM topic.p WHERE partition = 0 ORDER BY "offset";
-- The transaction that holds readers back.
SELECT pid, gid, age > '0'::interval AS age, topic, partition, usename = current_user AS mine, query FROM queue.blockers;
-- "latest" is not behind it.
SELECT queue.create_group('latest', 'p', 'latest');
SELECT partition, current_offset FROM queue.consumer_groups WHERE consumer_group = 'latest' ORDER BY partition;
COMMIT PREPARED 'queue_open';
SELECT * FROM ends;
SELECT pg_temp.read('g', 0), pg_temp.read('latest', 0), pg_temp.read('from_start', 0);
SELECT count(*) FROM queue.blockers;

-- Rolled back instead.
BEGIN;
SELECT count FROM queue.produce_batch('p', ARRAY['x', 'x'], partition => 0);
PREPARE TRANSACTION 'queue_open';
SELECT "offset" FROM queue.produce('p', 'e', partition => 0);
SELECT pg_temp.read('g', 0) IS NULL AS nothing;
ROLLBACK PREPARED 'queue_open';
SELECT pg_temp.read('g', 0);
SELECT * FROM ends;

-- Two of them, ended in the other order; one with a savepoint rolled back.
BEGIN;
SELECT "offset" FROM queue.produce('p', 'f', partition => 0);
SAVEPOINT s;
SELECT "offset" FROM queue.produce('p', 'x', partition => 0);
ROLLBACK TO s;
PREPARE TRANSACTION 'queue_one';
BEGIN;
SAVEPOINT s;
SELECT "offset" FROM queue.produce('p', 'g', partition => 0);
RELEASE s;
SELECT "offset" FROM queue.produce('p', 'g', partition => 1);
PREPARE TRANSACTION 'queue_two';
SELECT gid, topic, partition FROM queue.blockers ORDER BY gid, partition;
COMMIT PREPARED 'queue_two';
SELECT pg_temp.read('g', 0) IS NULL AS nothing, pg_temp.read('g', 1);
SELECT gid, topic, partition FROM queue.blockers ORDER BY gid, partition;
COMMIT PREPARED 'queue_one';
SELECT pg_temp.read('g', 0);

-- A transaction that is open in a session, with its messages only.
BEGIN;
SELECT "offset" IS NOT NULL AS produced FROM queue.produce('p', 'x', partition => 0);
SAVEPOINT s;
SELECT "offset" IS NOT NULL AS produced FROM queue.produce('p', 'x', partition => 1);
ROLLBACK TO s;
SELECT pid = pg_backend_pid() AS me, gid, topic, partition, usename = current_user AS mine,
       application_name = current_setting('application_name') AS application, query LIKE '%FROM queue.blockers;' AS query
  FROM queue.blockers;
ROLLBACK;
SELECT count(*) FROM queue.blockers;

-- A prepared consumer: its partition is taken, for its group only.
SELECT count FROM queue.produce_batch('p', ARRAY['i', 'j', 'k'], partition => 0);
SELECT "offset" FROM queue.produce('p', 'l', partition => 1);
BEGIN;
SELECT value FROM queue.consume_typed('g', 'p', NULL::text, 2, NULL, ARRAY[0]);
PREPARE TRANSACTION 'queue_consumer';
SELECT pg_temp.read('g', 0) IS NULL AS taken, pg_temp.read('h', 0) LIKE '% %:k' AS other_group;
SELECT partition, value FROM queue.consume_typed('g', 'p', NULL::text);
SELECT count(*) FROM queue.consume_typed('g', 'p', NULL::text);
ROLLBACK PREPARED 'queue_consumer';
SELECT pg_temp.read('g', 0) LIKE '%:i %:j %:k' AS given_back;
SELECT count FROM queue.produce_batch('p', ARRAY['m', 'n'], partition => 0);
BEGIN;
SELECT value FROM queue.consume_typed('g', 'p', NULL::text, 1, NULL, ARRAY[0]);
SELECT "offset" IS NOT NULL AS produced FROM queue.produce('p', 'o', partition => 0);
PREPARE TRANSACTION 'queue_consumer';
COMMIT PREPARED 'queue_consumer';
SELECT pg_temp.read('g', 0) LIKE '%:n %:o' AS goes_on;

-- A topic made by one; a segment filled by one.
BEGIN;
SELECT queue.create_topic('made', 1, 'text', 3);
SELECT count FROM queue.produce_batch('made', ARRAY['1', '2', '3', '4', '5', '6', '7', '8']);
PREPARE TRANSACTION 'queue_made';
SELECT queue.produce('made', '9');
COMMIT PREPARED 'queue_made';
BEGIN;
SELECT "offset" FROM queue.produce('made', '9');
SELECT first_offset, last_offset FROM queue.produce_batch('made', ARRAY['10', '11', '12', '13']);
PREPARE TRANSACTION 'queue_made';
SELECT first_offset, last_offset FROM queue.produce_batch('made', ARRAY['14', '15', '16', '17', '18']);
SELECT string_agg(value, ' ' ORDER BY m.offset) FROM queue.consume_typed('g', 'made', NULL::text) m;
ROLLBACK PREPARED 'queue_made';
SELECT string_agg(value, ' ' ORDER BY m.offset) FROM queue.consume_typed('g', 'made', NULL::text) m;
SELECT * FROM queue.verify('made');
SELECT queue.drop_topic('made');
DROP VIEW ends;
SELECT queue.drop_topic('p');
