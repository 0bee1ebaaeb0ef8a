# The promise: a failover to a standby that lacks the last commits loses them as a whole.
# A strict producer that goes on behind a lost one gets QU002, whose hint names
# queue.producer_state(), and sends again from there; a dedupe key of a lost message is
# free; groups get again what they had not committed; a member that commits messages of
# a lost poll gets QU004.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use QueueTest;

my $primary = new_server('primary', "autovacuum = off\n", allows_streaming => 1);
$primary->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'backup', has_streaming => 1);
$standby->start;

# Produce messages FROM to TO by a strict producer, a monotonic one and with dedupe keys.
sub produce
{
	my ($from, $to) = @_;

	$primary->safe_psql(
		'postgres', qq{
		SELECT queue.produce('events', 'strict ' || i, producer_id => 'strict', sequence => i),
			   queue.produce('events', 'loose ' || i, producer_id => 'loose', sequence => i),
			   queue.produce('events', 'key ' || i, dedupe_key => 'key ' || i)
		  FROM generate_series($from, $to) i});
	return;
}

# What the group and the member get, as offsets.
my $consume = q{SELECT count(*), min("offset") FROM queue.consume_typed('group', 'events', NULL::text, 3)};
my $poll = q{SELECT min("offset"), max("offset"), max(epoch) FROM queue.poll_typed('workers', 'events', 'worker-1', NULL::text, 3)};

$primary->safe_psql(
	'postgres', q{
	SELECT queue.create_topic('events', value_type => 'text');
	SELECT queue.create_producer('events', 'loose', sequence_mode => 'monotonic');
});
produce(1, 2);
is($primary->safe_psql('postgres', $consume), '3|0', 'a group consumes');
my ($first, $last, $epoch) = split /\|/, $primary->safe_psql('postgres', $poll);
is("$first|$last", '0|2', 'a member polls');
$primary->safe_psql('postgres', qq{SELECT queue.commit_offset('workers', 'events', 0, 3, 'worker-1', $epoch)});
$primary->wait_for_catchup($standby);
$standby->stop;

# These commits the standby never gets.
produce(3, 4);
is($primary->safe_psql('postgres', $consume), '3|3', 'the group goes on');
($first, $last, $epoch) = split /\|/, $primary->safe_psql('postgres', $poll);
is("$first|$last", '3|5', 'so does the member');
$primary->stop('immediate');

$standby->start;
$standby->promote;

sub there
{
	return $standby->safe_psql('postgres', $_[0]);
}

is(there('SELECT count(*) FROM topic.events'), '6', 'the last messages are lost');
my ($ret, $stdout, $stderr) = $standby->psql('postgres',
	q{SELECT queue.produce('events', 'strict 5', producer_id => 'strict', sequence => 5)},
	extra_params => [ '-v', 'VERBOSITY=verbose' ]);
like($stderr, qr/ERROR:  QU002: /, 'a strict producer that goes on is refused');
like($stderr, qr/HINT:  .*queue\.producer_state\(\)/, 'the hint names queue.producer_state()');
is(there(q{SELECT last_sequence FROM queue.producer_state('events', 'strict')}),
	'2', 'which tells where to go on');
is(there(q{SELECT count(*) FILTER (WHERE NOT duplicate) FROM generate_series(2, 5) i,
		queue.produce('events', 'strict ' || i, producer_id => 'strict', sequence => i)}),
	'3', 'what it sends again from there is stored once');
is(there(q{SELECT duplicate FROM queue.produce('events', 'loose 5', producer_id => 'loose', sequence => 5)}),
	'f', 'a monotonic one gets no error');
is(there(q{SELECT string_agg(duplicate::text, ' ') FROM generate_series(2, 3) i,
		queue.produce('events', 'key ' || i, dedupe_key => 'key ' || i)}),
	'true false', 'the dedupe key of a lost message is free');

is(sqlstate($standby, 'postgres', qq{SELECT queue.commit_offset('workers', 'events', 0, $last + 1, 'worker-1', $epoch)}),
	'QU004', 'messages of a lost poll cannot be committed');
is(there($poll) =~ s/\|\d+$//r, '3|5', 'the member gets them again');
is(there($consume), '3|3', 'so does the group');
check_log($standby, 'events', 'promoted');

$standby->stop;
done_testing();
