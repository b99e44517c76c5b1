"""Reading a log backwards gives the same lines as reading it forwards."""

import gzip
import json

import pytest

from app.events import reading
from app.events.reading import LogReader, newest_first


def line(sequence, **more):
    record = {"event": "source_lost", "time": "2026-11-29T10:00:00.000Z", "sequence": sequence, "channel": "front"}
    return json.dumps({**record, **more}).encode() + b"\n"


def numbers(log):
    return [record["sequence"] for record in newest_first(log)]


@pytest.mark.parametrize("block", [1, 7, 100, 1 << 16])
def test_every_line_comes_once_whatever_the_size_of_a_block(tmp_path, monkeypatch, block):
    monkeypatch.setattr(reading, "_BLOCK_BYTES", block)
    path = tmp_path / "visits.jsonl"
    path.write_bytes(b"".join(line(number, error="é" * (number % 50)) for number in range(1, 120)))
    assert numbers(path) == [record["sequence"] for record in LogReader([path]).read()][::-1] == list(range(119, 0, -1))


def test_files_are_read_from_the_newest_one_on(tmp_path):
    old, new = tmp_path / "visits.jsonl.1.gz", tmp_path / "visits.jsonl"
    with gzip.open(old, "wb") as file:
        file.write(line(1) + line(2))
    new.write_bytes(line(3, time="2026-11-30T10:00:00.000Z") + line(4))
    assert numbers(new) == [4, 3, 2, 1]


def test_a_line_that_is_being_written_is_left_out_and_a_damaged_one_skipped(tmp_path):
    path = tmp_path / "visits.jsonl"
    path.write_bytes(line(1) + b"\0\0\n" + line(2) + line(3)[:-1])
    assert numbers(path) == [2, 1]
    path.write_bytes(b"")
    assert numbers(path) == []
