# The promise: whatever is killed in mid-load, a backend or the whole server,
# after recovery nothing committed is lost and nothing is there twice, in the log
# and in what a consumer group received; offsets stay unique and ascending; and
# producing and consuming go on.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use QueueTest;

# A backend killed by signal 9 makes the postmaster start over. Recovery compares
# every page that it restores with what was written.
my $node = new_server(
	'crash', q{
restart_after_crash = on
wal_consistency_checking = all
});
my $topic = 'crash';

create_ledger($node, $topic, 'partitions => 4, segment_messages => 500');

# Start producers and consumers, and return when both have committed something.
sub load_in_full_swing
{
	my $before = $node->safe_psql('postgres', 'SELECT count(*) FROM consumed');
	my @load = map { start_load($node, $topic, $_, 4, forever()) } 'producer', 'consumer';

	$node->poll_query_until('postgres',
		"SELECT count(*) > $before + 500 FROM consumed")
	  or die 'the load does not get going';
	return @load;
}

# Wait for the clients to notice that their server is gone.
sub load_was_cut
{
	my ($when, @load) = @_;

	foreach my $load (@load)
	{
		ok(!finish_load($load), "$when: the $load->{kind}s were cut off");
	}
	return;
}

# The log agrees with the ledger now, and still does after more load.
sub all_is_well
{
	my ($when) = @_;

	check_ledger($node, $topic, $when, consumed => 0);
	my @load = map { start_load($node, $topic, $_, 4, '-t', 50) } 'producer', 'consumer';
	foreach my $load (@load)
	{
		ok(finish_load($load), "$when: the $load->{kind}s go on");
	}
	drain($node, $topic);
	check_ledger($node, $topic, "$when, going on");
	return;
}

# A backend, one of each kind.
foreach my $kind ('producer', 'consumer')
{
	my @load = load_in_full_swing();
	my $when = "$kind killed";
	my $pid = $node->safe_psql('postgres',
		"SELECT pid FROM pg_stat_activity
		WHERE application_name = '$kind' ORDER BY state LIMIT 1");

	ok(kill_backend($node, $pid), "$when: the server started over");
	load_was_cut($when, @load);
	all_is_well($when);
}

# The whole server: the postmaster, and every backend with it.
foreach my $round (1 .. 2)
{
	my @load = load_in_full_swing();
	my $when = "server killed, round $round";

	$node->kill9;
	load_was_cut($when, @load);

	# Backends need a moment to notice that their postmaster is gone.
	patiently(sub {
		return $node->start(fail_ok => 1) || $node->stop('fast', fail_ok => 1) && 0;
	}) or die 'the server does not start';
	all_is_well($when);
}

# The same through the front door: no checkpoint, recovery at the next start.
my @load = load_in_full_swing();
$node->stop('immediate');
load_was_cut('immediate stop', @load);
$node->start;
all_is_well('immediate stop');

$node->stop;
done_testing();
