# The promise: ALTER EXTENSION queue UPDATE leaves the very objects that CREATE
# EXTENSION of the new version makes, while producers and consumers are at work, in
# sessions that were open before; users' views on the extension stay.
#
# There is no second version yet.  So one is made up here, called "next", in a
# private copy of the server: its script is that of 1.0 with changes of each kind
# that a release may bring, edited in place; its update script (test/update/)
# brings the same changes to 1.0.  A real update script, queue--X--Y.sql beside
# queue--Y.sql, is found and compared in the same way.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use QueueTest;

my $folder = PostgreSQL::Test::Utils::tempdir();
my %server = copy_server("$folder/server");

# ---------------- the version "next" ----------------

my $script = slurp_file('queue--1.0.sql');
my $update = slurp_file('test/update/next.sql');

# Change a piece of the script, which must have it once, into what CODE returns.
sub edit
{
	my ($piece, $code) = @_;
	my $n = $script =~ s/$piece/$code->()/ge;

	is($n, 1, "1.0 has $piece");
	return;
}

# The piece of the update script under a heading.
sub change
{
	my ($heading) = @_;

	$update =~ /^-- \Q$heading\E:\n(.*?)(?=^-- |\z)/ms or die "no $heading";
	return $1 =~ s/\bCREATE OR REPLACE\b/CREATE/r;
}

# The view is that of 1.0, with a column more.
my ($view) = $script =~ /CREATE VIEW queue\.offset_history WITH \(security_barrier\) AS\n(.*?;)\n/s;
$view =~ s/(?=\n  FROM queue\.progress p\n)/,\n       p.note/ or die $view;
$update =~ s/\@OFFSET_HISTORY\@/$view/ or die;

edit(qr/(CREATE TABLE queue\.progress \(.*?)\n\);/s, sub { "$1,\n    note text\n);" });
edit(qr/^(?=COMMENT ON TABLE queue\.progress )/m, sub { change('comments') });
edit(qr/CREATE VIEW queue\.offset_history .*?;\n/s, sub { change('a column appended to a view') });
edit(qr/^-{70,}\n-- Row types\n/m, sub { change('a table') . $& });
edit(qr/CREATE FUNCTION queue\.murmur2\(.*?;\n/s, sub { change('a function replaced') });
$script .= change('a function');
append_to_file("$server{extension}/queue--next.sql", $script);
append_to_file("$server{extension}/queue--1.0--next.sql", $update);

# Users' objects depend on what an extension has: an update drops nothing.
foreach my $file (glob('queue--*--*.sql'), 'test/update/next.sql')
{
	unlike(slurp_file($file), qr/^\s*(DROP|ALTER TABLE.*\bDROP COLUMN)\b/mi, "$file drops nothing");
}

# ---------------- a database of 1.0 at work ----------------

my $node = new_server('update', 'max_worker_processes = 30',
	install_path => $server{install_path});

# The objects of the extension in a database, as text.
sub catalog
{
	my ($db) = @_;

	return $node->safe_psql($db, "\\set extension queue\n" . slurp_file('test/update/catalog.sql'));
}

# The signatures for which each C function of the extension's stands.
sub signatures
{
	my ($db) = @_;

	return $node->safe_psql(
		$db, q{
		SELECT p.prosrc, string_agg(format('%s(%s) %s', p.prokind, pg_get_function_identity_arguments(p.oid),
				pg_get_function_result(p.oid)), ' | ' ORDER BY p.oid::regprocedure::text)
		  FROM pg_depend d JOIN pg_proc p ON (d.classid, d.objid) = ('pg_proc'::regclass, p.oid)
		  JOIN pg_extension e ON (d.refclassid, d.refobjid) = ('pg_extension'::regclass, e.oid)
		  JOIN pg_language l ON l.oid = p.prolang
		 WHERE e.extname = 'queue' AND l.lanname = 'c'
		 GROUP BY p.prosrc ORDER BY p.prosrc});
}

# The lines that only one of two texts has.
sub difference
{
	my ($left, $right) = @_;
	my (%left, %right);

	$left{$_} = 1 foreach split /\n/, $left;
	$right{$_} = 1 foreach split /\n/, $right;
	return join "\n", sort((map { "- $_" } grep { !$right{$_} } keys %left),
		(map { "+ $_" } grep { !$left{$_} } keys %right));
}

is($node->safe_psql('postgres', q{SELECT extversion FROM pg_extension WHERE extname = 'queue'}), '1.0', 'the old version');
create_ledger($node, 'load', 'partitions => 4');
$node->safe_psql(
	'postgres', q{
	SELECT queue.create_topic('session', segment_messages => 10);
	CREATE ROLE app LOGIN;
	GRANT SELECT, INSERT ON topic.session TO app;
	CREATE VIEW users_view AS
		SELECT h.*, queue.murmur2('x'), (SELECT count(*) FROM queue.fetch('session', 0, 0)) FROM queue.offset_history h;
	CREATE FUNCTION users_function() RETURNS SETOF queue.message LANGUAGE sql AS
		$$SELECT * FROM queue.fetch('session', 0, 0)$$;
	GRANT SELECT ON users_view TO app;
});

# A session that has everything cached, and uses it once more with each call.
my $old = open_session($node);
my $sequence = 0;
$old->query_safe(q{
	SET client_min_messages = warning;
	PREPARE produce(bigint) AS SELECT "offset" FROM queue.produce('session', to_jsonb($1), producer_id => 'p', sequence => $1);
	PREPARE consume AS SELECT count(*) FROM queue.consume('reader', 'session', 1);
	PREPARE poll AS SELECT count(*) FROM queue.poll('poller', 'session', 'member', 1);
	PREPARE look AS SELECT count(*) FROM users_function();
	PREPARE history AS SELECT count(*) FROM users_view WHERE consumer_group = 'reader';});

sub use_session
{
	my ($when) = @_;

	$sequence++;
	is($old->query_safe("EXECUTE produce($sequence)"), $sequence - 1, "$when: the session produces");
	is($old->query_safe("EXECUTE produce($sequence)"), $sequence - 1, "$when: and sees a duplicate");
	is($old->query_safe('EXECUTE consume'), 1, "$when: consumes");
	is($old->query_safe('EXECUTE poll'), 1, "$when: polls");
	is($old->query_safe(qq{
		SELECT queue.commit_offset('poller', 'session', 0, $sequence, 'member', (
			SELECT p.epoch FROM queue.progress p JOIN queue.topic t USING (topic_id)
			 WHERE t.name = 'session' AND p.member = 'member' ORDER BY p.generation DESC LIMIT 1))}),
		'', "$when: commits");
	is($old->query_safe('EXECUTE look'), $sequence, "$when: fetches");
	cmp_ok($old->query_safe('EXECUTE history'), '>=', $sequence, "$when: sees the history");
	is($old->query_safe("CALL queue.maintain('session')"), '', "$when: maintains");
	return;
}

use_session('before');
use_session('before, again');

# ---------------- the update, under load ----------------

my $before = catalog('postgres');
my $signatures = signatures('postgres');
# Consumers begin when there is what they find: their transactions are counted.
my @load = start_load($node, 'load', 'producer', 3, '-t', 150);
$node->poll_query_until('postgres', 'SELECT count(*) > 20 FROM topic.load') or die;
push @load, start_load($node, 'load', 'consumer', 2, '-t', 150);
$node->poll_query_until('postgres', 'SELECT count(*) > 100 FROM consumed') or die;
$node->safe_psql('postgres', q{ALTER EXTENSION queue UPDATE TO 'next'});
use_session('right after');
ok(finish_load($_), 'the load went on') foreach @load;
drain($node, 'load');
check_ledger($node, 'load', 'after the update');
use_session('after');

# ---------------- what it has made ----------------

$node->safe_psql('postgres', 'CREATE DATABASE fresh');
$node->safe_psql('fresh', q{CREATE EXTENSION queue VERSION 'next'});
my $updated = catalog('postgres');
is(difference($updated, catalog('fresh')), '', 'the updated objects are those of a fresh installation');

is(join("\n", grep { /^-/ } split /\n/, difference($signatures, signatures('postgres'))),
	'', 'no C function has other arguments or another result than before');

# What was changed shows: or the comparison would be blind.
my $changes = difference($before, $updated);
foreach my $line (
	qr/^\+ table queue\.progress: column \d+: note text/m,
	qr/^\+ table queue\.progress: comment on column note:/m,
	qr/^\+ view queue\.offset_history: column \d+: note text/m,
	qr/^\+ function queue\.added\(integer\): right: /m,
	qr/^\+ function queue\.murmur2\(.*\): definition: /m,
	qr/^\+ table queue\.added_table: relation: r p replica identity f/m,
	qr/^\+ dumped queue\.added_table: rows: WHERE id > 0/m)
{
	like($changes, $line, "the comparison sees $line");
}
is($node->safe_psql('postgres', 'SET ROLE app; SELECT count(*) > 0 FROM users_view; SELECT queue.added(1)'),
	"t\n2", "users' views and rights are there, and the new function");
is($node->safe_psql('postgres', 'SELECT count(*) = count(*) FILTER (WHERE note IS NULL) FROM queue.progress'),
	't', 'the older library has stored NULL in the new column');
$old->quit;

# A dump of the updated database makes the same again.
my $dump = "$folder/dump.sql";
$node->command_ok([ 'pg_dump', '-h', $node->host, '-p', $node->port, '-f', $dump, 'postgres' ], 'dump');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
replace_control($server{extension});
$node->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('restored'), '-f', $dump ], 'restore');
is(difference(catalog('restored'), $updated), '', 'which has the same objects');
is(digest($node, 'restored', 'session'), digest($node, 'postgres', 'session'), 'and messages');

# Every script makes objects that the library has functions for.
foreach my $file (glob('queue--*.sql'))
{
	my ($version) = $file =~ /^queue--([^-]+)\.sql$/ or next;

	$node->safe_psql('postgres', 'DROP DATABASE IF EXISTS fresh');
	$node->safe_psql('postgres', 'CREATE DATABASE fresh');
	$node->safe_psql('fresh', "CREATE EXTENSION queue VERSION '$version'");
	foreach my $step (glob("queue--$version--*.sql"))
	{
		my ($to) = $step =~ /--([^-]+)\.sql$/;

		$node->safe_psql('postgres', 'DROP DATABASE IF EXISTS stepped');
		$node->safe_psql('postgres', 'CREATE DATABASE stepped');
		$node->safe_psql('stepped', "CREATE EXTENSION queue VERSION '$version'; ALTER EXTENSION queue UPDATE TO '$to'");
		$node->safe_psql('postgres', 'DROP DATABASE IF EXISTS fresh');
		$node->safe_psql('postgres', 'CREATE DATABASE fresh');
		$node->safe_psql('fresh', "CREATE EXTENSION queue VERSION '$to'");
		is(difference(catalog('stepped'), catalog('fresh')), '', "$step makes the objects of $to");
		is(join("\n", grep { /^-/ } split /\n/, difference($signatures, signatures('fresh'))),
			'', "$to: no C function has other arguments or another result than in 1.0");
	}
	pass("queue $version can be created");
}

done_testing();

# From now on CREATE EXTENSION makes "next", as a package with it would.
sub replace_control
{
	my ($extension) = @_;
	my $control = slurp_file("$extension/queue.control");

	$control =~ s/default_version = '1\.0'/default_version = 'next'/ or die;
	unlink "$extension/queue.control";
	append_to_file("$extension/queue.control", $control);
	return;
}
