# The promise: no call ends a backend, and none is an internal error, also where
# no SQL statement tells the types of the arguments: in the protocol's function
# call message (fast path), which any client may send for any function that its
# role may execute.

use strict;
use warnings;

use IO::Socket::UNIX;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use QueueTest;

my $node = new_server('fastpath');

# Read a message of the protocol: its type and its body.
sub read_message
{
	my ($socket) = @_;
	my $header;
	my $body = '';

	die "connection lost" if ($socket->read($header, 5) // 0) != 5;
	my ($type, $length) = unpack('a N', $header);
	$socket->read($body, $length - 4) == $length - 4 or die "connection lost"
	  if $length > 4;
	return ($type, $body);
}

# Read until the server is ready.  Returns the SQLSTATE of an error, or 'ok'.
sub outcome
{
	my ($socket) = @_;
	my $outcome = 'ok';

	while (1)
	{
		my ($type, $body) = read_message($socket);

		last if $type eq 'Z';
		$outcome = $1 if $type eq 'E' && $body =~ /\0C(.....)\0/;
		$outcome = $1 if $type eq 'E' && $body =~ /^C(.....)\0/;
	}
	return $outcome;
}

sub connect_as
{
	my ($role) = @_;
	my $socket = IO::Socket::UNIX->new(
		Peer => $node->host . '/.s.PGSQL.' . $node->port) or die "cannot connect: $!";
	my $options = "user\0$role\0database\0postgres\0client_min_messages\0error\0\0";

	$socket->autoflush(1);
	$socket->print(pack('N N', 8 + length $options, 196608) . $options);
	is(outcome($socket), 'ok', "$role connects");
	return $socket;
}

# Call a function; undef is NULL.
sub call
{
	my ($socket, $oid, @args) = @_;
	my $body = pack('N n n n', $oid, 1, 0, scalar @args);

	$body .= defined $_ ? pack('N/a*', $_) : pack('N', 0xffffffff) foreach @args;
	$body .= pack('n', 0);
	$socket->print('F' . pack('N', 4 + length $body) . $body);
	return outcome($socket);
}

$node->safe_psql('postgres', q{
	CREATE ROLE plain LOGIN;
	SELECT queue.create_topic('t', value_type => 'text');
	GRANT INSERT, SELECT ON topic.t TO plain;
});
my @functions = split /\n/, $node->safe_psql('postgres', q{
	SELECT p.oid::int8, p.oid::regprocedure::text, string_agg(format_type(t.type, NULL), ';' ORDER BY n)
	  FROM pg_proc p LEFT JOIN unnest(proargtypes) WITH ORDINALITY t(type, n) ON true
	 WHERE pronamespace = 'queue'::regnamespace AND prokind <> 'a'
	   AND proname NOT LIKE '%_maintenance' AND proname <> 'drop_topic'
	 GROUP BY p.oid ORDER BY 2
});
ok(@functions > 50, 'all functions');

my %value = (
	text => 't', integer => '0', bigint => '0', boolean => 'f', interval => '1 s',
	jsonb => '{}', bytea => 'x', regtype => 'text', regclass => 'topic.t',
	'timestamp with time zone' => '2000-01-01', 'text[]' => '{t}',
	'jsonb[]' => '{}', 'integer[]' => '{0}', 'bigint[]' => '{0}');

foreach my $role ('postgres', 'plain')
{
	my $socket = connect_as($role);
	my %seen;

	foreach my $function (@functions)
	{
		my ($oid, $name, $types) = split /\|/, $function;
		my @types = split /;/, $types;

		my %outcomes = (
			NULL => call($socket, $oid, map { undef } @types),
			values => call($socket, $oid, map { $value{$_} } @types));
		foreach my $kind (sort keys %outcomes)
		{
			$seen{ $outcomes{$kind} }++;
			unlike($outcomes{$kind}, qr/^XX/, "$name as $role, $kind");
		}
	}
	ok($seen{ok}, 'some calls succeed');
	ok($seen{'0A000'}, 'sets are refused');
	ok($seen{'22004'}, 'NULL is refused');
	is($seen{'42P18'}, 2, 'a value without a type is refused');
	$socket->close;
}
is($node->safe_psql('postgres', q{SELECT count(*) FROM queue.verify('t')}), '0',
	'the topic is whole');
unlike(slurp_file($node->logfile), qr/terminated by signal/, 'no backend has crashed');

done_testing();
