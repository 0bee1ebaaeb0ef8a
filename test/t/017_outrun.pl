# The promise: retention that does not wait for a group, and a group that jumps to
# the log start, leave no message unaccounted for: each is consumed once, or lies in
# a stretch that the group was told to have missed; with consumers, producers and
# maintenance at work at once, and a server that is stopped in the middle of it. No
# call fails. The counts are dumped and restored.
#
#   OUTRUN_OFFSETS   how many are missed, and consumed, under load; 1000 by default

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use QueueTest;

my $offsets = $ENV{OUTRUN_OFFSETS} || 1000;
my $node = new_server('outrun');
create_ledger($node, 'orders',
	q{partitions => 2, segment_messages => 100, retention => '1 millisecond',
	  retention_force => true});
$node->safe_psql('postgres', q{SELECT queue.alter_group('ledger', 'earliest', '1 day')});

# Producers, and consumers that are too slow for them.
my @what = ([ 'producer', 2 ], [ 'consumer', 2, '-R', 15 ]);

# Maintenance; and whether so many offsets were missed by now, and so many consumed.
sub maintain
{
	my ($enough) = @_;

	$node->psql('postgres', 'CALL queue.maintain()');
	return $node->safe_psql('postgres', qq{
		SELECT sum(missed) > $enough AND (SELECT count(*) > $enough FROM consumed)
		  FROM queue.consumer_groups WHERE consumer_group = 'ledger'}) eq 't';
}

# What is certainly missed, whatever the machine did: several segments of each
# partition, all but the last message, with which a group goes on. (The load's
# messages: by a producer of that number.)
sub outrun
{
	my ($producer) = @_;

	$node->safe_psql(
		'postgres', qq{
		INSERT INTO produced (producer, seq, partition, "offset")
		SELECT $producer, p * 1000 + i, r.partition, r."offset"
		  FROM generate_series(0, 1) p, generate_series(1, 500) i,
			queue.produce('orders', jsonb_build_object('producer', $producer, 'seq', p * 1000 + i), partition => p) r;
		SELECT queue.delete_messages('orders', p, queue.log_end('orders', p) - 1, force => true)
		  FROM generate_series(0, 1) p});
	return;
}

is( load_until(
		$node, 'orders',
		sub { maintain($offsets) },
		[ @{ $what[0] }, '-t', 500 ],
		[ @{ $what[1] }, '-t', 30 ]),
	'', 'no call of a producer or consumer failed');

my @loads = map { start_load($node, 'orders', @$_, forever()) } @what;
patiently(sub { maintain(2 * $offsets) }) or die 'the load does not get on';
$node->stop('immediate');
finish_load($_) foreach @loads;
$node->start;

outrun(1000);
drain($node, 'orders');

my $jumps = q{
	SELECT partition, from_offset, to_offset FROM queue.offset_history
	 WHERE consumer_group = 'ledger' AND action = 'jumped'};
my $missed = $node->safe_psql('postgres',
	q{SELECT sum(missed) FROM queue.consumer_groups WHERE consumer_group = 'ledger'});
cmp_ok($missed, '>', 100, "something was missed: $missed offsets");
cmp_ok($node->safe_psql('postgres', 'SELECT count(*) FROM consumed'),
	'>', 100, 'and something consumed');
is( $node->safe_psql(
		'postgres', qq{
		SELECT g.partition, g.missed - sum(j.to_offset - j.from_offset)
		  FROM queue.consumer_groups g JOIN ($jumps) j USING (partition)
		 WHERE g.consumer_group = 'ledger' GROUP BY g.partition, g.missed ORDER BY 1}),
	"0|0\n1|0", 'what was missed is what was jumped over');
is( $node->safe_psql(
		'postgres', qq{
		WITH jump AS ($jumps)
		SELECT (SELECT count(*) - count(DISTINCT (partition, "offset")) FROM consumed),
			(SELECT count(*) - count(DISTINCT (producer, seq)) FROM consumed),
			(SELECT count(*) FROM (SELECT producer, seq FROM consumed
				EXCEPT SELECT producer, seq FROM produced) strange),
			(SELECT count(*) FROM consumed c JOIN jump j ON c.partition = j.partition
				AND c."offset" >= j.from_offset AND c."offset" < j.to_offset),
			(SELECT count(*) FROM produced p
			  WHERE p."offset" IS NOT NULL
			    AND NOT EXISTS (SELECT FROM consumed c
					WHERE (c.producer, c.seq) = (p.producer, p.seq))
			    AND NOT EXISTS (SELECT FROM jump j WHERE p.partition = j.partition
					AND p."offset" >= j.from_offset AND p."offset" < j.to_offset))}),
	'0|0|0|0|0',
	'each message was consumed once, or is in a stretch that was missed');
check_log($node, 'orders', 'after being outrun');

# Dumped and restored, with a group that is behind and one that has expired.
$node->safe_psql(
	'postgres', q{
	SELECT queue.create_group('behind', 'orders');
	SELECT queue.create_group('gone', 'orders', expiry => '30 days');
	UPDATE queue.consumer_group SET created_at = now() - interval '100 days' WHERE name = 'gone';
	UPDATE queue.progress SET committed_at = now() - interval '100 days'
	 WHERE group_id = (SELECT group_id FROM queue.consumer_group WHERE name = 'gone');
});
outrun(2000);
my $state = q{
	SELECT consumer_group, partition, current_offset, missed, expired
	  FROM queue.consumer_groups ORDER BY 1, 2;
	SELECT consumer_group, missed, auto_offset_reset, expiry FROM queue.group_summary ORDER BY 1;
	SELECT * FROM queue.offset_history ORDER BY 1, 2, 3, 4;
};
my $before = $node->safe_psql('postgres', $state);
like($before, qr/^behind\|0\|\d+\|[1-9]/m, 'a group is behind');
like($before, qr/^gone\|[1-9]\d*\|none\|30 days$/m, 'and one has an expiry');
my $dump = PostgreSQL::Test::Utils::tempdir() . '/dump';
$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->command_ok([ 'pg_dump', '-Fc', '-f', $dump, '-d', $node->connstr('postgres') ], 'dumped');
$node->command_ok([ 'pg_restore', '-d', $node->connstr('restored'), $dump ], 'restored');
is($node->safe_psql('restored', $state), $before, 'the same settings, offsets and counts');
is(sqlstate($node, 'restored', q{SELECT count(*) FROM queue.consume('behind', 'orders')}),
	'QU001', 'the group that is behind is told');
is( $node->safe_psql(
		'restored', q{
		SELECT queue.alter_group('behind', 'earliest');
		SELECT count(*) FROM queue.consume('behind', 'orders', max_messages => 1);
		SELECT count(*) FROM queue.offset_history WHERE consumer_group = 'behind' AND action = 'jumped'}),
	"\n1\n1", 'or goes on');

done_testing();
