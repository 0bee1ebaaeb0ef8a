-- What counts.sh counts: a procedure for each row, and what it needs. Each works in
-- transactions of one call, as an application does.

CREATE EXTENSION queue;
SET queue.autocommit_warning = off;

CREATE TABLE sample AS
SELECT n, 'k' || lpad(n::text, 7, '0') AS key,
	left(md5(n::text) || md5(n::text || 'a') || md5(n::text || 'b') || md5(n::text || 'c'), 100) AS value
  FROM generate_series(1, 1000) n;

-- A plain table, a file for it, and a table with what a log needs at least.
CREATE TABLE heap (key text, value text);
COPY (SELECT key, value FROM generate_series(1, 40), sample ORDER BY n) TO :'file' (FORMAT binary);
SELECT format('ALTER DATABASE %I SET counts.file = %L', current_database(), :'file') \gexec
CREATE TABLE log (id bigserial PRIMARY KEY, created timestamptz DEFAULT clock_timestamp(), key text, value text);

SELECT queue.create_topic(t, 1, 'text') FROM unnest(ARRAY['written', 'read']) t \g /dev/null
INSERT INTO topic.read (key, value) SELECT key, value FROM generate_series(1, 100), sample ORDER BY n;
INSERT INTO log (key, value) SELECT key, value FROM generate_series(1, 100), sample ORDER BY n;
SELECT queue.create_group(g, 'read', 'earliest') FROM unnest(ARRAY['consumer', 'poller']) g \g /dev/null

CREATE PROCEDURE produce_batch(n int) LANGUAGE plpgsql AS $$
DECLARE
	keys text[] := ARRAY(SELECT key FROM sample ORDER BY sample.n);
	vals text[] := ARRAY(SELECT value FROM sample ORDER BY sample.n);
BEGIN
	FOR i IN 1 .. n LOOP
		PERFORM queue.produce_batch('written', vals, keys);
		COMMIT;
	END LOOP;
END $$;

CREATE PROCEDURE copy_binary(n int) LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1 .. n LOOP
		EXECUTE format('COPY heap FROM %L (FORMAT binary)', current_setting('counts.file'));
		COMMIT;
	END LOOP;
END $$;

CREATE PROCEDURE insert_batch(n int) LANGUAGE plpgsql AS $$
DECLARE
	keys text[] := ARRAY(SELECT key FROM sample ORDER BY sample.n);
	vals text[] := ARRAY(SELECT value FROM sample ORDER BY sample.n);
BEGIN
	FOR i IN 1 .. n LOOP
		INSERT INTO heap SELECT * FROM unnest(keys, vals);
		COMMIT;
	END LOOP;
END $$;

CREATE PROCEDURE insert_topic(n int) LANGUAGE plpgsql AS $$
DECLARE
	keys text[] := ARRAY(SELECT key FROM sample ORDER BY sample.n);
	vals text[] := ARRAY(SELECT value FROM sample ORDER BY sample.n);
BEGIN
	FOR i IN 1 .. n LOOP
		INSERT INTO topic.written (key, value) SELECT * FROM unnest(keys, vals);
		COMMIT;
	END LOOP;
END $$;

CREATE PROCEDURE produce(n int) LANGUAGE plpgsql AS $$
DECLARE
	val text := (SELECT value FROM sample WHERE sample.n = 1);
BEGIN
	FOR i IN 1 .. n LOOP
		PERFORM queue.produce('written', val, 'k0000001');
		COMMIT;
	END LOOP;
END $$;

CREATE PROCEDURE insert_one(n int) LANGUAGE plpgsql AS $$
DECLARE
	val text := (SELECT value FROM sample WHERE sample.n = 1);
BEGIN
	FOR i IN 1 .. n LOOP
		INSERT INTO heap VALUES ('k0000001', val);
		COMMIT;
	END LOOP;
END $$;

-- From the first message on, each time anew, so that all are in buffers and have been
-- read before.
CREATE PROCEDURE consume(n int) LANGUAGE plpgsql AS $$
DECLARE
	got record;
BEGIN
	PERFORM queue.reset_offsets('consumer', 'read', to_earliest => true);
	FOR i IN 1 .. n LOOP
		SELECT count(*), sum(length(value)) INTO got FROM queue.consume_typed('consumer', 'read', NULL::text, 1000);
		ASSERT got.count = 1000, got.count;
		COMMIT;
	END LOOP;
END $$;

CREATE PROCEDURE poll(n int) LANGUAGE plpgsql AS $$
DECLARE
	got record;
BEGIN
	PERFORM queue.reset_offsets('poller', 'read', to_earliest => true);
	FOR i IN 1 .. n LOOP
		SELECT count(*), sum(length(value)), max("offset") + 1 AS next, max(epoch) AS epoch INTO got
			FROM queue.poll_typed('poller', 'read', 'member', NULL::text, 1000);
		ASSERT got.count = 1000, got.count;
		COMMIT;
		PERFORM queue.commit_offset('poller', 'read', 0, got.next, 'member', got.epoch);
		COMMIT;
	END LOOP;
END $$;

CREATE PROCEDURE index_scan(n int) LANGUAGE plpgsql AS $$
DECLARE
	got record;
	last bigint := 0;
BEGIN
	FOR i IN 1 .. n LOOP
		SELECT count(*), sum(length(value)), max(id) AS last INTO got
			FROM (SELECT * FROM log WHERE id > last ORDER BY id LIMIT 1000) page;
		ASSERT got.count = 1000, got.count;
		last := got.last;
		COMMIT;
	END LOOP;
END $$;

VACUUM ANALYZE;
