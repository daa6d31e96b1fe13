-- revision: 1
-- Compare a database with the declared access rules: one row for each deviation, with the statements that repair it.
-- Migrations create tables; their policies, row-level security and grants are declared here and nowhere else.
-- The app's role may use every table with a column tenant_id, one tenant at a time. The worker's role works over all
-- tenants; its rights are in `worker`. The functions of this release are inserted, each with owner, revision and
-- checksum. If a newer release has recorded other rules, only the roles are checked.
with name as (
    select {app} as app, {worker} as worker
), role as (  -- a null oid: the role does not exist
    select n.name, r.oid, r.rolsuper or r.rolbypassrls as bypasses
    from name, unnest(array[app, worker]) as n(name) left join pg_roles r on r.rolname = n.name
), relation as (
    select c.oid, c.relname, c.relkind in ('r', 'p') as is_table, c.relacl as acl,
           c.relrowsecurity and c.relforcerowsecurity as is_forced,
           exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = 'tenant_id') as of_tenant
    from pg_class c
    where c.relnamespace = to_regnamespace('chatmemory') and (c.relkind in ('r', 'p') or c.relkind = 'S' and not exists (
        select from pg_depend d where d.objid = c.oid and d.classid = 'pg_class'::regclass and d.deptype = 'i'))
), worker(relname, privileges, command) as (
    values ('sessions', array['SELECT', 'UPDATE'], 'all'),
           ('events', array['INSERT'], 'insert'),
           ('store_items', array['SELECT'], 'all')
), policy as (
    select t.oid, t.relname, 'one_tenant' as polname, app as role, 'all' as command,
           '(tenant_id = current_setting(''chatmemory.tenant_id''::text, true))' as condition
        from relation t, name where t.is_table and t.of_tenant
    union all
    -- The login is only a member of the role; a statement sees all tenants after `set role`.
    select t.oid, t.relname, 'background_work', name.worker, w.command, format('(CURRENT_USER = %L::name)', name.worker)
        from relation t join worker w using (relname), name
    union all
    select t.oid, t.relname, 'versions_are_public', null, 'all', 'true'
        from relation t where t.is_table and starts_with(t.relname, 'schema_')
), pgvector as (  -- 0.7 or newer; to_regprocedure() fails on a missing type before Postgres 16
    select exists (
        select from pg_extension e
            join pg_depend d on d.refclassid = 'pg_extension'::regclass and d.refobjid = e.oid and d.deptype = 'e'
            join pg_proc p on d.classid = 'pg_proc'::regclass and d.objid = p.oid
        where e.extname = 'vector' and p.proname = 'binary_quantize'
    ) as is_there
), recorded as (
    select name, revision, checksum from chatmemory.schema_parts
), expected(proname, kind, revision, checksum) as (
    values {functions}
    union all
    select f.* from (values {vector_functions}) f, pgvector where is_there
), routine as (
    select p.oid, p.proname, p.oid::regprocedure::text as signature, p.proacl as acl, p.prosecdef as is_definer,
           pg_get_userbyid(p.proowner) as owner,
           case when e.kind = 'worker' or e.kind is null and pg_get_userbyid(p.proowner) = name.worker then name.worker
                else app end as role
    from name, pg_proc p left join expected e on e.proname = p.proname
    where p.pronamespace = to_regnamespace('chatmemory') and p.prokind = 'f'
      and not exists (select from pg_depend d where d.objid = p.oid and d.deptype = 'e')
), permission as (
    select 'schema' as kind, n.oid, quote_ident(n.nspname) as object, n.nspacl as acl, r.name as role,
           array['USAGE'] as privileges
        from pg_namespace n, role r where n.nspname = 'chatmemory'
    union all
    select 'table', t.oid, format('chatmemory.%I', t.relname), t.acl, app, array['SELECT', 'INSERT', 'UPDATE', 'DELETE']
        from relation t, name where t.is_table and t.of_tenant
    union all
    select 'table', t.oid, format('chatmemory.%I', t.relname), t.acl, name.worker, w.privileges
        from relation t join worker w using (relname), name
    union all
    select 'table', t.oid, format('chatmemory.%I', t.relname), t.acl, r.name, array['SELECT']
        from relation t, role r where t.is_table and starts_with(t.relname, 'schema_')
    union all
    select 'sequence', t.oid, format('chatmemory.%I', t.relname), t.acl, app, array['USAGE']
        from relation t, name where not t.is_table
    union all
    -- The clean-up ends sessions and removes items, tenant by tenant.
    select 'function', f.oid, f.signature, f.acl, name.worker, array['EXECUTE']
        from routine f, name where f.proname in ('end_lost', 'end_sessions', 'remove_expired_items', 'enter')
), object as (
    select 'schema' as kind, 'chatmemory' as object, nspacl as acl from pg_namespace where nspname = 'chatmemory'
    union all
    select case when is_table then 'table' else 'sequence' end, format('chatmemory.%I', relname), acl from relation
    union all
    select 'function', signature, acl from routine
), deviation(step, part, problem, repair, install) as (
    select 1, 'roles', format('the role %s does not exist', name), null, null
        from role where oid is null
    union all
    select 1, 'roles', format('the role %s bypasses row-level security', name),
           format('alter role %I nosuperuser nobypassrls', name), null
        from role where bypasses
    union all
    select 1, 'roles', format('the user %s is no member of %s', session_user, name), null, null
        from role where oid is not null and (not pg_has_role(session_user, oid, 'usage')
            or case when current_setting('server_version_num')::integer >= 160000
               then not pg_has_role(session_user, oid, 'set') end)
    union all
    select 2, 'row-level security', format('not forced on %s', relname),
           format('alter table chatmemory.%1$I enable row level security; '
                  'alter table chatmemory.%1$I force row level security', relname), null
        from relation where is_table and not is_forced
    union all
    select 3, 'row-level security', format('the policy %s of %s is missing, or differs', polname, relname),
           format('drop policy if exists %1$I on chatmemory.%2$I; '
                  'create policy %1$I on chatmemory.%2$I for %3$s to %4$s %5$s with check (%6$s)',
                  polname, relname, command, coalesce(quote_ident(role), 'public'),
                  case command when 'all' then format('using (%s)', condition) end, condition), null
        from policy e where not exists (
            select from pg_policy p
            where p.polrelid = e.oid and p.polname = e.polname and p.polpermissive
              and p.polcmd = case e.command when 'all' then '*' else 'a' end::"char"
              and p.polroles = array[case when e.role is null then 0
                                     else (select r.oid from role r where r.name = e.role) end]
              and pg_get_expr(p.polwithcheck, p.polrelid) = condition
              and pg_get_expr(p.polqual, p.polrelid) is not distinct from case command when 'all' then condition end)
    union all
    select 4, 'grants', format('%s may not %s on %s %s', role, lower(array_to_string(privileges, ', ')), kind, object),
           format('grant %s on %s %s to %I', array_to_string(privileges, ', '), kind, object, role), null
        from permission g where not g.privileges <@ array(
            select a.privilege_type from aclexplode(g.acl) a join role r on r.oid = a.grantee where r.name = g.role)
    union all
    select distinct 5, 'grants',
           format('%s, a role of another database, has rights on %s %s', r.rolname, o.kind, o.object),
           format('revoke all on %s %s from %I', o.kind, o.object, r.rolname), null
        from object o cross join lateral aclexplode(o.acl) a join pg_roles r on r.oid = a.grantee
        where r.rolname ~ '^chatmemory_(app|worker)(_|$)' and r.rolname not in (select role.name from role)
          and (o.kind <> 'function' or r.rolname <> (select f.owner from routine f where f.signature = o.object))
    union all
    select 6, 'functions', format('anybody may call %s', signature),
           format('revoke all on function %s from public', signature), null
        from routine f where f.acl is null or exists (select from aclexplode(f.acl) a where a.grantee = 0)
    union all
    select 7, 'functions', format('%s belongs to %s, not to %s', signature, owner, role),
           format('grant create on schema chatmemory to %2$I; alter function %1$s owner to %2$I; '
                  'revoke create on schema chatmemory from %2$I', signature, role), null
        from routine f where f.owner <> f.role
    union all
    select 8, 'functions', format('%s runs as its caller', signature),
           format('alter function %s security definer', signature), null
        from routine where not is_definer
    union all
    select 9, 'functions', format('%s is retired', signature),
           format('drop function %s; insert into chatmemory.schema_parts (name, revision, checksum) '
                  'values (%L, 2147483647, %L) on conflict (name) do update set revision = excluded.revision',
                  signature, proname, 'retired'), null  -- so that no older release installs it again
        from routine where proname = any({retired})
    union all
    select 10, 'functions', format('%s is %s', e.proname,
                   case when r.proname is null then 'missing' else 'older than this library' end), null, e.proname
        from expected e left join (select distinct proname from routine) r using (proname)
        left join recorded p on p.name = e.proname
        where coalesce(p.revision, 0) <= e.revision
          and (r.proname is null or p.name is null or p.revision < e.revision or p.checksum <> e.checksum)
    union all
    select 11, 'vectors', 'pgvector is available and not used', null, null
        from pgvector
        where (2 > (select count(*) from pg_attribute a  -- dropping the extension drops only these columns
                   where a.attrelid in (to_regclass('chatmemory.memory_vectors'), to_regclass('chatmemory.item_vectors'))
                     and a.attname = 'embedding')
               or not exists (select from recorded where name = 'vectors' and revision >= {vectors}))
          and (is_there or not exists (select from pg_extension where extname = 'vector') and exists (
              select from pg_available_extension_versions v
              join pg_available_extensions a on a.name = v.name and a.default_version = v.version
              where v.name = 'vector' and string_to_array(substring(v.version from '^[0-9.]+'), '.')::int[] >= '{0,7}'
                and (not v.superuser or (select rolsuper from pg_roles where rolname = session_user)
                     or v.trusted and has_database_privilege(session_user, current_database(), 'create'))))
)
select step, part, problem, repair, install from deviation
where step = 1 or not exists (select from recorded where name = 'access' and revision > {revision})
order by step, problem
