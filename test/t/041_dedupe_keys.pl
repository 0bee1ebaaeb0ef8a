# The promise: within its window a dedupe key stands for one committed message,
# whatever happens: many clients that send the same keys at a time, buckets that come
# and go meanwhile, a server that crashes, a restore. A restore that brings the keys
# and not the messages calls no message a duplicate of one that is not there.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use QueueTest;

my $node = new_server('dedupe');

sub query
{
	my ($sql, $db) = @_;

	return $node->safe_psql($db // 'postgres', $sql);
}

sub put
{
	my ($key, $db) = @_;
	my $sql = "SELECT p.partition || ':' || p.offset || ' ' || duplicate FROM queue.produce('t', '$key', partition => 0, dedupe_key => '$key') p";
	my ($rc, $out) = $node->psql($db // 'postgres', $sql);

	return $rc == 0 ? $out : sqlstate($node, $db // 'postgres', $sql);
}

query(q{
	SELECT queue.create_topic('many', 4, 'text');
	SELECT queue.create_topic('t', 1, 'text');
	-- the current bucket ends
	CREATE FUNCTION end_bucket() RETURNS void LANGUAGE sql AS $$
		UPDATE queue.dedupe_bucket SET ends_at = now() - interval '1 s'
		 WHERE ends_at > now() AND (SELECT count(*) FROM queue.dedupe_bucket) < 10;
		SELECT FROM queue.alter_topic('many');
	$$;
});

# 8 clients with 200 keys, one by one and in batches, some of which roll back; and
# each client now and then lets the current bucket end.
my $script = $node->basedir . '/many.sql';
append_to_file($script, q{
\set k random(1, 200)
\set what random(1, 40)
BEGIN;
SELECT queue.produce('many', 'k' || :k, dedupe_key => 'k' || :k);
\if :what < 10
ROLLBACK;
\else
COMMIT;
\endif
\if :what = 40
SELECT end_bucket();
\endif
SELECT sum(count) FROM queue.produce_batch('many', ARRAY['k' || :k + 1, 'k' || :k + 2, 'k' || :k + 2],
	dedupe_keys => ARRAY['k' || :k + 1, 'k' || :k + 2, 'k' || :k + 2]);
});
$node->command_ok([ 'pgbench', '-n', '-c', 8, '-j', 2, '-t', 30, '--max-tries=100', '-f', $script, $node->connstr('postgres') ],
	'many clients with the same keys');
is(query('SELECT count(*) FROM (SELECT value FROM topic.many GROUP BY value HAVING count(*) > 1) d'),
	0, 'no key has two messages');
cmp_ok(query('SELECT count(*) FROM topic.many'), '>', 100, 'and most have one');
is(query(q{SELECT count(*) FROM generate_series(1, 202) k, queue.produce('many', 'k' || k, dedupe_key => 'k' || k) p
	WHERE p.duplicate IS DISTINCT FROM EXISTS (SELECT FROM topic.many m WHERE m.value = 'k' || k)}),
	0, 'which is known');
cmp_ok(query('SELECT count(*) FROM queue.dedupe_bucket'), '>', 2, 'in one of several buckets');

# A crash takes back what was not committed, and nothing else.
is(put('committed'), '0:0 false', 'a key');
my $open = $node->background_psql('postgres');
$open->query_safe(q{BEGIN; SELECT queue.produce('t', 'open', dedupe_key => 'open')});
$node->stop('immediate');
$node->start;
is(put('committed'), '0:0 true', 'a key is known after a crash');
like(put('open'), qr/^0:\d+ false/, 'but for that of a transaction that was open');
$open->{run}->kill_kill;

# Dump and restore.
sub restore
{
	my ($to, @options) = @_;
	my $dump = $node->basedir . "/$to.sql";

	$node->command_ok([ 'pg_dump', '-d', $node->connstr('postgres'), '-f', $dump, @options ], "$to: dumped");
	query("CREATE DATABASE $to");
	$node->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr($to), '-f', $dump ], "$to: restored");
	return;
}

restore('whole');
is(put('committed', 'whole'), '0:0 true', 'a key is known after a restore');
like(put('later', 'whole'), qr/^0:\d+ false/, 'another one is new');
is(query(q{SELECT count(*) FROM queue.dedupe_bucket b JOIN queue.topic t USING (topic_id) WHERE name = 't'}, 'whole'),
	2, 'and in a bucket of its own');

restore('empty', '--exclude-table-data=queue.log_*');
is(put('committed', 'empty'), 'QU001', 'without messages no message is a duplicate');
like(put('later', 'empty'), qr/^0:\d+ false/, 'another key is new');
is(put('committed', 'empty'), 'QU001', 'also when the place is taken by another message');
like(put('later', 'empty'), qr/^0:\d+ true/, 'which is known');
query(q{SELECT queue.drop_topic('t')}, 'empty');
is(query(q{SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relname ~ '^dedupe_\d' AND oid NOT IN (SELECT keys FROM queue.dedupe_bucket)}, 'empty'),
	0, 'drop_topic drops restored buckets');

$node->stop;
done_testing();
