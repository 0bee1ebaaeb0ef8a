-- Columns are appended to the extension's row types, by a later version or by a
-- user: the library fills those that it knows, and the others are NULL.
SELECT queue.create_topic('j', 2);
SELECT queue.create_topic('s', value_type => 'text');
SET allow_in_place_tablespaces = on;
CREATE TABLESPACE regress_rows LOCATION '';
SELECT queue.create_topic('sealed', segment_messages => 1);
SELECT sum(count) FROM queue.produce_batch('sealed', ARRAY['{}', '{}']::jsonb[]);
SELECT queue.create_group('g', 'j'), queue.create_group('m', 'j'), queue.create_group('s', 's');
PREPARE looked AS SELECT topic, partition, m.offset, value FROM queue.fetch('j', 0, 0) m;
PREPARE made AS SELECT m.offset, duplicate FROM queue.produce('j', '{"n": 0}', 'k', partition => 0) m;
EXECUTE made;
EXECUTE looked;

-- To be rolled back: the types stay as they are made.
BEGIN;
ALTER TYPE queue.message ADD ATTRIBUTE more text, ADD ATTRIBUTE evermore int;
ALTER TYPE queue.leased_message ADD ATTRIBUTE more text;
ALTER TYPE queue.produce_result ADD ATTRIBUTE more text, ADD ATTRIBUTE evermore int;
ALTER TYPE queue.produce_batch_result ADD ATTRIBUTE more text;
ALTER TYPE queue.moved_segment ADD ATTRIBUTE more text;

-- All functions that return them, as columns and as a value, and with limits,
-- which takes another way.
SELECT partition, m.offset, duplicate, more, evermore FROM queue.produce('j', '{"n": 1}', partition => 0) m;
SELECT (queue.produce('j', NULL, 'k', partition => 0)).more IS NULL AS none;
EXECUTE made;
SELECT * FROM queue.produce_batch('j', ARRAY['{"n": 4}', '{"n": 5}']::jsonb[], partition => 1);
SELECT topic, partition, m.offset, key, value, headers, more, evermore FROM queue.fetch('j', 0, 0) m ORDER BY 3;
SELECT topic, m.offset, value, more, evermore FROM queue.fetch('j', 0, 0, max_bytes => 1000) m ORDER BY 2;
SELECT count(*), count((m).value) AS values, count((m).more) AS more FROM (SELECT queue.fetch('j', 0, 0) AS m) f;
SELECT m IS NULL AS nothing, (m).value, (m).more FROM queue.fetch('j', 0, 0) m ORDER BY m.offset;
EXECUTE looked;
CREATE TABLE kept AS SELECT m FROM queue.fetch('j', 0, 0) m;
SELECT (m).offset, (m).value, (m).more FROM kept ORDER BY 1;
SELECT partition, m.offset, value, more FROM queue.poll('m', 'j', 'me') m ORDER BY 1, 2;
SELECT partition, m.offset, value, epoch > 0 AS epoch, more FROM queue.poll('m', 'j', 'me', max_bytes => 100000) m ORDER BY 1, 2;
SELECT partition, m.offset, value, evermore FROM queue.consume('g', 'j', partitions => '{0}') m ORDER BY 2;
SELECT partition, m.offset, value, evermore FROM queue.consume_topics('g', ARRAY['j'], max_bytes => 1000) m ORDER BY 2;
SELECT (queue.produce('s', 'x')).offset;
SELECT topic, m.offset, value FROM queue.consume_typed('s', 's', NULL::text) m;
SELECT partition, first_offset, moved, more FROM queue.move_segments('sealed', 'regress_rows');

-- A change of what is known is an error.
\set VERBOSITY sqlstate
DROP TABLE kept;
SAVEPOINT known;
ALTER TYPE queue.message DROP ATTRIBUTE headers;
SELECT count(*) FROM queue.fetch('j', 0, 0);
ROLLBACK TO known;
SAVEPOINT known;
ALTER TYPE queue.message ALTER ATTRIBUTE partition TYPE bigint;
SELECT count(*) FROM queue.consume('g', 'j');
ROLLBACK TO known;
SAVEPOINT known;
ALTER TYPE queue.leased_message ALTER ATTRIBUTE epoch TYPE text;
SELECT count(*) FROM queue.poll('g', 'j', 'me');
ROLLBACK TO known;
SAVEPOINT known;
ALTER TYPE queue.produce_result ALTER ATTRIBUTE "timestamp" TYPE text;
SELECT queue.produce('j', '{}');
ROLLBACK TO known;
SAVEPOINT known;
ALTER TYPE queue.produce_batch_result ALTER ATTRIBUTE count TYPE text;
SELECT queue.produce_batch('j', '{}'::jsonb[]);
ROLLBACK TO known;
SAVEPOINT known;
ALTER TYPE queue.moved_segment DROP ATTRIBUTE moved;
SELECT queue.move_segments('sealed', 'regress_rows');
ROLLBACK TO known;
\set VERBOSITY default

DEALLOCATE looked;
DEALLOCATE made;
ALTER TYPE queue.message DROP ATTRIBUTE more, DROP ATTRIBUTE evermore;
ALTER TYPE queue.leased_message DROP ATTRIBUTE more;
ALTER TYPE queue.produce_result DROP ATTRIBUTE more, DROP ATTRIBUTE evermore;
ALTER TYPE queue.produce_batch_result DROP ATTRIBUTE more;
ALTER TYPE queue.moved_segment DROP ATTRIBUTE more;
-- Dropped columns behind the known ones do not matter.
SELECT m.offset, value FROM queue.fetch('j', 1, 0) m ORDER BY 1;
SELECT (queue.produce('s', 'y')).offset;
ROLLBACK;
SELECT queue.drop_group('g'), queue.drop_group('m'), queue.drop_group('s');
SELECT queue.drop_topic('j'), queue.drop_topic('s'), queue.drop_topic('sealed');
DROP TABLESPACE regress_rows;
