# The promise: whatever consumers, operators and policies do, with rollbacks, prepared
# transactions, lapsing leases, killed backends and crashes in between, the order of a
# key is the log's; and each message has exactly one effect, or one dead letter, or was
# skipped, or is still parked. The attempts are those that the policy allows. What the
# progress says of the parked messages is true.
#
# A message's value begins with the number of attempts on which it fails.
#   group k    consumes; holds the key or the partition; dead letters
#   group n    consumes; holds nothing; no dead letters
#   group p    polls; members die with messages in hand; dead letters
#
#   PARKING_SEEDS          rounds, 2 by default
#   PARKING_TRANSACTIONS   of each client in a round, 40 by default

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use QueueTest;

my $seeds = $ENV{PARKING_SEEDS} || 2;
my $transactions = $ENV{PARKING_TRANSACTIONS} || 40;
my $node = new_server('parking', "autovacuum = off\n");

$node->safe_psql(
	'postgres', q{
	SELECT queue.create_topic('t', 3, 'text', segment_messages => 50);
	SELECT queue.create_topic('dead', 2, 'text');
	SELECT queue.create_group(g, 't') FROM unnest(ARRAY['k', 'n', 'p']) g;
	CREATE TABLE effect (id bigserial, g text, partition int, "offset" bigint, attempt int);
	CREATE TABLE failure (id bigserial, g text, partition int, "offset" bigint, attempt int);
	CREATE TABLE skipped (g text, partition int, "offset" bigint);
	CREATE TABLE retried (g text, partition int, "offset" bigint);
	CREATE TABLE hand (LIKE queue.leased_message, client int);
	ALTER TABLE hand ALTER value TYPE text USING NULL;

	CREATE FUNCTION produce_some() RETURNS void LANGUAGE sql AS $$
		SELECT queue.produce('t',
				((ARRAY[0, 0, 0, 0, 0, 1, 2, 99])[1 + floor(random() * 8)])
					|| CASE WHEN delayed THEN ' delayed ' ELSE ' ' END
					|| repeat('x', (random() ^ 20 * 5000)::int),
				CASE WHEN random() < 0.8 THEN 'key ' || floor(random() * 12) END,
				deliver_at => CASE WHEN delayed
					THEN clock_timestamp() + random() * interval '0.3 s' END)
		  FROM (SELECT random() < 0.1 AS delayed
				FROM generate_series(1, 1 + (random() * 4)::int)) x
	$$;

	CREATE FUNCTION fails(value text, attempt int) RETURNS boolean LANGUAGE sql AS
		$$ SELECT attempt <= split_part(value, ' ', 1)::int $$;

	CREATE FUNCTION policies(backoff interval) RETURNS void LANGUAGE sql AS $$
		SELECT queue.set_failure_policy('k', 't', 3, backoff, backoff * 3,
			hold => CASE WHEN random() < 0.7 THEN 'key' ELSE 'partition' END,
			dead_letter => 'dead', max_parked => CASE WHEN random() < 0.3 THEN 5 ELSE 1000 END);
		SELECT queue.set_failure_policy('n', 't', 3, backoff, backoff * 3, hold => 'none');
		SELECT queue.set_failure_policy('p', 't', 3, backoff, backoff * 3,
			hold => CASE WHEN random() < 0.5 THEN 'key' ELSE 'none' END, dead_letter => 'dead')
	$$;

	-- A batch of a consumer.
	CREATE FUNCTION work(g text, batch int) RETURNS int LANGUAGE plpgsql AS $$
	DECLARE
		m record;
		skip bigint[] := '{}';
		behind bigint[];
		n int := 0;
	BEGIN
		FOR m IN SELECT * FROM queue.consume_typed(g, 't', NULL::text, batch) LOOP
			n := n + 1;
			CONTINUE WHEN m."offset" = ANY (skip);
			IF NOT fails(m.value, m.attempt) THEN
				INSERT INTO effect (g, partition, "offset", attempt)
				VALUES (g, m.partition, m."offset", m.attempt);
				CONTINUE;
			END IF;
			-- at times it is undone, and done again
			IF random() < 0.2 THEN
				BEGIN
					PERFORM queue.park(g, 't', m.partition, m."offset");
					RAISE division_by_zero;
				EXCEPTION WHEN division_by_zero THEN
				END;
			END IF;
			behind := queue.park(g, 't', m.partition, m."offset", m.value, 'P0001');
			skip := skip || behind;
			INSERT INTO failure (g, partition, "offset", attempt)
			VALUES (g, m.partition, m."offset", m.attempt);
		END LOOP;
		RETURN n;
	END $$;

	-- What a member has in hand, which the transaction before has polled.
	CREATE FUNCTION handle(me int) RETURNS void LANGUAGE plpgsql AS $$
	DECLARE
		m record;
		p int;
		skip bigint[];
		die boolean;
	BEGIN
		FOR p IN SELECT DISTINCT partition FROM hand WHERE client = me LOOP
			skip := '{}';
			die := random() < 0.1;
			BEGIN
				FOR m IN SELECT * FROM hand WHERE client = me AND partition = p ORDER BY "offset" LOOP
					CONTINUE WHEN m."offset" = ANY (skip);
					IF fails(m.value, m.attempt) THEN
						skip := skip || queue.park('p', 't', p, m."offset", m.value, 'P0001',
							member => 'member ' || me, epoch => m.epoch);
					ELSE
						INSERT INTO effect (g, partition, "offset", attempt)
						VALUES ('p', p, m."offset", m.attempt);
					END IF;
					EXIT WHEN die AND random() < 0.3;
				END LOOP;
				IF NOT die THEN
					PERFORM queue.commit_offset('p', 't', p, max("offset") + 1, 'member ' || me, max(epoch))
					   FROM hand WHERE client = me AND partition = p;
				END IF;
			EXCEPTION WHEN SQLSTATE 'QU004' THEN	-- its lease is over
			END;
		END LOOP;
		DELETE FROM hand WHERE client = me;
	END $$;

	CREATE FUNCTION operate() RETURNS void LANGUAGE plpgsql AS $$
	DECLARE
		m record;
		args text;
	BEGIN
		SELECT c.name, q.partition, q."offset" INTO m
		  FROM queue.parked_message q JOIN queue.consumer_group c ON c.group_id = q.group_id
		 WHERE c.name IN ('k', 'n') ORDER BY random() LIMIT 1;
		IF NOT FOUND THEN
			RETURN;
		END IF;
		IF random() < 0.5 THEN
			IF queue.skip_parked(m.name, 't', m.partition, m."offset") THEN
				INSERT INTO skipped VALUES (m.name, m.partition, m."offset");
			END IF;
		ELSIF queue.retry_parked(m.name, 't', m.partition, m."offset") THEN
			INSERT INTO retried VALUES (m.name, m.partition, m."offset");
		END IF;
	END $$;

	-- The newest progress, and what is parked.
	CREATE VIEW newest AS
		SELECT DISTINCT ON (group_id, partition) * FROM queue.progress
		 WHERE topic_id = (SELECT topic_id FROM queue.topic WHERE name = 't')
		 ORDER BY group_id, partition, generation DESC;
	CREATE VIEW rows AS
		SELECT q.*, c.name AS g FROM queue.parked_message q
		  JOIN queue.consumer_group c ON c.group_id = q.group_id;
});

my $head = "\\set batch random(1, 20)\n\\set dice random(1, 6)\n";
my $body = q{
\if :dice = 1
	SAVEPOINT s;
	SELECT work(:g, :batch);
	ROLLBACK TO s;
\endif
SELECT work(:g, :batch);
\if :dice = 2
	SELECT work(:g, :batch);
\endif
};
my $end = q{
\if :dice = 3
	ROLLBACK;
\elif :dice = 4
	PREPARE TRANSACTION :id;
	COMMIT PREPARED :id;
\elif :dice = 5
	PREPARE TRANSACTION :id;
	ROLLBACK PREPARED :id;
\else
	COMMIT;
\endif
};
my %scripts = (
	producer => { produce => 'SELECT produce_some();' },
	consumer => {
		read_committed => "${head}BEGIN;$body$end",
		repeatable_read => "${head}BEGIN ISOLATION LEVEL REPEATABLE READ;$body$end"
	},
	member => {
		poll => q{
\set batch random(1, 20)
\set sleep random(0, 60)
INSERT INTO hand SELECT m.*, :client_id FROM queue.poll_typed('p', 't', 'member ' || :client_id,
	NULL::text, :batch, lease => '0.1 s') m;
\sleep :sleep ms
SELECT handle(:client_id);
}
	},
	operator => {
		operate => "SELECT operate();\n\\sleep 20 ms\n",
		policy => "SELECT policies('0.02 s');\n\\sleep 20 ms\n"
	});

# Start all clients, each with so many transactions.
sub start_clients
{
	my @loads;
	my $start = sub {
		my ($kind, $clients, @options) = @_;

		push @loads,
		  start_pgbench($node, $kind, $scripts{$kind}, '-c', $clients, '-t', $transactions,
			'--max-tries=1000', @options);
	};

	$start->('producer', 2);
	foreach my $g ('k', 'n')
	{
		my %text = map { $_ => $scripts{consumer}{$_} =~ s/:g\b/'$g'/gr =~ s/:id\b/'$g:client_id'/gr }
		  keys %{ $scripts{consumer} };

		push @loads,
		  start_pgbench($node, 'consumer', \%text, '-c', 2, '-t', $transactions, '--max-tries=1000');
	}
	$start->('member', 2);
	$start->('operator', 1);
	return @loads;
}

# Finish the prepared transactions that a crash has left, one way or the other.
sub finish_prepared
{
	foreach my $gid (split /\n/, $node->safe_psql('postgres', 'SELECT gid FROM pg_prepared_xacts'))
	{
		my $how = rand() < 0.5 ? 'COMMIT' : 'ROLLBACK';

		$node->safe_psql('postgres', "$how PREPARED '$gid'");
	}
	$node->safe_psql('postgres', 'TRUNCATE hand');
	return;
}

# Invariants of the state, when nothing is running.
sub check_state
{
	my ($when) = @_;

	none($node, "$when: the progress counts what is parked", q{
		SELECT p.group_id, p.partition, p.parked, p.delayed, q.n, q.delayed
		  FROM newest p LEFT JOIN (SELECT group_id, partition, count(*) AS n, count(delayed) AS delayed
				FROM queue.parked_message GROUP BY 1, 2) q USING (group_id, partition)
		 WHERE coalesce(p.parked, 0) <> coalesce(q.n, 0)
			OR coalesce(p.delayed, 0) <> coalesce(q.delayed, 0)});
	none($node, "$when: and covers times, offsets and keys", q{
		SELECT q.g, q.partition, q."offset", q.hash, q.due_at, p.parked_due, p.parked_end, p.parked_keys
		  FROM newest p JOIN rows q USING (group_id, partition)
		 WHERE q.due_at < p.parked_due OR (q.due_at IS NOT NULL AND p.parked_due IS NULL)
			OR q."offset" >= p.parked_end OR p.parked_end IS NULL
			OR (q.hash = 1 AND p.parked_keys IS DISTINCT FROM -1)
			OR (q.hash NOT IN (0, 1) AND (coalesce(p.parked_keys, 0)
				>> (mod((q.hash & 4294967295)::numeric * 2654435761, 4294967296)::bigint >> 26)::int) & 1 = 0)});
	# A member that died has parked one, and not committed those before it in its hand.
	none($node, "$when: of those that hold the same, the first has a time, and no other", q{
		SELECT * FROM (SELECT g, partition, "offset", key, hash, due_at, row_number() OVER same,
				count(epoch) OVER (same ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS in_hand
				FROM rows WHERE hash <> 0
				WINDOW same AS (PARTITION BY g, partition, hash, CASE WHEN hash > 1 OR hash < 0 THEN key END ORDER BY "offset")) x
		 WHERE CASE row_number WHEN 1 THEN due_at IS NULL ELSE due_at < 'infinity' AND in_hand = 0 END});
	none($node, "$when: no message is parked twice, or before the group reads it", q{
		SELECT g, partition, "offset", count(*) FROM rows GROUP BY 1, 2, 3 HAVING count(*) > 1
		 UNION ALL SELECT q.g, q.partition, q."offset", 0 FROM newest p JOIN rows q USING (group_id, partition)
		 WHERE g <> 'p' AND q."offset" >= p.committed_offset});
	none($node, "$when: effects of a key are in the log's order", q{
		SELECT * FROM (SELECT e.id, e.partition, e."offset", m.key, lag(e."offset")
				OVER (PARTITION BY e.partition, m.key ORDER BY e.id)
				FROM effect e JOIN topic.t m USING (partition, "offset")
				WHERE e.g = 'k' AND m.key IS NOT NULL AND m.value NOT LIKE '% delayed %') x
		 WHERE "offset" <= lag});
	my $ends = q{
		SELECT m.partition, m."offset", grp,
			(SELECT count(*) FROM effect e WHERE (e.g, e.partition, e."offset") = (grp, m.partition, m."offset")) AS effects,
			(SELECT count(*) FROM topic.dead d WHERE d.headers ->> 'dlq.group' = grp
				AND (d.headers ->> 'dlq.partition')::int = m.partition
				AND (d.headers ->> 'dlq.offset')::bigint = m."offset") AS letters,
			(SELECT count(*) FROM skipped s WHERE (s.g, s.partition, s."offset") = (grp, m.partition, m."offset")) AS skips,
			(SELECT count(*) FROM rows q WHERE (q.g, q.partition, q."offset") = (grp, m.partition, m."offset")) AS parked,
			m."offset" >= (SELECT coalesce(max(committed_offset), 0) FROM newest p JOIN queue.consumer_group c USING (group_id)
				WHERE c.name = grp AND p.partition = m.partition) AS to_come
		  FROM topic.t m, unnest(ARRAY['k', 'n', 'p']) grp};
	none($node, "$when: each message has one end", qq{
		SELECT * FROM ($ends) x WHERE grp <> 'p' AND effects + letters + skips + parked + to_come::int <> 1});
	none($node, "$when: or at least one of those that are polled", qq{
		SELECT * FROM ($ends) x WHERE grp = 'p' AND effects + letters + skips + parked + to_come::int < 1});
	none($node, "$when: attempts count up, to as many as the policy allows", q{
		SELECT * FROM (SELECT f.g, f.partition, f."offset", f.attempt, row_number()
				OVER (PARTITION BY f.g, f.partition, f."offset" ORDER BY f.attempt, f.done) AS n, f.done,
				count(*) OVER (PARTITION BY f.g, f.partition, f."offset") AS of
				FROM (SELECT false AS done, * FROM failure
					UNION ALL SELECT true, * FROM effect WHERE g <> 'p') f
				WHERE (f.g, f.partition, f."offset") NOT IN (SELECT * FROM retried)) x
		 WHERE attempt <> n OR n > 3 OR (done AND n < of)});
	none($node, "$when: a dead letter tells how many there were", q{
		SELECT d.headers FROM topic.dead d
		 WHERE d.headers ->> 'dlq.group' = 'k' AND ((d.headers ->> 'dlq.attempts')::int <> 3
			OR (SELECT max(attempt) FROM failure f WHERE f.g = 'k' AND f.partition = (d.headers ->> 'dlq.partition')::int
				AND f."offset" = (d.headers ->> 'dlq.offset')::bigint) <> 3)});
	return;
}

# Consume until nothing is left but what waits for an operator.
sub drain_groups
{
	my $left = q{
		SELECT count(*) FROM newest p JOIN queue.consumer_group c USING (group_id)
		 WHERE p.committed_offset < queue.log_end('t', p.partition)
			OR EXISTS (SELECT FROM queue.parked_message q
				WHERE (q.group_id, q.partition) = (p.group_id, p.partition)
				  AND (c.name <> 'n' OR q.due_at < 'infinity'))};

	$node->safe_psql('postgres', "SELECT policies('0')");
	return patiently(
		sub {
			$node->safe_psql(
				'postgres', q{
				SELECT work(g, 100) FROM unnest(ARRAY['k', 'n']) g, generate_series(1, 3);
				INSERT INTO hand SELECT m.*, 9 FROM queue.poll_typed('p', 't', 'member 9',
					NULL::text, 100, lease => '1 min') m;
				SELECT handle(9)});
			return $node->safe_psql('postgres', $left) eq '0';
		});
}

foreach my $seed (1 .. $seeds)
{
	srand($seed);
	$node->safe_psql('postgres', "SELECT policies('0.02 s')");
	my @loads = start_clients();
	my $enough = 'SELECT count(*) FROM effect';
	my $before = $node->safe_psql('postgres', $enough);

	patiently(
		sub {
			$node->safe_psql('postgres', $enough) > $before + $transactions
			  || !grep { is_running($_) } @loads;
		});
	if ($seed % 2)
	{
		my $pid = $node->safe_psql('postgres',
			q{SELECT pid FROM pg_stat_activity WHERE application_name = 'consumer' LIMIT 1});

		kill_backend($node, $pid) if $pid ne '';
	}
	else
	{
		kill_server($node);
		$node->start;
	}
	finish_load($_) foreach @loads;
	finish_prepared();
	check_state("round $seed, after a crash");

	@loads = start_clients();
	ok(finish_load($_), "round $seed: $_->{kind}") foreach @loads;
	finish_prepared();
	check_state("round $seed");
	ok(drain_groups(), "round $seed: the groups come to the end");
	check_state("round $seed, at the end");
}

# What happened on the way, so that this means something.
is( $node->safe_psql(
		'postgres', q{
		SELECT (SELECT count(*) > 0 FROM failure WHERE attempt = 3),
			(SELECT string_agg(DISTINCT headers ->> 'dlq.group', ' ') FROM topic.dead),
			(SELECT count(*) > 0 FROM rows WHERE due_at = 'infinity'),
			(SELECT count(*) > 0 FROM skipped), (SELECT count(*) > 0 FROM retried)}),
	't|k p|t|t|t', 'messages failed, became dead letters, were skipped and tried again');

$node->stop;
done_testing();
