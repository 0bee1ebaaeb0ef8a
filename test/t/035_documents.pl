# The promise: the SQL of README.md and of the pages in docs/ does what is shown there.
# Each block runs, in the order of its page, in a database of the page's own; what is
# printed is what the page shows. docs/recipes.md has a test of its own, 009_recipes.
#
# Cells of columns that differ from run to run (%VARIES) must be empty in both or in
# neither; measured figures may be off by the share that %MEASURED says. All else must be
# equal to the letter, but for the widths of columns in tables that have such cells.

use strict;
use warnings;

use FindBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Examples;
use QueueTest;

my %VARIES = map { $_ => 1 } qw(timestamp pid age waiting);
my %MEASURED = (
	wal_bytes => 0.15,
	map { $_ => 0.05 }
	  qw(disk_bytes row_bytes index_bytes bytes_per_row of_places bytes_per_message));

# The pages, and what they take for granted.
my %PAGES = (
	'README.md' => '',
	'docs/concepts.md' => q{
		SELECT queue.create_topic('orders');
		SELECT queue.produce('orders', '1');
		SELECT queue.create_topic('payments');},
	'docs/reference.md' => '',
	'docs/operations.md' => q{
		SET allow_in_place_tablespaces = on;
		CREATE TABLESPACE nvme LOCATION '';
		CREATE TABLESPACE hdd LOCATION '';
		CREATE ROLE billing;
		CREATE ROLE audit;
		CREATE ROLE old;
		CREATE ROLE new;
		CREATE SCHEMA archive;
		SELECT queue.create_topic('orders', partitions => 8, segment_messages => 1000);
		SELECT queue.produce_batch('orders', array_fill('{}'::text, ARRAY[5000]),
			partition => p) FROM unnest(ARRAY[0, 7]) p;
		SELECT queue.create_group(g, 'orders')
			FROM unnest(ARRAY['billing', 'last-years-report', 'dashboard']) g;
		SELECT queue.commit_offset('billing', 'orders', 0, 5000);
		SELECT queue.create_topic('payments');
		SELECT queue.produce('payments', '{}', producer_id => 'till-1', sequence => 1);
		SELECT queue.create_topic('mails');
		SELECT queue.create_group('mailer', 'mails');
		SELECT queue.create_topic('lines');},
	'docs/from-other-queues.md' => q{
		SELECT queue.create_topic('t', partitions => 2);
		SELECT queue.create_group('g', 't');},
	'docs/kafka.md' => q{
		SELECT queue.create_topic(name, partitions => 4) FROM unnest(ARRAY['t', 'u', 'log']) name;
		SELECT queue.produce_batch('t', array_fill('{}'::text, ARRAY[5000]), partition => p)
			FROM generate_series(0, 3) p;
		SELECT queue.create_group('g', 't');});

# What other sessions do, each in a transaction of its own, while a block runs that has
# this in it. The last statement of the last one waits.
my %BESIDE = (
	qr/producer_id IS NOT NULL/ => [
		q{SET application_name = 'till'; BEGIN;
			SELECT queue.produce('payments', '{}', producer_id => 'till-1', sequence => 2);} ],
	qr/FROM queue\.blockers WHERE consumer_group/ => [
		q{SET application_name = 'biller'; BEGIN;
			SELECT count(*) FROM queue.consume('billing', 'orders', partitions => ARRAY[7]);},
		q{BEGIN; SELECT * FROM queue.reset_offsets('billing', 'orders', shift_by => 0, partition => 7);} ]);

# psql's output as a list: of a table's rows lists of cells, of other lines their text.
sub cells
{
	my ($text) = @_;
	my ($head, @rows);
	my @lines = split /\n/, $text;

	for (my $i = 0; $i < @lines; $i++)
	{
		if (!$head && $i < $#lines && $lines[ $i + 1 ] =~ /^-[-+]*$/)
		{
			$head = [ map { s/^\s+|\s+$//gr } split /\|/, $lines[ $i++ ] ];
			push @rows, $head;
		}
		elsif ($head && $lines[$i] !~ /^\(\d+ rows?\)$/)
		{
			push @rows, [ map { s/^\s+|\s+$//gr } split /\|/, $lines[$i], -1 ];
		}
		else
		{
			undef $head;
			push @rows, $lines[$i];
		}
	}
	return @rows;
}

# What was printed, with that which may differ replaced by what is shown.
sub as_shown
{
	my ($printed, $shown) = @_;
	my @printed = cells($printed);
	my @shown = cells($shown);
	my $head;

	for my $i (0 .. $#printed)
	{
		next if !ref $printed[$i] || !ref $shown[$i];
		$head = $printed[$i] if $i == 0 || !ref $printed[ $i - 1 ];
		next if $head == $printed[$i];
		for my $column (0 .. $#$head)
		{
			my ($got, $expected) = ($printed[$i][$column] // '', $shown[$i][$column] // '');

			next if $got eq '' || $expected eq '';
			$printed[$i][$column] = $expected
			  if $VARIES{ $head->[$column] }
			  || ( $MEASURED{ $head->[$column] }
				&& abs($got - $expected) <= $expected * $MEASURED{ $head->[$column] } + 0.001);
		}
	}
	return (\@printed, \@shown);
}

# The sessions that %BESIDE asks for.
sub sessions_beside
{
	my ($node, $db, $block) = @_;
	my $text = join '', map { $_->{sql} } @{ $block->{statements} };
	my ($pattern) = grep { $text =~ $_ } keys %BESIDE;
	my @sql = $pattern ? @{ $BESIDE{$pattern} } : ();
	my @sessions;

	foreach my $n (0 .. $#sql)
	{
		my $session = Session->new($node, $db);

		if ($n > 0 && $n == $#sql)
		{
			$session->send($sql[$n]);
			ok($session->waits, 'another session waits');
		}
		else
		{
			unlike($session->run($sql[$n]), qr/^ERROR:/m, 'another session is at work');
		}
		push @sessions, $session;
	}
	return @sessions;
}

# What stands in the text as `SELECT …` or `CALL …` must be no error. A query is rolled
# back, so that each finds what the page takes for granted; some need more (%BEFORE).
my %BEFORE = (
	':epoch' => q{SELECT max(epoch) AS epoch FROM queue.poll('g', 't', 'm', max_messages => 20000)
		WHERE partition = 0 \gset},
	create_group => q{SELECT queue.drop_group('g');});

sub run_inline
{
	my ($node, $page) = @_;
	my ($db) = $page =~ /(\w+)\.md$/;
	my $session = Session->new($node, $db);
	my $text = slurp_file("$FindBin::RealBin/../../$page");

	my $other = Session->new($node, 'postgres');

	$session->run("\\set position 4711\n\\set pid $other->{pid}");
	while ($text =~ /`((?:SELECT|CALL) [^`…]+)`/g)
	{
		my $sql = $1;
		my ($need) = grep { index($sql, $_) >= 0 } keys %BEFORE;
		my $answer;

		$session->run('BEGIN;') if $sql =~ /^SELECT/;
		$session->run($BEFORE{$need}) if $need;
		$answer = $session->run("$sql;");

		unlike($answer, qr/^(?:ERROR|FATAL|PANIC|WARNING):/m, "$page: $sql");
		$session->run('ROLLBACK;') if $sql =~ /^SELECT/;
	}
	$_->quit foreach $session, $other;
	return;
}

# Run a page as it stands.
sub run_page
{
	my ($node, $page) = @_;
	my ($db) = $page =~ /(\w+)\.md$/;
	my (%sessions, $ran, $compared);

	$db = lc $db;
	$node->safe_psql('postgres', "CREATE DATABASE $db");
	$node->safe_psql($db, "CREATE EXTENSION queue; $PAGES{$page}") if $page ne 'README.md';
	foreach my $block (read_examples("$FindBin::RealBin/../../$page"))
	{
		next if defined $block->{reason};

		my $session = $sessions{ $block->{session} } //= Session->new($node, $db);
		my @beside = sessions_beside($node, $db, $block);

		foreach my $statement (@{ $block->{statements} })
		{
			# 19 says for which lock a statement waited, by numbers
			my $answer = $session->run($statement->{sql}) =~ s/\nCONTEXT:  waiting for [^\n]*//gr;
			my ($first) = $statement->{sql} =~ /^((?!--).*)$/m;
			my $name = "$page, block at line $block->{line}: $first";

			$ran++;
			if (!defined $statement->{shown})
			{
				unlike($answer, qr/^(?:ERROR|FATAL|PANIC|WARNING):/m, $name);
			}
			elsif ($answer eq $statement->{shown})
			{
				pass($name);
			}
			else
			{
				my ($printed, $shown) = as_shown($answer, $statement->{shown});

				is_deeply($printed, $shown, $name) ? note($answer) : diag("printed:\n$answer");
			}
			$compared++ if defined $statement->{shown};
		}
		$_->kill foreach @beside;
	}
	$_->quit foreach values %sessions;
	note("$page: $ran statements, of which $compared show what they print");
	return;
}

# ---------------- the reference has everything, with its signature ----------------

# Names, types and defaults as docs/reference.md writes them.
sub as_documented
{
	my ($text) = @_;

	$text =~ s/\s*--.*$//mg;
	$text =~ s/\s+/ /g;
	$text =~ s/^ | $//g;
	$text =~ s/\bIN (?=\w)//g;
	$text =~ s/::[a-z ]+(\[\])?//g;
	$text =~ s/\binteger\b/int/g;
	$text =~ s/timestamp with time zone/timestamptz/g;
	$text =~ s/'00:01:00'/'1 minute'/g;
	$text =~ s/'00:00:30'/'30 seconds'/g;
	return $text;
}

# Rows of a query in each of which a name comes first: { name => [the rest, ...] }.
sub lists_by_name
{
	my ($node, $sql) = @_;
	my %lists;

	foreach my $row (split /\n/, $node->safe_psql('postgres', $sql))
	{
		my ($name, $rest) = split /\|/, $row, 2;

		push @{ $lists{$name} }, as_documented($rest);
	}
	return %lists;
}

# The signatures in the reference's blocks without a language, by function. Those of
# functions whose last columns are "the columns of" a row type get these columns.
sub documented_signatures
{
	my ($text, $attributes) = @_;
	my %signatures;

	$text =~ s/^```sql.*?^```$//msg;
	while ($text =~ /^```\n(.*?)^```$/msg)
	{
		foreach my $signature (split /^(?=(?:CALL )?queue\.)/m, $1)
		{
			my ($name) = $signature =~ /^(?:CALL )?(queue\.\w+)\(/ or next;

			if ($signature =~ /-- the columns of (queue\.\w+)/)
			{
				my $columns = join ', ', map { "OUT $_" } @{ $attributes->{$1} };

				$columns =~ s/\bvalue jsonb/value anyelement/;
				$signature =~ s/\)(?=\s*RETURNS)/, $columns)/;
			}
			push @{ $signatures{$name} }, as_documented($signature);
		}
	}
	return %signatures;
}

# Columns and types of the tables in a section: in their first two cells, separated by
# commas; a single type is that of all columns of its row.
sub documented_columns
{
	my ($section) = @_;
	my @columns;

	while ($section =~ /^\| (`[^|]*) \| ([^|]*) \|/mg)
	{
		my @types = split /, /, $2;
		my @names = $1 =~ /`(\w+)`/g;

		push @columns, map { $names[$_] . ' ' . (@types == 1 ? $types[0] : $types[$_] // '') } 0 .. $#names;
	}
	return @columns;
}

sub check_reference
{
	my ($node) = @_;
	my $text = slurp_file("$FindBin::RealBin/../../docs/reference.md");
	my $in_queue = q{= 'queue'::regnamespace};

	# what there is
	foreach my $name (split /\n/, $node->safe_psql('postgres', qq{
		SELECT 'queue.' || relname FROM pg_class
		 WHERE relnamespace $in_queue AND relkind IN ('r', 'v', 'c')
		UNION SELECT evtname FROM pg_event_trigger WHERE evtname LIKE 'queue%'
		UNION SELECT name FROM pg_settings WHERE name LIKE 'queue.%' ORDER BY 1}))
	{
		ok($text =~ /\b\Q$name\E\b/, "reference.md has $name");
	}

	# the columns of each view and row type, in their order, with their types
	my %attributes = lists_by_name($node, qq{
		SELECT attrelid::regclass, quote_ident(attname) || ' ' || format_type(atttypid, atttypmod)
		  FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid
		 WHERE relnamespace $in_queue AND relkind IN ('v', 'c') AND attnum > 0
		 ORDER BY attrelid, attnum});
	foreach my $relation (sort keys %attributes)
	{
		my ($section) = $text =~ /^### \Q$relation\E\n(.*?)^(?:###|---)/ms;
		my ($row_type) = $text =~ /^\| `\Q$relation\E` \| `([^`]*)`/m;
		my @documented = defined $row_type ? $row_type : documented_columns($section // '');

		is( join(', ', @documented) =~ s/"//gr,
			join(', ', @{ $attributes{$relation} }) =~ s/"//gr,
			"reference.md has the columns of $relation");
	}

	# each function, with its arguments, their types and defaults, and its result
	my %catalog = lists_by_name($node, qq{
		SELECT name, CASE prokind WHEN 'p' THEN 'CALL ' ELSE '' END || name
		       || '(' || pg_get_function_arguments(oid) || ')'
		       || COALESCE(' RETURNS ' || pg_get_function_result(oid), '')
		  FROM pg_proc, LATERAL (SELECT 'queue.' || proname) AS n (name)
		 WHERE pronamespace $in_queue});
	my %documented = documented_signatures($text, \%attributes);
	foreach my $function (sort { $a cmp $b } keys %{ { %catalog, %documented } })
	{
		is_deeply(
			[ sort @{ $documented{$function} // [] } ],
			[ sort @{ $catalog{$function} // [] } ],
			"reference.md has the signature of $function")
		  or diag("in the catalog:\n", join "\n", @{ $catalog{$function} // [] });
	}

	# what the section of a function says in any case
	while ($text =~ /^### (queue\.[^\n]*)\n(.*?)(?=^##|^---)/msg)
	{
		my ($title, $section) = ($1, $2);

		next unless $section =~ /^```\n(?:CALL )?queue\.\w+\(/m;
		like($section, qr/^- $_\b/m, "$title: $_") foreach 'Errors', 'Right', 'Since';
	}
	return;
}

# The figures are without the WAL of checkpoints and of autovacuum.
my $node = new_server('documents', q{
autovacuum = off
checkpoint_timeout = '1h'
max_wal_size = '4GB'
}, allows_streaming => 'logical');

chdir PostgreSQL::Test::Utils::tempdir;
run_page($node, $_) foreach grep { !$ENV{PAGE} || $_ eq $ENV{PAGE} } sort keys %PAGES;
run_inline($node, $_) foreach grep { !$ENV{PAGE} || $_ eq $ENV{PAGE} } 'docs/from-other-queues.md', 'docs/kafka.md';
check_reference($node);

$node->stop;
done_testing();
