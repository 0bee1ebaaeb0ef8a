--
-- Rows of producers' state: which calls write one, how many one becomes, and
-- what is found again after pruning.
--
SELECT queue.create_topic('p', 1, 'text');
CREATE VIEW state_rows AS
SELECT first_sequence, last_sequence, accepted, octet_length(places) AS bytes
  FROM (SELECT producer_id, series, first_sequence, last_sequence, generation, accepted, places FROM queue.producer_batch
        UNION ALL SELECT producer_id, series, first_sequence, last_sequence, NULL, NULL, places FROM queue.producer_history) b
  JOIN queue.producer p USING (producer_id) WHERE p.name = 'p' ORDER BY b.series, last_sequence, generation NULLS FIRST;

-- An empty batch stores nothing, but a fenced producer's is refused like any
-- other call, with and without a watermark.
SELECT * FROM queue.produce_batch('p', '{}'::text[], producer_id => 'p');
SELECT * FROM queue.produce_batch('p', '{}'::text[], producer_id => 'p', first_sequence => 9);
SELECT * FROM state_rows;
SELECT queue.fence_producer('p', 'p');
SELECT * FROM queue.produce_batch('p', '{}'::text[], producer_id => 'p');
SELECT * FROM queue.produce_batch('p', '{}'::text[], producer_id => 'p', first_sequence => 9);
SELECT * FROM queue.produce_batch('p', '{}'::text[], producer_id => 'p', watermark => '1');
SELECT * FROM queue.produce_batch('p', '{}'::text[], producer_id => 'p', epoch => 1);
SELECT * FROM state_rows;
SELECT * FROM queue.produce_batch('p', '{}'::text[], producer_id => 'p', epoch => 1, watermark => '1');
SELECT * FROM state_rows;
SELECT queue.forget_producer('p', 'p');

-- A history without gaps in one partition is one row, besides the newest.
SELECT count(*) FROM (SELECT queue.produce('p', n::text, producer_id => 'p', sequence => n) FROM generate_series(1, 1000) n) m;
SELECT queue.prune_producers('p');
SELECT * FROM state_rows;
SELECT count(*) AS found, count(*) FILTER (WHERE m.value = n::text) AS right_places
  FROM generate_series(1, 1000) n, queue.produce('p', 'again', producer_id => 'p', sequence => n) r
  JOIN topic.p m ON m.partition = r.partition AND m."offset" = r."offset" WHERE r.duplicate;
-- And stays one when it grows; the rows of the duplicates go.
SELECT queue.prune_producers('p');
SELECT first_sequence, last_sequence, accepted FROM state_rows;
SELECT count FROM queue.produce_batch('p', ARRAY['1001', '1002'], producer_id => 'p', first_sequence => 1001);
SELECT sum(duplicates) FROM queue.produce_batch('p', ARRAY(SELECT n::text FROM generate_series(1, 1002) n), producer_id => 'p', first_sequence => 1);
DROP VIEW state_rows;
SELECT queue.drop_topic('p');

-- A batch spread over many partitions is stored in several rows, each of them
-- quickly read.
SELECT queue.create_topic('b', 16, 'text');
SELECT sum(count), sum(duplicates)
  FROM queue.produce_batch('b', ARRAY(SELECT n::text FROM generate_series(1, 50000) n), ARRAY(SELECT md5(n::text) FROM generate_series(1, 50000) n),
                           producer_id => 'p', first_sequence => 1, watermark => '"all"');
CREATE VIEW state_rows AS
SELECT count(*), min(first_sequence), max(last_sequence), sum(last_sequence - first_sequence + 1) AS messages, count(DISTINCT generation) AS generations,
       bool_and(accepted = last_sequence) AS totals, bool_and(watermark = '"all"') AS watermarks,
       max(octet_length(places)) <= 4 * 2048 AS small
  FROM queue.producer_batch;
SELECT * FROM state_rows;
SELECT last_sequence, watermark FROM queue.producer_state('b', 'p');
SELECT sum(count), sum(duplicates)
  FROM queue.produce_batch('b', ARRAY(SELECT n::text FROM generate_series(1, 50000) n), producer_id => 'p', first_sequence => 1);
SELECT queue.prune_producers('b') AS the_row_of_duplicates;
SELECT (queue.produce('b', '50001', producer_id => 'p', sequence => 50001)).duplicate;
SELECT queue.prune_producers('b') AS the_row_of_duplicates;
SELECT count(*), sum(last_sequence - first_sequence + 1) AS messages FROM queue.producer_history;
SELECT sum(count), sum(duplicates)
  FROM queue.produce_batch('b', ARRAY(SELECT n::text FROM generate_series(1, 50002) n), producer_id => 'p', first_sequence => 1);
SELECT count(*) AS found, count(*) FILTER (WHERE m.value = n::text) AS right_places
  FROM generate_series(1, 50000, 97) n, queue.produce('b', 'again', producer_id => 'p', sequence => n) r
  JOIN topic.b m ON m.partition = r.partition AND m."offset" = r."offset" WHERE r.duplicate;
DROP VIEW state_rows;
SELECT queue.drop_topic('b');

-- Pruned rows of a series that a higher epoch has ended go with the next prune.
SELECT queue.create_topic('e', 1, 'text');
SELECT count(*) FROM generate_series(1, 3) n, queue.produce('e', 'v', producer_id => 'p', sequence => n);
SELECT queue.prune_producers('e');
SELECT series, first_sequence, last_sequence FROM queue.producer_history;
SELECT count(*) FROM generate_series(1, 2) n, queue.produce('e', 'v', producer_id => 'p', sequence => n, epoch => 5);
SELECT queue.prune_producers('e');
SELECT series, first_sequence, last_sequence FROM queue.producer_history;
SELECT n, duplicate FROM generate_series(1, 3) n, queue.produce('e', 'v', producer_id => 'p', sequence => n, epoch => 5);
SELECT queue.drop_topic('e');
SELECT count(*) FROM queue.producer_history;
