# The promise: recovery to a point between two commits has what was produced, consumed
# and done up to that point, and nothing of what came after it; work goes on from
# there, each message once.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use QueueTest;

my $primary = new_server('primary', '', has_archiving => 1, allows_streaming => 1);

$primary->backup('before');
$primary->safe_psql(
	'postgres', q{
	SELECT queue.create_topic('orders', value_type => 'int', segment_messages => 10);
	SELECT queue.create_topic('log', value_type => 'int', cleanup_policy => 'compact', segment_messages => 10);
	CREATE TABLE booked (value int);
	-- A unit of work: orders are produced by a client that numbers them, all that are
	-- there are booked, and a state is kept of the last.
	CREATE PROCEDURE work(first int, last int) LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM queue.produce_batch('orders', ARRAY(SELECT generate_series(first, last)),
									producer_id => 'client', first_sequence => first);
		COMMIT;
		INSERT INTO booked SELECT value FROM queue.consume_typed('books', 'orders', NULL::int, 1000);
		PERFORM queue.produce('log', last, key => 'last');
		COMMIT;
	END $$;
	CALL work(1, 25);
	CALL work(26, 50);
	-- one member has messages in hand
	SELECT count(*) FROM queue.poll_typed('mail', 'orders', 'm', NULL::int, 5)});

# A transaction that is open at the target, and commits after it.
my $late = open_session($primary);
$late->query_safe(q{BEGIN; SELECT queue.produce('orders', -1)});
$primary->safe_psql('postgres', q{SELECT pg_create_restore_point('between')});
$late->query_safe('COMMIT');
$late->quit;
$primary->safe_psql(
	'postgres', q{
	CALL work(51, 80);
	SELECT queue.reset_offsets('books', 'orders', to_earliest => true);
	SELECT queue.forget_producer('orders', 'client');
	SELECT queue.delete_messages('orders', 0, 20, true);
	SELECT queue.drop_topic('log');
	SELECT pg_switch_wal()});
$primary->stop;

my $node = PostgreSQL::Test::Cluster->new('recovered');
$node->init_from_backup($primary, 'before', has_restoring => 1, standby => 0);
$node->append_conf('postgresql.conf', q{
recovery_target_name = 'between'
recovery_target_action = 'promote'
});
$node->start;
ok( $node->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()'),
	'the server recovers to the target');

sub answer
{
	return $node->safe_psql('postgres', $_[0]);
}

# The orders that were booked, and those in the topic: number, first, last, sum.
my $summary = 'count(*), min(value), max(value), sum(value)';

is(answer("SELECT $summary FROM booked"), '50|1|50|1275', 'what was booked before is there');
is(answer("SELECT $summary FROM topic.orders"), '50|1|50|1275',
	'and its messages, without those that were not committed at the target');
is(answer(q{SELECT current_offset, lost FROM queue.consumer_groups WHERE consumer_group = 'books'}),
	'50|f', 'the group is where it was');
is(answer(q{SELECT last_sequence FROM queue.producer_state('orders', 'client')}),
	'50', 'and the producer');
is(answer(q{SELECT in_hand, queue.log_start('orders', 0) FROM queue.consumer_groups WHERE consumer_group = 'mail'}),
	'5|0', 'a member has its messages in hand; deleted ones are back');
is(answer(q{SELECT value FROM topic.log ORDER BY "offset" DESC LIMIT 1}), '50', 'a dropped topic is back');

# Work goes on: the client sends again what it does not know to be stored.
answer('CALL work(41, 80)');
is(answer("SELECT $summary FROM booked"), '80|1|80|3240', 'each order is booked once');
is(answer('SELECT count(*), count(DISTINCT value) FROM topic.orders'), '80|80',
	'and stored once');
is( answer(
		q{SELECT count(*), bool_and(before < "offset") FROM
		  (SELECT "offset", lag("offset", 1, -1) OVER (ORDER BY value) AS before FROM topic.orders) o}),
	'80|t', 'in the order of the offsets');
check_log($node, $_, "$_ recovered") for 'orders', 'log';

$node->stop;
done_testing();
