# The promise: workers of a subscription begin when subscribe commits, and are there
# again after whatever ends them: a restart of the server, kill -9, pg_terminate_backend(),
# the promotion of a standby; with persistent maintenance, or the library preloaded. They
# are as many as is wanted, work as the role that subscribed, and each message has its
# effect once. They end with the subscription, and are not in the way of the server's end
# nor of the database's.

use strict;
use warnings;

use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use QueueTest;

my $node = new_server('workers', "queue.maintenance_interval = 1\nrestart_after_crash = on\n", allows_streaming => 1);

sub query
{
	my ($sql, $db, $server) = @_;

	return ($server // $node)->safe_psql($db // 'postgres', $sql);
}

# How many processes work for subscriptions in a database.
sub processes
{
	my ($db, $server) = @_;

	$db //= 'postgres';
	return query(qq{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'queue worker' AND datname = '$db'},
		'template1', $server);
}

# Wait for a number of them.
sub run
{
	my ($n, $db, $server) = @_;

	return patiently(sub { processes($db, $server) == $n });
}

# Produce some messages, and wait until each has its effect, once.
my $produced = 0;

sub works
{
	my ($server) = @_;

	query(q{SELECT count(queue.produce('jobs', to_jsonb(i), partition => i % 4)) FROM generate_series(1, 40) i},
		'postgres', $server);
	$produced += 40;
	return patiently(sub { query('SELECT count(*) FROM done', 'postgres', $server) == $produced })
	  && query('SELECT count(DISTINCT (partition, "offset")) FROM done', 'postgres', $server) == $produced;
}

query(q{
	CREATE ROLE app LOGIN;
	GRANT CREATE ON SCHEMA topic TO app;
	CREATE SCHEMA app AUTHORIZATION app;
	CREATE TABLE done (partition int, "offset" bigint, role text, setting text);
	GRANT INSERT ON done TO app;
	ALTER ROLE app SET app.who = 'the app';
	SET ROLE app;
	SELECT queue.create_topic('jobs', partitions => 4);
	CREATE FUNCTION app.handle(m queue.message) RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO public.done VALUES (m.partition, m."offset", session_user || ' ' || current_user,
			current_setting('app.who', true));
	END $$});
my $subscribe = q{SELECT queue.subscribe('work', 'jobs', 'app.handle(queue.message)', workers => %d)};

sub subscribe
{
	my ($n) = @_;

	return query('SET ROLE app; ' . sprintf($subscribe, $n));
}

# ---------------- by subscribe ----------------

my ($ret, undef, $stderr) = $node->psql('postgres', "SET ROLE app; BEGIN; @{[ sprintf $subscribe, 2 ]}; ROLLBACK");
like($stderr, qr/NOTICE:  workers that end, .* are not started again: maintenance is not running/, 'without maintenance, a notice');
is(processes(), 0, 'none begins by a transaction that is rolled back');
subscribe(2);
ok(run(2), 'two begin');
ok(works(), 'they work');
is(query('SELECT DISTINCT role, setting FROM done'), 'app app|the app', 'as the role, with its settings');
is(query(q{SELECT DISTINCT usename FROM pg_stat_activity WHERE backend_type = 'queue worker'}), 'app', 'which the server shows');
is( query(q{SELECT query FROM pg_stat_activity WHERE backend_type = 'queue worker' ORDER BY 1 LIMIT 1}),
	'queue worker 1 of consumer group "work" on topic "jobs"', 'and what they work for');
my $pids = query('SELECT array_agg(pid ORDER BY pid) FROM queue.workers');
subscribe(2);
subscribe(4);
ok(run(4), 'two more');
is(query("SELECT count(*) FROM queue.workers WHERE pid = ANY ('$pids')"), 2, 'beside those that run');
subscribe(1);
ok(run(1), 'three less');
subscribe(0);
ok(run(0), 'none');
subscribe(3);
ok(run(3), 'three');
ok(works(), 'they work');

# End and begin in quick succession: no start is lost, also while the worker is about to
# end. In each round it has to handle a message.
my $rounds = 300;
query(q{
	CREATE PROCEDURE app.flicker(rounds int) LANGUAGE plpgsql AS $$
	DECLARE
		n bigint;
	BEGIN
		SELECT count(*) INTO n FROM public.done;
		FOR i IN 1 .. rounds LOOP
			PERFORM queue.subscribe('work', 'jobs', 'app.handle(queue.message)', workers => 0);
			COMMIT;
			PERFORM pg_sleep(random() * 0.003);
			PERFORM queue.subscribe('work', 'jobs', 'app.handle(queue.message)', workers => 1);
			PERFORM queue.produce('jobs', '1', partition => 0);
			COMMIT;
			FOR t IN 1 .. 18000 LOOP
				EXIT WHEN (SELECT count(*) FROM public.done) = n + i;
				COMMIT;
				PERFORM pg_sleep(0.01);
			END LOOP;
			IF (SELECT count(*) FROM public.done) <> n + i THEN
				RAISE 'no worker in round %', i;
			END IF;
			COMMIT;
		END LOOP;
	END $$;
	GRANT SELECT ON done TO app});
($ret, undef, $stderr) = $node->psql('postgres', "SET client_min_messages = warning; SET SESSION AUTHORIZATION app; CALL app.flicker($rounds)");
is("$ret$stderr", '0', 'a worker is there in each round');
$produced += $rounds;
ok(run(1), 'one');
subscribe(2);
ok(run(2), 'two');

# A worker that is calling the handler: unsubscribe waits for it, and afterwards the
# handler is not called.
query(q{SET ROLE app; CREATE OR REPLACE FUNCTION app.handle(m queue.message) RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO public.done VALUES (m.partition, m."offset", session_user || ' ' || current_user);
		PERFORM pg_advisory_xact_lock_shared(1);
	END $$});
my $holder = open_session($node);
$holder->query_safe('SELECT pg_advisory_lock(1)');
query(q{SELECT "offset" FROM queue.produce('jobs', '1', partition => 0)});
$produced++;
ok( $node->poll_query_until('postgres',
		q{SELECT count(*) > 0 FROM pg_stat_activity WHERE backend_type = 'queue worker' AND wait_event = 'advisory'}),
	'a worker is in the handler');
my ($out, $err) = ('', '');
my $unsubscribe = IPC::Run::start(
	[ 'psql', '-XAtqd', $node->connstr('postgres'), '-c', q{SET SESSION AUTHORIZATION app}, '-c', q{SELECT queue.unsubscribe('work', 'jobs')} ],
	'<', \undef, '>', \$out, '2>', \$err);
ok( $node->poll_query_until('postgres',
		q{SELECT count(*) > 0 FROM pg_stat_activity WHERE query LIKE '%unsubscribe(%' AND wait_event = 'advisory'}),
	'unsubscribe waits for it');
$holder->quit;
$unsubscribe->finish;
is("$out$err", "t\n", 'and succeeds');
query(q{SELECT "offset" FROM queue.produce('jobs', '1', partition => 0)});
ok(run(0), 'the workers are gone');
is(query('SELECT count(*) FROM done'), $produced++, 'what has come since was not handled');
subscribe(2);
ok(works(), 'unless it is subscribed again');

# ---------------- without maintenance ----------------

query('SELECT pg_terminate_backend(pid) FROM queue.workers WHERE worker = 1');
ok(run(1), 'one is ended by hand');
$node->restart;
is(processes(), 0, 'and the other with the server; none comes back');
is(query('SELECT DISTINCT state FROM queue.workers'), 'stopped', 'the view says so');
query(q{SELECT queue.start_maintenance()});
ok(run(2), 'maintenance starts them');
ok(works(), 'they work');
query('SELECT queue.stop_maintenance()');
is(processes(), 2, 'and does not end them');

# ---------------- with it ----------------

query('SELECT queue.start_maintenance(persistent => true)');
query('SELECT pg_terminate_backend(pid) FROM queue.workers');
ok(patiently(sub { query("SELECT count(*) FROM queue.workers WHERE state = 'running' AND failures > 0") == 2 }),
	'what is ended by hand comes back');
ok(works(), 'they work');
ok(kill_backend($node, query('SELECT min(pid) FROM queue.workers')), 'the server is back after one was killed');
ok(run(2), 'so are they');
ok(works(), 'they work');
# what has ended several times within minutes would wait
subscribe(2);
$node->restart;
ok(works(), 'they come back after a restart, with the first session that uses the library');
subscribe(2);
kill_server($node);
$node->start;
ok(works(), 'and after a crash of the whole server');

# A prepared transaction: its workers begin when maintenance finds the row.
query(q{SET SESSION AUTHORIZATION app; SELECT queue.unsubscribe('work', 'jobs')});
ok(run(0), 'unsubscribed, they are gone');
query("SET SESSION AUTHORIZATION app; BEGIN; @{[ sprintf $subscribe, 2 ]}; PREPARE TRANSACTION 'subscribe'");
query(q{COMMIT PREPARED 'subscribe'});
ok(run(2), 'a prepared transaction has subscribed');
ok(works(), 'they work');

# ---------------- a standby ----------------

$node->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('workers_standby');
$standby->init_from_backup($node, 'backup', has_streaming => 1);
$standby->append_conf('postgresql.conf', "shared_preload_libraries = 'queue'");
$standby->start;
$node->wait_for_catchup($standby);
is(query('SELECT count(*), count(pid) FROM queue.workers', 'postgres', $standby), '2|0', 'a standby knows of them, and has none');
is(processes('postgres', $standby), 0, 'none');
$standby->promote;
ok(works($standby), 'they work when it is promoted');
ok(run(2, 'postgres', $standby), 'both');
$standby->stop('fast');
$produced -= 40;

# ---------------- preloaded ----------------

query('SELECT queue.stop_maintenance()');
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'queue'");
$node->restart;
ok(run(2), 'preloaded, they come back without a session');
ok(works(), 'they work');

# ---------------- the end ----------------

$node->stop('smart');
pass('a smart shutdown does not wait for them');
$node->start;
ok(run(2), 'they are back');
query(q{SET SESSION AUTHORIZATION app; SELECT queue.drop_group('work')});
ok(run(0), 'they end with the group');
subscribe(2);
ok(run(2), 'there they are');
query(q{SET SESSION AUTHORIZATION app; SELECT queue.drop_topic('jobs')});
ok(run(0), 'they end with the topic');

query('CREATE DATABASE other');
my $other = q{
	CREATE EXTENSION queue;
	SELECT queue.create_topic('jobs');
	CREATE FUNCTION handle(m queue.message) RETURNS void LANGUAGE sql AS 'SELECT';
	SELECT queue.subscribe('work', 'jobs', 'handle(queue.message)', workers => 1)};
query($other, 'other');
ok(run(1, 'other'), 'another database has its own');
query('SET queue.allow_ddl = on; DROP EXTENSION queue CASCADE', 'other');
ok(run(0, 'other'), 'they end with the extension');
query($other, 'other');
ok(run(1, 'other'), 'made again');
query('DROP DATABASE other WITH (FORCE)');
is(processes('other'), 0, 'they end when the database is dropped by force');

$node->stop('fast');
done_testing();
