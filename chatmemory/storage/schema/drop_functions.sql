-- A function whose arguments or columns have changed cannot be replaced, only dropped.
do $$
declare
    f regprocedure;
begin
    for f in select p.oid::regprocedure from pg_proc p where p.pronamespace = 'chatmemory'::regnamespace
        and not exists (select from pg_depend d where d.objid = p.oid and d.deptype = 'e') loop
        execute format('drop routine %s cascade', f);
    end loop;
end $$;
