# The promise: persistent maintenance comes back by itself, without preloading: after
# a restart of the server, kill -9, pg_terminate_backend() and the promotion of a
# standby, with the first session that uses the library, whatever its rights; but not
# if its role may not start it any more, nor in a copy of the database, nor once it
# was stopped.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use QueueTest;

my $node = new_server('persistent', "queue.maintenance_interval = 1\nrestart_after_crash = on\nlog_min_messages = debug1\n", allows_streaming => 1);

sub query
{
	my ($sql, $db) = @_;

	return $node->safe_psql($db // 'postgres', $sql);
}

# Whether a worker runs in a database, and begins to within a while.
sub workers
{
	my ($db, $server) = @_;

	return ($server // $node)->safe_psql('template1', qq{
		SELECT count(*) FROM pg_stat_activity
		 WHERE backend_type = 'queue maintenance worker' AND datname = '$db' AND wait_event IS NOT NULL});
}

sub runs
{
	my ($db, $server) = @_;

	return patiently(sub { workers($db, $server) == 1 });
}

# Have a session use the library, which asks for a worker. The worker looks, and ends.
sub none_begins
{
	my ($db, $sql) = @_;
	my $worker = 'registering background worker "queue maintenance worker"';
	my $offset = -s $node->logfile;

	query($sql, $db);
	$node->wait_for_log(qr/ $worker.*un$worker/s, $offset);
	# which may have been the end of one before; one that has begun would stay
	return patiently(sub { workers($db) == 0 });
}

query(q{
	SELECT queue.create_topic('orders', value_type => 'text');
	CREATE ROLE app LOGIN;
	GRANT INSERT ON topic.orders TO app;
	CREATE ROLE operator SUPERUSER;
	SET ROLE operator;
	SELECT queue.start_maintenance(persistent => true)});
ok(runs('postgres'), 'it is started');

# ---------------- it comes back ----------------

my $produce = q{SET ROLE app; SELECT "offset" FROM queue.produce('orders', 'x')};

$node->restart;
is(workers('postgres'), 0, 'a restart ends it');
query($produce);
ok(runs('postgres'), 'a session that only produces brings it back');
is(query(q{SELECT started_by || ' ' || persistent FROM queue.maintenance}), 'operator true',
	'as started by the role that asked for it');
is( query(q{SELECT usename FROM pg_stat_activity WHERE backend_type = 'queue maintenance worker'}),
	query('SELECT rolname FROM pg_authid WHERE oid = 10'), 'with the rights that it always has');
query($produce) for 1 .. 3;
is(workers('postgres'), 1, 'once');

$node->restart;
query(q{INSERT INTO topic.orders (value) VALUES ('x')});
ok(runs('postgres'), 'so does INSERT');

my $pid = query('SELECT pid FROM queue.maintenance');
ok(kill_backend($node, $pid), 'the server is back after the worker was killed');
query($produce);
ok(runs('postgres'), 'so is the worker');

$pid = query('SELECT pid FROM queue.maintenance');
query("SELECT pg_terminate_backend($pid)", 'template1');
ok(patiently(sub { query(q{SELECT count(*) FROM pg_stat_activity WHERE pid = } . $pid, 'template1') == 0 }),
	'it was ended by hand');
query($produce);
ok(runs('postgres'), 'the next session brings it back');

kill_server($node);
$node->start;
query($produce);
ok(runs('postgres'), 'it comes back after a crash of the whole server');

# ---------------- a standby ----------------

$node->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('persistent_standby');
$standby->init_from_backup($node, 'backup', has_streaming => 1);
$standby->start;
$node->wait_for_catchup($standby);
my $reader = open_session($standby);
is($reader->query_safe(q{SELECT count(*) > 0 FROM queue.fetch_typed('orders', 0, 0, NULL::text)}), 't', 'a session reads on a standby');
is($standby->safe_psql('postgres', q{
		SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'queue maintenance worker'}),
	0, 'a standby has no worker');
$standby->promote;
$reader->query_safe(q{SELECT "offset" FROM queue.produce('orders', 'promoted')});
ok(runs('postgres', $standby), 'a session that read before the promotion, and writes, brings it back');
$reader->quit;
$standby->stop;

# ---------------- it does not ----------------

# A copy has no worker of its own; it may have one.
is(query('SELECT queue.stop_maintenance()'), 't', 'stopped');
query(q{SELECT queue.start_maintenance(persistent => true)});
query(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'queue maintenance worker'}, 'template1');
ok( patiently(sub { query(q{SELECT count(*) FROM pg_stat_activity WHERE datname = 'postgres'}, 'template1') == 0 }),
	'nothing is connected to the database');
query('CREATE DATABASE copy TEMPLATE postgres', 'template1');
ok(none_begins('copy', $produce), 'a copy of the database has none');
is(query('SELECT persistent FROM queue.maintenance', 'copy'), 'f', 'and says so');
query('SELECT queue.start_maintenance(persistent => true)', 'copy');
ok(runs('copy'), 'unless it is asked for there');
query('SELECT queue.stop_maintenance()', 'copy');
query('DROP DATABASE copy', 'template1');

# Stopped, it is so for good.
query($produce);
ok(runs('postgres'), 'there is one');
is(query('SELECT queue.stop_maintenance()'), 't', 'it is stopped');
ok(none_begins('postgres', $produce), 'no session brings it back');
$node->restart;
ok(none_begins('postgres', $produce), 'nor does one after a restart');
is(query('SELECT persistent FROM queue.maintenance'), 'f', 'the view says so');

# A stop that is rolled back is none.
query(q{SELECT queue.start_maintenance(persistent => true);
	BEGIN; SELECT queue.stop_maintenance(); ROLLBACK});
query($produce);
ok(runs('postgres'), 'it comes back after a stop that was rolled back');
# A worker waits for the stop to commit, and does not begin then.
my $stopper = open_session($node);
$stopper->query_safe('BEGIN; SELECT queue.stop_maintenance()');
query($produce);
ok( patiently(sub {
		query(q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'queue maintenance worker'}, 'template1') == 1;
	}), 'a session asks for one while the stop is not committed');
$stopper->query_safe('COMMIT');
ok( patiently(sub {
		query(q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'queue maintenance worker'}, 'template1') == 0;
	}), 'it ends when that is done, and has not begun');
$stopper->quit;

# The role has lost the right.
query(q{SET ROLE operator; SELECT queue.start_maintenance(persistent => true)});
query('ALTER ROLE operator NOSUPERUSER');
my $offset = -s $node->logfile;
$node->restart;
ok(none_begins('postgres', $produce), 'not if the role may not start it any more');
ok($node->wait_for_log(qr/persistent maintenance of database "postgres" is not started/, $offset), 'the log tells so');
query('ALTER ROLE operator SUPERUSER');
$node->restart;
query($produce);
ok(runs('postgres'), 'it has the right again');
# The role is gone, and a new one has its name.
query('DROP ROLE operator; CREATE ROLE operator SUPERUSER');
$offset = -s $node->logfile;
$node->restart;
ok(none_begins('postgres', $produce), 'a new role of the same name is another one');
ok($node->wait_for_log(qr/persistent maintenance of database "postgres" is not started/, $offset), 'the log tells so');
my (undef, undef, $stderr) = $node->psql('postgres', q{SELECT queue.alter_topic('orders', retention => '1 day')});
like($stderr, qr/NOTICE:  the limits of topic "orders" have no effect yet/, 'setting limits tells that nothing applies them');

# pg_dump leaves it out.
query('SELECT queue.start_maintenance(persistent => true)');
my ($dump, $err) = run_command([ 'pg_dump', '-d', $node->connstr('postgres'), '--data-only' ]);
unlike($dump, qr/persistent_maintenance|maintenance_error/, 'a dump does not have it');

# With preloading the launcher does it.
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'queue'");
$node->restart;
ok(runs('postgres'), 'preloaded, it comes without a session');
$node->stop;
done_testing();
