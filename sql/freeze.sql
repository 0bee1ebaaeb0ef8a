--
-- Segments are set up for autovacuum to freeze them; VACUUM (FREEZE) freezes them by
-- hand.  Nothing writes to a segment that is frozen.
--
-- n batches of that many messages
CREATE PROCEDURE pg_temp.fill(topic text, n int, many int DEFAULT 10, size int DEFAULT 10) LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1..n LOOP
		PERFORM queue.produce_batch(topic, ARRAY(SELECT rpad(g::text, size, md5(g::text)) FROM generate_series(1, many) g));
		COMMIT;
	END LOOP;
END $$;
-- Wait until no other session of the database has a snapshot, as the worker has that
-- makes segments: it would keep VACUUM from freezing what is younger.
CREATE PROCEDURE pg_temp.settle() LANGUAGE plpgsql AS $$
BEGIN
	WHILE EXISTS (SELECT FROM pg_stat_activity
				   WHERE datname = current_database() AND pid <> pg_backend_pid()
					 AND (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL OR backend_type = 'queue segment worker'))
	LOOP
		PERFORM pg_stat_clear_snapshot(), pg_sleep(0.01);
	END LOOP;
END $$;
CREATE VIEW pg_temp.state AS
SELECT topic, sealed, frozen, count(*) AS segments
  FROM queue.segments WHERE messages > 0 GROUP BY 1, 2, 3 ORDER BY 1, 2, 3;
-- What a segment's files hold: those of the log and its map, and of TOAST.
CREATE FUNCTION pg_temp.content(segment regclass) RETURNS text LANGUAGE sql AS $$
SELECT string_agg(md5(pg_read_binary_file(pg_relation_filepath(r) || f, 0, 100000000, true)), ' ' ORDER BY r, f)
  FROM pg_class c, unnest(ARRAY[c.oid, NULLIF(c.reltoastrelid, 0)]) r, unnest(ARRAY['', '_vm']) f
 WHERE c.oid = segment AND r IS NOT NULL $$;

SELECT queue.create_topic('f', 1, 'text', segment_messages => 10);
CALL pg_temp.fill('f', 5);
SELECT * FROM pg_temp.state;
SELECT segment AS seg FROM queue.segments WHERE topic = 'f' AND first_offset = 20 \gset
SELECT unnest(c.reloptions) AS settings, unnest(t.reloptions) AS toast
  FROM pg_class c JOIN pg_class t ON t.oid = c.reltoastrelid WHERE c.oid = :'seg'::regclass;
CALL pg_temp.settle();
-- All that are sealed; their names depend on the topic's number.
\set ECHO none
SELECT format('VACUUM (FREEZE) %s', segment) FROM queue.segments WHERE topic = 'f' AND sealed AND NOT frozen \gexec
\set ECHO all
SELECT * FROM pg_temp.state;
SELECT relpages = relallvisible AS visible, reltuples FROM pg_class WHERE oid = :'seg'::regclass;
CHECKPOINT;
SELECT pg_temp.content(:'seg') AS content \gset
SELECT txid_current() > 0;
VACUUM (FREEZE) :seg;
VACUUM (DISABLE_PAGE_SKIPPING) :seg;
SET client_min_messages = warning;
CALL queue.maintain('f');
RESET client_min_messages;
CHECKPOINT;
SELECT pg_temp.content(:'seg') = :'content' AS untouched;
SELECT * FROM queue.verify('f');
SELECT count(*), min("offset"), max("offset") FROM topic.f;

-- Large values: frozen means TOAST, too.
SELECT queue.create_topic('large', 1, 'text', segment_messages => 10);
SELECT log AS large FROM queue.topic WHERE name = 'large' \gset
SELECT "offset" FROM queue.produce('large', 'first');
SET queue.allow_ddl = on;
TRUNCATE :large;
RESET queue.allow_ddl;
DO $$ DECLARE s regclass; BEGIN FOR s IN SELECT segment FROM queue.segments WHERE topic = 'large' LOOP EXECUTE format('ALTER TABLE %s ALTER value SET STORAGE EXTERNAL', s); END LOOP; END $$;
CALL pg_temp.fill('large', 2, 10, 5000);
SELECT segment AS seg, c.reltoastrelid::regclass AS toast
  FROM queue.segments JOIN pg_class c ON c.oid = segment
 WHERE topic = 'large' AND first_offset = 0 \gset toast_
SELECT pg_relation_size(:'toast_toast'::regclass) > 50000 AS toasted;
CALL pg_temp.settle();
VACUUM (FREEZE, PROCESS_TOAST off) :toast_seg;
SELECT * FROM pg_temp.state WHERE topic = 'large';
VACUUM (FREEZE) :toast_seg;
SELECT * FROM pg_temp.state WHERE topic = 'large';

-- Neither file is shortened, which would take an exclusive lock.
SELECT queue.create_topic('tail', 1, 'text');
SELECT log AS tail FROM queue.topic WHERE name = 'tail' \gset
SELECT "offset" FROM queue.produce('tail', 'first');
SET queue.allow_ddl = on;
TRUNCATE :tail;
RESET queue.allow_ddl;
SELECT segment AS seg, c.reltoastrelid::regclass AS toast
  FROM queue.segments JOIN pg_class c ON c.oid = segment
 WHERE topic = 'tail' AND first_offset = 0 \gset tail_
ALTER TABLE :tail_seg ALTER value SET STORAGE EXTERNAL;
BEGIN;
SELECT count(queue.produce('tail', repeat('x', 5000))) FROM generate_series(1, 100);
ROLLBACK;
SELECT pg_relation_size(:'tail_seg'::regclass) AS size, pg_relation_size(:'tail_toast'::regclass) AS toast_size \gset tail_
CALL pg_temp.settle();
VACUUM :tail_seg;
SELECT pg_relation_size(:'tail_seg'::regclass) = :tail_size AS same, :tail_toast_size > 100000 AS toasted,
       pg_relation_size(:'tail_toast'::regclass) = :tail_toast_size AS same_toast;
SELECT queue.drop_topic('tail');

-- Rolled back messages, with an index that has entries of them: few enough for VACUUM
-- to leave them there, but for the setting.
SELECT queue.create_topic('holes', 1, 'text', segment_messages => 1000);
SELECT log AS holes FROM queue.topic WHERE name = 'holes' \gset
CREATE INDEX ON :holes (key);
CALL pg_temp.fill('holes', 1, 300, 1800);
BEGIN;
SELECT count FROM queue.produce_batch('holes', ARRAY['aborted']);
ROLLBACK;
CALL pg_temp.fill('holes', 1, 300, 1800);
CALL pg_temp.settle();
\set ECHO none
SELECT format('VACUUM (FREEZE) %s', segment) FROM queue.segments WHERE topic = 'holes' AND messages > 0 \gexec
\set ECHO all
SELECT * FROM pg_temp.state WHERE topic = 'holes';
SELECT count(*) FROM topic.holes;

-- Pages that a plain VACUUM has read. Servers from 16 on may have frozen them by then.
SELECT queue.create_topic('seen', 1, 'text', segment_messages => 500);
CALL pg_temp.fill('seen', 2, 500, 1000);
SELECT segment AS seg FROM queue.segments WHERE topic = 'seen' AND first_offset = 0 \gset
CALL pg_temp.settle();
VACUUM :seg;
SELECT relpages > 64 AS large, relpages = relallvisible AS visible FROM pg_class WHERE oid = :'seg'::regclass;
\set ECHO none
SELECT format('VACUUM (FREEZE) %s', segment) FROM queue.segments WHERE topic = 'seen' AND sealed AND NOT frozen \gexec
\set ECHO all
SELECT sealed, frozen FROM queue.segments WHERE topic = 'seen' AND first_offset = 0;

SELECT queue.drop_topic(name) FROM unnest(ARRAY['f', 'large', 'holes', 'seen']) name;
