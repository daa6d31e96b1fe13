-- What a run is doing, and what it has measured.

alter table chatmemory.sessions
    add column run_status text,
    add column run_endings json,            -- the final run status for each end of the lifecycle, as its kind has it
    add column run_ended_at timestamptz,    -- since when the run status is a final one
    add column progress double precision check (progress between 0 and 100),
    add column stage text,
    add column error text;

-- Points of one metric, packed: a row for at most 256 of them, with its extremes beside. COPY cannot write to tables
-- with row-level security, and a row for each point would make a curve of a million a scan of a million rows.
create table chatmemory.metrics (
    tenant_id text not null,
    session_id text not null,
    name text not null,
    id uuid not null,
    count bigint not null,
    steps bigint[] not null,
    readings double precision[] not null,
    times double precision[] not null,      -- seconds since 1970
    from_step bigint not null,
    to_step bigint not null,
    low double precision not null,          -- NaN only where there is nothing else
    low_step bigint not null,
    low_at double precision not null,
    high double precision not null,
    high_step bigint not null,
    high_at double precision not null,
    primary key (tenant_id, session_id, name, id),
    foreign key (tenant_id, session_id) references chatmemory.sessions on delete cascade
);

alter table chatmemory.metrics enable row level security;
alter table chatmemory.metrics force row level security;
create policy one_tenant on chatmemory.metrics to chatmemory_app
    using (tenant_id = current_setting('chatmemory.tenant_id', true))
    with check (tenant_id = current_setting('chatmemory.tenant_id', true));
grant select, insert, update, delete on chatmemory.metrics to chatmemory_app;
