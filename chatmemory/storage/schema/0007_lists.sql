-- Lists by page: each index holds a list in its order, so that the thousandth page costs as the first. Within an hour of
-- last activity, and a minute of creation, a page sorts: the exact time of activity would change with every append. None
-- begins with the tenant or is partial: before Postgres has analysed a table it takes such an index for as good as the
-- primary key, and reads all sessions of the tenant to find one.
alter table chatmemory.sessions
    add column listed boolean generated always as (deleted_at is null) stored,
    add column created_minute timestamp generated always as (
        date_trunc('minute', created_at at time zone 'UTC')) stored;
drop index chatmemory.sessions_of_user;
create index sessions_of_user on chatmemory.sessions (user_id, tenant_id, created_minute);
create index sessions_of_user_by_activity on chatmemory.sessions (user_id, tenant_id, last_active_hour);
create index sessions_by_creation on chatmemory.sessions (listed, tenant_id, created_minute);
create index sessions_by_activity on chatmemory.sessions (listed, tenant_id, last_active_hour);

drop index chatmemory.memories_of_user;
create index memories_of_user on chatmemory.memories (user_id, tenant_id, kind, valid_from, id);
create index memories_by_kind on chatmemory.memories (kind, tenant_id, valid_from, id);

drop index chatmemory.store_items_of_user;
create index store_items_of_user on chatmemory.store_items (user_id, tenant_id, number);
create index store_items_by_number on chatmemory.store_items (tenant_id, number);
