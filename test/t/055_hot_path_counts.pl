# The promise: in steady state a session that produces or consumes needs no memory that
# it has not used before. Counted are its minor page faults: the memory of a call is
# free at its end, and must not go back to the system between two calls; the memory of
# an extraordinarily large batch must.
#
# Shared buffers cause a page fault when the session meets one for the first time. So
# there are few of them, and all have been met before anything is counted.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use QueueTest;

plan skip_all => 'no /proc/<pid>/stat to count page faults' unless -r '/proc/self/stat';

my $calls = 100;    # that are counted, of 1,000 messages each

my $node = new_server(
	'hot_path_counts', q{
shared_buffers = 8MB
wal_buffers = 1MB
autovacuum = off
jit = off
max_wal_size = 4GB});
my $session;
my $pid;

sub run
{
	my ($sql) = @_;

	return $session->query_safe($sql);
}

# A session that has not done anything yet.
sub begin_session
{
	$session->quit if $session;
	$session = open_session($node);
	$pid = run('SELECT pg_backend_pid()');
	return;
}

# Field 10 of the process's state; the name before it may hold blanks.
sub minor_faults
{
	my ($fields) = slurp_file("/proc/$pid/stat") =~ /.*\) (.*)/s;

	return (split / /, $fields)[7];
}

# Kilobytes of memory that the session has for itself.
sub private_memory
{
	my ($kilobytes) = slurp_file("/proc/$pid/status") =~ /^RssAnon:\s+(\d+)/m;

	return $kilobytes;
}

# Page faults for each call of a statement, once all is warm.
sub faults_per_call
{
	my ($statement) = @_;
	my $script = join ";\n", ($statement) x $calls;
	my $before;

	run($script) for 1 .. 3;
	$before = minor_faults();
	run($script);
	return (minor_faults() - $before) / $calls;
}

sub few_faults
{
	my ($what, $statement) = @_;

	begin_session();
	run('SET client_min_messages = error');
	# all buffers
	run('SELECT sum(hashtext(t::text)) FROM large t');
	run('SELECT count(*) FROM topic.t');

	my $faults = faults_per_call($statement);

	cmp_ok($faults, '<=', 3, "$what: page faults for 1,000 messages");
	note("$what: $faults");
	return;
}

$node->safe_psql(
	'postgres', q{
	CREATE TABLE sample AS
		SELECT n, 'key' || n AS key, repeat(md5(n::text), 4) AS value
		FROM generate_series(1, 1000) n;
	CREATE TABLE arrays AS
		SELECT array_agg(key ORDER BY n) AS keys, array_agg(value ORDER BY n) AS values FROM sample;
	CREATE TABLE large AS
		SELECT repeat('x', 1000) FROM generate_series(1, 20000);
	SELECT queue.create_topic('t', 1, 'text');
});

# ---- producing ----
few_faults('produce_batch',
	"SELECT count(*) FROM arrays, queue.produce_batch('t', values, keys => keys)");
few_faults('produce',
	"SELECT count(queue.produce('t', value, key)) FROM sample");
few_faults('INSERT', 'INSERT INTO topic.t (key, value) SELECT key, value FROM sample');

my $file = PostgreSQL::Test::Utils::tempdir() . '/sample';

$node->safe_psql('postgres', "COPY (SELECT key, value FROM sample) TO '$file'");
few_faults('COPY', "COPY topic.t (key, value) FROM '$file'");

# ---- consuming ----
few_faults('consume',
	"SELECT sum(length(value)) FROM queue.consume_typed('g', 't', NULL::text, 1000)");
few_faults(
	'poll and commit_offset', q{
	SELECT max("offset") + 1 AS next, max(epoch) AS epoch
		FROM queue.poll_typed('h', 't', 'member', NULL::text, 1000) \gset
	SELECT queue.commit_offset('h', 't', 0, :next, 'member', :epoch)});
few_faults('fetch',
	"SELECT sum(length(value)) FROM queue.fetch_typed('t', 0, 100000, NULL::text, 1000)");

is( $node->safe_psql('postgres',
		q{SELECT string_agg(consumer_group || ' ' || current_offset, ', ' ORDER BY consumer_group)
		FROM queue.consumer_groups}),
	'g 400000, h 400000', 'every call had its thousand messages');

# ---- what a large batch leaves ----
begin_session();
run("SELECT queue.produce('t', 'v')");

my $before = private_memory();

run(q{SELECT count(*) FROM queue.produce_batch('t', ARRAY(
	SELECT repeat('x', 1000) FROM generate_series(1, 50000)))});
cmp_ok(private_memory() - $before, '<', 16 * 1024, 'the memory of a large batch goes back');

$session->quit;
$node->stop;
done_testing();
