-- The functions that are installed, each with its revision, so that an older release never replaces a newer one; and
-- under 'oldest release' the number of the oldest release that may go on working with this schema.

create table chatmemory.schema_parts (
    name text primary key,
    revision integer not null,
    checksum text not null,
    installed_at timestamptz not null default now()
);
