# shellcheck shell=bash disable=SC2034,SC2154
# Producing with a producer and sequences: against producing without, under a
# held snapshot, and the look-up of a duplicate in a long history.
# Sourced by run.sh; uses lib.sh, produce.sh and hold.sh.

: "${LONG_HISTORY:=10000000}" # batches of the producer with a long history
: "${SHORT_HISTORY:=10000}"   # and of the one with a short one
: "${DEDUPE_KEYS:=1000000}"   # keys in the window of a topic
: "${DEDUPE_SECONDS:=5}"      # length of a run: a new session first maps its pages
: "${LOOKUPS:=20000}"         # duplicates sent by each run

fresh_numbers()
{
	sql 'DROP SEQUENCE IF EXISTS numbers'
	sql 'CREATE SEQUENCE numbers'
}

# ----------------------------------------------------------------------
# Batches
# ----------------------------------------------------------------------

sequence_batch_sql="SELECT * FROM queue.produce_batch('bench', \$2, keys => \$1,
	partition => {client}, producer_id => 'p{client}', first_sequence => 1000 * nextval('numbers'))"

# sequence_batches partitions statement
sequence_batches()
{
	local out
	fresh_topic bench "$1"
	fresh_numbers
	out=$(client -b -n "$BATCH_CALLS" -a "$sample_arrays" "$2") || return 1
	expect produce_batch $((BATCH_CALLS * 1000)) 'SELECT count(*) FROM topic.bench'
	calc "1000 * $(field calls_per_s "$out")"
}

with_sequence() { sequence_batches 1 "$sequence_batch_sql"; }
without_sequence() { sequence_batches 1 "$batch_sql"; }
keyed_with_sequence() { sequence_batches 8 "${sequence_batch_sql/partition => \{client\}, /}"; }
keyed_without_sequence() { sequence_batches 8 "${batch_sql/, partition => \{client\}/}"; }

bench_sequence_batch()
{
	command_of sequence_batch queue "client -b -n $BATCH_CALLS -a '$sample_arrays' \"$sequence_batch_sql\""
	command_of sequence_batch without "client -b -n $BATCH_CALLS -a '$sample_arrays' \"$batch_sql\""
	compare sequence_batch 'produce_batch of 1,000 with producer and sequence : without' \
		'messages/s' '>= 0.95' with_sequence without_sequence
}

bench_sequence_keyed()
{
	command_of sequence_keyed queue 'as sequence_batch, without partition, 8 partitions'
	compare sequence_keyed 'the same, by key over 8 partitions' \
		'messages/s' '-' keyed_with_sequence keyed_without_sequence
}

# ----------------------------------------------------------------------
# One message a transaction, 8 clients, 8 producers, one partition
# ----------------------------------------------------------------------

sequence_single_sql="\\set s :s + 1
SELECT queue.produce('bench', :value, :key, producer_id => :client_id, sequence => :s)"

singles_with_sequence()
{
	fresh_topic bench
	pgbench_rate 8 "$SINGLE_SECONDS" "$sequence_single_sql" topic.bench
	expect producers 8 "SELECT count(*) FROM queue.producers
		WHERE topic = 'bench' AND accepted = last_sequence AND duplicates = 0"
}

singles_without_sequence() { singles_to_topic 8; }

bench_sequence_single8()
{
	local rounds=$((rounds * SINGLE_ROUNDS))
	sample_value=$(sql 'SELECT value FROM sample WHERE n = 1')
	command_of sequence_single8 queue "pgbench -n -M prepared -c 8 -j 2 -D s=0 -f <($sequence_single_sql)"
	command_of sequence_single8 without "pgbench -n -M prepared -c 8 -j 2 -f <($produce_sql)"
	compare sequence_single8 'produce, 8 clients, 8 producers with sequences : without' \
		'transactions/s' '>= 0.80' singles_with_sequence singles_without_sequence
}

# ----------------------------------------------------------------------
# The same with dedupe keys, DEDUPE_KEYS of them in the window
# ----------------------------------------------------------------------

dedupe_single_sql="\\set s :s + 1
\\set k 1000000000 * (8 * {run} + :client_id) + :s
SELECT queue.produce('dedupe', :value, :key, dedupe_key => :k)"

dedupe_fill_sql="SELECT count(*) FROM queue.produce_batch('dedupe',
	array_fill('x'::text, ARRAY[10000]), partition => 0,
	dedupe_keys => ARRAY(SELECT gen_random_uuid()::text FROM generate_series(1, 10000)))"

# singles_to_dedupe statement: it may name a run, which no other has
singles_to_dedupe()
{
	local out before run stored="SELECT log_end FROM queue.partitions WHERE topic = 'dedupe'"
	run=$(sql "SELECT nextval('numbers')")
	before=$(sql "$stored")
	out=$(pgbench_run 8 "$DEDUPE_SECONDS" "${1/\{run\}/$run}") || exit 1
	expect pgbench $((before + ${out% *})) "$stored"
	echo "${out#* }"
}

singles_with_dedupe_key() { singles_to_dedupe "$dedupe_single_sql"; }
singles_without_dedupe_key() { singles_to_dedupe "${produce_sql/bench/dedupe}"; }

# All rounds after one checkpoint: right after one, each page of the index that a
# key lands on is logged as a whole, once.
bench_dedupe_single8()
{
	local i
	sample_value=$(sql 'SELECT value FROM sample WHERE n = 1')
	fresh_topic dedupe
	fresh_numbers
	for ((i = 0; i < DEDUPE_KEYS / 10000; i++)); do
		sql "$dedupe_fill_sql" >/dev/null
	done
	sql 'VACUUM ANALYZE'
	command_of dedupe_single8 queue "pgbench -n -M prepared -c 8 -j 2 -D s=0 -f <($dedupe_single_sql)"
	command_of dedupe_single8 without "pgbench -n -M prepared -c 8 -j 2 -f <(${produce_sql/bench/dedupe})"
	compare dedupe_single8 "produce, 8 clients, a dedupe_key each, $DEDUPE_KEYS in the window : without" \
		'transactions/s' '>= 0.70' singles_with_dedupe_key singles_without_dedupe_key
}

# The sequenced ones under a snapshot that is held open.  pgbench starts anew for each
# second, so the numbers come from a sequence, and the producers allow gaps.
sequence_hold_script()
{
	local value
	value=$(sql 'SELECT value FROM sample WHERE n = 1')
	cat <<-SQL
		SELECT queue.produce('hold', '$value', 'k0000001',
			producer_id => 'p' || :client_id, sequence => nextval('numbers'));
	SQL
}

make_sequence_hold()
{
	fresh_heap
	fresh_topic hold
	fresh_numbers
	sql "SELECT queue.create_producer('hold', 'p' || n, 'monotonic')
		FROM generate_series(0, 7) n" >/dev/null
}

check_sequence_hold()
{
	expect 'sequence_hold' t "SELECT sum(accepted) = (SELECT count(*) FROM topic.hold)
			AND sum(duplicates) = 0
		FROM queue.producers WHERE topic = 'hold'"
}

bench_sequence_hold()
{
	local HOLD_CLIENTS=8
	compare_hold sequence_hold 1 '>= 0.80' 'a sequenced message' \
		make_sequence_hold sequence_hold_script check_sequence_hold
}

# ----------------------------------------------------------------------
# The place of an old duplicate
# ----------------------------------------------------------------------

# make_history producer batches: a producer that has stored so many batches of
# 10 messages.  Its rows are written straight into the table; each holds the
# map of ten messages at offsets 0 to 9 of partition 0 (src/base/sequence_map.c).
make_history()
{
	sql "SELECT queue.create_producer('history', '$1')" >/dev/null
	sql "INSERT INTO queue.producer_batch
		SELECT p.producer_id, 0, 10 * n + 9, n + 1, 0, 10 * n, 0, 9,
			10 * (n + 1), 0, 0, now(), NULL, '\\x2800'
		FROM queue.producer p, generate_series(0, $2 - 1) n
		WHERE p.name = '$1'"
}

lookup_sql="DO \$\$
	DECLARE
		sent bigint;
		place record;
	BEGIN
		FOR i IN 1 .. $LOOKUPS LOOP
			sent := floor(random() * 10 * {batches});
			SELECT r.* INTO place FROM queue.produce('history', 'x',
				producer_id => '{producer}', sequence => sent) r;
			IF NOT place.duplicate OR place.\"offset\" <> sent % 10 THEN
				RAISE EXCEPTION 'sequence %: %', sent, place;
			END IF;
		END LOOP;
	END \$\$"

# lookups producer batches: duplicates a second
lookups()
{
	local seconds statement=${lookup_sql/\{batches\}/$2}
	seconds=$(seconds_of "${statement/\{producer\}/$1}") || return 1
	calc "$LOOKUPS / $seconds"
}

lookups_long() { lookups long "$LONG_HISTORY"; }
lookups_short() { lookups short "$SHORT_HISTORY"; }

make_histories()
{
	fresh_topic history
	fill_topic history 1000
	make_history long "$LONG_HISTORY"
	make_history short "$SHORT_HISTORY"
}

# compare_lookups row what bar
compare_lookups()
{
	sql 'VACUUM ANALYZE queue.producer_batch'
	sql 'CHECKPOINT'
	command_of "$1" queue "${lookup_sql/\{producer\}/long}"
	command_of "$1" short "${lookup_sql/\{producer\}/short}"
	compare "$1" "$2" 'duplicates/s' "$3" lookups_long lookups_short
	sql "SELECT queue.drop_topic('history')" >/dev/null
	sql 'VACUUM queue.producer_batch'
}

# As maintenance leaves it.
bench_sequence_lookup()
{
	make_histories
	sql "SELECT queue.prune_producers('history')" >/dev/null
	compare_lookups sequence_lookup \
		"a duplicate among $LONG_HISTORY batches : among $SHORT_HISTORY" '>= 0.80'
}

# As it was written.
bench_sequence_lookup_raw()
{
	make_histories
	compare_lookups sequence_lookup_raw 'the same, history never pruned' '-'
}
