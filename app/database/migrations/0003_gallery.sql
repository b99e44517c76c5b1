-- The gallery: photos of people. Each change gets a revision under the lock of the one row of `head`, so that revisions
-- become visible in their order: who has read up to a revision has missed nothing before it.
create table head (
  one boolean primary key default true check (one),
  id uuid not null default gen_random_uuid(),      -- of this database, and another one after a backup was restored
  revision bigint not null default 0,
  oldest bigint not null default 0                 -- deletions up to this revision are not remembered any more
);
insert into head default values;

create table person (
  id uuid primary key,
  name text,                                       -- null: gone, and so is the name
  gone boolean not null default false,
  deleted boolean not null default false,          -- gone because the photos were deleted, not given to another person
  revision bigint not null,
  changed_by uuid references device(id) on delete set null,
  changed_at timestamptz not null default now(),
  check (gone = (name is null))
);
create unique index person_name on person(name) where not gone;
create index person_revision on person(revision);

create table photo (
  sha256 bytea primary key check (length(sha256) = 32),
  person uuid references person(id),
  file_name text not null,
  data bytea,                                      -- null: gone, and so are the crop and the embeddings
  crop bytea,                                      -- the aligned face as PNG, for embedders to come
  gone boolean not null default false,
  revision bigint not null,
  changed_by uuid references device(id) on delete set null,
  changed_at timestamptz not null default now(),
  check (gone = (data is null)),
  check (gone = (person is null))
);
create index photo_revision on photo(revision);
create index photo_person on photo(person) where not gone;

create table embedding (
  photo bytea not null references photo(sha256) on delete cascade,
  embedder text not null,                          -- embeddings of different embedders are never compared
  vector bytea not null,                           -- float32, little endian
  primary key (photo, embedder)
);

create table conflict (
  device uuid not null references device(id) on delete cascade,
  subject text not null,
  kind text not null,
  mine text not null,
  theirs text not null,
  recorded_at timestamptz not null default now(),
  primary key (device, subject)
);

create function numbered() returns trigger language plpgsql as $$
begin
  update head set revision = revision + 1 returning revision into new.revision;
  perform pg_notify('gallery', '');
  return new;
end
$$;
create trigger numbered before insert or update on person for each row execute function numbered();
create trigger numbered before insert or update on photo for each row execute function numbered();
