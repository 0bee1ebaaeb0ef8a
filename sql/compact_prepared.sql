-- A segment that a prepared transaction has read is not compacted, nor copied in vain.
SET queue.compaction_min_dirty_ratio = 0;
SET client_min_messages = warning;
\getenv abs_srcdir PG_ABS_SRCDIR
\i :abs_srcdir/sql/include/helpers.sql
SELECT queue.create_topic('held', 1, 'text', segment_messages => 1000, cleanup_policy => 'compact');
-- every second message is the last of its key
SELECT count FROM queue.produce_batch('held', ARRAY(SELECT repeat(md5(g::text), 30) FROM generate_series(1, 2000) g),
	ARRAY(SELECT CASE WHEN g % 2 = 0 THEN 'same' ELSE 'key ' || g END FROM generate_series(1, 2000) g));
CALL pg_temp.settle('held');
BEGIN;
SELECT count(*) FROM topic.held;
PREPARE TRANSACTION 'regress_held';
-- Its session is gone.
\c -
SET queue.compaction_min_dirty_ratio = 0;
SET client_min_messages = warning;
SELECT pg_current_wal_insert_lsn() AS before \gset
CALL queue.maintain('held');
SELECT pg_current_wal_insert_lsn() - :'before' < 250000 AS not_copied, count(*) FROM topic.held;
ROLLBACK PREPARED 'regress_held';
SELECT pg_current_wal_insert_lsn() AS before \gset
CALL queue.maintain('held');
SELECT pg_current_wal_insert_lsn() - :'before' > 500000 AS copied, count(*) FROM topic.held;
SELECT * FROM queue.verify('held');
SELECT queue.drop_topic('held');
