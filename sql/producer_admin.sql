--
-- Producers: create, look at, fence, forget; names; what a topic's end means.
--
\getenv abs_srcdir PG_ABS_SRCDIR
\i :abs_srcdir/sql/include/helpers.sql
SELECT queue.create_topic('t', 2, 'text');

-- The mode is chosen before the first message.
SELECT queue.create_producer('t', 'default');
SELECT queue.create_producer('t', 'strict', 'strict');
SELECT queue.create_producer('t', 'monotonic', sequence_mode => 'monotonic');
SELECT duplicate FROM queue.produce('t', 'unannounced', partition => 0, producer_id => 'unannounced', sequence => 0);
SELECT producer_id, sequence_mode, epoch, last_sequence, partition, "offset", accepted, duplicates, gaps,
       produced_at IS NULL AS unused, created_at <= clock_timestamp() AS created, owner = current_user AS mine
  FROM queue.producers ORDER BY producer_id COLLATE "C";
SELECT id, pg_temp.error_of(format('SELECT queue.produce(%L, %L, producer_id => %L, sequence => %s)', 't', 'v', id, sequence))
  FROM unnest(ARRAY['default', 'strict', 'monotonic', 'unannounced']) id, unnest(ARRAY[10, 12]) sequence;
SELECT call, pg_temp.error_of('SELECT queue.create_producer(' || call || ')')
  FROM unnest(ARRAY[
    $$'t', 'default'$$,
    $$'t', 'unannounced', 'monotonic'$$,
    $$'nope', 'new'$$,
    $$'t', ''$$,
    $$'t', repeat('ö', 128)$$,
    $$'t', NULL$$,
    $$NULL, 'new'$$,
    $$'t', 'new', NULL$$,
    $$'t', 'new', 'STRICT'$$,
    $$'t', 'new', 'loose'$$,
    $$'t', 'new', ''$$]) WITH ORDINALITY u(call, n)
 ORDER BY n;
SELECT count(*) FROM queue.producers;
BEGIN;
SELECT queue.create_producer('t', 'undone', 'monotonic');
ROLLBACK;
SELECT queue.create_producer('t', 'undone');
SELECT sequence_mode FROM queue.producers WHERE producer_id = 'undone';

-- produce's own bad input.
SELECT call, pg_temp.error_of('SELECT * FROM queue.produce(' || call || ')')
  FROM unnest(ARRAY[
    $$'nope', 'v', producer_id => 'e', sequence => 1$$,
    $$'t', 'v', producer_id => 'e'$$,
    $$'t', 'v', sequence => 1$$,
    $$'t', 'v', producer_id => '', sequence => 1$$,
    $$'t', 'v', producer_id => repeat('e', 256), sequence => 1$$,
    $$'t', 'v', producer_id => 'e', sequence => 1, epoch => NULL$$,
    $$'t', 'v', producer_id => 'e', sequence => 1, epoch => -1$$,
    $$'t', 'v', producer_id => 'e', sequence => -1$$,
    $$'t', 'v', producer_id => 'e', sequence => 9223372036854775807$$,
    $$'t', NULL, producer_id => 'e', sequence => 1$$,
    $$'t', 'v', headers => '[]', producer_id => 'e', sequence => 1$$]) WITH ORDINALITY u(call, n)
 ORDER BY n;
-- Without a producer the epoch would belong to none.
SELECT queue.produce('t', 'v', epoch => 1);
SELECT queue.produce_batch('t', ARRAY['v'], epoch => 1);
SELECT count(*) FROM queue.producers WHERE producer_id LIKE 'e%';

-- Read-only transactions may look, and nothing else.
BEGIN READ ONLY;
SELECT epoch, last_sequence FROM queue.producer_state('t', 'monotonic');
SELECT call, pg_temp.error_of('SELECT ' || call)
  FROM unnest(ARRAY[
    $$queue.produce('t', 'v', producer_id => 'monotonic', sequence => 10)$$,
    $$queue.produce_batch('t', '{}'::text, producer_id => 'monotonic', watermark => '1')$$,
    $$queue.create_producer('t', 'new')$$,
    $$queue.fence_producer('t', 'monotonic')$$,
    $$queue.forget_producer('t', 'monotonic')$$,
    $$queue.prune_producers('t')$$]) call;
ROLLBACK;

-- producer_state: where to go on.
SELECT * FROM queue.producer_state('t', 'never seen');
SELECT epoch, last_sequence, watermark FROM queue.producer_state('t', 'strict');
SELECT last_offset FROM queue.produce_batch('t', ARRAY['a', 'b', 'c'], partition => 1, producer_id => 'loader', first_sequence => 1, watermark => '{"line": 3}') \gset
SELECT epoch, last_sequence, partition, "offset" = :last_offset AS right_offset, watermark, produced_at BETWEEN now() - interval '1 hour' AND clock_timestamp() AS recent FROM queue.producer_state('t', 'loader');
-- produced_at: of the last message, not of a duplicate or a fence.
SELECT produced_at FROM queue.producer_state('t', 'loader') \gset
SELECT duplicate FROM queue.produce('t', 'c', producer_id => 'loader', sequence => 3);
SELECT queue.fence_producer('t', 'loader');
SELECT epoch, last_sequence, "offset" = :last_offset AS right_offset, produced_at = :'produced_at' AS unmoved FROM queue.producer_state('t', 'loader');
SELECT duplicate FROM queue.produce('t', 'd', partition => 0, producer_id => 'loader', sequence => 4, epoch => 1);
SELECT epoch, last_sequence, partition, produced_at > :'produced_at' AS moved FROM queue.producer_state('t', 'loader');
-- As of now: what the transaction has done itself.
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT last_sequence FROM queue.producer_state('t', 'loader');
SELECT duplicate FROM queue.produce('t', 'e', partition => 0, producer_id => 'loader', sequence => 5, epoch => 1);
SELECT last_sequence FROM queue.producer_state('t', 'loader');
ROLLBACK;
SELECT last_sequence FROM queue.producer_state('t', 'loader');
SELECT call, pg_temp.error_of('SELECT queue.producer_state(' || call || ')')
  FROM unnest(ARRAY[$$'nope', 'loader'$$, $$'t', ''$$, $$'t', NULL$$, $$NULL, 'loader'$$]) call;

-- The counters of view producers.
SELECT queue.create_producer('t', 'counted', 'monotonic');
SELECT count(*) FROM queue.produce_batch('t', ARRAY['1', '2', '5', '9'], producer_id => 'counted', sequences => '{1,2,5,9}');
SELECT accepted, duplicates, gaps FROM queue.producers WHERE producer_id = 'counted';
SELECT count(*) FROM queue.produce_batch('t', ARRAY['5', '9', '10', '20'], producer_id => 'counted', sequences => '{5,9,10,20}');
SELECT accepted, duplicates, gaps FROM queue.producers WHERE producer_id = 'counted';
SELECT pg_temp.error_of($$SELECT queue.produce('t', '6', producer_id => 'counted', sequence => 6)$$);
SELECT queue.fence_producer('t', 'counted');
SELECT duplicate FROM queue.produce('t', '20', producer_id => 'counted', sequence => 20, epoch => 1);
SELECT duplicate FROM queue.produce('t', '40', producer_id => 'counted', sequence => 40, epoch => 2);
SELECT sequence_mode, epoch, last_sequence, accepted, duplicates, gaps FROM queue.producers WHERE producer_id = 'counted';

-- Fence: an unknown producer begins with epoch 1; each fence is one more.
SELECT queue.fence_producer('t', 'new'), queue.fence_producer('t', 'new', terminate => true), queue.fence_producer('t', 'new', NULL);
SELECT epoch, last_sequence, partition, "offset", produced_at IS NOT NULL AS dated FROM queue.producer_state('t', 'new');
SELECT pg_temp.error_of($$SELECT queue.produce('t', 'v', producer_id => 'new', sequence => 1, epoch => 2)$$);
SELECT duplicate FROM queue.produce('t', 'v', producer_id => 'new', sequence => 5, epoch => 3);
SELECT sequence_mode FROM queue.producers WHERE producer_id = 'new';
-- A producer that was created keeps its mode.
SELECT queue.create_producer('t', 'made', 'monotonic'), queue.fence_producer('t', 'made');
SELECT pg_temp.error_of(format($$SELECT queue.produce('t', 'v', producer_id => 'made', sequence => %s, epoch => %s)$$, s, e))
  FROM (VALUES (5, 1), (9, 1), (10, 0), (7, 1)) v(s, e);
-- Within the transaction that has produced: the old epoch is over at once.
BEGIN;
SELECT duplicate FROM queue.produce('t', 'v', producer_id => 'new', sequence => 6, epoch => 3);
SELECT queue.fence_producer('t', 'new');
SELECT pg_temp.error_of($$SELECT queue.produce('t', 'v', producer_id => 'new', sequence => 7, epoch => 3)$$);
SELECT duplicate FROM queue.produce('t', 'v', producer_id => 'new', sequence => 7, epoch => 4);
ROLLBACK;
SELECT duplicate FROM queue.produce('t', 'v', producer_id => 'new', sequence => 6, epoch => 3);
-- The last epoch.
SELECT duplicate FROM queue.produce('t', 'v', producer_id => 'new', sequence => 1, epoch => 2147483646);
SELECT queue.fence_producer('t', 'new');
SELECT queue.fence_producer('t', 'new');
SELECT duplicate FROM queue.produce('t', 'v', producer_id => 'new', sequence => 1, epoch => 2147483647);
SELECT call, pg_temp.error_of('SELECT queue.fence_producer(' || call || ')')
  FROM unnest(ARRAY[$$'nope', 'loader'$$, $$'t', ''$$, $$'t', repeat('x', 256)$$, $$'t', NULL$$, $$NULL, 'loader'$$]) call;

-- Forget: the id is new again, in the default mode, its messages stay.
SELECT queue.forget_producer('t', 'never seen'), queue.forget_producer('t', 'counted'), queue.forget_producer('t', 'counted');
SELECT epoch, last_sequence FROM queue.producer_state('t', 'counted');
SELECT count(*) FROM queue.producers WHERE producer_id = 'counted';
SELECT duplicate FROM queue.produce('t', '20 again', producer_id => 'counted', sequence => 20);
SELECT sequence_mode, epoch, last_sequence, accepted, duplicates, gaps FROM queue.producers WHERE producer_id = 'counted';
SELECT count(*) FROM topic.t WHERE value LIKE '20%';
BEGIN;
SELECT queue.forget_producer('t', 'counted');
SELECT duplicate FROM queue.produce('t', '3', producer_id => 'counted', sequence => 3);
ROLLBACK;
SELECT last_sequence FROM queue.producer_state('t', 'counted');
SELECT call, pg_temp.error_of('SELECT queue.forget_producer(' || call || ')')
  FROM unnest(ARRAY[$$'nope', 'loader'$$, $$'t', ''$$, $$'t', NULL$$, $$NULL, 'loader'$$]) call;
-- In the statement that has made and used it.
SELECT queue.create_producer('t', 'brief'), duplicate, queue.fence_producer('t', 'brief'), queue.forget_producer('t', 'brief')
  FROM queue.produce('t', 'v', producer_id => 'counted', sequence => 21);
SELECT queue.fence_producer('t', 'counted'), queue.forget_producer('t', 'counted'), queue.fence_producer('t', 'counted');
-- Nothing is left of it.
SELECT queue.forget_producer('t', producer_id) FROM queue.producers WHERE producer_id <> 'loader';
SELECT count(*) FROM queue.producer;
SELECT count(*) = sum((r.topic_id IS NOT NULL)::int) AS all_known FROM queue.producer_batch b LEFT JOIN queue.producer r USING (producer_id);

-- Dropping a topic removes its producers, and no others.
SELECT queue.create_topic('u', 1, 'text');
SELECT duplicate FROM queue.produce('u', 'v', producer_id => 'loader', sequence => 7);
SELECT queue.create_producer('u', 'unused');
SELECT queue.drop_topic('t');
SELECT topic, producer_id, last_sequence FROM queue.producers ORDER BY producer_id;
SELECT count(*) FROM queue.producer_batch;
-- Made again under the same name it starts afresh.
SELECT queue.create_topic('t', 1, 'text');
SELECT epoch, last_sequence FROM queue.producer_state('t', 'loader');
SELECT "offset", duplicate FROM queue.produce('t', 'v', producer_id => 'loader', sequence => 2);
BEGIN;
SELECT "offset", duplicate FROM queue.produce('t', 'v', producer_id => 'loader', sequence => 3);
SELECT queue.drop_topic('t');
SELECT queue.create_topic('t', 1, 'text');
SELECT "offset", duplicate FROM queue.produce('t', 'v', producer_id => 'loader', sequence => 3);
SELECT "offset", duplicate FROM queue.produce('t', 'v', producer_id => 'loader', sequence => 3);
COMMIT;
SELECT "offset", duplicate FROM queue.produce('t', 'v', producer_id => 'loader', sequence => 3);
SELECT queue.drop_topic('t'), queue.drop_topic('u');
SELECT (SELECT count(*) FROM queue.producer) AS producers, (SELECT count(*) FROM queue.producer_batch) AS batches;
