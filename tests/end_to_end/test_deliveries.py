"""A run from the command line delivers its events, and Ctrl-C leaves what could not be delivered for the next run."""

import json
import shutil
import signal
import time

import pytest
from waiting import until
from web_server import WebServer


@pytest.fixture
def gallery(tmp_path, people_gallery):
    shutil.copytree(people_gallery, tmp_path / "gallery")


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


def test_ctrl_c_with_a_dead_webhook_ends_soon_and_the_next_run_delivers(gallery, program, people_video, tmp_path):
    server = WebServer()
    server.close()
    words = ["--no-window", "--events", "e.jsonl", "--webhook", server.url]
    process = program("--video", f"door={people_video}", "--rtsp", "yard=rtsp://127.0.0.1:1/", *words)
    until(lambda: (tmp_path / "e.jsonl").exists() and len(lines_of(tmp_path / "e.jsonl")) >= 4)
    process.send_signal(signal.SIGINT)
    started = time.monotonic()
    _, err = process.communicate()
    assert time.monotonic() - started < 30
    assert "not delivered yet" in err and "e.jsonl" in err
    first = lines_of(tmp_path / "e.jsonl")
    again = WebServer(server.port)
    process = program("--video", f"door={people_video}", "--max-frames", "1", *words)
    process.communicate()
    again.close()
    assert [event["sequence"] for event in again.events][: len(first)] == [event["sequence"] for event in first]
    assert again.numbers == [event["sequence"] for event in lines_of(tmp_path / "e.jsonl")]
