-- Columns are appended to the extension's row types, by a later version or by a
-- user: the library fills those that it knows, and the others are NULL.
SELECT queue.create_topic('j', 2);
SELECT queue.create_topic('s', value_type => 'text');
SET allow_in_place_tablespaces = on;
CREATE TABLESPACE regress_rows LOCATION '';
SELECT queue.create_topic('sealed', segment_messages => 1);
SELECT sum(count) FROM queue.produce_batch('sealed', ARRAY['{}', '{}']::jsonb[]);
SELECT queue.create_group('g', 'j'), queue.create_group('m', 'j'), queue.create_group('s', 's');
PREPARE looked AS SELECT topic, partition, m.offset, value FROM queue.fetch('j', 0, 0) m;
PREPARE made AS SELECT m.offset, duplicate FROM queue.produce('j', '{"n": 0}', 'k', partition => 0) m;
EXECUTE made;
EXECUTE looked;

-- The epoch and the attempt lie behind a message's own columns, which may be of any
-- length, NULL, compressed or out of line.  Columns that are copied come out as
-- those that are formed, as for max_bytes.
SELECT count(queue.create_topic('of-' || name, 1, value_type => type))
  FROM (VALUES ('jsonb', 'jsonb'::regtype), ('text', 'text'), ('bytea', 'bytea'), ('numeric', 'numeric'), ('char', '"char"'),
               ('bool', 'bool'), ('int2', 'int2'), ('int4', 'int4'), ('int8', 'int8'), ('uuid', 'uuid'), ('point', 'point'),
               ('name', 'name'), ('array', 'text[]'), ('range', 'int8range')) t (name, type);
CREATE FUNCTION pg_temp.produce(topic text, value text) RETURNS bigint LANGUAGE sql AS $$
	SELECT count(queue.produce(topic, value, k, h, 0))
	  FROM unnest(ARRAY[NULL, '', 'k', 'ke', 'key', repeat('key', 50)]) k,
	       unnest(ARRAY[NULL, '{}', '{"a": "bc"}', '{"a": 1.5}']::jsonb[]) h
	 WHERE value IS NOT NULL OR k IS NOT NULL
$$;
SELECT count(pg_temp.produce('of-jsonb', to_jsonb(repeat('v', n))::text)),
       count(pg_temp.produce('of-text', repeat('v', n))),
       count(pg_temp.produce('of-bytea', repeat('v', n)))
  FROM generate_series(0, 9) n;
SELECT n, count(*), sum(pg_temp.produce('of-text', value)), sum(pg_temp.produce('of-jsonb', to_jsonb(value)::text))
  FROM (SELECT n, string_agg(CASE n WHEN 1 THEN 'compressed' ELSE md5(i::text) END, '') AS value
          FROM generate_series(1, 2) n, generate_series(1, 400) i GROUP BY n UNION ALL SELECT 3, NULL) v GROUP BY 1 ORDER BY 1;
SELECT count(pg_temp.produce('of-' || name, value)), count(pg_temp.produce('of-' || name, NULL))
  FROM (VALUES ('numeric', '1.5'), ('char', 'c'), ('bool', 't'), ('int2', '2'), ('int4', '4'), ('int8', '8'),
               ('uuid', '11111111-2222-3333-4444-555555555555'), ('point', '(1,2)'), ('name', 'n'),
               ('array', '{a,bc,NULL}'), ('range', '[1,3)')) v (name, value);
CREATE FUNCTION pg_temp.compare(topic text, value anyelement, OUT messages bigint, OUT fetched bigint,
                                OUT consumed bigint, OUT polled bigint) LANGUAGE plpgsql AS $$
BEGIN
	CREATE TEMP TABLE of_topic AS SELECT m.topic, m.partition, m.offset, m.timestamp, m.key, m.value::text, m.headers
	  FROM queue.fetch_typed(topic, 0, 0, value, 1000, 2000000000) m;
	CREATE TEMP TABLE f AS SELECT m.topic, m.partition, m.offset, m.timestamp, m.key, m.value::text, m.headers, attempt
	  FROM queue.fetch_typed(topic, 0, 0, value, 1000) m;
	CREATE TEMP TABLE c AS SELECT m.topic, m.partition, m.offset, m.timestamp, m.key, m.value::text, m.headers, attempt
	  FROM queue.consume_typed('types', topic, value, 1000) m;
	CREATE TEMP TABLE p AS SELECT m.topic, m.partition, m.offset, m.timestamp, m.key, m.value::text, m.headers, epoch, attempt
	  FROM queue.poll_typed('leased types', topic, 'm', value, 1000) m;
	SELECT count(*) FROM of_topic INTO messages;
	SELECT count(*) FROM f JOIN of_topic t USING ("offset")
	 WHERE f = ROW(t.topic, t.partition, t.offset, t.timestamp, t.key, t.value, t.headers, NULL::int) INTO fetched;
	SELECT count(*) FROM c JOIN of_topic t USING ("offset")
	 WHERE c = ROW(t.topic, t.partition, t.offset, t.timestamp, t.key, t.value, t.headers, 1) INTO consumed;
	SELECT count(*) FROM p JOIN of_topic t USING ("offset")
	 WHERE p = ROW(t.topic, t.partition, t.offset, t.timestamp, t.key, t.value, t.headers, (SELECT min(epoch) FROM p), 1) INTO polled;
	DROP TABLE of_topic, f, c, p;
END
$$;
SELECT 'jsonb' AS of, * FROM pg_temp.compare('of-jsonb', NULL::jsonb)
UNION ALL SELECT 'text', * FROM pg_temp.compare('of-text', NULL::text)
UNION ALL SELECT 'bytea', * FROM pg_temp.compare('of-bytea', NULL::bytea)
UNION ALL SELECT 'numeric', * FROM pg_temp.compare('of-numeric', NULL::numeric)
UNION ALL SELECT 'char', * FROM pg_temp.compare('of-char', NULL::"char")
UNION ALL SELECT 'bool', * FROM pg_temp.compare('of-bool', NULL::bool)
UNION ALL SELECT 'int2', * FROM pg_temp.compare('of-int2', NULL::int2)
UNION ALL SELECT 'int4', * FROM pg_temp.compare('of-int4', NULL::int4)
UNION ALL SELECT 'int8', * FROM pg_temp.compare('of-int8', NULL::int8)
UNION ALL SELECT 'uuid', * FROM pg_temp.compare('of-uuid', NULL::uuid)
UNION ALL SELECT 'point', * FROM pg_temp.compare('of-point', NULL::point)
UNION ALL SELECT 'name', * FROM pg_temp.compare('of-name', NULL::name)
UNION ALL SELECT 'array', * FROM pg_temp.compare('of-array', NULL::text[])
UNION ALL SELECT 'range', * FROM pg_temp.compare('of-range', NULL::int8range);
SELECT queue.drop_group('types'), queue.drop_group('leased types');
SELECT count(queue.drop_topic(topic)) FROM queue.topics WHERE topic LIKE 'of-%';

-- To be rolled back: the types stay as they are made.
BEGIN;
ALTER TYPE queue.message ADD ATTRIBUTE more text, ADD ATTRIBUTE evermore int;
ALTER TYPE queue.leased_message ADD ATTRIBUTE more text;
ALTER TYPE queue.produce_result ADD ATTRIBUTE more text, ADD ATTRIBUTE evermore int;
ALTER TYPE queue.produce_batch_result ADD ATTRIBUTE more text;
ALTER TYPE queue.moved_segment ADD ATTRIBUTE more text;

-- All functions that return them, as columns and as a value, and with limits,
-- which takes another way.
SELECT partition, m.offset, duplicate, more, evermore FROM queue.produce('j', '{"n": 1}', partition => 0) m;
SELECT (queue.produce('j', NULL, 'k', partition => 0)).more IS NULL AS none;
EXECUTE made;
SELECT * FROM queue.produce_batch('j', ARRAY['{"n": 4}', '{"n": 5}']::jsonb[], partition => 1);
SELECT topic, partition, m.offset, key, value, headers, attempt, more, evermore FROM queue.fetch('j', 0, 0) m ORDER BY 3;
SELECT topic, m.offset, value, attempt, more, evermore FROM queue.fetch('j', 0, 0, max_bytes => 1000) m ORDER BY 2;
SELECT count(*), count((m).value) AS values, count((m).more) AS more FROM (SELECT queue.fetch('j', 0, 0) AS m) f;
SELECT m IS NULL AS nothing, (m).value, (m).attempt, (m).more FROM queue.fetch('j', 0, 0) m ORDER BY m.offset;
EXECUTE looked;
CREATE TABLE kept AS SELECT m FROM queue.fetch('j', 0, 0) m;
SELECT (m).offset, (m).value, (m).attempt, (m).more FROM kept ORDER BY 1;
SELECT partition, m.offset, value, epoch > 0 AS epoch, attempt, more FROM queue.poll('m', 'j', 'me') m ORDER BY 1, 2;
SELECT partition, m.offset, value, epoch > 0 AS epoch, attempt, more FROM queue.poll('m', 'j', 'me', max_bytes => 100000) m ORDER BY 1, 2;
SELECT partition, m.offset, value, attempt, evermore FROM queue.consume('g', 'j', partitions => '{0}') m ORDER BY 2;
SELECT partition, m.offset, value, attempt, evermore FROM queue.consume_topics('g', ARRAY['j'], max_bytes => 1000) m ORDER BY 2;
SELECT (queue.produce('s', 'x')).offset;
SELECT topic, m.offset, value FROM queue.consume_typed('s', 's', NULL::text) m;
SELECT partition, first_offset, moved, more FROM queue.move_segments('sealed', 'regress_rows');

-- A change of what is known is an error.
\set VERBOSITY sqlstate
DROP TABLE kept;
SAVEPOINT known;
ALTER TYPE queue.message DROP ATTRIBUTE headers;
SELECT count(*) FROM queue.fetch('j', 0, 0);
ROLLBACK TO known;
SAVEPOINT known;
ALTER TYPE queue.message ALTER ATTRIBUTE partition TYPE bigint;
SELECT count(*) FROM queue.consume('g', 'j');
ROLLBACK TO known;
SAVEPOINT known;
ALTER TYPE queue.leased_message ALTER ATTRIBUTE epoch TYPE text;
SELECT count(*) FROM queue.poll('g', 'j', 'me');
ROLLBACK TO known;
SAVEPOINT known;
ALTER TYPE queue.leased_message ALTER ATTRIBUTE attempt TYPE bigint;
SELECT count(*) FROM queue.poll('g', 'j', 'me');
ROLLBACK TO known;
SAVEPOINT known;
ALTER TYPE queue.produce_result ALTER ATTRIBUTE "timestamp" TYPE text;
SELECT queue.produce('j', '{}');
ROLLBACK TO known;
SAVEPOINT known;
ALTER TYPE queue.produce_batch_result ALTER ATTRIBUTE count TYPE text;
SELECT queue.produce_batch('j', '{}'::jsonb[]);
ROLLBACK TO known;
SAVEPOINT known;
ALTER TYPE queue.moved_segment DROP ATTRIBUTE moved;
SELECT queue.move_segments('sealed', 'regress_rows');
ROLLBACK TO known;
\set VERBOSITY default

DEALLOCATE looked;
DEALLOCATE made;
ALTER TYPE queue.message DROP ATTRIBUTE more, DROP ATTRIBUTE evermore;
ALTER TYPE queue.leased_message DROP ATTRIBUTE more;
ALTER TYPE queue.produce_result DROP ATTRIBUTE more, DROP ATTRIBUTE evermore;
ALTER TYPE queue.produce_batch_result DROP ATTRIBUTE more;
ALTER TYPE queue.moved_segment DROP ATTRIBUTE more;
-- Dropped columns behind the known ones do not matter.
SELECT m.offset, value FROM queue.fetch('j', 1, 0) m ORDER BY 1;
SELECT (queue.produce('s', 'y')).offset;
ROLLBACK;
SELECT queue.drop_group('g'), queue.drop_group('m'), queue.drop_group('s');
SELECT queue.drop_topic('j'), queue.drop_topic('s'), queue.drop_topic('sealed');
DROP TABLESPACE regress_rows;
