-- revision: 1; owner: app
-- The hot path: as append, for one or two messages whose ids are new. The arguments are scalars, because unpacking JSON
-- costs more than storing the messages. If p_id2 is null, there is one message.
create or replace function chatmemory.append_turn(
    p_tenant text, p_session text, p_of timestamptz, p_title text, p_encoding text,
    p_id1 text, p_role1 text, p_content1 text, p_content_json1 json, p_metadata1 json, p_tokens1 integer,
    p_created_at1 timestamptz,
    p_id2 text, p_role2 text, p_content2 text, p_content_json2 json, p_metadata2 json, p_tokens2 integer,
    p_created_at2 timestamptz,
    out first_seq bigint, out at timestamptz, out last_seq bigint, out message_count bigint,
    out token_count bigint, out title text, out last_message_at timestamptz, out summary_seq bigint,
    out stored json
) language plpgsql security definer
set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan as $$
#variable_conflict use_column
declare
    v_becomes_due boolean;
    v_count bigint := case when p_id2 is null then 1 else 2 end;
begin
    perform chatmemory.enter(p_tenant);
    at := clock_timestamp();
    update chatmemory.sessions s set
        last_seq = s.last_seq + v_count, message_count = s.message_count + v_count,
        token_count = s.token_count + p_tokens1 + coalesce(p_tokens2, 0), title = coalesce(s.title, p_title),
        last_message_at = greatest(s.last_message_at, coalesce(p_created_at1, at),
            case when v_count = 2 then coalesce(p_created_at2, at) end),
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
    if v_count = 1 then
        insert into chatmemory.messages
            (tenant_id, session_id, seq, id, role, content, content_json, metadata, tokens, token_encoding, created_at)
            values (p_tenant, p_session, last_seq, p_id1, p_role1, p_content1, p_content_json1, p_metadata1,
                    p_tokens1, p_encoding, coalesce(p_created_at1, at));
    else
        insert into chatmemory.messages
            (tenant_id, session_id, seq, id, role, content, content_json, metadata, tokens, token_encoding, created_at)
            values (p_tenant, p_session, first_seq, p_id1, p_role1, p_content1, p_content_json1, p_metadata1,
                    p_tokens1, p_encoding, coalesce(p_created_at1, at)),
                   (p_tenant, p_session, last_seq, p_id2, p_role2, p_content2, p_content_json2, p_metadata2,
                    p_tokens2, p_encoding, coalesce(p_created_at2, at));
    end if;
    if v_becomes_due then
        perform chatmemory.mark_due(p_tenant, p_session);
    end if;
end $$;
