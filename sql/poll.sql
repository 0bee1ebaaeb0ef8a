--
-- queue.poll: batches for work outside the database; results, limits, errors.
--
\getenv abs_srcdir PG_ABS_SRCDIR
\i :abs_srcdir/sql/include/helpers.sql
SELECT queue.create_topic('t', 2);
SELECT count FROM queue.produce_batch('t', ARRAY['{"n": 1}', '{"n": 2}', '{"n": 3}'], partition => 0,
	keys => ARRAY['k', NULL, 'l'], headers => ARRAY['{"h": 1}', NULL, NULL]::jsonb[]);
SELECT count FROM queue.produce_batch('t', ARRAY['{"n": 4}', NULL], keys => ARRAY['m', 'n'], partition => 1);

-- All partitions of the only member in one call; the epoch of each is its own.
CREATE TEMP TABLE got AS SELECT * FROM queue.poll('g', 't', 'm');
SELECT topic, partition, g.offset, "timestamp" <= clock_timestamp() AS "timestamp", key, value, headers FROM got g ORDER BY 2, 3;
SELECT count(DISTINCT epoch) AS epochs, count(DISTINCT (partition, epoch)) AS of_partitions, min(epoch) > 0 AS positive FROM got;
-- Nothing has moved; it is all in hand.
SELECT partition, current_offset, lag, member, in_hand FROM queue.consumer_groups WHERE consumer_group = 'g' ORDER BY 1;

-- What was not committed comes again, by a higher epoch.
CREATE TEMP TABLE again AS SELECT * FROM queue.poll('g', 't', 'm');
SELECT partition, a.offset, value, a.epoch > g.epoch AS higher_epoch
  FROM again a JOIN got g USING (partition, "offset", value) ORDER BY 1, 2;
SELECT count(*) FROM again;
-- In part, too: the hand then holds that part.
SELECT count(*) FROM queue.poll('g', 't', 'm', max_messages => 1);
SELECT min(in_hand) FROM queue.consumer_groups WHERE consumer_group = 'g';
-- Another member gets nothing of it, now or when it asks again.
SELECT count(*) FROM queue.poll('g', 't', 'other');
SELECT count(*) FROM queue.poll('g', 't', 'other');
SELECT queue.leave('g', 't', 'other');

-- max_messages 0 keeps the lease, and leaves what is in hand and its epoch.
CREATE TEMP TABLE now AS SELECT * FROM queue.poll('g', 't', 'm');
UPDATE queue.member SET expires_at = now() + interval '30 seconds' WHERE name = 'm';
SELECT count(*) FROM queue.poll('g', 't', 'm', 0);
SELECT expires_at > now() + interval '50 seconds' AS renewed, in_hand FROM queue.members WHERE member = 'm';
SELECT partition, queue.commit_offset('g', 't', partition, max(n.offset) + 1, 'm', epoch) IS NOT NULL AS committed
  FROM now n GROUP BY partition, epoch ORDER BY 1;
SELECT count(*) FROM queue.poll('g', 't', 'm');
SELECT partition, current_offset, lag, in_hand FROM queue.consumer_groups WHERE consumer_group = 'g' ORDER BY 1;
-- It makes a member, too.
SELECT count(*) FROM queue.poll('zero', 't', 'm', 0);
SELECT consumer_group, member, partitions, in_hand FROM queue.members ORDER BY 1, 2;
SELECT partition, current_offset, lag, member FROM queue.consumer_groups WHERE consumer_group = 'zero' ORDER BY 1;

-- A limit goes over all partitions.
SELECT sum(count) FROM generate_series(0, 1) p, queue.produce_batch('t', ARRAY['5', '6', '7', '8', '9'], partition => p);
SELECT count(*), count(DISTINCT partition) FROM queue.poll('limit', 't', 'm', 7);
SELECT count(*), count(DISTINCT partition) FROM queue.poll('limit', 't', 'm', 1);
-- Each begins elsewhere.
CREATE TEMP TABLE turns (n int, partition int);
INSERT INTO turns SELECT n, m.partition FROM generate_series(1, 6) n, queue.poll('turns', 't', 'm', (n > 0)::int) m;
SELECT partition, count(*) FROM turns GROUP BY 1 ORDER BY 1;

-- max_bytes: one message whatever its size; over all partitions.
SELECT queue.create_topic('wide', 2, 'text');
SELECT count FROM queue.produce_batch('wide', ARRAY[repeat('a', 100), repeat('b', 100), repeat('c', 100)], partition => 0);
SELECT count(*) FROM queue.poll('one', 'wide', 'm', max_bytes => 1) m;
SELECT count(*), sum(length(value)) FROM queue.poll_typed('one', 'wide', 'm', NULL::text, max_bytes => 299) m;
SELECT count(*), sum(length(value)) FROM queue.poll_typed('one', 'wide', 'm', NULL::text, max_bytes => 1) m;
SELECT count FROM queue.produce_batch('wide', ARRAY[repeat('d', 100)], partition => 1);
SELECT count(*) FROM queue.poll_typed('one', 'wide', 'm', NULL::text, max_bytes => 400) m;
SELECT count(*) FROM queue.poll_typed('one', 'wide', 'm', NULL::text, max_bytes => 50) m;

-- Typed: any type, in place or not, of any alignment; NULL values; big ones.
SELECT count FROM queue.produce_batch('wide', ARRAY[repeat('big', 100000), NULL], keys => ARRAY['k', 'tombstone'], partition => 1);
SELECT partition, m.offset, key, left(value, 6), length(value), md5(value), epoch > 0 AS epoch
  FROM queue.poll_typed('typed', 'wide', 'm', NULL::text) m ORDER BY 1, 2;
SELECT md5(value) = md5(repeat('big', 100000)) AS whole FROM queue.poll_typed('typed', 'wide', 'm', NULL::text, 10) WHERE key = 'k';
SELECT queue.create_topic('numbers', 1, 'bigint');
SELECT count FROM queue.produce_batch('numbers', ARRAY[1, 2, NULL]::bigint[], keys => ARRAY[NULL, 'a', 'b']);
SELECT topic, m.offset, key, value, headers, epoch > 0 AS epoch FROM queue.poll_typed('typed', 'numbers', 'm', NULL::bigint) m ORDER BY 2;
CREATE TYPE pair AS (a int, b text);
SELECT queue.create_topic('pairs', 1, 'pair');
SELECT "offset" FROM queue.produce('pairs', ROW(1, 'one')::pair, headers => '{"x": "y"}');
SELECT (value).a, (value).b, headers FROM queue.poll_typed('typed', 'pairs', 'm', NULL::pair);

-- What the transaction itself has produced before can be polled, as it can be consumed.
BEGIN;
SELECT "offset" FROM queue.produce('numbers', 4::bigint);
SELECT m.offset FROM queue.poll_typed('own', 'numbers', 'm', NULL::bigint) m ORDER BY 1;
ROLLBACK;

-- A group that is new is made, also if there is nothing to read yet.
SELECT queue.create_topic('empty');
SELECT count(*) FROM queue.poll('first', 'empty', 'm');
SELECT partition, current_offset FROM queue.consumer_groups WHERE consumer_group = 'first';
SELECT member, partitions FROM queue.members WHERE consumer_group = 'first';
-- Rolled back, it was never there.
BEGIN;
SELECT count(*) FROM queue.poll('undone', 't', 'm');
ROLLBACK;
SELECT count(*) FROM queue.consumer_group WHERE name = 'undone';
SELECT count(*) FROM queue.members WHERE consumer_group = 'undone';

-- Several in one statement: each knows of those before it.
SELECT (SELECT max(epoch) FROM queue.poll('several', 't', 'm', 1000)) < (SELECT max(epoch) FROM queue.poll('several', 't', 'm', 1000)) AS later;
SELECT (SELECT count(*) FROM queue.poll('several', 't', 'm', 1000)) AS m, (SELECT count(*) FROM queue.poll('several', 't', 'n', 1000)) AS n;
SELECT count(queue.commit_offset('several', 't', partition, next, 'm', epoch)) AS partitions, sum(n) AS messages FROM (
	SELECT partition, epoch, max(m.offset) + 1 AS next, count(*) AS n FROM queue.poll('several', 't', 'm', 1000) m GROUP BY partition, epoch) x;
SELECT partition, lag, in_hand FROM queue.consumer_groups WHERE consumer_group = 'several' ORDER BY 1;
SELECT count(*) FROM queue.poll('several', 't', 'm', 1000);

-- Where the group started: latest is latest.
SELECT queue.create_group('late', 't', 'latest');
SELECT count(*) FROM queue.poll('late', 't', 'm');
SELECT "offset" FROM queue.produce('t', '10', partition => 1);
SELECT partition, value FROM queue.poll('late', 't', 'm');

-- Paused partitions are left out; what is in hand may be committed.
CREATE TEMP TABLE held AS SELECT * FROM queue.poll('late', 't', 'm');
SELECT queue.pause('late', 't');
SELECT count(*) FROM queue.poll('late', 't', 'm');
SELECT queue.commit_offset('late', 't', partition, h.offset + 1, 'm', epoch) IS NOT NULL AS committed FROM held h;
SELECT "offset" FROM queue.produce('t', '11', partition => 1);
SELECT count(*) FROM queue.poll('late', 't', 'm');
SELECT queue.resume('late', 't');
SELECT partition, value FROM queue.poll('late', 't', 'm');

-- max_wait: what arrives meanwhile is for the next statement; nothing came.
SELECT count(*) FROM queue.poll('first', 'empty', 'm', max_wait => '10 ms');
SELECT count(*) FROM queue.poll('late', 't', 'm', max_wait => '10 days');

-- Names of members: anything of 1 to 255 bytes.
SELECT count(*) FROM unnest(ARRAY['.', 'a b', 'it''s "quoted"', 'größe', repeat('m', 255)]) name, queue.poll_typed('names', 'numbers', name, NULL::bigint);
SELECT left(member, 30) COLLATE "C" AS member, length(member), partitions FROM queue.members WHERE consumer_group = 'names' ORDER BY 1;

SELECT call, pg_temp.error_of('SELECT * FROM queue.poll(' || call || ')')
  FROM unnest(ARRAY[
    $$'g', 'nope', 'm'$$,
    $$NULL, 't', 'm'$$,
    $$'g', NULL::text, 'm'$$,
    $$'g', 't', NULL$$,
    $$'', 't', 'm'$$,
    $$'g', 't', ''$$,
    $$'g', 't', repeat('m', 256)$$,
    $$'g', 't', 'm', NULL::int$$,
    $$'g', 't', 'm', -1$$,
    $$'g', 't', 'm', max_bytes => 0$$,
    $$'g', 't', 'm', max_bytes => -1$$,
    $$'g', 't', 'm', lease => NULL$$,
    $$'g', 't', 'm', lease => '0'$$,
    $$'g', 't', 'm', lease => '-1 s'$$,
    $$'g', 't', 'm', lease => '0.9 ms'$$,
    $$'g', 't', 'm', lease => '10001 days'$$,
    $$'g', 't', 'm', max_wait => '-1 s'$$,
    $$'g', 'numbers', 'm'$$,
    $$'g', 'numbers', 'm', NULL::int$$]) WITH ORDINALITY u(call, n)
 ORDER BY n;
SELECT * FROM queue.poll('g', 'numbers', 'm');
SELECT * FROM queue.poll_typed('g', 't', 'm', NULL::text);
BEGIN READ ONLY;
SELECT count(*) FROM queue.poll('g', 't', 'm');
ROLLBACK;
-- The greatest lease there is.
SELECT count(*) FROM queue.poll('g', 't', 'm', 0, lease => '10000 days');

-- Rights: the group's role, and SELECT on the topic.
CREATE ROLE regress_queue_worker;
SET ROLE regress_queue_worker;
SELECT pg_temp.error_of($$SELECT * FROM queue.poll('mine', 't', 'm')$$);
RESET ROLE;
GRANT SELECT ON topic.t TO regress_queue_worker;
SET ROLE regress_queue_worker;
SELECT count(*) > 0 AS polled FROM queue.poll('mine', 't', 'm');
SELECT pg_temp.error_of($$SELECT * FROM queue.poll('g', 't', 'm')$$);
SELECT pg_temp.error_of($$SELECT queue.commit_offset('g', 't', 0, 0)$$);
SELECT pg_temp.error_of($$SELECT queue.leave('g', 't', 'm')$$);
SELECT pg_temp.error_of($$SELECT queue.commit_offset('mine', 'numbers', 0, 0)$$);
SELECT pg_temp.error_of($$SELECT queue.leave('mine', 'numbers', 'm')$$);
-- Members of topics that it may read.
SELECT DISTINCT topic FROM queue.members;
RESET ROLE;

-- An offset outside the log is told.
UPDATE queue.progress SET committed_offset = 1000, handed_to = NULL
 WHERE group_id = (SELECT group_id FROM queue.consumer_group WHERE name = 'typed')
   AND topic_id = (SELECT topic_id FROM queue.topic WHERE name = 'numbers');
SELECT pg_temp.error_of($$SELECT * FROM queue.poll_typed('typed', 'numbers', 'm', NULL::bigint)$$);

-- A member may own a partition that its session does not know yet, since another
-- session has added it: it is left out.  What is no partition at all is, too.
SELECT queue.create_group('assigned', 't', 'earliest');
SELECT DISTINCT partition FROM queue.poll('assigned', 't', 'm') ORDER BY 1;
UPDATE queue.assignment SET partitions = '{0,7}' WHERE group_id = (SELECT group_id FROM queue.consumer_group WHERE name = 'assigned');
SELECT DISTINCT partition FROM queue.poll('assigned', 't', 'm') ORDER BY 1;
SELECT partitions FROM queue.members WHERE consumer_group = 'assigned';
UPDATE queue.assignment SET partitions = '{1,-1,-1000000,2147483647}' WHERE group_id = (SELECT group_id FROM queue.consumer_group WHERE name = 'assigned');
SELECT DISTINCT partition FROM queue.poll('assigned', 't', 'm') ORDER BY 1;
SELECT partitions FROM queue.members WHERE consumer_group = 'assigned';
UPDATE queue.assignment SET partitions = '{NULL,0}' WHERE group_id = (SELECT group_id FROM queue.consumer_group WHERE name = 'assigned');
SELECT DISTINCT partition FROM queue.poll('assigned', 't', 'm') ORDER BY 1;
-- Nor does it matter that two own the same, which only a superuser can say.
SELECT queue.create_topic('four', 4);
SELECT FROM pg_temp.use_all('four');
SELECT count(*) FROM queue.poll('four', 'four', 'a', 0);
SELECT count(*) FROM queue.poll('four', 'four', 'b', 0);
UPDATE queue.assignment SET partitions = CASE name WHEN 'a' THEN '{1,2,3,0}' ELSE '{0}' END::int[]
 WHERE group_id = (SELECT group_id FROM queue.consumer_group WHERE name = 'four');
SELECT count(*) FROM queue.poll('four', 'four', 'b', 0);
SELECT member, partitions FROM queue.members WHERE consumer_group = 'four' ORDER BY 1;
SELECT count(*) FROM queue.poll('four', 'four', 'a', 0);
SELECT member, partitions FROM queue.members WHERE consumer_group = 'four' ORDER BY 1;

SELECT count(queue.drop_group(name)) > 0 AS dropped FROM queue.consumer_group;
SELECT count(*) FROM queue.member;
SELECT count(*) FROM queue.progress;
SELECT count(queue.drop_topic(topic)) FROM queue.topics;
DROP TYPE pair;
DROP ROLE regress_queue_worker;
