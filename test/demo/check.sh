# shellcheck shell=bash
#
# Compares what the demo has left in the database with its file. Sourced by run.sh.

# compare NAME WHAT: whether NAME.db, lines of the database, and NAME.file, those
# that awk makes of the file, have the same lines, in any order. Leaves both sorted.
compare()
{
	LC_ALL=C sort -o "$work/$1.db" "$work/$1.db"
	LC_ALL=C sort -o "$work/$1.file" "$work/$1.file"
	if diff "$work/$1.db" "$work/$1.file" >"$work/$1.diff"; then
		echo "equal:  $(wc -l <"$work/$1.file") $2, database and file"
	else
		echo "DIFFERENT: $2, database (<) and file (>)"
		cat "$work/$1.diff"
		return 1
	fi
}

# Flights and sums by the first columns: totals CSV COLUMNS SUMMED, in awk's words.
totals()
{
	awk -F, -v OFS='\t' "{ k = $2; n[k]++; sum[k] += $3 }
		END { for (k in n) print k, n[k], sum[k] }" "$work/$1.csv"
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

# Whether both tables equal the file, that of the routes without poisoned flights.
check_tables()
{
	local status=0

	awk -F, 'length($3) == 3' "$work/flights.csv" >"$work/sound.csv"
	sql -c "COPY airport TO STDOUT" >"$work/airport.db"
	totals flights '$2' '$5' >"$work/airport.file"
	sql -c "COPY route TO STDOUT" >"$work/route.db"
	totals sound '$2 OFS $3' '$4' >"$work/route.file"
	compare airport airports || status=1
	compare route routes || status=1
	show_busiest
	return $status
}

# Whether the dead letters are the poisoned flights, each once, after five attempts.
check_dead_letters()
{
	local status=0

	sql -c "COPY (
		SELECT value->>'departed', value->>'origin', value->>'destination',
			value->>'distance_miles', value->>'delay_minutes',
			headers->>'dlq.attempts', headers->>'dlq.sqlstate'
		FROM topic.refused) TO STDOUT WITH (FORMAT csv)" >"$work/refused.db"
	awk -F, 'length($3) != 3 { print $0 ",5,23514" }' "$work/flights.csv" \
		>"$work/refused.file"
	compare refused 'dead letters' || status=1
	psql -X -P pager=off -P footer=off -c "
		SELECT count(*) AS \"dead letters\", headers->>'dlq.error' AS reason
		FROM topic.refused GROUP BY 2 ORDER BY 1 DESC" -c "
		SELECT value->>'origin' AS origin, value->>'destination' AS destination,
			headers->>'dlq.partition' AS partition, headers->>'dlq.offset' AS \"offset\",
			headers->>'dlq.attempts' AS attempts,
			timestamp - (headers->>'dlq.first_failed_at')::timestamptz AS tried_for
		FROM topic.refused ORDER BY \"offset\" LIMIT 5"
	[ "$(wc -l <"$work/refused.file")" = $POISONED ] && return $status
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

# Whether consumers and handlers were killed, and left nothing behind all the same.
check_groups()
{
	local consumers_killed handlers_killed left parked

	consumers_killed=$(count_kills airports)
	handlers_killed=$(count_kills routes)
	IFS='|' read -r left parked < <(sql -c "
		SELECT (SELECT count(*) FROM queue.consumer_groups g
				JOIN topic.flights m ON m.partition = g.partition
				WHERE g.topic = 'flights' AND m.\"offset\" >= g.current_offset),
			(SELECT count(*) FROM queue.parked)")
	echo "consumers killed: $consumers_killed; handlers killed: $handlers_killed;" \
		"messages left behind: $left; parked: $parked"
	[ "$consumers_killed" -gt 0 ] && [ "$handlers_killed" -gt 0 ] &&
		[ "$left" = 0 ] && [ "$parked" = 0 ]
}

# Whether flights of closed airports came again until the handler succeeded, and no
# others did; and each airport's flights were handled in the order of the topic.
check_handlers()
{
	local again others disorder

	IFS='|' read -r again others disorder < <(sql -c "
		SELECT count(*) FILTER (WHERE attempt > 1 AND closed),
			count(*) FILTER (WHERE attempt > 1 AND NOT closed),
			count(*) FILTER (WHERE \"offset\" <= previous)
		FROM (SELECT attempt, \"offset\",
				origin IN (SELECT origin FROM closed) AS closed,
				lag(\"offset\") OVER (PARTITION BY origin ORDER BY number) AS previous
			FROM handled) handled")
	echo "handled at a second attempt or later: $again flights of closed airports," \
		"$others of others; out of order: $disorder"
	[ "$again" -gt 0 ] && [ "$others" = 0 ] && [ "$disorder" = 0 ]
}
