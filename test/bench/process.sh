# shellcheck shell=bash disable=SC2034,SC2154
# Handlers in the server: queue.process() against a PL/pgSQL loop that consumes and does
# the same work.  Sourced by run.sh; uses lib.sh.

: "${PROCESS_BATCHES:=1000}"    # of 100 messages

# A topic of jsonb values, with a key; a table for the effects; both kinds of
# handlers, and of loops.
make_process_topic()
{
	[ -z "$(sql "SELECT to_regclass('process_effect')")" ] || return 0
	sql "SELECT queue.create_topic('process')" >/dev/null
	sql "DO \$\$
		BEGIN
			FOR i IN 1 .. $PROCESS_BATCHES LOOP
				PERFORM queue.produce_batch('process', array_agg(to_jsonb(value) ORDER BY n),
					array_agg(key ORDER BY n)) FROM sample WHERE n <= 100;
				COMMIT;
			END LOOP;
		END \$\$"
	sql 'CREATE TABLE process_effect (key text, value jsonb)'
	sql "CREATE FUNCTION process_all(m queue.message[]) RETURNS void LANGUAGE plpgsql AS \$\$
		BEGIN
			INSERT INTO process_effect SELECT key, value FROM unnest(m);
		END \$\$"
	sql "CREATE FUNCTION process_one(m queue.message) RETURNS void LANGUAGE plpgsql AS \$\$
		BEGIN
			INSERT INTO process_effect VALUES (m.key, m.value);
		END \$\$"
	sql "CREATE PROCEDURE process_loop_all(g text) LANGUAGE plpgsql AS \$\$
		DECLARE
			n int;
		BEGIN
			LOOP
				INSERT INTO process_effect SELECT key, value FROM queue.consume(g, 'process');
				GET DIAGNOSTICS n = ROW_COUNT;
				COMMIT;
				EXIT WHEN n = 0;
			END LOOP;
		END \$\$"
	sql "CREATE PROCEDURE process_loop_one(g text) LANGUAGE plpgsql AS \$\$
		DECLARE
			n int;
			m record;
		BEGIN
			LOOP
				n := 0;
				FOR m IN SELECT c FROM queue.consume(g, 'process') c LOOP
					PERFORM process_one(m.c);
					n := n + 1;
				END LOOP;
				COMMIT;
				EXIT WHEN n = 0;
			END LOOP;
		END \$\$"
	sql 'VACUUM ANALYZE'
}

# process_rate call: messages per second of a call for a group that is new
process_rate()
{
	local seconds
	sql 'TRUNCATE process_effect'
	sql CHECKPOINT
	seconds=$(seconds_of "$1" "${2:-}") || return 1
	expect process "$((PROCESS_BATCHES * 100))" 'SELECT count(*) FROM process_effect'
	calc "$PROCESS_BATCHES * 100 / $seconds"
}

# process_side handler
process_side()
{
	local counters=$PROCESS_BATCHES'|'$((PROCESS_BATCHES * 100))'|0'
	fresh_group process earliest
	sql "SELECT queue.subscribe('$group', 'process', '$1')" >/dev/null
	process_rate "CALL queue.process('$group', 'process')" "$counters"
}

process_loop_side()
{
	fresh_group process earliest
	process_rate "CALL process_loop_$1('$group')"
}

process_batch_side() { process_side 'process_all(queue.message[])'; }
process_message_side() { process_side 'process_one(queue.message)'; }
process_loop_batch_side() { process_loop_side all; }
process_loop_message_side() { process_loop_side one; }

bench_process_batch()
{
	make_process_topic
	command_of process_batch queue "CALL queue.process('{group}', 'process')"
	command_of process_batch loop "CALL process_loop_all('{group}')"
	compare process_batch 'process, a handler that inserts a batch : PL/pgSQL loop of consume and INSERT' \
		'messages/s' '>= 0.90' process_batch_side process_loop_batch_side
}

bench_process_message()
{
	make_process_topic
	command_of process_message queue "CALL queue.process('{group}', 'process')"
	command_of process_message loop "CALL process_loop_one('{group}')"
	compare process_message 'process, a handler of one message : PL/pgSQL loop of consume that calls it' \
		'messages/s' '>= 0.95' process_message_side process_loop_message_side
}
