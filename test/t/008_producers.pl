# The promise: producers that are killed at random, in every way there is, and
# that start over from queue.producer_state, lose no sequence and store none
# twice; their messages keep their order in every partition; a fenced one stores
# nothing any more; and whatever they send again comes back as a duplicate, with
# the place of the original, however old and however often pruned.
#
# Eight producers, processes of their own, go on until enough was done to them: read the
# state, sometimes step back a little, and send a few transactions of random
# shape. They remember nothing. Meanwhile their backends are terminated, they are
# killed themselves, they are fenced, their state is pruned, and the server
# crashes. Each message says of which producer, sequence and epoch it is.
#
#   PRODUCER_DEEDS   how much is done to them, 80 by default

use strict;
use warnings;

use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);
use QueueTest;

my $topic = 'sequenced';
my $wanted = $ENV{PRODUCER_DEEDS} || 80;

# Sequences are the numbers 1, 2, 3 ... of a producer's messages, times the step:
# those of monotonic producers have gaps.
my %step = (map({ ("strict-$_" => 1) } 1 .. 5),
	map({ ("monotonic-$_" => 10) } 1 .. 3));
my @names = sort keys %step;

my $node = new_server(
	'producers', q{
restart_after_crash = on
wal_consistency_checking = all
});
my $folder = PostgreSQL::Test::Utils::tempdir();
my $running = "$folder/running";
my $test = $$;
my %pid;		# of the producers that are running

# "answers" holds what producers were told, entered with the messages; "fences"
# where a producer stood when it was fenced.
$node->safe_psql(
	'postgres', qq{
	SELECT queue.create_topic('$topic', partitions => 4, segment_messages => 1000);
	SELECT queue.create_producer('$topic', 'monotonic-' || i, 'monotonic')
	FROM generate_series(1, 3) i;

	CREATE TABLE answers (
		producer text NOT NULL,
		n bigint NOT NULL,
		partition int NOT NULL,
		"offset" bigint NOT NULL,
		duplicate boolean);
	CREATE TABLE fences (
		producer text NOT NULL,
		epoch int NOT NULL,
		last_sequence bigint);

	CREATE FUNCTION message(producer text, n bigint, epoch int) RETURNS jsonb
	LANGUAGE sql AS \$\$
		SELECT jsonb_build_object('producer', producer, 'n', n, 'epoch', epoch,
			'pad', repeat('x', (n % 97)::int))
	\$\$;
	CREATE FUNCTION key_of(n bigint) RETURNS text LANGUAGE sql AS \$\$
		SELECT 'key-' || n % 13 WHERE n % 4 > 0
	\$\$;
	CREATE FUNCTION take_over(name text, terminate boolean) RETURNS int
	LANGUAGE plpgsql AS \$\$
	DECLARE
		new_epoch int := queue.fence_producer('$topic', name, terminate);
	BEGIN
		INSERT INTO fences SELECT name, new_epoch, s.last_sequence
			FROM queue.producer_state('$topic', name) s;
		RETURN new_epoch;
	END \$\$;
	CREATE VIEW stored AS
		SELECT value->>'producer' AS producer, (value->>'n')::bigint AS n,
			(value->>'epoch')::int AS epoch, partition, "offset"
		FROM topic."$topic";
});

# ---- a producer ------------------------------------------------------------

# The ways to send messages FROM to TO of a producer, as SQL. %p: its name,
# step and epoch.

sub send_single
{
	my ($p, $from, $to) = @_;

	return qq{INSERT INTO answers
SELECT '$p->{name}', n, r.partition, r."offset", r.duplicate
FROM generate_series($from, $to) n, queue.produce('$topic',
	message('$p->{name}', n, $p->{epoch}), key_of(n), producer_id => '$p->{name}',
	sequence => n * $p->{step}, epoch => $p->{epoch}) r;
};
}

sub send_batch
{
	my ($p, $from, $to) = @_;
	my $array = sub {
		return "(SELECT array_agg($_[0] ORDER BY n) FROM generate_series($from, $to) n)";
	};
	my $sequences =
	  $p->{step} == 1
	  ? "first_sequence => $from"
	  : 'sequences => ' . $array->("n * $p->{step}");
	my $keys = rand() < 0.7 ? 'keys => ' . $array->('key_of(n)') . ',' : '';

	return "SELECT count(*) FROM queue.produce_batch('$topic', "
	  . $array->("message('$p->{name}', n, $p->{epoch})")
	  . ", $keys producer_id => '$p->{name}', epoch => $p->{epoch},"
	  . qq{ watermark => '{"sent": $to}', $sequences);\n};
}

# The settings that a statement on the topic's view begins with.
sub settings
{
	my ($p, $n) = @_;

	return "SET LOCAL queue.producer_id = '$p->{name}';\n"
	  . "SET LOCAL queue.producer_epoch = $p->{epoch};\n"
	  . 'SET LOCAL queue.first_sequence = '
	  . $n * $p->{step} . ";\n";
}

sub send_insert
{
	my ($p, $from, $to) = @_;

	return settings($p, $from) . qq{WITH new AS (
	INSERT INTO topic."$topic" (key, value)
	SELECT key_of(n), message('$p->{name}', n, $p->{epoch})
	FROM generate_series($from, $to) n
	RETURNING (value->>'n')::bigint AS n, partition, "offset")
INSERT INTO answers SELECT '$p->{name}', n, partition, "offset" FROM new;
};
}

sub send_copy
{
	my ($p, $from, $to) = @_;

	return settings($p, $from)
	  . qq{COPY topic."$topic" (key, value) FROM STDIN;\n}
	  . join('',
		map { 'key-' . $_ % 5
			  . qq{\t{"producer": "$p->{name}", "n": $_, "epoch": $p->{epoch}}\n} }
		  $from .. $to)
	  . "\\.\n";
}

# Messages FROM to TO, in pieces cut at random, each sent in a way of its own.
sub send_range
{
	my ($p, $from, $to) = @_;
	my $sql = '';

	while ($from <= $to)
	{
		my $way = (\&send_single, \&send_batch, \&send_insert, \&send_copy)[rand 4];
		my $last = $from + int rand 12;

		# rows of one statement on the view are numbered without gaps
		$last = $from
		  if $p->{step} > 1 && ($way == \&send_insert || $way == \&send_copy);
		$last = $to if $last > $to;
		$sql .= $way->($p, $from, $last);
		$sql .= 'SELECT pg_sleep(' . rand(0.05) . ");\n" if rand() < 0.7;
		$from = $last + 1;
	}
	return $sql;
}

# A transaction of random shape that begins with message FROM; and the last
# message that is stored when it has ended well.
sub transaction
{
	my ($p, $from) = @_;
	my $middle = $from + int rand 15;
	my $to = $middle + int rand 15;
	my $dice = rand;

	return ($from - 1, "BEGIN;\n" . send_range($p, $from, $to) . "ROLLBACK;\n")
	  if $dice < 0.15;
	return ($to,
			"BEGIN;\n"
		  . send_range($p, $from, $middle)
		  . "SAVEPOINT s;\n"
		  . send_range($p, $middle + 1, $to + int rand 5)
		  . "ROLLBACK TO SAVEPOINT s;\n"
		  . send_range($p, $middle + 1, $to)
		  . "COMMIT;\n")
	  if $dice < 0.4;
	return ($to, send_batch($p, $from, $to)) if $dice < 0.5;
	return ($to, "BEGIN;\n" . send_range($p, $from, $to) . "COMMIT;\n");
}

sub psql
{
	my ($name, @what) = @_;

	return (
		'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-v', 'VERBOSITY=sqlstate',
		'-d', $node->connstr('postgres') . " application_name=$name", @what);
}

# What a process that knows nothing does: ask for the state, then send behind it,
# or from further back. False if the session, or the server, is not there.
sub produce_a_while
{
	my ($name) = @_;
	my %p = (name => $name, step => $step{$name});

	open my $answer, '-|', psql($name, '-F', ' ', '-c',
		"SELECT coalesce(epoch, 0), coalesce(last_sequence, 0)
		FROM queue.producer_state('$topic', '$name')");
	my ($epoch, $last) = split ' ', <$answer> // '';
	return 0 unless close($answer) && defined $last;

	$p{epoch} = $epoch;
	$last /= $p{step};
	$last -= int rand 60 if rand() < 0.4;
	$last = 0 if $last < 0;

	my $sql = '';
	foreach (1 .. 5 + int rand 15)
	{
		($last, my $more) = transaction(\%p, $last + 1);
		$sql .= $more;
	}
	open my $file, '>', "$folder/$name.sql" or return 0;
	print $file $sql;
	close $file;
	return system(psql($name, '-o', '/dev/null', '-f', "$folder/$name.sql")) == 0;
}

# In a process group of its own, so that it can be killed together with psql.
sub start_producer
{
	my ($name) = @_;
	my $pid = fork() // die "fork: $!";

	if ($pid == 0)
	{
		POSIX::setpgid(0, 0);
		srand;
		open STDERR, '>>', "$folder/$name.log";
		while (-e $running && getppid() == $test)
		{
			produce_a_while($name) or sleep 0.05;
		}
		POSIX::_exit(0);
	}
	POSIX::setpgid($pid, $pid);
	$pid{$name} = $pid;
	return;
}

# ---- disturbances ----------------------------------------------------------

# Like safe_psql, but undef if the server is gone just now.
sub ask
{
	my ($ret, $stdout, $stderr) = $node->psql('postgres', $_[0],
		extra_params => [ '-v', 'ON_ERROR_STOP=1' ], timeout => $PostgreSQL::Test::Utils::timeout_default);

	die $stderr if $stderr =~ /ERROR:/;
	return $ret == 0 ? $stdout : undef;
}

my $in_mid_transaction = q{
	SELECT pid FROM pg_stat_activity
	WHERE application_name ~ '^(strict|monotonic)-' AND backend_xid IS NOT NULL
	ORDER BY random() LIMIT 1};
my %deeds = map { $_ => 0 }
  qw(terminate kill_process fence prune pruned kill_backend stop);

# One deed a call; each says whether, or how often, it was done.
my %how = (
	terminate => sub {
		return ask("SELECT count(*) FROM ($in_mid_transaction) victim
			WHERE pg_terminate_backend(pid)");
	},
	kill_process => sub {
		my $name = $names[ rand @names ];

		kill 'KILL', -$pid{$name};
		waitpid $pid{$name}, 0;
		start_producer($name);
		return 1;
	},
	fence => sub {
		my $terminate = rand() < 0.3 ? 'true' : 'false';

		return ask("SELECT count(take_over('$names[rand @names]', $terminate))");
	},
	prune => sub {
		my $rows = ask("SELECT queue.prune_producers('$topic')");

		$deeds{pruned} += $rows // 0;
		return defined $rows;
	},
	# the postmaster starts over
	kill_backend => sub {
		my $pid = ask($in_mid_transaction);

		return $pid && kill_backend($node, $pid);
	},
	stop => sub {
		return 0 unless ask($in_mid_transaction);
		$node->stop('immediate');
		$node->start;
		return 1;
	});

sub do_deed
{
	my ($deed) = @_;
	my $done = $how{$deed}->();

	$deeds{$deed} += $done if $done;
	return $done;
}

END
{
	if ($$ == $test)
	{
		my $status = $?;

		kill 'KILL', map { -$_ } values %pid;
		$? = $status;
	}
}

# The SQLSTATEs that producers were told so far, and how often.
sub errors
{
	my %errors;

	foreach my $file (grep { -e } map { "$folder/$_.log" } @names)
	{
		$errors{$_}++ foreach slurp_file($file) =~ /ERROR:\s+(\w+)/g;
	}
	return %errors;
}

# Was everything reached that the checks below look for?
sub enough
{
	my %errors = errors();

	return 0 if !$errors{QU003} || grep { !$deeds{$_} } qw(terminate kill_process fence prune pruned);
	return (ask(qq{
		SELECT (SELECT count(*) = 8 FROM queue.producers
				 WHERE topic = '$topic' AND accepted > 100 AND duplicates > 0)
		   AND EXISTS (SELECT FROM answers WHERE duplicate)}) // '') eq 't';
}

append_to_file($running, '');
start_producer($_) foreach @names;

my @crashes = ('kill_backend', 'kill_backend', 'stop', 'kill_backend');
my $crashes = @crashes;
my $done = 0;
my $latest = time() + $PostgreSQL::Test::Utils::timeout_default;
while ($done < $wanted || @crashes || !enough())
{
	my $due = $crashes + 1 - @crashes;
	my $dice = rand;
	my $deed =
	    @crashes && $done >= $wanted * $due / ($crashes + 1) ? $crashes[0]
	  : $dice < 0.6 ? 'terminate'
	  : $dice < 0.75 ? 'kill_process'
	  : $dice < 0.9 ? 'fence'
	  : 'prune';

	sleep 0.02 + rand 0.2;
	die "$deed: the producers are never at work" if time() > $latest;
	next unless do_deed($deed);
	$latest = time() + $PostgreSQL::Test::Utils::timeout_default;
	$done++;
	shift @crashes if @crashes && $deed eq $crashes[0];
}

unlink $running;
foreach my $name (@names)
{
	my $ended = patiently(sub { waitpid $pid{$name}, POSIX::WNOHANG() });

	is($ended ? $? : 'running', 0, "$name came to its end");
	delete $pid{$name} if $ended;
}
wait_for_server($node) or die 'the server does not come back';
$node->poll_query_until('postgres', "SELECT NOT EXISTS ($in_mid_transaction)")
  or die 'a transaction remains';

# ---- what happened, so that the checks mean something ----------------------

note(join ', ', map { "$_: $deeds{$_}" } sort keys %deeds);
my %errors = errors();
note(join ', ', map { "$_: $errors{$_}" } sort keys %errors);

cmp_ok($deeds{$_}, '>', 0, "done: $_")
  foreach qw(terminate kill_process fence prune pruned);
is($deeds{kill_backend}, 3, 'done: kill_backend');
is($deeds{stop}, 1, 'done: stop');
is(times_crashed($node), 3, 'the server started over after each killed backend');

# Fenced producers are told so; nothing else goes wrong for them.
cmp_ok(delete $errors{QU003} // 0, '>', 0, 'producers were refused that had been fenced');
is(join(', ', sort keys %errors), '', 'and no other error came up');

is( $node->safe_psql(
		'postgres', qq{SELECT count(*) FROM queue.producers
			WHERE topic = '$topic' AND accepted > 100 AND duplicates > 0}),
	8, 'every producer has stored messages, and sent some again');

# ---- the checks ------------------------------------------------------------

sub check_stored
{
	my ($when) = @_;

	check_log($node, $topic, $when);
	none($node, "$when: no sequence is missing or stored twice",
		q{SELECT FROM (SELECT FROM stored GROUP BY producer
			HAVING min(n) <> 1 OR max(n) <> count(*)
				OR count(DISTINCT n) <> count(*)) x});
	none($node, "$when: in a partition, a producer's messages are in order",
		q{SELECT FROM (SELECT n, lag(n) OVER (PARTITION BY partition, producer
				ORDER BY "offset") AS before FROM stored) x
			WHERE n <= before});
	none($node, "$when: producer_state and queue.producers know the last message",
		qq{SELECT FROM unnest(string_to_array('@names', ' ')) WITH ORDINALITY p (name, i)
			JOIN unnest('{@{[join ',', @step{@names}]}}'::int[])
				WITH ORDINALITY s (step, i) USING (i)
			LEFT JOIN (SELECT DISTINCT ON (producer) * FROM stored
				ORDER BY producer, n DESC) m ON m.producer = p.name
			LEFT JOIN queue.producers v
				ON v.topic = '$topic' AND v.producer_id = p.name,
			queue.producer_state('$topic', p.name) q
			WHERE (q.last_sequence, q.partition, q."offset",
					v.last_sequence, v.partition, v."offset", v.accepted, v.epoch)
				IS DISTINCT FROM (m.n * s.step, m.partition, m."offset",
					m.n * s.step, m.partition, m."offset", m.n, q.epoch)});
	return;
}

check_stored('after the load');
my $digest = digest($node, 'postgres', $topic);
note("messages: $digest");
my $answers = $node->safe_psql('postgres',
	'SELECT count(*) FILTER (WHERE duplicate), count(*) FROM answers');
note("answers that say duplicate, all: $answers");
cmp_ok((split /\|/, $answers)[0], '>', 0, 'producers were told of duplicates');
none($node, 'every message lies where its producers were told, at first and again',
	'SELECT FROM answers a LEFT JOIN stored m USING (producer, n, partition, "offset")
	WHERE m.producer IS NULL');
none($node, 'none was new to two of them',
	'SELECT FROM (SELECT FROM answers WHERE NOT duplicate
		GROUP BY producer, n HAVING count(*) > 1) x');
none($node, 'a fence ends what its producer stores under older epochs',
	q{SELECT FROM fences f JOIN stored m USING (producer)
		WHERE (m.epoch < f.epoch) <> (m.n * CASE WHEN producer ~ 'strict'
			THEN 1 ELSE 10 END <= coalesce(f.last_sequence, 0))});
none($node, 'the watermark is one that was sent',
	qq{SELECT FROM queue.producers v,
		queue.producer_state('$topic', v.producer_id) q
		WHERE (q.watermark->>'sent')::bigint NOT BETWEEN 1 AND v.accepted});

# Every message again, in any order: the first time one by one, then in batches
# cut at random, before and behind pruning that leaves little to prune.
$node->safe_psql(
	'postgres', qq{
	CREATE TABLE original AS
		SELECT m.*, m.n * CASE WHEN m.producer ~ 'strict' THEN 1 ELSE 10 END AS sequence,
			p.epoch AS epoch_now
		FROM stored m JOIN queue.producers p
			ON p.topic = '$topic' AND p.producer_id = m.producer;
	CREATE TABLE again AS
		SELECT m.*, (queue.produce('$topic', 'null'::jsonb, 'another key',
			producer_id => producer, sequence => sequence, epoch => epoch_now)).*
		FROM (SELECT producer, n, sequence, epoch_now FROM original
			ORDER BY random() OFFSET 0) m});
none($node, 'every message sent again is a duplicate, with the place of the original',
	'SELECT FROM original m LEFT JOIN again a USING (producer, n)
	WHERE (a.duplicate, a.partition, a."offset")
		IS DISTINCT FROM (true, m.partition, m."offset")');

cmp_ok($node->safe_psql('postgres', "SELECT queue.prune_producers('$topic')"),
	'>', 0, 'there was something to prune');
cmp_ok(
	$node->safe_psql(
		'postgres', qq{
		SELECT (SELECT count(*) FROM queue.producer_batch)
			+ (SELECT count(*) FROM queue.producer_history)}),
	'<', 1000, 'and little remains');
$node->safe_psql(
	'postgres', qq{
	CREATE TABLE batches AS
		SELECT producer, piece, array_agg(sequence ORDER BY n) AS sequences, epoch_now
		FROM (SELECT *, sum(cut) OVER (PARTITION BY producer ORDER BY n) AS piece
			FROM (SELECT *, (random() < 0.02)::int AS cut FROM original) x) y
		GROUP BY producer, piece, epoch_now;
	CREATE TABLE batches_again AS
		SELECT b.producer, b.piece, r.*
		FROM batches b, queue.produce_batch('$topic',
			array_fill('null'::jsonb, ARRAY[cardinality(sequences)]),
			producer_id => producer, sequences => sequences, epoch => epoch_now) r});
none($node, 'in batches cut differently, too',
	q{SELECT FROM (SELECT b.producer, b.piece, m.partition, min(m."offset") AS first_offset,
			max(m."offset") AS last_offset, 0::bigint AS count, count(*) AS duplicates
		FROM batches b JOIN original m
			ON m.producer = b.producer AND m.sequence = ANY (b.sequences)
		GROUP BY 1, 2, 3) x
	NATURAL FULL JOIN batches_again r
	WHERE x.producer IS NULL OR r.producer IS NULL
		OR x.first_offset IS NULL OR r.first_offset IS NULL});
is(digest($node, 'postgres', $topic), $digest, 'nothing was added to the topic');
check_stored('after all was sent again');

$node->stop;
done_testing();
