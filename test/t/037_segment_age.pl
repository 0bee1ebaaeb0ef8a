# The promise: without further traffic limits and compaction reach every message of a
# topic, and the disk is given back: a segment is closed by its age. Closing is a
# change of the catalog alone. A server that is killed at any moment while segments are
# closed and removed under load loses nothing; a dump has the bounds and the log start;
# a standby reads across a segment that is closed while it reads.
#
#   KILLS   how often, 8 by default

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);
use QueueTest;

my $kills = $ENV{KILLS} || 8;
my $node = new_server(
	'primary',
	"queue.maintenance_interval = 1\nautovacuum = off\n",
	allows_streaming => 1);

sub query
{
	return $node->safe_psql('postgres', shift);
}

# ---------------- without further traffic ----------------

query(q{
	SELECT queue.create_topic('idle', value_type => 'text', retention => '1 s', segment_age => '1 s');
	SELECT queue.produce_batch('idle', ARRAY(SELECT repeat('x', 1000) FROM generate_series(1, 100)));
	SELECT queue.create_topic('state', value_type => 'text', cleanup_policy => 'compact',
		segment_age => '1 s', tombstone_retention => '0');
	SELECT queue.produce('state', 'secret', key => 'customer 1');
	SELECT queue.produce('state', 'other', key => 'customer 2');
	SELECT queue.produce('state', NULL, key => 'customer 1');
	SELECT queue.start_maintenance();
});
ok( $node->poll_query_until('postgres', q{
	SELECT log_start = 100 AND log_end = 100 AND NOT EXISTS (SELECT FROM topic.idle)
	   AND (SELECT sum(pg_relation_size(segment)) FROM queue.segments WHERE topic = 'idle') = 0
	  FROM queue.partitions WHERE topic = 'idle'}),
	'an old topic is empty, its disk is given back, and the log starts at its end');
ok( $node->poll_query_until('postgres',
		q{SELECT count(*) = 0 FROM topic.state WHERE value = 'secret'}),
	'a deleted key is gone');
is( query(q{SELECT string_agg("offset" || ' ' || key, ', ' ORDER BY "offset") FROM topic.state}),
	'1 customer 2, 2 customer 1',
	'other keys stay, and the last message');
is( query(q{SELECT queue.log_start('state', 0) || ' ' || queue.log_end('state', 0)}),
	'0 3', 'offsets are not given again');
is( query(q{SELECT i."offset" || ' ' || s."offset"
	FROM queue.produce('idle', 'on') i, queue.produce('state', 'on', key => 'customer 3') s}),
	'100 3', 'and go on');
ok( $node->poll_query_until('postgres',
		q{SELECT count(*) = 0 FROM topic.state WHERE value IS NULL}),
	'a tombstone that was the last message goes when another one follows');

# ---------------- on a standby ----------------

query(q{
	SELECT queue.stop_maintenance();
	SELECT queue.create_topic('copied', value_type => 'text');
	SELECT queue.produce_batch('copied', ARRAY['0', '1', '2']);
});
$node->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'backup', has_streaming => 1);
$standby->start;

my $fetch = q{SELECT string_agg(value, ' ' ORDER BY "offset") FROM queue.fetch_typed('copied', 0, %d, NULL::text);};
my $reader = $standby->background_psql('postgres');

sub on_standby
{
	my ($from) = @_;

	query('SELECT txid_current()');
	$node->wait_for_catchup($standby);
	return $reader->query_safe(sprintf $fetch, $from);
}

is(on_standby(0), '0 1 2', 'a standby reads a topic');
query(q{SELECT queue.roll_segments('copied'); SELECT queue.produce('copied', '3')});
is(on_standby(0), '0 1 2 3', 'and on, behind a segment that was closed since');
is(on_standby(3), '3', 'also from its end on');
query(q{SELECT queue.roll_segments('copied'); SELECT queue.delete_messages('copied', 0, 4)});
is(on_standby(4), '', 'and at the end of a log that was emptied');
query(q{SELECT queue.produce('copied', '4')});
is(on_standby(4), '4', 'and what comes then');
$reader->quit;
$standby->stop;

# ---------------- in a dump ----------------

query(q{
	SELECT queue.create_topic('dumped', value_type => 'text');
	SELECT queue.produce_batch('dumped', ARRAY['0', '1', '2']);
	SELECT queue.roll_segments('dumped');
	SELECT queue.produce('dumped', '3');
});
my $dump = "$PostgreSQL::Test::Utils::tmp_check/dump.sql";
$node->command_ok([ 'pg_dump', '-f', $dump, 'postgres' ], 'pg_dump');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', $dump, 'restored' ], 'restored');
my $look = q{SELECT (SELECT string_agg(topic || ' ' || log_start || ' ' || log_end, ', ' ORDER BY topic)
	  FROM queue.partitions WHERE topic <> 'state'),
	(SELECT string_agg(first_offset || '-' || end_offset, ' ' ORDER BY first_offset) FROM queue.segments WHERE topic = 'dumped'),
	(SELECT string_agg(value, ' ' ORDER BY "offset") FROM topic.dumped)};
is($node->safe_psql('restored', $look), query($look), 'a restored topic has the same bounds');
is($node->safe_psql('restored', q{SELECT (queue.produce('dumped', '4')).offset, (SELECT count(*) FROM queue.verify('dumped'))}),
	'4|0', 'and goes on');

# ---------------- killed ----------------

my $topic = 'kills';
create_ledger($node, $topic,
	"partitions => 2, segment_messages => 100000, retention => '1 millisecond', segment_age => '1 millisecond'");
my %maintain = (maintain => "CALL queue.maintain('$topic');\n");
my $closed = q{SELECT coalesce(sum(items), 0) FROM queue.maintenance_log WHERE topic = 'kills' AND action = 'segments closed'};
for my $kill (1 .. $kills)
{
	my $before = query($closed);
	my @loads = (
		start_load($node, $topic, 'producer', 2, forever()),
		start_load($node, $topic, 'consumer', 2, forever()),
		start_pgbench($node, 'maintainer', \%maintain, '-c', 2, forever()));

	$node->poll_query_until('postgres', "SELECT ($closed) > $before + 3")
	  or die "kill $kill: no segment is closed";
	sleep rand 0.3;
	kill_server($node);
	finish_load($_) and fail("kill $kill: the $_->{kind}s were not cut off") foreach @loads;
	$node->start;
	check_retained($node, $topic, "kill $kill") if $kill % 4 == 0;
}
drain($node, $topic);
check_retained($node, $topic, 'in the end', drained => 1);
ok( $node->poll_query_until('postgres', qq{
	SELECT count(*) = 0 FROM topic.$topic}) || 0, 'what was consumed is removed')
  if query('SELECT queue.start_maintenance() > 0') eq 't';

$node->stop;
done_testing();
