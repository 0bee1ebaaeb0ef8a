# The promise: what dedupe keys cost stays as it is while a snapshot is held: 80 bytes
# a key at the most, no row that is dead, no more pages to look a key up; and the
# buckets behind the window are dropped although the snapshot is still held.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use QueueTest;

my $node = new_server('flat', "autovacuum = off\n");

sub query
{
	my ($sql) = @_;

	return $node->safe_psql('postgres', $sql);
}

query(q{
	SELECT queue.create_topic('t', 1, 'text');
	CREATE PROCEDURE fill(days int) LANGUAGE plpgsql AS $$
	BEGIN
		FOR day IN 1..days LOOP
			FOR i IN 1..20 LOOP
				PERFORM queue.produce_batch('t', array_fill('x'::text, ARRAY[1000]),
					dedupe_keys => ARRAY(SELECT gen_random_uuid()::text FROM generate_series(1, 1000)));
				COMMIT;
			END LOOP;
			UPDATE queue.dedupe_bucket SET started_at = started_at - interval '25 hours', ends_at = ends_at - interval '25 hours';
			PERFORM queue.alter_topic('t');
			COMMIT;
		END LOOP;
	END $$;
});

# The pages of all buckets, and those that a look-up touches.
sub pages
{
	return query(q{SELECT sum(pg_total_relation_size(keys)) / 8192 FROM queue.dedupe_bucket});
}

# The second time, when the session has read the catalogs.
sub touched
{
	my $explain = q{EXPLAIN (ANALYZE, BUFFERS, COSTS OFF, TIMING OFF, SUMMARY OFF)
		SELECT queue.produce('t', 'y', dedupe_key => 'same');};

	return (query($explain x 2) =~ /shared hit=(\d+)/g)[-1];
}

query('CALL fill(3)');
query(q{SELECT queue.produce('t', 'y', dedupe_key => 'same')});
touched();
my ($pages, $touched) = (pages(), touched());
my $bytes = query(q{SELECT max(pg_total_relation_size(keys)) / 20000.0 FROM queue.dedupe_bucket});
cmp_ok($bytes, '<=', 82, 'bytes of a key, of few keys');

my $holder = $node->background_psql('postgres');
$holder->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM queue.topic');
query('CALL fill(9)');
query(q{SELECT queue.produce('t', 'y', dedupe_key => 'same')});
touched();
is(query('SELECT count(*) <= 3 FROM queue.dedupe_bucket'), 't', 'buckets behind the window are dropped under the snapshot');
is(query(q{SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relname ~ '^dedupe_\d' AND oid NOT IN (SELECT keys FROM queue.dedupe_bucket)}),
	0, 'with their tables');
cmp_ok(pages(), '<=', $pages * 1.1, 'as many pages as before');
cmp_ok(touched(), '<=', $touched + 10, 'a look-up touches as many as before');
is(query(q{SELECT coalesce(sum(n_dead_tup), 0) FROM pg_stat_user_tables WHERE relname ~ '^dedupe_\d'}), 0, 'no row is dead');
$holder->quit;

$node->stop;
done_testing();
