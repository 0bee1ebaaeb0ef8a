#!/usr/bin/env bash
#
# Send random statements of several roles to a private server, and look for
# crashes, internal errors, foreign memory, and disturbance of others.
#
#   test/fuzz/run.sh
#
#   FUZZ_SECONDS    how long (60)
#   FUZZ_SEED       which statements (random; printed)
#   FUZZ_SESSIONS   how many at a time (8)
#   FUZZ_OUTPUT     where to leave the sessions' statements and the server's
#                   log after faults (test-output/fuzz)
#
# fuzz.c tells what a fault is, grammar.txt what is sent. The exit status is 0
# if there was none.

set -uo pipefail

fuzz_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$fuzz_dir/../lib.sh"

output=${FUZZ_OUTPUT:-$top/test-output/fuzz}

# Server settings: small and quick, so that much happens.
settings()
{
	cat <<-END
		log_line_prefix = '%m [%p] %q%a %e '
		autovacuum_naptime = 1s
		max_locks_per_transaction = 256
		deadlock_timeout = 100ms
		log_min_error_statement = panic
		log_min_messages = error
		idle_in_transaction_session_timeout = 20s
		queue.maintenance_interval = 1s
	END
}

build_fuzzer()
{
	"${CC:-gcc}" -O2 -g -Wall -o "$work/fuzzer" "$fuzz_dir"/*.c \
		-I"$includedir" -L"$libdir" -lpq -lpthread
}

# What only the server's log tells: crashes, and internal errors of workers.
# The latter carry no session's name, since sessions report theirs themselves.
log_faults()
{
	grep -E 'PANIC|TRAP|terminated by signal|terminated by exception' \
		"$work/fuzz.log" -A 2
	grep -E '^[^]]*\] (queue [^ ]*|control [^ ]*|) ?XX[0-9A-Z]{3} ' \
		"$work/fuzz.log" | head -n 20
}

keep()
{
	mkdir -p "$output"
	cp "$work"/statements/* "$work/fuzz.log" "$work/finish.out" "$output/" \
		2>/dev/null
	echo "statements and the server's log: $output"
}

main()
{
	local config status=0

	"$fuzz_dir/../setup.sh" test || return
	config=$(find_pg_config) || return
	includedir=$("$config" --includedir) libdir=$("$config" --libdir)
	prepare_server && build_fuzzer || return
	mapfile -t lines < <(settings)
	start_cluster fuzz "${lines[@]}" || return
	psql -X -q -o /dev/null -f "$fuzz_dir/setup.sql" postgres || return
	mkdir statements
	"$work/fuzzer" "$fuzz_dir/grammar.txt" "$work/statements" || status=1
	psql -X -q -f "$fuzz_dir/finish.sql" postgres >"$work/finish.out" 2>&1
	if grep -E 'ERROR|PROBLEM|FATAL|connection' "$work/finish.out"; then
		status=1
	fi
	if [ -n "$(log_faults | tee /dev/stderr)" ]; then
		status=1
	fi
	[ "$status" = 0 ] || keep
	return "$status"
}

main
