-- revision: 1; owner: app
-- Begin a function's work: for one tenant, and so that its commit waits for the disk. Every function that a statement
-- calls begins with it. Where the transaction began with settings that cannot be changed any more, nothing is done;
-- the caller repeats the call in a transaction that begins with those of schema/pins.py.
create or replace function chatmemory.enter(p_tenant text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if {is_unpinned} then
        raise exception 'the transaction began with other settings' using errcode = 'CM425';
    end if;
    perform set_config('chatmemory.tenant_id', p_tenant, true), {durable};
end $$;
