--
-- The WARNING that messages are consumed outside a transaction block.
--
-- The tests run with queue.autocommit_warning = off. A session warns once, so each
-- part begins a new one.
SHOW queue.autocommit_warning;
SELECT queue.create_topic('t', 1, 'text'), queue.create_topic('j');
SELECT queue.produce_batch('t', ARRAY(SELECT generate_series(1, 1000)::text)),
       queue.produce_batch('j', ARRAY(SELECT generate_series(1, 1000)::text));
CREATE TABLE work (value text);
SELECT m."offset" FROM queue.consume('g', 'j', 1) m;

-- Once in a session; none without rows.
\c -
SET queue.autocommit_warning = on;
SELECT queue.create_topic('empty');
SELECT * FROM queue.consume('g', 'empty');
SELECT m."offset" FROM queue.consume('g', 'j', 1) m;
SELECT m."offset" FROM queue.consume('g', 'j', 1) m;
-- Every variant, from the select list, from WITH, a subquery, a view.
\c -
SET queue.autocommit_warning = on;
SELECT m."offset" FROM queue.consume_typed('g', 't', NULL::text, 1) m;
\c -
SET queue.autocommit_warning = on;
SELECT m."offset" FROM queue.consume_topics('g', '{j,empty}', 1) m;
\c -
SET queue.autocommit_warning = on;
SELECT m."offset" FROM queue.consume_topics_typed('g', '{t}', NULL::text, 1) m;
\c -
SET queue.autocommit_warning = on;
SELECT (queue.consume('g', 'j', 1))."offset";
\c -
SET queue.autocommit_warning = on;
WITH batch AS MATERIALIZED (SELECT * FROM queue.consume('g', 'j', 1)) SELECT "offset" FROM batch;
\c -
SET queue.autocommit_warning = on;
SELECT (SELECT sum(m."offset") FROM queue.consume('g', 'j', 1) m);
CREATE VIEW next_message AS SELECT * FROM queue.consume('g', 'j', 1);
\c -
SET queue.autocommit_warning = on;
SELECT "offset" FROM next_message;
-- By EXECUTE, in the extended protocol's way; COPY to the client; a held cursor.
\c -
SET queue.autocommit_warning = on;
PREPARE take AS SELECT m."offset" FROM queue.consume('g', 'j', 1) m;
EXECUTE take;
\c -
SET queue.autocommit_warning = on;
COPY (SELECT m."offset" FROM queue.consume('g', 'j', 1) m) TO STDOUT;
\c -
SET queue.autocommit_warning = on;
DECLARE held CURSOR WITH HOLD FOR SELECT m."offset" FROM queue.consume('g', 'j', 1) m;
FETCH held;
-- Silenced.
\c -
SET queue.autocommit_warning = off;
SELECT m."offset" FROM queue.consume('g', 'j', 1) m;

-- From here on one session, which is not warned before the end.
\c -
SET queue.autocommit_warning = on;
-- In a transaction block, also an implicit one.
BEGIN;
SELECT m."offset" FROM queue.consume('g', 'j', 1) m;
SAVEPOINT s;
SELECT m."offset" FROM queue.consume('g', 'j', 1) m;
DECLARE c CURSOR FOR SELECT m."offset" FROM queue.consume('g', 'j', 1) m;
FETCH c;
COPY (SELECT m."offset" FROM queue.consume('g', 'j', 1) m) TO STDOUT;
COMMIT;
SELECT m."offset" FROM queue.consume('g', 'j', 1) m \; SELECT 1 AS one;
-- The statement does the work.
INSERT INTO work SELECT value FROM queue.consume_typed('g', 't', NULL::text, 1);
INSERT INTO work SELECT value FROM queue.consume_typed('g', 't', NULL::text, 1) RETURNING value;
WITH batch AS (SELECT * FROM queue.consume_typed('g', 't', NULL::text, 1)),
     done AS (INSERT INTO work SELECT value FROM batch RETURNING value)
SELECT value FROM done;
UPDATE work SET value = m.value FROM queue.consume_typed('g', 't', NULL::text, 1) m WHERE work.value = '2';
DELETE FROM work USING queue.consume_typed('g', 't', NULL::text, 1) m;
MERGE INTO work USING (SELECT * FROM queue.consume_typed('g', 't', NULL::text, 1)) m ON work.value = m.value
  WHEN NOT MATCHED THEN INSERT VALUES (m.value);
CREATE TEMP TABLE made AS SELECT value FROM queue.consume_typed('g', 't', NULL::text, 1);
SELECT value INTO TEMP made_too FROM queue.consume_typed('g', 't', NULL::text, 1);
PREPARE take AS SELECT value FROM queue.consume_typed('g', 't', NULL::text, 1);
CREATE TEMP TABLE made_from_prepared AS EXECUTE take;
SELECT * FROM work UNION ALL TABLE made UNION ALL TABLE made_too UNION ALL TABLE made_from_prepared ORDER BY value;
-- In functions, procedures and DO: whatever they do with the messages.
CREATE FUNCTION take_sql() RETURNS SETOF text LANGUAGE sql VOLATILE STRICT SECURITY DEFINER AS $$
	SELECT value FROM queue.consume_typed('g', 't', NULL::text, 1)
$$;
CREATE FUNCTION take_plpgsql() RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	c CURSOR FOR SELECT value FROM queue.consume_typed('g', 't', NULL::text, 1);
	v text;
BEGIN
	PERFORM FROM queue.consume_typed('g', 't', NULL::text, 1);
	v := (SELECT value FROM queue.consume_typed('g', 't', NULL::text, 1));
	RETURN NEXT v;
	FOR v IN SELECT value FROM queue.consume_typed('g', 't', NULL::text, 1) LOOP
		RETURN NEXT v;
	END LOOP;
	OPEN c;
	FETCH c INTO v;
	RETURN NEXT v;
	CLOSE c;
	RETURN QUERY SELECT value FROM queue.consume_typed('g', 't', NULL::text, 1);
	EXECUTE 'EXECUTE take' INTO v;
	RETURN NEXT v;
	RETURN QUERY EXECUTE 'SELECT value FROM queue.consume_typed(''g'', ''t'', NULL::text, 1)';
END $$;
CREATE PROCEDURE take_and_commit() LANGUAGE plpgsql AS $$
DECLARE
	v text;
BEGIN
	-- the COMMIT reads the query to its end, so it calls the second one
	FOR v IN SELECT value FROM queue.consume_typed('g', 't', NULL::text, 100)
		UNION ALL SELECT value FROM queue.consume_typed('g', 't', NULL::text, 1) LOOP
		COMMIT;
		INSERT INTO work VALUES (v);
	END LOOP;
	COMMIT;
	PERFORM FROM queue.consume_typed('g', 't', NULL::text, 1);
END $$;
SELECT take_sql();
SELECT count(*) FROM take_plpgsql();
COPY (SELECT count(*) FROM take_plpgsql()) TO STDOUT;
CALL take_and_commit();
DO $$ BEGIN PERFORM FROM queue.consume_typed('g', 't', NULL::text, 1); END $$;
-- poll moves no offset, and fetch has none.
SELECT count(*) FROM queue.poll_typed('p', 't', 'm', NULL::text, 1);
SELECT count(*) FROM queue.fetch_typed('t', 0, 0, NULL::text, 1);
-- And now.
SELECT m."offset" FROM queue.consume('g', 'j', 1) m;
\set VERBOSITY sqlstate
\c -
SET queue.autocommit_warning = on;
SELECT m."offset" FROM queue.consume('g', 'j', 1) m;
\set VERBOSITY default

DROP FUNCTION take_sql, take_plpgsql;
DROP PROCEDURE take_and_commit;
DROP VIEW next_message;
DROP TABLE work;
SELECT count(queue.drop_topic(t)) FROM unnest(ARRAY['t', 'j', 'empty']) t;
SELECT queue.drop_group('g'), queue.drop_group('p');
