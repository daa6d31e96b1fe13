-- The functions run as the roles that cannot bypass row-level security; nobody else may call them.
grant create on schema chatmemory to chatmemory_app, chatmemory_worker;
do $$
declare
    f regprocedure;
begin
    for f in select p.oid::regprocedure from pg_proc p where p.pronamespace = 'chatmemory'::regnamespace
        and not exists (select from pg_depend d where d.objid = p.oid and d.deptype = 'e') loop
        if f::text ~ '^chatmemory\.(clean_up|claim_sessions|learning_state)\(' then
            execute format('alter function %s owner to chatmemory_worker', f);
        else
            execute format('alter function %s owner to chatmemory_app', f);
        end if;
        execute format('revoke all on function %s from public', f);
        if f::text ~ '^chatmemory\.end_sessions\(' then  -- which the clean-up calls, tenant by tenant
            execute format('grant execute on function %s to chatmemory_worker', f);
        end if;
    end loop;
end $$;
revoke create on schema chatmemory from chatmemory_app, chatmemory_worker;
