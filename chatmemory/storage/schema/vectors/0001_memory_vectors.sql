-- The vectors of memories, if Postgres has pgvector; {vector} is the schema of the extension.
create table if not exists chatmemory.memory_vectors (
    tenant_id text not null,
    user_id text not null,
    model text not null,
    memory_id text not null,
    part smallint not null,             -- of a long text
    kind "char" not null,
    place bigint not null,
    embedding {vector}.vector not null,
    primary key (tenant_id, memory_id, model, part),
    foreign key (tenant_id, memory_id) references chatmemory.memories on delete cascade
);
alter table chatmemory.memory_vectors
    add column if not exists signs bit varying generated always as ({vector}.binary_quantize(embedding)) stored;
drop index if exists chatmemory.memory_vectors_of_user;
create index if not exists memory_vectors_by_user on chatmemory.memory_vectors (user_id, tenant_id, model)
    include (kind, place, signs, memory_id, part);
