# The promise: a worker of a subscription never works with rights that were taken away,
# nor with those of another role; what keeps it from working is shown in queue.workers,
# and does not last longer than its cause. A handler that fails, ends its process or crashes
# the server again and again is called ever more seldom. A database that was restored or
# copied has no workers until subscribe is called there.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use QueueTest;

my $node = new_server('workers_fail', "queue.maintenance_interval = 1\nqueue.recheck_interval = 20\nrestart_after_crash = on\nmax_worker_processes = 12\n");

sub query
{
	my ($sql, $db) = @_;

	return $node->safe_psql($db // 'postgres', $sql);
}

# A number of processes that work for subscriptions in a database.
sub run
{
	my ($n, $db) = @_;

	$db //= 'postgres';
	return patiently(sub {
		query(qq{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'queue worker' AND datname = '$db'}, 'template1') == $n;
	});
}

# The state of the only worker, when it is so.
sub is_shown
{
	my ($what, $expected) = @_;

	return patiently(sub { query("SELECT $what FROM queue.workers") eq $expected });
}

sub produce
{
	return query(q{SELECT "offset" FROM queue.produce('jobs', '1')});
}

# Wait until all that was produced was handled.
sub done
{
	return patiently(sub {
		query(q{SELECT (SELECT count(*) FROM done) = queue.log_end('jobs', 0)}) eq 't';
	});
}

# Have the worker try at once.
my $subscribe = q{SET client_min_messages = warning; SET SESSION AUTHORIZATION app;
	SELECT queue.subscribe('work', 'jobs', 'app.handle(queue.message)', workers => 1)};
my $handler = q{
	CREATE OR REPLACE FUNCTION app.handle(m queue.message) RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO public.done VALUES (m."offset", session_user || ' ' || current_user);
	END $$};

query(qq{
	CREATE ROLE app LOGIN;
	CREATE ROLE other LOGIN;
	CREATE SCHEMA app AUTHORIZATION app;
	GRANT USAGE, CREATE ON SCHEMA app TO other;
	SELECT queue.create_topic('jobs');
	GRANT SELECT ON topic.jobs TO app, other;
	CREATE TABLE done ("offset" bigint, role text);
	CREATE TABLE tried (at timestamptz DEFAULT clock_timestamp());
	GRANT ALL ON done, tried TO app, other;
	SELECT queue.start_maintenance(persistent => true);
	SET ROLE app; $handler});
query($subscribe);
produce();
ok(done(), 'it works');

# ---------------- the function ----------------

query('SET ROLE app; DROP FUNCTION app.handle(queue.message)');
produce();
ok(is_shown('state || sqlstate || error || (retry_at > failed_at)', 'waiting42883handler app.handle(queue.message) does not existtrue'),
	'the function is gone, and it tries again later');
# one of that name that another role has made
query("SET ROLE other; $handler");
ok(is_shown('sqlstate', '42501'), 'that of another role is not called');
is(query('SELECT failures > 1 FROM queue.workers'), 't', 'which is one failure more');
query("SET ROLE other; DROP FUNCTION app.handle(queue.message)");
query("SET ROLE app; $handler");
ok(done(), 'made again, it is called');
query('SET ROLE app; REVOKE EXECUTE ON FUNCTION app.handle(queue.message) FROM PUBLIC, app');
query($subscribe =~ s/SELECT queue.subscribe.*//sr . 'SELECT 1');
produce();
ok(is_shown('sqlstate', '42501'), 'without the right to call it');
query('SET ROLE app; GRANT EXECUTE ON FUNCTION app.handle(queue.message) TO app');
query($subscribe);
ok(done(), 'which is given back');
is(query('SELECT DISTINCT role FROM done'), 'app app', 'nothing was done as another role');

# Of a superuser the function must be a superuser's, at each batch.
query(q{CREATE ROLE boss SUPERUSER LOGIN; SET ROLE boss;
	CREATE FUNCTION app.superhandle(m queue.message) RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO public.done VALUES (m."offset", session_user || ' ' || current_user);
	END $$;
	SELECT queue.unsubscribe('work', 'jobs');
	SELECT queue.alter_group('work', owner => 'boss');
	SELECT queue.subscribe('work', 'jobs', 'app.superhandle(queue.message)', workers => 1)});
produce();
ok(done(), 'a superuser\'s worker');
query('ALTER FUNCTION app.superhandle(queue.message) OWNER TO app');
produce();
ok(is_shown('sqlstate || error', '42501function app.superhandle(queue.message) cannot handle messages for a superuser'),
	'does not call the function when it belongs to another role');
query('ALTER FUNCTION app.superhandle(queue.message) OWNER TO boss; ALTER ROLE boss NOSUPERUSER');
query(q{SELECT queue.unsubscribe('work', 'jobs'); SELECT queue.alter_group('work', owner => 'app'); DROP FUNCTION app.superhandle(queue.message); DROP ROLE boss});
ok(run(0), 'it is gone');

# ---------------- the role ----------------

query($subscribe);
ok(done(), 'the role\'s worker');
query('REVOKE SELECT ON topic.jobs FROM app');
produce();
ok(is_shown('sqlstate', '42501'), 'without the right to read the topic');
query('GRANT SELECT ON topic.jobs TO app');
query($subscribe);
ok(done(), 'which is given back');
query('ALTER ROLE app SET default_transaction_read_only = on');
query('SELECT pg_terminate_backend(pid) FROM queue.workers');
produce();
ok(is_shown('sqlstate', '25006'), 'a role whose transactions only read');
is(query('SELECT count(*) FROM queue.parked'), 0, 'which is no failure of a message');
query('ALTER ROLE app RESET default_transaction_read_only');
query('SELECT pg_terminate_backend(pid) FROM queue.workers');
query('SET ROLE app; ' . $subscribe);
ok(done(), 'they write again');
# a role that ALTER ROLE would have it take
query('GRANT other TO app; ALTER ROLE app SET role = other');
query('SELECT pg_terminate_backend(pid) FROM queue.workers');
query(q{SET SESSION AUTHORIZATION app; SET ROLE app;
	SELECT queue.subscribe('work', 'jobs', 'app.handle(queue.message)', workers => 1)});
produce();
ok(done(), 'it works as the role that subscribed');
is(query('SELECT DISTINCT role FROM done WHERE role NOT LIKE \'boss%\''), 'app app', 'and no other');
query('ALTER ROLE app RESET role');

# A role that cannot connect has none.
foreach my $case (
	[ 'ALTER ROLE app NOLOGIN', 'ALTER ROLE app LOGIN', 'The role that subscribed does not have the attribute LOGIN.' ],
	[
		'REVOKE CONNECT ON DATABASE postgres FROM PUBLIC', 'GRANT CONNECT ON DATABASE postgres TO PUBLIC',
		'The role that subscribed may not connect to the database.'
	])
{
	my ($take, $give, $obstacle) = @$case;

	query($take);
	ok(run(0), "$take ends it");
	is(query('SELECT state || obstacle FROM queue.workers'), "stopped$obstacle", 'the view tells why');
	is( sqlstate($node, 'postgres', q{SET ROLE app; SELECT queue.subscribe('work', 'jobs', 'app.handle(queue.message)', workers => 1)}),
		'42501', 'subscribe is refused');
	query($give);
	ok(run(1), "$give lets it begin");
}

# Its role is dropped. A new one of the same name is another role.
query('ALTER TABLE done OWNER TO app; REASSIGN OWNED BY app TO other; DROP OWNED BY app; DROP ROLE app');
ok(run(0), 'it ends when its role is dropped');
is(query('SELECT obstacle FROM queue.workers'), 'The role that subscribed was dropped.', 'the view tells why');
query('CREATE ROLE app LOGIN; GRANT SELECT ON topic.jobs TO app; GRANT ALL ON SCHEMA app TO app; GRANT ALL ON done, tried TO app; GRANT EXECUTE ON FUNCTION app.handle(queue.message) TO app');
is(query('SELECT state FROM queue.workers'), 'stopped', 'a new role of that name does not have it');
query(q{SELECT queue.alter_group('work', owner => 'app')});
query($subscribe);
produce();
ok(done(), 'unless it subscribes');

# ---------------- handlers that end their process ----------------

# Each call is logged, since all else that it does is rolled back.
sub handle_by
{
	my ($name, $deed) = @_;

	query(qq{
		CREATE OR REPLACE FUNCTION app.handle(m queue.message) RETURNS void LANGUAGE plpgsql AS \$\$
		BEGIN
			RAISE LOG 'call: $name';
			PERFORM pg_advisory_unlock_all();
			$deed;
		END \$\$});
	return;
}

sub calls
{
	my ($name) = @_;

	return scalar(() = slurp_file($node->logfile) =~ /call: $name$/mg);
}

# One that ends its process: the waits grow. Nothing else calls it.
handle_by('terminate', 'PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(1)');
query(q{SELECT queue.unsubscribe('work', 'jobs')});
ok(run(0), 'a worker ends');
query($subscribe);
ok(is_shown('state || failures', 'running0'), 'another one begins');
produce();
my $has_failed = q{SELECT state = 'waiting' AND failures >= 3 AND retry_at >= started_at + 2 ^ (failures - 1) * interval '1 s' FROM queue.workers};
ok(patiently(sub { query($has_failed) eq 't' }), 'the process has ended several times, and each has doubled the wait');
my $calls = calls('terminate');
cmp_ok($calls, '<=', query('SELECT failures FROM queue.workers') + 1, 'the handler was not called more often');
is(query('SELECT count(*) FROM queue.parked'), 0, 'no message is parked');

# One that crashes the server; a superuser's function can. The waits outlast that.
handle_by('crash', q{COPY (SELECT 1) TO PROGRAM 'kill -9 $PPID'});
query('ALTER FUNCTION app.handle(queue.message) OWNER TO postgres; ALTER FUNCTION app.handle(queue.message) SECURITY DEFINER');
# they do not depend on the role's settings
query('ALTER ROLE app SET synchronous_commit = off');
my $crashed = times_crashed($node);
query(q{SELECT queue.unsubscribe('work', 'jobs')});
query($subscribe);
ok(patiently(sub {
		my ($code, $out) = $node->psql('postgres', $has_failed);
		return $code == 0 && $out eq 't';
	}), 'the server has crashed several times, and each has doubled the wait');
$crashed = times_crashed($node) - $crashed;
my $failures;
patiently(sub { (undef, $failures) = $node->psql('postgres', 'SELECT failures FROM queue.workers'); return $failures });
cmp_ok($crashed, '<=', $failures + 1, 'and no more');
query('ALTER FUNCTION app.handle(queue.message) OWNER TO app');
query("ALTER FUNCTION app.handle(queue.message) SECURITY INVOKER; SET ROLE app; $handler");
query($subscribe);
ok(done(), 'mended, it does its work');

# Cancelled, in the handler: not a failure of the message.
handle_by('sleep', q{PERFORM pg_sleep(1000) WHERE NOT EXISTS (SELECT FROM public.tried); INSERT INTO public.done VALUES (m."offset")});
produce();
ok(patiently(sub { calls('sleep') == 1 }), 'a handler sleeps');
query('INSERT INTO tried DEFAULT VALUES; SELECT pg_cancel_backend(pid) FROM queue.workers');
ok(done(), 'canceled, it is called again');
is(query('SELECT sqlstate FROM queue.workers'), '57014', 'the view tells of the cancel');
is(query('SELECT count(*) FROM queue.parked'), 0, 'no message is parked');
query("SET ROLE app; $handler");

# A limit of transactions' time (17 and later) is for those of sessions: a worker's may take
# longer, and it may wait for messages.
SKIP:
{
	skip 'there is no transaction_timeout', 3
	  if query('SHOW server_version_num') < 170000;
	query('TRUNCATE tried; ALTER ROLE app SET transaction_timeout = 1000');
	query('SELECT queue.unsubscribe(\'work\', \'jobs\')');
	ok(run(0), 'a worker ends');
	handle_by('long', q{PERFORM pg_sleep(2); INSERT INTO public.done VALUES (m."offset")});
	query($subscribe);
	produce();
	ok(done(), 'a call that takes longer is done');
	is(calls('long'), 1, 'at the first try');
	query('ALTER ROLE app RESET transaction_timeout');
	query("SET ROLE app; $handler");
}

# ---------------- room ----------------

query(q{SET ROLE app; SELECT queue.subscribe('work', 'jobs', 'app.handle(queue.message)', workers => 10)});
ok(run(6), 'half of the server\'s background workers');
ok(is_shown(q{string_agg(DISTINCT obstacle, '')}, 'All background workers that subscriptions may have are in use.'),
	'the view tells why there are no more');
ok($node->wait_for_log(qr/WARNING:  not all workers of subscriptions are started: no background worker is available/), 'and the log');
query(q{SELECT queue.create_topic('segments', partitions => 10, segment_messages => 1)});
query(q{SELECT count(queue.produce('segments', '1', partition => i)) FROM generate_series(0, 9) i});
is(query(q{SELECT count(*) FROM queue.segments WHERE topic = 'segments'}) > 10, 1, 'workers that make segments find room');
query($subscribe);
ok(run(1), 'one is wanted again');
produce();
ok(done(), 'it works');

# ---------------- restored, and copied ----------------

# A dump has the subscription, and no worker.
my $dump = $node->basedir . '/dump.sql';
run_log([ 'pg_dump', '-d', $node->connstr('postgres'), '-f', $dump ]);
unlike(slurp_file($dump), qr/COPY queue\.worker /, 'a dump does not have workers');
query('CREATE DATABASE restored');
run_log([ 'psql', '-Xq', '-d', $node->connstr('restored'), '-f', $dump ]);
query('CREATE DATABASE source');
query(q{
	CREATE EXTENSION queue;
	SELECT queue.create_topic('jobs');
	CREATE TABLE done ("offset" bigint);
	CREATE FUNCTION handle(m queue.message) RETURNS void LANGUAGE sql AS 'INSERT INTO done VALUES (m."offset")';
	SELECT queue.subscribe('work', 'jobs', 'handle(queue.message)', workers => 1)}, 'source');
ok(run(1, 'source'), 'a database that is to be copied');
query('SELECT pg_terminate_backend(pid) FROM queue.workers', 'source');
ok(run(0, 'source'), 'without its worker');
ok(patiently(sub { $node->psql('template1', 'CREATE DATABASE copied TEMPLATE source') == 0 }), 'is copied');
query('SELECT queue.start_maintenance()', 'source');
ok(run(1, 'source'), 'it has its worker again');

foreach my $db (qw(restored copied))
{
	query(q{SELECT queue.start_maintenance()}, $db);
	my $passes = query('SELECT last_pass FROM queue.maintenance', $db);
	ok(patiently(sub { query("SELECT last_pass > '$passes' FROM queue.maintenance", $db) eq 't' }), "$db is maintained")
	  if $passes ne '';
	is(query('SELECT state || obstacle FROM queue.workers', $db),
		'stoppedThe subscription was restored or copied. queue.subscribe() starts its workers.', 'and has no workers');
	is(query(q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'queue worker' AND datname = current_database()}, $db),
		0, 'none');
	query(q{SELECT queue.produce('jobs', '1')}, $db);
	my $owner = query('SELECT owner FROM queue.subscriptions', $db);
	query(qq{SET ROLE "$owner"; SELECT queue.subscribe(consumer_group, topic, handler::regprocedure, batch, workers, timeout)
		FROM queue.subscriptions WHERE workers > 0 AND owner = current_user}, $db);
	ok(run(1, $db), 'subscribe starts them');
	ok(patiently(sub { query(q{SELECT (SELECT count(*) FROM done) = queue.log_end('jobs', 0)}, $db) eq 't' }), 'and they work');
}

$node->stop('fast');
done_testing();
