# The promise: a topic can be decoded and published like a table, with messages
# of every size, segments made later included; a subscriber receives it in a
# plain table, and is refused when it would feed another topic's log, since
# replication applies in commit order and not in offset order.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use QueueTest;

my $publisher = new_server('publisher', '', allows_streaming => 'logical');
my $log = $publisher->safe_psql(
	'postgres', q{
	SELECT queue.create_topic('orders', partitions => 2, segment_messages => 40);
	SELECT log FROM queue.topic;
});
$log = (split /\n/, $log)[-1];

# Produce N messages, numbered from a first one, every seventh one toasted.
sub produce
{
	my ($from, $to) = @_;

	$publisher->safe_psql(
		'postgres', qq{
		SELECT count(*) FROM generate_series($from, $to) i, queue.produce('orders',
			jsonb_build_object('i', i, 'pad',
				(SELECT string_agg(md5(i::text || j), '')
				 FROM generate_series(1, CASE WHEN i % 7 = 0 THEN 1000 ELSE 1 END) j)),
			key => 'key-' || i % 5,
			deliver_at => CASE WHEN i % 3 = 0 THEN timestamptz '2001-01-01' + i * interval '1 s' END)});
	return;
}

# test_decoding
$publisher->safe_psql('postgres',
	q{SELECT pg_create_logical_replication_slot('decoder', 'test_decoding')});
produce(1, 100);
$publisher->safe_psql('postgres',
	q{BEGIN; SELECT queue.produce('orders', '{"i": "rolled back"}'); ROLLBACK});
my $changes = $publisher->safe_psql(
	'postgres', qq{
	SELECT data FROM pg_logical_slot_get_changes('decoder', NULL, NULL)
	WHERE data LIKE 'table ${log}%INSERT%'});
my @inserts = split /\n/, $changes;
is(scalar @inserts, 100, 'every message is decoded once');
is(scalar(grep { /rolled back/ } @inserts), 0, 'no rolled-back one is');
is( join(',', map { /"i": (\d+)/ } @inserts),
	join(',', 1 .. 100),
	'in the order of commit');
is(scalar(grep { /unchanged-toast|"pad": ""/ } @inserts),
	0, 'and no value is missing');
cmp_ok((sort { $b <=> $a } map { length } @inserts)[0],
	'>', 32000, 'toasted values are whole');

# A publication of the whole topic, into a plain table.
my $subscriber = PostgreSQL::Test::Cluster->new('subscriber');
$subscriber->init(extra => [ '--no-locale', '--encoding=UTF8' ],
	allows_streaming => 'logical');
$subscriber->append_conf('postgresql.conf',
	"log_error_verbosity = verbose\nmax_worker_processes = 16");
$subscriber->start;

my ($schema, $name) = split /\./, $log;
$subscriber->safe_psql(
	'postgres', qq{
	CREATE SCHEMA $schema;
	CREATE TABLE $log ("offset" bigint, "timestamp" timestamptz, partition int,
		key text, value jsonb, headers jsonb, deliver_at timestamptz,
		PRIMARY KEY (partition, "offset"))});
$publisher->safe_psql('postgres',
	qq{CREATE PUBLICATION orders FOR TABLE $log WITH (publish_via_partition_root = true)}
);
my $connection = $publisher->connstr . ' dbname=postgres';
$subscriber->safe_psql('postgres',
	qq{CREATE SUBSCRIPTION orders CONNECTION '$connection' PUBLICATION orders});
$subscriber->wait_for_subscription_sync($publisher, 'orders');

my $content = qq{
	SELECT count(*), md5(string_agg(concat_ws('|', partition, "offset", "timestamp",
		key, value, headers, deliver_at), ',' ORDER BY partition, "offset")) FROM $log};
is( $subscriber->safe_psql('postgres', $content),
	$publisher->safe_psql('postgres', $content),
	'the subscriber starts with what is there');

produce(101, 300);
$publisher->wait_for_catchup('orders');
is( $subscriber->safe_psql('postgres', $content),
	$publisher->safe_psql('postgres', $content),
	'and receives what is produced, new segments included');
is($subscriber->safe_psql('postgres', "SELECT count(*) FROM $log"),
	300, 'all of it');

# A subscriber whose table is a log itself.
$subscriber->safe_psql('postgres', 'CREATE DATABASE other');
$subscriber->safe_psql('other',
	q{CREATE EXTENSION queue; SELECT queue.create_topic('orders', partitions => 2);
	SELECT queue.produce('orders', '0', partition => p) FROM generate_series(0, 1) p});
is( $subscriber->safe_psql(
		'other', q{SELECT log FROM queue.topic}),
	$log,
	'another database has a log of the same name');
$subscriber->safe_psql('other',
	qq{CREATE SUBSCRIPTION refused CONNECTION '$connection' PUBLICATION orders
		WITH (copy_data = false)});
produce(301, 301);
$subscriber->wait_for_log(qr/ERROR:  0A000: .*(subscri|logical replication)/);
is($subscriber->safe_psql('other', 'SELECT count(*) FROM topic.orders'),
	2, 'nothing was applied to it');
$subscriber->safe_psql('other', q{ALTER SUBSCRIPTION refused DISABLE});
is( $subscriber->safe_psql(
		'other', q{SELECT "offset" FROM queue.produce('orders', '1', partition => 0)}),
	1,
	'and it can be produced to as before');
$subscriber->safe_psql('other', q{DROP SUBSCRIPTION refused});
$subscriber->safe_psql('postgres', q{DROP SUBSCRIPTION orders});

$subscriber->stop;
$publisher->stop;
done_testing();
