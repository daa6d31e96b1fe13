-- Lists by page: each index holds a list in its order, so that the thousandth page costs as the first. Last activity
-- stands in them by the hour only: an exact one would change with every append. Within an hour, a page sorts.
drop index chatmemory.sessions_of_user;
create index sessions_of_user on chatmemory.sessions (user_id, tenant_id, created_at, id);
create index sessions_of_user_by_activity on chatmemory.sessions (user_id, tenant_id, last_active_hour)
    where deleted_at is null;
create index sessions_by_creation on chatmemory.sessions (tenant_id, created_at, id) where deleted_at is null;
create index sessions_by_activity on chatmemory.sessions (tenant_id, last_active_hour) where deleted_at is null;

drop index chatmemory.memories_of_user;
create index memories_of_user on chatmemory.memories (user_id, tenant_id, kind, valid_from, id);
create index memories_by_kind on chatmemory.memories (kind, tenant_id, valid_from, id);

drop index chatmemory.store_items_of_user;
create index store_items_of_user on chatmemory.store_items (user_id, tenant_id, number);
create index store_items_by_number on chatmemory.store_items (tenant_id, number);
