--
-- All that an extension's objects are, one line a property, without OIDs: two
-- databases have the same objects if they have the same lines.
--
-- Needs a superuser. psql's variable "extension" is the name.
--
WITH members AS (
    SELECT d.classid, d.objid,
           pg_catalog.pg_identify_object(d.classid, d.objid, 0) AS object
      FROM pg_depend d
      JOIN pg_extension e ON (d.refclassid, d.refobjid) = ('pg_extension'::regclass, e.oid)
     WHERE e.extname = :'extension' AND d.deptype = 'e'
),
named AS (
    SELECT classid, objid, (object).type || ' ' || (object).identity AS name
      FROM members
),
-- Rights, those of PUBLIC and of owners too, spelled out.
acls AS (
    SELECT 'pg_proc'::regclass AS classid, oid AS objid, coalesce(proacl, acldefault('f', proowner)) AS acl, proowner AS owner FROM pg_proc
    UNION ALL
    SELECT 'pg_class'::regclass, oid, coalesce(relacl, acldefault(CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", relowner)), relowner FROM pg_class
    UNION ALL
    SELECT 'pg_type'::regclass, oid, coalesce(typacl, acldefault('T', typowner)), typowner FROM pg_type
    UNION ALL
    SELECT 'pg_namespace'::regclass, oid, coalesce(nspacl, acldefault('n', nspowner)), nspowner FROM pg_namespace
),
columns AS (
    SELECT n.name, a.attrelid, a.attnum, a.attname,
           concat_ws(' ', a.attname, format_type(a.atttypid, a.atttypmod),
                     CASE WHEN a.attnotnull THEN 'NOT NULL' END,
                     'DEFAULT ' || pg_get_expr(d.adbin, d.adrelid),
                     'STORAGE', a.attstorage,
                     'COLLATE ' || nullif(a.attcollation, 0)::regcollation::text,
                     CASE WHEN a.atthasmissing THEN 'with a missing value' END,
                     (SELECT string_agg(o, ' ') FROM unnest(a.attoptions) o WHERE o ~ '^n_distinct'),
                     a.attacl::text) AS definition
      FROM (SELECT name, objid AS relid FROM named WHERE classid = 'pg_class'::regclass
            UNION ALL
            SELECT n.name, t.typrelid FROM named n JOIN pg_type t ON t.oid = n.objid
             WHERE n.classid = 'pg_type'::regclass AND t.typtype = 'c') n
      JOIN pg_attribute a ON a.attrelid = n.relid AND a.attnum > 0
      LEFT JOIN pg_attrdef d ON (d.adrelid, d.adnum) = (a.attrelid, a.attnum)
),
properties AS (
    SELECT name, 'exists' AS property FROM named
    UNION ALL
    SELECT name, 'comment: ' || obj_description(objid, classid::regclass::name) FROM named
    UNION ALL
    SELECT n.name, format('owner %s superuser', CASE WHEN r.rolsuper THEN 'is a' ELSE 'is no' END)
      FROM named n JOIN acls a USING (classid, objid) JOIN pg_roles r ON r.oid = a.owner
    UNION ALL
    SELECT n.name, concat_ws(' ', 'right:', CASE WHEN x.grantee = 0 THEN 'PUBLIC' WHEN x.grantee = a.owner THEN 'owner' ELSE x.grantee::regrole::text END,
                             x.privilege_type, CASE WHEN x.is_grantable THEN 'grantable' END)
      FROM named n JOIN acls a USING (classid, objid), aclexplode(a.acl) x
    UNION ALL
    -- what pg_dump takes for the extension's own rights
    SELECT n.name, concat_ws(' ', 'initial right:', CASE WHEN x.grantee = 0 THEN 'PUBLIC' WHEN x.grantee = a.owner THEN 'owner' ELSE x.grantee::regrole::text END,
                             x.privilege_type)
      FROM named n JOIN acls a USING (classid, objid)
      JOIN pg_init_privs i ON (i.classoid, i.objoid, i.objsubid) = (n.classid, n.objid, 0), aclexplode(i.initprivs) x
    UNION ALL
    SELECT n.name, 'definition: ' || pg_get_functiondef(n.objid)
      FROM named n WHERE n.classid = 'pg_proc'::regclass
    UNION ALL
    SELECT c.name, format('column %s: %s', c.attnum, c.definition) FROM columns c
    UNION ALL
    SELECT c.name, format('comment on column %s: %s', c.attname, col_description(c.attrelid, c.attnum)) FROM columns c
     WHERE col_description(c.attrelid, c.attnum) IS NOT NULL
    UNION ALL
    SELECT n.name, concat_ws(' ', 'relation:', c.relkind, c.relpersistence, c.reloptions::text, 'replica identity', c.relreplident,
                             'row security', c.relrowsecurity, c.relforcerowsecurity, (SELECT amname FROM pg_am WHERE oid = c.relam))
      FROM named n JOIN pg_class c ON n.classid = 'pg_class'::regclass AND c.oid = n.objid
    UNION ALL
    SELECT n.name, 'view: ' || pg_get_viewdef(n.objid)
      FROM named n WHERE n.classid = 'pg_class'::regclass AND (SELECT relkind FROM pg_class WHERE oid = n.objid) = 'v'
    UNION ALL
    SELECT n.name, 'sequence: ' || concat_ws(' ', s.seqtypid::regtype, s.seqstart, s.seqincrement, s.seqmin, s.seqmax, s.seqcache, s.seqcycle)
      FROM named n JOIN pg_sequence s ON n.classid = 'pg_class'::regclass AND s.seqrelid = n.objid
    UNION ALL
    SELECT n.name, format('index %s, comment: %s', pg_get_indexdef(i.indexrelid), obj_description(i.indexrelid, 'pg_class'))
      FROM named n JOIN pg_index i ON n.classid = 'pg_class'::regclass AND i.indrelid = n.objid
    UNION ALL
    SELECT n.name, format('constraint %s: %s', c.conname, pg_get_constraintdef(c.oid))
      FROM named n JOIN pg_constraint c ON n.classid = 'pg_class'::regclass AND c.conrelid = n.objid
    UNION ALL
    SELECT n.name, 'trigger: ' || pg_get_triggerdef(t.oid)
      FROM named n JOIN pg_trigger t ON n.classid = 'pg_class'::regclass AND t.tgrelid = n.objid AND NOT t.tgisinternal
    UNION ALL
    SELECT n.name, 'rule: ' || pg_get_ruledef(r.oid)
      FROM named n JOIN pg_rewrite r ON n.classid = 'pg_class'::regclass AND r.ev_class = n.objid AND r.rulename <> '_RETURN'
    UNION ALL
    SELECT n.name, concat_ws(' ', 'event trigger:', t.evtevent, t.evttags::text, t.evtenabled, t.evtfoid::regprocedure)
      FROM named n JOIN pg_event_trigger t ON n.classid = 'pg_event_trigger'::regclass AND t.oid = n.objid
    UNION ALL
    SELECT n.name, concat_ws(' ', 'access method:', m.amtype, m.amhandler)
      FROM named n JOIN pg_am m ON n.classid = 'pg_am'::regclass AND m.oid = n.objid
    UNION ALL
    SELECT n.name, format('type: %s %s %s', t.typtype, format_type(t.typbasetype, t.typtypmod), t.typnotnull)
      FROM named n JOIN pg_type t ON n.classid = 'pg_type'::regclass AND t.oid = n.objid
    UNION ALL
    -- marks for pg_dump
    SELECT 'dumped ' || u.relid::regclass, 'rows: ' || u.condition
      FROM pg_extension e, unnest(e.extconfig, e.extcondition) u (relid, condition)
     WHERE e.extname = :'extension'
)
SELECT replace(name || ': ' || property, E'\n', '\n') COLLATE "C" AS line
  FROM properties
 WHERE property IS NOT NULL
 ORDER BY line;
