--
-- queue.replay: dead letters are given back to their group, and to no other.
--
\getenv abs_srcdir PG_ABS_SRCDIR
\i :abs_srcdir/sql/include/helpers.sql
SET queue.autocommit_warning = off;
-- A group consumes, and fails on some values.
CREATE FUNCTION pg_temp.work(consumer_group text, fails text[]) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	m record;
BEGIN
	FOR m IN SELECT * FROM queue.consume_typed(consumer_group, 't', NULL::text) LOOP
		IF m.value = ANY (fails) THEN
			PERFORM queue.park(consumer_group, 't', m.partition, m."offset", m.value || ' is bad', 'P000' || length(m.value));
			RETURN NEXT format('%s failed (%s)', m.value, m.attempt);
		ELSE
			RETURN NEXT format('%s done (%s)', m.value, m.attempt);
		END IF;
	END LOOP;
END $$;
SELECT queue.create_topic('t', 1, 'text');
SELECT queue.create_topic('dead', 2, 'text');
SELECT queue.create_group(g, 't'), queue.set_failure_policy(g, 't', max_attempts => 1, dead_letter => 'dead') FROM unnest(ARRAY['g', 'h']) g;
SELECT count(queue.produce('t', v, k)) FROM (VALUES ('x', 'a'), ('yy', 'b'), ('good', 'a'), ('zzz', NULL)) x (v, k);
SELECT * FROM pg_temp.work('g', '{x,yy,zzz}');
SELECT * FROM pg_temp.work('h', '{x}');

-- By key, by error, and the rest; the other group sees nothing of it.
SELECT queue.replay('g', 'dead', key => 'b');
SELECT * FROM pg_temp.work('g', '{}');
SELECT queue.replay('g', 'dead', sqlstate => 'P0003');
SELECT * FROM pg_temp.work('g', '{}');
SELECT queue.replay('g', 'dead', until => now() - interval '1 h'), queue.replay('g', 'dead', since => now() + interval '1 h');
SELECT queue.replay('g', 'dead');
SELECT * FROM pg_temp.work('g', '{}');
SELECT * FROM pg_temp.work('h', '{}');
-- Once; rolled back, it was not.
SELECT queue.replay('g', 'dead');
BEGIN;
SELECT queue.replay('h', 'dead');
ROLLBACK;
SELECT queue.replay('h', 'dead');
-- It fails again: a new dead letter, and it can be replayed.
SELECT * FROM pg_temp.work('h', '{x}');
SELECT queue.replay('h', 'dead', max_messages => 1);
SELECT * FROM pg_temp.work('h', '{}');
SELECT headers ->> 'dlq.group' AS consumer_group, count(*) FROM topic.dead GROUP BY 1 ORDER BY 1;

-- What the log no longer has; what never was a dead letter; what does not fit.
SELECT count(queue.produce('t', v, 'c')) FROM unnest(ARRAY['old', 'new']) v;
SELECT * FROM pg_temp.work('g', '{old,new}');
SELECT count(*) FROM pg_temp.work('h', '{}');
SELECT queue.delete_messages('t', 0, 5);
SELECT count(queue.produce('dead', 'forged', 'c', h)) FROM unnest(ARRAY[
	'{}', '{"dlq.group": "g"}', '{"dlq.group": "g", "dlq.topic": "none"}', '{"dlq.group": 1, "dlq.topic": "t"}',
	'{"dlq.group": "g", "dlq.topic": "t"}', '{"dlq.group": "g", "dlq.topic": "t", "dlq.partition": 9, "dlq.offset": 5}',
	'{"dlq.group": "g", "dlq.topic": "t", "dlq.partition": 0, "dlq.offset": 99}',
	'{"dlq.group": "g", "dlq.topic": "t", "dlq.partition": 0, "dlq.offset": 1e30}',
	'{"dlq.group": "g", "dlq.topic": "t", "dlq.partition": 0, "dlq.offset": 0}']::jsonb[]) h;
SELECT count(queue.produce('dead', 'without'));
SELECT queue.replay('g', 'dead');
SELECT * FROM pg_temp.work('g', '{}');

-- Errors.
SELECT pg_temp.error_of($$SELECT queue.replay('nobody', 'dead')$$);
SELECT pg_temp.error_of($$SELECT queue.replay('g', 'none')$$);
SELECT pg_temp.error_of($$SELECT queue.replay('g', 'dead', max_messages => 0)$$);
SELECT count(*) > 0 AS replayed FROM queue.replayed;
SELECT queue.drop_topic('dead');
SELECT count(*) FROM queue.replayed;
SELECT queue.drop_topic('t'), queue.drop_group('g'), queue.drop_group('h');
