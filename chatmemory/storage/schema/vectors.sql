-- What needs pgvector: without it everything works, and recall is by words alone. Run again at every migration, so
-- that an extension that was installed later is found.
do $$
declare
    v_schema text;
begin
    if not exists (select from pg_available_extensions where name = 'vector') then
        return;
    end if;
    begin
        create extension if not exists vector;
    exception when insufficient_privilege then
        return;
    end;
    select n.nspname into v_schema
        from pg_extension e join pg_namespace n on n.oid = e.extnamespace where e.extname = 'vector';
    if to_regprocedure(format('%1$I.binary_quantize(%1$I.vector)', v_schema)) is null then
        return;                                     -- older than 0.7
    end if;
    execute format($sql$
        create table if not exists chatmemory.memory_vectors (
            tenant_id text not null,
            user_id text not null,
            model text not null,
            memory_id text not null,
            part smallint not null,             -- of a long text
            kind "char" not null,
            place bigint not null,
            embedding %1$I.vector not null,
            primary key (tenant_id, memory_id, model, part),
            foreign key (tenant_id, memory_id) references chatmemory.memories on delete cascade
        );
        alter table chatmemory.memory_vectors
            add column if not exists signs bit varying generated always as (%1$I.binary_quantize(embedding)) stored;
        drop index if exists chatmemory.memory_vectors_of_user;
        create index if not exists memory_vectors_by_user on chatmemory.memory_vectors (user_id, tenant_id, model)
            include (kind, place, signs, memory_id, part);
        alter table chatmemory.memory_vectors enable row level security;
        alter table chatmemory.memory_vectors force row level security;
        drop policy if exists one_tenant on chatmemory.memory_vectors;
        create policy one_tenant on chatmemory.memory_vectors to chatmemory_app
            using (tenant_id = current_setting('chatmemory.tenant_id', true))
            with check (tenant_id = current_setting('chatmemory.tenant_id', true));
        grant select, insert, update, delete on chatmemory.memory_vectors to chatmemory_app;

        -- The p_top vectors nearest to a query, by memory. Of users with more than 20,000 memories, three times as many
        -- are looked at: those that differ from the query in the fewest signs, which the index alone holds.
        create or replace function chatmemory.find_near(
            p_tenant text, p_users text[], p_kinds "char"[], p_model text, p_query text, p_top bigint,
            p_from bigint, p_to bigint
        ) returns table (memory_id text, similarity float8) language plpgsql security definer
        set search_path = pg_catalog, %1$I, pg_temp set jit = off as $body$
        declare
            v_query vector := p_query::vector;
            v_signs bit varying := binary_quantize(v_query);
            v_total bigint;
        begin
            perform set_config('chatmemory.tenant_id', p_tenant, true);
            select sum(u.places) into v_total
                from chatmemory.memory_users u where u.tenant_id = p_tenant and u.user_id = any(p_users);
            if v_total > 20000 then
                return query
                    with alike as materialized (
                        select n.memory_id, n.part from chatmemory.memory_vectors n
                        where n.tenant_id = p_tenant and n.user_id = any(p_users) and n.model = p_model
                          and n.kind = any(p_kinds)
                          and (n.kind <> 'e' or n.place between p_from and p_to or n.place & 16777215 = 0)
                          and length(n.signs) = length(v_signs)
                        order by hamming_distance(n.signs, v_signs) limit 3 * p_top
                    )
                    select v.memory_id, max(-v.distance) from (
                        select a.memory_id, n.embedding <#> v_query as distance
                        from alike a join chatmemory.memory_vectors n on n.tenant_id = p_tenant
                         and n.memory_id = a.memory_id and n.model = p_model and n.part = a.part
                        order by 2 limit p_top) v
                    group by 1;
            else
                return query
                    select v.memory_id, max(-v.distance) from (
                        select n.memory_id, n.embedding <#> v_query as distance
                        from chatmemory.memory_vectors n
                        where n.tenant_id = p_tenant and n.user_id = any(p_users) and n.model = p_model
                          and n.kind = any(p_kinds)
                          and (n.kind <> 'e' or n.place between p_from and p_to or n.place & 16777215 = 0)
                          and vector_dims(n.embedding) = vector_dims(v_query)
                        order by 2 limit p_top) v
                    group by 1;
            end if;
        end $body$;

        create or replace function chatmemory.add_vectors(p_tenant text, p_model text, p_vectors json)
        returns void language plpgsql security definer set search_path = pg_catalog, %1$I, pg_temp as $body$
        declare
            v_dimensions text;
        begin
            perform set_config('chatmemory.tenant_id', p_tenant, true);
            select vector_dims(n.embedding) || ' ' || vector_dims(g.embedding) into v_dimensions
                from (select m.user_id, v.embedding::vector
                      from json_to_recordset(p_vectors) as v(memory_id text, embedding text)
                      join chatmemory.memories m on m.tenant_id = p_tenant and m.id = v.memory_id limit 1) g
                cross join lateral (select n.embedding from chatmemory.memory_vectors n
                      where n.tenant_id = p_tenant and n.user_id = g.user_id and n.model = p_model limit 1) n
                where vector_dims(n.embedding) <> vector_dims(g.embedding);
            if found then
                raise exception 'another dimension' using errcode = 'CM422', detail = v_dimensions;
            end if;
            insert into chatmemory.memory_vectors
                (tenant_id, user_id, model, memory_id, part, kind, place, embedding)
                select p_tenant, m.user_id, p_model, m.id, v.part, left(m.kind, 1)::"char", m.place, v.embedding::vector
                from json_to_recordset(p_vectors) as v(memory_id text, part smallint, embedding text)
                join chatmemory.memories m on m.tenant_id = p_tenant and m.id = v.memory_id
                on conflict do nothing;
        end $body$;
    $sql$, v_schema);
end $$;
