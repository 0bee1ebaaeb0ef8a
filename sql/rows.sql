--
-- A message comes out as it went in: every combination of NULLs, lengths around
-- the sizes at which PostgreSQL stores values differently, topic names of every
-- length, types of every alignment; by produce, produce_batch and INSERT;
-- read by consume, fetch and plain SQL.
--
CREATE TYPE pair AS (a bigint, b text);
CREATE TABLE source (n int, key text, value text, headers jsonb);
-- Lengths: short and long headers of a varlena, what fits a page and what does
-- not; each as key, as value and in headers, with and without the others.
INSERT INTO source
SELECT row_number() OVER (ORDER BY length, what, mask),
       CASE WHEN mask & 1 <> 0 THEN CASE what WHEN 'key' THEN repeat('k', length) ELSE 'k' || length END END,
       CASE WHEN mask & 2 <> 0 THEN CASE what WHEN 'value' THEN repeat('v', length) ELSE 'v' || length END END,
       CASE WHEN mask & 4 <> 0 THEN CASE what WHEN 'headers' THEN jsonb_build_object('h', repeat('h', length)) ELSE '{}' END END
  FROM unnest(ARRAY[0, 1, 2, 3, 4, 5, 7, 8, 125, 126, 127, 128, 1000, 3000, 9000]) length,
       unnest(ARRAY['key', 'value', 'headers']) what,
       generate_series(1, 7) mask
 WHERE mask NOT IN (4);         -- neither key nor value
SELECT count(*) FROM source;

-- What differs between the source and what a way of reading returns.
CREATE FUNCTION pg_temp.differences(topic text, type regtype, convert text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	way text;
	rows bigint;
	wrong bigint;
	result text := '';
	source text := format('SELECT key, (%s)::text, headers FROM source', convert);
BEGIN
	FOREACH way IN ARRAY ARRAY[
		format('SELECT key, value::text, headers, "offset" FROM topic.%I', topic),
		format('SELECT m.key, m.value::text, m.headers, m.offset FROM queue.fetch_typed(%L, 0, 0, value_type => NULL::%s, max_messages => 100000) m', topic, type),
		format('SELECT m.key, m.value::text, m.headers, m.offset FROM queue.consume_typed(''g'', %L, value_type => NULL::%s, max_messages => 100000) m', topic, type)]
	LOOP
		EXECUTE format('CREATE TEMP TABLE rows_read ON COMMIT DROP AS %s', way);
		EXECUTE format('SELECT count(*), (SELECT count(*) FROM (SELECT key, value, headers FROM rows_read EXCEPT ALL (%s)) d)
			+ (SELECT count(*) FROM ((%s) EXCEPT ALL SELECT key, value, headers FROM rows_read) d) FROM rows_read', source, source)
			INTO rows, wrong;
		result := result || format('%s rows, %s wrong; ', rows, wrong);
		DROP TABLE rows_read;
	END LOOP;
	RETURN result;
END $$;

-- Names of every length.
CREATE FUNCTION pg_temp.try_name(name text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	PERFORM queue.create_topic(name, 1, 'text');
	PERFORM queue.produce_batch(name, array_agg(value ORDER BY n), array_agg(key ORDER BY n), array_agg(headers ORDER BY n)) FROM source;
	result := pg_temp.differences(name, 'text', 'value');
	IF EXISTS (SELECT FROM queue.fetch_typed(name, 0, 0, NULL::text, 1000) m WHERE m.topic <> name OR m.partition <> 0 OR m.timestamp > clock_timestamp()) THEN
		result := result || 'other columns wrong';
	END IF;
	PERFORM queue.drop_topic(name);
	RETURN result;
END $$;
SELECT pg_temp.try_name(repeat('n', length)), count(*) AS names, min(length), max(length)
  FROM generate_series(1, 63) length GROUP BY 1;

-- Types of every length and alignment, each way to produce.
CREATE FUNCTION pg_temp.try_type(type regtype, convert text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	typed text := format('(%s)::%s', convert, type);
	way text;
	result text := '';
BEGIN
	FOREACH way IN ARRAY ARRAY[
		format('SELECT queue.produce(''ty'', %s, key, headers) FROM source ORDER BY n', typed),
		format('SELECT queue.produce(''ty'', (%s)::text, key, headers) FROM source ORDER BY n', typed),
		format('SELECT queue.produce_batch(''ty'', array_agg(%s ORDER BY n), array_agg(key ORDER BY n), array_agg(headers ORDER BY n)) FROM source', typed),
		format('SELECT queue.produce_batch(''ty'', array_agg((%s)::text ORDER BY n), array_agg(key ORDER BY n), array_agg(headers ORDER BY n)) FROM source', typed),
		format('INSERT INTO topic.ty (key, value, headers) SELECT key, %s, headers FROM source ORDER BY n', typed)]
	LOOP
		-- an array of arrays would have two dimensions
		CONTINUE WHEN type::text LIKE '%[]' AND way LIKE '%array_agg(' || typed || '%';
		PERFORM queue.create_topic('ty', 1, type);
		EXECUTE way;
		result := result || CASE pg_temp.differences('ty', type, typed)
			WHEN '270 rows, 0 wrong; 270 rows, 0 wrong; 270 rows, 0 wrong; ' THEN 'same '
			ELSE 'OTHER ' END;
		PERFORM queue.drop_topic('ty');
	END LOOP;
	RETURN result;
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ': ' || SQLERRM;
END $$;
SELECT type, pg_temp.try_type(type::regtype, convert)
  FROM (VALUES ('text', 'value'), ('jsonb', 'to_jsonb(value)'), ('json', 'to_json(value)'), ('bytea', 'convert_to(value, ''UTF8'')'),
               ('varchar', 'value'), ('bpchar', 'value'), ('name', 'left(value, 63)'),
               ('boolean', 'length(value) > 3'), ('smallint', 'length(value)'), ('int', 'length(value)'), ('bigint', 'length(value)'),
               ('real', 'length(value)'), ('float8', 'length(value)'), ('numeric', 'length(value) * 1e50'),
               ('timestamptz', 'to_timestamp(length(value))'), ('interval', 'make_interval(secs => length(value))'), ('uuid', 'md5(value)'),
               ('inet', '''127.0.0.1''::inet + length(value)'), ('point', 'point(length(value), 1)'), ('int[]', 'ARRAY[length(value)]'),
               ('bigint[]', 'ARRAY[length(value), NULL]'), ('text[]', 'ARRAY[value, ''x'']'), ('int4range', 'int4range(0, length(value))'),
               ('pair', 'CASE WHEN value IS NOT NULL THEN ROW(length(value), value)::pair END'), ('tsvector', 'left(value, 100)')) t(type, convert);
-- Rows of a statement at the top level, which wait for each other.
SELECT queue.create_topic('top', 1, 'text');
INSERT INTO topic.top (key, value, headers) SELECT key, value, headers FROM source ORDER BY n;
SELECT pg_temp.differences('top', 'text', 'value');
SELECT queue.drop_topic('top');

DROP TABLE source;
DROP TYPE pair;
