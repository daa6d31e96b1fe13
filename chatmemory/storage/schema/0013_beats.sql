-- Seconds without activity after which an active run counts as lost, because its process beats; null: it does not.
alter table chatmemory.sessions add column lost_after_seconds integer;
create index sessions_beating on chatmemory.sessions (last_active_hour, tenant_id)
    where ended_at is null and deleted_at is null and lost_after_seconds is not null;
