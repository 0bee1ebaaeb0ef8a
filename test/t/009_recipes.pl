# The promise: the recipes of docs/recipes.md work as they stand there. Every
# block runs, every output is the one shown, and what is to be repeated (handler,
# loader, relay, transformer, consumer, operator), killed before any of its
# statements, adds nothing twice and loses nothing. A worker with a lease loses
# nothing, and does again only what it had not committed.
#
# What the file's conventions mean is said in its first paragraphs.
#
#   RECIPE_ROUNDS   in how many rounds of its work each is killed, 2 by default

use strict;
use warnings;

use FindBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Examples;
use QueueTest;

my $node = new_server('recipes', undef, allows_streaming => 'logical');
my $deadly_rounds = $ENV{RECIPE_ROUNDS} || 2;

# ---------------- running ----------------

# The state of the recipe at work.
my ($recipe, $db, %sessions, @waiting, @sqlstates);

# Check the answer to a statement, as the file shows it; where it shows none, it
# must be no error.
sub check_answer
{
	my ($session, $statement, $answer) = @_;
	my ($first) = $statement->{sql} =~ /^(.*)$/m;

	if (defined $statement->{shown})
	{
		is($answer, $statement->{shown}, "$recipe->{title}: answer to: $first");
		push @sqlstates, $session->{sqlstate};
	}
	else
	{
		unlike($answer, qr/^(?:ERROR|FATAL|PANIC|WARNING):/m,
			"$recipe->{title}: no error: $first");
	}
	return;
}

# Run statements of a session up to one that waits.
sub run_statements
{
	my ($session, @statements) = @_;

	while (my $statement = shift @statements)
	{
		if ($statement->{waits})
		{
			$session->send($statement->{sql});
			ok($session->waits, "$recipe->{title}: it waits");
			push @waiting, [ $session, $statement, @statements ];
			return;
		}
		check_answer($session, $statement, $session->run($statement->{sql}));
	}
	return;
}

# Run a recipe as it stands, in a database of its own. A session that waits goes
# on as soon as the first statement of another one has let it.
sub run_recipe
{
	%sessions = @waiting = @sqlstates = ();
	foreach my $block (@{ $recipe->{blocks} })
	{
		my $name = $block->{session};
		my $session = $sessions{$name} //= Session->new($node, $db);
		my @statements = @{ $block->{statements} };

		if (my $waiting = shift @waiting)
		{
			my ($other, $statement, @rest) = @$waiting;

			run_statements($session, shift @statements);
			check_answer($other, $statement, $other->answer);
			run_statements($other, @rest);
		}
		run_statements($session, @statements);
		if ($block->{dies})
		{
			$session->kill;
			delete $sessions{$name};
		}
	}
	is(scalar @waiting, 0, "$recipe->{title}: no session waits for ever");
	$_->quit foreach values %sessions;
	return;
}

# The first block with this in it, as a list of SQL.
sub statements_with
{
	my ($pattern) = @_;

	foreach my $block (@{ $recipe->{blocks} })
	{
		my @sql = map { $_->{sql} } @{ $block->{statements} };

		return @sql if "@sql" =~ $pattern;
	}
	die "$recipe->{title}: no block with $pattern";
}

# Run statements in a new session, killed before statement $dies_at, or not at
# all. $set is for psql's variables. Returns all that it answered.
sub run_apart
{
	my ($statements, $dies_at, $set) = @_;
	my $session = Session->new($node, $db);
	my $out = $session->run($set // '');
	my $n = 0;

	foreach my $sql (@$statements)
	{
		if (defined $dies_at && $n++ == $dies_at)
		{
			$session->kill;
			return $out;
		}
		$out .= $session->run($sql);
	}
	$session->quit;
	unlike($out, qr/^ERROR:/m, "$recipe->{title}: no error when repeated");
	return $out;
}

# Repeat a round to the end of its work, which is when $left says 0. In some of them,
# before it is let be, it is killed before each of its statements.
sub run_rounds
{
	my ($statements, $left) = @_;
	my $kills = 0;

	foreach my $round (1 .. 20)
	{
		last if query($left) == 0;
		foreach my $dies_at ($round > $deadly_rounds ? () : 0 .. $#$statements)
		{
			run_apart($statements, $dies_at);
			$kills++;
		}
		run_apart($statements);
	}
	is(query($left), 0, "$recipe->{title}: the work is done, after $kills kills");
	cmp_ok($kills, '>', $#$statements, "$recipe->{title}: there was work");
	return;
}

# Run a statement, and end its session while it waits for a table that another one has
# locked.
sub end_in_the_middle
{
	my ($table, $sql) = @_;
	my ($locker, $session) = map { Session->new($node, $db) } 1 .. 2;

	$locker->run("BEGIN;\nLOCK TABLE $table;");
	$session->send($sql);
	ok($session->waits, "$recipe->{title}: in the middle of its work");
	query("SELECT pg_terminate_backend($session->{pid}, 600000)");
	$_->quit foreach $session, $locker;
	return;
}

sub query
{
	my ($sql) = @_;

	return $node->safe_psql($db, $sql);
}

# The database that the relay reads.
sub query_source
{
	my ($sql) = @_;

	return $node->safe_psql('source', $sql);
}

# ---------------- what each recipe promises ----------------

my %promise = (
	'An HTTP handler whose client retries' => sub {
		my @handler = statements_with(qr/INSERT INTO purchase/);
		my $both = q{SELECT (SELECT count(*) FROM purchase) || ' ' ||
			(SELECT count(*) FROM topic.purchases)};

		is(query($both), '1 1', 'handler: one purchase, one message');

		# killed before each statement, and the client tries again, twice
		my $request = 1;
		foreach my $dies_at (0 .. $#handler)
		{
			my $set = "\\set client 'client-17'\n\\set item 'desk'\n\\set request "
			  . ++$request;

			run_apart(\@handler, $dies_at, $set);
			like(run_apart(\@handler, undef, $set),
				qr/\| f$/m, "handler: stored by the retry, killed at $dies_at");
			like(run_apart(\@handler, undef, $set),
				qr/\| t$/m, 'handler: known to the second retry');
			is(query($both), "$request $request", 'handler: one of each more');
		}

		# the retry comes while the first handler is at work
		foreach my $end ('COMMIT;', undef)
		{
			my $set = "\\set client 'client-17'\n\\set item 'desk'\n\\set request "
			  . ++$request;
			my $first = Session->new($node, $db);
			my $retry = Session->new($node, $db);

			$first->run("$set\n" . join '', @handler[ 0 .. $#handler - 1 ]);
			$retry->send("$set\n" . join '', @handler);
			ok($retry->waits, 'handler: the retry waits for the first');
			defined $end ? $first->run($end) : $first->kill;
			like($retry->answer, defined $end ? qr/\| t$/m : qr/\| f$/m,
				'handler: and then decides');
			is(query($both), "$request $request", 'handler: one of each more');
			$first->quit if defined $end;
			$retry->quit;
		}
	},

	'A request with an idempotency key' => sub {
		my @handler = statements_with(qr/INSERT INTO charge/);
		my $both = q{SELECT (SELECT count(*) FROM charge) || ' ' ||
			(SELECT count(*) FROM topic.charges)};
		my $request = 1;

		is(query($both), '1 1', 'request: one charge, one message');
		foreach my $dies_at (0 .. $#handler)
		{
			my $set = sprintf "\\set amount 1\n\\set idempotency_key '8e03978e-40d5-43e8-bc93-%012d'", ++$request;

			run_apart(\@handler, $dies_at, $set);
			like(run_apart(\@handler, undef, $set),
				qr/\| f$/m, "request: stored by the retry, killed at $dies_at");
			like(run_apart(\@handler, undef, $set),
				qr/\| t$/m, 'request: known to the second retry');
			is(query($both), "$request $request", 'request: one of each more');
		}
	},

	'A file loader that dies and starts over' => sub {
		my @round = statements_with(qr/SELECT b\.count.*300/s);
		my @copy = statements_with(qr/^Fairbanks$/m);
		my $all = q{SELECT count(*) || ' ' || count(DISTINCT value) FROM topic.lines
			WHERE value };

		run_rounds(\@round, q{SELECT (SELECT max(line) FROM file) - last_sequence
			FROM queue.producer_state('lines', 'part-2.csv')});
		is(query("$all LIKE 'flight %'"),
			'1000 1000', 'loader: every line of the file, once');
		is( query(q{SELECT count(*) FROM (
				SELECT substr(value, 8)::int AS line, lag(substr(value, 8)::int)
					OVER (ORDER BY "offset") AS before
				FROM topic.lines WHERE value LIKE 'flight %') AS l
				WHERE line <> before + 1}),
			0,
			'loader: in order');

		run_apart(\@copy, $_) foreach 0 .. $#copy;
		run_apart(\@copy);
		is(query("$all NOT LIKE 'flight %'"),
			'6 6', 'loader: every line of the COPY, once');
		s/part-1/part-3/ foreach @copy;
		run_apart(\@copy, $_) foreach 0 .. 4;
		is(query("$all NOT LIKE 'flight %'"),
			'6 6', 'loader: nothing of a COPY that was killed');
		run_apart(\@copy);
		run_apart(\@copy);
		is(query("$all NOT LIKE 'flight %'"),
			'12 6', 'loader: another file is another producer');
	},

	'A change-data relay' => sub {
		my @round = statements_with(qr/pg_replication_slot_advance/);

		is(scalar(grep { $_ eq 'QU002' } @sqlstates),
			1, 'relay: a change left out is QU002');

		# more of the same, with a slot that nothing else reads: transactions
		# that overlap, roll back, are of no interest, and COPYs
		$node->safe_psql('source', q{SELECT FROM pg_create_logical_replication_slot('check', 'test_decoding');
			CREATE TABLE other (n int)});
		my @writers = map { Session->new($node, 'source') } 1 .. 3;
		foreach my $n (1 .. 40)
		{
			my $writer = $writers[ $n % 3 ];

			$writer->run(($n % 7 == 0 ? "ROLLBACK;\n" : "COMMIT;\n") . 'BEGIN;') if $n > 3;
			$writer->run('BEGIN;') if $n <= 3;
			$writer->run("INSERT INTO stock VALUES ('item-@{[ $n % 5 ]}', $n * 100);");
			$writer->run("COPY stock FROM STDIN;\n"
				  . join('', map { "item-@{[ $_ % 5 ]}\t@{[ $n * 100 + $_ ]}\n" } 1 .. 6)
				  . '\.');
			query_source("INSERT INTO other VALUES ($n)") if $n % 4 == 0;
		}
		$_->run('COMMIT;') foreach @writers;
		$_->quit foreach @writers;

		my $left = query_source('SELECT count(*) FROM stock');
		run_rounds(\@round, "SELECT $left - count(*) FROM topic.changes");
		is( query('SELECT count(DISTINCT value) FROM topic.changes'),
			$left, 'relay: every change, once');
		is(query_source(q{SELECT count(*) FROM pg_logical_slot_peek_changes('relay', NULL, NULL)
				WHERE data LIKE 'table public.stock%'}),
			0, 'relay: the source need not keep any');

		# what the source sends, in its order: the same as the relay counted
		my $end = query_source('SELECT pg_current_wal_flush_lsn()');
		my ($sent) = run_command(
			[
				'pg_recvlogical', '-d', $node->connstr('source'), '-S', 'check',
				'--start', '--no-loop', '-E', $end, '-f', '-'
			]);
		my @sent = grep { /^table public\.stock:/ } split /\n/, $sent;
		is(scalar @sent, $left - 6, 'relay: pg_recvlogical sends as many');
		foreach my $key (map { "item-$_" } 0 .. 4)
		{
			is( query(qq{SELECT string_agg(value, E'\\n' ORDER BY "offset") FROM topic.changes WHERE key = '$key'}),
				join("\n", grep { /'$key'/ } @sent),
				"relay: the changes of $key in the order of the commits");
		}

		# killed before it tells the source, which then sends what was relayed, and
		# what is new, in one: only the watermark tells them apart
		my ($tells) = grep { $round[$_] =~ /^SELECT FROM pg_replication_slot_advance/ } 0 .. $#round;
		query_source(q{INSERT INTO stock VALUES ('again', 1)});
		run_apart(\@round, $tells);
		query_source(q{INSERT INTO stock VALUES ('again', 2)});
		is(query_source(q{SELECT count(*) FROM pg_logical_slot_peek_changes('relay', NULL, 100)
				WHERE data LIKE '%again%'}),
			2, 'relay: the source sends a relayed change and a new one');
		run_apart(\@round);
		is( query(q{SELECT string_agg(substring(value FROM 'n\[integer\]:(.*)'), ' ' ORDER BY "offset")
				FROM topic.changes WHERE key = 'again'}),
			'1 2', 'relay: each is stored once');

		# what the recipe warns of: positions as sequences
		query(q{SELECT queue.create_topic('wrong', value_type => 'text');
			SELECT queue.create_producer('wrong', 'source', 'monotonic')});
		$node->safe_psql('source', q{SELECT FROM pg_create_logical_replication_slot('wrong', 'test_decoding')});
		my ($first, $second) = map { Session->new($node, 'source') } 1 .. 2;
		$first->run("BEGIN;\nINSERT INTO stock VALUES ('early', 1);");
		$second->run("COPY stock FROM STDIN;\ncopy\t1\ncopy\t2\n\\.");
		$first->run('COMMIT;');
		$_->quit foreach $first, $second;
		my @results = map {
			my ($position, $value) = split / /, $_, 2;
			my ($stdout, $stderr);
			$node->psql($db, qq{SELECT duplicate FROM queue.produce('wrong', '$value',
				producer_id => 'source', sequence => $position)}, stdout => \$stdout,
				stderr => \$stderr, extra_params => [ '-v', 'VERBOSITY=sqlstate' ]);
			$stdout || $stderr =~ s/.*ERROR:\s+//sr;
		} split /\n/, query_source(q{SELECT (lsn - '0/0'::pg_lsn)::bigint || ' ' || substring(data FROM $$'(.*)'$$)
			FROM pg_logical_slot_peek_changes('wrong', NULL, NULL) WITH ORDINALITY AS c (lsn, xid, data, i)
			WHERE data LIKE 'table public.stock:%' ORDER BY i});
		is("@results", 'f t QU002', 'relay: of a COPY the first row only, and then it is stopped');
		query(q{SELECT queue.drop_topic('wrong')});
	},

	'Consume, transform, produce' => sub {
		my @round = statements_with(qr/COMMIT/);

		run_rounds(\@round, 'SELECT sum(lag) FROM queue.consumer_groups');
		is( query(q{SELECT count(*) || ' ' || count(DISTINCT value->'id') FROM topic.gross}),
			'500 500',
			'transformer: every message, once');
		is( query(q{SELECT count(*) FROM topic.gross
				WHERE (value->>'gross')::numeric <> (value->>'net')::numeric * 1.2}),
			0,
			'transformer: transformed');
		is( query(q{SELECT count(*) FROM (
				SELECT (value->>'id')::int AS n, lag((value->>'id')::int)
					OVER (PARTITION BY key ORDER BY "offset") AS before
				FROM topic.gross) AS m WHERE n <= before}),
			0,
			'transformer: the order of a key is kept');
	},

	'Two instances of a producer' => sub {
		is(scalar(grep { $_ eq 'QU003' } @sqlstates),
			1, 'instances: the fenced one got QU003');
		is( query(q{SELECT count(*) || ' ' || count(DISTINCT value) FROM topic.payments}),
			'4 4',
			'instances: every payment, once');
		is( query(q{SELECT epoch || ' ' || accepted || ' ' || duplicates FROM queue.producers}),
			'3 4 1',
			'instances: the counts');
		is( sqlstate($node, $db, q{SELECT queue.produce('payments', 'pay 5',
				producer_id => 'gateway', sequence => 5, epoch => 2)}),
			'QU003',
			'instances: the second one is fenced too');
	},

	'A consumer that waits' => sub {
		my @round = statements_with(qr/queue\.wait/);

		run_rounds(\@round, 'SELECT sum(lag) FROM queue.consumer_groups');
		is( query(q{SELECT count(*) || ' ' || count(DISTINCT id) || ' ' || max(id) FROM invoice}),
			'500 500 500',
			'consumer: every order, once');

		# killed while it waits: no session is left waiting, and the next is woken
		my $killed = Session->new($node, $db);
		my $next = Session->new($node, $db);

		$killed->send($round[0]);
		ok($killed->waits, 'consumer: waits');
		$killed->{run}->kill_kill;
		$next->send(join '', @round);
		ok($next->waits, 'consumer: another waits');
		query(q{SELECT queue.produce('orders', '{"id": 501, "total": 1}')});
		like($next->answer, qr/^ 501 \|\s+1$/m, 'consumer: woken');
		$next->quit;
		is( query(q{SELECT count(*) FROM invoice}), 501, 'consumer: once');
	},

	'A worker with a lease' => sub {
		my @round = statements_with(qr/worker-1.*commit_offset/s);
		my $left = 'SELECT sum(lag) FROM queue.consumer_groups';

		is(scalar(grep { $_ eq 'QU004' } @sqlstates),
			1, 'worker: the fenced one got QU004');

		query(q{TRUNCATE sent;
			INSERT INTO topic.mails (key, value)
			SELECT 'customer-' || n, '{}' FROM generate_series(101, 200) AS n});
		# the other one goes, and with it its partition
		query(q{SELECT queue.leave('mailer', 'mails', 'worker-2')});
		run_rounds(\@round, $left);
		is( query(q{SELECT count(DISTINCT recipient) FROM sent}),
			100, 'worker: every mail');
		# five rounds of 20, each killed at most once between work and commit
		cmp_ok(query('SELECT count(*) FROM sent'),
			'<=', 200, 'worker: again only what was not committed');
	},

	'Replaying since yesterday' => sub {
		my @consumer = statements_with(qr/max_messages => 60/);
		my @operator = statements_with(qr/DELETE FROM total/);
		my $total = q{SELECT count(*) || ' ' || count(*) FILTER (WHERE gross = id * 12) FROM total};
		my $since = query(q{SELECT min("timestamp") FROM topic.orders WHERE (value->>'id')::int > 300});
		my $set = "\\set since '$since'";

		run_rounds(\@consumer, 'SELECT sum(lag) FROM queue.consumer_groups');
		is(query($total), '500 500', 'replay: every order, once, and right');

		# the operator is killed: nothing has happened
		foreach my $dies_at (0 .. $#operator)
		{
			run_apart(\@operator, $dies_at, $set);
			is(query('SELECT sum(lag) FROM queue.consumer_groups'),
				0, "replay: offsets as before, killed at $dies_at");
			is(query($total), '500 500', 'replay: rows as before');
		}

		# and while a consumer is at work: it waits for it
		my $consumer = Session->new($node, $db);
		my $operator = Session->new($node, $db);

		query(q{INSERT INTO topic.orders (key, value) VALUES ('customer-0', '{"id": 501, "net": 5010}')});
		$consumer->run("$consumer[0]$consumer[1]");
		$operator->send("$set\n" . join '', @operator);
		ok($operator->waits, 'replay: the operator waits for the consumer');
		$consumer->run($consumer[2]);
		$operator->answer;
		$_->quit foreach $consumer, $operator;
		is(query($total), '300 300', 'replay: what was derived since is gone');
		run_rounds(\@consumer, 'SELECT sum(lag) FROM queue.consumer_groups');
		is(query($total), '501 501', 'replay: and is there again, once');
	},

	'Watching the lag' => sub {
		is( query(q{SELECT count(*) FROM queue.blockers}),
			0, 'lag: no transaction is left');
	},

	'Mails with back-off' => sub {
		my $sent = q{SELECT count(*) || ' ' || count(DISTINCT id) || ' ' || max(attempt)
			FROM delivered WHERE recipient LIKE 'customer-%'};

		# ended with mails in hand: they come again, and that counts
		query(q{INSERT INTO topic.mails (key, value)
			SELECT 'customer-' || n, 'invoice' FROM generate_series(1, 20) n});
		end_in_the_middle('refused', q{CALL send_mails('worker-1');});
		is(query($sent), '', 'mails: none is sent');
		query(q{CALL send_mails('worker-1')});
		is(query($sent), '20 20 2', 'mails: each is sent, at the second attempt');
		is(query('SELECT count(*) FROM queue.parked'), 0, 'mails: none is left');
	},

	'A poison message among 500 keys' => sub {
		my @round = statements_with(qr/BEGIN.*book_orders.*COMMIT/s);

		query(q{INSERT INTO topic.orders (key, value)
			SELECT 'customer-' || n % 500, jsonb_build_object('id', n, 'total',
					CASE WHEN n IN (1050, 1600) THEN 'ten' ELSE '10' END)
			  FROM generate_series(1001, 2000) AS n});
		run_rounds(\@round, 'SELECT sum(lag) FROM queue.consumer_groups');
		is( query('SELECT count(*) FROM invoice'), 1997,
			'poison: all orders are booked but two, and one that waits');
		is( query(q{SELECT string_agg(key || ' ' || attempts, ', ' ORDER BY key, "offset") FROM queue.parked}),
			'customer-100 1, customer-50 1, customer-50 0',
			'poison: these are parked');
	},

	'Replay after a fix' => sub {
		my @operator = statements_with(qr/queue\.replay/);

		query(q{SELECT queue.create_group('audit', 'payments', start => 'latest');
			INSERT INTO topic.payments (key, value) VALUES ('a', '{"id": 51, "amount": "2;50"}');});
		query(q{CALL queue.process('ledger', 'payments')});
		is(query('SELECT count(*) FROM topic.payments_failed'),
			6, 'replay: another dead letter');
		is(query(q{SELECT count(*) FROM queue.consume('audit', 'payments')}),
			1, 'replay: another group has the message');
		s/','/';'/ foreach @operator;
		foreach my $dies_at (0 .. $#operator)
		{
			run_apart(\@operator, $dies_at);
			is(query('SELECT count(*) FROM queue.parked'),
				0, "replay: nothing is replayed, killed at $dies_at");
		}
		run_apart(\@operator);
		query(q{CALL queue.process('ledger', 'payments')});
		is(query('SELECT count(*), sum(amount) FROM ledger'), '51|77.50',
			'replay: every payment, once');
		is(query(q{SELECT count(*) FROM queue.consume('audit', 'payments')}),
			0, 'replay: the other group sees nothing of it');
	},

	'A reminder in an hour' => sub {
		my @round = statements_with(qr/RETURNING/);

		query(q{INSERT INTO invoice VALUES (4, 'dan');
			SELECT queue.produce('reminders', '{"invoice": 4}', deliver_at => now() + interval '1 hour')});
		is(query(q{SELECT count(*) FROM queue.consume('reminder', 'reminders')}),
			0, 'reminder: not yet');
		query('SELECT queue.retry_parked(consumer_group, topic, partition, "offset") FROM queue.parked');
		run_apart(\@round, $_) foreach 0 .. $#round;
		is(query('SELECT count(*) FROM reminded'), 2, 'reminder: none by a consumer that was killed');
		run_apart(\@round);
		is(query(q{SELECT string_agg(customer, ' ' ORDER BY invoice) FROM reminded}),
			'ann bob dan', 'reminder: one to each that has not paid');
	},

	'A handler that calls another service' => sub {
		query(q{INSERT INTO topic.checkouts (key, value)
			SELECT 'customer-' || n, jsonb_build_object('id', n, 'amount', n) FROM generate_series(5, 14) n});

		# ended in the middle of the handler; and of the worker, once, since that is an
		# attempt
		end_in_the_middle('payment', q{CALL queue.process('shop', 'checkouts');});
		query(q{CALL queue.process('shop', 'checkouts')});
		end_in_the_middle('payment', q{CALL charge_cards('worker-1');});
		query(q{CALL charge_cards('worker-1')}) foreach 1 .. 10;
		is(query(q{SELECT count(*), count(DISTINCT value->'id') FROM topic.charges}),
			'14|14', 'outbox: one order for each checkout');
		is(query(q{SELECT state, count(*) FROM payment GROUP BY state ORDER BY state}),
			"open|1\npaid|13", 'outbox: every payment but the refused one');
		is(query(q{SELECT count(*) FROM charged}), 13, 'outbox: one charge for each');
	});

# One recipe for each section that has blocks.
my @recipes;
foreach my $block (read_examples("$FindBin::RealBin/../../docs/recipes.md"))
{
	push @recipes, { title => $block->{title}, blocks => [] }
	  if !@recipes || $recipes[-1]{title} ne $block->{title};
	push @{ $recipes[-1]{blocks} }, $block;
}

is_deeply(
	[ sort map { $_->{title} } @recipes ],
	[ sort keys %promise ],
	'each recipe has its promise checked');

my $number = 0;
foreach (@recipes)
{
	$recipe = $_;
	$db = 'recipe_' . ++$number;
	$node->safe_psql('postgres', "CREATE DATABASE $db");
	$node->safe_psql($db, 'CREATE EXTENSION queue');
	run_recipe();
	$promise{ $recipe->{title} }->() if $promise{ $recipe->{title} };
	foreach my $topic (split /\n/, query('SELECT topic FROM queue.topics'))
	{
		check_log($node, $topic, "$recipe->{title}, $topic", $db);
	}
}

$node->stop;
done_testing();
