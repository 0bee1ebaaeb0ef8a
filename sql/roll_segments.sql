--
-- Segments that are closed before they are full: queue.roll_segments, segment_age,
-- queue.truncate_topic.
--
\getenv abs_srcdir PG_ABS_SRCDIR
\i :abs_srcdir/sql/include/helpers.sql
CREATE VIEW pg_temp.bounds AS
SELECT topic, partition, first_offset, end_offset, messages, sealed
  FROM queue.segments ORDER BY 1, 2, 3;

-- By hand: the segment ends where its messages end, and the empty ones begin there.
SELECT queue.create_topic('t', 2, 'text', segment_messages => 100);
CALL pg_temp.fill('t', 1);
SELECT queue.roll_segments('t');
SELECT partition, first_offset, end_offset, messages, sealed FROM pg_temp.bounds WHERE partition = 0;
SELECT queue.log_start('t', 0), queue.stable_end('t', 0), queue.log_end('t', 0);
-- Again: there is nothing to close, and in the other partition there never was.
SELECT queue.roll_segments('t'), queue.roll_segments('t', 0), queue.roll_segments('t', 1);
-- The next message lies in the next segment, as PostgreSQL's own plans see it.
SELECT partition, "offset" FROM queue.produce('t', 'next', partition => 0);
SELECT log AS log FROM queue.topic WHERE name = 't' \gset
SELECT m."offset", value, s.first_offset, s.end_offset
  FROM :log m JOIN queue.segments s ON s.segment = m.tableoid WHERE m.partition = 0 AND m."offset" BETWEEN 9 AND 100 ORDER BY 1;
SELECT "offset", value FROM queue.fetch_typed('t', 0, 8, NULL::text);
SELECT * FROM queue.verify('t');

-- It is closed for compaction, retention and archiving.
SELECT log_start, segments FROM queue.delete_messages('t', 0, 10);
SELECT queue.roll_segments('t', 0);
SELECT log_start, segments FROM queue.delete_messages('t', 0, 11);
SELECT queue.log_start('t', 0), queue.stable_end('t', 0), queue.log_end('t', 0), (SELECT count(*) FROM topic.t);
SELECT * FROM queue.fetch_typed('t', 0, 11, NULL::text);
SELECT pg_temp.error_of('SELECT * FROM queue.fetch_typed(''t'', 0, 10, NULL::text)');
SELECT pg_temp.error_of('SELECT * FROM queue.fetch_typed(''t'', 0, 12, NULL::text)');
SELECT partition, "offset" FROM queue.produce('t', 'after', partition => 0);
SELECT "offset", value FROM queue.consume_typed('g', 't', NULL::text);
SELECT * FROM queue.verify('t');

-- In a transaction: taken back with it, and with it what was appended behind.
CALL pg_temp.fill('t', 1, 1);
BEGIN;
SELECT "offset" FROM queue.produce('t', 'own', partition => 1);
SELECT queue.roll_segments('t', 1);
SELECT "offset" FROM queue.produce('t', 'behind', partition => 1);
SELECT first_offset, end_offset, messages FROM pg_temp.bounds WHERE partition = 1 LIMIT 2;
ROLLBACK;
SELECT first_offset, end_offset FROM pg_temp.bounds WHERE partition = 1 LIMIT 2;
SELECT * FROM queue.verify('t');
SELECT "offset" FROM queue.produce('t', 'again', partition => 1);
BEGIN;
SAVEPOINT s;
SELECT queue.roll_segments('t', 1);
SELECT "offset" FROM queue.produce('t', 'behind', partition => 1);
ROLLBACK TO s;
SELECT "offset" FROM queue.produce('t', 'here', partition => 1);
SELECT queue.roll_segments('t', 1);
SELECT "offset" FROM queue.produce('t', 'there', partition => 1);
COMMIT;
SELECT first_offset, end_offset, messages FROM pg_temp.bounds WHERE partition = 1 LIMIT 2;
SELECT "offset", value FROM queue.fetch_typed('t', 1, 9, NULL::text);
SELECT * FROM queue.verify('t');

-- Messages that were rolled back at the end do not belong to it: their offsets go on
-- behind it, although VACUUM has not removed them.
SELECT queue.create_topic('aborted', 1, 'text', segment_messages => 100);
CALL pg_temp.fill('aborted', 1);
BEGIN;
SELECT count FROM queue.produce_batch('aborted', ARRAY['a', 'b']);
ROLLBACK;
SELECT queue.log_end('aborted', 0);
SELECT queue.roll_segments('aborted');
SELECT queue.log_end('aborted', 0);
SELECT * FROM queue.verify('aborted');
SELECT "offset" FROM queue.produce('aborted', 'b');
SELECT "offset", value FROM queue.fetch_typed('aborted', 0, 8, NULL::text);
SELECT segment AS closed FROM queue.segments WHERE topic = 'aborted' AND first_offset = 0 \gset
VACUUM :closed;
SELECT "offset" FROM queue.produce('aborted', 'c');
SELECT "offset", value FROM queue.fetch_typed('aborted', 0, 8, NULL::text);
SELECT * FROM queue.verify('aborted');
-- Nothing but such messages: there is nothing to close.
SELECT queue.create_topic('nothing', 1, 'text', segment_messages => 100);
BEGIN;
SELECT "offset" FROM queue.produce('nothing', 'a');
ROLLBACK;
SELECT queue.roll_segments('nothing'), queue.log_end('nothing', 0);

-- A topic of the same transaction.
BEGIN;
SELECT queue.create_topic('fresh', 1, 'text');
SELECT "offset" FROM queue.produce('fresh', 'a');
SELECT queue.roll_segments('fresh');
SELECT "offset" FROM queue.produce('fresh', 'b');
SELECT "offset", value FROM queue.fetch_typed('fresh', 0, 0, NULL::text);
COMMIT;
SELECT * FROM queue.verify('fresh');

-- Widths stay: an adaptive topic's next segments are as wide as before.
SELECT end_offset - first_offset AS width FROM queue.segments WHERE topic = 'fresh' ORDER BY first_offset;

-- Not while this session reads it.
BEGIN;
DECLARE c CURSOR FOR SELECT * FROM topic.aborted;
MOVE c;
SELECT regexp_replace(pg_temp.error_of('SELECT queue.roll_segments(''aborted'')', true), 'log_\d+', 'log_<id>');
SELECT regexp_replace(pg_temp.error_of('SELECT queue.truncate_topic(''aborted'')', true), 'log_\d+', 'log_<id>');
CLOSE c;
SELECT queue.roll_segments('aborted');
COMMIT;
SELECT pg_temp.error_of('SELECT queue.truncate_topic(''aborted'') FROM topic.aborted');

-- By age, as maintenance does it.
SELECT queue.create_topic('old', 1, 'text', segment_age => '1 millisecond');
SELECT retention, retention_bytes, retention_force, cleanup_policy, tombstone_retention, segment_age FROM queue.topics WHERE topic = 'old';
CALL pg_temp.fill('old', 1);
SELECT pg_sleep(0.01);
SET client_min_messages = warning;
CREATE VIEW pg_temp.done AS
SELECT action, sum(items) AS items FROM queue.maintenance_log WHERE topic = 'old' AND action <> 'segments made' GROUP BY 1 ORDER BY 1;
CALL queue.maintain('old');
SELECT * FROM pg_temp.done;
CALL queue.maintain('old');
SELECT * FROM pg_temp.done;
SELECT first_offset, end_offset, sealed FROM pg_temp.bounds WHERE topic = 'old' LIMIT 2;
-- The default: by the limits.
SELECT queue.alter_topic('old', segment_age => '0');
SELECT segment_age FROM queue.topics WHERE topic = 'old';
CALL pg_temp.fill('old', 1);
SELECT pg_sleep(0.01);
CALL queue.maintain('old');
SELECT queue.alter_topic('old', retention => '1 hour');
CALL queue.maintain('old');
SELECT * FROM pg_temp.done;
SELECT queue.alter_topic('old', retention => '10 milliseconds');
SELECT queue.create_group('slow', 'old');
CALL queue.maintain('old');
SELECT * FROM pg_temp.done;
-- A group that has read everything holds nothing; then the log is empty.
SELECT count(*) FROM queue.consume_typed('slow', 'old', NULL::text, 100);
CALL queue.maintain('old');
SELECT * FROM pg_temp.done;
SELECT queue.log_start('old', 0), queue.log_end('old', 0);
SELECT count(*) FROM queue.consume_typed('slow', 'old', NULL::text, 100);
SELECT "offset" FROM queue.produce('old', 'on');
SELECT "offset", value FROM queue.consume_typed('slow', 'old', NULL::text);
SELECT * FROM queue.verify('old');
SELECT pg_temp.error_of('SELECT queue.alter_topic(''old'', segment_age => ''-1 hour'')');

-- Retention by size does not take the last messages, whatever empty segments measure.
SELECT queue.create_topic('sized', 1, 'text', retention_bytes => 1);
CALL pg_temp.fill('sized', 1);
SELECT queue.roll_segments('sized');
CALL queue.maintain('sized');
SELECT queue.log_start('sized', 0), queue.log_end('sized', 0);

-- Emptied: whatever groups have yet to read, and rolled back messages, too.
SELECT queue.create_topic('tests', 2, 'text', segment_messages => 10);
CALL pg_temp.fill('tests', 3);
SELECT "offset" FROM queue.produce('tests', 'x', partition => 0);
BEGIN;
SELECT "offset" FROM queue.produce('tests', 'y', partition => 1);
ROLLBACK;
SELECT queue.create_group('behind', 'tests'), queue.alter_group('behind', auto_offset_reset => 'earliest');
BEGIN;
SELECT partition, log_start, segments, bytes > 0 AS bytes FROM queue.truncate_topic('tests');
SELECT count(*) FROM topic.tests;
SELECT "offset" FROM queue.produce('tests', 'lost', partition => 0);
ROLLBACK;
SELECT count(*) FROM topic.tests;
SELECT "offset" FROM queue.produce('tests', 'x', partition => 0);
SELECT partition, log_start, segments, bytes > 0 AS bytes FROM queue.truncate_topic('tests');
SELECT partition, log_start, log_end FROM queue.partitions WHERE topic = 'tests' ORDER BY 1;
SELECT sum(pg_relation_size(inhrelid)) AS bytes FROM pg_inherits WHERE inhparent = (SELECT log FROM queue.topic WHERE name = 'tests');
-- Again: nothing is left.
SELECT partition, log_start, segments, bytes FROM queue.truncate_topic('tests');
SELECT partition, "offset" FROM queue.produce_batch('tests', ARRAY['a', 'b'], partition => 0) b, LATERAL (VALUES (b.first_offset)) v("offset");
\set VERBOSITY terse
SELECT "offset", value FROM queue.consume_typed('behind', 'tests', NULL::text, partitions => ARRAY[0]);
\set VERBOSITY default
SELECT partition, current_offset, missed FROM queue.consumer_groups WHERE consumer_group = 'behind' AND partition = 0;
SELECT * FROM queue.verify('tests');

-- Rights and arguments.
CREATE ROLE regress_reader;
GRANT SELECT, INSERT ON topic.t TO regress_reader;
SET ROLE regress_reader;
SELECT pg_temp.error_of('SELECT queue.roll_segments(''t'')');
SELECT pg_temp.error_of('SELECT queue.truncate_topic(''t'')');
RESET ROLE;
SELECT pg_temp.error_of('SELECT queue.roll_segments(NULL)');
SELECT pg_temp.error_of('SELECT queue.roll_segments(''t'', 2)');
SELECT pg_temp.error_of('SELECT queue.roll_segments(''none'')');
SELECT pg_temp.error_of('SELECT queue.truncate_topic(NULL)');
SELECT pg_temp.error_of('SELECT queue.truncate_topic(''none'')');
BEGIN READ ONLY;
SELECT queue.roll_segments('t');
ROLLBACK;
REVOKE ALL ON topic.t FROM regress_reader;
DROP ROLE regress_reader;
SELECT queue.drop_topic(topic) FROM unnest(ARRAY['aborted', 'fresh', 'nothing', 'old', 'sized', 't', 'tests']) topic;
SELECT queue.drop_group(g) FROM unnest(ARRAY['behind', 'g', 'slow']) g;
