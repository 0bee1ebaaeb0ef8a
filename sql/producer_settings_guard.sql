--
-- queue.producer_id and queue.first_sequence, used wrongly: a statement's rows
-- are never stored without a producer, under another's name, or with sequences meant
-- for another statement.
--
SELECT queue.create_topic('g', 1, 'text');
SELECT queue.create_topic('h', 1, 'text');
CREATE TABLE plain (value text);
CREATE VIEW stored AS
SELECT 'g' AS topic, row_number() OVER (ORDER BY "offset") AS n, value FROM topic.g
UNION ALL
SELECT 'h', row_number() OVER (ORDER BY "offset"), value FROM topic.h ORDER BY 1, 2;

-- A statement without rows uses queue.first_sequence up.
BEGIN;
SET LOCAL queue.producer_id = 'p';
SET LOCAL queue.first_sequence = 1;
INSERT INTO topic.g (value) SELECT value FROM plain;
INSERT INTO topic.g (value) VALUES ('as another statement''s');
ROLLBACK;
BEGIN;
SET LOCAL queue.producer_id = 'p';
SET LOCAL queue.first_sequence = 1;
COPY topic.g (value) FROM stdin;
\.
COPY topic.g (value) FROM stdin;
as another statement's
\.
ROLLBACK;
BEGIN;
SET LOCAL queue.producer_id = 'p';
SET LOCAL queue.first_sequence = 1;
INSERT INTO topic.g (value) SELECT value FROM plain RETURNING "offset";
INSERT INTO topic.h (value) VALUES ('as another statement''s') RETURNING "offset";
ROLLBACK;
-- Set anew, it counts again.
BEGIN;
SET LOCAL queue.producer_id = 'p';
SET LOCAL queue.first_sequence = 1;
INSERT INTO topic.g (value) SELECT value FROM plain;
SET LOCAL queue.first_sequence = 1;
INSERT INTO topic.g (value) VALUES ('one');
COMMIT;

-- Without a producer: misspelt, reset, emptied.  With the
-- sequence used up, or with none, the rows have no producer.
BEGIN;
SET LOCAL queue.first_sequence = 2;
SET LOCAL queue.producer = 'p';
ROLLBACK;
BEGIN;
SET LOCAL queue.first_sequence = 2;
INSERT INTO topic.g (value) VALUES ('without producer');
ROLLBACK;
BEGIN;
SET LOCAL queue.producer_id = 'p';
SET LOCAL queue.first_sequence = 2;
RESET queue.producer_id;
COPY topic.g (value) FROM stdin;
without producer
\.
ROLLBACK;
BEGIN;
SET LOCAL queue.producer_id = 'p';
SET LOCAL queue.first_sequence = 2;
INSERT INTO topic.g (value) VALUES ('two');
SET LOCAL queue.producer_id = '';
INSERT INTO topic.g (value) VALUES ('no producer');
SET LOCAL queue.first_sequence = '';
INSERT INTO topic.g (value) VALUES ('no producer, too');
COMMIT;
SELECT * FROM stored;

-- Bad values, set before the library is loaded: an error where they would have
-- counted.
\c -
SELECT repeat('x', 256) AS long \gset
BEGIN;
SET LOCAL queue.producer_id = :'long';
SET LOCAL queue.first_sequence = 3;
\set VERBOSITY terse
INSERT INTO topic.g (value) VALUES ('without producer');
ROLLBACK;
\c -
BEGIN;
SET LOCAL queue.producer_id = 'p';
SET LOCAL queue.first_sequence = 'three';
INSERT INTO topic.g (value) VALUES ('without producer');
ROLLBACK;
\c -
BEGIN;
SET LOCAL queue.producer = 'p';
SET LOCAL queue.first_sequence = 3;
INSERT INTO topic.g (value) VALUES ('without producer');
ROLLBACK;
\c -
SET queue.producer_id = :'long';
SET queue.first_sequence = '-1';
INSERT INTO topic.g (value) VALUES ('without producer');
BEGIN;
SET LOCAL queue.producer_id = 'p';
INSERT INTO topic.g (value) VALUES ('without producer');
ROLLBACK;
INSERT INTO topic.g (value) VALUES ('without producer');
RESET queue.producer_id;
INSERT INTO topic.g (value) VALUES ('without producer');
RESET queue.first_sequence;
INSERT INTO topic.g (value) VALUES ('no producer, three');
\c -
SET queue.producer_id = 'p';
SET queue.first_sequence = 3;
INSERT INTO topic.g (value) VALUES ('three');
-- Good ones.
\c -
SET queue.producer_id = 'p';
SET queue.first_sequence = 4;
INSERT INTO topic.g (value) VALUES ('four');
INSERT INTO topic.g (value) VALUES ('as four once more');
\c -
\set VERBOSITY default
SELECT producer_id, epoch, last_sequence, accepted FROM queue.producers;
SELECT value FROM topic.g ORDER BY "offset" DESC LIMIT 3;

-- A trigger of an ordinary table inserts into a topic.  Its statement is a
-- statement, too: the first gets the sequence, the second none.
CREATE FUNCTION to_topic() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF NEW.value LIKE 'quiet %' THEN
		SET LOCAL queue.producer_id = '';
	ELSIF NEW.value LIKE 'q %' THEN
		SET LOCAL queue.producer_id = 'q';
		PERFORM set_config('queue.first_sequence', substr(NEW.value, 3), true);
	END IF;
	INSERT INTO topic.h (value) VALUES ('trigger: ' || NEW.value);
	RETURN NEW;
END $$;
CREATE TRIGGER to_topic AFTER INSERT ON plain FOR EACH ROW EXECUTE FUNCTION to_topic();
BEGIN;
SET LOCAL queue.producer_id = 'p';
SET LOCAL queue.first_sequence = 1;
INSERT INTO plain VALUES ('one');
INSERT INTO topic.g (value) VALUES ('as one once more');
ROLLBACK;
BEGIN;
SET LOCAL queue.producer_id = 'p';
SET LOCAL queue.first_sequence = 1;
INSERT INTO plain VALUES ('one'), ('as one once more');
ROLLBACK;
INSERT INTO plain VALUES ('q 1'), ('q 2'), ('q 1');
SELECT topic, producer_id, last_sequence, accepted, duplicates FROM queue.producers ORDER BY 1, 2;
-- In the middle of a topic's own statement, the rows of which wait: they keep their
-- producer and sequences, and what the trigger inserts keeps its own.
CREATE FUNCTION via_plain(value text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO plain VALUES (via_plain.value);
	RETURN 'with ' || via_plain.value;
END $$;
BEGIN;
SET LOCAL queue.producer_id = 'p';
SET LOCAL queue.first_sequence = 5;
INSERT INTO topic.g (value) VALUES (via_plain('no sequence'));
ROLLBACK;
BEGIN;
SET LOCAL queue.producer_id = 'p';
SET LOCAL queue.first_sequence = 5;
INSERT INTO topic.g (value) SELECT CASE WHEN n % 2 = 0 THEN via_plain('q ' || n / 2 + 2) ELSE 'row ' || n END FROM generate_series(1, 6) n;
COMMIT;
BEGIN;
SET LOCAL queue.producer_id = 'p';
SET LOCAL queue.first_sequence = 11;
INSERT INTO topic.g (value) SELECT CASE WHEN n = 2 THEN via_plain('quiet ' || n) ELSE 'row ' || n END FROM generate_series(1, 3) n;
COMMIT;
SELECT topic, producer_id, last_sequence, accepted, duplicates FROM queue.producers ORDER BY 1, 2;
SELECT * FROM stored;
TRUNCATE plain;

-- Rows that wait because the trigger of their statement's end is gone: they go
-- out as what they are.
SET queue.allow_ddl = on;
DROP TRIGGER produce_flush ON topic.g;
RESET queue.allow_ddl;
BEGIN;
SET LOCAL queue.producer_id = 'r';
SET LOCAL queue.first_sequence = 1;
INSERT INTO topic.g (value) VALUES ('r one');
SET LOCAL queue.producer_id = 's';
SET LOCAL queue.first_sequence = 1;
INSERT INTO topic.g (value) VALUES ('s one');
SET LOCAL queue.first_sequence = 2;
INSERT INTO topic.g (value) VALUES ('s two');
RESET queue.producer_id;
INSERT INTO topic.g (value) VALUES ('no producer');
SELECT (queue.produce('g', 'no producer, produced')).duplicate;
COMMIT;
SELECT producer_id, last_sequence, accepted, duplicates FROM queue.producers WHERE topic = 'g' ORDER BY 1;
SELECT value FROM topic.g ORDER BY "offset" DESC LIMIT 5;
-- Not into a savepoint that is rolled back either, nor out of one.
BEGIN;
SET LOCAL queue.producer_id = 'r';
SET LOCAL queue.first_sequence = 2;
INSERT INTO topic.g (value) VALUES ('r two');
SAVEPOINT s;
SET LOCAL queue.producer_id = 'u';
SET LOCAL queue.first_sequence = 1;
INSERT INTO topic.g (value) VALUES ('undone');
ROLLBACK TO s;
SET LOCAL queue.producer_id = 't';
SET LOCAL queue.first_sequence = 1;
INSERT INTO topic.g (value) VALUES ('t one');
COMMIT;
SELECT producer_id, last_sequence, accepted, duplicates FROM queue.producers WHERE topic = 'g' ORDER BY 1;
SELECT value FROM topic.g ORDER BY "offset" DESC LIMIT 2;

DROP VIEW stored;
DROP TABLE plain;
DROP FUNCTION to_topic, via_plain;
SELECT queue.drop_topic('g');
SELECT queue.drop_topic('h');
