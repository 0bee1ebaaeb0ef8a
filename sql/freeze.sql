--
-- Maintenance freezes sealed segments, each once: nothing is left for VACUUM.
--
-- n batches of that many messages, one a segment
CREATE PROCEDURE pg_temp.fill(topic text, n int, many int DEFAULT 10, size int DEFAULT 10) LANGUAGE plpgsql AS $$
DECLARE
	tries int := 0;
BEGIN
	FOR i IN 1..n LOOP
		PERFORM queue.produce_batch(topic, ARRAY(SELECT rpad(g::text, size, md5(g::text)) FROM generate_series(1, many) g));
		COMMIT;
	END LOOP;
	-- the worker that makes segments may be at it: maintenance would pass by
	WHILE EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'queue segment worker') OR
		(SELECT count(*) FROM queue.segments s
		  WHERE s.topic = fill.topic AND messages = 0 AND NOT sealed) < 2
	LOOP
		PERFORM pg_stat_clear_snapshot(), pg_sleep(0.01);
		tries := tries + 1;
		EXIT WHEN tries > 200;		-- it had no room for more; maintenance will
	END LOOP;
END $$;
-- Maintain until all that is sealed is frozen: somebody's snapshot, an ANALYZE's
-- for one, may be in the way for a moment.
CREATE PROCEDURE pg_temp.settle(topic text) LANGUAGE plpgsql AS $$
BEGIN
	LOOP
		CALL queue.maintain(topic);
		EXIT WHEN NOT EXISTS (SELECT FROM queue.segments s
							   WHERE s.topic = settle.topic AND sealed AND NOT frozen);
		PERFORM pg_sleep(0.01);
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
SELECT relfrozenxid AS before FROM pg_class WHERE oid = :'seg'::regclass \gset
SET client_min_messages = warning;
CALL pg_temp.settle('f');
RESET client_min_messages;
SELECT * FROM pg_temp.state;
SELECT partition, sum(items), sum(bytes) FROM queue.maintenance_log WHERE topic = 'f' AND action = 'segments frozen' GROUP BY 1;
SELECT age(relfrozenxid) < age(:'before'::xid) AS moved, age(relfrozenxid) < 1000 AS young,
       relpages = relallvisible AS visible, reltuples FROM pg_class WHERE oid = :'seg'::regclass;
-- Again: nothing to do, and nothing is said.
CALL queue.maintain('f');
SELECT partition, sum(items) FROM queue.maintenance_log WHERE topic = 'f' AND action = 'segments frozen' GROUP BY 1;
-- VACUUM does not write to it either.
CHECKPOINT;
SELECT pg_temp.content(:'seg') AS content \gset
SELECT txid_current() > 0;
VACUUM (FREEZE) :seg;
VACUUM (DISABLE_PAGE_SKIPPING) :seg;
CALL queue.maintain('f');
CHECKPOINT;
SELECT pg_temp.content(:'seg') = :'content' AS untouched;
-- The one in use is left alone until it is sealed.
CALL pg_temp.fill('f', 1);
SET client_min_messages = warning;
CALL pg_temp.settle('f');
SELECT * FROM pg_temp.state;
SELECT * FROM queue.verify('f');
SELECT count(*), min("offset"), max("offset") FROM topic.f;

-- Large values: TOAST is frozen, too.
SELECT queue.create_topic('large', 1, 'text', segment_messages => 10);
SELECT log AS large FROM queue.topic WHERE name = 'large' \gset
ALTER TABLE :large ALTER value SET STORAGE EXTERNAL;
DO $$ DECLARE s regclass; BEGIN FOR s IN SELECT segment FROM queue.segments WHERE topic = 'large' LOOP EXECUTE format('ALTER TABLE %s ALTER value SET STORAGE EXTERNAL', s); END LOOP; END $$;
CALL pg_temp.fill('large', 2, 10, 5000);
SELECT segment AS seg, c.reltoastrelid::regclass AS toast, t.relfrozenxid AS before
  FROM queue.segments JOIN pg_class c ON c.oid = segment JOIN pg_class t ON t.oid = c.reltoastrelid
 WHERE topic = 'large' AND first_offset = 0 \gset toast_
SELECT pg_relation_size(:'toast_toast'::regclass) > 50000 AS toasted;
-- Frozen means both.
VACUUM (FREEZE, PROCESS_TOAST off) :toast_seg;
SELECT * FROM pg_temp.state WHERE topic = 'large';
CALL pg_temp.settle('large');
SELECT * FROM pg_temp.state WHERE topic = 'large';
SELECT age(relfrozenxid) < age(:'toast_before'::xid) AS moved FROM pg_class WHERE oid = :'toast_toast'::regclass;
CHECKPOINT;
SELECT pg_temp.content(:'toast_seg') AS content \gset
VACUUM (FREEZE) :toast_seg;
CHECKPOINT;
SELECT pg_temp.content(:'toast_seg') = :'content' AS untouched;

-- Rolled back messages, with an index that has entries of them.
SELECT queue.create_topic('holes', 1, 'text', segment_messages => 500);
SELECT log AS holes FROM queue.topic WHERE name = 'holes' \gset
CREATE INDEX ON :holes (key);
SELECT count FROM queue.produce_batch('holes', ARRAY(SELECT rpad('x', 1800) FROM generate_series(1, 100)));
BEGIN;
SELECT count FROM queue.produce_batch('holes', ARRAY['aborted']);
ROLLBACK;
CALL pg_temp.fill('holes', 4, 200, 1800);
CALL pg_temp.settle('holes');
SELECT * FROM pg_temp.state WHERE topic = 'holes';
SELECT count(*) FROM topic.holes;

-- An earlier VACUUM has seen the messages and not frozen them.
SELECT queue.create_topic('seen', 1, 'text', segment_messages => 500);
CALL pg_temp.fill('seen', 2, 500, 1000);
SELECT segment AS seg FROM queue.segments WHERE topic = 'seen' AND first_offset = 0 \gset
VACUUM :seg;
SELECT relpages > 64 AS large, relpages = relallvisible AS visible FROM pg_class WHERE oid = :'seg'::regclass;
CALL pg_temp.settle('seen');
SELECT * FROM pg_temp.state WHERE topic = 'seen';

-- A superuser maintains everybody's topics. An index function runs as the owner, in a
-- process of its own, finds no way back, and the path it is called with is nobody's.
CREATE ROLE regress_icy;
GRANT CREATE ON SCHEMA topic, public TO regress_icy;
SET ROLE regress_icy;
CREATE FUNCTION public.regress_tell(k text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$
BEGIN
	IF k = 'tell' AND current_setting('application_name') = 'queue maintenance' THEN
		RAISE WARNING 'I am %, with %', current_user, current_setting('search_path');
		BEGIN
			PERFORM set_config('role', 'none', false);
			RAISE WARNING 'now I am %', current_user;
		EXCEPTION WHEN OTHERS THEN
			RAISE WARNING '%', SQLERRM;
		END;
	END IF;
	RETURN k;
END $$;
SELECT queue.create_topic('icy', 1, 'text', segment_messages => 500);
RESET ROLE;
SELECT log AS icy FROM queue.topic WHERE name = 'icy' \gset
CREATE INDEX ON :icy USING brin (public.regress_tell(key)) WITH (pages_per_range = 1);
SET ROLE regress_icy;
SELECT count FROM queue.produce_batch('icy', ARRAY(SELECT rpad('x', 500) FROM generate_series(1, 490)));
SELECT "offset" FROM queue.produce('icy', 'x', key => 'tell');
CALL pg_temp.fill('icy', 1, 20, 500);
RESET ROLE;
CALL pg_temp.settle('icy');
SELECT * FROM pg_temp.state WHERE topic = 'icy';
-- The owner needs no other right, and others' topics are passed by.
CALL pg_temp.fill('f', 1);
SET ROLE regress_icy;
CALL pg_temp.fill('icy', 1, 500, 500);
CALL pg_temp.settle('icy');
CALL queue.maintain();
CALL queue.maintain('f');
RESET ROLE;
SELECT * FROM pg_temp.state WHERE topic IN ('f', 'icy');

SELECT queue.drop_topic(name) FROM unnest(ARRAY['f', 'large', 'holes', 'seen', 'icy']) name;
DROP OWNED BY regress_icy;
DROP ROLE regress_icy;
