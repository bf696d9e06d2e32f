-- The rights on the relations and routines that promotion replaces, as statements that grant them again.
SELECT o.name, o.is_routine, format('REVOKE ALL ON %s FROM PUBLIC; ', o.kind_and_name) || string_agg(
           format('GRANT %s ON %s TO %s', a.privilege_type, o.kind_and_name,
                  CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END), '; ')
FROM (
    SELECT r.*, CASE WHEN r.is_routine THEN 'ROUTINE ' ELSE 'TABLE ' END || r.name AS kind_and_name
    FROM (
        SELECT c.oid::regclass::text AS name, false AS is_routine, c.relacl AS acl
        FROM pg_class AS c
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'v' AND c.relname ~ '^(occupancy|health)_'
        UNION ALL
        SELECT p.oid::regprocedure::text, true, p.proacl
        FROM pg_proc AS p
        WHERE p.pronamespace = 'timeseries'::regnamespace
    ) AS r
) AS o
CROSS JOIN LATERAL aclexplode(o.acl) AS a
GROUP BY o.name, o.is_routine, o.kind_and_name
