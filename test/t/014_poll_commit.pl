# The promise: a transaction that does nothing but poll waits for no disk; one
# that does anything else does. A crash loses only which member such a
# poll has handed messages to: that member's commit is refused, and the messages are
# handed out again.
#
# The processes that write in the background are kept from it, so that only commits
# flush.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use QueueTest;

# With checksums a session that sets a hint bit writes WAL; they are the default since 18.
my @init = ('--no-locale', '--encoding=UTF8');
push @init, '--no-data-checksums' if `initdb --help` =~ /--no-data-checksums/;
my $node = new_server('poll', "autovacuum = off\ncheckpoint_timeout = 1d\n", extra => \@init);

$node->safe_psql(
	'postgres', q{
	SELECT queue.create_topic('orders', partitions => 2);
	SELECT queue.create_topic('open');
	SELECT count(*) FROM generate_series(0, 1) p,
		queue.produce_batch('orders', ARRAY['1', '2', '3'], partition => p);
	SELECT queue.create_group('billing', 'orders');
	SELECT queue.create_group('known', 'orders');
	CREATE TABLE other (n int);
	SET queue.allow_ddl = on;
	DROP TRIGGER produce_flush ON topic.open;
});
# Pages that want pruning would be pruned by their next reader, which is WAL.
$node->safe_psql('postgres', 'VACUUM');
my @writers = split /\n/, $node->safe_psql('postgres',
	q{SELECT pid FROM pg_stat_activity WHERE backend_type IN ('walwriter', 'background writer')});
is(kill('STOP', @writers), 2, 'nothing is written in the background');

END
{
	kill 'CONT', @writers;
}

# Does a transaction, or several, flush what it has written? "nothing": there was
# nothing to flush.
sub flushes
{
	my ($sql) = @_;
	my $answer = $node->safe_psql(
		'postgres', qq{
		CHECKPOINT;
		SELECT pg_current_wal_insert_lsn() AS begin \\gset
		SET client_min_messages = warning;
		\\o /dev/null
		$sql
		\\o
		SELECT CASE WHEN pg_current_wal_insert_lsn() = :'begin' THEN 'nothing'
			WHEN pg_current_wal_flush_lsn() > :'begin' THEN 'flushes'
			ELSE 'does not' END, current_setting('synchronous_commit')});

	return $answer =~ s/\|on$//r;
}

my $poll = "SELECT * FROM queue.poll('billing', 'orders', 'm', 2);";
is(flushes($poll), 'does not', 'a poll that joins and is handed messages');
is(flushes($poll), 'does not', 'a poll that is handed messages');
is(flushes("SELECT * FROM queue.poll('known', 'orders', 'm', 0);"),
	'does not', 'a poll that joins');
is(flushes("SELECT * FROM queue.poll('known', 'orders', 'm', 0);"),
	'nothing', 'a poll that finds nothing to do');
is(flushes("BEGIN; $poll $poll COMMIT;"), 'does not', 'two polls');
is(flushes("$poll $poll"), 'does not', 'two transactions of a session that poll');
is(flushes("BEGIN; $poll SAVEPOINT s; $poll RELEASE s; COMMIT;"),
	'does not', 'a poll inside a savepoint');
is(flushes("SELECT * FROM queue.poll('new', 'orders', 'm');"),
	'flushes', 'a poll that makes the group');
is(flushes("BEGIN; $poll INSERT INTO other VALUES (1); COMMIT;"),
	'flushes', 'a poll, then something else');
is(flushes("BEGIN; INSERT INTO other VALUES (1); $poll COMMIT;"),
	'flushes', 'something else, then a poll');
is(flushes("BEGIN; $poll INSERT INTO other VALUES (1); $poll COMMIT;"),
	'flushes', 'something else between two polls');
is( flushes(q{WITH m AS (SELECT * FROM queue.poll('billing', 'orders', 'm'))
		INSERT INTO other SELECT partition FROM m;}),
	'flushes', 'a poll whose messages are stored');
is(flushes("$poll INSERT INTO other VALUES (1);"),
	'flushes', 'another transaction after a poll');
is(flushes(qq{BEGIN; $poll INSERT INTO topic.open (value) VALUES ('1'); COMMIT;}),
	'flushes', 'a poll, then rows that are gathered to the end of the transaction');
is(flushes(qq{BEGIN; $poll SELECT queue.produce('open', '1'); COMMIT;}),
	'flushes', 'a poll, then a message');

# The crash.
my $hand = $node->safe_psql('postgres',
	"SELECT partition, \"offset\", epoch FROM queue.poll('billing', 'orders', 'm', 1)");
my ($partition, $offset, $epoch) = split /\|/, $hand;
my $commit = qq{SELECT queue.commit_offset('billing', 'orders', $partition, 1, 'm', $epoch)};

$node->stop('immediate');
$node->start;
@writers = ();
is(sqlstate($node, 'postgres', $commit), 'QU004',
	'after a crash: what a lost poll handed out cannot be committed');
is( $node->safe_psql(
		'postgres', qq{
		SELECT count(*), min("offset"), bool_and(epoch > $epoch)
		FROM queue.poll('billing', 'orders', 'm') WHERE partition = $partition}),
	'3|0|t',
	'after a crash: it is handed out again, by another epoch');

$node->stop;
done_testing();
