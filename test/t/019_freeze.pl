# The promise: freezing a segment disturbs no session, however long it takes: its
# snapshot keeps no VACUUM back, producers and readers go on, vacuum_cost_delay
# applies, it can be canceled and goes on later. Pages that a crash has left
# without content are no reason to come back.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use QueueTest;

my $node = new_server('freeze', "autovacuum = off\n");

$node->safe_psql(
	'postgres', q{
	CREATE TABLE rows AS SELECT generate_series(1, 1000) AS i;
	SELECT queue.create_topic('orders', value_type => 'text', segment_messages => 2000);
	SELECT queue.produce_batch('orders', ARRAY(SELECT rpad(i::text, 1000) FROM generate_series(1, 2000) i));
	SELECT queue.produce_batch('orders', ARRAY['next'])});
my $segment = $node->safe_psql('postgres',
	q{SELECT segment FROM queue.segments WHERE topic = 'orders' AND first_offset = 0});
my $frozen = "SELECT frozen FROM queue.segment_info('$segment')";

# Some pages a second, so that it lasts for the rest of the test.
my $slow = open_session($node, on_error_stop => 0);
my $pid = $slow->query_safe('SELECT pg_backend_pid()');
$slow->query_safe('SET vacuum_cost_delay = 100; SET vacuum_cost_limit = 1; SET client_min_messages = error');
$slow->query_until(qr/begun/, "\\echo begun\nCALL queue.maintain('orders');\n");
ok( $node->poll_query_until(
		'postgres', "SELECT heap_blks_total > 200 FROM pg_stat_progress_vacuum WHERE pid = $pid"),
	'a segment is being frozen, slowly');

$node->safe_psql('postgres', 'DELETE FROM rows');
$node->safe_psql('postgres', 'VACUUM rows');
is($node->safe_psql('postgres', q{SELECT pg_relation_size('rows')}),
	0, 'another VACUUM removes what has died since');
is($node->safe_psql('postgres', q{SELECT "offset" FROM queue.produce('orders', 'more'::text)}),
	2001, 'producers go on');
is($node->safe_psql('postgres', q{SELECT count(*) FROM topic.orders}), 2002, 'so do readers');
is($node->safe_psql('postgres', "SELECT pid FROM pg_stat_progress_vacuum"),
	$pid, 'it is still at it');

# Canceled: nothing is broken, and the next pass does it.
$node->safe_psql('postgres', "SELECT pg_cancel_backend($pid)");
ok($node->poll_query_until('postgres',
		"SELECT state = 'idle' FROM pg_stat_activity WHERE pid = $pid"),
	'it can be canceled');
eval { $slow->quit };
is($node->safe_psql('postgres', $frozen), 'f', 'it is not frozen yet');
$node->safe_psql('postgres', q{CALL queue.maintain('orders')});
is($node->safe_psql('postgres', $frozen), 't', 'the next pass freezes it');

# Pages behind its end, as a crash leaves them.
$node->safe_psql('postgres', q{
	SELECT queue.produce_batch('orders', ARRAY(SELECT rpad(i::text, 1000) FROM generate_series(1, 2000) i))});
$segment = $node->safe_psql('postgres',
	q{SELECT segment FROM queue.segments WHERE topic = 'orders' AND first_offset = 2000});
$frozen = "SELECT frozen FROM queue.segment_info('$segment')";
my $file = $node->data_dir . '/'
  . $node->safe_psql('postgres', "SELECT pg_relation_filepath('$segment')");
$node->stop;
append_to_file($file, "\0" x (3 * 8192));
$node->start;
is($node->safe_psql('postgres', $frozen), 'f', 'a segment with new pages is to be frozen');
$node->safe_psql('postgres', q{CALL queue.maintain('orders')});
is($node->safe_psql('postgres', $frozen), 't', 'and is');
my $size = -s $file;
my ($ret, $out, $err) = $node->psql('postgres', q{CALL queue.maintain('orders')});
is($err, '', 'once');
$node->safe_psql('postgres', 'CHECKPOINT');
my $content = slurp_file($file);
$node->safe_psql('postgres', "VACUUM (FREEZE) $segment");
$node->safe_psql('postgres', 'CHECKPOINT');
ok(slurp_file($file) eq $content, 'VACUUM writes nothing more');
is(-s $file, $size, 'and takes nothing away');
check_log($node, 'orders', 'frozen');

$node->stop;
done_testing();
