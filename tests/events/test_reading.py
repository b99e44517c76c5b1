"""Reading event logs."""

import gzip
import io
import json
from pathlib import Path

import pytest

from app.errors import AppError
from app.events.reading import LogReader


def header(after, second, log="a"):
    time = f"2026-11-29T18:04:{second:02d}.000Z"
    return {"event": "log", "schema": 3, "log": log, "time": time, "after": after, "open": []}


def event(number):
    time = "2026-11-29T18:04:00.000Z"
    return {"schema": 3, "sequence": number, "event": "source_lost", "channel": "door", "time": time}


def write(path, *lines, mode="ab"):
    with path.open(mode) as file:
        for line in lines:
            file.write(line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n")
    return path


def numbers(records):
    return [record["sequence"] for record in records if "sequence" in record]


def test_files_are_read_in_the_order_of_their_beginning(tmp_path):
    new = write(tmp_path / "v.jsonl", header(2, 30), event(3))
    old = write(tmp_path / "v-old.jsonl", header(0, 1), event(1), event(2))
    reader = LogReader([new, old])
    assert numbers(reader.read()) == [1, 2, 3]
    assert (reader.damaged, reader.missing) == (0, 0)


def test_a_compressed_file_is_read(tmp_path):
    plain = write(tmp_path / "v.jsonl", header(0, 1), event(1))
    packed = tmp_path / "v.jsonl.1.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert numbers(LogReader([packed]).read()) == [1]
    assert numbers(LogReader([packed]).follow(wait=None)) == [1]


def test_damaged_lines_and_missing_numbers_are_counted(tmp_path):
    path = write(tmp_path / "v.jsonl", header(0, 1), event(1), b'{"sequence": 2, "ev\n', b"\0\0\n", event(5), event(6))
    reader = LogReader([path])
    assert numbers(reader.read()) == [1, 5, 6]
    assert (reader.damaged, reader.missing) == (2, 3)


def test_a_missing_file_between_two_is_noticed(tmp_path):
    first = write(tmp_path / "a.jsonl", header(0, 1), event(1))
    third = write(tmp_path / "c.jsonl", header(8, 3), event(9))
    reader = LogReader([first, third])
    assert numbers(reader.read()) == [1, 9]
    assert reader.missing == 7


def test_the_last_files_alone_and_other_logs_miss_nothing(tmp_path):
    late = write(tmp_path / "a.jsonl", header(40, 1), event(41))
    other = write(tmp_path / "b.jsonl", header(0, 2, log="b"), event(1), header(1, 3, log="b"), event(2))
    old = write(tmp_path / "c.jsonl", {**event(7), "schema": 2}, {**event(8), "schema": 2})
    reader = LogReader([late, other, old])
    assert len(numbers(reader.read())) == 5
    assert reader.missing == 0


def test_what_is_no_event_log_is_refused_by_name(tmp_path):
    for path in (write(tmp_path / "letter.txt", b"Dear Ann\n"), tmp_path / "none.jsonl", tmp_path):
        with pytest.raises(AppError, match=path.name):
            LogReader([path])


def test_an_empty_log_has_no_events(tmp_path):
    assert list(LogReader([write(tmp_path / "v.jsonl")]).read()) == []


def test_standard_input_is_read_to_its_end(monkeypatch):
    text = "\n".join(map(json.dumps, [header(0, 1), event(1)])) + "\n"
    for read in (LogReader.read, LogReader.follow):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
        assert numbers(read(LogReader([Path("-")]))) == [1]


class Writer:
    """Does one of these things to the log whenever the reader waits, and then ends it."""

    def __init__(self, *steps):
        self.steps = list(steps)

    def __call__(self, seconds):
        if not self.steps:
            raise KeyboardInterrupt
        self.steps.pop(0)()


def followed(reader, *steps):
    seen = []
    with pytest.raises(KeyboardInterrupt):
        for record in reader.follow(Writer(*steps)):
            seen.append(record)
    return numbers(seen)


def test_a_log_that_grows_is_followed_line_by_line(tmp_path):
    path = write(tmp_path / "v.jsonl", header(0, 1), event(1))
    half = json.dumps(event(3)).encode() + b"\n"
    reader = LogReader([path])
    assert followed(
        reader,
        lambda: write(path, event(2), half[:20]),
        lambda: write(path, half[20:]),
        lambda: None,
        lambda: write(path, event(4)),
    ) == [1, 2, 3, 4]
    assert (reader.damaged, reader.missing) == (0, 0)


def test_a_log_whose_name_changes_at_midnight_is_followed_into_the_next_file(tmp_path):
    first, second = tmp_path / "v-28.jsonl", tmp_path / "v-29.jsonl"
    write(first, header(0, 1), event(1))
    today = [first]
    reader = LogReader([first], latest=lambda: today[0])
    steps = [
        lambda: today.insert(0, second),  # no event yet on this day
        lambda: write(first, event(2)),
        lambda: (write(first, event(3)), write(second, header(3, 2), event(4))),
        lambda: write(second, event(5)),
    ]
    assert followed(reader, *steps) == [1, 2, 3, 4, 5]
    assert reader.missing == 0


def test_a_log_that_is_renamed_or_truncated_is_followed_under_its_name(tmp_path):
    path = write(tmp_path / "v.jsonl", header(0, 1), event(1))

    def rename():
        write(path, event(2))
        path.rename(tmp_path / "v.jsonl.1")
        write(tmp_path / "v.jsonl.1", event(3))

    reader = LogReader([path])
    steps = (
        rename,
        lambda: None,
        lambda: write(path, header(3, 2), event(4)),
        lambda: write(path, header(4, 3), mode="wb"),
        lambda: write(path, event(5)),
    )
    assert followed(reader, *steps) == [1, 2, 3, 4, 5]
    assert (reader.damaged, reader.missing) == (0, 0)
