# shellcheck shell=bash
#
# The demo's loaders. Sourced by run.sh.

CHUNK=100		# lines a transaction of a loader
OVERLAP=20		# lines that a loader sends again when it starts over

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

# Load a half of the file, starting over as often as the session is killed, while
# the file "running" exists.
loader()
{
	local first

	until first=$(next_line "$1") && transactions "$1" "$first" |
		PGAPPNAME=loader sql >>"$work/$1.out" 2>&1
	do
		[ -e "$work/running" ] || return 1
	done
}
