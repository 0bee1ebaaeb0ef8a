--
-- Tails: where the last record of a segment is, behind it pages that VACUUM
-- emptied, and several segments and partitions that share one append slot.
--

-- Pages that a command touches. A session that looks for a tail that is not cached
-- walks over the empty pages, one by one.
CREATE FUNCTION pg_temp.pages(command text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	plan json;
BEGIN
	EXECUTE 'EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) ' || command INTO plan;
	plan := plan->0->'Plan';
	RETURN (plan->>'Shared Hit Blocks')::bigint + (plan->>'Shared Read Blocks')::bigint;
END $$;

-- One partition, seven segments, each with one message and 60 emptied pages.
SELECT queue.create_topic('leaves', 1, 'text', segment_messages => 1000);
SELECT log FROM queue.topic WHERE name = 'leaves' \gset
CREATE FUNCTION pg_temp.log() RETURNS regclass LANGUAGE sql AS $$ SELECT log FROM queue.topic WHERE name = 'leaves' $$;
DO $$
BEGIN
	FOR leaf IN 0..6 LOOP
		PERFORM queue.produce('leaves', 'first');
		BEGIN
			EXECUTE format('INSERT INTO %s SELECT o, now(), 0, NULL, repeat(%L, 500), NULL FROM generate_series($1 + 1, $1 + 999) o', pg_temp.log(), 'x')
			  USING leaf * 1000;
			RAISE division_by_zero;
		EXCEPTION WHEN division_by_zero THEN
			NULL;
		END;
	END LOOP;
END $$;
SELECT string_agg("offset"::text, ' ' ORDER BY "offset") FROM topic.leaves;
VACUUM :log;
SELECT "offset" / 1000 AS leaf, tableoid::regclass AS segment, "timestamp" AS time, pg_relation_size(tableoid) AS bytes
  INTO TEMP leaf FROM :log;
SELECT count(*), min(bytes) / current_setting('block_size')::int > 60 AS wide FROM leaf;

-- Four segments in turn: each is walked once.
CREATE TEMP TABLE given (round int, leaf int, pages bigint);
INSERT INTO given
SELECT round, leaf, pg_temp.pages(format('INSERT INTO %s VALUES (%s, %L, 0, NULL, %L, NULL)', segment, leaf * 1000 + round, time, 'round ' || round))
  FROM generate_series(1, 5) round, leaf WHERE leaf < 4 ORDER BY round, leaf;
SELECT round, count(*) FILTER (WHERE pages >= 60) AS walked FROM given GROUP BY round ORDER BY round;

-- Seven, more than a slot knows, in turn, and read in between: no offset is
-- lost, none stands before an earlier one, and no segment grows.
DO $$
DECLARE
	l record;
BEGIN
	FOR round IN 6..9 LOOP
		FOR l IN SELECT * FROM leaf ORDER BY leaf LOOP
			EXECUTE format('INSERT INTO %s VALUES ($1, $2, 0, NULL, $3, NULL)', l.segment)
			  USING l.leaf * 1000 + round, l.time, 'round ' || round;
			PERFORM queue.fetch_typed('leaves', 0, (l.leaf * 3 % 7) * 1000 + 1, NULL::text);
		END LOOP;
	END LOOP;
END $$;
SELECT "offset" / 1000 AS leaf, count(*), bool_and(value = CASE WHEN "offset" % 1000 = 0 THEN 'first' ELSE 'round ' || "offset" % 1000 END) AS right
  FROM topic.leaves GROUP BY 1 ORDER BY 1;
SELECT count(*) FROM queue.consume_typed('g', 'leaves', NULL::text, 1000);
SELECT count(*) AS disordered
  FROM (SELECT "offset" < lag("offset") OVER (PARTITION BY tableoid ORDER BY ctid) AS back FROM :log) o WHERE back;
SELECT count(*) AS grown FROM leaf WHERE pg_relation_size(segment) > bytes;
-- Producing goes on in the last.
SELECT "offset" FROM queue.produce('leaves', 'next');
SELECT * FROM queue.verify('leaves');
SELECT queue.drop_topic('leaves');
DROP TABLE leaf, given;

-- A hundred partitions in 256 slots: about a third of them share one.  All have
-- 20 emptied pages, every other one has no record at all before them.
SELECT queue.create_topic('shared', 100, 'text');
SELECT count(queue.produce('shared', 'message 0', partition => p)) FROM generate_series(0, 98, 2) p;
BEGIN;
SELECT sum(r.count) FROM generate_series(0, 99) p,
       queue.produce_batch('shared', array_fill(repeat('x', 500), ARRAY[300]), partition => p) r;
ROLLBACK;
SELECT log FROM queue.topic WHERE name = 'shared' \gset
VACUUM :log;
-- All in turn. Each is walked once; again only if five or more share a slot.
CREATE TEMP TABLE produced (round int, partition int, pages bigint);
INSERT INTO produced
SELECT round, p, pg_temp.pages(format('SELECT queue.produce(%L, %L, partition => %s)', 'shared', 'message ' || round - p % 2, p))
  FROM generate_series(1, 4) round, generate_series(0, 99) p ORDER BY round, p;
SELECT round, CASE WHEN walked < 10 THEN 'few' WHEN walked = 100 THEN 'all' ELSE walked::text END AS walked
  FROM (SELECT round, count(*) FILTER (WHERE pages >= 20) AS walked FROM produced GROUP BY round) p ORDER BY round;
-- In the other order, with batches.
SELECT count(*), sum(r.count) FROM (SELECT p FROM generate_series(0, 99) p ORDER BY p DESC) o,
       queue.produce_batch('shared', ARRAY['message ' || 5 - p % 2, 'message ' || 6 - p % 2], partition => p) r;
SELECT partition % 2 = 0 AS even, count(*), min("offset"), max("offset"), count(*) FILTER (WHERE value <> 'message ' || "offset") AS misplaced
  FROM topic.shared GROUP BY 1 ORDER BY 1 DESC;
SELECT count(*) AS disordered
  FROM (SELECT "offset" < lag("offset") OVER (PARTITION BY tableoid ORDER BY ctid) AS back FROM :log) o WHERE back;
SELECT count(*) FROM generate_series(0, 99) p, queue.fetch_typed('shared', p, 0, NULL::text);
SELECT * FROM queue.verify('shared');
SELECT queue.drop_topic('shared');
DROP TABLE produced;
