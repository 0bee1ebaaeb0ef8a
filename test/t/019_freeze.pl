# The promise: autovacuum freezes segments by their own settings, each page once, when
# every snapshot is younger than its messages. Maintenance makes it visit again a sealed
# segment that it could not freeze. Once that is frozen nothing writes to it, and
# autovacuum does not visit it but to prevent wraparound, which writes to none of its
# pages either.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use QueueTest;

my $node = new_server('freeze', "autovacuum_naptime = 1s\nautovacuum_freeze_max_age = 100000\nqueue.maintenance_interval = 1s\nqueue.compaction_min_dirty_ratio = 0\n");

$node->safe_psql(
	'postgres', q{
	CREATE TABLE canary (i int) WITH (autovacuum_vacuum_insert_threshold = 0, autovacuum_vacuum_insert_scale_factor = 0);
	-- all but the last, which is full, too
	CREATE VIEW sealed AS
	SELECT topic, segment, frozen, reltoastrelid AS toast
	  FROM (SELECT *, max(first_offset) FILTER (WHERE messages > 0) OVER (PARTITION BY topic) AS last
			  FROM queue.segments) s JOIN pg_class c ON c.oid = segment
	 WHERE sealed AND first_offset < last;
	CREATE VIEW tables AS
	SELECT topic, unnest(ARRAY[segment, NULLIF(toast, 0)]) AS relid FROM sealed;
	CREATE FUNCTION content(topic text) RETURNS text LANGUAGE sql AS $$
	SELECT md5(string_agg(md5(pg_read_binary_file(pg_relation_filepath(relid) || fork, 0, 100000000, true)),
						  ' ' ORDER BY relid, fork))
	  FROM tables t, unnest(ARRAY['', '_vm']) fork
	 WHERE relid IS NOT NULL AND t.topic = content.topic $$;
	CREATE FUNCTION visits(topic text) RETURNS numeric LANGUAGE sql AS $$
	SELECT sum(pg_stat_get_autovacuum_count(relid)) FROM tables t
	 WHERE relid IS NOT NULL AND t.topic = visits.topic $$;
	CREATE PROCEDURE fill(topic text, batches int, many int, size int, keys boolean DEFAULT false) LANGUAGE plpgsql AS $$
	BEGIN
		FOR i IN 1..batches LOOP
			PERFORM queue.produce_batch(topic,
				ARRAY(SELECT (SELECT string_agg(md5(random()::text), '') FROM generate_series(0, size / 32) WHERE g > 0)
						FROM generate_series(1, many) g),
				CASE WHEN keys THEN ARRAY(SELECT (CASE WHEN g % 2 = 0 THEN g ELSE i * 1000 + g END)::text FROM generate_series(1, many) g) END);
			COMMIT;
		END LOOP;
	END $$;
	SELECT queue.start_maintenance();
	-- transaction ids are used up
	CREATE PROCEDURE pass_time(n int) LANGUAGE plpgsql AS $$
	BEGIN
		FOR i IN 1..n LOOP
			PERFORM txid_current();
			COMMIT;
		END LOOP;
	END $$});

# Whether all sealed segments of a topic are frozen soon.
sub gets_frozen
{
	my ($topic, $segments) = @_;

	return $node->poll_query_until('postgres',
		"SELECT count(*) = $segments AND bool_and(frozen) FROM sealed WHERE topic = '$topic'");
}

# Autovacuum looks at all tables, whatever it was at: its third visit to a table that
# gets a row is of a run that began after the end of one that began now.
sub let_autovacuum_run
{
	for (1 .. 3)
	{
		my $count = q{SELECT autovacuum_count FROM pg_stat_user_tables WHERE relname = 'canary'};
		my $before = $node->safe_psql('postgres', $count);

		$node->safe_psql('postgres', 'INSERT INTO canary VALUES (1)');
		$node->poll_query_until('postgres', "SELECT ($count) > $before") or return 0;
	}
	return 1;
}

# Nothing but what autovacuum and VACUUM do: the same files before and after.
sub content
{
	my ($topic) = @_;

	return $node->safe_psql('postgres', "CHECKPOINT; SELECT content('$topic')");
}

# A topic of 100 segments, all sealed but the last.
$node->safe_psql(
	'postgres', q{
	SELECT queue.create_topic('orders', value_type => 'text', segment_messages => 100);
	CALL fill('orders', 101, 100, 300)});
ok(gets_frozen('orders', 100), 'autovacuum freezes sealed segments');
my $content = content('orders');
my $visits = $node->safe_psql('postgres', q{SELECT visits('orders')});
$node->safe_psql('postgres', q{SELECT count(*) FROM queue.consume_typed('group', 'orders', NULL::text, 10000)});
ok(let_autovacuum_run(), 'autovacuum runs');
is($node->safe_psql('postgres', q{SELECT visits('orders')}),
	$visits, 'and visits none of the 100 again');
is(content('orders'), $content, 'nothing writes to them');
my $segments = join ', ', split /\n/,
  $node->safe_psql('postgres', q{SELECT segment FROM sealed WHERE topic = 'orders'});
$node->safe_psql('postgres', "VACUUM (FREEZE) $segments");
$node->safe_psql('postgres', "VACUUM (DISABLE_PAGE_SKIPPING) $segments");
is(content('orders'), $content, 'nor does VACUUM');

# Large values; and rolled back ones, of which indexes have entries.
$node->safe_psql(
	'postgres', q{
	SELECT queue.create_topic('large', value_type => 'text', segment_messages => 500);
	SELECT format('CREATE INDEX ON %s (key)', log) FROM queue.topic WHERE name = 'large' \gexec
	CALL fill('large', 1, 200, 5000, true);
	BEGIN;
	SELECT queue.produce_batch('large', ARRAY['aborted', repeat('aborted', 1000)]);
	ROLLBACK;
	CALL fill('large', 3, 200, 5000, true)});
ok(gets_frozen('large', 1), 'it freezes TOAST, too, and what rolled back messages were left in');
$content = content('large');
ok(let_autovacuum_run(), 'autovacuum runs');
is(content('large'), $content, 'and writes to none of it again');

# What compaction leaves is in new files. It is over when it has seen the last message:
# an old snapshot, such as that of autovacuum, may have kept it from that at first.
$node->safe_psql(
	'postgres', q{
	SELECT queue.create_topic('states', value_type => 'text', segment_messages => 100, cleanup_policy => 'compact');
	CALL fill('states', 4, 100, 5000, true)});
ok( $node->poll_query_until(
		'postgres', q{SELECT compacted_to = 400 FROM queue.checkpoint c JOIN queue.topic t USING (topic_id) WHERE name = 'states'}),
	'maintenance compacts it');
ok(gets_frozen('states', 3), 'and autovacuum freezes what was compacted');
$content = content('states');
ok(let_autovacuum_run(), 'autovacuum runs');
is(content('states'), $content, 'once');

# An old snapshot keeps pages from being frozen.
my $old = open_session($node);
$old->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1');
$node->safe_psql(
	'postgres', q{
	SELECT queue.create_topic('late', value_type => 'text', segment_messages => 100);
	CALL fill('late', 2, 100, 300)});
my $segment = $node->safe_psql('postgres', q{SELECT segment FROM sealed WHERE topic = 'late'});
ok(let_autovacuum_run(), 'autovacuum runs while there is an old snapshot');
my $frozen = q{SELECT frozen FROM sealed WHERE topic = 'late'};
is($node->safe_psql('postgres', $frozen), 'f', 'and does not freeze what is younger');
cmp_ok($node->safe_psql('postgres', q{SELECT visits('late')}),
	'>', 0, 'where it was');
$old->query_safe('COMMIT');
$old->quit;
ok(gets_frozen('late', 1), 'it comes again when the snapshot is gone');

# So does a cursor, the page that it is on. Its snapshot is younger than the messages:
# an older one keeps autovacuum from freezing them before the cursor is there.
$old = open_session($node);
$old->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1');
$node->safe_psql(
	'postgres', q{
	SELECT queue.create_topic('pinned', value_type => 'text', segment_messages => 100);
	CALL fill('pinned', 2, 100, 300)});
my $cursor = open_session($node);
$cursor->query_safe(
	q{BEGIN; DECLARE c CURSOR FOR SELECT value FROM topic.pinned; FETCH 1 FROM c});
$visits = $node->safe_psql('postgres', q{SELECT visits('pinned')});
$old->query_safe('COMMIT');
$old->quit;
ok($node->poll_query_until('postgres', "SELECT visits('pinned') > $visits + 1"),
	'autovacuum comes while a cursor is on a page');
is( $node->safe_psql('postgres', q{SELECT frozen FROM sealed WHERE topic = 'pinned'}),
	'f', 'and passes over that page');
$cursor->query_safe('COMMIT');
$cursor->quit;
ok(gets_frozen('pinned', 1), 'it comes again when the cursor is gone');

# A crash resets the statistics by which autovacuum chooses tables.
$old = open_session($node);
$old->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1');
$node->safe_psql(
	'postgres', q{
	SELECT queue.create_topic('crashed', value_type => 'text', segment_messages => 100);
	CALL fill('crashed', 2, 100, 300)});
is( $node->safe_psql('postgres', q{SELECT frozen FROM sealed WHERE topic = 'crashed'}),
	'f', 'a segment that a snapshot keeps from being frozen');
$node->stop('immediate');
$old->quit;
$node->start;
$node->safe_psql('postgres', 'SELECT queue.start_maintenance()');
ok(gets_frozen('crashed', 1), 'is frozen after a crash');

# Wraparound.
$content = content('orders');
my $age = q{SELECT max(age(relfrozenxid)) FROM pg_class JOIN tables ON relid = oid};
$node->safe_psql('postgres', 'SET synchronous_commit = off; CALL pass_time(101000)');
ok($node->poll_query_until('postgres', "SELECT ($age) < 50000"), 'autovacuum prevents wraparound');
is(content('orders'), $content, 'and writes to no page of a frozen segment');

# Pages behind its end, as a crash leaves them.
my $file = $node->data_dir . '/'
  . $node->safe_psql('postgres', "SELECT pg_relation_filepath('$segment')");
$node->stop;
append_to_file($file, "\0" x (3 * 8192));
$node->start;
is($node->safe_psql('postgres', $frozen), 't', 'new pages are nothing to freeze');
$content = content('late');
$node->safe_psql('postgres', "VACUUM (FREEZE) $segment");
is(content('late'), $content, 'VACUUM writes nothing, and takes nothing away');
check_log($node, $_, "$_ frozen") for 'orders', 'large', 'states', 'late';

$node->stop;
done_testing();
