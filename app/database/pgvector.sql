-- Faces as pgvector compares them, for `fleet search`. All rows follow from `embedding` and `stranger`, and whoever
-- searches adds what is missing, also after a crash of the server, which empties unlogged tables. They are tables of
-- their own, so that nothing else needs the extension.
drop table if exists search_photo, search_stranger;

create unlogged table search_photo (
  photo bytea not null,
  embedder text not null,
  face vector,                                     -- of length 1; null: what is stored cannot be compared
  primary key (photo, embedder),
  foreign key (photo, embedder) references embedding on delete cascade
);

create unlogged table search_stranger (
  stranger uuid primary key references stranger on delete cascade,
  embedder text not null,
  revision bigint not null,                        -- of the stranger, when this was added
  face vector
);
comment on table search_stranger is 'version 1';   -- another one when these tables change
create index search_stranger_revision on search_stranger(embedder, revision);
create index if not exists stranger_merged_into on stranger(merged_into) where merged_into is not null;

-- Long vectors would be stored outside of their rows, which takes a scan much longer.
alter table search_photo alter column face set storage main;
alter table search_stranger alter column face set storage main;

-- Whoever is forgotten, or was seen better, is gone from here in the same transaction. Devices have no right to delete
-- rows here, so this runs with the rights of the owner. A backup may have been restored without the tables.
create or replace function search_forget() returns trigger
language plpgsql security definer as $$
begin
  if tg_table_name = 'stranger' and to_regclass('search_stranger') is not null then
    delete from search_stranger where stranger = old.id;
  elsif tg_table_name = 'embedding' and to_regclass('search_photo') is not null then
    delete from search_photo where photo = old.photo and embedder = old.embedder;
  end if;
  return null;
end $$;

-- So that no temporary table of a device takes the place of one of these.
do $$ begin
  execute format('alter function search_forget() set search_path = %I, pg_temp', current_schema());
end $$;

create or replace trigger search_forget after update of prototype, embedder on stranger for each row
  when (old.prototype is distinct from new.prototype or old.embedder <> new.embedder)
  execute function search_forget();
create or replace trigger search_forget after update of vector on embedding for each row
  when (old.vector <> new.vector) execute function search_forget();
