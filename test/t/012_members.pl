# The promise: members that are killed at random, in every way there is, that fall
# silent for longer than their leases and come back, under their old names or
# others, deal with every message at least once, in order; what was committed
# never comes again; a commit counts only from the member that has the messages in
# hand. And no partition stays behind as long as any member polls.
#
# Seven members, processes of their own, poll, enter in a ledger what they got, in
# a transaction of its own, take their time, and commit. They remember nothing.
# Meanwhile they are killed, stopped and woken, their backends are terminated,
# and the server crashes. A producer goes on all the time.
#
#   MEMBER_DEEDS   how much is done to them, 60 by default

use strict;
use warnings;

use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);
use QueueTest;

my $wanted = $ENV{MEMBER_DEEDS} || 60;

# Three keep their names; two have another with each start; two have the same.
my @seats = (map({ "static-$_" } 1 .. 3), 'guest-1', 'guest-2', 'twin-1', 'twin-2');

my $node = new_server('members', "restart_after_crash = on\n");
my $folder = PostgreSQL::Test::Utils::tempdir();
my %running = map { $_ => "$folder/running-$_" } qw(members producer);
my $test = $$;
my %pid;		# of the processes that are running

# A lease is some times as long as it takes to start a client and ask, so that on a
# slow machine members get something done within it.
my $begin = time();
$node->safe_psql('postgres', 'SELECT 1') foreach 1 .. 10;
my $lease = time() - $begin;
$lease = 0.4 if $lease < 0.4;
note("lease: $lease s");

# "delivered" holds what members got, "committed" what commit_offset said yes to,
# entered with it, "refused" what it said QU004 to. generation: of the row of
# queue.progress that a commit wrote.
$node->safe_psql(
	'postgres', q{
	SELECT queue.create_topic('jobs', partitions => 8, segment_messages => 1000);
	SELECT queue.create_group('work', 'jobs');

	CREATE TABLE delivered (
		id bigserial,
		member text NOT NULL,
		backend int NOT NULL DEFAULT pg_backend_pid(),
		partition int NOT NULL,
		"offset" bigint NOT NULL,
		epoch bigint NOT NULL);
	CREATE TABLE committed (
		member text NOT NULL,
		partition int NOT NULL,
		next_offset bigint NOT NULL,
		epoch bigint NOT NULL,
		generation bigint NOT NULL);
	CREATE TABLE refused (LIKE committed);
	ALTER TABLE refused DROP COLUMN generation;

	CREATE FUNCTION enter(hand jsonb, member text) RETURNS bigint
	LANGUAGE sql AS $$
		WITH new AS (
			INSERT INTO delivered (member, partition, "offset", epoch)
			SELECT enter.member, (m->>'partition')::int, (m->>'offset')::bigint,
				(m->>'epoch')::bigint
			FROM jsonb_array_elements(hand) WITH ORDINALITY a (m, i) ORDER BY i
			RETURNING 1)
		SELECT count(*) FROM new
	$$;

	-- Commit the first messages in hand of each partition: this part of them.
	CREATE FUNCTION settle(hand jsonb, member text, part float8) RETURNS void
	LANGUAGE plpgsql AS $$
	#variable_conflict use_column
	DECLARE
		p record;
	BEGIN
		FOR p IN
			SELECT partition, epoch,
				(array_agg("offset" ORDER BY "offset"))[ceil(count(*) * part)] + 1 AS next
			FROM jsonb_to_recordset(hand) m (partition int, "offset" bigint, epoch bigint)
			GROUP BY partition, epoch ORDER BY partition
		LOOP
			BEGIN
				PERFORM queue.commit_offset('work', 'jobs', p.partition, p.next,
					settle.member, p.epoch);
				INSERT INTO committed
					SELECT settle.member, p.partition, p.next, p.epoch, max(generation)
					FROM queue.progress WHERE partition = p.partition;
			EXCEPTION WHEN SQLSTATE 'QU004' THEN
				INSERT INTO refused VALUES (settle.member, p.partition, p.next, p.epoch);
			END;
		END LOOP;
	END $$;
});

# ---- processes -------------------------------------------------------------

sub psql
{
	my ($name, $file) = @_;

	return system(
		'psql', '-XqAt', '-v', 'VERBOSITY=sqlstate', '-o', '/dev/null', '-d',
		$node->connstr('postgres') . " application_name=$name", '-f', $file) == 0;
}

sub write_file
{
	my ($file, $text) = @_;

	open my $handle, '>', $file or die "$file: $!";
	print $handle $text;
	close $handle;
	return $file;
}

# One round of a member. A poll that is not rolled back is a transaction of its
# own, and changes nothing else.
sub round
{
	my ($name) = @_;
	my $call = rand() < 0.2 ? "poll_topics('work', ARRAY['jobs']" : "poll('work', 'jobs'";
	my $messages = int rand 60;
	my $wait = rand() < 0.2 ? ", max_wait => '300 ms'" : '';
	my $part = rand() < 0.8 ? 1 : rand;
	my $calm = !-e $running{producer};
	my $busy = $calm ? rand 0.1 : rand() < 0.1 ? 2 * $lease : rand(0.3) * $lease;
	my $poll = qq{\\set hand []
SELECT coalesce(jsonb_agg(m), '[]') AS hand FROM queue.$call, '$name',
	$messages, lease => '$lease s'$wait) m \\gset
};
	my $dice = rand;

	return "BEGIN;\n${poll}ROLLBACK;\n" if $dice < 0.05;
	return "SELECT queue.leave('work', 'jobs', '$name');\n"
	  if $dice < 0.07 && !$calm;

	my $round = $poll . "SELECT enter(:'hand', '$name');\nSELECT pg_sleep($busy);\n";
	$round .= "SELECT count(*) FROM queue.poll('work', 'jobs', '$name', 0, '$lease s');\n"
	  if rand() < 0.2;

	# sometimes it does not get to it, or takes it back
	return $round if $dice < 0.15;
	return $round . "BEGIN;\nSELECT settle(:'hand', '$name', 1);\nROLLBACK;\n"
	  if $dice < 0.2;
	return $round
	  . "BEGIN;\nSELECT settle(:'hand', '$name', $part);\nSELECT pg_sleep($busy);\nCOMMIT;\n"
	  if $dice < 0.4;
	return $round . "SELECT settle(:'hand', '$name', $part);\n";
}

sub work_a_while
{
	my ($seat, $name) = @_;

	return psql($name, write_file("$folder/$seat.sql",
		join '', map { round($name) } 1 .. 20));
}

sub produce_a_while
{
	my $sql = '';

	# no faster than members can deal with it
	my ($ret, $few) = $node->psql('postgres',
		'SELECT coalesce(sum(lag), 0) < 2000 FROM queue.consumer_groups');
	return 0 if $ret != 0 || $few ne 't';

	foreach (1 .. 20)
	{
		my $count = 1 + int rand 40;
		my $array = sub { "(SELECT array_agg($_[0]) FROM generate_series(1, $count) i)" };

		$sql .= "BEGIN;\nSELECT sum(count) FROM queue.produce_batch('jobs', "
		  . $array->('to_jsonb(i)') . ', '
		  . $array->(q{(random() * 100)::int::text}) . ");\n"
		  . 'SELECT pg_sleep(' . rand(0.05) . ");\n"
		  . (rand() < 0.2 ? 'ROLLBACK' : 'COMMIT') . ";\n";
	}
	return psql('producer', write_file("$folder/producer.sql", $sql));
}

# In a process group of its own, so that it can be killed together with psql.
sub start_process
{
	my ($seat) = @_;
	my $file = $running{ $seat eq 'producer' ? 'producer' : 'members' };
	my $pid = fork() // die "fork: $!";

	if ($pid == 0)
	{
		my $name =
		    $seat =~ /guest/ ? "$seat-$$"
		  : $seat =~ /twin/ ? 'twin'
		  : $seat;

		POSIX::setpgid(0, 0);
		srand;
		open STDERR, '>>', "$folder/$seat.log";
		while (-e $file && getppid() == $test)
		{
			($seat eq 'producer' ? produce_a_while() : work_a_while($seat, $name))
			  or sleep 0.05;
		}
		POSIX::_exit(0);
	}
	POSIX::setpgid($pid, $pid);
	$pid{$seat} = $pid;
	return;
}

sub end_process
{
	my ($seat) = @_;
	my $ended = patiently(sub { waitpid $pid{$seat}, POSIX::WNOHANG() });

	is($ended ? $? : 'running', 0, "$seat came to its end");
	delete $pid{$seat} if $ended;
	return;
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

# ---- disturbances ----------------------------------------------------------

my %deeds = map { $_ => 0 } qw(terminate kill_process silence stop);
my %how = (
	terminate => sub {
		return $node->safe_psql(
			'postgres', q{
			SELECT count(pg_terminate_backend(pid)) FROM (
				SELECT pid FROM pg_stat_activity
				WHERE application_name ~ '^(static|guest|twin)'
				ORDER BY random() LIMIT 1) victim});
	},
	kill_process => sub {
		my $seat = $seats[ rand @seats ];

		kill 'KILL', -$pid{$seat};
		waitpid $pid{$seat}, 0;
		sleep rand 3 * $lease;
		start_process($seat);
		return 1;
	},
	# longer than a lease and a half
	silence => sub {
		my $seat = $seats[ rand @seats ];

		kill 'STOP', -$pid{$seat};
		sleep $lease + rand 2 * $lease;
		kill 'CONT', -$pid{$seat};
		return 1;
	},
	stop => sub {
		$node->stop('immediate');
		$node->start;
		return 1;
	});

foreach my $file (values %running)
{
	append_to_file($file, '');
}
start_process($_) foreach 'producer', @seats;

# What happened, so that the checks mean something: refused, committed, duplicates,
# members, messages.
my $counts = q{
	SELECT (SELECT count(*) FROM refused), (SELECT count(*) FROM committed),
		(SELECT count(*) - count(DISTINCT (partition, "offset")) FROM delivered),
		(SELECT count(DISTINCT member) FROM committed),
		(SELECT count(*) FROM topic.jobs)};

sub enough
{
	my ($refused, $committed, $duplicates, $members, $messages) = split /\|/,
	  $node->safe_psql('postgres', $counts);

	return $refused > 0 && $duplicates > 0 && $members > 6 && $messages > 1000
	  && !grep { !$deeds{$_} } keys %deeds;
}

my $done = 0;
while ($done < $wanted || !enough())
{
	my $dice = rand;
	my $deed =
	    $deeds{stop} == 0 && $done > $wanted / 2 ? 'stop'
	  : $dice < 0.4 ? 'terminate'
	  : $dice < 0.7 ? 'kill_process'
	  : 'silence';

	sleep rand 0.5;
	$deeds{$deed} += $how{$deed}->();
	$done++;
}
note(join ', ', map { "$_: $deeds{$_}" } sort keys %deeds);

# ---- the end: nothing stays behind while members live ----------------------

unlink $running{producer};
end_process('producer');
ok( $node->poll_query_until(
		'postgres', q{
		SELECT count(*) = 0
		FROM topic.jobs m JOIN queue.consumer_groups g USING (partition)
		WHERE m."offset" >= g.current_offset}),
	'everything was dealt with while all members live');
unlink $running{members};
end_process($_) foreach @seats;

# ---- the checks ------------------------------------------------------------

my $log = join '', map { slurp_file("$folder/$_.log") } grep { -e "$folder/$_.log" } @seats, 'producer';
my %errors;
$errors{$_}++ foreach $log =~ /ERROR:\s+(\w+)/g;
is(join(', ', map { "$_: $errors{$_}" } sort keys %errors), '', 'no error came up');

note('refused, committed, duplicates, members, messages: '
	  . $node->safe_psql('postgres', $counts));

check_log($node, 'jobs', 'after the load');
$node->safe_psql(
	'postgres', q{
	CREATE VIEW handed AS
		SELECT partition, generation, member, epoch, committed_offset
		FROM queue.progress WHERE action = 'h';
	CREATE VIEW moves AS
		SELECT *, lag(next_offset, 1, 0::bigint) OVER (
			PARTITION BY partition ORDER BY generation) AS from_offset
		FROM committed});

none($node, 'every message was delivered',
	q{SELECT FROM topic.jobs m LEFT JOIN delivered d USING (partition, "offset")
		WHERE d.id IS NULL});
none($node, 'and nothing else',
	q{SELECT FROM delivered d LEFT JOIN topic.jobs m USING (partition, "offset")
		WHERE m.partition IS NULL});
none($node, 'every message was committed',
	q{SELECT FROM topic.jobs m WHERE NOT EXISTS (SELECT FROM moves c
		WHERE c.partition = m.partition
			AND m."offset" >= c.from_offset AND m."offset" < c.next_offset)});
none($node, 'by a member that had been handed it before, by the same epoch',
	q{SELECT FROM moves c JOIN topic.jobs m ON m.partition = c.partition
			AND m."offset" >= c.from_offset AND m."offset" < c.next_offset
		WHERE NOT EXISTS (SELECT FROM delivered d WHERE d.partition = m.partition
			AND d."offset" = m."offset" AND d.epoch = c.epoch AND d.member = c.member)});
none($node, 'offsets move forward only',
	'SELECT FROM moves WHERE next_offset < from_offset');
none($node, 'what was committed is not delivered by a later poll',
	q{SELECT FROM delivered d JOIN committed c USING (partition)
		WHERE d.epoch > c.epoch AND d."offset" < c.next_offset});
none($node, 'a commit counts only from the member that was handed the messages last',
	q{SELECT FROM committed c JOIN LATERAL (
			SELECT * FROM handed h
			WHERE h.partition = c.partition AND h.generation < c.generation
			ORDER BY h.generation DESC LIMIT 1) h ON true
		WHERE (h.member, h.epoch) IS DISTINCT FROM (c.member, c.epoch)});
none($node, 'an epoch is given once',
	q{SELECT FROM (SELECT FROM delivered GROUP BY partition, epoch
		HAVING count(DISTINCT (member, backend)) > 1
			OR count(*) > count(DISTINCT "offset")) x});
none($node, 'a batch begins where the group is, leaves out nothing and is in order',
	q{SELECT FROM (SELECT partition, epoch, max("offset") AS last, count(*) AS n,
			bool_and("offset" > before) AS ascending
		FROM (SELECT *, lag("offset", 1, -1::bigint) OVER (
				PARTITION BY partition, epoch ORDER BY id) AS before
			FROM delivered) x
		GROUP BY partition, epoch) d
	LEFT JOIN handed h USING (partition, epoch)
	WHERE NOT ascending OR n IS DISTINCT FROM (SELECT count(*) FROM topic.jobs m
		WHERE m.partition = d.partition
			AND m."offset" BETWEEN h.committed_offset AND d.last)});
none($node, 'the history has the same moves',
	q{SELECT FROM committed c FULL JOIN (SELECT * FROM queue.offset_history
			WHERE action = 'committed') h USING (partition, generation)
		WHERE (c.next_offset, c.member) IS DISTINCT FROM (h.to_offset, h.member)});

$node->stop;
done_testing();
