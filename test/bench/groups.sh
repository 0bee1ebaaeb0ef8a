# shellcheck shell=bash disable=SC2034,SC2154
# Groups: how soon a waiter knows, what waiters and consumers cost producers,
# poll and commit_offset, a member's death, a long list of groups.
# Sourced by run.sh; uses lib.sh, produce.sh and consume.sh.

: "${WAKEUP_SAMPLES:=2000}"   # wake-ups of each run
: "${WAITERS:=100}"           # sessions that wait on other topics, one on each
: "${JOB_SECONDS:=3}"         # length of a run with waiting consumers
: "${LIST_GROUPS:=1000}"      # groups of the long list
: "${LIST_PARTITIONS:=1000}"  # partitions that each of them reads

# ----------------------------------------------------------------------
# Jobs: a topic and its group, or a table, read when there is something
# ----------------------------------------------------------------------

job_wait="CALL queue.wait('job', 'job', NULL)"
job_consume="SELECT key, value FROM queue.consume_typed('job', 'job', NULL::text, 100)"
job_delete='DELETE FROM job WHERE id = ANY (ARRAY(
	SELECT id FROM job ORDER BY id LIMIT 100 FOR UPDATE SKIP LOCKED))
	RETURNING key, value'

# fresh_job_topic partitions
fresh_job_topic()
{
	fresh_topic job "$1"
	sql "SELECT queue.create_group('job', 'job')" >/dev/null
	sql CHECKPOINT
}

fresh_job_table()
{
	sql 'DROP TABLE IF EXISTS job'
	sql 'CREATE TABLE job (id bigserial PRIMARY KEY, key text, value text)'
	sql CHECKPOINT
}

# The table is never analyzed: its readers shall use the index all the same.
with_index() { PGOPTIONS="$PGOPTIONS -c enable_seqscan=off -c enable_sort=off" "$@"; }

# ----------------------------------------------------------------------
# Wake-up
# ----------------------------------------------------------------------

wakeup_produce="SELECT queue.produce('job', repeat('x', 100), 'k0000001')"
wakeup_insert="WITH i AS (INSERT INTO job (key, value) VALUES ('k0000001', repeat('x', 100))
	RETURNING id) SELECT pg_notify('job', '') FROM i"

# wakeup_figure name client argument...: of its report
wakeup_figure()
{
	local name=$1 out
	shift
	out=$("$work/wakeup" -n "$WAKEUP_SAMPLES" "$@") || return 1
	note "      $out"
	field "$name" "$out"
}

# wakeup_topic figure synchronous_commit, wakeup_notify figure synchronous_commit
wakeup_topic()
{
	fresh_job_topic 1
	wakeup_figure "$1" -s "SET synchronous_commit = $2" \
		-w "$job_wait" "$wakeup_produce" "$job_consume"
}

wakeup_notify()
{
	fresh_job_table
	with_index wakeup_figure "$1" -s "SET synchronous_commit = $2" \
		-l job "$wakeup_insert" "$job_delete"
}

# compare_wakeup row what bar figure [synchronous_commit]
compare_wakeup()
{
	local sync=${5:-off}
	local call="wakeup -n $WAKEUP_SAMPLES -s 'SET synchronous_commit = $sync'"
	command_of "$1" queue "$call -w \"$job_wait\" \"$wakeup_produce\" \"$job_consume\""
	command_of "$1" listen "$call -l job \"$wakeup_insert\" \"$job_delete\""
	compare "$1" "$2" microseconds "$3" "wakeup_topic $4 $sync" "wakeup_notify $4 $sync"
}

bench_wakeup_p50()
{
	compare_wakeup wakeup_p50 'COMMIT of a produce until the waiter returns, median : NOTIFY' \
		'<= 1.00' p50
}

bench_wakeup_p99()
{
	compare_wakeup wakeup_p99 'the same, 99th percentile' '<= 1.00' p99
}

bench_wakeup_read_p50()
{
	compare_wakeup wakeup_read_p50 'the same, until the waiter has the message, median' \
		- read_p50
}

bench_wakeup_flush_p50()
{
	compare_wakeup wakeup_flush_p50 'as wakeup_p50, the COMMIT waits for the disk' - p50 on
}

bench_wakeup_flush_p99()
{
	compare_wakeup wakeup_flush_p99 'the same, 99th percentile' - p99 on
}

# ----------------------------------------------------------------------
# Workers in the background
# ----------------------------------------------------------------------

workers_asleep="SELECT count(*) FROM pg_stat_activity
	WHERE application_name = 'worker -w' AND wait_event_type = 'Extension'
		OR application_name = 'worker -l' AND wait_event = 'ClientRead'"

# start_workers number -w|-l argument...: returns once all of them sleep
start_workers()
{
	local patience
	coproc crew { PGAPPNAME="worker $2" "$work/workers" -c "$@" >"$work/workers.out"; }
	crew_in=${crew[1]} crew_pid=$!
	for patience in {1..300}; do
		sleep 0.1
		[ "$(sql "$workers_asleep")" != "$1" ] || return 0
	done
	die "workers do not sleep"
}

# Ends them; what they report is in $report then.
stop_workers()
{
	exec {crew_in}>&-
	wait "$crew_pid" || die 'workers failed'
	report=$(cat "$work/workers.out")
}

# ----------------------------------------------------------------------
# Producers while others wait for other topics
# ----------------------------------------------------------------------

make_waiting_topics()
{
	[ -z "$(sql "SELECT 1 FROM queue.topic WHERE name = 'waiting0'")" ] || return 0
	sql "SELECT count(queue.create_topic('waiting' || n, 1, 'text'))
		FROM generate_series(0, $WAITERS - 1) n" >/dev/null
	sql "SELECT count(*) FROM generate_series(0, $WAITERS - 1) n,
		queue.create_group('waiting', 'waiting' || n)" >/dev/null
}

waiting_call="CALL queue.wait('waiting', 'waiting{client}', NULL)"

# No session produces there, so no waiter may have been woken in the end.
singles_beside_waiters()
{
	local rate report
	start_workers "$WAITERS" -w "$waiting_call"
	rate=$(singles_to_topic 8) || exit 1
	expect waiters "$WAITERS" "$workers_asleep"
	stop_workers
	[ "$(field waits "$report")" = 0 ] || die "waiters: $report"
	echo "$rate"
}

bench_produce_waiters()
{
	local rounds=$((rounds * SINGLE_ROUNDS))
	sample_value=$(sql 'SELECT value FROM sample WHERE n = 1')
	make_waiting_topics
	command_of produce_waiters queue "workers -c $WAITERS -w \"$waiting_call\"; as single8"
	compare produce_waiters "produce, 8 clients, $WAITERS sessions wait for other topics : none does" \
		'transactions/s' '>= 0.95' singles_beside_waiters 'singles_to_topic 8'
}

# ----------------------------------------------------------------------
# Producers, and consumers that wait for them
# ----------------------------------------------------------------------

job_produce="\\set k random(1, 1000)
SELECT queue.produce('job', :value, 'k' || :k)"
job_insert="\\set k random(1, 1000)
INSERT INTO job (key, value) VALUES ('k' || :k, :value) RETURNING pg_notify('job', '')"

# await what query: until it yields t, for a minute at most
await()
{
	local patience
	for patience in {1..600}; do
		[ "$(sql "$2")" != t ] || return 0
		sleep 0.1
	done
	die "$1: not after a minute"
}

# jobs figure statement query argument...: 8 producers and 8 workers; the query
# tells whether all was consumed.  figure: produced, messages a second while the
# producers were at it; drained, from the first message read to the last
jobs()
{
	local figure=$1 statement=$2 drained=$3 out report
	shift 3
	start_workers 8 "$@"
	out=$(pgbench_run 8 "$JOB_SECONDS" "$statement") || exit 1
	await consumers "$drained"
	stop_workers
	[ "$(field rows "$report")" = "${out% *}" ] || die "$out produced, read: $report"
	note "      $out; $report"
	if [ "$figure" = produced ]; then
		echo "${out#* }"
	else
		calc "$(field rows "$report") / $(field seconds "$report")"
	fi
}

jobs_by_topic()
{
	fresh_job_topic 8
	jobs "$1" "$job_produce" \
		"SELECT sum(lag) = 0 FROM queue.consumer_groups WHERE consumer_group = 'job'" \
		-w "$job_wait" -r "$job_consume"
}

jobs_by_notify()
{
	fresh_job_table
	with_index jobs "$1" "$job_insert" \
		'SELECT NOT EXISTS (SELECT FROM job)' -l job -r "$job_delete"
}

# compare_jobs row what bar figure
compare_jobs()
{
	local call="pgbench -n -M prepared -c 8 -j 2 -T $JOB_SECONDS -f"
	sample_value=$(sql 'SELECT value FROM sample WHERE n = 1')
	command_of "$1" queue "$call <($job_produce); workers -c 8 -w \"$job_wait\" -r \"$job_consume\""
	command_of "$1" listen "$call <($job_insert); workers -c 8 -l job -r \"$job_delete\""
	compare "$1" "$2" 'messages/s' "$3" "jobs_by_topic $4" "jobs_by_notify $4"
}

bench_produce_consumers()
{
	compare_jobs produce_consumers \
		'produce, 8 clients, 8 consumers wait for it : INSERT, NOTIFY, SKIP LOCKED' \
		'>= 1.50' produced
}

bench_produce_consumers_drained()
{
	compare_jobs produce_consumers_drained 'the same, until the last message is read' \
		- drained
}

# ----------------------------------------------------------------------
# poll and commit_offset
# ----------------------------------------------------------------------

poll_page="SELECT count(*), sum(length(m.value)) AS bytes, max(m.\"offset\") AS last,
		max(m.partition) AS partition, max(m.epoch) AS epoch INTO page
	FROM queue.poll_typed('{group}', 'drain', 'member', NULL::text, 1000) m"
commit_page="COMMIT;
				PERFORM queue.commit_offset('{group}', 'drain', page.partition,
					page.last + 1, 'member', page.epoch);"

poll_loop()
{
	fresh_group drain earliest
	read_rate "$(read_loop "${poll_page/\{group\}/$group}" "${commit_page/\{group\}/$group}")"
}

bench_poll_commit()
{
	make_drain_tables
	command_of poll_commit queue "$(read_loop "$poll_page" "$commit_page")"
	command_of poll_commit consume "$(read_loop "$consume_page")"
	compare poll_commit 'poll of 1,000 and commit_offset, in the server : consume of 1,000' \
		'messages/s' '>= 0.70' poll_loop consume_loop
}

poll_sql="SELECT \"offset\", epoch, \"timestamp\", partition, key, value, headers
	FROM queue.poll_typed('{group}', 'drain', 'member', NULL::text, 1000)"
commit_sql="SELECT queue.commit_offset('{group}', 'drain', 0, \$1 + 1, 'member', \$2)"

poll_to_client()
{
	fresh_group drain earliest
	drain_rate -e -f "${commit_sql/\{group\}/$group}" "${poll_sql/\{group\}/$group}"
}

bench_poll_commit_client()
{
	make_drain_tables
	command_of poll_commit_client queue "client -e -f \"$commit_sql\" '$poll_sql'"
	command_of poll_commit_client consume "client -e '${consume_sql/\{columns\}/$all_columns}'"
	compare poll_commit_client 'the same, to a client, all columns' \
		'messages/s' '-' poll_to_client consume_all_to_client
}

# ----------------------------------------------------------------------
# A member dies
# ----------------------------------------------------------------------

# member_polls first last times [commit]: members poll in turn, and commit
member_polls()
{
	cat <<-SQL
		DO \$\$
		DECLARE
			page record;
		BEGIN
			FOR i IN 1 .. $3 LOOP
				FOR m IN $1 .. $2 LOOP
					SELECT max(r."offset") AS last, max(r.epoch) AS epoch,
						min(r.partition) AS partition, max(r.partition) AS other INTO page
					FROM queue.poll_typed('rebalance', 'rebalance', 'm' || m, NULL::text, 10,
						lease => '2 seconds') r;
					COMMIT;
					IF page.partition <> page.other THEN
						RAISE EXCEPTION 'messages of two partitions: %', page;
					END IF;
					IF ${4:-true} AND page.last IS NOT NULL THEN
						PERFORM queue.commit_offset('rebalance', 'rebalance',
							page.partition, page.last + 1, 'm' || m, page.epoch);
						COMMIT;
					END IF;
				END LOOP;
				PERFORM pg_sleep(0.02);
				COMMIT;
			END LOOP;
		END \$\$
	SQL
}

member_counts="SELECT string_agg(n::text, ' ' ORDER BY n) FROM (
	SELECT cardinality(partitions) AS n FROM queue.members
	WHERE consumer_group = 'rebalance' AND alive) m"
keep_owners='CREATE TABLE owner AS SELECT member, partition
	FROM queue.members, unnest(partitions) AS partition
	WHERE consumer_group = '\''rebalance'\'
changed_owner="SELECT count(*) FROM owner o
	WHERE NOT EXISTS (SELECT FROM queue.members m WHERE m.consumer_group = 'rebalance'
		AND m.alive AND m.member = o.member AND o.partition = ANY (m.partitions))"

# Member 8 takes messages and is never heard of again; the others go on until
# its lease is over and they have its partitions, and then some more.
changed_hands()
{
	local patience seven_members='9 9 9 9 9 9 10'
	sql "SELECT queue.drop_topic('rebalance', true)" >/dev/null
	sql "SELECT queue.create_topic('rebalance', 64, 'text')" >/dev/null
	sql "SELECT count(*) FROM generate_series(0, 63) p,
		queue.produce_batch('rebalance', array_fill('x'::text, ARRAY[1000]), partition => p)" >/dev/null
	sql "SELECT queue.create_group('rebalance', 'rebalance')" >/dev/null
	sql "$(member_polls 1 8 20)" || exit 1
	expect 'eight members' '8 8 8 8 8 8 8 8' "$member_counts"
	sql 'DROP TABLE IF EXISTS owner'
	sql "$keep_owners" && sql "$(member_polls 8 8 1 false)" || exit 1
	expect 'messages in hand' t "SELECT in_hand > 0 FROM queue.members
		WHERE consumer_group = 'rebalance' AND member = 'm8'"
	for patience in {1..60}; do
		sql "$(member_polls 1 7 10)" || exit 1
		[ "$(sql "$member_counts")" != "$seven_members" ] || break
	done
	sql "$(member_polls 1 7 20)" || exit 1
	expect 'seven members' "$seven_members" "$member_counts"
	sql "$changed_owner"
}

dead_member_had()
{
	sql "SELECT count(*) FROM owner WHERE member = 'm8'"
}

bench_rebalance()
{
	command_of rebalance queue "$(member_polls 1 8 20)"
	compare rebalance 'one of 8 members dies: partitions that change hands : that it had' \
		'partitions' '<= 1.00' changed_hands dead_member_had
	sql "SELECT queue.drop_topic('rebalance')" >/dev/null
}

# ----------------------------------------------------------------------
# Many groups
# ----------------------------------------------------------------------

# make_list topic row-condition: groups that have read half of each partition
# that the condition on group g and partition p lets them read.  Written
# straight into the tables, as create_group and consume would leave it, in no
# order: commits come as they come.
make_list()
{
	fresh_topic "$1" "$LIST_PARTITIONS"
	sql "SELECT count(*) FROM generate_series(0, $LIST_PARTITIONS - 1) p,
		queue.produce_batch('$1', array_fill('x'::text, ARRAY[10]), partition => p)" >/dev/null
	sql "INSERT INTO queue.consumer_group (name, owner)
		SELECT 'list' || n, 'postgres' FROM generate_series(0, $LIST_GROUPS - 1) n
		ON CONFLICT DO NOTHING"
	sql "INSERT INTO queue.progress (group_id, topic_id, partition, paused, action,
			generation, committed_offset, committed_at, committed_by)
		SELECT c.group_id, t.topic_id, p, false, 'c', 1, 5, now(), 'postgres'
		FROM generate_series(0, $LIST_GROUPS - 1) g,
			generate_series(0, $LIST_PARTITIONS - 1) p,
			queue.consumer_group c, queue.topic t
		WHERE ($2) AND c.name = 'list' || g AND t.name = '$1'
		ORDER BY random()"
	sql 'VACUUM ANALYZE queue.progress'
	sql CHECKPOINT
}

make_long_list()
{
	[ -n "$(sql "SELECT 1 FROM queue.topic WHERE name = 'list'")" ] ||
		make_list list true
	expect 'long list' "$((LIST_GROUPS * LIST_PARTITIONS))|t" "SELECT count(*), every(lag = 5)
		FROM queue.consumer_groups WHERE topic = 'list'"
}

drop_list()
{
	sql "SELECT queue.drop_topic('$1')" >/dev/null
	sql 'VACUUM queue.progress'
}

kafka_columns='consumer_group, topic, partition, current_offset, log_end_offset, lag, member, client'
list_count='SELECT count(*) FROM queue.consumer_groups'
list_columns='SELECT count(consumer_group), count(topic), sum(partition), sum(current_offset),
	sum(log_end_offset), sum(lag), count(member), count(client) FROM queue.consumer_groups'
list_all='SELECT count(g), sum(length(g::text)) > 0 FROM queue.consumer_groups g'

# measure_list row what bar statement
measure_list()
{
	list_statement=$4
	list_result=$(sql "$4") || exit 1
	command_of "$1" queue "$4"
	measure "$1" "$2" seconds "$3" list_side
}

list_side() { seconds_of "$list_statement" "$list_result"; }

bench_group_list_small()
{
	make_list listsmall 'p = g % '"$LIST_PARTITIONS"
	measure_list group_list_small \
		"$LIST_GROUPS groups that have begun one of $LIST_PARTITIONS partitions each, all columns" \
		'-' "$list_all"
	drop_list listsmall
}

bench_group_list()
{
	make_long_list
	measure_list group_list "$LIST_GROUPS groups that read $LIST_PARTITIONS partitions each, count" \
		'<= 1.00' "$list_count"
}

bench_group_list_columns()
{
	make_long_list
	measure_list group_list_columns "the same, Kafka's columns" '<= 1.00' "$list_columns"
}

list_to_client()
{
	local out
	out=$(client -n 1 "SELECT $kafka_columns FROM queue.consumer_groups") || return 1
	[ "$(field rows "$out")" -ge $((LIST_GROUPS * LIST_PARTITIONS)) ] || die "client read: $out"
	field seconds "$out"
}

bench_group_list_client()
{
	make_long_list
	command_of group_list_client queue "client -n 1 'SELECT $kafka_columns FROM queue.consumer_groups'"
	measure group_list_client 'the same, sent to a client' seconds - list_to_client
}
