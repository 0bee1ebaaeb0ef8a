#!/bin/bash
# The benchmark: one table, every figure a ratio taken in one run on one
# server.  METHODOLOGY.md says how and why.
#
#	BENCH         rows to run, names or patterns, separated by blanks (default all)
#	ROUNDS        rounds of each row (default 5)
#	HOLD_SECONDS  length of the held snapshot (default 600)
#	PG_CONFIG     the PostgreSQL to run (default the newest one installed)
#	KEEP_WORK     when set, the servers' folder is left behind

set -uo pipefail

bench_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
rounds=${ROUNDS:-5}

# shellcheck source=../lib.sh
. "$bench_dir/../lib.sh"
for part in lib produce consume process wal hold sequence groups partitions maintenance compact; do
	# shellcheck source=/dev/null
	. "$bench_dir/$part.sh"
done

all_rows='batch1 batch1_text batch2 server server_log server_commit copy insert
	single1 single8 single32 slow_flush
	consume_scan consume_index consume_position
	consume_client consume_client_few consume_tail process_batch process_message
	process_poisoned process_poisoned_batch process_poisoned_key consume_delayed
	wal_batch wal_batch_two wal_consume empty_consume
	sequence_batch sequence_keyed sequence_single8 dedupe_single8 sequence_lookup
	sequence_lookup_raw
	wakeup_p50 wakeup_p99 wakeup_read_p50 wakeup_flush_p50 wakeup_flush_p99
	produce_waiters produce_consumers produce_consumers_drained
	poll_commit poll_commit_client rebalance
	partitions_empty partitions_plan partitions_create
	partitions_produce partitions_consume partitions_maintain
	group_list_small group_list group_list_columns group_list_client
	drop_segments drop_old drop_floor drop_small drop_wal roll_p999 roll_p999_async roll_p999_default
	maintain_produce maintain_consume
	compact compact_produce compact_consume
	hold10 hold1 hold_parked sequence_hold'

# The rows that match a pattern of BENCH, in the order of the table.
selected_rows()
{
	local row pattern patterns
	read -ra patterns <<<"${BENCH:-*}"
	for row in $all_rows; do
		for pattern in "${patterns[@]}"; do
			# shellcheck disable=SC2053
			if [[ $row == $pattern ]]; then
				echo "$row"
				break
			fi
		done
	done
}

# libpq's headers and library, before lib.sh puts a copied server in between
libpq_folders()
{
	local config
	config=$(find_pg_config) || die 'no pg_config'
	includedir=$("$config" --includedir) libdir=$("$config" --libdir)
}

build_tools()
{
	local cc=${CC:-gcc} program
	for program in client wakeup workers; do
		"$cc" -O2 -Wall -o "$work/$program" "$bench_dir/$program.c" \
			-I"$includedir" -L"$libdir" -lpq -lpthread || die "cannot build $program.c"
	done
	"$cc" -O2 -Wall -shared -fPIC -o "$work/slow_flush.so" \
		"$bench_dir/slow_flush.c" -ldl || die 'cannot build slow_flush.c'
}

client() { "$work/client" "$@"; }

print_circumstances()
{
	local setting
	printf 'queue benchmark, %s, %s rounds\n' "$(date -u +%Y-%m-%dT%H:%MZ)" "$rounds"
	sql 'SELECT version()'
	printf '%s × %s, %s, load %s\n' "$(nproc)" \
		"$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1)" \
		"$(awk '/^MemTotal/ { printf "%.0f GB", $2 / 1048576 }' /proc/meminfo)" \
		"$(cut -d' ' -f1-3 /proc/loadavg)"
	for setting in synchronous_commit fsync full_page_writes wal_level shared_buffers \
		min_wal_size max_wal_size checkpoint_timeout autovacuum jit \
		max_parallel_workers_per_gather; do
		printf '%s = %s; ' "$setting" "$(sql "SHOW $setting")"
	done
	printf '\n\n'
}

# Also after an error: what was measured until then.
print_report()
{
	[ -s "$results" ] || return
	perl "$bench_dir/report.pl" "$results" "$commands"
	printf '\nload at the end: %s\n' "$(cut -d' ' -f1-3 /proc/loadavg)"
}

main()
{
	local rows row
	rows=$(selected_rows)
	[ -n "$rows" ] || die "BENCH names no row; there are:" $all_rows
	"$bench_dir/../setup.sh" bench || exit 1
	libpq_folders
	choose_disk
	prepare_server || die 'the build failed'
	mkdir files
	chmod 777 files
	results=$work/results commands=$work/commands
	: >"$results"
	: >"$commands"
	trap 'print_report; remove_work' EXIT
	build_tools
	start_server main 5432
	make_wal_files 128
	print_circumstances
	for row in $rows; do
		"bench_$row"
	done
}

main
