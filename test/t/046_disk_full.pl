# The promise: what frees disk space needs none. On a file system that is full to the
# last block, in a database that has never removed anything, producing fails with
# 53100; queue.maintain() removes what the topics' limits allow, and reports what it
# could not write; then producing goes on. Nothing that was committed is lost, but
# what the limits let go.
#
# The database lies on a tmpfs, in a mount namespace of the test's own, into which the
# script puts itself; the rest of the data directory does not: a server that finds no
# room for its WAL, or for the small files of a checkpoint, ends.

use strict;
use warnings;

use File::Temp;
use Test::More;

# Run this script again in a user namespace that may mount, and from there in another
# one, in which it has its own user id again: no server runs as root.  Before the modules
# below, which redirect the output.
BEGIN
{
	if (!defined $ENV{QUEUE_SMALL_DISK})
	{
		my $disk = File::Temp::tempdir('queue_disk_XXXX', TMPDIR => 1);
		my $inside = qq{unshare --user --map-root-user --mount sh -c '
			mount -t tmpfs -o size=40m,mode=700 tmpfs "\$0" &&
			exec unshare --user --map-user=$< --map-group=${\ ($( + 0)} "\$@"' $disk};
		my $error = qx{$inside true 2>&1};

		if ($? != 0)
		{
			rmdir $disk;
			plan skip_all => "no namespace in which a file system can be mounted: $error";
		}
		$ENV{QUEUE_SMALL_DISK} = $disk;
		system("$inside " . join ' ', map { "'$_'" } $^X, (map { "-I$_" } @INC), $0);
		rmdir $disk;
		exit($? >> 8 || $? != 0);
	}
}

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use QueueTest;

my $disk = $ENV{QUEUE_SMALL_DISK};

my $node = new_server(
	'disk_full', q{
autovacuum = off
max_wal_size = 4GB});
$node->safe_psql('postgres', "CREATE TABLESPACE small LOCATION '$disk'");
$node->safe_psql('postgres', 'CREATE DATABASE small TABLESPACE small');
$node->safe_psql('small', 'CREATE EXTENSION queue');

my $filler = "$disk/filler";
append_to_file($filler, "\0" x 2_000_000);

# Bytes that are free on the disk.
sub free_bytes
{
	return (split ' ', (`df --output=avail -B1 '$disk'`)[1])[0];
}

# Let the filler, which there is from the start, fill the disk up to the last block, but
# for a number of bytes.  No worker is making a segment any more.
sub fill
{
	my ($but) = @_;

	$node->poll_query_until('small', q{SELECT count(*) = 0 FROM pg_stat_activity
		WHERE backend_type = 'queue segment worker'}) or die 'a worker does not end';
	my $more = free_bytes() - ($but // 0);

	if ($more < 0)
	{
		truncate($filler, (-s $filler) + $more) or die "$filler: $!";
	}
	else
	{
		system("head -c $more /dev/zero >>'$filler'") == 0 or die 'cannot fill the disk';
	}
	cmp_ok(free_bytes(), '<=', $but // 0, 'the disk is full');
	return;
}

# Produce batches, each in a transaction, until one fails. Returns its SQLSTATE.
sub produce_until_full
{
	my ($topic) = @_;

	return sqlstate(
		$node, 'small', qq{
		DO \$\$ BEGIN LOOP
			PERFORM queue.produce_batch('$topic', (
				SELECT array_agg(to_jsonb(i || repeat(md5(i::text), CASE WHEN i % 10 = 0
						THEN 300 ELSE 30 END)) ORDER BY i)
				FROM generate_series(1, 500) i), partition => p)
			FROM generate_series(0, 1) p;
			COMMIT;
		END LOOP; END \$\$});
}

sub maintain
{
	my ($ret, $out, $err) = $node->psql('small', 'CALL queue.maintain()');

	note($err);
	is($ret, 0, 'queue.maintain() succeeds');
	return $err;
}

my $count = q{SELECT partition, count(*), min("offset"), max("offset")
	FROM topic.orders GROUP BY partition ORDER BY partition};

# A topic that is kept whole, and one with limits, of which a group has read half.
$node->safe_psql(
	'small', q{
	SELECT queue.create_topic('kept', segment_messages => 500);
	SELECT queue.produce_batch('kept', ARRAY['1', '2', '3']);
	SELECT queue.create_topic('orders', partitions => 2, segment_messages => 500,
		retention_bytes => 1000000);
	SELECT queue.create_group('billing', 'orders')});
is(produce_until_full('orders'), '53100', 'producing fails when the disk is full');
fill();
is(produce_until_full('orders'), '53100', 'and again');
is(sqlstate($node, 'small', q{
	SELECT queue.produce_batch('kept', (SELECT array_agg('1'::jsonb)
		FROM generate_series(1, 3000)))}),
	'53100', 'in another topic, too');

my $before = $node->safe_psql('small', $count);
my @last = map { (split /\|/)[3] } split /\n/, $before;
my $half = int(($last[0] + $last[1]) / 4);

# A group's offset is a row, too: with no room for it, nothing is let go that was not
# read before.  Its rows have room here, since there are so few of them.
$node->safe_psql('small',
	"SELECT queue.commit_offset('billing', 'orders', p, $half) FROM generate_series(0, 1) p");
# Two segments, which cannot be emptied here; maintenance drops them.
my ($ret, $out, $err) =
  $node->psql('small', q{SELECT log_start, segments FROM queue.delete_messages('orders', 0, 1000)});
is($out, '1000|0', 'messages can be deleted on a full disk');
like($err, qr/NOTICE:  the disk space of the deleted messages is not released: could not extend/,
	'though that alone releases no space');
is($node->safe_psql('small', q{SELECT min("offset") FROM topic.orders WHERE partition = 0}),
	1000, 'they are gone');
maintain();
cmp_ok(free_bytes(), '>', 10_000_000, 'maintenance has freed space on a full disk');
is( $node->safe_psql('small', $count =~ s/count\(\*\), min\("offset"\), //r),
	join("\n", map { "$_|$last[$_]" } 0, 1),
	'no message was lost at the end');
is( $node->safe_psql(
		'small', qq{
		SELECT partition, count(*) FILTER (WHERE "offset" >= $half) = max("offset") - $half + 1,
			min("offset") BETWEEN $half - 500 AND $half
		  FROM topic.orders GROUP BY partition ORDER BY partition}),
	"0|t|t\n1|t|t", 'and none that the group has yet to read');
$node->safe_psql('small', q{
	SELECT queue.produce_batch('orders', ARRAY['"after"'], partition => p)
	  FROM generate_series(0, 1) p});
is( $node->safe_psql(
		'small', q{
		SELECT count(*), max(value #>> '{}') FROM generate_series(1, 2) i,
			LATERAL queue.consume('billing', 'orders', max_messages => i * 1000000)}),
	($last[0] + 1 - $half) + ($last[1] + 1 - $half) + 2 . '|after',
	'the group goes on, to the message that was produced afterwards');
is($node->safe_psql('small', q{SELECT * FROM queue.verify('orders')}),
	'', 'the topic is whole');

# Full again, and a session that reads the topic's table, so that segments cannot be
# dropped but only emptied: each frees its space before the next one needs some.
is(produce_until_full('orders'), '53100', 'producing fails again');
my @ends = map { (split /\|/)[3] } split /\n/, $node->safe_psql('small', $count);
$node->safe_psql('small',
	"SELECT queue.commit_offset('billing', 'orders', p, CASE p WHEN 0 THEN $ends[0] ELSE $ends[1] END)"
	  . ' FROM generate_series(0, 1) p');
fill(65536);
my $log = $node->safe_psql('small',
	q{SELECT log::regclass FROM queue.topic WHERE name = 'orders'});
my $reader = open_session($node, dbname => 'small');
$reader->query_safe("BEGIN; LOCK TABLE ONLY $log IN ACCESS SHARE MODE");
maintain();
cmp_ok(free_bytes(), '>', 10_000_000, 'segments that can only be emptied free space, too');
is( $node->safe_psql('small', $count =~ s/count\(\*\), min\("offset"\), //r),
	join("\n", map { "$_|$ends[$_]" } 0, 1), 'again no message was lost at the end');
$reader->quit;
maintain();
is($node->safe_psql('small', q{SELECT * FROM queue.verify('orders')}),
	'', 'the topic is whole');
is($node->safe_psql('small', 'SELECT count(*) FROM topic.kept'),
	3, 'and the other topic has all of its messages');

$node->stop;
done_testing();
