--
-- Which offset has a time: queue.offsets_for_time, offset_time, and
-- create_group(start => timestamp).
--
\getenv abs_srcdir PG_ABS_SRCDIR
\i :abs_srcdir/sql/include/helpers.sql
SET timezone = 'UTC';
-- A message each minute over two segments; all of one time; none.
SELECT queue.create_topic('t', 3, 'text', segment_messages => 4);
SELECT FROM pg_temp.use_all('t');
SELECT log FROM queue.topic WHERE name = 't' \gset
INSERT INTO :log SELECT n, timestamptz '2001-01-01' + n * interval '1 minute', 0, NULL, 'm' || n, NULL FROM generate_series(0, 7) n;
INSERT INTO :log SELECT n, timestamptz '2001-01-01 00:03', 1, NULL, 'm' || n, NULL FROM generate_series(1, 6) n;

SELECT * FROM queue.offsets_for_time('t', '2001-01-01 00:03') ORDER BY partition;
SELECT * FROM queue.offsets_for_time('t', '2001-01-01 00:03:00.000001') ORDER BY partition;
SELECT * FROM queue.offsets_for_time('t', '-infinity') ORDER BY partition;
SELECT * FROM queue.offsets_for_time('t', 'infinity') ORDER BY partition;
SELECT * FROM queue.offsets_for_time('t', '2001-01-01 00:07', partition => 0);
SELECT * FROM queue.offsets_for_time(topic => 't', "time" => '2001-01-01 00:07:01', partition => 0);
SELECT o, queue.offset_time('t', 0, o) FROM unnest(ARRAY[-9223372036854775808, -1, 0, 3, 4, 7, 8, 9223372036854775807]) o ORDER BY o;
SELECT o, queue.offset_time('t', 1, o) FROM generate_series(0, 7) o WHERE o IN (0, 1, 6, 7) ORDER BY o;
SELECT queue.offset_time('t', 2, 0), queue.offset_time('t', NULL, 0);

-- create_group at a time: there, or at the end.
SELECT start, queue.create_group('at ' || start, 't', start) FROM unnest(ARRAY['2001-01-01 00:03:00+00', '2001-01-01 00:05:30+00', '2001-01-01T01:06:00+01:00', '20010101T000400Z', '2999-01-01']) start;
SELECT consumer_group, array_agg(current_offset ORDER BY partition) FROM queue.consumer_groups WHERE topic = 't' GROUP BY 1 ORDER BY 1;
SELECT m.offset, value FROM queue.consume_typed('at 2001-01-01 00:05:30+00', 't', NULL::text, partitions => ARRAY[0]) m;
SET timezone = '+12';
SELECT queue.create_group('local', 't', '2001-01-01 12:02');
SET timezone = 'UTC';
SELECT partition, current_offset FROM queue.consumer_groups WHERE consumer_group = 'local' ORDER BY 1;
SELECT start, pg_temp.error_of(format('SELECT queue.create_group(''new'', ''t'', %L)', start))
  FROM unnest(ARRAY['2001-13-01', '2001-01-01 00:00 nowhere', '3', 'Earliest', '']) start;
SELECT count(*) FROM queue.consumer_group WHERE name = 'new';
SELECT queue.create_group('new', 't', 'newest');
-- Whatever PostgreSQL reads as a time, and writes as one.
SELECT start, queue.create_group('at ' || start, 't', start) FROM unnest(ARRAY['yesterday', 'epoch', 'infinity', '-infinity', ' Jan 1 00:03 2001', 'now']) start;
CREATE PROCEDURE pg_temp.create_in(style text) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('datestyle', style, true);
	PERFORM queue.create_group('in ' || style, 't', ('2001-01-01 00:03'::timestamptz + '1 minute')::text);
	RAISE NOTICE '%', ('2001-01-01 00:03'::timestamptz + '1 minute')::text;
END $$;
CALL pg_temp.create_in('ISO, YMD');
CALL pg_temp.create_in('SQL, DMY');
CALL pg_temp.create_in('SQL, MDY');
CALL pg_temp.create_in('German');
CALL pg_temp.create_in('Postgres, DMY');
SELECT consumer_group, array_agg(current_offset ORDER BY partition) FROM queue.consumer_groups
 WHERE topic = 't' AND (consumer_group LIKE 'in %' OR consumer_group IN ('at yesterday', 'at epoch', 'at infinity', 'at -infinity', 'at  Jan 1 00:03 2001', 'at now'))
 GROUP BY 1 ORDER BY 1;

SELECT call, pg_temp.error_of('SELECT ' || call) FROM unnest(ARRAY[
    $$queue.offsets_for_time('nope', now())$$,
    $$queue.offsets_for_time('t', now(), 3)$$,
    $$queue.offsets_for_time('t', now(), -1)$$,
    $$queue.offsets_for_time(NULL, now())$$,
    $$queue.offsets_for_time('t', NULL)$$,
    $$queue.offset_time('nope', 0, 0)$$,
    $$queue.offset_time('t', 3, 0)$$,
    $$queue.offset_time('t', -1, 0)$$]) WITH ORDINALITY u(call, n) ORDER BY n;

-- Read-only, and as the statement's snapshot shows the messages.
BEGIN READ ONLY;
SELECT "offset" FROM queue.offsets_for_time('t', '2001-01-01 00:01', 0);
COMMIT;
-- Not the own ones of this command, but those of earlier ones; asked again, it
-- looks again.
DO $$
DECLARE
	seen text[];
BEGIN
	FOR n IN 1..3 LOOP
		seen := seen || CASE WHEN queue.offset_time('t', 2, 0) IS NULL THEN 'none' ELSE 'some' END;
		IF n = 1 THEN
			PERFORM queue.produce('t', 'new', partition => 2);
		END IF;
	END LOOP;
	RAISE NOTICE '%', seen;
END $$;
DO $$
DECLARE
	seen text[];
BEGIN
	FOR n IN 1..4 LOOP
		seen := seen || CASE WHEN queue.offset_time('t', 2, 1) IS NULL THEN 'none' ELSE 'some' END;
		IF n = 2 THEN
			BEGIN
				PERFORM queue.produce('t', 'undone', partition => 2);
				seen := seen || CASE WHEN queue.offset_time('t', 2, 1) IS NULL THEN 'none' ELSE 'some' END;
				RAISE division_by_zero;
			EXCEPTION WHEN division_by_zero THEN
			END;
		END IF;
	END LOOP;
	RAISE NOTICE '%', seen;
END $$;
SELECT queue.drop_topic('t');

-- Against plain SQL: over many segments, some emptied in the middle (rolled
-- back, then VACUUM), with many messages of one time.
SELECT queue.create_topic('s', 2, 'text', segment_messages => 5);
SELECT log AS s FROM queue.topic WHERE name = 's' \gset
CREATE FUNCTION pg_temp.burst(n int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM queue.produce_batch('s', ARRAY(SELECT 'b' FROM generate_series(1, n)), partition => 0);
	PERFORM queue.produce('s', 'o', partition => 1);
END $$;
CREATE FUNCTION pg_temp.undone(n int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM queue.produce_batch('s', ARRAY(SELECT 'u' FROM generate_series(1, n)), partition => 0);
	RAISE division_by_zero;
EXCEPTION WHEN division_by_zero THEN
END $$;
SELECT pg_temp.burst(3);
SELECT pg_temp.burst(11);
SELECT pg_temp.burst(1);
SELECT pg_temp.undone(11);
VACUUM :s;
SELECT pg_temp.burst(2);
SELECT pg_temp.burst(12);
SELECT pg_temp.undone(13);
SELECT pg_temp.burst(1);
SELECT pg_temp.undone(12);
VACUUM :s;
SELECT pg_temp.burst(9);
SELECT pg_temp.burst(1);
SELECT pg_temp.undone(4);
SELECT count(*) > 1 AS emptied
  FROM queue.segments g WHERE topic = 's' AND partition = 0
   AND first_offset < (SELECT max("offset") FROM topic.s WHERE partition = 0)
   AND NOT EXISTS (SELECT FROM topic.s m WHERE m.partition = 0 AND m."offset" >= g.first_offset AND m."offset" < g.end_offset);
CREATE FUNCTION pg_temp.wrong_times(topic text) RETURNS TABLE (asked bigint, wrong bigint) LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY EXECUTE format($q$
		WITH asked AS (
			SELECT "timestamp" + d * interval '1 microsecond' AS t FROM (SELECT DISTINCT "timestamp" FROM topic.%1$I) m, unnest(ARRAY[-1, 0, 1]) d
			UNION
			SELECT min("timestamp") + (max("timestamp") - min("timestamp")) * random() FROM topic.%1$I, generate_series(1, 100) n GROUP BY n)
		SELECT count(*), count(*) FILTER (WHERE (f."offset", f."timestamp") IS DISTINCT FROM (e."offset", e."timestamp"))
		  FROM asked a
		  CROSS JOIN LATERAL queue.offsets_for_time(%1$L, a.t) f
		  LEFT JOIN LATERAL (SELECT "offset", "timestamp" FROM topic.%1$I m
		                      WHERE m.partition = f.partition AND m."timestamp" >= a.t ORDER BY "offset" LIMIT 1) e ON true$q$, topic);
END $$;
SELECT asked > 200 AS many, wrong FROM pg_temp.wrong_times('s');
SELECT count(*) FILTER (WHERE queue.offset_time('s', 0, o) IS DISTINCT FROM
	(SELECT "timestamp" FROM topic.s WHERE partition = 0 AND "offset" >= o ORDER BY "offset" LIMIT 1)) AS wrong
  FROM generate_series(0, queue.log_end('s', 0) + 2) o;
SELECT queue.drop_topic('s');

-- The same over many pages of two segments: long runs of one time, over the
-- segments' bound too; and with pages emptied.
SELECT queue.create_topic('p', 1, 'text', segment_messages => 4000);
SELECT log AS p FROM queue.topic WHERE name = 'p' \gset
CREATE FUNCTION pg_temp.load_all() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	log regclass := (SELECT t.log FROM queue.topic t WHERE name = 'p');
	run record;
BEGIN
	FOR run IN SELECT * FROM (VALUES (0, 399, 1, true), (400, 2499, 700, false), (2500, 2999, 3, true), (3000, 4999, 2000, true), (5000, 5999, 700, false), (6000, 7499, 50, true)) v(a, b, step, kept) LOOP
		BEGIN
			EXECUTE format('INSERT INTO %s SELECT n, timestamptz ''2001-01-01'' + (%s + (n - %s) / %s * %s) * interval ''1 second'', 0, NULL, repeat(''x'', 60), NULL FROM generate_series(%s, %s) n', log, run.a, run.a, run.step, run.step, run.a, run.b);
			IF NOT run.kept THEN
				RAISE division_by_zero;
			END IF;
		EXCEPTION WHEN division_by_zero THEN
		END;
	END LOOP;
END $$;
SELECT FROM pg_temp.use_all('p');
SELECT pg_temp.load_all();
SELECT count(*), bool_and(ok) AS ascending FROM (SELECT "timestamp" >= coalesce(lag("timestamp") OVER (ORDER BY "offset"), '-infinity') AS ok FROM topic.p) t;
CREATE INDEX ON :p (partition, "timestamp", "offset");
SELECT asked > 1000 AS many, wrong FROM pg_temp.wrong_times('p');
VACUUM :p;
SELECT asked > 1000 AS many, wrong FROM pg_temp.wrong_times('p');
SELECT m.message, f."offset" FROM (VALUES ('before the run over the bound', 2999), ('in it', 3000), ('behind it', 3001), ('last', 7450), ('behind the last', 7451)) m(message, s),
	queue.offsets_for_time('p', timestamptz '2001-01-01' + s * interval '1 second') f ORDER BY s;
SELECT * FROM queue.verify('p');
SELECT queue.drop_topic('p');
SELECT count(queue.drop_group(name)) FROM queue.consumer_group WHERE name = 'local' OR name LIKE 'at 2%';
