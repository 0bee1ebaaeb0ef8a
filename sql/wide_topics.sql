-- Commands on a group take a lock of each partition, of a wide topic no more than
-- 1,024 of each kind.  Making the segments of 3,000 partitions takes minutes; these
-- commands do not look at them.
SELECT queue.create_topic('wide', value_type => 'text');
SELECT queue.create_group('g', 'wide');
UPDATE queue.topic SET partitions = 3000 WHERE name = 'wide';
INSERT INTO queue.incarnation
SELECT topic_id, p, ordinal, incarnation, first_offset FROM queue.incarnation JOIN queue.topic USING (topic_id), generate_series(1, 2999) p
 WHERE name = 'wide';
INSERT INTO queue.progress (group_id, topic_id, partition, paused, action, generation, committed_offset, committed_at, incarnation)
SELECT group_id, topic_id, p, paused, action, generation, committed_offset, committed_at, incarnation
  FROM queue.progress JOIN queue.topic USING (topic_id), generate_series(1, 2999) p
 WHERE name = 'wide';
-- a session that does not know the topic with one partition
\connect -
CREATE FUNCTION pg_temp.held() RETURNS text LANGUAGE sql AS $$
SELECT CASE WHEN count(*) < 2100 THEN 'at most 2,100' ELSE count(*)::text END
  FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory' AND objsubid NOT IN (1, 2)
$$;
BEGIN;
SELECT queue.pause('g', 'wide');
SELECT pg_temp.held();
COMMIT;
BEGIN;
SELECT queue.resume('g', 'wide');
SELECT pg_temp.held();
COMMIT;
BEGIN;
SELECT queue.expire_group('g', 'wide');
SELECT pg_temp.held();
COMMIT;
BEGIN;
SELECT queue.drop_group('g');
SELECT pg_temp.held();
COMMIT;
SELECT queue.drop_topic('wide');

-- A call removes only so many segments that its locks leave room for others; maintenance
-- removes the rest.
SELECT queue.create_topic('long', value_type => 'text', segment_messages => 1);
SELECT sum(count) FROM queue.produce_batch('long', ARRAY(SELECT i::text FROM generate_series(1, 300) i));
SELECT log_start, segments FROM queue.delete_messages('long', 0, 290, force => true);
SET client_min_messages = warning;
CALL queue.maintain('long');
RESET client_min_messages;
SELECT count(*) FROM pg_inherits WHERE inhparent = (SELECT log FROM queue.topic WHERE name = 'long')
   AND inhrelid NOT IN (SELECT segment FROM queue.segments);
SELECT queue.drop_topic('long');
