# shellcheck shell=bash disable=SC2034,SC2154
# Consuming: against a sequential scan and an index range scan, in the server
# and to a client; the end of a long partition; behind delayed messages.  Sourced by
# run.sh.

: "${DRAIN_MESSAGES:=1000000}"  # read by each consume run
: "${LARGE_MESSAGES:=10000000}" # the long partition
: "${SMALL_MESSAGES:=10000}"    # the short one
: "${TAIL_CALLS:=50}"           # consumes of 100 from the end
: "${DELAYED_MESSAGES:=1000000}" # due tomorrow
: "${BEHIND_MESSAGES:=500000}"  # read behind them

# The same messages three times: the topic, a heap with the log's own columns,
# that heap with a primary key.  Vacuumed, so that none has hint bits to set.
make_drain_tables()
{
	[ -z "$(sql "SELECT to_regclass('drain_heap')")" ] || return 0
	fresh_topic drain
	fill_topic drain "$DRAIN_MESSAGES"
	sql 'CREATE TABLE drain_heap AS
		SELECT "offset", "timestamp", partition, key, value, headers
		FROM topic.drain ORDER BY "offset"'
	sql 'CREATE TABLE drain_indexed (LIKE drain_heap)'
	sql 'INSERT INTO drain_indexed SELECT * FROM drain_heap'
	sql 'ALTER TABLE drain_indexed ADD PRIMARY KEY ("offset")'
	sql 'VACUUM ANALYZE'
	expect 'drain tables' "$DRAIN_MESSAGES" 'SELECT count(*) FROM drain_indexed'
}

# A group never used before, at the log start.
fresh_group()
{
	group=g$(date +%s%N)
	sql "SELECT queue.create_group('$group', '$1', '$2')" >/dev/null
	sql CHECKPOINT
}

# ----------------------------------------------------------------------
# In the server
# ----------------------------------------------------------------------

# read_loop query [statement]: 1,000 messages at a time, each page committed;
# the query yields their number, the length of their values and their last
# offset; the statement comes before the commit
read_loop()
{
	cat <<-SQL
		DO \$\$
		DECLARE
			page record;
			last bigint := -1;
			messages bigint := 0;
			bytes bigint := 0;
		BEGIN
			LOOP
				$1;
				EXIT WHEN page.count = 0;
				messages := messages + page.count;
				bytes := bytes + page.bytes;
				last := page.last;
				${2:-}
				COMMIT;
			END LOOP;
			IF (messages, bytes) <> ($DRAIN_MESSAGES, 100::bigint * $DRAIN_MESSAGES) THEN
				RAISE EXCEPTION 'read % messages, % bytes', messages, bytes;
			END IF;
		END \$\$
	SQL
}

consume_page="SELECT count(*), sum(length(m.value)) AS bytes, max(m.\"offset\") AS last INTO page
	FROM queue.consume_typed('{group}', 'drain', NULL::text, 1000) m"
index_page='SELECT count(*), sum(length(m.value)) AS bytes, max(m."offset") AS last INTO page
	FROM (SELECT * FROM drain_indexed d WHERE d."offset" > last
		ORDER BY d."offset" LIMIT 1000) m'
keep_position='UPDATE position SET next = last;'
scan_sql='SELECT count(*), sum(length(value)) FROM drain_heap'

read_rate()
{
	local seconds
	seconds=$(seconds_of "$1" "${2:-}") || return 1
	calc "$DRAIN_MESSAGES / $seconds"
}

consume_loop()
{
	fresh_group drain earliest
	read_rate "$(read_loop "${consume_page/\{group\}/$group}")"
}

index_loop() { read_rate "$(read_loop "$index_page")"; }

index_loop_with_position()
{
	sql 'DROP TABLE IF EXISTS position'
	sql 'CREATE TABLE position AS SELECT 0::bigint AS next'
	read_rate "$(read_loop "$index_page" "$keep_position")"
}

scan_heap() { read_rate "$scan_sql" "$DRAIN_MESSAGES|$((100 * DRAIN_MESSAGES))"; }

bench_consume_scan()
{
	make_drain_tables
	command_of consume_scan queue "$(read_loop "$consume_page")"
	command_of consume_scan heap "$scan_sql"
	compare consume_scan 'consume of 1,000, committed, in the server : sequential scan' \
		'messages/s' '>= 0.20' consume_loop scan_heap
}

bench_consume_index()
{
	make_drain_tables
	command_of consume_index queue "$(read_loop "$consume_page")"
	command_of consume_index heap "$(read_loop "$index_page")"
	compare consume_index 'the same : index range scan LIMIT 1000' \
		'messages/s' '>= 1.50' consume_loop index_loop
}

bench_consume_position()
{
	make_drain_tables
	command_of consume_position queue "$(read_loop "$consume_page")"
	command_of consume_position heap "$(read_loop "$index_page" "$keep_position")"
	compare consume_position 'the same : index range scan that stores its position' \
		'messages/s' '-' consume_loop index_loop_with_position
}

# ----------------------------------------------------------------------
# Rows sent to a client
# ----------------------------------------------------------------------

consume_sql="SELECT {columns} FROM queue.consume_typed('{group}', 'drain', NULL::text, 1000)"
page_sql='SELECT {columns} FROM drain_indexed WHERE "offset" > $1 ORDER BY "offset" LIMIT 1000'
all_columns='"offset", "timestamp", partition, key, value, headers'
few_columns='"offset", key, value'

drain_rate()
{
	local out
	out=$(client "$@") || return 1
	[ "$(field rows "$out")" = "$DRAIN_MESSAGES" ] || die "client read: $out"
	field rows_per_s "$out"
}

consume_to_client()
{
	local statement=${consume_sql/\{columns\}/$1}
	fresh_group drain earliest
	drain_rate -e "${statement/\{group\}/$group}"
}

pages_to_client() { drain_rate -e -p "${page_sql/\{columns\}/$1}"; }
consume_all_to_client() { consume_to_client "$all_columns"; }
consume_few_to_client() { consume_to_client "$few_columns"; }
pages_all_to_client() { pages_to_client "$all_columns"; }
pages_few_to_client() { pages_to_client "$few_columns"; }

bench_consume_client()
{
	make_drain_tables
	command_of consume_client queue "client -e '${consume_sql/\{columns\}/$all_columns}'"
	command_of consume_client heap "client -e -p '${page_sql/\{columns\}/$all_columns}'"
	compare consume_client 'consume of 1,000 to a client, all columns : index range scan' \
		'messages/s' '>= 1.00' consume_all_to_client pages_all_to_client
}

bench_consume_client_few()
{
	make_drain_tables
	command_of consume_client_few queue "client -e '${consume_sql/\{columns\}/$few_columns}'"
	command_of consume_client_few heap "client -e -p '${page_sql/\{columns\}/$few_columns}'"
	compare consume_client_few 'the same, offset, key and value only' \
		'messages/s' '>= 1.00' consume_few_to_client pages_few_to_client
}

# ----------------------------------------------------------------------
# The end of a long partition
# ----------------------------------------------------------------------

tail_sql="SELECT * FROM queue.consume_typed('{group}', '{topic}', NULL::text, 100)"

# consume_tail topic: median calls a second of the last TAIL_CALLS * 100
# messages, which are appended behind a group at the end
consume_tail()
{
	local out statement=${tail_sql/\{topic\}/$1}
	fresh_group "$1" latest
	fill_topic "$1" $((TAIL_CALLS * 100))
	out=$(client -x -n "$TAIL_CALLS" "${statement/\{group\}/$group}") || return 1
	[ "$(field rows "$out")" = $((TAIL_CALLS * 100)) ] || die "client read: $out"
	calc "1000000 / $(field median_us "$out")"
}

consume_large_tail() { consume_tail large; }

# The short partition is made anew, for it must not grow with the rounds.
consume_small_tail()
{
	fresh_topic small
	fill_topic small $((SMALL_MESSAGES - TAIL_CALLS * 100))
	consume_tail small
}

bench_consume_tail()
{
	fresh_topic large
	fill_topic large "$LARGE_MESSAGES"
	expect 'large topic' "$LARGE_MESSAGES" 'SELECT count(*) FROM topic.large'
	command_of consume_tail queue "client -x -n $TAIL_CALLS '${tail_sql/\{topic\}/large}'"
	command_of consume_tail heap "client -x -n $TAIL_CALLS '${tail_sql/\{topic\}/small}'"
	compare consume_tail 'consume of 100 from the end of 10 million : of 10 thousand' \
		'calls/s' '>= 0.90' consume_large_tail consume_small_tail
	sql "SELECT queue.drop_topic('large')" >/dev/null
}

# ----------------------------------------------------------------------
# Behind delayed messages
# ----------------------------------------------------------------------

# make_passed_topic name deliver_at: DELAYED_MESSAGES that a group has passed
make_passed_topic()
{
	fresh_topic "$1"
	sql "INSERT INTO topic.$1 (key, value, deliver_at)
		SELECT key, value, $2 FROM sample, generate_series(1, $DELAYED_MESSAGES / 1000)"
	sql "SELECT queue.create_group('passed', '$1', 'earliest')" >/dev/null
	sql "DO \$\$ BEGIN
		WHILE EXISTS (SELECT FROM queue.consumer_groups
			WHERE consumer_group = 'passed' AND topic = '$1'
			AND current_offset IS DISTINCT FROM $DELAYED_MESSAGES)
		LOOP
			PERFORM count(*) FROM queue.consume_typed('passed', '$1', NULL::text, 10000);
			COMMIT;
		END LOOP;
	END \$\$"
}

consume_behind()
{
	local DRAIN_MESSAGES=$BEHIND_MESSAGES page=${consume_page/\{group\}/passed}
	fill_topic "$1" "$BEHIND_MESSAGES"
	sql CHECKPOINT
	read_rate "$(read_loop "${page/drain/$1}")"
}

bench_consume_delayed()
{
	make_passed_topic late "now() + interval '1 day'"
	make_passed_topic prompt NULL
	expect 'delayed messages' "$DELAYED_MESSAGES" 'SELECT count(*) FROM queue.parked_message'
	sql 'VACUUM ANALYZE'
	command_of consume_delayed queue "$(read_loop "${consume_page/drain/late}")"
	command_of consume_delayed without "$(read_loop "${consume_page/drain/prompt}")"
	compare consume_delayed "consume of 1,000, $DELAYED_MESSAGES delayed before them : without" \
		'messages/s' '>= 0.95' 'consume_behind late' 'consume_behind prompt'
	sql "SELECT queue.drop_topic(t) FROM unnest(ARRAY['late', 'prompt']) t" >/dev/null
	sql "SELECT queue.drop_group('passed')" >/dev/null
}
