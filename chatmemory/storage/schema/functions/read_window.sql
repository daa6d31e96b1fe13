-- revision: 1; owner: app
-- Read what a context is made of, in one round trip: the session's counters, its newest messages before p_before
-- (newest first), and the system message it begins with, if that is older. Only the row of the session's newest message
-- has the summary. A session without messages gives one row with a null seq.
create or replace function chatmemory.read_window(
    p_tenant text, p_session text, p_of timestamptz, p_limit bigint, p_before bigint
)
returns table (
    last_seq bigint, token_count bigint, summary text, summary_seq bigint,
    seq bigint, id text, role text, content text, content_json json, metadata json, tokens integer,
    token_encoding text, created_at timestamptz
) language plpgsql security definer
set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan as $$
#variable_conflict use_column
declare
    v_before bigint := coalesce(p_before, 9223372036854775807);
begin
    perform chatmemory.enter(p_tenant);
    return query
        select s.last_seq, s.token_count, case when m.seq = s.last_seq or p_limit = 0 then s.summary end,
               s.summary_seq, m.*
        from chatmemory.sessions s left join lateral (
            (select m.seq, m.id, m.role, m.content, m.content_json, m.metadata, m.tokens, m.token_encoding, m.created_at
            from chatmemory.messages m
            where m.tenant_id = p_tenant and m.session_id = p_session and m.seq < v_before
            order by m.seq desc limit p_limit)
            union all
            select m.seq, m.id, m.role, m.content, m.content_json, m.metadata, m.tokens, m.token_encoding, m.created_at
            from chatmemory.messages m
            where m.tenant_id = p_tenant and m.session_id = p_session and m.seq = 1 and m.role = 'system'
              and least(s.last_seq, v_before - 1) > p_limit
        ) m on true
        where s.tenant_id = p_tenant and s.id = p_session and s.born_at = p_of and s.deleted_at is null;
    if not found then
        raise exception 'session not found' using errcode = 'CM404';
    end if;
end $$;
