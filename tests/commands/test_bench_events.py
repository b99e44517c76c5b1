"""`bench events` sends the events of simulated devices to real receivers, and cleans up."""

import json
import multiprocessing

from waiting import PATIENT_S

from app.database.connection import connected
from app.database.schema import migrate
from app.settings import FleetSettings, Settings
from app.tools.benchmark.events import EventLoad, _device


def test_every_event_arrives_and_the_rows_are_deleted_afterwards(completed, config_file, tmp_path, postgres, database):
    with connected(FleetSettings(database=database)) as connection:
        migrate(connection)
    with config_file.open("a", encoding="utf-8") as file:
        file.write(f"fleet:\n  database: {database}\n")
    words = ("--cameras", "4", "--devices", "2", "--seconds", "2", "--backlog", "60", "--json", tmp_path / "f.json")
    code, out, err = completed("bench", "events", *words)
    assert code == 0, err
    (figures,) = json.loads((tmp_path / "f.json").read_text(encoding="utf-8"))["receivers"]
    assert figures["destination"] == "postgres" and "postgres" in out
    assert figures["caught_up"] >= 2 * 60 and figures["live"] >= 6
    assert 0 < figures["lags_s"][0] <= figures["lags_s"][-1]
    name = database.rpartition("/")[2]
    assert postgres.sql(name, "select count(*) from event") == [(0,)]
    # They were there: the partition of this month was made, and at its end that of the next one.
    assert postgres.sql(name, "select count(*) from pg_inherits where inhparent = 'event'::regclass")[0][0] in (1, 2)


def test_without_a_receiver_the_settings_are_named(completed):
    code, _, err = completed("bench", "events")
    assert code == 2 and "fleet.database" in err and "kafka.servers" in err


def test_a_device_that_cannot_deliver_ends_when_the_program_is_gone():
    settings = Settings(fleet=FleetSettings(database="postgresql://127.0.0.1:1/none"))
    context = multiprocessing.get_context("spawn")
    mine, other = context.Pipe()
    load = EventLoad(devices=1, cameras=1, seconds=1.0, backlog=3)
    device = context.Process(target=_device, args=(settings, load, "bench-test", 0, other), daemon=True)
    device.start()
    other.close()
    mine.recv()
    mine.send(None)
    mine.close()
    device.join(PATIENT_S)
    assert device.exitcode == 0
