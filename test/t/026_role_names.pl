# The promise: a group and a producer belong to a role, not to its name. They go
# with the role through its renaming, a dump and restore into a server where it has
# another OID, and pg_upgrade; a role of the name that it had is a stranger.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use QueueTest;

my $node = new_server('role_names');
my $folder = PostgreSQL::Test::Utils::tempdir();

# What a role's group and producer answer: its messages, or an error.
sub use_as
{
	my ($server, $db, $role) = @_;

	return join ' ', map { sqlstate($server, $db, "SET ROLE $role; $_") }
	  q{SELECT FROM queue.consume('g', 't')},
	  q{SELECT FROM queue.produce('t', '1', producer_id => 'p', sequence => 1)};
}

sub owners
{
	my ($server, $db) = @_;

	return $server->safe_psql($db,
		q{SELECT g.owner, p.owner FROM queue.group_summary g, queue.producers p});
}

$node->safe_psql(
	'postgres', q{
	CREATE ROLE app;
	SELECT queue.create_topic('t');
	GRANT SELECT, INSERT ON topic.t TO PUBLIC;
	SELECT queue.produce('t', '0');
	SET ROLE app;
	SELECT count(*) FROM queue.consume('g', 't');
	SELECT queue.produce('t', '1', producer_id => 'p', sequence => 1);
	RESET ROLE;
	ALTER ROLE app RENAME TO app_renamed;
	CREATE ROLE app});
is(owners($node, 'postgres'), 'app_renamed|app_renamed', 'group and producer follow their role');
is(use_as($node, 'postgres', 'app'), '42501 42501', 'and not its name');
is(use_as($node, 'postgres', 'app_renamed'), ' ', 'the role goes on');

# Dump and restore into a server with other OIDs, where the role that has the OID
# is another one.
$node->command_ok([ 'pg_dump', '-d', $node->connstr('postgres'), '-f', "$folder/dump" ],
	'dumped');
my $other = PostgreSQL::Test::Cluster->new('other');
$other->init(extra => [ '--no-locale', '--encoding=UTF8' ]);
$other->start;
my $oid = $node->safe_psql('postgres', q{SELECT oid FROM pg_roles WHERE rolname = 'app_renamed'});
$other->safe_psql('postgres', "CREATE ROLE other_$_") foreach 1 .. 40;
$other->safe_psql('postgres', 'CREATE ROLE app; CREATE ROLE app_renamed');
isnt($other->safe_psql('postgres', q{SELECT oid FROM pg_roles WHERE rolname = 'app_renamed'}),
	$oid, 'the role has another OID there');
$other->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d', $other->connstr('postgres'),
	'-f', "$folder/dump" ], 'restored');
is(owners($other, 'postgres'), 'app_renamed|app_renamed', 'restored: the role is found by its name');
is(use_as($other, 'postgres', 'app_renamed'), ' ', 'restored: the role goes on');
is(use_as($other, 'postgres', 'app'), '42501 42501', 'restored: a role of its former name has nothing');
my $by_oid = $other->safe_psql('postgres', "SELECT rolname FROM pg_roles WHERE oid = $oid");
is(use_as($other, 'postgres', $by_oid), '42501 42501', "restored: nor has $by_oid, which has its OID here")
  if $by_oid ne '';

# Into a server without the role.
$other->safe_psql('postgres', q{
	CREATE DATABASE without;
	ALTER ROLE app_renamed RENAME TO away});
is(use_as($other, 'postgres', 'away'), ' ', 'renamed in the new server: the role goes on');
$other->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d', $other->connstr('without'),
	'-f', "$folder/dump" ], 'restored without the role');
is(owners($other, 'without'), 'app_renamed|app_renamed', 'the name is kept');
is(use_as($other, 'without', 'app'), '42501 42501', 'only a superuser has them');
is(use_as($other, 'without', 'postgres'), ' ', 'a superuser has them')
  if $other->safe_psql('without', q{SELECT count(*) FROM pg_roles WHERE rolname = 'postgres'});
$other->safe_psql('without', 'CREATE ROLE app_renamed');
is(use_as($other, 'without', 'app_renamed'), ' ', 'until a role of that name is made');

# A role that was dropped does not come back by a dump.
$other->safe_psql('without', q{
	SELECT queue.alter_group('g', owner => 'app_renamed'), queue.alter_producer('t', 'p', 'app_renamed');
	DROP ROLE app_renamed;
	CREATE ROLE app_renamed});
is(use_as($other, 'without', 'app_renamed'), '42501 42501', 'a new role of a dropped one\'s name is a stranger');
$other->command_ok([ 'pg_dump', '-d', $other->connstr('without'), '-f', "$folder/dropped" ],
	'dumped after the role was dropped');
$other->safe_psql('postgres', 'CREATE DATABASE dropped');
$other->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d', $other->connstr('dropped'),
	'-f', "$folder/dropped" ], 'and restored');
is(use_as($other, 'dropped', 'app_renamed'), '42501 42501', 'also after a restore');
$other->stop;

# pg_upgrade, here to the same version: OIDs stay, the system identifier does not.
my $new = PostgreSQL::Test::Cluster->new('upgraded');
$new->init(extra => [ '--no-locale', '--encoding=UTF8' ]);
$node->stop;
my $bindir = $node->config_data('--bindir');
chdir $folder;
$new->command_ok(
	[
		'pg_upgrade', '--no-sync', '-d', $node->data_dir, '-D', $new->data_dir,
		'-b', $bindir, '-B', $bindir, '-s', $new->host, '-p', $node->port, '-P', $new->port
	],
	'pg_upgrade');
$new->start;
is(owners($new, 'postgres'), 'app_renamed|app_renamed', 'upgraded: the role is the same');
is(use_as($new, 'postgres', 'app_renamed'), ' ', 'upgraded: it goes on');
is(use_as($new, 'postgres', 'app'), '42501 42501', 'upgraded: a role of its former name has nothing');

done_testing();
