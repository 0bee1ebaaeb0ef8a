# The promise: segments in another tablespace, and archives, are dumped and
# restored as what they are, and survive a crash right after they were moved. A
# server without the tablespace takes the dump, says so, and goes on in its own.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use QueueTest;

my $node = new_server('tiers', "allow_in_place_tablespaces = on\n");

# Where the used segments of the topic are, and what its partition and archive hold.
my $places = q{
	SELECT string_agg(coalesce(spcname, 'default'), ' ' ORDER BY first_offset)
	  FROM queue.segments JOIN pg_class c ON c.oid = segment
	  LEFT JOIN pg_tablespace s ON s.oid = reltablespace
	 WHERE topic = 'orders' AND messages > 0};
my $content = q{
	SELECT queue.log_start('orders', 0), queue.log_end('orders', 0);
	SELECT count(*), min("offset"), md5(string_agg(o::text, ' ' ORDER BY "offset")) FROM topic.orders o;
	SELECT count(*), min("offset"), md5(string_agg(o::text, ' ' ORDER BY "offset")) FROM archive.orders_0 o;
	SELECT amname, relispartition, relowner::regrole FROM pg_class c JOIN pg_am a ON a.oid = relam WHERE c.oid = 'archive.orders_0'::regclass};
my $produce = q{
	DO $$ BEGIN FOR i IN 1 .. 3 LOOP
		PERFORM queue.produce_batch('orders', ARRAY(SELECT to_jsonb(repeat('x', g * 1000))::text FROM generate_series(1, 10) g));
		COMMIT;
	END LOOP; END $$};

# Archive what may be locked, again if another session, such as the segment worker, has it locked.
sub archive
{
	my ($name) = @_;

	return patiently(
		sub {
			my ($ret) = $node->psql('postgres',
				"SELECT FROM queue.archive_segment('orders', 0, '$name')");

			return $ret == 0;
		});
}

$node->safe_psql('postgres', q{CREATE TABLESPACE cold LOCATION ''});
$node->safe_psql('postgres', q{CREATE TABLESPACE warm LOCATION ''});
$node->safe_psql(
	'postgres', qq{
	CREATE SCHEMA archive;
	SELECT queue.create_topic('orders', segment_messages => 10, tablespace => 'warm');
	$produce;
	$produce});
$node->safe_psql('postgres', 'CHECKPOINT');
is( $node->safe_psql(
		'postgres', q{
		SELECT count(*), bool_and(moved) FROM queue.move_segments('orders', 'cold', before_offset => 30)}),
	'3|t', 'moved');
ok(archive('archive.orders_0'), 'archived');
my $before = $node->safe_psql('postgres', $content);
like($before, qr/^10\|60\n50\|10\|.*\n10\|0\|.*\nqueue_log\|f\|/, 'it left the topic');

# A crash.
$node->stop('immediate');
$node->start;
is($node->safe_psql('postgres', $content), $before, 'after a crash it is all there');
is($node->safe_psql('postgres', $places), 'cold cold warm warm warm', 'where it was');
check_log($node, 'orders', 'after a crash');

# Restored beside it.
my $dump = PostgreSQL::Test::Utils::tempdir() . '/dump';
$node->command_ok([ 'pg_dump', '-Fc', '-f', $dump, '-d', $node->connstr('postgres') ], 'dumped');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->command_ok([ 'pg_restore', '-d', $node->connstr('restored'), $dump ], 'restored');
is($node->safe_psql('restored', $content), $before, 'the same log and the same archive');
is($node->safe_psql('restored', $places), 'cold cold warm warm warm', 'in the same places');
$node->safe_psql('restored', $produce);
is($node->safe_psql('restored', $places), 'cold cold warm warm warm warm warm warm',
	'new segments, too');
is( sqlstate($node, 'restored', 'DELETE FROM archive.orders_0'),
	'0A000', 'the archive is append-only, still');
$node->safe_psql('restored', q{SELECT queue.drop_topic('orders')});
is($node->safe_psql('restored', 'SELECT count(*) FROM archive.orders_0'),
	10, 'it stays when the topic goes');
$node->safe_psql('restored', 'DROP TABLE archive.orders_0');

# Restored into a server that knows no such places.
my $other = PostgreSQL::Test::Cluster->new('other');
$other->init(extra => [ '--no-locale', '--encoding=UTF8' ]);
$other->start;
$other->command_ok([ 'pg_restore', '--no-tablespaces', '-d', $other->connstr('postgres'), $dump ],
	'restored elsewhere');
is($other->safe_psql('postgres', $content), $before, 'the same log and the same archive');
$other->safe_psql('postgres', $produce);
$other->safe_psql('postgres', 'CALL queue.maintain()');
is($other->safe_psql('postgres', $places), join(' ', ('default') x 8),
	'it goes on in the default tablespace');
like(slurp_file($other->logfile), qr/WARNING:  tablespace "warm" cannot be used for topic "orders"/,
	'and says so');
check_log($other, 'orders', 'elsewhere');
$other->safe_psql('postgres', q{SELECT queue.alter_topic('orders', tablespace => '')});
is($other->safe_psql('postgres', q{SELECT tablespace IS NULL FROM queue.topics}),
	't', 'until it is told that this is right');

$other->stop;
$node->stop;
done_testing();
