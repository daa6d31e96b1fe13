-- revision: 1; owner: app
-- One transaction at a time resumes, creates or restores sessions of a user: counting and creating are one step, and
-- two callers may adopt the same id at once. To keep out deadlocks it is taken before any session is locked.
create or replace function chatmemory.lock_user(p_tenant text, p_user text)
returns void language sql security definer set search_path = pg_catalog, pg_temp as $$
    select pg_advisory_xact_lock(hashtextextended(p_user, hashtextextended(p_tenant, 0)));
$$;
