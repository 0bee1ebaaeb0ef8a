--
-- Offsets that a row brings, as a restore does: they must ascend in a segment.
--
\getenv abs_srcdir PG_ABS_SRCDIR
\i :abs_srcdir/sql/include/helpers.sql
SELECT queue.create_topic('o', 2, 'text', segment_messages => 100);
SELECT FROM pg_temp.use_all('o');
SELECT log FROM queue.topic WHERE name = 'o' \gset
SELECT segment FROM queue.segments WHERE topic = 'o' AND partition = 0 AND first_offset = 0 \gset
SELECT segment AS next FROM queue.segments WHERE topic = 'o' AND partition = 0 AND first_offset = 100 \gset

COPY :segment ("offset", "timestamp", partition, key, value, headers) FROM STDIN;
0	2001-01-01 00:00:00+00	0	k	a	\N
1	2001-01-01 00:00:00+00	0	\N	b	{"h": 1}
5	2001-01-01 00:00:01+00	0	k	\N	\N
\.
INSERT INTO :segment VALUES (6, '2001-01-01 00:00:02+00', 0, NULL, 'd', NULL), (9, '2001-01-01 00:00:02+00', 0, NULL, 'e', NULL);
-- Through the table, segment by segment.
INSERT INTO :log VALUES (10, '2001-01-01 00:00:03+00', 0, NULL, 'f', NULL), (100, '2001-01-01 00:00:04+00', 0, NULL, 'g', NULL),
	(0, '2001-01-01 00:00:03+00', 1, NULL, 'other', NULL);
SELECT partition, m.offset, key, value, headers FROM queue.fetch_typed('o', 0, 0, NULL::text) m;
-- Producing goes on behind them, and consuming takes them.
SELECT "offset", "timestamp" > '2001-01-02' AS now FROM queue.produce('o', 'h', partition => 0);
SELECT "offset" FROM queue.produce('o', 'h', partition => 1);
SELECT string_agg(m.offset || ':' || coalesce(value, ''), ' ' ORDER BY m.offset) FROM queue.consume_typed('g', 'o', NULL::text, partitions => ARRAY[0]) m;
SELECT * FROM queue.verify('o');

-- Not ascending: 55000, and none of the rows is there.
\set VERBOSITY sqlstate
INSERT INTO :segment VALUES (10, '2001-01-01', 0, NULL, 'x', NULL);
INSERT INTO :segment VALUES (3, '2001-01-01', 0, NULL, 'x', NULL);
INSERT INTO :segment VALUES (20, '2001-01-01', 0, NULL, 'x', NULL), (19, '2001-01-01', 0, NULL, 'x', NULL);
COPY :segment FROM STDIN;
30	2001-01-01	0	\N	x	\N	\N
30	2001-01-01	0	\N	x	\N	\N
\.
COPY :segment FROM STDIN;
40	2001-01-01	0	\N	x	\N	\N
39	2001-01-01	0	\N	x	\N	\N
\.
-- Outside the segment's bounds: 23514. Without offset, time, partition: 23502.
INSERT INTO :segment VALUES (100, '2001-01-01', 0, NULL, 'x', NULL);
INSERT INTO :segment VALUES (50, '2001-01-01', 1, NULL, 'x', NULL);
INSERT INTO :segment (value) VALUES ('x');
INSERT INTO :log VALUES (1000000, '2001-01-01', 0, NULL, 'x', NULL);
-- One offset is never there twice.
INSERT INTO :segment VALUES (60, '2001-01-01', 0, NULL, 'x', NULL) ON CONFLICT DO NOTHING;
INSERT INTO :segment VALUES (60, '2001-01-01', 0, NULL, 'x', NULL);
\set VERBOSITY default
SELECT count(*), count(DISTINCT "offset"), max("offset") FROM :segment;
-- Offsets of what was rolled back are passed over.
BEGIN;
INSERT INTO :next VALUES (150, '2001-01-01', 0, NULL, 'x', NULL);
ROLLBACK;
SELECT "offset" FROM queue.produce('o', 'i', partition => 0);
SELECT queue.drop_topic('o');

-- Times never go back, also over a segment's bound and when the clock does.
SELECT queue.create_topic('time', 1, 'text', segment_messages => 100);
SELECT FROM pg_temp.use_all('time');
SELECT segment FROM queue.segments WHERE topic = 'time' ORDER BY first_offset LIMIT 1 \gset
INSERT INTO :segment VALUES (97, '2999-01-01 00:00:00+00', 0, NULL, 'a', NULL);
SELECT "offset", "timestamp" = '2999-01-01 00:00:00+00' AS not_back FROM queue.produce('time', 'b');
SELECT first_offset, last_offset FROM queue.produce_batch('time', ARRAY['c', 'd', 'e']);
INSERT INTO topic.time (value) VALUES ('f') RETURNING "offset", "timestamp" = '2999-01-01 00:00:00+00' AS not_back;
SELECT * FROM queue.verify('time');
SELECT queue.drop_topic('time');

-- Many, with values that are toasted.
SELECT queue.create_topic('l', 1, 'text');
SELECT FROM pg_temp.use_all('l');
SELECT count FROM queue.produce_batch('l', ARRAY(SELECT repeat(md5(n::text), n % 200) FROM generate_series(1, 3000) n));
CREATE TEMP TABLE saved AS SELECT "offset", "timestamp", partition, key, value, headers FROM topic.l;
SELECT md5(string_agg(value, '' ORDER BY "offset")) AS sum FROM saved \gset
SELECT queue.drop_topic('l');
SELECT queue.create_topic('l', 1, 'text');
SELECT FROM pg_temp.use_all('l');
SELECT log FROM queue.topic WHERE name = 'l' \gset
INSERT INTO :log SELECT * FROM saved ORDER BY "offset";
SELECT count(*), md5(string_agg(value, '' ORDER BY m.offset)) = :'sum' AS same, max(m.offset) FROM queue.fetch_typed('l', 0, 0, NULL::text, 10000) m;
SELECT "offset" FROM queue.produce('l', 'next');
SELECT * FROM queue.verify('l');
SELECT queue.drop_topic('l');
-- In another order.
SELECT queue.create_topic('l', 1, 'text');
SELECT FROM pg_temp.use_all('l');
SELECT log FROM queue.topic WHERE name = 'l' \gset
\set VERBOSITY sqlstate
INSERT INTO :log SELECT * FROM saved ORDER BY "offset" DESC;
\set VERBOSITY default
SELECT count(*) FROM topic.l;
SELECT queue.drop_topic('l');
-- FREEZE is ignored: other sessions must not see rows that may be rolled back.
BEGIN;
SELECT queue.create_topic('fr', 1, 'text');
SELECT FROM pg_temp.use_all('fr');
SELECT segment FROM queue.segments WHERE topic = 'fr' ORDER BY first_offset LIMIT 1 \gset
COPY :segment FROM STDIN (FREEZE);
0	2001-01-01	0	\N	a	\N	\N
1	2001-01-01	0	\N	b	\N	\N
\.
COMMIT;
ANALYZE :segment;
SELECT relallvisible FROM pg_class WHERE oid = :'segment'::regclass;
SELECT "offset", value FROM :segment ORDER BY "offset";
SELECT * FROM queue.verify('fr');
SELECT queue.drop_topic('fr');

-- A table of other columns takes nothing.
CREATE TABLE other (a int, b text) USING queue_log;
\set VERBOSITY sqlstate
INSERT INTO other VALUES (1, 'x');
COPY other FROM STDIN;
1	x
\.
\set VERBOSITY default
INSERT INTO other VALUES (1, 'x');
SELECT count(*) FROM other;
DROP TABLE other;
CREATE TABLE nullable ("offset" bigint, "timestamp" timestamptz, partition int, key text, value text, headers jsonb, deliver_at timestamptz) USING queue_log;
\set VERBOSITY sqlstate
INSERT INTO nullable VALUES (NULL, now(), 0, NULL, 'x', NULL);
INSERT INTO nullable VALUES (1, now(), 0, NULL, 'x', NULL);
\set VERBOSITY default
DROP TABLE nullable;
-- A table of the right columns outside a topic only grows.
CREATE TABLE mine ("offset" bigint NOT NULL, "timestamp" timestamptz NOT NULL, partition int NOT NULL, key text, value text, headers jsonb, deliver_at timestamptz) USING queue_log;
INSERT INTO mine VALUES (1, now(), 0, NULL, 'x', NULL), (2, now(), 0, NULL, 'y', NULL);
\set VERBOSITY sqlstate
INSERT INTO mine VALUES (2, now(), 0, NULL, 'x', NULL);
UPDATE mine SET value = 'z';
DELETE FROM mine;
TRUNCATE mine;
\set VERBOSITY default
SELECT "offset", value FROM mine;
DROP TABLE mine;
