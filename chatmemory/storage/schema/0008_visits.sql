-- An idle end closes a visit, not the conversation. prior_summary: the summary of the ended session that a session
-- continues, the beginning of its own. imported_at: when a session was stored whose created_at was given. born_at: when
-- a session was stored; no later session with the same id has the same.
alter table chatmemory.sessions
    add column prior_summary text,
    add column imported_at timestamptz,
    add column born_at timestamptz generated always as (coalesce(imported_at, created_at)) stored;
