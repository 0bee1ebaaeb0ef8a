# shellcheck shell=bash disable=SC2034,SC2154
# Machinery of the benchmark: its servers, timing, alternating rounds, results.
# Sourced by run.sh after test/lib.sh; nothing here knows what is measured.
#
: "${OTHERS_PERCENT:=10}"     # CPU share of other work that voids a round
: "${OTHERS_PATIENCE:=600}"   # seconds of a whole run spent on such rounds

# A side is a shell function that does one run, checks that the run really
# did its work, and prints one figure.  "compare" alternates two of them.

die()
{
	printf 'bench: %s\n' "$*" >&2
	exit 1
}

note()
{
	printf '%s\n' "$*" >&2
}

# ----------------------------------------------------------------------
# Servers
# ----------------------------------------------------------------------

# The servers' folder must lie on the project's disk: name the first usual
# place there is on the same device, or the project's own folder.
choose_disk()
{
	local device dir
	device=$(stat -c %d "$bench_dir")
	for dir in "${TMPDIR:-/tmp}" /var/tmp "$bench_dir"; do
		if [ "$(stat -c %d "$dir" 2>/dev/null)" = "$device" ]; then
			export TMPDIR=$dir
			return
		fi
	done
}

settings=(
	"shared_buffers = ${BENCH_SHARED_BUFFERS:-1GB}"
	'fsync = on'
	'synchronous_commit = on'
	'full_page_writes = on'
	'wal_level = replica'
	"min_wal_size = ${BENCH_MIN_WAL_SIZE:-32GB}"
	"max_wal_size = ${BENCH_MAX_WAL_SIZE:-64GB}"
	'checkpoint_timeout = 1h'
	'max_connections = 200'
	'max_parallel_workers_per_gather = 0'
	'jit = off'
	'queue.maintenance_interval = 1'
)

# start_server name port [library to preload]
start_server()
{
	LD_PRELOAD=${3:-} start_cluster "$1" "port = $2" "${settings[@]}" ||
		die "server $1 does not start"
	use_server "$2"
	sql 'CREATE EXTENSION queue' || die 'cannot create the extension'
	make_sample
}

# A WAL file that is made during a run costs far more than one that is used
# again; so have these many, of 16 MB, before anything is measured.
make_wal_files()
{
	local i
	for ((i = 0; i < $1; i++)); do
		printf '%s\n' "SELECT pg_logical_emit_message(false, 'bench', 'x');" \
			'SELECT pg_switch_wal();'
	done | psql -Xq >/dev/null
	sql CHECKPOINT
	sql CHECKPOINT
}

stop_server()
{
	as_user pg_ctl -D "$work/$1" -m immediate -w -s stop
}

use_server()
{
	export PGPORT=$1 PGDATABASE=postgres
	export PGOPTIONS='-c client_min_messages=warning'
}

# ----------------------------------------------------------------------
# SQL
# ----------------------------------------------------------------------

sql()
{
	psql -XqAt -v ON_ERROR_STOP=1 -c "$1"
}

# seconds_of statement [its expected output]: the time as psql sees it
seconds_of()
{
	local out got
	out=$(psql -XqAt -v ON_ERROR_STOP=1 -c "\\timing on" -c "$1") ||
		die "failed: $1"
	got=$(sed "/^Time: /d" <<<"$out")
	[ "$got" = "${2:-}" ] || die "expected ${2:-nothing}, got $got: $1"
	sed -n "s/^Time: \\([0-9.]*\\) ms.*/\\1/p" <<<"$out" | awk "{ print \$1 / 1000 }"
}

# expect what wanted query: the run is void unless the query says so
expect()
{
	local got
	got=$(sql "$3") || die "$1: cannot check"
	[ "$got" = "$2" ] || die "$1: expected $2, found $got"
}

# field name line: value of "name=value" in the client's report
field()
{
	sed -n "s/.*\b$1=\([0-9.]*\).*/\1/p" <<<"$2"
}

calc()
{
	awk "BEGIN { printf \"%.10g\\n\", $1 }"
}

# ----------------------------------------------------------------------
# Data: 1,000 messages, a key of 8 and a value of 100 characters
# ----------------------------------------------------------------------

sample_arrays='SELECT key, value FROM sample ORDER BY n'

make_sample()
{
	sql "CREATE TABLE sample AS
		SELECT n, 'k' || lpad(n::text, 7, '0') AS key,
			left(md5(n::text) || md5(n::text || 'a') || md5(n::text || 'b')
				|| md5(n::text || 'c'), 100) AS value
		FROM generate_series(1, 1000) n"
}

fresh_heap()
{
	sql 'DROP TABLE IF EXISTS heap'
	sql 'CREATE TABLE heap (key text, value text)'
	sql CHECKPOINT
}

# use_partitions topic: make the first segments, which is not measured, and leave
# them empty
use_partitions()
{
	sql "INSERT INTO topic.$1 (partition, key)
		SELECT generate_series(0, partitions - 1), 'k' FROM queue.topic WHERE name = '$1'"
	sql "SET queue.allow_ddl = on;
		DO \$\$ BEGIN EXECUTE format('TRUNCATE %s',
			(SELECT log FROM queue.topic WHERE name = '$1')); END \$\$"
}

# fresh_topic name [partitions]
fresh_topic()
{
	sql "SELECT queue.drop_topic('$1', true)" >/dev/null
	sql "SELECT queue.create_topic('$1', ${2:-1}, 'text')" >/dev/null
	use_partitions "$1"
	sql CHECKPOINT
}

# batch_loop topic messages [statement after each call]: produce_batch of the
# sample, over and over, from arrays at hand
batch_loop()
{
	cat <<-SQL
		DO \$\$
		DECLARE
			keys text[];
			batch text[];
		BEGIN
			SELECT array_agg(key ORDER BY n), array_agg(value ORDER BY n)
			INTO keys, batch FROM sample;
			FOR i IN 1 .. $2 / 1000 LOOP
				PERFORM queue.produce_batch('$1', batch, keys);
				${3:-}
			END LOOP;
		END \$\$
	SQL
}

# fill_topic topic messages: in one transaction
fill_topic()
{
	sql "$(batch_loop "$1" "$2")"
}

# ----------------------------------------------------------------------
# Rounds and results
# ----------------------------------------------------------------------

# summary figure...: median, least, greatest
summary()
{
	printf '%s\n' "$@" | sort -g | awk '{ v[NR] = $1 }
		END { m = NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2
			printf "%.4f %.4f %.4f\n", m, v[1], v[NR] }'
}

ratio()
{
	awk -v a="$1" -v b="$2" 'BEGIN { printf "%.6f\n", b == 0 ? (a == 0 ? 1 : 1e9) : a / b }'
}

# verdict figure bar, where the bar is ">= n", "<= n" or "-"
verdict()
{
	awk -v f="$1" -v bar="$2" 'BEGIN {
		split(bar, b, " ")
		if (b[1] == ">=") ok = f >= b[2]
		else if (b[1] == "<=") ok = f <= b[2]
		else { print "info"; exit }
		print ok ? "PASS" : "MISS" }'
}

# result name what unit bar a b ratio least greatest
result()
{
	local IFS='|'
	printf '%s\n' "$*|$(verdict "$7" "$4")" >>"$results"
	note "  $1: $3 $5 / $6, ratio $7 ($8..$9), bar $4"
}

# command name side text
command_of()
{
	printf '%s|%s|%s\n' "$1" "$2" "$(tr -s '\t\n ' '   ' <<<"$3")" >>"$commands"
}

# CPU seconds of processes that are not the benchmark's, and the clock.
others_cpu()
{
	# shellcheck disable=SC2046
	perl "$bench_dir/others_cpu.pl" $$ $(head -qn 1 "$work"/*/postmaster.pid)
}

# others_percent before: the share of the machine's CPU they took since then
others_percent()
{
	printf '%s\n' "$1" "$(others_cpu)" | awk -v cpus="$(nproc)" '
		NR == 1 { cpu = $1; clock = $2 }
		NR == 2 { printf "%d\n", 100 * ($1 - cpu) / (($2 - clock) * cpus) }'
}

# others_took before: true if others took so much of the machine since then
# that the round says little and must be run again, now that they are quiet or
# patience is at its end.  Counts the caller's reruns.
others_took()
{
	local percent begun=${1#* } quiet
	percent=$(others_percent "$1")
	[ "$percent" -gt "$OTHERS_PERCENT" ] && [ "$OTHERS_PATIENCE" -gt 0 ] || return 1
	reruns=$((reruns + 1))
	note "    others took $percent % of the CPU: again"
	for quiet in {1..30}; do
		quiet=$(others_cpu)
		sleep 1
		[ "$(others_percent "$quiet")" -gt "$OTHERS_PERCENT" ] || break
	done
	OTHERS_PATIENCE=$((OTHERS_PATIENCE - $(date +%s) + ${begun%.*}))
}

# note_reruns name rounds
note_reruns()
{
	[ "$2" -eq 0 ] || command_of "$1" note \
		"$2 rounds were run again because of other work on the machine"
}

# compare name what unit bar side_a side_b
# A B A B ..., after one round that does not count; the ratio is A / B.
compare()
{
	local name=$1 what=$2 unit=$3 bar=$4 side_a=$5 side_b=$6
	local a b before as=() bs=() ratios=() round=0 reruns=0
	note "$name"
	while [ "$round" -le "$rounds" ]; do
		before=$(others_cpu)
		a=$($side_a) && [ -n "$a" ] || die "$name: $side_a failed"
		b=$($side_b) && [ -n "$b" ] || die "$name: $side_b failed"
		round=$((round + 1))
		[ "$round" -gt 1 ] || continue
		note "    $a $b $(ratio "$a" "$b")"
		if others_took "$before"; then
			round=$((round - 1))
			continue
		fi
		as+=("$a") bs+=("$b") ratios+=("$(ratio "$a" "$b")")
	done
	read -r a _ <<<"$(summary "${as[@]}")"
	read -r b _ <<<"$(summary "${bs[@]}")"
	# shellcheck disable=SC2046
	result "$name" "$what" "$unit" "$bar" "$a" "$b" $(summary "${ratios[@]}")
	note_reruns "$name" "$reruns"
}

# measure name what unit bar side: an absolute figure instead of a ratio
measure()
{
	local name=$1 what=$2 unit=$3 bar=$4 side=$5
	local a as=() before round=0 reruns=0
	note "$name"
	while [ "$round" -lt "$rounds" ]; do
		before=$(others_cpu)
		a=$($side) && [ -n "$a" ] || die "$name: $side failed"
		! others_took "$before" || continue
		round=$((round + 1))
		as+=("$a")
	done
	read -r a _ <<<"$(summary "${as[@]}")"
	# shellcheck disable=SC2046
	result "$name" "$what" "$unit" "$bar" "$a" - $(summary "${as[@]}")
	note_reruns "$name" "$reruns"
}
