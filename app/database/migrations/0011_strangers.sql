-- Strangers of all devices. Ids are made on the devices; who is one person is decided by pairs, from which `merged_into`
-- follows in whatever order they came. Revisions as in `head`, but of their own: strangers come all the time.
create table stranger_head (
  one boolean primary key default true check (one),
  revision bigint not null default 0,
  unresolved boolean not null default false        -- pairs or names have changed, `merged_into` has not yet
);
insert into stranger_head default values;

create table stranger (
  id uuid primary key,
  embedder text not null,
  prototype bytea,                                 -- float16, little endian: the mean of the clear looks; null: gone
  weight real not null,
  looks integer not null,
  first_seen timestamptz not null,
  last_seen timestamptz not null,
  expires timestamptz not null,
  name text,
  merged_into uuid,                                -- null: this one survives
  gone boolean not null default false,
  compared boolean not null default false,
  revision bigint not null,
  check (gone = (prototype is null))
);
create index stranger_revision on stranger(revision);
create index stranger_new on stranger(embedder) where not compared and not gone;
create index stranger_last_seen on stranger(embedder, last_seen) where not gone;

-- Which number a device uses for whom: `stranger-7` of one device is not that of another.
create table stranger_at (
  device uuid not null references device(id) on delete cascade,
  number integer not null,
  stranger uuid not null references stranger(id),
  channel text not null,
  first_seen timestamptz not null,
  last_seen timestamptz not null,
  expires timestamptz not null,
  primary key (device, number)
);
create index stranger_at_stranger on stranger_at(stranger);

create table stranger_pair (
  low uuid not null,
  high uuid not null,
  same boolean not null,
  by_person boolean not null,                      -- a person's decision counts more than a comparison
  decided_at timestamptz not null default now(),
  primary key (low, high),
  check (low < high)
);

create function stranger_numbered() returns trigger language plpgsql as $$
begin
  update stranger_head set revision = revision + 1 returning revision into new.revision;
  perform pg_notify('strangers', '');
  return new;
end
$$;
create trigger numbered before insert or update of prototype, last_seen, name, merged_into, gone on stranger
  for each row execute function stranger_numbered();

-- Where and when somebody was: numbers of different devices that are one person have the same `person`.
create view stranger_seen as
  select coalesce(s.merged_into, s.id) as person, coalesce(root.name, s.name) as name, d.name as device,
    'stranger-' || at.number as stranger, at.channel, at.first_seen, at.last_seen
  from stranger_at at
  join stranger s on s.id = at.stranger
  left join stranger root on root.id = s.merged_into
  join device d on d.id = at.device;
