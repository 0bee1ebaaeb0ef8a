--
-- Pruning the state of producers loses nothing that a duplicate needs.
--
SELECT queue.create_topic('n', 4, 'text');
SELECT queue.create_producer('n', id, 'monotonic') FROM unnest(ARRAY['m1', 'm2']) id;

-- Rows of both tables, recent and pruned.
CREATE VIEW all_rows AS
SELECT producer_id, series, epoch, first_sequence, last_sequence, generation, accepted, places FROM queue.producer_batch
 UNION ALL SELECT producer_id, series, NULL, first_sequence, last_sequence, NULL, NULL, places FROM queue.producer_history;

-- What was stored where, in the series in force; filled from produce's answers.
CREATE TABLE stored (id text, sequence bigint, partition int, "offset" bigint);
CREATE TABLE epochs (id text, epoch int);
INSERT INTO epochs VALUES ('s1', 0), ('s2', 0), ('m1', 0), ('m2', 0);
-- A pseudo-random number below limit, the same on every machine.
CREATE FUNCTION pg_temp.random(seed text, below int) RETURNS int LANGUAGE sql IMMUTABLE AS
$$ SELECT (('x' || left(md5(seed), 7))::bit(28)::int % below) $$;
-- One step of a history: a message, a batch, duplicates only, a fence, or a new epoch.
CREATE FUNCTION pg_temp.step(n int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	producer text := (ARRAY['s1', 's2', 'm1', 'm2'])[1 + pg_temp.random('id' || n, 4)];
	what int := pg_temp.random('what' || n, 100);
	e int := epoch FROM epochs s WHERE s.id = producer;
	last bigint := coalesce((queue.producer_state('n', producer)).last_sequence, 0);
	gap int := CASE WHEN producer LIKE 'm%' THEN pg_temp.random('gap' || n, 3) * pg_temp.random('wide' || n, 1000) ELSE 0 END;
	size int := 1 + pg_temp.random('size' || n, 12);
	numbers bigint[];
BEGIN
	IF what < 55 THEN
		INSERT INTO stored
		SELECT producer, last + gap + 1, r.partition, r."offset"
		  FROM queue.produce('n', producer || n, partition => pg_temp.random('p' || n, 4), producer_id => producer, sequence => last + gap + 1, epoch => e) r;
	ELSIF what < 85 THEN
		-- sequences; then each is asked for, by itself
		numbers := ARRAY(SELECT last + gap + i * CASE WHEN producer LIKE 'm%' THEN 1 + pg_temp.random('stride' || n, 3) ELSE 1 END FROM generate_series(1, size) i);
		PERFORM FROM queue.produce_batch('n', ARRAY(SELECT producer || n || ' ' || i FROM generate_series(1, size) i),
				ARRAY(SELECT 'key' || pg_temp.random(n || 'key' || i, 9) FROM generate_series(1, size) i),
				producer_id => producer, sequences => numbers, epoch => e);
		INSERT INTO stored
		SELECT producer, number, t.partition, t."offset"
		  FROM unnest(numbers) WITH ORDINALITY u(number, i) JOIN topic.n t ON t.value = producer || n || ' ' || i;
	ELSIF what < 95 THEN
		PERFORM queue.produce('n', 'again', producer_id => producer, sequence => s.sequence, epoch => e)
		   FROM (SELECT * FROM stored o WHERE o.id = producer ORDER BY md5(n || o.sequence::text) LIMIT 3) s;
	ELSIF what < 98 THEN
		UPDATE epochs s SET epoch = queue.fence_producer('n', s.id) WHERE s.id = producer;
	ELSIF n < 150 THEN
		-- the next message restarts the sequence
		UPDATE epochs s SET epoch = epoch + 3 WHERE s.id = producer;
		DELETE FROM stored s WHERE s.id = producer;
		INSERT INTO stored
		SELECT producer, size, r.partition, r."offset"
		  FROM queue.produce('n', producer || n, producer_id => producer, sequence => size, epoch => e + 3) r;
	END IF;
END $$;
-- What becomes of a sequence that is sent again.
CREATE FUNCTION pg_temp.ask(id text, sequence bigint, epoch int) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	RETURN (SELECT r.partition || ':' || r."offset" || CASE WHEN r.duplicate THEN '' ELSE ' stored again' END
	          FROM queue.produce('n', 'again', producer_id => id, sequence => sequence, epoch => epoch) r);
EXCEPTION WHEN SQLSTATE 'QU002' THEN
	RETURN 'never stored';
END $$;
-- Every sequence that was stored, and those beside them that were not.
CREATE TEMP VIEW wrong AS
WITH asked AS (
	SELECT s.id, s.sequence, s.partition || ':' || s."offset" AS expected FROM stored s
	UNION ALL
	SELECT DISTINCT s.id, s.sequence + d, 'never stored'
	  FROM stored s, unnest(ARRAY[-1, 1, 2]) d
	 WHERE s.sequence + d BETWEEN 0 AND (queue.producer_state('n', s.id)).last_sequence
	   AND NOT EXISTS (SELECT FROM stored o WHERE o.id = s.id AND o.sequence = s.sequence + d)
)
SELECT a.id, count(*) AS asked, count(*) FILTER (WHERE expected = 'never stored') > 3 AS in_gaps,
       count(*) FILTER (WHERE pg_temp.ask(a.id, a.sequence, e.epoch) <> expected) AS wrong
  FROM asked a JOIN epochs e USING (id)
 GROUP BY a.id ORDER BY a.id COLLATE "C";
CREATE VIEW map_rows AS
SELECT p.name AS id, count(b.places) AS with_places, count(*) - count(b.places) AS without
  FROM all_rows b JOIN queue.producer p USING (producer_id)
 WHERE p.name ~ '^[sm]' GROUP BY 1 ORDER BY 1;

DO $$ BEGIN FOR n IN 1..300 LOOP PERFORM pg_temp.step(n); END LOOP; END $$;
SELECT id, epoch FROM epochs ORDER BY id;
SELECT topic, producer_id, sequence_mode, epoch, last_sequence, accepted, duplicates, gaps FROM queue.producers ORDER BY producer_id COLLATE "C";
CREATE TEMP TABLE before AS SELECT producer_id, epoch, last_sequence, partition, "offset", accepted, duplicates, gaps, produced_at FROM queue.producers;
SELECT * FROM map_rows;
SELECT * FROM wrong;
SELECT * FROM map_rows;
SELECT count(*) FROM topic.n WHERE value = 'again';

-- Prune: fewer rows, by as many as it says.
SELECT count(*) FROM all_rows \gset before_
SELECT queue.prune_producers('n') AS pruned \gset
SELECT :before_count - :pruned = count(*) AS as_many FROM all_rows;
SELECT * FROM map_rows;
SELECT * FROM wrong;
SELECT count(*) FROM before b JOIN queue.producers p USING (producer_id, epoch, last_sequence, partition, "offset", accepted, gaps, produced_at);
-- Again, and again: what is merged is merged with what came since.
SELECT queue.prune_producers('n') > 0 AS pruned;
SELECT queue.prune_producers('n') AS nothing_left;
DO $$ BEGIN FOR n IN 301..400 LOOP PERFORM pg_temp.step(n); IF n % 20 = 0 THEN PERFORM queue.prune_producers('n'); END IF; END LOOP; END $$;
SELECT * FROM wrong;
SELECT queue.prune_producers('n') > 0 AS pruned;
SELECT * FROM map_rows;
SELECT * FROM wrong;
VACUUM queue.producer_batch, queue.producer_history;
SELECT * FROM wrong;
-- Rolled back.
BEGIN;
SELECT queue.prune_producers('n') > 0 AS pruned;
ROLLBACK;
SELECT * FROM wrong;
-- Within the transaction that produces.
BEGIN;
DO $$ BEGIN FOR n IN 401..430 LOOP PERFORM pg_temp.step(n); END LOOP; END $$;
SELECT queue.prune_producers('n') > 0 AS pruned;
SELECT * FROM wrong;
COMMIT;
SELECT * FROM wrong;

-- The rows of a series that has ended go; those of a fenced epoch stay.
SELECT queue.create_topic('ends', 1, 'text');
SELECT n, e, "offset", duplicate FROM (VALUES (1, 0), (2, 0), (1, 5), (2, 5)) v(n, e), queue.produce('ends', 'v', producer_id => 'e', sequence => n, epoch => e);
SELECT queue.fence_producer('ends', 'e');
SELECT "offset", duplicate FROM queue.produce('ends', 'v', producer_id => 'e', sequence => 3, epoch => 6);
SELECT queue.prune_producers('ends');
SELECT series, epoch, first_sequence, last_sequence, generation FROM all_rows b JOIN queue.producer p USING (producer_id) WHERE p.name = 'e' ORDER BY last_sequence;
SELECT n, "offset", duplicate FROM generate_series(1, 3) n, queue.produce('ends', 'v', producer_id => 'e', sequence => n, epoch => 6);
SELECT queue.produce('ends', 'v', producer_id => 'e', sequence => 1);
-- In the statement that has produced, and again.
SELECT count(r), queue.prune_producers('ends'), queue.prune_producers('ends')
  FROM (SELECT queue.produce('ends', 'v', producer_id => 'same', sequence => n) AS r FROM generate_series(1, 9) n OFFSET 0) s;
SELECT n, duplicate FROM generate_series(8, 10) n, queue.produce('ends', 'v', producer_id => 'same', sequence => n);
-- A producer with one row, with none, with a watermark alone.
SELECT queue.create_producer('ends', 'unused');
SELECT duplicate FROM queue.produce('ends', 'v', producer_id => 'one', sequence => 1);
SELECT count(*) FROM generate_series(1, 5) n, queue.produce_batch('ends', '{}'::text, producer_id => 'mark', watermark => to_jsonb(n));
SELECT count FROM queue.produce_batch('ends', ARRAY['v'], producer_id => 'mark', first_sequence => 1, watermark => '"with"');
SELECT * FROM queue.produce_batch('ends', '{}'::text, producer_id => 'mark', watermark => '"last"');
SELECT queue.prune_producers('ends');
SELECT last_sequence, watermark FROM queue.producer_state('ends', 'mark');
SELECT queue.prune_producers('ends');
SELECT id, duplicate FROM unnest(ARRAY['one', 'mark']) id, queue.produce('ends', 'v', producer_id => id, sequence => 1);

-- Messages in a row become one run, however many calls brought them.
SELECT count(*) FROM generate_series(1, 2000) n, queue.produce('ends', 'v', producer_id => 'row', sequence => n);
SELECT queue.prune_producers('ends');
SELECT queue.prune_producers('ends');
SELECT count(*), max(octet_length(places)) < 20 AS small FROM all_rows b JOIN queue.producer p USING (producer_id) WHERE p.name = 'row';
SELECT count(*) FILTER (WHERE r."offset" - first."offset" <> n - 1 OR NOT r.duplicate) AS wrong
  FROM queue.produce('ends', 'v', producer_id => 'row', sequence => 1) first, generate_series(1, 2000) n,
       queue.produce('ends', 'v', producer_id => 'row', sequence => n) r;

-- A history longer than one merged row, with gaps and interleaved messages.
SELECT queue.create_producer('ends', 'long', 'monotonic');
CREATE TEMP TABLE long AS
SELECT n * 7 AS sequence, r."offset" FROM generate_series(1, 3000) n, queue.produce('ends', 'v', producer_id => 'long', sequence => n * 7) r,
       queue.produce('ends', 'v' || r."offset");
SELECT queue.prune_producers('ends') > 2900 AS pruned;
SELECT count(*) BETWEEN 4 AND 30 AS several, min(octet_length(places)) FILTER (WHERE first_sequence < 10000) > 256 AS full
  FROM all_rows b JOIN queue.producer p USING (producer_id) WHERE p.name = 'long';
SELECT count(*) FILTER (WHERE r."offset" IS DISTINCT FROM l."offset" OR NOT r.duplicate) AS wrong
  FROM long l, queue.produce('ends', 'v', producer_id => 'long', sequence => l.sequence) r;
SELECT count FROM queue.produce_batch('ends', ARRAY['v'], producer_id => 'long', first_sequence => 21001);
SELECT queue.prune_producers('ends') > 2900 AS pruned;
SELECT sum(duplicates), min(first_offset) = (SELECT min("offset") FROM long) AS first, max(last_offset) = (SELECT max("offset") FROM long) AS last
  FROM queue.produce_batch('ends', array_fill('v'::text, ARRAY[3000]), producer_id => 'long', sequences => (SELECT array_agg(sequence ORDER BY sequence) FROM long));

-- The map of a batch that would be longer than a page is stored in several rows.
SELECT queue.create_topic('big', 16, 'int');
SELECT count(*) FROM generate_series(1, 20) n, queue.produce('big', n, producer_id => 'b', sequence => n);
SELECT sum(count), count(*) FROM queue.produce_batch('big', ARRAY(SELECT generate_series(21, 20020)),
  ARRAY(SELECT md5(n::text) FROM generate_series(21, 20020) n), producer_id => 'b', first_sequence => 21);
SELECT count(*) FROM generate_series(20021, 20040) n, queue.produce('big', n, producer_id => 'b', sequence => n);
SELECT count(*) > 5 AS several, max(octet_length(places)) < 8192 AS within_a_page, sum(octet_length(places)) < 2.5 * 20000 AS two_bytes_each
  FROM all_rows b JOIN queue.producer p USING (producer_id) JOIN queue.topic t USING (topic_id) WHERE t.name = 'big' AND last_sequence > 20 AND first_sequence <= 20020;
CREATE VIEW misplaced AS
SELECT count(*) AS asked, count(*) FILTER (WHERE t.value IS DISTINCT FROM n) AS wrong
  FROM generate_series(1, 20040, 13) n
 CROSS JOIN LATERAL queue.produce('big', 0, producer_id => 'b', sequence => n) r
  LEFT JOIN topic.big t ON t.partition = r.partition AND t."offset" = r."offset";
SELECT * FROM misplaced;
SELECT sum(duplicates) FROM queue.produce_batch('big', ARRAY(SELECT generate_series(1, 20040)), producer_id => 'b', first_sequence => 1);
SELECT queue.prune_producers('big') > 1000 AS pruned;
SELECT * FROM misplaced;
SELECT queue.prune_producers('big') > 1000 AS pruned;
SELECT sum(duplicates), sum(count) FROM queue.produce_batch('big', ARRAY(SELECT generate_series(1, 20041)), producer_id => 'b', first_sequence => 1);
SELECT count(*) < 30 AS few FROM all_rows b JOIN queue.producer p USING (producer_id) JOIN queue.topic t USING (topic_id) WHERE t.name = 'big';
SELECT count(*) FROM topic.big;

-- The topic must exist, and the caller must own it.
SELECT queue.prune_producers('nope');
SELECT queue.prune_producers(NULL);
CREATE ROLE regress_queue_prune;
GRANT SELECT, INSERT ON topic.n TO regress_queue_prune;
SET ROLE regress_queue_prune;
SELECT queue.prune_producers('n');
RESET ROLE;
-- Forgotten and dropped, nothing is left over.
SELECT count(*) > 0 AS pruned FROM queue.producer_history h JOIN queue.producer p USING (producer_id) WHERE p.name = 'long';
SELECT queue.forget_producer('ends', 'long');
SELECT count(*) FROM all_rows WHERE producer_id NOT IN (SELECT producer_id FROM queue.producer);
DROP VIEW misplaced, wrong, map_rows;
DROP TABLE stored, epochs;
SELECT queue.drop_topic(t) FROM unnest(ARRAY['n', 'ends', 'big']) t;
SELECT count(*) FROM all_rows;
DROP VIEW all_rows;
DROP ROLE regress_queue_prune;
