# The promise: with 8 producers and 8 consumers at once, single messages, batches
# with and without keys, the topic's view, savepoints and random rollbacks on both
# sides, over segments so small that they change all the time: nothing is lost,
# nothing is delivered twice, and the order is kept in every partition.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use QueueTest;

my $node = new_server('stress');
my $topic = 'Stress-1';

create_ledger($node, $topic, 'partitions => 4, segment_messages => 40');

# Two protocols on each side.
my @load = (
	start_load($node, $topic, 'producer', 4, '-T', 15),
	start_load($node, $topic, 'producer', 4, '-T', 15, '-M', 'prepared',
		'-D', 'base=4'),
	start_load($node, $topic, 'consumer', 4, '-T', 15),
	start_load($node, $topic, 'consumer', 4, '-T', 15, '-M', 'prepared'));

foreach my $load (@load)
{
	ok(finish_load($load), "the $load->{who}s came to their end");
	cmp_ok(transactions_done($load), '>', 50, 'and did something');
}

# What happened on the way, so that the check below means something.
my $received = $node->safe_psql('postgres', 'SELECT count(*) FROM consumed');
cmp_ok($received, '>', 1000, 'much was consumed under load');
is($node->safe_psql('postgres', 'SELECT count(DISTINCT producer) FROM produced'),
	8, 'every producer produced');
cmp_ok(
	$node->safe_psql('postgres',
		"SELECT count(*) FROM queue.segments WHERE topic = '$topic'"),
	'>', 100, 'over many segments');
is( $node->safe_psql(
		'postgres', q{SELECT count(*) FROM
			(SELECT FROM produced GROUP BY producer HAVING max(seq) > count(*)) x}),
	8, 'and every one rolled back some of it');

drain($node, $topic);
check_ledger($node, $topic, 'after the load');
is( $node->safe_psql(
		'postgres', qq{SELECT string_agg((g.current_offset - m.next)::text, ',')
			FROM queue.consumer_groups g
			JOIN (SELECT partition, max("offset") + 1 AS next
				FROM topic."$topic" GROUP BY 1) m USING (partition)}),
	'0,0,0,0',
	'the group stands behind the last message of every partition');
is($node->safe_psql('postgres', 'SELECT count(*) FROM queue.blockers'),
	0, 'and nobody holds a reader back');

$node->stop;
done_testing();
