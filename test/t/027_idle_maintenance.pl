# The promise: maintenance costs what there is to do, not what there is. A pass
# over many producers, groups and a long history of offsets that changes nothing
# reads next to nothing; and one that has much to do needs no larger lock table,
# since it commits in between.

use strict;
use warnings;

use FindBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use QueueTest;

my $producers = 20_000;
my $groups = 1_000;
my $history = 1_000;    # rows a group
my $bar = 10_000;

# The lock table has room for some thousand locks; no VACUUM comes in between.
my $node = new_server(
	'idle', q{
max_connections = 20
max_worker_processes = 4
max_prepared_transactions = 0
max_locks_per_transaction = 40
autovacuum = off
fsync = off
});

sub query
{
	return $node->safe_psql('postgres', shift);
}

# ---------------- what there is ----------------

query(q{SELECT queue.create_topic('many', value_type => 'int')});
query(qq{
	CREATE PROCEDURE send(first int, last int) LANGUAGE plpgsql AS \$\$
	BEGIN
		FOR n IN first .. last LOOP
			PERFORM queue.produce('many', n, producer_id => 'p-' || n % $producers, sequence => n / $producers);
			IF n % 500 = 0 THEN COMMIT; END IF;
		END LOOP;
	END \$\$;
	CALL send(0, 3 * $producers - 1);
	DO \$\$
	BEGIN
		FOR n IN 1 .. $groups LOOP
			PERFORM queue.create_group('g-' || n, 'many');
			IF n % 100 = 0 THEN COMMIT; END IF;
		END LOOP;
	END \$\$;
	INSERT INTO queue.progress (group_id, topic_id, partition, paused, action, generation, committed_offset, committed_at)
	SELECT group_id, topic_id, 0, false, 'c', n + 1, n, now() - interval '1 day'
	  FROM queue.consumer_group, queue.topic, generate_series(1, $history - 1) n
	 ORDER BY n;
	INSERT INTO queue.maintenance_log
	SELECT now() - interval '1 day', 'many', NULL, 'producer rows merged', 1, 0 FROM generate_series(1, 10000);
});
is( query(q{SELECT (SELECT count(*) FROM queue.producer) || ' '
		|| (SELECT count(*) FROM queue.consumer_group) || ' ' || (SELECT count(*) FROM queue.progress)}),
	"$producers $groups " . $groups * $history,
	'producers, groups, rows of history');

# ---------------- a pass with much to do ----------------

# Runs a pass, and says what it told.
sub maintain
{
	my ($stdout, $stderr);

	is($node->psql('postgres', 'CALL queue.maintain()', stdout => \$stdout, stderr => \$stderr),
		0, 'a pass comes to its end');
	unlike($stderr, qr/WARNING|ERROR/, 'and nothing of it fails');
	return $stderr;
}

query('INSERT INTO queue.producer_due SELECT topic_id, name FROM queue.producer');
like(maintain(), qr/producer rows merged $producers$/m, 'producers that are due');
is( query(q{SELECT (SELECT count(*) FROM queue.producer_batch) || ' '
		|| (SELECT count(*) FROM queue.producer_history) || ' ' || (SELECT count(*) FROM queue.producer_due)}),
	"$producers $producers 0",
	'all of them are merged');

query(qq{UPDATE queue.progress SET committed_at = now() - interval '30 days' WHERE generation <= 3});
like(maintain(), qr/offsets forgotten \d/, 'history that is too old');
is( query('SELECT count(*) FROM queue.progress'),
	$groups * ($history - 3),
	'has gone, of all groups');

query(q{UPDATE queue.maintenance_log SET done_at = now() - interval '30 days' WHERE ctid < '(10,0)'});
maintain();
is( query(q{SELECT count(*) FROM queue.maintenance_log WHERE done_at < now() - interval '29 days'}),
	0,
	'so has what was done long ago');

# ---------------- a pass with nothing to do ----------------

query('VACUUM');

# One session: pg_stat_force_next_flush() is about its own counts.
my ($told, $changed, $read) = split /\n/, query(q{
	CREATE VIEW counts AS
	SELECT (SELECT sum(n_tup_ins + n_tup_upd + n_tup_del) FROM pg_stat_user_tables WHERE schemaname = 'queue') AS changed,
	       (SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) FROM pg_stat_user_tables WHERE schemaname = 'queue')
	       + (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes WHERE schemaname = 'queue') AS read;
	CREATE TABLE before AS SELECT * FROM counts;
	SELECT count(*) FROM queue.maintenance_log;
	SELECT pg_stat_force_next_flush();
	TRUNCATE before;
	INSERT INTO before SELECT * FROM counts;
	CALL queue.maintain();
	SELECT pg_stat_force_next_flush();
	SELECT c.changed - b.changed FROM counts c, before b;
	SELECT c.read - b.read FROM counts c, before b;
}) =~ s/^\n+//mgr;
note("an idle pass reads $read tuples");
is($changed, 0, 'an idle pass changes nothing');
cmp_ok($read, '>', 0, 'the count counts');
cmp_ok($read, '<', $bar, "and reads fewer than $bar tuples");

# ---------------- while a snapshot is held ----------------

my $holder = open_session($node);
$holder->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM queue.topic');
query(q{DO $$ BEGIN
	FOR n IN 3 .. 40 LOOP PERFORM queue.produce('many', n, producer_id => 'p-1', sequence => n); COMMIT; END LOOP;
END $$});
like(maintain(), qr/producer rows merged \d/, 'a held snapshot keeps nothing from being merged');
unlike(maintain(), qr/producer rows merged/, 'once');
$holder->quit;
is( query(q{SELECT string_agg(duplicate::text || ' ' || count, ', ') FROM (
		SELECT duplicate, count(*) FROM generate_series(0, 40) n,
			queue.produce('many', 0, producer_id => 'p-1', sequence => n) GROUP BY 1) s}),
	'true 41',
	'and every duplicate is recognised');

# ---------------- forgetting many ----------------

query(qq{UPDATE queue.producer_batch SET produced_at = produced_at - interval '1 year'
	WHERE producer_id % 2 = 0 AND used_at IS NULL});
my $unused = query(q{SELECT count(*) FROM queue.producers WHERE used_at < now() - interval '1 day'});
cmp_ok($unused, '>', $producers / 2 - 10, 'half of the producers are unused');
is(query(q{CALL queue.forget_producers('many', now() - interval '1 day')}),
	$unused, 'they are forgotten in one call');
is(query('SELECT count(*) FROM queue.producer'),
	$producers - $unused, 'the others are not');
query(q{SELECT queue.drop_topic('many')});
is( query(q{SELECT (SELECT count(*) FROM queue.producer) + (SELECT count(*) FROM queue.producer_batch)
		+ (SELECT count(*) FROM queue.producer_history) + (SELECT count(*) FROM queue.producer_due)}),
	0,
	'and go with their topic');

$node->stop;
done_testing();
