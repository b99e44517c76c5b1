"""The event log as a file."""

import json

import pytest
from made_results import ANN, frame, result, track

from app.errors import OutputError
from app.events.file import EventFile
from app.events.stream import EventStream
from app.types import Match, Reason


def events_for(*matches):
    """Enter and identified, for each face."""
    tracks = [track(number, match) for number, match in enumerate(matches, 1)]
    return EventStream().handle(result(frame(), tracks=tracks))


def test_every_event_is_one_line_and_on_the_disk_at_once(tmp_path):
    path = tmp_path / "e.jsonl"
    log = EventFile(path)
    events = events_for(Match("张伟 José", Reason.MATCHED, 0.5))
    for count, event in enumerate(events, 1):
        log.write(event)
        lines = path.read_text(encoding="utf-8").splitlines()
        assert [json.loads(line) for line in lines] == [written.as_json() for written in events[:count]]
    assert "张伟 José" in path.read_text(encoding="utf-8")
    log.close()


def test_a_name_that_is_not_text_does_not_break_the_log(tmp_path):
    log = EventFile(tmp_path / "e.jsonl")
    log.write(events_for(Match("\udce9", Reason.MATCHED, 0.5))[0])
    log.close()
    assert json.loads((tmp_path / "e.jsonl").read_text(encoding="utf-8"))["name"] == "\udce9"


def test_an_existing_log_is_kept_without_overwrite(tmp_path):
    path = tmp_path / "new" / "e.jsonl"
    EventFile(path).close()
    path.write_text("precious\n", encoding="utf-8")
    with pytest.raises(OutputError, match="--overwrite"):
        EventFile(path)
    assert path.read_text(encoding="utf-8") == "precious\n"
    EventFile(path, overwrite=True).close()
    assert path.read_text(encoding="utf-8") == ""


def test_a_log_that_cannot_be_written_is_refused_before_the_run(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(OutputError, match=r"e\.jsonl"):
        EventFile(tmp_path / "file" / "e.jsonl")


class FullDisk:
    """A file that takes only so many bytes, until there is room again."""

    def __init__(self, file, room):
        self._file = file
        self.room = room

    def write(self, content):
        if not self.room:
            raise OSError(28, "No space left on device")
        written = self._file.write(content[: self.room])
        self.room -= written
        return written

    def close(self):
        self._file.close()


def test_a_line_that_a_full_disk_cut_in_half_is_completed_when_there_is_room_again(tmp_path):
    path = tmp_path / "e.jsonl"
    log = EventFile(path)
    disk = log._file = FullDisk(log._file, room=500)
    failures = 0
    for event in events_for(ANN, ANN, ANN):
        while True:
            try:
                log.write(event)
                break
            except OutputError:
                failures += 1
                disk.room = 500
    log.close()
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [line["sequence"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert failures > 1
