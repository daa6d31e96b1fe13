-- revision: 1; owner: app
-- Store messages and update the session's counters, in one round trip and one transaction.
-- p_of is the session's creation time: a later session with the same id does not match.
-- The row lock on the session keeps seq contiguous. With p_check_ids, messages that are stored already are returned in
-- `stored`, and only the others are added; if all are stored already, nothing changes and `at` is null.
create or replace function chatmemory.append(
    p_tenant text, p_session text, p_of timestamptz, p_messages json, p_count bigint, p_newest timestamptz,
    p_all_dated boolean, p_tokens bigint, p_title text, p_check_ids boolean,
    out first_seq bigint, out at timestamptz, out last_seq bigint, out message_count bigint,
    out token_count bigint, out title text, out last_message_at timestamptz, out summary_seq bigint,
    out stored json
) language plpgsql security definer
set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan as $$
#variable_conflict use_column
declare
    v_becomes_due boolean;
    v_messages json := p_messages;
    v_count bigint := p_count;
    v_tokens bigint := p_tokens;
    v_known bigint[];
    v_conflict text;
    -- The metadata that is part of a message's identity, as in messages/tool_calls.py.
    v_identity constant jsonpath[] := array[
        'strict $.**{0 to 1} ? (@.type() == "object").keyvalue() ? (@.key == "tool_calls"
            || @.key == "invalid_tool_calls").value ? (@.type() == "array" && @.size() > 0)',
        'strict $.**{0 to 1} ? (@.type() == "object").keyvalue() ? (@.key == "tool_call_id"
            || @.key == "tool_use_id" || @.key == "call_id").value ? (@.type() == "string")',
        'strict $ ? (exists (@.host_item)).host_item'];
begin
    perform chatmemory.enter(p_tenant);
    if p_check_ids then
        perform from chatmemory.sessions s
            where s.tenant_id = p_tenant and s.id = p_session and s.born_at = p_of and s.deleted_at is null
            for no key update;
        select array_agg(n.number), p_count - count(*),
               json_agg(json_build_array(
                   n.number - 1, m.seq, m.created_at, m.tokens, m.token_encoding, m.content_json, m.metadata)),
               min(m.id) filter (where m.role <> n.role or m.content <> n.content
                   or m.content_json::jsonb is distinct from n.content_json::jsonb
                   or exists (select from unnest(v_identity) as identity(path)
                       where jsonb_path_query_array(coalesce(m.metadata::jsonb, '{}'), identity.path) <>
                           jsonb_path_query_array(coalesce(n.metadata::jsonb, '{}'), identity.path)))
            into v_known, v_count, stored, v_conflict
            from rows from (json_to_recordset(p_messages) as (id text, role text, content text, content_json json,
                metadata json)) with ordinality as n(id, role, content, content_json, metadata, number)
            cross join lateral (  -- offset 0: look up each id instead of reading the whole session
                select m.id, m.seq, m.role, m.content, m.content_json, m.metadata, m.created_at, m.tokens,
                       m.token_encoding
                from chatmemory.messages m
                where m.tenant_id = p_tenant and m.session_id = p_session and m.id = n.id offset 0
            ) m;
        if v_conflict is not null then
            raise exception 'message id is stored with other content' using errcode = 'CM409', detail = v_conflict;
        end if;
        if v_count = 0 then
            select s.last_seq + 1, s.last_seq, s.message_count, s.token_count, s.title, s.last_message_at, s.summary_seq
                into first_seq, last_seq, message_count, token_count, title, last_message_at, summary_seq
                from chatmemory.sessions s
                where s.tenant_id = p_tenant and s.id = p_session and s.born_at = p_of and s.deleted_at is null;
            if not found then
                perform chatmemory.refuse_append(p_tenant, p_session, p_of);
            end if;
            return;
        elsif v_count < p_count then
            select json_agg(n.message order by n.number), sum((n.message ->> 'tokens')::bigint)
                into v_messages, v_tokens
                from json_array_elements(p_messages) with ordinality as n(message, number)
                left join unnest(v_known) as known(number) on known.number = n.number
                where known.number is null;
        end if;
    end if;
    at := clock_timestamp();
    update chatmemory.sessions s set
        last_seq = s.last_seq + v_count, message_count = s.message_count + v_count,
        token_count = s.token_count + v_tokens, title = coalesce(s.title, p_title),
        last_message_at = greatest(s.last_message_at, p_newest, case when not p_all_dated then at end),
        last_active_at = at, updated_at = at
        where s.tenant_id = p_tenant and s.id = p_session and s.born_at = p_of and s.deleted_at is null
          and s.status = 'active'
        returning s.last_seq - v_count + 1, s.last_seq, s.message_count, s.token_count, s.title, s.last_message_at,
            s.summary_seq, s.due_at is null and s.learns = 'messages' and s.parked_at is null
            and (s.last_seq - s.summary_seq >= s.due_messages or s.token_count - s.summary_tokens >= s.due_tokens)
        into first_seq, last_seq, message_count, token_count, title, last_message_at, summary_seq, v_becomes_due;
    if not found then
        perform chatmemory.refuse_append(p_tenant, p_session, p_of);
    end if;
    insert into chatmemory.messages
        (tenant_id, session_id, seq, id, role, content, content_json, metadata, tokens, token_encoding, created_at)
        select p_tenant, p_session, first_seq + m.number - 1, m.id, m.role, m.content, m.content_json, m.metadata,
               m.tokens, m.token_encoding, coalesce(m.created_at, at)
        from rows from (json_to_recordset(v_messages) as (id text, role text, content text,
            content_json json, metadata json, tokens integer, token_encoding text, created_at timestamptz))
            with ordinality as m(
                id, role, content, content_json, metadata, tokens, token_encoding, created_at, number);
    if v_becomes_due then
        perform chatmemory.mark_due(p_tenant, p_session);
    end if;
end $$;
