"""Who may do what in the database, and over which connections."""

import re

import numpy as np
import pytest
from certificates import certificate
from postgres import PASSWORD
from shipped import ROOT

from app.database.connection import connected, reported
from app.database.devices import devices, greet, require_may_remove
from app.database.gallery import Accepted, NewRow, SharedGallery
from app.database.ids import new_id
from app.database.pgvector import prepare_search, server_search
from app.database.schema import is_owner, migrate, require_schema
from app.database.search import FleetSearch
from app.database.strangers import SeenStranger, SharedStrangers
from app.errors import DatabaseError
from app.settings import FleetSettings


@pytest.fixture
def roles(postgres, database):
    return documented_roles(postgres, database)


@pytest.fixture
def roles_with_pgvector(with_pgvector):
    """The same on a server with pgvector, which an administrator has created in the database."""
    database = with_pgvector.database()
    with_pgvector.sql(database.rpartition("/")[2], "create extension vector")
    yield documented_roles(with_pgvector, database)
    with_pgvector.drop(database)


def documented_roles(postgres, database):
    """Settings of the owner and of a device, whose rights are those of the SQL in the documentation."""
    name = database.rpartition("/")[2]
    text = (ROOT / "docs" / "fleet.md").read_text(encoding="utf-8")
    sql = re.search(r"```sql\n(.*?)```", text.partition("## Roles")[2], re.DOTALL)[1]
    # Roles are those of all databases of a server.
    sql = sql.replace("faces_", f"{name}_").replace("database faces", f"database {name}").replace("…", PASSWORD)
    postgres.sql(name, f"create role {name}_owner login password '{PASSWORD}'")
    postgres.sql(name, f"alter database {name} owner to {name}_owner")
    owner, device = (
        FleetSettings(database=postgres.address(name, f"{name}_{role}:{PASSWORD}")) for role in ("owner", "device")
    )
    with connected(owner) as connection:
        migrate(connection)
        prepare_search(connection)
    postgres.sql(name, *filter(str.strip, sql.split(";")))
    return owner, device


def test_a_device_can_do_all_its_work(roles):
    do_all_work(roles[1])


def test_a_device_can_do_all_its_work_with_pgvector(roles_with_pgvector):
    do_all_work(roles_with_pgvector[1])


def test_a_device_uses_pgvector_that_came_after_its_role(roles_with_pgvector):
    owner, device = roles_with_pgvector
    with connected(owner) as connection:
        connection.execute("drop table search_photo, search_stranger")
        prepare_search(connection)
    do_all_work(device)


def do_all_work(device):
    with connected(device) as connection:
        require_schema(connection)
        own = new_id()
        assert greet(connection, own, "a", "m", "1", [new_id()])
        gallery = SharedGallery(connection, own)
        assert isinstance(gallery.add(NewRow("00" * 32, "1.jpg", b"1", None), "Ann", None), Accepted)
        gallery.add_embedding("00" * 32, "m", b"1234")
        search, face = FleetSearch(connection, "m"), np.ones((1, 1), np.float32)
        assert len(search.people(face, 3)[0]) == 1
        gallery.move("00" * 32, "Eva", 2)
        gallery.remove("00" * 32)
        gallery.keep_conflicts([("photo 1", "photo", "Ann", "Eva")])
        gallery.forget_old_deletions()
        strangers = SharedStrangers(connection, own)
        seen = SeenStranger(new_id(), 1, "x", "m", b"ab", 1.0, 2, 0.0, 1.0, 4e9)
        for weight in (1.0, 2.0):
            strangers.seen(seen._replace(prototype=b"a%d" % weight, weight=weight))
            assert len(search.strangers(face, 3)[0]) == 1
        assert strangers.is_merger("m")
        strangers.leave(1)
        strangers.expire()
        assert strangers.sightings() == []
        assert search.people(face, 3) == search.strangers(face, 3) == [[]]
        connection.execute("select event_partition('2026-11-01')")
        connection.execute("select event_expire()")


def test_only_the_owner_removes_a_device(roles):
    owner, device = roles
    with connected(device) as connection:
        assert not is_owner(connection)
        with pytest.raises(DatabaseError, match="owner"):
            require_may_remove(connection)
        own, other = new_id(), new_id()
        for one in (own, other):
            greet(connection, one, one, "m", "1")
        kept_by_both, kept_by_one = new_id(), new_id()
        for one, number, stranger in ((own, 1, kept_by_both), (other, 1, kept_by_both), (own, 2, kept_by_one)):
            seen = SeenStranger(stranger, number, "x", "m", b"ab", 1.0, 2, 0.0, 1.0, 4e9)
            assert SharedStrangers(connection, one).seen(seen)
        SharedGallery(connection, own).keep_conflicts([("photo 1", "photo", "Ann", "Eva")])
    with connected(owner) as connection:
        assert is_owner(connection)
        require_may_remove(connection)
        assert SharedStrangers(connection, own).remove_device() == 1
        assert [row.id for row in devices(connection)] == [other]
        assert SharedGallery(connection, other).conflicts() == []
        gone = connection.execute("select id::text, prototype is null from stranger where gone").fetchall()
        assert gone == [(kept_by_one, True)]


FORBIDDEN = [
    "create table mine (id int)",
    "create temporary table mine (id int)",
    "create schema mine",
    "create function mine() returns int language sql as 'select 1'",
    "drop table photo",
    "drop table event cascade",
    "truncate photo cascade",
    "truncate event",
    "alter table photo add column mine int",
    "alter table photo disable trigger numbered",
    "drop trigger numbered on photo",
    "drop function numbered",
    "create or replace function numbered() returns trigger language plpgsql as 'begin return new; end'",
    "create index on photo(file_name)",
    "delete from schema_version",
    "update schema_version set number = 1",
    "insert into schema_version values (9999, 'x')",
    "insert into event_retention (keep_days) values (1)",
    "update event_retention set keep_days = 1",
    "delete from event_retention",
    "delete from head",
    "insert into head(one) values (false)",
    "delete from stranger_head",
    "delete from device",
    "delete from event",
    "set role {owner}",
    "alter role {owner} password 'x'",
    "copy photo to program 'cat'",
    "select pg_read_file('postgresql.conf')",
    "drop database {name}",
]


FORBIDDEN_WITH_PGVECTOR = [
    "drop extension vector cascade",
    "alter extension vector update",
    "drop table search_photo",
    "truncate search_photo",
    "truncate search_stranger",
    "delete from search_photo",
    "delete from search_stranger",
    "alter table stranger disable trigger search_forget",
    "drop trigger search_forget on embedding",
    "create or replace function search_forget() returns trigger language plpgsql as 'begin return new; end'",
    "alter function search_forget() reset search_path",
    "create index on search_stranger using hnsw (face vector_cosine_ops)",
]


def test_a_device_cannot_change_tables_or_delete_what_is_not_its_business(roles):
    refused(roles, FORBIDDEN)


def test_a_device_cannot_change_what_pgvector_needs(roles_with_pgvector):
    with connected(roles_with_pgvector[1]) as connection:
        assert server_search(connection).is_on
    refused(roles_with_pgvector, FORBIDDEN_WITH_PGVECTOR)


def refused(roles, statements):
    owner, device = roles
    role, name = re.search(r"//(\w+):", owner.database)[1], owner.database.rpartition("/")[2]
    succeeded = []
    with connected(device) as connection:
        greet(connection, new_id(), "b", "m", "1")
        for statement in statements:
            try:
                with reported(device):
                    connection.execute(statement.format(owner=role, name=name))
                succeeded.append(statement)
            except DatabaseError as error:
                assert "docs/fleet.md" in str(error), statement
    assert succeeded == []


def test_only_the_certificate_that_was_agreed_upon_is_trusted(postgres, roles, tmp_path):
    """`sslmode=verify-full`, as the documentation asks for, with the right root certificate and with a wrong one."""
    right, key = certificate(tmp_path, "database")
    wrong, _ = certificate(tmp_path, "other")

    def use(query):
        settings = FleetSettings(database=f"{roles[1].database}?{query}")
        with connected(settings) as connection:
            require_schema(connection)
            return connection.pgconn.ssl_in_use

    with pytest.raises(DatabaseError, match="SSL"):
        use(f"sslmode=verify-full&sslrootcert={right}")  # the server has no TLS yet
    with postgres.encrypted(right, key):
        assert use(f"sslmode=verify-full&sslrootcert={right}")
        with pytest.raises(DatabaseError, match="certificate"):
            use(f"sslmode=verify-full&sslrootcert={wrong}")
        with pytest.raises(DatabaseError, match="certificate"):  # signed, but of another name
            use(f"sslmode=verify-full&sslrootcert={right}&host=localhost")
        with pytest.raises(DatabaseError):
            use("sslmode=disable")
