# shellcheck shell=bash disable=SC2034,SC2154
# Log compaction: how fast it is, and what it costs producers and consumers
# while the worker does it.  Sourced by run.sh; uses lib.sh and maintenance.sh.

: "${COMPACT_MESSAGES:=10000000}"          # compacted by each run
: "${COMPACT_KEYS:=100000}"                # their keys
: "${COMPACT_SEGMENT_MESSAGES:=2000000}"
: "${COMPACT_BESIDE_MESSAGES:=3000000}"    # compacted beside producers and consumers

# 1,000 arrays of 1,000 keys, drawn at random, but the same in each round.
make_key_sets()
{
	[ -z "$(sql "SELECT to_regclass('key_set')")" ] || return 0
	psql -Xq -v ON_ERROR_STOP=1 <<-SQL
		SELECT setseed(0.5) \\g /dev/null
		CREATE TABLE key_set AS
			SELECT n, array_agg('k' || lpad((random() * $COMPACT_KEYS)::int::text, 7, '0')) AS keys
			FROM generate_series(0, 999) n, generate_series(1, 1000) i GROUP BY n;
		ALTER TABLE key_set ADD PRIMARY KEY (n);
		VACUUM ANALYZE key_set;
	SQL
}

# fresh_keyed messages segment_messages: a topic of so many messages in sealed
# segments, and one in the segment in use
fresh_keyed()
{
	make_key_sets
	fresh_topic_with keyed "segment_messages => $2, cleanup_policy => 'compact'"
	sql "DO \$\$
		DECLARE
			batch text[] := ARRAY(SELECT value FROM sample ORDER BY n);
		BEGIN
			FOR i IN 0 .. $1 / 1000 - 1 LOOP
				PERFORM queue.produce_batch('keyed', batch,
					(SELECT keys FROM key_set WHERE n = (i * 37 + i / 1000) % 1000));
				COMMIT;
			END LOOP;
			PERFORM queue.produce('keyed', 'x', 'last');
		END \$\$"
	await_segments
	sql CHECKPOINT
}

# ----------------------------------------------------------------------
# Compaction against DISTINCT ON
# ----------------------------------------------------------------------

compact_call="CALL queue.maintain('keyed')"
distinct_sql="CREATE TABLE distinct_heap AS SELECT DISTINCT ON (key) * FROM keyed_heap
	ORDER BY key, \"offset\" DESC"
compact_left="SELECT count(*), sum(\"offset\"), min(\"offset\") FROM"

# The topic's sealed messages, in a heap of the log's columns.
make_keyed_heap()
{
	[ -z "$(sql "SELECT to_regclass('keyed_heap')")" ] || return 0
	fresh_keyed "$COMPACT_MESSAGES" "$COMPACT_SEGMENT_MESSAGES"
	sql "CREATE TABLE keyed_heap AS
		SELECT \"offset\", \"timestamp\", partition, key, value, headers
		FROM topic.keyed WHERE \"offset\" < $COMPACT_MESSAGES ORDER BY \"offset\""
	sql 'VACUUM ANALYZE keyed_heap'
	distinct_left=$(sql "$compact_left (SELECT DISTINCT ON (key) \"offset\" FROM keyed_heap
		ORDER BY key, \"offset\" DESC) d")
}

topic_compacted()
{
	local seconds
	fresh_keyed "$COMPACT_MESSAGES" "$COMPACT_SEGMENT_MESSAGES"
	seconds=$(seconds_of "$compact_call") || return 1
	expect compaction "$distinct_left" \
		"$compact_left topic.keyed WHERE \"offset\" < $COMPACT_MESSAGES"
	calc "$COMPACT_MESSAGES / $seconds"
}

# With the memory that compaction has.
heap_made_distinct()
{
	local seconds memory
	memory=$(sql 'SHOW maintenance_work_mem') || return 1
	local -x PGOPTIONS="$PGOPTIONS -c work_mem=$memory"
	sql 'DROP TABLE IF EXISTS distinct_heap'
	sql CHECKPOINT
	seconds=$(seconds_of "$distinct_sql") || return 1
	expect 'DISTINCT ON' "$distinct_left" "$compact_left distinct_heap"
	calc "$COMPACT_MESSAGES / $seconds"
}

bench_compact()
{
	make_keyed_heap
	command_of compact queue "$compact_call"
	command_of compact heap "SET work_mem = maintenance_work_mem; $distinct_sql"
	compare compact "compaction, $COMPACT_MESSAGES messages, $COMPACT_KEYS keys : CREATE TABLE AS SELECT DISTINCT ON" \
		'messages/s' '>= 1.00' topic_compacted heap_made_distinct
	sql 'DROP TABLE keyed_heap, distinct_heap'
	sql "SELECT queue.drop_topic('keyed')" >/dev/null
}

# ----------------------------------------------------------------------
# Producing and consuming beside a worker that compacts
# ----------------------------------------------------------------------

# beside_compaction side argument...: the figure of a run during which the worker
# compacts topic keyed, and drops segments of topic busy if it comes to that
beside_compaction()
{
	local figure
	figure=$(beside_work keyed 'messages compacted' "$@") || exit 1
	expect compaction t "SELECT count(*) < $COMPACT_BESIDE_MESSAGES / 2 FROM topic.keyed"
	echo "$figure"
}

# produce_beside and consume_beside: [command that runs it]
produce_beside()
{
	fresh_keyed "$COMPACT_BESIDE_MESSAGES" "$DROP_MESSAGES"
	produce_busy "$@"
}

consume_beside()
{
	fresh_keyed "$COMPACT_BESIDE_MESSAGES" "$DROP_MESSAGES"
	consume_busy "$@"
}

bench_compact_produce()
{
	command_of compact_produce queue "client -b -s $MAINTAIN_SECONDS -a '$busy_arrays' \"$busy_batch\""
	compare compact_produce 'as maintain_produce, the worker compacts another topic, too : no worker' \
		'messages/s' '>= 0.90' 'produce_beside beside_compaction' produce_beside
}

bench_compact_consume()
{
	command_of compact_consume queue "client -e \"$busy_consume\""
	compare compact_consume 'as maintain_consume, the worker compacts another topic, too : no worker' \
		'messages/s' '>= 0.90' 'consume_beside beside_compaction' consume_beside
}
