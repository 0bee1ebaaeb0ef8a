#!/usr/bin/env bash
#
# Run the tests: all, or only the files named.
#
#   test/run.sh [sql/NAME.sql | test/isolation/specs/NAME.spec | test/t/NAME.pl]...
#
# Installs what is missing, builds a private server (lib.sh) and runs every
# suite against it: the exported names, pg_regress, pg_isolation_regress, TAP.
# What failed is shown, differences and logs, and left in test-output/.
# The last line is "N passed, N failed", where one test is one file; a test that
# could not run has failed. The exit status tells the same.

set -uo pipefail

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# Seconds after which a suite, or one TAP file, is taken to hang.
LIMIT=${LIMIT:-300}

passed=0
failed=0

# Count one test: count NAME STATUS. Returns the status.
count()
{
	if [ "$2" = 0 ]; then
		passed=$((passed + 1))
		echo "ok      $1"
	else
		failed=$((failed + 1))
		echo "FAILED  $1"
	fi
	return "$2"
}

# Say how it went, and end.
finish()
{
	echo "$passed passed, $failed failed"
	exit $((failed > 0))
}

# show SUITE FILE...: show the end of each file, and keep it, or the folder, for
# the developer in test-output/SUITE.
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

# tests_in FOLDER ENDING FILE...: the names, without folder and ending, of those
# among the files that lie there.
tests_in()
{
	local folder=$1 ending=$2 file
	shift 2

	for file in "$@"; do
		case "$file" in
			"$folder"/*."$ending") basename "$file" ".$ending" ;;
		esac
	done
}

run_symbols()
{
	echo "== exported names"
	make_copy check-symbols >"$work/symbols.out" 2>&1
	count check-symbols $? || show symbols "$work/symbols.out"
}

# run_regress SUITE VARIABLE OUTPUT NAME...: pg_regress or its sister, on a
# cluster of its own. VARIABLE is the Makefile's name for the list of tests,
# OUTPUT the folder in which the suite leaves its results.
run_regress()
{
	local suite=$1 variable=$2 output=$work/source/$3 name before=$failed
	shift 3

	[ $# -gt 0 ] || return
	echo "== $suite"
	start_cluster "$suite" &&
		make_copy installcheck REGRESS= ISOLATION= TAP_TESTS= "$variable=$*" \
			>"$work/$suite.out" 2>&1
	for name in "$@"; do
		# "test NAME ... ok" in versions 15 and below, "ok 1 - NAME" above
		grep -qsE "^test $name +\.\.\. ok|^ok [0-9]+ +- $name " \
			"$work/$suite.out"
		count "$suite/$name" $?
	done
	if [ "$failed" -gt "$before" ]; then
		show "$suite" "$work/$suite.out" "$output/regression.diffs" \
			"$output/results" "$work/$suite.log"
	fi
	stop_servers
}

# Every TAP file starts its own clusters; tmp_check holds their logs and the
# test's own (regress_log_NAME), until the next file replaces it.
run_tap()
{
	local name logs=$work/source/tmp_check/log

	[ $# -gt 0 ] || return
	echo "== tap"
	for name in "$@"; do
		make_copy installcheck REGRESS= ISOLATION= \
			PROVE_TESTS="test/t/$name.pl" >"$work/$name.out" 2>&1
		count "tap/$name" $? || show "$name" "$work/$name.out" \
			"$logs/${name}"*.log "$logs/regress_log_$name"
		stop_servers
	done
}

cd "$top" || exit
rm -rf test-output
[ $# -gt 0 ] || set -- sql/*.sql test/isolation/specs/*.spec test/t/*.pl

mapfile -t regress < <(tests_in sql sql "$@")
mapfile -t isolation < <(tests_in test/isolation/specs spec "$@")
mapfile -t tap < <(tests_in test/t pl "$@")
if [ $((${#regress[@]} + ${#isolation[@]} + ${#tap[@]})) != $# ]; then
	echo "not all of these are tests: $*" >&2
	exit 2
fi

echo "== build"
if ! "$top/test/setup.sh" test || ! prepare_server; then
	failed=$((1 + ${#regress[@]} + ${#isolation[@]} + ${#tap[@]}))
	finish
fi
run_symbols
run_regress regress REGRESS . "${regress[@]}"
run_regress isolation ISOLATION output_iso "${isolation[@]}"
run_tap "${tap[@]}"
finish
