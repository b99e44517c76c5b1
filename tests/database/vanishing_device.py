"""For a network namespace of its own: a device with locks vanishes, as without power, and another one goes on."""

import contextlib
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import psycopg
from postgres import ADMIN, PostgresServer
from waiting import until

from app.database.connection import connect, connected
from app.database.ids import new_id
from app.database.schema import migrate
from app.database.strangers import SharedStrangers
from app.settings import FleetSettings


def network(state):
    subprocess.run(["ip", "link", "set", "lo", state], check=True)


network("up")
with contextlib.closing(PostgresServer()) as server:
    address = server.database()
    name = address.rpartition("/")[2]
    settings = FleetSettings(database=address, timeout_s=2.0)
    with connected(settings) as connection:
        migrate(connection)
    device = connect(settings)
    assert SharedStrangers(device, new_id()).is_merger("embedder")
    device.execute("begin")
    device.execute("select from head for update")
    network("down")
    device.close()  # of which the server does not hear
    inside = {"host": str(server.folder), "port": server.port, "user": ADMIN, "dbname": name}
    with psycopg.connect(**inside, autocommit=True) as watching:
        locks = "select count(*) from pg_locks where locktype = 'advisory'"
        until(lambda: watching.execute(locks).fetchone() == (0,))
    network("up")
    with connected(settings) as connection:
        assert SharedStrangers(connection, new_id()).is_merger("embedder")
        connection.execute("update head set revision = revision + 1")
