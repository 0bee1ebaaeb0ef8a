# shellcheck shell=bash disable=SC2034,SC2154
# Produce and consume while another session holds a snapshot open.
# Sourced by run.sh; uses lib.sh.
#
# Ten minutes lie between the two figures of a row, so they cannot alternate;
# instead each alternates, second by second, with a yardstick that no snapshot
# can slow down: as many rows inserted into a bare heap.

: "${HOLD_SECONDS:=600}"    # how long the snapshot stays open
: "${HOLD_CLIENTS:=4}"
: "${HOLD_BACKLOG:=1000}"   # messages a partition, so that readers find some

hold_partitions=4
window=10                   # seconds of load in each figure

# ----------------------------------------------------------------------
# The load and the yardstick
# ----------------------------------------------------------------------

# hold_arrays messages: their keys and their values, as two array literals
hold_arrays()
{
	sql "SELECT quote_literal(array_agg(key ORDER BY n)) || '::text[] '
			|| quote_literal(array_agg(value ORDER BY n)) || '::text[]'
		FROM sample WHERE n <= $1"
}

# hold_script messages: one transaction that produces and consumes as many
hold_script()
{
	local keys batch
	read -r keys batch <<<"$(hold_arrays "$1")"
	cat <<-SQL
		\\set p random(0, $hold_partitions - 1)
		BEGIN;
		SELECT queue.produce_batch('hold', $batch, $keys, NULL, :p);
		SELECT count(*), sum(length(value)) FROM queue.consume_typed('hold', 'hold', NULL::text, $1);
		COMMIT;
	SQL
}

yardstick_script()
{
	local keys batch
	read -r keys batch <<<"$(hold_arrays "$1")"
	echo "INSERT INTO heap SELECT * FROM unnest($keys, $batch);"
}

make_hold_topic()
{
	local p
	fresh_heap
	fresh_topic hold "$hold_partitions"
	sql "SELECT queue.create_group('hold', 'hold')" >/dev/null
	for ((p = 0; p < hold_partitions; p++)); do
		sql "SELECT queue.produce_batch('hold',
				(SELECT array_agg(s.value ORDER BY s.n)
				FROM sample s, generate_series(1, $HOLD_BACKLOG / 1000)),
				partition => $p)" >/dev/null
	done
}

# hold_load script seconds: transactions a second
hold_load()
{
	local out
	out=$(pgbench -n -M prepared -c "$HOLD_CLIENTS" -j 2 -T "$2" -f "$1" 2>&1) ||
		die "pgbench: $out"
	grep -q 'number of failed transactions: 0 ' <<<"$out" || die "pgbench: $out"
	sed -n 's/^tps = \([0-9.]*\) .*/\1/p' <<<"$out"
}

# hold_window row: a line "load yardstick" for each of its seconds
hold_window()
{
	local i=0 load stick before reruns=0
	while [ "$i" -lt "$window" ]; do
		before=$(others_cpu)
		load=$(hold_load "$work/$1.sql" 1) || exit 1
		stick=$(hold_load "$work/$1-yardstick.sql" 1) || exit 1
		! others_took "$before" || continue
		echo "$load $stick"
		i=$((i + 1))
	done
}

# ----------------------------------------------------------------------
# The snapshot
# ----------------------------------------------------------------------

open_snapshot()
{
	coproc holder { psql -XqAt 2>&1; }
	holder_in=${holder[1]} holder_pid=$!
	echo "SET application_name = 'holder'; BEGIN ISOLATION LEVEL REPEATABLE READ;
		SELECT txid_current();" >&"$holder_in"
	sleep 1
}

close_snapshot()
{
	expect 'held snapshot' t "SELECT backend_xmin IS NOT NULL
			AND now() - xact_start >= make_interval(secs => $HOLD_SECONDS)
		FROM pg_stat_activity WHERE application_name = 'holder'"
	echo 'COMMIT; \q' >&"$holder_in"
	wait "$holder_pid"
}

# ----------------------------------------------------------------------
# The rows
# ----------------------------------------------------------------------

# prepare_disk messages: WAL files enough to be used again during the run, and
# room for as much in the topic.  25,000 transactions of 10 + 10 a second take
# some 35 MB a second of each.
prepare_disk()
{
	local free files=$((HOLD_SECONDS * $1 / 5 + 64))
	local need=$((files * 16 * 2))
	free=$(($(stat -f -c '%a * %S' "$work") / 1048576))
	[ "$free" -gt "$need" ] ||
		die "hold: $free MB free, may need $need; set HOLD_SECONDS lower"
	make_wal_files "$files"
}

# Consumers kept up if they are behind by the backlog and a few in a hundred of
# the messages, by default one; a partition that runs dry gives short batches now
# and then.
check_hold()
{
	local lag produced percent=${1:-1}
	IFS='|' read -r lag produced <<<"$(sql "SELECT sum(lag), sum(log_end_offset)
		FROM queue.consumer_groups WHERE consumer_group = 'hold'")"
	note "  produced $produced, lag $lag"
	[ "$lag" -le $((HOLD_BACKLOG * hold_partitions + produced * percent / 100)) ] ||
		die "hold: consumers fell behind"
}

# medians file: of the load, and of the load divided by its yardstick
medians()
{
	local load steady
	# shellcheck disable=SC2046
	read -r load _ <<<"$(summary $(cut -d' ' -f1 "$1"))"
	# shellcheck disable=SC2046
	read -r steady _ <<<"$(summary $(awk '{ print $1 / $2 }' "$1"))"
	echo "$load $steady"
}

# hold_result name what bar held free: two files of hold_window.  The ratio is
# that of the loads, each divided by the yardstick of its second.
hold_result()
{
	local held free steady_held steady_free raw _ least greatest
	read -r held steady_held <<<"$(medians "$4")"
	read -r free steady_free <<<"$(medians "$5")"
	# shellcheck disable=SC2046
	read -r _ least greatest <<<"$(summary $(paste -d' ' "$4" "$5" |
		awk '{ print ($1 / $2) / ($3 / $4) }'))"
	raw=$(ratio "$held" "$free")
	result "$1" "$2" 'transactions/s' "$3" "$held" "$free" \
		"$(ratio "$steady_held" "$steady_free")" "$least" "$greatest"
	note "    without the yardstick: $raw"
	command_of "$1" raw "ratio without the yardstick: $raw"
}

# compare_hold row messages bar what make script check: messages of a
# transaction; functions that make the topic, print the transaction (both are
# told its messages) and look in the end whether it did its work
compare_hold()
{
	local row=$1 script=$work/$1.sql stage=$work/$1 call
	note "$row (${HOLD_SECONDS} s)"
	prepare_disk "$2"
	"$5" "$2"
	"$6" "$2" >"$script"
	yardstick_script "$2" >"$work/$row-yardstick.sql"
	call="pgbench -n -M prepared -c $HOLD_CLIENTS -j 2 -f"
	command_of "$row" queue "$call <($(sed "s/'{[^']*}'/'{...}'/g" "$script"))"
	command_of "$row" stick "$call <($(sed "s/'{[^']*}'/'{...}'/g" "$work/$row-yardstick.sql"))"

	hold_load "$script" 5 >/dev/null || exit 1
	hold_window "$row" >"$stage.free" || exit 1
	open_snapshot
	hold_load "$script" "$HOLD_SECONDS" >/dev/null || exit 1
	hold_window "$row" >"$stage.held" || exit 1
	close_snapshot
	hold_window "$row" >"$stage.after" || exit 1
	"$7"

	hold_result "$row" "$4 after $HOLD_SECONDS s under a snapshot : its first $window s" \
		"$3" "$stage.held" "$stage.free"
	hold_result "${row}_after" 'the same : once the snapshot is gone' - \
		"$stage.held" "$stage.after"
	sql "SELECT queue.drop_topic('hold')" >/dev/null
}

bench_hold10()
{
	compare_hold hold10 10 '>= 0.95' '10 + 10' make_hold_topic hold_script check_hold
}

bench_hold1()
{
	compare_hold hold1 1 '>= 0.80' '1 + 1' make_hold_topic hold_script check_hold
}

# ----------------------------------------------------------------------
# A group with parked messages
# ----------------------------------------------------------------------

: "${HOLD_PARKED:=100000}"  # parked messages, each of its own key

# One call in a hundred parks its first message, which comes back a second later.
make_parked_topic()
{
	make_hold_topic
	sql "CREATE OR REPLACE FUNCTION consume_and_park(n int, fails boolean) RETURNS bigint
		LANGUAGE plpgsql AS \$\$
		DECLARE
			got record;
		BEGIN
			SELECT count(*), sum(length(value)), min(partition) AS part,
					min(\"offset\") FILTER (WHERE attempt = 1) AS \"first\"
				INTO got FROM queue.consume_typed('hold', 'hold', NULL::text, n);
			IF fails AND got.\"first\" IS NOT NULL THEN
				PERFORM queue.park('hold', 'hold', got.part, got.\"first\", 'bench', delay => '1 s');
			END IF;
			RETURN got.count;
		END \$\$"
	sql "DO \$\$
		DECLARE
			got record;
		BEGIN
			PERFORM queue.set_failure_policy('hold', 'hold', max_parked => 2 * $HOLD_PARKED);
			PERFORM count(*) FROM generate_series(1, $hold_partitions),
				queue.consume_typed('hold', 'hold', NULL::text, $HOLD_BACKLOG);
			FOR i IN 1 .. $HOLD_PARKED / 1000 LOOP
				PERFORM queue.produce_batch('hold', array_agg(value), array_agg('parked ' || i || ' ' || n),
					partition => i % $hold_partitions) FROM sample;
				COMMIT;
				FOR got IN SELECT * FROM queue.consume_typed('hold', 'hold', NULL::text, 1000) LOOP
					PERFORM queue.park('hold', 'hold', got.partition, got.\"offset\", 'bench', delay => '1 day', counts => false);
				END LOOP;
				COMMIT;
			END LOOP;
		END \$\$"
	expect 'parked messages' "$HOLD_PARKED" 'SELECT count(*) FROM queue.parked_message'
	sql "SELECT queue.produce_batch('hold', (SELECT array_agg(s.value)
			FROM sample s, generate_series(1, $HOLD_BACKLOG / 1000)), partition => p)
		FROM generate_series(0, $hold_partitions - 1) p" >/dev/null
	sql 'VACUUM ANALYZE'
}

hold_parked_script()
{
	local keys batch
	read -r keys batch <<<"$(hold_arrays "$1")"
	cat <<-SQL
		\\set p random(0, $hold_partitions - 1)
		\\set bad random(1, 100)
		BEGIN;
		SELECT queue.produce_batch('hold', $batch, $keys, NULL, :p);
		SELECT consume_and_park($1, :bad = 1);
		COMMIT;
	SQL
}

# What is parked comes a second time, one in a thousand.
check_hold_parked()
{
	check_hold 3
	expect 'parked messages' t "SELECT count(*) >= $HOLD_PARKED FROM queue.parked
		WHERE consumer_group = 'hold' AND due_at > now() + interval '1 hour'"
	sql "SELECT queue.drop_group('hold')" >/dev/null
}

bench_hold_parked()
{
	compare_hold hold_parked 10 '>= 0.90' "10 + 10, $HOLD_PARKED parked," \
		make_parked_topic hold_parked_script check_hold_parked
}
