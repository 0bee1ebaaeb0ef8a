--
-- queue.reset_offsets: where to, what it says, and that it happens in the
-- caller's transaction.
--
\getenv abs_srcdir PG_ABS_SRCDIR
\i :abs_srcdir/sql/include/helpers.sql
-- Two partitions, five and three messages; a minute between two messages.
SELECT queue.create_topic('r', 2, 'text');
SELECT FROM pg_temp.use_all('r');
SELECT log FROM queue.topic WHERE name = 'r' \gset
INSERT INTO :log
SELECT n, timestamptz '2001-01-01 00:00:00+00' + n * interval '1 minute', 0, NULL, 'm' || n, NULL FROM generate_series(0, 4) n;
INSERT INTO :log
SELECT n, timestamptz '2001-01-01 00:02:30+00' + n * interval '1 minute', 1, NULL, 'n' || n, NULL FROM generate_series(0, 2) n;
SELECT queue.create_group('g', 'r');
SELECT count(*) FROM queue.consume_typed('g', 'r', NULL::text, 3, partitions => ARRAY[0]);

-- Every target, in all partitions or in one: a row for each, before and after.
SELECT * FROM queue.reset_offsets('g', 'r', to_latest => true) ORDER BY 1;
SELECT * FROM queue.reset_offsets('g', 'r', to_earliest => true) ORDER BY 1;
SELECT * FROM queue.reset_offsets('g', 'r', to_offset => 2) ORDER BY 1;
SELECT * FROM queue.reset_offsets('g', 'r', shift_by => -1) ORDER BY 1;
SELECT * FROM queue.reset_offsets('g', 'r', shift_by => 1, partition => 1);
SELECT * FROM queue.reset_offsets('g', 'r', to_time => '2001-01-01 00:03:00+00') ORDER BY 1;
SELECT * FROM queue.reset_offsets('g', 'r', to_offset => 0, partition => 0);
SELECT partition, current_offset, lag FROM queue.consumer_groups WHERE consumer_group = 'g' ORDER BY 1;
-- What is read next is what it said.
SELECT string_agg(value, ' ') FROM queue.consume_typed('g', 'r', NULL::text, partitions => ARRAY[0]);
SELECT string_agg(value, ' ') FROM queue.consume_typed('g', 'r', NULL::text, partitions => ARRAY[1]);

-- to_time: at the message of just that time; before all; behind all, that is latest.
SELECT t, array_agg(new_offset ORDER BY partition) FROM unnest(ARRAY['-infinity', '2001-01-01 00:00:00+00', '2001-01-01 00:00:01+00', '2001-01-01 00:02:30+00', '2001-01-01 00:04:00+00',
	'2001-01-01 00:04:30.000001+00', 'infinity']) WITH ORDINALITY u(t, n), queue.reset_offsets('g', 'r', to_time => t::timestamptz, dry_run => true) GROUP BY t, n ORDER BY n;
-- shift_by stops at the ends of the log, however far.
SELECT * FROM queue.reset_offsets('g', 'r', to_offset => 1, partition => 0);
SELECT shift, new_offset FROM unnest(ARRAY[-9223372036854775808, -2, -1, 0, 3, 4, 5, 9223372036854775807]) shift,
	queue.reset_offsets('g', 'r', shift_by => shift, partition => 0, dry_run => true) ORDER BY shift;
-- to_offset does not stop there: it must lie within.
SELECT off, pg_temp.error_of(format('SELECT queue.reset_offsets(''g'', ''r'', to_offset => %s, partition => 1)', off)) FROM unnest(ARRAY[-1, 0, 3, 4, 9223372036854775807]) off;
SELECT queue.reset_offsets('g', 'r', to_offset => 4, partition => 1);
-- An offset that one partition has and the other has not: nothing moves.
SELECT queue.reset_offsets('g', 'r', to_offset => 5);
SELECT partition, current_offset FROM queue.consumer_groups WHERE consumer_group = 'g' ORDER BY 1;

-- latest is behind the last committed message: not behind what was rolled back.
BEGIN;
SELECT first_offset, last_offset FROM queue.produce_batch('r', ARRAY['x', 'y'], partition => 1);
ROLLBACK;
SELECT new_offset FROM queue.reset_offsets('g', 'r', to_latest => true, partition => 1);
SELECT new_offset FROM queue.reset_offsets('g', 'r', shift_by => 100, partition => 1);
SELECT new_offset FROM queue.reset_offsets('g', 'r', to_time => 'infinity', partition => 1);
SELECT queue.reset_offsets('g', 'r', to_offset => 4, partition => 1);
SELECT queue.log_end('r', 1);

-- dry_run says the same, writes nothing, takes no lock.
SELECT count(*) AS rows FROM queue.progress \gset
BEGIN;
SELECT * FROM queue.reset_offsets('g', 'r', to_earliest => true, dry_run => true) ORDER BY 1;
SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory';
SELECT pg_current_xact_id_if_assigned() IS NULL AS no_xid;
COMMIT;
SELECT count(*) - :rows AS written FROM queue.progress;
BEGIN READ ONLY;
SELECT * FROM queue.reset_offsets('g', 'r', to_earliest => true, dry_run => true) ORDER BY 1;
SELECT pg_temp.error_of($$SELECT queue.reset_offsets('g', 'r', to_earliest => true)$$);
ROLLBACK;
SELECT pg_temp.error_of($$SELECT queue.reset_offsets('g', 'r', to_offset => 99, partition => 0, dry_run => true)$$);
-- In truth it is written once for each partition, with the lock to the end.
BEGIN;
SELECT count(*) FROM queue.reset_offsets('g', 'r', to_earliest => true);
SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory' AND objsubid < 0;
COMMIT;
SELECT count(*) - :rows AS written FROM queue.progress;

-- A partition that the group has not begun: old_offset is NULL, and it begins.
SELECT count(*) FROM queue.consume_typed('begins', 'r', NULL::text, 1, partitions => ARRAY[1]);
SELECT * FROM queue.reset_offsets('begins', 'r', shift_by => 2, dry_run => true) ORDER BY 1;
SELECT * FROM queue.reset_offsets('begins', 'r', shift_by => 2) ORDER BY 1;
SELECT * FROM queue.reset_offsets('begins', 'r', shift_by => 0) ORDER BY 1;
-- A topic that it does not read yet, which is one that has no messages.
SELECT queue.create_topic('empty', 2, 'text');
SELECT * FROM queue.reset_offsets('begins', 'empty', to_latest => true) ORDER BY 1;
SELECT target, pg_temp.error_of(format('SELECT queue.reset_offsets(''begins'', ''empty'', %s)', target))
  FROM unnest(ARRAY['to_earliest => true', 'to_offset => 0', 'to_offset => 1', 'shift_by => 5', 'to_time => now()']) target;
SELECT DISTINCT current_offset FROM queue.consumer_groups WHERE topic = 'empty';
-- Partitions added since are among all of them.
SELECT queue.alter_topic('empty', 3);
SELECT * FROM queue.reset_offsets('begins', 'empty', to_latest => true) ORDER BY 1;

-- In the caller's transaction, with business data: both or none.
CREATE TABLE repaired (value text);
BEGIN;
INSERT INTO repaired SELECT value FROM queue.fetch_typed('r', 0, 0, NULL::text);
SELECT * FROM queue.reset_offsets('g', 'r', to_latest => true, partition => 0);
ROLLBACK;
SELECT (SELECT count(*) FROM repaired), current_offset FROM queue.consumer_groups WHERE consumer_group = 'g' AND partition = 0 AND topic = 'r';
BEGIN;
INSERT INTO repaired SELECT value FROM queue.fetch_typed('r', 0, 0, NULL::text);
SELECT * FROM queue.reset_offsets('g', 'r', to_latest => true, partition => 0);
COMMIT;
SELECT (SELECT count(*) FROM repaired), current_offset FROM queue.consumer_groups WHERE consumer_group = 'g' AND partition = 0 AND topic = 'r';
DROP TABLE repaired;
-- To a savepoint; and several times, also in one statement.
BEGIN;
SELECT new_offset FROM queue.reset_offsets('g', 'r', to_offset => 2, partition => 0);
SAVEPOINT s;
SELECT old_offset, new_offset FROM queue.reset_offsets('g', 'r', to_earliest => true, partition => 0);
ROLLBACK TO s;
SELECT value FROM queue.consume_typed('g', 'r', NULL::text, 1, partitions => ARRAY[0]);
SELECT old_offset, new_offset FROM queue.reset_offsets('g', 'r', shift_by => -1, partition => 0);
COMMIT;
SELECT value FROM queue.consume_typed('g', 'r', NULL::text, 1, partitions => ARRAY[0]);
SELECT a.old_offset, a.new_offset, b.old_offset, b.new_offset
  FROM queue.reset_offsets('g', 'r', shift_by => 1, partition => 0) a
  CROSS JOIN LATERAL queue.reset_offsets('g', 'r', shift_by => -2, partition => a.partition) b;
SELECT string_agg(value, ' ') FROM queue.consume_typed('g', 'r', NULL::text, partitions => ARRAY[0]);
-- Behind what this very transaction has produced: they commit together.
BEGIN;
SELECT "offset" FROM queue.produce('r', 'own', partition => 0);
SELECT new_offset FROM queue.reset_offsets('g', 'r', to_latest => true, partition => 0);
COMMIT;
SELECT value FROM queue.consume_typed('g', 'r', NULL::text, partitions => ARRAY[0]);

-- What a reset carries over, and what not: paused stays, metadata goes.
SELECT count(*) FROM queue.consume_typed('g', 'r', NULL::text, 1, partitions => ARRAY[1], metadata => 'note');
SELECT queue.pause('g', 'r', 1);
SELECT count(*) FROM queue.reset_offsets('g', 'r', to_earliest => true, partition => 1);
SELECT current_offset, paused, metadata FROM queue.consumer_groups WHERE consumer_group = 'g' AND topic = 'r' AND partition = 1;
SELECT queue.resume('g', 'r');

-- A member that has messages in hand is fenced, also if the offset stays.
SELECT queue.create_group('m', 'r');
SELECT partition, min(m.offset), max(m.offset), min(epoch) AS epoch FROM queue.poll_typed('m', 'r', 'one', NULL::text) m WHERE partition = 0 GROUP BY 1 \gset first_
SELECT in_hand FROM queue.consumer_groups WHERE consumer_group = 'm' AND partition = 0;
SELECT count(*) FROM queue.reset_offsets('m', 'r', shift_by => 0, partition => 0, dry_run => true);
SELECT queue.commit_offset('m', 'r', 0, 1, 'one', :first_epoch);
SELECT * FROM queue.reset_offsets('m', 'r', shift_by => 0, partition => 0);
\set VERBOSITY sqlstate
SELECT queue.commit_offset('m', 'r', 0, 2, 'one', :first_epoch);
\set VERBOSITY default
SELECT partition, current_offset, in_hand FROM queue.consumer_groups WHERE consumer_group = 'm' ORDER BY 1;
-- It gets them again; the other partition's it still has.
SELECT min(m.offset), min(epoch) AS epoch, min(epoch) > :first_epoch AS later FROM queue.poll_typed('m', 'r', 'one', NULL::text) m WHERE partition = 0 \gset second_
SELECT :second_min, :'second_later';
SELECT queue.commit_offset('m', 'r', 0, 2, 'one', :second_epoch);

-- Arguments.
SELECT call, pg_temp.error_of('SELECT queue.reset_offsets(' || call || ')')
  FROM unnest(ARRAY[
    $$'g', 'r'$$,
    $$'g', 'r', to_earliest => false$$,
    $$'g', 'r', to_earliest => true, to_latest => true$$,
    $$'g', 'r', to_offset => 0, shift_by => 0$$,
    $$'g', 'r', 0, now(), true, true, 0$$,
    $$'g', 'r', to_earliest => true, partition => 2$$,
    $$'g', 'r', to_earliest => true, partition => -1$$,
    $$'nobody', 'r', to_earliest => true$$,
    $$'nobody', 'r', to_earliest => true, dry_run => true$$,
    $$'g', 'nope', to_earliest => true$$,
    $$'', 'r', to_earliest => true$$,
    $$NULL, 'r', to_earliest => true$$,
    $$'g', NULL, to_earliest => true$$,
    $$'g', 'r', to_earliest => NULL, to_latest => true$$,
    $$'g', 'r', to_latest => true, dry_run => NULL$$]) WITH ORDINALITY u(call, n)
 ORDER BY n;
SELECT count(*) FROM queue.consumer_group WHERE name = 'nobody';

-- A stored offset that lies outside the log, as after a partial restore, is mended.
INSERT INTO queue.progress (group_id, topic_id, partition, paused, action, generation, committed_offset, committed_at)
SELECT group_id, topic_id, 0, false, 'c', 1000, 77, now() FROM queue.consumer_group g, queue.topic t WHERE g.name = 'g' AND t.name = 'r';
SELECT pg_temp.error_of($$SELECT queue.consume_typed('g', 'r', NULL::text, partitions => ARRAY[0])$$);
SELECT * FROM queue.reset_offsets('g', 'r', shift_by => 0, partition => 0);
SELECT count(*) FROM queue.consume_typed('g', 'r', NULL::text, partitions => ARRAY[0]);

SELECT queue.drop_topic('r'), queue.drop_topic('empty');
SELECT queue.drop_group('g'), queue.drop_group('begins'), queue.drop_group('m');
