#!/usr/bin/env bash
#
# The demo, the main job on real input: 20,000 flights become messages of a topic
# with eight partitions, keyed by airport. Four concurrent consumers of one group
# keep a table of flights and delays per airport, in the transactions in which
# they consume, while a saboteur kills their sessions at random. A second group
# keeps a table of routes. In the end both tables must equal, to the last digit,
# what awk computes straight from the file.
#
# Installs what is missing, builds, and starts a throw-away server (../lib.sh).

set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../lib.sh"

FLIGHTS=20000
CHUNK=500
PATIENCE=90		# seconds after which the load counts as stuck
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

# ---- producing -------------------------------------------------------------

# One chunk by COPY into the topic's view: a key and a JSON object a line.
produce_by_copy()
{
	awk -F, '{
		printf "%s\t", $2
		printf "{\"departed\": \"%s\", \"origin\": \"%s\", ", $1, $2
		printf "\"destination\": \"%s\", \"distance_miles\": %d, ", $3, $4
		printf "\"delay_minutes\": %d}\n", $5
	}' | sql -c "COPY topic.flights (key, value) FROM STDIN"
}

# One chunk by queue.produce_batch.
produce_by_batch()
{
	sql -f "$here/produce_batch.sql" >/dev/null
}

# producer HOW CHUNK...
producer()
{
	local how=$1 chunk
	shift

	for chunk in "$@"; do
		"$how" <"$chunk"
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

# Kill the session of some consumer in the middle of its transaction, a few times
# a second. One line for each in the file kills.
saboteur()
{
	while [ -e "$work/running" ]; do
		sql -c "SELECT pid FROM (
				SELECT pid FROM pg_stat_activity
				WHERE application_name = 'airports' AND xact_start IS NOT NULL
				ORDER BY random() LIMIT 1) victim
			WHERE pg_terminate_backend(pid)" >>"$work/kills"
		sleep "0.$((RANDOM % 4 + 1))"
	done
}

count_kills()
{
	wc -l <"$work/kills"
}

# ---- watching --------------------------------------------------------------

# Report every second, until both groups have counted every flight.
watch_progress()
{
	local produced airports routes deadline=$((SECONDS + PATIENCE))

	until [ "${airports:-0}" -ge $FLIGHTS ] && [ "${routes:-0}" -ge $FLIGHTS ]; do
		if [ $SECONDS -gt "$deadline" ]; then
			say "not finished in time"
			sql -c "TABLE queue.consumer_groups"
			tail -n 5 "$work"/*.out "$work/demo.log"
			return 1
		fi
		sleep 1
		IFS='|' read -r produced airports routes < <(sql -c "
			SELECT (SELECT sum(log_end) FROM queue.partitions),
				(SELECT coalesce(sum(flights), 0) FROM airport),
				(SELECT coalesce(sum(flights), 0) FROM route)")
		say "$(printf 'produced %5d   airports %5d   routes %5d   kills %3d' \
			"$produced" "$airports" "$routes" "$(count_kills)")"
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

# ---- the demo --------------------------------------------------------------

"$top/test/setup.sh" demo
say "building"
prepare_server
start_cluster demo "fsync = on"
export PGDATABASE=postgres
sql -f "$here/setup.sql"

zcat "$top/test/data/flights-2001.csv.gz" | tail -n +2 >"$work/flights.csv"
split -l $CHUNK -d -a 3 "$work/flights.csv" "$work/chunk."
chunks=("$work"/chunk.*)
half=$((${#chunks[@]} / 2))
touch "$work/kills" "$work/running"

say "two producers, $consumers consumers of group airports, one of group routes, one saboteur"
producer produce_by_copy "${chunks[@]:0:half}" &
copying=$!
producer produce_by_batch "${chunks[@]:half}" &
batching=$!
running=()
for ((i = 0; i < consumers; i++)); do
	consumer airports &
	running+=($!)
done
consumer routes &
running+=($!)
saboteur &
running+=($!)

status=0
watch_progress || status=1
rm "$work/running"
wait "${running[@]}"
wait $copying || { echo "the COPY producer failed"; status=1; }
wait $batching || { echo "the batch producer failed"; status=1; }

compare airport airports '$2' '$5' || status=1
compare route routes '$2 OFS $3' '$4' || status=1
show_busiest
lag=$(sql -c "SELECT sum(lag) FROM queue.consumer_groups")
kills=$(count_kills)
echo "consumers killed: $kills; messages left behind: $lag"
[ "$kills" -gt 0 ] && [ "$lag" = 0 ] || status=1
if [ $status = 0 ]; then
	say "every flight counted exactly once"
else
	say "FAILED"
fi
exit $status
