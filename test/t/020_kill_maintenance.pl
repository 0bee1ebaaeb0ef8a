# The promise: a server that is killed at any moment while a segment is begun or
# segments are removed loses nothing: after recovery the log has every message but
# those that were consumed and removed, each is consumed exactly once and in order,
# and producing, consuming and maintenance go on.
#
# Segments are so small that rolls, drops and new segments are under way all the
# time: two sessions and the worker do maintenance without a pause, while messages
# are produced and consumed. All processes are killed at once.
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
my $topic = 'kills';
my %maintain = (maintain => "CALL queue.maintain('$topic');\n");

my $node = new_server('kills', "queue.maintenance_interval = 1\n");
create_ledger($node, $topic,
	"partitions => 2, segment_messages => 100, retention => '1 millisecond'");

my $consumed = 'SELECT coalesce(max(id), 0) FROM consumed';
my $done = 'SELECT count(*) FROM queue.maintenance_log';
my @log_start = (0, 0);
for my $kill (1 .. $kills)
{
	my $before = $node->safe_psql('postgres',
		"SELECT ($consumed), ($done) FROM queue.start_maintenance()");
	my @loads = (
		start_load($node, $topic, 'producer', 2, forever()),
		start_load($node, $topic, 'consumer', 2, forever()),
		start_pgbench($node, 'maintainer', \%maintain, '-c', 2, forever()));

	$before =~ s/\|/ AND ($done) > /;
	$node->poll_query_until('postgres', "SELECT ($consumed) > $before")
	  or die "kill $kill: the load does not get going";
	sleep rand 0.6;
	kill_server($node);
	finish_load($_) and fail("kill $kill: the $_->{kind}s were not cut off") foreach @loads;
	$node->start;

	my @now = split /\n/, $node->safe_psql('postgres',
		"SELECT log_start FROM queue.partitions WHERE topic = '$topic' ORDER BY partition");
	cmp_ok($now[$_], '>=', $log_start[$_], "kill $kill: log start of partition $_")
	  foreach 0, 1;
	@log_start = @now;
	check_retained($node, $topic, "kill $kill") if $kill % 5 == 0;
}

drain($node, $topic);
$node->safe_psql('postgres', "CALL queue.maintain('$topic')");
check_retained($node, $topic, 'in the end', drained => 1);
note($node->safe_psql('postgres', 'SELECT count(*) FROM produced') . ' messages');

my %items = map { split /\|/ } split /\n/, $node->safe_psql('postgres',
	'SELECT action, sum(items) FROM queue.maintenance_log GROUP BY action');
note("$_: $items{$_}") foreach sort keys %items;
cmp_ok($items{$_} // 0, '>', $kills, "there were: $_")
  foreach 'segments removed', 'segments dropped';
is( $node->safe_psql(
		'postgres', qq{
		SELECT count(*) FROM pg_inherits i JOIN queue.topic t ON i.inhparent = t.log
			LEFT JOIN queue.segments s ON s.segment = i.inhrelid
		 WHERE t.name = '$topic' AND (s.segment IS NULL OR s.messages > 100)}),
	0, 'no emptied table is left behind');

$node->stop;
done_testing();
