--
-- expiry: when a group that is no longer used stops holding messages.
--
-- What happened long ago is written into the tables: nothing here waits.
--
\getenv abs_srcdir PG_ABS_SRCDIR
\i :abs_srcdir/sql/include/helpers.sql
-- a topic of five messages for each entry in each partition, so many hours ago
CREATE FUNCTION pg_temp.make(topic text, hours_ago float8[], partitions int DEFAULT 1) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM queue.create_topic(topic, partitions, 'text', segment_messages => 10, retention => '1 millisecond', segment_age => '1000 days');
	PERFORM pg_temp.use_all(topic);
	EXECUTE format('INSERT INTO %s SELECT n, now() - make_interval(secs => 3600 * ($1)[1 + n / 5]), p, NULL, n, NULL
		FROM generate_series(0, $2 - 1) p, generate_series(0, 5 * cardinality($1) - 1) n',
		(SELECT log FROM queue.topic WHERE name = make.topic)) USING hours_ago, partitions;
END $$;
-- as if a group had not been used since
CREATE FUNCTION pg_temp.idle(consumer_group text, hours float8, partition int DEFAULT NULL) RETURNS void LANGUAGE sql AS $$
	UPDATE queue.consumer_group SET created_at = now() - make_interval(secs => 3600 * $2) WHERE name = $1 AND $3 IS NULL;
	UPDATE queue.progress p SET committed_at = now() - make_interval(secs => 3600 * $2)
	  FROM queue.consumer_group g WHERE g.group_id = p.group_id AND name = $1 AND p.partition = coalesce($3, p.partition)
$$;
CREATE VIEW pg_temp.expired AS
SELECT consumer_group, topic, partition, current_offset, missed, expired FROM queue.consumer_groups WHERE topic IN ('t', 'u') ORDER BY 1, 2, 3;
CREATE VIEW pg_temp.held AS
SELECT topic, partition, log_start, limit_offset, consumer_group, held_offset, held_bytes > 0 AS held FROM queue.retention WHERE topic IN ('t', 'u') ORDER BY 1, 2;
SET client_min_messages = warning;

-- Without expiry: held for ever.
SELECT pg_temp.make('t', ARRAY[50, 49, 48]);
SELECT queue.create_group('g', 't'), pg_temp.idle('g', 40);
CALL queue.maintain('t');
SELECT * FROM pg_temp.held;
-- Not idle for so long yet; exactly so long is in between.
SELECT queue.alter_group('g', expiry => '41 hours');
CALL queue.maintain('t');
SELECT * FROM pg_temp.held;
SELECT * FROM pg_temp.expired;
-- So long: the group is not named any more, and the limits win. Nothing but that is changed.
SELECT queue.alter_group('g', expiry => '39 hours');
SELECT * FROM pg_temp.held;
SELECT * FROM pg_temp.expired;
SELECT consumer_group, missed, expired, auto_offset_reset, expiry FROM queue.group_summary WHERE consumer_group = 'g';
SELECT count(*) FROM queue.progress \gset before_
CALL queue.maintain('t');
SELECT * FROM pg_temp.held;
SELECT * FROM pg_temp.expired;
SELECT count(*) - :before_count AS written FROM queue.progress;
-- When it comes back it is told, or jumps; then it is in use, and holds.
SELECT pg_temp.error_of($$SELECT FROM queue.consume_typed('g', 't', NULL::text)$$);
SELECT queue.alter_group('g', 'earliest');
SELECT min(m."offset"), count(*) FROM queue.consume_typed('g', 't', NULL::text, 2) m;
SELECT * FROM pg_temp.expired;
SELECT * FROM pg_temp.held;
SELECT queue.drop_topic('t');

-- Expired, and nothing taken yet: it goes on as if nothing had been.
SELECT pg_temp.make('t', ARRAY[50, 49, 48]);
SELECT queue.create_group('g', 't'), pg_temp.idle('g', 40);
SELECT expired FROM pg_temp.expired;
SELECT min(m."offset") FROM queue.consume_typed('g', 't', NULL::text, 2) m;
SELECT * FROM pg_temp.expired;
SELECT queue.drop_topic('t');

-- A group that had read everything: from when something arrives.
SELECT pg_temp.make('t', ARRAY[50, 1, 0]);
SELECT queue.create_group('g', 't');
SELECT new_offset FROM queue.reset_offsets('g', 't', to_offset => 5);
SELECT pg_temp.idle('g', 49);
CALL queue.maintain('t');
SELECT * FROM pg_temp.held;
SELECT * FROM pg_temp.expired;
SELECT queue.alter_group('g', expiry => '30 minutes');
SELECT * FROM pg_temp.expired;
-- With nothing to read there is nothing to lose.
SELECT new_offset FROM queue.reset_offsets('g', 't', to_latest => true);
SELECT pg_temp.idle('g', 49);
SELECT * FROM pg_temp.expired;
SELECT * FROM pg_temp.held;
SELECT queue.drop_topic('t');

-- In use in one partition is in use in the topic; not in another topic.
SELECT queue.alter_group('g', expiry => '39 hours');
SELECT pg_temp.make('t', ARRAY[50, 49, 48], 2), pg_temp.make('u', ARRAY[50, 49, 48]);
SELECT queue.create_group('g', 't'), queue.create_group('g', 'u'), pg_temp.idle('g', 40);
SELECT count(*) FROM queue.consume_typed('g', 't', NULL::text, 1, partitions => ARRAY[1]);
SELECT * FROM pg_temp.expired;
SELECT * FROM pg_temp.held;
-- Partitions that it has not begun count as at the log start.
SELECT queue.drop_group('g'), queue.create_group('g', 'u', expiry => '39 hours'), pg_temp.idle('g', 40);
SELECT count(*) FROM queue.consume_typed('g', 't', NULL::text, 1, partitions => ARRAY[1]);
SELECT pg_temp.idle('g', 40);
SELECT * FROM pg_temp.expired;
SELECT * FROM pg_temp.held;
-- A group made since.
UPDATE queue.consumer_group SET created_at = now() - interval '38 hours' WHERE name = 'g';
SELECT * FROM pg_temp.expired;
-- Another group holds: it is named.
SELECT pg_temp.idle('g', 40);
SELECT queue.create_group('h', 't');
SELECT queue.reset_offsets('h', 't', to_offset => 7);
SELECT * FROM pg_temp.held;
CALL queue.maintain();
SELECT * FROM pg_temp.held;
SELECT queue.drop_topic('t'), queue.drop_topic('u'), queue.drop_group('h');

-- Members: alive is in use, and then it counts from the end of the lease.
SELECT pg_temp.make('t', ARRAY[50, 49, 48]);
SELECT queue.create_group('g', 't');
SELECT count(*) FROM queue.poll_typed('g', 't', 'member', NULL::text, 1, lease => '1 hour');
SELECT pg_temp.idle('g', 40);
SELECT * FROM pg_temp.expired;
UPDATE queue.member SET expires_at = now() - interval '38 hours';
SELECT * FROM pg_temp.expired;
UPDATE queue.member SET expires_at = now() - interval '40 hours';
SELECT * FROM pg_temp.expired;
SELECT queue.leave('g', 't', 'member');
SELECT * FROM pg_temp.expired;
-- A reset moves it; a pause does not, and nor does it hold anything.
SELECT queue.pause('g', 't'), * FROM pg_temp.expired;
SELECT queue.resume('g', 't'), * FROM pg_temp.expired;
SELECT queue.reset_offsets('g', 't', to_offset => 0);
SELECT * FROM pg_temp.expired;
SELECT queue.drop_topic('t');

-- A transaction that is consuming, in any partition, however long it takes.
SELECT pg_temp.make('t', ARRAY[50, 49, 48], 2);
SELECT queue.create_group('g', 't'), pg_temp.idle('g', 40);
BEGIN;
SELECT count(*) FROM queue.consume_typed('g', 't', NULL::text, 1, partitions => ARRAY[1]);
PREPARE TRANSACTION 'consumes';
SELECT * FROM pg_temp.expired;
ROLLBACK PREPARED 'consumes';
SELECT * FROM pg_temp.expired;
SELECT queue.drop_topic('t');

-- A message that is not readable yet is not an unread one.
SELECT pg_temp.make('t', ARRAY[50]);
SELECT queue.create_group('g', 't', 'latest');
SELECT log AS t FROM queue.topic WHERE name = 't' \gset
BEGIN;
INSERT INTO :t SELECT n, now() - interval '49 hours', 0, NULL, n, NULL FROM generate_series(5, 14) n;
PREPARE TRANSACTION 'open';
SELECT pg_temp.idle('g', 40);
SELECT * FROM pg_temp.expired;
ROLLBACK PREPARED 'open';
SELECT queue.drop_topic('t');

-- delete_messages keeps no more for it either.
SELECT pg_temp.make('t', ARRAY[50, 49, 48]);
SELECT queue.create_group('g', 't');
SELECT log_start, segments FROM queue.delete_messages('t', 0, 10);
SELECT pg_temp.idle('g', 40);
SELECT log_start, segments FROM queue.delete_messages('t', 0, 10);
-- A group that the same statement makes keeps its messages.
SELECT queue.drop_topic('t'), pg_temp.make('t', ARRAY[50, 49, 48]);
SELECT queue.drop_group('g'), queue.create_group('g', 't'), (queue.delete_messages('t', 0, 10)).log_start;
SELECT queue.drop_topic('t'), queue.drop_group('g');

-- The topic's group_expiry: of groups that a first consume or poll made, ...
SELECT pg_temp.make('t', ARRAY[50, 49, 48]), pg_temp.make('u', ARRAY[50, 49, 48]);
SELECT count(*) FROM queue.consume_typed('consumes', 't', NULL::text, 1);
SELECT count(*) FROM queue.poll_typed('polls', 't', 'member', NULL::text, 1);
SELECT queue.leave('polls', 't', 'member');
SELECT count(*) FROM queue.consume_typed('consumes', 'u', NULL::text, 1);
SELECT queue.create_group('said', 't'), queue.create_group('said never', 't', expiry => '0');
SELECT pg_temp.idle(name, 40) FROM unnest(ARRAY['consumes', 'polls', 'said', 'said never']) name;
UPDATE queue.member SET expires_at = now() - interval '40 hours';
SELECT consumer_group, topic, expired FROM pg_temp.expired;
SELECT queue.alter_topic('t', group_expiry => '39 hours');
SELECT topic, group_expiry FROM queue.topics WHERE topic IN ('t', 'u') ORDER BY 1;
SELECT consumer_group, topic, expired FROM pg_temp.expired;
SELECT consumer_group, expiry, implicit FROM queue.group_summary WHERE topics > 0 ORDER BY 1;
-- ... if it is over, ...
SELECT queue.alter_topic('t', group_expiry => '41 hours');
SELECT count(*) FROM pg_temp.expired WHERE expired;
SELECT queue.alter_topic('t', group_expiry => '39 hours');
-- ... and unless the group has its own expiry, also if that is never.
SELECT queue.alter_group('polls', expiry => '0'), queue.create_group('consumes', 't2', expiry => '41 hours')
  FROM queue.create_topic('t2');
SELECT consumer_group, topic, expired FROM pg_temp.expired;
SELECT queue.alter_group('consumes', expiry => '38 hours');
SELECT consumer_group, topic, expired FROM pg_temp.expired;
-- It frees the disk.
SELECT queue.drop_group('said'), queue.drop_group('said never'), queue.drop_group('polls');
SELECT * FROM pg_temp.held WHERE topic = 't';
CALL queue.maintain('t');
SELECT log_start FROM pg_temp.held WHERE topic = 't';
-- Never is the default, and the meaning of 0; a new topic may have it.
SELECT queue.alter_topic('t', group_expiry => '0');
SELECT queue.create_topic('t3', group_expiry => '1 day');
SELECT topic, group_expiry FROM queue.topics WHERE topic IN ('t', 't3') ORDER BY 1;
SELECT pg_temp.error_of($$SELECT queue.alter_topic('t', group_expiry => '-1 day')$$);
SELECT queue.drop_topic(t), queue.drop_group(g) FROM (VALUES ('t', 'consumes')) v(t, g);
SELECT queue.drop_topic(t) FROM unnest(ARRAY['u', 't2', 't3']) t;
