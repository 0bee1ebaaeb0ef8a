-- Log compaction: the latest message of each key stays.
\set VERBOSITY terse
SET queue.compaction_min_dirty_ratio = 0;
SET client_min_messages = warning;
\getenv abs_srcdir PG_ABS_SRCDIR
\i :abs_srcdir/sql/include/helpers.sql

-- What a topic says of it.
SELECT queue.create_topic('bad', cleanup_policy => 'squash');
SELECT queue.create_topic('bad', cleanup_policy => 'compact', tombstone_retention => '-1 s');
SELECT queue.create_topic('state', segment_messages => 10, cleanup_policy => 'compact', tombstone_retention => '0');
SELECT queue.create_topic('both', cleanup_policy => 'delete,compact');
SELECT queue.create_topic('plain');
SELECT name, cleanup_policy, tombstone_retention FROM queue.topic ORDER BY name;
SELECT queue.alter_topic('plain', cleanup_policy => 'compact', tombstone_retention => '2 h');
SELECT queue.alter_topic('both', cleanup_policy => 'squash');
SELECT queue.alter_topic('both', cleanup_policy => 'delete');
SELECT name, cleanup_policy, tombstone_retention FROM queue.topic ORDER BY name;
SELECT queue.drop_topic('both'), queue.drop_topic('plain');

-- Its messages need a key, by whatever way they come.
\set VERBOSITY sqlstate
SELECT queue.produce('state', '1');
SELECT queue.produce_batch('state', ARRAY['1', '2'], ARRAY['k', NULL]);
INSERT INTO topic.state (value) VALUES ('1');
COPY topic.state (value) FROM stdin;
1
\.
\set VERBOSITY terse
SELECT queue.produce('state', '1');

-- Sealed segments are compacted, the others are not.
SELECT count(*) FROM (SELECT queue.produce('state', to_jsonb(i)::text, key => 'k' || i % 4)
                        FROM generate_series(0, 34) i) s;
CALL pg_temp.settle('state');
CALL queue.maintain('state');
SELECT "offset", key, value FROM topic.state ORDER BY "offset";
SELECT compacted_to, oldest_tombstone FROM queue.checkpoint;
SELECT * FROM queue.verify('state');
-- Nothing left to do.
CALL queue.maintain('state');
SELECT action, items FROM queue.maintenance_log WHERE topic = 'state' AND action LIKE '%compacted%';

-- Groups read through the gaps; offsets are what they were.
SELECT "offset", key FROM queue.consume('g', 'state', max_messages => 3);
SELECT "offset", key FROM queue.fetch('state', 0, 5, 2);
SELECT current_offset, lag FROM queue.consumer_groups WHERE consumer_group = 'g';
SELECT "offset", key FROM queue.consume('g', 'state');

-- A tombstone waits for the groups, then goes; its key with it.
SELECT queue.create_group('slow', 'state', start => 'latest');
SELECT count(*) FROM (SELECT queue.produce('state', NULL, key => 'k' || i % 2)
                        FROM generate_series(1, 2) i) s;
SELECT count(*) FROM (SELECT queue.produce('state', to_jsonb(i)::text, key => 'other')
                        FROM generate_series(37, 52) i) s;
CALL pg_temp.settle('state');
CALL queue.maintain('state');
SELECT "offset", key, value FROM topic.state ORDER BY "offset";
SELECT compacted_to, oldest_tombstone IS NOT NULL AS tombstones FROM queue.checkpoint;
SELECT "offset", key, value FROM queue.consume('slow', 'state', max_messages => 1);
CALL queue.maintain('state');
SELECT "offset", key, value FROM queue.consume('slow', 'state', max_messages => 10);
SELECT count(*) FROM queue.consume('g', 'state');
CALL queue.maintain('state');
SELECT "offset", key, value FROM topic.state ORDER BY "offset";
SELECT compacted_to, oldest_tombstone FROM queue.checkpoint;
-- The time counts, too; and retention_force does not wait for groups.
SELECT queue.alter_topic('state', tombstone_retention => '1 day');
SELECT queue.create_group('slower', 'state', start => 'earliest');
SELECT count(*) FROM (SELECT queue.produce('state', CASE WHEN i > 1 THEN to_jsonb(i)::text END, key => 'k' || i)
                        FROM generate_series(1, 12) i) s;
CALL pg_temp.settle('state');
CALL queue.maintain('state');
SELECT "offset", key FROM topic.state WHERE value IS NULL;
SELECT queue.alter_topic('state', tombstone_retention => '0');
CALL queue.maintain('state');
SELECT "offset", key FROM topic.state WHERE value IS NULL;
SELECT queue.alter_topic('state', retention_force => true);
CALL queue.maintain('state');
SELECT "offset", key FROM topic.state WHERE value IS NULL;

-- Limits hold if the policy says delete, too.
SELECT queue.alter_topic('state', retention => '1 ms');
SELECT pg_sleep(0.01);
CALL queue.maintain('state');
SELECT queue.alter_topic('state', cleanup_policy => 'compact,delete');
CALL queue.maintain('state');
SELECT DISTINCT action FROM queue.maintenance_log WHERE topic = 'state' AND action <> 'segments made' ORDER BY 1;
SELECT queue.drop_topic('state');
SELECT count(*) FROM queue.checkpoint;

-- Little dirt is left alone.
RESET queue.compaction_min_dirty_ratio;
SELECT queue.create_topic('little', segment_messages => 1000, cleanup_policy => 'compact');
SELECT count FROM queue.produce_batch('little', ARRAY(SELECT '1' FROM generate_series(1, 3500)), ARRAY(SELECT 'k' || i FROM generate_series(1, 3500) i));
CALL pg_temp.settle('little');
CALL queue.maintain('little');
SELECT compacted_to FROM queue.checkpoint;
SELECT count FROM queue.produce_batch('little', ARRAY(SELECT '1' FROM generate_series(1, 1000)), ARRAY(SELECT 'k' || i FROM generate_series(1, 1000) i));
CALL pg_temp.settle('little');
CALL queue.maintain('little');
SELECT compacted_to FROM queue.checkpoint;
SET queue.compaction_min_dirty_ratio = 0.25;
CALL queue.maintain('little');
SELECT compacted_to FROM queue.checkpoint;
SELECT queue.drop_topic('little');
SET queue.compaction_min_dirty_ratio = 0;

-- Messages without key that were there before stay; large values and keys, and
-- indexes, move along.
SELECT queue.create_topic('large', value_type => 'text', segment_messages => 10);
SELECT queue.produce('large', 'no key ' || i) IS NOT NULL AS ok FROM generate_series(1, 2) i;
SELECT count FROM queue.produce_batch('large',
    ARRAY(SELECT CASE WHEN i % 3 = 0 THEN i || repeat('v', 100) ELSE i || (SELECT string_agg(md5(i::text || j), '') FROM generate_series(1, 200) j) END FROM generate_series(1, 31) i),
    ARRAY(SELECT i % 7 || CASE WHEN i % 7 = 0 THEN (SELECT string_agg(md5(j::text), '') FROM generate_series(1, 200) j) ELSE '' END FROM generate_series(1, 31) i));
CREATE TABLE sent AS SELECT * FROM topic.large;
SELECT count(*) AS toasted FROM pg_class c JOIN pg_inherits i ON i.inhrelid = c.oid
 WHERE i.inhparent = (SELECT log FROM queue.topic WHERE name = 'large') AND pg_relation_size(c.reltoastrelid) > 0;
DO $$ BEGIN EXECUTE format('CREATE INDEX large_key ON %s (md5(key))', (SELECT log FROM queue.topic WHERE name = 'large')); END $$;
SELECT queue.alter_topic('large', cleanup_policy => 'compact');
CALL pg_temp.settle('large');
CALL queue.maintain('large');
-- The same as they were sent, none but the latest of its key.
SELECT m."offset", left(m.key, 3) AS key, length(m.value), m.value = s.value AND m."timestamp" = s."timestamp" AND m.key IS NOT DISTINCT FROM s.key AS same
  FROM topic.large m LEFT JOIN sent s USING ("offset") ORDER BY m."offset";
SELECT count(*) FROM sent s WHERE "offset" < 30
   AND NOT EXISTS (SELECT FROM sent l WHERE l.key = s.key AND l."offset" > s."offset" AND l."offset" < 30)
   AND NOT EXISTS (SELECT FROM topic.large m WHERE m."offset" = s."offset");
SET enable_seqscan = off;
SELECT "offset" FROM topic.large WHERE md5(key) = md5('3') ORDER BY 1;
RESET enable_seqscan;
SELECT * FROM queue.verify('large');
SELECT messages FROM queue.segments WHERE topic = 'large' AND sealed ORDER BY first_offset;
-- The width of the next segments does not follow from what is left.
SELECT queue.alter_topic('large', segment_messages => 0);
SELECT count FROM queue.produce_batch('large', ARRAY(SELECT 'v' FROM generate_series(1, 30)), ARRAY(SELECT 'k' FROM generate_series(1, 30)));
CALL pg_temp.settle('large');
CALL queue.maintain('large');
SELECT max(end_offset - first_offset) FROM queue.segments WHERE topic = 'large';
SELECT queue.drop_topic('large');
DROP TABLE sent;

-- Memory is bounded: then it takes several rounds, to the same end.
SELECT queue.create_topic('many', segment_messages => 4000, cleanup_policy => 'compact');
SELECT count FROM queue.produce_batch('many', ARRAY(SELECT '1' FROM generate_series(1, 20000) i), ARRAY(SELECT 'k' || (i * 7919) % 1500 FROM generate_series(1, 20000) i));
CALL pg_temp.settle('many');
SET queue.compaction_memory = '128kB';
CALL queue.maintain('many');
SELECT count(*) > 3 AS rounds, sum(items) FROM queue.maintenance_log WHERE topic = 'many' AND action = 'messages compacted';
SELECT count(*), count(DISTINCT key), min("offset") FROM topic.many;
SET queue.compaction_memory = 0;
SELECT queue.produce('many', '1', key => 'k1') IS NOT NULL AS ok;
RESET queue.compaction_memory;
SELECT queue.drop_topic('many');

-- Keys are told apart by what they are, not by their hash.
SELECT hashtext('key 127527') = hashtext('key 173972') AS same_hash;
SELECT queue.create_topic('hashes', segment_messages => 3, cleanup_policy => 'compact');
SELECT count FROM queue.produce_batch('hashes', ARRAY['1', '2', '3', '4'], ARRAY['key 127527', 'key 173972', 'x', 'x']);
CALL pg_temp.settle('hashes');
CALL queue.maintain('hashes');
SELECT key FROM topic.hashes ORDER BY "offset";
SELECT queue.drop_topic('hashes');

-- An empty key is a key, also if it is the first.
SELECT queue.create_topic('blank', segment_messages => 3, cleanup_policy => 'compact');
SELECT count FROM queue.produce_batch('blank', ARRAY['1', '2', '3', '4', '5', '6', '7', '8'], ARRAY['', '', 'a', '', 'x', 'x', 'y', 'y']);
CALL pg_temp.settle('blank');
CALL queue.maintain('blank');
SELECT key, value FROM topic.blank ORDER BY "offset";
SELECT queue.drop_topic('blank');

-- The last message is not removed if no message follows it: the next append reads the
-- time from it, and groups find their position by it.
SELECT queue.create_topic('gone', segment_messages => 3, cleanup_policy => 'compact', tombstone_retention => '0');
SELECT count FROM queue.produce_batch('gone', ARRAY[NULL, NULL, NULL]::jsonb[], ARRAY['a', 'b', 'c']);
BEGIN;
SELECT "offset" FROM queue.produce('gone', '1', key => 'a');
ROLLBACK;
VACUUM;
CALL pg_temp.settle('gone');
CALL queue.maintain('gone');
SELECT "offset" FROM topic.gone ORDER BY 1;
SELECT "offset" FROM queue.produce('gone', '1', key => 'a');
CALL pg_temp.settle('gone');
CALL queue.maintain('gone');
SELECT "offset" FROM topic.gone ORDER BY 1;
SELECT queue.drop_topic('gone');

-- The lock of a pass is given back.
SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid();
