-- revision: 1; owner: app
-- Return whether the newest entry in a session's timeline is a resume of the last half hour: an app that resumes at
-- every turn makes one visit.
create or replace function chatmemory.resumed_lately(p_tenant text, p_session text) returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select coalesce((
        select e.type in ('resumed', 'reopened') and e.at > clock_timestamp() - interval '30 minutes'
        from chatmemory.events e
        where e.tenant_id = p_tenant and e.session_id = p_session order by e.number desc limit 1), false);
$$;
