-- revision: 1; owner: app
-- Read the messages after a seq, oldest first.
create or replace function chatmemory.messages_after(p_tenant text, p_session text, p_after bigint, p_limit bigint)
returns table (
    seq bigint, id text, role text, content text, content_json json, metadata json, tokens integer,
    token_encoding text, created_at timestamptz
) language plpgsql security definer
set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan as $$
#variable_conflict use_column
begin
    perform chatmemory.enter(p_tenant);
    return query
        select m.seq, m.id, m.role, m.content, m.content_json, m.metadata, m.tokens, m.token_encoding,
               m.created_at
        from chatmemory.messages m
        where m.tenant_id = p_tenant and m.session_id = p_session and m.seq > p_after
          and exists (select from chatmemory.sessions s
              where s.tenant_id = p_tenant and s.id = p_session and s.deleted_at is null)
        order by m.seq limit p_limit;
    if not found then  -- nested: in one condition the query would run every time
        if not exists (select from chatmemory.sessions s
                where s.tenant_id = p_tenant and s.id = p_session and s.deleted_at is null) then
            raise exception 'session not found' using errcode = 'CM404';
        end if;
    end if;
end $$;
