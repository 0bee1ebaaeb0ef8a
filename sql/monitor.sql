--
-- Monitors: a member of pg_monitor sees the state of all topics, groups and
-- producers in every view, and no payload; a role without rights sees nothing.
--
\getenv abs_srcdir PG_ABS_SRCDIR
\i :abs_srcdir/sql/include/helpers.sql
CREATE ROLE regress_watch IN ROLE pg_monitor;
CREATE ROLE regress_stranger;
CREATE ROLE regress_reader;

-- Something for every view, and the word secret wherever an application may write.
SELECT queue.create_topic('seen', 2, 'text', segment_messages => 10);
CALL pg_temp.fill('seen', 2, first => 'secret');
SELECT (queue.produce('seen', 'secret', key => 'secret', headers => '{"secret": 1}', partition => 0)).offset;
SELECT (queue.produce('seen', 'x', partition => 0, producer_id => 'relay', sequence => 1)).duplicate;
SELECT count(*) FROM queue.produce_batch('seen', ARRAY['x'], partition => 0, producer_id => 'relay', first_sequence => 2, watermark => '"secret"');
SELECT count(*) FROM queue.consume_typed('billing', 'seen', NULL::text, 5, partitions => '{0}', metadata => 'secret');
SELECT count(*) > 0 AS some FROM queue.poll_typed('mailer', 'seen', 'worker-1', NULL::text, 5);
SELECT queue.set_failure_policy('failing', 'seen');
SELECT queue.park('failing', 'seen', partition, "offset", 'secret', 'P0001', '1 day')
  FROM queue.consume_typed('failing', 'seen', NULL::text, 1000, partitions => '{0}') WHERE key = 'secret';
SELECT queue.create_topic('emptied', 1, 'text', segment_messages => 10);
SELECT queue.create_group('idle', 'emptied'), queue.drop_topic('emptied');
SET client_min_messages = warning;
CALL queue.maintain();
RESET client_min_messages;
INSERT INTO queue.maintenance_log VALUES (now(), 'seen', 0, 'segments removed', 1, 8192);
INSERT INTO queue.maintenance_error SELECT topic_id, 'rest', now(), 'XX000', 'an error' FROM queue.topic WHERE name = 'seen';
BEGIN;
SELECT (queue.produce('seen', 'x', partition => 1)).offset;
SELECT count(*) FROM queue.consume_typed('billing', 'seen', NULL::text, 1, partitions => '{0}', metadata => 'secret');
PREPARE TRANSACTION 'open';

-- The rows of each view, and whether one of them has the word.
CREATE FUNCTION pg_temp.look(OUT view text, OUT rows bigint, OUT payload boolean) RETURNS SETOF record LANGUAGE plpgsql AS $$
BEGIN
	FOR view IN SELECT c.oid::regclass FROM pg_class c
				 WHERE c.relnamespace = 'queue'::regnamespace AND (c.relkind = 'v' OR c.relname = 'maintenance_log') ORDER BY relname COLLATE "C"
	LOOP
		rows := NULL;
		payload := NULL;
		IF has_table_privilege(view, 'SELECT') THEN
			EXECUTE format('SELECT count(*), coalesce(bool_or(v::text LIKE %L), false) FROM %s v', '%secret%', view) INTO rows, payload;
		END IF;
		RETURN NEXT;
	END LOOP;
END $$;
SELECT view, rows > 0 AS any, payload FROM pg_temp.look();
SET ROLE regress_watch;
SELECT view, rows > 0 AS any, payload FROM pg_temp.look();
SELECT topic, owner = session_user AS owner, problem FROM queue.topics;
SELECT topic, partition, log_start, stable_end, log_end, bytes > 0 AS bytes FROM queue.partitions ORDER BY 2;
SELECT consumer_group, topic, partition, current_offset, lag, oldest_unread_age >= '0' AS age, metadata, member FROM queue.consumer_groups
 WHERE consumer_group IN ('billing', 'idle', 'mailer') ORDER BY 1, 2, 3;
SELECT consumer_group, topics, lag FROM queue.group_summary WHERE consumer_group IN ('billing', 'idle', 'mailer') ORDER BY 1;
SELECT consumer_group, partition, action, to_offset, metadata FROM queue.offset_history WHERE action <> 'started' ORDER BY 1, 2, generation;
SELECT producer_id, last_sequence FROM queue.producers;
SELECT consumer_group, key, sqlstate, error FROM queue.parked;
SELECT parked, oldest_parked_age >= '0' AS age FROM queue.group_summary WHERE consumer_group = 'failing';
-- Offsets and times, not what is at them.
SELECT queue.log_start('seen', 0), queue.stable_end('seen', 0), queue.log_end('seen', 0),
       queue.offset_time('seen', 0, 0) IS NOT NULL AS time, (queue.offsets_for_time('seen', '2001-01-01', 0)).offset;
SELECT call, pg_temp.error_of(call) FROM unnest(ARRAY[
    $$SELECT * FROM topic.seen$$,
    $$SELECT * FROM queue.fetch_typed('seen', 0, 0, NULL::text)$$,
    $$SELECT * FROM queue.consume_typed('spy', 'seen', NULL::text)$$,
    $$SELECT * FROM queue.producer_state('seen', 'relay')$$,
    $$SELECT queue.produce('seen', 'x')$$,
    $$SELECT queue.reset_offsets('billing', 'seen', to_earliest => true)$$,
    $$SELECT * FROM queue.verify('seen')$$,
    $$SELECT * FROM queue.progress$$,
    $$SELECT * FROM queue.producer_batch$$,
    $$CALL queue.maintain('seen')$$,
    $$SELECT queue.start_maintenance()$$]) WITH ORDINALITY u(call, n) ORDER BY n;

-- A role without rights sees nothing.
RESET ROLE;
SET ROLE regress_stranger;
SELECT view, rows FROM pg_temp.look() WHERE rows > 0 OR rows IS NULL;
SELECT pg_temp.error_of($$SELECT queue.log_end('seen', 0)$$), pg_temp.error_of($$SELECT queue.offset_time('seen', 0, 0)$$),
       pg_temp.error_of($$SELECT queue.offsets_for_time('seen', '2001-01-01')$$);
-- Neither does a role that would have to SET ROLE first.
RESET ROLE;
CREATE ROLE regress_later NOINHERIT IN ROLE pg_monitor;
SET ROLE regress_later;
SELECT count(*) FROM queue.topics;
RESET ROLE;

-- A reader of the topic sees what applications stored with offsets.
GRANT SELECT ON topic.seen TO regress_reader;
SET ROLE regress_reader;
SELECT consumer_group, partition, metadata FROM queue.consumer_groups WHERE metadata IS NOT NULL;
SELECT count(metadata) FROM queue.offset_history;
SELECT consumer_group, key, sqlstate, error FROM queue.parked;
RESET ROLE;

-- A broken topic is shown with its problem.
SELECT queue.create_topic('broken', 1, 'text');
SET queue.allow_ddl = on;
DROP VIEW topic.broken;
RESET queue.allow_ddl;
SET ROLE regress_watch;
SELECT topic, problem FROM queue.topics ORDER BY 1;
RESET ROLE;

ROLLBACK PREPARED 'open';
SELECT queue.drop_topic('seen'), queue.drop_topic('broken');
SELECT queue.drop_group('billing'), queue.drop_group('mailer'), queue.drop_group('idle'), queue.drop_group('failing');
DROP OWNED BY regress_reader;
DROP ROLE regress_watch, regress_stranger, regress_reader, regress_later;
