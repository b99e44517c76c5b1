"""Events for another program, through a named pipe or standard output."""

import json
import os

import pytest
from made_results import ANN, frame, result, track

from app.assembly import open_outputs
from app.errors import OutputError
from app.events.pipe import EventPipe, is_pipe, is_stdout
from app.events.sinks import SinkGoneError
from app.events.stream import EventStream
from app.settings import OutputSettings, Settings


@pytest.fixture
def fifo(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    return tmp_path / "fifo"


@pytest.fixture
def events():
    return EventStream().handle(result(frame(), tracks=[track(1, ANN), track(2, ANN)]))


class Reader:
    def __init__(self, path):
        self.descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)

    def lines(self):
        return [json.loads(line) for line in os.read(self.descriptor, 65536).splitlines()]

    def close(self):
        os.close(self.descriptor)


def test_what_is_a_pipe(fifo, tmp_path):
    (tmp_path / "log.jsonl").write_text("", encoding="utf-8")
    paths = [fifo, tmp_path / "log.jsonl", tmp_path / "new.jsonl", tmp_path]
    assert [is_pipe(path) for path in paths] == [True, False, False, False]
    assert is_stdout(type(fifo)("-")) and is_stdout(type(fifo)("/dev/stdout")) and not is_stdout(fifo)


def test_every_reader_gets_a_header_and_then_the_events(fifo, events):
    pipe = EventPipe(fifo)
    with pytest.raises(OutputError, match="fifo"):
        pipe.write(events[0])
    first = Reader(fifo)
    for event in events[:2]:
        pipe.write(event)
    assert [line.get("sequence") for line in first.lines()] == [None, 1, 2]
    first.close()
    for _ in range(2):
        with pytest.raises(OutputError, match="fifo"):
            pipe.write(events[2])
    second = Reader(fifo)
    pipe.write(events[2])
    header, event = second.lines()
    assert (header["event"], header["after"], event["sequence"]) == ("log", 2, 3)
    assert [visit["track"] for visit in header["open"]] == [1]
    pipe.close()
    second.close()


def test_a_named_pipe_needs_no_overwrite(fifo):
    reader = Reader(fifo)
    outputs, _ = open_outputs(Settings(output=OutputSettings(events=fifo)), ["door"])
    with outputs:
        outputs.handle(result(frame(), tracks=[track(1, ANN)]))
    assert [line["event"] for line in reader.lines()] == ["log", "enter", "identified", "left"]
    assert outputs.lost == () and outputs.written == ()
    reader.close()


def test_standard_output_without_its_reader_is_gone(tmp_path, events, monkeypatch):
    read, write = os.pipe()
    os.close(read)
    pipe = EventPipe(type(tmp_path)("-"))
    monkeypatch.setattr(pipe, "_open", lambda: write)
    with pytest.raises(SinkGoneError):
        pipe.write(events[0])
    pipe.close()
    os.close(write)
