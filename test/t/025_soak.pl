# The promise: a topic with limits stays small, however long it is written to and
# read: its size, the rest of the database and the number of tables depend on the
# limits, not on time, while the worker does maintenance each second. Nothing is
# lost meanwhile.
#
# Producers go on in short bursts, the next one when the topic is within its limits
# again, until many times as much was written as may be kept. Sizes are looked at
# all the time; what is kept for a group that has not read it yet does not count:
# then the machine is slow, and retention does right.
#
#   SOAK_TIMES   how many times as much, 5 by default; 50 take some minutes

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);
use QueueTest;

my $times = $ENV{SOAK_TIMES} || 5;
my $partitions = 2;
my $retention_bytes = 512 * 1024;

my $node = new_server(
	'soak', q{
queue.maintenance_interval = 1
queue.history_retention = 0
autovacuum_naptime = 1
});
create_ledger($node, 'soak',
	"partitions => $partitions, segment_messages => 300, retention_bytes => $retention_bytes");

# Of the topic: bytes, bytes kept for a group only, bytes of its largest segment.
# Of the database: bytes without the topic and without the ledger; tables and such.
my $sizes = q{
	WITH leaf AS (
		SELECT inhrelid FROM pg_inherits
		 WHERE inhparent = (SELECT log FROM queue.topic WHERE name = 'soak')),
	size AS (
		SELECT coalesce(sum(pg_total_relation_size(inhrelid)), 0) AS topic,
			coalesce(max(pg_total_relation_size(inhrelid)), 0) AS segment
		  FROM leaf)
	SELECT topic - (SELECT coalesce(sum(held_bytes), 0) FROM queue.retention WHERE topic = 'soak'),
		segment,
		pg_database_size(current_database()) - topic
			- pg_total_relation_size('produced') - pg_total_relation_size('consumed'),
		(SELECT count(*) FROM pg_class)
	  FROM size};

# The greatest values are kept.
my ($topic, $segment, $other, $tables) = (0, 0, 0, 0);
my (undef, undef, $other_before, $tables_before) =
  split /\|/, $node->safe_psql('postgres', $sizes);

sub look
{
	my @now = split /\|/, $node->safe_psql('postgres', $sizes);

	$topic = $now[0] if $now[0] > $topic;
	$segment = $now[1] if $now[1] > $segment;
	$other = $now[2] if $now[2] > $other;
	$tables = $now[3] if $now[3] > $tables;
	return $now[0];
}

# What the topic may have, by its limits: of each partition the newest segments up
# to the limit, the one that goes beyond it and the one in use.
sub limit
{
	return $partitions * ($retention_bytes + 2 * $segment);
}

# What was written so far, in bytes.
sub written
{
	return $node->safe_psql('postgres', q{
		SELECT coalesce(sum(log_end) * (SELECT avg(pg_column_size(m.*)) FROM topic.soak m), 0)
		  FROM queue.partitions WHERE topic = 'soak'});
}

$node->safe_psql('postgres', 'SELECT queue.start_maintenance()');
my $bursts = 0;
my $failed = load_until(
	$node, 'soak',
	sub {
		my $burst = start_load($node, 'soak', 'producer', 3, '-t', 30, '-R', 150);

		while (is_running($burst))
		{
			look();
			sleep 0.1;
		}
		finish_load($burst) or die "a burst failed: $burst->{out}";
		$bursts++;
		patiently(sub { look() <= limit() })
		  or die 'the topic does not get back within its limits: ' . limit();
		return written() > $times * limit();
	},
	[ 'consumer', 3, '-t', 60, '-R', 60 ]);
is($failed, '', 'consumers go on');

my $bound = 2 * limit();
note("topic: at most $topic bytes, within limits ${\ limit() }; written: ${\ written() }"
	  . " in $bursts bursts; largest segment: $segment");

# A leaf is a table, its TOAST table and that one's index.
my $leaves = $bound / $segment + 2 * $partitions;
note("tables: at most $tables, $tables_before before");
cmp_ok($tables, '<=', $tables_before + 3 * $leaves, 'the number of tables is bounded by the limits of the topic');

# Catalogs, positions and the account of maintenance, whose dead rows autovacuum
# makes room of: no more than the topic itself.
note("other: at most $other bytes, $other_before before");
cmp_ok($other, '<=', $other_before + $bound, 'so is the rest of the database');

drain($node, 'soak');
check_retained($node, 'soak', 'in the end', drained => 1);
cmp_ok(
	$node->safe_psql('postgres', q{
		SELECT sum(items) FROM queue.maintenance_log WHERE action = 'segments dropped'}),
	'>', 0, 'segments were dropped');

$node->stop;
done_testing();
