#!/bin/sh
# Runs once, in the container of PostgreSQL: an owner for the tables, and a role for the devices (docs/fleet.md).
set -eu
secrets=${SECRETS:-/run/secrets}
psql --no-psqlrc --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" \
  --set owner_password="$(cat "$secrets/owner-password")" --set device_password="$(cat "$secrets/device-password")" \
  --set database="$POSTGRES_DB" <<'SQL'
create role faces_owner login password :'owner_password';
create role faces_device login password :'device_password';
alter database :"database" owner to faces_owner;
alter schema public owner to faces_owner;
grant connect on database :"database" to faces_device;
grant usage on schema public to faces_device;
alter default privileges for role faces_owner in schema public grant select, insert, update, delete on tables to faces_device;
alter default privileges for role faces_owner in schema public grant usage on sequences to faces_device;
SQL
