--
-- Typed topics: a value has the topic's type, given as text or as that type.
--
\getenv abs_srcdir PG_ABS_SRCDIR
\i :abs_srcdir/sql/include/helpers.sql
CREATE SCHEMA types;
CREATE TYPE types.item AS (id int, name text);
CREATE DOMAIN types.positive AS int CHECK (VALUE > 0);
CREATE DOMAIN types.named AS types.item CHECK (VALUE IS NULL OR (VALUE).name IS NOT NULL);
CREATE DOMAIN types.present AS text NOT NULL;
CREATE TYPE types.mood AS ENUM ('sad', 'ok');

SELECT queue.create_topic('t_jsonb');
SELECT queue.create_topic('t_text', 1, 'text');
SELECT queue.create_topic('t_bytea', 1, 'bytea');
SELECT queue.create_topic('t_int', 1, 'int');
SELECT queue.create_topic('t_array', 1, 'int[]');
SELECT queue.create_topic('t_enum', 1, 'types.mood');
SELECT queue.create_topic('t_item', 1, 'types.item');
SELECT queue.create_topic('t_positive', 1, 'types.positive');
SELECT queue.create_topic('t_named', 1, 'types.named');
SELECT queue.create_topic('t_present', 1, 'types.present');
SELECT topic, value_type FROM queue.topics ORDER BY topic;

-- As text: an untyped literal is parsed by the topic's type.
SELECT t.topic, p."offset"
  FROM (VALUES ('t_jsonb', '{"a": [1, 2]}'), ('t_text', 'x'), ('t_bytea', '\x00ff'), ('t_int', '42'),
               ('t_array', '{1,2}'), ('t_enum', 'ok'), ('t_item', '(1,one)'), ('t_positive', '1'),
               ('t_named', '(2,two)'), ('t_present', '')) AS t(topic, value),
       queue.produce(t.topic, t.value) p
 ORDER BY t.topic;
-- As a value of that type.
SELECT "offset" FROM queue.produce('t_jsonb', jsonb_build_object('b', 2));
SELECT "offset" FROM queue.produce('t_text', 'y'::text);
SELECT "offset" FROM queue.produce('t_text', 'z'::varchar);
SELECT "offset" FROM queue.produce('t_bytea', 'abc'::bytea);
SELECT "offset" FROM queue.produce('t_int', 43);
SELECT "offset" FROM queue.produce('t_array', ARRAY[3, 4]);
SELECT "offset" FROM queue.produce('t_enum', 'sad'::types.mood);
SELECT "offset" FROM queue.produce('t_item', ROW(2, 'two')::types.item);
SELECT "offset" FROM queue.produce('t_positive', 2::types.positive);
SELECT "offset" FROM queue.produce('t_positive', 3);            -- its base type
SELECT "offset" FROM queue.produce('t_named', ROW(3, 'three')::types.named);
SELECT "offset" FROM queue.produce('t_named', ROW(4, 'four')::types.item);
SELECT "offset" FROM queue.produce('t_present', 'p'::types.present);
-- Batches, likewise.
SELECT first_offset, count FROM queue.produce_batch('t_jsonb', ARRAY['3', '"4"']);
SELECT first_offset, count FROM queue.produce_batch('t_int', ARRAY['44', '45']);
SELECT first_offset, count FROM queue.produce_batch('t_int', ARRAY[46, 47]);
SELECT first_offset, count FROM queue.produce_batch('t_bytea', ARRAY['\x01'::bytea, '\x02']);
SELECT first_offset, count FROM queue.produce_batch('t_array', ARRAY['{5}', '{}', '{6,NULL}']);
SELECT first_offset, count FROM queue.produce_batch('t_item', ARRAY[ROW(5, 'five'), ROW(NULL, NULL)]::types.item[]);
SELECT first_offset, count FROM queue.produce_batch('t_positive', ARRAY[4, 5]);
SELECT first_offset, count FROM queue.produce_batch('t_positive', ARRAY[6, 7]::types.positive[]);
SELECT first_offset, count FROM queue.produce_batch('t_enum', ARRAY['ok', 'sad']);
-- Tombstones of every kind.
SELECT "offset" FROM queue.produce('t_int', NULL, key => 'k');
SELECT "offset" FROM queue.produce('t_item', NULL::types.item, key => 'k');
SELECT "offset" FROM queue.produce('t_positive', NULL::types.positive, key => 'k');

-- What was put in comes out, with its type. Types that could pass for
-- max_messages are asked for by name, domains without NULL by any value.
SELECT m.offset, m.value, pg_typeof(m.value) FROM queue.consume('g', 't_jsonb') m;
SELECT m.offset, m.value, pg_typeof(m.value) FROM queue.consume_typed('g', 't_text', NULL::text) m;
SELECT m.offset, m.value, pg_typeof(m.value) FROM queue.consume_typed('g', 't_bytea', NULL::bytea) m;
SELECT m.offset, m.value + 1 AS plus_one, pg_typeof(m.value) FROM queue.consume_typed('g', 't_int', value_type => NULL::int) m;
SELECT m.offset, m.value, cardinality(m.value) FROM queue.consume_typed('g', 't_array', NULL::int[]) m;
SELECT m.offset, m.value, pg_typeof(m.value) FROM queue.consume_typed('g', 't_enum', NULL::types.mood) m;
SELECT m.offset, (m.value).id, (m.value).name, m.value IS NOT DISTINCT FROM NULL AS tombstone FROM queue.consume_typed('g', 't_item', NULL::types.item) m;
SELECT m.offset, m.value, pg_typeof(m.value) FROM queue.consume_typed('g', 't_positive', value_type => NULL::types.positive) m;
SELECT m.offset, (m.value).name, pg_typeof(m.value) FROM queue.fetch_typed('t_named', 0, 0, NULL::types.named) m;
SELECT m.offset, m.value, pg_typeof(m.value) FROM queue.fetch_typed('t_present', 0, 0, 'any'::types.present) m;
SELECT "offset", (value).name FROM topic.t_item WHERE (value).id = 2;

-- What does not parse, or is not allowed, is an error of its type.
SELECT call, pg_temp.error_of('SELECT queue.' || call)
  FROM unnest(ARRAY[
    $$produce('t_jsonb', '{"a":')$$,
    $$produce('t_jsonb', '')$$,
    $$produce('t_int', 'x')$$,
    $$produce('t_int', '3000000000')$$,
    $$produce('t_bytea', '\xzz')$$,
    $$produce('t_array', '{1,')$$,
    $$produce('t_enum', 'angry')$$,
    $$produce('t_item', '(1)')$$,
    $$produce('t_positive', '-1')$$,
    $$produce('t_positive', -1)$$,
    $$produce('t_named', ROW(1, NULL)::types.item)$$,
    $$produce('t_named', '(1,)')$$,
    $$produce('t_present', NULL, key => 'k')$$,
    $$produce('t_present', NULL::text, key => 'k')$$,
    $$produce_batch('t_int', ARRAY['1', 'x'])$$,
    $$produce_batch('t_positive', ARRAY['1', '0'])$$,
    $$produce_batch('t_positive', ARRAY[1, 0])$$,
    $$produce_batch('t_present', ARRAY['a', NULL], ARRAY['k', 'k'])$$]) WITH ORDINALITY u(call, n)
 ORDER BY n;
-- A value of a type that INSERT would refuse is refused; sql/value_casts.sql has those
-- that are converted.
SELECT queue.produce('t_int', '{}'::json);
SELECT call, pg_temp.error_of('SELECT queue.' || call)
  FROM unnest(ARRAY[
    $$produce('t_jsonb', 1)$$,
    $$produce('t_int', true)$$,
    $$produce('t_int', 3000000000)$$,
    $$produce('t_item', ROW(1, 'one'))$$,
    $$produce('t_positive', 0::bigint)$$,
    $$produce('t_enum', 1)$$,
    $$produce_batch('t_int', ARRAY[true])$$,
    $$produce_batch('t_jsonb', ARRAY[1])$$]) WITH ORDINALITY u(call, n)
 ORDER BY n;
-- None of them left a message.
SELECT topic, log_end FROM queue.partitions ORDER BY topic;

-- Asked for with the wrong type: 42804.
SELECT call, pg_temp.error_of('SELECT * FROM queue.' || call)
  FROM unnest(ARRAY[
    $$consume('g', 't_int')$$,
    $$consume_typed('g', 't_int', NULL::text, 10)$$,
    $$consume_typed('g', 't_jsonb', NULL::json)$$,
    $$consume_typed('new', 't_positive', NULL::bigint, 10)$$,
    $$fetch('t_item', 0, 0)$$,
    $$fetch_typed('t_named', 0, 0, NULL::types.item)$$]) WITH ORDINALITY u(call, n)
 ORDER BY n;
-- The hint is a call that works, for every type.
CREATE FUNCTION pg_temp.follow_hint(wrong text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	hint text;
	n int;
BEGIN
	BEGIN
		EXECUTE wrong;
	EXCEPTION WHEN datatype_mismatch THEN
		GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
	END;
	hint := (regexp_match(hint, '^Call (.*)\.$'))[1];
	hint := replace(hint, '<consumer_group>', '''h''');
	hint := replace(hint, '<partition>', '0');
	hint := replace(hint, '<from_offset>', '0');
	EXECUTE 'SELECT count(*) FROM ' || hint INTO n;
	RETURN n || ' messages';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ': ' || SQLERRM;
END $$;
SELECT topic,
       pg_temp.follow_hint(format('SELECT * FROM queue.fetch_typed(%L, 0, 0, NULL::uuid)', topic)) AS fetch,
       pg_temp.follow_hint(format('SELECT * FROM queue.consume_typed(''h'', %L, NULL::uuid)', topic)) AS consume
  FROM queue.topics WHERE topic <> 't_present' ORDER BY topic;

DO $$
DECLARE t text;
BEGIN
	FOR t IN SELECT topic FROM queue.topics LOOP
		PERFORM queue.drop_topic(t);
	END LOOP;
END $$;
\set VERBOSITY terse
DROP SCHEMA types CASCADE;
