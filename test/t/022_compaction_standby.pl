# The promise: a standby reads on while a segment is compacted on the primary; it
# is in its way for the moment of the swap only. A standby's query that does not
# show a later message of a key never misses the one before: it is canceled. What
# the standby has afterwards is what the primary has.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use QueueTest;

my $primary = new_server(
	'primary',
	"wal_consistency_checking = all\nautovacuum = off\n",
	allows_streaming => 1);
$primary->safe_psql(
	'postgres', q{
	SELECT queue.create_topic('state', value_type => 'text', segment_messages => 200,
		cleanup_policy => 'compact');
	ALTER DATABASE postgres SET queue.compaction_min_dirty_ratio = 0;
});
$primary->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'backup', has_streaming => 1);
$standby->append_conf('postgresql.conf', "max_standby_streaming_delay = 0\n");
$standby->start;

sub catch_up
{
	# what is written is flushed with it
	$primary->safe_psql('postgres', 'SELECT txid_current()');
	$primary->wait_for_catchup($standby);
	return;
}

# A segment of 200 messages, about 8 a page, two of each key.
sub fill
{
	my ($n) = @_;

	$primary->safe_psql(
		'postgres', qq{
		SELECT queue.produce_batch('state',
			ARRAY(SELECT (SELECT string_agg(md5(i || ' ' || j), '') FROM generate_series(1, 30) j)
					FROM generate_series(1, 200) i),
			ARRAY(SELECT 'k' || i % 100 FROM generate_series(1, 200) i)) FROM generate_series(1, $n)});
	return;
}

fill(2);
$primary->poll_query_until('postgres',
	q{SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'queue segment worker')});

# A pass so slow that it is seen with the copy of a segment, nearly half a second a
# page; there its backend is stopped, until go_on().
my ($out, $err) = ('', '');
my $copier;

sub start_slow_pass
{
	my ($topic) = @_;
	my $pass = IPC::Run::start(
		[
			'psql', '-Xq', '-d', $primary->connstr('postgres'),
			'-c', q{SET vacuum_cost_page_hit = 100; SET vacuum_cost_page_miss = 100;
				SET vacuum_cost_limit = 1; SET vacuum_cost_delay = 100},
			'-c', qq{CALL queue.maintain('$topic')}
		],
		'<', \undef, '>', \$out, '2>', \$err);

	$primary->safe_psql(
		'postgres', q{
		DO $$ BEGIN
			WHILE NOT EXISTS (SELECT FROM queue.compaction_progress WHERE phase = 'copying') LOOP
				PERFORM pg_stat_clear_snapshot(), pg_sleep(0.01);
			END LOOP;
		END $$}, timeout => $PostgreSQL::Test::Utils::timeout_default);
	$copier = $primary->safe_psql('postgres', 'SELECT pid FROM queue.compaction_progress');
	is(kill('STOP', $copier), 1, 'a segment is being copied');
	return $pass;
}

sub go_on
{
	kill 'CONT', $copier;
	undef $copier;
	return;
}

END
{
	kill 'CONT', $copier if $copier;
}

my $pass = start_slow_pass('state');
catch_up();
is( $standby->safe_psql(
		'postgres', q{
		SELECT count(*) FROM pg_locks l JOIN pg_inherits i ON i.inhrelid = l.relation
		 WHERE i.inhparent = (SELECT log FROM queue.topic) AND l.mode = 'AccessExclusiveLock'}),
	'0',
	'it is not locked on the standby');
is( $primary->safe_psql('postgres', q{SELECT count(*) FROM queue.compaction_progress
		WHERE phase = 'copying'}),
	'1', 'while it is still being copied');
$primary->safe_psql('postgres',
	q{SELECT pg_cancel_backend(pid) FROM queue.compaction_progress});
go_on();
$pass->finish;
like($err, qr/canceling statement due to user request/, 'the pass was canceled');

# A snapshot from before the second half of the messages.
catch_up();
my $old = open_session($standby, on_error_stop => 0);
$old->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ');
my $before = $old->query_safe('SELECT count(*) FROM queue.topic');
fill(2);
$primary->poll_query_until('postgres',
	q{SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'queue segment worker')});
catch_up();
is($before, '1', 'a standby has an old snapshot');
my $file = $primary->safe_psql('postgres',
	q{SELECT relfilenode FROM pg_class WHERE oid = (SELECT segment FROM queue.segments WHERE first_offset = 200)});
my $start = $primary->lsn('insert');
$primary->safe_psql('postgres', q{CALL queue.maintain('state')});
catch_up();
is( $primary->safe_psql('postgres', q{SELECT count(*), count(DISTINCT key), min("offset") FROM topic.state}),
	'100|100|700',
	'the primary compacts');
eval { $old->query(q{SELECT min("offset") FROM topic.state}) };
like($@, qr/ended prematurely/, 'a query whose snapshot does not show the later messages is canceled');
# Catalogs that are pruned may cancel it, too; this record never fails to.
my ($wal) = run_command(
	[
		'pg_waldump', '-p', $primary->data_dir . '/pg_wal', '-r', 'Btree',
		'-s', $start, '-e', $primary->lsn('flush')
	]);
like($wal, qr{REUSE_PAGE .*/$file[ ,;]}, 'the swap tells the standby to');

my $all = q{SELECT "offset", key, md5(value) FROM topic.state ORDER BY 1};
is($standby->safe_psql('postgres', $all),
	$primary->safe_psql('postgres', $all), 'both have the same');

# What is copied into a segment while that is being compacted is kept: it lies
# where an aborted tail was.
$primary->safe_psql(
	'postgres', q{
	SELECT queue.create_topic('given', value_type => 'text', segment_messages => 200,
		cleanup_policy => 'compact');
	SELECT queue.produce_batch('given', ARRAY(SELECT repeat(i::text, 500) FROM generate_series(1, 150) i),
		ARRAY(SELECT 'k' || i % 100 FROM generate_series(1, 150) i));
	BEGIN;
	SELECT queue.produce_batch('given', ARRAY(SELECT 'x' FROM generate_series(1, 50) i),
		ARRAY(SELECT 'x' FROM generate_series(1, 50) i));
	ROLLBACK;
	SELECT queue.produce('given', 'next', key => 'next');
});
$primary->safe_psql('postgres', 'VACUUM');
my $leaf = $primary->safe_psql('postgres',
	q{SELECT segment FROM queue.segments WHERE topic = 'given' AND first_offset = 0});
$pass = start_slow_pass('given');
$primary->safe_psql('postgres',
	qq{INSERT INTO $leaf (partition, "offset", "timestamp", key, value) SELECT 0, 160, max("timestamp"), 'given', 'given' FROM topic.given WHERE "offset" < 160});
is( $primary->safe_psql('postgres', q{SELECT count(*) FROM queue.compaction_progress
		WHERE phase = 'copying'}),
	'1', 'while it is still being copied');
go_on();
$pass->finish;
my $given = q{SELECT count(*) FILTER (WHERE key = 'given'), count(*) FROM topic.given};
is($primary->safe_psql('postgres', $given), '1|152', 'then nothing goes');
$primary->safe_psql('postgres', q{CALL queue.maintain('given')});
is($primary->safe_psql('postgres', $given), '1|102', 'the next pass compacts');

done_testing();
