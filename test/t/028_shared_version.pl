# The promise: sessions whose libraries use shared memory in different ways never
# work side by side. The ones that come second are refused, with a hint, and stay
# usable; the others go on. After a restart all use the new library.
#
# The library is built a second time, with another version of the layout, and
# takes the place of the first one while a session works with that.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use QueueTest;

my $folder = PostgreSQL::Test::Utils::tempdir();
my %server = copy_server("$folder/server");
my $library = "$server{pkglibdir}/queue.so";
my $first = "$folder/first.so";
my $second = build_library("$folder/second", '-O0', '-DPGQUEUE_SHARED_VERSION=99');
replace_file($library, $first);

my $node = new_server('libraries', '', install_path => $server{install_path});
$node->safe_psql('postgres', q{
	SELECT queue.create_topic('events', 2);
	SELECT queue.create_group('group', 'events');
});

# The session of the first library; the second one is put in its place.
my $old = open_session($node);
$old->query_safe(q{SELECT queue.produce('events', i::text) FROM generate_series(1, 10) i});
replace_file($second, $library);

my %refused = (
	'produce' => q{SELECT queue.produce('events', '"second"')},
	'produce_batch' => q{SELECT queue.produce_batch('events', ARRAY['1', '2']::jsonb[])},
	'INSERT' => q{INSERT INTO topic.events (value) VALUES ('"second"')},
	'COPY' => qq{COPY topic.events (value) FROM stdin;\n"second"\n\\.\n},
	'a producer with sequences' => q{SELECT queue.produce('events', '"second"', producer_id => 'p', sequence => 1)},
	'consume' => q{SELECT queue.consume('group', 'events')},
	'poll' => q{SELECT queue.poll('group', 'events', 'member')},
	'wait' => q{CALL queue.wait('group', 'events', '1 s')},
	'commit_offset' => q{SELECT queue.commit_offset('group', 'events', 0, 1)},
	'create_group' => q{SELECT queue.create_group('group', 'events')},
	'create_producer' => q{SELECT queue.create_producer('events', 'p', 'strict')},
	'delete_messages' => q{SELECT queue.delete_messages('events', 0, 1)},
	'forget_producer' => q{SELECT queue.forget_producer('events', 'p')},
	'alter_group' => q{SELECT queue.alter_group('group', auto_offset_reset => 'earliest')},
	'drop_group' => q{SELECT queue.drop_group('group')},
	'alter_topic' => q{SELECT queue.alter_topic('events', partitions => 3)},
	'maintain' => q{CALL queue.maintain('events')},
);
foreach my $what (sort keys %refused)
{
	my ($ret, $out, $err) = $node->psql('postgres', $refused{$what});

	like($err, qr/shared memory was made by another version/, "$what is refused");
}
is(sqlstate($node, 'postgres', $refused{produce}), '55000', 'by an SQLSTATE');
my ($ret, $out, $err) = $node->psql('postgres', $refused{produce});
my $message = qq{ERROR:  this server's shared memory was made by another version of the "queue" library
DETAIL:  It has layout 5; the library of this session needs layout 99.
HINT:  Restart the server, so that all sessions load the same library.};
like($err, qr/\Q$message\E/, 'and it is told why, and what to do');

# The session that was refused reads, goes on, and is refused again.
my $new = open_session($node, on_error_stop => 0);
foreach my $time ('once', 'twice')
{
	$new->query($refused{produce});
	is($new->query('SELECT count(*) FROM topic.events'), 10, "refused $time, the session reads");
}
$new->query('BEGIN; SAVEPOINT s;');
$new->query($refused{produce});
is($new->query('ROLLBACK TO s; SELECT count(*) FROM topic.events'), 10, 'also after a savepoint');
$new->query('COMMIT');

# A worker that the first library asks for has the second one, and ends.
# The command fails then, which is not the point here.
$old->query_safe(q{DO $$ BEGIN PERFORM queue.start_maintenance();
	EXCEPTION WHEN insufficient_resources THEN NULL; END $$});
my $log = '';
for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
{
	$log = slurp_file($node->logfile);
	last if $log =~ /another version.*exited with exit code 1/s;
	select(undef, undef, undef, 0.1);
}
like($log, qr/background worker "queue maintenance[^\n]*exited with exit code 1/,
	'a worker with the other library ends');

# The others go on; an offset is given once.
is($old->query_safe(q{SELECT count(*) FROM queue.produce_batch('events', ARRAY['1', '2', '3']::jsonb[])}) > 0,
	1, 'the first library goes on');
is($old->query_safe(q{SELECT count(*) > 0 FROM queue.consume('group', 'events')}), 't', 'and consumes');
check_log($node, 'events', 'two libraries');
$old->quit;
$new->quit;

# After a restart the second library has the server to itself, and the first
# one, put back, is refused.
$node->restart;
is($node->safe_psql('postgres', q{SELECT count(*) FROM queue.produce('events', '"second"')}),
	1, 'after a restart the second library works');
replace_file($first, $library);
is(sqlstate($node, 'postgres', $refused{produce}), '55000', 'and the first one is refused');
$node->restart;
is(sqlstate($node, 'postgres', $refused{produce}), '', 'until the server is restarted');
check_log($node, 'events', 'at the end');

done_testing();
