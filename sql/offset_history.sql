--
-- View queue.offset_history: which member moved which offset from where to where, and
-- the metadata stored with the move.
--
CREATE ROLE regress_queue_reader;
SELECT queue.create_topic('h', 2, 'text');
GRANT SELECT ON topic.h TO regress_queue_reader;
SELECT count FROM queue.produce_batch('h', ARRAY['a', 'b', 'c', 'd', 'e', 'f'], partition => 0);
SELECT count FROM queue.produce_batch('h', ARRAY['a', 'b'], partition => 1);

-- Every way to move an offset.
SET ROLE regress_queue_reader;
SELECT queue.create_group('history', 'h');
SELECT count(*) FROM queue.consume_typed('history', 'h', NULL::text, 2, partitions => ARRAY[0], metadata => 'first two');
RESET ROLE;
SELECT current_user AS me \gset
SELECT count(*) FROM queue.consume_typed('history', 'h', NULL::text, 1, partitions => ARRAY[0]);
SELECT partition, new_offset FROM queue.reset_offsets('history', 'h', to_offset => 1, partition => 0);
SELECT queue.commit_offset('history', 'h', 0, 2, metadata => 'by hand');
SELECT min(epoch) AS epoch FROM queue.poll_typed('history', 'h', 'member one', NULL::text) WHERE partition = 0 \gset
SELECT queue.commit_offset('history', 'h', 0, 3, 'member one', :epoch, metadata => 'leased');
SELECT queue.pause('history'), queue.resume('history'), queue.leave('history', 'h', 'member one');
SELECT count(*) FROM queue.consume_typed('history', 'h', NULL::text, 1, partitions => ARRAY[0], metadata => '');
SELECT topic, partition, action, from_offset, to_offset, CASE committed_by WHEN :'me' THEN 'me' ELSE committed_by END AS committed_by, member, metadata
  FROM queue.offset_history WHERE consumer_group = 'history' ORDER BY partition, generation;
-- When: as time went by; the last one is what the view of groups shows.
SELECT bool_and(committed_at >= earlier) AS ascending, min(committed_at) > now() - interval '1 hour' AS recent
  FROM (SELECT committed_at, lag(committed_at, 1, committed_at) OVER (PARTITION BY partition ORDER BY generation) AS earlier FROM queue.offset_history WHERE consumer_group = 'history') h;
SELECT g.partition, g.committed_at = h.committed_at AS at, g.committed_by = h.committed_by AS by, g.metadata IS NOT DISTINCT FROM h.metadata AS metadata, current_offset = to_offset AS there
  FROM queue.consumer_groups g
  JOIN (SELECT DISTINCT ON (partition) * FROM queue.offset_history WHERE consumer_group = 'history' ORDER BY partition, generation DESC) h USING (consumer_group, topic, partition)
 ORDER BY 1;
-- Inside a transaction, each move at its own time.
BEGIN;
SELECT count(*) FROM queue.consume_typed('history clock', 'h', NULL::text, 1, partitions => ARRAY[0]);
SELECT FROM pg_sleep(0.01);
SELECT count(*) FROM queue.consume_typed('history clock', 'h', NULL::text, 1, partitions => ARRAY[0]);
COMMIT;
SELECT count(DISTINCT committed_at), bool_and(committed_at <= clock_timestamp()) FROM queue.offset_history WHERE consumer_group = 'history clock';

-- Metadata: kept with the move that it came with, carried over by none that
-- moves; any text.
SELECT metadata FROM queue.consumer_groups WHERE consumer_group = 'history' AND partition = 0;
SELECT count(*) FROM queue.consume_typed('history', 'h', NULL::text, 1, partitions => ARRAY[1], metadata => repeat('größe ', 20000));
SELECT length(metadata), md5(metadata) = md5(repeat('größe ', 20000)) AS whole FROM queue.consumer_groups WHERE consumer_group = 'history' AND partition = 1;
SELECT queue.pause('history', 'h', 1);
SELECT length(metadata) FROM queue.consumer_groups WHERE consumer_group = 'history' AND partition = 1;
SELECT queue.resume('history', 'h', 1);
SELECT count(*) FROM queue.consume_typed('history', 'h', NULL::text, 1, partitions => ARRAY[1]);
SELECT metadata IS NULL AS gone FROM queue.consumer_groups WHERE consumer_group = 'history' AND partition = 1;
SELECT action, length(metadata) FROM queue.offset_history WHERE consumer_group = 'history' AND partition = 1 ORDER BY generation;
-- What was rolled back is no history; a call that finds nothing makes none.
BEGIN;
SELECT count(*) FROM queue.consume_typed('history', 'h', NULL::text, 1, partitions => ARRAY[0], metadata => 'undone');
ROLLBACK;
SELECT count(*) FROM queue.consume_typed('history', 'h', NULL::text, 1, partitions => ARRAY[1], metadata => 'nothing there');
SELECT count(*) FROM queue.offset_history WHERE metadata IN ('undone', 'nothing there');
-- Partitions and groups apart.
SELECT count(*) FROM queue.consume_typed('history other', 'h', NULL::text, 5, partitions => ARRAY[0]);
SELECT consumer_group, partition, from_offset, to_offset FROM queue.offset_history WHERE consumer_group = 'history other' OR (consumer_group = 'history' AND partition = 1) ORDER BY 1, 2, generation;

-- The groups that consumed a message.
SELECT consumer_group, action FROM queue.offset_history WHERE topic = 'h' AND partition = 0 AND from_offset <= 2 AND to_offset > 2 AND action <> 'reset' ORDER BY consumer_group COLLATE "C", generation;

SELECT queue.drop_topic('h');
SELECT count(*) FROM queue.offset_history;
SELECT queue.drop_group('history'), queue.drop_group('history clock'), queue.drop_group('history other');
DROP ROLE regress_queue_reader;
