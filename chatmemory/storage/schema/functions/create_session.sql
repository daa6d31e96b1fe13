-- revision: 1; owner: app
-- Create a session, within the user's limit of active sessions of its kind.
-- p_declared is the declaration of its kind: what is learnt from it, after how many messages and tokens it is due, and
-- for a run its first run status, its endings and its progress.
-- p_continues is the adopted id under which the session will be found, p_after the ended session of the same user that
-- it continues. p_created_at, which may lie in the past, is when it was created elsewhere; null: now.
create or replace function chatmemory.create_session(
    p_tenant text, p_session text, p_user text, p_kind text, p_title text, p_metadata json, p_details json,
    p_continues text, p_after text, p_created_at timestamptz, p_max bigint, p_end_oldest boolean, p_declared json
) returns setof chatmemory.sessions language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_now timestamptz := clock_timestamp();
begin
    perform chatmemory.enter(p_tenant);
    perform chatmemory.lock_user(p_tenant, p_user);
    if exists (select from chatmemory.sessions s where s.tenant_id = p_tenant and s.id = p_session) then
        raise exception 'session exists' using errcode = 'CM423';
    end if;
    perform chatmemory.make_room(p_tenant, p_user, p_kind, p_max, p_end_oldest);
    return query
        insert into chatmemory.sessions (tenant_id, id, user_id, kind, title, metadata, details,
                created_at, imported_at, updated_at, last_active_at, parent_id, continues, prior_summary,
                learns, due_messages, due_tokens, run_status, run_endings, progress)
            values (p_tenant, p_session, p_user, p_kind, p_title, p_metadata, p_details,
                coalesce(p_created_at, v_now), case when p_created_at is not null then v_now end, v_now, v_now,
                coalesce(p_after, p_continues), p_continues,
                (select chatmemory.continued_summary(s.prior_summary, s.summary) from chatmemory.sessions s
                    where s.tenant_id = p_tenant and s.id = p_after and s.user_id = p_user),
                p_declared ->> 'learns',
                (p_declared ->> 'due_messages')::bigint, (p_declared ->> 'due_tokens')::bigint,
                p_declared ->> 'status', p_declared -> 'endings',
                (p_declared ->> 'progress')::double precision)
            returning *;
    insert into chatmemory.events (tenant_id, session_id, at, type, data)
        values (p_tenant, p_session, v_now, 'created',
            json_strip_nulls(json_build_object('continues', coalesce(p_after, p_continues))));
exception
    when unique_violation then
        raise exception 'session exists' using errcode = 'CM423';
end $$;
