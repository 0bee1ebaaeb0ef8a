--
-- The set of roles of docs/operations.md: its script, with regress_ before the names of
-- the roles, and what each of them may and may not do.
--
\getenv abs_srcdir PG_ABS_SRCDIR
\i :abs_srcdir/sql/include/helpers.sql
\set script `sed -n '/^CREATE ROLE shop_owner;$/,/^RESET ROLE;$/ { s/shop_/regress_shop_/g; p; }' "$PG_ABS_SRCDIR/docs/operations.md"`
\echo :script
:script

-- The answer to each call, by each role: its SQLSTATE.
CREATE TABLE attempt (number int GENERATED ALWAYS AS IDENTITY, role name, call text, answer text);
GRANT ALL ON attempt TO PUBLIC;
CREATE PROCEDURE pg_temp.attempt(VARIADIC calls text[]) LANGUAGE plpgsql AS $$
DECLARE
	call text;
BEGIN
	FOREACH call IN ARRAY calls LOOP
		INSERT INTO attempt (role, call, answer)
		VALUES (replace(current_user, 'regress_shop_', ''), call, split_part(pg_temp.error_of(call), ':', 1));
	END LOOP;
END $$;

SET ROLE regress_shop_producer;
CALL pg_temp.attempt(
	'SELECT queue.produce(''sales'', ''1'', partition => 0)',
	'INSERT INTO topic.sales (key, value) VALUES (''k'', ''2'')',
	'SELECT queue.produce(''sales'', ''3'', partition => 0, producer_id => ''till'', sequence => 1)',
	'SELECT queue.produce(''sales'', ''3'', partition => 0, dedupe_key => ''3'')',
	'SELECT last_sequence FROM queue.producer_state(''sales'', ''till'')',
	'SELECT value FROM topic.sales',
	'SELECT value FROM queue.fetch(''sales'', 0, 0)',
	'SELECT value FROM queue.consume(''theirs'', ''sales'')',
	'SELECT queue.create_group(''theirs'', ''sales'')',
	'SELECT queue.truncate_topic(''sales'')');

SET ROLE regress_shop_consumer;
CALL pg_temp.attempt(
	'SELECT value FROM topic.sales',
	'SELECT value FROM queue.fetch(''sales'', 0, 0)',
	'SELECT value FROM queue.consume(''shipping'', ''sales'', partitions => ARRAY[0])',
	'SELECT value FROM queue.poll(''another'', ''sales'', ''m'')',
	'SELECT queue.pause(''shipping'', ''sales''), queue.resume(''shipping'', ''sales'')',
	'SELECT queue.reset_offsets(''shipping'', ''sales'', to_earliest => true)',
	'SELECT queue.drop_group(''another'')',
	'SELECT queue.produce(''sales'', ''4'')',
	'INSERT INTO topic.sales (value) VALUES (''4'')',
	'SELECT queue.alter_topic(''sales'', retention => ''1 day'')',
	'SELECT queue.delete_messages(''sales'', 0, 1)',
	'SELECT queue.create_topic(''mine'')',
	'SELECT queue.start_maintenance()');

SET ROLE regress_shop_monitor;
CALL pg_temp.attempt(
	'SELECT 1 / count(*) FROM queue.topics WHERE topic = ''sales''',
	'SELECT 1 / count(*) FROM queue.consumer_groups WHERE consumer_group = ''shipping''',
	'SELECT 1 / count(*) FROM queue.producers WHERE producer_id = ''till''',
	'SELECT 1 / count(*) FROM queue.maintenance',
	'SELECT FROM queue.maintenance_log',
	'SELECT value FROM topic.sales',
	'SELECT value FROM queue.fetch(''sales'', 0, 0)',
	'SELECT value FROM queue.consume(''shipping'', ''sales'')',
	'SELECT queue.produce(''sales'', ''4'')',
	'SELECT queue.reset_offsets(''shipping'', ''sales'', to_earliest => true)',
	'SELECT queue.start_maintenance()');

SET ROLE regress_shop_owner;
CALL pg_temp.attempt(
	'SELECT value FROM topic.sales',
	'SELECT queue.produce(''sales'', ''4'', partition => 0)',
	'SELECT queue.alter_topic(''sales'', retention => ''60 days'')',
	'SELECT queue.reset_offsets(''shipping'', ''sales'', to_earliest => true)',
	'SELECT queue.expire_group(''shipping'', ''sales'')',
	'SELECT queue.delete_messages(''sales'', 0, 1)',
	'SELECT queue.consume(''shipping'', ''sales'')',
	'SELECT queue.drop_group(''shipping'', ''sales'')',
	'SELECT queue.start_maintenance()');

-- Maintenance has the owner's rights, and no more.
SET ROLE regress_shop_maintenance;
CALL pg_temp.attempt(
	'SELECT queue.alter_topic(''sales'', retention => ''30 days'')',
	'SELECT queue.consume(''shipping'', ''sales'')',
	'SELECT queue.start_maintenance()');
SET client_min_messages = warning;
CALL queue.maintain();
SET ROLE regress_shop_consumer;
\set VERBOSITY sqlstate
CALL queue.maintain('sales');
\set VERBOSITY default
RESET ROLE;
SELECT role, answer, call FROM attempt ORDER BY number;

-- Clean up.
SELECT queue.drop_topic('sales');
SELECT queue.drop_group(g.name) FROM queue.consumer_group g WHERE g.name IN ('shipping', 'another');
REVOKE CREATE ON SCHEMA topic FROM regress_shop_owner;
DROP TABLE attempt;
DROP ROLE regress_shop_owner, regress_shop_producer, regress_shop_consumer, regress_shop_monitor, regress_shop_maintenance;
