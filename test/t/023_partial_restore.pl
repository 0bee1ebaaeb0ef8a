# The promise: what a checkpoint says of compaction is not believed where other
# messages are than those that were compacted: in a database that was restored
# without them, a tombstone still deletes what is before it.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use QueueTest;

my $node = new_server('partial_restore');
my $dump = $node->basedir . '/dump.sql';

# Compact until the checkpoint says so: a pass leaves out what is in use.
sub compacted
{
	my ($db, $expected) = @_;

	return patiently(
		sub {
			$node->safe_psql($db, q{
				SET client_min_messages = warning;
				SET queue.compaction_min_dirty_ratio = 0;
				CALL queue.maintain('state')});
			return $node->safe_psql($db,
				'SELECT compacted_to, oldest_tombstone IS NOT NULL FROM queue.checkpoint') eq $expected;
		});
}

# Messages, of which the first two of key 'k' are a value and its tombstone;
# the last segment is not full.
my $fill = q{
	SELECT queue.produce_batch('state', ARRAY['v', NULL], ARRAY['k', 'k']);
	SELECT queue.produce_batch('state', ARRAY(SELECT 'x' FROM generate_series(1, 27)),
		ARRAY(SELECT 'x' || i FROM generate_series(1, 27) i))};
my $checkpoint = q{SELECT compacted_to, oldest_tombstone IS NOT NULL FROM queue.checkpoint};

$node->safe_psql('postgres',
	q{SELECT queue.create_topic('state', value_type => 'text', segment_messages => 10, cleanup_policy => 'compact')});
$node->safe_psql('postgres', $fill);
ok(compacted('postgres', '20|t'), 'a topic is compacted');

$node->command_ok(
	[
		'pg_dump', '-d', $node->connstr('postgres'), '--exclude-table-data=queue.log_*',
		'-f', $dump
	],
	'dumped without messages');
$node->safe_psql('postgres', 'CREATE DATABASE other');
$node->command_ok(
	[ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('other'), '-f', $dump ],
	'and restored');
is($node->safe_psql('other', $checkpoint), '20|t', 'with what was known');

$node->safe_psql('other', $fill);
$node->safe_psql('other', q{SELECT queue.alter_topic('state', tombstone_retention => '0')});
ok(compacted('other', '20|f'), 'it is compacted');
is($node->safe_psql('other', q{SELECT count(*) FROM topic.state WHERE key = 'k'}),
	'0', 'a tombstone deletes all of its key');

done_testing();
