# What the tests of the documents share: reading their blocks of SQL, and sessions
# that run them.
#
# A block that is to be run begins with the line ```sql. What is shown below a
# statement, down to an empty line, is what psql must print. Text behind "sql", such as
#
#     ```sql not run: placeholders
#
# takes a block out, and says why; to readers of the page it is SQL all the same.

package Examples;

use strict;
use warnings;

use Exporter 'import';
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;

our @EXPORT = qw(read_examples);

# A block's statements: { sql, shown, waits }. A statement ends with a line that
# ends with ";", a comment behind it included, or "\gset", or is a backslash command,
# or is COPY's data down to "\."; within $$ nothing ends. The lines behind it, down to
# an empty one, are its output if the first begins with a blank or with the level of a
# message. An empty line directly below a table's head is a row with an empty value.
sub parse_block
{
	my (@lines) = @_;
	my %block = (session => 'main', statements => []);
	my ($sql, $waits) = ('', 0);

	if (@lines && $lines[0] =~ /^-- session (.+)$/)
	{
		$block{session} = $1;
		shift @lines;
	}
	if (@lines && $lines[-1] =~ /^-- session \Q$block{session}\E dies$/)
	{
		$block{dies} = 1;
		pop @lines;
	}
	while (defined(my $line = shift @lines))
	{
		next if $sql eq '' && $line eq '';
		if ($sql eq '' && $line eq '-- waits')
		{
			$waits = 1;
			next;
		}
		$sql .= "$line\n";
		if ($line =~ /^COPY .* FROM STDIN;$/)
		{
			$sql .= "$line\n"
			  while defined($line = shift @lines) && $line ne '\.';
			$sql .= "\\.\n";
		}
		elsif ($line !~ /;(?:\s*--.*)?$|\\gset$|^\\/ || (() = $sql =~ /\$\$/g) % 2)
		{
			next;
		}

		my $shown;
		if (@lines && $lines[0] =~ /^(?: |(?:ERROR|WARNING|NOTICE):)/)
		{
			$shown = '';
			while (defined($line = shift @lines))
			{
				last if $line eq '' && $shown !~ /^-[-+]*\n\z/m;
				$shown .= "$line\n";
			}
		}
		push @{ $block{statements} },
		  { sql => $sql, shown => $shown, waits => $waits };
		($sql, $waits) = ('', 0);
	}
	die "no end of statement: $sql" if $sql !~ /^(?:--.*\n|\n)*\z/;
	return \%block;
}

# A file's blocks in their order: what parse_block() returns, with the title of the
# section, the number of the line at which the block begins, and, where it is not to be
# run, the reason.
sub read_examples
{
	my ($file) = @_;
	my ($title, $reason, $line_number, $lines, @blocks) = ('');
	my $number = 0;

	foreach my $line (split /\n/, slurp_file($file))
	{
		$number++;
		if (defined $lines)
		{
			if ($line ne '```')
			{
				push @$lines, $line;
				next;
			}
			push @blocks,
			  {
				%{ defined $reason ? {} : parse_block(@$lines) },
				title => $title,
				line => $line_number,
				reason => $reason
			  };
			undef $lines;
		}
		elsif ($line =~ /^## (.+)$/)
		{
			$title = $1;
		}
		elsif ($line =~ /^```sql(?: (.+))?$/)
		{
			($lines, $reason, $line_number) = ([], $1, $number);
		}
	}
	return @blocks;
}

# A psql that stays open: send() and answer(), or both in one, run().
{

	package Session;

	my $number = 0;

	sub new
	{
		my ($class, $node, $db) = @_;
		my $self = bless { node => $node, in => '', out => '' }, $class;

		$self->{run} = IPC::Run::start(
			[ 'psql', '-X', '-q', '-d', $node->connstr($db), '-f', '-' ],
			'<', \$self->{in}, '>', \$self->{out}, '2>&1',
			$self->{timeout} = IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
		$self->run('\pset footer on');
		($self->{pid}) = $self->run('SELECT pg_backend_pid() AS pid;') =~ /(\d+)/;
		return $self;
	}

	sub send
	{
		my ($self, $sql) = @_;

		$self->{end} = 'end of answer ' . ++$number;
		$self->{in} .= "$sql\n\\echo $self->{end} :SQLSTATE\n";
		$self->{run}->pump_nb;
		return;
	}

	# The output as the file shows it: no blanks at the ends of lines, no empty
	# line at the end. The SQLSTATE is kept.
	sub answer
	{
		my ($self) = @_;

		$self->{timeout}->start;
		$self->{run}->pump until $self->{out} =~ /$self->{end} (\S+)\n/;
		my ($out, $state) = ($`, $1);
		$self->{out} = '';
		$self->{sqlstate} = $state;
		$out =~ s/^psql:<stdin>:\d+: //mg;
		$out =~ s/[ \t]+$//mg;
		$out =~ s/\n+\z/\n/;
		return $out;
	}

	sub run
	{
		my ($self, $sql) = @_;

		$self->send($sql);
		return $self->answer;
	}

	# Does it wait for a lock, or in queue.wait()?
	sub waits
	{
		my ($self) = @_;

		return $self->{node}->poll_query_until('postgres',
			"SELECT wait_event_type IN ('Lock', 'Extension')
			   FROM pg_stat_activity WHERE pid = $self->{pid}");
	}

	# Kill the client, and wait for its backend to notice.
	sub kill
	{
		my ($self) = @_;

		$self->{run}->kill_kill;
		$self->{node}->poll_query_until('postgres',
			"SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $self->{pid})")
		  or die 'a killed client leaves its backend behind';
		return;
	}

	sub quit
	{
		my ($self) = @_;

		$self->{in} .= "\\q\n";
		eval { $self->{run}->finish };
		return;
	}
}

1;
