--
-- What calls write: an empty consume nothing, and it takes no transaction id.
--
SELECT queue.create_topic('w', 4);
CREATE FUNCTION pg_temp.written(command text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	start pg_lsn;
	bytes numeric;
	least_bytes numeric := 'Infinity';
BEGIN
	-- others may write meanwhile: the least of several tries
	FOR try IN 1..20 LOOP
		start := pg_current_wal_insert_lsn();
		EXECUTE command;
		bytes := pg_current_wal_insert_lsn() - start;
		least_bytes := least(least_bytes, bytes);
	END LOOP;
	RETURN CASE least_bytes WHEN 0 THEN 'no WAL' ELSE 'WAL' END
		|| CASE WHEN pg_current_xact_id_if_assigned() IS NULL THEN ', no transaction id' ELSE ', a transaction id' END;
END $$;
-- The measure measures.
SELECT pg_temp.written($$SELECT queue.produce('w', '1')$$);
SELECT pg_temp.written($$SELECT count(*) FROM queue.consume('measure', 'w', 1)$$);

-- A group that does not exist, at an empty topic.
SELECT queue.create_topic('e', 4);
SELECT pg_temp.written($$SELECT count(*) FROM queue.consume('nobody', 'e')$$);
SELECT count(*) FROM queue.consumer_group WHERE name = 'nobody';
-- A group at the end of the log.
DO $$
BEGIN
	WHILE EXISTS (SELECT FROM queue.consume('g', 'w', 1000)) LOOP
		NULL;
	END LOOP;
END $$;
SELECT pg_temp.written($$SELECT count(*) FROM queue.consume('g', 'w')$$);
BEGIN;
SELECT count(*) FROM queue.consume('g', 'w');
SELECT pg_current_xact_id_if_assigned() IS NULL AS no_xid;
SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid();
COMMIT;
-- Behind an aborted tail, and before a message of our own that is not there yet.
BEGIN;
SELECT sum(count) FROM queue.produce_batch('w', ARRAY['1', '2', '3', '4'], ARRAY['a', 'b', 'c', 'd']);
ROLLBACK;
SELECT count(*) FROM queue.consume('g', 'w');
SELECT pg_temp.written($$SELECT count(*) FROM queue.consume('g', 'w')$$);
-- A group that was created and has nothing to read.
SELECT queue.create_group('idle', 'w', 'latest');
SELECT pg_temp.written($$SELECT count(*) FROM queue.consume('idle', 'w')$$);
-- Reading writes nothing: fetch, the ends, the views, plain SQL.
SELECT count(*) > 0 AS found FROM topic.w;
SELECT call, pg_temp.written(call)
  FROM unnest(ARRAY[
    $$SELECT count(*) FROM queue.fetch('w', 0, 0)$$,
    $$SELECT queue.log_start('w', 0), queue.stable_end('w', 0), queue.log_end('w', 0)$$,
    $$SELECT count(*) FROM queue.partitions$$,
    $$SELECT count(*) FROM queue.consumer_groups$$,
    $$SELECT count(*) FROM queue.blockers$$,
    $$SELECT count(*) FROM topic.w$$,
    $$SELECT count(*) FROM queue.verify('w')$$,
    $$SELECT count(*) FROM queue.produce_batch('w', ARRAY[]::jsonb[])$$]) WITH ORDINALITY u(call, n)
 ORDER BY n;
SELECT queue.drop_topic('w');
SELECT queue.drop_topic('e');
