--
-- Large values: toasted, whole, and refused with a clear error where they end.
--
CREATE FUNCTION pg_temp.noise(seed bigint, bytes int) RETURNS text LANGUAGE sql AS
$$ SELECT left(string_agg(md5(seed || ':' || n), ''), bytes) FROM generate_series(1, bytes / 32 + 1) n $$;
SELECT queue.create_topic('l', 1, 'text');

-- Around the size at which values leave the row, and 1 MB, compressible or not.
CREATE TABLE source AS
SELECT n, length, CASE WHEN n % 2 = 0 THEN repeat('x', length) ELSE pg_temp.noise(n, length) END AS value
  FROM unnest(ARRAY[0, 1, 1900, 1950, 1999, 2000, 2001, 2032, 2033, 2100, 7900, 8000, 8100, 8200, 20000, 100000, 1048576, 1048577, 1048576])
       WITH ORDINALITY u(length, n);
SELECT count(queue.produce('l', value, key => n::text)) FROM (SELECT * FROM source ORDER BY n) s;
SELECT count(*), count(*) FILTER (WHERE m.value <> s.value) AS changed, sum(length(m.value)) = sum(s.length) AS whole
  FROM queue.consume_typed('g', 'l', NULL::text, 1000) m JOIN source s ON s.n = m.key::int;
SELECT segment FROM queue.segments WHERE topic = 'l' ORDER BY first_offset LIMIT 1 \gset
SELECT reltoastrelid <> 0 AS has_toast FROM pg_class WHERE oid = :'segment'::regclass;
-- What is stored out of line is stored for good: the source may go.
SELECT count FROM queue.produce_batch('l', ARRAY(SELECT value FROM source ORDER BY n), ARRAY(SELECT n::text FROM source ORDER BY source.n));
INSERT INTO topic.l (key, value) SELECT n, value FROM source ORDER BY n;
SELECT n, length, md5(value) AS sum INTO sums FROM source;
DROP TABLE source;
SELECT count(*), count(*) FILTER (WHERE md5(m.value) <> s.sum OR length(m.value) <> s.length) AS changed
  FROM queue.fetch_typed('l', 0, 19, NULL::text, 1000) m JOIN sums s ON s.n = m.key::int;
-- Also before the statement ends: a function that it calls truncates or drops the
-- source of the rows before.
CREATE FUNCTION pg_temp.truncated(n int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	v text;
BEGIN
	TRUNCATE pg_temp.kept;
	INSERT INTO pg_temp.kept VALUES (pg_temp.noise(n, 20000));
	SELECT value INTO v FROM pg_temp.kept;
	RETURN v;
END $$;
CREATE FUNCTION pg_temp.dropped(n int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	v text;
BEGIN
	DROP TABLE IF EXISTS pg_temp.kept;
	CREATE TEMP TABLE kept AS SELECT pg_temp.noise(n, 20000) AS value;
	SELECT value INTO v FROM pg_temp.kept;
	RETURN v;
END $$;
SELECT queue.create_topic('f', 1, 'text');
CREATE TEMP TABLE kept (value text);
INSERT INTO topic.f (key, value) SELECT n, pg_temp.truncated(n) FROM generate_series(1, 3) n;
SET client_min_messages = warning;
INSERT INTO topic.f (key, value) SELECT n, pg_temp.dropped(n) FROM generate_series(4, 6) n;
RESET client_min_messages;
SELECT key, value = pg_temp.noise(key::int, 20000) AS same FROM topic.f ORDER BY "offset";
SELECT queue.drop_topic('f');
-- A large key and large headers.
SELECT "offset" FROM queue.produce('l', 'v', key => repeat('k', 1000000), headers => jsonb_build_object('h', pg_temp.noise(1, 100000)));
SELECT length(key), length(headers->>'h'), value FROM topic.l WHERE "offset" = 57;
-- A batch that was read stays readable behind a COMMIT, and without its topic.
SELECT queue.create_topic('gone', 1, 'text');
SELECT count FROM queue.produce_batch('gone', ARRAY[pg_temp.noise(1, 100000), pg_temp.noise(2, 100000), pg_temp.noise(3, 100000)]);
DO $$
DECLARE
	m record;
BEGIN
	FOR m IN SELECT * FROM queue.consume_typed('g', 'gone', NULL::text) LOOP
		COMMIT;
		IF m.offset = 0 THEN
			PERFORM queue.drop_topic('gone');
			COMMIT;
		END IF;
		RAISE NOTICE 'offset %: % bytes, same: %', m.offset, length(m.value), m.value = pg_temp.noise(m.offset + 1, 100000);
	END LOOP;
END $$;

-- So does what a cursor, or the statement itself, has yet to give: its own session
-- is told that the messages are in use.
SELECT queue.create_topic('used', 1, 'text', 2);
SELECT count FROM queue.produce_batch('used', ARRAY(SELECT pg_temp.noise(n, 20000) FROM generate_series(1, 5) n));
CREATE FUNCTION pg_temp.same("offset" bigint, value text) RETURNS boolean LANGUAGE sql AS 'SELECT $2 = pg_temp.noise($1 + 1, 20000)';
\set VERBOSITY terse
SET client_min_messages = error;
BEGIN;
DECLARE c CURSOR FOR SELECT m.offset, pg_temp.same(m.offset, value) FROM queue.fetch_typed('used', 0, 0, NULL::text) m;
FETCH 1 FROM c;
SAVEPOINT s;
\set VERBOSITY sqlstate
SELECT queue.drop_topic('used');
ROLLBACK TO s;
SELECT next_offset FROM queue.archive_segment('used', 0, 'public.regress_used', force => true);
ROLLBACK TO s;
\set VERBOSITY terse
SELECT log_start, segments FROM queue.delete_messages('used', 0, 4, force => true);
FETCH ALL FROM c;
ROLLBACK TO s;
CLOSE c;
SELECT log_start, segments FROM queue.delete_messages('used', 0, 2, force => true);
COMMIT;
BEGIN;
SELECT m.offset, d.segments, pg_temp.same(m.offset, value) FROM queue.consume_typed('g', 'used', NULL::text) m,
	LATERAL queue.delete_messages('used', 0, 4, force => m.offset >= 0) d;
ROLLBACK;
-- Also if the plan goes over the rows again, without another call.
SET enable_material = off;
BEGIN;
SELECT n, m.offset, d.segments, pg_temp.same(m.offset, value)
  FROM generate_series(1, 2) n LEFT JOIN queue.fetch_typed('used', 0, 2, NULL::text) m ON true,
	LATERAL queue.delete_messages('used', 0, 4, force => m.offset + n >= 0) d;
ROLLBACK;
RESET enable_material;
BEGIN;
DO $$
DECLARE
	m record;
BEGIN
	FOR m IN SELECT * FROM queue.fetch_typed('used', 0, 2, NULL::text) LOOP
		RAISE INFO 'offset %, segments %, same: %', m.offset, (queue.delete_messages('used', 0, 4, force => true)).segments, pg_temp.same(m.offset, m.value);
	END LOOP;
END $$;
ROLLBACK;
SELECT segments FROM queue.delete_messages('used', 0, 4, force => true);
RESET client_min_messages;
\set VERBOSITY default
SELECT queue.drop_topic('used');

-- In a transaction that is rolled back, and VACUUM.
BEGIN;
SELECT count FROM queue.produce_batch('l', ARRAY[pg_temp.noise(2, 200000), repeat('z', 2000000)]);
ROLLBACK;
VACUUM :segment;
SELECT count(*), count(*) FILTER (WHERE md5(m.value) <> s.sum) AS changed
  FROM queue.fetch_typed('l', 0, 0, NULL::text, 1000) m LEFT JOIN sums s ON s.n::text = m.key;
SELECT queue.create_group('end', 'l', 'latest');
SELECT "offset" FROM queue.produce('l', pg_temp.noise(3, 300000));
SELECT m.offset, md5(value) = md5(pg_temp.noise(3, 300000)) AS same FROM queue.consume_typed('end', 'l', NULL::text) m;
SELECT * FROM queue.verify('l');

-- Too large: 54000, and nothing of it is there.
SELECT queue.log_end('l', 0) AS before \gset
SELECT queue.produce('l', repeat(repeat('x', 1024), 1048574));
\set VERBOSITY sqlstate
SELECT queue.produce_batch('l', ARRAY['small', repeat(repeat('x', 1024), 1048574)]);
\set VERBOSITY default
SELECT queue.log_end('l', 0) = :before AS as_before;
SELECT count(*) FROM queue.fetch_typed('l', 0, :before, NULL::text);
SELECT count(*) FROM queue.produce('l', 'goes on');
SELECT value FROM queue.consume_typed('end', 'l', NULL::text);
SELECT queue.drop_topic('l');

-- A batch that does not fit its segment: what lands in the next one is not
-- toasted for the full one, but for one value each time the producer finds out
-- that it is full.
SELECT queue.create_topic('bounds', 1, 'text', segment_messages => 10);
CREATE FUNCTION pg_temp.toasted() RETURNS TABLE (first_offset bigint, messages bigint, toasted bigint) LANGUAGE plpgsql AS $$
DECLARE
	s record;
BEGIN
	FOR s IN SELECT l.first_offset, segment, reltoastrelid::regclass AS toast FROM queue.segments l JOIN pg_class ON oid = segment
	          WHERE topic = 'bounds' ORDER BY l.first_offset LOOP
		first_offset := s.first_offset;
		EXECUTE format('SELECT count(*), (SELECT count(DISTINCT chunk_id) FROM %s) FROM %s', s.toast, s.segment) INTO messages, toasted;
		IF messages > 0 THEN
			RETURN NEXT;
		END IF;
	END LOOP;
END $$;
SELECT first_offset, last_offset FROM queue.produce_batch('bounds', ARRAY(SELECT pg_temp.noise(n, 5000) FROM generate_series(0, 6) n));
SELECT first_offset, last_offset FROM queue.produce_batch('bounds', ARRAY(SELECT pg_temp.noise(n, 5000) FROM generate_series(7, 39) n));
SELECT first_offset, messages, toasted - messages BETWEEN 0 AND 4 AS few_in_vain FROM pg_temp.toasted();
-- The segment is full before the batch; rows that wait; values that come toasted.
INSERT INTO topic.bounds (value) SELECT pg_temp.noise(n, 5000) FROM generate_series(40, 64) n;
CREATE TEMP TABLE source AS SELECT n, pg_temp.noise(n, 5000) AS value FROM generate_series(65, 84) n;
INSERT INTO topic.bounds (value) SELECT value FROM source ORDER BY n;
SELECT first_offset, messages, toasted - messages BETWEEN 0 AND 4 AS few_in_vain FROM pg_temp.toasted();
SELECT count(*), count(*) FILTER (WHERE value <> pg_temp.noise(m.offset, 5000)) AS wrong FROM queue.fetch_typed('bounds', 0, 0, NULL::text, 1000) m;
DROP TABLE source;
SELECT queue.drop_topic('bounds');

-- Values that are expanded in memory or hold toasted parts.
CREATE TYPE part AS (id int, body text);
SELECT queue.create_topic('arrays', 1, 'int[]');
SELECT queue.create_topic('parts', 1, 'part');
SELECT queue.create_topic('docs');
CREATE TABLE source AS SELECT n AS id, pg_temp.noise(n, 50000) AS body FROM generate_series(1, 3) n;
DO $$
DECLARE
	a int[] := ARRAY(SELECT generate_series(1, 20000));
	p part;
	r record;
BEGIN
	a[20001] := 7;
	PERFORM queue.produce('arrays', a);
	FOR r IN SELECT * FROM source ORDER BY id LOOP
		p := ROW(r.id, r.body);
		p.id := p.id * 10;
		PERFORM queue.produce('parts', p);
	END LOOP;
	PERFORM queue.produce('parts', (SELECT ROW(id, body)::part FROM source WHERE id = 2));
	PERFORM queue.produce_batch('parts', ARRAY(SELECT ROW(id, body)::part FROM source ORDER BY id));
	PERFORM queue.produce('docs', jsonb_agg(s ORDER BY id)) FROM source s;
END $$;
TRUNCATE source;
DROP TABLE source;
SELECT cardinality(value), value[20001] FROM queue.consume_typed('g', 'arrays', NULL::int[]);
SELECT m.offset, (value).id, (value).body = pg_temp.noise((value).id / CASE WHEN (value).id >= 10 THEN 10 ELSE 1 END, 50000) AS same
  FROM queue.consume_typed('g', 'parts', NULL::part) m;
SELECT jsonb_array_length(value), value->2->>'body' = pg_temp.noise(3, 50000) AS same FROM queue.consume('g', 'docs');
SELECT queue.drop_topic(t) FROM unnest(ARRAY['arrays', 'parts', 'docs']) t;
DROP TYPE part;
DROP TABLE sums;
