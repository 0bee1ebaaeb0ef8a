--
-- Partitions without messages: they have no tables, and cost nothing.
--
\getenv abs_srcdir PG_ABS_SRCDIR
\i :abs_srcdir/sql/include/helpers.sql
CREATE VIEW pg_temp.used AS
SELECT topic, partition, log_start, stable_end, log_end, segments, bytes > 0 AS bytes FROM queue.partitions WHERE segments > 0 ORDER BY 1, 2;
CREATE VIEW pg_temp.tables AS
SELECT t.name AS topic, count(inhrelid) AS tables FROM queue.topic t LEFT JOIN pg_inherits ON inhparent = log GROUP BY 1 ORDER BY 1;
CREATE VIEW pg_temp.locked AS SELECT count(*) < 100 AS few FROM pg_locks WHERE pid = pg_backend_pid();

-- As many locks for 10,000 as for one; limits.
BEGIN;
SELECT queue.create_topic('many', 9999, 'text', segment_messages => 10);
SELECT * FROM pg_temp.locked;
SELECT queue.alter_topic('many', 10000);
SELECT * FROM pg_temp.locked;
COMMIT;
SELECT pg_temp.error_of($$SELECT queue.alter_topic('many', 10001)$$);
SELECT * FROM pg_temp.tables;
SELECT count(*), min(partition), max(partition), sum(log_start + stable_end + log_end + segments + bytes) FROM queue.partitions;
SELECT count(*) FROM queue.segments;
SELECT topic, partitions, problem FROM queue.topics;
SELECT * FROM queue.verify('many');
SELECT count(*) FROM topic.many;

-- What may be done with one.
SELECT queue.log_start('many', 9999), queue.stable_end('many', 9999), queue.log_end('many', 9999);
SELECT count(*) FROM queue.fetch_typed('many', 9999, 0, NULL::text);
SELECT pg_temp.error_of($$SELECT queue.fetch_typed('many', 9999, 1, NULL::text)$$);
SELECT * FROM queue.offsets_for_time('many', now(), 9999);
SELECT queue.offset_time('many', 9999, 0);
SELECT log_start, segments, bytes FROM queue.delete_messages('many', 9999, 0);
SELECT pg_temp.error_of($$SELECT queue.delete_messages('many', 9999, 1)$$);
SELECT pg_temp.error_of($$SELECT queue.archive_segment('many', 9999, 'public')$$);
SELECT count(*) FROM queue.move_segments('many', 'pg_default');
SELECT count(*) FROM queue.consume_typed('none', 'many', NULL::text);
SELECT count(*) FROM queue.consume_typed('none', 'many', NULL::text, partitions => '{9999}');
SELECT count(*) FROM queue.consumer_group;
CALL queue.maintain('many');
SELECT count(*) FROM queue.maintenance_log WHERE topic = 'many';

-- Offsets in them: 0 and no other.
SELECT queue.create_topic('few', 5, 'text', segment_messages => 10);
SELECT queue.create_group('early', 'few'), queue.create_group('late', 'few', start => 'latest');
SELECT * FROM queue.reset_offsets('early', 'few', to_latest => true, partition => 1);
SELECT * FROM queue.reset_offsets('early', 'few', to_time => '2001-01-01', partition => 1);
SELECT * FROM queue.reset_offsets('early', 'few', shift_by => 7, partition => 1);
SELECT pg_temp.error_of($$SELECT queue.reset_offsets('early', 'few', to_offset => 1, partition => 1)$$);
SELECT queue.commit_offset('early', 'few', 2, 0);
SELECT pg_temp.error_of($$SELECT queue.commit_offset('early', 'few', 2, 1)$$);
SELECT queue.pause('early', 'few', 3);
SELECT count(*) FROM queue.poll_typed('shared', 'few', 'm', NULL::text, 0);
SELECT consumer_group, topic, partition, current_offset, lag, paused FROM queue.consumer_groups ORDER BY 1, 3;
SELECT consumer_group, member, partitions FROM queue.members;
-- No row says where their log began: 0 is good in any.
SELECT count(*) FROM queue.incarnation JOIN queue.topic USING (topic_id) WHERE name = 'few';

-- The first message makes two segments and the partition's checkpoint; groups read it.
SELECT partition, "offset" FROM queue.produce('few', 'first', partition => 1);
SELECT partition, "offset" FROM queue.produce('few', 'first', partition => 3);
SELECT * FROM pg_temp.used;
SELECT partition, first_offset, end_offset, sealed FROM queue.segments WHERE topic = 'few' ORDER BY 1, 2;
SELECT partition, log_start FROM queue.checkpoint JOIN queue.topic USING (topic_id) WHERE name = 'few' ORDER BY 1;
SELECT partition, value FROM queue.consume_typed('late', 'few', NULL::text) UNION ALL SELECT partition, value FROM queue.consume_typed('late', 'few', NULL::text) ORDER BY 1;
SELECT partition, value FROM queue.consume_typed('early', 'few', NULL::text) UNION ALL SELECT partition, value FROM queue.consume_typed('early', 'few', NULL::text);
SELECT queue.resume('early', 'few', 3);
SELECT partition, value FROM queue.consume_typed('early', 'few', NULL::text);
SELECT partition, value FROM queue.poll_typed('shared', 'few', 'm', NULL::text) ORDER BY 1;
SELECT consumer_group, member, partitions FROM queue.members;
-- Another becomes used: the member takes it with its next poll.
SELECT partition, "offset" FROM queue.produce('few', 'first', partition => 0);
SELECT partition, value FROM queue.poll_typed('shared', 'few', 'm', NULL::text) WHERE "offset" = 0 ORDER BY 1;
SELECT consumer_group, member, partitions FROM queue.members;
SELECT topic, partition, log_start FROM queue.retention ORDER BY 1, 2;

-- One more is kept ahead only when the first is full.
CALL queue.maintain('few');
SELECT partition, count(*) FROM queue.segments WHERE topic = 'few' GROUP BY 1 ORDER BY 1;
CALL pg_temp.fill('few', 2, 1);
CALL pg_temp.settle('few', 1, 2);
SELECT partition, count(*) FILTER (WHERE sealed) AS sealed, count(*) FILTER (WHERE NOT sealed) AS others FROM queue.segments WHERE topic = 'few' GROUP BY 1 ORDER BY 1;

-- Rolled back: the segments are there all the same, made by a worker.
BEGIN;
SELECT "offset" FROM queue.produce('few', 'undone', partition => 4);
ROLLBACK;
SELECT log_end >= stable_end AS ok, segments FROM queue.partitions WHERE topic = 'few' AND partition = 4;
-- In a transaction that has made the topic they go with it, or with a savepoint.
BEGIN;
SELECT queue.create_topic('own', 3, 'text');
SAVEPOINT s;
SELECT "offset" FROM queue.produce('own', 'undone', partition => 1);
SELECT count(*) FROM queue.consume_typed('late', 'own', NULL::text);
ROLLBACK TO s;
SELECT * FROM pg_temp.tables WHERE topic = 'own';
SELECT "offset" FROM queue.produce('own', 'kept', partition => 1);
SELECT value FROM queue.consume_typed('late', 'own', NULL::text);
COMMIT;
SELECT * FROM pg_temp.used WHERE topic = 'own';
SELECT * FROM queue.verify('own');

-- A batch for many: each gets its segments, in the transaction or by one worker.
SELECT count(*), sum(count) FROM queue.produce_batch('many', ARRAY(SELECT n::text FROM generate_series(1, 20) n), ARRAY(SELECT n::text FROM generate_series(1, 20) n));
SELECT count(*), sum(segments), sum(log_end) FROM queue.partitions WHERE topic = 'many' AND segments > 0;
INSERT INTO topic.many (partition, value) SELECT 9000 + n % 5, n FROM generate_series(1, 60) n;
SELECT * FROM pg_temp.used WHERE topic = 'many' AND partition >= 9000;
SELECT count(*) FROM topic.many;
-- Of 10,000 the plan has those that are used.
CREATE FUNCTION pg_temp.plan(query text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	line text;
	n bigint := 0;
BEGIN
	FOR line IN EXECUTE 'EXPLAIN ' || query LOOP
		n := n + 1;
	END LOOP;
	RETURN n;
END $$;
SELECT pg_temp.plan('SELECT count(*) FROM topic.many') < 100 AS short;

-- A used partition that has lost its segments is damaged, not unused.
SELECT string_agg(format('DROP TABLE %s', segment), ';') AS lose FROM queue.segments WHERE topic = 'few' AND partition = 0 \gset
SET queue.allow_ddl = on;
:lose;
RESET queue.allow_ddl;
SELECT pg_temp.error_of($$SELECT queue.produce('few', 'x', partition => 0)$$);
SELECT pg_temp.error_of($$SELECT queue.consume_typed('early', 'few', NULL::text, partitions => '{0}')$$);
SELECT problem FROM queue.topics WHERE topic = 'few';
SELECT problem FROM queue.verify('few');

SELECT count(queue.drop_topic(name)) FROM queue.topic;
SELECT (SELECT count(*) FROM queue.checkpoint) AS checkpoints, (SELECT count(*) FROM queue.incarnation) AS incarnations, (SELECT count(*) FROM queue.progress) AS progress;
SELECT count(queue.drop_group(name)) FROM queue.consumer_group;
