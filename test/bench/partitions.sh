# Partitions without messages: a topic of many, of which ten are used, against one
# of ten.
#
# shellcheck shell=bash

PARTITIONS_USED=10
PARTITIONS_MANY=1000
PARTITIONS_CALLS=2000
PARTITIONS_HUGE=10000
PARTITIONS_MESSAGES=20000 # in each used partition

# make_partly_used topic partitions used: a message in each used one, and a group
# that has read them
make_partly_used()
{
	sql "SELECT queue.drop_topic('$1', true)" >/dev/null
	sql "SELECT queue.create_topic('$1', $2, 'text')" >/dev/null
	sql "INSERT INTO topic.$1 (partition, value)
		SELECT generate_series(0, $3 - 1), 'x'" >/dev/null
	sql "SELECT queue.create_group('read', '$1', start => 'latest')" >/dev/null
}

# calls_of statement: calls a second
calls_of()
{
	local seconds
	seconds=$(seconds_of "DO \$\$ BEGIN FOR i IN 1..$PARTITIONS_CALLS LOOP
		PERFORM count(*) FROM $1; END LOOP; END \$\$") || exit 1
	calc "$PARTITIONS_CALLS / $seconds"
}

empty_of_many() { calls_of "queue.consume_typed('read', 'partly', NULL::text)"; }
empty_of_few() { calls_of "queue.consume_typed('read', 'wholly', NULL::text)"; }

bench_partitions_empty()
{
	make_partly_used partly "$PARTITIONS_MANY" "$PARTITIONS_USED"
	make_partly_used wholly "$PARTITIONS_USED" "$PARTITIONS_USED"
	command_of partitions_empty queue "queue.consume_typed('read', 'partly', NULL::text)"
	compare partitions_empty \
		"empty consume, $PARTITIONS_MANY partitions of which $PARTITIONS_USED are used, against $PARTITIONS_USED" \
		'calls/s' '>= 0.50' empty_of_many empty_of_few
}

# Each in a session of its own: what is known of the partitions is looked up anew.
planned_of() { calc "1 / $(seconds_of "SELECT count(*) FROM topic.$1" 2)"; }
plan_of_many() { planned_of planned500; }
plan_of_few() { planned_of planned2; }

bench_partitions_plan()
{
	make_partly_used planned500 500 2
	make_partly_used planned2 2 2
	command_of partitions_plan queue 'SELECT count(*) FROM topic.planned500'
	compare partitions_plan \
		'SELECT count(*) from 500 partitions of which 2 are used, against 2' \
		'queries/s' '>= 0.33' plan_of_many plan_of_few
}

partitions_created()
{
	local seconds
	sql "SELECT queue.drop_topic('made', true)" >/dev/null
	seconds=$(seconds_of "SELECT queue.create_topic('made', 10000, 'text')" topic.made) || exit 1
	echo "$seconds"
}

bench_partitions_create()
{
	command_of partitions_create queue "SELECT queue.create_topic('made', 10000, 'text')"
	measure partitions_create 'create_topic with 10,000 partitions' seconds '<= 10' partitions_created
}

# Messages a second of one call each; all in ten partitions.
produced_of()
{
	local seconds
	seconds=$(seconds_of "DO \$\$ BEGIN FOR i IN 1..$PARTITIONS_MESSAGES LOOP
		PERFORM queue.produce('$1', 'x', partition => i % $PARTITIONS_USED); END LOOP; END \$\$") || exit 1
	calc "$PARTITIONS_MESSAGES / $seconds"
}

# Messages a second of a new group that reads ten partitions to their end, 100 a call.
consumed_of()
{
	local seconds messages=$((PARTITIONS_MESSAGES * PARTITIONS_USED))
	sql "SELECT queue.drop_group(name) FROM queue.consumer_group WHERE name = 'anew' LIMIT 1" >/dev/null
	sql "SELECT queue.create_group('anew', '$1', start => 'earliest')" >/dev/null
	seconds=$(seconds_of "DO \$\$ DECLARE n bigint := 0; got bigint; BEGIN LOOP
		SELECT count(*) INTO got FROM queue.consume_typed('anew', '$1', NULL::text, 100);
		EXIT WHEN got = 0; n := n + got; END LOOP;
		ASSERT n = $messages, n; END \$\$") || exit 1
	calc "$messages / $seconds"
}

produce_of_huge() { produced_of huge; }
produce_of_small() { produced_of small; }
consume_of_huge() { consumed_of huge_read; }
consume_of_small() { consumed_of small_read; }

bench_partitions_produce()
{
	make_partly_used huge "$PARTITIONS_HUGE" "$PARTITIONS_USED"
	make_partly_used small "$PARTITIONS_USED" "$PARTITIONS_USED"
	command_of partitions_produce queue "queue.produce('huge', 'x', partition => i % $PARTITIONS_USED)"
	compare partitions_produce \
		"produce, $PARTITIONS_HUGE partitions of which $PARTITIONS_USED are used, against $PARTITIONS_USED" \
		'messages/s' '>= 0.95' produce_of_huge produce_of_small
}

bench_partitions_consume()
{
	local topic
	for topic in huge_read small_read; do
		sql "SELECT queue.drop_topic('$topic', true)" >/dev/null
	done
	sql "SELECT queue.create_topic('huge_read', $PARTITIONS_HUGE, 'text')" >/dev/null
	sql "SELECT queue.create_topic('small_read', $PARTITIONS_USED, 'text')" >/dev/null
	for topic in huge_read small_read; do
		sql "INSERT INTO topic.$topic (partition, value) SELECT p, 'x'
			FROM generate_series(0, $PARTITIONS_USED - 1) p, generate_series(1, $PARTITIONS_MESSAGES)"
	done
	command_of partitions_consume queue "queue.consume_typed('anew', 'huge_read', NULL::text, 100)"
	compare partitions_consume \
		"consume, $PARTITIONS_HUGE partitions of which $PARTITIONS_USED are used, against $PARTITIONS_USED" \
		'messages/s' '>= 0.95' consume_of_huge consume_of_small
}

# Seconds of a pass in a session of its own.
pass_of() { seconds_of "CALL queue.maintain('maintained')"; }

first_pass()
{
	sql "SELECT queue.drop_topic('maintained', true)" >/dev/null
	sql "SELECT queue.create_topic('maintained', 300, 'text', retention => '1 day')" >/dev/null
	sql "INSERT INTO topic.maintained (partition, value)
		SELECT generate_series(0, 299), 'x'" >/dev/null
	pass_of
}

bench_partitions_maintain()
{
	command_of partitions_maintain queue "CALL queue.maintain('maintained')"
	compare partitions_maintain \
		'the first pass of maintain over 300 partitions with a message each, against the second' \
		'seconds' '<= 3' first_pass pass_of
}
