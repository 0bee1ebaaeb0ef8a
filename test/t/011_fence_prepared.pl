# The promise: queue.fence_producer(terminate => true) gives up after
# lock_timeout while a prepared transaction, which it cannot end, has the
# producer; and left waiting, it ends the session that gets the producer before it, also
# an old instance that had queued up behind the prepared transaction.

use strict;
use warnings;

use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use QueueTest;

my $node = new_server('fence_prepared');

# start(NAME, SQL...): psql in the background, with that application_name.
sub start
{
	my ($name, @sql) = @_;
	my %session = (out => '', err => '');

	$session{run} = IPC::Run::start(
		[
			'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-v', 'VERBOSITY=verbose',
			(map { ('-c', $_) } @sql), $node->connstr('postgres') . " application_name=$name"
		],
		'<', \undef, '>', \$session{out}, '2>', \$session{err});
	return \%session;
}

# finish(SESSION): its exit status.
sub finish
{
	my ($session) = @_;

	$session->{run}->finish;
	return $session->{run}->result(0);
}

# Wait until the session of that name does what is said of pg_stat_activity.
sub wait_until
{
	my ($name, $condition) = @_;

	$node->poll_query_until('postgres',
		"SELECT count(*) = 1 FROM pg_stat_activity WHERE application_name = '$name' AND $condition")
	  or die "$name never: $condition";
}

$node->safe_psql(
	'postgres', q{
	SELECT queue.create_topic('orders');
	BEGIN;
	SELECT queue.produce('orders', '1', producer_id => 'app', sequence => 1);
	PREPARE TRANSACTION 'app'});

# What would wait for ever fails instead.
my $patience = $PostgreSQL::Test::Utils::timeout_default;
my $guard = 'SET statement_timeout = ' . int(1000 * $patience / 3);
my $fence = "SELECT queue.fence_producer('orders', 'app', terminate => true)";

is(sqlstate($node, 'postgres', "$guard; SET lock_timeout = 50; $fence"),
	'55P03', 'a prepared transaction is waited for, no longer than lock_timeout');
is( $node->safe_psql('postgres', 'SELECT count(*) FROM pg_prepared_xacts'),
	1, 'it is still there');

# The zombie waits for the lock, the fence for both.
my $zombie = start('zombie', 'BEGIN',
	q{SELECT queue.produce('orders', '2', producer_id => 'app', sequence => 2)},
	"SELECT pg_sleep($patience)",
	'COMMIT');
wait_until('zombie', q{wait_event_type = 'Lock'});
my $taker = start('taker', $guard, $fence);
wait_until('taker', q{wait_event IN ('Extension', 'advisory')});

is(sqlstate($node, 'postgres', "$guard; SET lock_timeout = 50; $fence"),
	'55P03', 'the same with others waiting');
$node->safe_psql('postgres', q{COMMIT PREPARED 'app'});
is(finish($taker), 0, 'the fence comes to its end: ' . $taker->{err});
is($taker->{out}, "1\n", 'with a new epoch');
isnt(finish($zombie), 0, 'the one that had waited has been ended');
like($zombie->{err}, qr/57P01/, 'as an administrator does it');

is( $node->safe_psql('postgres',
		q{SELECT epoch, last_sequence FROM queue.producer_state('orders', 'app')}),
	'1|1', 'what was prepared counts, what waited does not');
is( sqlstate(
		$node, 'postgres',
		q{SELECT queue.produce('orders', '2', producer_id => 'app', sequence => 2)}),
	'QU003', 'the old epoch is over');
is( $node->safe_psql('postgres',
		q{SELECT duplicate FROM queue.produce('orders', '2', producer_id => 'app', sequence => 2, epoch => 1)}),
	'f', 'and the new one goes on');

done_testing();
