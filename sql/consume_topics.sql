--
-- Several topics: queue.consume_topics and queue.poll_topics.
--
\getenv abs_srcdir PG_ABS_SRCDIR
\i :abs_srcdir/sql/include/helpers.sql
SELECT queue.create_topic('a', 2, 'text');
SELECT queue.create_topic('b', 1, 'text');
SELECT queue.create_topic('c', 3, 'text');
SELECT queue.create_topic('numbers', 1, 'int');
SELECT queue.create_topic('documents');
SELECT FROM pg_temp.use_all('a');
SELECT FROM pg_temp.use_all('b');
SELECT FROM pg_temp.use_all('c');
SELECT sum(count) FROM unnest(ARRAY['a', 'b', 'c']) topic,
	queue.produce_batch(topic, ARRAY(SELECT topic || n FROM generate_series(1, 60) n), partition => 0);

-- One call: one partition of one topic; all come in turn.
CREATE TEMP TABLE got (call int, topic text, partition int, "offset" bigint, value text);
INSERT INTO got SELECT n, m.topic, m.partition, m.offset, value
  FROM generate_series(1, 30) n, queue.consume_topics_typed('g', ARRAY['a', 'b', 'c'], NULL::text, 5 + 0 * n) m;
SELECT max(topics) AS topics_of_a_call FROM (SELECT count(DISTINCT (topic, partition)) AS topics FROM got GROUP BY call) x;
SELECT topic, count(DISTINCT call) AS calls FROM got GROUP BY 1 ORDER BY 1;
SELECT bool_and(topic <> before) AS in_turn FROM (SELECT topic, lag(topic) OVER (ORDER BY call) AS before FROM (SELECT DISTINCT call, topic FROM got) x) y;
SELECT topic, count(*), count(DISTINCT "offset") FROM got GROUP BY 1 ORDER BY 1;
-- A topic that has nothing is passed over.
SELECT count(*) FROM generate_series(1, 4) n, queue.consume_topics_typed('g', ARRAY['b'], NULL::text, 100 + 0 * n) m;
SELECT n, count(m.offset) FROM generate_series(1, 4) n LEFT JOIN LATERAL queue.consume_topics_typed('g', ARRAY['b', 'a'], NULL::text, 5 + 0 * n) m ON true GROUP BY n ORDER BY n;
SELECT topic, partition, current_offset, lag FROM queue.consumer_groups WHERE consumer_group = 'g' ORDER BY 1, 2;
-- An array of one is as one; of none in them, nothing, and no group.
SELECT topic, value FROM queue.consume_topics_typed('g', ARRAY['c'], NULL::text, 1);
SELECT count(*) FROM queue.consume_topics('unborn', ARRAY['documents']);
SELECT count(*) FROM queue.consumer_group WHERE name = 'unborn';
-- jsonb without a type.
SELECT "offset" FROM queue.produce('documents', '{"n": 1}');
SELECT topic, value FROM queue.consume_topics('g', ARRAY['documents'], 1, metadata => 'noted');
SELECT metadata FROM queue.consumer_groups WHERE topic = 'documents';
-- max_bytes and max_wait as with one.
SELECT count(*) FROM queue.consume_topics_typed('g', ARRAY['c'], NULL::text, 100, max_bytes => 6);
SELECT count(*) FROM queue.consume_topics('g', ARRAY['documents'], max_wait => '10 ms');
-- An untyped literal is an array of texts.
SELECT count(*) FROM queue.consume_topics_typed('g', '{a,b}', NULL::text, 1);
SELECT pg_temp.error_of($$SELECT * FROM queue.consume_topics('g', 'a')$$);
SELECT pg_temp.error_of($$SELECT * FROM queue.poll_topics('g', 'a', 'm')$$);

SELECT call, pg_temp.error_of('SELECT * FROM queue.' || call)
  FROM unnest(ARRAY[
    $$consume_topics_typed('g', ARRAY['a', 'numbers'], NULL::text)$$,
    $$consume_topics_typed('g', ARRAY['numbers', 'a'], NULL::text)$$,
    $$consume_topics('g', ARRAY['numbers', 'documents'])$$,
    $$consume_topics_typed('g', ARRAY['a', 'a'], NULL::text)$$,
    $$consume_topics_typed('g', ARRAY['a', 'b', 'a'], NULL::text)$$,
    $$consume_topics_typed('g', ARRAY['a', NULL], NULL::text)$$,
    $$consume_topics_typed('g', NULL::text[], NULL::text)$$,
    $$consume_topics_typed('g', ARRAY[]::text[], NULL::text)$$,
    $$consume_topics_typed('g', ARRAY['a', 'nope'], NULL::text)$$,
    $$consume_topics_typed('g', ARRAY['a', ''], NULL::text)$$,
    $$consume_topics_typed('g', array_fill('a'::text, ARRAY[65]), NULL::text)$$,
    $$consume_topics_typed('g', ARRAY['a', 'b'], NULL::text, 0)$$]) WITH ORDINALITY u(call, n)
 ORDER BY n;
SELECT call, pg_temp.error_of('SELECT * FROM queue.' || call)
  FROM unnest(ARRAY[
    $$poll_topics_typed('g', ARRAY['a', 'numbers'], 'm', NULL::text)$$,
    $$poll_topics('g', ARRAY['numbers', 'documents'], 'm')$$,
    $$poll_topics_typed('g', ARRAY['a', 'a'], 'm', NULL::text)$$,
    $$poll_topics_typed('g', ARRAY['a', NULL], 'm', NULL::text)$$,
    $$poll_topics_typed('g', NULL::text[], 'm', NULL::text)$$,
    $$poll_topics_typed('g', ARRAY[]::text[], 'm', NULL::text)$$,
    $$poll_topics_typed('g', ARRAY['a', 'nope'], 'm', NULL::text)$$,
    $$poll_topics_typed('g', array_fill('a'::text, ARRAY[65]), 'm', NULL::text)$$,
    $$poll_topics_typed('g', ARRAY['a', 'b'], NULL, NULL::text)$$]) WITH ORDINALITY u(call, n)
 ORDER BY n;
-- The hint names the function for the topics' type.
SELECT * FROM queue.consume_topics('g', ARRAY['numbers']);
SELECT * FROM queue.poll_topics('g', ARRAY['numbers'], 'm');
SELECT count(*) FROM queue.member;

-- poll: a member of all of them; a call fills from all.
SELECT array_agg(count ORDER BY count) AS counts, sum(epochs) AS epochs FROM (
	SELECT topic, count(*), count(DISTINCT epoch) AS epochs
	  FROM queue.poll_topics_typed('p', ARRAY['a', 'b', 'c'], 'm', NULL::text, 150) GROUP BY topic) x;
SELECT topic, member, partitions FROM queue.members ORDER BY 1;
SELECT count(*), count(DISTINCT topic) FROM queue.poll_topics_typed('p', ARRAY['a', 'b', 'c'], 'm', NULL::text, 180);
SELECT count(*) FROM queue.poll_topics_typed('p', ARRAY['c', 'b'], 'm', NULL::text, 1000);
-- It begins with another topic each time.
TRUNCATE got;
INSERT INTO got SELECT n, m.topic, m.partition, m.offset, value
  FROM generate_series(1, 9) n, queue.poll_topics_typed('p', ARRAY['a', 'b', 'c'], 'm', NULL::text, 5 + 0 * n) m;
SELECT topic, count(DISTINCT call) AS calls, count(*) FROM got GROUP BY 1 ORDER BY 1;
-- Each is committed by its own epoch.
CREATE TEMP TABLE held AS SELECT * FROM queue.poll_topics_typed('p', ARRAY['c', 'a', 'b'], 'm', NULL::text, 1000);
SELECT topic, count(*), queue.commit_offset('p', topic, partition, max(h.offset) + 1, 'm', epoch) IS NOT NULL AS committed
  FROM held h GROUP BY topic, partition, epoch ORDER BY 1;
SELECT count(*) FROM queue.poll_topics_typed('p', ARRAY['c', 'a', 'b'], 'm', NULL::text, 1000);
SELECT topic, partition, current_offset, in_hand FROM queue.consumer_groups WHERE consumer_group = 'p' ORDER BY 1, 2;
-- Members may have different topics; each topic is shared among its own.
SELECT count(*) FROM queue.poll_topics_typed('p', ARRAY['c', 'b'], 'n', NULL::text, 1);
SELECT topic, member, partitions FROM queue.members WHERE consumer_group = 'p' ORDER BY 1, 2;
SELECT queue.leave('p', 'c', 'm'), queue.leave('p', 'a', 'n');
SELECT topic, member, partitions FROM queue.members WHERE consumer_group = 'p' ORDER BY 1, 2;
-- jsonb without a type.
SELECT topic, value FROM queue.poll_topics('p', ARRAY['documents'], 'm', 1);

-- Rights: on each of them.
CREATE ROLE regress_queue_worker;
GRANT SELECT ON topic.a TO regress_queue_worker;
SET ROLE regress_queue_worker;
SELECT pg_temp.error_of($$SELECT * FROM queue.consume_topics_typed('w', ARRAY['a', 'b'], NULL::text)$$);
SELECT pg_temp.error_of($$SELECT * FROM queue.poll_topics_typed('w', ARRAY['a', 'b'], 'm', NULL::text)$$);
SELECT count(*) FROM queue.consume_topics_typed('w', ARRAY['a'], NULL::text, 1);
RESET ROLE;

-- Errors name the function that was called.
BEGIN READ ONLY;
SELECT pg_temp.error_of($$SELECT * FROM queue.consume_topics('w', ARRAY['a'])$$);
SELECT pg_temp.error_of($$SELECT * FROM queue.poll_topics_typed('w', ARRAY['a'], 'm', NULL::text)$$);
SELECT pg_temp.error_of($$CALL queue.wait_topics('w', ARRAY['a'])$$);
ROLLBACK;

-- As many as may be.
SELECT count(queue.create_topic('many-' || n)) FROM generate_series(1, 64) n;
SELECT sum(count) FROM generate_series(1, 64) n, queue.produce_batch('many-' || n, ARRAY['1']);
SELECT count(*), count(DISTINCT topic) FROM queue.poll_topics('many', ARRAY(SELECT 'many-' || n FROM generate_series(1, 64) n), 'm');
SELECT count(DISTINCT topic) FROM generate_series(1, 64) x, queue.consume_topics('all', ARRAY(SELECT 'many-' || n FROM generate_series(1, 64) n), 100 + 0 * x);

SELECT count(queue.drop_topic(topic)) FROM queue.topics;
SELECT count(queue.drop_group(name)) > 0 AS dropped FROM queue.consumer_group;
DROP ROLE regress_queue_worker;
