-- The vectors of items, several for one whose parts are embedded each; {vector} is the schema of the extension.
create table if not exists chatmemory.item_vectors (
    tenant_id text not null,
    path text not null,
    key text not null,
    model text not null,
    part integer not null,
    embedding {vector}.vector not null,
    primary key (tenant_id, path, key, part),
    foreign key (tenant_id, path, key) references chatmemory.store_items on delete cascade
);
