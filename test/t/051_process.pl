# The promise: whatever ends a session that processes a subscription, in the middle of
# a handler or between two of them, each message has its effect once: the row that the
# handler inserts, and the message that it produces. And a session that processes
# neither delays the end of the server nor goes on after it was canceled.
#
# One of 40 messages fails at first, and the partition waits for it. Four sessions process; they are killed, terminated and canceled, and the server is
# stopped, while a producer goes on.
#
#   PROCESS_DEEDS   how much is done to them, 20 by default

use strict;
use warnings;

use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);
use QueueTest;

my $wanted = $ENV{PROCESS_DEEDS} || 20;
my $node = new_server('process', "restart_after_crash = on\nautovacuum = off\n");
my @sessions;

$node->safe_psql(
	'postgres', q{
	SELECT queue.create_topic('jobs', partitions => 4, segment_messages => 1000);
	SELECT queue.create_topic('results');
	CREATE TABLE done (partition int, "offset" bigint);
	CREATE FUNCTION handle(m queue.message) RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO done VALUES (m.partition, m."offset");
		IF m.attempt = 1 AND m."offset" % 40 = 7 THEN
			RAISE 'not at first';
		END IF;
		PERFORM pg_sleep(0.005);
		PERFORM queue.produce('results', m.value, producer_id => 'partition ' || m.partition,
			sequence => m."offset" + 1);
	END $$;
	SELECT queue.subscribe('work', 'jobs', 'handle(queue.message)', batch => 20);
	SELECT queue.set_failure_policy('work', 'jobs', backoff => '10 ms', hold => 'partition');
	CREATE PROCEDURE produce(n int) LANGUAGE plpgsql AS $$
	BEGIN
		FOR p IN 0..3 LOOP
			PERFORM queue.produce_batch('jobs', ARRAY(SELECT to_jsonb(i) FROM generate_series(1, n) i), partition => p);
			COMMIT;
		END LOOP;
	END $$;
});

# Start those of the sessions that have ended, each with files of its own: a server
# that the test starts meanwhile must not keep their pipes open. They wait for
# messages for ever.
sub start_sessions
{
	foreach my $n (0 .. 3)
	{
		next if $sessions[$n] && waitpid($sessions[$n], POSIX::WNOHANG()) == 0;
		my $pid = fork() // die "cannot fork: $!";

		if ($pid == 0)
		{
			open(STDIN, '<', '/dev/null');
			open(STDOUT, '>', '/dev/null');
			open(STDERR, '>', '/dev/null');
			exec 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c',
				q{SET application_name = 'process'},
				'-c', q{CALL queue.process('work', 'jobs', max_wait => '1 day')};
			die "cannot start psql: $!";
		}
		$sessions[$n] = $pid;
	}
	return;
}

# The backend of a session that processes, in the handler if there is one.
sub backend
{
	my $pid = $node->safe_psql('postgres',
		q{SELECT pid FROM pg_stat_activity WHERE application_name = 'process'
			ORDER BY wait_event = 'PgSleep' DESC NULLS LAST, random() LIMIT 1});

	return $pid eq '' ? undef : $pid;
}

my %deeds = (
	kill => sub {
		my $pid = backend();
		return defined $pid && kill_backend($node, $pid);
	},
	terminate => sub {
		my $pid = backend();
		return defined $pid && $node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)") eq 't';
	},
	cancel => sub {
		my $pid = backend();
		return defined $pid && $node->safe_psql('postgres', "SELECT pg_cancel_backend($pid)") eq 't';
	},
	restart => sub { $node->restart; return 1; },
	crash => sub { $node->stop('immediate'); $node->start; return 1; });

my $left = q{SELECT count(*) FROM queue.group_offsets() g
	WHERE consumer_group = 'work' AND current_offset IS DISTINCT FROM log_end};
my %n = map { $_ => 0 } keys %deeds;
my $produced = 0;

foreach my $i (1 .. $wanted)
{
	my @kinds = sort keys %deeds;
	my $kind = $kinds[ $i % @kinds ];

	$node->safe_psql('postgres', 'CALL produce(50)');
	$produced += 200;
	start_sessions();
	patiently(sub { backend() }, 0.01);
	sleep(rand(0.03));
	$n{$kind} += $deeds{$kind}->() ? 1 : 0;
}
note(join ', ', map { "$_: $n{$_}" } sort keys %n);
cmp_ok($n{$_}, '>', 0, "sessions at work met: $_") foreach sort keys %n;

start_sessions();
ok($node->poll_query_until('postgres', $left, '0'), 'all messages are read in the end');
ok($node->poll_query_until('postgres', q{SELECT count(*) FROM queue.parked_message}, '0'),
	'none stays parked');
is($node->safe_psql('postgres', q{SELECT count(*), count(DISTINCT (partition, "offset")) FROM done}),
	"$produced|$produced", 'each message has left one row');
is($node->safe_psql('postgres', q{SELECT count(*) FROM topic.results}),
	$produced, 'and one message');
is($node->safe_psql('postgres', q{SELECT count(*) FROM queue.offset_history WHERE from_offset > to_offset}),
	'0', 'no offset has gone back');
is($node->safe_psql('postgres', q{SELECT count(*) FROM queue.verify('jobs')}), '0', 'the log is whole');

# Sessions that wait end with their client, and with the server.
ok($node->poll_query_until('postgres',
		q{SELECT count(*) FROM pg_stat_activity WHERE application_name = 'process' AND wait_event_type = 'Extension'}, '4'),
	'the sessions wait');
$node->stop('fast');
pass('the server stops while sessions wait');
waitpid($_, 0) foreach @sessions;

done_testing();
