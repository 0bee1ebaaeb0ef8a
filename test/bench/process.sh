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

# ----------------------------------------------------------------------
# Messages that fail
# ----------------------------------------------------------------------

# What is wrong with a message, for the handlers below: nothing, one in a hundred, or
# one key of 500.
poison_none='false'
poison_percent='hashint8(m."offset") % 100 = 0'
poison_key="m.key = 'k0000250'"

# make_poisoned_topic: 500 keys in turn, a dead-letter topic, and for each kind of poison
# a handler of one message and one of a batch that refuse it
make_poisoned_topic()
{
	local poison condition
	[ -z "$(sql "SELECT to_regclass('poisoned_effect')")" ] || return 0
	sql "SELECT queue.create_topic('poisoned')" >/dev/null
	sql "DO \$\$
		BEGIN
			FOR i IN 1 .. $PROCESS_BATCHES / 5 LOOP
				PERFORM queue.produce_batch('poisoned', array_agg(to_jsonb(value) ORDER BY n),
					array_agg(key ORDER BY n)) FROM sample WHERE n <= 500;
				COMMIT;
			END LOOP;
		END \$\$"
	sql 'CREATE TABLE poisoned_effect (key text, value jsonb)'
	for poison in none percent key; do
		condition=poison_$poison
		sql "CREATE FUNCTION one_$poison(m queue.message) RETURNS void LANGUAGE plpgsql AS \$\$
			BEGIN
				IF ${!condition} THEN
					RAISE 'poison';
				END IF;
				INSERT INTO poisoned_effect VALUES (m.key, m.value);
			END \$\$"
		sql "CREATE FUNCTION all_$poison(a queue.message[]) RETURNS void LANGUAGE plpgsql AS \$\$
			BEGIN
				IF EXISTS (SELECT FROM unnest(a) m WHERE ${!condition}) THEN
					RAISE 'poison';
				END IF;
				INSERT INTO poisoned_effect SELECT key, value FROM unnest(a);
			END \$\$"
	done
	sql 'VACUUM ANALYZE'
}

# poisoned_rate handler poison: messages per second, until each has its effect, is a dead
# letter or, of the one key, waits
poisoned_rate()
{
	local condition=poison_$2 seconds bad policy argument=queue.message
	[ "$1" = one ] || argument+='[]'
	case $2 in
		key) policy="backoff => '1 s'" ;;
		*) policy="max_attempts => 2, backoff => '1 ms'" ;;
	esac
	fresh_group poisoned earliest
	sql "SELECT queue.drop_topic('dead', true)" >/dev/null
	sql "SELECT queue.create_topic('dead')" >/dev/null
	sql "SELECT queue.set_failure_policy('$group', 'poisoned', dead_letter => 'dead', $policy)" >/dev/null
	sql "SELECT queue.subscribe('$group', 'poisoned', '$1_$2($argument)')" >/dev/null
	sql 'TRUNCATE poisoned_effect'
	sql CHECKPOINT
	seconds=$(psql -XqAt -c '\timing on' \
		-c "CALL queue.process('$group', 'poisoned', max_wait => '10 ms')" |
		sed -n 's/^Time: \([0-9.]*\) ms.*/\1/p' | awk '{ print $1 / 1000 }')
	bad=$(sql "SELECT count(*) FROM topic.poisoned m WHERE ${!condition}")
	expect poisoned "$((PROCESS_BATCHES * 100 - bad))" 'SELECT count(*) FROM poisoned_effect'
	expect poisoned "$bad" "SELECT (SELECT count(*) FROM topic.dead)
		+ (SELECT count(*) FROM queue.parked WHERE consumer_group = '$group')"
	sql "SELECT queue.drop_group('$group')" >/dev/null
	calc "($PROCESS_BATCHES * 100 - $bad) / $seconds"
}

# bench_poisoned row handler poison what bar
bench_poisoned()
{
	make_poisoned_topic
	command_of "$1" queue "CALL queue.process('{group}', 'poisoned', max_wait => '10 ms')"
	compare "$1" "$4 : none" 'messages/s' "$5" "poisoned_rate $2 $3" "poisoned_rate $2 none"
}

bench_process_poisoned()
{
	bench_poisoned process_poisoned one percent \
		'process, a handler of one message, 1 % of them fail' '>= 0.50'
}

bench_process_poisoned_batch()
{
	bench_poisoned process_poisoned_batch all percent \
		'process, a handler of a batch, 1 % of its messages fail' '>= 0.50'
}

bench_process_poisoned_key()
{
	bench_poisoned process_poisoned_key all key \
		'process, a handler of a batch, one key of 500 fails, rate of the others' '>= 0.95'
}
