-- Repair what access.sql finds; record this release's access rules and the oldest release that still works.
do $repair$
declare
    v_vector text;
    v_text text;
    v_name text;
    v_revision integer;
    v_checksum text;
    v_routine regprocedure;
begin
    -- pgvector is optional: without it, recall is lexical.
    if exists (select from ({access}) a where a.part = 'vectors') then
        -- Nothing is created in pg_catalog, the first schema of the path; other users of pgvector look in public.
        if to_regnamespace('public') is null then
            create extension if not exists vector schema chatmemory;
        else
            create extension if not exists vector schema public;
        end if;
        select n.nspname into v_vector
            from pg_extension e join pg_namespace n on n.oid = e.extnamespace where e.extname = 'vector';
        foreach v_name in array array['memory_vectors', 'item_vectors'] loop
            if not exists (select from pg_attribute a
                    where a.attrelid = to_regclass('chatmemory.' || v_name) and a.attname = 'embedding') then
                execute format('drop table if exists chatmemory.%I', v_name);
            end if;
        end loop;
        for v_text in select m.text from (values {migrations}) as m(version, text)
            where m.version > coalesce((select p.revision from chatmemory.schema_parts p where p.name = 'vectors'), 0)
               or to_regclass('chatmemory.memory_vectors') is null
               or to_regclass('chatmemory.item_vectors') is null order by m.version
        loop
            execute replace(v_text, '{vector}', quote_ident(v_vector));
        end loop;
        insert into chatmemory.schema_parts (name, revision, checksum)
            select 'vectors', max(m.version), '' from (values {migrations}) as m(version, text)
            on conflict (name) do update set revision = excluded.revision, installed_at = now();
    end if;
    select n.nspname into v_vector
        from pg_extension e join pg_namespace n on n.oid = e.extnamespace where e.extname = 'vector';
    for v_name, v_revision, v_checksum, v_text in
        select f.* from (values {texts}) as f(name, revision, checksum, text)
        where f.name = any(array(select a.install from ({access}) a where a.install is not null))
    loop
        begin
            execute replace(v_text, '{vector}', coalesce(quote_ident(v_vector), ''));
            if 1 < (select count(*) from pg_proc p
                    where p.pronamespace = 'chatmemory'::regnamespace and p.proname = v_name) then
                raise invalid_function_definition;
            end if;
        exception when invalid_function_definition then  -- same name, other signature: from an unreleased version
            for v_routine in select p.oid from pg_proc p
                where p.pronamespace = 'chatmemory'::regnamespace and p.proname = v_name
            loop
                execute format('drop routine %s', v_routine);
            end loop;
            execute replace(v_text, '{vector}', coalesce(quote_ident(v_vector), ''));
        end;
        insert into chatmemory.schema_parts (name, revision, checksum) values (v_name, v_revision, v_checksum)
            on conflict (name) do update
                set revision = excluded.revision, checksum = excluded.checksum, installed_at = now();
    end loop;
    foreach v_text in array array(select a.repair from ({access}) a where a.repair is not null) loop
        execute v_text;
    end loop;
    insert into chatmemory.schema_parts as p (name, revision, checksum)
        values ('access', {access_revision}, ''), ('oldest release', {oldest_release}, '')
        on conflict (name) do update set revision = excluded.revision, installed_at = now()
            where p.revision < excluded.revision;
end $repair$;

-- Earlier versions used two roles of the whole server; they are dropped with the last database that needs them.
do $$
declare
    v_role text;
begin
    for v_role in select rolname from pg_roles where rolname in ('chatmemory_app', 'chatmemory_worker') loop
        begin
            execute format('drop role %I', v_role);
        exception when others then null;  -- another database needs it, or this user may not drop it
        end;
    end loop;
end $$;
