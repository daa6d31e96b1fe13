-- Long-term memory: how far each session has been learnt from, what was learnt, and what that cost.

-- Every session, and every memory that is no episode, has a number of its own. A place is a number and a seq: the
-- turns of a session lie side by side, and nothing else lies near them.
create sequence chatmemory.numbers maxvalue 549755813887;
grant usage on sequence chatmemory.numbers to chatmemory_app;

alter table chatmemory.sessions
    add column number bigint not null default nextval('chatmemory.numbers'),
    add column summary text,                            -- of what stands behind the watermark
    add column summary_seq bigint not null default 0,   -- the watermark: up to here it has been learnt from
    add column summary_tokens bigint not null default 0, -- token_count as it was there
    add column lease_owner text,
    add column lease_until timestamptz,
    add column attempts integer not null default 0,
    add column next_attempt_at timestamptz,
    add column last_failure text,
    add column parked_at timestamptz;

-- None of these holds a column that an append changes.
create index sessions_to_learn_from on chatmemory.sessions (ended_at)
    where ended_at is not null and not processed_for_ltm and deleted_at is null;
create index sessions_parked on chatmemory.sessions (parked_at) where parked_at is not null;

-- One row a user, and one with the empty id for what the whole tenant shares: its lock makes "is this known?" and
-- "then add it" one step.
create table chatmemory.memory_users (
    tenant_id text not null,
    user_id text not null,
    places bigint not null default 0,   -- how many memories are indexed
    primary key (tenant_id, user_id)
);

create table chatmemory.memories (
    tenant_id text not null,
    id text not null,
    user_id text not null,              -- '': shared by the tenant
    kind text not null check (kind in ('episode', 'summary', 'fact', 'preference', 'result')),
    text text not null,
    place bigint not null,
    speaker text,
    speaker_terms text[],
    trust smallint not null,            -- 0 tool, 1 assistant, 2 user, 3 app: the lowest of its sources
    importance real not null,
    valid_from timestamptz not null,
    valid_to timestamptz,
    superseded_by text,
    digest bytea,                       -- of a fact's normalised text, to know it again
    lexemes tsvector not null,
    confirmations integer not null default 0,
    recalled_at timestamptz,
    recall_count bigint not null default 0,
    pruned_at timestamptz,
    metadata json,
    created_at timestamptz not null default clock_timestamp(),
    primary key (tenant_id, id)
);
create index memories_of_user on chatmemory.memories (user_id, tenant_id, kind, valid_from);
create index memories_by_place on chatmemory.memories (place);
create index memories_known on chatmemory.memories (digest) where digest is not null and valid_to is null;

create table chatmemory.memory_sources (
    tenant_id text not null,
    memory_id text not null,
    session_id text not null,
    from_seq bigint not null,
    to_seq bigint not null,
    primary key (tenant_id, memory_id, session_id, from_seq, to_seq),
    foreign key (tenant_id, memory_id) references chatmemory.memories on delete cascade,
    foreign key (tenant_id, session_id) references chatmemory.sessions on delete cascade
);
create index memory_sources_of_session on chatmemory.memory_sources (session_id, tenant_id);

-- The words of each memory. A table and not a GIN index: under row-level security only equality of plain values may
-- use an index, and this one holds one user's words side by side, however many other users there are.
create table chatmemory.memory_terms (
    tenant_id text not null,
    user_id text not null,
    term text not null,
    place bigint not null,
    kind "char" not null,               -- the first letter of the memory's kind
    count smallint not null,            -- how often it stands there
    length smallint not null,           -- of how many
    primary key (tenant_id, user_id, term, place) include (kind, count, length)
);

-- What language models and embedders were paid for.
create table chatmemory.spend (
    tenant_id text not null,
    number bigint generated always as identity,
    user_id text not null,
    session_id text,
    at timestamptz not null default clock_timestamp(),
    purpose text not null,
    model text not null,
    input_tokens bigint not null,
    output_tokens bigint not null,
    primary key (tenant_id, number)
);
create index spend_at on chatmemory.spend (at, tenant_id);
create index spend_of_user on chatmemory.spend (user_id, tenant_id);

do $$
declare
    v_table text;
begin
    foreach v_table in array array['memory_users', 'memories', 'memory_sources', 'memory_terms', 'spend'] loop
        execute format('alter table chatmemory.%I enable row level security', v_table);
        execute format('alter table chatmemory.%I force row level security', v_table);
        execute format(
            'create policy one_tenant on chatmemory.%I to chatmemory_app '
            'using (tenant_id = current_setting(''chatmemory.tenant_id'', true)) '
            'with check (tenant_id = current_setting(''chatmemory.tenant_id'', true))', v_table);
        execute format('grant select, insert, update, delete on chatmemory.%I to chatmemory_app', v_table);
    end loop;
end $$;
