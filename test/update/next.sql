-- The update of 1.0 to the made-up version "next" (test/t/029_update.pl): a
-- change of each kind that a release may bring, and a model for its script.
\echo Use "ALTER EXTENSION queue UPDATE TO 'next'" to load this file. \quit

-- a column more in a table, appended, nullable and without a default:
ALTER TABLE queue.progress ADD COLUMN note text;
-- comments:
COMMENT ON COLUMN queue.progress.note IS 'Added by an update.';

-- a table:
CREATE TABLE queue.added_table (
    id   bigint NOT NULL,
    note text
);
ALTER TABLE queue.added_table REPLICA IDENTITY FULL;
COMMENT ON TABLE queue.added_table IS 'Added by an update.';
COMMENT ON COLUMN queue.added_table.id IS 'Number.';
COMMENT ON COLUMN queue.added_table.note IS 'Note.';
SELECT pg_catalog.pg_extension_config_dump('queue.added_table', 'WHERE id > 0');
REVOKE ALL ON queue.added_table FROM PUBLIC;

-- a column appended to a view:
CREATE OR REPLACE VIEW queue.offset_history WITH (security_barrier) AS
@OFFSET_HISTORY@

-- a function replaced:
CREATE OR REPLACE FUNCTION queue.murmur2(data bytea) RETURNS int
AS 'MODULE_PATHNAME', 'pgqueue_murmur2_sql'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 2;

-- a function:
CREATE FUNCTION queue.added(number int) RETURNS int
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN number + 1;
REVOKE ALL ON FUNCTION queue.added(int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION queue.added(int) TO PUBLIC;
COMMENT ON FUNCTION queue.added(int) IS 'Returns the number after it. Since next.';
