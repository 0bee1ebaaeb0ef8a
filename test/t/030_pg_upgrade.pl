# The promise: pg_upgrade to a later major version, by copying or by linking files,
# keeps topics whole: the same messages at the same offsets, segments, archived
# segments, what was compacted; the groups' committed offsets, the producers'
# state; and producing, consuming and maintenance go on where they stopped.
#
# It needs two majors: the server that is tested, and an older one with its
# development files, PG_CONFIG_OLD=path of its pg_config, or found where Debian has
# it. The extension is built for both.

use strict;
use warnings;

use Cwd;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use QueueTest;

# ---------------- two servers with the extension ----------------

my ($new_major) = `pg_config --version` =~ /(\d+)/;

# The newest older server that one can build for.
sub find_old
{
	my @candidates = sort { ($b =~ m{/(\d+)/bin})[0] <=> ($a =~ m{/(\d+)/bin})[0] }
	  grep { m{/(\d+)/bin} && $1 >= 15 && $1 < $new_major }
	  glob('/usr/lib/postgresql/*/bin/pg_config');

	unshift @candidates, $ENV{PG_CONFIG_OLD} if $ENV{PG_CONFIG_OLD};
	foreach my $candidate (@candidates)
	{
		chomp(my ($bin, $include, $pgxs) = map { `$candidate --$_` } qw(bindir includedir-server pgxs));
		return $candidate
		  if -x "$bin/postgres" && -f "$include/postgres.h" && -f $pgxs;
	}
	return;
}

my $old_config = find_old();
plan skip_all =>
  "pg_upgrade to PostgreSQL $new_major needs an older server with its development files (PG_CONFIG_OLD); there is none"
  unless defined $old_config;

my $folder = PostgreSQL::Test::Utils::tempdir();
my %server;
my ($old_major) = `$old_config --version` =~ /(\d+)/;
note("from $old_major to $new_major");
foreach my $which ([ old => $old_config ], [ new => 'pg_config' ])
{
	my ($name, $config) = @$which;
	my %copy = copy_server("$folder/$name", $config);

	replace_file(build_library("$folder/build-$name", '-O0', "PG_CONFIG=$config"),
		"$copy{pkglibdir}/queue.so");
	replace_file($_, "$copy{extension}/$_") foreach 'queue.control', glob('queue--*.sql');
	$server{$name} = \%copy;
}

# A cluster of one of the servers; initdb makes checksums by default since 18.
sub cluster
{
	my ($name, $which) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name, install_path => $server{$which}{install_path});
	my $major = $which eq 'old' ? $old_major : $new_major;

	$node->init(extra => [
			'--no-locale', '--encoding=UTF8',
			$major >= 18 ? '--no-data-checksums' : () ]);
	$node->append_conf('postgresql.conf', "max_worker_processes = 16\nautovacuum = off");
	return $node;
}

# ---------------- the old server ----------------

my $old = cluster('old', 'old');
$old->start;
$old->safe_psql('postgres', q{
	CREATE EXTENSION queue;
	CREATE SCHEMA archive;
	SELECT queue.create_topic('words', value_type => 'text', segment_messages => 20);
	SELECT queue.create_topic('keyed', partitions => 2, segment_messages => 50, cleanup_policy => 'compact');
	SELECT queue.create_topic('Odd-Name.1', partitions => 3);
	SELECT queue.create_topic('empty');
	SELECT queue.create_topic('sequenced', partitions => 2);});
$old->safe_psql('postgres', q{
	SELECT count(*) FROM generate_series(1, 200) i, queue.produce('words', repeat('w', i * i)) r;
	SELECT count(*) FROM generate_series(1, 400) i,
		queue.produce('keyed', to_jsonb(i), key => 'k' || i % 7, headers => '{"a": 1}') r;
	SELECT count(*) FROM queue.produce_batch('Odd-Name.1', ARRAY(SELECT to_jsonb(i) FROM generate_series(1, 100) i), partition => 1);
	BEGIN;
	SELECT count(*) FROM generate_series(1, 30) i, queue.produce('words', 'gone ' || i) r;
	ROLLBACK;
	SELECT queue.produce('words', 'after an aborted one'::text);
	SELECT count(*) FROM generate_series(1, 100) i,
		queue.produce('sequenced', to_jsonb(i), producer_id => 'loader', sequence => i) r;
	SELECT queue.prune_producers('sequenced');
	SELECT queue.fence_producer('sequenced', 'loader');
	SELECT queue.create_group('late', 'words', start => 'latest');
	SELECT count(*) FROM queue.consume_typed('reader', 'words', NULL::text, 137);
	SELECT count(*) FROM queue.poll('poller', 'Odd-Name.1', 'member', 10);
	SELECT queue.pause('poller', 'Odd-Name.1', 2);
	CREATE FUNCTION handle(m queue.message) RETURNS void LANGUAGE sql AS 'SELECT';
	SELECT queue.subscribe('handled', 'empty', 'handle(queue.message)', workers => 2);});

# Repeat what a worker of the extension's may be in the way of.
sub until_done
{
	my ($sql, $query, $expected) = @_;

	patiently(
		sub {
			$old->psql('postgres', $sql);
			return $old->safe_psql('postgres', $query) eq $expected;
		}) or die "not $expected: $query";
	return;
}

until_done(q{SET queue.compaction_min_dirty_ratio = 0; CALL queue.maintain('keyed')},
	q{SELECT count(*) FROM queue.checkpoint WHERE compacted_to > 0}, 2);
until_done(q{SELECT queue.archive_segment('words', 0, 'archive.words')},
	q{SELECT to_regclass('archive.words')}, 'archive.words');

# All that must be as it was, as text.
my @topics = ('words', 'keyed', 'Odd-Name.1', 'empty', 'sequenced');

sub state_of
{
	my ($node) = @_;

	return join "\n", (map { "$_: " . digest($node, 'postgres', $_) } @topics),
	  $node->safe_psql('postgres', q{
		SELECT 'archived', count(*), sum(hashtext(value)), min("offset"), max("offset") FROM archive.words;
		SELECT topic, partition, log_start, stable_end, log_end FROM queue.partitions ORDER BY 1, 2;
		SELECT topic, partition, segment, first_offset, end_offset FROM queue.segments ORDER BY 1, 2, 4;
		SELECT consumer_group, topic, partition, current_offset, lag, paused, committed_at, committed_by
		  FROM queue.consumer_groups ORDER BY 1, 2, 3;
		SELECT * FROM queue.producer_state('sequenced', 'loader');
		SELECT i, r FROM generate_series(1, 100) i,
			queue.produce('sequenced', '0'::jsonb, producer_id => 'loader', sequence => i, epoch => 1) r
			WHERE i % 7 = 0;});
}

my $before = state_of($old);
note($before);
$old->stop;

# ---------------- upgrades ----------------

# "link" comes last: the old server must not be started after it.
foreach my $mode ('copy', 'link')
{
	my $new = cluster($mode, 'new');

	# it leaves a script where it runs
	my $here = getcwd();
	chdir $folder or die;
	$new->command_ok([
			"$server{new}{bindir}/pg_upgrade", '--no-sync',
			'-d', $old->data_dir, '-D', $new->data_dir,
			'-b', $server{old}{bindir}, '-B', $server{new}{bindir},
			'-s', $new->host, '-p', $old->port, '-P', $new->port,
			$mode eq 'link' ? '--link' : () ],
		"$mode: pg_upgrade");
	chdir $here or die;
	$new->start;
	is(state_of($new), $before, "$mode: everything is as it was");
	foreach my $topic (@topics)
	{
		check_log($new, $topic, $mode);
	}

	# Groups go on at the next message.
	is($new->safe_psql('postgres', q{SELECT min("offset"), count(*) FROM queue.consume_typed('reader', 'words', NULL::text, 10)}),
		'137|10', "$mode: a group goes on");
	is($new->safe_psql('postgres', q{SELECT count(*) FROM queue.poll('poller', 'Odd-Name.1', 'member', 1000, lease => '1 hour')}),
		100, "$mode: a member gets what was not committed once more");
	is($new->safe_psql('postgres', q{SELECT queue.resume('poller', 'Odd-Name.1', 2)}), 1, "$mode: a paused partition is resumed");

	# Producers too.
	is($new->safe_psql('postgres', q{
			SELECT r.duplicate FROM queue.produce('sequenced', '101'::jsonb, producer_id => 'loader', sequence => 101, epoch => 1) r}),
		'f', "$mode: a producer goes on");
	is(sqlstate($new, 'postgres', q{SELECT queue.produce('sequenced', '0'::jsonb, producer_id => 'loader', sequence => 102)}),
		'QU003', "$mode: a fenced one stays fenced");
	is($new->safe_psql('postgres', q{SELECT r."offset" FROM queue.produce('words', 'new'::text) r}),
		231, "$mode: an offset follows the last one");
	is($new->safe_psql('postgres', q{SELECT "offset", value FROM queue.consume_typed('late', 'words', NULL::text, 10)}),
		'231|new', "$mode: and is consumed");

	# Maintenance, with workers of the new server.
	$new->safe_psql('postgres', q{
		SET queue.compaction_min_dirty_ratio = 0;
		SELECT count(*) FROM generate_series(1, 400) i, queue.produce('keyed', to_jsonb(i), key => 'k' || i % 7) r;
		CALL queue.maintain();});
	is($new->safe_psql('postgres', q{SELECT count(DISTINCT key) FROM topic.keyed}), 7, "$mode: compaction loses no key");
	foreach my $topic (@topics)
	{
		check_log($new, $topic, "$mode, at work");
	}
	$new->safe_psql('postgres', 'SELECT queue.start_maintenance()');
	ok($new->poll_query_until('postgres', 'SELECT count(pid) = 2 FROM queue.workers'),
		"$mode: the workers of a subscription begin");
	$new->stop;
}

done_testing();
