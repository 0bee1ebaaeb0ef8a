\set ECHO none
-- Functions that several tests call. A test includes them by
--   \getenv abs_srcdir PG_ABS_SRCDIR
--   \i :abs_srcdir/sql/include/helpers.sql
-- and none of this file but its first line is echoed.

-- A pass was made, so that limits of topics raise no NOTICE that none is.
SELECT current_setting('client_min_messages') AS helpers_level \gset
SET client_min_messages = warning;
CALL queue.maintain();
SET client_min_messages = :helpers_level;

-- Run a command, and return the SQLSTATE and message of its error.
CREATE FUNCTION pg_temp.error_of(command text, with_detail boolean DEFAULT false) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	detail text;
BEGIN
	EXECUTE command;
	RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
	RETURN SQLSTATE || ': ' || SQLERRM || CASE WHEN with_detail AND detail <> '' THEN E'\n' || detail ELSE '' END;
END $$;

-- Wait until no worker makes segments, whose lock would be in the way of
-- maintenance, and until each partition, or the one given, has empty segments.
CREATE PROCEDURE pg_temp.settle(topic text, partition int DEFAULT NULL, ahead int DEFAULT 1) LANGUAGE plpgsql AS $$
DECLARE
	tries int := 0;
BEGIN
	WHILE EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'queue segment worker') OR
		EXISTS (SELECT FROM queue.segments s
				 WHERE s.topic = settle.topic AND s.partition = coalesce(settle.partition, s.partition)
				 GROUP BY s.partition HAVING count(*) FILTER (WHERE messages = 0 AND NOT sealed) < ahead)
	LOOP
		PERFORM pg_stat_clear_snapshot(), pg_sleep(0.01);
		tries := tries + 1;
		-- no worker could be started; a pass would remove or compact what tests look at
		IF tries > 500 AND settle.topic NOT IN (
			SELECT r.topic FROM queue.retention r
			UNION SELECT t.topic FROM queue.topics t WHERE t.cleanup_policy <> 'delete')
		THEN
			CALL queue.maintain(topic);
		END IF;
	END LOOP;
END $$;

-- Produce n batches of ten messages, each in a transaction of its own: n segments
-- of a topic that has ten messages in each. first: the value of a batch's first message.
CREATE PROCEDURE pg_temp.fill(topic text, n int, partition int DEFAULT 0, first text DEFAULT '1') LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1..n LOOP
		PERFORM queue.produce_batch(topic, first || ARRAY(SELECT g::text FROM generate_series(2, 10) g), partition => partition);
		COMMIT;
	END LOOP;
	CALL pg_temp.settle(topic, partition, least(n, 2));
END $$;

-- Make the first segments of all partitions of a topic from a number on, and leave
-- them empty.
CREATE FUNCTION pg_temp.use_all(topic text, first int DEFAULT 0) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET queue.allow_ddl = on AS $$
BEGIN
	EXECUTE format('INSERT INTO topic.%I (partition, key) SELECT generate_series(%s, partitions - 1), ''k'' FROM queue.topic WHERE name = %L',
		topic, first, topic);
	EXECUTE (SELECT 'TRUNCATE ' || string_agg(segment::text, ', ') FROM queue.segments s WHERE s.topic = use_all.topic AND partition >= first);
END $$;

-- Let the lease of a member expire.
CREATE FUNCTION pg_temp.expire(member text) RETURNS void LANGUAGE sql AS $$
	UPDATE queue.member SET expires_at = now() - interval '1 hour' WHERE name = $1
$$;
\set ECHO all
