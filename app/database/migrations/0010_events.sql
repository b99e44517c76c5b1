-- What happened, on all devices: a partition for each month (UTC) of `time`. A line of a log keeps its time, so an event
-- that comes twice meets its first copy in the same partition. (device, log, sequence) is its idempotency key.
create table event (
  device text not null,
  log text not null,
  sequence bigint not null,
  time timestamptz not null,
  kind text not null,
  channel text,
  visit bigint,
  name text,
  stranger text,
  body jsonb not null,
  stored_at timestamptz not null default now(),
  primary key (device, log, sequence, time)
) partition by range (time);

create index event_time on event (time);
create index event_name on event (name, time) where name is not null;
create index event_stranger on event (device, stranger, time) where stranger is not null;

-- For how long events are kept; for ever without a row. Set by the owner (`fleet retention`), enforced by every device.
create table event_retention (
  one boolean primary key default true check (one),
  keep_days integer not null check (keep_days > 0)
);

-- Devices may insert, but make and drop no tables of their own choice: these two run with the rights of their owner.
create function event_partition(month date) returns void
language plpgsql security definer as $$
declare
  first date := date_trunc('month', month)::date;
  part text := to_char(first, '"event_"YYYY_MM');
begin
  if to_regclass(part) is null then
    perform pg_advisory_xact_lock(7161446, 1);
    execute format(
      'create table if not exists %I partition of event for values from (%L) to (%L)',
      part, first::timestamp at time zone 'UTC', (first + interval '1 month')::timestamp at time zone 'UTC'
    );
  end if;
end $$;

-- Drops the months that are over, and deletes what is too old in the one that is not quite.
-- Whether there is more to delete: it is called again then, so that no call takes long.
create function event_expire() returns boolean
language plpgsql security definer as $$
declare
  oldest timestamptz := (select now() - make_interval(days => keep_days) from event_retention);
  part record;
  deleted integer;
begin
  if oldest is null or not pg_try_advisory_xact_lock(7161446, 2) then
    return false;
  end if;
  for part in
    select child.relname as name, to_date(substr(child.relname, 7), 'YYYY_MM') as first
    from pg_inherits join pg_class child on child.oid = inhrelid where inhparent = 'event'::regclass
  loop
    if (part.first + interval '1 month')::timestamp at time zone 'UTC' <= oldest then
      execute format('drop table %I', part.name);
    end if;
  end loop;
  delete from event where (device, log, sequence, time) in
    (select device, log, sequence, time from event where time < oldest order by time limit 10000);
  get diagnostics deleted = row_count;
  return deleted = 10000;
end $$;

-- So that no temporary table of a device takes the place of one of these.
do $$ begin
  execute format('alter function event_partition(date) set search_path = %I, pg_temp', current_schema());
  execute format('alter function event_expire() set search_path = %I, pg_temp', current_schema());
end $$;
