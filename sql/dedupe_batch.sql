--
-- Dedupe keys of a batch: those messages are stored whose keys are new.
--
SET client_min_messages = warning;
SELECT queue.create_topic('b', 2, 'text');
CREATE VIEW stored AS SELECT partition, "offset", value FROM topic.b ORDER BY partition, "offset";

SELECT * FROM queue.produce_batch('b', ARRAY['one', 'two', 'three'], partition => 0, dedupe_keys => ARRAY['1', '2', '3']);
-- Again, in another order, with others between them, to another partition.
SELECT * FROM queue.produce_batch('b', ARRAY['three', 'four', 'one', 'five'], partition => 1, dedupe_keys => ARRAY['3', '4', '1', '5']);
-- All of them: nothing is stored.
SELECT * FROM queue.produce_batch('b', ARRAY['five', 'one', 'two'], dedupe_keys => ARRAY['5', '1', '2']);
-- NULL is none; a key twice in a batch is stored once, the first time.
SELECT * FROM queue.produce_batch('b', ARRAY['plain', 'six', 'plain', 'again', 'six', 'two'], partition => 0, dedupe_keys => ARRAY[NULL, '6', NULL, '6', '6', '2']);
SELECT * FROM queue.produce_batch('b', ARRAY['x', 'y'], partition => 0, dedupe_keys => ARRAY[NULL, NULL]);
SELECT * FROM stored;
-- By keys, with headers.
SELECT * FROM queue.produce_batch('b', ARRAY['k', 'l', 'm'], ARRAY['key a', 'key b', 'key c'], ARRAY['{}', NULL, '{"h": 1}']::jsonb[], dedupe_keys => ARRAY['k', '1', 'm']);
SELECT partition, key, value, headers FROM topic.b WHERE key IS NOT NULL ORDER BY key;
-- A batch and single messages know each other's keys.
SELECT partition, p.offset, duplicate FROM queue.produce('b', 'six', dedupe_key => '6') p;
SELECT duplicate FROM queue.produce('b', 'seven', dedupe_key => '7') p;
SELECT sum(count) AS count, sum(duplicates) AS duplicates FROM queue.produce_batch('b', '{six,seven,eight}', dedupe_keys => '{6,7,8}');

-- A batch that fails stores neither messages nor keys.
SELECT queue.create_topic('numbers', value_type => 'int');
SELECT sum(count) FROM queue.produce_batch('numbers', '{1,2,x}'::text[], dedupe_keys => '{a,b,c}');
SELECT sum(count) FROM queue.produce_batch('numbers', '{1,2,3}'::text[], dedupe_keys => '{a,b,c}');

-- Arguments.
SELECT * FROM queue.produce_batch('b', '{}'::text[], dedupe_keys => '{}');
SELECT * FROM queue.produce_batch('b', '{a,b}'::text[], dedupe_keys => '{a}');
SELECT * FROM queue.produce_batch('b', '{a,b}'::text[], dedupe_keys => '{{a},{b}}');
SELECT * FROM queue.produce_batch('b', '{a}'::text[], dedupe_keys => '{""}');
SELECT * FROM queue.produce_batch('b', '{a}'::text[], producer_id => 'p', first_sequence => 1, dedupe_keys => '{a}');

-- A thousand and more: all locks of the topic, taken in order.
SELECT sum(count) AS count, sum(duplicates) AS duplicates
  FROM queue.produce_batch('b', ARRAY(SELECT g::text FROM generate_series(1, 5000) g), dedupe_keys => ARRAY(SELECT 'n' || g % 3000 FROM generate_series(1, 5000) g));
SELECT sum(count) AS count, sum(duplicates) AS duplicates
  FROM queue.produce_batch('b', ARRAY(SELECT g::text FROM generate_series(1, 5000) g), dedupe_keys => ARRAY(SELECT 'n' || g FROM generate_series(1, 5000) g));
SELECT count(*) FROM topic.b b WHERE value ~ '^\d+$';
-- None of them is kept.
SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid();

DROP VIEW stored;
SELECT queue.drop_topic(t) FROM unnest(ARRAY['b', 'numbers']) t;
