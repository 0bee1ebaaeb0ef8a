--
-- queue.consume in PL/pgSQL, procedures, triggers, cursors, prepared statements.
--
SELECT queue.create_topic('w', 1, 'text');
CREATE FUNCTION pg_temp.committed(g text) RETURNS bigint LANGUAGE sql AS
$$ SELECT current_offset FROM queue.consumer_groups WHERE consumer_group = g $$;
SELECT count FROM queue.produce_batch('w', ARRAY(SELECT 'm' || n FROM generate_series(0, 29) n));
CREATE TEMP TABLE done (value text);

-- A statement: messages, what they caused and the offset, together or not at all.
BEGIN;
WITH batch AS (SELECT * FROM queue.consume_typed('cte', 'w', NULL::text, 3))
INSERT INTO done SELECT value FROM batch;
ROLLBACK;
WITH batch AS (SELECT * FROM queue.consume_typed('cte', 'w', NULL::text, 3))
INSERT INTO done SELECT value FROM batch RETURNING value;
SELECT pg_temp.committed('cte');

-- Functions: a loop, RETURN QUERY, an array.
CREATE FUNCTION pg_temp.drain(g text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	m record;
	seen text := '';
BEGIN
	FOR m IN SELECT * FROM queue.consume_typed(g, 'w', NULL::text, 4) LOOP
		seen := seen || m.value || ' ';
	END LOOP;
	RETURN seen;
END $$;
SELECT pg_temp.drain('func');
SELECT pg_temp.drain('func');
CREATE FUNCTION pg_temp.next(g text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY SELECT m.value FROM queue.consume_typed(g, 'w', NULL::text, 2) m;
END $$;
SELECT * FROM pg_temp.next('func');
CREATE FUNCTION pg_temp.next_sql(g text) RETURNS SETOF text LANGUAGE sql AS
$$ SELECT value FROM queue.consume_typed(g, 'w', NULL::text, 2) $$;
SELECT pg_temp.next_sql('func');
SELECT array_agg(value) FROM queue.consume_typed('func', 'w', NULL::text, 2);
-- In the select list too.
SELECT (queue.consume_typed('list', 'w', NULL::text, 2)).value;
SELECT pg_temp.committed('func'), pg_temp.committed('list');

-- DO, and an exception block that gives its batch back.
DO $$
DECLARE
	n int;
BEGIN
	SELECT count(*) INTO n FROM queue.consume_typed('do', 'w', NULL::text, 5);
	BEGIN
		SELECT count(*) INTO n FROM queue.consume_typed('do', 'w', NULL::text, 5);
		RAISE division_by_zero;
	EXCEPTION WHEN division_by_zero THEN
		RAISE NOTICE '% given back', n;
	END;
END $$;
SELECT pg_temp.committed('do');

-- A procedure that commits after each batch.
CREATE PROCEDURE pg_temp.work(g text) LANGUAGE plpgsql AS $$
DECLARE
	n int;
BEGIN
	LOOP
		INSERT INTO done SELECT g || ' ' || value FROM queue.consume_typed(g, 'w', NULL::text, 8);
		GET DIAGNOSTICS n = ROW_COUNT;
		COMMIT;
		EXIT WHEN n = 0;
		RAISE NOTICE '% messages, committed offset %', n, pg_temp.committed(g);
	END LOOP;
END $$;
CALL pg_temp.work('proc');
SELECT count(*), count(DISTINCT value) FROM done WHERE value LIKE 'proc %';

-- A COMMIT inside a loop over consume commits the whole batch, also the
-- messages that the loop has not come to.
DO $$
DECLARE
	m record;
	n int := 0;
BEGIN
	FOR m IN SELECT * FROM queue.consume_typed('loop', 'w', NULL::text, 10) LOOP
		n := n + 1;
		IF n = 3 THEN
			COMMIT;
			RAISE NOTICE 'after % messages the committed offset is %', n, pg_temp.committed('loop');
		END IF;
		IF n = 5 THEN
			RAISE EXCEPTION 'at the fifth';
		END IF;
	END LOOP;
END $$;
SELECT pg_temp.committed('loop');

-- LIMIT and WHERE drop what consume has taken.
SELECT value FROM queue.consume_typed('limit', 'w', NULL::text, 10) LIMIT 2;
SELECT value FROM queue.consume_typed('limit', 'w', NULL::text, 10) WHERE value LIKE '%5';
SELECT pg_temp.committed('limit');
SELECT EXISTS (SELECT FROM queue.consume_typed('limit', 'w', NULL::text, 4));
SELECT pg_temp.committed('limit');
-- Not run, nothing taken.
SELECT value FROM queue.consume_typed('limit', 'w', NULL::text, 10) WHERE false;
SELECT value FROM queue.consume_typed('limit', 'w', NULL::text, 10) LIMIT 0;
EXPLAIN (COSTS OFF) SELECT value FROM queue.consume_typed('limit', 'w', NULL::text, 10);
SELECT pg_temp.committed('limit');

-- A trigger: an INSERT that takes the next message with it.
CREATE TABLE ticket (id int, message text);
CREATE FUNCTION pg_temp.fill() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	SELECT value INTO NEW.message FROM queue.consume_typed('trigger', 'w', NULL::text, 1);
	RETURN NEW;
END $$;
CREATE TRIGGER fill BEFORE INSERT ON ticket FOR EACH ROW EXECUTE FUNCTION pg_temp.fill();
INSERT INTO ticket VALUES (1), (2), (3) RETURNING *;
BEGIN;
INSERT INTO ticket VALUES (4) RETURNING *;
ROLLBACK;
INSERT INTO ticket VALUES (5) RETURNING *;
DROP TABLE ticket;

-- A cursor: the batch is taken by the first FETCH, whole.
BEGIN;
DECLARE c CURSOR FOR SELECT value FROM queue.consume_typed('cursor', 'w', NULL::text, 6);
SELECT pg_temp.committed('cursor') IS NULL AS nothing_yet;
FETCH 2 FROM c;
SELECT pg_temp.committed('cursor');
FETCH ALL FROM c;
CLOSE c;
COMMIT;
BEGIN;
DECLARE h CURSOR WITH HOLD FOR SELECT value FROM queue.consume_typed('cursor', 'w', NULL::text, 2);
COMMIT;
SELECT pg_temp.committed('cursor');
FETCH ALL FROM h;
CLOSE h;

-- A prepared statement, custom and generic plan.
PREPARE get(text, int) AS SELECT value FROM queue.consume_typed($1, 'w', NULL::text, $2);
EXECUTE get('prepared', 2);
SET plan_cache_mode = force_generic_plan;
EXECUTE get('prepared', 2);
EXECUTE get('prepared', 3);
RESET plan_cache_mode;
SELECT pg_temp.committed('prepared');
DEALLOCATE get;

-- Several groups, several topics in one transaction.
SELECT queue.create_topic('w2', 1, 'text');
BEGIN;
SELECT count(queue.produce('w2', value)) FROM queue.consume_typed('pipe', 'w', NULL::text, 3);
SELECT value FROM queue.consume_typed('pipe', 'w2', NULL::text, 2);
SELECT value FROM queue.consume_typed('pipe2', 'w2', NULL::text);
COMMIT;
SELECT consumer_group, topic, current_offset FROM queue.consumer_groups WHERE consumer_group LIKE 'pipe%' ORDER BY 1, 2;

-- All isolation levels.
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT value FROM queue.consume_typed('rr', 'w', NULL::text, 2);
SELECT value FROM queue.consume_typed('rr', 'w', NULL::text, 2);
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT "offset" FROM queue.produce('w', 'serial');
SELECT value FROM queue.consume_typed('rr', 'w', NULL::text, 2);
SELECT count(*), max(value) FROM queue.consume_typed('rr', 'w', NULL::text, 1000);
COMMIT;
SELECT pg_temp.committed('rr');

SELECT queue.drop_topic('w');
SELECT queue.drop_topic('w2');
