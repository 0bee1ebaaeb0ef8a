--
-- The owner of a group or a producer, what the topic's owner may do with the groups of
-- others, and what becomes of them when a role is renamed or dropped.
--
\getenv abs_srcdir PG_ABS_SRCDIR
\i :abs_srcdir/sql/include/helpers.sql
CREATE ROLE regress_queue_owner;
CREATE ROLE regress_queue_reader;
CREATE ROLE regress_queue_app;
CREATE ROLE regress_queue_ops IN ROLE regress_queue_app;
GRANT CREATE ON SCHEMA topic TO regress_queue_owner;
SET ROLE regress_queue_owner;
SELECT queue.create_topic('mine', 2, 'text', segment_messages => 5, retention => '1 millisecond', segment_age => '1 day');
SELECT FROM pg_temp.use_all('mine');
GRANT SELECT, INSERT ON topic.mine TO regress_queue_reader, regress_queue_app;
RESET ROLE;
SELECT queue.create_topic('other', 1, 'text');
GRANT SELECT ON topic.other TO regress_queue_reader;
SELECT log FROM queue.topic WHERE name = 'mine' \gset
-- old messages, of which retention would leave those in the segment in use
INSERT INTO :log SELECT n, now() - interval '1 hour', p, NULL, n, NULL FROM generate_series(0, 1) p, generate_series(0, 8) n;
SELECT count(*) FROM queue.produce('other', 'x');

-- A role that may only read makes a group, which holds the topic's segments.
SET ROLE regress_queue_reader;
SELECT count(*) FROM queue.consume_typed('g', 'mine', NULL::text, 2, partitions => ARRAY[0]);
SELECT count(*) FROM queue.consume_typed('g', 'other', NULL::text);
SET ROLE regress_queue_owner;
SET client_min_messages = warning;
CALL queue.maintain('mine');
SELECT partition, log_start, consumer_group, held_offset, held_bytes > 0 AS held FROM queue.retention WHERE topic = 'mine' ORDER BY 1;

-- The topic's owner may reset the group, ...
SELECT partition, old_offset, new_offset FROM queue.reset_offsets('g', 'mine', to_offset => 3, partition => 0);
-- ... expire it, ...
SELECT queue.expire_group('g', 'mine');
SELECT queue.expire_group('g', 'mine') AS again;
SELECT partition, current_offset, expired FROM queue.consumer_groups WHERE topic = 'mine' ORDER BY 1;
SELECT partition, consumer_group, held_bytes > 0 AS held FROM queue.retention WHERE topic = 'mine' ORDER BY 1;
CALL queue.maintain('mine');
SELECT partition, log_start FROM queue.partitions WHERE topic = 'mine' ORDER BY 1;
-- (neither a pause nor a resume uses the group; a move does)
SET ROLE regress_queue_reader;
SELECT queue.pause('g', 'mine'), queue.resume('g', 'mine');
SELECT pg_temp.error_of($$SELECT FROM queue.consume_typed('g', 'mine', NULL::text, partitions => ARRAY[1])$$);
SELECT partition, expired FROM queue.consumer_groups WHERE topic = 'mine' ORDER BY 1;
SELECT count(*) FROM queue.reset_offsets('g', 'mine', to_earliest => true);
SELECT partition, current_offset, expired FROM queue.consumer_groups WHERE topic = 'mine' ORDER BY 1;
SET ROLE regress_queue_owner;
SELECT queue.expire_group('g', 'mine');
SET ROLE regress_queue_reader;
SELECT count(*) FROM queue.poll_typed('g', 'mine', 'm', NULL::text, 100);
SELECT queue.leave('g', 'mine', 'm');
SELECT partition, current_offset, expired FROM queue.consumer_groups WHERE topic = 'mine' ORDER BY 1;
-- ... and drop what it has in the topic.
SET ROLE regress_queue_owner;
SELECT queue.drop_group('g', 'mine');
SELECT topic, current_offset FROM queue.consumer_groups WHERE consumer_group = 'g';
SELECT queue.expire_group('g', 'mine') AS reads_nothing;
-- Not what it has elsewhere, and not the group as such; nor its pause or offsets.
SELECT call, pg_temp.error_of(call) FROM unnest(ARRAY[
	$$SELECT queue.drop_group('g')$$,
	$$SELECT queue.drop_group('g', 'other')$$,
	$$SELECT queue.expire_group('g', 'other')$$,
	$$SELECT queue.reset_offsets('g', 'other', to_latest => true)$$,
	$$SELECT queue.alter_group('g', expiry => '1 hour')$$,
	$$SELECT queue.alter_group('g', owner => 'regress_queue_owner')$$,
	$$SELECT queue.create_group('g', 'mine')$$,
	$$SELECT queue.pause('g', 'mine')$$,
	$$SELECT queue.resume('g', 'mine')$$,
	$$SELECT queue.commit_offset('g', 'mine', 0, 0)$$,
	$$SELECT queue.leave('g', 'mine', 'm')$$,
	$$SELECT * FROM queue.consume_typed('g', 'mine', NULL::text)$$,
	$$SELECT queue.expire_group('none', 'mine')$$,
	$$SELECT queue.expire_group('g', NULL)$$,
	$$SELECT queue.expire_group(NULL, 'mine')$$]) call;
RESET ROLE;
SELECT topic, current_offset FROM queue.consumer_groups WHERE consumer_group = 'g';

-- A role that is renamed keeps its groups and producers.
SET ROLE regress_queue_app;
SELECT count(*) FROM queue.consume_typed('app', 'mine', NULL::text, 1, partitions => ARRAY[0]);
SELECT count(*) FROM queue.produce('mine', 'x', partition => 0, producer_id => 'app', sequence => 1);
RESET ROLE;
ALTER ROLE regress_queue_app RENAME TO regress_queue_app_2;
SELECT owner FROM queue.group_summary WHERE consumer_group = 'app';
SELECT owner FROM queue.producers WHERE producer_id = 'app';
SET ROLE regress_queue_app_2;
SELECT count(*) FROM queue.consume_typed('app', 'mine', NULL::text, 1, partitions => ARRAY[0]);
SELECT duplicate FROM queue.produce('mine', 'x', partition => 0, producer_id => 'app', sequence => 2);
SET ROLE regress_queue_ops;
SELECT count(*) FROM queue.consume_typed('app', 'mine', NULL::text, 1, partitions => ARRAY[0]);
RESET ROLE;
-- Another role that takes the name has nothing of it.
CREATE ROLE regress_queue_app;
GRANT SELECT, INSERT ON topic.mine TO regress_queue_app;
SET ROLE regress_queue_app;
SELECT count(*) FROM queue.consume_typed('app', 'mine', NULL::text);
SELECT count(*) FROM queue.produce('mine', 'x', producer_id => 'app', sequence => 3);
RESET ROLE;

-- Given to another role, by members of both.
SET ROLE regress_queue_app_2;
SELECT call, pg_temp.error_of(call) FROM unnest(ARRAY[
	$$SELECT queue.alter_group('app', owner => 'regress_queue_app')$$,
	$$SELECT queue.alter_group('app', owner => 'regress_queue_none')$$,
	$$SELECT queue.alter_producer('mine', 'app', 'regress_queue_app')$$,
	$$SELECT queue.alter_producer('mine', 'none', 'regress_queue_app_2')$$,
	$$SELECT queue.alter_producer('mine', 'app')$$]) call;
SET ROLE regress_queue_ops;
SELECT queue.alter_group('app', owner => 'regress_queue_ops'), queue.alter_producer('mine', 'app', 'regress_queue_ops');
SET ROLE regress_queue_app_2;
SELECT pg_temp.error_of($$SELECT FROM queue.consume_typed('app', 'mine', NULL::text)$$);
SELECT pg_temp.error_of($$SELECT FROM queue.produce('mine', 'x', producer_id => 'app', sequence => 3)$$);
RESET ROLE;
SELECT queue.alter_group('app', owner => 'regress_queue_app_2'), queue.alter_producer('mine', 'app', 'regress_queue_app_2');
-- in the statement that makes them, and rolled back
BEGIN;
SELECT queue.create_group('new', 'mine'), queue.alter_group('new', owner => 'regress_queue_app_2'),
	queue.create_producer('mine', 'new'), queue.alter_producer('mine', 'new', 'regress_queue_app_2');
SELECT owner FROM queue.group_summary WHERE consumer_group = 'new';
SELECT owner FROM queue.producers WHERE producer_id = 'new';
ROLLBACK;
BEGIN;
SELECT queue.alter_producer('mine', 'app', 'regress_queue_app');
SET LOCAL ROLE regress_queue_app;
SELECT duplicate FROM queue.produce('mine', 'x', partition => 0, producer_id => 'app', sequence => 3);
ROLLBACK;
SET ROLE regress_queue_app;
SELECT pg_temp.error_of($$SELECT FROM queue.produce('mine', 'x', producer_id => 'app', sequence => 3)$$);
RESET ROLE;

-- A role that was dropped: no role of its name has its groups, until a superuser
-- gives them away; the topic's owner its producers.
DROP OWNED BY regress_queue_app_2;
DROP ROLE regress_queue_app_2;
CREATE ROLE regress_queue_app_2;
GRANT SELECT, INSERT ON topic.mine TO regress_queue_app_2;
SELECT owner LIKE 'unknown (OID=%)' AS unknown FROM queue.group_summary WHERE consumer_group = 'app';
SELECT owner LIKE 'unknown (OID=%)' AS unknown FROM queue.producers WHERE producer_id = 'app';
SET ROLE regress_queue_app_2;
SELECT count(*) FROM queue.consume_typed('app', 'mine', NULL::text);
SELECT pg_temp.error_of($$SELECT FROM queue.produce('mine', 'x', producer_id => 'app', sequence => 3)$$);
SET ROLE regress_queue_owner;
SELECT queue.alter_producer('mine', 'app', 'regress_queue_owner');
SELECT duplicate FROM queue.produce('mine', 'x', partition => 0, producer_id => 'app', sequence => 3);
SELECT count(*) FROM queue.reset_offsets('app', 'mine', to_latest => true);
RESET ROLE;
SELECT queue.alter_group('app', owner => 'regress_queue_app_2');
SET ROLE regress_queue_app_2;
SELECT count(*) FROM queue.consume_typed('app', 'mine', NULL::text);
RESET ROLE;

-- Type queue.role: a name of no role stays a name, and means the role once it exists.
SELECT 'regress_queue_later'::queue.role, 'regress_queue_app'::queue.role;
SELECT pg_temp.error_of(format('SELECT %L::queue.role', repeat('x', 64)));
UPDATE queue.consumer_group SET owner = 'regress_queue_later' WHERE name = 'app';
SET ROLE regress_queue_app_2;
SELECT pg_temp.error_of($$SELECT FROM queue.consume_typed('app', 'mine', NULL::text)$$);
RESET ROLE;
CREATE ROLE regress_queue_later;
GRANT regress_queue_later TO regress_queue_app_2;
SET ROLE regress_queue_app_2;
SELECT pg_temp.error_of($$SELECT FROM queue.consume_typed('app', 'mine', NULL::text)$$);
RESET ROLE;

SELECT queue.drop_topic('mine'), queue.drop_topic('other'), queue.drop_group('g'), queue.drop_group('app');
DROP OWNED BY regress_queue_owner, regress_queue_reader, regress_queue_app, regress_queue_app_2, regress_queue_ops, regress_queue_later;
DROP ROLE regress_queue_owner, regress_queue_reader, regress_queue_app, regress_queue_app_2, regress_queue_ops, regress_queue_later;
