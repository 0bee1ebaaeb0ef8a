# The promise: the extension can be made in a database of any encoding, and keys
# of any encoding choose a partition: as Kafka does, by their UTF-8, where they
# have one.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use QueueTest;

my $node = new_server('encodings');

# The characters of a key in the database's encoding, as bytes.
my %word = (
	UTF8 => 'e69687e5ad97',
	EUC_JP => 'cab8bbfa',
	LATIN1 => undef,
	SQL_ASCII => 'e69687e5ad97');

foreach my $encoding (sort keys %word)
{
	my $db = lc $encoding;
	my $word = $word{$encoding};

	$node->safe_psql('postgres',
		"CREATE DATABASE $db TEMPLATE template0 ENCODING '$encoding' LOCALE 'C'");
	my ($ret, $stdout, $stderr) = $node->psql($db, 'CREATE EXTENSION queue');
	is($ret, 0, "$encoding: the extension is made") or diag($stderr);
	$node->safe_psql($db, q{
		SELECT queue.create_topic('one', value_type => 'text');
		SELECT queue.create_topic('many', partitions => 7, value_type => 'text');
	});

	# key() makes a text of bytes, as a client of that encoding would send them.
	$node->safe_psql($db, qq{
		CREATE FUNCTION key(bytes text) RETURNS text LANGUAGE sql AS
		\$\$ SELECT convert_from(decode(bytes, 'hex'), '$encoding') \$\$});
	foreach my $bytes (grep { defined } $word, { SQL_ASCII => 'ff80fe', EUC_JP => 'a9a1', LATIN1 => 'e9' }->{$encoding})
	{
		my $produce = q{
			SELECT (queue.produce('%1$s', 'v', key => key('%2$s'))).partition;
			SELECT partition FROM queue.produce_batch('%1$s', ARRAY['v'], ARRAY[key('%2$s')]);
			INSERT INTO topic.%1$s (key, value) VALUES (key('%2$s'), 'v') RETURNING partition;
			SELECT queue.partition_for_key(key('%2$s'), (SELECT partitions FROM queue.topics WHERE topic = '%1$s'))};

		($ret, $stdout, $stderr) = $node->psql($db, sprintf($produce, 'one', $bytes));
		is($stdout, "0\n0\n0\n0", "$encoding: key $bytes with one partition") or diag($stderr);
		($ret, $stdout, $stderr) = $node->psql($db, sprintf($produce, 'many', $bytes));
		like($stdout, qr/^(\d)\n\1\n\1\n\1$/, "$encoding: key $bytes with seven partitions, each way the same")
		  or diag($stderr);
	}
	is( $node->safe_psql($db, q{SELECT queue.partition_for_key('key', 1000003)}),
		$node->safe_psql('postgres', q{SELECT queue.partition_for_key('key', 1000003)}),
		"$encoding: an ASCII key goes where it goes everywhere");
	is( $node->safe_psql($db, qq{SELECT queue.partition_for_key(key('$word'), 1000003)}),
		$node->safe_psql('postgres', q{SELECT queue.partition_for_key(U&'\6587\5b57', 1000003)}),
		"$encoding: and a word where its UTF-8 goes")
	  if defined $word;
	is($node->safe_psql($db, q{SELECT count(*) FROM queue.verify('many')}), '0', "$encoding: the log is in order");
}

$node->stop;
done_testing();
