--
-- Consumer groups: queue.create_group, where a group starts, names, the view.
--
\getenv abs_srcdir PG_ABS_SRCDIR
\i :abs_srcdir/sql/include/helpers.sql
SELECT queue.create_topic('t', 3, 'text');
SELECT count FROM queue.produce_batch('t', ARRAY['a', 'b', 'c'], partition => 0);
SELECT count FROM queue.produce_batch('t', ARRAY['d'], partition => 1);

-- A row per partition, from the start.
SELECT queue.create_group('first', 't');
SELECT queue.create_group('from_start', 't', 'earliest');
SELECT queue.create_group('from_now', 't', start => 'latest');
SELECT consumer_group, topic, partition, current_offset, log_end_offset, lag, committed_at <= clock_timestamp() AS committed
  FROM queue.consumer_groups ORDER BY 1, 2, 3;
SELECT partition, value FROM queue.consume_typed('from_start', 't', NULL::text, partitions => ARRAY[0]);
SELECT count(*) FROM queue.consume_typed('from_now', 't', NULL::text);
SELECT count FROM queue.produce_batch('t', ARRAY['e', 'f'], partition => 1);
SELECT partition, m.offset, value FROM queue.consume_typed('from_now', 't', NULL::text) m;
-- Without create_group a group starts at the log start, when it first finds something.
SELECT partition, m.offset, value FROM queue.consume_typed('unannounced', 't', NULL::text, partitions => ARRAY[1]) m;
SELECT partition, current_offset FROM queue.consumer_groups WHERE consumer_group = 'unannounced';

-- latest: behind the last committed message, not behind what was rolled back.
BEGIN;
SELECT count FROM queue.produce_batch('t', ARRAY['x', 'y', 'z'], partition => 0);
ROLLBACK;
SELECT queue.create_group('behind_committed', 't', 'latest');
SELECT partition, current_offset FROM queue.consumer_groups WHERE consumer_group = 'behind_committed' ORDER BY partition;
SELECT "offset" > 2 AS stored FROM queue.produce('t', 'g', partition => 0);
SELECT value FROM queue.consume_typed('behind_committed', 't', NULL::text);
-- latest in a partition where nothing was ever committed.
BEGIN;
SELECT count FROM queue.produce_batch('t', ARRAY['x', 'y', 'z'], partition => 2);
ROLLBACK;
SELECT queue.create_group('nothing_yet', 't', 'latest');
SELECT partition, current_offset FROM queue.consumer_groups WHERE consumer_group = 'nothing_yet' ORDER BY partition;

-- Partitions added later are read from their start, whatever the group's was.
SELECT queue.alter_topic('t', 4);
SELECT "offset" FROM queue.produce('t', 'new', partition => 3);
SELECT partition, value FROM queue.consume_typed('nothing_yet', 't', NULL::text);
SELECT partition, current_offset FROM queue.consumer_groups WHERE consumer_group = 'nothing_yet' ORDER BY partition;

-- Names: anything of 1 to 255 bytes.
SELECT name, queue.create_group(name, 't') FROM unnest(ARRAY['.', 'a b', 'it''s "quoted"; --', 'größe', '../x']) name;
SELECT queue.create_group(repeat('g', 255), 't');
SELECT count(*) FROM queue.consume_typed('it''s "quoted"; --', 't', NULL::text, partitions => ARRAY[3]);
SELECT DISTINCT left(consumer_group, 30) COLLATE "C" AS consumer_group FROM queue.consumer_groups ORDER BY 1;

-- A group may read several topics; its offsets are each topic's.
SELECT queue.create_topic('u', 1, 'text');
SELECT queue.create_group('first', 'u', 'latest');
SELECT topic, partition FROM queue.consumer_groups WHERE consumer_group = 'first' ORDER BY 1, 2;

-- Rolled back, it was never there.
BEGIN;
SELECT queue.create_group('undone', 't');
ROLLBACK;
SELECT count(*) FROM queue.consumer_group WHERE name = 'undone';

SELECT call, pg_temp.error_of('SELECT queue.create_group(' || call || ')')
  FROM unnest(ARRAY[
    $$'first', 't'$$,
    $$'unannounced', 't'$$,
    $$'new', 'nope'$$,
    $$'', 't'$$,
    $$repeat('ö', 128), 't'$$,
    $$NULL, 't'$$,
    $$'new', NULL$$,
    $$'new', 't', NULL$$,
    $$'new', 't', 'LATEST'$$,
    $$'new', 't', ''$$]) WITH ORDINALITY u(call, n)
 ORDER BY n;
SELECT queue.create_group('', 't');
BEGIN READ ONLY;
SELECT queue.create_group('new', 't');
ROLLBACK;
SELECT count(*) FROM queue.consumer_group WHERE name = 'new';

-- The offsets in a topic go with it, those in another stay.
SELECT queue.drop_topic('t');
SELECT consumer_group, topic FROM queue.consumer_groups WHERE topic IS NOT NULL;
SELECT queue.drop_topic('u');
SELECT count(*) FROM queue.progress;
