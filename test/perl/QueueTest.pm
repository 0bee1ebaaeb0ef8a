# What the TAP tests share: servers with the extension, a load of producers and
# consumers that keeps a ledger of everything it does, and the check that the
# ledger and the log agree.
#
# The ledger is two tables, written in the transactions that produce and consume:
#
#   produced   one row a message: producer, running number, and, for messages
#              produced one by one, the partition and offset that were returned
#   consumed   one row a message received, in the order received (id)
#
# So after any mixture of rollbacks, kills and crashes, "nothing lost, nothing
# twice" says: the log, produced and consumed hold the same messages.

package QueueTest;

use strict;
use warnings;

use Exporter 'import';
use File::Basename;
use File::Path;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(
  new_server wait_for_server kill_server kill_backend times_crashed patiently
  open_session create_ledger start_load start_pgbench load_until forever is_running
  finish_load transactions_done
  drain none segment_of check_ledger check_log check_retained digest sqlstate
  copy_server build_library replace_file
);

# The Makefile sets it for the other suites; a pooler refuses it.
delete $ENV{PGOPTIONS};

# Settings that every server here gets, before the test's own.
my $SETTINGS = q{
log_statement = none
max_connections = 60
max_worker_processes = 16
max_prepared_transactions = 10
queue.autocommit_warning = off
};

# new_server(NAME, CONF, PARAM => ...): initialised, started, and with the
# extension in database postgres. CONF is text for postgresql.conf, install_path
# is where the server lies, if elsewhere; the rest goes to init().
sub new_server
{
	my ($name, $conf, %params) = @_;
	my $path = delete $params{install_path};
	my $node = PostgreSQL::Test::Cluster->new($name,
		defined $path ? (install_path => $path) : ());

	$node->init(extra => [ '--no-locale', '--encoding=UTF8' ], %params);
	$node->append_conf('postgresql.conf', $SETTINGS . ($conf // ''));
	$node->start;
	$node->safe_psql('postgres', 'CREATE EXTENSION queue');
	return $node;
}

# copy_server(FOLDER, PG_CONFIG): a copy of a server's installation, to be changed
# at will; the server finds its files relative to its own binary. PG_CONFIG:
# default the one in the path. Returns a hash of the copy's folders: install_path,
# for new_server(), bindir, pkglibdir, extension.
sub copy_server
{
	my ($folder, $pg_config) = @_;

	$pg_config //= 'pg_config';
	my %from = map { chomp(my $path = `$pg_config --$_`); $_ => $path }
	  qw(bindir pkglibdir sharedir);
	my $common = "$from{bindir}/";
	my %to;

	while (grep { index("$_/", $common) != 0 } values %from)
	{
		$common = dirname($common);
		$common .= '/' unless $common =~ m{/$};
	}
	while (my ($name, $path) = each %from)
	{
		$to{$name} = "$folder/" . substr("$path/", length $common);
		$to{$name} =~ s{/$}{};
		mkpath(dirname($to{$name}));
		system('cp', '-r', $path, $to{$name}) == 0 or die "cannot copy $path";
	}
	return (
		%to,
		install_path => dirname($to{bindir}),
		extension => "$to{sharedir}/extension");
}

# build_library(FOLDER, OPTION...): build the sources once more, below FOLDER.
# OPTIONs go to the compiler, but one that names a pg_config, PG_CONFIG=path, says
# for which server. Returns the library's path.
sub build_library
{
	my ($folder, @options) = @_;
	my ($pg_config) = grep { /^PG_CONFIG=/ } @options;
	local $ENV{COPT} = join ' ', grep { defined && !/^PG_CONFIG=/ } $ENV{COPT}, @options;
	delete local @ENV{qw(MAKEFLAGS MAKELEVEL MFLAGS)};

	$pg_config //= 'PG_CONFIG=pg_config';
	mkpath($folder);
	system("cp -r Makefile queue.control *.sql src '$folder/' && find '$folder/src' -name '*.o' -delete")
	  == 0 or die 'cannot copy the sources';
	system("make -s -C '$folder' with_llvm=no '$pg_config' all >'$folder/make.log' 2>&1")
	  == 0 or die slurp_file("$folder/make.log");
	return "$folder/queue.so";
}

# Put a file in the place of another one, which stays what it is for processes
# that have opened it, as package managers do.
sub replace_file
{
	my ($from, $to) = @_;

	system('cp', $from, "$to.new") == 0 or die "cannot copy $from";
	rename "$to.new", $to or die "$to: $!";
	return;
}

# Call a function until it returns something true, which is returned; false if it
# has not within the time that PostgreSQL's tests allow for everything
# (PG_TEST_TIMEOUT_DEFAULT).
sub patiently
{
	my ($what, $pause) = @_;
	my $latest = time + $PostgreSQL::Test::Utils::timeout_default;

	for (;;)
	{
		my $answer = $what->();

		return $answer if $answer || time > $latest;
		select(undef, undef, undef, $pause // 0.1);
	}
}

# Wait until a server that recovers from a crash answers; false if it does not.
# poll_query_until() will not do: it writes the query to a psql that may have
# gone away already, and dies of that.
sub wait_for_server
{
	my ($node) = @_;

	return patiently(
		sub {
			my ($out, $err);

			return IPC::Run::run(
				[
					'psql', '-XAtq', '-c', 'SELECT true', '-d',
					$node->connstr('postgres')
				],
				'<', \undef, '>', \$out, '2>', \$err);
		});
}

# A psql that stays open (PostgreSQL::Test::BackgroundPsql), whose time limit is one
# for each query: the default is one for its whole life. dbname: default postgres.
sub open_session
{
	my ($node, %params) = @_;
	my $dbname = delete $params{dbname} // 'postgres';
	my $session = $node->background_psql($dbname, %params);

	$session->set_query_timer_restart;
	return $session;
}

# How often the postmaster has started over.
sub times_crashed
{
	my ($node) = @_;

	return scalar(() = slurp_file($node->logfile) =~ /all server processes terminated/g);
}

# Kill a backend by signal 9, and wait until the server has started over. Returns
# false if the backend was gone before.
sub kill_backend
{
	my ($node, $pid) = @_;
	my $before = times_crashed($node);
	my $stopped = sub {
		my $state = `ps -o stat= -p $pid`;

		return $state =~ /^T/ ? 1 : $state =~ /^[^Z]/ ? 0 : -1;
	};

	# a process that is at its end already would be no crash
	return 0 unless kill 'STOP', $pid;
	return 0 unless patiently($stopped, 0.01) == 1;
	kill 'KILL', $pid;
	patiently(sub { times_crashed($node) > $before })
	  or die 'the server does not notice that a backend was killed';
	wait_for_server($node) or die 'the server does not come back';
	return 1;
}

# Kill the server by signal 9: every process of it, so that none does anything
# after another one's death. Returns when they are dead. The lock files go, or the
# next start would wait until the postmaster is also buried.
sub kill_server
{
	my ($node) = @_;
	my @locks = (
		$node->data_dir . '/postmaster.pid',
		$node->host . '/.s.PGSQL.' . $node->port . '.lock');
	my ($postmaster) = slurp_file($locks[0]) =~ /^(\d+)/;

	kill 'STOP', $postmaster;	# it shall not notice
	my @children = split ' ', `ps -o pid= --ppid $postmaster`;
	kill 'KILL', @children;
	$node->kill9;
	my $pids = join ',', $postmaster, @children;
	select(undef, undef, undef, 0.01) while `ps -o stat= -p $pids` =~ /^[^Z]/m;
	unlink(@locks) == @locks or die "@locks: $!";
	return;
}

# The ledger's tables, and one topic for the load with its consumer group.
# Options are those of queue.create_topic, as SQL.
sub create_ledger
{
	my ($node, $topic, $options) = @_;

	$options = defined $options ? ", $options" : '';
	$node->safe_psql(
		'postgres', qq{
		SELECT queue.create_topic('$topic'$options);
		SELECT queue.create_group('ledger', '$topic');
		CREATE TABLE produced (
			producer int NOT NULL,
			seq bigint NOT NULL,
			partition int,
			"offset" bigint,
			backend int NOT NULL DEFAULT pg_backend_pid());
		CREATE TABLE consumed (
			id bigserial,
			partition int NOT NULL,
			"offset" bigint NOT NULL,
			producer int NOT NULL,
			seq bigint NOT NULL,
			backend int NOT NULL DEFAULT pg_backend_pid());
	});
	return;
}

# One message of the load, as an expression: the producer, its number :seq + N,
# and padding, so that messages differ in size and some are toasted.
sub message
{
	my ($n) = @_;

	return "jsonb_build_object('producer', :id::int, 'seq', :seq::bigint + $n,"
	  . " 'pad', repeat(md5((:seq::bigint + $n)::text), :size))";
}

# A statement that produces message :seq + N and enters it in the ledger.
sub produce_one
{
	my ($topic, $n, $key) = @_;

	return qq{INSERT INTO produced (producer, seq, partition, "offset")
  SELECT :id::int, :seq::bigint + $n, r.partition, r."offset"
  FROM queue.produce('$topic', } . message($n) . qq{, key => $key) r;
};
}

# The pgbench scripts of the producers. Variables keep their value from one
# transaction to the next, so :seq counts on; numbers of a rolled-back
# transaction are left out for good. The casts are for -M extended.
sub producer_scripts
{
	my ($topic) = @_;
	my $key = q{'key-' || :key};
	my $begin = q{\set id :base + :client_id
\set key random(1, 20)
\set dice random(1, 100)
\set size random(0, 20)
\set size case when :dice > 97 then 400 else :size end
BEGIN;
};
	my $end = q{\if :dice % 5 = 0
ROLLBACK;
\else
COMMIT;
\endif
};

	my $batch = qq{
SELECT sum(count) FROM queue.produce_batch('$topic',
  (SELECT array_agg(} . message('i') . qq{ ORDER BY i) FROM generate_series(1, 30) i)};
	my $keys = q{,
  keys => (SELECT array_agg('key-' || i % 7 ORDER BY i) FROM generate_series(1, 30) i)};
	my $enter = q{INSERT INTO produced (producer, seq)
  SELECT :id::int, :seq::bigint + i FROM generate_series(1, 30) i;
};

	return (
		single => $begin
		  . produce_one($topic, 1, $key)
		  . q{\set seq :seq + 1
} . $end,

		# the topic's view
		insert => $begin . qq{WITH new AS (
  INSERT INTO topic."$topic" (key, value) VALUES ($key, } . message(1) . qq{)
  RETURNING partition, "offset")
INSERT INTO produced (producer, seq, partition, "offset")
  SELECT :id::int, :seq::bigint + 1, partition, "offset" FROM new;
\\set seq :seq + 1
} . $end,

		savepoint => $begin
		  . produce_one($topic, 1, $key)
		  . "SAVEPOINT s;\n"
		  . produce_one($topic, 2, $key)
		  . q{\if :dice % 2 = 0
ROLLBACK TO SAVEPOINT s;
\else
RELEASE SAVEPOINT s;
\endif
} . produce_one($topic, 3, 'NULL') . q{\set seq :seq + 3
} . $end,

		keyed_batch => $begin . "$batch$keys);\n$enter" . q{\set seq :seq + 30
} . $end,

		batch => $begin . "$batch);\n$enter" . q{\set seq :seq + 30
} . $end,
	);
}

# A consumer's transaction: a batch into the ledger, sometimes two, sometimes
# behind a savepoint, sometimes given back.
sub consumer_scripts
{
	my ($topic) = @_;
	my $consume = qq{INSERT INTO consumed (partition, "offset", producer, seq)
  SELECT m.partition, m."offset", (m.value->>'producer')::int, (m.value->>'seq')::bigint
  FROM queue.consume('ledger', '$topic', max_messages => :batch) m;
};

	return (
		consume => qq{\\set dice random(1, 100)
\\set batch random(1, 200)
BEGIN;
$consume\\if :dice % 4 = 0
SAVEPOINT s;
$consume\\if :dice % 8 = 0
ROLLBACK TO SAVEPOINT s;
\\endif
\\endif
\\if :dice % 5 = 0
ROLLBACK;
\\else
COMMIT;
\\endif
});
}

# start_load(NODE, TOPIC, KIND, CLIENTS, OPTION...): start pgbench with CLIENTS
# producers or consumers (KIND) and return its handle for finish_load. OPTIONs go
# to pgbench, among them how long: -t transactions; or forever() of a load that is
# going to be cut off.
# Producers of all loads are numbered in the order in which they were started.
my $producers = 0;

sub start_load
{
	my ($node, $topic, $kind, $clients, @options) = @_;
	my %scripts =
	  $kind eq 'producer' ? producer_scripts($topic) : consumer_scripts($topic);

	if ($kind eq 'producer')
	{
		push @options, '-D', "base=$producers";
		$producers += $clients;
	}
	return start_pgbench($node, $kind, \%scripts, '-c', $clients, '-D', 'seq=0', @options);
}

# start_pgbench(NODE, KIND, SCRIPTS, OPTION...): the same with other scripts,
# name => text. KIND: the application's name.
sub start_pgbench
{
	my ($node, $kind, $scripts, @options) = @_;
	my $folder = PostgreSQL::Test::Utils::tempdir();
	my @files;

	foreach my $name (sort keys %$scripts)
	{
		append_to_file("$folder/$name.sql", $scripts->{$name});
		push @files, '-f', "$folder/$name.sql";
	}

	my %load = (kind => $kind, out => '');
	my $out = \$load{out};
	local $ENV{PGAPPNAME} = $kind;
	$load{run} = IPC::Run::start(
		[
			'pgbench', '--no-vacuum', '-h', $node->host, '-p', $node->port,
			@options, @files, 'postgres'
		],
		'<', \undef, '>', $out, '2>', $out);
	return \%load;
}

# pgbench's options for a load that ends when the server does.
sub forever
{
	return ('-T', 10 * $PostgreSQL::Test::Utils::timeout_default);
}

# Is a load still going on?
sub is_running
{
	my ($load) = @_;

	$load->{run}->pump_nb if $load->{run}->pumpable;
	return $load->{run}->pumpable;
}

# Wait for the end of a load. Returns whether all its clients ended well.
sub finish_load
{
	my ($load) = @_;

	$load->{run}->finish;
	my $ok = $load->{run}->result(0) == 0
	  && $load->{out} =~ /number of failed transactions: 0 /;
	note("$load->{kind}: $load->{out}");
	return $ok;
}

# How many transactions a finished load has done.
sub transactions_done
{
	my ($load) = @_;

	return $load->{out} =~ /actually processed: (\d+)/ ? $1 : 0;
}

# load_until(NODE, TOPIC, CONDITION, [KIND, CLIENTS, OPTION...]...): let loads go on
# until a function says that enough is reached, however long that takes. Each is
# started with the same number of transactions (-t), again and again.
# Returns the loads that failed, or ended without any transaction, as a text.
sub load_until
{
	my ($node, $topic, $enough, @what) = @_;
	my @loads = map { start_load($node, $topic, @$_) } @what;
	my $failed = '';
	my $over = 0;

	while (grep { $_ } @loads)
	{
		$over ||= $enough->();
		foreach my $i (0 .. $#loads)
		{
			next if !$loads[$i] || is_running($loads[$i]);
			$failed .= "$what[$i][0]: $loads[$i]{out}\n"
			  unless finish_load($loads[$i]) && transactions_done($loads[$i]) > 0;
			$over ||= $failed ne '';
			$loads[$i] = $over ? undef : start_load($node, $topic, @{ $what[$i] });
		}
		select(undef, undef, undef, 0.05);
	}
	return $failed;
}

# Consume to the end with the ledger's group. Returns how many calls brought
# something.
sub drain
{
	my ($node, $topic) = @_;

	return $node->safe_psql(
		'postgres', qq{
		CREATE OR REPLACE PROCEDURE drain(INOUT calls int) LANGUAGE plpgsql AS \$\$
		DECLARE
			received bigint;
		BEGIN
			LOOP
				INSERT INTO consumed (partition, "offset", producer, seq)
				SELECT m.partition, m."offset", (m.value->>'producer')::int,
					(m.value->>'seq')::bigint
				FROM queue.consume('ledger', '$topic', max_messages => 1000) m;
				GET DIAGNOSTICS received = ROW_COUNT;
				COMMIT;
				EXIT WHEN received = 0;
				calls := calls + 1;
			END LOOP;
		END \$\$;
		CALL drain(0);
	});
}

# Check that a query returns no row, and show the first ones.
sub none
{
	my ($node, $what, $query) = @_;

	is($node->safe_psql('postgres', "SELECT * FROM ($query) x LIMIT 20"), '', $what);
	return;
}

# The name of a topic's first segment.
sub segment_of
{
	my ($node, $topic) = @_;

	return $node->safe_psql('postgres',
		"SELECT segment FROM queue.segments WHERE topic = '$topic' ORDER BY first_offset LIMIT 1");
}

# The log keeps its own rules: queue.verify has nothing to say, and the offsets
# of a partition, in the order in which they lie in the files, ascend.
sub check_log
{
	my ($node, $topic, $when, $db) = @_;

	$db //= 'postgres';
	is($node->safe_psql($db, "SELECT * FROM queue.verify('$topic')"),
		'', "$when: queue.verify finds nothing");
	is( $node->safe_psql(
			$db, qq{
			SET enable_indexscan = off;
			DO \$\$
			DECLARE
				s record;
				message record;
				last bigint;
			BEGIN
				FOR s IN SELECT * FROM queue.segments
					WHERE topic = '$topic' ORDER BY partition, first_offset
				LOOP
					last := s.first_offset - 1;
					FOR message IN EXECUTE format('SELECT "offset" o FROM %s', s.segment)
					LOOP
						IF message.o <= last THEN
							RAISE 'offset % behind % in %', message.o, last, s.segment;
						END IF;
						last := message.o;
					END LOOP;
					IF last >= s.end_offset THEN
						RAISE 'offset % beyond the end of %', last, s.segment;
					END IF;
				END LOOP;
			END \$\$;
			SELECT 'ascending'}),
		'ascending',
		"$when: offsets are unique and ascend in every segment");
	return;
}

# The rows that were consumed after another one of the same or a higher offset.
my $OUT_OF_ORDER = q{SELECT FROM (
		SELECT "offset", lag("offset") OVER (PARTITION BY partition ORDER BY id) AS before
		FROM consumed) x
	WHERE "offset" <= before};

# The ledger and the log agree. Call when nothing is running and the topic has
# been drained; to check the producers' half only, pass consumed => 0.
sub check_ledger
{
	my ($node, $topic, $when, %what) = @_;
	my $log = qq{SELECT (value->>'producer')::int, (value->>'seq')::bigint
		FROM topic."$topic"};
	my $produced = 'SELECT producer, seq FROM produced';
	my $consumed = 'SELECT producer, seq FROM consumed';

	check_log($node, $topic, $when);
	cmp_ok($node->safe_psql('postgres', 'SELECT count(*) FROM produced'),
		'>', 0, "$when: something was produced");
	none($node, "$when: every committed message is in the log", "$produced EXCEPT ALL $log");
	none($node, "$when: the log has nothing else, and nothing twice",
		"$log EXCEPT ALL $produced");
	none($node, "$when: every message lies where its producer was told",
		qq{SELECT FROM produced p
			WHERE "offset" IS NOT NULL AND NOT EXISTS (
				SELECT FROM topic."$topic" m
				WHERE m.partition = p.partition AND m."offset" = p."offset"
				AND (m.value->>'producer')::int = p.producer
				AND (m.value->>'seq')::bigint = p.seq)});
	none($node, "$when: in a partition, a producer's messages keep their order",
		qq{SELECT FROM (
				SELECT (value->>'seq')::bigint AS seq,
					lag((value->>'seq')::bigint) OVER (
						PARTITION BY partition, value->'producer'
						ORDER BY "offset") AS before
				FROM topic."$topic") x
			WHERE seq <= before});
	return if defined $what{consumed} && !$what{consumed};

	none($node, "$when: every committed message was consumed",
		"$produced EXCEPT ALL $consumed");
	none($node, "$when: nothing else was consumed, and nothing twice",
		"$consumed EXCEPT ALL $produced");
	none($node, "$when: every partition was consumed in the order of its offsets",
		$OUT_OF_ORDER);
	return;
}

# The ledger and the log of a topic with retention agree, when nothing is running:
# the log has every message but those that were consumed and lie before the log
# start. If the topic has been drained, each was consumed exactly once.
sub check_retained
{
	my ($node, $topic, $when, %what) = @_;
	my $log = qq{SELECT (value->>'producer')::int, (value->>'seq')::bigint
		FROM topic."$topic"};
	my $retained = qq{SELECT producer, seq FROM produced EXCEPT ALL
		SELECT producer, seq FROM consumed c JOIN queue.partitions p
			ON p.topic = '$topic' AND p.partition = c.partition
		WHERE c."offset" < p.log_start};
	my @none = (
		'every message that may not go is in the log' => "($retained) EXCEPT ALL $log",
		'the log has nothing else, and nothing twice' => "$log EXCEPT ALL ($retained)",
		'nothing lies before the log start' => qq{SELECT 1
			FROM topic."$topic" m JOIN queue.partitions p USING (partition)
			WHERE p.topic = '$topic' AND m."offset" < p.log_start},
		'nothing was consumed twice, or was not produced' =>
		  'SELECT producer, seq FROM consumed EXCEPT ALL SELECT producer, seq FROM produced',
		'every partition was consumed in the order of its offsets' => $OUT_OF_ORDER);

	push @none, 'every message was consumed' =>
	  'SELECT producer, seq FROM produced EXCEPT ALL SELECT producer, seq FROM consumed'
	  if $what{drained};
	check_log($node, $topic, $when);
	while (my ($name, $query) = splice @none, 0, 2)
	{
		none($node, "$when: $name", $query);
	}
	return;
}

# One line that stands for the whole content of a topic.
sub digest
{
	my ($node, $db, $topic) = @_;

	return $node->safe_psql(
		$db, qq{
		SELECT count(*), md5(string_agg(md5(concat_ws('|', partition, "offset",
			extract(epoch FROM "timestamp"), coalesce(key, '-'),
			coalesce(md5(value::text), '-'), coalesce(headers::text, '-'),
			coalesce(extract(epoch FROM deliver_at)::text, '-'))),
			'' ORDER BY partition, "offset"))
		FROM topic."$topic"});
}

# The SQLSTATE with which a statement fails, or '' when it succeeds.
sub sqlstate
{
	my ($node, $db, $sql) = @_;
	my ($ret, $stdout, $stderr) = $node->psql($db, $sql,
		extra_params => [ '-v', 'VERBOSITY=sqlstate' ]);

	return $stderr =~ /ERROR:\s+(\w{5})/ ? $1 : $stderr;
}

1;
