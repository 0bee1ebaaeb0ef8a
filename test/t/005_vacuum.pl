# The promise: VACUUM, VACUUM FREEZE and VACUUM FULL of segments keep the log
# whole and in order, also while producers and consumers work on it, and also
# when a segment is far larger than shared_buffers and an earlier scan of it
# stopped in its middle: there a synchronized scan would begin to copy, and the
# log would come out reordered.
#
#   VACUUM_ROUNDS   how often each kind, 2 by default

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use QueueTest;

# So few buffers that every larger segment counts as a big table.
my $node = new_server('vacuum', 'shared_buffers = 1MB');

# Under load: each kind of VACUUM, of all segments that there are, so many times.
create_ledger($node, 'load', 'partitions => 2, segment_messages => 2000');
my @kinds = ('', '(FREEZE)', '(FULL)', '(TRUNCATE on, INDEX_CLEANUP on)', '(FULL, FREEZE)');
my $rounds = $ENV{VACUUM_ROUNDS} || 2;
my @rest = (@kinds) x $rounds;
my $vacuumed = 0;
is( load_until(
		$node, 'load',
		sub {
			my $segments = $node->safe_psql('postgres',
				q{SELECT segment FROM queue.segments WHERE topic = 'load' AND messages > 0});
			my $kind = shift @rest;

			$node->safe_psql('postgres',
				join '', map { $vacuumed++; "VACUUM $kind $_;\n" } split /\n/, $segments);
			return !@rest;
		},
		[ 'producer', 3, '-t', 200 ],
		[ 'consumer', 3, '-t', 200 ]),
	'', "producers and consumers go on beside VACUUM of every kind, $rounds times");
cmp_ok($vacuumed, '>', @kinds * $rounds, "of $vacuumed segments");
drain($node, 'load');
check_ledger($node, 'load', 'after VACUUM under load');

# Space of aborted messages is given back, and their places used again.
$node->safe_psql(
	'postgres', q{
	SELECT queue.create_topic('holes', value_type => 'text', segment_messages => 1000000);
	SELECT count(*) FROM generate_series(0, 999) i, queue.produce('holes', 'kept ' || i);
	BEGIN;
	SELECT queue.produce_batch('holes', ARRAY(SELECT repeat('x', 500) FROM generate_series(1, 5000)));
	ROLLBACK;
});
$node->safe_psql('postgres', 'VACUUM ' . segment_of($node, 'holes'));
is( $node->safe_psql(
		'postgres', q{SELECT "offset" FROM queue.produce('holes', 'next'::text)}),
	1000,
	'offsets of an aborted batch are assigned again after VACUUM');
check_log($node, 'holes', 'after an aborted batch and VACUUM');

# Scan a table to its middle, then stop. This is what leaves the position from
# which the next synchronized scan would start.
sub scan_to_the_middle
{
	my ($table) = @_;

	$node->safe_psql(
		'postgres', qq{
		BEGIN;
		DECLARE c CURSOR FOR SELECT * FROM $table;
		MOVE 100000 IN c;
		COMMIT});
	return;
}

# A segment and, as the control, a plain heap table of the same rows.
foreach my $topic ('big', 'beside')
{
	$node->safe_psql(
		'postgres', qq{
		SELECT queue.create_topic('$topic', value_type => 'text', segment_messages => 10000000);
		SELECT queue.produce_batch('$topic',
			ARRAY(SELECT 'message ' || i || repeat('.', 80) FROM generate_series(1, 200000) i))});
}
my $big = segment_of($node, 'big');
my $beside = segment_of($node, 'beside');
$node->safe_psql('postgres', "CREATE TABLE heap AS SELECT * FROM topic.big");
cmp_ok($node->safe_psql('postgres', "SELECT pg_relation_size('$big')"),
	'>', 20 * 1024 * 1024, 'the segment is 20 times the size of shared_buffers');
my $digest = digest($node, 'postgres', 'big');

scan_to_the_middle('heap');
cmp_ok($node->safe_psql('postgres', 'SELECT "offset" FROM heap LIMIT 1'),
	'>', 1000, 'control: a heap of that size is scanned from the middle on');

scan_to_the_middle($big);
is($node->safe_psql('postgres', qq{SELECT "offset" FROM $big LIMIT 1}),
	0, 'a segment is always scanned from its start');

scan_to_the_middle($big);
my ($first) = split /\t/,
  (split /\n/, $node->safe_psql('postgres', "COPY $big TO STDOUT"))[0];
is($first, 0, 'COPY TO too');

# A parked scan elsewhere, and VACUUM FULL of the big one.
my $parked = open_session($node);
$parked->query_safe(
	qq{BEGIN; DECLARE c CURSOR FOR SELECT * FROM $beside; MOVE 100000 IN c});
scan_to_the_middle($big);
$node->safe_psql('postgres', "VACUUM (FULL) $big");
is(digest($node, 'postgres', 'big'),
	$digest, 'after VACUUM FULL every message is where it was');
check_log($node, 'big', 'after VACUUM FULL');
is( $node->safe_psql(
		'postgres', q{SELECT "offset" FROM queue.fetch_typed('big', 0, 123456, NULL::text, 1)}),
	123456,
	'an offset is found in its middle');
is($node->safe_psql('postgres', q{SELECT "offset" FROM queue.produce('big', 'x'::text)}),
	200000, 'and producing goes on at its end');

# The parked scan goes on too.
is($parked->query_safe('FETCH 1 IN c') =~ s/^\D*(\d+).*/$1/sr,
	100000, 'the parked scan goes on where it stood');
$parked->query_safe('COMMIT');
$parked->quit;

# VACUUM FULL of the whole database passes over all of it.
scan_to_the_middle($beside);
$node->safe_psql('postgres', 'VACUUM (FULL, FREEZE)');
foreach my $topic ('load', 'holes', 'big', 'beside')
{
	check_log($node, $topic, "after VACUUM FULL of the database: $topic");
}

$node->stop;
done_testing();
