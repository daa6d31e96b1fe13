-- Repair what access.sql finds; the roles of the whole server, which earlier versions used, go with the last database
-- that needed them.
do $repair$
declare
    v_repair text;
begin
    for v_repair in select repair from unnest(array(select a.repair from ({access}) a where a.repair is not null)) repair loop
        execute v_repair;
    end loop;
end $repair$;
do $$
declare
    v_role text;
begin
    foreach v_role in array array['chatmemory_app', 'chatmemory_worker'] loop
        begin
            execute format('drop role if exists %I', v_role);
        exception when others then null;  -- another database needs it, or this user may not drop it
        end;
    end loop;
end $$;
