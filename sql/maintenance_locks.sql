--
-- Maintenance, archiving and moving against a transaction that keeps a lock: they look
-- at tables that it has locked, while they have locks that others need. So they wait
-- only for a moment. The transaction is a prepared one.
--
\getenv abs_srcdir PG_ABS_SRCDIR
\i :abs_srcdir/sql/include/helpers.sql
SET client_min_messages = error;
SET allow_in_place_tablespaces = on;
SET statement_timeout = '10min';			-- else it would be for ever
CREATE TABLESPACE regress_slow LOCATION '';
CREATE SCHEMA regress_archive;

SELECT queue.create_topic('t', 1, 'text', segment_messages => 10, retention => '1 millisecond', retention_force => true);
CALL pg_temp.fill('t', 4);
SELECT queue.create_group('expiring', 't', 'earliest', expiry => '1 hour');

-- A segment that is being moved.
BEGIN;
SELECT first_offset, moved FROM queue.move_segments('t', 'regress_slow', before_offset => 10);
PREPARE TRANSACTION 'moving';
SELECT pg_temp.error_of('SELECT queue.archive_segment(''t'', 0, ''regress_archive.a'')');
CALL queue.maintain('t');
SHOW lock_timeout;
SELECT queue.log_start('t', 0);
-- another session that moves does not wait, either
SELECT first_offset, bytes IS NULL AS locked, moved FROM queue.move_segments('t', 'regress_slow');
COMMIT PREPARED 'moving';
SELECT first_offset, moved FROM queue.move_segments('t', 'regress_slow');

-- A name that another transaction is about to take, and a schema that one drops.
BEGIN;
CREATE TABLE regress_archive.a ();
PREPARE TRANSACTION 'naming';
SELECT pg_temp.error_of('SELECT queue.archive_segment(''t'', 0, ''regress_archive.a'', force => true)');
ROLLBACK PREPARED 'naming';
BEGIN;
DROP SCHEMA regress_archive;
PREPARE TRANSACTION 'dropping';
SELECT pg_temp.error_of('SELECT queue.archive_segment(''t'', 0, ''regress_archive.a'', force => true)');
ROLLBACK PREPARED 'dropping';
SET lock_timeout = '100ms';				-- a shorter limit of the user's stays
SELECT archive, next_offset FROM queue.archive_segment('t', 0, 'regress_archive.a', force => true);
SHOW lock_timeout;
RESET lock_timeout;
CALL queue.maintain('t');
SELECT queue.log_start('t', 0);

-- A topic that has got another owner belongs to that role.
SELECT queue.alter_topic('t', retention => '0');
CALL pg_temp.fill('t', 3);
CREATE ROLE regress_heir;
SELECT log AS storage FROM queue.topic WHERE name = 't' \gset
SET queue.allow_ddl = on;
ALTER TABLE :storage OWNER TO regress_heir;
ALTER VIEW topic.t OWNER TO regress_heir;
DO $$ DECLARE t regclass; BEGIN
	FOR t IN SELECT inhrelid FROM pg_inherits WHERE inhparent = (SELECT log FROM queue.topic WHERE name = 't') LOOP
		EXECUTE format('ALTER TABLE %s OWNER TO regress_heir', t);
	END LOOP;
END $$;
RESET queue.allow_ddl;
GRANT USAGE, CREATE ON SCHEMA regress_archive TO regress_heir;
GRANT CREATE ON TABLESPACE regress_slow TO regress_heir;
SET ROLE regress_heir;
SELECT first_offset, moved FROM queue.move_segments('t', 'regress_slow', before_offset => 50);
SELECT archive, first_offset FROM queue.archive_segment('t', 0, 'regress_archive.b', force => true);
SELECT tableowner = current_user AS mine FROM pg_tables WHERE schemaname = 'regress_archive' AND tablename = 'b';
RESET ROLE;

SELECT queue.drop_topic('t');
SELECT queue.drop_group('expiring');
DROP SCHEMA regress_archive CASCADE;
DROP TABLESPACE regress_slow;
DROP OWNED BY regress_heir;
DROP ROLE regress_heir;
