-- Items of an app's own under namespaces and keys, as LangGraph's stores hold them.

create sequence chatmemory.item_numbers;
grant usage on sequence chatmemory.item_numbers to chatmemory_app;

create table chatmemory.store_items (
    tenant_id text not null,
    path text not null,                 -- the namespace as JSON: under row-level security only equality of plain
    key text not null,                  -- values may use an index
    user_id text not null,              -- '': of no user
    namespace text[] not null,
    value json not null,
    lexemes tsvector,                   -- null: not to be found by words
    number bigint not null default nextval('chatmemory.item_numbers'),  -- the newest put has the highest
    created_at timestamptz not null default clock_timestamp(),
    updated_at timestamptz not null default clock_timestamp(),
    primary key (tenant_id, path, key)
);
create index store_items_of_user on chatmemory.store_items (user_id, tenant_id);

alter table chatmemory.store_items enable row level security;
alter table chatmemory.store_items force row level security;
create policy one_tenant on chatmemory.store_items to chatmemory_app
    using (tenant_id = current_setting('chatmemory.tenant_id', true))
    with check (tenant_id = current_setting('chatmemory.tenant_id', true));
grant select, insert, update, delete on chatmemory.store_items to chatmemory_app;
