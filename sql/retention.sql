--
-- Retention: queue.delete_messages, limits of topics, groups that hold, views.
--
\getenv abs_srcdir PG_ABS_SRCDIR
\i :abs_srcdir/sql/include/helpers.sql
CREATE VIEW pg_temp.kept AS
SELECT topic, partition, min(first_offset) AS first_segment, sum(messages) AS messages
  FROM queue.segments GROUP BY 1, 2 ORDER BY 1, 2;

SELECT queue.create_topic('t', 2, 'text', segment_messages => 10);
SELECT FROM pg_temp.use_all('t');
CALL pg_temp.fill('t', 10);
SELECT * FROM pg_temp.kept;
SELECT segment IS NOT NULL AS there, first_offset, messages, first_time <= last_time AS ordered, sealed, frozen
  FROM queue.segments WHERE topic = 't' AND partition = 0 ORDER BY first_offset LIMIT 12;

-- Up to the offset: whole segments go, and the one in which it lies is cut.
SELECT log_start, segments, bytes > 0 AS bytes FROM queue.delete_messages('t', 0, 35);
SELECT queue.log_start('t', 0), queue.log_end('t', 0), queue.stable_end('t', 0);
SELECT * FROM pg_temp.kept;
SELECT min("offset"), count(*) FROM topic.t;
SELECT min(m."offset"), count(*) FROM queue.fetch_typed('t', 0, 35, NULL::text, 100) m;
SELECT pg_temp.error_of('SELECT * FROM queue.fetch_typed(''t'', 0, 34, NULL::text)');
SELECT * FROM queue.verify('t');
-- Again: nothing more to go, and the call says so.
SELECT log_start, segments, bytes FROM queue.delete_messages('t', 0, 35);
-- The segment in use is cut, and removed only if it is full; nothing goes that was never
-- written.
SELECT log_start, segments FROM queue.delete_messages('t', 0, 100);
SELECT min(m."offset"), count(*) FROM queue.fetch_typed('t', 0, 100, NULL::text, 100) m;
SELECT log_start, segments FROM queue.delete_messages('t', 1, 0);
SELECT "offset" FROM queue.produce('t', 'next', partition => 0);

-- In a transaction: taken back with it.
CALL pg_temp.fill('t', 3);
BEGIN;
SELECT log_start, segments FROM queue.delete_messages('t', 0, 110);
SELECT queue.log_start('t', 0), (SELECT min("offset") FROM topic.t);
ROLLBACK;
SELECT queue.log_start('t', 0), (SELECT min("offset") FROM topic.t);

-- Groups hold what they have not read; one that has not begun is at the start.
SELECT queue.create_group('slow', 't'), queue.create_group('fast', 't', 'latest');
SELECT log_start, segments FROM queue.delete_messages('t', 0, 120);
SELECT count(*) FROM queue.consume_typed('slow', 't', NULL::text, 15, partitions => ARRAY[0]);
SELECT log_start, segments FROM queue.delete_messages('t', 0, 120);
-- (Of two groups that are equally far behind, any one is shown.)
SELECT topic, partition, log_start, limit_offset, CASE partition WHEN 0 THEN consumer_group END AS consumer_group,
       held_offset, behind, held_bytes
  FROM queue.retention ORDER BY 1, 2;
-- Forced: the group's next call is told.
SELECT log_start, segments FROM queue.delete_messages('t', 0, 120, force => true);
SELECT pg_temp.error_of('SELECT * FROM queue.consume_typed(''slow'', ''t'', NULL::text, partitions => ARRAY[0])');
SELECT partition, old_offset, new_offset FROM queue.reset_offsets('slow', 't', to_earliest => true, partition => 0);
SELECT min(m."offset"), count(*) FROM queue.consume_typed('slow', 't', NULL::text, partitions => ARRAY[0]) m;
SELECT queue.drop_group('slow'), queue.drop_group('fast');

-- By size: what is newer alone is enough.
SELECT queue.create_topic('sized', 1, 'text', segment_messages => 10, retention_bytes => 50000);
CALL pg_temp.fill('sized', 10);
SELECT limit_offset > 0 AS some, held_bytes, consumer_group FROM queue.retention WHERE topic = 'sized';
-- what is kept is as much, and without its oldest segment less
SELECT sum(bytes) >= 50000 AS enough, sum(bytes) FILTER (WHERE first_offset > limit_offset) < 50000 AS no_more
  FROM queue.segments JOIN queue.retention USING (topic) WHERE topic = 'sized' AND first_offset >= limit_offset AND messages > 0;
-- what it does is told; how much depends on the segments that are kept ahead
SET client_min_messages = warning;
CALL queue.maintain('sized');
SELECT min(first_offset) > 0 AS gone FROM queue.segments WHERE topic = 'sized' AND messages > 0;
CALL queue.maintain('sized');
-- By time.
SELECT queue.alter_topic('sized', retention_bytes => 0, retention => '1 hour');
CALL queue.maintain('sized');
SELECT queue.alter_topic('sized', retention => '1 microsecond');
SELECT pg_temp.error_of('SELECT queue.alter_topic(''sized'', retention => ''-1 hour'')');
SELECT pg_temp.error_of('SELECT queue.alter_topic(''sized'', retention_bytes => -1)');
SELECT queue.alter_topic('sized', retention => '1 millisecond');
CALL pg_temp.fill('sized', 3);
SELECT pg_sleep(0.01);
\set VERBOSITY terse
CALL queue.maintain('sized');
SELECT count(*) AS messages, queue.log_start('sized', 0) = queue.log_end('sized', 0) AS emptied FROM topic.sized;

-- Held for a group unless forced.
SELECT queue.create_group('held', 'sized');
CALL pg_temp.fill('sized', 3);
SELECT pg_sleep(0.01);
CALL queue.maintain('sized');
SELECT behind > 0 AS behind, held_bytes > 0 AS held, consumer_group FROM queue.retention WHERE topic = 'sized';
SELECT queue.alter_topic('sized', retention_force => true);
CALL queue.maintain('sized');
SELECT behind, held_bytes, consumer_group FROM queue.retention WHERE topic = 'sized';
SELECT left(pg_temp.error_of('SELECT * FROM queue.consume_typed(''held'', ''sized'', NULL::text)'), 5);
SELECT DISTINCT action FROM queue.maintenance_log WHERE action <> 'segments made' AND topic IN (SELECT topic FROM queue.topics) ORDER BY 1;
-- It is forgotten after a while, by the maintenance of any topic: also what was done
-- to a topic that was dropped.
SELECT queue.create_topic('gone', value_type => 'text', segment_messages => 10, retention => '1 millisecond');
CALL pg_temp.fill('gone', 2);
CALL queue.maintain('gone');
SELECT queue.drop_topic('gone');
UPDATE queue.maintenance_log SET done_at = done_at - interval '8 days';
SELECT count(*) > 0 AS kept FROM queue.maintenance_log WHERE topic = 'gone';
CALL queue.maintain('sized');
SELECT count(*) FROM queue.maintenance_log WHERE done_at < now() - interval '1 day';

-- History of offsets: all but the newest row, once it is old enough.
SELECT queue.create_group('reader', 't');
DO $$ BEGIN FOR i IN 1..3 LOOP PERFORM queue.consume_typed('reader', 't', NULL::text, 1, partitions => ARRAY[0]); COMMIT; END LOOP; END $$;
SELECT count(*) FROM queue.offset_history WHERE consumer_group = 'reader' AND partition = 0;
CALL queue.maintain('t');
SELECT count(*) FROM queue.offset_history WHERE consumer_group = 'reader' AND partition = 0;
SET queue.history_retention = 0;
CALL queue.maintain('t');
SELECT count(*) FROM queue.offset_history WHERE consumer_group = 'reader' AND partition = 0;
SELECT partition, current_offset - queue.log_start('t', 0) AS read FROM queue.consumer_groups WHERE consumer_group = 'reader' AND partition = 0;
RESET queue.history_retention;

-- Nothing is appended to a removed part of the log: the segment in use has no committed
-- record, and loses its blocks.
SELECT queue.create_topic('edge', 1, 'text', segment_messages => 10);
CALL pg_temp.fill('edge', 1);
BEGIN;
SELECT count FROM queue.produce_batch('edge', ARRAY['aborted']);
ROLLBACK;
SELECT log_start, segments FROM queue.delete_messages('edge', 0, 10);
SELECT segment AS in_use FROM queue.segments WHERE topic = 'edge' AND first_offset = 10 \gset
VACUUM (TRUNCATE) :in_use;
SELECT "offset" FROM queue.produce('edge', 'after');
SELECT queue.log_start('edge', 0), queue.log_end('edge', 0);
SELECT value FROM queue.consume_typed('edge', 'edge', NULL::text);
-- Emptied tables may go in any order.
CALL pg_temp.fill('edge', 5);
SELECT log_start, segments FROM queue.delete_messages('edge', 0, 40, force => true);
SET queue.allow_ddl = on;
DO $$ DECLARE t regclass; BEGIN
	SELECT c.oid INTO t FROM pg_inherits i JOIN pg_class c ON c.oid = inhrelid
	 WHERE inhparent = (SELECT log FROM queue.topic WHERE name = 'edge') ORDER BY relname OFFSET 1 LIMIT 1;
	EXECUTE format('DROP TABLE %s', t);
END $$;
RESET queue.allow_ddl;
SELECT queue.log_start('edge', 0), min("offset") FROM topic.edge;
CALL queue.maintain('edge');
SELECT count(*) FROM pg_inherits WHERE inhparent = (SELECT log FROM queue.topic WHERE name = 'edge')
   AND pg_relation_size(inhrelid) = 0 AND inhrelid NOT IN (SELECT segment FROM queue.segments);
-- A segment on which an object depends stays, and no other one.
CALL pg_temp.fill('edge', 3);
SELECT segment AS used FROM queue.segments WHERE topic = 'edge' ORDER BY first_offset LIMIT 1 \gset
CREATE VIEW pg_temp.dependent AS SELECT * FROM :used;
SELECT queue.alter_topic('edge', retention => '1 millisecond', retention_force => true);
SELECT pg_sleep(0.01);
SET client_min_messages = error;
CALL queue.maintain('edge');
SET client_min_messages = warning;
SELECT queue.log_start('edge', 0) = queue.log_end('edge', 0) AS emptied;
DROP VIEW pg_temp.dependent;
-- A topic that has got another owner: its segments go.
CREATE ROLE regress_heir;
SELECT log AS storage FROM queue.topic WHERE name = 'edge' \gset
SET queue.allow_ddl = on;
ALTER TABLE :storage OWNER TO regress_heir;
ALTER VIEW topic.edge OWNER TO regress_heir;
DO $$ DECLARE t regclass; BEGIN
	FOR t IN SELECT inhrelid FROM pg_inherits WHERE inhparent = (SELECT log FROM queue.topic WHERE name = 'edge') LOOP
		EXECUTE format('ALTER TABLE %s OWNER TO regress_heir', t);
	END LOOP;
END $$;
RESET queue.allow_ddl;
CALL pg_temp.fill('edge', 3);
SET ROLE regress_heir;
SELECT log_start > 0 AS gone, segments > 0 AS some FROM queue.delete_messages('edge', 0, (SELECT max("offset") FROM topic.edge), force => true);
RESET ROLE;
SELECT queue.drop_topic('edge');
DROP ROLE regress_heir;

-- A relation that the session itself has open is in use, too: it is cut, but not removed from
-- under a cursor.
SELECT queue.create_topic('open', 1, 'text', segment_messages => 10);
CALL pg_temp.fill('open', 4);
BEGIN;
DECLARE c CURSOR FOR SELECT "offset" FROM topic.open;
SELECT log_start, segments FROM queue.delete_messages('open', 0, 30);
FETCH 1 FROM c;
MOVE 8 FROM c;
FETCH 2 FROM c;
CLOSE c;
SELECT log_start, segments FROM queue.delete_messages('open', 0, 31);
COMMIT;
CALL queue.maintain('open');
SELECT action, items FROM queue.maintenance_log WHERE topic = 'open' AND action = 'segments dropped';
SELECT queue.drop_topic('open');

-- Whether a group reads a topic is found at the end of its history: rows that were deleted,
-- and that an old snapshot keeps, are not walked over.
SELECT queue.create_topic('walked', 1, 'text');
SELECT count(queue.produce('walked', 'message')) FROM generate_series(1, 2);
SELECT queue.create_group('walked', 'walked');
SELECT count(queue.commit_offset('walked', 'walked', 0, g % 2 + 1)) FROM generate_series(1, 1000) g;
BEGIN;
DELETE FROM queue.progress p USING queue.consumer_group g
 WHERE g.group_id = p.group_id AND g.name = 'walked' AND generation <= 1000;
SELECT pg_stat_get_xact_tuples_returned('queue.progress_newest'::regclass) AS before \gset
SELECT consumer_group, held_offset FROM queue.retention WHERE topic = 'walked';
SELECT pg_stat_get_xact_tuples_returned('queue.progress_newest'::regclass) - :before < 500 AS few;
ROLLBACK;
SELECT queue.drop_topic('walked'), queue.drop_group('walked');

-- Errors and rights.
SELECT call, pg_temp.error_of('SELECT * FROM queue.delete_messages(' || call || ')')
  FROM unnest(ARRAY[
    $$'nope', 0, 1$$,
    $$'t', 2, 1$$,
    $$'t', 0, -1$$,
    $$'t', 0, 1000$$,
    $$NULL, 0, 1$$,
    $$'t', NULL, 1$$,
    $$'t', 0, NULL$$]) WITH ORDINALITY u(call, n)
 ORDER BY n;
BEGIN;
CALL queue.maintain();
ROLLBACK;
CALL queue.maintain('nope');
CREATE ROLE regress_keeper;
GRANT SELECT, INSERT ON topic.t TO regress_keeper;
SET ROLE regress_keeper;
SELECT pg_temp.error_of('SELECT * FROM queue.delete_messages(''t'', 0, 1)');
CALL queue.maintain('t');
CALL queue.maintain();
SELECT DISTINCT topic FROM queue.retention;
RESET ROLE;
DROP OWNED BY regress_keeper;
DROP ROLE regress_keeper;

SELECT queue.drop_group(name) FROM queue.consumer_group WHERE name IN ('held', 'reader', 'edge');
SELECT queue.drop_topic('t'), queue.drop_topic('sized');
SELECT count(*) FROM queue.checkpoint;
