--
-- What CREATE EXTENSION leaves behind: comments, rights, marks for pg_dump.
--

-- Every member of the extension says what it is. No rows.
SELECT pg_catalog.pg_describe_object(d.classid, d.objid, 0) AS uncommented
  FROM pg_depend d
  JOIN pg_extension e ON e.oid = d.refobjid
 WHERE d.refclassid = 'pg_extension'::regclass
   AND d.deptype = 'e'
   AND e.extname = 'queue'
   AND NOT EXISTS (SELECT FROM pg_description c
                    WHERE (c.classoid, c.objoid, c.objsubid) = (d.classid, d.objid, 0))
   -- row types of tables and array types are members since 17
   AND NOT EXISTS (SELECT FROM pg_type t LEFT JOIN pg_class r ON r.oid = t.typrelid
                    WHERE (d.classid, d.objid) = ('pg_type'::regclass, t.oid)
                      AND (t.typelem <> 0 OR r.relkind IN ('r', 'v')))
 ORDER BY 1;

-- So does every column of its tables and views. No rows.
SELECT a.attrelid::regclass AS relation, a.attname AS uncommented
  FROM pg_attribute a
  JOIN pg_class c ON c.oid = a.attrelid
 WHERE c.relnamespace IN ('queue'::regnamespace, 'topic'::regnamespace)
   AND c.relkind IN ('r', 'v')
   AND a.attnum > 0
   AND NOT a.attisdropped
   AND col_description(a.attrelid, a.attnum) IS NULL
 ORDER BY 1, 2;

-- A comment has one or two sentences, and no tab. Errors, rights and versions are
-- in docs/reference.md. No rows.
SELECT pg_catalog.pg_describe_object(c.classoid, c.objoid, c.objsubid) AS object, c.description
  FROM pg_description c
  JOIN pg_depend d ON (d.classid, d.objid) = (c.classoid, c.objoid)
  JOIN pg_extension e ON e.oid = d.refobjid
 WHERE d.refclassid = 'pg_extension'::regclass
   AND d.deptype = 'e'
   AND e.extname = 'queue'
   AND (c.description !~ '\.$'
        OR c.description ~ '([.?]\s.*){2}\.$|[\t\n]|Errors:|Right:|Since ')
 ORDER BY 1;

-- Nothing runs with other rights than the caller's, nothing outside a
-- transaction's parallel safety; what PUBLIC may call.
SELECT p.oid::regprocedure AS function,
       p.provolatile AS volatile,
       p.proisstrict AS strict,
       p.proparallel AS parallel,
       p.prosecdef AS secdef,
       has_function_privilege('public', p.oid, 'EXECUTE') AS public
  FROM pg_proc p
 WHERE p.pronamespace = 'queue'::regnamespace
 ORDER BY p.proname COLLATE "C", p.oid::regprocedure::text COLLATE "C";

-- What PUBLIC may do with tables, views and sequences.
SELECT c.oid::regclass AS relation, c.relkind AS kind, a.privilege_type AS public_right
  FROM pg_class c
  LEFT JOIN LATERAL aclexplode(c.relacl) a ON a.grantee = 0
 WHERE c.relnamespace = 'queue'::regnamespace
   AND c.relkind IN ('r', 'v', 'S')
 ORDER BY c.relname COLLATE "C", a.privilege_type;

-- Schemas: every role may look, none may create.
SELECT n.nspname AS schema, a.privilege_type AS public_right
  FROM pg_namespace n
  LEFT JOIN LATERAL aclexplode(n.nspacl) a ON a.grantee = 0
 WHERE n.nspname IN ('queue', 'topic')
 ORDER BY 1, 2;

-- pg_dump carries the rows of every table and the state of every sequence.
SELECT c.oid::regclass AS relation, c.oid = ANY (e.extconfig) AS dumped
  FROM pg_class c
  JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
  JOIN pg_extension e ON e.oid = d.refobjid
 WHERE e.extname = 'queue'
   AND c.relkind IN ('r', 'S')
 ORDER BY c.relname COLLATE "C";
SELECT cardinality(extconfig) AS marks, extconfig IS NOT NULL AND '' = ALL (extcondition) AS all_rows,
       extversion, extrelocatable
  FROM pg_extension WHERE extname = 'queue';

-- The guards are there and fire.
SELECT evtname, evtevent, evtenabled FROM pg_event_trigger ORDER BY 1;
SELECT amname, amtype, amhandler FROM pg_am WHERE amname = 'queue_log';

-- Settings: one, off; others of that prefix do not exist.
SELECT queue.murmur2('');           -- loads the library
SHOW queue.allow_ddl;
SET queue.no_such_setting = 1;

-- A schema that was made beforehand is not adopted.
DROP EXTENSION queue;
SELECT count(*) FROM pg_namespace WHERE nspname IN ('queue', 'topic');
\set SHOW_CONTEXT never
CREATE SCHEMA topic;
CREATE EXTENSION queue;
DROP SCHEMA topic;
CREATE EXTENSION queue;
SELECT count(*) FROM queue.topics;
