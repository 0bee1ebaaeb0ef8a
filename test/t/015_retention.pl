# The promise: messages go when a topic's limits say so, and not before every
# group has had them: with a limit of a millisecond, and a server that is stopped
# in the middle of everything, each message is still consumed exactly once, while
# the number of segments stays small. What is left is whole, can be dumped and
# restored, and goes on where it was.
#
#   RETENTION_ROUNDS   how often it is stopped, 4 by default

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);
use QueueTest;

my $rounds = $ENV{RETENTION_ROUNDS} || 4;
my $messages = 5000;		# in each round

my $node = new_server('retention');
create_ledger($node, 'orders',
	"partitions => 2, segment_messages => 500, retention => '1 millisecond'");

# How many segments of the topic have messages.
sub segments
{
	return $node->safe_psql('postgres',
		q{SELECT count(*) FROM queue.segments WHERE topic = 'orders' AND messages > 0});
}

my $most = 0;
for my $round (1 .. $rounds)
{
	my @loads = map { start_load($node, 'orders', $_, 3, forever()) } 'producer', 'consumer';

	patiently(
		sub {
			my $n;

			$node->psql('postgres', 'CALL queue.maintain()');
			$n = segments();
			$most = $n if $n > $most;
			return $node->safe_psql('postgres',
				"SELECT least((SELECT count(*) FROM produced), (SELECT count(*) FROM consumed)) > $messages * $round") eq 't';
		}) or die "round $round: the load does not get on";
	# one more is under way
	my ($out, $err);
	my $maintain = IPC::Run::start(
		[
			'psql', '-Xq', '-d', $node->connstr('postgres'),
			map { ('-c', 'CALL queue.maintain()') } 1 .. 20
		],
		'<', \undef, '>', \$out, '2>', \$err);
	sleep(rand(0.05));
	$node->stop('immediate');
	$maintain->finish;
	finish_load($_) for @loads;
	$node->start;
}
drain($node, 'orders');
ok( patiently(
		sub {
			$node->safe_psql('postgres', 'CALL queue.maintain()');
			return segments() <= 4;
		}),
	'only segments in use are left');

my $produced = $node->safe_psql('postgres', 'SELECT count(*) FROM produced');
note("$produced messages");
is( $node->safe_psql(
		'postgres', q{
		SELECT (SELECT count(*) FROM (SELECT producer, seq FROM produced
				EXCEPT SELECT producer, seq FROM consumed) lost),
			(SELECT count(*) FROM (SELECT producer, seq FROM consumed
				EXCEPT SELECT producer, seq FROM produced) strange),
			count(*) - count(DISTINCT (producer, seq)) AS twice
		FROM consumed}),
	'0|0|0', 'each message was consumed exactly once');
cmp_ok($produced / 500 - segments(), '>', $rounds, 'segments went');
note("at most $most segments");
check_log($node, 'orders', 'after retention');
is( $node->safe_psql(
		'postgres', q{
		SELECT count(*) FROM queue.segments s JOIN queue.partitions p USING (topic, partition)
		 WHERE s.end_offset <= p.log_start}),
	0, 'what was removed is dropped');

# Dumped, restored, continued. Some segments have been emptied, and not dropped yet.
my $emptied = q{
	SELECT count(*) FROM pg_inherits i JOIN queue.topic t ON i.inhparent = t.log
		LEFT JOIN queue.segments s ON s.segment = i.inhrelid
	 WHERE t.name = 'orders' AND s.segment IS NULL;
};
my $log_end = $node->safe_psql(
	'postgres', q{
	SELECT last_offset + 1 FROM queue.produce_batch('orders',
		ARRAY(SELECT jsonb_build_object('producer', 0, 'seq', g) FROM generate_series(1, 1200) g),
		partition => 0)});
drain($node, 'orders');
$node->safe_psql('postgres',
	"SELECT queue.delete_messages('orders', 0, $log_end)");
cmp_ok($node->safe_psql('postgres', $emptied), '>', 0, 'segments are emptied');
my $state = q{
	SELECT partition, log_start FROM queue.partitions WHERE topic = 'orders' ORDER BY 1;
	SELECT partition, current_offset FROM queue.consumer_groups WHERE topic = 'orders' ORDER BY 1;
	SELECT partition, min("offset"), max("offset"), count(*) FROM topic.orders GROUP BY 1 ORDER BY 1;
};
my $before = $node->safe_psql('postgres', $state);
my $dump = PostgreSQL::Test::Utils::tempdir() . '/dump';
$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->command_ok([ 'pg_dump', '-Fc', '-f', $dump, '-d', $node->connstr('postgres') ], 'dumped');
$node->command_ok([ 'pg_restore', '-d', $node->connstr('restored'), $dump ], 'restored');
is($node->safe_psql('restored', $state), $before, 'the same log, from the same start');
is( $node->safe_psql(
		'restored', q{
		SELECT r."offset" = (SELECT log_end FROM queue.partitions WHERE topic = 'orders' AND partition = 0) - 1
		  FROM queue.produce('orders', '{"producer": 1, "seq": 1}', partition => 0) r;
		SELECT count(*) FROM queue.consume('ledger', 'orders', partitions => ARRAY[0])}),
	"t\n1", 'and it goes on');
ok( patiently(
		sub {
			$node->safe_psql('restored', 'CALL queue.maintain()');
			return $node->safe_psql('restored', $emptied) == 0;
		}),
	'also with dropping');
is($node->safe_psql('restored', q{SELECT log_end FROM queue.partitions WHERE topic = 'orders' AND partition = 0}),
	$log_end + 1, 'the log end went on');
check_log($node, 'orders', 'restored', 'restored');

done_testing();
