# The promise: a session that waits for messages ends when its client is gone, without
# a message that wakes it, and leaves messages and wake-ups to other consumers.
#
# queue.recheck_interval is an hour: no waiter finds anything by looking again.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use QueueTest;

my $node = new_server(
	'client_gone', "
queue.recheck_interval = '1h'
autovacuum = off");
my $asleep = q{SELECT count(*) FROM pg_stat_activity
	WHERE wait_event_type = 'Extension' AND state = 'active'};

# The calls that wait.
my %calls = (
	wait => q{CALL queue.wait('g', 't', timeout => NULL)},
	wait_topics => q{CALL queue.wait_topics('g', ARRAY['t'], timeout => NULL)},
	consume => q{SELECT count(*) FROM queue.consume('g', 't', max_wait => '1 day')},
	poll => q{SELECT count(*) FROM queue.poll('g', 't', 'member', max_wait => '1 day',
		lease => '1 day')});

# A session that waits; returns it and the process id of its backend.
sub waiting
{
	my ($call, $before) = @_;
	my $session = open_session($node, on_error_stop => 0);
	my $pid = $session->query('SELECT pg_backend_pid()');

	$session->{timeout}->start;
	$session->{stdin} .= "$call;\n\\echo woken\n";
	$session->{run}->pump_nb;
	$node->poll_query_until('postgres', $asleep, $before + 1) or die 'not asleep';
	return ($session, $pid);
}

# Kill a session's client, so that the operating system closes its connection.
sub kill_client
{
	my ($session) = @_;

	kill('KILL', $session->{run}{KIDS}[0]{PID}) or die "no client: $!";
	eval { $session->{run}->finish };
	return;
}

sub woken
{
	my ($session) = @_;

	$session->{timeout}->start;
	return patiently(
		sub {
			return 1 if $session->{stdout} =~ /^woken$/m;
			$session->{run}->pump_nb if $session->{run}->pumpable;
			return 0;
		},
		0.01);
}

# No message is left; a member has joined before it waits.
sub nothing_left
{
	my ($name) = @_;

	$node->safe_psql('postgres', q{SELECT count(*) FROM queue.consume('g', 't')});
	$node->safe_psql('postgres',
		q{SELECT count(*) FROM queue.poll('g', 't', 'member', lease => '1 day')})
	  if $name eq 'poll';
	return;
}

sub gone
{
	my ($pid) = @_;

	return patiently(sub { !kill(0, $pid) });
}

$node->safe_psql(
	'postgres', q{
	SELECT queue.create_topic('t');
	SELECT queue.create_group('g', 't')});

foreach my $name (sort keys %calls)
{
	nothing_left($name);

	# Its client is killed while it sleeps.
	my ($dead, $pid) = waiting($calls{$name}, 0);
	kill_client($dead);
	ok(gone($pid), "$name: the backend ends though nothing arrives");

	# Its client is killed, and a message arrives, before it can notice the one or
	# the other: it was told, being the first, and the message is for the second.
	($dead, $pid) = waiting($calls{$name}, 0);
	my ($alive) = waiting($calls{wait}, 1);
	kill('STOP', $pid) or die;
	kill_client($dead);
	$node->safe_psql('postgres', q{SELECT FROM queue.produce('t', '1')});
	kill('CONT', $pid) or die;
	ok(woken($alive), "$name: another waiter gets the wake-up");
	ok(gone($pid), "$name: and the backend ends");
	$alive->quit;
	is($node->safe_psql('postgres', q{SELECT value FROM queue.consume('g', 't')}),
		'1', "$name: and has taken no message");
}
like(slurp_file($node->logfile), qr/FATAL:  connection to client lost/,
	'the log tells why');

# A connection that is closed in mid-sleep is noticed also where nothing waits behind
# it, in a transaction block: its messages are free.
nothing_left('consume');
$node->safe_psql('postgres', q{SELECT FROM queue.produce('t', '2')});
my $holder = open_session($node, on_error_stop => 0);
my $held_by = $holder->query('SELECT pg_backend_pid()');
$holder->query(q{BEGIN; SELECT value FROM queue.consume('g', 't', max_messages => 1)});
$holder->{stdin} .= "$calls{consume};\n";
$holder->{run}->pump_nb;
$node->poll_query_until('postgres', $asleep, 1) or die 'not asleep';
kill_client($holder);
ok(gone($held_by), 'a transaction that waits for more ends, too');
is($node->safe_psql('postgres', q{SELECT value FROM queue.consume('g', 't')}),
	'2', 'and what it had consumed is free');

$node->stop;
done_testing();
