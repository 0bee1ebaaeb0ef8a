# The promise: a background worker does maintenance by itself, started by
# queue.start_maintenance() or, if the library is preloaded, without being asked;
# one for each database. It is there again after a crash, and gone when it is
# stopped, and with the extension.

use strict;
use warnings;

use File::Path qw(rmtree);

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use QueueTest;

my $node = new_server('worker', "queue.maintenance_interval = 1\nrestart_after_crash = on\n");
my $worker = q{SELECT count(*) FROM pg_stat_activity
	WHERE backend_type = 'queue maintenance worker' AND datname = 'postgres'};

# Ten segments of ten messages that may go at once, in a topic of that name; or
# with other options.
sub fill
{
	my ($topic, $options) = @_;

	$options //= q{, retention => '1 millisecond'};
	$node->safe_psql(
		'postgres', qq{
		SELECT queue.create_topic('$topic', segment_messages => 10$options);
		DO \$\$ BEGIN FOR i IN 1 .. 10 LOOP
			PERFORM queue.produce_batch('$topic', ARRAY(SELECT g::text FROM generate_series(1, 10) g));
			COMMIT;
		END LOOP; END \$\$});
	return;
}

sub maintained
{
	my ($topic) = @_;

	return $node->poll_query_until('postgres',
		"SELECT queue.log_start('$topic', 0) = 100");
}

is($node->safe_psql('postgres', $worker), 0, 'none was asked for');
is($node->safe_psql('postgres', 'SELECT queue.stop_maintenance()'),
	'f', 'there is nothing to stop');
fill('orders');
my $pid = $node->safe_psql('postgres', 'SELECT queue.start_maintenance()');
ok(maintained('orders'), 'it removes segments');
is( $node->safe_psql(
		'postgres', q{SELECT DISTINCT action FROM queue.maintenance_log WHERE action = 'segments removed'}),
	'segments removed', 'and keeps account of it');
like(slurp_file($node->logfile), qr/LOG:  topic "orders", partition 0: segments removed/,
	'the log has it');
is($node->safe_psql('postgres', 'SELECT queue.start_maintenance()'),
	$pid, 'there is one, however often it is asked for');
is($node->safe_psql('postgres', $worker), 1, 'one');

# Sessions that start it at the same time get the same one; and it can be stopped as
# soon as it is started.
$node->safe_psql('postgres', 'SELECT queue.stop_maintenance(); CREATE TABLE started (pid int)');
$node->pgbench(
	'-n -c 8 -j 2 -t 1',
	0, [qr/processed: 8\/8/], [qr/^/], 'several sessions start it',
	{ start => 'INSERT INTO started SELECT queue.start_maintenance();' });
is($node->safe_psql('postgres', 'SELECT count(DISTINCT pid) FROM started'), 1, 'they get the same');
is($node->safe_psql('postgres', $worker), 1, 'one');
is( $node->safe_psql(
		'postgres', q{
		CREATE PROCEDURE stop_and_start(INOUT stopped int) LANGUAGE plpgsql AS $$
		BEGIN
			FOR i IN 1 .. 20 LOOP
				stopped := stopped + queue.stop_maintenance()::int;
				PERFORM queue.start_maintenance();
				COMMIT;
			END LOOP;
		END $$;
		CALL stop_and_start(0)}),
	20, 'it is stopped right after it was started');
is($node->safe_psql('postgres', $worker), 1, 'one is left');

# No session waits long behind it: a lock that it does not get in half a second it leaves.
fill('granted', '');
# GRANT changes the catalog's row of a relation, and on older servers without a lock on
# the relation.
my $granter = open_session($node);
$granter->query_safe(
	q{BEGIN; DO $$ BEGIN UPDATE pg_class SET relacl = relacl
		WHERE oid = (SELECT segment FROM queue.segments WHERE topic = 'granted' AND first_offset = 0); END $$});
$node->safe_psql('postgres', q{SELECT queue.alter_topic('granted', retention => '1 millisecond')});
ok( patiently(
		sub {
			# the worker may be at the topic at this moment
			my ($code, undef, $stderr) = $node->psql('postgres', q{CALL queue.maintain('granted')});

			return $code == 0
			  && $stderr =~ /maintenance of topic "granted" failed: canceling statement due to lock timeout/;
		}),
	'a pass ends while a grant is not committed, and says what it had to leave');
ok( $node->poll_query_until(
		'postgres', q{
		SELECT count(*) > 0 FROM pg_stat_activity WHERE backend_type = 'queue maintenance worker'
			AND xact_start > backend_start + interval '3 seconds'}),
	'each of its transactions has a time of its own');
is($node->safe_psql('postgres', q{SELECT queue.log_start('granted', 0)}), 0, 'as it was');
$granter->quit;
ok(maintained('granted'), 'it is done later');

# A topic that it cannot maintain does not keep it from the others.
$node->safe_psql(
	'postgres', q{
	SELECT queue.create_topic('broken');
	SET queue.allow_ddl = on;
	DROP TABLE queue.log_3 CASCADE});
fill('returns');
ok(maintained('returns'), 'an error in one topic is not the end');

# A crash of another process: all processes start anew, and it, too.
my $victim = open_session($node);
my $victim_pid = $victim->query_safe('SELECT pg_backend_pid()');
ok(kill_backend($node, $victim_pid), 'the server is back');
eval { $victim->quit };
ok($node->poll_query_until('postgres', $worker, '1'), 'so is the worker');

# Stopped.
is($node->safe_psql('postgres', 'SELECT queue.stop_maintenance()'), 't', 'stopped');
ok($node->poll_query_until('postgres', $worker, '0'), 'it is gone');

# Gone with the extension.
$node->safe_psql('postgres', 'CREATE DATABASE other');
$node->safe_psql('other', 'CREATE EXTENSION queue; SELECT queue.start_maintenance()');
my $other = $worker =~ s/'postgres'/'other'/r;
ok($node->poll_query_until('postgres', $other, '1'), 'another database has its own');
$node->safe_psql('other', 'DROP EXTENSION queue');
ok($node->poll_query_until('postgres', $other, '0'), 'it goes with the extension');

# Not for every role.
$node->safe_psql('postgres', 'CREATE ROLE regress_guest');
my ($ret, $out, $err) = $node->psql('postgres',
	'SET ROLE regress_guest; SELECT queue.start_maintenance()');
like($err, qr/permission denied/, 'starting it takes a right');

# Preloaded.
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'queue'\n");
$node->restart;
ok($node->poll_query_until('postgres', $worker, '1'), 'preloaded, it starts by itself');
fill('third');
ok(maintained('third'), 'and works');
ok($node->poll_query_until('postgres', $other, '0'), 'not where the extension is not');

# The launcher is started again when it was ended.
my $launcher = q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'queue launcher'};
my $launcher_pid = $node->safe_psql('postgres', $launcher);
$node->safe_psql('postgres', "SELECT pg_terminate_backend($launcher_pid)");
ok( $node->poll_query_until(
		'postgres', "SELECT count(*) > 0 FROM ($launcher) l WHERE pid <> $launcher_pid"),
	'so does the launcher');

# A worker goes on in a database that lets in no one, and can be there again after a
# crash.
$node->safe_psql('postgres', 'CREATE DATABASE closed');
$node->safe_psql('closed', 'CREATE EXTENSION queue; SELECT queue.start_maintenance()');
my $closed = $worker =~ s/'postgres'/'closed'/r;
$node->safe_psql('postgres', 'ALTER DATABASE closed ALLOW_CONNECTIONS false');
$node->safe_psql('postgres', q{
	SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend' AND datname = 'closed'});
$victim = open_session($node);
$victim_pid = $victim->query_safe('SELECT pg_backend_pid()');
ok(kill_backend($node, $victim_pid), 'the server is back again');
eval { $victim->quit };
ok($node->poll_query_until('postgres', $closed, '1'), 'so is the worker of the closed database');
$node->safe_psql('postgres', 'ALTER DATABASE closed ALLOW_CONNECTIONS true');
is($node->safe_psql('closed', 'SELECT queue.stop_maintenance()'), 't', 'it is stopped');
$node->safe_psql('postgres', 'DROP DATABASE closed');

# A database that cannot be connected to: its worker's slot, the last one, is free
# again.
$node->safe_psql('postgres', 'DROP DATABASE other');
$node->safe_psql('postgres', 'CREATE DATABASE hollow');
my $hollow = $node->safe_psql('postgres', q{SELECT oid FROM pg_database WHERE datname = 'hollow'});
$node->append_conf('postgresql.conf', "max_worker_processes = 4\n");
$node->stop;
rmtree($node->data_dir . "/base/$hollow");
$node->start;
$node->wait_for_log(qr{"base/$hollow" is missing});
$node->safe_psql('postgres', 'CREATE DATABASE late');
$node->safe_psql('late', 'CREATE EXTENSION queue');
ok($node->poll_query_until('late', 'SELECT queue.start_maintenance() > 0'),
	'another one can be started');

$node->stop;
done_testing();
