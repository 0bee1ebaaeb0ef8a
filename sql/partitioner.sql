--
-- Which partition a key goes to: Kafka's default partitioner.
--

-- The vectors of Kafka's own test of murmur2.
SELECT data, queue.murmur2(convert_to(data, 'UTF8')) AS murmur2, expected,
       queue.murmur2(convert_to(data, 'UTF8')) = expected AS same
  FROM (VALUES ('21', -973932308),
               ('foobar', -790332482),
               ('a-little-bit-long-string', -985981536),
               ('a-little-bit-longer-string', -1486304829),
               ('lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8', -58897971),
               ('abc', 479470107)) v(data, expected);
-- Those of a Kafka client: the partition among 1000.
SELECT key, queue.partition_for_key(key, 1000) AS partition, expected
  FROM (VALUES ('', 681), ('a', 524), ('ab', 434), ('abc', 107), ('123456789', 566)) v(key, expected);
-- Any bytes, also above 127 and zero.
SELECT queue.murmur2('\x0020'), (queue.murmur2('\x0020') & 2147483647) % 1000 AS partition, 742 AS expected;

-- partition = (murmur2(key) & 0x7fffffff) % partitions; never negative.
SELECT count(*),
       count(*) FILTER (WHERE queue.partition_for_key(key, n) <>
                              (queue.murmur2(convert_to(key, 'UTF8')) & 2147483647) % n) AS wrong
  FROM (SELECT 'key-' || k AS key, n FROM generate_series(1, 100) k, unnest(ARRAY[1, 2, 3, 7, 8, 10000, 2147483647]) n) t;
-- The key counts in UTF-8.
SELECT queue.partition_for_key('größe', 1000) = (queue.murmur2('\x6772c3b6c39f65') & 2147483647) % 1000 AS utf8;
-- Balanced enough.
SELECT min(count) > 1000, max(count) < 1500
  FROM (SELECT count(*) FROM generate_series(1, 10000) k GROUP BY queue.partition_for_key('customer-' || k, 8)) c;

SELECT queue.partition_for_key('k', 0);
\set VERBOSITY sqlstate
SELECT queue.partition_for_key('k', 0);
SELECT queue.partition_for_key('k', -1);
\set VERBOSITY default
SELECT queue.partition_for_key(NULL, 8), queue.partition_for_key('k', NULL), queue.murmur2(NULL);

-- Every way to produce agrees.
SELECT queue.create_topic('ways', 8, 'text');
SELECT count(queue.produce('ways', 'produce', key => 'k' || n)) FROM generate_series(1, 60) n;
SELECT sum(count) FROM queue.produce_batch('ways', array_fill('batch'::text, ARRAY[60]), ARRAY(SELECT 'k' || n FROM generate_series(1, 60) n));
INSERT INTO topic.ways (key, value) SELECT 'k' || n, 'insert' FROM generate_series(1, 60) n;
COPY topic.ways (key, value) FROM STDIN;
k1	copy
k2	copy
k3	copy
größe	copy
\.
SELECT value, count(*), count(*) FILTER (WHERE partition <> queue.partition_for_key(key, 8)) AS elsewhere
  FROM topic.ways GROUP BY value ORDER BY value;
SELECT queue.drop_topic('ways');
