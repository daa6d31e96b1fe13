-- Runs among other sessions: the search for runs, and their list, read runs alone.
create index runs_by_creation on chatmemory.sessions ((run_status is not null), tenant_id, created_minute);
