--
-- Messages on which a consumer fails: queue.park, failure policies, dead letters, delays.
--
\getenv abs_srcdir PG_ABS_SRCDIR
\i :abs_srcdir/sql/include/helpers.sql
SET queue.autocommit_warning = off;
-- Consume, fail on the values given, and say what was done.
CREATE FUNCTION pg_temp.work(fails text[], max_messages int DEFAULT 100, delay interval DEFAULT '0 s') RETURNS SETOF text
LANGUAGE plpgsql AS $$
DECLARE
    m record;
    skip bigint[] := '{}';
    behind bigint[];
BEGIN
    FOR m IN SELECT * FROM queue.consume_typed('g', 't', NULL::text, max_messages) LOOP
        IF m."offset" = ANY (skip) THEN
            RETURN NEXT format('%s left', m.value);
        ELSIF m.value = ANY (fails) THEN
            behind := queue.park('g', 't', m.partition, m."offset", m.value || ' is bad', 'P0001', delay);
            RETURN NEXT format('%s failed (%s), behind %s', m.value, m.attempt, behind);
            skip := skip || behind;
        ELSE
            RETURN NEXT format('%s done (%s)', m.value, m.attempt);
        END IF;
    END LOOP;
END $$;
CREATE VIEW pg_temp.parked AS
    SELECT "offset", key, attempts, CASE WHEN due_at IS NULL THEN 'behind' WHEN due_at = 'infinity' THEN 'never' WHEN due_at <= now() THEN 'due' ELSE 'later' END AS due,
           hash > 1 AS holds_key, sqlstate, error, first_failed_at IS NOT NULL AS failed, delayed
      FROM queue.parked_message ORDER BY "offset";
CREATE VIEW pg_temp.state AS
    SELECT committed_offset, action, parked, delayed, parked_end, parked_due <= now() AS due, parked_keys IS NOT NULL AS keys
      FROM queue.progress ORDER BY generation DESC LIMIT 1;

SELECT queue.create_topic('t', 1, 'text');
SELECT queue.create_topic('dead', 1, 'text');
SELECT queue.create_group('g', 't');
SELECT queue.set_failure_policy('g', 't', max_attempts => 3, dead_letter => 'dead');
SELECT count(queue.produce('t', coalesce(k, 'n') || i, k)) FROM generate_series(1, 2) i, unnest(ARRAY['a', 'b', NULL]) k;
SELECT count(queue.produce('t', 'x', headers => '{"n": 1}')) FROM generate_series(1, 2);

-- One key waits, the others go on.
SELECT * FROM pg_temp.work('{a1}', delay => '1 h');
SELECT * FROM pg_temp.parked;
SELECT * FROM pg_temp.state;
-- What comes later of the key is parked on sight.
SELECT count(queue.produce('t', k || i, k)) FROM generate_series(3, 4) i, unnest(ARRAY['a', 'b']) k;
SELECT * FROM pg_temp.work('{}');
SELECT * FROM pg_temp.parked;
-- A rollback gives everything back.
SELECT queue.retry_parked('g', 't', 0, 0);
BEGIN;
SELECT * FROM pg_temp.work('{}');
SELECT * FROM pg_temp.parked;
ROLLBACK;
SELECT * FROM pg_temp.state;
SELECT * FROM pg_temp.parked;
-- So does a savepoint.
BEGIN;
SAVEPOINT s;
SELECT * FROM pg_temp.work('{a1}');
ROLLBACK TO s;
SELECT * FROM pg_temp.parked;
SELECT * FROM pg_temp.work('{a1}');
COMMIT;
SELECT * FROM pg_temp.parked;
-- In parts, and in the order of the key.
SELECT * FROM pg_temp.work('{}', 2);
SELECT * FROM pg_temp.parked;
SELECT * FROM pg_temp.work('{}', 1);
SELECT * FROM pg_temp.work('{}');
SELECT * FROM pg_temp.state;
SELECT * FROM pg_temp.work('{}');

-- What became due when those before it were returned waits again when one of them fails.
SELECT count(queue.produce('t', 'a' || i, 'a')) FROM generate_series(5, 8) i;
SELECT * FROM pg_temp.work('{a5}', 100, '0 s');
SELECT * FROM pg_temp.work('{a5}', 2, '1 h');
SELECT * FROM pg_temp.parked;
SELECT * FROM pg_temp.work('{}');
-- So does one that has failed before an earlier one.
SELECT queue.retry_parked('g', 't', 0, (SELECT min("offset") FROM pg_temp.parked));
BEGIN;
SELECT queue.park('g', 't', partition, "offset", delay => '0 s') FROM (SELECT * FROM queue.consume_typed('g', 't', NULL::text) ORDER BY "offset" DESC LIMIT 2 OFFSET 2) m;
COMMIT;
SELECT "offset" - min("offset") OVER () AS "offset", attempts, due FROM pg_temp.parked;
SELECT * FROM pg_temp.work('{}');
SELECT * FROM pg_temp.state;

-- A dead letter; the key goes on in the same call.
SELECT count(queue.produce('t', v, 'a', '{"mine": true}')) FROM unnest(ARRAY['bad', 'good']) v;
SELECT * FROM pg_temp.work('{bad}');
SELECT * FROM pg_temp.work('{bad}');
SELECT count(*) FROM topic.dead;
SELECT * FROM pg_temp.work('{bad}');
SELECT partition, key, value, headers - '{dlq.first_failed_at,dlq.incarnation}'::text[] AS headers, headers ? 'dlq.first_failed_at' AS since FROM topic.dead;
SELECT * FROM pg_temp.state;

-- Without a topic for them: it stays, and holds its key, until an operator acts.
SELECT queue.set_failure_policy('g', 't', max_attempts => 1);
SELECT count(queue.produce('t', v, 'a')) FROM unnest(ARRAY['bad', 'behind', 'next']) v;
SELECT * FROM pg_temp.work('{bad}');
SELECT * FROM pg_temp.parked;
SELECT * FROM pg_temp.work('{}');
SELECT queue.skip_parked('g', 't', 0, 0), queue.retry_parked('g', 't', 0, 0);
SELECT queue.skip_parked('g', 't', 0, (SELECT max("offset") - 2 FROM topic.t));
SELECT * FROM pg_temp.work('{behind}');
SELECT * FROM pg_temp.parked;
SELECT queue.retry_parked('g', 't', 0, (SELECT max("offset") - 1 FROM topic.t));
SELECT * FROM pg_temp.work('{}');
SELECT * FROM pg_temp.state;

-- Nor can a topic that is gone take them.
SELECT queue.create_topic('other', 1, 'text');
SELECT queue.set_failure_policy('g', 't', max_attempts => 1, dead_letter => 'other');
SELECT queue.drop_topic('other');
SELECT count(queue.produce('t', 'bad', 'a'));
SELECT * FROM pg_temp.work('{bad}');
SELECT * FROM pg_temp.parked;
SELECT queue.skip_parked('g', 't', 0, (SELECT max("offset") FROM topic.t));

-- hold: nothing, or the partition.
SELECT queue.set_failure_policy('g', 't', hold => 'none');
SELECT count(queue.produce('t', v, 'a')) FROM unnest(ARRAY['bad', 'good']) v;
SELECT * FROM pg_temp.work('{bad}');
SELECT * FROM pg_temp.parked;
SELECT count(queue.produce('t', 'a', 'a'));
SELECT * FROM pg_temp.work('{}');
SELECT queue.set_failure_policy('g', 't', hold => 'partition');
SELECT count(queue.produce('t', k || ' ' || i, k)) FROM generate_series(1, 2) i, unnest(ARRAY['a', 'b']) k;
SELECT * FROM pg_temp.work('{a 1}');
SELECT count(queue.produce('t', 'late', 'c'));
SELECT * FROM pg_temp.parked;
SELECT * FROM pg_temp.work('{}', 2);
-- What was parked keeps to what held then.
SELECT queue.set_failure_policy('g', 't', hold => 'none');
SELECT * FROM pg_temp.work('{}', 1);
SELECT * FROM pg_temp.work('{}');
SELECT * FROM pg_temp.work('{}');
SELECT * FROM pg_temp.state;

-- What is not an attempt; a failure with a pause of its own.
SELECT queue.set_failure_policy('g', 't', max_attempts => 1);
SELECT count(queue.produce('t', 'x', 'a'));
BEGIN;
SELECT queue.park('g', 't', partition, "offset", counts => false, delay => '1 h') FROM queue.consume_typed('g', 't', NULL::text);
COMMIT;
SELECT * FROM pg_temp.parked;
-- reset_offsets forgets it, or reads it again.
SELECT old_offset < new_offset AS forward, forgotten FROM queue.reset_offsets('g', 't', to_latest => true, dry_run => true);
SELECT forgotten FROM queue.reset_offsets('g', 't', shift_by => -1);
SELECT * FROM pg_temp.state;
SELECT * FROM pg_temp.work('{}');

-- Delayed messages hold nothing, and come when it is time.
SELECT count(queue.produce('t', v, 'a', deliver_at => now() + d)) FROM (VALUES ('soon', interval '0 s'), ('late', '1 h'), ('later', '2 h')) x (v, d);
SELECT count(queue.produce('t', 'now', 'a'));
SELECT * FROM pg_temp.work('{}');
SELECT * FROM pg_temp.parked;
SELECT * FROM pg_temp.state;
SELECT queue.retry_parked('g', 't', 0, (SELECT max("offset") FROM topic.t WHERE value = 'late'));
SELECT * FROM pg_temp.work('{late}');
SELECT * FROM pg_temp.parked;
-- A delayed message waits behind those of its key that are parked and lie before it; it does not wait behind later ones.
SELECT forgotten FROM queue.reset_offsets('g', 't', to_latest => true);
SELECT count(queue.produce('t', v, 'a', deliver_at => now() + d)) FROM (VALUES ('early', interval '1 h'), ('bad', NULL), ('late', '1 h')) x (v, d);
SELECT * FROM pg_temp.work('{bad}', delay => '1 h');
SELECT queue.log_end('t', 0) AS e \gset
UPDATE queue.parked_message SET due_at = '2020-01-01' WHERE delayed;
UPDATE queue.progress SET parked_due = '2020-01-01';
SELECT * FROM pg_temp.work('{}');
SELECT * FROM pg_temp.parked;
SELECT queue.skip_parked('g', 't', 0, :e - 2);
SELECT * FROM pg_temp.work('{}');
SELECT forgotten FROM queue.reset_offsets('g', 't', to_latest => true);

-- Errors.
SELECT pg_temp.error_of($$SELECT queue.park('g', 't', 0, 0)$$);
SELECT pg_temp.error_of($$SELECT queue.park('nobody', 't', 0, 0)$$);
SELECT pg_temp.error_of($$SELECT queue.park('g', 't', 0, 0, member => 'm')$$);
SELECT pg_temp.error_of($$SELECT queue.park('g', 't', 0, 0, member => 'm', epoch => 1)$$);
SELECT pg_temp.error_of($$SELECT queue.park('g', 't', 1, 0)$$);
SELECT count(queue.produce('t', 'x', 'a'));
SELECT pg_temp.error_of($$SELECT queue.park('g', 't', partition, "offset" - 1) FROM queue.consume_typed('g', 't', NULL::text)$$);
SELECT pg_temp.error_of($$SELECT queue.park('g', 't', partition, "offset"), queue.park('g', 't', partition, "offset") FROM queue.consume_typed('g', 't', NULL::text)$$);
SELECT pg_temp.error_of($$SELECT queue.set_failure_policy('g', 't', max_attempts => 0)$$);
SELECT pg_temp.error_of($$SELECT queue.set_failure_policy('g', 't', backoff => '-1 s')$$);
SELECT pg_temp.error_of($$SELECT queue.set_failure_policy('g', 't', backoff => '1 h')$$);
SELECT pg_temp.error_of($$SELECT queue.set_failure_policy('g', 't', hold => 'all')$$);
SELECT pg_temp.error_of($$SELECT queue.set_failure_policy('g', 't', dead_letter => 't')$$);
SELECT queue.create_topic('numbers', 1, 'int');
SELECT pg_temp.error_of($$SELECT queue.set_failure_policy('g', 't', dead_letter => 'numbers')$$);
SELECT pg_temp.error_of($$SELECT queue.set_failure_policy('g', 't', dead_letter => 'none')$$);
SELECT queue.drop_failure_policy('g', 't'), queue.drop_failure_policy('g', 't');

-- Given up at once: without a topic of dead letters it waits for an operator, and so does
-- its key; with one it is a dead letter, and the key goes on.
SELECT forgotten FROM queue.reset_offsets('g', 't', to_latest => true);
SELECT count(queue.produce('t', v, 'a')) FROM unnest(ARRAY['bad', 'behind']) v;
SELECT queue.park('g', 't', partition, "offset", 'unreadable', counts => false, give_up => true) = ARRAY["offset" + 1] AS behind FROM queue.consume_typed('g', 't', NULL::text) WHERE value = 'bad';
SELECT "offset" - min("offset") OVER () AS "offset", attempts, due_at, error FROM queue.parked WHERE consumer_group = 'g' ORDER BY 1;
SELECT forgotten FROM queue.reset_offsets('g', 't', shift_by => -2);
SELECT queue.set_failure_policy('g', 't', max_attempts => 3, dead_letter => 'dead');
SELECT queue.park('g', 't', partition, "offset", 'unreadable', give_up => true) FROM queue.consume_typed('g', 't', NULL::text) WHERE value = 'bad';
SELECT count(*) FROM pg_temp.parked;
SELECT value, headers->>'dlq.attempts' AS attempts, headers->>'dlq.error' AS error FROM topic.dead ORDER BY "offset" DESC LIMIT 1;
SELECT pg_temp.error_of($$SELECT queue.park('g', 't', 0, 0, give_up => NULL)$$);

-- 20 failures of different keys in a row, and no success: tripped.
SELECT queue.set_failure_policy('g', 't', max_attempts => 1, dead_letter => 'dead', backoff => '1 h', backoff_max => '1 h');
SELECT forgotten FROM queue.reset_offsets('g', 't', to_latest => true);
SELECT count(queue.produce('t', 'p' || i, 'k' || i)) FROM generate_series(1, 30) i;
SELECT count(*) FILTER (WHERE w LIKE '% failed %') AS failed FROM pg_temp.work(ARRAY(SELECT 'p' || i FROM generate_series(1, 25) i), 10) w;
SELECT count(*) FILTER (WHERE w LIKE '% failed %') AS failed FROM pg_temp.work(ARRAY(SELECT 'p' || i FROM generate_series(1, 25) i), 10) w;
SELECT count(*) FROM topic.dead;
SELECT * FROM pg_temp.work('{}');
SELECT * FROM pg_temp.work('{}');
SELECT failures, probe_at > now() AS tripped FROM queue.progress ORDER BY generation DESC LIMIT 1;
-- The clock was a day ahead, and was set back: the pause is not longer for that.
BEGIN;
UPDATE queue.progress SET probe_at = now() + interval '1 day';
SELECT * FROM pg_temp.work('{p21}', delay => '1 h');
ROLLBACK;
-- The probe fails, and is no attempt; another succeeds.
UPDATE queue.progress SET probe_at = now();
SELECT * FROM pg_temp.work('{p21}', delay => '1 h');
SELECT * FROM pg_temp.parked;
-- An operator makes it due, or replays a dead letter: so is the next probe.
BEGIN;
SELECT * FROM pg_temp.work('{}');
SELECT queue.retry_parked('g', 't', 0, "offset") FROM pg_temp.parked;
SELECT * FROM pg_temp.work('{}');
ROLLBACK;
BEGIN;
SELECT queue.replay('g', 'dead', key => 'k1');
SELECT * FROM pg_temp.work('{}');
ROLLBACK;
UPDATE queue.progress SET probe_at = now();
SELECT * FROM pg_temp.work('{}');
SELECT * FROM pg_temp.work('{}');
SELECT failures, probe_at FROM queue.progress ORDER BY generation DESC LIMIT 1;

-- Too many are parked: no new ones.
SELECT forgotten > 0 AS forgotten FROM queue.reset_offsets('g', 't', to_latest => true);
SELECT queue.set_failure_policy('g', 't', max_parked => 2);
SELECT count(queue.produce('t', k || i, k)) FROM generate_series(1, 3) i, unnest(ARRAY['a', 'b']) k;
SELECT * FROM pg_temp.work('{a1}', 1, '1 h');
SELECT * FROM pg_temp.work('{}', 2);
SELECT * FROM pg_temp.work('{}');
SELECT * FROM pg_temp.parked;
SELECT queue.skip_parked('g', 't', 0, (SELECT min("offset") FROM pg_temp.parked));
SELECT * FROM pg_temp.work('{}');

-- What a poll hands out.
SELECT queue.set_failure_policy('g', 't', max_attempts => 2, dead_letter => 'dead');
SELECT forgotten FROM queue.reset_offsets('g', 't', to_latest => true);
SELECT count(queue.produce('t', k || i, k)) FROM generate_series(1, 2) i, unnest(ARRAY['a', 'b']) k;
SELECT count(*) FROM queue.poll_typed('g', 't', 'm', NULL::text, 100, lease => '1 h');
SELECT queue.log_end('t', 0) AS e \gset
SELECT max(epoch) AS epoch FROM queue.progress \gset
SELECT queue.park('g', 't', 0, :e - 4, 'bad', 'P0001', '0 s', member => 'm', epoch => :epoch) = ARRAY[:e - 2]::bigint[] AS behind;
SELECT queue.commit_offset('g', 't', 0, :e, 'm', :epoch);
SELECT count(*), min(attempts), max(attempts) FROM queue.parked_message;
SELECT value, attempt FROM queue.poll_typed('g', 't', 'm', NULL::text, 100, lease => '1 h');
SELECT max(epoch) AS epoch FROM queue.progress \gset
SELECT pg_temp.error_of(format('SELECT queue.skip_parked(%L, %L, 0, %s)', 'g', 't', :e - 4)) LIKE '55006%' AS in_hand;
SELECT queue.commit_offset('g', 't', 0, :e - 3, 'm', :epoch);
SELECT "offset" = :e - 2 AS second, attempts FROM queue.parked_message;
-- Not committed: it comes again, and then no more.
SELECT value, attempt FROM queue.poll_typed('g', 't', 'm', NULL::text, 100, lease => '1 h');
SELECT value, attempt FROM queue.poll_typed('g', 't', 'm', NULL::text, 100, lease => '1 h');
SELECT key, value, headers -> 'dlq.attempts' AS attempts FROM topic.dead ORDER BY "offset" DESC LIMIT 1;
SELECT parked, parked_in_hand FROM queue.progress ORDER BY generation DESC LIMIT 1;

-- A poll that hands out only messages that came again: commit_offset takes what lies behind
-- the last of them, also if each was parked again or given up, and also twice.
SELECT queue.set_failure_policy('g', 't', max_attempts => 3, dead_letter => 'dead', backoff => '0 s');
SELECT forgotten FROM queue.reset_offsets('g', 't', to_latest => true);
SELECT count(queue.produce('t', v, v)) FROM unnest(ARRAY['fails', 'x', 'y']) v;
CREATE PROCEDURE pg_temp.polled() LANGUAGE plpgsql AS $$
DECLARE
	m record;
	next bigint;
	e bigint;
BEGIN
	FOR m IN SELECT * FROM queue.poll_typed('g', 't', 'm', NULL::text, 100, lease => '1 h') LOOP
		RAISE NOTICE '% %', m.value, m.attempt;
		IF m.value = 'fails' THEN
			PERFORM queue.park('g', 't', 0, m.offset, 'bad', 'P0001', member => 'm', epoch => m.epoch);
		END IF;
		next := m.offset + 1;
		e := m.epoch;
	END LOOP;
	PERFORM queue.commit_offset('g', 't', 0, next, 'm', e) FROM generate_series(1, 2);
END $$;
CALL pg_temp.polled();
CALL pg_temp.polled();
CALL pg_temp.polled();
SELECT current_offset = log_end_offset AS all_read FROM queue.consumer_groups WHERE consumer_group = 'g' AND topic = 't';
SELECT count(*) FROM queue.parked_message;
SELECT queue.set_failure_policy('g', 't', max_attempts => 2, dead_letter => 'dead');
SELECT queue.log_end('t', 0) AS e \gset

-- The same for new messages: that of the offset is given up, the next begins anew.
SELECT count(queue.produce('t', v, 'c')) FROM unnest(ARRAY['kills', 'lives']) v;
SELECT value, attempt FROM queue.poll_typed('g', 't', 'm', NULL::text, 100, lease => '1 h');
SELECT value, attempt FROM queue.poll_typed('g', 't', 'm', NULL::text, 100, lease => '1 h');
SELECT value, attempt FROM queue.poll_typed('g', 't', 'm', NULL::text, 100, lease => '1 h');
SELECT value, attempt FROM queue.poll_typed('g', 't', 'm', NULL::text, 100, lease => '1 h');
SELECT key, value, headers -> 'dlq.attempts' AS attempts, headers -> 'dlq.error' AS error FROM topic.dead ORDER BY "offset" DESC LIMIT 1;
SELECT committed_offset = :e + 1 AS passed, parked, repeats FROM queue.progress ORDER BY generation DESC LIMIT 1;
-- Without a topic of dead letters it holds its key.
SELECT queue.set_failure_policy('g', 't', max_attempts => 1);
SELECT value, attempt FROM queue.poll_typed('g', 't', 'm', NULL::text, 100, lease => '1 h');
SELECT value, attempt FROM queue.poll_typed('g', 't', 'm', NULL::text, 100, lease => '1 h');
SELECT value, attempt FROM queue.poll_typed('g', 't', 'm', NULL::text, 100, lease => '1 h');
SELECT count(queue.produce('t', 'waits', 'c'));
SELECT value, attempt FROM queue.poll_typed('g', 't', 'm', NULL::text, 100, lease => '1 h');
SELECT * FROM pg_temp.parked;

-- A member parks messages behind the group's offset, and ends: the offset passes them before they come.
SELECT queue.create_topic('m', 1, 'text');
SELECT queue.create_group('g', 'm');
SELECT queue.set_failure_policy('g', 'm', max_attempts => 9, backoff => '0 s', max_parked => 1);
SELECT count(queue.produce('m', 'm' || i, 'k' || i)) FROM generate_series(0, 5) i;
SELECT count(*) FROM queue.poll_typed('g', 'm', 'm', NULL::text, lease => '1 h');
SELECT max(epoch) AS epoch FROM queue.progress WHERE epoch IS NOT NULL \gset
SELECT queue.park('g', 'm', 0, o, member => 'm', epoch => :epoch) FROM (VALUES (3), (4)) x (o);
SELECT value, attempt FROM queue.poll_typed('g', 'm', 'm', NULL::text, lease => '1 h');
SELECT max(epoch) AS epoch FROM queue.progress WHERE epoch IS NOT NULL \gset
SELECT queue.commit_offset('g', 'm', 0, 6, 'm', :epoch);
SELECT value, attempt FROM queue.poll_typed('g', 'm', 'm', NULL::text, 2, lease => '1 h');
SELECT max(epoch) AS epoch FROM queue.progress WHERE epoch IS NOT NULL \gset
-- Each is parked once more: nothing is in hand, and the commit says no more than that.
SELECT queue.park('g', 'm', 0, o, member => 'm', epoch => :epoch, delay => '1 h') FROM (VALUES (3), (4)) x (o);
SELECT queue.commit_offset('g', 'm', 0, 5, 'm', :epoch), queue.commit_offset('g', 'm', 0, 4, 'm', :epoch);
SELECT "offset", attempts FROM queue.parked_message WHERE "offset" < 6 ORDER BY 1;
-- To consume, they come once.
SELECT queue.reset_offsets('g', 'm', to_earliest => true);
SELECT count(*) FROM queue.poll_typed('g', 'm', 'm', NULL::text, lease => '1 ms');
SELECT max(epoch) AS epoch FROM queue.progress WHERE epoch IS NOT NULL \gset
SELECT queue.park('g', 'm', 0, o, member => 'm', epoch => :epoch) FROM (VALUES (3), (4)) x (o);
SELECT queue.leave('g', 'm', 'm');
SELECT value, attempt FROM queue.consume_typed('g', 'm', NULL::text);
SELECT value, attempt FROM queue.consume_typed('g', 'm', NULL::text);
SELECT queue.drop_topic('m');

-- Parked messages that are handed out in vain come one by one, before one is given up.
SELECT queue.create_topic('m', 1, 'text');
SELECT queue.create_topic('md', 1, 'text');
SELECT queue.set_failure_policy('g', 'm', max_attempts => 2, dead_letter => 'md');
SELECT count(queue.produce('m', 'm' || i, 'k' || i)) FROM generate_series(0, 1) i;
SELECT count(queue.park('g', 'm', 0, "offset", delay => '0 s', counts => false)) FROM queue.consume_typed('g', 'm', NULL::text);
SELECT value, attempt FROM queue.poll_typed('g', 'm', 'm', NULL::text, lease => '1 h');
SELECT value, attempt FROM queue.poll_typed('g', 'm', 'm', NULL::text, lease => '1 h');
SELECT value, attempt FROM queue.poll_typed('g', 'm', 'm', NULL::text, lease => '1 h');
SELECT value, attempt FROM queue.poll_typed('g', 'm', 'm', NULL::text, lease => '1 h');
SELECT value, attempt FROM queue.poll_typed('g', 'm', 'm', NULL::text, lease => '1 h');
SELECT value, headers -> 'dlq.attempts' AS attempts FROM topic.md;
SELECT queue.drop_topic('m'), queue.drop_topic('md');

-- A compacted topic takes dead letters with a key only. Neither a key nor an error is too long.
SELECT queue.create_topic('compacted', 1, 'text', cleanup_policy => 'compact');
SELECT queue.create_topic('c', 1, 'text');
SELECT queue.set_failure_policy('g', 'c', max_attempts => 1, dead_letter => 'compacted');
SELECT count(queue.produce('c', 'c', k)) FROM (VALUES (NULL), (repeat('k', 1000000))) x (k);
SELECT pg_temp.error_of(format('SELECT queue.park(%L, %L, 0, "offset", sqlstate => %L) FROM queue.consume_typed(%L, %L, NULL::text)', 'g', 'c', s, 'g', 'c'))
  FROM unnest(ARRAY['', 'P001', 'p0001', 'P00011']) s;
SELECT "offset", queue.park('g', 'c', 0, "offset", repeat('e', 1000000), 'QU001') FROM queue.consume_typed('g', 'c', NULL::text);
SELECT "offset", length(key) AS key, length(error) AS error, due_at = 'infinity' AS given_up FROM queue.parked_message WHERE sqlstate = 'QU001';
SELECT length(key) AS key, headers - '{dlq.first_failed_at,dlq.incarnation,dlq.error}'::text[] AS headers, length(headers ->> 'dlq.error') AS error FROM topic.compacted;
SELECT queue.drop_topic('c'), queue.drop_topic('compacted');

-- Policies, as they were set.
SELECT queue.set_failure_policy('g', 't', max_attempts => 2, backoff => '1.5 s', backoff_max => '1 day', hold => 'none', dead_letter => 'dead', max_parked => 7);
SELECT * FROM queue.failure_policies;
SELECT queue.drop_topic('dead');
SELECT queue.create_topic('dead', 1, 'text');
SELECT dead_letter, dropped FROM queue.failure_policies;
SELECT queue.set_failure_policy('g', 't', hold => 'partition', dead_letter => 'dead');
SELECT * FROM queue.failure_policies;
SELECT queue.set_failure_policy('g', 't');
SELECT hold, dead_letter, dropped FROM queue.failure_policies;
SELECT queue.drop_failure_policy('g', 't');
SELECT count(*) FROM queue.failure_policies;

SELECT queue.drop_group('g');
SELECT count(*) FROM queue.parked_message;
SELECT count(*) FROM queue.failure_policy;
SELECT queue.drop_topic('t'), queue.drop_topic('dead'), queue.drop_topic('numbers');
