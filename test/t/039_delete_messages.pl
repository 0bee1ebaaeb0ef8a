# The promise: what delete_messages has deleted inside a segment is in no dump; the
# restored log starts where the dumped one did and goes on behind it, with or
# without messages. It is gone on a standby, and after a crash; a crash before the
# commit deletes nothing.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use QueueTest;

my $primary = new_server(
	'primary',
	'wal_consistency_checking = all',
	allows_streaming => 1);
$primary->safe_psql(
	'postgres', q{
	SELECT queue.create_topic('events', value_type => 'text', segment_messages => 100);
	SELECT queue.create_topic('part', value_type => 'text', segment_messages => 100);
	SELECT queue.produce('events', CASE WHEN i < 130 THEN 'secret-' ELSE 'open-' END || i, key => 'k' || i)
	  FROM generate_series(0, 249) i;
	SELECT queue.produce('part', 'secret-' || i) FROM generate_series(0, 9) i;
	DO $$ BEGIN EXECUTE format('CREATE INDEX events_key ON %s (key)', (SELECT log FROM queue.topic WHERE name = 'events')); END $$;
});
my $second = $primary->safe_psql('postgres',
	q{SELECT segment FROM queue.segments WHERE topic = 'events' AND first_offset = 100});
$primary->safe_psql('postgres', "VACUUM (FREEZE) $second");

$primary->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'backup', has_streaming => 1);
$standby->start;

my $seen = q{SELECT min("offset"), count(*) FROM topic.events};
my $by_index = q{SET enable_seqscan = off; SET enable_bitmapscan = off; SELECT count(*) FROM topic.events WHERE key >= 'k'};
my $ends = q{SELECT queue.log_start('events', 0), queue.log_end('events', 0)};

# A session of the standby that has read the segment before.
my $reader = open_session($standby);
is($reader->query_safe($seen), '0|250', 'the standby has all messages');

# Deleted by a transaction that a crash ends.
my $open = open_session($primary);
$open->query_safe(q{BEGIN; SELECT queue.delete_messages('events', 0, 130)});
is($open->query_safe($seen), '130|120', 'deleted for the transaction');
$primary->stop('immediate');
$primary->start;
eval { $open->quit };
is($primary->safe_psql('postgres', $seen), '0|250', 'a crash gives everything back');

$primary->safe_psql('postgres', q{
	SELECT queue.delete_messages('events', 0, 130);
	SELECT queue.delete_messages('part', 0, 4)});
$primary->stop('immediate');
$primary->start;
is($primary->safe_psql('postgres', $seen), '130|120', 'what is committed outlasts a crash');
is($primary->safe_psql('postgres', $by_index), '120', 'also if an index finds it');

$primary->wait_for_catchup($standby);
is($reader->query_safe($seen), '130|120', 'deleted on the standby, for a session that has read it');
is($standby->safe_psql('postgres', $by_index), '120', 'also if an index finds it');
is($standby->safe_psql('postgres', $ends), '130|250', 'the log starts there');
is( $standby->safe_psql(
		'postgres', q{SELECT "offset" FROM queue.fetch_typed('events', 0, 130, NULL::text, 1)}),
	'130', 'fetch reads from there');
$reader->quit;

# Dumps.
my $dir = $primary->basedir;
$primary->command_ok([ 'pg_dump', '-d', $primary->connstr('postgres'), '-f', "$dir/plain.sql" ], 'dumped');
my $text = slurp_file("$dir/plain.sql");
unlike($text, qr/secret-(?:[0-9]|[0-9][0-9]|1[0-2][0-9])\n/, 'no dump has what is deleted');
like($text, qr/secret-4\b/, 'but it has what is not');
like($text, qr/open-130\b/, 'but it has what is not');
$primary->safe_psql('postgres', "CREATE DATABASE plain");
$primary->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d', $primary->connstr('plain'), '-f', "$dir/plain.sql" ],
	'restored');
$primary->command_ok([ 'pg_dump', '-d', $primary->connstr('postgres'), '-Fd', '-j', '2', '-f', "$dir/dir" ],
	'dumped by two processes');
$primary->safe_psql('postgres', "CREATE DATABASE parallel");
$primary->command_ok([ 'pg_restore', '-d', $primary->connstr('parallel'), '-j', '2', '-e', "$dir/dir" ],
	'restored by two processes');
foreach my $db ('plain', 'parallel')
{
	is($primary->safe_psql($db, $seen), '130|120', "$db: the messages that are left");
	is($primary->safe_psql($db, $ends), '130|250', "$db: the log starts and ends where it did");
	is($primary->safe_psql($db, q{SELECT "offset" FROM queue.produce('events', 'next')}), '250',
		"$db: and goes on");
	is($primary->safe_psql($db, q{SELECT count(*) FROM queue.verify('events')}), '0', "$db: sound");
}

# Without messages: what is appended comes behind the log start.
$primary->command_ok(
	[ 'pg_dump', '-d', $primary->connstr('postgres'), '-f', "$dir/none.sql", '--exclude-table-data=queue.log_*' ],
	'dumped without messages');
$primary->safe_psql('postgres', "CREATE DATABASE none");
$primary->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d', $primary->connstr('none'), '-f', "$dir/none.sql" ],
	'restored');
is($primary->safe_psql('none', $ends), '130|130', 'the log starts where it did, and is empty');
is($primary->safe_psql('none', q{SELECT "offset" FROM queue.produce('events', 'next')}), '130', 'it goes on there');
is($primary->safe_psql('none', $seen), '130|1', 'and SQL shows it');
is($primary->safe_psql('none', q{SELECT "offset" FROM queue.consume_typed('g', 'part', NULL::text)}), '', 'nothing to consume');
is($primary->safe_psql('none', q{SELECT "offset" FROM queue.produce('part', 'next')}), '4', 'another topic goes on, too');
is($primary->safe_psql('none', q{SELECT "offset" FROM queue.consume_typed('g', 'part', NULL::text)}), '4', 'and is consumed');

$standby->promote;
is($standby->safe_psql('postgres', q{SELECT "offset" FROM queue.produce('events', 'next')}), '250',
	'the promoted standby goes on');

done_testing();
