# shellcheck shell=bash disable=SC2034,SC2154
# Producing: batches from a client and inside the server, COPY, INSERT,
# single messages.  Sourced by run.sh; uses lib.sh.

: "${BATCH_CALLS:=1000}"        # calls of 1,000 messages that a client makes
: "${SERVER_MESSAGES:=1000000}" # for batches and COPY inside the server
: "${FACE_MESSAGES:=300000}"    # for COPY and INSERT into the view
: "${SINGLE_SECONDS:=1}"        # length of a pgbench run
: "${SINGLE_ROUNDS:=3}"         # times ROUNDS: many short runs beat few long ones

# ----------------------------------------------------------------------
# Batches sent by a client
# ----------------------------------------------------------------------

batch_sql="SELECT * FROM queue.produce_batch('bench', \$2, keys => \$1, partition => {client})"
unnest_sql='INSERT INTO heap SELECT * FROM unnest($1, $2)'

# Sides: number of clients, and -b for arrays in binary format.
batches_to_topic()
{
	local out
	fresh_topic bench "$1"
	out=$(client ${2:-} -c "$1" -n "$BATCH_CALLS" -a "$sample_arrays" "$batch_sql") || return 1
	expect produce_batch $((BATCH_CALLS * 1000 * $1)) 'SELECT count(*) FROM topic.bench'
	calc "1000 * $(field calls_per_s "$out")"
}

batches_to_heap()
{
	local out
	fresh_heap
	out=$(client ${2:-} -c "$1" -n "$BATCH_CALLS" -a "$sample_arrays" "$unnest_sql") || return 1
	expect unnest $((BATCH_CALLS * 1000 * $1)) 'SELECT count(*) FROM heap'
	calc "1000 * $(field calls_per_s "$out")"
}

compare_batches()
{
	local call="client ${4:-} -c $3 -n $BATCH_CALLS -a '$sample_arrays'"
	command_of "$1" queue "$call \"$batch_sql\""
	command_of "$1" heap "$call \"$unnest_sql\""
	compare "$1" "$2" 'messages/s' '>= 1.40' \
		"batches_to_topic $3 ${4:-}" "batches_to_heap $3 ${4:-}"
}

bench_batch1()
{
	compare_batches batch1 \
		'produce_batch of 1,000 by 1 client : INSERT SELECT unnest' 1 -b
}

bench_batch1_text()
{
	compare_batches batch1_text 'the same, arrays in text format' 1
}

bench_batch2()
{
	compare_batches batch2 'the same as batch1, 2 clients, 2 partitions' 2 -b
}

# ----------------------------------------------------------------------
# Batches from arrays at hand
# ----------------------------------------------------------------------

# The sample over and over, as many messages as asked, in a server file.
sample_file()
{
	[ ! -e "$1" ] || return 0
	sql "COPY (SELECT key, value
			FROM generate_series(1, $2 / 1000) i, sample ORDER BY i, n)
		TO '$1' ($3)"
}

# The same messages with all columns of the log, in binary format.
log_file()
{
	[ ! -e "$1" ] || return 0
	fresh_topic bench
	fill_topic bench "$2"
	sql "COPY (SELECT \"offset\", \"timestamp\", partition, key, value, headers
			FROM topic.bench ORDER BY \"offset\")
		TO '$1' (FORMAT binary)"
}

fresh_log_heap()
{
	sql 'DROP TABLE IF EXISTS heap'
	sql 'CREATE TABLE heap ("offset" bigint, "timestamp" timestamptz, partition int,
		key text, value text, headers jsonb)'
	sql CHECKPOINT
}

loop_to_topic()
{
	local seconds
	fresh_topic bench
	seconds=$(seconds_of "$(batch_loop bench "$SERVER_MESSAGES" "${1:-}")") || return 1
	expect produce_batch "$SERVER_MESSAGES" 'SELECT count(*) FROM topic.bench'
	calc "$SERVER_MESSAGES / $seconds"
}

copy_binary_sql="COPY heap FROM '{files}/{file}' (FORMAT binary)"

# copy_to_heap file: into the heap that the caller has made
copy_to_heap()
{
	local seconds
	seconds=$(seconds_of "${copy_binary_sql/\{files\}\/\{file\}/$work/files/$1}") || return 1
	expect COPY "$SERVER_MESSAGES" 'SELECT count(*) FROM heap'
	calc "$SERVER_MESSAGES / $seconds"
}

copy_two_columns()
{
	fresh_heap
	copy_to_heap sample.bin
}

copy_log_columns()
{
	fresh_log_heap
	copy_to_heap log.bin
}

# compare_loop name what bar copy_side file [statement after each call]
compare_loop()
{
	command_of "$1" queue "$(batch_loop bench "$SERVER_MESSAGES" "${6:-}")"
	command_of "$1" heap "${copy_binary_sql/\{file\}/$5}"
	compare "$1" "$2" 'messages/s' "$3" "loop_to_topic ${6:-}" "$4"
}

bench_server()
{
	sample_file "$work/files/sample.bin" "$SERVER_MESSAGES" 'FORMAT binary'
	compare_loop server \
		'produce_batch in the server, one transaction : COPY BINARY, one transaction' \
		'>= 1.20' copy_two_columns sample.bin
}

bench_server_commit()
{
	sample_file "$work/files/sample.bin" "$SERVER_MESSAGES" 'FORMAT binary'
	compare_loop server_commit \
		'the same, a COMMIT after each 1,000 : COPY BINARY, one transaction' \
		'-' copy_two_columns sample.bin 'COMMIT;'
}

bench_server_log()
{
	log_file "$work/files/log.bin" "$SERVER_MESSAGES"
	compare_loop server_log "the same as server : COPY BINARY of the log's six columns" \
		'-' copy_log_columns log.bin
}

# ----------------------------------------------------------------------
# The view: COPY and INSERT ... SELECT
# ----------------------------------------------------------------------

copy_text_sql="COPY {table} (key, value) FROM '{files}/sample.txt'"
insert_sql="INSERT INTO {table} (key, value)
	SELECT key, value FROM generate_series(1, $FACE_MESSAGES / 1000) i, sample"

# load_table table statement: messages a second
load_table()
{
	local statement=${2/\{table\}/$1} seconds
	if [ "$1" = heap ]; then fresh_heap; else fresh_topic bench; fi
	seconds=$(seconds_of "${statement/\{files\}/$work/files}") || return 1
	expect "load of $1" "$FACE_MESSAGES" "SELECT count(*) FROM $1"
	calc "$FACE_MESSAGES / $seconds"
}

copy_into() { load_table "$1" "$copy_text_sql"; }
insert_into() { load_table "$1" "$insert_sql"; }

bench_copy()
{
	sample_file "$work/files/sample.txt" "$FACE_MESSAGES" 'FORMAT text'
	command_of copy queue "${copy_text_sql/\{table\}/topic.bench}"
	command_of copy heap "${copy_text_sql/\{table\}/heap}"
	compare copy 'COPY into topic.x : into a heap' 'messages/s' '>= 0.40' \
		'copy_into topic.bench' 'copy_into heap'
}

bench_insert()
{
	command_of insert queue "${insert_sql/\{table\}/topic.bench}"
	command_of insert heap "${insert_sql/\{table\}/heap}"
	compare insert 'INSERT SELECT into topic.x : into a heap' 'messages/s' '>= 0.40' \
		'insert_into topic.bench' 'insert_into heap'
}

# ----------------------------------------------------------------------
# One message a transaction, one partition
# ----------------------------------------------------------------------

produce_sql="SELECT queue.produce('bench', :value, :key)"
single_insert_sql='INSERT INTO heap (key, value) VALUES (:key, :value)'

# pgbench_run clients seconds statement: "transactions rate", none of which failed
pgbench_run()
{
	local out script=$work/single.sql
	printf '%s;\n' "$3" >"$script"
	out=$(pgbench -n -M prepared -c "$1" -j $(($1 < 2 ? 1 : 2)) -T "$2" \
		-D key=k0000001 -D value="$sample_value" -D s=0 -f "$script" 2>&1) ||
		die "pgbench: $out"
	grep -q 'number of failed transactions: 0 ' <<<"$out" || die "pgbench: $out"
	sed -n 's/^number of transactions actually processed: //p;
		s/^tps = \([0-9.]*\) .*/\1/p' <<<"$out" | paste -sd' '
}

# pgbench_rate clients seconds statement table: transactions a second, after
# a check that every transaction left its row in the table
pgbench_rate()
{
	local out
	out=$(pgbench_run "$1" "$2" "$3") || exit 1
	expect pgbench "${out% *}" "SELECT count(*) FROM $4"
	echo "${out#* }"
}

singles_to_topic()
{
	fresh_topic bench
	pgbench_rate "$1" "$SINGLE_SECONDS" "$produce_sql" topic.bench
}

singles_to_heap()
{
	fresh_heap
	pgbench_rate "$1" "$SINGLE_SECONDS" "$single_insert_sql" heap
}

# compare_singles name what clients bar
compare_singles()
{
	local call="pgbench -n -M prepared -c $3 -j 2 -T $SINGLE_SECONDS -f"
	local rounds=$((rounds * SINGLE_ROUNDS))
	sample_value=$(sql 'SELECT value FROM sample WHERE n = 1')
	command_of "$1" queue "$call <($produce_sql)"
	command_of "$1" heap "$call <($single_insert_sql)"
	compare "$1" "$2" 'transactions/s' "$4" "singles_to_topic $3" "singles_to_heap $3"
}

bench_single1()
{
	compare_singles single1 'produce, 1 client : INSERT' 1 '>= 0.90'
}

bench_single8()
{
	compare_singles single8 'produce, 8 clients : INSERT' 8 '>= 0.90'
}

bench_single32()
{
	compare_singles single32 'produce, 32 clients : INSERT' 32 '>= 0.90'
}

# The same on a server of its own whose every flush takes 1 ms longer.
bench_slow_flush()
{
	start_server slow 5433 "$work/slow_flush.so"
	make_wal_files 32
	check_slow_flush
	compare_singles slow_flush '32 clients, every flush + 1 ms : INSERT' 32 '>= 0.85'
	stop_server slow
	use_server 5432
}

# One client cannot commit more than 1,000 times a second under the shim.
check_slow_flush()
{
	local tps
	sample_value=x
	fresh_heap
	tps=$(pgbench_rate 1 1 "$single_insert_sql" heap) || exit 1
	[ "${tps%.*}" -lt 1000 ] || die "the flush shim does not work: $tps commits/s"
}
