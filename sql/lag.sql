-- lag: offsets that the group has yet to read, and that are kept.  From the
-- group's offset, or from the log start if that is behind it, to the log end;
-- never below 0.
SELECT queue.create_topic('t', 2, value_type => 'int', segment_messages => 5);
SELECT queue.create_group('none', 't');
SELECT queue.create_group('jumps', 't', auto_offset_reset => 'earliest');
SELECT queue.create_group('ahead', 't', start => 'latest');
SELECT sum(count) FROM queue.produce_batch('t', ARRAY(SELECT generate_series(1, 23)), partition => 0);
SELECT sum(count) FROM queue.produce_batch('t', ARRAY[1, 2, 3], partition => 1);
SELECT count(*) FROM queue.consume_typed('ahead', 't', value_type => NULL::int, max_messages => 22, partitions => '{0}');
CREATE VIEW pg_temp.lags AS
SELECT consumer_group, partition, current_offset, log_end_offset, lag, missed, oldest_unread_age IS NOT NULL AS unread, time_to_drain = '0' AS drained
  FROM queue.consumer_groups ORDER BY 1, 2;
SELECT * FROM pg_temp.lags;
-- Why a partition does not go on, as docs/recipes.md asks it.
CREATE VIEW pg_temp.states AS
SELECT consumer_group, partition, current_offset, lag,
       CASE WHEN paused THEN 'paused'
            WHEN lost OR current_offset < next_offset THEN 'messages were removed unread'
            WHEN pid IS NOT NULL THEN 'a transaction consumes it'
            WHEN in_hand > 0 AND member IS NOT NULL THEN 'in hand of ' || member
            WHEN in_hand > 0 THEN 'in hand of a dead member'
            WHEN oldest_unread_age IS NOT NULL THEN 'no consumer reads it'
            WHEN stable_end < log_end_offset THEN 'a producer holds it back'
            ELSE 'only rolled back messages' END AS state
  FROM queue.consumer_groups WHERE lag > 0 ORDER BY consumer_group, partition;
SELECT * FROM pg_temp.states;
-- A group that has not begun, behind a producer; and one with a gap only.
SELECT queue.create_topic('u', 3, value_type => 'int');
SELECT (queue.produce('u', 1, partition => 1)).offset;
SELECT count(*) FROM queue.consume_typed('begun', 'u', NULL::int);
BEGIN;
SELECT (queue.produce('u', 1, partition => 1)).offset;
ROLLBACK;
BEGIN;
SELECT (queue.produce('u', 1, partition => 0)).offset, (queue.produce('u', 1, partition => 2)).offset;
PREPARE TRANSACTION 'holds';
SELECT * FROM pg_temp.states WHERE consumer_group = 'begun';
ROLLBACK PREPARED 'holds';
SELECT queue.drop_topic('u'), queue.drop_group('begun');

-- Messages go that were not read: what is left counts.
SELECT log_start, segments FROM queue.delete_messages('t', 0, 20, force => true);
SELECT * FROM pg_temp.lags;
SELECT consumer_group, lag, missed FROM queue.group_summary ORDER BY 1;
SELECT * FROM pg_temp.states;
SELECT topic, partition, consumer_group, held_offset, limit_offset, behind FROM queue.retention ORDER BY 1, 2;
-- As many can be read.
SELECT count(*) FROM queue.consume_typed('jumps', 't', value_type => NULL::int, partitions => '{0}');
SELECT * FROM pg_temp.lags;

-- A topic that was emptied: nothing is left to read, for ever.
SELECT count(*) FROM queue.consume_typed('jumps', 't', value_type => NULL::int, partitions => '{1}');
SELECT queue.reset_offsets('jumps', 't', to_earliest => true, partition => 0);
SELECT sum(count) FROM queue.produce_batch('t', ARRAY[24, 25], partition => 0);
-- The next segment is in use, and holds no message.
BEGIN;
SELECT (queue.produce('t', 0, partition => 0)).offset;
ROLLBACK;
SELECT segment AS rolled_back FROM queue.segments WHERE partition = 0 AND first_offset = 25 \gset
VACUUM :rolled_back;
SELECT log_start FROM queue.delete_messages('t', 0, 25, force => true);
SELECT * FROM pg_temp.lags WHERE partition = 0;
SELECT consumer_group, lag FROM queue.group_summary ORDER BY 1;
-- Waiting agrees: one group has an error to be told, the other nothing to do.  It
-- waits in another session, until messages arrive.
CREATE EXTENSION dblink;
CREATE FUNCTION pg_temp.waits(consumer_group text, started boolean, OUT state text) LANGUAGE plpgsql AS $$
BEGIN
    LOOP
        PERFORM pg_stat_clear_snapshot();
        IF dblink_is_busy('other') = 0 THEN
            state := 'ready';
            EXIT;
        ELSIF started AND EXISTS (SELECT FROM pg_stat_activity
                                   WHERE wait_event_type = 'Extension'
                                     AND query LIKE format('CALL queue.wait(%L%%', consumer_group)) THEN
            state := 'asleep';
            EXIT;
        END IF;
        PERFORM pg_sleep(0.01);
    END LOOP;
    IF state = 'ready' THEN
        PERFORM FROM dblink_get_result('other') AS d(status text);
        PERFORM FROM dblink_get_result('other') AS d(status text);
    END IF;
END $$;
SELECT dblink_connect('other', format('host=%s port=%s dbname=%s user=%s',
    split_part(current_setting('unix_socket_directories'), ', ', 1), current_setting('port'), current_database(), session_user));
SELECT dblink_exec('other', $$SET queue.recheck_interval = '1h'$$);
SELECT dblink_send_query('other', $$CALL queue.wait('none', 't', timeout => NULL)$$);
SELECT pg_temp.waits('none', true);
SELECT dblink_send_query('other', $$CALL queue.wait('jumps', 't', timeout => NULL)$$);
SELECT pg_temp.waits('jumps', true);
SELECT (queue.produce('t', 26, partition => 0)).offset;
SELECT pg_temp.waits('jumps', false);
SELECT dblink_disconnect('other');
SELECT * FROM pg_temp.lags WHERE partition = 0;
SELECT value, m.offset FROM queue.consume_typed('jumps', 't', value_type => NULL::int) m;
SELECT * FROM pg_temp.lags WHERE partition = 0;
DROP FUNCTION pg_temp.waits(text, boolean);
DROP EXTENSION dblink;

-- A group ahead of the log, as after a restore without messages, has no lag, and
-- takes none away from the others' sum.
SELECT sum(lag) FROM queue.consumer_groups WHERE consumer_group = 'none';
INSERT INTO queue.progress (group_id, topic_id, partition, paused, action, generation, committed_offset, committed_at)
SELECT group_id, topic_id, 0, false, 'm', 1000000, 100, now() FROM queue.consumer_group g, queue.topic t WHERE g.name = 'none' AND t.name = 't';
SELECT * FROM pg_temp.lags WHERE consumer_group = 'none';
SELECT lag FROM queue.group_summary WHERE consumer_group = 'none';
-- Ends that are not known leave the lag unknown.
SELECT string_agg(format('DROP TABLE %s', segment), ';') AS all FROM queue.segments WHERE partition = 1 \gset
SET queue.allow_ddl = on;
:all;
RESET queue.allow_ddl;
SELECT * FROM pg_temp.lags WHERE partition = 1;
SELECT queue.drop_group('none'), queue.drop_group('jumps'), queue.drop_group('ahead');
SELECT queue.drop_topic('t');
DROP VIEW pg_temp.lags, pg_temp.states;
