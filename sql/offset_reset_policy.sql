--
-- auto_offset_reset: what a group does when messages are gone that it had yet to
-- read; and what it has missed.
--
\getenv abs_srcdir PG_ABS_SRCDIR
\i :abs_srcdir/sql/include/helpers.sql
-- Remove whole segments of a partition, whatever groups have yet to read.
CREATE FUNCTION pg_temp.outrun(topic text, before bigint, partition int DEFAULT 0) RETURNS bigint LANGUAGE sql AS
	'SELECT log_start FROM queue.delete_messages($1, $3, $2 / 10 * 10, force => true)';
CREATE VIEW pg_temp.seen AS
SELECT consumer_group, topic, partition, current_offset, missed FROM queue.consumer_groups WHERE topic IN ('t', 'u') ORDER BY 1, 2, 3;
CREATE VIEW pg_temp.history AS
SELECT consumer_group, topic, partition, action, from_offset, to_offset, member, metadata FROM queue.offset_history ORDER BY consumer_group, topic, partition, generation;
CREATE VIEW pg_temp.settings AS
SELECT name, auto_offset_reset, expiry FROM queue.consumer_group WHERE name IN ('plain', 'jumper', 'once', 'new') ORDER BY name;

-- Settings.
SELECT queue.create_topic('t', 2, 'text', segment_messages => 10), queue.create_topic('u', 1, 'text', segment_messages => 10);
SELECT queue.create_group('plain', 't'), queue.create_group('jumper', 't', auto_offset_reset => 'earliest', expiry => '7 days');
SELECT * FROM pg_temp.settings;
-- NULL leaves them as they are, also when the group begins another topic.
SELECT queue.create_group('jumper', 'u', 'latest');
SELECT queue.alter_group('jumper');
SELECT * FROM pg_temp.settings;
SELECT queue.alter_group('jumper', expiry => '36 hours'), queue.alter_group('plain', 'earliest'), queue.alter_group('plain', expiry => '1 hour');
SELECT * FROM pg_temp.settings;
-- Taken away; so is what is less than a millisecond.
SELECT queue.alter_group('jumper', expiry => '0'), queue.alter_group('plain', 'none', '1 microsecond');
SELECT * FROM pg_temp.settings;
-- An existing group gets them with another topic; a new one in one statement.
SELECT queue.create_group('plain', 'u', auto_offset_reset => 'earliest'), queue.alter_group('plain', 'none'),
       queue.create_group('once', 'u'), queue.alter_group('once', expiry => '1 day'), queue.drop_group('once');
SELECT * FROM pg_temp.settings;
BEGIN;
SELECT queue.alter_group('plain', 'earliest', '1 day');
SAVEPOINT a;
SELECT queue.alter_group('plain', 'none');
ROLLBACK TO a;
SELECT * FROM pg_temp.settings;
ROLLBACK;
SELECT * FROM pg_temp.settings;
SELECT call, pg_temp.error_of('SELECT queue.' || call)
  FROM unnest(ARRAY[
    $$alter_group('nope', 'earliest')$$,
    $$alter_group('', 'earliest')$$,
    $$alter_group(NULL, 'earliest')$$,
    $$alter_group('plain', 'latest')$$,
    $$alter_group('plain', 'Earliest')$$,
    $$alter_group('plain', '')$$,
    $$alter_group('plain', expiry => '-1 second')$$,
    $$alter_group('plain', expiry => '10001 days')$$,
    $$create_group('new', 't', auto_offset_reset => 'latest')$$,
    $$create_group('new', 't', expiry => '-1 day')$$,
    $$create_group('plain', 't', auto_offset_reset => 'earliest')$$]) WITH ORDINALITY c(call, n)
 ORDER BY n;
SELECT * FROM pg_temp.settings;
CREATE ROLE regress_reader;
GRANT SELECT ON topic.t TO regress_reader;
SET ROLE regress_reader;
SELECT pg_temp.error_of($$SELECT queue.alter_group('plain', 'earliest')$$);
SELECT queue.create_group('theirs', 't', auto_offset_reset => 'earliest');
SELECT queue.alter_group('theirs', 'none');
RESET ROLE;
SELECT queue.drop_group('theirs');
DROP OWNED BY regress_reader;
DROP ROLE regress_reader;
BEGIN READ ONLY;
SELECT queue.alter_group('plain', 'none');
ROLLBACK;

-- Outrun: none is told, earliest goes on at the log start and counts.
CALL pg_temp.fill('t', 5);
SELECT m."offset" FROM queue.consume_typed('jumper', 't', NULL::text, 2, partitions => ARRAY[0], metadata => 'before') m;
SELECT pg_temp.outrun('t', 15);
-- What is to come is shown already, for both.
SELECT * FROM pg_temp.seen WHERE topic = 't';
SELECT consumer_group, missed, expired, auto_offset_reset, expiry FROM queue.group_summary WHERE consumer_group IN ('plain', 'jumper') ORDER BY 1;
SELECT consumer_group, lag, oldest_unread_age IS NOT NULL AS age FROM queue.consumer_groups WHERE topic = 't' AND partition = 0 ORDER BY 1;
\set VERBOSITY sqlstate
SELECT m."offset" FROM queue.consume_typed('plain', 't', NULL::text, 2) m;
\set VERBOSITY default
SELECT pg_temp.error_of($$SELECT FROM queue.consume_typed('plain', 't', NULL::text, 2)$$);
SELECT m."offset" FROM queue.consume_typed('jumper', 't', NULL::text, 2, metadata => 'after') m;
SELECT * FROM pg_temp.seen WHERE topic = 't';
SELECT * FROM pg_temp.history WHERE topic = 't' AND partition = 0;
-- Once told, it goes on as ever; the count is carried on by every row.
SELECT m."offset" FROM queue.consume_typed('jumper', 't', NULL::text, 2) m;
SELECT pg_temp.outrun('t', 35);
-- Two calls in one statement: one jump.
SELECT a."offset", b."offset" AS b FROM queue.consume_typed('jumper', 't', NULL::text, 1) a, queue.consume_typed('jumper', 't', NULL::text, 1) b;
SELECT queue.pause('jumper', 't', 0), queue.resume('jumper', 't', 0);
SELECT * FROM pg_temp.seen WHERE topic = 't';
SELECT action, count(*), min(missed), max(missed) FROM queue.progress p JOIN queue.consumer_group g USING (group_id) WHERE name = 'jumper' AND partition = 0 AND committed_offset > 0 GROUP BY 1 ORDER BY 1;
-- Nothing missed takes no room: the row is as long as one without missed, released and what is parked.
SELECT DISTINCT pg_column_size(p) = pg_column_size(ROW(group_id, topic_id, partition, paused, action, generation, committed_offset, committed_at, epoch, handed_to, committed_by, member, p.metadata, incarnation, delivered)) AS same
  FROM queue.progress p WHERE missed IS NULL;

-- Changed afterwards: it may jump with its next call, and the one after may not.
SELECT queue.alter_group('plain', 'earliest');
SELECT m."offset" FROM queue.consume_typed('plain', 't', NULL::text, 1) m;
SELECT queue.alter_group('plain', 'none');
CALL pg_temp.fill('t', 2);
SELECT pg_temp.outrun('t', 45);
SELECT pg_temp.error_of($$SELECT FROM queue.consume_typed('plain', 't', NULL::text, 2)$$);

-- Rolled back, wholly or to a savepoint: so is the count.
BEGIN;
SELECT m."offset" FROM queue.consume_typed('jumper', 't', NULL::text, 1) m;
SELECT * FROM pg_temp.seen WHERE consumer_group = 'jumper' AND topic = 't' AND partition = 0;
ROLLBACK;
SELECT * FROM pg_temp.seen WHERE consumer_group = 'jumper' AND topic = 't' AND partition = 0;
BEGIN;
SAVEPOINT a;
SELECT m."offset" FROM queue.consume_typed('jumper', 't', NULL::text, 1) m;
ROLLBACK TO a;
SELECT * FROM pg_temp.seen WHERE consumer_group = 'jumper' AND topic = 't' AND partition = 0;
SELECT m."offset" FROM queue.consume_typed('jumper', 't', NULL::text, 1) m;
COMMIT;
SELECT * FROM pg_temp.seen WHERE consumer_group = 'jumper' AND topic = 't' AND partition = 0;

-- Moves from outside. A reset counts what retention took, never what it leaves
-- out itself; a commit says that the messages were dealt with.
SELECT pg_temp.error_of($$SELECT queue.commit_offset('plain', 't', 0, 35)$$);
SELECT partition, old_offset, new_offset FROM queue.reset_offsets('plain', 't', to_earliest => true, partition => 0, dry_run => true);
SELECT * FROM pg_temp.seen WHERE consumer_group = 'plain' AND topic = 't' AND partition = 0;
SELECT partition, old_offset, new_offset FROM queue.reset_offsets('plain', 't', to_latest => true, partition => 0);
SELECT * FROM pg_temp.seen WHERE consumer_group = 'plain' AND topic = 't' AND partition = 0;
SELECT partition, old_offset, new_offset FROM queue.reset_offsets('plain', 't', to_earliest => true, partition => 0);
SELECT * FROM pg_temp.seen WHERE consumer_group = 'plain' AND topic = 't' AND partition = 0;
CALL pg_temp.fill('t', 1);
SELECT pg_temp.outrun('t', 55);
SELECT queue.commit_offset('plain', 't', 0, 52);
SELECT * FROM pg_temp.seen WHERE consumer_group = 'plain' AND topic = 't' AND partition = 0;
SELECT partition, m."offset" FROM queue.offsets_for_time('t', '2000-01-01', 0) m;
SELECT queue.reset_offsets('jumper', 't', shift_by => -1000, partition => 0);
SELECT * FROM pg_temp.seen WHERE consumer_group = 'jumper' AND topic = 't' AND partition = 0;

-- Members. What is in hand may be committed although it is gone: it was not missed.
SELECT queue.create_group('members', 't', auto_offset_reset => 'earliest');
SELECT m."offset", epoch AS epoch1 FROM queue.poll_typed('members', 't', 'a', NULL::text, 3) m ORDER BY 1 DESC LIMIT 1 \gset
CALL pg_temp.fill('t', 2);
SELECT pg_temp.outrun('t', 65);
SELECT queue.commit_offset('members', 't', 0, :offset - 1, 'a', :epoch1);
SELECT * FROM pg_temp.seen WHERE consumer_group = 'members' AND partition = 0;
-- Polled again: a jump, and a new epoch; the old one is over.
SELECT m."offset", value FROM queue.poll_typed('members', 't', 'a', NULL::text, 3) m;
SELECT pg_temp.error_of(format($$SELECT queue.commit_offset('members', 't', 0, %s, 'a', %s)$$, :offset, :epoch1));
SELECT epoch AS epoch2 FROM queue.progress p JOIN queue.consumer_group g USING (group_id) WHERE name = 'members' ORDER BY generation DESC LIMIT 1 \gset
SELECT * FROM pg_temp.seen WHERE consumer_group = 'members' AND partition = 0;
SELECT in_hand FROM queue.consumer_groups WHERE consumer_group = 'members' AND partition = 0;
SELECT pg_temp.error_of(format($$SELECT queue.commit_offset('members', 't', 0, 59, 'a', %s)$$, :epoch2));
SELECT queue.commit_offset('members', 't', 0, 62, 'a', :epoch2);
SELECT * FROM pg_temp.history WHERE consumer_group = 'members' AND partition = 0;
-- Another member takes over what the first had in hand, gone or not.
SELECT count(*) FROM queue.poll_typed('members', 't', 'a', NULL::text, 3);
CALL pg_temp.fill('t', 1);
SELECT pg_temp.outrun('t', 75);
SELECT queue.leave('members', 't', 'a');
SELECT min(m."offset"), count(*) FROM queue.poll_typed('members', 't', 'b', NULL::text, 3) m;
SELECT pg_temp.error_of(format($$SELECT queue.commit_offset('members', 't', 0, 63, 'a', %s)$$, :epoch2));
SELECT * FROM pg_temp.seen WHERE consumer_group = 'members' AND partition = 0;
-- A consumer takes over: the members' epoch is over, too.
SELECT queue.leave('members', 't', 'b');
CALL pg_temp.fill('t', 1);
SELECT pg_temp.outrun('t', 85);
SELECT min(m."offset"), count(*) FROM queue.consume_typed('members', 't', NULL::text, 3) m;
SELECT * FROM pg_temp.seen WHERE consumer_group = 'members' AND partition = 0;
-- Without earliest a poll is told.
SELECT pg_temp.error_of($$SELECT FROM queue.poll_typed('plain', 't', 'a', NULL::text, 3)$$);

-- Nothing to read: nothing is written, and the jump is pending. Nor is a waiter
-- told of what its call would not get.
SELECT queue.create_group('quiet', 'u', auto_offset_reset => 'earliest');
CALL pg_temp.fill('u', 1);
BEGIN;
SELECT count FROM queue.produce_batch('u', ARRAY['aborted']);
ROLLBACK;
SELECT pg_temp.outrun('u', 10);
SELECT count(*) AS rows FROM queue.progress \gset
SELECT count(*) FROM queue.consume_typed('quiet', 'u', NULL::text);
SELECT count(*) FROM queue.consume_typed('quiet', 'u', NULL::text, max_wait => '1 millisecond');
SELECT count(*) - :rows AS written FROM queue.progress;
SELECT * FROM pg_temp.seen WHERE consumer_group = 'quiet';
SELECT clock_timestamp() AS then \gset
CALL queue.wait('quiet', 'u', '200 milliseconds');
SELECT clock_timestamp() - :'then' >= '200 milliseconds' AS waited;
SELECT count(*) FROM queue.poll_typed('quiet', 'u', 'a', NULL::text);
SELECT count(*) - :rows AS written FROM queue.progress;
-- A waiter of a group that may not jump is told; one of a group that may, of what arrives.
SELECT queue.alter_group('quiet', 'none'), clock_timestamp() AS then \gset
CALL queue.wait('quiet', 'u', '1 hour');
SELECT clock_timestamp() - :'then' < '1 hour' AS waited;
SELECT queue.alter_group('quiet', 'earliest');
SELECT "offset" FROM queue.produce('u', 'arrived');
CALL queue.wait('quiet', 'u', '1 hour');
SELECT clock_timestamp() - :'then' < '1 hour' AS waited;
SELECT queue.leave('quiet', 'u', 'a');
SELECT m."offset", value FROM queue.consume_topics_typed('quiet', ARRAY['u'], NULL::text) m;
SELECT * FROM pg_temp.seen WHERE consumer_group = 'quiet';

-- A group that has not begun is at the log start, wherever that is: nothing missed.
CALL pg_temp.fill('t', 2, 1);
SELECT pg_temp.outrun('t', 15, 1);
SELECT queue.create_group('late', 't');
SELECT min(m."offset") FROM queue.consume_typed('late', 't', NULL::text, partitions => ARRAY[1]) m;
SELECT min(m."offset") FROM queue.consume_typed('later', 't', NULL::text, partitions => ARRAY[1]) m;
SELECT * FROM pg_temp.seen WHERE consumer_group LIKE 'late%';
-- A position beyond the log is not mended.
UPDATE queue.progress SET committed_offset = 1000 WHERE group_id = (SELECT group_id FROM queue.consumer_group WHERE name = 'jumper') AND partition = 0;
SELECT pg_temp.error_of($$SELECT FROM queue.consume_typed('jumper', 't', NULL::text, partitions => ARRAY[0])$$);

SELECT queue.drop_topic('t'), queue.drop_topic('u');
SELECT count(queue.drop_group(name)) FROM queue.consumer_group WHERE name IN ('plain', 'jumper', 'members', 'quiet', 'late', 'later');
