--
-- queue.commit_offset: what a member has in hand, and offsets of readers without member.
--
\getenv abs_srcdir PG_ABS_SRCDIR
\i :abs_srcdir/sql/include/helpers.sql
-- Poll, and remember the epoch.
CREATE TEMP TABLE hands (member text, n int, epoch bigint);
CREATE FUNCTION pg_temp.take(member text, n int DEFAULT 100) RETURNS text LANGUAGE sql AS $$
	WITH m AS (SELECT * FROM queue.poll_typed('g', 't', take.member, NULL::text, n)),
	e AS (INSERT INTO hands SELECT take.member, (SELECT count(*) FROM hands), max(epoch) FROM m HAVING count(*) > 0)
	SELECT string_agg(value, '' ORDER BY "offset") FROM m
$$;
-- The member's last epoch, or an earlier one.
CREATE FUNCTION pg_temp.epoch(member text, back int DEFAULT 0) RETURNS bigint LANGUAGE sql AS $$
	SELECT epoch FROM hands h WHERE h.member = epoch.member ORDER BY n DESC LIMIT 1 OFFSET back
$$;
CREATE FUNCTION pg_temp.commit(next_offset bigint, member text, back int DEFAULT 0) RETURNS text LANGUAGE sql AS $$
	SELECT pg_temp.error_of(format('SELECT queue.commit_offset(%L, %L, 0, %s, %L, %s)', 'g', 't', next_offset, member, pg_temp.epoch(member, back)))
$$;
CREATE VIEW pg_temp.place AS
	SELECT current_offset, lag, in_hand, metadata FROM queue.consumer_groups WHERE consumer_group = 'g';

SELECT queue.create_topic('t', 1, 'text');
SELECT count FROM queue.produce_batch('t', string_to_array('abcdefghij', NULL));

-- The first ones, more, the same again, the whole, the whole again.
SELECT pg_temp.take('m', 5);
SELECT pg_temp.commit(2, 'm');
SELECT * FROM pg_temp.place;
SELECT pg_temp.commit(2, 'm');
SELECT pg_temp.commit(3, 'm');
SELECT pg_temp.commit(5, 'm');
SELECT * FROM pg_temp.place;
SELECT pg_temp.commit(5, 'm');
-- Beyond the hand, and behind what is committed.
SELECT pg_temp.commit(6, 'm');
SELECT pg_temp.commit(4, 'm');
SELECT pg_temp.commit(-1, 'm');
SELECT * FROM pg_temp.place;
-- It goes on behind; nothing of it comes again.
SELECT pg_temp.take('m', 3);
-- By the epoch before: not even where that had been.
SELECT pg_temp.commit(5, 'm', 1);
SELECT pg_temp.commit(6, 'm', 1);
SELECT pg_temp.commit(6, 'm');
-- What was committed in part comes again from there on.
SELECT pg_temp.take('m', 3);
SELECT pg_temp.commit(7, 'm', 1);
SELECT * FROM pg_temp.place;

-- A wrong member, a wrong epoch, another member's epoch.
SELECT pg_temp.error_of(format('SELECT queue.commit_offset(%L, %L, 0, 7, %L, %s)', 'g', 't', 'nobody', pg_temp.epoch('m')));
SELECT pg_temp.error_of(format('SELECT queue.commit_offset(%L, %L, 0, 7, %L, %s)', 'g', 't', 'm', pg_temp.epoch('m') + 1));
SELECT pg_temp.error_of($$SELECT queue.commit_offset('g', 't', 0, 7, 'm', 0)$$);
-- One that has nothing in hand and never had.
SELECT pg_temp.error_of($$SELECT queue.commit_offset('fresh', 't', 0, 0, 'm', 0)$$);
SELECT queue.create_group('fresh', 't');
SELECT pg_temp.error_of($$SELECT queue.commit_offset('fresh', 't', 0, 0, 'm', 0)$$);

-- After the lease, while no member took over: the work counts.
SELECT pg_temp.expire('m');
SELECT pg_temp.commit(7, 'm');
-- After a takeover it does not; nor does it give the messages back.
SELECT pg_temp.take('n');
SELECT pg_temp.commit(7, 'm');
SELECT pg_temp.commit(9, 'm');
SELECT * FROM pg_temp.place;
SELECT pg_temp.commit(10, 'n');
SELECT pg_temp.commit(10, 'm');
SELECT * FROM pg_temp.place;
-- The detail of QU004 names the member that has them now.
SELECT count(*) FROM queue.produce('t', 'k');
SELECT pg_temp.take('n');
DO $$
DECLARE
	said text;
	hint text;
BEGIN
	PERFORM queue.commit_offset('g', 't', 0, 10, 'm', 7);
EXCEPTION WHEN SQLSTATE 'QU004' THEN
	GET STACKED DIAGNOSTICS said = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	RAISE NOTICE '%; %', said, hint;
END $$;
-- Those of QU001 tell what is in hand.
SELECT queue.commit_offset('g', 't', 0, 12, 'n', pg_temp.epoch('n'));

-- Taken back: by reset_offsets, by leave.
SELECT * FROM queue.reset_offsets('g', 't', to_offset => 10);
SELECT pg_temp.commit(11, 'n');
DO $$
DECLARE
	said text;
BEGIN
	PERFORM queue.commit_offset('g', 't', 0, 10, 'm', 7);
EXCEPTION WHEN SQLSTATE 'QU004' THEN
	GET STACKED DIAGNOSTICS said = PG_EXCEPTION_DETAIL;
	RAISE NOTICE '%', said;
END $$;
SELECT pg_temp.take('n');
SELECT queue.leave('g', 't', 'n'), queue.leave('g', 't', 'n');
SELECT pg_temp.commit(11, 'n');
-- A member that left and came back is another member.
SELECT pg_temp.take('n');
SELECT pg_temp.commit(11, 'n', 1);
SELECT pg_temp.commit(11, 'n');

-- Metadata: with the offset, replaced or removed by the next, kept by poll.
SELECT count FROM queue.produce_batch('t', string_to_array('lmnop', NULL));
SELECT pg_temp.take('n');
SELECT queue.commit_offset('g', 't', 0, 12, 'n', pg_temp.epoch('n'), 'half');
SELECT * FROM pg_temp.place;
-- Also where the offset is already.
SELECT queue.commit_offset('g', 't', 0, 12, 'n', pg_temp.epoch('n'), metadata => 'still half');
SELECT * FROM pg_temp.place;
SELECT pg_temp.take('n', 1);
SELECT * FROM pg_temp.place;
SELECT pg_temp.commit(12, 'n');
SELECT metadata FROM pg_temp.place;
SELECT pg_temp.commit(13, 'n');
SELECT * FROM pg_temp.place;

-- Rolled back, in whole or to a savepoint, it is as if it had not been said.
SELECT pg_temp.take('n');
BEGIN;
SELECT pg_temp.commit(14, 'n');
SAVEPOINT s;
SELECT pg_temp.commit(16, 'n');
ROLLBACK TO s;
SELECT * FROM pg_temp.place;
SELECT pg_temp.commit(15, 'n');
ROLLBACK;
SELECT * FROM pg_temp.place;
-- Several times in a statement.
SELECT n, queue.commit_offset('g', 't', 0, n, 'n', pg_temp.epoch('n')) IS NOT NULL AS committed FROM generate_series(13, 16) n ORDER BY n;
SELECT * FROM pg_temp.place;

-- It is a sign of life.
UPDATE queue.member SET expires_at = now() + interval '30 seconds' WHERE name = 'n';
SELECT count(*) FROM queue.produce('t', 'q');
SELECT pg_temp.take('n');
UPDATE queue.member SET expires_at = now() + interval '30 seconds' WHERE name = 'n';
SELECT pg_temp.commit(17, 'n');
SELECT member, expires_at > now() + interval '50 seconds' AS renewed FROM queue.members WHERE consumer_group = 'g' ORDER BY 1;
-- Not of one that is dead: it has to poll.
SELECT count(*) FROM queue.produce('t', 'r');
SELECT pg_temp.take('n');
SELECT pg_temp.expire('n');
SELECT pg_temp.commit(18, 'n');
SELECT member, alive FROM queue.members WHERE consumer_group = 'g' ORDER BY 1;

-- The member that consumed each message: a row for each move.
SELECT action, from_offset, to_offset, member, metadata FROM queue.offset_history WHERE consumer_group = 'g' ORDER BY generation;

-- Without member: for readers by fetch. Anywhere in the log, also back.
SELECT queue.create_topic('u', 2, 'text');
SELECT count FROM queue.produce_batch('u', string_to_array('abc', NULL), partition => 0);
SELECT queue.commit_offset('reader', 'u', 0, 2);
SELECT queue.create_group('reader', 'u', 'latest');
SELECT queue.commit_offset('reader', 'u', 0, 2);
SELECT value FROM queue.consume_typed('reader', 'u', NULL::text);
SELECT queue.commit_offset('reader', 'u', 0, 0, metadata => 'again');
SELECT partition, current_offset, metadata FROM queue.consumer_groups WHERE consumer_group = 'reader' ORDER BY 1;
SELECT queue.commit_offset('reader', 'u', 0, 3);
SELECT queue.commit_offset('reader', 'u', 1, 0);
SELECT queue.commit_offset('reader', 'u', 0, 4);
SELECT queue.commit_offset('reader', 'u', 0, -1);
SELECT queue.commit_offset('reader', 'u', 1, 1);
-- Over what the same transaction has produced, not over what was rolled back.
BEGIN;
SELECT count FROM queue.produce_batch('u', string_to_array('xyz', NULL), partition => 1);
SELECT pg_temp.error_of($$SELECT queue.commit_offset('reader', 'u', 1, 1)$$);
ROLLBACK;
SELECT pg_temp.error_of($$SELECT queue.commit_offset('reader', 'u', 1, 1)$$);
SELECT partition, current_offset FROM queue.consumer_groups WHERE consumer_group = 'reader' ORDER BY 1;
-- While a live member has messages in hand: no; once it is dead, or done: yes, and it is fenced.
CREATE TEMP TABLE held AS SELECT * FROM queue.poll_typed('reader', 'u', 'm', NULL::text);
SELECT count(*) FROM held;
SELECT queue.commit_offset('reader', 'u', 0, 0);
INSERT INTO held SELECT * FROM queue.poll_typed('reader', 'u', 'm', NULL::text);
SELECT pg_temp.error_of($$SELECT queue.commit_offset('reader', 'u', 0, 3)$$);
SELECT pg_temp.expire('m');
SELECT queue.commit_offset('reader', 'u', 0, 1);
SELECT pg_temp.error_of(format('SELECT queue.commit_offset(%L, %L, 0, 3, %L, %s)', 'reader', 'u', 'm', max(epoch))) FROM held;
TRUNCATE held;
INSERT INTO held SELECT * FROM queue.poll_typed('reader', 'u', 'm', NULL::text);
SELECT min(h.offset), max(h.offset) FROM held h;
SELECT queue.commit_offset('reader', 'u', 0, 3, 'm', max(epoch)) FROM held;
SELECT queue.commit_offset('reader', 'u', 0, 2);
SELECT pg_temp.error_of(format('SELECT queue.commit_offset(%L, %L, 0, 3, %L, %s)', 'reader', 'u', 'm', max(epoch))) FROM held;
SELECT partition, current_offset, in_hand FROM queue.consumer_groups WHERE consumer_group = 'reader' ORDER BY 1;

SELECT call, pg_temp.error_of('SELECT queue.commit_offset(' || call || ')')
  FROM unnest(ARRAY[
    $$NULL, 'u', 0, 1$$,
    $$'reader', NULL, 0, 1$$,
    $$'reader', 'u', NULL, 1$$,
    $$'reader', 'u', 0, NULL$$,
    $$'nope', 'u', 0, 1$$,
    $$'', 'u', 0, 1$$,
    $$'reader', 'nope', 0, 1$$,
    $$'reader', 'u', -1, 1$$,
    $$'reader', 'u', 2, 1$$,
    $$'reader', 'u', 0, 1, 'm'$$,
    $$'reader', 'u', 0, 1, epoch => 1$$,
    $$'reader', 'u', 0, 1, '', 1$$,
    $$'reader', 'u', 0, 1, repeat('m', 256), 1$$]) WITH ORDINALITY u(call, n)
 ORDER BY n;
BEGIN READ ONLY;
SELECT queue.commit_offset('reader', 'u', 0, 1);
ROLLBACK;

SELECT call, pg_temp.error_of('SELECT queue.leave(' || call || ')')
  FROM unnest(ARRAY[
    $$NULL, 'u', 'm'$$,
    $$'reader', NULL, 'm'$$,
    $$'reader', 'u', NULL$$,
    $$'nope', 'u', 'm'$$,
    $$'reader', 'nope', 'm'$$,
    $$'reader', 'u', ''$$,
    $$'reader', 'u', 'nobody'$$]) WITH ORDINALITY u(call, n)
 ORDER BY n;
BEGIN READ ONLY;
SELECT queue.leave('reader', 'u', 'm');
ROLLBACK;

SELECT count(queue.drop_topic(topic)) FROM queue.topics;
SELECT count(queue.drop_group(name)) > 0 AS dropped FROM queue.consumer_group;
