"""Every event of a log is read once, in order, however the file is rotated while it is read."""

import gzip
import os
import shutil
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_results import ANN, frame, result, track

from app.events.log import EventLog
from app.events.stream import EventStream
from app.events.tail import LogTail


class Writer:
    """Writes visits of two events each."""

    def __init__(self, path, **options):
        self.log = EventLog(path, **options)
        self.stream = EventStream(self.log.sequence)
        self.number = self.log.sequence

    def visit(self):
        for tracks in ([track(self.number + 1, ANN)], []):
            self.number += 1
            for event in self.stream.handle(result(frame(self.number), tracks=tracks)):
                self.log.write(event)

    def tail(self, after=0):
        return LogTail(self.log.template, self.log.id, after, lambda: self.log.path)


def everything(tail, count=1000):
    found = []
    while True:
        records = tail.read(count)
        if not records:
            return found
        found += [record["sequence"] for record in records]


def upto(number, after=0):
    return list(range(after + 1, number + 1))


def test_events_are_read_from_any_number_on(tmp_path):
    writer = Writer(tmp_path / "e.jsonl")
    for _ in range(4):
        writer.visit()
    for after in range(writer.log.last + 1):
        assert everything(writer.tail(after), 2) == upto(writer.log.last, after)


def test_what_is_written_later_is_read_later_and_half_a_line_is_not_an_event(tmp_path):
    path = tmp_path / "e.jsonl"
    writer = Writer(path)
    writer.visit()
    tail = writer.tail()
    assert everything(tail) == upto(3)
    before = path.read_bytes()
    writer.visit()
    added = path.read_bytes()[len(before) :]
    path.write_bytes(before + added[:40])
    assert everything(tail) == []
    with path.open("ab") as file:
        file.write(added[40:])
    assert everything(tail) == upto(6, 3)
    assert tail.missing == 0


def rename(path):
    path.rename(path.with_name(f"{path.name}.1") if not path.with_name(f"{path.name}.1").exists() else free(path))


def free(path):
    number = 2
    while path.with_name(f"{path.name}.{number}").exists():
        number += 1
    return path.with_name(f"{path.name}.{number}")


def copy_and_truncate(path):
    shutil.copy2(path, free(path))
    path.write_bytes(b"")


STEPS = ("write", "read", "rename", "rename and create", "truncate", "compress", "restart", "open again")


@settings(max_examples=30)
@given(st.lists(st.sampled_from(STEPS), max_size=25))
def test_rotation_and_restarts_in_any_order_lose_and_repeat_nothing(tmp_path_factory, steps):
    """Truncated only when everything is read: what was not read is in the copy, whose name changes with every copy."""
    path = tmp_path_factory.mktemp("log") / "e.jsonl"
    writer = Writer(path)
    tail, found = writer.tail(), []
    for step in [*steps, "write", "read"]:
        if step == "write":
            writer.visit()
        elif step == "read":
            found += everything(tail)
        elif step.startswith("rename") and path.exists():
            path.rename(free(path))
            if step.endswith("create"):
                path.touch()
        elif step == "truncate":
            found += everything(tail)
            copy_and_truncate(path) if path.exists() else None
        elif step == "compress":
            found += everything(tail)
            for old in path.parent.glob("e.jsonl.*[0-9]"):
                with gzip.open(f"{old}.gz", "wb") as file:
                    file.write(old.read_bytes())
                old.unlink()
        elif step == "restart":
            if path.exists() and path.stat().st_size:  # a compressed log cannot be continued
                writer.log.close()
                writer = Writer(path)
                tail._current = lambda writer=writer: writer.log.path
        else:
            tail = writer.tail(found[-1] if found else 0)
    assert found == upto(writer.log.last)
    assert tail.missing == 0


def test_size_and_midnight_rotate_between_two_reads_more_than_once(tmp_path):
    clock = [1_800_000_000.0]
    writer = Writer(tmp_path / "e-{date}.jsonl", max_bytes=3000, clock=lambda: clock[0])
    tail, found = writer.tail(), []
    for turn in range(30):
        writer.visit()
        clock[0] += 20_000
        if turn % 7 == 0:
            found += everything(tail)
    found += everything(tail)
    assert len(list(tmp_path.iterdir())) > 7
    assert found == upto(writer.log.last)


def test_a_file_that_is_just_being_compressed_is_read_whole(tmp_path):
    path = tmp_path / "e.jsonl"
    writer = Writer(path)
    writer.visit()
    old = path.rename(tmp_path / "e.jsonl.1")
    whole = gzip.compress(old.read_bytes())
    writer.visit()
    for size in (5, len(whole) // 2, len(whole)):
        (tmp_path / "e.jsonl.1.gz").write_bytes(whole[:size])
        tail = writer.tail()
        assert everything(tail) == upto(6)
        assert tail.missing == 0


def test_events_of_a_compressed_file_that_is_damaged_are_counted(tmp_path):
    path = tmp_path / "e.jsonl"
    writer = Writer(path)
    for _ in range(100):
        writer.visit()
    old = path.rename(tmp_path / "e.jsonl.1")
    whole = gzip.compress(old.read_bytes())
    old.unlink()
    writer.visit()
    for size in (5, len(whole) // 2):
        (tmp_path / "e.jsonl.1.gz").write_bytes(whole[:size])
        tail = writer.tail()
        found = everything(tail)
        assert found[-3:] == upto(303, 300)
        assert len(found) + tail.missing == 303


def test_files_that_were_deleted_before_they_were_read_are_counted(tmp_path):
    path = tmp_path / "e.jsonl"
    writer = Writer(path)
    writer.visit()
    tail = writer.tail()
    writer.visit()
    path.unlink()
    writer.visit()
    assert everything(tail) == upto(9, 6)
    assert tail.missing == 6


def test_a_file_that_is_renamed_between_listing_and_opening_is_not_missing(tmp_path, monkeypatch):
    """The next one has its name by then, and says that more events came before it than were read."""
    path = tmp_path / "e.jsonl"
    writer = Writer(path)
    writer.visit()
    tail = writer.tail()
    assert everything(tail) == upto(3)
    path.rename(tmp_path / "e.jsonl.1")
    writer.visit()
    list_folder, rotations = Path.glob, iter(range(2, 5))

    def list_and_rotate(folder, pattern):
        found = list(list_folder(folder, pattern))
        for number in rotations:
            path.rename(tmp_path / f"e.jsonl.{number}")
            writer.visit()
            break
        return found

    monkeypatch.setattr(Path, "glob", list_and_rotate)
    assert everything(tail) == upto(15, 3)
    assert tail.missing == 0


def test_a_log_that_is_rotated_all_the_time_is_read_whole(tmp_path):
    writer = Writer(tmp_path / "e.jsonl", max_bytes=2500, sync="never")
    tail, found = writer.tail(), []
    thread = threading.Thread(target=lambda: [writer.visit() for _ in range(100)])
    thread.start()
    while thread.is_alive():
        found += everything(tail, 20)
    found += everything(tail, 20)
    assert found == upto(300)
    assert (tail.missing, writer.log.rotations > 20) == (0, True)


def test_the_state_of_the_log_is_that_of_the_last_event_read(tmp_path):
    writer = Writer(tmp_path / "e.jsonl")
    for number in (1, 2, 3):
        for event in writer.stream.handle(result(frame(), tracks=[track(at, ANN) for at in range(1, number + 1)])):
            writer.log.write(event)
    tail = writer.tail(after=4)
    assert [len(tail.history.visits)] == [0]
    assert everything(tail) == [5, 6]
    assert [visit["track"] for visit in tail.history.visits.values()] == [1, 2, 3]


def test_a_long_log_is_not_read_from_its_beginning(tmp_path):
    """The header is repeated, and reading begins with the last one that is early enough."""
    path = tmp_path / "e.jsonl"
    for _ in range(5):
        writer = Writer(path)
        writer.visit()
        writer.log.close()
    lines = path.read_bytes().split(b"\n")
    lines[1] = b"x" * len(lines[1])  # of the first run: a damaged line would be noticed
    path.write_bytes(b"\n".join(lines))
    tail = writer.tail(after=10)
    assert everything(tail) == upto(15, 10)
    tail = writer.tail(after=0)
    assert (everything(tail), tail.missing) == (upto(15, 1), 1)


def test_events_come_again_after_an_error_of_the_disk(tmp_path, monkeypatch):
    writer = Writer(tmp_path / "e.jsonl", sync="never")
    writer.visit()
    tail = writer.tail()
    errors = [OSError(5, "Input/output error")]

    def sync(descriptor):
        if errors:
            raise errors.pop()

    monkeypatch.setattr(os, "fsync", sync)
    with pytest.raises(OSError, match="Input/output"):
        tail.read(2)
    assert everything(tail, 2) == upto(3)
    assert tail.missing == 0
