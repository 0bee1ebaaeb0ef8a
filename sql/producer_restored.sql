--
-- The state of producers without what it stands on: a restore that brought it
-- and not the messages, and rows that were damaged.  Nothing is called a
-- duplicate that the log does not hold (QU001); bytes that are no map of places
-- are reported (XX001), and harmless.
--
SELECT queue.create_topic('r', 2, 'text');
SELECT count, duplicates FROM queue.produce_batch('r', ARRAY['one', 'two', 'three'], partition => 1, producer_id => 'p', first_sequence => 1, watermark => '{"read": 3}');
SELECT partition, "offset", duplicate FROM queue.produce('r', 'four', partition => 0, producer_id => 'p', sequence => 4);

-- The topic is made anew, and the state put back by hand.
CREATE TABLE saved AS SELECT * FROM queue.producer;
CREATE TABLE saved_batch AS SELECT * FROM queue.producer_batch;
SELECT queue.drop_topic('r');
SELECT queue.create_topic('r', 2, 'text');
INSERT INTO queue.producer
SELECT s.producer_id, t.topic_id, s.name, s.owner, s.strict, s.created_at FROM saved s, queue.topic t WHERE t.name = 'r';
INSERT INTO queue.producer_batch SELECT * FROM saved_batch;
SELECT epoch, last_sequence, partition, "offset", watermark FROM queue.producer_state('r', 'p');
SELECT queue.produce('r', 'one', producer_id => 'p', sequence => 1);
SELECT queue.produce('r', 'four', producer_id => 'p', sequence => 4);
SELECT queue.produce_batch('r', ARRAY['three', 'four', 'five'], producer_id => 'p', first_sequence => 3);
SET queue.producer_id = 'p';
SET queue.first_sequence = 4;
INSERT INTO topic.r (value) VALUES ('four'), ('five');
RESET queue.producer_id;
SELECT count(*) FROM topic.r;
-- What is new is new; what the log reaches again, but with other messages, is
-- not there either, also when the rows were merged.
SELECT duplicate FROM queue.produce('r', 'five', partition => 0, producer_id => 'p', sequence => 5);
SELECT "offset", duplicate FROM queue.produce('r', 'five', producer_id => 'p', sequence => 5);
SELECT queue.produce('r', 'one', producer_id => 'p', sequence => 1);
SELECT duplicate FROM queue.produce('r', 'six', partition => 0, producer_id => 'p', sequence => 6);
SELECT queue.produce('r', 'four', producer_id => 'p', sequence => 4);
SELECT queue.prune_producers('r') > 0 AS merged;
SELECT first_sequence, last_sequence FROM queue.producer_history ORDER BY 1;
SELECT queue.produce('r', 'four', producer_id => 'p', sequence => 4);
SELECT "offset", duplicate FROM queue.produce('r', 'five', producer_id => 'p', sequence => 5);
SELECT queue.produce_batch('r', ARRAY['four', 'five', 'six'], producer_id => 'p', first_sequence => 4);
-- Messages that were restored: as if the log had begun behind them.
BEGIN;
UPDATE queue.incarnation SET first_offset = 1 WHERE partition = 0 AND topic_id = (SELECT topic_id FROM queue.topic WHERE name = 'r');
SELECT "offset", duplicate FROM queue.produce('r', 'four', producer_id => 'p', sequence => 4);
ROLLBACK;
-- To begin again.
SELECT queue.forget_producer('r', 'p');
SELECT duplicate FROM queue.produce('r', 'one', producer_id => 'p', sequence => 1);
SELECT queue.drop_topic('r');
SELECT count(*) FROM queue.producer_batch;
DROP TABLE saved, saved_batch;

-- Damaged places of the second of three messages: what a duplicate gets, and
-- what pruning makes of it.
SELECT queue.create_topic('d', 2, 'text');
SELECT (queue.produce('d', 'm', partition => 0, producer_id => 'p', sequence => n)).duplicate FROM generate_series(1, 3) n;
CREATE FUNCTION pg_temp.with_places(bytes bytea, command text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	UPDATE queue.producer_batch SET places = bytes WHERE last_sequence = 2;
	EXECUTE command INTO result;
	RAISE 'undo';
EXCEPTION
	WHEN raise_exception THEN RETURN result;
	WHEN OTHERS THEN RETURN SQLSTATE || ': ' || SQLERRM;
END $$;
CREATE FUNCTION pg_temp.found(bytes bytea) RETURNS text LANGUAGE sql AS
$$ SELECT pg_temp.with_places(bytes, $c$ SELECT r.partition || ':' || r.offset FROM queue.produce('d', 'm', producer_id => 'p', sequence => 2) r $c$) $$;
CREATE FUNCTION pg_temp.pruned(bytes bytea) RETURNS text LANGUAGE sql AS
$$ SELECT pg_temp.with_places(bytes, $c$ SELECT queue.prune_producers('d') $c$) $$;
SELECT places, pg_temp.found(places), pg_temp.pruned(places) FROM queue.producer_batch WHERE last_sequence = 2;
SELECT what, pg_temp.found(bytes), pg_temp.pruned(bytes) FROM (VALUES
	(1, 'a place that is there', '\x050002'::bytea),
	(2, 'a place behind the end', '\x0500d00f'),
	(3, 'the last place of all', '\x0500fcffffffffffffffff01'),
	(4, 'one behind the last of all', '\x0500feffffffffffffffff01'),
	(5, 'a negative place', '\x050001'),
	(6, 'the least of all', '\x0500ffffffffffffffffff01'),
	(7, 'nothing', '\x'),
	(8, 'another sequence', '\x060001'),
	(9, 'a sequence far away', '\x0600ffffffffffffffff7f'),
	(10, 'a sequence further away', '\x060080808080808080808001'),
	(11, 'a sequence before', '\x0600ffffffffffffffffff01'),
	(12, 'ends before the partition', '\x04'),
	(13, 'ends in the count', '\x84'),
	(14, 'ends before the place', '\x0500'),
	(15, 'ends before the gap', '\x0600'),
	(16, 'ends in the second run', '\x040004'),
	(17, 'no message', '\x0000'),
	(18, 'too many messages', '\xfcffffffffffffffff0100fcffffffffffffffff0100fcffffffffffffffff0100'),
	(19, 'a partition that is not there', '\x0402'),
	(20, 'a partition that cannot be', '\x04904e'),
	(21, 'a partition beyond all', '\x04ffffffffffffffffff01'),
	(22, 'a number too long', '\xffffffffffffffffffffffffffff')) v(n, what, bytes)
 ORDER BY n;
-- Noise, always the same.
SELECT count(*) FROM generate_series(1, 2000) n, LATERAL (SELECT substr(decode(md5(n::text), 'hex'), 1, 1 + n % 16)) v(bytes)
 WHERE pg_temp.found(bytes) !~ '^(XX001: the state of a producer is damaged|QU00[12]: .*|[01]:\d+)$' OR pg_temp.pruned(bytes) !~ '^(XX001: the state of a producer is damaged|\d)$';
-- A sequence of another row is found all the same.
UPDATE queue.producer_batch SET places = '\x00' WHERE last_sequence = 2;
SELECT n, pg_temp.with_places('\x00', format($$ SELECT r.partition || ':' || r.offset FROM queue.produce('d', 'm', producer_id => 'p', sequence => %s) r $$, n)) FROM generate_series(1, 3) n;
SELECT queue.produce_batch('d', ARRAY['one', 'two'], producer_id => 'p', first_sequence => 1);
SELECT duplicate FROM queue.produce('d', 'four', producer_id => 'p', sequence => 4);
SELECT queue.prune_producers('d');
SELECT queue.forget_producer('d', 'p');
SELECT queue.drop_topic('d');
