# The promise: functions that the owner of a topic has its constraints and indexes
# call cost other topics, and sessions that maintain them, at most
# queue.code_timeout: whatever they do, they run in a process that can be ended.
#
# The functions sleep and swallow cancellation, raise the error of a cancellation,
# release advisory locks, and take their time.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use QueueTest;

my $node = new_server('foreign', "queue.maintenance_interval = 1\nqueue.code_timeout = '1s'\n");

# What m.code() does stands in m.mode.
$node->safe_psql(
	'postgres', q{
	CREATE ROLE regress_mallory LOGIN;
	GRANT pg_read_all_stats TO regress_mallory;
	GRANT CREATE ON SCHEMA topic TO regress_mallory;
	CREATE SCHEMA m AUTHORIZATION regress_mallory;
	SET ROLE regress_mallory;
	CREATE TABLE m.mode AS SELECT 'quick' AS mode;
	CREATE FUNCTION m.sleep_stubbornly() RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		LOOP
			BEGIN
				PERFORM pg_sleep(1000);
			EXCEPTION WHEN query_canceled THEN
				NULL;
			END;
		END LOOP;
	END $$;
	CREATE FUNCTION m.code(anyelement DEFAULT NULL::int) RETURNS boolean
	LANGUAGE plpgsql IMMUTABLE AS $$
	BEGIN
		CASE (SELECT mode FROM m.mode)
			WHEN 'quick' THEN
				NULL;
			WHEN 'stubborn' THEN
				PERFORM m.sleep_stubbornly();
			WHEN 'stubborn worker' THEN
				IF NOT EXISTS (SELECT FROM pg_stat_activity
					WHERE pid = pg_backend_pid() AND backend_type = 'client backend') THEN
					PERFORM m.sleep_stubbornly();
				END IF;
			WHEN 'slow worker' THEN
				IF NOT EXISTS (SELECT FROM pg_stat_activity
					WHERE pid = pg_backend_pid() AND backend_type = 'client backend') THEN
					PERFORM pg_sleep(0.15);
				END IF;
			WHEN 'raise' THEN
				RAISE EXCEPTION 'canceling statement due to user request' USING ERRCODE = '57014';
			WHEN 'unlock' THEN
				PERFORM pg_advisory_unlock_all();
		END CASE;
		RETURN true;
	END $$;
	SELECT queue.create_topic('hostile', 1, 'text', segment_messages => 10);
	ALTER TABLE queue.log_1 ADD CONSTRAINT c CHECK (m.code(1));
	RESET ROLE;
	SELECT queue.create_topic('zeal', 1, 'text', segment_messages => 10, retention => '1 millisecond')});

sub set_mode
{
	my ($mode) = @_;

	$node->safe_psql('postgres', "UPDATE m.mode SET mode = '$mode'");
	return;
}

sub produce
{
	my ($topic, $messages) = @_;

	$node->safe_psql('postgres',
		"SELECT count(*) FROM queue.produce_batch('$topic', array_fill('x'::text, ARRAY[$messages]))");
	return;
}

sub wait_for
{
	my ($what, $sql) = @_;

	return ok($node->poll_query_until('postgres', "SELECT $sql"), $what);
}

sub worker_of
{
	my ($type) = @_;

	return "(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'queue $type worker')";
}

# Make segments wanted: drop those that are ready for the topic.
sub want_segments
{
	$node->safe_psql(
		'postgres', q{
		SET queue.allow_ddl = on;
		DO $$
		DECLARE
			s regclass;
		BEGIN
			FOR s IN SELECT segment FROM queue.segments WHERE topic = 'hostile' AND messages = 0 AND NOT sealed
				AND first_offset > 0 LOOP
				EXECUTE 'DROP TABLE ' || s;
			END LOOP;
		END $$});
	return;
}

my $zeal = "queue.log_start('zeal', 0)";

sub fill_zeal
{
	$node->safe_psql('postgres',
		q{DO $$ BEGIN FOR i IN 1 .. 4 LOOP
			PERFORM queue.produce_batch('zeal', array_fill('x'::text, ARRAY[10])); COMMIT;
		END LOOP; END $$});
	return $node->safe_psql('postgres', "SELECT queue.log_end('zeal', 0)") - 10;
}

#
# The maintenance worker.
#
produce('hostile', 1);
set_mode('stubborn');
want_segments();
my $pid = $node->safe_psql('postgres', 'SELECT queue.start_maintenance()');
wait_for('the code is stopped',
	q{count(*) > 0 FROM queue.maintenance_log WHERE topic = 'hostile' AND action = 'maintenance stopped'});
like(slurp_file($node->logfile), qr/maintenance of topic "hostile" was stopped/, 'the log tells');
my $upto = fill_zeal();
wait_for('other topics are maintained', "$zeal >= $upto");
is($node->safe_psql('postgres', "SELECT " . worker_of('maintenance')), 1, 'the worker is there');
is($node->safe_psql('postgres', 'SELECT queue.start_maintenance()'), $pid, 'the same');
is($node->safe_psql('postgres', 'SELECT queue.stop_maintenance()'), 't', 'it can be stopped');
wait_for('nothing is left of it', worker_of('topic') . ' = 0');

set_mode('unlock');
$pid = $node->safe_psql('postgres', 'SELECT queue.start_maintenance()');
wait_for('quick code runs',
	q{count(*) > 0 FROM queue.maintenance_log WHERE topic = 'hostile' AND action = 'segments made'});
is($node->safe_psql('postgres', 'SELECT queue.start_maintenance()'),
	$pid, 'code cannot release the lock of the worker');
is($node->safe_psql('postgres', 'SELECT queue.stop_maintenance()'), 't', 'which can be stopped');

# A worker that is stopped in the middle of a topic has not failed there.
my $failures = q{SELECT count(*) FROM queue.maintenance_errors WHERE topic = 'hostile'};
set_mode('quick');
$node->safe_psql('postgres', q{CALL queue.maintain()});
is($node->safe_psql('postgres', $failures), 0, 'a pass that succeeds ends the failure');
$node->safe_psql('postgres', q{ALTER SYSTEM SET queue.code_timeout = '1h'});
$node->reload;
set_mode('stubborn');
want_segments();
$node->safe_psql('postgres', 'SELECT queue.start_maintenance()');
wait_for('the code runs', worker_of('topic') . ' = 1');
is($node->safe_psql('postgres', 'SELECT queue.stop_maintenance()'), 't', 'it is stopped meanwhile');
wait_for('nothing is left of it', worker_of('topic') . ' = 0');
is($node->safe_psql('postgres', $failures), 0, 'which is no failure of the topic');
$node->safe_psql('postgres', q{ALTER SYSTEM RESET queue.code_timeout});
$node->reload;

#
# A superuser's call.
#
my ($code, $out, $err);
foreach my $mode ('stubborn', 'raise')
{
	set_mode($mode);
	want_segments();
	$upto = fill_zeal();
	($code, $out, $err) = $node->psql('postgres', 'CALL queue.maintain()');
	is($code, 0, "$mode: the call ends well");
	like($err, qr/WARNING:  maintenance of topic "hostile" (was stopped|failed: canceling)/,
		"$mode: it tells of the topic");
	cmp_ok($node->safe_psql('postgres', "SELECT $zeal"),
		'>=', $upto, "$mode: topics behind it are maintained");
}

set_mode('quick');
($code, $out, $err) = $node->psql('postgres', 'CALL queue.maintain()');
like($err, qr/NOTICE:  topic "hostile", partition 0: segments made/, 'the user is told what is done');

# The session can be canceled, and its process ends with that.
set_mode('stubborn');
want_segments();
($code, $out, $err) = $node->psql('postgres',
	q{SET queue.code_timeout = '1h'; SET statement_timeout = '2s'; CALL queue.maintain()});
isnt($code, 0, 'the call is canceled');
like($err, qr/canceling statement due to statement timeout/, 'by its timeout');
wait_for('and its process is ended', worker_of('topic') . ' = 0');

#
# Functions of indexes, which a superuser has made: they run, as the topic's owner, when
# a segment is compacted.
#
set_mode('quick');
$node->safe_psql(
	'postgres', q{
	SET ROLE regress_mallory;
	SELECT queue.create_topic('keyed', 1, 'text', segment_messages => 10, cleanup_policy => 'compact');
	RESET ROLE;
	CREATE INDEX ON queue.log_3 ((m.code(value)))});

sub produce_keyed
{
	$node->safe_psql('postgres',
		q{SELECT count(*) FROM queue.produce_batch('keyed', array_fill('x'::text, ARRAY[35]), array_fill('k'::text, ARRAY[35]))});
	return;
}

produce_keyed();
($code, $out, $err) = $node->psql('postgres', q{CALL queue.maintain('keyed')});
like($err, qr/NOTICE:  topic "keyed", partition 0: messages compacted/, 'with an index');
produce_keyed();
set_mode('stubborn');
($code, $out, $err) = $node->psql('postgres', q{CALL queue.maintain('keyed')});
like($err, qr/WARNING:  maintenance of topic "keyed" was stopped/, 'one that never ends');
set_mode('unlock');
($code, $out, $err) = $node->psql('postgres', q{CALL queue.maintain('keyed')});
like(
	$err,
	qr/WARNING:  maintenance of topic "keyed" failed: the lock of the compaction was released/,
	'one that releases the lock of the compaction');
set_mode('quick');
produce_keyed();
($code, $out, $err) = $node->psql('postgres', q{CALL queue.maintain('keyed')});
like($err, qr/NOTICE:  topic "keyed", partition 0: messages compacted/, 'nothing is in the way later');

#
# The worker that makes segments for producers.
#
set_mode('stubborn worker');
produce('hostile', 30);
like(
	slurp_file($node->logfile),
	qr/terminating background worker "queue segment worker"/,
	'the worker that makes segments is ended, and the producer goes on');
wait_for('it is gone', worker_of('segment') . ' = 0');

# Commands do not give up at once if it has the table, for it ends soon.
$node->safe_psql('postgres', q{ALTER SYSTEM SET queue.code_timeout = '1h'});
$node->reload;
set_mode('slow worker');
my $producer = open_session($node);
$producer->query_until(
	qr/begin/, q{\echo begin
	SELECT count(*) FROM queue.produce_batch('hostile', array_fill('x'::text, ARRAY[25]));
	});
wait_for(
	'the worker has the table', q{count(*) > 0 FROM pg_locks l JOIN pg_stat_activity a USING (pid)
	WHERE a.backend_type = 'queue segment worker' AND l.mode = 'ShareUpdateExclusiveLock' AND l.granted
	AND l.relation = 'queue.log_1'::regclass});
is( $node->safe_psql(
		'postgres', q{SELECT next_offset FROM queue.archive_segment('hostile', 0, 'm.archived')}),
	10, 'a segment is archived when it has ended');
$producer->quit;

# The error names the process that has the lock.
my $reader = open_session($node);
my $reader_pid = $reader->query_safe('SELECT pg_backend_pid()');
$reader->query_safe(q{SET application_name = 'report'});
$reader->query_safe('BEGIN; SELECT count(*) FROM topic.hostile');
my $archive = q{SELECT queue.archive_segment('hostile', 0, 'm.archived_2')};
($code, $out, $err) = $node->psql('postgres', $archive);
like(
	$err,
	qr/could not obtain lock on topic "hostile"\nDETAIL:  Process $reader_pid of role "\w+", application "report", holds it\./,
	'and its application');
$node->safe_psql('postgres', 'REVOKE pg_read_all_stats FROM regress_mallory');
($code, $out, $err) = $node->psql('postgres', "SET ROLE regress_mallory; $archive");
like($err, qr/DETAIL:  Process $reader_pid of role "\w+" holds it\./,
	'not to a role that may not see it');
$reader->query_safe(q{PREPARE TRANSACTION 'report'});
($code, $out, $err) = $node->psql('postgres', $archive);
like($err, qr/DETAIL:  A prepared transaction holds it\./, 'a prepared transaction is told');
$node->safe_psql('postgres', q{ROLLBACK PREPARED 'report'});
$reader->quit;

$node->stop;
done_testing();
