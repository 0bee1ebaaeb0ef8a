--
-- Views queue.consumer_groups and queue.group_summary, and what queue.blockers
-- says about groups.
--
\getenv abs_srcdir PG_ABS_SRCDIR
\i :abs_srcdir/sql/include/helpers.sql
-- The columns of kafka-consumer-groups --describe come first, in its order.
SELECT attname FROM pg_attribute WHERE attrelid = 'queue.consumer_groups'::regclass AND attnum > 0 ORDER BY attnum;
SELECT attname FROM pg_attribute WHERE attrelid = 'queue.group_summary'::regclass AND attnum > 0 ORDER BY attnum;

-- Several groups, topics and partitions.
SELECT queue.create_topic('v', 2, 'text'), queue.create_topic('w', 3, 'text');
SELECT FROM pg_temp.use_all('v');
SELECT FROM pg_temp.use_all('w');
SELECT log AS v FROM queue.topic WHERE name = 'v' \gset
INSERT INTO :v SELECT n, now() - interval '1 hour' + n * interval '10 minutes', 0, NULL, 'x', NULL FROM generate_series(0, 4) n;
SELECT count FROM queue.produce_batch('w', ARRAY['a', 'b', 'c'], partition => 0);
SELECT count FROM queue.produce_batch('w', ARRAY['d'], partition => 2);
SELECT queue.create_group('one', 'v'), queue.create_group('one', 'w'), queue.create_group('two', 'w', 'latest');
SELECT count(*) FROM queue.consume_typed('one', 'v', NULL::text, 2);
SELECT count(*) FROM queue.consume_typed('three', 'w', NULL::text, partitions => ARRAY[2]);
SELECT consumer_group, topic, partition, current_offset, log_end_offset, lag, member, client, stable_end, in_hand, paused, metadata, pid
  FROM queue.consumer_groups ORDER BY 1, 2, 3;
SELECT consumer_group, owner = current_user AS mine, topics, partitions, members, consuming, paused, lag, in_hand
  FROM queue.group_summary ORDER BY 1;

-- Age of the oldest unread message: that of the message itself.
SELECT consumer_group, partition, oldest_unread_age BETWEEN '39 minutes' AND '45 minutes' AS "40 minutes", lag
  FROM queue.consumer_groups WHERE topic = 'v' ORDER BY 1, 2;
SELECT consumer_group, partition, oldest_unread_age >= '0' AS known FROM queue.consumer_groups WHERE topic = 'w' ORDER BY 1, 2;
SELECT consumer_group, oldest_unread_age BETWEEN '39 minutes' AND '45 minutes' AS "40 minutes" FROM queue.group_summary ORDER BY 1;
-- As the statement's time goes, not the transaction's; never negative.
SELECT queue.create_topic('ahead', 1, 'text');
SELECT FROM pg_temp.use_all('ahead');
SELECT log AS ahead FROM queue.topic WHERE name = 'ahead' \gset
INSERT INTO :ahead VALUES (0, '2999-01-01', 0, NULL, 'x', NULL);
SELECT queue.create_group('one', 'ahead');
SELECT oldest_unread_age FROM queue.consumer_groups WHERE topic = 'ahead';
SELECT queue.drop_topic('ahead');
-- What was rolled back counts as lag, and is not to be read.
BEGIN;
SELECT "offset" FROM queue.produce('v', 'undone', partition => 0);
ROLLBACK;
SELECT new_offset FROM queue.reset_offsets('one', 'v', to_latest => true, partition => 0);
SELECT current_offset, log_end_offset, stable_end, lag, oldest_unread_age FROM queue.consumer_groups WHERE topic = 'v' AND partition = 0;
-- What is in progress is not to be read yet.
BEGIN;
SELECT "offset" FROM queue.produce('w', 'open', partition => 0);
PREPARE TRANSACTION 'open';
SELECT consumer_group, current_offset, log_end_offset, stable_end, lag, oldest_unread_age IS NULL AS none
  FROM queue.consumer_groups WHERE topic = 'w' AND partition = 0 ORDER BY 1;
ROLLBACK PREPARED 'open';

-- The session of the transaction that is consuming.
SET application_name = 'the consumer';
BEGIN;
SELECT count(*) FROM queue.consume_typed('one', 'w', NULL::text, 1, partitions => ARRAY[0]);
SELECT consumer_group, partition, pid = pg_backend_pid() AS mine, client, member FROM queue.consumer_groups WHERE topic = 'w' AND partition = 0 ORDER BY 1;
SELECT consumer_group, consuming FROM queue.group_summary ORDER BY 1;
SELECT consumer_group, topic, partition, pid = pg_backend_pid() AS mine, waiting FROM queue.blockers;
COMMIT;
SELECT count(*) FROM queue.blockers;
SELECT sum(consuming) FROM queue.group_summary;
-- So does a prepared one, which has no session; by several partitions.
BEGIN;
SELECT count(*) FROM queue.consume_typed('one', 'w', NULL::text, 1, partitions => ARRAY[0]);
SELECT count(*) FROM queue.consume_typed('one', 'w', NULL::text, 1, partitions => ARRAY[2]);
SELECT count(*) FROM queue.consume_typed('two', 'w', NULL::text, 1, partitions => ARRAY[0]);
PREPARE TRANSACTION 'consumes';
SELECT consumer_group, topic, partition, pid, gid, waiting FROM queue.blockers ORDER BY 1, 2, 3;
SELECT consumer_group, partition, pid, client FROM queue.consumer_groups WHERE topic = 'w' AND partition = 0 ORDER BY 1;
COMMIT PREPARED 'consumes';
-- Members.
SELECT count(*) FROM queue.poll_typed('two', 'w', 'member', NULL::text, 10);
SELECT queue.reset_offsets('two', 'w', to_earliest => true, partition => 0);
SELECT count(*) FROM queue.poll_typed('two', 'w', 'member', NULL::text, 2);
SELECT partition, member, client, in_hand FROM queue.consumer_groups WHERE consumer_group = 'two' ORDER BY 1;
SELECT members, in_hand FROM queue.group_summary WHERE consumer_group = 'two';
SELECT queue.leave('two', 'w', 'member');
SELECT partition, member, client, in_hand FROM queue.consumer_groups WHERE consumer_group = 'two' ORDER BY 1;
RESET application_name;
SELECT queue.pause('two', 'w', 1);
SELECT paused, partitions FROM queue.group_summary WHERE consumer_group = 'two';
-- A partition of which nothing is known any more, as after a partial restore.
INSERT INTO queue.progress (group_id, topic_id, partition, paused, action, generation, committed_offset, committed_at)
SELECT group_id, topic_id, 7, false, 'c', 1, 5, now() FROM queue.consumer_group g, queue.topic t WHERE g.name = 'two' AND t.name = 'w';
SELECT partition, current_offset, log_end_offset, lag, oldest_unread_age, time_to_drain FROM queue.consumer_groups WHERE consumer_group = 'two' AND partition = 7;
SELECT queue.drop_topic('v'), queue.drop_topic('w');
-- A group is shown also if it has no topic, to members of its role.
SELECT * FROM queue.consumer_groups WHERE consumer_group IN ('one', 'two', 'three') ORDER BY 1;
SELECT consumer_group, topics, partitions, members, lag, time_to_drain, in_hand, missed, expired FROM queue.group_summary
 WHERE consumer_group IN ('one', 'two', 'three') ORDER BY 1;
CREATE ROLE regress_views;
SELECT queue.alter_group('two', owner => 'regress_views');
SET ROLE regress_views;
SELECT consumer_group, topic FROM queue.consumer_groups;
SELECT consumer_group, topics FROM queue.group_summary;
RESET ROLE;
SELECT queue.alter_group('two', owner => current_user);
DROP ROLE regress_views;
-- One with members and no offsets, in the topics of its members.
SELECT queue.create_topic('v', 2, 'text');
SELECT count(*) FROM queue.poll_typed('two', 'v', 'member', NULL::text, 0);
SELECT consumer_group, topic, partition, current_offset, lag, member FROM queue.consumer_groups WHERE consumer_group = 'two' ORDER BY 3;
SELECT consumer_group, topics, partitions, members, lag FROM queue.group_summary WHERE consumer_group = 'two';
-- ... and in their partitions, when these are used.
SELECT FROM pg_temp.use_all('v');
SELECT count(*) FROM queue.poll_typed('two', 'v', 'member', NULL::text, 0);
SELECT consumer_group, topic, partition, current_offset, lag, member FROM queue.consumer_groups WHERE consumer_group = 'two' ORDER BY 3;
SELECT consumer_group, topics, partitions, members, lag FROM queue.group_summary WHERE consumer_group = 'two';
SELECT queue.drop_topic('v');
SELECT queue.drop_group('one'), queue.drop_group('two'), queue.drop_group('three');

-- Rates.  Histories as they would be after so much time: what is asked is
-- whether the rate lies between what it would be a moment ago and in ten minutes.
SELECT queue.create_topic('r', 13, 'text');
SELECT log AS r, topic_id AS r_id FROM queue.topic WHERE name = 'r' \gset
SELECT sum(count) FROM generate_series(0, 12) p, queue.produce_batch('r', ARRAY(SELECT 'x' FROM generate_series(1, 1000)), partition => p);
BEGIN;
SELECT queue.create_group('rates', 'r');
SELECT queue.drop_group('rates', 'r');
COMMIT;
SELECT group_id AS rates FROM queue.consumer_group WHERE name = 'rates' \gset
CREATE FUNCTION pg_temp.history(partition int, action "char", generation int, "offset" bigint, seconds_ago float8) RETURNS void LANGUAGE sql AS $$
	INSERT INTO queue.progress (group_id, topic_id, partition, paused, action, generation, committed_offset, committed_at)
	SELECT g.group_id, t.topic_id, $1, false, $2, $3, $4, now() - make_interval(secs => $5) FROM queue.consumer_group g, queue.topic t WHERE g.name = 'rates' AND t.name = 'r' $$;
-- 0: one row: not known.
SELECT pg_temp.history(0, 's', 1, 0, 1000);
-- 1: paused, which is no move: not known either.
SELECT pg_temp.history(1, 's', 1, 0, 100000), pg_temp.history(1, 'u', 2, 0, 100000);
-- 2: 500 in 10,000 s: the last commit is longer ago than a minute.
SELECT pg_temp.history(2, 's', 1, 0, 10000), pg_temp.history(2, 'c', 2, 500, 9000);
-- 3: by a member.
SELECT pg_temp.history(3, 's', 1, 0, 10000), pg_temp.history(3, 'h', 2, 0, 10000), pg_temp.history(3, 'm', 3, 500, 9000);
-- 4: what a reset moved, back or forth, was not consumed.
SELECT pg_temp.history(4, 's', 1, 0, 10000), pg_temp.history(4, 'r', 2, 900, 10000), pg_temp.history(4, 'r', 3, 0, 10000), pg_temp.history(4, 'c', 4, 500, 9000), pg_temp.history(4, 'u', 5, 500, 9000), pg_temp.history(4, 'u', 6, 500, 9000);
-- 5: only the last 20 commits: 10 each in 1 s, after many of 1 each.
SELECT count(*) FROM generate_series(1, 100) n, pg_temp.history(5, 'c', n, n, 50);
SELECT count(*) FROM generate_series(1, 20) n, pg_temp.history(5, 'c', 100 + n, 100 + 10 * n, 20);
-- 6: what is older than a minute and the row before does not count.
SELECT pg_temp.history(6, 'c', 1, 0, 1000000), pg_temp.history(6, 'c', 2, 900, 100000), pg_temp.history(6, 'c', 3, 910, 10000);
-- 7: all is consumed.
SELECT pg_temp.history(7, 's', 1, 0, 10000), pg_temp.history(7, 'c', 2, 1000, 10000);
-- 8: so slow that it would take longer than an interval can say.
SELECT pg_temp.history(8, 's', 1, 0, 1e9), pg_temp.history(8, 'c', 2, 1, 1e9);
-- 9: consumed again after a reset back: both times count.
SELECT pg_temp.history(9, 's', 1, 0, 30), pg_temp.history(9, 'c', 2, 500, 29), pg_temp.history(9, 'r', 3, 0, 29), pg_temp.history(9, 'c', 4, 500, 28);
-- 10: handed out again and again since.
SELECT pg_temp.history(10, 's', 1, 0, 10000), pg_temp.history(10, 'm', 2, 500, 9000);
SELECT count(*) FROM generate_series(3, 30) n, pg_temp.history(10, 'h', n, 500, 9000);
-- 11: nothing consumed since the reset, a while ago: none.
SELECT pg_temp.history(11, 'c', 1, 500, 10000), pg_temp.history(11, 'r', 2, 100, 9000);
-- 12: what a reset left out was not consumed.
SELECT pg_temp.history(12, 's', 1, 0, 30), pg_temp.history(12, 'r', 2, 900, 29), pg_temp.history(12, 'c', 3, 950, 28);
SELECT partition, rate IS NULL AS unknown, rate * 10000 BETWEEN 500 * 10000 / 10600.0 AND 500.001 AS "500 in 10000 s" FROM queue.consumer_groups WHERE partition IN (0, 1, 2, 3, 4, 10) ORDER BY 1;
SELECT rate FROM queue.consumer_groups WHERE partition = 11;
SELECT rate <= 200 / 50.0 AND rate > 200 / 650.0 AS "20 commits" FROM queue.consumer_groups WHERE partition = 5;
SELECT rate <= 10 / 100000.0 AND rate > 10 / 100600.0 AS "since the last but one" FROM queue.consumer_groups WHERE partition = 6;
SELECT rate > 0 AS known, time_to_drain FROM queue.consumer_groups WHERE partition = 7;
SELECT rate <= 1000 / 30.0 AND rate > 1000 / 630.0 AS "both times" FROM queue.consumer_groups WHERE partition = 9;
SELECT rate <= 50 / 30.0 AND rate > 50 / 630.0 AS "50 in 30 s" FROM queue.consumer_groups WHERE partition = 12;
-- time_to_drain: lag over rate.
SELECT partition, rate IS NULL AS no_rate, time_to_drain IS NULL AS unknown FROM queue.consumer_groups WHERE partition IN (0, 1, 11) ORDER BY 1;
SELECT partition, extract(epoch FROM time_to_drain) * rate BETWEEN lag - 0.01 AND lag + 0.01 AS fits FROM queue.consumer_groups WHERE partition IN (2, 3, 4, 5, 6, 9, 10) ORDER BY 1;
SELECT segment AS r_8 FROM queue.segments WHERE topic = 'r' AND partition = 8 ORDER BY first_offset LIMIT 1 \gset
INSERT INTO :r_8 VALUES (100000, now(), 8, NULL, 'x', NULL);
SELECT lag, rate > 0 AS known, time_to_drain FROM queue.consumer_groups WHERE partition = 8;
-- Of a group it is known if it is of each partition.
SELECT time_to_drain IS NULL AS unknown FROM queue.group_summary WHERE consumer_group = 'rates';
SELECT count(*) FROM unnest('{0, 1, 8, 11}'::int[]) p, queue.reset_offsets('rates', 'r', to_latest => true, partition => p);
SELECT abs(s.rate - g.rate) < g.rate / 2 AS sum_of_rates, abs(extract(epoch FROM s.time_to_drain - g.longest)) < 600 * 100 AND g.longest > '1 hour' AS longest, s.lag = g.lag AS lag
  FROM queue.group_summary s, (SELECT sum(rate) AS rate, sum(lag) AS lag, max(time_to_drain) AS longest FROM queue.consumer_groups) g WHERE consumer_group = 'rates';
SELECT queue.drop_topic('r');
SELECT queue.drop_group('rates');

-- Long histories: the rows are the newest ones, as plain SQL finds them.
SELECT queue.create_topic('l' || n, n, 'text') FROM generate_series(1, 4) n;
SELECT count(queue.create_group('g' || g, 'l' || n)) FROM generate_series(1, 5) g, generate_series(1, 4) n WHERE (g + n) % 3 > 0;
INSERT INTO queue.progress (group_id, topic_id, partition, paused, action, generation, committed_offset, committed_at, epoch, handed_to, committed_by, metadata)
SELECT group_id, topic_id, p.partition, n % 2 = 0, (ARRAY['c', 'm', 'r', 'h', 'u'])[1 + n % 5]::"char", 1 + n, n, now() - (1000 - n) * interval '1 second',
       CASE WHEN n % 3 = 0 THEN n END, CASE WHEN n % 3 = 0 THEN n + p.partition END, 'somebody', 'row ' || n
  FROM queue.progress p JOIN queue.topic t USING (topic_id) JOIN queue.consumer_group g USING (group_id), generate_series(1, 40 * (right(g.name, 1)::int % 4) + (p.partition % 3) * 10) n WHERE t.name LIKE 'l_' ORDER BY random();
CREATE TEMP VIEW plain AS
SELECT DISTINCT ON (g.name, t.name, p.partition) g.name AS consumer_group, t.name AS topic, p.partition, p.committed_offset AS current_offset,
       p.committed_at, p.committed_by, p.metadata, p.paused, greatest(coalesce(p.handed_to, 0) - p.committed_offset, 0) AS in_hand
  FROM queue.progress p JOIN queue.consumer_group g USING (group_id) JOIN queue.topic t USING (topic_id)
 WHERE t.name LIKE 'l_'
 ORDER BY g.name, t.name, p.partition, p.generation DESC;
CREATE TEMP VIEW listed AS
SELECT consumer_group, topic, partition, current_offset, committed_at, committed_by, metadata, paused, in_hand FROM queue.consumer_groups WHERE topic LIKE 'l_';
SELECT count(*) AS places FROM plain;
SELECT count(*) AS wrong FROM ((TABLE plain EXCEPT TABLE listed) UNION ALL (TABLE listed EXCEPT TABLE plain)) d;
SELECT count(*) AS places, count(DISTINCT (consumer_group, topic, partition)) AS distinct FROM listed;
-- A snapshot that does not know the newest rows, and rows that are gone.
DELETE FROM queue.progress WHERE generation % 7 = 0;
SELECT count(*) AS wrong FROM ((TABLE plain EXCEPT TABLE listed) UNION ALL (TABLE listed EXCEPT TABLE plain)) d;
VACUUM queue.progress;
SELECT count(*) AS wrong FROM ((TABLE plain EXCEPT TABLE listed) UNION ALL (TABLE listed EXCEPT TABLE plain)) d;
SELECT count(*) AS wrong FROM (SELECT * FROM queue.group_summary WHERE consumer_group LIKE 'g_') s
  FULL JOIN (SELECT consumer_group, count(DISTINCT topic) AS topics, count(*) AS partitions, count(*) FILTER (WHERE paused) AS paused, sum(in_hand) AS in_hand, max(committed_at) AS committed_at FROM plain GROUP BY 1) p
    USING (consumer_group)
 WHERE (s.topics, s.partitions, s.paused, s.in_hand, s.committed_at) IS DISTINCT FROM (p.topics, p.partitions, p.paused, p.in_hand, p.committed_at);
SELECT count(queue.drop_topic('l' || n)) FROM generate_series(1, 4) n;
SELECT count(queue.drop_group('g' || n)) FROM generate_series(1, 5) n;

-- Broken topics: the others are listed all the same.
SELECT queue.create_topic(t, 2, 'text', 10) FROM unnest(ARRAY['fine', 'hole', 'policy', 'column', 'eclipsed']) t;
SELECT queue.create_group('all', t) FROM unnest(ARRAY['fine', 'hole', 'policy', 'column', 'eclipsed']) t;
SELECT count(queue.produce(t, 'x', partition => 0)) FROM unnest(ARRAY['fine', 'hole', 'policy', 'column', 'eclipsed']) t;
SELECT count FROM queue.produce_batch('hole', ARRAY(SELECT 'x' FROM generate_series(1, 30)), partition => 0);
SELECT (SELECT log FROM queue.topic WHERE name = 'hole') AS hole, (SELECT log FROM queue.topic WHERE name = 'policy') AS policy,
       (SELECT log FROM queue.topic WHERE name = 'column') AS column, (SELECT log FROM queue.topic WHERE name = 'eclipsed') AS eclipsed \gset
SELECT segment AS hole_0 FROM queue.segments WHERE topic = 'hole' AND partition = 0 AND first_offset = 10 \gset
SET queue.allow_ddl = on;
ALTER TABLE :hole DETACH PARTITION :hole_0;
ALTER TABLE :policy ENABLE ROW LEVEL SECURITY;
ALTER TABLE :column ADD COLUMN more int;
ALTER VIEW topic.eclipsed RENAME TO away;
RESET queue.allow_ddl;
SELECT topic, partition, current_offset, log_end_offset, oldest_unread_age IS NOT NULL AS age FROM queue.consumer_groups ORDER BY 1, 2;
SELECT consumer_group, topics, partitions FROM queue.group_summary;
SELECT DISTINCT topic FROM queue.offset_history ORDER BY 1;
SELECT count(*) FROM queue.blockers;
SET queue.allow_ddl = on;
ALTER VIEW topic.away RENAME TO eclipsed;
DROP TABLE :hole_0;
RESET queue.allow_ddl;
SELECT count(queue.drop_topic(t)) FROM unnest(ARRAY['fine', 'hole', 'policy', 'column', 'eclipsed']) t;
SELECT queue.drop_group('all');

-- Times that a topic's owner has stored himself, for which there is no age.
SELECT queue.create_topic('timeless', 2, 'text');
SELECT FROM pg_temp.use_all('timeless');
SELECT queue.create_group('late', 'timeless');
SELECT log AS timeless FROM queue.topic WHERE name = 'timeless' \gset
INSERT INTO :timeless (partition, "offset", "timestamp", value) VALUES (0, 0, 'infinity', 'x'), (1, 0, '-infinity', 'x');
SELECT topic, partition, lag, oldest_unread_age FROM queue.consumer_groups ORDER BY 1, 2;
SELECT consumer_group, lag, oldest_unread_age FROM queue.group_summary;
SELECT queue.drop_topic('timeless');

-- A member counts where the user may see it.
CREATE ROLE regress_views;
SELECT queue.create_topic('seen', 1, 'text'), queue.create_topic('unseen', 1, 'text');
GRANT SELECT ON topic.seen TO regress_views;
SELECT queue.create_group('late', 'seen');
SELECT queue.poll_typed('late', 'seen', 'a', NULL::text), queue.poll_typed('late', 'unseen', 'b', NULL::text), queue.poll_typed('late', 'unseen', 'c', NULL::text);
SELECT topics, members FROM queue.group_summary;
SET ROLE regress_views;
SELECT topics, members FROM queue.group_summary;
RESET ROLE;
SELECT queue.drop_topic('seen'), queue.drop_topic('unseen');
SELECT queue.drop_group('late');
DROP ROLE regress_views;
