# The promise: a group is never silently moved. In a database that was restored
# without messages, or with a part of them, an offset that means nothing there is
# QU001, before and after other messages have taken it, and through any further
# dump, until the group is reset; nothing of the new log is removed that such a
# group has not read. An offset whose messages were restored is as good as ever.
# A message that a producer sends again is no duplicate of one that is not there.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use QueueTest;

my $node = new_server('without');

# Dump a database and restore it as another one.
sub dump_and_restore
{
	my ($from, $to, @options) = @_;
	my $dump = $node->basedir . "/$to.sql";

	$node->command_ok([ 'pg_dump', '-d', $node->connstr($from), '-f', $dump, @options ],
		"$to: $from is dumped");
	$node->safe_psql('postgres', "CREATE DATABASE $to");
	$node->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr($to), '-f', $dump ],
		"$to: and restored");
	return;
}

# What a statement answers: its rows in one line, or the SQLSTATE of its error.
sub answer
{
	my ($db, $sql) = @_;
	my ($rc, $out) = $node->psql($db, $sql);

	return $rc == 0 ? join(' ', split(/\n/, $out)) : sqlstate($node, $db, $sql);
}

sub consume
{
	my ($db, $group, $topic) = @_;

	return answer($db, qq{SELECT min("offset"), count(*) FROM queue.consume_typed('$group', '$topic', NULL::text, 1000)});
}

sub produce
{
	my ($db, $topic, $n) = @_;

	return $node->safe_psql($db, qq{SELECT count FROM queue.produce_batch('$topic', array_fill('new'::text, ARRAY[$n]), partition => 0)});
}

sub groups
{
	my ($db) = @_;

	return answer($db, q{SELECT consumer_group || ' ' || coalesce(current_offset::text, '-') || ' ' || lag || ' ' || in_hand || ' ' || lost
		FROM queue.consumer_groups WHERE topic = 't' AND partition = 0 ORDER BY 1});
}

# ---------------- before ----------------

# Topic t: 20 messages in partition 0. Topic kept, whose log starts at 20 and has
# one message, and from which maintenance removes all that it may.
$node->safe_psql('postgres', q{
	SELECT queue.create_topic('t', 2, 'text', segment_messages => 10);
	SELECT queue.create_group('new', 't');
	SELECT count FROM queue.produce_batch('t', array_fill('old'::text, ARRAY[19]), partition => 0);
	SELECT "offset" FROM queue.produce('t', 'old', partition => 0, producer_id => 'p', sequence => 1);
	SELECT queue.create_group('all', 't', start => 'latest');
	SELECT queue.alter_group('all', auto_offset_reset => 'earliest');
	SELECT count(*) FROM queue.consume_typed('some', 't', NULL::text, 12);
	SELECT count(*) FROM queue.poll_typed('polls', 't', 'member', NULL::text, 5, lease => '1 hour');
	SELECT queue.create_topic('kept', value_type => 'text', segment_messages => 10, retention => '0.001 s', segment_age => '1000 days');
	SELECT count FROM queue.produce_batch('kept', array_fill('old'::text, ARRAY[21]));
	SELECT count(*) FROM queue.consume_typed('reader', 'kept', NULL::text, 1000)});
# Topic parks: what was parked lies behind the groups' offsets.
$node->safe_psql('postgres', q{
	SELECT queue.create_topic('parks', 1, 'text');
	SELECT count FROM queue.produce_batch('parks', ARRAY(SELECT 'old ' || i FROM generate_series(0, 9) i), ARRAY(SELECT 'k' || i FROM generate_series(0, 9) i));
	SELECT queue.set_failure_policy('parks', 'parks', backoff => '1 h', backoff_max => '1 h', hold => 'none');
	SELECT queue.park('parks', 'parks', 0, "offset", member => 'm', epoch => epoch)
	  FROM queue.poll_typed('parks', 'parks', 'm', NULL::text, lease => '1 ms') WHERE "offset" IN (2, 7);
	SELECT queue.park('parks back', 'parks', 0, "offset", counts => false) FROM queue.consume_typed('parks back', 'parks', NULL::text) WHERE "offset" IN (2, 7);
	SELECT queue.commit_offset('parks back', 'parks', 0, 0);
	SELECT queue.create_topic('dead', 1, 'text');
	SELECT queue.set_failure_policy('fails', 'parks', max_attempts => 1, dead_letter => 'dead');
	SELECT queue.park('fails', 'parks', 0, "offset", 'old') FROM queue.consume_typed('fails', 'parks', NULL::text) WHERE "offset" = 3});
ok(patiently(sub {
		$node->safe_psql('postgres', q{SET client_min_messages = warning; CALL queue.maintain('kept')});
		return $node->safe_psql('postgres', q{SELECT log_start FROM queue.partitions WHERE topic = 'kept'}) == 20;
	}), 'messages are removed');
my $epoch = $node->safe_psql('postgres', 'SELECT max(epoch) FROM queue.progress');
my $commit = qq{SELECT queue.commit_offset('polls', 't', 0, 5, 'member', $epoch)};

# ---------------- without messages ----------------

dump_and_restore('postgres', 'without', '--exclude-table-data=queue.log_*');
is(groups('without'), 'all 20 0 0 true new 0 0 0 false polls 0 0 0 false some 12 0 0 true',
	'offsets behind the log are lost');
is(consume('without', $_, 't'), 'QU001', "$_: reading says so") foreach 'some', 'all';
is(consume('without', 'new', 't'), '|0', 'a group that had read nothing is well');
is(answer('without', $commit), 'QU004', 'what a member had in hand is not there');

is(produce('without', 't', 15), 15, 'other messages take the offsets');
is(groups('without'), 'all 20 15 0 true new 0 15 0 false polls 0 15 0 false some 12 15 0 true',
	'all of them are lag');
foreach my $group ('some', 'all')
{
	is(consume('without', $group, 't'), 'QU001', "$group: reading still says so");
	is(answer('without', qq{SELECT count(*) FROM queue.poll_typed('$group', 't', 'm', NULL::text)}),
		'QU001', "$group: polling too");
}
is(answer('without', q{SET statement_timeout = '1min'; CALL queue.wait('some', 't', NULL)}), '', 'a waiter is woken to be told');
is(answer('without', q{SELECT new_offset FROM queue.reset_offsets('some', 't', shift_by => -5)}),
	'QU001', 'a lost offset cannot be shifted');
is(answer('without', $commit), 'QU004', 'a member is still told');
$node->safe_psql('without', q{SELECT queue.pause('some', 't'); SELECT queue.resume('some', 't'); SELECT queue.expire_group('some', 't')});
is(consume('without', 'some', 't'), 'QU001', 'pause and expire_group leave it as it is');
like(($node->psql('without', q{SELECT queue.consume_typed('some', 't', NULL::text)}))[2] // '',
	qr/reset_offsets/, 'the hint names the way out');

# Nothing goes that a lost group has yet to read. The log begins at its start.
is(produce('without', 'kept', 35), 35, 'kept: there are new messages');
is($node->safe_psql('without', q{SELECT first_offset FROM queue.incarnation i JOIN queue.topic USING (topic_id) WHERE name = 'kept' ORDER BY ordinal}),
	"0\n20", 'kept: from the log start on');
is(answer('without', q{SELECT consumer_group, log_start FROM queue.retention WHERE topic = 'kept'}), 'reader|20',
	'kept: the group holds them all');
$node->safe_psql('without', q{CALL queue.maintain('kept')});
is(answer('without', q{SELECT log_start FROM queue.partitions WHERE topic = 'kept'}), '20', 'kept: nothing is removed');
is(consume('without', 'reader', 'kept'), 'QU001', 'kept: the group is told');

# What was parked is not there. Another message of the same key that gets the offset
# is as any other.
is(answer('without', q{SELECT count(*) FROM queue.parked}), '4', 'rows of parked messages are there');
$node->safe_psql('without', q{SELECT FROM queue.produce_batch('parks', ARRAY(SELECT 'new ' || i FROM generate_series(0, 9) i), ARRAY(SELECT 'k' || i FROM generate_series(0, 9) i))});
foreach my $group ('parks', 'parks back')
{
	is(answer('without', qq{SELECT count(*), max(attempt) FROM queue.consume_typed('$group', 'parks', NULL::text)}),
		'10|1', "$group: no message is taken for one that was parked");
}
is(answer('without', q{SELECT count(*) FROM queue.parked}), '0', 'and their rows are gone');

# A dead letter that was restored, without its message, replays no other one.
my $letter = $node->safe_psql('postgres', 'SELECT headers FROM topic.dead');
$node->safe_psql('without', qq{
	SELECT queue.reset_offsets('fails', 'parks', to_earliest => true);
	SELECT queue.park('fails', 'parks', 0, "offset", 'new') FROM queue.consume_typed('fails', 'parks', NULL::text) WHERE "offset" = 4;
	INSERT INTO topic.dead (key, value, headers) VALUES ('k3', 'old 3', '$letter')});

# A producer's message that is not there is no duplicate; a new one is accepted.
my $again = q{SELECT duplicate FROM queue.produce('t', 'again', partition => 0, producer_id => 'p', sequence => 1)};
is(produce('without', 't', 10), 10, 'the log reaches where it was');
is(answer('without', $again), 'QU001', 'no duplicate of another message');
is(answer('without', q{SELECT duplicate FROM queue.produce('t', 'two', partition => 0, producer_id => 'p', sequence => 2)}),
	'f', 'a new message is accepted');
is(answer('without', q{SELECT duplicate FROM queue.produce('t', 'two', partition => 0, producer_id => 'p', sequence => 2)}),
	't', 'and known');

# ---------------- dumped again, with messages ----------------

dump_and_restore('without', 'again');
foreach my $db ('without', 'again')
{
	is(groups($db), 'all 20 26 0 true new 0 26 0 false polls 0 26 0 false some 12 26 0 true',
		"$db: what was lost is lost");
	is(consume($db, 'some', 't'), 'QU001', "$db: reading says so");
	is(answer($db, q{SELECT count(*) FROM topic.dead}), '2', "$db: there are dead letters");
	is(answer($db, q{SELECT queue.replay('fails', 'dead')}), '1', "$db: the message of one is replayed");
	is(answer($db, q{SELECT value FROM queue.consume_typed('fails', 'parks', NULL::text)}), 'new 4',
		"$db: and it is the right one");
	is(consume($db, 'new', 't'), '0|26', "$db: a group that had read nothing gets all");
	is(answer($db, $again), 'QU001', "$db: no duplicate");
	is(produce($db, 't', 5), 5, "$db: the log goes on");
	is(consume($db, 'new', 't'), '26|5', "$db: and so does the group");
	is(consume($db, 'some', 't'), 'QU001', "$db: the other one does not");
	is(answer($db, $again), 'QU001', "$db: still no duplicate");
	is(answer($db, q{SELECT "offset", duplicate FROM queue.produce('t', 'two', producer_id => 'p', sequence => 2)}),
		'25|t', "$db: a message that is there is one");
}

# ---------------- the ways out ----------------

is(answer('again', q{SELECT old_offset, new_offset FROM queue.reset_offsets('some', 't', to_earliest => true, partition => 0)}),
	'12|0', 'reset_offsets');
is(consume('again', 'some', 't'), '0|31', 'it gets all');
is(answer('again', q{SELECT queue.commit_offset('all', 't', 0, 30)}), '', 'commit_offset');
is(consume('again', 'all', 't'), '30|1', 'it gets the rest');
is(answer('again', q{SELECT queue.forget_producer('t', 'p')}), 't', 'forget_producer');
is(answer('again', $again), 'f', 'the message is sent again');
is(answer('again', $again), 't', 'and known');
is(groups('again'), 'all 31 1 0 false new 31 1 0 false polls 0 32 0 false some 31 1 0 false', 'nothing is lost');

# ---------------- with a part of the messages; after a crash ----------------

dump_and_restore('again', 'part', '--exclude-table-data=queue.log_1_00000_00000000000000000030');
$node->stop('immediate');
$node->start;
is(groups('part'), 'all 31 30 0 true new 31 30 0 true polls 0 30 0 false some 31 30 0 true',
	'part: what lies behind it is lost');
is(produce('part', 't', 5), 5, 'part: there are new messages');
$node->stop('immediate');
$node->start;
is(consume('part', 'some', 't'), 'QU001', 'part: reading says so');
is(consume('part', 'polls', 't'), '0|35', 'part: what was restored is read, and what is new');
check_log($node, 't', 'part', 'part');

# ---------------- the same files ----------------

# Another database, of which nothing was lost: offsets are as good as they were.
$node->safe_psql('postgres', 'CREATE DATABASE copy TEMPLATE part');
is(groups('copy'), groups('part'), 'copy: as in the database that was copied');
is(consume('copy', 'some', 't'), 'QU001', 'copy: reading says so');
is(produce('copy', 't', 5), 5, 'copy: there are new messages');
is(consume('copy', 'polls', 't'), '35|5', 'copy: a group goes on');
is(consume('copy', 'some', 't'), 'QU001', 'copy: another one does not');

$node->stop;
done_testing();
