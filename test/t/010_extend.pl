# The promise: a segment's file is made longer by many pages at a time, which no
# reader notices. A small one has no page more than its messages fill, a large one an
# eighth more at most; an error or a crash in the middle, which leaves pages without a message behind the last one, is no
# obstacle; the file may be cut anywhere where the storage manager begins the
# next one; and a disk that is full fails the append and nothing else.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use QueueTest;

# The test moves a page within its file, which a checksum would forbid; and it
# counts pages, of which VACUUM would give some back.
my $node = new_server('extend', "autovacuum = off\n", no_data_checksums => 1);
my $page = $node->safe_psql('postgres', 'SHOW block_size');
my $next = 0;

sub create_topic
{
	my ($topic) = @_;

	$node->safe_psql('postgres',
		"SELECT queue.create_topic('$topic', value_type => 'text', segment_messages => 1000000)");
	return;
}

sub file_of
{
	my ($topic) = @_;

	return $node->data_dir . '/'
	  . $node->safe_psql('postgres',
		"SELECT pg_relation_filepath('" . segment_of($node, $topic) . "')");
}

sub pages_of
{
	my ($topic) = @_;

	return $node->safe_psql('postgres',
		"SELECT pg_relation_size('" . segment_of($node, $topic) . "') / $page");
}

# Return true if a file has an eighth of pages, 64 at most, more than are filled; in
# a small file the last page has a message.
sub few_ahead
{
	my ($topic) = @_;
	my $filled = pages_filled($topic);
	my $ahead = pages_of($topic) - $filled;

	note("$topic: $filled pages, $ahead ahead");
	return $ahead >= 0 && $ahead < 64 && $ahead <= $filled / 8;
}

# Behind the last page that holds a message.
sub pages_filled
{
	my ($topic) = @_;

	return $node->safe_psql('postgres',
		'SELECT max((ctid::text::point)[0]) + 1 FROM ' . segment_of($node, $topic));
}

# Produce so many messages, of sizes that differ, in calls of so many.
sub produce
{
	my ($topic, $messages, $batch) = @_;

	return $node->safe_psql(
		'postgres', qq{
		DO \$\$
		BEGIN
			FOR i IN 0 .. $messages / $batch - 1 LOOP
				PERFORM queue.produce_batch('$topic', ARRAY(
					SELECT n || repeat('.', (n * 7919 % 1500)::int)
					FROM generate_series(i * $batch, (i + 1) * $batch - 1) n));
			END LOOP;
		END \$\$});
}

# Every message is there, in order, by a scan and by a consumer; the next one
# goes behind them.
sub all_is_well
{
	my ($topic, $messages, $when) = @_;

	is($node->safe_psql('postgres', "SELECT * FROM queue.verify('$topic')"),
		'', "$when: queue.verify finds nothing");
	is( $node->safe_psql(
			'postgres', qq{
			SELECT count(*), min("offset"), max("offset") FROM topic.$topic}),
		"$messages|0|" . ($messages - 1),
		"$when: every message is there");
	is( $node->safe_psql(
			'postgres', qq{
			SELECT "offset" FROM queue.fetch_typed('$topic', 0, $messages - 1, NULL::text)}),
		$messages - 1,
		"$when: the last one is found");
	is( $node->safe_psql(
			'postgres', qq{
			SELECT queue.create_group('g' || ${\ ++$next}, '$topic');
			SELECT count(*), max("offset") FROM
				queue.consume_typed('g' || $next, '$topic', NULL::text, 1000000)}),
		"\n$messages|" . ($messages - 1),
		"$when: a group reads them all");
	is( $node->safe_psql(
			'postgres',
			qq{SELECT "offset" FROM queue.produce('$topic', 'next'::text)}),
		$messages,
		"$when: the next offset follows");
	return;
}

# ---------------- no page too many ----------------

create_topic('small');
$node->safe_psql('postgres',
	q{SELECT count(*) FROM generate_series(1, 10) i, queue.produce('small', 'm' || i)});
is(pages_of('small'), 1, 'ten messages have one page');

create_topic('mixed');
foreach my $batch (1, 3, 10, 100, 1000, 3000)
{
	produce('mixed', 6000, $batch);
	ok(few_ahead('mixed'), "calls of $batch: the file ends near the page of the last message");
}
all_is_well('mixed', 36000, 'batches of all sizes');

# A call rolled back has its pages, and no others.
$node->safe_psql(
	'postgres', q{
	BEGIN;
	SELECT queue.produce_batch('small', ARRAY(SELECT repeat('x', 1000) FROM generate_series(1, 70)));
	ROLLBACK});
is(pages_of('small'), 10, 'a call rolled back has left the pages it filled');

# ---------------- pages without a message behind the last ----------------

# What a crash leaves behind if it comes after the file was made longer, and
# before the WAL of what was written was flushed.
create_topic('crashed');
produce('crashed', 100, 100);
my $filled = pages_filled('crashed');
my $file = file_of('crashed');
$node->stop;
truncate($file, ($filled + 60) * $page) or die "truncate $file: $!";
$node->start;
is(pages_of('crashed'), $filled + 60, 'there are pages without a message');
is( $node->safe_psql('postgres',
		q{SELECT log_end FROM queue.partitions WHERE topic = 'crashed'}),
	100,
	'the log ends before them');
all_is_well('crashed', 100, 'pages without a message');
produce('crashed', 100, 100);
is(pages_of('crashed'), $filled + 60, 'they are filled before the file grows');
produce('crashed', 1000, 1000);
is(pages_of('crashed'), pages_filled('crashed'), 'and then it grows as ever');
$node->stop('immediate');
$node->start;
is(pages_of('crashed'), pages_filled('crashed'), 'also after a crash');
all_is_well('crashed', 1201, 'after a crash');

# ---------------- the end of the file's first part ----------------

# The second half of the messages is moved to the end of the part, with a hole
# before it.
create_topic('long');
$node->safe_psql(
	'postgres', q{
	SELECT queue.produce_batch('long', ARRAY(SELECT repeat('x', 1500) FROM generate_series(1, 10)))});
is(pages_filled('long'), 2, 'two pages');
my $part = $node->safe_psql('postgres',
	q{SELECT pg_size_bytes(current_setting('segment_size'))});
$file = file_of('long');
$node->stop;
{
	my $buffer;

	open(my $fh, '+<', $file) or die "open $file: $!";
	binmode $fh;
	sysseek($fh, $page, 0) && sysread($fh, $buffer, $page) == $page
	  or die "read $file: $!";
	sysseek($fh, $page, 0) && syswrite($fh, "\0" x $page) == $page
	  or die "write $file: $!";
	sysseek($fh, $part - 3 * $page, 0) && syswrite($fh, $buffer) == $page
	  or die "write $file: $!";
	close($fh) or die "close $file: $!";
}
$node->start;
produce('long', 1000, 1000);
is(-s $file, $part, 'the first part of the file is as long as may be');
cmp_ok(-s "$file.1", '>', 0, 'there is a second');
ok(few_ahead('long'), 'of the right length');
all_is_well('long', 1010, 'a file in parts');

# ---------------- no space ----------------

# A limit on the size of files stands for the disk's.
create_topic('full');
create_topic('other');
$node->stop;
command_ok(
	[
		'bash', '-c', 'ulimit -f 32768 && exec "$@"', 'bash', 'pg_ctl', '-w',
		'-D', $node->data_dir, '-l', $node->logfile, 'start'
	],
	'a server that may not make files of more than 32 MB');
$node->_update_pid(1);
my $calls = 0;
my $error;
while ($calls < 100)
{
	my ($ret, $stdout, $stderr) = $node->psql(
		'postgres', q{
		SELECT queue.produce_batch('full', ARRAY(SELECT repeat('x', 1200) FROM generate_series(1, 1000)))});

	$error = $stderr;
	last if $ret != 0;
	$calls++;
}
like($error, qr/could not extend file/, 'the file cannot grow: an error');
cmp_ok(-s file_of('full'), '>', 32 * 1024 * 1024 - 64 * $page,
	'the space was used up, but for less than was asked for at a time');
is( $node->safe_psql('postgres', 'SELECT count(*), max("offset") FROM topic."full"'),
	1000 * $calls . '|' . (1000 * $calls - 1),
	'what was committed is there');
produce('other', 1000, 1000);
all_is_well('other', 1000, 'another topic');
$node->restart;
is($node->safe_psql('postgres', q{SELECT * FROM queue.verify('full')}),
	'', 'the log keeps its rules');
$node->safe_psql('postgres', 'VACUUM ' . segment_of($node, 'full'));
all_is_well('full', 1000 * $calls, 'with space again');
produce('full', 1000, 1000);
ok(few_ahead('full'), 'and the file grows as ever');

$node->stop;
done_testing();
