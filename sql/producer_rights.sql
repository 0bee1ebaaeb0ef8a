--
-- Rights: a producer belongs to the role that first used it and to its members;
-- the topic's owner may manage it.
--
CREATE ROLE regress_queue_owner;
CREATE ROLE regress_queue_writer;
CREATE ROLE regress_queue_member IN ROLE regress_queue_writer;
CREATE ROLE regress_queue_other;
CREATE ROLE regress_queue_reader;
GRANT CREATE ON SCHEMA topic TO regress_queue_owner;
CREATE FUNCTION pg_temp.answer_of(command text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	answer text;
BEGIN
	EXECUTE command INTO answer;
	RETURN 'allowed: ' || coalesce(answer, 'NULL');
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ': ' || SQLERRM;
END $$;
SET ROLE regress_queue_owner;
SELECT queue.create_topic('r', 1, 'text');
GRANT INSERT ON topic.r TO regress_queue_writer, regress_queue_other;
GRANT SELECT ON topic.r TO regress_queue_reader;

-- The role that produces first.
SET ROLE regress_queue_writer;
SELECT duplicate FROM queue.produce('r', 'v', producer_id => 'used', sequence => 1);
SELECT queue.create_producer('r', 'created');
SELECT queue.fence_producer('r', 'fenced');
SET queue.producer_id = 'inserted';
SET queue.first_sequence = 1;
INSERT INTO topic.r (value) VALUES ('v');
RESET queue.producer_id;
SELECT producer_id, owner FROM queue.producers ORDER BY producer_id COLLATE "C";
RESET ROLE;

CREATE TEMP TABLE calls (n serial, call text);
GRANT SELECT ON calls TO PUBLIC;
INSERT INTO calls (call) VALUES
  ($$SELECT duplicate FROM queue.produce('r', 'v', producer_id => 'used', sequence => 1)$$),
  ($$SELECT count FROM queue.produce_batch('r', ARRAY['v'], producer_id => 'created', first_sequence => 1)$$),
  ($$SELECT count(*) FROM queue.produce_batch('r', '{}'::text, producer_id => 'used', watermark => '1')$$),
  ($$SELECT duplicate FROM queue.produce('r', 'v', producer_id => 'used', sequence => 1, epoch => 7)$$),
  ($$SELECT set_config('queue.producer_id', 'inserted', true) || set_config('queue.first_sequence', '1', true)$$),
  ($$INSERT INTO topic.r (value) VALUES ('v') RETURNING "timestamp" IS NULL$$),
  ($$SELECT set_config('queue.producer_id', '', true)$$),
  ($$SELECT (queue.producer_state('r', 'used')).last_sequence$$),
  ($$SELECT queue.create_producer('r', 'used')$$),
  ($$SELECT queue.fence_producer('r', 'used')$$),
  ($$SELECT queue.fence_producer('r', 'used', terminate => true)$$),
  ($$SELECT queue.forget_producer('r', 'used')$$),
  ($$SELECT queue.prune_producers('r')$$);
CREATE FUNCTION pg_temp.try_all() RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	c record;
BEGIN
	FOR c IN SELECT * FROM calls ORDER BY n LOOP
		RETURN NEXT c.call || E'\n  ' || pg_temp.answer_of(c.call);
	END LOOP;
END $$;
-- Members may what the role may; each group of calls is undone.
\pset tuples_only on
\pset format unaligned
BEGIN;
SET LOCAL ROLE regress_queue_member;
SELECT pg_temp.try_all();
ROLLBACK;
BEGIN;
SET LOCAL ROLE regress_queue_other;
SELECT pg_temp.try_all();
ROLLBACK;
-- The topic's owner may look, fence, forget and prune, but not produce with it.
BEGIN;
SET LOCAL ROLE regress_queue_owner;
SELECT pg_temp.try_all();
ROLLBACK;
BEGIN;
SET LOCAL ROLE regress_queue_reader;
SELECT pg_temp.try_all();
ROLLBACK;
-- The role itself needs the right to insert, too.
REVOKE INSERT ON topic.r FROM regress_queue_writer;
BEGIN;
SET LOCAL ROLE regress_queue_writer;
SELECT pg_temp.try_all();
ROLLBACK;
GRANT INSERT ON topic.r TO regress_queue_writer;
-- The superuser.
BEGIN;
SELECT pg_temp.try_all();
ROLLBACK;
\pset tuples_only off
\pset format aligned

-- Another's producer of that id in another topic is another one.
SET ROLE regress_queue_owner;
SELECT queue.create_topic('s', 1, 'text');
GRANT INSERT ON topic.s TO regress_queue_other;
SET ROLE regress_queue_other;
SELECT duplicate FROM queue.produce('s', 'v', producer_id => 'used', sequence => 1);
-- Forgotten, the id is free for any role.
SET ROLE regress_queue_owner;
SELECT queue.forget_producer('r', 'used');
SET ROLE regress_queue_other;
SELECT duplicate FROM queue.produce('r', 'v', producer_id => 'used', sequence => 1);
SELECT topic, producer_id, owner FROM queue.producers WHERE producer_id = 'used' ORDER BY topic;
SET ROLE regress_queue_writer;
SELECT queue.produce('r', 'v', producer_id => 'used', sequence => 2);

-- In a SECURITY DEFINER function the producer belongs to the function's owner.
RESET ROLE;
CREATE FUNCTION send(n int) RETURNS boolean LANGUAGE sql SECURITY DEFINER SET search_path = ''
AS $$ SELECT duplicate FROM queue.produce('r', 'v', producer_id => 'definer', sequence => n) $$;
ALTER FUNCTION send(int) OWNER TO regress_queue_writer;
SET ROLE regress_queue_reader;
SELECT send(1), send(2), send(2);
RESET ROLE;
SELECT owner FROM queue.producers WHERE producer_id = 'definer';
DROP FUNCTION send(int);
-- There the caller's settings count for nothing: its rows would be taken for others
-- of the owner's producer, or others for them.
CREATE FUNCTION note(v text) RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = ''
AS $$ INSERT INTO topic.r (value) VALUES (v) $$;
CREATE FUNCTION note_as(v text, producer text, n int) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
	PERFORM set_config('queue.producer_id', producer, true), set_config('queue.first_sequence', n::text, true);
	INSERT INTO topic.r (value) VALUES (v);
END $$;
ALTER FUNCTION note(text) OWNER TO regress_queue_writer;
ALTER FUNCTION note_as(text, text, int) OWNER TO regress_queue_writer;
SET ROLE regress_queue_reader;
BEGIN;
SET LOCAL queue.producer_id = 'definer';
SET LOCAL queue.first_sequence = 1;
SET LOCAL queue.producer_epoch = 7;
SELECT note('not left out');
-- The function's own do, with its own epoch; no statement uses the caller's up.
SELECT note_as('left out', 'definer', 2), note_as('the next one', 'definer', 3);
SET LOCAL queue.producer_id = 'definer';
SET LOCAL queue.first_sequence = 4;
SELECT note('not the next one');
COMMIT;
-- Not even those that were set before the library was loaded, or for the session.
\c -
SET SESSION AUTHORIZATION regress_queue_reader;
SET queue.producer_id = 'definer';
SET queue.first_sequence = 1;
SELECT note('not left out');
RESET SESSION AUTHORIZATION;
SELECT value FROM topic.r WHERE value IN ('not left out', 'left out', 'the next one', 'not the next one') ORDER BY "timestamp", "offset";
SELECT epoch, last_sequence FROM queue.producers WHERE producer_id = 'definer';
-- The owner's own settings count in its own functions.
SET ROLE regress_queue_writer;
BEGIN;
SET LOCAL queue.producer_id = 'definer';
SET LOCAL queue.first_sequence = 3;
SELECT note('left out');
COMMIT;
RESET ROLE;
RESET queue.producer_id;
RESET queue.first_sequence;
SELECT count(*) FROM topic.r WHERE value = 'left out';
DROP FUNCTION note(text);
DROP FUNCTION note_as(text, text, int);

-- A role sees the producers of the topics that it may read or write.
SET ROLE regress_queue_reader;
SELECT topic, count(*) FROM queue.producers GROUP BY 1;
SET ROLE regress_queue_other;
SELECT topic, count(*) FROM queue.producers GROUP BY 1 ORDER BY 1;
-- An ordinary role may not read the registry.
\set VERBOSITY sqlstate
SELECT * FROM queue.producer;
SELECT * FROM queue.producer_batch;
SELECT * FROM queue.producer_history;
DELETE FROM queue.producer_batch;
INSERT INTO queue.producer VALUES (1, 1, 'x', 'x', true);
SELECT nextval('queue.producer_producer_id_seq');
\set VERBOSITY default
RESET ROLE;

-- The role is dropped: its producers belong to the topic's owner alone.
SET ROLE regress_queue_owner;
SELECT queue.drop_topic('s');
RESET ROLE;
REVOKE ALL ON topic.r FROM regress_queue_writer;
DROP ROLE regress_queue_member, regress_queue_writer;
SET ROLE regress_queue_other;
SELECT queue.produce('r', 'v', producer_id => 'created', sequence => 1);
SET ROLE regress_queue_owner;
SELECT queue.produce('r', 'v', producer_id => 'created', sequence => 1);
SELECT queue.fence_producer('r', 'created'), queue.forget_producer('r', 'created');
SELECT queue.drop_topic('r');
RESET ROLE;
REVOKE CREATE ON SCHEMA topic FROM regress_queue_owner;
DROP ROLE regress_queue_owner, regress_queue_other, regress_queue_reader;
