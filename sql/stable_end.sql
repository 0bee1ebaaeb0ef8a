--
-- The stable end: a reader stops at the first message that may still appear, and
-- passes those that never will. Each part of the rule in turn; what needs a second
-- session is in prepared.sql and test/isolation.
--
SELECT queue.create_topic('s', 1, 'text');
CREATE FUNCTION pg_temp.read(g text, n int DEFAULT 100) RETURNS text LANGUAGE sql AS
$$ SELECT string_agg(m.offset || ':' || value, ' ' ORDER BY m.offset) FROM queue.consume_typed(g, 's', NULL::text, n) m $$;

-- Own messages of the same statement: not yet; of an earlier one: yes.
BEGIN;
SELECT p.offset, (SELECT count(*) FROM queue.consume_typed('g', 's', NULL::text, 100 + p.offset::int)) AS consumed,
       (SELECT count(*) FROM queue.fetch_typed('s', 0, p.offset, NULL::text)) AS fetched
  FROM queue.produce('s', 'a') p;
SELECT pg_temp.read('g');
-- Those before them are returned, and the offset stops there.
SELECT p.offset, m.offset, m.value
  FROM (SELECT * FROM queue.produce('s', 'b') OFFSET 0) p,
       LATERAL queue.consume_typed('h', 's', NULL::text, 100 + p.offset::int) m;
SELECT pg_temp.read('h');
COMMIT;
SELECT pg_temp.read('g'), pg_temp.read('h');

-- Two calls in one statement go on where the other ended.
SELECT count FROM queue.produce_batch('s', ARRAY['c', 'd', 'e', 'f', 'g']);
SELECT value FROM queue.consume_typed('g', 's', NULL::text, 2)
UNION ALL
SELECT value FROM queue.consume_typed('g', 's', NULL::text, 2);
SELECT (SELECT string_agg(value, '') FROM queue.consume_typed('h', 's', NULL::text, 2)) AS one,
       (SELECT string_agg(value, '') FROM queue.consume_typed('h', 's', NULL::text, 2)) AS two,
       (SELECT string_agg(value, '') FROM queue.consume_typed('i', 's', NULL::text, 3)) AS other_group;
SELECT pg_temp.read('g'), pg_temp.read('h'), pg_temp.read('i');

-- Consume joined with what the producer wrote beside the message.
CREATE TABLE invoice (id text PRIMARY KEY);
BEGIN;
INSERT INTO invoice VALUES ('i1');
SELECT "offset" FROM queue.produce('s', 'i1');
SELECT m.value, i.id FROM queue.consume_typed('g', 's', NULL::text) m LEFT JOIN invoice i ON i.id = m.value;
COMMIT;
-- In one statement with the writing: neither the row nor the message is there;
-- in the next statement both are.
WITH row AS (INSERT INTO invoice VALUES ('i2') RETURNING id),
     message AS (SELECT p.offset FROM row, queue.produce('s', row.id) p)
SELECT (SELECT count(*) FROM message) AS produced,
       (SELECT count(*) FROM queue.consume_typed('g', 's', NULL::text) m) AS consumed,
       (SELECT count(*) FROM invoice WHERE id = 'i2') AS rows;
SELECT m.value, i.id FROM queue.consume_typed('g', 's', NULL::text) m LEFT JOIN invoice i ON i.id = m.value;
WITH message AS (INSERT INTO topic.s (value) VALUES ('i3') RETURNING value)
SELECT (SELECT count(*) FROM message), (SELECT count(*) FROM queue.consume_typed('g', 's', NULL::text) m);
SELECT pg_temp.read('g');
DROP TABLE invoice;

-- Rollback: passed for good.
BEGIN;
SELECT count FROM queue.produce_batch('s', ARRAY['x', 'x']);
ROLLBACK;
SELECT "offset" FROM queue.produce('s', 'j');
SELECT pg_temp.read('g');
-- Savepoint rolled back, within the transaction and after it.
BEGIN;
SELECT "offset" FROM queue.produce('s', 'k');
SAVEPOINT one;
SELECT "offset" FROM queue.produce('s', 'x');
SAVEPOINT two;
SELECT "offset" FROM queue.produce('s', 'x');
RELEASE two;
ROLLBACK TO one;
SELECT "offset" FROM queue.produce('s', 'l');
SELECT pg_temp.read('g');
SAVEPOINT three;
SELECT "offset" FROM queue.produce('s', 'm');
RELEASE three;
COMMIT;
SELECT pg_temp.read('g'), pg_temp.read('h') LIKE '%:k % %:m' AS h;
-- A consume in a savepoint that is rolled back, with messages of its own.
BEGIN;
SAVEPOINT one;
SELECT "offset" FROM queue.produce('s', 'x');
SELECT pg_temp.read('g');
ROLLBACK TO one;
SELECT pg_temp.read('g');
SELECT "offset" FROM queue.produce('s', 'n');
COMMIT;
SELECT pg_temp.read('g');
-- More subtransactions than a snapshot lists, every second one rolled back.
DO $$
BEGIN
	FOR i IN 1..150 LOOP
		BEGIN
			PERFORM queue.produce('s', 'sub' || i);
			IF i % 2 = 0 THEN
				RAISE division_by_zero;
			END IF;
		EXCEPTION WHEN division_by_zero THEN
			NULL;
		END;
	END LOOP;
	IF (SELECT count(*) FROM queue.consume_typed('sub', 's', NULL::text, 1000) WHERE value LIKE 'sub%') <> 75 THEN
		RAISE 'not all of our own messages are there';
	END IF;
END $$;
SELECT count(*), min(value), max(value), count(*) FILTER (WHERE right(value, 1)::int % 2 = 0) AS undone
  FROM queue.consume_typed('g', 's', NULL::text, 1000);

-- Aborted tail, VACUUM, new messages: the group at the end reads all of them,
-- though they get the offsets of the aborted ones.
SELECT "offset" IS NOT NULL AS produced FROM queue.produce('s', 'last');
SELECT value FROM queue.consume_typed('g', 's', NULL::text);
SELECT segment FROM queue.segments WHERE topic = 's' ORDER BY first_offset LIMIT 1 \gset
SELECT queue.log_end('s', 0) AS before \gset
BEGIN;
SELECT count FROM queue.produce_batch('s', ARRAY(SELECT repeat('x', 100) FROM generate_series(1, 1000)));
ROLLBACK;
SELECT queue.log_end('s', 0) - :before AS aborted;
SELECT count(*) FROM queue.consume_typed('g', 's', NULL::text);
SELECT queue.create_group('late', 's', 'latest');
SELECT current_offset - :before AS behind_last FROM queue.consumer_groups WHERE consumer_group IN ('g', 'late');
VACUUM :segment;
SELECT queue.log_end('s', 0) - :before AS after_vacuum, queue.stable_end('s', 0) - :before AS stable_end;
SELECT count(*) FROM queue.consume_typed('g', 's', NULL::text);
SELECT p.offset - :before AS given_again FROM queue.produce('s', 'o') p;
SELECT count FROM queue.produce_batch('s', ARRAY['p', 'q']);
SELECT m.offset - :before AS "offset", value FROM queue.consume_typed('g', 's', NULL::text) m;
SELECT m.offset - :before AS "offset", value FROM queue.consume_typed('late', 's', NULL::text) m;
-- The same with the pages given back to the system.
BEGIN;
SELECT count FROM queue.produce_batch('s', ARRAY(SELECT repeat('x', 100) FROM generate_series(1, 1000)));
ROLLBACK;
VACUUM (TRUNCATE) :segment;
SELECT p.offset - :before AS given_again FROM queue.produce('s', 'r') p;
SELECT m.offset - :before AS "offset", value FROM queue.consume_typed('g', 's', NULL::text) m;
-- And with a plain VACUUM in the middle: aborted messages between committed ones.
BEGIN;
SELECT count FROM queue.produce_batch('s', ARRAY(SELECT repeat('x', 100) FROM generate_series(1, 1000)));
ROLLBACK;
SELECT p.offset - :before AS "offset" FROM queue.produce('s', 's') p;
VACUUM :segment;
SELECT p.offset - :before AS "offset" FROM queue.produce('s', 't') p;
SELECT m.offset - :before AS "offset", value FROM queue.consume_typed('g', 's', NULL::text) m;
SELECT m.offset - :before AS "offset", value FROM queue.fetch_typed('s', 0, :before + 500, NULL::text) m;
SELECT * FROM queue.verify('s');
SELECT queue.drop_topic('s');

-- A closed segment does not reopen: its last messages are rolled back, the next
-- segment takes over, VACUUM empties the old tail.
SELECT queue.create_topic('r', 1, 'text', segment_messages => 10);
SELECT log FROM queue.topic WHERE name = 'r' \gset
SELECT first_offset, last_offset FROM queue.produce_batch('r', array_fill('a'::text, ARRAY[8]));
BEGIN;
SELECT first_offset, last_offset FROM queue.produce_batch('r', array_fill('x'::text, ARRAY[2]));
ROLLBACK;
SELECT "offset" FROM queue.produce('r', 'b');
SELECT count(*) FROM queue.consume_typed('g', 'r', NULL::text);
VACUUM :log;
SELECT "offset" FROM queue.produce('r', 'c');
SELECT m.offset, value FROM queue.consume_typed('g', 'r', NULL::text) m;
-- A batch over the bound, rolled back: the next segment holds nothing, but was begun;
-- a new session has only the log to go by.
SELECT first_offset, last_offset FROM queue.produce_batch('r', array_fill('d'::text, ARRAY[6]));
BEGIN;
SELECT first_offset, last_offset FROM queue.produce_batch('r', array_fill('x'::text, ARRAY[7]));
ROLLBACK;
SELECT count(*) FROM queue.consume_typed('g', 'r', NULL::text);
VACUUM :log;
\c -
SELECT "offset" >= 20 AS not_reopened FROM queue.produce('r', 'e');
SELECT value FROM queue.consume_typed('g', 'r', NULL::text);
-- A whole segment of aborted messages in between.
BEGIN;
SELECT count FROM queue.produce_batch('r', array_fill('x'::text, ARRAY[25]));
ROLLBACK;
SELECT "offset" FROM queue.produce('r', 'f') \gset
VACUUM :log;
SELECT "offset" = :offset + 1 AS next FROM queue.produce('r', 'g');
SELECT value FROM queue.consume_typed('g', 'r', NULL::text);
SELECT string_agg(value, '' ORDER BY m.offset) FROM queue.fetch_typed('r', 0, 0, NULL::text) m;
SELECT * FROM queue.verify('r');
SELECT queue.drop_topic('r');

-- A message of the same command may still appear, to the next one.
SELECT queue.create_topic('own');
SELECT r."offset", queue.stable_end('own', 0), queue.log_end('own', 0)
  FROM queue.produce('own', '"mine"') r;
SELECT queue.stable_end('own', 0);
SELECT r."offset", queue.create_group('own', 'own', 'latest')
  FROM queue.produce('own', '"next"') r;
SELECT "offset", value FROM queue.consume('own', 'own');
SELECT r."offset", queue.create_group('own too', 'own', 'latest', 'earliest', '1 day')
  FROM queue.produce('own', '"last"') r;
SELECT "offset", value FROM queue.consume('own too', 'own');
SELECT queue.drop_group('own'), queue.drop_group('own too'), queue.drop_topic('own');
