# The promise: nothing is kept in a session that a transaction pooler could lose.
# Behind PgBouncer with pool_mode = transaction, where every transaction of a
# client may run in another server session, nothing is lost and nothing doubled.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use QueueTest;

my $node = new_server('pooler');
my $topic = 'pooled';

create_ledger($node, $topic, 'partitions => 4, segment_messages => 500');

# One pool of three sessions for all clients.
my $folder = PostgreSQL::Test::Utils::tempdir_short();
my $port = PostgreSQL::Test::Cluster::get_free_port();
my $user = $node->safe_psql('postgres', 'SELECT current_user');
append_to_file(
	"$folder/pgbouncer.ini", qq{
[databases]
postgres = host=@{[ $node->host ]} port=@{[ $node->port ]} user=$user
[pgbouncer]
listen_addr =
listen_port = $port
unix_socket_dir = $folder
auth_type = any
pool_mode = transaction
default_pool_size = 3
max_client_conn = 50
logfile = $folder/pgbouncer.log
});
my $pgbouncer = IPC::Run::start([ 'pgbouncer', '-q', "$folder/pgbouncer.ini" ],
	'<', \undef, '>', "$folder/out", '2>&1');

# Ended by its handle, whatever happens.
END { $pgbouncer->kill_kill if $pgbouncer }

my $pooled = "host=$folder port=$port dbname=postgres";
my $attempts = 10 * $PostgreSQL::Test::Utils::timeout_default;
while (system_log('psql', '-XAtqc', 'SELECT 1', $pooled) != 0)
{
	die 'pgbouncer does not answer: ' . slurp_file("$folder/out")
	  if --$attempts == 0;
	select(undef, undef, undef, 0.1);
}

# "extended" is the protocol of most drivers: parameters, unnamed statements.
my @load = map {
	my ($who, $protocol, $base) = @$_;
	start_load($node, $topic, $who, 4, '-T', 8, '-M', $protocol,
		'-D', "base=$base", '-h', $folder, '-p', $port)
  } (
	[ 'producer', 'simple',   0 ],
	[ 'producer', 'extended', 4 ],
	[ 'consumer', 'simple',   0 ],
	[ 'consumer', 'extended', 4 ]);

foreach my $load (@load)
{
	ok(finish_load($load), "the $load->{who}s came to their end");
}

# They did share sessions, and did change them.
cmp_ok(
	$node->safe_psql('postgres', q{SELECT count(DISTINCT backend) FROM
		(SELECT backend FROM produced UNION ALL SELECT backend FROM consumed) x}),
	'<=', 3, '16 clients shared a few sessions');
cmp_ok(
	$node->safe_psql('postgres', q{SELECT max(n) FROM
		(SELECT count(DISTINCT backend) n FROM produced GROUP BY producer) x}),
	'>', 1, 'and went from one to another');
cmp_ok($node->safe_psql('postgres', 'SELECT count(*) FROM consumed'),
	'>', 500, 'much was consumed through the pool');

drain($node, $topic);
check_ledger($node, $topic, 'behind a pooler');

$pgbouncer->kill_kill;
undef $pgbouncer;
$node->stop;
done_testing();
