--
-- queue.drop_group: nothing of the group is left, nothing of others goes.
--
\getenv abs_srcdir PG_ABS_SRCDIR
\i :abs_srcdir/sql/include/helpers.sql
CREATE TEMP TABLE dropped (group_id int, name text);
CREATE FUNCTION pg_temp.left_of(name text) RETURNS TABLE (groups bigint, offsets bigint, members bigint) LANGUAGE sql AS $$
	SELECT (SELECT count(*) FROM queue.consumer_group g WHERE g.name = left_of.name),
	       (SELECT count(*) FROM queue.progress p WHERE p.group_id = (SELECT group_id FROM dropped d WHERE d.name = left_of.name)),
	       (SELECT count(*) FROM queue.member m WHERE m.group_id = (SELECT group_id FROM dropped d WHERE d.name = left_of.name)) $$;
SELECT queue.create_topic('d', 2, 'text'), queue.create_topic('e', 2, 'text');
SELECT count FROM queue.produce_batch('d', ARRAY['a', 'b', 'c'], partition => 0);
SELECT count FROM queue.produce_batch('d', ARRAY['d'], partition => 1);
SELECT count FROM queue.produce_batch('e', ARRAY['e', 'f'], partition => 0);
SELECT queue.create_group(g, t) FROM unnest(ARRAY['g', 'h']) g, unnest(ARRAY['d', 'e']) t;
INSERT INTO dropped SELECT group_id, name FROM queue.consumer_group WHERE name IN ('g', 'h');
SELECT count(*) FROM queue.consume_typed('g', 'd', NULL::text, 1, partitions => ARRAY[0]);
SELECT count(*) FROM queue.consume_typed('g', 'd', NULL::text, 1, partitions => ARRAY[0]);
SELECT count(*) FROM queue.consume_typed('h', 'd', NULL::text, 1, partitions => ARRAY[0]);
SELECT count(*) FROM queue.poll_typed('g', 'e', 'member of g', NULL::text);
SELECT count(*) FROM queue.poll_typed('g', 'd', 'member of g', NULL::text, 0);
SELECT count(*) FROM queue.poll_typed('h', 'e', 'member of h', NULL::text);

-- In one topic only: it begins anew there, and goes on in the others.
SELECT queue.drop_group('g', 'd');
SELECT * FROM pg_temp.left_of('g');
SELECT topic, partition, current_offset FROM queue.consumer_groups WHERE consumer_group = 'g' ORDER BY 1, 2;
SELECT topic, member FROM queue.members WHERE consumer_group = 'g';
SELECT count(*) FROM queue.offset_history WHERE consumer_group = 'g' AND topic = 'd';
SELECT m.offset, value FROM queue.consume_typed('g', 'd', NULL::text, 1, partitions => ARRAY[0]) m;
SELECT generation FROM queue.offset_history WHERE consumer_group = 'g' AND topic = 'd';
SELECT queue.drop_group('g', 'd');
SELECT queue.create_group('g', 'd', 'latest');
-- A topic that it does not read, or not any more: nothing to do.
SELECT queue.drop_group('g', 'd');
SELECT queue.drop_group('g', 'd');
SELECT count(*) FROM queue.consume_typed('g', 'd', NULL::text, 1, partitions => ARRAY[0]);

-- The whole group.
SELECT queue.drop_group('g');
SELECT * FROM pg_temp.left_of('g');
SELECT consumer_group, topic, partition, current_offset FROM queue.consumer_groups WHERE topic IN ('d', 'e') ORDER BY 1, 2, 3;
SELECT consumer_group, member FROM queue.members WHERE topic IN ('d', 'e');
SELECT pg_temp.error_of($$SELECT queue.drop_group('g')$$);
-- The next consumer of that name starts anew, with a group of its own; what was
-- handed to a member of the old one counts no more.
SELECT m.offset, value FROM queue.consume_typed('g', 'd', NULL::text, 2, partitions => ARRAY[0]) m;
SELECT g.group_id > d.group_id AS another FROM queue.consumer_group g JOIN dropped d USING (name) WHERE name = 'g';
SELECT pg_temp.error_of($$SELECT queue.commit_offset('g', 'e', 0, 1, 'member of g', 1)$$) ~ '^QU004' AS fenced;
SELECT queue.drop_group('g');

-- Made and dropped in one transaction, in one command; rolled back, also to a savepoint.
BEGIN;
SELECT queue.create_group('short', 'd');
SELECT queue.drop_group('short');
SELECT queue.create_group('short', 'd', 'latest');
SELECT partition, current_offset FROM queue.consumer_groups WHERE consumer_group = 'short' ORDER BY 1;
SELECT queue.drop_group('short');
COMMIT;
SELECT queue.create_group('short', 'd'), queue.drop_group('short');
SELECT (SELECT count(*) FROM queue.consume_typed('short', 'd', NULL::text, partitions => ARRAY[0])) AS consumed, queue.drop_group('short');
SELECT queue.drop_group('short', 'd'), queue.drop_group('short') FROM (SELECT queue.create_group('short', 'd')) s;
SELECT count(*) FROM queue.consumer_group WHERE name = 'short';
SELECT count(*) FROM queue.progress WHERE group_id NOT IN (SELECT group_id FROM queue.consumer_group) AND topic_id IN (SELECT topic_id FROM queue.topic);
BEGIN;
SELECT queue.drop_group('h');
ROLLBACK;
SELECT m.offset FROM queue.consume_typed('h', 'd', NULL::text, 1, partitions => ARRAY[0]) m;
BEGIN;
SAVEPOINT s;
SELECT queue.drop_group('h');
SELECT m.offset FROM queue.consume_typed('h', 'd', NULL::text, 1, partitions => ARRAY[0]) m;
ROLLBACK TO s;
SELECT m.offset FROM queue.consume_typed('h', 'd', NULL::text, 1, partitions => ARRAY[0]) m;
COMMIT;
SELECT partition, current_offset FROM queue.consumer_groups WHERE consumer_group = 'h' AND topic = 'd' ORDER BY 1;
-- With business data in one transaction.
CREATE TABLE backfill (value text);
BEGIN;
INSERT INTO backfill SELECT value FROM queue.consume_typed('once', 'd', NULL::text, partitions => ARRAY[0]);
SELECT queue.drop_group('once');
COMMIT;
SELECT count(*), (SELECT count(*) FROM queue.consumer_group WHERE name = 'once') AS groups FROM backfill;
DROP TABLE backfill;

-- The rest of a dropped topic is no obstacle, nor is a group without offsets.
SELECT queue.create_topic('gone');
SELECT queue.create_group('h', 'gone');
SELECT queue.drop_topic('gone');
BEGIN;
SELECT queue.create_group('bare', 'e');
SELECT queue.drop_group('bare', 'e');
COMMIT;
SELECT queue.drop_group('bare');

SELECT call, pg_temp.error_of('SELECT queue.drop_group(' || call || ')')
  FROM unnest(ARRAY[
    $$'nobody'$$,
    $$'nobody', 'd'$$,
    $$'h', 'nope'$$,
    $$''$$,
    $$repeat('x', 256)$$,
    $$NULL$$,
    $$NULL, 'd'$$]) WITH ORDINALITY u(call, n)
 ORDER BY n;
BEGIN READ ONLY;
SELECT pg_temp.error_of($$SELECT queue.drop_group('h')$$);
ROLLBACK;
SELECT queue.drop_group(consumer_group => 'h', topic => NULL);
SELECT * FROM pg_temp.left_of('h');
SELECT count(*) FROM queue.progress WHERE topic_id IN (SELECT topic_id FROM queue.topic WHERE name IN ('d', 'e'));
SELECT count(*) FROM queue.consumer_group WHERE name IN ('g', 'short', 'once', 'bare');
SELECT queue.drop_topic('d'), queue.drop_topic('e');
