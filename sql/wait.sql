-- queue.wait() and what else waits: what a single session can see of it.
-- What wakes it is in test/isolation/specs/wait_*.spec and test/t/013_wait.pl.

SET client_min_messages = warning;
SET statement_timeout = '10min';

-- nothing below returns because it looked again
SET queue.recheck_interval = '1h';

SELECT queue.create_topic('orders', partitions => 2);
SELECT queue.create_topic('words', value_type => 'text');
SELECT queue.create_group('billing', 'orders');

-- Nothing is there, and the time is over.
CALL queue.wait('billing', 'orders', '0');
CALL queue.wait('billing', 'orders', '10 ms');
CALL queue.wait_topics('billing', ARRAY['words', 'orders'], timeout => '10 ms');
SELECT count(*) FROM queue.consume('billing', 'orders', max_wait => '10 ms');
SELECT count(*) FROM queue.consume('billing', 'orders', max_wait => '0');

-- Something is there.
SELECT "offset" FROM queue.produce('orders', '1', partition => 1);
CALL queue.wait('billing', 'orders', timeout => NULL);
CALL queue.wait_topics('billing', ARRAY['words', 'orders'], timeout => NULL);
SELECT "offset" FROM queue.consume('billing', 'orders', max_wait => '1 h');
CALL queue.wait('billing', 'orders', '0');

-- A group that does not exist yet: everything is new to it.  It is not made.
CALL queue.wait('new', 'orders', timeout => NULL);
CALL queue.wait('new', 'words', '0');
SELECT count(*) FROM queue.consumer_group WHERE name = 'new';

-- A member that is unknown should poll.
CALL queue.wait('billing', 'orders', member => 'worker', timeout => NULL);
SELECT count(*) FROM queue.poll('billing', 'orders', 'worker', max_wait => '1 h');
CALL queue.wait('billing', 'orders', '10 ms', member => 'worker');
SELECT count(*) FROM queue.poll('billing', 'orders', 'worker', max_wait => '10 ms');
SELECT count(*) FROM queue.poll('billing', 'orders', 'worker', 0, max_wait => '1 h');

-- What is paused is not waited for, and what is in a member's hand neither.
SELECT "offset" FROM queue.produce('orders', '2', partition => 1);
CALL queue.wait('billing', 'orders', member => 'worker', timeout => NULL);
SELECT "offset", value FROM queue.poll('billing', 'orders', 'worker', max_wait => '1 h');
CALL queue.wait('billing', 'orders', '0');
CALL queue.wait('billing', 'orders', member => 'worker', timeout => NULL);
SELECT queue.leave('billing', 'orders', 'worker');
CALL queue.wait('billing', 'orders', timeout => NULL);
SELECT queue.pause('billing', 'orders', 1);
CALL queue.wait('billing', 'orders', '0');
SELECT queue.resume('billing', 'orders', 1);
CALL queue.wait('billing', 'orders', timeout => NULL);
SELECT "offset", value FROM queue.consume('billing', 'orders');

-- No session sleeps over an offset that lies outside the log: consume tells.
SELECT "offset" FROM queue.produce('words', 'first');
SELECT queue.create_group('lost', 'words');
INSERT INTO queue.progress (group_id, topic_id, partition, paused, action, generation, committed_offset, committed_at)
	SELECT group_id, topic_id, 0, false, 'c', 1000, 77, now()
	  FROM queue.consumer_group g, queue.topic t
	 WHERE g.name = 'lost' AND t.name = 'words';
CALL queue.wait('lost', 'words', timeout => NULL);
\set VERBOSITY sqlstate
SELECT * FROM queue.consume_typed('lost', 'words', NULL::text, max_wait => '1 h');

-- Arguments.
CALL queue.wait(NULL, 'orders');
CALL queue.wait('billing', NULL);
CALL queue.wait_topics('billing', NULL);
CALL queue.wait_topics('billing', ARRAY['orders', NULL]);
CALL queue.wait_topics('billing', ARRAY[]::text[]);
CALL queue.wait_topics('billing', ARRAY['orders', 'orders']);
CALL queue.wait('billing', 'no such topic');
CALL queue.wait_topics('billing', ARRAY['orders', 'no such topic']);
CALL queue.wait('', 'orders');
CALL queue.wait('billing', 'orders', '-1 s');
CALL queue.wait('billing', 'orders', '10001 days');
CALL queue.wait('billing', 'orders', member => '');
SELECT * FROM queue.consume('billing', 'orders', max_wait => '-1 s');
SELECT * FROM queue.poll('billing', 'orders', 'worker', max_wait => '-1 s');

-- Rights: to read the topic, and to use the group.
CREATE ROLE regress_waiter;
SET ROLE regress_waiter;
CALL queue.wait('mine', 'orders', '0');
RESET ROLE;
GRANT SELECT ON topic.orders TO regress_waiter;
SET ROLE regress_waiter;
CALL queue.wait('mine', 'orders', '0');
CALL queue.wait('billing', 'orders', '0');
RESET ROLE;
REVOKE ALL ON topic.orders FROM regress_waiter;
DROP ROLE regress_waiter;
\set VERBOSITY default

-- It commits: nowhere inside another transaction.
BEGIN;
CALL queue.wait('billing', 'orders', '0');
ROLLBACK;
\set VERBOSITY sqlstate
SELECT 1\; CALL queue.wait('billing', 'orders', '0');
CREATE FUNCTION waits() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	CALL queue.wait('billing', 'orders', '0');
END $$;
SELECT waits();
DO $$
BEGIN
	PERFORM waits();
END $$;
DO $$
BEGIN
	CALL queue.wait('billing', 'orders', '0');
EXCEPTION WHEN division_by_zero THEN
	RAISE 'not here';
END $$;
CREATE PROCEDURE set_waits() LANGUAGE plpgsql SET work_mem = '1MB' AS $$
BEGIN
	CALL queue.wait('billing', 'orders', '0');
END $$;
CALL set_waits();
\set VERBOSITY default

-- In a procedure or a DO block it may, and commits what was before.
CREATE TABLE done (i int);
CREATE PROCEDURE may_wait(i int) LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO done VALUES (i);
	CALL queue.wait('billing', 'orders', '0');
	INSERT INTO done VALUES (i + 1);
	ROLLBACK;
END $$;
CALL may_wait(10);
DO $$
BEGIN
	CALL may_wait(20);
	INSERT INTO done VALUES (30);
	CALL queue.wait_topics('billing', ARRAY['words', 'orders'], '0');
	ROLLBACK;
END $$;
SELECT i FROM done ORDER BY i;

-- What cannot be committed is told before any waiting.
CREATE TABLE deferred (i int UNIQUE DEFERRABLE INITIALLY DEFERRED);
\set VERBOSITY sqlstate
DO $$
BEGIN
	INSERT INTO deferred VALUES (1), (1);
	CALL queue.wait('billing', 'orders', timeout => NULL);
END $$;
\set VERBOSITY default

-- The loop of a consumer: wait, read what is there, wait again.
DO $$
DECLARE
	m queue.message;
	n int := 0;
BEGIN
	PERFORM queue.produce('orders', i::text, partition => i % 2)
	   FROM generate_series(1, 6) i;
	LOOP
		CALL queue.wait('billing', 'orders', '1 h');
		FOR m IN SELECT * FROM queue.consume('billing', 'orders', 2)
		LOOP
			n := n + 1;
		END LOOP;
		IF n = 6 THEN
			RETURN;
		END IF;
		COMMIT;
	END LOOP;
END $$;
CALL queue.wait('billing', 'orders', '0');
SELECT consumer_group, lag FROM queue.consumer_groups
 WHERE consumer_group = 'billing' ORDER BY partition;

-- A loop over a query goes on, and so does a cursor WITH HOLD.
DO $$
DECLARE
	i int;
	total int := 0;
BEGIN
	FOR i IN SELECT g FROM generate_series(1, 100) g
	LOOP
		CALL queue.wait('billing', 'orders', '0');
		total := total + i;
	END LOOP;
	RAISE WARNING 'total %', total;
END $$;
DECLARE numbers CURSOR WITH HOLD FOR SELECT g FROM generate_series(1, 3) g;
FETCH numbers;
CALL queue.wait('billing', 'orders', '0');
FETCH numbers;
CLOSE numbers;

-- A setting made for the transaction ends with it.
DO $$
BEGIN
	SET LOCAL queue.recheck_interval = '2h';
	CALL queue.wait('billing', 'orders', '0');
	RAISE WARNING '%', current_setting('queue.recheck_interval');
END $$;
\set VERBOSITY sqlstate
SET queue.recheck_interval = '1ms';
\set VERBOSITY default

-- What the transaction itself has produced is for its own next call.
BEGIN;
SELECT "offset" FROM queue.produce('words', 'a');
SELECT value FROM queue.consume_typed('readers', 'words', NULL::text, max_wait => '1 h');
ROLLBACK;

-- NOTIFY is a property of the topic.
SELECT topic_id > 0 AS made, notify FROM queue.topic WHERE name = 'orders';
SELECT queue.create_topic('loud', notify => true);
SELECT notify FROM queue.topic WHERE name = 'loud';
SELECT queue.alter_topic('loud', notify => false);
SELECT notify FROM queue.topic WHERE name = 'loud';
SELECT queue.alter_topic('loud', partitions => 2);
SELECT notify FROM queue.topic WHERE name = 'loud';
SELECT queue.alter_topic('loud', notify => true);
\set VERBOSITY sqlstate
BEGIN;
SELECT "offset" FROM queue.produce('loud', '1');
PREPARE TRANSACTION 'loud';
\set VERBOSITY default

-- Of a group that is behind the log start the next call raises an error; but not
-- while another transaction has the partition, say to move the group. So it is not
-- ready until that ends: else a consumer in a loop would never sleep.
SELECT queue.create_topic('behind', 1, 'text', segment_messages => 2);
SELECT queue.create_group('outrun', 'behind', 'earliest');
SELECT count(*) FROM queue.produce_batch('behind', ARRAY['0', '1', '2']);
SELECT log_start FROM queue.delete_messages('behind', 0, 2, force => true);
CALL queue.wait('outrun', 'behind', '1 h');
BEGIN;
SELECT old_offset, new_offset FROM queue.reset_offsets('outrun', 'behind', to_earliest => true);
PREPARE TRANSACTION 'moving';
SET statement_timeout = '300ms';
CALL queue.wait('outrun', 'behind', '1 h');
RESET statement_timeout;
ROLLBACK PREPARED 'moving';
SELECT queue.drop_topic('behind');
SELECT queue.drop_group('outrun');

DROP TABLE done, deferred;
DROP PROCEDURE may_wait, set_waits;
DROP FUNCTION waits;
SELECT queue.drop_topic(t) FROM unnest(ARRAY['orders', 'words', 'loud']) t;
SELECT queue.drop_group(g) FROM unnest(ARRAY['billing', 'lost']) g;
