--
-- queue.delete_messages moves the log start into a segment: no reader is shown what
-- is deleted, in whichever way it reads; and a call that deletes nothing says why.
--
\getenv abs_srcdir PG_ABS_SRCDIR
\i :abs_srcdir/sql/include/helpers.sql
-- The first scan of a query's plan; and whether workers do it.
CREATE FUNCTION pg_temp.scan_of(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	line text;
	parallel text := '';
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (COSTS off) ' || query LOOP
		IF line LIKE '%Gather%' THEN
			parallel := ', parallel';
		ELSIF line LIKE '%Scan%' THEN
			RETURN substring(line FROM '(Index Only Scan|Index Scan|Bitmap Heap Scan|Seq Scan)') || parallel;
		END IF;
	END LOOP;
END $$;
SET jit = off;
SELECT queue.create_topic('d', 1, 'text', segment_messages => 1000);
SELECT log FROM queue.topic WHERE name = 'd' \gset
CREATE INDEX d_key ON :log (key);
CREATE INDEX d_brin ON :log USING brin ("offset");
CREATE INDEX d_secret ON :log (value) WHERE value LIKE 'secret%';
SELECT sum(count) FROM queue.produce_batch('d',
	ARRAY(SELECT CASE WHEN n < 600 THEN 'secret ' ELSE 'open ' END || n FROM generate_series(0, 999) n),
	ARRAY(SELECT 'k' || n % 10 FROM generate_series(0, 999) n));
SELECT sum(count) FROM queue.produce_batch('d', ARRAY(SELECT 'open ' || n FROM generate_series(1000, 1499) n));
SELECT segment AS first FROM queue.segments WHERE topic = 'd' AND first_offset = 0 \gset
-- All-visible, so that an index alone could answer.
SET client_min_messages = error;
SET queue.allow_ddl = on;
VACUUM (FREEZE, ANALYZE) :first;
RESET queue.allow_ddl;
RESET client_min_messages;
SELECT ctid AS deleted FROM :first WHERE "offset" = 599 \gset
SELECT ctid AS kept FROM :first WHERE "offset" = 600 \gset

-- Plans that are made before.
SET plan_cache_mode = force_generic_plan;
PREPARE by_index AS SELECT count(*) FROM :first WHERE key = 'k5';
PREPARE all_rows AS SELECT count(*) FROM :first;
SET enable_seqscan = off;
SET enable_bitmapscan = off;
SELECT pg_temp.scan_of('EXECUTE by_index');
EXECUTE by_index;
EXECUTE all_rows;

SELECT log_start, segments, bytes FROM queue.delete_messages('d', 0, 600);

-- By the same plans: they are made again.
SELECT pg_temp.scan_of('EXECUTE by_index');
EXECUTE by_index;
EXECUTE all_rows;
-- By an index; by a part of it; in order, backwards; by the least value.
SELECT count(*), min("offset") FROM topic.d WHERE key = 'k5';
SELECT count(*) FROM topic.d WHERE value LIKE 'secret%';
SELECT "offset" FROM :first ORDER BY key DESC, "offset" LIMIT 1;
SELECT min(value), max(value) FROM :first WHERE value LIKE 'secret%';
SELECT pg_temp.scan_of('SELECT count(*) FROM ' || :'first' || ' WHERE key = ''k5''');
-- A bitmap: of no columns, too.
SET enable_bitmapscan = on;
SET enable_indexscan = off;
SET enable_indexonlyscan = off;
SELECT pg_temp.scan_of('SELECT count(value) FROM ' || :'first' || ' WHERE key = ''k5''');
SELECT count(value) FROM :first WHERE key = 'k5';
SELECT count(*) FROM :first WHERE key = 'k5';
SELECT count(*), min("offset") FROM :first WHERE "offset" BETWEEN 590 AND 609;
RESET enable_indexscan;
RESET enable_indexonlyscan;
RESET enable_seqscan;
-- The whole; in parallel; backwards; a sample; by place, and by range of places; as a copy.
SELECT count(*), min("offset") FROM topic.d;
SELECT count(*), min("offset") FROM :log;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SELECT pg_temp.scan_of('SELECT count(*) FROM topic.d');
SELECT count(*), min("offset") FROM topic.d;
SET enable_seqscan = off;
SELECT count(*) FROM topic.d WHERE key = 'k5';
RESET enable_seqscan;
RESET parallel_setup_cost;
RESET parallel_tuple_cost;
RESET min_parallel_table_scan_size;
BEGIN;
DECLARE c SCROLL CURSOR FOR SELECT "offset" FROM :first;
MOVE FORWARD 401 FROM c;
FETCH BACKWARD 1 FROM c;
MOVE BACKWARD 399 FROM c;
FETCH BACKWARD 2 FROM c;
COMMIT;
SELECT count(*), min("offset") FROM :first TABLESAMPLE SYSTEM (100);
SELECT count(*), min("offset") FROM :first TABLESAMPLE BERNOULLI (100);
SELECT count(*) FROM :first WHERE ctid = :'deleted';
SELECT "offset" FROM :first WHERE ctid = :'kept';
SELECT count(*), min("offset") FROM :first WHERE ctid < :'kept'::tid;
SELECT count(*), min("offset") FROM :first WHERE ctid >= '(0,1)'::tid;
SELECT count(*) FROM topic.d a JOIN :first b USING ("offset");
COPY (SELECT "offset", value FROM topic.d WHERE "offset" < 602) TO STDOUT;
-- ANALYZE: nothing of them.
ANALYZE :first;
SELECT reltuples FROM pg_class WHERE oid = :'first'::regclass;
SELECT histogram_bounds::text LIKE '%secret%' AS found FROM pg_stats
 WHERE schemaname || '.' || tablename = :'first' AND attname = 'value';

-- The functions and views.
SELECT queue.log_start('d', 0), queue.log_end('d', 0), queue.stable_end('d', 0);
SELECT first_offset, messages, first_time IS NOT NULL AS timed FROM queue.segments WHERE topic = 'd' AND messages > 0 ORDER BY 1;
SELECT log_start, log_end FROM queue.partitions WHERE topic = 'd';
SELECT log_start, limit_offset FROM queue.retention WHERE topic = 'd';
SELECT min(m."offset"), count(*) FROM queue.fetch_typed('d', 0, 600, NULL::text, 2000) m;
SELECT pg_temp.error_of('SELECT * FROM queue.fetch_typed(''d'', 0, 599, NULL::text)');
SELECT "offset" FROM queue.offsets_for_time('d', '2000-01-01', 0);
SELECT queue.offset_time('d', 0, 0) IS NULL AS deleted, queue.offset_time('d', 0, 600) IS NULL AS kept;
SELECT queue.create_group('early', 'd'), queue.create_group('timed', 'd', '2000-01-01');
SELECT consumer_group, current_offset, lag FROM queue.consumer_groups WHERE topic = 'd' ORDER BY 1;
SELECT new_offset FROM queue.reset_offsets('early', 'd', to_time => '2000-01-01');
SELECT pg_temp.error_of('SELECT queue.reset_offsets(''early'', ''d'', to_offset => 599)');
SELECT min(m."offset"), count(*) FROM queue.consume_typed('early', 'd', NULL::text, 10) m;
SELECT min(m."offset"), count(*) FROM queue.consume_typed('begins', 'd', NULL::text, 10) m;
SELECT * FROM queue.verify('d');
-- Only messages of the log can be archived.
SELECT pg_temp.error_of('SELECT queue.archive_segment(''d'', 0, ''public.regress_d'', true)', true);

-- Why nothing is deleted.
SELECT log_start, segments FROM queue.delete_messages('d', 0, 600);
SELECT log_start, segments FROM queue.delete_messages('d', 0, 100);
SELECT log_start, segments FROM queue.delete_messages('d', 0, 1200);
SELECT queue.drop_group('timed');
SELECT log_start, segments FROM queue.delete_messages('d', 0, 1200);
SELECT queue.drop_group('early'), queue.drop_group('begins');
-- What this transaction has produced; and what it has not.
BEGIN;
SELECT count(*) FROM queue.produce('d', 'own');
SELECT log_start, segments FROM queue.delete_messages('d', 0, 1501);
SELECT count(*) FROM topic.d;
ROLLBACK;
SELECT count(*), min("offset") FROM topic.d;
SELECT pg_temp.error_of('SELECT * FROM queue.delete_messages(''d'', 0, 2000)');
-- A savepoint: seen at once, and given back.
BEGIN;
SELECT log_start FROM queue.delete_messages('d', 0, 800);
SELECT count(*) FROM topic.d;
SAVEPOINT s;
SELECT log_start FROM queue.delete_messages('d', 0, 1300);
SELECT count(*), min("offset") FROM topic.d;
SELECT count(*) FROM queue.produce('d', 'after');
ROLLBACK TO s;
SELECT count(*), min("offset") FROM topic.d;
ROLLBACK;
SELECT count(*), min("offset") FROM topic.d;
-- An index that is made afterwards.
SELECT queue.create_topic('u', 1, 'text', segment_messages => 100);
SELECT log AS u FROM queue.topic WHERE name = 'u' \gset
SELECT sum(count) FROM queue.produce_batch('u', ARRAY(SELECT 'v' || n FROM generate_series(0, 9) n), ARRAY(SELECT 'k' || n FROM generate_series(0, 9) n));
SELECT segment AS u_first FROM queue.segments WHERE topic = 'u' AND first_offset = 0 \gset
SELECT log_start FROM queue.delete_messages('u', 0, 5);
CREATE INDEX u_key ON :u (key);
SET enable_seqscan = off;
SELECT count(*), min("offset") FROM topic.u WHERE key > 'k';
RESET enable_seqscan;
-- Rewritten: what is deleted stays deleted.
SET queue.allow_ddl = on;
VACUUM FULL :u_first;
RESET queue.allow_ddl;
SELECT count(*), min("offset") FROM topic.u;
-- All of it: the log goes on where it was.
SELECT log_start FROM queue.delete_messages('u', 0, 10);
SELECT count(*) FROM topic.u;
SELECT messages, first_time FROM queue.segments WHERE topic = 'u' AND first_offset = 0;
SELECT "offset" FROM queue.produce('u', 'next');
SELECT "offset", value FROM topic.u;
-- Up to the end of the last segment that has messages.
SELECT sum(count) FROM queue.produce_batch('u', ARRAY(SELECT 'v' || n FROM generate_series(11, 99) n));
SELECT log_start FROM queue.delete_messages('u', 0, 100);
SELECT queue.log_start('u', 0), queue.log_end('u', 0), (SELECT count(*) FROM topic.u);
SELECT "offset" FROM queue.produce('u', 'behind');
SELECT "offset", value FROM queue.consume_typed('u', 'u', NULL::text);
SELECT * FROM queue.verify('u');

-- A duplicate whose message is deleted is a duplicate.
SELECT "offset" FROM queue.produce('u', 'first', producer_id => 'p', sequence => 0);
SELECT log_start FROM queue.delete_messages('u', 0, 102, force => true);
SELECT "offset", duplicate FROM queue.produce('u', 'first', producer_id => 'p', sequence => 0);

-- Compaction removes what is deleted from the file, and the rest by its keys.
SELECT queue.create_topic('c', 1, 'text', segment_messages => 10, cleanup_policy => 'compact');
SELECT sum(count) FROM queue.produce_batch('c', ARRAY(SELECT 'v' || n FROM generate_series(0, 24) n), ARRAY(SELECT 'k' || n % 13 FROM generate_series(0, 24) n));
SELECT log_start FROM queue.delete_messages('c', 0, 5);
SELECT segment AS c_first FROM queue.segments WHERE topic = 'c' AND first_offset = 0 \gset
SET queue.compaction_min_dirty_ratio = 0;
SET client_min_messages = warning;
CALL pg_temp.settle('c');
CALL queue.maintain('c');
RESET client_min_messages;
SELECT array_agg("offset" ORDER BY "offset") FROM topic.c;
SELECT reltuples FROM pg_class WHERE oid = :'c_first'::regclass;
SELECT * FROM queue.verify('c');

SELECT queue.drop_group('u'), queue.drop_topic('d'), queue.drop_topic('u'), queue.drop_topic('c');
