--
-- Members of a group: which partitions each owns as members come, go and die.
--
\getenv abs_srcdir PG_ABS_SRCDIR
\i :abs_srcdir/sql/include/helpers.sql
-- A poll that only keeps the lease, and one that takes messages; how many.
CREATE FUNCTION pg_temp.live(member text, topic text DEFAULT 't') RETURNS bigint LANGUAGE sql AS $$
	SELECT count(*) FROM queue.poll('g', topic, $1, 0)
$$;
CREATE FUNCTION pg_temp.take(member text, topic text DEFAULT 't') RETURNS bigint LANGUAGE sql AS $$
	SELECT count(*) FROM queue.poll('g', topic, $1, 1000)
$$;
-- All that the member has in hand is done.
CREATE FUNCTION pg_temp.done(member text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	p record;
	n bigint := 0;
BEGIN
	FOR p IN SELECT DISTINCT ON (r.partition) r.*, t.name FROM queue.progress r JOIN queue.topic t USING (topic_id)
			  ORDER BY r.partition, r.generation DESC
	LOOP
		IF p.member = $1 AND p.handed_to > p.committed_offset THEN
			PERFORM queue.commit_offset('g', p.name, p.partition, p.handed_to, p.member, p.epoch);
			n := n + 1;
		END IF;
	END LOOP;
	RETURN n;
END $$;
CREATE VIEW pg_temp.owners AS
	SELECT member, partitions, in_hand, alive FROM queue.members WHERE consumer_group = 'g' ORDER BY topic, member;

SELECT queue.create_topic('t', 6);
SELECT FROM pg_temp.use_all('t');
-- The first has all; the second takes half, from the end; the third takes from both.
SELECT pg_temp.live('a');
SELECT * FROM pg_temp.owners;
SELECT pg_temp.live('b');
SELECT * FROM pg_temp.owners;
SELECT pg_temp.live('c');
SELECT * FROM pg_temp.owners;
-- Balanced: no member moves anything any more.
CREATE TEMP TABLE before AS SELECT * FROM queue.members;
SELECT pg_temp.live('a'), pg_temp.live('b'), pg_temp.live('c');
SELECT * FROM queue.members EXCEPT SELECT * FROM before;
-- Six members of six partitions, then more than partitions.
SELECT pg_temp.live('d'), pg_temp.live('e'), pg_temp.live('f'), pg_temp.live('g'), pg_temp.live('h');
SELECT * FROM pg_temp.owners;
-- A member that has no partition is next when one leaves.
SELECT queue.leave('g', 't', 'd');
SELECT pg_temp.live('h');
SELECT * FROM pg_temp.owners;
SELECT queue.leave('g', 't', member) FROM (VALUES ('b'), ('c'), ('e'), ('f'), ('g'), ('h')) m(member);
SELECT pg_temp.live('a');
SELECT * FROM pg_temp.owners;
SELECT queue.leave('g', 't', 'a');
SELECT * FROM pg_temp.owners;

-- What is in hand does not move, until it is done.
SELECT sum(count) FROM generate_series(0, 5) p, queue.produce_batch('t', ARRAY['1', '2'], partition => p);
SELECT pg_temp.take('a');
SELECT pg_temp.live('b');
SELECT * FROM pg_temp.owners;
SELECT pg_temp.take('b');
SELECT pg_temp.live('a');
SELECT * FROM pg_temp.owners;
SELECT queue.commit_offset('g', 't', 1, 1, 'a', (SELECT epoch FROM queue.progress ORDER BY partition <> 1, generation DESC LIMIT 1));
SELECT pg_temp.live('b');
SELECT queue.commit_offset('g', 't', 1, 2, 'a', (SELECT epoch FROM queue.progress ORDER BY partition <> 1, generation DESC LIMIT 1));
SELECT pg_temp.live('b');
SELECT * FROM pg_temp.owners;
-- Its owner gives up what is done and too much.
SELECT pg_temp.done('a');
SELECT pg_temp.live('a');
SELECT * FROM pg_temp.owners;
SELECT pg_temp.live('b');
SELECT * FROM pg_temp.owners;

-- A member that dies: the other takes what it had, in hand or not, with its next poll.
SELECT sum(count) FROM generate_series(0, 5) p, queue.produce_batch('t', ARRAY['3', '4'], partition => p);
SELECT pg_temp.take('a'), pg_temp.take('b');
SELECT pg_temp.expire('a');
SELECT * FROM pg_temp.owners;
SELECT pg_temp.take('b');
-- Its row is gone then; and it cannot commit.
SELECT * FROM pg_temp.owners;
SELECT pg_temp.done('a'), pg_temp.done('b');
-- A lease that really runs out.
SELECT count(*) FROM queue.poll('g', 't', 'a', 0, lease => '1 ms');
SELECT pg_sleep(0.01);
SELECT member, lease, alive FROM queue.members ORDER BY 1;
SELECT pg_temp.live('b');
SELECT * FROM pg_temp.owners;

-- A member that comes back after its lease, before another noticed, is new.
SELECT pg_temp.live('c');
SELECT * FROM pg_temp.owners;
SELECT pg_temp.expire('c');
SELECT pg_temp.live('c');
SELECT * FROM pg_temp.owners;
-- All are dead.
SELECT pg_temp.expire('b'), pg_temp.expire('c');
SELECT pg_temp.live('d');
SELECT * FROM pg_temp.owners;

-- What a member had in hand when it died is not kept from the others when it
-- comes back, whichever member owns the partition then.
SELECT sum(count) FROM generate_series(0, 5) p, queue.produce_batch('t', ARRAY['5', '6'], partition => p);
SELECT pg_temp.take('d');
SELECT pg_temp.expire('d');
SELECT pg_temp.live('e');
SELECT pg_temp.live('d');
SELECT * FROM pg_temp.owners;
SELECT pg_temp.take('e'), pg_temp.take('d');
SELECT * FROM pg_temp.owners;
SELECT pg_temp.done('e'), pg_temp.done('d');
SELECT sum(lag) FROM queue.consumer_groups;
-- Nor if its row was still there.
SELECT queue.leave('g', 't', 'e');
SELECT sum(count) FROM generate_series(0, 5) p, queue.produce_batch('t', ARRAY['6'], partition => p);
SELECT pg_temp.take('d');
SELECT pg_temp.live('e');
SELECT pg_temp.expire('d');
SELECT pg_temp.live('d'), pg_temp.live('e');
SELECT * FROM pg_temp.owners;
SELECT pg_temp.take('e'), pg_temp.take('d');
SELECT pg_temp.done('e'), pg_temp.done('d');
SELECT queue.leave('g', 't', 'd'), queue.leave('g', 't', 'e');

-- A name that comes back within its lease keeps what it owns, and gets what it
-- had in hand again.
SELECT pg_temp.live('a'), pg_temp.live('b');
SELECT sum(count) FROM generate_series(0, 5) p, queue.produce_batch('t', ARRAY['7'], partition => p);
SELECT pg_temp.take('b');
SELECT * FROM pg_temp.owners;
\c -
\i :abs_srcdir/sql/include/helpers.sql
CREATE FUNCTION pg_temp.live(member text, topic text DEFAULT 't') RETURNS bigint LANGUAGE sql AS $$
	SELECT count(*) FROM queue.poll('g', topic, $1, 0)
$$;
CREATE VIEW pg_temp.owners AS
	SELECT member, partitions, in_hand, alive FROM queue.members WHERE consumer_group = 'g' ORDER BY topic, member;
SET application_name = 'restarted';
SELECT partition, m.offset FROM queue.poll('g', 't', 'b') m ORDER BY 1, 2;
SELECT * FROM pg_temp.owners;
-- The session that last wrote the row.
SELECT member, client = 'restarted' AS me FROM queue.members ORDER BY 1;
UPDATE queue.member SET expires_at = now() + interval '30 seconds' WHERE name = 'b';
SELECT pg_temp.live('b');
SELECT member, client = 'restarted' AS me FROM queue.members ORDER BY 1;
SET application_name = '';
UPDATE queue.member SET expires_at = now() + interval '30 seconds' WHERE name = 'b';
SELECT pg_temp.live('b');
SELECT member, client FROM queue.members WHERE member = 'b';
RESET application_name;
-- Another lease counts at once, a longer one or a shorter one.
SELECT count(*) FROM queue.poll('g', 't', 'b', 0, lease => '10 minutes');
SELECT lease, round(extract(epoch FROM expires_at - now()) / 60) AS minutes FROM queue.members WHERE member = 'b';
SELECT count(*) FROM queue.poll('g', 't', 'b', 0, lease => '2 minutes');
SELECT lease, round(extract(epoch FROM expires_at - now()) / 60) AS minutes FROM queue.members WHERE member = 'b';
-- Half a lease more is given once less than a whole one is left; else nothing is written.
SELECT count(*) FROM queue.poll('g', 't', 'b', 0, lease => '1 hour');
UPDATE queue.member SET expires_at = now() + interval '1 hour 1 minute' WHERE name = 'b';
SELECT count(*) FROM queue.poll('g', 't', 'b', 0, lease => '1 hour');
SELECT expires_at < now() + interval '1 hour 2 minutes' AS unchanged FROM queue.members WHERE member = 'b';
UPDATE queue.member SET expires_at = now() + interval '59 minutes' WHERE name = 'b';
SELECT count(*) FROM queue.poll('g', 't', 'b', 0, lease => '1 hour');
SELECT expires_at > now() + interval '1 hour 20 minutes' AS renewed FROM queue.members WHERE member = 'b';

-- Partitions that are added have no owner; they are shared when they are used.
SELECT queue.alter_topic('t', 9);
SELECT pg_temp.live('a');
SELECT * FROM pg_temp.owners;
SELECT FROM pg_temp.use_all('t', 6);
SELECT * FROM pg_temp.owners;
SELECT pg_temp.live('a');
SELECT * FROM pg_temp.owners;
SELECT pg_temp.live('b');
SELECT * FROM pg_temp.owners;
SELECT "offset" FROM queue.produce('t', '"new"', partition => 8);
SELECT partition FROM queue.poll('g', 't', 'a') WHERE partition = 8
 UNION ALL SELECT partition FROM queue.poll('g', 't', 'b') WHERE partition = 8;

-- Rolled back: no member has joined, left, or been handed anything.
BEGIN;
SELECT pg_temp.live('x');
SELECT queue.leave('g', 't', 'a');
SELECT pg_temp.live('b');
SELECT * FROM pg_temp.owners;
SAVEPOINT s;
SELECT queue.leave('g', 't', 'b');
ROLLBACK TO s;
SELECT member, partitions FROM pg_temp.owners;
ROLLBACK;
SELECT member, partitions FROM pg_temp.owners;
-- Several in one command.
SELECT (SELECT count(*) FROM queue.poll('g', 't', 'x', 0)) + (SELECT count(*) FROM queue.poll('g', 't', 'y', 0)) AS polls,
	queue.leave('g', 't', 'x'), queue.leave('g', 't', 'z');
SELECT member, partitions FROM pg_temp.owners;
SELECT queue.create_topic('v', 2);
SELECT FROM pg_temp.use_all('v');
SELECT (SELECT count(*) FROM queue.poll('g', 'v', 'x', 0)) + (SELECT count(*) FROM queue.poll('g', 'v', 'y', 0)) AS polls;
SELECT member, partitions FROM queue.members WHERE topic = 'v' ORDER BY 1;
SELECT queue.drop_topic('v');

-- Members of a dropped topic or group go with it.
SELECT queue.create_topic('u', 1);
SELECT pg_temp.live('a', 'u');
SELECT count(*) FROM queue.poll('h', 'u', 'a', 0);
SELECT queue.drop_group('g', 't');
SELECT consumer_group, topic, member FROM queue.members ORDER BY 1, 2, 3;
SELECT queue.drop_group('h');
SELECT consumer_group, topic, member FROM queue.members ORDER BY 1, 2, 3;
SELECT queue.drop_topic('u');
SELECT count(*) FROM queue.member;

-- 64 partitions, eight members, of which one dies: exactly its partitions change
-- hands, each once.
SELECT queue.create_topic('wide', 64);
SELECT FROM pg_temp.use_all('wide');
SELECT count(*) FROM generate_series(1, 8) m, generate_series(1, 3) round, LATERAL (SELECT pg_temp.live('m' || m + 0 * round, 'wide')) x;
SELECT member, cardinality(partitions) FROM queue.members ORDER BY 1;
SELECT count(*), count(DISTINCT p) FROM queue.members, unnest(partitions) p;
CREATE TEMP TABLE owned AS SELECT member, p FROM queue.members, unnest(partitions) p;
UPDATE queue.member SET expires_at = now() - interval '1 hour' WHERE name = 'm3';
CREATE TEMP TABLE moves (poll int, p int, from_member text, to_member text);
DO $$
BEGIN
	FOR i IN 1 .. 21 LOOP
		CREATE TEMP TABLE was AS SELECT member, p FROM queue.members, unnest(partitions) p WHERE alive;
		PERFORM pg_temp.live('m' || (ARRAY[1, 2, 4, 5, 6, 7, 8])[i % 7 + 1], 'wide');
		INSERT INTO moves SELECT i, p, w.member, n.member
		  FROM (SELECT member, p FROM queue.members, unnest(partitions) p WHERE alive) n LEFT JOIN was w USING (p)
		 WHERE n.member IS DISTINCT FROM w.member;
		DROP TABLE was;
	END LOOP;
END $$;
SELECT count(*), count(DISTINCT p), count(from_member) AS from_the_living FROM moves;
SELECT count(*) AS of_the_dead FROM moves JOIN owned o USING (p) WHERE o.member = 'm3';
SELECT count(*) AS kept FROM owned o JOIN (SELECT member, p FROM queue.members, unnest(partitions) p) n USING (p, member);
SELECT count(DISTINCT p) AS owned, min(n), max(n) FROM (SELECT unnest(partitions) AS p, cardinality(partitions) AS n FROM queue.members) x;
-- It comes back: it takes what others have too much of, and no more moves than that.
DROP TABLE owned;
CREATE TEMP TABLE owned AS SELECT member, p FROM queue.members, unnest(partitions) p;
SELECT pg_temp.live('m3', 'wide');
SELECT count(*) AS kept, (SELECT cardinality(partitions) FROM queue.members WHERE member = 'm3') AS taken
  FROM owned o JOIN (SELECT member, p FROM queue.members, unnest(partitions) p) n USING (p, member);
SELECT member, cardinality(partitions) FROM queue.members ORDER BY 1;

SELECT count(queue.drop_topic(topic)) FROM queue.topics;
SELECT count(queue.drop_group(name)) > 0 AS dropped FROM queue.consumer_group;
