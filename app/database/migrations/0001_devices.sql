-- Who uses the database. A device makes its id once and keeps it, whatever its name becomes.
create table device (
  id uuid primary key,
  name text not null,
  embedder text not null default '',
  program text not null default '',
  revision bigint not null default 0,
  first_seen timestamptz not null default now(),
  last_seen timestamptz not null default now()
);
