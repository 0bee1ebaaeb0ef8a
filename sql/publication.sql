--
-- Beside a publication FOR ALL TABLES everything works as without it, the
-- documented DELETEs too.
--
SET client_min_messages = error;        -- wal_level may be too low for it
CREATE PUBLICATION regress_all FOR ALL TABLES;
SET client_min_messages = warning;
SET queue.history_retention = 0;

-- Every table of the extension has a replica identity. No rows.
SELECT c.oid::regclass AS table_without
  FROM pg_depend d
  JOIN pg_class c ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND c.relkind = 'r'
  JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
 WHERE e.extname = 'queue'
   AND NOT (c.relreplident = 'f' OR
            c.relreplident = 'd' AND EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary))
 ORDER BY 1;

SELECT queue.create_topic('published', 2, segment_messages => 4, cleanup_policy => 'compact,delete');
SELECT queue.create_group('reader', 'published');
SELECT count(*)
  FROM generate_series(1, 12) i, queue.produce('published', i::text, key => 'k' || i % 2, partition => 0, producer_id => 'p', sequence => i);
SELECT queue.alter_group('reader', auto_offset_reset => 'earliest');
SELECT queue.alter_topic('published', retention => '1 day', partitions => 3);
SELECT count(*) FROM queue.consume('reader', 'published', 5, partitions => ARRAY[0]);
SELECT count(*) FROM queue.consume('reader', 'published', 3, partitions => ARRAY[0]);
SELECT count(*) FROM queue.poll('polls', 'published', 'm', 5);
SELECT count(*) FROM queue.poll('polls', 'published', 'm', 5);
SELECT queue.leave('polls', 'published', 'm');
SELECT queue.commit_offset('polls', 'published', 0, 2);
SELECT queue.prune_producers('published') > 0 AS pruned;
CALL queue.maintain('published');
SELECT log_start >= 0 AS deleted FROM queue.delete_messages('published', 0, 4, force => true);

-- As docs/operations.md has it.
SELECT count(*) > 0 AS consumed FROM queue.consume('reader', 'published', partitions => ARRAY[0]);
DELETE FROM queue.progress p
 USING (SELECT group_id, topic_id, partition, max(generation) AS generation
          FROM queue.progress
         GROUP BY group_id, topic_id, partition) newest
 WHERE p.group_id = newest.group_id
   AND p.topic_id = newest.topic_id
   AND p.partition = newest.partition
   AND p.generation < newest.generation;
-- And docs/reference.md.
DELETE FROM queue.maintenance_log;
SELECT count(*) FROM queue.maintenance_log;

SELECT queue.forget_producer('published', 'p');
SELECT queue.drop_group('polls');
SELECT queue.drop_topic('published');
SELECT queue.drop_group('reader');
DROP PUBLICATION regress_all;
