--
-- deliver_at: a message may say when it is to be delivered.  What is stored, read,
-- copied and refused; that messages without it are stored as if there were no such
-- column.  (When groups get them: parking.)
--
\getenv abs_srcdir PG_ABS_SRCDIR
\i :abs_srcdir/sql/include/helpers.sql
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET default_toast_compression = pglz;
SELECT queue.create_topic('d', 1, 'text');
SELECT log FROM queue.topic WHERE name = 'd' \gset

-- Each way to produce; NULL, and not given, is none.
SELECT "offset" FROM queue.produce('d', 'produce'::text, deliver_at => '2001-02-03 04:05:06.789+00');
SELECT "offset" FROM queue.produce('d', 'typed'::varchar, 'k', deliver_at => '2001-02-03 04:05:07+00');
SELECT "offset" FROM queue.produce('d', 'none', 'k', deliver_at => NULL);
SELECT first_offset, last_offset FROM queue.produce_batch('d', ARRAY['batch 1', 'batch 2', 'batch 3'], ARRAY['k', NULL, NULL],
	deliver_at => ARRAY['2001-02-03', NULL, '2999-01-01']::timestamptz[]);
SELECT first_offset FROM queue.produce_batch('d', '{text}', headers => ARRAY['{"h": 1}']::jsonb[], deliver_at => '{2001-02-04}');
SELECT first_offset FROM queue.produce_batch('d', ARRAY['batch none'], deliver_at => NULL);
INSERT INTO topic.d (key, value, deliver_at) VALUES ('k', 'insert', '2001-02-05'), (NULL, 'insert none', NULL), (NULL, 'insert default', DEFAULT);
INSERT INTO topic.d (value, headers, deliver_at) VALUES ('returning', '{}', '2001-02-06'), ('returning none', NULL, NULL) RETURNING "offset", deliver_at;
COPY topic.d (key, value, deliver_at) FROM STDIN;
k	copy	2001-02-07 00:00:00+00
\N	copy none	\N
\.
PREPARE untyped AS SELECT (queue.produce($1, $2, deliver_at => $3)).offset;
EXECUTE untyped('d', 'untyped', '2001-02-08');
SELECT "offset", key, value, headers, deliver_at FROM topic.d ORDER BY "offset";
SELECT count(*), count(deliver_at) FROM topic.d WHERE deliver_at < '2100-01-01' OR deliver_at IS NULL;
-- fetch reads the log: a message that is delivered later is there at once.
SELECT m.offset, value FROM queue.fetch_typed('d', 0, 3, NULL::text, 3) m;

-- Refused, by whatever way; and nothing of the statement is stored.
SELECT queue.log_end('d', 0) \gset
SELECT queue.produce('d', 'x', deliver_at => 'infinity');
SELECT queue.produce('d', 'x', deliver_at => '-infinity');
SELECT queue.produce_batch('d', ARRAY['x', 'y'], deliver_at => ARRAY[NULL, 'infinity']::timestamptz[]);
SELECT queue.produce_batch('d', ARRAY['x', 'y'], deliver_at => ARRAY[now()]);
SELECT queue.produce_batch('d', ARRAY['x', 'y'], deliver_at => ARRAY[[now(), now()]]);
INSERT INTO topic.d (value, deliver_at) VALUES ('x', now()), ('y', 'infinity');
INSERT INTO topic.d (value, deliver_at) VALUES ('y', '-infinity') RETURNING "offset";
COPY topic.d (value, deliver_at) FROM STDIN;
x	now
y	infinity
\.
SELECT queue.produce('d', 'x', deliver_at => 'tomorrow or so');
SELECT queue.log_end('d', 0) = :log_end AS same;

-- A duplicate changes nothing, whatever its time.
SELECT duplicate FROM queue.produce('d', 'p', producer_id => 'p', sequence => 1, deliver_at => '2001-03-01');
SELECT duplicate FROM queue.produce('d', 'p', producer_id => 'p', sequence => 1, deliver_at => '2001-03-02');
SELECT duplicate FROM queue.produce('d', 'key', dedupe_key => 'k', deliver_at => '2001-03-01');
SELECT duplicate FROM queue.produce('d', 'key', dedupe_key => 'k');
-- In a batch the times stay with their messages, if some of these are left out.
SELECT count, duplicates FROM queue.produce_batch('d', ARRAY['p', 'p2', 'p3'], producer_id => 'p', first_sequence => 1,
	deliver_at => ARRAY['2001-04-01', '2001-04-02', NULL]::timestamptz[]);
SELECT count, duplicates FROM queue.produce_batch('d', ARRAY['key', 'l', 'm', 'l'], dedupe_keys => '{k,l,m,l}',
	deliver_at => ARRAY['2001-04-01', '2001-04-02', NULL, '2001-04-04']::timestamptz[]);
SELECT value, deliver_at FROM topic.d WHERE "offset" >= :log_end ORDER BY "offset";

-- Constraints and indexes see it.
ALTER TABLE :log ADD CONSTRAINT soon CHECK (deliver_at < '3000-01-01');
CREATE INDEX ON :log (deliver_at) WHERE deliver_at IS NOT NULL;
\set VERBOSITY sqlstate
SELECT queue.produce('d', 'x', deliver_at => '3001-01-01');
\set VERBOSITY default
SELECT (queue.produce('d', 'checked', deliver_at => '2002-01-01')).offset IS NOT NULL AS stored;
SET enable_seqscan = off;
SELECT value FROM topic.d WHERE deliver_at = '2002-01-01';
RESET enable_seqscan;

-- What is stored: the line pointers of a segment's first page, the number of
-- columns in each record's header, and its NULL bitmap if it has one.
CREATE FUNCTION pg_temp.records(topic text) RETURNS TABLE (record int, bytes int, columns int, bitmap text) LANGUAGE plpgsql AS $$
DECLARE
	page bytea;
	place int;
BEGIN
	CHECKPOINT;
	SELECT pg_read_binary_file(pg_relation_filepath(segment), 0, 8192) INTO page
	  FROM queue.segments s WHERE s.topic = records.topic ORDER BY first_offset LIMIT 1;
	FOR i IN 1 .. (get_byte(page, 12) + 256 * get_byte(page, 13) - 24) / 4 LOOP
		record := i;
		place := get_byte(page, 20 + 4 * record) + 256 * (get_byte(page, 21 + 4 * record) & 127);
		bytes := (get_byte(page, 22 + 4 * record) + 256 * get_byte(page, 23 + 4 * record)) >> 1;
		columns := get_byte(page, place + 18) + 256 * (get_byte(page, place + 19) & 7);
		bitmap := CASE WHEN get_byte(page, place + 20) & 1 = 1 THEN reverse(get_byte(page, place + 23)::bit(8)::text) ELSE get_byte(page, place + 23)::text END;
		RETURN NEXT;
	END LOOP;
END $$;
-- By produce, with values that are compressed or stored out of line, by INSERT, and
-- given to the segment as a restore does.
CREATE FUNCTION pg_temp.noise(n int) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(md5(n || ' ' || i), '') FROM generate_series(1, 300) i
$$;
SELECT queue.create_topic('s', 1, 'text');
SELECT (queue.produce('s', 'v', 'k', '{}')).offset;
SELECT (queue.produce('s', 'v')).offset;
SELECT (queue.produce('s', 'v', 'k', '{}', deliver_at => '2001-02-03')).offset;
SELECT (queue.produce('s', 'v', deliver_at => '2001-02-03')).offset;
SELECT (queue.produce('s', repeat('v', 3000), 'k', '{}')).offset;
SELECT (queue.produce('s', repeat('v', 3000), deliver_at => '2001-02-03')).offset;
SELECT (queue.produce('s', pg_temp.noise(1), 'k', '{}')).offset;
SELECT (queue.produce('s', pg_temp.noise(2), deliver_at => '2001-02-03')).offset;
INSERT INTO topic.s (key, value, headers) VALUES ('k', 'v', '{}'), (NULL, 'v', NULL);
SELECT * FROM pg_temp.records('s');
SELECT segment FROM queue.segments WHERE topic = 's' ORDER BY first_offset LIMIT 1 \gset
CREATE TEMP TABLE saved AS SELECT * FROM :segment;
CREATE TEMP TABLE records AS SELECT * FROM pg_temp.records('s');
SELECT queue.drop_topic('s');
SELECT queue.create_topic('s', 1, 'text');
SELECT FROM pg_temp.use_all('s');
SELECT segment FROM queue.segments WHERE topic = 's' ORDER BY first_offset LIMIT 1 \gset
INSERT INTO :segment SELECT * FROM saved ORDER BY "offset";
SELECT count(*) FROM (TABLE records EXCEPT SELECT * FROM pg_temp.records('s')) r;
SELECT count(*) FROM (TABLE saved EXCEPT SELECT * FROM :segment) r;
SELECT * FROM queue.verify('s');
SELECT queue.drop_topic('s');
SELECT queue.create_topic('bytes', 1, 'smallint');
SELECT (queue.produce('bytes', 1::smallint, 'k', '{}')).offset;
SELECT (queue.produce('bytes', 1::smallint, 'k', '{}', deliver_at => '2001-02-03')).offset;
SELECT * FROM pg_temp.records('bytes');
SELECT queue.drop_topic('bytes');

-- What is read is what was stored, whatever stands before: lengths, NULLs, types of
-- each alignment, out of line or not; read with limits and without.
CREATE TYPE pair AS (a bigint, b text);
CREATE TABLE source AS
SELECT row_number() OVER (ORDER BY length, what, mask)::int AS n,
       CASE WHEN mask & 1 <> 0 THEN CASE what WHEN 1 THEN repeat('k', length) ELSE 'k' || length END END AS key,
       CASE WHEN mask & 2 <> 0 THEN CASE what WHEN 2 THEN repeat('v', length) ELSE 'v' || length END END AS value,
       CASE WHEN mask & 4 <> 0 THEN CASE what WHEN 3 THEN jsonb_build_object('h', repeat('h', length)) ELSE '{}' END END AS headers,
       CASE WHEN (length + what + mask) % 3 > 0 THEN timestamptz '2001-01-01' + length * interval '1 s' END AS deliver_at
  FROM unnest(ARRAY[0, 1, 2, 3, 4, 5, 6, 7, 8, 125, 126, 127, 128, 1000, 3000, 9000]) length,
       generate_series(1, 3) what, generate_series(1, 7) mask
 WHERE mask <> 4;
SELECT count(*), count(deliver_at) FROM source;
CREATE FUNCTION pg_temp.try_type(type regtype, convert text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	typed text := format('(%s)::%s', convert, type);
	way text;
	columns text;
	wrong bigint;
	result text := '';
BEGIN
	FOREACH way IN ARRAY ARRAY[
		format('SELECT queue.produce(''ty'', %s, key, headers, deliver_at => deliver_at) FROM source ORDER BY n', typed),
		format('SELECT queue.produce_batch(''ty'', array_agg((%s)::text ORDER BY n), array_agg(key ORDER BY n), array_agg(headers ORDER BY n), deliver_at => array_agg(deliver_at ORDER BY n)) FROM source', typed),
		format('INSERT INTO topic.ty (key, value, headers, deliver_at) SELECT key, %s, headers, deliver_at FROM source ORDER BY n', typed)]
	LOOP
		PERFORM queue.create_topic('ty', 1, type);
		EXECUTE way;
		FOREACH way IN ARRAY ARRAY[
			'SELECT "offset", key, value::text, headers, deliver_at FROM topic.ty',
			format('SELECT "offset", key, value::text, headers, NULL::timestamptz FROM queue.fetch_typed(''ty'', 0, 0, NULL::%s, 100000)', type),
			format('SELECT "offset", key, value::text, headers, NULL::timestamptz FROM queue.fetch_typed(''ty'', 0, 0, NULL::%s, 100000, 100000000)', type),
			format('SELECT "offset", key, value::text, headers, NULL::timestamptz FROM queue.consume_typed(''g'', ''ty'', NULL::%s, 100000) WHERE attempt = 1', type),
			-- behind them stand the epoch, which is a time, and the attempt
			format('SELECT "offset", key, value::text, headers, NULL::timestamptz FROM queue.poll_typed(''p'', ''ty'', ''m'', NULL::%s, 100000) WHERE to_timestamp(946684800 + epoch / 1e6) BETWEEN now() - interval ''1 day'' AND now() + interval ''1 day'' AND attempt = 1', type)]
		LOOP
			columns := format('n - 1, key, (%s)::text, headers, %s', typed,
				CASE WHEN way LIKE '%topic.ty' THEN 'deliver_at' ELSE 'NULL::timestamptz' END);
			EXECUTE format('CREATE TEMP TABLE rows_read ON COMMIT DROP AS %s', way);
			EXECUTE format('SELECT (SELECT count(*) FROM (TABLE rows_read EXCEPT SELECT %s FROM source) d)
				+ (SELECT count(*) FROM (SELECT %1$s FROM source EXCEPT TABLE rows_read) d)', columns) INTO wrong;
			result := result || CASE wrong WHEN 0 THEN 'same ' ELSE wrong || ' other ' END;
			DROP TABLE rows_read;
		END LOOP;
		PERFORM queue.drop_topic('ty');
	END LOOP;
	PERFORM queue.drop_group('g'), queue.drop_group('p');
	RETURN result;
END $$;
SELECT type, pg_temp.try_type(type::regtype, convert)
  FROM (VALUES ('text', 'value'), ('jsonb', 'to_jsonb(value)'), ('bytea', 'convert_to(value, ''UTF8'')'), ('name', 'left(value, 63)'),
               ('boolean', 'length(value) > 3'), ('smallint', 'length(value)'), ('int', 'length(value)'), ('bigint', 'length(value)'),
               ('numeric', 'length(value) * 1e50'), ('uuid', 'md5(value)'), ('bigint[]', 'ARRAY[length(value), NULL]'),
               ('pair', 'CASE WHEN value IS NOT NULL THEN ROW(length(value), value)::pair END')) t(type, convert);
DROP TABLE source;
DROP TYPE pair;

-- Compaction keeps the latest message of a key, delayed or not: also one that takes
-- the place of a message which is to be delivered after it.
SET queue.compaction_min_dirty_ratio = 0;
SET client_min_messages = warning;
SELECT queue.create_topic('c', 1, 'text', segment_messages => 10, cleanup_policy => 'compact');
SELECT sum(count) FROM queue.produce_batch('c', ARRAY(SELECT CASE n % 4 WHEN 0 THEN pg_temp.noise(n) ELSE n::text END FROM generate_series(1, 30) n),
	ARRAY(SELECT 'k' || n % 7 FROM generate_series(1, 30) n),
	deliver_at => ARRAY(SELECT CASE WHEN n % 3 > 0 THEN timestamptz '2900-01-01' - n * interval '1 day' END FROM generate_series(1, 30) n));
CREATE TEMP TABLE latest AS SELECT DISTINCT ON (key) * FROM topic.c ORDER BY key, "offset" DESC;
SELECT sum(count) FROM queue.produce_batch('c', ARRAY(SELECT 'x' FROM generate_series(1, 12) n), ARRAY(SELECT 'x' || n FROM generate_series(1, 12) n));
CALL pg_temp.settle('c');
CALL queue.maintain('c');
SELECT "offset", key, length(value), deliver_at FROM topic.c WHERE key LIKE 'k%' ORDER BY "offset";
SELECT count(*) FROM (TABLE latest EXCEPT SELECT * FROM topic.c) l;
SELECT count(*), sum(length(value)) = (SELECT sum(length(value)) FROM latest) AS same FROM queue.fetch_typed('c', 0, 0, NULL::text, 1000) WHERE key LIKE 'k%';
SELECT * FROM queue.verify('c');
RESET queue.compaction_min_dirty_ratio;

SELECT queue.drop_topic('c'), queue.drop_topic('d');
