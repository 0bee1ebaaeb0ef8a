--
-- queue.consume and queue.poll on one group respect each other.
--
\getenv abs_srcdir PG_ABS_SRCDIR
\i :abs_srcdir/sql/include/helpers.sql
CREATE TEMP TABLE held (LIKE queue.leased_message);
SELECT queue.create_topic('t', 2);
SELECT sum(count) FROM generate_series(0, 1) p, queue.produce_batch('t', ARRAY['1', '2', '3', '4'], partition => p);

-- consume leaves out what a live member has in hand, to the last message of it.
INSERT INTO held SELECT * FROM queue.poll('g', 't', 'm', 2);
SELECT count(*), min(m.offset) FROM queue.consume('g', 't') m WHERE m.partition NOT IN (SELECT partition FROM held);
SELECT count(*) FROM queue.consume('g', 't');
SELECT count(*) FROM queue.consume('g', 't', partitions => ARRAY[0, 1]);
SELECT count(*) FROM queue.consume_topics('g', ARRAY['t']);
SELECT queue.commit_offset('g', 't', partition, 1, 'm', epoch) IS NOT NULL AS committed FROM held LIMIT 1;
SELECT count(*) FROM queue.consume('g', 't');
SELECT queue.commit_offset('g', 't', partition, 2, 'm', epoch) IS NOT NULL AS committed FROM held LIMIT 1;
-- All of it committed, it is free, although the member owns the partition.
SELECT count(*), min(m.offset) FROM queue.consume('g', 't') m;
-- The member's old epoch is over then.
SELECT pg_temp.error_of(format('SELECT queue.commit_offset(%L, %L, %s, 2, %L, %s)', 'g', 't', partition, 'm', epoch)) IN (
	format('QU004: member "m" was fenced from partition %s of topic "t"', partition)) AS fenced FROM held LIMIT 1;
SELECT count(*) FROM queue.poll('g', 't', 'm');
SELECT current_offset, in_hand FROM queue.consumer_groups WHERE consumer_group = 'g' ORDER BY partition;

-- consume takes over what a dead one had, from the committed offset on, and fences it.
TRUNCATE held;
SELECT sum(count) FROM generate_series(0, 1) p, queue.produce_batch('t', ARRAY['5', '6', '7', '8'], partition => p);
INSERT INTO held SELECT * FROM queue.poll('g', 't', 'm');
SELECT queue.commit_offset('g', 't', partition, 5, 'm', epoch) IS NOT NULL AS committed FROM held GROUP BY partition, epoch ORDER BY partition;
SELECT count(*) FROM queue.consume('g', 't');
SELECT pg_temp.expire('m');
SELECT partition, m.offset FROM queue.consume('g', 't', 2, partitions => ARRAY[0]) m ORDER BY 1, 2;
SELECT partition, pg_temp.error_of(format('SELECT queue.commit_offset(%L, %L, %s, 8, %L, %s)', 'g', 't', partition, 'm', epoch))
  FROM held GROUP BY partition, epoch ORDER BY partition;
SELECT partition, current_offset, in_hand FROM queue.consumer_groups WHERE consumer_group = 'g' ORDER BY partition;
-- Rolled back, the dead one has it again, and may commit.
TRUNCATE held;
INSERT INTO held SELECT * FROM queue.poll('g', 't', 'm');
SELECT partition, h.offset FROM held h ORDER BY 1, 2;
SELECT pg_temp.expire('m');
BEGIN;
SELECT count(*) FROM queue.consume('g', 't');
ROLLBACK;
SELECT partition, queue.commit_offset('g', 't', partition, 8, 'm', epoch) IS NOT NULL AS committed FROM held GROUP BY partition, epoch;

-- poll leaves out what the transaction itself has consumed and what it consumes later is what was not polled.
SELECT sum(count) FROM generate_series(0, 1) p, queue.produce_batch('t', ARRAY['9', '10'], partition => p);
BEGIN;
SELECT partition, m.offset FROM queue.consume('g', 't', partitions => ARRAY[1]) m ORDER BY 1, 2;
SELECT partition, m.offset FROM queue.poll('g', 't', 'm') m ORDER BY 1, 2;
SELECT count(*) FROM queue.consume('g', 't');
COMMIT;
-- A statement that does both.
SELECT queue.leave('g', 't', 'm');
SELECT sum(count) FROM generate_series(0, 1) p, queue.produce_batch('t', ARRAY['11'], partition => p);
SELECT count(DISTINCT (partition, "offset")), count(*) FROM (
	SELECT partition, "offset" FROM queue.consume('g', 't')
	UNION ALL
	SELECT partition, "offset" FROM queue.poll('g', 't', 'm')) x;
SELECT partition, current_offset + in_hand AS dealt_with, log_end_offset FROM queue.consumer_groups WHERE consumer_group = 'g' ORDER BY 1;

-- Groups know nothing of each other.
SELECT count(*) FROM queue.poll('h', 't', 'm', 1000);
SELECT count(*) > 0 AS consumed FROM queue.consume('i', 't', 1000);

SELECT queue.drop_topic('t');
SELECT count(queue.drop_group(name)) > 0 AS dropped FROM queue.consumer_group;
