# The promise: behind PgBouncer in transaction mode, set up as docs/operations.md says,
# clients that wait keep no producer from its connection; nor do they in the same pool
# unless they wait without limit, which is not the default. A waiter ends with its client.

use strict;
use warnings;

use FindBin;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use QueueTest;

my $node = new_server('pooler_waiters');
my $asleep = q{SELECT count(*) FROM pg_stat_activity
	WHERE wait_event_type = 'Extension' AND state = 'active'};

$node->safe_psql('postgres', 'CREATE DATABASE mydb');
$node->safe_psql(
	'mydb', q{
	CREATE EXTENSION queue;
	SELECT queue.create_topic('t');
	SELECT queue.create_group('g' || i, 't') FROM generate_series(0, 2) i});

# The document's file, with this server's address, pools of three, and what it leaves
# to the reader: where PgBouncer listens, and as which user it connects.
my ($ini) = slurp_file("$FindBin::RealBin/../../docs/operations.md") =~ /^```ini\n(.*?)^```$/ms
  or die 'no ini in the document';
my $folder = PostgreSQL::Test::Utils::tempdir_short();
my $port = PostgreSQL::Test::Cluster::get_free_port();
my $user = $node->safe_psql('postgres', 'SELECT current_user');
my $server = "host=@{[ $node->host ]} port=@{[ $node->port ]} user=$user";

is($ini =~ s/host=db\.example\.com/$server/g, 2, 'the document has two pools');
is($ini =~ s/pool_size=\d+/pool_size=3/g, 2, 'each with its size');
append_to_file(
	"$folder/pgbouncer.ini", qq{$ini
listen_addr =
listen_port = $port
unix_socket_dir = $folder
auth_type = any
admin_users = $user
logfile = $folder/pgbouncer.log
});
my $pgbouncer = IPC::Run::start([ 'pgbouncer', '-q', "$folder/pgbouncer.ini" ],
	'<', \undef, '>', "$folder/out", '2>&1');
my @waiters;

# Ended by their handles, whatever happens.
END { $_->kill_kill foreach grep { $_ } @waiters, $pgbouncer }

# psql through a pool, or to PgBouncer itself: its output, errors included.
sub pooled
{
	my ($pool, $sql) = @_;
	my $out = '';

	IPC::Run::run([ 'psql', '-XAtqc', $sql, "host=$folder port=$port dbname=$pool" ],
		'<', \undef, '>', \$out, '2>&1');
	return $out;
}

sub produce
{
	return pooled('mydb', q{SELECT 'done' FROM queue.produce('t', '1')});
}

# Three clients that wait for ever, each for a group of its own.
sub start_waiters
{
	my ($pool) = @_;

	@waiters = map {
		my $call = "CALL queue.wait('g$_', 't', timeout => NULL)";

		IPC::Run::start([ 'psql', '-XAtqc', $call, "host=$folder port=$port dbname=$pool" ],
			'<', \undef, '>>', "$folder/waiters", '2>&1')
	} 0 .. 2;
	$node->poll_query_until('postgres', $asleep, 3) or die 'not asleep';
	return;
}

patiently(sub { pooled('mydb', 'SELECT 1') eq "1\n" })
  or die 'pgbouncer does not answer: ' . slurp_file("$folder/out");

# The fault: all connections of the pool are the waiters'.
start_waiters('mydb');
unlike(pooled('pgbouncer', 'SET query_wait_timeout = 1'), qr/error/i, 'a short patience');
like(produce(), qr/query_wait_timeout/, 'in the same pool no producer gets a connection');
is($node->safe_psql('postgres', $asleep), '3', 'and the waiters wait on');
is($node->safe_psql('mydb', q{SELECT count(*) FROM topic.t}), '0', 'for nothing');

# They end with their clients, and the pool has its connections back.
$_->signal('KILL') foreach @waiters;
$_->finish foreach @waiters;
ok($node->poll_query_until('postgres', $asleep, 0), 'a waiter ends when its client is gone');
pooled('pgbouncer', 'SET query_wait_timeout = 120');
is(produce(), "done\n", 'and the producer gets a connection');
$node->safe_psql('mydb', qq{SELECT count(*) FROM queue.consume('g$_', 't')}) foreach 0 .. 2;

# The document's way.
start_waiters('mydb_wait');
is(produce(), "done\n", 'beside a pool of waiters the producer gets through');
is(grep({ $_->finish } @waiters), 3, 'and all waiters are woken');
is(slurp_file("$folder/waiters"), '', 'without an error');
@waiters = ();

# The default ends a wait before the patience of PgBouncer does.
my ($patience) = pooled('pgbouncer', 'SHOW CONFIG') =~ /^query_wait_timeout\|\d+\|(\d+)\|/m;
is($node->safe_psql('mydb', qq{
	SELECT proname, pg_get_function_arg_default(oid, 3) LIKE '''%''::interval',
	       btrim(split_part(pg_get_function_arg_default(oid, 3), '::', 1), '''')::interval
	       <= make_interval(secs => $patience) / 2
	  FROM pg_proc
	 WHERE pronamespace = 'queue'::regnamespace AND proname IN ('wait', 'wait_topics')
	 ORDER BY proname}),
	"wait|t|t\nwait_topics|t|t", 'a wait is limited by default');

# In one pool, three that wait again and again, each time for less than that.
$node->safe_psql('mydb', qq{SELECT count(*) FROM queue.consume('g$_', 't')}) foreach 0 .. 2;
append_to_file("$folder/wait.sql", "CALL queue.wait('g' || :client_id, 't', '500 ms');\n");
@waiters = IPC::Run::start(
	[ 'pgbench', '-n', '-c', 3, '-T', 3600, '-f', "$folder/wait.sql",
		"host=$folder port=$port dbname=mydb" ],
	'<', \undef, '>', "$folder/pgbench", '2>&1');
$node->poll_query_until('postgres', $asleep, 3) or die 'not asleep';
is(produce(), "done\n", 'the producer gets through between two waits');
$waiters[0]->signal('KILL');
$waiters[0]->finish;
@waiters = ();

$pgbouncer->kill_kill;
undef $pgbouncer;
$node->stop;
done_testing();
