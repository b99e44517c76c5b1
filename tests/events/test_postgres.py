"""A real PostgreSQL server has each event once, whatever happens to it or to the program."""

import json
import threading
import time

import pytest
from made_results import ANN, STRANGER, frame, result, track
from waiting import PATIENT_S, until
from web_server import WebServer

from app.database.connection import connected
from app.database.schema import migrate
from app.errors import SettingsError
from app.events.log import EventLog
from app.events.opening import open_events
from app.events.redaction import LockedLogs, Person
from app.events.redaction import without as line_without
from app.settings import DeliverySettings, FleetSettings, OutputSettings, Settings, TrackingSettings, WebhookSettings
from app.types import Match, Reason

OCTOBER, JANUARY = 1_791_000_000.0, 1_800_000_000.0


@pytest.fixture
def name(database):
    """Of a database with the tables."""
    with connected(FleetSettings(database=database)) as connection:
        migrate(connection)
    return database.rpartition("/")[2]


@pytest.fixture
def opened(tmp_path, postgres, name):
    publishers = []

    def run(device="pi", user="admin", **options):
        publisher = open_events(
            Settings(
                output=OutputSettings(events=tmp_path / f"{device}.jsonl"),
                delivery=DeliverySettings(device=device, **options),
                tracking=TrackingSettings(visit_gap_s=0.0),
                fleet=FleetSettings(database=postgres.address(name, user)),
            )
        )
        publishers.append(publisher)
        return publisher

    yield run
    for publisher in publishers:
        publisher.close()


def show(publisher, *matches, at=JANUARY, source="front"):
    publisher.handle(
        result(frame(source=source, captured_at=at), tracks=[track(at, match) for at, match in enumerate(matches, 1)])
    )


def lines(tmp_path, device="pi"):
    found = [json.loads(line) for line in (tmp_path / f"{device}.jsonl").read_text(encoding="utf-8").splitlines()]
    return found[0]["log"], [line for line in found if line["event"] != "log"]


def rows(postgres, name, columns="body", rest="order by device, log, sequence"):
    found = postgres.sql(name, f"select {columns} from event {rest}")
    return [row[0] for row in found] if "," not in columns else found


def months(postgres, name):
    return [
        row[0]
        for row in postgres.sql(
            name, "select inhrelid::regclass::text from pg_inherits where inhparent = 'event'::regclass order by 1"
        )
    ]


def test_each_event_is_a_row_with_its_line_in_the_partition_of_its_month(opened, postgres, name, tmp_path):
    publisher = opened()
    show(publisher, STRANGER, at=OCTOBER)
    show(publisher, at=OCTOBER)
    show(publisher, ANN, at=JANUARY)
    publisher.close()
    log, written = lines(tmp_path)
    assert rows(postgres, name) == written and len(written) == 5
    assert {row[:2] for row in rows(postgres, name, "device, log, name")} == {("pi", log)}
    assert {row[1] for row in rows(postgres, name, "kind, name")} == {"Ann", None}
    assert months(postgres, name) == ["event_2026_10", "event_2027_01"]
    assert publisher.lost == ()


def test_an_event_that_is_sent_again_is_there_once(opened, postgres, name, tmp_path):
    for _ in range(3):
        publisher = opened(new_receivers="oldest")
        show(publisher, ANN)
        show(publisher)
        publisher.close()
        cursors = next(tmp_path.glob("cursors-*.json"))
        cursors.unlink()
    assert rows(postgres, name, "sequence") == list(range(1, 10))


def test_a_copied_memory_card_costs_no_event(opened, postgres, name, tmp_path):
    """Two devices with the same name and the same log."""
    publisher = opened()
    publisher.close()
    log = (tmp_path / "pi.jsonl").read_bytes()
    show(opened(), ANN, at=JANUARY)
    until(lambda: len(rows(postgres, name)) == 2)
    other = tmp_path / "copy"
    other.mkdir()
    (other / "pi.jsonl").write_bytes(log)
    settings = Settings(
        output=OutputSettings(events=other / "pi.jsonl"),
        delivery=DeliverySettings(device="pi"),
        fleet=FleetSettings(database=postgres.address(name)),
    )
    publisher = open_events(settings)
    show(publisher, ANN, at=JANUARY + 60)
    publisher.close()
    assert len(rows(postgres, name)) == 5


def test_a_server_that_is_killed_while_it_is_written_to_misses_nothing(opened, postgres, name, caplog):
    publisher = opened()
    written = 0
    for _ in range(3):
        for _ in range(60):
            show(publisher, ANN)
            show(publisher)
            written += 3
        until(lambda: publisher.deliveries()[0].done > 0)
        postgres.kill()
        for _ in range(60):
            show(publisher, ANN)
            show(publisher)
            written += 3
        postgres.start()
    until(lambda: publisher.deliveries()[0].waiting == 0)
    publisher.close()
    assert rows(postgres, name, "sequence") == list(range(1, written + 1))
    assert publisher.lost == () and "kept and delivered when it works again" in caplog.text


def test_a_receiver_that_hangs_holds_up_no_other(tmp_path, postgres, name):
    server = WebServer()
    server.answers = ["hang"]
    publisher = open_events(
        Settings(
            output=OutputSettings(events=tmp_path / "pi.jsonl"),
            delivery=DeliverySettings(device="pi"),
            webhook=WebhookSettings(url=server.url, timeout_s=PATIENT_S),
            fleet=FleetSettings(database=postgres.address(name)),
        )
    )
    show(publisher, ANN)
    until(server.hanging.is_set)
    for _ in range(50):
        show(publisher)
        show(publisher, ANN)
    waiting = lambda: {delivery.kind: delivery.waiting for delivery in publisher.deliveries()}  # noqa: E731
    until(lambda: waiting()["postgres"] == 0 and len(rows(postgres, name)) > 50)
    assert waiting()["webhook"] == len(rows(postgres, name)), "all that the other has already"
    server.released.set()
    until(lambda: waiting()["webhook"] == 0)
    publisher.close()
    assert server.numbers == rows(postgres, name, "sequence")
    server.close()


def test_a_name_that_is_not_utf_8_and_a_zero_byte_are_stored(opened, postgres, name):
    odd = Match("Zo\udceb\\u0000 😀", Reason.MATCHED, 0.7)
    publisher = opened()
    show(publisher, odd, source="a\0b")
    publisher.close()
    assert set(rows(postgres, name, "name, channel")) == {("Zo\\udceb\\u0000 😀", "ab")}
    assert publisher.lost == ()


def test_who_is_forgotten_on_the_device_is_forgotten_in_the_database(opened, postgres, name, tmp_path):
    publisher = opened()
    show(publisher, STRANGER)
    show(publisher)
    show(publisher, ANN)
    show(publisher)
    publisher.close()
    assert set(rows(postgres, name, "name", "where visit = 3")) == {"Ann"}
    person = Person(["Ann"], [])
    logs = LockedLogs([tmp_path / "pi.jsonl"])
    logs.replace(lambda log, record: line_without(record, person, {3}), ["Ann"])
    logs.close()
    publisher = opened()
    publisher.close()
    assert rows(postgres, name) == lines(tmp_path)[1]
    assert rows(postgres, name, "name") == [None] * 5
    assert "Ann" not in str(rows(postgres, name))


def test_retention_is_the_owners_and_every_device_enforces_it(opened, postgres, name):
    now = time.time()
    publisher = opened()
    for days in (400, 90, 41, 1):
        show(publisher, ANN, at=now - 86400 * days)
        show(publisher, at=now - 86400 * days)
    publisher.close()
    before = months(postgres, name)
    postgres.sql(name, "insert into event_retention (keep_days) values (40)")
    publisher = opened()
    until(lambda: not rows(postgres, name, "sequence", "where time < now() - interval '40 days'"))
    publisher.close()
    assert rows(postgres, name, "sequence") == [10, 11, 12]
    assert len(months(postgres, name)) < len(before)


def test_a_role_of_a_device_needs_no_right_to_make_tables(opened, postgres, name):
    role = f"{name}_device"
    postgres.sql(
        name,
        f"create role {role} login password 'p@ss/word'",
        f"grant select, insert, update, delete on all tables in schema public to {role}",
        f"revoke insert, update, delete on schema_version, event_retention from {role}",
    )
    publisher = opened(user=f"{role}:p%40ss%2Fword")
    show(publisher, ANN, at=OCTOBER)
    show(publisher, at=JANUARY)
    publisher.close()
    assert len(rows(postgres, name)) == 3
    import psycopg

    with psycopg.connect(postgres.address(name, f"{role}:p%40ss%2Fword"), autocommit=True) as connection:
        # A table of its own does not take the place of the retention that the owner has set.
        connection.execute("create temp table event_retention as select true as one, 1 as keep_days")
        connection.execute("select event_expire()")
        for statement in ("drop table event_2026_10", "insert into public.event_retention values (true, 1)"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)
    assert len(rows(postgres, name)) == 3


def test_devices_that_need_a_new_month_at_the_same_time_do_not_disturb_one_another(opened, postgres, name):
    publishers = [opened(f"pi{number}") for number in range(6)]
    ready = threading.Barrier(len(publishers))

    def run(publisher):
        ready.wait()
        for month in range(4):
            show(publisher, ANN, at=JANUARY + 31 * 86400 * month)
            show(publisher, at=JANUARY + 31 * 86400 * month)

    threads = [threading.Thread(target=run, args=(publisher,)) for publisher in publishers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for publisher in publishers:
        publisher.close()
    assert len(rows(postgres, name)) == 6 * 4 * 3 and len(months(postgres, name)) == 4


def test_a_database_without_the_tables_is_named_and_filled_later(opened, postgres, name, caplog):
    postgres.sql(name, "drop table event", "drop function event_partition")
    publisher = opened()
    show(publisher, ANN)
    until(lambda: "fleet init" in caplog.text)
    postgres.sql(name, "delete from schema_version where number = 10", "drop table event_retention")
    postgres.sql(name, "drop function event_expire")
    with connected(FleetSettings(database=postgres.address(name))) as connection:
        migrate(connection)
    until(lambda: publisher.deliveries()[0].waiting == 0)
    publisher.close()
    assert rows(postgres, name, "sequence") == [1, 2, 3]


def test_the_gallery_may_be_shared_without_events(tmp_path, database):
    settings = Settings(fleet=FleetSettings(database=database, events=False))
    assert open_events(settings) is None


def test_what_cannot_work_is_refused_at_the_start(tmp_path):
    settings = Settings(
        output=OutputSettings(events=tmp_path / "e.jsonl"), fleet=FleetSettings(database="mysql://localhost/faces")
    )
    with pytest.raises(SettingsError, match=r"fleet\.database"):
        open_events(settings)
    assert not (tmp_path / "e.jsonl").exists()
    EventLog(tmp_path / "e.jsonl").close()
