# The promise: a transaction that has the lock for which the worker that makes segments
# would wait makes its segments itself. Each worker would try for half a second, and
# the other producers of the topic would wait for all of them.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use QueueTest;

my $node = new_server('in_vain', "log_min_messages = debug1\n");

# Run SQL that fills partitions of a new topic; return how many workers that started.
sub workers_of
{
	my ($topic, $sql) = @_;
	my $offset = -s $node->logfile;
	my $log;

	$node->safe_psql('postgres', qq{
		SELECT queue.create_topic('$topic', 20, 'text');
		SELECT log AS log FROM queue.topic WHERE name = '$topic' \\gset
		$sql});
	$log = slurp_file($node->logfile, $offset);
	is($node->safe_psql('postgres', qq{
			SELECT count(*), count(DISTINCT partition) FROM topic.$topic}),
		'20|20', "$topic: each partition has its message");
	is($node->safe_psql('postgres', qq{SELECT * FROM queue.verify('$topic')}), '',
		"$topic: the segments are sound");
	return () = $log =~ / registering background worker "queue segment worker/g;
}

my $one_each = q{FROM generate_series(0, 19) p, queue.produce('%s', 'x'::text, partition => p)};

cmp_ok(workers_of('free', 'SELECT count(*) ' . sprintf($one_each, 'free')), '>=', 20,
	'without the lock a worker makes them');
is(workers_of('locked', 'BEGIN; LOCK TABLE :log IN SHARE UPDATE EXCLUSIVE MODE; SELECT count(*) '
			. sprintf($one_each, 'locked') . '; COMMIT'),
	0, 'with the lock no worker is started, one message after the other');
is(workers_of('batch', q{BEGIN; LOCK TABLE :log IN ACCESS EXCLUSIVE MODE;
		INSERT INTO topic.batch (partition, value) SELECT p, 'x' FROM generate_series(0, 19) p; COMMIT}),
	0, 'nor for many at once');

done_testing();
