# The promise: a server that is killed at any moment of compaction loses no
# latest message of a key: after recovery a segment is either as it was or
# compacted, never a mixture; what the log holds lies where it was produced; no
# deleted key comes back; a tombstone stays until every group has had it; and
# producing, consuming and compaction go on.
#
# Segments are so small that rolls and compaction are under way all the time: two
# sessions and the worker do maintenance without a pause, while messages of few
# keys are produced and consumed. Some keys are written once, in the beginning. All
# processes are killed at once.
#
#   KILLS   how often, 15 by default

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);
use QueueTest;

my $kills = $ENV{KILLS} || 15;
my $node = new_server(
	'compaction', q{
queue.maintenance_interval = 1
queue.compaction_min_dirty_ratio = 0.1
});

# The ledger: what was produced, and where; what was received, in that order.
$node->safe_psql(
	'postgres', q{
	SELECT queue.create_topic('keyed', partitions => 2, segment_messages => 100,
		cleanup_policy => 'compact', tombstone_retention => '1 millisecond');
	SELECT queue.create_group('ledger', 'keyed');
	CREATE TABLE entered (
		partition int NOT NULL,
		"offset" bigint NOT NULL,
		key text NOT NULL,
		value jsonb,
		PRIMARY KEY (partition, "offset"));
	CREATE TABLE received (LIKE entered, id bigserial);

	-- what a key's latest message is, and where
	CREATE VIEW latest AS
		SELECT DISTINCT ON (partition, key) * FROM entered
		ORDER BY partition, key, "offset" DESC;
	CREATE VIEW log AS
		SELECT partition, "offset", key, value FROM topic.keyed;
	-- the segment in use
	CREATE VIEW active AS
		SELECT partition, max(first_offset) AS first_offset FROM queue.segments
		WHERE topic = 'keyed' AND messages > 0 GROUP BY partition;

	INSERT INTO entered
		SELECT r.partition, r."offset", 'cold-' || i, to_jsonb(i)
		FROM generate_series(1, 50) i,
			queue.produce('keyed', to_jsonb(i), key => 'cold-' || i) r;
});

# A message by its key, to whichever partition that goes; and a batch to a
# partition, so that keys are in both. One in ten is a tombstone. Other producers'
# messages may lie among those of a batch, so it is looked up by its header.
my %produce = (
	single => q{\set key random(1, 1500)
\set n random(1, 1000000000)
\set size random(0, 20)
BEGIN;
WITH new AS MATERIALIZED (
  SELECT CASE WHEN :n % 10 > 0 THEN
    jsonb_build_object('n', :n, 'pad', repeat(md5(:n::text), :size)) END AS value)
INSERT INTO entered
  SELECT r.partition, r."offset", 'key-' || :key, new.value
  FROM new, queue.produce('keyed', new.value, key => 'key-' || :key) r;
\if :n % 7 = 0
ROLLBACK;
\else
COMMIT;
\endif
},
	batch => q{\set p random(0, 1)
\set n random(1, 1000000000)
\set size random(0, 10)
BEGIN;
SELECT first_offset AS first, last_offset AS last FROM queue.produce_batch('keyed',
  ARRAY(SELECT CASE WHEN (:n + i) % 10 > 0 THEN
      jsonb_build_object('n', :n, 'i', i, 'pad', repeat(md5(i::text), :size)) END
    FROM generate_series(1, 30) i ORDER BY i),
  keys => ARRAY(SELECT 'key-' || (:n::bigint * i) % 61 FROM generate_series(1, 30) i ORDER BY i),
  headers => array_fill(jsonb_build_object('n', :n), ARRAY[30]), partition => :p) \gset
INSERT INTO entered SELECT partition, "offset", key, value FROM topic.keyed
  WHERE partition = :p AND "offset" BETWEEN :first AND :last AND headers = jsonb_build_object('n', :n);
\if :n % 7 = 0
ROLLBACK;
\else
COMMIT;
\endif
});
my $consume = q{INSERT INTO received
  SELECT m.partition, m."offset", m.key, m.value
  FROM queue.consume('ledger', 'keyed', max_messages => 100) m;
};
my %consume = (consume => qq{\\set dice random(1, 5)
BEGIN;
$consume\\if :dice = 1
ROLLBACK;
\\else
COMMIT;
\\endif
});
my %maintain = (maintain => "CALL queue.maintain('keyed');\n");

# Holds at any time, also when the group has yet to read something.
sub check_compacted
{
	my ($when) = @_;

	check_log($node, 'keyed', $when);
	none($node, "$when: what is in the log was produced there",
		'SELECT * FROM log EXCEPT ALL SELECT * FROM entered');
	none($node, "$when: the latest message of each key is there, if it is no tombstone",
		'SELECT * FROM latest WHERE value IS NOT NULL EXCEPT ALL SELECT * FROM log');
	none($node, "$when: a key whose tombstone is gone does not come back",
		q{SELECT FROM latest l WHERE value IS NULL
			AND NOT EXISTS (SELECT FROM log m
				WHERE (m.partition, m."offset") = (l.partition, l."offset"))
			AND EXISTS (SELECT FROM log m
				WHERE (m.partition, m.key) = (l.partition, l.key))});
	none($node, "$when: no tombstone goes before the group has had it",
		q{SELECT l.* FROM latest l JOIN queue.consumer_groups g USING (partition)
			WHERE g.topic = 'keyed' AND l."offset" >= g.current_offset
			EXCEPT ALL SELECT * FROM log});
	none($node, "$when: the segment in use is as it was written",
		q{SELECT e.* FROM entered e JOIN active a USING (partition)
			WHERE e."offset" >= a.first_offset EXCEPT ALL SELECT * FROM log});
	none($node, "$when: what was received was produced",
		'SELECT partition, "offset", key, value FROM received
			EXCEPT ALL SELECT * FROM entered');
	none($node, "$when: every partition was received in the order of its offsets, nothing twice",
		q{SELECT FROM (
				SELECT "offset", lag("offset") OVER (
					PARTITION BY partition ORDER BY id) AS before
				FROM received) x
			WHERE "offset" <= before});
	return;
}

my $received = 'SELECT coalesce(max(id), 0) FROM received';
my $sealed = 'SELECT sum(first_offset) FROM active';
for my $kill (1 .. $kills)
{
	my $before = $node->safe_psql('postgres',
		"SELECT ($received), ($sealed) FROM queue.start_maintenance()");
	my @loads = (
		start_pgbench($node, 'producer', \%produce, '-c', 2, '-R', 60, forever()),
		start_pgbench($node, 'consumer', \%consume, '-c', 2, '-R', 5, forever()),
		start_pgbench($node, 'maintainer', \%maintain, '-c', 2, forever()));

	$before =~ s/\|/ AND ($sealed) > /;
	$node->poll_query_until('postgres', "SELECT ($received) > $before")
	  or die "kill $kill: the load does not get going";
	sleep rand 0.6;
	kill_server($node);
	finish_load($_) and fail("kill $kill: the $_->{kind}s were not cut off") foreach @loads;
	$node->start;
	check_compacted("kill $kill") if $kill % 5 == 0;
}

# To the end, and then compacted once more: the tombstones of sealed segments go,
# in the second pass at the latest, since a millisecond is over.
$node->safe_psql(
	'postgres', qq{
	DO \$\$
	DECLARE
		n bigint;
	BEGIN
		LOOP
			$consume
			GET DIAGNOSTICS n = ROW_COUNT;
			COMMIT;
			EXIT WHEN n = 0;
		END LOOP;
	END \$\$});
check_compacted('in the end');
none($node, 'the latest message of each key was received, tombstones, too',
	'SELECT * FROM latest EXCEPT ALL SELECT partition, "offset", key, value FROM received');

my ($entered, $left, $tombstones) = split /\|/, $node->safe_psql(
	'postgres', q{
	SELECT (SELECT count(*) FROM entered), (SELECT count(*) FROM log),
		(SELECT count(*) FROM entered WHERE value IS NULL)});
note("$entered messages, $tombstones of them tombstones; $left are left");
cmp_ok($left, '<', $entered / 2, 'messages were compacted away');

# The log goes on behind its end.
is( $node->safe_psql(
		'postgres', q{
		SELECT r."offset" = p.log_end
		FROM (SELECT log_end FROM queue.partitions WHERE topic = 'keyed' AND partition = 0) p,
			queue.produce('keyed', '"new"', key => 'key-1', partition => 0) r}),
	't', 'the log end is where it was');
is( $node->safe_psql('postgres',
		q{SELECT value FROM queue.consume('ledger', 'keyed', max_messages => 100)}),
	'"new"', 'and the group goes on from there');

$node->stop;
done_testing();
