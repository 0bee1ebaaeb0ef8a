--
-- INSERT and COPY into topic.<name> as a producer: queue.producer_id,
-- queue.producer_epoch, queue.first_sequence.
--
CREATE FUNCTION pg_temp.state(id text) RETURNS text LANGUAGE sql AS
$$ SELECT concat_ws(' ', 'epoch', epoch, 'last', last_sequence) FROM queue.producer_state('f', id) $$;
SELECT queue.create_topic('f', 1, 'int');

-- INSERT: the rows get first_sequence and the numbers behind it.
BEGIN;
SET LOCAL queue.producer_id = 'loader';
SET LOCAL queue.first_sequence = 1;
INSERT INTO topic.f (value) VALUES (1), (2), (3);
COMMIT;
SELECT pg_temp.state('loader');
SHOW queue.producer_id;
SHOW queue.first_sequence;
-- The same again stores nothing; cut differently, what is new.
BEGIN;
SET LOCAL queue.producer_id = 'loader';
SET LOCAL queue.first_sequence = 1;
INSERT INTO topic.f (value) VALUES (1), (2), (3);
SET LOCAL queue.first_sequence = 3;
INSERT INTO topic.f (value) SELECT generate_series(3, 5);
COMMIT;
SELECT "offset", value FROM topic.f ORDER BY "offset";
-- The functions are one counter with them, and look at no setting.
SET queue.producer_id = 'loader';
SELECT "offset", duplicate FROM queue.produce('f', 4, producer_id => 'loader', sequence => 4);
SELECT "offset", duplicate FROM queue.produce('f', -1);
RESET queue.producer_id;
SELECT accepted, duplicates FROM queue.producers WHERE producer_id = 'loader';

-- RETURNING: a duplicate comes with its original place and without timestamp.
SET queue.producer_id = 'loader';
SET queue.first_sequence = 4;
INSERT INTO topic.f (value) VALUES (44), (55), (6), (7) RETURNING partition, "offset", "timestamp" IS NULL AS duplicate;
-- In a CTE, and through a view.
SET queue.first_sequence = 7;
WITH put AS (INSERT INTO topic.f (value) VALUES (77), (8) RETURNING "offset", "timestamp" IS NULL AS duplicate)
SELECT * FROM put;
CREATE VIEW over_it AS SELECT value FROM topic.f;
SET queue.first_sequence = 9;
INSERT INTO over_it VALUES (9), (10);
DROP VIEW over_it;
SELECT count(*), max(value) FROM topic.f;

-- More rows than wait at once; then duplicates up to the middle of a chunk.
SELECT queue.create_topic('many', 3, 'int');
SET queue.producer_id = 'bulk';
SET queue.first_sequence = 1;
INSERT INTO topic.many (key, value) SELECT n % 50, n FROM generate_series(1, 2500) n;
SET queue.first_sequence = 1;
INSERT INTO topic.many (key, value) SELECT n % 50, n FROM generate_series(1, 4100) n;
SET queue.first_sequence = 3601;
INSERT INTO topic.many (key, value) SELECT n % 50, n FROM generate_series(3601, 4200) n;
SET queue.first_sequence = 4200;
WITH put AS (INSERT INTO topic.many (key, value) SELECT n % 50, n FROM generate_series(4200, 5300) n RETURNING "timestamp")
SELECT count(*), count("timestamp") AS new FROM put;
SELECT count(*), count(DISTINCT value), max(value) FROM topic.many;
SELECT count(*) FILTER (WHERE t.value IS DISTINCT FROM n OR NOT r.duplicate) AS wrong
  FROM generate_series(1, 5300) n
 CROSS JOIN LATERAL queue.produce('many', 0, producer_id => 'bulk', sequence => n) r
  LEFT JOIN topic.many t ON t.partition = r.partition AND t."offset" = r."offset";
-- A failing row takes its statement with it, and the sequences are free again.
SET queue.first_sequence = 5301;
INSERT INTO topic.many (value) SELECT 5301 + n + 0 / (2000 - n) FROM generate_series(0, 2500) n;
SELECT last_sequence FROM queue.producer_state('many', 'bulk');
-- A gap, and a row behind the last that was never stored.
SET queue.first_sequence = 5302;
INSERT INTO topic.many (value) VALUES (5302);
SET queue.first_sequence = 0;
INSERT INTO topic.many (value) VALUES (0), (1);
SELECT count(*) FROM topic.many;
SELECT queue.drop_topic('many');

-- COPY.
SET queue.producer_id = 'copy';
SET queue.first_sequence = 100;
COPY topic.f (value) FROM STDIN;
100
101
102
\.
SET queue.first_sequence = 100;
COPY topic.f (value) FROM STDIN;
100
101
102
103
104
\.
SET queue.first_sequence = 103;
COPY topic.f (value) FROM STDIN;
103
104
\.
SELECT value FROM topic.f WHERE value >= 100 ORDER BY "offset";
SELECT pg_temp.state('copy');
-- A duplicate in the middle: only where the one before it is one, too.
SELECT queue.create_producer('f', 'scn', 'monotonic');
SELECT count FROM queue.produce_batch('f', ARRAY[200, 201, 203], producer_id => 'scn', sequences => '{200,201,203}');
SET queue.producer_id = 'scn';
SET queue.first_sequence = 201;
COPY topic.f (value) FROM STDIN;
201
202
203
204
\.
SET queue.first_sequence = 203;
COPY topic.f (value) FROM STDIN;
203
204
\.
SELECT value FROM topic.f WHERE value >= 200 ORDER BY "offset";

-- Epochs.
SET queue.producer_id = 'copy';
SELECT queue.fence_producer('f', 'copy');
SET queue.first_sequence = 105;
INSERT INTO topic.f (value) VALUES (105);
SET queue.producer_epoch = 1;
SET queue.first_sequence = 104;
INSERT INTO topic.f (value) VALUES (104), (105) RETURNING value, "timestamp" IS NULL AS duplicate;
SET queue.producer_epoch = 2;
SET queue.first_sequence = 105;
INSERT INTO topic.f (value) VALUES (105) RETURNING value, "timestamp" IS NULL AS duplicate;
SELECT pg_temp.state('copy');
RESET queue.producer_epoch;

RESET queue.producer_id;
RESET queue.first_sequence;
SELECT queue.drop_topic('f');
