"""The tables on a real server: made once, brought up to date, never half."""

import contextlib
import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from postgres import MISSING, PASSWORD
from waiting import until

from app.database.connection import connect, connected, reported
from app.database.schema import Migration, applied, migrate, migrations, missing, require_schema
from app.errors import DatabaseError, SettingsError
from app.settings import FleetSettings

NAMESPACE = ["unshare", "--net"]
CAN_SEPARATE = (
    shutil.which("unshare") is not None
    and shutil.which("ip") is not None
    and subprocess.run([*NAMESPACE, "ip", "link", "set", "lo", "up"], capture_output=True, check=False).returncode == 0
)


@pytest.fixture
def fleet(database):
    return FleetSettings(database=database)


def test_numbers_of_migrations_are_unique():
    numbers = [migration.number for migration in migrations()]
    assert numbers == sorted(set(numbers))


def test_migrations_are_applied_once(fleet):
    with connected(fleet) as connection:
        assert applied(connection) == ()
        with pytest.raises(DatabaseError):
            require_schema(connection)
        assert migrate(connection) == migrations()
        assert migrate(connection) == []
        require_schema(connection)
        assert missing(connection) == []


def test_two_programs_that_migrate_at_once_apply_each_migration_once(fleet):
    done = []

    def run():
        with connected(fleet) as connection:
            done.append(len(migrate(connection)))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done) == [0, 0, 0, len(migrations())]


def test_a_migration_that_fails_leaves_nothing(fleet, monkeypatch):
    broken = [Migration(1, "good", "create table good (id int)"), Migration(2, "bad", "create table good (id int)")]
    monkeypatch.setattr("app.database.schema.migrations", lambda: broken)
    with pytest.raises(DatabaseError), connected(fleet) as connection:
        migrate(connection)
    with connected(fleet) as connection:
        assert applied(connection) == ()
        assert connection.execute("select to_regclass('good')").fetchone() == (None,)


def test_a_newer_database_can_be_used(fleet, monkeypatch):
    newer = [*migrations(), Migration(9999, "later", "create table later (id int)")]
    with monkeypatch.context() as patched, connected(fleet) as connection:
        patched.setattr("app.database.schema.migrations", lambda: newer)
        migrate(connection)
    with connected(fleet) as connection:
        require_schema(connection)
        assert applied(connection)[-1] == 9999


@pytest.mark.parametrize("how", ["in the address", "environment in the address", "setting"])
def test_the_password_reaches_the_server(postgres, database, monkeypatch, tmp_path, how):
    name = database.rpartition("/")[2]
    postgres.sql(name, f"create role a_device_of_{name} login password '{PASSWORD}'")
    address = postgres.address(name, f"a_device_of_{name}")
    user, host = address.split("@")
    monkeypatch.setenv("FACES_PASSWORD", PASSWORD)
    (tmp_path / "secret").write_text(PASSWORD + "\n")
    fleet = {
        "in the address": FleetSettings(database=f"{user}:{PASSWORD}@{host}"),
        "environment in the address": FleetSettings(database=f"{user}:${{FACES_PASSWORD}}@{host}"),
        "setting": FleetSettings(database=address, password=f"file:{tmp_path / 'secret'}"),
    }[how]
    with connected(fleet) as connection:
        assert connection.execute("select current_user").fetchone() == (f"a_device_of_{name}",)


def test_a_wrong_password_is_not_shown(postgres, database, monkeypatch):
    monkeypatch.setenv("FACES_PASSWORD", "hunter2hunter2")
    address = postgres.address(database.rpartition("/")[2], "nobody:${FACES_PASSWORD}")
    with pytest.raises(DatabaseError) as caught:
        connect(FleetSettings(database=address))
    assert "hunter2hunter2" not in str(caught.value)


@pytest.mark.parametrize("address", [None, "mysql://localhost/faces", "postgresql://a:b@localhost/faces"])
def test_an_address_that_cannot_be_meant_is_refused(address):
    with pytest.raises(SettingsError):
        connect(FleetSettings(database=address, password="env:X"))


def test_a_server_that_is_down_is_an_error_of_the_database(database):
    nowhere = database.replace(database.split(":")[-1].split("/")[0], "1")
    with pytest.raises(DatabaseError) as caught:
        connect(FleetSettings(database=nowhere))
    assert str(caught.value).count("Connection refused") == 1
    assert "Is the server running" not in str(caught.value)


@pytest.mark.parametrize("hosts", ["127.0.0.1:1,127.0.0.1:2", "localhost:1,localhost:1"])
def test_each_reason_why_no_host_can_be_reached_is_given_once(hosts):
    with pytest.raises(DatabaseError) as caught:
        connect(FleetSettings(database=f"postgresql://anyone@{hosts}/faces"))
    message = str(caught.value)
    reasons = message.partition(" cannot be opened: ")[2].split("; ")
    assert len(reasons) == len(set(reasons)) == message.count("Connection refused")
    assert {"127.0.0.1"} <= set(re.findall(r'at "([^"]+)"', message)) <= {"127.0.0.1", "::1"}
    assert "hostaddr" not in message


def test_a_connection_whose_first_statement_fails_is_closed(postgres, database):
    """The server refuses a negative time limit."""
    with pytest.raises(DatabaseError) as caught:
        connect(FleetSettings(database=database, timeout_s=-0.5), "leaks")
    assert "statement_timeout" in str(caught.value)
    open_ones = "select count(*) from pg_stat_activity where application_name like '%leaks'"
    until(lambda: postgres.sql("postgres", open_ones) == [(0,)])


def test_a_server_that_hangs_is_noticed_and_used_again(postgres, database):
    settings = FleetSettings(database=database, timeout_s=0.5)
    connection = connect(settings)
    with postgres.hanging():
        with pytest.raises(DatabaseError, match="has not answered"), reported(settings), connection.transaction():
            connection.execute("select 1")
        assert connection.closed
        with pytest.raises(DatabaseError):
            connect(settings)

    def answers():
        with contextlib.suppress(DatabaseError), connected(settings) as again:  # which is slow on a busy machine
            return again.execute("select 1").fetchone() == (1,)

    until(answers)


@pytest.mark.slow
@pytest.mark.skipif(not CAN_SEPARATE, reason="needs root and a network namespace (unshare, ip)")
@pytest.mark.skipif(MISSING is not None, reason=str(MISSING))
def test_a_device_that_vanishes_keeps_no_lock():
    """One without power or network, which closes no connection."""
    root, script = Path(__file__).parent.parent.parent, Path(__file__).parent / "vanishing_device.py"
    environment = {**os.environ, "PYTHONPATH": str(root)}
    subprocess.run([*NAMESPACE, sys.executable, str(script)], cwd=root, env=environment, check=True)
