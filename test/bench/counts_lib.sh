# shellcheck shell=bash
# Counts of what a message costs, for queue and for its yardsticks: instructions,
# page faults, system calls, context switches. Sourced after ../lib.sh, by counts.sh
# and by the tests. The cluster and the files are made in $work.

counts_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# procedure, calls of it that are counted, messages in each, yardstick
rows='
	produce_batch 40   1000 copy_binary
	insert_topic  40   1000 insert_batch
	produce       1000 1    insert_one
	consume       40   1000 index_scan
	poll          40   1000 index_scan
	copy_binary   1    40000 -
	insert_batch  40   1000 -
	insert_one    1000 1    -
	index_scan    40   1000 -'
WARM=3		# calls before those that are counted
TOLERANCE=10	# percent

each_row()
{
	local name calls messages yardstick

	while read -r name calls messages yardstick; do
		[ -z "$name" ] || "$@" "$name" "$calls" "$messages" "$yardstick"
	done <<<"$rows"
}

# ---- instructions ----------------------------------------------------------

# A server of a single process runs all rows under callgrind, which writes what was
# executed so far into a new file each time pg_backend_pid() is called.
single_user_script()
{
	# such a server does not read the database's settings
	echo "SET counts.file = '$work/sample';"
	each_row single_user_row
}

single_user_row()
{
	echo "CALL $1($WARM);"
	echo 'SELECT pg_backend_pid();'
	echo "CALL $1($2);"
	echo 'SELECT pg_backend_pid();'
}

count_instructions()
{
	single_user_script >"$work/single"
	as_user valgrind --tool=callgrind --callgrind-out-file="$work/callgrind" \
		--dump-before=pg_backend_pid \
		"$("$PG_CONFIG" --bindir)/postgres" --single -D "$work/counts" postgres <"$work/single" >"$work/single.log" 2>&1 ||
		{ tail -n 20 "$work/single.log"; return 1; }
	! grep -E '(ERROR|FATAL|PANIC):' "$work/single.log" || return 1
	file=0 # of the last row
	each_row read_instructions >"$work/instructions"
}

# The files come in twos: up to the first marker, and from there to the second one.
read_instructions()
{
	file=$((file + 2))
	echo "$1 $(awk -v n="$(($2 * $3))" '/^(summary|totals):/ { print $2 / n; exit }' \
		"$work/callgrind.$file")"
}

# ---- faults, calls, switches -----------------------------------------------

# In the session's own process: minor faults; context switches of both kinds.
faults_sql="split_part(regexp_replace(pg_read_file('/proc/self/stat'), '^.*\\) ', ''), ' ', 8)::bigint"
switches_sql="(SELECT sum(m[1]::bigint) FROM regexp_matches(pg_read_file('/proc/self/status'), 'ctxt_switches:\\s+(\\d+)', 'g') m)"

# Calls by strace's summary: all but those of WAL and data, of the client and of waiting.
count_row()
{
	local strace=() faults switches calls

	psql -XqAt -d postgres -v ON_ERROR_STOP=1 -F ' ' <<-SQL >"$work/row"
		CALL $1($((WARM * 5)));
		SELECT $faults_sql AS faults, $switches_sql AS switches \\gset
		CALL $1($2);
		SELECT $faults_sql - :faults, $switches_sql - :switches;
		SELECT pg_backend_pid() AS pid \\gset
		\\setenv BACKEND :pid
		\\! strace -c -o '$work/strace' -p \$BACKEND 2>/dev/null & echo \$! >'$work/strace.pid'; sleep 1
		CALL $1($2);
		\\! kill -INT \$(cat '$work/strace.pid'); sleep 1
	SQL
	read -r faults switches <"$work/row"
	calls=$(awk '$1 ~ /^[0-9.]+$/ && $NF !~ /^(total|pwrite.*|pwritev|fdatasync|fsync|sync_file_range|sendto|recvfrom|epoll_wait|futex|restart_syscall)$/ { n += $4 } END { print n + 0 }' "$work/strace")
	echo "$1 $(awk -v f="$faults" -v c="$calls" -v s="$switches" -v n="$(($2 * $3))" \
		'BEGIN { print f * 1000 / n, c * 1000 / n, s * 1000 / n }')"
}

# ---- the table, and the check ----------------------------------------------

# What has a part in the count, besides the code: server, compiler, processor.
build_of_counts()
{
	echo "$("$PG_CONFIG" --version | sed 's/^PostgreSQL \([0-9]*\).*/\1/') $(gcc -dumpversion) $(uname -m)"
}

print_row()
{
	local own=$1 yardstick=$4

	awk -v name="$own" -v stick="$yardstick" '
		FNR == NR { instructions[$1] = $2; next }
		{ faults[$1] = $2; calls[$1] = $3; switches[$1] = $4 }
		END {
			printf "%-14s %12.0f %8s %12.2f %12.2f %12.2f\n", name, instructions[name],
				stick == "-" ? "" : sprintf("%.2f", instructions[name] / instructions[stick]),
				faults[name], calls[name], switches[name]
		}' "$work/instructions" "$work/others"
}

ratio_row()
{
	[ "$4" = - ] || awk -v name="$1" -v stick="$4" -v build="$(build_of_counts)" \
		'{ n[$1] = $2 } END { printf "%s %s %.3f\n", build, name, n[name] / n[stick] }' "$work/instructions"
}

# Make the cluster, and what the rows need.
make_counts()
{
	start_cluster counts 'shared_buffers = 16MB' 'autovacuum = off' 'fsync = on' 'wal_level = replica' &&
		psql -Xq -d postgres -v ON_ERROR_STOP=1 -v file="$work/sample" -f "$counts_dir/counts.sql"
}

# Count, and print the table.
print_counts()
{
	make_counts || return
	each_row count_row >"$work/others" || return
	stop_servers
	count_instructions || return
	printf '%-14s %12s %8s %12s %12s %12s\n' 'per message' instructions ratio \
		'faults/1000' 'calls/1000' 'switches/1000'
	each_row print_row
	printf '\nFor counts.txt:\n'
	each_row ratio_row
}

# Count instructions. Fail if a row takes over a tenth more, in relation to its
# yardstick, than counts.txt says.
check_counts()
{
	local build status=0 name ratio before

	build=$(build_of_counts)
	if ! grep -q "^$build " "$counts_dir/counts.txt"; then
		echo "counts .. skipped: counts.txt has no figures for PostgreSQL, gcc and processor $build"
		return
	elif [ -n "${COPT:-}" ]; then
		echo "counts .. skipped: the figures are not for a build with COPT"
		return
	fi
	make_counts || return
	stop_servers
	count_instructions || return
	while read -r _ _ _ name ratio; do
		before=$(awk -v key="$build $name" '$1 " " $2 " " $3 " " $4 == key { print $5 }' "$counts_dir/counts.txt")
		echo "$name: $ratio of its yardstick's instructions, before: ${before:-not known}"
		awk -v a="$ratio" -v b="${before:-0}" -v t=$TOLERANCE 'BEGIN { exit a > b * (1 + t / 100) }' || status=1
	done < <(each_row ratio_row)
	return $status
}
