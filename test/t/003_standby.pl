# The promise: a streaming standby serves fetch and plain SQL, and stops before
# an open transaction as the primary does, and tells the producers' state; it
# refuses to consume and produce; and once promoted it goes on with every
# committed offset and message, and knows what producers send again.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use QueueTest;

# The standby compares every page that it replays with the primary's.
my $primary = new_server(
	'primary',
	'wal_consistency_checking = all',
	allows_streaming => 1);
$primary->safe_psql(
	'postgres', q{
	SELECT queue.create_topic('events', value_type => 'text', segment_messages => 100);
	SELECT queue.produce('events', 'message ' || i) FROM generate_series(0, 249) i;
	SELECT queue.produce('events', repeat(md5('big'), 10000));
	SELECT count(*) FROM queue.consume_typed('readers', 'events', NULL::text, 40);
});

$primary->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'backup', has_streaming => 1);
$standby->start;

sub catch_up
{
	$primary->wait_for_catchup($standby);
	return;
}

# The query's answer on the standby.
sub there
{
	return $standby->safe_psql('postgres', $_[0]);
}

sub same_on_both
{
	my ($sql, $what) = @_;

	is(there($sql), $primary->safe_psql('postgres', $sql), $what);
	return;
}

my $fetch_tail = q{
	SELECT "offset", value FROM queue.fetch_typed('events', 0, 251, NULL::text)};

catch_up();
same_on_both(
	q{SELECT "offset", md5(value) FROM queue.fetch_typed('events', 0, 0, NULL::text, 1000)},
	'fetch reads the same on the standby');
same_on_both(q{SELECT "offset", md5(value) FROM topic.events ORDER BY 1},
	'so does SQL');
same_on_both(q{SELECT topic, partition, log_start, stable_end, log_end FROM queue.partitions},
	'so do the views');
is(there($fetch_tail), '', 'at the end there is nothing to fetch');

# The primary produces while the standby reads, segment after segment.
$primary->safe_psql('postgres',
	q{SELECT count(*) FROM generate_series(251, 400) i, queue.produce('events', 'message ' || i)}
);
catch_up();
is( there(q{SELECT count(*), min("offset"), max("offset")
		FROM queue.fetch_typed('events', 0, 251, NULL::text, 1000)}),
	'150|251|400', 'new messages and new segments arrive');

# The same under load, with rollbacks, toasted values and VACUUM.
create_ledger($primary, 'load', 'partitions => 2, segment_messages => 500');
my $load = start_load($primary, 'load', 'producer', 3, '-t', 150);
$primary->safe_psql('postgres', 'VACUUM') while is_running($load);
ok(finish_load($load), 'the primary was loaded');
catch_up();
is(digest($standby, 'postgres', 'load'),
	digest($primary, 'postgres', 'load'),
	'after load and VACUUM the standby has the same messages');
check_log($standby, 'load', 'on the standby');

# A producer with an open transaction holds readers back, here too.
my $producer = open_session($primary);
$producer->query_safe('BEGIN');
is($producer->query_safe(q{SELECT "offset" FROM queue.produce('events', 'slow')}),
	'401', 'a slow producer takes an offset');
$primary->safe_psql('postgres', q{SELECT queue.produce('events', 'fast')});
catch_up();
my $fetch_new = q{
	SELECT "offset", value FROM queue.fetch_typed('events', 0, 401, NULL::text)};
is(there($fetch_new), '', 'the standby does not pass the open transaction');
is(there(q{SELECT queue.stable_end('events', 0)}),
	'401', 'and says where it stops');
is(there(q{SELECT value FROM topic.events WHERE "offset" > 400}),
	'fast', 'while SQL shows every committed message');
$producer->query_safe('COMMIT');
catch_up();
is(there($fetch_new), "401|slow\n402|fast", 'after its commit both are read');

# The same with a rollback, and with a prepared transaction.
$producer->query_safe(q{BEGIN; SELECT queue.produce('events', 'undone')});
$primary->safe_psql(
	'postgres', q{
	BEGIN;
	SELECT queue.produce('events', 'prepared');
	PREPARE TRANSACTION 'prepared';
	SELECT queue.produce('events', 'behind');
});
$fetch_new =~ s/401/403/;
catch_up();
is(there($fetch_new), '', 'an open and a prepared transaction hold it back');
$producer->query_safe('ROLLBACK');
$producer->quit;
catch_up();
is(there($fetch_new), '', 'the prepared one alone does');
$primary->safe_psql('postgres', q{COMMIT PREPARED 'prepared'});
catch_up();
is(there($fetch_new), "404|prepared\n405|behind",
	'the rolled-back message is skipped, the others are read');

# Producers: their state is here as soon as what they stored.
$primary->safe_psql(
	'postgres', q{
	SELECT queue.create_topic('sequenced', partitions => 2, value_type => 'text');
	SELECT queue.produce_batch('sequenced', ARRAY['a', 'b', 'c', 'd'],
		keys => ARRAY['1', '2', '3', '4'], producer_id => 'loader',
		first_sequence => 1, watermark => '{"line": 4}');
	SELECT queue.fence_producer('sequenced', 'loader');
	SELECT queue.produce('sequenced', 'e', producer_id => 'loader', sequence => 5, epoch => 1);
	SELECT queue.produce('sequenced', 'b', producer_id => 'loader', sequence => 2, epoch => 1);
});
my $places = $primary->safe_psql('postgres',
	q{SELECT partition, "offset" FROM topic.sequenced ORDER BY value});
catch_up();
my $resume = q{SELECT epoch, last_sequence, watermark
	FROM queue.producer_state('sequenced', 'loader')};
is(there($resume), '1|5|{"line": 4}', 'the standby tells where a producer goes on');
same_on_both(q{SELECT * FROM queue.producer_state('sequenced', 'loader')},
	'and all of it as the primary does');
same_on_both(q{SELECT * FROM queue.producers}, 'so does the view of producers');
is(there(q{SELECT accepted, duplicates FROM queue.producers}),
	'5|1', 'with its counters');

# Parked messages are seen, and kept: what may be removed is asked here, too.
$primary->safe_psql(
	'postgres', q{
	SELECT queue.park('fails', 'events', partition, "offset", 'bad', 'P0001', '1 day')
	  FROM queue.consume_typed('fails', 'events', NULL::text, 5) WHERE "offset" = 3;
});
catch_up();
same_on_both(q{SELECT * FROM queue.parked}, 'so does the view of parked messages');
same_on_both(q{SELECT consumer_group, parked, state FROM queue.group_summary ORDER BY 1},
	'and that of groups');
is(there(q{SELECT consumer_group, held_offset FROM queue.retention WHERE topic = 'events'}),
	'fails|3', 'the standby tells for which group messages are kept');

# What writes is refused.
foreach my $sql (
	q{SELECT * FROM queue.consume_typed('readers', 'events', NULL::text)},
	q{SELECT * FROM queue.consume_typed('strangers', 'events', NULL::text)},
	q{SELECT * FROM queue.produce('events', 'x')},
	q{SELECT * FROM queue.produce_batch('events', ARRAY['x'])},
	q{SELECT * FROM queue.produce('sequenced', 'f', producer_id => 'loader', sequence => 6, epoch => 1)},
	q{SELECT * FROM queue.produce('sequenced', 'e', producer_id => 'loader', sequence => 5, epoch => 1)},
	q{SELECT * FROM queue.produce_batch('sequenced', ARRAY['e'], producer_id => 'loader', first_sequence => 5, epoch => 1)},
	q{SET queue.producer_id = 'loader'; SET queue.producer_epoch = 1; SET queue.first_sequence = 5;
		INSERT INTO topic.sequenced (value) VALUES ('e')},
	q{SELECT queue.create_producer('sequenced', 'other')},
	q{SELECT queue.fence_producer('sequenced', 'loader')},
	q{SELECT queue.prune_producers('sequenced')},
	q{SELECT queue.forget_producer('sequenced', 'loader')},
	q{INSERT INTO topic.events (value) VALUES ('x')},
	q{SELECT queue.park('fails', 'events', 0, 3)},
	q{SELECT queue.skip_parked('fails', 'events', 0, 3)},
	q{SELECT queue.retry_parked('fails', 'events', 0, 3)},
	q{SELECT queue.set_failure_policy('fails', 'events')},
	q{SELECT queue.drop_failure_policy('fails', 'events')},
	q{SELECT queue.create_topic('other')},
	q{SELECT queue.create_group('other', 'events')},
	q{SELECT queue.unsubscribe('readers', 'events')},
	q{CALL queue.process('readers', 'events')})
{
	is(sqlstate($standby, 'postgres', $sql),
		'25006', "refused on a standby: $sql");
}
my ($ret, $stdout, $stderr) = $standby->psql('postgres',
	q{SELECT * FROM queue.consume_typed('readers', 'events', NULL::text)});
like($stderr,
	qr/cannot execute queue\.consume_typed\(\) (during recovery|in a read-only transaction)/,
	'and the error says why');

# Promoted in mid-flight of one more transaction, which is gone then.
my $lost = open_session($primary);
$lost->query_safe(
	q{BEGIN; SELECT queue.produce('events', 'lost with the primary');
	SELECT queue.produce('sequenced', 'lost', producer_id => 'loader', sequence => 6, epoch => 1)}
);
$primary->safe_psql('postgres', q{SELECT queue.produce('events', 'last')});
catch_up();
$primary->stop('immediate');
$standby->promote;
$lost->{run}->kill_kill;

is(there(q{SELECT "offset", value FROM queue.fetch_typed('events', 0, 406, NULL::text)}),
	'407|last', 'the open transaction died with the primary');
is( there(q{SELECT current_offset FROM queue.consumer_groups
		WHERE consumer_group = 'readers'}),
	'40',
	'the committed offset is kept');
is( there(q{SELECT min("offset"), max("offset"), count(*)
		FROM queue.consume_typed('readers', 'events', NULL::text, 1000)}),
	'40|407|366', 'consuming goes on from there');
is(there(q{SELECT "offset" FROM queue.produce('events', 'new')}),
	'408', 'producing goes on at the end');
is(there(q{SELECT "offset", value FROM queue.consume_typed('readers', 'events', NULL::text)}),
	'408|new', 'and consuming behind it');
$standby->safe_psql('postgres',
	q{SELECT count(*) FROM generate_series(409, 700) i, queue.produce('events', 'm' || i)});
check_log($standby, 'events', 'promoted');

# A producer sends again what it has no answer for.
is(there($resume), '1|5|{"line": 4}', 'a producer finds its position');
my $again = q{SELECT r.partition, r."offset" FROM generate_series(1, 5) i,
	queue.produce('sequenced', 'again', producer_id => 'loader', sequence => i, epoch => 1) r
	WHERE r.duplicate ORDER BY i};
is(there($again), $places, 'what was committed is a duplicate, and where it was');
is( there(q{SELECT sum(count), sum(duplicates) FROM queue.produce_batch('sequenced',
		ARRAY['e', 'f', 'g'], producer_id => 'loader', first_sequence => 5, epoch => 1)}),
	'2|1',
	'what was lost with the primary is new');
is( sqlstate($standby, 'postgres',
		q{SELECT queue.produce('sequenced', 'h', producer_id => 'loader', sequence => 8)}),
	'QU003', 'a producer fenced before still is');
check_log($standby, 'sequenced', 'promoted');
drain($standby, 'load');
check_ledger($standby, 'load', 'promoted');

$standby->stop;
done_testing();
