# The promise: a compacted topic is dumped and restored as it is: the same
# messages at the same offsets, with the gaps between them; the group, the log
# start and the log end go on where they were; and so does compaction.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use QueueTest;

my $node = new_server('compacted',
	"queue.compaction_min_dirty_ratio = 0\n");
my $folder = PostgreSQL::Test::Utils::tempdir();

# Produce numbers to both partitions: the key of each is one of 40, and each
# hundredth is a tombstone. As SQL.
sub produce_numbers
{
	my ($from, $to) = @_;
	my $array = sub { "ARRAY(SELECT $_[0] FROM generate_series($from, $to) g ORDER BY g)" };

	return 'SELECT sum(count) FROM generate_series(0, 1) p, queue.produce_batch(\'keyed\', '
	  . $array->('CASE WHEN mod(g, 100) > 0 THEN g::text END') . ', '
	  . $array->(q{'key-' || mod(g, 40)}) . ', partition => p)';
}

# Compact until no sealed segment has a message that a later one, in a sealed
# segment, too, replaces. A pass leaves out a segment that another session uses.
sub compact
{
	my ($db) = @_;

	patiently(
		sub {
			$node->safe_psql($db, 'CALL queue.maintain()');
			return $node->safe_psql(
				$db, q{
				SELECT count(*) FROM (
					SELECT partition, lead("offset") OVER (
						PARTITION BY partition, key ORDER BY "offset") AS later
					FROM topic.keyed) m
				JOIN (SELECT partition, max(first_offset) AS active FROM queue.segments
					WHERE topic = 'keyed' AND messages > 0 GROUP BY partition) a USING (partition)
				WHERE later < active}) == 0;
		}) or die 'not compacted';
	return;
}

# Ten segments in each partition, of which the last is in use.
$node->safe_psql(
	'postgres', q{
	SELECT queue.create_topic('keyed', partitions => 2, value_type => 'text',
		segment_messages => 100, cleanup_policy => 'compact');
	SELECT queue.create_group('reader', 'keyed')});
$node->safe_psql('postgres', produce_numbers(0, 999));

my $state = q{
	SELECT partition, log_start, log_end FROM queue.partitions WHERE topic = 'keyed' ORDER BY 1;
	SELECT partition, current_offset, lag FROM queue.consumer_groups WHERE topic = 'keyed' ORDER BY 1;
	SELECT partition, first_offset, end_offset, messages FROM queue.segments
	 WHERE topic = 'keyed' ORDER BY 1, 2;
	SELECT partition, "offset", key, value FROM topic.keyed ORDER BY 1, 2;
	SELECT t FROM queue.topic t};

# A part is read before, by offsets that are gaps afterwards.
is( $node->safe_psql('postgres', q{
		SELECT count(*) FROM queue.consume_typed('reader', 'keyed', NULL::text, 250, partitions => ARRAY[0])}),
	250, 'a group has begun');
compact('postgres');
my $left = $node->safe_psql('postgres', 'SELECT count(*) FROM topic.keyed');
cmp_ok($left, '<', 400, "compacted: $left messages of 2000 are left");

foreach my $format ('custom', 'directory', 'plain')
{
	my $db = "restored_$format";
	my $dump = "$folder/$format";

	$node->safe_psql('postgres', "CREATE DATABASE $db");
	$node->command_ok(
		[ 'pg_dump', '-F', $format, '-f', $dump, '-d', $node->connstr('postgres') ],
		"$format: dumped");
	$node->command_ok(
		$format eq 'plain'
		? [ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-f', $dump, '-d', $node->connstr($db) ]
		: [
			'pg_restore', '-d', $node->connstr($db),
			$format eq 'directory' ? ('-j', 2) : (), $dump
		],
		"$format: restored");
	is($node->safe_psql($db, $state), $node->safe_psql('postgres', $state),
		"$format: the same messages at the same places");
	check_log($node, 'keyed', $format, $db);

	# The group goes on: it gets all that is left behind its offset, in order.
	is( $node->safe_psql(
			$db, q{
			SELECT array_agg("offset" ORDER BY "offset") = (
					SELECT array_agg("offset" ORDER BY "offset") FROM topic.keyed
					 WHERE partition = 0 AND "offset" >= 250)
			  FROM queue.consume_typed('reader', 'keyed', NULL::text, 1000, partitions => ARRAY[0])}),
		't', "$format: the group goes on");

	# The log goes on at its end, and compaction with it.
	is( $node->safe_psql(
			$db, produce_numbers(1000, 1499) . q{;
			SELECT partition, log_end FROM queue.partitions WHERE topic = 'keyed' ORDER BY 1}),
		"1000\n0|1500\n1|1500", "$format: the log goes on at its end");
	compact($db);
	is( $node->safe_psql(
			$db, q{
			SELECT count(*) FROM generate_series(0, 1) p, generate_series(0, 39) k
			 WHERE NOT EXISTS (SELECT FROM topic.keyed m
				WHERE m.partition = p AND m.key = 'key-' || k
				AND m.value = (SELECT max(n)::text FROM generate_series(0, 1499) n WHERE n % 40 = k))}),
		0, "$format: the latest message of each key is there");
	cmp_ok($node->safe_psql($db, 'SELECT count(*) FROM topic.keyed'),
		'<', 400, "$format: compaction went on");
	check_log($node, 'keyed', "$format, going on", $db);
}

$node->stop;
done_testing();
