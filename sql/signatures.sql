--
-- Names and signatures: a call whose arguments have no types, as most drivers
-- send them, finds its function by position; a name alone is enough for GRANT.
--
CREATE FUNCTION pg_temp.error_of(command text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE command;
	RETURN NULL;
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ': ' || SQLERRM;
END $$;

-- Names of several functions: a value or a batch is text, or has a type.
BEGIN;
SELECT proname, pg_temp.error_of(format('GRANT EXECUTE ON ROUTINE queue.%I TO PUBLIC', proname)) AS error, count(*)
  FROM pg_proc WHERE pronamespace = 'queue'::regnamespace
 GROUP BY proname HAVING count(*) > 1 OR pg_temp.error_of(format('GRANT EXECUTE ON ROUTINE queue.%I TO PUBLIC', proname)) IS NOT NULL
 ORDER BY proname;
ROLLBACK;

-- Each function with each number of arguments that it can have, as parameters and
-- as literals.  An argument that gives a type has one.
CREATE TEMP VIEW calls AS
SELECT p.oid::regprocedure::text AS function, prokind,
       format('queue.%I(%s)', proname, (SELECT string_agg(CASE WHEN i = typed THEN 'NULL::text' ELSE format(form, i - (i > typed)::int) END, ', ' ORDER BY i)
                                          FROM generate_series(1, n) i)) AS call
  FROM pg_proc p, generate_series(pronargs::int - pronargdefaults, pronargs::int) n, (VALUES ('$%s'), ('NULL')) f(form),
       LATERAL (SELECT coalesce(min(i), pronargs + 1) AS typed FROM generate_series(1, pronargs::int) i
                 WHERE proargnames[i] = 'value_type' AND proargtypes[i - 1] = 'anyelement'::regtype) t
 WHERE pronamespace = 'queue'::regnamespace AND prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype)
   AND p.oid NOT IN (SELECT objid FROM pg_depend WHERE classid = 'pg_proc'::regclass AND refclassid = 'pg_type'::regclass AND deptype = 'i')
   AND 'internal'::regtype <> ALL (proargtypes)
   -- CALL cannot be prepared
   AND NOT (prokind = 'p' AND form LIKE '$%');
SELECT count(DISTINCT function) > 50 AS functions, count(*) > 200 AS calls FROM calls;
SELECT call, error
  FROM calls,
       LATERAL (SELECT pg_temp.error_of(CASE prokind
           WHEN 'p' THEN format('CREATE OR REPLACE FUNCTION pg_temp.calls() RETURNS void LANGUAGE sql AS %L', 'CALL ' || call)
           ELSE format('PREPARE untyped AS SELECT %s; DEALLOCATE untyped', call) END) AS error) e
 -- 0A000: found, and has an output argument, which a function of SQL cannot take
 WHERE error NOT LIKE '0A000%' ORDER BY 1;

-- The types that the parameters get.
SELECT queue.create_topic('t');
PREPARE produce AS SELECT partition, p.offset FROM queue.produce($1, $2) p;
PREPARE produce_batch AS SELECT first_offset, count FROM queue.produce_batch($1, $2);
PREPARE consume AS SELECT m.offset, value FROM queue.consume($1, $2, $3) m;
PREPARE consume_topics AS SELECT m.offset, value FROM queue.consume_topics($1, $2, $3) m;
PREPARE poll AS SELECT m.offset, value FROM queue.poll($1, $2, $3, $4) m;
PREPARE poll_topics AS SELECT m.offset, value FROM queue.poll_topics($1, $2, $3, $4) m;
PREPARE read AS SELECT m.offset, value FROM queue.fetch($1, $2, $3, $4) m;
PREPARE read_typed AS SELECT m.offset, value FROM queue.fetch_typed($1, $2, $3, NULL::jsonb, $4) m;
SELECT name, parameter_types FROM pg_prepared_statements ORDER BY name COLLATE "C";
EXECUTE produce('t', '1');
EXECUTE produce_batch('t', '{2,3,4,5,6}');
EXECUTE consume('g', 't', '1');
EXECUTE consume_topics('g', '{t}', '2');
EXECUTE poll('h', 't', 'm', '1');
EXECUTE poll_topics('h', '{t}', 'm', '2');
EXECUTE read('t', '0', '4', '1');
EXECUTE read_typed('t', '0', '5', '10');
DEALLOCATE ALL;
SELECT queue.drop_topic('t');
SELECT queue.drop_group(g) FROM unnest(ARRAY['g', 'h']) g;
