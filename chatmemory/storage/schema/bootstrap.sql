-- Create what needs an administrator: the schema, and two roles of this database that cannot bypass row-level security.
-- It may run again. {login} is the database user the application connects as.
do $$
declare
    v_role text;
    v_modern boolean;  -- grants with options
begin
    perform pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    v_modern := current_setting('server_version_num')::integer >= 160000;
    foreach v_role in array array[{app}, {worker}] loop
        if not exists (select from pg_roles where rolname = v_role) then
            execute format('create role %I nologin nosuperuser nobypassrls', v_role);
        end if;
        if not pg_has_role({login_text}, v_role, 'usage')
                or v_modern and not pg_has_role({login_text}, v_role, 'set') then
            execute format('grant %I to %I', v_role, {login_text})
                || case when v_modern then ' with inherit true, set true' else '' end;
        end if;
    end loop;
    if not exists (select from pg_namespace where nspname = 'chatmemory') then
        create schema chatmemory authorization {login};
    end if;
end $$;
