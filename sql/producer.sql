--
-- Producers: what becomes of a sequence.  The rows of the contract, in order.
--
SELECT queue.create_topic('p', 3, 'text');
-- Where a message went: partition:offset, and what the call said about it.
CREATE FUNCTION pg_temp.put(id text, sequence bigint, epoch int DEFAULT 0, partition int DEFAULT 0, key text DEFAULT NULL)
RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	r queue.produce_result;
BEGIN
	r := queue.produce('p', id || ' ' || sequence, key, partition => partition, producer_id => id, sequence => sequence, epoch => epoch);
	RETURN r.partition || ':' || r.offset || CASE WHEN r.duplicate THEN ' duplicate' ELSE ' new' END ||
		CASE WHEN r.duplicate <> (r.timestamp IS NULL) THEN ' with wrong timestamp' ELSE '' END;
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ': ' || SQLERRM;
END $$;
CREATE VIEW stored AS SELECT partition, "offset", value FROM topic.p ORDER BY partition, "offset";

-- Unknown producer: accepted, with whatever sequence it begins.
SELECT partition, "offset", "timestamp" >= now() AS now, duplicate
  FROM queue.produce('p', 'first', partition => 0, producer_id => 'a', sequence => 1);
SELECT pg_temp.put('from seven', 7, partition => 2), pg_temp.put('from zero', 0, partition => 2),
       pg_temp.put('from the end', 9223372036854775806, partition => 2);
SELECT pg_temp.put('epoch nine', 4, epoch => 9, partition => 2);

-- sequence = last + 1: appended.
SELECT pg_temp.put('a', 2), pg_temp.put('a', 3, partition => 1), pg_temp.put('from seven', 8, partition => 2);

-- sequence <= last, and stored: nothing is appended; the original place, also
-- if the value, the key and the partition are others now; no timestamp.
SELECT * FROM queue.produce('p', 'another', 'key', '{"h": 1}', 2, producer_id => 'a', sequence => 3);
SELECT * FROM queue.produce('p', 'another', 'key', '{"h": 1}', 2, producer_id => 'a', sequence => 1);
SELECT pg_temp.put('a', 2, partition => NULL), pg_temp.put('from the end', 9223372036854775806);
SELECT * FROM stored;

-- sequence > last + 1: a gap.
SELECT queue.produce('p', 'gap', producer_id => 'a', sequence => 6);
SELECT pg_temp.put('a', 5), pg_temp.put('a', 9223372036854775806), pg_temp.put('from zero', 2);
-- Behind the first one there is nothing either.
SELECT queue.produce('p', 'before', producer_id => 'from seven', sequence => 6);
SELECT pg_temp.put('a', 0), pg_temp.put('from seven', 0);
SELECT count(*) FROM stored;
SELECT pg_temp.put('a', 4);

-- Monotonic: gaps are allowed, what lies in one is never called a duplicate.
SELECT queue.create_producer('p', 'scn', 'monotonic');
SELECT sequence, pg_temp.put('scn', sequence, partition => 1) FROM unnest(ARRAY[100, 101, 250, 9000000000]) sequence;
SELECT sequence, pg_temp.put('scn', sequence, partition => 1) FROM unnest(ARRAY[99, 100, 101, 102, 249, 250, 251, 8999999999, 9000000000]) sequence;
SELECT queue.produce('p', 'in a gap', producer_id => 'scn', sequence => 102);

-- epoch < current: fenced, also for a duplicate and a gap.
SELECT queue.fence_producer('p', 'a');
SELECT queue.produce('p', 'zombie', producer_id => 'a', sequence => 5);
SELECT pg_temp.put('a', 1), pg_temp.put('a', 77), pg_temp.put('epoch nine', 5, epoch => 8);
SELECT * FROM queue.produce_batch('p', ARRAY['zombie'], producer_id => 'a', first_sequence => 5);
-- The new epoch goes on, and knows what the old one has stored.
SELECT pg_temp.put('a', 3, 1), pg_temp.put('a', 6, 1), pg_temp.put('a', 5, 1), pg_temp.put('a', 5, 1);

-- epoch > current: becomes the current, the sequence restarts.
SELECT pg_temp.put('a', 2, 4), pg_temp.put('a', 2, 4), pg_temp.put('a', 1, 4), pg_temp.put('a', 3, 4), pg_temp.put('a', 6, 3);
SELECT epoch, last_sequence, partition, "offset" FROM queue.producer_state('p', 'a');
SELECT pg_temp.put('a', 5, 1), pg_temp.put('a', 4, 2147483647), pg_temp.put('a', 5, 2147483647), pg_temp.put('a', 4, 2147483647);
-- A restart and a fence: the sequences of the restart go on.
SELECT pg_temp.put('epoch nine', 40, 12), queue.fence_producer('p', 'epoch nine'),
       pg_temp.put('epoch nine', 41, 13), pg_temp.put('epoch nine', 40, 13), pg_temp.put('epoch nine', 4, 13);

-- The caller rolls back, also to a savepoint: the sequence is free again.
BEGIN;
SELECT pg_temp.put('from zero', 1, partition => 2), pg_temp.put('from zero', 1, partition => 2);
ROLLBACK;
SELECT last_sequence, "offset" FROM queue.producer_state('p', 'from zero');
BEGIN;
SELECT duplicate FROM queue.produce('p', 'kept', partition => 2, producer_id => 'from zero', sequence => 1);
SAVEPOINT s;
SELECT duplicate FROM queue.produce('p', 'undone', partition => 2, producer_id => 'from zero', sequence => 2);
SELECT duplicate FROM queue.produce('p', 'undone', partition => 2, producer_id => 'brand new', sequence => 2);
ROLLBACK TO s;
SELECT duplicate FROM queue.produce('p', 'kept', partition => 2, producer_id => 'from zero', sequence => 1);
SELECT duplicate FROM queue.produce('p', 'kept, too', partition => 2, producer_id => 'from zero', sequence => 2);
SAVEPOINT s;
SAVEPOINT t;
SELECT duplicate FROM queue.produce('p', 'released', partition => 2, producer_id => 'from zero', sequence => 3);
RELEASE t;
SELECT duplicate FROM queue.produce('p', 'released', partition => 2, producer_id => 'from zero', sequence => 3);
RELEASE s;
SELECT duplicate FROM queue.produce('p', 'released', partition => 2, producer_id => 'from zero', sequence => 3);
COMMIT;
SELECT value FROM stored WHERE value ~ '^(kept|undone|released)';
SELECT last_sequence FROM queue.producer_state('p', 'brand new');
SELECT count(*) FROM queue.producers WHERE producer_id = 'brand new';
-- A call that fails has taken nothing.
SELECT queue.produce('p', 'bad partition', partition => 3, producer_id => 'from zero', sequence => 4);
SELECT pg_temp.put('from zero', 4, partition => 2), pg_temp.put('from zero', 4, partition => 2);

-- One counter per topic and producer.
SELECT queue.create_topic('q', 1, 'text');
SELECT "offset", duplicate FROM queue.produce('q', 'another topic', producer_id => 'from zero', sequence => 2);
SELECT pg_temp.put('FROM ZERO', 2, partition => 2), pg_temp.put('from zero ', 2, partition => 2), pg_temp.put('größe; --', 2, partition => 2);

-- Several produces of one statement see each other.
SELECT n, pg_temp.put('series', 1 + n % 4, partition => n % 3) FROM generate_series(0, 8) n;
SELECT n, partition, "offset" - min("offset") OVER () AS nth, duplicate
  FROM generate_series(0, 8) n, queue.produce('p', 'n', partition => 1, producer_id => 'plain series', sequence => 1 + n / 2);
-- In a trigger per row; the rows' own number is the sequence.
CREATE TABLE orders (id int, item text);
CREATE FUNCTION send() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	PERFORM queue.produce('p', 'order ' || NEW.item, NEW.item, producer_id => 'orders', sequence => NEW.id);
	RETURN NULL;
END $$;
CREATE TRIGGER send AFTER INSERT OR UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION send();
INSERT INTO orders VALUES (1, 'tea'), (2, 'milk'), (2, 'milk again'), (3, 'salt');
UPDATE orders SET item = item || ' changed' WHERE id < 3;
INSERT INTO orders VALUES (4, 'rice'), (6, 'gap');
INSERT INTO orders VALUES (4, 'rice');
SELECT value FROM stored WHERE value LIKE 'order%' ORDER BY value COLLATE "C";
SELECT accepted, duplicates FROM queue.producers WHERE topic = 'p' AND producer_id = 'orders';
DROP TABLE orders;
DROP FUNCTION send();

-- The original place, however much has happened since.
SELECT queue.create_topic('old', 1, 'text');
CREATE TABLE sent AS
SELECT id, n AS sequence, r.partition, r."offset"
  FROM generate_series(1, 300) n, unnest(ARRAY['x', 'y']) id,
       queue.produce('old', id || n, 'key ' || n % 50, producer_id => id, sequence => n) r;
SELECT queue.alter_topic('old', 5);
INSERT INTO sent
SELECT id, n, r.partition, r."offset"
  FROM generate_series(301, 600) n, unnest(ARRAY['y', 'x']) id,
       queue.produce('old', id || n, 'key ' || n % 50, producer_id => id, sequence => n) r;
VACUUM queue.producer_batch;
SELECT count(*) FILTER (WHERE s.partition > 0) > 100 AS spread,
       count(*) FILTER (WHERE t.value IS DISTINCT FROM s.id || s.sequence) AS wrong
  FROM sent s LEFT JOIN topic.old t USING (partition, "offset");
SELECT count(*), count(*) FILTER (WHERE (r.partition, r."offset", r.duplicate) IS DISTINCT FROM (s.partition, s."offset", true)) AS wrong
  FROM sent s, queue.produce('old', 'again', 'key ' || s.sequence, producer_id => s.id, sequence => s.sequence) r;
SELECT count(*) FROM topic.old;

-- The message is gone with its segment: the offset is still known.
SELECT queue.create_topic('gone', 1, 'text', segment_messages => 10);
SELECT count(*) FROM generate_series(1, 35) n, queue.produce('gone', 'v', producer_id => 'a', sequence => n);
SELECT segment FROM queue.segments WHERE topic = 'gone' AND first_offset = 0 \gset
SET queue.allow_ddl = on;
DROP TABLE :segment;
RESET queue.allow_ddl;
SELECT n, "offset", duplicate FROM unnest(ARRAY[1, 10, 11, 35]) n, queue.produce('gone', 'v', producer_id => 'a', sequence => n);
SELECT count(*), min("offset") FROM topic.gone;
SELECT queue.drop_topic('gone');

DROP TABLE sent;
DROP VIEW stored;
SELECT queue.drop_topic(t) FROM unnest(ARRAY['p', 'q', 'old']) t;
SELECT count(*) FROM queue.producer;
SELECT count(*) FROM queue.producer_batch;
