"""Reading event logs."""

import gzip
import io
import json
from pathlib import Path

import pytest

from app.errors import AppError
from app.events.reading import LogReader, log_id, newest_first


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
    first, second = tmp_path / "v-2026-11-28.jsonl", tmp_path / "v-2026-11-29.jsonl"
    write(first, header(0, 1), event(1))
    reader = LogReader.of_log(tmp_path / "v-{date}.jsonl")
    steps = [
        lambda: write(first, event(2)),
        lambda: write(second, b""),  # no event yet on this day
        lambda: (write(first, event(3)), write(second, header(3, 2), event(4))),
        lambda: write(second, event(5)),
    ]
    assert followed(reader, *steps) == [1, 2, 3, 4, 5]
    assert reader.missing == 0


@pytest.mark.parametrize("by_name", [True, False])
def test_a_log_that_is_rotated_twice_between_two_looks_is_followed_through_all_files(tmp_path, by_name):
    path = write(tmp_path / "v.jsonl", header(0, 1), event(1))

    def rotate(after):
        path.rename(tmp_path / f"v.jsonl.{after}")
        write(path, header(after, 10 + after), event(after + 1))

    reader = LogReader([path]) if by_name else LogReader.of_log(path)
    assert followed(reader, lambda: (rotate(1), rotate(2), rotate(3)), lambda: write(path, event(5))) == [1, 2, 3, 4, 5]
    assert (reader.damaged, reader.missing) == (0, 0)


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


def rotated(tmp_path):
    """Renames all files by one, as logrotate does, and begins a new one."""
    write(tmp_path / "v.jsonl", event(4))
    (tmp_path / "v.jsonl.1").rename(tmp_path / "v.jsonl.2")
    (tmp_path / "v.jsonl").rename(tmp_path / "v.jsonl.1")
    write(tmp_path / "v.jsonl", header(4, 30), event(5))


def compressed(tmp_path):
    path = tmp_path / "v.jsonl.1"
    path.with_name("v.jsonl.1.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()


def half_compressed(tmp_path):
    path = tmp_path / "v.jsonl.1"
    path.with_name("v.jsonl.1.gz").write_bytes(gzip.compress(path.read_bytes())[:-12])


def both(tmp_path):
    rotated(tmp_path)
    compressed(tmp_path)


@pytest.fixture
def log(tmp_path):
    write(tmp_path / "v.jsonl.1", header(0, 1), event(1), event(2))
    return write(tmp_path / "v.jsonl", header(2, 20), event(3))


CHANGES = pytest.mark.parametrize(
    ("change", "last"),
    [(rotated, 5), (compressed, 3), (half_compressed, 3), (both, 5)],
    ids=lambda one: getattr(one, "__name__", str(one)),
)
ANSWERS = pytest.mark.parametrize(
    "numbered",
    [
        lambda log: numbers(LogReader.of_log(log).read()),
        lambda log: numbers(newest_first(log))[::-1],
    ],
    ids=["in order", "newest first"],
)


@CHANGES
@ANSWERS
def test_all_events_are_read_when_the_files_are_renamed_while_they_are_listed(
    log, tmp_path, monkeypatch, numbered, change, last
):
    list_folder, changes = Path.glob, [change]

    def list_and_change(folder, pattern):
        found = list(list_folder(folder, pattern))
        if changes:
            changes.pop()(tmp_path)
        return found

    monkeypatch.setattr(Path, "glob", list_and_change)
    assert numbered(log) == list(range(1, last + 1))


@pytest.mark.parametrize("change", [rotated, compressed, half_compressed, both])
def test_all_events_are_read_when_the_files_are_renamed_before_they_are_read(log, tmp_path, change):
    reader = LogReader.of_log(log)
    change(tmp_path)
    assert numbers(reader.read())[:3] == [1, 2, 3]
    assert reader.missing == 0


@pytest.mark.parametrize("change", [rotated, compressed, half_compressed, both])
def test_older_events_are_read_when_the_files_are_renamed_after_the_newest_was_read(log, tmp_path, change):
    found = newest_first(log)
    newest = next(found)
    change(tmp_path)
    assert numbers([newest, *found]) == [3, 2, 1]


def test_a_file_that_was_deleted_before_it_is_read_is_left_out(log, tmp_path):
    reader = LogReader.of_log(log)
    (tmp_path / "v.jsonl.1").unlink()
    assert numbers(reader.read()) == [3]
    assert list(newest_first(tmp_path / "none.jsonl")) == []


def test_a_first_line_that_is_half_written_is_not_read_yet(log, tmp_path):
    log.rename(tmp_path / "v.jsonl.2")
    write(log, json.dumps(header(3, 40)).encode()[:30])
    assert numbers(LogReader.of_log(log).read()) == [1, 2, 3]
    assert log_id(log) == "a"
