-- Items with a time to live: what is past expires_at is shown to nobody and removed by the next clean-up. A put, and a
-- read that asks for it, begin the time anew.
alter table chatmemory.store_items
    add column ttl interval,
    add column expires_at timestamptz;
create index store_items_expiring on chatmemory.store_items (expires_at, tenant_id) where expires_at is not null;
