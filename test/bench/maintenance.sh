# shellcheck shell=bash disable=SC2034,SC2154
# Maintenance: removing segments, what a roll costs the slowest calls, what
# the worker costs producers and consumers.  Sourced by run.sh; uses lib.sh,
# produce.sh, consume.sh, wal.sh and groups.sh.

: "${DROP_SEGMENTS:=20}"             # of DROP_MESSAGES each: removed by each run
: "${DROP_OLD_SEGMENTS:=100}"        # the same, on the disk only
: "${DROP_MESSAGES:=131072}"         # as many as a segment has by default
: "${DROP_SMALL_SEGMENTS:=100}"
: "${DROP_SMALL_MESSAGES:=10000}"
: "${ROLL_CALLS:=60000}"             # calls of each run, fewer than a segment that does not roll
: "${ROLL_SEGMENT_MESSAGES:=500}"    # two of 1,000 calls roll: p99.9 lies among them
: "${MAINTAIN_SECONDS:=5}"           # length of a run that produces beside the worker
: "${MAINTAIN_MESSAGES:=10000000}"   # read by each run that consumes beside it
: "${MAINTAIN_SEGMENT_MESSAGES:=20000}"

# Workers that make segments have ended: maintenance passes by what they lock.
await_segments()
{
	await 'segment workers' "SELECT NOT EXISTS (SELECT FROM pg_stat_activity
		WHERE backend_type = 'queue segment worker')"
}

# fresh_topic_with name options: of queue.create_topic()
fresh_topic_with()
{
	sql "SELECT queue.drop_topic('$1', true)" >/dev/null
	sql "SELECT queue.create_topic('$1', 1, 'text', $2)" >/dev/null
	use_partitions "$1"
	sql CHECKPOINT
}

# ----------------------------------------------------------------------
# Removing segments
# ----------------------------------------------------------------------

removable_kept=1000
removable_call="CALL queue.maintain('removable')"

# Each of these functions: segments, messages of each.
# All segments but the last may go.
make_removable()
{
	fresh_topic_with removable "segment_messages => $2, retention => '1 millisecond'"
	sql "$(batch_loop removable $(($1 * $2 / 1000 * 1000 + 2 * removable_kept)) 'COMMIT;')"
	await_segments
}

# Messages and tables are gone: the last one is left, and those ahead.
expect_removed()
{
	expect maintain "$(($1 * $2))|t|3" "SELECT queue.log_start('removable', 0),
		(SELECT min(\"offset\") = $(($1 * $2)) FROM topic.removable),
		(SELECT count(*) FROM pg_inherits i JOIN queue.topic t ON i.inhparent = t.log
			WHERE t.name = 'removable')"
}

# Old messages lie on the disk and in no memory.  A side of drop_old calls
# this before the clock starts; it is "true" for messages written just now.
forget_memory()
{
	as_user pg_ctl -D "$work/main" -l "$work/main.log" -m fast -w -s restart &&
		find "$work/main/base" -type f -size +1M \
			-exec dd if={} iflag=nocache count=0 status=none \;
}

# segments messages [forget_memory]
segments_removed()
{
	local seconds
	make_removable "$1" "$2"
	sql CHECKPOINT
	${3:-true}
	seconds=$(seconds_of "$removable_call") || return 1
	expect_removed "$1" "$2"
	calc "$1 * $2 / $seconds"
}

# segments messages [forget_memory]
rows_deleted()
{
	local delete vacuum
	fresh_log_heap
	sql "COPY heap FROM '$work/files/removable$1.bin' (FORMAT binary)"
	sql 'VACUUM heap'
	sql CHECKPOINT
	${3:-true}
	delete=$(seconds_of "DELETE FROM heap WHERE \"offset\" < $1 * $2") || return 1
	vacuum=$(seconds_of 'VACUUM heap') || return 1
	expect DELETE $(($1 * $2)) 'SELECT min("offset") FROM heap'
	calc "$1 * $2 / ($delete + $vacuum)"
}

# compare_drops row what bar segments messages [forget_memory]
compare_drops()
{
	log_file "$work/files/removable$4.bin" $(($4 * $5 / 1000 * 1000 + 2 * removable_kept))
	command_of "$1" queue "$removable_call"
	command_of "$1" heap "DELETE FROM heap WHERE \"offset\" < $4 * $5; VACUUM heap"
	compare "$1" "$2" 'messages/s' "$3" "segments_removed $4 $5 ${6:-}" \
		"rows_deleted $4 $5 ${6:-}"
}

bench_drop_segments()
{
	compare_drops drop_segments \
		"$DROP_SEGMENTS segments of $DROP_MESSAGES go and are dropped : DELETE, VACUUM" \
		'>= 50' "$DROP_SEGMENTS" "$DROP_MESSAGES"
}

bench_drop_old()
{
	compare_drops drop_old \
		"$DROP_OLD_SEGMENTS segments of $DROP_MESSAGES, not read of late : DELETE, VACUUM" \
		'>= 50' "$DROP_OLD_SEGMENTS" "$DROP_MESSAGES" forget_memory
}

# One table of the same rows: what giving back the disk takes.
table_dropped()
{
	local seconds
	fresh_log_heap
	sql "COPY heap FROM '$work/files/removable$1.bin' (FORMAT binary)"
	sql CHECKPOINT
	seconds=$(seconds_of 'DROP TABLE heap') || return 1
	calc "$1 * $2 / $seconds"
}

bench_drop_floor()
{
	log_file "$work/files/removable$DROP_SEGMENTS.bin" \
		$((DROP_SEGMENTS * DROP_MESSAGES / 1000 * 1000 + 2 * removable_kept))
	command_of drop_floor queue "$removable_call"
	command_of drop_floor heap 'DROP TABLE heap'
	compare drop_floor 'the same as drop_segments : DROP TABLE of the same rows' 'messages/s' - \
		"segments_removed $DROP_SEGMENTS $DROP_MESSAGES" "table_dropped $DROP_SEGMENTS $DROP_MESSAGES"
}

bench_drop_small()
{
	compare_drops drop_small \
		"$DROP_SMALL_SEGMENTS segments of $DROP_SMALL_MESSAGES go and are dropped : the same" \
		- "$DROP_SMALL_SEGMENTS" "$DROP_SMALL_MESSAGES"
}

# The topic was made just now: pages of the catalogs are in the WAL already.
wal_of_letting_go()
{
	local bytes
	make_removable "$@"
	bytes=$(psql -XqAt -v ON_ERROR_STOP=1 <<-SQL
		SELECT pg_current_wal_insert_lsn() AS before \gset
		$removable_call;
		SELECT pg_current_wal_insert_lsn() - :'before';
	SQL
	) || return 1
	expect_removed "$@"
	echo "$bytes"
}

wal_after_checkpoint()
{
	local bytes
	make_removable "$@"
	bytes=$(wal_bytes "$removable_call") || return 1
	expect_removed "$@"
	echo "$bytes"
}

bench_drop_wal()
{
	command_of drop_wal queue "$removable_call"
	measure drop_wal "WAL of letting $DROP_SMALL_SEGMENTS segments go and dropping them" bytes \
		'<= 1048576' "wal_of_letting_go $DROP_SMALL_SEGMENTS $DROP_SMALL_MESSAGES"
	measure drop_wal_checkpoint 'the same, right after a checkpoint' bytes \
		- "wal_after_checkpoint $DROP_SMALL_SEGMENTS $DROP_SMALL_MESSAGES"
}

# ----------------------------------------------------------------------
# The slowest calls of a producer whose segments roll
# ----------------------------------------------------------------------

roll_sql="SELECT queue.produce('roll', repeat('x', 100), 'k0000001')"
no_roll=10000000

# p999 segment_messages synchronous_commit [messages that are there before]
p999()
{
	local out there=${3:-0}
	[ "$2" = on ] || local -x PGOPTIONS="$PGOPTIONS -c synchronous_commit=$2"
	fresh_topic_with roll "segment_messages => $1"
	fill_topic roll "$there"
	await_segments
	out=$(client -n "$ROLL_CALLS" "$roll_sql") || return 1
	note "      $out"
	expect 'segments used' $(((there + ROLL_CALLS + $1 - 1) / $1)) \
		"SELECT count(*) FROM queue.segments WHERE topic = 'roll' AND messages > 0"
	field p999_us "$out"
}

# compare_rolls row what bar segment_messages synchronous_commit [messages before]
compare_rolls()
{
	command_of "$1" queue "client -n $ROLL_CALLS \"$roll_sql\"; segment_messages => $4"
	command_of "$1" queue "the same; segment_messages => $no_roll"
	compare "$1" "$2" microseconds "$3" "p999 $4 $5 ${6:-0}" "p999 $no_roll $5 ${6:-0}"
}

bench_roll_p999()
{
	compare_rolls roll_p999 \
		"produce, 99.9th percentile, a roll each $ROLL_SEGMENT_MESSAGES messages : none" \
		'<= 3.00' "$ROLL_SEGMENT_MESSAGES" on
}

bench_roll_p999_async()
{
	compare_rolls roll_p999_async 'the same, synchronous_commit = off' \
		- "$ROLL_SEGMENT_MESSAGES" off
}

bench_roll_p999_default()
{
	compare_rolls roll_p999_default 'as roll_p999, segments as by default: one roll : none' \
		- 131072 on 100000
}

# ----------------------------------------------------------------------
# Producing and consuming beside the worker
# ----------------------------------------------------------------------

# beside_worker side argument...: the figure of a run during which the worker
# does a pass each second and drops segments of topic busy
beside_worker()
{
	beside_work busy 'segments dropped' "$@"
}

# beside_work topic action side argument...: the figure of a run during which the
# worker does that; what it has begun by the end of the run it may finish
beside_work()
{
	local figure topic=$1 action=$2
	shift 2
	sql 'DELETE FROM queue.maintenance_log'
	sql 'SELECT queue.start_maintenance()' >/dev/null
	figure=$("$@") || exit 1
	await "$action" "SELECT count(*) > 0 FROM queue.maintenance_log
		WHERE topic = '$topic' AND action = '$action'"
	sql 'SELECT queue.stop_maintenance()' >/dev/null
	note "      worker: $(sql "SELECT string_agg(concat_ws(' ', topic, action, sum), ', ')
		FROM (SELECT topic, action, sum(items) FROM queue.maintenance_log
			GROUP BY 1, 2 ORDER BY 1, 2) done")"
	echo "$figure"
}

busy_arrays='SELECT key, value FROM sample WHERE n <= 100'
busy_batch="SELECT count(*) FROM queue.produce_batch('busy', \$2, keys => \$1)"

# Sides' work, on a topic made just now.
busy_produced()
{
	local out
	out=$(client -b -s "$MAINTAIN_SECONDS" -a "$busy_arrays" "$busy_batch") || return 1
	expect produce_batch $((100 * $(field calls "$out"))) \
		"SELECT log_end FROM queue.partitions WHERE topic = 'busy'"
	calc "100 * $(field calls_per_s "$out")"
}

# produce_busy [command that runs it]
produce_busy()
{
	fresh_topic_with busy "segment_messages => $MAINTAIN_SEGMENT_MESSAGES,
		retention_bytes => 4 * 1024 * 1024"
	"$@" busy_produced
}

bench_maintain_produce()
{
	command_of maintain_produce queue "client -b -s $MAINTAIN_SECONDS -a '$busy_arrays' \"$busy_batch\""
	compare maintain_produce 'produce_batch of 100, 1 client, the worker drops segments : no worker' \
		'messages/s' '>= 0.90' 'produce_busy beside_worker' produce_busy
}

busy_consume="SELECT \"offset\", key, value FROM queue.consume_typed('busy', 'busy', NULL::text, 1000)"

busy_consumed()
{
	local out
	out=$(client -e "$busy_consume") || return 1
	[ "$(field rows "$out")" = "$MAINTAIN_MESSAGES" ] || die "consumed: $out"
	field rows_per_s "$out"
}

# What has been consumed may go.
consume_busy()
{
	fresh_topic_with busy "segment_messages => $MAINTAIN_SEGMENT_MESSAGES,
		retention => '1 millisecond'"
	sql "SELECT queue.create_group('busy', 'busy')" >/dev/null
	sql "$(batch_loop busy "$MAINTAIN_MESSAGES" 'COMMIT;')"
	await_segments
	sql CHECKPOINT
	"$@" busy_consumed
}

bench_maintain_consume()
{
	command_of maintain_consume queue "client -e \"$busy_consume\""
	compare maintain_consume 'consume of 1,000 to a client, the worker drops segments : no worker' \
		'messages/s' '>= 0.90' 'consume_busy beside_worker' consume_busy
}
