-- What needs pgvector: without it everything works, and recall is by words alone. Run at every migration, so that an
-- extension that was installed later is found.
do $vectors$
declare
    v_schema text;
    v_text text;
begin
    if not exists (select from pg_available_extensions where name = 'vector') then
        return;
    end if;
    begin
        create extension if not exists vector;
    exception when insufficient_privilege then
        return;
    end;
    select n.nspname into v_schema
        from pg_extension e join pg_namespace n on n.oid = e.extnamespace where e.extname = 'vector';
    if to_regprocedure(format('%1$I.binary_quantize(%1$I.vector)', v_schema)) is null then
        return;                                     -- older than 0.7
    end if;
    foreach v_text in array array[{texts}] loop
        execute replace(v_text, '{vector}', quote_ident(v_schema));
    end loop;
end $vectors$;
