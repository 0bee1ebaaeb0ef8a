--
-- What an error advises can be done, and helps.
--
SELECT queue.create_topic('t', 1, 'int', segment_messages => 10);

-- A topic that does not exist: made if the call would use it, else looked up.
SELECT queue.produce('nope', '1');
SELECT queue.produce_batch('nope', '{1}');
SELECT queue.consume('g', 'nope');
SELECT queue.consume_topics('g', '{t,nope}');
SELECT queue.poll('g', 'nope', 'm');
SELECT queue.create_group('g', 'nope');
SELECT queue.drop_topic('nope');
SELECT queue.alter_topic('nope', 2);
SELECT queue.verify('nope');
SELECT queue.delete_messages('nope', 0, 0);
SELECT queue.fetch('nope', 0, 0);
SELECT queue.log_end('nope', 0);
SELECT queue.reset_offsets('g', 'nope', to_earliest => true);
SELECT queue.commit_offset('g', 'nope', 0, 0);
-- Several topics where one is named.
SELECT queue.produce('{t}', '1');
SELECT queue.consume('g', '{t,u}');

-- A group that retention has outrun: named, and both ways out work.
DO $$ BEGIN
	FOR i IN 1..3 LOOP
		PERFORM queue.produce_batch('t', ARRAY(SELECT generate_series(1, 10)));
		COMMIT;
	END LOOP;
END $$;
SELECT queue.create_group('reset', 't'), queue.create_group('jump', 't');
SELECT log_start FROM queue.delete_messages('t', 0, 20, force => true);
SELECT queue.consume_typed('reset', 't', NULL::int);
SELECT new_offset FROM queue.reset_offsets('reset', 't', to_earliest => true);
SELECT count(*) FROM queue.consume_typed('reset', 't', NULL::int);
SELECT queue.poll_typed('jump', 't', 'm', NULL::int);
SELECT queue.alter_group('jump', auto_offset_reset => 'earliest');
SELECT count(*) FROM queue.consume_typed('jump', 't', NULL::int);

-- A member that commits past what it has, and past what it has committed.
SELECT queue.create_group('m', 't', 'latest');
SELECT queue.reset_offsets('m', 't', shift_by => -5);
SELECT count(*), max(epoch) AS epoch FROM queue.poll_typed('m', 't', 'a', NULL::int, 3) \gset
SELECT queue.commit_offset('m', 't', 0, 29, 'a', :epoch);
SELECT queue.commit_offset('m', 't', 0, 28, 'a', :epoch);
SELECT queue.commit_offset('m', 't', 0, 29, 'a', :epoch);

-- A sequence behind the last one that was never stored.
SELECT "offset" FROM queue.produce('t', '1', producer_id => 'p', sequence => 5);
SELECT queue.produce('t', '1', producer_id => 'p', sequence => 4);
SELECT last_sequence FROM queue.producer_state('t', 'p');

-- Messages are deleted with their segments, and those of an archive with its table.
DELETE FROM topic.t;
UPDATE topic.t SET value = 0;
SELECT archive FROM queue.archive_segment('t', 0, 'old_messages', force => true);
DELETE FROM old_messages;
UPDATE old_messages SET value = 0;
TRUNCATE old_messages;
DROP TABLE old_messages;

-- value_type has a type; the error is the parser's.
SELECT queue.consume_typed('g', 't', NULL);
SELECT queue.consume('g', 't');

SELECT queue.drop_topic('t');
SELECT queue.drop_group('reset'), queue.drop_group('jump'), queue.drop_group('m');
