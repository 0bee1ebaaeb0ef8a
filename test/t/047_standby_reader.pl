# The promise: a reader on a standby whose segment is removed on the primary is canceled
# with 40001 once max_standby_streaming_delay has passed, and hot_standby_feedback does
# not help; a session that keeps a cursor open between its queries is ended with 40001.
# What is repeated then reads what is left, and a fetch goes on at its offset.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use QueueTest;

my $primary = new_server('primary', "autovacuum = off\n", allows_streaming => 1);
$primary->safe_psql(
	'postgres', q{
	SELECT queue.create_topic('events', value_type => 'text', segment_messages => 100);
	SELECT queue.produce_batch('events', array_fill('x'::text, ARRAY[250]));
});
$primary->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'backup', has_streaming => 1);
$standby->append_conf('postgresql.conf',
	"max_standby_streaming_delay = 0\nhot_standby_feedback = on\n");
$standby->start;

sub catch_up
{
	# what is written is flushed with it
	$primary->safe_psql('postgres', 'SELECT txid_current()');
	$primary->wait_for_catchup($standby);
	return;
}

my $all = q{SELECT count(*), min("offset"), max("offset") FROM topic.events};
my $fetch = q{SELECT count(*), min("offset") FROM queue.fetch_typed('events', 0, 200, NULL::text)};

# Session on the standby that runs a command and then waits in a state; what it prints
# is in $out and $err.
my ($in, $out, $err) = ('', '', '');

sub start_reader
{
	my ($command, $state) = @_;

	($in, $out, $err) = ($command, '', '');
	my $reader = IPC::Run::start(
		[
			'psql', '-XqAt', '-v', 'VERBOSITY=verbose',
			'-d', $standby->connstr('postgres') . " application_name=reader"
		],
		'<', \$in, '>', \$out, '2>', \$err,
		IPC::Run::timer($PostgreSQL::Test::Utils::timeout_default));

	$reader->pump_nb;
	$standby->poll_query_until('postgres',
		"SELECT $state FROM pg_stat_activity WHERE application_name = 'reader'")
	  or die 'the reader does not read';
	return $reader;
}

catch_up();
is($standby->safe_psql('postgres', $all), '250|0|249', 'the standby has all messages');

# A query that is running when its segment goes.
my $reader = start_reader(
	qq{BEGIN ISOLATION LEVEL REPEATABLE READ;\n$all;\nSELECT pg_sleep(100000) FROM topic.events;\n},
	q{wait_event = 'PgSleep'});
is($primary->safe_psql('postgres', q{SELECT log_start, segments FROM queue.delete_messages('events', 0, 100)}),
	'100|1', 'the primary removes a segment');
catch_up();
$reader->finish;
is($out, "250|0|249\n", 'the query had its snapshot');
like($err, qr/ERROR:  40001: canceling statement due to conflict with recovery/,
	'it is canceled');
is($standby->safe_psql('postgres', $all), '150|100|249', 'when repeated it reads what is left');

# A cursor that is open, in a session that does nothing at the moment.
my $cursor = 'DECLARE c CURSOR FOR SELECT "offset" FROM topic.events ORDER BY 1';
$reader = start_reader(
	qq{BEGIN ISOLATION LEVEL REPEATABLE READ;\n$cursor;\nFETCH 1 FROM c;\n},
	q{state = 'idle in transaction' AND query LIKE 'FETCH%'});
is($primary->safe_psql('postgres', q{SELECT log_start, segments FROM queue.delete_messages('events', 0, 200)}),
	'200|1', 'the primary removes the next segment');
catch_up();
$in .= "FETCH 1 FROM c;\n";
$reader->finish;
is($out, "100\n", 'the cursor had begun');
like($err, qr/FATAL:  40001: terminating connection due to conflict with recovery/,
	'its session is ended');
is($standby->safe_psql('postgres', "BEGIN; $cursor; FETCH 1 FROM c; COMMIT"),
	'200', 'in a new session it reads what is left');
is($standby->safe_psql('postgres', $fetch), '50|200', 'a fetch goes on at its offset');

$standby->stop;
$primary->stop;
done_testing();
