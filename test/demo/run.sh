#!/usr/bin/env bash
#
# The demo, the main job on real input: 20,000 flights become messages of a topic
# with eight partitions, keyed by airport. Two loaders send a half each, one by
# COPY, one by queue.produce_batch; four concurrent consumers of one group keep a
# table of flights and delays per airport, in the transactions in which they
# consume; a second group keeps a table of routes. Two saboteurs kill the sessions
# of loaders and consumers at random. A loader that was killed starts over from
# queue.producer_state; the numbers of its lines are its sequences. In the end the
# topic must hold each flight once, and both tables must equal, to the last digit,
# what awk computes straight from the file.
#
# Installs what is missing, builds, and starts a throw-away server (../lib.sh).

set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../lib.sh"

FLIGHTS=20000
CHUNK=100		# lines a transaction of a loader
OVERLAP=20		# lines that a loader sends again when it starts over
PATIENCE=90		# seconds after which the demo counts as stuck
consumers=4

started=$SECONDS

say()
{
	printf '%4d s  %s\n' $((SECONDS - started)) "$*"
}

sql()
{
	psql -X -q -A -t -v ON_ERROR_STOP=1 "$@"
}

# ---- loading ---------------------------------------------------------------

# lines LOADER FROM TO: of its half of the file
lines()
{
	sed -n "$2,$3p;$3q" "$work/$1.csv"
}

# Lines FROM TO by COPY into the topic's view: a key and a JSON object a line.
load_copy()
{
	echo "SET LOCAL queue.producer_id = 'copy';"
	echo "SET LOCAL queue.first_sequence = $1;"
	echo "COPY topic.flights (key, value) FROM STDIN;"
	lines copy "$1" "$2" | awk -F, '{
		printf "%s\t", $2
		printf "{\"departed\": \"%s\", \"origin\": \"%s\", ", $1, $2
		printf "\"destination\": \"%s\", \"distance_miles\": %d, ", $3, $4
		printf "\"delay_minutes\": %d}\n", $5
	}'
	echo '\.'
}

# Lines FROM TO by queue.produce_batch.
load_batch()
{
	echo 'CREATE TEMPORARY TABLE flight (LIKE flight_line) ON COMMIT DROP;'
	echo 'COPY flight FROM STDIN WITH (FORMAT csv);'
	lines batch "$1" "$2" | awk -v line="$1" '{ print line++ "," $0 }'
	echo '\.'
	echo "\\i '$here/produce_batch.sql'"
}

# transactions LOADER FROM: a script that loads its half of the file, from line
# FROM on. The pause is for the saboteur to find a transaction to kill.
transactions()
{
	local loader=$1 from to end

	end=$(wc -l <"$work/$loader.csv")
	for ((from = $2; from <= end; from += CHUNK)); do
		to=$((from + CHUNK > end ? end : from + CHUNK - 1))
		echo 'BEGIN;'
		"load_$loader" $from $to
		echo "INSERT INTO sent VALUES ('$loader', $((to - from + 1)));"
		echo 'SELECT pg_sleep(0.02) \g /dev/null'
		echo 'COMMIT;'
	done
}

# The line from which a loader goes on. The next one would do. It sends some
# lines more, as one that does not know exactly, and does no harm.
next_line()
{
	sql -c "SELECT greatest(last_sequence + 1 - $OVERLAP, 1)
		FROM queue.producer_state('flights', '$1')"
}

# Load a half of the file, starting over as often as the session is killed.
loader()
{
	local first

	until first=$(next_line "$1") && transactions "$1" "$first" |
		PGAPPNAME=loader sql >>"$work/$1.out" 2>&1
	do
		[ $((SECONDS - started)) -lt $PATIENCE ] || return 1
	done
}

# ---- consuming -------------------------------------------------------------

# consumer GROUP: run GROUP.sql again and again. pgbench ends when its session is
# killed; then it is started anew, with a new session. This and the saboteur go
# on while the file "running" exists.
consumer()
{
	while [ -e "$work/running" ]; do
		PGAPPNAME=$1 pgbench --no-vacuum -t 30 -f "$here/$1.sql" \
			>>"$work/$1.out" 2>&1 || true
	done
}

# saboteur NAME: kill some session of that name in the middle of its transaction,
# a few times a second. One line for each in the file kills.NAME.
saboteur()
{
	while [ -e "$work/running" ]; do
		sql -c "SELECT pid FROM (
				SELECT pid FROM pg_stat_activity
				WHERE application_name = '$1' AND xact_start IS NOT NULL
				ORDER BY random() LIMIT 1) victim
			WHERE pg_terminate_backend(pid)" >>"$work/kills.$1"
		sleep "0.$((RANDOM % 4 + 1))"
	done
}

count_kills()
{
	wc -l <"$work/kills.$1"
}

# ---- watching --------------------------------------------------------------

# Report every second, until both groups have counted every flight.
watch_progress()
{
	local loaded airports routes deadline=$((SECONDS + PATIENCE))

	until [ "${airports:-0}" -ge $FLIGHTS ] && [ "${routes:-0}" -ge $FLIGHTS ]; do
		if [ $SECONDS -gt "$deadline" ]; then
			say "not finished in time"
			sql -c "TABLE queue.producers" -c "TABLE queue.consumer_groups"
			tail -n 5 "$work"/*.out "$work/demo.log"
			return 1
		fi
		sleep 1
		IFS='|' read -r loaded airports routes < <(sql -c "
			SELECT (SELECT coalesce(sum(accepted), 0) FROM queue.producers),
				(SELECT coalesce(sum(flights), 0) FROM airport),
				(SELECT coalesce(sum(flights), 0) FROM route)")
		say "$(printf 'loaded %5d  airports %5d  routes %5d  ' \
			"$loaded" "$airports" "$routes")" \
			"$(printf 'killed: %2d loaders, %2d consumers' \
				"$(count_kills loader)" "$(count_kills airports)")"
	done
}

# ---- comparing -------------------------------------------------------------

# flights and sums by the first columns: from_file COLUMNS SUMMED, in awk's words
from_file()
{
	awk -F, -v OFS='\t' "{ k = $1; n[k]++; sum[k] += $2 }
		END { for (k in n) print k, n[k], sum[k] }" "$work/flights.csv" |
		LC_ALL=C sort
}

from_database()
{
	sql -c "COPY (TABLE $1) TO STDOUT" | LC_ALL=C sort
}

# Whether a table equals the file. The database's figures remain in TABLE.db, the
# file's in TABLE.file.
compare()
{
	local table=$1 what=$2

	from_database "$table" >"$work/$table.db"
	from_file "$3" "$4" >"$work/$table.file"
	if diff "$work/$table.db" "$work/$table.file" >"$work/$table.diff"; then
		echo "equal:  $(wc -l <"$work/$table.file") $what, database and file"
	else
		echo "DIFFERENT: $what, database (<) and file (>)"
		cat "$work/$table.diff"
		return 1
	fi
}

show_busiest()
{
	printf '\n%-10s %18s %24s\n' 'busiest' 'flights' 'minutes of delay'
	printf '%-10s %10s %10s %12s %12s\n' airports database file database file
	join "$work/airport.db" "$work/airport.file" | sort -k4,4nr | head -n 10 |
		while read -r origin flights delay file_flights file_delay; do
			printf '%-10s %10d %10d %12d %12d\n' "$origin" "$flights" \
				"$file_flights" "$delay" "$file_delay"
		done
	echo
}

# Whether every loader came to its end, none of its lines is missing or there
# twice, and what it sent again was left out.
check_loaders()
{
	local kills messages sent duplicates

	kills=$(count_kills loader)
	IFS='|' read -r messages sent duplicates < <(sql -c "
		SELECT (SELECT count(*) FROM topic.flights),
			(SELECT sum(lines) FROM sent),
			(SELECT sum(duplicates) FROM queue.producers)")
	echo "loaders killed: $kills; lines sent: $sent;" \
		"duplicates left out: $duplicates; messages in the topic: $messages"
	[ "$kills" -gt 0 ] && [ "$duplicates" -gt 0 ] &&
		[ "$messages" = $FLIGHTS ] && [ $((sent - duplicates)) = $FLIGHTS ]
}

# Whether consumers were killed, and left nothing behind all the same.
check_consumers()
{
	local kills left

	kills=$(count_kills airports)
	left=$(sql -c "SELECT count(*) FROM queue.consumer_groups g
		JOIN topic.flights m ON m.partition = g.partition
		WHERE g.topic = 'flights' AND m.\"offset\" >= g.current_offset")
	echo "consumers killed: $kills; messages left behind: $left"
	[ "$kills" -gt 0 ] && [ "$left" = 0 ]
}

# ---- the demo --------------------------------------------------------------

"$top/test/setup.sh" demo
say "building"
prepare_server
start_cluster demo "fsync = on"
export PGDATABASE=postgres
sql -f "$here/setup.sql"

zcat "$top/test/data/flights-2001.csv.gz" | tail -n +2 | tr -d '\r' >"$work/flights.csv"
head -n $((FLIGHTS / 2)) "$work/flights.csv" >"$work/copy.csv"
tail -n +$((FLIGHTS / 2 + 1)) "$work/flights.csv" >"$work/batch.csv"
touch "$work/kills.loader" "$work/kills.airports" "$work/running"

say "two loaders, $consumers consumers of group airports, one of group routes, two saboteurs"
loader copy &
copying=$!
loader batch &
batching=$!
for ((i = 0; i < consumers; i++)); do
	consumer airports &
done
consumer routes &
saboteur loader &
saboteur airports &

status=0
{ watch_progress && wait $copying $batching; } || status=1
rm "$work/running"
wait

compare airport airports '$2' '$5' || status=1
compare route routes '$2 OFS $3' '$4' || status=1
show_busiest
check_loaders || status=1
check_consumers || status=1
if [ $status = 0 ]; then
	say "every flight loaded and counted exactly once"
else
	say "FAILED"
fi
exit $status
