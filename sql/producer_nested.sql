--
-- Code that runs while a producer's call appends: a constraint of the topic that
-- produces, fences, prunes and forgets.  Whatever changes the state of the very
-- producer that is at work ends the call (55006) and all it has done; anything
-- else is allowed.
--
SELECT queue.create_topic('n', 1, 'text');
SELECT queue.create_topic('elsewhere', 1, 'text');
SELECT log FROM queue.topic WHERE name = 'n' \gset
-- The message says what its constraint does; what that produces is plain.
CREATE FUNCTION nested(value text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	IF value LIKE 'do: %' THEN
		EXECUTE substr(value, 5);
	ELSIF value LIKE 'try: %' THEN
		BEGIN
			EXECUTE substr(value, 6);
			RAISE division_by_zero;
		EXCEPTION WHEN division_by_zero THEN
			NULL;
		END;
	END IF;
	RETURN true;
END $$;
ALTER TABLE :log ADD CONSTRAINT nested CHECK (nested(value));
-- Where a message went, or the error.
CREATE FUNCTION pg_temp.put(what text, sequence bigint, id text DEFAULT 'p') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	r queue.produce_result;
BEGIN
	r := queue.produce('n', what, producer_id => id, sequence => sequence);
	RETURN CASE WHEN r.duplicate THEN 'duplicate' ELSE 'new' END;
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ': ' || SQLERRM;
END $$;
CREATE VIEW stored AS
SELECT 'message' AS what, value AS subject, NULL::bigint AS last_sequence, NULL::bigint AS accepted, NULL::bigint AS duplicates FROM topic.n
UNION ALL
SELECT 'producer of ' || topic, producer_id || ', epoch ' || coalesce(epoch::text, 'none'), last_sequence, accepted, duplicates FROM queue.producers
UNION ALL
SELECT 'row of no producer', producer_id::text, NULL, NULL, NULL FROM queue.producer_batch WHERE producer_id NOT IN (SELECT producer_id FROM queue.producer);

-- The producer's first message: there is no state yet to compare with.
SELECT pg_temp.put($$do: SELECT queue.produce('n', 'inner', producer_id => 'p', sequence => 1)$$, 1);
SELECT pg_temp.put($$do: SELECT queue.produce('n', 'inner', producer_id => 'p', sequence => 7)$$, 1);
SELECT pg_temp.put($$do: SELECT queue.produce_batch('n', '{}'::text[], producer_id => 'p', watermark => '1')$$, 1);
SELECT pg_temp.put($$do: SELECT queue.fence_producer('n', 'p')$$, 1);
SELECT pg_temp.put($$do: SELECT queue.forget_producer('n', 'p')$$, 1);
SELECT pg_temp.put($$do: SELECT queue.forget_producer('n', 'p'), queue.produce('n', 'inner', producer_id => 'p', sequence => 1)$$, 1);
-- The same of a producer that was created and has no state either.
SELECT queue.create_producer('n', 'created', 'monotonic');
SELECT pg_temp.put($$do: SELECT queue.produce('n', 'inner', producer_id => 'created', sequence => 7)$$, 1, 'created');
SELECT pg_temp.put($$do: SELECT queue.forget_producer('n', 'created')$$, 1, 'created');
SELECT * FROM stored ORDER BY what, subject;
-- Undone inside; nothing to prune; other producers, of this topic and another.
SELECT pg_temp.put($$try: SELECT queue.produce('n', 'inner', producer_id => 'p', sequence => 1)$$, 1, 'p1');
SELECT pg_temp.put($$try: SELECT queue.fence_producer('n', 'p2')$$, 1, 'p2');
SELECT pg_temp.put($$try: SELECT queue.forget_producer('n', 'p3')$$, 1, 'p3');
SELECT pg_temp.put($$do: SELECT queue.prune_producers('n')$$, 1, 'p4');
SELECT pg_temp.put($$do: SELECT queue.produce('n', 'other producer', producer_id => 'o5', sequence => 5)$$, 1, 'p5');
SELECT pg_temp.put($$do: SELECT queue.produce('elsewhere', 'other topic', producer_id => 'p6', sequence => 6)$$, 1, 'p6');
SELECT pg_temp.put($$do: SELECT queue.forget_producer('n', 'p5')$$, 1, 'p7');
SELECT pg_temp.put($$do: SELECT queue.produce('n', 'no producer')$$, 1, 'p8');

-- Later messages.
SELECT pg_temp.put('one', 1), pg_temp.put('two', 2);
SELECT pg_temp.put($$do: SELECT queue.produce('n', 'inner', producer_id => 'p', sequence => 3)$$, 3);
SELECT pg_temp.put($$do: SELECT queue.produce('n', 'inner', producer_id => 'p', sequence => 2)$$, 3);
SELECT pg_temp.put($$do: SELECT queue.produce('n', 'inner', producer_id => 'p', sequence => 3, epoch => 1)$$, 3);
SELECT pg_temp.put($$do: SELECT queue.fence_producer('n', 'p')$$, 3);
SELECT pg_temp.put($$do: SELECT queue.forget_producer('n', 'p')$$, 3);
SELECT pg_temp.put($$do: SELECT queue.forget_producer('n', 'p'), queue.produce('n', 'inner', producer_id => 'p', sequence => 1)$$, 3);
SELECT * FROM stored WHERE subject LIKE 'p,%' OR subject LIKE '%inner%';
SELECT pg_temp.put($$do: SELECT queue.prune_producers('n')$$, 3);
SELECT pg_temp.put($$try: SELECT queue.produce('n', 'inner', producer_id => 'p', sequence => 4)$$, 4);
SELECT pg_temp.put($$do: SELECT queue.produce('n', 'other producer', producer_id => 'o5', sequence => 6)$$, 5);
-- All of it is known afterwards, and no constraint runs for a duplicate.
SELECT n, pg_temp.put($$do: SELECT queue.fence_producer('n', 'p')$$, n) FROM generate_series(1, 5) n;

-- Batches and the view, too; what the call did before goes with it.
SELECT count FROM queue.produce_batch('n', ARRAY['six', $$do: SELECT queue.fence_producer('n', 'p')$$], producer_id => 'p', first_sequence => 6);
SELECT count FROM queue.produce_batch('n', ARRAY['six', $$do: SELECT queue.produce('n', 'other producer', producer_id => 'o5', sequence => 7)$$], producer_id => 'p', first_sequence => 6);
BEGIN;
SET LOCAL queue.producer_id = 'p';
SET LOCAL queue.first_sequence = 8;
INSERT INTO topic.n (value) VALUES ('eight'), ($$do: SELECT queue.produce('n', 'inner', producer_id => 'p', sequence => 8)$$);
ROLLBACK;
BEGIN;
SET LOCAL queue.producer_id = 'p';
SET LOCAL queue.first_sequence = 8;
INSERT INTO topic.n (value) VALUES ('eight'), ($$do: SELECT queue.produce('n', 'other producer', producer_id => 'o5', sequence => 8)$$);
COMMIT;
SELECT last_sequence FROM queue.producer_state('n', 'p');
SELECT * FROM stored ORDER BY what, subject;

DROP VIEW stored;
SELECT queue.drop_topic('n');
SELECT queue.drop_topic('elsewhere');
SELECT count(*) FROM queue.producer_batch;
DROP FUNCTION nested;
