-- Items with a time to live: what is past expires_at is shown to nobody and removed by the next clean-up. A put, and a
-- read that asks for it, begin the time anew.
alter table chatmemory.store_items
    add column ttl interval,
    add column expires_at timestamptz;
-- For the tenants that have expired items, and for those of one tenant: with the first alone, before Postgres has
-- analysed the table, it reads all items of the tenant.
create index store_items_expiring on chatmemory.store_items (expires_at) where expires_at is not null;
create index store_items_of_tenant_expiring on chatmemory.store_items (tenant_id, expires_at)
    where expires_at is not null;
