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
begin
    if not pg_has_role({login_text}, 'chatmemory_app', 'member') then
        grant chatmemory_app to {login};
    end if;
    if not pg_has_role({login_text}, 'chatmemory_worker', 'member') then
        grant chatmemory_worker to {login};
    end if;
end $$;
