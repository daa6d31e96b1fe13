-- revision: 1; owner: app
-- Lock a user: one transaction at a time resumes, creates or restores the user's sessions, so that counting them and
-- creating one are a single step. To avoid deadlocks, the lock is taken before any session is locked.
create or replace function chatmemory.lock_user(p_tenant text, p_user text)
returns void language sql security definer set search_path = pg_catalog, pg_temp as $$
    select pg_advisory_xact_lock(hashtextextended(p_user, hashtextextended(p_tenant, 0)));
$$;
