# shellcheck shell=bash disable=SC2034,SC2154
# Write-ahead log: bytes per message produced and consumed, and what an empty
# consume leaves.  Sourced by run.sh; uses lib.sh, produce.sh and consume.sh.

: "${WAL_MESSAGES:=200000}" # produced or consumed by each run

# wal_bytes statement: WAL written while it ran, straight after a checkpoint
wal_bytes()
{
	psql -XqAt -v ON_ERROR_STOP=1 <<-SQL
		CHECKPOINT;
		SELECT pg_current_wal_insert_lsn() AS before \gset
		$1;
		SELECT pg_current_wal_insert_lsn() - :'before';
	SQL
}

# ----------------------------------------------------------------------
# Producing
# ----------------------------------------------------------------------

wal_of_batches()
{
	local bytes
	fresh_topic bench
	bytes=$(wal_bytes "$(batch_loop bench "$WAL_MESSAGES" 'COMMIT;')") || return 1
	expect produce_batch "$WAL_MESSAGES" 'SELECT count(*) FROM topic.bench'
	calc "$bytes / $WAL_MESSAGES"
}

# wal_of_copy file: into the heap that the caller has made
wal_of_copy()
{
	local bytes
	bytes=$(wal_bytes "${copy_binary_sql/\{files\}\/\{file\}/$work/files/$1}") || return 1
	expect COPY "$WAL_MESSAGES" 'SELECT count(*) FROM heap'
	calc "$bytes / $WAL_MESSAGES"
}

wal_of_log_columns()
{
	fresh_log_heap
	wal_of_copy wal_log.bin
}

wal_of_two_columns()
{
	fresh_heap
	wal_of_copy wal_two.bin
}

bench_wal_batch()
{
	log_file "$work/files/wal_log.bin" "$WAL_MESSAGES"
	command_of wal_batch queue "$(batch_loop bench "$WAL_MESSAGES" 'COMMIT;')"
	command_of wal_batch heap "${copy_binary_sql/\{file\}/wal_log.bin}"
	compare wal_batch "WAL of produce_batch : of COPY BINARY, the log's six columns" \
		'bytes/message' '<= 1.05' wal_of_batches wal_of_log_columns
}

bench_wal_batch_two()
{
	sample_file "$work/files/wal_two.bin" "$WAL_MESSAGES" 'FORMAT binary'
	command_of wal_batch_two queue "$(batch_loop bench "$WAL_MESSAGES" 'COMMIT;')"
	command_of wal_batch_two heap "${copy_binary_sql/\{file\}/wal_two.bin}"
	compare wal_batch_two 'the same : of COPY BINARY, key and value only' \
		'bytes/message' '-' wal_of_batches wal_of_two_columns
}

# ----------------------------------------------------------------------
# Consuming
# ----------------------------------------------------------------------

wal_of_consume()
{
	local bytes
	fresh_group drain earliest
	bytes=$(wal_bytes "$(read_loop "${consume_page/\{group\}/$group}")") || return 1
	calc "$bytes / $DRAIN_MESSAGES"
}

bench_wal_consume()
{
	make_drain_tables
	command_of wal_consume queue "$(read_loop "$consume_page")"
	measure wal_consume 'WAL of consume, 1,000 a call' 'bytes/message' '<= 0.3' wal_of_consume
}

empty_loop="DO \$\$
	DECLARE
		got bigint;
	BEGIN
		FOR i IN 1 .. 100 LOOP
			SELECT count(*) INTO got
			FROM queue.consume_typed('empty', 'empty', NULL::text, 1000);
			IF got <> 0 THEN
				RAISE EXCEPTION 'consumed % messages', got;
			END IF;
			COMMIT;
		END LOOP;
	END \$\$"

# A group that has consumed all there was.
make_empty_group()
{
	fresh_topic empty
	fill_topic empty 1000
	sql "SELECT queue.create_group('empty', 'empty')" >/dev/null
	expect consume 1000 "SELECT count(*) FROM queue.consume_typed('empty', 'empty', NULL::text, 1000)"
}

wal_of_empty_consume() { wal_bytes "$empty_loop"; }

xids_of_empty_consume()
{
	psql -XqAt -v ON_ERROR_STOP=1 <<-SQL
		SELECT pg_snapshot_xmax(pg_current_snapshot()) AS before \gset
		$empty_loop;
		SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint - :'before'::bigint;
	SQL
}

bench_empty_consume()
{
	make_empty_group
	command_of empty_consume queue "$empty_loop"
	measure empty_consume_wal 'WAL of 100 empty consumes' 'bytes' '<= 0' wal_of_empty_consume
	measure empty_consume_xids 'xids of 100 empty consumes' 'xids' '<= 0' xids_of_empty_consume
}
