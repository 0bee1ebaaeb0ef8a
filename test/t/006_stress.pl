# The promise: with 8 producers and 8 consumers at once, single messages, batches
# with and without keys, the topic's view, savepoints and random rollbacks on both
# sides, over segments so small that they change all the time: nothing is lost,
# nothing is delivered twice, and the order is kept in every partition.
#
#   STRESS_MESSAGES   how many are consumed under load, 10000 by default

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use QueueTest;

my $node = new_server('stress');
my $topic = 'Stress-1';

my $messages = $ENV{STRESS_MESSAGES} || 10000;

create_ledger($node, $topic, 'partitions => 4, segment_messages => 40');

# Two protocols on each side.
my $enough = qq{
	SELECT (SELECT count(*) FROM consumed) >= $messages
	   AND (SELECT count(*) FROM queue.segments WHERE topic = '$topic') >= $messages / 100};
is( load_until(
		$node, $topic,
		sub { $node->safe_psql('postgres', $enough) eq 't' },
		map {
			my $kind = $_;

			map { [ $kind, 4, '-t', 200, '-M', $_ ] } 'simple', 'prepared'
		} 'producer', 'consumer'),
	'', "producers and consumers go on, over $messages messages");

# What happened on the way, so that the check below means something.
is( $node->safe_psql(
		'postgres', q{SELECT string_agg(DISTINCT (max > count)::text, ' ') FROM
			(SELECT max(seq), count(*) FROM produced GROUP BY producer) x}),
	'true', 'every producer rolled back some of it');

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
	0, 'and no transaction holds a reader back');

$node->stop;
done_testing();
