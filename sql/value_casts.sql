--
-- A value of another type than the topic's is converted as INSERT converts it.
--
\getenv abs_srcdir PG_ABS_SRCDIR
\i :abs_srcdir/sql/include/helpers.sql
CREATE SCHEMA casts;
CREATE DOMAIN casts.positive AS int CHECK (VALUE > 0);
CREATE DOMAIN casts.label AS text CHECK (VALUE <> '');
CREATE TYPE casts.mood AS ENUM ('sad', 'ok');
CREATE TYPE casts.item AS (id int, name text);
CREATE TYPE casts.other_item AS (id int, name text);
CREATE TABLE casts.base (id int);
CREATE TABLE casts.derived (name text) INHERITS (casts.base);

-- Whatever the types, a column and a topic get the same value or the same error:
-- text, which a topic parses, left aside.
CREATE FUNCTION pg_temp.outcome(command text, result text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE command;
	EXECUTE result INTO result;
	RETURN result;
EXCEPTION WHEN OTHERS THEN
	RETURN CASE SQLSTATE WHEN '42804' THEN SQLSTATE ELSE SQLSTATE || ': ' || SQLERRM END;
END $$;
CREATE TEMP TABLE outcome (topic_type text, source text, inserted text, produced text, batched text);
DO $$
DECLARE
	topic_type text;
	source text;
	inserted text;
BEGIN
	FOREACH topic_type IN ARRAY ARRAY['smallint', 'int', 'numeric', 'text', 'varchar', 'jsonb', 'bytea', 'date',
		'timestamptz', 'bigint[]', 'casts.positive', 'casts.label', 'casts.mood', 'casts.item', 'casts.base', 'regclass']
	LOOP
		EXECUTE format('CREATE TEMP TABLE plain (value %s)', topic_type);
		PERFORM queue.create_topic('c', 1, topic_type::regtype);
		FOREACH source IN ARRAY ARRAY['1::smallint', '1', '-1', '70000', '1::bigint', '3000000000', '1.5', '1e300', '2.5::float8',
			'true', $q$'{"a": 1}'::json$q$, $q$'{"a": 1}'::jsonb$q$, $q$'\x01'::bytea$q$, $q$'2026-01-31'::date$q$,
			$q$'2026-01-31 12:00'::timestamp$q$, $q$'12:00'::time$q$, 'ARRAY[1, 2]', 'ARRAY[1.5]', 'ARRAY[3000000000]',
			'1::casts.positive', $q$'ok'::casts.mood$q$, $q$ROW(1, 'one')::casts.item$q$, $q$ROW(1, 'one')::casts.other_item$q$,
			$q$ROW(1, 'one')::casts.derived$q$, $q$'10.0.0.0/8'::cidr$q$, $q$'pg_class'::regclass$q$,
			'NULL::bigint', 'ARRAY[NULL::int]']
		LOOP
			inserted := pg_temp.outcome(format('INSERT INTO plain SELECT %s', source), 'SELECT value FROM plain');
			TRUNCATE plain;
			INSERT INTO outcome VALUES (topic_type, source, inserted,
				pg_temp.outcome(format('SELECT queue.produce(''c'', %s, ''k'')', source), 'SELECT value FROM topic.c ORDER BY "offset" DESC LIMIT 1'),
				pg_temp.outcome(format('SELECT queue.produce_batch(''c'', ARRAY[%s], ARRAY[''k''])', source), 'SELECT value FROM topic.c ORDER BY "offset" DESC LIMIT 1'));
		END LOOP;
		PERFORM queue.drop_topic('c');
		DROP TABLE plain;
	END LOOP;
END $$;
SELECT * FROM outcome WHERE inserted IS DISTINCT FROM produced;
-- An array of arrays is one of more dimensions, which a batch is not.
SELECT * FROM outcome WHERE inserted IS DISTINCT FROM batched AND source NOT LIKE 'ARRAY%';
SELECT count(*) AS pairs, count(*) FILTER (WHERE inserted = '42804') AS refused,
       count(*) FILTER (WHERE inserted LIKE '22003%') AS out_of_range FROM outcome;

SELECT queue.create_topic('t_int', 1, 'int');
SELECT queue.create_topic('t_jsonb');
SELECT queue.create_topic('t_item', 1, 'casts.item');
SELECT queue.create_topic('t_mood', 1, 'casts.mood');
SELECT queue.create_topic('t_positive', 1, 'casts.positive');
SELECT queue.create_topic('t_numeric', 1, 'numeric');

-- Text is parsed, whichever type of text it is.
SELECT count(*) FROM unnest(ARRAY['1', '2']::varchar[]) v, LATERAL queue.produce('t_int', v);
SELECT "offset" FROM queue.produce('t_int', '3'::casts.label);
SELECT "offset" FROM queue.produce('t_int', '4'::name);
SELECT first_offset, count FROM queue.produce_batch('t_int', ARRAY['5', '6']::casts.label[]);
SELECT first_offset, count FROM queue.produce_batch('t_int', ARRAY['7', '8']::varchar[]);
SELECT string_agg(value::text, ' ' ORDER BY "offset") FROM topic.t_int;

-- A hint that helps: with it the value is stored.
SELECT queue.produce('t_int', '{"a": 1}'::json);
SELECT queue.produce('t_int', 'true'::jsonb);
SELECT queue.produce('t_jsonb', 5);
SELECT queue.produce('t_item', ROW(1, 'one'));
SELECT queue.produce('t_mood', 1);
SELECT queue.produce_batch('t_jsonb', ARRAY[5]);
SELECT "offset" FROM queue.produce('t_jsonb', to_jsonb(5));
SELECT "offset" FROM queue.produce('t_item', ROW(1, 'one')::casts.item);

-- The element of a batch is named.
SELECT queue.produce_batch('t_int', ARRAY[1, 3000000000]);
SELECT queue.produce_batch('t_int', ARRAY['1', '2', 'x']);
SELECT queue.produce_batch('t_positive', ARRAY[1, 0]);
SELECT queue.produce_batch('t_int', ARRAY[1, NULL]);
SELECT queue.produce_batch('t_int', ARRAY[1, 2], headers => ARRAY['{}', '[]']::jsonb[]);
SELECT queue.produce_batch('t_int', ARRAY[1, 2], producer_id => 'p', sequences => ARRAY[1, NULL]);

-- The function of a cast runs as the caller, who must be allowed to call it.
CREATE TABLE casts.call (caller name, value text);
GRANT INSERT ON casts.call TO PUBLIC;
CREATE FUNCTION casts.to_numeric(casts.mood) RETURNS numeric LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO casts.call VALUES (current_user, $1);
	RETURN CASE $1 WHEN 'sad' THEN NULL ELSE 1.5 END;
END $$;
CREATE CAST (casts.mood AS numeric) WITH FUNCTION casts.to_numeric(casts.mood) AS ASSIGNMENT;
CREATE ROLE regress_caster;
GRANT USAGE ON SCHEMA casts TO regress_caster;
GRANT INSERT ON topic.t_numeric TO regress_caster;
REVOKE EXECUTE ON FUNCTION casts.to_numeric(casts.mood) FROM PUBLIC;
SET ROLE regress_caster;
SELECT queue.produce('t_numeric', 'ok'::casts.mood);
SELECT queue.produce_batch('t_numeric', ARRAY['ok']::casts.mood[]);
RESET ROLE;
GRANT EXECUTE ON FUNCTION casts.to_numeric(casts.mood) TO regress_caster;
SET ROLE regress_caster;
SELECT "offset" FROM queue.produce('t_numeric', 'ok'::casts.mood);
SELECT first_offset, count FROM queue.produce_batch('t_numeric', ARRAY['ok', 'sad']::casts.mood[], ARRAY['k', 'l']);
-- A cast may make a NULL of a value.
SELECT queue.produce('t_numeric', 'sad'::casts.mood);
SELECT queue.produce_batch('t_numeric', ARRAY['ok', 'sad']::casts.mood[]);
SELECT "offset" FROM queue.produce('t_numeric', 'sad'::casts.mood, 'k');
RESET ROLE;
SELECT key, value FROM topic.t_numeric ORDER BY "offset";
SELECT caller, value FROM casts.call;

-- It may use the topic, fill its segment, and even drop it.
CREATE OR REPLACE FUNCTION casts.to_numeric(casts.mood) RETURNS numeric LANGUAGE plpgsql AS $$
BEGIN
	IF $1 = 'ok' THEN
		PERFORM queue.produce('t_numeric', i) FROM generate_series(1, 50) i;
		RETURN -1;
	END IF;
	PERFORM queue.drop_topic('t_numeric');
	PERFORM queue.create_topic('t_numeric', 1, 'text');
	RETURN -2;
END $$;
SELECT queue.drop_topic('t_numeric');
SELECT queue.create_topic('t_numeric', 1, 'numeric', segment_messages => 10);
SELECT "offset" FROM queue.produce('t_numeric', 'ok'::casts.mood);
SELECT * FROM queue.produce_batch('t_numeric', ARRAY['ok', 'ok']::casts.mood[]);
SELECT count(*), count(*) FILTER (WHERE value < 0) AS converted FROM topic.t_numeric;
SELECT queue.produce('t_numeric', 'sad'::casts.mood);
SELECT queue.produce_batch('t_numeric', ARRAY['ok', 'sad', 'ok']::casts.mood[]);
SELECT value_type FROM queue.topics WHERE topic = 't_numeric';
-- So may a domain's CHECK, which is called without a cast, too.
CREATE FUNCTION casts.is_lucky(int) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	IF $1 = 13 THEN
		PERFORM queue.drop_topic('t_lucky');
		PERFORM queue.create_topic('t_lucky', 1, 'text');
	END IF;
	RETURN true;
END $$;
CREATE DOMAIN casts.lucky AS int CHECK (casts.is_lucky(VALUE));
SELECT queue.create_topic('t_lucky', 1, 'casts.lucky');
SELECT queue.produce('t_lucky', '13');
SELECT queue.produce('t_lucky', 13);
SELECT queue.produce('t_lucky', 13::bigint);
SELECT queue.produce_batch('t_lucky', '{12,13}');
SELECT queue.produce_batch('t_lucky', ARRAY[12, 13]);
SELECT queue.produce_batch('t_lucky', ARRAY[12, 13]::bigint[]);
SELECT queue.produce_batch('t_lucky', ARRAY[12, 13, 14]);
SELECT queue.drop_topic('t_lucky');

-- A place of a query that serves several topics and types; casts and domains that
-- are made, dropped and changed in between.
SELECT queue.create_topic('t_small', 1, 'smallint');
SELECT t, (queue.produce(t, 7::bigint, 'k')).partition
  FROM unnest(ARRAY['t_int', 't_small', 't_positive', 't_int']) t;
DO $$
BEGIN
	FOR i IN 1..3 LOOP
		IF i = 2 THEN
			ALTER DOMAIN casts.positive ADD CONSTRAINT small CHECK (VALUE < 100) NOT VALID;
		END IF;
		PERFORM queue.produce('t_positive', 100::bigint);
	END LOOP;
END $$;
PREPARE put AS SELECT partition FROM queue.produce('t_small', 'ok'::casts.mood);
EXECUTE put;
CREATE FUNCTION casts.to_small(casts.mood) RETURNS smallint LANGUAGE sql RETURN 2;
CREATE CAST (casts.mood AS smallint) WITH FUNCTION casts.to_small(casts.mood) AS ASSIGNMENT;
EXECUTE put;
DROP CAST (casts.mood AS smallint);
EXECUTE put;
DEALLOCATE put;
-- The function gets the collation of the value's type.
CREATE DOMAIN casts.code AS bpchar COLLATE "POSIX";
CREATE FUNCTION casts.to_mood(bpchar) RETURNS casts.mood LANGUAGE plpgsql AS $$
BEGIN
	RETURN CASE pg_collation_for($1) WHEN '"POSIX"' THEN 'ok' ELSE 'sad' END;
END $$;
CREATE CAST (bpchar AS casts.mood) WITH FUNCTION casts.to_mood(bpchar) AS ASSIGNMENT;
SELECT count FROM queue.produce_batch('t_mood', ARRAY['a']::casts.code[]);
SELECT count FROM queue.produce_batch('t_mood', ARRAY['a']::bpchar[]);
SELECT value FROM topic.t_mood ORDER BY "offset";
DROP CAST (bpchar AS casts.mood);

\set VERBOSITY terse
SELECT count(queue.drop_topic(t)) FROM unnest(ARRAY['t_int', 't_jsonb', 't_item', 't_mood', 't_positive', 't_numeric', 't_small']) t;
DROP SCHEMA casts CASCADE;
DROP ROLE regress_caster;
