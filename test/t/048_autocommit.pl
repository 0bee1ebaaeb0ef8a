# The promise: a client that consumes outside a transaction block is warned, once,
# whichever protocol it speaks; a pipeline is a transaction from its second command on;
# a setting keeps the session silent, also one that was set before the library was
# loaded. And what happens to a foreign table over consume, of which
# docs/concepts.md warns.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use QueueTest;

my $node = new_server('autocommit', "queue.autocommit_warning = on\n");
my $consume = q{SELECT m."offset" FROM queue.consume_typed('g', 't', NULL::text, 1) m;};
my $warning = qr/WARNING:  messages are consumed outside a transaction block/;

$node->safe_psql(
	'postgres', q{
	SELECT queue.create_topic('t', 1, 'text');
	SELECT queue.produce_batch('t', ARRAY(SELECT 'm' || g FROM generate_series(0, 999) g));
});

# warnings(MODE, SCRIPT): how many of them two runs of a script of pgbench print.
sub warnings
{
	my ($mode, $script) = @_;
	my $file = PostgreSQL::Test::Utils::tempdir() . '/script.sql';
	my ($out, $err);

	append_to_file($file, $script);
	local $ENV{PGHOST} = $node->host;
	local $ENV{PGPORT} = $node->port;
	IPC::Run::run([ qw(pgbench -n -t 2 -M), $mode, '-f', $file, 'postgres' ], '>', \$out, '2>', \$err)
	  or die "pgbench: $err";
	return scalar(() = $err =~ /$warning/g);
}

sub offset
{
	my ($group) = @_;
	return $node->safe_psql('postgres',
		"SELECT current_offset FROM queue.consumer_groups WHERE consumer_group = '$group'");
}

# ---- protocols ----
is(warnings('simple', "$consume\n"), 1, 'a session is warned once');
is(warnings('extended', "$consume\n"), 1, 'by the extended protocol, too');
is(warnings('prepared', "$consume\n"), 1, 'with a prepared statement, too');
is(warnings('extended', "BEGIN;\n$consume\nCOMMIT;\n"), 0, 'not in a transaction block');
is(warnings('extended', "\\startpipeline\nSELECT 1;\n$consume\n\\endpipeline\n"),
	0, 'not behind the first command of a pipeline');
is(warnings('extended', "\\startpipeline\n$consume\nSELECT 1;\n\\endpipeline\n"),
	1, 'at the first command of a pipeline others are not known');
is(offset('g'), 12, 'all of them have consumed');

# ---- the setting, before the library is loaded ----
my ($status, $out, $err) = $node->psql('postgres', $consume);
like($err, $warning, 'the server says so by default');
{
	local $ENV{PGOPTIONS} = '-c queue.autocommit_warning=off';
	($status, $out, $err) = $node->psql('postgres', $consume);
	is("$out$err", '13', 'silenced by the client');
}
$node->safe_psql('postgres', 'CREATE ROLE silent SUPERUSER LOGIN; ALTER ROLE silent SET queue.autocommit_warning = off');
($status, $out, $err) = $node->psql('postgres', $consume, extra_params => [ '-U', 'silent' ]);
is("$out$err", '14', 'silenced for a role');

# ---- a foreign table over consume ----
SKIP:
{
	skip 'postgres_fdw is not installed', 5
	  if $node->safe_psql('postgres',
		q{SELECT count(*) FROM pg_available_extensions WHERE name = 'postgres_fdw'}) eq '0';

	my ($host, $port) = ($node->host, $node->port);
	$node->safe_psql(
		'postgres', qq{
		CREATE EXTENSION postgres_fdw;
		CREATE SERVER here FOREIGN DATA WRAPPER postgres_fdw
			OPTIONS (host '$host', port '$port', dbname 'postgres', fetch_size '10');
		CREATE USER MAPPING FOR CURRENT_USER SERVER here;
		CREATE VIEW inbox AS
			SELECT "offset", value FROM queue.consume_typed('there', 't', NULL::text, 100);
		CREATE FOREIGN TABLE inbox_there ("offset" bigint, value text)
			SERVER here OPTIONS (table_name 'inbox');
		CREATE FUNCTION rare(value text) RETURNS boolean LANGUAGE plpgsql AS
			\$\$ BEGIN RETURN value = 'm150'; END \$\$;
	});
	is($node->safe_psql('postgres', 'SELECT value FROM inbox_there LIMIT 1'),
		'm0', 'a foreign table returns the one message that was asked for');
	is(offset('there'), 100, 'and has consumed all that consume returned');
	is($node->safe_psql('postgres', 'SELECT value FROM inbox_there WHERE rare(value)') . ' ' . offset('there'),
		'm150 200', 'and those that a condition leaves out');
	$node->safe_psql('postgres', 'ANALYZE inbox_there');
	is(offset('there'), 300, 'ANALYZE consumes');
	$node->safe_psql('postgres', 'BEGIN; SELECT count(*) FROM inbox_there; ROLLBACK');
	is(offset('there'), 300, 'ROLLBACK gives them back');
}

done_testing();
