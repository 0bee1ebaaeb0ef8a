--
-- Dedupe keys: what becomes of a message with a key.
--
\getenv abs_srcdir PG_ABS_SRCDIR
\i :abs_srcdir/sql/include/helpers.sql
SET client_min_messages = warning;
SELECT queue.create_topic('k', 3, 'text');
-- Where a message went, and what the call said about it.
CREATE FUNCTION pg_temp.put(key text, partition int DEFAULT 0) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	r queue.produce_result;
BEGIN
	r := queue.produce('k', 'message ' || key, partition => partition, dedupe_key => key);
	RETURN r.partition || ':' || r.offset || CASE WHEN r.duplicate THEN ' duplicate' ELSE ' new' END ||
		CASE WHEN r.duplicate <> (r.timestamp IS NULL) THEN ' with wrong timestamp' ELSE '' END;
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ': ' || SQLERRM;
END $$;
-- So much time passes, for the keys that are there.
CREATE FUNCTION pg_temp.pass(span interval) RETURNS void LANGUAGE sql AS $$
	UPDATE queue.dedupe_bucket SET started_at = started_at - span, ends_at = ends_at - span;
	SELECT FROM queue.alter_topic('k');
$$;
CREATE VIEW buckets AS
SELECT b.number, b.keys, ends_at - started_at AS span, c.relowner = n.nspowner AS extension_owner, c.relacl IS NULL AS no_rights
  FROM queue.dedupe_bucket b LEFT JOIN pg_class c ON c.oid = b.keys LEFT JOIN pg_namespace n ON n.oid = c.relnamespace ORDER BY 1;

-- A topic without keys has no table for them.
SELECT (queue.produce('k', 'none', partition => 0)).offset;
SELECT count(*) FROM buckets;

-- New, and again: the original place, whatever the message contains.
SELECT pg_temp.put('a', 1), pg_temp.put('b', 2);
SELECT pg_temp.put('a', 0), pg_temp.put('b', 1);
SELECT * FROM queue.produce('k', 'another', 'key', '{"h": 1}', 0, dedupe_key => 'a');
SELECT partition, p.offset, duplicate FROM queue.produce('k', 'typed'::varchar, dedupe_key => 'a') p;
SELECT substr(keys::text, 1, 13) AS keys, span, extension_owner, no_rights FROM buckets;
SELECT count(*) AS bytes FROM buckets WHERE pg_column_size(ROW(1::int8, 1::int2, 1::int2, 1, NULL::int)) = 40;

-- The key of a message has nothing to do with it; NULL is none; case and bytes count.
SELECT duplicate FROM queue.produce('k', 'm', key => 'a', partition => 0);
SELECT duplicate FROM queue.produce('k', 'm', partition => 0, dedupe_key => NULL), generate_series(1, 2);
SELECT pg_temp.put('A'), pg_temp.put('a '), pg_temp.put('ä'), pg_temp.put(repeat('long', 100000)), pg_temp.put(repeat('long', 100000));

-- Twice in a statement, in a transaction, after a rollback to a savepoint.
SELECT pg_temp.put('twice') FROM generate_series(1, 3);
BEGIN;
SELECT pg_temp.put('mine');
SAVEPOINT s;
SELECT pg_temp.put('undone');
ROLLBACK TO s;
SELECT pg_temp.put('mine'), pg_temp.put('undone');
SELECT pg_temp.put('undone');
ROLLBACK;
SELECT pg_temp.put('mine'), pg_temp.put('undone');

-- A message that is refused takes no key along.
SELECT pg_temp.put('no partition', 7), pg_temp.put('no partition', 1);
-- What excludes each other.
SELECT pg_temp.put('');
SELECT pg_temp.error_of($$SELECT queue.produce('k', 'm', producer_id => 'p', sequence => 1, dedupe_key => 'p')$$);
SELECT pg_temp.error_of($$SELECT queue.produce('none', 'm', dedupe_key => 'p')$$);
BEGIN READ ONLY;
SELECT queue.produce('k', 'm', dedupe_key => 'a');
ROLLBACK;

-- Another topic has other keys; one that is made in the same transaction, too.
BEGIN;
SELECT queue.create_topic('other', 1, 'text', dedupe_window => '2 hours');
SELECT p.offset, duplicate FROM queue.produce('other', 'm', dedupe_key => 'a') p;
SELECT p.offset, duplicate FROM queue.produce('other', 'm', dedupe_key => 'a') p;
COMMIT;
SELECT p.offset, duplicate FROM queue.produce('other', 'm', dedupe_key => 'a') p;
SELECT span, extension_owner FROM buckets WHERE span < '1 day';
BEGIN;
SELECT queue.drop_topic('other');
ROLLBACK;
SELECT p.offset, duplicate FROM queue.produce('other', 'm', dedupe_key => 'a') p;
SELECT queue.drop_topic('other');
SELECT count(*) FROM buckets WHERE span < '1 day';

-- The window.
SELECT topic, dedupe_window FROM queue.topics WHERE topic = 'k';
SELECT pg_temp.error_of($$SELECT queue.alter_topic('k', dedupe_window => '0')$$), pg_temp.error_of($$SELECT queue.alter_topic('k', dedupe_window => '-1 s')$$),
       pg_temp.error_of($$SELECT queue.create_topic('l', dedupe_window => '10001 days')$$);
-- Inside it a key is found, also in the bucket before; behind it no longer.
SELECT pg_temp.pass('24 hours');
SELECT pg_temp.put('a'), pg_temp.put('second day');
SELECT count(*) FROM buckets;
SELECT pg_temp.pass('24 hours');
SELECT pg_temp.put('second day'), pg_temp.put('third day');
SELECT pg_temp.pass('2 minutes');
SELECT pg_temp.put('a'), pg_temp.put('second day'), pg_temp.put('third day');
-- Maintenance drops buckets that are behind the window, and nothing else.
SELECT count(*) FROM buckets;
CALL queue.maintain('k');
SELECT count(*), count(extension_owner) AS tables FROM buckets;
SELECT action, items FROM queue.maintenance_log WHERE topic = 'k' AND action LIKE 'buckets%';
CALL queue.maintain('k');
SELECT count(*) FROM queue.maintenance_log WHERE topic = 'k' AND action LIKE 'buckets%';
-- So does the call that makes another one.
SELECT pg_temp.pass('49 hours');
SELECT pg_temp.put('a');
SELECT count(*), count(extension_owner) AS tables FROM buckets;
-- A longer window applies to what is there, a shorter one at once.
SELECT pg_temp.pass('49 hours'), queue.alter_topic('k', dedupe_window => '10 days');
SELECT pg_temp.put('a');
SELECT span FROM buckets;
SELECT queue.alter_topic('k', dedupe_window => '1 s');
SELECT pg_temp.put('a'), pg_temp.put('b');
SELECT pg_temp.pass('10 days 2 minutes');
SELECT pg_temp.put('a'), pg_temp.put('a');
SELECT span FROM buckets;
SELECT queue.alter_topic('k', dedupe_window => '1 day');

-- The original is gone: its place is still the answer.
SELECT pg_temp.put('removed', 2) ~ 'new' AS new;
DO $$ BEGIN PERFORM queue.produce_batch('k', array_fill('fill'::text, ARRAY[140000]), partition => 2); END $$;
CALL pg_temp.settle('k', 2);
SELECT FROM queue.delete_messages('k', 2, queue.log_end('k', 2));
SELECT queue.log_start('k', 2) > 2 AS removed, pg_temp.put('removed') ~ '^2:.* duplicate' AS duplicate;

-- Offsets beyond 32 bits.
SELECT keys AS bucket FROM queue.dedupe_bucket ORDER BY number DESC LIMIT 1 \gset
SELECT pg_temp.put('far', 1) ~ 'new' AS new;
CREATE TEMP TABLE far AS SELECT * FROM :bucket WHERE ctid = (SELECT max(ctid) FROM :bucket);
DELETE FROM :bucket WHERE ctid = (SELECT max(ctid) FROM :bucket);
INSERT INTO :bucket SELECT hash, hash_more, 1, -5, 1 FROM far;
SELECT pg_temp.put('far');
DELETE FROM :bucket WHERE offset_high = 1;
INSERT INTO :bucket SELECT hash, hash_more, 3, 0, NULL FROM far;
SELECT pg_temp.put('far');
DELETE FROM :bucket WHERE partition = 3;

-- A restore that brought the keys and not the messages: QU001, and new keys go to a
-- bucket of their own.
UPDATE queue.dedupe_bucket SET incarnation = 1;
SELECT FROM queue.alter_topic('k');
INSERT INTO queue.incarnation SELECT topic_id, 2, 2, incarnation, 0 FROM queue.incarnation WHERE partition = 2 LIMIT 1;
SELECT count(*) AS buckets FROM buckets \gset
SELECT pg_temp.put('removed'), pg_temp.put('restored') ~ 'new' AS new;
SELECT pg_temp.put('restored') ~ 'duplicate' AS duplicate, count(*) - :buckets AS more FROM buckets;

-- Code that runs while the call appends, and uses a key of the topic itself.
SELECT queue.create_topic('n', 1, 'text');
SELECT log FROM queue.topic WHERE name = 'n' \gset
CREATE FUNCTION nested(value text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	IF value LIKE 'do: %' THEN
		EXECUTE substr(value, 5);
	END IF;
	RETURN true;
END $$;
ALTER TABLE :log ADD CONSTRAINT nested CHECK (nested(value));
SELECT pg_temp.error_of($do$SELECT queue.produce('n', $$do: SELECT queue.produce('n', 'inner', dedupe_key => 'x')$$, dedupe_key => 'x')$do$);
SELECT pg_temp.error_of($do$SELECT queue.produce('n', $$do: SELECT queue.produce('k', 'inner', dedupe_key => 'x')$$, dedupe_key => 'x')$do$);
SELECT value FROM topic.n;

-- DDL that would lose keys, and a table without its index.
SELECT keys AS bucket, keys || '_hash' AS index FROM queue.dedupe_bucket b JOIN queue.topic t USING (topic_id) WHERE t.name = 'n' \gset
SELECT regexp_replace(pg_temp.error_of(format('%s %s', command, :'bucket')), 'dedupe_\d+_\d+', 'dedupe_<n>') AS error
  FROM (VALUES ('DROP TABLE'), ('ALTER TABLE x DROP COLUMN hash_more'), ('ALTER TABLE x ADD COLUMN more int'), ('ALTER TABLE x SET UNLOGGED'), ('ALTER TABLE x ALTER offset_low TYPE bigint')) c(c),
       LATERAL (SELECT CASE WHEN c LIKE '% x %' THEN replace(c, ' x ', ' ' || :'bucket' || ' ') || ' --' ELSE c END AS command) d;
REINDEX INDEX CONCURRENTLY :index;
SELECT p.offset >= 0 AS place, duplicate FROM queue.produce('n', 'again', dedupe_key => 'x') p;
DROP INDEX :index;
SELECT pg_temp.error_of($$SELECT queue.produce('n', 'again', dedupe_key => 'x')$$, true);
SELECT p.duplicate FROM queue.produce('n', 'plain') p;
SELECT queue.drop_topic(t) FROM unnest(ARRAY['n', 'k']) t;
SELECT count(*) FROM queue.dedupe_bucket;
SELECT count(*) FROM pg_class WHERE relnamespace = 'queue'::regnamespace AND relname ~ '^dedupe_\d';
DROP VIEW buckets;
DROP FUNCTION nested;
