"""A run from the command line delivers its events, and Ctrl-C leaves what could not be delivered for the next run."""

import json
import signal
import time

import pytest
from made_galleries import copy_photos
from waiting import PATIENT_S, until
from web_server import WebServer

from app.database.connection import connected
from app.database.schema import migrate
from app.settings import FleetSettings


@pytest.fixture
def gallery(tmp_path, people_gallery):
    copy_photos(people_gallery, tmp_path / "gallery")


def lines_of(path):
    return [line for line in map(json.loads, path.read_text(encoding="utf-8").splitlines()) if line["event"] != "log"]


def test_webhook_and_command_get_the_events_of_the_log(gallery, completed, people_video, tmp_path):
    server = WebServer()
    command = f"sh -c 'cat >> \"{tmp_path}/commands.jsonl\"'"
    words = ["--no-window", "--events", "e.jsonl", "--webhook", server.url, "--on-event", command]
    code, _, err = completed("--video", f"door={people_video}", *words)
    server.close()
    assert code == 0, err
    written = lines_of(tmp_path / "e.jsonl")
    assert {event["name"] for event in written} == {"Grace Hopper", "Eileen Collins", None}
    received = server.events
    assert len({event.pop("key") for event in received}) == len(received)
    assert received == written
    started = lines_of(tmp_path / "commands.jsonl")
    assert sorted(event["sequence"] for event in started) == [event["sequence"] for event in written]


@pytest.mark.slow
def test_a_database_gets_the_events_and_forgets_who_is_forgotten(
    gallery, completed, config_file, people_video, postgres, database
):
    config = FleetSettings(database=database)
    with connected(config) as connection:
        migrate(connection)
    with config_file.open("a", encoding="utf-8") as file:
        file.write(f"fleet:\n  database: {database}\n")
    folder, name = config_file.parent, database.rpartition("/")[2]
    words = ["--video", f"door={people_video}", "--no-window", "--events", "e.jsonl"]

    def rows():
        return [body for (body,) in postgres.sql(name, "select body from event order by sequence")]

    def run(*more):
        code, _, err = completed(*words, *more)
        assert code == 0, err

    run()
    # On a busy machine, a run may have no time for its last events: then the next one sends them.
    until(lambda: rows() == lines_of(folder / "e.jsonl"), lambda: run("--max-frames", "1"))
    assert "Grace Hopper" in str(rows())
    code, _, err = completed("people", "forget", "Grace Hopper", "--events", "e.jsonl", "--yes")
    assert code == 0, err
    run("--max-frames", "1")
    until(lambda: rows() == lines_of(folder / "e.jsonl"), lambda: run("--max-frames", "1"))
    assert "Eileen Collins" in str(rows())
    assert "Grace" not in str(rows())


def test_ctrl_c_with_a_dead_webhook_ends_soon_and_the_next_run_delivers(gallery, program, people_video, tmp_path):
    server = WebServer()
    server.close()
    words = ["--no-window", "--events", "e.jsonl", "--webhook", server.url]
    process = program("--video", f"door={people_video}", "--rtsp", "yard=rtsp://127.0.0.1:1/", *words)
    until(lambda: (tmp_path / "e.jsonl").exists() and len(lines_of(tmp_path / "e.jsonl")) >= 4)
    process.send_signal(signal.SIGINT)
    started = time.monotonic()
    _, err = process.communicate()
    assert time.monotonic() - started < PATIENT_S
    assert "not delivered yet" in err and "e.jsonl" in err
    first = lines_of(tmp_path / "e.jsonl")
    again = WebServer(server.port)
    process = program("--video", f"door={people_video}", "--max-frames", "1", *words)
    process.communicate()
    again.close()
    assert [event["sequence"] for event in again.events][: len(first)] == [event["sequence"] for event in first]
    assert again.numbers == [event["sequence"] for event in lines_of(tmp_path / "e.jsonl")]
