-- What needs an administrator: the two roles that cannot bypass row-level security, and the schema.
-- Safe to run twice. {login} is the database user the application connects as.
do $$
begin
    if not exists (select from pg_roles where rolname = 'chatmemory_app') then
        create role chatmemory_app nologin nosuperuser nobypassrls;
    end if;
    if not exists (select from pg_roles where rolname = 'chatmemory_worker') then
        create role chatmemory_worker nologin nosuperuser nobypassrls;
    end if;
exception
    when duplicate_object or unique_violation then null;  -- another database of this server was faster
end $$;
do $$
begin
    if not exists (select from pg_namespace where nspname = 'chatmemory') then
        create schema chatmemory authorization {login};
    end if;
end $$;
do $$
declare
    v_role text;
    v_modern boolean := current_setting('server_version_num')::integer >= 160000;  -- grants with options
begin
    foreach v_role in array array['chatmemory_app', 'chatmemory_worker'] loop
        if not pg_has_role({login_text}, v_role, 'usage')
                or v_modern and not pg_has_role({login_text}, v_role, 'set') then
            execute format('grant %I to %I', v_role, {login_text})
                || case when v_modern then ' with inherit true, set true' else '' end;
        end if;
    end loop;
end $$;
