--
-- The views are security barriers: a function in WHERE, however cheap it says
-- it is, gets no row that the user may not see.
--
CREATE ROLE regress_queue_stranger;
SELECT queue.create_topic('mine', 1, 'text');
SELECT queue.create_topic('secret', 1, 'text');
SELECT log AS secret_log FROM queue.topic WHERE name = 'secret' \gset
GRANT SELECT, INSERT ON topic.mine TO regress_queue_stranger;
SELECT (queue.produce('mine', 'm', producer_id => 'of mine', sequence => 1)).duplicate,
       (queue.produce('secret', 'm', producer_id => 'of secret', sequence => 1)).duplicate;
SELECT queue.create_group('reads mine', 'mine'), queue.create_group('reads secret', 'secret');
-- A group that reads both, members, and committed metadata.
SELECT queue.create_group('reads both', 'mine'), queue.create_group('reads both', 'secret');
SELECT queue.commit_offset('reads mine', 'mine', 0, 0, metadata => 'said of mine'), queue.commit_offset('reads secret', 'secret', 0, 0, metadata => 'said of secret');
SELECT (SELECT count(*) FROM queue.poll_typed('reads mine', 'mine', 'member of mine', NULL::text, 0)), (SELECT count(*) FROM queue.poll_typed('reads secret', 'secret', 'member of secret', NULL::text, 0));
SET queue.autocommit_warning = off;
SELECT queue.park(g, t, partition, "offset", 'error of ' || t, delay => '1 day') FROM (VALUES ('parks mine', 'mine'), ('parks secret', 'secret')) v (g, t), queue.consume_typed(g, t, NULL::text);
SELECT queue.set_failure_policy(g, t) FROM (VALUES ('parks mine', 'mine'), ('parks secret', 'secret')) v (g, t);
UPDATE queue.consumer_group SET owner = 'secret owner' WHERE name = 'reads secret';
-- Holds both topics and their producers.
BEGIN;
SELECT (queue.produce('mine', 'm', producer_id => 'of mine', sequence => 2)).duplicate,
       (queue.produce('secret', 'm', producer_id => 'of secret', sequence => 2)).duplicate;
SELECT count(*) FROM queue.consume_typed('reads mine', 'mine', NULL::text, 1);
SELECT count(*) FROM queue.consume_typed('reads secret', 'secret', NULL::text, 1);
PREPARE TRANSACTION 'holds both';

CREATE SCHEMA regress_queue_stranger AUTHORIZATION regress_queue_stranger;
SET ROLE regress_queue_stranger;
CREATE FUNCTION regress_queue_stranger.sees(what text) RETURNS boolean LANGUAGE plpgsql STABLE COST 0.0001 AS $$
BEGIN
	PERFORM set_config('regress_queue.seen', concat(current_setting('regress_queue.seen', true), what, E'\n'), false);
	RETURN true;
END $$;
-- Plans that look at each table by itself give it the most to see.
SET enable_nestloop = off;
SET jit = off;
SELECT topic FROM queue.topics WHERE regress_queue_stranger.sees(topic);
SELECT topic FROM queue.topics WHERE regress_queue_stranger.sees(owner);
SELECT count(*) > 0 AS any FROM queue.segments WHERE regress_queue_stranger.sees(topic) AND regress_queue_stranger.sees(segment::text);
SELECT topic FROM queue.partitions WHERE regress_queue_stranger.sees(topic);
SELECT topic, consumer_group FROM queue.consumer_groups WHERE regress_queue_stranger.sees(topic) AND regress_queue_stranger.sees(consumer_group) ORDER BY 2;
SELECT topic, producer_id FROM queue.producers WHERE regress_queue_stranger.sees(topic) AND regress_queue_stranger.sees(producer_id);
SELECT topic, producer_id FROM queue.producers WHERE regress_queue_stranger.sees(producer_id) AND regress_queue_stranger.sees(last_sequence::text);
SELECT topic, partition, producer_id FROM queue.blockers WHERE regress_queue_stranger.sees(topic) AND regress_queue_stranger.sees(producer_id) ORDER BY partition;
SELECT topic, partition, producer_id FROM queue.blockers WHERE regress_queue_stranger.sees(gid) AND regress_queue_stranger.sees(producer_id) ORDER BY partition;
SELECT topic, partition, consumer_group FROM queue.blockers WHERE regress_queue_stranger.sees(consumer_group) ORDER BY consumer_group, partition;
SELECT consumer_group, topic, metadata FROM queue.consumer_groups WHERE regress_queue_stranger.sees(metadata) AND regress_queue_stranger.sees(committed_by) ORDER BY 1;
SELECT consumer_group, topics FROM queue.group_summary WHERE regress_queue_stranger.sees(consumer_group) AND regress_queue_stranger.sees('topics: ' || topics) ORDER BY 1;
SELECT consumer_group, topics FROM queue.group_summary WHERE regress_queue_stranger.sees(owner::text) ORDER BY 1;
SELECT consumer_group, topic, metadata FROM queue.offset_history WHERE regress_queue_stranger.sees(topic) AND regress_queue_stranger.sees(consumer_group) AND regress_queue_stranger.sees(metadata) ORDER BY 1, generation;
SELECT consumer_group, topic, member FROM queue.members WHERE regress_queue_stranger.sees(member) AND regress_queue_stranger.sees(consumer_group);
SELECT consumer_group, error FROM queue.parked WHERE regress_queue_stranger.sees(error) AND regress_queue_stranger.sees(consumer_group);
SELECT consumer_group, topic FROM queue.failure_policies WHERE regress_queue_stranger.sees(consumer_group) AND regress_queue_stranger.sees(topic);
RESET enable_nestloop;
RESET jit;
SELECT DISTINCT regexp_replace(what, 'log_\d+_.*', 'a segment') AS seen FROM regexp_split_to_table(current_setting('regress_queue.seen'), E'\n') what WHERE what <> '' ORDER BY 1;
SELECT current_setting('regress_queue.seen') LIKE '%' || :'secret_log' || '\_%' AS a_segment_of_secret;
RESET ROLE;
SELECT topic FROM queue.topics WHERE regress_queue_stranger.sees(topic) ORDER BY 1;

ROLLBACK PREPARED 'holds both';
SELECT queue.drop_topic('mine'), queue.drop_topic('secret');
DELETE FROM queue.consumer_group WHERE name IN ('reads mine', 'reads secret', 'reads both', 'parks mine', 'parks secret');
DROP OWNED BY regress_queue_stranger CASCADE;
DROP ROLE regress_queue_stranger;
