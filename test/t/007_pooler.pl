# The promise: nothing is kept in a session that a transaction pooler could lose.
# Behind PgBouncer with pool_mode = transaction, where every transaction of a
# client may run in another server session, nothing is lost and nothing doubled.
#
#   POOLER_MESSAGES   how many are consumed meanwhile, 5000 by default

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
patiently(sub { system_log('psql', '-XAtqc', 'SELECT 1', $pooled) == 0 })
  or die 'pgbouncer does not answer: ' . slurp_file("$folder/out");

# "extended" is the protocol of most drivers: parameters, unnamed statements.
my $messages = $ENV{POOLER_MESSAGES} || 5000;
is( load_until(
		$node, $topic,
		sub {
			$node->safe_psql('postgres', "SELECT count(*) >= $messages FROM consumed") eq 't';
		},
		map {
			my $kind = $_;

			map { [ $kind, 4, '-t', 100, '-M', $_, '-h', $folder, '-p', $port ] }
			  'simple', 'extended'
		} 'producer', 'consumer'),
	'', "producers and consumers go on behind a pooler, over $messages messages");

# They did share sessions, and did change them.
cmp_ok(
	$node->safe_psql('postgres', q{SELECT count(DISTINCT backend) FROM
		(SELECT backend FROM produced UNION ALL SELECT backend FROM consumed) x}),
	'<=', 3, '16 clients shared a few sessions');
cmp_ok(
	$node->safe_psql('postgres', q{SELECT max(n) FROM
		(SELECT count(DISTINCT backend) n FROM produced GROUP BY producer) x}),
	'>', 1, 'and went from one to another');

drain($node, $topic);
check_ledger($node, $topic, 'behind a pooler');

$pgbouncer->kill_kill;
undef $pgbouncer;
$node->stop;
done_testing();
