--
-- A topic's view topic.<name>: INSERT and COPY.
--
\getenv abs_srcdir PG_ABS_SRCDIR
\i :abs_srcdir/sql/include/helpers.sql
SELECT queue.create_topic('sale', partitions => 2);

-- INSERT answers with what the log assigned.
INSERT INTO topic.sale (key, value) VALUES ('a', '{"n": 1}')
  RETURNING partition = queue.partition_for_key('a', 2) AS right, "offset", "timestamp" >= now() AS now, key, value, headers;
INSERT INTO topic.sale (value, headers, partition) VALUES ('2', '{"h": 1}', 1), ('3', NULL, 1), ('4', DEFAULT, 0)
  RETURNING partition, value, headers, "offset";
INSERT INTO topic.sale (partition, key) VALUES (0, 'dead') RETURNING key, value;
INSERT INTO topic.sale (partition, "offset", "timestamp", key, value, headers)
  VALUES (1, DEFAULT, NULL, NULL, '5', NULL) RETURNING value;
-- A column list is not needed: the columns are the view's.
INSERT INTO topic.sale VALUES (1, NULL, NULL, 'k', '6') RETURNING value;
-- What the trigger stored is what the rows are.
SELECT partition, "offset", key, value, headers FROM topic.sale ORDER BY partition, "offset";

-- INSERT … SELECT keeps the order; rows without a key are spread by runs.
SELECT queue.create_topic('many', partitions => 2, value_type => 'int');
INSERT INTO topic.many (value) SELECT generate_series(1, 5000);
SELECT count(*), count(*) FILTER (WHERE value < before) AS disordered
  FROM (SELECT value, lag(value) OVER (PARTITION BY partition ORDER BY "offset") AS before FROM topic.many) o;
SELECT count(*) FILTER (WHERE partition <> before) BETWEEN 1 AND 5 AS few_runs
  FROM (SELECT partition, lag(partition) OVER (ORDER BY value) AS before FROM topic.many) o;
SELECT min(count) >= 2000 AS spread FROM (SELECT count(*) FROM topic.many GROUP BY partition) c;
-- In a CTE; through another view over it.
WITH put AS (INSERT INTO topic.many (value, partition) VALUES (-1, 0), (-2, 0) RETURNING value, partition)
SELECT * FROM put;
CREATE VIEW over_it AS SELECT key, value FROM topic.many;
INSERT INTO over_it VALUES ('k', -3) RETURNING *;
SELECT value FROM over_it WHERE value < 0 ORDER BY value;
DROP VIEW over_it;
-- A failing row takes its statement with it.
INSERT INTO topic.many (value) SELECT 1 / (3 - n) FROM generate_series(1, 5) n;
SELECT count(*) FROM topic.many WHERE value = 0;

-- Rows that wait for the end of their statement: nothing is lost, nothing is
-- left over, whatever happens meanwhile.
SELECT queue.create_topic('wait', 1, 'text');
CREATE FUNCTION inner_insert(n int, undo boolean) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	BEGIN
		INSERT INTO topic.wait (value) VALUES ('inner ' || n);
		PERFORM queue.produce('wait', 'produced ' || n);
		IF undo THEN
			RAISE division_by_zero;
		END IF;
	EXCEPTION WHEN division_by_zero THEN
		NULL;
	END;
	RETURN 'outer ' || n;
END $$;
INSERT INTO topic.wait (value) SELECT inner_insert(n, n % 2 = 0) FROM generate_series(1, 6) n;
SELECT value FROM topic.wait ORDER BY value COLLATE "C";
SELECT string_agg(value, ', ' ORDER BY "offset") FROM topic.wait WHERE value LIKE 'outer%';
-- The next statement of the transaction finds them; a savepoint takes its own.
BEGIN;
INSERT INTO topic.wait (value) SELECT 'a' || n FROM generate_series(1, 3) n;
SELECT count(*) FROM topic.wait WHERE value LIKE 'a%';
SAVEPOINT s;
INSERT INTO topic.wait (value) SELECT 'x' || n FROM generate_series(1, 1500) n;
INSERT INTO topic.wait (value) SELECT CASE WHEN n < 1400 THEN 'x' || n ELSE (1 / (1400 - n))::text END FROM generate_series(1, 1500) n;
ROLLBACK TO s;
INSERT INTO topic.wait (value) SELECT 'b' || n FROM generate_series(1, 3) n;
SELECT "offset" IS NOT NULL AS stored FROM queue.produce('wait', 'c1');
COMMIT;
SELECT string_agg(value, ' ' ORDER BY "offset") FROM topic.wait WHERE value ~ '^[abcx]';
-- A statement that fails leaves nothing to the next.
INSERT INTO topic.wait (value) SELECT CASE WHEN n < 3 THEN 'x' || n ELSE (1 / (3 - n))::text END FROM generate_series(1, 5) n;
INSERT INTO topic.wait (value) VALUES ('d1'), ('d2');
-- Through a view, a rule, a prepared statement, a trigger.
CREATE VIEW over_it AS SELECT key, value FROM topic.wait;
INSERT INTO over_it (value) VALUES ('e1'), ('e2');
PREPARE put(text) AS INSERT INTO topic.wait (value) VALUES ($1), ($1 || $1);
EXECUTE put('f');
CREATE TABLE business (v text);
CREATE RULE also AS ON INSERT TO business DO ALSO INSERT INTO topic.wait (value) VALUES ('g' || NEW.v);
INSERT INTO business VALUES ('1'), ('2');
DROP RULE also ON business;
CREATE FUNCTION outbox() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN INSERT INTO topic.wait (value) VALUES ('h' || NEW.v); RETURN NULL; END $$;
CREATE TRIGGER outbox AFTER INSERT ON business FOR EACH ROW EXECUTE FUNCTION outbox();
INSERT INTO business VALUES ('1'), ('2');
COPY business FROM STDIN;
3
4
\.
DROP TRIGGER outbox ON business;
CREATE CONSTRAINT TRIGGER outbox AFTER INSERT ON business INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION outbox();
BEGIN;
INSERT INTO topic.wait (value) VALUES ('h5');
INSERT INTO business VALUES ('6');
INSERT INTO topic.wait (value) VALUES ('h5b');
COMMIT;
SELECT string_agg(value, ' ' ORDER BY "offset") FROM topic.wait WHERE value ~ '^[defghx]';
-- What a session consumes goes into a topic in one statement.
SELECT count(*) FROM queue.consume_typed('skip', 'wait', NULL::text, 1000);
SELECT count(*) FROM queue.produce_batch('wait', ARRAY['i1', 'i2', 'i3']);
INSERT INTO topic.wait (value) SELECT value || '+' FROM queue.consume_typed('skip', 'wait', NULL::text);
INSERT INTO topic.wait (value) SELECT value || '+' FROM queue.consume_typed('skip', 'wait', NULL::text);
SELECT string_agg(value, ' ' ORDER BY "offset") FROM topic.wait WHERE value ~ '^i[0-9]';
SELECT * FROM queue.verify('wait');
DROP VIEW over_it;
DROP TABLE business;
DROP FUNCTION outbox(), inner_insert(int, boolean);
SELECT queue.drop_topic('wait');

-- A constraint whose function produces, while waiting rows go out.
SELECT queue.create_topic('main', 1, 'text');
SELECT queue.create_topic('audit', 1, 'text');
SELECT log FROM queue.topic WHERE name = 'main' \gset
CREATE FUNCTION audit(v text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	IF v IN ('3', '1003') THEN
		PERFORM queue.produce('audit', 'produced for ' || v);
		INSERT INTO topic.audit (value) VALUES ('inserted for ' || v);
	END IF;
	RETURN true;
END $$;
ALTER TABLE :log ADD CHECK (audit(value));
INSERT INTO topic.main (value) SELECT n FROM generate_series(1, 2500) n;
INSERT INTO topic.main (value) SELECT n FROM generate_series(1, 5) n;
COPY topic.main (value) FROM STDIN;
2
3
4
\.
SELECT count(*), count(*) FILTER (WHERE value::int <> "offset" + 1) AS misplaced FROM topic.main WHERE "offset" < 2500;
SELECT string_agg(value, ' ' ORDER BY "offset") FROM topic.main WHERE "offset" >= 2500;
SELECT "offset", value FROM topic.audit ORDER BY "offset";
-- A constraint's function runs once for each message, in whatever chunks they are
-- written.
SELECT queue.create_topic('checked', 1, 'text');
SELECT FROM pg_temp.use_all('checked');
SELECT log FROM queue.topic WHERE name = 'checked' \gset checked_
CREATE SEQUENCE checks;
CREATE FUNCTION counted(v text) RETURNS boolean LANGUAGE sql AS $$SELECT nextval('checks') > 0$$;
ALTER TABLE :checked_log ADD CHECK (counted(value));
SELECT count FROM queue.produce_batch('checked', ARRAY(SELECT rpad(n::text, 1500) FROM generate_series(1, 2500) n));
INSERT INTO topic.checked (value) SELECT rpad(n::text, 1500) FROM generate_series(1, 2500) n;
SELECT last_value FROM checks;
SELECT queue.drop_topic('checked');

-- Without the trigger that ends the statement: at COMMIT.
SET queue.allow_ddl = on;
DROP TRIGGER produce_flush ON topic.main;
RESET queue.allow_ddl;
BEGIN;
INSERT INTO topic.main (value) VALUES ('3'), ('last');
COMMIT;
SELECT "offset", value FROM topic.audit ORDER BY "offset" DESC LIMIT 2;
SELECT * FROM queue.verify('main');
SELECT queue.drop_topic('main');
SELECT queue.drop_topic('audit');
DROP FUNCTION audit(text);

-- COPY, in and out.
COPY topic.sale (key, value) FROM STDIN;
c1	{"n": 7}
c2	\N
\.
COPY topic.sale (partition, value, headers) FROM STDIN (FORMAT csv);
1,"{""n"": 8}","{""h"": 2}"
1,9,
\.
COPY (SELECT key, value, headers FROM topic.sale WHERE "offset" > 0 ORDER BY value->>'n' NULLS LAST, value, key) TO STDOUT;
COPY topic.sale TO STDOUT;
COPY topic.sale (value) FROM STDIN;
10
{
\.
SELECT count(*) FROM topic.sale WHERE value = '10';

-- The log assigns offset and time.
\set VERBOSITY sqlstate
INSERT INTO topic.sale ("offset", value) VALUES (7, '1');
INSERT INTO topic.sale ("timestamp", value) VALUES (now(), '1');
COPY topic.sale ("offset", value) FROM STDIN;
7	1
\.
-- As with produce: 22004, 22023, 22023, 22P02.
INSERT INTO topic.sale DEFAULT VALUES;
INSERT INTO topic.sale (value, headers) VALUES ('1', '[]');
INSERT INTO topic.sale (value, partition) VALUES ('1', 2);
INSERT INTO topic.sale (value) VALUES ('{');
\set VERBOSITY default
INSERT INTO topic.sale ("offset", value) VALUES (7, '1');

-- Messages are never changed.
UPDATE topic.sale SET value = '0';
DELETE FROM topic.sale;
\set VERBOSITY sqlstate
UPDATE topic.sale SET value = '0' WHERE key = 'a';
UPDATE topic.sale SET value = '0' WHERE false;
DELETE FROM topic.sale WHERE "offset" = 0;
SELECT * FROM topic.sale FOR UPDATE;
SELECT * FROM topic.sale FOR NO KEY UPDATE;
SELECT * FROM topic.sale FOR SHARE;
SELECT * FROM topic.sale FOR KEY SHARE SKIP LOCKED;
TRUNCATE topic.sale;
INSERT INTO topic.sale (key, value) VALUES ('a', '1') ON CONFLICT (key) DO NOTHING;
INSERT INTO topic.sale (key, value) VALUES ('a', '1') ON CONFLICT (key) DO UPDATE SET value = '2';
MERGE INTO topic.sale f USING (VALUES ('a')) v(k) ON f.key = v.k WHEN MATCHED THEN DELETE;
\set VERBOSITY default
SELECT count(*) FROM topic.sale;

-- Where the trigger would not fire, rows must not vanish.
SET session_replication_role = replica;
INSERT INTO topic.sale (value) VALUES ('1');
\set VERBOSITY sqlstate
INSERT INTO topic.sale (key, value) SELECT 'a', '1' FROM generate_series(1, 3);
INSERT INTO topic.sale ("offset", value) VALUES (DEFAULT, '1');
INSERT INTO topic.sale ("offset", value) VALUES (NULL, '1');
COPY topic.sale (value) FROM STDIN;
1
\.
\set VERBOSITY default
SELECT "offset" IS NOT NULL AS stored FROM queue.produce('sale', '"by function"');
RESET session_replication_role;
SELECT count(*) FROM topic.sale;

-- Read-only transactions.
BEGIN READ ONLY;
INSERT INTO topic.sale (value) VALUES ('1');
ROLLBACK;

-- Plain SQL over a topic: conditions reach the segments.
SELECT count(*) FROM topic.sale f JOIN topic.many m ON m.partition = f.partition AND m.offset = f.offset;
SELECT value FROM topic.many WHERE partition = 1 AND "offset" = 10 AND value < 0;
-- 19 adds a line on the table whose scan was left out.
CREATE FUNCTION pg_temp.plan(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	line text;
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
		IF line !~ '^ *Replaces: ' THEN
			RETURN NEXT line;
		END IF;
	END LOOP;
END $$;
SELECT * FROM pg_temp.plan('SELECT value FROM topic.many WHERE partition = 2 AND "offset" = 10');
SELECT queue.drop_topic('sale');
SELECT queue.drop_topic('many');
