# Partitions without messages: a topic of many, of which ten are used, against one
# of ten.
#
# shellcheck shell=bash

PARTITIONS_USED=10
PARTITIONS_MANY=1000
PARTITIONS_CALLS=2000

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
