#!/usr/bin/env bash
#
# The demo, the main job on real input: 20,000 flights become messages of a topic
# with eight partitions, keyed by airport. Two loaders send a half each, one by
# COPY, one by queue.produce_batch; four concurrent consumers of group "airports"
# keep a table of flights and delays per airport, in the transactions in which they
# consume; a handler of group "routes", which two sessions call, keeps a table of
# routes. Three saboteurs kill the sessions of loaders, consumers and handlers at
# random. A loader that was killed starts over from queue.producer_state; the
# numbers of its lines are its sequences.
#
# Two things fail by themselves. 200 flights are poisoned: they have a destination
# that the table of routes refuses, and become dead letters after five attempts. And
# the five busiest airports are closed for the first ten seconds: the handler fails
# on their flights, and gets them again until it succeeds. Meanwhile the later
# flights of the airport wait, and those of all others go on.
#
# In the end the topic must hold each flight once; both tables must equal, to the
# last digit, what awk computes straight from the file, for the routes without the
# poisoned flights; and the dead letters must be these, each once.
#
# Installs what is missing, builds, and starts a throw-away server (../lib.sh).

set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../lib.sh"
. "$here/load.sh"
. "$here/consume.sh"
. "$here/check.sh"

FLIGHTS=20000
POISONED=200
CLOSED="ATL DFW LAX ORD PHX"
CLOSED_FOR='10 s'
PATIENCE=60		# seconds without progress after which the demo counts as stuck
consumers=4
handlers=2

started=$SECONDS

say()
{
	printf '%4d s  %s\n' $((SECONDS - started)) "$*"
}

sql()
{
	psql -X -q -A -t -v ON_ERROR_STOP=1 "$@"
}

# flights.csv: the file, with the poison. Its halves are copy.csv and batch.csv.
# What is poisoned are flights of different airports, all over the file: the code
# of their destination has a letter too many.
prepare_flights()
{
	zcat "$top/test/data/flights-2001.csv.gz" | tail -n +2 | tr -d '\r' |
		awk -F, -v OFS=, -v total=$POISONED '
			NR > 95 * n && n < total && !poisoned[$2]++ { $3 = "K" $3; n++ }
			{ print }' >"$work/flights.csv"
	head -n $((FLIGHTS / 2)) "$work/flights.csv" >"$work/copy.csv"
	tail -n +$((FLIGHTS / 2 + 1)) "$work/flights.csv" >"$work/batch.csv"
}

close_airports()
{
	sql -c "INSERT INTO closed
		SELECT origin, clock_timestamp() + '$CLOSED_FOR'
		FROM string_to_table('$CLOSED', ' ') origin"
}

# Report every second, until everything is loaded, and no message is left to come,
# or to come again, to either group.
watch_progress()
{
	local loaded=0 airports=0 routes=0 dead=0 parked=0 to_come=1
	local before='' moved=$SECONDS

	until [ "$loaded" = $FLIGHTS ] && [ "$to_come" = 0 ]; do
		if [ $((SECONDS - moved)) -gt $PATIENCE ]; then
			say "no progress for $PATIENCE s"
			sql -c "TABLE queue.producers" -c "TABLE queue.consumer_groups" \
				-c "SELECT * FROM queue.parked LIMIT 50"
			tail -n 5 "$work"/*.out "$work/demo.log"
			return 1
		fi
		sleep 1
		before="$loaded $airports $routes $dead"
		IFS='|' read -r loaded airports routes dead parked to_come < <(sql -c "
			SELECT (SELECT coalesce(sum(accepted), 0) FROM queue.producers),
				(SELECT coalesce(sum(flights), 0) FROM airport),
				(SELECT coalesce(sum(flights), 0) FROM route),
				(SELECT count(*) FROM topic.refused),
				sum(parked), sum(lag + parked)
			FROM queue.group_summary")
		[ "$before" = "$loaded $airports $routes $dead" ] || moved=$SECONDS
		say "$(printf 'loaded %5d  airports %5d  routes %5d  parked %4d  dead %3d ' \
			"$loaded" "$airports" "$routes" "$parked" "$dead")" \
			"$(printf 'killed: %2d loaders, %2d consumers, %2d handlers' \
				"$(count_kills loader)" "$(count_kills airports)" \
				"$(count_kills routes)")"
	done
}

"$top/test/setup.sh" demo
say "building"
prepare_server
start_cluster demo "fsync = on"
export PGDATABASE=postgres
sql -f "$here/setup.sql" -f "$here/routes.sql"
prepare_flights
touch "$work/kills.loader" "$work/kills.airports" "$work/kills.routes" "$work/running"

say "two loaders, $consumers consumers of group airports, $handlers handlers of" \
	"group routes, three saboteurs"
say "$POISONED flights are poisoned; $CLOSED are closed for $CLOSED_FOR"
close_airports
loader copy &
copying=$!
loader batch &
batching=$!
for ((i = 0; i < consumers; i++)); do
	consumer &
done
for ((i = 0; i < handlers; i++)); do
	handler &
done
for victim in loader airports routes; do
	saboteur $victim &
done

status=0
{ watch_progress && wait $copying $batching; } || status=1
rm "$work/running"
wait

check_tables || status=1
check_dead_letters || status=1
check_loaders || status=1
check_groups || status=1
check_handlers || status=1
if [ $status = 0 ]; then
	say "every flight loaded, and counted or refused, exactly once"
else
	say "FAILED"
fi
exit $status
