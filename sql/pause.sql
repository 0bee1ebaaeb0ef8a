--
-- queue.pause and queue.resume: a group gets no more messages.
--
\getenv abs_srcdir PG_ABS_SRCDIR
\i :abs_srcdir/sql/include/helpers.sql
SELECT queue.create_topic('p', 2, 'text'), queue.create_topic('q', 1, 'text');
SELECT count FROM queue.produce_batch('p', ARRAY['a', 'b', 'c'], partition => 0);
SELECT count FROM queue.produce_batch('p', ARRAY['d', 'e', 'f'], partition => 1);
SELECT count FROM queue.produce_batch('q', ARRAY['g', 'h', 'i']);
SELECT queue.create_group('g', t) FROM unnest(ARRAY['p', 'q']) t;
SELECT queue.create_group('h', 'p');

-- One partition; the others, and other groups, go on.
SELECT queue.pause('g', 'p', 0);
SELECT topic, partition, paused FROM queue.consumer_groups WHERE consumer_group = 'g' ORDER BY 1, 2;
SELECT partition, m.offset FROM queue.consume_typed('g', 'p', NULL::text, 2) m;
SELECT partition, m.offset FROM queue.consume_typed('g', 'p', NULL::text, 2) m;
SELECT count(*) FROM queue.consume_typed('g', 'p', NULL::text, 2);
SELECT count(*) FROM queue.consume_typed('g', 'p', NULL::text, 2, partitions => ARRAY[0]);
SELECT count(*) FROM queue.consume_typed('h', 'p', NULL::text, 2, partitions => ARRAY[0]);
-- Twice is once, and writes nothing.
SELECT count(*) AS rows FROM queue.progress \gset
SELECT queue.pause('g', 'p', 0);
SELECT queue.resume('g', 'q');
SELECT count(*) - :rows AS written FROM queue.progress;
-- A topic: what is not paused yet.
SELECT queue.pause('g', 'p');
SELECT count(queue.produce('p', 'more', partition => n)) FROM generate_series(0, 1) n;
SELECT count(*) FROM queue.consume_typed('g', 'p', NULL::text);
-- All topics of the group.
SELECT queue.pause('g');
SELECT count(*) FROM queue.consume_topics_typed('g', ARRAY['p', 'q'], NULL::text);
SELECT consumer_group, topic, partition, paused FROM queue.consumer_groups ORDER BY 1, 2, 3;
SELECT queue.resume('g', 'p', 1);
SELECT partition, m.offset, value FROM queue.consume_typed('g', 'p', NULL::text) m;
SELECT queue.resume('g');
SELECT queue.resume('g');
SELECT partition, m.offset FROM queue.consume_typed('g', 'p', NULL::text, partitions => ARRAY[0]) m;
SELECT m.offset FROM queue.consume_typed('g', 'q', NULL::text) m;
SELECT bool_or(paused) FROM queue.consumer_groups;

-- Nothing else changes: offset, role and time, metadata; the history has no such rows.
SELECT count(queue.produce('q', 'more')) FROM generate_series(1, 3);
SELECT count(*) FROM queue.consume_typed('g', 'q', NULL::text, 1, metadata => 'note');
CREATE TEMP TABLE before AS SELECT current_offset, committed_at, committed_by, metadata FROM queue.consumer_groups WHERE consumer_group = 'g' AND topic = 'q';
SELECT count(*) AS moves FROM queue.offset_history \gset
SELECT queue.pause('g', 'q');
SELECT g.current_offset = before.current_offset AS there, g.committed_at = before.committed_at AS then, g.committed_by = before.committed_by AS by, g.metadata
  FROM queue.consumer_groups g, before WHERE consumer_group = 'g' AND topic = 'q';
SELECT count(*) - :moves AS moves FROM queue.offset_history;
-- The offset may be moved while it is paused, which does not resume it.
SELECT new_offset FROM queue.reset_offsets('g', 'q', to_earliest => true);
SELECT queue.commit_offset('g', 'q', 0, 2);
SELECT count(*) FROM queue.consume_typed('g', 'q', NULL::text);
SELECT queue.resume('g', 'q');
SELECT m.offset FROM queue.consume_typed('g', 'q', NULL::text, 1) m;

-- A partition that the group has not begun, begins at the log start.
SELECT count(*) FROM queue.consume_typed('begins', 'p', NULL::text, 1, partitions => ARRAY[1]);
SELECT queue.resume('begins', 'p');
SELECT partition FROM queue.consumer_groups WHERE consumer_group = 'begins';
SELECT queue.pause('begins', 'p');
SELECT partition, current_offset, paused FROM queue.consumer_groups WHERE consumer_group = 'begins' ORDER BY 1;
SELECT partition, action, from_offset, to_offset FROM queue.offset_history WHERE consumer_group = 'begins' ORDER BY 1, generation;
SELECT queue.resume('begins', 'p');
SELECT m.offset FROM queue.consume_typed('begins', 'p', NULL::text, 1, partitions => ARRAY[0]) m;
-- A topic that it does not read is none of its topics, but can be paused by name.
SELECT queue.pause('h');
SELECT queue.pause('h', 'q');
SELECT count(*) FROM queue.consume_typed('h', 'q', NULL::text);
SELECT queue.resume('h');
-- Partitions that are added are not paused.
SELECT queue.pause('h', 'p');
SELECT queue.alter_topic('p', 3);
SELECT "offset" FROM queue.produce('p', 'new', partition => 2);
SELECT partition, m.offset FROM queue.consume_typed('h', 'p', NULL::text) m;
SELECT queue.pause('h', 'p');
SELECT queue.resume('h', 'p', 2);
SELECT queue.resume('h');

-- In the caller's transaction.
BEGIN;
SELECT queue.pause('g', 'q');
SAVEPOINT s;
SELECT queue.resume('g', 'q');
SELECT m.offset FROM queue.consume_typed('g', 'q', NULL::text, 1) m;
ROLLBACK TO s;
SELECT count(*) FROM queue.consume_typed('g', 'q', NULL::text, 1);
ROLLBACK;
SELECT m.offset FROM queue.consume_typed('g', 'q', NULL::text, 1) m;
SELECT queue.pause('g', 'q'), queue.resume('g', 'q'), queue.resume('g', 'q');

-- Members get nothing; what they have in hand they may commit.
SELECT queue.create_group('m', 'q');
SELECT min(m.offset) AS first, min(epoch) AS epoch FROM queue.poll_typed('m', 'q', 'one', NULL::text, 2) m \gset
SELECT queue.pause('m', 'q');
SELECT in_hand, paused FROM queue.consumer_groups WHERE consumer_group = 'm';
SELECT queue.commit_offset('m', 'q', 0, 1, 'one', :epoch);
SELECT count(*) FROM queue.poll_typed('m', 'q', 'one', NULL::text);
SELECT current_offset, in_hand, paused FROM queue.consumer_groups WHERE consumer_group = 'm';
SELECT queue.resume('m', 'q');
SELECT min(m.offset) FROM queue.poll_typed('m', 'q', 'one', NULL::text) m;

SELECT f, call, pg_temp.error_of(format('SELECT queue.%s(%s)', f, call))
  FROM unnest(ARRAY[
    $$'nobody'$$,
    $$'nobody', 'p'$$,
    $$'g', 'nope'$$,
    $$'g', 'p', 3$$,
    $$'g', 'p', -1$$,
    $$'g', NULL, 0$$,
    $$''$$,
    $$NULL$$,
    $$NULL, 'p'$$]) WITH ORDINALITY u(call, n), unnest(ARRAY['pause', 'resume']) f
 ORDER BY n, f;
BEGIN READ ONLY;
SELECT pg_temp.error_of($$SELECT queue.pause('g')$$), pg_temp.error_of($$SELECT queue.resume('g')$$);
ROLLBACK;
SELECT queue.drop_topic('p'), queue.drop_topic('q');
-- A group without topics.
SELECT queue.pause('g');
SELECT count(queue.drop_group(name)) FROM unnest(ARRAY['g', 'h', 'm', 'begins']) name;
