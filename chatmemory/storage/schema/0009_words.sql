-- Words in all scripts: the function `words` makes them. What was stored before has words of the older form. A user's
-- memories get new ones with the first recalls (renew_words); an item, when it is put again.
alter table chatmemory.memory_users
    add column old_words_below bigint not null default 9223372036854775807;  -- memories at lower places: 0, none
alter table chatmemory.memory_users alter column old_words_below set default 0;
alter table chatmemory.store_items add column old_words boolean not null default true;
