# The promise: pg_dump and pg_restore carry topics whole, in every format and
# with parallel jobs: the same messages at the same offsets, of every size; the
# groups' committed offsets; the producers' state, down to the place of every
# message that one may send again; and in the restored database producing and
# consuming go on where the old one stopped. A group and a producer whose role
# is not there are kept.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use QueueTest;

my $node = new_server('dump');
my @topics = ('mixed', 'words', 'blobs', 'orders', 'Odd-Name.1', 'empty',
	'sequenced', 'dead');

# Messages from 1 byte to 1 MB, small ones between big ones, so that restoring
# through a free space map would reorder them; keys, headers, times of delivery,
# tombstones; aborted messages between them; segments so small that there are many.
$node->safe_psql(
	'postgres', q{
	CREATE TYPE order_line AS (item text, amount numeric);
	SELECT queue.create_topic('mixed', partitions => 2, segment_messages => 50);
	SELECT queue.create_topic('words', value_type => 'text', segment_messages => 20);
	SELECT queue.create_topic('blobs', partitions => 3, value_type => 'bytea');
	SELECT queue.create_topic('orders', value_type => 'order_line');
	SELECT queue.create_topic('Odd-Name.1', segment_messages => 5);
	SELECT queue.create_topic('empty', partitions => 4);
	SELECT queue.create_topic('dead', value_type => 'text');
	SELECT queue.create_topic('sequenced', partitions => 3, value_type => 'text');

	CREATE FUNCTION noise(bytes int) RETURNS text LANGUAGE sql AS $$
		SELECT left(string_agg(md5(random()::text), ''), bytes)
		FROM generate_series(0, bytes / 32)
	$$;
	DO $$
	BEGIN
		FOR i IN 1 .. 400 LOOP
			PERFORM queue.produce('mixed',
				jsonb_build_object('i', i, 'pad', noise((ARRAY[1, 10, 100, 1500, 3000, 20000])[1 + i % 6])),
				key => CASE WHEN i % 3 > 0 THEN 'key-' || i % 11 END,
				headers => CASE WHEN i % 4 = 0 THEN jsonb_build_object('n', i) END,
				deliver_at => CASE WHEN i % 5 = 0 THEN timestamptz '2001-01-01' + i * interval '1 min' END);
		END LOOP;
		FOR i IN 0 .. 20 LOOP
			PERFORM queue.produce('words', noise((2 ^ i)::int));
			PERFORM queue.produce('words', 'x'::text);
			PERFORM queue.produce('blobs', decode(md5(i::text) || repeat('00ff', (2 ^ i)::int / 8), 'hex'));
			PERFORM queue.produce('orders', ROW('item ' || i, i * 1.5)::order_line);
			PERFORM queue.produce('Odd-Name.1', NULL::jsonb, key => 'gone-' || i);
		END LOOP;
	END $$;
	BEGIN;
	SELECT count(*) FROM generate_series(1, 30) i, queue.produce('words', noise(i * 100));
	ROLLBACK;
	SELECT queue.produce('words', 'after an aborted one'::text);

	SELECT queue.create_group('late', 'words', start => 'latest');
	SELECT queue.create_group('early', 'words', auto_offset_reset => 'earliest', expiry => '7 days');
	SELECT count(*) FROM queue.consume('reader', 'mixed', max_messages => 37);
	SELECT count(*) FROM queue.consume('reader', 'mixed', max_messages => 41);
	SELECT count(*) FROM queue.consume_typed('reader', 'words', NULL::text, 10);

	CREATE TABLE handled ("offset" bigint);
	CREATE FUNCTION handle(m queue.message[]) RETURNS void LANGUAGE sql AS
		'INSERT INTO handled SELECT "offset" FROM unnest(m)';
	SELECT queue.subscribe('handler', 'Odd-Name.1', 'handle(queue.message[])', batch => 7, timeout => '1 hour');

	SELECT queue.set_failure_policy('fails', 'words', max_attempts => 1, dead_letter => 'dead');
	SELECT queue.park('fails', 'words', partition, "offset", 'no room', '53100', '1 day', "offset" = 1)
	  FROM queue.consume_typed('fails', 'words', NULL::text, 4) WHERE "offset" < 3;
	SELECT queue.set_failure_policy('fails', 'words', max_attempts => 1);
	SELECT queue.park('fails', 'words', partition, "offset", 'no such place', 'P0001')
	  FROM queue.consume_typed('fails', 'words', NULL::text, 1);
	SELECT queue.replay('fails', 'dead');

	CREATE ROLE regress_departed;
	GRANT SELECT ON topic.words TO regress_departed;
	SET ROLE regress_departed;
	SELECT count(*) FROM queue.consume_typed('of another role', 'words', NULL::text, 3);
});

# Producers: one pruned, fenced, with a watermark and duplicates; one with gaps;
# one that has not begun; one of another role.
my $produce_sequenced = q{
	SELECT r.partition, r."offset", r.duplicate
	FROM queue.produce('sequenced', 'again', producer_id => '%s', sequence => %d,
		epoch => %d) r};
$node->safe_psql(
	'postgres', q{
	DO $$
	BEGIN
		FOR batch IN 0 .. 19 LOOP
			PERFORM queue.produce_batch('sequenced',
				(SELECT array_agg('loader ' || i) FROM generate_series(1, 50) i),
				keys => (SELECT array_agg('key-' || i % 7) FROM generate_series(1, 50) i),
				producer_id => 'loader', first_sequence => batch * 50 + 1,
				watermark => jsonb_build_object('batch', batch));
			PERFORM queue.produce('sequenced', 'between');
		END LOOP;
	END $$;
	SELECT queue.prune_producers('sequenced');
	SELECT queue.fence_producer('sequenced', 'loader');
	SELECT queue.produce('sequenced', 'one more', producer_id => 'loader',
		sequence => 1001, epoch => 1);
	SELECT queue.produce('sequenced', 'again', producer_id => 'loader',
		sequence => 900, epoch => 1);
	SELECT queue.create_producer('sequenced', 'relay', 'monotonic');
	SELECT queue.produce('sequenced', 'relay', producer_id => 'relay', sequence => i * i)
	FROM generate_series(1, 30) i;
	SELECT queue.create_producer('sequenced', 'idle', 'monotonic');

	GRANT INSERT ON topic.sequenced TO regress_departed;
	SET ROLE regress_departed;
	SELECT queue.produce('sequenced', 'departed', producer_id => 'departed', sequence => 7);
});

# Where a producer's messages are, by sending them all again, for good or not.
sub all_again
{
	my ($server, $db) = @_;

	return $server->safe_psql(
		$db, q{
		BEGIN;
		SELECT i, r.partition, r."offset", r.duplicate FROM generate_series(1, 1001) i,
			queue.produce('sequenced', 'again', producer_id => 'loader', sequence => i, epoch => 1) r;
		SELECT i, r.partition, r."offset", r.duplicate FROM generate_series(1, 30) i,
			queue.produce('sequenced', 'again', producer_id => 'relay', sequence => i * i) r;
		ROLLBACK;
	});
}
my $places = all_again($node, 'postgres');
is(scalar(() = $places =~ /\|t$/mg), 1031, 'what is sent again is a duplicate');

# After a restore, a producer goes on as if nothing had been.
sub check_producers
{
	my ($server, $db, $when) = @_;
	my $produce = sub { return sprintf($produce_sequenced, @_) };

	is(all_again($server, $db),
		$places, "$when: what is sent again is a duplicate and where it was");
	is( $server->safe_psql(
			$db, q{SELECT epoch, last_sequence, watermark
				FROM queue.producer_state('sequenced', 'loader')}),
		'1|1001|{"batch": 19}',
		"$when: a producer finds its position");
	is(sqlstate($server, $db, $produce->('loader', 1002, 0)),
		'QU003', "$when: a producer that was fenced still is");
	is(sqlstate($server, $db, $produce->('loader', 1003, 1)),
		'QU002', "$when: a sequence too far is refused");
	is(sqlstate($server, $db, $produce->('relay', 8, 0)),
		'QU002', "$when: and one that was left out");
	is(sqlstate($server, $db, $produce->('departed', 9, 0)),
		'QU002', "$when: a producer is kept whose role is not here");
	like($server->safe_psql($db, $produce->(@$_)),
		qr/\|f$/, "$when: sequence $_->[1] of $_->[0] is the next")
	  foreach [ 'loader', 1002, 1 ], [ 'relay', 1000, 0 ], [ 'idle', 5, 0 ],
	  [ 'idle', 9, 0 ], [ 'departed', 8, 0 ], [ 'a new one', 1, 0 ];
	like($server->safe_psql($db, $produce->('loader', 1002, 1)),
		qr/\|t$/, "$when: and after that a duplicate");
	is($server->safe_psql($db, q{SELECT queue.fence_producer('sequenced', 'loader')}),
		2, "$when: fencing goes on");
	return;
}
is( $node->safe_psql('postgres', q{SELECT max(octet_length(value)) FROM topic.words}),
	2**20, 'the biggest message has a megabyte');

# Everything about the topics that a dump must carry.
my $state = q{
	SELECT topic, partitions, value_type, segment_messages, owner, created_at
		FROM queue.topics ORDER BY 1;
	SELECT topic, partition, log_start, stable_end, log_end
		FROM queue.partitions ORDER BY 1, 2;
	SELECT topic, partition, segment, first_offset, end_offset
		FROM queue.segments ORDER BY 1, 2, 4;
	SELECT consumer_group, topic, partition, current_offset, log_end_offset, lag, stable_end,
		in_hand, paused, committed_at, committed_by, metadata, missed, expired
	  FROM queue.consumer_groups ORDER BY 1, 2, 3;
	SELECT consumer_group, owner, missed, expired, auto_offset_reset, expiry
	  FROM queue.group_summary ORDER BY 1;
	SELECT * FROM queue.offset_history ORDER BY 1, 2, 3, 4;
	SELECT consumer_group, parked, delayed, state FROM queue.group_summary ORDER BY 1;
	SELECT * FROM queue.parked ORDER BY 1, 2, 3, 4;
	SELECT * FROM queue.producers ORDER BY 1, 2;
};
# And each row of each table and sequence that the extension marks for dumps.
$state .= $node->safe_psql(
	'postgres', q{
	SELECT string_agg(format(CASE relkind WHEN 'r' THEN 'SELECT %L, t FROM %s t ORDER BY t::text COLLATE "C";'
			ELSE 'SELECT %L, last_value FROM %s;' END, oid::regclass, oid::regclass), E'\n')
	  FROM pg_class WHERE oid = ANY ((SELECT extconfig FROM pg_extension WHERE extname = 'queue')::oid[])});
my $state_before = $node->safe_psql('postgres', $state);
like($state_before, qr/^\Q$_\E\|/m, "$_ has rows")
  foreach map { "queue.$_" }
  qw(topic consumer_group progress parked_message failure_policy subscription producer
  producer_batch producer_history producer_due);
my $end = $node->safe_psql('postgres', q{SELECT queue.log_end('words', 0)});
my %digest_before = map { $_ => digest($node, 'postgres', $_) } @topics;

my $folder = PostgreSQL::Test::Utils::tempdir();
my @to = ('-h', $node->host, '-p', $node->port, '-d');

my %way = (
	plain => [
		[ 'pg_dump', @to, 'postgres', '-f', "$folder/plain" ],
		[ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-f', "$folder/plain", @to ]
	],
	inserts => [
		[ 'pg_dump', @to, 'postgres', '--inserts', '-f', "$folder/inserts" ],
		[ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-f', "$folder/inserts", @to ]
	],
	custom => [
		[ 'pg_dump', @to, 'postgres', '-Fc', '-f', "$folder/custom" ],
		[ 'pg_restore', '--exit-on-error', "$folder/custom", @to ]
	],
	directory => [
		[ 'pg_dump', @to, 'postgres', '-Fd', '-j4', '-f', "$folder/directory" ],
		[ 'pg_restore', '--exit-on-error', '-j4', "$folder/directory", @to ]
	]);

foreach my $name (sort keys %way)
{
	my ($dump, $restore) = @{ $way{$name} };
	my $db = "restored_$name";

	command_ok($dump, "$name: dumped");
	$node->safe_psql('postgres', "CREATE DATABASE $db TEMPLATE template0");
	command_ok([ @$restore, $db ], "$name: restored");

	is($node->safe_psql($db, $state),
		$state_before, "$name: topics, segments, groups, producers and ends are the same");
	foreach my $topic (@topics)
	{
		is(digest($node, $db, $topic),
			$digest_before{$topic}, "$name: $topic has the same messages");
		check_log($node, $topic, "$name: $topic", $db);
	}

	# Going on, where the old database stopped.
	foreach my $step (
		[ 'produce', q{SELECT "offset" FROM queue.produce('words', 'next'::text)} ],
		[ 'produce_batch', q{SELECT first_offset, last_offset, count
			FROM queue.produce_batch('words', ARRAY(SELECT 'n' || i FROM generate_series(1, 60) i))} ],
		[ 'a group between', q{SELECT "offset", value
			FROM queue.consume_typed('reader', 'words', NULL::text, 5)} ],
		[ 'a group at the start', q{SELECT "offset", md5(value)
			FROM queue.consume_typed('early', 'words', NULL::text, 100)} ],
		[ 'a group at the end', q{SELECT "offset", value
			FROM queue.consume_typed('late', 'words', NULL::text, 100)} ],
		[ 'a handler', q{CALL queue.process('handler', 'Odd-Name.1');
			SELECT count(*), count(DISTINCT "offset") FROM handled} ],
		[ 'a group with parked messages', q{SELECT queue.retry_parked('fails', 'words', 0, 0);
			SELECT "offset", md5(value), attempt FROM queue.consume_typed('fails', 'words', NULL::text, 100);
			SELECT "offset", attempts, due_at = 'infinity', sqlstate, error FROM queue.parked} ],
		[ 'the view', q{INSERT INTO topic.orders (key, value) VALUES ('k', ROW('x', 1))
			RETURNING partition, "offset"} ],
		[ 'a new topic', q{SELECT queue.create_topic('fresh');
			SELECT "offset" FROM queue.produce('fresh', '1')} ])
	{
		my ($what, $sql) = @$step;

		# the first restored database says what the others must say
		my $answer = $node->safe_psql($db, $sql);
		$way{answer}{$what} //= $answer;
		is($answer, $way{answer}{$what}, "$name: $what goes on");
	}
	is( $node->safe_psql(
			$db, q{SELECT "offset" FROM queue.produce('words', 'x'::text)}),
		$end + 61, "$name: offsets go on from the old end");
	check_log($node, 'words', "$name, after more", $db);
	check_producers($node, $db, $name);
}

# Over a database that has all of it already, and nothing else.
$node->safe_psql('restored_custom', q{SELECT queue.drop_topic('fresh')});
local $ENV{PGOPTIONS} = '-c queue.allow_ddl=on';
command_ok(
	[
		'pg_restore', '--exit-on-error', '--clean', '--if-exists',
		"$folder/custom", @to, 'restored_custom'
	],
	'clean: restored over a database in use');
delete $ENV{PGOPTIONS};
is($node->safe_psql('restored_custom', $state),
	$state_before, 'clean: everything is as it was dumped');
is(digest($node, 'restored_custom', $_),
	$digest_before{$_}, "clean: $_ has the same messages")
  foreach @topics;

# In another cluster, which knows neither the roles nor the transactions.
my $elsewhere = new_server('elsewhere');
my @there = ('-h', $elsewhere->host, '-p', $elsewhere->port, '-d');
$elsewhere->safe_psql('postgres', 'CREATE DATABASE restored TEMPLATE template0');
command_ok(
	[
		'pg_restore', '--exit-on-error', '--no-owner', '--no-privileges',
		"$folder/custom", @there, 'restored'
	],
	'elsewhere: restored without the roles');
is($elsewhere->safe_psql('restored', $state),
	$state_before, 'elsewhere: everything is as it was dumped');
foreach my $topic (@topics)
{
	is(digest($elsewhere, 'restored', $topic),
		$digest_before{$topic}, "elsewhere: $topic has the same messages");
	check_log($elsewhere, $topic, "elsewhere: $topic", 'restored');
}
is( $elsewhere->safe_psql(
		'restored',
		q{SELECT "offset" FROM queue.consume_typed('of another role', 'words', NULL::text, 1)}
	),
	3,
	'elsewhere: the group whose role is missing goes on');
check_producers($elsewhere, 'restored', 'elsewhere');

$elsewhere->stop;
$node->stop;
done_testing();
