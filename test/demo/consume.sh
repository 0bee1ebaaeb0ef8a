# shellcheck shell=bash
#
# The demo's consumers and handlers, and the saboteurs that kill sessions. Sourced by
# run.sh. All of them go on while the file "running" exists.

# Run airports.sql again and again. pgbench ends when its session is killed; then it
# is started anew, with a new session.
consumer()
{
	while [ -e "$work/running" ]; do
		PGAPPNAME=airports pgbench --no-vacuum -t 30 -f "$here/airports.sql" \
			>>"$work/airports.out" 2>&1 || true
	done
}

# Have the server call the handler of group "routes", again when the session is
# killed.
handler()
{
	while [ -e "$work/running" ]; do
		PGAPPNAME=routes sql -c "
			CALL queue.process('routes', 'flights', max_wait => '1 s')" \
			>>"$work/routes.out" 2>&1 || true
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
