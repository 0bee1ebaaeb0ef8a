# shellcheck shell=bash
#
# The fuzzer, as "make fuzz" and "make test" run it.
#
# Sourced, by bash. The caller has sourced test/lib.sh and prepared the server.
#
#   libpq_folders   before prepare_server: where libpq of that server is
#   fuzz            runs it; FUZZ_SECONDS, FUZZ_SEED, FUZZ_SESSIONS
#   fuzz_output     the files that tell what happened
#
# fuzz.c tells what a fault is, grammar.txt what is sent.

fuzz_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# libpq's headers and library, before lib.sh puts a copied server in between
libpq_folders()
{
	local config
	config=$(find_pg_config) || return
	includedir=$("$config" --includedir) libdir=$("$config" --libdir)
}

# Server settings: small and quick, so that much happens.
fuzz_settings()
{
	cat <<-END
		log_line_prefix = '%m [%p] %q%a %e '
		autovacuum_naptime = 5s
		max_locks_per_transaction = 256
		max_prepared_transactions = 40
		deadlock_timeout = 100ms
		log_min_error_statement = panic
		log_min_messages = error
		idle_in_transaction_session_timeout = 20s
		queue.maintenance_interval = 1s
	END
}

# What only the server's log tells: crashes, and internal errors of workers.
# The latter carry no session's name, since sessions report theirs themselves.
log_faults()
{
	grep -E 'PANIC|TRAP|terminated by signal|terminated by exception' \
		"$work/fuzz.log" -A 2
	grep -E '^[^]]*\] (queue [^ ]*|control (producer|consumer|member|check)|) ?XX[0-9A-Z]{3} ' \
		"$work/fuzz.log" | head -n 20
}

# Returns 1 if there was a fault, and tells which.
fuzz()
{
	local status=0 settings found

	"${CC:-gcc}" -O2 -g -Wall -o "$work/fuzzer" "$fuzz_dir"/*.c \
		-I"$includedir" -L"$libdir" -lpq -lpthread || return
	mapfile -t settings < <(fuzz_settings)
	start_cluster fuzz "${settings[@]}" || return
	psql -X -q -o /dev/null -f "$fuzz_dir/setup.sql" postgres || return
	rm -rf "$work/statements"
	mkdir "$work/statements"
	"$work/fuzzer" "$fuzz_dir/grammar.txt" "$work/statements" || status=1
	psql -X -q -f "$fuzz_dir/finish.sql" postgres >"$work/finish.out" 2>&1
	if grep -E 'ERROR|PROBLEM|FATAL|connection' -A 2 "$work/finish.out"; then
		status=1
	fi
	found=$(log_faults)
	if [ -n "$found" ]; then
		echo "$found"
		status=1
	fi
	stop_servers
	return "$status"
}

fuzz_output()
{
	echo "$work/finish.out $work/fuzz.log $work/statements"
}
