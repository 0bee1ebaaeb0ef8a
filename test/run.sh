#!/usr/bin/env bash
#
# Run the tests: all, or only the files named.
#
#   test/run.sh [sql/NAME.sql | test/isolation/specs/NAME.spec | test/t/NAME.pl |
#                test/fuzz/run.sh | test/bench/counts.sh]...
#
# Installs what is missing, builds a private server (lib.sh) and runs each file
# against it: pg_regress, pg_isolation_regress, TAP, the fuzzer, counts of instructions;
# before them, checks of the build. What failed is shown, differences and logs, and left in
# test-output/. The last line is "N passed, N failed", where one test is one
# file; a test that could not run has failed. The exit status tells the same.
#
#   JOBS    how many files run beside each other; by default one for each
#           processor, at most 4
#   LIMIT   seconds after which a file is taken to hang and is ended
#
# The files are dealt out to so many lanes. A lane has a copy of the sources with
# the build in them, and a cluster, in which each file of pg_regress and
# pg_isolation_regress finds a database of its own (TAP files start their own
# clusters). After a file that failed, the lane continues with a new cluster:
# no file meets what another one has left behind. Autovacuum, which comes at random,
# is off in it; the TAP files have it.

set -uo pipefail

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
. "$(dirname "${BASH_SOURCE[0]}")/fuzz/lib.sh"
. "$(dirname "${BASH_SOURCE[0]}")/bench/counts_lib.sh"

processors=$(nproc)
JOBS=${JOBS:-$((processors < 4 ? processors : 4))}

# Generous: a slow machine is no fault. What waits for a state inside a TAP file
# gives up earlier than that, and tells what it was waiting for.
LIMIT=${LIMIT:-1800}
export PG_TEST_TIMEOUT_DEFAULT=${PG_TEST_TIMEOUT_DEFAULT:-360}
export PGCTLTIMEOUT=${PGCTLTIMEOUT:-$PG_TEST_TIMEOUT_DEFAULT}

# Print how the run went, and end.
finish()
{
	echo "$1 passed, $2 failed"
	exit $(($2 > 0))
}

# Show the end of each file, and keep it, or the folder, for the developer in
# test-output/TEST: show TEST FILE...
show()
{
	local kept=$top/test-output/$1 file
	shift

	mkdir -p "$kept"
	for file in "$@"; do
		[ -e "$file" ] || continue
		cp -r "$file" "$kept/"
		[ -f "$file" ] || continue
		echo "---- ${file#"$work"/}"
		tail -n 300 "$file"
		echo "----"
	done
}

# Print the tests, SUITE/NAME, of those among the files that lie in the folder of
# a suite: tests_in SUITE FOLDER ENDING FILE...
tests_in()
{
	local suite=$1 folder=$2 ending=$3 file
	shift 3

	for file in "$@"; do
		case "$file" in
			"$folder"/*."$ending") echo "$suite/$(basename "$file" ".$ending")" ;;
		esac
	done
}

# ---- a lane, in a process of its own; $work is its folder -------------------

# Make a database with the extension, for a test, in the lane's cluster, which is
# started if it does not run: make_database NAME.
make_database()
{
	[ -e "$work/cluster/postmaster.pid" ] || {
		start_cluster cluster "autovacuum = off" &&
			psql -Xqd postgres -c "CREATE DATABASE template_queue" &&
			psql -Xqd template_queue -c "CREATE EXTENSION queue"
	} || return
	psql -Xqd postgres -c "CREATE DATABASE $1 TEMPLATE template_queue"
}

# Stop every server of the lane, and remove its cluster.
drop_cluster()
{
	stop_servers
	rm -rf "$work/cluster" "$work/cluster.log"
}

# Run a test by make, and return its status, 124 if the limit ended it. The limit
# ends all processes of the test but servers. Ours waits in the background, so
# that a signal ends it at once.
run_make()
{
	as_user timeout -k 30 "$LIMIT" make -s -C "$work/source" \
		--no-print-directory PG_CONFIG="$PG_CONFIG" with_llvm=no installcheck \
		REGRESS= ISOLATION= TAP_TESTS= "$@" >"$work/out" 2>&1 &
	running=$!
	wait "$running"
	set -- $?
	running=
	[ "$1" != 137 ] || set -- 124	# it had to be killed
	return "$1"
}

# Print what the sessions of the lane's cluster are doing.
activity()
{
	timeout 60 psql -X -d postgres -c "
		SELECT pid, backend_type, datname, state, wait_event_type, wait_event,
			pg_blocking_pids(pid) AS blocked_by, left(query, 200) AS query
		  FROM pg_stat_activity WHERE datname IS NOT NULL
		   AND pid <> pg_backend_pid()" 2>&1
}

# Run one file of pg_regress, or of its sister: in_database TEST VARIABLE OUTPUT.
# VARIABLE is the name of the Makefile's list of tests, OUTPUT the folder in which
# the results are left.
in_database()
{
	local test=$1 variable=$2 output=$work/source/$3 name=${1#*/} status

	rm -rf "$work/out" "$output/regression.diffs"
	make_database "${test/\//_}" || return
	run_make "$variable=$name" EXTRA_REGRESS_OPTS=--use-existing \
		CONTRIB_TESTDB="regress_$name" ISOLATION_TESTDB="isolation_$name"
	status=$?
	[ "$status" = 0 ] && return
	[ "$status" != 124 ] || activity >"$work/activity"
	show "$test" "$work/out" "$work/activity" "$output/regression.diffs" \
		"$output/results/$name.out" "$work/cluster.log"
	drop_cluster
	return "$status"
}

# Run one TAP file. tmp_check holds the logs of its clusters and its own
# (regress_log_NAME), until the next file replaces it.
by_prove()
{
	local test=$1 name=${1#*/} logs=$work/source/tmp_check/log status

	rm -rf "$work/out"
	run_make TAP_TESTS=1 PROVE_TESTS="test/t/$name.pl"
	status=$?
	[ "$status" = 0 ] ||
		show "$test" "$work/out" "$logs/${name}"*.log "$logs/regress_log_$name"
	return "$status"
}

# Run the fuzzer: a minute, and the same statements each time, though at other
# moments. "make fuzz" draws others.
by_fuzzer()
{
	local status

	FUZZ_SECONDS=${FUZZ_SECONDS:-60} FUZZ_SEED=${FUZZ_SEED:-1} \
		fuzz >"$work/out" 2>&1 &
	running=$!
	wait "$running"
	status=$?
	running=
	# shellcheck disable=SC2046
	[ "$status" = 0 ] || show "$1" $(fuzz_output) "$work/out"
	return "$status"
}

# Compare counts of instructions with those known.
by_counts()
{
	local status

	check_counts >"$work/out" 2>&1 &
	running=$!
	wait "$running"
	status=$?
	running=
	[ "$status" = 0 ] || show "$1" "$work/out"
	return "$status"
}

# Run a test, and print what is to be said of it.
run_test()
{
	local test=$1 status reason begin=$SECONDS

	rm -f "$work/activity"
	case "$test" in
		regress/*) in_database "$test" REGRESS . ;;
		isolation/*) in_database "$test" ISOLATION output_iso ;;
		tap/*) by_prove "$test" ;;
		fuzz/*) by_fuzzer "$test" ;;
		bench/*) by_counts "$test" ;;
	esac >"$work/shown"
	status=$?
	case "$status" in
		0)
			reason=$(sed -n 's/.*\.\. skipped: //p' "$work/out")
			echo "ok      $test ($((SECONDS - begin)) s)${reason:+, skipped: $reason}"
			;;
		124) echo "FAILED  $test: timed out after $LIMIT s (LIMIT)" ;;
		*) echo "FAILED  $test ($((SECONDS - begin)) s)" ;;
	esac
	cat "$work/shown"
	return "$status"
}

# Run tests that no other lane has begun, until none is left: run_lane NUMBER
# TEST... A test is claimed by a folder of its name; what is left in it says how
# it went, and what is printed of two tests does not mix.
run_lane()
{
	local tests=$work/tests lane=$work/lane$1 running='' test
	shift

	trap '[ -z "$running" ] || kill "$running"; exit 130' TERM
	mkdir -p "$lane/socket"
	cp -a "$work/source" "$lane/source"
	[ "$(id -u)" != 0 ] || chown postgres: "$lane" "$lane/socket"
	work=$lane
	for test in "$@"; do
		mkdir "$tests/${test/\//.}" 2>/dev/null || continue
		run_test "$test" >"$lane/report" && touch "$tests/${test/\//.}/passed"
		flock "$tests" cat "$lane/report"
	done
	drop_cluster
}

# ---- all of them ------------------------------------------------------------

cd "$top" || exit
rm -rf test-output
[ $# -gt 0 ] || set -- test/fuzz/run.sh test/bench/counts.sh sql/*.sql test/isolation/specs/*.spec test/t/*.pl

# Those that take long come first, or one lane would be busy long after the rest.
mapfile -t tests < <(
	tests_in fuzz test/fuzz sh "$@"
	tests_in bench test/bench sh "$@"
	tests_in tap test/t pl "$@"
	tests_in isolation test/isolation/specs spec "$@"
	tests_in regress sql sql "$@")
if [ ${#tests[@]} != $# ]; then
	echo "not all of these are tests: $*" >&2
	exit 2
fi

checks=(check-symbols check-layers)

echo "== build"
if ! "$top/test/setup.sh" test || ! libpq_folders || ! prepare_server; then
	finish 0 $((${#checks[@]} + ${#tests[@]}))
fi

echo "== checks of the build"
passed=0
for check in "${checks[@]}"; do
	if make_copy "$check" >"$work/$check.out" 2>&1; then
		echo "ok      $check"
		passed=$((passed + 1))
	else
		echo "FAILED  $check"
		show "$check" "$work/$check.out"
	fi
done

echo "== tests, $JOBS at a time"
mkdir "$work/tests" "$work/ports"
chmod 777 "$work/ports"
export PG_TEST_PORT_DIR=$work/ports
for ((lane = 1; lane <= JOBS; lane++)); do
	run_lane "$lane" "${tests[@]}" &
done
wait
passed=$((passed + $(find "$work/tests" -name passed | wc -l)))
finish "$passed" $((${#checks[@]} + ${#tests[@]} - passed))
