-- Sessions, their messages and their timeline. Every key starts with the tenant.

create table chatmemory.schema_migrations (
    version integer primary key,
    name text not null,
    checksum text not null,
    applied_at timestamptz not null default now()
);

create table chatmemory.sessions (
    tenant_id text not null,
    id text not null,
    user_id text not null,
    kind text not null,
    status text not null default 'active'
        check (status in ('active', 'completed', 'failed', 'cancelled', 'expired')),
    title text,
    metadata json,          -- json and not jsonb: what was given comes back to the letter
    details json,
    results json,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    last_active_at timestamptz not null,
    last_message_at timestamptz,
    ended_at timestamptz,
    archived_at timestamptz,
    deleted_at timestamptz,
    message_count bigint not null default 0,
    token_count bigint not null default 0,
    last_seq bigint not null default 0,
    processed_for_ltm boolean not null default false,
    parent_id text,
    continues text,         -- the adopted id under which this session is found again
    primary key (tenant_id, id)
) with (fillfactor = 70);   -- room for the counters to change in place: no index holds them

-- These do not begin with the tenant, so that looking up a session by its id never prefers them to the primary key,
-- not even before the tables were first analysed.
create index sessions_of_user on chatmemory.sessions (user_id, tenant_id);
create index sessions_continuing on chatmemory.sessions (continues, tenant_id) where continues is not null;
create index sessions_active on chatmemory.sessions (user_id, tenant_id, kind)
    where ended_at is null and deleted_at is null;
create index sessions_to_archive on chatmemory.sessions (ended_at)
    where processed_for_ltm and archived_at is null and ended_at is not null;

create table chatmemory.messages (
    tenant_id text not null,
    session_id text not null,
    seq bigint not null,
    id text not null,
    role text not null check (role in ('system', 'user', 'assistant', 'tool')),
    content text not null,  -- the readable text
    content_json json,      -- the blocks, where the content is a list
    metadata json,
    tokens integer,         -- the cost in a prompt
    token_encoding text,    -- by which encoding, or by which estimate, it was counted
    created_at timestamptz not null,
    primary key (tenant_id, session_id, seq),
    unique (tenant_id, id, session_id),  -- in this order it is no rival to the primary key for reading a session
    foreign key (tenant_id, session_id) references chatmemory.sessions on delete cascade
);

create table chatmemory.events (
    tenant_id text not null,
    session_id text not null,
    number bigint generated always as identity,
    at timestamptz not null default clock_timestamp(),
    type text not null,
    data json,
    primary key (tenant_id, session_id, number),
    foreign key (tenant_id, session_id) references chatmemory.sessions on delete cascade
);

-- Row-level security, forced for the owner too. Without a tenant no row is seen.
alter table chatmemory.schema_migrations enable row level security;
alter table chatmemory.schema_migrations force row level security;
create policy versions_are_public on chatmemory.schema_migrations using (true) with check (true);

alter table chatmemory.sessions enable row level security;
alter table chatmemory.sessions force row level security;
create policy one_tenant on chatmemory.sessions to chatmemory_app
    using (tenant_id = current_setting('chatmemory.tenant_id', true))
    with check (tenant_id = current_setting('chatmemory.tenant_id', true));
create policy background_work on chatmemory.sessions to chatmemory_worker
    using (current_user = 'chatmemory_worker') with check (current_user = 'chatmemory_worker');

alter table chatmemory.messages enable row level security;
alter table chatmemory.messages force row level security;
create policy one_tenant on chatmemory.messages to chatmemory_app
    using (tenant_id = current_setting('chatmemory.tenant_id', true))
    with check (tenant_id = current_setting('chatmemory.tenant_id', true));

alter table chatmemory.events enable row level security;
alter table chatmemory.events force row level security;
create policy one_tenant on chatmemory.events to chatmemory_app
    using (tenant_id = current_setting('chatmemory.tenant_id', true))
    with check (tenant_id = current_setting('chatmemory.tenant_id', true));
create policy background_work on chatmemory.events for insert to chatmemory_worker
    with check (current_user = 'chatmemory_worker');

grant usage on schema chatmemory to chatmemory_app, chatmemory_worker;
grant select on chatmemory.schema_migrations to chatmemory_app, chatmemory_worker;
grant select, insert, update, delete on chatmemory.sessions, chatmemory.messages, chatmemory.events to chatmemory_app;
grant select, update on chatmemory.sessions to chatmemory_worker;
grant insert on chatmemory.events to chatmemory_worker;
