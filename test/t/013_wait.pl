# The promise: a session that waits in CALL queue.wait() holds nothing back, is
# woken by the commit that brings it something, and ends at once when it is
# cancelled or the server goes down; so do two hundred of them; nothing that ends
# badly costs the others their wake-ups.  On a standby it is woken by looking.
# NOTIFY is sent for the topics that want it.
#
# queue.recheck_interval is an hour: no waiter finds anything by looking again.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use QueueTest;

my $node = new_server(
	'waiting', "
queue.recheck_interval = '1h'
max_connections = 250
autovacuum = off",
	allows_streaming => 1);

my $count_asleep = q{SELECT count(*) FROM pg_stat_activity
	WHERE query LIKE 'CALL queue.wait%' AND wait_event_type = 'Extension'};

# Wait until so many sessions sleep.
sub asleep
{
	my ($count, $server) = @_;

	$server //= $node;
	$server->poll_query_until('postgres', $count_asleep, $count)
	  or die "not $count asleep";
	return;
}

# A session of psql; wait_for() lets it wait and returns at once, woken() once it
# is done, with what it wrote.
sub session
{
	my ($server) = @_;

	return open_session($server // $node, on_error_stop => 0);
}

sub wait_for
{
	my ($session, $arguments) = @_;
	my $procedure = $arguments =~ /ARRAY/ ? 'wait_topics' : 'wait';

	$session->{timeout}->start;
	$session->{stdin} .= "CALL queue.$procedure($arguments, timeout => NULL);\n\\echo woken\n";
	$session->{run}->pump_nb;
	return;
}

sub woken
{
	my ($session) = @_;

	$session->{timeout}->start;
	patiently(
		sub {
			return 1
			  if $session->{stdout} =~ /^woken$/m || !$session->{run}->pumpable;
			$session->{run}->pump_nb;
			return 0;
		},
		0.01);
	my $told = $session->{stdout} =~ s/^woken\n//m;
	my $errors = $session->{stderr};
	$session->{stderr} = '';
	return $told ? $errors : "gone: $errors";
}

sub produce
{
	my ($topic) = @_;

	$node->safe_psql('postgres', "SELECT FROM queue.produce('$topic', '1')");
	return;
}

$node->safe_psql(
	'postgres', q{
	SELECT queue.create_topic('t' || i) FROM generate_series(1, 64) i;
	SELECT queue.create_group('g' || g, 't' || i)
	  FROM generate_series(1, 64) i, generate_series(1, 5) g;
	CREATE TABLE rows AS SELECT i FROM generate_series(1, 1000) i});

# It holds nothing back.
my $waiter = session();
wait_for($waiter, q{'g1', 't1'});
asleep(1);
is( $node->safe_psql('postgres',
		q{SELECT backend_xmin IS NULL, backend_xid IS NULL FROM pg_stat_activity
		WHERE query LIKE 'CALL queue.wait%'}),
	't|t',
	'a waiter has no snapshot and no transaction id');
$node->safe_psql('postgres', 'DELETE FROM rows');
my ($ret, $out, $err) = $node->psql('postgres', 'VACUUM (VERBOSE) rows');
like($err, qr/1000 removed, 0 remain, 0 are dead but not yet removable/,
	'VACUUM removes what was deleted meanwhile');
is($node->safe_psql('postgres',
	q{SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid)
		WHERE a.query LIKE 'CALL queue.wait%' AND l.locktype <> 'virtualxid'}),
	'0', 'it has no locks');
produce('t2');
asleep(1);
produce('t1');
is(woken($waiter), '', 'a commit wakes it');

# A prepared transaction cannot wake it. Nor does a timer of the server's, however
# often one goes off: else nothing here would tell whether it was woken.
$node->safe_psql('postgres', q{SELECT count(*) FROM queue.consume('g1', 't1')});
$node->safe_psql('postgres',
	q{BEGIN; SELECT FROM queue.produce('t1', '1'); PREPARE TRANSACTION 'quiet'});
wait_for($waiter, q{'g1', 't1'});
asleep(1);
$node->safe_psql('postgres', q{COMMIT PREPARED 'quiet'});
kill 'ALRM', $node->safe_psql('postgres', q{SELECT pid FROM pg_stat_activity
	WHERE query LIKE 'CALL queue.wait%' AND wait_event_type = 'Extension'});
asleep(1);
pass('a timer does not wake it');
produce('t1');
is(woken($waiter), '', 'the next commit does');

# Ended from outside: at once, and without a trace.  There are 1,024 entries;
# these use 2,560 and more.
my $all = 'ARRAY[' . join(', ', map { "'t$_'" } 1 .. 64) . ']';
$node->safe_psql('postgres',
	q{SELECT count(*) FROM generate_series(1, 2) i, LATERAL queue.consume('g1', 't' || i) c});
for my $round (1 .. 20)
{
	wait_for($waiter, "'g1', $all");
	asleep(1);
	$node->safe_psql('postgres', q{SELECT pg_cancel_backend(pid)
		FROM pg_stat_activity WHERE query LIKE 'CALL queue.wait%' AND state = 'active'});
	my $errors = woken($waiter);
	die "round $round: $errors"
	  if $errors !~ /canceling statement due to user request/;
}
pass('a wait can be cancelled');
for my $round (1 .. 20)
{
	my $session = session();
	wait_for($session, "'g1', $all");
	asleep(1);
	$node->safe_psql('postgres', q{SELECT pg_terminate_backend(pid, 60000)
		FROM pg_stat_activity WHERE query LIKE 'CALL queue.wait%' AND state = 'active'});
	my $errors = woken($session);
	die "round $round: $errors"
	  if $errors !~ /terminating connection due to administrator command/;
	$session->{run}->finish;
}
pass('a session that waits can be terminated');
$waiter->{stdin} .= "SET statement_timeout = '10ms';\n";
wait_for($waiter, "'g1', $all");
like(woken($waiter), qr/canceling statement due to statement timeout/,
	'statement_timeout ends it');
$waiter->{stdin} .= "RESET statement_timeout;\n";
wait_for($waiter, "'g1', $all");
asleep(1);
produce('t64');
is(woken($waiter), '', 'after all that the entries are still there');
$node->safe_psql('postgres', q{SELECT count(*) FROM queue.consume('g1', 't64')});

# A waiter that is cancelled or terminated after it was told and before it has looked
# passes it on.
my @pair = (session(), session());
my $first = $pair[0]->query('SELECT pg_backend_pid()');
foreach my $way ('cancel', 'terminate')
{
	wait_for($pair[0], q{'g1', 't1'});
	asleep(1);
	wait_for($pair[1], q{'g1', 't1'});
	asleep(2);
	kill('STOP', $first) or die;
	produce('t1');
	$node->safe_psql('postgres', "SELECT pg_${way}_backend($first)");
	kill('CONT', $first) or die;
	isnt(woken($pair[0]), '', "${way}: the waiter that was told first is gone");
	is(woken($pair[1]), '', 'and the other one is told');
	$node->safe_psql('postgres', q{SELECT count(*) FROM queue.consume('g1', 't1')});
}
$pair[0]->{run}->finish;
$pair[1]->quit;

# Many of them.
my @many;
for my $i (0 .. 199)
{
	my $session = session();
	wait_for($session,
		sprintf("'g%d', 't%d'", 2 + $i % 4, 11 + int($i / 4)));
	push @many, $session;
}
asleep(200);
$node->safe_psql('postgres',
	q{SELECT FROM generate_series(11, 60) i, LATERAL queue.produce('t' || i, '1') p});
is(scalar(grep { woken($_) eq '' } @many), 200, '200 waiters are woken');

# More than there are entries for: 20 sessions with 64 topics each.  The last ones
# have to look.
$node->safe_psql('postgres',
	q{SELECT queue.reset_offsets('g5', 't' || i, to_latest => true) FROM generate_series(1, 64) i});
for my $session (@many[0 .. 19])
{
	$session->{stdin} .= "SET queue.recheck_interval = '100ms';\n";
	wait_for($session, "'g5', $all");
}
$node->poll_query_until('postgres', q{SELECT count(*) = 20 FROM pg_stat_activity
	WHERE query LIKE 'CALL queue.wait%' AND state = 'active'});
$node->safe_psql('postgres', q{SELECT FROM generate_series(1, 20) i, LATERAL queue.produce('t64', '1') p});
is(scalar(grep { woken($_) eq '' } @many[0 .. 19]),
	20, 'a waiter that finds no entry looks');
$_->quit for @many;

# NOTIFY, for the topics that want it.
$node->safe_psql('postgres', q{SELECT queue.create_topic('loud', notify => true)});
my $listener = session();
$listener->query('LISTEN loud; LISTEN t1');
$node->safe_psql('postgres', $_)
  for (
	q{SELECT FROM queue.produce('loud', '1'), queue.produce_batch('loud', ARRAY['2', '3'])},
	q{BEGIN; SELECT FROM queue.produce('loud', '4'); ROLLBACK},
	q{SELECT FROM queue.produce('t1', '1')},
	q{INSERT INTO topic.loud (value) VALUES ('5')},
	q{SELECT queue.alter_topic('loud', notify => false)},
	q{SELECT FROM queue.produce('loud', '6')});
my $notified = $listener->query('SELECT 1');
is( join(' ', $notified =~ /notification "(\w+)" received/g),
	'loud loud',
	'a client that listens is told of each commit, without payload');
$listener->quit;

# On a standby.
$node->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'backup', has_streaming => 1);
$standby->start;
my $reader = session($standby);
$reader->{stdin} .= "SET queue.recheck_interval = '100ms';\n";
wait_for($reader, q{'readers', ARRAY['loud', 'fresh']});
like(woken($reader), qr/topic "fresh" does not exist/, 'a topic must exist here, too');
$node->safe_psql('postgres', q{SELECT queue.create_topic('fresh')});
$node->wait_for_catchup($standby);
wait_for($reader, q{'readers', 'fresh'});
asleep(1, $standby);
produce('fresh');
is(woken($reader), '', 'on a standby a wait ends when the message has arrived');
is($standby->safe_psql('postgres', q{SELECT value FROM queue.fetch('fresh', 0, 0)}),
	'1', 'and fetch reads it');
$node->safe_psql('postgres', q{SELECT queue.create_topic('promoted')});
$node->wait_for_catchup($standby);
wait_for($reader, q{'readers', 'promoted'});
asleep(1, $standby);
$standby->promote;
asleep(1, $standby);
$standby->safe_psql('postgres', q{SELECT FROM queue.produce('promoted', '1')});
is(woken($reader), '', 'it goes on when the standby is promoted');
$reader->quit;
$standby->stop;

# The postmaster dies.
wait_for($waiter, q{'g1', 't10'});
asleep(1);
my $pid = $node->safe_psql('postgres', q{SELECT pid FROM pg_stat_activity
	WHERE query LIKE 'CALL queue.wait%' AND state = 'active'});
$node->kill9;
ok(patiently(sub { !kill(0, $pid) }), 'a waiter ends with the postmaster');
$waiter->{run}->finish;

done_testing();
