-- revision: 1; owner: app
-- Raise why a session takes no message: it is missing, or it has ended; the detail says if it was a run.
create or replace function chatmemory.refuse_append(p_tenant text, p_session text, p_of timestamptz)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_status text;
begin
    select s.status || case when s.run_endings is null then '' else ' run' end into v_status from chatmemory.sessions s
        where s.tenant_id = p_tenant and s.id = p_session and s.born_at = p_of and s.deleted_at is null;
    if v_status is null then
        raise exception 'session not found' using errcode = 'CM404';
    end if;
    raise exception 'session has ended' using errcode = 'CM410', detail = v_status;
end $$;
